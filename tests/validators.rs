//! Validators of others, with a trust anchor: unbound for every kind of answer and denial, delv, ldns-verify-zone, dnssec-verify and
//! kzonecheck; before and after a health flip, a key change and a forced re-sign.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::backends::Backends;
use support::client::{Client, Via};
use support::fixture::{self, APEX};
use support::hale::{Hale, Setup};
use support::process::{find, run};
use support::servers::{Anchor, Unbound, unbound};
use support::tools;
use support::verify::{anchors, dnskeys};
use support::wire::rcode::{NOERROR, NXDOMAIN};
use support::wire::{Message, QueryBuilder, rtype};

/// A question for each kind of answer, with what a validator must say and how many answer records of the type it must have.
const KINDS: &[(&str, u16, u16, usize)] = &[
    ("example.test", rtype::SOA, NOERROR, 1),
    ("example.test", rtype::DNSKEY, NOERROR, 1),
    ("www.example.test", rtype::A, NOERROR, 2),
    ("chain.example.test", rtype::A, NOERROR, 2),
    ("host.old.example.test", rtype::A, NOERROR, 1),
    ("x.example.test", 65400, NOERROR, 1),
    // NODATA, at a CNAME's end, at an empty non-terminal, at the apex.
    ("www.example.test", rtype::MX, NOERROR, 0),
    ("chain.example.test", rtype::MX, NOERROR, 0),
    ("below.ent.example.test", rtype::A, NOERROR, 0),
    ("ent.example.test", rtype::TXT, NOERROR, 0),
    ("example.test", rtype::SRV, NOERROR, 0),
    // NXDOMAIN: first, last and in the middle of the chain, below a name, below an empty non-terminal, behind a CNAME and a DNAME.
    ("a.example.test", rtype::A, NXDOMAIN, 0),
    ("zzz.example.test", rtype::A, NXDOMAIN, 0),
    ("missing.www.example.test", rtype::A, NXDOMAIN, 0),
    ("missing.ent.example.test", rtype::A, NXDOMAIN, 0),
    ("dangling.example.test", rtype::A, NXDOMAIN, 0),
    ("missing.old.example.test", rtype::A, NXDOMAIN, 0),
    ("a.b.c.d.e.f.example.test", rtype::A, NXDOMAIN, 0),
    // Wildcards: an answer, at depth, NODATA, beside an exact name, as a CNAME.
    ("any.wild.example.test", rtype::A, NOERROR, 1),
    ("a.b.c.wild.example.test", rtype::TXT, NOERROR, 1),
    ("any.wild.example.test", rtype::MX, NOERROR, 0),
    ("exact.wild.example.test", rtype::A, NOERROR, 0),
    ("below.exact.wild.example.test", rtype::A, NXDOMAIN, 0),
    ("any.alias-wild.example.test", rtype::A, NOERROR, 2),
    // A delegation with DS, and the proof that there is none.
    ("secure.example.test", rtype::DS, NOERROR, 1),
    ("insecure.example.test", rtype::DS, NOERROR, 0),
];

fn resolver(hale: &Hale, apexes: &[&str]) -> Option<Unbound> {
    let mut client = Client::new(hale.address);
    let zones: Vec<Anchor> = apexes
        .iter()
        .map(|apex| Anchor {
            apex: (*apex).to_owned(),
            server: hale.address,
            trust: anchors(&dnskeys(&mut client, apex)),
        })
        .collect();
    assert!(zones.iter().all(|zone| !zone.trust.is_empty()), "no key to trust");
    unbound(&zones)
}

/// Resolves and checks that the answer is secure and what it should be.
fn secure(unbound: &Unbound, name: &str, qtype: u16, rcode: u16, records: usize) -> Result<Message, String> {
    let answer = unbound.resolve(name, qtype)?;
    let count = answer.answers(qtype).count();
    if !answer.ad || answer.rcode != rcode || count < records || (records == 0 && count > 0) {
        return Err(format!(
            "{name} {qtype}: AD and rcode {rcode} with {records} records are due: {answer:#?}"
        ));
    }
    Ok(answer)
}

fn all_kinds(hale: &Hale) -> Option<()> {
    let unbound = resolver(hale, &[APEX])?;
    let failures: Vec<String> = KINDS
        .iter()
        .filter_map(|(name, qtype, rcode, records)| secure(&unbound, name, *qtype, *rcode, *records).err())
        .collect();
    assert!(failures.is_empty(), "{} of {}\n{}", failures.len(), KINDS.len(), failures.join("\n"));
    Some(())
}

/// Other programs' verdict on the exported zone.
fn export_verifies(hale: &Hale, apex: &str) {
    let zone = hale.export(apex);
    let verdicts =
        [tools::ldns_verify_zone(&zone), tools::dnssec_verify(apex, &zone), tools::kzonecheck(apex, &zone)];
    for done in verdicts.into_iter().flatten() {
        assert!(done.status.success(), "{done:?}\n{}", std::fs::read_to_string(&zone).unwrap());
    }
}

#[test]
fn every_kind_of_answer_is_secure() {
    let hale = fixture::signed("kinds").start();
    if all_kinds(&hale).is_some() {
        export_verifies(&hale, APEX);
    }
}

#[test]
fn delv_trusts_positive_answers() {
    let hale = fixture::signed("delv").start();
    let anchor = anchors(&dnskeys(&mut Client::new(hale.address), APEX));
    for (name, qtype) in
        [("www.example.test", "A"), ("chain.example.test", "AAAA"), ("any.wild.example.test", "TXT")]
    {
        let Some(done) = tools::delv(hale.address, hale.folder(), APEX, &anchor, name, qtype) else { return };
        assert!(done.stdout.contains("; fully validated"), "{name}: {done:?}");
    }
}

/// Keys made by BIND, a KSK and a ZSK each, for every algorithm.
#[test]
fn every_algorithm_verifies_with_keys_of_others() {
    let Some(keygen) = find("dnssec-keygen") else { return };
    for (algorithm, bits) in [("8", "2048"), ("10", "2048"), ("13", ""), ("14", ""), ("15", "")] {
        let setup = Setup::new("algorithm").zone("zone.json", &fixture::zone(APEX, r#"{ "keys": "keys" }"#));
        let folder = setup.folder.path().join("keys").join(APEX);
        std::fs::create_dir_all(&folder).unwrap();
        for role in [&["-f", "KSK"][..], &[]] {
            make_key(&keygen, algorithm, bits, role, &folder);
        }
        let hale = setup.start();
        let keys = dnskeys(&mut Client::new(hale.address), APEX);
        assert!(keys.len() == 2 && keys.iter().all(|key| key.rdata[3].to_string() == algorithm), "{keys:?}");
        export_verifies(&hale, APEX);
        if all_kinds(&hale).is_none() {
            return;
        }
    }
}

fn make_key(keygen: &Path, algorithm: &str, bits: &str, role: &[&str], folder: &Path) {
    let mut command = Command::new(keygen);
    command.args(["-q", "-a", algorithm]);
    if !bits.is_empty() {
        command.args(["-b", bits]);
    }
    let done = run(command.args(role).arg("-K").arg(folder).arg(APEX), Duration::from_secs(60));
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn answers_stay_secure_after_a_key_change() {
    let Some(keygen) = find("dnssec-keygen") else { return };
    let setup = Setup::new("rollover").zone("zone.json", &fixture::zone(APEX, r#"{ "keys": "keys" }"#));
    let folder = setup.folder.path().join("keys").join(APEX);
    std::fs::create_dir_all(&folder).unwrap();
    let fill = |algorithm| {
        make_key(&keygen, algorithm, "", &["-f", "KSK"], &folder);
        make_key(&keygen, algorithm, "", &[], &folder);
    };
    fill("13");
    let hale = setup.start();
    let mut client = Client::new(hale.address);
    let before = dnskeys(&mut client, APEX);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    fill("15");
    hale.reload();
    wait_until(Duration::from_secs(10), || {
        let now = dnskeys(&mut client, APEX);
        !now.is_empty() && now.iter().all(|key| !before.contains(key))
    });
    export_verifies(&hale, APEX);
    all_kinds(&hale);
}

/// Two checked names, one that keeps answering when all is down and one that goes to NODATA.
fn checked_zone(backends: &Backends) -> String {
    let check = |number: usize| {
        format!(
            r#"{{ "http": {{ "path": "/{number}", "port": {} }}, "interval": "200ms", "timeout": "150ms", "rise": 1, "fall": 1 }}"#,
            backends.address.port()
        )
    };
    let endpoint = |address: &str, number| {
        format!(r#"{{ "address": "{address}", "probe": "127.0.0.1", "check": {} }}"#, check(number))
    };
    format!(
        r#"{{ "zone": "{APEX}", "nameservers": ["ns1.{APEX}"], "dnssec": {{ "keys": "auto" }}, "records": {{
            "ns1": {{ "A": ["192.0.2.53"] }},
            "both": {{ "A": [{}, {}] }},
            "none": {{ "A": [{}], "TXT": ["stays"], "when_all_down": "none" }},
            "*": {{ "A": ["192.0.2.99"] }} }} }}"#,
        endpoint("192.0.2.1", 0),
        endpoint("192.0.2.2", 1),
        endpoint("192.0.2.3", 2),
    )
}

/// Backends that change, and the last octets that `both` and `none` answer with then.
type Step = (&'static [(usize, bool)], &'static [u8], &'static [u8]);

#[test]
fn answers_stay_secure_over_health_flips() {
    let backends = Backends::start(3);
    let hale = Setup::new("flip").zone("zone.json", &checked_zone(&backends)).start();
    let Some(unbound) = resolver(&hale, &[APEX]) else { return };
    let mut client = Client::new(hale.address);
    let mut addresses = |name: &str| {
        let answer = client.ask(&QueryBuilder::new(name, rtype::A), Via::Udp).unwrap();
        let mut last: Vec<u8> = answer.answers(rtype::A).map(|record| record.rdata[3]).collect();
        last.sort_unstable();
        last
    };
    let steps: &[Step] = &[
        (&[], &[1, 2], &[3]),
        (&[(0, false)], &[2], &[3]),
        (&[(0, true), (1, false), (2, false)], &[1], &[]),
        (&[(0, false)], &[1, 2], &[]),
        (&[(0, true), (1, true), (2, true)], &[1, 2], &[3]),
    ];
    for (changes, both, none) in steps {
        for (number, up) in *changes {
            backends.set(*number, *up);
        }
        wait_until(Duration::from_secs(10), || {
            addresses("both.example.test") == *both && addresses("none.example.test") == *none
        });
        secure(&unbound, "both.example.test", rtype::A, NOERROR, both.len()).unwrap();
        // The owner stays, so the wildcard does not take over.
        secure(&unbound, "none.example.test", rtype::A, NOERROR, none.len()).unwrap();
        secure(&unbound, "none.example.test", rtype::TXT, NOERROR, 1).unwrap();
        secure(&unbound, "none.example.test", rtype::MX, NOERROR, 0).unwrap();
        secure(&unbound, "missing.example.test", rtype::A, NOERROR, 1).unwrap();
        export_verifies(&hale, APEX);
    }
}

/// MX and SRV records and CNAMEs, each checked by a backend.
fn checked_records(backends: &Backends) -> String {
    let check = |number: usize| {
        format!(
            r#""probe": "127.0.0.1", "check": {{ "http": {{ "path": "/{number}", "port": {}, "host": "x" }}, "interval": "200ms", "timeout": "150ms", "rise": 1, "fall": 1 }}"#,
            backends.address.port()
        )
    };
    format!(
        r#"{{ "zone": "{APEX}", "nameservers": ["ns1.{APEX}"], "dnssec": {{ "keys": "auto" }}, "records": {{
            "ns1": {{ "A": ["192.0.2.53"] }}, "h0": {{ "A": ["192.0.2.1"] }}, "h1": {{ "A": ["192.0.2.2"] }},
            "@": {{ "MX": [{{ "data": "10 h0", {0} }}, {{ "data": "20 h1", {1} }}] }},
            "_imaps._tcp": {{ "SRV": [{{ "data": "1 1 993 h0", {0} }}, {{ "data": "2 1 993 h1", {1} }}], "when_all_down": "none", "TXT": ["stays"] }},
            "www": {{ "policy": "failover", "pools": [{{ "name": "a", "CNAME": "h0", {0} }}, {{ "name": "b", "CNAME": "h1", {1} }}] }},
            "*.wild": {{ "policy": "failover", "pools": [{{ "name": "a", "CNAME": "h0", {0} }}, {{ "name": "b", "CNAME": "h1", {1} }}] }},
            "off": {{ "CNAME": {{ "data": "h0", {0} }}, "when_all_down": "none" }} }} }}"#,
        check(0),
        check(1)
    )
}

#[test]
fn records_and_aliases_stay_secure_over_health_flips() {
    let backends = Backends::start(2);
    let hale = Setup::new("records").zone("zone.json", &checked_records(&backends)).start();
    let Some(unbound) = resolver(&hale, &[APEX]) else { return };
    let mut client = Client::new(hale.address);
    // What the records of a type lead to, and the last octet of the address behind the alias.
    let mut hosts = |name: &str, qtype: u16| {
        let answer = client.ask(&QueryBuilder::new(name, qtype), Via::Udp).unwrap();
        let host = |rdata: &[u8]| rdata.windows(2).find_map(|w| w[0].eq(&b'h').then(|| w[1] - b'0'));
        let of = |record: &support::wire::Record| match record.rtype {
            rtype::A => Some(record.rdata[3]),
            _ => host(&record.rdata),
        };
        let mut hosts: Vec<u8> = answer.answers(qtype).filter_map(of).collect();
        hosts.sort_unstable();
        hosts
    };
    // Backends that change; hosts of MX, SRV and the lone CNAME; the address behind the pools.
    type Step = (&'static [(usize, bool)], &'static [u8], &'static [u8], &'static [u8], u8);
    let steps: &[Step] = &[
        (&[], &[0, 1], &[0, 1], &[0], 1),
        (&[(0, false)], &[1], &[1], &[], 2),
        (&[(1, false)], &[0, 1], &[], &[], 1),
        (&[(1, true)], &[1], &[1], &[], 2),
        (&[(0, true)], &[0, 1], &[0, 1], &[0], 1),
    ];
    let srv = "_imaps._tcp.example.test";
    for (changes, mx, services, off, address) in steps {
        for (number, up) in *changes {
            backends.set(*number, *up);
        }
        wait_until(Duration::from_secs(10), || {
            hosts(APEX, rtype::MX) == *mx
                && hosts(srv, rtype::SRV) == *services
                && hosts("off.example.test", rtype::CNAME) == *off
                && hosts("www.example.test", rtype::A) == [*address]
                && hosts("x.wild.example.test", rtype::A) == [*address]
        });
        // The resolver may keep what it has for another second.
        let judged = |name: &str, qtype: u16, records: usize| {
            wait_until(Duration::from_secs(5), || secure(&unbound, name, qtype, NOERROR, records).is_ok());
        };
        judged(APEX, rtype::MX, mx.len());
        judged(srv, rtype::SRV, services.len());
        judged(srv, rtype::TXT, 1);
        judged("www.example.test", rtype::A, 1);
        judged("www.example.test", rtype::MX, 0);
        judged("x.wild.example.test", rtype::A, 1);
        // Without its CNAME the owner is one without data.
        judged("off.example.test", rtype::A, off.len());
        judged("off.example.test", rtype::CNAME, off.len());
        export_verifies(&hale, APEX);
    }
}

#[test]
fn signatures_are_renewed_before_they_expire() {
    let dnssec = r#"{ "keys": "auto", "signature_validity": "20s", "refresh": "15s" }"#;
    let hale = Setup::new("renewal").zone("zone.json", &fixture::zone(APEX, dnssec)).start();
    let mut client = Client::new(hale.address);
    let mut signature = |name: &str| {
        let answer = client.ask(&QueryBuilder::new(name, rtype::A).edns(1232, true), Via::Udp).unwrap();
        answer.answers(rtype::RRSIG).next().unwrap().rdata.clone()
    };
    let before = signature("www.example.test");
    wait_until(Duration::from_secs(30), || signature("www.example.test") != before);
    all_kinds(&hale);
    export_verifies(&hale, APEX);
}

fn wait_until(wait: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + wait;
    while !done() {
        assert!(Instant::now() < deadline, "not within {wait:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
