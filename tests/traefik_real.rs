//! The rule table and the driver beside the real Traefik, which `TRAEFIK_BIN` names. Without it each test says that it is skipped.
//!
//! What is expected of a rule was written by hand, and a parser's author is a poor judge of it. So each rule is given to Traefik: what we
//! publish must reach the route, its neighbours must get Traefik's own 404, and what we refuse must be disabled.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::config::{Pattern, RemoveBrake, SourceConfig, SourceKind, SourceMode, SyncMode, TraefikConfig};
use hale::discovery::rule::{Grammar, Routers};
use hale::discovery::source::{Order, Orders, Report, Reporter, Seen};
use serde::Deserialize;
use serde_json::{Value, json};
use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::process::{Running, TempDir, free_port, loopback};
use support::wire::{QueryBuilder, rtype};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, crypto};

/// Entry points, each of which is given one router at a time.
const ENTRY_POINTS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(30);
/// Where CI finds what the real program said.
const RECORDED: &str = "tests/fixtures/traefik/recorded.json";

/// A running Traefik with a file provider.
struct Real {
    running: Running,
    folder: TempDir,
    api: SocketAddr,
    entry_points: Vec<u16>,
}

impl Real {
    /// Starts one; nothing without `TRAEFIK_BIN`.
    fn start(name: &str, entry_points: &[&str]) -> Option<Self> {
        let Some(program) = std::env::var_os("TRAEFIK_BIN") else {
            eprintln!("skipped: TRAEFIK_BIN names no Traefik");
            return None;
        };
        let folder = TempDir::new(name);
        let (api, ports) = (free_port(), entry_points.iter().map(|_| free_port()).collect::<Vec<_>>());
        let mut options = format!(
            "global:\n  checkNewVersion: false\n  sendAnonymousUsage: false\napi:\n  insecure: true\nping: {{}}\n\
             providers:\n  providersThrottleDuration: 50ms\n  file:\n    filename: {}\n\
             entryPoints:\n  traefik:\n    address: 127.0.0.1:{api}\n",
            folder.path().join("dynamic.yml").display()
        );
        for (name, port) in entry_points.iter().zip(&ports) {
            options += &format!("  {name}:\n    address: 127.0.0.1:{port}\n");
            if *name == "websecure" {
                options += "    http:\n      tls: {}\n";
            }
        }
        folder.write("static.yml", &options);
        folder.write("dynamic.yml", "{}");
        let running = Self::run(Path::new(&program), &folder);
        let mut real = Self { running, folder, api: loopback(api), entry_points: ports };
        real.wait_until_up();
        Some(real)
    }

    fn run(program: &Path, folder: &TempDir) -> Running {
        let mut command = Command::new(program);
        command.arg(format!("--configFile={}", folder.path().join("static.yml").display()));
        Running::start(command, folder.path(), "traefik")
    }

    fn wait_until_up(&mut self) {
        let api = self.api;
        self.running.wait_for(PATIENCE, |_| (get(api, "/api/version").ok()?.0 == 200).then_some(())).unwrap();
    }

    /// Ends it without a word.
    fn kill(&mut self) {
        self.running.signal("KILL");
        self.running.wait(PATIENCE).unwrap();
    }

    /// Ends it without a word, and starts it again.
    fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    fn start_again(&mut self) {
        let program = std::env::var_os("TRAEFIK_BIN").unwrap();
        self.running = Self::run(Path::new(&program), &self.folder);
        self.wait_until_up();
    }

    /// Replaces the dynamic configuration, and waits until the API shows exactly so many routers of it.
    fn configure(&mut self, dynamic: &Value, marker: &str, routers: usize) {
        let next = self.folder.write("next.tmp", &dynamic.to_string());
        std::fs::rename(next, self.folder.path().join("dynamic.yml")).unwrap();
        let api = self.api;
        let shown = |_: &Running| {
            let count = self::routers(api).into_keys().filter(|(_, name)| name.contains(marker)).count();
            (count == routers).then_some(())
        };
        self.running.wait_for(PATIENCE, shown).unwrap();
        // The API's entry point may be switched over before the others are.
        std::thread::sleep(Duration::from_millis(100));
    }

    fn version(&self) -> String {
        let (_, body) = get(self.api, "/api/version").unwrap();
        serde_json::from_str::<Value>(&body).unwrap()["Version"].as_str().unwrap().to_owned()
    }

    fn config(&self) -> TraefikConfig {
        TraefikConfig {
            url: format!("http://{}", self.api).into(),
            username: None,
            password: None,
            token: None,
            ca_file: None,
            verify: true,
            server_name: None,
            timeout_ms: 5000,
            routers: Vec::<Pattern>::new(),
            providers: Vec::new(),
            entry_points: Vec::new(),
            middlewares: Vec::new(),
            exclude_providers: Vec::new(),
            exclude_entry_points: Vec::new(),
            exclude_middlewares: Vec::new(),
        }
    }
}

/// Every router of the API but Traefik's own: kind and name → element.
fn routers(api: SocketAddr) -> BTreeMap<(&'static str, String), Value> {
    let mut all = BTreeMap::new();
    for kind in ["http", "tcp"] {
        let Ok((200, body)) = get(api, &format!("/api/{kind}/routers?per_page=100000")) else { continue };
        for router in serde_json::from_str::<Vec<Value>>(&body).unwrap() {
            let name = router["name"].as_str().unwrap().to_owned();
            if !name.ends_with("@internal") {
                all.insert((kind, name), router);
            }
        }
    }
    all
}

/// GET over a connection of its own: status and body.
fn get(to: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    request(to, "127.0.0.1", path)
}

fn request(to: SocketAddr, host: &str, path: &str) -> std::io::Result<(u16, String)> {
    let (head, body) = exchange(to, host, path)?;
    Ok((head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body))
}

/// Head and body of a response.
fn exchange(to: SocketAddr, host: &str, path: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // HTTP/1.0, so that the body comes in one piece.
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok((head.to_owned(), body.to_owned()))
}

/// What the backend of TCP routers says, whatever it is told.
const REACHED: &[u8] = b"reached";

/// A backend that answers a ClientHello with [`REACHED`].
fn tcp_backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(REACHED);
            });
        }
    });
    address
}

/// Whether a ClientHello with this name reaches the backend.
fn reaches_over_tls(to: SocketAddr, host: &str) -> bool {
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&hello).unwrap();
    let mut first = [0; REACHED.len()];
    stream.read_exact(&mut first).is_ok() && first == REACHED
}

/// A rule of the table; `src/discovery/rule/tests.rs` knows the other fields.
#[derive(Deserialize)]
#[serde(default)]
struct Case {
    rule: String,
    routers: String,
    syntax: String,
    version: String,
    names: Vec<String>,
    error: Option<String>,
    /// Traefik refuses it though we read it.
    disabled: bool,
    /// Hosts that are routed although they are not published.
    routes: Vec<String>,
    /// Hosts that are not routed.
    misses: Vec<String>,
    /// What is asked for.
    path: String,
    /// No request of this test meets the rule's other conditions.
    unreachable: bool,
    /// Hosts that have nothing to do with the names are routed too.
    catches_all: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            rule: String::new(),
            routers: "http".to_owned(),
            syntax: String::new(),
            version: "3.7.13".to_owned(),
            names: Vec::new(),
            error: None,
            disabled: false,
            routes: Vec::new(),
            misses: Vec::new(),
            path: "/".to_owned(),
            unreachable: false,
            catches_all: false,
        }
    }
}

impl Case {
    fn is_tcp(&self) -> bool {
        self.routers == "tcp"
    }

    /// Whether Traefik of this version reads the rule as the case says.
    fn is_for(&self, version: &str) -> bool {
        let routers = if self.is_tcp() { Routers::Tcp } else { Routers::Http };
        Grammar::of(routers, version, &self.syntax) == Grammar::of(routers, &self.version, &self.syntax)
    }

    fn is_published(&self, host: &str) -> bool {
        let covers = |name: &String| name.strip_prefix('*').map_or(name == host, |rest| host.ends_with(rest));
        self.names.iter().any(covers)
    }

    /// Hosts that must reach the route, and hosts that must not.
    fn hosts(&self) -> (Vec<String>, Vec<String>) {
        let mut reach = self.routes.clone();
        let mut miss = self.misses.clone();
        miss.push("other.test".to_owned());
        for name in &self.names {
            let base = name.strip_prefix("*.");
            reach.push(base.map_or(name.clone(), |base| format!("zz-9.{base}")));
            let base = base.unwrap_or(name);
            miss.extend([format!("not-{base}"), format!("zz.{base}"), base.to_owned()]);
        }
        miss.retain(|host| self.misses.contains(host) || !self.is_published(host));
        if self.unreachable {
            reach.clear();
        }
        if self.catches_all {
            miss.clone_from(&self.misses);
        }
        (reach, miss)
    }

    /// Whether a request for the host reaches the route at this entry point.
    fn reaches(&self, port: u16, host: &str) -> bool {
        if self.is_tcp() {
            return reaches_over_tls(loopback(port), host);
        }
        let (status, body) = request(loopback(port), host, &self.path).unwrap();
        assert!(
            status == 200 || (status == 404 && body.starts_with("404 page not found")),
            "{host}: {status} {body}"
        );
        status == 200
    }
}

/// What Traefik makes of a rule otherwise than the table says.
fn judge(case: &Case, router: &Value, port: u16) -> Vec<String> {
    let status = router["status"].as_str().unwrap();
    let is_refused = status == "disabled";
    if is_refused != (case.error.is_some() || case.disabled) {
        return vec![format!("it is {status}: {}", router["error"])];
    }
    if is_refused {
        return Vec::new();
    }
    let (reach, miss) = case.hosts();
    let missed =
        reach.iter().filter(|host| !case.reaches(port, host)).map(|host| format!("{host} gets a 404"));
    let caught = miss.iter().filter(|host| case.reaches(port, host)).map(|host| format!("{host} is routed"));
    missed.chain(caught).collect()
}

#[test]
fn traefik_agrees_with_the_table_of_rules() {
    let names: Vec<String> = (0..ENTRY_POINTS).map(|n| format!("e{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some(mut real) = Real::start("traefik-rules", &names) else { return };
    let version = real.version();
    let backend = tcp_backend();
    let all: Vec<Case> =
        serde_json::from_str(&std::fs::read_to_string("tests/fixtures/traefik/rules.json").unwrap()).unwrap();
    let cases: Vec<&Case> = all.iter().filter(|case| case.is_for(&version)).collect();
    let mut wrong = Vec::new();
    for (batch, cases) in cases.chunks(ENTRY_POINTS).enumerate() {
        let name = |n: usize| format!("batch{batch}-{n}");
        let router = |n: usize, case: &Case| {
            let mut router = json!({ "rule": case.rule, "entryPoints": [names[n]] });
            if !case.syntax.is_empty() {
                router["ruleSyntax"] = json!(case.syntax);
            }
            if case.is_tcp() {
                router["service"] = json!("backend");
                router["tls"] = json!({ "passthrough": true });
            } else {
                router["service"] = json!("ping@internal");
            }
            (name(n), router)
        };
        let of = |tcp: bool| -> serde_json::Map<String, Value> {
            cases
                .iter()
                .enumerate()
                .filter(|(_, case)| case.is_tcp() == tcp)
                .map(|(n, case)| router(n, case))
                .collect()
        };
        let mut dynamic = json!({
            "tcp": { "services": { "backend": { "loadBalancer": { "servers": [{ "address": backend.to_string() }] } } } },
        });
        for (kind, routers) in [("http", of(false)), ("tcp", of(true))] {
            if !routers.is_empty() {
                dynamic[kind]["routers"] = Value::Object(routers);
            }
        }
        real.configure(&dynamic, &format!("batch{batch}-"), cases.len());
        let seen = routers(real.api);
        for (n, case) in cases.iter().enumerate() {
            let kind = if case.is_tcp() { "tcp" } else { "http" };
            let router = &seen[&(kind, format!("{}@file", name(n)))];
            let found = judge(case, router, real.entry_points[n]);
            wrong.extend(
                found.into_iter().map(|what| format!("{:?} ({kind} {}): {what}", case.rule, case.syntax)),
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} with Traefik {version}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    eprintln!("Traefik {version} agrees with {} rules", cases.len());
}

/// Our driver, told to poll again and again.
struct Driver {
    orders: tokio::sync::mpsc::Sender<Order>,
    reports: tokio::sync::mpsc::Receiver<(usize, Report)>,
}

impl Driver {
    fn start(config: TraefikConfig) -> Self {
        let source = SourceConfig {
            name: "edge".into(),
            kind: SourceKind::Traefik(Box::new(config.clone())),
            zones: Vec::new(),
            default_targets: Vec::new(),
            exclude_names: Vec::new(),
            exclude_routers: Vec::new(),
            visibility: None,
            poll_ms: 15_000,
            remove_after_ms: 30_000,
            stale_after_ms: 300_000,
            brake: RemoveBrake::default(),
            rules: Vec::new(),
            check: None,
            ports: Vec::new(),
            ttl: None,
            mode: SourceMode::Sync,
            allow: None,
            sync: SyncMode::Continuous,
            apex: false,
        };
        let (sender, reports) = Reporter::channel();
        let (orders, received) = Orders::channel();
        let driver = hale::discovery::traefik::run(
            Arc::new(source),
            Arc::new(config),
            Reporter::new(0, sender),
            received,
        );
        tokio::spawn(driver);
        Self { orders, reports }
    }

    /// What one poll reports, calls aside.
    async fn poll(&mut self) -> Vec<Report> {
        self.orders.send(Order::Sync).await.unwrap();
        let mut all = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE * 2, self.reports.recv()).await.unwrap().unwrap().1 {
                Report::Synced => return all,
                Report::Call(_) => {}
                other => all.push(other),
            }
        }
    }
}

/// Names of HTTP routers as a poll lists them; nothing if it lists none.
fn listed(reports: &[Report]) -> Option<Vec<String>> {
    let list = reports.iter().find_map(|report| match report {
        Report::Listed { scope, objects } if scope.kind.label() == "router" => Some(objects),
        _ => None,
    })?;
    let names = |seen: &Seen| match seen {
        Seen::Claims(claims, _) | Seen::Partial(claims, _) => {
            claims.iter().map(|claim| claim.name.to_string()).collect()
        }
        Seen::Stands(_) => Vec::new(),
    };
    Some(list.iter().flat_map(|(_, seen)| names(seen)).collect())
}

/// Polls through reloads, and through ends without a word: a list is always a whole one, or empty while Traefik has not read its file yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_through_reloads_and_restarts() {
    const ROUTERS: usize = 250;
    let Some(mut real) = Real::start("traefik-restarts", &["web"]) else { return };
    let dynamic = |generation: usize| {
        let router = |n: usize| {
            let rule = format!("Host(`h{n}.g{generation}.example`)");
            (
                format!("r{n}-g{generation}-"),
                json!({ "rule": rule, "service": "ping@internal", "entryPoints": ["web"] }),
            )
        };
        json!({ "http": { "routers": (0..ROUTERS).map(router).collect::<serde_json::Map<_, _>>() } })
    };
    real.configure(&dynamic(0), "-g0-", ROUTERS);
    let mut driver = Driver::start(real.config());
    assert_eq!(listed(&driver.poll().await).unwrap().len(), ROUTERS);
    let begun = Instant::now();
    let changes = std::thread::spawn(move || {
        for generation in 1..=6 {
            real.configure(&dynamic(generation), &format!("-g{generation}-"), ROUTERS);
            if generation % 2 == 0 {
                real.restart();
            }
        }
        real
    });
    let (mut whole, mut empty, mut failed) = (0, 0, 0);
    while !changes.is_finished() {
        match listed(&driver.poll().await) {
            None => failed += 1,
            Some(names) if names.is_empty() => empty += 1,
            Some(names) => {
                let generation = names[0].split('.').nth(1).unwrap().to_owned();
                assert_eq!(names.len(), ROUTERS, "a part of a list is never reported");
                assert!(
                    names.iter().all(|name| name.split('.').nth(1) == Some(&generation)),
                    "one configuration"
                );
                whole += 1;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(300));
    }
    drop(changes.join().unwrap());
    assert!(whole > 0);
    eprintln!("polls: {whole} whole, {empty} empty, {failed} failed");
}

/// Routers of all kinds, as the file provider is given them.
fn every_kind() -> Value {
    json!({
        "http": {
            "middlewares": { "auth": { "basicAuth": { "users": ["hale:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="] } } },
            "routers": {
                "app": { "rule": "Host(`app.example`)", "service": "ping@internal", "entryPoints": ["web", "websecure"] },
                "two": { "rule": "Host(`two.example`, `zwei.example`)", "ruleSyntax": "v2", "service": "ping@internal", "entryPoints": ["web"] },
                "wild": { "rule": "Host(`*.wild.example`)", "service": "ping@internal", "middlewares": ["auth"], "entryPoints": ["websecure"] },
                "broken": { "rule": "Host(`broken.example`", "service": "ping@internal", "entryPoints": ["web"] },
                "lost": { "rule": "Host(`lost.example`)", "service": "none", "entryPoints": ["web"] },
                "parent": { "rule": "Host(`parent.example`)", "entryPoints": ["websecure"] },
                "child": { "rule": "PathPrefix(`/v1`)", "parentRefs": ["parent"], "service": "ping@internal" },
                "heir": { "rule": "Host(`parent.example`) && PathPrefix(`/v2`)", "parentRefs": ["parent"], "service": "ping@internal" },
                "options": { "rule": "Host(`options.example`)", "service": "ping@internal", "entryPoints": ["websecure"], "tls": { "options": "none" } },
                "shop-external": { "rule": "Host(`shop.example`)", "service": "ping@internal", "entryPoints": ["web"] },
                // The API behind a password, as docs/traefik.md has it.
                "api": { "rule": "Host(`api.example`) && PathPrefix(`/api`)", "service": "api@internal", "middlewares": ["auth"], "entryPoints": ["web"] },
            },
        },
        "tcp": {
            "services": { "db": { "loadBalancer": { "servers": [{ "address": "127.0.0.1:9" }] } } },
            "routers": {
                "db": { "rule": "HostSNI(`db.example`)", "service": "db", "entryPoints": ["db"], "tls": { "passthrough": true } },
                "any": { "rule": "HostSNI(`*`)", "service": "db", "entryPoints": ["db"] },
            },
        },
    })
}

/// A response without what differs from one run to another.
fn said(to: SocketAddr, host: &str, path: &str) -> Value {
    let (head, body) = exchange(to, host, path).unwrap();
    let header = |name: &str| {
        let value =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned));
        value.map_or(Value::Null, |value| value.trim_start_matches(':').trim().into())
    };
    let mut body: Value = serde_json::from_str(&body).unwrap_or_else(|_| body.clone().into());
    if let Some(version) = body.as_object_mut() {
        version.remove("startDate");
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    json!({ "status": status, "next_page": header("x-next-page"), "type": header("content-type"), "body": body })
}

/// What the real program says. With `HALE_BLESS=1` it is recorded for `src/discovery/traefik/recorded_tests.rs`, which replays it where there is
/// no Traefik; else it must say what was recorded.
#[tokio::test]
async fn what_was_recorded_is_what_it_says() {
    let Some(mut real) = Real::start("traefik-recorded", &["web", "websecure", "db"]) else { return };
    // Before its provider has said anything it answers with its own routers alone: so it does after a restart.
    let mut scenes = json!({ "restarted": {}, "whole": {}, "pages": {}, "errors": {} });
    let whole = ["version", "http/routers?page=1&per_page=100000", "tcp/routers?page=1&per_page=100000"];
    let say = |path: &str| said(real.api, "127.0.0.1", &format!("/api/{path}"));
    for path in whole {
        scenes["restarted"][path] = say(path);
    }
    // `app` listens on two entry points, of which one has TLS: Traefik makes two routers of it.
    real.configure(&every_kind(), "", 14);
    let say = |path: &str| said(real.api, "127.0.0.1", &format!("/api/{path}"));
    for path in whole {
        scenes["whole"][path] = say(path);
    }
    for path in (1..=4)
        .map(|page| format!("http/routers?page={page}&per_page=4"))
        .chain(["tcp/routers?page=1&per_page=4".to_owned()])
    {
        scenes["pages"][&path] = say(&path);
    }
    for path in ["http/routers?page=99&per_page=4", "http/routers?page=0", "nothing"] {
        scenes["errors"][path] = say(path);
    }
    scenes["errors"]["without the password"] =
        said(loopback(real.entry_points[0]), "api.example", "/api/http/routers");
    if std::env::var_os("HALE_BLESS").is_some() {
        std::fs::write(RECORDED, format!("{}\n", serde_json::to_string_pretty(&scenes).unwrap())).unwrap();
    }
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(RECORDED).unwrap()).unwrap();
    assert_eq!(scenes, recorded, "record it anew with HALE_BLESS=1");
    assert!(listed(&Driver::start(real.config()).poll().await).unwrap().contains(&"app.example.".to_owned()));
    // With the password, through the entry point of the routers.
    let mut config = real.config();
    config.url = format!("http://{}", loopback(real.entry_points[0])).into();
    assert!(listed(&Driver::start(config).poll().await).is_none(), "no route without the host");
}

/// Waits until a name of `example.test` is answered with the address of this host, or with none; how long that took.
fn wait_for(hale: &Hale, name: &str, is_there: bool) -> Duration {
    let begun = Instant::now();
    let query = QueryBuilder::new(&format!("{name}.example.test"), rtype::A);
    while Client::new(hale.address).ask(&query, Via::Udp).unwrap().answers(rtype::A).next().is_some()
        != is_there
    {
        assert!(begun.elapsed() < PATIENCE, "{name} is there: {}: {}", !is_there, hale.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// As its users run it: routes come, change and go, Traefik ends, and Hale is restarted while it is down.
#[test]
fn a_server_follows_the_real_traefik() {
    let Some(mut real) = Real::start("traefik-served", &["web"]) else { return };
    let dynamic = |names: &[&str]| {
        let router = |name: &&str| {
            let rule = format!("Host(`{name}.example.test`)");
            ((*name).to_owned(), json!({ "rule": rule, "service": "ping@internal", "entryPoints": ["web"] }))
        };
        json!({ "http": { "routers": names.iter().map(router).collect::<serde_json::Map<_, _>>() } })
    };
    real.configure(&dynamic(&["a", "b", "declared"]), "@file", 3);
    let config = json!({ "sources": [ { "name": "edge", "traefik": { "url": format!("http://{}", real.api) },
        "default_targets": "127.0.0.1", "ports": { "web": real.entry_points[0] }, "poll": "1s" } ] });
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": { "keys": "auto" },
        "records": { "ns1": ["192.0.2.53"], "declared": ["192.0.2.1"] } }"#;
    let hale = Setup::new("served").zone("zone.json", zone).config(&config.to_string()).start();
    wait_for(&hale, "a", true);
    let sources = hale.operate("sources");
    assert!(sources.contains("ok") && sources.contains("sync, every 1s"), "{sources}");
    assert!(hale.operate("plan").contains("the zone file declares it"));

    real.configure(&dynamic(&["a", "c", "declared"]), "@file", 3);
    let came = wait_for(&hale, "c", true);
    let went = wait_for(&hale, "b", false) + came;
    assert!(went >= Duration::from_millis(1500), "gone after {went:?}, and two polls take two seconds");
    eprintln!("a new route is answered after {came:?}, one that is gone no more after {went:?}");

    // It ends: nothing changes, also when Hale starts without it.
    real.kill();
    let begun = Instant::now();
    while !hale.operate("sources").contains("failing") {
        assert!(begun.elapsed() < PATIENCE, "{}", hale.operate("sources"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let hale = hale.restart();
    assert!(
        wait_for(&hale, "a", true) < Duration::from_secs(1)
            && wait_for(&hale, "c", true) < Duration::from_secs(1)
    );
    // It comes back with nothing but its own routers: what it no longer has is held. Then with what it had.
    std::fs::write(real.folder.path().join("dynamic.yml"), "{}").unwrap();
    real.start_again();
    let begun = Instant::now();
    while !hale.operate("sources").contains("brake holds the removal of 3 names") {
        assert!(begun.elapsed() < PATIENCE, "{}", hale.operate("sources"));
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for(&hale, "a", true);
    real.configure(&dynamic(&["a", "c", "d"]), "@file", 3);
    wait_for(&hale, "d", true);
    wait_for(&hale, "c", true);
}
