//! What an operator does to a keeper while it works: edits, reloads on top of each other, lost and replaced keys.

use super::super::TICK;
use super::*;

#[test]
fn an_edited_check_does_not_make_a_name_wait_for_verdicts() {
    // `when_all_down`, verdicts before, served before, then after the reload, then when the new check says "up" of the first address.
    for (mode, down, served, first_up) in [
        ("all", &[][..], &[1, 2][..], &[1, 2][..]),
        ("all", &[1], &[2], &[1, 2]),
        ("none", &[1, 2], &[], &[1]),
        ("all", &[1, 2], &[1, 2], &[1]),
        ("last-good", &[1, 2], &[2], &[1]),
    ] {
        let case = format!("{mode} {down:?}");
        let text = zone("", &format!(r#", "when_all_down": "{mode}""#));
        let house = House::start(&[("a.json", &text)], None);
        for address in down {
            house.flip(&format!("192.0.2.{address}:80"), Verdict::Down);
        }
        let before = house.owner("www.example.test").unwrap();
        assert_eq!(house.addresses("www.example.test"), served, "{case}");
        let edited = text.replace(r#""tcp": 80"#, r#""tcp": 81"#);
        assert_eq!(
            house.reload(&[("a.json", &edited)], false),
            [("example.test.".into(), Change::Unchanged)]
        );
        assert_eq!(house.owner("www.example.test").unwrap(), before, "{case}");
        house.flip("192.0.2.1:81", Verdict::Up);
        assert_eq!(house.addresses("www.example.test"), first_up, "{case}");
        house.flip("192.0.2.2:81", Verdict::Down);
        assert_eq!(house.addresses("www.example.test"), [1], "{case}");
        house.stop();
    }
}

#[test]
fn a_family_that_is_down_stays_withheld_when_its_check_is_edited() {
    let text = zone("", r#", "AAAA": ["2001:db8::1"]"#);
    let house = House::start(&[("a.json", &text)], None);
    house.flip("[2001:db8::1]:80", Verdict::Down);
    let before = house.owner("www.example.test").unwrap();
    assert_eq!((before.withheld.as_slice(), before.pending.as_slice()), (&[RrType::AAAA][..], &[][..]));
    house.reload(&[("a.json", &text.replace(r#""tcp": 80"#, r#""tcp": 81"#))], false);
    assert_eq!(house.owner("www.example.test").unwrap(), before);
    // A family that is new has nothing to go by.
    house.reload(&[("a.json", &zone("", ""))], false);
    house.reload(&[("a.json", &text)], false);
    assert_eq!(house.owner("www.example.test").unwrap().pending, [RrType::AAAA]);
    house.stop();
}

#[test]
fn last_good_addresses_outlive_a_reload_but_not_their_configuration() {
    let text = zone("", r#", "when_all_down": "last-good""#);
    let house = House::start(&[("a.json", &text)], None);
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.2:80", Verdict::Down);
    assert_eq!(house.addresses("www.example.test"), [2]);
    for octet in [54, 55] {
        house.reload(&[("a.json", &text.replace("192.0.2.53", &format!("192.0.2.{octet}")))], false);
        assert_eq!(house.addresses("www.example.test"), [2]);
    }
    house.reload(&[("a.json", &text.replace(r#", "192.0.2.2""#, ""))], false);
    assert_eq!(house.addresses("www.example.test"), [1], "no address that was taken away");
    house.stop();
}

#[test]
fn a_change_during_a_reload_does_not_get_the_reloads_serial() {
    let text = zone("", "");
    let house = House::start(&[("a.json", &text)], None);
    let (board, published, id) =
        (Arc::clone(&house.board), Arc::clone(&house.published), house.target("192.0.2.1:80"));
    let seen = Arc::new(Mutex::new(None));
    *house.during_build.lock().unwrap() = Some(Box::new({
        let seen = Arc::clone(&seen);
        move || {
            let serial = || published.load().zone(&name("example.test")).unwrap().image.unwrap().serial();
            let before = serial();
            board.set(id, Verdict::Down);
            let deadline = Instant::now() + Duration::from_secs(10);
            while serial() == before && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            *seen.lock().unwrap() = Some(serial());
        }
    }));
    house.reload(&[("a.json", &text.replace("192.0.2.53", "192.0.2.54"))], false);
    let during = seen.lock().unwrap().take().unwrap();
    assert_eq!(
        (house.addresses("www.example.test"), house.addresses("ns1.example.test")),
        (vec![2], vec![54])
    );
    assert!(house.serial("example.test").is_after(during), "two versions under serial {during}");
    house.stop();
}

#[test]
fn reloads_asked_for_during_a_reload_are_all_done_and_answered() {
    let (a, b) = (zone("", ""), zone("", "").replace("example.test", "other.test"));
    let house = House::start(&[("a.json", &a), ("b.json", &b)], None);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    *house.during_build.lock().unwrap() = Some(Box::new(move || wait.recv().unwrap()));
    *house.sources.lock().unwrap() = inline(&[("a.json", &a)]);
    let asked = [false, true, false, false].map(|remove_missing| {
        let keeper = house.keeper.clone();
        let thread = std::thread::spawn(move || keeper.reload_and_wait(remove_missing));
        // In this order: the first one's builder waits, and the one that removes is followed by others that do not.
        std::thread::sleep(Duration::from_millis(50));
        thread
    });
    house.settle();
    go.send(()).unwrap();
    for thread in asked {
        assert!(thread.join().unwrap().is_some_and(|summary| summary.is_good()));
    }
    assert!(house.image("other.test").is_none(), "removed as it was asked for");
    house.stop();
}

#[test]
fn a_builder_that_panics_costs_one_reload() {
    let text = zone("", "");
    let house = House::start(&[("a.json", &text)], None);
    *house.during_build.lock().unwrap() = Some(Box::new(|| panic!("on purpose")));
    let summary = house.keeper.reload_and_wait(false).unwrap();
    assert!(!summary.is_good() && summary.zones.is_empty(), "{summary:?}");
    assert_eq!(house.addresses("ns1.example.test"), [53]);
    house.reload(&[("a.json", &text.replace("192.0.2.53", "192.0.2.54"))], false);
    assert_eq!(house.addresses("ns1.example.test"), [54]);
    house.stop();
}

#[test]
fn the_minute_before_a_renewal_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let signed = zone(r#""dnssec": { "keys": "auto", "signature_validity": "14d", "refresh": "4d" },"#, "");
    let house = House::start(&[("a.json", &signed)], Some(folder.path()));
    let owners = house.image("example.test").unwrap();
    let expirations = owners.owners().flat_map(|o| o.rrsets).filter_map(|r| {
        let rrsig = r.signatures.iter().next()?;
        Some(u32::from_be_bytes(rrsig[8..12].try_into().unwrap()))
    });
    let due_s = expirations.min().unwrap() - 4 * 86_400;
    let serial = house.serial("example.test");
    house.now_s.store((due_s - 1) / 60 * 60, Ordering::Relaxed);
    std::thread::sleep(TICK + Duration::from_millis(200));
    assert_eq!(house.serial("example.test"), serial, "nothing is renewed, so nothing changes");
    house.now_s.store(due_s, Ordering::Relaxed);
    std::thread::sleep(TICK + Duration::from_millis(200));
    assert!(house.serial("example.test").is_after(serial));
    house.stop();
}

#[test]
fn a_new_key_with_the_old_ones_tag_signs_everything_anew() {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    let seed = |number: u32| [[7; 28].as_slice(), &number.to_be_bytes()].concat();
    let tag = |number: u32| {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed(number)).unwrap();
        crate::dnssec::key::key_tag(&[&[1, 1, 3, 15], pair.public_key().as_ref()].concat())
    };
    let mut tags = std::collections::HashMap::new();
    let (first, second) = (0..).find_map(|number| Some((tags.insert(tag(number), number)?, number))).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone.pem");
    let write = |number: u32| {
        // PKCS#8 of an Ed25519 key (RFC 8410 §7): a fixed head and the seed.
        let head = data_encoding::HEXLOWER.decode(b"302e020100300506032b657004220420").unwrap();
        let base64 = data_encoding::BASE64.encode(&[head, seed(number)].concat());
        std::fs::write(&file, format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"))
            .unwrap();
    };
    write(first);
    let keys = format!(r#""dnssec": {{ "keys": [{{ "file": "{}", "role": "csk" }}] }},"#, file.display());
    let text = zone(&keys, "");
    let house = House::start(&[("a.json", &text)], None);
    assert!(house.image("example.test").is_some_and(|image| image.is_signed()), "{:?}", house.findings);
    let before = house.owner("ns1.example.test").unwrap();
    house.reload(&[("a.json", &text)], false);
    assert_eq!(house.owner("ns1.example.test").unwrap(), before);
    write(second);
    house.reload(&[("a.json", &text)], false);
    let after = house.owner("ns1.example.test").unwrap();
    for (old, new) in before.rrsets.iter().zip(&after.rrsets) {
        assert_eq!(old.rrset, new.rrset);
        assert_ne!(old.signatures, new.signatures, "signed by the key that is gone");
    }
    house.stop();
}

#[test]
fn a_keeper_that_ended_is_not_taken_for_a_running_one() {
    let house = House::start(&[("a.json", &zone("", ""))], None);
    let keeper = house.keeper.clone();
    assert!(keeper.is_running());
    house.stop();
    assert!(!keeper.is_running());
}

#[test]
fn lost_keys_of_a_signed_zone_are_not_replaced_by_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let signed = zone(r#""dnssec": { "keys": "auto" },"#, "");
    let keys = folder.path().join("keys");
    let house = House::start(&[("a.json", &signed)], Some(folder.path()));
    let before = house.owner("example.test").unwrap();
    std::fs::rename(&keys, folder.path().join("lost")).unwrap();
    assert_eq!(house.reload(&[("a.json", &signed)], false), [("example.test.".into(), Change::Kept)]);
    assert_eq!(house.owner("example.test").unwrap(), before);
    house.stop();
    let house = House::start(&[("a.json", &signed)], Some(folder.path()));
    assert!(house.findings.iter().any(|d| d.is_error() && d.message.contains("its keys are gone")));
    assert!(house.image("example.test").is_none() && !keys.exists());
    // Given back, or given up by "off": then a first start is one again.
    std::fs::rename(folder.path().join("lost"), &keys).unwrap();
    assert_eq!(house.reload(&[("a.json", &signed)], false), [("example.test.".into(), Change::Added)]);
    house.reload(&[("a.json", &zone(r#""dnssec": "off","#, ""))], false);
    std::fs::remove_dir_all(&keys).unwrap();
    house.reload(&[("a.json", &signed)], false);
    assert!(house.image("example.test").unwrap().is_signed());
    house.stop();
}
