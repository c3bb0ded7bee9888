//! The driver of a cluster: carries out orders, keeps one list and watch for each resource and namespace, and reports what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::discovery::claim::ObjectKind;
use crate::discovery::source::{Failure, FailureKind, Order, Orders, Report, Reporter, Scope};

use super::api::Api;
use super::backoff::Backoff;
use super::connection::{self, Access, Conditions, fingerprint};
use super::installed::{Installed, installed};
use super::options::Options;
use super::pulse::{self, Pulse};
use super::resource::Resource;
use super::store::{Event, StatusPatch, Store};
use super::watch::{Pace, Subject, Told, Watch};
use super::world::Path;

/// How long a deletion waits for whether it is the object that goes, or its whole kind.
const CONFIRM: Duration = Duration::from_millis(300);
/// Statuses that are written at the same time.
const WRITERS: usize = 4;
/// Events of all watches that may wait for the driver.
const EVENTS: usize = 256;

/// A cluster, and what of it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The way in.
    pub access: Access,
    /// Only these namespaces; all if empty.
    pub namespaces: Vec<Box<str>>,
    /// Kinds that publish names.
    pub kinds: Vec<ObjectKind>,
    /// Label selector for objects that publish names; empty for all.
    pub labels: Box<str>,
    /// How objects become names.
    pub options: Arc<Options>,
    /// Times.
    pub pace: Pace,
}

/// Carries out orders until they end.
pub async fn run(settings: Settings, reporter: Reporter, mut orders: Orders) {
    let mut order = orders.next().await;
    while let Some(now) = order {
        let once = match now {
            Order::Pause => {
                order = orders.next().await;
                continue;
            }
            Order::Sync => true,
            Order::Watch => false,
        };
        let mut session = Session::new(&settings, &reporter, once);
        let stopped = tokio::select! {
            next = orders.next() => Some(next),
            () = session.run() => None,
        };
        order = match stopped {
            Some(next) => next,
            // It synced once, and its watches are let go.
            None => orders.next().await,
        };
    }
}

/// The work on one order.
struct Session<'a> {
    settings: &'a Settings,
    reporter: &'a Reporter,
    once: bool,
    conditions: Conditions,
    /// Whether [`Report::Synced`] was said.
    synced: bool,
    /// Whether the cluster as a whole may be known as failing: it may be from before this order, too.
    fails: bool,
}

/// Why the work with one connection ended.
enum Ended {
    /// Everything was listed once, as ordered.
    Done,
    /// The files have changed.
    FilesChanged,
    /// Nobody listens.
    Unheard,
}

impl<'a> Session<'a> {
    fn new(settings: &'a Settings, reporter: &'a Reporter, once: bool) -> Self {
        Self {
            settings,
            reporter,
            once,
            conditions: Conditions::new(reporter.clone()),
            synced: false,
            fails: true,
        }
    }

    /// Until everything was listed once, or for good.
    async fn run(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let print = fingerprint(&self.settings.access);
            let found = match connection::open(
                &self.settings.access,
                &mut self.conditions,
                self.reporter,
                self.settings.pace.request,
            )
            .await
            {
                Ok(api) => {
                    let wanted = self.wanted();
                    match installed(&api, &wanted).await {
                        Ok(found) => Ok((api, found)),
                        Err(failure) => {
                            self.conditions.failed(&failure).await;
                            Err(failure)
                        }
                    }
                }
                Err(failure) => Err(failure),
            };
            let (api, found) = match found {
                Ok(found) => found,
                Err(failure) => {
                    if !self.failed(failure).await {
                        return;
                    }
                    if self.once {
                        self.say_synced().await;
                        return;
                    }
                    self.wait(backoff.wait(), print).await;
                    continue;
                }
            };
            backoff.reset();
            self.answers().await;
            let mut cluster = Cluster::new(self, api);
            match cluster.run(found, print).await {
                Ended::Done | Ended::Unheard => return,
                Ended::FilesChanged => {}
            }
        }
    }

    /// Waits, but not longer than until the files have changed.
    async fn wait(&self, wait: Duration, print: u64) {
        let changed = async {
            loop {
                sleep(self.settings.pace.files).await;
                if fingerprint(&self.settings.access) != print {
                    return;
                }
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = changed => {}
        }
    }

    /// The cluster as a whole fails; false when nobody listens.
    async fn failed(&mut self, failure: Failure) -> bool {
        self.fails = true;
        self.reporter.send(Report::Failed(None, failure)).await
    }

    /// The cluster as a whole works.
    async fn answers(&mut self) {
        self.conditions.answered().await;
        if std::mem::take(&mut self.fails) {
            self.reporter.send(Report::Answers).await;
            if self.synced {
                // While it failed nothing could be concluded from that everything had been tried.
                self.reporter.send(Report::Synced).await;
            }
        }
    }

    async fn say_synced(&mut self) {
        if !self.synced {
            self.synced = true;
            self.reporter.send(Report::Synced).await;
        }
    }

    /// The resources that are read wherever they are installed.
    fn wanted(&self) -> Vec<Resource> {
        let kinds = &self.settings.kinds;
        let mut all: Vec<Resource> = kinds.iter().map(|kind| Resource::Publishes(*kind)).collect();
        let routes = [ObjectKind::HttpRoute, ObjectKind::GrpcRoute, ObjectKind::TlsRoute];
        if kinds.iter().any(|kind| routes.contains(kind)) {
            all.extend([Resource::Gateway, Resource::ListenerSet]);
        }
        let traefik = [
            ObjectKind::IngressRoute,
            ObjectKind::IngressRouteTcp,
            ObjectKind::LegacyIngressRoute,
            ObjectKind::LegacyIngressRouteTcp,
        ];
        if self.settings.options.traefik_service.is_some() && kinds.iter().any(|kind| traefik.contains(kind))
        {
            all.push(Resource::TraefikService);
        }
        all
    }
}

/// The work with one connection.
struct Cluster<'s, 'a> {
    session: &'s mut Session<'a>,
    api: Api,
    store: Store,
    tasks: JoinSet<()>,
    watches: BTreeMap<Subject, AbortHandle>,
    /// Watches that have not said anything yet.
    awaited: BTreeSet<Subject>,
    sender: mpsc::Sender<(Subject, Told)>,
    events: mpsc::Receiver<(Subject, Told)>,
    /// Deleted objects of kinds that come with a CRD, and when they were: with the CRD go all of its objects, which takes no name away.
    leaving: BTreeMap<(Subject, Path), Instant>,
    /// When they are looked at.
    confirm_at: Option<Instant>,
    /// What is installed is being asked since then: in a task, since an API server that hangs must not keep watches from being heard.
    lookup: JoinSet<(Instant, Result<Installed, Failure>)>,
    /// Kinds that were reported as not installed.
    missing: BTreeSet<ObjectKind>,
    /// Statuses to write: of each object the latest.
    patches: BTreeMap<Path, i64>,
    /// Writes under way.
    writers: JoinSet<Result<(), Failure>>,
    /// A write of a status failed, and that was said.
    writes_fail: bool,
}

impl<'s, 'a> Cluster<'s, 'a> {
    fn new(session: &'s mut Session<'a>, api: Api) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let store = Store::new(session.settings.options.clone());
        Self {
            session,
            api,
            store,
            tasks: JoinSet::new(),
            watches: BTreeMap::new(),
            awaited: BTreeSet::new(),
            sender,
            events,
            leaving: BTreeMap::new(),
            confirm_at: None,
            lookup: JoinSet::new(),
            missing: BTreeSet::new(),
            patches: BTreeMap::new(),
            writers: JoinSet::new(),
            writes_fail: false,
        }
    }

    async fn run(&mut self, found: Installed, print: u64) -> Ended {
        self.adopt(&found).await;
        let (beat, mut pulse) = mpsc::channel(1);
        if !self.session.once {
            self.tasks.spawn(pulse::run(self.api.clone(), self.session.settings.pace.silence, beat));
        }
        let mut discovery = interval(self.session.settings.pace.discovery);
        let mut files = interval(self.session.settings.pace.files);
        for ticks in [&mut discovery, &mut files] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
        }
        loop {
            if !self.report().await {
                return Ended::Unheard;
            }
            if self.awaited.is_empty() && !self.store.is_waiting() {
                self.session.say_synced().await;
                if self.session.once && self.writers.is_empty() {
                    return Ended::Done;
                }
            }
            tokio::select! {
                told = self.events.recv() => match told {
                    Some((subject, told)) => self.take(subject, told).await,
                    // Never: a sender is held here.
                    None => return Ended::Unheard,
                },
                Some(beat) = pulse.recv() => self.feel(beat).await,
                Some(written) = self.writers.join_next() => self.written(written.unwrap_or(Ok(()))).await,
                () = at(self.confirm_at), if self.lookup.is_empty() => {
                    self.confirm_at = None;
                    self.look_up();
                }
                Some(found) = self.lookup.join_next() => if let Ok((since, found)) = found {
                    self.looked_up(since, found).await;
                },
                _ = discovery.tick(), if self.lookup.is_empty() => self.look_up(),
                _ = files.tick() => {
                    if fingerprint(&self.session.settings.access) != print {
                        return Ended::FilesChanged;
                    }
                }
            }
        }
    }

    /// The server went silent, or is heard again.
    async fn feel(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Silent(failure) => {
                self.session.conditions.failed(&failure).await;
                self.session.failed(failure).await;
            }
            Pulse::Answers => self.session.answers().await,
        }
    }

    /// Asks again what is installed.
    fn look_up(&mut self) {
        let (api, wanted, since) = (self.api.clone(), self.session.wanted(), Instant::now());
        self.lookup.spawn(async move { (since, installed(&api, &wanted).await) });
    }

    /// What is installed, as it was asked for at `since`. Deleted objects are reported if they were deleted some time before that and their
    /// kind is still there; those of a kind that is going only cease to be watched.
    async fn looked_up(&mut self, since: Instant, found: Result<Installed, Failure>) {
        let found = match found {
            Ok(found) => found,
            Err(failure) => {
                self.session.conditions.failed(&failure).await;
                self.session.failed(failure).await;
                if !self.leaving.is_empty() {
                    self.confirm_at = Some(Instant::now() + self.session.settings.pace.files);
                }
                return;
            }
        };
        self.session.answers().await;
        let (known, later): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(|(_, deleted)| *deleted + CONFIRM <= since);
        self.leaving = later;
        for ((subject, path), _) in known {
            if found.get(&subject.resource) == Some(&subject.version) {
                let (resource, namespace) = (subject.resource, subject.namespace.as_deref());
                self.store.take(resource, namespace, None, Event::Gone(path));
            }
        }
        self.confirm_at = self.leaving.values().min().map(|deleted| *deleted + CONFIRM);
        self.adopt(&found).await;
    }

    /// Holds back what has to be confirmed; gives back what has not.
    fn hold_back(&mut self, subject: &Subject, event: Event) -> Option<Event> {
        if subject.resource.is_built_in() || !matches!(subject.resource, Resource::Publishes(_)) {
            return Some(event);
        }
        match &event {
            Event::Gone(path) => {
                self.leaving.insert((subject.clone(), path.clone()), Instant::now());
                self.confirm_at.get_or_insert_with(|| Instant::now() + CONFIRM);
                return None;
            }
            // It is there again, or a whole list says what is.
            Event::Changed(object) => {
                self.leaving.remove(&(subject.clone(), (object.namespace.clone(), object.name.clone())));
            }
            Event::Listed(_) => self.leaving.retain(|(held, _), _| held != subject),
            Event::Alive | Event::Resumed | Event::Failed(_) => {}
        }
        Some(event)
    }

    /// Watches what is installed, and lets go of what is not any more.
    async fn adopt(&mut self, found: &Installed) {
        let wanted = self.session.wanted();
        let namespaces = self.session.settings.namespaces.clone();
        let mut subjects = BTreeSet::new();
        for resource in &wanted {
            let Some(version) = found.get(resource) else {
                if let Resource::Publishes(kind) = resource
                    && self.missing.insert(*kind)
                {
                    self.session.reporter.send(Report::NotInstalled(*kind)).await;
                }
                continue;
            };
            if let Resource::Publishes(kind) = resource {
                self.missing.remove(kind);
            }
            let scopes: Vec<Option<Box<str>>> =
                match (resource, &self.session.settings.options.traefik_service) {
                    (Resource::TraefikService, Some((namespace, _))) => vec![Some(namespace.clone())],
                    _ if namespaces.is_empty() => vec![None],
                    _ => namespaces.iter().cloned().map(Some).collect(),
                };
            subjects.extend(scopes.into_iter().map(|namespace| Subject {
                resource: *resource,
                version,
                namespace,
                service: None,
            }));
        }
        let is_fixed = |subject: &Subject| wanted.contains(&subject.resource);
        let old: Vec<Subject> =
            self.watches.keys().filter(|held| is_fixed(held) && !subjects.contains(*held)).cloned().collect();
        for subject in old {
            self.drop_watch(&subject);
        }
        for subject in subjects {
            self.watch(subject);
        }
    }

    fn watch(&mut self, subject: Subject) {
        if self.watches.contains_key(&subject) {
            return;
        }
        self.store.expect(subject.resource, subject.namespace.as_deref(), subject.service.as_ref());
        self.awaited.insert(subject.clone());
        let watch = Watch {
            subject: subject.clone(),
            labels: self.session.settings.labels.clone(),
            api: self.api.clone(),
            options: self.session.settings.options.clone(),
            once: self.session.once,
            pace: self.session.settings.pace,
            sender: self.sender.clone(),
        };
        let task = self.tasks.spawn(watch.run());
        self.watches.insert(subject, task);
    }

    fn drop_watch(&mut self, subject: &Subject) {
        if let Some(task) = self.watches.remove(subject) {
            task.abort();
        }
        self.awaited.remove(subject);
        // Its kind has gone, and what was deleted with it: should the kind come back, a list says what is there.
        self.leaving.retain(|(held, _), _| held != subject);
    }

    /// Takes what a watch said.
    async fn take(&mut self, subject: Subject, told: Told) {
        // What was on its way when a watch was let go.
        if !self.watches.contains_key(&subject) {
            return;
        }
        if matches!(told, Told::NotInstalled | Told::Event(Event::Listed(_) | Event::Failed(_))) {
            self.awaited.remove(&subject);
        }
        let conditions = &mut self.session.conditions;
        match told {
            Told::Took(took) => {
                if let Resource::Publishes(kind) = subject.resource {
                    self.session.reporter.send(Report::Took(kind, took)).await;
                }
            }
            Told::NotInstalled => {
                self.drop_watch(&subject);
                if !matches!(subject.resource, Resource::Publishes(_)) {
                    let failure = Failure::new(FailureKind::NotFound, "not installed");
                    let Subject { resource, namespace, service, .. } = &subject;
                    let event = Event::Failed(failure);
                    self.store.take(*resource, namespace.as_deref(), service.as_ref(), event);
                }
                if let Resource::Publishes(kind) = subject.resource
                    && self.missing.insert(kind)
                {
                    self.session.reporter.send(Report::NotInstalled(kind)).await;
                }
            }
            Told::Event(event) => {
                match &event {
                    Event::Failed(failure) => conditions.failed(failure).await,
                    _ => conditions.answered().await,
                }
                if let Some(event) = self.hold_back(&subject, event) {
                    let Subject { resource, namespace, service, .. } = &subject;
                    self.store.take(*resource, namespace.as_deref(), service.as_ref(), event);
                }
            }
        }
        while self.tasks.try_join_next().is_some() {}
        self.follow_needs();
    }

    /// Lists what objects ask for, and only that.
    fn follow_needs(&mut self) {
        let needs = self.store.needs();
        for (needed, resource) in [(needs.namespaces, Resource::Namespace), (needs.nodes, Resource::Node)] {
            if needed {
                self.watch(Subject { resource, version: "v1", namespace: None, service: None });
            }
        }
        let slices: Vec<Subject> =
            self.watches.keys().filter(|held| held.service.is_some()).cloned().collect();
        for subject in slices {
            if let Some(service) = subject.service.as_ref().filter(|service| !needs.slices.contains(*service))
            {
                self.store.forget_slices(service);
                self.drop_watch(&subject);
            }
        }
        for service in needs.slices {
            let namespace = Some(service.0.clone());
            self.watch(Subject {
                resource: Resource::EndpointSlice,
                version: "v1",
                namespace,
                service: Some(service),
            });
        }
    }

    /// Hands over what there is to report, and writes statuses; false when nobody listens.
    async fn report(&mut self) -> bool {
        for report in self.store.reports() {
            if !self.session.reporter.send(report).await {
                return false;
            }
        }
        for StatusPatch { path, generation } in self.store.patches() {
            self.patches.insert(path, generation);
        }
        while self.writers.len() < WRITERS
            && let Some((path, generation)) = self.patches.pop_first()
        {
            self.writers.spawn(write_status(self.api.clone(), path, generation));
        }
        true
    }

    /// A status was written, or not: names do not depend on it, so that is only said, and only once.
    async fn written(&mut self, written: Result<(), Failure>) {
        match written {
            Ok(()) => self.writes_fail = false,
            // The object went meanwhile.
            Err(failure) if failure.kind == FailureKind::NotFound => {}
            Err(failure) => {
                if !self.writes_fail {
                    self.writes_fail = true;
                    let scope = Scope::all(ObjectKind::DnsEndpoint);
                    self.session.reporter.send(Report::Failed(Some(scope), failure)).await;
                }
            }
        }
    }
}

/// Waits for a time; for ever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Writes which generation of a DNSEndpoint was seen. Whoever does it writes the same, so that no leader is needed.
async fn write_status(api: Api, (namespace, name): Path, generation: i64) -> Result<(), Failure> {
    let place = Resource::Publishes(ObjectKind::DnsEndpoint).place();
    let path = format!("{}/{name}/status", place.path(place.versions[0], Some(&namespace)));
    let body = serde_json::json!({ "status": { "observedGeneration": generation } });
    api.patch("dnsendpoints/status", &path, body.to_string().into_bytes()).await
}
