//! Serials that never go back, restarts included, without a disk on the way of a flip.
//!
//! A range of serials is reserved on disk ahead of use; a crash goes on after the range. Stopping in good order narrows the
//! range to the serial served and notes a digest of the zone, so that a restart with the same data keeps its serial. Room for the
//! ranges is kept on the disk, so that a full one does not keep them from being extended ([`Room`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::compile::SavedSerial;
use crate::model::name::Name;
use crate::model::serial::Serial;
use crate::state::room::Room;
use crate::state::{StateDir, Stored};

/// File in the state directory.
const FILE: &str = "zones.json";
/// Form of the file.
const VERSION: u32 = 1;
/// Serials reserved at once: an hour of one change a second.
const RESERVE: u32 = 3600;
/// The range is extended when fewer are left, long before it ends.
const EXTEND_BELOW: u32 = 1800;

/// What is kept of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// No serial after this one is served.
    reserved: u32,
    /// Digest of what was served under `reserved`, in hexadecimal; only after an orderly stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// See the module's documentation.
pub(super) struct Serials {
    disk: Option<Arc<Disk>>,
    zones: HashMap<Name, Kept>,
    writer: Option<Writer>,
}

/// Where the file is written, by one thread at a time.
struct Disk {
    state: Arc<StateDir>,
    room: Mutex<Room>,
    /// How the last try went: the log tells of a trouble once, and of its end.
    last: Mutex<Saved>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Saved {
    Whole,
    InRoom,
    Nowhere,
}

impl Disk {
    /// Whether the file was written.
    fn save(&self, octets: &[u8]) -> bool {
        let result = self.room.lock().unwrap_or_else(PoisonError::into_inner).save(&self.state, octets);
        let now = match &result {
            Ok(None) => Saved::Whole,
            Ok(Some(_)) => Saved::InRoom,
            Err(_) => Saved::Nowhere,
        };
        let before = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), now);
        match result {
            _ if before == now => {}
            Ok(None) => info!("serials are saved again"),
            Ok(Some(e)) => {
                warn!(error = %e, "serials are kept in the room beside their file, which is tried again");
            }
            Err(e) => {
                error!(error = %e, "serials are not saved, which is tried again: a crash now could repeat one");
            }
        }
        now == Saved::Whole
    }
}

/// What is done when a version is on the disk.
pub(super) type Then = Box<dyn FnOnce() + Send>;

/// Writes the file on a thread of its own; the newest version wins.
struct Writer {
    sender: Sender<(Vec<u8>, Option<Then>)>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(disk: Arc<Disk>) -> Option<Self> {
        let (sender, receiver) = channel::<(Vec<u8>, Option<Then>)>();
        let failed = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("serials".into()).spawn({
            let failed = Arc::clone(&failed);
            move || {
                while let Ok((mut version, then)) = receiver.recv() {
                    let mut waiting = Vec::from_iter(then);
                    while let Ok((newer, then)) = receiver.try_recv() {
                        version = newer;
                        waiting.extend(then);
                    }
                    let is_written = disk.save(&version);
                    // Also where it failed: a zone that is served is better than one that waits for a disk to be mended.
                    waiting.into_iter().for_each(|then| then());
                    if !is_written {
                        failed.store(true, Ordering::Release);
                        // A full disk stays full for a while; the next tick tries again.
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
            }
        });
        match thread {
            Ok(thread) => Some(Self { sender, failed, thread }),
            Err(e) => {
                error!(error = %e, "serials are saved at the stop only: no thread could be started");
                None
            }
        }
    }

    fn write(&self, version: Vec<u8>, then: Option<Then>) {
        // The thread ends only with this struct.
        let _ = self.sender.send((version, then));
    }

    fn finish(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            error!("the thread that saves serials has panicked");
        }
    }
}

impl Serials {
    /// Reads what an earlier run left. A file that cannot be used is reported and counts as absent.
    pub(super) fn open(state: Option<Arc<StateDir>>) -> Self {
        let mut zones = HashMap::new();
        if let Some(state) = &state {
            match state.read_blob(FILE, VERSION) {
                Ok(Stored::Good(octets)) => match serde_json::from_slice::<BTreeMap<String, Kept>>(&octets) {
                    Ok(saved) => {
                        let parsed =
                            saved.into_iter().map(|(zone, kept)| (Name::parse_absolute(&zone), kept));
                        zones.extend(parsed.filter_map(|(zone, kept)| Some((zone.ok()?, kept))));
                    }
                    Err(e) => {
                        error!(error = %e, "saved serials cannot be read; serials go on from the clock");
                    }
                },
                Ok(Stored::Absent) => {}
                Ok(Stored::SetAside(problem)) => error!("{problem}; serials go on from the clock"),
                Err(e) => error!("{e}; serials go on from the clock"),
            }
        }
        let disk = state.map(|state| {
            let (room, found) = Room::open(&state, FILE, VERSION);
            found.iter().for_each(|octets| add_ranges(&mut zones, octets));
            Arc::new(Disk { state, room: Mutex::new(room), last: Mutex::new(Saved::Whole) })
        });
        let writer = disk.as_ref().and_then(|disk| Writer::start(Arc::clone(disk)));
        Self { disk, zones, writer }
    }

    /// What is known of each zone from an earlier run.
    pub(super) fn saved(&self) -> HashMap<Name, SavedSerial> {
        let known = self.zones.iter().map(|(zone, kept)| {
            let digest = kept.digest.as_deref().and_then(from_hex);
            (zone.clone(), SavedSerial { last: Some(Serial(kept.reserved)), digest })
        });
        known.collect()
    }

    /// Reserves ahead for zones that come near the end of their range, or whose next serial, which is the time if that is later than
    /// the serial after the present one, would. Does not wait for the disk.
    pub(super) fn tick<'z>(&mut self, serving: impl Iterator<Item = (&'z Name, Serial)>, now: Serial) {
        let failed = self.writer.as_ref().is_some_and(|w| w.failed.swap(false, Ordering::AcqRel));
        let next = serving.map(|(apex, serial)| (apex, if now.is_after(serial) { now } else { serial }));
        if (self.reserve(next) || failed)
            && let Some(writer) = &self.writer
        {
            writer.write(self.encode(), None);
        }
    }

    /// Reserves ahead of these serials; whether that is still to be written. Nothing may be served before its serial is reserved.
    pub(super) fn reserve<'z>(&mut self, serials: impl Iterator<Item = (&'z Name, Serial)>) -> bool {
        let mut is_changed = false;
        for (apex, serial) in serials {
            is_changed |= self.extend(apex, serial);
        }
        is_changed && self.disk.is_some()
    }

    /// As [`Serials::reserve`], and waits for the disk.
    pub(super) fn reserve_now<'z>(&mut self, serials: impl Iterator<Item = (&'z Name, Serial)>) {
        if self.reserve(serials) {
            self.write_now();
        }
    }

    /// Writes what is reserved, and calls `then` when that is done, on another thread if there is one.
    pub(super) fn write_and_then(&self, then: Then) {
        match &self.writer {
            Some(writer) => writer.write(self.encode(), Some(then)),
            None => {
                self.write_now();
                then();
            }
        }
    }

    fn extend(&mut self, apex: &Name, serial: Serial) -> bool {
        let is_enough = |kept: &Kept| {
            kept.digest.is_none() && (EXTEND_BELOW..=RESERVE).contains(&kept.reserved.wrapping_sub(serial.0))
        };
        if self.zones.get(apex).is_some_and(is_enough) {
            return false;
        }
        self.zones.insert(apex.clone(), Kept { reserved: serial.0.wrapping_add(RESERVE), digest: None });
        true
    }

    /// Narrows every range to what is served, with its digest: an orderly stop. If that cannot be written, the ranges on disk
    /// still hold.
    pub(super) fn close(&mut self, zones: impl Iterator<Item = (Name, Serial, [u8; 32])>) {
        for (apex, serial, digest) in zones {
            self.zones.insert(apex, Kept { reserved: serial.0, digest: Some(to_hex(&digest)) });
        }
        // The writer's queue must not overtake this.
        if let Some(writer) = self.writer.take() {
            writer.finish();
        }
        self.write_now();
    }

    fn write_now(&self) {
        if let Some(disk) = &self.disk {
            disk.save(&self.encode());
        }
    }

    fn encode(&self) -> Vec<u8> {
        let sorted: BTreeMap<String, &Kept> =
            self.zones.iter().map(|(zone, kept)| (zone.to_string(), kept)).collect();
        // Maps of strings and numbers always encode.
        serde_json::to_vec_pretty(&sorted).unwrap_or_default()
    }
}

/// Adds what was kept while the file could not be written: a serial that may have been used in either is not used again.
fn add_ranges(zones: &mut HashMap<Name, Kept>, octets: &[u8]) {
    let Ok(found) = serde_json::from_slice::<BTreeMap<String, Kept>>(octets) else { return };
    for (zone, kept) in found {
        let Ok(zone) = Name::parse_absolute(&zone) else { continue };
        let known = zones.entry(zone).or_insert_with(|| kept.clone());
        if Serial(kept.reserved).is_after(Serial(known.reserved)) {
            *known = kept;
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}
