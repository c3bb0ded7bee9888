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
use crate::admin::View;
use crate::model::insight::{HealthRow, NameRow, NamesPage, NamesQuery, PageStart, RrsetRow};
use crate::model::name::Name;
use crate::model::report::ZoneReport;

/// Names that are looked at for a page of those that contain something.
const LOOKED_AT: usize = 50_000;

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
    /// `both` for what is configured beside what is answered.
    #[serde(default)]
    view: String,
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
    let view = if wanted.view == "both" { View::Configured } else { View::Served };
    let asked =
        NamesQuery { zone: apex.clone(), search: search.clone(), from, limit: ROWS, looked_at: LOOKED_AT };
    let (report, page) = ui.ask(move |control| of_zone(&**control, &asked)).await?;
    let Some(report) = report else {
        return Err(Trouble::new(StatusCode::NOT_FOUND, format!("{apex} is not a zone of this server")));
    };
    let zone = report.zone.clone();
    let here = parts::query(&[
        ("zone", &zone),
        ("q", &search),
        ("view", &wanted.view),
        ("after", wanted.after.as_deref().unwrap_or_default()),
        ("before", wanted.before.as_deref().unwrap_or_default()),
    ]);
    let body = html! {
        p.crumbs { a href="/ui/zones" { "Zones" } " / " span.mono { (shown(&zone)) } }
        h1.mono { (shown(&zone)) }
        (facts(&report))
        (parts::filter("/ui/zone", "Filter names", &search, &view_choice(&zone, view)))
        (parts::live(&format!("/ui/zone?{here}"), &html! {
            @match &page {
                None => (nothing("This zone is not served, so it has no names.")),
                Some(page) => {
                    @if !page.names.is_empty() { (name_table(&page.names, view)) }
                    @else if page.is_cut { (nothing(&format!("None of these {} matches.", plural(page.looked_at as u64, "name")))) }
                    @else { (nothing("No name matches.")) }
                    (names_pager(&[("zone", &zone), ("q", &search), ("view", &wanted.view)], wanted.after.is_some() || wanted.before.is_some(), page))
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

/// Whether what is configured is shown as well.
fn view_choice(zone: &str, view: View) -> Markup {
    html! {
        input type="hidden" name="zone" value=(zone);
        label.hidden for="view" { "View" }
        select #view name="view" {
            option value="" { "What is answered" }
            option value="both" selected[view == View::Configured] { "Configured beside answered" }
        }
    }
}

/// A page begins behind a name or ends in front of one, wherever that is in the zone: nobody has counted up to it.
fn names_pager(here: &[(&str, &str)], is_within: bool, page: &NamesPage) -> Markup {
    let link = |more: &[(&str, &str)]| format!("/ui/zone?{}", query(&[here, more].concat()));
    let shown_now = page.names.len() as u64;
    html! {
        nav.pager aria-label="Pages of this list" {
            span.muted {
                (plural(shown_now, "name")) " of " (number(page.of))
                @if page.is_cut { ": " (number(page.looked_at as u64)) " looked at" }
            }
            @if is_within { a.button.small href=(link(&[])) rel="first" { "First" } }
            @if let Some(previous) = &page.previous { a.button.small href=(link(&[("before", previous)])) rel="prev" { "Previous" } }
            @if let Some(next) = &page.next { a.button.small href=(link(&[("after", next)])) rel="next" { @if page.is_cut { "Search on" } @else { "Next" } } }
        }
    }
}

/// Names with what is served for them, and with what is configured if the view is that.
pub(super) fn name_table(names: &[NameRow], view: View) -> Markup {
    let is_both = view == View::Configured;
    html! {
        table.list.names {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Health" }
                @if is_both { th scope="col" { "Configured" } th scope="col" { "Answered" } } @else { th scope="col" { "Records" } }
                th scope="col" { "Source" }
            } }
            tbody { @for row in names { tr {
                th scope="row" { (name_link(&row.name)) }
                td data-label="Health" { (health(row.health)) }
                @if is_both {
                    td data-label="Configured" { (records(&row.configured, Some("not answered"))) }
                    td data-label="Answered" { (records(&row.rrsets, Some("not configured"))) }
                } @else {
                    td data-label="Records" { (records(&row.rrsets, None)) }
                }
                td data-label="Source" {
                    @if row.from.is_empty() { span.muted { "zone file" } }
                    @for from in &row.from { div { (from) } }
                }
            } } }
        }
    }
}

/// RRsets with their TTL; `alone` is said of records that the other view has not.
fn records(rrsets: &[RrsetRow], alone: Option<&str>) -> Markup {
    html! {
        @if rrsets.is_empty() { span.muted { "none" } }
        ul.records { @for rrset in rrsets {
            li {
                span.type { (rrset.rtype) } span.ttl title="time to live" { (parts::duration(rrset.ttl.into())) }
                span.data {
                    @for record in &rrset.data {
                        @match alone.filter(|_| !record.is_both) {
                            Some(alone) => span.alone { (record.text) " " span.tag { (alone) } },
                            None => span { (record.text) },
                        }
                    }
                    @if rrset.count > rrset.data.len() { span.muted { "and " (rrset.count - rrset.data.len()) " more" } }
                }
            }
        } }
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
