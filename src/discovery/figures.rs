//! What is counted of a source.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claim::ObjectKind;
use super::source::{Call, FailureKind};

/// Upper bounds of the buckets of [`Histogram`], in seconds.
pub const BUCKETS_S: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Durations by bucket.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: [u64; BUCKETS_S.len()],
    above: u64,
    sum_s: f64,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.sum_s += seconds;
        match BUCKETS_S.iter().position(|bound| seconds <= *bound) {
            Some(at) => self.buckets[at] += 1,
            None => self.above += 1,
        }
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.above
    }

    /// Each bound with the observations of its bucket alone, those above all, and the sum in seconds.
    pub fn parts(&self) -> (Vec<(f64, u64)>, u64, f64) {
        (BUCKETS_S.into_iter().zip(self.buckets).collect(), self.above, self.sum_s)
    }
}

/// What is counted of one source since the start.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// API requests by endpoint, method and status (0: no response). Few, since endpoints are fixed words.
    pub calls: BTreeMap<(&'static str, &'static str, u16), Histogram>,
    /// Failed lists and watches by kind of object (nothing: the source as a whole) and kind of failure.
    pub failures: BTreeMap<(Option<ObjectKind>, FailureKind), u64>,
    /// Complete lists by kind of object, where kinds are listed one by one.
    pub lists: BTreeMap<ObjectKind, Histogram>,
    /// Complete rounds that were ordered.
    pub syncs: Histogram,
}

impl Figures {
    /// Counts a request.
    pub fn call(&mut self, call: &Call) {
        self.calls.entry((call.endpoint, call.method, call.status)).or_default().observe(call.took);
    }

    /// API requests in all, and those that were answered with success.
    pub fn requests(&self) -> (u64, u64) {
        self.calls.iter().fold((0, 0), |(all, good), ((_, _, status), took)| {
            let count = took.count();
            (all + count, good + if (200..400).contains(status) { count } else { 0 })
        })
    }

    /// Counts a failure.
    pub fn failure(&mut self, kind: Option<ObjectKind>, failure: FailureKind) {
        *self.failures.entry((kind, failure)).or_default() += 1;
    }

    /// Counts a complete list.
    pub fn list(&mut self, kind: ObjectKind, took: Duration) {
        self.lists.entry(kind).or_default().observe(took);
    }

    /// Counts a round.
    pub fn sync(&mut self, took: Duration) {
        self.syncs.observe(took);
    }
}
