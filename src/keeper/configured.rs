//! What is configured of owners, whatever health says of it, for people and tools who look at it. Nothing is changed by it.

use super::zone_state::Circumstances;
use super::{Entry, Keeper};
use crate::model::discovered::Origin;
use crate::model::name::Name;
use crate::model::overrides::Word;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::target::{TargetId, Verdict};

/// What is known of an owner beside what is served of it. Owners of which nothing is are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerFacts {
    /// Its name.
    pub name: Name,
    /// The objects that it was discovered from.
    pub discovered: Vec<Origin>,
    /// The host whose addresses it has.
    pub host: Option<Name>,
    /// The records that health or a policy decides about, in groups as they are configured.
    pub endpoints: Vec<EndpointFacts>,
    /// TTL of their types in seconds.
    pub ttls: Vec<(RrType, u32)>,
}

/// A record that health or a policy decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFacts {
    /// Its type.
    pub rtype: RrType,
    /// Its RDATA.
    pub rdata: Vec<u8>,
    /// What its probes amount to; `None` if it is not checked.
    pub verdict: Option<Verdict>,
    /// The targets of that.
    pub targets: Vec<TargetId>,
    /// What a person says of it, and the number of that override.
    pub said: Option<(u64, Word)>,
}

impl OwnerFacts {
    /// The RRsets that are configured of the types that health or a policy decides about, by type.
    pub fn rrsets(&self) -> Vec<Rrset> {
        let mut types: Vec<RrType> = self.endpoints.iter().map(|endpoint| endpoint.rtype).collect();
        types.sort_unstable();
        types.dedup();
        let rrset = |rtype: RrType| {
            let of_type = self.endpoints.iter().filter(|endpoint| endpoint.rtype == rtype);
            let ttl = self.ttls.iter().find(|(of, _)| *of == rtype).map_or(0, |(_, ttl)| *ttl);
            Rrset { rtype, ttl, rdata: RdataSet::new(of_type.map(|endpoint| &endpoint.rdata)) }
        };
        types.into_iter().map(rrset).collect()
    }
}

impl Keeper {
    /// What is known of these owners of a zone; nothing of a zone that is not served.
    pub(super) fn owner_facts(&self, apex: &Name, names: &[Name]) -> Vec<OwnerFacts> {
        let Some(Entry::Serving(zone)) = self.zones.get(apex) else { return Vec::new() };
        let by = Circumstances {
            board: &self.tools.workshop.board,
            overrides: &zone.overrides,
            zone: zone.apex(),
            now_s: (self.tools.now_s)(),
        };
        let facts = |name: &Name| {
            let (checked, folded) = (zone.checked.get(name), zone.folded.get(name));
            if checked.is_none() && folded.is_none() {
                return None;
            }
            let wanted = folded.and_then(|folded| folded.wanted.as_ref());
            let mut facts = OwnerFacts {
                name: name.clone(),
                discovered: wanted.map(|wanted| wanted.origins.to_vec()).unwrap_or_default(),
                host: folded.and_then(|folded| folded.alias.as_ref()).map(|(host, _)| host.clone()),
                endpoints: Vec::new(),
                ttls: Vec::new(),
            };
            let Some(owner) = checked else { return Some(facts) };
            facts.ttls = owner.checked.ttls.to_vec();
            for (i, endpoint) in owner.checked.endpoints.iter().enumerate() {
                facts.endpoints.push(EndpointFacts {
                    rtype: endpoint.data.rtype(),
                    rdata: endpoint.data.rdata(),
                    verdict: endpoint.condition.as_ref().map(|_| owner.state(i, name, by).verdict),
                    targets: owner.targets_of(i),
                    said: owner.find_override(i, name, by).map(|found| (found.id, found.said.word)),
                });
            }
            Some(facts)
        };
        names.iter().filter_map(facts).collect()
    }
}
