//! What the keeper tells those who watch: whose answers a flip concerns, and which names have nothing left that is up. Told after the
//! commit, so that no answer waits for it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::channel::{Change, ReloadSummary};
use super::zone_state::{CheckedOwner, OwnerNote, TransactionError, ZoneState};
use super::{Entry, Keeper, serving};
use crate::model::diagnostic::Diagnostic;
use crate::model::event::{EventKind, News};
use crate::model::events::Flipped;
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::target::Group;
use crate::snapshot::ZoneImage;
use crate::snapshot::image::{Note, OwnerRecords};
use crate::zone::select::{Reason, Selection};

/// Names that an event lists; the rest it counts.
const NAMES: usize = 8;
/// Files, and zones, that a reload tells of.
const FILES: usize = 100;

/// A turn for the worse or the better of a whole name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing of a group of its endpoints is up any more, and what is answered instead.
    Down(Reason),
    /// Something of each is up again.
    Recovered,
}

impl Turn {
    /// What a selection is to a name that has been served like this, or not at all; `None` if it is no turn.
    pub(super) fn of(
        owner: &CheckedOwner,
        before: Option<&OwnerRecords>,
        selection: &Selection,
    ) -> Option<Self> {
        let was_down =
            before.is_some_and(|before| owner.checked.groups().any(|(group, _)| is_all_down(before, group)));
        let down = selection.reasons.iter().find(|(_, reason)| *reason != Reason::Healthy);
        match (was_down, down) {
            (false, Some((_, reason))) => Some(Self::Down(*reason)),
            (true, None) if selection.pending.is_empty() => Some(Self::Recovered),
            _ => None,
        }
    }

    /// The same by what was served before and is served now.
    fn between(owner: &CheckedOwner, before: Option<&OwnerRecords>, now: &OwnerRecords) -> Option<Self> {
        let down = |records: &OwnerRecords| {
            owner.checked.groups().map(|(group, _)| group).find(|group| is_all_down(records, *group))
        };
        match (before.and_then(down), down(now)) {
            (None, Some(group)) => Some(Self::Down(instead(now, group))),
            (Some(_), None) if now.pending.is_empty() => Some(Self::Recovered),
            _ => None,
        }
    }

    fn news(self, zone: &Name, name: &Name) -> News {
        let (kind, text) = match self {
            Self::Down(reason) => {
                let instead = match reason {
                    Reason::ServingAll | Reason::Healthy => "all of it is answered",
                    Reason::LastGood => "what was up last is answered",
                    Reason::Fallback => "the fallback is answered",
                    Reason::Nothing => "nothing is answered",
                };
                (EventKind::NameDown, format!("nothing of {name} is up: {instead}"))
            }
            Self::Recovered => (EventKind::NameRecovered, format!("{name} is up again")),
        };
        News::new(kind, text).about(zone.to_string(), name.to_string())
    }
}

/// Whether records are what is served of a group of which nothing is up.
pub(super) fn is_all_down(records: &OwnerRecords, group: Group) -> bool {
    let served = || records.all_rrsets().filter(|r| Group::of(r.rrset.rtype) == group);
    let is_of_group = |rtype: &RrType| Group::of(*rtype) == group;
    served().any(|r| r.note != Note::None)
        || (served().next().is_none()
            && records.withheld.iter().any(is_of_group)
            && !records.pending.iter().any(is_of_group))
}

/// What is answered of a group of which nothing is up.
fn instead(records: &OwnerRecords, group: Group) -> Reason {
    let note = records.all_rrsets().find(|r| Group::of(r.rrset.rtype) == group).map(|r| r.note);
    match note {
        Some(Note::Stale) => Reason::LastGood,
        Some(Note::Fallback) => Reason::Fallback,
        Some(Note::AllDownServingAll) => Reason::ServingAll,
        Some(Note::None) | None => Reason::Nothing,
    }
}

/// One event for each file with an error.
pub(super) fn of_files<'d>(found: impl Iterator<Item = &'d Diagnostic>, what_then: &str) -> Vec<News> {
    let mut failed: BTreeMap<&Path, (&Diagnostic, usize)> = BTreeMap::new();
    for error in found.filter(|found| found.is_error()) {
        failed.entry(&error.file).or_insert((error, 0)).1 += 1;
    }
    let failure = |(file, (first, count)): (&Path, (&Diagnostic, usize))| {
        let more = if count > 1 { format!(" (and {} more errors)", count - 1) } else { String::new() };
        let why = first.unmarked().to_string();
        let text = format!("{why}{more}; {what_then}");
        News {
            file: Some(file.display().to_string()),
            why: Some(why),
            ..News::new(EventKind::ReloadFailed, text)
        }
    };
    failed.into_iter().take(FILES).map(failure).collect()
}

/// The names that a commit was a turn for.
pub(super) fn turned(notes: &[OwnerNote]) -> impl Iterator<Item = Name> {
    notes.iter().filter(|note| note.turn.is_some()).map(|note| note.name.clone())
}

/// What a reload came to: one event for each file that could not be read, and one for what was.
pub(super) fn of_reload(summary: &ReloadSummary) -> Vec<News> {
    let mut news = of_files(summary.diagnostics.iter(), "what was served before is served on");
    let changed = |change: Change| matches!(change, Change::Added | Change::Changed | Change::Removed);
    let zones: Vec<String> = summary
        .zones
        .iter()
        .filter(|zone| changed(zone.change))
        .take(FILES)
        .map(|zone| zone.apex.to_string())
        .collect();
    if summary.is_good() || !zones.is_empty() {
        let [added, different, removed, same] =
            [Change::Added, Change::Changed, Change::Removed, Change::Unchanged].map(|c| summary.count(c));
        let text = format!(
            "zones reloaded: {added} added, {different} changed, {removed} removed, {same} as they were"
        );
        news.push(News { zones, ..News::new(EventKind::ReloadDone, text) });
    }
    news
}

impl Keeper {
    /// Tells of the flips that were applied, then of the turns that came of them.
    pub(super) fn tell(&mut self) {
        let events = &self.tools.workshop.events;
        let (flips, left_out) = events.take_flips();
        let mut news: Vec<News> = flips.iter().map(|flip| self.flip_news(flip)).collect();
        if left_out > 0 {
            let text = format!("{left_out} more verdicts changed at the same time");
            news.push(News::new(EventKind::TargetFlip, text));
        }
        news.extend(self.turns.drain(..).map(|(zone, name, turn)| turn.news(&zone, &name)));
        events.publish_all(news);
    }

    /// Notes the turns that came of building a zone, which took the place of `before`, if of any. `turned` are the names that took one while
    /// it was built: meanwhile the zone before may have taken it too, and told of it.
    pub(super) fn note_built(&mut self, zone: &ZoneState, before: Option<&ZoneImage>, turned: HashSet<Name>) {
        self.turns.extend(turned.into_iter().filter_map(|name| {
            let was = before.and_then(|before| before.owner(&name));
            let turn = Turn::between(zone.checked.get(&name)?, was.as_ref(), &zone.image.owner(&name)?)?;
            Some((zone.apex().clone(), name, turn))
        }));
    }

    /// Tells which names have nothing that is up from the start on.
    pub(super) fn tell_start(&mut self) {
        let mut zones = std::mem::take(&mut self.zones);
        for entry in zones.values_mut() {
            if let Entry::Serving(zone) = entry {
                let turned = std::mem::take(&mut zone.turned);
                self.note_built(zone, None, turned);
            }
        }
        self.zones = zones;
        self.tell();
    }

    fn flip_news(&self, flip: &Flipped) -> News {
        let Flipped { id, target, from, to, why } = flip;
        let mut news = News::new(EventKind::TargetFlip, format!("{target} is {to}, was {from}: {why}"));
        let mut count = 0;
        for zone in serving(&self.zones) {
            let Some(names) = zone.dependents.get(id) else { continue };
            news.zones.push(zone.apex().to_string());
            let room = NAMES - news.names.len();
            news.names.extend(names.iter().take(room).map(Name::to_string));
            count += names.len();
        }
        news.names_in_all = (count > news.names.len()).then_some(count as u64);
        news.target = Some(target.to_string());
        news.target_id = Some(id.0);
        (news.from, news.to) = (Some(*from), Some(*to));
        news.why = Some(why.clone());
        news
    }

    /// Tells that a zone cannot be signed, once until it can be again: what failed is tried again each second.
    pub(super) fn tell_failure(&mut self, apex: &Name, error: &TransactionError) {
        if matches!(error, TransactionError::Sign(_)) && self.unsigned.insert(apex.clone()) {
            let text =
                format!("{apex} cannot be signed, and serves what it served before, if anything: {error}");
            let mut news = News::new(EventKind::SigningTrouble, text);
            news.zones.push(apex.to_string());
            self.tools.workshop.events.publish(news);
        }
    }
}
