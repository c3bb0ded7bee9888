//! A person's word over verdicts: set, replaced, expired, while zones are read again.

use super::*;
use crate::model::overrides::{NewOverride, Overrides, Word};

const NOW: u32 = START_S;

pub(super) fn said(subject: &str, word: Word) -> NewOverride {
    let (subject, reason, owner) = (subject.parse().unwrap(), "disk".into(), "root".into());
    NewOverride { subject, zone: None, word, until_s: None, reason, owner }
}

impl House {
    pub(super) fn say(&self, overrides: &Overrides, said: NewOverride) -> (Overrides, usize) {
        let next = overrides.with(said, NOW).unwrap().0;
        let names = self.keeper.set_overrides(Arc::new(next.clone())).unwrap();
        (next, names)
    }
}

fn overridden(house: &House) -> Vec<(String, String, u64)> {
    let all = house.keeper.overridden();
    all.iter().map(|e| (e.owner.to_string(), e.data.to_string(), e.id)).collect()
}

#[test]
fn answers_follow_a_persons_word() {
    let house = House::start(&[("a.json", &zone("", r#", "when_all_down": "none""#))], None);
    let (none, serial) = (Overrides::default(), house.serial("example.test"));
    let (down, names) = house.say(&none, said("address:192.0.2.1", Word::Down));
    assert_eq!((names, house.addresses("www.example.test")), (1, vec![2]));
    assert!(house.serial("example.test").is_after(serial));
    assert_eq!(overridden(&house), [("www.example.test.".into(), "192.0.2.1".into(), 1)]);
    assert_eq!(house.keeper.zones()[0].overridden_owners, 1);
    // A verdict says nothing new while a person has the word.
    let serial = house.serial("example.test");
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.1:80", Verdict::Up);
    assert_eq!((house.addresses("www.example.test"), house.serial("example.test")), (vec![2], serial));
    let (up, _) = house.say(&down, said("name:*.example.test", Word::Up));
    house.flip("192.0.2.2:80", Verdict::Down);
    assert_eq!(house.addresses("www.example.test"), [2], "the address is more specific than the name");
    let (other, names) = house.say(&up, said("name:mail.*", Word::Down));
    assert_eq!(names, 0);
    let (cleared, _) = other.without(1).unwrap();
    assert_eq!(house.keeper.set_overrides(Arc::new(cleared)), Some(1));
    assert_eq!(house.addresses("www.example.test"), [1, 2]);
    assert_eq!(house.keeper.set_overrides(Arc::default()), Some(1));
    assert_eq!(house.addresses("www.example.test"), [1], "probes count again");
    assert_eq!((overridden(&house), house.keeper.zones()[0].overridden_owners), (vec![], 0));
    house.stop();
}

#[test]
fn a_drained_address_comes_back_when_nothing_else_is_left() {
    let house = House::start(&[("a.json", &zone("", ""))], None);
    house.say(&Overrides::default(), said("address:192.0.2.1", Word::Drain));
    assert_eq!(house.addresses("www.example.test"), [2]);
    house.flip("192.0.2.2:80", Verdict::Down);
    assert_eq!(house.addresses("www.example.test"), [1]);
    house.flip("192.0.2.2:80", Verdict::Up);
    assert_eq!(house.addresses("www.example.test"), [2]);
    house.stop();
}

/// Hosts `a` of two addresses and `b` of one, and records that lead to them.
const RECORDS: &str = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"], "records": {
    "a": ["192.0.2.1", "192.0.2.2"], "b": ["192.0.2.3"],
    "mail": { "MX": { "data": ["10 a", "20 b"], "check": { "tcp": 25 } } },
    "_s._tcp": { "SRV": { "data": ["10 1 25 a", "20 1 25 b"], "check": { "tcp": 25 } }, "when_all_down": "none" },
    "alias": { "CNAME": "b", "check": { "tcp": 25 }, "when_all_down": "none" },
    "pools": { "policy": "failover", "check": { "tcp": 25 }, "pools": [{ "name": "one", "CNAME": "a" }, { "name": "two", "CNAME": "b" }] }
} }"#;

#[test]
fn what_is_said_of_an_address_is_said_of_the_records_that_lead_to_it() {
    let house = House::start(&[("a.json", RECORDS)], None);
    assert_eq!(house.findings, []);
    // The first octets of the records in canonical order tell them apart: preference, or the first label of a CNAME.
    let tell = |owner: &str, at: usize| {
        let records = house.owner(owner).unwrap();
        records.rrsets.iter().flat_map(|r| r.rrset.rdata.iter().map(|d| d[at]).collect::<Vec<u8>>()).collect()
    };
    // Numbers go on: by them one override is told from another.
    let last_id = std::cell::Cell::new(0);
    let check = |words: &[(&str, Word)], mail: &[u8], alias: &[u8], pools: &[u8], concerned: usize| {
        let none = Overrides::restored([], last_id.get());
        let overrides = words.iter().fold(none, |all, (address, word)| {
            all.with(said(&format!("address:192.0.2.{address}"), *word), NOW).unwrap().0
        });
        last_id.set(overrides.last_id());
        house.keeper.set_overrides(Arc::new(overrides)).unwrap();
        let found: [Vec<u8>; 4] = [
            tell("mail.example.test", 1),
            tell("_s._tcp.example.test", 1),
            tell("alias.example.test", 1),
            tell("pools.example.test", 1),
        ];
        assert_eq!(found, [mail, mail, alias, pools].map(<[u8]>::to_vec), "{words:?}");
        assert_eq!(house.keeper.zones()[0].overridden_owners, concerned, "{words:?}");
    };
    let (up, down, drain) = (Word::Up, Word::Down, Word::Drain);
    check(&[], &[10, 20], b"b", b"a", 0);
    check(&[("3", down)], &[10], b"", b"a", 4);
    // A host with another address is up.
    check(&[("1", down)], &[10, 20], b"b", b"a", 3);
    check(&[("1", down), ("2", down)], &[20], b"b", b"b", 3);
    check(&[("1", down), ("2", drain)], &[20], b"b", b"b", 3);
    check(&[("1", drain)], &[10, 20], b"b", b"a", 3);
    check(&[("3", drain)], &[10], b"b", b"a", 4);
    check(&[("9", down)], &[10, 20], b"b", b"a", 0);
    for address in ["192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25"] {
        house.flip(address, Verdict::Down);
    }
    check(&[("3", up)], &[20], b"b", b"b", 4);
    check(&[("2", up)], &[10], b"", b"a", 3);
    house.stop();
}

#[test]
fn an_override_expires_by_itself() {
    let house = House::start(&[("a.json", &zone("", ""))], None);
    let until_s = Some(START_S + 60);
    let said = NewOverride { until_s, ..said("name:www.example.test", Word::Up) };
    house.flip("192.0.2.1:80", Verdict::Down);
    house.say(&Overrides::default(), said);
    assert_eq!(house.addresses("www.example.test"), [1, 2]);
    house.now_s.store(START_S + 59, Ordering::Relaxed);
    house.settle();
    assert_eq!(house.addresses("www.example.test"), [1, 2]);
    house.now_s.store(START_S + 60, Ordering::Relaxed);
    // Nobody tells the keeper: it wakes by itself.
    let limit = Instant::now() + Duration::from_secs(10);
    while house.addresses("www.example.test") != [2] {
        assert!(Instant::now() < limit, "still overridden");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(house.keeper.zones()[0].overridden_owners, 0);
    house.stop();
}

#[test]
fn a_word_that_comes_while_zones_are_read_counts_in_the_new_ones() {
    let text = zone("", "");
    let house = House::start(&[("a.json", &text)], None);
    let keeper = house.keeper.clone();
    let first = Overrides::default().with(said("address:192.0.2.1", Word::Down), NOW).unwrap().0;
    *house.during_build.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(keeper.set_overrides(Arc::new(first)), Some(1));
    }));
    let longer = text.replace(r#""192.0.2.2""#, r#""192.0.2.2", "192.0.2.3""#);
    let generation = house.published.load().generation();
    house.reload(&[("a.json", &longer)], false);
    // The name's new address has no verdict yet.
    assert_eq!(house.addresses("www.example.test"), [2]);
    assert_eq!(
        house.published.load().generation(),
        generation + 2,
        "the override, then the reload in one swap"
    );
    assert_eq!(overridden(&house).len(), 1);
    // And one that was set before is known to the builder.
    house.reload(&[("a.json", &zone("", r#", "ttl": 7"#))], false);
    assert_eq!((house.addresses("www.example.test"), overridden(&house).len()), (vec![2], 1));
    house.stop();
}
