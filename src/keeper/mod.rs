//! The one writer: it alone publishes. Verdicts, reloads and renewals become transactions, each one swap of the snapshot.
//!
//! The keeper runs on a thread of its own, so that no other task's work stands between a verdict and its answer. It
//! serves verdicts first, then what builders and the thread of renewals bring, then reloads; whole zones are read, signed and
//! compiled by builder threads. No fixed delay: what arrives during a commit is the next commit.

mod amend;
mod assemble;
pub mod build;
mod chain;
pub mod changes;
pub mod channel;
mod clock;
mod comparison;
mod compile;
pub mod configured;
mod crew;
mod discovered;
pub mod explain;
pub mod figures;
mod fold;
mod follow;
mod jobs;
mod leftovers;
mod news;
mod overrides;
mod pass;
mod reload;
mod renew;
mod reselect;
mod save;
mod serials;
mod start;
pub mod targets;
#[cfg(test)]
mod tests;
mod zone_state;
mod zoning;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use build::{Workshop, ZoneSource};
use changes::{ChangeLog, Commit};
use channel::{Command, KeeperHandle, ZoneStatus};
use crew::Crew;
use figures::{KeeperFigures, Timing};
use news::Turn;
use renew::Renewer;
use reselect::Work;
use serials::Serials;
pub use start::Starting;
use tracing::error;
use zone_state::{TransactionError, ZoneState};
pub use zoning::{Discovered, Resolved};

use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::serial::Serial;
use crate::model::target::{Target, TargetId};
use crate::snapshot::Snapshot;
use crate::snapshot::handle::Published;
use crate::state::StateDir;

/// How long the keeper sleeps when nothing happens: the granularity of renewals.
const TICK: Duration = Duration::from_millis(1000);

/// What every `watch` receiver of targets is given.
pub type TargetSet = Arc<Vec<(TargetId, Arc<Target>)>>;

/// Finds the zone sources again at each reload: the configuration may name others by then.
pub type FindSources =
    Arc<dyn Fn() -> Result<(Vec<ZoneSource>, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync>;

/// What the keeper works with.
pub struct Tools {
    /// What builders share.
    pub workshop: Workshop,
    /// Where snapshots go.
    pub published: Arc<Published>,
    /// Where the target set goes.
    pub targets: tokio::sync::watch::Sender<TargetSet>,
    /// Where the hosts go that ALIAS records lead to.
    pub aliases: tokio::sync::watch::Sender<Arc<BTreeSet<Name>>>,
    /// The state directory, if there is one.
    pub state: Option<Arc<StateDir>>,
    /// Finds the zone sources.
    pub find_sources: FindSources,
    /// Unix seconds now; passed in so that clocks can be moved in tests.
    pub now_s: Arc<dyn Fn() -> u32 + Send + Sync>,
}

enum Entry {
    Serving(Box<ZoneState>),
    Broken { file: PathBuf, reason: String },
}

/// See the module's documentation.
struct Keeper {
    tools: Tools,
    handle: KeeperHandle,
    zones: BTreeMap<Name, Entry>,
    serials: Serials,
    /// Targets whose verdicts changed while a builder was at work: what it selected must be selected again.
    changed_during_build: Option<Arc<Mutex<Vec<TargetId>>>>,
    /// Names that were amended while a builder was at work.
    amended_during_build: Vec<Name>,
    /// Hosts that were resolved meanwhile.
    resolved_during_build: HashSet<Name>,
    /// Amendments that are not done yet.
    amendments: VecDeque<discovered::Waiting>,
    /// Which names belong to which zone.
    zoning: zoning::Zoning,
    /// What was asked for while a builder was at work: one reload that does it all, and answers all who asked.
    next_reload: Option<(bool, Vec<std::sync::mpsc::Sender<channel::ReloadSummary>>)>,
    /// Targets of transactions that failed, tried again at the next tick.
    failed_targets: Vec<TargetId>,
    /// When they were tried last.
    retried: Instant,
    renewer: Renewer,
    clock: clock::Watch,
    /// Since when the keeper runs.
    started: Instant,
    /// Turns of names that are not told yet.
    turns: Vec<(Name, Name, Turn)>,
    /// Zones that could not be signed when it was last tried.
    unsigned: BTreeSet<Name>,
    log: ChangeLog,
}

impl Keeper {
    fn run(mut self, receiver: &Receiver<Command>) {
        loop {
            let mut pause = self.renewer.at.saturating_duration_since(Instant::now()).min(TICK);
            if !self.amendments.is_empty() {
                pause = Duration::ZERO;
            }
            let mut first = match receiver.recv_timeout(pause) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut others = Vec::new();
            while let Some(command) = first.take().or_else(|| receiver.try_recv().ok()) {
                others.push(command);
            }
            self.handle.verdicts_seen();
            self.expire_overrides();
            self.apply_verdicts();
            self.tell();
            let mut stop = false;
            for command in others {
                match command {
                    Command::Verdicts => {}
                    Command::Zones(reply) => {
                        // Whoever asked may have gone.
                        let _ =
                            reply.send(self.zones.iter().map(|(apex, entry)| status(apex, entry)).collect());
                    }
                    Command::Overrides(overrides, reply) => {
                        let concerned = self.set_overrides(overrides);
                        let _ = reply.send(concerned);
                    }
                    Command::Explain(name, reply) => {
                        let _ = reply.send(self.explain(&name).map(Box::new));
                    }
                    Command::OwnerFacts(apex, names, reply) => {
                        let _ = reply.send(self.owner_facts(&apex, &names));
                    }
                    Command::Overridden(reply) => {
                        let _ = reply.send(self.overridden());
                    }
                    Command::Amend(amendment, reply) => self.amend(amendment, reply),
                    Command::Resolved(known) => self.host_resolved(known),
                    Command::WouldAmend(amendment, reply) => {
                        let _ = reply.send(self.would_amend(&amendment));
                    }
                    Command::Refusals(reply) => {
                        let _ = reply.send(self.refusals());
                    }
                    Command::Built(built) => self.receive(built),
                    Command::Renewed(renewed) => self.put_renewed(renewed),
                    Command::Reload { remove_missing, reply } => {
                        self.reload(remove_missing, vec![reply]);
                    }
                    Command::Stop => stop = true,
                }
            }
            if stop {
                break;
            }
            self.amend_next();
            self.tell();
            if self.renewer.at <= Instant::now() {
                self.renew();
            }
            self.tools.workshop.choices.save_now_and_then();
            self.serials.tick(serials_of(&self.zones), Serial((self.tools.now_s)()));
        }
        self.save();
    }

    /// Takes the dirty targets off the board and commits what follows from them, all zones in one swap.
    fn apply_verdicts(&mut self) {
        let mut dirty = Vec::new();
        self.tools.workshop.board.drain_dirty(&mut dirty);
        // A new share changes by which weights answers are picked.
        self.tools.workshop.board.drain_dirty_shares(&mut dirty);
        // By the clock and not by the receiver's timeout, which never comes while targets flap.
        if self.retried.elapsed() >= TICK {
            self.retried = Instant::now();
            dirty.append(&mut self.failed_targets);
            self.apply_overrides();
        }
        if dirty.is_empty() {
            return;
        }
        if let Some(changed) = &self.changed_during_build {
            reload::lock(changed).extend_from_slice(&dirty);
        }
        self.reselect(&dirty);
        self.follow_dependents(&dirty);
    }

    fn reselect(&mut self, dirty: &[TargetId]) {
        let crew = Crew { threads: self.tools.workshop.threads };
        let board = Arc::clone(&self.tools.workshop.board);
        let failed = self.transact(
            |zone, now_s| zone.reselect(dirty, &board, now_s, crew),
            |figures, owners| {
                KeeperFigures::add(&figures.flips, owners as u64);
            },
            "health",
            crew,
        );
        if !failed.is_empty() {
            self.failed_targets.extend_from_slice(dirty);
        }
    }

    /// Runs `work` on every served zone, commits each zone that has any, and publishes all of them at once. `why`
    /// stands in the log beside each record that changes; it is empty where none can. Returns the zones that could not be committed.
    fn transact(
        &mut self,
        mut work: impl FnMut(&mut ZoneState, u32) -> Result<Work, TransactionError>,
        count: impl Fn(&KeeperFigures, usize),
        why: &'static str,
        crew: Crew,
    ) -> Vec<Name> {
        let started = Instant::now();
        let now_s = (self.tools.now_s)();
        let mut snapshot: Option<Snapshot> = None;
        let (mut notes, mut told, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        let mut timing = Timing::default();
        for entry in self.zones.values_mut() {
            let Entry::Serving(zone) = entry else { continue };
            let before = Arc::clone(&zone.image);
            let done = match work(zone, now_s) {
                Ok(work) if work.owners() == 0 => continue,
                Ok(work) => zone.commit(work, now_s, crew),
                Err(e) => Err(e),
            };
            match done {
                Ok(committed) => {
                    count(&self.handle.figures, committed.owners);
                    timing.sign += committed.signing;
                    timing.compile += committed.compiling;
                    let next = match &snapshot {
                        Some(snapshot) => snapshot.with_zone(Arc::clone(&zone.image)),
                        None => self.tools.published.load().with_zone(Arc::clone(&zone.image)),
                    };
                    snapshot = Some(next);
                    self.unsigned.remove(zone.apex());
                    if self.log.is_read() && !why.is_empty() {
                        let names = committed.notes.iter().map(|note| &note.name);
                        told.push(Commit::new(before, zone, names, why));
                    }
                    notes.push((zone.apex().clone(), committed.notes));
                }
                Err(e) => {
                    KeeperFigures::add(&self.handle.figures.failures, 1);
                    error!(zone = %zone.apex(), error = %e, "transaction failed; the zone serves what it served before");
                    failures.push((zone.apex().clone(), e));
                }
            }
        }
        if let Some(snapshot) = snapshot {
            timing.whole = started.elapsed();
            self.tools.published.publish(snapshot);
            timing.publish = started.elapsed() - timing.whole;
            self.handle.figures.committed(timing);
        }
        told.into_iter().for_each(|commit| self.log.tell(commit));
        for (apex, notes) in notes {
            if let Some(Entry::Serving(zone)) = self.zones.get_mut(&apex) {
                let turns =
                    notes.iter().filter_map(|note| Some((apex.clone(), note.name.clone(), note.turn?)));
                self.turns.extend(turns);
                zone.note(notes);
            }
        }
        failures.iter().for_each(|(apex, error)| self.tell_failure(apex, error));
        failures.into_iter().map(|(apex, _)| apex).collect()
    }
}

fn serving(zones: &BTreeMap<Name, Entry>) -> impl Iterator<Item = &ZoneState> {
    zones.values().filter_map(|entry| match entry {
        Entry::Serving(zone) => Some(&**zone),
        Entry::Broken { .. } => None,
    })
}

fn serials_of(zones: &BTreeMap<Name, Entry>) -> impl Iterator<Item = (&Name, Serial)> {
    serving(zones).map(|zone| (zone.apex(), zone.serial()))
}

fn status(apex: &Name, entry: &Entry) -> ZoneStatus {
    match entry {
        Entry::Serving(zone) => ZoneStatus {
            apex: apex.clone(),
            alias_of: zone.alias_of.clone(),
            file: zone.file.clone(),
            serial: Some(zone.serial()),
            is_signed: zone.signer.is_some(),
            owners: zone.image.size().owners,
            checked_owners: zone.checked.len(),
            overridden_owners: zone.overridden.len(),
            octets: zone.image.size().bytes,
            changed_s: zone.changed_s,
            earliest_expiry_s: zone.earliest_expiry_s(),
            next_signing_s: zone.next_signing_s(),
            cached_signatures: zone.cache.len(),
            evicted_signatures: zone.cache.evicted(),
            signing_since_s: zone.schedule.handed_out_since_s(),
            trouble: zone.trouble.clone(),
        },
        Entry::Broken { file, reason } => ZoneStatus {
            apex: apex.clone(),
            alias_of: None,
            file: file.clone(),
            serial: None,
            is_signed: false,
            owners: 0,
            checked_owners: 0,
            overridden_owners: 0,
            octets: 0,
            changed_s: 0,
            earliest_expiry_s: None,
            next_signing_s: None,
            cached_signatures: 0,
            evicted_signatures: 0,
            signing_since_s: None,
            trouble: Some(reason.clone()),
        },
    }
}
