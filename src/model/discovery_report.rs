//! What the API says about discovery, and what commands show of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One source, of `/api/v1/sources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceReport {
    /// Its name in `hale.json`.
    pub name: String,
    /// `traefik` or `kubernetes`.
    pub kind: String,
    /// `ok`, `waiting` (nothing known yet), `failing`, `paused`, or `held` (the brake holds removals).
    pub state: String,
    /// `sync`, `add-only` or `observe`.
    pub mode: String,
    /// `continuous`, `manual` or the schedule.
    pub sync: String,
    /// Seconds from one round to the next: `poll`, or what back-off and breaker make of it while the source fails. Absent where rounds are not
    /// timed: a watch, `manual` and schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u64>,
    /// Whether everything was listed since the start.
    pub synced: bool,
    /// Names that stand, restored ones and those that another source publishes among them.
    pub names: u64,
    /// When everything was last known to be complete, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<u64>,
    /// Seconds since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// After so many seconds of failing it is called stale.
    #[serde(default)]
    pub stale_after_seconds: u64,
    /// Requests to it since the start.
    #[serde(default)]
    pub requests: u64,
    /// Those of them that were answered with success.
    #[serde(default)]
    pub requests_good: u64,
    /// Why it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
    /// What the brake holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeReport>,
    /// Its lists and watches.
    pub resources: Vec<ResourceReport>,
    /// Conditions such as `ClusterAvailable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionReport>,
    /// Objects that have something wrong with them.
    pub problems: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_problems: Vec<ProblemReport>,
    /// Names of it that people hide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
}

/// Why a source fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureReport {
    /// In a word: `connect`, `timeout`, `forbidden`, …
    pub kind: String,
    /// In a line.
    pub text: String,
    /// Failures in a row.
    pub in_a_row: u32,
    /// Whether the breaker is open: it is only tried now and then.
    pub breaker_open: bool,
    /// Seconds until it is tried again, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_seconds: Option<u64>,
}

/// Removals that the brake holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrakeReport {
    /// How many names.
    pub held: u64,
    /// Why.
    pub why: String,
    /// For how many seconds they have been just these.
    pub for_seconds: u64,
    /// After how many seconds of this they go by themselves.
    pub release_after_seconds: u64,
    /// The first of them.
    pub names: Vec<String>,
}

/// One list or watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceReport {
    /// The kind of its objects.
    pub kind: String,
    /// The namespace, where each has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `ok`, `failing`, `not installed` or `waiting`.
    pub state: String,
    /// Objects of it that are there.
    pub objects: u64,
    /// Seconds since it was last known to be complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Why it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A condition of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionReport {
    /// `ClusterAvailable` and the like.
    pub kind: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why.
    pub reason: String,
}

/// What is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemReport {
    /// `ingress/shop/web`.
    pub object: String,
    /// In a word: `malformed`, `rule`, `stale`, `refused`.
    pub kind: String,
    /// In a line.
    pub text: String,
}

/// One line of `/api/v1/plan`: a name that sources would have otherwise than it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanReport {
    /// The name.
    pub name: String,
    /// `add`, `change`, `remove`, or `refuse`: what is asked for is not done; or `hide`: a person keeps it from being published.
    pub change: String,
    /// The source that asks for it.
    pub source: String,
    /// The object.
    pub object: String,
    /// Where the name would lead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Why it is not done, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The wildcard that would no longer answer for the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hides: Option<String>,
}

/// What came of a change to a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceChange {
    /// The source.
    pub source: String,
    /// `resync`, `pause`, `resume` or `release`.
    pub action: String,
    /// Names that the brake lets go.
    #[serde(default)]
    pub names: u64,
}
