//! How bulk work lets others run.

use std::time::{Duration, Instant};

/// Gives way to other threads now and then, in work that nobody waits for. The scheduler would let a thread that has begun a time
/// slice finish it, some milliseconds, before one that a verdict or a query has just woken, whatever their priorities.
#[derive(Debug)]
pub struct Breather {
    owners: u32,
    breathed: Instant,
}

impl Default for Breather {
    fn default() -> Self {
        Self::new()
    }
}

impl Breather {
    /// Time between two breaths.
    const EVERY: Duration = Duration::from_micros(200);
    /// Owners between two looks at the clock.
    const OWNERS: u32 = 4;

    /// One that has just breathed.
    pub fn new() -> Self {
        Self { owners: 0, breathed: Instant::now() }
    }

    /// To be called once an owner.
    pub fn breathe(&mut self) {
        self.owners += 1;
        if self.owners.is_multiple_of(Self::OWNERS) && self.breathed.elapsed() >= Self::EVERY {
            std::thread::yield_now();
            self.breathed = Instant::now();
        }
    }
}
