//! A fair share between zones when a worker is asked more than it can answer.
//!
//! Beyond its capacity a server loses queries in the kernel's queue, of whatever zone: a flood of random names in one zone takes the
//! others' answers with it. But most of a query's cost is that of sending the response. A worker that gives up some of a
//! flood's responses empties its queue faster than it could answer it, and then loses fewer of the queries that it does answer.
//!
//! What may be given up is NXDOMAIN, zone by zone, and errors about names in no zone at all; nothing that exists. How much is found by
//! control: while receive calls come back full, the most that one zone may have of such responses in a window of arrivals shrinks, and
//! with every call that empties the queue it grows. So at most what must be is given up, the zones below that level lose nothing, and those
//! above it are cut to the same height (max-min fairness). Where nobody else asks, nothing is given up: it would serve nobody.

/// Arrivals in a window: some milliseconds of overload.
const WINDOW: u32 = 1024;
/// What a zone is left in each window: 1.5 % of what the worker takes.
const LEAST: u32 = WINDOW / 64;
/// Windows for which others are remembered: about a second of overload.
const MEMORY: u32 = 512;
/// Zones counted apart. More of them share counts, which can only make the level be reached earlier by zones that collide.
const ZONES: usize = 256;

/// What was received for one zone in the present window.
#[derive(Clone, Copy, Default)]
struct Taken {
    all: u16,
    /// Those whose responses may be given up.
    idle: u16,
}

/// The share of each zone in one worker's answers. Nothing is counted while the worker keeps up.
pub(super) struct FairShare {
    /// Whether the last receive call came back full, so that more is waiting.
    behind: bool,
    /// Arrivals counted in this window.
    arrived: u32,
    taken: Box<[Taken; ZONES]>,
    /// Most responses of a zone that may be given up that are sent in a window.
    level: u32,
    /// Windows until zones beside the heaviest are forgotten.
    others: u32,
}

impl FairShare {
    pub(super) fn new() -> Self {
        Self {
            behind: false,
            arrived: 0,
            taken: Box::new([Taken::default(); ZONES]),
            level: WINDOW,
            others: 0,
        }
    }

    /// A receive call has brought datagrams; `is_full` if it brought as many as it could.
    #[inline]
    pub(super) fn received(&mut self, is_full: bool) {
        self.behind = is_full;
        if !is_full {
            self.level = (self.level + self.level / 8 + 1).min(WINDOW);
        } else if self.arrived >= WINDOW {
            self.end_window();
        }
    }

    /// Whether to send a response about `zone`, which `may_go` if that helps the others.
    #[inline]
    pub(super) fn admits(&mut self, zone: Option<u32>, may_go: bool) -> bool {
        if !self.behind {
            return true;
        }
        self.arrived += 1;
        let taken = &mut self.taken[zone.map_or(0, |zone| 1 + zone as usize % (ZONES - 1))];
        taken.all = taken.all.saturating_add(1);
        if may_go {
            taken.idle = taken.idle.saturating_add(1);
        }
        !may_go || u32::from(taken.idle) <= self.level
    }

    /// A window of nothing but full calls is over.
    fn end_window(&mut self) {
        let heaviest =
            self.taken.iter().max_by_key(|taken| (taken.idle, taken.all)).copied().unwrap_or_default();
        if self.arrived > u32::from(heaviest.all) {
            self.others = MEMORY;
        } else {
            self.others = self.others.saturating_sub(1);
        }
        self.level = if self.others > 0 {
            (self.level.min(u32::from(heaviest.idle)) * 7 / 8).max(LEAST)
        } else {
            WINDOW
        };
        self.arrived = 0;
        *self.taken = [Taken::default(); ZONES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: u32 = 64;

    /// Datagrams that the kernel keeps.
    const QUEUE: usize = 1300;
    /// Units of time that one datagram takes to be sent, one being what it takes to be received and looked up.
    const SENDING: f64 = 3.0;

    /// A worker with a queue, for so long, with these rates of arrival by zone; zone 0 asks for what exists, all others for random names.
    /// Gives the share of each zone's queries that was answered.
    fn run(rates: &[f64], time: f64, is_fair: bool) -> Vec<f64> {
        let (mut share, mut queue, mut clock) = (FairShare::new(), std::collections::VecDeque::new(), 0.0);
        let (mut asked, mut answered) = (vec![0.0; rates.len()], vec![0.0; rates.len()]);
        // No two zones in step.
        let mut next: Vec<f64> =
            rates.iter().enumerate().map(|(i, rate)| (1.0 + i as f64 / 7.0) / rate).collect();
        while clock < time {
            loop {
                let zone = (0..rates.len()).min_by(|a, b| next[*a].total_cmp(&next[*b])).unwrap();
                if next[zone] > clock {
                    break;
                }
                next[zone] += 1.0 / rates[zone];
                asked[zone] += 1.0;
                if queue.len() < QUEUE {
                    queue.push_back(zone);
                }
            }
            let batch: Vec<usize> = (0..BATCH).map_while(|_| queue.pop_front()).collect();
            share.received(is_fair && batch.len() as u32 == BATCH);
            clock += 1.0;
            for zone in batch {
                clock += 1.0;
                if share.admits(Some(zone as u32), zone != 0) {
                    clock += SENDING;
                    answered[zone] += 1.0;
                }
            }
        }
        asked.iter().zip(answered).map(|(asked, answered)| answered / asked).collect()
    }

    /// Rates as multiples of what a worker can answer, and the least share of each zone's answers in percent.
    fn check(rates: &[f64], least: &[f64]) {
        let capacity = 1.0 / (1.0 + SENDING);
        let rates: Vec<f64> = rates.iter().map(|rate| rate * capacity).collect();
        let shares = run(&rates, 400_000.0, true);
        for (zone, (share, least)) in shares.iter().zip(least).enumerate() {
            assert!(share * 100.0 >= *least, "zone {zone} of {rates:?}: {shares:?}");
        }
    }

    #[test]
    fn a_flood_in_one_zone_leaves_the_others_their_answers() {
        let unfair = run(&[0.05 / 4.0, 3.0 / 4.0], 400_000.0, false);
        assert!(unfair[0] < 0.45, "{unfair:?}");
        check(&[0.05, 3.0], &[90.0, 1.0]);
        check(&[0.2, 2.0], &[90.0, 5.0]);
        // Two floods are cut alike, and a zone below the level keeps its NXDOMAINs.
        check(&[0.1, 1.2, 1.2, 0.02], &[90.0, 5.0, 5.0, 75.0]);
    }

    #[test]
    fn nothing_is_given_up_without_need() {
        check(&[0.3, 0.5], &[100.0, 100.0]);
        // Nobody else is there: everything that can be answered is.
        let shares = run(&[1e-9, 3.0 / 4.0], 400_000.0, true);
        assert!(shares[1] > 0.3, "{shares:?}");
    }

    #[test]
    fn a_worker_that_has_caught_up_answers_everything_at_once() {
        let mut share = FairShare::new();
        for call in 0..1000 {
            share.received(true);
            (0..BATCH).for_each(|n| {
                share.admits(Some(u32::from((call + n).is_multiple_of(9))), true);
            });
        }
        assert_eq!(share.level, LEAST);
        assert!(!(0..BATCH).all(|_| share.admits(Some(1), true)));
        assert!(share.admits(Some(1), false));
        share.received(false);
        assert!((0..1000).all(|_| share.admits(Some(1), true)));
        (0..40).for_each(|_| share.received(false));
        assert_eq!(share.level, WINDOW);
    }

    #[test]
    fn a_zone_is_no_other_zone_to_itself() {
        let mut share = FairShare::new();
        for may_go in [false, true, false, true] {
            for _ in 0..100 {
                share.received(true);
                assert!((0..BATCH).all(|_| share.admits(Some(1), may_go)));
            }
        }
        assert_eq!((share.level, share.others), (WINDOW, 0));
    }

    #[test]
    fn queries_for_no_zone_are_one_more_zone() {
        let mut share = FairShare::new();
        share.received(true);
        share.level = 1;
        assert!(share.admits(None, true));
        assert!(!share.admits(None, true));
        assert!(share.admits(Some(0), true));
    }
}
