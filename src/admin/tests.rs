//! The listener over real sockets, with a fake server behind it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::config::AdminConfig;
use crate::model::discovery_report::{PlanReport, SourceChange, SourceReport};
use crate::model::event::{EventKind, News};
use crate::model::events::Events;
use crate::model::explain::{AnswerReport, Client, Explanation};
use crate::model::name::Name;
use crate::model::records::{HiddenChange, HiddenReport, HideRequest, RecordsPage, TestDns};
use crate::model::report::{
    HistoryReport, OverrideChange, OverrideReport, OverrideRequest, Readiness, ReadinessPart, ReloadReport,
    SOCKET_NAME, Status, TargetReport, ZoneReport, ZoneState,
};
use crate::model::rrtype::RrType;
use crate::model::target::Verdict;
use crate::telemetry::metrics::{MetricKind, MetricsWriter};

#[path = "ui/tests.rs"]
mod ui;

/// More than the sockets and channels between here and there hold.
const LARGE: usize = 8 * 1024 * 1024;

#[derive(Default)]
struct Fake {
    ready: AtomicBool,
    reloads: AtomicU32,
    /// Whether what others write is an attack on the web page.
    evil: AtomicBool,
    events: Arc<Events>,
}

impl Control for Fake {
    fn readiness(&self) -> Readiness {
        let ready = self.ready.load(Ordering::Relaxed);
        let detail = if ready { "1 zone published" } else { "waiting for the first round of checks" };
        Readiness {
            ready,
            parts: vec![ReadinessPart { name: "zones".to_owned(), ready, detail: detail.to_owned() }],
        }
    }

    fn status(&self) -> Status {
        Status { version: "0.0.0".to_owned(), zones: 1, ..Status::default() }
    }

    fn zones(&self) -> Vec<ZoneReport> {
        vec![ZoneReport {
            zone: "example.test.".to_owned(),
            state: ZoneState::Serving,
            problem: None,
            serial: Some(7),
            names: 3,
            checked_names: 1,
            overridden: Vec::new(),
            alias_of: None,
            changed_at: None,
            file: PathBuf::from("zones/example.json"),
            signed: false,
            signatures_expire_at: None,
        }]
    }

    fn targets(&self) -> Vec<TargetReport> {
        let target = TargetReport {
            certificate_expires_at: None,
            id: 7,
            target: "tcp 192.0.2.1:80".to_owned(),
            took_us: None,
            interval_ms: Some(1000),
            changed_at: None,
            flips: 0,
            braked: false,
            held_until: None,
            share: 100,
            verdict: Verdict::Down,
            probed_at: None,
            problem: Some("connection refused".to_owned()),
            overrides: vec![3],
        };
        vec![if self.evil.load(Ordering::Relaxed) { ui::evil_target(target) } else { target }]
    }

    fn export(
        &self,
        zone: &Name,
        _view: View,
        format: ExportFormat,
        out: &mut dyn Write,
    ) -> Result<(), ExportError> {
        match zone.to_string().as_str() {
            "example.test." if format == ExportFormat::Json => Ok(out.write_all(b"{}")?),
            "example.test." => Ok(out.write_all(b"example.test. 300 IN NS ns1.example.test.\n")?),
            "large.test." => Ok((0..LARGE / 8).try_for_each(|_| out.write_all(b"; filler"))?),
            "empty.test." => Ok(()),
            "broken.test." => Err(ExportError::Broken("its key is missing".to_owned())),
            "halfway.test." => {
                out.write_all(&vec![b';'; 100_000])?;
                Err(io::Error::other("the disk is on fire").into())
            }
            _ => Err(ExportError::UnknownZone),
        }
    }

    fn backup(&self, _out: &mut dyn Write) -> Result<(), ExportError> {
        Err(ExportError::Broken("the server has no state directory".to_owned()))
    }

    fn records(&self, zone: &Name, _query: &RecordsQuery) -> Result<RecordsPage, ExportError> {
        match zone.to_string().as_str() {
            "example.test." => Ok(RecordsPage { zone: zone.to_string(), ..RecordsPage::default() }),
            _ => Err(ExportError::UnknownZone),
        }
    }

    fn test_dns(&self, hostname: &Name) -> TestDns {
        let (hostname, names) = (hostname.to_string(), Vec::new());
        TestDns {
            hostname,
            answers: Vec::new(),
            names,
            discovered: Vec::new(),
            plan: Vec::new(),
            hidden: None,
        }
    }

    fn hidden(&self) -> Vec<HiddenReport> {
        Vec::new()
    }

    fn hide(&self, wanted: &HideRequest, owner: String) -> Result<HiddenChange, ChangeError> {
        let (name, reason) = (wanted.name.clone(), wanted.reason.clone());
        let hidden = HiddenReport { name, set_at: 1, until: None, reason, owner };
        Ok(HiddenChange { hidden, discovered: true, kept: true })
    }

    fn unhide(&self, _name: &Name, _owner: &str) -> Result<Option<HiddenChange>, ChangeError> {
        Ok(None)
    }

    fn reload(&self, remove_missing: bool) -> Result<ReloadReport, String> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(ReloadReport { ok: !remove_missing, ..ReloadReport::default() })
    }

    fn history(&self, id: u32) -> Option<HistoryReport> {
        (id == 7).then(|| HistoryReport { target: "tcp 192.0.2.1:80".into(), history: Vec::new() })
    }

    fn explain(&self, name: &Name, rtype: RrType, client: Client) -> Explanation {
        let (name, rtype) = (name.to_string(), rtype.to_string());
        let (ecs, client) = (client.network.map(|network| network.to_string()), client.address);
        Explanation { name, rtype, client, ecs, names: Vec::new(), answer: AnswerReport::default() }
    }

    fn overrides(&self) -> Vec<OverrideReport> {
        vec![an_override(3, String::new())]
    }

    fn set_override(&self, wanted: &OverrideRequest, owner: String) -> Result<OverrideChange, ChangeError> {
        match wanted.subject.as_str() {
            "pool:bad" => Err(ChangeError::Bad("no such thing".into())),
            "pool:full" => Err(ChangeError::Full("too many".into())),
            "pool:disk" => Err(ChangeError::Failed("the disk is full".into())),
            _ => Ok(OverrideChange { entry: an_override(4, owner), names: 2, kept: true }),
        }
    }

    fn clear_override(&self, id: u64, owner: &str) -> Result<Option<OverrideChange>, ChangeError> {
        let entry = an_override(id, owner.to_owned());
        Ok((id == 3).then_some(OverrideChange { entry, names: 1, kept: true }))
    }

    fn sources(&self) -> Vec<SourceReport> {
        let source = SourceReport { name: "edge".to_owned(), ..SourceReport::default() };
        vec![if self.evil.load(Ordering::Relaxed) { ui::evil_source(source) } else { source }]
    }

    fn plan(&self) -> Vec<PlanReport> {
        vec![PlanReport { name: "www.example.test.".to_owned(), ..PlanReport::default() }]
    }

    fn change_source(
        &self,
        source: &str,
        action: &str,
        _owner: &str,
    ) -> Result<Option<SourceChange>, ChangeError> {
        match (source, action) {
            ("edge", "resync") => Ok(Some(SourceChange { source: source.to_owned(), ..Default::default() })),
            ("edge", _) => Err(ChangeError::Bad("no".to_owned())),
            _ => Ok(None),
        }
    }

    fn push_external(&self, id: &str, verdict: Verdict, reason: Option<&str>) -> usize {
        assert_eq!((verdict, reason), (Verdict::Down, Some("disk full")));
        usize::from(id == "web:1")
    }

    fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    fn metrics(&self) -> String {
        let mut page = MetricsWriter::new();
        page.family("hale_zones", MetricKind::Gauge, &["state"], "Zones.");
        page.sample(&[("state", "served")], 1);
        page.finish()
    }
}

fn an_override(id: u64, owner: String) -> OverrideReport {
    OverrideReport {
        id,
        subject: "pool:fra".into(),
        zone: None,
        word: crate::model::overrides::Word::Drain,
        set_at: 1,
        until: None,
        reason: "new disk".into(),
        owner,
    }
}

/// A running listener; it stops when it is dropped.
struct Running {
    fake: Arc<Fake>,
    address: SocketAddr,
    metrics: SocketAddr,
    probes: SocketAddr,
    state: PathBuf,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Listens on `host` with `token`.
    fn start(host: &str, token: Option<&str>) -> Self {
        Self::start_late(host, token, false, |_| {})
    }

    /// The same, but `before` is called when the sockets are bound and not served yet. With `paused` the clock jumps to the next
    /// timer whenever nothing else is to be done.
    fn start_late(host: &str, token: Option<&str>, paused: bool, before: impl FnOnce(&Self)) -> Self {
        let config = AdminConfig { token: token.map(str::to_owned), ..AdminConfig::default() };
        Self::launch(host, config, paused, before)
    }

    /// Listens on loopback with these rules.
    fn start_with(config: AdminConfig) -> Self {
        Self::launch("127.0.0.1", config, false, |_| {})
    }

    fn launch(host: &str, config: AdminConfig, paused: bool, before: impl FnOnce(&Self)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let state = std::env::temp_dir().join(format!("hale-admin-{}-{number}", std::process::id()));
        std::fs::create_dir(&state).unwrap();
        let loopback = Some("127.0.0.1:0".parse().unwrap());
        let config = AdminConfig {
            listen: Some(format!("{host}:0").parse().unwrap()),
            metrics_listen: loopback,
            probes_listen: loopback,
            ..config
        };
        let admin = Admin::bind(&config, Some(&state)).unwrap();
        let bound = |carried| admin.addresses().find(|&(name, _)| name == carried).unwrap().1.port();
        let [address, metrics, probes] =
            ["admin", "metrics", "probes"].map(|name| SocketAddr::from(([127, 0, 0, 1], bound(name))));
        let (stop, stopped) = watch::channel(false);
        let fake = Arc::new(Fake::default());
        let control = fake.clone();
        let mut running = Self { fake, address, metrics, probes, state, stop, thread: None };
        before(&running);
        running.thread = Some(std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().start_paused(paused).build().unwrap();
            runtime.block_on(admin.serve(control, stopped)).unwrap();
        }));
        running
    }

    fn socket(&self) -> PathBuf {
        self.state.join(SOCKET_NAME)
    }

    fn tcp(&self) -> TcpStream {
        tcp(self.address)
    }

    fn unix(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        // Absent where a test failed before the start.
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        assert!(std::thread::panicking() || !self.socket().exists(), "the unix socket is removed");
        std::fs::remove_dir_all(&self.state).unwrap();
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A whole answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request line with `headers` (each ending in CRLF) and reads to the end of the connection.
fn exchange(mut stream: impl Read + Write, line: &str, headers: &str, body: &str) -> Answer {
    let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
    let request = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n{body}");
    // A server that refuses a long body may close before it was all sent.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = bytes[end + 4..].to_vec();
    Answer { status, head, body }
}

#[test]
fn pages_on_loopback() {
    let server = Running::start("127.0.0.1", None);
    let get = |path: &str| exchange(server.tcp(), &format!("GET {path}"), "", "");

    assert_eq!((get("/healthz").status, get("/healthz").text()), (200, "ok\n"));
    let waiting = get("/readyz");
    assert_eq!((waiting.status, &waiting.json()["parts"][0]["name"]), (503, &"zones".into()));
    server.fake.ready.store(true, Ordering::Relaxed);
    let ready = get("/readyz");
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));

    let page = get("/metrics");
    assert!(page.head.contains("content-type: text/plain; version=0.0.4"), "{}", page.head);
    assert!(page.head.contains("cache-control: no-store") && page.head.contains("nosniff"), "{}", page.head);
    assert_eq!(
        page.text(),
        "# HELP hale_zones Zones.\n# TYPE hale_zones gauge\nhale_zones{state=\"served\"} 1\n"
    );

    assert_eq!(get("/api/v1/status").json()["version"], "0.0.0");
    assert_eq!(get("/api/v1/zones").json()["zones"][0]["state"], "serving");
    assert_eq!(get("/api/v1/targets").json()["targets"][0]["verdict"], "down");

    let head = exchange(server.tcp(), "HEAD /healthz", "", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn errors_are_problems() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let token = "Authorization: Bearer s3cret\r\n";
    for (line, status, detail) in [
        ("GET /nothing", 404, "there is no such page"),
        ("GET /api/v2", 404, "there is no such page"),
        ("POST /healthz", 405, "does not take that method"),
        ("GET /api/v1/reload", 405, "does not take that method"),
        ("GET /api/v1/zones/other.test/export", 404, "other.test. is not a zone"),
        ("GET /api/v1/zones/broken.test/export", 409, "its key is missing"),
        ("GET /api/v1/explain", 400, "name"),
        ("GET /api/v1/explain?name=a..b", 400, "is not a domain name"),
        ("GET /api/v1/explain?name=a.test&type=NOTYPE", 400, "is not an RR type"),
        ("GET /api/v1/explain?name=a.test&client=b.test", 400, "client"),
        ("GET /api/v1/explain?name=a.test&ecs=192.0.2.1/24", 400, "bits set beyond its prefix"),
        ("GET /api/v1/targets/8/history", 404, "there is no target 8"),
        ("GET /api/v1/targets/x/history", 404, "there is no target x"),
        ("GET /api/v1/zones/a..b/export", 400, "is not a domain name"),
        ("GET /api/v1/zones/%ff/export", 400, "UTF-8"),
        ("PUT /api/v1/overrides", 405, "does not take that method"),
        ("GET /api/v1/zones/example.test/export?format=xml", 400, "xml"),
        ("GET /api/v1/zones/example.test/export?view=all", 400, "all"),
        ("GET /api/v1/zones/other.test/records", 404, "other.test. is not a zone"),
        ("GET /api/v1/zones/example.test/records?type=NOTYPE", 400, "is not an RR type"),
        ("GET /api/v1/zones/example.test/records?limit=0", 400, "1 to 5000"),
        ("GET /api/v1/test-dns", 400, "hostname"),
        ("POST /api/v1/state/backup", 409, "no state directory"),
        ("GET /api/v1/state/backup", 405, "does not take that method"),
        ("DELETE /api/v1/hidden/www.example.test", 404, "is not hidden"),
    ] {
        let answer = exchange(server.tcp(), line, token, "");
        assert_eq!(answer.status, status, "{line}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{line}: {}", answer.head);
        assert!(answer.head.contains("cache-control: no-store"), "{line}: {}", answer.head);
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{line}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{line}: {problem}");
    }
}

#[test]
fn what_is_refused_is_not_kept_by_anybody() {
    let server = Running::start("0.0.0.0", Some("s3cret"));
    for headers in ["", "Authorization: Bearer wrong\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let answer = exchange(server.tcp(), "POST /api/v1/reload", headers, "");
        assert!(matches!(answer.status, 401 | 403), "{}", answer.head);
        for header in ["cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.head.contains(header), "{}", answer.head);
        }
    }
}

#[test]
fn who_may_change() {
    const RELOAD: &str = "POST /api/v1/reload";
    const TOKEN: &str = "Authorization: Bearer s3cret\r\n";
    let status = |stream: &mut dyn FnMut(&str, &str) -> Answer, line, headers| stream(line, headers).status;
    for (host, token, reads, changes, changes_with_token) in [
        ("127.0.0.1", None, 200, 403, 403),
        ("127.0.0.1", Some("s3cret"), 200, 401, 200),
        ("0.0.0.0", Some("s3cret"), 401, 401, 200),
    ] {
        let server = Running::start(host, token);
        let mut over_tcp = |line: &str, headers: &str| exchange(server.tcp(), line, headers, "");
        assert_eq!(status(&mut over_tcp, "GET /api/v1/zones", ""), reads, "{host} {token:?}");
        assert_eq!(status(&mut over_tcp, "GET /readyz", ""), 503, "{host} {token:?}");
        assert_eq!(status(&mut over_tcp, RELOAD, ""), changes, "{host} {token:?}");
        assert_eq!(server.fake.reloads.load(Ordering::Relaxed), 0);
        assert_eq!(status(&mut over_tcp, RELOAD, TOKEN), changes_with_token, "{host} {token:?}");
        let mut over_unix = |line: &str, headers: &str| exchange(server.unix(), line, headers, "");
        let before = server.fake.reloads.load(Ordering::Relaxed);
        assert_eq!(status(&mut over_unix, RELOAD, ""), 200);
        assert_eq!(server.fake.reloads.load(Ordering::Relaxed), before + 1);
    }
}

#[test]
fn overrides_are_set_and_cleared_in_somebodys_name() {
    const TOKEN: &str = "Authorization: Bearer s3cret\r\n";
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let listed = exchange(server.tcp(), "GET /api/v1/overrides", "", "").json();
    assert_eq!(
        (&listed["overrides"][0]["id"], &listed["overrides"][0]["word"]),
        (&3.into(), &"drain".into())
    );
    let body = |subject: &str| {
        format!(r#"{{"subject": "{subject}", "word": "drain", "for": "1h", "reason": "new disk"}}"#)
    };
    let post = |stream: &mut dyn FnMut(&str, &str, &str) -> Answer, headers: &str, body: &str| {
        let headers = format!("{headers}Content-Length: {}\r\n", body.len());
        stream("POST /api/v1/overrides", &headers, body)
    };
    let mut tcp = |line: &str, headers: &str, body: &str| exchange(server.tcp(), line, headers, body);
    let mut unix = |line: &str, headers: &str, body: &str| exchange(server.unix(), line, headers, body);
    assert_eq!(post(&mut tcp, "", &body("pool:fra")).status, 401);
    let set = post(&mut tcp, TOKEN, &body("pool:fra"));
    assert_eq!(
        (set.status, set.json()["override"]["owner"].as_str()),
        (201, Some("admin.token from 127.0.0.1"))
    );
    let set = post(&mut unix, "", &body("pool:fra")).json();
    let uid = rustix::process::getuid().as_raw();
    assert!(set["override"]["owner"].as_str().unwrap().contains(&format!("uid {uid}")), "{set}");
    for (subject, status) in [("pool:bad", 400), ("pool:full", 409), ("pool:disk", 503)] {
        let answer = post(&mut unix, "", &body(subject));
        assert_eq!(answer.status, status, "{subject}");
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
    }
    let unknown_key = r#"{"subject": "pool:fra", "word": "drain", "until": "1h", "reason": "x"}"#;
    assert_eq!(post(&mut unix, "", unknown_key).status, 400);
    let delete = |id: &str, headers: &str| {
        exchange(server.tcp(), &format!("DELETE /api/v1/overrides/{id}"), headers, "")
    };
    assert_eq!(delete("3", "").status, 401);
    assert_eq!(delete("3", TOKEN).json()["names"], 1);
    assert_eq!(delete("4", TOKEN).status, 404);
    assert_eq!(delete("x", TOKEN).status, 404);
}

#[test]
fn sources_are_shown_to_anybody_and_changed_with_a_token() {
    const TOKEN: &str = "Authorization: Bearer s3cret\r\n";
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let get = |path: &str| exchange(server.tcp(), &format!("GET {path}"), "", "").json();
    assert_eq!(get("/api/v1/sources")["sources"][0]["name"], "edge");
    assert_eq!(get("/api/v1/plan")["plan"][0]["name"], "www.example.test.");
    let post = |path: &str, headers: &str| {
        exchange(server.tcp(), &format!("POST /api/v1/sources/{path}"), headers, "").status
    };
    for (path, headers, status) in [
        ("edge/resync", "", 401),
        ("edge/resync", TOKEN, 200),
        ("edge/explode", TOKEN, 400),
        ("nix/resync", TOKEN, 404),
    ] {
        assert_eq!(post(path, headers), status, "{path} {headers}");
    }
}

#[test]
fn a_page_of_another_site_cannot_read() {
    let server = Running::start("127.0.0.1", None);
    for path in ["/api/v1/zones", "/metrics", "/readyz"] {
        let answer = exchange(server.tcp(), &format!("GET {path}"), "Host: evil.example:8053\r\n", "");
        assert_eq!(answer.status, 403, "{path}");
    }
    assert_eq!(exchange(server.unix(), "GET /api/v1/zones", "Host: hale\r\n", "").status, 200);
}

#[test]
fn narrow_listeners_carry_their_pages_alone() {
    let server = Running::start("127.0.0.1", None);
    for (address, path, status) in [
        (server.metrics, "/metrics", 200),
        (server.metrics, "/healthz", 404),
        (server.metrics, "/api/v1/zones", 404),
        (server.probes, "/healthz", 200),
        (server.probes, "/readyz", 503),
        (server.probes, "/metrics", 404),
        (server.probes, "/api/v1/status", 404),
    ] {
        let answer = exchange(tcp(address), &format!("GET {path}"), "Host: pod.example\r\n", "");
        assert_eq!(answer.status, status, "{path}");
    }
    assert_eq!(exchange(tcp(server.probes), "POST /api/v1/reload", "", "").status, 404);
}

#[test]
fn exports() {
    let server = Running::start("127.0.0.1", None);
    let get = |zone: &str| exchange(server.tcp(), &format!("GET /api/v1/zones/{zone}/export"), "", "");
    let text = get("Example.TEST");
    assert!(text.head.contains("content-type: text/dns"), "{}", text.head);
    assert!(text.text().contains("300 IN NS"));
    assert!(get("empty.test").head.contains("200 ok"));
    let json = exchange(server.tcp(), "GET /api/v1/zones/example.test./export?format=json", "", "");
    assert!(json.head.contains("content-type: application/x-ndjson") && json.text().contains("{}"));
    let large = get("large.test");
    assert!(large.body.len() >= LARGE, "{}", large.body.len());
    assert!(large.body.ends_with(b"\r\n0\r\n\r\n"), "the last chunk says that it is complete");
    let halfway = get("halfway.test");
    assert_eq!(halfway.status, 200);
    assert!(!halfway.body.ends_with(b"\r\n0\r\n\r\n"), "a client can tell that it broke off");
}

#[test]
fn bodies_have_limits() {
    let server = Running::start("127.0.0.1", None);
    let post = |body: &str| {
        let headers = format!("Content-Length: {}\r\n", body.len());
        exchange(server.unix(), "POST /api/v1/reload", &headers, body)
    };
    assert_eq!(post("{\"remove_missing\": true}").json()["ok"], false);
    assert_eq!(post("{}").json()["ok"], true);
    assert_eq!(post("{\"remove\": true}").status, 400);
    assert_eq!(post("nonsense").status, 400);
    assert_eq!(post(&" ".repeat(64 * 1024 + 1)).status, 413);
    let long = format!("X-Long: {}\r\n", "x".repeat(64 * 1024));
    assert_eq!(exchange(server.tcp(), "GET /healthz", &long, "").status, 431);
}

#[test]
fn slow_peers_are_let_go() {
    let requests = [
        "",
        "GET /healthz HTTP/1.1\r\nHost: local",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: 9\r\n\r\n{",
    ];
    let mut streams = Vec::new();
    // Everything is sent before the server starts, lest the jumping clock run out before the first byte.
    let _server = Running::start_late("127.0.0.1", Some("t"), true, |server| {
        for request in requests {
            let mut stream = server.tcp();
            stream.write_all(request.as_bytes()).unwrap();
            streams.push(stream);
        }
    });
    let [nothing, half_a_header, kept_alive, half_a_body]: [String; 4] = std::array::from_fn(|i| {
        let mut got = String::new();
        // Returns at all because the server closes the connection.
        streams[i].read_to_string(&mut got).unwrap();
        got
    });
    assert!(!nothing.contains("200 OK"), "{nothing}");
    assert!(!half_a_header.contains("200 OK"), "{half_a_header}");
    assert!(kept_alive.contains("200 OK"), "{kept_alive}");
    assert!(half_a_body.starts_with("HTTP/1.1 408"), "{half_a_body}");
}

#[test]
fn a_stale_socket_is_replaced_and_the_new_one_is_private() {
    let first = Running::start("127.0.0.1", None);
    let mode = std::fs::metadata(first.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let state = std::env::temp_dir().join(format!("hale-admin-stale-{}", std::process::id()));
    std::fs::create_dir(&state).unwrap();
    // Left behind: bound by nobody any more.
    drop(std::os::unix::net::UnixListener::bind(state.join(SOCKET_NAME)).unwrap());
    assert!(UnixStream::connect(state.join(SOCKET_NAME)).is_err());
    let admin = Admin::bind(&AdminConfig::default(), Some(&state)).unwrap();
    assert!(UnixStream::connect(state.join(SOCKET_NAME)).is_ok());
    drop(admin);
    std::fs::remove_dir(&state).expect("nothing is left in it");
}

#[test]
fn what_cannot_be_bound() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let config = |listen: &str, token: Option<&str>| AdminConfig {
        listen: Some(listen.parse().unwrap()),
        token: token.map(str::to_owned),
        ..AdminConfig::default()
    };
    let check = |config: &AdminConfig, state: Option<&Path>, want: &str| {
        let error = Admin::bind(config, state).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
        assert!(error.contains("\n  hint: "), "{error}");
    };
    check(&config("0.0.0.0:0", None), None, "there is no token");
    check(&config("[::]:0", None), None, "there is no token");
    check(&config(&taken.to_string(), None), None, &format!("cannot listen on {taken}"));
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
    check(&AdminConfig::default(), Some(&long), "cannot listen on /tmp/xxx");
}

#[test]
fn verdicts_are_pushed_for_external_checks() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let post = |id: &str, authorization: &str, body: &str| {
        let headers = format!("{authorization}Content-Length: {}\r\n", body.len());
        exchange(server.tcp(), &format!("POST /api/v1/external/{id}"), &headers, body)
    };
    let body = r#"{"verdict": "down", "reason": "disk full"}"#;
    let token = "Authorization: Bearer s3cret\r\n";
    assert_eq!(post("web:1", "", body).status, 401);
    let good = post("web:1", token, body);
    assert_eq!((good.status, &good.json()["targets"]), (200, &1.into()));
    let unknown = post("other", token, body);
    assert_eq!((unknown.status, &unknown.json()["status"]), (404, &404.into()));
    let long = format!(r#"{{"verdict": "down", "reason": "{}"}}"#, "x".repeat(301));
    for bad in [
        "",
        "down",
        r#"{"verdict": "sick"}"#,
        r#"{"verdict": "up", "ttl": 5}"#,
        &long,
        r#"{"verdict": "up", "reason": "a\nb"}"#,
    ] {
        assert_eq!(post("web:1", token, bad).status, 400, "{bad}");
    }
}

/// Reads from a stream of events until it says `until`; what came up to then, after `text`.
fn read_until(stream: &mut impl Read, mut text: String, until: &str) -> String {
    let mut buffer = [0; 4096];
    while !text.contains(until) {
        // A heartbeat keeps the read from timing out.
        assert!(!text.contains(": nothing new"), "{until} does not come: {text}");
        let n = stream.read(&mut buffer).expect("more of it comes");
        assert!(n > 0, "it ended: {text}");
        text += std::str::from_utf8(&buffer[..n]).unwrap();
    }
    text
}

#[test]
fn events_are_told_as_they_happen_and_replayed() {
    let server = Running::start("127.0.0.1", None);
    let news = |text: &str| News::new(EventKind::NameDown, text).about("a.test.", "www.a.test.");
    let ask = |query: &str, headers: &str| {
        let mut stream = server.tcp();
        write!(stream, "GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
        let head = read_until(&mut stream, String::new(), "retry: 2000");
        (stream, head)
    };
    let (mut stream, head) = ask("", "");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    server.fake.events.publish(news("first"));
    server.fake.events.publish(News::new(EventKind::ReloadDone, "second"));
    let told = read_until(&mut stream, head, "\"text\":\"second\"");
    assert!(told.contains("event: name-down\ndata: {\"id\":"), "{told}");
    let listed = exchange(server.tcp(), "GET /api/v1/events/recent", "", "").json();
    let ids: Vec<u64> =
        listed["events"].as_array().unwrap().iter().map(|e| e["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    let (mut again, head) = ask("", &format!("Last-Event-ID: {}\r\n", ids[0]));
    let told = read_until(&mut again, head, "second");
    assert!(!told.contains("first") && told.contains(&format!("id: {}\n", ids[1])), "{told}");
    let (mut filtered, head) = ask(&format!("?kind=name-down&zone=A.test&after={}", ids[0] - 1), "");
    server.fake.events.publish(news("third"));
    let told = read_until(&mut filtered, head, "third");
    assert!(told.contains("first") && !told.contains("second"), "{told}");
    let (mut restarted, head) = ask("?after=1", "");
    let told = read_until(&mut restarted, head, "first");
    assert!(told.contains("event: lost\ndata: {\"lost\":0,\"server_restarted\":true}"), "{told}");
    for (line, headers) in [
        ("GET /api/v1/events?kind=flip", ""),
        ("GET /api/v1/events", "Last-Event-ID: x\r\n"),
        ("GET /api/v1/events/recent?most=x", ""),
    ] {
        assert_eq!(exchange(server.tcp(), line, headers, "").status, 400, "{line}");
    }
}

#[test]
fn a_client_has_a_share_of_requests() {
    let server = Running::start_with(AdminConfig { requests_per_second: 1, ..AdminConfig::default() });
    let statuses: Vec<u16> =
        (0..8).map(|_| exchange(server.tcp(), "GET /api/v1/status", "", "").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429]);
    let refused = exchange(server.tcp(), "GET /api/v1/status", "", "");
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    assert_eq!(exchange(server.tcp(), "GET /readyz", "", "").status, 503, "probes are not counted");
    assert_eq!(exchange(server.unix(), "GET /api/v1/status", "", "").status, 200, "nor is the unix socket");
}

#[test]
fn names_that_are_ours_are_named() {
    let config = AdminConfig { hosts: vec!["dns.lan".to_owned()], ..AdminConfig::default() };
    let server = Running::start_with(config);
    let status =
        |host: &str| exchange(server.tcp(), "GET /api/v1/zones", &format!("Host: {host}\r\n"), "").status;
    assert_eq!([status("dns.lan:8053"), status("DNS.lan."), status("evil.lan")], [200, 200, 403]);
}

#[test]
fn tls_if_it_is_configured() {
    use std::sync::Arc;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

    let folder = tempfile::tempdir().unwrap();
    let files =
        crate::config::TlsFiles { cert: folder.path().join("a.pem"), key: folder.path().join("a.key") };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
    let server = Running::start_with(AdminConfig { tls: Some(files), ..AdminConfig::default() });
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap()).unwrap();
    let answer = exchange(StreamOwned::new(connection, server.tcp()), "GET /api/v1/status", "", "");
    assert_eq!((answer.status, &answer.json()["version"]), (200, &"0.0.0".into()));
    let mut plain = server.tcp();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got);
    assert!(!got.starts_with(b"HTTP"), "nothing is answered in the clear");
    assert_eq!(exchange(tcp(server.probes), "GET /healthz", "", "").status, 200, "probes stay plain");
}
