//! The parts of Kubernetes objects that names come from: all that is decoded, and all that is kept in memory.
//!
//! A field that is missing, `null` or empty is the same thing, as it is for the API server.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use super::pairs::Pairs;
use crate::config::Selector;

/// `null` counts as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Structs of these fields, all of which may be absent.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            // Fields without a word are as the reference of the Kubernetes API has them.
            #[allow(missing_docs)]
            #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub struct $name {
                $($(#[$field_doc])* #[serde(default, deserialize_with = "or_default")] pub $field: $type,)*
            }
        )*
    };
}

objects! {
    /// What every object has.
    Metadata {
        /// Its name.
        name: Box<str>,
        /// Its namespace; empty for nodes and namespaces.
        namespace: Box<str>,
        /// Number of its spec, where the server counts them.
        generation: i64,
        /// Version of the whole object.
        resource_version: Box<str>,
        /// RFC 3339.
        creation_timestamp: Option<Box<str>>,
        /// Labels, cut to those that are used.
        labels: Pairs,
        /// Annotations, cut to those that are used.
        annotations: Pairs,
    }

    /// `networking.k8s.io/v1` Ingress.
    Ingress { metadata: Metadata, spec: IngressSpec, status: LoadBalanced, }
    /// Its spec.
    IngressSpec {
        /// Its class; before it came, an annotation said so.
        ingress_class_name: Option<Box<str>>,
        /// Rules with the hosts.
        rules: Vec<IngressRule>,
        /// Certificates.
        tls: Vec<IngressTls>,
    }
    /// One rule.
    IngressRule { host: Box<str>, }
    /// One certificate; without hosts it is for all.
    IngressTls { hosts: Vec<Box<str>>, }
    /// A status with the load balancer in it.
    LoadBalanced { load_balancer: LoadBalancer, }
    /// The load balancer's addresses.
    LoadBalancer { ingress: Vec<LoadBalancerIngress>, }
    /// One of them.
    LoadBalancerIngress { ip: Box<str>, hostname: Box<str>, }

    /// IngressRoute and IngressRouteTCP of Traefik.
    IngressRoute { metadata: Metadata, spec: IngressRouteSpec, }
    /// Its spec.
    IngressRouteSpec {
        /// Names of entry points; all that are there if empty.
        entry_points: Vec<Box<str>>,
        /// The rules.
        routes: Vec<TraefikRoute>,
        /// Present if it is served over TLS.
        tls: Option<Present>,
    }
    /// One rule.
    TraefikRoute {
        /// The rule, as Traefik writes them.
        r#match: Box<str>,
        /// `v2` or `v3`.
        syntax: Box<str>,
    }
    /// An object of which only the presence counts.
    Present {}

    /// Gateway of the Gateway API.
    Gateway { metadata: Metadata, spec: GatewaySpec, status: GatewayStatus, }
    /// Its spec.
    GatewaySpec {
        /// Its class.
        gateway_class_name: Box<str>,
        /// What it listens on.
        listeners: Vec<Listener>,
        /// Which ListenerSets may add listeners; none unless it says so.
        allowed_listeners: Option<Allowed>,
    }
    /// Its status.
    GatewayStatus { addresses: Vec<GatewayAddress>, }
    /// One address of a Gateway; an IP address unless it says otherwise.
    GatewayAddress { r#type: Option<Box<str>>, value: Box<str>, }
    /// One listener.
    Listener {
        /// Its name.
        name: Box<str>,
        /// The host that it is for, possibly a wildcard; all if empty.
        hostname: Box<str>,
        /// TCP or UDP port.
        port: u16,
        /// `HTTP`, `HTTPS`, `TLS`…
        protocol: Box<str>,
        /// Which routes may attach; those of its own namespace unless it says otherwise.
        allowed_routes: Option<Allowed>,
    }
    /// Who may attach.
    Allowed { namespaces: Option<AllowedNamespaces>, kinds: Vec<AllowedKind>, }
    /// From which namespaces.
    AllowedNamespaces {
        /// `Same`, `All`, `Selector` or `None`.
        from: Option<Box<str>>,
        /// Labels of the namespaces.
        selector: Option<Selector>,
    }
    /// A kind of route.
    AllowedKind { group: Option<Box<str>>, kind: Box<str>, }

    /// More listeners for a Gateway.
    ListenerSet { metadata: Metadata, spec: ListenerSetSpec, }
    /// Its spec.
    ListenerSetSpec { parent_ref: ParentRef, listeners: Vec<Listener>, }

    /// HTTPRoute, GRPCRoute and TLSRoute: what names need is the same in all.
    Route { metadata: Metadata, spec: RouteSpec, status: RouteStatus, }
    /// Its spec.
    RouteSpec { hostnames: Vec<Box<str>>, parent_refs: Vec<ParentRef>, }
    /// Its status.
    RouteStatus { parents: Vec<RouteParent>, }
    /// What one controller says of one parent.
    RouteParent { parent_ref: ParentRef, conditions: Vec<Condition>, }
    /// A condition of a status.
    Condition { r#type: Box<str>, status: Box<str>, reason: Box<str>, observed_generation: i64, }
    /// What a route attaches to.
    ParentRef {
        /// `gateway.networking.k8s.io` unless given.
        group: Option<Box<str>>,
        /// `Gateway` unless given.
        kind: Option<Box<str>>,
        /// The route's own unless given.
        namespace: Option<Box<str>>,
        /// Its name.
        name: Box<str>,
        /// One listener of it; all unless given.
        section_name: Option<Box<str>>,
        /// Listeners on this port; all unless given.
        port: Option<u16>,
    }

    /// Core Service.
    Service { metadata: Metadata, spec: ServiceSpec, status: LoadBalanced, }
    /// Its spec.
    ServiceSpec {
        /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
        r#type: Box<str>,
        /// Its address; `None` for a headless one.
        #[serde(rename = "clusterIP")]
        cluster_ip: Box<str>,
        /// All of its addresses.
        #[serde(rename = "clusterIPs")]
        cluster_ips: Vec<Box<str>>,
        /// Addresses that somebody routes to the nodes.
        #[serde(rename = "externalIPs")]
        external_ips: Vec<Box<str>>,
        /// The name that it stands for.
        external_name: Box<str>,
        /// `Local`: only nodes with a ready pod answer.
        external_traffic_policy: Box<str>,
        /// Whether pods that are not ready count.
        publish_not_ready_addresses: bool,
        /// Its ports.
        ports: Vec<ServicePort>,
    }
    /// One port of a Service.
    ServicePort { port: u16, protocol: Option<Box<str>>, node_port: u16, }

    /// Part of the pods behind a Service.
    EndpointSlice { metadata: Metadata, endpoints: Vec<SliceEndpoint>, ports: Vec<SlicePort>, }
    /// One pod.
    SliceEndpoint { addresses: Vec<Box<str>>, conditions: SliceConditions, node_name: Option<Box<str>>, }
    /// How it is.
    SliceConditions {
        /// Unknown counts as ready.
        ready: Option<bool>,
    }
    /// A port of the pods.
    SlicePort { port: Option<u16>, protocol: Option<Box<str>>, }

    /// A node.
    Node { metadata: Metadata, status: NodeStatus, }
    /// Its status.
    NodeStatus { addresses: Vec<NodeAddress>, }
    /// `InternalIP`, `ExternalIP` and others.
    NodeAddress { r#type: Box<str>, address: Box<str>, }

    /// A namespace: its labels are what counts.
    Namespace { metadata: Metadata, }

    /// DNSEndpoint of external-dns.
    DnsEndpoint { metadata: Metadata, spec: DnsEndpointSpec, status: DnsEndpointStatus, }
    /// Its spec.
    DnsEndpointSpec { endpoints: Vec<DnsEndpointEntry>, }
    /// Its status.
    DnsEndpointStatus { observed_generation: i64, }
    /// One name and type.
    DnsEndpointEntry {
        /// The name.
        dns_name: Box<str>,
        /// Presentation format of each record.
        targets: Vec<Box<str>>,
        /// RR type.
        record_type: Box<str>,
        /// Seconds; 0 for none of its own.
        #[serde(rename = "recordTTL")]
        record_ttl: i64,
    }
}

/// An object of the API.
pub trait Object: DeserializeOwned + PartialEq + Send + Sync + 'static {
    /// What every object has.
    fn metadata(&self) -> &Metadata;
    /// The same, to cut it down.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

macro_rules! have_metadata {
    ($($name:ident)*) => {
        $(impl Object for $name {
            fn metadata(&self) -> &Metadata {
                &self.metadata
            }
            fn metadata_mut(&mut self) -> &mut Metadata {
                &mut self.metadata
            }
        })*
    };
}

have_metadata! { Ingress IngressRoute Gateway ListenerSet Route Service EndpointSlice Node Namespace DnsEndpoint }

impl Metadata {
    /// When the object was made, in milliseconds since 1970.
    pub fn created(&self) -> Option<u64> {
        milliseconds(self.creation_timestamp.as_deref()?)
    }
}

/// RFC 3339 in UTC and whole seconds, as the API server writes every time of an object.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let seconds_of_day = hours.mul_add(3600.0, minutes.mul_add(60.0, seconds));
    if !(0.0..86_401.0).contains(&seconds_of_day) {
        return None;
    }
    // Within 0 and 86,401,000 by the line above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let within = (seconds_of_day * 1000.0) as u64;
    Some((days - 719_468) * 86_400_000 + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199_000)),
            ("2026-11-20T15:24:56Z", Some(1_795_188_296_000)),
            ("2026-03-01T00:00:00.250Z", Some(1_772_323_200_250)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-01", None),
            ("1969-12-31T00:00:00Z", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn null_is_absent() {
        let ingress: Ingress = serde_json::from_str(
            r#"{"metadata":{"name":"a","labels":null},"spec":{"rules":null,"tls":[{"hosts":null}]},"status":{"loadBalancer":{}}}"#,
        )
        .unwrap();
        assert!(ingress.spec.rules.is_empty() && ingress.spec.tls[0].hosts.is_empty());
        assert_eq!(*ingress.metadata.name, *"a");
    }

    #[test]
    fn fields_have_the_names_of_the_interface() {
        let service: Service = serde_json::from_str(
            r#"{"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"externalIPs":["192.0.2.1"],"externalName":"x",
            "externalTrafficPolicy":"Local","publishNotReadyAddresses":true,"ports":[{"port":80,"nodePort":30080}]}}"#,
        )
        .unwrap();
        let spec = service.spec;
        assert_eq!((&*spec.cluster_ip, spec.cluster_ips.len(), spec.external_ips.len()), ("10.0.0.1", 1, 1));
        assert!(spec.publish_not_ready_addresses && &*spec.external_traffic_policy == "Local");
        assert_eq!((spec.ports[0].port, spec.ports[0].node_port), (80, 30_080));
        let entry: DnsEndpointEntry = serde_json::from_str(
            r#"{"dnsName":"a.test","recordTTL":60,"recordType":"A","targets":["192.0.2.1"]}"#,
        )
        .unwrap();
        assert_eq!((entry.record_ttl, &*entry.record_type), (60, "A"));
    }
}
