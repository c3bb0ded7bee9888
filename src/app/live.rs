//! What a reload changes besides zones: the settings of `hale.json` that can change while queries are answered. Those that cannot are named.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use tracing::{error, info, warn};

use super::control::Handles;
use super::{AppError, Reread, find_sources, query_log, running, sources};
use crate::admin::{NoRandomness, Rules};
use crate::answer::Settings;
use crate::config::{
    AdminConfig, Config, HealthConfig, LogFormat, NotifyConfig, SourceConfig, SourcesConfig,
};
use crate::keeper::FindSources;
use crate::keeper::channel::ReloadSummary;
use crate::model::diagnostic::Diagnostic;
use crate::model::report::{SettingChange, SettingOutcome};
use crate::telemetry::logs;
use crate::telemetry::query_log::QueryLog;
use crate::transport::{Bound, Limits, Moved, Running, SnapshotEngine};

use SettingOutcome::{Applied, Failed, NeedsRestart};

/// What was read of the configuration.
type Loaded = Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>>;

/// See the module's documentation.
pub(super) struct Live {
    reread: Reread,
    /// What the reload under way has read, for the keeper: so that zones and settings are of one and the same file.
    latest: Arc<Mutex<Option<Loaded>>>,
    /// What counts now; locked for as long as a reload takes, so that there is one at a time.
    config: Mutex<Config>,
    transports: Mutex<Transports>,
    /// What the admin listener holds requests to.
    rules: Arc<Rules>,
    /// Where queries are recorded; without outputs, nowhere.
    query_log: Arc<QueryLog>,
    views: Mutex<Views>,
    /// The secret of cookies where the configuration gives none: the same until the stop.
    drawn_secret: [u8; 16],
    told: Mutex<Told>,
}

/// What is said of reloads until the next one.
#[derive(Default)]
struct Told {
    problem: Option<String>,
    needs_restart: Vec<String>,
}

/// Settings that are looked up where they are needed.
#[derive(Clone, Copy)]
struct Views {
    client_subnet: Option<bool>,
    target_metrics: bool,
}

/// What answers queries.
struct Transports {
    running: Option<Running>,
    addresses: Vec<SocketAddr>,
}

impl Live {
    /// Before anything is served.
    pub(super) fn new(
        config: &Config,
        reread: &Reread,
        addresses: Vec<SocketAddr>,
        rules: Arc<Rules>,
        random: &SystemRandom,
    ) -> Result<Self, AppError> {
        let mut drawn_secret = [0u8; 16];
        random
            .fill(&mut drawn_secret)
            .map_err(|_| running("random", "the system gives no random numbers".to_owned()))?;
        Ok(Self {
            reread: Arc::clone(reread),
            latest: Arc::default(),
            config: Mutex::new(config.clone()),
            transports: Mutex::new(Transports { running: None, addresses }),
            rules,
            query_log: Arc::new(query_log::start(config.query_log.as_ref())?),
            views: Mutex::new(Views {
                client_subnet: config.client_subnet,
                target_metrics: config.target_metrics,
            }),
            drawn_secret,
            told: Mutex::default(),
        })
    }

    /// Finds the zone sources for the keeper.
    pub(super) fn find_sources(&self) -> FindSources {
        let (latest, otherwise) = (Arc::clone(&self.latest), find_sources(&self.reread));
        Arc::new(move || match lock(&latest).take() {
            Some(Ok((config, warnings))) => Ok((sources(&config), warnings)),
            Some(Err(errors)) => Err(errors),
            None => otherwise(),
        })
    }

    /// Begins to answer.
    pub(super) fn start(&self, config: &Config, bound: Bound, handles: &Handles) -> Result<(), AppError> {
        let running_now = bound
            .recorded(Some(Arc::clone(&self.query_log)))
            .start(self.engines(config, handles), Arc::clone(&handles.counters))
            .map_err(|e| running("transport", e.to_string()))?;
        lock(&self.transports).running = Some(running_now);
        Ok(())
    }

    /// Answers what was read, then no more.
    pub(super) fn stop(&self) {
        let running = lock(&self.transports).running.take();
        if let Some(running) = running {
            running.stop();
        }
    }

    /// Where queries are recorded.
    pub(super) fn query_log(&self) -> &QueryLog {
        &self.query_log
    }

    /// Whether the client subnet option is honoured; see [`Settings::client_subnet`].
    pub(super) fn client_subnet(&self) -> Option<bool> {
        lock(&self.views).client_subnet
    }

    /// Whether /metrics has series for each target.
    pub(super) fn target_metrics(&self) -> bool {
        lock(&self.views).target_metrics
    }

    /// The addresses that queries are answered on.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        lock(&self.transports).addresses.clone()
    }

    /// The first error of the last reload.
    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.told).problem.clone()
    }

    /// Settings that wait for a restart.
    pub(super) fn needs_restart(&self) -> Vec<String> {
        lock(&self.told).needs_restart.clone()
    }

    /// Reads configuration and zones again; `None` if the keeper has stopped. Blocks until all that could be read counts.
    pub(super) fn reload(
        &self,
        handles: &Handles,
        remove_missing: bool,
    ) -> Option<(ReloadSummary, Vec<SettingChange>)> {
        let mut config = lock(&self.config);
        // Whoever rotates the file asks for a reload, in whatever way.
        self.query_log.reopen();
        let loaded = (self.reread)();
        *lock(&self.latest) = Some(loaded.clone());
        let summary = handles.keeper.reload_and_wait(remove_missing)?;
        let settings =
            loaded.map_or_else(|_| Vec::new(), |(next, _)| self.apply(&mut config, &next, handles));
        let mut told = lock(&self.told);
        for SettingChange { key, outcome, detail } in &settings {
            match outcome {
                Applied => info!(setting = key, detail, "setting changed"),
                Failed => error!(setting = key, detail, "setting NOT changed"),
                NeedsRestart => warn!(setting = key, detail, "setting needs a restart"),
            }
        }
        let failed = settings.iter().find(|setting| setting.outcome == Failed);
        told.problem = first_of(&summary.diagnostics)
            .or_else(|| failed.map(|setting| format!("{}: {}", setting.key, setting.detail)));
        let waiting = settings.iter().filter(|setting| setting.outcome == NeedsRestart);
        told.needs_restart = waiting.map(|setting| setting.key.clone()).collect();
        Some((summary, settings))
    }

    /// Brings what runs in line with another configuration. What could not be changed stays noted as it runs, and is tried again with the
    /// next reload.
    fn apply(&self, now: &mut Config, next: &Config, handles: &Handles) -> Vec<SettingChange> {
        let mut changes = Changes::default();
        // First, so that what follows is told as it is asked for.
        apply_log(now, next, &mut changes);
        self.apply_transports(now, next, handles, &mut changes);
        self.apply_query_log(now, next, &mut changes);
        apply_health(now, next.health, handles, &mut changes);
        sources_differ(&now.sources, &next.sources, &mut changes);
        // Checks that sources refer to are shared with zones, which were read anew.
        handles.discovery.replace(next);
        (now.sources, now.shared) = (next.sources.clone(), next.shared.clone());
        if now.resolvers != next.resolvers {
            handles.aliases.ask_others(&next.resolvers);
            now.resolvers.clone_from(&next.resolvers);
            changes.add("resolver", Applied, "asked from now on");
        }
        if let Some(detail) = receivers_differ(&now.notify, &next.notify) {
            handles.receivers.replace(&next.notify);
            changes.add("notify", Applied, detail);
            now.notify.clone_from(&next.notify);
        }
        self.apply_admin(now, &next.admin, &mut changes);
        if now.target_metrics != next.target_metrics {
            lock(&self.views).target_metrics = next.target_metrics;
            now.target_metrics = next.target_metrics;
            changes.add("metrics.targets", Applied, if next.target_metrics { "on" } else { "off" });
        }
        (now.inputs, now.zone_files, now.inline_zones) = (next.inputs.clone(), Vec::new(), Vec::new());
        needs_restart(now, next, &mut changes);
        changes.0
    }

    fn apply_transports(&self, now: &mut Config, next: &Config, handles: &Handles, changes: &mut Changes) {
        let differing = [
            ("limits", now.limits != next.limits),
            ("nsid", now.nsid != next.nsid),
            ("cookie_secret", now.cookie_secret != next.cookie_secret),
            ("client_subnet", now.client_subnet != next.client_subnet),
        ];
        let renewed: Vec<&str> =
            differing.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        let mut moves = now.listen != next.listen;
        if renewed.is_empty() && !moves {
            return;
        }
        let mut transports = lock(&self.transports);
        let Some(running) = &mut transports.running else { return };
        if moves && running.is_handed() {
            changes.add("listen", NeedsRestart, "the sockets are the service manager's: change its units");
            moves = false;
        }
        let engines = self.engines(next, handles);
        let subnet = next.client_subnet;
        let limits = Limits::from(&next.limits);
        match running.change(&next.listen, &limits, !renewed.is_empty(), engines) {
            Ok(Moved { added, removed }) => {
                transports.addresses = running.addresses();
                for address in &added {
                    logs::listening("udp", address);
                    logs::listening("tcp", address);
                }
                renewed.iter().for_each(|key| changes.add(key, Applied, "for new queries"));
                if moves {
                    changes.add("listen", Applied, came_and_went(&added, &removed));
                }
                lock(&self.views).client_subnet = subnet;
                (now.limits, now.nsid) = (next.limits.clone(), next.nsid.clone());
                (now.cookie_secret, now.client_subnet) = (next.cookie_secret, subnet);
                if moves {
                    now.listen.clone_from(&next.listen);
                }
            }
            Err(error) => {
                let keys = renewed.into_iter().chain(moves.then_some("listen"));
                keys.for_each(|key| changes.add(key, Failed, error.to_string()));
            }
        }
    }

    /// What workers answer with.
    fn engines(
        &self,
        config: &Config,
        handles: &Handles,
    ) -> impl Fn(usize) -> SnapshotEngine + Send + Sync + 'static {
        let settings = Arc::new(Settings {
            nsid: config.nsid.clone(),
            client_subnet: config.client_subnet,
            cookie_secret: Some(config.cookie_secret.unwrap_or(self.drawn_secret)),
            tcp_keepalive_100ms: Some((config.limits.tcp.idle_ms / 100).try_into().unwrap_or(u16::MAX)),
            ..Settings::default()
        });
        let published = Arc::clone(&handles.published);
        move |_worker| SnapshotEngine::new(&published, Arc::clone(&settings))
    }

    fn apply_query_log(&self, now: &mut Config, next: &Config, changes: &mut Changes) {
        if now.query_log == next.query_log {
            return;
        }
        match self.query_log.change(&query_log::settings(next.query_log.as_ref())) {
            Ok(()) => {
                now.query_log.clone_from(&next.query_log);
                let detail = next.query_log.as_ref().map_or_else(|| "off".to_owned(), query_log::describe);
                changes.add("query_log", Applied, detail);
            }
            Err(error) => changes.add("query_log", Failed, error.to_string()),
        }
    }

    fn apply_admin(&self, now: &mut Config, next: &AdminConfig, changes: &mut Changes) {
        let now = &mut now.admin;
        if now.token != next.token {
            match self.rules.set_token(next.token.as_deref()) {
                Ok(()) => {
                    let detail = match (&now.token, &next.token) {
                        (None, _) => "there is one now",
                        (Some(_), Some(_)) => "the old one is no longer taken, and logins by it have ended",
                        (Some(_), None) => "there is none any more, and logins have ended",
                    };
                    now.token.clone_from(&next.token);
                    changes.add("admin.token", Applied, detail);
                }
                Err(NoRandomness) => {
                    changes.add("admin.token", Failed, "the system gives no random numbers");
                }
            }
        }
        if now.hosts != next.hosts {
            self.rules.set_hosts(&next.hosts);
            now.hosts.clone_from(&next.hosts);
            changes.add(
                "admin.hosts",
                Applied,
                if next.hosts.is_empty() { "none".to_owned() } else { next.hosts.join(", ") },
            );
        }
        if now.requests_per_second != next.requests_per_second {
            self.rules.set_requests_per_second(next.requests_per_second);
            now.requests_per_second = next.requests_per_second;
            changes.add("admin.requests_per_second", Applied, next.requests_per_second.to_string());
        }
    }
}

/// Settings that have changed.
#[derive(Default)]
struct Changes(Vec<SettingChange>);

impl Changes {
    fn add(&mut self, key: &str, outcome: SettingOutcome, detail: impl Into<String>) {
        self.0.push(SettingChange { key: key.to_owned(), outcome, detail: detail.into() });
    }
}

/// The first error in a line, and how many there are besides.
fn first_of(findings: &[Diagnostic]) -> Option<String> {
    let errors: Vec<&Diagnostic> = findings.iter().filter(|finding| finding.is_error()).collect();
    let text = errors.first()?.unmarked().to_string();
    // What follows is the hint, which `hale reload` prints.
    let line = text.lines().next().unwrap_or_default();
    Some(match errors.len() - 1 {
        0 => line.to_owned(),
        more => format!("{line} (and {more} more)"),
    })
}

fn apply_log(now: &mut Config, next: &Config, changes: &mut Changes) {
    let differing =
        [("log_level", now.log_level != next.log_level), ("log_format", now.log_format != next.log_format)];
    if differing.iter().all(|(_, differs)| !differs) {
        return;
    }
    let changed = logs::change(&next.log_level, next.log_format == LogFormat::Json);
    if changed.is_ok() {
        now.log_level.clone_from(&next.log_level);
        now.log_format = next.log_format;
    }
    for (key, _) in differing.into_iter().filter(|(_, differs)| *differs) {
        match &changed {
            Ok(()) => changes.add(key, Applied, "from this line on"),
            Err(why) => changes.add(key, Failed, why.as_str()),
        }
    }
}

fn apply_health(now: &mut Config, next: HealthConfig, handles: &Handles, changes: &mut Changes) {
    let was = now.health;
    let live = HealthConfig {
        brake_down_percent: next.brake_down_percent,
        brake_min_targets: next.brake_min_targets,
        probes_in_flight: next.probes_in_flight,
        ..was
    };
    if live == was {
        return;
    }
    handles.health.reconfigure(&live);
    now.health = live;
    let brake = |of: HealthConfig| (of.brake_down_percent, of.brake_min_targets);
    if brake(live) != brake(was) {
        let (percent, targets) = brake(live);
        changes.add("health.brake", Applied, format!("{percent} % of at least {targets} targets"));
    }
    if live.probes_in_flight != was.probes_in_flight {
        changes.add("health.probes_in_flight", Applied, live.probes_in_flight.to_string());
    }
}

/// Notes all that counts only from the start on. Every setting is named here, so that one that is added does not compile before it is
/// decided what a reload does with it.
fn needs_restart(now: &Config, next: &Config, changes: &mut Changes) {
    let Config {
        // The same from the start on; see [`crate::config::ServeArgs::settled`].
        file: _,
        // The keeper reads them anew with each reload.
        zone_files: _,
        inline_zones: _,
        shared: _,
        inputs: _,
        // These were changed above.
        listen: _,
        sources: _,
        notify: _,
        resolvers: _,
        client_subnet: _,
        limits: _,
        nsid: _,
        cookie_secret: _,
        query_log: _,
        target_metrics: _,
        log_level: _,
        log_format: _,
        admin:
            AdminConfig { listen, metrics_listen, probes_listen, tls, token: _, hosts: _, requests_per_second: _ },
        health:
            HealthConfig {
                exec_in_flight,
                probes_per_second_per_address,
                verdict_max_age_ms,
                brake_down_percent: _,
                brake_min_targets: _,
                probes_in_flight: _,
            },
        state,
        workers,
        pin_workers,
        strict,
        watch,
        portable,
    } = next;
    let (admin, health) = (&now.admin, &now.health);
    let differing = [
        ("state", now.state != *state),
        ("workers", now.workers != *workers),
        ("pin_workers", now.pin_workers != *pin_workers),
        ("portable", now.portable != *portable),
        ("strict", now.strict != *strict),
        ("watch", now.watch != *watch),
        ("admin.tls", admin.tls != *tls),
        ("admin.listen", admin.listen != *listen),
        ("admin.metrics_listen", admin.metrics_listen != *metrics_listen),
        ("admin.probes_listen", admin.probes_listen != *probes_listen),
        ("health.exec_in_flight", health.exec_in_flight != *exec_in_flight),
        (
            "health.probes_per_second_per_address",
            health.probes_per_second_per_address != *probes_per_second_per_address,
        ),
        ("health.verdict_max_age", health.verdict_max_age_ms != *verdict_max_age_ms),
    ];
    for (key, _) in differing.into_iter().filter(|(_, differs)| *differs) {
        changes.add(key, NeedsRestart, "it is read at the start only");
    }
}

/// Notes what differs of discovery, in words.
fn sources_differ(now: &SourcesConfig, next: &SourcesConfig, changes: &mut Changes) {
    let SourcesConfig { list, conflict, ready_timeout_ms } = next;
    let mut words = differing(&now.list, list, |source| &source.name, SourceConfig::is_same);
    let order = |config: &SourcesConfig| config.list.iter().map(|s| Arc::clone(&s.name)).collect::<Vec<_>>();
    if words.is_empty() && order(now) != order(next) {
        words.push("which goes before which".to_owned());
    }
    if !words.is_empty() {
        changes.add("sources", Applied, words.join(", "));
    }
    if now.conflict != *conflict {
        changes.add("conflict", Applied, "which of several claims for a name counts");
    }
    if now.ready_timeout_ms != *ready_timeout_ms {
        changes.add("ready_timeout", Applied, format!("{ready_timeout_ms} ms since the start"));
    }
}

/// Which receivers of notifications differ, in words; of what differs, which may be a secret, nothing is said.
fn receivers_differ(now: &[NotifyConfig], next: &[NotifyConfig]) -> Option<String> {
    let words = differing(now, next, |receiver| &receiver.name, NotifyConfig::eq);
    (!words.is_empty()).then(|| words.join(", "))
}

/// What of a list was added, changed or removed, by its names.
fn differing<T>(
    now: &[T],
    next: &[T],
    name: impl Fn(&T) -> &Arc<str>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Vec<String> {
    let named = |list: &'_ [T], wanted: &T| list.iter().position(|one| name(one) == name(wanted));
    let mut words = Vec::new();
    for one in next {
        match named(now, one) {
            None => words.push(format!("{} added", name(one))),
            Some(i) if !is_same(&now[i], one) => words.push(format!("{} changed", name(one))),
            Some(_) => {}
        }
    }
    let gone = now.iter().filter(|old| named(next, old).is_none());
    words.extend(gone.map(|old| format!("{} removed", name(old))));
    words
}

fn came_and_went(added: &[SocketAddr], removed: &[SocketAddr]) -> String {
    let added = added.iter().map(|address| format!("{address} added"));
    let words: Vec<String> =
        added.chain(removed.iter().map(|address| format!("{address} removed"))).collect();
    if words.is_empty() { "in another order".to_owned() } else { words.join(", ") }
}

/// What a panic elsewhere leaves behind is whole: each value is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
