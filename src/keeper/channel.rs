//! What the keeper takes from others, and what it lets them see.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::build::Reading;
use super::changes::RecordChanges;
use super::configured::OwnerFacts;
use super::explain::NameOrigin;
use super::figures::KeeperFigures;
use super::leftovers::Leftovers;
use super::renew::Renewed;
use super::zone_state::{TransactionError, ZoneState};
use super::zoning::Zoning;
use crate::dnssec::sign::SignatureFigures;
use crate::model::diagnostic::Diagnostic;
use crate::model::discovered::{Amendment, AmendmentPlan, Refusal};
use crate::model::name::Name;
use crate::model::overrides::{Overrides, Word};
use crate::model::resolved::Addresses;
use crate::model::serial::Serial;
use crate::model::target::{EndpointData, TargetId};

/// A message to the keeper.
pub(super) enum Command {
    /// The verdict board has changed.
    Verdicts,
    /// Read the zone files again.
    Reload {
        /// Whether zones of vanished files go.
        remove_missing: bool,
        /// Who wants to know.
        reply: Sender<ReloadSummary>,
    },
    /// Someone wants to know how the zones stand.
    Zones(Sender<Vec<ZoneStatus>>),
    /// These are the overrides from now on; the answer is how many owner names the change is about.
    Overrides(Arc<Overrides>, Sender<usize>),
    /// Someone wants to know what is overridden.
    Overridden(Sender<Vec<OverriddenEndpoint>>),
    /// Someone wants to know what answers for a name.
    Explain(Name, Sender<Option<Box<NameOrigin>>>),
    /// Someone looks at owners of a zone.
    OwnerFacts(Name, Vec<Name>, Sender<Vec<OwnerFacts>>),
    /// Names have been discovered, have changed or are gone; the answer is what of them is not served.
    Amend(Amendment, Sender<Vec<Refusal>>),
    /// Hosts of ALIAS records have other addresses.
    Resolved(Vec<(Name, Arc<Addresses>)>),
    /// Someone wants to know what an amendment would do.
    WouldAmend(Amendment, Sender<AmendmentPlan>),
    /// Someone wants to know what of all that is discovered is not served.
    Refusals(Sender<Vec<Refusal>>),
    /// A builder is done.
    Built(Box<Built>),
    /// A slice of signatures is renewed.
    Renewed(Vec<Renewed>),
    /// Stop after what has been committed is saved.
    Stop,
}

/// What a builder hands over.
pub(super) struct Built {
    pub summary: ReloadSummary,
    /// The zone files there are now; `None` if not even that could be found out.
    pub sources: Option<Vec<PathBuf>>,
    pub readings: Vec<Reading>,
    pub zones: Vec<BuiltZone>,
    pub replies: Vec<Sender<ReloadSummary>>,
    pub remove_missing: bool,
    /// The apexes that discovered names were folded by.
    pub zoning: Option<Zoning>,
    /// Where the builder waits for what its zones have replaced.
    pub leftovers: Sender<Leftovers>,
}

impl Built {
    /// Nothing is built, for the reason in `summary`.
    pub(super) fn nothing(summary: ReloadSummary) -> Self {
        let (readings, zones, replies) = Default::default();
        let (leftovers, _) = channel();
        Self {
            summary,
            sources: None,
            readings,
            zones,
            replies,
            remove_missing: false,
            zoning: None,
            leftovers,
        }
    }

    /// The zones that can be served.
    pub(super) fn good_zones(&self) -> impl Iterator<Item = &ZoneState> {
        self.zones.iter().filter_map(|zone| match zone {
            BuiltZone::Good(zone) => Some(&**zone),
            BuiltZone::Failed { .. } => None,
        })
    }
}

/// What became of one zone.
pub(super) enum BuiltZone {
    Good(Box<ZoneState>),
    Failed { apex: Name, file: PathBuf, error: TransactionError },
}

/// What a reload did.
#[derive(Clone, Debug, Default)]
pub struct ReloadSummary {
    /// Every zone, as it came.
    pub zones: Vec<ZoneOutcome>,
    /// Errors and warnings of all files.
    pub diagnostics: Vec<Diagnostic>,
}

/// What a reload did to one zone.
#[derive(Clone, Debug)]
pub struct ZoneOutcome {
    /// The apex.
    pub apex: Name,
    /// What happened.
    pub change: Change,
    /// Owner names that differ from what was served.
    pub owners: OwnerCounts,
    /// Their records.
    pub records: RecordChanges,
    /// The zone file.
    pub file: PathBuf,
}

/// What happened to a zone at a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is served in a new version.
    Changed,
    /// It is as it was.
    Unchanged,
    /// It is no longer served.
    Removed,
    /// Its file is broken or gone: the old version goes on being served.
    Kept,
    /// It cannot be served, and there is no old version.
    Broken,
}

impl Change {
    /// Its word in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::Broken => "broken",
        }
    }
}

/// Owner names that differ between two versions of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerCounts {
    /// Only in the new one.
    pub added: usize,
    /// In both, with other records.
    pub changed: usize,
    /// Only in the old one.
    pub removed: usize,
}

impl ReloadSummary {
    /// Whether every file was read without error.
    pub fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// How many zones this happened to.
    pub fn count(&self, change: Change) -> usize {
        self.zones.iter().filter(|z| z.change == change).count()
    }

    /// A zone that was not read anew.
    pub(super) fn note(&mut self, apex: &Name, file: &Path, change: Change) {
        let (owners, records) = Default::default();
        self.zones.push(ZoneOutcome { apex: apex.clone(), change, owners, records, file: file.to_owned() });
    }
}

/// An endpoint that an override decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverriddenEndpoint {
    /// The apex of its zone.
    pub zone: Name,
    /// The owner name.
    pub owner: Name,
    /// What it publishes.
    pub data: EndpointData,
    /// The targets it rests on.
    pub targets: Vec<TargetId>,
    /// The override's number.
    pub id: u64,
    /// What it says.
    pub word: Word,
}

/// How a zone stands.
#[derive(Clone, Debug)]
pub struct ZoneStatus {
    /// The apex.
    pub apex: Name,
    /// The zone that this one is an alias of.
    pub alias_of: Option<Name>,
    /// The file it comes from.
    pub file: PathBuf,
    /// The serial served; `None` for a broken zone.
    pub serial: Option<Serial>,
    /// Whether it is signed.
    pub is_signed: bool,
    /// Owner names with records.
    pub owners: usize,
    /// Owner names that health decides about.
    pub checked_owners: usize,
    /// Checked owner names that an override is about.
    pub overridden_owners: usize,
    /// Octets of its image.
    pub octets: usize,
    /// Unix seconds of the last commit.
    pub changed_s: u32,
    /// Unix seconds when the first signature expires.
    pub earliest_expiry_s: Option<u32>,
    /// Unix seconds when something is signed again next.
    pub next_signing_s: Option<u32>,
    /// Signatures kept for what an owner may come back to.
    pub cached_signatures: usize,
    /// Those that were dropped for others, since the zone was built.
    pub evicted_signatures: u64,
    /// Since when signatures have been due that are not renewed; Unix seconds.
    pub signing_since_s: Option<u32>,
    /// Why it is broken, or why the newest file is not what is served.
    pub trouble: Option<String>,
}

/// What others hold of the keeper. Cheap to clone.
#[derive(Clone)]
pub struct KeeperHandle {
    sender: Sender<Command>,
    wake_pending: Arc<AtomicBool>,
    pub(super) figures: Arc<KeeperFigures>,
}

impl KeeperHandle {
    /// Signers count in `signatures`.
    pub(super) fn new(signatures: &Arc<SignatureFigures>) -> (Self, Receiver<Command>) {
        let (sender, receiver) = channel();
        let figures = KeeperFigures { signatures: Arc::clone(signatures), ..KeeperFigures::default() };
        let handle = Self { sender, wake_pending: Arc::default(), figures: Arc::new(figures) };
        (handle, receiver)
    }

    /// Tells the keeper that verdicts have changed. Any number of calls before it looks are one message.
    pub fn verdicts_changed(&self) {
        if !self.wake_pending.swap(true, Ordering::AcqRel) {
            self.send(Command::Verdicts);
        }
    }

    pub(super) fn verdicts_seen(&self) {
        self.wake_pending.store(false, Ordering::Release);
    }

    /// Starts a reload and returns what it did once it is done; blocks, so not for async callers. `None` if the keeper has stopped.
    pub fn reload_and_wait(&self, remove_missing: bool) -> Option<ReloadSummary> {
        let (reply, answer) = channel();
        self.send(Command::Reload { remove_missing, reply });
        answer.recv().ok()
    }

    /// Whether the keeper still works. If not, answers stay as they are whatever happens to targets and files.
    pub fn is_running(&self) -> bool {
        self.sender.send(Command::Verdicts).is_ok()
    }

    /// Asks the keeper to stop.
    pub fn stop(&self) {
        self.send(Command::Stop);
    }

    pub(super) fn send(&self, command: Command) {
        // It fails only when the keeper has stopped, and then nobody can act on it.
        let _ = self.sender.send(command);
    }

    /// How every zone stands, by apex; empty if the keeper has stopped. Waits for the commit under way, so not for async callers.
    pub fn zones(&self) -> Vec<ZoneStatus> {
        let (reply, answer) = channel();
        self.send(Command::Zones(reply));
        answer.recv().unwrap_or_default()
    }

    /// Takes overrides into service and returns how many owner names the change is about, once the answers follow it; `None` if the keeper
    /// has stopped. Blocks, so not for async callers.
    pub fn set_overrides(&self, overrides: Arc<Overrides>) -> Option<usize> {
        let (reply, answer) = channel();
        self.send(Command::Overrides(overrides, reply));
        answer.recv().ok()
    }

    /// Every endpoint that an override decides about; see [`KeeperHandle::zones`].
    pub fn overridden(&self) -> Vec<OverriddenEndpoint> {
        let (reply, answer) = channel();
        self.send(Command::Overridden(reply));
        answer.recv().unwrap_or_default()
    }

    /// What answers for a name; `None` if no zone here does, or the keeper has stopped. See [`KeeperHandle::zones`].
    pub fn explain(&self, name: &Name) -> Option<Box<NameOrigin>> {
        let (reply, answer) = channel();
        self.send(Command::Explain(name.clone(), reply));
        answer.recv().ok().flatten()
    }

    /// What is known of owners of a zone beside what is served of them; `None` if the keeper has stopped. See [`KeeperHandle::zones`].
    pub fn owner_facts(&self, apex: &Name, names: Vec<Name>) -> Option<Vec<OwnerFacts>> {
        let (reply, answer) = channel();
        self.send(Command::OwnerFacts(apex.clone(), names, reply));
        answer.recv().ok()
    }

    /// Puts names that sources have discovered into service, or takes them out, and returns what of them is not served, once the rest is;
    /// `None` if the keeper has stopped. Up to some hundred names are one commit; between the slices of a larger amendment verdicts are
    /// served. Blocks, so not for async callers.
    pub fn amend(&self, amendment: Amendment) -> Option<Vec<Refusal>> {
        let (reply, answer) = channel();
        self.send(Command::Amend(amendment, reply));
        answer.recv().ok()
    }

    /// Takes what hosts of ALIAS records were resolved to into service; does not wait.
    pub fn resolved(&self, known: Vec<(Name, Arc<Addresses>)>) {
        self.send(Command::Resolved(known));
    }

    /// What an amendment would do; nothing is changed. `None` if the keeper has stopped. Blocks, so not for async callers.
    pub fn would_amend(&self, amendment: Amendment) -> Option<AmendmentPlan> {
        let (reply, answer) = channel();
        self.send(Command::WouldAmend(amendment, reply));
        answer.recv().ok()
    }

    /// What of all that is discovered is not served, in no order: reloads change it too. See [`KeeperHandle::zones`].
    pub fn refusals(&self) -> Vec<Refusal> {
        let (reply, answer) = channel();
        self.send(Command::Refusals(reply));
        answer.recv().unwrap_or_default()
    }

    /// Counted figures.
    pub fn figures(&self) -> &KeeperFigures {
        &self.figures
    }
}
