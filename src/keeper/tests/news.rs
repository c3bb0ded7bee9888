//! What those who watch are told of flips, of names without anything that is up, and of reloads.

use super::*;
use crate::model::event::EventKind;
use crate::model::events::Flipped;

impl House {
    /// As health does it: what happened is noted before the board wakes the keeper.
    fn flip_for(&self, address: &str, verdict: Verdict, why: &str) {
        let id = self.target(address);
        let target = self.targets.borrow().iter().find(|(of, _)| *of == id).unwrap().1.clone();
        let from = self.board.get(id);
        self.events.note_flips(std::iter::once(Flipped { id, target, from, to: verdict, why: why.into() }));
        self.flip(address, verdict);
    }
}

#[test]
fn a_flip_names_those_whom_it_concerns_and_comes_before_what_follows_from_it() {
    let house = House::start(&[("a.json", &zone("", r#", "when_all_down": "none""#))], None);
    let mut watcher = house.events.watch(None);
    house.flip_for("192.0.2.1:80", Verdict::Down, "refused");
    house.flip_for("192.0.2.2:80", Verdict::Down, "refused");
    house.flip_for("192.0.2.2:80", Verdict::Up, "results");
    let told: Vec<(EventKind, String)> =
        watcher.take().events.iter().map(|event| (event.news.kind, event.news.text.clone())).collect();
    let want = [
        (EventKind::TargetFlip, "tcp 192.0.2.1:80 is down, was up: refused"),
        (EventKind::TargetFlip, "tcp 192.0.2.2:80 is down, was up: refused"),
        (EventKind::NameDown, "nothing of www.example.test. is up: nothing is answered"),
        (EventKind::TargetFlip, "tcp 192.0.2.2:80 is up, was down: results"),
        (EventKind::NameRecovered, "www.example.test. is up again"),
    ];
    assert_eq!(told, want.map(|(kind, text)| (kind, text.to_owned())));
    let flip = house.events.last(5)[0].news.clone();
    assert_eq!((flip.zones, flip.names), (vec!["example.test.".into()], vec!["www.example.test.".into()]));
    assert_eq!((flip.from, flip.to, flip.names_in_all), (Some(Verdict::Up), Some(Verdict::Down), None));
    house.stop();
}

#[test]
fn each_way_of_answering_without_anything_up_is_a_turn() {
    for (when, says) in [
        (r#", "when_all_down": "all""#, "all of it is answered"),
        (r#", "when_all_down": "last-good""#, "what was up last is answered"),
        (r#", "when_all_down": "fallback", "fallback": { "A": ["192.0.2.9"] }"#, "the fallback is answered"),
    ] {
        let house = House::start(&[("a.json", &zone("", when))], None);
        house.flip("192.0.2.1:80", Verdict::Down);
        let mut watcher = house.events.watch(None);
        house.flip("192.0.2.2:80", Verdict::Down);
        house.flip("192.0.2.1:80", Verdict::Up);
        let told: Vec<String> = watcher.take().events.iter().map(|event| event.news.text.clone()).collect();
        let down = format!("nothing of www.example.test. is up: {says}");
        assert_eq!(told, [down.as_str(), "www.example.test. is up again"], "{when}");
        house.stop();
    }
}

#[test]
fn reloads_tell_of_each_file_that_failed() {
    let house = House::start(&[("a.json", &zone("", ""))], None);
    let mut watcher = house.events.watch(None);
    house.reload(&[("a.json", "{"), ("b.json", r#"{ "zone": "b.test" }"#)], false);
    house.reload(&[("a.json", &zone("", ""))], false);
    let told: Vec<(EventKind, Option<String>)> =
        watcher.take().events.iter().map(|event| (event.news.kind, event.news.file.clone())).collect();
    let want = [
        (EventKind::ReloadFailed, Some("a.json".to_owned())),
        (EventKind::ReloadFailed, Some("b.json".to_owned())),
        (EventKind::ReloadDone, None),
    ];
    assert_eq!(told, want);
    house.stop();
}

/// What is told of names from a point on: kind and text.
fn told(events: &[Arc<crate::model::event::Event>]) -> Vec<(EventKind, String)> {
    let of_names = |kind| matches!(kind, EventKind::NameDown | EventKind::NameRecovered);
    let events = events.iter().map(|event| &event.news).filter(|news| of_names(news.kind));
    events.map(|news| (news.kind, news.text.clone())).collect()
}

#[test]
fn a_name_that_is_built_with_nothing_up_is_told_of_once() {
    let down = |name: &str, says: &str| (EventKind::NameDown, format!("nothing of {name} is up: {says}"));
    let first = zone("", r#", "when_all_down": "none""#);
    let house = House::start_with(&[("a.json", &first)], None, START_S, |_, _| Verdict::Down);
    assert_eq!(told(&house.events.last(9)), [down("www.example.test.", "nothing is answered")]);
    let mut watcher = house.events.watch(None);
    // It is down as before, though answered in another way.
    house.reload(&[("a.json", &zone("", r#", "when_all_down": "all""#))], false);
    house.settle();
    assert_eq!(told(&watcher.take().events), []);
    // A name is new, and shares targets that are down.
    let second =
        zone("", "").replace(r#""www":"#, r#""new": { "A": ["192.0.2.1"], "check": { "tcp": 80 } }, "www":"#);
    assert!(second.contains("new"), "{second}");
    house.reload(&[("a.json", &second)], false);
    house.settle();
    assert_eq!(told(&watcher.take().events), [down("new.example.test.", "all of it is answered")]);
    house.stop();
}

#[test]
fn a_file_that_is_broken_from_the_start_on_is_told_of() {
    let house = House::start(&[("a.json", &zone("", "")), ("b.json", "{")], None);
    let first = house.events.last(1)[0].news.clone();
    assert_eq!((first.kind, first.file), (EventKind::ReloadFailed, Some("b.json".to_owned())));
    assert!(first.text.ends_with("; its zones are answered SERVFAIL"), "{}", first.text);
    house.stop();
}
