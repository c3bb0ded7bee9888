//! Queries, reloads, overrides and a browser at once: no query is lost, none is answered wrongly.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::support::client::{read_framed, send_framed};
use super::support::process::free_port;
use super::support::webdriver::{Browser, ENTER};
use super::*;

/// A UDP query that is not answered within this is lost.
const LOST: Duration = Duration::from_secs(5);

/// What those who ask share with those who change.
#[derive(Default)]
pub(super) struct Shared {
    /// Of the zone: served for certain, and at most.
    pub(super) published: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) over: AtomicBool,
    pub(super) queries: AtomicU64,
}

/// Answers that were looked at before, without their number: which version they are of, or that they are right with any. Decoding each
/// would take the test longer than the server.
#[derive(Default)]
struct Known(HashMap<Vec<u8>, Option<u64>>);

impl Known {
    /// Whether this may be the answer to a query that was sent when `published` was served.
    fn judge(&mut self, shared: &Shared, name: &str, answer: &[u8], published: u64) {
        let version = match self.0.get(&answer[2..]) {
            Some(version) => *version,
            None => {
                let version = looked_at(name, &Message::decode(answer).unwrap());
                self.0.insert(answer[2..].to_vec(), version);
                version
            }
        };
        shared.queries.fetch_add(1, Ordering::Relaxed);
        if let Some(got) = version {
            let most = shared.written.load(Ordering::SeqCst);
            assert!((published..=most).contains(&got), "{got} is not of {published}..={most}");
        }
    }
}

/// The version that an answer is of, where it has one; fails where it cannot be right.
fn looked_at(name: &str, answer: &Message) -> Option<u64> {
    assert_eq!(answer.rcode, 0, "{answer:#?}");
    if name.starts_with("gen") {
        return Some(served_version(answer).unwrap());
    }
    let addresses: Vec<u8> = answer.answers(rtype::A).map(|record| record.rdata[3]).collect();
    let may_be = !addresses.is_empty() && addresses.iter().all(|last| matches!(last, 1 | 2));
    assert!(may_be, "{addresses:?}");
    None
}

const NAMES: [&str; 2] = ["gen.example.test", "www.example.test"];

/// Asks by UDP until it is over, `window` queries at once, and waits for the answers to all of them.
pub(super) fn ask_udp(server: SocketAddr, window: usize, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(LOST)).unwrap();
        let mut queries = NAMES.map(|name| QueryBuilder::new(name, rtype::A).build());
        let (mut buffer, mut known) = ([0; 1500], Known::default());
        while !shared.over.load(Ordering::SeqCst) {
            let published = shared.published.load(Ordering::SeqCst);
            for id in 0..window {
                let query = &mut queries[id % NAMES.len()];
                query[..2].copy_from_slice(&(id as u16).to_be_bytes());
                socket.send(query).unwrap();
            }
            let mut waiting: Vec<bool> = vec![true; window];
            for _ in 0..window {
                let length = socket.recv(&mut buffer).unwrap_or_else(|error| {
                    let lost = waiting.iter().filter(|waits| **waits).count();
                    panic!("{lost} queries are lost: {error}")
                });
                let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                assert!(std::mem::take(&mut waiting[id]), "{id} is answered twice");
                known.judge(&shared, NAMES[id % NAMES.len()], &buffer[..length], published);
            }
        }
    })
}

/// Likewise by one TCP connection, which lasts.
pub(super) fn ask_tcp(server: SocketAddr, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = connect(server).unwrap();
        let mut known = Known::default();
        stream.set_read_timeout(Some(LOST)).unwrap();
        for name in NAMES.into_iter().cycle() {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            let published = shared.published.load(Ordering::SeqCst);
            send_framed(&mut stream, &QueryBuilder::new(name, rtype::A).build()).unwrap();
            let answer =
                read_framed(&mut stream).unwrap_or_else(|error| panic!("the connection broke: {error}"));
            known.judge(&shared, name, &answer, published);
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

/// The same in a browser that is logged in and follows what happens: pages of `/ui` one after the other, each of which has to come up, be
/// brought up to date by events, and complain of nothing. Returns how many pages it has seen.
fn browse_by_chromium(browser: Browser, admin: SocketAddr, shared: Arc<Shared>) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        browser.open(&format!("http://{admin}/ui/login"));
        browser.press("secret");
        browser.press(ENTER);
        browser.wait_for("document.body.innerText.includes('Log out')");
        let mut pages = 0;
        while !shared.over.load(Ordering::SeqCst) {
            for (path, heading) in [
                ("/ui/events", "Events"),
                ("/ui", "Overview"),
                ("/ui/overrides", "Overrides"),
                ("/ui/zones", "Zones"),
            ] {
                browser.open(&format!("http://{admin}{path}"));
                browser.wait_for(&format!("document.querySelector('h1').innerText.includes('{heading}')"));
                pages += 1;
                if path == "/ui/events" && !shared.over.load(Ordering::SeqCst) {
                    // Without anybody loading it again.
                    browser.run("window.before = document.querySelector('main').innerText");
                    let deadline = Instant::now() + PATIENCE;
                    while browser.run("return document.querySelector('main').innerText === window.before")
                        == true
                        && !shared.over.load(Ordering::SeqCst)
                    {
                        assert!(Instant::now() < deadline, "the page of events is not brought up to date");
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                let complaints = browser.complaints();
                assert!(complaints.is_empty(), "{path}: {complaints:#?}");
            }
        }
        pages
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

/// So much is asked: a build for debugging and the browser share the machine with everything else.
#[cfg(debug_assertions)]
const CLIENTS: (usize, usize) = (4, 1);
#[cfg(not(debug_assertions))]
const CLIENTS: (usize, usize) = (4, 32);

/// `HALE_RATE=50000` makes it fail where fewer queries were answered in a second.
#[test]
fn no_query_is_lost_or_wrong_during_reloads_and_overrides() {
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = Setup::new("reload-load").by_configuration().zone("zones/zone.json", &zone(1));
    let hale = setup.config(&settings(1, other)).start();
    let shared = Arc::new(Shared::default());
    shared.published.store(1, Ordering::SeqCst);
    shared.written.store(1, Ordering::SeqCst);
    let browser = Browser::start("reload-browser");
    let browsing = browser.map(|browser| browse_by_chromium(browser, hale.admin, Arc::clone(&shared)));
    let begun = (Instant::now(), shared.queries.load(Ordering::SeqCst));
    let (clients, window) = CLIENTS;
    let mut others: Vec<JoinHandle<()>> =
        (0..clients).map(|_| ask_udp(hale.address, window, Arc::clone(&shared))).collect();
    others.push(ask_tcp(hale.address, Arc::clone(&shared)));
    others.push(browse(hale.admin, Arc::clone(&shared)));
    let admin = hale.admin;
    let overriding = std::thread::spawn(move || override_and_clear(admin, 500));
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
    let reloads = begun.0.elapsed();
    overriding.join().unwrap();
    let (took, queries) = (begun.0.elapsed(), shared.queries.load(Ordering::SeqCst) - begun.1);
    shared.over.store(true, Ordering::SeqCst);
    others.into_iter().for_each(|thread| thread.join().unwrap());
    let pages = browsing.map(|thread| thread.join().unwrap());
    let rate = queries as f64 / took.as_secs_f64();
    eprintln!(
        "{queries} queries in {took:.1?}, {rate:.0} a second, during 100 reloads in {reloads:.1?} and 1,000 changes of overrides; {}",
        pages.map_or("no browser".to_owned(), |pages| format!("{pages} pages in a browser"))
    );
    assert!(queries > 1000);
    let least: f64 = std::env::var("HALE_RATE").map_or(0.0, |text| text.parse().unwrap());
    assert!(rate >= least, "{rate:.0} queries a second are fewer than {least}");
    assert!(pages.is_none_or(|pages| pages > 0));
}

/// Sets an override and clears it, so many times.
fn override_and_clear(admin: SocketAddr, times: u32) {
    for _ in 0..times {
        let body = json!({ "subject": "address:192.0.2.1", "word": "down", "for": "1h", "reason": "test" });
        let (code, set) = call(admin, "secret", "POST", "/api/v1/overrides", &body.to_string());
        assert!(matches!(code, 200 | 201), "{code} {set}");
        let set: Value = serde_json::from_str(&set).unwrap();
        let path = format!("/api/v1/overrides/{}", set["override"]["id"]);
        let (code, cleared) = call(admin, "secret", "DELETE", &path, "");
        assert!(matches!(code, 200 | 204), "{code} {cleared}");
    }
}
