//! Reading zone files again while serving: a builder thread does the work, the keeper installs what it brings.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, warn};

use super::build::{Reading, Workshop, ZoneSource, read, refuse_twins, release};
use super::changes::Commit;
use super::channel::{Built, BuiltZone, Change, Command, OwnerCounts, ReloadSummary, ZoneOutcome};
use super::compile::{Earlier, SavedSerial, compile};
use super::crew::Crew;
use super::fold::{fold_all, zoning};
use super::follow;
use super::leftovers::{self, Leftovers};
use super::news::turned;
use super::zone_state::{Remembered, ZoneState};
use super::{Entry, FindSources, Keeper, serving};
use crate::dnssec::saved::SavedSignatures;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::target::TargetId;
use crate::snapshot::{Snapshot, ZoneImage};

impl Keeper {
    /// Starts a builder, or notes the wish if one is at work.
    pub(super) fn reload(&mut self, remove_missing: bool, replies: Vec<Sender<ReloadSummary>>) {
        if self.changed_during_build.is_some() {
            let next = self.next_reload.get_or_insert_default();
            next.0 |= remove_missing;
            next.1.extend(replies);
            return;
        }
        let changed = Arc::<Mutex<Vec<TargetId>>>::default();
        self.changed_during_build = Some(Arc::clone(&changed));
        let builder = Builder {
            changed,
            workshop: self.tools.workshop.clone(),
            find_sources: Arc::clone(&self.tools.find_sources),
            served: self.served_images(),
            remembered: self.remembered(),
            signed: self.signed_zones(),
            saved: self.serials.saved(),
            now_s: (self.tools.now_s)(),
        };
        let handle = self.handle.clone();
        let spawned = std::thread::Builder::new().name("builder".into()).spawn({
            let replies = replies.clone();
            move || {
                give_way();
                let (sender, leftovers) = channel();
                let built = builder.build_or_report();
                let built = Built { remove_missing, replies, leftovers: sender, ..built };
                handle.send(Command::Built(Box::new(built)));
                // Nothing comes if the keeper has stopped meanwhile.
                if let Ok(leftovers) = leftovers.recv() {
                    leftovers.clear_away();
                }
            }
        });
        if let Err(e) = spawned {
            self.changed_during_build = None;
            let problem = Diagnostic::error(Path::new("reload"), format!("no thread could be started: {e}"));
            error!(error = %e, "reload failed: no thread could be started");
            let summary = ReloadSummary { diagnostics: vec![problem], ..ReloadSummary::default() };
            leftovers::answer(replies, &summary);
        }
    }

    fn served_images(&self) -> HashMap<Name, Arc<ZoneImage>> {
        let serving = self.zones.iter().filter_map(|(apex, entry)| match entry {
            Entry::Serving(zone) => Some((apex.clone(), Arc::clone(&zone.image))),
            Entry::Broken { .. } => None,
        });
        serving.collect()
    }

    fn remembered(&self) -> HashMap<Name, Remembered> {
        let (board, now_s) = (&self.tools.workshop.board, (self.tools.now_s)());
        serving(&self.zones).map(|zone| (zone.apex().clone(), zone.remembered(board, now_s))).collect()
    }

    fn signed_zones(&self) -> HashSet<Name> {
        let now = self
            .zones
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Serving(zone) if zone.signer.is_some()));
        now.map(|(apex, _)| apex.clone()).collect()
    }

    /// Installs what a builder brought, at once if all of its serials are reserved on disk. Those of a zone that is new are not: then it
    /// comes again when they are, and verdicts do not wait for that.
    pub(super) fn receive(&mut self, built: Box<Built>) {
        let is_new = |zone: &&ZoneState| !matches!(self.zones.get(zone.apex()), Some(Entry::Serving(_)));
        let new = built.good_zones().filter(is_new).map(|zone| (zone.apex(), zone.serial()));
        if !self.serials.reserve(new) {
            return self.install(*built);
        }
        let handle = self.handle.clone();
        self.serials.write_and_then(Box::new(move || handle.send(Command::Built(built))));
    }

    /// Puts what a builder brought into service as one swap. What is broken or gone keeps its old zone.
    ///
    /// Verdicts wait while this runs, so all that need not be done before the swap is left over for the builder's thread.
    fn install(&mut self, built: Built) {
        let Built { mut summary, sources, readings, zones, replies, remove_missing, zoning, leftovers } =
            built;
        let changed = self.changed_during_build.take().map(|changed| std::mem::take(&mut *lock(&changed)));
        let changed = changed.unwrap_or_default();
        let now_s = (self.tools.now_s)();
        let mut left = Leftovers::new(&self.tools, self.handle.clone());
        if let Some(sources) = sources {
            self.keep_or_remove(&sources, &readings, remove_missing, &mut summary, &mut left);
            for zone in zones {
                match zone {
                    BuiltZone::Good(zone) => {
                        self.install_zone(*zone, &changed, now_s, &mut summary, &mut left);
                    }
                    BuiltZone::Failed { apex, file, error } => {
                        let problem = Diagnostic::error(&file, format!("{apex}: {error}"));
                        self.keep_with_trouble(&apex, &file, problem.unmarked().to_string(), &mut summary);
                        summary.diagnostics.push(problem);
                    }
                }
            }
            self.amend_installed(zoning.as_ref());
            self.publish_zones();
            self.follow_all();
        }
        left.report_to(summary, replies);
        if let Err(left) = leftovers.send(left) {
            // The builder ended by a panic.
            left.0.clear_away();
        }
        if let Some((remove_missing, replies)) = self.next_reload.take() {
            self.reload(remove_missing, replies);
        }
    }

    fn install_zone(
        &mut self,
        mut zone: ZoneState,
        changed: &[TargetId],
        now_s: u32,
        summary: &mut ReloadSummary,
        left: &mut Leftovers,
    ) {
        let crew = Crew { threads: self.tools.workshop.threads };
        let apex = zone.apex().clone();
        let old = self.zones.remove(&apex);
        let mut served = None;
        let mut changed = changed.to_vec();
        let mut change = Change::Added;
        if let Some(Entry::Serving(mut old)) = old {
            let same = Arc::ptr_eq(&old.image, &zone.image);
            change = if same || zone.difference == OwnerCounts::default() {
                Change::Unchanged
            } else {
                Change::Changed
            };
            served = Some(Arc::clone(&old.image));
            changed.extend(zone.succeed(&mut old, &self.tools.workshop.board, now_s));
            left.replaced(*old, !same);
        }
        let mut records = std::mem::take(&mut zone.records);
        records.trace(&zone);
        let (owners, file) = (zone.difference, zone.file.clone());
        summary.zones.push(ZoneOutcome { apex: apex.clone(), change, owners, records, file });
        if zone.signer.is_none() {
            left.unsigned(apex.clone());
        }
        // What people and probes have said since the builder began.
        let before = Arc::clone(&zone.overrides);
        let built = Arc::clone(&zone.image);
        let Workshop { overrides, board, .. } = &self.tools.workshop;
        let selected = zone.override_with(overrides, &changed, board, now_s, crew);
        let committed = selected.and_then(|(work, _)| zone.commit_after_install(work, now_s, crew));
        match committed {
            Ok(committed) => {
                if self.log.is_read() && !committed.notes.is_empty() {
                    let names = committed.notes.iter().map(|note| &note.name);
                    self.log.tell(Commit::new(built, &zone, names, "health"));
                }
                zone.turned.extend(turned(&committed.notes));
                zone.note(committed.notes);
            }
            Err(e) => {
                // The image as it was built is sound; only the newest verdicts are missing, and are tried again.
                error!(zone = %apex, error = %e, "verdicts since the reload began are not served yet");
                self.failed_targets.extend_from_slice(&changed);
                zone.overrides = before;
            }
        }
        let turned = std::mem::take(&mut zone.turned);
        self.note_built(&zone, served.as_deref(), turned);
        self.zones.insert(apex, Entry::Serving(Box::new(zone)));
    }

    /// Deals with zones that no good reading covers.
    fn keep_or_remove(
        &mut self,
        sources: &[PathBuf],
        readings: &[Reading],
        remove_missing: bool,
        summary: &mut ReloadSummary,
        left: &mut Leftovers,
    ) {
        let good: HashSet<&Name> = readings.iter().filter(|r| r.is_good()).flat_map(|r| &r.apexes).collect();
        let broken: HashMap<&Path, &Reading> =
            readings.iter().filter(|r| !r.is_good()).map(|r| (r.file.as_path(), r)).collect();
        let uncovered: Vec<(Name, PathBuf)> = self
            .zones
            .iter()
            .filter(|(apex, _)| !good.contains(apex))
            .map(|(apex, entry)| (apex.clone(), entry.file().to_owned()))
            .collect();
        for (apex, file) in uncovered {
            let reading = broken.get(file.as_path());
            if let Some(reading) = reading.filter(|r| !(r.is_missing && remove_missing)) {
                let reason = first_error(&reading.diagnostics);
                self.keep_with_trouble(&apex, &file, reason, summary);
            } else if (reading.is_none() && sources.contains(&file)) || remove_missing {
                // The file is there and no longer names this zone, or the zone was given up by hand.
                self.remove_zone(&apex, &file, summary, left);
            } else {
                warn!(zone = %apex, file = %file.display(), "the zone file is gone; its last zone is still served");
                let reason =
                    "the zone file is gone; `hale reload --remove-missing` stops serving the zone".to_owned();
                self.keep_with_trouble(&apex, &file, reason, summary);
            }
        }
        for reading in broken.values() {
            for apex in reading.apexes.iter().filter(|apex| !good.contains(apex)) {
                if !self.zones.contains_key(apex) {
                    let reason = first_error(&reading.diagnostics);
                    self.keep_with_trouble(apex, &reading.file, reason, summary);
                }
            }
        }
    }

    fn keep_with_trouble(&mut self, apex: &Name, file: &Path, reason: String, summary: &mut ReloadSummary) {
        match self.zones.get_mut(apex) {
            Some(Entry::Serving(zone)) => {
                zone.trouble = Some(reason);
                summary.note(apex, file, Change::Kept);
            }
            _ => {
                self.zones.insert(apex.clone(), Entry::Broken { file: file.to_owned(), reason });
                summary.note(apex, file, Change::Broken);
            }
        }
    }

    fn remove_zone(&mut self, apex: &Name, file: &Path, summary: &mut ReloadSummary, left: &mut Leftovers) {
        if let Some(Entry::Serving(zone)) = self.zones.remove(apex) {
            left.replaced(*zone, true);
        }
        left.removed(apex.clone());
        summary.note(apex, file, Change::Removed);
    }

    /// Publishes every zone as it stands, if that differs from the snapshot.
    pub(super) fn publish_zones(&mut self) {
        let before = self.tools.published.load();
        let gone: Vec<Name> = before
            .zones()
            .map(|zone| zone.apex.clone())
            .filter(|apex| !self.zones.contains_key(apex))
            .collect();
        let mut next: Option<Snapshot> = None;
        for apex in &gone {
            next = Some(next.as_ref().unwrap_or(&before).without_zone(apex));
        }
        for (apex, entry) in &self.zones {
            let base = next.as_ref().unwrap_or(&before);
            let published = base.zone(apex);
            match entry {
                Entry::Serving(zone) => {
                    if !published.and_then(|z| z.image).is_some_and(|image| Arc::ptr_eq(image, &zone.image)) {
                        next = Some(base.with_zone(Arc::clone(&zone.image)));
                    }
                }
                Entry::Broken { .. } => {
                    if published.is_none_or(|z| z.image.is_some()) {
                        next = Some(base.with_broken_zone(apex.clone()));
                    }
                }
            }
        }
        if let Some(next) = next {
            self.tools.published.publish(next);
        }
    }
}

fn first_error(diagnostics: &[Diagnostic]) -> String {
    let first = diagnostics.iter().find(|d| d.is_error());
    first.map_or_else(|| "unreadable".to_owned(), |d| d.unmarked().to_string())
}

impl Entry {
    fn file(&self) -> &Path {
        match self {
            Self::Serving(zone) => &zone.file,
            Self::Broken { file, .. } => file,
        }
    }
}

/// Makes this thread one that runs when others do not want to: bulk signing on every core must not stand before a verdict or a
/// query. Threads that it starts inherit it. A fully busy core leaves it little, so a large reload takes long under a flood.
pub(super) fn give_way() {
    // Elsewhere the call would be about the whole process.
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::setpriority_process(None, 10) {
        warn!(error = %e, "reloads run at the priority of everything else");
    }
}

/// So few targets whose verdicts a built zone has not seen are left to the keeper, which takes a millisecond for them.
const FEW: usize = 16;
/// As many times a builder selects again what has flipped meanwhile: each round is shorter than that before.
const MOST_ROUNDS: usize = 8;

/// What a builder thread takes along.
struct Builder {
    /// Targets whose verdicts have changed since it began, as the keeper commits them.
    changed: Arc<Mutex<Vec<TargetId>>>,
    workshop: Workshop,
    find_sources: FindSources,
    served: HashMap<Name, Arc<ZoneImage>>,
    remembered: HashMap<Name, Remembered>,
    signed: HashSet<Name>,
    saved: HashMap<Name, SavedSerial>,
    now_s: u32,
}

impl Builder {
    /// A panic is a bug, but one that a zone file may provoke: it costs this reload, not all later ones. Targets that were held
    /// until then stay held, and go on being probed.
    fn build_or_report(self) -> Built {
        let build = std::panic::AssertUnwindSafe(|| self.build());
        std::panic::catch_unwind(build).unwrap_or_else(|_| {
            let problem = Diagnostic::error(
                Path::new("reload"),
                "a defect of Hale ended this reload; everything stays as it was",
            )
            .hint("please report it, with the panic message in the log and the zone file");
            let summary = ReloadSummary { diagnostics: vec![problem], ..ReloadSummary::default() };
            Built::nothing(summary)
        })
    }

    fn build(self) -> Built {
        let mut summary = ReloadSummary::default();
        let sources = match (self.find_sources)() {
            Ok((sources, warnings)) => {
                summary.diagnostics.extend(warnings);
                sources
            }
            Err(errors) => {
                summary.diagnostics = errors;
                return Built::nothing(summary);
            }
        };
        let mut readings = read_all(&sources, &self.workshop, &|apex| self.signed.contains(apex));
        let zoning = zoning(&readings, &self.served);
        fold_all(&mut readings, &zoning, &self.workshop);
        follow::settle(&readings, &self.workshop, self.now_s);
        let (mut zones, nothing) = (Vec::new(), Remembered::default());
        for reading in &mut readings {
            summary.diagnostics.extend(reading.diagnostics.iter().cloned());
            for layout in std::mem::take(&mut reading.layouts) {
                let (apex, file) = (layout.desired.apex.clone(), layout.file.clone());
                let earlier = match self.served.get(&apex) {
                    Some(image) => {
                        Earlier::Image { image, remembered: self.remembered.get(&apex).unwrap_or(&nothing) }
                    }
                    None => Earlier::Saved {
                        signatures: SavedSignatures::default(),
                        serial: self.saved.get(&apex).copied().unwrap_or_default(),
                    },
                };
                zones.push(match compile(layout, &earlier, &self.workshop, self.now_s) {
                    Ok(zone) => {
                        if zone.signer.is_some() {
                            // Before it is served, and where the disk keeps no verdict waiting.
                            self.workshop.note_signed(&apex, true);
                        }
                        BuiltZone::Good(Box::new(zone))
                    }
                    Err((targets, error)) => {
                        release(&self.workshop, targets);
                        BuiltZone::Failed { apex, file, error }
                    }
                });
            }
        }
        self.catch_up(&mut zones);
        let sources = sources.iter().map(|s| s.label().to_owned()).collect();
        Built { sources: Some(sources), readings, zones, zoning: Some(zoning), ..Built::nothing(summary) }
    }
}

impl Builder {
    /// Selects again what has flipped since each owner was compiled, until little is left: what is left, the keeper does while verdicts
    /// wait. A large zone takes seconds, in which every one of a thousand owners may have flipped.
    fn catch_up(&self, zones: &mut [BuiltZone]) {
        let crew = Crew { threads: self.workshop.threads };
        for _ in 0..MOST_ROUNDS {
            let changed = {
                let mut all = lock(&self.changed);
                if all.len() <= FEW {
                    return;
                }
                // The board has had each verdict before the list: what changes from here on is on the list again.
                std::mem::take(&mut *all)
            };
            for zone in zones.iter_mut() {
                let BuiltZone::Good(zone) = zone else { continue };
                if let Err(e) = zone.catch_up(&changed, &self.workshop.board, self.now_s, crew) {
                    warn!(zone = %zone.apex(), error = %e, "a flip during the reload is tried again when it is served");
                    lock(&self.changed).extend_from_slice(&changed);
                    return;
                }
            }
        }
    }
}

/// Reads all sources; of two that name the same zone the later one is refused.
pub(super) fn read_all(
    sources: &[ZoneSource],
    workshop: &Workshop,
    is_signed: &dyn Fn(&Name) -> bool,
) -> Vec<Reading> {
    let mut readings: Vec<Reading> = sources.iter().map(|source| read(source, workshop, is_signed)).collect();
    refuse_twins(&mut readings, workshop);
    follow::check(&mut readings, workshop);
    readings
}

/// Locks what a panic elsewhere may have poisoned: the registry's own invariants hold between any two of its calls.
pub(super) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
