//! Saves verdicts now and then, so that a restarted server answers at once.

use std::sync::Arc;
use std::time::Duration;

use super::HealthHandle;
use crate::state::{StateDir, verdicts};

/// Saves the verdicts every `period` until `health` is shut down, and once more then. A save that fails is logged, and tried
/// again after the next period; nothing waits for it.
pub async fn keep_saved(health: HealthHandle, state: Arc<StateDir>, period: Duration) {
    let mut stopped = health.stopped.clone();
    loop {
        // An error means that the driver is gone without having said so.
        let last = match tokio::time::timeout(period, stopped.wait_for(|stopped| *stopped)).await {
            Err(_elapsed) => false,
            Ok(_) => true,
        };
        let (saved, state) = (health.saved_verdicts(), state.clone());
        match tokio::task::spawn_blocking(move || verdicts::save(&state, &saved)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "verdicts are not saved"),
            Err(error) => tracing::warn!(%error, "verdicts are not saved"),
        }
        if last {
            return;
        }
    }
}
