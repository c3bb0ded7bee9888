//! One receiver: gathers what happens, and sends it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::message::Gathered;
use super::send::{self, Failure};
use super::{Figures, Shared};
use crate::config::NotifyConfig;
use crate::model::events::{Batch, Watcher};

/// What it takes to be told, again and again.
pub(super) struct Receiver {
    shared: Arc<Shared>,
    config: Arc<NotifyConfig>,
    figures: Arc<Figures>,
    orders: watch::Receiver<Option<Arc<NotifyConfig>>>,
    is_stopping: bool,
    /// Whether the last request failed: that it does is said once.
    is_failing: bool,
    watcher: Watcher,
    waiting: Gathered,
    /// When the first of what waits came.
    since: Option<Instant>,
}

impl Receiver {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: Arc<NotifyConfig>,
        figures: Arc<Figures>,
        orders: watch::Receiver<Option<Arc<NotifyConfig>>>,
    ) -> Self {
        let watcher = shared.events.watch(None);
        Self {
            shared,
            config,
            figures,
            orders,
            is_stopping: false,
            is_failing: false,
            watcher,
            waiting: Gathered::default(),
            since: None,
        }
    }

    pub(super) async fn run(mut self) {
        while !self.is_stopping {
            self.gather().await;
            self.send_waiting().await;
        }
        // What came to pass while the last message was on its way.
        self.drain();
        self.send_waiting().await;
    }

    async fn send_waiting(&mut self) {
        if !self.waiting.is_empty() {
            self.since = None;
            let message = std::mem::take(&mut self.waiting);
            self.deliver(&message).await;
        }
    }

    /// Waits for an event that is wanted, and from then on for the window.
    async fn gather(&mut self) {
        while !self.is_stopping {
            let window = Duration::from_millis(self.config.window_ms);
            let is_over = match self.since {
                Some(since) => self.meanwhile(sleep_until(since + window)).await.is_some(),
                None => self.meanwhile(std::future::pending::<()>()).await.is_some(),
            };
            if is_over {
                break;
            }
        }
        self.drain();
    }

    /// Waits for `done`, and goes on gathering; `None` if the receiver is to do otherwise meanwhile, or if what is gathered is the first that
    /// waits.
    async fn meanwhile<T>(&mut self, done: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                changed = self.orders.changed(), if !self.is_stopping => {
                    self.obey(changed.is_ok());
                    return None;
                }
                done = &mut done => return Some(done),
                batch = self.watcher.next() => {
                    let was_waiting = self.since.is_some();
                    self.take(&batch);
                    if !was_waiting && self.since.is_some() {
                        return None;
                    }
                }
            }
        }
    }

    /// Takes the newest order; without anybody who gives any, the server stops.
    fn obey(&mut self, is_there: bool) {
        match self.orders.borrow_and_update().clone().filter(|_| is_there) {
            Some(config) => self.config = config,
            None => self.is_stopping = true,
        }
    }

    fn take(&mut self, batch: &Batch) {
        if batch.lost > 0 {
            Figures::add(&self.figures.dropped, batch.lost);
            self.waiting.lose(batch.lost);
        }
        batch.events.iter().for_each(|event| self.waiting.take(event, &self.config));
        if !self.waiting.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Takes what has come up to now.
    fn drain(&mut self) {
        loop {
            let batch = self.watcher.take();
            if batch.events.is_empty() {
                return;
            }
            self.take(&batch);
        }
    }

    /// Sends a message, again and again if need be. At the stop there is one more try.
    async fn deliver(&mut self, message: &Gathered) {
        let (begun, mut attempt) = (Instant::now(), 1);
        loop {
            let failure = match self.request(message).await {
                Ok(()) => {
                    Figures::add(&self.figures.sent, 1);
                    if std::mem::take(&mut self.is_failing) {
                        info!(receiver = &*self.config.name, "messages arrive again");
                    }
                    return;
                }
                Err(failure) => failure,
            };
            let (receiver, error) = (Arc::clone(&self.config.name), failure.text);
            let patience = self.shared.patience;
            let pause =
                failure.again.map(|wanted| send::pause(patience, attempt, send::random()).max(wanted));
            let in_time = |pause: &Duration| begun.elapsed() + *pause <= patience.in_all;
            let Some(pause) = pause.filter(in_time).filter(|_| !self.is_stopping) else {
                warn!(
                    receiver = &*receiver,
                    error,
                    attempts = attempt,
                    events = message.count(),
                    "a message is given up"
                );
                Figures::add(&self.figures.failed, 1);
                Figures::add(&self.figures.dropped, message.count());
                self.is_failing = true;
                return;
            };
            if !std::mem::replace(&mut self.is_failing, true) {
                warn!(receiver = &*receiver, error, "a message could not be sent; it is tried again");
            }
            self.pause(pause).await;
            Figures::add(&self.figures.retried, 1);
            attempt += 1;
        }
    }

    /// One request. It is not broken off by a stop: its message may have arrived.
    async fn request(&mut self, message: &Gathered) -> Result<(), Failure> {
        let (config, shared) = (Arc::clone(&self.config), Arc::clone(&self.shared));
        let body = message.body(&config, &shared.server);
        let request = send::once(config, shared, body);
        tokio::pin!(request);
        loop {
            if let Some(done) = self.meanwhile(&mut request).await {
                return done;
            }
        }
    }

    /// Waits, but no longer than until there is another configuration, or the stop.
    async fn pause(&mut self, pause: Duration) {
        let (config, over) = (Arc::clone(&self.config), sleep(pause));
        tokio::pin!(over);
        while !self.is_stopping && Arc::ptr_eq(&config, &self.config) {
            if self.meanwhile(&mut over).await.is_some() {
                return;
            }
        }
    }
}
