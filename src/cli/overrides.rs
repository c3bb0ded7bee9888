//! `hale override`: a person's word over what probes say.

use clap::{Subcommand, ValueEnum};
use serde::Deserialize;

use super::outcome::{Failure, Outcome};
use super::server::{ListArgs, ServerArgs};
use super::status::now_s;
use super::terminal::{self, duration, plural};
use super::zone::percent_encoded;
use crate::model::hidden::Hidden;
use crate::model::overrides::{NewOverride, Word};
use crate::model::records::{HiddenChange, HiddenReport, HideRequest};
use crate::model::report::{OverrideChange, OverrideReport, OverrideRequest};

#[derive(Subcommand, Debug)]
pub(super) enum OverrideCommand {
    /// Say that endpoints are up or down whatever their probes meet, or drain them
    Set(SetArgs),
    /// List the overrides in force
    List(ListArgs),
    /// Take an override back: probes count again
    Clear(ClearArgs),
    /// Keep a discovered name from being published, for a while
    Hide(HideArgs),
    /// Publish a hidden name again
    Unhide(UnhideArgs),
    /// List the hidden names
    Hidden(ListArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
In a GLOB a label `*` stands for one or more labels, and a `*` within a label for any part of it. Of several overrides that concern an \
endpoint the most specific one counts: its address, then its pool, then its owner's name, then a glob; and the newest of equals. \
name: is also about the MX, SRV and CNAME records that lead to such a name.")]
pub(super) struct SetArgs {
    /// What it is about: name:GLOB, pool:NAME or address:IP
    subject: String,
    /// What to say: up and down count as the verdict; drain takes out of the answer unless nothing else is left
    word: WordArg,
    /// Limit it to one zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// For how long, such as 30m or 2d, or `forever`
    #[arg(long = "for", value_name = "TIME")]
    lasts: String,
    /// Why, for whoever finds it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum WordArg {
    Up,
    Down,
    Drain,
}

impl From<WordArg> for Word {
    fn from(word: WordArg) -> Self {
        match word {
            WordArg::Up => Self::Up,
            WordArg::Down => Self::Down,
            WordArg::Drain => Self::Drain,
        }
    }
}

#[derive(clap::Args, Debug)]
pub(super) struct ClearArgs {
    /// Number of the override, as `hale override list` shows it
    id: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct HideArgs {
    /// The name; a wildcard as `*.apps.example.test`
    name: String,
    /// For how long, such as 30m or 2d, or `forever`
    #[arg(long = "for", value_name = "TIME")]
    lasts: String,
    /// Why, for whoever finds it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct UnhideArgs {
    /// The name, as `hale override hidden` shows it
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(command: &OverrideCommand) -> Outcome {
    match command {
        OverrideCommand::Set(args) => set(args),
        OverrideCommand::List(args) => list(args),
        OverrideCommand::Clear(args) => clear(args),
        OverrideCommand::Hide(args) => hide(args),
        OverrideCommand::Unhide(args) => unhide(args),
        OverrideCommand::Hidden(args) => hidden(args),
    }
}

fn set(args: &SetArgs) -> Outcome {
    let request = OverrideRequest {
        subject: args.subject.clone(),
        zone: args.zone.clone(),
        word: args.word.into(),
        lasts: args.lasts.clone(),
        reason: args.reason.clone(),
    };
    // What is wrong with the arguments is told before a server is asked, with the exit code of arguments.
    NewOverride::read(&request, String::new(), 0).map_err(Failure::usage)?;
    let body = serde_json::to_string(&request).map_err(|error| Failure::running(error.to_string()))?;
    let change: OverrideChange = args.server.client()?.post("/api/v1/overrides", &body)?;
    if args.json {
        terminal::print_json(&change)
    } else {
        terminal::print(&describe(&change, "set", now_s()))
    }
}

fn clear(args: &ClearArgs) -> Outcome {
    let path = format!("/api/v1/overrides/{}", args.id);
    let change: OverrideChange = args.server.client()?.delete(&path)?;
    if args.json {
        terminal::print_json(&change)
    } else {
        terminal::print(&describe(&change, "cleared", now_s()))
    }
}

#[derive(Deserialize)]
struct Listing {
    overrides: Vec<OverrideReport>,
}

fn list(args: &ListArgs) -> Outcome {
    let all = args.server.client()?.get::<Listing>("/api/v1/overrides")?.overrides;
    if args.json {
        return terminal::print_json(&all);
    }
    if all.is_empty() { terminal::print("no overrides\n") } else { terminal::print(&table(&all, now_s())) }
}

fn table(all: &[OverrideReport], now_s: u64) -> String {
    let rows: Vec<[String; 7]> = all
        .iter()
        .map(|entry| {
            [
                entry.id.to_string(),
                entry.subject.clone(),
                entry.zone.clone().unwrap_or_else(|| "-".to_owned()),
                entry.word.to_string(),
                left(entry, now_s),
                entry.owner.clone(),
                entry.reason.clone(),
            ]
        })
        .collect();
    terminal::table(["ID", "SUBJECT", "ZONE", "WORD", "LEFT", "OWNER", "REASON"], &rows)
}

fn left(entry: &OverrideReport, now_s: u64) -> String {
    match entry.until {
        Some(until) => duration(until.saturating_sub(now_s)),
        None => "forever".to_owned(),
    }
}

fn describe(change: &OverrideChange, what: &str, now_s: u64) -> String {
    let OverrideChange { entry, names, kept } = change;
    let mut text = format!("override {} {what}: {} {}", entry.id, entry.subject, entry.word);
    if let Some(zone) = &entry.zone {
        text += &format!(" in {zone}");
    }
    if what == "set" {
        text += &match entry.until {
            Some(_) => format!(", for {}", left(entry, now_s)),
            None => ", forever".to_owned(),
        };
    }
    text += &format!("; it is about {}\n", plural(*names, "checked name"));
    if what == "set" && *names == 0 {
        text += "nothing that is checked now is meant by it: is the name absolute, and the address the published one?\n";
    }
    if what == "set" && !kept {
        text += "it will not outlive a restart: the server has no --state\n";
    }
    text
}

#[derive(Deserialize)]
struct AllHidden {
    hidden: Vec<HiddenReport>,
}

fn hide(args: &HideArgs) -> Outcome {
    let request =
        HideRequest { name: args.name.clone(), lasts: args.lasts.clone(), reason: args.reason.clone() };
    Hidden::read(&request, String::new(), 0).map_err(Failure::usage)?;
    let body = serde_json::to_string(&request).map_err(|error| Failure::running(error.to_string()))?;
    let change: HiddenChange = args.server.client()?.post("/api/v1/hidden", &body)?;
    if args.json { terminal::print_json(&change) } else { terminal::print(&describe_hidden(&change, true)) }
}

fn unhide(args: &UnhideArgs) -> Outcome {
    let path = format!("/api/v1/hidden/{}", percent_encoded(&args.name));
    let change: HiddenChange = args.server.client()?.delete(&path)?;
    if args.json { terminal::print_json(&change) } else { terminal::print(&describe_hidden(&change, false)) }
}

fn hidden(args: &ListArgs) -> Outcome {
    let all = args.server.client()?.get::<AllHidden>("/api/v1/hidden")?.hidden;
    if args.json {
        return terminal::print_json(&all);
    }
    if all.is_empty() {
        return terminal::print("no hidden names\n");
    }
    let now_s = now_s();
    let row = |hidden: &HiddenReport| {
        let left = hidden.until.map(|until| duration(until.saturating_sub(now_s)));
        [
            hidden.name.clone(),
            left.unwrap_or_else(|| "forever".to_owned()),
            hidden.owner.clone(),
            hidden.reason.clone(),
        ]
    };
    let rows: Vec<[String; 4]> = all.iter().map(row).collect();
    terminal::print(&terminal::table(["NAME", "FOR", "BY", "REASON"], &rows))
}

fn describe_hidden(change: &HiddenChange, is_hidden: bool) -> String {
    let HiddenChange { hidden, discovered, kept } = change;
    let mut text = match (is_hidden, discovered) {
        (true, true) => format!("{} is hidden\n", hidden.name),
        (true, false) => format!("{} is hidden as soon as a source discovers it\n", hidden.name),
        (false, true) => format!("{} is published again\n", hidden.name),
        (false, false) => format!("{} is no longer hidden; no source wants it now\n", hidden.name),
    };
    if is_hidden && !kept {
        text += "this does not outlive a restart: the server has no state directory\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_describes() {
        let entry = OverrideReport {
            id: 4,
            subject: "address:192.0.2.1".into(),
            zone: Some("a.test.".into()),
            word: Word::Drain,
            set_at: 1_000,
            until: Some(4_600),
            reason: "new disk".into(),
            owner: "root (uid 0)".into(),
        };
        let want = "\
ID  SUBJECT            ZONE     WORD   LEFT     OWNER         REASON
4   address:192.0.2.1  a.test.  drain  59m 50s  root (uid 0)  new disk
";
        assert_eq!(table(std::slice::from_ref(&entry), 1_010), want);
        let change = OverrideChange { entry: entry.clone(), names: 2, kept: true };
        let want =
            "override 4 set: address:192.0.2.1 drain in a.test., for 1h; it is about 2 checked names\n";
        assert_eq!(describe(&change, "set", 1_000), want);
        let change = OverrideChange {
            entry: OverrideReport { until: None, zone: None, ..entry },
            names: 0,
            kept: false,
        };
        let text = describe(&change, "set", 1_000);
        assert!(
            text.contains("drain, forever; it is about 0 checked names\nnothing that is checked"),
            "{text}"
        );
        assert!(text.ends_with("no --state\n"), "{text}");
        assert_eq!(
            describe(&change, "cleared", 1_000),
            "override 4 cleared: address:192.0.2.1 drain; it is about 0 checked names\n"
        );
    }
}
