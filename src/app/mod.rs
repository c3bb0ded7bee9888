//! The composition root: builds the parts, wires their channels, and takes them down in order. The only place that knows all of them.

mod backup;
mod control;
mod discovery;
mod discovery_metrics;
mod events;
mod explain;
mod hidden;
mod insight;
mod live;
mod metrics;
mod orders;
mod overrides;
mod query_log;
mod records;
mod signals;
mod test_dns;
mod watching;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::config::Config;
use crate::health::{Health, HealthHandle, persist};
use crate::keeper::build::{Workshop, ZonePlace, ZoneSource};
use crate::keeper::channel::KeeperHandle;
use crate::keeper::targets::TargetRegistry;
use crate::keeper::{FindSources, Starting, TargetSet, Tools};
use crate::model::board::VerdictBoard;
use crate::model::diagnostic::Diagnostic;
use crate::model::hash::HashKey;
use crate::notify::Receivers;
use crate::resolver;
use crate::snapshot::Snapshot;
use crate::snapshot::handle::Published;
use crate::state::StateDir;
use crate::state::choices::Choices;
use crate::state::history;
use crate::state::overrides::OverrideStore;
use crate::state::signed::SignedZones;
use crate::state::verdicts::{self, SavedVerdict};
use crate::telemetry::counters::Counters;
use crate::telemetry::logs;
use crate::telemetry::systemd::Notifier;
use crate::transport::{self, Bound, Handed, Limits, PortPrivilege};

pub use backup::{backup_stopped, restore};
use control::Handles;
use discovery::Discovery;
use live::Live;
use signals::{Signal, Signals};
use watching::Watch;

/// What the service manager is told while queries are answered.
const READY: &str = "answering queries";
/// How often verdicts are saved.
const SAVE_VERDICTS_EVERY: Duration = Duration::from_secs(30);
/// How often replaced snapshots are freed.
const FREE_EVERY: Duration = Duration::from_millis(500);
/// More than the allocator keeps among its small pieces.
const LARGE_PIECE: usize = 1 << 20;

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
    let notifier = Arc::new(notifier());
    let mut house = House::build(config, reread, stop)?;
    // Listeners open after the first round of probes, so that no name is answered before it is known to be healthy.
    if house.first_round_is_interrupted() {
        info!("stopped before the first round of probes was over");
        house.close();
        return Ok(());
    }
    let serving = house.serve(config)?;
    notifier.ready(READY);
    if let Some(on_ready) = on_ready {
        on_ready(&house.handles.live.listeners());
    }
    let upkeep = Upkeep { published: Arc::clone(&house.handles.published), notifier };
    let ending =
        house.runtime.block_on(upkeep.until_stopped(&mut house.signals, &serving.keeper, &house.handles));
    upkeep.notifier.stopping();
    serving.stop(&house.runtime);
    house.close();
    info!("stopped");
    match ending {
        Ending::AsAsked => Ok(()),
        Ending::WithoutKeeper => {
            Err(running("keeper", "it has panicked; the log above tells where".to_owned()))
        }
        Ending::WithoutHealth => {
            Err(running("health checks", "they have ended; the log above tells why".to_owned()))
        }
    }
}

/// Why serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// A signal, or the switch.
    AsAsked,
    /// The keeper is gone. Queries could still be answered, but from a picture that gets ever older, and nobody would know: a
    /// process that ends is started again, and from its state directory it is back within the first round of probes.
    WithoutKeeper,
    /// The thread of health checks is gone: verdicts would stay as they are for ever.
    WithoutHealth,
}

/// Everything that is there before the first query is answered.
struct House {
    runtime: Runtime,
    signals: Signals,
    /// Taken when serving begins.
    waiting: Option<(Starting, Bound)>,
    health: HealthHandle,
    keep_saved: Option<tokio::task::JoinHandle<()>>,
    handles: Arc<Handles>,
    admin_stop: watch::Sender<bool>,
    admin: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl House {
    /// Takes the state directory and every socket, reads the zones, and begins to probe and to answer operators.
    fn build(
        config: &Config,
        reread: &Reread,
        stop: Option<watch::Receiver<bool>>,
    ) -> Result<Self, AppError> {
        let started_s = now_s();
        raise_descriptor_limit();
        let state = open_state(config)?;
        let bound = listeners(config)?.pinned(config.pin_workers);
        let admin = {
            let _privilege = PortPrivilege::raise();
            Admin::bind(&config.admin, state.as_ref().map(|s| s.path())).map_err(AppError::Running)?
        };
        let runtime = runtime()?;
        let signals = Signals::listen(&runtime, stop).map_err(|e| running("signals", e.to_string()))?;

        let random = SystemRandom::new();
        let (targets_sender, targets) = watch::channel(TargetSet::default());
        let overrides = load_overrides(state.as_ref(), started_s)?;
        let live = Live::new(config, reread, bound.addresses(), admin.rules(), &random)?;
        let mut tools = tools(state.as_ref(), targets_sender, live.find_sources(), &random)?;
        tools.workshop.overrides = overrides.current();
        let events = Arc::clone(&tools.workshop.events);
        let saved_aliases = state.as_ref().map(|s| resolver::saved(s)).unwrap_or_default();
        tools.workshop.resolved = Arc::new(saved_aliases.iter().cloned().collect());
        let aliases = tools.aliases.subscribe();
        let watch = config.watch.then(|| Watch::new(config, Arc::clone(&tools.workshop.keys_read)));
        let (board, published) = (Arc::clone(&tools.workshop.board), Arc::clone(&tools.published));
        let registry = Arc::clone(&tools.workshop.registry);
        let starting = Starting::read(tools, &sources(config));
        report_and_decide(&starting, config.strict)?;
        board.on_change({
            let keeper = starting.handle().clone();
            move || keeper.verdicts_changed()
        });
        let saved = state.as_ref().map(|s| saved_verdicts(s)).unwrap_or_default();
        let health = &config.health;
        let health =
            Health::spawn(runtime.handle(), targets, Arc::clone(&board), health, saved, Arc::clone(&events))
                .map_err(|e| running("health checks", e.to_string()))?;
        health.restore_history(state.as_ref().map(|s| saved_history(s)).unwrap_or_default());
        let aliases = resolver::spawn(
            runtime.handle(),
            resolver::Tools {
                names: aliases,
                servers: config.resolvers.clone(),
                local: explain::local_answers(Arc::clone(&published)),
                publish: {
                    let keeper = starting.handle().clone();
                    Box::new(move |known| keeper.resolved(known))
                },
                state: state.clone(),
                saved: saved_aliases,
            },
        );
        let keep_saved =
            state.clone().map(|s| runtime.spawn(persist::keep_saved(health.clone(), s, SAVE_VERDICTS_EVERY)));

        let handles = Arc::new(Handles {
            keeper: starting.handle().clone(),
            published,
            health: health.clone(),
            aliases,
            counters: Arc::new(Counters::new()),
            overrides,
            registry,
            board,
            find_sources: find_sources(reread),
            live,
            state: state.clone(),
            started_s,
            ready: AtomicBool::new(false),
            reloaded_s: AtomicU32::new(0),
            discovery: Arc::new(Discovery::load(config, state.as_ref(), Arc::clone(&events))),
            receivers: Receivers::start(runtime.handle(), Arc::clone(&events), &config.notify),
            events,
            orders: orders::Orders::default(),
        });
        runtime.spawn(events::look_after(Arc::clone(&handles)));
        if let Some(watch) = watch {
            watch.spawn(runtime.handle(), Arc::clone(reread), signals.sender());
        }
        let (admin_stop, admin_stopped) = watch::channel(false);
        let admin = runtime.spawn(admin.serve(Arc::clone(&handles) as _, admin_stopped));
        let waiting = Some((starting, bound));
        Ok(Self { runtime, signals, waiting, health, keep_saved, handles, admin_stop, admin })
    }

    /// Waits for the first round of probes; true if the server is to stop instead.
    fn first_round_is_interrupted(&mut self) -> bool {
        self.runtime.block_on(self.signals.wait_or(self.health.first_round_done())).is_some()
    }

    /// Publishes the zones and answers queries.
    fn serve(&mut self, config: &Config) -> Result<Serving, AppError> {
        let Some((starting, bound)) = self.waiting.take() else {
            return Err(running("serve", "it serves already".to_owned()));
        };
        let (keeper, keeper_thread) = starting.serve().map_err(|e| running("keeper", e.to_string()))?;
        let (discovery, published) = (&self.handles.discovery, &self.handles.published);
        // Before the first query: what was discovered is served on, whether its sources answer or not.
        discovery.publish_restored(&keeper, published);
        let (discovery_stop, stopped) = watch::channel(false);
        let discovering =
            self.runtime.spawn(Arc::clone(discovery).run(keeper.clone(), Arc::clone(published), stopped));
        self.handles.live.start(config, bound, &self.handles)?;
        for address in self.handles.live.listeners() {
            logs::listening("udp", address);
            logs::listening("tcp", address);
        }
        self.handles.ready.store(true, Ordering::Release);
        Ok(Serving { handles: Arc::clone(&self.handles), keeper, keeper_thread, discovery_stop, discovering })
    }

    /// Ends what is still there: health with a last save, then the admin listener, so that /healthz tells the truth to the last.
    fn close(self) {
        // After the last answer.
        self.handles.live.query_log().stop();
        self.runtime.block_on(self.health.shutdown());
        if let Some(keep_saved) = self.keep_saved {
            // What goes wrong with the last save it logs itself.
            let _ = self.runtime.block_on(keep_saved);
        }
        // After the last event.
        self.runtime.block_on(self.handles.receivers.stop());
        // Without a receiver the listener has ended by itself, and says below why.
        let _ = self.admin_stop.send(true);
        if let Ok(Err(e)) = self.runtime.block_on(self.admin) {
            warn!(error = %e, "the admin listener ended with an error");
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// What answers queries.
struct Serving {
    handles: Arc<Handles>,
    keeper: KeeperHandle,
    keeper_thread: JoinHandle<()>,
    discovery_stop: watch::Sender<bool>,
    discovering: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Answers what was read, then no more; saves what was discovered, serials and signatures.
    fn stop(self, runtime: &Runtime) {
        self.handles.live.stop();
        // Without a receiver the task has ended, and the next line says how.
        let _ = self.discovery_stop.send(true);
        if runtime.block_on(self.discovering).is_err() {
            error!("discovery has panicked; what it would have saved is lost");
        }
        self.keeper.stop();
        if self.keeper_thread.join().is_err() {
            error!("the keeper has panicked; what it would have saved is lost");
        }
    }
}

fn tools(
    state: Option<&Arc<StateDir>>,
    targets: watch::Sender<TargetSet>,
    find_sources: FindSources,
    random: &SystemRandom,
) -> Result<Tools, AppError> {
    let hash_key = hash_key(random)?;
    Ok(Tools {
        workshop: Workshop {
            registry: Arc::new(Mutex::new(TargetRegistry::default())),
            board: Arc::new(VerdictBoard::new()),
            hash_key,
            state: state.cloned(),
            signed: signed_zones(state)?,
            choices: load_choices(state)?,
            overrides: Arc::default(),
            discovered: Arc::default(),
            resolved: Arc::default(),
            events: Arc::default(),
            signatures: Arc::default(),
            keys_read: Arc::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        },
        published: Published::new(Snapshot::empty(hash_key)),
        targets,
        aliases: watch::Sender::default(),
        state: state.cloned(),
        find_sources,
        now_s: Arc::new(now_s),
    })
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

/// Takes as many file descriptors as the system allows: each TCP client and each probe needs one, and the usual soft limit
/// of 1024 is there for programs that use select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        warn!(error = %e, "the limit of open files cannot be raised");
    }
}

/// The sockets of the service manager if it hands over any, else those of `listen`.
fn listeners(config: &Config) -> Result<Bound, AppError> {
    let limits = Limits::from(&config.limits);
    let handed = Handed::take().map_err(|e| running("listen", e.to_string()))?;
    let bound = if handed.is_empty() {
        transport::bind(&config.listen, config.workers, limits, config.portable)
    } else {
        info!("answering on the sockets of the service manager, in place of \"listen\"");
        transport::adopt(handed, config.workers, limits, config.portable)
    };
    bound.map_err(|e| running("listen", e.to_string()))
}

fn open_state(config: &Config) -> Result<Option<Arc<StateDir>>, AppError> {
    let Some(path) = &config.state else { return Ok(None) };
    StateDir::open(path).map(|state| Some(Arc::new(state))).map_err(|e| running("state", e.to_string()))
}

fn signed_zones(state: Option<&Arc<StateDir>>) -> Result<Option<Arc<SignedZones>>, AppError> {
    let Some(state) = state else { return Ok(None) };
    let (signed, problems) =
        SignedZones::load(Arc::clone(state)).map_err(|e| running("state", e.to_string()))?;
    for problem in problems {
        error!("{problem}");
    }
    if signed.is_incomplete() {
        error!(
            "which zones were served signed is not known: a zone without a \"dnssec\" block is not served until it has one, or says \"off\""
        );
    }
    Ok(Some(Arc::new(signed)))
}

fn load_choices(state: Option<&Arc<StateDir>>) -> Result<Arc<Choices>, AppError> {
    let (choices, problem) = Choices::load(state.cloned()).map_err(|e| running("state", e.to_string()))?;
    if let Some(problem) = problem {
        error!("{problem}; pools with \"failback\": false choose anew");
    }
    Ok(Arc::new(choices))
}

fn load_overrides(state: Option<&Arc<StateDir>>, now_s: u32) -> Result<OverrideStore, AppError> {
    let (overrides, problems) =
        OverrideStore::load(state.cloned(), now_s).map_err(|e| running("state", e.to_string()))?;
    for problem in problems {
        error!("{problem}; see `hale override list` for those that are in force");
    }
    Ok(overrides)
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

fn sources(config: &Config) -> Vec<ZoneSource> {
    let files = config.zone_files.iter().cloned().map(ZonePlace::File);
    let inline =
        config.inline_zones.iter().map(|(label, text)| ZonePlace::Inline(label.clone(), text.clone()));
    files.chain(inline).map(|place| ZoneSource { place, shared: Arc::clone(&config.shared) }).collect()
}

fn find_sources(reread: &Reread) -> FindSources {
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

fn saved_history(state: &StateDir) -> history::Saved {
    let (saved, problem) = match history::load(state) {
        Ok((saved, problem)) => (saved, problem.map(|problem| problem.to_string())),
        Err(e) => (history::Saved::new(), Some(e.to_string())),
    };
    if let Some(problem) = problem {
        warn!("{problem}; the targets' history begins anew");
    }
    saved
}

/// What is done while serving.
struct Upkeep {
    published: Arc<Published>,
    notifier: Arc<Notifier>,
}

impl Upkeep {
    async fn until_stopped(
        &self,
        signals: &mut Signals,
        keeper: &KeeperHandle,
        handles: &Arc<Handles>,
    ) -> Ending {
        let mut free = tokio::time::interval(FREE_EVERY);
        let mut watchdog =
            tokio::time::interval(self.notifier.watchdog_period().unwrap_or(Duration::from_secs(3600)));
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop(name) => {
                        info!(signal = name, "stopping");
                        return Ending::AsAsked;
                    }
                    Signal::Reload => self.reload("SIGHUP", handles),
                    Signal::Changed => self.reload("files have changed", handles),
                },
                _ = free.tick() => {
                    self.published.free_retired();
                    handles.orders.forget_unused(&self.published.load(), Instant::now());
                    give_memory_back();
                    if !keeper.is_running() {
                        return Ending::WithoutKeeper;
                    }
                    if !handles.health.is_running() {
                        return Ending::WithoutHealth;
                    }
                }
                _ = watchdog.tick() => self.notifier.alive(),
            }
        }
    }

    fn reload(&self, why: &str, handles: &Arc<Handles>) {
        info!("{why}: reading configuration and zones again");
        self.notifier.reloading();
        let (handles, notifier) = (Arc::clone(handles), Arc::clone(&self.notifier));
        tokio::task::spawn_blocking(move || {
            handles.read_again(false);
            notifier.ready(READY);
        });
    }
}

/// mimalloc gives memory that has been free for a second back to the system when it next frees a page, and an idle server frees none:
/// a load's would stay with it. So a page is taken and freed now and then, without being touched.
fn give_memory_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_PIECE)));
}
