//! `hale events`: what has happened, and with `--follow` what happens.

use std::io::{BufRead, BufReader, Write};
use std::thread::sleep;
use std::time::Duration;

use serde::Deserialize;

use super::client::{Client, Hope};
use super::outcome::{Failure, Outcome};
use super::server::ServerArgs;
use super::terminal;
use super::zone::percent_encoded;
use crate::model::event::{Event, EventKind};

/// Pause before a lost connection is made again.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Kinds: target-flip, name-down, name-recovered, brake-held, brake-released, source-failed, source-stale, source-recovered, \
source-brake-held, source-brake-released, override-set, override-cleared, override-expired, reload-done, reload-failed, \
discovered-added, discovered-changed, discovered-removed, name-hidden, name-unhidden, signing-trouble, certificate-expiring.")]
pub(super) struct EventsArgs {
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only events of this kind; may be given more than once
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<EventKind>,
    /// Only events that are about this zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// How many past events to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    last: u16,
    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct Recent {
    events: Vec<Event>,
}

/// What is told instead of events that are no longer kept.
#[derive(Deserialize)]
struct Lost {
    lost: u64,
    server_restarted: bool,
}

pub(super) fn run(args: &EventsArgs) -> Outcome {
    let client = args.server.client()?;
    let kinds: Vec<&str> = args.kinds.iter().map(|kind| kind.name()).collect();
    let mut filter = format!("kind={}", kinds.join(","));
    if let Some(zone) = &args.zone {
        filter += &format!("&zone={}", percent_encoded(zone));
    }
    // Numbers of all kinds, so that what comes between this answer and the next is not missed.
    let newest = client.get::<Recent>("/api/v1/events/recent?most=1")?.events.last().map(|event| event.id);
    let recent: Recent = client.get(&format!("/api/v1/events/recent?{filter}&most={}", args.last))?;
    for event in &recent.events {
        show(event, args.json)?;
    }
    if !args.follow {
        return Ok(());
    }
    let mut seen = recent.events.last().map(|event| event.id).max(newest);
    let mut is_away = false;
    loop {
        let after = seen.map(|id| format!("&after={id}")).unwrap_or_default();
        match client.try_request("GET", &format!("/api/v1/events?{filter}{after}"), "") {
            Ok(body) => {
                if std::mem::take(&mut is_away) {
                    terminal::print_error(&format!("{} answers again\n", client.place));
                }
                follow(&client, BufReader::new(body), args.json, &mut seen)?;
            }
            // It answered before, so it may be on its way up again.
            Err((Hope::Some, failure)) => {
                if !std::mem::replace(&mut is_away, true) {
                    let why = failure.sentence();
                    terminal::print_error(&format!("{why}; trying again until it is back\n"));
                }
            }
            Err((Hope::None, failure)) => return Err(failure),
        }
        sleep(AGAIN);
    }
}

/// Shows what comes until the connection ends.
fn follow(client: &Client, body: impl BufRead, json: bool, seen: &mut Option<u64>) -> Outcome {
    let mut kind = String::new();
    for line in body.lines() {
        let Ok(line) = line else { break };
        if let Some(word) = line.strip_prefix("event: ") {
            word.clone_into(&mut kind);
        }
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let unknown = |error: serde_json::Error| {
            Failure::running(format!("{} tells what this version does not understand: {error}", client.place))
        };
        if kind == "lost" {
            let Lost { lost, server_restarted } = serde_json::from_str(data).map_err(unknown)?;
            let why = if server_restarted { "the server has restarted" } else { "this reader was too slow" };
            terminal::print_error(&format!("{lost} events or more are missing: {why}\n"));
            continue;
        }
        let event: Event = serde_json::from_str(data).map_err(unknown)?;
        *seen = Some(event.id);
        show(&event, json)?;
    }
    Ok(())
}

fn show(event: &Event, json: bool) -> Outcome {
    if json {
        let line = serde_json::to_string(event).map_err(|error| Failure::running(error.to_string()))?;
        let mut out = std::io::stdout().lock();
        return terminal::written(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
    terminal::print(&describe(event))
}

fn describe(event: &Event) -> String {
    let Event { at_ms, news, .. } = event;
    // A line break in an error's text goes on below.
    let text = news.told().replace('\n', "\n    ");
    let mut line = format!("{}  {:<21} {text}", terminal::utc(at_ms / 1000), news.kind);
    if let Some(owner) = &news.owner {
        line += &format!(", by {owner}");
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::News;

    #[test]
    fn a_line_each() {
        let mut news = News::new(EventKind::TargetFlip, "tcp 192.0.2.1:80 is down, was up: refused");
        news.names = vec!["a.test.".to_owned(), "b.test.".to_owned()];
        news.names_in_all = Some(7);
        let event = Event { id: 1, at_ms: 1_700_000_000_123, news };
        let want = "2023-11-14 22:13:20Z  target-flip           tcp 192.0.2.1:80 is down, was up: refused (a.test., b.test. and 5 more)\n";
        assert_eq!(describe(&event), want);
    }
}
