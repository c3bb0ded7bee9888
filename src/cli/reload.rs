//! `hale reload`: reads the zones again.

use std::process::ExitCode;
use std::time::Duration;

use super::outcome::{Failure, Outcome};
use super::server::ServerArgs;
use super::terminal::{self, plural};
use crate::model::report::ReloadReport;

/// Zones of a million names take their time.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args, Debug)]
pub(super) struct ReloadArgs {
    /// Let go of zones whose file has vanished
    #[arg(long)]
    remove_missing: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Exit code 1 where something could not be read: its old zone goes on being served.
pub(super) fn run(args: &ReloadArgs) -> Outcome {
    let mut client = args.server.client()?;
    client.patience = PATIENCE;
    let body = format!("{{\"remove_missing\": {}}}", args.remove_missing);
    let report: ReloadReport = client.post("/api/v1/reload", &body)?;
    if args.json {
        terminal::print_json(&report)?;
    } else {
        terminal::print_error(&lines(&report.findings));
        terminal::print(&describe(&report))?;
    }
    if report.ok { Ok(()) } else { Err(Failure::Silent(ExitCode::from(1))) }
}

fn lines(texts: &[String]) -> String {
    texts.iter().flat_map(|text| [text.as_str(), "\n"]).collect()
}

fn describe(report: &ReloadReport) -> String {
    let mut text: String = report
        .zones
        .iter()
        .map(|zone| {
            let serial = zone.serial.map_or_else(String::new, |serial| format!(", serial {serial}"));
            let counted = [(zone.added, '+'), (zone.changed, '~'), (zone.removed, '-')];
            let names: String =
                counted.iter().filter(|(n, _)| *n > 0).map(|(n, sign)| format!(" {sign}{n}")).collect();
            let names = if names.is_empty() { names } else { format!(", names{names}") };
            format!("{} {}{serial}{names}\n", zone.zone, zone.change)
        })
        .collect();
    text.push_str(&format!("{} unchanged\n", plural(report.unchanged, "zone")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::{ChangeKind, ZoneChange};

    #[test]
    fn says_what_changed() {
        let zone = |zone: &str, change, serial, [added, changed, removed]: [u64; 3]| ZoneChange {
            zone: zone.to_owned(),
            change,
            serial,
            added,
            changed,
            removed,
        };
        let report = ReloadReport {
            ok: false,
            zones: vec![
                zone("a.test.", ChangeKind::Changed, Some(9), [1, 0, 3]),
                zone("b.test.", ChangeKind::Kept, None, [0; 3]),
            ],
            unchanged: 1,
            findings: vec!["error: b.json: x".to_owned()],
        };
        assert_eq!(
            describe(&report),
            "a.test. changed, serial 9, names +1 -3\nb.test. kept\n1 zone unchanged\n"
        );
        assert_eq!(lines(&report.findings), "error: b.json: x\n");
    }
}
