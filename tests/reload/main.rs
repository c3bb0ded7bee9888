//! Reading everything again while queries are answered: what changes, what stays, and that no query is lost by it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod lines;
mod listen;
mod load;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::{Client, Via, connect};
use support::hale::{Hale, Setup, hale_run};
use support::wire::{Message, QueryBuilder, rtype};

const PATIENCE: Duration = Duration::from_secs(30);

/// `gen` is the number of the version; `www` is checked by a verdict that nobody pushes.
fn zone(version: u64) -> String {
    let endpoint = |last: u8| json!({ "address": format!("192.0.2.{last}"), "check": { "external": { "id": "www", "ttl": "1h" } } });
    let zone = json!({
        "zone": "example.test", "nameservers": ["ns1.example.test"],
        "records": {
            "ns1": { "A": ["192.0.2.53"] },
            "gen": { "ttl": 1, "A": [format!("10.{}.{}.{}", version >> 16, version >> 8 & 255, version & 255)] },
            "www": { "ttl": 1, "startup": "optimistic", "A": [endpoint(1), endpoint(2)] }
        }
    });
    zone.to_string()
}

fn served_version(answer: &Message) -> Option<u64> {
    let [_, a, b, c] = <[u8; 4]>::try_from(&*answer.answers(rtype::A).next()?.rdata).ok()?;
    Some(u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c))
}

/// The version that is served.
fn version(server: SocketAddr) -> Option<u64> {
    let query = QueryBuilder::new("gen.example.test", rtype::A);
    served_version(&Client::new(server).ask(&query, Via::Udp).ok()?)
}

fn until<T>(hale: &Hale, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}: {}", hale.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One HTTP request with a token: status code and body.
fn call(admin: SocketAddr, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = connect(admin).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// `hale reload` against the server's socket: whether it succeeded, and what it printed.
fn reload(hale: &Hale) -> (bool, String) {
    let socket = format!("unix:{}/state/hale.sock", hale.folder().display());
    let done = hale_run(["reload", "--server", &socket]);
    (done.status.success(), done.stdout + &done.stderr)
}

/// The server's configuration, with more keys.
fn config(more: &Value) -> String {
    let mut config =
        json!({ "zones": ["zones/*.json"], "listen": ["127.0.0.1:0"], "admin": { "listen": "127.0.0.1:0" } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config.to_string()
}

fn start(name: &str, more: &Value) -> Hale {
    let setup = Setup::new(name).by_configuration().zone("zones/zone.json", &zone(1));
    setup.config(&config(more)).start()
}

fn write(hale: &Hale, name: &str, content: &str) {
    std::fs::write(hale.folder().join(name), content).unwrap();
}

#[test]
fn a_reload_tells_what_changes_and_keeps_what_is_broken() {
    let hale = start("reload-told", &json!({}));
    write(&hale, "zones/zone.json", &zone(2));
    write(
        &hale,
        "zones/other.json",
        r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "b": ["192.0.2.8"] } }"#,
    );
    let (ok, text) = reload(&hale);
    assert!(ok, "{text}");
    for part in [
        "example.test. changed, serial ",
        ", names ~1, records +1 -1\n  - gen.example.test. 1 A 10.0.0.1\n  + gen.example.test. 1 A 10.0.0.2\n",
        "other.test. added",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // The log has the same as fields, a line for each record.
    let line = until(&hale, "the line of the record", || {
        let lines = hale.output();
        lines
            .lines()
            .find(|line| line.contains("record added") && line.contains("10.0.0.2"))
            .map(str::to_owned)
    });
    for field in [
        "hostname=gen.example.test.",
        "zone=example.test.",
        "namespace=",
        "source=\"file\"",
        "type=A",
        "why=\"reload\"",
    ] {
        let plain = field.replace('"', "");
        assert!(line.contains(field) || line.contains(&plain), "{field} is not in {line}");
    }
    assert!(line.contains("zones/zone.json"), "{line}");
    // Of two files one is broken: the other one counts.
    write(&hale, "zones/zone.json", "{ \"zone\": \"example.test\", ");
    write(
        &hale,
        "zones/other.json",
        r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "b": ["192.0.2.8"], "a": ["192.0.2.9"] } }"#,
    );
    let (ok, text) = reload(&hale);
    assert!(!ok && text.contains("example.test. kept") && text.contains("other.test. changed"), "{text}");
    assert!(text.contains("  + a.other.test. 300 A 192.0.2.9\n"), "{text}");
    assert_eq!(version(hale.address), Some(2));
    let status: Value = serde_json::from_str(&hale.get("/api/v1/status").1).unwrap();
    assert!(status["reload_problem"].as_str().is_some_and(|p| p.contains("zone.json")), "{status}");
    let (code, ready) = hale.get("/readyz");
    assert!(code == 200 && ready.contains("\"name\":\"reload\"") && ready.contains("zone.json"), "{ready}");
    assert!(hale.get("/metrics").1.contains("hale_reloads_total{outcome=\"bad\"} 1"));
    // And hale.json itself.
    write(&hale, "zones/zone.json", &zone(3));
    write(&hale, "hale.json", "{ \"listen\": 53 }");
    let (ok, text) = reload(&hale);
    assert!(!ok && text.contains("hale.json:1:"), "{text}");
    assert_eq!(version(hale.address), Some(2), "nothing of what stands beside a broken hale.json counts");
    write(&hale, "hale.json", &config(&json!({ "workers": 7, "strict": true })));
    let (ok, text) = reload(&hale);
    assert!(
        ok && text.contains("workers needs a restart") && text.contains("strict needs a restart"),
        "{text}"
    );
    assert_eq!(version(hale.address), Some(3));
    let status: Value = serde_json::from_str(&hale.get("/api/v1/status").1).unwrap();
    assert_eq!(
        (&status["reload_problem"], &status["needs_restart"]),
        (&Value::Null, &json!(["workers", "strict"]))
    );
}
