//! Policies in a running server: every answer validates, whichever a query gets, before and after a flip.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hickory_proto::dnssec::Verifier;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use support::backends::Backends;
use support::client::Client;
use support::hale::{Hale, Setup};
use support::tools;
use support::verify::{anchors, dnskeys, verify_section};
use support::wire::{QueryBuilder, rtype};

/// A pool whose addresses end in the given octets, each checked by the backend of that number.
fn pool(name: &str, backends: &Backends, octets: &[usize]) -> String {
    let entry = |o: &usize| {
        format!(
            r#"{{ "address": "192.0.2.{o}", "probe": "{}", "check": {{ "http": {{ "path": "/{o}", "host": "x" }}, "interval": "100ms", "rise": 1, "fall": 1 }} }}"#,
            backends.address
        )
    };
    let entries: Vec<String> = octets.iter().map(entry).collect();
    format!(r#""{name}": {{ "A": [{}] }}"#, entries.join(", "))
}

fn start(backends: &Backends) -> Hale {
    let cnames = [6, 7].map(|number| {
        format!(
            r#"{{ "name": "p{number}", "CNAME": {{ "data": "lb{number}", "probe": "{}" }}, "check": {{ "http": {{ "path": "/{number}", "host": "x" }}, "interval": "100ms", "rise": 1, "fall": 1 }} }}"#,
            backends.address
        )
    });
    let cnames = cnames.join(", ");
    let zone = format!(
        r#"{{
  "zone": "example.test", "nameservers": ["ns1.example.net"], "dnssec": {{ "keys": "auto" }},
  "pools": {{ {}, {} }},
  "records": {{
    "failover": {{ "policy": "failover", "pools": ["fra", "lon"], "ttl": 1 }},
    "weighted": {{ "policy": "weighted", "pools": [{{ "pool": "fra", "weight": 3 }}, "lon"], "ttl": 1 }},
    "one": {{ "policy": "weighted", "pools": ["four"], "answers": 1, "ttl": 1 }},
    "hashed": {{ "policy": "hashed", "A": ["192.0.2.101", "192.0.2.102", "192.0.2.103"], "answers": 2 }},
    "drawn-alias": {{ "policy": "weighted", "pools": [{cnames}], "ttl": 1 }},
    "hashed-alias": {{ "policy": "hashed", "pools": [{cnames}], "ttl": 1, "when_all_down": "none" }},
    "lb6": ["192.0.2.106"], "lb7": ["192.0.2.107"]
  }} }}"#,
        pool("fra", backends, &[1, 2]),
        pool("four", backends, &[3, 4]),
    );
    let shared = format!(r#"{{ "pools": {{ {} }} }}"#, pool("lon", backends, &[5]));
    Setup::new("policies").zone("zone.json", &zone).config(&shared).start()
}

/// The last octets of one answer, which both verifiers accept.
fn answer(
    client: &mut Client,
    name: &str,
    keys: &[support::wire::Record],
    key_records: &[Record],
) -> Vec<u8> {
    let query = QueryBuilder::new(&format!("{name}.example.test"), rtype::A).edns(1232, true);
    let wire = client.exchange_udp(&query.build()).unwrap();
    let ours = support::wire::Message::decode(&wire).unwrap();
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
    verify_section(&ours.answer, keys, now_s).unwrap_or_else(|e| panic!("{name}: {e}"));
    hickory_accepts(&wire, RecordType::A, key_records);
    let mut last: Vec<u8> = ours.answers(rtype::A).map(|record| record.rdata[3]).collect();
    last.sort_unstable();
    last
}

/// The second opinion of a verifier that is not ours.
fn hickory_accepts(wire: &[u8], rtype: RecordType, keys: &[Record]) {
    let message = Message::from_vec(wire).unwrap();
    let of_type: Vec<&Record> = message.answers.iter().filter(|r| r.record_type() == rtype).collect();
    let signed = message.answers.iter().any(|record| {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else { return false };
        keys.iter().any(|key| {
            let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &key.data else { return false };
            let of_name = of_type.iter().copied();
            key.verify_rrsig(&record.name, DNSClass::IN, rrsig, of_name).is_ok()
        })
    });
    assert!(signed, "{message}");
}

/// What many queries for a name are answered with.
fn answers(hale: &Hale, name: &str) -> BTreeSet<Vec<u8>> {
    let mut client = Client::new(hale.address);
    let keys = dnskeys(&mut client, "example.test");
    let query = QueryBuilder::new("example.test", rtype::DNSKEY).edns(1232, true);
    let key_records = Message::from_vec(&client.exchange_udp(&query.build()).unwrap()).unwrap().answers;
    (0..60).map(|_| answer(&mut client, name, &keys, &key_records)).collect()
}

fn wait_for(hale: &Hale, name: &str, want: &[&[u8]]) {
    let want: BTreeSet<Vec<u8>> = want.iter().map(|set| set.to_vec()).collect();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let got = answers(hale, name);
        if got == want {
            return;
        }
        assert!(Instant::now() < end, "{name}: {got:?}, not {want:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_answer_of_every_policy_validates() {
    let backends = Backends::start(6);
    let hale = start(&backends);
    wait_for(&hale, "failover", &[&[1, 2]]);
    wait_for(&hale, "weighted", &[&[1, 2], &[5]]);
    wait_for(&hale, "one", &[&[3], &[4]]);
    let pinned = answers(&hale, "hashed");
    assert_eq!((pinned.len(), pinned.first().unwrap().len()), (1, 2), "one client has one answer");

    backends.set(1, false);
    wait_for(&hale, "failover", &[&[2]]);
    wait_for(&hale, "weighted", &[&[2], &[5]]);
    backends.set(2, false);
    wait_for(&hale, "failover", &[&[5]]);
    wait_for(&hale, "weighted", &[&[5]]);
    backends.set(5, false);
    wait_for(&hale, "failover", &[&[1, 2]]);
    backends.set(1, true);
    backends.set(2, true);
    backends.set(5, true);
    wait_for(&hale, "weighted", &[&[1, 2], &[5]]);
    wait_for(&hale, "failover", &[&[1, 2]]);

    let anchor = anchors(&dnskeys(&mut Client::new(hale.address), "example.test"));
    for name in ["weighted.example.test", "hashed.example.test"] {
        let Some(done) = tools::delv(hale.address, hale.folder(), "example.test", &anchor, name, "A") else {
            return;
        };
        assert!(done.stdout.contains("; fully validated"), "{name}: {done:?}");
    }
}

/// Which of `lb6` and `lb7` a name leads the clients of 40 networks to, each asked for twice. Every answer is verified; nothing is NODATA.
fn targets(hale: &Hale, name: &str) -> Vec<[Option<u8>; 2]> {
    let mut client = Client::new(hale.address);
    let keys = dnskeys(&mut client, "example.test");
    let query = QueryBuilder::new("example.test", rtype::DNSKEY).edns(1232, true);
    let key_records = Message::from_vec(&client.exchange_udp(&query.build()).unwrap()).unwrap().answers;
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
    let mut ask = |network: u8| {
        let query = QueryBuilder::new(&format!("{name}.example.test"), rtype::CNAME)
            .edns(1232, true)
            .option(8, &[0, 1, 24, 0, 10, network, 0]);
        let wire = client.exchange_udp(&query.build()).unwrap();
        let ours = support::wire::Message::decode(&wire).unwrap();
        let cnames: Vec<_> = ours.answers(rtype::CNAME).collect();
        if cnames.is_empty() {
            verify_section(&ours.authority, &keys, now_s).unwrap_or_else(|e| panic!("{name}: {e}"));
            return None;
        }
        assert_eq!(cnames.len(), 1, "{name}: {ours:?}");
        verify_section(&ours.answer, &keys, now_s).unwrap_or_else(|e| panic!("{name}: {e}"));
        hickory_accepts(&wire, RecordType::CNAME, &key_records);
        Some(cnames[0].rdata[3] - b'0')
    };
    (0..40).map(|network| [ask(network), ask(network)]).collect()
}

/// Waits until the answers for a name are these, whoever asks.
fn wait_for_targets(hale: &Hale, name: &str, want: &[Option<u8>]) -> Vec<[Option<u8>; 2]> {
    let want: BTreeSet<Option<u8>> = want.iter().copied().collect();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let got = targets(hale, name);
        if got.iter().flatten().copied().collect::<BTreeSet<_>>() == want {
            return got;
        }
        assert!(Instant::now() < end, "{name}: {got:?}, not {want:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_alias_that_is_drawn_or_hashed_validates() {
    let backends = Backends::start(8);
    let hale = start(&backends);
    wait_for_targets(&hale, "drawn-alias", &[Some(6), Some(7)]);
    wait_for_targets(&hale, "hashed-alias", &[Some(6), Some(7)]);
    // Both are answered by now, and were perhaps not for each of those networks.
    let both = targets(&hale, "hashed-alias");
    assert!(both.iter().all(|[first, second]| first == second), "a network has one answer: {both:?}");
    backends.set(6, false);
    for name in ["drawn-alias", "hashed-alias"] {
        wait_for_targets(&hale, name, &[Some(7)]);
    }
    backends.set(7, false);
    wait_for_targets(&hale, "hashed-alias", &[None]);
    wait_for_targets(&hale, "drawn-alias", &[Some(6), Some(7)]);
    backends.set(6, true);
    wait_for_targets(&hale, "hashed-alias", &[Some(6)]);
    backends.set(7, true);
    wait_for_targets(&hale, "hashed-alias", &[Some(6), Some(7)]);
    let again = targets(&hale, "hashed-alias");
    assert_eq!(again, both, "who came back has its own clients again");
}

#[test]
fn exports_hold_the_default_variants_and_verify() {
    let backends = Backends::start(6);
    let hale = start(&backends);
    let zone = hale.export("example.test");
    let text = std::fs::read_to_string(&zone).unwrap();
    let count = |name: &str| {
        text.lines()
            .filter(|l| l.starts_with(&format!("{name}.example.test.")) && l.contains("\tA\t"))
            .count()
    };
    assert_eq!(["failover", "weighted", "one", "hashed"].map(count), [2, 2, 1, 2], "{text}");
    for done in
        [tools::ldns_verify_zone(&zone), tools::kzonecheck("example.test", &zone)].into_iter().flatten()
    {
        assert!(done.status.success(), "{done:?}");
    }
}

/// What `dig` makes of the answer to a query for a client's network: the addresses, and the client subnet line.
fn dig(hale: &Hale, name: &str, subnet: &str) -> Option<(Vec<String>, String)> {
    let mut command = std::process::Command::new(support::process::find("dig")?);
    command.arg(format!("@{}", hale.address.ip())).args(["-p", &hale.address.port().to_string()]);
    let done = support::process::run(
        command.args([name, "A", &format!("+subnet={subnet}")]),
        Duration::from_secs(10),
    );
    assert!(done.status.success(), "{done:?}");
    let line = done.stdout.lines().find(|line| line.contains("CLIENT-SUBNET")).unwrap_or_default();
    let is_answer = |line: &&str| line.starts_with(name) && line.contains("\tA\t");
    let addresses = done.stdout.lines().filter(is_answer).filter_map(|line| line.split('\t').next_back());
    Some((addresses.map(str::to_owned).collect(), line.trim_start_matches("; ").to_owned()))
}

#[test]
fn dig_sees_the_answer_of_its_subnet_and_the_scope() {
    let zone = r#"{
  "zone": "example.test", "nameservers": ["ns1.example.net"],
  "pools": { "fra": { "A": ["192.0.2.1"] }, "nyc": { "A": ["192.0.2.2"] }, "isp": { "A": ["192.0.2.3"] }, "rest": { "A": ["192.0.2.4"] } },
  "records": {
    "www": { "policy": "geo", "map": { "EU": "fra", "US": "nyc", "AS64500": "isp", "198.51.100.0/24": "isp", "default": "rest" } },
    "app": { "policy": "geo", "map": { "EU": { "policy": "failover", "pools": ["fra", "nyc"] }, "default": { "policy": "weighted", "pools": ["nyc", "rest"] } } }
  } }"#;
    let setup = Setup::new("geo").zone("zone.json", zone);
    let place = support::mmdb::place;
    let places = support::mmdb::database(
        "Test-Country",
        &[("10.0.0.0/8", place("EU", "DE", "")), ("2001:db8::/32", place("NA", "US", ""))],
    );
    let systems = support::mmdb::database("Test-ASN", &[("10.5.0.0/16", support::mmdb::system(64_500))]);
    std::fs::write(setup.folder.path().join("places.mmdb"), places).unwrap();
    std::fs::write(setup.folder.path().join("systems.mmdb"), systems).unwrap();
    let hale = setup.config(r#"{ "geo": { "databases": ["places.mmdb", "systems.mmdb"] } }"#).start();
    for (name, subnet, want, line) in [
        ("www.example.test.", "10.1.0.0/24", &["192.0.2.1"][..], "CLIENT-SUBNET: 10.1.0.0/24/14"),
        ("www.example.test.", "10.5.6.0/24", &["192.0.2.3"], "CLIENT-SUBNET: 10.5.6.0/24/16"),
        ("www.example.test.", "198.51.100.0/24", &["192.0.2.3"], "CLIENT-SUBNET: 198.51.100.0/24/24"),
        ("www.example.test.", "2001:db8:1::/48", &["192.0.2.2"], "CLIENT-SUBNET: 2001:db8:1::/48/32"),
        ("www.example.test.", "203.0.113.0/24", &["192.0.2.4"], "CLIENT-SUBNET: 203.0.113.0/24/5"),
        ("www.example.test.", "0", &["192.0.2.4"], "CLIENT-SUBNET: 0.0.0.0/0/0"),
        ("app.example.test.", "10.5.6.0/24", &["192.0.2.1"], "CLIENT-SUBNET: 10.5.6.0/24/8"),
    ] {
        let Some((addresses, subnet_line)) = dig(&hale, name, subnet) else { return };
        assert_eq!(
            (addresses.iter().map(String::as_str).collect::<Vec<_>>(), subnet_line.as_str()),
            (want.to_vec(), line)
        );
    }
}
