//! What needs somebody's attention, and the server in a few figures.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{
    self, Tone, ask, duration, nothing, now_s, number, plural, query, shown, source_state, state, verdict,
    when, zone_state,
};
use super::session::Note;
use super::targets::{self, Row, brake_note};
use super::{Here, Page, events};
use crate::admin::{ExportError, export};
use crate::model::clock::utc;
use crate::model::discovery_report::SourceReport;
use crate::model::event::Event;
use crate::model::report::{Status, TargetReport, ZoneReport, ZoneState};
use crate::model::target::Verdict;

/// Lines of a kind that the page shows; the page of the kind has all.
const SHOWN: usize = 8;
/// Signatures that end sooner than this were not renewed in time, in seconds: the default is to renew a week and more before.
const EXPIRY_SOON: u64 = 3 * 86_400;

struct Seen {
    status: Status,
    zones: Vec<ZoneReport>,
    down: Vec<Row>,
    sources: Vec<SourceReport>,
    /// Latest first.
    events: Vec<Arc<Event>>,
}

/// `GET /ui`.
pub(super) async fn page(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Page {
    let seen = ui
        .ask(|control| {
            let failing = |target: &TargetReport| target.verdict == Verdict::Down || target.braked;
            let mut down: Vec<TargetReport> = control.targets().into_iter().filter(failing).collect();
            down.sort_by_key(|target| std::cmp::Reverse(target.changed_at));
            down.truncate(SHOWN);
            Seen {
                status: control.status(),
                zones: control.zones(),
                down: targets::rows(&**control, down),
                sources: control.sources(),
                events: control.events().last(SHOWN).into_iter().rev().collect(),
            }
        })
        .await?;
    let body = html! {
        h1 { "Overview" }
        (parts::live("/ui", &html! {
            @if seen.status.brake { (brake_note(&visitor)) }
            (tiles(&seen))
            (attention(&seen))
            section.card {
                h2 { "Latest events" }
                @if seen.events.is_empty() { (nothing("Nothing has happened since the start.")) }
                @else { (events::table(&seen.events)) p { a href="/ui/events" { "All events" } } }
            }
            (server(&seen.status, &visitor))
        }))
    };
    Ok(layout::page(Section::Overview, "Overview", &visitor, &body))
}

fn tiles(seen: &Seen) -> Markup {
    let (status, counts) = (&seen.status, seen.status.targets);
    let sources_bad = seen.sources.iter().filter(|source| !is_quiet(source)).count();
    let names: u64 = seen.zones.iter().map(|zone| zone.names).sum();
    html! {
        div.tiles {
            (tile("/ui/zones", "Zones", &number(status.zones), &html! {
                @if status.broken_zones > 0 { (state(Tone::Bad, &format!("{} broken", status.broken_zones))) }
                @else if status.zones > 0 { (state(Tone::Good, "all served")) }
                span.muted { (plural(names, "name")) }
            }))
            (tile("/ui/targets", "Targets", &number(counts.up + counts.down + counts.unknown), &html! {
                span.split {
                    (state(Tone::Good, &format!("{} up", number(counts.up))))
                    @if counts.down > 0 { (state(Tone::Bad, &format!("{} down", number(counts.down)))) }
                    @if counts.unknown > 0 { (state(Tone::Quiet, &format!("{} unknown", number(counts.unknown)))) }
                }
            }))
            (tile("/ui/sources", "Sources", &seen.sources.len().to_string(), &html! {
                @if seen.sources.is_empty() { span.muted { "none configured" } }
                @else if sources_bad == 0 { (state(Tone::Good, "all well")) }
                @else { (state(Tone::Bad, &format!("{sources_bad} to look at"))) }
            }))
            (tile("/ui/overrides", "Overrides", &number(status.overrides), &html! {
                @if status.overrides == 0 { span.muted { "none in force" } } @else { (state(Tone::Warn, "in force")) }
            }))
        }
    }
}

fn tile(link: &str, label: &str, figure: &str, more: &Markup) -> Markup {
    html! {
        a.tile href=(link) { span.label { (label) } span.figure { (figure) } span.more { (more) } }
    }
}

fn is_quiet(source: &SourceReport) -> bool {
    matches!(source.state.as_str(), "ok" | "waiting" | "paused") && source.problems == 0
}

fn attention(seen: &Seen) -> Markup {
    let now_s = now_s();
    let zones: Vec<&ZoneReport> = seen.zones.iter().filter(|zone| zone.state != ZoneState::Serving).collect();
    let expiring: Vec<(&ZoneReport, u64)> = seen
        .zones
        .iter()
        .filter_map(|zone| Some((zone, zone.signatures_expire_at?)))
        .filter(|&(_, at)| at < now_s + EXPIRY_SOON)
        .collect();
    let sources: Vec<&SourceReport> = seen.sources.iter().filter(|source| !is_quiet(source)).collect();
    let is_calm = zones.is_empty() && expiring.is_empty() && sources.is_empty() && seen.down.is_empty();
    html! {
        section.card {
            h2 { "Needs attention" }
            @if is_calm { p.calm { (state(Tone::Good, "Nothing.")) " Every zone is served, and every target with a verdict is up." } }
            ul.attention {
                @for zone in zones.iter().take(SHOWN) { li {
                    (zone_state(zone.state))
                    a.mono href={ "/ui/zone?" (query(&[("zone", &zone.zone)])) } { (shown(&zone.zone)) }
                    span.problem { (zone.problem.as_deref().unwrap_or_default()) }
                } }
                @for (zone, at) in expiring.iter().take(SHOWN) { li {
                    (state(Tone::Warn, "signatures"))
                    a.mono href="/ui/dnssec" { (shown(&zone.zone)) }
                    span { "the first expires " (when(*at, now_s)) }
                } }
                @for source in sources.iter().take(SHOWN) { li {
                    (source_state(&source.state))
                    a href="/ui/sources" { (source.name) }
                    span.problem { @if let Some(failure) = &source.failure { (failure.text) } @else if let Some(brake) = &source.brake { (brake.why) } @else { (plural(source.problems, "object")) " with problems" } }
                } }
                @for Row { report, .. } in &seen.down { li {
                    (verdict(report.verdict))
                    (targets::link(report))
                    span.problem { (report.problem.as_deref().unwrap_or_default()) }
                    @if let Some(at) = report.changed_at { span.muted { (when(at, now_s)) } }
                } }
            }
            @if seen.down.len() == SHOWN { p { a href="/ui/targets?verdict=down" { "All targets that are down" } } }
        }
    }
}

/// `POST /ui/backup`: no link, since what is sent holds private keys.
pub(super) async fn backup(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Page {
    let control = ui.control.clone();
    let body = match export::written(move |out| control.backup(out)).await {
        Ok(body) => body,
        Err(error) => {
            let why = match error {
                ExportError::Broken(why) => why,
                ExportError::UnknownZone => "there is nothing to back up".to_owned(),
                ExportError::Write(error) => error.to_string(),
            };
            return Ok(ui.back(&visitor, "/ui", Note { good: false, text: format!("No backup: {why}.") }));
        }
    };
    tracing::info!(by = visitor.owner, "backup downloaded");
    let name = format!("attachment; filename=\"hale-{}.tar\"", utc(now_s()).replace([':', '-'], ""));
    let headers =
        [(header::CONTENT_TYPE, "application/x-tar".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, body).into_response())
}

fn server(status: &Status, visitor: &Visitor) -> Markup {
    let now_s = now_s();
    html! {
        section.card {
            div.head {
                h2 { "Server" }
                @if status.state.is_some() {
                    (ask(visitor, "/ui/backup", &[], "Download a backup", "Download the state directory? The file holds the private keys of signed zones: keep it as you keep those."))
                }
            }
            dl.facts {
                div { dt { "Version" } dd { (status.version) } }
                div { dt { "Running for" } dd { (duration(now_s.saturating_sub(status.started_at))) } }
                div { dt { "Queries" } dd.num { (number(status.queries)) } }
                div { dt { "Changes of verdicts" } dd.num { (number(status.flips)) } }
                div { dt { "Snapshot" } dd.num { (number(status.generation)) } }
                div { dt { "Zones read" } dd { (parts::when_or(status.reloaded_at, now_s, "at the start")) } }
                div { dt { "Listening" } dd.path { @for listener in &status.listeners { div { (listener.transport) " " (listener.address) } } } }
                @if let Some(path) = &status.state { div { dt { "State" } dd.path { (path.display()) } } }
            }
            @if !status.ready { p.note.warn { "Not answering yet: the first round of probes is under way." } }
        }
    }
}
