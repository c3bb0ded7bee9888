//! Verdicts that survive a restart.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::model::target::{CheckKind, Target, Verdict};

/// One target's verdict as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedVerdict {
    /// Which target: see [`target_key`].
    pub target: String,
    /// Whether it was up; targets without a verdict are not saved.
    pub up: bool,
    /// When a result last confirmed it, in milliseconds of Unix time.
    pub at_unix_ms: u64,
}

impl SavedVerdict {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        if self.up { Verdict::Up } else { Verdict::Down }
    }

    /// Its age at a time, in milliseconds of Unix time; `None` when it comes from the future: the clock was set back.
    pub fn age_ms(&self, now_unix_ms: u64) -> Option<u64> {
        now_unix_ms.checked_sub(self.at_unix_ms)
    }
}

/// What a saved verdict belongs to: address and what is asked there. Interval, timeout and thresholds are not part of it, since a verdict
/// stays true when they are changed.
pub fn target_key(target: &Target) -> String {
    match &target.check.kind {
        CheckKind::Tcp => target.to_string(),
        // The rest of an HTTP check is told apart by a hash of its Debug form. Should that form change with a version of Hale, the verdict
        // is not recognised and the target is simply probed first.
        CheckKind::Http(http) => {
            let hash = digest(&SHA256, format!("{http:?}").as_bytes());
            let short: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{target} {short}")
        }
    }
}
