//! Owners whose endpoints rest on more than one target.

use super::*;

#[test]
fn a_combination_is_evaluated_over_the_board() {
    let text = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"], "checks": { "web": { "tcp": 80 } },
        "records": {
            "any": { "A": ["192.0.2.1", "192.0.2.2"], "check": { "any": ["web", { "tcp": 81 }] } },
            "two": { "A": ["192.0.2.1", "192.0.2.2"], "check": { "at_least": 2, "of": ["web", { "tcp": 81 }, { "tcp": 82 }] } }
        } }"#;
    let house = House::start(&[("a.json", text)], None);
    assert_eq!((house.findings.clone(), house.targets.borrow().len()), (Vec::new(), 6));
    let check = |port: &str, verdict, any: &[u8], two: &[u8]| {
        house.flip(&format!("192.0.2.1:{port}"), verdict);
        let found = (house.addresses("any.example.test"), house.addresses("two.example.test"));
        assert_eq!(found, (any.to_vec(), two.to_vec()), "port {port} {verdict}");
    };
    check("80", Verdict::Down, &[1, 2], &[1, 2]);
    check("81", Verdict::Down, &[2], &[2]);
    check("82", Verdict::Unknown, &[2], &[2]);
    check("80", Verdict::Up, &[1, 2], &[2]);
    check("82", Verdict::Up, &[1, 2], &[1, 2]);
    assert_eq!(house.reload(&[("b.json", &text.replace("any", "all"))], true).len(), 1);
    assert_eq!((house.addresses("all.example.test"), house.targets.borrow().len()), (vec![2], 6));
    house.stop();
}

/// `www` behind two addresses, `api` follows it, `far` of another zone follows `api`, and `both` wants `www` and a port of its own.
const FOLLOWED: &str = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"], "records": {
    "www": { "A": ["192.0.2.1", "192.0.2.2"], "check": { "tcp": 80 } },
    "api": { "A": ["192.0.2.3"], "check": { "name": "www.example.test" }, "when_all_down": "none" },
    "both": { "A": ["192.0.2.4"], "check": { "all": [{ "name": "www.example.test" }, { "tcp": 80 }] }, "when_all_down": "none" },
    "fixed": ["192.0.2.5"],
    "lucky": { "A": ["192.0.2.6"], "check": { "name": "fixed.example.test" }, "when_all_down": "none" }
} }"#;
const FOLLOWER: &str = r#"{ "zone": "far.test", "nameservers": ["ns.example.net"], "records": {
    "@": { "A": ["192.0.2.7"], "check": { "name": "api.example.test" }, "when_all_down": "none" } } }"#;

/// Waits until what follows from what has followed.
fn settle(house: &House) {
    for _ in 0..4 {
        house.settle();
    }
}

fn far(house: &House) -> usize {
    house
        .image("far.test")
        .unwrap()
        .owner(&name("far.test"))
        .unwrap()
        .rrsets
        .iter()
        .filter(|r| r.rrset.rtype == RrType::A)
        .count()
}

#[test]
fn a_name_follows_another_ones_verdict() {
    let house = House::start(&[("a.json", FOLLOWED), ("b.json", FOLLOWER)], None);
    assert_eq!(
        (house.findings.clone(), house.targets.borrow().len()),
        (Vec::new(), 3),
        "names are not probed"
    );
    let check = |what: &str, api: &[u8], both: &[u8], far_count: usize| {
        settle(&house);
        let found = (house.addresses("api.example.test"), house.addresses("both.example.test"), far(&house));
        assert_eq!(found, (api.to_vec(), both.to_vec(), far_count), "{what}");
        assert_eq!(house.addresses("lucky.example.test"), [6], "{what}");
    };
    check("at start", &[3], &[4], 1);
    house.flip("192.0.2.1:80", Verdict::Down);
    check("one of two is down", &[3], &[4], 1);
    house.flip("192.0.2.2:80", Verdict::Down);
    check("both are down", &[], &[], 0);
    house.flip("192.0.2.2:80", Verdict::Up);
    check("one is back", &[3], &[4], 1);
    house.flip("192.0.2.4:80", Verdict::Down);
    check("the other part of a combination", &[3], &[], 1);

    // Without the zone that it follows a name goes on as it was.
    house.reload(&[("b.json", FOLLOWER)], true);
    settle(&house);
    assert_eq!(far(&house), 1);
    house.reload(&[("a.json", FOLLOWED), ("b.json", FOLLOWER)], true);
    settle(&house);
    assert_eq!(far(&house), 1, "the zone is back, and its probes are not");
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.2:80", Verdict::Down);
    check("and down", &[], &[], 0);
    house.stop();
}

#[test]
fn a_name_that_nobody_knows_leaves_its_follower_waiting() {
    let house = House::start(&[("b.json", FOLLOWER)], None);
    assert!(
        house.findings[0].to_string().contains("no zone here holds api.example.test."),
        "{:?}",
        house.findings
    );
    let apex = house.image("far.test").unwrap().owner(&name("far.test")).unwrap();
    assert_eq!(apex.pending, [RrType::A]);
    house.reload(&[("a.json", FOLLOWED), ("b.json", FOLLOWER)], true);
    settle(&house);
    // The probes of the new zone have not come back yet, nor has what follows them.
    assert_eq!(house.image("far.test").unwrap().owner(&name("far.test")).unwrap().pending, [RrType::A]);
    house.flip("192.0.2.1:80", Verdict::Up);
    settle(&house);
    assert_eq!(far(&house), 1);
    house.stop();
}

#[test]
fn names_that_follow_each_other_are_refused() {
    let back = FOLLOWED.replace(r#""fixed.example.test""#, r#""far.test""#).replace(
        r#"{ "name": "www.example.test" }, "when_all_down": "none" },
    "both""#,
        r#"{ "name": "lucky.example.test" }, "when_all_down": "none" },
    "both""#,
    );
    let house = House::start(&[("a.json", &back), ("b.json", FOLLOWER)], None);
    let errors: Vec<String> = house.findings.iter().map(ToString::to_string).collect();
    assert!(errors.len() == 1 && errors[0].contains("→"), "{errors:?}");
    let served = ["example.test", "far.test"].map(|zone| house.image(zone).is_some());
    assert_eq!(served.iter().filter(|is_served| **is_served).count(), 1, "one file less breaks the circle");
    house.stop();
}
