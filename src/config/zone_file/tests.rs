//! What a zone file means: the resolved header, owners and targets.

use std::path::PathBuf;

use super::*;
use crate::config::{Dnssec, DnssecConfig, KeyRole, KeySource, Order, PolicyLimits, Startup, WhenAllDown};
use crate::model::policy::{Members, Policy, Rule};
use crate::model::target::{Check, CheckKind, Damping, Endpoint, VerdictRules};

fn reader(text: &str) -> ZoneReader {
    let env: Environment = Box::new(|name| (name == "TOKEN").then(|| "Bearer x".to_owned()));
    ZoneReader::from_text_with(PathBuf::from("zones/z.json"), text.to_owned(), env, &Shared::default())
        .unwrap()
}

fn owners(reader: &ZoneReader) -> Vec<OwnerConfig> {
    let (mut owners, mut diagnostics) = (Vec::new(), Vec::new());
    reader.owners(&mut |owner| owners.push(owner), &mut diagnostics);
    assert_eq!(diagnostics, [], "{diagnostics:#?}");
    owners
}

/// The single owner of a zone `example.test` with the given records and further keys.
fn owner(records: &str, keys: &str) -> OwnerConfig {
    let text = format!(
        r#"{{"records": {{{records}}}, {keys} "zone": "Example.Test", "nameservers": "ns.example.org."}}"#
    );
    let mut found = owners(&reader(&text));
    assert_eq!(found.len(), 1, "{records}");
    found.remove(0)
}

fn shown(endpoints: &[Endpoint]) -> Vec<String> {
    let condition = |e: &Endpoint| e.condition.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    endpoints.iter().map(|e| format!("{} {} {}", e.data, e.weight, condition(e))).collect()
}

fn check_of(owner: &OwnerConfig) -> &Check {
    &owner.endpoints[0].target().unwrap().check
}

#[test]
fn reads_a_header() {
    let zone = reader(
        r#"{
        "$schema": "../schema/zone.json", "note": "x",
        "zone": "example.test.", "alias_zones": ["EXAMPLE.org"], "nameservers": ["ns1.example.test", "ns2.example.test"],
        "soa": { "note": "x", "mname": "ns.example.net", "rname": "first\\.last.example.test", "refresh": "1h", "retry": 600, "expire": "2w", "minimum": "1m", "ttl": "30s" },
        "default_ttl": "1h30m", "startup": "optimistic",
        "dnssec": { "keys": "../keys", "signature_validity": "10d", "refresh": "2d", "denial": "nsec" } }"#,
    );
    let header = zone.header();
    let name = |text| Name::parse_absolute(text).unwrap();
    assert_eq!((&header.apex, header.position), (&name("example.test"), Position { line: 3, column: 17 }));
    assert_eq!(header.alias_zones, [name("example.org")]);
    assert_eq!(header.nameservers, [name("ns1.example.test"), name("ns2.example.test")]);
    assert_eq!(header.soa.mname, Some(name("ns.example.net")));
    assert_eq!(header.soa.rname, Some(name("first\\.last.example.test")));
    let soa = &header.soa;
    assert_eq!(
        [soa.refresh, soa.retry, soa.expire, soa.minimum, soa.ttl],
        [3600, 600, 1_209_600, 60, 30].map(Some)
    );
    assert_eq!((header.default_ttl, header.startup), (5400, Startup::Optimistic));
    let keys = KeySource::Directory("zones/../keys".into());
    let dnssec = DnssecConfig { keys, signature_validity: 864_000, refresh: 172_800 };
    assert_eq!(header.dnssec, Dnssec::On(dnssec));
    assert_eq!(owners(&zone).len(), 0);
}

#[test]
fn fills_in_a_headers_defaults() {
    let zone = reader(r#"{"zone": "test", "nameservers": "ns.test"}"#);
    let header = zone.header();
    assert_eq!((header.default_ttl, header.startup, &header.dnssec), (300, Startup::Wait, &Dnssec::Absent));
    assert!(header.alias_zones.is_empty() && header.soa.rname.is_none() && zone.findings().is_empty());
}

#[test]
fn reads_dnssec_blocks() {
    for (block, want) in [
        (r#""off""#, Dnssec::Off),
        (
            r#"{"keys": "auto"}"#,
            Dnssec::On(DnssecConfig {
                keys: KeySource::Auto,
                signature_validity: 1_209_600,
                refresh: 345_600,
            }),
        ),
        (
            r#"{"keys": "auto", "signature_validity": "2d"}"#,
            Dnssec::On(DnssecConfig { keys: KeySource::Auto, signature_validity: 172_800, refresh: 86_400 }),
        ),
    ] {
        let zone = reader(&format!(r#"{{"zone": "test", "nameservers": "ns.test", "dnssec": {block}}}"#));
        assert_eq!(zone.header().dnssec, want, "{block}");
    }
    let zone = reader(
        r#"{"zone": "test", "nameservers": "ns.test", "dnssec": {"keys": [{"file": "a.pem", "role": "ksk", "algorithm": 13}, {"file": "/b.pem", "algorithm": "ed25519"}]}}"#,
    );
    let Dnssec::On(DnssecConfig { keys: KeySource::Files(files), .. }) = &zone.header().dnssec else {
        panic!()
    };
    let shown: Vec<_> =
        files.iter().map(|key| (key.file.to_str().unwrap(), key.role, key.algorithm)).collect();
    assert_eq!(shown, [("zones/a.pem", KeyRole::Ksk, Some(13)), ("/b.pem", KeyRole::Csk, Some(15))]);
}

#[test]
fn resolves_endpoints_into_targets() {
    let checks = r#""checks": {"web": {"https": {"path": "/healthz", "status": [200]}, "interval": "5s", "fall": 4}, "ssh": {"tcp": {}}},"#;
    for (records, want) in [
        (r#""w": ["192.0.2.1", "2001:db8::1"]"#, vec!["192.0.2.1 1 -", "2001:db8::1 1 -"]),
        (r#""w": {"A": "192.0.2.1"}"#, vec!["192.0.2.1 1 -"]),
        (r#""w": {"A": {"ttl": 5, "data": "192.0.2.1"}}"#, vec!["192.0.2.1 1 -"]),
        (r#""w": {"A": {"address": "192.0.2.1", "weight": 7}}"#, vec!["192.0.2.1 7 -"]),
        (
            r#""w": {"A": ["192.0.2.1"], "AAAA": ["::1"], "check": {"tcp": 443}}"#,
            vec!["192.0.2.1 1 tcp 192.0.2.1:443", "::1 1 tcp [::1]:443"],
        ),
        (
            r#""w": {"A": ["192.0.2.1"], "check": "web"}"#,
            vec!["192.0.2.1 1 https 192.0.2.1:443 w.example.test/healthz"],
        ),
        (
            r#""@": {"A": ["192.0.2.1"], "check": {"http": 8080}}"#,
            vec!["192.0.2.1 1 http 192.0.2.1:8080 example.test:8080/"],
        ),
        (
            r#""*.w": {"A": ["192.0.2.1"], "check": {"https": {"host": "w.test"}}}"#,
            vec!["192.0.2.1 1 https 192.0.2.1:443 w.test/"],
        ),
        (r#""*.w": {"A": ["192.0.2.1"], "check": {"tcp": 1}}"#, vec!["192.0.2.1 1 tcp 192.0.2.1:1"]),
        (
            r#""w": {"ips": ["192.0.2.1", "::1"], "health_port": 80}"#,
            vec!["192.0.2.1 1 tcp 192.0.2.1:80", "::1 1 tcp [::1]:80"],
        ),
        (
            r#""w": {"check": "ssh", "A": [{"address": "192.0.2.1", "probe": ":22"}, {"address": "192.0.2.2", "probe": "10.0.0.2:23"},
                {"address": "192.0.2.3", "probe": "[::1]:24"}, {"address": "192.0.2.4", "check": "none"}, {"address": "192.0.2.5", "check": {"tcp": 25}, "probe": "::1"}]}"#,
            vec![
                "192.0.2.1 1 tcp 192.0.2.1:22",
                "192.0.2.2 1 tcp 10.0.0.2:23",
                "192.0.2.3 1 tcp [::1]:24",
                "192.0.2.4 1 -",
                "192.0.2.5 1 tcp [::1]:25",
            ],
        ),
        (
            r#""w": {"A": [{"address": "192.0.2.1", "probe": ":18443"}], "check": "web"}"#,
            vec!["192.0.2.1 1 https 192.0.2.1:18443 w.example.test/healthz"],
        ),
    ] {
        assert_eq!(shown(&owner(records, checks).endpoints), want, "{records}");
    }
}

#[test]
fn identical_checks_are_identical_targets() {
    let text = r#"{"zone": "a.test", "nameservers": "ns.test", "records": {
        "x": {"A": ["192.0.2.1"], "check": {"tcp": 80, "interval": "10s"}}, "y": {"A": ["192.0.2.1"], "check": {"tcp": {"port": 80}}}}}"#;
    let found = owners(&reader(text));
    assert_eq!(found[0].endpoints[0].condition, found[1].endpoints[0].condition);
}

#[test]
fn fills_in_a_checks_defaults() {
    let found = owner(r#""w": {"A": "192.0.2.1", "check": {"https": {}}}"#, "");
    let check = check_of(&found);
    assert_eq!((check.interval_ms, check.timeout_ms, check.rise, check.fall), (10_000, 2000, 2, 3));
    let CheckKind::Http(http) = &check.kind else { panic!() };
    let tls = http.tls.as_ref().unwrap();
    assert_eq!((&*tls.sni, tls.verify, &tls.ca_file), ("w.example.test", true, &None));
    assert_eq!((&*http.host, &*http.path, &*http.method), ("w.example.test", "/", "GET"));
    assert_eq!((&http.status[..], http.follow, http.headers.len()), (&[(200, 399)][..], 0, 0));
    assert_eq!((&http.body_contains, &http.body_not), (&None, &None));
    let found = owner(r#""w": {"A": "192.0.2.1", "check": {"tcp": 1, "interval": "500ms"}}"#, "");
    assert_eq!(check_of(&found).timeout_ms, 500, "a default timeout follows a short interval");
}

#[test]
fn reads_the_rules_of_a_verdict() {
    let rules = |keys: &str| {
        let found = owner(&format!(r#""w": {{"A": "192.0.2.1", "check": {{"tcp": 1, {keys}}}}}"#), "");
        check_of(&found).rules
    };
    let damping =
        |flips, within_ms, hold_ms, hold_max_ms| Some(Damping { flips, within_ms, hold_ms, hold_max_ms });
    let none = VerdictRules::default();
    assert_eq!(rules(r#""rise": 1"#), none);
    let all = rules(r#""slower_than": "500ms", "slow_start": "2m", "damping": {}"#);
    assert_eq!((all.slower_than_ms, all.slow_start_ms), (Some(500), Some(120_000)));
    assert_eq!(all.damping, damping(5, 600_000, 60_000, 3_600_000));
    let own = rules(r#""damping": { "flips": 3, "within": "5m", "hold": "2h" }"#);
    assert_eq!(own, VerdictRules { damping: damping(3, 300_000, 7_200_000, 7_200_000), ..none });
}

#[test]
fn reads_every_key_of_an_https_check() {
    let found = owner(
        r#""w": {"A": "192.0.2.1", "check": {"https": {"port": 8443, "host": "h.test:9", "path": "/p?q=1", "method": "HEAD",
            "headers": {"Authorization": {"env": "TOKEN"}, "X-A": "b"}, "status": [204, "300-399"], "body_contains": "ok", "body_not": "bad",
            "follow": true, "verify": true, "ca_file": "example.json"}, "interval": "1m", "timeout": "1s", "rise": 5, "fall": 6}}"#,
        "",
    );
    let check = check_of(&found);
    assert_eq!((check.interval_ms, check.timeout_ms, check.rise, check.fall), (60_000, 1000, 5, 6));
    let CheckKind::Http(http) = &check.kind else { panic!() };
    let tls = http.tls.as_ref().unwrap();
    // A file that there is; what stands in it is for probes to find out.
    assert_eq!((&*tls.sni, tls.ca_file.as_deref()), ("h.test", Some(Path::new("zones/example.json"))));
    assert_eq!((&*http.host, &*http.path, &*http.method), ("h.test:9", "/p?q=1", "HEAD"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(http.headers, [header("Authorization", "Bearer x"), header("X-A", "b")]);
    assert_eq!((&http.status[..], http.follow), (&[(204, 204), (300, 399)][..], 5));
    assert_eq!((http.body_contains.as_deref(), http.body_not.as_deref()), (Some("ok"), Some("bad")));
    assert_eq!(found.endpoints[0].target().unwrap().address.port(), 8443);
}

#[test]
fn a_healthy_dns_shapes() {
    let found = owner(r#""w": {"ips": ["192.0.2.1"], "health_port": 8080}"#, "");
    let check = check_of(&found);
    assert_eq!((check.interval_ms, check.timeout_ms, check.rise, check.fall), (30_000, 2000, 1, 1));
    assert_eq!((&check.kind, found.when_all_down), (&CheckKind::Tcp, WhenAllDown::None));
    let found =
        owner(r#""w": {"ips": ["192.0.2.1"], "health_port": 8080, "when_all_down": "last-good"}"#, "");
    assert_eq!(found.when_all_down, WhenAllDown::LastGood, "a rule that is given stands");
    let found = owner(r#""w": ["192.0.2.1"]"#, "");
    assert_eq!((found.endpoints[0].condition.is_none(), found.when_all_down), (true, WhenAllDown::All));
}

#[test]
fn ttls_come_from_the_nearest_place() {
    let found = owner(
        r#""w": {"A": {"ttl": "1m", "data": ["192.0.2.1"]}, "AAAA": "::1", "MX": {"ttl": 7, "data": "10 a"}, "TXT": ["a", "b"], "ttl": "2m"}"#,
        "",
    );
    assert_eq!((found.a_ttl, found.aaaa_ttl), (Some(60), Some(120)));
    assert_eq!(
        found.rrsets.iter().map(|r| (r.rtype.to_string(), r.ttl, r.data.len())).collect::<Vec<_>>(),
        [("MX".to_owned(), Some(7), 1), ("TXT".to_owned(), Some(120), 2)]
    );
    let found = owner(r#""w": {"A": "192.0.2.1"}"#, r#""default_ttl": "1h","#);
    assert_eq!(
        (found.a_ttl, found.aaaa_ttl),
        (None, None),
        "auto and the zone's default are not decided here"
    );
    let found = owner(r#""w": {"ips": {"ttl": 9, "data": ["192.0.2.1", "::1"]}, "check": "none"}"#, "");
    assert_eq!((found.a_ttl, found.aaaa_ttl), (Some(9), Some(9)));
}

#[test]
fn reads_what_happens_when_all_are_down() {
    for (keys, rule, fallback) in [
        (r#""when_all_down": "all""#, WhenAllDown::All, 0),
        (r#""when_all_down": "last-good""#, WhenAllDown::LastGood, 0),
        (
            r#""when_all_down": "none", "order": "fixed", "startup": "optimistic", "policy": "all""#,
            WhenAllDown::None,
            0,
        ),
        (
            r#""when_all_down": "fallback", "fallback": {"A": ["192.0.2.98", "192.0.2.99"], "AAAA": "::9"}"#,
            WhenAllDown::Fallback,
            3,
        ),
        (r#""when_all_down": "fallback", "fallback": ["192.0.2.99"]"#, WhenAllDown::Fallback, 1),
    ] {
        let found = owner(&format!(r#""w": {{"A": "192.0.2.1", "check": {{"tcp": 1}}, {keys}}}"#), "");
        assert_eq!((found.when_all_down, found.fallback.len()), (rule, fallback), "{keys}");
        let fixed = keys.contains("fixed");
        assert_eq!(found.order, if fixed { Order::Fixed } else { Order::Rotate });
        assert_eq!(found.startup, fixed.then_some(Startup::Optimistic));
    }
}

#[test]
fn owner_names_are_relative_unless_they_end_in_a_dot() {
    for (key, want) in [
        ("@", "."),
        ("www", "www."),
        ("WWW.Sub", "www.sub."),
        ("*.apps", "*.apps."),
        ("www.example.test.", "www."),
        ("example.test.", "."),
        ("_443._tcp.w", "_443._tcp.w."),
        ("0/25", "0/25."),
        ("a\\\\.b", "a\\.b."),
        ("a\\\\.", "a\\.."),
        ("sp\\\\032ace", "sp\\032ace."),
        ("a.*.b", "a.*.b."),
    ] {
        let found = owner(&format!(r#""{key}": {{"TXT": "x"}}"#), "");
        assert_eq!(found.relative.to_string(), want, "{key}");
    }
}

#[test]
fn places_are_exact() {
    let text = "{\"zone\": \"example.test\", \"nameservers\": \"ns.test\", \"records\": {\n  \"ü\": 1,\n  \"a.b\": { \"A\": [\"192.0.2.1\",\n  \"192.0.2.2\"], \"MX\": { \"data\": [\"10 a\"] },\n\"TYPE65400\": \"\\\\# 0\" } } }";
    let zone = reader(text);
    let (mut found, mut diagnostics) = (Vec::new(), Vec::new());
    zone.owners(&mut |owner| found.push(owner), &mut diagnostics);
    assert_eq!(diagnostics.len(), 1);
    let place = |line, column| Position { line, column };
    assert_eq!(found[0].position, place(3, 3));
    assert_eq!(
        found[0].endpoint_places,
        [
            (place(3, 18), "records[\"a.b\"].A[0]".to_owned()),
            (place(4, 3), "records[\"a.b\"].A[1]".to_owned())
        ]
    );
    let data: Vec<_> =
        found[0].rrsets.iter().flat_map(|r| &r.data).map(|d| (&*d.text, d.position, &*d.path)).collect();
    assert_eq!(
        data,
        [
            ("10 a", place(4, 34), "records[\"a.b\"].MX.data[0]"),
            ("\\# 0", place(5, 14), "records[\"a.b\"].TYPE65400")
        ]
    );
}

#[test]
fn records_can_be_read_again() {
    let zone = reader(
        r#"{"records": {"note": "x", "a": ["192.0.2.1"], "b": {"note": "y", "TXT": "z"}}, "zone": "test", "nameservers": "ns.test"}"#,
    );
    let names = |owners: Vec<OwnerConfig>| owners.iter().map(|o| o.relative.to_string()).collect::<Vec<_>>();
    assert_eq!(names(owners(&zone)), ["a.", "b."]);
    assert_eq!(names(owners(&zone)), ["a.", "b."]);
}

#[test]
fn a_broken_header_does_not_hide_broken_records() {
    let text = r#"{"zone": 1, "records": {"a": ["x"]}, "checks": {"c": {"tcp": 0}}, "nameservers": []}"#;
    let errors = ZoneReader::from_text("z", text.to_owned(), &Shared::default()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| &*error.path).collect();
    assert_eq!(paths, ["zone", "records.a[0]", "checks.c.tcp", "nameservers"]);
}

#[test]
fn names_fit_together_with_every_apex() {
    let label = "a".repeat(63);
    let long = format!("{label}.{label}.{label}");
    let zone = |alias: &str| {
        let text = format!(
            r#"{{"zone": "test", "alias_zones": ["{alias}"], "nameservers": "ns.test", "records": {{"{long}": ["192.0.2.1"]}}}}"#
        );
        let (mut count, mut diagnostics) = (0, Vec::new());
        reader(&text).owners(&mut |_| count += 1, &mut diagnostics);
        (count, diagnostics.len())
    };
    // 192 octets and the root label: 62 are left for the alias, 61 of them for letters and the length octet.
    assert_eq!(zone(&"b".repeat(61)), (1, 0));
    assert_eq!(zone(&"b".repeat(62)), (0, 1));
}

#[test]
fn checks_combine_and_come_from_the_nearest_place() {
    let text = r#"{"checks": {"web": {"tcp": 80}, "ssh": {"tcp": 22}, "both": {"all": ["web", "ssh"]}}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hale.json");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("z.json"), "{}").unwrap();
    let args = crate::config::ServeArgs {
        config: Some(file),
        zones: vec![folder.path().join("z.json")],
        ..Default::default()
    };
    let (config, _) = crate::config::Config::load(&args, &|_| None, Path::new("")).unwrap();
    let check = |check: &str| {
        // The zone's own "web" goes before the server's; the server's "both" means the server's own.
        let text = format!(
            r#"{{"zone": "z.test", "nameservers": "ns.test", "checks": {{"web": {{"tcp": 8080}}, "three": {{"at_least": 2, "of": ["web", "both", {{"any": ["ssh", {{"tcp": 1}}]}}]}}}},
                "records": {{"w": {{"A": {{"address": "192.0.2.1", "probe": "127.0.0.1:9"}}, "check": {check}}}}}}}"#
        );
        let reader = ZoneReader::from_text("z.json", text, &config.shared).unwrap();
        owners(&reader)[0].endpoints[0].condition.as_ref().unwrap().to_string()
    };
    for (given, want) in [
        (r#""web""#, "tcp 127.0.0.1:9"),
        (r#""ssh""#, "tcp 127.0.0.1:9"),
        (r#""both""#, "all(tcp 127.0.0.1:80, tcp 127.0.0.1:22)"),
        (r#"{"any": ["web", "both"]}"#, "any(tcp 127.0.0.1:8080, all(tcp 127.0.0.1:80, tcp 127.0.0.1:22))"),
        (r#"{"all": ["web", {"tcp": {}}]}"#, "all(tcp 127.0.0.1:8080, tcp 127.0.0.1:9)"),
        (
            r#""three""#,
            "at_least 2 of(tcp 127.0.0.1:8080, all(tcp 127.0.0.1:80, tcp 127.0.0.1:22), any(tcp 127.0.0.1:22, tcp 127.0.0.1:1))",
        ),
    ] {
        assert_eq!(check(given), want, "{given}");
    }
}

#[test]
fn every_kind_becomes_a_target() {
    let target = |owner_name: &str, check: &str| {
        let records = format!(
            r#""{owner_name}": {{"A": {{"address": "192.0.2.1", "probe": "127.0.0.1"}}, "check": {check}}}"#
        );
        owner(&records, "").endpoints[0].target().unwrap().clone()
    };
    for (check, want) in [
        (r#"{"tcp": {"port": 25, "expect": "220 "}}"#, "tcp 127.0.0.1:25"),
        (r#"{"tls": {}}"#, "tls 127.0.0.1:443 w.example.test"),
        (r#"{"tls": {"port": 993, "sni": "imap.test"}}"#, "tls 127.0.0.1:993 imap.test"),
        (r#"{"grpc": 50051}"#, "grpc 127.0.0.1:50051 w.example.test:50051/"),
        (
            r#"{"grpc": {"port": 443, "tls": true, "service": "a.B"}}"#,
            "grpc 127.0.0.1:443 w.example.test/a.B",
        ),
        (r#"{"dns": {"name": "example.test", "type": "SOA"}}"#, "dns 127.0.0.1:53 example.test. SOA"),
        (r#"{"icmp": true}"#, "icmp 127.0.0.1"),
        (r#"{"exec": ["/bin/sh", "-x"]}"#, "exec 127.0.0.1 /bin/sh"),
        (r#"{"exec": {"argv": "check", "port": 5432}}"#, "exec 127.0.0.1:5432 check"),
        (
            r#"{"external": {"id": "web-{name}-{address}", "ttl": "1m"}}"#,
            "external web-w.example.test-192.0.2.1",
        ),
    ] {
        assert_eq!(target("w", check).to_string(), want, "{check}");
    }
    let check = |check: &str| target("w", check).check.kind.clone();
    let CheckKind::Tls(tls) =
        check(r#"{"tls": {"warn_expires_within": "21d", "fail_expires_within": 3600}}"#)
    else {
        panic!()
    };
    assert_eq!((tls.warn_expires_within_s, tls.fail_expires_within_s), (Some(1_814_400), Some(3600)));
    let CheckKind::Grpc(grpc) =
        check(r#"{"grpc": {"port": 1, "tls": true, "host": "api.test:1", "reuse": true}}"#)
    else {
        panic!()
    };
    let tls = grpc.tls.unwrap();
    assert_eq!((&*grpc.host, &*tls.sni, tls.verify, grpc.reuse), ("api.test:1", "api.test", true, true));
    let dns = r#"{"dns": {"name": "a.test", "type": "MX", "answer": "10 MAIL.a.test.", "tcp": true, "recursion": false}}"#;
    let CheckKind::Dns(dns) = check(dns) else { panic!() };
    assert_eq!((dns.tcp, dns.recursion, dns.rcode), (true, false, 0));
    assert_eq!(dns.answer, [b"\0\x0a\x04mail\x01a\x04test\0"]);
    let CheckKind::Icmp(icmp) = check(r#"{"icmp": {"size": 1000}}"#) else { panic!() };
    assert_eq!(icmp.size, 1000);
    let exec = r#"{"exec": {"argv": ["./example.json", "./data"], "env": {"SECRET": {"env": "TOKEN"}}}}"#;
    let CheckKind::Exec(exec) = check(exec) else { panic!() };
    assert_eq!(
        (&exec.argv[..], &*exec.name),
        (&["zones/./example.json".to_owned(), "./data".to_owned()][..], "w.example.test")
    );
    assert_eq!(exec.env, [("SECRET".to_owned(), "Bearer x".to_owned())]);
    let wildcard = target("*", r#"{"exec": ["check"]}"#);
    assert!(matches!(&wildcard.check.kind, CheckKind::Exec(exec) if exec.name == "*.example.test"));
    let external = r#"{"external": {"id": "x", "ttl": "90s", "expired": "up"}}"#;
    let CheckKind::External(external) = check(external) else { panic!() };
    assert_eq!((external.ttl_ms, external.expired), (90_000, crate::model::target::Verdict::Up));
    // Whoever has the same id shares the verdict, whatever the address.
    let text = r#"{"zone": "a.test", "nameservers": "ns.test", "records": {"x": {"A": ["192.0.2.1", "192.0.2.2"], "check": {"external": {"id": "x", "ttl": 60}}}}}"#;
    let found = owners(&reader(text));
    assert_eq!(found[0].endpoints[0].condition, found[0].endpoints[1].condition);
}

/// A policy as `rule[endpoints]` and `rule(pools)`, with names in front.
fn shown_policy(owner: &OwnerConfig) -> String {
    fn show(policy: &Policy, at: usize) -> String {
        let pool = &policy.pools[at];
        let mut text = pool.name.as_ref().map_or_else(String::new, |name| format!("{name}="));
        text += match &pool.rule {
            Rule::All => "all",
            Rule::Failover { failback: true } => "failover",
            Rule::Failover { failback: false } => "stay",
            Rule::Weighted => "weighted",
            Rule::Hashed => "hashed",
            Rule::Geo(_) => "geo",
        };
        text += &match &pool.members {
            Members::Endpoints(range) => format!("[{}-{}]", range.start, range.end),
            Members::Pools(members) => {
                let members = members.iter().map(|m| {
                    let weight = if m.weight == 1 { String::new() } else { format!("*{}", m.weight) };
                    show(policy, m.pool as usize) + &weight
                });
                format!("({})", members.collect::<Vec<_>>().join(" "))
            }
        };
        for (key, value) in [
            ("ans", pool.answers.map_or(0, usize::from)),
            ("min", usize::from(pool.min_healthy) - 1),
            ("thr", usize::from(pool.up_threshold)),
        ] {
            if value > 0 {
                let value = if key == "min" { value + 1 } else { value };
                text += &format!("/{key}={value}");
            }
        }
        text
    }
    owner.policy.as_ref().map_or_else(|| "-".to_owned(), |policy| show(policy, policy.root()))
}

#[test]
fn policies_over_addresses() {
    for (keys, want) in [
        (r#""A": ["192.0.2.1"]"#, "-"),
        (r#""policy": "all", "A": ["192.0.2.1"]"#, "-"),
        (r#""policy": "weighted", "A": ["192.0.2.1", "192.0.2.2"]"#, "weighted[0-2]"),
        (r#""policy": "failover", "ips": ["192.0.2.1", "::1"], "check": {"tcp": 1}"#, "failover[0-2]"),
        (
            r#""answers": 2, "A": ["192.0.2.1", "192.0.2.2"], "up_threshold": 50, "check": {"tcp": 1}"#,
            "all[0-2]/ans=2/thr=50",
        ),
        (r#""policy": "hashed", "answers": 3, "AAAA": ["::1"]"#, "hashed[0-1]/ans=3"),
    ] {
        assert_eq!(shown_policy(&owner(&format!(r#""w": {{{keys}}}"#), "")), want, "{keys}");
    }
}

#[test]
fn pools_inherit_and_are_resolved_once() {
    let keys = r#""checks": {"web": {"tcp": 443}}, "pools": {
        "fra": {"A": ["192.0.2.1", {"address": "192.0.2.2", "weight": 3}], "check": "web", "up_threshold": 40},
        "ams": {"AAAA": ["2001:db8::1"], "policy": "weighted"},
        "eu": {"policy": "failover", "pools": ["fra", "ams"], "failback": false}},"#;
    let found = owner(
        r#""w": {"policy": "weighted", "check": {"tcp": 80}, "min_healthy": 2, "answers": 1, "pools": [
            {"pool": "eu", "weight": 9}, "local", "fra",
            {"name": "local", "ips": ["192.0.2.9"], "min_healthy": 1, "check": "none"},
            {"policy": "hashed", "up_threshold": 70, "pools": [{"A": ["192.0.2.1"]}, "local"]}]}"#,
        keys,
    );
    assert_eq!(
        shown_policy(&found),
        "weighted(eu=stay(fra=all[0-2]/min=2/thr=40 ams=weighted[2-3]/min=2)*9 local=all[3-4] fra=all[0-2]/min=2/thr=40 local=all[3-4] hashed(all[4-5]/min=2/thr=70 local=all[3-4]))/ans=1"
    );
    assert_eq!(
        shown(&found.endpoints),
        [
            "192.0.2.1 1 tcp 192.0.2.1:443",
            "192.0.2.2 3 tcp 192.0.2.2:443",
            "2001:db8::1 1 tcp [2001:db8::1]:80",
            "192.0.2.9 1 -",
            "192.0.2.1 1 tcp 192.0.2.1:80",
        ]
    );
    let policy = found.policy.unwrap();
    assert_eq!(policy.names_around(0), ["fra", "eu"]);
    assert_eq!(policy.pools.len(), 7, "the same pool stands once");
}

#[test]
fn a_map_leads_to_pools_by_name_or_in_place() {
    let found = owner(
        r#""w": {"policy": "geo", "check": {"tcp": 80}, "pools": [{"name": "fra", "A": "192.0.2.1"}, {"name": "ams", "A": "192.0.2.2"}],
            "map": {"10.0.0.0/8": {"policy": "failover", "pools": ["fra", "ams"]}, "default": "ams",
                    "2001:db8::/32": {"pool": "fra", "weight": 2}}}"#,
        "",
    );
    assert_eq!(shown_policy(&found), "geo(failover(fra=all[0-1] ams=all[1-2]) ams=all[1-2] fra=all[0-1]*2)");
    let policy = found.policy.unwrap();
    let Rule::Geo(geo) = &policy.pools[policy.root()].rule else { panic!("{policy:?}") };
    assert_eq!((geo.default, &*geo.regions[0]), (1, "10.0.0.0/8"));
    let find = |client: &str| geo.table.find(client.parse().unwrap());
    assert_eq!([find("10.1.2.3"), find("11.0.0.0"), find("2001:db8::1")], [(0, 8), (1, 8), (2, 32)]);
}

#[test]
fn limits_of_policies_come_from_the_configuration() {
    let addresses: Vec<String> = (0..300).map(|i| format!("\"192.0.{}.{}\"", i / 256, i % 256)).collect();
    let text = format!(
        r#"{{"zone": "example.test", "nameservers": "ns.example.org.",
            "records": {{"www": {{"policy": "weighted", "A": [{}]}}}}}}"#,
        addresses.join(", ")
    );
    for (answers, ways, wanted) in [
        (256, 4096, Some("this policy can give 300 different answers, the limit is 256")),
        (300, 299, Some("these pools come to 300 ways to an answer, the limit is 299")),
        (300, 300, None),
    ] {
        let policy_limits = PolicyLimits { answers, ways };
        let shared = Shared { policy_limits, ..Shared::default() };
        let reader = ZoneReader::from_text("z.json", text.clone(), &shared).unwrap();
        let mut found = Vec::new();
        reader.owners(&mut |_| {}, &mut found);
        let messages: Vec<&str> = found.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        assert_eq!(messages.first().copied(), wanted, "{answers} {ways}");
    }
}
