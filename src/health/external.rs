//! Verdicts that are pushed over the API, and how long each holds. Pure; the ledger keeps it beside what it probes.

use std::collections::{BTreeSet, HashMap};

use crate::model::check::{CheckKind, ExternalCheck};
use crate::model::target::{Target, TargetId, Verdict};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct External {
    /// Targets by the id that verdicts are pushed for; several if checks of one id differ in their time.
    by_id: HashMap<String, Vec<TargetId>>,
    /// When verdicts end, in the ledger's milliseconds, first to last.
    ends: BTreeSet<(u64, TargetId)>,
    end_of: HashMap<TargetId, u64>,
}

/// The external check of a target, if it has one.
pub(super) fn check(target: &Target) -> Option<&ExternalCheck> {
    match &target.check.kind {
        CheckKind::External(check) => Some(check),
        _ => None,
    }
}

impl External {
    /// Adds a target. `age_ms`: how long ago its verdict was pushed, if one is remembered; returns whether it still holds.
    pub(super) fn add(
        &mut self,
        now_ms: u64,
        id: TargetId,
        check: &ExternalCheck,
        age_ms: Option<u64>,
    ) -> bool {
        self.by_id.entry(check.id.clone()).or_default().push(id);
        let left_ms =
            age_ms.and_then(|age_ms| check.ttl_ms.checked_sub(age_ms)).filter(|left_ms| *left_ms > 0);
        if let Some(left_ms) = left_ms {
            self.hold_until(id, Some(now_ms + left_ms));
        }
        left_ms.is_some()
    }

    /// Removes a target.
    pub(super) fn remove(&mut self, id: TargetId, check: &ExternalCheck) {
        self.hold_until(id, None);
        if let Some(targets) = self.by_id.get_mut(&check.id) {
            targets.retain(|other| *other != id);
            if targets.is_empty() {
                self.by_id.remove(&check.id);
            }
        }
    }

    /// The targets that a verdict for `id` is for.
    pub(super) fn targets(&self, id: &str) -> &[TargetId] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// Notes that a verdict was pushed for a target; an unknown one holds for no time.
    pub(super) fn pushed(&mut self, now_ms: u64, id: TargetId, check: &ExternalCheck, verdict: Verdict) {
        let end_ms = (verdict != Verdict::Unknown).then(|| now_ms + check.ttl_ms);
        self.hold_until(id, end_ms);
    }

    /// The next target whose verdict's time is over.
    pub(super) fn take_ended(&mut self, now_ms: u64) -> Option<TargetId> {
        let (end_ms, id) = *self.ends.first()?;
        (end_ms <= now_ms).then(|| {
            self.hold_until(id, None);
            id
        })
    }

    fn hold_until(&mut self, id: TargetId, end_ms: Option<u64>) {
        if let Some(end_ms) = self.end_of.remove(&id) {
            self.ends.remove(&(end_ms, id));
        }
        if let Some(end_ms) = end_ms {
            self.ends.insert((end_ms, id));
            self.end_of.insert(id, end_ms);
        }
    }
}
