//! The first stage of building a zone, off the keeper's thread: read the file, lay out the desired zone, load its keys and hold
//! its targets. The second is `compile`.
//!
//! The two stand apart because at start the first round of probes runs between them, so that a zone is signed once and not
//! first without and then with its addresses.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tracing::error;

use super::fold::FoldedOwner;
use super::reload::lock;
use super::targets::TargetRegistry;
use super::zone_state::CheckedOwner;
use super::zoning::{Discovered, Resolved};
use crate::config::{Dnssec, KeySource, OwnerConfig, PolicyLimits, Shared, ZoneHeader, ZoneReader, input};
use crate::dnssec::keys::ZoneKeys;
use crate::dnssec::sign::{SignatureFigures, Signer};
use crate::model::board::VerdictBoard;
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::events::Events;
use crate::model::hash::HashKey;
use crate::model::name::Name;
use crate::model::overrides::Overrides;
use crate::model::rdata;
use crate::model::target::{EndpointData, TargetId};
use crate::state::StateDir;
use crate::state::choices::Choices;
use crate::state::signed::{Past, SignedZones};
use crate::zone;
use crate::zone::desired::DesiredZone;
use crate::zone::follow::{self, Follow};

/// A zone's JSON, and what stands around it.
#[derive(Clone, Debug)]
pub struct ZoneSource {
    /// Where the JSON comes from.
    pub place: ZonePlace,
    /// What `hale.json` gives to all zones.
    pub shared: Arc<Shared>,
}

/// Where a zone's JSON comes from.
#[derive(Clone, Debug)]
pub enum ZonePlace {
    /// A file.
    File(PathBuf),
    /// Flags or variables: what to call it in diagnostics, and the JSON they amount to.
    Inline(PathBuf, String),
}

/// A zone that nothing is shared with.
impl From<ZonePlace> for ZoneSource {
    fn from(place: ZonePlace) -> Self {
        Self { place, shared: Arc::default() }
    }
}

impl ZoneSource {
    /// The file, or the label in its place.
    pub fn label(&self) -> &Path {
        match &self.place {
            ZonePlace::File(path) | ZonePlace::Inline(path, _) => path,
        }
    }

    fn is_missing(&self) -> bool {
        matches!(&self.place, ZonePlace::File(path) if !path.exists())
    }

    fn text(&self) -> Option<String> {
        match &self.place {
            ZonePlace::File(path) => input::read_text(path, input::LARGEST).ok(),
            ZonePlace::Inline(_, text) => Some(text.clone()),
        }
    }

    fn open(&self) -> Result<ZoneReader, Vec<Diagnostic>> {
        match &self.place {
            ZonePlace::File(path) => ZoneReader::open(path, &self.shared),
            ZonePlace::Inline(label, text) => ZoneReader::from_text(label, text.clone(), &self.shared),
        }
    }
}

/// Where an endpoint stands in a zone file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPlace {
    /// What it publishes.
    pub data: EndpointData,
    /// File, line, column and JSON path.
    pub place: String,
}

impl ZoneSource {
    /// Where the endpoints of an owner of the zone `apex` stand, in the order written, by the file as it is now; none where it cannot be
    /// read. Reads the file through: for people who ask.
    pub fn endpoint_places(&self, apex: &Name, owner: &Name) -> Vec<EndpointPlace> {
        let Some(relative) = owner.relative_to(apex) else { return Vec::new() };
        let Ok(reader) = self.open() else { return Vec::new() };
        let mut places = Vec::new();
        let mut found = |config: OwnerConfig| {
            if config.relative != relative {
                return;
            }
            let mut add = |data: EndpointData, at: Position, path: &str| {
                let place = format!("{}:{}:{} {path}", self.label().display(), at.line, at.column);
                places.push(EndpointPlace { data, place });
            };
            for (endpoint, (at, path)) in config.endpoints.into_iter().zip(&config.endpoint_places) {
                add(endpoint.data, *at, path);
            }
            for (rtype, text) in config.rrsets.iter().flat_map(|set| set.data.iter().map(|t| (set.rtype, t)))
            {
                if let Ok(rdata) = rdata::parse(rtype, &text.text, apex) {
                    add(EndpointData::Record { rtype, rdata: rdata.into() }, text.position, &text.path);
                }
            }
        };
        reader.owners(&mut found, &mut Vec::new());
        places
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
    /// What people say, as of when a builder began.
    pub overrides: Arc<Overrides>,
    /// What sources have discovered, as of when a builder began.
    pub discovered: Arc<Discovered>,
    /// What host names of ALIAS records were resolved to, likewise.
    pub resolved: Arc<Resolved>,
    /// The folders and files that keys were read from, whether there were any or not.
    pub keys_read: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// What pools that stay with their choice use, for reloads and restarts.
    pub choices: Arc<Choices>,
    /// Where those who watch are told what happens.
    pub events: Arc<Events>,
    /// Where signers count.
    pub signatures: Arc<SignatureFigures>,
    /// Threads that read, sign and compile.
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
    /// Owners that something was discovered for.
    pub folded: HashMap<Name, FoldedOwner>,
    /// TTL of what has none of its own, in seconds. Of the DNSKEY, CDS and CDNSKEY RRsets too: the SOA's may be as short as a probe's
    /// interval.
    pub default_ttl: u32,
    /// What the policy of a discovered name may come to.
    pub policy_limits: PolicyLimits,
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
    /// Whether the file is not there at all.
    pub is_missing: bool,
    /// A layout for each apex, or nothing if there is any error.
    pub layouts: Vec<Layout>,
    /// Which names its owners follow.
    pub follows: Vec<Follow>,
    /// Errors, and warnings that do not keep it from being served.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// Whether it can be served.
    pub(super) fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// The apex that a file seems to be about although it cannot be read as a zone: a broken zone is answered SERVFAIL, so that
/// resolvers try another server, and not REFUSED.
fn salvage_apex(text: &str) -> Option<Name> {
    let (_, rest) = text.split_once("\"zone\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let (apex, _) = rest.split_once('"')?;
    Name::parse_absolute(apex).ok()
}

/// Reads one zone file and lays out its zones. `is_signed` tells whether a zone is served signed now.
pub(super) fn read(source: &ZoneSource, workshop: &Workshop, is_signed: &dyn Fn(&Name) -> bool) -> Reading {
    let mut reading = Reading {
        file: source.label().to_owned(),
        apexes: Vec::new(),
        is_missing: source.is_missing(),
        layouts: Vec::new(),
        follows: Vec::new(),
        diagnostics: Vec::new(),
    };
    let reader = match source.open() {
        Ok(reader) => reader,
        Err(errors) => {
            reading.diagnostics = errors;
            reading.apexes.extend(source.text().and_then(|text| salvage_apex(&text)));
            return reading;
        }
    };
    reading.diagnostics.extend_from_slice(reader.findings());
    let header = reader.header();
    reading.apexes = std::iter::once(&header.apex).chain(&header.alias_zones).cloned().collect();
    let mut laid_out = Vec::new();
    for (i, apex) in reading.apexes.iter().enumerate() {
        let (desired, mut found) = zone::build::read(&reader, apex, workshop.threads);
        let past = if is_signed(apex) { Past::Signed } else { workshop.past(apex) };
        let signer = load_signer(header, apex, workshop, past, &mut found);
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
        reading.follows.extend(follow::follows(&desired, &header.file));
        let checked = hold_targets(&mut desired, &workshop.registry);
        reading.layouts.push(Layout {
            file: header.file.clone(),
            alias_of,
            desired,
            checked,
            folded: HashMap::new(),
            default_ttl: header.default_ttl,
            policy_limits: header.policy_limits,
            signer,
        });
    }
    reading
}

/// Folder of `"auto"` keys in the state directory.
const AUTO_KEYS: &str = "keys";

impl Workshop {
    /// Whether the zone was served signed, by this run or an earlier one.
    fn past(&self, apex: &Name) -> Past {
        self.signed.as_ref().map_or(Past::Unsigned, |signed| signed.past(apex))
    }

    /// Notes durably that a zone is served signed, or, after `"off"`, that it no longer is.
    pub(super) fn note_signed(&self, apex: &Name, is_signed: bool) {
        let Some(signed) = &self.signed else { return };
        if (signed.past(apex) == Past::Signed) == is_signed {
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
    past: Past,
    found: &mut Vec<Diagnostic>,
) -> Option<Arc<Signer>> {
    let config = match &header.dnssec {
        Dnssec::On(config) => config,
        Dnssec::Off => return None,
        Dnssec::Absent => {
            found.extend(without_block(header, apex, past));
            return None;
        }
    };
    let auto_keys = workshop.state.as_ref().map(|state| state.path().join(AUTO_KEYS));
    if let (KeySource::Auto, Some(keys), Past::Signed) = (&config.keys, &auto_keys, past) {
        // Making one here would be taken for a first start, and break the chain from the parent's DS record.
        if let Some(folder) = ZoneKeys::missing_auto_folder(keys, apex) {
            found.push(
                Diagnostic::error(&folder, format!("{apex} was served signed, and its keys are gone"))
                    .hint("restore the folder from a backup; `hale keys generate` makes a new key, whose DS record the parent zone must have first"),
            );
            return None;
        }
    }
    lock(&workshop.keys_read).extend(ZoneKeys::places(&config.keys, apex));
    match ZoneKeys::load(&config.keys, apex, auto_keys.as_deref()) {
        Ok((keys, mut warnings)) => {
            found.append(&mut warnings);
            let signer = Signer::new(Arc::new(keys), config.signature_validity, config.refresh);
            Some(Arc::new(signer.counted_in(&workshop.signatures)))
        }
        Err(mut errors) => {
            found.append(&mut errors);
            None
        }
    }
}

/// Why a zone without a `dnssec` block is not served unsigned, if it is not.
fn without_block(header: &ZoneHeader, apex: &Name, past: Past) -> Option<Diagnostic> {
    let (what, hint) = match past {
        Past::Unsigned => return None,
        Past::Signed => (
            "was served signed, and now has no \"dnssec\" block",
            "write \"dnssec\": \"off\" once the DS record is gone from the parent zone",
        ),
        Past::Unknown => (
            "has no \"dnssec\" block, and whether it was served signed is not known: the state files that said so were damaged",
            "write \"dnssec\": \"off\" if the parent zone has no DS record of it, else put the block back",
        ),
    };
    Some(Diagnostic::error(&header.file, format!("{apex} {what}")).hint(hint))
}

/// Takes the checked records out of the desired zone and holds their targets.
fn hold_targets(desired: &mut DesiredZone, registry: &Mutex<TargetRegistry>) -> HashMap<Name, CheckedOwner> {
    let mut registry = lock(registry);
    let mut checked = HashMap::new();
    for (name, owner) in desired.owners.owners_mut() {
        let Some(records) = owner.checked.take() else { continue };
        checked.insert(name.clone(), CheckedOwner::hold(records, owner.place, &mut registry));
    }
    checked
}

impl Layout {
    /// The targets it holds.
    pub(super) fn held_targets(&self) -> Vec<TargetId> {
        self.checked.values().flat_map(CheckedOwner::targets).collect()
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
