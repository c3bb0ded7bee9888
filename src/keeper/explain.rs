//! What the keeper knows of how a name is answered, for people who ask. Nothing is changed by it.

use std::path::PathBuf;

use super::zone_state::Circumstances;
use super::{Entry, Keeper};
use crate::model::discovered::Origin;
use crate::model::name::Name;
use crate::model::overrides::Override;
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::TargetId;
use crate::snapshot::ZoneImage;
use crate::snapshot::lookup::{Found, KeyedName};
use crate::zone::select::{Selection, Trace};

/// What answers for a name.
#[derive(Clone, Debug)]
pub struct NameOrigin {
    /// The apex of the zone it belongs to.
    pub zone: Name,
    /// The zone that this one is an alias of.
    pub alias_of: Option<Name>,
    /// Where it is configured.
    pub file: PathBuf,
    /// Why it is broken, or older than its file.
    pub trouble: Option<String>,
    /// The serial served; `None` for a broken zone.
    pub serial: Option<Serial>,
    /// The owner of the records that answer, if there is one.
    pub owner: Option<OwnerOrigin>,
}

/// An owner of records.
#[derive(Clone, Debug)]
pub struct OwnerOrigin {
    /// Its name: the one asked about, or a wildcard.
    pub name: Name,
    /// Types it has records of now.
    pub types: Vec<RrType>,
    /// The objects that it was discovered from.
    pub discovered: Vec<Origin>,
    /// The host whose addresses it has.
    pub host: Option<Name>,
    /// What its CNAME record points to, if it has one.
    pub alias_of: Option<Name>,
    /// How its addresses are chosen, if health or a policy has a say in it.
    pub selected: Option<Selected>,
}

/// A selection with what led to it.
#[derive(Clone, Debug)]
pub struct Selected {
    /// What is served.
    pub selection: Selection,
    /// How that came about.
    pub trace: Trace,
    /// What selection knows nothing of, for each endpoint.
    pub endpoints: Vec<EndpointOrigin>,
}

/// Where an endpoint's state comes from.
#[derive(Clone, Debug)]
pub struct EndpointOrigin {
    /// Relative weight.
    pub weight: u16,
    /// What must hold for it to be up, in words; `None` if it is not checked.
    pub condition: Option<String>,
    /// The targets of that.
    pub targets: Vec<TargetId>,
    /// What a person says of it.
    pub said: Option<Override>,
}

impl Keeper {
    /// What answers for a name; `None` if no zone here does.
    pub(super) fn explain(&self, name: &Name) -> Option<NameOrigin> {
        let ancestors = std::iter::successors(Some(name.clone()), Name::parent);
        let (apex, entry) = ancestors.filter_map(|a| self.zones.get_key_value(&a)).next()?;
        Some(match entry {
            Entry::Broken { file, reason } => NameOrigin {
                zone: apex.clone(),
                alias_of: None,
                file: file.clone(),
                trouble: Some(reason.clone()),
                serial: None,
                owner: None,
            },
            Entry::Serving(zone) => NameOrigin {
                zone: apex.clone(),
                alias_of: zone.alias_of.clone(),
                file: zone.file.clone(),
                trouble: zone.trouble.clone(),
                serial: Some(zone.serial()),
                owner: self.owner_of(&zone.image, name).and_then(|owner| self.owner_origin(zone, owner)),
            },
        })
    }

    fn owner_origin(&self, zone: &super::ZoneState, name: Name) -> Option<OwnerOrigin> {
        let records = zone.image.owner(&name)?;
        let by = Circumstances {
            board: &self.tools.workshop.board,
            overrides: &zone.overrides,
            zone: zone.apex(),
            now_s: (self.tools.now_s)(),
        };
        let selected = zone.checked.get(&name).map(|owner| {
            let (selection, trace) = owner.explain(&name, by);
            let origin = |i: usize| EndpointOrigin {
                weight: owner.checked.endpoints[i].weight,
                condition: owner.checked.endpoints[i].condition.as_ref().map(ToString::to_string),
                targets: owner.targets_of(i),
                said: owner.find_any_override(i, &name, by).cloned(),
            };
            Selected { selection, trace, endpoints: (0..owner.checked.endpoints.len()).map(origin).collect() }
        });
        let types = records.rrsets.iter().map(|served| served.rrset.rtype).collect();
        let cname = records.rrsets.iter().find(|served| served.rrset.rtype == RrType::CNAME);
        let target = cname.and_then(|served| served.rrset.rdata.iter().next());
        let alias_of = target.and_then(|rdata| Name::from_wire(rdata).ok());
        let folded = zone.folded.get(&name);
        let wanted = folded.and_then(|folded| folded.wanted.as_ref());
        let discovered = wanted.map(|wanted| wanted.origins.to_vec()).unwrap_or_default();
        let host = folded.and_then(|folded| folded.alias.as_ref()).map(|(host, _)| host.clone());
        Some(OwnerOrigin { name, types, discovered, host, alias_of, selected })
    }

    /// The owner whose records answer for a name of the zone: the name itself, or the wildcard at its closest encloser (RFC 4592 §3.3.1).
    fn owner_of(&self, image: &ZoneImage, name: &Name) -> Option<Name> {
        let mut keyed = KeyedName::default();
        keyed.set(self.tools.workshop.hash_key, name);
        match image.lookup(&keyed) {
            Found::Exact(_) => Some(name.clone()),
            Found::Wildcard { encloser, .. } => {
                Name::from_wire(keyed.suffix(encloser)).ok()?.prepend(b"*").ok()
            }
            Found::BelowCut { depth, .. } | Found::BelowDname { depth, .. } => {
                Name::from_wire(keyed.suffix(depth)).ok()
            }
            Found::Missing { .. } => None,
        }
    }
}
