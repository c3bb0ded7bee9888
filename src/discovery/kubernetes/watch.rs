//! One list and watch: a page at a time, from version to version, until it is let go.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::discovery::source::{Failure, FailureKind};

use super::api::{Api, Status, escape, unreadable};
use super::backoff::Backoff;
use super::decode::{Decoded, decode};
use super::options::Options;
use super::resource::Resource;
use super::store::Event;
use super::world::Path;

/// Objects of one page.
const PAGE: usize = 500;
/// Lists that are begun again at once because their pages expired; more of that is a failure.
const EXPIRED_LISTS: usize = 3;
/// A watch that stands for so long after one that failed is no longer a failure. One that breaks at once, again and again, is.
const STANDS: Duration = Duration::from_secs(2);

/// How often and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// One request may take this long.
    pub request: Duration,
    /// After this time the server ends a watch, so that a live one is known as such.
    pub watch: Duration,
    /// How much later than that a watch is cut off as dead.
    pub grace: Duration,
    /// A server that says nothing on any connection for this long, even when it is asked, fails.
    pub silence: Duration,
    /// How often a cluster is asked what is installed.
    pub discovery: Duration,
    /// How often the files of a kubeconfig are looked at.
    pub files: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            request: seconds(60),
            watch: seconds(60),
            grace: seconds(15),
            silence: seconds(20),
            discovery: seconds(30),
            files: seconds(5),
        }
    }
}

/// What is listed and watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The resource.
    pub resource: Resource,
    /// Its version in the API.
    pub version: &'static str,
    /// The only namespace.
    pub namespace: Option<Box<str>>,
    /// For EndpointSlices: the Service that they belong to.
    pub service: Option<Path>,
}

/// What a watch tells the driver.
// As with events.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Told {
    /// Something about objects.
    Event(Event),
    /// How long the complete list took that follows.
    Took(Duration),
    /// The resource is not there (404): its CRD is gone. The watch has ended.
    NotInstalled,
}

/// A list and watch.
pub struct Watch {
    /// What of.
    pub subject: Subject,
    /// Label selector for objects that publish names; empty for all.
    pub labels: Box<str>,
    /// The server.
    pub api: Api,
    /// How objects are cut down.
    pub options: Arc<Options>,
    /// List once, and do not watch.
    pub once: bool,
    /// Times.
    pub pace: Pace,
    /// Where everything goes.
    pub sender: mpsc::Sender<(Subject, Told)>,
}

/// Why a watch has to begin anew.
enum Ended {
    /// Its version is too old: list again.
    Expired,
    /// It failed.
    Failed(Failure),
    /// What it said makes no sense: only a list can.
    Unreadable(Failure),
    /// Nobody listens any more.
    Unheard,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    r#continue: Box<str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: PageMetadata,
}

impl Watch {
    /// Lists, then watches; never ends but for `once`, a missing resource, or when nobody listens.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let version = match self.list().await {
                Ok(Some(version)) => version,
                Ok(None) => return,
                Err(failure) if failure.kind == FailureKind::NotFound => {
                    self.tell(Told::NotInstalled).await;
                    return;
                }
                Err(failure) => {
                    if !self.event(Event::Failed(failure)).await || self.once {
                        return;
                    }
                    sleep(backoff.wait()).await;
                    continue;
                }
            };
            if self.once {
                return;
            }
            if !self.follow(version, &mut backoff).await {
                return;
            }
        }
    }

    /// Watches from a version on until a new list is needed; false when nobody listens.
    async fn follow(&self, mut version: Box<str>, backoff: &mut Backoff) -> bool {
        let mut failed = false;
        loop {
            let started = Instant::now();
            match self.watch(&mut version, backoff, failed).await {
                Ok(()) => {
                    failed = false;
                    if !self.event(Event::Alive).await {
                        return false;
                    }
                    // One that ends at once, again and again, is asked for more slowly.
                    if started.elapsed() < Duration::from_secs(1) {
                        sleep(backoff.wait()).await;
                    }
                }
                Err(Ended::Unheard) => return false,
                Err(Ended::Expired) => {
                    sleep(backoff.wait()).await;
                    return true;
                }
                Err(Ended::Failed(failure)) if failure.kind == FailureKind::NotFound => return true,
                Err(Ended::Failed(failure)) => {
                    failed = true;
                    if !self.event(Event::Failed(failure)).await {
                        return false;
                    }
                    sleep(backoff.wait()).await;
                }
                Err(Ended::Unreadable(failure)) => {
                    let heard = self.event(Event::Failed(failure)).await;
                    sleep(backoff.wait()).await;
                    return heard;
                }
            }
        }
    }

    /// Lists everything, page by page, and hands it over once it is complete. `None`: nobody listens.
    async fn list(&self) -> Result<Option<Box<str>>, Failure> {
        let (mut expired, started) = (0, Instant::now());
        loop {
            let (objects, unnamed, version) = match self.pages().await {
                Err(failure) if failure.kind == FailureKind::Gone && expired < EXPIRED_LISTS => {
                    expired += 1;
                    continue;
                }
                pages => pages?,
            };
            let heard = match unnamed {
                None => {
                    self.tell(Told::Took(started.elapsed())).await && self.event(Event::Listed(objects)).await
                }
                // A list with an object that nobody can name is not complete: what it lacks may be just that.
                Some(failure) => {
                    for object in objects {
                        self.event(Event::Changed(object)).await;
                    }
                    self.event(Event::Failed(failure)).await
                }
            };
            return Ok(heard.then_some(version));
        }
    }

    async fn pages(&self) -> Result<(Vec<Decoded>, Option<Failure>, Box<str>), Failure> {
        let (mut objects, mut unnamed) = (Vec::new(), None);
        let mut next = Box::<str>::default();
        loop {
            let mut query = format!("limit={PAGE}");
            if !next.is_empty() {
                query += &format!("&continue={}", escape(&next));
            }
            let body = self.api.get(self.endpoint(), "LIST", &self.path(&query)).await?;
            let page: Page<'_> = serde_json::from_slice(&body).map_err(|error| self.unreadable(&error))?;
            for item in page.items.unwrap_or_default() {
                match decode(self.subject.resource, item, &self.options) {
                    Ok(object) => objects.push(object),
                    Err(error) => unnamed = Some(self.unreadable(&error)),
                }
            }
            let PageMetadata { resource_version, r#continue } = page.metadata;
            if r#continue.is_empty() {
                return Ok((objects, unnamed, resource_version));
            }
            next = r#continue;
        }
    }

    /// One watch, to its end. `version` goes on with what it tells. Where the one before `failed`, it is told once this one stands.
    async fn watch(&self, version: &mut Box<str>, backoff: &mut Backoff, failed: bool) -> Result<(), Ended> {
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
            self.pace.watch.as_secs(),
            escape(version)
        );
        let deadline = Instant::now() + self.pace.watch + self.pace.grace;
        let mut lines = match self.api.watch(self.endpoint(), &self.path(&query)).await {
            Ok(lines) => lines,
            Err(failure) if failure.kind == FailureKind::Gone => return Err(Ended::Expired),
            Err(failure) => return Err(Ended::Failed(failure)),
        };
        let mut stands_at = failed.then(|| Instant::now() + STANDS);
        loop {
            let line = match timeout_at(stands_at.unwrap_or(deadline).min(deadline), lines.next()).await {
                Err(_) if stands_at.take().is_some() => {
                    if !self.event(Event::Resumed).await {
                        return Err(Ended::Unheard);
                    }
                    continue;
                }
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(why)) => {
                    let text = format!("the watch broke off: {why}");
                    return Err(Ended::Failed(self.api.failure(
                        FailureKind::Connect,
                        self.endpoint(),
                        &text,
                    )));
                }
                Err(_) => {
                    let text = "the watch did not end when it should have: nothing came any more";
                    return Err(Ended::Failed(self.api.failure(FailureKind::Timeout, self.endpoint(), text)));
                }
            };
            if let Some(event) = self.read(&line, version)? {
                backoff.reset();
                if !self.event(event).await {
                    return Err(Ended::Unheard);
                }
            }
        }
    }

    /// What a line says.
    fn read(&self, line: &[u8], version: &mut Box<str>) -> Result<Option<Event>, Ended> {
        let line: Line<'_> =
            serde_json::from_slice(line).map_err(|error| Ended::Unreadable(self.unreadable(&error)))?;
        match line.r#type {
            "BOOKMARK" => {
                let bookmark: Bookmark = serde_json::from_str(line.object.get())
                    .map_err(|error| Ended::Unreadable(self.unreadable(&error)))?;
                *version = bookmark.metadata.resource_version;
                Ok(Some(Event::Alive))
            }
            "ERROR" => {
                let status = serde_json::from_str::<Status>(line.object.get());
                let status = status.map_err(|error| Ended::Unreadable(self.unreadable(&error)))?;
                if status.code == 410 {
                    return Err(Ended::Expired);
                }
                let kind = FailureKind::of_status(status.code).unwrap_or(FailureKind::Server);
                let text = format!("the watch was ended: {} {}", status.code, status.message);
                Err(Ended::Failed(self.api.failure(kind, self.endpoint(), &text)))
            }
            "ADDED" | "MODIFIED" | "DELETED" => {
                let object = decode(self.subject.resource, line.object, &self.options)
                    .map_err(|error| Ended::Unreadable(self.unreadable(&error)))?;
                if !object.version.is_empty() {
                    version.clone_from(&object.version);
                }
                Ok(Some(match line.r#type {
                    "DELETED" => Event::Gone((object.namespace, object.name)),
                    _ => Event::Changed(object),
                }))
            }
            // Interfaces may grow.
            _ => Ok(None),
        }
    }

    fn endpoint(&self) -> &'static str {
        self.subject.resource.place().plural
    }

    /// The path of the list, with a query.
    fn path(&self, query: &str) -> String {
        let subject = &self.subject;
        let path = subject.resource.place().path(subject.version, subject.namespace.as_deref());
        let selector = match (subject.resource, &subject.service) {
            (Resource::Publishes(_), _) if !self.labels.is_empty() => {
                format!("&labelSelector={}", escape(&self.labels))
            }
            (Resource::EndpointSlice, Some((_, service))) => {
                let label = format!("{}={service}", super::options::SERVICE_OF_SLICE);
                format!("&labelSelector={}", escape(&label))
            }
            (Resource::TraefikService, _) => match &self.options.traefik_service {
                Some((_, name)) => format!("&fieldSelector={}", escape(&format!("metadata.name={name}"))),
                None => String::new(),
            },
            _ => String::new(),
        };
        format!("{path}?{query}{selector}")
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> Failure {
        self.api.failure(FailureKind::Decode, self.endpoint(), &unreadable(error))
    }

    async fn event(&self, event: Event) -> bool {
        self.tell(Told::Event(event)).await
    }

    async fn tell(&self, told: Told) -> bool {
        self.sender.send((self.subject.clone(), told)).await.is_ok()
    }
}
