//! What the server says of itself: the JSON of `/readyz` and `/api/v1/…`, and what the command line reads back.
//!
//! Times are Unix seconds, not ages: an age is wrong as soon as it is written. Fields that do not apply are left out.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::overrides::Word;
use super::target::Verdict;

/// Name of the server's unix socket in its state directory.
pub const SOCKET_NAME: &str = "hale.sock";

/// `/readyz`: whether queries are answered, part by part. Once ready it stays so: a verdict or a source never takes it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Whether every part is.
    pub ready: bool,
    /// What readiness consists of.
    pub parts: Vec<ReadinessPart>,
}

/// One part of readiness, such as `zones`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessPart {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub ready: bool,
    /// What it has, or what it waits for.
    pub detail: String,
}

/// `/api/v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// When the process started.
    pub started_at: u64,
    /// Whether queries are answered.
    pub ready: bool,
    /// Bound sockets.
    pub listeners: Vec<Listener>,
    /// State directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// Number of the published snapshot; each commit adds one.
    pub generation: u64,
    /// Zones, aliases counted.
    pub zones: u64,
    /// Zones that are answered SERVFAIL.
    pub broken_zones: u64,
    /// Targets by verdict.
    pub targets: TargetCounts,
    /// Whether the brake holds verdicts.
    pub brake: bool,
    /// Overrides in force.
    #[serde(default)]
    pub overrides: u64,
    /// Queries since the start, dropped ones included.
    #[serde(default)]
    pub queries: u64,
    /// Changes of targets' verdicts since the start.
    #[serde(default)]
    pub flips: u64,
    /// When zones were last read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloaded_at: Option<u64>,
    /// The first error of that, if there was one: what it is about is served as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_problem: Option<String>,
    /// Settings that have changed since the start and need another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
}

/// A bound socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// `udp` or `tcp`.
    pub transport: String,
    /// Where.
    pub address: SocketAddr,
}

/// Targets by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetCounts {
    /// Probes succeed.
    pub up: u64,
    /// Probes fail.
    pub down: u64,
    /// No verdict yet.
    pub unknown: u64,
}

/// An entry of `/api/v1/zones`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZoneReport {
    /// The apex, with its trailing dot.
    pub zone: String,
    /// Whether it is served.
    pub state: ZoneState,
    /// Why it is not, or what is wrong although it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Serial of the published SOA record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Owner names that hold records.
    pub names: u64,
    /// Those that health decides about.
    pub checked_names: u64,
    /// Overridden endpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<OverriddenReport>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<u64>,
    /// Apex of the zone that this one is an alias of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
    /// Where it is configured.
    pub file: PathBuf,
    /// Whether it is signed.
    pub signed: bool,
    /// When the first signature expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures_expire_at: Option<u64>,
}

/// An endpoint that an override decides about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverriddenReport {
    /// The owner name, with its trailing dot.
    pub name: String,
    /// What it publishes.
    pub publishes: String,
    /// What the override says.
    pub word: Word,
    /// The override's number.
    pub id: u64,
}

/// An entry of `/api/v1/overrides`; it is also what is kept of it on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverrideReport {
    /// Its number, by which it is cleared.
    pub id: u64,
    /// `name:GLOB`, `pool:NAME` or `address:IP`.
    pub subject: String,
    /// The zone that it is limited to, with its trailing dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What it says.
    pub word: Word,
    /// When it was set.
    pub set_at: u64,
    /// When it expires by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why, in the words of who set it.
    pub reason: String,
    /// Who set it.
    pub owner: String,
}

/// The answer to `POST /api/v1/overrides` and `DELETE /api/v1/overrides/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverrideChange {
    /// What was set or cleared.
    #[serde(rename = "override")]
    pub entry: OverrideReport,
    /// Checked owner names that it is about now.
    pub names: u64,
    /// Whether it outlives a restart: the server has a state directory.
    pub kept: bool,
}

/// The body of `POST /api/v1/overrides`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// `name:GLOB`, `pool:NAME` or `address:IP`.
    pub subject: String,
    /// Limits it to one zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What to say.
    pub word: Word,
    /// For how long, such as `1h30m`, or `forever`.
    #[serde(rename = "for")]
    pub lasts: String,
    /// Why.
    pub reason: String,
}

/// Whether a zone is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ZoneState {
    /// Its data are answered.
    Serving,
    /// Its last good data are answered, since its file is broken or gone.
    Kept,
    /// Every query in it is answered SERVFAIL.
    Broken,
}

/// An entry of `/api/v1/targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    /// Its number, for `/api/v1/targets/{id}/history`. It keeps it as long as it stands in any zone, and at most until the server stops.
    pub id: u32,
    /// What is probed and how, such as `tcp 192.0.2.10:443`, or whose verdict is followed, such as `name db.example.test.`.
    pub target: String,
    /// What health says of it.
    pub verdict: Verdict,
    /// When it was last probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed_at: Option<u64>,
    /// What the last probe met, if it failed or warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How long the last probe took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// Milliseconds from one probe to the next; nothing for a followed name, which is not probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u32>,
    /// When its verdict changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<u64>,
    /// How often it changed within the last hour, as far as its history goes back.
    pub flips: u64,
    /// Whether only the brake keeps it up.
    pub braked: bool,
    /// Until when it is held down for flipping too often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<u64>,
    /// The share of its weight with which it is answered, in percent: less than 100 while it starts slowly.
    pub share: u8,
    /// Numbers of the overrides that decide about endpoints which rest on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<u64>,
    /// When the certificate that it showed last expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<i64>,
}

/// `/api/v1/targets/{id}/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryReport {
    /// What is probed and how.
    pub target: String,
    /// The last hundred changes of its verdict, oldest first.
    pub history: Vec<TransitionReport>,
}

/// A change of a target's verdict, of `/api/v1/targets/{id}/history`; it is also what is kept of it on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransitionReport {
    /// When, in milliseconds of Unix time: several may fall into one second.
    pub at_ms: u64,
    /// The verdict before.
    pub from: Verdict,
    /// The verdict from then on.
    pub to: Verdict,
    /// Why.
    pub reason: String,
}

/// The answer to `POST /api/v1/reload`: what reading the zones again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReport {
    /// Whether everything was read without an error.
    pub ok: bool,
    /// Each zone that changed, or could not.
    pub zones: Vec<ZoneChange>,
    /// Zones that are as they were.
    pub unchanged: u64,
    /// Settings of `hale.json`, flags and variables that differ from those before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<SettingChange>,
    /// Errors and warnings, each in its printed form.
    pub findings: Vec<String>,
}

/// A setting that differs from what the server ran with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// Its key in `hale.json`, such as `listen` or `sources`.
    pub key: String,
    /// What became of it.
    pub outcome: SettingOutcome,
    /// What has changed, or why it could not.
    pub detail: String,
}

/// What became of a changed setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettingOutcome {
    /// It counts from now on.
    Applied,
    /// It could not be had: the old one goes on.
    Failed,
    /// It counts from the next start on.
    NeedsRestart,
}

/// What a reload did to one zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZoneChange {
    /// The apex, with its trailing dot, or the file where the apex could not be read.
    pub zone: String,
    /// What happened.
    pub change: ChangeKind,
    /// Serial of the SOA record published now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Owner names that are new.
    pub added: u64,
    /// Owner names with other records.
    pub changed: u64,
    /// Owner names that are gone.
    pub removed: u64,
    /// Records that came.
    #[serde(default)]
    pub records_added: u64,
    /// Records that went.
    #[serde(default)]
    pub records_removed: u64,
    /// The first of these records: `+ www.example.test. 300 A 192.0.2.1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
    /// Why it is not as its file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a reload did to a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It has other records.
    Changed,
    /// It is gone, as `--remove-missing` wanted.
    Removed,
    /// Its file is broken or has vanished: the old zone goes on.
    Kept,
    /// It cannot be served and has no old zone.
    Broken,
}

/// The word of the JSON.
impl std::fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::Broken => "broken",
        })
    }
}

/// The word of the JSON.
impl std::fmt::Display for ZoneState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Kept => "kept",
            Self::Broken => "broken",
        })
    }
}

/// An error of the API (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem: `about:blank`, so that the title is the status code's.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status code in words.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
