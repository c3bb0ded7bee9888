//! Renewals: a thread that gives way signs what is due, slice by slice, and the keeper only puts it in.
//!
//! A verdict that comes meanwhile waits for no signature but its own. What has changed between signing and putting in is signed again by
//! the commit, as everything is that has no signature of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::assemble::assemble;
use super::channel::{Command, KeeperHandle};
use super::clock::Trouble;
use super::crew::Crew;
use super::jobs::{signed_place, unchanged_job};
use super::reload::give_way;
use super::reselect::Work;
use super::zone_state::ZoneState;
use super::{Entry, Keeper, TICK};
use crate::dnssec::schedule::OwnerHash;
use crate::dnssec::sign::Signer;
use crate::model::name::Name;
use crate::snapshot::ZoneImage;
use crate::snapshot::image::{OwnerRecords, ServedRrset};

/// Owners in a slice: a verdict waits for one slice to be put in at most, which in a zone of a million names takes about half a
/// millisecond.
const SLICE: usize = 16;
/// Of the time in which slice follows slice the keeper spends one part in so many on them. The rest is left to the queries; still a
/// million names, all due at once after a jump of the clock, are signed within minutes.
const PARTS: u32 = 4;
/// A slice that has not come back by then will not.
const LOST: Duration = Duration::from_secs(60);

/// Owners of one zone that are due.
struct Due {
    image: Arc<ZoneImage>,
    signer: Arc<Signer>,
    owners: Vec<OwnerHash>,
    now_s: u32,
}

/// Owners of one zone with new signatures.
pub(super) struct Renewed {
    apex: Name,
    /// What signed them: they are good for a zone that has it still.
    signer: Arc<Signer>,
    owners: Vec<OwnerRecords>,
}

/// The thread that signs, as the keeper sees it.
pub(super) struct Renewer {
    sender: Option<Sender<Vec<Due>>>,
    /// Since when a slice is being signed.
    busy: Option<Instant>,
    /// When signatures are looked at next.
    pub(super) at: Instant,
}

impl Renewer {
    /// Starts the thread. It ends with this struct.
    pub(super) fn start(handle: KeeperHandle) -> Self {
        let (sender, receiver) = channel();
        let spawned =
            std::thread::Builder::new().name("renewals".into()).spawn(move || work(&receiver, &handle));
        if let Err(e) = &spawned {
            warn!(error = %e, "signatures are renewed on the keeper's own thread: no other could be started");
        }
        Self { sender: spawned.is_ok().then_some(sender), busy: None, at: Instant::now() }
    }
}

fn work(receiver: &Receiver<Vec<Due>>, handle: &KeeperHandle) {
    give_way();
    for slice in receiver {
        handle.send(Command::Renewed(slice.into_iter().map(Due::sign).collect()));
    }
}

impl Due {
    fn sign(self) -> Renewed {
        let Self { image, signer, owners, now_s } = self;
        let mut done = Vec::with_capacity(owners.len());
        for before in owners.iter().flat_map(|hash| image.owners_of_hash(*hash)) {
            let (name, place) = (before.name.clone(), signed_place(&before, image.apex()));
            // The apex's SOA is signed with the commit, under its new serial.
            match assemble(unchanged_job(before, place), Some(&signer), now_s) {
                Ok(assembled) => done.push(assembled.records),
                // The commit tries again, and tells what becomes of it.
                Err(e) => error!(owner = %name, error = %e, "signatures are not renewed"),
            }
        }
        Renewed { apex: image.apex().clone(), signer, owners: done }
    }
}

impl Keeper {
    /// Hands out a slice of the owners whose signatures are due.
    pub(super) fn renew(&mut self) {
        self.renewer.at = Instant::now() + TICK;
        self.watch_clock();
        if self.renewer.busy.is_some_and(|since| since.elapsed() < LOST) {
            return;
        }
        let now_s = (self.tools.now_s)();
        let mut left = SLICE;
        let mut slice = Vec::new();
        for entry in self.zones.values_mut() {
            let Entry::Serving(zone) = entry else { continue };
            let owners = zone.schedule.take_due(now_s, left);
            left -= owners.len();
            if let Some(signer) = zone.signer.clone().filter(|_| !owners.is_empty()) {
                slice.push(Due { image: Arc::clone(&zone.image), signer, owners, now_s });
            }
        }
        if slice.is_empty() {
            return;
        }
        let refused = match &self.renewer.sender {
            Some(sender) => sender.send(slice).err().map(|refused| refused.0),
            None => Some(slice),
        };
        match refused {
            None => self.renewer.busy = Some(Instant::now()),
            // No thread, or one that ended by a panic.
            Some(slice) => {
                self.renewer.sender = None;
                self.put_renewed(slice.into_iter().map(Due::sign).collect());
            }
        }
    }

    /// Says what only the clock explains.
    fn watch_clock(&mut self) {
        let now_s = (self.tools.now_s)();
        match self.clock.look(now_s, self.started.elapsed()) {
            None => {}
            Some(Trouble::Impossible) => error!(
                now_s,
                "the clock cannot be right: what is signed now validators refuse; once it is set, all of it is signed anew"
            ),
            Some(Trouble::Stepped(seconds)) => warn!(
                seconds,
                "the clock was set, or the machine slept: signatures that are due by the new time, or start after it, are made anew"
            ),
        }
    }

    /// Puts in what was signed, and says when the next slice is.
    pub(super) fn put_renewed(&mut self, mut renewed: Vec<Renewed>) {
        let began = Instant::now();
        let jobs = |zone: &mut ZoneState, _| {
            let mine = renewed.iter().position(|r| r.apex == *zone.apex());
            Ok(mine.map(|i| zone.renewals(renewed.swap_remove(i))).unwrap_or_default())
        };
        self.transact(jobs, |_, _| {}, "", Crew { threads: 1 });
        self.renewer.busy = None;
        self.renewer.at = Instant::now() + began.elapsed() * (PARTS - 1);
    }
}

impl ZoneState {
    /// Jobs that put in new signatures of owners, where they still have the RRsets that were signed.
    fn renewals(&self, renewed: Renewed) -> Work {
        let is_mine = self.signer.as_ref().is_some_and(|signer| Arc::ptr_eq(signer, &renewed.signer));
        if !is_mine {
            // Replaced meanwhile; what is due of the new version is due there.
            return Work::default();
        }
        let apex = self.apex();
        let jobs = renewed.owners.into_iter().filter_map(|new| {
            let before = self.image.owner(&new.name)?;
            let place = signed_place(&before, apex);
            let mut job = unchanged_job(before, place);
            let signed: Vec<ServedRrset> = new.all_rrsets().cloned().collect();
            job.reusable.splice(..0, signed);
            Some(job)
        });
        jobs.collect::<Vec<_>>().into()
    }
}
