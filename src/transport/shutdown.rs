//! The one signal that ends all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::Notify;

/// Given to each worker; whoever keeps one can stop them all.
///
/// A flag beside the notification, since a datagram worker looks at it after each batch: that is a load of a line which nobody
/// writes, where a watch channel would take a lock that all workers share.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    stop: AtomicBool,
    changed: Notify,
}

impl Stop {
    /// Ends all workers that have a clone.
    pub(super) fn give(&self) {
        // Nothing is handed over with the flag, so no ordering is needed.
        self.0.stop.store(true, Relaxed);
        self.0.changed.notify_waiters();
    }

    /// Whether it is time to end.
    #[inline]
    pub(super) fn requested(&self) -> bool {
        self.0.stop.load(Relaxed)
    }

    /// Waits until it is time to end.
    pub(super) async fn wait(&self) {
        // Registered before the flag is read: a signal in between is not missed.
        let changed = self.0.changed.notified();
        if !self.requested() {
            changed.await;
        }
    }
}
