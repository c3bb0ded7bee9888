//! A person's word over verdicts: those in force, and a new one; and the names that people hide.

use axum::extract::{Extension, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::{Fields, Visitor};
use super::layout::{self, Section};
use super::parts::{self, Tone, ask, csrf, nothing, now_s, plural, query, shown, state, when};
use super::session::Note;
use super::{Here, Page, hidden};
use crate::admin::ChangeError;
use crate::model::overrides::{MAX_REASON_OCTETS, Word};
use crate::model::report::{OverrideChange, OverrideReport, OverrideRequest};

/// What the form is filled in with.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    subject: String,
    /// The name that the other form is filled in with.
    #[serde(default)]
    hide: String,
    #[serde(default)]
    back: String,
}

/// `GET /ui/overrides`.
pub(super) async fn list(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<ListQuery>,
) -> Page {
    let (all, hidden_names) = ui.ask(|control| (control.overrides(), control.hidden())).await?;
    let pairs = [("subject", &*wanted.subject), ("hide", &wanted.hide), ("back", &wanted.back)];
    let here = format!("/ui/overrides?{}", query(&pairs));
    let body = html! {
        h1 { "Overrides" }
        (parts::live(&here, &html! {
            @if all.is_empty() { (nothing("None in force: probes alone decide.")) } @else { (table(&all, &visitor)) }
            (hidden::table(&hidden_names, &visitor))
        }))
        (parts::read_only(&visitor))
        @if visitor.may_change() { (form(&visitor, &wanted)) (hidden::form(&visitor, &wanted.hide)) }
    };
    Ok(layout::page(Section::Overrides, "Overrides", &visitor, &body))
}

fn table(all: &[OverrideReport], visitor: &Visitor) -> Markup {
    let now_s = now_s();
    html! {
        table.list {
            thead { tr {
                th scope="col" { "Subject" } th scope="col" { "Counts as" } th scope="col" { "Ends" } th scope="col" { "Reason" }
                th scope="col" { "Set" } th scope="col" { span.hidden { "Change" } }
            } }
            tbody { @for of in all { tr {
                th scope="row" { span.mono { (of.subject) } @if let Some(zone) = &of.zone { div.muted { "in " (shown(zone)) } } }
                td data-label="Counts as" { (word(of.word)) }
                td data-label="Ends" { @if let Some(until) = of.until { (when(until, now_s)) } @else { span.muted { "when cleared" } } }
                td data-label="Reason" { (of.reason) }
                td data-label="Set" { (when(of.set_at, now_s)) div.muted { "by " (of.owner) } }
                td { (ask(visitor, "/ui/overrides/clear", &[("id", &of.id.to_string())], "Clear", &format!("Clear the override of {}? Probes decide again.", of.subject))) }
            } } }
        }
    }
}

fn word(of: Word) -> Markup {
    match of {
        Word::Up => state(Tone::Good, "up"),
        Word::Down => state(Tone::Bad, "down"),
        Word::Drain => state(Tone::Warn, "drained"),
    }
}

const LASTS: [(&str, &str); 6] = [
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("1d", "1 day"),
    ("7d", "7 days"),
    ("forever", "Until cleared"),
];

/// For how long something is said.
pub(super) fn lasts_choice(id: &str) -> Markup {
    html! { select id=(id) name="for" { @for (value, label) in LASTS { option value=(value) selected[value == "1h"] { (label) } } } }
}

fn form(visitor: &Visitor, wanted: &ListQuery) -> Markup {
    html! {
        section.card #new {
            h2 { "New override" }
            form.fields method="post" action="/ui/overrides" data-confirm="Set this override? Answers follow it at once." data-do="Set override" {
                (csrf(visitor))
                input type="hidden" name="back" value=(wanted.back);
                div {
                    label for="subject" { "Subject" }
                    input #subject name="subject" value=(wanted.subject) required spellcheck="false" autocomplete="off" placeholder="address:192.0.2.10" aria-describedby="subject-hint" autofocus[!wanted.subject.is_empty()];
                    p #subject-hint .muted { code { "address:IP" } ", " code { "pool:NAME" } " or " code { "name:GLOB" } " such as " code { "name:*.example.test" } }
                }
                div {
                    label for="word" { "Counts as" }
                    select #word name="word" {
                        option value="drain" { "Drained: only as a last resort" }
                        option value="down" { "Down" }
                        option value="up" { "Up" }
                    }
                }
                div {
                    label for="for" { "For" }
                    (lasts_choice("for"))
                }
                div {
                    label for="zone" { "Only in zone " span.muted { "(optional)" } }
                    input #zone name="zone" spellcheck="false" autocomplete="off";
                }
                div {
                    label for="reason" { "Reason" }
                    input #reason name="reason" required maxlength=(MAX_REASON_OCTETS) autocomplete="off" placeholder="new disk, ticket 4711";
                }
                p.actions { button.primary { "Set override" } }
            }
        }
    }
}

/// `POST /ui/overrides`.
pub(super) async fn set(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Page {
    let back = match fields.get("back") {
        "" => "/ui/overrides",
        back => back,
    };
    let word = match fields.get("word") {
        "up" => Word::Up,
        "down" => Word::Down,
        "drain" => Word::Drain,
        other => {
            let text = format!("Not set: {other:?} is neither up, down nor drain.");
            return Ok(ui.back(&visitor, "/ui/overrides", Note { good: false, text }));
        }
    };
    let wanted = OverrideRequest {
        subject: fields.get("subject").to_owned(),
        zone: Some(fields.get("zone").to_owned()).filter(|zone| !zone.is_empty()),
        word,
        lasts: fields.get("for").to_owned(),
        reason: fields.get("reason").to_owned(),
    };
    let owner = visitor.owner.clone();
    let again = query(&[("subject", &wanted.subject), ("back", fields.get("back"))]);
    let change = ui.ask(move |control| control.set_override(&wanted, owner)).await?;
    Ok(match change {
        Ok(change) => ui.back(&visitor, back, Note { good: true, text: told("Set", &change) }),
        Err(error) => {
            let text = format!("Not set: {}.", why(error));
            ui.back(&visitor, &format!("/ui/overrides?{again}"), Note { good: false, text })
        }
    })
}

/// `POST /ui/overrides/clear`.
pub(super) async fn clear(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Page {
    let owner = visitor.owner.clone();
    let change = match fields.get("id").parse() {
        Ok(id) => ui.ask(move |control| control.clear_override(id, &owner)).await?,
        Err(_) => Ok(None),
    };
    let note = match change {
        Ok(Some(change)) => Note { good: true, text: told("Cleared", &change) },
        Ok(None) => Note { good: false, text: "That override is gone already.".to_owned() },
        Err(error) => Note { good: false, text: format!("Not cleared: {}.", why(error)) },
    };
    Ok(ui.back(&visitor, "/ui/overrides", note))
}

/// What came of it: an override that concerns nothing is most likely a slip.
fn told(done: &str, change: &OverrideChange) -> String {
    let names = match change.names {
        0 => "it concerns no checked name now".to_owned(),
        n => format!("it concerns {}", plural(n, "name")),
    };
    let kept = if change.kept { "" } else { " Without a state directory it ends with the server." };
    format!("{done}: {} for {}; {names}.{kept}", change.entry.word, change.entry.subject)
}

pub(super) fn why(error: ChangeError) -> String {
    match error {
        ChangeError::Bad(why) | ChangeError::Full(why) | ChangeError::Failed(why) => why,
    }
}
