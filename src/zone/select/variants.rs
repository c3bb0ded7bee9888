//! The answers that a policy can give by the present standings, and the rule that picks one for a query.

use std::collections::HashMap;
use std::sync::Arc;

use super::standing::{Judged, Life, Standing};
use crate::model::pick::{Candidate, Pick, seed};
use crate::model::policy::{Geo, Member, Members, Pool, Rule};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::zone::desired::Checked;

/// Makes the answers of one owner, type by type.
pub(super) struct Maker<'a> {
    checked: &'a Checked,
    judged: &'a Judged<'a>,
    /// What pools with `"failback": false` have used so far.
    before: &'a [Option<u32>],
    rtype: RrType,
    sets: Vec<RdataSet>,
    places: HashMap<RdataSet, u16>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(checked: &'a Checked, judged: &'a Judged<'a>, before: &'a [Option<u32>]) -> Self {
        Self { checked, judged, before, rtype: RrType::A, sets: Vec::new(), places: HashMap::new() }
    }

    /// The answers of a type, the default variant first, and how one is picked; `None` if nothing of the type can be served.
    pub(super) fn make(&mut self, rtype: RrType) -> Option<(Vec<Rrset>, Pick)> {
        self.rtype = rtype;
        self.sets.clear();
        self.places.clear();
        let pick = self.pick(self.judged.policy.root(), None)?;
        let ttl = self.checked.ttl(rtype);
        let sets = std::mem::take(&mut self.sets);
        Some((sets.into_iter().map(|rdata| Rrset { rtype, ttl, rdata }).collect(), pick))
    }

    /// What the pools that stay with their choice use now, also those that no answer comes from at present: what a pool would use does
    /// not depend on what stands above it.
    pub(super) fn chosen(&self) -> Vec<Option<u32>> {
        let pools = &self.judged.policy.pools;
        let stays = |pool: &Pool| matches!(pool.rule, Rule::Failover { failback: false });
        if !pools.iter().any(stays) {
            return Vec::new();
        }
        let chosen = pools.iter().enumerate().map(|(at, pool)| match &pool.members {
            Members::Pools(members) if stays(pool) => {
                let first = self.failover_order(at, members, false).first().copied();
                first.filter(|&pool| self.judged.pools[pool as usize].standing < Standing::Down)
            }
            _ => None,
        });
        chosen.collect()
    }

    /// How an answer from a pool is picked, `above` being the limit of records that the pools above it set.
    fn pick(&mut self, at: usize, above: Option<u16>) -> Option<Pick> {
        let judged = self.judged;
        let pool = &judged.policy.pools[at];
        let members = match &pool.members {
            Members::Endpoints(_) => return self.pick_endpoints(at, above),
            Members::Pools(members) => members,
        };
        let answers = pool.answers.or(above);
        match &pool.rule {
            Rule::All => {
                let together = self.endpoints(at);
                self.pick_windows(pool, &together, answers)
            }
            Rule::Failover { failback } => {
                let order = self.failover_order(at, members, *failback);
                self.first(&order, answers)
            }
            Rule::Weighted => {
                let options = self.each(members, answers, |member, share, pick| {
                    (u32::from(member.weight) * u32::from(share.max(1)), pick)
                });
                collapse_weighted(options)
            }
            Rule::Hashed => {
                let pools = &judged.policy.pools;
                let options = self.each(members, answers, |member, share, pick| Candidate {
                    seed: identity(&pools[member.pool as usize], member.pool),
                    weight: u32::from(member.weight) * u32::from(share.max(1)),
                    pick,
                });
                collapse_hashed(options)
            }
            Rule::Geo(geo) => self.pick_by_place(geo, members, answers),
        }
    }

    /// A pick for each region. One whose pool is not healthy gives way to the default one, and then to the others as they are written.
    fn pick_by_place(&mut self, geo: &Geo, members: &[Member], answers: Option<u16>) -> Option<Pick> {
        let judged = self.judged;
        let standing = |place: usize| judged.pools[members[place].pool as usize].standing;
        let mut of = |place: usize| {
            let others = (0..members.len()).filter(|other| *other != place && *other != geo.default);
            let mut order: Vec<usize> = std::iter::once(place).chain([geo.default]).chain(others).collect();
            order.sort_by_key(|&place| standing(place));
            let order: Vec<u32> = order.into_iter().map(|place| members[place].pool).collect();
            self.first(&order, answers)
        };
        // The default one is made first: its answer is the default variant.
        let default = of(geo.default)?;
        let mut picks = Vec::with_capacity(members.len());
        for place in 0..members.len() {
            picks.push(if place == geo.default { default.clone() } else { of(place)? });
        }
        if picks.iter().all(|pick| *pick == default) {
            return Some(default);
        }
        Some(Pick::Geo(Arc::clone(&geo.table), picks))
    }

    /// Members of a failover pool in the order in which they are tried: by standing, then as written.
    fn failover_order(&self, at: usize, members: &[Member], failback: bool) -> Vec<u32> {
        let mut order: Vec<u32> = members.iter().map(|m| m.pool).collect();
        let standing = |pool: u32| self.judged.pools[pool as usize].standing;
        order.sort_by_key(|&pool| standing(pool));
        // The present one stays for as long as no other stands better. What it did not give before it has no say in: were it put in front
        // of those that stand as it does, the order behind a better one would depend on how often this was asked.
        let present = self.before.get(at).copied().flatten().filter(|_| !failback);
        let place = order.iter().position(|&pool| Some(pool) == present);
        if let Some(place) = place.filter(|&place| standing(order[place]) == standing(order[0])) {
            order[..=place].rotate_right(1);
        }
        order
    }

    /// What the first pool that has the type picks.
    fn first(&mut self, order: &[u32], answers: Option<u16>) -> Option<Pick> {
        order.iter().find_map(|&pool| self.pick(pool as usize, answers))
    }

    /// An option for each member of the best standing that there is. One that lacks the type gives what the next one has, so that the
    /// choice among pools is the same for each type.
    fn each<T>(
        &mut self,
        members: &[Member],
        answers: Option<u16>,
        make: impl Fn(&Member, u8, Pick) -> T,
    ) -> Vec<T> {
        let standing = |m: &Member| self.judged.pools[m.pool as usize].standing;
        let Some(best) = members.iter().map(standing).min().filter(|best| *best < Standing::Down) else {
            return Vec::new();
        };
        let eligible: Vec<usize> = (0..members.len()).filter(|&i| standing(&members[i]) == best).collect();
        let mut options = Vec::with_capacity(eligible.len());
        for &i in &eligible {
            let mut order: Vec<u32> = members[i..].iter().chain(&members[..i]).map(|m| m.pool).collect();
            order.sort_by_key(|&pool| self.judged.pools[pool as usize].standing);
            let share = self.judged.pools[members[i].pool as usize].share;
            if let Some(pick) = self.first(&order, answers) {
                options.push(make(&members[i], share, pick));
            }
        }
        options
    }

    /// How an answer from a pool of endpoints is picked.
    fn pick_endpoints(&mut self, at: usize, above: Option<u16>) -> Option<Pick> {
        let pool = &self.judged.policy.pools[at];
        let candidates = self.endpoints(at);
        self.pick_windows(pool, &candidates, pool.answer_limit(above))
    }

    /// How an answer of at most `limit` of these endpoints is picked by the rule of their pool; `None` if there is none.
    fn pick_windows(&mut self, pool: &Pool, candidates: &[usize], limit: Option<u16>) -> Option<Pick> {
        let limit = limit.map_or(usize::MAX, usize::from);
        if candidates.is_empty() {
            return None;
        }
        if matches!(pool.rule, Rule::Failover { .. }) || limit >= candidates.len() {
            return Some(Pick::Set(self.set(&candidates[..candidates.len().min(limit)])));
        }
        // A window of `limit` endpoints for each place it can start at, going round: as many answers as there are endpoints,
        // where all combinations would be too many to sign.
        let windows: Vec<Pick> = (0..candidates.len())
            .map(|start| {
                let window: Vec<usize> = candidates.iter().cycle().skip(start).take(limit).copied().collect();
                Pick::Set(self.set(&window))
            })
            .collect();
        let share = |i: usize| u32::from(self.judged.states[i].share.max(1));
        let weight = |i: usize| u32::from(self.checked.endpoints[i].weight) * share(i);
        let numbered = candidates.iter().copied().zip(windows);
        match pool.rule {
            Rule::Hashed => collapse_hashed(
                numbered
                    .map(|(i, pick)| {
                        let seed = seed(&self.checked.endpoints[i].data.rdata());
                        Candidate { seed, weight: weight(i), pick }
                    })
                    .collect(),
            ),
            Rule::Weighted => collapse_weighted(numbered.map(|(i, pick)| (weight(i), pick)).collect()),
            Rule::All | Rule::Failover { .. } | Rule::Geo(_) => {
                collapse_weighted(numbered.map(|(i, pick)| (share(i), pick)).collect())
            }
        }
    }

    /// The endpoints of the type that a pool serves at once, by their places.
    fn endpoints(&self, at: usize) -> Vec<usize> {
        let judged = self.judged;
        let pool = &judged.policy.pools[at];
        let range = match &pool.members {
            Members::Endpoints(range) => range.start as usize..range.end as usize,
            Members::Pools(members) => return self.endpoints_of_pools(at, members),
        };
        let all = range.filter(|&i| self.checked.endpoints[i].data.rtype() == self.rtype);
        if judged.pools[at].serves_all {
            return all.collect();
        }
        let with = |life: Life| all.clone().filter(|&i| judged.lives[i] == life).collect();
        let live: Vec<usize> = with(Life::Live);
        if live.is_empty() { with(Life::Drained) } else { live }
    }

    /// As [`Maker::endpoints`], where pools are answered together. The configuration admits only rules that choose for all clients alike.
    fn endpoints_of_pools(&self, at: usize, members: &[Member]) -> Vec<usize> {
        if let Rule::Failover { failback } = self.judged.policy.pools[at].rule {
            let order = self.failover_order(at, members, failback);
            let found = order.iter().map(|&pool| self.endpoints_together(pool));
            return found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
        }
        let standing = |m: &Member| self.judged.pools[m.pool as usize].standing;
        let mut ranked: Vec<&Member> = members.iter().collect();
        ranked.sort_by_key(|m| standing(m));
        let mut all = Vec::new();
        for group in ranked.chunk_by(|a, b| standing(a) == standing(b)) {
            for member in group {
                all.extend(self.endpoints_together(member.pool));
            }
            if !all.is_empty() {
                break;
            }
        }
        all
    }

    /// What a pool adds where pools are answered together: of a failover over addresses the first ones only.
    fn endpoints_together(&self, at: u32) -> Vec<usize> {
        let pool = &self.judged.policy.pools[at as usize];
        let mut endpoints = self.endpoints(at as usize);
        if let (Members::Endpoints(_), Rule::Failover { .. }) = (&pool.members, &pool.rule) {
            endpoints.truncate(pool.answer_limit(None).map_or(usize::MAX, usize::from));
        }
        endpoints
    }

    /// The place of the RRset of these endpoints.
    fn set(&mut self, endpoints: &[usize]) -> u16 {
        let rdata = RdataSet::new(endpoints.iter().map(|&i| self.checked.endpoints[i].data.octets()));
        match &self.sets[..] {
            // Nearly always there is one answer, for which nothing need be looked up.
            [] => {
                self.sets.push(rdata);
                return 0;
            }
            [first] if self.places.is_empty() => {
                self.places.insert(first.clone(), 0);
            }
            _ => {}
        }
        if let Some(&place) = self.places.get(&rdata) {
            return place;
        }
        // The configuration's limit of variants keeps this far below what fits.
        let place = u16::try_from(self.sets.len()).unwrap_or(u16::MAX);
        self.places.insert(rdata.clone(), place);
        self.sets.push(rdata);
        place
    }
}

/// Tells a pool from the others by its name, so that what `hashed` gives a client does not depend on the order of the list.
fn identity(pool: &Pool, at: u32) -> u64 {
    pool.name.as_ref().map_or_else(|| seed(&at.to_be_bytes()), |name| seed(name.as_bytes()))
}

/// What needs no drawing is not drawn for.
fn collapse_weighted(mut options: Vec<(u32, Pick)>) -> Option<Pick> {
    let (_, first) = options.first()?;
    if options.iter().all(|(_, pick)| pick == first) {
        return Some(options.swap_remove(0).1);
    }
    Some(Pick::Weighted(options))
}

fn collapse_hashed(mut options: Vec<Candidate>) -> Option<Pick> {
    let first = &options.first()?.pick;
    if options.iter().all(|option| option.pick == *first) {
        return Some(options.swap_remove(0).pick);
    }
    Some(Pick::Hashed(options))
}
