//! Owners with a policy: what is signed, when the serial moves, what a reload keeps.

use super::overrides::said;
use super::*;
use crate::model::overrides::{Overrides, Word};
use crate::model::pick::Pick;

const HEADER: &str = r#""zone": "example.test", "nameservers": ["ns.example.net"]"#;

/// A zone with one owner `www` over 192.0.2.1 to .4, all checked by TCP.
fn zone(www: &str) -> String {
    format!(r#"{{{HEADER}, "records": {{"www": {{"check": {{"tcp": 80, "rise": 1, "fall": 1}}, {www}}}}}}}"#)
}

const FAILOVER: &str = r#""policy": "failover", "failback": false, "pools": [
    {"name": "fra", "A": ["192.0.2.1"]}, {"name": "ams", "A": ["192.0.2.2"]}]"#;

/// The last octets of each answer of `www`, the default variant first.
fn answers(house: &House) -> Vec<Vec<u8>> {
    let records = house.owner("www.example.test").unwrap();
    let of =
        |r: &crate::snapshot::image::ServedRrset| r.rrset.rdata.iter().map(|a| a[3]).collect::<Vec<u8>>();
    records.all_rrsets().filter(|r| r.rrset.rtype == RrType::A).map(of).collect()
}

#[test]
fn a_weighted_owner_has_an_answer_for_each_address() {
    let text = zone(
        r#""policy": "weighted", "A": ["192.0.2.1", {"address": "192.0.2.2", "weight": 3}, "192.0.2.3"]"#,
    );
    let house = House::start(&[("zone", &text)], None);
    assert_eq!(answers(&house), [[1], [2], [3]]);
    let serial = house.serial("example.test");
    house.flip("192.0.2.2:80", Verdict::Down);
    assert_eq!(answers(&house), [[1], [3]]);
    assert!(house.serial("example.test").is_after(serial));
}

#[test]
fn a_share_moves_the_table_and_nothing_else() {
    let text = zone(r#""policy": "weighted", "A": ["192.0.2.1", "192.0.2.2"]"#);
    let house = House::start(&[("zone", &text)], None);
    let pick = |house: &House| house.owner("www.example.test").unwrap().choices[0].pick.clone();
    let weights = |a, b| Pick::Weighted(vec![(a, Pick::Set(0)), (b, Pick::Set(1))]);
    assert_eq!(pick(&house), weights(100, 100));
    let (serial, before) = (house.serial("example.test"), house.image("example.test").unwrap());
    house.board.set_share(house.target("192.0.2.2:80"), 10);
    house.settle();
    assert_eq!(pick(&house), weights(100, 10));
    assert_eq!(house.serial("example.test"), serial);
    let after = house.image("example.test").unwrap();
    let records = |image: &ZoneImage| {
        image.owners().map(|o| o.all_rrsets().cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(records(&before), records(&after));
}

#[test]
fn a_choice_to_stay_with_outlives_a_reload() {
    let house = House::start(&[("zone", &zone(FAILOVER))], None);
    assert_eq!(answers(&house), [[1]]);
    house.flip("192.0.2.1:80", Verdict::Down);
    assert_eq!(answers(&house), [[2]]);
    house.flip("192.0.2.1:80", Verdict::Up);
    let more = zone(FAILOVER).replace(r#""records": {"#, r#""records": {"new": ["192.0.2.9"], "#);
    house.reload(&[("zone", &more)], false);
    assert!(house.owner("new.example.test").is_some());
    house.flip("192.0.2.1:80", Verdict::Up);
    assert_eq!(answers(&house), [[2]], "ams is healthy, and failback is off");
    house.flip("192.0.2.2:80", Verdict::Down);
    assert_eq!(answers(&house), [[1]]);
}

#[test]
fn a_choice_to_stay_with_outlives_a_restart_and_moves_no_serial() {
    let folder = tempfile::tempdir().unwrap();
    let text = zone(FAILOVER);
    let house = House::start(&[("zone", &text)], Some(folder.path()));
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.1:80", Verdict::Up);
    let serial = house.serial("example.test");
    assert_eq!(answers(&house), [[2]]);
    house.reload(&[("zone", &text)], false);
    assert_eq!((answers(&house), house.serial("example.test")), (vec![vec![2]], serial));
    house.stop();
    let house = House::start(&[("zone", &text)], Some(folder.path()));
    assert_eq!((answers(&house), house.serial("example.test")), (vec![vec![2]], serial));
    house.stop();
    // Another policy of the same owner begins anew.
    let other = text.replace("ams", "lon");
    let house = House::start(&[("zone", &other)], Some(folder.path()));
    assert_eq!(answers(&house), [[1]]);
    house.stop();
}

#[test]
fn all_that_was_good_last_outlives_a_reload_and_not_only_what_was_answered() {
    // Of `fra` the first address is answered, and whether it may be depends on both.
    const POLICY: &str = r#""when_all_down": "last-good", "policy": "weighted", "pools": [
        {"name": "fra", "policy": "failover", "up_threshold": 60, "A": ["192.0.2.1", "192.0.2.2"]},
        {"name": "ams", "A": ["192.0.2.3"]}]"#;
    let text = zone(POLICY);
    let house = House::start(&[("zone", &text)], None);
    assert_eq!(answers(&house), [[1], [3]]);
    // All at one moment: one after the other `fra` would be below its threshold before.
    let (said, _) = house.say(&Overrides::default(), said("name:www.example.test", Word::Down));
    assert_eq!(answers(&house), [[1], [3]]);
    let serial = house.serial("example.test");
    assert_eq!(house.reload(&[("zone", &text)], false), [("example.test.".into(), Change::Unchanged)]);
    assert_eq!((answers(&house), house.serial("example.test")), (vec![vec![1], vec![3]], serial));
    let more = text.replace(r#""records": {"#, r#""records": {"new": ["192.0.2.9"], "#);
    house.reload(&[("zone", &more)], false);
    assert_eq!(answers(&house), [[1], [3]]);
    // What was good is all that was up.
    let shorter = more.replace(r#"["192.0.2.1", "#, "[");
    house.reload(&[("zone", &shorter)], false);
    assert_eq!(answers(&house), [[2], [3]]);
    house.keeper.set_overrides(Arc::new(said.without(1).unwrap().0));
    assert_eq!(answers(&house), [[2], [3]]);
}

#[test]
fn a_reload_without_a_change_of_data_keeps_the_serial() {
    let weighted = |weight: u8| {
        zone(&format!(
            r#""policy": "weighted", "A": ["192.0.2.1", {{"address": "192.0.2.2", "weight": {weight}}}]"#
        ))
    };
    let house = House::start(&[("zone", &weighted(1))], None);
    let serial = house.serial("example.test");
    house.reload(&[("zone", &weighted(5))], false);
    assert_eq!(house.serial("example.test"), serial, "a weight is no data");
    let pick = house.owner("www.example.test").unwrap().choices[0].pick.clone();
    assert_eq!(pick, Pick::Weighted(vec![(100, Pick::Set(0)), (500, Pick::Set(1))]));
}
