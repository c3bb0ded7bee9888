//! Owners with several answers: which one a query gets, and that whatever it gets is whole.

use std::collections::BTreeMap;

use hale::answer::{Scratch, Transport};
use hale::model::pick::{Candidate, Pick, seed};
use hale::model::rrset::RdataSet;
use hale::model::rrtype::RrType;
use hale::snapshot::image::{Choice, OwnerRecords};
use hale::snapshot::{Snapshot, ZoneDraft};

use crate::message::{Decoded, ask_with, decode, query, settings};
use crate::zone;

const ZONE: &str = "
    @     SOA ns1 h 1 2 3 4 60
    @     NS ns1
    ns1   A 192.0.2.53
    www   A 192.0.2.1
    www   AAAA 2001:db8::1
    www   TXT plain
    pin   A 192.0.2.1
    to    CNAME www
    mail  MX 10 www
";

/// Makes the type of an owner one of several answers, which differ in their last octet.
fn choose(owner: &mut OwnerRecords, rtype: RrType, last: &[u8], pick: Pick) {
    let default = owner.rrsets.iter().find(|r| r.rrset.rtype == rtype).unwrap().clone();
    let others = last.iter().map(|octet| {
        let mut other = default.clone();
        other.rrset.rdata = RdataSet::new(default.rrset.rdata.iter().map(|rdata| {
            let mut rdata = rdata.to_vec();
            *rdata.last_mut().unwrap() = *octet;
            rdata
        }));
        other
    });
    owner.choices.push(Choice { rtype, others: others.collect(), pick });
}

fn set(place: u16) -> Pick {
    Pick::Set(place)
}

fn hashed(places: impl IntoIterator<Item = u16>) -> Pick {
    let candidate = |place: u16| Candidate { seed: seed(&place.to_be_bytes()), weight: 1, pick: set(place) };
    Pick::Hashed(places.into_iter().map(candidate).collect())
}

fn snapshot(is_signed: bool) -> Snapshot {
    let apex = zone::name("example.test");
    let mut owners = zone::owners(&apex, ZONE);
    if is_signed {
        zone::sign(&apex, &mut owners);
    }
    let mut draft = ZoneDraft::new(apex, zone::key());
    for owner in owners.values_mut() {
        if owner.name == zone::name("www.example.test") {
            let pools = |a: Pick, b: Pick| Pick::Weighted(vec![(1, a), (1, b)]);
            let inner = Pick::Weighted(vec![(1, set(1)), (3, set(2))]);
            choose(owner, RrType::A, &[2, 3], pools(set(0), inner));
            choose(owner, RrType::AAAA, &[2], pools(set(0), set(1)));
        }
        if owner.name == zone::name("pin.example.test") {
            choose(owner, RrType::A, &[2, 3, 4], hashed(0..4));
        }
        draft.put(owner).unwrap();
        assert_eq!(draft.owner(&owner.name).as_ref(), Some(&*owner), "it comes back as it was put");
    }
    Snapshot::empty(zone::key()).with_zone(draft.finish().unwrap().into())
}

fn ask(snapshot: &Snapshot, scratch: &mut Scratch, text: &str) -> Decoded {
    let (reply, wire) = ask_with(snapshot, scratch, &query(text), Transport::Udp).unwrap();
    assert_eq!(reply.class.rcode, 0, "{text}");
    decode(&wire)
}

/// Last octets of the records of a type in a section.
fn last(answer: &Decoded, section: &str, rtype: RrType) -> Vec<u8> {
    let of = answer.records.iter().filter(|r| r.section == section && r.rtype == rtype);
    of.map(|r| *r.rdata.last().unwrap()).collect()
}

#[test]
fn weights_converge() {
    let snapshot = snapshot(false);
    let mut scratch = Scratch::with_seed(settings(), 1);
    let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
    for _ in 0..40_000 {
        let got = last(&ask(&snapshot, &mut scratch, "www.example.test A"), "an", RrType::A);
        assert_eq!(got.len(), 1);
        *counts.entry(got[0]).or_default() += 1;
    }
    for (octet, share) in [(1, 0.5), (2, 0.125), (3, 0.375)] {
        // Five standard deviations of 40,000 draws are at most 500.
        assert!((f64::from(counts[&octet]) - share * 40_000.0).abs() < 500.0, "{counts:?}");
    }
}

#[test]
fn an_answer_is_whole_and_of_one_choice() {
    for is_signed in [false, true] {
        let snapshot = snapshot(is_signed);
        let mut scratch = Scratch::with_seed(settings(), 7);
        for _ in 0..100 {
            for text in ["www.example.test A do", "to.example.test A do", "to.example.test AAAA do"] {
                let answer = ask(&snapshot, &mut scratch, text);
                let records = answer.records.iter().filter(|r| r.section == "an" && r.rtype != RrType::CNAME);
                let (mut rrsigs, mut others) = (0, 0);
                for record in records {
                    if record.rtype == RrType::RRSIG { rrsigs += 1 } else { others += 1 }
                }
                assert_eq!(others, 1, "{text}");
                assert_eq!(rrsigs > 0, is_signed, "{text}");
            }
            // A and AAAA of a target come from the same pool: one number is drawn for a query.
            let mail = ask(&snapshot, &mut scratch, "mail.example.test MX");
            let (a, aaaa) = (last(&mail, "ar", RrType::A), last(&mail, "ar", RrType::AAAA));
            assert_eq!((a == [1], a.len(), aaaa.len()), (aaaa == [1], 1, 1));
        }
        let text = ask(&snapshot, &mut scratch, "www.example.test TXT");
        assert_eq!(text.records.iter().filter(|r| r.rtype == RrType::TXT).count(), 1);
    }
}

#[test]
fn hashed_is_the_same_for_every_worker() {
    let snapshot = snapshot(false);
    let mut seen = Vec::new();
    for worker_seed in 0..20 {
        let mut scratch = Scratch::with_seed(settings(), worker_seed);
        seen.push(last(&ask(&snapshot, &mut scratch, "pin.example.test A"), "an", RrType::A));
    }
    seen.dedup();
    assert_eq!((seen.len(), seen[0].len()), (1, 1));
}
