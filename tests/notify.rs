//! Notifications from end to end: a server, something that happens to it, and who is told.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use support::backends::Backends;
use support::hale::Setup;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

/// How long anything may take: probes come five times a second, and messages half a second after the first event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes whatever is posted to it, and answers as receivers do.
struct Receiver {
    address: SocketAddr,
    /// Path and body, in the order in which they came.
    seen: Arc<Mutex<Vec<(String, Json)>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<(String, Json)>>> = Arc::default();
        let shared = Arc::clone(&seen);
        // Ends with the process: it waits in accept.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = take(&stream, &shared);
            }
        });
        Self { address, seen }
    }

    /// What was posted to a path.
    fn at(&self, path: &str) -> Vec<Json> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(of, _)| of == path).map(|(_, body)| body.clone()).collect()
    }

    /// Waits for an event of a kind that says so, told to a webhook.
    fn wait_for(&self, path: &str, kind: &str, says: &str) -> Json {
        let events = || -> Vec<Json> {
            self.at(path).iter().flat_map(|body| body["events"].as_array().unwrap().clone()).collect()
        };
        let is_it = |event: &Json| event["kind"] == kind && event["text"].as_str().unwrap().contains(says);
        let found = wait(|| events().into_iter().find(is_it));
        found.unwrap_or_else(|| panic!("no {kind} saying {says:?} among {:#?}", events()))
    }
}

fn take(mut stream: &TcpStream, seen: &Mutex<Vec<(String, Json)>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    seen.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
}

fn wait<T>(mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = found() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

fn check_of(backends: &Backends, number: usize) -> String {
    format!(
        r#"{{ "http": {{ "port": {}, "path": "/{number}" }}, "interval": "200ms", "timeout": "150ms", "rise": 2, "fall": 2 }}"#,
        backends.address.port()
    )
}

fn zone(records: &str) -> String {
    format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], "records": {{ "ns1": ["192.0.2.53"], {records} }} }}"#
    )
}

#[test]
fn a_backend_dies_and_everybody_is_told_in_his_own_form() {
    let (backends, receiver) = (Backends::start(1), Receiver::start());
    let url = format!("http://{}", receiver.address);
    let zone = zone(
        &format!(r#""*.www": {{ "A": ["127.0.0.1"], "check": {} }}"#, check_of(&backends, 0))
            .replace(r#""path""#, r#""host": "www", "path""#),
    );
    let config = format!(
        r#"{{ "notify": [
            {{ "name": "hook", "window": "500ms", "webhook": {{ "url": "{url}/hook-secret" }} }},
            {{ "name": "own", "window": "500ms", "events": "name-down",
               "webhook": {{ "url": "{url}/own", "body": "{{\"msg\": \"{{{{summary}}}}\", \"n\": {{{{count}}}}}}" }} }},
            {{ "name": "slack", "window": "500ms", "slack": {{ "url": "{url}/slack" }} }},
            {{ "name": "discord", "window": "500ms", "events": ["name-down", "name-recovered"], "discord": {{ "url": "{url}/discord" }} }},
            {{ "name": "elsewhere", "window": "0s", "zones": "other.test", "webhook": {{ "url": "{url}/elsewhere" }} }},
            {{ "name": "late", "window": "1h", "webhook": {{ "url": "{url}/late" }} }} ] }}"#
    );
    let mut hale = Setup::new("notify-forms").zone("zone.json", &zone).config(&config).start();
    backends.set(0, false);
    let flip = receiver.wait_for("/hook-secret", "target-flip", "is down, was up: status 503");
    assert_eq!(flip["names"][0], "*.www.example.test.");
    receiver.wait_for(
        "/hook-secret",
        "name-down",
        "nothing of *.www.example.test. is up: all of it is answered",
    );
    let body = &receiver.at("/hook-secret")[0];
    assert_eq!(
        (&body["count"], &body["severity"], &body["receiver"]),
        (&2.into(), &"trouble".into(), &"hook".into())
    );
    let first = |path: &str| wait(|| receiver.at(path).first().cloned()).unwrap();
    assert_eq!(first("/own")["n"], 1);
    assert!(first("/own")["msg"].as_str().unwrap().contains(": nothing of *.www.example.test. is up"));
    let slack = first("/slack")["text"].as_str().unwrap().to_owned();
    assert!(
        slack.contains(": 2 events (1 target-flip, 1 name-down)\n- nothing of *.www.example.test. is up"),
        "{slack}"
    );
    let discord = first("/discord");
    assert!(
        discord["content"].as_str().unwrap().contains("nothing of \\*.www.example.test. is up"),
        "{discord}"
    );
    assert_eq!(discord["allowed_mentions"]["parse"], Json::Array(Vec::new()));

    backends.set(0, true);
    receiver.wait_for("/hook-secret", "target-flip", "is up, was down: 2 probes in a row succeeded");
    receiver.wait_for("/hook-secret", "name-recovered", "*.www.example.test. is up again");
    let sent = r#"hale_notifications_total{receiver="hook",outcome="sent"} 2"#;
    assert!(
        wait(|| hale.get("/metrics").1.contains(sent).then_some(())).is_some(),
        "{}",
        hale.get("/metrics").1
    );

    // Another URL counts with the next reload, which does not show it.
    std::fs::write(hale.folder().join("hale.json"), config.replace("/hook-secret", "/hook-hidden")).unwrap();
    let said = hale.operate("reload");
    assert!(said.contains("notify changed: hook changed") && !said.contains("hidden"), "{said}");
    backends.set(0, false);
    receiver.wait_for("/hook-hidden", "name-down", "*.www.example.test.");

    assert!(receiver.at("/late").is_empty() && receiver.at("/elsewhere").is_empty());
    assert!(hale.terminate().is_some_and(|status| status.success()));
    assert_eq!(receiver.at("/late").len(), 1, "what waited is sent at the stop");
    receiver.wait_for("/late", "name-recovered", "*.www");
    assert!(receiver.at("/elsewhere").is_empty());
    let log = hale.output();
    assert!(!log.contains("hook-secret") && !log.contains("hook-hidden"), "{log}");
}

/// A Traefik API without routers, or one that fails.
fn traefik(works: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            let path = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let (status, body) = match works.load(Ordering::Relaxed) {
                false => ("500 Internal Server Error", ""),
                true if path.contains("/api/version") => ("200 OK", r#"{ "Version": "3.5.0" }"#),
                true => ("200 OK", "[]"),
            };
            let head = "Content-Type: application/json\r\nX-Next-Page: 1\r\nConnection: close";
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    address
}

/// A TLS server whose certificate expires in so many days.
fn tls_server(days: u64) -> SocketAddr {
    let at_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + days * 86_400;
    let date = hale::model::clock::utc(at_s);
    let part = |range: std::ops::Range<usize>| date[range].parse::<u8>().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["secure.example.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(date[..4].parse().unwrap(), part(5..7), part(8..10));
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let _ = stream.read(&mut [0; 64]);
        }
    });
    address
}

#[test]
fn brakes_sources_certificates_and_what_is_wrong_from_the_start_on_are_told() {
    let (backends, receiver, works) =
        (Backends::start(6), Receiver::start(), Arc::new(AtomicBool::new(true)));
    let (traefik, tls) = (traefik(Arc::clone(&works)), tls_server(3));
    let mut records = format!(
        r#""dead": {{ "A": ["127.0.0.1"], "check": {{ "tcp": 1, "interval": "1s", "timeout": "500ms" }} }},
           "secure": {{ "A": ["127.0.0.1"], "check": {{ "tls": {{ "port": {}, "verify": false }}, "interval": "1s", "timeout": "500ms" }} }}"#,
        tls.port()
    );
    for number in 0..6 {
        records +=
            &format!(r#", "n{number}": {{ "A": ["127.0.0.1"], "check": {} }}"#, check_of(&backends, number));
    }
    let keyless = r#"{ "zone": "signed.test", "nameservers": ["ns1.example.test"], "dnssec": { "keys": "no-keys" }, "records": {} }"#;
    let config = format!(
        r#"{{ "health": {{ "brake": {{ "down_percent": 50, "min_targets": 4 }} }},
             "sources": [ {{ "name": "edge", "traefik": {{ "url": "http://{traefik}" }}, "default_targets": "192.0.2.40", "poll": "1s", "stale_after": "1s" }} ],
             "notify": [ {{ "name": "hook", "window": "200ms", "webhook": {{ "url": "http://{}/" }} }} ] }}"#,
        receiver.address
    );
    let setup = Setup::new("notify-kinds").zone("zone.json", &zone(&records)).zone("signed.json", keyless);
    let _hale = setup.config(&config).start();
    let dead = receiver.wait_for("/", "name-down", "nothing of dead.example.test. is up");
    assert_eq!(
        (&dead["zones"][0], &dead["names"][0]),
        (&"example.test.".into(), &"dead.example.test.".into())
    );
    receiver.wait_for("/", "reload-failed", "its zones are answered SERVFAIL");
    let certificate = receiver.wait_for("/", "certificate-expiring", "expires in");
    assert!(certificate["target"].as_str().unwrap().starts_with("tls "), "{certificate}");

    works.store(false, Ordering::Relaxed);
    receiver.wait_for("/", "source-failed", "source edge: the source fails");
    receiver.wait_for("/", "source-stale", "source edge has failed for");
    works.store(true, Ordering::Relaxed);
    receiver.wait_for("/", "source-recovered", "source edge: the source works again");

    (0..6).for_each(|number| backends.set(number, false));
    receiver.wait_for("/", "brake-held", "targets fail together");
    (0..6).for_each(|number| backends.set(number, true));
    receiver.wait_for("/", "brake-released", "health brake released");
}
