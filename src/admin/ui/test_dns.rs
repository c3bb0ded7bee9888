//! What DNS says of a host name now: for whoever has deployed something and wants to know whether it has arrived.

use axum::extract::{Extension, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{self, Tone, nothing, now_s, query, shown, source_state, state, when, when_or};
use super::{Here, Page, hidden};
use crate::model::explain::{AnswerReport, EndpointReport};
use crate::model::records::{DiscoveredFrom, TestDns, TypedAnswer};
use crate::model::target::Verdict;

#[derive(Deserialize)]
pub(super) struct TestQuery {
    #[serde(default)]
    hostname: String,
}

/// `GET /ui/test`.
pub(super) async fn page(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<TestQuery>,
) -> Page {
    let asked = wanted.hostname.trim();
    let tested = match asked {
        "" => None,
        text => {
            let name = parts::read_name(text)?;
            Some(ui.ask(move |control| control.test_dns(&name)).await?)
        }
    };
    let body = html! {
        h1 { "Test a name" }
        form.filter action="/ui/test" role="search" {
            label.hidden for="hostname" { "Host name" }
            input #hostname type="search" name="hostname" value=(asked) placeholder="www.example.test" required autocomplete="off" spellcheck="false" autofocus[asked.is_empty()];
            button.primary { "Test" }
        }
        @match &tested {
            None => p.hint { "What DNS answers for it now, where it comes from, and how its endpoints fare." },
            Some(tested) => (parts::live(&format!("/ui/test?{}", query(&[("hostname", asked)])), &result(tested, &visitor))),
        }
    };
    Ok(layout::page(Section::Test, "Test a name", &visitor, &body))
}

fn result(tested: &TestDns, visitor: &Visitor) -> Markup {
    let now_s = now_s();
    html! {
        div.head {
            h2 { a.mono href={ "/ui/name?" (query(&[("name", &tested.hostname)])) } { (shown(&tested.hostname)) } " " (verdict(tested)) }
            @if !tested.discovered.is_empty() && tested.hidden.is_none() { (hidden::link(visitor, &tested.hostname)) }
        }
        @if let Some(hidden) = &tested.hidden {
            p.note.warn {
                strong { "Hidden " } "by " (hidden.owner) ": " (hidden.reason) ". "
                @match hidden.until { Some(until) => { "Published again " (when(until, now_s)) "." }, None => "Until somebody publishes it again." }
                " " a href="/ui/overrides" { "Hidden names" }
            }
        }
        @for entry in &tested.plan {
            p.note.warn {
                strong { (entry.source) } " wants to " (entry.change) " it: " (entry.why.as_deref().unwrap_or("under way")) "."
            }
        }
        section.card { h2 { "Answers" } @for of in &tested.answers { (answer(of)) } }
        section.card {
            h2 { "Where it comes from" }
            @if tested.discovered.is_empty() { (declared(tested)) }
            @for of in &tested.discovered { (origin(of, now_s)) }
        }
        section.card { h2 { "Endpoints" } (endpoints(tested)) }
    }
}

/// The whole in a word.
fn verdict(tested: &TestDns) -> Markup {
    let answers = || tested.answers.iter().map(|of| &of.answer);
    let has_records = answers().any(|answer| !answer.records.is_empty());
    match answers().next().map(|answer| answer.rcode.as_str()) {
        _ if tested.hidden.is_some() => state(Tone::Warn, "hidden"),
        Some("No Error") if has_records => state(Tone::Good, "answered"),
        Some("No Error") => state(Tone::Warn, "no records"),
        Some("Non-Existent Domain") => state(Tone::Bad, "does not exist"),
        Some(other) => state(Tone::Bad, other),
        None => state(Tone::Quiet, "not asked"),
    }
}

fn answer(of: &TypedAnswer) -> Markup {
    let AnswerReport { rcode, records, extended_error, .. } = &of.answer;
    html! {
        h3 { (of.rtype) " " span.muted { (rcode) @if let Some(error) = extended_error { " · extended error " (error) } } }
        @if records.is_empty() { p.muted { "No records." } }
        @else { pre tabindex="0" aria-label={ "Answer to " (of.rtype) } { @for record in records { (record) "\n" } } }
    }
}

fn declared(tested: &TestDns) -> Markup {
    let zone = tested.names.first().and_then(|name| name.zone.as_ref());
    html! {
        @match zone {
            None => (nothing("No zone of this server has it.")),
            Some(zone) => p { "No source discovers it. Its zone is " a.mono href={ "/ui/zone?" (query(&[("zone", &zone.apex)])) } { (shown(&zone.apex)) } ", from " span.path { (zone.file) } "." },
        }
    }
}

fn origin(of: &DiscoveredFrom, now_s: u64) -> Markup {
    html! {
        dl.facts {
            div { dt { "Object" } dd.mono { (of.object) } }
            div { dt { "Source" } dd { a href="/ui/sources" { (of.source.name) } " " (source_state(&of.source.state)) } }
            div { dt { "Last complete" } dd { (when_or(of.source.last_success, now_s, "never")) } }
        }
        @if let Some(failure) = &of.source.failure { p.note.bad { (failure.text) } }
    }
}

fn endpoints(tested: &TestDns) -> Markup {
    let selections = tested.names.iter().filter_map(|name| name.selection.as_ref());
    let all: Vec<&EndpointReport> = selections.flat_map(|selection| &selection.endpoints).collect();
    let up = all.iter().filter(|endpoint| endpoint.counts_as == Verdict::Up).count();
    html! {
        @if all.is_empty() { (nothing("None is checked: what is configured is what is answered.")) }
        @else {
            p { (up) " of " (all.len()) " count as up." }
            ul.attention { @for endpoint in &all { li {
                (parts::verdict(endpoint.counts_as))
                span.mono { (endpoint.publishes) }
                @if let Some(said) = &endpoint.said { (parts::override_mark(said)) }
                @for target in &endpoint.targets { @if let Some(problem) = &target.report.problem { span.problem { (problem) } } }
            } } }
        }
    }
}
