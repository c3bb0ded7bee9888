//! The desired zone: every declared record with what decides about it, before health has its say.

use std::ops::Range;

use super::owners::Owners;
use crate::config::{Order, Startup, WhenAllDown};
use crate::model::condition::Condition;
use crate::model::name::Name;
use crate::model::policy::Policy;
use crate::model::rrset::Rrset;
use crate::model::rrtype::RrType;
use crate::model::target::{Check, Endpoint, EndpointData, Group};

/// A zone as it is configured. It lives while a snapshot is built; afterwards only its checked owners are kept.
#[derive(Clone, Debug)]
pub struct DesiredZone {
    /// The apex.
    pub apex: Name,
    /// The SOA record's figures.
    pub soa: Soa,
    /// Every owner that holds records, the apex with its NS RRset among them; neither SOA nor any record that signing adds.
    pub owners: Owners,
}

/// The SOA record but for its serial. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Primary name server.
    pub mname: Name,
    /// Mailbox of the person responsible.
    pub rname: Name,
    /// Refresh interval.
    pub refresh: u32,
    /// Retry interval.
    pub retry: u32,
    /// Expiry; always more than refresh.
    pub expire: u32,
    /// Negative TTL (RFC 2308 §4) and TTL of NSEC records (RFC 9077), at most the smallest auto TTL of the zone.
    pub minimum: u32,
    /// TTL of the SOA record, likewise capped.
    pub ttl: u32,
}

/// One owner name's desired records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredOwner {
    /// Place in the zone.
    pub place: Place,
    /// RRsets that health does not touch, by type.
    pub rrsets: Vec<Rrset>,
    /// Records that health decides about.
    pub checked: Option<Box<Checked>>,
    /// Order of the addresses among [`DesiredOwner::rrsets`] in answers; checked ones have their own.
    pub order: Order,
    /// The host whose addresses it has besides.
    pub alias: Option<Box<Alias>>,
}

/// Where an owner stands with regard to zone cuts (RFC 9499 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The apex.
    Apex,
    /// Authoritative data.
    Authoritative,
    /// A zone cut: NS (not authoritative) and DS.
    Cut,
    /// Below a cut, or below a DNAME owner: glue or occluded; never signed, no NSEC.
    Occluded,
}

/// A host whose addresses an owner has, which are resolved in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The host.
    pub target: Name,
    /// TTL of the addresses in seconds.
    pub ttl: u32,
    /// What must hold for an address to be up: it stands in the targets in place of the unspecified one.
    pub condition: Option<Condition>,
    /// What to answer when every address is down.
    pub when_all_down: WhenAllDown,
    /// Addresses of [`WhenAllDown::Fallback`], also for a host that has none.
    pub fallback: Vec<EndpointData>,
    /// Types of which nothing is known yet; set when the rest is.
    pub pending: Vec<RrType>,
}

/// Records that health or a policy decides about: addresses, A and AAAA together, and RRsets of other types, each on its own. One without a
/// condition counts as up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The records; those of one [`Group`] stand together, and those that the policy is about in front.
    pub endpoints: Vec<Endpoint>,
    /// TTL of each type in seconds, the types of the fallback among them.
    pub ttls: Box<[(RrType, u32)]>,
    /// What to answer when every endpoint of a group is down.
    pub when_all_down: WhenAllDown,
    /// Records of [`WhenAllDown::Fallback`].
    pub fallback: Vec<EndpointData>,
    /// Order of addresses in answers.
    pub order: Order,
    /// What to answer before the first verdict.
    pub startup: Startup,
    /// How the first group, of addresses or of CNAMEs, becomes an answer; `None` for all that are up.
    pub policy: Option<Box<Policy>>,
}

impl Checked {
    /// The groups with the places of their endpoints.
    pub fn groups(&self) -> impl Iterator<Item = (Group, Range<usize>)> {
        let mut start = 0;
        self.endpoints.chunk_by(|a, b| a.data.group() == b.data.group()).map(move |endpoints| {
            let range = start..start + endpoints.len();
            start = range.end;
            (endpoints[0].data.group(), range)
        })
    }

    /// Whether records of a type are among what is decided about.
    pub fn decides(&self, rtype: RrType) -> bool {
        let group = Group::of(rtype);
        self.endpoints.iter().any(|endpoint| endpoint.data.group() == group)
    }

    /// TTL of a type in seconds.
    pub fn ttl(&self, rtype: RrType) -> u32 {
        // Every type of an endpoint or of the fallback has one.
        self.ttls.iter().find(|(of, _)| *of == rtype).map_or(0, |(_, ttl)| *ttl)
    }
}

/// The longest `auto` TTL, in seconds.
const MAX_AUTO_TTL: u32 = 300;

/// The `auto` TTL in seconds: how long a change of health takes to be noticed, at the fastest of these checks; `None` if
/// there are none. Rounded down, so that no answer outlives the next change.
pub fn auto_ttl<'a>(checks: impl Iterator<Item = &'a Check>) -> Option<u32> {
    let change_ms = |check: &Check| u64::from(check.interval_ms) * u64::from(check.rise.min(check.fall));
    let fastest_ms = checks.map(change_ms).min()?;
    Some(u32::try_from(fastest_ms / 1000).unwrap_or(MAX_AUTO_TTL).clamp(1, MAX_AUTO_TTL))
}
