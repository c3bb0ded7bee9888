//! Zones in a short form: one record a line, `owner TYPE data`. An address type with `!` is checked every 10 s with rise 2 and fall 3,
//! `!N` every N seconds; `TYPE=TTL` gives a TTL. The line's number is the record's place.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::Builder;
use crate::config::{
    Dnssec, DnssecConfig, KeySource, OwnerConfig, PolicyLimits, RdataText, RrsetConfig, SoaConfig, Startup,
    ZoneHeader,
};
use crate::config::{Order, WhenAllDown};
use crate::model::condition::Condition;
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::name::Name;
use crate::model::rdata::to_text;
use crate::model::rrtype::RrType;
use crate::model::target::{Check, CheckKind, Endpoint, Target};
use crate::zone::desired::{DesiredZone, Place};
use crate::zone::owners::Placed;

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn header() -> ZoneHeader {
    ZoneHeader {
        file: PathBuf::from("zone.json"),
        apex: name("example.test"),
        alias_zones: Vec::new(),
        nameservers: vec![name("ns.example.net")],
        soa: SoaConfig::default(),
        default_ttl: 300,
        startup: Startup::Wait,
        policy_limits: PolicyLimits::default(),
        dnssec: Dnssec::Absent,
        position: Position { line: 0, column: 1 },
    }
}

fn signed() -> ZoneHeader {
    let dnssec = DnssecConfig { keys: KeySource::Auto, signature_validity: 86_400, refresh: 3600 };
    ZoneHeader { dnssec: Dnssec::On(dnssec), ..header() }
}

fn target(address: &str, interval_s: u32) -> Target {
    let check = Check {
        kind: CheckKind::Tcp,
        interval_ms: interval_s * 1000,
        timeout_ms: 1000,
        rise: 2,
        fall: 3,
        rules: Default::default(),
    };
    Target { address: SocketAddr::new(address.parse().unwrap(), 443), check: Arc::new(check) }
}

fn empty_owner(key: &str, line: u32) -> OwnerConfig {
    OwnerConfig {
        relative: if key == "@" { Name::root() } else { name(key) },
        endpoints: Vec::new(),
        endpoint_places: Vec::new(),
        a_ttl: None,
        aaaa_ttl: None,
        when_all_down: WhenAllDown::All,
        fallback: Vec::new(),
        order: Order::Rotate,
        startup: None,
        policy: None,
        alias: None,
        rrsets: Vec::new(),
        fallback_records: Vec::new(),
        is_broken: false,
        position: Position { line, column: 5 },
    }
}

fn owners(zone: &str) -> Vec<OwnerConfig> {
    let mut owners: Vec<(String, OwnerConfig)> = Vec::new();
    for (i, line) in zone.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        let number = i as u32;
        let [key, kind, data] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let (kind, ttl) =
            kind.split_once('=').map_or((kind, None), |(kind, ttl)| (kind, Some(ttl.parse().unwrap())));
        let (kind, check) =
            kind.split_once('!').map_or((kind, None), |(kind, seconds)| (kind, Some(seconds)));
        let position = Position { line: number, column: 9 };
        if owners.last().is_none_or(|(last, _)| last != key) {
            owners.push((key.to_owned(), empty_owner(key, number)));
        }
        let owner = &mut owners.last_mut().unwrap().1;
        if matches!(kind, "A" | "AAAA") {
            let target = check.map(|seconds| target(data, seconds.parse().unwrap_or(10)));
            owner.endpoints.push(Endpoint {
                data: data.parse::<IpAddr>().unwrap().into(),
                weight: 1,
                condition: target.map(Into::into),
            });
            owner.endpoint_places.push((position, format!("{key}.{kind}")));
            *(if kind == "A" { &mut owner.a_ttl } else { &mut owner.aaaa_ttl }) = ttl;
            continue;
        }
        let rtype: RrType = kind.parse().unwrap();
        let data = RdataText { text: data.to_owned(), position, path: format!("{key}.{kind}"), check: None };
        match owner.rrsets.iter_mut().find(|rrset| rrset.rtype == rtype) {
            Some(rrset) => rrset.data.push(data),
            None => owner.rrsets.push(RrsetConfig { rtype, ttl, data: vec![data] }),
        }
    }
    owners.into_iter().map(|(_, owner)| owner).collect()
}

fn build(header: &ZoneHeader, zone: &str) -> Result<(DesiredZone, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut builder = Builder::new(header, &header.apex);
    owners(zone).into_iter().for_each(|owner| builder.owner(owner));
    builder.finish()
}

fn good(header: &ZoneHeader, zone: &str) -> DesiredZone {
    build(header, zone).unwrap_or_else(|errors| panic!("{errors:?}")).0
}

/// Compares every finding with what is wanted, each as `error 2: message`; the line is the place.
fn check(header: &ZoneHeader, zone: &str, want: &[&str]) {
    let outcome = build(header, zone);
    let is_served = outcome.is_ok();
    let found = outcome.map_or_else(|errors| errors, |(_, warnings)| warnings);
    for diagnostic in &found {
        assert!(diagnostic.hint.is_some(), "no hint: {diagnostic}");
        assert!(diagnostic.position.is_some() && !diagnostic.path.is_empty(), "no place: {diagnostic}");
        assert_eq!(diagnostic.file, header.file);
    }
    let texts: Vec<String> = found
        .iter()
        .map(|d| {
            let severity = if d.is_error() { "error" } else { "warning" };
            format!("{severity} {}: {}", d.position.unwrap().line, d.message)
        })
        .collect();
    assert_eq!(texts, want, "{zone}");
    assert_eq!(is_served, !want.iter().any(|w| w.starts_with("error")), "{zone}");
}

#[test]
fn a_sound_zone_has_no_findings() {
    let zone = r#"
        @ MX 10 mail
        @ TXT v=spf1 mx -all
        @ A! 192.0.2.1
        mail A 192.0.2.25
        www CNAME mail
        far CNAME lb.cdn.example.
        *.apps CNAME www
        other CNAME x.apps
        sub NS ns.sub
        sub NS ns.sibling
        sub DS 1 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
        ns.sub A 203.0.113.1
        sibling NS ns.sibling
        ns.sibling AAAA 2001:db8::1
        into CNAME www.sub
        tree DNAME apps
        leaf CNAME x.y.tree
        ent CNAME b.a
        c.b.a TXT x
        _sip._tcp SRV 0 0 0 .
        svc HTTPS 1 www alpn=h2
        x TYPE65400 \# 4 0a000001
    "#;
    check(&header(), zone, &[]);
}

#[test]
fn errors_about_one_owner() {
    let plain = header();
    check(&plain, "a CNAME b.\na A 192.0.2.1\na MX 0 .", &["error 0: a CNAME beside A, MX"]);
    check(&plain, "a CNAME b.\na A! 192.0.2.1", &["error 0: a CNAME beside A"]);
    check(&plain, "a CNAME b.\na NS c.", &["error 0: a CNAME beside NS"]);
    check(&plain, "a CNAME b.\na CNAME c.", &["error 0: 2 CNAME records"]);
    check(&plain, "@ CNAME b.", &["error 0: a CNAME at the apex"]);
    check(&plain, "a DNAME b.\na DNAME c.", &["error 0: 2 DNAME records"]);
    check(&plain, "a NS b.\na DNAME c.", &["error 1: a DNAME beside NS"]);
    check(&plain, "@ DNAME c.", &[]);
    check(&plain, "@ DS 1 8 9 00", &["error 0: a DS at the apex"]);
    check(&plain, "a NSEC b. A", &["error 0: NSEC cannot be given as records"]);
    check(&plain, "@ DNSKEY 256 3 13 AA==", &[]);
    check(&signed(), "@ DNSKEY 256 3 13 AA==", &["error 0: DNSKEY cannot be given in a signed zone"]);
    check(&signed(), "@ CDS 0 0 0 00", &["error 0: CDS cannot be given in a signed zone"]);
    check(&plain, "a MX mail", &["error 0: the preference is \"mail\", not a number from 0 to 65535"]);
    check(&plain, "a TXT=2147483648 x", &["error 0: a TTL of 2147483648 seconds"]);
    check(&plain, "a A=2147483648 192.0.2.1", &["error 0: a TTL of 2147483648 seconds"]);
    check(&plain, "a TXT x\na TXT x", &["warning 1: the same record stands twice"]);
    check(&plain, "a TXT x\nb TXT x\nA TXT y", &["error 2: the owner \"a\" stands twice"]);
    check(&plain, "a TXT x\n\\097 TXT y", &["error 1: the owner \"a\" stands twice"]);
    let fat = (0..300).map(|i| format!("a TXT {i}{}\n", "x".repeat(250))).collect::<String>();
    check(&plain, &fat, &["error 0: the TXT RRset takes 79690 octets, which no DNS message can hold"]);
}

#[test]
fn names_too_long_below_the_apex_are_errors() {
    let label = "x".repeat(60);
    let zone = format!("{label}.{label}.{label}.{label} TXT x");
    check(
        &header(),
        &zone,
        &[
            "error 0: the owner's name under example.test.: the name has 258 octets in wire form, the limit is 255",
        ],
    );
}

#[test]
fn errors_about_the_zone() {
    let plain = header();
    check(
        &ZoneHeader { nameservers: Vec::new(), ..header() },
        "a TXT x",
        &["error 0: the zone has no name server"],
    );
    check(
        &plain,
        "a CNAME lb.cdn.net",
        &["error 0: \"lb.cdn.net\" is relative to the zone, which does not hold it"],
    );
    check(&plain, "a MX 10 mx.b", &["error 0: \"mx.b\" is relative to the zone, which does not hold it"]);
    check(
        &plain,
        "a RP john.doe .",
        &["error 0: \"john.doe\" is relative to the zone, which does not hold it"],
    );
    let glue = "error 1: a check on \"ns.sub\", whose addresses are glue of the delegation \"sub\"";
    check(&plain, "sub NS ns.sub\nns.sub A! 192.0.2.1", &[glue]);
    check(
        &plain,
        "sub NS sub\nsub A! 192.0.2.1",
        &["error 1: a check on \"sub\", whose addresses are glue of the delegation \"sub\""],
    );
    let soa = SoaConfig { refresh: Some(7200), expire: Some(7200), ..SoaConfig::default() };
    check(
        &ZoneHeader { soa, ..header() },
        "a TXT x",
        &["error 0: a secondary would expire after 7200 seconds, before it refreshes after 7200"],
    );
    let soa = SoaConfig { ttl: Some(1 << 31), ..SoaConfig::default() };
    check(&ZoneHeader { soa, ..header() }, "a TXT x", &["error 0: a time of 2147483648 seconds"]);
}

#[test]
fn hints_give_the_absolute_name() {
    let errors = build(&header(), "a CNAME lb.cdn.net").unwrap_err();
    assert_eq!(errors[0].hint.as_deref(), Some("write \"lb.cdn.net.\" if the name is absolute"));
}

#[test]
fn warnings() {
    let plain = header();
    for (zone, want) in [
        ("sub NS ns.sub", "0: the name server \"ns.sub\" has no address"),
        ("sub NS ns", "0: the name server \"ns\" has no address"),
        ("sub NS ns\nns TXT x", "0: the name server \"ns\" has no address"),
        ("sub NS ns\nns CNAME b.", "0: the NS target \"ns\" is an alias"),
        ("sub NS ns.tree\ntree DNAME b.", "0: the NS target \"ns.tree\" is an alias"),
        ("@ MX 10 m\nm CNAME b.", "0: the MX target \"m\" is an alias"),
        ("@ MX 10 x.w\n*.w CNAME b.", "0: the MX target \"x.w\" is an alias"),
        ("@ SRV 1 1 1 m\nm CNAME b.", "0: the SRV target \"m\" is an alias"),
        ("@ MX 10 m\nm TXT x", "0: the MX target \"m\" has no address"),
        ("@ MX 10 m", "0: the MX target \"m\" does not exist in the zone"),
        ("a CNAME b", "0: the CNAME target \"b\" does not exist in the zone"),
        ("a CNAME x.b.example.test.", "0: the CNAME target \"x.b\" does not exist in the zone"),
        ("a DNAME b", "0: the DNAME target \"b\" does not exist in the zone"),
        // The closest encloser of x.b is b, which the wildcard does not cover.
        (
            "*.c TXT x\nb.c TXT x\na PTR x.b.c.example.test.",
            "2: the PTR target \"x.b.c\" does not exist in the zone",
        ),
        ("*.w NS b.", "0: NS at a wildcard"),
        ("*.w DNAME b.", "0: a DNAME at a wildcard"),
        ("a DS 1 8 9 00", "0: a DS without NS"),
        ("a CDS 0 0 0 00", "0: CDS below the apex has no effect"),
        ("sub NS b.\nsub TXT x", "1: TXT beside NS is hidden by the delegation"),
        ("sub NS b.\nsub A 192.0.2.1", "0: records of \"sub\" are hidden by the delegation at \"sub\""),
        ("sub NS b.\nx.sub A 192.0.2.1", "1: records of \"x.sub\" are hidden by the delegation at \"sub\""),
        (
            "sub NS ns.sub\nns.sub A 192.0.2.1\nns.sub TXT x",
            "1: records of \"ns.sub\" are hidden by the delegation at \"sub\"",
        ),
        (
            "tree DNAME b.\nx.tree A! 192.0.2.1",
            "1: records of \"x.tree\" are hidden by the DNAME at \"tree\"",
        ),
        ("@ DNAME b.\nx A 192.0.2.1", "1: records of \"x\" are hidden by the DNAME at \"@\""),
        (
            "a A! 192.0.2.1\na HTTPS 1 . ipv4hint=192.0.2.1",
            "1: address hints bypass the health checks of \"a\"",
        ),
        (
            "a HTTPS 1 b key6=\"0123456789abcdef\"\nb A! 192.0.2.1",
            "0: address hints bypass the health checks of \"b\"",
        ),
    ] {
        check(&plain, zone, &[&format!("warning {want}")]);
    }
    let in_zone = ZoneHeader { nameservers: vec![name("ns1.example.test")], ..header() };
    check(&in_zone, "a TXT x", &["warning 0: the name server \"ns1\" has no address"]);
    let all = build(&plain, "www.sub TXT x\nsub NS b.").unwrap().1;
    assert_eq!(all[0].path, "records[\"www.sub\"]", "owners are told by the path that the file has");
}

#[test]
fn hints_at_unchecked_addresses_are_fine() {
    check(&header(), "a A 192.0.2.1\na HTTPS 1 . ipv4hint=192.0.2.1", &[]);
    check(&header(), "a A! 192.0.2.1\na HTTPS 1 b. ipv4hint=192.0.2.1", &[]);
}

#[test]
fn all_findings_come_at_once_in_the_order_of_the_file() {
    let zone = "a CNAME b\na TXT x\nc MX x\nsub NS ns\nd CNAME e.f";
    check(
        &header(),
        zone,
        &[
            "error 0: a CNAME beside TXT",
            "warning 0: the CNAME target \"b\" does not exist in the zone",
            "error 2: the preference is \"x\", not a number from 0 to 65535",
            "warning 3: the name server \"ns\" has no address",
            "error 4: \"e.f\" is relative to the zone, which does not hold it",
        ],
    );
}

#[test]
fn places() {
    let zone = good(
        &header(),
        "a TXT x\nsub NS ns.sub\nsub TXT x\nns.sub A 192.0.2.1\ndeep.ns.sub NS b.\ntree DNAME b.\nx.tree TXT x\nsubs TXT x",
    );
    let places: Vec<(String, Place)> =
        zone.owners.iter().map(|p| (p.name.to_string(), p.owner.place)).collect();
    let want = [
        ("example.test.", Place::Apex),
        ("a.example.test.", Place::Authoritative),
        ("sub.example.test.", Place::Cut),
        ("ns.sub.example.test.", Place::Occluded),
        ("deep.ns.sub.example.test.", Place::Occluded),
        ("subs.example.test.", Place::Authoritative),
        ("tree.example.test.", Place::Authoritative),
        ("x.tree.example.test.", Place::Occluded),
    ];
    assert_eq!(places, want.map(|(name, place)| (name.to_owned(), place)));
    let zone = good(&header(), "@ DNAME b.\nx TXT x");
    assert_eq!(zone.owners.get(&name("x.example.test")).unwrap().place, Place::Occluded);
}

#[test]
fn times_to_live() {
    let zone = good(
        &header(),
        "plain A 192.0.2.1\nown A=7 192.0.2.1\nmixed A! 192.0.2.1\nmixed AAAA 2001:db8::1\nslow A!600 192.0.2.1\nfast A!30 192.0.2.1\nfast A!2 192.0.2.2\ngiven A!1=900 192.0.2.1\ntext TXT=60 x",
    );
    let ttls = |owner: &str| {
        let owner = zone.owners.get(&name(owner)).unwrap();
        match &owner.checked {
            Some(checked) => (checked.ttl(RrType::A), checked.ttl(RrType::AAAA)),
            None => (owner.rrsets[0].ttl, 0),
        }
    };
    for (owner, want) in [
        ("plain.example.test", (300, 0)),
        ("own.example.test", (7, 0)),
        // interval 10 s × min(rise 2, fall 3); the AAAA RRset has no check.
        ("mixed.example.test", (20, 300)),
        ("slow.example.test", (300, 0)),
        ("fast.example.test", (4, 0)),
        ("given.example.test", (900, 0)),
        ("text.example.test", (60, 0)),
    ] {
        assert_eq!(ttls(owner), want, "{owner}");
    }
    // The given TTL is not auto, and there is no AAAA of which 2 would be the TTL.
    assert_eq!((zone.soa.minimum, zone.soa.ttl), (4, 4));
}

#[test]
fn short_checks_make_auto_one_second() {
    let mut builder_header = header();
    builder_header.default_ttl = 3;
    let mut owner = owners("a A! 192.0.2.1").remove(0);
    if let Some(Condition::Target(target)) = &mut owner.endpoints[0].condition {
        let check = Check { interval_ms: 100, ..(*target.check).clone() };
        target.check = Arc::new(check);
    }
    let mut builder = Builder::new(&builder_header, &builder_header.apex);
    builder.owner(owner);
    let zone = builder.finish().unwrap().0;
    assert_eq!(zone.soa.minimum, 1);
    assert_eq!(zone.owners.get(&name("a.example.test")).unwrap().checked.as_ref().unwrap().ttl(RrType::A), 1);
}

#[test]
fn soa_and_apex() {
    let zone = good(&header(), "a TXT x");
    let soa = &zone.soa;
    assert_eq!(
        (soa.mname.clone(), soa.rname.clone()),
        (name("ns.example.net"), name("hostmaster.example.test"))
    );
    assert_eq!((soa.refresh, soa.retry, soa.expire, soa.minimum, soa.ttl), (3600, 600, 1_209_600, 300, 300));
    let times = |refresh, expire| {
        let soa = SoaConfig { refresh, expire, ..SoaConfig::default() };
        let soa = good(&ZoneHeader { soa, ..header() }, "a TXT x").soa;
        (soa.refresh, soa.retry, soa.expire)
    };
    assert_eq!(times(None, Some(1000)), (500, 500, 1000));
    assert_eq!(times(Some(2_000_000), None), (2_000_000, 600, 4_000_000));
    let long = ZoneHeader { default_ttl: 86_400, ..header() };
    assert_eq!(good(&long, "a TXT x").soa.minimum, 3600);
    let soa = SoaConfig { minimum: Some(60), ..SoaConfig::default() };
    check(
        &ZoneHeader { soa, ..header() },
        "a A! 192.0.2.1",
        &["warning 0: 60 seconds are lowered to 20, the zone's smallest auto TTL"],
    );
    // NS from the header and from the records are one RRset, with the records' TTL.
    let zone = good(&header(), "@ NS=99 ns2.example.net.\n@ NS ns.example.net.");
    let ns = &zone.owners.get(&zone.apex).unwrap().rrsets[0];
    let texts: Vec<String> = ns.rdata.iter().map(|rdata| to_text(ns.rtype, rdata)).collect();
    assert_eq!((ns.ttl, texts), (99, vec!["ns.example.net.".to_owned(), "ns2.example.net.".to_owned()]));
    let zone = good(
        &ZoneHeader { nameservers: Vec::new(), ..header() },
        "@ NS ns9.example.net.\n@ NS ns1.example.net.",
    );
    assert_eq!(zone.soa.mname, name("ns9.example.net"), "the first as written");
}

#[test]
fn an_alias_has_the_same_records_at_its_own_names() {
    let header = ZoneHeader { nameservers: vec![name("ns1.example.test")], ..header() };
    let mut builder = Builder::new(&header, &name("other.example"));
    owners("ns1 A 192.0.2.1\nwww CNAME ns1\nbad CNAME gone")
        .into_iter()
        .for_each(|owner| builder.owner(owner));
    let (zone, warnings) = builder.finish().unwrap();
    let www = &zone.owners.get(&name("www.other.example")).unwrap().rrsets[0];
    assert_eq!(to_text(www.rtype, www.rdata.iter().next().unwrap()), "ns1.other.example.");
    assert_eq!(zone.soa.rname, name("hostmaster.other.example"));
    let primary = build(&header, "ns1 A 192.0.2.1\nwww CNAME ns1\nbad CNAME gone").unwrap().1;
    assert_eq!(warnings, primary, "findings do not depend on the apex");
}

/// Owners of up to three labels out of few, with types that hide or alias each other.
fn tangled_zones() -> impl Strategy<Value = String> {
    let owner = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..4)
        .prop_flat_map(|labels| (Just(labels), prop::bool::weighted(0.1)))
        .prop_map(|(labels, wildcard)| {
            let star = wildcard.then_some("*");
            let text = star.into_iter().chain(labels).collect::<Vec<_>>().join(".");
            if text.is_empty() { "@".to_owned() } else { text }
        });
    let target = prop::sample::select(vec!["a", "b", "a.b", "c.a.example.test.", "x.", "@"]);
    let kind = prop::sample::select(vec![
        "A 192.0.2.1",
        "A! 192.0.2.1",
        "TXT x",
        "DS 1 8 9 00",
        "NS ",
        "CNAME ",
        "DNAME ",
        "MX 1 ",
    ]);
    let line = (owner, kind, target).prop_map(|(owner, kind, target)| match kind.strip_suffix(' ') {
        Some(_) => format!("{owner} {kind}{target}"),
        None => format!("{owner} {kind}"),
    });
    prop::collection::vec(line, 0..12).prop_map(|mut lines| {
        lines.sort();
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_zone_has_a_verdict_and_true_places(zone in tangled_zones()) {
        let header = header();
        let outcome = build(&header, &zone);
        let has_error = outcome.as_ref().err().is_some_and(|found| found.iter().any(Diagnostic::is_error));
        prop_assert_eq!(outcome.is_err(), has_error);
        let Ok((zone, _)) = outcome else { return Ok(()) };
        for Placed { name, owner, .. } in zone.owners.iter() {
            let holds = |name: &Name, rtype| zone.owners.get(name).is_some_and(|o| o.rrsets.iter().any(|r| r.rtype == rtype));
            let above: Vec<Name> = std::iter::successors(name.parent(), Name::parent).collect();
            let hidden = above.iter().any(|n| holds(n, RrType::DNAME) || (*n != zone.apex && holds(n, RrType::NS)));
            let want = match (hidden, *name == zone.apex, holds(name, RrType::NS)) {
                (true, ..) => Place::Occluded,
                (_, true, _) => Place::Apex,
                (_, _, true) => Place::Cut,
                _ => Place::Authoritative,
            };
            prop_assert_eq!(owner.place, want, "{}", name);
            prop_assert!(owner.checked.is_none() || !matches!(want, Place::Cut));
        }
    }
}
