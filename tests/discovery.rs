//! Discovery from end to end: a server, a Traefik API whose routers the test decides, and what is answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::{Client, Via};
use support::hale::{Hale, Setup, hale_run};
use support::traefik::Api;
use support::wire::{QueryBuilder, rtype};

/// How long a change may take: a poll is a second, a removal three of them.
const PATIENCE: Duration = Duration::from_secs(20);

/// A zone with a name of its own, `declared`, and `more` records.
fn zone(more: &str) -> String {
    format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": {{ "keys": "auto" }},
             "records": {{ "ns1": ["192.0.2.53"], "declared": ["192.0.2.1"]{more} }} }}"#
    )
}

/// A source that is polled each second, and leads to this address.
fn source(name: &str, api: &Api, address: &str) -> String {
    format!(
        r#"{{ "name": "{name}", "traefik": {{ "url": "http://{}" }}, "default_targets": "{address}",
             "check": "none", "poll": "1s", "remove_after": "2s" }}"#,
        api.address
    )
}

fn setup(name: &str, api: &Api) -> Setup {
    let config = format!(r#"{{ "sources": [ {} ] }}"#, source("edge", api, "192.0.2.40"));
    Setup::new(name).zone("zone.json", &zone("")).config(&config)
}

fn start(name: &str, api: &Api) -> Hale {
    setup(name, api).start()
}

/// The last octets of the addresses of `name`.
fn addresses(hale: &Hale, name: &str) -> Vec<u8> {
    let query = QueryBuilder::new(&format!("{name}.example.test"), rtype::A);
    let answer = Client::new(hale.address).ask(&query, Via::Udp).unwrap();
    answer.answers(rtype::A).map(|record| record.rdata[3]).collect()
}

/// Waits for something.
#[track_caller]
fn wait_for(hale: &Hale, what: &str, is_there: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < deadline, "waited in vain for {what}: {}", hale.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn until(hale: &Hale, name: &str, want: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while addresses(hale, name) != want {
        assert!(Instant::now() < deadline, "{name} is not {want:?}: {}", hale.output());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn names_come_stay_and_go() {
    let api = Api::start(&["a", "b", "declared"]);
    let hale = start("discovery", &api);
    until(&hale, "a", &[40]);
    until(&hale, "b", &[40]);
    assert_eq!(addresses(&hale, "declared"), [1], "what the zone file declares comes first");
    wait_for(&hale, "readiness", || hale.get("/readyz").0 == 200);
    wait_for(&hale, "its names on disk", || hale.folder().join("state/discovered.json").exists());
    // The API fails, and Hale is killed: nothing changes.
    api.set(None);
    let hale = hale.crash();
    assert_eq!((addresses(&hale, "a"), addresses(&hale, "b")), (vec![40], vec![40]));
    let deadline = Instant::now() + PATIENCE;
    while !hale.operate("sources").contains("failing") {
        assert!(Instant::now() < deadline, "{}", hale.operate("sources"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(addresses(&hale, "a"), [40]);
    assert_eq!(hale.get("/readyz").0, 200, "restored is ready");

    // One router goes, another comes; what was asked for but not served is in the plan.
    api.set(Some(&["a", "c", "declared"]));
    hale.operate("resync edge");
    until(&hale, "c", &[40]);
    until(&hale, "b", &[]);
    let plan = hale.operate("plan");
    let refused = plan.lines().find(|line| line.starts_with("refuse")).unwrap_or_default();
    let wanted = ["declared.example.test.", "edge", "router/declared@docker", "the zone file declares it"];
    assert!(wanted.iter().all(|part| refused.contains(part)), "{plan}");

    // All of them vanish: held, until somebody says that it was meant.
    api.set(Some(&[]));
    let deadline = Instant::now() + PATIENCE;
    while !hale.operate("sources").contains("brake holds the removal of 3 names") {
        assert!(Instant::now() < deadline, "{}", hale.operate("sources"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(addresses(&hale, "a"), [40]);
    hale.operate("brake release edge");
    until(&hale, "a", &[]);
    assert_eq!(addresses(&hale, "declared"), [1]);
    let (_, metrics) = hale.get("/metrics");
    assert!(metrics.contains("hale_source_brake_held_names{source=\"edge\"} 0"), "{metrics}");
}

/// Every answer for a name while it is held up is the same; what else there was otherwise.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Vec<u8>>>,
}

impl Watcher {
    fn start(hale: &Hale, name: &str, wanted: &'static [u8]) -> Watcher {
        let (stop, server) = (Arc::new(AtomicBool::new(false)), hale.address);
        let (over, query) = (Arc::clone(&stop), QueryBuilder::new(&format!("{name}.example.test"), rtype::A));
        let thread = std::thread::spawn(move || {
            let mut others = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let answer = Client::new(server).ask(&query, Via::Udp).unwrap();
                let found: Vec<u8> = answer.answers(rtype::A).map(|record| record.rdata[3]).collect();
                if found != wanted {
                    others.push(found);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            others
        });
        Watcher { stop, thread }
    }

    fn end(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_live_source_survives_reloads() {
    let (api, other) = (Api::start(&["a", "b"]), Api::start(&["c"]));
    let hale = start("discovery-reload", &api);
    until(&hale, "a", &[40]);
    let watcher = Watcher::start(&hale, "a", &[40]);
    let requests = || {
        let sources: serde_json::Value = serde_json::from_str(&hale.get("/api/v1/sources").1).unwrap();
        sources["sources"][0]["requests"].as_u64().unwrap()
    };
    let write = |file: &str, text: &str| std::fs::write(hale.folder().join(file), text).unwrap();
    let before = requests();

    // The zone changes, and then there is another source beside it.
    write("zone.json", &zone(r#", "more": ["192.0.2.2"]"#));
    hale.reload();
    until(&hale, "more", &[2]);
    let edge = || source("edge", &api, "192.0.2.40");
    write(
        "hale.json",
        &format!(r#"{{ "sources": [ {}, {} ] }}"#, edge(), source("late", &other, "192.0.2.41")),
    );
    hale.reload();
    until(&hale, "c", &[41]);
    assert!(requests() >= before, "its counters go on");
    api.set(Some(&["a", "b", "d"]));
    until(&hale, "d", &[40]);
    // It fails while everything is read again: what stands stands, and is reported.
    api.set(None);
    wait_for(&hale, "the failure", || hale.operate("sources").contains("failing"));
    hale.reload();
    write("zone.json", &zone(""));
    hale.reload();
    until(&hale, "more", &[]);
    assert_eq!(addresses(&hale, "b"), [40]);
    assert!(hale.operate("sources").contains("failing"), "{}", hale.operate("sources"));
    api.set(Some(&["a", "b", "d"]));
    wait_for(&hale, "recovery", || !hale.operate("sources").contains("failing"));
    assert_eq!(watcher.end(), <[Vec<u8>; 0]>::default());
    let log = hale.output();
    let of_a = |line: &&str| line.contains("name added") && line.contains("\"a.example.test.\"");
    let added = log.lines().filter(of_a);
    assert_eq!(added.count(), 1, "{log}");

    // Other targets count at once, and a source that is taken out takes its names with it.
    let moved = source("edge", &api, "192.0.2.43");
    write("hale.json", &format!(r#"{{ "sources": [ {moved} ] }}"#));
    hale.reload();
    until(&hale, "a", &[43]);
    until(&hale, "c", &[]);
    assert_eq!(addresses(&hale, "declared"), [1]);
}

#[test]
fn a_backup_brings_discovered_names_back_elsewhere() {
    let api = Api::start(&["a", "b"]);
    let hale = start("discovery-backup", &api);
    until(&hale, "a", &[40]);
    until(&hale, "b", &[40]);
    let file = hale.folder().join("state.tar");
    hale.operate(&format!("state backup {}", file.display()));
    api.set(None);
    let elsewhere = setup("discovery-restore", &api);
    let state = elsewhere.state();
    let done = hale_run(["state", "restore", file.to_str().unwrap(), "--state", state.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    drop(hale);
    let hale = elsewhere.start();
    assert_eq!(
        (addresses(&hale, "a"), addresses(&hale, "b")),
        (vec![40], vec![40]),
        "from the first answer on"
    );
    assert_eq!(hale.get("/readyz").0, 200, "restored is ready");
    wait_for(&hale, "the failure", || hale.operate("sources").contains("failing"));
    assert_eq!(addresses(&hale, "a"), [40]);
    // What went meanwhile goes with the list, like anything else.
    api.set(Some(&["a"]));
    until(&hale, "b", &[]);
    assert_eq!(addresses(&hale, "a"), [40]);
}

/// Forty names on one address that may be probed once a second: the address at its full interval, the names by what that leaves.
#[test]
fn names_that_share_an_address_are_probed_less_often_and_it_is_shown() {
    let names: Vec<&'static str> = (0..40).map(|n| &*Box::leak(format!("n{n}").into_boxed_str())).collect();
    let api = Api::start(&names);
    let config = format!(
        r#"{{ "health": {{ "probes_per_second_per_address": 1 }}, "sources": [ {{ "name": "edge",
             "traefik": {{ "url": "http://{}" }}, "default_targets": "127.0.0.40", "poll": "1s" }} ] }}"#,
        api.address
    );
    let hale = Setup::new("discovery-shared").zone("zone.json", &zone("")).config(&config).start();
    until(&hale, "n39", &[40]);
    let intervals = |kind: &str| -> Vec<u64> {
        let page: serde_json::Value = serde_json::from_str(&hale.get("/api/v1/targets").1).unwrap();
        let targets = page["targets"].as_array().unwrap().iter();
        let of_kind = targets.filter(|target| target["target"].as_str().unwrap().starts_with(kind));
        of_kind.map(|target| target["interval_ms"].as_u64().unwrap()).collect()
    };
    wait_for(&hale, "all targets", || intervals("https 127.0.0.40:443 n").len() == 40);
    assert_eq!(intervals("tcp 127.0.0.40:443"), [10_000], "one for all names, as often as ever");
    // Nine tenths of a probe a second for forty names.
    let named = intervals("https 127.0.0.40:443 n");
    assert!(named.iter().all(|interval| (40_000..60_000).contains(interval)), "{named:?}");
}
