//! From results to a verdict: rise and fall.
//!
//! Pure: the caller says what happened, in the order in which it happened. No clock, no address, no I/O.

use crate::model::target::Verdict;

/// What one probe's result says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The target works.
    Good,
    /// The target does not work.
    Bad,
    /// Nothing: the probe failed on our own host (no route, no file descriptors).
    None,
}

/// How many results in a row change a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes in a row that turn down into up; 0 counts as 1.
    pub rise: u32,
    /// Failures in a row that turn up into down; 0 counts as 1.
    pub fall: u32,
    /// Failures in a row after which the first verdict is down; 0 counts as 1.
    pub first: u32,
}

/// The hysteresis of one target.
///
/// - The first result that says anything is the first verdict, whatever rise and fall are (interface.md, "Start-up"); a target that has to
///   be taken for up until it is known to be down has another [`Thresholds::first`].
/// - From then on up turns into down after `fall` failures in a row, and down into up after `rise` successes in a row.
/// - A local error changes nothing: neither the verdict nor a run of failures or successes that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hysteresis {
    verdict: Verdict,
    successes: u32,
    failures: u32,
}

impl Hysteresis {
    /// Starts without a verdict ([`Verdict::Unknown`]), or with one remembered from an earlier run.
    pub fn new(verdict: Verdict) -> Self {
        Self { verdict, successes: 0, failures: 0 }
    }

    /// The verdict as it stands.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Successes since the last failure.
    pub fn successes(&self) -> u32 {
        self.successes
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes one result; returns the new verdict if it changed.
    pub fn record(&mut self, evidence: Evidence, thresholds: Thresholds) -> Option<Verdict> {
        match evidence {
            Evidence::None => return None,
            Evidence::Good => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
            }
            Evidence::Bad => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
            }
        }
        let verdict = match self.verdict {
            Verdict::Unknown if self.failures >= thresholds.first.max(1) => Verdict::Down,
            Verdict::Unknown if self.failures == 0 => Verdict::Up,
            Verdict::Up if self.failures >= thresholds.fall.max(1) => Verdict::Down,
            Verdict::Down if self.successes >= thresholds.rise.max(1) => Verdict::Up,
            unchanged => unchanged,
        };
        let changed = verdict != self.verdict;
        self.verdict = verdict;
        changed.then_some(verdict)
    }
}

/// How many steps a slow start has: each is a change of the answers that are picked by weight.
const SLOW_START_STEPS: u64 = 10;

/// The share of its weight, in percent, that a target has so long after its recovery when it starts slowly: a tenth at first, then a tenth
/// more with each of ten equal times; the whole from `slow_start_ms` on.
pub fn share_after(since_ms: u64, slow_start_ms: u32) -> u8 {
    let steps = since_ms.saturating_mul(SLOW_START_STEPS) / u64::from(slow_start_ms.max(1));
    // At most a hundred.
    ((steps + 1).min(SLOW_START_STEPS) * (100 / SLOW_START_STEPS)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_to_the_whole() {
        let cases = [
            (0, 10),
            (11_999, 10),
            (12_000, 20),
            (60_000, 60),
            (107_999, 90),
            (108_000, 100),
            (u64::MAX, 100),
        ];
        for (since_ms, want) in cases {
            assert_eq!(share_after(since_ms, 120_000), want, "{since_ms}");
        }
        assert_eq!(share_after(0, 0), 10);
    }

    /// Results as letters (`+` good, `-` bad, `e` local error), verdicts after each as `u`, `d` and `?`.
    #[track_caller]
    fn check(start: Verdict, rise: u32, fall: u32, results: &str, expected: &str) {
        let mut hysteresis = Hysteresis::new(start);
        let mut seen = String::new();
        for letter in results.chars() {
            let evidence = match letter {
                '+' => Evidence::Good,
                '-' => Evidence::Bad,
                _ => Evidence::None,
            };
            let before = hysteresis.verdict();
            let change = hysteresis.record(evidence, Thresholds { rise, fall, first: 1 });
            assert_eq!(
                change.is_some(),
                before != hysteresis.verdict(),
                "change told exactly when there is one"
            );
            seen.push(match hysteresis.verdict() {
                Verdict::Up => 'u',
                Verdict::Down => 'd',
                Verdict::Unknown => '?',
            });
        }
        assert_eq!(seen, expected, "rise {rise} fall {fall} of {results}");
    }

    #[test]
    fn rises_and_falls() {
        use Verdict::{Down, Unknown, Up};
        check(Unknown, 2, 3, "+", "u");
        check(Unknown, 2, 3, "-", "d");
        check(Unknown, 2, 3, "ee-", "??d");
        check(Unknown, 2, 3, "+---++", "uuuddu");
        check(Unknown, 2, 3, "+--+--+---", "uuuuuuuuud");
        check(Unknown, 2, 3, "-+-+-++", "ddddddu");
        check(Unknown, 1, 1, "+-+-", "udud");
        check(Up, 2, 3, "--e-", "uuud");
        check(Up, 2, 3, "eeee", "uuuu");
        check(Down, 2, 3, "+e+", "ddu");
        check(Down, 0, 0, "+-", "ud");
    }

    #[test]
    fn a_patient_first_verdict() {
        let thresholds = Thresholds { rise: 2, fall: 3, first: 3 };
        for (results, expected) in [("--", Verdict::Unknown), ("--e-", Verdict::Down), ("--+", Verdict::Up)] {
            let mut hysteresis = Hysteresis::new(Verdict::Unknown);
            for letter in results.chars() {
                let evidence = match letter {
                    '+' => Evidence::Good,
                    '-' => Evidence::Bad,
                    _ => Evidence::None,
                };
                hysteresis.record(evidence, thresholds);
            }
            assert_eq!(hysteresis.verdict(), expected, "{results}");
        }
    }
}
