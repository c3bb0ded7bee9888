//! What people and other systems write, changed at random: readers of it say what is wrong and where, and never panic or hang. `HALE_FUZZ_CASES` says
//! how many cases there are of each kind (2000 unless given), `HALE_SEED` which.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hale::config::{Shared, ZoneReader};
use hale::discovery::rule::{Grammar, Routers, rule_hosts};
use hale::model::diagnostic::Position;
use support::random::Random;

/// No input takes longer, on a busy machine without optimisation.
const LONGEST: Duration = Duration::from_secs(10);

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The JSON files of a folder, in order.
fn files(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder(path)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Pieces that mean something to some reader.
#[rustfmt::skip]
const PIECES: [&str; 36] = [
    "{", "}", "[", "]", "\"", ":", ",", "\\", "\\u0000", "\\ud800", "null", "-1", "1e999", "18446744073709551616", "*", "@", ".", "..", "é", "\u{feff}",
    "ſ", "`", "(", ")", "&&", "||", "!", "Host(`a`)", "HostRegexp(`^[a-z]+$`)", "{name:[a-z]*}", "\\# 4 0a", "TYPE65535", "\"records\"", "\"@\": {}", "255", "\n",
];

/// One text, with some places of it changed.
fn mutated(random: &mut Random, from: &[String]) -> String {
    let mut text: Vec<char> = random.pick(from).chars().collect();
    for _ in 0..1 + random.below(4) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(12)).min(text.len());
        match random.below(6) {
            0 => drop(text.drain(at..end)),
            1 => text.truncate(at),
            2 => {
                // A part of another text, which may be valid by itself.
                let other: Vec<char> = random.pick(from).chars().collect();
                let start = random.below(other.len() + 1);
                let stop = (start + random.below(60)).min(other.len());
                drop(text.splice(at..end, other[start..stop].iter().copied()));
            }
            3 => {
                // Much of the same.
                let part: String = text[at..end].iter().collect();
                drop(text.splice(at..at, part.repeat(random.below(300)).chars()));
            }
            _ => drop(text.splice(at..end, random.pick(&PIECES).chars())),
        }
    }
    text.into_iter().collect()
}

fn check(name: &str, from: &[String], read: impl Fn(&str) -> Vec<Position>) {
    let cases = std::env::var("HALE_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let mut random = Random::new(support::seed(name));
    for case in 0..cases {
        let text = mutated(&mut random, from);
        let began = Instant::now();
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&text)));
        let Ok(positions) = read else { panic!("case {case}: {text:?}") };
        assert!(began.elapsed() < LONGEST, "case {case} takes {:?}: {text:?}", began.elapsed());
        let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
        for Position { line, column } in positions {
            let length = (line as usize).checked_sub(1).and_then(|line| lines.get(line));
            let stands = length.is_some_and(|length| (1..=length + 1).contains(&(column as usize)));
            assert!(stands, "case {case}: {line}:{column} is not in {text:?}");
        }
    }
}

#[test]
fn zone_files() {
    let mut from = files("tests/fixtures/check");
    from.extend(files("zones"));
    check("zone_files", &from, |text| {
        let reader = match ZoneReader::from_text("zone.json", text.to_owned(), &Shared::default()) {
            Ok(reader) => reader,
            Err(found) => {
                assert!(!found.is_empty(), "refused without a word: {text:?}");
                return found.iter().filter_map(|found| found.position).collect();
            }
        };
        let mut positions: Vec<Position> =
            reader.findings().iter().filter_map(|found| found.position).collect();
        let header = reader.header();
        for apex in std::iter::once(&header.apex).chain(header.alias_zones.iter().take(2)) {
            let (zone, found) = hale::zone::build::read(&reader, apex, 1);
            assert_eq!(zone.is_none(), found.iter().any(|found| found.is_error()), "{found:?} of {text:?}");
            positions.extend(found.iter().filter_map(|found| found.position));
        }
        positions
    });
}

#[test]
fn rules_of_traefik() {
    let table = std::fs::read_to_string(folder("tests/fixtures/traefik/rules.json")).unwrap();
    let table: Vec<serde_json::Value> = serde_json::from_str(&table).unwrap();
    let from: Vec<String> = table.iter().map(|case| case["rule"].as_str().unwrap().to_owned()).collect();
    check("rules_of_traefik", &from, |rule| {
        let mut positions = Vec::new();
        for routers in [Routers::Http, Routers::Tcp] {
            for grammar in [
                Grammar::unknown(routers),
                Grammar::of(routers, "3.7.13", ""),
                Grammar::of(routers, "2.11.0", "v2"),
            ] {
                match rule_hosts(rule, grammar) {
                    Ok(found) => positions.extend(found.reported.into_iter().map(|problem| problem.position)),
                    Err(problem) => positions.push(problem.position),
                }
            }
        }
        positions
    });
}
