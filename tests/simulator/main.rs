//! Days of flapping in seconds, on a virtual clock: random zones with random policies, scripted targets, and after every change the question
//! whether what is published may be so.
//!
//! Real are the parts that decide: the ledger of health (schedule, rise and fall, damping, slow start, brake), the keeper with
//! selection, signing and compiling, and `answer`. Scripted are the targets (script.rs) and the clock. What ought to come out is said by models
//! that share nothing with the server: of verdicts (evidence.rs), of answers (oracle.rs), of signatures (served.rs).
//!
//! `HALE_SIM_SEED` repeats a run, `HALE_SIM_DAYS` says how long it is: half a day a world. `HALE_SIM_WORLD` runs one world alone, by the
//! seed that was printed for it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../support/mod.rs"]
mod support;

mod evidence;
mod oracle;
mod plan;
mod script;
mod served;
mod world;

use std::collections::BTreeMap;

use support::random::Random;
use world::World;

/// Virtual hours of one world.
const HOURS: u64 = 12;
/// Virtual hours of the run among all other tests.
const SHORT_HOURS: u64 = 5;
/// Virtual days of the long run.
const LONG_DAYS: u64 = 2;
/// Virtual days after which everything must have come up that is checked.
const DAYS_FOR_ALL: u64 = 20;
/// The seed unless one is given: the same days each time, so that a change is judged by what it changed. Others are searched by hand, with
/// `HALE_SIM_SEED` and `HALE_SIM_DAYS`.
const SEED: u64 = 1;

/// How often each thing happened that is checked, so that nobody takes for checked what never came up.
type Seen = BTreeMap<&'static str, u64>;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Runs a world; the digests of all that it published, in order.
fn run(seed: u64, hours: u64, seen: &mut Seen) -> Vec<u64> {
    let mut world = World::new(seed);
    world.run_until(hours * 3_600_000);
    world.finish(seen)
}

#[test]
fn nothing_is_published_that_may_not_be() {
    let seed = variable("HALE_SIM_SEED").unwrap_or(SEED);
    let days = variable("HALE_SIM_DAYS").or(support::long().then_some(LONG_DAYS));
    let mut hours_left = days.map_or(SHORT_HOURS, |days| days * 24);
    let is_long = hours_left >= DAYS_FOR_ALL * 24;
    eprintln!("HALE_SIM_SEED={seed}, {hours_left} hours");
    let mut seeds = Random::new(seed);
    let mut seen = Seen::new();
    if let Some(world) = variable("HALE_SIM_WORLD") {
        run(world, HOURS, &mut seen);
        return;
    }
    while hours_left > 0 {
        let (seed, hours) = (seeds.next(), hours_left.min(HOURS));
        eprintln!("a world with seed {seed}, {hours} hours");
        run(seed, hours, &mut seen);
        hours_left -= hours;
    }
    eprintln!("{seen:#?}");
    if is_long {
        // In so many worlds each of these comes up.
        for what in world::EXPECTED {
            assert!(seen.get(what).is_some_and(|n| *n > 0), "{what} never came up: {seen:#?}");
        }
    }
}

#[test]
fn equal_inputs_give_equal_outputs() {
    let seed = variable("HALE_SIM_SEED").unwrap_or(7);
    let first = run(seed, 1, &mut Seen::new());
    assert!(first.len() > 20, "{} publications", first.len());
    assert_eq!(first, run(seed, 1, &mut Seen::new()));
    assert_ne!(first, run(seed + 1, 1, &mut Seen::new()), "the digests tell worlds apart");
}
