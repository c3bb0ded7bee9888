//! Health: probes every target and keeps its verdict on the board.
//!
//! ```text
//!  set of targets (watch) ──▶ ledger (pure) ── start ──▶ probe/bare (TCP: on the driver's thread)
//!                              │  schedule · verdict · brake   │   probe/… (all others: a task each)
//!                              ◀──────── outcome ─────────┘
//!                              └── flips ──▶ verdict board, log
//! ```
//!
//! [`Health::spawn`] starts the driver's thread. Everything that decides lies in the [`ledger`] and below it, without clock or sockets; the
//! driver and [`probe`] are the edges.

pub mod brake;
mod crowded;
pub mod damping;
mod driver;
mod external;
pub mod figures;
pub mod history;
pub mod ledger;
mod mailbox;
pub mod persist;
pub mod probe;
pub mod schedule;
pub mod trail;
pub mod verdict;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::HealthConfig;
use crate::model::board::VerdictBoard;
use crate::model::events::Events;
use crate::model::insight::Attempt;
use crate::model::report::TransitionReport;
use crate::model::target::{Target, TargetId, Verdict};
use crate::state::history as history_file;
use crate::state::verdicts::{SavedVerdict, target_key};

use brake::{BrakeLimits, BrakeState};
use figures::Figures;
use history::{Histories, History};
use ledger::{Flip, Ledger, Remembered};
use probe::{Outcome, Prober};
use schedule::Limits;

/// What counts as lately in [`TargetReport::flips_lately`], in milliseconds.
const LATELY_MS: u64 = 3_600_000;

/// The set of targets as the zones want it; numbers are unique in it, and so are targets.
pub type TargetSet = Arc<Vec<(TargetId, Arc<Target>)>>;

/// The entry point of health checking.
#[derive(Debug)]
pub struct Health;

impl Health {
    /// Starts probing the targets in `targets`, now and after each change of it, and writes verdicts to `board`. Checks that are more than
    /// a connection are tasks on `runtime`.
    ///
    /// Verdicts in `saved` that are younger than `config.verdict_max_age_ms` and not from the future are on the board before this returns,
    /// for targets that are in the set already; for targets added later they count as long as they are young enough.
    /// Probing ends by [`HealthHandle::shutdown`], or when the last handle or the sender of `targets` is dropped.
    ///
    /// Who watches `events` is told of changed verdicts and of the brake.
    ///
    /// A number that leaves the set is forgotten on the board; it may be given to another target in any later set.
    ///
    /// # Errors
    /// No thread can be started, or the system gives nothing to wait for sockets with.
    pub fn spawn(
        runtime: &Handle,
        targets: watch::Receiver<TargetSet>,
        board: Arc<VerdictBoard>,
        config: &HealthConfig,
        saved: Vec<SavedVerdict>,
        events: Arc<Events>,
    ) -> io::Result<HealthHandle> {
        let limits = Limits {
            in_flight: in_flight_limit(config.probes_in_flight, descriptors()),
            per_address_per_second: config.probes_per_second_per_address,
        };
        let brake = brake_limits(config);
        let shared = Arc::new(Shared {
            ledger: Mutex::new(Ledger::new(limits, brake)),
            prober: Arc::new(Prober::new(config.exec_in_flight)),
            board,
            events,
            started: Instant::now(),
            saved: Mutex::new(saved.into_iter().map(|s| (s.target.clone(), s)).collect()),
            verdict_max_age_ms: config.verdict_max_age_ms,
            history: Mutex::default(),
        });
        driver::spawn(runtime, shared, targets)
    }
}

/// What the driver and the handles share.
struct Shared {
    ledger: Mutex<Ledger>,
    prober: Arc<Prober>,
    board: Arc<VerdictBoard>,
    events: Arc<Events>,
    /// Zero of the ledger's clock.
    started: Instant,
    saved: Mutex<HashMap<String, SavedVerdict>>,
    verdict_max_age_ms: u64,
    history: Mutex<History>,
}

impl Shared {
    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic under the lock would be a bug; what the ledger knows is still better than stopping all checks.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, target: &Target, now_unix_ms: u64) -> Option<Remembered> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if saved.is_empty() {
            return None;
        }
        let found = saved.remove(&target_key(target))?;
        // A pushed verdict says itself how long it holds.
        let is_pushed = external::check(target).is_some();
        let is_young = |age_ms: &u64| is_pushed || *age_ms <= self.verdict_max_age_ms;
        let age_ms = found.age_ms(now_unix_ms).filter(is_young)?;
        Some(Remembered { verdict: found.verdict(), age_ms })
    }

    /// Puts shares and flips on the board, in the order in which they were decided: the ledger must still be locked.
    fn publish(&self, locked: &mut Ledger, flips: &[Flip]) {
        for (id, percent) in locked.take_shares() {
            self.board.set_share(id, percent);
        }
        // Before the board wakes the keeper, which tells of them.
        self.events.note_flips(flips.iter().filter_map(driver::flipped));
        for flip in flips {
            self.board.set(flip.id, flip.to);
        }
        if !flips.is_empty() {
            self.history().note(flips, unix_ms());
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A view of running health checks, and the way to stop them. Cheap to clone.
#[derive(Clone)]
pub struct HealthHandle {
    shared: Arc<Shared>,
    first_round: watch::Receiver<bool>,
    stop: Arc<driver::Stopper>,
    stopped: watch::Receiver<bool>,
}

impl std::fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthHandle").finish_non_exhaustive()
    }
}

/// One target as health sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetReport {
    /// Its number on the board.
    pub id: TargetId,
    /// What is probed.
    pub target: Arc<Target>,
    /// What is published.
    pub verdict: Verdict,
    /// Whether only the brake keeps it up.
    pub held: bool,
    /// Until when it is held down for flipping too often, in milliseconds of Unix time.
    pub damped_until_unix_ms: Option<u64>,
    /// The share of its weight with which it is answered, in percent.
    pub share: u8,
    /// When its verdict changed last, in milliseconds of Unix time.
    pub changed_unix_ms: Option<u64>,
    /// How often it changed within the last hour, as far as its history goes back.
    pub flips_lately: usize,
    /// The latest result.
    pub last: Option<ResultReport>,
    /// Successes in a row.
    pub successes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Milliseconds until the next probe; 0 when it is due.
    pub next_in_ms: u64,
    /// Milliseconds from one probe to the next: the check's interval, or more where its address has too many checks.
    pub interval_ms: u32,
    /// When the certificate that it showed last expires, in Unix seconds.
    pub certificate_expires_s: Option<i64>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultReport {
    /// Milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// How long the probe took, in microseconds.
    pub duration_us: u64,
    /// What came of it.
    pub outcome: Outcome,
}

impl HealthHandle {
    /// Waits until every target of the initial set has a remembered verdict or a first result; at most the longest timeout of
    /// that set and one second. Returns at once when that has been, and when health has stopped.
    pub async fn first_round_done(&self) {
        let mut done = self.first_round.clone();
        // An error means that the driver is gone: nothing more will come.
        let _ = done.wait_for(|done| *done).await;
    }

    /// Every target, lowest number first.
    pub fn report(&self) -> Vec<TargetReport> {
        let now_unix_ms = unix_ms();
        let ledger = self.shared.ledger();
        let now_ms = self.shared.now_ms();
        let result = |last: &ledger::LastResult| ResultReport {
            at_unix_ms: now_unix_ms.saturating_sub(now_ms.saturating_sub(last.at_ms)),
            duration_us: last.duration_us,
            outcome: last.outcome.clone(),
        };
        let report = |(id, entry): (TargetId, &ledger::Entry)| TargetReport {
            id,
            target: entry.target.clone(),
            // Told below.
            changed_unix_ms: None,
            flips_lately: 0,
            verdict: entry.published,
            held: entry.is_held(),
            damped_until_unix_ms: entry
                .damper
                .held_until_ms()
                .map(|at_ms| (at_ms + now_unix_ms).saturating_sub(now_ms)),
            share: entry.share(now_ms),
            last: entry.last.as_ref().map(result),
            successes: entry.hysteresis.successes(),
            failures: entry.hysteresis.failures(),
            next_in_ms: ledger.next_in_ms(now_ms, id).unwrap_or(0),
            interval_ms: ledger.interval_ms(id).unwrap_or(entry.target.check.interval_ms),
            certificate_expires_s: self.shared.prober.certificates().of(&entry.target),
        };
        let mut reports: Vec<TargetReport> = Vec::new();
        let mut keys: Vec<Arc<str>> = Vec::new();
        for (id, entry) in ledger.entries() {
            reports.push(report((id, entry)));
            keys.push(entry.key.clone());
        }
        drop(ledger);
        let history = self.shared.history();
        let since_ms = now_unix_ms.saturating_sub(LATELY_MS);
        for (report, key) in reports.iter_mut().zip(keys) {
            let Some(transitions) = history.of(&key) else { continue };
            report.changed_unix_ms = transitions.back().map(|last| last.at_ms);
            report.flips_lately = transitions.iter().rev().take_while(|t| t.at_ms >= since_ms).count();
        }
        reports
    }

    /// What to save for the next start: the published verdict of each target that has one, with the time of the last result.
    pub fn saved_verdicts(&self) -> Vec<SavedVerdict> {
        let zero_unix_ms = unix_ms() as i64 - self.shared.now_ms() as i64;
        let known = |(_, entry): (TargetId, &ledger::Entry)| {
            let at_unix_ms = u64::try_from(zero_unix_ms + entry.confirmed_at_ms?).ok()?;
            let up = match entry.published {
                Verdict::Up => true,
                Verdict::Down => false,
                Verdict::Unknown => return None,
            };
            Some((entry.key.clone(), up, at_unix_ms))
        };
        // Their text is copied without the lock.
        let known: Vec<_> = self.shared.ledger().entries().filter_map(known).collect();
        let save = |(key, up, at_unix_ms): (Arc<str>, bool, u64)| SavedVerdict {
            target: key.to_string(),
            up,
            at_unix_ms,
        };
        known.into_iter().map(save).collect()
    }

    /// Adds the histories that an earlier run saved.
    pub fn restore_history(&self, saved: history_file::Saved) {
        self.shared.history().restore(saved);
    }

    /// A target with its last transitions, oldest first; `None` where there is none with this number.
    pub fn history(&self, id: TargetId) -> Option<(Arc<Target>, Vec<TransitionReport>)> {
        let (target, key) = {
            let ledger = self.shared.ledger();
            let entry = ledger.entry(id)?;
            (entry.target.clone(), entry.key.clone())
        };
        let history = self.shared.history();
        let transitions = history.of(&key).map(|of| of.iter().cloned().collect());
        Some((target, transitions.unwrap_or_default()))
    }

    /// The last probes of some targets, oldest first; nothing for a number without a target.
    pub fn attempts(&self, ids: &[TargetId]) -> Vec<Vec<Attempt>> {
        let ledger = self.shared.ledger();
        ids.iter()
            .map(|id| ledger.entry(*id).map(|entry| entry.trail.attempts().collect()).unwrap_or_default())
            .collect()
    }

    /// The histories to be saved, if there is anything new in them.
    fn changed_history(&self) -> Option<Histories> {
        let probed: HashSet<Arc<str>> = {
            let ledger = self.shared.ledger();
            ledger.entries().map(|(_, entry)| entry.key.clone()).collect()
        };
        let mut history = self.shared.history();
        history.forget(|key| probed.contains(key), unix_ms());
        history.take_changed()
    }

    /// Counts and distributions.
    pub fn figures(&self) -> Figures {
        self.shared.ledger().figures()
    }

    /// When the first of all certificates that targets show expires, in Unix seconds; `None` where none shows any.
    pub fn earliest_certificate_expiry_s(&self) -> Option<i64> {
        self.shared.prober.certificates().earliest()
    }

    /// What the brake is doing; times are milliseconds since health was started.
    pub fn brake_state(&self) -> BrakeState {
        self.shared.ledger().brake_state()
    }

    /// Releases the brake by hand: held verdicts are published at once. Returns whether it held any.
    pub fn release_brake(&self) -> bool {
        let mut flips = Vec::new();
        let mut ledger = self.shared.ledger();
        let held = ledger.release_brake(self.shared.now_ms(), &mut flips);
        self.shared.publish(&mut ledger, &flips);
        drop(ledger);
        if held {
            tracing::warn!("health brake released by hand");
        }
        driver::log(&flips, usize::MAX);
        held
    }

    /// Whether probes still run. If not, verdicts stay as they are whatever happens to the targets.
    pub fn is_running(&self) -> bool {
        // An error means that the driver went without a word.
        self.stopped.has_changed().is_ok() && !*self.stopped.borrow()
    }

    /// Publishes a verdict that was pushed for the external checks of an id, with a few words if there are any; an unknown one takes back
    /// what was pushed before. Returns how many targets it is for.
    pub fn push_external(&self, id: &str, verdict: Verdict, why: Option<&str>) -> usize {
        let mut flips = Vec::new();
        let mut ledger = self.shared.ledger();
        let targets = ledger.push(self.shared.now_ms(), id, verdict, why, &mut flips);
        self.shared.publish(&mut ledger, &flips);
        drop(ledger);
        driver::log(&flips, usize::MAX);
        targets
    }

    /// Takes over what of a configuration can change while probes run: the brake, and `probes_in_flight`.
    pub fn reconfigure(&self, config: &HealthConfig) {
        let in_flight = in_flight_limit(config.probes_in_flight, descriptors());
        self.shared.ledger().set_limits(in_flight, brake_limits(config));
    }

    /// Stops probing, aborts the probes in flight and waits for the driver to end.
    pub async fn shutdown(&self) {
        self.stop.stop();
        let mut stopped = self.stopped.clone();
        // An error means that the driver is gone, which is what we wait for.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

fn brake_limits(config: &HealthConfig) -> BrakeLimits {
    BrakeLimits { down_percent: config.brake_down_percent, min_targets: config.brake_min_targets }
}

/// How many probes may run at once, each of which takes a descriptor: half of what the process may have is for TCP clients, zone files and
/// whatever else.
fn in_flight_limit(configured: usize, descriptors: Option<u64>) -> usize {
    let room = descriptors.map_or(usize::MAX, |all| usize::try_from(all / 2).unwrap_or(usize::MAX).max(1));
    if configured > room {
        tracing::warn!(
            configured,
            room,
            "health.probes_in_flight is more than half of the open files that this process may have: the half counts (ulimit -n, LimitNOFILE=)"
        );
    }
    configured.min(room)
}

/// How many descriptors this process may have, if that is limited.
fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Milliseconds of Unix time; 0 for a clock before 1970.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests;
