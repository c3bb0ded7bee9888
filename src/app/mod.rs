//! The composition root: builds the parts, wires their channels, and takes them down in order. The only place that knows all of them.

mod control;
mod metrics;
mod signals;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::answer::Settings;
use crate::config::Config;
use crate::health::{Health, HealthHandle, persist};
use crate::keeper::build::{Workshop, ZoneSource};
use crate::keeper::channel::KeeperHandle;
use crate::keeper::targets::TargetRegistry;
use crate::keeper::{Starting, TargetSet, Tools};
use crate::model::board::VerdictBoard;
use crate::model::diagnostic::Diagnostic;
use crate::model::hash::HashKey;
use crate::snapshot::Snapshot;
use crate::snapshot::handle::Published;
use crate::state::StateDir;
use crate::state::signed::SignedZones;
use crate::state::verdicts::{self, SavedVerdict};
use crate::telemetry::counters::Counters;
use crate::telemetry::logs;
use crate::telemetry::systemd::Notifier;
use crate::transport::{self, Running, SnapshotEngine};

use control::Handles;
use signals::{Signal, Signals};

/// What the service manager is told while queries are answered.
const READY: &str = "answering queries";
/// How often verdicts are saved.
const SAVE_VERDICTS_EVERY: Duration = Duration::from_secs(30);
/// How often replaced snapshots are freed.
const FREE_EVERY: Duration = Duration::from_millis(500);

/// Why the server did not start, or stopped.
#[derive(Debug)]
pub enum AppError {
    /// The configuration or every zone is bad; all findings. Exit code 2.
    Configuration(Vec<Diagnostic>),
    /// Something else does not work: a socket, the state directory, a thread. Exit code 1.
    Running(Diagnostic),
}

/// Reads the configuration again, for a reload.
pub type Reread = Arc<dyn Fn() -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync>;

/// What runs once queries are answered.
pub type OnReady = Box<dyn FnOnce(&[std::net::SocketAddr]) + Send>;

/// Serves until SIGTERM or SIGINT, or until `stop` turns true. `on_ready` is called with the bound addresses once queries are answered.
///
/// # Errors
/// See [`AppError`]; nothing was answered then.
pub fn run(
    config: &Config,
    reread: &Reread,
    on_ready: Option<OnReady>,
    stop: Option<watch::Receiver<bool>>,
) -> Result<(), AppError> {
    let started_s = now_s();
    let notifier = Arc::new(notifier());
    let state = open_state(config)?;
    let bound = transport::bind(&config.listen, config.workers, config.tcp.into(), config.portable)
        .map_err(|e| running("listen", e.to_string()))?;
    let addresses = bound.addresses();
    let admin = Admin::bind(&config.admin, state.as_ref().map(|s| s.path())).map_err(AppError::Running)?;
    let runtime = runtime()?;
    let mut signals = Signals::listen(&runtime, stop).map_err(|e| running("signals", e.to_string()))?;

    let board = Arc::new(VerdictBoard::new());
    let random = SystemRandom::new();
    let hash_key = hash_key(&random)?;
    let published = Published::new(Snapshot::empty(hash_key));
    let (targets_sender, targets) = watch::channel(TargetSet::default());
    let tools = Tools {
        workshop: Workshop {
            registry: Arc::new(Mutex::new(TargetRegistry::default())),
            board: Arc::clone(&board),
            hash_key,
            state: state.clone(),
            signed: signed_zones(state.as_ref())?,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        },
        published: Arc::clone(&published),
        targets: targets_sender,
        state: state.clone(),
        find_sources: find_sources(reread),
        now_s: Arc::new(now_s),
    };
    let starting = Starting::read(tools, &sources(config));
    report_and_decide(&starting, config.strict)?;
    board.on_change({
        let keeper = starting.handle().clone();
        move || keeper.verdicts_changed()
    });
    let saved = state.as_ref().map(|s| saved_verdicts(s)).unwrap_or_default();
    let health = Health::spawn(runtime.handle(), targets, board, &config.health, saved);

    let keep_saved = state
        .clone()
        .map(|state| runtime.spawn(persist::keep_saved(health.clone(), state, SAVE_VERDICTS_EVERY)));

    let counters = Arc::new(Counters::new());
    let handles = Arc::new(Handles {
        keeper: starting.handle().clone(),
        published: Arc::clone(&published),
        health: health.clone(),
        counters: Arc::clone(&counters),
        listeners: addresses.clone(),
        state: state.as_ref().map(|s| s.path().to_owned()),
        started_s,
        ready: std::sync::atomic::AtomicBool::new(false),
        reloaded_s: std::sync::atomic::AtomicU32::new(0),
    });
    let (admin_stop, admin_stopped) = watch::channel(false);
    let admin = runtime.spawn(admin.serve(Arc::clone(&handles) as _, admin_stopped));

    // Listeners open after the first round of probes, so that no name is answered before it is known to be healthy.
    if runtime.block_on(signals.wait_or(health.first_round_done())).is_some() {
        info!("stopped before the first round of probes was over");
        runtime.block_on(health.shutdown());
        if let Some(keep_saved) = keep_saved {
            let _ = runtime.block_on(keep_saved);
        }
        end_admin(&runtime, &admin_stop, admin);
        return Ok(());
    }
    let (keeper, keeper_thread) = starting.serve().map_err(|e| running("keeper", e.to_string()))?;
    let settings = Arc::new(settings(config, &random)?);
    let engines = {
        let published = Arc::clone(&published);
        move |_worker: usize| SnapshotEngine::new(&published, Arc::clone(&settings))
    };
    let running_transports =
        bound.start(engines, counters).map_err(|e| running("transport", e.to_string()))?;
    for address in &addresses {
        logs::listening("udp", address);
        logs::listening("tcp", address);
    }
    handles.ready.store(true, std::sync::atomic::Ordering::Release);
    notifier.ready(READY);
    if let Some(on_ready) = on_ready {
        on_ready(&addresses);
    }
    let upkeep = Upkeep { published, notifier };
    runtime.block_on(upkeep.until_stopped(signals, &keeper, &handles));

    upkeep.notifier.stopping();
    let stopping = Stopping { transports: running_transports, keeper, keeper_thread, health, keep_saved };
    stopping.stop(&runtime);
    // Requests of operators are served to the last, so that /healthz tells the truth.
    end_admin(&runtime, &admin_stop, admin);
    runtime.shutdown_timeout(Duration::from_secs(1));
    info!("stopped");
    Ok(())
}

fn end_admin(
    runtime: &Runtime,
    stop: &watch::Sender<bool>,
    admin: tokio::task::JoinHandle<std::io::Result<()>>,
) {
    // Without a receiver it has ended by itself, and says below why.
    let _ = stop.send(true);
    if let Ok(Err(e)) = runtime.block_on(admin) {
        warn!(error = %e, "the admin listener ended with an error");
    }
}

fn running(what: &str, message: String) -> AppError {
    AppError::Running(Diagnostic::error(std::path::Path::new(what), message))
}

/// Unix seconds; a clock before 1970 reads 0.
fn now_s() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

/// A service manager that cannot be told is no reason not to answer queries.
fn notifier() -> Notifier {
    Notifier::from_env().unwrap_or_else(|e| {
        warn!(error = %e, "NOTIFY_SOCKET cannot be used: the service manager is not told");
        Notifier::default()
    })
}

fn open_state(config: &Config) -> Result<Option<Arc<StateDir>>, AppError> {
    let Some(path) = &config.state else { return Ok(None) };
    StateDir::open(path).map(|state| Some(Arc::new(state))).map_err(|e| running("state", e.to_string()))
}

fn signed_zones(state: Option<&Arc<StateDir>>) -> Result<Option<Arc<SignedZones>>, AppError> {
    let Some(state) = state else { return Ok(None) };
    let (signed, problem) =
        SignedZones::load(Arc::clone(state)).map_err(|e| running("state", e.to_string()))?;
    if let Some(problem) = problem {
        error!("{problem}; a zone without its \"dnssec\" block would now be served unsigned");
    }
    Ok(Some(Arc::new(signed)))
}

fn runtime() -> Result<Runtime, AppError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("hale")
        .enable_all()
        .build()
        .map_err(|e| running("runtime", e.to_string()))
}

fn hash_key(random: &SystemRandom) -> Result<HashKey, AppError> {
    let mut words = [0u8; 16];
    random
        .fill(&mut words)
        .map_err(|_| running("random", "the system gives no random numbers".to_owned()))?;
    let (low, high) = words.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0u64, |value, b| value << 8 | u64::from(*b));
    Ok(HashKey::new([word(low), word(high)]))
}

fn settings(config: &Config, random: &SystemRandom) -> Result<Settings, AppError> {
    let mut secret = [0u8; 16];
    match config.cookie_secret {
        Some(given) => secret = given,
        None => random
            .fill(&mut secret)
            .map_err(|_| running("random", "the system gives no random numbers".to_owned()))?,
    }
    Ok(Settings {
        nsid: config.nsid.clone(),
        cookie_secret: Some(secret),
        tcp_keepalive_100ms: Some((config.tcp.idle_ms / 100).try_into().unwrap_or(u16::MAX)),
        ..Settings::default()
    })
}

fn sources(config: &Config) -> Vec<ZoneSource> {
    let files = config.zone_files.iter().cloned().map(ZoneSource::File);
    let inline =
        config.inline_zones.iter().map(|(label, text)| ZoneSource::Inline(label.clone(), text.clone()));
    files.chain(inline).collect()
}

fn find_sources(reread: &Reread) -> crate::keeper::FindSources {
    let reread = Arc::clone(reread);
    Arc::new(move || {
        let (config, warnings) = reread()?;
        Ok((sources(&config), warnings))
    })
}

/// Logs what the zone files have to say. Exit code 2 if none can be served, or with `--strict` any cannot.
fn report_and_decide(starting: &Starting, strict: bool) -> Result<(), AppError> {
    let (good, all) = starting.good_of_all();
    let findings: Vec<Diagnostic> = starting.diagnostics().cloned().collect();
    if good == 0 || (strict && good < all) {
        return Err(AppError::Configuration(findings));
    }
    for finding in &findings {
        let text = finding.unmarked();
        if finding.is_error() { error!("{text}") } else { warn!("{text}") }
    }
    Ok(())
}

fn saved_verdicts(state: &StateDir) -> Vec<SavedVerdict> {
    match verdicts::load(state) {
        Ok((saved, problem)) => {
            if let Some(problem) = problem {
                warn!("{problem}; every target is probed before it is answered");
            }
            saved
        }
        Err(e) => {
            warn!("{e}; every target is probed before it is answered");
            Vec::new()
        }
    }
}

/// What is done while serving.
struct Upkeep {
    published: Arc<Published>,
    notifier: Arc<Notifier>,
}

impl Upkeep {
    async fn until_stopped(&self, mut signals: Signals, keeper: &KeeperHandle, handles: &Arc<Handles>) {
        let mut free = tokio::time::interval(FREE_EVERY);
        let mut watchdog =
            tokio::time::interval(self.notifier.watchdog_period().unwrap_or(Duration::from_secs(3600)));
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop(name) => {
                        info!(signal = name, "stopping");
                        return;
                    }
                    Signal::Reload => self.reload(keeper, handles),
                },
                _ = free.tick() => { self.published.free_retired(); }
                _ = watchdog.tick() => self.notifier.alive(),
            }
        }
    }

    fn reload(&self, keeper: &KeeperHandle, handles: &Arc<Handles>) {
        info!("SIGHUP: reading the zones again");
        self.notifier.reloading();
        let (keeper, handles, notifier) = (keeper.clone(), Arc::clone(handles), Arc::clone(&self.notifier));
        tokio::task::spawn_blocking(move || {
            handles.reload_zones(&keeper, false);
            notifier.ready(READY);
        });
    }
}

/// What is taken down at the end, in this order.
struct Stopping {
    transports: Running,
    keeper: KeeperHandle,
    keeper_thread: JoinHandle<()>,
    health: HealthHandle,
    keep_saved: Option<tokio::task::JoinHandle<()>>,
}

impl Stopping {
    fn stop(self, runtime: &Runtime) {
        // Answers what was read, then no more.
        self.transports.stop();
        runtime.block_on(self.health.shutdown());
        self.keeper.stop();
        if self.keeper_thread.join().is_err() {
            error!("the keeper has panicked; what it would have saved is lost");
        }
        if let Some(keep_saved) = self.keep_saved {
            // It ends with health, after a last save; what goes wrong there it logs itself.
            let _ = runtime.block_on(keep_saved);
        }
    }
}
