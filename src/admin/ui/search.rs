//! Names and targets by what they contain.

use axum::extract::{Extension, Query, State};
use maud::html;
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{nothing, number, plural, query};
use super::targets::{self, matching};
use super::zones::name_table;
use super::{Here, Page};
use crate::model::insight::{NameRow, NamesQuery, PageStart};
use crate::model::name::Name;
use crate::model::report::ZoneState;

/// How many of each are shown.
const SHOWN: usize = 25;

#[derive(Deserialize)]
pub(super) struct SearchQuery {
    #[serde(default)]
    q: String,
}

/// `GET /ui/search`.
pub(super) async fn page(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<SearchQuery>,
) -> Page {
    let search = wanted.q.trim().trim_end_matches('.').to_ascii_lowercase();
    if search.is_empty() {
        let body =
            html! { h1 { "Search" } (nothing("Type a part of a name or of a target's address above.")) };
        return Ok(layout::page(Section::Elsewhere, "Search", &visitor, &body));
    }
    let asked = search.clone();
    let (names, matching_names, targets, matching_targets) = ui
        .ask(move |control| {
            let (names, total) = names(&**control, &asked);
            let mut found = matching(control.targets(), &asked, "");
            let total_targets = found.len() as u64;
            found.truncate(SHOWN);
            (names, total, targets::rows(&**control, found), total_targets)
        })
        .await?;
    let body = html! {
        h1 { "Search: " span.mono { (search) } }
        section {
            h2 { (plural(matching_names, "name")) }
            @if names.is_empty() { (nothing("No name contains that.")) } @else { (name_table(&names)) }
            @if matching_names > names.len() as u64 { p.muted { "The first " (names.len()) " of " (number(matching_names)) "; a zone's own page has all of its names." } }
        }
        section {
            h2 { (plural(matching_targets, "target")) }
            @if targets.is_empty() { (nothing("No target contains that.")) } @else { (targets::table(&targets)) }
            @if matching_targets > SHOWN as u64 { p { a href={ "/ui/targets?" (query(&[("q", &search)])) } { "All " (number(matching_targets)) } } }
        }
    };
    Ok(layout::page(Section::Elsewhere, "Search", &visitor, &body))
}

/// The first names of all zones that match, and how many do.
fn names(control: &dyn crate::admin::Control, search: &str) -> (Vec<NameRow>, u64) {
    let (mut rows, mut total) = (Vec::new(), 0);
    for zone in control.zones().into_iter().filter(|zone| zone.state != ZoneState::Broken) {
        let Ok(apex) = Name::parse_absolute(&zone.zone) else { continue };
        let limit = SHOWN.saturating_sub(rows.len()).max(1);
        let asked = NamesQuery { zone: apex, search: search.to_owned(), from: PageStart::Top, limit };
        if let Some(page) = control.names(&asked) {
            total += page.matching;
            rows.extend(page.names);
            rows.truncate(SHOWN);
        }
    }
    (rows, total)
}
