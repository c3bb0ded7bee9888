//! The keys `sources` and `conflict` of `hale.json`.

use super::check_for::CheckFor;
use super::cluster_values::{
    AnnotationPrefix, AnnotationSelector, ClassName, LabelSelector, NamespaceName, ServiceName,
};
use super::json::{
    AbsoluteName, At, Boolean, Duration, Element, FilePath, Int, List, Map, OneOrMany, Port, Reader, Slot,
    Text, Ttl, show_ms,
};
use super::live::LiveSecret;
use super::pattern::Pattern;
use super::server::MAX_TIME_MS;
use super::source_types::{
    Allow, KubernetesConfig, KubernetesResource, RemoveBrake, SourceConfig, SourceKind, SourceMode,
    SourceRule, SourceTarget, SyncMode, TraefikConfig, Visibility,
};
use super::source_values::{HttpUrl, SourceName};
use super::zone_file::Checks;
use super::zone_file::check::CheckRef;
use crate::model::diagnostic::Position;

/// How often a source is polled unless given.
const POLL_MS: u64 = 15_000;
/// How long a source may fail before it is called stale unless given.
const STALE_AFTER_MS: u64 = 300_000;
/// How long one request may take unless given.
const TIMEOUT_MS: u64 = 10_000;

object! {
    /// Where names are discovered.
    pub(crate) struct SourceKeys {
        /// A name of your own for logs, metrics and commands; also that of the source's pool with "conflict": "merge".
        "name" (required) name: SourceName,
        /// A Traefik instance, by its API.
        "traefik" traefik: TraefikKeys,
        /// A Kubernetes cluster.
        "kubernetes" kubernetes: KubernetesKeys,
        /// Only names at or below these are published; all that lie in a zone of this server unless given.
        "zones" zones: OneOrMany<AbsoluteName>,
        /// Addresses, or the name of a host, of what has no target of its own: each Traefik router, and IngressRoutes without a Service.
        "default_targets" default_targets: OneOrMany<SourceTarget>,
        /// Names that are not published: exact, with * and ?, or a regular expression after ~.
        "exclude_names" exclude_names: List<Pattern>,
        /// Traefik routers that publish nothing, as name@provider: exact, with * and ?, or a regular expression after ~.
        "exclude_routers" exclude_routers: List<Pattern>,
        /// Leaves routers out whose name says otherwise: with "internal" those that end in -external, with "external" those in -internal.
        "visibility" visibility: Visibility,
        /// How often Traefik is asked; 15s unless given.
        "poll" poll: Duration<1000, MAX_TIME_MS>,
        /// How long a name must be gone before it is removed; two polls for Traefik, 0s for Kubernetes unless given.
        "remove_after" remove_after: Duration<0, MAX_TIME_MS>,
        /// How long the source may fail before it is called stale, which is an event; 5m unless given.
        "stale_after" stale_after: Duration<1000, MAX_TIME_MS>,
        /// Holds removals when too many names would go together.
        "brake" brake: RemoveBrakeKeys,
        /// The first one that matches gives an object's names other targets, or another check.
        "rules" rules: List<RuleKeys>,
        /// Replaces the default check of discovered addresses: the name of one of the "checks", an object, or "none".
        "check" check: CheckRef,
        /// Ports of Traefik's entry points, for the default check: { "websecure": 8443 }.
        "ports" ports: Map<Port>,
        /// TTL of discovered records; as the zone's own unless given.
        "ttl" ttl: Ttl,
        /// sync, add-only (nothing is ever removed), or observe (nothing is published; see hale plan); sync unless given.
        "mode" mode: SourceMode,
        /// Which namespaces may publish which names; any namespace any name unless given. For Traefik a provider is the namespace.
        "allow" allow: List<AllowKeys>,
        /// continuous, manual (only on hale resync), or { "cron": "*/5 * * * *" }; continuous unless given.
        "sync" sync: SyncMode,
        /// Whether names may be published at the apex of a zone; false unless given.
        "apex" apex: Boolean,
    }
    later: []
}

object! {
    /// A Traefik instance, by its API.
    pub(crate) struct TraefikKeys {
        /// Where its API is, with its base path if it has one: http://traefik:8080.
        "url" (required) url: HttpUrl,
        /// User of basic authentication.
        "username" username: Text,
        /// Password of basic authentication.
        "password" password: LiveSecret,
        /// Bearer token.
        "token" token: LiveSecret,
        /// How its certificate is verified.
        "tls" tls: SourceTlsKeys,
        /// How long one request may take; 10s unless given.
        "timeout" timeout: Duration<100, MAX_TIME_MS>,
        /// Only routers that match, as name@provider; all unless given.
        "routers" routers: List<Pattern>,
        /// Only routers of these providers; all but internal unless given.
        "providers" providers: List<Pattern>,
        /// Only routers with one of these entry points; all unless given.
        "entrypoints" entrypoints: List<Pattern>,
        /// Only routers with one of these middlewares; all unless given.
        "middlewares" middlewares: List<Pattern>,
        /// No routers of these providers.
        "exclude_providers" exclude_providers: List<Pattern>,
        /// No routers with one of these entry points.
        "exclude_entrypoints" exclude_entrypoints: List<Pattern>,
        /// No routers with one of these middlewares.
        "exclude_middlewares" exclude_middlewares: List<Pattern>,
    }
    later: []
}

object! {
    /// How a source's certificate is verified.
    pub(crate) struct SourceTlsKeys {
        /// Roots to verify against instead of the system's, in PEM.
        "ca_file" ca_file: FilePath,
        /// Whether the certificate is verified; true unless given.
        "verify" verify: Boolean,
        /// The name that the certificate must have; the host of the URL unless given.
        "server_name" server_name: Text,
    }
    later: []
}

object! {
    /// A Kubernetes cluster.
    pub(crate) struct KubernetesKeys {
        /// File with clusters, users and contexts; $KUBECONFIG or ~/.kube/config are not read.
        "kubeconfig" kubeconfig: FilePath,
        /// Context of the kubeconfig; its current one unless given.
        "context" context: Text,
        /// Use the service account of the pod that Hale runs in.
        "in_cluster" in_cluster: Boolean,
        /// Only objects of these namespaces, each watched on its own, so that a Role suffices; all unless given.
        "namespaces" namespaces: List<NamespaceName>,
        /// Kinds of objects; all that are installed unless given.
        "resources" resources: OneOrMany<KubernetesResource>,
        /// Only Ingresses of these classes; all unless given.
        "ingress_classes" ingress_classes: List<ClassName>,
        /// Only routes of Gateways of these classes; all unless given.
        "gateway_classes" gateway_classes: List<ClassName>,
        /// Only objects with these labels, as kubectl's --selector takes them.
        "labels" labels: LabelSelector,
        /// Only objects with these annotations, in the same form.
        "annotations" annotations: AnnotationSelector,
        /// Further prefixes of external-dns's annotations, such as dns.example.com/; external-dns's own two always count.
        "annotation_prefixes" annotation_prefixes: List<AnnotationPrefix>,
        /// The Service in front of Traefik as namespace/name: its load balancer is the target of IngressRoutes.
        "traefik_service" traefik_service: ServiceName,
        /// Publish each Service as name.namespace.zone, one of the source's "zones"; false unless given.
        "service_names" service_names: Boolean,
        /// Publish the hosts under spec.tls of Ingresses too, as external-dns does; false unless given.
        "ingress_tls_hosts" ingress_tls_hosts: Boolean,
    }
    later: []
}

object! {
    /// When more than this share of a source's names would go within a minute, most likely the source is wrong, not the world.
    pub(crate) struct RemoveBrakeKeys {
        /// Percentage of names that may go within 60 s; 50 unless given, 100 turns the brake off but for a source that loses all names.
        "remove_percent" remove_percent: Int<1, 100>,
        /// The brake acts from so many removals on; 10 unless given.
        "min_names" min_names: Int<1, 1_000_000_000>,
        /// Removals that have been held unchanged for so long are carried out; 10m unless given.
        "release_after" release_after: Duration<1000, MAX_TIME_MS>,
    }
    later: []
}

object! {
    /// Other targets, or another check, for the objects that match.
    pub(crate) struct RuleKeys {
        /// What must match; every key given must.
        "match" (required) matching: MatchKeys,
        /// The targets instead of the object's own and the default ones.
        "targets" targets: OneOrMany<SourceTarget>,
        /// The check instead of the source's and the default one.
        "check" check: CheckRef,
    }
    later: []
}

object! {
    /// What of an object must match; each key takes patterns with * and ?, or a regular expression after ~.
    pub(crate) struct MatchKeys {
        /// The name that is published.
        "name" name: OneOrMany<Pattern>,
        /// An entry point of a Traefik router.
        "entrypoint" entrypoint: OneOrMany<Pattern>,
        /// A middleware of a Traefik router.
        "middleware" middleware: OneOrMany<Pattern>,
        /// A Traefik router, as name@provider.
        "router" router: OneOrMany<Pattern>,
        /// The namespace, or the provider of a Traefik router.
        "namespace" namespace: OneOrMany<Pattern>,
        /// The kind of object: router, ingress, httproute, …
        "kind" kind: OneOrMany<Pattern>,
    }
    later: []
}

object! {
    /// Namespaces, and the names that they may publish.
    pub(crate) struct AllowKeys {
        /// Namespaces, or providers of Traefik: exact, with * and ?, or a regular expression after ~.
        "namespaces" (required) namespaces: OneOrMany<Pattern>,
        /// Names, likewise; * stands for any number of labels.
        "names" (required) names: OneOrMany<Pattern>,
    }
    later: []
}

/// The sources of a configuration, in order, with what is wrong between them reported. `checks` are those of the file.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    list: Vec<Element<SourceKeys>>,
    checks: &Checks,
) -> Vec<SourceConfig> {
    let mut sources: Vec<SourceConfig> = Vec::with_capacity(list.len());
    for Element { value: mut keys, position, index } in list {
        let path = format!("sources[{index}]");
        let Some(name) = keys.name.take() else { continue };
        if sources.iter().any(|source| *source.name == *name.value.0) {
            let message = format!("there are two sources named {:?}", name.value.0);
            reader.error_at(format!("{path}.name"), name.position, message, "give each a name of its own");
        }
        let mut scope = SourceReader { reader, checks, path, position };
        if let Some(source) = scope.source(keys, name.value.0) {
            sources.push(source);
        }
    }
    sources
}

/// Reads one source out of its keys.
struct SourceReader<'r, 't> {
    reader: &'r mut Reader<'t>,
    checks: &'r Checks,
    path: String,
    position: Position,
}

impl SourceReader<'_, '_> {
    fn source(&mut self, mut keys: SourceKeys, name: String) -> Option<SourceConfig> {
        let kind = self.kind(&mut keys)?;
        let is_traefik = matches!(kind, SourceKind::Traefik(_));
        let poll_ms = keys.poll.get().map_or(POLL_MS, |given| given.value.0);
        if let (Some(at), false) = (keys.poll.key_position(), is_traefik) {
            let hint = "Kubernetes is watched: leave it out";
            self.error("poll", at, "\"poll\" has no effect on a Kubernetes source", hint);
        }
        let remove_after_ms = match keys.remove_after.get() {
            Some(given) => given.value.0,
            None if is_traefik => 2 * poll_ms,
            None => 0,
        };
        if is_traefik && let Some(given) = keys.remove_after.get().filter(|given| given.value.0 < poll_ms) {
            let (after, poll) = (show_ms(given.value.0), show_ms(poll_ms));
            let message = format!("\"remove_after\" {after} is shorter than \"poll\" {poll}");
            let hint =
                "a router that is missing from one poll may only be restarting: give at least one poll";
            self.error("remove_after", given.position, message, hint);
        }
        let check = match keys.check.take() {
            Some(check) => self.check(&check, "check"),
            None => None,
        };
        let rules = patterns(&mut keys.rules).into_iter();
        let rules = rules.map(|(rule, index)| self.rule(rule, index)).collect();
        let allow = keys.allow.take().map(|list| {
            let entries = list.value.0.into_iter();
            entries.map(|element| allow(element.value)).collect::<Vec<_>>()
        });
        Some(SourceConfig {
            name: name.into(),
            kind,
            zones: keys.zones.take().map_or_else(Vec::new, |list| {
                list.value.0.into_iter().map(|element| element.value.0).collect()
            }),
            default_targets: one_or_many(&mut keys.default_targets),
            exclude_names: list(&mut keys.exclude_names),
            exclude_routers: list(&mut keys.exclude_routers),
            visibility: keys.visibility.take().map(|given| given.value),
            poll_ms,
            remove_after_ms,
            stale_after_ms: keys.stale_after.take().map_or(STALE_AFTER_MS, |given| given.value.0),
            brake: brake(keys.brake.take().map(|given| given.value).unwrap_or_default()),
            rules,
            check,
            ports: keys.ports.take().map_or_else(Vec::new, |map| {
                let ports = map.value.0.into_iter();
                ports.filter_map(|(name, port)| Some((name.into(), port.value?.0))).collect()
            }),
            ttl: keys.ttl.take().map(|given| given.value.0),
            mode: keys.mode.take().map_or(SourceMode::Sync, |given| given.value),
            allow,
            sync: keys.sync.take().map_or(SyncMode::Continuous, |given| given.value),
            apex: keys.apex.take().is_some_and(|given| given.value.0),
        })
    }

    fn error(&mut self, key: &str, at: Position, message: impl Into<String>, hint: &str) {
        self.reader.error_at(format!("{}.{key}", self.path), at, message.into(), hint);
    }

    fn kind(&mut self, keys: &mut SourceKeys) -> Option<SourceKind> {
        let (path, at) = (self.path.clone(), self.position);
        match (keys.traefik.is_absent(), keys.kubernetes.is_absent()) {
            (false, true) => Some(SourceKind::Traefik(Box::new(self.traefik(keys.traefik.take()?.value)))),
            (true, false) => {
                Some(SourceKind::Kubernetes(Box::new(self.kubernetes(keys.kubernetes.take()?.value))))
            }
            (true, true) => {
                let hint = "add \"traefik\": { \"url\": \"…\" } or \"kubernetes\": { … }";
                self.reader.error_at(path, at, "the source says neither where nor what it is", hint);
                None
            }
            (false, false) => {
                let hint = "make two sources of it";
                self.reader.error_at(path, at, "a source is either \"traefik\" or \"kubernetes\"", hint);
                None
            }
        }
    }

    fn traefik(&mut self, mut keys: TraefikKeys) -> TraefikConfig {
        let mut tls = keys.tls.take().map(|given| given.value).unwrap_or_default();
        if let (Some(at), false) = (keys.token.key_position(), keys.username.is_absent()) {
            let hint = "keep \"token\", or \"username\" with \"password\"";
            self.error("traefik.token", at, "\"token\" and \"username\" exclude each other", hint);
        }
        if let (Some(at), true) = (keys.password.key_position(), keys.username.is_absent()) {
            self.error("traefik.password", at, "\"password\" needs \"username\"", "add \"username\"");
        }
        TraefikConfig {
            url: keys.url.take().map_or_else(Box::default, |url| url.value.0.into()),
            username: keys.username.take().map(|given| given.value.0.into()),
            password: keys.password.take().map(|given| given.value),
            token: keys.token.take().map(|given| given.value),
            ca_file: tls.ca_file.take().map(|given| given.value.0),
            verify: tls.verify.take().is_none_or(|given| given.value.0),
            server_name: tls.server_name.take().map(|given| given.value.0.into()),
            timeout_ms: keys.timeout.take().map_or(TIMEOUT_MS, |given| given.value.0),
            routers: list(&mut keys.routers),
            providers: list(&mut keys.providers),
            entry_points: list(&mut keys.entrypoints),
            middlewares: list(&mut keys.middlewares),
            exclude_providers: list(&mut keys.exclude_providers),
            exclude_entry_points: list(&mut keys.exclude_entrypoints),
            exclude_middlewares: list(&mut keys.exclude_middlewares),
        }
    }

    fn kubernetes(&mut self, mut keys: KubernetesKeys) -> KubernetesConfig {
        let in_cluster = keys.in_cluster.take().is_some_and(|given| given.value.0);
        if let (Some(at), true) = (keys.kubeconfig.key_position(), in_cluster) {
            let message = "\"kubeconfig\" and \"in_cluster\" exclude each other";
            self.error("kubernetes.kubeconfig", at, message, "keep one of them");
        }
        if keys.kubeconfig.is_absent() && !in_cluster {
            let (path, at) = (format!("{}.kubernetes", self.path), self.position);
            let hint = "add \"kubeconfig\": \"…\", or \"in_cluster\": true where Hale runs in the cluster";
            self.reader.error_at(path, at, "there is no way into the cluster", hint);
        }
        if let (Some(at), true) = (keys.context.key_position(), keys.kubeconfig.is_absent()) {
            self.error("kubernetes.context", at, "\"context\" needs \"kubeconfig\"", "add \"kubeconfig\"");
        }
        KubernetesConfig {
            kubeconfig: keys.kubeconfig.take().map(|given| given.value.0),
            context: keys.context.take().map(|given| given.value.0.into()),
            in_cluster,
            namespaces: list(&mut keys.namespaces).into_iter().map(|name| name.0).collect(),
            resources: keys
                .resources
                .take()
                .map(|list| list.value.0.into_iter().map(|element| element.value).collect()),
            ingress_classes: list(&mut keys.ingress_classes).into_iter().map(|name| name.0).collect(),
            gateway_classes: list(&mut keys.gateway_classes).into_iter().map(|name| name.0).collect(),
            labels: keys.labels.take().map(|given| given.value.0).unwrap_or_default(),
            annotations: keys.annotations.take().map(|given| given.value.0).unwrap_or_default(),
            annotation_prefixes: list(&mut keys.annotation_prefixes)
                .into_iter()
                .map(|prefix| prefix.0)
                .collect(),
            traefik_service: keys.traefik_service.take().map(|given| (given.value.0, given.value.1)),
            service_names: keys.service_names.take().is_some_and(|given| given.value.0),
            ingress_tls_hosts: keys.ingress_tls_hosts.take().is_some_and(|given| given.value.0),
        }
    }

    fn rule(&mut self, mut keys: RuleKeys, index: usize) -> SourceRule {
        let check = match keys.check.take() {
            Some(check) => self.check(&check, &format!("rules[{index}].check")),
            None => None,
        };
        let mut matching = keys.matching.take().map(|given| given.value).unwrap_or_default();
        SourceRule {
            name: one_or_many(&mut matching.name),
            entry_point: one_or_many(&mut matching.entrypoint),
            middleware: one_or_many(&mut matching.middleware),
            router: one_or_many(&mut matching.router),
            namespace: one_or_many(&mut matching.namespace),
            kind: one_or_many(&mut matching.kind),
            targets: one_or_many(&mut keys.targets),
            check,
        }
    }

    fn check(&mut self, check: &At<CheckRef>, key: &str) -> Option<CheckFor> {
        let path = format!("{}.{key}", self.path);
        CheckFor::resolve(self.reader, self.checks, check, path)
    }
}

fn allow(mut keys: AllowKeys) -> Allow {
    Allow { namespaces: one_or_many(&mut keys.namespaces), names: one_or_many(&mut keys.names) }
}

fn brake(mut keys: RemoveBrakeKeys) -> RemoveBrake {
    let default = RemoveBrake::default();
    // Each number is within the limits of its key's type, which fit the fields.
    RemoveBrake {
        remove_percent: keys
            .remove_percent
            .take()
            .map_or(default.remove_percent, |given| given.value.0 as u8),
        min_names: keys.min_names.take().map_or(default.min_names, |given| given.value.0 as usize),
        release_after_ms: keys.release_after.take().map_or(default.release_after_ms, |given| given.value.0),
    }
}

fn list<T>(slot: &mut Slot<List<T>>) -> Vec<T> {
    slot.take().map_or_else(Vec::new, |list| list.value.0.into_iter().map(|element| element.value).collect())
}

/// The values of a list with their places in it.
fn patterns<T>(slot: &mut Slot<List<T>>) -> Vec<(T, usize)> {
    let elements = slot.take().map_or_else(Vec::new, |list| list.value.0);
    elements.into_iter().map(|element| (element.value, element.index)).collect()
}

fn one_or_many<T>(slot: &mut Slot<OneOrMany<T>>) -> Vec<T> {
    slot.take().map_or_else(Vec::new, |list| list.value.0.into_iter().map(|element| element.value).collect())
}
