//! Selecting owners again: each is decoded, selected, signed and encoded by one thread and put into a draft by the keeper's own, and
//! nothing is changed until all of it is committed.

use std::collections::HashSet;

use super::assemble::Job;
use super::crew::Crew;
use super::jobs::changed_job;
use super::news::Turn;
use super::zone_state::{Circumstances, Kept, OwnerNote, TransactionError, ZoneState};
use crate::model::board::VerdictBoard;
use crate::model::name::Name;
use crate::model::target::TargetId;
use crate::snapshot::{EncodedOwner, ZoneDraft};

/// So many owners are worth a second thread: one ECDSA signature is about as much as starting a thread, and an owner without any takes
/// some microseconds.
pub(super) const WORTH_THREADS_SIGNED: usize = 8;
const WORTH_THREADS_UNSIGNED: usize = 64;

/// An owner that was selected again.
#[derive(Debug)]
enum Selected {
    /// Its records differ from what is served, and are signed and encoded: so each owner is decoded, selected, signed and encoded by one
    /// thread, and of a thousand that share an address what lies between is never there at once.
    Finished(Finished),
    /// They differ, and wait for more: the apex for its SOA record.
    Job(Box<Job>),
    /// They do not, but there is something new to remember.
    AsServed(Name, Kept),
    /// They do, and a key did not sign, or they do not fit a message.
    Failed(TransactionError),
}

/// What a transaction does to one zone, as far as it is done before the commit.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Owners still to be signed and encoded.
    pub(super) jobs: Vec<Job>,
    /// The zone with the owners that are signed and encoded; `None` without any.
    pub(super) draft: Option<Box<ZoneDraft>>,
    /// What is to be noted of those.
    pub(super) notes: Vec<OwnerNote>,
    /// Whether records or signatures of any of those change.
    pub(super) changes_data: bool,
}

impl From<Vec<Job>> for Work {
    fn from(jobs: Vec<Job>) -> Self {
        Self { jobs, ..Self::default() }
    }
}

impl Work {
    /// Owners that it is about.
    pub(super) fn owners(&self) -> usize {
        self.jobs.len() + self.notes.len()
    }
}

/// One owner in the form in which it is put.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) owner: EncodedOwner,
    pub(super) changes_data: bool,
    /// What is to be noted.
    pub(super) note: OwnerNote,
}

impl ZoneState {
    /// Selects the owners of these targets again; the work that follows where their records differ from what is served.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn reselect(
        &mut self,
        targets: &[TargetId],
        board: &VerdictBoard,
        now_s: u32,
        crew: Crew,
    ) -> Result<Work, TransactionError> {
        let (work, kept) = self.select_again(self.concerned(targets, Vec::new()), board, now_s, crew)?;
        self.remember_all(kept);
        Ok(work)
    }

    /// The owners of these targets beside others, each once.
    pub(super) fn concerned<'z>(&'z self, targets: &[TargetId], mut others: Vec<&'z Name>) -> Vec<&'z Name> {
        let mut of_targets = targets.iter().filter_map(|id| self.dependents.get(id));
        match (targets.len(), others.is_empty()) {
            // Each stands once among those of a target.
            (1, true) => others.extend(of_targets.flatten()),
            _ => {
                let mut seen: HashSet<&Name> = others.iter().copied().collect();
                others.extend(of_targets.by_ref().flatten().filter(|name| seen.insert(name)));
            }
        }
        others
    }

    /// Selects these owners again, signs and encodes those that change, and changes nothing yet. Gives what others are to remember, too,
    /// which [`ZoneState::remember_all`] takes.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn select_again(
        &self,
        names: Vec<&Name>,
        board: &VerdictBoard,
        now_s: u32,
        crew: Crew,
    ) -> Result<(Work, Vec<(Name, Kept)>), TransactionError> {
        let worth = if self.signer.is_some() { WORTH_THREADS_SIGNED } else { WORTH_THREADS_UNSIGNED };
        let by = Circumstances { board, overrides: &self.overrides, zone: self.image.apex(), now_s };
        let (mut work, mut kept, mut failed) = (Work::default(), Vec::new(), None);
        work.notes.reserve(names.len());
        // This thread puts what is finished while the others still sign.
        crew.run_into(
            names,
            worth,
            |name| self.select_one(name, by),
            |_, batch| {
                for selected in batch.into_iter().flatten() {
                    match selected {
                        Selected::Finished(Finished { owner, changes_data, note }) => {
                            let draft =
                                work.draft.get_or_insert_with(|| ZoneDraft::from_image(&self.image).into());
                            draft.put_encoded(owner);
                            work.notes.push(note);
                            work.changes_data |= changes_data;
                        }
                        Selected::Job(job) => work.jobs.push(*job),
                        Selected::AsServed(name, memory) => kept.push((name, memory)),
                        Selected::Failed(e) => failed = Some(e),
                    }
                }
            },
        );
        match failed {
            Some(e) => Err(e),
            None => Ok((work, kept)),
        }
    }

    /// `None` if nothing comes of it.
    fn select_one(&self, name: &Name, by: Circumstances<'_>) -> Option<Selected> {
        let owner = self.checked.get(name)?;
        let mut selection = owner.select(name, by);
        let memory = owner.would_remember(&mut selection);
        let before = self.image.owner(name)?;
        let turn = Turn::of(owner, Some(&before), &selection);
        let signer = self.signer.as_deref();
        let Some(job) = changed_job(owner, selection, before, signer, &self.cache, by.now_s) else {
            return Some(Selected::AsServed(name.clone(), memory?));
        };
        let job = Job { memory, turn, ..job };
        if job.name == *by.zone {
            return Some(Selected::Job(job.into()));
        }
        Some(match self.finish(job, by.now_s) {
            Ok(finished) => Selected::Finished(finished),
            Err(e) => Selected::Failed(e),
        })
    }

    /// Takes note of what is to be remembered of owners that change nothing else.
    pub(super) fn remember_all(&mut self, kept: Vec<(Name, Kept)>) {
        for (name, memory) in kept {
            self.remember(&name, memory);
        }
    }
}
