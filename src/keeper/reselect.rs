//! Selecting owners again: each is decoded, selected, signed and encoded by one thread, and nothing is changed until all of it is
//! committed.

use std::collections::HashSet;

use super::assemble::Job;
use super::crew::Crew;
use super::jobs::changed_job;
use super::news::Turn;
use super::zone_state::{Circumstances, Kept, OwnerNote, TransactionError, ZoneState};
use crate::model::board::VerdictBoard;
use crate::model::name::Name;
use crate::model::target::TargetId;
use crate::snapshot::EncodedOwner;

/// So many owners are worth a second thread: one ECDSA signature is about as much as starting a thread, and an owner without any takes
/// some microseconds.
pub(super) const WORTH_THREADS_SIGNED: usize = 8;
const WORTH_THREADS_UNSIGNED: usize = 64;

/// An owner that was selected again.
#[derive(Debug)]
pub(super) enum Selected {
    /// Its records differ from what is served.
    Changed(Work),
    /// They do not, but there is something new to remember.
    AsServed(Name, Kept),
    /// They do, and a key did not sign, or they do not fit a message.
    Failed(TransactionError),
}

/// What a commit does to one owner.
#[derive(Debug)]
pub(super) enum Work {
    /// Still to be signed and encoded.
    Job(Box<Job>),
    /// Done by the thread that selected the owner: so each owner is decoded, selected, signed and encoded by one thread, and of a thousand
    /// that share an address what lies between is never there at once.
    Finished(Box<Finished>),
}

impl From<Job> for Work {
    fn from(job: Job) -> Self {
        Self::Job(Box::new(job))
    }
}

impl Work {
    /// The owner's name.
    pub(super) fn name(&self) -> &Name {
        match self {
            Self::Job(job) => &job.name,
            Self::Finished(finished) => &finished.note.name,
        }
    }

    /// Whether records or signatures of the owner change.
    pub(super) fn changes_data(&self) -> bool {
        match self {
            Self::Job(job) => job.changes_data,
            Self::Finished(finished) => finished.changes_data,
        }
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
    /// Selects the owners of these targets again; work for each whose records differ from what is served.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn reselect(
        &mut self,
        targets: &[TargetId],
        board: &VerdictBoard,
        now_s: u32,
        crew: Crew,
    ) -> Result<Vec<Work>, TransactionError> {
        let mut seen: HashSet<&Name> = HashSet::new();
        let concerned = targets.iter().filter_map(|id| self.dependents.get(id)).flatten();
        let names = concerned.filter(|name| seen.insert(name)).collect();
        let selected = self.select_again(names, board, now_s, crew);
        self.sort_out(selected)
    }

    /// Selects these owners again, signs and encodes those that change, and changes nothing yet.
    pub(super) fn select_again(
        &self,
        names: Vec<&Name>,
        board: &VerdictBoard,
        now_s: u32,
        crew: Crew,
    ) -> Vec<Selected> {
        let worth = if self.signer.is_some() { WORTH_THREADS_SIGNED } else { WORTH_THREADS_UNSIGNED };
        let by = Circumstances { board, overrides: &self.overrides, zone: self.image.apex(), now_s };
        let select = |name: &Name| {
            let owner = self.checked.get(name)?;
            let mut selection = owner.select(name, by);
            let memory = owner.would_remember(&mut selection);
            let before = self.image.owner(name)?;
            let turn = Turn::of(owner, &before, &selection);
            let Some(job) = changed_job(owner, selection, before, self.signer.as_deref(), &self.cache, now_s)
            else {
                return Some(Selected::AsServed(name.clone(), memory?));
            };
            let job = Job { memory, turn, ..job };
            // The apex waits for its SOA record.
            if job.name == *by.zone {
                return Some(Selected::Changed(job.into()));
            }
            Some(match self.finish(job, now_s) {
                Ok(finished) => Selected::Changed(Work::Finished(Box::new(finished))),
                Err(e) => Selected::Failed(e),
            })
        };
        crew.run(names, worth, select).into_iter().flatten().collect()
    }

    /// The work that follows from selections; of those without any it takes note at once.
    ///
    /// # Errors
    /// That of the first that failed.
    pub(super) fn sort_out(&mut self, selected: Vec<Selected>) -> Result<Vec<Work>, TransactionError> {
        let mut work = Vec::with_capacity(selected.len() + 1);
        for one in selected {
            match one {
                Selected::Changed(one) => work.push(one),
                Selected::AsServed(name, memory) => self.remember(&name, memory),
                Selected::Failed(e) => return Err(e),
            }
        }
        Ok(work)
    }
}
