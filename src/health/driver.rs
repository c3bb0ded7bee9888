//! The driver: carries out what the ledger decides. One task; each probe is a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::model::target::{Target, TargetId, Verdict};

use super::brake::BrakeState;
use super::ledger::{Cause, Flip};
use super::probe::{Outcome, Prober};
use super::schedule::Start;
use super::{HealthHandle, Shared, TargetSet, unix_ms};

/// Ends of probes that are taken in one go.
const RESULTS_AT_ONCE: usize = 256;
/// The brake is told of the time so often.
const TICK_MS: u64 = 1000;
/// The first round is over so long after the longest timeout, whatever is missing.
const FIRST_ROUND_SLACK_MS: u64 = 1000;

/// The end of a probe.
struct Done {
    id: TargetId,
    generation: u32,
    outcome: Outcome,
    duration_us: u64,
}

struct Driver {
    runtime: Handle,
    shared: Arc<Shared>,
    prober: Arc<Prober>,
    /// The probe that runs for each target, by number.
    running: Vec<Option<JoinHandle<()>>>,
    results: mpsc::UnboundedSender<Done>,
    flips: Vec<Flip>,
    braking: bool,
    first_round: watch::Sender<bool>,
    first_round_deadline_ms: Option<u64>,
}

/// Starts the driver. Remembered verdicts are on the board when this returns.
pub(super) fn spawn(
    runtime: &Handle,
    shared: Arc<Shared>,
    mut targets: watch::Receiver<TargetSet>,
) -> HealthHandle {
    // Not bounded by type, but by the limit of probes in flight: each running probe sends once.
    let (results, ended) = mpsc::unbounded_channel();
    let (first_round, first_round_seen) = watch::channel(false);
    let (stop, stop_seen) = watch::channel(false);
    let (stopped, stopped_seen) = watch::channel(false);
    let initial = targets.borrow_and_update().clone();
    let longest_ms = initial.iter().map(|(_, t)| u64::from(t.check.timeout_ms)).max().unwrap_or(0);
    let mut driver = Driver {
        runtime: runtime.clone(),
        shared: shared.clone(),
        prober: Arc::default(),
        running: Vec::new(),
        results,
        flips: Vec::new(),
        braking: false,
        first_round,
        first_round_deadline_ms: Some(shared.now_ms() + longest_ms + FIRST_ROUND_SLACK_MS),
    };
    driver.set_targets(&initial);
    runtime.spawn(async move {
        driver.run(targets, ended, stop_seen).await;
        let _ = stopped.send(true);
    });
    HealthHandle { shared, first_round: first_round_seen, stop: Arc::new(stop), stopped: stopped_seen }
}

impl Driver {
    async fn run(
        &mut self,
        mut targets: watch::Receiver<TargetSet>,
        mut ended: mpsc::UnboundedReceiver<Done>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut results = Vec::with_capacity(RESULTS_AT_ONCE);
        let mut next_tick_ms = 0;
        let sleep = sleep_until(self.shared.started);
        tokio::pin!(sleep);
        loop {
            let wake_ms = self.start_due().unwrap_or(u64::MAX).min(next_tick_ms);
            sleep.as_mut().reset(self.shared.started + Duration::from_millis(wake_ms));
            tokio::select! {
                // Dropped senders count as a wish to stop: nobody is left who could look or change anything.
                _ = stop.changed() => break,
                changed = targets.changed() => match changed {
                    Ok(()) => {
                        let set = targets.borrow_and_update().clone();
                        self.set_targets(&set);
                    }
                    Err(_) => break,
                },
                _ = ended.recv_many(&mut results, RESULTS_AT_ONCE) => self.take(&mut results),
                () = &mut sleep => {}
            }
            let now_ms = self.shared.now_ms();
            if now_ms >= next_tick_ms {
                next_tick_ms = now_ms + TICK_MS;
                self.tick(now_ms);
            }
            self.end_first_round(now_ms);
        }
        for probe in self.running.iter().flatten() {
            probe.abort();
        }
    }

    fn set_targets(&mut self, set: &TargetSet) {
        let now_unix_ms = unix_ms();
        let shared = self.shared.clone();
        let mut ledger = shared.ledger();
        let stopped = ledger.set_targets(
            shared.now_ms(),
            set,
            |target| shared.remembered(target, now_unix_ms),
            &mut self.flips,
        );
        for id in stopped {
            if let Some(probe) = self.running.get_mut(id.0 as usize).and_then(Option::take) {
                probe.abort();
            }
            shared.board.forget(id);
        }
        self.publish(ledger);
    }

    /// Starts what is due; returns when to look again, in milliseconds of the ledger's clock.
    fn start_due(&mut self) -> Option<u64> {
        let shared = self.shared.clone();
        let mut ledger = shared.ledger();
        let now_ms = shared.now_ms();
        while let Some((start, target)) = ledger.start_next(now_ms) {
            let index = start.id.0 as usize;
            if index >= self.running.len() {
                self.running.resize_with(index + 1, || None);
            }
            let probe = probe_once(self.prober.clone(), start, target, self.results.clone());
            self.running[index] = Some(self.runtime.spawn(probe));
        }
        ledger.wake_at()
    }

    fn take(&mut self, results: &mut Vec<Done>) {
        let shared = self.shared.clone();
        let mut ledger = shared.ledger();
        let now_ms = shared.now_ms();
        for done in results.drain(..) {
            ledger.finish(now_ms, done.id, done.generation, done.outcome, done.duration_us, &mut self.flips);
        }
        self.publish(ledger);
    }

    fn tick(&mut self, now_ms: u64) {
        let shared = self.shared.clone();
        let mut ledger = shared.ledger();
        ledger.tick(now_ms, &mut self.flips);
        self.publish(ledger);
    }

    /// Publishes what was decided under the lock, and logs it without the lock.
    fn publish(&mut self, ledger: std::sync::MutexGuard<'_, super::Ledger>) {
        self.shared.publish(&ledger, &self.flips);
        let braking = matches!(ledger.brake_state(), BrakeState::Holding { .. });
        let (suspects, population) = ledger.brake_share();
        drop(ledger);
        if braking && !self.braking {
            tracing::warn!(
                suspects,
                population,
                "health brake engaged: so many targets failing together most likely means that this host is cut off; verdicts are held"
            );
        } else if !braking && self.braking {
            tracing::warn!(suspects, population, "health brake released");
        }
        self.braking = braking;
        log(&self.flips);
        self.flips.clear();
    }

    fn end_first_round(&mut self, now_ms: u64) {
        let Some(deadline_ms) = self.first_round_deadline_ms else { return };
        let awaited = self.shared.ledger().awaited();
        if awaited > 0 && now_ms < deadline_ms {
            return;
        }
        if awaited > 0 {
            tracing::warn!(
                targets = awaited,
                "the first round of health checks ended without a result for some targets"
            );
        }
        self.first_round_deadline_ms = None;
        let _ = self.first_round.send(true);
    }
}

/// Sends a result also if the probe should panic: a target whose probe never ended would not be probed again.
struct Report {
    done: Option<Done>,
    results: mpsc::UnboundedSender<Done>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // The driver has gone when nobody receives: shutdown.
            let _ = self.results.send(done);
        }
    }
}

async fn probe_once(
    prober: Arc<Prober>,
    start: Start,
    target: Arc<Target>,
    results: mpsc::UnboundedSender<Done>,
) {
    let unfinished = Outcome::LocalError("the probe was broken off".into());
    let done = Done { id: start.id, generation: start.generation, outcome: unfinished, duration_us: 0 };
    let mut report = Report { done: Some(done), results };
    let started = Instant::now();
    let limit = Duration::from_millis(target.check.timeout_ms.into());
    let outcome = match timeout(limit, prober.run(&target)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure("timed out".into()),
    };
    if let Some(done) = &mut report.done {
        done.outcome = outcome;
        done.duration_us = started.elapsed().as_micros() as u64;
    }
}

/// One line for each published change.
pub(super) fn log(flips: &[Flip]) {
    for flip in flips.iter().filter(|flip| flip.from != flip.to) {
        let why = match flip.cause {
            Cause::Results => "results",
            Cause::Saved => "saved",
            Cause::BrakeEngaged => "brake engaged",
            Cause::BrakeReleased => "brake released",
            Cause::Replaced => "replaced",
        };
        let reason = flip.reason.as_deref().filter(|_| flip.to == Verdict::Down).unwrap_or("");
        tracing::info!(
            target = %flip.target,
            from = %flip.from,
            to = %flip.to,
            why,
            reason,
            failures = flip.failures,
            "verdict changed"
        );
    }
}
