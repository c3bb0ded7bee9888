//! The last probes of a target in a few octets, for the picture that people are shown. Verdicts rest on none of it.

use super::verdict::Evidence;
use crate::model::insight::{ATTEMPTS, Attempt};

const NOTHING: u8 = 0;
const UNSAID: u8 = 254;
const BAD: u8 = 255;
/// Steps to a doubling: half a step is 4.4 %.
const STEPS: f64 = 8.0;

/// The last [`ATTEMPTS`] probes, one octet each: a million targets would take 41 MB, and as many pairs of time and outcome sixteen times that.
#[derive(Clone, Debug)]
pub struct Trail {
    ring: [u8; ATTEMPTS],
    next: u8,
}

impl Default for Trail {
    fn default() -> Self {
        Self { ring: [NOTHING; ATTEMPTS], next: 0 }
    }
}

impl Trail {
    /// Adds a probe by what it says of the target, and how long it took.
    pub fn note(&mut self, evidence: Evidence, took_us: u64) {
        self.push(match evidence {
            Evidence::Good => Attempt::Good { took_us },
            Evidence::Bad => Attempt::Bad,
            Evidence::None => Attempt::Unsaid,
        });
    }

    fn push(&mut self, attempt: Attempt) {
        if let Some(place) = self.ring.get_mut(usize::from(self.next)) {
            *place = code(attempt);
        }
        self.next = (self.next + 1) % ATTEMPTS as u8;
    }

    /// Every probe that is kept, oldest first.
    pub fn attempts(&self) -> impl Iterator<Item = Attempt> + '_ {
        let (newer, older) = self.ring.split_at(usize::from(self.next).min(ATTEMPTS));
        older.iter().chain(newer).filter_map(|&code| attempt(code))
    }
}

/// A success by the logarithm of its time: 1 to 253 stand for 1 µs to 50 minutes.
fn code(attempt: Attempt) -> u8 {
    match attempt {
        Attempt::Good { took_us } => {
            let step = (took_us.max(1) as f64).log2() * STEPS;
            // Between 1 and 253, so that nothing is cut off.
            (1.0 + step.round()).clamp(1.0, 253.0) as u8
        }
        Attempt::Bad => BAD,
        Attempt::Unsaid => UNSAID,
    }
}

fn attempt(code: u8) -> Option<Attempt> {
    Some(match code {
        NOTHING => return None,
        UNSAID => Attempt::Unsaid,
        BAD => Attempt::Bad,
        step => Attempt::Good { took_us: (f64::from(step - 1) / STEPS).exp2().round() as u64 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_in_order() {
        let mut trail = Trail::default();
        assert_eq!(trail.attempts().count(), 0);
        trail.note(Evidence::Bad, 7);
        trail.note(Evidence::None, 7);
        assert_eq!(trail.attempts().collect::<Vec<_>>(), [Attempt::Bad, Attempt::Unsaid]);
        for _ in 0..ATTEMPTS - 1 {
            trail.push(Attempt::Good { took_us: 1 });
        }
        let kept: Vec<Attempt> = trail.attempts().collect();
        assert_eq!((kept.len(), kept[0], kept[1]), (ATTEMPTS, Attempt::Unsaid, Attempt::Good { took_us: 1 }));
    }

    #[test]
    fn times_are_right_within_a_twentieth() {
        for took_us in [1, 5, 37, 840, 12_345, 999_999, 60_000_000] {
            let Some(Attempt::Good { took_us: kept }) = attempt(code(Attempt::Good { took_us })) else {
                panic!("{took_us}")
            };
            assert!(kept.abs_diff(took_us) * 20 <= took_us, "{took_us} is kept as {kept}");
        }
        assert!(attempt(code(Attempt::Good { took_us: u64::MAX })).unwrap().took_us().is_some());
        assert!(attempt(code(Attempt::Good { took_us: 0 })).unwrap().took_us().is_some());
    }
}
