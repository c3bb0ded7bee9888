//! Ingress, IngressRoute(TCP), DNSEndpoint, and the annotations that all of them read.

use serde_json::{Value, json};

use super::{World, check, decode, options};
use crate::config::Selector;
use crate::discovery::kubernetes::options::Options;

/// An Ingress with one host and one address; `more` replaces whole keys.
fn ingress(more: Value) -> Value {
    let mut object = json!({
        "spec": {"rules": [{"host": "a.test"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    });
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn world(options: Options) -> World {
    World { options, ..World::default() }
}

fn annotated(annotations: Value) -> Value {
    ingress(json!({"metadata": {"annotations": annotations}}))
}

#[test]
fn an_ingress_gives_the_hosts_of_its_rules() {
    let both = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "LB.test."}, {"ip": "2001:db8::1", "hostname": "x.test"}]}});
    for (title, object, expected) in [
        ("host", ingress(json!({})), &["a.test. 192.0.2.1 [Http(None)]"][..]),
        (
            "empty host, wildcard and one host by two paths",
            ingress(
                json!({"spec": {"rules": [{}, {"host": ""}, {"host": "*.x.test"}, {"host": "b.test"}, {"host": "b.test"}]}}),
            ),
            &["*.x.test. 192.0.2.1 [Http(None)]", "b.test. 192.0.2.1 [Http(None)]"],
        ),
        (
            "addresses and names of load balancers, an address before the name of the same one",
            ingress(json!({"status": both})),
            &["a.test. 192.0.2.1 lb.test. 2001:db8::1 [Http(None)]"],
        ),
        (
            "a certificate for it, not for it, for all, for a wildcard",
            ingress(
                json!({"spec": {"rules": [{"host": "a.test"}, {"host": "b.x.test"}, {"host": "c.d.x.test"}],
                "tls": [{"hosts": ["A.test", "*.x.test"]}]}}),
            ),
            &[
                "a.test. 192.0.2.1 [Https(None)]",
                "b.x.test. 192.0.2.1 [Https(None)]",
                "c.d.x.test. 192.0.2.1 [Http(None)]",
            ],
        ),
        (
            "a certificate without hosts is for all, and its hosts are not published",
            ingress(json!({"spec": {"rules": [{"host": "a.test"}], "tls": [{"hosts": ["other.test"]}, {}]}})),
            &["a.test. 192.0.2.1 [Https(None)]"],
        ),
        (
            "an empty status is not an empty answer",
            ingress(json!({"status": {"loadBalancer": {}}})),
            &["a.test. ? status.loadBalancer is empty [Http(None)]"],
        ),
        ("no hosts, nothing", ingress(json!({"spec": {"rules": null}})), &[]),
        (
            "one bad host does not take the others along",
            ingress(
                json!({"spec": {"rules": [{"host": "a b"}, {"host": "192.0.2.9"}, {"host": "ü.test"}, {"host": "c.test"}]}}),
            ),
            &[
                "c.test. 192.0.2.1 [Http(None)]",
                "! malformed: spec.rules[0].host: \"a b\" is not a name",
                "! malformed: spec.rules[1].host: \"192.0.2.9\" is an address, not a name",
                "! malformed: spec.rules[2].host: \"ü.test\" is not ASCII: write the A-label (xn--…)",
            ],
        ),
    ] {
        check(title, &mut world(options()), "Ingress", object, expected);
    }
}

#[test]
fn hosts_of_certificates_are_published_only_where_asked_for() {
    let object = ingress(json!({"spec": {"tls": [{"hosts": ["t.test"]}]}}));
    check("off", &mut world(options()), "Ingress", object.clone(), &[]);
    let on = Options { tls_hosts: true, ..options() };
    check("on", &mut world(on), "Ingress", object, &["t.test. 192.0.2.1 [Https(None)]"]);
}

#[test]
fn annotations_say_names_targets_and_ttl() {
    const A: &str = "external-dns.alpha.kubernetes.io/";
    const B: &str = "external-dns.kubernetes.io/";
    let plain = "a.test. 192.0.2.1 [Http(None)]";
    for (title, annotations, expected) in [
        (
            "both names",
            json!({format!("{A}hostname"): "b.test, c.test.,"}),
            &[plain, "b.test. 192.0.2.1 [Http(None)]", "c.test. 192.0.2.1 [Http(None)]"][..],
        ),
        (
            "only the annotation's",
            json!({format!("{A}hostname"): "b.test", format!("{A}ingress-hostname-source"): "annotation-only"}),
            &["b.test. 192.0.2.1 [Http(None)]"],
        ),
        (
            "only the rules'",
            json!({format!("{A}hostname"): "b.test", format!("{A}ingress-hostname-source"): "defined-hosts-only"}),
            &[plain],
        ),
        (
            "targets",
            json!({format!("{A}target"): "192.0.2.7 , 2001:db8::7,lb.test.,192.0.2.7"}),
            &["a.test. 192.0.2.7 2001:db8::7 lb.test. [Http(None)]"],
        ),
        (
            "a wrong target publishes nothing else",
            json!({format!("{A}target"): "a b"}),
            &[
                "a.test. ? the annotation target holds no address and no name [Http(None)]",
                "! malformed: annotation target: \"a b\" is not a name",
            ],
        ),
        ("an empty annotation is none", json!({format!("{A}target"): " "}), &[plain]),
        (
            "the newer prefix wins",
            json!({format!("{A}target"): "192.0.2.8", format!("{B}target"): "192.0.2.7"}),
            &["a.test. 192.0.2.7 [Http(None)]"],
        ),
        (
            "the user's own prefix wins over both",
            json!({"own.test/target": "192.0.2.6", format!("{B}target"): "192.0.2.7"}),
            &["a.test. 192.0.2.6 [Http(None)]"],
        ),
        (
            "k8s_gateway's name wins over external-dns'",
            json!({"coredns.io/hostname": "k.test", format!("{A}hostname"): "b.test"}),
            &[plain, "k.test. 192.0.2.1 [Http(None)]"],
        ),
        ("TTL in seconds", json!({format!("{A}ttl"): "60"}), &["a.test. 192.0.2.1 [Http(None)] ttl 60"]),
        (
            "TTL as a duration",
            json!({format!("{B}ttl"): "1m30s"}),
            &["a.test. 192.0.2.1 [Http(None)] ttl 90"],
        ),
        ("TTL 0 is none", json!({format!("{A}ttl"): "0"}), &[plain]),
        (
            "our TTL wins",
            json!({"hale.dev/ttl": "5m", format!("{A}ttl"): "60"}),
            &["a.test. 192.0.2.1 [Http(None)] ttl 300"],
        ),
        (
            "a wrong TTL",
            json!({format!("{A}ttl"): "soon"}),
            &[plain, "! malformed: annotation ttl: \"soon\" is no TTL"],
        ),
        ("another controller's", json!({format!("{A}controller"): "other"}), &[]),
        ("this controller's", json!({format!("{A}controller"): "dns-controller"}), &[plain]),
        (
            "ours",
            json!({"hale.dev/check": "web", "hale.dev/policy": "weighted", "hale.dev/weight": "3"}),
            &["a.test. 192.0.2.1 [Http(None)] check=web policy=weighted weight=3"],
        ),
        (
            "a set identifier",
            json!({format!("{A}set-identifier"): "fra"}),
            &[
                plain,
                "! refused: the annotation set-identifier is not used: weights are hale.dev/weight, policies hale.dev/policy",
            ],
        ),
    ] {
        check(title, &mut world(options()), "Ingress", annotated(annotations), expected);
    }
}

#[test]
fn filters_choose_objects() {
    let classes = Options { ingress_classes: vec!["nginx".into()], ..options() };
    let annotations = Options { annotations: Selector::parse("team in (a,b)").unwrap(), ..options() };
    let one = &["a.test. 192.0.2.1 [Http(None)]"][..];
    let with_class =
        |class: &str| ingress(json!({"spec": {"ingressClassName": class, "rules": [{"host": "a.test"}]}}));
    let labelled = |label: &str, value: &str| ingress(json!({"metadata": {"labels": {label: value}}}));
    for (title, options, object, expected) in [
        ("class", &classes, with_class("nginx"), one),
        ("other class", &classes, with_class("traefik"), &[][..]),
        ("no class", &classes, ingress(json!({})), &[]),
        ("class by annotation", &classes, annotated(json!({"kubernetes.io/ingress.class": "nginx"})), one),
        ("annotation", &annotations, annotated(json!({"team": "b"})), one),
        ("other annotation", &annotations, annotated(json!({"team": "c"})), &[]),
        ("hidden", &options(), labelled("hale.dev/ignore", "true"), &[]),
        ("not hidden", &options(), labelled("hale.dev/ignore", "false"), one),
        ("hidden from k8s_gateway", &options(), labelled("k8s-gateway.dns/ignore", "true"), &[]),
    ] {
        check(title, &mut world(options.clone()), "Ingress", object, expected);
    }
}

#[test]
fn only_what_is_read_is_kept() {
    let options = Options { annotations: Selector::parse("team").unwrap(), ..options() };
    let mut object: crate::discovery::kubernetes::objects::Ingress = decode(
        json!({"metadata": {"name": "a", "namespace": "b",
        "labels": {"app": "x", "hale.dev/ignore": "true"},
        "annotations": {"team": "a", "other/x": "y", "own.test/target": "192.0.2.1", "hale.dev/check": "c"}}}),
    );
    options.cut(&mut object.metadata);
    assert_eq!(object.metadata.labels.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["hale.dev/ignore"]);
    let keys: Vec<_> = object.metadata.annotations.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["hale.dev/check", "own.test/target", "team"]);
}

#[test]
fn ingress_routes_give_the_hosts_of_their_rules() {
    let route = |rule: &str| json!({"spec": {"routes": [{"match": rule}], "entryPoints": ["web"]}});
    let traefik = || {
        decode(json!({"metadata": {"name": "traefik", "namespace": "t"}, "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.5"}]}}}))
    };
    let of_traefik = Options { traefik_service: Some(("t".into(), "traefik".into())), ..options() };
    let plain = || world(options());
    let mut with_service = World { traefik: Some(traefik()), ..world(of_traefik.clone()) };
    for (title, world, kind, object, expected) in [
        (
            "host",
            &mut plain(),
            "IngressRoute",
            route("Host(`a.test`) && Path(`/x`)"),
            &["a.test. default [Http(None)] via web"][..],
        ),
        (
            "the load balancer of Traefik's Service",
            &mut with_service,
            "IngressRoute",
            route("Host(`a.test`)"),
            &["a.test. 192.0.2.5 [Http(None)] via web"],
        ),
        (
            "Traefik's Service is missing",
            &mut world(of_traefik),
            "IngressRoute",
            route("Host(`a.test`)"),
            &["a.test. ? Traefik's Service t/traefik is not there [Http(None)] via web"],
        ),
        (
            "the annotation wins",
            &mut World { traefik: Some(traefik()), ..plain() },
            "IngressRoute",
            json!({"metadata": {"annotations": {"external-dns.alpha.kubernetes.io/target": "192.0.2.9"}},
                "spec": {"routes": [{"match": "Host(`a.test`) || Host(`b.test`)"}], "tls": {}}}),
            &["a.test. 192.0.2.9 [Https(None)]", "b.test. 192.0.2.9 [Https(None)]"],
        ),
        (
            "several routes, a negated host, both syntaxes",
            &mut plain(),
            "IngressRoute",
            json!({"spec": {"routes": [{"match": "Host(`a.test`)"}, {"match": "!Host(`n.test`)"}, {"match": "Host(`b.test`, `c.test`)", "syntax": "v2"}]}}),
            &["a.test. default [Http(None)]", "b.test. default [Http(None)]", "c.test. default [Http(None)]"],
        ),
        (
            "TCP",
            &mut plain(),
            "IngressRouteTCP",
            json!({"spec": {"routes": [{"match": "HostSNI(`db.test`)"}, {"match": "HostSNI(`*`)"}], "tls": {"passthrough": true}}}),
            &["db.test. default [Tls(None)]"],
        ),
        (
            "another class",
            &mut world(Options { ingress_classes: vec!["x".into()], ..options() }),
            "IngressRoute",
            json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "y"}}, "spec": {"routes": [{"match": "Host(`a.test`)"}]}}),
            &[],
        ),
        (
            "without a class it counts",
            &mut world(Options { ingress_classes: vec!["x".into()], ..options() }),
            "IngressRoute",
            route("Host(`a.test`)"),
            &["a.test. default [Http(None)] via web"],
        ),
    ] {
        check(title, world, kind, object, expected);
    }
}

#[test]
fn a_rule_that_cannot_be_read_leaves_what_stood() {
    use crate::discovery::source::Seen;
    let object: crate::discovery::kubernetes::objects::IngressRoute = decode(
        json!({"spec": {"routes": [{"match": "Host(`a.test`)"}, {"match": "Host(`b.test`"}, {"match": "Host(`c.test`)"}]}}),
    );
    let seen = crate::discovery::kubernetes::ingress_route::claims(
        &object,
        crate::discovery::rule::Routers::Http,
        &options(),
        None,
    );
    let Seen::Partial(claims, problems) = seen else { panic!("{seen:?}") };
    let names: Vec<String> = claims.iter().map(|claim| claim.name.to_string()).collect();
    assert_eq!(names, ["a.test.", "c.test."]);
    assert!(problems[0].text.starts_with("spec.routes[1].match: column"), "{problems:?}");
}

#[test]
fn dns_endpoints_give_records() {
    let entry = |name: &str, kind: &str, targets: Value| json!({"dnsName": name, "recordType": kind, "targets": targets});
    for (title, endpoints, expected) in [
        (
            "addresses of both families are one claim",
            json!([
                entry("a.test", "A", json!(["192.0.2.1", "192.0.2.2"])),
                entry("a.test", "AAAA", json!(["2001:db8::1"]))
            ]),
            &["a.test. 192.0.2.1 192.0.2.2 2001:db8::1 [Unchecked]"][..],
        ),
        (
            "a CNAME, with a TTL",
            json!([{"dnsName": "c.test.", "recordType": "CNAME", "recordTTL": 60, "targets": ["lb.test."]}]),
            &["c.test. lb.test. [Unchecked] ttl 60"],
        ),
        (
            "records without checks; names in them are absolute",
            json!([
                entry("t.test", "TXT", json!(["v=spf1 -all", "\"a\" \"b\""])),
                entry("t.test", "MX", json!(["10 mail.test"])),
                {"dnsName": "_s._tcp.test", "recordType": "SRV", "recordTTL": 30, "targets": ["0 5 443 a.test."]},
                entry("t.test", "CAA", json!(["0 issue \"ca.test\""])),
                entry("1.2.0.192.in-addr.arpa", "PTR", json!(["a.test"])),
                entry("n.test", "NAPTR", json!(["100 10 \"u\" \"sip+E2U\" \"!^.*$!sip:a@x.test!\" ."])),
            ]),
            &[
                "t.test.  [Unchecked] TXT \"a\" \"b\" \"v=spf1 -all\" MX 10 mail.test. CAA 0 issue \"ca.test\"",
                "_s._tcp.test.  [Unchecked] SRV(30) 0 5 443 a.test.",
                "1.2.0.192.in-addr.arpa.  [Unchecked] PTR a.test.",
                "n.test.  [Unchecked] NAPTR 100 10 \"u\" \"sip+E2U\" \"!^.*$!sip:a@x.test!\" .",
            ],
        ),
        (
            "what is not taken",
            json!([
                entry("z.test", "NS", json!(["ns.test"])),
                entry("z.test", "A", json!(["2001:db8::1", "x"])),
                entry("z.test", "TXT", json!([])),
                entry("", "A", json!(["192.0.2.1"])),
                {"dnsName": "y.test", "recordType": "A", "recordTTL": -1, "targets": ["192.0.2.1"]},
            ]),
            &[
                "y.test. 192.0.2.1 [Unchecked]",
                "! refused: spec.endpoints[0]: NS records are not taken from a DNSEndpoint",
                "! malformed: spec.endpoints[1].targets: 2001:db8::1 does not suit type A",
                "! malformed: spec.endpoints[1].targets: x. does not suit type A",
                "! malformed: spec.endpoints[1]: z.test. has no targets",
                "! malformed: spec.endpoints[2]: z.test. TXT has no records",
                "! malformed: spec.endpoints[3].dnsName: \"\" is not a name",
                "! malformed: spec.endpoints[4].recordTTL: -1 is no TTL",
            ],
        ),
    ] {
        check(
            title,
            &mut world(options()),
            "DNSEndpoint",
            json!({"spec": {"endpoints": endpoints}}),
            expected,
        );
    }
}
