//! Starting: read every zone, let the first probes run, then select, sign, compile and publish all of them at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use tracing::{error, warn};

use super::build::{Reading, ZoneSource, release};
use super::changes::ChangeLog;
use super::channel::{Command, KeeperHandle};
use super::compile::{Earlier, compile};
use super::discovered::{publish_hosts, zoning_of};
use super::figures::KeeperFigures;
use super::fold::{fold_all, zoning};
use super::follow;
use super::reload::{lock, read_all};
use super::renew::Renewer;
use super::serials::Serials;
use super::zone_state::TransactionError;
use super::{Entry, Keeper, Tools, news};
use crate::dnssec::saved::SavedSignatures;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::state::{StateDir, Stored};

/// Form of the signature files.
pub(super) const SIGNATURES_VERSION: u32 = 2;

/// Zones that are read; their targets are known, and nothing is served yet.
pub struct Starting {
    tools: Tools,
    serials: Serials,
    readings: Vec<Reading>,
    handle: KeeperHandle,
    receiver: std::sync::mpsc::Receiver<Command>,
}

impl Starting {
    /// Reads all sources and publishes the targets, so that probing can begin.
    pub fn read(tools: Tools, sources: &[ZoneSource]) -> Self {
        let serials = Serials::open(tools.state.clone());
        let mut readings = read_all(sources, &tools.workshop, &|_| false);
        let zoning = zoning(&readings, &HashMap::new());
        fold_all(&mut readings, &zoning, &tools.workshop);
        let layouts = readings.iter().flat_map(|reading| &reading.layouts);
        publish_hosts(&tools, layouts.flat_map(|layout| layout.folded.values()));
        let (handle, receiver) = KeeperHandle::new(&tools.workshop.signatures);
        let starting = Self { tools, serials, readings, handle, receiver };
        let list = lock(&starting.tools.workshop.registry).list();
        // Without health there is no receiver, and nothing to tell.
        let _ = starting.tools.targets.send(Arc::new(list));
        starting
    }

    /// Errors and warnings of all zone files.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.readings.iter().flat_map(|reading| &reading.diagnostics)
    }

    /// How many zone files can be served, and how many there are.
    pub fn good_of_all(&self) -> (usize, usize) {
        (self.readings.iter().filter(|r| r.is_good()).count(), self.readings.len())
    }

    /// The handle of the keeper to come, to wake it by.
    pub fn handle(&self) -> &KeeperHandle {
        &self.handle
    }

    /// Compiles every zone by the verdicts there are, publishes them, and starts the keeper's thread.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn serve(self) -> std::io::Result<(KeeperHandle, JoinHandle<()>)> {
        let Self { tools, mut serials, readings, handle, receiver } = self;
        // Verdicts are read from here on; one that changes later sets its bit again.
        tools.workshop.board.drain_dirty(&mut Vec::new());
        follow::settle(&readings, &tools.workshop, (tools.now_s)());
        let found = readings.iter().flat_map(|reading| &reading.diagnostics);
        tools.workshop.events.publish_all(news::of_files(found, "its zones are answered SERVFAIL"));
        let (mut zones, mut failed) = (BTreeMap::new(), Vec::new());
        for reading in readings {
            failed.extend(compile_reading(reading, &tools, &mut serials, &handle, &mut zones));
        }
        serials.reserve_now(super::serials_of(&zones));
        let mut keeper = Keeper {
            tools,
            handle: handle.clone(),
            zoning: zoning_of(&zones),
            zones,
            serials,
            changed_during_build: None,
            amended_during_build: Vec::new(),
            resolved_during_build: HashSet::new(),
            amendments: VecDeque::new(),
            next_reload: None,
            failed_targets: Vec::new(),
            retried: std::time::Instant::now(),
            renewer: Renewer::start(handle.clone()),
            clock: super::clock::Watch::default(),
            started: std::time::Instant::now(),
            turns: Vec::new(),
            unsigned: BTreeSet::new(),
            log: ChangeLog::start(),
        };
        keeper.publish_zones();
        failed.iter().for_each(|(apex, error)| keeper.tell_failure(apex, error));
        keeper.tell_start();
        let thread =
            std::thread::Builder::new().name("keeper".into()).spawn(move || keeper.run(&receiver))?;
        Ok((handle, thread))
    }
}

/// Selects, signs and compiles the zones of a file; what could not be is returned, and answered SERVFAIL.
fn compile_reading(
    reading: Reading,
    tools: &Tools,
    serials: &mut Serials,
    handle: &KeeperHandle,
    zones: &mut BTreeMap<Name, Entry>,
) -> Vec<(Name, TransactionError)> {
    let now_s = (tools.now_s)();
    if !reading.is_good() {
        let first = reading.diagnostics.iter().find(|d| d.is_error());
        let reason = first.map(|d| d.unmarked().to_string()).unwrap_or_default();
        for apex in reading.apexes {
            zones.insert(apex, Entry::Broken { file: reading.file.clone(), reason: reason.clone() });
        }
        return Vec::new();
    }
    let mut failed = Vec::new();
    let saved = serials.saved();
    for layout in reading.layouts {
        let (apex, file) = (layout.desired.apex.clone(), layout.file.clone());
        let signatures = match (&tools.state, &layout.signer) {
            (Some(state), Some(_)) => load_signatures(state, &apex),
            _ => SavedSignatures::default(),
        };
        tools.workshop.note_signed(&apex, layout.signer.is_some());
        let earlier = Earlier::Saved { signatures, serial: saved.get(&apex).copied().unwrap_or_default() };
        let entry = match compile(layout, &earlier, &tools.workshop, now_s) {
            Ok(zone) => Entry::Serving(Box::new(zone)),
            Err((targets, e)) => {
                error!(zone = %apex, error = %e, "zone not served");
                KeeperFigures::add(&handle.figures().failures, 1);
                release(&tools.workshop, targets);
                let reason = e.to_string();
                failed.push((apex.clone(), e));
                Entry::Broken { file, reason }
            }
        };
        zones.insert(apex, entry);
    }
    failed
}

/// The file of a zone's signatures. Two zones of odd names may share one: each finds there what is its own, since digests
/// cover the apex, and signs the rest anew.
pub(super) fn signature_file(apex: &Name) -> String {
    /// Leaves room for what a state file's name is given while it is written.
    const MOST: usize = 180;
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String =
        apex.to_string().chars().map(|c| if is_plain(&c) { c } else { '_' }).take(MOST).collect();
    format!("signatures-{name}bin")
}

fn load_signatures(state: &StateDir, apex: &Name) -> SavedSignatures {
    match state.read_blob(&signature_file(apex), SIGNATURES_VERSION) {
        Ok(Stored::Good(octets)) => match SavedSignatures::open(octets) {
            Some(signatures) => return signatures,
            None => warn!(zone = %apex, "the saved signatures are malformed; everything is signed anew"),
        },
        Ok(Stored::Absent) => {}
        Ok(Stored::SetAside(problem)) => warn!(zone = %apex, "{problem}; everything is signed anew"),
        Err(e) => warn!(zone = %apex, "{e}; everything is signed anew"),
    }
    SavedSignatures::default()
}
