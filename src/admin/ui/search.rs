//! Names and targets by what they contain.

use axum::extract::{Extension, Query, State};
use maud::html;
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{nothing, number, plural, query, shown};
use super::targets::{self, matching};
use super::zones::name_table;
use super::{Here, Page};
use crate::admin::View;
use crate::model::insight::{NameRow, NamesQuery, PageStart};
use crate::model::name::Name;
use crate::model::report::ZoneState;

/// How many of each are shown.
const SHOWN: usize = 25;
/// Names that are looked at for them, of all zones together.
const LOOKED_AT: usize = 100_000;
/// Zones that are named where there may be more.
const SHOWN_ZONES: usize = 8;

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
    let (found, targets, matching_targets) = ui
        .ask(move |control| {
            let names = names(&**control, &asked);
            let mut found = matching(control.targets(), &asked, "");
            let total_targets = found.len() as u64;
            found.truncate(SHOWN);
            (names, targets::rows(&**control, found), total_targets)
        })
        .await?;
    let body = html! {
        h1 { "Search: " span.mono { (search) } }
        section {
            h2 { "Names" }
            @if found.names.is_empty() { (nothing("No name contains that.")) } @else { (name_table(&found.names, View::Served)) }
            @if !found.unfinished.is_empty() {
                p.muted {
                    "There may be more. Search on in "
                    @for (i, (zone, after)) in found.unfinished.iter().take(SHOWN_ZONES).enumerate() {
                        @if i > 0 { ", " }
                        a.mono href={ "/ui/zone?" (query(&[("zone", zone), ("q", &search), ("after", after)])) } { (shown(zone)) }
                    }
                    @if found.unfinished.len() > SHOWN_ZONES { " and " (plural((found.unfinished.len() - SHOWN_ZONES) as u64, "other zone")) }
                    "."
                }
            }
        }
        section {
            h2 { (plural(matching_targets, "target")) }
            @if targets.is_empty() { (nothing("No target contains that.")) } @else { (targets::table(&targets)) }
            @if matching_targets > SHOWN as u64 { p { a href={ "/ui/targets?" (query(&[("q", &search)])) } { "All " (number(matching_targets)) } } }
        }
    };
    Ok(layout::page(Section::Elsewhere, "Search", &visitor, &body))
}

/// What was found among the names.
#[derive(Default)]
struct Found {
    names: Vec<NameRow>,
    /// Zones that were not searched to their end, and behind which name to go on; nothing where to begin at the top.
    unfinished: Vec<(String, String)>,
}

/// The first names of all zones that contain `search`; a name that is just that before all others, whichever zone it is in.
fn names(control: &dyn crate::admin::Control, search: &str) -> Found {
    let zones = control.zones().into_iter().filter(|zone| zone.state != ZoneState::Broken);
    let apexes: Vec<Name> = zones.filter_map(|zone| Name::parse_absolute(&zone.zone).ok()).collect();
    let mut found =
        Found { names: exact(control, &apexes, search).into_iter().collect(), ..Found::default() };
    let mut left = LOOKED_AT;
    for apex in apexes {
        let limit = SHOWN.saturating_sub(found.names.len());
        if limit == 0 || left == 0 {
            found.unfinished.push((apex.to_string(), String::new()));
            continue;
        }
        let asked = NamesQuery {
            zone: apex,
            search: search.to_owned(),
            from: PageStart::Top,
            limit,
            looked_at: left,
        };
        let Some(page) = control.names(&asked) else { continue };
        left = left.saturating_sub(page.looked_at);
        let known = found.names.first().map(|row| row.name.clone());
        found.names.extend(page.names.into_iter().filter(|row| Some(&row.name) != known.as_ref()));
        if let Some(next) = page.next {
            found.unfinished.push((asked.zone.to_string(), next));
        }
    }
    found
}

/// The name that is searched for, if it is a whole one.
fn exact(control: &dyn crate::admin::Control, apexes: &[Name], search: &str) -> Option<NameRow> {
    let name = Name::parse_absolute(search).ok()?;
    let zone =
        std::iter::successors(Some(name.clone()), Name::parent).find(|above| apexes.contains(above))?;
    control.name_row(&zone, &name)
}
