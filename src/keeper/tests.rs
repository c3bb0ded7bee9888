//! The keeper as others use it: zones in JSON, verdicts on the board, snapshots out.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::build::{Workshop, ZoneSource};
use super::channel::{Change, KeeperHandle};
use super::targets::TargetRegistry;
use super::{Starting, TargetSet, Tools};
use crate::model::board::VerdictBoard;
use crate::model::diagnostic::Diagnostic;
use crate::model::hash::HashKey;
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::{TargetId, Verdict};
use crate::snapshot::handle::Published;
use crate::snapshot::image::OwnerRecords;
use crate::snapshot::{Snapshot, ZoneImage};
use crate::state::StateDir;
use crate::state::signed::SignedZones;

const START_S: u32 = 1_700_000_000;

type Hook = Box<dyn FnOnce() + Send>;

/// A keeper with everything around it, and zones that tests rewrite.
struct House {
    board: Arc<VerdictBoard>,
    published: Arc<Published>,
    targets: tokio::sync::watch::Receiver<TargetSet>,
    sources: Arc<Mutex<Vec<ZoneSource>>>,
    now_s: Arc<AtomicU32>,
    /// Runs once when the next builder has begun, on its thread.
    during_build: Arc<Mutex<Option<Hook>>>,
    keeper: KeeperHandle,
    thread: Option<JoinHandle<()>>,
    findings: Vec<Diagnostic>,
}

impl House {
    fn start(zones: &[(&str, &str)], state: Option<&Path>) -> Self {
        Self::start_with(zones, state, START_S, |_, _| Verdict::Up)
    }

    /// `first` gives the verdicts of the first round by position and address.
    fn start_with(
        zones: &[(&str, &str)],
        state: Option<&Path>,
        now_s: u32,
        first: impl Fn(usize, &str) -> Verdict,
    ) -> Self {
        let board = Arc::new(VerdictBoard::new());
        let hash_key = HashKey::new([7, 9]);
        let published = Published::new(Snapshot::empty(hash_key));
        let (sender, targets) = tokio::sync::watch::channel(TargetSet::default());
        let state = state.map(|path| Arc::new(StateDir::open(path).unwrap()));
        let signed = state.as_ref().map(|state| Arc::new(SignedZones::load(Arc::clone(state)).unwrap().0));
        let sources = Arc::new(Mutex::new(inline(zones)));
        let now_s = Arc::new(AtomicU32::new(now_s));
        let during_build: Arc<Mutex<Option<Hook>>> = Arc::default();
        let tools = Tools {
            workshop: Workshop {
                registry: Arc::new(Mutex::new(TargetRegistry::default())),
                board: Arc::clone(&board),
                hash_key,
                state: state.clone(),
                signed,
                threads: 2,
            },
            published: Arc::clone(&published),
            targets: sender,
            state,
            find_sources: {
                let (sources, hook) = (Arc::clone(&sources), Arc::clone(&during_build));
                Arc::new(move || {
                    let hook = hook.lock().unwrap().take();
                    if let Some(hook) = hook {
                        hook();
                    }
                    Ok((sources.lock().unwrap().clone(), Vec::new()))
                })
            },
            now_s: {
                let now_s = Arc::clone(&now_s);
                Arc::new(move || now_s.load(Ordering::Relaxed))
            },
        };
        let starting = Starting::read(tools, &inline(zones));
        let findings = starting.diagnostics().cloned().collect();
        board.on_change({
            let handle = starting.handle().clone();
            move || handle.verdicts_changed()
        });
        for (i, (id, target)) in targets.borrow().iter().enumerate() {
            board.set(*id, first(i, &target.address.to_string()));
        }
        let (keeper, thread) = starting.serve().unwrap();
        Self {
            board,
            published,
            targets,
            sources,
            now_s,
            during_build,
            keeper,
            thread: Some(thread),
            findings,
        }
    }

    fn image(&self, zone: &str) -> Option<Arc<ZoneImage>> {
        self.published.load().zone(&name(zone)).and_then(|z| z.image.cloned())
    }

    fn serial(&self, zone: &str) -> Serial {
        self.image(zone).unwrap().serial()
    }

    fn owner(&self, owner: &str) -> Option<OwnerRecords> {
        self.image("example.test").unwrap().owner(&name(owner))
    }

    fn addresses(&self, owner: &str) -> Vec<u8> {
        let records = self.owner(owner).unwrap();
        let a = records.rrsets.iter().find(|r| r.rrset.rtype == RrType::A);
        a.map(|r| r.rrset.rdata.iter().map(|rdata| rdata[3]).collect()).unwrap_or_default()
    }

    fn target(&self, address: &str) -> TargetId {
        let targets = self.targets.borrow();
        targets.iter().find(|(_, t)| t.address.to_string() == address).map(|(id, _)| *id).unwrap()
    }

    /// Sets a verdict and waits until the keeper has acted on it.
    fn flip(&self, address: &str, verdict: Verdict) {
        self.board.set(self.target(address), verdict);
        self.settle();
    }

    /// The keeper answers in the order of its messages, after it has drained the board.
    fn settle(&self) {
        self.keeper.zones();
    }

    fn signatures(&self) -> u64 {
        self.keeper.figures().signatures.load(Ordering::Relaxed)
    }

    fn reload(&self, zones: &[(&str, &str)], remove_missing: bool) -> Vec<(String, Change)> {
        *self.sources.lock().unwrap() = inline(zones);
        let summary = self.keeper.reload_and_wait(remove_missing).unwrap();
        summary.zones.iter().map(|z| (z.apex.to_string(), z.change)).collect()
    }

    fn stop(mut self) {
        self.keeper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.keeper.stop();
    }
}

fn inline(zones: &[(&str, &str)]) -> Vec<ZoneSource> {
    zones.iter().map(|(label, text)| ZoneSource::Inline((*label).into(), (*text).to_owned())).collect()
}

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn types(records: &OwnerRecords) -> Vec<RrType> {
    records.rrsets.iter().map(|r| r.rrset.rtype).collect()
}

/// A zone with `www` behind two checked addresses.
fn zone(dnssec: &str, www: &str) -> String {
    format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], {dnssec}
            "records": {{
                "ns1": {{ "A": ["192.0.2.53"] }},
                "www": {{ "A": ["192.0.2.1", "192.0.2.2"], "check": {{ "tcp": 80 }} {www} }}
            }} }}"#
    )
}

#[test]
fn answers_follow_verdicts() {
    let house = House::start(&[("a.json", &zone("", ""))], None);
    assert_eq!(house.findings, []);
    assert_eq!(house.addresses("www.example.test"), [1, 2]);
    let first = house.serial("example.test");
    house.flip("192.0.2.1:80", Verdict::Down);
    assert_eq!(house.addresses("www.example.test"), [2]);
    let second = house.serial("example.test");
    assert!(second.is_after(first));
    house.flip("192.0.2.1:80", Verdict::Up);
    assert_eq!(house.addresses("www.example.test"), [1, 2]);
    assert!(house.serial("example.test").is_after(second), "several changes in one second");
    house.stop();
}

#[test]
fn all_down_keeps_the_serial_where_the_data_stays() {
    let house = House::start(&[("a.json", &zone("", r#", "when_all_down": "all""#))], None);
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.2:80", Verdict::Down);
    assert_eq!(house.addresses("www.example.test"), [1, 2]);
    let serial = house.serial("example.test");
    house.flip("192.0.2.2:80", Verdict::Up);
    assert_eq!(house.addresses("www.example.test"), [2]);
    assert!(house.serial("example.test").is_after(serial));
    house.stop();

    let both = [("a.json", zone("", r#", "when_all_down": "all""#))];
    let house = House::start_with(&[(both[0].0, &both[0].1)], None, START_S, |i, _| {
        if i == 0 { Verdict::Up } else { Verdict::Down }
    });
    let serial = house.serial("example.test");
    // From one up to none up: other records, another serial.
    let up = house.addresses("www.example.test");
    house.flip(&format!("192.0.2.{}:80", up[0]), Verdict::Down);
    assert_ne!(house.serial("example.test"), serial);
    house.stop();
}

#[test]
fn an_owner_without_a_verdict_is_pending_until_it_has_one() {
    let house = House::start_with(&[("a.json", &zone("", ""))], None, START_S, |_, _| Verdict::Unknown);
    let www = house.owner("www.example.test").unwrap();
    assert_eq!((www.pending.as_slice(), types(&www).as_slice()), ([RrType::A].as_slice(), [].as_slice()));
    house.flip("192.0.2.2:80", Verdict::Up);
    assert_eq!(house.addresses("www.example.test"), [2]);
    house.stop();
}

#[test]
fn a_signed_zone_signs_what_changes_and_remembers_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let signed = r#""dnssec": { "keys": "auto" },"#;
    let house =
        House::start(&[("a.json", &zone(signed, r#", "when_all_down": "none""#))], Some(folder.path()));
    assert_eq!(house.findings, []);
    let before = house.signatures();
    house.flip("192.0.2.1:80", Verdict::Down);
    assert_eq!(house.signatures() - before, 2, "the A RRset and the SOA");
    house.flip("192.0.2.1:80", Verdict::Up);
    assert_eq!(house.signatures() - before, 3, "a flap back signs the SOA alone");
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.2:80", Verdict::Down);
    let www = house.owner("www.example.test").unwrap();
    assert_eq!(types(&www), [RrType::NSEC], "the owner keeps its NSEC record");
    assert_eq!(www.withheld, [RrType::A]);
    assert!(!www.rrsets[0].signatures.is_empty());
    house.stop();
}

#[test]
fn a_restart_signs_nothing_and_keeps_the_serial() {
    let folder = tempfile::tempdir().unwrap();
    let text = zone(r#""dnssec": { "keys": "auto" },"#, "");
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    house.flip("192.0.2.1:80", Verdict::Down);
    let serial = house.serial("example.test");
    house.stop();
    let down = |_: usize, address: &str| if address == "192.0.2.1:80" { Verdict::Down } else { Verdict::Up };
    let house = House::start_with(&[("a.json", &text)], Some(folder.path()), START_S + 60, down);
    assert_eq!((house.serial("example.test"), house.signatures()), (serial, 0));
    let sums = house.image("example.test").unwrap();
    house.stop();
    // Other data: a later serial, also with a clock that went back.
    let house =
        House::start_with(&[("a.json", &text)], Some(folder.path()), START_S - 86_400, |_, _| Verdict::Up);
    assert!(house.serial("example.test").is_after(sums.serial()));
    house.stop();
}

#[test]
fn a_crash_never_repeats_a_serial() {
    let folder = tempfile::tempdir().unwrap();
    let text = zone("", "");
    let house = House::start(&[("a.json", &text)], Some(folder.path()));
    house.flip("192.0.2.1:80", Verdict::Down);
    house.flip("192.0.2.1:80", Verdict::Up);
    let serial = house.serial("example.test");
    // What a kill leaves: the files as they are now, without the orderly end.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && entry.file_name() != "lock" {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    house.stop();
    let house = House::start(&[("a.json", &text)], Some(copy.path()));
    assert!(house.serial("example.test").is_after(serial));
    house.stop();
}

#[test]
fn renewals_come_by_themselves_and_only_for_what_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let signed = r#""dnssec": { "keys": "auto", "signature_validity": "14d", "refresh": "4d" },"#;
    let house = House::start(&[("a.json", &zone(signed, ""))], Some(folder.path()));
    let serial = house.serial("example.test");
    let before = house.signatures();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(house.signatures(), before, "nothing is due");
    house.now_s.store(START_S + 13 * 86_400, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(10);
    while house.signatures() == before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    house.settle();
    assert!(house.signatures() > before);
    assert!(house.serial("example.test").is_after(serial));
    house.stop();
}

#[test]
fn reloads_change_what_differs_and_keep_what_is_broken() {
    let (a, b) = (zone("", ""), zone("", "").replace("example.test", "other.test"));
    let house = House::start(&[("a.json", &a), ("b.json", &b)], None);
    let (serial_a, serial_b) = (house.serial("example.test"), house.serial("other.test"));
    let same = |apex: &str| (apex.to_owned(), Change::Unchanged);
    assert_eq!(
        house.reload(&[("a.json", &a), ("b.json", &b)], false),
        [same("example.test."), same("other.test.")]
    );
    assert_eq!((house.serial("example.test"), house.serial("other.test")), (serial_a, serial_b));

    let changed = a.replace("192.0.2.53", "192.0.2.54");
    let outcome = house.reload(&[("a.json", &changed), ("b.json", "{ broken")], false);
    assert!(outcome.contains(&("example.test.".into(), Change::Changed)), "{outcome:?}");
    assert!(outcome.contains(&("other.test.".into(), Change::Kept)), "{outcome:?}");
    assert!(house.serial("example.test").is_after(serial_a));
    assert_eq!(house.serial("other.test"), serial_b);
    assert_eq!(house.addresses("ns1.example.test"), [54]);

    // A vanished file keeps its zone until it is given up by hand.
    assert!(house.reload(&[("a.json", &changed)], false).contains(&("other.test.".into(), Change::Kept)));
    assert!(house.image("other.test").is_some());
    assert!(house.reload(&[("a.json", &changed)], true).contains(&("other.test.".into(), Change::Removed)));
    assert!(house.image("other.test").is_none());
    house.stop();
}

#[test]
fn verdicts_survive_a_reload_and_targets_go_with_their_last_zone() {
    let text = zone("", "");
    let house = House::start(&[("a.json", &text)], None);
    house.flip("192.0.2.1:80", Verdict::Down);
    house.reload(&[("a.json", &text.replace("192.0.2.53", "192.0.2.54"))], false);
    assert_eq!(house.addresses("www.example.test"), [2]);
    assert_eq!(house.targets.borrow().len(), 2);
    house.reload(&[("a.json", &text.replace(r#""192.0.2.1", "#, ""))], false);
    assert_eq!(house.targets.borrow().len(), 1);
    house.stop();
}

#[test]
fn a_signed_zone_never_turns_unsigned_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (signed, bare) = (zone(r#""dnssec": { "keys": "auto" },"#, ""), zone("", ""));
    let house = House::start(&[("a.json", &signed)], Some(folder.path()));
    assert!(house.image("example.test").unwrap().is_signed());
    assert_eq!(house.reload(&[("a.json", &bare)], false), [("example.test.".into(), Change::Kept)]);
    assert!(house.image("example.test").unwrap().is_signed());
    house.stop();
    let house = House::start(&[("a.json", &bare)], Some(folder.path()));
    assert!(house.findings.iter().any(|d| d.is_error() && d.message.contains("was served signed")));
    assert!(house.image("example.test").is_none());
    let off = zone(r#""dnssec": "off","#, "");
    assert_eq!(house.reload(&[("a.json", &off)], false), [("example.test.".into(), Change::Added)]);
    assert!(!house.image("example.test").unwrap().is_signed());
    house.stop();
}

#[test]
fn two_files_cannot_hold_one_zone() {
    let text = zone("", "");
    let house = House::start(&[("a.json", &text), ("b.json", &text)], None);
    assert!(house.findings.iter().any(|d| d.is_error() && d.message.contains("already a zone of a.json")));
    assert!(house.image("example.test").is_some(), "the first file's zone is served");
    house.stop();
}

#[test]
fn alias_zones_are_zones_of_their_own() {
    let text = zone("", "").replace(r#""nameservers""#, r#""alias_zones": ["example.org"], "nameservers""#);
    let house = House::start(&[("a.json", &text)], None);
    let alias = house.image("example.org").unwrap();
    assert_eq!(types(&alias.owner(&name("example.org")).unwrap()), [RrType::NS, RrType::SOA]);
    assert!(alias.owner(&name("www.example.org")).is_some());
    assert_eq!(house.targets.borrow().len(), 2, "the alias shares the probes");
    house.flip("192.0.2.1:80", Verdict::Down);
    let now = house.image("example.org").unwrap();
    assert!(now.serial().is_after(alias.serial()));
    house.stop();
}

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
    for _ in 0..5 {
        house.settle();
    }
    assert_eq!(house.serial("example.test"), serial, "nothing is renewed, so nothing changes");
    house.now_s.store(due_s, Ordering::Relaxed);
    for _ in 0..5 {
        house.settle();
    }
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
