//! All sources together: reports go in, changes of names and orders for the drivers come out. Pure: time and random numbers are passed in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::figures::Figures;
use super::guard::{Guard, GuardRules, Now};
use super::kept::Kept;
use super::merge::{Candidate, MergeRules, Merged, Note, NoteKind, merge};
use super::pace::Pace;
use super::source::{Condition, Failure, Order, Report};
use crate::config::{Conflict, Shared, SourceConfig, SourceKind, SourceMode, SourcesConfig, SyncMode};
use crate::model::discovered::{Amendment, DiscoveredName, Origin};
use crate::model::event::EventKind;
use crate::model::hidden::Hidden;
use crate::model::name::Name;

/// Every source, and what is published of them.
#[derive(Debug)]
pub struct Core {
    pub(super) configs: Vec<SourceConfig>,
    conflict: Conflict,
    shared: Arc<Shared>,
    pub(super) sources: Vec<Source>,
    pub(super) published: HashMap<Name, Arc<DiscoveredName>>,
    /// What is not published as it was asked for, by name.
    pub(super) notes: BTreeMap<Name, Vec<Note>>,
    /// Changes that the keeper has not been told of.
    pending: BTreeMap<Name, Option<Arc<DiscoveredName>>>,
    lines: Vec<Line>,
    /// Names that people keep from being published.
    pub(super) hidden: Hidden,
    /// Claims have changed since they were last saved.
    unsaved: bool,
}

/// One source while it runs.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) guard: Guard,
    pub(super) pace: Pace,
    pub(super) paused: bool,
    pub(super) figures: Figures,
    pub(super) conditions: BTreeMap<&'static str, Condition>,
    /// When it was last complete, in milliseconds since 1970; kept over restarts.
    pub(super) last_ok_wall: Option<u64>,
    /// When it is next listed: by the forward clock.
    pub(super) next: Option<u64>,
    /// Milliseconds from the end of the last round to the next one, where a round follows another.
    pub(super) wait_ms: Option<u64>,
    pub(super) activity: Activity,
    resync: bool,
    /// The failure that was logged last.
    logged: Option<Failure>,
    held: usize,
}

/// What its driver was last ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Idle,
    Syncing { since: u64 },
    Watching,
    Paused,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether somebody should look at it.
    pub warn: bool,
    /// The source.
    pub source: Arc<str>,
    /// The name that it is about.
    pub name: Option<Name>,
    /// The object, as its people write it.
    pub object: Option<Box<str>>,
    /// What happened.
    pub text: String,
    /// What those who watch are told it is, if they are told.
    pub kind: Option<EventKind>,
}

impl Core {
    /// The sources of a configuration, with what was kept of them. The names that stood are published before any source answers.
    pub fn new(config: &SourcesConfig, shared: Arc<Shared>, mut kept: Kept, now: Now) -> Self {
        let sources = config.list.iter().map(|config| {
            let mut source = Source::new(config, now);
            if let Some(kept) = kept.take(&config.name) {
                source.last_ok_wall = kept.last_ok_ms;
                source.guard.restore(kept.claims());
            }
            source
        });
        let mut core = Self {
            sources: sources.collect(),
            configs: config.list.clone(),
            conflict: config.conflict,
            shared,
            published: HashMap::new(),
            notes: BTreeMap::new(),
            pending: BTreeMap::new(),
            lines: Vec::new(),
            hidden: Hidden::default(),
            unsaved: false,
        };
        (0..core.sources.len()).for_each(|source| core.settle(source, now));
        core
    }

    /// Takes the sources of another configuration over. What stands stands until they say otherwise, unless its source or its right is gone.
    pub fn replace(&mut self, config: &SourcesConfig, shared: Arc<Shared>, now: Now) {
        let mut next = Self::new(config, shared, self.kept(), now);
        for (source, config) in next.sources.iter_mut().zip(&next.configs) {
            let old = self.configs.iter().position(|old| old.name == config.name);
            let Some(old) = old else { continue };
            if self.configs[old].is_same(config) {
                // Its driver goes on too.
                std::mem::swap(source, &mut self.sources[old]);
                continue;
            }
            let old = &mut self.sources[old];
            source.figures = std::mem::take(&mut old.figures);
            source.paused = old.paused;
        }
        // Compared with what is published already, most of it is no change.
        let wanted = std::mem::replace(&mut next.published, std::mem::take(&mut self.published));
        next.pending = std::mem::take(&mut self.pending);
        // That what was restored is published again is no news.
        next.lines = std::mem::take(&mut self.lines);
        next.hidden = std::mem::take(&mut self.hidden);
        let names = wanted.into_keys().chain(next.published.keys().cloned()).collect();
        next.refresh(names);
        *self = next;
    }

    /// Takes a report of the source with this index in. `random` is uniformly distributed.
    pub fn report(&mut self, index: usize, report: Report, now: Now, random: u64) {
        let config = &self.configs[index];
        let source = &mut self.sources[index];
        match &report {
            Report::Call(call) => return source.figures.call(call),
            Report::Took(kind, took) => return source.figures.list(*kind, *took),
            Report::Condition(condition) => {
                source.conditions.insert(condition.kind, condition.clone());
                return;
            }
            // What was under way when it was paused is listed afresh when it goes on.
            _ if source.paused => return,
            Report::Failed(scope, failure) => {
                source.figures.failure(scope.as_ref().map(|scope| scope.kind), failure.kind);
                if source.activity == Activity::Watching {
                    source.pace.failed(now.ms, random);
                }
            }
            Report::Listed { .. }
            | Report::Alive(_)
            | Report::Resumed(_)
            | Report::Changed(..)
            | Report::Gone(_)
            | Report::Answers => {
                if source.activity == Activity::Watching {
                    source.pace.succeeded();
                }
            }
            Report::NotInstalled(_) | Report::Synced => {}
        }
        let is_end = report == Report::Synced;
        source.guard.apply(report, now);
        if is_end {
            source.ended(config, now, random);
        }
        if source.guard.is_synced() && source.guard.failure().is_none() {
            source.last_ok_wall = Some(now.wall_ms);
        }
        self.log_failure(index);
        self.settle(index, now);
    }

    /// The driver of a source has ended, which it never should: it is to be started again.
    pub fn driver_ended(&mut self, index: usize, failure: Failure, now: Now, random: u64) {
        let source = &mut self.sources[index];
        source.guard.apply(Report::Failed(None, failure), now);
        source.activity = Activity::Idle;
        source.next = Some(now.ms + source.pace.failed(now.ms, random));
        self.log_failure(index);
    }

    /// Lets time pass: removals become due, the brake releases what has not changed.
    pub fn tick(&mut self, now: Now) {
        let (left, gone) = self.hidden.expire(now.wall_s());
        if !gone.is_empty() {
            self.hidden = left;
            for (name, hide) in &gone {
                let text = format!("no longer hidden: its time is over ({})", hide.reason);
                self.lines.push(Line {
                    warn: false,
                    source: "".into(),
                    name: Some(name.clone()),
                    object: None,
                    text,
                    kind: Some(EventKind::NameUnhidden),
                });
            }
            self.refresh(gone.into_iter().map(|(name, _)| name).collect());
        }
        (0..self.sources.len()).for_each(|source| self.settle(source, now));
    }

    /// What the drivers are to do now.
    pub fn orders(&mut self, now: Now) -> Vec<(usize, Order)> {
        let sources = self.sources.iter_mut().zip(&self.configs).enumerate();
        sources.filter_map(|(index, (source, config))| Some((index, source.order(config, now)?))).collect()
    }

    /// The changes that the keeper is to be told of, if there are any.
    pub fn take_amendment(&mut self) -> Option<Amendment> {
        let changes: Vec<_> = std::mem::take(&mut self.pending).into_iter().collect();
        (!changes.is_empty()).then_some(Amendment { changes })
    }

    /// What is to be logged.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// What is to be saved, if something has changed since it was last asked for.
    pub fn take_kept(&mut self) -> Option<Kept> {
        std::mem::take(&mut self.unsaved).then(|| self.kept())
    }

    /// What is to be saved.
    pub fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        for (source, config) in self.sources.iter().zip(&self.configs) {
            kept.insert(&config.name, source.last_ok_wall, &source.guard);
        }
        kept
    }

    /// The place of the source with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.configs.iter().position(|config| *config.name == *name)
    }

    /// Has a source listed afresh, at once and whatever the back-off says. A paused one stays paused: false.
    pub fn resync(&mut self, index: usize) -> bool {
        let source = &mut self.sources[index];
        source.resync = !source.paused;
        source.resync
    }

    /// Leaves a source alone: what stands stands. Or goes on with it.
    pub fn pause(&mut self, index: usize, paused: bool, now: Now) {
        let source = &mut self.sources[index];
        source.paused = paused;
        if !paused {
            (source.activity, source.next) = (Activity::Idle, Some(now.ms));
        }
    }

    /// Lets the removals go that the brake of a source holds; returns how many names.
    pub fn release(&mut self, index: usize, now: Now) -> usize {
        let names = self.sources[index].guard.release();
        self.settle(index, now);
        names
    }

    /// Takes other hidden names over: what is hidden from now on goes, and what no longer is comes back.
    pub fn set_hidden(&mut self, hidden: &Hidden, now: Now) {
        let hidden = hidden.expire(now.wall_s()).0;
        let names = self.hidden.names().chain(hidden.names()).cloned().collect();
        self.hidden = hidden;
        self.refresh(names);
    }

    /// Whether any source wants a name published, hidden or not.
    pub fn is_wanted(&self, name: &Name) -> bool {
        self.sources.iter().any(|source| source.guard.claims_for(name).next().is_some())
    }

    /// Whether each source has been listed or restored.
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|source| source.guard.is_ready())
    }

    /// Each source by name, and whether it has been listed or restored.
    pub fn readiness(&self) -> impl Iterator<Item = (&str, bool)> {
        self.configs.iter().zip(&self.sources).map(|(config, s)| (&*config.name, s.guard.is_ready()))
    }

    /// Whose word counts for a name that was passed on to be published.
    pub fn origin(&self, name: &Name) -> Option<&Origin> {
        self.published.get(name)?.origins.first()
    }

    /// The configurations of the sources.
    pub fn configs(&self) -> &[SourceConfig] {
        &self.configs
    }

    /// What of a name is wanted, with what the sources that only observe say if `observed`, and without what is gone if `without_missing`.
    pub(super) fn wanted(&self, name: &Name, observed: bool, without_missing: bool) -> Merged {
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for (source, state) in self.sources.iter().enumerate() {
            let claims = state.guard.claims_for(name);
            let claims = claims.filter(|(_, standing)| !(without_missing && standing.is_missing()));
            candidates.extend(claims.map(|(key, standing)| Candidate { source, key, standing }));
        }
        let (sources, conflict, shared) = (&self.configs[..], self.conflict, &*self.shared);
        let mut merged = merge(name, &candidates, &MergeRules { sources, conflict, shared, observed });
        // The set has none whose time is over for longer than a tick.
        if self.hidden.find(name, 0).is_some() {
            merged.name = None;
        }
        merged
    }

    fn settle(&mut self, index: usize, now: Now) {
        let source = &mut self.sources[index];
        source.guard.settle(now);
        let changed = source.guard.take_changed();
        let held = source.guard.brake().held().map_or(0, |held| held.names.len());
        let before = std::mem::replace(&mut source.held, held);
        if held != before {
            let why = source.guard.brake().held().map_or("", |held| held.why);
            let text = match held {
                0 => format!("the delete brake holds nothing any more; it held {before} names"),
                _ => format!("the delete brake holds the removal of {held} names: {why}"),
            };
            let kind = if held > 0 { EventKind::SourceBrakeHeld } else { EventKind::SourceBrakeReleased };
            // Of a brake that holds one more name than a moment ago nobody need be told again.
            let is_turn = (held > 0) != (before > 0);
            self.line(index, held > 0, text, is_turn.then_some(kind));
        }
        self.refresh(changed);
    }

    /// Works out anew what names come to whose claims have changed.
    fn refresh(&mut self, names: BTreeSet<Name>) {
        self.unsaved |= !names.is_empty();
        for name in names {
            let Merged { name: wanted, notes } = self.wanted(&name, false, false);
            self.note(&name, notes);
            let wanted = wanted.map(Arc::new);
            if self.published.get(&name) == wanted.as_ref() {
                continue;
            }
            let (old, verb, kind) = match &wanted {
                Some(wanted) => {
                    let old = self.published.insert(name.clone(), Arc::clone(wanted));
                    let is_new = old.is_none();
                    let kind = if is_new { EventKind::DiscoveredAdded } else { EventKind::DiscoveredChanged };
                    (old, if is_new { "added" } else { "changed" }, kind)
                }
                None => (self.published.remove(&name), "removed", EventKind::DiscoveredRemoved),
            };
            let origin = wanted.as_ref().or(old.as_ref()).and_then(|found| found.origins.first().cloned());
            let (source, object) = origin.map_or_else(Default::default, |o| (o.source, o.object));
            let text = format!("discovered name {verb}");
            self.lines.push(Line {
                warn: false,
                source,
                name: Some(name.clone()),
                object: Some(object),
                text,
                kind: Some(kind),
            });
            self.pending.insert(name, wanted);
        }
    }

    fn note(&mut self, name: &Name, notes: Vec<Note>) {
        let old = self.notes.remove(name).unwrap_or_default();
        for note in notes.iter().filter(|note| !old.contains(note)) {
            self.lines.push(Line {
                warn: matches!(note.kind, NoteKind::NotAllowed | NoteKind::Conflict),
                source: self.configs[note.source].name.clone(),
                name: Some(name.clone()),
                object: Some(note.object.to_string().into()),
                text: note.text.to_string(),
                kind: None,
            });
        }
        if !notes.is_empty() {
            self.notes.insert(name.clone(), notes);
        }
    }

    /// Says once that a source fails, and once that it works again.
    fn log_failure(&mut self, index: usize) {
        let source = &mut self.sources[index];
        let failure = source.guard.failure().cloned();
        if failure.as_ref().map(|f| f.kind) == source.logged.as_ref().map(|f| f.kind) {
            return;
        }
        let names = source.guard.names();
        source.logged = failure.clone();
        let (warn, text, kind) = match failure {
            Some(failure) => (
                true,
                format!("the source fails, its {names} names stay: {failure}"),
                EventKind::SourceFailed,
            ),
            None => (false, "the source works again".to_owned(), EventKind::SourceRecovered),
        };
        self.line(index, warn, text, Some(kind));
    }

    fn line(&mut self, index: usize, warn: bool, text: String, kind: Option<EventKind>) {
        let source = self.configs[index].name.clone();
        self.lines.push(Line { warn, source, name: None, object: None, text, kind });
    }
}

impl Source {
    fn new(config: &SourceConfig, now: Now) -> Self {
        let rules = GuardRules {
            remove_after_ms: config.remove_after_ms,
            brake: config.brake,
            polled: !is_watched(config),
            add_only: config.mode == SourceMode::AddOnly,
        };
        let mut source = Self {
            guard: Guard::new(rules),
            pace: Pace::default(),
            paused: false,
            figures: Figures::default(),
            conditions: BTreeMap::new(),
            last_ok_wall: None,
            next: None,
            wait_ms: None,
            activity: Activity::Idle,
            resync: false,
            logged: None,
            held: 0,
        };
        source.next = match &config.sync {
            SyncMode::Continuous => Some(now.ms),
            _ => source.scheduled(config, now),
        };
        source
    }

    /// A round has ended: when the next one begins.
    fn ended(&mut self, config: &SourceConfig, now: Now, random: u64) {
        let Activity::Syncing { since } = self.activity else { return };
        self.activity = Activity::Idle;
        self.figures.sync(Duration::from_millis(now.ms.saturating_sub(since)));
        let retry = match self.guard.failure() {
            Some(_) => Some(now.ms + self.pace.failed(now.ms, random)),
            None => {
                self.pace.succeeded();
                None
            }
        };
        self.next = match config.sync {
            // Watched again at once: what a list was ordered for is done.
            SyncMode::Continuous if is_watched(config) => Some(retry.unwrap_or(now.ms)),
            SyncMode::Continuous => {
                let poll = now.ms + config.poll_ms;
                Some(retry.map_or(poll, |retry| if self.pace.is_open() { retry.max(poll) } else { retry }))
            }
            _ => self.scheduled(config, now),
        };
        let is_timed = config.sync == SyncMode::Continuous && !(is_watched(config) && retry.is_none());
        self.wait_ms = self.next.filter(|_| is_timed).map(|next| next - now.ms);
    }

    /// When a schedule wants the next round, by the forward clock.
    fn scheduled(&self, config: &SourceConfig, now: Now) -> Option<u64> {
        let SyncMode::Cron(cron) = &config.sync else { return None };
        Some(now.ms + cron.next(now.wall_ms)?.saturating_sub(now.wall_ms))
    }

    fn order(&mut self, config: &SourceConfig, now: Now) -> Option<Order> {
        if self.paused {
            let is_new = self.activity != Activity::Paused;
            self.activity = Activity::Paused;
            return is_new.then_some(Order::Pause);
        }
        if matches!(self.activity, Activity::Syncing { .. }) {
            return None;
        }
        let watches = is_watched(config);
        let is_due = self.next.is_some_and(|next| now.ms >= next);
        if self.resync || (is_due && !watches) {
            self.resync = false;
            self.activity = Activity::Syncing { since: now.ms };
            return Some(Order::Sync);
        }
        if watches && self.activity != Activity::Watching && is_due {
            self.activity = Activity::Watching;
            return Some(Order::Watch);
        }
        None
    }
}

/// Whether its driver watches, instead of being ordered each list.
pub(super) fn is_watched(config: &SourceConfig) -> bool {
    matches!(config.kind, SourceKind::Kubernetes(_)) && config.sync == SyncMode::Continuous
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
