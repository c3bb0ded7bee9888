//! Flap damping: a target that changes its mind too often is held down, longer each time.
//!
//! Pure, as [`super::verdict`] is. Times are milliseconds on a clock that never goes back.

use std::collections::VecDeque;

use crate::model::target::Damping;

/// What is remembered of one target's flips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damper {
    /// When it flipped, within the rule's time; at most one more than the rule allows.
    flips: VecDeque<u64>,
    hold: Hold,
    /// How often the hold has been doubled; starts anew after a calm time.
    doublings: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    Never,
    Until {
        since_ms: u64,
        until_ms: u64,
    },
    Over {
        lasted_ms: u64,
        ended_ms: u64,
    },
}

impl Damper {
    /// Takes a flip of the hysteresis. Returns for how many milliseconds the target is held down if that begins here.
    pub fn flipped(&mut self, now_ms: u64, rule: Damping) -> Option<u64> {
        let since_ms = now_ms.saturating_sub(rule.within_ms.into());
        while self.flips.front().is_some_and(|&at_ms| at_ms < since_ms) || self.is_too_much(rule) {
            self.flips.pop_front();
        }
        self.flips.push_back(now_ms);
        if self.held_until_ms().is_some() || !self.is_too_much(rule) {
            return None;
        }
        if let Hold::Over { lasted_ms, ended_ms } = self.hold
            && now_ms.saturating_sub(ended_ms) < lasted_ms.max(rule.within_ms.into())
        {
            self.doublings = self.doublings.saturating_add(1);
        } else {
            self.doublings = 0;
        }
        Some(self.hold_from(now_ms, rule))
    }

    /// Lets time pass. A hold in which the target kept its mind ends with its time; another one goes on for twice as long. Returns true if
    /// it has ended.
    pub fn tick(&mut self, now_ms: u64, rule: Damping) -> bool {
        let Hold::Until { since_ms, until_ms } = self.hold else { return false };
        if now_ms < until_ms {
            return false;
        }
        if !self.flips.is_empty() {
            self.doublings = self.doublings.saturating_add(1);
            self.hold_from(now_ms, rule);
            return false;
        }
        self.hold = Hold::Over { lasted_ms: until_ms - since_ms, ended_ms: now_ms };
        true
    }

    /// When the hold ends that is on; it may be prolonged then.
    pub fn held_until_ms(&self) -> Option<u64> {
        match self.hold {
            Hold::Until { until_ms, .. } => Some(until_ms),
            _ => None,
        }
    }

    fn hold_from(&mut self, now_ms: u64, rule: Damping) -> u64 {
        let doubled = u64::from(rule.hold_ms) << self.doublings.min(31);
        let length_ms = doubled.clamp(1, u64::from(rule.hold_max_ms).max(1));
        self.hold = Hold::Until { since_ms: now_ms, until_ms: now_ms + length_ms };
        // From here on those count that come while it is held.
        self.flips.clear();
        length_ms
    }

    fn is_too_much(&self, rule: Damping) -> bool {
        self.flips.len() > rule.flips as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than three flips within a minute hold for ten seconds, at most 35.
    const RULE: Damping = Damping { flips: 3, within_ms: 60_000, hold_ms: 10_000, hold_max_ms: 35_000 };

    /// Flips at each of these seconds, with ticks every second: the seconds at which it is held, as ranges.
    #[track_caller]
    fn check(flips_s: &[u64], until_s: u64, want: &[(u64, u64)]) {
        let mut damper = Damper::default();
        let mut held: Vec<(u64, u64)> = Vec::new();
        for second in 0..until_s {
            let now_ms = second * 1000;
            damper.tick(now_ms, RULE);
            for _ in flips_s.iter().filter(|&&at| at == second) {
                damper.flipped(now_ms, RULE);
            }
            if damper.held_until_ms().is_some() {
                match held.last_mut() {
                    Some((_, to)) if *to == second => *to = second + 1,
                    _ => held.push((second, second + 1)),
                }
            }
            assert!(damper.flips.len() <= 4, "what is remembered is bounded");
        }
        assert_eq!(held, want, "flips at {flips_s:?}");
    }

    #[test]
    fn holds_who_flips_too_often() {
        check(&[0, 10, 20], 100, &[]);
        check(&[0, 10, 20, 81], 100, &[]);
        check(&[0, 10, 20, 30], 100, &[(30, 40)]);
        check(&[0, 0, 0, 0], 100, &[(0, 10)]);
        // It flips while it is held: on for twenty seconds, in which it does not.
        check(&[0, 10, 20, 30, 39], 100, &[(30, 60)]);
        check(&[0, 10, 20, 30, 31, 41, 61, 96], 200, &[(30, 165)]);
        // Three flips after a hold are tolerated as three before it were.
        check(&[0, 1, 2, 3, 20, 30, 40], 100, &[(3, 13)]);
    }

    /// The lengths in seconds of the holds that flips at these seconds lead to, prolonged ones told anew.
    fn lengths(flips_s: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let flips_s: Vec<u64> = flips_s.into_iter().collect();
        let (mut damper, mut lengths) = (Damper::default(), Vec::new());
        for second in 0..=*flips_s.last().unwrap() {
            let before = damper.held_until_ms();
            damper.tick(second * 1000, RULE);
            if flips_s.contains(&second) {
                damper.flipped(second * 1000, RULE);
            }
            let new = damper.held_until_ms().filter(|until_ms| before != Some(*until_ms));
            lengths.extend(new.map(|until_ms| until_ms / 1000 - second));
        }
        lengths
    }

    #[test]
    fn the_hold_grows_up_to_its_bound_while_flipping_goes_on() {
        let lengths = lengths(0..600);
        assert_eq!(lengths[..4], [10, 20, 35, 35]);
        assert!(lengths.len() > 10 && lengths[3..].iter().all(|&s| s == 35), "{lengths:?}");
    }

    #[test]
    fn the_next_hold_is_longer_unless_there_was_a_calm_time() {
        let bursts = |second: u64| (0..4).chain(second..second + 4);
        assert_eq!(lengths(bursts(69)), [10, 20], "59 s after the end of the first one");
        assert_eq!(lengths(bursts(70)), [10, 10], "a minute after it");
    }
}
