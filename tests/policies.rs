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
    let zone = format!(
        r#"{{
  "zone": "example.test", "nameservers": ["ns1.example.net"], "dnssec": {{ "keys": "auto" }},
  "pools": {{ {}, {} }},
  "records": {{
    "failover": {{ "policy": "failover", "pools": ["fra", "lon"], "ttl": 1 }},
    "weighted": {{ "policy": "weighted", "pools": [{{ "pool": "fra", "weight": 3 }}, "lon"], "ttl": 1 }},
    "one": {{ "policy": "weighted", "pools": ["four"], "answers": 1, "ttl": 1 }},
    "hashed": {{ "policy": "hashed", "A": ["192.0.2.101", "192.0.2.102", "192.0.2.103"], "answers": 2 }}
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
    hickory_accepts(&wire, key_records);
    let mut last: Vec<u8> = ours.answers(rtype::A).map(|record| record.rdata[3]).collect();
    last.sort_unstable();
    last
}

/// The second opinion of a verifier that is not ours.
fn hickory_accepts(wire: &[u8], keys: &[Record]) {
    let message = Message::from_vec(wire).unwrap();
    let addresses: Vec<&Record> =
        message.answers.iter().filter(|r| r.record_type() == RecordType::A).collect();
    let signed = message.answers.iter().any(|record| {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else { return false };
        keys.iter().any(|key| {
            let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &key.data else { return false };
            let of_name = addresses.iter().copied();
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
