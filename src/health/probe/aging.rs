//! What is kept of each target between its probes, for as long as it is probed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::target::Target;

/// What is too old is looked for so often.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// What is kept at least so long: a target at a crowded address is probed more rarely than its check says.
const SHORTEST: Duration = Duration::from_secs(600);

/// A value for each target. One that is not renewed for some intervals goes, so that nothing need be told when a target does.
#[derive(Debug)]
pub(super) struct Aging<V> {
    entries: HashMap<Target, (Instant, V)>,
    swept: Option<Instant>,
}

impl<V> Default for Aging<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), swept: None }
    }
}

impl<V> Aging<V> {
    /// Keeps a value, in the place of an older one.
    pub(super) fn put(&mut self, target: &Target, value: V, now: Instant) {
        self.sweep(now);
        let check = &target.check;
        let ms = 3 * u64::from(check.interval_ms) + u64::from(check.timeout_ms);
        let until = now + Duration::from_millis(ms).max(SHORTEST);
        match self.entries.get_mut(target) {
            Some(entry) => *entry = (until, value),
            None => drop(self.entries.insert(target.clone(), (until, value))),
        }
    }

    /// Takes a target's value out.
    pub(super) fn take(&mut self, target: &Target, now: Instant) -> Option<V> {
        let (until, value) = self.entries.remove(target)?;
        (now <= until).then_some(value)
    }

    /// A target's value.
    pub(super) fn get(&self, target: &Target, now: Instant) -> Option<&V> {
        self.entries.get(target).filter(|(until, _)| now <= *until).map(|(_, value)| value)
    }

    /// All values.
    pub(super) fn values(&self, now: Instant) -> impl Iterator<Item = &V> {
        self.entries.values().filter(move |(until, _)| now <= *until).map(|(_, value)| value)
    }

    /// All of them are walked for it, but seldom.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now >= swept + SWEEP_EVERY) {
            self.swept = Some(now);
            self.entries.retain(|_, (until, _)| now <= *until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::target::{Check, CheckKind};

    #[test]
    fn what_is_not_renewed_goes() {
        let target = |port: u16| Target {
            address: ([127, 0, 0, 1], port).into(),
            check: Arc::new(Check {
                kind: CheckKind::Tcp,
                interval_ms: 1000,
                timeout_ms: 500,
                rise: 1,
                fall: 1,
                rules: Default::default(),
            }),
        };
        let start = Instant::now();
        let after = |s: u64| start + Duration::from_secs(s);
        let mut aging = Aging::default();
        aging.put(&target(1), 'a', start);
        aging.put(&target(2), 'b', start);
        assert_eq!(aging.take(&target(2), after(600)), Some('b'));
        assert_eq!((aging.take(&target(2), start), aging.get(&target(1), after(601))), (None, None));
        aging.put(&target(1), 'c', after(300));
        assert_eq!(aging.values(after(700)).collect::<String>(), "c");
        aging.put(&target(3), 'd', after(1000));
        assert_eq!(aging.entries.len(), 1, "swept");
    }
}
