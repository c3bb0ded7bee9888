//! How each pool of a policy stands, from its endpoints up to the root.

use super::State;
use crate::model::policy::{Member, Members, Policy, Pool, Rule};

/// What an endpoint counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It is up.
    Live,
    /// It is up, and leaves the answer as long as anything else is there.
    Drained,
    /// It is down, or not known.
    Down,
}

/// How fit a pool is to be chosen, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Enough of it is up.
    Healthy,
    /// Some of it is up: fewer than `min_healthy`, or a smaller share than `up_threshold`.
    Weak,
    /// What is up of it is drained.
    Drained,
    /// Nothing of it is up.
    Down,
}

/// A pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStanding {
    /// How fit it is.
    pub standing: Standing,
    /// Members that are up: endpoints, or pools that are at least weak.
    pub up: usize,
    /// Members in all.
    pub of: usize,
    /// Whether it serves all of its endpoints, since too small a share of them is up.
    pub serves_all: bool,
    /// The largest share of a member that is up, in percent: that of the pool within its own.
    pub share: u8,
}

/// A policy with the standing of each of its pools.
pub(super) struct Judged<'a> {
    pub(super) policy: &'a Policy,
    pub(super) lives: Vec<Life>,
    pub(super) states: &'a [State],
    pub(super) pools: Vec<PoolStanding>,
}

impl<'a> Judged<'a> {
    pub(super) fn new(policy: &'a Policy, lives: Vec<Life>, states: &'a [State]) -> Self {
        let mut judged = Self { policy, lives, states, pools: Vec::with_capacity(policy.pools.len()) };
        // Members stand in front of their pools.
        for pool in &policy.pools {
            let standing = judged.judge(pool);
            judged.pools.push(standing);
        }
        judged
    }

    fn judge(&self, pool: &Pool) -> PoolStanding {
        let (members, share): (Vec<Standing>, u8) = match &pool.members {
            Members::Endpoints(range) => {
                let range = range.start as usize..range.end as usize;
                let standing = |i: usize| match self.lives[i] {
                    Life::Live => Standing::Healthy,
                    Life::Drained => Standing::Drained,
                    Life::Down => Standing::Down,
                };
                let live = range.clone().filter(|&i| self.lives[i] == Life::Live);
                let share = live.map(|i| self.states[i].share).max();
                (range.map(standing).collect(), share.unwrap_or(0))
            }
            Members::Pools(members) => {
                let of = |m: &Member| self.pools[m.pool as usize];
                let live = members.iter().map(of).filter(|p| p.standing <= Standing::Weak);
                (members.iter().map(|m| of(m).standing).collect(), live.map(|p| p.share).max().unwrap_or(0))
            }
        };
        let count = |worst: Standing| members.iter().filter(|s| **s <= worst).count();
        // A drained member is not unhealthy: it counts towards what the pool needs, and not towards what it has to offer.
        let (up, offered, of) = (count(Standing::Drained), count(Standing::Weak), members.len());
        let is_leaf = matches!(pool.members, Members::Endpoints(_));
        let healthy = if is_leaf { up } else { count(Standing::Healthy) };
        let is_thin = up > 0 && up * 100 < usize::from(pool.up_threshold) * of;
        let standing = match (up, offered) {
            (0, _) => Standing::Down,
            (_, 0) => Standing::Drained,
            _ if is_thin || healthy < usize::from(pool.min_healthy) => Standing::Weak,
            _ => Standing::Healthy,
        };
        // Where one endpoint is answered, all of them are no help.
        let serves_all = is_thin && is_leaf && !matches!(pool.rule, Rule::Failover { .. });
        PoolStanding { standing, up, of, serves_all, share }
    }
}
