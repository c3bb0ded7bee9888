//! Counts the instructions of an answer, by kind, and holds them under the ceilings of `tests/instructions.txt`: a wall clock on a shared
//! machine proves nothing, and a count comes out the same each time.
//!
//! Callgrind runs this very program, which answers the queries of each kind once and then twice over; the difference is free of what
//! surrounds them. The figures are those of optimised code as `.ci/run long` builds it (its profile decides them by some percent), so a
//! debug build has nothing to compare. To record them again after a change that is worth it:
//!
//! ```text
//! HALE_BLESS=1 .ci/run instructions
//! ```
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "engine/kinds.rs"]
mod kinds;
#[path = "engine/message.rs"]
#[allow(dead_code)]
mod message;
mod support;
#[path = "engine/zone.rs"]
#[allow(dead_code)]
mod zone;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kinds::{Asking, KINDS, NAMES, Zones};
use support::process::{TempDir, find};

/// What a compiler or C library of another version may add to a recorded figure, in percent.
const MARGIN: u64 = 5;

fn ceilings_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt")
}

#[test]
fn answers_take_no_more_instructions_than_recorded() {
    if cfg!(debug_assertions) {
        eprintln!("skipped: a debug build (the ceilings are of optimised code)");
        return;
    }
    let Some(valgrind) = find("valgrind") else { return };
    let counts = counted(&valgrind);
    if std::env::var_os("HALE_BLESS").is_some() {
        record(&counts);
        return;
    }
    for kind in &KINDS {
        eprintln!("{:20} {:5} instructions", kind.name, counts[kind.name]);
    }
    let text = std::fs::read_to_string(ceilings_file()).unwrap();
    let wrong = compare(&recorded(&text), &counts);
    assert!(wrong.is_empty(), "{wrong}\nIf it has to be so: HALE_BLESS=1 .ci/run instructions");
}

/// What callgrind runs. Between two marks lie the costs of [`NAMES`] queries, then of twice as many.
#[test]
#[ignore = "run under callgrind by the other test"]
fn answer_each_kind() {
    let zones = Zones::new();
    for kind in &KINDS {
        let mut asking = Asking::new(&zones, kind);
        assert_eq!(asking.surprise(), None, "{}: not the answer it is to measure", kind.name);
        instructions_mark();
        run(&mut asking, NAMES);
        instructions_mark();
        run(&mut asking, 2 * NAMES);
        instructions_mark();
    }
}

fn run(asking: &mut Asking<'_>, count: usize) {
    for _ in 0..count {
        std::hint::black_box(asking.one());
    }
}

/// Callgrind writes out what it has counted whenever this is called.
#[inline(never)]
fn instructions_mark() {
    std::hint::black_box(());
}

/// Instructions a query of each kind.
fn counted(valgrind: &Path) -> BTreeMap<&'static str, u64> {
    let folder = TempDir::new("instructions");
    let mut command = Command::new(valgrind);
    command
        .args(["--tool=callgrind", "--dump-before=*instructions_mark*", "--callgrind-out-file=out"])
        .arg(std::env::current_exe().unwrap())
        .args(["answer_each_kind", "--exact", "--ignored", "--test-threads=1"])
        .current_dir(folder.path());
    let done = support::process::run(&mut command, Duration::from_secs(300));
    assert!(done.status.success(), "{done:?}");
    // The first file is what came before the first mark; then come three for each kind, the last of which belongs to the next one's
    // beginning.
    let total = |number: usize| {
        let text = std::fs::read_to_string(folder.path().join(format!("out.{number}"))).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("summary: ")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let a_query = |i: usize| (total(3 * i + 3) - total(3 * i + 2)) / NAMES as u64;
    KINDS.iter().enumerate().map(|(i, kind)| (kind.name, a_query(i))).collect()
}

fn recorded(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(' ').unwrap()).map(|(k, n)| (k, n.trim().parse().unwrap())).collect()
}

fn record(counts: &BTreeMap<&str, u64>) {
    let mut text = format!(
        "# Instructions an answer takes, by kind (tests/engine/kinds.rs). A test fails where they are {MARGIN} % more.\n\
         # HALE_BLESS=1 .ci/run instructions writes this file.\n"
    );
    for kind in &KINDS {
        writeln!(text, "{:20} {:5}", kind.name, counts[kind.name]).unwrap();
    }
    std::fs::write(ceilings_file(), text).unwrap();
}

/// A line for each kind that takes more than its ceiling, or is in one of both lists alone.
fn compare(recorded: &BTreeMap<&str, u64>, counts: &BTreeMap<&str, u64>) -> String {
    let mut wrong = String::new();
    for (kind, &count) in counts {
        match recorded.get(kind) {
            None => writeln!(wrong, "{kind}: {count} instructions, and no ceiling recorded").unwrap(),
            Some(&was) if count > was + was * MARGIN / 100 => {
                writeln!(wrong, "{kind}: {count} instructions, {was} recorded").unwrap();
            }
            Some(_) => {}
        }
    }
    for kind in recorded.keys().filter(|kind| !counts.contains_key(*kind)) {
        writeln!(wrong, "{kind}: a ceiling, and no such kind").unwrap();
    }
    wrong
}

#[test]
fn a_count_above_its_ceiling_is_found() {
    let ceilings = recorded("# comment\na 100\nb  200\ngone 5\n");
    let counts = BTreeMap::from([("a", 105), ("b", 211), ("new", 7)]);
    let wrong = compare(&ceilings, &counts);
    assert_eq!(
        wrong,
        "b: 211 instructions, 200 recorded\nnew: 7 instructions, and no ceiling recorded\ngone: a ceiling, and no such kind\n"
    );
}
