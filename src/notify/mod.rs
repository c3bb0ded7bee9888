//! Telling people what happens: each receiver (a webhook, Slack, Discord) is a task that reads the event bus.
//!
//! ```text
//!  events ─▶ wanted? ─▶ gathered for a window ─▶ one message ─▶ POST, again after pauses ─▶ sent, or given up
//! ```
//!
//! What waits is a digest of bounded size (`message::Gathered`), and a receiver goes on gathering while a message is on its way. So
//! neither a storm of events nor a receiver that is dead holds anything up, or takes memory: whoever publishes an event only writes it into
//! the ring that everybody reads.

mod message;
mod receiver;
mod send;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::config::NotifyConfig;
use crate::model::events::Events;
use crate::telemetry::metrics::{MetricKind, MetricsWriter};
use crate::tls::ClientConfigs;
use receiver::Receiver;

/// At the stop, what waits is sent within so long.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long a message is tried.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// The first pause is at most so long; each further one twice as much.
    first_pause: Duration,
    /// But no more than this.
    longest_pause: Duration,
    /// A message that has not arrived within so long is given up.
    in_all: Duration,
}

const PATIENCE: Patience = Patience {
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(120),
    in_all: Duration::from_secs(900),
};

/// All receivers.
pub struct Receivers {
    runtime: Handle,
    shared: Arc<Shared>,
    running: Mutex<Vec<Running>>,
}

/// What all receivers have in common.
struct Shared {
    events: Arc<Events>,
    tls: ClientConfigs,
    /// The host's name.
    server: String,
    patience: Patience,
}

struct Running {
    config: Arc<NotifyConfig>,
    figures: Arc<Figures>,
    /// What it is to do from now on; `None` to send what waits and end.
    orders: watch::Sender<Option<Arc<NotifyConfig>>>,
    task: JoinHandle<()>,
}

/// What became of a receiver's messages.
#[derive(Debug, Default)]
struct Figures {
    sent: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    /// Events that no message told of.
    dropped: AtomicU64,
}

impl Figures {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

impl Receivers {
    /// Starts the receivers of a configuration. They are told what happens from now on.
    pub fn start(runtime: &Handle, events: Arc<Events>, configs: &[NotifyConfig]) -> Self {
        Self::start_with(runtime, events, configs, PATIENCE)
    }

    fn start_with(
        runtime: &Handle,
        events: Arc<Events>,
        configs: &[NotifyConfig],
        patience: Patience,
    ) -> Self {
        let server = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let shared = Arc::new(Shared { events, tls: ClientConfigs::default(), server, patience });
        let receivers = Self { runtime: runtime.clone(), shared, running: Mutex::default() };
        receivers.replace(configs);
        receivers
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        // Each change of the list is one step.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another configuration over. Receivers are known by their names: one that has changed goes on with what waits, by its new
    /// configuration; one that is gone sends what waits, and ends.
    pub fn replace(&self, configs: &[NotifyConfig]) {
        let mut running = self.running();
        let mut before = std::mem::take(&mut *running);
        for config in configs {
            let known = before.iter().position(|receiver| receiver.config.name == config.name);
            running.push(match known.map(|i| before.swap_remove(i)) {
                Some(mut receiver) => {
                    if *receiver.config != *config {
                        receiver.config = Arc::new(config.clone());
                        receiver.orders.send_replace(Some(Arc::clone(&receiver.config)));
                    }
                    receiver
                }
                None => self.open(config.clone()),
            });
        }
        before.iter().for_each(|receiver| drop(receiver.orders.send_replace(None)));
    }

    fn open(&self, config: NotifyConfig) -> Running {
        let (config, figures) = (Arc::new(config), Arc::<Figures>::default());
        let (orders, receiver) = watch::channel(Some(Arc::clone(&config)));
        let receiver =
            Receiver::new(Arc::clone(&self.shared), Arc::clone(&config), Arc::clone(&figures), receiver);
        Running { config, figures, orders, task: self.runtime.spawn(receiver.run()) }
    }

    /// Ends all receivers. What waits is sent, for a moment.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.running());
        running.iter().for_each(|receiver| drop(receiver.orders.send_replace(None)));
        let deadline = Instant::now() + LAST_WORDS;
        for mut receiver in running {
            if timeout_at(deadline, &mut receiver.task).await.is_err() {
                let name = &*receiver.config.name;
                tracing::warn!(receiver = name, "what the receiver was still to be told is lost by the stop");
                receiver.task.abort();
            }
        }
    }
}

/// Writes the metrics; without receivers, which there may be.
pub fn write_metrics(page: &mut MetricsWriter, receivers: Option<&Receivers>) {
    let of = |receiver: &Running| {
        let Figures { sent, failed, retried, dropped } = &*receiver.figures;
        let figures = [sent, failed, retried, dropped].map(|counter| counter.load(Ordering::Relaxed));
        (Arc::clone(&receiver.config.name), figures)
    };
    let all: Vec<(Arc<str>, [u64; 4])> =
        receivers.map_or_else(Vec::new, |receivers| receivers.running().iter().map(of).collect());
    page.family(
        "hale_notifications_total",
        MetricKind::Counter,
        &["receiver", "outcome"],
        "Messages to receivers of notify: sent, or failed, which are those given up.",
    );
    for (name, [sent, failed, ..]) in &all {
        page.sample(&[("receiver", name), ("outcome", "sent")], sent);
        page.sample(&[("receiver", name), ("outcome", "failed")], failed);
    }
    page.family(
        "hale_notification_retries_total",
        MetricKind::Counter,
        &["receiver"],
        "Requests to receivers that were sent again.",
    );
    for (name, [_, _, retried, _]) in &all {
        page.sample(&[("receiver", name)], retried);
    }
    page.family(
        "hale_notification_events_dropped_total",
        MetricKind::Counter,
        &["receiver"],
        "Events that a receiver was not told of: those of messages that were given up, and any that came faster than they could be read.",
    );
    for (name, [.., dropped]) in &all {
        page.sample(&[("receiver", name)], dropped);
    }
}
