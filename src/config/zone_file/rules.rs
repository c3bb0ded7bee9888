//! The keys of a check that make results into a verdict besides `rise` and `fall`: latency, slow start and flap damping.

use super::check::{CheckKeys, MAX_INTERVAL_MS};
use crate::config::json::{Duration, Int, Reader, show_ms};
use crate::model::target::{Damping, VerdictRules};

const DEFAULT_FLIPS: u64 = 5;
const DEFAULT_WITHIN_MS: u64 = 600_000;
const DEFAULT_HOLD_MS: u64 = 60_000;
const DEFAULT_HOLD_MAX_MS: u64 = 3_600_000;

object! {
    /// A target that flips more often than "flips" times "within" a time is held down: for "hold", twice as long each time that it goes on
    /// flipping, and at most for "hold_max".
    pub(crate) struct DampingKeys {
        /// Flips that are tolerated; 5 unless given.
        "flips" flips: Int<1, 1000>,
        /// Within which they count; 10m unless given.
        "within" within: Duration<1000, MAX_INTERVAL_MS>,
        /// How long it is held down the first time; 1m unless given.
        "hold" hold: Duration<1000, MAX_INTERVAL_MS>,
        /// How long it is held down at most; 1h unless given.
        "hold_max" hold_max: Duration<1000, MAX_INTERVAL_MS>,
    }
    later: []
}

impl CheckKeys {
    /// What the keys say, with a timeout in milliseconds; nothing if something is wrong with them.
    pub(super) fn rules(&self, timeout_ms: u32, reader: &mut Reader<'_>) -> Option<VerdictRules> {
        let slower_than = self.slower_than.get();
        if let Some(given) = slower_than.filter(|given| given.value.0 >= timeout_ms.into()) {
            let (limit, timeout) = (show_ms(given.value.0), show_ms(timeout_ms.into()));
            let message = format!("nothing is slower than {limit} and within the timeout {timeout}");
            reader.error_in("slower_than", given.position, message, "lower it, or raise \"timeout\"");
            return None;
        }
        let damping = match self.damping.get() {
            Some(given) => Some(given.value.resolve(reader)?),
            None => None,
        };
        // All within the limits of their types.
        let ms = |value: u64| value as u32;
        Some(VerdictRules {
            slower_than_ms: slower_than.map(|given| ms(given.value.0)),
            slow_start_ms: self.slow_start.get().map(|given| ms(given.value.0)),
            damping,
            patient: false,
            needs_witness: false,
        })
    }
}

impl DampingKeys {
    fn resolve(&self, reader: &mut Reader<'_>) -> Option<Damping> {
        let hold_ms = self.hold.get().map_or(DEFAULT_HOLD_MS, |given| given.value.0);
        // A long first hold takes the default bound with it; only a given one can be wrong.
        let hold_max_ms = self.hold_max.get().map_or(DEFAULT_HOLD_MAX_MS.max(hold_ms), |given| given.value.0);
        if let Some(given) = self.hold_max.get().filter(|_| hold_max_ms < hold_ms) {
            let message = format!(
                "\"hold_max\" {} is shorter than \"hold\" {}",
                show_ms(hold_max_ms),
                show_ms(hold_ms)
            );
            reader.error_in("damping", given.position, message, "raise it, or lower \"hold\"");
            return None;
        }
        // All four are within the limits of their types.
        Some(Damping {
            flips: self.flips.get().map_or(DEFAULT_FLIPS, |given| given.value.0) as u32,
            within_ms: self.within.get().map_or(DEFAULT_WITHIN_MS, |given| given.value.0) as u32,
            hold_ms: hold_ms as u32,
            hold_max_ms: hold_max_ms as u32,
        })
    }
}
