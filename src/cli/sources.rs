//! `hale sources`, `hale plan`, `hale resync|pause|resume` and `hale brake release`: where names are discovered, and what comes of it.

use std::fmt::Write as _;

use clap::Subcommand;
use serde::Deserialize;

use super::outcome::{Failure, Outcome};
use super::server::{ListArgs, ServerArgs};
use super::terminal::{self, duration, plural};
use crate::model::discovery_report::{PlanReport, SourceChange, SourceReport};

#[derive(clap::Args, Debug)]
pub(super) struct SourceArgs {
    /// Name of the source in hale.json
    source: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand, Debug)]
pub(super) enum BrakeCommand {
    /// Let the removals go that the brake of a source holds
    Release(SourceArgs),
}

#[derive(Deserialize)]
struct Sources {
    sources: Vec<SourceReport>,
}

#[derive(Deserialize)]
struct Plan {
    plan: Vec<PlanReport>,
}

pub(super) fn sources(args: &ListArgs) -> Outcome {
    let all = args.server.client()?.get::<Sources>("/api/v1/sources")?.sources;
    if args.json {
        return terminal::print_json(&all);
    }
    if all.is_empty() { terminal::print("no sources\n") } else { terminal::print(&describe(&all)) }
}

pub(super) fn plan(args: &ListArgs) -> Outcome {
    let all = args.server.client()?.get::<Plan>("/api/v1/plan")?.plan;
    if args.json {
        return terminal::print_json(&all);
    }
    if all.is_empty() {
        return terminal::print("nothing: what the sources ask for is what is published\n");
    }
    terminal::print(&plan_table(&all))
}

pub(super) fn change(args: &SourceArgs, action: &str) -> Outcome {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if args.source.is_empty() || !args.source.bytes().all(plain) {
        let hint = "`hale sources` lists them";
        return Err(Failure::usage(format!("{:?} is not a name of a source", args.source)).hint(hint));
    }
    let path = format!("/api/v1/sources/{}/{action}", args.source);
    let change: SourceChange = args.server.client()?.post(&path, "")?;
    if args.json {
        return terminal::print_json(&change);
    }
    terminal::print(&match action {
        "resync" => format!("{} is being listed afresh: see `hale sources`\n", change.source),
        "pause" => format!("{} is left alone; what it published stays\n", change.source),
        "resume" => format!("{} goes on\n", change.source),
        _ => format!("{}: {} let go\n", change.source, plural(change.names, "name")),
    })
}

pub(super) fn brake(command: &BrakeCommand) -> Outcome {
    let BrakeCommand::Release(args) = command;
    change(args, "release")
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", duration(seconds)))
}

/// How it is kept in step: for one that is polled how often, as it is now.
fn mode(source: &SourceReport) -> String {
    let every = source.interval_seconds.map(|seconds| format!("every {}", duration(seconds)));
    format!("{}, {}", source.mode, every.unwrap_or_else(|| source.sync.clone()))
}

/// One row a source, then what somebody should look at.
fn describe(all: &[SourceReport]) -> String {
    let row = |source: &SourceReport| {
        [
            source.name.clone(),
            source.kind.clone(),
            source.state.clone(),
            source.names.to_string(),
            ago(source.age_seconds),
            source.problems.to_string(),
            mode(source),
        ]
    };
    let rows: Vec<[String; 7]> = all.iter().map(row).collect();
    let headings = ["SOURCE", "KIND", "STATE", "NAMES", "COMPLETE", "PROBLEMS", "MODE"];
    let mut text = terminal::table(headings, &rows);
    for source in all {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", details(source));
    }
    text
}

fn details(source: &SourceReport) -> String {
    let mut lines = Vec::new();
    if let Some(failure) = &source.failure {
        let retry = failure.retry_in_seconds.map(|seconds| format!(", again in {}", duration(seconds)));
        let open = if failure.breaker_open { ", breaker open" } else { "" };
        let (count, retry) = (plural(failure.in_a_row.into(), "failure"), retry.unwrap_or_default());
        lines.push(format!("fails ({}): {} ({count}{open}{retry})", failure.kind, failure.text));
        if source.names > 0 && source.mode != "observe" {
            lines.push(format!("  what was known of it stands: {}", plural(source.names, "name")));
        }
    }
    if let Some(brake) = &source.brake {
        let left = brake.release_after_seconds.saturating_sub(brake.for_seconds);
        lines.push(format!("brake holds the removal of {}: {}", plural(brake.held, "name"), brake.why));
        let mut names = brake.names.join(" ");
        if brake.held > brake.names.len() as u64 {
            names += " …";
        }
        lines.push(format!("  {names}"));
        lines.push(format!(
            "  they go in {} if that does not change, or with `hale brake release {}`",
            duration(left),
            source.name
        ));
    }
    for resource in source.resources.iter().filter(|resource| resource.failure.is_some()) {
        let namespace =
            resource.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let why = resource.failure.as_deref().unwrap_or_default();
        let age = ago(resource.age_seconds);
        lines.push(format!("{}{namespace}: {why} (complete {age})", resource.kind));
    }
    for condition in source.conditions.iter().filter(|condition| !condition.holds) {
        lines.push(format!("not {}: {}", condition.kind, condition.reason));
    }
    for problem in &source.first_problems {
        lines.push(format!("{} ({}): {}", problem.object, problem.kind, problem.text));
    }
    let more = source.problems.saturating_sub(source.first_problems.len() as u64);
    if more > 0 {
        lines.push(format!("{} more: see --json", plural(more, "problem")));
    }
    if lines.is_empty() {
        return String::new();
    }
    lines.iter().fold(format!("\n{}\n", source.name), |text, line| text + "  " + line + "\n")
}

fn plan_table(all: &[PlanReport]) -> String {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let row = |entry: &PlanReport| {
        let hides = entry.hides.as_ref().map(|wildcard| format!("hides {wildcard}"));
        let why: Vec<&str> = entry.why.as_deref().into_iter().chain(hides.as_deref()).collect();
        [
            entry.change.clone(),
            entry.name.clone(),
            dash(&entry.targets.join(",")),
            dash(&entry.source),
            dash(&entry.object),
            why.join("; "),
        ]
    };
    let rows: Vec<[String; 6]> = all.iter().map(row).collect();
    terminal::table(["CHANGE", "NAME", "TARGETS", "SOURCE", "OBJECT", "WHY"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::discovery_report::{BrakeReport, FailureReport, ProblemReport};

    #[test]
    fn a_source_at_a_glance() {
        let fine = SourceReport {
            name: "prod".into(),
            kind: "kubernetes".into(),
            state: "ok".into(),
            mode: "sync".into(),
            sync: "continuous".into(),
            names: 12,
            age_seconds: Some(3),
            ..SourceReport::default()
        };
        let want = "\
SOURCE  KIND        STATE  NAMES  COMPLETE  PROBLEMS  MODE
prod    kubernetes  ok     12     3s ago    0         sync, continuous
";
        assert_eq!(describe(std::slice::from_ref(&fine)), want);
        let polled = SourceReport { interval_seconds: Some(15), ..fine.clone() };
        assert!(describe(&[polled]).contains("  sync, every 15s\n"));
        let failing = SourceReport {
            state: "failing".into(),
            failure: Some(FailureReport {
                kind: "connect".into(),
                text: "connection refused".into(),
                in_a_row: 6,
                breaker_open: true,
                retry_in_seconds: Some(31),
            }),
            brake: Some(BrakeReport {
                held: 2,
                why: "too many".into(),
                for_seconds: 60,
                release_after_seconds: 600,
                names: vec!["a.test.".into()],
            }),
            problems: 2,
            first_problems: vec![ProblemReport {
                object: "ingress/shop/web".into(),
                kind: "malformed".into(),
                text: "no".into(),
            }],
            ..fine
        };
        let want = "
prod
  fails (connect): connection refused (6 failures, breaker open, again in 31s)
    what was known of it stands: 12 names
  brake holds the removal of 2 names: too many
    a.test. …
    they go in 9m if that does not change, or with `hale brake release prod`
  ingress/shop/web (malformed): no
  1 problem more: see --json
";
        assert_eq!(details(&failing), want);
    }

    #[test]
    fn a_plan() {
        let entry = PlanReport {
            name: "a.test.".into(),
            change: "add".into(),
            source: "prod".into(),
            object: "ingress/shop/web".into(),
            targets: vec!["192.0.2.1".into()],
            why: Some("prod only observes".into()),
            hides: Some("*.test.".into()),
        };
        let want = "\
CHANGE  NAME     TARGETS    SOURCE  OBJECT            WHY
add     a.test.  192.0.2.1  prod    ingress/shop/web  prod only observes; hides *.test.
";
        assert_eq!(plan_table(&[entry]), want);
    }
}
