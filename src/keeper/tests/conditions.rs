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
