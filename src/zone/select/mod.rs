//! Which of a name's endpoints are answered, given what health says of them. Pure: equal inputs give equal plans.
//!
//! First each pool of the owner's policy gets its standing (standing.rs), then every answer that the policy can give by that is
//! made, with the rule that picks one for a query (variants.rs). What is signed and compiled are thus the answers of the present
//! verdicts alone; a change of a weight changes the rule and no record.

mod standing;
#[cfg(test)]
mod tests;
mod trace;
mod variants;

use std::borrow::Cow;
use std::ops::Range;

pub use standing::{PoolStanding, Standing};
pub use trace::{EndpointTrace, PoolTrace, Trace};

use super::desired::Checked;
use crate::config::{Startup, WhenAllDown};
use crate::model::board::FULL_SHARE;
use crate::model::overrides::Word;
use crate::model::pick::Pick;
use crate::model::policy::Policy;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::target::{Endpoint, EndpointData, Group, Verdict};
use standing::{Judged, Life};
use variants::Maker;

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What its condition amounts to.
    pub verdict: Verdict,
    /// The percentage of its weight that it is answered with.
    pub share: u8,
    /// What a person says of it.
    pub word: Option<Word>,
}

impl From<Verdict> for State {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, share: FULL_SHARE, word: None }
    }
}

/// What was selected before, as far as it counts now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory<'a> {
    /// Of each group, what was up when any of it was up last.
    pub last_good: &'a [EndpointData],
    /// [`Selection::chosen`] of the last selection; empty for none.
    pub chosen: &'a [Option<u32>],
}

/// What selection says of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selection {
    /// The RRsets to serve, by type; a type without any endpoint to serve is absent. Where a type has several answers this is the
    /// **default variant**, which is what transfers and exports are given.
    pub rrsets: Vec<Rrset>,
    /// The types with several answers.
    pub choices: Vec<Choice>,
    /// Types whose first verdict is still awaited.
    pub pending: Vec<RrType>,
    /// Types of the owner that are served without records because every endpoint of them is down.
    pub withheld: Vec<RrType>,
    /// Why each group's answer is not the ordinary one, or that it is.
    pub reasons: Vec<(Group, Reason)>,
    /// What is to be remembered as [`Memory::last_good`].
    pub good: Vec<EndpointData>,
    /// For each pool that stays with its choice (`"failback": false`), the place of the member it uses.
    pub chosen: Vec<Option<u32>>,
}

impl Selection {
    /// Why the answer of a type is not the ordinary one.
    pub fn reason(&self, rtype: RrType) -> Reason {
        let group = Group::of(rtype);
        self.reasons.iter().find(|(of, _)| *of == group).map_or(Reason::Healthy, |(_, reason)| *reason)
    }
}

/// The answers of a type that has more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The default variant, which is the RRset of the same type among [`Selection::rrsets`], and then the others.
    pub sets: Vec<Rrset>,
    /// Which of them a query gets.
    pub pick: Pick,
}

/// Why a selection is not simply the endpoints that are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reason {
    /// At least one endpoint is up, or a verdict is awaited.
    #[default]
    Healthy,
    /// All are down: `when_all_down` is `all`, or `last-good` without history.
    ServingAll,
    /// All are down: what was served last.
    LastGood,
    /// All are down: the fallback.
    Fallback,
    /// All are down: nothing is served.
    Nothing,
}

/// Decides what `checked` serves. `state` gives what is known of the endpoint at an index.
///
/// A group is down as a whole: only when no endpoint of it is up does `when_all_down` act. A family that is down alone is
/// withheld (NODATA), so that clients use the other one. Before the first verdict a type is pending, unless an endpoint of it is
/// already known to be up.
pub fn select(checked: &Checked, memory: Memory<'_>, state: impl Fn(usize) -> State) -> Selection {
    Situation::of(checked, memory, state).selection()
}

/// As [`select`], with all that led to it.
pub fn explain(checked: &Checked, memory: Memory<'_>, state: impl Fn(usize) -> State) -> (Selection, Trace) {
    let situation = Situation::of(checked, memory, state);
    let selection = situation.selection();
    let trace = trace::trace(&situation, &selection);
    (selection, trace)
}

/// An owner at one moment.
struct Situation<'a> {
    checked: &'a Checked,
    memory: Memory<'a>,
    /// What is known of each endpoint.
    states: Vec<State>,
    /// What each endpoint counts as.
    verdicts: Vec<Verdict>,
}

impl<'a> Situation<'a> {
    fn of(checked: &'a Checked, memory: Memory<'a>, state: impl Fn(usize) -> State) -> Self {
        let unknown_is_up = checked.startup == Startup::Optimistic;
        let known = |(i, endpoint): (usize, &Endpoint)| match &endpoint.condition {
            None => State { verdict: Verdict::Up, ..state(i) },
            Some(_) => state(i),
        };
        let states: Vec<State> = checked.endpoints.iter().enumerate().map(known).collect();
        let verdict = |(state, endpoint): (&State, &Endpoint)| match (state.word, state.verdict) {
            (Some(Word::Up), _) => Verdict::Up,
            (Some(Word::Down), _) => Verdict::Down,
            (_, Verdict::Unknown) if unknown_is_up || endpoint.is_patient() => Verdict::Up,
            (_, verdict) => verdict,
        };
        let verdicts = states.iter().zip(&checked.endpoints).map(verdict).collect();
        Self { checked, memory, states, verdicts }
    }

    fn selection(&self) -> Selection {
        // Where no pool says otherwise, what they stay with is what it was.
        let mut selection = Selection { chosen: self.memory.chosen.to_vec(), ..Selection::default() };
        for group in self.groups() {
            self.select_group(&group, &mut selection);
        }
        selection.rrsets.sort_by_key(|set| set.rtype);
        selection.choices.sort_by_key(|choice| choice.sets.first().map(|set| set.rtype));
        selection
    }

    fn groups(&self) -> impl Iterator<Item = Members<'a>> {
        let checked = self.checked;
        checked.groups().map(|(group, range)| {
            let policy = match checked.policy.as_deref().filter(|_| group.has_policy()) {
                Some(policy) => Cow::Borrowed(policy),
                None => Cow::Owned(Policy::all_of(range.clone())),
            };
            Members { group, endpoints: &checked.endpoints[range.clone()], range, policy }
        })
    }

    fn select_group(&self, group: &Members<'_>, out: &mut Selection) {
        let verdicts = &self.verdicts[group.range.clone()];
        let last_good = || self.memory.last_good.iter().filter(|data| data.group() == group.group);
        if verdicts.contains(&Verdict::Up) {
            return self.healthy(group, out);
        }
        out.good.extend(last_good().cloned());
        if verdicts.contains(&Verdict::Unknown) {
            out.pending.extend(group.types());
            return;
        }
        let has_history = last_good().next().is_some();
        let reason = match self.checked.when_all_down {
            WhenAllDown::LastGood if has_history => {
                let was_up = self.checked.endpoints.iter().map(|e| self.memory.last_good.contains(&e.data));
                self.run(group, &was_up.collect::<Vec<_>>(), Reason::LastGood, out)
            }
            WhenAllDown::All | WhenAllDown::LastGood => {
                self.run(group, &vec![true; self.checked.endpoints.len()], Reason::ServingAll, out)
            }
            WhenAllDown::Fallback => self.fallback(group, out),
            WhenAllDown::None => {
                out.withheld.extend(group.types());
                Reason::Nothing
            }
        };
        out.reasons.push((group.group, reason));
    }

    /// At least one endpoint of the group is up.
    fn healthy(&self, group: &Members<'_>, out: &mut Selection) {
        let up = self.up();
        let before = out.withheld.len();
        let reason = self.run(group, &up, Reason::Healthy, out);
        let awaited = |t: &RrType| {
            let mut endpoints = group.endpoints.iter().zip(&self.verdicts[group.range.clone()]);
            endpoints.any(|(e, v)| e.data.rtype() == *t && *v == Verdict::Unknown)
        };
        let absent = out.withheld.split_off(before);
        let (pending, withheld): (Vec<_>, Vec<_>) = absent.into_iter().partition(awaited);
        out.pending.extend(pending);
        out.withheld.extend(withheld);
        let good = group.range.clone().filter(|&i| up[i]).map(|i| self.checked.endpoints[i].data.clone());
        out.good.extend(good);
        out.reasons.push((group.group, reason));
    }

    /// Whether each endpoint is up.
    fn up(&self) -> Vec<bool> {
        self.verdicts.iter().map(|verdict| *verdict == Verdict::Up).collect()
    }

    /// The group's policy over the endpoints that count as up.
    fn run(&self, group: &Members<'_>, up: &[bool], reason: Reason, out: &mut Selection) -> Reason {
        let judged = self.judge(&group.policy, up);
        let mut maker = Maker::new(self.checked, &judged, self.memory.chosen);
        for rtype in group.types() {
            let Some((sets, pick)) = maker.make(rtype) else {
                out.withheld.push(rtype);
                continue;
            };
            out.rrsets.extend(sets.first().cloned());
            if sets.len() > 1 {
                out.choices.push(Choice { sets, pick });
            }
        }
        // What a pool would choose were all of them up is nothing to stay with.
        if reason == Reason::Healthy && group.group.has_policy() {
            out.chosen = maker.chosen();
        }
        reason
    }

    fn judge<'p>(&'p self, policy: &'p Policy, up: &[bool]) -> Judged<'p> {
        let life = |(up, state): (&bool, &State)| match (up, state.word) {
            (false, _) => Life::Down,
            (true, Some(Word::Drain)) => Life::Drained,
            (true, _) => Life::Live,
        };
        Judged::new(policy, up.iter().zip(&self.states).map(life).collect(), &self.states)
    }

    fn fallback(&self, group: &Members<'_>, out: &mut Selection) -> Reason {
        for &rtype in group.group.types() {
            let of_type = self.checked.fallback.iter().filter(|data| data.rtype() == rtype);
            let rdata = RdataSet::new(of_type.map(EndpointData::rdata));
            if !rdata.is_empty() {
                out.rrsets.push(Rrset { rtype, ttl: self.checked.ttl(rtype), rdata });
            } else if group.types().any(|t| t == rtype) {
                out.withheld.push(rtype);
            }
        }
        Reason::Fallback
    }
}

/// A group of an owner's endpoints, with what decides about them.
struct Members<'a> {
    group: Group,
    endpoints: &'a [Endpoint],
    range: Range<usize>,
    policy: Cow<'a, Policy>,
}

impl Members<'_> {
    /// The types of its endpoints.
    fn types(&self) -> impl Iterator<Item = RrType> {
        self.group
            .types()
            .iter()
            .copied()
            .filter(|rtype| self.endpoints.iter().any(|e| e.data.rtype() == *rtype))
    }
}
