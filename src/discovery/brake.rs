//! The delete brake: too many names do not go at once, unless somebody says so or it stays that way. Pure.

use std::collections::{BTreeSet, VecDeque};

use crate::config::RemoveBrake;
use crate::model::name::Name;

/// Removals count together for so long.
const WINDOW_MS: u64 = 60_000;

/// Which removals of one source are held.
#[derive(Debug)]
pub struct Brake {
    limits: RemoveBrake,
    /// When names went, and how many.
    gone: VecDeque<(u64, usize)>,
    held: Option<Held>,
    /// What a person has let go.
    released: BTreeSet<Name>,
}

/// Removals that are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The names, which are published on.
    pub names: BTreeSet<Name>,
    /// Since when they have been just these, by the clock of the core.
    pub since: u64,
    /// Why, for people.
    pub why: &'static str,
}

impl Brake {
    /// A brake that holds nothing.
    pub fn new(limits: RemoveBrake) -> Self {
        Self { limits, gone: VecDeque::new(), held: None, released: BTreeSet::new() }
    }

    /// What is held.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Its limits.
    pub fn limits(&self) -> RemoveBrake {
        self.limits
    }

    /// Lets go what is held; returns how many names.
    pub fn release(&mut self) -> usize {
        let held = self.held.take().map(|held| held.names).unwrap_or_default();
        let count = held.len();
        self.released.extend(held);
        count
    }

    /// No name is about to go.
    pub fn nothing_goes(&mut self) {
        self.held = None;
        self.released.clear();
    }

    /// Which of the names that are `going` may go now, of a source with `all` names. `vanished` are those of parts that are gone as a whole.
    /// `is_unsure`: the source fails just now for one of them, so that time releases nothing.
    pub fn pass(
        &mut self,
        going: &BTreeSet<Name>,
        vanished: &BTreeSet<Name>,
        all: usize,
        is_unsure: bool,
        now: u64,
    ) -> BTreeSet<Name> {
        self.released.retain(|name| going.contains(name));
        while self.gone.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW_MS) {
            self.gone.pop_front();
        }
        let rest: BTreeSet<Name> = going.difference(&self.released).cloned().collect();
        let (hold, why) = self.hold(&rest, vanished, all, going.len() == all);
        let mut go: BTreeSet<Name> = rest.difference(&hold).cloned().collect();
        if !go.is_empty() {
            // What a person or time releases is not counted: it was judged.
            self.gone.push_back((now, go.len()));
        }
        go.append(&mut self.released);
        let since = self.held.as_ref().filter(|held| held.names == hold).map_or(now, |held| held.since);
        let is_over = now.saturating_sub(since) >= self.limits.release_after_ms && !is_unsure;
        if hold.is_empty() || is_over {
            self.held = None;
            go.extend(hold);
        } else {
            self.held = Some(Held { names: hold, since, why });
        }
        go
    }

    /// Which of `rest` are held, and why. What was held stays held.
    fn hold(
        &self,
        rest: &BTreeSet<Name>,
        vanished: &BTreeSet<Name>,
        all: usize,
        is_everything: bool,
    ) -> (BTreeSet<Name>, &'static str) {
        let before: usize = self.gone.iter().map(|(_, count)| count).sum();
        let together = before + rest.len();
        let share = together as u64 * 100 > (all + before) as u64 * u64::from(self.limits.remove_percent);
        if is_everything {
            return (rest.clone(), "the source has lost all of its names");
        }
        if share && together >= self.limits.min_names {
            return (rest.clone(), "too many names would go within a minute");
        }
        let held = self.held.as_ref();
        let stays =
            |name: &&Name| vanished.contains(*name) || held.is_some_and(|held| held.names.contains(*name));
        let why = held.map_or("a provider has lost all of its names", |held| held.why);
        (rest.iter().filter(stays).cloned().collect(), why)
    }
}
