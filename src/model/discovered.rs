//! What discovery publishes: the words between the sources and the keeper. Values only; the keeper decides what of it is served.

use std::fmt;
use std::sync::Arc;

use super::condition::Condition;
use super::name::Name;
use super::policy::Policy;
use super::rrset::RdataSet;
use super::rrtype::RrType;
use super::target::Endpoint;

/// One name as all sources together want it, after precedence among them; declared data of the zone comes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredName {
    /// The addresses, A and AAAA together, with their checks.
    pub endpoints: Vec<Endpoint>,
    /// How the addresses become an answer; `None` for all that are up. Pools of sources (`"conflict": "merge"`) and `hale.dev/policy` end here.
    pub policy: Option<Box<Policy>>,
    /// A target that is a host name (a load balancer's): a CNAME, or an ALIAS at an apex and beside other data.
    pub hostname: Option<Name>,
    /// What must hold for an address of the host to be up where it becomes an ALIAS; it stands in the targets in place of the unspecified one. A
    /// CNAME is not checked: what the host leads to is answered by its own zone.
    pub host_condition: Option<Condition>,
    /// RRsets without checks, of any other type: only from DNSEndpoint objects.
    pub rrsets: Vec<DiscoveredRrset>,
    /// TTL of everything above but [`DiscoveredName::rrsets`], in seconds; `None` for what the zone would give its own.
    pub ttl: Option<u32>,
    /// Whether the sources may publish it at a zone's apex.
    pub may_be_apex: bool,
    /// Who wants it, the first being the one whose word counts where they differ.
    pub origins: Arc<[Origin]>,
}

/// An RRset that a source publishes as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredRrset {
    /// Its type; never one that endpoints or `hostname` stand for, nor NS, SOA or a type of DNSSEC.
    pub rtype: RrType,
    /// Its records.
    pub rdata: RdataSet,
    /// TTL in seconds; `None` for the zone's default.
    pub ttl: Option<u32>,
}

/// The object that a name comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Name of the source in `hale.json`.
    pub source: Arc<str>,
    /// The object as its people write it: `ingress/shop/web` (kind, namespace, name) or `router/web@docker`.
    pub object: Box<str>,
}

/// What stands between kind and name of an object as its people write it: the namespace of `ingress/shop/web`, or the provider of
/// `router/web@docker`. Empty where there is none.
pub fn namespace_of(object: &str) -> &str {
    let rest = object.split_once('/').map_or("", |(_, rest)| rest);
    rest.rsplit_once('@').map_or_else(|| rest.split('/').next().unwrap_or_default(), |(_, provider)| provider)
}

/// Names that have changed since the last amendment: all other names stay as they are.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// The name (absolute; its first label may be `*`) and what it is from now on; `None` takes away what was discovered for it.
    pub changes: Vec<(Name, Option<Arc<DiscoveredName>>)>,
}

/// What an amendment would do to the zones as they are.
#[derive(Clone, Debug, Default)]
pub struct AmendmentPlan {
    /// The names that lie in a zone that is served, in the order of the amendment.
    pub names: Vec<PlannedName>,
    /// What of them would not be published.
    pub refusals: Vec<Refusal>,
}

/// What an amendment would do to one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedName {
    /// The name.
    pub name: Name,
    /// What would become of its records.
    pub change: PlannedChange,
    /// The wildcard that answers for the name now, and would no longer.
    pub hides: Option<Name>,
}

/// What would become of a name's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedChange {
    /// The name would have its first ones.
    Added,
    /// It would have other ones.
    Changed,
    /// It would have none.
    Removed,
    /// They would stay as they are.
    Unchanged,
}

/// What the keeper did not publish of an amendment, or would not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name.
    pub name: Name,
    /// What of it is not served.
    pub what: RefusedPart,
    /// Why.
    pub why: RefusedFor,
}

/// What of a discovered name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedPart {
    /// All of it.
    Name,
    /// The RRset of this type.
    Rrset(RrType),
}

/// Why a discovered name or RRset is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// It lies in no zone of this server.
    NoZone,
    /// The zone's file declares it, or a CNAME there excludes it.
    Declared,
    /// It is the zone's apex, and the source may not publish there.
    Apex,
    /// It is the name of one of the zone's name servers.
    NameServer,
    /// It lies at or below a zone cut or a DNAME.
    BelowCut,
    /// The zone cannot hold it, for this reason (bounds of messages, variants and names).
    Invalid(Box<str>),
}

/// Why, in a line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            RefusedPart::Name => {}
            RefusedPart::Rrset(rtype) => write!(f, "{rtype}: ")?,
        }
        match &self.why {
            RefusedFor::NoZone => f.write_str("it lies in no zone of this server"),
            RefusedFor::Declared => f.write_str("the zone file declares it, or a CNAME there excludes it"),
            RefusedFor::Apex => f.write_str("it is the zone's apex, and the source has no \"apex\": true"),
            RefusedFor::NameServer => f.write_str("it is the name of one of the zone's name servers"),
            RefusedFor::BelowCut => f.write_str("it lies at or below a zone cut or a DNAME"),
            RefusedFor::Invalid(why) => f.write_str(why),
        }
    }
}
