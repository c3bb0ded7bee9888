//! Why an answer is what it is: the JSON of `/api/v1/explain`, and what `hale explain` reads back. Times are Unix seconds.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{OverrideReport, TargetReport, TransitionReport};
use super::target::Verdict;

/// Whose question is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the query comes from: a client's address, or its resolver's.
    pub address: IpAddr,
    /// The network that a resolver asks for (EDNS Client Subnet, RFC 7871).
    pub network: Option<ClientNetwork>,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self { address, network: None }
    }
}

/// The network of a resolver's client: an address without any bit set beyond its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNetwork {
    address: IpAddr,
    bits: u8,
}

impl ClientNetwork {
    /// The network's first address; `None` for a prefix of no bits, by which a client asks not to be known (RFC 7871 §7.1.2).
    pub fn client(&self) -> Option<IpAddr> {
        (self.bits > 0).then_some(self.address)
    }

    /// The option's data in a query (RFC 7871 §6).
    pub fn option(&self) -> Vec<u8> {
        let (family, octets) = match self.address {
            IpAddr::V4(v4) => (1, v4.octets().to_vec()),
            IpAddr::V6(v6) => (2, v6.octets().to_vec()),
        };
        let sent = usize::from(self.bits).div_ceil(8);
        [&[0, family, self.bits, 0], &octets[..sent]].concat()
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for ClientNetwork {
    type Err = String;

    /// Reads `192.0.2.0/24` or an address, all bits of which count then, as `dig +subnet` does; the error says what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is not a network such as \"192.0.2.0/24\" or \"2001:db8:1::/48\"");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| shape())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(shape)?,
        };
        let beyond = match address {
            IpAddr::V4(v4) => u32::from(v4).checked_shl(bits.into()).unwrap_or(0) != 0,
            IpAddr::V6(v6) => u128::from(v6).checked_shl(bits.into()).unwrap_or(0) != 0,
        };
        if beyond {
            return Err(format!("{text:?} has bits set beyond its prefix"));
        }
        Ok(Self { address, bits })
    }
}

/// `/api/v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The name asked for, with its trailing dot.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Whose question it would be.
    pub client: IpAddr,
    /// The network that the client, a resolver, asks for, such as `192.0.2.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs: Option<String>,
    /// What led to the answer, name by name: the one asked for, and those that aliases lead to within this server's zones.
    pub names: Vec<NameExplanation>,
    /// The answer, made by what answers queries.
    pub answer: AnswerReport,
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerReport {
    /// Response code, such as `NOERROR`.
    pub rcode: String,
    /// Extended error (RFC 8914): its code, then the text if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_error: Option<String>,
    /// Bits of the client's network that the answer holds for (RFC 7871 §7.2.1), if it was asked for one and the option is honoured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs_scope: Option<u8>,
    /// The answer section, a record each: name, TTL, class, type, data.
    pub records: Vec<String>,
}

/// One name on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbedReport {
    /// As `/api/v1/targets` has it.
    #[serde(flatten)]
    pub report: TargetReport,
    /// The latest changes of its verdict, oldest first.
    pub history: Vec<TransitionReport>,
}

/// The answers of one type that there are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_sent() {
        for (text, option, client) in [
            ("192.0.2.0/24", &[0, 1, 24, 0, 192, 0, 2][..], Some("192.0.2.0")),
            ("192.0.2.7", &[0, 1, 32, 0, 192, 0, 2, 7], Some("192.0.2.7")),
            ("10.0.0.0/7", &[0, 1, 7, 0, 10], Some("10.0.0.0")),
            ("2001:db8::/33", &[0, 2, 33, 0, 0x20, 1, 0x0d, 0xb8, 0], Some("2001:db8::")),
            ("0.0.0.0/0", &[0, 1, 0, 0], None),
            ("::/0", &[0, 2, 0, 0], None),
        ] {
            let network: ClientNetwork = text.parse().unwrap();
            assert_eq!(network.option(), option, "{text}");
            assert_eq!(network.client().map(|c| c.to_string()), client.map(str::to_owned), "{text}");
        }
        for (text, why) in [
            ("192.0.2.1/24", "bits set beyond"),
            ("0.0.0.1/0", "bits set beyond"),
            ("2001:db8::1/64", "bits set beyond"),
            ("192.0.2.0/33", "is not a network"),
            ("192.0.2.0/", "is not a network"),
            ("example.test", "is not a network"),
        ] {
            let error = text.parse::<ClientNetwork>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
