//! Policies: how the endpoints of an owner become its answers. A tree of pools, whose leaves are endpoints.

use std::ops::Range;
use std::sync::Arc;

use super::prefixes::PrefixTable;

/// Different answers of one type that an owner may have at one time, unless the configuration says otherwise. Each is an RRset of its own, signed and compiled.
pub const MAX_VARIANTS: usize = 256;
/// Entries of the tables by which an owner's answers are picked, all nested pools unfolded, unless the configuration says otherwise.
pub const MAX_PICK_ENTRIES: usize = 4096;
/// Pools within each other.
pub const MAX_POOL_DEPTH: usize = 8;

/// The policy of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Every pool, members in front of what they belong to; the last one is the root. A pool that is referred to twice stands once.
    pub pools: Vec<Pool>,
}

/// Endpoints or pools that stand for each other, with the rule that chooses among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name, for references, overrides and explanations.
    pub name: Option<Box<str>>,
    /// How members are chosen.
    pub rule: Rule,
    /// What is chosen among.
    pub members: Members,
    /// How many records an answer holds at most; what the pools above say unless given.
    pub answers: Option<u16>,
    /// It is healthy with at least so many members up.
    pub min_healthy: u16,
    /// With a smaller percentage of its members up it is not healthy, and serves all of them; 0 for never.
    pub up_threshold: u8,
}

/// How members are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every one that is up.
    All,
    /// The first that is healthy.
    Failover {
        /// Whether an earlier one is used again as soon as it is healthy; else the present one stays as long as it is healthy.
        failback: bool,
    },
    /// Another one for each query, in proportion to weights.
    Weighted,
    /// The same one for the same client network.
    Hashed,
    /// By where the client is.
    Geo(Geo),
}

/// Which member a client is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geo {
    /// The place among the members for each network.
    pub table: Arc<PrefixTable>,
    /// The region of each member, as it is written; `default` for one of them.
    pub regions: Arc<[Box<str>]>,
    /// The place among the members of the one for all others, to which any other gives way first.
    pub default: usize,
}

/// What a pool is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Members {
    /// Endpoints, by their places in the owner's list.
    Endpoints(Range<u32>),
    /// Other pools.
    Pools(Vec<Member>),
}

/// A pool within a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its place in [`Policy::pools`].
    pub pool: u32,
    /// Relative weight.
    pub weight: u16,
}

impl Policy {
    /// The policy of an owner that has none: every endpoint that is up.
    pub fn all(endpoints: usize) -> Self {
        Self::all_of(0..endpoints)
    }

    /// As [`Policy::all`], for the endpoints at some places of the owner's list.
    pub fn all_of(endpoints: Range<usize>) -> Self {
        let place = |i: usize| u32::try_from(i).unwrap_or(u32::MAX);
        let members = Members::Endpoints(place(endpoints.start)..place(endpoints.end));
        Self { pools: vec![Pool::new(Rule::All, members)] }
    }

    /// The place of the root.
    pub fn root(&self) -> usize {
        self.pools.len().saturating_sub(1)
    }

    /// Names of the pools that an endpoint belongs to, directly or not.
    pub fn names_around(&self, endpoint: usize) -> Vec<&str> {
        let mut holds = vec![false; self.pools.len()];
        for (i, pool) in self.pools.iter().enumerate() {
            holds[i] = match &pool.members {
                Members::Endpoints(range) => {
                    u32::try_from(endpoint).is_ok_and(|endpoint| range.contains(&endpoint))
                }
                Members::Pools(members) => members.iter().any(|m| holds[m.pool as usize]),
            };
        }
        let named = self.pools.iter().zip(holds).filter(|(_, holds)| *holds);
        named.filter_map(|(pool, _)| pool.name.as_deref()).collect()
    }

    /// An upper bound of the different answers of one type at one time.
    pub fn variants(&self) -> usize {
        let mut bounds: Vec<usize> = Vec::with_capacity(self.pools.len());
        let above = self.answers_from_above();
        for (pool, above) in self.pools.iter().zip(above) {
            let members = |members: &[Member]| {
                let mut distinct: Vec<u32> = members.iter().map(|m| m.pool).collect();
                distinct.sort_unstable();
                distinct.dedup();
                distinct.into_iter().map(|m| bounds[m as usize]).collect::<Vec<_>>()
            };
            bounds.push(match (&pool.members, &pool.rule) {
                (Members::Endpoints(range), _) => pool.windows(range.len(), above),
                (Members::Pools(_), Rule::All) => pool.windows(self.endpoints_below(pool), above),
                (Members::Pools(pools), Rule::Failover { .. }) => {
                    members(pools).into_iter().max().unwrap_or(1)
                }
                (Members::Pools(pools), _) => members(pools).into_iter().fold(0, usize::saturating_add),
            });
        }
        bounds.last().copied().unwrap_or(1)
    }

    /// Entries of the tables by which answers of one type are picked.
    pub fn pick_entries(&self) -> usize {
        let mut sizes: Vec<usize> = Vec::with_capacity(self.pools.len());
        let above = self.answers_from_above();
        for (pool, above) in self.pools.iter().zip(above) {
            let of = |members: &[Member], fold: fn(usize, usize) -> usize| {
                members.iter().map(|m| sizes[m.pool as usize]).fold(0, fold)
            };
            sizes.push(match (&pool.members, &pool.rule) {
                (Members::Endpoints(range), _) => pool.windows(range.len(), above),
                (Members::Pools(_), Rule::All) => pool.windows(self.endpoints_below(pool), above),
                (Members::Pools(pools), Rule::Failover { .. }) => of(pools, usize::max),
                (Members::Pools(pools), _) => of(pools, usize::saturating_add).saturating_add(pools.len()),
            });
        }
        sizes.last().copied().unwrap_or(1)
    }

    /// Endpoints of a pool and of those within it; one that stands in several counts in each.
    fn endpoints_below(&self, pool: &Pool) -> usize {
        match &pool.members {
            Members::Endpoints(range) => range.len(),
            Members::Pools(members) => {
                let each = members.iter().map(|m| self.endpoints_below(&self.pools[m.pool as usize]));
                each.fold(0, usize::saturating_add)
            }
        }
    }

    /// Whether a pool above each pool limits its answers. Members stand in front of their pools, so one pass from the root will do.
    fn answers_from_above(&self) -> Vec<bool> {
        let mut above = vec![false; self.pools.len()];
        for (i, pool) in self.pools.iter().enumerate().rev() {
            let Members::Pools(members) = &pool.members else { continue };
            let limits = above[i] || pool.answers.is_some();
            members.iter().for_each(|m| above[m.pool as usize] |= limits);
        }
        above
    }
}

impl Pool {
    /// A pool without a name or settings of its own.
    pub fn new(rule: Rule, members: Members) -> Self {
        Self { name: None, rule, members, answers: None, min_healthy: 1, up_threshold: 0 }
    }

    /// How many records an answer from its endpoints holds at most, `above` being what the pools above it say.
    pub fn answer_limit(&self, above: Option<u16>) -> Option<u16> {
        let own = self.answers.or(above);
        // One is what these policies are about; more have to be asked for.
        if matches!(self.rule, Rule::All) { own } else { own.or(Some(1)) }
    }

    /// Different answers from so many endpoints: one for each place that a window over them can start at.
    fn windows(&self, endpoints: usize, limited_above: bool) -> usize {
        match self.rule {
            Rule::Failover { .. } => 1,
            Rule::All if self.answers.is_none() && !limited_above => 1,
            _ if self.answers.is_some_and(|answers| usize::from(answers) >= endpoints) => 1,
            _ => endpoints.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(rule: Rule, members: &[u32]) -> Pool {
        let members = members.iter().map(|&pool| Member { pool, weight: 1 }).collect();
        Pool::new(rule, Members::Pools(members))
    }

    #[test]
    fn bounds() {
        let leaf = |rule, range| Pool::new(rule, Members::Endpoints(range));
        let failover = Rule::Failover { failback: true };
        let few = Pool { answers: Some(2), ..leaf(Rule::All, 0..5) };
        for (list, want) in [
            (vec![leaf(Rule::All, 0..9)], 1),
            (vec![leaf(failover.clone(), 0..9)], 1),
            (vec![leaf(Rule::Weighted, 0..9)], 9),
            (vec![few.clone()], 5),
            (vec![Pool { answers: Some(5), ..few.clone() }], 1),
            (vec![leaf(Rule::Hashed, 0..3), leaf(Rule::Weighted, 3..8), pools(failover.clone(), &[0, 1])], 5),
            (vec![leaf(Rule::Hashed, 0..3), leaf(Rule::All, 3..8), pools(Rule::Weighted, &[0, 1, 1])], 4),
            (vec![leaf(Rule::All, 0..3), Pool { answers: Some(1), ..pools(failover, &[0]) }], 3),
        ] {
            assert_eq!(Policy { pools: list.clone() }.variants(), want, "{list:?}");
        }
    }

    #[test]
    fn entries_are_counted_unfolded() {
        let mut list = vec![Pool::new(Rule::All, Members::Endpoints(0..1))];
        list.extend((0..4).map(|below| pools(Rule::Weighted, &[below; 10])));
        let policy = Policy { pools: list };
        assert_eq!((policy.variants(), policy.pick_entries()), (1, 21_110));
    }

    #[test]
    fn names_around_an_endpoint() {
        let named = |name: &str, pool: Pool| Pool { name: Some(name.into()), ..pool };
        let policy = Policy {
            pools: vec![
                named("fra", Pool::new(Rule::All, Members::Endpoints(0..2))),
                named("ams", Pool::new(Rule::All, Members::Endpoints(2..3))),
                named("eu", pools(Rule::Weighted, &[0, 1])),
                pools(Rule::Failover { failback: true }, &[2]),
            ],
        };
        assert_eq!(policy.names_around(1), ["fra", "eu"]);
        assert_eq!(policy.names_around(2), ["ams", "eu"]);
        assert_eq!(policy.names_around(3), Vec::<&str>::new());
    }
}
