//! Discovery while it runs: a driver task for each source, and one task that takes their reports in, tells the keeper what has changed, and
//! keeps what was found. The deciding itself is pure, and stands in `discovery`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

use super::hidden::Hiding;
use crate::admin::ChangeError;
use crate::config::{Config, SourceConfig, SourceKind, SourcesConfig};
use crate::discovery::core::{Core, Line};
use crate::discovery::guard::Now;
use crate::discovery::kept::Kept;
use crate::discovery::kubernetes::{self, settings::settings};
use crate::discovery::source::{
    Failure, FailureKind, Order, Orders, Report, ReportReceiver, ReportSender, Reporter,
};
use crate::discovery::traefik;
use crate::keeper::channel::KeeperHandle;
use crate::model::discovered::{Amendment, Origin, Refusal, RefusedFor, namespace_of};
use crate::model::discovery_report::{PlanReport, SourceChange, SourceReport};
use crate::model::event::News;
use crate::model::events::Events;
use crate::model::name::Name;
use crate::model::report::ReadinessPart;
use crate::snapshot::handle::Published;
use crate::state::{StateDir, StateError};
use crate::telemetry::metrics::MetricsWriter;

/// How often time is looked at: removals become due by it, and polls.
const TICK: Duration = Duration::from_secs(1);
/// What was found is saved at most so often; the first time at once.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Drivers that are told to end are waited for so long.
const END_WITHIN: Duration = Duration::from_secs(1);

/// All of discovery, as the rest of the server sees it.
pub(super) struct Discovery {
    core: Mutex<Core>,
    /// Each source and whether it is ready, so that who asks never waits for the core.
    ready: Mutex<Vec<(String, bool)>>,
    /// All sources were ready once: no later one makes the server unready.
    was_ready: AtomicBool,
    started: Instant,
    ready_timeout_ms: AtomicU64,
    pub(super) state: Option<Arc<StateDir>>,
    /// Somebody has changed something that the task is to look at.
    wake: Notify,
    /// The sources are others than those that drivers run for.
    replaced: AtomicBool,
    pub(super) events: Arc<Events>,
    pub(super) hiding: Hiding,
}

impl Discovery {
    /// The sources of a configuration, with what the state directory keeps of them.
    pub(super) fn load(config: &Config, state: Option<&Arc<StateDir>>, events: Arc<Events>) -> Self {
        let started = Instant::now();
        let kept = state.map(load_kept).unwrap_or_default();
        forget(&kept, &config.sources);
        let core = Core::new(&config.sources, Arc::clone(&config.shared), kept, now(started));
        let discovery = Self {
            core: Mutex::new(core),
            ready: Mutex::default(),
            was_ready: AtomicBool::new(false),
            started,
            ready_timeout_ms: AtomicU64::new(config.sources.ready_timeout_ms),
            state: state.cloned(),
            wake: Notify::new(),
            replaced: AtomicBool::new(false),
            events,
            hiding: Hiding::load(state),
        };
        discovery.core().set_hidden(&discovery.hiding.current(), discovery.now());
        discovery.note_readiness();
        discovery
    }

    /// Has the task look at what has changed.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Now {
        now(self.started)
    }

    fn take_changes(&self) -> (Option<Amendment>, Vec<Line>) {
        let mut core = self.core();
        (core.take_amendment(), core.take_lines())
    }

    fn take_kept(&self, always: bool) -> Option<Kept> {
        let mut core = self.core();
        let kept = core.take_kept();
        if always && !core.configs().is_empty() { Some(core.kept()) } else { kept }
    }

    /// Publishes what was restored, before the first query is answered. Blocks.
    pub(super) fn publish_restored(&self, keeper: &KeeperHandle, published: &Published) {
        let (amendment, lines) = self.take_changes();
        if let Some(amendment) = amendment {
            info!(names = amendment.changes.len(), "discovered names are restored");
            log_refusals(&keeper.amend(amendment).unwrap_or_default(), published);
        }
        lines.iter().filter(|line| line.warn).for_each(|line| log(line, published));
    }

    /// Takes the sources of another configuration over. Those that are the same go on untouched; what stands of others stands until they
    /// say otherwise.
    pub(super) fn replace(&self, config: &Config) {
        self.ready_timeout_ms.store(config.sources.ready_timeout_ms, Ordering::Relaxed);
        self.core().replace(&config.sources, Arc::clone(&config.shared), self.now());
        self.replaced.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Runs the drivers and follows their reports until `stop` turns true.
    pub(super) async fn run(
        self: Arc<Self>,
        keeper: KeeperHandle,
        published: Arc<Published>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut drivers = Drivers::start(self.core().configs());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut saved: Option<Instant> = None;
        while !*stop.borrow() {
            tokio::select! {
                Some(report) = drivers.reports.recv() => {
                    self.take_in(&drivers, report);
                    // What has come meanwhile goes into the same amendment.
                    while let Ok(report) = drivers.reports.try_recv() {
                        self.take_in(&drivers, report);
                    }
                }
                _ = ticks.tick(), if !drivers.list.is_empty() => self.core().tick(self.now()),
                () = self.wake.notified() => {}
                _ = stop.changed() => continue,
            }
            if self.replaced.swap(false, Ordering::AcqRel) {
                let configs = self.core().configs().to_vec();
                drivers.replace(configs).await;
            }
            self.keep_driving(&mut drivers);
            self.publish(&keeper, &published).await;
            self.note_readiness();
            if saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) && self.save(false).await {
                saved = Some(Instant::now());
            }
        }
        drivers.end().await;
        self.save(true).await;
    }

    /// What a driver reports that has been replaced meanwhile is of no interest any more. Between a new configuration and its drivers, the
    /// core has other sources than those that report: nothing is taken in then, since the numbers differ.
    fn take_in(&self, drivers: &Drivers, (number, report): (usize, Report)) {
        let mut core = self.core();
        if let Some(index) = drivers.index(number).filter(|index| drivers.is_of(*index, core.configs())) {
            core.report(index, report, self.now(), random());
        }
    }

    /// Passes orders on, and starts drivers again that have ended or do not listen.
    fn keep_driving(&self, drivers: &mut Drivers) {
        let mut core = self.core();
        if self.replaced.load(Ordering::Acquire) {
            // The next round has the drivers of these sources.
            return;
        }
        for index in 0..drivers.list.len() {
            if drivers.list[index].task.is_finished() {
                let failure = Failure::new(FailureKind::Config, "its driver has ended; the log tells why");
                core.driver_ended(index, failure, self.now(), random());
                drivers.restart(index, &core.configs()[index]);
            }
        }
        for (index, order) in core.orders(self.now()) {
            if drivers.list[index].orders.try_send(order).is_err() {
                let failure =
                    Failure::new(FailureKind::Timeout, "its driver does not listen; it is restarted");
                core.driver_ended(index, failure, self.now(), random());
                drivers.restart(index, &core.configs()[index]);
            }
        }
    }

    async fn publish(&self, keeper: &KeeperHandle, published: &Published) {
        let (amendment, lines) = self.take_changes();
        lines.iter().for_each(|line| log(line, published));
        self.events.publish_all(lines.iter().filter_map(|line| news(line, published)));
        let Some(amendment) = amendment else { return };
        let keeper = keeper.clone();
        let refusals = tokio::task::spawn_blocking(move || keeper.amend(amendment)).await;
        // A keeper that has stopped ends the server by itself.
        log_refusals(&refusals.ok().flatten().unwrap_or_default(), published);
    }

    /// Saves what stands if it has changed, or in any case; whether there was something to save.
    async fn save(&self, always: bool) -> bool {
        let Some(state) = self.state.clone() else { return false };
        let Some(kept) = self.take_kept(always) else { return false };
        let saved = tokio::task::spawn_blocking(move || kept.save(&state)).await;
        if let Ok(Err(error)) = saved {
            warn!(%error, "discovered names are not saved: a restart would know only older ones");
        }
        true
    }

    /// Saves what stands. Blocks.
    pub(super) fn save_now(&self) -> Result<(), StateError> {
        let kept = self.take_kept(true);
        match (&self.state, kept) {
            (Some(state), Some(kept)) => kept.save(state),
            _ => Ok(()),
        }
    }

    fn note_readiness(&self) {
        let sources: Vec<(String, bool)> =
            self.core().readiness().map(|(name, ready)| (name.to_owned(), ready)).collect();
        if sources.iter().all(|(_, ready)| *ready) {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    /// The part of readiness of each source.
    pub(super) fn readiness(&self) -> Vec<ReadinessPart> {
        let patience = Duration::from_millis(self.ready_timeout_ms.load(Ordering::Relaxed));
        let is_over = self.was_ready.load(Ordering::Relaxed) || self.started.elapsed() >= patience;
        let sources = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |(name, ready): &(String, bool)| {
            let detail = match (ready, is_over) {
                (true, _) => "listed or restored",
                (false, true) => "not listed yet, and no longer waited for",
                (false, false) => "waiting for the first list",
            };
            ReadinessPart { name: format!("source {name}"), ready: *ready || is_over, detail: detail.into() }
        };
        sources.iter().map(part).collect()
    }

    /// Each source.
    pub(super) fn reports(&self) -> Vec<SourceReport> {
        self.core().reports(self.now())
    }

    /// What sources would change, with what the keeper would say to it. Blocks.
    pub(super) fn plan(&self, keeper: &KeeperHandle) -> Vec<PlanReport> {
        let plan = self.core().plan();
        let (mut entries, Amendment { changes }) = (plan.entries, plan.amendment);
        let Some(answer) = keeper.would_amend(Amendment { changes }) else { return entries };
        for planned in answer.names {
            let (name, hides) = (planned.name.to_string(), planned.hides.map(|name| name.to_string()));
            for entry in entries.iter_mut().filter(|entry| entry.name == name && entry.change != "refuse") {
                entry.hides = hides.clone();
            }
        }
        let mut refusals = keeper.refusals();
        refusals.extend(answer.refusals);
        let core = self.core();
        let mut refused: Vec<PlanReport> =
            refusals.iter().map(|refusal| refused(refusal, core.origin(&refusal.name))).collect();
        drop(core);
        refused.sort_by(|a, b| (&a.name, &a.why).cmp(&(&b.name, &b.why)));
        refused.dedup();
        entries.extend(refused);
        entries
    }

    /// Carries out what somebody asks for; `None` where there is no such source.
    pub(super) fn change(
        &self,
        source: &str,
        action: &str,
        owner: &str,
    ) -> Result<Option<SourceChange>, ChangeError> {
        let mut core = self.core();
        let Some(index) = core.find(source) else { return Ok(None) };
        let mut names = 0;
        match action {
            "resync" if !core.resync(index) => {
                return Err(ChangeError::Bad(format!("{source} is paused: `hale resume {source}` first")));
            }
            "resync" => {}
            "pause" | "resume" => core.pause(index, action == "pause", self.now()),
            "release" => names = core.release(index, self.now()),
            _ => return Err(ChangeError::Bad(format!("{action:?} is not resync, pause, resume or release"))),
        }
        drop(core);
        self.wake.notify_one();
        info!(source, action, owner, names, "source changed");
        let (source, action) = (source.to_owned(), action.to_owned());
        Ok(Some(SourceChange { source, action, names: names as u64 }))
    }

    /// Writes the metrics of all sources.
    pub(super) fn metrics(&self, page: &mut MetricsWriter, published: &Published) {
        let zones: Vec<Name> = published.load().zones().map(|zone| zone.apex.clone()).collect();
        super::discovery_metrics::write(page, &self.core().figures(&zones, self.now()), super::now_s());
    }
}

fn refused(refusal: &Refusal, origin: Option<&Origin>) -> PlanReport {
    PlanReport {
        name: refusal.name.to_string(),
        change: "refuse".to_owned(),
        source: origin.map_or_else(String::new, |origin| origin.source.to_string()),
        object: origin.map_or_else(String::new, |origin| origin.object.to_string()),
        why: Some(refusal.to_string()),
        ..PlanReport::default()
    }
}

/// The drivers of all sources, in the order of these. Each has a number of its own, since a source may change its place.
struct Drivers {
    list: Vec<Driver>,
    sender: ReportSender,
    reports: ReportReceiver,
    next: usize,
}

struct Driver {
    number: usize,
    config: SourceConfig,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drivers {
    fn start(configs: &[SourceConfig]) -> Self {
        let (sender, reports) = Reporter::channel();
        let mut drivers = Self { list: Vec::new(), sender, reports, next: 0 };
        drivers.list = configs.iter().map(|config| drivers.drive(config.clone())).collect();
        drivers
    }

    /// Which source a driver with a number is of.
    fn index(&self, number: usize) -> Option<usize> {
        self.list.iter().position(|driver| driver.number == number)
    }

    fn is_of(&self, index: usize, configs: &[SourceConfig]) -> bool {
        configs.get(index).is_some_and(|config| config.is_same(&self.list[index].config))
    }

    fn restart(&mut self, index: usize, config: &SourceConfig) {
        self.list[index].task.abort();
        self.list[index] = self.drive(config.clone());
    }

    /// Drives these sources from now on; those that are the same keep their drivers.
    async fn replace(&mut self, configs: Vec<SourceConfig>) {
        let mut before = std::mem::take(&mut self.list);
        for config in configs {
            let same = before.iter().position(|driver| driver.config.is_same(&config));
            let driver = match same {
                Some(same) => before.swap_remove(same),
                None => self.drive(config),
            };
            self.list.push(driver);
        }
        for driver in before {
            driver.end(&mut self.reports).await;
        }
    }

    /// Lets every driver end by itself, or else ends it.
    async fn end(&mut self) {
        for driver in std::mem::take(&mut self.list) {
            // Nobody takes its reports in any more.
            self.reports.close();
            driver.end(&mut self.reports).await;
        }
    }

    fn drive(&mut self, config: SourceConfig) -> Driver {
        let number = self.next;
        self.next += 1;
        let reporter = Reporter::new(number, self.sender.clone());
        let (orders, received) = Orders::channel();
        let task = match &config.kind {
            SourceKind::Traefik(traefik) => {
                let (source, traefik) = (Arc::new(config.clone()), Arc::new((**traefik).clone()));
                tokio::spawn(traefik::run(source, traefik, reporter, received))
            }
            SourceKind::Kubernetes(cluster) => {
                tokio::spawn(kubernetes::driver::run(settings(&config, cluster), reporter, received))
            }
        };
        Driver { number, config, orders, task }
    }
}

impl Driver {
    async fn end(self, reports: &mut ReportReceiver) {
        let Self { orders, mut task, .. } = self;
        drop(orders);
        let ended = async {
            loop {
                tokio::select! {
                    _ = &mut task => return,
                    // It may wait for room to report.
                    report = reports.recv() => if report.is_none() { (&mut task).await.ok(); return },
                }
            }
        };
        if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
            task.abort();
        }
    }
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Now { ms: ms(started.elapsed()), wall_ms: ms(wall) }
}

/// Spreads retries; no secret rests on it.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn load_kept(state: &Arc<StateDir>) -> Kept {
    match Kept::load(state) {
        Ok((kept, problem)) => {
            if let Some(problem) = problem {
                error!("{problem}; discovered names are gone until their sources answer");
            }
            kept
        }
        Err(error) => {
            error!("{error}; discovered names are gone until their sources answer");
            Kept::default()
        }
    }
}

/// Says whose names are let go since their source is no longer configured.
fn forget(kept: &Kept, sources: &SourcesConfig) {
    for name in kept.sources().filter(|name| !sources.list.iter().any(|source| *source.name == **name)) {
        warn!(source = name, "the source is no longer configured: what was kept of it is let go");
    }
}

/// One line a change. The zone is the innermost one that is served.
fn log(line: &Line, published: &Published) {
    let Line { source, name, object, text, .. } = line;
    let zone = name.as_ref().and_then(|name| zone_of(name, published)).unwrap_or_default();
    let hostname = name.as_ref().map(Name::to_string).unwrap_or_default();
    let resource = object.as_deref().unwrap_or_default();
    let namespace = namespace_of(resource);
    if line.warn {
        warn!(%source, hostname, zone, namespace, resource, "{text}");
    } else {
        info!(%source, hostname, zone, namespace, resource, "{text}");
    }
}

/// What those who watch are told of a line.
fn news(line: &Line, published: &Published) -> Option<News> {
    let Line { source, name, object, text, kind, .. } = line;
    let mut news = News::new((*kind)?, text.clone());
    if let Some(name) = name {
        news.text = format!("{name}: {text}");
        news.names.push(name.to_string());
        news.zones.extend(zone_of(name, published));
    } else {
        news.text = format!("source {source}: {text}");
    }
    news.source = Some(source.to_string());
    news.object = object.as_deref().map(str::to_owned);
    Some(news)
}

fn zone_of(name: &Name, published: &Published) -> Option<String> {
    let snapshot = published.load();
    let zones = snapshot.zones().map(|zone| zone.apex.clone()).filter(|apex| name.is_at_or_below(apex));
    zones.max_by_key(Name::label_count).map(|apex| apex.to_string())
}

fn log_refusals(refusals: &[Refusal], published: &Published) {
    for refusal in refusals {
        if refusal.why == RefusedFor::NoZone {
            // A cluster may be full of names that are none of ours; `hale plan` lists them.
            debug!(hostname = %refusal.name, "not published: {refusal}");
            continue;
        }
        let zone = zone_of(&refusal.name, published).unwrap_or_default();
        warn!(hostname = %refusal.name, zone, "not published: {refusal}");
    }
}
