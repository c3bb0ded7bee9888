//! RRSIG records (RFC 4034 §3, RFC 4035 §2.2).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest;

use super::key::Key;
use super::keys::ZoneKeys;
use crate::model::name::{MAX_NAME_OCTETS, Name};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

/// Seconds by which inception lies in the past, for validators whose clock is slow.
pub const INCEPTION_BACKDATE_S: u32 = 3600;
/// The share of the time between signing and renewal by which renewals are spread: one in this many parts.
const JITTER_PARTS: u32 = 4;
/// Octets of an RRSIG's RDATA before the signer's name.
const FIXED_OCTETS: usize = 18;

/// Signs the RRsets of one zone. Cheap to clone; all times are seconds of Unix time in 32 bits (RFC 4034 §3.1.5).
#[derive(Clone, Debug)]
pub struct Signer {
    keys: Arc<ZoneKeys>,
    validity_s: u32,
    refresh_s: u32,
    /// SHA-256 over all that goes into every signature but the RRset: apex, keys, policy.
    digest: DigestContext,
    figures: Arc<SignatureFigures>,
}

/// What signing has come to since the start, over all zones.
#[derive(Debug, Default)]
pub struct SignatureFigures {
    /// RRsets signed.
    pub made: AtomicU64,
    /// RRsets that were served on with signatures which were there: unchanged, from the cache, or from an earlier run.
    pub reused: AtomicU64,
}

#[derive(Clone)]
struct DigestContext(digest::Context);

impl fmt::Debug for DigestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestContext")
    }
}

/// What identifies a signed RRset: see [`Signer::digest`].
pub type RrsetDigest = [u8; 16];

/// The signatures over one RRset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// RDATA of the RRSIG records, one for each signing key.
    pub rrsigs: RdataSet,
    /// Start of their validity.
    pub inception_s: u32,
    /// End of the earliest one's validity.
    pub expiration_s: u32,
    /// From when on they are to be replaced: the policy's refresh time before expiration.
    pub renew_at_s: u32,
}

impl Signed {
    /// Whether these signatures can be served at `now_s` and need no renewal yet. Those from the future (the clock went back) are
    /// no good: validators with the right time refuse them.
    pub fn is_fresh(&self, now_s: u32) -> bool {
        self.times().are_fresh(now_s)
    }

    fn times(&self) -> Times {
        let Self { inception_s, expiration_s, renew_at_s, .. } = *self;
        Times { inception_s, expiration_s, renew_at_s }
    }
}

/// When the signatures over one RRset can be served, as in [`Signed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Start of their validity.
    pub inception_s: u32,
    /// End of the earliest one's validity.
    pub expiration_s: u32,
    /// From when on they are to be replaced.
    pub renew_at_s: u32,
}

impl Times {
    fn are_fresh(self, now_s: u32) -> bool {
        self.inception_s <= now_s && now_s < self.renew_at_s
    }
}

/// Why an RRset was not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError {
    /// Owner name of the RRset.
    pub owner: Name,
    /// Its type.
    pub rtype: RrType,
    /// Tag of the key that failed.
    pub key_tag: u16,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: the key with tag {} does not sign (no random numbers, or the key is damaged)",
            self.owner, self.rtype, self.key_tag
        )
    }
}

impl std::error::Error for SignError {}

impl Signer {
    /// Signatures are valid for at most `validity_s` seconds from signing and are renewed `refresh_s` before they end.
    /// A refresh time that leaves less than a quarter of the validity is taken as three quarters.
    pub fn new(keys: Arc<ZoneKeys>, validity_s: u32, refresh_s: u32) -> Self {
        let refresh_s = refresh_s.min(validity_s - validity_s / 4);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"hale-rrsig-1");
        context.update(keys.apex().wire());
        context.update(&validity_s.to_be_bytes());
        context.update(&refresh_s.to_be_bytes());
        for key in keys.keys() {
            context.update(&(key.dnskey().len() as u32).to_be_bytes());
            context.update(key.dnskey());
            context.update(&[u8::from(key.signs_keys()), u8::from(key.signs_zone())]);
        }
        Self { keys, validity_s, refresh_s, digest: DigestContext(context), figures: Arc::default() }
    }

    /// Counts in `figures`, which signers share.
    #[must_use]
    pub fn counted_in(self, figures: &Arc<SignatureFigures>) -> Self {
        Self { figures: Arc::clone(figures), ..self }
    }

    /// Counts signatures that were used again.
    pub fn count_reused(&self, rrsets: u64) {
        self.figures.reused.fetch_add(rrsets, Ordering::Relaxed);
    }

    /// The keys it signs with.
    pub fn keys(&self) -> &Arc<ZoneKeys> {
        &self.keys
    }

    /// Identifies an RRset with everything that its signatures depend on but the time: owner, type, TTL, RDATA, zone, keys and
    /// policy. 128 bits of SHA-256: no two RRsets of a zone share it by chance, and who looks for two that do, with 2⁶⁴ trials,
    /// gains a signature that does not validate, over records of their own.
    pub fn digest(&self, owner: &Name, rrset: &Rrset) -> RrsetDigest {
        let mut context = self.digest.0.clone();
        // The root label ends the name, so the parts cannot run into one another.
        context.update(owner.wire());
        let mut fixed = [0; 6];
        fixed[..2].copy_from_slice(&rrset.rtype.0.to_be_bytes());
        fixed[2..].copy_from_slice(&rrset.ttl.to_be_bytes());
        context.update(&fixed);
        context.update(rrset.rdata.as_bytes());
        let whole = context.finish();
        let mut out = RrsetDigest::default();
        out.copy_from_slice(&whole.as_ref()[..16]);
        out
    }

    /// How long before their end signatures are renewed, in seconds.
    pub fn refresh_s(&self) -> u32 {
        self.refresh_s
    }

    /// What these RRSIG RDATAs, made earlier, amount to; `None` if one is malformed or there is none.
    pub fn recall(&self, rrsigs: RdataSet) -> Option<Signed> {
        let Times { inception_s, expiration_s, renew_at_s } = self.times(&rrsigs)?;
        Some(Signed { rrsigs, inception_s, expiration_s, renew_at_s })
    }

    /// The times of these RRSIG RDATAs; `None` if one is malformed or there is none.
    pub fn times(&self, rrsigs: &RdataSet) -> Option<Times> {
        let word = |rrsig: &[u8], at: usize| rrsig.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let mut times: Option<Times> = None;
        for rrsig in rrsigs.iter() {
            let (expiration_s, inception_s) = (word(rrsig, 8)?, word(rrsig, 12)?);
            let so_far = times.unwrap_or(Times { inception_s, expiration_s, renew_at_s: 0 });
            let expiration_s = so_far.expiration_s.min(expiration_s);
            let inception_s = so_far.inception_s.max(inception_s);
            times = Some(Times {
                inception_s,
                expiration_s,
                renew_at_s: expiration_s.saturating_sub(self.refresh_s),
            });
        }
        times
    }

    /// Whether these RRSIG RDATAs, made earlier over an equal RRset, can be served on: they come from exactly the keys that sign
    /// `rtype` now, have begun, and are not due for renewal.
    pub fn accepts(&self, rtype: RrType, rrsigs: &RdataSet, now_s: u32) -> bool {
        let made_by = |key: &Key| {
            let tag = key.tag().to_be_bytes();
            rrsigs.iter().any(|r| r.get(2) == Some(&key.algorithm().number()) && r.get(16..18) == Some(&tag))
        };
        self.times(rrsigs).is_some_and(|times| times.are_fresh(now_s))
            && self.keys.signers(rtype).all(made_by)
            && self.keys.signers(rtype).count() == rrsigs.len()
    }

    /// Signs an RRset with every key that signs its type.
    ///
    /// # Errors
    /// The system gives no random numbers, or a key is damaged.
    pub fn sign(&self, owner: &Name, rrset: &Rrset, now_s: u32) -> Result<Signed, SignError> {
        self.figures.made.fetch_add(1, Ordering::Relaxed);
        // Seconds saturate where RRSIG records would begin anew: by a clock that wrong a signature would always be due, and renewed at each look.
        let inception_s = now_s.saturating_sub(INCEPTION_BACKDATE_S);
        let expiration_s = self.expiration(owner, now_s);
        let mut message = self.message(owner, rrset, inception_s, expiration_s);
        let prefix = FIXED_OCTETS + self.keys.apex().wire().len();
        let mut rdatas: Vec<Vec<u8>> = Vec::with_capacity(1);
        for key in self.keys.signers(rrset.rtype) {
            message[2] = key.algorithm().number();
            message[16..18].copy_from_slice(&key.tag().to_be_bytes());
            let mut rdata = Vec::with_capacity(prefix + key.signature_len());
            rdata.extend_from_slice(&message[..prefix]);
            key.sign(&message, &mut rdata)
                .map_err(|ring::error::Unspecified| self.error(owner, rrset, key))?;
            rdatas.push(rdata);
        }
        Ok(Signed {
            rrsigs: RdataSet::new(rdatas),
            inception_s,
            expiration_s,
            renew_at_s: expiration_s.saturating_sub(self.refresh_s),
        })
    }

    /// What is signed (RFC 4034 §3.1.8.1): the RRSIG's RDATA without the signature, then the records in canonical form
    /// and order. Algorithm and key tag are left zero.
    fn message(&self, owner: &Name, rrset: &Rrset, inception_s: u32, expiration_s: u32) -> Vec<u8> {
        let (apex, owner_wire) = (self.keys.apex().wire(), owner.wire());
        let rdata_octets = rrset.rdata.as_bytes().len();
        let records = rrset.rdata.len();
        let mut out =
            Vec::with_capacity(FIXED_OCTETS + apex.len() + records * (owner_wire.len() + 8) + rdata_octets);
        // A wildcard label does not count (RFC 4034 §3.1.3): that is how a validator sees the expansion.
        let labels = owner.label_count() - usize::from(owner.is_wildcard());
        out.extend_from_slice(&rrset.rtype.0.to_be_bytes());
        out.extend_from_slice(&[0, labels as u8]);
        out.extend_from_slice(&rrset.ttl.to_be_bytes());
        out.extend_from_slice(&expiration_s.to_be_bytes());
        out.extend_from_slice(&inception_s.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(apex);
        // Owner, type, class IN and TTL are the same for every record.
        let mut head = [0; MAX_NAME_OCTETS + 8];
        let end = owner_wire.len();
        head[..end].copy_from_slice(owner_wire);
        head[end..end + 2].copy_from_slice(&rrset.rtype.0.to_be_bytes());
        head[end + 2..end + 4].copy_from_slice(&1u16.to_be_bytes());
        head[end + 4..end + 8].copy_from_slice(&rrset.ttl.to_be_bytes());
        for rdata in rrset.rdata.iter() {
            out.extend_from_slice(&head[..end + 8]);
            out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            out.extend_from_slice(rdata);
        }
        out
    }

    /// The end of validity: earlier than the full term by a share of the time until renewal that depends on the owner alone. So a zone that was
    /// signed at once is not renewed at once, and all signatures of an owner fall due together: one commit renews them.
    fn expiration(&self, owner: &Name, now_s: u32) -> u32 {
        let spread = (self.validity_s - self.refresh_s) / JITTER_PARTS;
        now_s.saturating_add(self.validity_s - scale(fnv1a(owner.wire()), spread))
    }

    fn error(&self, owner: &Name, rrset: &Rrset, key: &Key) -> SignError {
        SignError { owner: owner.clone(), rtype: rrset.rtype, key_tag: key.tag() }
    }
}

/// A number of 0 to `limit`, spread as evenly as `hash` is.
fn scale(hash: u32, limit: u32) -> u32 {
    ((u64::from(hash) * (u64::from(limit) + 1)) >> 32) as u32
}

/// FNV-1a with a last mix, so that the upper bits depend on every octet. It need not resist anyone: who chooses names so that their renewals
/// coincide only has their own signed at the same time.
fn fnv1a(octets: &[u8]) -> u32 {
    let hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    ((hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
