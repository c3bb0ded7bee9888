//! To which zone a discovered name belongs, and what a zone's owner is to be given. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::discovered::DiscoveredName;
use crate::model::name::Name;
use crate::model::resolved::Addresses;

/// What is known of the host names that ALIAS records lead to.
pub type Resolved = HashMap<Name, Arc<Addresses>>;

/// Everything that sources have discovered, by name, whichever zone it belongs to.
#[derive(Clone, Debug, Default)]
pub struct Discovered(HashMap<Name, Arc<DiscoveredName>>);

impl Discovered {
    /// The discovered name, if it is one.
    pub fn get(&self, name: &Name) -> Option<&Arc<DiscoveredName>> {
        self.0.get(name)
    }

    /// Every name, in no order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a name in place of what was discovered for it before, or takes that away.
    pub(super) fn set(&mut self, name: Name, wanted: Option<Arc<DiscoveredName>>) {
        match wanted {
            Some(wanted) => self.0.insert(name, wanted),
            None => self.0.remove(&name),
        };
    }
}

impl FromIterator<(Name, Arc<DiscoveredName>)> for Discovered {
    fn from_iter<I: IntoIterator<Item = (Name, Arc<DiscoveredName>)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

/// An owner of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ZoneOwner {
    pub(super) zone: Name,
    pub(super) owner: Name,
}

/// The apexes there are, of broken zones too: their names are theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Zoning {
    apexes: HashSet<Name>,
    /// Alias zones of a zone.
    aliases: HashMap<Name, Vec<Name>>,
    /// The same the other way round.
    alias_of: HashMap<Name, Name>,
}

impl Zoning {
    /// Adds a zone; the zone that it is an alias of, if it is.
    pub(super) fn add(&mut self, apex: &Name, alias_of: Option<&Name>) {
        if !self.apexes.insert(apex.clone()) {
            return;
        }
        if let Some(primary) = alias_of {
            self.aliases.entry(primary.clone()).or_default().push(apex.clone());
            self.alias_of.insert(apex.clone(), primary.clone());
        }
    }

    /// The zone of a name: that of the longest apex above it.
    pub(super) fn zone_of(&self, name: &Name) -> Option<Name> {
        std::iter::successors(Some(name.clone()), Name::parent).find(|above| self.apexes.contains(above))
    }

    /// Where a discovered name stands: in its zone, and below the apexes of that one's aliases where it fits.
    pub(super) fn places(&self, name: &Name) -> Vec<ZoneOwner> {
        let Some(zone) = self.zone_of(name) else { return Vec::new() };
        let aliases = self.aliases.get(&zone).into_iter().flatten();
        let moved: Vec<ZoneOwner> = aliases
            .filter_map(|alias| Some(ZoneOwner { owner: moved(name, &zone, alias)?, zone: alias.clone() }))
            .collect();
        std::iter::once(ZoneOwner { owner: name.clone(), zone }).chain(moved).collect()
    }

    /// What was discovered for an owner of a zone: under its own name, else, in an alias zone, under its name in the primary zone.
    pub(super) fn wanted<'d>(
        &self,
        place: &ZoneOwner,
        discovered: &'d Discovered,
    ) -> Option<&'d Arc<DiscoveredName>> {
        let ZoneOwner { zone, owner } = place;
        let of_zone = |name: &Name, zone: &Name| {
            discovered.get(name).filter(|_| self.zone_of(name).as_ref() == Some(zone))
        };
        of_zone(owner, zone).or_else(|| {
            let primary = self.alias_of.get(zone)?;
            of_zone(&moved(owner, zone, primary)?, primary)
        })
    }

    /// Everything that was discovered for the zones, by zone.
    pub(super) fn by_zone(
        &self,
        discovered: &Discovered,
    ) -> HashMap<Name, HashMap<Name, Arc<DiscoveredName>>> {
        let mut zones: HashMap<Name, HashMap<Name, Arc<DiscoveredName>>> = HashMap::new();
        for place in discovered.names().flat_map(|name| self.places(name)) {
            if let Some(wanted) = self.wanted(&place, discovered) {
                let wanted = Arc::clone(wanted);
                zones.entry(place.zone).or_default().insert(place.owner, wanted);
            }
        }
        zones
    }
}

/// A name below `from`, or that apex, at the same place below `to`; `None` if it gets too long there.
fn moved(name: &Name, from: &Name, to: &Name) -> Option<Name> {
    let labels = &name.wire()[..name.wire().len().checked_sub(from.wire().len())?];
    Name::from_wire(&[labels, to.wire()].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    #[track_caller]
    fn check(zoning: &Zoning, of: &str, expected: &[(&str, &str)]) {
        let found = zoning.places(&name(of));
        let found: Vec<_> = found.iter().map(|p| (p.zone.to_string(), p.owner.to_string())).collect();
        let found: Vec<_> = found.iter().map(|(zone, owner)| (zone.as_str(), owner.as_str())).collect();
        assert_eq!(found, expected, "{of}");
    }

    #[test]
    fn the_longest_apex_has_the_name_and_its_aliases_too() {
        let mut zoning = Zoning::default();
        zoning.add(&name("example.test"), None);
        zoning.add(&name("sub.example.test"), None);
        zoning.add(&name("example.org"), Some(&name("example.test")));
        check(
            &zoning,
            "a.example.test",
            &[("example.test.", "a.example.test."), ("example.org.", "a.example.org.")],
        );
        check(&zoning, "a.sub.example.test", &[("sub.example.test.", "a.sub.example.test.")]);
        check(
            &zoning,
            "example.test",
            &[("example.test.", "example.test."), ("example.org.", "example.org.")],
        );
        check(&zoning, "a.example.org", &[("example.org.", "a.example.org.")]);
        check(&zoning, "a.example.net", &[]);
        let long = format!("{0}.{0}.{0}.{1}.example.test", "a".repeat(61), "a".repeat(49));
        let mut far = Zoning::default();
        far.add(&name("example.test"), None);
        far.add(&name("a-much-longer-name.example.org"), Some(&name("example.test")));
        assert_eq!(far.places(&name(&long)).len(), 1, "it does not fit below the alias");
    }

    #[test]
    fn an_alias_zone_prefers_its_own_name() {
        let mut zoning = Zoning::default();
        zoning.add(&name("example.test"), None);
        zoning.add(&name("example.org"), Some(&name("example.test")));
        let wanted = |ttl| {
            Arc::new(DiscoveredName {
                endpoints: Vec::new(),
                policy: None,
                hostname: None,
                host_condition: None,
                rrsets: Vec::new(),
                ttl: Some(ttl),
                may_be_apex: false,
                origins: Arc::new([]),
            })
        };
        let both: Discovered = [("a.example.test", 1), ("a.example.org", 2), ("b.example.test", 3)]
            .map(|(text, ttl)| (name(text), wanted(ttl)))
            .into_iter()
            .collect();
        let zones = zoning.by_zone(&both);
        let ttl = |zone: &str, owner: &str| zones[&name(zone)].get(&name(owner)).and_then(|w| w.ttl);
        assert_eq!(ttl("example.test.", "a.example.test"), Some(1));
        assert_eq!(ttl("example.org.", "a.example.org"), Some(2));
        assert_eq!(ttl("example.org.", "b.example.org"), Some(3));
    }
}
