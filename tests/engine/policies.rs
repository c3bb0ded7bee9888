//! Owners with several answers: which one a query gets, and that whatever it gets is whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use hale::answer::{Scratch, Settings, Transport};
use hale::model::pick::{Candidate, Pick, seed};
use hale::model::prefixes::PrefixTableBuilder;
use hale::model::rrset::RdataSet;
use hale::model::rrtype::RrType;
use hale::snapshot::image::{Choice, OwnerRecords};
use hale::snapshot::{Snapshot, ZoneDraft};

use crate::message::{Decoded, ask_with, decode, opt, query, settings};
use crate::zone;

const ZONE: &str = "
    @     SOA ns1 h 1 2 3 4 60
    @     NS ns1
    ns1   A 192.0.2.53
    www   A 192.0.2.1
    www   AAAA 2001:db8::1
    www   TXT plain
    pin   A 192.0.2.1
    geo   A 192.0.2.1
    togeo CNAME geo
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

/// Answers 0 for everyone, 1 in 10/8, 2 in 10.1/16, 3 in 2001:db8::/32.
fn by_place() -> Pick {
    let mut table = PrefixTableBuilder::new(0);
    for (address, bits, branch) in [("10.0.0.0", 8, 1), ("10.1.0.0", 16, 2), ("2001:db8::", 32, 3)] {
        table.set(address.parse().unwrap(), bits, branch);
    }
    Pick::Geo(Arc::new(table.finish()), (0..4).map(set).collect())
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
        if owner.name == zone::name("geo.example.test") {
            choose(owner, RrType::A, &[2, 3, 4], by_place());
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

/// An option of code 8 with family, source prefix length, scope and address.
fn subnet(family: u16, source: u8, scope: u8, octets: &[u8]) -> Vec<u8> {
    let mut data = family.to_be_bytes().to_vec();
    data.extend([source, scope]);
    data.extend_from_slice(octets);
    let mut option = vec![0, 8, 0, data.len() as u8];
    option.extend(data);
    option
}

/// Asks with an option, and gives RCODE, the answer's last octets, and the data of the response's client subnet option.
fn ask_for(
    snapshot: &Snapshot,
    settings: Settings,
    text: &str,
    option: &[u8],
) -> (u16, Vec<u8>, Option<Vec<u8>>) {
    let mut message = query(text);
    message[11] = 1;
    message.extend(opt(1232, 0, false, option));
    let mut scratch = Scratch::with_seed(settings.into(), 3);
    let (reply, wire) = ask_with(snapshot, &mut scratch, &message, Transport::Udp).unwrap();
    let answer = decode(&wire);
    let options = answer.opt.as_ref().map(|(.., options)| options.clone()).unwrap_or_default();
    let sent = options.into_iter().find(|(code, _)| *code == 8).map(|(_, data)| data);
    (reply.class.rcode, last(&answer, "an", RrType::A), sent)
}

#[test]
fn client_subnets_are_honoured_and_answered() {
    let snapshot = snapshot(false);
    let db8 = [0x20, 0x01, 0x0d, 0xb8];
    for (name, option, want, scope) in [
        // Each client network has its answer, with the scope that it holds for.
        ("geo", subnet(1, 24, 0, &[10, 1, 2]), 3, 16),
        ("geo", subnet(1, 24, 0, &[10, 2, 2]), 2, 15),
        ("geo", subnet(1, 32, 0, &[10, 0, 0, 1]), 2, 16),
        ("geo", subnet(1, 24, 0, &[192, 0, 2]), 1, 1),
        ("geo", subnet(2, 56, 0, &[db8[0], db8[1], db8[2], db8[3], 0, 1, 2]), 4, 32),
        // A network that is too large to choose for says so.
        ("geo", subnet(1, 8, 0, &[10]), 2, 16),
        ("geo", subnet(1, 20, 0, &[10, 1, 0x20]), 3, 16),
        // What is the same for everyone holds for everyone.
        ("ns1", subnet(1, 24, 0, &[10, 1, 2]), 53, 0),
        // A client that asks not to be known: the resolver's own address, 192.0.2.1, decides, and nothing is said of it.
        ("geo", subnet(1, 0, 0, &[]), 1, 0),
        ("geo", subnet(2, 0, 0, &[]), 1, 0),
        ("geo", subnet(0, 0, 0, &[]), 1, 0),
    ] {
        let got = ask_for(&snapshot, Settings::default(), &format!("{name}.example.test A"), &option);
        let mut echoed = option[4..].to_vec();
        echoed[3] = scope;
        assert_eq!(got, (0, vec![want], Some(echoed)), "{name} {option:?}");
    }
    // An alias stands alone, as what it is for everyone; without the option the chain is followed.
    let alias =
        ask_for(&snapshot, Settings::default(), "togeo.example.test A", &subnet(1, 24, 0, &[10, 1, 2]));
    assert_eq!((alias.0, alias.1, alias.2.unwrap()[3]), (0, vec![], 0));
    let mut scratch = Scratch::with_seed(settings(), 1);
    assert_eq!(last(&ask(&snapshot, &mut scratch, "togeo.example.test A"), "an", RrType::A), [1]);
    let hashed =
        ask_for(&snapshot, Settings::default(), "pin.example.test A", &subnet(1, 24, 0, &[10, 1, 2]));
    assert_eq!(hashed.2.unwrap()[3], 24);
    let six = ask_for(&snapshot, Settings::default(), "pin.example.test A", &subnet(2, 32, 0, &db8));
    assert_eq!(six.2.unwrap()[3], 56);
    // Denials hold for everyone, and so does a refusal.
    let nodata =
        ask_for(&snapshot, Settings::default(), "geo.example.test TXT", &subnet(1, 24, 0, &[10, 1, 2]));
    assert_eq!((nodata.0, nodata.2.unwrap()[3]), (0, 0));
    let refused = ask_for(&snapshot, Settings::default(), "elsewhere.test A", &subnet(1, 24, 0, &[10, 1, 2]));
    assert_eq!((refused.0, refused.2.unwrap()[3]), (5, 0));
}

#[test]
fn malformed_client_subnets_are_format_errors() {
    let snapshot = snapshot(false);
    for option in [
        subnet(1, 24, 0, &[10, 1]),
        subnet(1, 24, 0, &[10, 1, 2, 0]),
        subnet(1, 20, 0, &[10, 1, 0x2f]),
        subnet(1, 24, 8, &[10, 1, 2]),
        subnet(1, 33, 0, &[10, 1, 2, 3, 0]),
        subnet(3, 8, 0, &[10]),
        vec![0, 8, 0, 3, 0, 1, 0],
    ] {
        let got = ask_for(&snapshot, Settings::default(), "geo.example.test A", &option);
        assert_eq!(got, (1, vec![], None), "{option:?}");
    }
}

#[test]
fn client_subnets_are_ignored_where_nothing_depends_on_them() {
    let plain = zone::snapshot(&[("example.test", ZONE)], false);
    let good = subnet(1, 24, 0, &[10, 1, 2]);
    let settings = |client_subnet| Settings { client_subnet, ..Settings::default() };
    for (snapshot, client_subnet, honoured) in [
        (&plain, None, false),
        (&plain, Some(true), true),
        (&snapshot(false), Some(false), false),
        (&snapshot(false), None, true),
    ] {
        let got = ask_for(snapshot, settings(client_subnet), "ns1.example.test A", &good);
        assert_eq!((got.0, got.1, got.2.is_some()), (0, vec![53], honoured), "{client_subnet:?}");
        // Not even looked at where it is not honoured.
        let bad = ask_for(snapshot, settings(client_subnet), "ns1.example.test A", &subnet(9, 0, 0, &[]));
        assert_eq!(bad.0, u16::from(honoured));
    }
    // Without the option the resolver's address decides, and no option is sent.
    let mut scratch = Scratch::with_seed(Settings::default().into(), 3);
    let answer = ask(&snapshot(false), &mut scratch, "geo.example.test A edns");
    assert_eq!((last(&answer, "an", RrType::A), answer.opt.unwrap().2), (vec![1], vec![]));
}
