//! One owner's configuration becomes its RRsets and checked records.

use std::collections::BTreeSet;

use super::Builder;
use crate::config::{AliasConfig, Dnssec, OwnerConfig, RdataText, RrsetConfig, WhenAllDown};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::rdata::{self, Additional, Parsed};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::target::{Endpoint, EndpointData};
use crate::model::ttl::MAX_TTL;
use crate::zone::check::{self, Held, Link, Mark};
use crate::zone::desired::{Alias, Checked, DesiredOwner, Place, auto_ttl};
use crate::zone::fold::ALIAS_TTL;
use crate::zone::owners::Placed;

/// Octets that an RRset may take in a message of 65,535 octets, beside the header and the longest question.
const MAX_RRSET_OCTETS: usize = 65_535 - 12 - 259;

/// An owner in the making.
#[derive(Default)]
pub(super) struct Parts {
    rrsets: Vec<Rrset>,
    pub(super) held: Vec<Held>,
    /// What [`Checked`] is made of.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) ttls: Vec<(RrType, u32)>,
    pub(super) fallback: Vec<EndpointData>,
    /// Where the first checked record stands, or the first that a policy decides about.
    pub(super) first_checked: Option<Mark>,
}

impl Builder<'_> {
    /// Parses and checks one owner, and keeps it.
    pub(super) fn add_owner(&mut self, name: Name, mut config: OwnerConfig) {
        if config.is_broken {
            self.broken.insert(name.clone());
        }
        let mut parts = Parts::default();
        // Of an ALIAS there are no addresses yet that it could stand beside.
        let alias_fallback =
            if config.alias.is_some() { std::mem::take(&mut config.fallback) } else { Vec::new() };
        self.addresses(&mut config, &mut parts);
        // Without addresses the policy is about CNAMEs, of which each is an answer of its own.
        let has_cname_pools = config.policy.is_some() && parts.endpoints.is_empty();
        for given in &config.rrsets {
            self.rrset(&name, given, has_cname_pools && given.rtype == RrType::CNAME, &mut parts);
        }
        for given in &config.fallback_records {
            self.fallback(&name, given, &mut parts);
        }
        for held in &parts.held {
            self.check_size(held);
        }
        let subject = check::Subject {
            file: &self.header.file,
            is_apex: name == self.apex,
            is_wildcard: name.is_wildcard(),
            is_signed: matches!(self.header.dnssec, Dnssec::On(_)),
            held: &parts.held,
        };
        check::owner(&subject, &mut self.diagnostics);
        let Parts { mut rrsets, endpoints, ttls, fallback, first_checked, .. } = parts;
        self.checked.extend(first_checked.map(|mark| (name.clone(), mark)));
        let checked = (!endpoints.is_empty()).then(|| {
            Box::new(Checked {
                endpoints,
                ttls: ttls.into(),
                when_all_down: config.when_all_down,
                fallback,
                order: config.order,
                startup: config.startup.unwrap_or(self.header.startup),
                policy: config.policy.take(),
            })
        });
        rrsets.sort_by_key(|rrset| rrset.rtype);
        // A list that grew by pushing has room for four, and most owners hold one: 70 MiB with a million of them.
        rrsets.shrink_to_fit();
        let mut alias = config.alias.take().and_then(|given| self.alias(&name, given, config.when_all_down));
        if let Some(alias) = &mut alias {
            alias.fallback = alias_fallback.into_iter().map(EndpointData::Address).collect();
        }
        let owner = DesiredOwner { place: Place::Authoritative, rrsets, checked, order: config.order, alias };
        self.owners.push(Placed { name, owner, position: config.position });
    }

    /// The owner's A and AAAA: plain RRsets, or endpoints if any of them has a check or a policy decides about them.
    fn addresses(&mut self, config: &mut OwnerConfig, parts: &mut Parts) {
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
            parts.held.push(Held { rtype, count, octets, mark });
        }
        let auto = auto_ttl(endpoints.iter().flat_map(Endpoint::checks));
        let is_decided = auto.is_some() || (config.policy.is_some() && !endpoints.is_empty());
        let fallback: Vec<EndpointData> =
            std::mem::take(&mut config.fallback).into_iter().map(EndpointData::Address).collect();
        for (rtype, given) in [(RrType::A, config.a_ttl), (RrType::AAAA, config.aaaa_ttl)] {
            let of_family = || endpoints.iter().filter(|e| e.data.rtype() == rtype);
            let is_static = of_family().next().is_some() && of_family().all(|e| e.condition.is_none());
            if !is_decided {
                let rdata = RdataSet::new(of_family().map(|e| e.data.rdata()));
                if !rdata.is_empty() {
                    parts.rrsets.push(Rrset { rtype, ttl: given.unwrap_or(self.header.default_ttl), rdata });
                }
                continue;
            }
            // A family of which there is no address has no RRset, and no say in the zone's negative TTL.
            if endpoints.iter().map(|e| &e.data).chain(&fallback).any(|data| data.rtype() == rtype) {
                let ttl = self.ttl(given, auto.filter(|_| !is_static));
                parts.ttls.push((rtype, ttl));
            }
        }
        if !is_decided {
            return;
        }
        let i = endpoints.iter().position(|e| e.condition.is_some()).unwrap_or(0);
        let (position, path) =
            config.endpoint_places.get(i).cloned().unwrap_or((config.position, String::new()));
        parts.first_checked = Some(Mark { position, path: path.into() });
        parts.endpoints = endpoints;
        parts.fallback = fallback;
    }

    /// The TTL that is given, else the automatic one if there is any, which limits the zone's negative TTL too.
    pub(super) fn ttl(&mut self, given: Option<u32>, auto: Option<u32>) -> u32 {
        match (given, auto) {
            (Some(ttl), _) => ttl,
            (None, Some(auto)) => {
                self.smallest_auto_ttl = Some(self.smallest_auto_ttl.map_or(auto, |least| least.min(auto)));
                auto
            }
            (None, None) => self.header.default_ttl,
        }
    }

    /// An RRset of another type. `is_variants`: its records are not answered together, but each by the policy.
    fn rrset(&mut self, name: &Name, given: &RrsetConfig, is_variants: bool, parts: &mut Parts) {
        let Some(first) = given.data.first() else { return };
        let (rtype, mark) = (given.rtype, mark(first));
        if let Some(other) = parts.held.iter().find(|held| held.rtype == rtype) {
            let hint = format!("the other one is at {}", other.mark.path);
            self.error(&mark, format!("the owner has a second {rtype} RRset"), hint);
            return;
        }
        self.check_ttl(given.ttl, &mark);
        if is_variants || given.data.iter().any(|data| data.check.is_some()) {
            return self.checked_rrset(name, given, is_variants, parts);
        }
        let mut all = BTreeSet::new();
        for data in &given.data {
            if let Some(wire) = self.parse(name, rtype, data)
                && !all.insert(wire)
            {
                let diagnostic = Diagnostic::warning(&self.header.file, "the same record stands twice");
                self.diagnostics
                    .push(diagnostic.at(data.position, data.path.as_str()).hint("one of them is left out"));
            }
        }
        let ttl = given.ttl.unwrap_or(self.header.default_ttl);
        let rdata = RdataSet::new(&all);
        // What could not be parsed still counts as held, so that no error follows from another.
        let octets = all.iter().map(Vec::len).sum();
        parts.held.push(Held { rtype, count: all.len().max(1), octets, mark });
        parts.rrsets.push(Rrset { rtype, ttl, rdata });
    }

    /// A record's RDATA; reports what is wrong with it.
    pub(super) fn parse(&mut self, name: &Name, rtype: RrType, data: &RdataText) -> Option<Vec<u8>> {
        match rdata::parse_noting(rtype, &data.text, &self.apex) {
            Ok(parsed) => {
                self.links(name, rtype, &parsed, data);
                Some(parsed.wire)
            }
            Err(error) => {
                let mut diagnostic =
                    Diagnostic::error(&self.header.file, error.message).at(data.position, data.path.as_str());
                diagnostic.hint = error.hint;
                self.diagnostics.push(diagnostic);
                None
            }
        }
    }

    /// The host whose addresses the owner has.
    fn alias(&mut self, owner: &Name, given: AliasConfig, when_all_down: WhenAllDown) -> Option<Box<Alias>> {
        let mark = Mark { position: given.position, path: given.path.as_str().into() };
        let target = match Name::parse_relative_to(&given.text, &self.apex) {
            Ok(target) => target,
            Err(error) => {
                let hint =
                    "a host name such as \"lb.cdn.example.\", absolute with a dot at its end".to_owned();
                self.error(&mark, format!("\"{}\": {error}", given.text), hint);
                return None;
            }
        };
        if target == *owner {
            let hint = "name another host".to_owned();
            self.error(&mark, "the owner is an ALIAS of itself".to_owned(), hint);
            return None;
        }
        self.check_ttl(given.ttl, &mark);
        if target.is_at_or_below(&self.apex) {
            let is_relative = !given.text.ends_with('.') && given.text.contains('.');
            self.links.push(Link {
                owner: owner.clone(),
                // As far as other names go the two are alike.
                rtype: RrType::CNAME,
                target: target.clone(),
                mark,
                written: is_relative.then(|| given.text.as_str().into()),
                follow: true,
                hints: false,
            });
        }
        let mut checks = Vec::new();
        if let Some(condition) = &given.condition {
            condition.for_each_target(&mut |target| checks.push(&*target.check));
        }
        let auto = auto_ttl(checks.into_iter());
        if let (None, Some(auto)) = (given.ttl, auto) {
            self.smallest_auto_ttl = Some(self.smallest_auto_ttl.map_or(auto, |smallest| smallest.min(auto)));
        }
        let ttl = given.ttl.or(auto).unwrap_or(self.header.default_ttl.min(ALIAS_TTL));
        let (condition, fallback, pending) = (given.condition, Vec::new(), Vec::new());
        Some(Box::new(Alias { target, ttl, condition, when_all_down, fallback, pending }))
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

    pub(super) fn error(&mut self, mark: &Mark, message: String, hint: String) {
        self.diagnostics
            .push(Diagnostic::error(&self.header.file, message).at(mark.position, &*mark.path).hint(hint));
    }
}

pub(super) fn mark(data: &RdataText) -> Mark {
    Mark { position: data.position, path: data.path.as_str().into() }
}
