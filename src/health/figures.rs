//! Counts and distributions for the metrics page.

use super::probe::{Outcome, ProbeKind};

/// Upper bounds of the histograms' buckets, in seconds; what is above the last one counts only in the total.
pub const BUCKETS_S: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// A histogram over [`BUCKETS_S`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Observations in each bucket (not cumulative).
    pub buckets: [u64; BUCKETS_S.len()],
    /// All observations.
    pub count: u64,
    /// Their sum in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// Counts one observation, in seconds.
    pub fn observe(&mut self, value_s: f64) {
        if let Some(bucket) = BUCKETS_S.iter().position(|&bound| value_s <= bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum_s += value_s;
    }
}

/// The largest lag of late, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagPeak {
    now_ms: u64,
    before_ms: u64,
    since_ms: u64,
}

impl LagPeak {
    /// How far it looks back at least; at most it is twice as far.
    pub const PERIOD_MS: u64 = 60_000;

    /// Takes one probe's lag.
    pub fn observe(&mut self, lag_ms: u64) {
        self.now_ms = self.now_ms.max(lag_ms);
    }

    /// Lets time pass.
    pub fn rotate(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.since_ms) >= Self::PERIOD_MS {
            *self = Self { now_ms: 0, before_ms: self.now_ms, since_ms: now_ms };
        }
    }

    /// The largest lag of the last minute or two.
    pub fn value_ms(&self) -> u64 {
        self.now_ms.max(self.before_ms)
    }
}

/// How probes ended, for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeLabel {
    /// Counted for the target.
    Success,
    /// Counted against the target.
    Failure,
    /// Counted as saying nothing: our own host's trouble.
    LocalError,
}

impl OutcomeLabel {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::LocalError];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::LocalError => "local_error",
        }
    }

    /// The label of an outcome; a host that cannot be reached has been made one of the three before.
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success | Outcome::Warning(_) => Self::Success,
            Outcome::Failure(_) | Outcome::Unrouted(_) => Self::Failure,
            Outcome::HostUnreachable | Outcome::LocalError(_) => Self::LocalError,
        }
    }
}

/// What health has counted since the start, and how it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Finished probes by kind ([`ProbeKind::ALL`]) and outcome ([`OutcomeLabel::ALL`]).
    pub probes: [[u64; OutcomeLabel::ALL.len()]; ProbeKind::ALL.len()],
    /// How long probes took, by kind.
    pub duration: [Histogram; ProbeKind::ALL.len()],
    /// How late probes started.
    pub lag: Histogram,
    /// The largest of these of late.
    pub lag_peak: LagPeak,
    /// Probes running.
    pub in_flight: usize,
    /// The limit of the above.
    pub in_flight_limit: usize,
    /// Probes that had to wait for the limit of their address.
    pub rate_limited: u64,
    /// Targets probed more rarely than their interval says, because the checks of their address want more than its limit.
    pub stretched_targets: usize,
    /// The longest interval of any target as it is planned, in milliseconds.
    pub longest_interval_ms: u64,
    /// Targets by published verdict: unknown, up, down.
    pub targets: [usize; 3],
    /// Published changes to up.
    pub rises: u64,
    /// Published changes to down.
    pub falls: u64,
    /// Whether the brake holds verdicts.
    pub brake_holding: bool,
    /// Targets that are published as up only because the brake holds them.
    pub brake_held_targets: usize,
    /// How often the brake has engaged.
    pub brake_engaged_total: u64,
    /// Targets that are held down for flipping too often.
    pub damped_targets: usize,
    /// How often a target was held down for flipping too often.
    pub dampings: u64,
    /// Targets whose share of their weight still grows.
    pub slow_targets: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_of_the_last_minute_or_two() {
        let mut peak = LagPeak::default();
        peak.observe(7);
        peak.rotate(59_999);
        peak.observe(3);
        peak.rotate(60_000);
        assert_eq!(peak.value_ms(), 7);
        peak.observe(2);
        peak.rotate(119_999);
        assert_eq!(peak.value_ms(), 7);
        peak.rotate(120_000);
        assert_eq!(peak.value_ms(), 2);
        peak.rotate(180_000);
        assert_eq!(peak.value_ms(), 0);
    }

    #[test]
    fn observes_into_the_right_bucket() {
        let mut histogram = Histogram::default();
        for value in [0.0, 0.0005, 0.0006, 10.0, 11.0] {
            histogram.observe(value);
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[10]), (2, 1, 1));
        assert_eq!(histogram.count, 5);
        assert!((histogram.sum_s - 21.0011).abs() < 1e-9);
    }
}
