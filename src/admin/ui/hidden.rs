//! Discovered names that somebody keeps from being published: those in force, and a new one. They stand on the page of the overrides.

use axum::extract::{Extension, State};
use maud::{Markup, html};

use super::guard::{Fields, Visitor};
use super::overrides::{lasts_choice, why};
use super::parts::{ask, csrf, name_link, nothing, now_s, query, shown, when};
use super::session::Note;
use super::{Here, Page};
use crate::model::name::Name;
use crate::model::overrides::MAX_REASON_OCTETS;
use crate::model::records::{HiddenChange, HiddenReport, HideRequest};

/// Where the form stands.
const PAGE: &str = "/ui/overrides";

/// The names in force, oldest first.
pub(super) fn table(all: &[HiddenReport], visitor: &Visitor) -> Markup {
    let now_s = now_s();
    html! {
        h2 { "Hidden names" }
        @if all.is_empty() { (nothing("None: what sources discover is published.")) }
        @else {
            table.list {
                thead { tr {
                    th scope="col" { "Name" } th scope="col" { "Ends" } th scope="col" { "Reason" } th scope="col" { "Hidden" }
                    th scope="col" { span.hidden { "Change" } }
                } }
                tbody { @for of in all { tr {
                    th scope="row" { (name_link(&of.name)) }
                    td data-label="Ends" { @if let Some(until) = of.until { (when(until, now_s)) } @else { span.muted { "when published again" } } }
                    td data-label="Reason" { (of.reason) }
                    td data-label="Hidden" { (when(of.set_at, now_s)) div.muted { "by " (of.owner) } }
                    td { (ask(visitor, "/ui/unhide", &[("name", &of.name)], "Publish again", &format!("Publish {} again? Its source decides what it is answered with.", shown(&of.name)))) }
                } } }
            }
        }
    }
}

/// A button that leads to the form, filled in with this name.
pub(super) fn link(visitor: &Visitor, name: &str) -> Markup {
    html! { @if visitor.may_change() { a.button href={ (PAGE) "?" (query(&[("hide", shown(name))])) "#hide" } { "Hide…" } } }
}

/// The form for another name.
pub(super) fn form(visitor: &Visitor, name: &str) -> Markup {
    html! {
        section.card #hide {
            h2 { "Hide a discovered name" }
            form.fields method="post" action="/ui/hide" data-confirm="Take this name out of DNS? What a zone file declares under it stays." data-do="Hide the name" {
                (csrf(visitor))
                div {
                    label for="hidden-name" { "Name" }
                    input #hidden-name name="name" value=(name) required spellcheck="false" autocomplete="off" placeholder="shop.example.test" aria-describedby="hidden-hint" autofocus[!name.is_empty()];
                    p #hidden-hint .muted { "Its source goes on; it is published again when the time is over." }
                }
                div {
                    label for="hidden-for" { "For" }
                    (lasts_choice("hidden-for"))
                }
                div {
                    label for="hidden-reason" { "Reason" }
                    input #hidden-reason name="reason" required maxlength=(MAX_REASON_OCTETS) autocomplete="off" placeholder="moves, ticket 4711";
                }
                p.actions { button.primary { "Hide the name" } }
            }
        }
    }
}

/// `POST /ui/hide`.
pub(super) async fn hide(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Page {
    let wanted = HideRequest {
        name: fields.get("name").to_owned(),
        lasts: fields.get("for").to_owned(),
        reason: fields.get("reason").to_owned(),
    };
    let owner = visitor.owner.clone();
    let again = format!("{PAGE}?{}#hide", query(&[("hide", &wanted.name)]));
    let change = ui.ask(move |control| control.hide(&wanted, owner)).await?;
    Ok(match change {
        Ok(change) => ui.back(&visitor, PAGE, Note { good: true, text: told("is hidden", &change) }),
        Err(error) => {
            ui.back(&visitor, &again, Note { good: false, text: format!("Not hidden: {}.", why(error)) })
        }
    })
}

/// `POST /ui/unhide`.
pub(super) async fn unhide(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Page {
    let owner = visitor.owner.clone();
    let change = match Name::parse_absolute(fields.get("name")) {
        Ok(name) => ui.ask(move |control| control.unhide(&name, &owner)).await?,
        Err(_) => Ok(None),
    };
    let note = match change {
        Ok(Some(change)) => Note { good: true, text: told("is published again", &change) },
        Ok(None) => Note { good: false, text: "That name is not hidden any more.".to_owned() },
        Err(error) => Note { good: false, text: format!("Not changed: {}.", why(error)) },
    };
    Ok(ui.back(&visitor, PAGE, note))
}

/// What came of it: a name that no source asks for is most likely a slip.
fn told(done: &str, change: &HiddenChange) -> String {
    let wanted = if change.discovered { "" } else { " No source asks for it now." };
    let kept = if change.kept { "" } else { " Without a state directory that ends with the server." };
    format!("{} {done}.{wanted}{kept}", shown(&change.hidden.name))
}
