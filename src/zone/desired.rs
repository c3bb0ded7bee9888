//! The desired zone: every declared record with what decides about it, before health has its say.

use std::net::IpAddr;

use super::owners::Owners;
use crate::config::{Order, Startup, WhenAllDown};
use crate::model::name::Name;
use crate::model::policy::Policy;
use crate::model::rrset::Rrset;
use crate::model::target::Endpoint;

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
#[derive(Clone, Debug)]
pub struct DesiredOwner {
    /// Place in the zone.
    pub place: Place,
    /// RRsets that health does not touch, by type.
    pub rrsets: Vec<Rrset>,
    /// Addresses that health decides about.
    pub checked: Option<Box<Checked>>,
    /// Order of the addresses among [`DesiredOwner::rrsets`] in answers; checked ones have their own.
    pub order: Order,
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

/// Addresses with health checks, A and AAAA together. An address without a target counts as up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The addresses.
    pub endpoints: Vec<Endpoint>,
    /// TTL of the A RRset in seconds.
    pub a_ttl: u32,
    /// TTL of the AAAA RRset in seconds.
    pub aaaa_ttl: u32,
    /// What to answer when every endpoint is down.
    pub when_all_down: WhenAllDown,
    /// Addresses of [`WhenAllDown::Fallback`].
    pub fallback: Vec<IpAddr>,
    /// Order of addresses in answers.
    pub order: Order,
    /// What to answer before the first verdict.
    pub startup: Startup,
    /// How the addresses become an answer; `None` for all that are up.
    pub policy: Option<Box<Policy>>,
}

/// The longest `auto` TTL, in seconds.
const MAX_AUTO_TTL: u32 = 300;

/// The `auto` TTL in seconds: how long a change of health takes to be noticed, at the fastest of the owner's checks; `None` if
/// nothing is checked. Rounded down, so that no answer outlives the next change.
pub fn auto_ttl(endpoints: &[Endpoint]) -> Option<u32> {
    let mut fastest_ms: Option<u64> = None;
    for condition in endpoints.iter().filter_map(|e| e.condition.as_ref()) {
        condition.for_each_target(&mut |target| {
            let check = &target.check;
            let change_ms = u64::from(check.interval_ms) * u64::from(check.rise.min(check.fall));
            fastest_ms = Some(fastest_ms.map_or(change_ms, |fastest| fastest.min(change_ms)));
        });
    }
    let fastest_ms = fastest_ms?;
    Some(u32::try_from(fastest_ms / 1000).unwrap_or(MAX_AUTO_TTL).clamp(1, MAX_AUTO_TTL))
}
