//! What is probed, an address and the check to run against it; and what is published, a record and what decides about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use super::check::*;
use super::condition::Condition;
use super::name::Name;
use super::rdata;
use super::rrtype::RrType;

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
    /// What else makes results into a verdict; nothing by default.
    pub rules: VerdictRules,
}

/// What makes results into a verdict besides rise and fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerdictRules {
    /// A probe that takes longer, in milliseconds, counts as failed although it succeeded.
    pub slower_than_ms: Option<u32>,
    /// Milliseconds in which a recovered target's share of its weight grows to the whole.
    pub slow_start_ms: Option<u32>,
    /// When it flips too often.
    pub damping: Option<Damping>,
    /// Whether its first verdict is down only after `fall` failures; else the first result is the first verdict.
    pub patient: bool,
    /// Whether a response that has `body_not` in it (a proxy's own 404) is a failure only while another address serves the same host. If none
    /// does, no proxy has a route for it, which says nothing about any of them.
    pub needs_witness: bool,
}

/// A target that flips more often than `flips` times within `within_ms` is held down: for `hold_ms`, doubled each time that it goes on, and
/// at most for `hold_max_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Damping {
    /// Flips that are tolerated.
    pub flips: u32,
    /// Milliseconds within which they count.
    pub within_ms: u32,
    /// Milliseconds of the first hold.
    pub hold_ms: u32,
    /// Milliseconds of the longest hold.
    pub hold_max_ms: u32,
}

/// The dense number of a target on the verdict board. It keeps its number as long as it stands in any zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// What health says of a target, after hysteresis.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
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

impl Target {
    /// The address that it is about; `None` where nothing is known of one.
    pub fn checked_address(&self) -> Option<IpAddr> {
        let is_elsewhere = matches!(self.check.kind, CheckKind::External(_) | CheckKind::Name(_));
        (!is_elsewhere).then(|| self.address.ip())
    }
}

/// A short form for logs and errors, such as `tcp 192.0.2.10:443` or `https 192.0.2.10:443 www.example.test/healthz`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, address) = (self.check.kind.label(), self.address);
        match &self.check.kind {
            CheckKind::Tcp | CheckKind::Talk(_) => write!(f, "{kind} {address}"),
            CheckKind::Http(http) => write!(f, "{kind} {address} {}{}", http.host, http.path),
            CheckKind::Tls(tls) => write!(f, "{kind} {address} {}", tls.sni),
            CheckKind::Grpc(grpc) => write!(f, "{kind} {address} {}/{}", grpc.host, grpc.service),
            CheckKind::Dns(dns) => write!(f, "{kind} {address} {} {}", dns.name, dns.rtype),
            CheckKind::Icmp(_) => write!(f, "{kind} {}", address.ip()),
            CheckKind::Exec(exec) if address.port() == 0 => {
                write!(f, "{kind} {} {}", address.ip(), exec.argv[0])
            }
            CheckKind::Exec(exec) => write!(f, "{kind} {address} {}", exec.argv[0]),
            CheckKind::External(external) => write!(f, "{kind} {}", external.id),
            CheckKind::Name(name) => write!(f, "{kind} {name}"),
        }
    }
}

/// One record behind a name, with what decides about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// What is published.
    pub data: EndpointData,
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

    /// Whether it counts as up until it is known to be down, whatever its owner says: a discovered one does ([`VerdictRules::patient`]).
    pub fn is_patient(&self) -> bool {
        let checks = self.checks();
        !checks.is_empty() && checks.iter().all(|check| check.rules.patient)
    }

    /// Every check that it rests on.
    pub fn checks(&self) -> Vec<&Check> {
        let mut checks = Vec::new();
        if let Some(condition) = &self.condition {
            condition.for_each_target(&mut |target| checks.push(&*target.check));
        }
        checks
    }
}

/// What an endpoint publishes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointData {
    /// An A or AAAA record.
    Address(IpAddr),
    /// A record of another type.
    Record {
        /// Its type.
        rtype: RrType,
        /// Its RDATA in canonical wire form (RFC 4034 §6.2).
        rdata: Box<[u8]>,
    },
}

/// RDATA of an endpoint.
enum Octets<'a> {
    V4([u8; 4]),
    V6([u8; 16]),
    Record(&'a [u8]),
}

impl AsRef<[u8]> for Octets<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
            Self::Record(octets) => octets,
        }
    }
}

impl EndpointData {
    /// The type of its record.
    pub fn rtype(&self) -> RrType {
        match self {
            Self::Address(IpAddr::V4(_)) => RrType::A,
            Self::Address(IpAddr::V6(_)) => RrType::AAAA,
            Self::Record { rtype, .. } => *rtype,
        }
    }

    /// What it is chosen together with.
    pub fn group(&self) -> Group {
        Group::of(self.rtype())
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Record { .. } => None,
        }
    }

    /// The RDATA in wire form.
    pub fn rdata(&self) -> Vec<u8> {
        self.octets().as_ref().to_vec()
    }

    /// As [`EndpointData::rdata`], without an allocation.
    pub fn octets(&self) -> impl AsRef<[u8]> {
        match self {
            Self::Address(IpAddr::V4(address)) => Octets::V4(address.octets()),
            Self::Address(IpAddr::V6(address)) => Octets::V6(address.octets()),
            Self::Record { rdata, .. } => Octets::Record(rdata),
        }
    }

    /// The host that its record leads to: the target of a CNAME, MX or SRV record; `None` for an address.
    pub fn host(&self) -> Option<Name> {
        let Self::Record { rtype, rdata } = self else { return None };
        let link = rdata::names(*rtype, rdata).into_iter().find(|found| found.role.link)?;
        Name::from_wire(rdata.get(link.offset..link.offset + link.len)?).ok()
    }
}

impl From<IpAddr> for EndpointData {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

/// An address as it is, another record with its type: `MX 10 mail.example.test.`.
impl fmt::Display for EndpointData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Record { rtype, rdata } => write!(f, "{rtype} {}", rdata::to_text(*rtype, rdata)),
        }
    }
}

/// Endpoints of an owner that are chosen together: they are down only when all of them are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// A and AAAA.
    Addresses,
    /// The RRset of another type.
    Records(RrType),
}

impl Group {
    /// The group that records of a type belong to.
    pub fn of(rtype: RrType) -> Self {
        match rtype {
            RrType::A | RrType::AAAA => Self::Addresses,
            rtype => Self::Records(rtype),
        }
    }

    /// The types of its records.
    pub fn types(&self) -> &[RrType] {
        match self {
            Self::Addresses => &[RrType::A, RrType::AAAA],
            Self::Records(rtype) => std::slice::from_ref(rtype),
        }
    }

    /// Whether an owner's policy decides about the group: what is not chosen by it is all that is up.
    pub fn has_policy(self) -> bool {
        matches!(self, Self::Addresses | Self::Records(RrType::CNAME))
    }
}
