//! Services, with nodes and EndpointSlices around them.

use serde_json::{Value, json};

use super::{World, check, decode, options};
use crate::discovery::kubernetes::objects::{EndpointSlice, Node, Service};
use crate::discovery::kubernetes::options::Options;
use crate::discovery::kubernetes::service::needs;
use crate::model::name::Name;

const EXTERNAL: &str = "external-dns.alpha.kubernetes.io/";

/// A Service with these annotations of external-dns, its spec and its load balancer's addresses.
fn service(annotations: &[(&str, &str)], spec: Value, balancer: Value) -> Value {
    let annotations: serde_json::Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| {
            (if key.contains('/') { (*key).into() } else { format!("{EXTERNAL}{key}") }, json!(value))
        })
        .collect();
    json!({"metadata": {"annotations": annotations}, "spec": spec, "status": {"loadBalancer": {"ingress": balancer}}})
}

fn nodes() -> Vec<Node> {
    let node = |name: &str, addresses: Value| {
        let all: Vec<Value> = addresses
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| json!({"type": pair[0], "address": pair[1]}))
            .collect();
        decode(json!({"metadata": {"name": name}, "status": {"addresses": all}}))
    };
    vec![
        node("n1", json!([["InternalIP", "10.0.0.1"], ["ExternalIP", "192.0.2.1"], ["Hostname", "n1"]])),
        node("n2", json!([["InternalIP", "10.0.0.2"], ["ExternalIP", "192.0.2.2"]])),
    ]
}

fn slices() -> Vec<EndpointSlice> {
    vec![decode(
        json!({"metadata": {"name": "s", "namespace": "shop"}, "ports": [{"port": 53, "protocol": "UDP"}, {"port": 8080}],
        "endpoints": [
            {"addresses": ["10.1.0.1"], "conditions": {"ready": true}, "nodeName": "n1"},
            {"addresses": ["10.1.0.2"], "conditions": {"ready": false}, "nodeName": "n2"},
            {"addresses": ["10.1.0.3"], "conditions": {}, "nodeName": "n1"},
        ]}),
    )]
}

fn world() -> World {
    World { options: options(), nodes: Some(nodes()), slices: Some(slices()), ..World::default() }
}

#[test]
fn services_give_their_addresses_from_the_outside() {
    let name = &[("hostname", "a.test")][..];
    let balanced = || json!({"type": "LoadBalancer", "ports": [{"port": 53, "protocol": "UDP"}, {"port": 443, "protocol": "TCP"}]});
    let node_port = || json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let local = || json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]});
    let headless = || json!({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80}]});
    for (title, object, expected) in [
        (
            "a load balancer's addresses and name, the first TCP port",
            service(name, balanced(), json!([{"ip": "192.0.2.5"}, {"hostname": "lb.test"}])),
            &["a.test. 192.0.2.5 lb.test. [Tcp(443)]"][..],
        ),
        ("without an annotation, nothing", service(&[], balanced(), json!([{"ip": "192.0.2.5"}])), &[]),
        (
            "an empty status is not an empty answer",
            service(name, balanced(), json!([])),
            &["a.test. ? status.loadBalancer is empty [Tcp(443)]"],
        ),
        (
            "the target annotation",
            service(&[("hostname", "a.test,b.test"), ("target", "192.0.2.9")], balanced(), json!([])),
            &["a.test. 192.0.2.9 [Tcp(443)]", "b.test. 192.0.2.9 [Tcp(443)]"],
        ),
        (
            "externalIPs come first",
            service(
                name,
                json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.8"], "ports": [{"port": 80}]}),
                json!([{"ip": "192.0.2.5"}]),
            ),
            &["a.test. 192.0.2.8 [Tcp(80)]"],
        ),
        (
            "UDP alone is not checked",
            service(
                name,
                json!({"type": "LoadBalancer", "ports": [{"port": 53, "protocol": "UDP"}]}),
                json!([{"ip": "192.0.2.5"}]),
            ),
            &["a.test. 192.0.2.5 [Unchecked]"],
        ),
        (
            "ExternalName",
            service(name, json!({"type": "ExternalName", "externalName": "Other.test"}), json!([])),
            &["a.test. other.test. [Unchecked]"],
        ),
        (
            "NodePort: external addresses",
            service(name, node_port(), json!([])),
            &["a.test. 192.0.2.1 192.0.2.2 [Tcp(30080)]"],
        ),
        (
            "NodePort: access private",
            service(&[("hostname", "a.test"), ("access", "private")], node_port(), json!([])),
            &["a.test. 10.0.0.1 10.0.0.2 [Tcp(30080)]"],
        ),
        (
            "NodePort: access public",
            service(&[("hostname", "a.test"), ("access", "public")], node_port(), json!([])),
            &["a.test. 192.0.2.1 192.0.2.2 [Tcp(30080)]"],
        ),
        (
            "NodePort: access of no known kind",
            service(&[("hostname", "a.test"), ("access", "all")], node_port(), json!([])),
            &[
                "a.test. ? no node has such an address [Tcp(30080)]",
                "! malformed: annotation access: \"all\" is neither public nor private",
            ],
        ),
        (
            "NodePort: only nodes with a ready pod",
            service(name, local(), json!([])),
            &["a.test. 192.0.2.1 [Tcp(30080)]"],
        ),
        (
            "headless: ready pods and their port",
            service(name, headless(), json!([])),
            &["a.test. 10.1.0.1 10.1.0.3 [Tcp(8080)]"],
        ),
        (
            "headless: all pods",
            service(
                name,
                json!({"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": true}),
                json!([]),
            ),
            &["a.test. 10.1.0.1 10.1.0.2 10.1.0.3 [Tcp(8080)]"],
        ),
        (
            "headless: nodes of the pods",
            service(&[("hostname", "a.test"), ("endpoints-type", "NodeExternalIP")], headless(), json!([])),
            &["a.test. 192.0.2.1 [Tcp(8080)]"],
        ),
        (
            "headless: hosts of the pods",
            service(&[("hostname", "a.test"), ("endpoints-type", "HostIP")], headless(), json!([])),
            &["a.test. 10.0.0.1 [Tcp(8080)]"],
        ),
        (
            "k8s_gateway asks for the pods",
            service(
                &[("coredns.io/hostname", "k.test"), ("k8s-gateway.dns/resolve-endpoints", "true")],
                balanced(),
                json!([{"ip": "192.0.2.5"}]),
            ),
            &["k.test. 10.1.0.1 10.1.0.3 [Tcp(8080)]"],
        ),
        (
            "a ClusterIP has no address outside",
            service(name, json!({"type": "ClusterIP", "clusterIP": "10.96.0.1"}), json!([])),
            &[
                "! refused: a Service of type ClusterIP has no address outside of the cluster: use internal-hostname or target",
            ],
        ),
        (
            "internal-hostname",
            service(
                &[("internal-hostname", "i.test")],
                json!({"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 80}]}),
                json!([]),
            ),
            &["i.test. 10.96.0.1 fd00::1 [Tcp(80)]"],
        ),
        (
            "internal and external names of one Service",
            service(
                &[("internal-hostname", "i.test"), ("hostname", "a.test")],
                json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]}),
                json!([{"ip": "192.0.2.5"}]),
            ),
            &["a.test. 192.0.2.5 [Tcp(80)]", "i.test. 10.96.0.1 [Tcp(80)]"],
        ),
    ] {
        check(title, &mut world(), "Service", object, expected);
    }
}

#[test]
fn what_is_around_and_not_known_leaves_what_stood() {
    let name = &[("hostname", "a.test")][..];
    let empty = || World { options: options(), ..World::default() };
    let none_ready = || {
        let slice: EndpointSlice =
            decode(json!({"endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": false}}]}));
        World { slices: Some(vec![slice]), ..world() }
    };
    for (title, mut world, spec, expected) in [
        (
            "nodes",
            empty(),
            json!({"type": "NodePort", "ports": []}),
            "a.test. ? nodes are not known [Unchecked]",
        ),
        (
            "slices",
            empty(),
            json!({"clusterIP": "None"}),
            "a.test. ? its EndpointSlices are not known [Unchecked]",
        ),
        ("no pod", none_ready(), json!({"clusterIP": "None"}), "a.test. ? no pod of it is ready [Unchecked]"),
    ] {
        check(title, &mut world, "Service", service(name, spec, json!([])), &[expected]);
    }
}

#[test]
fn every_service_has_a_name_where_that_is_turned_on() {
    let zones = vec![Name::parse_absolute("example.test").unwrap()];
    let mut world = World { options: Options { service_zones: zones, ..options() }, ..world() };
    let balanced =
        service(&[], json!({"type": "LoadBalancer", "ports": [{"port": 80}]}), json!([{"ip": "192.0.2.5"}]));
    check(
        "a load balancer",
        &mut world,
        "Service",
        balanced,
        &["web.shop.example.test. 192.0.2.5 [Tcp(80)]"],
    );
    let cluster = service(&[], json!({"type": "ClusterIP", "clusterIP": "10.96.0.1"}), json!([]));
    check("a ClusterIP, without complaint", &mut world, "Service", cluster, &[]);
}

#[test]
fn nodes_and_slices_are_asked_for_only_where_needed() {
    let name = &[("hostname", "a.test")][..];
    for (title, object, expected) in [
        ("nothing to publish", service(&[], json!({"type": "NodePort"}), json!([])), (false, false)),
        ("load balancer", service(name, json!({"type": "LoadBalancer"}), json!([])), (false, false)),
        ("node port", service(name, json!({"type": "NodePort"}), json!([])), (true, false)),
        (
            "local",
            service(name, json!({"type": "NodePort", "externalTrafficPolicy": "Local"}), json!([])),
            (true, true),
        ),
        ("headless", service(name, json!({"clusterIP": "None"}), json!([])), (false, true)),
        (
            "headless by node",
            service(
                &[("hostname", "a.test"), ("endpoints-type", "HostIP")],
                json!({"clusterIP": "None"}),
                json!([]),
            ),
            (true, true),
        ),
        (
            "target",
            service(
                &[("hostname", "a.test"), ("target", "192.0.2.1")],
                json!({"type": "NodePort"}),
                json!([]),
            ),
            (false, false),
        ),
    ] {
        let object: Service = decode(object);
        assert_eq!(needs(&object, &options()), expected, "{title}");
    }
}
