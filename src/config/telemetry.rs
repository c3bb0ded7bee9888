//! What is told of the queries.

use super::json::Boolean;

object! {
    /// What /metrics tells beyond what it always does.
    pub(crate) struct MetricsKeys {
        /// Whether there are series for each target: some thousand targets are as many series for each of four metrics; false unless given.
        "targets" targets: Boolean,
    }
    later: []
}

impl MetricsKeys {
    /// Whether there are series for each target.
    pub(crate) fn wants_targets(&self) -> bool {
        self.targets.get().is_some_and(|given| given.value.0)
    }
}
