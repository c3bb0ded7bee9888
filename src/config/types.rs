//! The typed configuration: what the rest of the server is given. Every default is filled in, every reference resolved.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::geo::Geo;
use super::limits::{LimitsConfig, PolicyLimits};
use super::notify::NotifyConfig;
use super::source_types::{Conflict, SourceConfig};
use super::telemetry::QueryLogConfig;
use super::zone_file::{Checks, Pools, RecordCheck};
use crate::model::condition::Condition;
use crate::model::diagnostic::Position;
use crate::model::name::Name;
use crate::model::policy::Policy;
use crate::model::rrtype::RrType;
use crate::model::target::Endpoint;

/// The server's configuration: flags over environment over `hale.json` over defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration file, where there is one.
    pub file: Option<PathBuf>,
    /// Addresses the data plane listens on.
    pub listen: Vec<ListenAddress>,
    /// Zone files, directories expanded, in the order they are loaded.
    pub zone_files: Vec<PathBuf>,
    /// Zones built from a-healthy-dns's flags or `DNS_*` variables instead of files: source label and JSON text.
    pub inline_zones: Vec<(PathBuf, String)>,
    /// Directory for verdicts, serials, signatures, generated keys and the control socket.
    pub state: Option<PathBuf>,
    /// Admin listeners.
    pub admin: AdminConfig,
    /// Limits of health checking.
    pub health: HealthConfig,
    /// What zones may refer to by name.
    pub shared: Arc<Shared>,
    /// Where names are discovered.
    pub sources: SourcesConfig,
    /// Who is told what happens.
    pub notify: Vec<NotifyConfig>,
    /// Resolvers that the names of ALIAS records are looked up by; the system's if there is none.
    pub resolvers: Vec<SocketAddr>,
    /// Whether the client subnet option (RFC 7871) is honoured; `None` as soon as a name gives different clients different answers.
    pub client_subnet: Option<bool>,
    /// Limits of the listeners, and of what clients are sent.
    pub limits: LimitsConfig,
    /// UDP and TCP worker pairs; one for each core by default.
    pub workers: usize,
    /// Each worker stays on a core of its own.
    pub pin_workers: bool,
    /// Any broken zone keeps the server from starting.
    pub strict: bool,
    /// Read everything again when one of [`Config::inputs`] changes.
    pub watch: bool,
    /// What this was read from.
    pub inputs: Inputs,
    /// Serve by hickory-server's UDP and TCP instead of batched system calls.
    pub portable: bool,
    /// Name server identifier (RFC 5001).
    pub nsid: Option<Vec<u8>>,
    /// Secret of the interoperable server cookies (RFC 9018); drawn at start where none is given.
    pub cookie_secret: Option<[u8; 16]>,
    /// Where queries are recorded, if anywhere.
    pub query_log: Option<QueryLogConfig>,
    /// Whether /metrics has series for each target.
    pub target_metrics: bool,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Text for people or JSON for machines.
    pub log_format: LogFormat,
}

/// The files that a configuration was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// `hale.json`, and what it refers to: secrets and databases.
    pub files: Vec<PathBuf>,
    /// Zone files, directories of them and patterns, as they were written.
    pub patterns: Vec<PathBuf>,
}

impl Inputs {
    /// Every file, those among them that the patterns stand for by now. A pattern that stands for nothing adds nothing.
    pub fn list(&self) -> Vec<PathBuf> {
        let mut all = self.files.clone();
        all.extend(
            self.patterns.iter().flat_map(|pattern| super::files::expand(pattern).unwrap_or_default()),
        );
        all
    }
}

/// What `hale.json` says about discovery.
#[derive(Clone, Debug)]
pub struct SourcesConfig {
    /// The sources, those that go before others first.
    pub list: Vec<SourceConfig>,
    /// Which of several claims for one name counts.
    pub conflict: Conflict,
    /// Milliseconds that readiness waits at most for sources.
    pub ready_timeout_ms: u64,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self { list: Vec::new(), conflict: Conflict::default(), ready_timeout_ms: 30_000 }
    }
}

/// What `hale.json` gives to all zones: they refer to it by name, and what a zone calls by the same name itself goes before.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    pub(crate) checks: Arc<Checks>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) geo: Arc<Geo>,
    pub(crate) policy_limits: PolicyLimits,
}

/// One `listen` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Address and port; port 0 takes a free one, which is printed.
    pub address: SocketAddr,
    /// Whether the server may start without it (the IPv6 half of a default or of `--port`).
    pub optional: bool,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The `admin` block.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// API, metrics and probes; `None` with `--admin off`.
    pub listen: Option<SocketAddr>,
    /// Metrics alone.
    pub metrics_listen: Option<SocketAddr>,
    /// `/healthz` and `/readyz` alone.
    pub probes_listen: Option<SocketAddr>,
    /// Bearer token; needed where `listen` is not on loopback.
    pub token: Option<String>,
    /// Names that the server goes by in URLs, in lower case and without a trailing dot.
    pub hosts: Vec<String>,
    /// What `listen` speaks TLS with; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Requests that one client may make to `listen` each second.
    pub requests_per_second: u32,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: None,
            metrics_listen: None,
            probes_listen: None,
            token: None,
            hosts: Vec::new(),
            tls: None,
            requests_per_second: 100,
        }
    }
}

/// Where a certificate is kept, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that it rests on.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The `health` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Percentage of targets that may go down together before verdicts are held.
    pub brake_down_percent: u8,
    /// The brake acts on at least so many targets.
    pub brake_min_targets: usize,
    /// Probes under way at once.
    pub probes_in_flight: usize,
    /// Programs of exec checks under way at once.
    pub exec_in_flight: usize,
    /// Probes started a second against one address.
    pub probes_per_second_per_address: u32,
    /// Saved verdicts younger than this count at start, in milliseconds.
    pub verdict_max_age_ms: u64,
}

/// Everything of a zone file but its records.
#[derive(Clone, Debug)]
pub struct ZoneHeader {
    /// The file, for diagnostics.
    pub file: PathBuf,
    /// The zone's apex.
    pub apex: Name,
    /// Further apexes that serve the same records as zones of their own.
    pub alias_zones: Vec<Name>,
    /// NS targets at the apex.
    pub nameservers: Vec<Name>,
    /// Figures of the SOA record.
    pub soa: SoaConfig,
    /// TTL in seconds of what has none of its own.
    pub default_ttl: u32,
    /// What a checked name answers before its first verdict.
    pub startup: Startup,
    /// What the policy of one owner may come to (`limits.policy` of `hale.json`).
    pub policy_limits: PolicyLimits,
    /// Signing.
    pub dnssec: Dnssec,
    /// Where `"zone"` stands.
    pub position: Position,
}

/// SOA figures; `None` leaves them to the defaults that `zone::desired` documents. All in seconds.
#[derive(Clone, Debug, Default)]
pub struct SoaConfig {
    /// Primary name server; the first of `nameservers` unless given.
    pub mname: Option<Name>,
    /// Mailbox of the person responsible; `hostmaster.<apex>` unless given.
    pub rname: Option<Name>,
    /// Refresh interval.
    pub refresh: Option<u32>,
    /// Retry interval.
    pub retry: Option<u32>,
    /// Expiry on a secondary; must exceed refresh.
    pub expire: Option<u32>,
    /// Negative TTL (RFC 2308), capped by the smallest auto TTL.
    pub minimum: Option<u32>,
    /// TTL of the SOA record itself, capped likewise.
    pub ttl: Option<u32>,
}

/// What a checked name answers before its first verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Startup {
    /// SERVFAIL for the checked types until the first verdict.
    #[default]
    Wait,
    /// As if every endpoint were up.
    Optimistic,
}

/// The `dnssec` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// No block: unsigned, unless keys of this zone were used before (then SERVFAIL until `"off"` is written).
    Absent,
    /// `"off"`.
    Off,
    /// Signed.
    On(DnssecConfig),
}

/// A zone's signing settings. All times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnssecConfig {
    /// Where the keys come from.
    pub keys: KeySource,
    /// How long signatures are valid (default 14 days).
    pub signature_validity: u32,
    /// Renew this long before expiry (default 4 days).
    pub refresh: u32,
}

/// Where a zone's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `KEYS/<zone>/`, every key file in it; aliases have directories of their own.
    Directory(PathBuf),
    /// Files named one by one.
    Files(Vec<KeyFile>),
    /// Made at first use and kept in the state directory.
    Auto,
}

/// One entry of an explicit key list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// PEM or BIND private key file.
    pub file: PathBuf,
    /// What the key signs.
    pub role: KeyRole,
    /// DNSSEC algorithm number; told by the file where it can be.
    pub algorithm: Option<u8>,
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Key-signing key: the DNSKEY, CDS and CDNSKEY RRsets.
    Ksk,
    /// Zone-signing key: everything else.
    Zsk,
    /// Combined: everything.
    Csk,
}

/// What to answer when every endpoint of an owner is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum WhenAllDown {
    /// As if every endpoint were up.
    #[default]
    All,
    /// What was answered last; without history as [`WhenAllDown::All`].
    LastGood,
    /// The fallback addresses, which are never probed.
    Fallback,
    /// NODATA; the owner stays.
    None,
}

/// Order of the records in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Another record first in each answer.
    #[default]
    Rotate,
    /// Always the same.
    Fixed,
}

/// One key of `records`.
#[derive(Clone, Debug)]
pub struct OwnerConfig {
    /// Owner name relative to the zone, as a name below the root (`www.`); the root is the apex.
    pub relative: Name,
    /// Addresses from `A`, `AAAA`, `ips` or a plain list, in the order written.
    pub endpoints: Vec<Endpoint>,
    /// Where each of [`OwnerConfig::endpoints`] stands, with its JSON path.
    pub endpoint_places: Vec<(Position, String)>,
    /// TTL of the A RRset if given; else auto where an endpoint is checked, else the zone's default.
    pub a_ttl: Option<u32>,
    /// TTL of the AAAA RRset, likewise.
    pub aaaa_ttl: Option<u32>,
    /// What to answer when all are down.
    pub when_all_down: WhenAllDown,
    /// Addresses of [`WhenAllDown::Fallback`].
    pub fallback: Vec<IpAddr>,
    /// Order of addresses in answers.
    pub order: Order,
    /// Overrides the zone's.
    pub startup: Option<Startup>,
    /// How the addresses become an answer; `None` for all that are up.
    pub policy: Option<Box<Policy>>,
    /// The host whose addresses the owner has.
    pub alias: Option<AliasConfig>,
    /// All other RRsets. Where the policy is about CNAMEs, and so there are no endpoints, that of CNAMEs holds one for each of its endpoints,
    /// in their order.
    pub rrsets: Vec<RrsetConfig>,
    /// Records of [`WhenAllDown::Fallback`] other than addresses.
    pub fallback_records: Vec<RrsetConfig>,
    /// Whether anything of it was reported as wrong: what it seems to lack may be that.
    pub is_broken: bool,
    /// Where the owner's key stands.
    pub position: Position,
}

/// The `ALIAS` key of an owner.
#[derive(Clone, Debug)]
pub struct AliasConfig {
    /// The host's name as written: absolute with a trailing dot, else below the apex.
    pub text: String,
    /// TTL in seconds if given.
    pub ttl: Option<u32>,
    /// What must hold for an address to be up: the targets' address is the unspecified one, in place of those that are resolved.
    pub condition: Option<Condition>,
    /// Where it stands.
    pub position: Position,
    /// Its JSON path.
    pub path: String,
}

/// One RRset in presentation format. It is parsed for each apex, since relative names in it end differently in an alias zone.
#[derive(Clone, Debug)]
pub struct RrsetConfig {
    /// RR type.
    pub rtype: RrType,
    /// TTL in seconds if given here or on the owner.
    pub ttl: Option<u32>,
    /// RDATA with where it stands and its JSON path.
    pub data: Vec<RdataText>,
}

/// RDATA as written.
#[derive(Clone, Debug)]
pub struct RdataText {
    /// Presentation format; for TXT and SPF a text that does not start with `"` is one literal text.
    pub text: String,
    /// Where it stands.
    pub position: Position,
    /// Its JSON path.
    pub path: String,
    /// What decides about the record; always up without.
    pub check: Option<Box<RecordCheck>>,
}
