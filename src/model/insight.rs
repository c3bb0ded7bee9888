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
    /// How many names are looked at for them: who looks for what is rare in a large zone asks again, from where the page ends.
    pub looked_at: usize,
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
    /// How many names the zone has.
    pub of: u64,
    /// The name that a page in front of this one ends in front of, if there may be one.
    pub previous: Option<String>,
    /// The name that the page behind this one begins behind, if there may be one.
    pub next: Option<String>,
    /// How many names were looked at.
    pub looked_at: usize,
    /// Whether that were as many as allowed, so that what was looked for may stand in those that follow.
    pub is_cut: bool,
}

/// One owner name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameRow {
    /// The name, with its trailing dot.
    pub name: String,
    /// What is served for it, signatures and NSEC aside.
    pub rrsets: Vec<RrsetRow>,
    /// What is configured for it, whatever health says.
    pub configured: Vec<RrsetRow>,
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
    /// The first of them.
    pub data: Vec<RecordRow>,
    /// How many there are.
    pub count: usize,
}

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordRow {
    /// Its data as presentation text.
    pub text: String,
    /// Whether it is both configured and served.
    pub is_both: bool,
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
