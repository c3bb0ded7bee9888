//! Tests of the store as a whole: against a plain map, owner by owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::image::{Note, OwnerRecords, ServedRrset};
use super::lookup::{Found, KeyedName};
use super::{ImageError, MAX_RRSET_OCTETS, Snapshot, ZoneDraft, ZoneImage, ZonePortion, join};
use crate::model::hash::HashKey;
use crate::model::name::Name;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;

fn key() -> HashKey {
    HashKey::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])
}

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn rrset(rtype: RrType, rdata: &[&[u8]]) -> ServedRrset {
    let rrset = Rrset { rtype, ttl: 300, rdata: RdataSet::new(rdata) };
    ServedRrset { rrset, signatures: RdataSet::default(), rotate: false, note: Note::None }
}

fn owner(text: &str, rrsets: Vec<ServedRrset>) -> OwnerRecords {
    OwnerRecords { name: name(text), rrsets, choices: Vec::new(), pending: Vec::new(), withheld: Vec::new() }
}

fn soa(apex: &str, serial: u32) -> ServedRrset {
    let mut rdata =
        [name(&format!("ns1.{apex}")).wire(), name(&format!("hostmaster.{apex}")).wire()].concat();
    for field in [serial, 7200, 3600, 1_209_600, 60] {
        rdata.extend(field.to_be_bytes());
    }
    rrset(RrType::SOA, &[&rdata])
}

/// Equality by what is stored, since `OwnerRecords` has none of its own.
fn text(owner: Option<&OwnerRecords>) -> String {
    format!("{owner:?}")
}

fn is_there(image: &ZoneImage, wanted: &Name) -> bool {
    let mut keyed = KeyedName::default();
    keyed.set(key(), wanted);
    matches!(image.lookup(&keyed), Found::Exact(_))
}

/// The zone made as a whole, its owners in runs of `size` that two portions take in turn.
fn in_bulk(apex: &Name, want: &BTreeMap<Name, OwnerRecords>, size: usize) -> ZoneImage {
    let mut portions = vec![ZonePortion::new(apex.clone(), key()), ZonePortion::new(apex.clone(), key())];
    let owners: Vec<&OwnerRecords> = want.values().collect();
    let mut before = None;
    for (number, run) in owners.chunks(size).enumerate() {
        let portion = &mut portions[number % 2];
        portion.start_run(number, before);
        run.iter().for_each(|owner| portion.put(owner).unwrap());
        before = run.last().map(|owner| &owner.name);
    }
    join(apex, key(), portions, 2).unwrap()
}

/// Every record there is, empty non-terminals among them, with its neighbours.
fn records(image: &ZoneImage) -> BTreeSet<Vec<u8>> {
    image.radix().nodes().map(|node| node.bytes().to_vec()).collect()
}

/// Compares an image with the owners it should hold.
fn check(image: &ZoneImage, want: &BTreeMap<Name, OwnerRecords>) {
    let listed: Vec<String> = image.owners().map(|o| text(Some(&o))).collect();
    assert_eq!(listed, want.values().map(|o| text(Some(o))).collect::<Vec<_>>());
    let mut exist = BTreeSet::from([image.apex().clone()]);
    for wanted in want.keys() {
        let mut ancestor = Some(wanted.clone());
        while let Some(name) = ancestor.filter(|a| a.is_below(image.apex())) {
            ancestor = name.parent();
            exist.insert(name);
        }
        assert_eq!(text(image.owner(wanted).as_ref()), text(want.get(wanted)));
        let by_hash: Vec<String> =
            image.owners_of_hash(image.hash_of(wanted)).map(|o| text(Some(&o))).collect();
        assert_eq!(by_hash, [text(want.get(wanted))]);
    }
    for name in &exist {
        assert!(is_there(image, name), "{name} exists");
        let sibling = name.prepend(b"nobody").unwrap();
        assert!(!is_there(image, &sibling), "{sibling} does not exist");
    }
    let mut parts: Vec<OwnerRecords> =
        (0..image.parts()).flat_map(|part| image.owners_of_part(part)).collect();
    parts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(parts.iter().map(|o| text(Some(o))).collect::<Vec<_>>(), listed);
    check_order(image, &want.keys().cloned().collect::<Vec<_>>());
    assert_eq!(image.totals().names, exist.len());
    assert_eq!(image.radix().nodes().count(), exist.len());
    assert_eq!(image.size().owners, want.len());
    assert_eq!(image.size().rrsets, want.values().map(|o| o.rrsets.len()).sum::<usize>());
    let nsec: Vec<&Name> = (want.values())
        .filter(|o| o.rrsets.iter().any(|r| r.rrset.rtype == RrType::NSEC))
        .map(|o| &o.name)
        .collect();
    for (i, holder) in nsec.iter().enumerate() {
        assert_eq!(image.denial_next(holder).as_ref(), Some(nsec[(i + 1) % nsec.len()]));
        assert_eq!(image.denial_previous(holder).as_ref(), Some(nsec[(i + nsec.len() - 1) % nsec.len()]));
    }
}

/// The order of its names, which stays known to images that are made of this one.
fn check_order(image: &ZoneImage, want: &[Name]) {
    let order = image.names_in_order();
    assert_eq!(order.after(None).collect::<Vec<_>>(), want);
    assert_eq!(order.after(Some(&name("elsewhere.test"))).count(), want.len());
    assert_eq!(order.before(&name("elsewhere.test")).count(), 0);
    // Names that are there, the apex and the last one among them, and names that are not.
    let some = want.iter().step_by(97).chain(want.last()).cloned();
    let beside = some.clone().filter_map(|name| name.prepend(b"0").ok());
    for from in some.chain(beside).collect::<Vec<_>>() {
        let split = want.partition_point(|name| *name <= from);
        assert_eq!(
            order.after(Some(&from)).take(200).collect::<Vec<_>>(),
            want[split..].iter().take(200).cloned().collect::<Vec<_>>()
        );
        let split = want.partition_point(|name| *name < from);
        let before: Vec<Name> = want[..split].iter().rev().take(200).cloned().collect();
        assert_eq!(order.before(&from).take(200).collect::<Vec<_>>(), before);
    }
}

#[test]
fn the_order_of_names_is_shared_until_it_is_forgotten() {
    let apex = name("example.test");
    let mut draft = ZoneDraft::new(apex.clone(), key());
    draft.put(&owner("example.test", vec![soa("example.test", 1)])).unwrap();
    let first = Arc::new(draft.finish().unwrap());
    let octets = first.size().bytes;
    assert_eq!(first.names_in_order().after(None).count(), 1);
    assert!(first.size().bytes > octets, "what it takes is told");
    let next = |image: &Arc<ZoneImage>, put: &str| {
        let mut draft = ZoneDraft::from_image(image);
        draft.put(&owner(put, vec![soa("example.test", 2)])).unwrap();
        Arc::new(draft.finish().unwrap())
    };
    let same_names = next(&first, "example.test");
    assert!(Arc::ptr_eq(first.order(), same_names.order()), "a flip makes no order");
    let one_more = next(&same_names, "a.example.test");
    assert!(one_more.order().known().is_some(), "it is carried over");
    same_names.forget_order();
    assert!(first.order().known().is_none() && one_more.order().known().is_some());
    let yet_one_more = next(&same_names, "b.example.test");
    assert!(yet_one_more.order().known().is_none());
    check_order(&yet_one_more, &[apex, name("b.example.test")]);
}

#[test]
fn follows_a_plain_map_through_random_changes() {
    let apex = name("example.test");
    let mut want: BTreeMap<Name, OwnerRecords> = BTreeMap::new();
    let mut image: Option<Arc<ZoneImage>> = None;
    let mut state = 11u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..40u32 {
        let mut draft =
            image.as_ref().map_or_else(|| ZoneDraft::new(apex.clone(), key()), ZoneDraft::from_image);
        let mut put = vec![owner("example.test", vec![soa("example.test", round)])];
        for _ in 0..if round == 0 { 1500 } else { random(300) } {
            let (a, b) = (random(60), random(20));
            let at = match random(5) {
                0 => format!("h{a}"),
                1 => format!("h{a}.e{b}"),
                2 => format!("*.e{b}"),
                3 => format!("h{a}.x.y.e{b}"),
                _ => format!("h{a}.*.e{b}"),
            };
            let mut at = name(&format!("{at}.example.test"));
            // Every other round replaces what is there, and nearly nothing else.
            let is_replaced = round % 2 == 1 && random(100) > 0;
            if is_replaced {
                at = want.keys().nth(random(want.len() as u64) as usize).unwrap().clone();
                if at == apex {
                    continue;
                }
            } else if random(3) == 0 {
                draft.remove(&at);
                want.remove(&at);
                continue;
            }
            let mut owner = owner(&at.to_string(), Vec::new());
            let addresses: Vec<[u8; 4]> = (0..=random(3)).map(|i| [192, 0, 2, i as u8]).collect();
            owner.rrsets.push(rrset(RrType::A, &addresses.iter().map(|a| &a[..]).collect::<Vec<_>>()));
            owner.rrsets[0].signatures = RdataSet::new([b"signature"]);
            owner.rrsets[0].rotate = random(2) == 0;
            if random(2) == 0 {
                owner.rrsets.push(rrset(RrType::NSEC, &[b"\0\0\x01\x40"]));
            }
            if random(4) == 0 {
                owner.rrsets[0].note = Note::Stale;
                owner.pending = vec![RrType::AAAA];
                owner.withheld = vec![RrType::CNAME, RrType::A];
            }
            put.push(owner);
        }
        for owner in put {
            draft.put(&owner).unwrap();
            assert_eq!(text(draft.owner(&owner.name).as_ref()), text(Some(&owner)));
            want.insert(owner.name.clone(), owner);
        }
        let next = draft.finish().unwrap();
        assert_eq!(next.serial(), Serial(round));
        check(&next, &want);
        for size in [1, 2, 7, 1000] {
            let whole = in_bulk(&apex, &want, size);
            check(&whole, &want);
            assert!(records(&whole) == records(&next), "round {round}, runs of {size}");
            assert_eq!(
                (whole.size().rrsets, whole.has_barriers()),
                (next.size().rrsets, next.has_barriers())
            );
        }
        image = Some(Arc::new(next));
    }
    let mut draft = ZoneDraft::from_image(&image.unwrap());
    for wanted in want.keys().filter(|n| **n != apex) {
        draft.remove(wanted);
    }
    want.retain(|n, _| *n == apex);
    check(&draft.finish().unwrap(), &want);
}

#[test]
fn a_change_leaves_the_image_it_came_from_alone() {
    let mut draft = ZoneDraft::new(name("test"), key());
    draft.put(&owner("test", vec![soa("test", 1)])).unwrap();
    for i in 0..2000u32 {
        draft.put(&owner(&format!("h{i}.test"), vec![rrset(RrType::A, &[&i.to_be_bytes()])])).unwrap();
    }
    let before = Arc::new(draft.finish().unwrap());
    let mut draft = ZoneDraft::from_image(&before);
    draft.put(&owner("h7.test", vec![rrset(RrType::A, &[&[1, 1, 1, 1]])])).unwrap();
    draft.remove(&name("h8.test"));
    let after = draft.finish().unwrap();
    let a_of = |image: &ZoneImage, at: &str| {
        image.owner(&name(at)).map(|o| o.rrsets[0].rrset.rdata.iter().next().unwrap().to_vec())
    };
    assert_eq!(a_of(&before, "h7.test"), Some(vec![0, 0, 0, 7]));
    assert_eq!(a_of(&after, "h7.test"), Some(vec![1, 1, 1, 1]));
    assert_eq!(a_of(&before, "h8.test"), Some(vec![0, 0, 0, 8]));
    assert_eq!(a_of(&after, "h8.test"), None);
    assert_eq!(before.size().bytes - after.size().bytes, 12 + 3 + 8 + 12 + 16, "exactly one owner less");
}

#[test]
fn names_in_rdata_come_back_whole() {
    for apex in ["example.test", "test", "."] {
        let below = |label: &str| if apex == "." { name(label) } else { name(&format!("{label}.{apex}")) };
        let mx = |preference: u8, name: &Name| [&[0, preference][..], name.wire()].concat();
        let minfo = [below("a").wire(), name(apex).wire()].concat();
        let mxs = [mx(1, &below("mail")), mx(2, &name("mail.elsewhere.")), mx(3, &name(apex))];
        let rrsets = vec![
            soa(apex.trim_start_matches('.'), 5),
            rrset(RrType::NS, &[below("ns1").wire(), name("ns.elsewhere.").wire()]),
            rrset(RrType::MX, &[&mxs[0], &mxs[1], &mxs[2]]),
            rrset(RrType::MINFO, &[&minfo]),
            rrset(RrType::DNAME, &[below("d").wire()]),
        ];
        let mut draft = ZoneDraft::new(name(apex), key());
        let put = owner(apex, rrsets);
        draft.put(&put).unwrap();
        let image = draft.finish().unwrap();
        assert_eq!(text(image.owner(&name(apex)).as_ref()), text(Some(&put)));
        assert_eq!(image.negative_soa().map(|s| s.ttl()), Some(60), "capped by MINIMUM");
    }
}

#[test]
fn says_what_cannot_be_compiled() {
    let apex = || name("example.test");
    let big = vec![7u8; MAX_RRSET_OCTETS];
    for (put, want) in [
        (owner("example.org", vec![]), ImageError::NotInZone { owner: name("example.org"), apex: apex() }),
        (
            owner("a.example.test", vec![rrset(RrType::TXT, &[&big])]),
            ImageError::TooLarge {
                owner: name("a.example.test"),
                rtype: RrType::TXT,
                octets: MAX_RRSET_OCTETS + 12,
            },
        ),
        (
            owner("a.example.test", vec![rrset(RrType::A, &[&[1, 2, 3]])]),
            ImageError::Malformed { owner: name("a.example.test"), rtype: RrType::A },
        ),
        (
            owner("a.example.test", vec![rrset(RrType::MX, &[b"\0\x01\x05short"])]),
            ImageError::Malformed { owner: name("a.example.test"), rtype: RrType::MX },
        ),
        (
            owner("a.example.test", vec![rrset(RrType::A, &[])]),
            ImageError::Malformed { owner: name("a.example.test"), rtype: RrType::A },
        ),
        (
            owner("a.example.test", vec![rrset(RrType::A, &[&[1; 4]]), rrset(RrType::A, &[&[2; 4]])]),
            ImageError::Repeated { owner: name("a.example.test"), rtype: RrType::A },
        ),
        (
            owner("a.example.test", vec![rrset(RrType::TXT, &[b""]); 256]),
            ImageError::TooManyTypes { owner: name("a.example.test") },
        ),
    ] {
        let mut draft = ZoneDraft::new(apex(), key());
        draft.put(&owner("example.test", vec![soa("example.test", 1)])).unwrap();
        assert_eq!(draft.put(&put), Err(want));
        assert_eq!(draft.finish().unwrap().size().owners, 1, "a refused owner leaves nothing behind");
    }
    assert_eq!(ZoneDraft::new(apex(), key()).finish().err(), Some(ImageError::NoSoa { apex: apex() }));
}

fn image(apex: &str) -> Arc<ZoneImage> {
    let mut draft = ZoneDraft::new(name(apex), key());
    draft.put(&owner(apex, vec![soa(apex.trim_start_matches('.'), 1)])).unwrap();
    Arc::new(draft.finish().unwrap())
}

#[test]
fn finds_the_zone_with_the_longest_apex() {
    let mut snapshot = Snapshot::empty(key());
    for apex in ["test", "b.a.test", "org"] {
        snapshot = snapshot.with_zone(image(apex));
    }
    snapshot = snapshot.with_broken_zone(name("broken.test"));
    let find = |snapshot: &Snapshot, at: &str, max_depth: usize| {
        let mut keyed = KeyedName::default();
        keyed.set(key(), &name(at));
        snapshot.zone_of(&keyed, max_depth).map(|z| (z.apex.to_string(), z.index, z.image.is_some()))
    };
    let hit = |apex: &str, index, served| Some((apex.to_owned(), index, served));
    for (at, max_depth, want) in [
        ("test", 127, hit("test.", 0, true)),
        ("x.a.test", 127, hit("test.", 0, true)),
        ("x.b.a.test", 127, hit("b.a.test.", 1, true)),
        ("b.a.test", 2, hit("test.", 0, true)),
        ("x.broken.test", 127, hit("broken.test.", 3, false)),
        ("com", 127, None),
        (".", 127, None),
    ] {
        assert_eq!(find(&snapshot, at, max_depth), want, "{at}");
    }
    let snapshot = snapshot.without_zone(&name("b.a.test"));
    assert_eq!(find(&snapshot, "x.b.a.test", 127), hit("test.", 0, true));
    let snapshot = snapshot.with_zone(image(".")).with_zone(image("broken.test"));
    assert_eq!(find(&snapshot, "com", 127), hit(".", 1, true), "takes the free place");
    assert_eq!(find(&snapshot, "broken.test", 127), hit("broken.test.", 3, true), "keeps its place");
    assert_eq!(snapshot.zones().map(|zone| zone.index).max(), Some(3));
}
