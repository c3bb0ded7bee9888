//! Sources as the rest of the server is given them: every default filled in, every reference resolved.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::check_for::CheckFor;
use super::cron::Cron;
use super::live::LiveSecret;
use super::pattern::Pattern;
use super::selector::Selector;
use crate::model::name::Name;

/// One of `sources`.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Its name, different from those of all others.
    pub name: Arc<str>,
    /// Where names come from.
    pub kind: SourceKind,
    /// Only names at or below these; all if there are none.
    pub zones: Vec<Name>,
    /// Targets of what has none of its own.
    pub default_targets: Vec<SourceTarget>,
    /// Names that are not published, without the dot at their end.
    pub exclude_names: Vec<Pattern>,
    /// Traefik routers that publish nothing, as `name@provider`.
    pub exclude_routers: Vec<Pattern>,
    /// Which half of routers is published that say so in their name.
    pub visibility: Option<Visibility>,
    /// Milliseconds between polls, for Traefik.
    pub poll_ms: u64,
    /// Milliseconds for which a name must be gone before it is removed.
    pub remove_after_ms: u64,
    /// Milliseconds of failing after which it is called stale.
    pub stale_after_ms: u64,
    /// When removals are held.
    pub brake: RemoveBrake,
    /// Other targets and checks; the first that matches counts.
    pub rules: Vec<SourceRule>,
    /// Replaces the default check.
    pub check: Option<CheckFor>,
    /// Ports of entry points.
    pub ports: Vec<(Box<str>, u16)>,
    /// TTL in seconds of names whose object gives none; `None` for the zone's.
    pub ttl: Option<u32>,
    /// What is done with what is found.
    pub mode: SourceMode,
    /// Which namespaces may publish which names; `None` for any namespace any name.
    pub allow: Option<Vec<Allow>>,
    /// When the source is asked.
    pub sync: SyncMode,
    /// Whether names may be published at a zone's apex.
    pub apex: bool,
}

impl SourceConfig {
    /// Whether both say the same. Checks are compared by what they come to.
    pub fn is_same(&self, other: &Self) -> bool {
        // The text has all but secrets, which stand in `kind` alone.
        self.kind == other.kind && format!("{self:?}") == format!("{other:?}")
    }
}

/// Where names come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A Traefik instance, polled.
    Traefik(Box<TraefikConfig>),
    /// A Kubernetes cluster, watched.
    Kubernetes(Box<KubernetesConfig>),
}

impl SourceKind {
    /// The key that names it in `hale.json`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Traefik(_) => "traefik",
            Self::Kubernetes(_) => "kubernetes",
        }
    }
}

/// The `traefik` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraefikConfig {
    /// `http://` or `https://`, host, optional port and base path, without a slash at its end.
    pub url: Box<str>,
    /// User of basic authentication.
    pub username: Option<Box<str>>,
    /// Password of basic authentication.
    pub password: Option<LiveSecret>,
    /// Bearer token; excludes `username`.
    pub token: Option<LiveSecret>,
    /// Roots to verify against instead of the system's, in PEM; read again when it changes.
    pub ca_file: Option<PathBuf>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// The name that the certificate must have; the URL's host unless given.
    pub server_name: Option<Box<str>>,
    /// Milliseconds that one request may take.
    pub timeout_ms: u64,
    /// Only routers that match, as `name@provider`; all if empty.
    pub routers: Vec<Pattern>,
    /// Only routers of these providers; all if empty.
    pub providers: Vec<Pattern>,
    /// Only routers with one of these entry points; all if empty.
    pub entry_points: Vec<Pattern>,
    /// Only routers with one of these middlewares; all if empty.
    pub middlewares: Vec<Pattern>,
    /// No routers of these providers.
    pub exclude_providers: Vec<Pattern>,
    /// No routers with one of these entry points.
    pub exclude_entry_points: Vec<Pattern>,
    /// No routers with one of these middlewares.
    pub exclude_middlewares: Vec<Pattern>,
}

/// The `kubernetes` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// The kubeconfig; read again when it changes. `None` with `in_cluster`.
    pub kubeconfig: Option<PathBuf>,
    /// Its context; the current one unless given.
    pub context: Option<Box<str>>,
    /// The service account of the pod is used.
    pub in_cluster: bool,
    /// Only these namespaces, each watched on its own; all if empty.
    pub namespaces: Vec<Box<str>>,
    /// Kinds of objects; `None` for all that are installed.
    pub resources: Option<Vec<KubernetesResource>>,
    /// Only Ingresses of these classes; all if empty.
    pub ingress_classes: Vec<Box<str>>,
    /// Only routes of Gateways of these classes; all if empty.
    pub gateway_classes: Vec<Box<str>>,
    /// Label selector; empty for all.
    pub labels: Box<str>,
    /// The same over annotations.
    pub annotations: Selector,
    /// Further prefixes of external-dns's annotations.
    pub annotation_prefixes: Vec<Box<str>>,
    /// Namespace and name of the Service in front of Traefik.
    pub traefik_service: Option<(Box<str>, Box<str>)>,
    /// Whether Services are published as `name.namespace.zone`.
    pub service_names: bool,
    /// Whether hosts under `spec.tls` of Ingresses are published.
    pub ingress_tls_hosts: bool,
}

/// A kind of object in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KubernetesResource {
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// Traefik's IngressRoute, of both groups.
    IngressRoute,
    /// Traefik's IngressRouteTCP, of both groups.
    IngressRouteTcp,
    /// Gateway API HTTPRoute.
    HttpRoute,
    /// Gateway API GRPCRoute.
    GrpcRoute,
    /// Gateway API TLSRoute.
    TlsRoute,
    /// Core Service.
    Service,
    /// external-dns's DNSEndpoint.
    DnsEndpoint,
}

/// An address, or the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceTarget {
    /// A and AAAA records.
    Address(IpAddr),
    /// A CNAME, or an ALIAS where that cannot stand.
    Host(Name),
}

/// Which half of routers is published that say so in their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Not those whose name ends in `-external`.
    Internal,
    /// Not those whose name ends in `-internal`.
    External,
}

/// When removals are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveBrake {
    /// Percentage of names that may go within 60 s; with 100 only a source that loses all of them is held.
    pub remove_percent: u8,
    /// It acts from so many removals on.
    pub min_names: usize,
    /// Milliseconds after which removals that stay the same are carried out.
    pub release_after_ms: u64,
}

impl Default for RemoveBrake {
    fn default() -> Self {
        Self { remove_percent: 50, min_names: 10, release_after_ms: 600_000 }
    }
}

/// One of `rules`. A list of patterns that is empty matches anything, one that is not matches if one of them does.
#[derive(Clone, Debug)]
pub struct SourceRule {
    /// The name that is published, without the dot at its end.
    pub name: Vec<Pattern>,
    /// One of the entry points.
    pub entry_point: Vec<Pattern>,
    /// One of the middlewares.
    pub middleware: Vec<Pattern>,
    /// `name@provider` of a router.
    pub router: Vec<Pattern>,
    /// Namespace or provider.
    pub namespace: Vec<Pattern>,
    /// Kind of object.
    pub kind: Vec<Pattern>,
    /// Targets instead of any others; none if empty.
    pub targets: Vec<SourceTarget>,
    /// The check instead of any other.
    pub check: Option<CheckFor>,
}

/// What is done with what a source finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceMode {
    /// It is published, and removed when it goes.
    Sync,
    /// It is published; nothing is removed.
    AddOnly,
    /// Nothing is published, only planned.
    Observe,
}

/// Namespaces, and the names that they may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// One of them matches the namespace.
    pub namespaces: Vec<Pattern>,
    /// One of them matches the name, without the dot at its end.
    pub names: Vec<Pattern>,
}

/// When a source is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// All the time: watched, or polled.
    Continuous,
    /// Only by `hale resync`.
    Manual,
    /// At these times, in UTC.
    Cron(Cron),
}

/// Which of several claims for one name counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    /// That of the first source in `hale.json`; within a source the oldest.
    #[default]
    Priority,
    /// All: each source becomes a pool named after it.
    Merge,
    /// The one that Hale saw first.
    Oldest,
    /// None, as long as there are several.
    Reject,
}
