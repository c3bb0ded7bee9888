//! What checked records of other types than addresses rest on, as data.

use super::*;
use crate::config::Shared;

/// The zone of a file with these records; `a.b` is an alias of it.
fn zone(records: &str, apex: &str) -> DesiredZone {
    let text = format!(
        r#"{{ "zone": "a.test", "alias_zones": ["b.test"], "nameservers": ["ns.example.net"],
            "checks": {{ "smtp": {{ "tcp": {{ "expect": "220 " }}, "interval": "30s" }} }},
            "records": {{ "h1": ["192.0.2.1"], "h2": ["192.0.2.2", "2001:db8::2"], "way": {{ "CNAME": "h1" }},
                "up": {{ "A": ["192.0.2.3"], "check": {{ "tcp": 9 }} }}, {records} }} }}"#
    );
    let reader = ZoneReader::from_text("a.json", text, &Shared::default()).unwrap();
    let (zone, found) = read(&reader, &Name::parse_absolute(apex).unwrap(), 1);
    zone.unwrap_or_else(|| panic!("{found:?}"))
}

/// Compares what each record of the owner `x` rests on, and the TTL of the last.
#[track_caller]
fn check(keys: &str, expected: &[&str], ttl: u32) {
    for apex in ["a.test", "b.test"] {
        let zone = zone(&format!(r#""x": {{ {keys} }}"#), apex);
        let owner = zone.owners.get(&Name::parse_absolute(&format!("x.{apex}")).unwrap()).unwrap();
        let checked = owner.checked.as_ref().unwrap();
        let found: Vec<String> = checked
            .endpoints
            .iter()
            .map(|endpoint| match &endpoint.condition {
                Some(condition) => format!("{}: {condition}", endpoint.data),
                None => format!("{}: always", endpoint.data),
            })
            .collect();
        // An alias zone has its own names, and shares the probes.
        let expected: Vec<String> = expected
            .iter()
            .map(|line| {
                let (data, so) = line.split_once(": ").unwrap();
                format!("{}: {so}", data.replace("a.test", apex))
            })
            .collect();
        assert_eq!(found, expected, "{keys}");
        let last = checked.endpoints.last().unwrap().data.rtype();
        assert_eq!(checked.ttl(last), ttl, "{keys}");
        assert!(owner.rrsets.iter().all(|set| set.rtype != last), "no RRset stands twice");
    }
}

#[test]
fn hosts_are_probed_at_the_addresses_that_the_zone_has_of_them() {
    check(
        r#""MX": [{ "data": "10 h1", "check": { "tcp": 25 } }, "20 h2"]"#,
        &["MX 10 h1.a.test.: tcp 192.0.2.1:25", "MX 20 h2.a.test.: always"],
        20,
    );
    check(
        r#""MX": { "data": ["10 h2", { "data": "20 up", "check": "none" }], "check": "smtp" }"#,
        &["MX 10 h2.a.test.: any(tcp 192.0.2.2:25, tcp [2001:db8::2]:25)", "MX 20 up.a.test.: always"],
        60,
    );
    check(
        r#""MX": { "ttl": 7, "data": [{ "data": "10 up", "check": { "all": ["smtp", { "icmp": true }] } }] }"#,
        &["MX 10 up.a.test.: all(tcp 192.0.2.3:25, icmp 192.0.2.3)"],
        7,
    );
    // A record's port is that of the check, which knows no better.
    check(
        r#""SRV": [{ "data": "1 5 8443 h1", "check": { "https": {} } }, { "data": "2 5 8443 h1", "check": { "tcp": {} } },
            { "data": "3 5 8443 h1", "check": { "tcp": 99 } }]"#,
        &[
            "SRV 1 5 8443 h1.a.test.: https 192.0.2.1:8443 h1.a.test:8443/",
            "SRV 2 5 8443 h1.a.test.: tcp 192.0.2.1:8443",
            "SRV 3 5 8443 h1.a.test.: tcp 192.0.2.1:99",
        ],
        20,
    );
    // Clients of an alias ask for the alias.
    check(
        r#""CNAME": "way", "check": { "https": { "path": "/up" } }"#,
        &["CNAME way.a.test.: https 192.0.2.1:443 x.a.test/up"],
        20,
    );
}

#[test]
fn what_is_given_is_probed_instead() {
    check(
        r#""CNAME": { "data": "lb.example.net.", "probe": "198.51.100.1:8080" }, "check": { "http": {} }"#,
        &["CNAME lb.example.net.: http 198.51.100.1:8080 x.a.test/"],
        20,
    );
    check(
        r#""SRV": [{ "data": "1 1 993 h2", "check": { "tcp": {} }, "probe": "198.51.100.1" }, { "data": "2 1 993 h1", "check": { "tcp": {} }, "probe": ":5" }]"#,
        &["SRV 1 1 993 h2.a.test.: tcp 198.51.100.1:993", "SRV 2 1 993 h1.a.test.: tcp 192.0.2.1:5"],
        20,
    );
    // What follows another name, or is pushed, needs no address at all.
    check(
        r#""MX": [{ "data": "10 mx.example.net.", "check": { "name": "up.a.test" } },
            { "data": "20 mx2.example.net.", "check": { "external": { "id": "{name}", "ttl": "1h" } } }]"#,
        &["MX 10 mx.example.net.: name up.a.test.", "MX 20 mx2.example.net.: external mx2.example.net"],
        10,
    );
}

#[test]
fn groups_stand_beside_each_other() {
    check(
        r#""A": ["192.0.2.9"], "MX": [{ "data": "10 h1", "check": { "tcp": 25, "interval": "5s" } }], "check": { "tcp": 80 }"#,
        &["192.0.2.9: tcp 192.0.2.9:80", "MX 10 h1.a.test.: tcp 192.0.2.1:25"],
        10,
    );
    check(
        r#""policy": "failover", "check": { "tcp": 443 }, "pools": [{ "name": "a", "CNAME": "h1" },
            { "name": "b", "CNAME": { "data": "lb.example.net.", "probe": "198.51.100.1" } },
            { "name": "c", "CNAME": "last.example.net.", "check": "none" },
            { "name": "d", "CNAME": "lb.example.net.", "probe": "198.51.100.2:8443" }]"#,
        &[
            "CNAME h1.a.test.: tcp 192.0.2.1:443",
            "CNAME lb.example.net.: tcp 198.51.100.1:443",
            "CNAME last.example.net.: always",
            "CNAME lb.example.net.: tcp 198.51.100.2:8443",
        ],
        20,
    );
}

#[test]
fn plain_records_stay_plain() {
    let zone = zone(
        r#""x": { "MX": ["10 h1"], "SRV": { "data": "1 1 1 h1" } }, "y": { "CNAME": { "data": "h1" } }"#,
        "a.test",
    );
    for owner in ["x.a.test", "y.a.test"] {
        let owner = zone.owners.get(&Name::parse_absolute(owner).unwrap()).unwrap();
        assert!(owner.checked.is_none() && !owner.rrsets.is_empty());
    }
}
