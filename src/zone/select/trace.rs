//! What led to a selection, for people: made only when somebody asks.

use std::borrow::Cow;
use std::fmt;

use super::standing::{PoolStanding, Standing};
use super::{Selection, Situation, State};
use crate::model::policy::{Members, Policy, Pool, Rule};
use crate::model::rrtype::RrType;
use crate::model::target::{Endpoint, EndpointData, Group, Verdict};
use crate::zone::desired::auto_ttl;

/// How a selection came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Every endpoint, in the owner's order.
    pub endpoints: Vec<EndpointTrace>,
    /// Every pool, the root first.
    pub pools: Vec<PoolTrace>,
    /// Each type that is served, with its TTL in seconds.
    pub ttls: Vec<(RrType, u32)>,
    /// What its checks would make of a group's `auto` TTL, in seconds; no group of which nothing is checked.
    pub auto_ttls: Vec<(Group, u32)>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTrace {
    /// What is published.
    pub data: EndpointData,
    /// What is known of it.
    pub state: State,
    /// What it counts as, a person's word and `"startup"` included.
    pub counts_as: Verdict,
    /// Names of the pools it belongs to.
    pub pools: Vec<String>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTrace {
    /// Its place in the policy.
    pub place: usize,
    /// Its name; the root's is `policy`, that of another without a name tells its place.
    pub name: String,
    /// `all`, `failover`, `weighted`, `hashed` or `geo`.
    pub rule: &'static str,
    /// Its members: pools by name, behind their regions where there are any; or how many endpoints there are.
    pub members: Vec<String>,
    /// How it stands.
    pub standing: PoolStanding,
    /// What it needs to be healthy.
    pub min_healthy: u16,
    /// The percentage of its members below which it serves all of them; 0 for none.
    pub up_threshold: u8,
}

/// The word for a rule, as it is written in a zone file.
pub(super) fn rule_word(rule: &Rule) -> &'static str {
    match rule {
        Rule::All => "all",
        Rule::Failover { .. } => "failover",
        Rule::Weighted => "weighted",
        Rule::Hashed => "hashed",
        Rule::Geo(_) => "geo",
    }
}

pub(super) fn trace(situation: &Situation<'_>, selection: &Selection) -> Trace {
    // Groups that no policy can be about are all that is up: their endpoints say everything.
    let policy = situation.groups().find(|group| group.group.has_policy()).map(|group| group.policy);
    let policy = policy.unwrap_or_else(|| Cow::Owned(Policy { pools: Vec::new() }));
    let judged = situation.judge(&policy, &situation.up());
    let name = |at: usize| {
        let pool = &policy.pools[at];
        let unnamed = || if at == policy.root() { "policy".to_owned() } else { format!("pool {at}") };
        pool.name.as_ref().map_or_else(unnamed, ToString::to_string)
    };
    let members = |pool: &Pool| match &pool.members {
        Members::Endpoints(range) => vec![format!("{} endpoints", range.len())],
        Members::Pools(members) => {
            let named = members.iter().map(|m| name(m.pool as usize));
            match &pool.rule {
                Rule::Geo(geo) => named.zip(&*geo.regions).map(|(name, r)| format!("{r}: {name}")).collect(),
                _ => named.collect(),
            }
        }
    };
    let pools = policy.pools.iter().zip(&judged.pools).enumerate().rev();
    let endpoints = situation.checked.endpoints.iter().enumerate();
    let names_around = |i: usize| policy.names_around(i);
    Trace {
        endpoints: endpoints
            .map(|(i, endpoint)| EndpointTrace {
                data: endpoint.data.clone(),
                state: situation.states[i],
                counts_as: situation.verdicts[i],
                pools: names_around(i).into_iter().map(str::to_owned).collect(),
            })
            .collect(),
        pools: pools
            .map(|(place, (pool, standing))| PoolTrace {
                place,
                name: name(place),
                rule: rule_word(&pool.rule),
                members: members(pool),
                standing: *standing,
                min_healthy: pool.min_healthy,
                up_threshold: pool.up_threshold,
            })
            .collect(),
        ttls: selection.rrsets.iter().map(|set| (set.rtype, situation.checked.ttl(set.rtype))).collect(),
        auto_ttls: situation
            .groups()
            .filter_map(|group| {
                Some((group.group, auto_ttl(group.endpoints.iter().flat_map(Endpoint::checks))?))
            })
            .collect(),
    }
}

/// `fra (all): 1 of 3 up, needs 2: weak`.
impl fmt::Display for PoolTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rule, standing: PoolStanding { standing, up, of, serves_all, .. }, .. } = self;
        write!(f, "{name} ({rule}): {up} of {of} up")?;
        if self.min_healthy > 1 {
            write!(f, ", needs {}", self.min_healthy)?;
        }
        if self.up_threshold > 0 {
            write!(f, ", threshold {} %", self.up_threshold)?;
        }
        f.write_str(match standing {
            Standing::Healthy => ": healthy",
            Standing::Weak => ": weak",
            Standing::Drained => ": drained",
            Standing::Down => ": down",
        })?;
        if *serves_all { f.write_str(", serves all of its endpoints") } else { Ok(()) }
    }
}
