//! The health brake: when nearly everything seems to go down at once, most likely the checker is cut off, and not the world.
//!
//! Pure: time is passed in. The ledger tells the brake how each target stands and asks it before a target goes from up to down.
//!
//! **Population**: the targets that are published as up, and those that fell from up to down within the window. What was already
//! down long ago, or has never had a verdict, does not count: it says nothing about a change.
//! **Suspects**: of these, the ones that fell within the window, and the ones whose latest result is a failure.
//! **Window**: the longest interval and timeout of any target together, within 10 s and 5 min: the time in which each
//! target has had a result since any given moment.
//!
//! **Engaging.** At the moment a target would go from up to down: if the population is at least `min_targets` and the suspects are more than
//! `down_percent` of it, the brake engages. That target stays up, no target goes from up to down any more, and those that fell within
//! the window are up again (with `fall` 1 most of them had fallen before the share could tell). With `fall` 2 and up the share is
//! known after the first failures, so that nothing falls at all.
//! **Holding.** Targets that recover are published as up; first verdicts are published as they come.
//! **Releasing.** When the share has been at or below `down_percent` for one whole window without a break: not at once,
//! since when the checker's link comes back the share falls with the first targets that were probed again, while the others have
//! had no chance yet. What still fails goes down then. Or by hand, at once; then the brake stays off until the share has come
//! down, so that the verdicts a person has accepted are not taken back.
//!
//! **First verdicts are exempt**, at start and for new targets: the brake protects a state known to be good, and there is none. Holding them
//! would leave names at SERVFAIL, and when the checker is cut off at start, `when_all_down: all` answers as if all were up.

use std::collections::{HashMap, VecDeque};

use crate::model::target::TargetId;

/// Bounds of the window, in milliseconds.
pub const WINDOW_MS: std::ops::RangeInclusive<u64> = 10_000..=300_000;

/// When the brake acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeLimits {
    /// More than this share of the population, in percent; 100 and above is never.
    pub down_percent: u8,
    /// Not below so many targets.
    pub min_targets: usize,
}

/// How a target counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Published as down or without a verdict.
    Out,
    /// Published as up, latest result a success or none.
    Sound,
    /// Published as up, latest result a failure.
    Failing,
}

/// What the brake is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrakeState {
    /// Nothing, ready to engage.
    Armed,
    /// Holding verdicts.
    Holding {
        /// Since when, in the caller's milliseconds.
        since_ms: u64,
        /// Since when the share has been low enough without a break.
        calm_since_ms: Option<u64>,
    },
    /// Released by hand while the share was still high; armed again once it is low.
    Released,
}

/// Whether a target may go down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Fall,
    /// The brake holds it up.
    Hold,
    /// The brake engages now: it is held up, and these, which fell a moment ago, are up again.
    Engage(Vec<TargetId>),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Brake {
    limits: BrakeLimits,
    window_ms: u64,
    state: BrakeState,
    sound: usize,
    failing: usize,
    /// When each target fell that fell within the window.
    fallen: HashMap<TargetId, u64>,
    /// The same in order of time; an entry counts only while `fallen` agrees.
    fallen_order: VecDeque<(u64, TargetId)>,
    engaged_total: u64,
}

impl Brake {
    /// An armed brake over no targets.
    pub fn new(limits: BrakeLimits) -> Self {
        Self {
            limits,
            window_ms: *WINDOW_MS.start(),
            state: BrakeState::Armed,
            sound: 0,
            failing: 0,
            fallen: HashMap::new(),
            fallen_order: VecDeque::new(),
            engaged_total: 0,
        }
    }

    /// Other limits from now on; what is held stays held until it is let go as ever.
    pub fn set_limits(&mut self, limits: BrakeLimits) {
        self.limits = limits;
    }

    /// Sets the window from the longest interval plus timeout of any target, in milliseconds.
    pub fn set_window(&mut self, longest_ms: u64) {
        self.window_ms = longest_ms.clamp(*WINDOW_MS.start(), *WINDOW_MS.end());
    }

    /// The window in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// What the brake is doing.
    pub fn state(&self) -> BrakeState {
        self.state
    }

    /// Whether verdicts are held.
    pub fn is_holding(&self) -> bool {
        matches!(self.state, BrakeState::Holding { .. })
    }

    /// How often it has engaged.
    pub fn engaged_total(&self) -> u64 {
        self.engaged_total
    }

    /// Suspects and population.
    pub fn share(&self) -> (usize, usize) {
        let fallen = self.fallen.len();
        (self.failing + fallen, self.sound + self.failing + fallen)
    }

    /// Notes how a target stands now, and stood before; a target that comes or goes is [`Standing::Out`] on the other side.
    pub fn stands(&mut self, id: TargetId, before: Standing, after: Standing) {
        match before {
            Standing::Out => {}
            Standing::Sound => self.sound -= 1,
            Standing::Failing => self.failing -= 1,
        }
        match after {
            Standing::Out => {}
            Standing::Sound => self.sound += 1,
            Standing::Failing => self.failing += 1,
        }
        if after != Standing::Out {
            self.fallen.remove(&id);
        }
    }

    /// Forgets that a target fell: it is no longer probed.
    pub fn forget(&mut self, id: TargetId) {
        self.fallen.remove(&id);
    }

    /// Asks whether a target may go from up to down. The caller has counted it as [`Standing::Failing`]; on [`Decision::Fall`] it
    /// then says that it stands [`Standing::Out`] and calls [`Brake::fell`].
    pub fn may_fall(&mut self, now_ms: u64) -> Decision {
        self.expire(now_ms);
        match self.state {
            BrakeState::Holding { .. } => return Decision::Hold,
            BrakeState::Released => return Decision::Fall,
            BrakeState::Armed => {}
        }
        if !self.is_high() || self.share().1 < self.limits.min_targets {
            return Decision::Fall;
        }
        self.state = BrakeState::Holding { since_ms: now_ms, calm_since_ms: None };
        self.engaged_total += 1;
        self.fallen_order.clear();
        let mut back: Vec<TargetId> = self.fallen.drain().map(|(id, _)| id).collect();
        back.sort_unstable();
        Decision::Engage(back)
    }

    /// Notes that a target went from up to down.
    pub fn fell(&mut self, now_ms: u64, id: TargetId) {
        self.fallen.insert(id, now_ms);
        self.fallen_order.push_back((now_ms, id));
    }

    /// Lets time pass; to be called after each result and once a second. Returns true at the moment verdicts are no longer
    /// held: what wants to go down goes down then.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        self.expire(now_ms);
        let high = self.is_high();
        match &mut self.state {
            BrakeState::Armed => false,
            BrakeState::Released => {
                if !high {
                    self.state = BrakeState::Armed;
                }
                false
            }
            BrakeState::Holding { calm_since_ms, .. } => {
                if high {
                    *calm_since_ms = None;
                    return false;
                }
                let since = *calm_since_ms.get_or_insert(now_ms);
                let over = now_ms.saturating_sub(since) >= self.window_ms;
                if over {
                    self.state = BrakeState::Armed;
                }
                over
            }
        }
    }

    /// A person says that the failures are real. Returns whether verdicts were held.
    pub fn release(&mut self) -> bool {
        let held = self.is_holding();
        if held {
            self.state = BrakeState::Released;
        }
        held
    }

    fn is_high(&self) -> bool {
        let (suspects, population) = self.share();
        suspects * 100 > usize::from(self.limits.down_percent) * population
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some(&(at_ms, id)) = self.fallen_order.front() {
            if now_ms.saturating_sub(at_ms) < self.window_ms {
                break;
            }
            self.fallen_order.pop_front();
            if self.fallen.get(&id) == Some(&at_ms) {
                self.fallen.remove(&id);
            }
        }
    }
}

#[cfg(test)]
#[path = "brake_tests.rs"]
mod tests;
