//! Many real targets, some of which never answer: nobody else's probe starts late, none is left out, and the limit of probes in flight holds.
//!
//! With `HALE_LONG=1` 20,000 targets every 10 s, of which a thousand are black holes, for 30 s; else 2,000 every second for three.
//! `HALE_LONG=1 cargo test --release --test probe_lag -- --nocapture` prints lags and the CPU time of a check. The same on a virtual clock, to the
//! millisecond, is in src/health/schedule_tests.rs.
#![cfg(target_os = "linux")] // All of 127/8 can be connected to without setting anything up.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::config::HealthConfig;
use hale::health::figures::{BUCKETS_S, Histogram, OutcomeLabel};
use hale::health::{Health, TargetSet};
use hale::model::board::VerdictBoard;
use hale::model::target::{Check, CheckKind, Target, TargetId, Verdict};
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

const IN_FLIGHT: usize = 4096;

/// What is run, and for how long.
struct Load {
    targets: u32,
    black_holes: u32,
    interval_ms: u32,
    timeout_ms: u32,
    seconds: u64,
}

#[test]
fn black_holes_delay_nobody() {
    raise_descriptor_limit();
    let load = if support::long() {
        Load { targets: 20_000, black_holes: 1000, interval_ms: 10_000, timeout_ms: 2000, seconds: 30 }
    } else {
        Load { targets: 2000, black_holes: 100, interval_ms: 1000, timeout_ms: 900, seconds: 3 }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&load));
}

async fn run(load: &Load) {
    // Nobody accepts: the kernel answers, and a bare check leaves nothing in the queue.
    let (_open, open_port) = listener(4096);
    let (_hole, hole_port) = listener(1);
    let _fillers: Vec<Socket> = (0..4).map(|_| filler(hole_port)).collect();

    let holes_every = load.targets / load.black_holes;
    let is_hole = |id: u32| id.is_multiple_of(holes_every);
    let (interval_ms, timeout_ms) = (load.interval_ms, load.timeout_ms);
    let check = Arc::new(Check {
        kind: CheckKind::Tcp,
        interval_ms,
        timeout_ms,
        rise: 2,
        fall: 3,
        rules: Default::default(),
    });
    let target = |id: u32| {
        let port = if is_hole(id) { hole_port } else { open_port };
        let address = SocketAddr::from((Ipv4Addr::from(0x7f02_0000 + id), port));
        (TargetId(id), Arc::new(Target { address, check: check.clone() }))
    };
    let set: TargetSet = Arc::new((0..load.targets).map(target).collect());
    let config = HealthConfig {
        brake_down_percent: 100,
        brake_min_targets: 10,
        probes_in_flight: IN_FLIGHT,
        exec_in_flight: 64,
        probes_per_second_per_address: 50,
        verdict_max_age_ms: 600_000,
    };
    let (_sets, receiver) = watch::channel(set);
    let board = Arc::new(VerdictBoard::new());
    let handle = tokio::runtime::Handle::current();
    let health =
        Health::spawn(&handle, receiver, board.clone(), &config, Vec::new(), Arc::default()).unwrap();
    health.first_round_done().await;
    for id in 0..load.targets {
        let expected = if is_hole(id) { Verdict::Down } else { Verdict::Up };
        assert_eq!(board.get(TargetId(id)), expected, "target {id} after the first round");
    }
    // The second probe comes half an interval to one and a half after the first.
    tokio::time::sleep(Duration::from_millis(u64::from(load.interval_ms) * 3 / 2)).await;

    let (before, cpu_before_ms, start) = (health.figures(), cpu_ms(), Instant::now());
    while start.elapsed() < Duration::from_secs(load.seconds) {
        let in_flight = health.figures().in_flight;
        assert!(in_flight <= IN_FLIGHT, "{in_flight} probes in flight");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (after, cpu_after_ms, took) = (health.figures(), cpu_ms(), start.elapsed());
    health.shutdown().await;

    let ends = |outcome: OutcomeLabel| after.probes[0][outcome as usize] - before.probes[0][outcome as usize];
    let (good, bad) = (ends(OutcomeLabel::Success), ends(OutcomeLabel::Failure));
    let wanted = f64::from(load.targets) * took.as_secs_f64() * 1000.0 / f64::from(load.interval_ms);
    let [half, most, nearly_all] =
        [0.5, 0.99, 0.999].map(|share| quantile_ms(&before.lag, &after.lag, share));
    eprintln!(
        "{} probes ({bad} into black holes) in {took:.1?}: lag within {half} ms for half, {most} ms for 99 of 100, {nearly_all} ms for 999 of \
         1,000, at most {} ms; {:.1} µs of CPU each, this test's own included",
        good + bad,
        after.lag_peak.value_ms(),
        (cpu_after_ms - cpu_before_ms) as f64 * 1000.0 / (good + bad) as f64,
    );
    assert_eq!(ends(OutcomeLabel::LocalError), 0);
    let share = (good + bad) as f64 / wanted;
    assert!((0.95..1.05).contains(&share), "{} probes where {wanted} were due", good + bad);
    assert!(most <= 250.0, "99 of 100 probes started within {most} ms");
}

/// Listens on every address of the loopback interface.
fn listener(backlog: i32) -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind_device(Some(b"lo")).unwrap();
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into()).unwrap();
    socket.listen(backlog).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// A connection that stays in the accept queue: once that is full, the kernel answers no further ones.
fn filler(port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into());
    socket
}

fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// The bound of the histogram's bucket within which so many of the observations between two moments lie, in milliseconds.
fn quantile_ms(before: &Histogram, after: &Histogram, share: f64) -> f64 {
    let wanted = share * (after.count - before.count) as f64;
    let mut seen = 0;
    for (bound_s, (after, before)) in BUCKETS_S.iter().zip(after.buckets.iter().zip(before.buckets)) {
        seen += after - before;
        if seen as f64 >= wanted {
            return bound_s * 1000.0;
        }
    }
    f64::INFINITY
}

/// User and system time of this process, in milliseconds.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}
