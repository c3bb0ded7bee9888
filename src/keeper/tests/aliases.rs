//! Owners that have the addresses of another host.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::dnssec::denial;
use crate::model::discovered::{Amendment, DiscoveredName, DiscoveredRrset};
use crate::model::resolved::Addresses;
use crate::model::rrset::RdataSet;
use crate::model::target::{Check, CheckKind, Target};

fn zone(dnssec: &str) -> String {
    format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.net"], {dnssec}
            "records": {{
                "@": {{ "ALIAS": "lb.cdn.example.", "TXT": ["apex"] }},
                "shop": {{ "ALIAS": "lb.cdn.example.", "check": {{ "tcp": 443 }} }},
                "www": {{ "A": ["192.0.2.1", "192.0.2.2"], "check": {{ "tcp": 80 }} }}
            }} }}"#
    )
}

impl House {
    fn resolve(&self, v4: Option<&[u8]>, v6: Option<&[u8]>) {
        let v4 = v4.map(|v4| v4.iter().map(|i| Ipv4Addr::new(198, 51, 100, *i)).collect());
        let v6 = v6.map(|v6| {
            v6.iter().map(|i| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(*i))).collect()
        });
        self.keeper.resolved(vec![(name("lb.cdn.example"), Arc::new(Addresses { v4, v6 }))]);
        self.settle();
    }

    fn bitmap(&self, owner: &str) -> Vec<RrType> {
        let records = self.owner(owner).unwrap();
        let nsec = records.rrsets.iter().find(|r| r.rrset.rtype == RrType::NSEC).unwrap();
        let mut types = denial::parse_nsec(nsec.rrset.rdata.iter().next().unwrap()).unwrap().1;
        types.retain(|t| matches!(*t, RrType::A | RrType::AAAA | RrType::TXT | RrType::CNAME));
        types
    }
}

#[test]
fn an_alias_waits_for_its_host_and_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = zone(r#""dnssec": { "keys": "auto" },"#);
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    assert!(!house.findings.iter().any(Diagnostic::is_error), "{:?}", house.findings);
    let pending = |owner| house.owner(owner).unwrap().pending;
    assert_eq!(pending("example.test"), [RrType::A, RrType::AAAA]);
    assert_eq!(house.bitmap("shop.example.test"), [RrType::A, RrType::AAAA]);
    // One family is known: the other one is still awaited.
    house.resolve(Some(&[7, 8]), None);
    assert_eq!((house.addresses("example.test"), pending("example.test")), (vec![7, 8], vec![RrType::AAAA]));
    assert_eq!(house.addresses("shop.example.test"), [7, 8], "new addresses count as up");
    house.flip("198.51.100.7:443", Verdict::Down);
    assert_eq!(
        (house.addresses("shop.example.test"), house.addresses("example.test")),
        (vec![8], vec![7, 8])
    );
    assert_eq!(pending("shop.example.test"), [RrType::AAAA], "a verdict does not end the wait");
    house.resolve(Some(&[7, 8, 9]), Some(&[]));
    assert_eq!(house.addresses("shop.example.test"), [8, 9], "verdicts stay");
    assert_eq!(pending("shop.example.test"), []);
    assert_eq!(house.bitmap("example.test"), [RrType::A, RrType::TXT]);
    let serial = house.serial("example.test");
    house.resolve(Some(&[7, 8, 9]), Some(&[]));
    assert_eq!(house.serial("example.test"), serial);
    // A builder makes the same of it.
    assert_eq!(house.reload(&[("a.json", &text)], false), [("example.test.".into(), Change::Unchanged)]);
    house.resolve(Some(&[]), Some(&[]));
    assert_eq!(
        types(&house.owner("shop.example.test").unwrap()),
        [RrType::NSEC],
        "NODATA, and the name stays"
    );
    assert_eq!(house.targets.borrow().len(), 2);
    assert_eq!(house.reload(&[("a.json", &text)], false), [("example.test.".into(), Change::Unchanged)]);
    house.stop();
}

#[test]
fn a_discovered_host_becomes_an_alias_beside_other_data() {
    let text = zone("").replace(r#""www""#, r#""m": { "TXT": ["m"] }, "www""#);
    let house = House::start(&[("a.json", &text)], None);
    let kind = CheckKind::Tcp;
    let rules = Default::default();
    let check = Check { kind, interval_ms: 5000, timeout_ms: 1000, rise: 2, fall: 3, rules };
    let target = Target { address: ([0, 0, 0, 0], 443).into(), check: Arc::new(check) };
    let wanted = |rrsets: Vec<DiscoveredRrset>, host: &str| {
        let hostname = Some(name(host));
        let (endpoints, policy, ttl, may_be_apex, origins) = (Vec::new(), None, None, true, Arc::new([]));
        let host_condition = Some(target.clone().into());
        let found =
            DiscoveredName { endpoints, policy, hostname, host_condition, rrsets, ttl, may_be_apex, origins };
        Some(Arc::new(found))
    };
    let caa = DiscoveredRrset { rtype: RrType::HINFO, rdata: RdataSet::new([b"\x01a\x01b"]), ttl: None };
    let changes = vec![
        (name("m.example.test"), wanted(vec![], "lb.cdn.example")),
        (name("n.example.test"), wanted(vec![caa], "lb.cdn.example")),
        (name("c.example.test"), wanted(vec![], "lb.cdn.example")),
    ];
    assert_eq!(house.keeper.amend(Amendment { changes }), Some(vec![]));
    house.resolve(Some(&[7]), Some(&[1]));
    assert_eq!(types(&house.owner("m.example.test").unwrap()), [RrType::A, RrType::TXT, RrType::AAAA]);
    assert_eq!(types(&house.owner("n.example.test").unwrap()), [RrType::A, RrType::HINFO, RrType::AAAA]);
    assert_eq!(types(&house.owner("c.example.test").unwrap()), [RrType::CNAME]);
    assert_eq!(house.reload(&[("a.json", &text)], false), [("example.test.".into(), Change::Unchanged)]);
    // Its addresses are checked at the host's addresses, for both names at once; a CNAME is not.
    let owner = house.owner("m.example.test").unwrap();
    let ttl = owner.rrsets.iter().find(|r| r.rrset.rtype == RrType::A).unwrap().rrset.ttl;
    assert_eq!(ttl, 10, "of the check");
    house.resolve(Some(&[7, 8]), Some(&[1]));
    house.flip("198.51.100.7:443", Verdict::Down);
    assert_eq!(house.addresses("m.example.test"), [8]);
    assert_eq!(house.addresses("n.example.test"), [8]);
    house.flip("198.51.100.8:443", Verdict::Down);
    house.flip("[2001:db8::1]:443", Verdict::Down);
    assert_eq!(house.addresses("m.example.test"), [7, 8], "all are down: as if all were up");
    let gone = vec![(name("m.example.test"), None), (name("n.example.test"), None)];
    house.keeper.amend(Amendment { changes: gone }).unwrap();
    assert_eq!(types(&house.owner("m.example.test").unwrap()), [RrType::TXT]);
    assert_eq!(house.owner("n.example.test"), None);
    house.stop();
}

/// A load balancer's name at an apex: the addresses of the host, NODATA for other types, and a serial for each change of them alone.
#[test]
fn a_discovered_host_at_an_apex_is_an_alias() {
    let text = r#"{ "zone": "example.test", "nameservers": ["ns1.example.net"], "records": { "w": { "TXT": ["w"] } } }"#;
    let house = House::start(&[("a.json", text)], None);
    let wanted = |may_be_apex| {
        let hostname = Some(name("lb.cdn.example"));
        let found = DiscoveredName { hostname, may_be_apex, ..super::amendments::bare() };
        Amendment { changes: vec![(name("example.test"), Some(Arc::new(found)))] }
    };
    assert_eq!(house.keeper.amend(wanted(false)).unwrap().len(), 1, "not without \"apex\": true");
    assert_eq!(house.keeper.amend(wanted(true)), Some(vec![]));
    house.resolve(Some(&[7]), Some(&[]));
    assert_eq!(house.addresses("example.test"), [7]);
    let has = |rtype| types(&house.owner("example.test").unwrap()).contains(&rtype);
    assert_eq!([RrType::CNAME, RrType::AAAA, RrType::SOA, RrType::NS].map(has), [false, false, true, true]);
    let serial = house.serial("example.test");
    house.resolve(Some(&[7]), Some(&[]));
    assert_eq!(house.serial("example.test"), serial);
    house.resolve(Some(&[8]), Some(&[]));
    assert!(house.serial("example.test") > serial);
    house.stop();
}

#[test]
fn a_fallback_stands_in_for_a_host_of_which_nothing_is_up() {
    let text = r#"{ "zone": "example.test", "nameservers": ["ns1.example.net"], "records": {
        "shop": { "ALIAS": "lb.cdn.example.", "check": { "tcp": 443 }, "when_all_down": "fallback",
                  "fallback": { "A": ["203.0.113.9"] } },
        "open": { "ALIAS": "lb.cdn.example.", "when_all_down": "fallback", "fallback": ["203.0.113.9"] }
    } }"#;
    let house = House::start(&[("a.json", text)], None);
    assert_eq!(house.findings, []);
    let check = |case: &str, shop: &[u8], open: &[u8], pending: bool, withheld: bool| {
        let found = (house.addresses("shop.example.test"), house.addresses("open.example.test"));
        assert_eq!(found, (shop.to_vec(), open.to_vec()), "{case}");
        let shop = house.owner("shop.example.test").unwrap();
        assert_eq!(shop.pending.contains(&RrType::A), pending, "{case}");
        assert_eq!(shop.withheld.contains(&RrType::AAAA), withheld, "{case}");
    };
    check("not known yet: nobody knows that it is down", &[], &[], true, false);
    house.resolve(Some(&[7]), Some(&[1]));
    check("resolved", &[7], &[7], false, false);
    house.flip("198.51.100.7:443", Verdict::Down);
    check("the other family is up", &[], &[7], false, false);
    house.flip("[2001:db8::1]:443", Verdict::Down);
    check("all down", &[9], &[7], false, true);
    assert_eq!(house.reload(&[("a.json", text)], false), [("example.test.".into(), Change::Unchanged)]);
    check("reloaded", &[9], &[7], false, true);
    house.resolve(Some(&[8]), Some(&[1]));
    check("moved: what is new counts as up, and the other family is still down", &[8], &[8], false, true);
    house.resolve(Some(&[]), Some(&[]));
    check("gone", &[9], &[9], false, false);
    house.resolve(Some(&[7]), None);
    house.flip("198.51.100.7:443", Verdict::Down);
    check("of what is not known nothing is said", &[9], &[7], false, false);
    house.stop();
}

#[test]
fn what_is_resolved_during_a_reload_is_there_after_it() {
    let text = zone("");
    let house = House::start(&[("a.json", &text)], None);
    house.resolve(Some(&[7]), Some(&[]));
    let keeper = house.keeper.clone();
    *house.during_build.lock().unwrap() = Some(Box::new(move || {
        let addresses = Addresses { v4: Some(vec![Ipv4Addr::new(198, 51, 100, 9)]), v6: Some(vec![]) };
        keeper.resolved(vec![(name("lb.cdn.example"), Arc::new(addresses))]);
        keeper.zones();
    }));
    house.reload(&[("a.json", &text.replace("192.0.2.2", "192.0.2.3"))], false);
    assert_eq!((house.addresses("example.test"), house.addresses("www.example.test")), (vec![9], vec![1]));
    house.stop();
}
