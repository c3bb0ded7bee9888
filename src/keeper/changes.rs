//! What has changed of the records that are served, record by record: what a reload prints, and a line of the log for each.
//!
//! The lines of commits are written by a thread of their own. The keeper gives it the images before and after with the names it has touched,
//! so that it neither formats records nor waits for whoever reads the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{Level, enabled, info, warn};

use super::zone_state::ZoneState;
use crate::model::discovered::{Origin, namespace_of};
use crate::model::lines::Lines;
use crate::model::name::Name;
use crate::model::rdata::to_text;
use crate::model::rrtype::RrType;
use crate::snapshot::ZoneImage;
use crate::snapshot::image::OwnerRecords;

/// Records of one zone that a reload tells one by one.
pub const TOLD: usize = 50;
/// Owners of one commit whose records are told one by one.
const OWNERS: usize = 512;
/// Commits that wait to be told.
const WAITING: usize = 128;
/// Lines in a second.
const LINES: usize = 1000;
/// How often it is looked whether lines were left out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A record that came or went. One whose TTL has changed did both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// Its owner.
    pub name: Name,
    /// Whether it came.
    pub is_new: bool,
    /// Its type.
    pub rtype: RrType,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data in presentation format.
    pub data: String,
    /// The object that the owner was discovered from, if it was.
    pub origin: Option<Origin>,
}

/// `+ www.example.test. 300 A 192.0.2.1`
impl std::fmt::Display for RecordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, rtype, ttl, data, .. } = self;
        write!(f, "{} {name} {ttl} {rtype} {data}", if self.is_new { '+' } else { '-' })
    }
}

/// The records in which two versions of a zone differ: those that people or sources wrote, and neither SOA nor what signing makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordChanges {
    /// How many came.
    pub added: usize,
    /// How many went.
    pub removed: usize,
    /// The first of them, at most [`TOLD`].
    pub told: Vec<RecordChange>,
}

impl RecordChanges {
    /// Adds what differs between two versions of an owner.
    pub(super) fn add(&mut self, before: Option<&OwnerRecords>, after: Option<&OwnerRecords>) {
        let Some(name) = after.or(before).map(|records| &records.name) else { return };
        let (old, new) = (records(before), records(after));
        let mut tell = |is_new: bool, (rtype, data): (RrType, &[u8]), ttl: u32| {
            *(if is_new { &mut self.added } else { &mut self.removed }) += 1;
            if self.told.len() < TOLD {
                let (name, data) = (name.clone(), to_text(rtype, data));
                self.told.push(RecordChange { name, is_new, rtype, ttl, data, origin: None });
            }
        };
        for (record, ttl) in old.iter().filter(|(record, ttl)| new.get(*record) != Some(ttl)) {
            tell(false, *record, *ttl);
        }
        for (record, ttl) in new.iter().filter(|(record, ttl)| old.get(*record) != Some(ttl)) {
            tell(true, *record, *ttl);
        }
    }

    /// Adds the owners of one image that another one lacks.
    pub(super) fn add_gone(&mut self, before: &ZoneImage, after: &ZoneImage) {
        for owner in (0..before.parts()).flat_map(|part| before.owners_of_part(part)) {
            if after.owner(&owner.name).is_none() {
                self.add(Some(&owner), None);
            }
        }
    }

    /// Adds what another part of the zone differs in.
    pub(super) fn merge(&mut self, other: &mut Self) {
        self.added += other.added;
        self.removed += other.removed;
        self.told.append(&mut other.told);
        self.told.sort_by(|a, b| a.name.cmp(&b.name));
        self.told.truncate(TOLD);
    }

    /// Finds out where owners come from.
    pub(super) fn trace(&mut self, zone: &ZoneState) {
        for change in &mut self.told {
            change.origin = origin(zone, &change.name);
        }
    }

    /// One line of the log for each that is told.
    pub(super) fn log(&self, zone: &Name, file: &Path, why: &str) {
        self.told.iter().for_each(|change| log(change, zone, file, why));
        let left_out = (self.added + self.removed).saturating_sub(self.told.len());
        if left_out > 0 {
            info!(%zone, records = left_out, why, "so many more records changed");
        }
    }
}

/// Each record with its TTL. What Hale makes itself is left out: each change of a zone changes it.
fn records(owner: Option<&OwnerRecords>) -> BTreeMap<(RrType, &[u8]), u32> {
    let is_written = |rtype: RrType| !matches!(rtype, RrType::SOA | RrType::NSEC);
    let rrsets = owner.into_iter().flat_map(OwnerRecords::all_rrsets).map(|served| &served.rrset);
    let rrsets = rrsets.filter(|rrset| is_written(rrset.rtype));
    rrsets.flat_map(|r| r.rdata.iter().map(|rdata| ((r.rtype, rdata), r.ttl))).collect()
}

fn origin(zone: &ZoneState, name: &Name) -> Option<Origin> {
    zone.folded.get(name)?.wanted.as_ref()?.origins.first().cloned()
}

fn log(change: &RecordChange, zone: &Name, file: &Path, why: &str) {
    let RecordChange { name, rtype, ttl, data, origin, .. } = change;
    let file = file.to_string_lossy();
    let (source, resource) = match origin {
        Some(Origin { source, object }) => (&**source, &**object),
        None => ("file", &*file),
    };
    let namespace = if origin.is_some() { namespace_of(resource) } else { "" };
    let message = if change.is_new { "record added" } else { "record removed" };
    info!(hostname = %name, %zone, namespace, resource, source, "type" = %rtype, ttl, data, why, "{message}");
}

/// A commit whose changes are to be told.
pub(super) struct Commit {
    before: Arc<ZoneImage>,
    after: Arc<ZoneImage>,
    file: PathBuf,
    names: Vec<(Name, Option<Origin>)>,
    left_out: usize,
    why: &'static str,
}

impl Commit {
    /// What a zone's commit did to these owners; `before` is the image that it replaced.
    pub(super) fn new<'n>(
        before: Arc<ZoneImage>,
        zone: &ZoneState,
        names: impl Iterator<Item = &'n Name>,
        why: &'static str,
    ) -> Self {
        let mut names = names;
        let told = names.by_ref().take(OWNERS).map(|name| (name.clone(), origin(zone, name))).collect();
        let (after, file) = (Arc::clone(&zone.image), zone.file.clone());
        Self { before, after, file, names: told, left_out: names.count(), why }
    }
}

/// Writes a line for each record that commits change.
pub(super) struct ChangeLog {
    sender: Option<SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
    /// Commits that found no room.
    missed: usize,
}

impl ChangeLog {
    /// Starts the thread, if the log has such lines at all. Without a thread there are no lines, and that is said.
    pub(super) fn start() -> Self {
        if !enabled!(Level::INFO) {
            return Self { sender: None, thread: None, missed: 0 };
        }
        let (sender, commits) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("changes".into()).spawn(move || write(&commits));
        let thread = thread
            .inspect_err(|error| warn!(%error, "no thread for it: changed records are not logged"))
            .ok();
        Self { sender: thread.is_some().then_some(sender), thread, missed: 0 }
    }

    /// Whether anybody reads what [`ChangeLog::tell`] is given.
    pub(super) fn is_read(&self) -> bool {
        self.sender.is_some()
    }

    /// Has it told. Never waits: what finds no room is only counted.
    pub(super) fn tell(&mut self, mut commit: Commit) {
        let Some(sender) = &self.sender else { return };
        commit.left_out += std::mem::take(&mut self.missed);
        if let Err(TrySendError::Full(commit)) = sender.try_send(commit) {
            self.missed = commit.left_out + commit.names.len();
        }
    }
}

/// Waits for the last lines.
impl Drop for ChangeLog {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told, and costs lines only.
            let _ = thread.join();
        }
    }
}

fn write(commits: &Receiver<Commit>) {
    let (started, mut lines, mut left_out) = (Instant::now(), Lines::new(LINES), 0);
    loop {
        let now_ms = started.elapsed().as_millis() as u64;
        match commits.recv_timeout(LOOK_EVERY) {
            Ok(commit) => left_out += tell(commit, &mut lines, now_ms),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(records) = lines.left_out(now_ms) {
            info!(records, "so many more records changed");
        }
        if left_out > 0 {
            info!(names = std::mem::take(&mut left_out), "so many more names may have changed");
        }
    }
}

/// Returns how many names it does not tell of.
fn tell(commit: Commit, lines: &mut Lines, now_ms: u64) -> usize {
    let Commit { before, after, file, names, left_out, why } = commit;
    for (name, origin) in names {
        let mut changes = RecordChanges::default();
        changes.add(before.owner(&name).as_ref(), after.owner(&name).as_ref());
        let granted = lines.grant(now_ms, changes.told.len());
        for mut change in changes.told.into_iter().take(granted) {
            change.origin.clone_from(&origin);
            log(&change, after.apex(), &file, why);
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rrset::{RdataSet, Rrset};
    use crate::snapshot::image::{Note, ServedRrset};

    fn owner(rrsets: &[(RrType, u32, &[&[u8]])]) -> OwnerRecords {
        let served = |(rtype, ttl, data): &(RrType, u32, &[&[u8]])| ServedRrset {
            rrset: Rrset { rtype: *rtype, ttl: *ttl, rdata: RdataSet::new(data.iter()) },
            signatures: RdataSet::default(),
            rotate: false,
            note: Note::None,
        };
        OwnerRecords {
            name: Name::parse_absolute("www.example.test").unwrap(),
            rrsets: rrsets.iter().map(served).collect(),
            choices: Vec::new(),
            pending: Vec::new(),
            withheld: Vec::new(),
        }
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_its_record_and_where_that_comes_from_as_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
        let origin =
            |source: &str, object: &str| Some(Origin { source: source.into(), object: object.into() });
        let change = |is_new, origin| RecordChange {
            name: Name::parse_absolute("www.example.test").unwrap(),
            is_new,
            rtype: RrType::A,
            ttl: 60,
            data: "192.0.2.1".to_owned(),
            origin,
        };
        let zone = Name::parse_absolute("example.test").unwrap();
        tracing::subscriber::with_default(lines.finish(), || {
            let file = Path::new("zones/example.json");
            log(&change(true, origin("prod", "ingress/team-a/shop")), &zone, file, "discovery");
            log(&change(false, origin("edge", "router/shop@docker")), &zone, file, "health");
            log(&change(true, None), &zone, file, "reload");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let read = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (&line["hostname"], &line["zone"], &line["type"], &line["data"], &line["ttl"]),
                (
                    &"www.example.test.".into(),
                    &"example.test.".into(),
                    &"A".into(),
                    &"192.0.2.1".into(),
                    &60.into()
                )
            );
            ["message", "source", "namespace", "resource", "why"]
                .map(|field| line[field].as_str().unwrap().to_owned())
        };
        assert_eq!(
            text.lines().map(read).collect::<Vec<_>>(),
            [
                ["record added", "prod", "team-a", "ingress/team-a/shop", "discovery"],
                ["record removed", "edge", "docker", "router/shop@docker", "health"],
                ["record added", "file", "", "zones/example.json", "reload"],
            ]
        );
    }

    #[test]
    fn records_that_come_and_go() {
        let check = |before: Option<OwnerRecords>, after: Option<OwnerRecords>, want: &[&str]| {
            let mut changes = RecordChanges::default();
            changes.add(before.as_ref(), after.as_ref());
            let told: Vec<String> = changes.told.iter().map(ToString::to_string).collect();
            assert_eq!(told, want);
            assert_eq!(changes.added + changes.removed, want.len());
        };
        let a = |ttl, data: &[&[u8]]| owner(&[(RrType::A, ttl, data), (RrType::SOA, 1, &[&[ttl as u8]])]);
        let (one, two): (&[u8], &[u8]) = (&[192, 0, 2, 1], &[192, 0, 2, 2]);
        check(Some(a(5, &[one])), Some(a(5, &[one])), &[]);
        check(Some(a(5, &[one])), Some(a(5, &[one, two])), &["+ www.example.test. 5 A 192.0.2.2"]);
        check(
            Some(a(5, &[one])),
            Some(a(6, &[one])),
            &["- www.example.test. 5 A 192.0.2.1", "+ www.example.test. 6 A 192.0.2.1"],
        );
        check(None, Some(a(5, &[one])), &["+ www.example.test. 5 A 192.0.2.1"]);
        check(Some(a(5, &[one])), None, &["- www.example.test. 5 A 192.0.2.1"]);
        check(None, None, &[]);
    }

    #[test]
    fn what_is_told_is_bounded_and_what_is_counted_is_not() {
        let many: Vec<[u8; 4]> = (0..200).map(|i| [10, 0, 0, i]).collect();
        let many: Vec<&[u8]> = many.iter().map(|a| &a[..]).collect();
        let mut all = RecordChanges::default();
        for _ in 0..2 {
            let mut changes = RecordChanges::default();
            changes.add(None, Some(&owner(&[(RrType::A, 5, &many)])));
            all.merge(&mut changes);
        }
        assert_eq!((all.added, all.told.len()), (400, TOLD));
    }
}
