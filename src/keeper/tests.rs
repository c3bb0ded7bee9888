//! The keeper as others use it: zones in JSON, verdicts on the board, snapshots out.

mod aliases;
mod amendments;
mod clocks;
mod conditions;
mod flips;
mod news;
mod overrides;
mod policies;
mod reloads;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::build::{Workshop, ZonePlace, ZoneSource};
use super::channel::{Change, KeeperHandle};
use super::targets::TargetRegistry;
use super::{Starting, TargetSet, Tools};
use crate::model::board::VerdictBoard;
use crate::model::diagnostic::Diagnostic;
use crate::model::events::Events;
use crate::model::hash::HashKey;
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::{TargetId, Verdict};
use crate::snapshot::handle::Published;
use crate::snapshot::image::OwnerRecords;
use crate::snapshot::{Snapshot, ZoneImage};
use crate::state::StateDir;
use crate::state::choices::Choices;
use crate::state::signed::SignedZones;

const START_S: u32 = 1_700_000_000;

type Hook = Box<dyn FnOnce() + Send>;

/// A keeper with everything around it, and zones that tests rewrite.
struct House {
    events: Arc<Events>,
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
        let events: Arc<Events> = Arc::default();
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
                choices: Arc::new(Choices::load(state.clone()).unwrap().0),
                overrides: Arc::default(),
                discovered: Arc::default(),
                resolved: Arc::default(),
                events: Arc::clone(&events),
                signatures: Arc::default(),
                keys_read: Arc::default(),
                threads: 2,
            },
            published: Arc::clone(&published),
            targets: sender,
            aliases: Default::default(),
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
            events,
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
        self.keeper.figures().signatures.made.load(Ordering::Relaxed)
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
    zones.iter().map(|(label, text)| ZonePlace::Inline((*label).into(), (*text).to_owned()).into()).collect()
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
