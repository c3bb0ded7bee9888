//! How many lines about one thing the log gets: others decide how often verdicts and records change, and a log that is read slowly must not
//! delay what is done. Pure.

/// See the module's documentation.
#[derive(Debug)]
pub struct Lines {
    /// Lines in a second; what is more is counted.
    a_second: usize,
    second: u64,
    used: usize,
    left_out: u64,
}

impl Lines {
    /// At most so many in a second.
    pub fn new(a_second: usize) -> Self {
        Self { a_second, second: 0, used: 0, left_out: 0 }
    }

    /// How many of the lines that are wanted may be written now.
    pub fn grant(&mut self, now_ms: u64, wanted: usize) -> usize {
        if now_ms / 1000 != self.second {
            (self.second, self.used) = (now_ms / 1000, 0);
        }
        let granted = wanted.min(self.a_second - self.used);
        self.used += granted;
        self.left_out += (wanted - granted) as u64;
        granted
    }

    /// How many have been left out, once the second in which that happened is over; they are not told again.
    pub fn left_out(&mut self, now_ms: u64) -> Option<u64> {
        if self.left_out == 0 || now_ms / 1000 == self.second {
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_a_second_and_then_a_count() {
        let mut lines = Lines::new(100);
        assert_eq!([(0, 60), (10, 60), (999, 5)].map(|(ms, wanted)| lines.grant(ms, wanted)), [60, 40, 0]);
        assert_eq!(lines.left_out(999), None);
        assert_eq!(lines.left_out(1000), Some(25));
        assert_eq!(lines.left_out(1000), None);
        assert_eq!(lines.grant(1000, 20_000), 100);
        assert_eq!(lines.grant(2000, 1), 1);
        assert_eq!(lines.left_out(3000), Some(19_900));
    }
}
