//! Signatures kept for another time: a flap back to an earlier state signs almost nothing.

use std::collections::HashMap;

use super::sign::{RrsetDigest, Signed};

/// Signatures kept for one zone unless told otherwise: about 60 MB when full, with one P-256 signature each.
pub const DEFAULT_LIMIT: usize = 1 << 18;

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

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&RrsetDigest, &Signed)> {
        self.old.iter().chain(&self.young)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rrset::RdataSet;

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
}
