//! A server in this process: keeper, board and UDP workers as `hale serve` has them, with the bench in the place of the probes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hale::answer::Settings;
use hale::config::{ListenAddress, TcpLimits};
use hale::keeper::build::{Workshop, ZonePlace, ZoneSource};
use hale::keeper::channel::KeeperHandle;
use hale::keeper::targets::TargetRegistry;
use hale::keeper::{Starting, TargetSet, Tools};
use hale::model::board::VerdictBoard;
use hale::model::hash::HashKey;
use hale::model::target::{TargetId, Verdict};
use hale::snapshot::Snapshot;
use hale::snapshot::handle::Published;
use hale::state::StateDir;
use hale::state::signed::SignedZones;
use hale::telemetry::counters::Counters;
use hale::transport::{Limits, Running, SnapshotEngine, bind};

pub(crate) const APEX: &str = "bench.test";
/// Addresses of each checked owner.
pub(crate) const ADDRESSES: usize = 3;

/// How long each part of starting took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Start {
    pub(crate) read: Duration,
    /// Selecting, signing and compiling, on all cores.
    pub(crate) serve: Duration,
    /// CPU time of all threads meanwhile.
    pub(crate) serve_cpu: Duration,
}

/// See the module's documentation. It ends with `stop`.
pub(crate) struct House {
    pub(crate) board: Arc<VerdictBoard>,
    pub(crate) keeper: KeeperHandle,
    pub(crate) published: Arc<Published>,
    pub(crate) address: SocketAddr,
    pub(crate) start: Start,
    /// What the clock of the keeper is ahead by, in seconds.
    pub(crate) ahead_s: Arc<AtomicU32>,
    targets: tokio::sync::watch::Receiver<TargetSet>,
    thread: JoinHandle<()>,
    running: Running,
    _state: tempfile::TempDir,
}

impl House {
    /// Starts serving a zone file; every target is up.
    pub(crate) fn start(file: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        let board = Arc::new(VerdictBoard::new());
        let hash_key = HashKey::new([0x9e37_79b9, 0x7f4a_7c15]);
        let published = Published::new(Snapshot::empty(hash_key));
        let (sender, targets) = tokio::sync::watch::channel(TargetSet::default());
        let source = ZoneSource::from(ZonePlace::File(file.to_owned()));
        let ahead_s = Arc::new(AtomicU32::new(0));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let tools = Tools {
            workshop: Workshop {
                registry: Arc::new(Mutex::new(TargetRegistry::default())),
                board: Arc::clone(&board),
                hash_key,
                state: Some(Arc::clone(&state)),
                signed: Some(Arc::new(SignedZones::load(Arc::clone(&state)).unwrap().0)),
                choices: Arc::default(),
                overrides: Arc::default(),
                discovered: Arc::default(),
                resolved: Arc::default(),
                signatures: Arc::default(),
                keys_read: Arc::default(),
                events: Arc::default(),
                threads,
            },
            published: Arc::clone(&published),
            targets: sender,
            aliases: Default::default(),
            state: Some(state),
            find_sources: {
                let source = source.clone();
                Arc::new(move || Ok((vec![source.clone()], Vec::new())))
            },
            now_s: {
                let ahead_s = Arc::clone(&ahead_s);
                Arc::new(move || now_s() + ahead_s.load(Ordering::Relaxed))
            },
        };
        let began = Instant::now();
        let starting = Starting::read(tools, std::slice::from_ref(&source));
        assert_eq!(starting.diagnostics().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        let read = began.elapsed();
        board.on_change({
            let handle = starting.handle().clone();
            move || handle.verdicts_changed()
        });
        let ids: Vec<TargetId> = targets.borrow().iter().map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| board.set(*id, Verdict::Up));
        let (began, cpu) = (Instant::now(), process_cpu());
        let (keeper, thread) = starting.serve().unwrap();
        let start = Start { read, serve: began.elapsed(), serve_cpu: process_cpu() - cpu };
        let listen = [ListenAddress { address: ([127, 0, 0, 1], 0).into(), optional: false }];
        let limits = Limits::from(TcpLimits::default());
        let bound = bind(&listen, 1, limits, false).unwrap();
        let address = bound.addresses()[0];
        let running = bound
            .start(
                {
                    let (published, settings) = (Arc::clone(&published), Arc::new(Settings::default()));
                    move |_| SnapshotEngine::new(&published, Arc::clone(&settings))
                },
                Arc::new(Counters::new()),
            )
            .unwrap();
        Self { board, keeper, published, address, start, ahead_s, targets, thread, running, _state: folder }
    }

    /// The board's number of the target with this address.
    pub(crate) fn targets(&self) -> std::collections::HashMap<std::net::IpAddr, TargetId> {
        self.targets.borrow().iter().map(|(id, target)| (target.address.ip(), *id)).collect()
    }

    pub(crate) fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(self) {
        self.running.stop();
        let began = Instant::now();
        self.keeper.stop();
        self.thread.join().unwrap();
        if began.elapsed() > Duration::from_secs(1) {
            eprintln!("stopped in {:.2} s", began.elapsed().as_secs_f64());
        }
    }
}

pub(crate) fn now_s() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// CPU time of all threads of this process.
pub(crate) fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Run time of the threads that answer UDP, from the scheduler's own account.
pub(crate) fn udp_cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let folders = threads.map(|thread| thread.unwrap().path());
    let udp = folders
        .filter(|f| std::fs::read_to_string(f.join("comm")).is_ok_and(|name| name.starts_with("hale-udp")));
    let nanos = udp.filter_map(|f| {
        std::fs::read_to_string(f.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

const HEAD: &str = "{\"zone\":\"bench.test\",\"default_ttl\":300,\"nameservers\":[\"ns1.bench.test\"],\"dnssec\":{\"keys\":\"auto\"},\
    \"records\":{\"ns1\":[\"192.0.2.53\"]";

/// The address of a checked owner's endpoint, which is also its target.
pub(crate) fn endpoint(owner: usize, index: usize) -> [u8; 4] {
    let number = owner * ADDRESSES + index;
    [10, (number >> 16) as u8, (number >> 8) as u8, number as u8]
}

/// A signed zone of `names` names, of which the first `checked` have [`ADDRESSES`] checked addresses and the others one plain one.
pub(crate) fn zone_of_names(folder: &Path, names: usize, checked: usize) -> PathBuf {
    let mut text = HEAD.to_owned();
    for owner in 0..names {
        if owner < checked {
            let all: Vec<String> =
                (0..ADDRESSES).map(|i| format!("{:?}", dotted(endpoint(owner, i)))).collect();
            write!(text, ",\n\"h{owner}\":{{\"A\":[{}],\"check\":{{\"tcp\":80}}}}", all.join(",")).unwrap();
        } else {
            let n = owner as u32;
            write!(text, ",\n\"h{owner}\":[\"{}\"]", dotted([11, (n >> 16) as u8, (n >> 8) as u8, n as u8]))
                .unwrap();
        }
    }
    save(folder, text)
}

/// The address that all owners of [`shared_zone`] have in common.
pub(crate) const SHARED: [u8; 4] = [192, 0, 2, 101];

/// A signed zone of `owners` owners, each with an address of its own, unchecked, and a checked one that all share.
pub(crate) fn shared_zone(folder: &Path, owners: usize) -> PathBuf {
    let mut text = HEAD.to_owned();
    let shared = dotted(SHARED);
    for owner in 0..owners {
        let own = dotted([11, (owner >> 16) as u8, (owner >> 8) as u8, owner as u8]);
        write!(
            text,
            ",\n\"h{owner}\":{{\"A\":[{{\"address\":\"{own}\",\"check\":\"none\"}},\"{shared}\"],\"check\":{{\"tcp\":80}}}}"
        )
        .unwrap();
    }
    save(folder, text)
}

fn dotted([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

fn save(folder: &Path, mut text: String) -> PathBuf {
    text.push_str("}}\n");
    let file = folder.join("bench.test.json");
    std::fs::write(&file, text).unwrap();
    file
}
