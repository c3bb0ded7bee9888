//! Turns what an owner should serve into what it serves: RRsets with their signatures and its NSEC record.
//!
//! Signing is the expensive step, so it is done only for what differs: an RRset that stood before with the same data
//! keeps its signatures as long as they are good, and a state that an owner flaps back to finds its own in the cache.

use super::news::Turn;
use super::zone_state::Kept;
use crate::dnssec::denial;
use crate::dnssec::sign::{SignError, Signer};
use crate::model::name::Name;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::snapshot::image::{Choice, Note, OwnerRecords, ServedRrset};
use crate::zone::desired::{Place, Soa};

/// One owner to be assembled.
#[derive(Debug)]
pub(super) struct Job {
    /// Owner name.
    pub name: Name,
    /// Decides what is signed.
    pub place: Place,
    /// The RRsets to serve, without NSEC; signatures in them are ignored.
    pub rrsets: Vec<ServedRrset>,
    /// Types with several answers, likewise.
    pub choices: Vec<Choice>,
    /// Types whose first verdict is awaited.
    pub pending: Vec<RrType>,
    /// Types served without records.
    pub withheld: Vec<RrType>,
    /// The next owner of the NSEC chain and the TTL of NSEC records; `None` where the owner has no NSEC.
    pub denial: Option<(Name, u32)>,
    /// What may be used again: the owner's earlier records, and RRsets with signatures from the cache.
    pub reusable: Vec<ServedRrset>,
    /// Whether records or signatures of the owner change, and not only how answers are annotated.
    pub changes_data: bool,
    /// Whether the owner may come back to what it had: the signatures that it loses are kept.
    pub may_flap: bool,
    /// What the owner is to remember of the selection once it is served, if that is new.
    pub memory: Option<Kept>,
    /// Whether it is a turn for the whole name.
    pub turn: Option<Turn>,
}

impl Job {
    /// Every RRset to serve.
    pub(super) fn all_rrsets(&self) -> impl Iterator<Item = &ServedRrset> {
        self.rrsets.iter().chain(self.choices.iter().flat_map(|choice| &choice.others))
    }
}

/// One owner assembled.
#[derive(Debug)]
pub(super) struct Assembled {
    /// What goes into the zone image.
    pub records: OwnerRecords,
    /// When its signatures are due; `None` without signatures.
    pub due: Option<Due>,
    /// Signed RRsets that the owner had and has no longer, if it may flap.
    pub replaced: Vec<ServedRrset>,
}

/// When an owner's signatures are to be renewed. Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The latest inception: before it, the clock has gone back.
    pub inception_s: u32,
    /// The earliest renewal.
    pub renew_at_s: u32,
}

/// Assembles one owner. `signer` is `None` in an unsigned zone.
///
/// # Errors
/// A key that does not sign.
pub(super) fn assemble(job: Job, signer: Option<&Signer>, now_s: u32) -> Result<Assembled, SignError> {
    let Job { name, place, mut rrsets, mut choices, pending, withheld, denial, reusable, may_flap, .. } = job;
    let mut reused = 0;
    let mut due: Option<Due> = None;
    if let Some(signer) = signer {
        if let Some((next, ttl)) = denial {
            rrsets.push(plain(nsec_over(&next, &rrsets, &pending, ttl)));
        }
        let others = choices.iter_mut().flat_map(|choice| &mut choice.others);
        for served in rrsets.iter_mut().chain(others).filter(|r| is_signed(place, r.rrset.rtype)) {
            let before = reusable.iter().find(|r| r.rrset == served.rrset);
            served.signatures = match before.filter(|r| signer.accepts(r.rrset.rtype, &r.signatures, now_s)) {
                Some(before) => {
                    reused += 1;
                    before.signatures.clone()
                }
                None => signer.sign(&name, &served.rrset, now_s)?.rrsigs,
            };
            if let Some(times) = signer.times(&served.signatures) {
                due = Some(Due {
                    inception_s: due.map_or(times.inception_s, |d| d.inception_s.max(times.inception_s)),
                    renew_at_s: due.map_or(times.renew_at_s, |d| d.renew_at_s.min(times.renew_at_s)),
                });
            }
        }
        if reused > 0 {
            signer.count_reused(reused);
        }
    }
    rrsets.sort_by_key(|r| r.rrset.rtype);
    let records = OwnerRecords { name, rrsets, choices, pending, withheld };
    let mut replaced = Vec::new();
    if may_flap && signer.is_some() {
        let is_lost = |r: &ServedRrset| {
            r.rrset.rtype != RrType::SOA
                && !r.signatures.is_empty()
                && !records.all_rrsets().any(|new| new.rrset == r.rrset)
        };
        for lost in reusable.into_iter().filter(is_lost) {
            replaced.reserve_exact(1);
            replaced.push(lost);
        }
    }
    Ok(Assembled { records, due, replaced })
}

/// Whether an RRset of this type at this place carries signatures (RFC 4035 §2.2): at a cut only DS and NSEC, below it nothing.
fn is_signed(place: Place, rtype: RrType) -> bool {
    match place {
        Place::Apex | Place::Authoritative => true,
        Place::Cut => matches!(rtype, RrType::DS | RrType::NSEC),
        Place::Occluded => false,
    }
}

/// The NSEC RRset of an owner that holds `rrsets` and awaits `pending`; the list may hold an older NSEC RRset.
pub(super) fn nsec_over(next: &Name, rrsets: &[ServedRrset], pending: &[RrType], ttl: u32) -> Rrset {
    let held = rrsets.iter().map(|r| r.rrset.rtype).filter(|t| *t != RrType::NSEC);
    let types: Vec<RrType> = held.chain(pending.iter().copied()).collect();
    denial::nsec_rrset(next, &types, ttl)
}

/// An RRset that is served as it is.
pub(super) fn plain(rrset: Rrset) -> ServedRrset {
    ServedRrset { rrset, signatures: RdataSet::default(), rotate: false, note: Note::None }
}

/// The SOA RRset with a serial (RFC 1035 §3.3.13).
pub(super) fn soa_rrset(soa: &Soa, serial: Serial) -> Rrset {
    let mut rdata = Vec::with_capacity(soa.mname.wire().len() + soa.rname.wire().len() + 20);
    rdata.extend_from_slice(soa.mname.wire());
    rdata.extend_from_slice(soa.rname.wire());
    for figure in [serial.0, soa.refresh, soa.retry, soa.expire, soa.minimum] {
        rdata.extend_from_slice(&figure.to_be_bytes());
    }
    Rrset { rtype: RrType::SOA, ttl: soa.ttl, rdata: RdataSet::new([rdata]) }
}
