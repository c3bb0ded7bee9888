//! Connections that checks with `"reuse": true` keep from one probe to the next.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::aging::Aging;
use crate::model::target::Target;

/// A connection is not kept longer, so that a backend that has moved, or renewed its certificate, is seen as new clients see it.
const LONGEST: Duration = Duration::from_secs(600);

/// A connection's sender, and the task that moves its octets.
#[derive(Debug)]
pub(super) struct Kept<S> {
    /// What sends requests.
    pub(super) sender: S,
    /// When the server's certificate ends, in Unix seconds; `None` without TLS too.
    pub(super) not_after_s: Option<i64>,
    task: JoinHandle<()>,
}

impl<S> Kept<S> {
    /// Spawns the connection, which ends with this value, and at the latest after [`LONGEST`].
    pub(super) fn spawn(
        sender: S,
        not_after_s: Option<i64>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let task = tokio::spawn(async move {
            let _ = tokio::time::timeout(LONGEST, connection).await;
        });
        Self { sender, not_after_s, task }
    }
}

impl<S> Drop for Kept<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// At most one idle connection for each target that is probed.
#[derive(Debug)]
pub(super) struct Pool<S>(Mutex<Aging<Kept<S>>>);

impl<S> Default for Pool<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Pool<S> {
    /// The connection that the last probe of a target left, unless it has ended.
    pub(super) fn take(&self, target: &Target) -> Option<Kept<S>> {
        self.kept().take(target, Instant::now()).filter(|kept| !kept.task.is_finished())
    }

    /// Leaves a connection for the next probe.
    pub(super) fn put(&self, target: &Target, kept: Kept<S>) {
        self.kept().put(target, kept, Instant::now());
    }

    fn kept(&self) -> MutexGuard<'_, Aging<Kept<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
