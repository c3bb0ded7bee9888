//! Notices that the clock was set, or cannot be right. Pure: times are passed in.
//!
//! Nothing is held back for it: what is signed by a wrong clock is signed anew as soon as it is right (`dnssec::schedule`), and serials go on from
//! the last one. But validators refuse what was signed meanwhile, and only the log can tell why.

use std::time::Duration;

/// Steps below it are what time services do, and no signature notices them.
const STEP_S: i64 = 60;
/// 2026-01-01, before the first version. A machine without a battery starts in 1970.
const EARLIEST_S: u32 = 1_767_225_600;
/// 2100-01-01. From 2106 on seconds do not fit any more, here and in RRSIG records (RFC 4034 §3.1.5).
const LATEST_S: u32 = 4_102_444_800;

/// What is wrong with the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It shows a time at which this server does not run.
    Impossible,
    /// It went by so many seconds more than time has passed; below 0, it went back.
    Stepped(i64),
}

/// Compares the clock with one that nobody sets.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What the clock was ahead of the other at the last look.
    offset_s: Option<i64>,
}

impl Watch {
    /// Looks at the clock, and at how long this server runs by one that only goes forward.
    pub(super) fn look(&mut self, now_s: u32, running: Duration) -> Option<Trouble> {
        // No server runs for 292 billion years.
        let offset_s = i64::from(now_s) - running.as_secs() as i64;
        let before_s = self.offset_s.replace(offset_s);
        let step_s = before_s.map_or(0, |before_s| offset_s - before_s);
        let is_possible = (EARLIEST_S..LATEST_S).contains(&now_s);
        match step_s.abs() >= STEP_S {
            true if is_possible => Some(Trouble::Stepped(step_s)),
            // Told once, not at every look.
            is_new => ((is_new || before_s.is_none()) && !is_possible).then_some(Trouble::Impossible),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_800_000_000;

    #[test]
    fn only_steps_and_impossible_times_are_told() {
        for times in [
            // How long it runs, what the clock shows, what is told.
            &[(0, NOW, None), (10, NOW + 10, None), (20, NOW + 22, None), (3600, NOW + 3650, None)][..],
            &[(0, NOW, None), (1, NOW + 61, Some(Trouble::Stepped(60))), (2, NOW + 62, None)],
            &[(0, NOW, None), (1, NOW - 86_400, Some(Trouble::Stepped(-86_401))), (2, NOW - 86_399, None)],
            &[
                (0, 5, Some(Trouble::Impossible)),
                (1, 6, None),
                (30, NOW, Some(Trouble::Stepped(i64::from(NOW) - 35))),
            ],
            &[(0, NOW, None), (1, u32::MAX, Some(Trouble::Impossible)), (2, u32::MAX, None)],
            &[
                (0, NOW, None),
                (1, 0, Some(Trouble::Impossible)),
                (2, NOW, Some(Trouble::Stepped(i64::from(NOW) - 1))),
            ],
        ] {
            let mut watch = Watch::default();
            for (running_s, now_s, expected) in times {
                let told = watch.look(*now_s, Duration::from_secs(*running_s));
                assert_eq!(told, *expected, "{times:?} at {running_s}");
            }
        }
    }
}
