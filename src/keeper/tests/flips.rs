//! What a flip costs where many owners share an address, and while other work goes on.

use super::*;

const SIGNED: &str = r#""dnssec": { "keys": "auto" },"#;

/// A signed zone whose owners `h0`… have an address of their own and one that all share, and `names` others.
fn shared(owners: usize, names: usize) -> String {
    let address = |i: usize| format!("10.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255);
    let behind = (0..owners).map(|i| {
        let own = address(i);
        format!(r#","h{i}": {{ "A": [{{ "address": "{own}", "check": "none" }}, "192.0.2.1"], "check": {{ "tcp": 80 }} }}"#)
    });
    let plain = (0..names).map(|i| format!(r#","n{i}": ["{}"]"#, address(i)));
    let records: String = behind.chain(plain).collect();
    zone(SIGNED, "").replacen(r#""www""#, &format!("{}, \"www\"", &records[1..]), 1)
}

/// What the keeper has counted: commits, owners flipped, signatures.
fn figures(house: &House) -> [u64; 3] {
    let figures = house.keeper.figures();
    [&figures.commits, &figures.flips, &figures.signatures.made].map(|figure| figure.load(Ordering::Relaxed))
}

#[test]
fn a_flip_shared_by_many_owners_is_one_commit() {
    const OWNERS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let house = House::start(&[("a.json", &shared(OWNERS, 0))], Some(folder.path()));
    assert_eq!(house.findings, []);
    let records = || {
        let image = house.image("example.test").unwrap();
        (0..OWNERS).map(|i| image.owner(&name(&format!("h{i}.example.test"))).unwrap()).collect::<Vec<_>>()
    };
    let addresses = |owner: &OwnerRecords| owner.rrsets[0].rrset.rdata.len();
    let both = records();
    assert!(both.iter().all(|owner| addresses(owner) == 2));
    let (before, serial) = (figures(&house), house.serial("example.test"));
    // The one of `www`, too: its other address stays.
    house.flip("192.0.2.1:80", Verdict::Down);
    let owners = OWNERS as u64 + 1;
    let after = figures(&house);
    assert_eq!([0, 1, 2].map(|i| after[i] - before[i]), [1, owners, owners + 1], "each RRset and the SOA");
    assert_eq!(house.serial("example.test").0, serial.0 + 1);
    let one = records();
    assert!(one.iter().all(|owner| addresses(owner) == 1));

    house.flip("192.0.2.1:80", Verdict::Up);
    let back = figures(&house);
    assert_eq!([0, 1, 2].map(|i| back[i] - after[i]), [1, owners, 1], "the SOA alone");
    assert_eq!(records(), both, "with the signatures of before");
    house.flip("192.0.2.1:80", Verdict::Down);
    assert_eq!(figures(&house)[2] - back[2], 1);
    assert_eq!(records(), one);
    house.stop();
}

#[test]
fn what_flips_during_reloads_is_served_after_them() {
    const OWNERS: usize = 60;
    let checked = (0..OWNERS)
        .map(|i| format!(r#""c{i}": {{ "A": ["10.1.0.{i}", "10.2.0.{i}"], "check": {{ "tcp": 80 }} }},"#));
    let checked: String = checked.collect();
    let text = shared(0, 300).replacen(r#""n0""#, &format!(r#"{checked}"n0""#), 1);
    let folder = tempfile::tempdir().unwrap();
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    assert_eq!(house.findings, []);
    let over = std::sync::atomic::AtomicBool::new(false);
    let up = std::thread::scope(|scope| {
        let flipping = scope.spawn(|| {
            let (mut up, mut next) = ([true; OWNERS], 0);
            while !over.load(Ordering::Relaxed) {
                up[next] = !up[next];
                let verdict = if up[next] { Verdict::Up } else { Verdict::Down };
                house.board.set(house.target(&format!("10.1.0.{next}:80")), verdict);
                next = (next + 7) % OWNERS;
                std::thread::sleep(Duration::from_micros(100));
            }
            up
        });
        let mut serial = house.serial("example.test");
        for octet in 54..60 {
            house.reload(&[("a.json", &text.replace("192.0.2.53", &format!("192.0.2.{octet}")))], false);
            assert_eq!(house.addresses("ns1.example.test"), [octet]);
            let now = house.serial("example.test");
            assert!(now.is_after(serial), "{now} after {serial}");
            serial = now;
        }
        over.store(true, Ordering::Relaxed);
        flipping.join().unwrap()
    });
    house.settle();
    for (i, up) in up.into_iter().enumerate() {
        let records = house.owner(&format!("c{i}.example.test")).unwrap();
        assert_eq!(records.rrsets[0].rrset.rdata.len(), 1 + usize::from(up), "c{i}");
    }
    house.stop();
}

#[test]
fn a_reload_of_a_large_zone_lets_flips_pass() {
    if std::env::var_os("HALE_LONG").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = shared(0, 200_000);
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    // Every signature is due, so that the reload signs the whole zone on all cores, and the keeper renews it beside that.
    house.now_s.store(START_S + 30 * 86_400, Ordering::Relaxed);
    let over = std::sync::atomic::AtomicBool::new(false);
    let delays = std::thread::scope(|scope| {
        scope.spawn(|| {
            house.keeper.reload_and_wait(false).unwrap();
            over.store(true, Ordering::Relaxed);
        });
        let mut delays = Vec::new();
        for round in 0.. {
            let (verdict, count) = if round % 2 == 0 { (Verdict::Down, 1) } else { (Verdict::Up, 2) };
            let began = Instant::now();
            house.board.set(house.target("192.0.2.1:80"), verdict);
            while house.addresses("www.example.test").len() != count {
                assert!(began.elapsed() < Duration::from_secs(20), "a flip is not served");
                std::thread::sleep(Duration::from_millis(1));
            }
            delays.push(began.elapsed());
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        delays
    });
    let worst = delays.iter().max().unwrap();
    assert!(delays.len() > 20, "the reload was over after {} flips", delays.len());
    // Generous: a slow machine, without optimisation. While the reload waited for the keeper or the other way round it was all of it.
    assert!(*worst < Duration::from_secs(1), "{worst:?} of {} flips", delays.len());
    house.stop();
}
