use std::sync::Mutex;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::fake::{Asked, Fake, Reply, lists, page};
use super::*;
use crate::config::{LiveSecret, Pattern, RemoveBrake, SourceKind, SourceMode, SyncMode, Visibility};
use crate::discovery::claim::Route;
use crate::discovery::source::Seen;

/// Longer than any poll here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn traefik(url: &str) -> TraefikConfig {
    TraefikConfig {
        url: url.into(),
        username: None,
        password: None,
        token: None,
        ca_file: None,
        verify: true,
        server_name: None,
        timeout_ms: 2000,
        routers: Vec::new(),
        providers: Vec::new(),
        entry_points: Vec::new(),
        middlewares: Vec::new(),
        exclude_providers: Vec::new(),
        exclude_entry_points: Vec::new(),
        exclude_middlewares: Vec::new(),
    }
}

fn source(config: &TraefikConfig) -> SourceConfig {
    SourceConfig {
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
    }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

/// A router as Traefik lists it.
fn router(name: &str, rule: &str) -> Value {
    let provider = name.rsplit_once('@').unwrap().1;
    json!({
        "name": name, "provider": provider, "rule": rule, "status": "enabled", "using": ["web"], "entryPoints": ["web"],
        "service": "app", "priority": 17, "observability": { "accessLogs": true },
    })
}

/// `router`, with other fields.
fn router_with(name: &str, rule: &str, fields: Value) -> Value {
    let mut router = router(name, rule);
    let Value::Object(fields) = fields else { unreachable!("an object is written in each test") };
    router.as_object_mut().unwrap().extend(fields);
    router
}

/// One line for what a router was seen to be.
fn show_seen(seen: &Seen) -> String {
    match seen {
        Seen::Stands(problem) => format!("stands: {}", problem.text),
        Seen::Claims(claims, problems) | Seen::Partial(claims, problems) => {
            let claims = claims.iter().map(|claim| {
                let route = match claim.route {
                    Route::Http(None) => "http",
                    Route::Https(None) => "https",
                    Route::Tls(None) => "tls",
                    _ => "?",
                };
                format!(
                    "{} {route} {}",
                    claim.name.to_string().trim_end_matches('.'),
                    claim.entry_points.join("+")
                )
            });
            let problems = problems.iter().map(|problem| format!("({})", problem.text));
            claims.chain(problems).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A line for each report but those about calls.
fn show(report: &Report) -> Option<String> {
    Some(match report {
        Report::Listed { scope, objects } => {
            let objects = objects.iter().map(|(key, seen)| format!("{key}: {}", show_seen(seen)));
            format!("{scope} [{}]", objects.collect::<Vec<_>>().join("; "))
        }
        Report::Changed(key, seen) => format!("{key}: {}", show_seen(seen)),
        Report::Failed(scope, failure) => {
            let scope = scope.as_ref().map_or("all".to_owned(), ToString::to_string);
            format!("{scope} failed {}", failure.kind.label())
        }
        Report::Synced => "synced".to_owned(),
        Report::Call(_) | Report::Took(..) => return None,
        other => format!("{other:?}"),
    })
}

/// A running driver.
struct Driven {
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<(usize, Report)>,
    task: tokio::task::JoinHandle<()>,
    calls: Vec<String>,
    texts: Vec<String>,
}

impl Driven {
    fn start(config: TraefikConfig) -> Self {
        let (sender, reports) = Reporter::channel();
        let (orders, received) = Orders::channel();
        let source = Arc::new(source(&config));
        let task = tokio::spawn(run(source, Arc::new(config), Reporter::new(0, sender), received));
        Self { orders, reports, task, calls: Vec::new(), texts: Vec::new() }
    }

    fn url(fake: &Fake) -> String {
        format!("http://{}", fake.address)
    }

    /// One poll, up to and without `synced`.
    async fn poll(&mut self) -> Vec<String> {
        self.orders.send(Order::Sync).await.unwrap();
        let mut lines = Vec::new();
        loop {
            let (_, report) = timeout(PATIENCE, self.reports.recv()).await.unwrap().unwrap();
            match &report {
                Report::Synced => return lines,
                Report::Call(call) => self.calls.push(format!("{} {}", call.endpoint, call.status)),
                Report::Failed(_, failure) => self.texts.push(failure.text.to_string()),
                _ => {}
            }
            lines.extend(show(&report));
        }
    }
}

/// Polls an API once that answers like this.
async fn check(respond: impl Fn(&Asked) -> Reply + Send + Sync + 'static, expected: &[&str]) -> Driven {
    let fake = Fake::start(None, respond).await;
    let mut driven = Driven::start(traefik(&Driven::url(&fake)));
    assert_eq!(driven.poll().await, expected);
    driven
}

#[tokio::test]
async fn both_lists_are_reported() {
    let http = json!([
        router("app@docker", "Host(`a.example`) && PathPrefix(`/x`)"),
        router_with(
            "secure@file",
            "Host(`b.example`)",
            json!({ "tls": { "options": "default" }, "entryPoints": ["websecure", "web"] })
        ),
        router("api@internal", "PathPrefix(`/api`)"),
    ]);
    let tcp =
        json!([router_with("db@file", "HostSNI(`db.example`)", json!({ "tls": { "passthrough": true } }))]);
    let driven = check(
        lists(http, tcp, usize::MAX),
        &[
            "router [router/app@docker: a.example http web; router/secure@file: b.example https websecure+web]",
            "tcprouter [tcprouter/db@file: db.example tls web]",
        ],
    )
    .await;
    // And no more than that: UDP routers carry no names.
    assert_eq!(driven.calls, ["version 200", "http/routers 200", "tcp/routers 200"]);
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    check(lists(json!([]), json!([]), usize::MAX), &["router []", "tcprouter []"]).await;
    check(
        lists(json!([router("api@internal", "PathPrefix(`/api`)")]), json!([]), usize::MAX),
        &["router []", "tcprouter []"],
    )
    .await;
}

#[tokio::test]
async fn several_pages_are_walked_until_two_walks_agree() {
    let http: Value =
        (0..5).map(|n| router(&format!("r{n}@docker"), &format!("Host(`{n}.example`)"))).collect();
    let fake = Fake::start(None, lists(http, json!([]), 2)).await;
    let mut driven = Driven::start(traefik(&Driven::url(&fake)));
    let lines = driven.poll().await;
    assert_eq!(lines[0].matches("@docker").count(), 5, "{lines:?}");
    assert_eq!(
        fake.asked(),
        [
            "/api/version",
            "/api/http/routers 1",
            "/api/http/routers 2",
            "/api/http/routers 3",
            "/api/http/routers 1",
            "/api/http/routers 2",
            "/api/http/routers 3",
            "/api/tcp/routers 1",
        ]
    );
}

/// `slides` reloads happen, each between the first and the second page of a walk: the router on the edge is on neither.
async fn check_sliding(slides: usize, expected: &str) {
    let list = |from: usize| -> Value {
        (from..4).map(|n| router(&format!("r{n}@docker"), &format!("Host(`{n}.example`)"))).collect()
    };
    let walks = Mutex::new(0);
    let respond = move |asked: &Asked| match &*asked.path {
        "/api/http/routers" if asked.page == 1 => {
            *walks.lock().unwrap() += 1;
            page(&list(0), asked, 2)
        }
        "/api/http/routers" => {
            let slid = *walks.lock().unwrap() <= slides;
            // A different one each time, or two walks would agree about what is wrong.
            let mut list = list(usize::from(slid));
            if slid {
                list[2]["priority"] = json!(asked.before);
            }
            page(&list, asked, 2)
        }
        _ => lists(json!([]), json!([]), 2)(asked),
    };
    let fake = Fake::start(None, respond).await;
    let mut driven = Driven::start(traefik(&Driven::url(&fake)));
    assert_eq!(driven.poll().await[0], expected, "{slides} reloads");
}

#[tokio::test]
async fn a_router_that_slips_between_two_pages_is_found() {
    let all = "router [router/r0@docker: 0.example http web; router/r1@docker: 1.example http web; \
               router/r2@docker: 2.example http web; router/r3@docker: 3.example http web]";
    check_sliding(0, all).await;
    check_sliding(1, all).await;
    check_sliding(3, all).await;
    check_sliding(9, "router failed inconsistent").await;
}

/// Everything that can go wrong with the second of two pages: nothing is listed.
#[tokio::test]
async fn a_page_that_fails_fails_the_list() {
    let check = async |reply: fn() -> Reply, kind: &str| {
        let http: Value = (0..4).map(|n| router(&format!("r{n}@docker"), "Host(`a.example`)")).collect();
        let respond = move |asked: &Asked| match asked.page {
            2 => reply(),
            _ => lists(http.clone(), json!([]), 2)(asked),
        };
        let fake = Fake::start(None, respond).await;
        let mut config = traefik(&Driven::url(&fake));
        config.timeout_ms = 300;
        let mut driven = Driven::start(config);
        let expected = [format!("router failed {kind}"), "tcprouter []".to_owned()];
        assert_eq!(driven.poll().await, expected, "{:?}", driven.texts);
    };
    tokio::join!(
        check(|| Reply::Status(500, "oops".to_owned()), "server"),
        check(|| Reply::Status(404, "404 page not found".to_owned()), "not_found"),
        check(|| Reply::Status(401, String::new()), "unauthorized"),
        check(|| Reply::Status(302, String::new()), "decode"),
        check(|| Reply::Page("[{\"name\": \"r2@do".to_owned(), 1), "decode"),
        check(|| Reply::Page("{}".to_owned(), 1), "decode"),
        check(|| Reply::Page("[]".to_owned(), 7), "decode"),
        check(
            || Reply::Raw(b"HTTP/1.1 200 OK\r\nX-Next-Page: 1\r\nContent-Length: 100\r\n\r\n[".to_vec()),
            "decode"
        ),
        check(
            || Reply::Raw(b"HTTP/1.1 200 OK\r\nX-Next-Page: x\r\nContent-Length: 2\r\n\r\n[]".to_vec()),
            "decode"
        ),
        check(|| Reply::Raw(Vec::new()), "decode"),
        check(|| Reply::Raw(b"SSH-2.0-x\r\n".to_vec()), "decode"),
        check(|| Reply::Trickle, "timeout"),
    );
}

#[tokio::test]
async fn a_response_has_a_longest_length() {
    let respond = |asked: &Asked| match &*asked.path {
        "/api/http/routers" => Reply::Raw(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {0}\r\n\r\n{1}",
                client::MAX_BODY + 2,
                " ".repeat(client::MAX_BODY + 2)
            )
            .into_bytes(),
        ),
        _ => lists(json!([]), json!([]), 2)(asked),
    };
    let fake = Fake::start(None, respond).await;
    let mut config = traefik(&Driven::url(&fake));
    config.timeout_ms = 20_000;
    let mut driven = Driven::start(config);
    assert_eq!(driven.poll().await[0], "router failed decode");
    assert!(driven.texts[0].contains("longer than 67108864 octets"), "{:?}", driven.texts);
}

#[tokio::test]
async fn a_request_is_sent_again_twice() {
    let respond = |failures: usize| {
        move |asked: &Asked| match &*asked.path {
            "/api/http/routers" if asked.before < failures => Reply::Status(503, String::new()),
            _ => lists(json!([router("a@file", "Host(`a.example`)")]), json!([]), 9)(asked),
        }
    };
    let begun = std::time::Instant::now();
    let driven = check(respond(2), &["router [router/a@file: a.example http web]", "tcprouter []"]).await;
    assert!(begun.elapsed() >= Duration::from_secs(3), "waits of one and two seconds");
    assert_eq!(
        driven.calls,
        ["version 200", "http/routers 503", "http/routers 503", "http/routers 200", "tcp/routers 200"]
    );
    check(respond(3), &["router failed server", "tcprouter []"]).await;
}

#[tokio::test]
async fn an_instance_that_is_not_there_fails_as_a_whole() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let mut driven = Driven::start(traefik(&format!("http://{address}")));
    assert_eq!(driven.poll().await, ["all failed connect"]);
    assert_eq!(driven.calls, ["version 0"; 3]);
}

#[tokio::test]
async fn one_malformed_router_hides_no_other() {
    let http = json!([
        router("a@file", "Host(`a.example`)"),
        router_with("b@file", "Host(`b.example`)", json!({ "entryPoints": "web" })),
        router("c@file", "Host(`c.example`"),
        router("d@file", "Host(`d.example`)"),
    ]);
    let fake = Fake::start(None, lists(http, json!([]), 9)).await;
    let mut driven = Driven::start(traefik(&Driven::url(&fake)));
    let lines = driven.poll().await;
    assert!(
        lines[0]
            .starts_with("router [router/a@file: a.example http web; router/b@file: stands: invalid type"),
        "{lines:?}"
    );
    assert!(
        lines[0].ends_with(
            "router/c@file: stands: rule: column 17: \",\" or \")\" is expected here, not the end of the rule; \
             router/d@file: d.example http web]"
        ),
        "{lines:?}"
    );
    // Of which router it is that has no name is not known, so nothing is said to be missing.
    for nameless in [json!({ "rule": "Host(`b.example`)" }), json!(null), json!({ "name": "b" })] {
        let http = json!([router("a@file", "Host(`a.example`)"), nameless]);
        check(
            lists(http, json!([]), 9),
            &["router/a@file: a.example http web", "router failed decode", "tcprouter []"],
        )
        .await;
    }
    let twice = json!([router("a@file", "Host(`a.example`)"), router("a@file", "Host(`b.example`)")]);
    check(lists(twice, json!([]), 9), &["router failed inconsistent", "tcprouter []"]).await;
}

#[tokio::test]
async fn rules_are_read_by_the_version() {
    let check = async |version: Reply, expected: &str| {
        let version = Mutex::new(Some(version));
        let http = json!([router("a@file", "Host(`*.a.example`) || Host(`b.example`)")]);
        let respond = move |asked: &Asked| match &*asked.path {
            "/api/version" => version.lock().unwrap().take().unwrap(),
            _ => lists(http.clone(), json!([]), 9)(asked),
        };
        let fake = Fake::start(None, respond).await;
        let mut driven = Driven::start(traefik(&Driven::url(&fake)));
        let lines = driven.poll().await;
        assert!(lines[0].starts_with(expected), "{lines:?}");
    };
    let version = |version: &str| Reply::Plain(json!({ "Version": version }).to_string());
    check(version("3.7.13"), "router [router/a@file: *.a.example http web, b.example").await;
    check(
        version("3.6.2"),
        "router [router/a@file: b.example http web, (rule: column 6: \"*.a.example\" matches no request",
    )
    .await;
    check(Reply::Status(403, String::new()), "router [router/a@file: *.a.example http web, b.example").await;
    check(Reply::Status(404, String::new()), "router [router/a@file: *.a.example http web, b.example").await;
    check(Reply::Plain("nonsense".to_owned()), "all failed decode").await;
}

#[tokio::test]
async fn a_version_that_is_refused_later_stays_known() {
    let respond = |asked: &Asked| match (&*asked.path, asked.before) {
        ("/api/version", 0) => Reply::Plain(json!({ "Version": "3.6.2" }).to_string()),
        ("/api/version", _) => Reply::Status(403, String::new()),
        _ => lists(json!([router("a@file", "Host(`*.a.example`)")]), json!([]), 9)(asked),
    };
    let fake = Fake::start(None, respond).await;
    let mut driven = Driven::start(traefik(&Driven::url(&fake)));
    assert_eq!(driven.poll().await, driven.poll().await);
}

#[tokio::test]
async fn credentials_are_sent_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let respond = |asked: &Asked| {
        if ["Bearer first", "Bearer second", "Basic aGFsZTpwYXNzd29yZA=="].contains(&&*asked.authorization) {
            lists(json!([]), json!([]), 9)(asked)
        } else {
            Reply::Status(401, asked.authorization.clone())
        }
    };
    let fake = Fake::start(None, respond).await;
    let good = ["router []", "tcprouter []"];
    let mut driven = Driven::start(TraefikConfig {
        token: Some(LiveSecret::File(file.clone())),
        ..traefik(&Driven::url(&fake))
    });
    assert_eq!(driven.poll().await, good);
    std::fs::write(&file, "wrong").unwrap();
    assert_eq!(driven.poll().await, ["router failed unauthorized", "tcprouter failed unauthorized"]);
    std::fs::write(&file, "second").unwrap();
    assert_eq!(driven.poll().await, good);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(driven.poll().await, ["all failed config"]);
    std::fs::write(&file, "no\nheader").unwrap();
    assert_eq!(driven.poll().await, ["all failed config"]);
    let told = driven.texts.last().unwrap();
    assert!(!told.contains("header\n") && !told.contains("no\n"), "a secret is told: {told}");

    let mut driven = Driven::start(TraefikConfig {
        username: Some("hale".into()),
        password: Some(LiveSecret::Fixed("password".into())),
        ..traefik(&Driven::url(&fake))
    });
    assert_eq!(driven.poll().await, good);
}

#[tokio::test]
async fn the_api_may_have_a_base_path() {
    let fake = Fake::start(None, lists(json!([]), json!([]), 9)).await;
    let mut driven = Driven::start(traefik(&format!("{}/traefik", Driven::url(&fake))));
    assert_eq!(driven.poll().await, ["router []", "tcprouter []"]);
    assert_eq!(
        fake.asked(),
        ["/traefik/api/version", "/traefik/api/http/routers 1", "/traefik/api/tcp/routers 1"]
    );
}

#[tokio::test]
async fn certificates_are_verified_unless_told_otherwise() {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["traefik.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let fake = Fake::start(Some(TlsAcceptor::from(Arc::new(server))), lists(json!([]), json!([]), 9)).await;
    let base = TraefikConfig { ca_file: Some(ca), ..traefik(&format!("https://{}", fake.address)) };
    let good = ["router []", "tcprouter []"];

    let named = TraefikConfig { server_name: Some("traefik.test".into()), ..base.clone() };
    assert_eq!(Driven::start(named).poll().await, good);
    let unverified = TraefikConfig { ca_file: None, verify: false, ..base.clone() };
    assert_eq!(Driven::start(unverified).poll().await, good);
    let other_name = TraefikConfig { server_name: Some("other.test".into()), ..base.clone() };
    let missing = TraefikConfig { ca_file: Some(folder.path().join("none.pem")), ..base.clone() };
    let (mut other_name, mut by_address, mut missing) =
        (Driven::start(other_name), Driven::start(base), Driven::start(missing));
    let polls = tokio::join!(other_name.poll(), by_address.poll(), missing.poll());
    assert_eq!(
        polls,
        (
            vec!["all failed tls".to_owned()],
            vec!["all failed tls".to_owned()],
            vec!["all failed config".to_owned()]
        )
    );
}

#[tokio::test]
async fn a_poll_is_given_up_when_orders_end() {
    let fake = Fake::start(None, |_| Reply::Trickle).await;
    for last in [Some(Order::Pause), None] {
        let mut driven = Driven::start(traefik(&Driven::url(&fake)));
        driven.orders.send(Order::Sync).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        if let Some(order) = last {
            driven.orders.send(order).await.unwrap();
        }
        drop(driven.orders);
        timeout(Duration::from_secs(1), driven.task).await.unwrap().unwrap();
        while let Some((_, report)) = driven.reports.recv().await {
            assert_eq!(show(&report), None, "nothing is reported of a poll that was given up");
        }
    }
}

/// What is made of a list of HTTP routers, with a configuration that differs from the plain one.
#[track_caller]
fn check_objects(adapt: impl FnOnce(&mut SourceConfig, &mut TraefikConfig), list: &Value, expected: &[&str]) {
    let mut config = traefik("http://traefik");
    let mut source = source(&config);
    adapt(&mut source, &mut config);
    let listed: Vec<api::Listed> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|router| api::Listed::read(&serde_json::value::to_raw_value(router).unwrap()).unwrap())
        .collect();
    let objects = routers::objects(&listed, Routers::Http, "3.7.13", &source, &config);
    let lines: Vec<String> =
        objects.iter().map(|(key, seen)| format!("{key}: {}", show_seen(seen))).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix("router/").unwrap()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn what_routers_claim() {
    check_objects(
        |_, _| {},
        &json!([
            router_with(
                "off@file",
                "Host(`a.example`)",
                json!({ "status": "disabled", "error": ["the service \"x@file\" does not exist"] })
            ),
            router_with("warned@file", "Host(`b.example`)", json!({ "status": "warning", "error": ["odd"] })),
            router_with("two@file", "Host(`c.example`, `d.example`)", json!({ "ruleSyntax": "v2" })),
            router_with("wide@file", "HostRegexp(`^x-.+$`) || Host(`e.example`)", json!({})),
            router_with("none@file", "PathPrefix(`/`)", json!({ "tls": null })),
            router("x@y@docker", "Host(`f.example`)"),
            // The names of a certificate are no hosts that are routed.
            router_with(
                "tls@file",
                "Host(`g.example`)",
                json!({ "tls": { "domains": [{ "main": "h.example" }] } })
            ),
        ]),
        &[
            "off@file: (disabled by Traefik: the service \"x@file\" does not exist)",
            "warned@file: b.example http web",
            "two@file: c.example http web, d.example http web",
            "wide@file: e.example http web, (rule: column 12: \"^x-.+$\" has a wildcard that is not the whole first part of the name)",
            "none@file: ",
            "x@y@docker: f.example http web",
            "tls@file: g.example https web",
        ],
    );
}

#[test]
fn filters() {
    let list = json!([
        router_with(
            "websecure-app@docker",
            "Host(`a.example`)",
            json!({ "entryPoints": ["websecure"], "tls": {} })
        ),
        router_with(
            "shop-external@file",
            "Host(`b.example`)",
            json!({ "middlewares": ["auth@file", "gzip"] })
        ),
        router_with("wiki-internal@file", "Host(`c.example`)", json!({ "entryPoints": ["web", "lan"] })),
    ]);
    let check = |adapt: fn(&mut SourceConfig, &mut TraefikConfig), kept: &str| {
        let all = [
            ("a", "websecure-app@docker: ", "a.example https websecure"),
            ("b", "shop-external@file: ", "b.example http web"),
            ("c", "wiki-internal@file: ", "c.example http web+lan"),
        ];
        let lines = all
            .map(|(letter, key, claim)| format!("{key}{}", if kept.contains(letter) { claim } else { "" }));
        check_objects(adapt, &list, &lines.each_ref().map(String::as_str));
    };
    check(|_, _| {}, "abc");
    // Both forms of a copied router's name.
    check(|source, _| source.exclude_routers = patterns(&["app@docker"]), "bc");
    check(|source, _| source.exclude_routers = patterns(&["WEBSECURE-app@docker"]), "bc");
    check(|source, _| source.exclude_routers = patterns(&["*@file"]), "a");
    check(|source, _| source.exclude_routers = patterns(&["~^shop-.*@"]), "ac");
    check(|source, _| source.exclude_routers = patterns(&["docker"]), "abc");
    check(|_, config| config.routers = patterns(&["app@*", "wiki-*"]), "ac");
    check(|_, config| config.providers = patterns(&["docker"]), "a");
    check(|_, config| config.exclude_providers = patterns(&["dock?r"]), "bc");
    check(|_, config| config.entry_points = patterns(&["web"]), "bc");
    check(|_, config| config.exclude_entry_points = patterns(&["lan"]), "ab");
    check(|_, config| config.middlewares = patterns(&["auth"]), "b");
    check(|_, config| config.middlewares = patterns(&["auth@file"]), "b");
    check(|_, config| config.exclude_middlewares = patterns(&["gzip"]), "ac");
    check(|source, _| source.visibility = Some(Visibility::Internal), "ac");
    check(|source, _| source.visibility = Some(Visibility::External), "ab");
}

#[test]
fn children_are_reached_through_their_parents() {
    let child = |name: &str, rule: &str, parents: &[&str]| {
        let mut child = router_with(name, rule, json!({ "parentRefs": parents }));
        child.as_object_mut().unwrap().remove("entryPoints");
        child
    };
    let secure = json!({ "tls": {}, "entryPoints": ["websecure"] });
    check_objects(
        |_, _| {},
        &json!([
            router_with("api@file", "Host(`api.example`)", secure.clone()),
            child("v1@file", "PathPrefix(`/v1`)", &["api@file"]),
            child("same@file", "Host(`api.example`) && PathPrefix(`/v2`)", &["api@file"]),
            child("other@file", "Host(`other.example`)", &["api@file"]),
            router_with("paths@file", "PathPrefix(`/x`)", secure.clone()),
            child("hosts@file", "Host(`x.example`)", &["paths@file"]),
            child("both@file", "Host(`y.example`)", &["api@file", "paths@file"]),
            router_with("wild@file", "Host(`*.w.example`)", json!({})),
            child("under@file", "Host(`a.w.example`)", &["wild@file"]),
            child("deep@file", "Host(`a.w.example`) || Host(`b.example`)", &["under@file"]),
            router_with("off@file", "Host(`off.example`)", json!({ "status": "disabled", "error": ["x"] })),
            child("of-off@file", "Host(`off.example`)", &["off@file"]),
            child("orphan@file", "Host(`o.example`)", &["gone@file"]),
            child("circle@file", "Host(`c.example`)", &["circle@file"]),
        ]),
        &[
            "api@file: api.example https websecure",
            "v1@file: ",
            "same@file: api.example https websecure",
            "other@file: (other.example. is none of the hosts of its parents, so it is not routed)",
            "paths@file: ",
            "hosts@file: x.example https websecure",
            "both@file: y.example https websecure+websecure",
            "wild@file: *.w.example http web",
            "under@file: a.w.example http web",
            "deep@file: a.w.example http web, (b.example. is none of the hosts of its parents, so it is not routed)",
            "off@file: (disabled by Traefik: x)",
            "of-off@file: (its parent off@file is disabled by Traefik)",
            "orphan@file: stands: its parent gone@file is not there",
            "circle@file: stands: its parents have too many parents, or are their own",
        ],
    );
}

#[path = "recorded_tests.rs"]
mod recorded;
