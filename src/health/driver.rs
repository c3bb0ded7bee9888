//! The driver: carries out what the ledger decides. One thread, which waits for sockets, for the clock and for letters.
//!
//! It runs bare TCP checks itself ([`super::probe::bare`]); every other probe is a task on the runtime. It has a thread of its own, so that
//! no task of the runtime delays a probe's start or makes an answer look late.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::model::event::{EventKind, News};
use crate::model::events::Flipped;
use crate::model::lines::Lines;
use crate::model::target::{Target, Verdict};

use super::brake::BrakeState;
use super::crowded::{self, Crowded};
use super::figures::LagPeak;
use super::ledger::{Cause, Flip};
use super::mailbox::{Letter, Mailbox};
use super::probe::bare::BareProbes;
use super::probe::{Ended, Outcome, Prober, is_bare};
use super::schedule::Start;
use super::{HealthHandle, Shared, TargetSet, unix_ms};

/// Events of sockets that are taken in one go.
const EVENTS_AT_ONCE: usize = 256;
/// Probes that are started in one go: as long as that takes, ends of others wait and seem so much later.
const STARTS_AT_ONCE: usize = 32;
/// The brake is told of the time so often, and letters are looked for at least so often.
const TICK_MS: u64 = 1000;
/// The first round is over so long after the longest timeout, whatever is missing.
const FIRST_ROUND_SLACK_MS: u64 = 1000;
/// Lines about verdicts in a second.
const LINES: usize = 100;
/// A lag from which the log tells of it, once in [`LagPeak::PERIOD_MS`].
const LAG_TO_TELL_MS: u64 = 1000;

struct Driver {
    runtime: Handle,
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    prober: Arc<Prober>,
    bare: BareProbes,
    /// The task that probes each target, by number, and the tenancy that it belongs to; of bare checks none.
    tasks: Vec<Option<(u32, AbortHandle)>>,
    ended: Vec<Ended>,
    starts: Vec<(Start, Arc<Target>)>,
    flips: Vec<Flip>,
    lines: Lines,
    braking: bool,
    crowded: Crowded,
    lag_told_ms: Option<u64>,
    next_tick_ms: u64,
    first_round: watch::Sender<bool>,
    first_round_deadline_ms: Option<u64>,
}

/// Ends the driver when the last one who could look or change anything is gone.
pub(super) struct Stopper(Arc<Mailbox>);

impl Stopper {
    /// Ends it now.
    pub(super) fn stop(&self) {
        self.0.post(Letter::Stop);
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the driver. Remembered verdicts are on the board when this returns.
pub(super) fn spawn(
    runtime: &Handle,
    shared: Arc<Shared>,
    mut targets: watch::Receiver<TargetSet>,
) -> io::Result<HealthHandle> {
    let poll = Poll::new()?;
    let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), BareProbes::FOREIGN)?));
    let (first_round, first_round_seen) = watch::channel(false);
    let (stopped, stopped_seen) = watch::channel(false);
    let initial = targets.borrow_and_update().clone();
    let longest_ms = initial.iter().map(|(_, t)| u64::from(t.check.timeout_ms)).max().unwrap_or(0);
    let mut driver = Driver {
        runtime: runtime.clone(),
        shared: shared.clone(),
        mailbox: mailbox.clone(),
        prober: shared.prober.clone(),
        bare: BareProbes::new(poll.registry().try_clone()?),
        tasks: Vec::new(),
        ended: Vec::new(),
        starts: Vec::with_capacity(STARTS_AT_ONCE),
        flips: Vec::new(),
        lines: Lines::new(LINES),
        braking: false,
        crowded: Crowded::default(),
        lag_told_ms: None,
        next_tick_ms: 0,
        first_round,
        first_round_deadline_ms: Some(shared.now_ms() + longest_ms + FIRST_ROUND_SLACK_MS),
    };
    driver.set_targets(&initial);
    let forwarding = runtime.spawn(forward(targets, Stopper(mailbox.clone())));
    thread::Builder::new().name("probes".to_owned()).spawn(move || {
        driver.run(poll);
        forwarding.abort();
        // Nobody may be left to hear it.
        let _ = stopped.send(true);
    })?;
    let stop = Arc::new(Stopper(mailbox));
    Ok(HealthHandle { shared, first_round: first_round_seen, stop, stopped: stopped_seen })
}

/// Brings each change of the set to the driver, until the sender is gone.
async fn forward(mut targets: watch::Receiver<TargetSet>, stopper: Stopper) {
    while targets.changed().await.is_ok() {
        let set = targets.borrow_and_update().clone();
        stopper.0.post(Letter::Targets(set));
    }
}

impl Driver {
    fn run(&mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        loop {
            let wait = self.turn();
            if let Err(error) = poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Only a bug of ours could be the reason; the process ends then, since no verdict would change any more.
                tracing::error!(%error, "health checks have ended: their sockets cannot be waited for");
                break;
            }
            let now_us = self.shared.now_us();
            for event in &events {
                self.ended.extend(self.bare.ready(event, now_us));
            }
            self.bare.expire(now_us, &mut self.ended);
            let post = self.mailbox.take(&mut self.ended);
            if post.stop {
                break;
            }
            if let Some(set) = post.targets {
                self.set_targets(&set);
            }
        }
        for (_, task) in self.tasks.iter().flatten() {
            task.abort();
        }
    }

    /// Takes what has ended, starts what is due; returns for how long there is nothing to do.
    fn turn(&mut self) -> Duration {
        let shared = self.shared.clone();
        let mut ledger = shared.ledger();
        let now_ms = shared.now_ms();
        for end in self.ended.drain(..) {
            let Ended { id, generation, outcome, duration_us } = end;
            // The handle would keep the memory of the task.
            if let Some(task) = self.tasks.get_mut(id.0 as usize) {
                task.take_if(|(of, _)| *of == generation);
            }
            ledger.finish(now_ms, id, generation, outcome, duration_us, &mut self.flips);
        }
        if now_ms >= self.next_tick_ms {
            self.next_tick_ms = now_ms + TICK_MS;
            ledger.tick(now_ms, &mut self.flips);
        }
        while self.starts.len() < STARTS_AT_ONCE
            && let Some(start) = ledger.start_next(now_ms)
        {
            self.starts.push(start);
        }
        let due_ms = ledger.wake_at().unwrap_or(u64::MAX).min(self.next_tick_ms);
        let (awaited, in_flight) = (ledger.awaited(), ledger.in_flight());
        self.publish(ledger);
        self.tell_of_lag(now_ms, in_flight);
        self.end_first_round(now_ms, awaited);
        let mut starts = std::mem::take(&mut self.starts);
        for (start, target) in starts.drain(..) {
            self.start(start, target);
        }
        self.starts = starts;
        if !self.ended.is_empty() {
            return Duration::ZERO;
        }
        let wake_us = (due_ms * 1000).min(self.bare.next_deadline_us().unwrap_or(u64::MAX));
        Duration::from_micros(wake_us.saturating_sub(self.shared.now_us()))
    }

    fn start(&mut self, start: Start, target: Arc<Target>) {
        if is_bare(&target.check) {
            let now_us = self.shared.now_us();
            self.ended.extend(self.bare.start(start, target.address, target.check.timeout_ms, now_us));
            return;
        }
        let index = start.id.0 as usize;
        if index >= self.tasks.len() {
            self.tasks.resize_with(index + 1, || None);
        }
        let probe = probe_once(self.prober.clone(), start, target, self.mailbox.clone());
        self.tasks[index] = Some((start.generation, self.runtime.spawn(probe).abort_handle()));
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
            self.bare.abort(id);
            if let Some((_, task)) = self.tasks.get_mut(id.0 as usize).and_then(Option::take) {
                task.abort();
            }
            shared.board.forget(id);
        }
        let limit = ledger.per_address_per_second();
        let crowded = self.crowded.update(ledger.stretched());
        self.publish(ledger);
        crowded::log(&crowded, limit);
    }

    /// Publishes what was decided under the lock, and logs it without the lock.
    fn publish(&mut self, mut ledger: std::sync::MutexGuard<'_, super::Ledger>) {
        self.shared.publish(&mut ledger, &self.flips);
        let braking = matches!(ledger.brake_state(), BrakeState::Holding { .. });
        let (suspects, population) = ledger.brake_share();
        drop(ledger);
        if braking && !self.braking {
            tracing::warn!(
                suspects,
                population,
                "health brake engaged: so many targets failing together most likely means that this host is cut off; verdicts are held"
            );
            let text = format!(
                "health brake: {suspects} of {population} targets fail together, most likely since this host is cut off; their verdicts are held"
            );
            self.shared.events.publish(News::new(EventKind::BrakeHeld, text));
        } else if !braking && self.braking {
            tracing::warn!(suspects, population, "health brake released");
            let text = format!("health brake released: {suspects} of {population} targets fail now");
            self.shared.events.publish(News::new(EventKind::BrakeReleased, text));
        }
        self.braking = braking;
        let now_ms = self.shared.now_ms();
        let changes = self.flips.iter().filter(|flip| is_told(flip)).count();
        log(&self.flips, self.lines.grant(now_ms, changes));
        self.flips.clear();
        if let Some(verdicts) = self.lines.left_out(now_ms) {
            tracing::info!(verdicts, "so many more verdicts changed");
        }
    }

    /// Warns when probes start late, but in the first round, which is a burst.
    fn tell_of_lag(&mut self, now_ms: u64, in_flight: usize) {
        let lag_ms = self.starts.iter().map(|(start, _)| start.lag_ms).max().unwrap_or(0);
        let lately = self.lag_told_ms.is_some_and(|told_ms| now_ms - told_ms < LagPeak::PERIOD_MS);
        if lag_ms < LAG_TO_TELL_MS || lately || self.first_round_deadline_ms.is_some() {
            return;
        }
        self.lag_told_ms = Some(now_ms);
        tracing::warn!(
            lag_ms,
            in_flight,
            "probes start late: health.probes_in_flight is reached, or this host does not keep up"
        );
    }

    fn end_first_round(&mut self, now_ms: u64, awaited: usize) {
        let Some(deadline_ms) = self.first_round_deadline_ms else { return };
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

/// Sends an end also if the probe should panic: a target whose probe never ended would not be probed again.
struct Report {
    ended: Option<Ended>,
    mailbox: Arc<Mailbox>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.mailbox.post(Letter::Ended(ended));
        }
    }
}

async fn probe_once(prober: Arc<Prober>, start: Start, target: Arc<Target>, mailbox: Arc<Mailbox>) {
    let unfinished = Outcome::LocalError("the probe was broken off".into());
    let ended = Ended { id: start.id, generation: start.generation, outcome: unfinished, duration_us: 0 };
    let mut report = Report { ended: Some(ended), mailbox };
    let started = Instant::now();
    let outcome = prober.run(&target).await;
    if let Some(ended) = &mut report.ended {
        ended.outcome = outcome;
        ended.duration_us = started.elapsed().as_micros() as u64;
    }
}

/// Whether the log tells of it: a published change, or that a target is held down from its recovery on.
fn is_told(flip: &Flip) -> bool {
    flip.from != flip.to || matches!(flip.cause, Cause::Damped(_))
}

/// One line for each, but for no more than so many.
pub(super) fn log(flips: &[Flip], lines: usize) {
    for flip in flips.iter().filter(|flip| is_told(flip)).take(lines) {
        tracing::info!(
            target = %flip.target,
            from = %flip.from,
            to = %flip.to,
            why = flip.cause.words(),
            reason = &*reason(flip),
            failures = flip.failures,
            "verdict changed"
        );
    }
}

/// Why the verdict is what it is: what the last probe met, or what was enough for a recovery; empty if that is not known.
fn reason(flip: &Flip) -> Cow<'_, str> {
    match (&flip.cause, flip.to, flip.target.check.rise) {
        (Cause::Results, Verdict::Up, _) if flip.from == Verdict::Unknown => {
            "the first probe succeeded".into()
        }
        (Cause::Results, Verdict::Up, 0 | 1) => "a probe succeeded".into(),
        (Cause::Results, Verdict::Up, rise) => format!("{rise} probes in a row succeeded").into(),
        (cause, Verdict::Up, _) => cause.words().into(),
        _ => flip.reason.as_deref().unwrap_or_default().into(),
    }
}

/// What those who watch are told of a flip. That a target is up at first, or as it was before a restart, is no news.
pub(super) fn flipped(flip: &Flip) -> Option<Flipped> {
    let is_first = flip.from == Verdict::Unknown && flip.to == Verdict::Up;
    if flip.from == flip.to || is_first || matches!(flip.cause, Cause::Saved | Cause::Replaced) {
        return None;
    }
    let why = match reason(flip) {
        reason if reason.is_empty() => flip.cause.words().to_owned(),
        reason => reason.into_owned(),
    };
    Some(Flipped { id: flip.id, target: flip.target.clone(), from: flip.from, to: flip.to, why })
}

impl Cause {
    /// In a few words.
    fn words(&self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Saved => "saved",
            Self::BrakeEngaged => "brake engaged",
            Self::BrakeReleased => "brake released",
            Self::Replaced => "replaced",
            Self::Peers => "whether another address serves the host has changed",
            Self::Pushed => "pushed",
            Self::Damped(_) => "flips too often: held down",
            Self::DampingOver => "no longer held down",
        }
    }
}
