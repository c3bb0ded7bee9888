//! Signatures on disk: those that a zone served when the server stopped, for the next start to serve again.
//!
//! ```text
//! entry   0  digest (`Signer::digest`)   16  u32 octets of the RDATA set, big-endian   20  the set: each RDATA behind its length, u16
//! ```
//!
//! Entries stand end to end; the file around them notices damage. A zone of a million names has two million, so they stay as
//! they were read, with an index beside them: as a map of lists they took four times the memory, and most of a start's time.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Write};

use super::sign::RrsetDigest;
use crate::model::rrset::RdataSet;

/// Octets of an entry before its RDATA set.
const HEAD_OCTETS: usize = 16 + 4;
/// Octets of an entry with one P-256 signature under a short apex, to guess how many entries a file has.
const USUAL_OCTETS: usize = HEAD_OCTETS + 96;

/// Writes an entry.
///
/// # Errors
/// Those of `to`.
pub fn write_entry(to: &mut dyn Write, digest: &RrsetDigest, rrsigs: &RdataSet) -> io::Result<()> {
    let set = rrsigs.as_bytes();
    to.write_all(digest)?;
    // A message holds them, so they are far below 2³² octets.
    to.write_all(&(set.len() as u32).to_be_bytes())?;
    to.write_all(set)
}

/// The signatures of a file.
#[derive(Debug, Default)]
pub struct SavedSignatures {
    octets: Vec<u8>,
    /// First octets of a digest → where its entry starts. Of two digests that share them one is lost, and signed anew.
    index: HashMap<u64, u64, BuildHasherDefault<Itself>>,
}

impl SavedSignatures {
    /// What [`write_entry`] wrote; `None` if it is no sequence of entries.
    pub fn open(octets: Vec<u8>) -> Option<Self> {
        let mut index =
            HashMap::with_capacity_and_hasher(octets.len() / USUAL_OCTETS, BuildHasherDefault::default());
        let mut at = 0;
        while at < octets.len() {
            let (digest, set) = entry(&octets, at)?;
            index.insert(first_octets(digest), at as u64);
            at += HEAD_OCTETS + set.len();
        }
        Some(Self { octets, index })
    }

    /// The RRSIG RDATAs for a digest. Whether they are still good is for the signer to say.
    pub fn get(&self, digest: &RrsetDigest) -> Option<RdataSet> {
        let (found, mut set) = entry(&self.octets, *self.index.get(&first_octets(digest))? as usize)?;
        if found != digest {
            return None;
        }
        let mut rdatas = Vec::with_capacity(1);
        while !set.is_empty() {
            let (length, tail) = set.split_first_chunk::<2>()?;
            let (rdata, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rdatas.push(rdata);
            set = tail;
        }
        Some(RdataSet::new(rdatas))
    }

    /// Number of signed RRsets.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

/// Digest and RDATA set of the entry at `at`.
fn entry(octets: &[u8], at: usize) -> Option<(&RrsetDigest, &[u8])> {
    let (digest, rest) = octets.get(at..)?.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some((digest, rest.get(..u32::from_be_bytes(*length) as usize)?))
}

fn first_octets(digest: &RrsetDigest) -> u64 {
    digest.first_chunk::<8>().map_or(0, |octets| u64::from_le_bytes(*octets))
}

/// A hash of what is a hash already.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn write(&mut self, bytes: &[u8]) {
        // Not called for u64; any hash is right.
        self.0 = bytes.iter().fold(self.0, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> RrsetDigest {
        let mut digest = RrsetDigest::default();
        digest[..4].copy_from_slice(&number.to_be_bytes());
        digest[12..].copy_from_slice(&number.to_be_bytes());
        digest
    }

    fn rrsigs(number: u32) -> RdataSet {
        RdataSet::new((0..number % 4).map(|i| vec![i as u8; 7 + number as usize % 100]))
    }

    #[test]
    fn what_was_written_is_found_again() {
        let mut file = Vec::new();
        (0..500).for_each(|i| write_entry(&mut file, &digest(i), &rrsigs(i)).unwrap());
        let saved = SavedSignatures::open(file.clone()).unwrap();
        assert_eq!(saved.len(), 500);
        for i in 0..500 {
            assert_eq!(saved.get(&digest(i)), Some(rrsigs(i)));
        }
        assert_eq!(saved.get(&digest(500)), None);
        let mut other = digest(7);
        other[15] ^= 1;
        assert_eq!(saved.get(&other), None, "the first octets alone say nothing");
        assert!(SavedSignatures::open(Vec::new()).unwrap().is_empty());
        for cut in [1, 15, 19, file.len() - 1] {
            assert!(SavedSignatures::open(file[..cut].to_vec()).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn sets_that_are_none_are_not_found() {
        for set in [&[0][..], &[0, 9, 1], &[0, 1, 1, 0]] {
            let file = [&digest(1)[..], &(set.len() as u32).to_be_bytes(), set].concat();
            assert_eq!(SavedSignatures::open(file).unwrap().get(&digest(1)), None, "{set:?}");
        }
    }
}
