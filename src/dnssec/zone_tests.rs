//! A small signed zone of each algorithm, which the verifiers of NLnet Labs and ISC must accept. What serves and exports real zones is
//! tested elsewhere; this is about signatures, NSEC records and keys alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::algorithm::Algorithm;
use super::denial::nsec_rrset;
use super::files::test_directory::TestDirectory;
use super::generate;
use super::key::Key;
use super::keys::ZoneKeys;
use super::load::tests::tool;
use super::sign::Signer;
use crate::config::KeyRole;
use crate::model::name::Name;
use crate::model::rdata;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

/// Owner, type and RDATA; the last column says whether it is authoritative.
const RECORDS: &[(&str, &str, &[&str], bool)] = &[
    ("@", "SOA", &["ns1 hostmaster 7 3600 600 86400 300"], true),
    ("@", "NS", &["ns1", "ns2.example.net."], true),
    ("@", "MX", &["10 mail"], true),
    ("@", "TXT", &["\"v=spf1 -all\"", "\"second\""], true),
    ("ns1", "A", &["192.0.2.53"], true),
    ("ns1", "AAAA", &["2001:db8::53"], true),
    ("mail", "A", &["192.0.2.25", "192.0.2.26"], true),
    ("*.apps", "CNAME", &["mail"], true),
    ("a.b.ent", "TXT", &["\"below empty non-terminals\""], true),
    ("unsigned", "NS", &["ns.unsigned"], false),
    ("ns.unsigned", "A", &["203.0.113.1"], false),
    ("signed", "NS", &["ns2.example.net."], false),
    ("signed", "DS", &["60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A"], true),
    ("_443._tcp", "SRV", &["0 5 443 mail"], true),
    ("other", "DNAME", &["example.net."], true),
    ("x", "TYPE65400", &["\\# 4 0a000001"], true),
];

type Zone = BTreeMap<Name, BTreeMap<RrType, (Rrset, bool)>>;

fn unsigned_zone(apex: &Name) -> Zone {
    let mut zone = Zone::new();
    for &(owner, rtype, data, authoritative) in RECORDS {
        let owner = Name::parse_relative_to(owner, apex).unwrap();
        let rtype: RrType = rtype.parse().unwrap();
        let rdatas: Vec<Vec<u8>> = data.iter().map(|text| rdata::parse(rtype, text, apex).unwrap()).collect();
        let rrset = Rrset { rtype, ttl: 300, rdata: RdataSet::new(rdatas) };
        zone.entry(owner).or_default().insert(rtype, (rrset, authoritative));
    }
    zone
}

/// Adds keys and the NSEC chain, signs, and prints a master file.
fn signed_text(keys: ZoneKeys, now_s: u32) -> String {
    let apex = keys.apex().clone();
    let signer = Signer::new(Arc::new(keys), 1_209_600, 345_600);
    let mut zone = unsigned_zone(&apex);
    for rrset in [signer.keys().dnskey(300), signer.keys().cds(300), signer.keys().cdnskey(300)] {
        zone.get_mut(&apex).unwrap().insert(rrset.rtype, (rrset, true));
    }
    // Glue has no NSEC record, a zone cut has one.
    let glue = Name::parse_relative_to("unsigned", &apex).unwrap();
    let chain: Vec<Name> = zone.keys().filter(|owner| !owner.is_below(&glue)).cloned().collect();
    for (i, owner) in chain.iter().enumerate() {
        let rrsets = zone.get_mut(owner).unwrap();
        let types: Vec<RrType> = rrsets.keys().copied().collect();
        let nsec = nsec_rrset(&chain[(i + 1) % chain.len()], &types, 300);
        rrsets.insert(RrType::NSEC, (nsec, true));
    }
    let jobs: Vec<(&Name, &Rrset)> = zone
        .iter()
        .flat_map(|(owner, rrsets)| {
            rrsets.values().filter(|(_, signed)| *signed).map(move |(rrset, _)| (owner, rrset))
        })
        .collect();
    let signed: Vec<_> =
        jobs.iter().map(|(owner, rrset)| signer.sign(owner, rrset, now_s).unwrap()).collect();
    let mut text = String::new();
    let mut print = |owner: &Name, rtype: RrType, rdatas: &RdataSet| {
        for rdata in rdatas.iter() {
            writeln!(text, "{owner} 300 IN {rtype} {}", rdata::to_text(rtype, rdata)).unwrap();
        }
    };
    // ldns wants the SOA record first.
    print(&apex, RrType::SOA, &zone[&apex][&RrType::SOA].0.rdata);
    for (owner, rrsets) in &zone {
        for (rtype, (rrset, _)) in rrsets.iter().filter(|(rtype, _)| **rtype != RrType::SOA) {
            print(owner, *rtype, &rrset.rdata);
        }
    }
    for ((owner, _), signed) in jobs.iter().zip(&signed) {
        print(owner, RrType::RRSIG, &signed.rrsigs);
    }
    text
}

fn check(roles: &[(Algorithm, KeyRole)]) {
    let apex = Name::parse_absolute("example.test").unwrap();
    let keys = roles
        .iter()
        .map(|&(algorithm, role)| {
            Key::new(&generate::test_material(algorithm, role), role, algorithm, Path::new("k")).unwrap()
        })
        .collect();
    let keys = ZoneKeys::new(&apex, keys).unwrap();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let text = signed_text(keys, now_s);
    let directory = TestDirectory::new();
    std::fs::write(directory.path().join("zone"), &text).unwrap();
    // A CSK zone has no ZSK, which dnssec-verify is told by -z.
    let flag = if roles.iter().any(|(_, role)| *role == KeyRole::Csk) { "-z " } else { "" };
    tool(directory.path(), "ldns-verify-zone zone");
    tool(directory.path(), &format!("dnssec-verify -q {flag}-o example.test zone"));
    tool(directory.path(), "kzonecheck -d on -o example.test zone");
    // The verifiers can fail: one changed address is found by each.
    let broken = text.replacen("192.0.2.25", "192.0.2.99", 1);
    assert_ne!(broken, text);
    std::fs::write(directory.path().join("zone"), broken).unwrap();
    for line in ["ldns-verify-zone zone", &format!("dnssec-verify -q {flag}-o example.test zone")] {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        if let Ok(output) =
            std::process::Command::new(program).args(words).current_dir(directory.path()).output()
        {
            assert!(!output.status.success(), "{line} accepts a changed record");
        }
    }
}

#[test]
fn other_verifiers_accept_every_algorithm() {
    for algorithm in Algorithm::ALL {
        check(&[(algorithm, KeyRole::Csk)]);
        check(&[(algorithm, KeyRole::Ksk), (algorithm, KeyRole::Zsk)]);
    }
}

#[test]
fn other_verifiers_accept_two_algorithms_at_once() {
    check(&[
        (Algorithm::EcdsaP256Sha256, KeyRole::Ksk),
        (Algorithm::EcdsaP256Sha256, KeyRole::Zsk),
        (Algorithm::Ed25519, KeyRole::Ksk),
        (Algorithm::Ed25519, KeyRole::Zsk),
    ]);
}
