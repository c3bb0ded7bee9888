//! Whether an API server that says nothing is still there.
//!
//! A watch may be silent for a minute in good health, and TCP says nothing of a server that hangs: its kernel acknowledges everything. So a
//! server that has been silent for a while is asked for the least there is, and what counts is that an answer comes, not which.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::discovery::source::{Failure, FailureKind};

use super::api::Api;
use super::backoff::Backoff;

/// What the driver is told.
#[derive(Debug)]
pub enum Pulse {
    /// Nothing was heard for too long.
    Silent(Failure),
    /// The server is heard again.
    Answers,
}

/// When a server last said anything, over any of its connections.
#[derive(Clone, Debug)]
pub struct Heard {
    base: Instant,
    ms: Arc<AtomicU64>,
}

impl Heard {
    /// As if it had spoken just now.
    pub fn now() -> Self {
        Self { base: Instant::now(), ms: Arc::default() }
    }

    /// It says something.
    pub fn mark(&self) {
        // Milliseconds since the connection was opened fit for 500 million years.
        self.ms.store(self.base.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// When that was.
    pub fn last(&self) -> Instant {
        self.base + Duration::from_millis(self.ms.load(Ordering::Relaxed))
    }
}

/// Asks a server that has been silent for half of `silence`, and tells when it has been for all of it; then it asks on with growing waits,
/// and tells when the server is back. Ends when nobody listens.
pub async fn run(api: Api, silence: Duration, sender: mpsc::Sender<Pulse>) {
    let (half, mut is_silent, mut backoff) = (silence / 2, false, Backoff::default());
    loop {
        if is_silent {
            sleep(backoff.wait().min(silence)).await;
        } else {
            sleep_until(api.heard().last() + half).await;
        }
        let mut refused = None;
        if api.heard().last().elapsed() >= half {
            refused = api.ask(half).await.err();
        }
        let quiet = api.heard().last().elapsed();
        let heard = if quiet < half {
            backoff.reset();
            !std::mem::take(&mut is_silent) || sender.send(Pulse::Answers).await.is_ok()
        } else if quiet < silence {
            // It was refused at once, which may be a moment: it is asked once more when the time is over.
            sleep_until(api.heard().last() + silence).await;
            true
        } else {
            is_silent = true;
            sender.send(Pulse::Silent(silent(&api, quiet, refused))).await.is_ok()
        };
        if !heard {
            return;
        }
    }
}

/// The failure, with why the last question came to nothing where more is known than that no answer came.
fn silent(api: &Api, quiet: Duration, refused: Option<Failure>) -> Failure {
    let seconds = quiet.as_secs();
    match refused.filter(|failure| failure.kind != FailureKind::Timeout) {
        Some(failure) => {
            let text = format!("{failure}; no word from the API server for {seconds} s");
            Failure::new(failure.kind, text)
        }
        None => {
            let text = format!("{}: no word from the API server for {seconds} s", api.server());
            Failure::new(FailureKind::Timeout, text)
        }
    }
}
