//! What the keeper counts, for the metrics page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::dnssec::sign::SignatureFigures;

/// Upper bounds of the buckets of [`Durations`], in seconds.
#[rustfmt::skip]
pub const BUCKETS_S: [f64; 14] =
    [0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 10.0];

/// The steps of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What the owners concerned should serve. They are signed and encoded by the same threads, and put into the new image meanwhile: that
    /// counts here.
    Select,
    /// Signatures, and records in their wire form.
    Sign,
    /// The new image of the zone.
    Compile,
    /// The swap of the snapshot, all zones in one.
    Publish,
}

impl Stage {
    /// Every one, with its label.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Select, "select"),
        (Self::Sign, "sign"),
        (Self::Compile, "compile"),
        (Self::Publish, "publish"),
    ];
}

/// How long one transaction took, by stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    /// Of all zones together; [`Stage::Select`] is what is left of it.
    pub(super) whole: Duration,
    pub(super) sign: Duration,
    pub(super) compile: Duration,
    pub(super) publish: Duration,
}

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; BUCKETS_S.len()],
    above: AtomicU64,
    sum_ns: AtomicU64,
}

impl Durations {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS_S.iter().position(|bound| seconds <= *bound);
        KeeperFigures::add(bucket.map_or(&self.above, |bucket| &self.buckets[bucket]), 1);
        KeeperFigures::add(&self.sum_ns, took.as_nanos() as u64);
    }

    /// Each bound with the observations of its bucket alone, those above all, and the sum in seconds.
    pub fn parts(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let buckets = BUCKETS_S.into_iter().zip(self.buckets.iter().map(load)).collect();
        (buckets, load(&self.above), load(&self.sum_ns) as f64 / 1e9)
    }
}

/// Figures that the keeper counts up.
#[derive(Debug, Default)]
pub struct KeeperFigures {
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Transactions that failed.
    pub failures: AtomicU64,
    /// Owners changed by verdicts.
    pub flips: AtomicU64,
    /// Owners changed by amendments.
    pub amended: AtomicU64,
    /// RRsets signed, and signed before.
    pub signatures: Arc<SignatureFigures>,
    /// How long transactions took.
    pub stages: [Durations; Stage::ALL.len()],
    /// Reloads without an error.
    pub reloads_good: AtomicU64,
    /// Reloads with an error.
    pub reloads_bad: AtomicU64,
    /// Unix seconds of the last one without an error; 0 before the first.
    pub reload_good_s: AtomicU64,
    /// How many with an error have followed it.
    pub reloads_bad_since: AtomicU64,
}

impl KeeperFigures {
    pub(super) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a transaction that was published.
    pub(super) fn committed(&self, timing: Timing) {
        let Timing { whole, sign, compile, publish } = timing;
        Self::add(&self.commits, 1);
        let select = whole.saturating_sub(sign + compile);
        for (stage, took) in self.stages.iter().zip([select, sign, compile, publish]) {
            stage.observe(took);
        }
    }

    /// Counts a reload that ended at `now_s`.
    pub(super) fn reloaded(&self, is_good: bool, now_s: u32) {
        if is_good {
            Self::add(&self.reloads_good, 1);
            self.reload_good_s.store(now_s.into(), Ordering::Relaxed);
            self.reloads_bad_since.store(0, Ordering::Relaxed);
        } else {
            Self::add(&self.reloads_bad, 1);
            Self::add(&self.reloads_bad_since, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_share_the_time_of_a_transaction() {
        let figures = KeeperFigures::default();
        let us = Duration::from_micros;
        figures.committed(Timing { whole: us(100), sign: us(60), compile: us(30), publish: us(20) });
        let sums: Vec<f64> = figures.stages.iter().map(|stage| stage.parts().2).collect();
        assert_eq!(sums, [0.00001, 0.00006, 0.00003, 0.00002]);
        let (buckets, above, _) = figures.stages[1].parts();
        assert_eq!((buckets[2], above), ((0.0001, 1), 0));
    }

    #[test]
    fn the_last_good_reload_is_known_after_a_bad_one() {
        let figures = KeeperFigures::default();
        for (is_good, at) in [(true, 5), (false, 6), (false, 7)] {
            figures.reloaded(is_good, at);
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((load(&figures.reload_good_s), load(&figures.reloads_bad_since)), (5, 2));
        figures.reloaded(true, 8);
        assert_eq!((load(&figures.reload_good_s), load(&figures.reloads_bad_since)), (8, 0));
    }
}
