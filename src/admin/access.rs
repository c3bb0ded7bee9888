//! Who may read and change what (interface.md, "HTTP"), as a pure function of the door, the method and the headers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use axum::http::{HeaderMap, Method, StatusCode, header};
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::watch;

use super::limit::Limiter;
use super::problem::Refusal;

/// The socket that a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The unix socket, which its mode keeps for the server's own user.
    Unix,
    /// A TCP listener on a loopback address.
    Loopback,
    /// A TCP listener that others reach.
    Open,
}

impl Door {
    /// The door that a TCP listener on `address` is.
    pub(super) fn of(address: SocketAddr) -> Self {
        if address.ip().to_canonical().is_loopback() { Self::Loopback } else { Self::Open }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A probe or metrics page.
    Page,
    /// Something of the API without changing it.
    Read,
    /// Anything else.
    Change,
}

impl Wish {
    /// What `method` on `path` asks for.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        match method {
            &Method::GET | &Method::HEAD if matches!(path, "/healthz" | "/readyz" | "/metrics") => Self::Page,
            &Method::GET | &Method::HEAD => Self::Read,
            _ => Self::Change,
        }
    }
}

/// The token to be presented. What is kept is its HMAC under a key of this process's own: comparing the codes takes the same time
/// for every wrong token, whatever its length.
#[derive(Debug)]
struct Token(hmac::Key, hmac::Tag);

impl Token {
    /// `None` where the system gives no randomness.
    fn new(token: &str) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let code = hmac::sign(&key, token.as_bytes());
        Some(Self(key, code))
    }

    /// Whether this is the token.
    fn is(&self, presented: &[u8]) -> bool {
        hmac::verify(&self.0, presented, self.1.as_ref()).is_ok()
    }
}

/// The system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

/// What all listeners of a server hold requests to. It can change while they serve.
#[derive(Debug)]
pub struct Rules {
    token: RwLock<Option<Token>>,
    /// The number of the token that counts: whatever rests on a token before it has ended.
    token_number: watch::Sender<u64>,
    /// Names that this server goes by, beside its addresses and `localhost`.
    hosts: RwLock<Arc<[String]>>,
    /// Whether browsers come by TLS, so that cookies may be kept to it.
    pub(super) has_tls: bool,
    limiter: Mutex<Limiter>,
    started: Instant,
}

impl Rules {
    /// `hosts` in lower case.
    ///
    /// # Errors
    /// There are no random numbers for the token.
    pub(super) fn new(
        token: Option<&str>,
        hosts: &[String],
        requests_per_second: u32,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            token: RwLock::new(token.map(|token| Token::new(token).ok_or(NoRandomness)).transpose()?),
            token_number: watch::Sender::new(0),
            hosts: RwLock::new(hosts.into()),
            has_tls: false,
            limiter: Mutex::new(Limiter::new(requests_per_second)),
            started: Instant::now(),
        })
    }

    /// Another token counts from now on, or none. Logins and streams that rest on the one before end.
    ///
    /// # Errors
    /// There are no random numbers; the old one goes on.
    pub fn set_token(&self, token: Option<&str>) -> Result<(), NoRandomness> {
        let token = token.map(|token| Token::new(token).ok_or(NoRandomness)).transpose()?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
        self.token_number.send_modify(|number| *number += 1);
        Ok(())
    }

    /// Other names, in lower case.
    pub fn set_hosts(&self, hosts: &[String]) {
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts.into();
    }

    /// Another rate for each client.
    pub fn set_requests_per_second(&self, rate: u32) {
        self.limiter().0.set_rate(rate);
    }

    /// Whether there is a token at all.
    pub(super) fn has_token(&self) -> bool {
        self.token.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The number of the token that counts.
    pub(super) fn token_number(&self) -> u64 {
        *self.token_number.borrow()
    }

    /// Tells when another token counts than now.
    pub(super) fn watch_token(&self) -> watch::Receiver<u64> {
        self.token_number.subscribe()
    }

    /// Names that this server goes by.
    pub(super) fn hosts(&self) -> Arc<[String]> {
        Arc::clone(&self.hosts.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn limiter(&self) -> (MutexGuard<'_, Limiter>, u64) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.limiter.lock().unwrap_or_else(PoisonError::into_inner), now_ms)
    }

    /// Counts a request from an address.
    ///
    /// # Errors
    /// 429: it is one too many.
    pub(super) fn count(&self, from: IpAddr) -> Result<(), Refusal> {
        let (mut limiter, now_ms) = self.limiter();
        limiter.request(from, now_ms).map_err(|wait_s| {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "these are too many requests from one address")
                .hint("admin.requests_per_second")
                .retry_after(wait_s)
        })
    }

    /// Whether what an address presents is the token. Guessing gets slower with each wrong one.
    ///
    /// # Errors
    /// 429: it has presented too many wrong ones to be heard now.
    pub(super) fn try_token(&self, from: IpAddr, presented: &[u8]) -> Result<bool, Refusal> {
        let (mut limiter, now_ms) = self.limiter();
        limiter.may_try(from, now_ms).map_err(|wait_s| {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens came from this address")
                .retry_after(wait_s)
        })?;
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        let is_right = token.as_ref().is_some_and(|token| token.is(presented));
        if is_right {
            limiter.right(from, now_ms);
        } else {
            limiter.wrong(from, now_ms);
        }
        Ok(is_right)
    }
}

/// Refuses a change that a page of another site has its visitor's browser ask for: browsers say where a request comes from (Origin,
/// RFC 6454; Sec-Fetch-Site), and send JSON to another origin only after asking, which is never answered here. A client that is no
/// browser sends neither header.
///
/// # Errors
/// 403 or 415.
pub(super) fn same_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let (origin, site) = (text("origin"), text("sec-fetch-site"));
    let host = text("host").unwrap_or_default();
    let is_own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host))
    };
    let is_foreign = origin.is_some_and(|origin| !is_own(origin))
        || site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if is_foreign {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "a page of another site may change nothing here"));
    }
    let has_body =
        text("content-length").is_some_and(|length| length != "0") || text("transfer-encoding").is_some();
    let kind = text("content-type").unwrap_or_default();
    let is_json =
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if (origin.is_some() || site.is_some()) && has_body && !is_json {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a browser has to send application/json",
        ));
    }
    Ok(())
}

/// Whether a request may pass.
///
/// # Errors
/// The answer to give instead: 401 where a right token would help, 403 where it would not.
pub(super) fn decide(
    door: Door,
    wish: Wish,
    rules: &Rules,
    from: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if door == Door::Unix {
        return Ok(());
    }
    if wish == Wish::Change {
        same_origin(headers)?;
    }
    if let (Some(presented), true) = (presented(headers), rules.has_token()) {
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        return match rules.try_token(from, presented)? {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::UNAUTHORIZED, "the token is wrong")),
        };
    }
    if door == Door::Loopback {
        local_host(headers, &rules.hosts())?;
    }
    match (wish, door) {
        (Wish::Page, _) | (Wish::Read, Door::Loopback) => Ok(()),
        _ if !rules.has_token() => {
            Err(Refusal::new(StatusCode::FORBIDDEN, "this needs a token, and the server was given none")
                .hint("set admin.token, or use the unix socket in the state directory"))
        }
        (Wish::Read, _) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "reading needs a token here")
            .hint("Authorization: Bearer TOKEN")),
        (Wish::Change, _) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "a change needs a token")
            .hint("Authorization: Bearer TOKEN, or use the unix socket in the state directory")),
    }
}

/// The bearer token of a request (RFC 6750 §2.1).
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Refuses names that are not this machine's: a page whose name an attacker points at 127.0.0.1 (DNS rebinding) carries its own name
/// in the Host header, while an address there can only have been asked for as such. Browsers always send the header.
pub(super) fn local_host(headers: &HeaderMap, hosts: &[String]) -> Result<(), Refusal> {
    let mut named = headers.get_all(header::HOST).iter();
    let local = match (named.next(), named.next()) {
        (None, _) => true,
        (Some(host), None) => host.to_str().is_ok_and(|host| is_local(host, hosts)),
        // Not to be answered (RFC 9112 §3.2): who is in between may have looked at another one of them.
        (Some(_), Some(_)) => false,
    };
    if local {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "the Host header names another machine")
        .hint("ask for 127.0.0.1 or localhost, name it in admin.hosts, or send the token"))
}

/// Whether a Host header is an address, `localhost`, a name below it (RFC 6761 §6.3), or one of `hosts`, each with or without a port.
fn is_local(host: &str, hosts: &[String]) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    if name.parse::<IpAddr>().is_ok() || bracketed.is_some_and(|n| n.parse::<IpAddr>().is_ok()) {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || hosts.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::AUTHORIZATION, authorization)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    fn rules(has_token: bool) -> Rules {
        Rules::new(has_token.then_some("s3cret"), &["dns.lan".to_owned()], 100).unwrap()
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        // Headers, and the status of the refusal (0: it may pass).
        let cases: &[(&[(&str, &str)], u16)] = &[
            (&[], 0),
            (&[("content-length", "2")], 0),
            (&[("origin", "http://127.0.0.1:8053"), ("content-type", "application/json; charset=utf-8")], 0),
            (&[("origin", "http://127.0.0.1:8053"), ("content-length", "0")], 0),
            (&[("origin", "http://127.0.0.1:8054")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", "http://evil.example")], 403),
            (&[("origin", "http://evil.example:127.0.0.1:8053")], 403),
            (&[("sec-fetch-site", "same-origin")], 0),
            (&[("sec-fetch-site", "none")], 0),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
            (
                &[("sec-fetch-site", "same-origin"), ("content-length", "2"), ("content-type", "text/plain")],
                415,
            ),
            (&[("sec-fetch-site", "same-origin"), ("transfer-encoding", "chunked")], 415),
        ];
        for (extra, want) in cases {
            let mut headers = headers("127.0.0.1:8053", "Bearer s3cret");
            for (name, value) in *extra {
                headers.insert(axum::http::HeaderName::from_static(name), value.parse().unwrap());
            }
            let got = decide(Door::Loopback, Wish::Change, &rules(true), None, &headers);
            assert_eq!(got.map_or_else(|r| r.status.as_u16(), |()| 0), *want, "{extra:?}");
            assert!(decide(Door::Loopback, Wish::Read, &rules(true), None, &headers).is_ok(), "{extra:?}");
        }
    }

    #[test]
    fn rules_change_while_they_count() {
        let rules = rules(false);
        let read = |host: &str, token: &str| {
            let got = decide(Door::Loopback, Wish::Change, &rules, None, &headers(host, token));
            got.map_or_else(|refusal| refusal.status.as_u16(), |()| 0)
        };
        assert_eq!((read("127.0.0.1", "Bearer one"), read("127.0.0.1", "")), (403, 403));
        let watch = rules.watch_token();
        rules.set_token(Some("one")).unwrap();
        assert!(watch.has_changed().unwrap());
        assert_eq!((read("127.0.0.1", "Bearer one"), read("127.0.0.1", "")), (0, 401));
        rules.set_token(Some("two")).unwrap();
        assert_eq!((read("127.0.0.1", "Bearer one"), read("127.0.0.1", "Bearer two")), (401, 0));
        assert_eq!(rules.token_number(), 2);
        rules.set_token(None).unwrap();
        assert_eq!(read("127.0.0.1", "Bearer two"), 403);
        let allowed =
            |host: &str| decide(Door::Loopback, Wish::Read, &rules, None, &headers(host, "")).is_ok();
        assert_eq!((allowed("dns.lan"), allowed("ns.lan")), (true, false));
        rules.set_hosts(&["ns.lan".to_owned()]);
        assert_eq!((allowed("dns.lan"), allowed("ns.lan")), (false, true));
        let from = IpAddr::from([192, 0, 2, 9]);
        let at_once = || (0..10_000).take_while(|_| rules.count(from).is_ok()).count();
        assert!((500..600).contains(&at_once()));
        rules.set_requests_per_second(100_000);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(at_once() > 1000);
    }

    #[test]
    fn guessing_is_slowed_down() {
        let rules = rules(true);
        let guess = |token: &str, from: [u8; 4]| {
            let headers = headers("127.0.0.1", &format!("Bearer {token}"));
            decide(Door::Open, Wish::Read, &rules, Some(from.into()), &headers)
                .map_or_else(|r| r.status.as_u16(), |()| 0)
        };
        let statuses: Vec<u16> = (0..8).map(|i| guess(&i.to_string(), [192, 0, 2, 1])).collect();
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
        assert_eq!(guess("s3cret", [192, 0, 2, 1]), 429, "the right one is not heard either");
        assert_eq!(guess("s3cret", [192, 0, 2, 2]), 0);
    }

    #[test]
    fn token_matrix() {
        const RIGHT: &str = "Bearer s3cret";
        const WRONG: &str = "Bearer s3creT";
        // Door, wish, Authorization, whether a token is configured, and the status of the refusal (0: it may pass).
        let cases: &[(Door, Wish, &str, bool, u16)] = &[
            (Door::Unix, Wish::Page, "", false, 0),
            (Door::Unix, Wish::Read, "", false, 0),
            (Door::Unix, Wish::Change, "", false, 0),
            (Door::Unix, Wish::Change, "", true, 0),
            (Door::Loopback, Wish::Page, "", true, 0),
            (Door::Loopback, Wish::Read, "", true, 0),
            (Door::Loopback, Wish::Read, "", false, 0),
            (Door::Loopback, Wish::Read, WRONG, true, 401),
            (Door::Loopback, Wish::Change, "", true, 401),
            (Door::Loopback, Wish::Change, "", false, 403),
            (Door::Loopback, Wish::Change, RIGHT, false, 403),
            (Door::Loopback, Wish::Change, WRONG, true, 401),
            (Door::Loopback, Wish::Change, RIGHT, true, 0),
            (Door::Loopback, Wish::Change, "bearer  s3cret ", true, 0),
            (Door::Loopback, Wish::Change, "Basic s3cret", true, 401),
            (Door::Open, Wish::Page, "", true, 0),
            (Door::Open, Wish::Read, "", true, 401),
            (Door::Open, Wish::Read, RIGHT, true, 0),
            (Door::Open, Wish::Change, "", true, 401),
            (Door::Open, Wish::Change, WRONG, true, 401),
            (Door::Open, Wish::Change, "Bearer ", true, 401),
            (Door::Open, Wish::Change, "Bear", true, 401),
            (Door::Open, Wish::Change, RIGHT, true, 0),
            (Door::Open, Wish::Read, "", false, 403),
        ];
        for &(door, wish, authorization, configured, want) in cases {
            let rules = rules(configured);
            let got = decide(door, wish, &rules, None, &headers("127.0.0.1:8053", authorization));
            let status = got.map_or_else(|refusal| refusal.status.as_u16(), |()| 0);
            assert_eq!(status, want, "{door:?} {wish:?} {authorization:?} configured: {configured}");
        }
    }

    #[test]
    fn a_foreign_host_name_is_refused_on_loopback_alone() {
        let rules = rules(true);
        let refused = |door, host: &str, authorization: &str| {
            decide(door, Wish::Read, &rules, None, &headers(host, authorization))
                .err()
                .map(|r| r.status.as_u16())
        };
        for host in [
            "evil.example:8053",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[evil]",
            "a:b",
            "\u{7f}x",
        ] {
            if host.parse::<axum::http::HeaderValue>().is_ok() {
                assert_eq!(refused(Door::Loopback, host, ""), Some(403), "{host}");
                assert_eq!(refused(Door::Loopback, host, "Bearer s3cret"), None, "{host}");
            }
        }
        for host in [
            "",
            "127.0.0.1",
            "127.0.0.1:8053",
            "[::1]:8053",
            "[::1]",
            "localhost",
            "LOCALHOST.:80",
            "hale.localhost:1",
            "DNS.lan:8053",
        ] {
            assert_eq!(refused(Door::Loopback, host, ""), None, "{host}");
        }
        assert_eq!(refused(Door::Open, "dns.example.net", "Bearer s3cret"), None);
        let mut twice = headers("127.0.0.1", "");
        twice.append(header::HOST, "127.0.0.1".parse().unwrap());
        assert!(decide(Door::Loopback, Wish::Read, &rules, None, &twice).is_err());
    }

    #[test]
    fn wishes_and_doors() {
        assert_eq!(Wish::of(&Method::HEAD, "/metrics"), Wish::Page);
        assert_eq!(Wish::of(&Method::POST, "/metrics"), Wish::Change);
        assert_eq!(Wish::of(&Method::GET, "/metrics/"), Wish::Read);
        assert_eq!(Wish::of(&Method::OPTIONS, "/api/v1/zones"), Wish::Change);
        for (address, door) in [
            ("127.0.0.2:1", Door::Loopback),
            ("[::1]:1", Door::Loopback),
            ("[::ffff:127.0.0.1]:1", Door::Loopback),
            ("0.0.0.0:1", Door::Open),
            ("[::]:1", Door::Open),
            ("10.0.0.1:1", Door::Open),
        ] {
            assert_eq!(Door::of(address.parse().unwrap()), door, "{address}");
        }
    }
}
