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

use std::net::IpAddr;

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
use crate::model::target::{Endpoint, Verdict};
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
    /// The addresses that were up when one of them was up last.
    pub last_good: Option<&'a [IpAddr]>,
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
    /// Why this is not the ordinary answer.
    pub reason: Reason,
    /// The addresses that are up, to be remembered as the last good ones; `None` unless one is.
    pub good: Option<Vec<IpAddr>>,
    /// For each pool that stays with its choice (`"failback": false`), the place of the member it uses.
    pub chosen: Vec<Option<u32>>,
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
    /// All are down: the fallback addresses.
    Fallback,
    /// All are down: nothing is served.
    Nothing,
}

/// The type of the record that holds an address.
pub fn family(address: IpAddr) -> RrType {
    if address.is_ipv4() { RrType::A } else { RrType::AAAA }
}

/// Decides what `checked` serves. `state` gives what is known of the endpoint at an index.
///
/// An owner is down as a whole: only when no endpoint of any type is up does `when_all_down` act. A type that is down alone is
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
    policy: std::borrow::Cow<'a, Policy>,
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
        let verdict = |state: &State| match (state.word, state.verdict) {
            (Some(Word::Up), _) => Verdict::Up,
            (Some(Word::Down), _) => Verdict::Down,
            (_, Verdict::Unknown) if unknown_is_up => Verdict::Up,
            (_, verdict) => verdict,
        };
        let verdicts = states.iter().map(verdict).collect();
        let policy = match &checked.policy {
            Some(policy) => std::borrow::Cow::Borrowed(&**policy),
            None => std::borrow::Cow::Owned(Policy::all(checked.endpoints.len())),
        };
        Self { checked, memory, policy, states, verdicts }
    }

    fn selection(&self) -> Selection {
        let checked = self.checked;
        let addresses = || checked.endpoints.iter().map(|e| e.address);
        if self.verdicts.contains(&Verdict::Up) {
            return self.healthy();
        }
        if self.verdicts.contains(&Verdict::Unknown) {
            return Selection { pending: self.types(), ..Selection::default() };
        }
        match (checked.when_all_down, self.memory.last_good) {
            (WhenAllDown::LastGood, Some(last)) => {
                let was_up: Vec<bool> = addresses().map(|a| last.contains(&a)).collect();
                self.run(&was_up, Reason::LastGood)
            }
            (WhenAllDown::All | WhenAllDown::LastGood, _) => {
                self.run(&vec![true; checked.endpoints.len()], Reason::ServingAll)
            }
            (WhenAllDown::Fallback, _) => self.fallback(),
            (WhenAllDown::None, _) => {
                Selection { withheld: self.types(), reason: Reason::Nothing, ..Selection::default() }
            }
        }
    }

    /// At least one endpoint is up.
    fn healthy(&self) -> Selection {
        let up: Vec<bool> = self.verdicts.iter().map(|v| *v == Verdict::Up).collect();
        let mut selection = self.run(&up, Reason::Healthy);
        let awaited = |t: &RrType| {
            let endpoints = self.checked.endpoints.iter().zip(&self.verdicts);
            endpoints.into_iter().any(|(e, v)| family(e.address) == *t && *v == Verdict::Unknown)
        };
        let absent = std::mem::take(&mut selection.withheld);
        (selection.pending, selection.withheld) = absent.into_iter().partition(awaited);
        let good = self.checked.endpoints.iter().zip(&up).filter(|(_, up)| **up).map(|(e, _)| e.address);
        selection.good = Some(good.collect());
        selection
    }

    /// The policy over the endpoints that count as up.
    fn run(&self, up: &[bool], reason: Reason) -> Selection {
        let judged = self.judge(up);
        let mut maker = Maker::new(self.checked, &judged, self.memory.chosen);
        let mut selection = Selection { reason, ..Selection::default() };
        for rtype in self.types() {
            let Some((sets, pick)) = maker.make(rtype) else {
                selection.withheld.push(rtype);
                continue;
            };
            selection.rrsets.extend(sets.first().cloned());
            if sets.len() > 1 {
                selection.choices.push(Choice { sets, pick });
            }
        }
        // What a pool would choose were all of them up is nothing to stay with.
        selection.chosen =
            if reason == Reason::Healthy { maker.into_chosen() } else { self.memory.chosen.to_vec() };
        selection
    }

    fn judge(&self, up: &[bool]) -> Judged<'_> {
        let life = |(up, state): (&bool, &State)| match (up, state.word) {
            (false, _) => Life::Down,
            (true, Some(Word::Drain)) => Life::Drained,
            (true, _) => Life::Live,
        };
        Judged::new(&self.policy, up.iter().zip(&self.states).map(life).collect(), &self.states)
    }

    fn fallback(&self) -> Selection {
        let mut selection = Selection { reason: Reason::Fallback, ..Selection::default() };
        let fallback = &self.checked.fallback;
        for rtype in [RrType::A, RrType::AAAA] {
            let rdata = RdataSet::new(fallback.iter().filter(|a| family(**a) == rtype).map(|a| octets(*a)));
            if !rdata.is_empty() {
                selection.rrsets.push(Rrset { rtype, ttl: ttl_of(self.checked, rtype), rdata });
            } else if self.types().contains(&rtype) {
                selection.withheld.push(rtype);
            }
        }
        selection
    }

    /// The types of the owner's endpoints.
    fn types(&self) -> Vec<RrType> {
        let of = |rtype: &RrType| self.checked.endpoints.iter().any(|e| family(e.address) == *rtype);
        [RrType::A, RrType::AAAA].into_iter().filter(of).collect()
    }
}

/// TTL in seconds of the owner's RRset of a type.
fn ttl_of(checked: &Checked, rtype: RrType) -> u32 {
    if rtype == RrType::A { checked.a_ttl } else { checked.aaaa_ttl }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
