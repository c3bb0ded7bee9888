//! Amendments: names that sources have discovered come, change and go while zones are served, each amendment under one serial.
//!
//! The keeper remembers all that is discovered, so that it outlives the zones: a builder folds it into what it reads, and what was
//! amended meanwhile is made up for before its zones are served. Large amendments are done a slice at a time, between verdicts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::amend::{Amended, Amending};
use super::build::release;
use super::changes::Commit;
use super::crew::Crew;
use super::figures::{KeeperFigures, Timing};
use super::fold::FoldedOwner;
use super::leftovers::publish_targets;
use super::zoning::{ZoneOwner, Zoning};
use super::{Entry, Keeper, Tools, serving};
use crate::model::discovered::{
    Amendment, AmendmentPlan, DiscoveredName, PlannedChange, PlannedName, Refusal, RefusedFor, RefusedPart,
};
use crate::model::name::Name;
use crate::model::resolved::Addresses;
use crate::snapshot::Snapshot;

/// Names that are amended in one commit. With three signatures each that keeps a verdict waiting for some milliseconds.
const SLICE: usize = 256;

/// An amendment that is being done.
pub(super) struct Waiting {
    left: std::vec::IntoIter<Name>,
    refusals: Vec<Refusal>,
    reply: Sender<Vec<Refusal>>,
}

/// What owners are to be given, by zone.
type Places = BTreeMap<Name, BTreeMap<Name, Option<Arc<DiscoveredName>>>>;

impl Keeper {
    /// Takes an amendment in; [`Keeper::amend_next`] does it.
    pub(super) fn amend(&mut self, amendment: Amendment, reply: Sender<Vec<Refusal>>) {
        let discovered = Arc::make_mut(&mut self.tools.workshop.discovered);
        let mut names: Vec<Name> = Vec::with_capacity(amendment.changes.len());
        for (name, wanted) in amendment.changes {
            discovered.set(name.clone(), wanted);
            names.push(name);
        }
        if self.changed_during_build.is_some() {
            self.amended_during_build.extend(names.iter().cloned());
        }
        self.amendments.push_back(Waiting { left: names.into_iter(), refusals: Vec::new(), reply });
    }

    /// Does the next slice of the first amendment that waits.
    pub(super) fn amend_next(&mut self) {
        let Some(mut waiting) = self.amendments.pop_front() else { return };
        let slice: Vec<Name> = waiting.left.by_ref().take(SLICE).collect();
        let places = self.places_of(&slice);
        waiting.refusals.extend(self.amend_places(places, true, "discovery"));
        waiting.refusals.extend(self.refusals_of(&slice));
        if waiting.left.len() > 0 {
            self.amendments.push_front(waiting);
        } else {
            // Whoever asked may have gone.
            let _ = waiting.reply.send(waiting.refusals);
        }
    }

    /// After a reload: gives the zones that are about to be served what they were not built with. `built_for` are the apexes that their
    /// builder reckoned with.
    pub(super) fn amend_installed(&mut self, built_for: Option<&Zoning>) {
        let now = zoning_of(&self.zones);
        let amended = std::mem::take(&mut self.amended_during_build);
        let resolved = std::mem::take(&mut self.resolved_during_build);
        let mut places = self.places_of_hosts(&resolved);
        for (zone, owners) in self.places_of(&amended) {
            places.entry(zone).or_default().extend(owners);
        }
        if built_for.is_some_and(|built_for| *built_for != now) || self.zoning != now {
            self.zoning = now;
            let all: Vec<Name> = self.tools.workshop.discovered.names().cloned().collect();
            for (zone, owners) in self.places_of(&all) {
                places.entry(zone).or_default().extend(owners);
            }
            for zone in serving(&self.zones) {
                let owners = places.entry(zone.apex().clone()).or_default();
                for name in zone.folded.keys() {
                    // What is not among all that is discovered has gone to another zone.
                    owners.entry(name.clone()).or_default();
                }
            }
        }
        self.amend_places(places, false, "discovery");
        self.publish_hosts();
    }

    /// Takes what hosts of ALIAS records were resolved to into service.
    pub(super) fn host_resolved(&mut self, known: Vec<(Name, Arc<Addresses>)>) {
        let hosts: HashSet<Name> = known.iter().map(|(host, _)| host.clone()).collect();
        Arc::make_mut(&mut self.tools.workshop.resolved).extend(known);
        if self.changed_during_build.is_some() {
            self.resolved_during_build.extend(hosts.iter().cloned());
        }
        let places = self.places_of_hosts(&hosts);
        self.amend_places(places, true, "alias");
    }

    /// The owners that have the addresses of one of these hosts, and what is discovered for them.
    fn places_of_hosts(&self, hosts: &HashSet<Name>) -> Places {
        let mut places = Places::new();
        for zone in serving(&self.zones) {
            for (name, folded) in &zone.folded {
                if folded.alias.as_ref().is_some_and(|(host, _)| hosts.contains(host)) {
                    places
                        .entry(zone.apex().clone())
                        .or_default()
                        .insert(name.clone(), folded.wanted.clone());
                }
            }
        }
        places
    }

    /// Tells the resolver which hosts there are.
    pub(super) fn publish_hosts(&self) {
        let folded = serving(&self.zones).flat_map(|zone| zone.folded.values());
        publish_hosts(&self.tools, folded);
    }

    /// Where names stand, and what is discovered for those owners now.
    fn places_of(&self, names: &[Name]) -> Places {
        let mut places = Places::new();
        for place in names.iter().flat_map(|name| self.zoning.places(name)) {
            let wanted = self.zoning.wanted(&place, &self.tools.workshop.discovered).cloned();
            let ZoneOwner { zone, owner } = place;
            places.entry(zone).or_default().insert(owner, wanted);
        }
        places
    }

    /// Amends owners, and publishes all zones concerned in one swap if so asked. Returns what failed.
    fn amend_places(&mut self, places: Places, publishes: bool, why: &'static str) -> Vec<Refusal> {
        let started = Instant::now();
        let now_s = (self.tools.now_s)();
        let crew = Crew { threads: self.tools.workshop.threads };
        let mut snapshot: Option<Snapshot> = None;
        let mut done: Vec<(Name, Amended)> = Vec::new();
        let mut timing = Timing::default();
        let mut told = Vec::new();
        for (apex, owners) in places {
            let Some(Entry::Serving(zone)) = self.zones.get_mut(&apex) else { continue };
            let by = Amending { workshop: &self.tools.workshop, now_s, crew };
            let before = Arc::clone(&zone.image);
            let names: Vec<Name> =
                if self.log.is_read() { owners.keys().cloned().collect() } else { Vec::new() };
            let amended = zone.amend(owners.into_iter().collect(), by);
            timing.sign += amended.signing;
            timing.compile += amended.compiling;
            if amended.is_committed && !names.is_empty() {
                told.push(Commit::new(before, zone, names.iter(), why));
            }
            if amended.is_committed && publishes {
                let next = match &snapshot {
                    Some(snapshot) => snapshot.with_zone(Arc::clone(&zone.image)),
                    None => self.tools.published.load().with_zone(Arc::clone(&zone.image)),
                };
                snapshot = Some(next);
            }
            done.push((apex, amended));
        }
        if let Some(snapshot) = snapshot {
            timing.whole = started.elapsed();
            self.tools.published.publish(snapshot);
            timing.publish = started.elapsed() - timing.whole;
            self.handle.figures.committed(timing);
        }
        told.into_iter().for_each(|commit| self.log.tell(commit));
        let (mut failed, mut changes_targets, mut changes_hosts) = (Vec::new(), false, false);
        for (apex, amended) in done {
            KeeperFigures::add(&self.handle.figures.amended, amended.owners as u64);
            KeeperFigures::add(&self.handle.figures.failures, amended.failed.len() as u64);
            changes_targets |= amended.changes_targets;
            changes_hosts |= amended.changes_hosts;
            failed.extend(amended.failed);
            release(&self.tools.workshop, amended.released);
            if let Some(Entry::Serving(zone)) = self.zones.get_mut(&apex) {
                let turns = amended.notes.iter();
                let turns = turns.filter_map(|note| Some((apex.clone(), note.name.clone(), note.turn?)));
                self.turns.extend(turns);
                zone.note(amended.notes);
            }
        }
        if changes_targets {
            publish_targets(&self.tools.workshop, &self.tools.targets);
            self.follow_all();
        }
        if changes_hosts && publishes {
            self.publish_hosts();
        }
        failed
    }

    /// What of these names is not served, each as it stands in its own zone.
    fn refusals_of(&self, names: &[Name]) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut seen = HashSet::new();
        for name in names.iter().filter(|name| seen.insert(*name)) {
            let is_wanted = self.tools.workshop.discovered.get(name).is_some();
            match self.zoning.zone_of(name) {
                None if is_wanted => refusals.push(Refusal {
                    name: name.clone(),
                    what: RefusedPart::Name,
                    why: RefusedFor::NoZone,
                }),
                None => {}
                Some(apex) => {
                    let Some(Entry::Serving(zone)) = self.zones.get(&apex) else { continue };
                    let folded = zone.folded.get(name).into_iter().flat_map(|folded| &folded.refusals);
                    refusals.extend(folded.map(|(what, why)| Refusal {
                        name: name.clone(),
                        what: *what,
                        why: why.clone(),
                    }));
                }
            }
        }
        refusals
    }

    /// What of all that is discovered is not served.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let names: Vec<Name> = self.tools.workshop.discovered.names().cloned().collect();
        self.refusals_of(&names)
    }

    /// What an amendment would do.
    pub(super) fn would_amend(&self, amendment: &Amendment) -> AmendmentPlan {
        let mut plan = AmendmentPlan::default();
        for (name, wanted) in &amendment.changes {
            let mut refuse = |what, why| plan.refusals.push(Refusal { name: name.clone(), what, why });
            let Some(apex) = self.zoning.zone_of(name) else {
                if wanted.is_some() {
                    refuse(RefusedPart::Name, RefusedFor::NoZone);
                }
                continue;
            };
            let Some(Entry::Serving(zone)) = self.zones.get(&apex) else { continue };
            let would_be = zone.would_amend(name, wanted.as_ref(), &self.tools.workshop.resolved);
            would_be.refusals.into_iter().for_each(|(what, why)| refuse(what, why));
            let change = match (would_be.now, would_be.then) {
                (None, Some(_)) => PlannedChange::Added,
                (Some(_), None) => PlannedChange::Removed,
                (now, then) if now == then => PlannedChange::Unchanged,
                _ => PlannedChange::Changed,
            };
            let hides = if change == PlannedChange::Added { zone.wildcard_over(name) } else { None };
            plan.names.push(PlannedName { name: name.clone(), change, hides });
        }
        plan
    }
}

/// Tells the resolver which hosts these owners have the addresses of.
pub(super) fn publish_hosts<'f>(tools: &Tools, folded: impl Iterator<Item = &'f FoldedOwner>) {
    let hosts = folded.filter_map(|folded| folded.alias.as_ref()).map(|(host, _)| host.clone());
    let hosts: BTreeSet<Name> = hosts.collect();
    tools.aliases.send_if_modified(|before| {
        let is_other = **before != hosts;
        if is_other {
            *before = Arc::new(hosts);
        }
        is_other
    });
}

/// The apexes of these zones.
pub(super) fn zoning_of(zones: &BTreeMap<Name, Entry>) -> Zoning {
    let mut zoning = Zoning::default();
    for (apex, entry) in zones {
        let alias_of = match entry {
            Entry::Serving(zone) => zone.alias_of.as_ref(),
            Entry::Broken { .. } => None,
        };
        zoning.add(apex, alias_of);
    }
    zoning
}
