//! The jobs of a commit: what an owner should serve from now on, and what of it is signed already.

use super::assemble::{Job, nsec_over, plain};
use super::news::Turn;
use super::zone_state::{CheckedOwner, Circumstances};
use crate::config::Order;
use crate::dnssec::cache::SignatureCache;
use crate::dnssec::denial;
use crate::dnssec::sign::Signer;
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::target::{Endpoint, EndpointData};
use crate::snapshot::image::{Choice, OwnerRecords, ServedRrset};
use crate::state::choices::Choices;
use crate::zone::desired::{DesiredOwner, Place};
use crate::zone::select::Selection;

/// A job that keeps an owner's records; with a signer, signatures that are due are renewed.
pub(super) fn unchanged_job(before: OwnerRecords, place: Place) -> Job {
    let reusable = before.all_rrsets().cloned().collect();
    let OwnerRecords { name, rrsets, choices, pending, withheld } = before;
    Job {
        name,
        place,
        reusable,
        rrsets,
        choices,
        pending,
        withheld,
        denial: None,
        changes_data: true,
        may_flap: false,
        memory: None,
        turn: None,
    }
}

/// What an owner serves while a new version of it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    /// Its records.
    pub(super) records: &'a OwnerRecords,
    /// What it remembers as good; unless it is known, it is taken from the records.
    pub(super) good: Option<&'a [EndpointData]>,
    /// What it consists of, where that is known: an endpoint that it lacks is new.
    pub(super) endpoints: Option<&'a [Endpoint]>,
}

impl<'a> Before<'a> {
    /// `None` for an owner that is not served.
    pub(super) fn of(records: Option<&'a OwnerRecords>, good: Option<&'a [EndpointData]>) -> Option<Self> {
        Some(Self { records: records?, good, endpoints: None })
    }

    /// As [`Before::of`], with all that is known of an owner that health decides about.
    pub(super) fn of_owner(
        records: Option<&'a OwnerRecords>,
        owner: Option<&'a CheckedOwner>,
    ) -> Option<Self> {
        Some(Self {
            records: records?,
            good: owner.map(|owner| &*owner.last_good),
            endpoints: owner.map(|owner| &*owner.checked.endpoints),
        })
    }
}

/// A job that has an owner serve what it should by the present verdicts; `before` is what it serves now. Nothing of it is signed. What its pools used
/// is taken from `memory`, and what they use now is noted there.
pub(super) fn desired_job(
    name: Name,
    owner: DesiredOwner,
    checked: Option<&mut CheckedOwner>,
    before: Option<Before<'_>>,
    by: Circumstances<'_>,
    memory: &Choices,
) -> Job {
    let unknown = owner.alias.map(|alias| alias.pending).unwrap_or_default();
    let mut rrsets: Vec<ServedRrset> = owner.rrsets.into_iter().map(plain).collect();
    for served in rrsets.iter_mut().filter(|r| matches!(r.rrset.rtype, RrType::A | RrType::AAAA)) {
        served.rotate = owner.order == Order::Rotate;
    }
    let (mut choices, mut pending, mut withheld, mut turn) = (Vec::new(), Vec::new(), Vec::new(), None);
    if let Some(checked) = checked {
        if let Some(before) = before {
            checked.inherit(before, by.board);
        }
        checked.recall(memory, by.zone, &name);
        let mut selection = checked.select(&name, by);
        turn = Turn::of(checked, before.map(|before| before.records), &selection);
        if let Some(kept) = checked.would_remember(&mut selection) {
            checked.remember(kept, memory, by.zone, &name);
        }
        let (served, variants) = checked.served(&selection);
        rrsets.extend(served);
        choices = variants;
        pending = selection.pending;
        withheld = selection.withheld;
    }
    pending.extend(unknown);
    Job {
        name,
        place: owner.place,
        rrsets,
        choices,
        pending,
        withheld,
        denial: None,
        reusable: Vec::new(),
        changes_data: true,
        may_flap: false,
        memory: None,
        turn,
    }
}

/// Whether an owner serves already what a job would have it serve, its NSEC record not looked at.
pub(super) fn is_served(job: &mut Job, before: &OwnerRecords) -> bool {
    job.rrsets.sort_by_key(|r| r.rrset.rtype);
    let as_served = |r: &ServedRrset| (r.rrset.clone(), r.rotate, r.note);
    let now = before.rrsets.iter().filter(|r| r.rrset.rtype != RrType::NSEC);
    now.map(as_served).eq(job.rrsets.iter().map(as_served))
        && same_choices(&before.choices, &job.choices)
        && before.pending == job.pending
        && before.withheld == job.withheld
}

/// Where an owner that is served stands, as far as what is signed of it goes; only authoritative owners and cuts have signatures.
pub(super) fn signed_place(owner: &OwnerRecords, apex: &Name) -> Place {
    let is_cut = owner.name != *apex && owner.rrsets.iter().any(|r| r.rrset.rtype == RrType::NS);
    if is_cut { Place::Cut } else { Place::Authoritative }
}

/// A job for a checked owner if `selection` differs from what `before` serves.
pub(super) fn changed_job(
    owner: &CheckedOwner,
    mut selection: Selection,
    before: OwnerRecords,
    signer: Option<&Signer>,
    cache: &SignatureCache,
    now_s: u32,
) -> Option<Job> {
    // Of a host that is not resolved yet verdicts say nothing.
    let is_kept = |t: &&RrType| !selection.pending.contains(t) && !owner.decides(**t);
    let unresolved: Vec<RrType> = before.pending.iter().filter(is_kept).copied().collect();
    selection.pending.extend(unresolved);
    let is_decided = |r: &&ServedRrset| owner.checked.decides(r.rrset.rtype);
    let (served, choices) = owner.served(&selection);
    let same = same_choices(&before.choices, &choices)
        && before
            .rrsets
            .iter()
            .filter(is_decided)
            .map(|r| (&r.rrset, r.note))
            .eq(served.iter().map(|r| (&r.rrset, r.note)))
        && before.pending == selection.pending
        && before.withheld == selection.withheld;
    if same {
        return None;
    }
    let mut rrsets: Vec<ServedRrset> = before.rrsets.iter().filter(|r| !is_decided(r)).cloned().collect();
    rrsets.extend(served);
    if signer.is_some() && types(&before.rrsets, &before.pending) != types(&rrsets, &selection.pending) {
        renew_nsec(&mut rrsets, &selection.pending);
    }
    // The default variants are what a transfer is given: which of the RRsets they are is data, how one is picked is not.
    let changes_data = !same_data(&before.rrsets.iter(), &rrsets.iter())
        || !same_data(&before.all_rrsets(), &rrsets.iter().chain(others(&choices)));
    let OwnerRecords { name, rrsets: reusable, choices: earlier, .. } = before;
    let mut reusable: Vec<ServedRrset> =
        reusable.into_iter().chain(earlier.into_iter().flat_map(|choice| choice.others)).collect();
    if let Some(signer) = signer.filter(|_| !cache.is_empty()) {
        for served in rrsets.iter().chain(others(&choices)) {
            if !reusable.iter().any(|r| r.rrset == served.rrset) {
                let cached = cache.peek(&signer.digest(&name, &served.rrset), now_s);
                reusable
                    .extend(cached.map(|c| ServedRrset { signatures: c.rrsigs.clone(), ..served.clone() }));
            }
        }
    }
    Some(Job {
        name,
        place: owner.place,
        rrsets,
        choices,
        pending: selection.pending,
        withheld: selection.withheld,
        denial: None,
        reusable,
        changes_data,
        may_flap: true,
        memory: None,
        turn: None,
    })
}

/// The RRsets beside the default variants.
fn others(choices: &[Choice]) -> impl Iterator<Item = &ServedRrset> + Clone {
    choices.iter().flat_map(|choice| &choice.others)
}

/// Whether two lists hold the same RRsets. They are short: a set would take longer to make.
fn same_data<'a>(
    a: &(impl Iterator<Item = &'a ServedRrset> + Clone),
    b: &(impl Iterator<Item = &'a ServedRrset> + Clone),
) -> bool {
    a.clone().all(|x| b.clone().any(|y| x.rrset == y.rrset))
        && b.clone().all(|y| a.clone().any(|x| x.rrset == y.rrset))
}

/// The types of an NSEC record beside these, without those that it always has.
fn types(rrsets: &[ServedRrset], pending: &[RrType]) -> Vec<RrType> {
    let held = rrsets.iter().map(|r| r.rrset.rtype).filter(|t| *t != RrType::NSEC);
    let mut types: Vec<RrType> = held.chain(pending.iter().copied()).collect();
    types.sort_unstable();
    types
}

fn same_choices(before: &[Choice], now: &[Choice]) -> bool {
    let same = |(a, b): (&Choice, &Choice)| {
        a.rtype == b.rtype
            && a.pick == b.pick
            && a.others.iter().map(|r| &r.rrset).eq(b.others.iter().map(|r| &r.rrset))
    };
    before.len() == now.len() && before.iter().zip(now).all(same)
}

/// Rewrites the type bitmap of the owner's NSEC record, if it has one, by the types beside it. The chain stays as it is.
fn renew_nsec(rrsets: &mut [ServedRrset], pending: &[RrType]) {
    let Some(i) = rrsets.iter().position(|r| r.rrset.rtype == RrType::NSEC) else { return };
    let next = rrsets[i].rrset.rdata.iter().next().and_then(denial::parse_nsec).map(|(next, _)| next);
    if let Some(next) = next {
        rrsets[i] = plain(nsec_over(&next, rrsets, pending, rrsets[i].rrset.ttl));
    }
}
