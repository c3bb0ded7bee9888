//! The web page over real sockets, with a fake server behind it.

use std::time::{Duration, Instant};

use super::*;
use crate::model::discovery_report::FailureReport;
use crate::model::event::{EventKind, News};
use crate::model::insight::{
    Attempt, KeyRow, NameRow, NamesPage, NamesQuery, RecordRow, RrsetRow, SigningReport,
};

/// What an attacker who controls a label, a source's error or a reason would write.
const EVIL: &str = "<script>alert(1)</script>\"'&";
const EVIL_ESCAPED: &str = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;";

const POLICY: &str = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n";

impl Insight for Fake {
    fn attempts(&self, ids: &[u32]) -> Vec<Vec<Attempt>> {
        ids.iter().map(|_| vec![Attempt::Good { took_us: 900 }, Attempt::Bad]).collect()
    }

    fn names(&self, query: &NamesQuery) -> Option<NamesPage> {
        let page = NamesPage { names: vec![evil_row()], of: 1, ..NamesPage::default() };
        (query.zone.to_string() == "example.test.").then_some(page)
    }

    fn name_row(&self, _zone: &Name, _name: &Name) -> Option<NameRow> {
        Some(evil_row())
    }

    fn signing(&self) -> Vec<SigningReport> {
        let key = KeyRow { tag: 7, ds: Some(EVIL.into()), ..KeyRow::default() };
        vec![SigningReport { zone: "example.test.".into(), keys: vec![key], ..SigningReport::default() }]
    }

    fn release_health_brake(&self, _owner: &str) -> bool {
        true
    }
}

fn evil_row() -> NameRow {
    let data = vec![RecordRow { text: EVIL.into(), is_both: false }];
    let rrset = RrsetRow { rtype: "TXT".into(), ttl: 300, data, count: 1 };
    NameRow {
        name: format!("{EVIL}.example.test."),
        rrsets: vec![rrset.clone()],
        configured: vec![rrset],
        from: vec![EVIL.into()],
        ..NameRow::default()
    }
}

/// Every page, as somebody who is logged in may ask for it.
const PAGES: [&str; 14] = [
    "/ui",
    "/ui/zones",
    "/ui/zone?zone=example.test",
    "/ui/name?name=www.example.test",
    "/ui/targets",
    "/ui/target?id=7",
    "/ui/sources",
    "/ui/overrides",
    "/ui/events",
    "/ui/dnssec",
    "/ui/test",
    "/ui/test?hostname=www.example.test",
    "/ui/search?q=a",
    "/ui/login",
];

fn get(server: &Running, path: &str, headers: &str) -> Answer {
    exchange(server.tcp(), &format!("GET {path}"), headers, "")
}

/// Sends a form as a browser does that shows a page of this server.
fn post(server: &Running, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\nSec-Fetch-Site: same-origin\r\n{headers}"
    );
    exchange(server.tcp(), &format!("POST {path}"), &headers, body)
}

/// The head of an answer keeps its case here: tokens in cookies are not to be lowered.
fn log_in(server: &Running, token: &str) -> Option<String> {
    let body = format!("token={token}");
    let mut stream = server.tcp();
    let request = format!(
        "POST /ui/login HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    assert_eq!(
        cookie.split_once("; ").unwrap().1,
        "Path=/ui; Max-Age=43200; HttpOnly; SameSite=Strict",
        "the token itself is never in it: {cookie}"
    );
    assert!(!cookie.contains(token));
    Some(format!("Cookie: {}\r\n", cookie.split(';').next().unwrap()))
}

/// What the forms of a session bring along.
fn csrf(server: &Running, cookie: &str) -> String {
    let page = get(server, "/ui/overrides", cookie);
    let text = page.text();
    let start = text.find("name=\"csrf\" value=\"").expect("a form") + 19;
    text[start..].split('"').next().unwrap().to_owned()
}

#[test]
fn pages_carry_the_policy_and_nothing_inline() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let answers = PAGES.iter().chain(&["/ui/nothing", "/ui/target?id=8", "/ui/assets/hale.css"]);
    for path in answers {
        let page = get(&server, path, "");
        assert!(format!("{}\r\n", page.head).contains(POLICY), "{path}: {}", page.head);
        for header in
            ["x-content-type-options: nosniff", "x-frame-options: deny", "referrer-policy: no-referrer"]
        {
            assert!(page.head.contains(header), "{path}: {}", page.head);
        }
        let text = page.text();
        for inline in ["<style", " style=", "<script>", " onclick=", "javascript:", "http://", "https://"] {
            let outside = text.replace("http://www.w3.org/", "");
            assert!(!outside.contains(inline), "{path} has {inline}");
        }
    }
    assert_eq!(get(&server, "/ui/nothing", "").status, 404);
    assert_eq!(get(&server, "/ui/target?id=8", "").status, 404);
    let asset = get(&server, "/ui/assets/htmx.js", "");
    assert!(asset.head.contains("cache-control: public, max-age=31536000, immutable"), "{}", asset.head);
    assert!(get(&server, "/ui", "").head.contains("cache-control: no-store"));
    let root = get(&server, "/", "");
    assert!(root.status == 303 && root.head.contains("location: /ui"), "{}", root.head);
}

#[test]
fn what_others_wrote_is_escaped() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    server.fake.evil.store(true, Ordering::Relaxed);
    server.fake.events.publish(News::new(EventKind::SourceFailed, EVIL).about("example.test.", EVIL));
    let cookie = log_in(&server, "s3cret").unwrap();
    let evil_query = "%3Cscript%3Ealert(1)%3C/script%3E%22'%26";
    for (path, shows) in [
        ("/ui", true),
        ("/ui/zone?zone=example.test", true),
        ("/ui/targets", true),
        ("/ui/target?id=7", true),
        ("/ui/sources", true),
        ("/ui/overrides", false),
        ("/ui/events", true),
        ("/ui/dnssec", true),
        (&format!("/ui/search?q={evil_query}"), true),
        (&format!("/ui/targets?q={evil_query}&verdict={evil_query}"), true),
        (&format!("/ui/overrides?subject={evil_query}&back={evil_query}"), true),
        (&format!("/ui/name?name={evil_query}"), false),
    ] {
        let page = get(&server, path, &cookie);
        let text = page.text();
        assert!(!text.contains("<script>") && !text.contains("</script>\""), "{path}: {text}");
        assert_eq!(text.contains("&lt;script&gt;alert(1)"), shows || page.status == 400, "{path}: {text}");
    }
    assert!(get(&server, "/ui/zone?zone=example.test", "").text().contains(EVIL_ESCAPED));
}

#[test]
fn who_may_read() {
    // On loopback everybody of this machine, elsewhere whoever has logged in.
    let loopback = Running::start("127.0.0.1", Some("s3cret"));
    let open = Running::start("0.0.0.0", Some("s3cret"));
    for path in PAGES.iter().filter(|path| **path != "/ui/login") {
        assert_eq!(get(&loopback, path, "").status, 200, "{path}");
        let refused = get(&open, path, "");
        assert_eq!(refused.status, 303, "{path}");
        assert!(refused.head.contains("location: /ui/login?next=%2fui"), "{}", refused.head);
        assert!(refused.body.is_empty(), "{path}");
        // Of a part of a page htmx makes a whole one.
        let part = get(&open, path, "HX-Request: true\r\n");
        assert!(part.status == 401 && part.head.contains("hx-redirect: /ui/login"), "{}", part.head);
    }
    assert_eq!(get(&open, "/ui/events/stream", "").status, 303);
    assert_eq!(get(&open, "/ui/login", "").status, 200);
    assert_eq!(get(&open, "/ui/assets/hale.css", "").status, 200);
    let cookie = log_in(&open, "s3cret").unwrap();
    for path in PAGES.iter().filter(|path| **path != "/ui/login") {
        assert_eq!(get(&open, path, &cookie).status, 200, "{path}");
    }
    let forged = "Cookie: hale_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";
    assert_eq!(get(&open, "/ui", forged).status, 303);
    // A name that somebody pointed at this machine (DNS rebinding), logged in or not.
    let cookie = log_in(&loopback, "s3cret").unwrap();
    for headers in ["Host: evil.example:8053\r\n".to_owned(), format!("Host: evil.example:8053\r\n{cookie}")]
    {
        for path in ["/ui", "/ui/login", "/ui/assets/hale.js", "/ui/events/stream"] {
            assert_eq!(get(&loopback, path, &headers).status, 403, "{path}");
        }
    }
}

#[test]
fn a_change_takes_a_login_and_a_form_of_it() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let form = "subject=pool%3Afra&word=drain&for=1h&reason=x";
    assert_eq!(post(&server, "/ui/overrides", "", form).status, 401, "nobody is logged in");
    assert!(log_in(&server, "wrong").is_none());
    let cookie = log_in(&server, "s3cret").unwrap();
    assert_eq!(post(&server, "/ui/overrides", &cookie, form).status, 403, "no page of this session sent it");
    let foreign = format!("csrf={}&{form}", csrf(&server, &log_in(&server, "s3cret").unwrap()));
    assert_eq!(post(&server, "/ui/overrides", &cookie, &foreign).status, 403, "a form of another session");
    let own = format!("csrf={}&{form}", csrf(&server, &cookie));
    let cross = format!("Sec-Fetch-Site: cross-site\r\n{cookie}Content-Length: {}\r\n", own.len());
    assert_eq!(exchange(server.tcp(), "POST /ui/overrides", &cross, &own).status, 403, "another site");
    let bare = format!("{cookie}Content-Length: {}\r\n", own.len());
    assert_eq!(exchange(server.tcp(), "POST /ui/overrides", &bare, &own).status, 403, "nobody knows whence");

    assert_eq!(post(&server, "/ui/overrides", &cookie, &own).status, 303);
    let told = get(&server, "/ui/overrides", &cookie);
    assert!(told.text().contains("Set: drain for pool:fra; it concerns 2 names."), "{}", told.text());
    assert!(!get(&server, "/ui/overrides", &cookie).text().contains("Set: drain"), "it is told once");

    let csrf = csrf(&server, &cookie);
    let cases = [
        ("/ui/overrides", format!("{form}&csrf={csrf}&back=https://evil.example/"), "/ui", ""),
        (
            "/ui/overrides",
            "subject=pool%3Abad&word=down&for=1h&reason=x".into(),
            "/ui/overrides?subject=pool%3Abad",
            "no such thing",
        ),
        ("/ui/overrides", "subject=x&word=sideways".into(), "/ui/overrides", "neither up, down nor drain"),
        ("/ui/overrides/clear", "id=3".into(), "/ui/overrides", "Cleared"),
        ("/ui/overrides/clear", "id=4".into(), "/ui/overrides", "gone already"),
        ("/ui/sources", "source=edge&action=resync".into(), "/ui/sources", "listed afresh"),
        ("/ui/sources", "source=edge&action=explode".into(), "/ui/sources", "Not done: no"),
        ("/ui/sources", "source=nix&action=resync".into(), "/ui/sources", "There is no source nix"),
        ("/ui/reload", String::new(), "/ui/zones", "Read again"),
        ("/ui/brake", String::new(), "/ui/targets", "The brake is released"),
        ("/ui/hide", "name=a.test&for=1h&reason=x".into(), "/ui/overrides", "a.test is hidden"),
        ("/ui/unhide", "name=a.test".into(), "/ui/overrides", "not hidden any more"),
        ("/ui/unhide", "name=a..test".into(), "/ui/overrides", "not hidden any more"),
    ];
    for (path, form, back, says) in cases {
        let answer = post(&server, path, &cookie, &format!("{form}&csrf={csrf}"));
        let location = format!("{}\r\n", answer.head);
        assert!(
            answer.status == 303
                && location.contains(&format!("location: {}\r\n", back.to_ascii_lowercase())),
            "{path} {form}: {}",
            answer.head
        );
        assert!(get(&server, back, &cookie).text().contains(says), "{path} {form}");
    }
    assert_eq!(server.fake.reloads.load(Ordering::Relaxed), 1);

    assert_eq!(post(&server, "/ui/logout", &cookie, &format!("csrf={csrf}")).status, 303);
    assert_eq!(post(&server, "/ui/overrides", &cookie, &own).status, 401, "the login is over");
}

#[test]
fn wrong_tokens_are_slowed_down() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let statuses: Vec<u16> = (0..7).map(|_| post(&server, "/ui/login", "", "token=x").status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
}

#[test]
fn without_a_token_nobody_can_log_in() {
    let server = Running::start("127.0.0.1", None);
    assert!(get(&server, "/ui/login", "").text().contains("given no token"));
    assert_eq!(post(&server, "/ui/login", "", "token=").status, 403);
    assert_eq!(post(&server, "/ui/reload", "", "").status, 403);
    assert!(!get(&server, "/ui", "").text().contains("Log in"));
}

#[test]
fn the_unix_socket_needs_no_login() {
    let server = Running::start("127.0.0.1", Some("s3cret"));
    let page = exchange(server.unix(), "GET /ui/overrides", "", "");
    let csrf = page.text().split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let send = |csrf: &str, site: &str| {
        let body = format!("csrf={csrf}&id=3");
        let headers = format!("Sec-Fetch-Site: {site}\r\nContent-Length: {}\r\n", body.len());
        exchange(server.unix(), "POST /ui/overrides/clear", &headers, &body).status
    };
    assert_eq!(send(csrf, "same-origin"), 303);
    assert_eq!(send(csrf, "cross-site"), 403);
    assert_eq!(send("", "same-origin"), 403);
    assert_eq!(exchange(server.unix(), "GET /ui", "Host: evil.example\r\n", "").status, 403);
}

#[test]
fn open_pages_are_told_that_something_has_happened() {
    let server = Running::start("127.0.0.1", None);
    let mut stream = server.tcp();
    stream.write_all(b"GET /ui/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut seen = String::new();
    let mut read_until = |what: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(what) {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
    };
    read_until(": watching");
    server.fake.events.publish(News::new(EventKind::ReloadDone, "secret words"));
    read_until("event: news");
    assert!(seen.contains("content-type: text/event-stream") && !seen.contains("secret"), "{seen}");
    // It does not keep the server from stopping.
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

/// Five hundred browsers: as many as there are places for are told by a stream, the others are told so at once and go by their clocks, and whoever
/// opens a page is answered.
#[test]
fn of_many_browsers_some_are_told_by_a_stream() {
    let server = Running::start("127.0.0.1", None);
    let open = || {
        let mut stream = server.tcp();
        stream.write_all(b"GET /ui/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (String::from_utf8_lossy(&head).into_owned(), stream)
    };
    let mut told = Vec::new();
    let mut refused = 0;
    for _ in 0..490 {
        match open() {
            (head, stream) if head == "HTTP/1.1 200" => told.push(stream),
            (head, _) => refused += u32::from(head == "HTTP/1.1 503"),
        }
    }
    assert_eq!((told.len(), refused), (64, 426));
    server.fake.events.publish_all((0..10_000).map(|_| News::new(EventKind::ReloadDone, "x")));
    let page = exchange(server.unix(), "GET /ui/events", "", "");
    assert_eq!(page.status, 200);
    assert_eq!(exchange(server.tcp(), "GET /healthz", "", "").status, 200);
    told.clear();
    // A place is free as soon as the server has seen that somebody has gone.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while open().0 != "HTTP/1.1 200" {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Who follows the events and takes none of them is let go of: what he has not taken is not kept for him.
#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let server = Running::start_late("127.0.0.1", None, true, |_| {});
    let mut stream = server.tcp();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let long = "x".repeat(16 * 1024);
    server.fake.events.publish_all((0..2000).map(|_| News::new(EventKind::ReloadDone, long.clone())));
    std::thread::sleep(Duration::from_secs(2));
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    // It ends, by a reset or in the middle of the stream, which by itself has no end.
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            break;
        }
        taken += n;
    }
    assert!(taken < 2000 * long.len() / 2, "{taken} octets waited for nobody");
}

/// What the fake says when somebody else has written it.
pub(super) fn evil_source(mut source: SourceReport) -> SourceReport {
    source.state = "failing".into();
    source.failure = Some(FailureReport { text: EVIL.into(), ..FailureReport::default() });
    source
}

pub(super) fn evil_target(mut target: TargetReport) -> TargetReport {
    target.target = EVIL.into();
    target.problem = Some(EVIL.into());
    target
}
