//! The lines of the log about records: one for each, with the fields that machines read.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::backends::Backends;
use super::*;

/// A Traefik API with one router, once it is told to have it.
fn traefik(has_router: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |mut stream: TcpStream| -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut lines = BufReader::new(&stream).lines();
        let path = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let router = r#"[{ "name": "found@docker", "provider": "docker", "rule": "Host(`found.example.test`)",
            "status": "enabled", "entryPoints": ["web"], "service": "found" }]"#;
        let body = match path {
            path if path.contains("/api/version") => r#"{ "Version": "3.5.0" }"#,
            path if path.contains("/api/http/routers") && has_router.load(Ordering::SeqCst) => router,
            _ => "[]",
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Next-Page: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // Ends with the process: it waits in accept.
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
    address
}

/// `www` behind a backend and another that is always up, `ali` with the addresses of `host`.
fn zone_of(backends: &Backends, host: &str) -> String {
    let endpoint = |last: u8, number: u8| {
        json!({
            "address": format!("192.0.2.{last}"), "probe": backends.address.to_string(),
            "check": { "http": { "path": format!("/{number}") }, "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1 }
        })
    };
    let zone = json!({
        "zone": "example.test", "nameservers": ["ns1.example.test"],
        "records": {
            "ns1": { "A": ["192.0.2.53"] },
            "www": { "A": [endpoint(1, 0), endpoint(2, 1)] },
            "host": { "ttl": 1, "A": [host] },
            "ali": { "ALIAS": "host.example.test." }
        }
    });
    zone.to_string()
}

/// The line about a record, read.
fn line(hale: &Hale, message: &str, hostname: &str, data: &str, why: &str) -> Value {
    until(hale, &format!("{message} {hostname} {data} {why}"), || {
        hale.output().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| {
            line["message"] == message
                && line["hostname"] == hostname
                && line["data"] == data
                && line["why"] == why
        })
    })
}

#[test]
fn each_change_of_a_record_is_a_line_with_fields() {
    let (backends, has_router) = (Backends::start(2), Arc::new(AtomicBool::new(false)));
    let source = json!({
        "name": "edge", "traefik": { "url": format!("http://{}", traefik(Arc::clone(&has_router))) },
        "default_targets": ["192.0.2.40"], "check": "none", "poll": "1s"
    });
    let setup =
        Setup::new("lines").by_configuration().zone("zones/zone.json", &zone_of(&backends, "192.0.2.10"));
    let hale = setup.config(&config(&json!({ "log_format": "json", "sources": [source] }))).start();
    let file = |line: &Value| {
        assert_eq!((&line["source"], &line["namespace"]), (&json!("file"), &json!("")), "{line}");
        assert!(line["resource"].as_str().unwrap().ends_with("zones/zone.json"), "{line}");
    };
    let common = |line: &Value| {
        assert_eq!(
            (&line["zone"], &line["type"], &line["level"]),
            (&json!("example.test."), &json!("A"), &json!("INFO")),
            "{line}"
        );
        assert!(line["ttl"].is_number() && line["timestamp"].is_string(), "{line}");
    };
    // A reload, and what follows from it for a name that has those addresses.
    until(&hale, "the alias", || {
        let query = QueryBuilder::new("ali.example.test", rtype::A);
        let answer = Client::new(hale.address).ask(&query, Via::Udp).unwrap();
        (answer.answers(rtype::A).count() == 1).then_some(())
    });
    write(&hale, "zones/zone.json", &zone_of(&backends, "192.0.2.11"));
    assert!(reload(&hale).0);
    for (message, data) in [("record removed", "192.0.2.10"), ("record added", "192.0.2.11")] {
        let told = line(&hale, message, "host.example.test.", data, "reload");
        common(&told);
        file(&told);
        let told = line(&hale, message, "ali.example.test.", data, "alias");
        common(&told);
        file(&told);
    }
    // A verdict, both ways.
    backends.set(0, false);
    let told = line(&hale, "record removed", "www.example.test.", "192.0.2.1", "health");
    common(&told);
    file(&told);
    backends.set(0, true);
    let told = line(&hale, "record added", "www.example.test.", "192.0.2.1", "health");
    common(&told);
    file(&told);
    // A person's word.
    hale.operate("override set address:192.0.2.2 down --for 1h --reason test");
    let told = line(&hale, "record removed", "www.example.test.", "192.0.2.2", "override");
    common(&told);
    file(&told);
    // A source.
    has_router.store(true, Ordering::SeqCst);
    let told = line(&hale, "record added", "found.example.test.", "192.0.2.40", "discovery");
    common(&told);
    assert_eq!(
        (&told["source"], &told["resource"], &told["namespace"]),
        (&json!("edge"), &json!("router/found@docker"), &json!("docker")),
        "{told}"
    );
}
