//! The compact form of one owner name: what a shard's blob is made of.
//!
//! Everything an answer needs stands ready in wire form; nothing here allocates. Our own numbers are little-endian.
//!
//! ```text
//! owner   0  u32 octets of the whole record       4  u32 children (names one label below)
//!         8  u16 flags    10  u8 octets of the prefix    11  u8 RRsets
//!         12 prefix: the owner's labels in front of the apex, in lower case, without root label
//!            directory: for each RRset  u16 type · u8 flags · u8 note · u32 offset of its block, or choice, from the record's start
//!            if any type is pending or withheld:  u8 pending · u8 withheld · u16 each type
//!            blocks
//! block   0  u16 RRs   2  u16 RRSIGs   4  u16 octets of the RRs   6  u16 octets of the RRSIGs
//!         8  u16 relocations   10  u16 octets of each RR, 0 if they differ
//!         12 RRs, then RRSIG RRs, in wire form: C0 0C · type · class · TTL · RDLENGTH · RDATA
//!            relocations: u16 offsets into the RRs of two octets that become a pointer to the apex
//! ```
//!
//! The owner of every RR is a pointer to offset 12, where the question's name stands, so that the answer to a question for
//! the owner itself is one copy. Names in RDATA of the RFC 1035 types are cut at the apex (RFC 3597 §4 allows compression there
//! alone): where the apex stands in the message is known once the zone is.

use crate::model::rrtype::RrType;

use super::choice::{self, Chooser, Tables};
use super::image::Note;

/// Bits of the owner's flags.
pub(super) mod flag {
    /// The owner was put; without it the record is an empty non-terminal.
    pub(in crate::snapshot) const DECLARED: u16 = 1;
    /// `*` exists one label below.
    pub(in crate::snapshot) const WILDCARD_CHILD: u16 = 1 << 1;
    /// A zone cut: NS below the apex.
    pub(in crate::snapshot) const CUT: u16 = 1 << 2;
    /// Holds a DNAME.
    pub(in crate::snapshot) const DNAME: u16 = 1 << 3;
    /// Holds a CNAME.
    pub(in crate::snapshot) const CNAME: u16 = 1 << 4;
    /// Some types are pending.
    pub(in crate::snapshot) const PENDING: u16 = 1 << 5;
    /// Some types are withheld.
    pub(in crate::snapshot) const WITHHELD: u16 = 1 << 6;
    /// Holds an NSEC RRset.
    pub(in crate::snapshot) const NSEC: u16 = 1 << 7;
    /// Gives different clients different answers.
    pub(in crate::snapshot) const BY_CLIENT: u16 = 1 << 8;
}

/// Bits of a directory entry's flags.
pub(super) mod entry_flag {
    /// Answers start with another record each time.
    pub(in crate::snapshot) const ROTATE: u8 = 1;
    /// The type has several answers (choice.rs).
    pub(in crate::snapshot) const CHOICE: u8 = 1 << 1;
}

pub(super) const OWNER_HEADER: usize = 12;
pub(super) const DIRECTORY_ENTRY: usize = 8;
pub(super) const BLOCK_HEADER: usize = 12;
/// Octets of an RR in front of its RDATA, its owner being a pointer.
pub(super) const RR_HEADER: usize = 12;

// Offsets are proved when a record is made (draft.rs); reading past the end gives 0 rather than a panic, so that the
// engine's promise does not rest on that proof.
#[inline]
pub(super) fn le16(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).and_then(|b| b.first_chunk::<2>()).map_or(0, |b| usize::from(u16::from_le_bytes(*b)))
}

#[inline]
pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// One owner name in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Node<'s> {
    record: &'s [u8],
}

impl<'s> Node<'s> {
    /// The record at `at` of a shard or builder.
    #[inline]
    pub(super) fn at(bytes: &'s [u8], at: usize) -> Option<Self> {
        let rest = bytes.get(at..)?;
        let record = rest.get(..le32(rest, 0) as usize)?;
        (record.len() >= OWNER_HEADER).then_some(Self { record })
    }

    pub(super) fn bytes(self) -> &'s [u8] {
        self.record
    }

    #[inline]
    pub(super) fn flags(self) -> u16 {
        le16(self.record, 8) as u16
    }

    pub(super) fn children(self) -> u32 {
        le32(self.record, 4)
    }

    #[inline]
    fn prefix_len(self) -> usize {
        usize::from(self.record[10])
    }

    #[inline]
    fn rrset_count(self) -> usize {
        usize::from(self.record[11])
    }

    /// What tells it from every other node of a snapshot.
    pub fn identity(self) -> usize {
        self.record.as_ptr() as usize
    }

    /// The owner's labels in front of the apex, without root label; empty for the apex.
    #[inline]
    pub fn prefix(self) -> &'s [u8] {
        self.record.get(OWNER_HEADER..OWNER_HEADER + self.prefix_len()).unwrap_or_default()
    }

    /// Whether the owner was put, rather than made as an empty non-terminal.
    pub(super) fn is_declared(self) -> bool {
        self.flags() & flag::DECLARED != 0
    }

    /// Whether `*` exists one label below.
    #[inline]
    pub fn has_wildcard_child(self) -> bool {
        self.flags() & flag::WILDCARD_CHILD != 0
    }

    /// Whether this is a zone cut (RFC 9499 §7).
    #[inline]
    pub fn is_cut(self) -> bool {
        self.flags() & flag::CUT != 0
    }

    /// Whether it holds a DNAME.
    #[inline]
    pub fn has_dname(self) -> bool {
        self.flags() & flag::DNAME != 0
    }

    /// Whether it holds a CNAME.
    #[inline]
    pub fn has_cname(self) -> bool {
        self.flags() & flag::CNAME != 0
    }

    /// Whether any type awaits its first verdict.
    #[inline]
    pub fn has_pending(self) -> bool {
        self.flags() & flag::PENDING != 0
    }

    /// Whether `rtype` awaits its first verdict.
    pub fn is_pending(self, rtype: RrType) -> bool {
        self.has_pending() && self.pending().any(|t| t == rtype)
    }

    /// Whether `rtype` has no records because every endpoint is down.
    pub fn is_withheld(self, rtype: RrType) -> bool {
        self.flags() & flag::WITHHELD != 0 && self.withheld().any(|t| t == rtype)
    }

    fn lists(self) -> (usize, usize, usize) {
        let at = OWNER_HEADER + self.prefix_len() + self.rrset_count() * DIRECTORY_ENTRY;
        if self.flags() & (flag::PENDING | flag::WITHHELD) == 0 {
            return (at, 0, 0);
        }
        let count = |i: usize| usize::from(self.record.get(at + i).copied().unwrap_or(0));
        (at + 2, count(0), count(1))
    }

    pub(super) fn pending(self) -> impl Iterator<Item = RrType> + 's {
        let (at, pending, _) = self.lists();
        (0..pending).map(move |i| RrType(le16(self.record, at + 2 * i) as u16))
    }

    pub(super) fn withheld(self) -> impl Iterator<Item = RrType> + 's {
        let (at, pending, withheld) = self.lists();
        (pending..pending + withheld).map(move |i| RrType(le16(self.record, at + 2 * i) as u16))
    }

    #[inline]
    fn directory(self) -> &'s [u8] {
        let start = OWNER_HEADER + self.prefix_len();
        self.record.get(start..start + self.rrset_count() * DIRECTORY_ENTRY).unwrap_or_default()
    }

    #[inline]
    fn entry(self, rtype: RrType) -> Option<&'s [u8]> {
        self.directory().chunks_exact(DIRECTORY_ENTRY).find(|entry| le16(entry, 0) == usize::from(rtype.0))
    }

    /// The RRset of a type; the default variant where there are several.
    #[inline]
    pub fn rrset(self, rtype: RrType) -> Option<RrsetView<'s>> {
        self.entry(rtype).and_then(|entry| self.view(entry))
    }

    /// The RRset of a type that a query gets. `tables` are those of the node's zone.
    #[inline]
    pub fn rrset_for(
        self,
        rtype: RrType,
        tables: &Tables,
        chooser: &mut Chooser<'_>,
    ) -> Option<RrsetView<'s>> {
        let entry = self.entry(rtype)?;
        if entry[2] & entry_flag::CHOICE == 0 {
            return self.view(entry);
        }
        self.view_at(entry, chooser.choose(self.record, le32(entry, 4) as usize, tables))
    }

    /// Every RRset, in the order they were put; the default variant where there are several.
    pub fn rrsets(self) -> impl Iterator<Item = RrsetView<'s>> {
        self.directory().chunks_exact(DIRECTORY_ENTRY).filter_map(move |entry| self.view(entry))
    }

    #[inline]
    fn view(self, entry: &[u8]) -> Option<RrsetView<'s>> {
        let at = le32(entry, 4) as usize;
        if entry[2] & entry_flag::CHOICE != 0 {
            return self.view_at(entry, choice::default_block(self.record, at));
        }
        self.view_at(entry, at)
    }

    #[inline]
    fn view_at(self, entry: &[u8], at: usize) -> Option<RrsetView<'s>> {
        let rtype = RrType(le16(entry, 0) as u16);
        let rotates = entry[2] & entry_flag::ROTATE != 0;
        RrsetView::at(self.record, at, rtype, rotates, Note::from_u8(entry[3]))
    }

    /// The types with several answers: where each choice stands, and its answers.
    pub(super) fn choices(self) -> impl Iterator<Item = (usize, Vec<RrsetView<'s>>)> {
        let entries = self.directory().chunks_exact(DIRECTORY_ENTRY);
        entries.filter(|entry| entry[2] & entry_flag::CHOICE != 0).map(move |entry| {
            let at = le32(entry, 4) as usize;
            let views = choice::blocks(self.record, at).filter_map(|block| self.view_at(entry, block));
            (at, views.collect())
        })
    }
}

/// One RRset in a snapshot, with its signatures.
#[derive(Clone, Copy, Debug)]
pub struct RrsetView<'s> {
    /// RR type.
    pub rtype: RrType,
    /// Whether answers start with another record each time.
    pub rotate: bool,
    /// Extended error that goes with it.
    pub note: Note,
    /// Number of RRs without the RRSIGs.
    pub rr_count: u16,
    /// Number of RRSIGs.
    pub signature_count: u16,
    /// Octets of each RR, 0 if they differ.
    pub rr_len: usize,
    relocations: &'s [u8],
    rrs_len: usize,
    wire: &'s [u8],
}

impl<'s> RrsetView<'s> {
    /// The block at `at` of `bytes`.
    #[inline]
    pub(super) fn at(bytes: &'s [u8], at: usize, rtype: RrType, rotate: bool, note: Note) -> Option<Self> {
        let block = bytes.get(at..)?;
        let header = block.first_chunk::<BLOCK_HEADER>()?;
        let field = |i: usize| u16::from_le_bytes([header[i], header[i + 1]]);
        let (rrs_len, signatures_len) = (usize::from(field(4)), usize::from(field(6)));
        let (wire, rest) = block[BLOCK_HEADER..].split_at_checked(rrs_len + signatures_len)?;
        Some(Self {
            rtype,
            rotate,
            note,
            rr_count: field(0),
            signature_count: field(2),
            rr_len: usize::from(field(10)),
            relocations: rest.get(..2 * usize::from(field(8)))?,
            rrs_len,
            wire,
        })
    }

    /// The RRs in wire form, owners pointing to offset 12.
    #[inline]
    pub fn rrs(&self) -> &'s [u8] {
        &self.wire[..self.rrs_len]
    }

    /// The RRs followed by their RRSIG RRs.
    #[inline]
    pub fn rrs_and_signatures(&self) -> &'s [u8] {
        self.wire
    }

    /// The RRSIG RRs alone.
    pub fn signatures(&self) -> &'s [u8] {
        &self.wire[self.rrs_len..]
    }

    /// The RRSIG RRs as an RRset of their own.
    pub fn signatures_alone(&self) -> Self {
        Self {
            rtype: RrType::RRSIG,
            rotate: false,
            note: self.note,
            rr_count: self.signature_count,
            signature_count: 0,
            rr_len: 0,
            relocations: &[],
            rrs_len: self.signatures().len(),
            wire: self.signatures(),
        }
    }

    /// Offsets into [`rrs`](Self::rrs) of two octets that become a pointer to the apex.
    #[inline]
    pub fn relocations(&self) -> impl Iterator<Item = usize> + 's {
        let relocations = self.relocations;
        relocations.chunks_exact(2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))
    }

    /// TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.wire.get(6..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_be_bytes(*b))
    }

    /// The first RR's RDATA, and whether its last two octets stand for the apex.
    ///
    /// That is how the single name of a CNAME or DNAME reads.
    pub fn first_rdata(&self) -> &'s [u8] {
        rr_at(self.rrs(), 0).map_or(&[], |(rdata, _)| rdata)
    }

    /// Whether the first RR's RDATA ends in a relocation.
    pub fn first_rdata_ends_at_apex(&self) -> bool {
        let end = RR_HEADER + self.first_rdata().len();
        self.relocations().any(|at| at + 2 == end)
    }
}

/// The RDATA of the RR at `at` of a block's RRs, and where the next RR starts.
#[inline]
pub(super) fn rr_at(rrs: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = rrs.get(at + 10..).and_then(|b| b.first_chunk::<2>())?;
    let start = at + RR_HEADER;
    let end = start + usize::from(u16::from_be_bytes(*length));
    Some((rrs.get(start..end)?, end))
}

impl Note {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Stale,
            2 => Self::AllDownServingAll,
            3 => Self::Fallback,
            _ => Self::None,
        }
    }
}
