//! The keys of one zone and the records that publish them.

use std::fmt;

use super::algorithm::Algorithm;
use super::key::Key;
use crate::model::name::Name;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

/// A zone's keys: for each algorithm at least one that signs the keys and one that signs the rest (RFC 4035 §2.2).
#[derive(Debug)]
pub struct ZoneKeys {
    apex: Name,
    keys: Vec<Key>,
    dnskey: RdataSet,
    cds: RdataSet,
    cdnskey: RdataSet,
}

/// Why keys do not make a signed zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySetError {
    /// There is none.
    Empty,
    /// An algorithm has KSKs but neither a ZSK nor a CSK.
    ZoneUnsigned(Algorithm),
    /// An algorithm has ZSKs but neither a KSK nor a CSK.
    KeysUnsigned(Algorithm),
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no key"),
            Self::ZoneUnsigned(a) => write!(f, "a KSK of algorithm {a} without a ZSK of the same algorithm"),
            Self::KeysUnsigned(a) => write!(f, "a ZSK of algorithm {a} without a KSK of the same algorithm"),
        }
    }
}

impl ZoneKeys {
    /// Puts keys together. They are ordered by algorithm, role and tag, so that the same keys always make the same zone.
    pub(super) fn new(apex: &Name, mut keys: Vec<Key>) -> Result<Self, KeySetError> {
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        keys.sort_by(|a, b| {
            (a.algorithm(), a.role(), a.tag(), a.dnskey()).cmp(&(
                b.algorithm(),
                b.role(),
                b.tag(),
                b.dnskey(),
            ))
        });
        for algorithm in Algorithm::ALL {
            let mut same = keys.iter().filter(|k| k.algorithm() == algorithm).peekable();
            if same.peek().is_none() {
                continue;
            }
            if !same.clone().any(Key::signs_zone) {
                return Err(KeySetError::ZoneUnsigned(algorithm));
            }
            if !same.any(Key::signs_keys) {
                return Err(KeySetError::KeysUnsigned(algorithm));
            }
        }
        let entry_points = || keys.iter().filter(|k| k.signs_keys());
        Ok(Self {
            apex: apex.clone(),
            dnskey: RdataSet::new(keys.iter().map(Key::dnskey)),
            cds: RdataSet::new(entry_points().map(|k| k.ds(apex))),
            cdnskey: RdataSet::new(entry_points().map(Key::dnskey)),
            keys,
        })
    }

    /// The zone they sign.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// Every key, ordered by algorithm, role and tag.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The keys that sign RRsets of a type: for DNSKEY, CDS and CDNSKEY those the parent's DS points to (RFC 7344 §4.1),
    /// for all others the zone-signing ones. A CSK is both.
    pub fn signers(&self, rtype: RrType) -> impl Iterator<Item = &Key> {
        let of_keys = matches!(rtype, RrType::DNSKEY | RrType::CDS | RrType::CDNSKEY);
        self.keys.iter().filter(move |key| if of_keys { key.signs_keys() } else { key.signs_zone() })
    }

    /// The apex's DNSKEY RRset; TTL in seconds.
    pub fn dnskey(&self, ttl: u32) -> Rrset {
        Rrset { rtype: RrType::DNSKEY, ttl, rdata: self.dnskey.clone() }
    }

    /// The apex's CDS RRset, SHA-256 digests of the KSKs and CSKs (RFC 7344 §3.1); TTL in seconds.
    pub fn cds(&self, ttl: u32) -> Rrset {
        Rrset { rtype: RrType::CDS, ttl, rdata: self.cds.clone() }
    }

    /// The apex's CDNSKEY RRset, the KSKs and CSKs (RFC 7344 §3.2); TTL in seconds.
    pub fn cdnskey(&self, ttl: u32) -> Rrset {
        Rrset { rtype: RrType::CDNSKEY, ttl, rdata: self.cdnskey.clone() }
    }
}
