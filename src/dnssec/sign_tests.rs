//! Signatures checked by hickory-proto's verifier, which shares no code with the signer.

use std::path::Path;

use hickory_proto::dnssec::Verifier;
use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use super::*;
use crate::config::KeyRole;
use crate::dnssec::algorithm::Algorithm;
use crate::dnssec::generate;

const NOW: u32 = 1_800_000_000;
const DAY: u32 = 86_400;

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn key(algorithm: Algorithm, role: KeyRole) -> Key {
    Key::new(&generate::test_material(algorithm, role), role, algorithm, Path::new("test")).unwrap()
}

fn signer(keys: Vec<Key>) -> Signer {
    Signer::new(Arc::new(ZoneKeys::new(&name("example.test"), keys).unwrap()), 14 * DAY, 4 * DAY)
}

fn rrset(rtype: RrType, rdatas: &[&[u8]]) -> Rrset {
    Rrset { rtype, ttl: 300, rdata: RdataSet::new(rdatas) }
}

/// A response that holds the RRset with its signatures and the DNSKEY RRset, as a resolver would get it.
fn message(owner: &Name, rrset: &Rrset, signed: &Signed, keys: &ZoneKeys) -> Message {
    let mut records = Vec::new();
    let mut put = |owner: &Name, rtype: RrType, rdata: &[u8]| {
        records.extend_from_slice(owner.wire());
        records.extend_from_slice(&rtype.0.to_be_bytes());
        records.extend_from_slice(&[0, 1]);
        records.extend_from_slice(&300u32.to_be_bytes());
        records.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        records.extend_from_slice(rdata);
    };
    rrset.rdata.iter().for_each(|r| put(owner, rrset.rtype, r));
    signed.rrsigs.iter().for_each(|r| put(owner, RrType::RRSIG, r));
    let dnskey = keys.dnskey(300);
    if rrset.rtype != RrType::DNSKEY {
        dnskey.rdata.iter().for_each(|r| put(keys.apex(), RrType::DNSKEY, r));
    }
    let others = if rrset.rtype == RrType::DNSKEY { 0 } else { dnskey.rdata.len() };
    let count = (rrset.rdata.len() + signed.rrsigs.len() + others) as u16;
    let mut wire = vec![0, 0, 0x84, 0, 0, 0];
    wire.extend_from_slice(&count.to_be_bytes());
    wire.extend_from_slice(&[0, 0, 0, 0]);
    wire.extend_from_slice(&records);
    Message::from_vec(&wire).unwrap()
}

/// How many of the signatures hickory accepts.
fn verified(message: &Message, rtype: RrType) -> usize {
    let covered: Vec<_> =
        message.answers.iter().filter(|r| u16::from(r.record_type()) == rtype.0).cloned().collect();
    let mut good = 0;
    for record in &message.answers {
        let RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::RRSIG(rrsig)) = &record.data else {
            continue;
        };
        for key in &message.answers {
            let RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::DNSKEY(dnskey)) = &key.data else {
                continue;
            };
            if dnskey.calculate_key_tag().unwrap() == rrsig.input().key_tag
                && dnskey.verify_rrsig(&record.name, record.dns_class, rrsig, covered.iter()).is_ok()
            {
                good += 1;
            }
        }
    }
    good
}

#[track_caller]
fn check(signer: &Signer, owner: &str, rrset: &Rrset, signatures: usize) {
    let owner = name(owner);
    let signed = signer.sign(&owner, rrset, NOW).unwrap();
    assert_eq!(signed.rrsigs.len(), signatures, "{owner} {}", rrset.rtype);
    let message = message(&owner, rrset, &signed, signer.keys());
    assert_eq!(verified(&message, rrset.rtype), signatures, "{owner} {}", rrset.rtype);
}

fn check_all(signer: &Signer, of_keys: usize, of_zone: usize) {
    let txt: Vec<Vec<u8>> = (0..20u8).map(|i| vec![1, b'a' + i]).collect();
    let txt: Vec<&[u8]> = txt.iter().map(Vec::as_slice).collect();
    check(signer, "www.example.test", &rrset(RrType::A, &[&[192, 0, 2, 2], &[192, 0, 2, 1]]), of_zone);
    check(signer, "example.test", &rrset(RrType::TXT, &txt), of_zone);
    check(
        signer,
        "*.apps.example.test",
        &rrset(RrType::CNAME, &[b"\x03www\x07example\x04test\x00"]),
        of_zone,
    );
    check(signer, "example.test", &rrset(RrType::MX, &[b"\x00\x0a\x04mail\x07example\x04test\x00"]), of_zone);
    check(signer, "x.example.test", &rrset(RrType(65400), &[&[1, 2, 3]]), of_zone);
    let nsec = crate::dnssec::denial::nsec_rrset(&name("example.test"), &[RrType::A], 300);
    check(signer, "www.example.test", &nsec, of_zone);
    for rrset in [signer.keys().dnskey(300), signer.keys().cds(300), signer.keys().cdnskey(300)] {
        check(signer, "example.test", &rrset, of_keys);
    }
}

#[test]
fn every_algorithm_verifies() {
    for algorithm in Algorithm::ALL {
        check_all(&signer(vec![key(algorithm, KeyRole::Csk)]), 1, 1);
    }
}

#[test]
fn roles_sign_what_is_theirs() {
    let (p256, p384) = (Algorithm::EcdsaP256Sha256, Algorithm::EcdsaP384Sha384);
    check_all(&signer(vec![key(p256, KeyRole::Ksk), key(p256, KeyRole::Zsk)]), 1, 1);
    check_all(&signer(vec![key(p256, KeyRole::Csk), key(p256, KeyRole::Csk)]), 2, 2);
    check_all(&signer(vec![key(p256, KeyRole::Ksk), key(p256, KeyRole::Ksk), key(p256, KeyRole::Zsk)]), 2, 1);
    check_all(&signer(vec![key(p256, KeyRole::Csk), key(p384, KeyRole::Ksk), key(p384, KeyRole::Zsk)]), 2, 2);
}

#[test]
fn a_changed_rrset_does_not_verify() {
    let signer = signer(vec![key(Algorithm::Ed25519, KeyRole::Csk)]);
    let owner = name("www.example.test");
    let one = rrset(RrType::A, &[&[192, 0, 2, 1]]);
    let signed = signer.sign(&owner, &one, NOW).unwrap();
    let other = rrset(RrType::A, &[&[192, 0, 2, 2]]);
    assert_eq!(verified(&message(&owner, &other, &signed, signer.keys()), RrType::A), 0);
    assert_eq!(verified(&message(&name("w.example.test"), &one, &signed, signer.keys()), RrType::A), 0);
}

#[test]
fn incomplete_key_sets_are_refused() {
    use crate::dnssec::keys::KeySetError;
    let (p256, ed) = (Algorithm::EcdsaP256Sha256, Algorithm::Ed25519);
    for (keys, want) in [
        (vec![], KeySetError::Empty),
        (vec![key(p256, KeyRole::Ksk)], KeySetError::ZoneUnsigned(p256)),
        (vec![key(p256, KeyRole::Zsk)], KeySetError::KeysUnsigned(p256)),
        (vec![key(p256, KeyRole::Csk), key(ed, KeyRole::Ksk)], KeySetError::ZoneUnsigned(ed)),
    ] {
        assert_eq!(ZoneKeys::new(&name("example.test"), keys).err(), Some(want));
    }
}

#[test]
fn validity_is_spread_and_stays_above_the_refresh_time() {
    let signer = signer(vec![key(Algorithm::Ed25519, KeyRole::Csk)]);
    let rrset = rrset(RrType::A, &[&[192, 0, 2, 1]]);
    let mut hours = std::collections::BTreeMap::new();
    for i in 0..2400 {
        let owner = name(&format!("host-{i}.example.test"));
        let signed = signer.sign(&owner, &rrset, NOW).unwrap();
        assert_eq!(signed.inception_s, NOW - 3600);
        let left = signed.renew_at_s - NOW;
        assert!((10 * DAY - 5 * DAY / 2..=10 * DAY).contains(&left), "{left}");
        assert_eq!(signed.expiration_s - signed.renew_at_s, 4 * DAY);
        assert_eq!(signer.expiration(&owner, NOW), signed.expiration_s, "not a function of the owner alone");
        assert!(signed.is_fresh(NOW) && !signed.is_fresh(NOW - 3601) && !signed.is_fresh(signed.renew_at_s));
        *hours.entry((left - 15 * DAY / 2) / 3600).or_insert(0) += 1;
    }
    // 60 hours of spread, 40 owners in each on average.
    assert!(hours.len() >= 60 && hours.values().all(|&n| n < 80), "{hours:?}");
}

#[test]
fn a_refresh_time_near_the_validity_leaves_time_to_serve() {
    let keys =
        Arc::new(ZoneKeys::new(&name("example.test"), vec![key(Algorithm::Ed25519, KeyRole::Csk)]).unwrap());
    let signed =
        Signer::new(keys, 100, u32::MAX).sign(&name("example.test"), &rrset(RrType::A, &[]), NOW).unwrap();
    assert!(signed.is_fresh(NOW) && signed.renew_at_s > NOW + 15, "{signed:?}");
}

#[test]
fn digests_tell_apart_whatever_a_signature_depends_on() {
    let first = key(Algorithm::Ed25519, KeyRole::Csk);
    let keys = Arc::new(ZoneKeys::new(&name("example.test"), vec![first]).unwrap());
    let base = Signer::new(keys.clone(), 14 * DAY, 4 * DAY);
    let owner = name("www.example.test");
    let a = rrset(RrType::A, &[&[1, 2, 3, 4]]);
    let digests = [
        base.digest(&owner, &a),
        base.digest(&name("ww.example.test"), &a),
        base.digest(&owner, &Rrset { ttl: 301, ..a.clone() }),
        base.digest(&owner, &Rrset { rtype: RrType::NULL, ..a.clone() }),
        base.digest(&owner, &rrset(RrType::A, &[&[1, 2, 3, 4], &[1, 2, 3, 5]])),
        base.digest(&owner, &rrset(RrType::A, &[&[1, 2], &[3, 4]])),
        Signer::new(keys.clone(), 13 * DAY, 4 * DAY).digest(&owner, &a),
        Signer::new(keys, 14 * DAY, 3 * DAY).digest(&owner, &a),
        signer(vec![key(Algorithm::Ed25519, KeyRole::Csk)]).digest(&owner, &a),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert_eq!(base.digest(&owner, &a), digests[0]);
}

/// Nanoseconds of CPU that this thread has had (Linux).
fn cpu_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Prints microseconds of CPU a signature, all in. `cargo test --release --lib dnssec::sign -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn speed() {
    let owner = name("www.example.test");
    let rrset = rrset(RrType::A, &[&[192, 0, 2, 2], &[192, 0, 2, 1]]);
    for algorithm in Algorithm::ALL {
        let signer = signer(vec![key(algorithm, KeyRole::Csk)]);
        let rounds = if algorithm.number() < 13 || algorithm.number() == 14 { 500 } else { 20_000 };
        for _ in 0..3 {
            let start = cpu_ns();
            for i in 0..rounds {
                signer.sign(&owner, &rrset, NOW + i).unwrap();
            }
            let per = (cpu_ns() - start) / 1e3 / f64::from(rounds);
            println!("{algorithm}: {per:.2} µs a signature");
        }
    }
    let signer = signer(vec![key(Algorithm::EcdsaP256Sha256, KeyRole::Csk)]);
    let start = cpu_ns();
    for _ in 0..100_000 {
        std::hint::black_box(signer.digest(&owner, &rrset));
    }
    println!("digest: {:.2} µs", (cpu_ns() - start) / 1e8);
}
