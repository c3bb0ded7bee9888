//! Keys, DS records for the parents, and when signatures are made and end.

use axum::extract::{Extension, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{self, ROWS, Tone, nothing, now_s, page_of, pager, query, shown, state, when_or};
use super::{Here, Page};
use crate::model::insight::{KeyRow, SigningReport};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    page: Option<usize>,
}

/// `GET /ui/dnssec`.
pub(super) async fn page(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<ListQuery>,
) -> Page {
    let zones = ui.ask(|control| control.signing()).await?;
    let search = wanted.q.trim().to_ascii_lowercase();
    let mut found: Vec<&SigningReport> =
        zones.iter().filter(|zone| zone.zone.to_ascii_lowercase().contains(&search)).collect();
    found.sort_by_key(|zone| zone.keys.is_empty());
    let page = page_of(wanted.page, found.len());
    let address =
        |page: usize| format!("/ui/dnssec?{}", query(&[("q", &search), ("page", &page.to_string())]));
    let now_s = now_s();
    let body = html! {
        h1 { "DNSSEC" }
        (parts::filter("/ui/dnssec", "Filter zones", &search, &html! {}))
        div #live {
            @if zones.is_empty() { (nothing("No zones are configured.")) }
            @else if found.is_empty() { (nothing("No zone matches.")) }
            @else {
                @for zone in found.iter().skip((page - 1) * ROWS).take(ROWS) { (card(zone, now_s)) }
                (pager(page, found.len(), address))
            }
        }
    };
    Ok(layout::page(Section::Dnssec, "DNSSEC", &visitor, &body))
}

fn card(zone: &SigningReport, now_s: u64) -> Markup {
    let is_signed = !zone.keys.is_empty();
    html! {
        section.card {
            div.head {
                h2 {
                    a.mono href={ "/ui/zone?" (query(&[("zone", &zone.zone)])) } { (shown(&zone.zone)) } " "
                    @if is_signed { (state(Tone::Good, "signed")) }
                    @else if zone.problem.is_some() { (state(Tone::Bad, "not served")) }
                    @else { (state(Tone::Quiet, "not signed")) }
                }
            }
            @if let Some(problem) = &zone.problem { p.note.bad { (problem) } }
            @if is_signed {
                dl.facts {
                    div { dt { "Next signed again" } dd { (when_or(zone.next_signing_at, now_s, "nothing due")) } }
                    div { dt { "First signature expires" } dd { (when_or(zone.earliest_expiry_at, now_s, "–")) } }
                }
                @for key in &zone.keys { (key_card(key)) }
            }
        }
    }
}

fn key_card(key: &KeyRow) -> Markup {
    let signs = match (key.signs_keys, key.signs_zone) {
        (true, true) => "keys and zone (CSK)",
        (true, false) => "keys (KSK)",
        (false, true) => "the zone (ZSK)",
        (false, false) => "nothing now",
    };
    html! {
        div.key {
            h3 { "Key " span.num { (key.tag) } }
            dl.facts {
                div { dt { "Algorithm" } dd { (key.algorithm) } }
                div { dt { "Signs" } dd { (signs) } }
                div { dt { "Flags" } dd.num { (key.flags) } }
            }
            @if let Some(ds) = &key.ds { (copied("DS record for the parent zone", ds)) }
            (copied("DNSKEY record data", &key.dnskey))
        }
    }
}

/// Text with a button that copies it.
fn copied(label: &str, text: &str) -> Markup {
    html! {
        div.copy x-data="copier" {
            div.head { span.label { (label) } button.small type="button" x-on:click="copy" x-text="word" aria-label={ "Copy: " (label) } { "Copy" } }
            pre x-ref="text" tabindex="0" { (text) }
        }
    }
}
