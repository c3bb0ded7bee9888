//! Routes of the Gateway API: the hosts that a route and the listeners of an accepting parent have in common, at the Gateway's addresses.

use crate::discovery::claim::{HostTarget, Route as Reached, Targets};
use crate::discovery::source::{Problem, ProblemKind, Seen};
use crate::model::name::Name;

use super::draft::{Draft, host_name};
use super::ingress::is_wanted;
use super::listener::{self, Attached, RouteKind};
use super::objects::{Gateway, ListenerSet, ParentRef, Route};
use super::options::Options;
use super::pairs::Pairs;

/// The group of Gateways, unless a reference gives another.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// What routes refer to.
pub trait Parents {
    /// The Gateway of this namespace and name; an error says why Gateways are not known at all.
    fn gateway(&self, namespace: &str, name: &str) -> Result<Option<&Gateway>, Box<str>>;
    /// The ListenerSet likewise.
    fn listener_set(&self, namespace: &str, name: &str) -> Result<Option<&ListenerSet>, Box<str>>;
    /// The labels of a namespace; `None` while they are not known.
    fn namespace(&self, name: &str) -> Option<&Pairs>;
}

/// What the parents of a route gave when each was last known: a parent that is missing or lags behind keeps what stood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory(Vec<(ParentRef, Vec<Offer>)>);

/// One name that a parent gives.
#[derive(Clone, Debug, PartialEq)]
struct Offer {
    name: Name,
    targets: Vec<HostTarget>,
    reached: Reached,
}

/// What can be said of one parent.
enum Verdict {
    /// It gives these names.
    Gives(Vec<Offer>),
    /// It refuses the route, or is none that we look at: nothing.
    Nothing,
    /// Nothing can be concluded now, for this reason; the names that it would give, as far as they are known.
    Unknown(Vec<(Name, Reached)>, Box<str>),
}

/// What a route publishes. `memory` is that of this route, and is brought up to date.
pub fn claims(
    route: &Route,
    kind: RouteKind,
    options: &Options,
    parents: &impl Parents,
    memory: &mut Memory,
) -> Seen {
    let metadata = &route.metadata;
    let mut draft = Draft::default();
    if !options.admits(metadata) {
        *memory = Memory::default();
        return draft.finish(options, metadata);
    }
    let hosts = hosts(&mut draft, route, options);
    let mut next = Vec::new();
    let mut unknown = None;
    let mut waiting = Vec::new();
    for parent in &route.spec.parent_refs {
        match judge(&mut draft, route, parent, kind, hosts.as_deref(), options, parents) {
            Verdict::Gives(offers) => {
                publish(&mut draft, &offers);
                next.push((parent.clone(), offers));
            }
            Verdict::Nothing => {}
            Verdict::Unknown(names, reason) => {
                let stood = memory.0.iter().find(|(held, _)| held == parent);
                let still =
                    stood.map(|(_, offers)| wanted_still(offers, hosts.as_deref())).unwrap_or_default();
                publish(&mut draft, &still);
                next.push((parent.clone(), still));
                waiting.extend(names);
                draft.problem(ProblemKind::Stale, reason.clone());
                unknown = Some(reason);
            }
        }
    }
    *memory = Memory(next);
    if let Some(reason) = unknown {
        for (name, reached) in waiting {
            if draft.claim_mut(&name).is_some() {
                continue; // another parent gives it, or this one did
            }
            draft.claim(name, Targets::Unknown(reason.clone()), reached);
        }
        if draft.is_empty() {
            return Seen::Stands(Problem::new(ProblemKind::Stale, reason));
        }
    }
    draft.finish(options, metadata)
}

fn publish(draft: &mut Draft, offers: &[Offer]) {
    for Offer { name, targets, reached } in offers {
        draft.claim(name.clone(), Targets::Known(targets.clone()), *reached);
    }
}

/// The names of a route: none in its spec leaves them to the listeners (`None`); an empty list has none that is valid.
fn hosts(draft: &mut Draft, route: &Route, options: &Options) -> Option<Vec<Name>> {
    let source = options.annotation(&route.metadata, "gateway-hostname-source");
    let mut texts = 0;
    let mut names = Vec::new();
    if source != Some("annotation-only") {
        for (at, host) in route.spec.hostnames.iter().enumerate() {
            texts += 1;
            names.extend(draft.name(host, &format!("spec.hostnames[{at}]")));
        }
    }
    if source != Some("defined-hosts-only") {
        let annotated = super::ingress::annotated_names(draft, options, &route.metadata);
        texts += annotated.len();
        names.extend(annotated);
    }
    (texts > 0 || source == Some("annotation-only")).then_some(names)
}

/// The offers that the spec still asks for.
fn wanted_still(offers: &[Offer], hosts: Option<&[Name]>) -> Vec<Offer> {
    let wanted = |offer: &&Offer| {
        hosts.is_none_or(|hosts| {
            hosts.iter().any(|host| {
                listener::intersection(Some(host), Some(&offer.name)).as_ref() == Some(&offer.name)
            })
        })
    };
    offers.iter().filter(wanted).cloned().collect()
}

/// What one parent gives to the route.
fn judge(
    draft: &mut Draft,
    route: &Route,
    parent: &ParentRef,
    kind: RouteKind,
    hosts: Option<&[Name]>,
    options: &Options,
    parents: &impl Parents,
) -> Verdict {
    let namespace = parent.namespace.as_deref().unwrap_or(&route.metadata.namespace);
    let path =
        format!("{}/{namespace}/{}", parent.kind.as_deref().unwrap_or("Gateway").to_lowercase(), parent.name);
    // A parent that is not there may give any of the route's own names.
    let possible =
        || hosts.unwrap_or_default().iter().map(|host| (host.clone(), Reached::Https(None))).collect();
    let found = match find(parent, namespace, parents) {
        Ok(Found::Attached(attached)) => attached,
        Ok(Found::NoneOfOurs) => return Verdict::Nothing,
        Ok(Found::Missing(what)) => return Verdict::Unknown(possible(), format!("{what} is missing").into()),
        Err(why) => return Verdict::Unknown(possible(), why),
    };
    if !is_wanted(Some(&found.gateway.spec.gateway_class_name), &options.gateway_classes) {
        return Verdict::Nothing;
    }
    let Ok(names) = listener::names(&found, route, parent, kind, hosts, parents) else {
        let reason = "a listener selects routes by labels of their namespaces, which are not known";
        return Verdict::Unknown(possible(), reason.into());
    };
    match acceptance(route, parent) {
        Acceptance::Accepted => {}
        Acceptance::Refused => return Verdict::Nothing,
        Acceptance::Lags => {
            let generation = route.metadata.generation;
            return Verdict::Unknown(
                names,
                format!("{path} has not judged generation {generation} yet").into(),
            );
        }
    }
    let targets = match targets(draft, &found, options) {
        Targets::Known(targets) => targets,
        Targets::Unknown(reason) => return Verdict::Unknown(names, reason),
        Targets::Default => Vec::new(),
    };
    let offer = |(name, reached)| Offer { name, targets: targets.clone(), reached };
    Verdict::Gives(names.into_iter().map(offer).collect())
}

/// What a reference leads to.
enum Found<'a> {
    /// A Gateway, by itself or through a ListenerSet.
    Attached(Attached<'a>),
    /// Another kind, such as a Service of a mesh.
    NoneOfOurs,
    /// An object that is not there.
    Missing(String),
}

fn find<'a>(parent: &ParentRef, namespace: &str, parents: &'a impl Parents) -> Result<Found<'a>, Box<str>> {
    let gateway = |reference: &ParentRef, from: &str, set: Option<&'a ListenerSet>| {
        let namespace = reference.namespace.as_deref().unwrap_or(from);
        Ok(match parents.gateway(namespace, &reference.name)? {
            Some(gateway) => Found::Attached(Attached { gateway, set }),
            None => Found::Missing(format!("gateway/{namespace}/{}", reference.name)),
        })
    };
    let group = parent.group.as_deref().unwrap_or(GROUP);
    match parent.kind.as_deref().unwrap_or("Gateway") {
        "Gateway" if group == GROUP => gateway(parent, namespace, None),
        "ListenerSet" if group == GROUP => match parents.listener_set(namespace, &parent.name)? {
            Some(set) => gateway(&set.spec.parent_ref, &set.metadata.namespace, Some(set)),
            None => Ok(Found::Missing(format!("listenerset/{namespace}/{}", parent.name))),
        },
        _ => Ok(Found::NoneOfOurs),
    }
}

/// Whether the controllers of a parent take the route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acceptance {
    Accepted,
    Refused,
    /// None has judged the route's present generation.
    Lags,
}

fn acceptance(route: &Route, parent: &ParentRef) -> Acceptance {
    let same = |other: &ParentRef| {
        let namespace =
            |one: &ParentRef| one.namespace.clone().unwrap_or_else(|| route.metadata.namespace.clone());
        let group = |one: &ParentRef| one.group.as_deref().unwrap_or(GROUP).to_owned();
        let kind = |one: &ParentRef| one.kind.as_deref().unwrap_or("Gateway").to_owned();
        let rest = |one: &ParentRef| (one.name.clone(), one.section_name.clone(), one.port);
        (namespace(parent), group(parent), kind(parent), rest(parent))
            == (namespace(other), group(other), kind(other), rest(other))
    };
    let entries = route.status.parents.iter().filter(|entry| same(&entry.parent_ref));
    let conditions = entries.map(|entry| entry.conditions.iter().find(|one| &*one.r#type == "Accepted"));
    let mut seen = Acceptance::Lags;
    let mut lags = false;
    for condition in conditions {
        match condition {
            Some(one) if one.observed_generation >= route.metadata.generation => match &*one.status {
                "True" => return Acceptance::Accepted,
                "False" => seen = Acceptance::Refused,
                _ => lags = true,
            },
            _ => lags = true,
        }
    }
    if lags { Acceptance::Lags } else { seen }
}

/// Where a parent leads: `target` annotations of the ListenerSet, then of the Gateway, then its addresses.
fn targets(draft: &mut Draft, found: &Attached<'_>, options: &Options) -> Targets {
    let gateway = &found.gateway.metadata;
    let metadata = found.set.map(|set| &set.metadata).into_iter().chain([gateway]);
    for metadata in metadata {
        if let Some(targets) = draft.annotated_targets(options, metadata) {
            return targets;
        }
    }
    let mut all = Vec::new();
    for address in &found.gateway.status.addresses {
        match address.r#type.as_deref().unwrap_or("IPAddress") {
            "IPAddress" | "Hostname" => {
                all.extend(draft.target(&address.value, "status.addresses of the Gateway"));
            }
            other => {
                let text = format!(
                    "status.addresses of the Gateway: type {} is not known",
                    super::draft::shorten(other)
                );
                draft.problem(ProblemKind::Refused, text);
            }
        }
    }
    super::draft::known_or(all, || {
        format!("gateway/{}/{} has no address", gateway.namespace, gateway.name).into()
    })
}

/// Whether a route refers to this Gateway or ListenerSet, by itself: what to look at again when that changes.
pub fn refers_to(route: &Route, kind: &str, namespace: &str, name: &str) -> bool {
    route.spec.parent_refs.iter().any(|parent| {
        parent.kind.as_deref().unwrap_or("Gateway") == kind
            && *parent.name == *name
            && parent.namespace.as_deref().unwrap_or(&route.metadata.namespace) == namespace
    })
}

/// The name of a listener's host; `None` for all hosts.
///
/// # Errors
/// A host that is not a name.
pub(super) fn listener_host(text: &str) -> Result<Option<Name>, String> {
    if text.is_empty() || text == "*" { Ok(None) } else { host_name(text).map(Some) }
}
