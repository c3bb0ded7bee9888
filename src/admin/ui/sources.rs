//! Where names are discovered.

use axum::extract::{Extension, State};
use maud::{Markup, html};

use super::guard::{Fields, Visitor};
use super::layout::{self, Section};
use super::parts::{
    self, Tone, ask, duration, nothing, now_s, number, plural, shown, source_state, state, when_or,
};
use super::session::Note;
use super::{Here, Page};
use crate::admin::ChangeError;
use crate::model::discovery_report::{PlanReport, SourceReport};

/// Lines of a plan that the page shows.
const PLAN_SHOWN: usize = 100;

/// `GET /ui/sources`.
pub(super) async fn list(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Page {
    let (sources, plan) = ui.ask(|control| (control.sources(), control.plan())).await?;
    let body = html! {
        h1 { "Sources" }
        (parts::read_only(&visitor))
        (parts::live("/ui/sources", &html! {
            @if sources.is_empty() { (nothing("No sources are configured: all names come from zone files.")) }
            @for source in &sources { (card(source, pending(&plan, &source.name), &visitor)) }
            @if !sources.is_empty() { (plan_table(&plan)) }
        }))
    };
    Ok(layout::page(Section::Sources, "Sources", &visitor, &body))
}

/// Names that a source would have otherwise than they are.
fn pending(plan: &[PlanReport], source: &str) -> u64 {
    plan.iter().filter(|line| line.source == source).count() as u64
}

fn card(source: &SourceReport, pending: u64, visitor: &Visitor) -> Markup {
    let now_s = now_s();
    html! {
        section.card {
            div.head {
                h2 { (source.name) " " (source_state(&source.state)) }
                div.buttons {
                    (action(visitor, source, "resync", "Resync", "List everything of this source afresh?"))
                    @if source.state == "paused" { (action(visitor, source, "resume", "Resume", "Follow this source again?")) }
                    @else { (action(visitor, source, "pause", "Pause", "Leave this source alone? What it published stays as it is.")) }
                }
            }
            dl.facts {
                div { dt { "Kind" } dd { (source.kind) } }
                div { dt { "Names" } dd.num { (number(source.names)) } }
                div { dt { "Last complete" } dd { (when_or(source.last_success, now_s, "never")) } }
                div { dt { "Pending" } dd.num { (plural(pending, "change")) } }
                div { dt { "Mode" } dd { (source.mode) ", " (source.sync) } }
                div { dt { "Success rate" } dd { (success(source)) } }
            }
            @if let Some(failure) = &source.failure {
                div.note.bad { p { strong { (failure.kind) ": " } (failure.text) }
                p.muted {
                    (plural(failure.in_a_row.into(), "failure")) " in a row"
                    @if failure.breaker_open { ", tried only now and then" }
                    @if let Some(seconds) = failure.retry_in_seconds { ", again in " (duration(seconds)) }
                    ". What it published stays as it is."
                } }
            }
            @if let Some(brake) = &source.brake {
                div.note.warn {
                    p { strong { "The brake holds the removal of " (plural(brake.held, "name")) ". " } (brake.why) }
                    p.mono { @for name in &brake.names { (shown(name)) " " } @if brake.held > brake.names.len() as u64 { "…" } }
                    p.muted { "They go by themselves in " (duration(brake.release_after_seconds.saturating_sub(brake.for_seconds))) " if that does not change." }
                    (action(visitor, source, "release", "Release the brake", &format!("Remove {} now?", plural(brake.held, "name"))))
                }
            }
            @for condition in source.conditions.iter().filter(|condition| !condition.holds) {
                p.note.warn { "Not " (condition.kind) ": " (condition.reason) }
            }
            (resources(source))
            (problems(source))
        }
    }
}

/// The share of its requests that were answered with success since the start.
fn success(source: &SourceReport) -> Markup {
    let (all, good) = (source.requests, source.requests_good);
    let tone = match good {
        _ if all == 0 => return state(Tone::Quiet, "no request yet"),
        _ if good == all => Tone::Good,
        0 => Tone::Bad,
        _ => Tone::Warn,
    };
    // Rounded down: 100 % is all of them.
    let percent = good as f64 / all as f64 * 100.0;
    html! {
        (state(tone, &format!("{:.1} %", (percent * 10.0).floor() / 10.0)))
        span.muted { " of " (plural(all, "request")) }
    }
}

fn action(visitor: &Visitor, source: &SourceReport, action: &str, label: &str, question: &str) -> Markup {
    ask(visitor, "/ui/sources", &[("source", &source.name), ("action", action)], label, question)
}

fn resources(source: &SourceReport) -> Markup {
    html! {
        @if !source.resources.is_empty() {
            table.list {
                thead { tr { th scope="col" { "Resource" } th scope="col" { "State" } th.num scope="col" { "Objects" } th scope="col" { "Complete" } } }
                tbody { @for of in &source.resources { tr {
                    th scope="row" { (of.kind) @if let Some(namespace) = &of.namespace { span.muted { " in " (namespace) } } }
                    td data-label="State" { (source_state(&of.state)) @if let Some(why) = &of.failure { div.problem { (why) } } }
                    td.num data-label="Objects" { (number(of.objects)) }
                    td data-label="Complete" { @if let Some(age) = of.age_seconds { (duration(age)) " ago" } @else { span.muted { "never" } } }
                } } }
            }
        }
    }
}

fn problems(source: &SourceReport) -> Markup {
    html! {
        @if source.problems > 0 {
            h3 { (plural(source.problems, "object")) " with problems" }
            ul { @for of in &source.first_problems { li { span.mono { (of.object) } " " span.tag { (of.kind) } " " (of.text) } } }
            @if source.problems > source.first_problems.len() as u64 { p.muted { "The first of them; the rest is in the log." } }
        }
    }
}

fn plan_table(plan: &[PlanReport]) -> Markup {
    html! {
        section.card {
            h2 { "Pending" }
            @if plan.is_empty() { (nothing("Nothing: what the sources ask for is what is published.")) }
            @else {
                table.list {
                    thead { tr { th scope="col" { "Name" } th scope="col" { "Change" } th scope="col" { "Asked for by" } th scope="col" { "Why not" } } }
                    tbody { @for line in plan.iter().take(PLAN_SHOWN) { tr {
                        th scope="row" { span.mono { (shown(&line.name)) } @for target in &line.targets { div.muted { (target) } } }
                        td data-label="Change" { (line.change) }
                        td data-label="Asked for by" { (line.source) div.muted { (line.object) } }
                        td data-label="Why not" {
                            (line.why.as_deref().unwrap_or("–"))
                            @if let Some(wildcard) = &line.hides { div.muted { "would hide " (shown(wildcard)) } }
                        }
                    } } }
                }
                @if plan.len() > PLAN_SHOWN { p.muted { "The first " (PLAN_SHOWN) " of " (number(plan.len() as u64)) "; " code { "hale plan" } " prints all." } }
            }
        }
    }
}

/// `POST /ui/sources`.
pub(super) async fn change(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Page {
    let (source, action) = (fields.get("source").to_owned(), fields.get("action").to_owned());
    let (name, asked, owner) = (source.clone(), action.clone(), visitor.owner.clone());
    let change = ui.ask(move |control| control.change_source(&source, &action, &owner)).await?;
    let note = match change {
        Ok(Some(change)) => {
            let text = match asked.as_str() {
                "resync" => format!("{name} is being listed afresh."),
                "pause" => format!("{name} is left alone; what it published stays."),
                "resume" => format!("{name} goes on."),
                _ => format!("{name}: {} let go.", plural(change.names, "name")),
            };
            Note { good: true, text }
        }
        Ok(None) => Note { good: false, text: format!("There is no source {name}.") },
        Err(ChangeError::Bad(why) | ChangeError::Full(why) | ChangeError::Failed(why)) => {
            Note { good: false, text: format!("Not done: {why}.") }
        }
    };
    Ok(ui.back(&visitor, "/ui/sources", note))
}
