//! The zone store by size: compiling it, finding names in it, and the commit of one flip, signed and unsigned.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use hale::model::name::Name;
use hale::model::rrset::RdataSet;
use hale::snapshot::image::OwnerRecords;
use hale::snapshot::lookup::{Found, KeyedName};
use hale::snapshot::{ZoneDraft, ZoneImage};

use crate::zone;

const SIZES: [usize; 2] = [1_000, 100_000];
const MILLION: usize = 1_000_000;
/// Names that are looked up in turn: more than stay in the processor's nearest cache with what they lead to.
const SOUGHT: usize = 8_192;

const APEX_RECORDS: &str = "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1\n ns1 A 192.0.2.53\n";

fn apex() -> Name {
    zone::name("bench.test")
}

fn host(number: usize) -> Name {
    apex().prepend(format!("h{number}").as_bytes()).unwrap()
}

/// `count` names with three addresses each below the apex.
fn owners(count: usize, signed: bool) -> Vec<OwnerRecords> {
    let mut text = APEX_RECORDS.to_owned();
    for i in 0..count {
        text.push_str(&format!("h{i} A 192.0.2.1\n h{i} A 192.0.2.2\n h{i} A 192.0.2.3\n"));
    }
    let mut owners = zone::owners(&apex(), &text);
    if signed {
        zone::sign(&apex(), &mut owners);
    }
    owners.into_values().collect()
}

fn compiled(owners: &[OwnerRecords]) -> ZoneImage {
    let mut draft = ZoneDraft::new(apex(), zone::key());
    owners.iter().for_each(|owner| draft.put(owner).unwrap());
    draft.finish().unwrap()
}

#[divan::bench(args = SIZES, sample_count = 20, max_time = 3)]
fn compile(bencher: Bencher<'_, '_>, count: usize) {
    let owners = owners(count, false);
    bencher.counter(ItemsCount::new(count)).bench_local(|| compiled(&owners));
}

#[divan::bench(args = SIZES, sample_count = 20, max_time = 3)]
fn compile_signed(bencher: Bencher<'_, '_>, count: usize) {
    let owners = owners(count, true);
    bencher.counter(ItemsCount::new(count)).bench_local(|| compiled(&owners));
}

/// The draft, the changed owner, the SOA record, and the new image: what a flip costs besides its signatures.
fn flip(bencher: Bencher<'_, '_>, image: ZoneImage) {
    let image = Arc::new(image);
    let mut owner = image.owner(&host(7)).unwrap();
    let soa = image.owner(image.apex()).unwrap();
    let mut last = 0u8;
    bencher.bench_local(|| {
        last = last.wrapping_add(1);
        owner.rrsets[0].rrset.rdata = RdataSet::new([[192, 0, 2, last]]);
        let mut draft = ZoneDraft::from_image(&image);
        draft.put(&owner).unwrap();
        draft.put(&soa).unwrap();
        draft.finish().unwrap()
    });
}

#[divan::bench(args = SIZES, max_time = 2)]
fn flip_plain(bencher: Bencher<'_, '_>, count: usize) {
    flip(bencher, compiled(&owners(count, false)));
}

#[divan::bench(args = SIZES, max_time = 2)]
fn flip_signed(bencher: Bencher<'_, '_>, count: usize) {
    flip(bencher, compiled(&owners(count, true)));
}

static LARGE: LazyLock<ZoneImage> = LazyLock::new(|| {
    let mut draft = ZoneDraft::new(apex(), zone::key());
    for mut owner in owners(1, false) {
        draft.put(&owner).unwrap();
        for number in 1..MILLION * usize::from(owner.name == host(0)) {
            owner.name = host(number);
            draft.put(&owner).unwrap();
        }
    }
    draft.finish().unwrap()
});

fn lookup(bencher: Bencher<'_, '_>, image: &ZoneImage, name: impl Fn(usize) -> Name, is_there: bool) {
    let keyed = |i: usize| {
        let mut keyed = KeyedName::default();
        keyed.set(zone::key(), &name(i));
        keyed
    };
    let sought: Vec<KeyedName> = (0..SOUGHT).map(keyed).collect();
    let found = |name| matches!(image.lookup(name), Found::Exact(_));
    assert!(sought.iter().all(|name| found(name) == is_there));
    let mut next = sought.iter().cycle();
    bencher.bench_local(|| found(black_box(next.next().unwrap())));
}

#[divan::bench(args = [1_000, MILLION], max_time = 2)]
fn lookup_hit(bencher: Bencher<'_, '_>, count: usize) {
    let names = move |i: usize| host(i * 7919 % count);
    with_zone_of(count, |image| lookup(bencher, image, names, true));
}

#[divan::bench(args = [1_000, MILLION], max_time = 2)]
fn lookup_miss(bencher: Bencher<'_, '_>, count: usize) {
    let names = |i: usize| apex().prepend(format!("absent{i}").as_bytes()).unwrap();
    with_zone_of(count, |image| lookup(bencher, image, names, false));
}

fn with_zone_of(count: usize, task: impl FnOnce(&ZoneImage)) {
    if count == MILLION { task(&LARGE) } else { task(&compiled(&owners(count, false))) }
}
