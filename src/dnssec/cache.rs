//! Signatures kept for another time: a flap back to an earlier state, or a restart, signs almost nothing.

use std::collections::HashMap;
use std::path::Path;

use ring::digest;

use super::sign::{RrsetDigest, Signed};
use crate::model::diagnostic::Diagnostic;
use crate::model::rrset::RdataSet;

/// Signatures kept for one zone unless told otherwise: about 60 MB when full, with one P-256 signature each.
pub const DEFAULT_LIMIT: usize = 1 << 18;

/// First octets of an export: what it is, and its version.
const MAGIC: &[u8; 8] = b"HALESIG1";
/// Octets of the checksum that ends an export.
const CHECKSUM_OCTETS: usize = 16;
/// Octets of an entry before its RDATA set: digest, three times, length.
const ENTRY_OCTETS: usize = 16 + 3 * 4 + 4;

/// Signatures by what they sign (`Signer::digest`); at most as many as its limit.
///
/// Two generations stand in for a list ordered by use: what is used moves to the young one, and when that holds half of the limit, it becomes
/// the old one and the old one is dropped. So an entry lives for at least half a limit's worth of other uses.
#[derive(Debug)]
pub struct SignatureCache {
    young: HashMap<RrsetDigest, Signed>,
    old: HashMap<RrsetDigest, Signed>,
    limit: usize,
    evicted: u64,
}

impl Default for SignatureCache {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl SignatureCache {
    /// An empty cache for at most `limit` entries; at least two.
    pub fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), limit: limit.max(2), evicted: 0 }
    }

    /// The signatures for a digest, if they are valid at `now_s` and not due for renewal.
    pub fn get(&mut self, digest: &RrsetDigest, now_s: u32) -> Option<&Signed> {
        if !self.young.contains_key(digest) {
            let signed = self.old.remove(digest)?;
            self.insert(*digest, signed);
        }
        self.young.get(digest).filter(|signed| signed.is_fresh(now_s))
    }

    /// As [`SignatureCache::get`], and lets the entry grow old.
    pub fn peek(&self, digest: &RrsetDigest, now_s: u32) -> Option<&Signed> {
        let signed = self.young.get(digest).or_else(|| self.old.get(digest))?;
        signed.is_fresh(now_s).then_some(signed)
    }

    /// Keeps signatures, in place of others for the same digest.
    pub fn insert(&mut self, digest: RrsetDigest, signed: Signed) {
        if self.young.len() >= self.limit / 2 && !self.young.contains_key(&digest) {
            self.evicted += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&digest);
        self.young.insert(digest, signed);
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries the limit has pushed out, for metrics.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Every entry as octets to keep in a file.
    pub fn export(&self) -> Vec<u8> {
        export(self.old.iter().chain(&self.young).map(|(digest, signed)| (*digest, signed)))
    }

    /// Takes in what [`SignatureCache::export`] gave. A damaged export is ignored: the returned warning names `file`, and all is signed anew.
    pub fn import(&mut self, octets: &[u8], file: &Path) -> Option<Diagnostic> {
        match decode(octets) {
            Ok(entries) => {
                for (digest, signed) in entries {
                    self.insert(digest, signed);
                }
                None
            }
            Err(why) => Some(
                Diagnostic::warning(file, format!("saved signatures are ignored: {why}"))
                    .hint("nothing to do: everything is signed again"),
            ),
        }
    }
}

/// Entries as octets: a version, the entries, a checksum.
fn export<'a>(entries: impl Iterator<Item = (RrsetDigest, &'a Signed)>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (digest, signed) in entries {
        let rdata = signed.rrsigs.as_bytes();
        out.extend_from_slice(&digest);
        for time in [signed.inception_s, signed.expiration_s, signed.renew_at_s] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out.extend_from_slice(&(rdata.len() as u32).to_be_bytes());
        out.extend_from_slice(rdata);
    }
    let checksum = checksum(&out);
    out.extend_from_slice(&checksum);
    out
}

fn checksum(octets: &[u8]) -> [u8; CHECKSUM_OCTETS] {
    let mut out = [0; CHECKSUM_OCTETS];
    out.copy_from_slice(&digest::digest(&digest::SHA256, octets).as_ref()[..CHECKSUM_OCTETS]);
    out
}

fn decode(octets: &[u8]) -> Result<Vec<(RrsetDigest, Signed)>, &'static str> {
    let body = octets.strip_prefix(MAGIC).ok_or("not a file of this version")?;
    let end = body.len().checked_sub(CHECKSUM_OCTETS).ok_or("the file is cut short")?;
    if checksum(&octets[..MAGIC.len() + end]) != body[end..] {
        return Err("the checksum is wrong");
    }
    let mut entries = Vec::new();
    let mut rest = &body[..end];
    while !rest.is_empty() {
        let (entry, tail) = decode_entry(rest).ok_or("an entry is malformed")?;
        entries.push(entry);
        rest = tail;
    }
    Ok(entries)
}

/// One entry and what follows it.
fn decode_entry(octets: &[u8]) -> Option<((RrsetDigest, Signed), &[u8])> {
    let (head, rest) = octets.split_at_checked(ENTRY_OCTETS)?;
    let (digest, numbers) = head.split_first_chunk::<16>()?;
    let mut numbers = numbers.chunks_exact(4).map(|n| n.iter().fold(0u32, |sum, &b| sum << 8 | u32::from(b)));
    let (inception_s, expiration_s, renew_at_s) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let (mut set, rest) = rest.split_at_checked(numbers.next()? as usize)?;
    let mut rdatas = Vec::new();
    while !set.is_empty() {
        let (length, tail) = set.split_first_chunk::<2>()?;
        let (rdata, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rdatas.push(rdata);
        set = tail;
    }
    let signed = Signed { rrsigs: RdataSet::new(rdatas), inception_s, expiration_s, renew_at_s };
    Some(((*digest, signed), rest))
}

#[cfg(test)]
mod tests {

    use super::*;

    const NOW: u32 = 1_800_000_000;

    fn entry(number: u32) -> (RrsetDigest, Signed) {
        let mut digest = RrsetDigest::default();
        digest[..4].copy_from_slice(&number.to_be_bytes());
        let rrsigs = RdataSet::new([vec![number as u8; 100], vec![1; number as usize % 7]]);
        (digest, Signed { rrsigs, inception_s: NOW - 3600, expiration_s: NOW + 1000, renew_at_s: NOW + 500 })
    }

    #[test]
    fn only_fresh_signatures_are_given() {
        let mut cache = SignatureCache::new(10);
        let (digest, signed) = entry(1);
        cache.insert(digest, signed.clone());
        for (now_s, there) in
            [(NOW, true), (NOW - 3600, true), (NOW - 3601, false), (NOW + 499, true), (NOW + 500, false)]
        {
            assert_eq!(cache.get(&digest, now_s), there.then_some(&signed), "{now_s}");
        }
        assert_eq!(cache.get(&entry(2).0, NOW), None);
    }

    #[test]
    fn the_limit_holds_and_what_is_used_stays() {
        let mut cache = SignatureCache::new(100);
        for i in 0..10_000 {
            let (digest, signed) = entry(i);
            cache.insert(digest, signed);
            assert!(cache.len() <= 100, "{} entries", cache.len());
            assert!(cache.get(&entry(0).0, NOW).is_some(), "lost after {i}");
        }
        assert!(cache.get(&entry(9_990).0, NOW).is_some());
        assert!(cache.get(&entry(9_000).0, NOW).is_none());
        assert!(cache.evicted() > 9_000);
    }

    #[test]
    fn exports_come_back_whole_or_not_at_all() {
        let mut cache = SignatureCache::new(100);
        assert_eq!(cache.import(&SignatureCache::default().export(), Path::new("f")), None);
        for i in 0..60 {
            let (digest, signed) = entry(i);
            cache.insert(digest, signed);
        }
        let export = cache.export();
        let mut again = SignatureCache::new(100);
        assert_eq!(again.import(&export, Path::new("f")), None);
        assert_eq!(again.len(), 60);
        assert_eq!(again.get(&entry(7).0, NOW), Some(&entry(7).1));
        let mut damaged: Vec<Vec<u8>> =
            [0, 5, 20, export.len() - 1].iter().map(|&n| export[..n].to_vec()).collect();
        for at in [0, 7, 8, 40, export.len() - 1] {
            damaged.push(export.clone());
            damaged.last_mut().unwrap()[at] ^= 1;
        }
        // A right checksum over entries that are none.
        for body in [&[0; 10][..], &[0xff; 40], &[&[0; 31][..], &[1, 9]].concat()] {
            let mut octets = [MAGIC, body].concat();
            octets.extend_from_slice(&checksum(&octets));
            damaged.push(octets);
        }
        for octets in damaged {
            let mut fresh = SignatureCache::new(100);
            let warning = fresh.import(&octets, Path::new("state/signatures")).unwrap();
            assert!(!warning.is_error() && warning.to_string().contains("state/signatures"), "{warning}");
            assert!(fresh.is_empty());
        }
    }
}
