//! Reading a query: header, question, OPT and TSIG. Everything else is only stepped over.
//!
//! Work is linear in the message: section counts are compared with the octets that are left before anything is read.

use crate::model::hash::HashKey;
use crate::model::name::MAX_NAME_OCTETS;
use crate::model::rrtype::RrType;
use crate::snapshot::lookup::KeyedName;

use super::edns::Edns;
use super::rcode::Rcode;
use super::tsig::Tsig;

/// Octets of a message header.
pub(super) const HEADER: usize = 12;
/// Octets of the smallest record: root owner, type, class, TTL and length.
const SMALLEST_RECORD: usize = 11;
/// Records that a query may carry beside its question. OPT and TSIG or SIG(0) are all that have a meaning; thousands of others would cost
/// as much as thousands of queries.
const MOST_RECORDS: usize = 16;

/// A query as far as it could be read.
#[derive(Debug)]
pub(super) struct Request<'q> {
    /// Octets of header and question, to be echoed; the header alone where there is no readable question.
    pub(super) echo: &'q [u8],
    /// QTYPE; 0 where there is no question.
    pub(super) qtype: RrType,
    /// QCLASS.
    pub(super) qclass: u16,
    /// The OPT record.
    pub(super) edns: Option<Edns<'q>>,
    /// The TSIG record.
    pub(super) tsig: Option<Tsig<'q>>,
    /// Why nothing more can be done than to say so.
    pub(super) refusal: Option<Rcode>,
}

/// What a message turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Too short for a header, or a response.
    Unanswerable,
    /// An opcode other than QUERY; answered by a header alone.
    OtherOpcode,
    /// A query, well-formed or not.
    Query,
}

#[inline]
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| u16::from_be_bytes(*b))
}

/// Looks at the header alone.
#[inline]
pub(super) fn kind_of(message: &[u8]) -> Message {
    match message.first_chunk::<HEADER>() {
        Some(header) if header[2] & 0xf8 == 0 => Message::Query,
        Some(header) if header[2] & 0x80 == 0 => Message::OtherOpcode,
        _ => Message::Unanswerable,
    }
}

impl<'q> Request<'q> {
    /// Of a message of which nothing was read.
    #[inline]
    pub(super) fn new(message: &'q [u8]) -> Self {
        let echo = message.get(..HEADER).unwrap_or_default();
        Self { echo, qtype: RrType(0), qclass: 0, edns: None, tsig: None, refusal: None }
    }

    /// Reads a query; the question's name goes into `name`. (It fills itself in place: returned by value it would be copied, which
    /// takes longer than to read most queries.)
    #[inline]
    pub(super) fn read(&mut self, key: HashKey, message: &'q [u8], name: &mut KeyedName) {
        if self.fill(key, message, name).is_none() {
            self.refusal = Some(Rcode::FORMERR);
        }
    }

    /// `None` for a malformed message.
    #[inline]
    fn fill(&mut self, key: HashKey, message: &'q [u8], name: &mut KeyedName) -> Option<()> {
        let header = message.first_chunk::<HEADER>()?;
        let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let (questions, answers, authority, additional) = (count(4), count(6), count(8), count(10));
        let records = answers + authority + additional;
        if records > MOST_RECORDS || records * SMALLEST_RECORD > message.len() - HEADER || questions > 1 {
            return None;
        }
        let mut at = HEADER;
        if questions == 1 {
            at = name.read_plain(key, message, at).ok()?;
            let [t0, t1, c0, c1] = *message.get(at..)?.first_chunk::<4>()?;
            self.qtype = RrType(u16::from_be_bytes([t0, t1]));
            self.qclass = u16::from_be_bytes([c0, c1]);
            at += 4;
            self.echo = message.get(..at)?;
        }
        for index in 0..records {
            at = self.read_record(message, at, index >= answers + authority, index + 1 == records)?;
        }
        // RFC 9619 wants one question; RFC 7873 §5.4 lets a client without one ask for a cookie.
        let asks_for_cookie = || self.edns.as_ref().is_some_and(|edns| edns.cookie.is_some());
        (at == message.len() && (questions == 1 || asks_for_cookie())).then_some(())
    }

    /// Reads the record at `at`; returns where it ends.
    fn read_record(
        &mut self,
        message: &'q [u8],
        at: usize,
        is_additional: bool,
        is_last: bool,
    ) -> Option<usize> {
        let fixed = skip_name(message, at)?;
        let [y0, y1, c0, c1, ttl @ .., l0, l1] = *message.get(fixed..)?.first_chunk::<10>()?;
        let (rtype, class) = (RrType(u16::from_be_bytes([y0, y1])), u16::from_be_bytes([c0, c1]));
        let start = fixed + 10;
        let end = start + usize::from(u16::from_be_bytes([l0, l1]));
        let rdata = message.get(start..end)?;
        match rtype {
            RrType::OPT => {
                // One OPT, in the additional section, owned by the root (RFC 6891 §6.1.1).
                if !is_additional || self.edns.is_some() || fixed != at + 1 {
                    return None;
                }
                let edns = self.edns.insert(Edns::new(class, ttl));
                edns.read_options(rdata)?;
            }
            RrType::TSIG => {
                // The last record, of class ANY and TTL 0 (RFC 8945 §4.2, §5.1).
                if !is_additional || !is_last || class != 255 || ttl != [0; 4] {
                    return None;
                }
                self.tsig = Some(Tsig::read(message, at, rdata)?);
            }
            _ => {}
        }
        Some(end)
    }
}

/// Where the name at `at` ends. Pointers are not followed, but must lead backwards.
#[inline]
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0..=0xff => {
                let target = usize::from(be16(message, at)? & 0x3fff);
                return (target < start).then_some(at + 2);
            }
            _ => return None,
        }
        if at - start > MAX_NAME_OCTETS {
            return None;
        }
    }
}
