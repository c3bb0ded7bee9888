//! A clock that is wrong at the start, or set while the server runs.

use super::*;

const SIGNED: &str = r#""dnssec": { "keys": "auto", "signature_validity": "14d", "refresh": "4d" },"#;
const DAY: u32 = 86_400;

impl House {
    /// When the signatures of the apex and of `www` begin and end.
    fn validities(&self) -> Vec<(u32, u32)> {
        let records = ["example.test", "www.example.test"].map(|owner| self.owner(owner).unwrap());
        let signatures =
            records.iter().flat_map(|owner| owner.all_rrsets()).flat_map(|r| r.signatures.iter());
        let word = |rdata: &[u8], at: usize| u32::from_be_bytes(*rdata[at..].first_chunk().unwrap());
        signatures.map(|rdata| (word(rdata, 12), word(rdata, 8))).collect()
    }

    fn are_good(&self, now_s: u32) -> bool {
        let validities = self.validities();
        assert!(validities.len() >= 5, "SOA, NS, DNSKEY, A and two NSEC: {validities:?}");
        validities.iter().all(|(from_s, to_s)| (*from_s..*to_s).contains(&now_s))
    }

    /// Lets the keeper look at the clock a few times.
    fn wait(&self) {
        std::thread::sleep(Duration::from_millis(2500));
        self.settle();
    }
}

/// What the clock shows, one after the other. Signatures are good by each, and none is made twice.
fn check(clock: &[u32]) {
    let folder = tempfile::tempdir().unwrap();
    let house = House::start_with(&[("a.json", &zone(SIGNED, ""))], Some(folder.path()), clock[0], |_, _| {
        Verdict::Up
    });
    let mut serial = house.serial("example.test");
    for now_s in clock {
        house.now_s.store(*now_s, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !house.are_good(*now_s) {
            assert!(Instant::now() < deadline, "{clock:?}: at {now_s} there is {:?}", house.validities());
            std::thread::sleep(Duration::from_millis(20));
        }
        house.wait();
        let (made, generation) = (house.signatures(), house.published.load().generation());
        house.wait();
        let after = (house.signatures(), house.published.load().generation());
        assert_eq!(after, (made, generation), "{clock:?}: nothing is due at {now_s}");
        let now = house.serial("example.test");
        assert!(now == serial || now.is_after(serial), "{clock:?}: {serial:?}, {now:?}");
        serial = now;
    }
    house.stop();
}

#[test]
fn a_clock_that_begins_in_1970_and_comes_right() {
    check(&[0, 5, START_S]);
    check(&[2 * 3600, START_S]);
}

#[test]
fn a_clock_that_is_in_the_far_future_and_comes_right() {
    check(&[4_100_000_000, START_S]);
}

#[test]
fn a_clock_that_is_set_while_the_server_runs() {
    check(&[START_S, START_S + 400 * DAY, START_S + 399 * DAY, 10, START_S]);
}
