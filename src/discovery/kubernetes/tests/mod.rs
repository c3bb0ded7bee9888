//! What each resource publishes, as data: an object in JSON, what is around it, and the claims line by line.
// JSON written in place is handed over as it is.
#![allow(clippy::needless_pass_by_value)]

mod driver;
mod gateways;
mod in_cluster;
mod objects;
mod real;
mod real_routes;
mod recorded;
mod services;
mod silence;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::discovery::claim::{Claim, Targets};
use crate::discovery::rule::Routers;
use crate::discovery::source::Seen;
use crate::model::rdata;

use super::gateway::{self, Memory, Parents};
use super::listener::RouteKind;
use super::objects::{EndpointSlice, Gateway, ListenerSet, Namespace, Node, Object, Service};
use super::options::Options;
use super::pairs::Pairs;
use super::service::Around;
use super::{dns_endpoint, ingress, ingress_route, service};

/// The kinds, as the tests name them.
const KINDS: [&str; 8] = [
    "Ingress",
    "IngressRoute",
    "IngressRouteTCP",
    "Service",
    "DNSEndpoint",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
];

/// What stands around the object under test.
#[derive(Default)]
struct World {
    options: Options,
    traefik: Option<Service>,
    nodes: Option<Vec<Node>>,
    slices: Option<Vec<EndpointSlice>>,
    gateways: Vec<Gateway>,
    sets: Vec<ListenerSet>,
    namespaces: Vec<Namespace>,
    gateways_unknown: bool,
    memory: Memory,
}

fn options() -> Options {
    Options { prefixes: Options::all_prefixes(&["own.test".into()]), ..Options::default() }
}

fn decode<T: Object>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Parents for World {
    fn gateway(&self, namespace: &str, name: &str) -> Result<Option<&Gateway>, Box<str>> {
        if self.gateways_unknown {
            return Err("gateways: 403 Forbidden".into());
        }
        Ok(find(&self.gateways, namespace, name))
    }
    fn listener_set(&self, namespace: &str, name: &str) -> Result<Option<&ListenerSet>, Box<str>> {
        Ok(find(&self.sets, namespace, name))
    }
    fn namespace(&self, name: &str) -> Option<&Pairs> {
        find(&self.namespaces, "", name).map(|found| &found.metadata.labels)
    }
}

fn find<'a, T: Object>(all: &'a [T], namespace: &str, name: &str) -> Option<&'a T> {
    all.iter().find(|one| *one.metadata().namespace == *namespace && *one.metadata().name == *name)
}

impl World {
    /// What the object publishes.
    fn see(&mut self, kind: &str, object: Value) -> Seen {
        assert!(KINDS.contains(&kind), "{kind}");
        let options = self.options.clone();
        let route_kind = match kind {
            "Ingress" => return ingress::claims(&decode(object), &options),
            "IngressRoute" => {
                return ingress_route::claims(
                    &decode(object),
                    Routers::Http,
                    &options,
                    self.traefik.as_ref(),
                );
            }
            "IngressRouteTCP" => {
                return ingress_route::claims(&decode(object), Routers::Tcp, &options, self.traefik.as_ref());
            }
            "Service" => {
                let around = Around {
                    nodes: self.nodes.as_ref().map(|all| all.iter().collect()),
                    slices: self.slices.as_ref().map(|all| all.iter().collect()),
                };
                return service::claims(&decode(object), &options, &around);
            }
            "DNSEndpoint" => return dns_endpoint::claims(&decode(object), &options),
            "HTTPRoute" => RouteKind::Http,
            "GRPCRoute" => RouteKind::Grpc,
            _ => RouteKind::Tls,
        };
        let mut memory = std::mem::take(&mut self.memory);
        let seen = gateway::claims(&decode(object), route_kind, &options, self, &mut memory);
        self.memory = memory;
        seen
    }
}

/// The claims and problems, a line each.
fn lines(seen: &Seen) -> String {
    match seen {
        Seen::Stands(problem) => format!("stands: {problem}"),
        Seen::Claims(claims, problems) | Seen::Partial(claims, problems) => {
            let claims = claims.iter().map(line);
            let problems = problems.iter().map(|one| format!("! {}: {one}", one.kind.label()));
            claims.chain(problems).collect::<Vec<_>>().join("\n")
        }
    }
}

fn line(claim: &Claim) -> String {
    let mut text = format!("{} ", claim.name);
    match &claim.targets {
        Targets::Known(all) => text += &all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Targets::Default => text += "default",
        Targets::Unknown(why) => write!(text, "? {why}").unwrap(),
    }
    write!(text, " [{:?}]", claim.route).unwrap();
    if let Some(ttl) = claim.ttl {
        write!(text, " ttl {ttl}").unwrap();
    }
    for one in &claim.rrsets {
        write!(text, " {}", one.rtype).unwrap();
        if let Some(ttl) = one.ttl {
            write!(text, "({ttl})").unwrap();
        }
        for record in one.rdata.iter() {
            write!(text, " {}", rdata::to_text(one.rtype, record)).unwrap();
        }
    }
    let wishes = &claim.wishes;
    for (key, wish) in [("check", &wishes.check), ("policy", &wishes.policy), ("weight", &wishes.weight)] {
        if let Some(wish) = wish {
            write!(text, " {key}={wish}").unwrap();
        }
    }
    if !claim.entry_points.is_empty() {
        write!(text, " via {}", claim.entry_points.join(",")).unwrap();
    }
    text
}

/// Checks one object: what stands around it, the object, and the lines of what it publishes.
fn check(title: &str, world: &mut World, kind: &str, mut object: Value, expected: &[&str]) {
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    for (key, value) in [("name", json!("web")), ("namespace", json!("shop")), ("generation", json!(3))] {
        if object["metadata"][key].is_null() {
            object["metadata"][key] = value;
        }
    }
    let found = lines(&world.see(kind, object));
    assert_eq!(found, expected.join("\n"), "{title}");
}
