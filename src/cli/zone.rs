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
use crate::model::report::{OverriddenReport, ZoneReport};

#[derive(Subcommand, Debug)]
pub(super) enum ZoneCommand {
    /// List the zones with their state, or describe one
    Show(ShowArgs),
    /// Write a zone as it is served now: a master file (RFC 1035) or JSON lines
    Export(ExportArgs),
    #[command(hide = true)]
    Import(Later),
    #[command(hide = true)]
    Diff(Later),
}

#[derive(clap::Args, Debug)]
pub(super) struct ShowArgs {
    /// Apex of one zone
    zone: Option<String>,
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
        ZoneCommand::Diff(_) => later::refuse("zone diff"),
    }
}

#[derive(Deserialize)]
struct Zones {
    zones: Vec<ZoneReport>,
}

fn show(args: &ShowArgs) -> Outcome {
    let wanted = args.zone.as_deref().map(apex).transpose()?;
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
    if matches!(args.view, View::Configured) {
        return Err(Failure::usage("`hale zone export --view configured` is not in this version"));
    }
    let zone = apex(&args.zone)?;
    let format = match args.format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let path = format!("/api/v1/zones/{}/export?format={format}", percent_encoded(&zone.to_string()));
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
