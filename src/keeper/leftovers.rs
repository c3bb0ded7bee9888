//! What is left to do of a reload once its zones are served. The builder's thread does it, so that neither freeing a zone of a million
//! names nor a disk stands between a verdict and its answer.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::build::{Workshop, release};
use super::channel::{Change, KeeperHandle, ReloadSummary, ZoneOutcome};
use super::news;
use super::reload::lock;
use super::start::signature_file;
use super::zone_state::ZoneState;
use super::{TargetSet, Tools};
use crate::model::events::Events;
use crate::model::name::Name;
use crate::snapshot::ZoneImage;
use crate::state::StateDir;

/// How often it is looked whether a replaced zone can be freed, and how many times.
const FREE_EVERY: Duration = Duration::from_millis(100);
const FREE_TRIES: u32 = 50;

/// See the module's documentation.
pub(super) struct Leftovers {
    workshop: Workshop,
    targets: watch::Sender<TargetSet>,
    state: Option<Arc<StateDir>>,
    handle: KeeperHandle,
    now_s: Arc<dyn Fn() -> u32 + Send + Sync>,
    replaced: Vec<ZoneState>,
    /// Images of those whose zone is served from another one now.
    images: Vec<Arc<ZoneImage>>,
    removed: Vec<Name>,
    unsigned: Vec<Name>,
    summary: ReloadSummary,
    replies: Vec<Sender<ReloadSummary>>,
}

impl Leftovers {
    /// Nothing yet.
    pub(super) fn new(tools: &Tools, handle: KeeperHandle) -> Self {
        let (replaced, images, removed, unsigned, summary, replies) = Default::default();
        Self {
            workshop: tools.workshop.clone(),
            targets: tools.targets.clone(),
            state: tools.state.clone(),
            handle,
            now_s: Arc::clone(&tools.now_s),
            replaced,
            images,
            removed,
            unsigned,
            summary,
            replies,
        }
    }

    /// A zone that is no longer served, or, if not `is_image_too`, from the same image as before.
    pub(super) fn replaced(&mut self, zone: ZoneState, is_image_too: bool) {
        if is_image_too {
            self.images.push(Arc::clone(&zone.image));
        }
        self.replaced.push(zone);
    }

    /// A zone that is gone: its signatures go with it.
    pub(super) fn removed(&mut self, apex: Name) {
        self.removed.push(apex);
    }

    /// A zone that is served unsigned.
    pub(super) fn unsigned(&mut self, apex: Name) {
        self.unsigned.push(apex);
    }

    /// What is told of the reload, and to whom.
    pub(super) fn report_to(&mut self, summary: ReloadSummary, replies: Vec<Sender<ReloadSummary>>) {
        (self.summary, self.replies) = (summary, replies);
    }

    /// Does all of it, and tells who asked for the reload that it is done. Takes up to some seconds after that.
    pub(super) fn clear_away(self) {
        let Self { workshop, targets, state, handle, now_s, .. } = self;
        let Self { replaced, images, removed, unsigned, summary, replies, .. } = self;
        for apex in &unsigned {
            workshop.note_signed(apex, false);
        }
        for apex in &removed {
            if let Some(Err(e)) = state.as_ref().map(|state| state.remove_blob(&signature_file(apex))) {
                warn!(zone = %apex, error = %e, "the zone's saved signatures are still there");
            }
        }
        for zone in &replaced {
            release(&workshop, zone.held_targets());
        }
        publish_targets(&workshop, &targets);
        report(&summary, &workshop.events);
        handle.figures().reloaded(summary.is_good(), now_s());
        // Whoever is answered may stop the keeper, and expects the state directory to be free then.
        drop((workshop, state));
        answer(replies, &summary);
        drop(replaced);
        for image in images {
            // Whoever lets go of it last frees it: that should not be the keeper with the next commit.
            let mut tries = 0;
            while Arc::strong_count(&image) > 1 && tries < FREE_TRIES {
                std::thread::sleep(FREE_EVERY);
                tries += 1;
            }
        }
    }
}

/// Tells health which targets there are now.
pub(super) fn publish_targets(workshop: &Workshop, targets: &watch::Sender<TargetSet>) {
    // Under the lock, so that of two reloads that end together the later list is the last one sent.
    let registry = lock(&workshop.registry);
    // Without health there is no receiver, and nothing to tell.
    let _ = targets.send(Arc::new(registry.list()));
}

fn report(summary: &ReloadSummary, events: &Events) {
    for diagnostic in &summary.diagnostics {
        if diagnostic.is_error() {
            error!("{}", diagnostic.unmarked());
        } else {
            warn!("{}", diagnostic.unmarked());
        }
    }
    for zone in &summary.zones {
        let ZoneOutcome { apex, change, owners, records, file } = zone;
        if matches!(change, Change::Unchanged) {
            continue;
        }
        let names = format!("+{} ~{} -{}", owners.added, owners.changed, owners.removed);
        let counted = format!("+{} -{}", records.added, records.removed);
        let (change, file_name) = (change.name(), file.display());
        info!(zone = %apex, source = "file", resource = %file_name, change, names, records = counted, "zone reloaded");
        records.log(apex, file, "reload");
    }
    events.publish_all(news::of_reload(summary));
    info!(
        changed = summary.count(Change::Changed),
        added = summary.count(Change::Added),
        unchanged = summary.count(Change::Unchanged),
        removed = summary.count(Change::Removed),
        kept = summary.count(Change::Kept),
        broken = summary.count(Change::Broken),
        "zones reloaded"
    );
}

/// Tells who asked for a reload what became of it.
pub(super) fn answer(replies: Vec<Sender<ReloadSummary>>, summary: &ReloadSummary) {
    for reply in replies {
        // Whoever asked may have gone.
        let _ = reply.send(summary.clone());
    }
}
