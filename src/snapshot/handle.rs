//! How snapshots reach the workers: one publisher, many readers, and no reader ever frees a snapshot.
//!
//! A reader keeps the snapshot it uses and looks at one atomic number after each receive; only when that has changed does it take
//! the lock, for the time of cloning an `Arc`. The publisher keeps what it has replaced until no reader holds it, so that
//! freeing a zone never happens on the hot path. (An atomic pointer swap would save the lock, which is not taken twice for
//! one change and reader, at the price of unsafe code.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::table::Snapshot;

/// The one place where the current snapshot stands.
#[derive(Debug)]
pub struct Published {
    current: RwLock<Arc<Snapshot>>,
    /// Counts publications; readers compare it.
    version: AtomicU64,
    retired: Mutex<Vec<Arc<Snapshot>>>,
}

impl Published {
    /// Publishes the first snapshot.
    pub fn new(first: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            current: RwLock::new(Arc::new(first)),
            version: AtomicU64::new(1),
            retired: Mutex::new(Vec::new()),
        })
    }

    /// Puts a snapshot into service: the commit point. Frees older ones that no reader holds any more.
    pub fn publish(&self, next: Snapshot) {
        let next = Arc::new(next);
        // A poisoned lock still holds a whole `Arc`: nothing that can panic happens while it is held.
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = std::mem::replace(&mut *current, next);
        // Inside the lock, so that versions and snapshots have the same order for every reader.
        self.version.fetch_add(1, Ordering::Release);
        drop(current);
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(replaced);
        self.free_retired();
    }

    /// The current snapshot, for everything but the workers.
    pub fn load(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Frees replaced snapshots that no reader holds any more; returns how many are still held.
    pub fn free_retired(&self) -> usize {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        // A count of one is ours, and nobody else can make it grow again: the snapshot is not current any more.
        let (free, held): (Vec<_>, Vec<_>) = retired.drain(..).partition(|s| Arc::strong_count(s) == 1);
        *retired = held;
        let held = retired.len();
        drop(retired);
        drop(free);
        held
    }

    /// A reader of its own for one worker.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader { published: Arc::clone(self), version: 0, snapshot: None }
    }
}

/// A worker's view of [`Published`].
#[derive(Debug)]
pub struct Reader {
    published: Arc<Published>,
    version: u64,
    snapshot: Option<Arc<Snapshot>>,
}

impl Reader {
    /// The current snapshot. Call it after a receive, not before it, so that an answer is never older than its query.
    #[inline]
    pub fn current(&mut self) -> &Snapshot {
        if self.published.version.load(Ordering::Acquire) != self.version {
            self.snapshot = None;
        }
        let (published, version) = (&self.published, &mut self.version);
        self.snapshot.get_or_insert_with(|| {
            let current = published.current.read().unwrap_or_else(PoisonError::into_inner);
            // Stable while the lock is held.
            *version = published.version.load(Ordering::Acquire);
            Arc::clone(&current)
        })
    }

    /// What [`current`](Self::current) gave last, however old it is by now; `None` since [`release`](Self::release).
    pub fn seen(&self) -> Option<&Snapshot> {
        self.snapshot.as_deref()
    }

    /// Lets go of the snapshot, so that an idle worker does not keep a replaced one alive.
    pub fn release(&mut self) {
        self.snapshot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::HashKey;
    use crate::model::name::Name;

    #[test]
    fn readers_follow_and_never_free() {
        let first = Snapshot::empty(HashKey::new([1, 2]));
        let second = first.with_broken_zone(Name::parse_absolute("example.test").unwrap());
        let published = Published::new(first);
        let (mut busy, mut idle) = (published.reader(), published.reader());
        assert_eq!((busy.current().generation(), idle.current().generation()), (0, 0));
        published.publish(second.clone());
        assert_eq!(published.free_retired(), 1, "both readers hold the first one");
        assert_eq!((busy.current().generation(), published.load().generation()), (1, 1));
        assert_eq!(published.free_retired(), 1, "the idle reader holds it");
        idle.release();
        assert_eq!(published.free_retired(), 0);
        assert_eq!(idle.current().generation(), 1);
    }

    #[test]
    fn versions_never_go_back_under_many_publications() {
        let published = Published::new(Snapshot::empty(HashKey::new([1, 2])));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (mut reader, mut last) = (published.reader(), 0);
                    while last < 500 {
                        let seen = reader.current().generation();
                        assert!(seen >= last);
                        last = seen;
                    }
                });
            }
            for _ in 0..500 {
                let next = published.load().without_zone(&Name::root());
                published.publish(next);
            }
        });
        assert_eq!(published.free_retired(), 0);
    }
}
