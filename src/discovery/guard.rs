//! What a source's reports mean for its names (the rules of docs/discovery.md, "What keeps a name"). Pure: time is passed in.
//!
//! A name goes only when a complete list, a watch or its object says so, and even then not at once and not with too many others. A call that
//! failed, an object that cannot be read, a status that is empty: none of them says anything about what should be published.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::brake::Brake;
use super::claim::{Claim, ObjectKey, ObjectKind, Targets};
use super::source::{Failure, Problem, ProblemKind, Report, Scope, Seen};
use crate::config::RemoveBrake;
use crate::model::name::Name;

/// What a guard goes by.
#[derive(Clone, Copy, Debug)]
pub struct GuardRules {
    /// Milliseconds for which a name must be gone before it is removed.
    pub remove_after_ms: u64,
    /// When removals are held.
    pub brake: RemoveBrake,
    /// Only lists tell what is gone: each of them must confirm it. Else a watch tells once.
    pub polled: bool,
    /// Nothing is ever removed.
    pub add_only: bool,
}

/// Now, by two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Milliseconds of a clock that only goes forward: all waiting is measured by it.
    pub ms: u64,
    /// Milliseconds since 1970: what is kept over restarts.
    pub wall_ms: u64,
}

impl Now {
    /// Seconds since 1970.
    pub fn wall_s(self) -> u32 {
        u32::try_from(self.wall_ms / 1000).unwrap_or(u32::MAX)
    }
}

/// A claim that stands: its name is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The claim, with the last known targets.
    pub claim: Claim,
    /// When Hale first saw it, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// Why its targets are older than the rest of it.
    pub stale: Option<Box<str>>,
    missing: Option<Missing>,
}

/// Since when a claim is no longer made, and when that was last confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    since: u64,
    last: u64,
}

impl Standing {
    /// Whether it is no longer made, and stands only until its removal is due and let pass.
    pub fn is_missing(&self) -> bool {
        self.missing.is_some()
    }
}

#[derive(Debug, Default)]
struct Object {
    claims: Vec<Standing>,
    problems: Vec<Problem>,
    /// Whether it still exists as far as is known; else it stays for its claims.
    exists: bool,
}

/// What is known of a list or watch.
#[derive(Clone, Debug, Default)]
pub struct ScopeState {
    /// When it was last known to be complete.
    pub last_ok: Option<u64>,
    /// Why it fails, if the last thing heard of it was a failure.
    pub failure: Option<Failure>,
    /// Its kind is not installed.
    pub absent: bool,
}

/// One source's objects and the claims that stand.
#[derive(Debug)]
pub struct Guard {
    rules: GuardRules,
    objects: BTreeMap<ObjectKey, Object>,
    by_name: HashMap<Name, Vec<ObjectKey>>,
    scopes: BTreeMap<Scope, ScopeState>,
    failure: Option<Failure>,
    brake: Brake,
    /// Claims that are missing, so that most settling is no work.
    missing: usize,
    changed: BTreeSet<Name>,
    restored: bool,
    /// Every list has been tried since the start.
    tried: bool,
    synced: bool,
}

impl Guard {
    /// A source of which nothing is known.
    pub fn new(rules: GuardRules) -> Self {
        Self {
            brake: Brake::new(rules.brake),
            rules,
            objects: BTreeMap::new(),
            by_name: HashMap::new(),
            scopes: BTreeMap::new(),
            failure: None,
            missing: 0,
            changed: BTreeSet::new(),
            restored: false,
            tried: false,
            synced: false,
        }
    }

    /// Puts back what stood when it was saved, before any report.
    pub fn restore(&mut self, claims: impl IntoIterator<Item = (ObjectKey, Claim, u64)>) {
        self.restored = true;
        for (key, claim, first_seen_ms) in claims {
            self.stand(&key, Standing { claim, first_seen_ms, stale: None, missing: None });
        }
    }

    /// Takes a report in. [`Guard::settle`] then carries out what follows from it.
    pub fn apply(&mut self, report: Report, now: Now) {
        match report {
            Report::Listed { scope, objects } => self.listed(scope, objects, now),
            Report::Changed(key, seen) => self.see(&key, seen, now),
            Report::Gone(key) => {
                if let Some(object) = self.objects.get_mut(&key) {
                    object.exists = false;
                    object.problems.clear();
                    self.missing += object.miss(|_| true, now.ms);
                }
            }
            Report::Alive(scope) => {
                let state = self.scopes.entry(scope).or_default();
                (state.last_ok, state.failure) = (Some(now.ms), None);
            }
            Report::Resumed(scope) => {
                self.scopes.entry(scope).or_default().failure = None;
            }
            Report::Answers => self.failure = None,
            Report::Failed(Some(scope), failure) => {
                self.scopes.entry(scope).or_default().failure = Some(failure);
            }
            Report::Failed(None, failure) => self.failure = Some(failure),
            Report::NotInstalled(kind) => {
                let state = self.scopes.entry(Scope::all(kind)).or_default();
                (state.absent, state.failure) = (true, None);
            }
            Report::Synced => self.finished(now),
            Report::Call(_) | Report::Took(..) | Report::Condition(_) => {}
        }
    }

    fn listed(&mut self, scope: Scope, objects: Vec<(ObjectKey, Seen)>, now: Now) {
        let mut present: HashSet<ObjectKey> = HashSet::with_capacity(objects.len());
        for (key, seen) in objects {
            self.see(&key, seen, now);
            present.insert(key);
        }
        for (key, object) in &mut self.objects {
            if scope.covers(key) && !present.contains(key) {
                object.exists = false;
                object.problems.clear();
                self.missing += object.miss(|_| true, now.ms);
            }
        }
        self.objects.retain(|_, object| object.exists || !object.claims.is_empty());
        self.failure = None;
        // Whatever namespace it was listed in, the kind is installed.
        let all = Scope::all(scope.kind);
        if self.scopes.get(&all).is_some_and(|state| state.absent) {
            self.scopes.remove(&all);
        }
        self.scopes.insert(scope, ScopeState { last_ok: Some(now.ms), failure: None, absent: false });
        if self.tried && !self.synced {
            self.conclude(now);
        }
    }

    /// A round is over. While the source as a whole fails nothing has been tried; else every list has, and the first of them to be complete,
    /// be it later, is enough to go on.
    fn finished(&mut self, now: Now) {
        if self.failure.is_none() {
            self.tried = true;
            self.conclude(now);
        }
    }

    /// All lists have been tried: what is restored but belongs to none of them is no longer asked for by the configuration.
    fn conclude(&mut self, now: Now) {
        if !self.scopes.values().any(|scope| scope.last_ok.is_some()) {
            return;
        }
        self.synced = true;
        let scopes = &self.scopes;
        for (key, object) in &mut self.objects {
            if !scopes.keys().any(|scope| scope.covers(key)) {
                object.exists = false;
                self.missing += object.miss(|_| true, now.ms);
            }
        }
    }

    fn see(&mut self, key: &ObjectKey, seen: Seen, now: Now) {
        let object = self.objects.entry(key.clone()).or_default();
        object.exists = true;
        let (claims, mut problems, is_whole) = match seen {
            Seen::Claims(claims, problems) => (claims, problems, true),
            Seen::Partial(claims, problems) => (claims, problems, false),
            Seen::Stands(problem) => (Vec::new(), vec![problem], false),
        };
        let mut names: HashSet<Name> = HashSet::with_capacity(claims.len());
        let mut new = Vec::new();
        for mut claim in claims {
            if !names.insert(claim.name.clone()) {
                continue;
            }
            let old = object.claims.iter_mut().find(|standing| standing.claim.name == claim.name);
            let stale = unknown_targets(&claim);
            match (old, stale) {
                (Some(old), stale) => {
                    if stale.is_some() {
                        claim.targets = old.claim.targets.clone();
                    }
                    if old.claim != claim {
                        self.changed.insert(claim.name.clone());
                        old.claim = claim;
                    }
                    old.stale = stale;
                    self.missing -= usize::from(old.missing.take().is_some());
                }
                (None, Some(reason)) => problems.push(Problem::new(ProblemKind::Stale, reason)),
                (None, None) => {
                    new.push(Standing { claim, first_seen_ms: now.wall_ms, stale: None, missing: None });
                }
            }
        }
        object.problems = problems;
        if is_whole {
            self.missing += object.miss(|name| !names.contains(name), now.ms);
        } else {
            // It is there, so nothing of it is missing as far as can be told.
            self.missing -= object.claims.iter_mut().filter_map(|standing| standing.missing.take()).count();
        }
        for standing in new {
            self.stand(key, standing);
        }
    }

    fn stand(&mut self, key: &ObjectKey, standing: Standing) {
        let name = standing.claim.name.clone();
        let object = self.objects.entry(key.clone()).or_default();
        object.exists = true;
        object.claims.push(standing);
        self.by_name.entry(name.clone()).or_default().push(key.clone());
        self.changed.insert(name);
    }

    /// Carries out the removals that are due and that the brake lets pass.
    pub fn settle(&mut self, now: Now) {
        if self.missing == 0 || self.rules.add_only {
            self.brake.nothing_goes();
            return;
        }
        let due: BTreeSet<(Name, ObjectKey)> = self.due(now.ms).collect();
        // What another object still claims is no name that goes.
        let mut left: BTreeMap<&Name, usize> = BTreeMap::new();
        for (name, _) in &due {
            *left.entry(name).or_insert_with(|| self.by_name.get(name).map_or(0, Vec::len)) -= 1;
        }
        let going: BTreeSet<Name> =
            left.into_iter().filter(|(_, left)| *left == 0).map(|(name, _)| name.clone()).collect();
        let vanished = self.vanished(&due);
        let is_unsure = going.iter().any(|name| self.is_failing_for(name));
        let go = self.brake.pass(&going, &vanished, self.by_name.len(), is_unsure, now.ms);
        for (name, key) in due {
            if !going.contains(&name) || go.contains(&name) {
                self.remove(&key, &name);
            }
        }
    }

    fn due(&self, now: u64) -> impl Iterator<Item = (Name, ObjectKey)> {
        let rules = self.rules;
        let is_due = move |missing: Missing| {
            let until = if rules.polled { missing.last } else { now };
            until.saturating_sub(missing.since) >= rules.remove_after_ms
        };
        self.objects.iter().flat_map(move |(key, object)| {
            let due = object.claims.iter().filter(move |standing| standing.missing.is_some_and(is_due));
            due.map(move |standing| (standing.claim.name.clone(), key.clone()))
        })
    }

    /// The names of providers of Traefik that lose all they had: after a restart it answers before they have.
    fn vanished(&self, due: &BTreeSet<(Name, ObjectKey)>) -> BTreeSet<Name> {
        let mut had: HashMap<&str, usize> = HashMap::new();
        for (key, object) in self.objects.iter().filter(|(key, _)| key.kind.is_router()) {
            *had.entry(&key.namespace).or_default() += object.claims.len();
        }
        for (_, key) in due {
            if let Some(left) = had.get_mut(&*key.namespace) {
                *left -= usize::from(key.kind.is_router());
            }
        }
        let gone = due.iter().filter(|(_, key)| key.kind.is_router() && had.get(&*key.namespace) == Some(&0));
        gone.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a list or watch that a claim for the name came from fails just now.
    fn is_failing_for(&self, name: &Name) -> bool {
        let fails = |key: &ObjectKey| {
            self.scopes.iter().any(|(scope, state)| state.failure.is_some() && scope.covers(key))
        };
        self.failure.is_some() || self.by_name.get(name).is_some_and(|keys| keys.iter().any(fails))
    }

    fn remove(&mut self, key: &ObjectKey, name: &Name) {
        self.changed.insert(name.clone());
        if let Some(keys) = self.by_name.get_mut(name) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.by_name.remove(name);
            }
        }
        let Some(object) = self.objects.get_mut(key) else { return };
        let missing = &mut self.missing;
        object.claims.retain(|standing| {
            let stays = standing.claim.name != *name;
            *missing -= usize::from(!stays && standing.missing.is_some());
            stays
        });
        if object.claims.is_empty() && !object.exists {
            self.objects.remove(key);
        }
    }

    /// The names whose claims have changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.changed)
    }

    /// The claims that stand for a name.
    pub fn claims_for<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = (&'a ObjectKey, &'a Standing)> {
        self.by_name.get(name).into_iter().flatten().filter_map(move |key| {
            let object = self.objects.get_key_value(key)?;
            Some((object.0, object.1.claims.iter().find(|standing| standing.claim.name == *name)?))
        })
    }

    /// Every claim that stands, by object.
    pub fn standing(&self) -> impl Iterator<Item = (&ObjectKey, &Standing)> {
        self.objects.iter().flat_map(|(key, object)| object.claims.iter().map(move |claim| (key, claim)))
    }

    /// Names that stand.
    pub fn names(&self) -> usize {
        self.by_name.len()
    }

    /// Objects that have something wrong with them, with what it is.
    pub fn problems(&self) -> impl Iterator<Item = (&ObjectKey, &Problem)> {
        self.objects.iter().flat_map(|(key, object)| object.problems.iter().map(move |p| (key, p)))
    }

    /// How many objects there are of each kind and namespace.
    pub fn objects(&self) -> BTreeMap<(ObjectKind, &str), usize> {
        let mut counts = BTreeMap::new();
        for key in self.objects.iter().filter(|(_, object)| object.exists).map(|(key, _)| key) {
            *counts.entry((key.kind, &*key.namespace)).or_default() += 1;
        }
        counts
    }

    /// What the brake holds.
    pub fn brake(&self) -> &Brake {
        &self.brake
    }

    /// Lets what the brake holds go at the next settling; returns how many names.
    pub fn release(&mut self) -> usize {
        self.brake.release()
    }

    /// The lists and watches.
    pub fn scopes(&self) -> &BTreeMap<Scope, ScopeState> {
        &self.scopes
    }

    /// Why the source does not work: as a whole, or else one of its lists.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref().or_else(|| self.scopes.values().find_map(|scope| scope.failure.as_ref()))
    }

    /// When all that is installed was last known to be complete; nothing before the first time.
    pub fn last_ok(&self) -> Option<u64> {
        let installed = self.scopes.values().filter(|scope| !scope.absent);
        installed.map(|scope| scope.last_ok).min().flatten()
    }

    /// Whether the names are worth something: they were all listed once, or restored.
    pub fn is_ready(&self) -> bool {
        self.restored || self.synced
    }

    /// Whether everything was listed once since the start.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
}

impl Object {
    /// Marks claims that are no longer made; returns how many are new among them.
    fn miss(&mut self, is_missing: impl Fn(&Name) -> bool, now: u64) -> usize {
        let mut new = 0;
        for standing in self.claims.iter_mut().filter(|standing| is_missing(&standing.claim.name)) {
            match &mut standing.missing {
                Some(missing) => missing.last = now,
                None => {
                    standing.missing = Some(Missing { since: now, last: now });
                    new += 1;
                }
            }
        }
        new
    }
}

/// Why the targets of a claim are not known, if they are not.
fn unknown_targets(claim: &Claim) -> Option<Box<str>> {
    match &claim.targets {
        Targets::Unknown(reason) => Some(reason.clone()),
        Targets::Known(targets) if targets.is_empty() && claim.rrsets.is_empty() => {
            Some("it has no targets".into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
