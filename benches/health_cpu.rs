//! CPU time of TCP checks: `cargo bench --bench health_cpu -- [TARGETS [INTERVAL_MS [SECONDS]]]` (5000, 5000, 30 unless given).
//!
//! The targets are listeners on as many addresses of 127.0.0.0/8, in a child process, so that what is counted here is the checker's own
//! time alone. Linux only: the addresses need no set-up there, and the times come from /proc/self/stat.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::config::HealthConfig;
use hale::health::figures::BUCKETS_S;
use hale::health::{Health, TargetSet};
use hale::model::board::VerdictBoard;
use hale::model::target::{Check, CheckKind, Target, TargetId};
use tokio::sync::watch;

const CONFIG: HealthConfig = HealthConfig {
    brake_down_percent: 80,
    brake_min_targets: 10,
    probes_in_flight: 4096,
    probes_per_second_per_address: 50,
    verdict_max_age_ms: 600_000,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |index: usize, default: u32| arguments.get(index).map_or(default, |a| a.parse().unwrap());
    rustix::process::setrlimit(rustix::process::Resource::Nofile, {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum }
    })
    .unwrap();
    if arguments.first().is_some_and(|a| a == "listen") {
        return listen(number(1, 0));
    }
    let (targets, interval_ms, seconds) = (number(0, 5000), number(1, 5000), number(2, 30));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["listen", &targets.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    measure(line.trim().parse().unwrap(), targets, interval_ms, seconds);
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f01_0000 + number)
}

/// Accepts on `targets` addresses, all with the same port, which it prints, until its input ends.
fn listen(targets: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut port = 0;
        for number in 0..targets {
            let listener = tokio::net::TcpListener::bind((address(number), port)).await.unwrap();
            port = listener.local_addr().unwrap().port();
            tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        }
        println!("{port}");
        std::io::stdout().flush().unwrap();
        tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await.unwrap().unwrap();
    });
    runtime.shutdown_background();
}

fn measure(port: u16, targets: u32, interval_ms: u32, seconds: u32) {
    let check = Arc::new(Check {
        kind: CheckKind::Tcp,
        interval_ms,
        timeout_ms: interval_ms.min(2000),
        rise: 2,
        fall: 3,
    });
    let target = |number| {
        Arc::new(Target { address: SocketAddr::from((address(number), port)), check: check.clone() })
    };
    let set: TargetSet = Arc::new((0..targets).map(|number| (TargetId(number), target(number))).collect());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_sets, receiver) = watch::channel(set);
    let board = Arc::new(VerdictBoard::new());
    let health = Health::spawn(runtime.handle(), receiver, board, &CONFIG, Vec::new());
    // The first round is a burst, and not what a running server does.
    std::thread::sleep(Duration::from_millis(u64::from(interval_ms) * 3 / 2));
    let (start, before, start_figures) = (Instant::now(), cpu_us(), health.figures());
    std::thread::sleep(Duration::from_secs(seconds.into()));
    let (took, after, figures) = (start.elapsed(), cpu_us(), health.figures());
    let checks: u64 = figures.probes[0].iter().sum::<u64>() - start_figures.probes[0].iter().sum::<u64>();
    let each = |before: u64, after: u64| (after - before) as f64 / checks as f64;
    println!(
        "{checks} checks in {took:.1?}: user {:.1} µs, system {:.1} µs each",
        each(before.0, after.0),
        each(before.1, after.1)
    );
    println!("outcomes (success, failure, local error) since the start: {:?}", figures.probes[0]);
    for (what, before, after) in [
        ("lag", start_figures.lag, figures.lag),
        ("duration", start_figures.duration[0], figures.duration[0]),
    ] {
        let mean_ms = (after.sum_s - before.sum_s) / (after.count - before.count) as f64 * 1000.0;
        let buckets: Vec<_> = BUCKETS_S
            .iter()
            .zip(after.buckets.iter().zip(before.buckets))
            .map(|(s, (a, b))| (s, a - b))
            .collect();
        println!("{what}: mean {mean_ms:.3} ms; up to (s, probes): {buckets:?}");
    }
    runtime.block_on(health.shutdown());
}

/// User and system time of this process, in microseconds; the kernel counts in steps of 10 ms.
fn cpu_us() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap() * 10_000;
    (ticks(11), ticks(12))
}
