//! Routes of the Gateway API, with Gateways, ListenerSets and namespaces around them.

use serde_json::{Value, json};

use super::{World, check, decode, options};
use crate::discovery::kubernetes::listener::intersection;
use crate::discovery::kubernetes::options::Options;
use crate::model::name::Name;

/// A Gateway `shop/gw` with these listeners, at 192.0.2.1.
fn gateway(listeners: Value) -> Value {
    json!({"metadata": {"name": "gw", "namespace": "shop"}, "spec": {"gatewayClassName": "c", "listeners": listeners},
        "status": {"addresses": [{"value": "192.0.2.1"}]}})
}

fn listener(name: &str, protocol: &str, port: u16, host: &str, allowed: Value) -> Value {
    json!({"name": name, "protocol": protocol, "port": port, "hostname": host, "allowedRoutes": allowed})
}

fn world(gateways: &[Value]) -> World {
    World { options: options(), gateways: gateways.iter().cloned().map(decode).collect(), ..World::default() }
}

/// A route with these hosts and parents; each parent accepts it as `verdicts` say: status and observed generation (the route's is 3).
fn route(hosts: &[&str], parents: &[Value], verdicts: &[(&str, i64)]) -> Value {
    let judged: Vec<Value> = parents
        .iter()
        .zip(verdicts)
        .map(|(parent, (status, generation))| {
            json!({"parentRef": parent, "conditions": [{"type": "ResolvedRefs", "status": "False", "observedGeneration": 3},
                {"type": "Accepted", "status": status, "observedGeneration": generation}]})
        })
        .collect();
    json!({"spec": {"hostnames": hosts, "parentRefs": parents}, "status": {"parents": judged}})
}

fn accepted(hosts: &[&str]) -> Value {
    route(hosts, &[json!({"name": "gw"})], &[("True", 3)])
}

#[test]
fn routes_and_listeners_have_names_in_common() {
    let http = |host: &str| listener("web", "HTTP", 80, host, Value::Null);
    for (title, listeners, hosts, expected) in [
        (
            "no host at the listener",
            json!([http("")]),
            &["a.test", "*.b.test"][..],
            &["a.test. 192.0.2.1 [Http(Some(80))]", "*.b.test. 192.0.2.1 [Http(Some(80))]"][..],
        ),
        ("no host at the route", json!([http("a.test")]), &[], &["a.test. 192.0.2.1 [Http(Some(80))]"]),
        ("no host at all", json!([http("")]), &[], &[]),
        (
            "the listener's wildcard",
            json!([http("*.x.test")]),
            &["a.x.test", "b.c.x.test", "x.test", "y.test"],
            &["a.x.test. 192.0.2.1 [Http(Some(80))]", "b.c.x.test. 192.0.2.1 [Http(Some(80))]"],
        ),
        (
            "the route's wildcard",
            json!([http("a.x.test")]),
            &["*.x.test"],
            &["a.x.test. 192.0.2.1 [Http(Some(80))]"],
        ),
        ("nothing in common", json!([http("a.test")]), &["b.test"], &[]),
        (
            "HTTPS before HTTP, whichever comes first",
            json!([http(""), listener("tls", "HTTPS", 8443, "", Value::Null)]),
            &["a.test"],
            &["a.test. 192.0.2.1 [Https(Some(8443))]"],
        ),
        (
            "a listener of another protocol",
            json!([listener("t", "TLS", 443, "", Value::Null)]),
            &["a.test"],
            &[],
        ),
        (
            "a listener for another kind",
            json!([listener("web", "HTTP", 80, "", json!({"kinds": [{"kind": "GRPCRoute"}]}))]),
            &["a.test"],
            &[],
        ),
        (
            "a listener for this kind",
            json!([listener(
                "web",
                "HTTP",
                80,
                "",
                json!({"kinds": [{"kind": "HTTPRoute", "group": "gateway.networking.k8s.io"}]})
            )]),
            &["a.test"],
            &["a.test. 192.0.2.1 [Http(Some(80))]"],
        ),
        (
            "a bad name is reported",
            json!([http("")]),
            &["a_b c", "d.test"],
            &[
                "d.test. 192.0.2.1 [Http(Some(80))]",
                "! malformed: spec.hostnames[0]: \"a_b c\" is not a name",
            ],
        ),
    ] {
        check(title, &mut world(&[gateway(listeners)]), "HTTPRoute", accepted(hosts), expected);
    }
}

#[test]
fn kinds_of_routes_suit_kinds_of_listeners() {
    let gateway = gateway(json!([
        listener("tls", "TLS", 8443, "", Value::Null),
        listener("https", "HTTPS", 443, "", Value::Null)
    ]));
    check(
        "TLSRoute",
        &mut world(std::slice::from_ref(&gateway)),
        "TLSRoute",
        accepted(&["a.test"]),
        &["a.test. 192.0.2.1 [Tls(Some(8443))]"],
    );
    check(
        "GRPCRoute",
        &mut world(&[gateway]),
        "GRPCRoute",
        accepted(&["a.test"]),
        &["a.test. 192.0.2.1 [Https(Some(443))]"],
    );
}

#[test]
fn a_reference_may_mean_one_listener() {
    let gateway = gateway(json!([
        listener("a", "HTTP", 80, "a.test", Value::Null),
        listener("b", "HTTP", 8080, "b.test", Value::Null)
    ]));
    for (title, parent, expected) in [
        ("by name", json!({"name": "gw", "sectionName": "b"}), &["b.test. 192.0.2.1 [Http(Some(8080))]"][..]),
        ("by port", json!({"name": "gw", "port": 80}), &["a.test. 192.0.2.1 [Http(Some(80))]"]),
        ("by both, of which one is wrong", json!({"name": "gw", "sectionName": "b", "port": 80}), &[]),
        ("a Service of a mesh", json!({"name": "gw", "group": "", "kind": "Service"}), &[]),
    ] {
        let object = route(&[], &[parent], &[("True", 3)]);
        check(title, &mut world(std::slice::from_ref(&gateway)), "HTTPRoute", object, expected);
    }
}

#[test]
fn listeners_say_which_namespaces_may_attach() {
    let gateway = |allowed: Value| {
        let mut gateway = gateway(json!([listener("web", "HTTP", 80, "", allowed)]));
        gateway["metadata"]["namespace"] = json!("infra");
        gateway
    };
    let object = || route(&["a.test"], &[json!({"name": "gw", "namespace": "infra"})], &[("True", 3)]);
    let selector = json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"dns": "yes"}}}});
    let one = &["a.test. 192.0.2.1 [Http(Some(80))]"][..];
    let namespace = |value: &str| decode(json!({"metadata": {"name": "shop", "labels": {"dns": value}}}));
    for (title, allowed, namespaces, expected) in [
        ("its own unless it says so", Value::Null, vec![], &[][..]),
        ("its own", json!({"namespaces": {"from": "Same"}}), vec![], &[]),
        ("all", json!({"namespaces": {"from": "All"}}), vec![], one),
        ("by label", selector.clone(), vec![namespace("yes")], one),
        ("by another label", selector.clone(), vec![namespace("no")], &[]),
        (
            "by a label that is not known",
            selector,
            vec![],
            &[
                "a.test. ? a listener selects routes by labels of their namespaces, which are not known [Https(None)]",
                "! stale: a listener selects routes by labels of their namespaces, which are not known",
            ],
        ),
    ] {
        let mut world = World { namespaces, ..world(&[gateway(allowed)]) };
        check(title, &mut world, "HTTPRoute", object(), expected);
    }
}

#[test]
fn a_parent_accepts_refuses_or_lags_behind() {
    let gateway = gateway(json!([listener("web", "HTTP", 80, "", Value::Null)]));
    let lags = &[
        "a.test. ? gateway/shop/gw has not judged generation 3 yet [Http(Some(80))]",
        "! stale: gateway/shop/gw has not judged generation 3 yet",
    ][..];
    for (title, verdicts, expected) in [
        ("accepted", &[("True", 3)][..], &["a.test. 192.0.2.1 [Http(Some(80))]"][..]),
        ("refused", &[("False", 3)], &[]),
        ("accepted an older generation", &[("True", 2)], lags),
        ("refused an older generation", &[("False", 2)], lags),
        ("not judged", &[], lags),
        ("not decided", &[("Unknown", 3)], lags),
    ] {
        let object = route(&["a.test"], &[json!({"name": "gw"})], verdicts);
        check(title, &mut world(std::slice::from_ref(&gateway)), "HTTPRoute", object, expected);
    }
}

#[test]
fn what_a_parent_gave_stands_while_it_lags_behind() {
    let gateway = gateway(json!([listener("web", "HTTP", 80, "", Value::Null)]));
    let other = json!({"metadata": {"name": "other", "namespace": "shop"}, "spec": {"listeners": [listener("web", "HTTP", 80, "", Value::Null)]},
        "status": {"addresses": [{"value": "192.0.2.2"}]}});
    let parents = [json!({"name": "gw"}), json!({"name": "other"})];
    let both =
        ["a.test. 192.0.2.1 192.0.2.2 [Http(Some(80))]", "b.test. 192.0.2.1 192.0.2.2 [Http(Some(80))]"];
    let mut world = world(&[gateway, other]);
    let all = |hosts: &[&str], last: (&str, i64)| route(hosts, &parents, &[("True", 3), last]);
    check("both", &mut world, "HTTPRoute", all(&["a.test", "b.test"], ("True", 3)), &both);
    let stale = "! stale: gateway/shop/other has not judged generation 3 yet";
    check(
        "one lags behind",
        &mut world,
        "HTTPRoute",
        all(&["a.test", "b.test"], ("True", 2)),
        &[both[0], both[1], stale],
    );
    check("a host left the spec", &mut world, "HTTPRoute", all(&["a.test"], ("True", 2)), &[both[0], stale]);
    world.gateways.pop();
    check(
        "it is missing",
        &mut world,
        "HTTPRoute",
        all(&["a.test"], ("True", 3)),
        &[both[0], "! stale: gateway/shop/other is missing"],
    );
    let one = route(&["a.test"], &parents[..1], &[("True", 3)]);
    check(
        "the reference left the spec",
        &mut world,
        "HTTPRoute",
        one,
        &["a.test. 192.0.2.1 [Http(Some(80))]"],
    );
}

#[test]
fn what_is_missing_leaves_what_stood() {
    let silent = |mut gateway: Value| {
        gateway["status"] = Value::Null;
        gateway
    };
    let listeners = || json!([listener("web", "HTTP", 80, "", Value::Null)]);
    let forbidden = World { gateways_unknown: true, ..world(&[]) };
    for (title, mut world, hosts, expected) in [
        (
            "the Gateway",
            world(&[]),
            &["a.test"][..],
            &["a.test. ? gateway/shop/gw is missing [Https(None)]", "! stale: gateway/shop/gw is missing"][..],
        ),
        ("the Gateway of a route without hosts", world(&[]), &[], &["stands: gateway/shop/gw is missing"]),
        (
            "all Gateways",
            forbidden,
            &["a.test"],
            &["a.test. ? gateways: 403 Forbidden [Https(None)]", "! stale: gateways: 403 Forbidden"],
        ),
        (
            "its addresses",
            world(&[silent(gateway(listeners()))]),
            &["a.test"],
            &[
                "a.test. ? gateway/shop/gw has no address [Http(Some(80))]",
                "! stale: gateway/shop/gw has no address",
            ],
        ),
    ] {
        check(title, &mut world, "HTTPRoute", accepted(hosts), expected);
    }
}

#[test]
fn gateways_have_addresses_of_several_kinds_classes_and_annotations() {
    let listeners = || json!([listener("web", "HTTP", 80, "", Value::Null)]);
    let mut addressed = gateway(listeners());
    addressed["status"]["addresses"] = json!([{"type": "IPAddress", "value": "2001:db8::1"}, {"type": "Hostname", "value": "lb.test"},
        {"type": "NamedAddress", "value": "x"}]);
    let mut annotated = gateway(listeners());
    annotated["metadata"]["annotations"] = json!({"external-dns.alpha.kubernetes.io/target": "192.0.2.9", "external-dns.alpha.kubernetes.io/ttl": "5"});
    check(
        "kinds",
        &mut world(&[addressed]),
        "HTTPRoute",
        accepted(&["a.test"]),
        &[
            "a.test. 2001:db8::1 lb.test. [Http(Some(80))]",
            "! refused: status.addresses of the Gateway: type NamedAddress is not known",
        ],
    );
    check(
        "target is read on the Gateway, the rest is not",
        &mut world(&[annotated]),
        "HTTPRoute",
        accepted(&["a.test"]),
        &["a.test. 192.0.2.9 [Http(Some(80))]"],
    );
    let mut object = accepted(&["a.test"]);
    object["metadata"] = json!({"annotations": {"external-dns.alpha.kubernetes.io/target": "192.0.2.8", "external-dns.alpha.kubernetes.io/ttl": "7",
        "external-dns.alpha.kubernetes.io/hostname": "b.test"}});
    let route = &["a.test. 192.0.2.1 [Http(Some(80))] ttl 7", "b.test. 192.0.2.1 [Http(Some(80))] ttl 7"][..];
    check(
        "all but target is read on the route",
        &mut world(&[gateway(listeners())]),
        "HTTPRoute",
        object.clone(),
        route,
    );
    object["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/gateway-hostname-source"] =
        json!("annotation-only");
    check("annotation-only", &mut world(&[gateway(listeners())]), "HTTPRoute", object.clone(), &route[1..]);
    object["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/gateway-hostname-source"] =
        json!("defined-hosts-only");
    check("defined-hosts-only", &mut world(&[gateway(listeners())]), "HTTPRoute", object, &route[..1]);
    let mut other_class = world(&[gateway(listeners())]);
    other_class.options = Options { gateway_classes: vec!["d".into()], ..options() };
    check("another class", &mut other_class, "HTTPRoute", accepted(&["a.test"]), &[]);
}

#[test]
fn listener_sets_are_parents_where_the_gateway_allows_them() {
    let mut gateway = gateway(json!([listener("own", "HTTP", 80, "own.test", Value::Null)]));
    let set = |annotations: Value| {
        decode(json!({"metadata": {"name": "more", "namespace": "shop", "annotations": annotations},
            "spec": {"parentRef": {"name": "gw"}, "listeners": [listener("x", "HTTPS", 443, "*.x.test", Value::Null)]}}))
    };
    let object = || {
        route(&["a.x.test", "own.test"], &[json!({"name": "more", "kind": "ListenerSet"})], &[("True", 3)])
    };
    let mut refused = World { sets: vec![set(json!({}))], ..world(std::slice::from_ref(&gateway)) };
    check("not allowed unless the Gateway says so", &mut refused, "HTTPRoute", object(), &[]);
    gateway["spec"]["allowedListeners"] = json!({"namespaces": {"from": "Same"}});
    let mut allowed = World { sets: vec![set(json!({}))], ..world(std::slice::from_ref(&gateway)) };
    check(
        "its listeners, the Gateway's address",
        &mut allowed,
        "HTTPRoute",
        object(),
        &["a.x.test. 192.0.2.1 [Https(Some(443))]"],
    );
    let annotated = set(json!({"external-dns.alpha.kubernetes.io/target": "192.0.2.7"}));
    let mut annotated = World { sets: vec![annotated], ..world(std::slice::from_ref(&gateway)) };
    check("its target", &mut annotated, "HTTPRoute", object(), &["a.x.test. 192.0.2.7 [Https(Some(443))]"]);
    check(
        "it is missing",
        &mut world(&[gateway]),
        "HTTPRoute",
        object(),
        &[
            "a.x.test. ? listenerset/shop/more is missing [Https(None)]",
            "own.test. ? listenerset/shop/more is missing [Https(None)]",
            "! stale: listenerset/shop/more is missing",
        ],
    );
}

#[test]
fn the_narrower_of_two_hosts_counts() {
    let name = |text: &str| Name::parse_absolute(text).unwrap();
    for (a, b, expected) in [
        ("a.test", "a.test", Some("a.test")),
        ("*.test", "a.b.test", Some("a.b.test")),
        ("*.test", "test", None),
        ("*.test", "*.b.test", Some("*.b.test")),
        ("*.a.test", "*.b.test", None),
        ("*.a.test", "*.a.test", Some("*.a.test")),
        ("*.a.test", "xa.test", None),
    ] {
        let expected = expected.map(name);
        assert_eq!(intersection(Some(&name(a)), Some(&name(b))), expected, "{a} and {b}");
        assert_eq!(intersection(Some(&name(b)), Some(&name(a))), expected, "{b} and {a}");
    }
    assert_eq!(intersection(None, None), None);
    assert_eq!(intersection(None, Some(&name("a.test"))), Some(name("a.test")));
}
