//! All that health knows and decides, without sockets and without a clock: which targets there are, when they are probed next, what their
//! results say, and what is published of it.
//!
//! The driver feeds it (targets, ends of probes, time in milliseconds on a clock that never goes back) and carries out what it
//! returns: probes to start and [`Flip`]s to publish. A test does the same with a virtual clock.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::board::FULL_SHARE;
use crate::model::probe_rate::{AddressDemand, Scope};
use crate::model::target::{Check, Target, TargetId, Verdict};

use crate::state::verdicts::target_key;

use super::brake::{Brake, BrakeLimits, BrakeState, Decision, Standing};
use super::damping::Damper;
use super::external::{self, External};
use super::figures::{Figures, OutcomeLabel};
use super::probe::{Outcome, ProbeKind, Reason};
use super::schedule::{Limits, Planned, Schedule, Start};
use super::trail::Trail;
use super::verdict::{Evidence, Hysteresis, Thresholds, share_after};
use witness::{Peers, Unrouted, Witnesses};

/// Why a published verdict changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The target's own results.
    Results,
    /// A verdict remembered from an earlier run.
    Saved,
    /// The brake took back a fall of a moment ago.
    BrakeEngaged,
    /// The brake let go, and the target still fails.
    BrakeReleased,
    /// The number was given to another target.
    Replaced,
    /// Another address serves the host now, or none does any more.
    Peers,
    /// It was pushed over the API, or the time of what was pushed is over.
    Pushed,
    /// It changed its mind too often, and is held down for so many milliseconds from now.
    Damped(u64),
    /// It is no longer held down.
    DampingOver,
}

/// A change of a published verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Which target.
    pub id: TargetId,
    /// What it is.
    pub target: Arc<Target>,
    /// See [`Entry::key`].
    pub key: Arc<str>,
    /// Published before.
    pub from: Verdict,
    /// Published from now on.
    pub to: Verdict,
    /// Why.
    pub cause: Cause,
    /// The latest result's reason, if it was not a success.
    pub reason: Option<Reason>,
    /// Failures in a row.
    pub failures: u32,
}

/// A verdict remembered from an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Up or down.
    pub verdict: Verdict,
    /// How long ago a result last confirmed it, in milliseconds.
    pub age_ms: u64,
}

/// The latest result of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// When it came, in the ledger's milliseconds.
    pub at_ms: u64,
    /// How long the probe took, in microseconds.
    pub duration_us: u64,
    /// What it was; never [`Outcome::HostUnreachable`].
    pub outcome: Outcome,
}

/// What is known of one target.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The target.
    pub target: Arc<Target>,
    /// What its verdict and its history are saved under.
    pub key: Arc<str>,
    /// Rise and fall, whatever the brake does.
    pub hysteresis: Hysteresis,
    /// What stands on the board.
    pub published: Verdict,
    /// The latest result.
    pub last: Option<LastResult>,
    /// Its last probes, for people to look at.
    pub trail: Trail,
    /// When a result last said something about the target; negative for one of an earlier run.
    pub confirmed_at_ms: Option<i64>,
    /// Whether it changes its mind too often.
    pub damper: Damper,
    /// When it recovered, while its share of its weight still grows.
    pub recovered_at_ms: Option<u64>,
    /// Whether the first round still waits for it.
    awaited: bool,
    /// Whether it fails since it has no route for its host.
    unrouted: Unrouted,
}

impl Entry {
    fn new(target: Arc<Target>) -> Self {
        Self {
            key: target_key(&target).into(),
            target,
            hysteresis: Hysteresis::new(Verdict::Unknown),
            published: Verdict::Unknown,
            last: None,
            trail: Trail::default(),
            confirmed_at_ms: None,
            damper: Damper::default(),
            recovered_at_ms: None,
            awaited: true,
            unrouted: Unrouted::default(),
        }
    }

    /// Whether it is published as up only because the brake holds it.
    pub fn is_held(&self) -> bool {
        self.published == Verdict::Up && self.wanted() == Verdict::Down
    }

    /// What should be published, but for the brake.
    fn wanted(&self) -> Verdict {
        match self.damper.held_until_ms() {
            Some(_) => Verdict::Down,
            None if self.hysteresis.verdict() == Verdict::Down && self.unrouted.says_nothing() => {
                Verdict::Unknown
            }
            None => self.hysteresis.verdict(),
        }
    }

    /// The share of its weight with which it is to be answered, in percent.
    pub fn share(&self, now_ms: u64) -> u8 {
        match (self.recovered_at_ms, self.target.check.rules.slow_start_ms) {
            (Some(at_ms), Some(slow_start_ms)) => share_after(now_ms.saturating_sub(at_ms), slow_start_ms),
            _ => FULL_SHARE,
        }
    }

    fn standing(&self) -> Standing {
        match self.published {
            // Who pushes a verdict means it, whether this host is cut off or not.
            _ if external::check(&self.target).is_some() => Standing::Out,
            Verdict::Up if self.hysteresis.failures() > 0 || self.is_held() => Standing::Failing,
            Verdict::Up => Standing::Sound,
            _ => Standing::Out,
        }
    }

    fn thresholds(&self) -> Thresholds {
        let check = &self.target.check;
        let first = if check.rules.patient { check.fall } else { 1 };
        Thresholds { rise: check.rise, fall: check.fall, first }
    }

    fn flip(&mut self, id: TargetId, to: Verdict, cause: Cause) -> Flip {
        let from = std::mem::replace(&mut self.published, to);
        let reason = self.last.as_ref().and_then(|last| match &last.outcome {
            Outcome::Success | Outcome::Warning(_) => None,
            Outcome::Failure(reason) | Outcome::Unrouted(reason) | Outcome::LocalError(reason) => {
                Some(reason.clone())
            }
            Outcome::HostUnreachable => Some("no route to host".into()),
        });
        Flip {
            id,
            target: self.target.clone(),
            key: self.key.clone(),
            from,
            to,
            cause,
            reason,
            failures: self.hysteresis.failures(),
        }
    }
}

/// The failure that a success amounts to which took too long.
fn too_slow(check: &Check, duration_us: u64) -> Option<Outcome> {
    let limit_ms = check.rules.slower_than_ms?;
    let took_ms = duration_us / 1000;
    (duration_us > u64::from(limit_ms) * 1000)
        .then(|| Outcome::Failure(format!("answered after {took_ms} ms, slower than {limit_ms} ms").into()))
}

/// See the module's documentation.
pub struct Ledger {
    entries: Vec<Option<Entry>>,
    schedule: Schedule,
    brake: Brake,
    witnesses: Witnesses,
    peers: Peers,
    external: External,
    figures: Figures,
    awaited: usize,
    /// Targets that are held down or start slowly: time alone changes them.
    timed: BTreeSet<TargetId>,
    /// Shares that have changed.
    shares: Vec<(TargetId, u8)>,
}

impl Ledger {
    /// A ledger without targets.
    pub fn new(limits: Limits, brake: BrakeLimits) -> Self {
        Self {
            entries: Vec::new(),
            schedule: Schedule::new(limits),
            brake: Brake::new(brake),
            witnesses: Witnesses::default(),
            peers: Peers::default(),
            external: External::default(),
            figures: Figures { in_flight_limit: limits.in_flight, ..Figures::default() },
            awaited: 0,
            timed: BTreeSet::new(),
            shares: Vec::new(),
        }
    }

    /// Replaces the set of targets: kept ones keep everything, new ones start within a second, the others stop. `remembered` gives
    /// verdicts from an earlier run, which count at once. Returns which numbers stopped, of which the caller aborts what runs.
    pub fn set_targets(
        &mut self,
        now_ms: u64,
        targets: &[(TargetId, Arc<Target>)],
        mut remembered: impl FnMut(&Target) -> Option<Remembered>,
        flips: &mut Vec<Flip>,
    ) -> Vec<TargetId> {
        let mut keep = vec![false; self.entries.len()];
        let mut fresh = Vec::new();
        for (id, target) in targets {
            let index = id.0 as usize;
            match self.entry(*id) {
                Some(entry) if entry.target == *target => keep[index] = true,
                _ => fresh.push((*id, target)),
            }
        }
        let stopped: Vec<TargetId> = (0..keep.len())
            .filter(|&index| !keep[index] && self.entries[index].is_some())
            .map(|index| TargetId(index as u32))
            .collect();
        for &id in &stopped {
            self.remove(id);
        }
        let mut planned = Vec::with_capacity(fresh.len());
        for (id, target) in fresh {
            let mut entry = Entry::new(target.clone());
            if let Some(Remembered { verdict, age_ms }) = remembered(target) {
                entry.hysteresis = Hysteresis::new(verdict);
                entry.confirmed_at_ms = Some(now_ms as i64 - age_ms as i64);
                entry.awaited = verdict == Verdict::Unknown;
            }
            if external::check(target).is_some() {
                self.insert_external(now_ms, id, entry, flips);
            } else {
                planned.extend(self.insert(id, entry, flips));
            }
        }
        self.schedule.add(now_ms, &planned);
        self.figures.longest_interval_ms = self.longest(targets, |_| 0);
        self.brake.set_window(self.longest(targets, |target| target.check.timeout_ms));
        stopped
    }

    /// The longest time in milliseconds that any target which is probed takes from one probe to the next, with something added for each.
    fn longest(&self, targets: &[(TargetId, Arc<Target>)], also: impl Fn(&Target) -> u32) -> u64 {
        let each = targets.iter().filter_map(|(id, target)| {
            let interval_ms = self.schedule.interval_ms(*id)?;
            Some(u64::from(interval_ms) + u64::from(also(target)))
        });
        each.max().unwrap_or(0)
    }

    /// Returns what there is to schedule.
    fn insert(&mut self, id: TargetId, mut entry: Entry, flips: &mut Vec<Flip>) -> Option<Planned> {
        let index = id.0 as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        self.awaited += usize::from(entry.awaited);
        // Also without a remembered verdict: the number may have been another target's, whose verdict must not linger.
        let cause = if entry.awaited { Cause::Replaced } else { Cause::Saved };
        flips.push(entry.flip(id, entry.hysteresis.verdict(), cause));
        self.brake.stands(id, Standing::Out, entry.standing());
        self.figures.targets[entry.published as usize] += 1;
        let check = &entry.target.check;
        let (address, interval_ms) = (entry.target.address.ip(), check.interval_ms);
        let planned = Scope::of(check).map(|scope| Planned { id, address, scope, interval_ms });
        self.entries[index] = Some(entry);
        planned
    }

    fn remove(&mut self, id: TargetId) {
        let Some(entry) = self.entries.get_mut(id.0 as usize).and_then(Option::take) else { return };
        if let Some(check) = external::check(&entry.target) {
            self.external.remove(id, check);
        }
        self.peers.remove(id, &entry.target);
        self.brake.stands(id, entry.standing(), Standing::Out);
        self.brake.forget(id);
        self.figures.targets[entry.published as usize] -= 1;
        self.awaited -= usize::from(entry.awaited);
        self.timed.remove(&id);
        self.schedule.remove(id);
    }

    /// The next probe to start now.
    pub fn start_next(&mut self, now_ms: u64) -> Option<(Start, Arc<Target>)> {
        let start = self.schedule.start_next(now_ms)?;
        self.figures.lag.observe(start.lag_ms as f64 / 1000.0);
        self.figures.lag_peak.observe(start.lag_ms);
        // The schedule holds exactly the targets that have an entry.
        self.entry(start.id).map(|entry| (start, entry.target.clone()))
    }

    /// When to ask for a probe again.
    pub fn wake_at(&self) -> Option<u64> {
        self.schedule.wake_at()
    }

    /// Takes the end of a probe; of one that is no longer wanted it takes nothing.
    pub fn finish(
        &mut self,
        now_ms: u64,
        id: TargetId,
        generation: u32,
        outcome: Outcome,
        duration_us: u64,
        flips: &mut Vec<Flip>,
    ) {
        if !self.schedule.finish(now_ms, id, generation) {
            return;
        }
        let outcome = self.settle(now_ms, id, outcome);
        let Some(entry) = self.entries.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        // Too slow or not, it has answered.
        let has_answered = matches!(outcome, Outcome::Success | Outcome::Warning(_));
        if has_answered {
            self.witnesses.answered(entry.target.address.ip(), now_ms);
        }
        let outcome = too_slow(&entry.target.check, duration_us).filter(|_| has_answered).unwrap_or(outcome);
        if let Some(kind) = ProbeKind::of(&entry.target) {
            self.figures.probes[kind as usize][OutcomeLabel::of(&outcome) as usize] += 1;
            self.figures.duration[kind as usize].observe(duration_us as f64 / 1e6);
        }
        self.awaited -= usize::from(std::mem::take(&mut entry.awaited));
        let evidence = match &outcome {
            Outcome::Success | Outcome::Warning(_) => Evidence::Good,
            Outcome::Failure(_) | Outcome::Unrouted(_) => Evidence::Bad,
            Outcome::HostUnreachable | Outcome::LocalError(_) => Evidence::None,
        };
        if evidence != Evidence::None {
            entry.confirmed_at_ms = Some(now_ms as i64);
        }
        entry.trail.note(evidence, duration_us);
        let before = entry.standing();
        entry.unrouted.note(&outcome, &entry.target.check);
        entry.last = Some(LastResult { at_ms: now_ms, duration_us, outcome });
        let was_known = entry.hysteresis.verdict() != Verdict::Unknown;
        let has_flipped = entry.hysteresis.record(evidence, entry.thresholds()).is_some();
        let damping = entry.target.check.rules.damping.filter(|_| was_known && has_flipped);
        let held_ms = damping.and_then(|rule| entry.damper.flipped(now_ms, rule));
        let after = entry.standing();
        self.brake.stands(id, before, after);
        let others = self.note_peers(id);
        if let Some(held_ms) = held_ms {
            self.figures.dampings += 1;
            self.timed.insert(id);
            self.publish(now_ms, id, Cause::Damped(held_ms), flips);
        } else {
            self.publish(now_ms, id, Cause::Results, flips);
        }
        for other in others {
            self.publish(now_ms, other, Cause::Peers, flips);
        }
        self.let_brake_go_in_time(now_ms, flips);
    }

    /// Brings what is published in line with what is wanted, as far as the brake lets it.
    fn publish(&mut self, now_ms: u64, id: TargetId, cause: Cause, flips: &mut Vec<Flip>) {
        let Some(entry) = self.entry(id) else { return };
        match (entry.published, entry.wanted()) {
            // A target that is held down from its recovery on is to be told of all the same.
            (from, to) if from == to && !matches!(cause, Cause::Damped(_)) => {}
            (Verdict::Up, Verdict::Down) => match self.brake.may_fall(now_ms) {
                Decision::Fall => {
                    self.change(now_ms, id, Verdict::Down, cause, flips);
                    self.brake.fell(now_ms, id);
                }
                Decision::Hold => {}
                Decision::Engage(fallen) => {
                    for id in fallen {
                        self.change(now_ms, id, Verdict::Up, Cause::BrakeEngaged, flips);
                    }
                }
            },
            (_, to) => self.change(now_ms, id, to, cause, flips),
        }
    }

    fn change(&mut self, now_ms: u64, id: TargetId, to: Verdict, cause: Cause, flips: &mut Vec<Flip>) {
        let Some(entry) = self.entries.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        let before = entry.standing();
        let has_recovered = matches!(cause, Cause::Results | Cause::Pushed | Cause::DampingOver);
        let flip = entry.flip(id, to, cause);
        self.brake.stands(id, before, entry.standing());
        if flip.from != to {
            self.figures.targets[flip.from as usize] -= 1;
            self.figures.targets[to as usize] += 1;
            match to {
                Verdict::Up => self.figures.rises += 1,
                Verdict::Down => self.figures.falls += 1,
                Verdict::Unknown => {}
            }
            if entry.target.check.rules.slow_start_ms.is_some() {
                let starts_slowly = (flip.from, to) == (Verdict::Down, Verdict::Up) && has_recovered;
                entry.recovered_at_ms = starts_slowly.then_some(now_ms);
                self.shares.push((id, entry.share(now_ms)));
                self.timed.insert(id);
            }
        }
        flips.push(flip);
    }

    /// Lets time pass: for the brake, for targets that are held down or start slowly, for pushed verdicts and for the figures. Once a second is
    /// enough.
    pub fn tick(&mut self, now_ms: u64, flips: &mut Vec<Flip>) {
        self.figures.lag_peak.rotate(now_ms);
        self.expire_pushed(now_ms, flips);
        let timed: Vec<TargetId> = self.timed.iter().copied().collect();
        for id in timed {
            self.tick_one(now_ms, id, flips);
        }
        self.let_brake_go_in_time(now_ms, flips);
    }

    fn tick_one(&mut self, now_ms: u64, id: TargetId, flips: &mut Vec<Flip>) {
        let Some(entry) = self.entries.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        let before = entry.standing();
        let damping = entry.target.check.rules.damping;
        let is_over = damping.is_some_and(|rule| entry.damper.tick(now_ms, rule));
        self.brake.stands(id, before, entry.standing());
        if entry.recovered_at_ms.is_some() {
            let share = entry.share(now_ms);
            self.shares.push((id, share));
            entry.recovered_at_ms.take_if(|_| share == FULL_SHARE);
        }
        if entry.recovered_at_ms.is_none() && entry.damper.held_until_ms().is_none() {
            self.timed.remove(&id);
        }
        if is_over {
            self.publish(now_ms, id, Cause::DampingOver, flips);
        }
    }

    /// Takes the shares that are to be set, in percent.
    pub fn take_shares(&mut self) -> Vec<(TargetId, u8)> {
        std::mem::take(&mut self.shares)
    }

    fn let_brake_go_in_time(&mut self, now_ms: u64, flips: &mut Vec<Flip>) {
        if self.brake.tick(now_ms) {
            self.let_go(now_ms, flips);
        }
    }

    /// Releases the brake by hand; returns whether it held anything.
    pub fn release_brake(&mut self, now_ms: u64, flips: &mut Vec<Flip>) -> bool {
        let held = self.brake.release();
        if held {
            self.let_go(now_ms, flips);
        }
        held
    }

    fn let_go(&mut self, now_ms: u64, flips: &mut Vec<Flip>) {
        let held: Vec<TargetId> = self.held().collect();
        for id in held {
            self.change(now_ms, id, Verdict::Down, Cause::BrakeReleased, flips);
            self.brake.fell(now_ms, id);
        }
    }

    fn held(&self) -> impl Iterator<Item = TargetId> + '_ {
        self.entries().filter(|(_, e)| e.is_held()).map(|(id, _)| id)
    }

    /// Targets of which no result has come yet and no verdict was remembered.
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// What the brake is doing.
    pub fn brake_state(&self) -> BrakeState {
        self.brake.state()
    }

    /// Suspects and population of the brake, for its event.
    pub fn brake_share(&self) -> (usize, usize) {
        self.brake.share()
    }

    /// One target.
    pub fn entry(&self, id: TargetId) -> Option<&Entry> {
        self.entries.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// Every target, lowest number first.
    pub fn entries(&self) -> impl Iterator<Item = (TargetId, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(index, e)| Some((TargetId(index as u32), e.as_ref()?)))
    }

    /// Milliseconds until a target's next probe.
    pub fn next_in_ms(&self, now_ms: u64, id: TargetId) -> Option<u64> {
        self.schedule.next_in_ms(now_ms, id)
    }

    /// The interval in milliseconds that a target's probes have within its address's rate.
    pub fn interval_ms(&self, id: TargetId) -> Option<u32> {
        self.schedule.interval_ms(id)
    }

    /// Probes running.
    pub fn in_flight(&self) -> usize {
        self.schedule.in_flight()
    }

    /// The limit of probes of one address in a second.
    pub fn per_address_per_second(&self) -> u32 {
        self.schedule.per_address_per_second()
    }

    /// Addresses whose checks want more probes a second than one address may have.
    pub fn stretched(&self) -> impl Iterator<Item = (IpAddr, &AddressDemand)> {
        self.schedule.stretched()
    }

    fn timed_with(&self, is: impl Fn(&Entry) -> bool) -> usize {
        self.timed.iter().filter_map(|id| self.entry(*id)).filter(|entry| is(entry)).count()
    }

    /// The figures as of now.
    pub fn figures(&self) -> Figures {
        Figures {
            in_flight: self.schedule.in_flight(),
            rate_limited: self.schedule.rate_limited(),
            stretched_targets: self.schedule.stretched_targets(),
            brake_holding: self.brake.is_holding(),
            brake_held_targets: self.held().count(),
            brake_engaged_total: self.brake.engaged_total(),
            damped_targets: self.timed_with(|entry| entry.damper.held_until_ms().is_some()),
            slow_targets: self.timed_with(|entry| entry.recovered_at_ms.is_some()),
            ..self.figures.clone()
        }
    }
}

#[path = "ledger_external.rs"]
mod pushed;
#[path = "ledger_witness.rs"]
mod witness;

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
