//! The second stage of building a zone, off the keeper's thread: select by the present verdicts, sign, and compile to an image.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::assemble::{plain, soa_rrset};
use super::build::{Layout, Workshop};
use super::changes::RecordChanges;
use super::channel::OwnerCounts;
use super::comparison::{Comparison, Difference};
use super::overrides::overridden;
use super::pass::Pass;
use super::zone_state::{CheckedOwner, Remembered, TransactionError, ZoneState};
use crate::dnssec::cache::SignatureCache;
use crate::dnssec::key::{Key, key_tag};
use crate::dnssec::keys::ZoneKeys;
use crate::dnssec::saved::SavedSignatures;
use crate::dnssec::schedule::Schedule;
use crate::dnssec::sign::Signer;
use crate::model::name::Name;
use crate::model::rrset::Rrset;
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::TargetId;
use crate::snapshot::image::OwnerRecords;
use crate::snapshot::{self, ZoneDraft, ZoneImage};
use crate::zone::serial;

/// What an earlier version of the zone gives to the new one.
#[derive(Debug)]
pub(super) enum Earlier<'a> {
    /// The zone is served: its image has signatures to use again and a serial to go on from.
    Image {
        /// What is served.
        image: &'a Arc<ZoneImage>,
        /// What the image does not tell: see [`ZoneState::remembered`].
        remembered: &'a Remembered,
    },
    /// The zone starts: signatures saved by an earlier run, and the serial to use if the data is that of `digest`, else one after `last`.
    Saved {
        /// Signatures.
        signatures: SavedSignatures,
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
    let ground = layout.ground();
    let Parts { image, schedule, difference, records, turned } =
        match compile_parts(&mut layout, earlier, workshop, now_s) {
            Ok(parts) => parts,
            Err(e) => return Err((layout.held_targets(), e)),
        };
    let dependents = dependents(&layout.checked, &image);
    let overridden = overridden(&layout.checked, &layout.desired.apex, &workshop.overrides);
    Ok(ZoneState {
        file: layout.file,
        alias_of: layout.alias_of,
        soa: layout.desired.soa,
        signer: layout.signer,
        checked: layout.checked,
        dependents,
        overridden,
        folded: layout.folded,
        ground,
        overrides: Arc::clone(&workshop.overrides),
        choices: Arc::clone(&workshop.choices),
        schedule,
        cache: SignatureCache::default(),
        floor: image.serial(),
        image,
        difference,
        records,
        has_caught_up: false,
        turned,
        changed_s: now_s,
        trouble: None,
    })
}

struct Parts {
    image: Arc<ZoneImage>,
    schedule: Schedule,
    difference: OwnerCounts,
    records: RecordChanges,
    turned: HashSet<Name>,
}

fn compile_parts(
    layout: &mut Layout,
    earlier: &Earlier<'_>,
    workshop: &Workshop,
    now_s: u32,
) -> Result<Parts, TransactionError> {
    let owners = std::mem::take(&mut layout.desired.owners);
    let mut checked = std::mem::take(&mut layout.checked);
    let mut comparison = Comparison::new(earlier);
    // Tried first: if nothing differs, this serial stays.
    let tentative = comparison.serial().unwrap_or(Serial(now_s));
    let can_reuse = match (earlier, &layout.signer) {
        (Earlier::Image { image, .. }, Some(signer)) => tells_keys_apart(image, signer.keys()),
        _ => true,
    };
    let pass = Pass { layout, workshop, earlier, serial: tentative, now_s, can_reuse };
    let threads = pass.threads(owners.len());
    let done = pass.run(owners, &mut checked);
    layout.checked = checked;
    let (mut portions, mut schedule, mut apex) = (Vec::new(), Schedule::default(), None);
    let mut turned = HashSet::new();
    for mut part in done? {
        portions.push(part.portion);
        comparison.merge(&mut part.comparison);
        part.due.iter().for_each(|(owner, due)| schedule.set(*owner, due.inception_s, due.renew_at_s));
        apex = apex.or(part.apex);
        turned.extend(part.turned);
    }
    let (verdict, difference, mut records) = comparison.finish();
    let serial = match verdict {
        Difference::None(image) => return Ok(Parts { image, schedule, difference, records, turned }),
        Difference::NotInData => tentative,
        Difference::Data { last } => last.map_or(tentative, |last| serial::next(last, now_s)),
    };
    let zone = &layout.desired;
    let mut image = Arc::new(snapshot::join(&zone.apex, workshop.hash_key, portions, threads)?);
    if let Some(mut apex) = apex.filter(|_| serial != tentative) {
        replace_soa(&mut apex, soa_rrset(&zone.soa, serial), layout.signer.as_deref(), now_s)?;
        let mut draft = ZoneDraft::from_image(&image);
        draft.put(&apex)?;
        image = Arc::new(draft.finish()?);
    }
    if let (Earlier::Image { image: before, .. }, 1..) = (earlier, difference.removed) {
        records.add_gone(before, &image);
    }
    Ok(Parts { image, schedule, difference, records, turned })
}

/// Whether a key tag means the same key in `image` and in `keys`. A signature names its key by the tag alone, and one new key in
/// 65,536 has the tag of the one it replaces: then no signature of the image may be taken for its own.
fn tells_keys_apart(image: &ZoneImage, keys: &ZoneKeys) -> bool {
    let apex = image.owner(image.apex());
    let rrsets = apex.iter().flat_map(|apex| &apex.rrsets);
    let mut earlier = rrsets.filter(|r| r.rrset.rtype == RrType::DNSKEY).flat_map(|r| r.rrset.rdata.iter());
    let is_other = |key: &Key, dnskey: &[u8]| {
        key.dnskey() != dnskey
            && key.tag() == key_tag(dnskey)
            && dnskey.get(3) == Some(&key.algorithm().number())
    };
    !earlier.any(|dnskey| keys.keys().iter().any(|key| is_other(key, dnskey)))
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

/// The owners of each target, those together that lie together in the image: thousands are read from it one after the other when one flips.
fn dependents(checked: &HashMap<Name, CheckedOwner>, image: &ZoneImage) -> HashMap<TargetId, Vec<Name>> {
    let mut dependents: HashMap<TargetId, Vec<Name>> = HashMap::new();
    for (name, owner) in checked {
        for id in owner.targets() {
            // A target that stands twice in an owner's conditions concerns it once.
            let names = dependents.entry(id).or_default();
            if names.last() != Some(name) {
                names.push(name.clone());
            }
        }
    }
    dependents.values_mut().for_each(|names| names.sort_by_cached_key(|name| image.hash_of(name)));
    dependents
}
