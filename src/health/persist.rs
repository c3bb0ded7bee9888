//! Saves verdicts now and then, so that a restarted server answers at once.

use std::sync::Arc;
use std::time::Duration;

use super::HealthHandle;
use super::history::{TRANSITIONS_SAVED, worth_saving};
use crate::state::{StateDir, StateError, history, verdicts};

/// Saves verdicts, and histories that have changed, every `period` until `health` is shut down, and once more then. A save that fails is logged, and tried
/// again after the next period; nothing waits for it.
pub async fn keep_saved(health: HealthHandle, state: Arc<StateDir>, period: Duration) {
    let mut stopped = health.stopped.clone();
    loop {
        // An error means that the driver is gone without having said so.
        let last = match tokio::time::timeout(period, stopped.wait_for(|stopped| *stopped)).await {
            Err(_elapsed) => false,
            Ok(_) => true,
        };
        let (health, state) = (health.clone(), state.clone());
        match tokio::task::spawn_blocking(move || save(&health, &state)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "verdicts are not saved"),
            Err(error) => tracing::warn!(%error, "verdicts are not saved"),
        }
        if last {
            return;
        }
    }
}

/// Saves verdicts now, and histories if they have changed.
///
/// # Errors
/// Those of the disk.
pub fn save(health: &HealthHandle, state: &StateDir) -> Result<(), StateError> {
    verdicts::save(state, &health.saved_verdicts())?;
    match health.changed_history() {
        Some(all) => history::save(state, &worth_saving(&all, TRANSITIONS_SAVED)),
        None => Ok(()),
    }
}
