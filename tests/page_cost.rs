//! A page of a zone's names costs the same wherever it stands in whatever zone: CPU time of pages all over a zone of a thousand names and of
//! a large one, beside that of the walk through the whole zone that a page once took.
//!
//! `HALE_LONG=1` takes the large zone to a million names; otherwise it has fifty thousand.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use hale::model::hash::HashKey;
use hale::model::name::Name;
use hale::model::rrset::{RdataSet, Rrset};
use hale::model::rrtype::RrType;
use hale::snapshot::image::{Note, OwnerRecords, ServedRrset};
use hale::snapshot::{ZoneImage, ZonePortion, join};

/// Names of a page, as the web page has them.
const ROWS: usize = 50;
const PAGES: usize = 200;

fn owner(name: Name, rtype: RrType, rdata: Vec<u8>) -> OwnerRecords {
    let rrset = Rrset { rtype, ttl: 300, rdata: RdataSet::new([rdata]) };
    let served = ServedRrset { rrset, signatures: RdataSet::default(), rotate: false, note: Note::None };
    OwnerRecords { name, rrsets: vec![served], choices: vec![], pending: vec![], withheld: vec![] }
}

fn host(i: usize) -> Name {
    Name::parse_absolute(&format!("h{i:07}.example.test")).unwrap()
}

fn zone(names: usize) -> ZoneImage {
    let apex = Name::parse_absolute("example.test").unwrap();
    let key = HashKey::new([7, 9]);
    let mut portion = ZonePortion::new(apex.clone(), key);
    portion.start_run(0, None);
    let soa = [host(0).wire(), host(0).wire(), &[0; 20]].concat();
    portion.put(&owner(apex.clone(), RrType::SOA, soa)).unwrap();
    (0..names).for_each(|i| portion.put(&owner(host(i), RrType::A, vec![192, 0, 2, 1])).unwrap());
    join(&apex, key, vec![portion], 1).unwrap()
}

/// What this thread has run so far.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cost(work: impl FnOnce()) -> Duration {
    let before = cpu();
    work();
    cpu() - before
}

/// A page behind a name: names, and their records.
fn page(image: &ZoneImage, after: &Name) {
    let order = image.names_in_order();
    let names: Vec<Name> = order.after(Some(after)).take(ROWS).collect();
    assert_eq!(names.len(), ROWS);
    assert!(names.iter().all(|name| image.owner(name).is_some() && name > after));
}

/// CPU time of a page: the least of some rounds over the whole zone, since others use this machine too.
fn of_a_page(image: &ZoneImage, names: usize) -> Duration {
    let round = || {
        let starts = (0..PAGES).map(|i| host(i * (names - ROWS - 1) / PAGES));
        let starts: Vec<Name> = starts.collect();
        cost(|| starts.iter().for_each(|start| page(image, start)))
    };
    (0..5).map(|_| round()).min().unwrap() / PAGES as u32
}

#[test]
fn a_page_costs_the_same_in_a_zone_of_any_size() {
    let large = if std::env::var_os("HALE_LONG").is_some() { 1_000_000 } else { 50_000 };
    let mut pages = Vec::new();
    for names in [1000, large] {
        let image = zone(names);
        let walk = cost(|| assert_eq!(image.owners().count(), names + 1));
        let first = cost(|| page(&image, &host(0)));
        let each = of_a_page(&image, names);
        println!("{names} names: the whole zone {walk:?}, the first page {first:?}, any other {each:?}");
        pages.push(each);
    }
    // The large zone is not in the processor's caches; its walk takes a thousand times that of the small one.
    assert!(pages[1] < 5 * pages[0], "{pages:?}");
}
