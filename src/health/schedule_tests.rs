use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::*;
use crate::health::tests::Random;

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x7f01_0000 + number))
}

fn planned(id: u32, address_number: u32, interval_ms: u32) -> Planned {
    Planned { id: TargetId(id), address: address(address_number), scope: Scope::Address, interval_ms }
}

fn limits(in_flight: usize, per_address_per_second: u32) -> Limits {
    Limits { in_flight, per_address_per_second }
}

/// Runs a schedule on a virtual clock; probes take as long as `duration_ms` says.
struct Simulation<D> {
    schedule: Schedule,
    now_ms: u64,
    ends: BinaryHeap<Reverse<(u64, TargetId, u32)>>,
    duration_ms: D,
    /// Every start: time and what the schedule said.
    starts: Vec<(u64, Start)>,
    most_in_flight: usize,
}

impl<D: FnMut(TargetId) -> u64> Simulation<D> {
    fn new(limits: Limits, duration_ms: D) -> Self {
        let schedule = Schedule::new(limits);
        Self {
            schedule,
            now_ms: 0,
            ends: BinaryHeap::new(),
            duration_ms,
            starts: Vec::new(),
            most_in_flight: 0,
        }
    }

    fn run_until(&mut self, end_ms: u64) {
        loop {
            while let Some(start) = self.schedule.start_next(self.now_ms) {
                let ends_ms = self.now_ms + (self.duration_ms)(start.id);
                self.ends.push(Reverse((ends_ms, start.id, start.generation)));
                self.starts.push((self.now_ms, start));
            }
            self.most_in_flight = self.most_in_flight.max(self.schedule.in_flight());
            let end = self.ends.peek().map(|Reverse((at_ms, ..))| *at_ms);
            let next = [self.schedule.wake_at(), end].into_iter().flatten().min();
            match next {
                Some(at_ms) if at_ms <= end_ms => self.now_ms = self.now_ms.max(at_ms),
                _ => break,
            }
            while let Some(&Reverse((at_ms, id, generation))) = self.ends.peek() {
                if at_ms > self.now_ms {
                    break;
                }
                self.ends.pop();
                self.schedule.finish(self.now_ms, id, generation);
            }
        }
        self.now_ms = end_ms;
    }

    fn starts_of(&self, id: u32) -> Vec<u64> {
        self.starts.iter().filter(|(_, s)| s.id.0 == id).map(|(at_ms, _)| *at_ms).collect()
    }
}

/// 20,000 targets every 10 s for a minute, so many of which swallow their probes for the whole timeout: no other one starts late by even
/// a millisecond of the virtual clock.
fn twenty_thousand_targets(black_holes: u32) {
    let mut random = Random::seeded();
    let swallows = |id: TargetId| id.0.wrapping_mul(7919) % 20_000 < black_holes;
    let mut simulation =
        Simulation::new(limits(4096, 50), |id| if swallows(id) { 2000 } else { 1 + random.below(20) });
    // Four targets an address, so that the limit of an address is met, too.
    let targets: Vec<Planned> = (0..20_000).map(|id| planned(id, id / 4, 10_000)).collect();
    simulation.schedule.add(0, &targets);
    simulation.run_until(60_000);

    let mut times: Vec<Vec<u64>> = vec![Vec::new(); targets.len()];
    let mut of_address: Vec<Option<u64>> = vec![None; targets.len() / 4];
    let mut a_tenth_s = vec![0u32; 600];
    for (at_ms, start) in &simulation.starts {
        assert_eq!(start.lag_ms, 0, "{start:?} at {at_ms}");
        let before = of_address[start.id.0 as usize / 4].replace(*at_ms);
        assert!(before.is_none_or(|before_ms| at_ms - before_ms >= 20), "{start:?} at {at_ms}: {before:?}");
        times[start.id.0 as usize].push(*at_ms);
        a_tenth_s[(*at_ms / 100).min(599) as usize] += 1;
    }
    assert!(simulation.most_in_flight <= 4096, "{}", simulation.most_in_flight);
    for (id, times) in times.iter().enumerate() {
        assert!(times[0] <= FIRST_SPREAD_MS + 60, "target {id} first at {}", times[0]);
        let second = times[1] - times[0];
        assert!((4_900..15_100).contains(&second), "target {id} a second time after {second} ms");
        for pair in times[1..].windows(2) {
            // As long as three others of the address may go first.
            assert!((9_940..=10_060).contains(&(pair[1] - pair[0])), "target {id}: {times:?}");
        }
    }
    // Spread: 200 a tenth of a second on average, once every target has had its second probe.
    for (tenth, &count) in a_tenth_s.iter().enumerate().skip(160).take(400) {
        assert!((180..=220).contains(&count), "{count} starts in tenth {tenth}");
    }
}

#[test]
fn twenty_thousand_targets_of_which_one_swallows_its_probes() {
    twenty_thousand_targets(1);
}

#[test]
fn twenty_thousand_targets_of_which_a_thousand_swallow_their_probes() {
    twenty_thousand_targets(1000);
}

#[test]
fn those_that_answer_are_probed_on_time_however_many_do_not() {
    // 10,000 with a timeout of 9 s want 9,000 in flight; they get three quarters of 4,096.
    let swallows = |id: TargetId| id.0 % 2 == 1;
    let mut simulation = Simulation::new(limits(4096, 50), |id| if swallows(id) { 9000 } else { 5 });
    simulation.schedule.add(0, &(0..20_000).map(|id| planned(id, id, 10_000)).collect::<Vec<_>>());
    simulation.run_until(200_000);
    assert_eq!(simulation.most_in_flight, 4096, "in the first round nobody knows who answers");
    let later = simulation.starts.iter().filter(|(at_ms, _)| *at_ms > 60_000);
    for (at_ms, start) in later {
        assert!(swallows(start.id) || start.lag_ms == 0, "{start:?} at {at_ms}");
    }
    for id in [1, 9999, 19_999] {
        // 3,072 slots of 9 s for 10,000 targets: a turn every 29.3 s.
        let times = simulation.starts_of(id);
        for pair in times.windows(2).filter(|pair| pair[0] > 60_000) {
            assert!((20_000..40_000).contains(&(pair[1] - pair[0])), "target {id}: {times:?}");
        }
    }
}

#[test]
fn a_few_targets_start_at_once() {
    let mut simulation = Simulation::new(limits(10, 50), |_| 1);
    simulation.schedule.add(500, &[planned(0, 0, 30_000), planned(9, 1, 30_000), planned(4, 2, 30_000)]);
    simulation.run_until(510);
    assert_eq!(
        simulation.starts.iter().map(|(at, s)| (*at, s.id.0)).collect::<Vec<_>>(),
        [(500, 0), (501, 9), (502, 4)]
    );
}

#[test]
fn probes_in_flight_are_limited_and_the_longest_waiting_goes_first() {
    let mut simulation = Simulation::new(limits(10, 50), |_| 100);
    let targets: Vec<Planned> = (0..50).map(|id| planned(id, id, 1000)).collect();
    simulation.schedule.add(0, &targets);
    simulation.run_until(10_000);
    assert_eq!(simulation.most_in_flight, 10);
    for id in 0..50 {
        let count = simulation.starts_of(id).len();
        assert!((9..=11).contains(&count), "target {id}: {count} probes in 10 s");
    }
}

#[test]
fn beyond_capacity_every_target_gets_the_same_share() {
    // 40 at once, 100 ms each: 400 a second, and 1,000 are wanted.
    let mut simulation = Simulation::new(limits(40, 50), |_| 100);
    let targets: Vec<Planned> = (0..1000).map(|id| planned(id, id, 1000)).collect();
    simulation.schedule.add(0, &targets);
    simulation.run_until(30_000);
    for id in 0..1000 {
        let count = simulation.starts_of(id).len();
        assert!((11..=13).contains(&count), "target {id}: {count} probes in 30 s");
    }
}

#[test]
fn an_address_is_spared_and_others_do_not_wait_for_it() {
    let mut simulation = Simulation::new(limits(4096, 50), |_| 5);
    // 200 checks of one address every 5 s are 40 a second; the other addresses have one each.
    let mut targets: Vec<Planned> = (0..200).map(|id| planned(id, 0, 5000)).collect();
    targets.extend((200..300).map(|id| planned(id, id, 5000)));
    simulation.schedule.add(0, &targets);
    simulation.run_until(60_000);
    let crowded: Vec<u64> =
        simulation.starts.iter().filter(|(_, s)| s.id.0 < 200).map(|(at, _)| *at).collect();
    for pair in crowded.windows(2) {
        assert!(pair[1] - pair[0] >= 20, "two starts within {} ms", pair[1] - pair[0]);
    }
    assert!(simulation.schedule.rate_limited() > 0);
    for (at_ms, start) in &simulation.starts {
        assert!(start.id.0 < 200 || start.lag_ms == 0, "{start:?} at {at_ms}");
    }
    for id in 0..300 {
        let count = simulation.starts_of(id).len();
        assert!((10..=13).contains(&count), "target {id}: {count} probes in 60 s");
    }
}

#[test]
fn five_thousand_names_of_one_address_share_its_rate() {
    let mut simulation = Simulation::new(limits(4096, 50), |_| 5);
    // The address's own check comes last.
    let mut targets: Vec<Planned> =
        (0..5000).map(|id| Planned { scope: Scope::Name, ..planned(id, 0, 10_000) }).collect();
    targets.push(planned(5000, 0, 10_000));
    targets.extend((5001..5100).map(|id| planned(id, id, 10_000)));
    simulation.schedule.add(0, &targets);
    let intervals = [0, 5000, 5001].map(|id| simulation.schedule.interval_ms(TargetId(id)));
    assert_eq!(intervals, [Some(100_201), Some(10_000), Some(10_000)]);
    assert_eq!(simulation.schedule.stretched_targets(), 5000);
    assert_eq!(simulation.schedule.stretched().map(|(ip, _)| ip).collect::<Vec<_>>(), [address(0)]);
    simulation.run_until(500_000);

    let crowded: Vec<u64> =
        simulation.starts.iter().filter(|(_, s)| s.id.0 <= 5000).map(|(at, _)| *at).collect();
    for pair in crowded.windows(2) {
        assert!(pair[1] - pair[0] >= 20, "two starts within {} ms", pair[1] - pair[0]);
    }
    assert!(crowded.len() > 24_000, "the rate is used: {} of 25,000", crowded.len());
    for (at_ms, start) in &simulation.starts {
        assert_eq!(start.lag_ms, 0, "{start:?} at {at_ms}");
    }
    for id in 0..5000 {
        let times = simulation.starts_of(id);
        assert!((4..=6).contains(&times.len()), "name {id}: {times:?}");
        for pair in times.windows(2) {
            assert!((45_000..155_000).contains(&(pair[1] - pair[0])), "name {id}: {times:?}");
        }
    }
    let own = simulation.starts_of(5000);
    assert!(own[0] < 1000, "turns are taken from the start: {own:?}");
    for pair in own[1..].windows(2) {
        assert!((9_000..11_000).contains(&(pair[1] - pair[0])), "{own:?}");
    }

    (0..4600).for_each(|id| simulation.schedule.remove(TargetId(id)));
    assert_eq!(simulation.schedule.stretched_targets(), 0);
    assert_eq!(simulation.schedule.interval_ms(TargetId(4999)), Some(10_000));
    assert_eq!(simulation.schedule.interval_ms(TargetId(0)), None);
}

#[test]
fn a_probe_that_fills_its_interval_is_followed_by_the_next() {
    let mut simulation = Simulation::new(limits(10, 50), |_| 1000);
    simulation.schedule.add(0, &[planned(3, 3, 1000)]);
    simulation.run_until(20_000);
    let times = simulation.starts_of(3);
    assert!(times.len() >= 20, "{times:?}");
    for pair in times.windows(2).skip(2) {
        assert_eq!(pair[1] - pair[0], 1000, "{times:?}");
    }
}

#[test]
fn after_a_pause_each_target_is_probed_once() {
    let mut simulation = Simulation::new(limits(100, 50), |_| 5);
    simulation.schedule.add(0, &(0..20).map(|id| planned(id, id, 1000)).collect::<Vec<_>>());
    simulation.run_until(3000);
    let before = simulation.starts.len();
    // The machine was suspended for a minute.
    simulation.now_ms = 63_000;
    simulation.run_until(63_000);
    assert_eq!(simulation.starts.len() - before, 20);
}

#[test]
fn a_removed_target_is_gone_whatever_it_was_doing() {
    let mut schedule = Schedule::new(limits(2, 1));
    schedule.add(0, &[planned(0, 0, 1000), planned(1, 0, 1000), planned(2, 1, 1000)]);
    let running = schedule.start_next(10).unwrap();
    assert_eq!(running.id.0, 0);
    assert_eq!(schedule.start_next(10).unwrap().id.0, 2, "target 1 waits for its address");
    for id in 0..3 {
        schedule.remove(TargetId(id));
    }
    assert_eq!((schedule.in_flight(), schedule.addresses()), (0, 0));
    assert!(!schedule.finish(20, running.id, running.generation), "the probe of a target that has gone");
    schedule.add(30, &[planned(0, 5, 1000)]);
    let again = schedule.start_next(30).unwrap();
    assert!(!schedule.finish(40, running.id, running.generation), "an earlier tenant's probe");
    assert_eq!(schedule.in_flight(), 1);
    assert!(schedule.finish(40, again.id, again.generation));
    assert!(!schedule.finish(40, again.id, again.generation), "twice");
    assert_eq!(schedule.start_next(9000).map(|s| s.id.0), Some(0), "and nothing of the others is left");
    assert_eq!(schedule.start_next(9000), None);
}

/// Random targets come and go, random probes end; a model keeps count.
#[test]
fn random_histories() {
    let mut random = Random::seeded();
    for _ in 0..50 {
        let cap = 1 + random.below(20) as usize;
        let rate = 20 + random.below(80) as u32;
        let mut schedule = Schedule::new(limits(cap, rate));
        let mut present: HashSet<u32> = HashSet::new();
        let mut running: Vec<Start> = Vec::new();
        let mut last_start: [Option<u64>; 7] = [None; 7];
        let mut now_ms = 0;
        for _ in 0..3000 {
            match random.below(10) {
                choice @ 0..2 => {
                    let id = random.below(40) as u32;
                    running.retain(|s| s.id.0 != id);
                    present.remove(&id);
                    if !present.iter().any(|other| other % 7 == id % 7) {
                        // An address without targets is forgotten, and with it when it was probed last.
                        last_start[id as usize % 7] = None;
                    }
                    if choice == 0 {
                        schedule.add(now_ms, &[planned(id, id % 7, 100 + random.below(2000) as u32)]);
                        present.insert(id);
                    } else {
                        schedule.remove(TargetId(id));
                    }
                }
                2..6 if !running.is_empty() => {
                    let ended = running.swap_remove(random.below(running.len() as u64) as usize);
                    assert!(schedule.finish(now_ms, ended.id, ended.generation));
                }
                _ => now_ms += random.below(50),
            }
            while let Some(start) = schedule.start_next(now_ms) {
                assert!(present.contains(&start.id.0), "{start:?} is no target");
                assert!(!running.iter().any(|s| s.id == start.id), "{start:?} runs already");
                let last = last_start[start.id.0 as usize % 7].replace(now_ms);
                let apart_ms = u64::from(1000 / rate);
                assert!(
                    last.is_none_or(|at_ms| now_ms - at_ms >= apart_ms),
                    "{start:?} after {last:?} at {now_ms}"
                );
                running.push(start);
            }
            assert_eq!(schedule.in_flight(), running.len());
            assert!(running.len() <= cap);
            // A target that runs may be overdue already; then its end is what wakes.
            if running.len() < cap && running.len() < present.len() {
                assert!(schedule.wake_at().is_some(), "a target waits, but nothing will wake");
            }
        }
    }
}
