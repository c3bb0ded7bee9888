//! One pass over all owners of a zone that is compiled: threads take runs of owners, in canonical order, and select, sign, compare
//! and encode each owner of a run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::assemble::{Due, Job, assemble, nsec_over, plain, soa_rrset};
use super::build::{Layout, Workshop};
use super::comparison::Comparison;
use super::compile::Earlier;
use super::jobs::{Before, desired_job};
use super::zone_state::{CheckedOwner, Circumstances, TransactionError};
use crate::dnssec::schedule::OwnerHash;
use crate::model::breather::Breather;
use crate::model::name::Name;
use crate::model::serial::Serial;
use crate::snapshot::ZonePortion;
use crate::snapshot::image::{OwnerRecords, ServedRrset};
use crate::zone::desired::{DesiredOwner, Place};
use crate::zone::owners::{Owners, Placed};

/// Owners of a run at most: few enough that threads end at about the same time.
const MOST_IN_RUN: usize = 4096;
/// Owners of an unsigned zone below which a second thread costs more than it saves.
const WORTH_THREADS_UNSIGNED: usize = 10_000;
/// The same of a signed one: a signature costs about as much as starting a thread.
const WORTH_THREADS_SIGNED: usize = 8;

/// What all threads know.
pub(super) struct Pass<'l, 'e> {
    pub(super) layout: &'l Layout,
    pub(super) workshop: &'l Workshop,
    pub(super) earlier: &'e Earlier<'e>,
    /// The serial to compile with.
    pub(super) serial: Serial,
    pub(super) now_s: u32,
    /// Whether signatures of the earlier image may be used again.
    pub(super) can_reuse: bool,
}

/// What a thread has done.
pub(super) struct Done<'a> {
    pub(super) portion: ZonePortion,
    pub(super) comparison: Comparison<'a>,
    /// When the signatures of owners are due.
    pub(super) due: Vec<(OwnerHash, Due)>,
    /// The apex, if it was in this thread's runs.
    pub(super) apex: Option<OwnerRecords>,
    /// Names that have nothing left that is up, or have something again.
    pub(super) turned: Vec<Name>,
}

/// Neighbouring owners.
struct Run {
    number: usize,
    /// The last owner of the run before.
    before: Option<Name>,
    owners: Vec<Placed>,
    /// The first owner behind the run that is in the NSEC chain; none behind the last one.
    after: Option<Name>,
}

/// Owners that no thread has taken yet.
struct Queue {
    rest: std::vec::IntoIter<Placed>,
    number: usize,
    size: usize,
    last: Option<Name>,
}

impl Queue {
    fn next(&mut self) -> Option<Run> {
        let owners: Vec<Placed> = self.rest.by_ref().take(self.size).collect();
        let before = self.last.replace(owners.last()?.name.clone());
        self.number += 1;
        let after = first_in_chain(self.rest.as_slice()).cloned();
        Some(Run { number: self.number, before, owners, after })
    }
}

/// The NSEC chain holds all owners that are authoritative or a cut (RFC 4035 §2.3).
fn first_in_chain(owners: &[Placed]) -> Option<&Name> {
    owners.iter().find(|placed| placed.owner.place != Place::Occluded).map(|placed| &placed.name)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'e> Pass<'_, 'e> {
    /// Goes over all owners; `checked` are those of them that health decides about, and remembers what is selected. Gives what each
    /// thread has done.
    ///
    /// # Errors
    /// The first that a thread met: signing failed, or records do not fit a message.
    pub(super) fn run(
        &self,
        owners: Owners,
        checked: &mut HashMap<Name, CheckedOwner>,
    ) -> Result<Vec<Done<'e>>, TransactionError> {
        let threads = self.threads(owners.len());
        let queue = Mutex::new(Queue {
            size: owners.len().div_ceil(4 * threads).clamp(1, MOST_IN_RUN),
            rest: owners.into_iter(),
            number: 0,
            last: None,
        });
        // An owner that is being selected is out of the map, so that the lock is held no longer than a look-up takes.
        let has_checked = !checked.is_empty();
        let unchecked = Mutex::new(std::mem::take(checked));
        let selected: Mutex<HashMap<Name, CheckedOwner>> = Mutex::default();
        let take = |name: &Name| if has_checked { lock(&unchecked).remove(name) } else { None };
        let put = |name: &Name, owner: CheckedOwner| {
            lock(&selected).insert(name.clone(), owner);
        };
        let work = || self.work(&queue, &take, &put);
        let done: Vec<Result<Done<'e>, TransactionError>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mine = work();
            // A panic is a bug; it goes on where it would have gone without threads.
            let joined =
                others.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            std::iter::once(mine).chain(joined).collect()
        });
        *checked = selected.into_inner().unwrap_or_else(PoisonError::into_inner);
        checked.extend(unchecked.into_inner().unwrap_or_else(PoisonError::into_inner));
        done.into_iter().collect()
    }

    /// How many threads are worth their start.
    pub(super) fn threads(&self, owners: usize) -> usize {
        let worth = if self.layout.signer.is_some() { WORTH_THREADS_SIGNED } else { WORTH_THREADS_UNSIGNED };
        if owners < worth { 1 } else { self.workshop.threads.max(1) }
    }

    fn work(
        &self,
        queue: &Mutex<Queue>,
        take: &dyn Fn(&Name) -> Option<CheckedOwner>,
        put: &dyn Fn(&Name, CheckedOwner),
    ) -> Result<Done<'e>, TransactionError> {
        let apex = &self.layout.desired.apex;
        let mut done = Done {
            portion: ZonePortion::new(apex.clone(), self.workshop.hash_key),
            comparison: Comparison::new(self.earlier),
            due: Vec::new(),
            apex: None,
            turned: Vec::new(),
        };
        let mut breather = Breather::new();
        loop {
            let Some(run) = lock(queue).next() else { return Ok(done) };
            done.portion.start_run(run.number, run.before.as_ref());
            let mut owners = run.owners.into_iter();
            while let Some(Placed { name, owner, .. }) = owners.next() {
                breather.breathe();
                let next =
                    || first_in_chain(owners.as_slice()).or(run.after.as_ref()).unwrap_or(apex).clone();
                let denial = self.nsec_ttl(&owner).map(|ttl| (next(), ttl));
                let mut checked = take(&name);
                let job = self.job(name, owner, checked.as_mut(), denial);
                if let Some(checked) = checked {
                    put(&job.name, checked);
                }
                if let Err(e) = self.finish(job, &mut done) {
                    // Nothing will come of the zone: the other threads need not go on.
                    lock(queue).rest = Vec::new().into_iter();
                    return Err(e);
                }
            }
        }
    }

    /// TTL of the owner's NSEC record (RFC 9077), if it has one.
    fn nsec_ttl(&self, owner: &DesiredOwner) -> Option<u32> {
        let soa = &self.layout.desired.soa;
        (self.layout.signer.is_some() && owner.place != Place::Occluded).then(|| soa.minimum.min(soa.ttl))
    }

    fn finish(&self, job: Job, done: &mut Done<'_>) -> Result<(), TransactionError> {
        let is_apex = job.place == Place::Apex;
        done.turned.extend(job.turn.map(|_| job.name.clone()));
        let one = assemble(job, self.layout.signer.as_deref(), self.now_s)?;
        done.comparison.add(&one.records);
        done.portion.put(&one.records)?;
        if is_apex {
            done.apex = Some(one.records.clone());
        }
        done.due.extend(one.due.map(|due| (self.workshop.hash_key.name(&one.records.name), due)));
        Ok(())
    }

    /// What an owner should serve, and what of it is signed already.
    fn job(
        &self,
        name: Name,
        owner: DesiredOwner,
        checked: Option<&mut CheckedOwner>,
        denial: Option<(Name, u32)>,
    ) -> Job {
        let Self { layout, workshop, earlier, .. } = self;
        let mut made = Vec::new();
        if owner.place == Place::Apex {
            made.push(plain(soa_rrset(&layout.desired.soa, self.serial)));
            if let Some(signer) = &layout.signer {
                let (keys, ttl) = (signer.keys(), layout.default_ttl);
                made.extend([keys.dnskey(ttl), keys.cds(ttl), keys.cdnskey(ttl)].map(plain));
            }
        }
        let needs_before = layout.signer.is_some() || checked.is_some();
        let (before, good) = match earlier {
            Earlier::Image { image, remembered } if needs_before => {
                (image.owner(&name), remembered.get(&name).map(Vec::as_slice))
            }
            _ => (None, None),
        };
        let (board, overrides) = (&*workshop.board, &*workshop.overrides);
        let by = Circumstances { board, overrides, zone: &layout.desired.apex, now_s: self.now_s };
        let mut job =
            desired_job(name, owner, checked, Before::of(before.as_ref(), good), by, &workshop.choices);
        job.rrsets.extend(made);
        job.denial = denial;
        job.reusable = match before {
            Some(before) if self.can_reuse => before.all_rrsets().cloned().collect(),
            Some(_) => Vec::new(),
            None => self.saved(&job),
        };
        job
    }

    /// The job's RRsets of which an earlier run has left signatures.
    fn saved(&self, job: &Job) -> Vec<ServedRrset> {
        let (Earlier::Saved { signatures, .. }, Some(signer)) = (self.earlier, &self.layout.signer) else {
            return Vec::new();
        };
        let nsec =
            job.denial.iter().map(|(next, ttl)| plain(nsec_over(next, &job.rrsets, &job.pending, *ttl)));
        let candidates = job.all_rrsets().cloned().chain(nsec);
        let recalled = candidates.filter_map(|r| {
            let digest = signer.digest(&job.name, &r.rrset);
            Some(ServedRrset { signatures: signatures.get(&digest)?, ..r })
        });
        recalled.collect()
    }
}
