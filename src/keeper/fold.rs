//! Discovered names in a zone that is built: they are folded into what its file declares before anything is selected or signed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::build::{Layout, Reading, Workshop, release};
use super::reload::lock;
use super::zone_state::CheckedOwner;
use super::zoning::{Resolved, Zoning};
use crate::config::PolicyLimits;
use crate::model::diagnostic::Position;
use crate::model::discovered::{DiscoveredName, RefusedFor, RefusedPart};
use crate::model::name::Name;
use crate::model::resolved::Addresses;
use crate::model::rrtype::RrType;
use crate::snapshot::ZoneImage;
use crate::zone::desired::{DesiredOwner, Place};
use crate::zone::fold::{Site, fold, resolve};
use crate::zone::owners::Placed;

/// What is kept of an owner that something was discovered for.
#[derive(Debug)]
pub(super) struct FoldedOwner {
    /// What was discovered, if anything was.
    pub(super) wanted: Option<Arc<DiscoveredName>>,
    /// The host that it has the addresses of, and what was known of that.
    pub(super) alias: Option<(Name, Option<Arc<Addresses>>)>,
    /// What is declared under the same name, before anything is resolved: it comes back when the source lets go.
    pub(super) declared: Option<Box<DesiredOwner>>,
    /// What of the discovered data is not served.
    pub(super) refusals: Vec<(RefusedPart, RefusedFor)>,
}

/// What folding needs to know of a zone.
#[derive(Debug)]
pub(super) struct Ground {
    /// Targets of its NS records.
    pub(super) nameservers: HashSet<Name>,
    /// TTL of what has none of its own, in seconds.
    pub(super) default_ttl: u32,
    /// What a policy may come to.
    pub(super) policy_limits: PolicyLimits,
}

impl Ground {
    /// The site of a name in a zone.
    pub(super) fn site(&self, name: &Name, apex: &Name, is_covered: bool) -> Site {
        Site {
            is_apex: name == apex,
            is_nameserver: self.nameservers.contains(name),
            is_covered,
            default_ttl: self.default_ttl,
            policy_limits: self.policy_limits,
        }
    }
}

/// An owner as it should be: what is declared, what was discovered, and what its host was resolved to; and what is kept of that.
pub(super) fn fold_owner(
    declared: Option<DesiredOwner>,
    wanted: Option<&Arc<DiscoveredName>>,
    site: Site,
    resolved: &Resolved,
) -> (Option<DesiredOwner>, Option<FoldedOwner>) {
    let (owner, refusals) = match wanted {
        Some(wanted) => {
            let folded = fold(declared.clone(), wanted, site);
            (folded.owner, folded.refusals)
        }
        None => (declared.clone(), Vec::new()),
    };
    let host = owner.as_ref().and_then(|owner| owner.alias.as_ref()).map(|alias| alias.target.clone());
    let alias = host.map(|host| {
        let found = resolved.get(&host).cloned();
        (host, found)
    });
    let is_kept = wanted.is_some() || alias.is_some();
    let found = alias.as_ref().and_then(|(_, found)| found.as_deref());
    let owner = owner.map(|owner| resolve(owner, found));
    let kept = FoldedOwner { wanted: wanted.cloned(), alias, declared: declared.map(Box::new), refusals };
    (owner, is_kept.then_some(kept))
}

/// The apexes that there are once these readings are served beside what is served already.
pub(super) fn zoning(readings: &[Reading], served: &HashMap<Name, Arc<ZoneImage>>) -> Zoning {
    let mut zoning = Zoning::default();
    for reading in readings {
        let primary = reading.apexes.first();
        for apex in &reading.apexes {
            zoning.add(apex, primary.filter(|primary| *primary != apex));
        }
    }
    // A file that is gone keeps its zone.
    served.keys().for_each(|apex| zoning.add(apex, None));
    zoning
}

/// Folds what was discovered into every zone that was read.
pub(super) fn fold_all(readings: &mut [Reading], zoning: &Zoning, workshop: &Workshop) {
    let mut zones = zoning.by_zone(&workshop.discovered);
    for layout in readings.iter_mut().flat_map(|reading| &mut reading.layouts) {
        let wanted = zones.remove(&layout.desired.apex).unwrap_or_default();
        let mut owners: HashMap<Name, Option<Arc<DiscoveredName>>> =
            wanted.into_iter().map(|(name, wanted)| (name, Some(wanted))).collect();
        for placed in layout.desired.owners.iter().filter(|placed| placed.owner.alias.is_some()) {
            owners.entry(placed.name.clone()).or_default();
        }
        if !owners.is_empty() {
            layout.fold(owners, workshop);
        }
    }
}

impl Layout {
    /// What folding needs to know of the zone.
    pub(super) fn ground(&self) -> Ground {
        let ns = self.desired.owners.iter().flat_map(|placed| &placed.owner.rrsets);
        let targets = ns.filter(|rrset| rrset.rtype == RrType::NS).flat_map(|rrset| rrset.rdata.iter());
        let nameservers = targets.filter_map(|rdata| Name::from_wire(rdata).ok()).collect();
        Ground { nameservers, default_ttl: self.default_ttl, policy_limits: self.policy_limits }
    }

    fn fold(&mut self, owners: HashMap<Name, Option<Arc<DiscoveredName>>>, workshop: &Workshop) {
        let ground = self.ground();
        let mut added = Vec::new();
        for (name, wanted) in owners {
            let site = ground.site(&name, &self.desired.apex, self.is_covered(&name));
            let before = self.checked.remove(&name);
            let declared = self.desired.owners.get(&name).cloned().map(|mut owner| {
                owner.checked = before.as_ref().map(|before| before.checked.clone());
                owner
            });
            release(workshop, before.iter().flat_map(CheckedOwner::targets).collect());
            let (owner, kept) = fold_owner(declared, wanted.as_ref(), site, &workshop.resolved);
            if let Some(mut owner) = owner {
                if let Some(checked) = owner.checked.take() {
                    let held = CheckedOwner::hold(checked, owner.place, &mut lock(&workshop.registry));
                    self.checked.insert(name.clone(), held);
                }
                match self.desired.owners.get_mut(&name) {
                    Some(declared) => *declared = owner,
                    None => added.push(Placed { name: name.clone(), owner, position: Position::default() }),
                }
            }
            self.folded.extend(kept.map(|kept| (name, kept)));
        }
        self.desired.owners.add(&self.desired.apex, added);
    }

    /// Whether a name lies at or below a zone cut or a DNAME.
    fn is_covered(&self, name: &Name) -> bool {
        let apex = &self.desired.apex;
        let up_to_apex =
            std::iter::successors(Some(name.clone()), Name::parent).take_while(|n| n.is_at_or_below(apex));
        up_to_apex.filter_map(|n| self.desired.owners.get(&n)).any(|owner| {
            matches!(owner.place, Place::Cut | Place::Occluded)
                || owner.rrsets.iter().any(|rrset| rrset.rtype == RrType::DNAME)
        })
    }
}
