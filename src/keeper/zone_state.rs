//! One served zone as the keeper holds it: its current image, the owners that health decides about, keys and schedule.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assemble::{Assembled, Due, Job, assemble, plain, soa_rrset};
use super::changes::RecordChanges;
use super::channel::OwnerCounts;
use super::crew::Crew;
use super::fold::{FoldedOwner, Ground};
use super::jobs::{Before, unchanged_job};
use super::news::{Turn, is_all_down, turned};
use super::reselect::{Finished, WORTH_THREADS_SIGNED, Work};
use super::targets::TargetRegistry;
use crate::config::{Order, Startup, WhenAllDown};
use crate::dnssec::cache::SignatureCache;
use crate::dnssec::schedule::Schedule;
use crate::dnssec::sign::{SignError, Signer};
use crate::model::board::{FULL_SHARE, VerdictBoard};
use crate::model::condition::{Condition, Resolved};
use crate::model::name::Name;
use crate::model::overrides::{Overrides, Word};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::{EndpointData, Group, TargetId, Verdict};
use crate::snapshot::ZoneImage;
use crate::snapshot::image::{Choice, Note, ServedRrset};
use crate::snapshot::{EncodedOwner, ImageError, ZoneDraft};
use crate::state::choices::Choices;
use crate::zone::desired::{Checked, Place, Soa};
use crate::zone::select::{self, Memory, Reason, Selection, State, Trace, select};
use crate::zone::serial;

/// What decides about an owner's records besides its configuration.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// What probes say.
    pub(super) board: &'a VerdictBoard,
    /// What people say.
    pub(super) overrides: &'a Overrides,
    /// The apex of the owner's zone.
    pub(super) zone: &'a Name,
    /// Unix seconds.
    pub(super) now_s: u32,
}

/// An owner with records that health decides about.
#[derive(Debug)]
pub(super) struct CheckedOwner {
    /// What was configured.
    pub(super) checked: Box<Checked>,
    /// Each endpoint's condition over the board numbers of its targets.
    pub(super) conditions: Box<[Option<Resolved>]>,
    /// Below a cut: served as glue, never signed.
    pub(super) place: Place,
    /// See [`Memory::last_good`].
    pub(super) last_good: Vec<EndpointData>,
    /// What pools with `"failback": false` use.
    pub(super) chosen: Vec<Option<u32>>,
    /// What each endpoint counts as before its target's first verdict; see [`CheckedOwner::inherit`].
    pub(super) inherited: Option<Box<[Verdict]>>,
}

impl CheckedOwner {
    /// Whether any of its endpoints is of this very type.
    pub(super) fn decides(&self, rtype: RrType) -> bool {
        self.checked.endpoints.iter().any(|endpoint| endpoint.data.rtype() == rtype)
    }

    /// What the present verdicts make of the condition of the endpoint at an index.
    fn verdict(&self, i: usize, board: &VerdictBoard) -> Verdict {
        let of_target = |id: &TargetId| board.get(*id);
        self.conditions[i].as_ref().map_or(Verdict::Up, |condition| condition.evaluate(&of_target))
    }

    /// As [`CheckedOwner::verdict`], with what people say of addresses that a record leads to.
    fn verdict_by(&self, i: usize, by: Circumstances<'_>) -> Verdict {
        let of_hosts = self.said_of_hosts(i, by);
        let (Some(condition), false) = (&self.conditions[i], of_hosts.is_empty()) else {
            return self.verdict(i, by.board);
        };
        condition.evaluate(&|id| {
            let said = of_hosts.iter().find(|(of, _)| of == id).and_then(|(_, said)| *said);
            match said.map(|said| said.said.word) {
                Some(Word::Up) => Verdict::Up,
                Some(Word::Down) => Verdict::Down,
                Some(Word::Drain) | None => by.board.get(*id),
            }
        })
    }

    /// The percentage of its weight that the endpoint at an index is answered with: as much as the slowest of its targets.
    fn share(&self, i: usize, board: &VerdictBoard) -> u8 {
        let mut share = FULL_SHARE;
        if let Some(condition) = &self.conditions[i] {
            condition.for_each_target(&mut |id| share = share.min(board.share(*id)));
        }
        share
    }

    /// The targets that its endpoints rest on, each as often as it is held.
    pub(super) fn targets(&self) -> Vec<TargetId> {
        let mut targets = Vec::with_capacity(self.conditions.len());
        for condition in self.conditions.iter().flatten() {
            condition.for_each_target(&mut |id| targets.push(*id));
        }
        targets
    }

    /// The targets that the endpoint at an index rests on.
    pub(super) fn targets_of(&self, i: usize) -> Vec<TargetId> {
        let mut targets = Vec::new();
        if let Some(condition) = &self.conditions[i] {
            condition.for_each_target(&mut |id| targets.push(*id));
        }
        targets
    }

    /// What is served under the present circumstances by the owner of this name.
    pub(super) fn select(&self, name: &Name, by: Circumstances<'_>) -> Selection {
        select(&self.checked, self.memory(), |i| self.state(i, name, by))
    }

    /// As [`CheckedOwner::select`], with all that led to it.
    pub(super) fn explain(&self, name: &Name, by: Circumstances<'_>) -> (Selection, Trace) {
        select::explain(&self.checked, self.memory(), |i| self.state(i, name, by))
    }

    fn memory(&self) -> Memory<'_> {
        Memory { last_good: &self.last_good, chosen: &self.chosen }
    }

    /// Everything that is said of the endpoint at an index.
    pub(super) fn state(&self, i: usize, name: &Name, by: Circumstances<'_>) -> State {
        let verdict = match self.verdict_by(i, by) {
            Verdict::Unknown => self.inherited.as_ref().map_or(Verdict::Unknown, |all| all[i]),
            known => known,
        };
        let word = self.find_override(i, name, by).map(|found| found.said.word);
        State { verdict, share: self.share(i, by.board), word }
    }

    /// Takes out of a selection what is to be remembered of it; `None` if that is what is remembered already.
    pub(super) fn would_remember(&self, selection: &mut Selection) -> Option<Kept> {
        let (good, chosen) = (std::mem::take(&mut selection.good), std::mem::take(&mut selection.chosen));
        (good != self.last_good || chosen != self.chosen).then_some(Kept { good, chosen })
    }

    /// Takes up what its pools used before the zone was read again, or the server restarted.
    pub(super) fn recall(&mut self, choices: &Choices, zone: &Name, name: &Name) {
        if let Some(policy) = &self.checked.policy {
            self.chosen = choices.of(zone, name, policy);
        }
    }

    /// Remembers what is kept of a selection.
    pub(super) fn remember(&mut self, kept: Kept, choices: &Choices, zone: &Name, name: &Name) {
        self.last_good = kept.good;
        if let (Some(policy), false) = (&self.checked.policy, kept.chosen == self.chosen) {
            choices.note(zone, name, policy, &kept.chosen);
        }
        self.chosen = kept.chosen;
    }

    /// Takes over what `before`, the owner as it is served, says of the records that are still configured. Who edits a check
    /// must not make its names wait for verdicts: an endpoint counts as it did until the new check has something to say.
    pub(super) fn inherit(
        &mut self,
        Before { records: before, good, endpoints }: Before<'_>,
        board: &VerdictBoard,
    ) {
        let is_served = |data: &EndpointData, notes: &[Note]| {
            let (rtype, rdata) = (data.rtype(), data.rdata());
            let of_type = before.all_rrsets().filter(|r| r.rrset.rtype == rtype && notes.contains(&r.note));
            of_type.flat_map(|r| r.rrset.rdata.iter()).any(|served| served == rdata)
        };
        let mut inherited = Vec::with_capacity(self.conditions.len());
        for (group, range) in self.checked.groups() {
            let all_down = is_all_down(before, group);
            // What an optimistic owner gets anew counts as up, also beside what is down.
            let is_new = |data: &EndpointData| {
                self.checked.startup == Startup::Optimistic
                    && endpoints.is_some_and(|before| before.iter().all(|known| known.data != *data))
            };
            inherited.extend(self.checked.endpoints[range].iter().map(|endpoint| match all_down {
                true if is_new(&endpoint.data) => Verdict::Unknown,
                true => Verdict::Down,
                false if is_served(&endpoint.data, &[Note::None]) => Verdict::Up,
                // NODATA as before, and not a wait; beside a record that is served it makes no difference.
                false if before.withheld.contains(&endpoint.data.rtype()) => Verdict::Down,
                false => Verdict::Unknown,
            }));
        }
        // Records that are no longer configured are not served again.
        let configured = self.checked.endpoints.iter().map(|endpoint| &endpoint.data);
        let is_good = |data: &&EndpointData| match good {
            Some(good) => good.contains(data),
            None => is_served(data, &[Note::None, Note::Stale]),
        };
        self.last_good = configured.filter(is_good).cloned().collect();
        let is_awaited = (0..self.conditions.len()).any(|i| self.verdict(i, board) == Verdict::Unknown);
        self.inherited = is_awaited.then_some(inherited.into_boxed_slice());
    }

    /// Whether what it answers comes from what it remembers as good, now that a group of its endpoints is down.
    fn answers_from_memory(&self, name: &Name, by: Circumstances<'_>) -> bool {
        let is_up = |i: usize| {
            let State { verdict, word, .. } = self.state(i, name, by);
            word == Some(Word::Up) || (verdict == Verdict::Up && word != Some(Word::Down))
        };
        self.checked.when_all_down == WhenAllDown::LastGood
            && self.checked.groups().any(|(_, mut range)| !range.any(is_up))
    }

    /// A selection in the form that is compiled.
    pub(super) fn served(&self, selection: &Selection) -> (Vec<ServedRrset>, Vec<Choice>) {
        let note = |rtype: RrType| match selection.reason(rtype) {
            Reason::Healthy | Reason::Nothing => Note::None,
            Reason::ServingAll => Note::AllDownServingAll,
            Reason::LastGood => Note::Stale,
            Reason::Fallback => Note::Fallback,
        };
        let served = |rrset: &Rrset| ServedRrset {
            rrset: rrset.clone(),
            signatures: RdataSet::default(),
            // Records of other types say themselves which comes first.
            rotate: self.checked.order == Order::Rotate && Group::of(rrset.rtype) == Group::Addresses,
            note: note(rrset.rtype),
        };
        let choice = |choice: &select::Choice| {
            let (default, others) = choice.sets.split_first()?;
            let others = others.iter().map(served).collect();
            Some(Choice { rtype: default.rtype, others, pick: choice.pick.clone() })
        };
        let choices = selection.choices.iter().filter_map(choice).collect();
        (selection.rrsets.iter().map(served).collect(), choices)
    }
}

impl CheckedOwner {
    /// Holds the targets of an owner that health decides about.
    pub(super) fn hold(checked: Box<Checked>, place: Place, registry: &mut TargetRegistry) -> Self {
        let mut resolved = |c: &Condition| c.map(&mut |target| registry.hold(target));
        let conditions = checked.endpoints.iter().map(|e| e.condition.as_ref().map(&mut resolved)).collect();
        Self { checked, conditions, place, last_good: Vec::new(), chosen: Vec::new(), inherited: None }
    }
}

/// By owner, what it remembers as good.
pub(super) type Remembered = HashMap<Name, Vec<EndpointData>>;

/// What an owner keeps of a selection for the next one.
#[derive(Debug)]
pub(super) struct Kept {
    good: Vec<EndpointData>,
    chosen: Vec<Option<u32>>,
}

/// Why a transaction did not commit. The zone serves what it served before.
#[derive(Debug)]
pub(super) enum TransactionError {
    /// A key did not sign.
    Sign(SignError),
    /// What would be served does not fit a message.
    Image(ImageError),
}

impl std::fmt::Display for TransactionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sign(e) => e.fmt(f),
            Self::Image(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for TransactionError {}

impl From<SignError> for TransactionError {
    fn from(e: SignError) -> Self {
        Self::Sign(e)
    }
}

impl From<ImageError> for TransactionError {
    fn from(e: ImageError) -> Self {
        Self::Image(e)
    }
}

/// What is noted of an owner once it is served.
#[derive(Debug)]
pub(super) struct OwnerNote {
    pub(super) name: Name,
    /// When its signatures are due; `None` without signatures.
    due: Option<Due>,
    /// Signatures that it may come back to.
    replaced: Vec<ServedRrset>,
    memory: Option<Kept>,
    /// Whether it is a turn for the whole name.
    pub(super) turn: Option<Turn>,
}

/// What a transaction did.
#[derive(Debug, Default)]
#[must_use = "what it noted is to be given back once it is served"]
pub(super) struct Committed {
    /// Owners whose records changed, the apex for its SOA not counted.
    pub(super) owners: usize,
    /// How long it took to sign and encode them.
    pub(super) signing: Duration,
    /// How long it took to make the new image.
    pub(super) compiling: Duration,
    /// For [`ZoneState::note`].
    pub(super) notes: Vec<OwnerNote>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ZoneState {
    /// The zone file, or the label of what stands in its place.
    pub(super) file: PathBuf,
    /// The zone that this one is an alias of.
    pub(super) alias_of: Option<Name>,
    /// The SOA record but for its serial.
    pub(super) soa: Soa,
    /// Keys and validity; `None` in an unsigned zone.
    pub(super) signer: Option<Arc<Signer>>,
    /// Owners that health decides about.
    pub(super) checked: HashMap<Name, CheckedOwner>,
    /// Which owners an answer of a target concerns.
    pub(super) dependents: HashMap<TargetId, Vec<Name>>,
    /// The overrides that its owners are selected by.
    pub(super) overrides: Arc<Overrides>,
    /// Checked owners that one of [`ZoneState::overrides`] is about.
    pub(super) overridden: BTreeSet<Name>,
    /// Owners that something was discovered for.
    pub(super) folded: HashMap<Name, FoldedOwner>,
    /// What folding needs to know of the zone.
    pub(super) ground: Ground,
    /// What pools that stay with their choice use, of all zones.
    pub(super) choices: Arc<Choices>,
    /// When signatures are renewed.
    pub(super) schedule: Schedule,
    /// Signatures of states that owners may come back to.
    pub(super) cache: SignatureCache,
    /// What is published.
    pub(super) image: Arc<ZoneImage>,
    /// The newest serial ever served; the image's own, but while a reload replaces a zone that went on changing.
    pub(super) floor: Serial,
    /// How it differed from what was served when it was built.
    pub(super) difference: OwnerCounts,
    /// The records of that.
    pub(super) records: RecordChanges,
    /// Whether verdicts were committed into it before it was served.
    pub(super) has_caught_up: bool,
    /// Names that took a turn while it was built.
    pub(super) turned: HashSet<Name>,
    /// Unix seconds of the last commit.
    pub(super) changed_s: u32,
    /// Why the newest file or keys are not what is served.
    pub(super) trouble: Option<String>,
}

impl ZoneState {
    /// The apex.
    pub(super) fn apex(&self) -> &Name {
        self.image.apex()
    }

    /// The serial that is served.
    pub(super) fn serial(&self) -> Serial {
        self.image.serial()
    }

    /// When the first signature expires, to the granularity of the schedule.
    pub(super) fn earliest_expiry_s(&self) -> Option<u32> {
        let due = self.schedule.handed_out_since_s().into_iter().chain(self.schedule.next_due_s()).min()?;
        Some(due.saturating_add(self.signer.as_ref()?.refresh_s()))
    }

    /// When something is signed again next, to the granularity of the schedule.
    pub(super) fn next_signing_s(&self) -> Option<u32> {
        self.signer.as_ref().and(self.schedule.next_due_s())
    }

    pub(super) fn remember(&mut self, name: &Name, memory: Kept) {
        if let Some(owner) = self.checked.get_mut(name) {
            owner.remember(memory, &self.choices, self.image.apex(), name);
        }
    }

    /// Commits work as one transaction under a new serial: signs, compiles, and swaps this state's image. The caller publishes it, and
    /// then has [`ZoneState::note`] take note of what it did, for which nobody need wait.
    ///
    /// # Errors
    /// Signing or compiling failed; nothing has changed.
    pub(super) fn commit(
        &mut self,
        work: Work,
        now_s: u32,
        crew: Crew,
    ) -> Result<Committed, TransactionError> {
        self.commit_and_remove(work, &[], now_s, crew)
    }

    /// As [`ZoneState::commit`], and takes owners out, which no work is about.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn commit_and_remove(
        &mut self,
        work: Work,
        removed: &[Name],
        now_s: u32,
        crew: Crew,
    ) -> Result<Committed, TransactionError> {
        let owners = work.owners() + removed.len();
        let Work { mut jobs, draft, mut notes, changes_data } = work;
        if changes_data || !removed.is_empty() || jobs.iter().any(|job| job.changes_data) {
            self.add_soa(&mut jobs, serial::next(self.floor, now_s));
        }
        let started = Instant::now();
        let worth = if self.signer.is_some() { WORTH_THREADS_SIGNED } else { usize::MAX };
        let mut draft = draft.unwrap_or_else(|| ZoneDraft::from_image(&self.image).into());
        removed.iter().for_each(|name| draft.remove(name));
        let mut failed = None;
        crew.run_into(
            jobs,
            worth,
            |job| self.finish(job, now_s),
            |_, batch| {
                for one in batch {
                    match one {
                        Ok(Finished { owner, note, .. }) => {
                            draft.put_encoded(owner);
                            notes.push(note);
                        }
                        Err(e) => failed = Some(e),
                    }
                }
            },
        );
        if let Some(e) = failed {
            return Err(e);
        }
        let signing = started.elapsed();
        self.image = Arc::new(draft.finish()?);
        self.floor = self.serial();
        self.changed_s = now_s;
        Ok(Committed { owners, signing, compiling: started.elapsed() - signing, notes })
    }

    /// Signs and encodes one owner.
    pub(super) fn finish(&self, mut job: Job, now_s: u32) -> Result<Finished, TransactionError> {
        let (memory, turn, changes_data) = (job.memory.take(), job.turn, job.changes_data);
        let Assembled { records, due, replaced } = assemble(job, self.signer.as_deref(), now_s)?;
        let name = records.name.clone();
        let owner = EncodedOwner::new(records, &self.image)?;
        Ok(Finished { owner, changes_data, note: OwnerNote { name, due, replaced, memory, turn } })
    }

    /// Takes note of what a commit did.
    pub(super) fn note(&mut self, notes: Vec<OwnerNote>) {
        for OwnerNote { name, due, replaced, memory, .. } in notes {
            let owner = self.image.hash_of(&name);
            match due {
                Some(due) => self.schedule.set(owner, due.inception_s, due.renew_at_s),
                None => self.schedule.remove(owner),
            }
            if let Some(signer) = &self.signer {
                for ServedRrset { rrset, signatures, .. } in replaced {
                    if let Some(signed) = signer.recall(signatures) {
                        self.cache.insert(signer.digest(&name, &rrset), signed);
                    }
                }
            }
            if let Some(memory) = memory {
                self.remember(&name, memory);
            }
        }
    }

    /// Brings a zone that was built, and is not served yet, up to the verdicts of these targets.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn catch_up(
        &mut self,
        targets: &[TargetId],
        board: &VerdictBoard,
        now_s: u32,
        crew: Crew,
    ) -> Result<(), TransactionError> {
        let work = self.reselect(targets, board, now_s, crew)?;
        if work.owners() > 0 {
            let committed = self.commit(work, now_s, crew)?;
            self.turned.extend(turned(&committed.notes));
            self.note(committed.notes);
            self.has_caught_up = true;
        }
        Ok(())
    }

    /// What those owners remember as good that answer from it. What they serve does not tell: of a pool over a threshold, or a failover's,
    /// not all that was up is in an answer, and how the pool stands depends on all of it.
    pub(super) fn remembered(&self, board: &VerdictBoard, now_s: u32) -> Remembered {
        let by = Circumstances { board, overrides: &self.overrides, zone: self.apex(), now_s };
        let from_memory = self.checked.iter().filter(|(name, owner)| owner.answers_from_memory(name, by));
        from_memory.map(|(name, owner)| (name.clone(), owner.last_good.clone())).collect()
    }

    /// Takes over from the version that was served while this one was built. Returns targets whose owners are to be selected again, since
    /// the builder did not know what the old version has chosen or seen.
    pub(super) fn succeed(&mut self, old: &mut Self, board: &VerdictBoard, now_s: u32) -> Vec<TargetId> {
        let by = Circumstances { board, overrides: &self.overrides, zone: self.image.apex(), now_s };
        self.cache = std::mem::take(&mut old.cache);
        self.floor = old.floor;
        if Arc::ptr_eq(&self.image, &old.image) {
            self.changed_s = old.changed_s;
        }
        let mut again = Vec::new();
        for (name, owner) in &mut self.checked {
            if let Some(before) = old.checked.get_mut(name) {
                if owner.chosen != before.chosen && owner.checked.policy == before.checked.policy {
                    owner.chosen = std::mem::take(&mut before.chosen);
                    again.extend(owner.targets());
                }
                // The old version has seen every verdict up to now; records that are no longer configured are not served.
                let mut seen = std::mem::take(&mut before.last_good);
                seen.retain(|data| owner.checked.endpoints.iter().any(|e| e.data == *data));
                if !seen.is_empty() && seen != owner.last_good {
                    owner.last_good = seen;
                    if owner.answers_from_memory(name, by) {
                        again.extend(owner.targets());
                    }
                }
            }
        }
        again
    }

    /// As [`ZoneState::commit`], for a zone that has just been built: its serial must come after whatever was served meanwhile.
    ///
    /// # Errors
    /// As [`ZoneState::commit`].
    pub(super) fn commit_after_install(
        &mut self,
        mut work: Work,
        now_s: u32,
        crew: Crew,
    ) -> Result<Committed, TransactionError> {
        // An equal serial over other data was given to a change that came while this was built.
        let is_other = self.has_caught_up || self.difference != OwnerCounts::default();
        let is_repeated = self.serial() == self.floor && is_other;
        let is_behind = is_repeated || (self.serial() != self.floor && !self.serial().is_after(self.floor));
        if is_behind {
            // The apex is among the jobs, if it is concerned at all.
            if !work.jobs.iter().any(|job| job.name == *self.apex()) {
                let apex = self.image.owner(self.apex());
                work.jobs.extend(apex.map(|apex| unchanged_job(apex, Place::Apex)));
            }
        } else {
            self.floor = self.serial();
        }
        if work.owners() == 0 { Ok(Committed::default()) } else { self.commit(work, now_s, crew) }
    }

    /// The targets it holds.
    pub(super) fn held_targets(&self) -> Vec<TargetId> {
        self.checked.values().flat_map(CheckedOwner::targets).collect()
    }

    /// Puts a new SOA record into the apex's job, which is made if there is none.
    fn add_soa(&self, jobs: &mut Vec<Job>, serial: Serial) {
        let apex = self.apex();
        let position = match jobs.iter().position(|job| job.name == *apex) {
            Some(i) => i,
            None => {
                let before = self.image.owner(apex);
                jobs.extend(before.map(|before| unchanged_job(before, Place::Apex)));
                jobs.len().saturating_sub(1)
            }
        };
        if let Some(job) = jobs.get_mut(position) {
            job.place = Place::Apex;
            job.rrsets.retain(|r| r.rrset.rtype != RrType::SOA);
            job.rrsets.push(plain(soa_rrset(&self.soa, serial)));
        }
    }
}
