//! Who may read and change what (interface.md, "HTTP"), as a pure function of the door, the method and the headers.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, header};
use ring::hmac;
use ring::rand::SystemRandom;

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
pub(super) struct Token {
    key: hmac::Key,
    code: hmac::Tag,
}

impl Token {
    /// `None` where the system gives no randomness.
    pub(super) fn new(token: &str) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let code = hmac::sign(&key, token.as_bytes());
        Some(Self { key, code })
    }

    /// Whether this is the token.
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        hmac::verify(&self.key, presented, self.code.as_ref()).is_ok()
    }
}

/// Whether a request may pass.
///
/// # Errors
/// The answer to give instead: 401 where a right token would help, 403 where it would not.
pub(super) fn decide(
    door: Door,
    wish: Wish,
    token: Option<&Token>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if door == Door::Unix {
        return Ok(());
    }
    let known = match (presented(headers), token) {
        (Some(presented), Some(token)) if token.is(presented) => true,
        (Some(_), Some(_)) => return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the token is wrong")),
        _ => false,
    };
    if known {
        return Ok(());
    }
    if door == Door::Loopback {
        local_host(headers)?;
    }
    match (wish, door) {
        (Wish::Page, _) | (Wish::Read, Door::Loopback) => Ok(()),
        _ if token.is_none() => {
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
pub(super) fn local_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let local = match headers.get(header::HOST) {
        None => true,
        Some(host) => host.to_str().is_ok_and(is_local),
    };
    if local {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "the Host header names another machine")
        .hint("ask for 127.0.0.1 or localhost, or send the token"))
}

/// Whether a Host header is an address, `localhost`, or a name below it (RFC 6761 §6.3), each with or without a port.
fn is_local(host: &str) -> bool {
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
    name == "localhost" || name.ends_with(".localhost")
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
        let token = Token::new("s3cret").unwrap();
        for &(door, wish, authorization, configured, want) in cases {
            let got =
                decide(door, wish, configured.then_some(&token), &headers("127.0.0.1:8053", authorization));
            let status = got.map_or_else(|refusal| refusal.status.as_u16(), |()| 0);
            assert_eq!(status, want, "{door:?} {wish:?} {authorization:?} configured: {configured}");
        }
    }

    #[test]
    fn a_foreign_host_name_is_refused_on_loopback_alone() {
        let token = Token::new("s3cret").unwrap();
        let refused = |door, host: &str, authorization: &str| {
            decide(door, Wish::Read, Some(&token), &headers(host, authorization))
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
        ] {
            assert_eq!(refused(Door::Loopback, host, ""), None, "{host}");
        }
        assert_eq!(refused(Door::Open, "dns.example.net", "Bearer s3cret"), None);
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
