//! The Traefik driver: polls an instance's API and reports which names its routers claim.
//!
//! ```text
//!  Order::Sync ─▶ walk (client: version, HTTP routers, TCP routers; every page) ─▶ routers (pure: filters, rules, parents) ─▶ Report
//! ```
//!
//! A list is reported only when it is complete; a page that fails, fails the list. What a router that is missing means for its
//! names, also when a whole provider is missing, is decided elsewhere: each object is reported with its provider as its namespace.

mod api;
mod client;
#[cfg(test)]
mod fake;
mod routers;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;

use client::Client;
use walk::Fetched;

use super::claim::ObjectKind;
use super::rule::Routers;
use super::source::{Failure, Order, Orders, Report, Reporter, Scope};
use crate::config::{SourceConfig, TraefikConfig};

/// The lists of an instance, and what they are called in metrics.
const LISTS: [(ObjectKind, Routers, &str); 2] = [
    (ObjectKind::Router, Routers::Http, "http/routers"),
    (ObjectKind::TcpRouter, Routers::Tcp, "tcp/routers"),
];

/// Carries out the orders for one Traefik source: each [`Order::Sync`] is one poll. Ends when its orders end.
pub async fn run(
    source: Arc<SourceConfig>,
    config: Arc<TraefikConfig>,
    reporter: Reporter,
    mut orders: Orders,
) {
    let mut driver = Driver { source, client: Client::new(config), reporter, version: String::new() };
    let mut order = orders.next().await;
    while let Some(current) = order {
        order = match current {
            // Nothing is kept open between polls, so there is nothing to let go of.
            Order::Pause => orders.next().await,
            Order::Sync | Order::Watch => poll_unless_stopped(&mut driver, &mut orders).await,
        };
    }
}

/// Polls, and gives the next order. A poll is given up for an order to pause or to end; one to poll asks for what is being done.
async fn poll_unless_stopped(driver: &mut Driver, orders: &mut Orders) -> Option<Order> {
    let mut poll = std::pin::pin!(driver.poll());
    loop {
        tokio::select! {
            () = &mut poll => break,
            order = orders.next() => match order {
                Some(Order::Sync | Order::Watch) => {}
                other => return other,
            },
        }
    }
    orders.next().await
}

struct Driver {
    source: Arc<SourceConfig>,
    client: Client,
    reporter: Reporter,
    /// The instance's version as it was last told; empty before.
    version: String,
}

impl Driver {
    /// Lists all routers once, and reports them or why it cannot.
    async fn poll(&mut self) {
        // Nobody listens any more: the orders will end, too.
        let _ = match self.version().await {
            Ok(()) => self.lists().await,
            Err(failure) => self.reporter.send(Report::Failed(None, failure)).await,
        };
        let _ = self.reporter.send(Report::Synced).await;
    }

    /// Asks for the version, by which rules are read. An instance that does not tell (a proxy before it lets only the lists through) is
    /// read as one of a version that is not known.
    async fn version(&mut self) -> Result<(), Failure> {
        if let Some(version) = walk::version(&self.client, &self.reporter).await? {
            self.version = version;
        }
        Ok(())
    }

    async fn lists(&self) -> bool {
        for (kind, routers, endpoint) in LISTS {
            let (scope, started) = (Scope::all(kind), std::time::Instant::now());
            let report = match walk::list(&self.client, &self.reporter, endpoint).await {
                Err(failure) => Report::Failed(Some(scope), failure),
                Ok(Fetched { routers: list, unnamed }) => {
                    let objects =
                        routers::objects(&list, routers, &self.version, &self.source, self.client.config());
                    match unnamed {
                        None => {
                            let _ = self.reporter.send(Report::Took(kind, started.elapsed())).await;
                            Report::Listed { scope, objects }
                        }
                        // Which router it is that cannot be read is not known, so none can be said to be missing.
                        Some(failure) => {
                            for (key, seen) in objects {
                                if !self.reporter.send(Report::Changed(key, seen)).await {
                                    return false;
                                }
                            }
                            Report::Failed(Some(scope), failure)
                        }
                    }
                }
            };
            if !self.reporter.send(report).await {
                return false;
            }
        }
        true
    }
}
