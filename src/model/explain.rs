//! Why an answer is what it is: the JSON of `/api/v1/explain`, and what `hale explain` reads back. Times are Unix seconds.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::report::{OverrideReport, TargetReport, TransitionReport};
use super::target::Verdict;

/// `/api/v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name asked for, with its trailing dot.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Whose question it would be.
    pub client: IpAddr,
    /// What led to the answer, name by name: the one asked for, and those that aliases lead to within this server's zones.
    pub names: Vec<NameExplanation>,
    /// The answer, made by what answers queries.
    pub answer: AnswerReport,
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerReport {
    /// Response code, such as `NOERROR`.
    pub rcode: String,
    /// Extended error (RFC 8914): its code, then the text if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_error: Option<String>,
    /// The answer section, a record each: name, TTL, class, type, data.
    pub records: Vec<String>,
}

/// One name on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameExplanation {
    /// The name, with its trailing dot.
    pub name: String,
    /// The zone that answers for it; `None` if no zone here does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneOfName>,
    /// The owner whose records answer: the name, or a wildcard; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Types that the owner has records of now.
    pub types: Vec<String>,
    /// Where its records come from, besides the zone file: `discovered by prod from ingress/shop/web`, or an ALIAS with what is known of its
    /// host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// How its addresses are chosen, if health or a policy has a say in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionReport>,
}

/// Where a name belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneOfName {
    /// The apex, with its trailing dot.
    pub apex: String,
    /// The zone that it is an alias of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
    /// Where it is configured.
    pub file: String,
    /// Why it is not answered, or is older than its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The serial served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
}

/// How an owner's addresses become its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionReport {
    /// Where each comes from, and what is known of it.
    pub endpoints: Vec<EndpointReport>,
    /// Each pool of the policy, the root first: `fra (all): 1 of 3 up, needs 2: weak`.
    pub pools: Vec<String>,
    /// What follows: that the ordinary policy answers, or what is done since all are down.
    pub outcome: String,
    /// Each type that is served.
    pub answers: Vec<TypeReport>,
    /// Types whose first verdict is awaited: SERVFAIL.
    pub pending: Vec<String>,
    /// Types that are withheld since every endpoint of theirs is down: NODATA.
    pub withheld: Vec<String>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// What is published.
    pub publishes: String,
    /// Where it stands, such as `zones/a.json:12:20 records.www.A[0]`; `None` if it is no longer there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Relative weight.
    pub weight: u16,
    /// Percentage of its weight while it starts slowly.
    pub share: u8,
    /// Pools it belongs to.
    pub pools: Vec<String>,
    /// What must hold for it to be up; `None` if it is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_on: Option<String>,
    /// What that amounts to.
    pub verdict: Verdict,
    /// What it counts as: a person's word and `startup` included.
    pub counts_as: Verdict,
    /// A person's word, if there is one.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub said: Option<OverrideReport>,
    /// What is probed for it.
    pub targets: Vec<ProbedReport>,
}

/// A target that an endpoint rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedReport {
    /// As `/api/v1/targets` has it.
    #[serde(flatten)]
    pub report: TargetReport,
    /// The latest changes of its verdict, oldest first.
    pub history: Vec<TransitionReport>,
}

/// The answers of one type that there are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeReport {
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// TTL in seconds.
    pub ttl: u32,
    /// How the TTL comes about.
    pub ttl_because: String,
    /// Each answer that the policy can give now; record data in canonical order.
    pub sets: Vec<Vec<String>>,
    /// Which of them this client is given; `None` if it is drawn by weight for each query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<usize>,
}
