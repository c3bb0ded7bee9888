//! What a probe does, kind by kind.

use std::path::PathBuf;

use super::name::Name;
use super::rrtype::RrType;
use super::target::Verdict;

/// What one probe does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CheckKind {
    /// A TCP connection is accepted.
    Tcp,
    /// A TCP connection is accepted, and what comes over it is as wanted.
    Talk(Box<TalkCheck>),
    /// An HTTP/1.1 exchange answers as wanted.
    Http(Box<HttpCheck>),
    /// A TLS handshake succeeds.
    Tls(Box<TlsCheck>),
    /// The gRPC health protocol says SERVING.
    Grpc(Box<GrpcCheck>),
    /// A DNS query is answered as wanted.
    Dns(Box<DnsCheck>),
    /// An ICMP echo request is answered.
    Icmp(IcmpCheck),
    /// A program ends with exit code 0.
    Exec(Box<ExecCheck>),
    /// Nothing is probed: the verdict is pushed over the API.
    External(Box<ExternalCheck>),
    /// Nothing is probed: the owner of this absolute name, in whatever zone, has an endpoint that is up.
    Name(Name),
}

impl CheckKind {
    /// The key that names it in configuration files.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Tcp | Self::Talk(_) => "tcp",
            Self::Http(http) if http.tls.is_none() => "http",
            Self::Http(_) => "https",
            Self::Tls(_) => "tls",
            Self::Grpc(_) => "grpc",
            Self::Dns(_) => "dns",
            Self::Icmp(_) => "icmp",
            Self::Exec(_) => "exec",
            Self::External(_) => "external",
            Self::Name(_) => "name",
        }
    }
}

/// The keys of a `tcp` check that says or hears something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TalkCheck {
    /// Sent once connected; may be empty.
    pub send: String,
    /// What must then be in the first 16 KiB that come.
    pub expect: String,
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
    /// Whether the connection is kept for the next probe.
    pub reuse: bool,
}

/// A `tls` check, and the TLS part of others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsCheck {
    /// Server name sent and verified.
    pub sni: String,
    /// Whether the certificate chain and name are verified.
    pub verify: bool,
    /// Roots to verify against instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// A certificate that expires within so many seconds is worth a warning.
    pub warn_expires_within_s: Option<u64>,
    /// A certificate that expires within so many seconds is a failure.
    pub fail_expires_within_s: Option<u64>,
}

/// The keys of a `grpc` check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrpcCheck {
    /// Present with `"tls": true`.
    pub tls: Option<TlsCheck>,
    /// `:authority` of the request.
    pub host: String,
    /// The service asked about; empty for the server as a whole.
    pub service: String,
    /// Whether the connection is kept for the next probe.
    pub reuse: bool,
}

/// The keys of a `dns` check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsCheck {
    /// QNAME.
    pub name: Name,
    /// QTYPE.
    pub rtype: RrType,
    /// The response code that is wanted.
    pub rcode: u16,
    /// RDATA in wire form, each of which must be in the answer.
    pub answer: Vec<Vec<u8>>,
    /// Whether the query goes over TCP.
    pub tcp: bool,
    /// Whether recursion is desired (RD).
    pub recursion: bool,
}

/// The keys of an `icmp` check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IcmpCheck {
    /// Octets of payload.
    pub size: u16,
}

/// The keys of an `exec` check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecCheck {
    /// The program and its arguments; never empty, and never given to a shell.
    pub argv: Vec<String>,
    /// Further variables of its environment.
    pub env: Vec<(String, String)>,
    /// The name that is checked, absolute without the dot at its end.
    pub name: String,
}

/// The keys of an `external` check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExternalCheck {
    /// What verdicts are pushed for.
    pub id: String,
    /// Milliseconds for which a pushed verdict holds.
    pub ttl_ms: u64,
    /// What holds before the first verdict and after the last one's time.
    pub expired: Verdict,
}
