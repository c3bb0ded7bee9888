//! The last transitions of each target, for people who ask what has been going on. Nothing is decided by it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ledger::{Cause, Flip};
use crate::model::report::TransitionReport;
use crate::model::target::Verdict;

/// Transitions kept of each target.
pub const TRANSITIONS: usize = 100;
/// Transitions kept in all when they are saved; the oldest are left out, so that the file is bounded whatever flaps.
pub const TRANSITIONS_SAVED: usize = 100_000;
/// What is no longer probed is forgotten so long after its last transition, in milliseconds.
const FORGET_AFTER_MS: u64 = 7 * 86_400_000;

/// Transitions by [`target_key`](crate::state::verdicts::target_key). A target keeps its history when its timing is edited, and targets that differ in nothing else share one.
pub type Histories = HashMap<Arc<str>, Arc<VecDeque<TransitionReport>>>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct History {
    all: Histories,
    has_changed: bool,
}

impl History {
    /// Takes changes of published verdicts as they are made, at a time in milliseconds of Unix time.
    pub fn note(&mut self, flips: &[Flip], at_ms: u64) {
        for flip in flips.iter().filter(|flip| flip.from != flip.to && is_news(&flip.cause)) {
            let transition = TransitionReport { at_ms, from: flip.from, to: flip.to, reason: reason(flip) };
            let history = self.all.entry(flip.key.clone()).or_default();
            push(Arc::make_mut(history), transition);
            self.has_changed = true;
        }
    }

    /// Adds what was saved by an earlier run, in front of what has happened since.
    pub fn restore(&mut self, saved: impl IntoIterator<Item = (String, Vec<TransitionReport>)>) {
        for (key, earlier) in saved {
            let history = self.all.entry(key.into()).or_default();
            let since = std::mem::take(Arc::make_mut(history));
            earlier.into_iter().chain(since).for_each(|t| push(Arc::make_mut(history), t));
        }
    }

    /// The transitions of a target, oldest first.
    pub fn of(&self, key: &str) -> Option<&VecDeque<TransitionReport>> {
        self.all.get(key).map(|history| &**history)
    }

    /// Everything, if it has changed since the last call. Cheap: what is in it is shared until it changes.
    pub fn take_changed(&mut self) -> Option<Histories> {
        std::mem::take(&mut self.has_changed).then(|| self.all.clone())
    }

    /// Forgets targets that are no longer probed and have not changed for a week.
    pub fn forget(&mut self, is_probed: impl Fn(&str) -> bool, now_ms: u64) {
        let is_recent = |history: &VecDeque<TransitionReport>| {
            history.back().is_some_and(|last| now_ms.saturating_sub(last.at_ms) < FORGET_AFTER_MS)
        };
        self.all.retain(|key, history| is_probed(key) || is_recent(history));
    }
}

/// What of all histories is saved: the newest [`TRANSITIONS_SAVED`] transitions, in the order of keys.
pub fn worth_saving(all: &Histories, most: usize) -> Vec<(&str, Vec<&TransitionReport>)> {
    let mut times: Vec<u64> = all.values().flat_map(|history| history.iter().map(|t| t.at_ms)).collect();
    let since_ms = match times.len().checked_sub(most) {
        Some(beyond @ 1..) => *times.select_nth_unstable(beyond).1,
        _ => 0,
    };
    let mut worth: Vec<(&str, Vec<&TransitionReport>)> = all
        .iter()
        .map(|(key, history)| (&**key, history.iter().filter(|t| t.at_ms >= since_ms).collect::<Vec<_>>()))
        .filter(|(_, history)| !history.is_empty())
        .collect();
    worth.sort_unstable_by_key(|(key, _)| *key);
    worth
}

fn push(history: &mut VecDeque<TransitionReport>, transition: TransitionReport) {
    if history.len() == TRANSITIONS {
        history.pop_front();
    }
    history.push_back(transition);
}

/// A verdict that is remembered or forgotten is no event of the target's.
fn is_news(cause: &Cause) -> bool {
    !matches!(cause, Cause::Saved | Cause::Replaced)
}

/// Why, in words for people.
fn reason(flip: &Flip) -> String {
    let met = flip.reason.as_deref().unwrap_or("no answer as wanted");
    match (&flip.cause, flip.to) {
        (Cause::Results, Verdict::Down) => match flip.failures {
            0 | 1 => met.to_owned(),
            failures => format!("{met}; {failures} failures in a row"),
        },
        (Cause::Results | Cause::Peers, Verdict::Unknown) => {
            format!("{met}; no address serves the host, which tells nothing of this one")
        }
        (Cause::Peers, _) => format!("{met}; another address serves the host"),
        (Cause::Results, Verdict::Up) => "probes succeed".to_owned(),
        (Cause::BrakeEngaged, _) => "taken back by the brake: too many targets fell together".to_owned(),
        (Cause::BrakeReleased, _) => format!("the brake let go: {met}"),
        (Cause::Damped(ms), _) => format!("flips too often: held down for {} s; {met}", ms.div_ceil(1000)),
        (Cause::DampingOver, _) => "no longer held down for flipping too often".to_owned(),
        (Cause::Pushed, Verdict::Up) => "pushed".to_owned(),
        (Cause::Pushed, _) => met.to_owned(),
        (Cause::Saved | Cause::Replaced, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target::{Target, TargetId};
    use crate::state::verdicts::target_key;

    fn target(port: u16) -> Arc<Target> {
        crate::health::tests::target(([192, 0, 2, 1], port).into(), 1000, 500, 1, 1)
    }

    fn flip(port: u16, to: Verdict, cause: Cause) -> Flip {
        let from = if to == Verdict::Up { Verdict::Down } else { Verdict::Up };
        let reason = Some("connection refused".into());
        let key = target_key(&target(port)).into();
        Flip { id: TargetId(0), target: target(port), key, from, to, cause, reason, failures: 3 }
    }

    #[test]
    fn keeps_the_last_hundred_with_their_reasons() {
        let mut history = History::default();
        let key = target_key(&target(1));
        history.note(&[flip(1, Verdict::Up, Cause::Saved), flip(1, Verdict::Down, Cause::Replaced)], 1);
        assert!(history.of(&key).is_none() && history.take_changed().is_none());
        for at in 0..150 {
            let to = if at % 2 == 0 { Verdict::Down } else { Verdict::Up };
            history.note(&[flip(1, to, Cause::Results)], at);
        }
        let kept = history.of(&key).unwrap();
        assert_eq!((kept.len(), kept[0].at_ms, kept[99].at_ms), (100, 50, 149));
        assert_eq!(kept[98].reason, "connection refused; 3 failures in a row");
        assert_eq!(kept[99].reason, "probes succeed");
        assert!(history.take_changed().is_some());
        assert_eq!(history.take_changed(), None, "nothing since");
    }

    #[test]
    fn an_earlier_run_comes_first() {
        let mut history = History::default();
        history.note(&[flip(1, Verdict::Down, Cause::Damped(1500))], 500);
        let earlier = TransitionReport { at_ms: 7, from: Verdict::Up, to: Verdict::Down, reason: "x".into() };
        history
            .restore([(target_key(&target(1)), vec![earlier.clone(); 120]), ("gone".into(), vec![earlier])]);
        let kept = history.of(&target_key(&target(1))).unwrap();
        assert_eq!((kept.len(), kept[98].at_ms, kept[99].at_ms), (100, 7, 500));
        assert_eq!(kept[99].reason, "flips too often: held down for 2 s; connection refused");
        history.forget(|key| key != "gone", FORGET_AFTER_MS + 6);
        assert!(history.of("gone").is_some());
        history.forget(|key| key != "gone", FORGET_AFTER_MS + 7);
        assert!(history.of("gone").is_none());
    }

    #[test]
    fn what_is_saved_is_bounded() {
        let mut history = History::default();
        for at in 0..30 {
            history.note(&[flip(1 + (at % 3) as u16, Verdict::Down, Cause::Results)], at);
        }
        let all = history.take_changed().unwrap();
        let times = |most| -> Vec<u64> {
            let mut times: Vec<u64> =
                worth_saving(&all, most).iter().flat_map(|(_, h)| h.iter().map(|t| t.at_ms)).collect();
            times.sort_unstable();
            times
        };
        assert_eq!(times(30).len(), 30);
        assert_eq!(times(4), [26, 27, 28, 29]);
        assert_eq!(worth_saving(&all, 2).len(), 2, "the third has nothing that is new enough");
    }
}
