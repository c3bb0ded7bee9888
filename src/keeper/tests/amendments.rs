//! Discovered names: what is amended step by step is what a zone is that is built with the same names.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::model::discovered::{
    Amendment, DiscoveredName, DiscoveredRrset, Origin, PlannedChange, Refusal, RefusedFor, RefusedPart,
};
use crate::model::rdata;
use crate::model::rrset::RdataSet;
use crate::model::target::{Check, CheckKind, Endpoint, Target};

/// A zone with everything that discovered names may meet: a wildcard, empty non-terminals, a cut, a DNAME, an alias, checked addresses.
fn meadow(dnssec: &str) -> String {
    format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], {dnssec}
            "records": {{
                "@": {{ "TXT": ["apex"] }},
                "ns1": {{ "A": ["192.0.2.53"] }},
                "www": {{ "A": ["192.0.2.1", "192.0.2.2"], "check": {{ "tcp": 80 }} }},
                "m": {{ "A": ["192.0.2.7"], "TXT": ["m"] }},
                "*.w": {{ "A": ["192.0.2.8"] }},
                "b.ent": {{ "TXT": ["below"] }},
                "sub": {{ "NS": ["ns.sub"] }},
                "ns.sub": {{ "A": ["192.0.2.9"] }},
                "old": {{ "DNAME": "www" }},
                "alias": {{ "CNAME": "www" }}
            }} }}"#
    )
}

const SIGNED: &str = r#""dnssec": { "keys": "auto" },"#;

fn endpoint(address: &str, port: Option<u16>) -> Endpoint {
    let address: std::net::IpAddr = address.parse().unwrap();
    let check = |port| {
        let check = Check {
            kind: CheckKind::Tcp,
            interval_ms: 10_000,
            timeout_ms: 2000,
            rise: 2,
            fall: 3,
            rules: Default::default(),
        };
        Target { address: (address, port).into(), check: Arc::new(check) }.into()
    };
    Endpoint { data: address.into(), weight: 1, condition: port.map(check) }
}

pub(super) fn bare() -> DiscoveredName {
    DiscoveredName {
        endpoints: Vec::new(),
        policy: None,
        hostname: None,
        host_condition: None,
        rrsets: Vec::new(),
        ttl: None,
        may_be_apex: false,
        origins: Arc::new([Origin { source: "prod".into(), object: "ingress/shop/web".into() }]),
    }
}

/// Addresses, checked if a port is given.
fn at(addresses: &[&str], port: Option<u16>) -> DiscoveredName {
    DiscoveredName { endpoints: addresses.iter().map(|a| endpoint(a, port)).collect(), ..bare() }
}

fn txt(text: &str) -> DiscoveredRrset {
    let wire = rdata::parse(RrType::TXT, text, &Name::root()).unwrap();
    DiscoveredRrset { rtype: RrType::TXT, rdata: RdataSet::new([wire]), ttl: None }
}

impl House {
    fn amend(&self, changes: &[(&str, Option<DiscoveredName>)]) -> Vec<Refusal> {
        let changes = changes.iter().map(|(n, wanted)| (name(n), wanted.clone().map(Arc::new))).collect();
        self.keeper.amend(Amendment { changes }).unwrap()
    }

    fn target_count(&self) -> usize {
        self.targets.borrow().len()
    }
}

fn whole(why: RefusedFor, owner: &str) -> Refusal {
    Refusal { name: name(owner), what: RefusedPart::Name, why }
}

fn of_type(rtype: RrType, why: RefusedFor, owner: &str) -> Refusal {
    Refusal { name: name(owner), what: RefusedPart::Rrset(rtype), why }
}

/// Random amendments; after some of them the zone must be, record for record, what a builder makes of the same names.
fn walk(dnssec: &str, seed: u64, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let text = meadow(dnssec);
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    assert!(!house.findings.iter().any(Diagnostic::is_error), "{:?}", house.findings);
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let names = [
        "@", "a", "b", "z", "m", "www", "alias", "x.w", "w", "*.w", "ent", "a.ent", "b.ent", "c.d.ent",
        "d.ent", "ns1", "sub", "x.sub", "old", "x.old", "*", "*.b", "a.b", "0", "zz.z",
    ];
    for round in 0..rounds {
        let mut changes = Vec::new();
        for _ in 0..=random(4) {
            let relative = names[random(names.len() as u64) as usize];
            let owner =
                if relative == "@" { "example.test".into() } else { format!("{relative}.example.test") };
            let v4 = format!("198.51.100.{}", random(9));
            let v6 = format!("2001:db8::{}", random(9));
            let wanted = match random(8) {
                0..=2 => None,
                3 => Some(at(&[&v4], None)),
                4 => Some(at(&[&v4, &v6], Some(443))),
                5 => Some(at(&[&v6], Some(80))),
                6 => Some(DiscoveredName { hostname: Some(name("lb.cdn.example")), ..bare() }),
                _ => Some(DiscoveredName { rrsets: vec![txt(&v4)], may_be_apex: true, ..at(&[&v4], None) }),
            };
            changes.push((owner, wanted));
        }
        let changes: Vec<_> =
            changes.iter().map(|(owner, wanted)| (owner.as_str(), wanted.clone())).collect();
        house.amend(&changes);
        let targets: Vec<TargetId> = house.targets.borrow().iter().map(|(id, _)| *id).collect();
        let verdict = [Verdict::Up, Verdict::Down][random(2) as usize];
        house.board.set(targets[random(targets.len() as u64) as usize], verdict);
        house.settle();
        if round % 5 == 0 {
            let before = house.image("example.test").unwrap();
            let outcome = house.reload(&[("a.json", &text)], false);
            assert_eq!(
                outcome,
                [("example.test.".into(), Change::Unchanged)],
                "seed {seed}, round {round}: {changes:?}"
            );
            let after = house.image("example.test").unwrap();
            assert!(Arc::ptr_eq(&before, &after), "seed {seed}, round {round}: {changes:?}");
        }
    }
    if !dnssec.is_empty() {
        verify(&house.image("example.test").unwrap());
    }
    let all: Vec<_> = names.iter().map(|n| format!("{n}.example.test").replace("@.", "")).collect();
    house.amend(&all.iter().map(|owner| (owner.as_str(), None)).collect::<Vec<_>>());
    assert_eq!(house.target_count(), 2, "only the declared ones are held");
    assert_eq!(house.reload(&[("a.json", &text)], false), [("example.test.".into(), Change::Unchanged)]);
    house.stop();
}

/// By a validator of others, if it is installed.
#[allow(clippy::print_stdout)]
fn verify(image: &ZoneImage) {
    let mut text = Vec::new();
    crate::zone::text::write_rfc1035(
        &mut text,
        image.apex(),
        image.owners().flat_map(|owner| {
            let name = owner.name.clone();
            owner.rrsets.into_iter().map(move |r| (name.clone(), r.rrset, r.signatures)).collect::<Vec<_>>()
        }),
    )
    .unwrap();
    let started = Command::new("ldns-verify-zone")
        .args(["-t", "20231115000000", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        println!("skipped: ldns-verify-zone is not installed");
        return;
    };
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn amendments_step_by_step_are_a_zone_built_anew() {
    for seed in 1..=4 {
        walk("", seed, 60);
        walk(SIGNED, seed, 60);
    }
}

#[test]
fn a_discovered_name_is_what_the_same_declaration_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let text = meadow(SIGNED);
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    let refusals = house.amend(&[
        ("new.ent.example.test", Some(at(&["198.51.100.1", "198.51.100.2"], None))),
        ("x.w.example.test", Some(DiscoveredName { hostname: Some(name("lb.cdn.example")), ..bare() })),
        ("m.example.test", Some(at(&["2001:db8::1"], None))),
    ]);
    assert_eq!(refusals, []);
    let amended = house.image("example.test").unwrap();
    let bare_of = |image: &ZoneImage| -> Vec<_> {
        let owners = image.owners().map(|mut owner| {
            owner.rrsets.retain(|r| r.rrset.rtype != RrType::SOA);
            owner.rrsets.iter_mut().for_each(|r| r.signatures = RdataSet::default());
            owner
        });
        owners.collect()
    };
    let declared = text
        .replace(r#""b.ent""#, r#""new.ent": { "A": ["198.51.100.1", "198.51.100.2"] }, "b.ent""#)
        .replace(r#""b.ent""#, r#""x.w": { "CNAME": "lb.cdn.example." }, "b.ent""#)
        .replace(r#""TXT": ["m"]"#, r#""TXT": ["m"], "AAAA": ["2001:db8::1"]"#);
    let other = tempfile::tempdir().unwrap();
    let want = House::start(&[("a.json", &declared)], Some(other.path()));
    assert!(!want.findings.iter().any(Diagnostic::is_error), "{:?}", want.findings);
    let dnskeys = |owners: &mut Vec<OwnerRecords>| {
        let keys = [RrType::DNSKEY, RrType::CDS, RrType::CDNSKEY];
        owners[0].rrsets.retain(|r| !keys.contains(&r.rrset.rtype));
    };
    let (mut found, mut wanted) = (bare_of(&amended), bare_of(&want.image("example.test").unwrap()));
    dnskeys(&mut found);
    dnskeys(&mut wanted);
    assert_eq!(found, wanted);
    house.stop();
    want.stop();
}

#[test]
fn what_is_declared_wins_and_what_may_not_be_is_refused() {
    let house = House::start(&[("a.json", &meadow(""))], None);
    let one = || Some(at(&["198.51.100.1"], None));
    let both = || Some(at(&["198.51.100.1", "2001:db8::1"], None));
    let cname = || Some(DiscoveredName { hostname: Some(name("lb.cdn.example")), ..bare() });
    let with_txt = || Some(DiscoveredName { rrsets: vec![txt("a"), txt("b")], ..bare() });
    let soa = DiscoveredRrset { rtype: RrType::SOA, ..txt("a") };
    let broken = DiscoveredRrset { rtype: RrType::MX, rdata: RdataSet::new([b"\0"]), ttl: None };
    let declared = |rtype, owner| of_type(rtype, RefusedFor::Declared, owner);
    for (owner, wanted, refused) in [
        ("a.example.test", both(), vec![]),
        ("example.net", one(), vec![whole(RefusedFor::NoZone, "example.net")]),
        ("example.test", one(), vec![whole(RefusedFor::Apex, "example.test")]),
        ("ns1.example.test", one(), vec![whole(RefusedFor::NameServer, "ns1.example.test")]),
        ("sub.example.test", one(), vec![whole(RefusedFor::BelowCut, "sub.example.test")]),
        ("x.sub.example.test", one(), vec![whole(RefusedFor::BelowCut, "x.sub.example.test")]),
        ("old.example.test", one(), vec![whole(RefusedFor::BelowCut, "old.example.test")]),
        ("x.old.example.test", one(), vec![whole(RefusedFor::BelowCut, "x.old.example.test")]),
        ("alias.example.test", one(), vec![whole(RefusedFor::Declared, "alias.example.test")]),
        ("www.example.test", both(), vec![declared(RrType::A, "www.example.test")]),
        ("www.example.test", cname(), vec![declared(RrType::CNAME, "www.example.test")]),
        ("m.example.test", both(), vec![declared(RrType::A, "m.example.test")]),
        (
            "c.example.test",
            with_txt(),
            vec![of_type(RrType::TXT, RefusedFor::Invalid("the type stands twice".into()), "c.example.test")],
        ),
        (
            "d.example.test",
            Some(DiscoveredName { rrsets: vec![soa], ..at(&["198.51.100.1"], None) }),
            vec![of_type(
                RrType::SOA,
                RefusedFor::Invalid("sources do not publish SOA records".into()),
                "d.example.test",
            )],
        ),
    ] {
        assert_eq!(house.amend(&[(owner, wanted.clone())]), refused, "{owner}");
        // Once more is nothing new, and the refusals stay.
        let serial = house.serial("example.test");
        assert_eq!(house.amend(&[(owner, wanted)]), refused, "{owner}");
        assert_eq!(house.serial("example.test"), serial, "{owner}");
    }
    let refused = house.amend(&[("e.example.test", Some(DiscoveredName { rrsets: vec![broken], ..bare() }))]);
    assert!(matches!(&refused[..], [Refusal { why: RefusedFor::Invalid(_), .. }]), "{refused:?}");
    assert_eq!(house.owner("e.example.test"), None);
    assert_eq!(types(&house.owner("m.example.test").unwrap()), [RrType::A, RrType::TXT, RrType::AAAA]);
    assert_eq!(house.keeper.refusals().len(), 13);
    house.stop();
}

#[test]
fn discovered_names_start_up_and_follow_their_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::start(&[("a.json", &meadow(SIGNED))], Some(folder.path()));
    house.amend(&[("app.example.test", Some(at(&["198.51.100.1", "198.51.100.2"], Some(443))))]);
    assert_eq!(house.addresses("app.example.test"), [1, 2], "before any verdict");
    house.flip("198.51.100.1:443", Verdict::Down);
    assert_eq!(house.addresses("app.example.test"), [2]);
    house.flip("198.51.100.2:443", Verdict::Down);
    assert_eq!(house.addresses("app.example.test"), [1, 2], "all down: all");
    house.flip("198.51.100.2:443", Verdict::Up);
    house.amend(&[(
        "app.example.test",
        Some(at(&["198.51.100.1", "198.51.100.2", "198.51.100.3"], Some(443))),
    )]);
    assert_eq!(house.addresses("app.example.test"), [2, 3], "verdicts stay, and what is new counts as up");
    assert_eq!(house.target_count(), 5);
    house.amend(&[("app.example.test", None)]);
    assert_eq!((house.owner("app.example.test"), house.target_count()), (None, 2));
    house.stop();
}

#[test]
fn a_declaration_hides_the_discovered_name_until_it_is_gone() {
    let text = meadow("");
    let house = House::start(&[("a.json", &text)], None);
    let wanted = || Some(at(&["198.51.100.1"], Some(443)));
    house.amend(&[("app.example.test", wanted())]);
    let declared = text.replace(r#""b.ent""#, r#""app": ["192.0.2.77"], "b.ent""#);
    assert_eq!(house.reload(&[("a.json", &declared)], false), [("example.test.".into(), Change::Changed)]);
    assert_eq!(house.addresses("app.example.test"), [77]);
    assert_eq!(house.keeper.refusals(), [of_type(RrType::A, RefusedFor::Declared, "app.example.test")]);
    assert_eq!(house.target_count(), 2);
    house.reload(&[("a.json", &text)], false);
    assert_eq!((house.addresses("app.example.test"), house.target_count()), (vec![1], 3));
    assert_eq!(house.keeper.refusals(), []);
    // And where the declaration is beside it, it comes back as it was.
    house.amend(&[("m.example.test", Some(at(&["2001:db8::1"], None)))]);
    house.amend(&[("m.example.test", None)]);
    assert_eq!(types(&house.owner("m.example.test").unwrap()), [RrType::A, RrType::TXT]);
    house.stop();
}

#[test]
fn zones_that_come_later_get_their_names_and_aliases_too() {
    let text = meadow("").replace(r#""nameservers""#, r#""alias_zones": ["example.org"], "nameservers""#);
    let house = House::start(&[("a.json", &text)], None);
    let wanted = || Some(at(&["198.51.100.1"], None));
    house.amend(&[("app.example.test", wanted()), ("app.sub.example.net", wanted())]);
    let holds = |zone: &str, owner: &str| house.image(zone).is_some_and(|i| i.owner(&name(owner)).is_some());
    assert!(holds("example.org", "app.example.org"));
    let net = r#"{ "zone": "example.net", "nameservers": ["ns1.example.test"] }"#;
    let sub = net.replace("example.net", "sub.example.net");
    assert!(
        house
            .reload(&[("a.json", &text), ("net.json", net)], false)
            .contains(&("example.net.".into(), Change::Added))
    );
    assert!(holds("example.net", "app.sub.example.net"));
    house.reload(&[("a.json", &text), ("net.json", net), ("sub.json", &sub)], false);
    assert!(holds("sub.example.net", "app.sub.example.net") && !holds("example.net", "app.sub.example.net"));
    // The zone of the longest apex goes, and the other one's file is broken meanwhile: it gets its name back all the same.
    house.reload(&[("a.json", &text), ("net.json", "{ broken")], true);
    assert!(house.image("sub.example.net").is_none() && holds("example.net", "app.sub.example.net"));
    house.amend(&[("app.example.org", Some(at(&["198.51.100.9"], None)))]);
    assert_eq!(
        house.image("example.org").unwrap().owner(&name("app.example.org")).unwrap().rrsets[0]
            .rrset
            .rdata
            .iter()
            .next(),
        Some(&[198, 51, 100, 9][..])
    );
    house.amend(&[("app.example.org", None)]);
    assert!(holds("example.org", "app.example.org"), "the primary's again");
    house.stop();
}

#[test]
fn what_is_amended_during_a_reload_is_there_after_it() {
    let text = meadow("");
    let house = House::start(&[("a.json", &text)], None);
    house.amend(&[("gone.example.test", Some(at(&["198.51.100.1"], None)))]);
    let keeper = house.keeper.clone();
    *house.during_build.lock().unwrap() = Some(Box::new(move || {
        let wanted = Some(Arc::new(at(&["198.51.100.2"], Some(443))));
        let changes = vec![(name("app.example.test"), wanted), (name("gone.example.test"), None)];
        assert_eq!(keeper.amend(Amendment { changes }), Some(vec![]));
    }));
    house.reload(&[("a.json", &text.replace("192.0.2.53", "192.0.2.54"))], false);
    assert_eq!(house.addresses("ns1.example.test"), [54]);
    assert_eq!((house.addresses("app.example.test"), house.owner("gone.example.test")), (vec![2], None));
    assert_eq!(house.target_count(), 3);
    house.stop();
}

#[test]
fn a_large_amendment_is_done_in_slices_and_a_plan_changes_nothing() {
    let house = House::start(&[("a.json", &meadow(""))], None);
    let many = |wanted: &dyn Fn(usize) -> Option<Arc<DiscoveredName>>| Amendment {
        changes: (0..1000).map(|i| (name(&format!("h{i}.x.w.example.test")), wanted(i))).collect(),
    };
    let add = many(&|_| Some(Arc::new(at(&["198.51.100.1"], Some(443)))));
    let serial = house.serial("example.test");
    let plan = house.keeper.would_amend(add.clone()).unwrap();
    assert!(plan.refusals.is_empty() && house.serial("example.test") == serial);
    assert!(
        plan.names
            .iter()
            .all(|n| n.change == PlannedChange::Added && n.hides == Some(name("*.w.example.test")))
    );
    let commits = || house.keeper.figures().commits.load(Ordering::Relaxed);
    let before = commits();
    house.keeper.amend(add.clone()).unwrap();
    assert_eq!(commits() - before, 4);
    assert_eq!(house.image("example.test").unwrap().size().owners, 10 + 1000);
    assert!(
        house.keeper.would_amend(add).unwrap().names.iter().all(|n| n.change == PlannedChange::Unchanged)
    );
    let take = many(&|_| None);
    let plan = house.keeper.would_amend(take.clone()).unwrap();
    assert!(plan.names.iter().all(|n| n.change == PlannedChange::Removed));
    house.keeper.amend(take).unwrap();
    assert_eq!(house.image("example.test").unwrap().size().owners, 10);
    house.stop();
}
