//! Single owners of a served zone added, changed and removed: the zone's part of an amendment, and of a host that was resolved anew.
//!
//! What is signed and copied is what the change touches: the owners themselves, their predecessors in the NSEC chain, and the SOA record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::assemble::Job;
use super::build::{Workshop, release};
use super::chain::relinked;
use super::crew::Crew;
use super::fold::{FoldedOwner, fold_owner};
use super::jobs::{Before, desired_job, is_served, signed_place, unchanged_job};
use super::reload::lock;
use super::reselect::Work;
use super::zone_state::{CheckedOwner, Circumstances, OwnerNote, ZoneState};
use super::zoning::Resolved;
use crate::config::Order;
use crate::model::discovered::{DiscoveredName, Refusal, RefusedFor, RefusedPart};
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::target::TargetId;
use crate::snapshot::image::OwnerRecords;
use crate::snapshot::lookup::{Found, KeyedName};
use crate::zone::desired::{DesiredOwner, Place};

/// Owners and what is discovered for them from now on.
pub(super) type Wanted = Vec<(Name, Option<Arc<DiscoveredName>>)>;

/// What an amendment works with.
#[derive(Clone, Copy)]
pub(super) struct Amending<'a> {
    pub(super) workshop: &'a Workshop,
    pub(super) now_s: u32,
    pub(super) crew: Crew,
}

/// What an amendment did to a zone.
#[derive(Debug, Default)]
#[must_use = "what it noted is to be given back once it is served, and targets are to be released"]
pub(super) struct Amended {
    /// Whether there is another image.
    pub(super) is_committed: bool,
    /// Owners whose records changed.
    pub(super) owners: usize,
    /// How long it took to sign and encode them.
    pub(super) signing: Duration,
    /// How long it took to make the new image.
    pub(super) compiling: Duration,
    /// For [`ZoneState::note`].
    pub(super) notes: Vec<OwnerNote>,
    /// What could not be committed.
    pub(super) failed: Vec<Refusal>,
    /// Whether targets were taken or given up.
    pub(super) changes_targets: bool,
    /// Whether hosts are to be resolved that were not, or the other way round.
    pub(super) changes_hosts: bool,
    /// Targets that are no longer needed, each as often as it was held.
    pub(super) released: Vec<TargetId>,
}

/// One owner's change.
struct Plan {
    name: Name,
    /// What is kept of it; `None` once nothing is discovered for it.
    folded: Option<FoldedOwner>,
    /// Its endpoints, if health decides about any. Holds their targets.
    checked: Option<CheckedOwner>,
    /// What it should serve, if that differs from what it does.
    job: Option<Job>,
    /// Whether it has records now, and whether it will.
    stood: bool,
    stands: bool,
}

impl ZoneState {
    /// Brings owners in line with what is discovered for them. The caller publishes the image, and then has [`ZoneState::note`] take note
    /// and the targets released. What fails is refused by itself, and leaves its owner as it was.
    pub(super) fn amend(&mut self, wanted: Wanted, by: Amending<'_>) -> Amended {
        let mut done = Amended::default();
        self.amend_into(wanted, by, &mut done);
        done
    }

    fn amend_into(&mut self, mut wanted: Wanted, by: Amending<'_>, done: &mut Amended) {
        let mut plans: Vec<Plan> =
            wanted.iter().filter_map(|(name, wanted)| self.plan(name, wanted.as_ref(), by)).collect();
        let (jobs, removed) = self.work_of(&mut plans);
        if !jobs.is_empty() || !removed.is_empty() {
            match self.commit_and_remove(Work::from(jobs), &removed, by.now_s, by.crew) {
                Ok(committed) => {
                    done.is_committed = true;
                    done.owners += committed.owners;
                    done.signing += committed.signing;
                    done.compiling += committed.compiling;
                    done.notes.extend(committed.notes);
                }
                Err(e) => {
                    for plan in plans {
                        release(by.workshop, plan.checked.iter().flat_map(CheckedOwner::targets).collect());
                    }
                    // What was folded keeps the bounds, so this is for what nobody thought of: half of it at a time, down to the one.
                    if wanted.len() > 1 {
                        let rest = wanted.split_off(wanted.len() / 2);
                        self.amend_into(wanted, by, done);
                        self.amend_into(rest, by, done);
                    } else if let Some((name, _)) = wanted.pop() {
                        let why = RefusedFor::Invalid(e.to_string().into());
                        done.failed.push(Refusal { name, what: RefusedPart::Name, why });
                    }
                    return;
                }
            }
        }
        for plan in plans {
            self.settle(plan, done);
        }
    }

    /// What is to be done about one owner; `None` if nothing.
    fn plan(&self, name: &Name, wanted: Option<&Arc<DiscoveredName>>, by: Amending<'_>) -> Option<Plan> {
        let kept = self.folded.get(name);
        let known = |kept: &FoldedOwner| match &kept.alias {
            Some((host, found)) => by.workshop.resolved.get(host) == found.as_ref(),
            None => true,
        };
        if kept.and_then(|kept| kept.wanted.as_ref()) == wanted && kept.is_none_or(known) {
            return None;
        }
        let before = self.image.owner(name);
        let workshop = by.workshop;
        let (owner, folded) = self.folded_with(name, wanted, before.as_ref(), &workshop.resolved);
        let circumstances = Circumstances {
            board: &workshop.board,
            overrides: &self.overrides,
            zone: self.image.apex(),
            now_s: by.now_s,
        };
        let (mut checked, mut job) = (None, None);
        let stands = owner.is_some();
        if let Some(mut owner) = owner {
            checked = owner
                .checked
                .take()
                .map(|checked| CheckedOwner::hold(checked, owner.place, &mut lock(&workshop.registry)));
            let mut wants = desired_job(
                name.clone(),
                owner,
                checked.as_mut(),
                Before::of_owner(before.as_ref(), self.checked.get(name)),
                circumstances,
                &workshop.choices,
            );
            wants.rrsets.extend(
                before.iter().flat_map(|b| &b.rrsets).filter(|r| self.is_made(name, r.rrset.rtype)).cloned(),
            );
            wants.may_flap = checked.is_some();
            if !before.as_ref().is_some_and(|before| is_served(&mut wants, before)) {
                wants.reusable = before.iter().flat_map(OwnerRecords::all_rrsets).cloned().collect();
                job = Some(wants);
            }
        }
        Some(Plan { name: name.clone(), folded, checked, job, stood: before.is_some(), stands })
    }

    /// An owner as it should be with what was discovered for it, and what is kept of that.
    fn folded_with(
        &self,
        name: &Name,
        wanted: Option<&Arc<DiscoveredName>>,
        before: Option<&OwnerRecords>,
        resolved: &Resolved,
    ) -> (Option<DesiredOwner>, Option<FoldedOwner>) {
        let declared = match self.folded.get(name) {
            Some(kept) => kept.declared.as_deref().cloned(),
            None => before.map(|before| self.declared(before)),
        };
        let site = self.ground.site(name, self.image.apex(), self.is_covered(name, before));
        fold_owner(declared, wanted, site, resolved)
    }

    /// Whether Hale makes the records of this type itself at the owner.
    fn is_made(&self, name: &Name, rtype: RrType) -> bool {
        let of_keys = matches!(rtype, RrType::DNSKEY | RrType::CDS | RrType::CDNSKEY);
        name == self.image.apex() && (rtype == RrType::SOA || (of_keys && self.signer.is_some()))
    }

    /// What the zone's file declares for an owner that nothing is discovered for.
    fn declared(&self, before: &OwnerRecords) -> DesiredOwner {
        let checked = self.checked.get(&before.name);
        let is_declared = |rtype: RrType| {
            rtype != RrType::NSEC
                && !checked.is_some_and(|owner| owner.checked.decides(rtype))
                && !self.is_made(&before.name, rtype)
        };
        let declared = || before.rrsets.iter().filter(|r| is_declared(r.rrset.rtype));
        let is_address = |rtype: RrType| matches!(rtype, RrType::A | RrType::AAAA);
        let is_fixed = declared().any(|r| is_address(r.rrset.rtype) && !r.rotate);
        DesiredOwner {
            place: if before.name == *self.image.apex() { Place::Apex } else { Place::Authoritative },
            rrsets: declared().map(|r| r.rrset.clone()).collect(),
            checked: checked.map(|owner| owner.checked.clone()),
            order: if is_fixed { Order::Fixed } else { Order::Rotate },
            // An owner with one is kept apart.
            alias: None,
        }
    }

    /// Whether a name lies at or below a zone cut or a DNAME. What is discovered makes neither.
    fn is_covered(&self, name: &Name, before: Option<&OwnerRecords>) -> bool {
        let mut keyed = KeyedName::default();
        keyed.set(self.image.key(), name);
        match self.image.lookup(&keyed) {
            Found::BelowCut { .. } | Found::BelowDname { .. } => true,
            Found::Exact(_) => before.is_some_and(|before| {
                let covers =
                    |rtype| rtype == RrType::DNAME || (rtype == RrType::NS && name != self.image.apex());
                before.rrsets.iter().any(|r| covers(r.rrset.rtype))
            }),
            Found::Wildcard { .. } | Found::Missing { .. } => false,
        }
    }

    /// The jobs of plans, with those of their neighbours in the NSEC chain, and the owners to take out.
    fn work_of(&self, plans: &mut [Plan]) -> (Vec<Job>, Vec<Name>) {
        let removed: Vec<Name> =
            plans.iter().filter(|p| p.stood && !p.stands).map(|p| p.name.clone()).collect();
        let added = plans.iter().filter(|p| !p.stood && p.stands).map(|p| p.name.clone());
        let mut jobs: Vec<Job> = Vec::with_capacity(plans.len() + removed.len() + 1);
        if self.signer.is_none() {
            jobs.extend(plans.iter_mut().filter_map(|plan| plan.job.take()));
            return (jobs, removed);
        }
        let (mut added, mut gone) = (added.collect::<Vec<_>>(), removed.clone());
        added.sort_unstable();
        gone.sort_unstable();
        let links = relinked(
            &added,
            &gone,
            |name| self.image.denial_previous(name),
            |name| self.image.denial_next(name),
        );
        let mut links: HashMap<Name, Name> = links.into_iter().collect();
        // As in a zone that is built (RFC 9077).
        let ttl = self.soa.minimum.min(self.soa.ttl);
        for mut job in plans.iter_mut().filter_map(|plan| plan.job.take()) {
            let next = links.remove(&job.name).or_else(|| self.image.denial_next(&job.name));
            job.denial = next.map(|next| (next, ttl));
            jobs.push(job);
        }
        for (name, next) in links {
            let Some(before) = self.image.owner(&name) else { continue };
            let place = signed_place(&before, self.image.apex());
            let mut job = unchanged_job(before, place);
            job.rrsets.retain(|r| r.rrset.rtype != RrType::NSEC);
            job.denial = Some((next, ttl));
            jobs.push(job);
        }
        (jobs, removed)
    }

    /// Takes note of a plan that is committed.
    fn settle(&mut self, plan: Plan, done: &mut Amended) {
        let Plan { name, folded, checked, stands, .. } = plan;
        if !stands {
            self.schedule.remove(self.image.hash_of(&name));
        }
        let host = |folded: Option<&FoldedOwner>| {
            folded.and_then(|f| f.alias.as_ref()).map(|(host, _)| host.clone())
        };
        done.changes_hosts |= host(folded.as_ref()) != host(self.folded.get(&name));
        match folded {
            Some(folded) => self.folded.insert(name.clone(), folded),
            None => self.folded.remove(&name),
        };
        let is_overridden = {
            let everything = self.overrides.list();
            let apex = self.image.apex();
            !everything.is_empty()
                && checked.as_ref().is_some_and(|c| c.is_concerned(apex, &name, &everything))
        };
        if is_overridden {
            self.overridden.insert(name.clone());
        } else {
            self.overridden.remove(&name);
        }
        let targets = checked.as_ref().map(CheckedOwner::targets).unwrap_or_default();
        let old = match checked {
            Some(checked) => self.checked.insert(name.clone(), checked),
            None => self.checked.remove(&name),
        };
        let gone = old.as_ref().map(CheckedOwner::targets).unwrap_or_default();
        done.changes_targets |= targets != gone;
        self.depend(&name, &gone, &targets);
        done.released.extend(gone);
    }

    /// Notes by which targets an owner stands, in place of others.
    fn depend(&mut self, name: &Name, gone: &[TargetId], targets: &[TargetId]) {
        for id in gone.iter().filter(|id| !targets.contains(id)) {
            let Some(names) = self.dependents.get_mut(id) else { continue };
            names.retain(|other| other != name);
            if names.is_empty() {
                self.dependents.remove(id);
            }
        }
        for id in targets.iter().filter(|id| !gone.contains(id)) {
            let names = self.dependents.entry(*id).or_default();
            if names.last() != Some(name) {
                names.push(name.clone());
            }
        }
    }

    /// What would come of `wanted` for an owner: whether its records would come, change or go, and the refusals.
    pub(super) fn would_amend(
        &self,
        name: &Name,
        wanted: Option<&Arc<DiscoveredName>>,
        resolved: &Resolved,
    ) -> WouldBe {
        let before = self.image.owner(name);
        let kept = self.folded.get(name);
        let (now, _) =
            self.folded_with(name, kept.and_then(|kept| kept.wanted.as_ref()), before.as_ref(), resolved);
        let (then, folded) = self.folded_with(name, wanted, before.as_ref(), resolved);
        WouldBe { now, then, refusals: folded.map(|folded| folded.refusals).unwrap_or_default() }
    }

    /// The wildcard that answers for a name which does not exist.
    pub(super) fn wildcard_over(&self, name: &Name) -> Option<Name> {
        let mut keyed = KeyedName::default();
        keyed.set(self.image.key(), name);
        match self.image.lookup(&keyed) {
            Found::Wildcard { encloser, .. } => {
                Name::from_wire(keyed.suffix(encloser)).ok()?.prepend(b"*").ok()
            }
            _ => None,
        }
    }
}

/// An owner now, and as it would be.
pub(super) struct WouldBe {
    pub(super) now: Option<DesiredOwner>,
    pub(super) then: Option<DesiredOwner>,
    pub(super) refusals: Vec<(RefusedPart, RefusedFor)>,
}
