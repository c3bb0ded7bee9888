//! What of all sources' claims for one name is published. Pure.
//!
//! A contender is all that one namespace of one source claims for the name: such claims belong together and are merged. Between contenders the
//! conflict policy decides, once about where the name leads (addresses and host names are one matter), and once about each other RRset.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::claim::{Claim, HostTarget, ObjectKey, Targets, router_names};
use super::default_check;
use super::guard::Standing;
use crate::config::{
    CheckFor, Conflict, Pattern, Shared, SourceConfig, SourceMode, SourceRule, SourceTarget, Visibility,
};
use crate::model::condition::Condition;
use crate::model::discovered::{DiscoveredName, DiscoveredRrset, Origin};
use crate::model::name::Name;
use crate::model::policy::{Member, Members, Policy, Pool, Rule};
use crate::model::target::{Endpoint, EndpointData};

/// What merging goes by.
#[derive(Clone, Copy, Debug)]
pub struct MergeRules<'a> {
    /// The sources, in order.
    pub sources: &'a [SourceConfig],
    /// Which of several contenders counts.
    pub conflict: Conflict,
    /// The checks that annotations may name.
    pub shared: &'a Shared,
    /// Whether sources that only observe count, for a plan.
    pub observed: bool,
}

/// A claim that stands, with where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Index of the source.
    pub source: usize,
    /// The object.
    pub key: &'a ObjectKey,
    /// The claim.
    pub standing: &'a Standing,
}

/// What one name comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// What is published; nothing if all of it is filtered out or in conflict.
    pub name: Option<DiscoveredName>,
    /// What is not, or not as its object asks.
    pub notes: Vec<Note>,
}

/// Why a claim, or a part of it, is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Index of the source.
    pub source: usize,
    /// The object.
    pub object: ObjectKey,
    /// What it is about.
    pub kind: NoteKind,
    /// For people.
    pub text: Box<str>,
}

/// Kinds of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoteKind {
    /// `allow` does not let its namespace publish the name.
    NotAllowed,
    /// Another source or namespace claims the name too, and its word counts.
    Conflict,
    /// Another object of the namespace says something else, and its word counts.
    Differs,
    /// It has no targets, and its source has none to give.
    NoTargets,
    /// What an annotation says cannot be used.
    Annotation,
    /// A check cannot be made for the name.
    Check,
}

impl NoteKind {
    /// Its name in metrics and reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::Conflict => "conflict",
            Self::Differs => "differs",
            Self::NoTargets => "no_targets",
            Self::Annotation => "annotation",
            Self::Check => "check",
        }
    }
}

/// All that one namespace of one source claims for the name.
struct Contender<'a> {
    source: usize,
    /// The oldest first: its word counts.
    claims: Vec<Candidate<'a>>,
    first_seen_ms: u64,
    endpoints: Vec<Endpoint>,
    host: Option<Name>,
    /// See [`DiscoveredName::host_condition`].
    host_condition: Option<Condition>,
}

impl Contender<'_> {
    fn leads_somewhere(&self) -> bool {
        !self.endpoints.is_empty() || self.host.is_some()
    }

    /// When its oldest object was made; one that does not say comes after those that do.
    fn age(&self) -> (bool, u64) {
        self.claims.first().map_or((true, u64::MAX), age)
    }
}

fn age(candidate: &Candidate<'_>) -> (bool, u64) {
    let created = candidate.standing.claim.created;
    (created.is_none(), created.unwrap_or(candidate.standing.first_seen_ms))
}

/// Merges the claims for one name.
pub fn merge(name: &Name, candidates: &[Candidate<'_>], rules: &MergeRules<'_>) -> Merged {
    let mut work = Work { name, text: plain(name), rules, notes: Vec::new() };
    let mut by_namespace: BTreeMap<(usize, &str), Vec<Candidate<'_>>> = BTreeMap::new();
    for candidate in candidates {
        if work.may_publish(candidate) {
            by_namespace.entry((candidate.source, &candidate.key.namespace)).or_default().push(*candidate);
        }
    }
    let mut contenders: Vec<Contender<'_>> =
        by_namespace.into_iter().map(|((source, _), claims)| work.contender(source, claims)).collect();
    contenders.sort_by_key(|contender| match rules.conflict {
        Conflict::Oldest => (0, (false, contender.first_seen_ms)),
        _ => (contender.source, contender.age()),
    });
    let name = work.published(&contenders);
    Merged { name, notes: work.notes }
}

/// A name as patterns see it.
fn plain(name: &Name) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}

fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

struct Work<'a> {
    name: &'a Name,
    text: String,
    rules: &'a MergeRules<'a>,
    notes: Vec<Note>,
}

impl<'a> Work<'a> {
    fn note(&mut self, candidate: &Candidate<'_>, kind: NoteKind, text: impl Into<Box<str>>) {
        let object = candidate.key.clone();
        self.notes.push(Note { source: candidate.source, object, kind, text: text.into() });
    }

    fn config(&self, source: usize) -> &'a SourceConfig {
        &self.rules.sources[source]
    }

    /// Whether the configuration lets the object publish the name. Only what `allow` refuses is worth a note: the rest is meant to be left out.
    fn may_publish(&mut self, candidate: &Candidate<'_>) -> bool {
        let (config, key) = (self.config(candidate.source), candidate.key);
        if (config.mode == SourceMode::Observe && !self.rules.observed)
            || !(config.zones.is_empty() || config.zones.iter().any(|zone| self.name.is_at_or_below(zone)))
            || any(&config.exclude_names, &self.text)
        {
            return false;
        }
        if key.kind.is_router() {
            let hidden = match config.visibility {
                Some(Visibility::Internal) => key.name.ends_with("-external"),
                Some(Visibility::External) => key.name.ends_with("-internal"),
                None => false,
            };
            if hidden || is_router(&config.exclude_routers, candidate) {
                return false;
            }
        }
        let allowed = config.allow.as_ref().is_none_or(|allow| {
            allow.iter().any(|allow| any(&allow.namespaces, &key.namespace) && any(&allow.names, &self.text))
        });
        if !allowed {
            let text = format!("\"allow\" does not let {} publish {}", key.namespace, self.text);
            self.note(candidate, NoteKind::NotAllowed, text);
        }
        allowed
    }

    fn contender<'c>(&mut self, source: usize, mut claims: Vec<Candidate<'c>>) -> Contender<'c> {
        claims.sort_by_key(|candidate| (age(candidate), candidate.key));
        let first_seen_ms = claims.iter().map(|c| c.standing.first_seen_ms).min().unwrap_or(u64::MAX);
        self.differences(&claims);
        let mut contender = Contender {
            source,
            claims,
            first_seen_ms,
            endpoints: Vec::new(),
            host: None,
            host_condition: None,
        };
        let (mut addresses, mut hosts): (Vec<IpAddr>, Vec<Name>) = (Vec::new(), Vec::new());
        for candidate in &contender.claims {
            for target in self.targets(candidate) {
                match target {
                    HostTarget::Address(ip) if !addresses.contains(&ip) => addresses.push(ip),
                    HostTarget::Host(host) if !hosts.contains(&host) => hosts.push(host),
                    _ => {}
                }
            }
        }
        let Some(lead) = contender.claims.first().copied() else { return contender };
        if !addresses.is_empty() && !hosts.is_empty() {
            let text = format!("beside addresses no CNAME can stand: {} is left out", list(&hosts));
            self.note(&lead, NoteKind::Differs, text);
        } else if hosts.len() > 1 {
            let text = format!("a name has one CNAME: {} is left out", list(&hosts[1..]));
            self.note(&lead, NoteKind::Differs, text);
        }
        if addresses.is_empty() {
            contender.host = hosts.into_iter().next();
            if contender.host.is_some() {
                // Its addresses are not known here, and may be of either family.
                let places = self.conditions(&contender.claims, &[Ipv4Addr::UNSPECIFIED.into()]);
                contender.host_condition = places.into_iter().next().flatten();
            }
        } else {
            contender.endpoints = self.endpoints(&contender.claims, addresses);
        }
        contender
    }

    /// Says where claims of one namespace want different things.
    fn differences(&mut self, claims: &[Candidate<'_>]) {
        let Some((lead, others)) = claims.split_first() else { return };
        let said = |claim: &Claim| (claim.ttl, claim.wishes.clone());
        for other in others {
            if said(&other.standing.claim) != said(&lead.standing.claim) {
                let text = format!("its annotations differ from those of {}, which is older", lead.key);
                self.note(other, NoteKind::Differs, text);
            }
        }
    }

    fn rule(&self, candidate: &Candidate<'_>) -> Option<&'a SourceRule> {
        self.config(candidate.source).rules.iter().find(|rule| self.matches(rule, candidate))
    }

    fn matches(&self, rule: &SourceRule, candidate: &Candidate<'_>) -> bool {
        let (key, claim) = (candidate.key, &candidate.standing.claim);
        let one_of = |patterns: &[Pattern], texts: &[Box<str>]| {
            patterns.is_empty() || texts.iter().any(|text| any(patterns, text))
        };
        let is = |patterns: &[Pattern], text: &str| patterns.is_empty() || any(patterns, text);
        is(&rule.name, &self.text)
            && one_of(&rule.entry_point, &claim.entry_points)
            && one_of(&rule.middleware, &claim.middlewares)
            && (rule.router.is_empty() || (key.kind.is_router() && is_router(&rule.router, candidate)))
            && is(&rule.namespace, &key.namespace)
            && is(&rule.kind, key.kind.label())
    }

    fn targets(&mut self, candidate: &Candidate<'_>) -> Vec<HostTarget> {
        let claim = &candidate.standing.claim;
        let given = |targets: &[SourceTarget]| targets.iter().map(HostTarget::from).collect::<Vec<_>>();
        let found = match (self.rule(candidate), &claim.targets) {
            (Some(rule), _) if !rule.targets.is_empty() => given(&rule.targets),
            (_, Targets::Known(targets)) => targets.clone(),
            _ => given(&self.config(candidate.source).default_targets),
        };
        if found.is_empty() && claim.rrsets.is_empty() {
            let text = "it has no target; give the source \"default_targets\"";
            self.note(candidate, NoteKind::NoTargets, text);
        }
        found
    }

    fn endpoints(&mut self, claims: &[Candidate<'_>], addresses: Vec<IpAddr>) -> Vec<Endpoint> {
        let weight = self.weight(&claims[0]);
        let conditions = self.conditions(claims, &addresses);
        let endpoint =
            |(address, condition)| Endpoint { data: EndpointData::Address(address), weight, condition };
        addresses.into_iter().zip(conditions).map(endpoint).collect()
    }

    /// What must hold for each of the addresses to be up.
    fn conditions(&mut self, claims: &[Candidate<'_>], addresses: &[IpAddr]) -> Vec<Option<Condition>> {
        let lead = claims[0];
        let check = self.check(&lead);
        let ports = &self.config(lead.source).ports;
        // The most telling of the routes: a redirect from HTTP says less than what it leads to.
        let route = claims.iter().map(|c| default_check::route(&c.standing.claim, ports)).max();
        let mut wrong = None;
        let condition = |address: &IpAddr| match &check {
            Some(check) => check.condition(self.name, *address).unwrap_or_else(|reason| {
                wrong = Some(reason);
                None
            }),
            None => route.and_then(|route| default_check::condition(self.name, *address, route)),
        };
        let conditions = addresses.iter().map(condition).collect();
        if let Some(reason) = wrong {
            let text = format!("its check is of no use for {}: {reason}; it is not checked", self.text);
            self.note(&lead, NoteKind::Check, text);
        }
        conditions
    }

    fn weight(&mut self, lead: &Candidate<'_>) -> u16 {
        let Some(text) = &lead.standing.claim.wishes.weight else { return 1 };
        let weight = text.parse().ok().filter(|weight| *weight > 0);
        if weight.is_none() {
            let text = format!("hale.dev/weight: {text:?} is not a whole number from 1 to 65535");
            self.note(lead, NoteKind::Annotation, text);
        }
        weight.unwrap_or(1)
    }

    /// The check that is asked for; nothing for the default one.
    fn check(&mut self, lead: &Candidate<'_>) -> Option<CheckFor> {
        if let Some(check) = self.rule(lead).and_then(|rule| rule.check.clone()) {
            return Some(check);
        }
        if let Some(name) = &lead.standing.claim.wishes.check {
            let found = self.rules.shared.check(name);
            if found.is_some() {
                return found;
            }
            let text = format!("hale.dev/check: there is no check {name:?} in hale.json");
            self.note(lead, NoteKind::Annotation, text);
        }
        self.config(lead.source).check.clone()
    }

    fn published(&mut self, contenders: &[Contender<'_>]) -> Option<DiscoveredName> {
        let leading: Vec<&Contender<'_>> = contenders.iter().filter(|c| c.leads_somewhere()).collect();
        let chosen = self.choose(&leading);
        let (rrsets, with_rrsets) = self.rrsets(contenders);
        let mut by: Vec<&Contender<'_>> = chosen.clone();
        by.extend(with_rrsets.iter().map(|at| &contenders[*at]));
        let lead = *by.first()?;
        let (endpoints, policy) = self.pools(&chosen);
        let mut origins: Vec<Origin> = Vec::new();
        for contender in &by {
            let source = &self.config(contender.source).name;
            for candidate in &contender.claims {
                let object = candidate.key.to_string().into_boxed_str();
                let origin = Origin { source: source.clone(), object };
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
        let config = self.config(lead.source);
        Some(DiscoveredName {
            endpoints,
            policy,
            hostname: chosen.first().and_then(|contender| contender.host.clone()),
            host_condition: chosen.first().and_then(|contender| contender.host_condition.clone()),
            rrsets,
            ttl: lead.claims.iter().find_map(|c| c.standing.claim.ttl).or(config.ttl),
            may_be_apex: config.apex,
            origins: origins.into(),
        })
    }

    /// The contenders whose targets are published, and notes about the others. They are in order.
    ///
    /// A host name is no pool to merge: nothing stands beside a CNAME, and what the host's zone answers is not ours to pick from. So
    /// the first contender says whether the name has addresses, of one pool or several, or is another host's.
    fn choose<'c>(&mut self, leading: &[&'c Contender<'c>]) -> Vec<&'c Contender<'c>> {
        let Some(first) = leading.first() else { return Vec::new() };
        let same = |other: &Contender<'_>| other.endpoints == first.endpoints && other.host == first.host;
        match self.rules.conflict {
            Conflict::Merge if first.host.is_none() => {
                let mut chosen: Vec<&Contender<'_>> = Vec::new();
                for contender in leading {
                    let taken = chosen.iter().any(|other| other.source == contender.source);
                    if taken || contender.host.is_some() {
                        self.lost(first, contender);
                    } else {
                        chosen.push(contender);
                    }
                }
                chosen
            }
            Conflict::Reject if leading.iter().any(|other| !same(other)) => {
                for contender in leading {
                    let text = format!("several claim {}, and \"conflict\" is \"reject\"", self.text);
                    self.note(&contender.claims[0], NoteKind::Conflict, text);
                }
                Vec::new()
            }
            _ => {
                for other in leading.iter().skip(1).filter(|other| !same(other)) {
                    self.lost(first, other);
                }
                vec![first]
            }
        }
    }

    fn lost(&mut self, winner: &Contender<'_>, loser: &Contender<'_>) {
        let (candidate, winner_key) = (loser.claims[0], winner.claims[0].key);
        let source = &self.config(winner.source).name;
        let mut text = format!("{} is published for {winner_key} of {source}", self.text);
        if self.rules.conflict == Conflict::Merge && winner.host.is_some() != loser.host.is_some() {
            text += "; a host name and addresses do not merge";
        }
        self.note(&candidate, NoteKind::Conflict, text);
    }

    /// The RRsets without checks, and the places of the contenders that they come from.
    fn rrsets(&mut self, contenders: &[Contender<'_>]) -> (Vec<DiscoveredRrset>, Vec<usize>) {
        let mut found: BTreeMap<_, (usize, &DiscoveredRrset, Candidate<'_>)> = BTreeMap::new();
        let mut rejected = Vec::new();
        for (at, contender) in contenders.iter().enumerate() {
            for candidate in &contender.claims {
                for rrset in &candidate.standing.claim.rrsets {
                    let Some((other, first, winner)) = found.get(&rrset.rtype).copied() else {
                        found.insert(rrset.rtype, (at, rrset, *candidate));
                        continue;
                    };
                    if first == rrset {
                        continue;
                    }
                    let kind = if other == at { NoteKind::Differs } else { NoteKind::Conflict };
                    let text = format!("{} {} is published for {}", self.text, rrset.rtype, winner.key);
                    self.note(candidate, kind, text);
                    if kind == NoteKind::Conflict && self.rules.conflict == Conflict::Reject {
                        rejected.push(rrset.rtype);
                    }
                }
            }
        }
        found.retain(|rtype, _| !rejected.contains(rtype));
        let mut places: Vec<usize> = found.values().map(|(at, ..)| *at).collect();
        places.sort_unstable();
        places.dedup();
        (found.into_values().map(|(_, rrset, _)| rrset.clone()).collect(), places)
    }

    /// All endpoints, with the policy over them: a pool for each contender where there are several.
    fn pools(&mut self, chosen: &[&Contender<'_>]) -> (Vec<Endpoint>, Option<Box<Policy>>) {
        let Some(first) = chosen.first() else { return Default::default() };
        let rule = self.policy(&first.claims[0]);
        if chosen.len() == 1 {
            let endpoints = first.endpoints.clone();
            let all = Members::Endpoints(0..u32::try_from(endpoints.len()).unwrap_or(u32::MAX));
            let policy = rule.map(|rule| Box::new(Policy { pools: vec![Pool::new(rule, all)] }));
            return (endpoints, policy);
        }
        let (mut endpoints, mut pools, mut members) = (Vec::new(), Vec::new(), Vec::new());
        for (at, contender) in (0..).zip(chosen) {
            let start = endpoints.len() as u32;
            endpoints.extend_from_slice(&contender.endpoints);
            let range = start..endpoints.len() as u32;
            let name = Some(Box::from(&*self.config(contender.source).name));
            pools.push(Pool { name, ..Pool::new(Rule::All, Members::Endpoints(range)) });
            members.push(Member { pool: at, weight: contender.endpoints.first().map_or(1, |e| e.weight) });
        }
        pools.push(Pool::new(rule.unwrap_or(Rule::All), Members::Pools(members)));
        (endpoints, Some(Box::new(Policy { pools })))
    }

    fn policy(&mut self, lead: &Candidate<'_>) -> Option<Rule> {
        let text = lead.standing.claim.wishes.policy.as_deref()?;
        match text {
            "all" => None,
            "failover" => Some(Rule::Failover { failback: true }),
            "weighted" => Some(Rule::Weighted),
            "hashed" => Some(Rule::Hashed),
            _ => {
                let text = format!("hale.dev/policy: {text:?} is not all, failover, weighted or hashed");
                self.note(lead, NoteKind::Annotation, text);
                None
            }
        }
    }
}

/// Whether one of the patterns matches a router by one of its names.
fn is_router(patterns: &[Pattern], candidate: &Candidate<'_>) -> bool {
    let key = candidate.key;
    let full = format!("{}@{}", key.name, key.namespace);
    router_names(&full, &candidate.standing.claim.entry_points).any(|name| any(patterns, name))
}

fn list(names: &[Name]) -> String {
    names.iter().map(plain).collect::<Vec<_>>().join(", ")
}

impl From<&SourceTarget> for HostTarget {
    fn from(target: &SourceTarget) -> Self {
        match target {
            SourceTarget::Address(ip) => Self::Address(*ip),
            SourceTarget::Host(name) => Self::Host(name.clone()),
        }
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
pub(super) mod tests;
