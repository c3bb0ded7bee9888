//! Waits between tries: twice as long each time, of which a random part is taken ("full jitter"), so that many clients of a server that comes
//! back do not come all at once.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// No wait is shorter: a random number near 0 is no wait at all.
const SHORTEST: Duration = Duration::from_millis(100);

/// The next wait.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.tries.min(6)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        most.mul_f64(fraction()).max(SHORTEST)
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Between 0 and 1; 1 where the system has no random numbers.
fn fraction() -> f64 {
    let mut octets = [0; 4];
    match SystemRandom::new().fill(&mut octets) {
        Ok(()) => f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        for most in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let wait = backoff.wait();
            assert!(wait >= SHORTEST && wait <= Duration::from_secs(most), "{wait:?} of {most} s");
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
