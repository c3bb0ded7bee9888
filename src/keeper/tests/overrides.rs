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
