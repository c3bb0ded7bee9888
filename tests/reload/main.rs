//! Reading everything again while queries are answered: what changes, what stays, and that no query is lost by it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::{Client, Via, connect, read_framed, send_framed};
use support::hale::{Hale, Setup, hale_run};
use support::process::free_port;
use support::wire::{Message, QueryBuilder, rtype};

const PATIENCE: Duration = Duration::from_secs(20);
/// A UDP query that is not answered within this is lost.
const LOST: Duration = Duration::from_secs(5);

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
    write(&hale, "hale.json", &config(&json!({ "workers": 7, "resolver": { "servers": ["127.0.0.1:1"] } })));
    let (ok, text) = reload(&hale);
    assert!(
        ok && text.contains("workers needs a restart") && text.contains("resolver needs a restart"),
        "{text}"
    );
    assert_eq!(version(hale.address), Some(3));
    let status: Value = serde_json::from_str(&hale.get("/api/v1/status").1).unwrap();
    assert_eq!(
        (&status["reload_problem"], &status["needs_restart"]),
        (&Value::Null, &json!(["workers", "resolver"]))
    );
}

#[test]
fn changed_files_are_read_by_themselves() {
    let hale = start("watch", &json!({ "watch": true }));
    let file = hale.folder().join("zones/zone.json");
    let mut next = 2;
    let mut check = |how: &str, change: &dyn Fn(&str)| {
        change(&zone(next));
        until(&hale, how, || (version(hale.address) == Some(next)).then_some(()));
        next += 1;
    };
    check("a file that is written anew", &|text| std::fs::write(&file, text).unwrap());
    check("another one that is renamed over it", &|text| {
        let new = file.with_extension("swp");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    });
    check("a file written in pieces", &|text| {
        let mut out = std::fs::File::create(&file).unwrap();
        let (first, rest) = text.split_at(text.len() / 2);
        out.write_all(first.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        out.write_all(rest.as_bytes()).unwrap();
    });
    // As the kubelet does: files are links into ..data, which is a link to a folder that is swapped.
    let folder = hale.folder().join("zones");
    let volume = |text: &str, version: &str| {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("zone.json"), text).unwrap();
        std::os::unix::fs::symlink(version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    check("a file that becomes a link", &|text| {
        volume(text, "..1");
        std::os::unix::fs::symlink("..data/zone.json", folder.join("new")).unwrap();
        std::fs::rename(folder.join("new"), &file).unwrap();
    });
    check("a volume that is swapped", &|text| volume(text, "..2"));
    check("a volume that is swapped again", &|text| volume(text, "..3"));
    let log = hale.output();
    assert!(!log.contains("ERROR"), "half a file was read: {log}");
    assert!(log.contains("zone.json\n") || log.contains("changed: "), "{log}");
}

#[test]
fn listeners_come_and_go_and_a_port_in_use_changes_nothing() {
    let hale = start("reload-listen", &json!({ "admin": { "listen": "127.0.0.1:0", "token": "one" } }));
    let (first, second) = (hale.address, SocketAddr::from(([127, 0, 0, 1], free_port())));
    let change = |listen: Value, token: &str| {
        let more = json!({ "listen": listen, "admin": { "listen": "127.0.0.1:0", "token": token } });
        write(&hale, "hale.json", &config(&more));
        reload(&hale)
    };
    let (ok, text) = change(json!(["127.0.0.1:0", second.to_string()]), "one");
    assert!(ok && text.contains(&format!("listen changed: {second} added")), "{text}");
    assert_eq!([version(first), version(second)], [Some(1), Some(1)]);
    assert_eq!(
        Client::new(second).ask(&QueryBuilder::new("example.test", rtype::SOA), Via::Tcp).unwrap().rcode,
        0
    );
    // An address that is taken: all stay, the one that should go among them.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (ok, text) = change(json!(["127.0.0.1:0", taken.local_addr().unwrap().to_string()]), "one");
    assert!(!ok && text.contains("listen NOT changed: cannot listen on"), "{text}");
    assert_eq!([version(first), version(second)], [Some(1), Some(1)]);
    // The wildcard takes over from an address on the same port.
    let wildcard = format!("0.0.0.0:{}", second.port());
    let (ok, text) = change(json!(["127.0.0.1:0", wildcard]), "two");
    assert!(ok && text.contains(&format!("{wildcard} added, {second} removed")), "{text}");
    assert!(text.contains("admin.token changed"), "{text}");
    assert_eq!([version(first), version(second)], [Some(1), Some(1)]);
    assert_eq!(call(hale.admin, "one", "POST", "/api/v1/reload", "").0, 401);
    assert_eq!(call(hale.admin, "two", "POST", "/api/v1/reload", "").0, 200);
    let (ok, text) = change(json!(["127.0.0.1:0"]), "two");
    assert!(ok && text.contains(&format!("listen changed: {wildcard} removed")), "{text}");
    assert_eq!(version(first), Some(1));
    assert_eq!(version(second), None);
    // Nobody holds the port any more.
    until(&hale, "the port", || std::net::TcpListener::bind(second).and(UdpSocket::bind(second)).ok());
}

/// What those who ask share with those who change.
#[derive(Default)]
struct Shared {
    /// Of the zone: served for certain, and at most.
    published: AtomicU64,
    written: AtomicU64,
    over: AtomicBool,
    queries: AtomicU64,
}

impl Shared {
    /// Whether this may be the answer to a query that was sent when `published` was served.
    fn judge(&self, name: &str, answer: &Message, published: u64) {
        assert_eq!(answer.rcode, 0, "{answer:#?}");
        self.queries.fetch_add(1, Ordering::Relaxed);
        if name.starts_with("gen") {
            let (got, most) = (served_version(answer).unwrap(), self.written.load(Ordering::SeqCst));
            assert!((published..=most).contains(&got), "{got} is not of {published}..={most}");
        } else {
            let addresses: Vec<u8> = answer.answers(rtype::A).map(|record| record.rdata[3]).collect();
            assert!(
                !addresses.is_empty() && addresses.iter().all(|last| matches!(last, 1 | 2)),
                "{addresses:?}"
            );
        }
    }
}

const NAMES: [&str; 2] = ["gen.example.test", "www.example.test"];

/// Asks by UDP, one query after the other, until it is over.
fn ask_udp(server: SocketAddr, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(LOST)).unwrap();
        let mut queries = NAMES.map(|name| QueryBuilder::new(name, rtype::A).build());
        let mut buffer = [0; 1500];
        for id in (0..=u16::MAX).cycle() {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            let which = usize::from(id) % NAMES.len();
            queries[which][..2].copy_from_slice(&id.to_be_bytes());
            let published = shared.published.load(Ordering::SeqCst);
            socket.send(&queries[which]).unwrap();
            let length =
                socket.recv(&mut buffer).unwrap_or_else(|error| panic!("query {id} is lost: {error}"));
            assert_eq!(buffer[..2], id.to_be_bytes());
            shared.judge(NAMES[which], &Message::decode(&buffer[..length]).unwrap(), published);
        }
    })
}

/// Likewise by one TCP connection, which lasts.
fn ask_tcp(server: SocketAddr, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = connect(server).unwrap();
        stream.set_read_timeout(Some(LOST)).unwrap();
        for name in NAMES.into_iter().cycle() {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            let published = shared.published.load(Ordering::SeqCst);
            send_framed(&mut stream, &QueryBuilder::new(name, rtype::A).build()).unwrap();
            let answer =
                read_framed(&mut stream).unwrap_or_else(|error| panic!("the connection broke: {error}"));
            shared.judge(name, &Message::decode(&answer).unwrap(), published);
        }
    })
}

/// Reads pages, as a browser does.
fn browse(admin: SocketAddr, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for path in ["/metrics", "/api/v1/status", "/api/v1/zones", "/api/v1/targets"].into_iter().cycle() {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            assert_eq!(call(admin, "secret", "GET", path, "").0, 200, "{path}");
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

/// A configuration that differs from the last one in something else each time.
fn settings(round: u64, other: SocketAddr) -> String {
    let mut more = json!({
        "listen": ["127.0.0.1:0"], "admin": { "listen": "127.0.0.1:0", "token": "secret", "requests_per_second": 100_000 },
        "limits": { "rrl": "off", "tcp": { "connections": 1000 + round / 4 } },
        "health": { "brake": { "min_targets": 10 + round } },
    });
    if round % 3 == 1 {
        more["listen"] = json!(["127.0.0.1:0", other.to_string()]);
    }
    if round % 5 < 2 {
        more["nsid"] = json!(format!("round-{}", round / 5));
    }
    if round % 7 < 3 {
        let source =
            json!({ "name": "edge", "traefik": { "url": format!("http://127.0.0.1:{}", 1 + round % 2) } });
        more["sources"] = json!([source]);
    }
    config(&more)
}

#[test]
fn no_query_is_lost_or_wrong_during_reloads_and_overrides() {
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = Setup::new("reload-load").by_configuration().zone("zones/zone.json", &zone(1));
    let hale = setup.config(&settings(1, other)).start();
    let shared = Arc::new(Shared::default());
    shared.published.store(1, Ordering::SeqCst);
    shared.written.store(1, Ordering::SeqCst);
    let mut others: Vec<JoinHandle<()>> =
        (0..4).map(|_| ask_udp(hale.address, Arc::clone(&shared))).collect();
    others.push(ask_tcp(hale.address, Arc::clone(&shared)));
    others.push(browse(hale.admin, Arc::clone(&shared)));
    let admin = hale.admin;
    let overriding = std::thread::spawn(move || {
        for _ in 0..500 {
            let body =
                json!({ "subject": "address:192.0.2.1", "word": "down", "for": "1h", "reason": "test" });
            let (code, set) = call(admin, "secret", "POST", "/api/v1/overrides", &body.to_string());
            assert!(matches!(code, 200 | 201), "{code} {set}");
            let set: Value = serde_json::from_str(&set).unwrap();
            let path = format!("/api/v1/overrides/{}", set["override"]["id"]);
            let (code, cleared) = call(admin, "secret", "DELETE", &path, "");
            assert!(matches!(code, 200 | 204), "{code} {cleared}");
        }
    });
    let started = Instant::now();
    for round in 2..=101 {
        shared.written.store(round, Ordering::SeqCst);
        write(&hale, "zones/zone.json", &zone(round));
        write(&hale, "hale.json", &settings(round, other));
        let (code, report) = call(hale.admin, "secret", "POST", "/api/v1/reload", "");
        let report: Value = serde_json::from_str(&report).unwrap();
        assert!(code == 200 && report["ok"] == true, "{code} {report}");
        shared.published.store(round, Ordering::SeqCst);
        assert!(others.iter().all(|thread| !thread.is_finished()), "somebody was not answered as he should");
    }
    let reloads = started.elapsed();
    overriding.join().unwrap();
    shared.over.store(true, Ordering::SeqCst);
    others.into_iter().for_each(|thread| thread.join().unwrap());
    let queries = shared.queries.load(Ordering::Relaxed);
    eprintln!("{queries} queries during 100 reloads in {reloads:?} and 1,000 changes of overrides");
    assert!(queries > 1000);
}
