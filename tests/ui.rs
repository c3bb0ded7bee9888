//! The web page in a headless Chromium: every page is clicked through, and any complaint in its console, a violation of the policy before
//! all, fails the test. `HALE_PICTURES=DIR` keeps pictures, those of docs/ among them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::backends::Backends;
use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::webdriver::{Browser, ENTER, TAB};
use support::wire::{QueryBuilder, rtype};

const TOKEN: &str = "a-token-of-the-test";

/// Every page but the login, with what its heading says.
const PAGES: [(&str, &str); 12] = [
    ("/ui", "Overview"),
    ("/ui/zones", "Zones"),
    ("/ui/zone?zone=example.test", "example.test"),
    ("/ui/zone?zone=large.test", "large.test"),
    ("/ui/name?name=www.example.test", "www.example.test"),
    ("/ui/targets", "Targets"),
    ("/ui/target?id=0", "http 127.0.0.1"),
    ("/ui/sources", "Sources"),
    ("/ui/overrides", "Overrides"),
    ("/ui/events", "Events"),
    ("/ui/dnssec", "DNSSEC"),
    ("/ui/search?q=www", "Search: www"),
];

/// `www` behind two backends and signed, a large zone, and a source that cannot be reached.
fn server(backends: &Backends) -> Hale {
    let port = backends.address.port();
    let endpoint = |octet: u8, number: u8| {
        format!(
            r#"{{ "address": "192.0.2.{octet}", "probe": "127.0.0.1:{port}", "check": {{ "http": {{ "path": "/{number}" }}, "interval": "200ms", "rise": 1, "fall": 1 }} }}"#
        )
    };
    let zone = format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": {{ "keys": "auto" }},
             "records": {{ "ns1": {{ "A": ["192.0.2.53"] }}, "mail": {{ "A": ["192.0.2.25"] }}, "@": {{ "MX": ["10 mail"], "TXT": ["<b>bold</b>"] }},
                           "www": {{ "A": [{}, {}] }}, "*.apps": {{ "CNAME": "www" }} }} }}"#,
        endpoint(1, 0),
        endpoint(2, 1),
    );
    let many: Vec<String> =
        (0..12_000).map(|i| format!(r#""host{i:05}": ["10.0.{}.{}"]"#, i / 256, i % 256)).collect();
    let large = format!(
        r#"{{ "zone": "large.test", "nameservers": ["ns1.example.test"], "records": {{ {} }} }}"#,
        many.join(", ")
    );
    let config = format!(
        r#"{{ "admin": {{ "token": "{TOKEN}" }},
             "sources": [ {{ "name": "edge", "traefik": {{ "url": "http://127.0.0.1:{}" }}, "default_targets": ["192.0.2.40"], "zones": ["example.test"] }} ] }}"#,
        support::process::free_port()
    );
    Setup::new("ui").zone("example.json", &zone).zone("large.json", &large).config(&config).start()
}

/// The last octets of what is answered for `www`.
fn served(hale: &Hale) -> Vec<u8> {
    let query = QueryBuilder::new("www.example.test", rtype::A);
    let answer = Client::new(hale.address).ask(&query, Via::Udp).unwrap();
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

/// A browser and the server whose pages it shows.
struct Session {
    browser: Browser,
    hale: Hale,
}

impl Session {
    fn open(&self, path: &str) {
        self.browser.open(&format!("http://{}{path}", self.hale.admin));
    }

    /// Neither the console complains, nor does the page scroll sideways.
    fn is_fine(&self, what: &str) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{what}: {complaints:#?}");
        let wide = self.browser.run(
            "return [...document.querySelectorAll('body, body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.hidden'))
                .map(e => e.tagName + '.' + e.className).slice(0, 5)",
        );
        assert_eq!(wide, serde_json::json!([]), "{what}: wider than the window");
        assert_eq!(
            self.browser.run("return document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{what}: scrolls sideways"
        );
    }

    /// By keyboard alone: the field has the focus when the page opens.
    fn log_in(&self) {
        self.open("/ui/login");
        self.browser.press(TOKEN);
        self.browser.press(ENTER);
        self.browser.wait_for("document.body.innerText.includes('Log out')");
        self.is_fine("login");
    }

    fn every_page(&self, what: &str) {
        for (path, heading) in PAGES {
            self.open(path);
            self.browser.wait_for(&format!("document.querySelector('h1').innerText.includes('{heading}')"));
            self.is_fine(&format!("{path} {what}"));
            self.keep(path, what);
        }
    }

    /// Keeps a picture, if pictures are wanted.
    fn keep(&self, path: &str, what: &str) {
        if let Some(folder) = std::env::var_os("HALE_PICTURES") {
            let name = path.trim_start_matches("/ui").trim_start_matches('/');
            let name = name.split(['?', '=']).next().unwrap_or_default();
            let name = if name.is_empty() { "overview" } else { name };
            self.browser.picture(&PathBuf::from(folder).join(format!("{name}-{what}.png")), 1200);
        }
    }
}

#[test]
fn every_page_is_clicked_through_in_a_browser() {
    let Some(browser) = Browser::start("browser") else { return };
    let backends = Backends::start(2);
    let hale = server(&backends);
    until_served(&hale, &[1, 2]);
    let session = Session { browser, hale };
    session.browser.show(1280, 800, "light");
    the_console_would_tell(&session);
    read_only(&session);
    session.log_in();
    menu_and_keyboard(&session);
    an_override_changes_the_answer(&session);
    pages_follow_what_happens(&session, &backends);
    filters_and_pages(&session);
    sources(&session);
    colours(&session);
    for (width, height, colour, what) in [
        (1280, 800, "light", "desktop"),
        (1280, 800, "dark", "desktop-dark"),
        (360, 740, "light", "phone"),
        (360, 740, "dark", "phone-dark"),
    ] {
        session.browser.show(width, height, colour);
        session.every_page(what);
    }
    menu_of_a_phone(&session);
    session.browser.click(".bar form[action='/ui/logout'] button");
    session.browser.wait_for("document.body.innerText.includes('Log in')");
    session.is_fine("logged out");
}

/// What this test rests on: the console tells of violations, and the policy stops what it is there to stop.
fn the_console_would_tell(session: &Session) {
    let Session { browser, .. } = session;
    session.open("/ui");
    session.is_fine("the first page");
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.stolen = 1\"><p style=\"color: red\">x</p>');
         const s = document.createElement('script'); s.textContent = 'window.stolen = 2'; document.body.append(s);
         document.body.setAttribute('hx-on:click', 'window.stolen = 3'); htmx.process(document.body); document.body.click()",
    );
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(browser.run("return window.stolen === undefined"), true);
    let complaints = browser.complaints();
    assert!(
        complaints.iter().filter(|c| c.contains("Content Security Policy")).count() >= 3,
        "{complaints:#?}"
    );
}

/// Before the login everything is shown, and nothing can be changed.
fn read_only(session: &Session) {
    session.every_page("read-only");
    session.open("/ui/sources");
    assert_eq!(session.browser.run("return document.querySelector('main button').disabled"), true);
    session.open("/ui/name?name=www.example.test");
    assert_eq!(session.browser.run("return document.body.innerText.includes('Override…')"), false);
    assert_eq!(session.browser.run("return document.querySelectorAll('b').length"), 0, "escaped");
}

/// Everything in the menu is reached by the Tab key, in the order of the page, and the focus is seen wherever it is.
fn menu_and_keyboard(session: &Session) {
    let Session { browser, .. } = session;
    session.open("/ui");
    browser.press(TAB);
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.press(ENTER);
    browser.wait_for("document.activeElement.id === 'main'");
    session.open("/ui");
    let mut seen = Vec::new();
    for _ in 0..40 {
        browser.press(TAB);
        let focused = browser.run(
            "const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
             if (e === document.body) return null;
             return [e.innerText || e.id || e.getAttribute('aria-label'), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && r.width > 0]",
        );
        if focused.is_null() {
            break;
        }
        assert_eq!(focused[1], true, "the focus is not seen on {focused}");
        seen.push(focused[0].as_str().unwrap_or_default().trim().to_owned());
    }
    let want = ["Skip to the content", "Hale", "search"];
    assert_eq!(seen[..3], want, "{seen:?}");
    let places = ["Overview", "Zones", "Targets", "Sources", "Overrides", "Events", "DNSSEC"]
        .map(|label| seen.iter().position(|s| s == label).unwrap_or_else(|| panic!("{label}: {seen:?}")));
    assert!(places.is_sorted(), "{seen:?}");
    // Every field and button has a name for those who hear the page.
    for (path, _) in PAGES {
        session.open(path);
        let nameless = browser.run(
            "return [...document.querySelectorAll('input:not([type=hidden]), select, button, a')].filter(e =>
                !(e.innerText || '').trim() && !e.getAttribute('aria-label') && !(e.labels && e.labels.length)).map(e => e.outerHTML)",
        );
        assert_eq!(nameless, serde_json::json!([]), "{path}");
    }
    // A page of the menu by keys alone.
    session.open("/ui");
    browser.run("document.querySelector('.side a[href=\"/ui/targets\"]').focus()");
    browser.press(ENTER);
    browser.wait_for("location.pathname === '/ui/targets'");
    for href in ["/ui/zones", "/ui/sources", "/ui/overrides", "/ui/events", "/ui/dnssec", "/ui"] {
        browser.click(&format!(".side a[href='{href}']"));
        browser.wait_for(&format!("location.pathname === '{href}'"));
        session.is_fine(href);
    }
}

/// Overrides a target from the page of its name, and clears it again; each change is asked about first.
fn an_override_changes_the_answer(session: &Session) {
    let Session { browser, hale } = session;
    session.open("/ui/name?name=www.example.test");
    browser.click("a[aria-label='Override 192.0.2.1']");
    browser.wait_for("location.pathname === '/ui/overrides'");
    assert_eq!(browser.run("return document.querySelector('#subject').value"), "address:192.0.2.1");
    browser.click("#word option[value='down']");
    browser.fill("#reason", "a <b>test</b>");
    browser.click("#new button");
    browser.wait_for("document.querySelector('#confirm').open");
    assert_eq!(
        browser.run("return document.activeElement.innerText"),
        "Cancel",
        "the safe answer comes first"
    );
    browser.press(ENTER);
    browser.wait_for("!document.querySelector('#confirm').open");
    assert_eq!(served(hale), [1, 2], "cancelled");
    browser.click("#new button");
    browser.click("#confirm-do");
    browser.wait_for("location.pathname === '/ui/name'");
    browser.wait_for(
        "document.querySelector('[role=status].good')?.innerText.includes('Set: down for address:192.0.2.1')",
    );
    assert_eq!(served(hale), [2], "answers follow when the page comes back");
    browser.wait_for("document.body.innerText.includes('override 1: down')");
    session.is_fine("overridden");
    session.keep("/ui/name", "overridden");
    session.open("/ui/overrides");
    browser.wait_for("document.body.innerText.includes('a <b>test</b>')");
    browser.click("form[action='/ui/overrides/clear'] button");
    browser.click("#confirm-do");
    browser.wait_for("document.querySelector('[role=status].good')?.innerText.includes('Cleared')");
    assert_eq!(served(hale), [1, 2]);
    session.is_fine("cleared");
}

/// A page that is open shows what has happened without being loaded again.
fn pages_follow_what_happens(session: &Session, backends: &Backends) {
    let Session { browser, hale } = session;
    session.open("/ui/targets");
    browser.run("window.mine = 1");
    browser.wait_for("document.querySelector('svg.spark rect')");
    // The stream has to be there before there is news, or the page waits for its clock.
    std::thread::sleep(Duration::from_secs(1));
    let since = Instant::now();
    backends.set(1, false);
    browser.wait_for("document.querySelector('#live td .state.bad')");
    assert!(since.elapsed() < Duration::from_secs(10), "by news, not by the clock: {:?}", since.elapsed());
    assert_eq!(browser.run("return window.mine"), 1, "the page was not loaded again");
    until_served(hale, &[1]);
    session.open("/ui/events");
    browser.wait_for("document.body.innerText.includes('target-flip')");
    session.open("/ui");
    browser.wait_for("document.querySelector('.attention').innerText.includes('down')");
    session.is_fine("something is down");
    session.keep("/ui", "down");
    backends.set(1, true);
    until_served(hale, &[1, 2]);
}

/// Lists are narrowed and turned over on the server: of twelve thousand names a page has fifty.
fn filters_and_pages(session: &Session) {
    let Session { browser, .. } = session;
    session.open("/ui/zone?zone=large.test");
    assert_eq!(browser.run("return document.querySelectorAll('tbody tr').length"), 50);
    browser.click("a[rel=next]");
    browser.wait_for("document.querySelector('tbody th').innerText.includes('host00049')");
    browser.click("a[rel=prev]");
    browser.wait_for("document.querySelector('tbody th').innerText.includes('large.test') && !document.querySelector('a[rel=prev]')");
    browser.run("window.mine = 1");
    browser.fill("#filter", "host0777");
    browser.wait_for("document.querySelectorAll('tbody tr').length === 10");
    assert_eq!(
        browser.run("return [window.mine, document.activeElement.id]"),
        serde_json::json!([1, "filter"])
    );
    browser.fill("#search", "192.0.2");
    browser.press(ENTER);
    browser.wait_for("location.pathname === '/ui/search'");
    session.open("/ui/targets?verdict=down");
    browser.wait_for("document.body.innerText.includes('No target matches.')");
    session.is_fine("filters");
}

/// Pauses a source and lets it go on, and reads the zones again.
fn sources(session: &Session) {
    let Session { browser, .. } = session;
    for (label, says) in [("Pause", "is left alone"), ("Resume", "goes on"), ("Resync", "listed afresh")] {
        session.open("/ui/sources");
        browser.run(&format!(
            "[...document.querySelectorAll('main button')].find(b => b.innerText === '{label}').id = 'wanted'"
        ));
        browser.click("#wanted");
        browser.click("#confirm-do");
        browser.wait_for(&format!(
            "document.querySelector('main > .note[role=status]:not([hidden])')?.innerText.includes('{says}')"
        ));
        session.is_fine(label);
    }
    session.open("/ui/zones");
    browser.click("form[action='/ui/reload'] button");
    browser.click("#confirm-do");
    browser.wait_for(
        "document.querySelector('main > .note[role=status]:not([hidden])')?.innerText.includes('Read again')",
    );
    session.open("/ui/dnssec");
    browser.click(".copy button");
    browser.wait_for("document.querySelector('.copy button').innerText !== 'Copy'");
    session.is_fine("DNSSEC");
}

/// The switch beats what the browser prefers, and is remembered.
fn colours(session: &Session) {
    let Session { browser, .. } = session;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    session.open("/ui");
    let light = browser.run(ground);
    browser.show(1280, 800, "dark");
    session.open("/ui");
    let dark = browser.run(ground);
    assert_ne!(light, dark);
    browser.click("button.theme");
    assert_eq!(browser.run(ground), light);
    session.open("/ui/zones");
    assert_eq!(browser.run(ground), light, "it is remembered");
    browser.run("document.cookie = 'hale_theme=; Path=/ui; Max-Age=0'");
    session.is_fine("colours");
}

fn menu_of_a_phone(session: &Session) {
    let Session { browser, .. } = session;
    session.open("/ui");
    let shown = "return getComputedStyle(document.querySelector('#menu')).display !== 'none'";
    assert_eq!(browser.run(shown), false);
    browser.click("button.menu");
    assert_eq!(browser.run("return document.querySelector('button.menu').ariaExpanded"), "true");
    assert_eq!(browser.run(shown), true);
    session.is_fine("the menu of a phone");
    browser.click(".side a[href='/ui/dnssec']");
    browser.wait_for("location.pathname === '/ui/dnssec'");
}
