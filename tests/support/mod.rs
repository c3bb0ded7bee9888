//! What the tests against real programs share: messages, clients, name servers on free loopback ports, validators, zones.
//!
//! Every program is found by a variable (`HALE_NSD`, `HALE_KNOTD`, …) or by PATH. One that is not there makes its test say
//! `skipped: nsd not found`; with `HALE_REQUIRE_TOOLS=1`, as in `.ci/run`, it makes the test fail instead. Everything that
//! is started is killed by its id when its guard is dropped, and every wait is bounded.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

pub mod backends;
pub mod client;
pub mod denial;
pub mod explain;
pub mod fixture;
pub mod hale;
pub mod mmdb;
pub mod process;
pub mod random;
pub mod servers;
pub mod tools;
pub mod traefik;
pub mod verify;
pub mod webdriver;
pub mod wire;
pub mod zonegen;

/// Whether the long runs were asked for (`HALE_LONG=1`, as `.ci/run` does).
pub fn long() -> bool {
    std::env::var_os("HALE_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

/// The seed of this run: `HALE_SEED` or one drawn from the clock. Printed, so that a failure can be repeated.
pub fn seed(test: &str) -> u64 {
    let seed = match std::env::var("HALE_SEED") {
        Ok(text) => text.parse().expect("HALE_SEED must be a number"),
        Err(_) => {
            u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) + u64::from(std::process::id())
        }
    };
    eprintln!("{test}: HALE_SEED={seed}");
    seed
}
