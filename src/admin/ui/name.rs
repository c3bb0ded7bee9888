//! One name: what is answered for it and why.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{self, duration, nothing, override_mark, query, read_name, shown, sparkline, verdict};
use super::trouble::Trouble;
use super::{Here, Page, hidden, targets};
use crate::model::explain::{
    Client, ClientNetwork, EndpointReport, Explanation, NameExplanation, SelectionReport, TypeReport,
};
use crate::model::insight::Attempt;
use crate::model::rrtype::RrType;

#[derive(Deserialize)]
pub(super) struct NameQuery {
    name: String,
    #[serde(default, rename = "type")]
    rtype: String,
    #[serde(default)]
    client: String,
    /// The network that the client, a resolver, asks for.
    #[serde(default)]
    ecs: String,
}

/// The last probes by target.
type Trails = std::collections::HashMap<u32, Vec<Attempt>>;

/// `GET /ui/name`.
pub(super) async fn page(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<NameQuery>,
) -> Page {
    let name = read_name(&wanted.name)?;
    let bad = |what: &str, is: &str| Trouble::new(StatusCode::BAD_REQUEST, format!("{what:?} is not {is}"));
    let rtype: RrType = match wanted.rtype.trim() {
        "" => RrType::A,
        text => text.parse().map_err(|_| bad(text, "an RR type"))?,
    };
    let client: IpAddr = match wanted.client.trim() {
        "" => Ipv4Addr::LOCALHOST.into(),
        text => text.parse().map_err(|_| bad(text, "an address"))?,
    };
    let network: Option<ClientNetwork> = match wanted.ecs.trim() {
        "" => None,
        text => Some(text.parse().map_err(|why: String| Trouble::new(StatusCode::BAD_REQUEST, why))?),
    };
    let client = Client { address: client, network };
    let (explained, trails) = ui
        .ask(move |control| {
            let explained = control.explain(&name, rtype, client);
            let ids: Vec<u32> = target_ids(&explained).collect();
            let trails: Trails = ids.iter().copied().zip(control.attempts(&ids)).collect();
            (explained, trails)
        })
        .await?;
    let (client, ecs) = (wanted.client.trim(), wanted.ecs.trim());
    let pairs = [("name", &*explained.name), ("type", &*explained.rtype), ("client", client), ("ecs", ecs)];
    let is_discovered = explained.names.first().is_some_and(|name| !name.from.is_empty());
    let here = format!("/ui/name?{}", query(&pairs));
    let zone = explained.names.first().and_then(|name| name.zone.as_ref());
    let body = html! {
        p.crumbs {
            a href="/ui/zones" { "Zones" }
            @if let Some(zone) = zone { " / " a.mono href={ "/ui/zone?" (query(&[("zone", &zone.apex)])) } { (shown(&zone.apex)) } }
            " / " span.mono { (shown(&explained.name)) }
        }
        div.head {
            h1.mono { (shown(&explained.name)) }
            div.buttons {
                a.button href={ "/ui/test?" (query(&[("hostname", shown(&explained.name))])) } { "Test" }
                @if is_discovered { (hidden::link(&visitor, &explained.name)) }
                (override_link(&visitor, &format!("name:{}", explained.name), &here))
            }
        }
        (question(&explained, client, ecs))
        (parts::live(&here, &html! {
            (answer(&explained))
            @for name in &explained.names { (one_name(name, explained.names.len() > 1, &visitor, &here, &trails)) }
        }))
    };
    Ok(layout::page(Section::Zones, shown(&explained.name), &visitor, &body))
}

fn target_ids(explained: &Explanation) -> impl Iterator<Item = u32> + '_ {
    let selections = explained.names.iter().filter_map(|name| name.selection.as_ref());
    let endpoints = selections.flat_map(|selection| &selection.endpoints);
    endpoints.flat_map(|endpoint| &endpoint.targets).map(|target| target.report.id)
}

fn override_link(visitor: &Visitor, subject: &str, back: &str) -> Markup {
    html! {
        @if visitor.may_change() {
            a.button href={ "/ui/overrides?" (query(&[("subject", subject), ("back", back)])) "#new" } { "Override…" }
        }
    }
}

/// Asks for another type, or as somebody else.
fn question(explained: &Explanation, client: &str, ecs: &str) -> Markup {
    html! {
        form.filter action="/ui/name" {
            input type="hidden" name="name" value=(explained.name);
            label { "Type " input name="type" value=(explained.rtype) size="8" spellcheck="false"; }
            label { "Asked by " input name="client" value=(client) placeholder="127.0.0.1" size="16" spellcheck="false"; }
            label { "for clients in " input name="ecs" value=(ecs) placeholder="192.0.2.0/24" size="18" spellcheck="false" title="The network that a resolver asks for: EDNS Client Subnet"; }
            button { "Ask" }
        }
    }
}

fn answer(explained: &Explanation) -> Markup {
    let answer = &explained.answer;
    html! {
        section.card {
            h2 { "Answer to " (explained.rtype) }
            p { strong { (answer.rcode) }
                @if let Some(ecs) = &explained.ecs { " · for " span.mono { (ecs) } @match answer.ecs_scope { Some(bits) => { ", holds for /" (bits) }, None => ", which counts for nothing here" } }
                @if let Some(error) = &answer.extended_error { " · extended error " (error) } }
            @if answer.records.is_empty() { (nothing("No records.")) }
            @else { pre tabindex="0" { @for record in &answer.records { (record) "\n" } } }
        }
    }
}

fn one_name(
    name: &NameExplanation,
    is_one_of_several: bool,
    visitor: &Visitor,
    here: &str,
    trails: &Trails,
) -> Markup {
    html! {
        section.card {
            h2 { @if is_one_of_several { span.mono { (shown(&name.name)) } } @else { "Where it comes from" } }
            dl.facts {
                div { dt { "Zone" } dd {
                    @if let Some(zone) = &name.zone {
                        (shown(&zone.apex)) @if let Some(of) = &zone.alias_of { ", alias of " (shown(of)) }
                        @if let Some(problem) = &zone.problem { div.problem { (problem) } }
                    } @else { "none of this server's" }
                } }
                div { dt { "Owner" } dd.mono { @if let Some(owner) = &name.owner { (shown(owner)) } @else { "no such name" } } }
                div { dt { "Types" } dd { @if name.types.is_empty() { "–" } @for rtype in &name.types { span.type { (rtype) } " " } } }
                div { dt { "Source" } dd {
                    @if name.from.is_empty() { @if let Some(zone) = &name.zone { span.path { (zone.file) } } @else { "–" } }
                    @for from in &name.from { div { (from) } }
                } }
            }
            @if let Some(selection) = &name.selection { (chosen(selection, visitor, here, trails)) }
        }
    }
}

fn chosen(selection: &SelectionReport, visitor: &Visitor, here: &str, trails: &Trails) -> Markup {
    html! {
        p { "Answered " (selection.outcome) "." }
        @if !selection.pending.is_empty() { p.note.warn { "First verdicts are awaited for " (selection.pending.join(", ")) ": SERVFAIL until then." } }
        @if !selection.withheld.is_empty() { p.note.bad { "Withheld, since every endpoint is down: " (selection.withheld.join(", ")) "." } }
        h3 { "Endpoints" }
        table.list {
            thead { tr { th scope="col" { "Publishes" } th scope="col" { "Counts as" } th scope="col" { "Rests on" } th scope="col" { "Last probes" } th scope="col" { "Stands in" } th scope="col" { span.hidden { "Change" } } } }
            tbody { @for endpoint in &selection.endpoints { (endpoint_row(endpoint, visitor, here, trails)) } }
        }
        @if selection.pools.len() > 1 { h3 { "Pools" } ul { @for pool in &selection.pools { li { (pool) } } } }
        h3 { "What there is to answer" }
        ul.records { @for answers in &selection.answers { (type_row(answers)) } }
    }
}

fn endpoint_row(endpoint: &EndpointReport, visitor: &Visitor, here: &str, trails: &Trails) -> Markup {
    html! {
        tr {
            th scope="row" {
                span.mono { (endpoint.publishes) }
                @if endpoint.weight != 1 { div.muted { "weight " (endpoint.weight) } }
                @if !endpoint.pools.is_empty() { div.muted { (endpoint.pools.join(", ")) } }
            }
            td data-label="Counts as" {
                (verdict(endpoint.counts_as))
                @if let Some(said) = &endpoint.said { div { (override_mark(said)) } }
            }
            td data-label="Rests on" {
                @if endpoint.rests_on.is_none() { span.muted { "not checked" } }
                @for target in &endpoint.targets {
                    div { (targets::link(&target.report)) }
                    @if let Some(problem) = &target.report.problem { div.problem { (problem) } }
                }
            }
            td data-label="Last probes" {
                @for target in &endpoint.targets { @if let Some(attempts) = trails.get(&target.report.id) { div { (sparkline(attempts)) } } }
            }
            td.path data-label="Stands in" { (endpoint.from.as_deref().unwrap_or("–")) }
            td {
                @if let Some(address) = address(&endpoint.publishes) { (override_small(visitor, &address, here)) }
            }
        }
    }
}

/// The address that an endpoint publishes, if it is one: `A 192.0.2.1`.
fn address(publishes: &str) -> Option<IpAddr> {
    publishes.rsplit(' ').next()?.parse().ok()
}

fn override_small(visitor: &Visitor, address: &IpAddr, here: &str) -> Markup {
    let subject = format!("address:{address}");
    let link = query(&[("subject", &subject), ("back", here)]);
    html! {
        @if visitor.may_change() {
            a.button.small href={ "/ui/overrides?" (link) "#new" } aria-label={ "Override " (address) } { "Override…" }
        }
    }
}

fn type_row(answers: &TypeReport) -> Markup {
    html! {
        li {
            span.type { (answers.rtype) }
            span.ttl title=(answers.ttl_because) { (duration(answers.ttl.into())) }
            span.data {
                @for (i, set) in answers.sets.iter().enumerate() {
                    span {
                        (set.join(", "))
                        @if answers.sets.len() > 1 && answers.given == Some(i) { " " span.tag { "given to this client" } }
                    }
                }
                span.muted { "TTL " (answers.ttl_because) }
            }
        }
    }
}
