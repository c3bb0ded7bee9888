//! TSIG in queries: this server knows no keys, so every well-formed one is answered with BADKEY (RFC 8945 §5.2.1).

use crate::model::hash::HashKey;
use crate::model::rrtype::RrType;
use crate::snapshot::lookup::KeyedName;

use super::encode::{Full, Response};
use super::parse::be16;

/// Key not recognised (RFC 8945 §3).
const BADKEY: u16 = 17;

/// A well-formed TSIG record of a query.
#[derive(Debug)]
pub(super) struct Tsig<'q> {
    message: &'q [u8],
    owner_at: usize,
    /// Algorithm name, uncompressed.
    algorithm: &'q [u8],
    /// Time signed and fudge.
    time: &'q [u8],
    original_id: &'q [u8],
}

impl<'q> Tsig<'q> {
    /// Reads the RDATA of the TSIG whose owner stands at `owner_at`; `None` if it is malformed.
    pub(super) fn read(message: &'q [u8], owner_at: usize, rdata: &'q [u8]) -> Option<Self> {
        let mut end = 0;
        loop {
            match *rdata.get(end)? {
                0 => break,
                length @ 1..=63 => end += 1 + usize::from(length),
                _ => return None,
            }
        }
        let (algorithm, rest) = rdata.split_at_checked(end + 1).filter(|(name, _)| name.len() <= 255)?;
        let (time, rest) = rest.split_at_checked(8)?;
        let (_mac, rest) = rest.get(2..)?.split_at_checked(usize::from(be16(rest, 0)?))?;
        let other_len = usize::from(be16(rest, 4)?);
        (rest.len() == 6 + other_len).then_some(Self {
            message,
            owner_at,
            algorithm,
            time,
            original_id: &rest[..2],
        })
    }

    /// Writes the unsigned answer to it, which must be the message's last record.
    pub(super) fn write_bad_key(
        &self,
        key: HashKey,
        name: &mut KeyedName,
        response: &mut Response<'_>,
    ) -> Result<(), Full> {
        name.read_compressed(key, self.message, self.owner_at).map_err(|_| Full)?;
        let rdlength = (self.algorithm.len() + 16) as u16;
        response.record(&[
            name.wire(),
            &RrType::TSIG.0.to_be_bytes(),
            &[0, 255, 0, 0, 0, 0],
            &rdlength.to_be_bytes(),
            self.algorithm,
            self.time,
            &[0, 0],
            self.original_id,
            &BADKEY.to_be_bytes(),
            &[0, 0],
        ])
    }
}
