//! What a verdict may rest on: every result of every target is noted here, and each published verdict is held against them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hale::health::ledger::{Cause, Flip};
use hale::health::probe::Outcome;
use hale::model::target::{Check, TargetId, Verdict};

/// The brake of a world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brake {
    pub(super) down_percent: usize,
    pub(super) min_targets: usize,
}

/// One target's results.
struct Record {
    check: Check,
    address: IpAddr,
    /// Good and bad results, latest last; those that say nothing are left out.
    results: Vec<bool>,
    /// What the results amount to.
    own: Verdict,
    published: Verdict,
    /// When `own` changed from one known verdict to the other.
    flips: Vec<u64>,
    /// When damping began to hold it or went on to, and for how long.
    hold: Option<(u64, u64)>,
    fell_ms: Option<u64>,
    recovered_ms: Option<u64>,
    last_ms: Option<u64>,
}

pub(super) struct Evidence {
    records: BTreeMap<TargetId, Record>,
    /// When an address last answered.
    answered: BTreeMap<IpAddr, u64>,
    brake: Brake,
    /// In milliseconds: the longest interval and timeout together.
    window_ms: u64,
}

impl Evidence {
    pub(super) fn new(targets: impl Iterator<Item = (TargetId, IpAddr, Check)>, brake: Brake) -> Self {
        let record = |(id, address, check): (TargetId, IpAddr, Check)| {
            let record = Record {
                check,
                address,
                results: Vec::new(),
                own: Verdict::Unknown,
                published: Verdict::Unknown,
                flips: Vec::new(),
                hold: None,
                fell_ms: None,
                recovered_ms: None,
                last_ms: None,
            };
            (id, record)
        };
        let records: BTreeMap<TargetId, Record> = targets.map(record).collect();
        let each = records.values().map(|r| u64::from(r.check.interval_ms + r.check.timeout_ms));
        let window_ms = each.max().unwrap_or(0).clamp(10_000, 300_000);
        Self { records, answered: BTreeMap::new(), brake, window_ms }
    }

    pub(super) fn published(&self, id: TargetId) -> Verdict {
        self.records[&id].published
    }

    /// Notes the end of a probe.
    pub(super) fn note(&mut self, now_ms: u64, id: TargetId, outcome: &Outcome, took_ms: u64) {
        let record = &self.records[&id];
        let since_ms = record.last_ms.unwrap_or(now_ms.saturating_sub(self.window_ms));
        let has_answered = matches!(outcome, Outcome::Success | Outcome::Warning(_));
        let is_slow = record.check.rules.slower_than_ms.is_some_and(|limit| took_ms > limit.into());
        let good = match outcome {
            Outcome::Success | Outcome::Warning(_) => Some(!is_slow),
            Outcome::Failure(_) | Outcome::Unrouted(_) => Some(false),
            // Only where somebody else answered meanwhile is it not our own network.
            Outcome::HostUnreachable => {
                let is_lonely = self.records.values().all(|other| other.address == record.address);
                let mut others = self.answered.iter().filter(|(address, _)| **address != record.address);
                (is_lonely || others.any(|(_, at)| *at >= since_ms)).then_some(false)
            }
            Outcome::LocalError(_) => None,
        };
        let record = self.records.get_mut(&id).unwrap();
        if has_answered {
            self.answered.insert(record.address, now_ms);
        }
        record.last_ms = Some(now_ms);
        let Some(good) = good else { return };
        record.results.push(good);
        let last = |n: u32, wanted: bool| {
            let n = n as usize;
            record.results.len() >= n && record.results.iter().rev().take(n).all(|good| *good == wanted)
        };
        let own = match record.own {
            Verdict::Unknown if good => Verdict::Up,
            Verdict::Unknown => Verdict::Down,
            Verdict::Up if last(record.check.fall, false) => Verdict::Down,
            Verdict::Down if last(record.check.rise, true) => Verdict::Up,
            same => same,
        };
        if own != record.own && record.own != Verdict::Unknown {
            record.flips.push(now_ms);
        }
        record.own = own;
    }

    /// Whether there is reason for the brake to engage, before what comes of it is noted.
    pub(super) fn justifies_brake(&self, now_ms: u64) -> bool {
        let fallen = |r: &&Record| {
            let is_fresh = |at: u64| now_ms.saturating_sub(at) < self.window_ms;
            r.published != Verdict::Up && r.fell_ms.is_some_and(is_fresh)
        };
        let fallen = self.records.values().filter(fallen).count();
        let up = || self.records.values().filter(|r| r.published == Verdict::Up);
        let failing = up().filter(|r| r.results.last() == Some(&false) || r.hold.is_some()).count();
        let (suspects, population) = (fallen + failing, fallen + up().count());
        suspects * 100 > self.brake.down_percent * population && population >= self.brake.min_targets
    }

    /// Lets time pass, once a second: a hold in which a target kept its mind is over, another one goes on for twice as long.
    pub(super) fn tick(&mut self, now_ms: u64) {
        for record in self.records.values_mut() {
            let (Some((since, held_ms)), Some(rule)) = (record.hold, record.check.rules.damping) else {
                continue;
            };
            if now_ms >= since + held_ms {
                let is_calm = record.flips.last().is_none_or(|at| *at <= since);
                let longer = (now_ms, (2 * held_ms).min(rule.hold_max_ms.into()));
                record.hold = if is_calm { None } else { Some(longer) };
            }
        }
    }

    /// Damping holds a target from now on, also where the brake keeps that from being seen: there must have been flips enough.
    pub(super) fn hold(&mut self, now_ms: u64, id: TargetId, until_ms: u64) {
        let record = self.records.get_mut(&id).unwrap();
        if record.hold.is_some() {
            return;
        }
        let rule = record.check.rules.damping.expect("only what is damped is held");
        let since = now_ms.saturating_sub(rule.within_ms.into());
        let flips = record.flips.iter().filter(|at| **at >= since).count();
        assert!(flips > rule.flips as usize, "{id:?} at {now_ms}: {:?}", record.flips);
        let held_ms = until_ms - now_ms;
        assert!((rule.hold_ms.into()..=rule.hold_max_ms.into()).contains(&held_ms), "{id:?}: {held_ms}");
        record.hold = Some((now_ms, held_ms));
    }

    /// Holds a change of what is published against what there is for it.
    pub(super) fn flip(&mut self, now_ms: u64, flip: &Flip) {
        let record = self.records.get_mut(&flip.id).unwrap();
        let case = format!("{flip:?} at {now_ms}, of {:?}, flips {:?}", record.own, record.flips);
        assert_eq!(flip.from, record.published, "{case}");
        let damping = record.check.rules.damping;
        match flip.cause {
            Cause::Results | Cause::BrakeReleased => assert_eq!(flip.to, record.wanted(), "{case}"),
            Cause::BrakeEngaged => assert_eq!((flip.from, flip.to), (Verdict::Down, Verdict::Up), "{case}"),
            Cause::Damped(held_ms) => {
                assert_eq!((flip.to, record.hold), (Verdict::Down, Some((now_ms, held_ms))), "{case}");
            }
            Cause::DampingOver => {
                assert!(damping.is_some() && record.hold.is_none(), "{case}");
                assert_eq!(flip.to, record.own, "{case}");
            }
            Cause::Replaced => assert_eq!(flip.to, Verdict::Unknown, "{case}"),
            Cause::Saved | Cause::Pushed | Cause::Peers => panic!("{case}"),
        }
        let has_recovered = matches!(flip.cause, Cause::Results | Cause::DampingOver);
        match (flip.from, flip.to) {
            (Verdict::Up, Verdict::Down) => record.fell_ms = Some(now_ms),
            (Verdict::Down, Verdict::Up) if has_recovered => record.recovered_ms = Some(now_ms),
            _ => {}
        }
        if flip.to != Verdict::Up || flip.cause == Cause::BrakeEngaged {
            record.recovered_ms = None;
        }
        record.published = flip.to;
    }

    /// What is published must be what results amount to, but for what damping and the brake hold.
    pub(super) fn check(&self, id: TargetId, is_braking: bool) {
        let record = &self.records[&id];
        if record.published != record.wanted() {
            let is_held = record.published == Verdict::Up && record.wanted() == Verdict::Down && is_braking;
            assert!(is_held, "{id:?}: {:?}, {:?} wanted", record.published, record.wanted());
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TargetId> {
        self.records.keys().copied()
    }

    /// With which share of its weight a target is to be answered: a tenth more with each tenth of its slow start.
    pub(super) fn share(&self, now_ms: u64, id: TargetId) -> u32 {
        let record = &self.records[&id];
        match (record.recovered_ms, record.check.rules.slow_start_ms) {
            (Some(since), Some(slow)) => (1..=10)
                .rev()
                .find(|tenth| (now_ms - since) * 10 >= u64::from(slow) * (tenth - 1))
                .map_or(10, |tenth| tenth as u32 * 10),
            _ => 100,
        }
    }
}

impl Record {
    fn wanted(&self) -> Verdict {
        if self.hold.is_some() { Verdict::Down } else { self.own }
    }
}
