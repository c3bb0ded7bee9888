use super::*;

/// Targets with the given number of failures needed to fall, as the ledger keeps them.
struct World {
    brake: Brake,
    standing: Vec<Standing>,
    fall: u32,
    failures: Vec<u32>,
    wants_down: Vec<bool>,
}

impl World {
    fn new(targets: usize, fall: u32, down_percent: u8, min_targets: usize) -> Self {
        let mut brake = Brake::new(BrakeLimits { down_percent, min_targets });
        brake.set_window(12_000);
        for id in 0..targets {
            brake.stands(TargetId(id as u32), Standing::Out, Standing::Sound);
        }
        Self {
            brake,
            standing: vec![Standing::Sound; targets],
            fall,
            failures: vec![0; targets],
            wants_down: vec![false; targets],
        }
    }

    fn stand(&mut self, index: usize, standing: Standing) {
        let before = std::mem::replace(&mut self.standing[index], standing);
        self.brake.stands(TargetId(index as u32), before, standing);
    }

    fn result(&mut self, now_ms: u64, index: usize, good: bool) {
        let id = TargetId(index as u32);
        if good {
            self.failures[index] = 0;
            self.wants_down[index] = false;
            self.stand(index, Standing::Sound);
        } else {
            self.failures[index] += 1;
            if self.standing[index] != Standing::Out {
                self.stand(index, Standing::Failing);
            }
            if self.failures[index] >= self.fall && self.standing[index] != Standing::Out {
                self.wants_down[index] = true;
                match self.brake.may_fall(now_ms) {
                    Decision::Fall => {
                        self.stand(index, Standing::Out);
                        self.brake.fell(now_ms, id);
                    }
                    Decision::Hold => {}
                    Decision::Engage(back) => {
                        for id in back {
                            self.stand(id.0 as usize, Standing::Failing);
                        }
                    }
                }
            }
        }
        if self.brake.tick(now_ms) {
            self.let_go(now_ms);
        }
    }

    fn let_go(&mut self, now_ms: u64) {
        for index in 0..self.standing.len() {
            if self.wants_down[index] && self.standing[index] != Standing::Out {
                self.stand(index, Standing::Out);
                self.brake.fell(now_ms, TargetId(index as u32));
            }
        }
    }

    /// One round over all targets within `span_ms`.
    fn round(&mut self, start_ms: u64, span_ms: u64, good: impl Fn(usize) -> bool) {
        let count = self.standing.len();
        for index in 0..count {
            self.result(start_ms + index as u64 * span_ms / count as u64, index, good(index));
        }
    }

    fn down(&self) -> usize {
        self.standing.iter().filter(|s| **s == Standing::Out).count()
    }
}

#[test]
fn nothing_falls_when_the_checker_is_cut_off_and_fall_gives_time_to_see_it() {
    let mut world = World::new(100, 3, 80, 10);
    for round in 0..6 {
        world.round(round * 10_000, 10_000, |_| false);
        assert_eq!(world.down(), 0, "round {round}");
    }
    assert!(world.brake.is_holding());
    assert_eq!(world.brake.engaged_total(), 1);
}

#[test]
fn with_fall_1_what_fell_comes_back() {
    let mut world = World::new(100, 1, 80, 10);
    for index in 0..80 {
        world.result(index as u64 * 100, index, false);
    }
    assert_eq!((world.down(), world.brake.is_holding()), (80, false), "80 of 100 is not more than 80 %");
    world.result(8000, 80, false);
    assert_eq!((world.down(), world.brake.is_holding()), (0, true));
}

#[test]
fn few_failures_pass() {
    let mut world = World::new(100, 1, 80, 10);
    world.round(0, 10_000, |index| index >= 70);
    assert_eq!((world.down(), world.brake.is_holding()), (70, false));
}

#[test]
fn failures_that_are_far_apart_are_not_together() {
    let mut world = World::new(20, 1, 80, 2);
    for index in 0..18 {
        world.result(index as u64 * 13_000, index, false);
    }
    assert_eq!((world.down(), world.brake.is_holding()), (18, false));
}

#[test]
fn small_sets_and_100_percent_are_never_held() {
    for (targets, percent, min) in [(9, 80, 10), (100, 100, 10)] {
        let mut world = World::new(targets, 1, percent, min);
        world.round(0, 10_000, |_| false);
        assert_eq!((world.down(), world.brake.is_holding()), (targets, false));
    }
}

#[test]
fn targets_that_were_down_before_do_not_count() {
    let mut world = World::new(100, 1, 80, 10);
    world.round(0, 10_000, |index| index >= 50);
    world.round(60_000, 10_000, |index| index >= 50);
    assert_eq!(world.down(), 50);
    // Now the other half: all that was up.
    world.round(120_000, 10_000, |_| false);
    assert_eq!((world.down(), world.brake.is_holding()), (50, true));
}

#[test]
fn lets_go_after_a_whole_calm_window() {
    let mut world = World::new(100, 3, 80, 10);
    for round in 0..4 {
        world.round(round * 10_000, 10_000, |_| false);
    }
    assert!(world.brake.is_holding());
    // The link is back, but five backends have really died meanwhile.
    world.round(40_000, 10_000, |index| index >= 5);
    assert_eq!((world.down(), world.brake.is_holding()), (0, true), "the first successes release nothing");
    world.round(50_000, 10_000, |index| index >= 5);
    assert_eq!((world.down(), world.brake.is_holding()), (5, false));
}

#[test]
fn a_relapse_starts_the_calm_window_again() {
    let mut world = World::new(100, 1, 80, 10);
    world.round(0, 10_000, |_| false);
    world.round(10_000, 10_000, |index| index >= 70);
    world.round(20_000, 1_000, |_| false);
    world.round(21_000, 1_000, |index| index >= 70);
    world.round(32_000, 500, |index| index >= 70);
    assert!(world.brake.is_holding(), "calm for 11 of 12 s");
    world.round(33_000, 2_000, |index| index >= 70);
    assert_eq!((world.down(), world.brake.is_holding()), (70, false));
}

#[test]
fn released_by_hand_it_stays_off_until_the_share_is_low() {
    let mut world = World::new(100, 1, 80, 10);
    world.round(0, 10_000, |index| index >= 90);
    assert!(world.brake.is_holding());
    assert!(world.brake.release());
    world.let_go(10_000);
    assert_eq!((world.down(), world.brake.state()), (90, BrakeState::Released));
    assert!(!world.brake.release(), "nothing is held any more");
    world.round(11_000, 1_000, |_| false);
    assert_eq!((world.down(), world.brake.is_holding()), (100, false), "what a person has accepted goes on");
    world.round(40_000, 1_000, |_| true);
    assert_eq!(world.brake.state(), BrakeState::Armed);
    world.round(80_000, 1_000, |_| false);
    assert_eq!((world.down(), world.brake.is_holding()), (0, true), "and a new event is held again");
}
