//! What sources find: objects, and the names that each of them wants published. Values only.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::discovered::DiscoveredRrset;
use crate::model::name::Name;

/// A kind of object that may publish names. What a source lists or watches is one kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// An HTTP router of a Traefik instance.
    Router,
    /// A TCP router of a Traefik instance.
    TcpRouter,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `traefik.io/v1alpha1` IngressRoute.
    IngressRoute,
    /// `traefik.io/v1alpha1` IngressRouteTCP.
    IngressRouteTcp,
    /// `traefik.containo.us/v1alpha1` IngressRoute; of its own, since both groups may hold an object of the same name.
    LegacyIngressRoute,
    /// `traefik.containo.us/v1alpha1` IngressRouteTCP.
    LegacyIngressRouteTcp,
    /// Gateway API HTTPRoute.
    HttpRoute,
    /// Gateway API GRPCRoute.
    GrpcRoute,
    /// Gateway API TLSRoute.
    TlsRoute,
    /// Core Service.
    Service,
    /// `externaldns.k8s.io/v1alpha1` DNSEndpoint.
    DnsEndpoint,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Router,
        Self::TcpRouter,
        Self::Ingress,
        Self::IngressRoute,
        Self::IngressRouteTcp,
        Self::LegacyIngressRoute,
        Self::LegacyIngressRouteTcp,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::Service,
        Self::DnsEndpoint,
    ];

    /// Its name in logs, metrics and `hale sources`: one word in lower case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::TcpRouter => "tcprouter",
            Self::Ingress => "ingress",
            Self::IngressRoute => "ingressroute",
            Self::IngressRouteTcp => "ingressroutetcp",
            Self::LegacyIngressRoute => "legacyingressroute",
            Self::LegacyIngressRouteTcp => "legacyingressroutetcp",
            Self::HttpRoute => "httproute",
            Self::GrpcRoute => "grpcroute",
            Self::TlsRoute => "tlsroute",
            Self::Service => "service",
            Self::DnsEndpoint => "dnsendpoint",
        }
    }

    /// Whether its objects are routers of Traefik, whose namespace is their provider.
    pub fn is_router(self) -> bool {
        matches!(self, Self::Router | Self::TcpRouter)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Which object of a source: it stays the same as long as the object lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace in the cluster; for a router the provider (what stands after `@`).
    pub namespace: Box<str>,
    /// Its name there; for a router what stands before `@`.
    pub name: Box<str>,
}

/// `ingress/shop/web`, or `router/web@docker`.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        if kind.is_router() {
            write!(f, "{kind}/{name}@{namespace}")
        } else {
            write!(f, "{kind}/{namespace}/{name}")
        }
    }
}

/// What patterns over routers are matched against: `name@provider`; and for a router that Traefik has copied for one of several entry points
/// (`websecure-app@docker`) also the name that its people gave it (`app@docker`).
pub(super) fn router_names<'a>(
    name: &'a str,
    entry_points: &'a [Box<str>],
) -> impl Iterator<Item = &'a str> + use<'a> {
    let copies = entry_points
        .iter()
        .filter_map(move |entry_point| name.strip_prefix(&**entry_point)?.strip_prefix('-'));
    std::iter::once(name).chain(copies.filter(|name| !name.starts_with('@')))
}

/// One object's wish to publish one name. An object has at most one claim for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name, absolute and in lower case; its first label may be `*`.
    pub name: Name,
    /// Where it leads.
    pub targets: Targets,
    /// RRsets that are published as they are, without checks: only of a DNSEndpoint.
    pub rrsets: Vec<DiscoveredRrset>,
    /// TTL in seconds, if the object gives one above 0.
    pub ttl: Option<u32>,
    /// What is reached under the name, for the default check.
    pub route: Route,
    /// Names of the entry points that a router or an IngressRoute of Traefik listens on, in the order given; empty elsewhere.
    pub entry_points: Vec<Box<str>>,
    /// Names of the middlewares of a Traefik router (`auth@docker`); empty elsewhere.
    pub middlewares: Vec<Box<str>>,
    /// What annotations under `hale.dev/` say.
    pub wishes: Wishes,
    /// When the object was made, in milliseconds since 1970, where the source tells: the oldest claim's word counts.
    pub created: Option<u64>,
}

impl Claim {
    /// A claim with nothing but a name, its targets and what is reached there.
    pub fn new(name: Name, targets: Targets, route: Route) -> Self {
        Self {
            name,
            targets,
            rrsets: Vec::new(),
            ttl: None,
            route,
            entry_points: Vec::new(),
            middlewares: Vec::new(),
            wishes: Wishes::default(),
            created: None,
        }
    }
}

/// Where a claimed name leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// The object or what it refers to says so. Never empty, unless the claim has RRsets.
    Known(Vec<HostTarget>),
    /// The object has none of its own by its nature (a Traefik router): the source's rules and `default_targets` say.
    Default,
    /// They are not known just now (an empty `status.loadBalancer`, a missing Gateway), for this reason: the last known ones stand.
    Unknown(Box<str>),
}

/// An address, or the name of a host that has addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostTarget {
    /// A and AAAA records.
    Address(IpAddr),
    /// A CNAME, or an ALIAS where that cannot stand.
    Host(Name),
}

/// What is reached under a name: decides about the default check (interface.md, "Discovered names").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// HTTP without TLS; port 80, or that of the entry point by the source's `ports`, unless given here.
    Http(Option<u16>),
    /// HTTP over TLS; port 443 likewise.
    Https(Option<u16>),
    /// TLS with the name as SNI; port 443 likewise.
    Tls(Option<u16>),
    /// Any protocol over TCP, on this port.
    Tcp(u16),
    /// Nothing that can be checked by what is known: a DNSEndpoint, a Service with UDP alone.
    Unchecked,
}

/// What annotations under `hale.dev/` ask for, as written; they are judged where claims are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// `hale.dev/check`: one of the `checks` of `hale.json`, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<str>>,
    /// `hale.dev/policy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Box<str>>,
    /// `hale.dev/weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Box<str>>,
}

impl fmt::Display for HostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Host(name) => name.fmt(f),
        }
    }
}

/// As text: an address, or an absolute name.
impl Serialize for HostTarget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostTarget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if let Ok(ip) = text.parse() {
            return Ok(Self::Address(ip));
        }
        Name::parse_absolute(&text).map(Self::Host).map_err(serde::de::Error::custom)
    }
}
