//! Owner records between the form that the keeper makes and the compact form of a shard (record.rs), both ways.

use std::fmt;

use crate::model::name::Name;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

use super::choice::{self, Tables};
use super::image::{Choice, OwnerRecords, ServedRrset};
use super::record::{
    BLOCK_HEADER, DIRECTORY_ENTRY, Node, OWNER_HEADER, RR_HEADER, RrsetView, entry_flag, flag, rr_at,
};

/// What every message needs besides one RRset: header, the longest question, OPT with every option we send, and a TSIG
/// record of ordinary size.
const MESSAGE_OVERHEAD: usize = 1024;

/// The largest RRset with its signatures that a TCP message can carry.
pub const MAX_RRSET_OCTETS: usize = 65_535 - MESSAGE_OVERHEAD;

/// Why records cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The owner does not lie in the zone.
    NotInZone {
        /// The owner.
        owner: Name,
        /// The zone.
        apex: Name,
    },
    /// An RRset with its signatures does not fit a message.
    TooLarge {
        /// The owner.
        owner: Name,
        /// The RRset's type.
        rtype: RrType,
        /// Octets it would take; [`MAX_RRSET_OCTETS`] is the limit.
        octets: usize,
    },
    /// RDATA that is no RDATA of its type, or an RRset without records.
    Malformed {
        /// The owner.
        owner: Name,
        /// The RRset's type.
        rtype: RrType,
    },
    /// The same type twice.
    Repeated {
        /// The owner.
        owner: Name,
        /// The type.
        rtype: RrType,
    },
    /// More than 255 RRsets, or more than 255 pending or withheld types.
    TooManyTypes {
        /// The owner.
        owner: Name,
    },
    /// No single SOA record at the apex.
    NoSoa {
        /// The zone.
        apex: Name,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInZone { owner, apex } => write!(f, "{owner} is not in the zone {apex}"),
            Self::TooLarge { owner, rtype, octets } => write!(
                f,
                "{owner} {rtype}: the RRset with its signatures takes {octets} octets, a message can carry {MAX_RRSET_OCTETS}"
            ),
            Self::Malformed { owner, rtype } => write!(f, "{owner} {rtype}: a record is not one of its type"),
            Self::Repeated { owner, rtype } => write!(f, "{owner} {rtype}: two RRsets of one type"),
            Self::TooManyTypes { owner } => write!(f, "{owner}: more than 255 types"),
            Self::NoSoa { apex } => write!(f, "{apex}: there is no single SOA record at the apex"),
        }
    }
}

impl std::error::Error for ImageError {}

/// Octets in front of the first name in RDATA of a type, and how many names follow it, where the names may be compressed
/// (RFC 3597 §4: the types of RFC 1035 alone).
fn compressible(rtype: RrType) -> Option<(usize, usize)> {
    match rtype {
        RrType::NS
        | RrType::CNAME
        | RrType::PTR
        | RrType::MB
        | RrType::MD
        | RrType::MF
        | RrType::MG
        | RrType::MR => Some((0, 1)),
        RrType::MX => Some((2, 1)),
        RrType::SOA | RrType::MINFO => Some((0, 2)),
        _ => None,
    }
}

/// End of the uncompressed name at `at`.
fn name_end(rdata: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *rdata.get(at)? {
            0 => return Some(at + 1),
            n @ 1..=63 => at += 1 + usize::from(n),
            _ => return None,
        }
    }
}

/// Octets of `name` in front of the apex, if it is the apex or below it.
fn octets_before_apex(name: &[u8], apex: &[u8]) -> Option<usize> {
    let mut at = 0;
    while name.len() - at > apex.len() {
        at += 1 + usize::from(name[at]);
    }
    (name[at..] == *apex).then_some(at)
}

fn put16(out: &mut [u8], at: usize, value: usize) {
    out[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
}

fn put32(out: &mut [u8], at: usize, value: usize) {
    out[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}

/// Writes the record of an owner into `out` (emptied first), without children. `tables` must hold those of its picks.
pub(super) fn encode_owner(
    owner: &OwnerRecords,
    apex: &Name,
    tables: &Tables,
    out: &mut Vec<u8>,
) -> Result<(), ImageError> {
    if !owner.name.is_at_or_below(apex) {
        return Err(ImageError::NotInZone { owner: owner.name.clone(), apex: apex.clone() });
    }
    if [owner.rrsets.len(), owner.pending.len(), owner.withheld.len()].iter().any(|&n| n > 255) {
        return Err(ImageError::TooManyTypes { owner: owner.name.clone() });
    }
    let prefix = &owner.name.wire()[..owner.name.wire().len() - apex.wire().len()];
    start_record(prefix, owner_flags(owner, prefix.is_empty()), owner.rrsets.len(), out);
    let directory = out.len();
    out.resize(directory + owner.rrsets.len() * DIRECTORY_ENTRY, 0);
    if !(owner.pending.is_empty() && owner.withheld.is_empty()) {
        out.extend([owner.pending.len() as u8, owner.withheld.len() as u8]);
        out.extend(owner.pending.iter().chain(&owner.withheld).flat_map(|t| t.0.to_le_bytes()));
    }
    for (i, served) in owner.rrsets.iter().enumerate() {
        let rtype = served.rrset.rtype;
        if owner.rrsets[..i].iter().any(|other| other.rrset.rtype == rtype) {
            return Err(ImageError::Repeated { owner: owner.name.clone(), rtype });
        }
        let entry = directory + i * DIRECTORY_ENTRY;
        put16(out, entry, usize::from(rtype.0));
        out[entry + 2] = if served.rotate { entry_flag::ROTATE } else { 0 };
        out[entry + 3] = served.note as u8;
        let start = out.len();
        put32(out, entry + 4, start);
        match owner.choices.iter().find(|choice| choice.rtype == rtype) {
            None => encode_block(&owner.name, served, apex, out)?,
            Some(choice) => {
                out[entry + 2] |= entry_flag::CHOICE;
                encode_choice(owner, served, choice, (apex, tables), out)?;
            }
        }
    }
    let total = out.len();
    put32(out, 0, total);
    Ok(())
}

/// Writes the answers of a type with several: the choice, then the block of each.
fn encode_choice(
    owner: &OwnerRecords,
    default: &ServedRrset,
    choice: &Choice,
    (apex, tables): (&Name, &Tables),
    out: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let malformed = || ImageError::Malformed { owner: owner.name.clone(), rtype: choice.rtype };
    let start = out.len();
    choice::encode(&choice.pick, choice.others.len() + 1, tables, out).ok_or_else(malformed)?;
    for (i, served) in std::iter::once(default).chain(&choice.others).enumerate() {
        if served.rrset.rtype != choice.rtype {
            return Err(malformed());
        }
        let block = out.len();
        put32(out, choice::block_place(start, i), block);
        encode_block(&owner.name, served, apex, out)?;
    }
    Ok(())
}

fn owner_flags(owner: &OwnerRecords, is_apex: bool) -> u16 {
    let mut flags = flag::DECLARED;
    for served in &owner.rrsets {
        flags |= match served.rrset.rtype {
            RrType::NS if !is_apex => flag::CUT,
            RrType::DNAME => flag::DNAME,
            RrType::CNAME => flag::CNAME,
            RrType::NSEC => flag::NSEC,
            _ => 0,
        };
    }
    if !owner.pending.is_empty() {
        flags |= flag::PENDING;
    }
    if !owner.withheld.is_empty() {
        flags |= flag::WITHHELD;
    }
    if owner.choices.iter().any(|choice| choice.pick.is_by_client()) {
        flags |= flag::BY_CLIENT;
    }
    flags
}

/// Writes header and prefix of a record into `out` (emptied first): a whole record if it has no RRsets.
pub(super) fn start_record(prefix: &[u8], flags: u16, rrsets: usize, out: &mut Vec<u8>) {
    out.clear();
    out.resize(OWNER_HEADER, 0);
    put32(out, 0, OWNER_HEADER + prefix.len());
    put16(out, 8, usize::from(flags));
    out[10] = prefix.len() as u8;
    out[11] = rrsets as u8;
    out.extend_from_slice(prefix);
}

/// Changes the fields that depend on an owner's neighbours.
pub(super) fn set_neighbours(record: &mut [u8], children: u32, wildcard_child: bool) {
    put32(record, 4, children as usize);
    let flags = u16::from_le_bytes([record[8], record[9]]) & !flag::WILDCARD_CHILD;
    put16(record, 8, usize::from(if wildcard_child { flags | flag::WILDCARD_CHILD } else { flags }));
}

/// Appends the block of one RRset.
pub(super) fn encode_block(
    owner: &Name,
    served: &ServedRrset,
    apex: &Name,
    out: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let Rrset { rtype, ttl, ref rdata } = served.rrset;
    let malformed = || ImageError::Malformed { owner: owner.clone(), rtype };
    if rdata.is_empty() {
        return Err(malformed());
    }
    // The uncompressed size bounds every field below, so that none overflows.
    let octets: usize = rdata.iter().chain(served.signatures.iter()).map(|r| r.len() + RR_HEADER).sum();
    if octets > MAX_RRSET_OCTETS {
        return Err(ImageError::TooLarge { owner: owner.clone(), rtype, octets });
    }
    let header = out.len();
    out.resize(header + BLOCK_HEADER, 0);
    let start = out.len();
    let mut relocations: Vec<u16> = Vec::new();
    let (mut shortest, mut longest) = (usize::MAX, 0);
    for rdata in rdata.iter() {
        let rr = out.len();
        push_rr_header(out, rtype, ttl);
        push_rdata(out, start, rtype, rdata, apex.wire(), &mut relocations).ok_or_else(malformed)?;
        set_rdlength(out, rr);
        shortest = shortest.min(out.len() - rr);
        longest = longest.max(out.len() - rr);
    }
    let signatures = out.len();
    for signature in served.signatures.iter() {
        let rr = out.len();
        push_rr_header(out, RrType::RRSIG, ttl);
        out.extend_from_slice(signature);
        set_rdlength(out, rr);
    }
    let end = out.len();
    out.extend(relocations.iter().flat_map(|at| at.to_le_bytes()));
    let fields = [
        rdata.len(),
        served.signatures.len(),
        signatures - start,
        end - signatures,
        relocations.len(),
        if shortest == longest { longest } else { 0 },
    ];
    for (i, field) in fields.into_iter().enumerate() {
        put16(out, header + 2 * i, field);
    }
    Ok(())
}

fn push_rr_header(out: &mut Vec<u8>, rtype: RrType, ttl: u32) {
    out.extend([0xc0, 0x0c]);
    out.extend(rtype.0.to_be_bytes());
    out.extend([0, 1]);
    out.extend(ttl.to_be_bytes());
    out.extend([0, 0]);
}

fn set_rdlength(out: &mut [u8], rr: usize) {
    let length = (out.len() - rr - RR_HEADER) as u16;
    out[rr + 10..rr + 12].copy_from_slice(&length.to_be_bytes());
}

/// Appends RDATA with its compressible names cut at the apex; `None` if it is not RDATA of its type.
fn push_rdata(
    out: &mut Vec<u8>,
    start: usize,
    rtype: RrType,
    rdata: &[u8],
    apex: &[u8],
    relocations: &mut Vec<u16>,
) -> Option<()> {
    let length_is_right = match rtype {
        RrType::A => rdata.len() == 4,
        RrType::AAAA => rdata.len() == 16,
        RrType::DNAME => name_end(rdata, 0)? == rdata.len(),
        RrType::SOA => name_end(rdata, name_end(rdata, 0)?)? + 20 == rdata.len(),
        _ => true,
    };
    if !length_is_right {
        return None;
    }
    let (mut at, names) = compressible(rtype).unwrap_or((0, 0));
    let mut copied = 0;
    for _ in 0..names {
        let end = name_end(rdata, at)?;
        // A pointer is longer than the root name that would stand in its place.
        if let Some(before) = octets_before_apex(&rdata[at..end], apex).filter(|_| apex.len() > 2) {
            out.extend_from_slice(&rdata[copied..at + before]);
            relocations.push((out.len() - start) as u16);
            out.extend([0xc0, 0x00]);
            copied = end;
        }
        at = end;
    }
    out.extend_from_slice(&rdata[copied..]);
    Some(())
}

/// The RRset as it was put.
pub(super) fn decode_rrset(view: &RrsetView<'_>, apex: &Name) -> ServedRrset {
    let relocations: Vec<usize> = view.relocations().collect();
    // A record's header gives way to a length, and each pointer to the apex.
    let shorter = usize::from(view.rr_count) * (RR_HEADER - 2);
    let longer = relocations.len() * apex.wire().len().saturating_sub(2);
    let mut rdata_octets = Vec::with_capacity(view.rrs().len() - shorter + longer);
    let mut at = 0;
    while let Some((rdata, next)) = rr_at(view.rrs(), at) {
        let (start, length, mut copied) = (at + RR_HEADER, rdata_octets.len(), 0);
        rdata_octets.extend([0, 0]);
        for relocation in relocations.iter().filter(|&&r| (start..next).contains(&r)) {
            rdata_octets.extend_from_slice(&rdata[copied..relocation - start]);
            rdata_octets.extend_from_slice(apex.wire());
            copied = relocation - start + 2;
        }
        rdata_octets.extend_from_slice(&rdata[copied..]);
        let octets = (rdata_octets.len() - length - 2) as u16;
        rdata_octets[length..length + 2].copy_from_slice(&octets.to_be_bytes());
        at = next;
    }
    let mut signatures = Vec::with_capacity(view.signatures().len());
    at = 0;
    while let Some((rdata, next)) = rr_at(view.signatures(), at) {
        signatures.extend((rdata.len() as u16).to_be_bytes());
        signatures.extend_from_slice(rdata);
        at = next;
    }
    // Records stand in the order in which they were put, which was that of their sets.
    ServedRrset {
        rrset: Rrset { rtype: view.rtype, ttl: view.ttl(), rdata: RdataSet::from_canonical(rdata_octets) },
        signatures: RdataSet::from_canonical(signatures),
        rotate: view.rotate,
        note: view.note,
    }
}

/// The owner as it was put; `None` for an empty non-terminal.
pub(super) fn decode_owner(node: Node<'_>, apex: &Name, tables: &Tables) -> Option<OwnerRecords> {
    decode_named(node, Name::from_wire(&[node.prefix(), apex.wire()].concat()).ok()?, apex, tables)
}

/// As [`decode_owner`], where the name is known.
pub(super) fn decode_named(node: Node<'_>, name: Name, apex: &Name, tables: &Tables) -> Option<OwnerRecords> {
    if !node.is_declared() {
        return None;
    }
    Some(OwnerRecords {
        name,
        rrsets: node.rrsets().map(|view| decode_rrset(&view, apex)).collect(),
        choices: node
            .choices()
            .filter_map(|(at, views)| decode_choice(node, at, &views, apex, tables))
            .collect(),
        pending: node.pending().collect(),
        withheld: node.withheld().collect(),
    })
}

fn decode_choice(
    node: Node<'_>,
    at: usize,
    views: &[RrsetView<'_>],
    apex: &Name,
    tables: &Tables,
) -> Option<Choice> {
    let (default, others) = views.split_first()?;
    Some(Choice {
        rtype: default.rtype,
        others: others.iter().map(|view| decode_rrset(view, apex)).collect(),
        pick: choice::decode(node.bytes(), at, tables)?,
    })
}

/// What the compiler needs to know of a zone's SOA record.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoaFigures {
    pub(super) serial: u32,
    pub(super) minimum: u32,
}

pub(super) fn soa_figures(view: &RrsetView<'_>) -> Option<SoaFigures> {
    let rdata = view.first_rdata();
    let figures = rdata.len().checked_sub(20).and_then(|at| rdata.get(at..))?;
    let field =
        |i: usize| figures.get(i..).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_be_bytes(*b));
    (view.rr_count == 1).then_some(SoaFigures { serial: field(0)?, minimum: field(16)? })
}
