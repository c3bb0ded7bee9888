//! CPU time and lag of TCP checks, beside gdnsd's where it is installed: `cargo bench --bench health_cpu -- [TARGETS INTERVAL_MS [SECONDS]]`.
//! Without arguments 5,000 targets every 5 s, then 20,000 every 10 s, for 30 s each.
//!
//! The targets are as many addresses of 127/8 with one listener behind them all, in a child process, so that its time is counted for nobody. Hale
//! and gdnsd check them at the same time. Linux only: the addresses need no set-up there, and the times come from /proc/PID/stat.
//!
//! The sum of user and system time is exact. How it splits is sampled by the kernel's tick, every 4 ms on many systems, and probes start every
//! 10 ms: the two beat, and the split may be far off. `perf record -e cpu-clock -F 4999 -p PID` tells it.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::config::HealthConfig;
use hale::health::figures::{BUCKETS_S, Histogram};
use hale::health::{Health, TargetSet};
use hale::model::board::VerdictBoard;
use hale::model::target::{Check, CheckKind, Target, TargetId};
use tokio::sync::watch;

const CONFIG: HealthConfig = HealthConfig {
    brake_down_percent: 80,
    brake_min_targets: 10,
    probes_in_flight: 4096,
    exec_in_flight: 64,
    probes_per_second_per_address: 50,
    verdict_max_age_ms: 600_000,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.first().is_some_and(|a| a == "listen") {
        return listen();
    }
    raise_descriptor_limit();
    let numbers: Vec<u32> = arguments.iter().map(|a| a.parse().unwrap()).collect();
    let mut backend = Command::new(std::env::current_exe().unwrap())
        .arg("listen")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(backend.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap();
    match numbers[..] {
        [] => {
            measure(port, 5000, 5000, 30);
            measure(port, 20_000, 10_000, 30);
        }
        [targets, interval_ms] => measure(port, targets, interval_ms, 30),
        [targets, interval_ms, seconds, ..] => measure(port, targets, interval_ms, seconds),
        [_] => panic!("TARGETS and INTERVAL_MS belong together"),
    }
    drop(backend.stdin.take());
    backend.wait().unwrap();
}

fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f01_0000 + number)
}

/// Accepts and closes on every address of the loopback interface, at a port that it prints, until its input ends.
fn listen() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind_device(Some(b"lo")).unwrap();
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            drop(stream);
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn measure(port: u16, targets: u32, interval_ms: u32, seconds: u32) {
    println!("{targets} targets every {interval_ms} ms, for {seconds} s:");
    let folder = tempfile::tempdir().unwrap();
    let mut gdnsd = start_gdnsd(folder.path(), port, targets, interval_ms);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_sets, receiver) = watch::channel(set(port, targets, interval_ms));
    let board = Arc::new(VerdictBoard::new());
    let started = (Instant::now(), cpu_us("self"));
    let health =
        Health::spawn(runtime.handle(), receiver, board, &CONFIG, Vec::new(), Arc::default()).unwrap();
    runtime.block_on(health.first_round_done());
    let cpu = cpu_us("self");
    println!(
        "  hale, first round: {:.0?}, {} ms of CPU",
        started.0.elapsed(),
        (cpu.0 + cpu.1 - started.1.0 - started.1.1) / 1000
    );
    // Until each target has had its second probe, starts are not spread yet as they will be.
    std::thread::sleep(Duration::from_millis(u64::from(interval_ms) * 3 / 2));

    let peer = gdnsd.as_ref().map(|child| child.id().to_string());
    let peer_cpu = || peer.as_deref().map(cpu_us);
    let (start, before, peer_before, figures_before) =
        (Instant::now(), cpu_us("self"), peer_cpu(), health.figures());
    std::thread::sleep(Duration::from_secs(seconds.into()));
    let (took, after, peer_after, figures) = (start.elapsed(), cpu_us("self"), peer_cpu(), health.figures());
    if let Some(Ok(Some(status))) = gdnsd.as_mut().map(Child::try_wait) {
        panic!("gdnsd: {status}: {}", std::fs::read_to_string(folder.path().join("log")).unwrap());
    }

    let checks: u64 = figures.probes[0].iter().sum::<u64>() - figures_before.probes[0].iter().sum::<u64>();
    print_each("hale", checks, before, after);
    match (peer_before, peer_after) {
        (Some(before), Some(after)) => {
            let checks = u64::from(targets) * took.as_millis() as u64 / u64::from(interval_ms);
            print_each("gdnsd", checks, before, after);
        }
        _ => println!("  gdnsd is not installed"),
    }
    println!("  success, failure, local error since the start: {:?}", figures.probes[0]);
    print_times("lag", &figures_before.lag, &figures.lag);
    println!("  lag: at most {} ms of late", figures.lag_peak.value_ms());
    print_times("duration", &figures_before.duration[0], &figures.duration[0]);
    runtime.block_on(health.shutdown());
    if let Some(child) = &mut gdnsd {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn set(port: u16, targets: u32, interval_ms: u32) -> TargetSet {
    let check = Arc::new(Check {
        kind: CheckKind::Tcp,
        interval_ms,
        timeout_ms: interval_ms.min(2000),
        rise: 2,
        fall: 3,
        rules: Default::default(),
    });
    let target = |number| {
        Arc::new(Target { address: SocketAddr::from((address(number), port)), check: check.clone() })
    };
    Arc::new((0..targets).map(|number| (TargetId(number), target(number))).collect())
}

/// gdnsd with the same checks, ten to a name; `None` where it is not installed.
fn start_gdnsd(folder: &Path, port: u16, targets: u32, interval_ms: u32) -> Option<Child> {
    const EACH: u32 = 10;
    // Not one of those that connections get by themselves: it could be in use by one that lies in TIME_WAIT.
    let is_free = |port: &u16| {
        UdpSocket::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("127.0.0.1", *port)).is_ok()
    };
    let dns_port = (20_000..30_000).find(is_free).unwrap();
    let root = folder.display();
    let mut config = format!(
        "options => {{ listen => 127.0.0.1, dns_port => {dns_port}, udp_threads => 1, tcp_threads => 1, run_dir => {root}/run,\n\
         state_dir => {root}/state }}\n\
         service_types => {{ check => {{ plugin => tcp_connect, port => {port}, interval => {}, timeout => 2 }} }}\n\
         plugins => {{ multifo => {{\n",
        interval_ms / 1000
    );
    let mut zone = "@ SOA ns1 hostmaster 1 900 900 900 900\n@ NS ns1\nns1 A 192.0.2.53\n".to_owned();
    for name in 0..targets.div_ceil(EACH) {
        let backend = |n| format!("b{n} => {}", address(n));
        let backends: Vec<_> = (name * EACH..targets.min((name + 1) * EACH)).map(backend).collect();
        config +=
            &format!("h{name} => {{ addrs_v4 => {{ service_types => check, {} }} }}\n", backends.join(", "));
        zone += &format!("h{name} 30 DYNA multifo!h{name}\n");
    }
    config += "} }\n";
    std::fs::create_dir_all(folder.join("zones")).unwrap();
    std::fs::write(folder.join("config"), config).unwrap();
    std::fs::write(folder.join("zones/example.test"), zone).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let child = Command::new("gdnsd").arg("-c").arg(folder).arg("start").stderr(log).spawn().ok()?;
    std::thread::sleep(Duration::from_secs(2));
    Some(child)
}

fn print_each(name: &str, checks: u64, before: (u64, u64), after: (u64, u64)) {
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    let each = |spent: u64| spent as f64 / checks as f64;
    println!(
        "  {name}: {:.1} µs a check (user {:.1}, system {:.1}), {checks} checks",
        each(user + system),
        each(user),
        each(system)
    );
}

fn print_times(what: &str, before: &Histogram, after: &Histogram) {
    let count = after.count - before.count;
    let buckets: Vec<u64> = after.buckets.iter().zip(before.buckets).map(|(a, b)| a - b).collect();
    let quantile = |share: f64| {
        let mut seen = 0;
        let found = BUCKETS_S.iter().zip(&buckets).find(|(_, n)| {
            seen += **n;
            seen as f64 >= share * count as f64
        });
        found.map_or("more than 10 s".to_owned(), |(bound, _)| format!("{:.1} ms", bound * 1000.0))
    };
    println!(
        "  {what}: mean {:.3} ms, half within {}, 99 of 100 within {}, 999 of 1,000 within {}",
        (after.sum_s - before.sum_s) / count as f64 * 1000.0,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999)
    );
}

/// User and system time of a process, in microseconds; the kernel counts in steps of 10 ms.
fn cpu_us(process: &str) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap() * 10_000;
    (ticks(11), ticks(12))
}
