//! Records as the API shows them, the names that people hide, and what DNS says of a host name: JSON of `/api/v1/zones/{zone}/records`,
//! `/api/v1/hidden` and `/api/v1/test-dns`. Times are Unix seconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::discovery_report::{PlanReport, SourceReport};
use super::explain::{AnswerReport, NameExplanation};
use super::overrides::Word;
use super::target::Verdict;

/// `/api/v1/zones/{zone}/records`: some of a zone's RRsets, in canonical order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordsPage {
    /// The apex, with its trailing dot.
    pub zone: String,
    /// The serial that is served.
    pub serial: u32,
    /// The RRsets.
    pub records: Vec<RrsetReport>,
    /// What to give as `after` for the next page; nothing if this is the last. A page may have fewer records than asked for, even none, and a
    /// next one all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An RRset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RrsetReport {
    /// The owner name, with its trailing dot.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// TTL in seconds.
    pub ttl: u32,
    /// Where it comes from: a zone file, a discovered object, or the server itself.
    pub source: String,
    /// Its records.
    pub data: Vec<RecordReport>,
}

/// A record of an RRset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordReport {
    /// Its data in presentation format.
    pub data: String,
    /// What its probes amount to; nothing if it is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Numbers of the targets that it rests on, as in `/api/v1/targets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<u32>,
    /// A person's word about it.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub word: Option<Word>,
    /// Whether it is among what is answered now; with a policy, among any of the answers.
    pub served: bool,
}

/// An entry of `/api/v1/hidden`: a discovered name that is not published because somebody says so; it is also what is kept of it on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HiddenReport {
    /// The name, with its trailing dot.
    pub name: String,
    /// When it was hidden.
    pub set_at: u64,
    /// When it is published again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why, in the words of who hid it.
    pub reason: String,
    /// Who hid it.
    pub owner: String,
}

/// The body of `POST /api/v1/hidden`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HideRequest {
    /// The name; a wildcard is hidden as `*.apps.example.test`, and that hides nothing but itself.
    pub name: String,
    /// For how long, such as `1h30m`, or `forever`.
    #[serde(rename = "for")]
    pub lasts: String,
    /// Why.
    pub reason: String,
}

/// What came of hiding a name, or of publishing it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HiddenChange {
    /// What was said.
    pub hidden: HiddenReport,
    /// Whether any source wants the name published now.
    pub discovered: bool,
    /// Whether it outlives a restart: the server has a state directory.
    pub kept: bool,
}

/// `/api/v1/test-dns`: what DNS answers now for a host name, where it comes from, and how it fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestDns {
    /// The name, with its trailing dot.
    pub hostname: String,
    /// What queries for it are answered, made by what answers them: A and AAAA, then the other types it has.
    pub answers: Vec<TypedAnswer>,
    /// Where it belongs and how its addresses are chosen, with targets and overrides: the name itself, then those it is an alias of.
    pub names: Vec<NameExplanation>,
    /// The objects that it is discovered from, and the state of their source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<DiscoveredFrom>,
    /// What sources want otherwise than it is, and why it is not so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlanReport>,
    /// That somebody has hidden it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<HiddenReport>,
}

/// The answer to a query of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypedAnswer {
    /// The type asked for.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The answer.
    #[serde(flatten)]
    pub answer: AnswerReport,
}

/// An object that a name is discovered from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveredFrom {
    /// The object, as its people write it.
    pub object: String,
    /// Its source, with the state of its sync.
    pub source: SourceReport,
}
