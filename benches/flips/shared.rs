//! One address behind many owners: its flip is one commit, signed on all cores.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hale::model::target::Verdict;

use super::house::{self, House};
use super::signing;
use super::traffic::Client;

const ROUNDS: usize = 5;

/// A table with a row for each number of owners.
pub(crate) fn table(owners: &[usize]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "#### One address behind N owners flips\n\n\
         Median (and worst) of {ROUNDS}, each of a server that has just started, nothing else going on. The bound is \
         5 ms + 1.2 × N × S / {cores} cores, S being what one signature took on one thread just before.\n\n\
         | N | S µs | commits | signatures | first answer ms | all answers ms | keeper's CPU ms | bound ms | of the bound | back: commits | signatures | all answers ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for &count in owners {
        let row = row(count, cores);
        eprintln!("shared by {row}");
        writeln!(text, "| {row} |").unwrap();
    }
    text + "\n"
}

/// What one flip did.
struct Flip {
    commits: u64,
    signatures: u64,
    first: Duration,
    /// CPU time until the first answer, without that of the UDP worker and of the client.
    cpu: Duration,
    all: Duration,
}

fn row(owners: usize, cores: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = house::shared_zone(folder.path(), owners);
    let (mut down, mut up, mut shares, mut costs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let house = House::start(&file);
        let mut client = Client::new(house.address);
        let cost = signing::one_signature();
        let flipped = flip(&house, &mut client, owners, Verdict::Down);
        shares.push(flipped.all.as_secs_f64() / bound(owners, cores, cost).as_secs_f64());
        down.push(flipped);
        up.push(flip(&house, &mut client, owners, Verdict::Up));
        costs.push(cost);
        house.stop();
    }
    costs.sort_unstable();
    shares.sort_unstable_by(f64::total_cmp);
    let cost = costs[ROUNDS / 2];
    let range = |flips: &[Flip], of: fn(&Flip) -> u64| {
        let (least, most) = (flips.iter().map(of).min().unwrap(), flips.iter().map(of).max().unwrap());
        if least == most { least.to_string() } else { format!("{least}–{most}") }
    };
    let ms = |flips: &[Flip], of: fn(&Flip) -> Duration| {
        let mut all: Vec<Duration> = flips.iter().map(of).collect();
        all.sort_unstable();
        format!("{:.1} ({:.1})", all[ROUNDS / 2].as_secs_f64() * 1e3, all[ROUNDS - 1].as_secs_f64() * 1e3)
    };
    format!(
        "{owners} | {:.1} | {} | {} | {} | {} | {} | {:.1} | {:.2} ({:.2}) | {} | {} | {}",
        cost.as_secs_f64() * 1e6,
        range(&down, |f| f.commits),
        range(&down, |f| f.signatures),
        ms(&down, |f| f.first),
        ms(&down, |f| f.all),
        ms(&down, |f| f.cpu),
        bound(owners, cores, cost).as_secs_f64() * 1e3,
        shares[ROUNDS / 2],
        shares[ROUNDS - 1],
        range(&up, |f| f.commits),
        range(&up, |f| f.signatures),
        ms(&up, |f| f.all),
    )
}

fn bound(owners: usize, cores: usize, signature: Duration) -> Duration {
    Duration::from_millis(5) + signature.mul_f64(1.2 * owners as f64 / cores as f64)
}

/// CPU time of the keeper and its crew: of all threads but those that answer and this one, which asks.
fn keeper_cpu() -> Duration {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let own = Duration::new(own.tv_sec as u64, own.tv_nsec as u32);
    house::process_cpu().saturating_sub(house::udp_cpu() + own)
}

fn flip(house: &House, client: &mut Client, owners: usize, verdict: Verdict) -> Flip {
    let id = house.targets()[&IpAddr::from(house::SHARED)];
    let figures = house.keeper.figures();
    let counts = || [House::count(&figures.commits), House::count(&figures.signatures.made)];
    // What the flip before left to do is done by then.
    std::thread::sleep(Duration::from_millis(300));
    let before = counts();
    let expected = |owner: usize| {
        let mut all = vec![[11, (owner >> 16) as u8, (owner >> 8) as u8, owner as u8]];
        all.extend((verdict == Verdict::Up).then_some(house::SHARED));
        all
    };
    // A hundredth of the time that signing takes: asking takes a core from the keeper.
    client.pause(Duration::from_micros((owners as u64 / 10).clamp(100, 1000)));
    let cpu = keeper_cpu();
    let recorded = Instant::now();
    house.board.set(id, verdict);
    let first = client.wait_for(0, &expected(0)) - recorded;
    let cpu = keeper_cpu() - cpu;
    // A sample of all owners: one swap shows them all.
    let mut all = first;
    for owner in (1..owners).step_by((owners / 50).max(1)).chain([owners - 1]) {
        all = client.wait_for(owner, &expected(owner)) - recorded;
    }
    std::thread::sleep(Duration::from_millis(50));
    let after = counts();
    Flip { commits: after[0] - before[0], signatures: after[1] - before[1], first, cpu, all }
}
