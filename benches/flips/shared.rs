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
    let signing = signing::one_signature();
    let mut text = format!(
        "#### One address behind N owners flips\n\n\
         Median (and worst) of {ROUNDS}, nothing else going on. One signature takes {:.1} µs; the bound is 5 ms + 1.2 × N × that / {cores} cores.\n\n\
         | N | commits | signatures | first answer ms | all answers ms | bound ms | back: commits | signatures | all answers ms |\n|---|---|---|---|---|---|---|---|---|\n",
        signing.as_secs_f64() * 1e6
    );
    for &count in owners {
        let bound = Duration::from_millis(5) + signing.mul_f64(1.2 * count as f64 / cores as f64);
        let row = row(count, bound);
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
    all: Duration,
}

fn row(owners: usize, bound: Duration) -> String {
    let folder = tempfile::tempdir().unwrap();
    let house = House::start(&house::shared_zone(folder.path(), owners, ROUNDS));
    let mut client = Client::new(house.address);
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        down.push(flip(&house, &mut client, owners, round, Verdict::Down));
        up.push(flip(&house, &mut client, owners, round, Verdict::Up));
    }
    house.stop();
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
        "{owners} | {} | {} | {} | {} | {:.1} | {} | {} | {}",
        range(&down, |f| f.commits),
        range(&down, |f| f.signatures),
        ms(&down, |f| f.first),
        ms(&down, |f| f.all),
        bound.as_secs_f64() * 1e3,
        range(&up, |f| f.commits),
        range(&up, |f| f.signatures),
        ms(&up, |f| f.all),
    )
}

fn flip(house: &House, client: &mut Client, owners: usize, round: usize, verdict: Verdict) -> Flip {
    let id = house.targets()[&IpAddr::from(house::shared_address(round))];
    let figures = house.keeper.figures();
    let counts = || [House::count(&figures.commits), House::count(&figures.signatures)];
    // The cycle before is over: the answers have come, and the figures are counted after the publication.
    std::thread::sleep(Duration::from_millis(300));
    let before = counts();
    let expected = |owner: usize| {
        let mut all = vec![[11, (owner >> 16) as u8, (owner >> 8) as u8, owner as u8]];
        let others = (0..ROUNDS).filter(|other| *other != round || verdict == Verdict::Up);
        all.extend(others.map(house::shared_address));
        all
    };
    let recorded = Instant::now();
    house.board.set(id, verdict);
    let first = client.wait_for(0, &expected(0)) - recorded;
    // A sample of all owners: one swap shows them all.
    let mut all = first;
    for owner in (1..owners).step_by((owners / 50).max(1)).chain([owners - 1]) {
        all = client.wait_for(owner, &expected(owner)) - recorded;
    }
    std::thread::sleep(Duration::from_millis(50));
    let after = counts();
    Flip { commits: after[0] - before[0], signatures: after[1] - before[1], first, all }
}
