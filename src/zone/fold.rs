//! What sources have discovered for a name, folded into what the zone's file declares for it. Pure: equal inputs give equal owners.
//!
//! Precedence is by RRset: a declared type wins over a discovered one, and each loss is told. Nothing that is discovered changes
//! where names lie with regard to zone cuts, or what the SOA record says, so one owner is folded without looking at any other.
//!
//! The SOA record's negative TTL is at most the smallest auto TTL of what is declared, so that a cached "there is none" does not outlive
//! a recovery. A discovered name has no such answer to recover from: with all of its addresses down it is answered as if all were up.

use std::net::IpAddr;
use std::ops::Range;

use super::desired::{Alias, Checked, DesiredOwner, Place, auto_ttl};
use crate::config::{Order, PolicyLimits, Startup, WhenAllDown};
use crate::model::discovered::{DiscoveredName, DiscoveredRrset, RefusedFor, RefusedPart};
use crate::model::name::Name;
use crate::model::policy::{Members, Policy};
use crate::model::rdata;
use crate::model::resolved::Addresses;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::target::{Endpoint, EndpointData, Target};
use crate::model::ttl::MAX_TTL;

/// Octets that a discovered RRset may take in a message: enough is left for the header and the signatures of several large keys.
const MAX_RRSET_OCTETS: usize = 48 * 1024;
/// TTL in seconds of what an ALIAS leads to, at most, where neither a check nor the zone file gives another: hosts that are
/// pointed to, such as those of a CDN, move often.
pub const ALIAS_TTL: u32 = 60;
/// Discovered RRsets of one name; an image holds 255.
const MAX_RRSETS: usize = 64;

/// What of the zone matters for one name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site {
    /// It is the apex.
    pub is_apex: bool,
    /// It is the target of one of the zone's NS records.
    pub is_nameserver: bool,
    /// It lies at or below a zone cut or a DNAME.
    pub is_covered: bool,
    /// TTL of what has none of its own, in seconds.
    pub default_ttl: u32,
    /// What a policy may come to.
    pub policy_limits: PolicyLimits,
}

/// An owner with what was discovered for it.
#[derive(Clone, Debug)]
pub struct Folded {
    /// What it should serve; `None` if nothing is declared and nothing of what was discovered is accepted.
    pub owner: Option<DesiredOwner>,
    /// What of the discovered data is not served.
    pub refusals: Vec<(RefusedPart, RefusedFor)>,
}

/// Folds `wanted` into what is declared for the same name, if anything is.
pub fn fold(declared: Option<DesiredOwner>, wanted: &DiscoveredName, site: Site) -> Folded {
    let is_alias = |owner: &DesiredOwner| holds(owner, RrType::CNAME);
    let refused = if site.is_covered {
        Some(RefusedFor::BelowCut)
    } else if site.is_nameserver {
        Some(RefusedFor::NameServer)
    } else if site.is_apex && !wanted.may_be_apex {
        Some(RefusedFor::Apex)
    } else if declared.as_ref().is_some_and(is_alias) {
        Some(RefusedFor::Declared)
    } else {
        None
    };
    if let Some(why) = refused {
        return Folded { owner: declared, refusals: vec![(RefusedPart::Name, why)] };
    }
    let is_declared = declared.is_some();
    let place = if site.is_apex { Place::Apex } else { Place::Authoritative };
    let empty =
        || DesiredOwner { place, rrsets: Vec::new(), checked: None, order: Order::default(), alias: None };
    let mut folding = Folding { owner: declared.unwrap_or_else(empty), site, refusals: Vec::new() };
    folding.endpoints(wanted);
    folding.rrsets(&wanted.rrsets);
    if let Some(target) = &wanted.hostname {
        folding.hostname(target, wanted);
    }
    let Folding { mut owner, refusals, .. } = folding;
    owner.rrsets.sort_by_key(|rrset| rrset.rtype);
    let is_empty = owner.rrsets.is_empty() && owner.checked.is_none() && owner.alias.is_none();
    Folded { owner: (is_declared || !is_empty).then_some(owner), refusals }
}

/// The owner with the addresses that its ALIAS leads to. Of what is not known yet it remembers the types alone.
///
/// Addresses that are new count as up until their first verdict: a host that moves would else be away for as long.
pub fn resolve(owner: DesiredOwner, found: Option<&Addresses>) -> DesiredOwner {
    let mut folding = Folding { owner, site: Site::default(), refusals: Vec::new() };
    let Some(mut alias) = folding.owner.alias.take() else { return folding.owner };
    let v4 = found.and_then(|found| found.v4.as_ref()).map(|v4| v4.iter().copied().map(IpAddr::V4).collect());
    let v6 = found.and_then(|found| found.v6.as_ref()).map(|v6| v6.iter().copied().map(IpAddr::V6).collect());
    let (mut endpoints, mut ttls) = (Vec::new(), Vec::new());
    for (rtype, addresses) in [(RrType::A, v4), (RrType::AAAA, v6)] {
        let addresses: Vec<IpAddr> = match addresses {
            Some(addresses) => addresses,
            None => {
                alias.pending.push(rtype);
                continue;
            }
        };
        if addresses.is_empty() {
            continue;
        }
        ttls.push((rtype, alias.ttl));
        if alias.condition.is_none() {
            let rdata = RdataSet::new(addresses.iter().map(|a| EndpointData::Address(*a).rdata()));
            folding.owner.rrsets.push(Rrset { rtype, ttl: alias.ttl, rdata });
        }
        endpoints.extend(addresses.into_iter().map(|address| Endpoint {
            data: EndpointData::Address(address),
            weight: 1,
            condition:
                alias.condition.as_ref().map(|condition| condition.map(&mut |target| at(target, address))),
        }));
    }
    // A type that is not known yet is SERVFAIL, whatever the other one comes to.
    let fallback: Vec<EndpointData> =
        alias.fallback.iter().filter(|data| !alias.pending.contains(&data.rtype())).cloned().collect();
    if endpoints.is_empty() && alias.pending.is_empty() {
        for rtype in [RrType::A, RrType::AAAA] {
            let rdata =
                RdataSet::new(fallback.iter().filter(|d| d.rtype() == rtype).map(EndpointData::rdata));
            if !rdata.is_empty() {
                folding.owner.rrsets.push(Rrset { rtype, ttl: alias.ttl, rdata });
            }
        }
    } else if alias.condition.is_some() && !endpoints.is_empty() {
        ttls.extend(fallback.iter().map(|data| (data.rtype(), alias.ttl)));
        ttls.sort_unstable();
        ttls.dedup();
        folding.decide(endpoints, ttls, None);
        if let Some(checked) = &mut folding.owner.checked {
            checked.when_all_down = alias.when_all_down;
            checked.fallback.extend(fallback);
        }
    }
    let mut owner = folding.owner;
    owner.rrsets.sort_by_key(|rrset| rrset.rtype);
    owner.alias = (!alias.pending.is_empty()).then_some(alias);
    owner
}

/// A target at another address, if it is about addresses at all.
fn at(target: &Target, address: IpAddr) -> Target {
    let mut target = target.clone();
    if target.checked_address().is_some() {
        target.address.set_ip(address);
    }
    target
}

fn holds(owner: &DesiredOwner, rtype: RrType) -> bool {
    if owner.alias.is_some() && is_address(rtype) {
        return true;
    }
    let is_of_type = |data: &EndpointData| data.rtype() == rtype;
    owner.rrsets.iter().any(|rrset| rrset.rtype == rtype)
        || owner.checked.as_ref().is_some_and(|checked| {
            checked.endpoints.iter().map(|e| &e.data).chain(&checked.fallback).any(is_of_type)
        })
}

fn is_address(rtype: RrType) -> bool {
    matches!(rtype, RrType::A | RrType::AAAA)
}

struct Folding {
    owner: DesiredOwner,
    site: Site,
    refusals: Vec<(RefusedPart, RefusedFor)>,
}

impl Folding {
    fn refuse(&mut self, rtype: RrType, why: RefusedFor) {
        self.refusals.push((RefusedPart::Rrset(rtype), why));
    }

    fn endpoints(&mut self, wanted: &DiscoveredName) {
        let mut accepted = Vec::new();
        for rtype in [RrType::A, RrType::AAAA] {
            let of_family = wanted.endpoints.iter().filter(|e| e.data.rtype() == rtype);
            let (count, octets) =
                of_family.fold((0, 0), |(n, sum), e| (n + 1, sum + 12 + e.data.rdata().len()));
            if count == 0 {
                continue;
            }
            match self.invalid(wanted.policy.as_deref(), octets) {
                _ if holds(&self.owner, rtype) => self.refuse(rtype, RefusedFor::Declared),
                Some(why) => self.refuse(rtype, RefusedFor::Invalid(why)),
                None => accepted.push(rtype),
            }
        }
        if accepted.is_empty() {
            return;
        }
        let is_kept = |e: &Endpoint| accepted.contains(&e.data.rtype());
        let (endpoints, policy) = kept(&wanted.endpoints, wanted.policy.as_deref(), is_kept);
        let auto = auto_ttl(endpoints.iter().flat_map(Endpoint::checks));
        let ttl_of = |rtype: RrType| {
            let mut of_family = endpoints.iter().filter(|e| e.data.rtype() == rtype);
            let auto = auto.filter(|_| of_family.any(|e| e.condition.is_some()));
            wanted.ttl.or(auto).unwrap_or(self.site.default_ttl).min(MAX_TTL)
        };
        let ttls: Vec<(RrType, u32)> = accepted.into_iter().map(|rtype| (rtype, ttl_of(rtype))).collect();
        let is_decided = |checked: &Checked| checked.decides(RrType::A);
        if auto.is_none() && policy.is_none() && !self.owner.checked.as_deref().is_some_and(is_decided) {
            for (rtype, ttl) in ttls {
                let of_family = endpoints.iter().filter(|e| e.data.rtype() == rtype);
                let rdata = RdataSet::new(of_family.map(|e| e.data.rdata()));
                self.owner.rrsets.push(Rrset { rtype, ttl, rdata });
            }
            return;
        }
        self.decide(endpoints, ttls, policy);
    }

    /// Puts endpoints among those that health decides about. Both families are one group, so a declared one that is not checked goes with
    /// them.
    fn decide(
        &mut self,
        endpoints: Vec<Endpoint>,
        mut ttls: Vec<(RrType, u32)>,
        policy: Option<Box<Policy>>,
    ) {
        let order = self.owner.order;
        let checked = self.owner.checked.get_or_insert_with(|| {
            Box::new(Checked {
                endpoints: Vec::new(),
                ttls: Box::default(),
                when_all_down: WhenAllDown::All,
                fallback: Vec::new(),
                order,
                startup: Startup::Optimistic,
                policy: None,
            })
        });
        let (mut addresses, records): (Vec<Endpoint>, Vec<Endpoint>) =
            std::mem::take(&mut checked.endpoints).into_iter().partition(|e| is_address(e.data.rtype()));
        for declared in self.owner.rrsets.extract_if(.., |rrset| is_address(rrset.rtype)) {
            let published = declared.rdata.iter().filter_map(address);
            addresses.extend(published.map(|address| Endpoint {
                data: EndpointData::Address(address),
                weight: 1,
                condition: None,
            }));
            ttls.push((declared.rtype, declared.ttl));
        }
        addresses.extend(endpoints);
        checked.endpoints = addresses.into_iter().chain(records).collect();
        checked.ttls = checked.ttls.iter().copied().chain(ttls).collect();
        checked.policy = checked.policy.take().or(policy);
    }

    /// Why the addresses of one family cannot be served.
    fn invalid(&self, policy: Option<&Policy>, octets: usize) -> Option<Box<str>> {
        if octets > MAX_RRSET_OCTETS {
            return Some(too_large(octets));
        }
        let (variants, entries) = policy.map_or((1, 1), |p| (p.variants(), p.pick_entries()));
        let PolicyLimits { answers, ways } = self.site.policy_limits;
        if variants > answers || entries > ways {
            return Some(
                format!("the policy comes to {variants} answers and {entries} ways to one; limits.policy has {answers} and {ways}")
                    .into(),
            );
        }
        let is_beside = holds(&self.owner, RrType::A) || holds(&self.owner, RrType::AAAA);
        let declared = self.owner.checked.as_ref().and_then(|checked| checked.policy.as_ref());
        let has_policy = policy.is_some() || declared.is_some();
        (is_beside && has_policy)
            .then(|| "a policy is about both families, and the zone file declares the other one".into())
    }

    fn rrsets(&mut self, rrsets: &[DiscoveredRrset]) {
        for (i, given) in rrsets.iter().enumerate() {
            let rtype = given.rtype;
            let why = if holds(&self.owner, rtype) {
                let is_own = rrsets[..i].iter().any(|earlier| earlier.rtype == rtype);
                let twice = || RefusedFor::Invalid("the type stands twice".into());
                Some(if is_own { twice() } else { RefusedFor::Declared })
            } else {
                unpublishable(given, i).map(RefusedFor::Invalid)
            };
            match why {
                Some(why) => self.refuse(rtype, why),
                None => self.owner.rrsets.push(Rrset {
                    rtype,
                    ttl: given.ttl.unwrap_or(self.site.default_ttl).min(MAX_TTL),
                    rdata: given.rdata.clone(),
                }),
            }
        }
    }

    fn hostname(&mut self, target: &Name, wanted: &DiscoveredName) {
        if !wanted.endpoints.is_empty() {
            return self.refuse(RrType::CNAME, RefusedFor::Invalid("the name has addresses too".into()));
        }
        if holds(&self.owner, RrType::A) || holds(&self.owner, RrType::AAAA) {
            return self.refuse(RrType::CNAME, RefusedFor::Declared);
        }
        if self.site.is_apex || !self.owner.rrsets.is_empty() || self.owner.checked.is_some() {
            let mut checks = Vec::new();
            if let Some(condition) = &wanted.host_condition {
                condition.for_each_target(&mut |target| checks.push(&*target.check));
            }
            let auto = auto_ttl(checks.into_iter());
            self.owner.alias = Some(Box::new(Alias {
                target: target.clone(),
                ttl: wanted.ttl.or(auto).unwrap_or(self.site.default_ttl.min(ALIAS_TTL)).min(MAX_TTL),
                condition: wanted.host_condition.clone(),
                when_all_down: WhenAllDown::All,
                fallback: Vec::new(),
                pending: Vec::new(),
            }));
            return;
        }
        let ttl = wanted.ttl.unwrap_or(self.site.default_ttl).min(MAX_TTL);
        let rdata = RdataSet::new([target.wire()]);
        self.owner.rrsets.push(Rrset { rtype: RrType::CNAME, ttl, rdata });
    }
}

/// The address of an A or AAAA record.
fn address(rdata: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(rdata).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(rdata).map(IpAddr::from)).ok()
}

fn too_large(octets: usize) -> Box<str> {
    format!("the RRset takes {octets} octets, the limit is {MAX_RRSET_OCTETS}").into()
}

/// Why an RRset, the name's `i`-th, cannot be published as it is.
fn unpublishable(given: &DiscoveredRrset, i: usize) -> Option<Box<str>> {
    let rtype = given.rtype;
    // Addresses and aliases come as endpoints and host names. What would move a zone cut, or is the signer's, is the zone file's alone.
    let is_other =
        matches!(
            rtype,
            RrType::A | RrType::AAAA | RrType::CNAME | RrType::DNAME | RrType::NS | RrType::SOA | RrType::DS
        ) || matches!(
            rtype,
            RrType::RRSIG | RrType::NSEC | RrType::NSEC3 | RrType::NSEC3PARAM | RrType::DNSKEY
        ) || matches!(rtype, RrType::CDS | RrType::CDNSKEY | RrType::SIG | RrType::KEY | RrType::NXT);
    if is_other || rtype.is_meta() {
        return Some(format!("sources do not publish {rtype} records").into());
    }
    if i >= MAX_RRSETS {
        return Some(format!("more than {MAX_RRSETS} types").into());
    }
    if given.rdata.is_empty() {
        return Some("it has no records".into());
    }
    let octets = given.rdata.iter().map(|rdata| rdata.len() + 12).sum();
    if octets > MAX_RRSET_OCTETS {
        return Some(too_large(octets));
    }
    given.rdata.iter().find_map(|rdata| rdata::validate(rtype, rdata).err()).map(|e| e.message.into())
}

/// The endpoints that are kept, and the policy over them.
fn kept(
    endpoints: &[Endpoint],
    policy: Option<&Policy>,
    is_kept: impl Fn(&Endpoint) -> bool,
) -> (Vec<Endpoint>, Option<Box<Policy>>) {
    let before = |place: u32| endpoints.iter().take(place as usize).filter(|e| is_kept(e)).count() as u32;
    let moved = |range: &Range<u32>| before(range.start)..before(range.end);
    let policy = policy.map(|policy| {
        let mut policy = policy.clone();
        for pool in &mut policy.pools {
            if let Members::Endpoints(range) = &mut pool.members {
                *range = moved(range);
            }
        }
        Box::new(policy)
    });
    (endpoints.iter().filter(|e| is_kept(e)).cloned().collect(), policy)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::policy::Rule;

    /// What is refused of three addresses of which each query is given one, under these limits of answers and ways.
    fn check(answers: usize, ways: usize, refused: &[&str]) {
        let endpoint = |last| Endpoint {
            data: EndpointData::Address([192, 0, 2, last].into()),
            weight: 1,
            condition: None,
        };
        let mut policy = Policy::all(3);
        policy.pools[0].rule = Rule::Weighted;
        let wanted = DiscoveredName {
            endpoints: (1..=3).map(endpoint).collect(),
            policy: Some(Box::new(policy)),
            hostname: None,
            host_condition: None,
            rrsets: Vec::new(),
            ttl: None,
            may_be_apex: false,
            origins: Arc::new([]),
        };
        let site = Site { policy_limits: PolicyLimits { answers, ways }, ..Site::default() };
        let Folded { owner, refusals } = fold(None, &wanted, site);
        let said: Vec<String> = refusals.iter().map(|(_, why)| format!("{why:?}")).collect();
        assert_eq!(said, refused.iter().map(|why| format!("Invalid({why:?})")).collect::<Vec<_>>());
        assert_eq!(owner.is_some(), refused.is_empty());
    }

    #[test]
    fn a_discovered_policy_keeps_to_the_limits_of_the_configuration() {
        let default = PolicyLimits::default();
        check(default.answers, default.ways, &[]);
        check(3, 3, &[]);
        check(2, 3, &["the policy comes to 3 answers and 3 ways to one; limits.policy has 2 and 3"]);
        check(3, 2, &["the policy comes to 3 answers and 3 ways to one; limits.policy has 3 and 2"]);
    }
}
