//! Response rate limiting: no client network is sent more than its rate of responses of one kind about one name.
//!
//! What it is against: forged queries make a server flood the owner of the forged address. BIND, NSD and Knot DNS do likewise, no
//! RFC says how. A response is judged once it is made, since only then its kind is known and the name that counts
//! ([`Class::name_hash`]), which for names that do not exist is the zone's and so nothing that the client can vary.
//!
//! Each rate is a token bucket, kept as the one instant at which it would be full again (the generic cell rate algorithm). A table holds
//! a fixed number of them in sets of four that share a cache line. Where a set is full, the bucket that will be full first
//! makes room: it is the one that knows least, so that a flood of forged networks does not push out those that are being limited.
//!
//! A table belongs to one thread: no lock, and no line that two processors write. The kernel spreads flows over the workers by
//! address and port, so one flow has exactly its rate, and a network with many flows up to the rate of each worker. To divide the rate by the
//! number of workers would be worse: a resolver with one source port would get a fraction of what was configured.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use crate::answer::{Class, Kind};
use crate::config::RateLimits;

/// What is to be done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it.
    Send,
    /// Send it truncated, so that a real client turns to TCP.
    Truncate,
    /// Send nothing.
    Drop,
}

/// Buckets that share a cache line.
const WAYS: usize = 4;
const SECOND_NS: u64 = 1_000_000_000;

/// The rate of one (network, kind, name).
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Some bits of the hash of what it is about.
    tag: u32,
    /// Responses beyond the rate, counted round.
    limited: u32,
    /// When it would be full again, in nanoseconds since the limiter was made. The past means full.
    full_at_ns: u64,
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Bucket; WAYS]);

/// A rate in the form in which it is applied.
#[derive(Clone, Copy)]
struct Rate {
    /// What one response takes of the bucket.
    cost_ns: u64,
    /// What a full bucket holds.
    most_ns: u64,
}

/// The rates of one thread.
pub(super) struct Limiter {
    limits: RateLimits,
    responses: Rate,
    nxdomains: Rate,
    referrals: Rate,
    errors: Rate,
    v4_mask: u32,
    v6_mask: u128,
    /// Nobody outside knows which buckets collide.
    key: [u64; 2],
    sets: Box<[Set]>,
    /// Buckets forgotten that were not full.
    forgotten: u64,
    started: Instant,
    now_ns: u64,
}

impl Limiter {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let rate = |per_second: u32| {
            let cost_ns = SECOND_NS / u64::from(per_second.max(1));
            Rate { cost_ns, most_ns: (u64::from(limits.burst_ms) * 1_000_000).max(cost_ns) }
        };
        let random = RandomState::new();
        Self {
            responses: rate(limits.responses_per_second),
            nxdomains: rate(limits.nxdomains_per_second),
            referrals: rate(limits.referrals_per_second),
            errors: rate(limits.errors_per_second),
            v4_mask: u32::MAX.checked_shl(32 - u32::from(limits.ipv4_prefix.min(32))).unwrap_or(0),
            v6_mask: u128::MAX.checked_shl(128 - u32::from(limits.ipv6_prefix.min(128))).unwrap_or(0),
            key: [random.hash_one(0), random.hash_one(1)],
            sets: vec![Set::default(); limits.table_size.div_ceil(WAYS).next_power_of_two()].into(),
            forgotten: 0,
            started: Instant::now(),
            now_ns: 0,
            limits: limits.clone(),
        }
    }

    /// Time passes for the buckets here and nowhere else. The clock is monotonic: one that was set must not starve anybody.
    #[inline]
    pub(super) fn set_clock(&mut self, now: Instant) {
        // 584 years fit.
        self.now_ns = now.saturating_duration_since(self.started).as_nanos() as u64;
    }

    /// How many buckets were forgotten since the last call that were not full.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// Takes a response to `client` off its bucket and says what is to be done with it.
    #[inline]
    pub(super) fn judge(&mut self, client: IpAddr, class: &Class) -> Verdict {
        // A good cookie proves the address (RFC 7873 §4.2).
        if class.has_cookie {
            return Verdict::Send;
        }
        // Errors count together: they cost little and say little, and most have no zone.
        let (rate, name) = match class.kind {
            Kind::Positive | Kind::Synthesised | Kind::Nodata => (self.responses, class.name_hash),
            Kind::Nxdomain => (self.nxdomains, class.name_hash),
            Kind::Referral => (self.referrals, class.name_hash),
            Kind::Error => (self.errors, 0),
        };
        let hash = self.hash(client, class.kind, name);
        let now_ns = self.now_ns;
        let bucket = self.bucket(hash);
        let full_at_ns = bucket.full_at_ns.max(now_ns) + rate.cost_ns;
        if full_at_ns <= now_ns + rate.most_ns {
            bucket.full_at_ns = full_at_ns;
            return Verdict::Send;
        }
        let nth = bucket.limited;
        bucket.limited = nth.wrapping_add(1);
        self.beyond(client, nth)
    }

    /// What is to be done with the `nth` response beyond a rate, counted from 0. The first one is truncated, so that a real client need not
    /// wait for an answer before it turns to TCP.
    #[cold]
    fn beyond(&self, client: IpAddr, nth: u32) -> Verdict {
        if self.limits.exempt.iter().any(|network| network.contains(client)) {
            Verdict::Send
        } else if self.limits.slip > 0 && nth.is_multiple_of(self.limits.slip) {
            Verdict::Truncate
        } else {
            Verdict::Drop
        }
    }

    /// The bucket of that hash, a full one if it was not known.
    #[inline]
    fn bucket(&mut self, hash: u64) -> &mut Bucket {
        let tag = (hash >> 32) as u32;
        // The number of sets is a power of two.
        let at = hash as usize & (self.sets.len() - 1);
        let set = &mut self.sets[at].0;
        if let Some(known) = set.iter().position(|bucket| bucket.tag == tag) {
            return &mut set[known];
        }
        let mut fullest = 0;
        for way in 1..WAYS {
            if set[way].full_at_ns < set[fullest].full_at_ns {
                fullest = way;
            }
        }
        self.forgotten += u64::from(set[fullest].full_at_ns > self.now_ns);
        set[fullest] = Bucket { tag, ..Bucket::default() };
        &mut set[fullest]
    }

    #[inline]
    fn hash(&self, client: IpAddr, kind: Kind, name: u64) -> u64 {
        let (family, network) = match client.to_canonical() {
            IpAddr::V4(v4) => (0, u128::from(u32::from(v4) & self.v4_mask)),
            IpAddr::V6(v6) => (1, u128::from(v6) & self.v6_mask),
        };
        let network = mix(network as u64 ^ self.key[0], (network >> 64) as u64 ^ self.key[1]);
        mix(network ^ (family << 8 | kind as u64), name ^ self.key[0])
    }
}

/// Both halves of the product, folded: every bit of the result depends on all of the factors.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
#[path = "rrl_tests.rs"]
mod tests;
