//! The whole of health against real sockets on loopback.
#![allow(clippy::print_stdout)] // the seed

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;
use crate::model::target::{Check, CheckKind};

/// A small deterministic generator; its seed is printed and can be given by `HALE_TEST_SEED`.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn seeded() -> Self {
        let seed = match std::env::var("HALE_TEST_SEED") {
            Ok(text) => text.parse().unwrap(),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
        };
        println!("HALE_TEST_SEED={seed}");
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(super) fn target(
    address: SocketAddr,
    interval_ms: u32,
    timeout_ms: u32,
    rise: u32,
    fall: u32,
) -> Arc<Target> {
    let check = Arc::new(Check {
        kind: CheckKind::Tcp,
        interval_ms,
        timeout_ms,
        rise,
        fall,
        rules: Default::default(),
    });
    Arc::new(Target { address, check })
}

fn set(targets: &[Arc<Target>]) -> TargetSet {
    Arc::new(targets.iter().enumerate().map(|(id, t)| (TargetId(id as u32), t.clone())).collect())
}

const CONFIG: HealthConfig = HealthConfig {
    brake_down_percent: 80,
    brake_min_targets: 10,
    probes_in_flight: 4096,
    exec_in_flight: 64,
    probes_per_second_per_address: 50,
    verdict_max_age_ms: 600_000,
};

/// Health over real sockets.
struct Bench {
    sets: watch::Sender<TargetSet>,
    board: Arc<VerdictBoard>,
    health: HealthHandle,
}

impl Bench {
    fn new(targets: &[Arc<Target>], saved: Vec<SavedVerdict>) -> Self {
        let (sets, receiver) = watch::channel(set(targets));
        let board = Arc::new(VerdictBoard::new());
        let health =
            Health::spawn(&Handle::current(), receiver, board.clone(), &CONFIG, saved, Arc::default())
                .unwrap();
        Self { sets, board, health }
    }

    fn verdicts(&self, count: u32) -> Vec<Verdict> {
        (0..count).map(|id| self.board.get(TargetId(id))).collect()
    }

    async fn until(&self, id: u32, verdict: Verdict) {
        let limit = Instant::now() + Duration::from_secs(10);
        while self.board.get(TargetId(id)) != verdict {
            assert!(Instant::now() < limit, "target {id} is not {verdict}: {:?}", self.health.report());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A listener that never accepts and whose backlog is full: further connections get no answer.
fn black_hole() -> (socket2::Socket, Vec<socket2::Socket>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap();
    let fillers = (0..4)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address);
            filler
        })
        .collect();
    (socket, fillers, address.as_socket().unwrap())
}

#[tokio::test]
async fn the_first_result_is_the_first_verdict_and_then_rise_and_fall() {
    let (open, open_address) = listener().await;
    let (closed, closed_address) = listener().await;
    drop(closed);
    let (_hole, _fillers, hole_address) = black_hole();
    let targets = [
        target(open_address, 100, 90, 2, 3),
        target(closed_address, 100, 90, 2, 3),
        target(hole_address, 300, 250, 2, 3),
    ];
    let bench = Bench::new(&targets, Vec::new());
    let started = Instant::now();
    bench.health.first_round_done().await;
    assert!(started.elapsed() < Duration::from_millis(1250), "the longest timeout and a second");
    assert_eq!(bench.verdicts(3), [Verdict::Up, Verdict::Down, Verdict::Down]);

    drop(open);
    bench.until(0, Verdict::Down).await;
    let report = bench.health.report();
    assert_eq!(report[0].target, targets[0]);
    assert!(report[0].failures >= 3, "{report:?}");
    let outcome = |index: usize| report[index].last.as_ref().unwrap().outcome.clone();
    assert_eq!(outcome(1), Outcome::Failure("connection refused".into()));
    assert_eq!(outcome(2), Outcome::Failure("timed out".into()));

    let _open = TcpListener::bind(open_address).await.unwrap();
    bench.until(0, Verdict::Up).await;
    assert!(bench.health.report()[0].successes >= 2);
    let figures = bench.health.figures();
    assert_eq!(figures.targets, [0, 1, 2]);
    assert!(figures.rises >= 2 && figures.falls >= 3 && figures.probes[0][0] >= 3, "{figures:?}");
    assert!(bench.health.is_running());
    bench.health.shutdown().await;
    assert!(!bench.health.is_running());
    let after = bench.health.figures().probes;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(bench.health.figures().probes, after, "no probe after shutdown");
}

#[tokio::test]
async fn the_first_round_is_bounded_by_the_longest_timeout_and_a_second() {
    // One address for all: its own limit keeps the last ones waiting for 3 s.
    let (_open, address) = listener().await;
    let targets: Vec<_> = (0..150).map(|n| target(address, 60_000 + n, 100, 1, 1)).collect();
    let bench = Bench::new(&targets, Vec::new());
    let started = Instant::now();
    bench.health.first_round_done().await;
    let took = started.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_millis(1500), "{took:?}");
    assert!(bench.health.figures().rate_limited > 0);
}

#[tokio::test]
async fn targets_come_go_and_change_their_number() {
    let (_a, address_a) = listener().await;
    let (_b, address_b) = listener().await;
    let (c, address_c) = listener().await;
    drop(c);
    let [a, b, c] = [address_a, address_b, address_c].map(|address| target(address, 100, 100, 2, 2));
    let bench = Bench::new(&[a.clone(), b.clone()], Vec::new());
    bench.health.first_round_done().await;
    assert_eq!(bench.verdicts(2), [Verdict::Up, Verdict::Up]);
    while bench.health.report()[1].successes < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.sets.send(Arc::new(vec![(TargetId(0), c), (TargetId(1), b.clone())])).unwrap();
    bench.until(0, Verdict::Down).await;
    assert!(bench.health.report()[1].successes >= 3, "a target that is kept keeps its history");

    bench.sets.send(Arc::new(vec![(TargetId(5), a)])).unwrap();
    bench.until(5, Verdict::Up).await;
    assert_eq!(bench.verdicts(2), [Verdict::Unknown, Verdict::Unknown], "numbers that left are forgotten");
    assert_eq!(bench.health.report().len(), 1);
}

#[tokio::test]
async fn remembered_verdicts_count_at_once_unless_too_old_or_from_the_future() {
    // Their first results come after two seconds.
    let holes = [(); 4].map(|()| black_hole());
    let targets: Vec<_> = holes.iter().map(|(_, _, address)| target(*address, 30_000, 2000, 2, 3)).collect();
    let now = unix_ms();
    let saved = |n: usize, up: bool, at_unix_ms: u64| SavedVerdict {
        target: target_key(&targets[n]),
        up,
        at_unix_ms,
    };
    let board = Arc::new(VerdictBoard::new());
    let (_sets, receiver) = watch::channel(set(&targets));
    let saved = vec![
        saved(0, true, now - 1000),
        saved(1, false, now - 599_000),
        saved(2, true, now - 601_000),
        saved(3, true, now + 60_000),
    ];
    let health =
        Health::spawn(&Handle::current(), receiver, board.clone(), &CONFIG, saved, Arc::default()).unwrap();
    let verdicts: Vec<_> = (0..4).map(|id| board.get(TargetId(id))).collect();
    assert_eq!(verdicts, [Verdict::Up, Verdict::Down, Verdict::Unknown, Verdict::Unknown]);
    let again = health.saved_verdicts();
    assert_eq!(again.len(), 2);
    assert!(
        again[0].at_unix_ms.abs_diff(now - 1000) < 50,
        "its age is kept, or restarts would keep it young for ever"
    );
    assert_eq!((again[0].up, again[1].up), (true, false));
}

#[tokio::test]
async fn what_our_own_host_cannot_reach_is_unknown() {
    // The kernel has no route for a TCP connection to the broadcast address, on any host.
    let bench = Bench::new(&[target("255.255.255.255:9".parse().unwrap(), 100, 100, 1, 1)], Vec::new());
    bench.health.first_round_done().await;
    assert_eq!(bench.verdicts(1), [Verdict::Unknown]);
    let last = bench.health.report().remove(0).last.unwrap();
    assert_eq!(last.outcome, Outcome::LocalError("network unreachable from this host".into()));
    assert!(bench.health.figures().probes[0][2] >= 1);
}

#[tokio::test]
async fn verdicts_are_saved_now_and_then_and_at_the_end() {
    let folder = crate::state::tests::Folder::new();
    let state = Arc::new(crate::state::StateDir::open(folder.path()).unwrap());
    let load = || crate::state::verdicts::load(&state).unwrap().0;
    let (open, address) = listener().await;
    let bench = Bench::new(&[target(address, 100, 100, 1, 1)], Vec::new());
    bench.health.first_round_done().await;
    let period = Duration::from_millis(50);
    let saving = tokio::spawn(persist::keep_saved(bench.health.clone(), state.clone(), period));
    while load().is_empty() {
        tokio::time::sleep(period).await;
    }
    assert!(load()[0].up);
    drop(open);
    bench.until(0, Verdict::Down).await;
    bench.health.shutdown().await;
    saving.await.unwrap();
    assert!(!load()[0].up, "saved once more at the end");
    let (saved, now) = (load().remove(0), bench.health.saved_verdicts().remove(0));
    // The time is that of the last result, told from two clocks: they part by a millisecond now and then.
    assert!(saved.at_unix_ms.abs_diff(now.at_unix_ms) < 1000, "{saved:?} {now:?}");
    assert_eq!(saved.target, now.target);
}

#[test]
fn probes_leave_half_of_the_descriptors_to_others() {
    for (configured, descriptors, expected) in [
        (4096, None, 4096),
        (4096, Some(20_000), 4096),
        (4096, Some(1024), 512),
        (1, Some(2), 1),
        (5, Some(1), 1),
    ] {
        assert_eq!(in_flight_limit(configured, descriptors), expected, "{configured} of {descriptors:?}");
    }
}

#[tokio::test]
async fn a_bare_check_does_not_wake_the_backend() {
    let (listener, address) = listener().await;
    let bench = Bench::new(&[target(address, 100, 100, 1, 1)], Vec::new());
    while bench.health.figures().probes[0][0] < 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    // Elsewhere the handshake is completed.
    assert_eq!(accepted.is_err(), cfg!(target_os = "linux"), "{accepted:?}");
}

#[tokio::test]
async fn a_probe_in_flight_is_broken_off_with_its_target() {
    let (_hole, _fillers, address) = black_hole();
    let bench = Bench::new(&[target(address, 10_000, 9000, 1, 1)], Vec::new());
    let in_flight = async |wanted: usize| {
        while bench.health.figures().in_flight != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(5);
    tokio::time::timeout(limit, in_flight(1)).await.unwrap();
    bench.sets.send(Arc::new(Vec::new())).unwrap();
    tokio::time::timeout(limit, in_flight(0)).await.unwrap();
    // The same number again: what the old probe left behind is not taken for the new one's.
    let (_open, address) = listener().await;
    bench.sets.send(set(&[target(address, 100, 100, 1, 1)])).unwrap();
    bench.until(0, Verdict::Up).await;
}

#[tokio::test]
async fn health_ends_when_the_sender_of_targets_or_the_last_handle_goes() {
    let (_open, address) = listener().await;
    let Bench { sets, board: _, health } = Bench::new(&[target(address, 100, 100, 1, 1)], Vec::new());
    drop(sets);
    let mut stopped = health.stopped.clone();
    tokio::time::timeout(Duration::from_secs(5), stopped.wait_for(|stopped| *stopped))
        .await
        .unwrap()
        .unwrap();

    let Bench { sets: _sets, board: _, health } = Bench::new(&[target(address, 100, 100, 1, 1)], Vec::new());
    let mut stopped = health.stopped.clone();
    drop(health);
    tokio::time::timeout(Duration::from_secs(5), stopped.wait_for(|stopped| *stopped))
        .await
        .unwrap()
        .unwrap();
}
