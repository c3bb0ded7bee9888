//! The signal that ends workers, in one or two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tokio::sync::Notify;

/// Given to each worker; whoever keeps one can stop them all, or have them take nothing new: others have taken over their sockets, and what
/// is under way goes on to its end.
///
/// A flag beside the notification, since a datagram worker looks at it after each batch: that is a load of a line which nobody
/// writes, where a watch channel would take a lock that all workers share.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    /// [`RUN`], [`RETIRE`] or [`STOP`].
    step: AtomicU8,
    changed: Notify,
}

const RUN: u8 = 0;
const RETIRE: u8 = 1;
const STOP: u8 = 2;

impl Stop {
    /// Has workers take nothing new.
    pub(super) fn retire(&self) {
        self.go_to(RETIRE);
    }

    /// Ends all workers that have a clone.
    pub(super) fn give(&self) {
        self.go_to(STOP);
    }

    fn go_to(&self, step: u8) {
        // Nothing is handed over with it, so no ordering is needed.
        self.0.step.fetch_max(step, Relaxed);
        self.0.changed.notify_waiters();
    }

    /// Whether nothing new is to be taken.
    #[inline]
    pub(super) fn requested(&self) -> bool {
        self.0.step.load(Relaxed) != RUN
    }

    /// Waits until nothing new is to be taken.
    pub(super) async fn wait(&self) {
        self.wait_for(RETIRE).await;
    }

    /// Waits until it is time to end.
    pub(super) async fn wait_for_end(&self) {
        self.wait_for(STOP).await;
    }

    async fn wait_for(&self, step: u8) {
        loop {
            // Registered before the step is read: a signal in between is not missed.
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if self.0.step.load(Relaxed) >= step {
                return;
            }
            changed.await;
        }
    }
}
