//! Names whose verdicts others follow: their numbers on the board are the keeper's to set.
//!
//! A followed name is a target like any other for those who follow it, so a change reaches them as a probe's would: by a dirty bit, in the
//! keeper's next round. Names that follow each other in a circle are refused when their zones are read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::build::{Layout, Reading, Workshop, release};
use super::reload::lock;
use super::zone_state::{CheckedOwner, Circumstances, ZoneState};
use super::{Entry, Keeper};
use crate::model::name::Name;
use crate::model::overrides::Word;
use crate::model::rrtype::RrType;
use crate::model::target::{TargetId, Verdict};
use crate::zone::follow::{self, Follow};

/// Records that make an unchecked owner one that is up.
const ADDRESSES: [RrType; 3] = [RrType::A, RrType::AAAA, RrType::CNAME];

impl CheckedOwner {
    /// Up if any address or CNAME is, as its owner answers it: what a person has said goes before what probes say. Of an owner without
    /// those, any record.
    fn overall(&self, name: &Name, by: Circumstances<'_>) -> Verdict {
        let mut overall = Verdict::Down;
        let first = self.checked.groups().next().filter(|(group, _)| group.has_policy());
        for i in first.map_or(0..self.checked.endpoints.len(), |(_, range)| range) {
            let state = self.state(i, name, by);
            let verdict = match state.word {
                Some(Word::Up) => Verdict::Up,
                Some(Word::Down) => Verdict::Down,
                Some(Word::Drain) | None => state.verdict,
            };
            match verdict {
                Verdict::Up => return Verdict::Up,
                Verdict::Unknown => overall = Verdict::Unknown,
                Verdict::Down => {}
            }
        }
        overall
    }
}

/// The entry of a zone that a name belongs to: that of the longest apex above it.
fn zone_of<'z, Z>(name: &Name, zones: impl Fn(&Name) -> Option<&'z Z>) -> Option<&'z Z> {
    std::iter::successors(Some(name.clone()), Name::parent).find_map(|apex| zones(&apex))
}

impl ZoneState {
    /// The verdict of an owner; unknown if there is none.
    fn owner_verdict(&self, name: &Name, workshop: &Workshop, now_s: u32) -> Verdict {
        let by = Circumstances {
            board: &workshop.board,
            overrides: &workshop.overrides,
            zone: self.apex(),
            now_s,
        };
        if let Some(owner) = self.checked.get(name) {
            return owner.overall(name, by);
        }
        let has_address = |o: crate::snapshot::image::OwnerRecords| {
            o.rrsets.iter().any(|r| ADDRESSES.contains(&r.rrset.rtype))
        };
        if self.image.owner(name).is_some_and(has_address) { Verdict::Up } else { Verdict::Unknown }
    }
}

impl Keeper {
    /// Sets the verdicts of the followed names among the owners that these targets concern.
    pub(super) fn follow_dependents(&self, targets: &[TargetId]) {
        let registry = lock(&self.tools.workshop.registry);
        let followed = registry.followed();
        if followed.is_empty() {
            return;
        }
        let mut concerned: HashMap<&Name, TargetId> = HashMap::new();
        for zone in super::serving(&self.zones) {
            for name in targets.iter().filter_map(|id| zone.dependents.get(id)).flatten() {
                concerned.extend(followed.get_key_value(name).map(|(name, id)| (name, *id)));
            }
        }
        self.set_followed(concerned.into_iter());
    }

    /// Sets the verdicts of all followed names: zones have come and gone, or people have spoken.
    pub(super) fn follow_all(&self) {
        let registry = lock(&self.tools.workshop.registry);
        self.set_followed(registry.followed().iter().map(|(name, id)| (name, *id)));
    }

    fn set_followed<'n>(&self, names: impl Iterator<Item = (&'n Name, TargetId)>) {
        let now_s = (self.tools.now_s)();
        let zones = |apex: &Name| match self.zones.get(apex) {
            Some(Entry::Serving(zone)) => Some(&**zone),
            _ => None,
        };
        for (name, id) in names {
            let zone = zone_of(name, zones);
            let verdict =
                zone.map_or(Verdict::Unknown, |zone| zone.owner_verdict(name, &self.tools.workshop, now_s));
            // A name that is gone, or waits for its first probes after a reload, has said nothing new: its last word stands.
            if verdict != Verdict::Unknown {
                self.tools.workshop.board.set(id, verdict);
            }
        }
    }
}

/// Sets the verdicts of followed names that have none, before zones are compiled for the first time: what follows them need not wait.
pub(super) fn settle(readings: &[Reading], workshop: &Workshop, now_s: u32) {
    let mut awaited: Vec<(Name, TargetId)> = {
        let registry = lock(&workshop.registry);
        let all = registry.followed().iter().map(|(name, id)| (name.clone(), *id));
        all.filter(|(_, id)| workshop.board.get(*id) == Verdict::Unknown).collect()
    };
    let layouts: HashMap<&Name, &Layout> = readings
        .iter()
        .flat_map(|reading| &reading.layouts)
        .map(|layout| (&layout.desired.apex, layout))
        .collect();
    // A name may follow another that follows a third: as long as one becomes known, another may.
    loop {
        let before = awaited.len();
        awaited.retain(|(name, id)| {
            let Some(layout) = zone_of(name, |apex| layouts.get(apex).copied()) else { return true };
            let verdict = layout.owner_verdict(name, workshop, now_s);
            workshop.board.set(*id, verdict);
            verdict == Verdict::Unknown
        });
        if awaited.len() == before {
            return;
        }
    }
}

impl Layout {
    fn owner_verdict(&self, name: &Name, workshop: &Workshop, now_s: u32) -> Verdict {
        let (board, overrides) = (&*workshop.board, &*workshop.overrides);
        if let Some(owner) = self.checked.get(name) {
            return owner.overall(name, Circumstances { board, overrides, zone: &self.desired.apex, now_s });
        }
        let owner = self.desired.owners.get(name);
        let has_address = owner.is_some_and(|o| o.rrsets.iter().any(|r| ADDRESSES.contains(&r.rtype)));
        if has_address { Verdict::Up } else { Verdict::Unknown }
    }
}

/// Refuses readings whose names follow each other in a circle, and tells of names that no zone holds.
pub(super) fn check(readings: &mut [Reading], workshop: &Workshop) {
    let follows: Vec<Follow> =
        readings.iter_mut().flat_map(|reading| std::mem::take(&mut reading.follows)).collect();
    if follows.is_empty() {
        return;
    }
    let apexes: HashSet<Name> = readings.iter().flat_map(|reading| &reading.apexes).cloned().collect();
    let mut by_file: HashMap<PathBuf, Vec<_>> = HashMap::new();
    for finding in follow::findings(&follows, &apexes) {
        by_file.entry(finding.file.clone()).or_default().push(finding);
    }
    for reading in readings {
        reading.diagnostics.extend(by_file.remove(&reading.file).unwrap_or_default());
        if !reading.is_good() {
            for layout in reading.layouts.drain(..) {
                release(workshop, layout.held_targets());
            }
        }
    }
}
