//! Turns what an owner should serve into what it serves: RRsets with their signatures and its NSEC record.
//!
//! Signing is the expensive step, so it is done only for what differs: an RRset that stood before with the same data
//! keeps its signatures as long as they are good, and a state that an owner flaps back to finds its own in the cache.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dnssec::denial;
use crate::dnssec::sign::{SignError, Signer};
use crate::model::name::Name;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::snapshot::image::{Choice, Note, OwnerRecords, ServedRrset};
use crate::zone::desired::Place;

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
    /// How many RRsets were signed anew.
    pub signed: usize,
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
    let Job { name, place, mut rrsets, mut choices, pending, withheld, denial, reusable, .. } = job;
    let mut signed = 0;
    let mut due: Option<Due> = None;
    if let Some(signer) = signer {
        if let Some((next, ttl)) = denial {
            rrsets.push(plain(nsec_over(&next, &rrsets, &pending, ttl)));
        }
        let others = choices.iter_mut().flat_map(|choice| &mut choice.others);
        for served in rrsets.iter_mut().chain(others).filter(|r| is_signed(place, r.rrset.rtype)) {
            let before = reusable.iter().find(|r| r.rrset == served.rrset);
            served.signatures = match before.filter(|r| signer.accepts(r.rrset.rtype, &r.signatures, now_s)) {
                Some(before) => before.signatures.clone(),
                None => {
                    signed += 1;
                    signer.sign(&name, &served.rrset, now_s)?.rrsigs
                }
            };
            if let Some(recalled) = signer.recall(&served.signatures) {
                due = Some(Due {
                    inception_s: due
                        .map_or(recalled.inception_s, |d| d.inception_s.max(recalled.inception_s)),
                    renew_at_s: due.map_or(recalled.renew_at_s, |d| d.renew_at_s.min(recalled.renew_at_s)),
                });
            }
        }
    }
    rrsets.sort_by_key(|r| r.rrset.rtype);
    Ok(Assembled { records: OwnerRecords { name, rrsets, choices, pending, withheld }, due, signed })
}

/// Assembles many owners on `threads` threads and hands each to `sink` in the order of `jobs`.
///
/// # Errors
/// The first error of signing; `sink` has then seen an arbitrary part.
pub(super) fn assemble_all(
    jobs: Vec<Job>,
    signer: Option<&Signer>,
    now_s: u32,
    threads: usize,
) -> Result<Vec<Assembled>, SignError> {
    /// Below this a thread costs more than it saves: one ECDSA signature is about as much as starting a thread.
    const WORTH_THREADS: usize = 8;
    if signer.is_none() || threads < 2 || jobs.len() < WORTH_THREADS {
        return jobs.into_iter().map(|job| assemble(job, signer, now_s)).collect();
    }
    let total = jobs.len();
    let jobs: Vec<std::sync::Mutex<Option<Job>>> =
        jobs.into_iter().map(|j| std::sync::Mutex::new(Some(j))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = jobs.get(i) else { return Ok(done) };
            let job = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(job) = job {
                done.push((i, assemble(job, signer, now_s)?));
            }
        }
    };
    let parts: Vec<Result<Vec<(usize, Assembled)>, SignError>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(total)).map(|_| scope.spawn(work)).collect();
        let mine = work();
        // A panic while signing is a bug; it goes on where it would have gone without threads.
        let joined = others.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        std::iter::once(mine).chain(joined).collect()
    });
    let mut all: Vec<(usize, Assembled)> = Vec::with_capacity(total);
    for part in parts {
        all.extend(part?);
    }
    all.sort_unstable_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, assembled)| assembled).collect())
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
