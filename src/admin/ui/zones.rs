//! Zones, and the names of one.

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{
    self, ROWS, Tone, ask, name_link, nothing, now_s, number, page_of, pager, plural, query, shown, state,
    when_or,
};
use super::session::Note;
use super::trouble::Trouble;
use super::{Here, Page};
use crate::model::insight::{HealthRow, NameRow, NamesPage, NamesQuery, PageStart};
use crate::model::name::Name;
use crate::model::report::ZoneReport;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    page: Option<usize>,
}

/// `GET /ui/zones`.
pub(super) async fn list(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<ListQuery>,
) -> Page {
    let zones = ui.ask(|control| control.zones()).await?;
    let search = wanted.q.trim().to_ascii_lowercase();
    let found: Vec<&ZoneReport> =
        zones.iter().filter(|zone| zone.zone.to_ascii_lowercase().contains(&search)).collect();
    let page = page_of(wanted.page, found.len());
    let address =
        |page: usize| format!("/ui/zones?{}", query(&[("q", &search), ("page", &page.to_string())]));
    let body = html! {
        div.head {
            h1 { "Zones" }
            (ask(&visitor, "/ui/reload", &[], "Reload", "Read every zone file again? A broken file keeps its zone as it is."))
        }
        (parts::filter("/ui/zones", "Filter zones", &search, &html! {}))
        (parts::live(&address(page), &html! {
            @if zones.is_empty() { (nothing("No zones are configured.")) }
            @else if found.is_empty() { (nothing("No zone matches.")) }
            @else {
                (zone_table(&found[(page - 1) * ROWS..(page * ROWS).min(found.len())]))
                (pager(page, found.len(), address))
            }
        }))
    };
    Ok(layout::page(Section::Zones, "Zones", &visitor, &body))
}

fn zone_table(zones: &[&ZoneReport]) -> Markup {
    let now_s = now_s();
    html! {
        table.list {
            thead { tr {
                th scope="col" { "Zone" } th scope="col" { "State" } th.num scope="col" { "Names" } th.num scope="col" { "Checked" }
                th.num scope="col" { "Serial" } th scope="col" { "Changed" } th scope="col" { "Signed" } th scope="col" { "File" }
            } }
            tbody { @for zone in zones { tr {
                th scope="row" {
                    a.mono href={ "/ui/zone?" (query(&[("zone", &zone.zone)])) } { (shown(&zone.zone)) }
                    @if let Some(of) = &zone.alias_of { div.muted { "alias of " (shown(of)) } }
                }
                td data-label="State" {
                    (parts::zone_state(zone.state))
                    @if let Some(problem) = &zone.problem { div.problem { (problem) } }
                    @if !zone.overridden.is_empty() { div.muted { (plural(zone.overridden.len() as u64, "overridden endpoint")) } }
                }
                td.num data-label="Names" { (number(zone.names)) }
                td.num data-label="Checked" { (number(zone.checked_names)) }
                td.num data-label="Serial" { @if let Some(serial) = zone.serial { (serial) } @else { "–" } }
                td data-label="Changed" { (when_or(zone.changed_at, now_s, "–")) }
                td data-label="Signed" { @if zone.signed { a href="/ui/dnssec" { "yes" } } @else { span.muted { "no" } } }
                td.path data-label="File" { (zone.file.display()) }
            } } }
        }
    }
}

/// `POST /ui/reload`.
pub(super) async fn reload(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Page {
    let report = ui.ask(|control| control.reload(false)).await?;
    let note = match report {
        Err(why) => Note { good: false, text: format!("Not reloaded: {why}.") },
        Ok(report) => {
            let changed = plural(report.zones.len() as u64, "zone");
            let findings = report.findings.first().map(|first| format!(" {first}")).unwrap_or_default();
            let more = match report.findings.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more: see the log)", n - 1),
            };
            let text =
                format!("Read again: {changed} changed, {} as before.{findings}{more}", report.unchanged);
            Note { good: report.ok, text }
        }
    };
    Ok(ui.back(&visitor, "/ui/zones", note))
}

#[derive(Deserialize)]
pub(super) struct ZoneQuery {
    zone: String,
    #[serde(default)]
    q: String,
    after: Option<String>,
    before: Option<String>,
}

/// `GET /ui/zone`.
pub(super) async fn zone(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<ZoneQuery>,
) -> Page {
    let apex = parts::read_name(&wanted.zone)?;
    let search = wanted.q.trim().to_ascii_lowercase();
    let from = match (&wanted.after, &wanted.before) {
        (Some(after), _) => PageStart::After(parts::read_name(after)?),
        (None, Some(before)) => PageStart::Before(parts::read_name(before)?),
        (None, None) => PageStart::Top,
    };
    let asked = NamesQuery { zone: apex.clone(), search: search.clone(), from, limit: ROWS };
    let (report, page) = ui.ask(move |control| of_zone(&**control, &asked)).await?;
    let Some(report) = report else {
        return Err(Trouble::new(StatusCode::NOT_FOUND, format!("{apex} is not a zone of this server")));
    };
    let zone = report.zone.clone();
    let here = parts::query(&[
        ("zone", &zone),
        ("q", &search),
        ("after", wanted.after.as_deref().unwrap_or_default()),
        ("before", wanted.before.as_deref().unwrap_or_default()),
    ]);
    let body = html! {
        p.crumbs { a href="/ui/zones" { "Zones" } " / " span.mono { (shown(&zone)) } }
        h1.mono { (shown(&zone)) }
        (facts(&report))
        (parts::filter("/ui/zone", "Filter names", &search, &html! { input type="hidden" name="zone" value=(zone); }))
        (parts::live(&format!("/ui/zone?{here}"), &html! {
            @match &page {
                None => (nothing("This zone is not served, so it has no names.")),
                Some(page) if page.names.is_empty() => (nothing("No name matches.")),
                Some(page) => {
                    (name_table(&page.names))
                    (names_pager(&zone, &search, page))
                },
            }
        }))
    };
    Ok(layout::page(Section::Zones, shown(&zone), &visitor, &body))
}

fn of_zone(
    control: &dyn crate::admin::Control,
    asked: &NamesQuery,
) -> (Option<ZoneReport>, Option<NamesPage>) {
    let is_it = |zone: &ZoneReport| Name::parse_absolute(&zone.zone).is_ok_and(|apex| apex == asked.zone);
    let report = control.zones().into_iter().find(is_it);
    let page = report.as_ref().and_then(|_| control.names(asked));
    (report, page)
}

fn facts(zone: &ZoneReport) -> Markup {
    let now_s = now_s();
    html! {
        dl.facts {
            div { dt { "State" } dd { (parts::zone_state(zone.state)) } }
            div { dt { "Serial" } dd.num { @if let Some(serial) = zone.serial { (serial) } @else { "–" } } }
            div { dt { "Names" } dd.num { (number(zone.names)) " · " (number(zone.checked_names)) " checked" } }
            div { dt { "Changed" } dd { (when_or(zone.changed_at, now_s, "–")) } }
            div { dt { "Signed" } dd { @if zone.signed { a href="/ui/dnssec" { "yes" } } @else { "no" } } }
            @if let Some(of) = &zone.alias_of { div { dt { "Alias of" } dd { (shown(of)) } } }
            div { dt { "File" } dd.path { (zone.file.display()) } }
        }
        @if let Some(problem) = &zone.problem { p.note.bad { (problem) } }
    }
}

fn names_pager(zone: &str, search: &str, page: &NamesPage) -> Markup {
    let (first, last) = (page.names.first(), page.names.last());
    let shown_now = page.names.len() as u64;
    let link = |key: &str, row: &NameRow| {
        format!("/ui/zone?{}", query(&[("zone", zone), ("q", search), (key, &row.name)]))
    };
    html! {
        nav.pager aria-label="Pages of this list" {
            span.muted { (number(page.before + 1)) "–" (number(page.before + shown_now)) " of " (number(page.matching)) }
            @if let Some(first) = first.filter(|_| page.before > 0) { a.button.small href=(link("before", first)) rel="prev" { "Previous" } }
            @if let Some(last) = last.filter(|_| page.before + shown_now < page.matching) { a.button.small href=(link("after", last)) rel="next" { "Next" } }
        }
    }
}

/// Names with what is served for them.
pub(super) fn name_table(names: &[NameRow]) -> Markup {
    html! {
        table.list {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Health" } th scope="col" { "Records" } th scope="col" { "Source" }
            } }
            tbody { @for row in names { tr {
                th scope="row" { (name_link(&row.name)) }
                td data-label="Health" { (health(row.health)) }
                td data-label="Records" {
                    @if row.rrsets.is_empty() { span.muted { "none served" } }
                    ul.records { @for rrset in &row.rrsets {
                        li {
                            span.type { (rrset.rtype) } span.ttl title="time to live" { (parts::duration(rrset.ttl.into())) }
                            span.data {
                                @for data in &rrset.data { span { (data) } }
                                @if rrset.count > rrset.data.len() { span.muted { "and " (rrset.count - rrset.data.len()) " more" } }
                            }
                        }
                    } }
                }
                td data-label="Source" {
                    @if row.from.is_empty() { span.muted { "zone file" } }
                    @for from in &row.from { div { (from) } }
                }
            } } }
        }
    }
}

/// `3 of 4 up`, and what else there is to say.
fn health(of: Option<HealthRow>) -> Markup {
    let Some(of) = of else { return html! { span.muted { "not checked" } } };
    let all = of.up + of.down + of.unknown;
    let tone = match of {
        _ if of.up == all => Tone::Good,
        HealthRow { unknown, .. } if unknown == all => Tone::Quiet,
        HealthRow { up: 0, .. } => Tone::Bad,
        _ => Tone::Warn,
    };
    html! {
        (state(tone, &format!("{} of {all} up", of.up)))
        @if of.unknown > 0 { div.muted { (of.unknown) " awaited" } }
        @if of.overridden > 0 { div.muted { (of.overridden) " overridden" } }
    }
}
