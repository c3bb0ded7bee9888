//! What an operator does to a running server and sees of it: overrides.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::backends::Backends;
use support::client::{Client, Via};
use support::hale::{Hale, Setup};
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

#[test]
fn a_persons_word_outlives_a_crash_and_ends_when_it_should() {
    let backends = Backends::start(2);
    let hale = setup("override", &backends).start();
    until_served(&hale, &[1, 2]);
    let set = "override set address:192.0.2.1 down --zone example.test --for forever --reason disk";
    assert!(hale.operate(set).contains("it is about 1 checked name\n"));
    assert_eq!(served(&hale), [2], "answers follow when the command returns");
    // The process is killed right after the acknowledgement.
    let hale = hale.crash();
    assert_eq!(served(&hale), [2], "from the first answer on");
    let list = hale.operate("override list");
    assert!(list.contains("1   address:192.0.2.1  example.test.  down  forever"), "{list}");
    assert!(hale.operate("status").contains("overrides  1 in force"));
    let zone = hale.operate("zone show example.test");
    assert!(zone.contains("www.example.test. 192.0.2.1 is down: override 1"), "{zone}");
    let targets = hale.get("/api/v1/targets").1;
    assert!(targets.contains(r#""overrides":[1]"#), "{targets}");
    assert!(hale.get("/metrics").1.contains("hale_overrides{word=\"down\"} 1"));
    // A newer one of the same subject takes its place, and ends by itself.
    hale.operate(&set.replace("down", "drain").replace("forever", "2s"));
    assert_eq!(served(&hale), [2]);
    backends.set(1, false);
    until_served(&hale, &[1]);
    backends.set(1, true);
    until_served(&hale, &[2]);
    until_served(&hale, &[1, 2]);
    assert_eq!(hale.operate("override list"), "no overrides\n");
    let log = hale.output();
    for line in ["override set id=2", "override expired id=2"] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
}

#[test]
fn a_damaged_file_of_overrides_is_reported_and_its_copy_counts() {
    let backends = Backends::start(2);
    let hale = setup("override-damage", &backends).start();
    hale.operate("override set name:*.example.test down --for 1h --reason audit");
    hale.operate("override set address:192.0.2.2 up --for 1h --reason audit");
    hale.operate("override clear 1");
    hale.operate("override set address:192.0.2.1 down --for 1h --reason audit");
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

/// `hale top` in a terminal of its own: what it has drawn so far, by util-linux's `script`.
struct Top {
    process: std::process::Child,
    drawn: mpsc::Receiver<Vec<u8>>,
    screen: String,
}

impl Top {
    fn start(hale: &Hale) -> Self {
        let command = format!(
            "stty rows 24 cols 80; exec {} top --server unix:{}/state/hale.sock",
            support::hale::PROGRAM,
            hale.folder().display()
        );
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
            .env("NO_COLOR", "1")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = process.stdout.take().unwrap();
        let (sender, drawn) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { process, drawn, screen: String::new() }
    }

    /// Waits until this has been drawn since the last call. Only what changes is drawn, so `text` should be one word.
    fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.screen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let octets =
                self.drawn.recv_timeout(left).unwrap_or_else(|e| panic!("{text:?}: {e}: {}", self.screen));
            self.screen += &String::from_utf8_lossy(&octets);
        }
        self.screen.clear();
    }

    fn press(&mut self, keys: &str) {
        self.process.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn top_follows_a_server_in_a_terminal() {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: script not found");
        return;
    }
    let backends = Backends::start(2);
    let hale = setup("top", &backends).start();
    until_served(&hale, &[1, 2]);
    let mut top = Top::start(&hale);
    top.shows("queries/s");
    backends.set(1, false);
    top.shows("503");
    top.press("?");
    top.shows("Ctrl-C");
    top.press("?");
    let hale = hale.crash();
    top.press("s");
    top.shows("latest");
    // A new process: figures between the two mean nothing, and it goes on by itself.
    until_served(&hale, &[1]);
    backends.set(1, true);
    top.shows("up");
    drop(hale);
    top.shows("trying");
    top.press("q");
    assert!(top.process.wait().unwrap().success());
}
