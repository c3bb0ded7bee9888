//! `hale reload`: reads configuration and zones again.

use std::process::ExitCode;
use std::time::Duration;

use super::outcome::{Failure, Outcome};
use super::server::ServerArgs;
use super::terminal::{self, plural};
use crate::model::report::{ReloadReport, SettingChange, SettingOutcome, ZoneChange};

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
    let mut text: String = report.zones.iter().map(describe_zone).collect();
    match report.unchanged {
        // It takes a configuration that cannot be read for no zone to be told of.
        0 if report.zones.is_empty() && !report.ok => {
            text.push_str("nothing is changed: all goes on as before\n");
        }
        0 if !report.zones.is_empty() => {}
        unchanged => text.push_str(&format!("{} unchanged\n", plural(unchanged, "zone"))),
    }
    for SettingChange { key, outcome, detail } in &report.settings {
        let outcome = match outcome {
            SettingOutcome::Applied => "changed",
            SettingOutcome::Failed => "NOT changed",
            SettingOutcome::NeedsRestart => "needs a restart",
        };
        text.push_str(&format!("{key} {outcome}: {detail}\n"));
    }
    text
}

/// The zone, and the records that came and went below it.
fn describe_zone(zone: &ZoneChange) -> String {
    let serial = zone.serial.map_or_else(String::new, |serial| format!(", serial {serial}"));
    let counted = |what: &str, counts: &[(u64, char)]| {
        let counts: String =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, sign)| format!(" {sign}{n}")).collect();
        if counts.is_empty() { counts } else { format!(", {what}{counts}") }
    };
    let names = counted("names", &[(zone.added, '+'), (zone.changed, '~'), (zone.removed, '-')]);
    let records = counted("records", &[(zone.records_added, '+'), (zone.records_removed, '-')]);
    // The hint below it stands with the findings.
    let problem = zone.problem.as_deref().and_then(|problem| problem.lines().next());
    let problem = problem.map_or_else(String::new, |problem| format!(": {problem}"));
    let mut text = format!("{} {}{serial}{names}{records}{problem}\n", zone.zone, zone.change);
    zone.records.iter().for_each(|record| text.push_str(&format!("  {record}\n")));
    let left_out = (zone.records_added + zone.records_removed).saturating_sub(zone.records.len() as u64);
    if left_out > 0 {
        text.push_str(&format!("  and {} more\n", plural(left_out, "record")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::ChangeKind;

    #[test]
    fn says_what_changed() {
        let zone = |zone: &str, change, serial, [added, changed, removed]: [u64; 3]| ZoneChange {
            zone: zone.to_owned(),
            change,
            serial,
            added,
            changed,
            removed,
            records_added: added + 1,
            records_removed: 0,
            records: vec!["+ www.a.test. 300 A 192.0.2.1".to_owned(); added as usize],
            problem: matches!(change, ChangeKind::Kept)
                .then(|| "the zone file is gone\n  hint: x".to_owned()),
        };
        let report = ReloadReport {
            ok: false,
            zones: vec![
                zone("a.test.", ChangeKind::Changed, Some(9), [1, 0, 3]),
                zone("b.test.", ChangeKind::Kept, None, [0; 3]),
            ],
            unchanged: 1,
            settings: vec![SettingChange {
                key: "workers".to_owned(),
                outcome: SettingOutcome::NeedsRestart,
                detail: "it is read at the start only".to_owned(),
            }],
            findings: vec!["error: b.json: x".to_owned()],
        };
        assert_eq!(
            describe(&report),
            "a.test. changed, serial 9, names +1 -3, records +2\n  + www.a.test. 300 A 192.0.2.1\n  and 1 record more\n\
             b.test. kept, records +1: the zone file is gone\n  and 1 record more\n1 zone unchanged\nworkers needs a restart: it is read at the start only\n"
        );
        assert_eq!(lines(&report.findings), "error: b.json: x\n");
        let (zones, settings) = (Vec::new(), Vec::new());
        let mut nothing = ReloadReport { ok: false, zones, unchanged: 0, settings, findings: Vec::new() };
        assert_eq!(describe(&nothing), "nothing is changed: all goes on as before\n");
        (nothing.ok, nothing.unchanged) = (true, 2);
        assert_eq!(describe(&nothing), "2 zones unchanged\n");
        (nothing.zones, nothing.unchanged) = (vec![zone("c.test.", ChangeKind::Added, Some(1), [0; 3])], 0);
        assert_eq!(describe(&nothing), "c.test. added, serial 1, records +1\n  and 1 record more\n");
    }
}
