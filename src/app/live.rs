//! What a reload changes besides zones: the settings of `hale.json` that can change while queries are answered. Those that cannot are named.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use tracing::{error, info, warn};

use super::control::Handles;
use super::{AppError, Reread, find_sources, running, sources};
use crate::admin::Token;
use crate::answer::Settings;
use crate::config::{AdminConfig, Config, HealthConfig, SourcesConfig};
use crate::keeper::FindSources;
use crate::keeper::channel::ReloadSummary;
use crate::model::diagnostic::Diagnostic;
use crate::model::report::{SettingChange, SettingOutcome};
use crate::telemetry::logs;
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
    token: Option<Arc<Token>>,
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
        token: Option<Arc<Token>>,
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
            token,
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
        let loaded = (self.reread)();
        *lock(&self.latest) = Some(loaded.clone());
        let summary = handles.keeper.reload_and_wait(remove_missing)?;
        let settings =
            loaded.map_or_else(|_| Vec::new(), |(next, _)| self.apply(&mut config, &next, handles));
        let mut told = lock(&self.told);
        for SettingChange { key, outcome, detail } in &settings {
            match outcome {
                Applied => info!(setting = key, "changed: {detail}"),
                Failed => error!(setting = key, "not changed: {detail}"),
                NeedsRestart => warn!(setting = key, "needs a restart: {detail}"),
            }
        }
        let failed = settings.iter().find(|setting| setting.outcome == Failed);
        let wrong = summary.diagnostics.iter().find(|finding| finding.is_error());
        told.problem = wrong
            .map(|finding| finding.unmarked().to_string())
            .or_else(|| failed.map(|setting| format!("{}: {}", setting.key, setting.detail)));
        let waiting = settings.iter().filter(|setting| setting.outcome == NeedsRestart);
        told.needs_restart = waiting.map(|setting| setting.key.clone()).collect();
        Some((summary, settings))
    }

    /// Brings what runs in line with another configuration. What could not be changed stays noted as it runs, and is tried again with the
    /// next reload.
    fn apply(&self, now: &mut Config, next: &Config, handles: &Handles) -> Vec<SettingChange> {
        let mut changes = Changes::default();
        self.apply_transports(now, next, handles, &mut changes);
        let Config { health, sources, admin, shared, .. } = next.clone();
        apply_health(now, health, handles, &mut changes);
        if let Some(detail) = sources_differ(&now.sources, &sources) {
            changes.add("sources", Applied, detail);
        }
        // Checks that sources refer to are shared with zones, which were read anew.
        handles.discovery.replace(next);
        (now.sources, now.shared) = (sources, shared);
        self.apply_token(now, &admin, &mut changes);
        (now.inputs, now.zone_files, now.inline_zones) = (next.inputs.clone(), Vec::new(), Vec::new());
        needs_restart(now, next, &mut changes);
        changes.0
    }

    fn apply_transports(&self, now: &mut Config, next: &Config, handles: &Handles, changes: &mut Changes) {
        let of_engine = |config: &Config| (config.nsid.clone(), config.cookie_secret);
        let mut renewed = Vec::new();
        if now.limits != next.limits {
            renewed.push("limits");
        }
        let (before, after) = (of_engine(now), of_engine(next));
        renewed.extend((before.0 != after.0).then_some("nsid"));
        renewed.extend((before.1 != after.1).then_some("cookie_secret"));
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
                now.limits = next.limits.clone();
                (now.nsid, now.cookie_secret) = after;
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
            client_subnet: handles.client_subnet,
            cookie_secret: Some(config.cookie_secret.unwrap_or(self.drawn_secret)),
            tcp_keepalive_100ms: Some((config.limits.tcp.idle_ms / 100).try_into().unwrap_or(u16::MAX)),
            ..Settings::default()
        });
        let published = Arc::clone(&handles.published);
        move |_worker| SnapshotEngine::new(&published, Arc::clone(&settings))
    }

    fn apply_token(&self, now: &mut Config, next: &AdminConfig, changes: &mut Changes) {
        if now.admin.token == next.token {
            return;
        }
        match (&self.token, &next.token) {
            (Some(token), Some(text)) if token.replace(text) => {
                now.admin.token.clone_from(&next.token);
                changes.add("admin.token", Applied, "the old one is no longer taken");
            }
            (Some(_), Some(_)) => changes.add("admin.token", Failed, "the system gives no random numbers"),
            _ => changes.add("admin.token", NeedsRestart, "there was none, or there is none any more"),
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

fn apply_health(now: &mut Config, next: HealthConfig, handles: &Handles, changes: &mut Changes) {
    let live = HealthConfig {
        brake_down_percent: next.brake_down_percent,
        brake_min_targets: next.brake_min_targets,
        probes_in_flight: next.probes_in_flight,
        ..now.health
    };
    if live != now.health {
        handles.health.reconfigure(&live);
        now.health = live;
        changes.add("health", Applied, "brake and probes_in_flight");
    }
}

/// Notes all that counts only from the start on.
fn needs_restart(now: &Config, next: &Config, changes: &mut Changes) {
    let (was, is) = (&now.health, &next.health);
    let differing = [
        ("state", now.state != next.state),
        ("workers", now.workers != next.workers),
        ("pin_workers", now.pin_workers != next.pin_workers),
        ("portable", now.portable != next.portable),
        ("watch", now.watch != next.watch),
        ("client_subnet", now.client_subnet != next.client_subnet),
        ("resolver", now.resolvers != next.resolvers),
        ("log_level", now.log_level != next.log_level),
        ("log_format", now.log_format != next.log_format),
        ("admin.hosts", now.admin.hosts != next.admin.hosts),
        ("admin.tls", now.admin.tls != next.admin.tls),
        ("admin.requests_per_second", now.admin.requests_per_second != next.admin.requests_per_second),
        ("admin.listen", now.admin.listen != next.admin.listen),
        ("admin.metrics_listen", now.admin.metrics_listen != next.admin.metrics_listen),
        ("admin.probes_listen", now.admin.probes_listen != next.admin.probes_listen),
        ("target_metrics", now.target_metrics != next.target_metrics),
        ("health.exec_in_flight", was.exec_in_flight != is.exec_in_flight),
        (
            "health.probes_per_second_per_address",
            was.probes_per_second_per_address != is.probes_per_second_per_address,
        ),
        ("health.verdict_max_age", was.verdict_max_age_ms != is.verdict_max_age_ms),
    ];
    for (key, _) in differing.into_iter().filter(|(_, differs)| *differs) {
        changes.add(key, NeedsRestart, "it is read at the start only");
    }
}

/// Which sources differ, in words.
fn sources_differ(now: &SourcesConfig, next: &SourcesConfig) -> Option<String> {
    let mut words = Vec::new();
    for source in &next.list {
        match now.list.iter().find(|old| old.name == source.name) {
            None => words.push(format!("{} added", source.name)),
            Some(old) if !old.is_same(source) => words.push(format!("{} changed", source.name)),
            Some(_) => {}
        }
    }
    let gone = now.list.iter().filter(|old| !next.list.iter().any(|source| source.name == old.name));
    words.extend(gone.map(|old| format!("{} removed", old.name)));
    let order = |config: &SourcesConfig| config.list.iter().map(|s| Arc::clone(&s.name)).collect::<Vec<_>>();
    if words.is_empty() && (order(now) != order(next) || now.conflict != next.conflict) {
        words.push("which goes before which".to_owned());
    }
    (!words.is_empty()).then(|| words.join(", "))
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
