//! `hale status`: the running server at a glance.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::outcome::Outcome;
use super::server::ServerArgs;
use super::terminal::{self, duration, plural};
use crate::model::report::Status;

#[derive(clap::Args, Debug)]
pub(super) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &StatusArgs) -> Outcome {
    let client = args.server.client()?;
    let status: Status = client.get("/api/v1/status")?;
    if args.json {
        return terminal::print_json(&status);
    }
    terminal::print(&describe(&status, now_s()))
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn describe(status: &Status, now_s: u64) -> String {
    let mut text = String::new();
    let ready = if status.ready { "ready" } else { "not ready yet" };
    let age = duration(now_s.saturating_sub(status.started_at));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "hale {}, process {}, {ready}, running for {age}", status.version, status.pid);
    let listeners: Vec<String> =
        status.listeners.iter().map(|l| format!("{} {}", l.transport, l.address)).collect();
    let _ = writeln!(text, "listening  {}", listeners.join(", "));
    let broken = match status.broken_zones {
        0 => String::new(),
        n => format!(", {n} broken: see `hale zone show`"),
    };
    let _ = writeln!(text, "zones      {}{broken}", plural(status.zones, "zone"));
    let counts = status.targets;
    let brake = if status.brake { ", held by the brake" } else { "" };
    let _ = writeln!(
        text,
        "targets    {} up, {} down, {} unknown{brake}",
        counts.up, counts.down, counts.unknown
    );
    if status.overrides > 0 {
        let _ = writeln!(text, "overrides  {} in force: see `hale override list`", status.overrides);
    }
    let _ = writeln!(text, "published  snapshot {}", status.generation);
    if let Some(reloaded_at) = status.reloaded_at {
        let _ = writeln!(text, "reloaded   {} ago", duration(now_s.saturating_sub(reloaded_at)));
    }
    if let Some(problem) = &status.reload_problem {
        let _ = writeln!(text, "problem    {problem}; what it is about is served as before");
    }
    if !status.needs_restart.is_empty() {
        let _ = writeln!(text, "restart    needed for {}", status.needs_restart.join(", "));
    }
    if let Some(state) = &status.state {
        let _ = writeln!(text, "state      {}", state.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::{Listener, TargetCounts};

    #[test]
    fn reads_at_a_glance() {
        let status = Status {
            version: "0.1.0".to_owned(),
            pid: 7,
            started_at: 1_000,
            ready: true,
            listeners: ["udp", "tcp"]
                .map(|t| Listener { transport: t.to_owned(), address: "127.0.0.1:53".parse().unwrap() })
                .to_vec(),
            state: Some("/var/lib/hale".into()),
            generation: 4,
            zones: 2,
            broken_zones: 1,
            targets: TargetCounts { up: 3, down: 1, unknown: 0 },
            brake: true,
            overrides: 2,
            queries: 12_345,
            flips: 1,
            reloaded_at: Some(1_090),
            reload_problem: Some("a.json: it is broken".to_owned()),
            needs_restart: vec!["workers".to_owned()],
        };
        let want = "\
hale 0.1.0, process 7, ready, running for 1m 40s
listening  udp 127.0.0.1:53, tcp 127.0.0.1:53
zones      2 zones, 1 broken: see `hale zone show`
targets    3 up, 1 down, 0 unknown, held by the brake
overrides  2 in force: see `hale override list`
published  snapshot 4
reloaded   10s ago
problem    a.json: it is broken; what it is about is served as before
restart    needed for workers
state      /var/lib/hale
";
        assert_eq!(describe(&status, 1_100), want);
    }
}
