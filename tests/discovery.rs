//! Discovery from end to end: a server, a Traefik API whose routers the test decides, and what is answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::traefik::Api;
use support::wire::{QueryBuilder, rtype};

/// How long a change may take: a poll is a second, a removal three of them.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(name: &str, api: &Api) -> Hale {
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": { "keys": "auto" },
        "records": { "ns1": ["192.0.2.53"], "declared": ["192.0.2.1"] } }"#;
    let config = format!(
        r#"{{ "sources": [ {{ "name": "edge", "traefik": {{ "url": "http://{}" }}, "default_targets": "192.0.2.40",
             "check": "none", "poll": "1s", "remove_after": "2s" }} ] }}"#,
        api.address
    );
    Setup::new(name).zone("zone.json", zone).config(&config).start()
}

/// The last octets of the addresses of `name`.
fn addresses(hale: &Hale, name: &str) -> Vec<u8> {
    let query = QueryBuilder::new(&format!("{name}.example.test"), rtype::A);
    let answer = Client::new(hale.address).ask(&query, Via::Udp).unwrap();
    answer.answers(rtype::A).map(|record| record.rdata[3]).collect()
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
    let deadline = Instant::now() + PATIENCE;
    while hale.get("/readyz").0 != 200 {
        assert!(Instant::now() < deadline, "never ready: {}", hale.output());
        std::thread::sleep(Duration::from_millis(20));
    }

    let saved = hale.folder().join("state/discovered.json");
    let deadline = Instant::now() + PATIENCE;
    while !saved.exists() {
        assert!(Instant::now() < deadline, "nothing is saved: {}", hale.output());
        std::thread::sleep(Duration::from_millis(20));
    }
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
