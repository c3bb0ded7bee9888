//! The check that a discovered address has unless another one is given: what was routed is what is checked. Pure.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::claim::{Claim, Route};
use crate::model::check::{CheckKind, HttpCheck, TlsCheck};
use crate::model::condition::Condition;
use crate::model::name::Name;
use crate::model::target::{Check, Target, VerdictRules};

const INTERVAL_MS: u32 = 10_000;
const TIMEOUT_MS: u32 = 2000;
const RISE: u32 = 2;
const FALL: u32 = 3;
/// Any answer of an application will do: one that wants a login is up.
const STATUS: (u16, u16) = (200, 499);
/// What Traefik says where it has no route for the name.
const NOT_ROUTED: &str = "404 page not found";

/// What is routed, and by which port. The more a check of it tells, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reached {
    /// Nothing that can be checked.
    Nothing,
    /// A port.
    Tcp(u16),
    /// HTTP.
    Http(u16),
    /// TLS.
    Tls(u16),
    /// HTTP over TLS.
    Https(u16),
}

/// What a claim routes; `ports` are those of entry points.
pub(super) fn route(claim: &Claim, ports: &[(Box<str>, u16)]) -> Reached {
    let port = |given: Option<u16>, default: u16| {
        let of_point = |point: &str| ports.iter().find(|(name, _)| **name == *point).map(|(_, port)| *port);
        given.or_else(|| claim.entry_points.iter().find_map(|point| of_point(point))).unwrap_or(default)
    };
    match claim.route {
        Route::Http(given) => Reached::Http(port(given, 80)),
        Route::Https(given) => Reached::Https(port(given, 443)),
        Route::Tls(given) => Reached::Tls(port(given, 443)),
        Route::Tcp(port) => Reached::Tcp(port),
        Route::Unchecked => Reached::Nothing,
    }
}

/// What must hold for an address of the name to be up. A connection to the address is part of it, the same for all names there, so that one
/// probe tells of all of them as soon as the address is gone; the part that knows the name may be probed less often.
pub(super) fn condition(name: &Name, address: IpAddr, route: Reached) -> Option<Condition> {
    let host = host_of(name);
    let (port, kind) = match (route, host) {
        (Reached::Nothing, _) => return None,
        (Reached::Http(port), Some(host)) => (port, Some(http(host, port, false))),
        (Reached::Https(port), Some(host)) => (port, Some(http(host, port, true))),
        (Reached::Tls(port), Some(host)) => (port, Some(CheckKind::Tls(Box::new(tls(host))))),
        (Reached::Tcp(port) | Reached::Http(port) | Reached::Https(port) | Reached::Tls(port), _) => {
            (port, None)
        }
    };
    let target = |kind| {
        let (interval_ms, timeout_ms) = (INTERVAL_MS, TIMEOUT_MS);
        // A name that was just deployed is answered until it is known to be down. A 404 of Traefik's own makes it so at one address if
        // another one serves it, and else nowhere: then it is the route that is missing, or the certificate's host, and not a server.
        let rules =
            VerdictRules { patient: true, needs_witness: kind != CheckKind::Tcp, ..VerdictRules::default() };
        let check = Arc::new(Check { kind, interval_ms, timeout_ms, rise: RISE, fall: FALL, rules });
        Condition::Target(Target { address: SocketAddr::new(address, port), check })
    };
    let gate = target(CheckKind::Tcp);
    Some(match kind {
        Some(kind) => Condition::All(Box::new([gate, target(kind)])),
        None => gate,
    })
}

fn tls(sni: String) -> TlsCheck {
    TlsCheck { sni, verify: false, ca_file: None, warn_expires_within_s: None, fail_expires_within_s: None }
}

fn http(host: String, port: u16, is_tls: bool) -> CheckKind {
    let default = if is_tls { 443 } else { 80 };
    let authority = if port == default { host.clone() } else { format!("{host}:{port}") };
    CheckKind::Http(Box::new(HttpCheck {
        tls: is_tls.then(|| tls(host)),
        host: authority,
        path: "/".to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: vec![STATUS],
        body_contains: None,
        body_not: Some(NOT_ROUTED.to_owned()),
        follow: 0,
        reuse: false,
    }))
}

/// The name as a client would ask for it; nothing for a wildcard and for odd octets.
fn host_of(name: &Name) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_host = !name.is_root() && name.labels().all(|label| label.iter().copied().all(plain));
    is_host.then(|| name.to_string().trim_end_matches('.').to_owned())
}
