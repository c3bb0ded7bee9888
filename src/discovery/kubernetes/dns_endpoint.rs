//! DNSEndpoint of external-dns: names with records as somebody wrote them.

use std::net::IpAddr;

use crate::discovery::claim::{Claim, HostTarget, Route, Targets};
use crate::discovery::source::{ProblemKind, Seen};
use crate::model::discovered::DiscoveredRrset;
use crate::model::name::Name;
use crate::model::rdata;
use crate::model::rrset::RdataSet;
use crate::model::rrtype::RrType;
use crate::model::ttl::MAX_TTL;

use super::draft::{Draft, shorten};
use super::objects::{DnsEndpoint, DnsEndpointEntry};
use super::options::Options;

/// Types that are published as they are.
const RRSETS: [(&str, RrType); 6] = [
    ("TXT", RrType::TXT),
    ("MX", RrType::MX),
    ("SRV", RrType::SRV),
    ("CAA", RrType::CAA),
    ("PTR", RrType::PTR),
    ("NAPTR", RrType::NAPTR),
];

/// What a DNSEndpoint publishes.
pub fn claims(object: &DnsEndpoint, options: &Options) -> Seen {
    let mut draft = Draft::default();
    if options.admits(&object.metadata) {
        for (at, entry) in object.spec.endpoints.iter().enumerate() {
            publish(&mut draft, entry, &format!("spec.endpoints[{at}]"));
        }
    }
    draft.finish(options, &object.metadata)
}

/// Claims what one entry says.
fn publish(draft: &mut Draft, entry: &DnsEndpointEntry, place: &str) {
    let Some(name) = draft.name(&entry.dns_name, &format!("{place}.dnsName")) else {
        return;
    };
    let ttl = time_to_live(draft, entry, place);
    let kind = entry.record_type.trim().to_ascii_uppercase();
    if let Some((_, rtype)) = RRSETS.iter().find(|(mnemonic, _)| *mnemonic == kind) {
        publish_rrset(draft, &name, *rtype, entry, ttl, place);
        return;
    }
    let suits: fn(&HostTarget) -> bool = match &*kind {
        "A" => |target| matches!(target, HostTarget::Address(IpAddr::V4(_))),
        "AAAA" => |target| matches!(target, HostTarget::Address(IpAddr::V6(_))),
        "CNAME" => |target| matches!(target, HostTarget::Host(_)),
        "" => |_| true,
        _ => {
            let text =
                format!("{place}: {} records are not taken from a DNSEndpoint", shorten(&entry.record_type));
            return draft.problem(ProblemKind::Refused, text);
        }
    };
    let texts = entry.targets.iter().map(|target| &**target);
    let mut targets = draft.targets(texts, &format!("{place}.targets"));
    for wrong in targets.extract_if(.., |target| !suits(target)) {
        draft.problem(ProblemKind::Malformed, format!("{place}.targets: {wrong} does not suit type {kind}"));
    }
    if targets.is_empty() {
        return draft.problem(ProblemKind::Malformed, format!("{place}: {name} has no targets"));
    }
    draft.claim(name.clone(), super::draft::known_or(targets, || Box::from("")), Route::Unchecked);
    if let Some(claim) = draft.claim_mut(&name) {
        claim.ttl = claim.ttl.or(ttl);
    }
}

/// Claims an RRset. A record that cannot be read is reported and left out.
fn publish_rrset(
    draft: &mut Draft,
    name: &Name,
    rtype: RrType,
    entry: &DnsEndpointEntry,
    ttl: Option<u32>,
    place: &str,
) {
    let mut records = Vec::with_capacity(entry.targets.len());
    for target in &entry.targets {
        // Below the root, since names in a DNSEndpoint are absolute with or without the dot.
        match rdata::parse(rtype, target.trim(), &Name::root()) {
            Ok(record) => records.push(record),
            Err(error) => {
                let text = format!("{place}.targets: \"{}\": {error}", shorten(target));
                draft.problem(ProblemKind::Malformed, text);
            }
        }
    }
    if records.is_empty() {
        return draft.problem(ProblemKind::Malformed, format!("{place}: {name} {rtype} has no records"));
    }
    draft.claim(name.clone(), Targets::Known(Vec::new()), Route::Unchecked);
    let Some(claim) = draft.claim_mut(name) else {
        return;
    };
    add_rrset(claim, DiscoveredRrset { rtype, rdata: RdataSet::new(&records), ttl });
}

/// Adds an RRset; a second one of the type joins the first, and the smaller TTL counts (RFC 2181 §5.2).
fn add_rrset(claim: &mut Claim, more: DiscoveredRrset) {
    match claim.rrsets.iter_mut().find(|held| held.rtype == more.rtype) {
        Some(held) => {
            held.rdata = RdataSet::new(held.rdata.iter().chain(more.rdata.iter()));
            held.ttl = match (held.ttl, more.ttl) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        None => claim.rrsets.push(more),
    }
}

/// The TTL in seconds; 0 is none of its own.
fn time_to_live(draft: &mut Draft, entry: &DnsEndpointEntry, place: &str) -> Option<u32> {
    match u32::try_from(entry.record_ttl) {
        Ok(0) => None,
        Ok(ttl) if ttl <= MAX_TTL => Some(ttl),
        _ => {
            let text = format!("{place}.recordTTL: {} is no TTL", entry.record_ttl);
            draft.problem(ProblemKind::Malformed, text);
            None
        }
    }
}
