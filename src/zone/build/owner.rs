//! One owner's configuration becomes its RRsets and checked addresses.

use std::collections::BTreeSet;

use super::Builder;
use crate::config::{Dnssec, OwnerConfig, RdataText, RrsetConfig};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::rdata::{self, Additional, Parsed};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::target::{Endpoint, EndpointData};
use crate::model::ttl::MAX_TTL;
use crate::zone::check::{self, Held, Link, Mark};
use crate::zone::desired::{Checked, DesiredOwner, Place, auto_ttl};
use crate::zone::owners::Placed;

/// Octets that an RRset may take in a message of 65,535 octets, beside the header and the longest question.
const MAX_RRSET_OCTETS: usize = 65_535 - 12 - 259;

impl Builder<'_> {
    /// Parses and checks one owner, and keeps it.
    pub(super) fn add_owner(&mut self, name: Name, mut config: OwnerConfig) {
        let (mut rrsets, mut held) = (Vec::new(), Vec::new());
        let checked = self.addresses(&name, &mut config, &mut rrsets, &mut held);
        for given in &config.rrsets {
            self.rrset(&name, given, &mut rrsets, &mut held);
        }
        for held in &held {
            self.check_size(held);
        }
        let subject = check::Subject {
            file: &self.header.file,
            is_apex: name == self.apex,
            is_wildcard: name.is_wildcard(),
            is_signed: matches!(self.header.dnssec, Dnssec::On(_)),
            held: &held,
        };
        check::owner(&subject, &mut self.diagnostics);
        rrsets.sort_by_key(|rrset| rrset.rtype);
        // A list that grew by pushing has room for four, and most owners hold one: 70 MiB with a million of them.
        rrsets.shrink_to_fit();
        let owner = DesiredOwner { place: Place::Authoritative, rrsets, checked, order: config.order };
        self.owners.push(Placed { name, owner, position: config.position });
    }

    /// The owner's A and AAAA: plain RRsets, or [`Checked`] if any of them has a check.
    fn addresses(
        &mut self,
        name: &Name,
        config: &mut OwnerConfig,
        rrsets: &mut Vec<Rrset>,
        held: &mut Vec<Held>,
    ) -> Option<Box<Checked>> {
        let endpoints = std::mem::take(&mut config.endpoints);
        for rtype in [RrType::A, RrType::AAAA] {
            let mut of_family =
                endpoints.iter().zip(&config.endpoint_places).filter(|(e, _)| e.data.rtype() == rtype);
            let count = of_family.clone().count();
            let Some((_, (position, path))) = of_family.next() else { continue };
            let mark = Mark { position: *position, path: path.as_str().into() };
            let ttl = if rtype == RrType::A { config.a_ttl } else { config.aaaa_ttl };
            self.check_ttl(ttl, &mark);
            let octets = count * if rtype == RrType::A { 4 } else { 16 };
            held.push(Held { rtype, count, octets, mark });
        }
        let auto = auto_ttl(endpoints.iter().flat_map(Endpoint::checks));
        let ttl_of = |rtype: RrType, given: Option<u32>| {
            let of_family = || endpoints.iter().filter(|e| e.data.rtype() == rtype);
            let is_static = of_family().next().is_some() && of_family().all(|e| e.condition.is_none());
            match (given, auto) {
                (Some(ttl), _) => (ttl, false),
                (None, Some(auto)) if !is_static => (auto, true),
                _ => (self.header.default_ttl, false),
            }
        };
        let (a, aaaa) = (ttl_of(RrType::A, config.a_ttl), ttl_of(RrType::AAAA, config.aaaa_ttl));
        if auto.is_none() && config.policy.is_none() {
            for (rtype, (ttl, _)) in [(RrType::A, a), (RrType::AAAA, aaaa)] {
                let of_family = endpoints.iter().filter(|e| e.data.rtype() == rtype);
                let rdata = RdataSet::new(of_family.map(|e| e.data.rdata()));
                if !rdata.is_empty() {
                    rrsets.push(Rrset { rtype, ttl, rdata });
                }
            }
            return None;
        }
        let fallback: Vec<EndpointData> =
            std::mem::take(&mut config.fallback).into_iter().map(EndpointData::Address).collect();
        // A family of which there is no address has no RRset, and no say in the zone's negative TTL.
        let mut ttls = Vec::with_capacity(2);
        for (rtype, (ttl, is_auto)) in [(RrType::A, a), (RrType::AAAA, aaaa)] {
            if !endpoints.iter().map(|e| &e.data).chain(&fallback).any(|data| data.rtype() == rtype) {
                continue;
            }
            ttls.push((rtype, ttl));
            if is_auto {
                self.smallest_auto_ttl =
                    Some(self.smallest_auto_ttl.map_or(ttl, |smallest| smallest.min(ttl)));
            }
        }
        let first = endpoints.iter().position(|e| e.condition.is_some());
        if let Some(i) = first.or_else(|| config.policy.as_ref().map(|_| 0)) {
            let (position, path) =
                config.endpoint_places.get(i).cloned().unwrap_or((config.position, String::new()));
            self.checked.push((name.clone(), Mark { position, path: path.into() }));
        }
        Some(Box::new(Checked {
            endpoints,
            ttls: ttls.into(),
            when_all_down: config.when_all_down,
            fallback,
            order: config.order,
            startup: config.startup.unwrap_or(self.header.startup),
            policy: config.policy.take(),
        }))
    }

    fn rrset(&mut self, name: &Name, given: &RrsetConfig, rrsets: &mut Vec<Rrset>, held: &mut Vec<Held>) {
        let Some(first) = given.data.first() else { return };
        let mark = mark(first);
        let rtype = given.rtype;
        if let Some(other) = held.iter().find(|held| held.rtype == rtype) {
            let hint = format!("the other one is at {}", other.mark.path);
            self.error(&mark, format!("the owner has a second {rtype} RRset"), hint);
            return;
        }
        self.check_ttl(given.ttl, &mark);
        let mut all = BTreeSet::new();
        for data in &given.data {
            match rdata::parse_noting(rtype, &data.text, &self.apex) {
                Ok(parsed) => {
                    self.links(name, rtype, &parsed, data);
                    if !all.insert(parsed.wire) {
                        let diagnostic =
                            Diagnostic::warning(&self.header.file, "the same record stands twice");
                        self.diagnostics.push(
                            diagnostic.at(data.position, data.path.as_str()).hint("one of them is left out"),
                        );
                    }
                }
                Err(error) => {
                    let mut diagnostic = Diagnostic::error(&self.header.file, error.message)
                        .at(data.position, data.path.as_str());
                    diagnostic.hint = error.hint;
                    self.diagnostics.push(diagnostic);
                }
            }
        }
        let ttl = given.ttl.unwrap_or(self.header.default_ttl);
        let rdata = RdataSet::new(&all);
        // What could not be parsed still counts as held, so that no error follows from another.
        let octets = all.iter().map(Vec::len).sum();
        held.push(Held { rtype, count: all.len().max(1), octets, mark });
        rrsets.push(Rrset { rtype, ttl, rdata });
    }

    /// Keeps the names in RDATA that the zone itself should hold, to look them up once all owners are known.
    fn links(&mut self, owner: &Name, rtype: RrType, parsed: &Parsed, data: &RdataText) {
        for found in rdata::names(rtype, &parsed.wire) {
            let Ok(target) = Name::from_wire(&parsed.wire[found.offset..found.offset + found.len]) else {
                continue;
            };
            if *owner == self.apex && rtype == RrType::NS && self.first_apex_ns.is_none() {
                self.first_apex_ns = Some(target.clone());
            }
            let target = if found.role.additional == Additional::Owner { owner.clone() } else { target };
            let written = parsed.relative.iter().find(|relative| relative.offset == found.offset);
            let hints = rdata::has_address_hints(rtype, &parsed.wire);
            let has_more_rules = hints || matches!(rtype, RrType::NS | RrType::MX | RrType::SRV);
            let is_settled = !has_more_rules && target == *owner;
            if is_settled || !target.is_at_or_below(&self.apex) || !(found.role.link || written.is_some()) {
                continue;
            }
            self.links.push(Link {
                owner: owner.clone(),
                rtype,
                target,
                mark: mark(data),
                written: written.map(|relative| relative.written.as_str().into()),
                follow: found.role.link,
                hints,
            });
        }
    }

    /// RFC 2181 §8.
    fn check_ttl(&mut self, ttl: Option<u32>, mark: &Mark) {
        if let Some(ttl) = ttl.filter(|&ttl| ttl > MAX_TTL) {
            self.error(
                mark,
                format!("a TTL of {ttl} seconds"),
                format!("the limit is {MAX_TTL} seconds (RFC 2181 §8)"),
            );
        }
    }

    fn check_size(&mut self, held: &Held) {
        // A compressed owner name, type, class, TTL and length take 12 octets for each record.
        let octets = held.octets + 12 * held.count;
        if octets > MAX_RRSET_OCTETS {
            let message =
                format!("the {} RRset takes {octets} octets, which no DNS message can hold", held.rtype);
            let hint =
                format!("the limit is {MAX_RRSET_OCTETS} octets; spread the records over several owners");
            self.error(&held.mark, message, hint);
        }
    }

    fn error(&mut self, mark: &Mark, message: String, hint: String) {
        self.diagnostics
            .push(Diagnostic::error(&self.header.file, message).at(mark.position, &*mark.path).hint(hint));
    }
}

fn mark(data: &RdataText) -> Mark {
    Mark { position: data.position, path: data.path.as_str().into() }
}
