//! What is probed: an address and the check to run against it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::condition::Condition;

/// An address with the check that is run against it. Equal targets are one probe, however many names share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Where the probe connects: the published address, or the endpoint's own `probe` address.
    pub address: SocketAddr,
    /// What it does there.
    pub check: Arc<Check>,
}

/// How a target is checked, with every default filled in (interface.md, "Checks").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Check {
    /// What one probe does.
    pub kind: CheckKind,
    /// Milliseconds from one probe's start to the next one's.
    pub interval_ms: u32,
    /// Milliseconds after which a probe counts as failed; at most the interval.
    pub timeout_ms: u32,
    /// Successes in a row that turn down into up.
    pub rise: u32,
    /// Failures in a row that turn up into down.
    pub fall: u32,
}

/// What one probe does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CheckKind {
    /// A TCP connection is accepted.
    Tcp,
    /// An HTTP/1.1 exchange answers as wanted.
    Http(Box<HttpCheck>),
}

/// The keys of `http` and `https` checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpCheck {
    /// Present for `https`.
    pub tls: Option<TlsCheck>,
    /// `Host` header, without the port where it is the scheme's default.
    pub host: String,
    /// Request target, starting with `/`.
    pub path: String,
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Further request headers, in the order given.
    pub headers: Vec<(String, String)>,
    /// Status codes that count as success, as inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// Text the body must contain; bodies are read up to 64 KiB.
    pub body_contains: Option<String>,
    /// Text the body must not contain.
    pub body_not: Option<String>,
    /// How many redirects to the same host are followed.
    pub follow: u8,
}

/// The TLS part of an `https` check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsCheck {
    /// Server name sent and verified.
    pub sni: String,
    /// Whether the certificate chain and name are verified.
    pub verify: bool,
    /// Roots to verify against instead of the system's, in PEM.
    pub ca_file: Option<std::path::PathBuf>,
}

/// The dense number of a target on the verdict board. It keeps its number as long as it stands in any zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// What health says of a target, after hysteresis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Verdict {
    /// No result yet, or only results that say nothing about the target (a local error).
    Unknown = 0,
    /// Probes succeed.
    Up = 1,
    /// Probes fail.
    Down = 2,
}

impl Verdict {
    /// The inverse of `as u8`; anything else is `Unknown`.
    pub fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Up,
            2 => Self::Down,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// A short form for logs and errors, such as `tcp 192.0.2.10:443` or `https 192.0.2.10:443 www.example.test/healthz`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.check.kind {
            CheckKind::Tcp => write!(f, "tcp {}", self.address),
            CheckKind::Http(http) => {
                let scheme = if http.tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme} {} {}{}", self.address, http.host, http.path)
            }
        }
    }
}

/// One address behind a name, with what decides about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// What is published.
    pub address: IpAddr,
    /// Relative weight, 1 unless given.
    pub weight: u16,
    /// What must hold for it to be up; `None` is always up.
    pub condition: Option<Condition>,
}

impl Endpoint {
    /// What is probed, if one target alone decides about the endpoint.
    pub fn target(&self) -> Option<&Target> {
        self.condition.as_ref()?.as_target()
    }
}
