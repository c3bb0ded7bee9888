//! Overrides as the keeper applies them: each zone remembers by which it was selected, so that a change selects again only the owners it
//! is about, a reload that began before a change catches up, and a transaction that failed is tried again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tracing::info;

use super::channel::OverriddenEndpoint;
use super::crew::Crew;
use super::reselect::Work;
use super::zone_state::{CheckedOwner, Circumstances, TransactionError, ZoneState};
use super::{Entry, Keeper, serving};
use crate::model::board::VerdictBoard;
use crate::model::event::{EventKind, News};
use crate::model::name::Name;
use crate::model::overrides::{Override, Overrides, Word};
use crate::model::target::{EndpointData, TargetId};

impl Keeper {
    /// Takes other overrides into service. Returns how many owner names they are about that the ones before were not, or the other way round.
    pub(super) fn set_overrides(&mut self, overrides: Arc<Overrides>) -> usize {
        self.tools.workshop.overrides = overrides;
        self.apply_overrides()
    }

    /// Lets go of overrides whose time is over.
    pub(super) fn expire_overrides(&mut self) {
        let now_s = (self.tools.now_s)();
        if self.tools.workshop.overrides.next_expiry_s().is_none_or(|expiry_s| now_s < expiry_s) {
            return;
        }
        let (left, gone) = self.tools.workshop.overrides.expire(now_s);
        for Override { id, said, .. } in &gone {
            info!(id, subject = %said.subject, word = %said.word, owner = said.owner, "override expired");
            let text = format!("override {id} is over: {} {}", said.subject, said.word);
            let mut news = News::new(EventKind::OverrideExpired, text);
            news.zones.extend(said.zone.as_ref().map(Name::to_string));
            (news.override_id, news.owner) = (Some(*id), Some(said.owner.clone()));
            self.tools.workshop.events.publish(news);
        }
        self.set_overrides(Arc::new(left));
    }

    /// Brings every zone in line with the overrides there are, all in one swap.
    pub(super) fn apply_overrides(&mut self) -> usize {
        let overrides = Arc::clone(&self.tools.workshop.overrides);
        let board = Arc::clone(&self.tools.workshop.board);
        let mut before: HashMap<Name, Arc<Overrides>> = HashMap::new();
        let mut concerned = 0;
        let crew = Crew { threads: self.tools.workshop.threads };
        let failed = self.transact(
            |zone, now_s| {
                if Arc::ptr_eq(&zone.overrides, &overrides) {
                    return Ok(Work::default());
                }
                before.insert(zone.apex().clone(), Arc::clone(&zone.overrides));
                let (work, owners) = zone.override_with(&overrides, &[], &board, now_s, crew)?;
                concerned += owners;
                Ok(work)
            },
            |_, _| {},
            "override",
            crew,
        );
        self.follow_all();
        for apex in failed {
            if let (Some(Entry::Serving(zone)), Some(before)) =
                (self.zones.get_mut(&apex), before.remove(&apex))
            {
                zone.overrides = before;
            }
        }
        concerned
    }

    /// Every endpoint that an override decides about.
    pub(super) fn overridden(&self) -> Vec<OverriddenEndpoint> {
        let (board, now_s) = (&*self.tools.workshop.board, (self.tools.now_s)());
        let mut all = Vec::new();
        for zone in serving(&self.zones) {
            let by = Circumstances { board, overrides: &zone.overrides, zone: zone.apex(), now_s };
            for (name, owner) in zone.overridden.iter().filter_map(|name| zone.checked.get_key_value(name)) {
                let found = (0..owner.checked.endpoints.len())
                    .filter_map(|i| Some((i, owner.find_any_override(i, name, by)?)));
                all.extend(found.map(|(i, found)| OverriddenEndpoint {
                    zone: zone.apex().clone(),
                    owner: name.clone(),
                    data: owner.checked.endpoints[i].data.clone(),
                    targets: owner.targets_of(i),
                    id: found.id,
                    word: found.said.word,
                }));
            }
        }
        all
    }
}

impl ZoneState {
    /// Selects by other overrides the owners for which they differ from those before, and the owners of targets whose verdicts changed: the
    /// work that follows where their records differ from what is served. Returns how many owners the overrides differ for, too.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn override_with(
        &mut self,
        overrides: &Arc<Overrides>,
        targets: &[TargetId],
        board: &VerdictBoard,
        now_s: u32,
        crew: Crew,
    ) -> Result<(Work, usize), TransactionError> {
        let before = std::mem::replace(&mut self.overrides, Arc::clone(overrides));
        let differing = overrides.difference(&before);
        let zone = self.image.apex();
        let everything = overrides.list();
        let mut names = Vec::new();
        let all = Some(&self.checked).filter(|_| !differing.is_empty());
        for (name, owner) in all.into_iter().flatten() {
            if !owner.is_concerned(zone, name, &differing) {
                continue;
            }
            names.push(name);
            if owner.is_concerned(zone, name, &everything) {
                self.overridden.insert(name.clone());
            } else {
                self.overridden.remove(name);
            }
        }
        let concerned = names.len();
        let (work, kept) = self.select_again(self.concerned(targets, names), board, now_s, crew)?;
        self.remember_all(kept);
        Ok((work, concerned))
    }
}

impl CheckedOwner {
    /// The override that decides about the endpoint at an index.
    pub(super) fn find_override<'a>(
        &self,
        i: usize,
        name: &Name,
        by: Circumstances<'a>,
    ) -> Option<&'a Override> {
        // Most of the time there is none, and nothing to be found out for it.
        if by.overrides.is_empty() {
            return None;
        }
        let of_hosts: Vec<Option<&Override>> =
            self.said_of_hosts(i, by).into_iter().map(|(_, said)| said).collect();
        let data = &self.checked.endpoints[i].data;
        // An address is what is most specific.
        whole(&of_hosts).or_else(|| by.overrides.find(by.zone, name, &self.pools_around(i), data, by.now_s))
    }

    /// As [`CheckedOwner::find_override`], or else the override of one of several addresses that a record leads to.
    pub(super) fn find_any_override<'a>(
        &self,
        i: usize,
        name: &Name,
        by: Circumstances<'a>,
    ) -> Option<&'a Override> {
        let of_hosts = || self.said_of_hosts(i, by).into_iter().find_map(|(_, said)| said);
        self.find_override(i, name, by).or_else(of_hosts)
    }

    /// What people say of the addresses at which the record at an index is checked, by target; empty if nothing, and for an address, which
    /// counts by what it publishes.
    pub(super) fn said_of_hosts<'a>(
        &self,
        i: usize,
        by: Circumstances<'a>,
    ) -> Vec<(TargetId, Option<&'a Override>)> {
        let endpoint = &self.checked.endpoints[i];
        let (Some(condition), Some(numbered), EndpointData::Record { .. }, false) =
            (&endpoint.condition, &self.conditions[i], &endpoint.data, by.overrides.is_empty())
        else {
            return Vec::new();
        };
        let mut said = Vec::new();
        condition.for_each_target(&mut |target| {
            let address = target.checked_address();
            said.push(address.and_then(|a| by.overrides.find_address(by.zone, a, by.now_s)));
        });
        if said.iter().all(Option::is_none) {
            return Vec::new();
        }
        let (mut all, mut said) = (Vec::with_capacity(said.len()), said.into_iter());
        numbered.for_each_target(&mut |id| all.push((*id, said.next().flatten())));
        all
    }

    fn pools_around(&self, i: usize) -> Vec<&str> {
        self.checked.policy.as_ref().map(|policy| policy.names_around(i)).unwrap_or_default()
    }

    /// Whether one of these overrides is about one of its endpoints.
    pub(super) fn is_concerned(&self, zone: &Name, name: &Name, overrides: &[&Override]) -> bool {
        self.checked.endpoints.iter().enumerate().any(|(i, endpoint)| {
            let pools = self.pools_around(i);
            let mut hosts = Vec::new();
            if let (EndpointData::Record { .. }, Some(condition)) = (&endpoint.data, &endpoint.condition) {
                condition.for_each_target(&mut |target| hosts.extend(target.checked_address()));
            }
            overrides.iter().any(|one| {
                one.concerns(zone, name, &pools, &endpoint.data)
                    || hosts.iter().any(|address| one.concerns_address(zone, *address))
            })
        })
    }
}

/// What is said of a record by what is said of all addresses that it leads to. Where they differ, each counts in the record's check by
/// itself, and the record leaves the answer if all that are not down do.
fn whole<'a>(of_hosts: &[Option<&'a Override>]) -> Option<&'a Override> {
    let all: Vec<&Override> = of_hosts.iter().copied().collect::<Option<_>>()?;
    let is = |one: &Override, word: Word| one.said.word == word;
    for word in [Word::Up, Word::Down] {
        if all.iter().all(|one| is(one, word)) {
            return all.first().copied();
        }
    }
    let mut left = all.iter().filter(|one| !is(one, Word::Down));
    let first = left.next()?;
    (is(first, Word::Drain) && left.all(|one| is(one, Word::Drain))).then_some(first)
}

/// The owners that one of the overrides is about.
pub(super) fn overridden(
    checked: &HashMap<Name, CheckedOwner>,
    zone: &Name,
    overrides: &Overrides,
) -> BTreeSet<Name> {
    let everything = overrides.list();
    if everything.is_empty() {
        return BTreeSet::new();
    }
    let concerned = checked.iter().filter(|(name, owner)| owner.is_concerned(zone, name, &everything));
    concerned.map(|(name, _)| name.clone()).collect()
}
