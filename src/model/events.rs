//! The event bus: a ring of the last events, which whoever publishes writes and whoever watches reads at his own pace.
//!
//! Nobody has a queue of his own: a watcher is a number, that of the last event he has seen. So publishing costs the same however many
//! watch, a slow watcher holds nobody up, and what he missed he can count. Replaying after a lost connection is the same thing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::event::{Event, News};
use super::target::{Target, TargetId, Verdict};

/// Events that are kept: about two megabytes at most.
pub const KEPT: usize = 4096;
/// Events that a watcher is given at once: a slow one holds no more than these, of some hundred octets each.
const AT_ONCE: usize = 32;

/// See the module's documentation.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
    flips: Mutex<Flips>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The number of the next event.
    next: u64,
    /// The number of the first event of this run.
    first: u64,
}

/// A change of a target's verdict, until the keeper knows whose answers it concerns.
#[derive(Clone, Debug)]
pub struct Flipped {
    /// Which target.
    pub id: TargetId,
    /// What it is.
    pub target: Arc<Target>,
    /// Published before.
    pub from: Verdict,
    /// Published from now on.
    pub to: Verdict,
    /// Why.
    pub why: String,
}

#[derive(Debug, Default)]
struct Flips {
    waiting: Vec<Flipped>,
    left_out: u64,
}

/// Numbers begin with the time of the start in milliseconds: as long as there are fewer than a thousand events a second, numbers of a later
/// run come after those of an earlier one, and a watcher's last number means something to the next run. They fit a double.
impl Default for Events {
    fn default() -> Self {
        Self::from_number(now_ms().max(1))
    }
}

impl Events {
    fn from_number(first: u64) -> Self {
        let ring = Ring { events: VecDeque::new(), next: first, first };
        let newest = watch::Sender::new(first - 1);
        Self { ring: Mutex::new(ring), newest, flips: Mutex::default() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who watches. Waits for none of them.
    pub fn publish(&self, news: News) {
        self.publish_all([news]);
    }

    /// Likewise of several.
    pub fn publish_all(&self, news: impl IntoIterator<Item = News>) {
        let at_ms = now_ms();
        let news: Vec<News> = news.into_iter().collect();
        if news.is_empty() {
            return;
        }
        let mut ring = self.ring();
        for news in news {
            let id = ring.next;
            ring.next += 1;
            if ring.events.len() == KEPT {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(Event { id, at_ms, news }));
        }
        let newest = ring.next - 1;
        // Under the lock, so that the number never goes back.
        self.newest.send_replace(newest);
    }

    /// Notes changes of verdicts for [`Events::take_flips`], in the order in which they were decided. More than are kept are only counted.
    pub fn note_flips(&self, flips: impl Iterator<Item = Flipped>) {
        let mut noted = self.flips.lock().unwrap_or_else(PoisonError::into_inner);
        for flip in flips {
            if noted.waiting.len() < KEPT {
                noted.waiting.push(flip);
            } else {
                noted.left_out += 1;
            }
        }
    }

    /// The changes that were noted, and how many more there were.
    pub fn take_flips(&self) -> (Vec<Flipped>, u64) {
        let mut noted = self.flips.lock().unwrap_or_else(PoisonError::into_inner);
        let Flips { waiting, left_out } = std::mem::take(&mut *noted);
        (waiting, left_out)
    }

    /// Watches from the event after number `after` on; without one, what happens from now on.
    pub fn watch(self: &Arc<Self>, after: Option<u64>) -> Watcher {
        let newest = self.newest.subscribe();
        let seen = after.unwrap_or(*newest.borrow());
        Watcher { events: Arc::clone(self), newest, seen }
    }

    /// The last events, at most so many, oldest first.
    pub fn last(&self, most: usize) -> Vec<Arc<Event>> {
        let ring = self.ring();
        ring.events.range(ring.events.len().saturating_sub(most)..).cloned().collect()
    }

    /// What comes after the event with a number.
    fn after(&self, seen: u64) -> Batch {
        let ring = self.ring();
        let newest = ring.next - 1;
        // A number that was never given: from another server, say. All that there is may be new.
        let seen = if seen > newest { ring.first - 1 } else { seen };
        let oldest = ring.events.front().map_or(ring.next, |event| event.id);
        // What an earlier run knew is gone, and nobody knows how much that was.
        let is_of_earlier_run = seen + 1 < ring.first;
        let seen_of_run = seen.max(ring.first - 1);
        let lost = (oldest - 1).saturating_sub(seen_of_run);
        let from = usize::try_from(seen_of_run.saturating_sub(oldest - 1)).unwrap_or(usize::MAX);
        let events: Vec<Arc<Event>> = ring.events.iter().skip(from).take(AT_ONCE).cloned().collect();
        Batch { events, lost, is_of_earlier_run }
    }
}

/// What a watcher is told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// Events in front of these that are no longer kept: whoever watches was too slow, or away for too long.
    pub lost: u64,
    /// Whether what he saw last was told by an earlier run of the server: nobody knows what he missed of it.
    pub is_of_earlier_run: bool,
}

/// Somebody who watches.
#[derive(Debug)]
pub struct Watcher {
    events: Arc<Events>,
    newest: watch::Receiver<u64>,
    seen: u64,
}

impl Watcher {
    /// Waits until there is something new, and gives it.
    pub async fn next(&mut self) -> Batch {
        loop {
            let batch = self.take();
            if !batch.events.is_empty() || batch.lost > 0 || batch.is_of_earlier_run {
                return batch;
            }
            if self.newest.changed().await.is_err() {
                // The sender is in `events`, which this holds.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What is new, without waiting.
    pub fn take(&mut self) -> Batch {
        self.newest.mark_unchanged();
        let batch = self.events.after(self.seen);
        self.seen = match batch.events.last() {
            Some(last) => last.id,
            None => self.events.ring().next - 1,
        };
        batch
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::EventKind;

    fn news(text: &str) -> News {
        News::new(EventKind::ReloadDone, text)
    }

    fn ids(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.id).collect()
    }

    #[tokio::test]
    async fn watchers_see_what_comes_after_what_they_saw() {
        let events = Arc::new(Events::from_number(100));
        let mut from_now = events.watch(None);
        events.publish_all([news("a"), news("b")]);
        assert_eq!(ids(&from_now.next().await), [100, 101]);
        assert_eq!(from_now.take(), Batch::default());
        let waiting = tokio::spawn(async move { from_now.next().await });
        tokio::task::yield_now().await;
        events.publish(news("c"));
        assert_eq!(ids(&waiting.await.unwrap()), [102]);
        // Which number was seen, what is told then, how much is lost, and whether that was told by an earlier run.
        for (seen, want, lost, earlier) in [
            (101, &[102][..], 0, false),
            (102, &[], 0, false),
            (99, &[100, 101, 102], 0, false),
            (98, &[100, 101, 102], 0, true),
            (9999, &[100, 101, 102], 0, false),
        ] {
            let batch = events.watch(Some(seen)).take();
            assert_eq!((&*ids(&batch), batch.lost, batch.is_of_earlier_run), (want, lost, earlier), "{seen}");
        }
        assert_eq!(events.last(2).iter().map(|event| event.id).collect::<Vec<_>>(), [101, 102]);
    }

    #[test]
    fn who_is_too_slow_is_told_how_much_he_missed() {
        let events = Arc::new(Events::from_number(1));
        let mut slow = events.watch(None);
        for _ in 0..KEPT + 10 {
            events.publish(news("x"));
        }
        let first = slow.take();
        assert_eq!((first.lost, first.events[0].id, first.events.len()), (10, 11, AT_ONCE));
        let mut seen = first.events.len();
        loop {
            let batch = slow.take();
            assert_eq!(batch.lost, 0);
            if batch.events.is_empty() {
                break;
            }
            seen += batch.events.len();
        }
        assert_eq!(seen, KEPT);
    }

    #[test]
    fn too_many_flips_are_counted() {
        let check = super::super::target::Check {
            kind: super::super::target::CheckKind::Tcp,
            interval_ms: 1000,
            timeout_ms: 500,
            rise: 1,
            fall: 1,
            rules: Default::default(),
        };
        let target = Arc::new(Target { address: ([192, 0, 2, 1], 80).into(), check: Arc::new(check) });
        let flip = Flipped {
            id: TargetId(1),
            target,
            from: Verdict::Up,
            to: Verdict::Down,
            why: "refused".to_owned(),
        };
        let events = Events::default();
        events.note_flips(std::iter::repeat_n(flip, KEPT + 3));
        let (flips, left_out) = events.take_flips();
        assert_eq!((flips.len(), left_out), (KEPT, 3));
        assert_eq!(events.take_flips().0.len(), 0);
    }
}
