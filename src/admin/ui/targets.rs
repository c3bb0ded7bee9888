//! What is probed, and what came of it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{
    self, ROWS, ask, duration, nothing, now_s, page_of, pager, plural, query, sparkline, took, verdict,
    when_or,
};
use super::session::Note;
use super::trouble::Trouble;
use super::{Here, Page};
use crate::model::insight::Attempt;
use crate::model::report::{HistoryReport, TargetReport};
use crate::model::target::Verdict;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    verdict: String,
    page: Option<usize>,
}

/// A row of the list.
pub(super) struct Row {
    pub(super) report: TargetReport,
    pub(super) attempts: Vec<Attempt>,
}

/// `GET /ui/targets`.
pub(super) async fn list(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<ListQuery>,
) -> Page {
    let search = wanted.q.trim().to_ascii_lowercase();
    let only = wanted.verdict.clone();
    let asked = search.clone();
    let (rows, found, all, page, brake) = ui
        .ask(move |control| {
            let targets = control.targets();
            let all = targets.len();
            let found = matching(targets, &asked, &only);
            let page = page_of(wanted.page, found.len());
            let count = found.len();
            let shown = found.into_iter().skip((page - 1) * ROWS).take(ROWS).collect();
            (rows(&**control, shown), count, all, page, control.status().brake)
        })
        .await?;
    let address = |page: usize| {
        let pairs = [("q", search.as_str()), ("verdict", &wanted.verdict), ("page", &page.to_string())];
        format!("/ui/targets?{}", query(&pairs))
    };
    let body = html! {
        h1 { "Targets" }
        (parts::filter("/ui/targets", "Filter targets", &search, &verdict_choice(&wanted.verdict)))
        (parts::live(&address(page), &html! {
            @if brake { (brake_note(&visitor)) }
            @if all == 0 { (nothing("Nothing is probed: no zone has a check.")) }
            @else if rows.is_empty() { (nothing("No target matches.")) }
            @else { (table(&rows)) (pager(page, found, address)) }
        }))
    };
    Ok(layout::page(Section::Targets, "Targets", &visitor, &body))
}

/// Targets with this in their text and this verdict; those that need somebody first.
pub(super) fn matching(targets: Vec<TargetReport>, search: &str, only: &str) -> Vec<TargetReport> {
    let rank = |target: &TargetReport| match target.verdict {
        Verdict::Down => 0,
        _ if target.braked => 1,
        Verdict::Unknown => 2,
        Verdict::Up => 3,
    };
    let mut found: Vec<TargetReport> = targets
        .into_iter()
        .filter(|target| only.is_empty() || word(target.verdict) == only)
        .filter(|target| target.target.to_ascii_lowercase().contains(search))
        .collect();
    found.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.target.cmp(&b.target)));
    found
}

/// Adds the last probes of each.
pub(super) fn rows(control: &dyn crate::admin::Control, reports: Vec<TargetReport>) -> Vec<Row> {
    let ids: Vec<u32> = reports.iter().map(|target| target.id).collect();
    let attempts = control.attempts(&ids);
    reports.into_iter().zip(attempts).map(|(report, attempts)| Row { report, attempts }).collect()
}

fn word(of: Verdict) -> &'static str {
    match of {
        Verdict::Up => "up",
        Verdict::Down => "down",
        Verdict::Unknown => "unknown",
    }
}

fn verdict_choice(chosen: &str) -> Markup {
    html! {
        label.hidden for="verdict" { "Verdict" }
        select #verdict name="verdict" {
            @for (value, label) in [("", "Any verdict"), ("down", "Down"), ("unknown", "Unknown"), ("up", "Up")] {
                option value=(value) selected[value == chosen] { (label) }
            }
        }
    }
}

/// Targets with their last probes.
pub(super) fn table(rows: &[Row]) -> Markup {
    let now_s = now_s();
    html! {
        table.list {
            thead { tr {
                th scope="col" { "Target" } th scope="col" { "Verdict" } th scope="col" { "Last probes" }
                th.num scope="col" { "Took" } th scope="col" { "Changed" } th.num scope="col" { "Flips, 1 h" }
            } }
            tbody { @for Row { report, attempts } in rows { tr {
                th scope="row" { (link(report)) }
                td data-label="Verdict" { (verdict(report.verdict)) (remarks(report)) }
                td data-label="Last probes" {
                    @if report.interval_ms.is_some() { (sparkline(attempts)) } @else { span.muted { "follows its name" } }
                }
                td.num data-label="Took" { @if let Some(us) = report.took_us { (took(us)) } @else { "–" } }
                td data-label="Changed" { (when_or(report.changed_at, now_s, "never")) }
                td.num data-label="Flips, 1 h" { (report.flips) }
            } } }
        }
    }
}

/// Where a target is explained.
pub(super) fn link(report: &TargetReport) -> Markup {
    html! { a.mono href={ "/ui/target?" (query(&[("id", &report.id.to_string())])) } { (report.target) } }
}

/// What there is to say beside a verdict.
pub(super) fn remarks(report: &TargetReport) -> Markup {
    let now_s = now_s();
    html! {
        @if report.braked { div.muted { "kept up by the brake" } }
        @if let Some(until) = report.held_until { div.muted { "flips too often: held down, ends " (parts::when(until, now_s)) } }
        @if report.share < 100 { div.muted { "starts slowly, at " (report.share) " %" } }
        @if !report.overrides.is_empty() { div { a.tag href="/ui/overrides" { "overridden" } } }
        @if let Some(problem) = &report.problem { div.problem { (problem) } }
    }
}

/// Says that the brake of health checks holds, and offers to release it.
pub(super) fn brake_note(visitor: &Visitor) -> Markup {
    html! {
        div.note.bad role="alert" {
            p { strong { "The brake holds verdicts." } " So many targets failed at once that this host is more likely cut off than they are down." }
            (ask(visitor, "/ui/brake", &[], "Release the brake", "Publish the held verdicts now? Targets that look down leave the answers at once."))
        }
    }
}

/// `POST /ui/brake`.
pub(super) async fn release_brake(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Page {
    let owner = visitor.owner.clone();
    let held = ui.ask(move |control| control.release_health_brake(&owner)).await?;
    let text = if held { "The brake is released." } else { "The brake held nothing." };
    Ok(ui.back(&visitor, "/ui/targets", Note { good: true, text: text.to_owned() }))
}

#[derive(Deserialize)]
pub(super) struct TargetQuery {
    id: u32,
}

/// `GET /ui/target`.
pub(super) async fn target(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(TargetQuery { id }): Query<TargetQuery>,
) -> Page {
    let found = ui
        .ask(move |control| {
            let report = control.targets().into_iter().find(|target| target.id == id)?;
            let attempts = control.attempts(&[id]).pop().unwrap_or_default();
            Some((report, attempts, control.history(id)))
        })
        .await?;
    let Some((report, attempts, history)) = found else {
        return Err(Trouble::new(StatusCode::NOT_FOUND, "there is no such target any more")
            .hint("targets come and go with the records that need them"));
    };
    let here = format!("/ui/target?id={id}");
    let body = html! {
        p.crumbs { a href="/ui/targets" { "Targets" } " / " span.mono { (report.target) } }
        div.head { h1.mono { (report.target) } (override_link(&visitor, &report, &here)) }
        (parts::live(&here, &html! {
            (facts(&report))
            section.card {
                h2 { "Last probes" }
                @if attempts.is_empty() { (nothing("Not probed yet.")) } @else { div.wide { (sparkline(&attempts)) } (legend()) }
            }
            (changes(history.as_ref()))
        }))
    };
    Ok(layout::page(Section::Targets, &report.target, &visitor, &body))
}

/// The address that is probed stands in what is said of the target.
fn address_of(target: &str) -> Option<IpAddr> {
    target.split(' ').find_map(|word| word.parse::<SocketAddr>().ok()).map(|address| address.ip())
}

fn override_link(visitor: &Visitor, report: &TargetReport, here: &str) -> Markup {
    let Some(address) = address_of(&report.target).filter(|_| visitor.may_change()) else { return html! {} };
    let pairs = [("subject", format!("address:{address}")), ("back", here.to_owned())];
    html! {
        a.button href={ "/ui/overrides?" (query(&pairs.each_ref().map(|(key, value)| (*key, value.as_str())))) "#new" } { "Override…" }
    }
}

fn facts(report: &TargetReport) -> Markup {
    let now_s = now_s();
    html! {
        dl.facts {
            div { dt { "Verdict" } dd { (verdict(report.verdict)) (remarks(report)) } }
            div { dt { "Last probe" } dd {
                (when_or(report.probed_at, now_s, "not yet"))
                @if let Some(us) = report.took_us { " · " (took(us)) }
            } }
            @if let Some(ms) = report.interval_ms { div { dt { "Every" } dd.num { (took(u64::from(ms) * 1000)) } } }
            div { dt { "Changed" } dd { (when_or(report.changed_at, now_s, "never")) } }
            div { dt { "Flips within the hour" } dd.num { (report.flips) } }
            @if let Some(at) = report.certificate_expires_at { div { dt { "Certificate ends" } dd { (parts::when(at.max(0) as u64, now_s)) } } }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.muted { "Each bar is a probe, the newest on the right. Short bars answered, the higher the longer it took; bars of full height failed; dots say nothing of the target, since this host could not probe." }
    }
}

/// The changes of a target's verdict, latest first.
fn changes(history: Option<&HistoryReport>) -> Markup {
    let now_s = now_s();
    let all = history.map(|history| &history.history[..]).unwrap_or_default();
    html! {
        section.card {
            h2 { "Changes of its verdict" }
            @if all.is_empty() { (nothing("None, as far back as is known.")) }
            @else {
                table.list {
                    thead { tr { th scope="col" { "When" } th scope="col" { "To" } th scope="col" { "After" } th scope="col" { "Why" } } }
                    tbody { @for (i, change) in all.iter().enumerate().rev() { tr {
                        td data-label="When" { (parts::when(change.at_ms / 1000, now_s)) }
                        td data-label="To" { (verdict(change.to)) }
                        td data-label="After" {
                            @if let Some(before) = i.checked_sub(1).and_then(|i| all.get(i)) {
                                (duration(change.at_ms.saturating_sub(before.at_ms) / 1000))
                            } @else { "–" }
                        }
                        td data-label="Why" { (change.reason) }
                    } } }
                }
                p.muted { (plural(all.len() as u64, "change")) " kept." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address_of("tcp 192.0.2.1:80"), Some([192, 0, 2, 1].into()));
        assert_eq!(address_of("https [2001:db8::1]:443 /x host a"), "2001:db8::1".parse().ok());
        assert_eq!(address_of("name db.example.test."), None);
    }
}
