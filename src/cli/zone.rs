//! `hale zone`: the zones of a running server.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Deserialize;

use super::client::Client;
use super::later::{self, Later};
use super::outcome::{Failure, Outcome};
use super::server::ServerArgs;
use super::status::now_s;
use super::terminal::{self, duration};
use crate::model::name::Name;
use crate::model::records::{RecordReport, RecordsPage, RrsetReport};
use crate::model::report::{OverriddenReport, ZoneReport};

#[derive(Subcommand, Debug)]
pub(super) enum ZoneCommand {
    /// List the zones with their state, or describe one
    Show(ShowArgs),
    /// Write a zone as it is served now: a master file (RFC 1035) or JSON lines
    Export(ExportArgs),
    /// Show what is configured and not answered
    Diff(DiffArgs),
    #[command(hide = true)]
    Import(Later),
}

#[derive(clap::Args, Debug)]
pub(super) struct ShowArgs {
    /// Apex of one zone
    zone: Option<String>,
    /// Show its records, with source and health: what is answered, or all that is configured
    #[arg(long, value_enum, requires = "zone")]
    view: Option<View>,
    /// Of these records only those of this name
    #[arg(long, value_name = "NAME", requires = "view")]
    name: Option<String>,
    /// Of these records only those of this type
    #[arg(long = "type", value_name = "TYPE", requires = "view")]
    rtype: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct ExportArgs {
    /// Apex of the zone
    zone: String,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The zone with only healthy endpoints, or with all that are configured
    #[arg(long, value_enum, default_value_t = View::Served)]
    view: View,
    /// Write to a file, which is replaced only by a complete export
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct DiffArgs {
    /// Apex of the zone
    zone: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    Text,
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum View {
    Served,
    Configured,
}

pub(super) fn run(command: &ZoneCommand) -> Outcome {
    match command {
        ZoneCommand::Show(args) => show(args),
        ZoneCommand::Export(args) => export(args),
        ZoneCommand::Import(_) => later::refuse("zone import"),
        ZoneCommand::Diff(args) => diff(args),
    }
}

#[derive(Deserialize)]
struct Zones {
    zones: Vec<ZoneReport>,
}

fn show(args: &ShowArgs) -> Outcome {
    let wanted = args.zone.as_deref().map(apex).transpose()?;
    if let (Some(zone), Some(view)) = (&wanted, args.view) {
        return show_records(args, zone, view);
    }
    let mut zones = args.server.client()?.get::<Zones>("/api/v1/zones")?.zones;
    if let Some(wanted) = wanted {
        let wanted = wanted.to_string();
        zones.retain(|zone| zone.zone == wanted);
        let [zone] = zones.as_slice() else {
            return Err(Failure::running(format!("{wanted} is not a zone of this server"))
                .hint("`hale zone show` lists them"));
        };
        return if args.json {
            terminal::print_json(zone)
        } else {
            terminal::print(&describe(zone, now_s()))
        };
    }
    if args.json { terminal::print_json(&zones) } else { terminal::print(&list(&zones, now_s())) }
}

impl View {
    fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Configured => "configured",
        }
    }
}

/// Calls `take` with each page of a zone's records.
fn each_page(
    client: &Client,
    zone: &Name,
    query: &str,
    mut take: impl FnMut(Vec<RrsetReport>) -> Outcome,
) -> Outcome {
    let base = format!("/api/v1/zones/{}/records?limit=2000&{query}", percent_encoded(&zone.to_string()));
    let mut after = String::new();
    loop {
        let page: RecordsPage = client.get(&format!("{base}{after}"))?;
        take(page.records)?;
        let Some(next) = page.next else { return Ok(()) };
        after = format!("&after={}", percent_encoded(&next));
    }
}

fn show_records(args: &ShowArgs, zone: &Name, view: View) -> Outcome {
    let mut query = format!("view={}", view.word());
    for (key, value) in [("name", &args.name), ("type", &args.rtype)] {
        query +=
            &value.as_ref().map_or_else(String::new, |value| format!("&{key}={}", percent_encoded(value)));
    }
    each_page(&args.server.client()?, zone, &query, |records| {
        if args.json {
            return records.iter().try_for_each(terminal::print_json);
        }
        terminal::print(&records.iter().map(describe_rrset).collect::<String>())
    })
}

/// A line for each record: as a master file has it, and what is to be known of it behind a semicolon.
fn describe_rrset(rrset: &RrsetReport) -> String {
    let RrsetReport { name, rtype, ttl, source, data } = rrset;
    let line = |record: &RecordReport| {
        let verdict = record.verdict.map(|verdict| format!("{verdict}, "));
        let word = record.word.map(|word| format!("override {word}, "));
        let absent = if record.served { "" } else { "not answered, " };
        let (verdict, word) = (verdict.unwrap_or_default(), word.unwrap_or_default());
        format!("{name}\t{ttl}\tIN\t{rtype}\t{} ; {absent}{verdict}{word}{source}\n", record.data)
    };
    data.iter().map(line).collect()
}

/// What is configured and not answered. Health takes records away and never adds any, but for fallbacks.
fn diff(args: &DiffArgs) -> Outcome {
    let (zone, client) = (apex(&args.zone)?, args.server.client()?);
    let is_absent = |rrset: &RrsetReport| rrset.data.iter().any(|record| !record.served);
    each_page(&client, &zone, "view=configured", |mut records| {
        records.retain(is_absent);
        for rrset in &mut records {
            rrset.data.retain(|record| !record.served);
        }
        if args.json {
            return records.iter().try_for_each(terminal::print_json);
        }
        terminal::print(&records.iter().map(describe_rrset).collect::<String>())
    })
}

fn apex(text: &str) -> Result<Name, Failure> {
    Name::parse_absolute(text)
        .map_err(|error| Failure::usage(format!("{text:?} is not a domain name: {error}")))
}

fn list(zones: &[ZoneReport], now_s: u64) -> String {
    let rows: Vec<[String; 6]> = zones
        .iter()
        .map(|zone| {
            [
                zone.zone.clone(),
                zone.state.to_string(),
                zone.serial.map_or_else(|| "-".to_owned(), |serial| serial.to_string()),
                zone.names.to_string(),
                signed(zone, now_s),
                zone.problem
                    .as_deref()
                    .and_then(|problem| problem.lines().next())
                    .unwrap_or_default()
                    .to_owned(),
            ]
        })
        .collect();
    terminal::table(["ZONE", "STATE", "SERIAL", "NAMES", "SIGNED", "PROBLEM"], &rows)
}

fn signed(zone: &ZoneReport, now_s: u64) -> String {
    match (zone.signed, zone.signatures_expire_at) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(at)) if at <= now_s => "EXPIRED".to_owned(),
        (true, Some(at)) => format!("for {}", duration(at - now_s)),
    }
}

fn describe(zone: &ZoneReport, now_s: u64) -> String {
    let mut rows = vec![
        ("zone", zone.zone.clone()),
        ("state", zone.state.to_string()),
        ("file", zone.file.display().to_string()),
        ("names", format!("{}, {} of them checked", zone.names, zone.checked_names)),
        ("signed", signed(zone, now_s)),
    ];
    if let Some(primary) = &zone.alias_of {
        rows.push(("alias of", primary.clone()));
    }
    if let Some(serial) = zone.serial {
        rows.push(("serial", serial.to_string()));
    }
    if let Some(changed_at) = zone.changed_at {
        rows.push(("changed", format!("{} ago", duration(now_s.saturating_sub(changed_at)))));
    }
    for endpoint in &zone.overridden {
        let OverriddenReport { name, publishes, word, id } = endpoint;
        rows.push(("override", format!("{name} {publishes} is {word}: override {id}")));
    }
    if let Some(problem) = &zone.problem {
        rows.push(("problem", problem.replace('\n', "\n         ")));
    }
    rows.iter().map(|(key, value)| format!("{key:<8} {value}\n")).collect()
}

fn export(args: &ExportArgs) -> Outcome {
    let zone = apex(&args.zone)?;
    let format = match args.format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let (zone, view) = (percent_encoded(&zone.to_string()), args.view.word());
    let path = format!("/api/v1/zones/{zone}/export?format={format}&view={view}");
    let client = args.server.client()?;
    let Some(file) = &args.output else {
        let mut out = io::stdout().lock();
        return terminal::written(copy(
            &client,
            &path,
            &mut out,
            "what was written so far is not the whole zone",
        )?);
    };
    to_file(&client, &path, file)
}

/// Copies the body out. `broken_off` is the hint where the server breaks off. The outer error is the server's, the inner one that
/// of `out`.
fn copy(
    client: &Client,
    path: &str,
    out: &mut impl Write,
    broken_off: &str,
) -> Result<io::Result<()>, Failure> {
    let mut body = client.request("GET", path, "")?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match io::Read::read(&mut body, &mut buffer) {
            Ok(0) => return Ok(out.flush()),
            Ok(n) => {
                if let Err(error) = out.write_all(&buffer[..n]) {
                    return Ok(Err(error));
                }
            }
            Err(error) => {
                return Err(client.broke_off(&error).hint(broken_off));
            }
        }
    }
}

/// Writes beside the file and renames: what stands there is a whole zone at any moment.
fn to_file(client: &Client, path: &str, file: &Path) -> Outcome {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let failed = |error: io::Error| Failure::running(format!("{}: {error}", file.display()));
    let result = File::create(&partial)
        .map_err(failed)
        .and_then(|mut out| {
            copy(client, path, &mut out, "the file is as it was")?
                .and_then(|()| out.sync_all())
                .map_err(failed)
        })
        .and_then(|()| std::fs::rename(&partial, file).map_err(failed));
    if result.is_err() {
        // It may not exist; the error that is reported is the one that matters.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

/// A name as one segment of a URL's path (RFC 3986 §3.3).
pub(super) fn percent_encoded(name: &str) -> String {
    name.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::ZoneState;

    #[test]
    fn lists_and_describes() {
        let zone = ZoneReport {
            zone: "example.test.".to_owned(),
            state: ZoneState::Kept,
            problem: Some("zones/a.json:3:1: x\n  hint: y".to_owned()),
            serial: Some(1_700_000_000),
            names: 12,
            checked_names: 3,
            alias_of: None,
            overridden: vec![OverriddenReport {
                name: "www.example.test.".to_owned(),
                publishes: "192.0.2.1".into(),
                word: crate::model::overrides::Word::Down,
                id: 4,
            }],
            changed_at: Some(900),
            file: "zones/a.json".into(),
            signed: true,
            signatures_expire_at: Some(87_400),
        };
        let want = "\
ZONE           STATE  SERIAL      NAMES  SIGNED  PROBLEM
example.test.  kept   1700000000  12     for 1d  zones/a.json:3:1: x
";
        assert_eq!(list(std::slice::from_ref(&zone), 1_000), want);
        let text = describe(&zone, 1_000);
        assert!(
            text.contains("names    12, 3 of them checked\n") && text.contains("changed  1m 40s ago\n"),
            "{text}"
        );
        assert!(text.contains("override www.example.test. 192.0.2.1 is down: override 4\n"), "{text}");
        assert!(text.ends_with("problem  zones/a.json:3:1: x\n           hint: y\n"), "{text}");
        assert!(list(&[zone], 87_400).contains("EXPIRED"));
        assert_eq!(percent_encoded("a\\032b/c.test."), "a%5C032b%2Fc.test.");
    }
}
