//! Service: names from annotations (or from the Service itself), at its addresses from the outside.

use crate::discovery::claim::{Route, Targets};
use crate::discovery::source::{ProblemKind, Seen};
use crate::model::name::Name;

use super::draft::{Draft, known_or};
use super::ingress::annotated_names;
use super::objects::{EndpointSlice, Metadata, Node, Service};
use super::options::Options;

/// The annotation of k8s_gateway that asks for the pods themselves.
const RESOLVE_ENDPOINTS: &str = "k8s-gateway.dns/resolve-endpoints";

/// What a Service may refer to.
#[derive(Debug, Default)]
pub struct Around<'a> {
    /// The nodes of the cluster, or why they are not known.
    pub nodes: Option<Vec<&'a Node>>,
    /// Its EndpointSlices; `None` while they are not known.
    pub slices: Option<Vec<&'a EndpointSlice>>,
}

/// What a Service needs besides itself to become names: whether nodes, and whether its EndpointSlices.
pub fn needs(service: &Service, options: &Options) -> (bool, bool) {
    if !publishes(service, options) || options.annotation(&service.metadata, "target").is_some() {
        return (false, false);
    }
    let ports = is_node_port(service);
    let pods = wants_pods(service);
    let by_node = pods && options.annotation(&service.metadata, "endpoints-type").is_some();
    (ports || by_node, pods || (ports && is_local(service)))
}

/// What a Service publishes.
pub fn claims(service: &Service, options: &Options, around: &Around<'_>) -> Seen {
    let metadata = &service.metadata;
    let mut draft = Draft::default();
    if !publishes(service, options) {
        return draft.finish(options, metadata);
    }
    let mut names = annotated_names(&mut draft, options, metadata);
    let asked_for = !names.is_empty();
    names.extend(own_names(&mut draft, service, options));
    if !names.is_empty() {
        let targets = match draft.annotated_targets(options, metadata) {
            Some(targets) => Some(targets),
            None => outside(&mut draft, service, options, around),
        };
        match targets {
            Some(targets) => {
                let route = route(service, around);
                for name in names {
                    draft.claim(name, targets.clone(), route);
                }
            }
            None if asked_for => draft.problem(
                ProblemKind::Refused,
                "a Service of type ClusterIP has no address outside of the cluster: use internal-hostname or target",
            ),
            None => {}
        }
    }
    if let Some(list) = options.annotation(metadata, "internal-hostname") {
        inside(&mut draft, service, list);
    }
    draft.finish(options, metadata)
}

/// Whether it publishes any name: most Services of a cluster do not.
pub fn publishes(service: &Service, options: &Options) -> bool {
    let metadata = &service.metadata;
    options.admits(metadata)
        && (!options.service_zones.is_empty()
            || metadata.annotations.get("coredns.io/hostname").is_some()
            || options.annotation(metadata, "hostname").is_some()
            || options.annotation(metadata, "internal-hostname").is_some())
}

/// Where the load balancer of a Service leads, or those who route to the nodes.
pub(super) fn public_targets(draft: &mut Draft, service: &Service, empty: &str) -> Targets {
    let external = service.spec.external_ips.iter().map(|address| &**address);
    let external = draft.targets(external, "spec.externalIPs");
    if external.is_empty() {
        draft.load_balancer(&service.status.load_balancer, empty)
    } else {
        known_or(external, || Box::from(""))
    }
}

/// `name.namespace` in each zone where Services have names of their own.
fn own_names(draft: &mut Draft, service: &Service, options: &Options) -> Vec<Name> {
    let Metadata { name, namespace, .. } = &service.metadata;
    let mut names = Vec::new();
    for zone in &options.service_zones {
        names.extend(draft.name(&format!("{name}.{namespace}.{zone}"), "the Service's own name"));
    }
    names
}

/// Its addresses from the outside; `None` if it has none by its nature.
fn outside(draft: &mut Draft, service: &Service, options: &Options, around: &Around<'_>) -> Option<Targets> {
    let spec = &service.spec;
    if !spec.external_ips.is_empty() {
        return Some(public_targets(draft, service, "spec.externalIPs holds no address"));
    }
    if wants_pods(service) {
        return Some(pods(draft, service, options, around));
    }
    match &*spec.r#type {
        "LoadBalancer" => Some(public_targets(draft, service, "status.loadBalancer is empty")),
        "NodePort" => Some(nodes(draft, service, options, around)),
        "ExternalName" => {
            let target = draft.targets([&*spec.external_name], "spec.externalName");
            Some(known_or(target, || "spec.externalName is not a name".into()))
        }
        _ => None,
    }
}

/// Claims the names for use within the cluster, at its ClusterIPs.
fn inside(draft: &mut Draft, service: &Service, list: &str) {
    let spec = &service.spec;
    let all = if spec.cluster_ips.is_empty() {
        std::slice::from_ref(&spec.cluster_ip)
    } else {
        &spec.cluster_ips[..]
    };
    let texts = all.iter().map(|text| &**text).filter(|text| !text.is_empty() && *text != "None");
    let found = draft.targets(texts, "spec.clusterIP");
    let targets = known_or(found, || "the Service has no ClusterIP".into());
    let route = first_port(service).map_or(Route::Unchecked, |port| Route::Tcp(port.port));
    for name in draft.names(list, "annotation internal-hostname") {
        draft.claim(name, targets.clone(), route);
    }
}

/// The addresses of its ready pods, or those of the nodes that they run on.
fn pods(draft: &mut Draft, service: &Service, options: &Options, around: &Around<'_>) -> Targets {
    let Some(slices) = &around.slices else {
        return Targets::Unknown("its EndpointSlices are not known".into());
    };
    let all = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready =
        all.filter(|one| service.spec.publish_not_ready_addresses || one.conditions.ready != Some(false));
    let empty = || "no pod of it is ready".into();
    let (kind, none) = match options.annotation(&service.metadata, "endpoints-type") {
        Some("NodeExternalIP") => ("ExternalIP", "its pods' nodes have no external address"),
        Some("HostIP") => ("InternalIP", "its pods' nodes have no address"),
        _ => {
            let addresses = ready.flat_map(|one| &one.addresses).map(|address| &**address);
            return known_or(draft.targets(addresses, "EndpointSlice"), empty);
        }
    };
    let Some(nodes) = &around.nodes else {
        return Targets::Unknown("nodes are not known".into());
    };
    let names: Vec<&str> = ready.filter_map(|one| one.node_name.as_deref()).collect();
    let found = nodes.iter().filter(|node| names.contains(&&*node.metadata.name));
    let found = found.flat_map(|node| addresses(node, kind)).collect::<Vec<_>>();
    known_or(draft.targets(found, "node"), || none.into())
}

/// The addresses of the nodes that answer on its node port.
fn nodes(draft: &mut Draft, service: &Service, options: &Options, around: &Around<'_>) -> Targets {
    let Some(nodes) = &around.nodes else {
        return Targets::Unknown("nodes are not known".into());
    };
    let with_pods: Option<Vec<&str>> = if is_local(service) {
        let Some(slices) = &around.slices else {
            return Targets::Unknown("its EndpointSlices are not known".into());
        };
        let ready = slices
            .iter()
            .flat_map(|slice| &slice.endpoints)
            .filter(|one| one.conditions.ready != Some(false));
        Some(ready.filter_map(|one| one.node_name.as_deref()).collect())
    } else {
        None
    };
    let answers =
        |node: &&&Node| with_pods.as_ref().is_none_or(|names| names.contains(&&*node.metadata.name));
    let of_kind = |kind: &str| -> Vec<&str> {
        nodes.iter().filter(answers).flat_map(|node| addresses(node, kind)).collect()
    };
    let found = match options.annotation(&service.metadata, "access") {
        Some("public") => of_kind("ExternalIP"),
        Some("private") => of_kind("InternalIP"),
        Some(other) => {
            let text = format!(
                "annotation access: \"{}\" is neither public nor private",
                super::draft::shorten(other)
            );
            draft.problem(ProblemKind::Malformed, text);
            Vec::new()
        }
        None => {
            Some(of_kind("ExternalIP")).filter(|all| !all.is_empty()).unwrap_or_else(|| of_kind("InternalIP"))
        }
    };
    known_or(draft.targets(found, "node"), || "no node has such an address".into())
}

/// The addresses of one kind that a node has.
fn addresses<'a>(node: &'a Node, kind: &str) -> Vec<&'a str> {
    let all = node.status.addresses.iter().filter(|address| *address.r#type == *kind);
    all.map(|address| &*address.address).collect()
}

/// What is reached under its names: its first TCP port, as it is seen at the published addresses.
fn route(service: &Service, around: &Around<'_>) -> Route {
    if wants_pods(service) {
        // The pods' own port, which need not be the Service's.
        let mut ports = around.slices.iter().flatten().flat_map(|slice| &slice.ports);
        let tcp = ports.find(|port| is_tcp(port.protocol.as_deref()));
        return tcp.and_then(|port| port.port).map_or(Route::Unchecked, Route::Tcp);
    }
    match first_port(service) {
        Some(port) if is_node_port(service) && port.node_port > 0 => Route::Tcp(port.node_port),
        Some(port) => Route::Tcp(port.port),
        None => Route::Unchecked,
    }
}

fn first_port(service: &Service) -> Option<&super::objects::ServicePort> {
    service.spec.ports.iter().find(|port| is_tcp(port.protocol.as_deref()))
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// Whether it is reached at the nodes.
fn is_node_port(service: &Service) -> bool {
    &*service.spec.r#type == "NodePort" && service.spec.external_ips.is_empty()
}

/// Whether only nodes with a ready pod answer.
fn is_local(service: &Service) -> bool {
    &*service.spec.external_traffic_policy == "Local"
}

/// Whether its names lead to the pods: it is headless, or asks for it.
fn wants_pods(service: &Service) -> bool {
    let spec = &service.spec;
    let asked = service.metadata.annotations.get(RESOLVE_ENDPOINTS).is_some_and(|value| value == "true");
    let headless = &*spec.cluster_ip == "None" && &*spec.r#type != "ExternalName";
    (headless || asked) && spec.external_ips.is_empty()
}
