//! The web page in a headless Chromium: every page is clicked through, and any complaint in its console, a violation of the policy before
//! all, fails the test. `HALE_PICTURES=DIR` keeps pictures, those of docs/ among them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::backends::Backends;
use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::webdriver::{Browser, ENTER, ESCAPE, TAB};
use support::wire::{QueryBuilder, rtype};

const TOKEN: &str = "a-token-of-the-test";

/// Every page but the login, with what its heading says.
const PAGES: [(&str, &str); 15] = [
    ("/ui", "Overview"),
    ("/ui/zones", "Zones"),
    ("/ui/zone?zone=example.test", "example.test"),
    ("/ui/zone?zone=large.test", "large.test"),
    ("/ui/zone?zone=hostile.test&view=both", "hostile.test"),
    ("/ui/name?name=www.example.test", "www.example.test"),
    ("/ui/targets", "Targets"),
    ("/ui/target?id=0", "http 127.0.0.1"),
    ("/ui/sources", "Sources"),
    ("/ui/overrides", "Overrides"),
    ("/ui/events", "Events"),
    ("/ui/dnssec", "DNSSEC"),
    ("/ui/search?q=www", "Search: www"),
    ("/ui/test", "Test a name"),
    ("/ui/test?hostname=shop.example.test", "Test a name"),
];

/// Says which texts of a page have too little contrast to their ground (WCAG 2.2, 1.4.3): less than 4.5 to 1. What is disabled does not count.
const TOO_FAINT: &str = "
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const read = (colour) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] / 255 + below[i] * (1 - top[3] / 255)).concat(255);
    const ground = (e) => {
        const layers = [];
        for (let at = e; at; at = at.parentElement) layers.push(read(getComputedStyle(at).backgroundColor));
        return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 255]);
    };
    const light = (c) => {
        const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const says = (e) => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches('input:not([type=hidden]), select');
    return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && says(e) && !e.closest('.hidden, :disabled, noscript')).flatMap(e => {
        const below = ground(e);
        const texts = [getComputedStyle(e).color, ...(e.placeholder ? [getComputedStyle(e, '::placeholder').color] : [])];
        return texts.map(text => {
            const [a, b] = [light(over(read(text), below)), light(below)].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), e.tagName + '.' + e.className + ' ' + text];
        }).filter(([contrast]) => contrast < 4.5);
    })";

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
             "sources": [ {{ "name": "edge", "traefik": {{ "url": "http://127.0.0.1:{}" }}, "default_targets": ["192.0.2.40"], "zones": ["example.test"] }},
                {{ "name": "inner", "traefik": {{ "url": "http://{}" }}, "default_targets": ["192.0.2.41"], "zones": ["example.test"], "check": "none", "poll": "1s" }} ] }}"#,
        support::process::free_port(),
        support::traefik::Api::start(&["shop"]).address
    );
    let setup = Setup::new("ui").zone("example.json", &zone).zone("large.json", &large);
    setup.zone("hostile.json", &hostile()).config(&config).start()
}

/// What somebody else may have written: labels and texts that look like HTML, names as long as they get, of other scripts, and a thousand targets.
fn hostile() -> String {
    // Pictures are to show an ordinary day.
    let count = if std::env::var_os("HALE_PICTURES").is_some() { 3 } else { 1000 };
    let long = ["a", "b", "c"].map(|letter| letter.repeat(63)).join(".");
    let targets: Vec<String> =
        (0..count).map(|i| format!(r#""127.9.{}.{}""#, i / 250, i % 250 + 1)).collect();
    format!(
        r#"{{ "zone": "hostile.test", "nameservers": ["ns1.example.test"], "records": {{
            "\\060script\\062alert\\0401\\041\\060\\047script\\062": {{ "TXT": ["<img src=x onerror=\"window.stolen=4\">", "<script>window.stolen=5</script>"] }},
            "{long}": {{ "A": ["192.0.2.9"], "TXT": ["{}"] }},
            "xn--bcher-kva.xn--zckzah": ["192.0.2.8"],
            "many": {{ "A": [{}], "check": {{ "tcp": 9, "interval": "5s", "fall": 1 }} }} }} }}"#,
        "long ".repeat(200),
        targets.join(", ")
    )
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
            assert_eq!(self.browser.run(TOO_FAINT), serde_json::json!([]), "{path} {what}: too faint");
            self.keep(path, what);
        }
    }

    /// Keeps a picture, if pictures are wanted.
    fn keep(&self, path: &str, what: &str) {
        if let Some(folder) = std::env::var_os("HALE_PICTURES") {
            let name = path.trim_start_matches("/ui").trim_start_matches('/');
            let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let name = if name.is_empty() { "overview" } else { &name };
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
    a_hidden_name_leaves_dns(&session);
    explained_for_a_network(&session);
    a_backup_is_downloaded(&session);
    pages_follow_what_happens(&session, &backends);
    filters_and_pages(&session);
    sources(&session);
    colours(&session);
    for (width, height, colour, what) in [
        (1280, 800, "light", "desktop"),
        (1280, 800, "dark", "desktop-dark"),
        (360, 740, "light", "phone"),
        (390, 844, "dark", "phone-dark"),
    ] {
        session.browser.show(width, height, colour);
        session.every_page(what);
    }
    assert_eq!(session.browser.run("return window.stolen === undefined"), true);
    menu_of_a_phone(&session);
    less_motion(&session);
    without_scripts(&session);
    session.browser.click(".bar form[action='/ui/logout'] button");
    session.browser.wait_for("document.body.innerText.includes('Log in')");
    session.is_fine("logged out");
    the_end(&session);
}

/// Takes a discovered name out of DNS from the page that tests it, and publishes it again.
fn a_hidden_name_leaves_dns(session: &Session) {
    let Session { browser, hale } = session;
    until_shop(hale, &[41]);
    session.open("/ui/test");
    browser.press("shop.example.test");
    browser.press(ENTER);
    browser.wait_for("document.querySelector('#live')?.innerText.includes('192.0.2.41')");
    browser.wait_for("document.querySelector('#live').innerText.includes('shop@docker')");
    session.is_fine("tested");
    session.keep("/ui/test", "tested");
    browser.click("#live a[href*='hide=']");
    browser.wait_for("location.pathname === '/ui/overrides'");
    assert_eq!(browser.run("return document.querySelector('#hidden-name').value"), "shop.example.test");
    browser.fill("#hidden-reason", "moves <b>away</b>");
    browser.click("#hidden-for option[value='15m']");
    browser.click("#hide button");
    browser.wait_for("document.querySelector('#confirm').open");
    // Escape is no, and the focus is where it was.
    browser.press(ESCAPE);
    browser.wait_for("!document.querySelector('#confirm').open");
    assert_eq!(browser.run("return document.activeElement.innerText"), "Hide the name");
    assert_eq!(shop(hale), [41], "not hidden");
    browser.click("#hide button");
    browser.click("#confirm-do");
    browser.wait_for(
        "document.querySelector('[role=status].good')?.innerText.includes('shop.example.test is hidden')",
    );
    until_shop(hale, &[]);
    session.is_fine("hidden");
    session.keep("/ui/overrides", "hidden");
    session.open("/ui/test?hostname=shop.example.test");
    browser.wait_for("document.querySelector('#live').innerText.includes('moves <b>away</b>')");
    session.open("/ui/overrides");
    browser.click("form[action='/ui/unhide'] button");
    browser.click("#confirm-do");
    browser.wait_for("document.querySelector('[role=status].good')?.innerText.includes('published again')");
    until_shop(hale, &[41]);
}

fn shop(hale: &Hale) -> Vec<u8> {
    let query = QueryBuilder::new("shop.example.test", rtype::A);
    let answer = Client::new(hale.address).ask(&query, Via::Udp).unwrap();
    answer.answers(rtype::A).map(|record| record.rdata[3]).collect()
}

fn until_shop(hale: &Hale, want: &[u8]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while shop(hale) != want {
        assert!(Instant::now() < deadline, "{:?} and not {want:?}: {}", shop(hale), hale.output());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The page of a name asks on behalf of a resolver's clients, and what is down stands beside what is answered on the page of its zone.
fn explained_for_a_network(session: &Session) {
    let Session { browser, .. } = session;
    session.open("/ui/name?name=www.example.test");
    browser.fill("input[name=ecs]", "198.51.100.0/24");
    browser.press(ENTER);
    browser.wait_for("location.search.includes('ecs=198.51.100.0%2F24')");
    browser.wait_for("document.querySelector('#live').innerText.includes('198.51.100.0/24')");
    session.open("/ui/name?name=www.example.test&ecs=nonsense");
    browser.wait_for("document.body.innerText.includes('is not a network')");
    // The console tells of the status 400.
    browser.complaints();
    session.open("/ui/zone?zone=example.test");
    browser.click("#view option[value=both]");
    browser.wait_for("document.querySelector('#live thead').innerText.includes('Configured')");
    session.is_fine("both views");
}

/// The state directory comes as a file, after a question.
fn a_backup_is_downloaded(session: &Session) {
    let Session { browser, hale } = session;
    let folder = hale.folder().join("downloads");
    std::fs::create_dir(&folder).unwrap();
    browser.download_to(&folder);
    session.open("/ui");
    browser.click("form[action='/ui/backup'] button");
    browser.click("#confirm-do");
    let deadline = Instant::now() + Duration::from_secs(20);
    let found = || {
        let mut files = std::fs::read_dir(&folder).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        files.find(|path| path.extension().is_some_and(|extension| extension == "tar"))
    };
    let file = loop {
        if let Some(file) = found() {
            break file;
        }
        assert!(Instant::now() < deadline, "no backup in {}", folder.display());
        std::thread::sleep(Duration::from_millis(50));
    };
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(&bytes[257..262], b"ustar");
    session.is_fine("backup");
}

/// Nothing moves for who wants that.
fn less_motion(session: &Session) {
    let Session { browser, .. } = session;
    let moving = "return [...document.querySelectorAll('*')].filter(e => {
        const s = getComputedStyle(e);
        return s.animationName !== 'none' || s.transitionDuration.split(',').some(t => parseFloat(t) > 0);
    }).length";
    browser.show(1280, 800, "light");
    session.open("/ui");
    assert_ne!(browser.run(moving), 0, "otherwise this shows nothing");
    browser.prefer(&[("prefers-reduced-motion", "reduce")]);
    session.open("/ui");
    assert_eq!(browser.run(moving), 0);
    browser.show(390, 844, "light");
}

/// Pages can be read, lists narrowed and the menu used without scripts, on a phone too.
fn without_scripts(session: &Session) {
    let Session { browser, .. } = session;
    browser.scripting(false);
    for (path, heading) in PAGES {
        session.open(path);
        assert_eq!(
            browser.run(&format!("return document.querySelector('h1').innerText.includes('{heading}')")),
            true,
            "{path}"
        );
        session.is_fine(&format!("{path} without scripts"));
    }
    session.open("/ui/zone?zone=large.test");
    browser.click(".side a[href='/ui/targets']");
    browser.wait_for("location.pathname === '/ui/targets'");
    session.open("/ui/zone?zone=large.test");
    browser.fill("#filter", "host0777");
    browser.click("form.filter button");
    browser.wait_for("document.querySelectorAll('tbody tr').length === 10");
    browser.scripting(true);
    browser.show(1280, 800, "light");
}

/// A login that is over says so, and so does a page whose server has gone.
fn the_end(session: &Session) {
    let Session { browser, hale } = session;
    session.log_in();
    session.open("/ui/zones");
    // The session ends behind the page's back.
    browser.run(
        "const csrf = document.querySelector('input[name=csrf]').value;
         fetch('/ui/logout', { method: 'POST', body: new URLSearchParams({ csrf }) }).then(() => { window.over = 1; })",
    );
    browser.wait_for("window.over");
    browser.click("form[action='/ui/reload'] button");
    browser.click("#confirm-do");
    browser.wait_for("document.body.innerText.includes('a change needs a login')");
    session.keep("/ui", "login-over");
    session.open("/ui/targets");
    hale.signal("TERM");
    browser.wait_for("!document.querySelector('#offline').hidden");
    session.keep("/ui/targets", "gone");
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
    session.open("/ui/targets?q=www.example.test");
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
    browser.wait_for("document.querySelector('.attention').innerText.includes('www.example.test/1')");
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
    session.open("/ui/targets?verdict=down&q=nowhere");
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

/// Two targets fail at once and are held up by the brake, until somebody lets them go from the page.
#[test]
fn the_brake_is_released_from_the_page() {
    let Some(browser) = Browser::start("browser-brake") else { return };
    let backends = Backends::start(2);
    let port = backends.address.port();
    let endpoint = |octet: u8, number: u8| {
        format!(
            r#"{{ "address": "192.0.2.{octet}", "probe": "127.0.0.1:{port}", "check": {{ "http": {{ "path": "/{number}" }}, "interval": "200ms", "rise": 1, "fall": 1 }} }}"#
        )
    };
    let zone = format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"],
             "records": {{ "ns1": ["192.0.2.53"], "www": {{ "A": [{}, {}], "when_all_down": "none" }} }} }}"#,
        endpoint(1, 0),
        endpoint(2, 1),
    );
    let config = format!(
        r#"{{ "admin": {{ "token": "{TOKEN}" }}, "health": {{ "brake": {{ "down_percent": 50, "min_targets": 2 }} }} }}"#
    );
    let hale = Setup::new("ui-brake").zone("example.json", &zone).config(&config).start();
    until_served(&hale, &[1, 2]);
    let session = Session { browser, hale };
    session.browser.show(1280, 800, "light");
    session.log_in();
    [0, 1].iter().for_each(|number| backends.set(*number, false));
    session.open("/ui");
    session.browser.wait_for("document.body.innerText.includes('The brake holds verdicts')");
    assert_eq!(served(&session.hale), [1, 2], "held");
    session.keep("/ui", "braked");
    session.browser.click("form[action='/ui/brake'] button");
    session.browser.click("#confirm-do");
    session.browser.wait_for(
        "document.querySelector('[role=status].good')?.innerText.includes('The brake is released')",
    );
    until_served(&session.hale, &[]);
    session.is_fine("released");
}
