use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::{Config, ServeArgs};
use crate::discovery::claim::{ObjectKind, Route, Wishes};
use crate::discovery::guard::{Guard, GuardRules, Now};
use crate::discovery::source::{Report, Seen};
use crate::model::rrset::RdataSet;
use crate::model::rrtype::RrType;

/// The sources of a `hale.json` whose `sources` and further keys are given.
pub(in crate::discovery) fn sources(text: &str) -> (crate::config::SourcesConfig, Arc<Shared>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hale.json");
    std::fs::write(&file, text).unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("zones/a.json"), "{}").unwrap();
    let args = ServeArgs { config: Some(file), ..ServeArgs::default() };
    let (config, _) = Config::load(&args, &|_| None, Path::new("")).unwrap();
    (config.sources, config.shared)
}

/// An object with its claim: `source kind namespace/name created targets`, targets being addresses, hosts or `default`.
fn object(text: &str) -> (usize, ObjectKey, Claim) {
    let parts: Vec<&str> = text.split(' ').collect();
    let (namespace, name) = parts[2].split_once('/').unwrap();
    let kind = ObjectKind::ALL.into_iter().find(|kind| kind.label() == parts[1]).unwrap();
    let target = |text: &str| match text.parse() {
        Ok(ip) => HostTarget::Address(ip),
        Err(_) => HostTarget::Host(Name::parse_absolute(text).unwrap()),
    };
    let targets = match parts[4] {
        "default" => Targets::Default,
        list => Targets::Known(list.split(',').map(target).collect()),
    };
    let mut claim = Claim::new(Name::root(), targets, Route::Https(None));
    claim.created = parts[3].parse().ok();
    (parts[0].parse().unwrap(), ObjectKey { kind, namespace: namespace.into(), name: name.into() }, claim)
}

/// What `www.shop.test` (or a name of its own) comes to by these objects.
fn merged(config: &str, name: &str, objects: Vec<(usize, ObjectKey, Claim)>) -> Merged {
    let (config, shared) = sources(config);
    let name = Name::parse_absolute(name).unwrap();
    let rules = GuardRules { remove_after_ms: 0, brake: Default::default(), polled: false, add_only: false };
    let mut guards: Vec<Guard> = config.list.iter().map(|_| Guard::new(rules)).collect();
    for (order, (source, key, claim)) in (0..).zip(objects) {
        let claim = Claim { name: name.clone(), ..claim };
        let now = Now { ms: order, wall_ms: order };
        guards[source].apply(Report::Changed(key, Seen::Claims(vec![claim], vec![])), now);
    }
    let candidates: Vec<Candidate<'_>> = guards
        .iter()
        .enumerate()
        .flat_map(|(source, g)| {
            g.claims_for(&name).map(move |(key, standing)| Candidate { source, key, standing })
        })
        .collect();
    let rules =
        MergeRules { sources: &config.list, conflict: config.conflict, shared: &shared, observed: false };
    merge(&name, &candidates, &rules)
}

/// Addresses, pools and host of what is published, then the kinds of notes.
fn show(merged: &Merged) -> String {
    let mut parts = Vec::new();
    if let Some(name) = &merged.name {
        let addresses = name.endpoints.iter().map(|e| e.data.address().unwrap().to_string());
        parts.extend(addresses);
        parts.extend(name.hostname.iter().map(|host| format!("host={host}")));
        let pools = name.policy.iter().flat_map(|policy| &policy.pools);
        parts.extend(pools.filter_map(|pool| Some(format!("pool={}", pool.name.as_ref()?))));
        parts.extend(name.ttl.map(|ttl| format!("ttl={ttl}")));
        parts.extend(name.rrsets.iter().map(|rrset| format!("{}", rrset.rtype)));
    }
    parts.extend(merged.notes.iter().map(|note| format!("{}:{}", note.object, note.kind.label())));
    parts.join(" ")
}

const TWO: &str = r#""sources": [
    { "name": "edge", "traefik": { "url": "http://t" }, "default_targets": "192.0.2.40", "ttl": "1m",
      "visibility": "internal", "exclude_routers": ["api*@docker"], "exclude_names": ["~^private\\."],
      "rules": [ { "match": { "router": "lan*@file" }, "targets": "10.0.0.2" } ] },
    { "name": "prod", "kubernetes": { "in_cluster": true }, "zones": ["shop.test"],
      "allow": [ { "namespaces": ["shop", "eu-*"], "names": ["*.shop.test"] } ] } ]"#;

#[track_caller]
fn check(more: &str, name: &str, objects: &[&str], expected: &str) {
    let config = format!("{{ {TWO}{more} }}");
    let found = merged(&config, name, objects.iter().map(|text| object(text)).collect());
    assert_eq!(show(&found), expected, "{more} {name} {objects:?}");
}

#[test]
fn what_is_published() {
    let www = "www.shop.test";
    check("", www, &["1 ingress shop/a 5 192.0.2.1"], "192.0.2.1");
    check("", www, &["0 router docker/a - default"], "192.0.2.40 ttl=60");
    check("", www, &["0 router file/lan-a - default"], "10.0.0.2 ttl=60");
    check("", www, &["1 service shop/a 5 lb.example.net"], "host=lb.example.net.");
    check("", www, &["1 ingress shop/a 5 default"], "ingress/shop/a:no_targets");
    // Claims of one namespace are merged, the oldest first.
    check(
        "",
        www,
        &["1 ingress shop/b 6 192.0.2.2,192.0.2.1", "1 ingress shop/a 5 192.0.2.1"],
        "192.0.2.1 192.0.2.2",
    );
    check(
        "",
        www,
        &["1 ingress shop/a 5 192.0.2.1", "1 service shop/b 6 lb.example.net"],
        "192.0.2.1 ingress/shop/a:differs",
    );
}

#[test]
fn what_is_left_out() {
    // By the name that Traefik has made for one of several entry points, too.
    let (source, key, mut claim) = object("0 router docker/websecure-api - default");
    claim.entry_points = vec!["websecure".into()];
    assert_eq!(show(&merged(&format!("{{ {TWO} }}"), "www.shop.test", vec![(source, key, claim)])), "");
    check("", "www.blog.test", &["1 ingress shop/a 5 192.0.2.1"], "");
    check("", "private.shop.test", &["0 router docker/a - default"], "");
    check("", "www.shop.test", &["0 router docker/api - default"], "");
    check("", "www.shop.test", &["0 router docker/a-external - default"], "");
    check("", "www.shop.test", &["0 router docker/a-internal - default"], "192.0.2.40 ttl=60");
    check("", "www.shop.test", &["1 ingress evil/a 5 192.0.2.66"], "ingress/evil/a:not_allowed");
    check("", "www.shop.test", &["1 ingress eu-1/a 5 192.0.2.1"], "192.0.2.1");
}

#[test]
fn conflicts() {
    let www = "www.shop.test";
    let all = ["1 ingress eu-1/x 9 192.0.2.9", "1 ingress shop/a 5 192.0.2.1", "0 router docker/a - default"];
    check("", www, &all, "192.0.2.40 ttl=60 ingress/shop/a:conflict ingress/eu-1/x:conflict");
    check(
        r#", "conflict": "oldest""#,
        www,
        &all,
        "192.0.2.9 ingress/shop/a:conflict router/a@docker:conflict",
    );
    check(
        r#", "conflict": "merge""#,
        www,
        &all,
        "192.0.2.40 192.0.2.1 pool=edge pool=prod ttl=60 ingress/eu-1/x:conflict",
    );
    check(
        r#", "conflict": "reject""#,
        www,
        &all,
        "router/a@docker:conflict ingress/shop/a:conflict ingress/eu-1/x:conflict",
    );
    // A host name is no pool: who comes first says which of the two the name is.
    let hosts = ["1 service shop/h 5 lb.example.net", "0 router docker/a - default"];
    let merge = r#", "conflict": "merge""#;
    check(merge, www, &hosts, "192.0.2.40 ttl=60 service/shop/h:conflict");
    let found = merged(&format!("{{ {TWO}{merge} }}"), www, hosts.iter().map(|text| object(text)).collect());
    let text =
        "www.shop.test is published for router/a@docker of edge; a host name and addresses do not merge";
    assert_eq!(&*found.notes[0].text, text);
    let first = ["1 ingress eu-1/x 9 192.0.2.9", "1 service shop/h 5 lb.example.net"];
    check(merge, www, &first, "host=lb.example.net. ingress/eu-1/x:conflict");
    let two = ["1 service shop/h 5 a.example.net", "1 service eu-1/h 6 b.example.net"];
    check(merge, www, &two, "host=a.example.net. service/eu-1/h:conflict");
    // Addresses of two sources that are the same.
    let same = ["1 ingress shop/a 5 192.0.2.40", "0 router docker/a - default"];
    check(merge, www, &same, "192.0.2.40 192.0.2.40 pool=edge pool=prod ttl=60");
    // Who says the same is no rival.
    check(
        r#", "conflict": "reject""#,
        www,
        &["1 ingress eu-1/x 9 192.0.2.1", "1 ingress shop/a 5 192.0.2.1"],
        "192.0.2.1",
    );
}

/// Several instances of Traefik: each has targets of its own, and who wins for the same name is what `conflict` says.
#[test]
fn instances_have_targets_of_their_own() {
    let config = |more: &str| {
        format!(
            r#"{{ "sources": [ {{ "name": "fra", "traefik": {{ "url": "http://a" }}, "default_targets": "192.0.2.1" }},
                 {{ "name": "ams", "traefik": {{ "url": "http://b" }}, "default_targets": ["198.51.100.1", "2001:db8::1"],
                    "rules": [ {{ "match": {{ "name": "lan.*" }}, "targets": "10.0.0.1" }} ] }} ]{more} }}"#
        )
    };
    let both = || vec![object("0 router docker/a - default"), object("1 router docker/a - default")];
    let at = |more: &str, objects| show(&merged(&config(more), "www.test", objects));
    assert_eq!(at("", vec![object("0 router docker/a - default")]), "192.0.2.1");
    assert_eq!(at("", vec![object("1 router docker/a - default")]), "198.51.100.1 2001:db8::1");
    assert_eq!(
        show(&merged(&config(""), "lan.test", vec![object("1 router docker/a - default")])),
        "10.0.0.1"
    );
    assert_eq!(at("", both()), "192.0.2.1 router/a@docker:conflict");
    let merge = at(r#", "conflict": "merge""#, both());
    assert_eq!(merge, "192.0.2.1 198.51.100.1 2001:db8::1 pool=fra pool=ams");
    // Two routers of a provider are one name.
    let twice = vec![object("0 router docker/a - default"), object("0 router docker/b - default")];
    assert_eq!(at("", twice), "192.0.2.1");
}

#[test]
fn rrsets_have_precedence_of_their_own() {
    let txt =
        |text: &str| vec![DiscoveredRrset { rtype: RrType::TXT, rdata: RdataSet::new([text]), ttl: None }];
    let with = |text: &str, rrsets| {
        let (source, key, claim) = object(text);
        (source, key, Claim { rrsets, targets: Targets::Known(vec![]), ..claim })
    };
    let found = merged(
        &format!("{{ {TWO} }}"),
        "www.shop.test",
        vec![
            object("0 router docker/a - default"),
            with("1 dnsendpoint shop/t 5 default", txt("\x01a")),
            with("1 dnsendpoint shop/u 6 default", txt("\x01b")),
            with("1 dnsendpoint eu-1/v 7 default", txt("\x01c")),
        ],
    );
    let expected = "192.0.2.40 ttl=60 TXT dnsendpoint/shop/u:differs dnsendpoint/eu-1/v:conflict";
    assert_eq!(show(&found), expected);
    let name = found.name.unwrap();
    assert_eq!(name.rrsets[0].rdata, RdataSet::new(["\x01a"]));
    let origins: Vec<&str> = name.origins.iter().map(|origin| &*origin.object).collect();
    assert_eq!(origins, ["router/a@docker", "dnsendpoint/shop/t", "dnsendpoint/shop/u"]);
}

/// The condition of the first endpoint of a name with this route and these wishes.
#[track_caller]
fn checked(route: Route, name: &str, points: &[&str], wish: Option<&str>, expected: &str) {
    let config = r#"{ "checks": { "ssh": { "tcp": 22 }, "page": { "http": { "path": "/up" } } },
        "sources": [ { "name": "e", "traefik": { "url": "http://t" }, "default_targets": "192.0.2.1",
        "ports": { "alt": 8443 } } ] }"#;
    let (source, key, mut claim) = object("0 router docker/a - default");
    claim.route = route;
    claim.entry_points = points.iter().map(|point| (*point).into()).collect();
    claim.wishes = Wishes { check: wish.map(Into::into), ..Wishes::default() };
    let found = merged(config, name, vec![(source, key, claim)]);
    let name = found.name.unwrap();
    let shown = name.endpoints[0].condition.as_ref().map_or("none".to_owned(), ToString::to_string);
    assert_eq!(shown, expected);
}

#[test]
fn what_was_routed_is_what_is_checked() {
    let gate = |port: u16, rest: &str| format!("all(tcp 192.0.2.1:{port}, {rest})");
    let a = "a.test";
    checked(Route::Https(None), a, &[], None, &gate(443, "https 192.0.2.1:443 a.test/"));
    checked(Route::Http(None), a, &["web"], None, &gate(80, "http 192.0.2.1:80 a.test/"));
    checked(Route::Https(None), a, &["alt"], None, &gate(8443, "https 192.0.2.1:8443 a.test:8443/"));
    checked(Route::Https(Some(9443)), a, &["alt"], None, &gate(9443, "https 192.0.2.1:9443 a.test:9443/"));
    checked(Route::Tls(None), a, &[], None, &gate(443, "tls 192.0.2.1:443 a.test"));
    checked(Route::Tcp(5432), a, &[], None, "tcp 192.0.2.1:5432");
    checked(Route::Https(None), "*.a.test", &[], None, "tcp 192.0.2.1:443");
    checked(Route::Unchecked, a, &[], None, "none");
    checked(Route::Https(None), a, &[], Some("ssh"), "tcp 192.0.2.1:22");
    checked(Route::Https(None), a, &[], Some("page"), "http 192.0.2.1:80 a.test/up");
    checked(Route::Https(None), a, &[], Some("none"), "none");
    // A check that does not exist is no reason not to check.
    checked(Route::Tcp(1), a, &[], Some("nix"), "tcp 192.0.2.1:1");
}

#[test]
fn what_becomes_an_alias_is_checked_at_the_addresses_of_its_host() {
    let shown = |config: &str, wish: Option<&str>| {
        let (source, key, mut claim) = object("1 service shop/a 5 lb.example.net");
        claim.wishes.check = wish.map(Into::into);
        let found = merged(config, "a.shop.test", vec![(source, key, claim)]).name.unwrap();
        found.host_condition.map_or("none".to_owned(), |condition| condition.to_string())
    };
    let config = format!("{{ {TWO} }}");
    assert_eq!(shown(&config, None), "all(tcp 0.0.0.0:443, https 0.0.0.0:443 a.shop.test/)");
    assert_eq!(shown(&config, Some("none")), "none");
    let checks = format!(r#"{{ "checks": {{ "ssh": {{ "tcp": 22 }} }}, {TWO} }}"#);
    assert_eq!(shown(&checks, Some("ssh")), "tcp 0.0.0.0:22");
}

/// By reference to Traefik: its own 404 is a failure, unless it says so everywhere; the first "down" takes `fall` failures.
#[test]
fn the_default_check_knows_traefiks_404() {
    use crate::model::check::CheckKind;
    let found = merged(&format!("{{ {TWO} }}"), "a.shop.test", vec![object("0 router docker/a - default")]);
    let condition = found.name.unwrap().endpoints.remove(0).condition.unwrap();
    let mut seen = Vec::new();
    condition.for_each_target(&mut |target| {
        let check = &target.check;
        let body_not = match &check.kind {
            CheckKind::Http(http) => {
                assert_eq!(
                    (&*http.status, http.tls.as_ref().map(|tls| tls.verify)),
                    (&[(200, 499)][..], Some(false))
                );
                http.body_not.as_deref()
            }
            _ => None,
        };
        seen.push((body_not, check.rules.needs_witness));
        assert_eq!((check.rules.patient, check.rise, check.fall, check.interval_ms), (true, 2, 3, 10_000));
    });
    assert_eq!(seen, [(None, false), (Some("404 page not found"), true)]);
}

/// Pods that are ready behind an ingress that is not: only what is published is probed, so nothing else can make it look healthy.
#[test]
fn what_is_published_is_what_is_probed() {
    for (kind, route) in [
        ("ingress", Route::Http(None)),
        ("ingress", Route::Https(None)),
        ("tlsroute", Route::Tls(Some(8443))),
        ("service", Route::Tcp(5432)),
    ] {
        let text = format!("1 {kind} shop/a 5 192.0.2.1,2001:db8::1");
        let (source, key, claim) = object(&text);
        let found =
            merged(&format!("{{ {TWO} }}"), "www.shop.test", vec![(source, key, Claim { route, ..claim })]);
        let endpoints = found.name.unwrap().endpoints;
        assert_eq!(endpoints.len(), 2);
        for endpoint in endpoints {
            let mut probed = 0;
            endpoint.condition.as_ref().unwrap().for_each_target(&mut |target| {
                probed += 1;
                assert_eq!(Some(target.address.ip()), endpoint.data.address(), "{target}");
            });
            assert!(probed > 0, "{text}");
        }
    }
}

#[test]
fn two_names_of_an_address_share_its_gate() {
    let gate = |name: &str| {
        let found = merged(&format!("{{ {TWO} }}"), name, vec![object("0 router docker/a - default")]);
        match found.name.unwrap().endpoints.remove(0).condition.unwrap() {
            crate::model::condition::Condition::All(parts) => parts[0].as_target().unwrap().clone(),
            other => panic!("{other}"),
        }
    };
    assert_eq!(gate("a.shop.test"), gate("b.shop.test"));
}

#[test]
fn wishes() {
    let with = |policy: &str, weight: &str| {
        let (source, key, claim) = object("1 ingress shop/a 5 192.0.2.1,192.0.2.2");
        let wishes = Wishes { policy: Some(policy.into()), weight: Some(weight.into()), check: None };
        merged(&format!("{{ {TWO} }}"), "www.shop.test", vec![(source, key, Claim { wishes, ..claim })])
    };
    let found = with("failover", "7");
    let name = found.name.as_ref().unwrap();
    assert_eq!(name.policy.as_ref().unwrap().pools[0].rule, Rule::Failover { failback: true });
    assert_eq!((name.endpoints[1].weight, found.notes.len()), (7, 0));
    let found = with("roundrobin", "0");
    assert_eq!((found.name.unwrap().policy, found.notes.len()), (None, 2));
}
