//! What an operator does to a running server and sees of it: overrides.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::backends::Backends;
use support::client::{Client, Via};
use support::hale::{Hale, Setup, hale_run};
use support::wire::{QueryBuilder, rtype};

/// `www` behind two backends, signed.
fn setup(name: &str, backends: &Backends) -> Setup {
    let port = backends.address.port();
    let endpoint = |octet: u8, number: u8| {
        format!(
            r#"{{ "address": "192.0.2.{octet}", "probe": "127.0.0.1:{port}", "check": {{ "http": {{ "path": "/{number}" }}, "interval": "100ms", "rise": 1, "fall": 1 }} }}"#
        )
    };
    let json = format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": {{ "keys": "auto" }},
             "records": {{ "ns1": {{ "A": ["192.0.2.53"] }}, "www": {{ "A": [{}, {}] }} }} }}"#,
        endpoint(1, 0),
        endpoint(2, 1),
    );
    Setup::new(name).zone("zone.json", &json)
}

fn served(hale: &Hale) -> Vec<u8> {
    let answer =
        Client::new(hale.address).ask(&QueryBuilder::new("www.example.test", rtype::A), Via::Udp).unwrap();
    let mut last: Vec<u8> = answer.answers(rtype::A).map(|record| record.rdata[3]).collect();
    last.sort_unstable();
    last
}

fn until_served(hale: &Hale, want: &[u8]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while served(hale) != want {
        assert!(Instant::now() < deadline, "{:?} and not {want:?}: {}", served(hale), hale.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `hale` against the server's socket; its output.
fn operate(hale: &Hale, line: &str) -> String {
    let socket = format!("unix:{}/state/hale.sock", hale.folder().display());
    let done = hale_run(line.split(' ').chain(["--server", &socket]));
    assert!(done.status.success(), "hale {line}: {done:?}");
    done.stdout
}

#[test]
fn a_persons_word_outlives_a_crash_and_ends_when_it_should() {
    let backends = Backends::start(2);
    let hale = setup("override", &backends).start();
    until_served(&hale, &[1, 2]);
    let set = "override set address:192.0.2.1 down --zone example.test --for forever --reason disk";
    assert!(operate(&hale, set).contains("it is about 1 checked name\n"));
    assert_eq!(served(&hale), [2], "answers follow when the command returns");
    // The process is killed right after the acknowledgement.
    let hale = hale.crash();
    assert_eq!(served(&hale), [2], "from the first answer on");
    let list = operate(&hale, "override list");
    assert!(list.contains("1   address:192.0.2.1  example.test.  down  forever"), "{list}");
    assert!(operate(&hale, "status").contains("overrides  1 in force"));
    let zone = operate(&hale, "zone show example.test");
    assert!(zone.contains("www.example.test. 192.0.2.1 is down: override 1"), "{zone}");
    let targets = hale.get("/api/v1/targets").1;
    assert!(targets.contains(r#""overrides":[1]"#), "{targets}");
    assert!(hale.get("/metrics").1.contains("hale_overrides{word=\"down\"} 1"));
    // A newer one of the same subject takes its place, and ends by itself.
    operate(&hale, &set.replace("down", "drain").replace("forever", "2s"));
    assert_eq!(served(&hale), [2]);
    backends.set(1, false);
    until_served(&hale, &[1]);
    backends.set(1, true);
    until_served(&hale, &[2]);
    until_served(&hale, &[1, 2]);
    assert_eq!(operate(&hale, "override list"), "no overrides\n");
    let log = hale.output();
    for line in ["override set id=2", "override expired id=2"] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
}

#[test]
fn a_damaged_file_of_overrides_is_reported_and_its_copy_counts() {
    let backends = Backends::start(2);
    let hale = setup("override-damage", &backends).start();
    operate(&hale, "override set name:*.example.test down --for 1h --reason audit");
    operate(&hale, "override set address:192.0.2.2 up --for 1h --reason audit");
    operate(&hale, "override clear 1");
    operate(&hale, "override set address:192.0.2.1 down --for 1h --reason audit");
    assert_eq!(served(&hale), [2]);
    let file = hale.folder().join("state/overrides.json");
    std::fs::write(&file, "[]").unwrap();
    let hale = hale.crash();
    assert_eq!(served(&hale), [2]);
    assert!(hale.output().contains("overrides.json: has no header; set aside as"), "{}", hale.output());
}

#[test]
fn a_targets_history_outlives_a_restart() {
    let backends = Backends::start(2);
    let hale = setup("history", &backends).start();
    until_served(&hale, &[1, 2]);
    backends.set(0, false);
    until_served(&hale, &[2]);
    backends.set(0, true);
    until_served(&hale, &[1, 2]);
    let history = |hale: &Hale| {
        let targets: serde_json::Value = serde_json::from_str(&hale.get("/api/v1/targets").1).unwrap();
        let target = targets["targets"].as_array().unwrap().iter();
        let target = target.clone().find(|t| t["target"].as_str().unwrap().ends_with("/0")).unwrap();
        let page = hale.get(&format!("/api/v1/targets/{}/history", target["id"])).1;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        assert_eq!((page["target"].clone(), target["share"].clone()), (target["target"].clone(), 100.into()));
        let mut steps = Vec::new();
        for step in page["history"].as_array().unwrap() {
            let word = |key: &str| step[key].as_str().unwrap().to_owned();
            steps.push(format!("{} to {}: {}", word("from"), word("to"), word("reason")));
        }
        (steps, target["flips"].as_u64().unwrap())
    };
    let want = ["unknown to up: probes succeed", "up to down: status 503", "down to up: probes succeed"];
    assert_eq!(history(&hale), (want.map(str::to_owned).to_vec(), 3));
    let hale = hale.restart();
    assert_eq!(history(&hale), (want.map(str::to_owned).to_vec(), 3), "and a remembered verdict is no event");
}
