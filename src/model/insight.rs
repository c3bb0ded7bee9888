//! What the web page shows beyond the reports of the API: the last probes of a target, the names of a zone a page at a time, and what is
//! signed with which keys. Times are Unix seconds.

use super::name::Name;

/// How many of its last probes are kept of each target.
pub const ATTEMPTS: usize = 40;

/// What came of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The target answered as it should.
    Good {
        /// How long it took, in microseconds; a twentieth more or less.
        took_us: u64,
    },
    /// It did not.
    Bad,
    /// The probe says nothing of the target: this host could not send it.
    Unsaid,
}

impl Attempt {
    /// How long it took, if it succeeded.
    pub fn took_us(self) -> Option<u64> {
        match self {
            Self::Good { took_us } => Some(took_us),
            Self::Bad | Self::Unsaid => None,
        }
    }
}

/// Which names of a zone are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesQuery {
    /// The apex.
    pub zone: Name,
    /// What they contain, in lower case; empty for all.
    pub search: String,
    /// Where to begin.
    pub from: PageStart,
    /// How many at most.
    pub limit: usize,
}

/// Where a page of names begins, in canonical order (RFC 4034 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// At the apex.
    Top,
    /// Behind this name.
    After(Name),
    /// With the last names in front of this one.
    Before(Name),
}

/// A page of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamesPage {
    /// The names, in canonical order.
    pub names: Vec<NameRow>,
    /// How many names of the zone match.
    pub matching: u64,
    /// How many of them stand in front of this page.
    pub before: u64,
}

/// One owner name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameRow {
    /// The name, with its trailing dot.
    pub name: String,
    /// What is served for it, signatures and NSEC aside.
    pub rrsets: Vec<RrsetRow>,
    /// Endpoints that count as up, of those that are checked; `None` if none is.
    pub health: Option<HealthRow>,
    /// Where it comes from besides the zone file.
    pub from: Vec<String>,
}

/// How many of an owner's endpoints are up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthRow {
    /// Checked endpoints that count as up.
    pub up: u32,
    /// Those that count as down.
    pub down: u32,
    /// Those whose first verdict is awaited.
    pub unknown: u32,
    /// Endpoints that an override is about.
    pub overridden: u32,
}

/// The records of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RrsetRow {
    /// Their type.
    pub rtype: String,
    /// TTL in seconds.
    pub ttl: u32,
    /// The first of them, as presentation text.
    pub data: Vec<String>,
    /// How many there are.
    pub count: usize,
}

/// How a zone is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningReport {
    /// The apex, with its trailing dot.
    pub zone: String,
    /// Its keys, as they are published; none if the zone is unsigned.
    pub keys: Vec<KeyRow>,
    /// When something is signed again next.
    pub next_signing_at: Option<u64>,
    /// When the first signature expires.
    pub earliest_expiry_at: Option<u64>,
    /// Why the zone is broken, or older than its file.
    pub problem: Option<String>,
}

/// A published key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRow {
    /// Its key tag.
    pub tag: u16,
    /// Its algorithm: number and mnemonic.
    pub algorithm: String,
    /// DNSKEY flags.
    pub flags: u16,
    /// Whether the DNSKEY RRset is signed with it.
    pub signs_keys: bool,
    /// Whether the zone's data are.
    pub signs_zone: bool,
    /// The DS record for the parent zone, if the key signs keys.
    pub ds: Option<String>,
    /// RDATA of its DNSKEY record as presentation text.
    pub dnskey: String,
}
