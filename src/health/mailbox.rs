//! What other threads tell the driver, which waits for sockets and the clock otherwise.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::TargetSet;
use super::probe::Ended;

/// One message.
pub(super) enum Letter {
    /// A probe that ran on the runtime has ended.
    Ended(Ended),
    /// The set of targets has changed.
    Targets(TargetSet),
    /// Probing shall end.
    Stop,
}

/// Letters on their way. Not bounded by type, but by the limit of probes in flight: each sends one; and of sets the latest replaces the others.
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    waker: Waker,
}

#[derive(Default)]
struct Inside {
    ended: Vec<Ended>,
    targets: Option<TargetSet>,
    stop: bool,
    /// Whether the driver has been woken for what is inside.
    woken: bool,
}

/// Everything that has come since the last look.
#[derive(Default)]
pub(super) struct Post {
    /// The latest set of targets.
    pub(super) targets: Option<TargetSet>,
    /// Whether probing shall end.
    pub(super) stop: bool,
}

impl Mailbox {
    /// An empty one; `waker` interrupts the driver's wait.
    pub(super) fn new(waker: Waker) -> Self {
        Self { inside: Mutex::default(), waker }
    }

    /// Leaves a letter, and wakes the driver unless that has been done for an earlier one.
    pub(super) fn post(&self, letter: Letter) {
        let mut inside = self.inside();
        match letter {
            Letter::Ended(ended) => inside.ended.push(ended),
            Letter::Targets(set) => inside.targets = Some(set),
            Letter::Stop => inside.stop = true,
        }
        let woken = std::mem::replace(&mut inside.woken, true);
        drop(inside);
        if !woken && let Err(error) = self.waker.wake() {
            // The driver looks once a second anyway.
            tracing::warn!(%error, "the health driver cannot be woken");
        }
    }

    /// Takes what has come; ends of probes are added to `ended`.
    pub(super) fn take(&self, ended: &mut Vec<Ended>) -> Post {
        let mut inside = self.inside();
        inside.woken = false;
        ended.append(&mut inside.ended);
        Post { targets: inside.targets.take(), stop: inside.stop }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // A panic between two assignments cannot happen; and what is inside is valid at every moment.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
