//! The second stage of building a zone, off the keeper's thread: select by the present verdicts, sign, and compile to an image.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::assemble::{Job, assemble_all, nsec_over, plain};
use super::build::{Layout, Workshop};
use super::channel::OwnerCounts;
use super::comparison::{Comparison, Difference};
use super::overrides::overridden;
use super::zone_state::{CheckedOwner, Circumstances, TransactionError, ZoneState, soa_rrset};
use crate::config::Order;
use crate::dnssec::cache::SignatureCache;
use crate::dnssec::key::{Key, key_tag};
use crate::dnssec::keys::ZoneKeys;
use crate::dnssec::schedule::Schedule;
use crate::dnssec::sign::Signer;
use crate::model::name::Name;
use crate::model::rrset::Rrset;
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::target::TargetId;
use crate::snapshot::image::{OwnerRecords, ServedRrset};
use crate::snapshot::{ZoneDraft, ZoneImage};
use crate::zone::desired::{DesiredOwner, DesiredZone, Place};
use crate::zone::owners::Placed;
use crate::zone::serial;

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
    let overridden = overridden(&layout.checked, &layout.desired.apex, &workshop.overrides);
    Ok(ZoneState {
        file: layout.file,
        alias_of: layout.alias_of,
        soa: layout.desired.soa,
        signer: layout.signer,
        checked: layout.checked,
        dependents,
        overridden,
        overrides: Arc::clone(&workshop.overrides),
        schedule,
        cache: SignatureCache::default(),
        floor: image.serial(),
        image,
        difference,
        changed_s: now_s,
        trouble: None,
    })
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
    let can_reuse = match (earlier, &signer) {
        (Earlier::Image(image), Some(signer)) => tells_keys_apart(image, signer.keys()),
        _ => true,
    };
    let owners = std::mem::take(&mut layout.desired.owners);
    let mut owners = owners.into_iter().peekable();
    let mut in_chain = 0;
    let mut apex_records = None;
    while owners.peek().is_some() {
        let batch = owners.by_ref().take(BATCH).map(|Placed { name, owner, .. }| {
            let denial = chain.as_ref().filter(|_| owner.place != Place::Occluded).map(|chain| {
                in_chain += 1;
                (chain[in_chain % chain.len()].clone(), soa.minimum.min(soa.ttl))
            });
            let mut job = first_job(name, owner, layout, workshop, (earlier, tentative, now_s), denial);
            if !can_reuse {
                job.reusable.clear();
            }
            job
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

/// The owners of the NSEC chain in canonical order: all that are authoritative or a cut (RFC 4035 §2.3).
fn chain(desired: &DesiredZone) -> Vec<Name> {
    desired
        .owners
        .iter()
        .filter(|placed| placed.owner.place != Place::Occluded)
        .map(|placed| placed.name.clone())
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
    for served in rrsets.iter_mut().filter(|r| matches!(r.rrset.rtype, RrType::A | RrType::AAAA)) {
        served.rotate = owner.order == Order::Rotate;
    }
    if owner.place == Place::Apex {
        rrsets.push(plain(soa_rrset(&layout.desired.soa, serial)));
        if let Some(signer) = &layout.signer {
            let (keys, ttl) = (signer.keys(), layout.key_ttl);
            rrsets.extend([keys.dnskey(ttl), keys.cds(ttl), keys.cdnskey(ttl)].map(plain));
        }
    }
    let before = match earlier {
        Earlier::Image(image) => image.owner(&name),
        Earlier::Saved { .. } => None,
    };
    let (mut choices, mut pending, mut withheld) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(checked) = layout.checked.get_mut(&name) {
        if let Some(before) = &before {
            checked.inherit(before, &workshop.board);
        }
        let (board, overrides) = (&*workshop.board, &*workshop.overrides);
        let zone = &layout.desired.apex;
        let selection = checked.select(&name, Circumstances { board, overrides, zone, now_s });
        let (served, variants) = checked.served(&selection);
        rrsets.extend(served);
        choices = variants;
        pending = selection.pending;
        withheld = selection.withheld;
    }
    let reusable = match earlier {
        Earlier::Image(_) => before.iter().flat_map(OwnerRecords::all_rrsets).cloned().collect(),
        Earlier::Saved { signatures, .. } => {
            let nsec = denial.iter().map(|(next, ttl)| plain(nsec_over(next, &rrsets, &pending, *ttl)));
            let others = choices.iter().flat_map(|choice| &choice.others);
            let candidates = rrsets.iter().chain(others).cloned().chain(nsec);
            let mut signatures = signatures.borrow_mut();
            let mut recall = |r: ServedRrset| {
                let signed = signatures.get(&layout.signer.as_ref()?.digest(&name, &r.rrset), now_s)?;
                Some(ServedRrset { signatures: signed.rrsigs.clone(), ..r })
            };
            candidates.filter_map(&mut recall).collect()
        }
    };
    Job { name, place: owner.place, rrsets, choices, pending, withheld, denial, reusable, changes_data: true }
}

fn dependents(checked: &HashMap<Name, CheckedOwner>) -> HashMap<TargetId, Vec<Name>> {
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
    dependents
}
