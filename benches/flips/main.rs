//! From verdict to answer: how long after a verdict's record on the board the first UDP answer shows it, signed.
//!
//! ```text
//! cargo bench --bench flips -- [--names 1000,1000000] [--shared 1000,10000] [--seconds 10] [--rate 100] [--signing 20000] [--rows TEXT]
//! ```
//!
//! The keeper, the snapshots and the UDP worker are those of `hale serve`; the bench stands in the place of the probes and sets verdicts. So
//! the clock starts at the verdict's record, and stops when a client that asks over loopback has an answer with the new addresses
//! and a signature. Each flip in a round of its own leads to an RRset that was not served before, so that nothing comes from the
//! cache of signatures. It prints tables in Markdown; `--rows` leaves out those rows of the first table whose title has not TEXT in it, and
//! `--names ""` the whole table.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod house;
mod shared;
mod signing;
mod traffic;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hale::keeper::channel::KeeperHandle;
use hale::keeper::figures::KeeperFigures;
use hale::model::target::{TargetId, Verdict};
use house::{ADDRESSES, House};
use traffic::{Client, Load};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checked owners of a zone, at most: with a hundred flips a second each flips once in ten seconds.
const CHECKED: usize = 1000;

struct Options {
    names: Vec<usize>,
    shared: Vec<usize>,
    seconds: u64,
    rate: u64,
    signing: usize,
    rows: String,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            names: vec![1000, 1_000_000],
            shared: vec![1000, 10_000],
            seconds: 10,
            rate: 100,
            signing: 20_000,
            rows: String::new(),
        };
        let list =
            |text: String| text.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} takes a value"));
            match name.as_str() {
                "--names" => options.names = list(value),
                "--shared" => options.shared = list(value),
                "--seconds" => options.seconds = value.parse().unwrap(),
                "--rate" => options.rate = value.parse().unwrap(),
                "--signing" => options.signing = value.parse().unwrap(),
                "--rows" => options.rows = value,
                _ => panic!("there is no {name}"),
            }
        }
        options
    }
}

fn main() {
    let options = Options::parse();
    let mut page = String::new();
    for &names in &options.names {
        page.push_str(&single(&options, names));
    }
    if !options.shared.is_empty() {
        page.push_str(&shared::table(&options.shared));
    }
    if options.signing > 0 {
        page.push_str(&signing::table(options.signing));
    }
    println!("{page}");
}

/// What else goes on during a row.
#[derive(Clone, Copy)]
struct Also {
    flips: bool,
    load: bool,
    resigning: bool,
    reloads: bool,
}

fn single(options: &Options, names: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let checked = names.min(CHECKED);
    let house = House::start(&house::zone_of_names(folder.path(), names, checked));
    let mut text = format!(
        "#### One owner flips, {} flips a second, {names} signed names, {checked} of them checked\n\n",
        options.rate
    );
    writeln!(
        text,
        "Read in {:.2} s, signed and compiled in {:.2} s.\n\n\
         | meanwhile | flips | p50 ms | p99 ms | max ms | a query alone: p99 ms | commits | mean ms | signatures | reloads | queries/s | DNS CPU µs a query |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|",
        house.start.read.as_secs_f64(),
        house.start.serve.as_secs_f64()
    )
    .unwrap();
    let load = Load::start(house.address, checked, None);
    std::thread::sleep(Duration::from_secs(1));
    let half = load.stop() / 2;
    let mut flips = Flips::new(&house, checked);
    let also = |flips, load, resigning, reloads| Also { flips, load, resigning, reloads };
    for (title, also) in [
        ("no flips, half of the capacity asked", also(false, true, false, false)),
        ("nothing", also(true, false, false, false)),
        ("half of the capacity asked", also(true, true, false, false)),
        ("half asked, reloads one after the other", also(true, true, false, true)),
        ("half asked, signatures renewed", also(true, true, true, false)),
        ("half asked, both: reloads that sign everything", also(true, true, true, true)),
    ] {
        if !title.contains(&options.rows) {
            continue;
        }
        let row = row(options, &house, &mut flips, also, half, checked);
        eprintln!("{names}: {title}: {row}");
        writeln!(text, "| {title} | {row} |").unwrap();
    }
    house.stop();
    text + "\n"
}

fn row(options: &Options, house: &House, flips: &mut Flips, also: Also, half: u64, names: usize) -> String {
    let figures = house.keeper.figures();
    let counters = [&figures.commits, &figures.signatures.made, &figures.reloads_good];
    let read = || (counters.map(House::count), commit_seconds(figures));
    let before = read();
    let load = also.load.then(|| Load::start(house.address, names, Some(half)));
    let over = Arc::new(AtomicBool::new(false));
    let others = [
        also.reloads.then(|| reload_until(&over, house.keeper.clone())),
        also.resigning.then(|| renew_until(&over, Arc::clone(&house.ahead_s))),
    ];
    let (began, cpu) = (Instant::now(), house::udp_cpu());
    let mut alone = Vec::new();
    let mut delays = Vec::new();
    if also.flips {
        (delays, alone) = flips.run(house, options.rate, options.seconds);
    } else {
        std::thread::sleep(Duration::from_secs(options.seconds));
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), house::udp_cpu() - cpu);
    let answered = load.map(Load::stop);
    let after = read();
    over.store(true, Ordering::Relaxed);
    others.into_iter().flatten().for_each(|thread| thread.join().unwrap());
    let [commits, signatures, reloads] = [0, 1, 2].map(|i| after.0[i] - before.0[i]);
    let mean = match commits {
        0 => String::new(),
        _ => format!("{:.2}", (after.1 - before.1) * 1e3 / commits as f64),
    };
    let (rate, each) = answered.map_or((String::new(), String::new()), |answered| {
        let each = cpu.as_secs_f64() * 1e6 / answered as f64;
        (format!("{:.0}", answered as f64 / seconds), format!("{each:.2}"))
    });
    format!(
        "{} | {} | {} | {} | {} | {commits} | {mean} | {signatures} | {reloads} | {rate} | {each}",
        delays.len(),
        ms(&mut delays, 0.5),
        ms(&mut delays, 0.99),
        ms(&mut delays, 1.0),
        ms(&mut alone, 0.99),
    )
}

/// What all transactions took, in all their stages.
fn commit_seconds(figures: &KeeperFigures) -> f64 {
    figures.stages.iter().map(|stage| stage.parts().2).sum()
}

/// The time that a part of all have not exceeded, in milliseconds.
fn ms(all: &mut [Duration], part: f64) -> String {
    all.sort_unstable();
    let at = ((all.len() as f64 * part) as usize).min(all.len().saturating_sub(1));
    all.get(at).map(|time| format!("{:.2}", time.as_secs_f64() * 1e3)).unwrap_or_default()
}

/// Reloads one after the other, as by SIGHUP; the last one is waited for.
fn reload_until(over: &Arc<AtomicBool>, keeper: KeeperHandle) -> JoinHandle<()> {
    let over = Arc::clone(over);
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            assert!(keeper.reload_and_wait(false).unwrap().is_good());
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

/// Makes all signatures due at once, and again when those of a small zone are done.
fn renew_until(over: &Arc<AtomicBool>, ahead_s: Arc<AtomicU32>) -> JoinHandle<()> {
    let over = Arc::clone(over);
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            ahead_s.fetch_add(30 * 86_400, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(2));
        }
    })
}

/// Flips one address after another, so that each leads to addresses that its owner has not had for longest.
struct Flips {
    ids: Vec<[TargetId; ADDRESSES]>,
    next: usize,
}

/// Sets of addresses that are up, each one flip from that before it; all eight but the empty one.
const CYCLE: [u8; 8] = [0b111, 0b110, 0b100, 0b101, 0b001, 0b011, 0b010, 0b011];

/// A flip whose answer is awaited.
struct Pending {
    owner: usize,
    expected: Vec<[u8; 4]>,
    recorded: Instant,
}

impl Flips {
    fn new(house: &House, checked: usize) -> Self {
        let ids = house.targets();
        let id = |owner, index| ids[&IpAddr::from(house::endpoint(owner, index))];
        Self { ids: (0..checked).map(|owner| [0, 1, 2].map(|index| id(owner, index))).collect(), next: 0 }
    }

    /// Sets the next verdict.
    fn set(&mut self, house: &House) -> Pending {
        let (owner, round) = (self.next % self.ids.len(), self.next / self.ids.len());
        self.next += 1;
        let up = CYCLE[(round + 1) % CYCLE.len()];
        let changed = (CYCLE[round % CYCLE.len()] ^ up).trailing_zeros() as usize;
        let is_up = |index: usize| up >> index & 1 != 0;
        let expected = (0..ADDRESSES).filter(|i| is_up(*i)).map(|i| house::endpoint(owner, i)).collect();
        let recorded = Instant::now();
        house.board.set(self.ids[owner][changed], if is_up(changed) { Verdict::Up } else { Verdict::Down });
        Pending { owner, expected, recorded }
    }

    /// Flips at a steady rate, whatever becomes of the answers; how long each took, and how long each query of the client that waited.
    fn run(&mut self, house: &House, rate: u64, seconds: u64) -> (Vec<Duration>, Vec<Duration>) {
        let (sender, receiver) = mpsc::channel::<Pending>();
        std::thread::scope(|scope| {
            let observer = scope.spawn(|| observe(house, receiver));
            let began = Instant::now();
            for i in 0..rate * seconds {
                let due = began + Duration::from_micros(i * 1_000_000 / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                sender.send(self.set(house)).unwrap();
            }
            drop(sender);
            observer.join().unwrap()
        })
    }
}

fn observe(house: &House, receiver: mpsc::Receiver<Pending>) -> (Vec<Duration>, Vec<Duration>) {
    let mut client = Client::new(house.address);
    let wait = |pending: Pending| client.wait_for(pending.owner, &pending.expected) - pending.recorded;
    let delays = receiver.into_iter().map(wait).collect();
    (delays, client.into_round_trips())
}
