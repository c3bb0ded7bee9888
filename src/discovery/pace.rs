//! When a source that has failed is tried again: back-off with full jitter, and a breaker. Pure: time and random numbers are passed in.

/// The first wait after a failure is within this.
const FIRST_MS: u64 = 1000;
/// No wait is longer.
const LONGEST_MS: u64 = 60_000;
/// Failures in a row that open the breaker.
const OPEN_AFTER: u32 = 5;
/// While the breaker is open, a source is tried so often.
const OPEN_MS: u64 = 60_000;

/// How often a source has failed in a row, and when it is tried next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    failures: u32,
    /// Since when it fails.
    since: Option<u64>,
}

impl Pace {
    /// It works.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It has failed at `now`. Returns how many milliseconds to wait: anything up to a bound that doubles each time, so that many who lost the
    /// same server do not come back together; `random` is uniformly distributed.
    pub fn failed(&mut self, now: u64, random: u64) -> u64 {
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        if self.is_open() {
            // One try a minute, at a different place of it for everyone.
            return OPEN_MS / 2 + random % (OPEN_MS / 2 + 1);
        }
        let bound = (FIRST_MS << self.failures.min(16)).min(LONGEST_MS);
        // Full jitter, but for a tenth of a second that keeps it from being a loop.
        (random % (bound + 1)).max(100)
    }

    /// Whether the breaker is open: it has failed so often that it is only tried now and then.
    pub fn is_open(&self) -> bool {
        self.failures >= OPEN_AFTER
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Since when it fails, by the clock that was passed in.
    pub fn failing_since(&self) -> Option<u64> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_breaker() {
        let (mut least, mut most) = (Pace::default(), Pace::default());
        let waits = |pace: &mut Pace, random| (0..6).map(|n| pace.failed(n, random)).collect::<Vec<_>>();
        assert_eq!(waits(&mut least, 0), [100, 100, 100, 100, 30_000, 30_000]);
        // Each bound divides what is one less than its multiple into itself.
        let longest: Vec<u64> = (0..6)
            .map(|n| {
                let bound = [2000, 4000, 8000, 16_000, 30_000, 30_000][n as usize];
                most.failed(n, bound)
            })
            .collect();
        assert_eq!(longest, [2000, 4000, 8000, 16_000, 60_000, 60_000]);
        assert!(most.is_open());
        assert_eq!((most.failures(), most.failing_since()), (6, Some(0)));
        most.succeeded();
        assert_eq!(most, Pace::default());
    }

    #[test]
    fn a_failure_that_never_ends_does_not_overflow() {
        let mut pace = Pace { failures: u32::MAX, since: Some(1) };
        assert!(pace.failed(5, u64::MAX) <= LONGEST_MS);
    }
}
