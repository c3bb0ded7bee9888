//! Builds whole zones off the keeper's thread: read the file, lay out the desired zone, and later select, sign and compile it.
//!
//! The two stages stand apart because at start the first round of probes runs between them, so that a zone is signed
//! once and not first without and then with its addresses.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tracing::error;

use super::assemble::{Job, assemble_all, nsec_over, plain};
use super::channel::OwnerCounts;
use super::comparison::{Comparison, Difference};
use super::reload::lock;
use super::targets::TargetRegistry;
use super::zone_state::{CheckedOwner, TransactionError, ZoneState, soa_rrset};
use crate::config::{Dnssec, ZoneHeader, ZoneReader};
use crate::dnssec::cache::SignatureCache;
use crate::dnssec::keys::ZoneKeys;
use crate::dnssec::schedule::Schedule;
use crate::dnssec::sign::Signer;
use crate::model::board::VerdictBoard;
use crate::model::diagnostic::Diagnostic;
use crate::model::hash::HashKey;
use crate::model::name::Name;
use crate::model::rrset::Rrset;
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::TargetId;
use crate::snapshot::ZoneDraft;
use crate::snapshot::ZoneImage;
use crate::snapshot::image::{OwnerRecords, ServedRrset};
use crate::state::StateDir;
use crate::state::signed::SignedZones;
use crate::zone::build::Builder;
use crate::zone::desired::{DesiredOwner, DesiredZone, Place};
use crate::zone::serial;

/// Where a zone's JSON comes from.
#[derive(Clone, Debug)]
pub enum ZoneSource {
    /// A file.
    File(PathBuf),
    /// Flags or variables: what to call it in diagnostics, and the JSON they amount to.
    Inline(PathBuf, String),
}

impl ZoneSource {
    /// The file, or the label in its place.
    pub fn label(&self) -> &Path {
        match self {
            Self::File(path) | Self::Inline(path, _) => path,
        }
    }

    fn open(&self) -> Result<ZoneReader, Vec<Diagnostic>> {
        match self {
            Self::File(path) => ZoneReader::open(path),
            Self::Inline(label, text) => ZoneReader::from_text(label, text.clone()),
        }
    }
}

/// What builders share.
#[derive(Clone)]
pub struct Workshop {
    /// Numbers of targets.
    pub registry: Arc<Mutex<TargetRegistry>>,
    /// Verdicts.
    pub board: Arc<VerdictBoard>,
    /// Key of the name hash.
    pub hash_key: HashKey,
    /// The state directory: it holds the keys of `"auto"`.
    pub state: Option<Arc<StateDir>>,
    /// Which zones were ever served signed.
    pub signed: Option<Arc<SignedZones>>,
    /// Threads that sign.
    pub threads: usize,
}

/// A zone laid out but not yet selected, signed and compiled. Holds its targets.
#[derive(Debug)]
pub(super) struct Layout {
    /// The file or label it comes from.
    pub file: PathBuf,
    /// The zone that this one is an alias of.
    pub alias_of: Option<Name>,
    /// The desired zone.
    pub desired: DesiredZone,
    /// The owners that health decides about.
    pub checked: HashMap<Name, CheckedOwner>,
    /// Keys and validity; `None` for an unsigned zone.
    pub signer: Option<Arc<Signer>>,
}

/// The outcome of reading one zone file.
#[derive(Debug)]
pub(super) struct Reading {
    /// The file or label.
    pub file: PathBuf,
    /// The primary apex, if the file says so much, and those of its aliases.
    pub apexes: Vec<Name>,
    /// A layout for each apex, or nothing if there is any error.
    pub layouts: Vec<Layout>,
    /// Errors, and warnings that do not keep it from being served.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// Whether it can be served.
    pub(super) fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads one zone file and lays out its zones. `is_signed` tells whether a zone is served signed now.
pub(super) fn read(source: &ZoneSource, workshop: &Workshop, is_signed: &dyn Fn(&Name) -> bool) -> Reading {
    let mut reading = Reading {
        file: source.label().to_owned(),
        apexes: Vec::new(),
        layouts: Vec::new(),
        diagnostics: Vec::new(),
    };
    let reader = match source.open() {
        Ok(reader) => reader,
        Err(errors) => {
            reading.diagnostics = errors;
            return reading;
        }
    };
    let header = reader.header();
    reading.apexes = std::iter::once(&header.apex).chain(&header.alias_zones).cloned().collect();
    let mut laid_out = Vec::new();
    for (i, apex) in reading.apexes.iter().enumerate() {
        let mut found = Vec::new();
        let desired = lay_out(&reader, apex, &mut found);
        let signer =
            load_signer(header, apex, workshop, is_signed(apex) || workshop.was_signed(apex), &mut found);
        if i > 0 {
            // What is wrong with the file was said for the primary; an alias adds only what is wrong there alone.
            found.retain(|d| !reading.diagnostics.contains(d));
        }
        reading.diagnostics.append(&mut found);
        laid_out.push((desired, signer));
    }
    if !reading.is_good() {
        return reading;
    }
    for (desired, signer) in laid_out {
        let Some(mut desired) = desired else { continue };
        let alias_of = (desired.apex != header.apex).then(|| header.apex.clone());
        let checked = hold_targets(&mut desired, &workshop.registry);
        reading.layouts.push(Layout { file: header.file.clone(), alias_of, desired, checked, signer });
    }
    reading
}

fn lay_out(reader: &ZoneReader, apex: &Name, found: &mut Vec<Diagnostic>) -> Option<DesiredZone> {
    let mut builder = Builder::new(reader.header(), apex);
    reader.owners(&mut |owner| builder.owner(owner), found);
    match builder.finish() {
        Ok((zone, mut warnings)) => {
            found.append(&mut warnings);
            Some(zone)
        }
        Err(mut errors) => {
            found.append(&mut errors);
            None
        }
    }
}

/// Folder of `"auto"` keys in the state directory.
const AUTO_KEYS: &str = "keys";

impl Workshop {
    /// Whether the zone was served signed, by this run or an earlier one.
    fn was_signed(&self, apex: &Name) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.contains(apex))
    }

    /// Notes durably that a zone is served signed, or, after `"off"`, that it no longer is.
    pub(super) fn note_signed(&self, apex: &Name, is_signed: bool) {
        let Some(signed) = &self.signed else { return };
        if signed.contains(apex) == is_signed {
            return;
        }
        if let Err(e) = if is_signed { signed.insert(apex) } else { signed.remove(apex) } {
            error!(zone = %apex, error = %e, "whether the zone is signed is not noted: a later run would not guard it");
        }
    }
}

/// Loads the keys of a signed zone. Every trouble is an error: a zone that should be signed is never served unsigned.
fn load_signer(
    header: &ZoneHeader,
    apex: &Name,
    workshop: &Workshop,
    was_signed: bool,
    found: &mut Vec<Diagnostic>,
) -> Option<Arc<Signer>> {
    let config = match &header.dnssec {
        Dnssec::On(config) => config,
        Dnssec::Off => return None,
        Dnssec::Absent => {
            if was_signed {
                found.push(
                    Diagnostic::error(
                        &header.file,
                        format!("{apex} was served signed, and now has no \"dnssec\" block"),
                    )
                    .hint("write \"dnssec\": \"off\" once the DS record is gone from the parent zone"),
                );
            }
            return None;
        }
    };
    let auto_keys = workshop.state.as_ref().map(|state| state.path().join(AUTO_KEYS));
    match ZoneKeys::load(&config.keys, apex, auto_keys.as_deref()) {
        Ok((keys, mut warnings)) => {
            found.append(&mut warnings);
            Some(Arc::new(Signer::new(Arc::new(keys), config.signature_validity, config.refresh)))
        }
        Err(mut errors) => {
            found.append(&mut errors);
            None
        }
    }
}

/// Takes the checked addresses out of the desired zone and holds their targets.
fn hold_targets(desired: &mut DesiredZone, registry: &Mutex<TargetRegistry>) -> HashMap<Name, CheckedOwner> {
    let mut registry = lock(registry);
    let mut checked = HashMap::new();
    for (name, owner) in &mut desired.owners {
        let Some(addresses) = owner.checked.take() else { continue };
        let targets =
            addresses.endpoints.iter().map(|e| e.target.as_ref().map(|t| registry.hold(t))).collect();
        checked.insert(
            name.clone(),
            CheckedOwner { checked: addresses, targets, place: owner.place, last_good: None },
        );
    }
    checked
}

/// What an earlier version of the zone gives to the new one.
#[derive(Debug)]
pub(super) enum Earlier<'a> {
    /// The zone is served: its image has signatures to use again and a serial to go on from.
    Image(&'a Arc<ZoneImage>),
    /// The zone starts: signatures saved by an earlier run, and the serial to use if the data is that of `digest`, else one after `last`.
    Saved {
        /// Signatures; the cell, since looking one up moves it.
        signatures: RefCell<SignatureCache>,
        /// Serials and the digest of what was served.
        serial: SavedSerial,
    },
}

/// What is known of a zone's serial from an earlier run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SavedSerial {
    /// No serial after this one has been served.
    pub last: Option<Serial>,
    /// The digest of what was served under `last` when the server stopped in good order.
    pub digest: Option<[u8; 32]>,
}

/// Owners assembled at once: enough for all threads, and not a whole zone in its expanded form.
const BATCH: usize = 4096;

/// Selects, signs and compiles a zone. Without a difference to `earlier` the same image, or serial, comes back.
///
/// # Errors
/// Signing failed, or something does not fit a message; the layout's targets come back, to be released.
pub(super) fn compile(
    mut layout: Layout,
    earlier: &Earlier<'_>,
    workshop: &Workshop,
    now_s: u32,
) -> Result<ZoneState, (Vec<TargetId>, TransactionError)> {
    let Parts { image, schedule, difference } = match compile_parts(&mut layout, earlier, workshop, now_s) {
        Ok(parts) => parts,
        Err(e) => return Err((layout.held_targets(), e)),
    };
    let dependents = dependents(&layout.checked);
    Ok(ZoneState {
        file: layout.file,
        alias_of: layout.alias_of,
        soa: layout.desired.soa,
        signer: layout.signer,
        checked: layout.checked,
        dependents,
        schedule,
        cache: SignatureCache::default(),
        floor: image.serial(),
        image,
        difference,
        changed_s: now_s,
        trouble: None,
    })
}

impl Layout {
    /// The targets it holds.
    pub(super) fn held_targets(&self) -> Vec<TargetId> {
        self.checked.values().flat_map(|owner| owner.targets.iter().flatten().copied()).collect()
    }
}

/// Gives up holds on targets.
pub(super) fn release(workshop: &Workshop, targets: Vec<TargetId>) {
    let mut registry = lock(&workshop.registry);
    for id in targets {
        if registry.release(id) {
            workshop.board.forget(id);
        }
    }
}

/// Refuses every reading that names a zone which an earlier one names too.
pub(super) fn refuse_twins(readings: &mut [Reading], workshop: &Workshop) {
    let mut first: HashMap<Name, PathBuf> = HashMap::new();
    for reading in readings {
        let twin = reading.apexes.iter().find_map(|apex| Some((apex.clone(), first.get(apex)?.clone())));
        if let Some((apex, other)) = twin {
            let problem =
                Diagnostic::error(&reading.file, format!("{apex} is already a zone of {}", other.display()))
                    .hint("a zone stands in one file, and an alias zone in one alias_zones list");
            reading.diagnostics.push(problem);
            for layout in reading.layouts.drain(..) {
                release(workshop, layout.held_targets());
            }
            // The earlier file's zones are not this one's to break.
            reading.apexes.retain(|apex| !first.contains_key(apex));
        }
        for apex in &reading.apexes {
            first.entry(apex.clone()).or_insert_with(|| reading.file.clone());
        }
    }
}

struct Parts {
    image: Arc<ZoneImage>,
    schedule: Schedule,
    difference: OwnerCounts,
}

fn compile_parts(
    layout: &mut Layout,
    earlier: &Earlier<'_>,
    workshop: &Workshop,
    now_s: u32,
) -> Result<Parts, TransactionError> {
    let apex = layout.desired.apex.clone();
    let signer = layout.signer.clone();
    let mut draft = ZoneDraft::new(apex.clone(), workshop.hash_key);
    let mut schedule = Schedule::default();
    let mut comparison = Comparison::new(earlier);
    // Tried first: if nothing differs, this serial stays.
    let tentative = comparison.serial().unwrap_or(Serial(now_s));
    let soa = layout.desired.soa.clone();
    let chain = signer.is_some().then(|| chain(&layout.desired));
    let owners = std::mem::take(&mut layout.desired.owners);
    let mut owners = owners.into_iter().peekable();
    let mut in_chain = 0;
    let mut apex_records = None;
    while owners.peek().is_some() {
        let batch = owners.by_ref().take(BATCH).map(|(name, owner)| {
            let denial = chain.as_ref().filter(|_| owner.place != Place::Occluded).map(|chain| {
                in_chain += 1;
                (chain[in_chain % chain.len()].clone(), soa.minimum.min(soa.ttl))
            });
            first_job(name, owner, layout, workshop, (earlier, tentative, now_s), denial)
        });
        let jobs: Vec<Job> = batch.collect();
        for one in assemble_all(jobs, signer.as_deref(), now_s, workshop.threads)? {
            if let Some(due) = one.due {
                schedule.set(&one.records.name, due.inception_s, due.renew_at_s);
            }
            comparison.add(&one.records);
            draft.put(&one.records)?;
            if one.records.name == apex {
                apex_records = Some(one.records);
            }
        }
    }
    let (verdict, difference) = comparison.finish();
    match verdict {
        Difference::None(image) => return Ok(Parts { image, schedule, difference }),
        Difference::NotInData => {}
        Difference::Data { last } => {
            let serial = last.map_or(tentative, |last| serial::next(last, now_s));
            if let Some(mut records) = apex_records {
                replace_soa(&mut records, soa_rrset(&soa, serial), signer.as_deref(), now_s)?;
                draft.put(&records)?;
            }
        }
    }
    Ok(Parts { image: Arc::new(draft.finish()?), schedule, difference })
}

fn replace_soa(
    records: &mut OwnerRecords,
    rrset: Rrset,
    signer: Option<&Signer>,
    now_s: u32,
) -> Result<(), TransactionError> {
    let Some(served) = records.rrsets.iter_mut().find(|r| r.rrset.rtype == RrType::SOA) else {
        return Ok(());
    };
    if served.rrset != rrset {
        *served = plain(rrset);
        if let Some(signer) = signer {
            served.signatures = signer.sign(&records.name, &served.rrset, now_s)?.rrsigs;
        }
    }
    Ok(())
}

/// The owners of the NSEC chain in canonical order: all that are authoritative or a cut (RFC 4035 §2.3).
fn chain(desired: &DesiredZone) -> Vec<Name> {
    desired
        .owners
        .iter()
        .filter(|(_, owner)| owner.place != Place::Occluded)
        .map(|(name, _)| name.clone())
        .collect()
}

fn first_job(
    name: Name,
    owner: DesiredOwner,
    layout: &mut Layout,
    workshop: &Workshop,
    (earlier, serial, now_s): (&Earlier<'_>, Serial, u32),
    denial: Option<(Name, u32)>,
) -> Job {
    let mut rrsets: Vec<ServedRrset> = owner.rrsets.into_iter().map(plain).collect();
    if owner.place == Place::Apex {
        rrsets.push(plain(soa_rrset(&layout.desired.soa, serial)));
        if let Some(signer) = &layout.signer {
            let (keys, ttl) = (signer.keys(), layout.desired.soa.ttl);
            rrsets.extend([keys.dnskey(ttl), keys.cds(ttl), keys.cdnskey(ttl)].map(plain));
        }
    }
    let (mut pending, mut withheld) = (Vec::new(), Vec::new());
    if let Some(checked) = layout.checked.get_mut(&name) {
        let selection = checked.select(&workshop.board);
        rrsets.extend(checked.served(&selection));
        pending = selection.pending;
        withheld = selection.withheld;
    }
    let reusable = match earlier {
        Earlier::Image(image) => image.owner(&name).map(|before| before.rrsets).unwrap_or_default(),
        Earlier::Saved { signatures, .. } => {
            let nsec = denial.iter().map(|(next, ttl)| plain(nsec_over(next, &rrsets, &pending, *ttl)));
            let candidates = rrsets.iter().cloned().chain(nsec);
            let mut signatures = signatures.borrow_mut();
            let mut recall = |r: ServedRrset| {
                let signed = signatures.get(&layout.signer.as_ref()?.digest(&name, &r.rrset), now_s)?;
                Some(ServedRrset { signatures: signed.rrsigs.clone(), ..r })
            };
            candidates.filter_map(&mut recall).collect()
        }
    };
    Job { name, place: owner.place, rrsets, pending, withheld, denial, reusable, changes_data: true }
}

fn dependents(checked: &HashMap<Name, CheckedOwner>) -> HashMap<TargetId, Vec<Name>> {
    let mut dependents: HashMap<TargetId, Vec<Name>> = HashMap::new();
    for (name, owner) in checked {
        for id in owner.targets.iter().flatten() {
            dependents.entry(*id).or_default().push(name.clone());
        }
    }
    dependents
}
