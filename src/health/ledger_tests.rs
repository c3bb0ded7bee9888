//! The ledger on a virtual clock: real schedules, scripted outcomes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::health::tests::Random;
use crate::model::target::{Check, CheckKind, Damping, VerdictRules};

const NEVER: BrakeLimits = BrakeLimits { down_percent: 100, min_targets: 0 };
const LIMITS: Limits = Limits { in_flight: 4096, per_address_per_second: 1000 };

fn target(number: u32, interval_ms: u32, rise: u32, fall: u32) -> Arc<Target> {
    let address = SocketAddr::from((Ipv4Addr::from(0x7f01_0000 + number), 80));
    let check = Arc::new(Check {
        kind: CheckKind::Tcp,
        interval_ms,
        timeout_ms: interval_ms / 2,
        rise,
        fall,
        rules: Default::default(),
    });
    Arc::new(Target { address, check })
}

/// A target that is probed each second, and one result decides.
fn ruled(number: u32, rules: VerdictRules) -> Arc<Target> {
    let target = target(number, 1000, 1, 1);
    Arc::new(Target { check: Arc::new(Check { rules, ..(*target.check).clone() }), ..(*target).clone() })
}

fn failure() -> Outcome {
    Outcome::Failure("refused".into())
}

/// Drives a ledger; `world` says what a probe of a target that starts at a time finds, and how long it takes.
struct Simulation<W> {
    ledger: Ledger,
    now_ms: u64,
    ends: BinaryHeap<Reverse<(u64, u64, TargetId, u32)>>,
    outcomes: Vec<Outcome>,
    /// In milliseconds.
    durations: Vec<u64>,
    world: W,
    /// Everything in order: results and flips.
    log: Vec<Event>,
    next_tick_ms: u64,
}

#[derive(Debug)]
enum Event {
    Result(TargetId, Outcome),
    Flip(Flip),
}

impl<W: FnMut(u64, TargetId) -> (Outcome, u64)> Simulation<W> {
    fn new(targets: &[Arc<Target>], brake: BrakeLimits, world: W) -> Self {
        let ledger = Ledger::new(LIMITS, brake);
        let mut simulation = Self {
            ledger,
            now_ms: 0,
            ends: BinaryHeap::new(),
            outcomes: Vec::new(),
            durations: Vec::new(),
            world,
            log: Vec::new(),
            next_tick_ms: 0,
        };
        simulation.set_targets(targets);
        simulation
    }

    fn set_targets(&mut self, targets: &[Arc<Target>]) {
        let set: Vec<_> =
            targets.iter().enumerate().map(|(id, t)| (TargetId(id as u32), t.clone())).collect();
        let mut flips = Vec::new();
        self.ledger.set_targets(self.now_ms, &set, |_| None, &mut flips);
        self.note(flips);
    }

    fn note(&mut self, flips: Vec<Flip>) {
        self.log.extend(flips.into_iter().filter(|f| f.from != f.to).map(Event::Flip));
    }

    fn run_until(&mut self, end_ms: u64) {
        loop {
            while let Some((start, _)) = self.ledger.start_next(self.now_ms) {
                assert_eq!(start.lag_ms, 0);
                let (outcome, takes_ms) = (self.world)(self.now_ms, start.id);
                self.ends.push(Reverse((
                    self.now_ms + takes_ms,
                    self.outcomes.len() as u64,
                    start.id,
                    start.generation,
                )));
                self.outcomes.push(outcome);
                self.durations.push(takes_ms);
            }
            let end = self.ends.peek().map(|Reverse((at_ms, ..))| *at_ms);
            let next = [self.ledger.wake_at(), end, Some(self.next_tick_ms)].into_iter().flatten().min();
            let next = next.unwrap_or(u64::MAX).max(self.now_ms);
            if next > end_ms {
                break;
            }
            self.now_ms = next;
            let mut flips = Vec::new();
            if self.now_ms >= self.next_tick_ms {
                self.next_tick_ms = self.now_ms + 1000;
                self.ledger.tick(self.now_ms, &mut flips);
            }
            while let Some(&Reverse((at_ms, outcome_number, id, generation))) = self.ends.peek() {
                if at_ms > self.now_ms {
                    break;
                }
                self.ends.pop();
                let outcome = self.outcomes[outcome_number as usize].clone();
                let took_us = self.durations[outcome_number as usize] * 1000;
                self.ledger.finish(self.now_ms, id, generation, outcome, took_us, &mut flips);
                let seen = self.ledger.entry(id).and_then(|e| e.last.clone()).map(|last| last.outcome);
                self.log.extend(seen.map(|outcome| Event::Result(id, outcome)));
                self.note(std::mem::take(&mut flips));
            }
            self.note(flips);
        }
        self.now_ms = end_ms;
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.ledger.entries().map(|(_, e)| e.published).collect()
    }
}

/// No verdict without its evidence: replays results and flips of random targets.
#[test]
fn every_flip_has_its_evidence_and_no_flip_is_missing() {
    let mut random = Random::seeded();
    for _ in 0..20 {
        let targets: Vec<_> = (0..30)
            .map(|n| {
                target(
                    n,
                    200 + random.below(3000) as u32,
                    1 + random.below(3) as u32,
                    1 + random.below(4) as u32,
                )
            })
            .collect();
        let mut dice = Random(random.next());
        let world = move |_, _| {
            let outcome = match dice.below(10) {
                0 => Outcome::LocalError("no route".into()),
                1..5 => failure(),
                _ => Outcome::Success,
            };
            (outcome, dice.below(100))
        };
        let mut simulation = Simulation::new(&targets, NEVER, world);
        simulation.run_until(120_000);
        let mut runs = vec![(Verdict::Unknown, 0u32, 0u32); targets.len()];
        let mut flips = 0;
        let mut events = simulation.log.iter().peekable();
        while let Some(event) = events.next() {
            let Event::Result(id, outcome) = event else {
                panic!("a flip without a result before it: {event:?}")
            };
            let check = &targets[id.0 as usize].check;
            let (verdict, good, bad) = &mut runs[id.0 as usize];
            match outcome {
                Outcome::Success => (*good, *bad) = (*good + 1, 0),
                Outcome::Failure(_) => (*good, *bad) = (0, *bad + 1),
                _ => {}
            }
            let expected = match *verdict {
                Verdict::Unknown if *good > 0 => Some(Verdict::Up),
                Verdict::Unknown if *bad > 0 => Some(Verdict::Down),
                Verdict::Up if *bad == check.fall => Some(Verdict::Down),
                Verdict::Down if *good == check.rise => Some(Verdict::Up),
                _ => None,
            };
            let flip = match events.peek() {
                Some(Event::Flip(flip)) => Some(flip),
                _ => None,
            };
            assert_eq!(flip.map(|f| (f.id, f.to)), expected.map(|to| (*id, to)));
            if let Some(to) = expected {
                *verdict = to;
                flips += 1;
                events.next();
            }
        }
        assert!(flips > 100, "only {flips} flips: this shows nothing");
        assert_eq!(simulation.verdicts(), runs.iter().map(|run| run.0).collect::<Vec<_>>());
    }
}

#[test]
fn local_errors_never_make_a_verdict() {
    let targets: Vec<_> = (0..20).map(|n| target(n, 1000, 2, 3)).collect();
    let world = |now_ms, _| match now_ms {
        10_000..100_000 => (Outcome::LocalError("out of file descriptors".into()), 1),
        _ => (Outcome::Success, 1),
    };
    let mut simulation = Simulation::new(&targets, NEVER, world);
    simulation.run_until(99_000);
    assert!(simulation.verdicts().iter().all(|v| *v == Verdict::Up));
    simulation.set_targets(&[target(99, 1000, 2, 3)]);
    simulation.run_until(99_900);
    assert_eq!(simulation.verdicts(), [Verdict::Unknown]);
    assert_eq!(simulation.ledger.awaited(), 0, "but the first round does not wait for it");
    simulation.run_until(110_000);
    assert_eq!(simulation.verdicts(), [Verdict::Up]);
}

#[test]
fn an_unreachable_host_is_down_when_others_answer_and_unknown_when_nobody_does() {
    let world = |dead: fn(u64, u32) -> bool| {
        move |now_ms, id: TargetId| {
            let outcome = if dead(now_ms, id.0) { Outcome::HostUnreachable } else { Outcome::Success };
            (outcome, 1)
        }
    };
    let targets: Vec<_> = (0..3).map(|n| target(n, 1000, 2, 3)).collect();
    let mut one = Simulation::new(&targets, NEVER, world(|now_ms, id| id == 1 && now_ms > 5000));
    one.run_until(20_000);
    assert_eq!(one.verdicts(), [Verdict::Up, Verdict::Down, Verdict::Up]);

    // The gateway is gone.
    let mut all = Simulation::new(&targets, NEVER, world(|now_ms, _| now_ms > 5000));
    all.run_until(60_000);
    assert_eq!(all.verdicts(), [Verdict::Up; 3]);
    assert!(all.ledger.entries().all(|(_, entry)| entry.hysteresis.failures() <= 1));

    let mut from_the_start = Simulation::new(&targets, NEVER, world(|_, _| true));
    from_the_start.run_until(20_000);
    assert_eq!(from_the_start.verdicts(), [Verdict::Unknown; 3]);

    let mut alone = Simulation::new(&targets[..1], NEVER, world(|_, _| true));
    alone.run_until(20_000);
    assert_eq!(alone.verdicts(), [Verdict::Down], "nobody else could vouch for the link");
}

#[test]
fn the_brake_holds_and_releases() {
    let targets: Vec<_> = (0..100).map(|n| target(n, 5000, 2, 1 + n % 3)).collect();
    let brake = BrakeLimits { down_percent: 80, min_targets: 10 };
    // Cut off from 60 s to 120 s; five backends die meanwhile.
    let world = |now_ms, id: TargetId| match now_ms {
        60_000..120_000 => (failure(), 20),
        120_000.. if id.0 < 5 => (failure(), 20),
        _ => (Outcome::Success, 20),
    };
    let mut simulation = Simulation::new(&targets, brake, world);
    simulation.run_until(119_000);
    assert!(
        simulation.verdicts().iter().all(|v| *v == Verdict::Up),
        "all that fell before it engaged are back"
    );
    let figures = simulation.ledger.figures();
    assert!(figures.brake_holding && figures.brake_held_targets == 100, "{figures:?}");
    simulation.run_until(160_000);
    let figures = simulation.ledger.figures();
    assert_eq!((figures.brake_holding, figures.brake_engaged_total), (false, 1));
    assert_eq!(figures.targets, [0, 95, 5]);

    let mut by_hand = Simulation::new(&targets, brake, |now_ms, _| {
        if now_ms > 60_000 { (failure(), 1) } else { (Outcome::Success, 1) }
    });
    by_hand.run_until(100_000);
    assert!(by_hand.ledger.figures().brake_holding);
    let mut flips = Vec::new();
    assert!(by_hand.ledger.release_brake(100_000, &mut flips));
    assert_eq!(flips.len(), 100);
    assert!(
        flips.iter().all(|f| f.to == Verdict::Down && f.cause == Cause::BrakeReleased && f.reason.is_some())
    );
    assert!(by_hand.verdicts().iter().all(|v| *v == Verdict::Down));
}

#[test]
fn at_start_everything_may_be_down() {
    let targets: Vec<_> = (0..100).map(|n| target(n, 5000, 2, 3)).collect();
    let brake = BrakeLimits { down_percent: 80, min_targets: 10 };
    let mut simulation = Simulation::new(&targets, brake, |_, _| (failure(), 1));
    simulation.run_until(30_000);
    assert!(simulation.verdicts().iter().all(|v| *v == Verdict::Down));
    assert_eq!(simulation.ledger.brake_state(), BrakeState::Armed);
}

/// Random sets come and go: the counts that are kept step by step agree with what is there.
#[test]
fn counts_agree_with_the_entries() {
    let mut random = Random::seeded();
    let mut dice = Random(random.next());
    let brake = BrakeLimits { down_percent: 50, min_targets: 5 };
    let world = move |now_ms: u64, _| {
        (
            if (now_ms / 20_000 + dice.below(10) / 9).is_multiple_of(2) {
                Outcome::Success
            } else {
                failure()
            },
            3,
        )
    };
    let mut simulation = Simulation::new(&[], brake, world);
    let mut engaged = 0;
    for step in 1..200 {
        let targets: Vec<_> = (0..10 + random.below(30) as u32)
            .map(|n| target(if random.below(20) == 0 { 100 + n } else { n }, 1000, 1, 1 + n % 2))
            .collect();
        simulation.set_targets(&targets);
        simulation.run_until(step * 2000);
        let ledger = &simulation.ledger;
        let figures = ledger.figures();
        for verdict in [Verdict::Unknown, Verdict::Up, Verdict::Down] {
            let count = ledger.entries().filter(|(_, e)| e.published == verdict).count();
            assert_eq!(figures.targets[verdict as usize], count, "{verdict}");
        }
        let failing = ledger.entries().filter(|(_, e)| e.standing() == Standing::Failing).count();
        let (suspects, population) = ledger.brake_share();
        assert_eq!(population - suspects, figures.targets[Verdict::Up as usize] - failing);
        assert!(suspects >= failing && suspects - failing <= figures.targets[Verdict::Down as usize]);
        engaged = figures.brake_engaged_total;
    }
    assert!(engaged > 2, "engaged {engaged} times: this shows little");
}

#[test]
fn a_slow_answer_is_a_failure_that_says_so() {
    let rules = VerdictRules { slower_than_ms: Some(100), ..VerdictRules::default() };
    let world = |now_ms, _| (Outcome::Success, if now_ms < 10_000 { 100 } else { 101 });
    let mut simulation = Simulation::new(&[ruled(1, rules)], NEVER, world);
    simulation.run_until(9_999);
    assert_eq!(simulation.verdicts(), [Verdict::Up]);
    simulation.run_until(20_000);
    assert_eq!(simulation.verdicts(), [Verdict::Down]);
    let Some(Event::Flip(flip)) = simulation.log.iter().rfind(|event| matches!(event, Event::Flip(_))) else {
        panic!("no flip")
    };
    assert_eq!(flip.reason.as_deref(), Some("answered after 101 ms, slower than 100 ms"));
}

#[test]
fn a_slow_answer_still_tells_that_the_network_works() {
    let rules = VerdictRules { slower_than_ms: Some(10), ..VerdictRules::default() };
    let world = |_, id: TargetId| match id.0 {
        0 => (Outcome::HostUnreachable, 1),
        _ => (Outcome::Success, 50),
    };
    let mut simulation = Simulation::new(&[ruled(1, rules), ruled(2, rules)], NEVER, world);
    simulation.run_until(20_000);
    assert_eq!(simulation.verdicts(), [Verdict::Down, Verdict::Down]);
}

#[test]
fn a_recovered_target_starts_slowly_and_a_new_one_does_not() {
    let rules = VerdictRules { slow_start_ms: Some(10_000), ..VerdictRules::default() };
    let world = |now_ms, _| {
        let is_down = (20_000..30_000).contains(&now_ms) || (35_000..40_000).contains(&now_ms);
        (if is_down { failure() } else { Outcome::Success }, 1)
    };
    let mut simulation = Simulation::new(&[ruled(1, rules), target(2, 1000, 1, 1)], NEVER, world);
    let mut shares: Vec<(u64, u8)> = Vec::new();
    for second in 0..70 {
        simulation.run_until(second * 1000 + 999);
        for (id, percent) in simulation.ledger.take_shares() {
            assert_eq!(id, TargetId(0), "only who is asked to");
            if shares.last().is_none_or(|(_, last)| *last != percent) {
                shares.push((second, percent));
            }
        }
        assert_eq!(
            simulation.ledger.figures().slow_targets > 0,
            shares.last().is_some_and(|(_, p)| *p < 100)
        );
    }
    // In full when it fell, a tenth at its return, and cut off by its second fall.
    let percents: Vec<u8> = shares.iter().map(|(_, percent)| *percent).collect();
    assert_eq!(
        percents,
        [100, 10, 20, 30, 40, 50, 100, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
        "{shares:?}"
    );
    let (first, last) = (shares[7].0, shares[16].0);
    assert!((8..=10).contains(&(last - first)), "{shares:?}");
    assert_eq!(simulation.ledger.timed.len(), 0, "nothing is left to wait for");
}

#[test]
fn a_flapping_target_is_held_down_and_comes_back_once_it_is_calm() {
    let damping = Damping { flips: 4, within_ms: 60_000, hold_ms: 10_000, hold_max_ms: 40_000 };
    let rules = VerdictRules { damping: Some(damping), ..VerdictRules::default() };
    // Flaps with each probe for a minute.
    let world = |now_ms: u64, _| {
        let is_bad = (10_000..70_000).contains(&now_ms) && (now_ms / 1000).is_multiple_of(2);
        (if is_bad { failure() } else { Outcome::Success }, 1)
    };
    let mut simulation = Simulation::new(&[ruled(1, rules), target(2, 1000, 1, 1)], NEVER, world);
    simulation.run_until(40_000);
    let entry = simulation.ledger.entry(TargetId(0)).unwrap();
    assert_eq!((entry.published, simulation.ledger.figures().damped_targets), (Verdict::Down, 1));
    simulation.run_until(200_000);
    let flips: Vec<&Flip> = simulation
        .log
        .iter()
        .filter_map(|event| match event {
            Event::Flip(flip) if flip.id == TargetId(0) => Some(flip),
            _ => None,
        })
        .collect();
    // Up at first, four flips that are tolerated, the fifth begins the hold; then silence until it ends.
    assert_eq!(flips.iter().map(|f| f.to).collect::<Vec<_>>().len(), 7, "{flips:?}");
    assert!(matches!(flips[5].cause, Cause::Damped(10_000)), "{flips:?}");
    assert_eq!((&flips[6].cause, flips[6].to), (&Cause::DampingOver, Verdict::Up));
    let others = simulation.log.iter().filter(|e| matches!(e, Event::Flip(f) if f.id == TargetId(1))).count();
    assert!(others > 50, "the other one flaps on: {others}");
    assert_eq!(simulation.ledger.figures().dampings, 1);
    assert_eq!(simulation.ledger.timed.len(), 0);
}

/// Targets of one host at an address each, with their results: `+`, `-` (refused), `4` (no route for the host) and `e` (our own host's fault), the last
/// one for ever. Verdicts after `seconds` as `u`, `d` and `?`.
#[track_caller]
fn unrouted(results: &[&str], seconds: u64, expected: &str) {
    unrouted_with(true, results, seconds, expected);
}

#[track_caller]
fn unrouted_with(needs_witness: bool, results: &[&str], seconds: u64, expected: &str) {
    use crate::model::target::HttpCheck;
    let target = |n: usize| {
        let host = format!("www.example.test:{}", 8000 + n);
        let kind = CheckKind::Http(Box::new(HttpCheck {
            tls: None,
            host,
            path: "/".into(),
            method: "GET".into(),
            headers: Vec::new(),
            status: Vec::new(),
            body_contains: None,
            body_not: Some("404 page not found".into()),
            follow: 0,
            reuse: false,
        }));
        let rules = VerdictRules { patient: true, needs_witness, ..VerdictRules::default() };
        let target = target(n as u32, 1000, 2, 3);
        Arc::new(Target {
            check: Arc::new(Check { kind, rules, ..(*target.check).clone() }),
            ..(*target).clone()
        })
    };
    let targets: Vec<_> = (0..results.len()).map(target).collect();
    let mut next = vec![0; results.len()];
    let world = |_, id: TargetId| {
        let (place, results) = (&mut next[id.0 as usize], results[id.0 as usize].as_bytes());
        let outcome = match results[(*place).min(results.len() - 1)] {
            b'+' => Outcome::Success,
            b'-' => failure(),
            b'4' => Outcome::Unrouted("404 page not found".into()),
            _ => Outcome::LocalError("no route".into()),
        };
        *place += 1;
        (outcome, 1)
    };
    let mut simulation = Simulation::new(&targets, NEVER, world);
    simulation.run_until(seconds * 1000);
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Up => 'u',
        Verdict::Down => 'd',
        Verdict::Unknown => '?',
    };
    let found: String = simulation.verdicts().iter().map(letter).collect();
    assert_eq!(found, expected, "{results:?} after {seconds} s");
    let figures = simulation.ledger.figures();
    assert_eq!(figures.targets.iter().sum::<usize>(), results.len());
}

#[test]
fn a_route_that_is_missing_everywhere_is_no_verdict() {
    // Where another address serves the host, having no route is a failure like any other.
    unrouted(&["4", "+"], 10, "du");
    unrouted(&["+++4", "+"], 5, "uu");
    unrouted(&["+++4", "+"], 10, "du");
    // Where none does it says nothing, from the start or later, and with one address alone.
    unrouted(&["4"], 10, "?");
    unrouted(&["+++4"], 10, "?");
    unrouted(&["4", "4", "4"], 10, "???");
    unrouted(&["++++4", "++++4"], 12, "??");
    // Nobody is down in between, in whatever order the results come.
    (3..12).for_each(|seconds| unrouted(&["4", "4"], seconds, "??"));
    // One that cannot be reached is down all the same, and no witness.
    unrouted(&["4", "-"], 10, "?d");
    unrouted(&["4", "e"], 10, "??");
    // It comes to serve, or no longer does.
    unrouted(&["4", "4444444+"], 12, "du");
    unrouted(&["4", "++++++++4"], 6, "du");
    unrouted(&["4", "++++++++4"], 14, "??");
    unrouted(&["4", "++++++++-"], 14, "?d");
    unrouted(&["4444444+", "4"], 12, "ud");
    // Other failures count as such once there are enough of them.
    unrouted(&["44444-"], 7, "?");
    unrouted(&["44444-"], 12, "d");
    unrouted(&["44444-4-4-4-4--4--4"], 25, "?");
    unrouted(&["-----4"], 5, "d");
    unrouted(&["-----4"], 12, "?");
    // A check that says itself what it does not want to read takes it for what it is.
    unrouted_with(false, &["4"], 10, "d");
    unrouted_with(false, &["+++4", "+++4"], 10, "dd");
}
