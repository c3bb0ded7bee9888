//! The 104 probes of ISC's EDNS compliance list, over a signed and an unsigned zone.
//!
//! The probes are a Python program beside the checkout (`../shared/compliance/run.py`, or `HALE_COMPLIANCE`).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::fixture::{self, APEX};
use support::process::{find, run};

fn probes() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/compliance/run.py"));
    let path = std::env::var_os("HALE_COMPLIANCE").map_or_else(beside, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} not found", path.display());
    None
}

#[test]
fn all_probes_are_ok_over_a_signed_and_an_unsigned_zone() {
    let (Some(probes), Some(python)) = (probes(), find("python3")) else { return };
    for (setup, signed) in
        [(fixture::signed("compliance"), "signed=yes"), (fixture::unsigned("compliance"), "signed=no")]
    {
        let hale = setup.start();
        let mut command = Command::new(&python);
        command.arg(&probes).args([APEX, "--port", &hale.address.port().to_string()]);
        let done = run(&mut command, Duration::from_secs(120));
        assert!(
            done.status.success() && done.stdout.contains("ALL OK (104 probes)"),
            "{}\n{}",
            done.stdout,
            done.stderr
        );
        assert!(done.stdout.contains(signed), "{}", done.stdout);
    }
}
