//! Listeners: which routes may attach to them, and which names both have in common.

use crate::discovery::claim::Route as Reached;
use crate::model::name::Name;

use super::gateway::{GROUP, Parents, listener_host};
use super::objects::{Allowed, AllowedKind, Gateway, Listener, ListenerSet, ParentRef, Route};

/// The kinds of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
    /// TLSRoute.
    Tls,
}

impl RouteKind {
    /// Its name in the API.
    fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
        }
    }

    /// Whether it may attach to a listener of this protocol that names no kinds.
    fn suits(self, protocol: &str) -> bool {
        match self {
            Self::Http | Self::Grpc => matches!(protocol, "HTTP" | "HTTPS"),
            Self::Tls => protocol == "TLS",
        }
    }
}

/// A Gateway that a route attaches to, possibly through a ListenerSet.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// The Gateway.
    pub gateway: &'a Gateway,
    /// The ListenerSet that the route names.
    pub set: Option<&'a ListenerSet>,
}

/// Labels of a namespace would decide, and are not known.
#[derive(Debug, PartialEq, Eq)]
pub struct NamespaceUnknown;

/// The names that the listeners of a parent have in common with the route, and what is reached there.
///
/// # Errors
/// [`NamespaceUnknown`].
pub fn names(
    found: &Attached<'_>,
    route: &Route,
    parent: &ParentRef,
    kind: RouteKind,
    hosts: Option<&[Name]>,
    parents: &impl Parents,
) -> Result<Vec<(Name, Reached)>, NamespaceUnknown> {
    let (own, listeners) = match found.set {
        Some(set) => {
            let allowed = found.gateway.spec.allowed_listeners.as_ref();
            let namespace = &found.gateway.metadata.namespace;
            if !is_allowed(allowed, "None", namespace, &set.metadata.namespace, parents)? {
                return Ok(Vec::new());
            }
            (&set.metadata.namespace, &set.spec.listeners)
        }
        None => (&found.gateway.metadata.namespace, &found.gateway.spec.listeners),
    };
    let mut all = Vec::new();
    for listener in listeners.iter().filter(|listener| is_meant(listener, parent)) {
        let allowed = listener.allowed_routes.as_ref();
        let takes_kind = takes(kind, listener);
        if !takes_kind || !is_allowed(allowed, "Same", own, &route.metadata.namespace, parents)? {
            continue;
        }
        // A listener whose own host is no name takes no route; its controller says so in the Gateway's status.
        let Ok(host) = listener_host(&listener.hostname) else {
            continue;
        };
        let reached = reached(listener);
        match hosts {
            None => all.extend(host.map(|host| (host, reached))),
            Some(hosts) => {
                let common = hosts.iter().filter_map(|name| intersection(host.as_ref(), Some(name)));
                all.extend(common.map(|name| (name, reached)));
            }
        }
    }
    Ok(all)
}

/// Whether a reference means this listener.
fn is_meant(listener: &Listener, parent: &ParentRef) -> bool {
    parent.section_name.as_ref().is_none_or(|section| *section == listener.name)
        && parent.port.is_none_or(|port| port == listener.port)
}

/// Whether a listener takes this kind of route.
fn takes(kind: RouteKind, listener: &Listener) -> bool {
    let kinds: &[AllowedKind] = listener.allowed_routes.as_ref().map_or(&[], |allowed| &allowed.kinds);
    if kinds.is_empty() {
        return kind.suits(&listener.protocol);
    }
    kinds.iter().any(|one| *one.kind == *kind.name() && one.group.as_deref().unwrap_or(GROUP) == GROUP)
}

/// Whether objects of the namespace `from` may attach to one in `own`.
fn is_allowed(
    allowed: Option<&Allowed>,
    default: &str,
    own: &str,
    from: &str,
    parents: &impl Parents,
) -> Result<bool, NamespaceUnknown> {
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    Ok(match namespaces.and_then(|namespaces| namespaces.from.as_deref()).unwrap_or(default) {
        "All" => true,
        "Same" => own == from,
        "Selector" => {
            let labels = parents.namespace(from).ok_or(NamespaceUnknown)?;
            namespaces
                .and_then(|namespaces| namespaces.selector.as_ref())
                .is_some_and(|one| one.matches(|key| labels.get(key)))
        }
        _ => false,
    })
}

/// What is reached at a listener.
fn reached(listener: &Listener) -> Reached {
    let port = (listener.port > 0).then_some(listener.port);
    match &*listener.protocol {
        "HTTPS" => Reached::Https(port),
        "TLS" => Reached::Tls(port),
        _ => Reached::Http(port),
    }
}

/// The hosts that both mean: the narrower of the two, if it lies within the other. `None` means all hosts. A wildcard is for any number
/// of labels here.
pub fn intersection(a: Option<&Name>, b: Option<&Name>) -> Option<Name> {
    let within = |narrow: &Name, wide: &Name| {
        narrow == wide
            || (wide.is_wildcard() && {
                let base = wide.parent();
                // `*.a.x` lies within `*.x`, and `x` itself does not.
                let inner = if narrow.is_wildcard() { narrow.parent() } else { Some(narrow.clone()) };
                matches!((inner, base), (Some(inner), Some(base)) if inner.is_below(&base))
            })
    };
    match (a, b) {
        (Some(a), Some(b)) if within(a, b) => Some(a.clone()),
        (Some(a), Some(b)) => within(b, a).then(|| b.clone()),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}
