//! Writing a response: records into one buffer, each either whole or not at all.

use crate::snapshot::lookup::RrsetView;

use super::edns::{ExtendedError, Opt};
use super::parse::HEADER;
use super::rcode::Rcode;

/// The farthest offset that a compression pointer can name (RFC 1035 §4.1.4).
pub(super) const MAX_POINTER: usize = 0x3fff;

/// What was to be written does not fit; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A section of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// The owner of an RRset as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    /// A name that stands in the message, at most [`MAX_POINTER`] from its start.
    At(usize),
    /// These labels, then a name that stands in the message.
    Below(&'a [u8], usize),
}

/// An RRset to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rrs<'a> {
    pub(super) set: &'a RrsetView<'a>,
    pub(super) owner: Owner<'a>,
    /// Where the apex of the RRset's zone stands in the message.
    pub(super) apex_at: usize,
    pub(super) with_signatures: bool,
    /// Which record comes first, counted round.
    pub(super) first: u32,
}

/// A response in the making.
#[derive(Debug)]
pub(super) struct Response<'o> {
    out: &'o mut [u8],
    len: usize,
    /// Where records must end; the space of the OPT record lies behind it.
    limit: usize,
    reserved: usize,
    counts: [u16; 3],
    /// Octets of header and question.
    question_end: usize,
    pub(super) authoritative: bool,
    pub(super) truncated: bool,
}

impl<'o> Response<'o> {
    /// Starts with the query's header and question. `limit` is the largest response, `reserved` what is kept for OPT.
    ///
    /// # Errors
    /// Not even that fits.
    #[inline]
    pub(super) fn new(out: &'o mut [u8], echo: &[u8], limit: usize, reserved: usize) -> Result<Self, Full> {
        let limit = limit.min(out.len()).checked_sub(reserved).ok_or(Full)?;
        if echo.len() > limit {
            return Err(Full);
        }
        out.get_mut(..echo.len()).ok_or(Full)?.copy_from_slice(echo);
        Ok(Self {
            out,
            len: echo.len(),
            limit,
            reserved,
            counts: [0; 3],
            question_end: echo.len(),
            authoritative: false,
            truncated: false,
        })
    }

    /// The message so far.
    pub(super) fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }

    /// Octets that are left.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    /// Whether no record was written into the answer section.
    pub(super) fn has_no_answer(&self) -> bool {
        self.counts[0] == 0
    }

    /// Takes every record back.
    pub(super) fn clear_records(&mut self) {
        self.len = self.question_end;
        self.counts = [0; 3];
    }

    /// Takes back the question as well.
    pub(super) fn clear_question(&mut self) {
        self.question_end = HEADER;
        self.clear_records();
    }

    fn reserve(&mut self, len: usize) -> Result<&mut [u8], Full> {
        let end = self.len + len;
        if end > self.limit {
            return Err(Full);
        }
        let space = self.out.get_mut(self.len..end).ok_or(Full)?;
        self.len = end;
        Ok(space)
    }

    /// Appends octets that belong to a record in work.
    #[inline]
    pub(super) fn push(&mut self, octets: &[u8]) -> Result<(), Full> {
        self.reserve(octets.len())?.copy_from_slice(octets);
        Ok(())
    }

    /// Appends a record of the additional section made of parts.
    #[inline]
    pub(super) fn record(&mut self, parts: &[&[u8]]) -> Result<(), Full> {
        self.record_in(Section::Additional, parts)
    }

    /// Appends a record made of parts.
    #[inline]
    pub(super) fn record_in(&mut self, section: Section, parts: &[&[u8]]) -> Result<(), Full> {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let mut space = self.reserve(len)?;
        for part in parts {
            let (to, rest) = space.split_at_mut_checked(part.len()).ok_or(Full)?;
            to.copy_from_slice(part);
            space = rest;
        }
        self.count(section, 1);
        Ok(())
    }

    #[inline]
    fn count(&mut self, section: Section, records: u16) {
        let count = &mut self.counts[section as usize];
        *count = count.saturating_add(records);
    }

    /// Appends an RRset, with its signatures if wanted; returns where it starts.
    ///
    /// # Errors
    /// It does not fit whole; the message is as before.
    #[inline]
    pub(super) fn rrset(&mut self, section: Section, rrs: &Rrs<'_>) -> Result<usize, Full> {
        let start = self.len;
        match rrs.owner {
            Owner::At(owner_at) => self.copy_rrset(rrs, owner_at)?,
            Owner::Below(labels, suffix_at) => {
                if let Err(full) = self.spell_rrset(rrs, labels, suffix_at) {
                    self.len = start;
                    return Err(full);
                }
            }
        }
        let signatures = if rrs.with_signatures { rrs.set.signature_count } else { 0 };
        self.count(section, rrs.set.rr_count.saturating_add(signatures));
        Ok(start)
    }

    /// One copy, then pointers are set right where they differ from what the image holds.
    #[inline]
    fn copy_rrset(&mut self, rrs: &Rrs<'_>, owner_at: usize) -> Result<(), Full> {
        let set = rrs.set;
        let wire = if rrs.with_signatures { set.rrs_and_signatures() } else { set.rrs() };
        let space = self.reserve(wire.len())?;
        copy_turned(space, wire, set.rrs().len(), rotation(set, rrs.first));
        for at in set.relocations() {
            put_pointer(space, at, rrs.apex_at);
        }
        if owner_at != HEADER {
            let mut at = 0;
            while let Some(next) = record_end(space, at) {
                put_pointer(space, at, owner_at);
                at = next;
            }
        }
        Ok(())
    }

    /// Record by record, the first with its owner spelt out, the others pointing to that.
    #[cold]
    fn spell_rrset(&mut self, rrs: &Rrs<'_>, labels: &[u8], suffix_at: usize) -> Result<(), Full> {
        let wire = if rrs.with_signatures { rrs.set.rrs_and_signatures() } else { rrs.set.rrs() };
        let first_at = self.len;
        let mut at = 0;
        while let Some(next) = record_end(wire, at) {
            if at > 0 && first_at <= MAX_POINTER {
                self.push(&pointer(first_at))?;
            } else {
                self.push(labels)?;
                self.push(&pointer(suffix_at))?;
            }
            let body_at = self.len;
            self.push(wire.get(at + 2..next).ok_or(Full)?)?;
            for relocation in rrs.set.relocations().filter(|r| (at..next).contains(r)) {
                put_pointer(self.out, body_at + relocation - at - 2, rrs.apex_at);
            }
            at = next;
        }
        Ok(())
    }

    /// Writes the OPT record, whose space was kept free from the start, and gives its length; only records of the additional
    /// section may follow.
    #[inline]
    pub(super) fn write_opt(&mut self, rcode: Rcode, opt: &Opt<'_>, error: Option<ExtendedError>) -> usize {
        self.limit += self.reserved;
        self.reserved = 0;
        let start = self.len;
        let written = opt.write(rcode, error, self);
        debug_assert_eq!(written, Ok(()));
        self.len - start
    }

    /// Writes the header; returns the message's length.
    #[inline]
    pub(super) fn finish(self, rcode: Rcode) -> usize {
        if let Some((header, _)) = self.out.split_first_chunk_mut::<HEADER>() {
            // QR is set; opcode and RD are the query's; RA is never set: recursion is not offered.
            let mut flags = 0x80 | header[2] & 0x79;
            if self.authoritative {
                flags |= 0x04;
            }
            if self.truncated {
                flags |= 0x02;
            }
            header[2] = flags;
            // CD is copied (RFC 4035 §3.1.6), AD is for resolvers to set, Z must be zero.
            header[3] = header[3] & 0x10 | (rcode.0 & 0x0f) as u8;
            header[4..6].copy_from_slice(&u16::from(self.question_end > HEADER).to_be_bytes());
            for (count, to) in self.counts.iter().zip(header[6..].chunks_exact_mut(2)) {
                to.copy_from_slice(&count.to_be_bytes());
            }
        }
        self.len
    }
}

/// Octets by which the records of a rotating RRset are turned.
#[inline]
fn rotation(set: &RrsetView<'_>, first: u32) -> usize {
    if !set.rotate || set.rr_len == 0 || set.rr_count < 2 {
        return 0;
    }
    (first % u32::from(set.rr_count)) as usize * set.rr_len
}

/// Copies `from`, of which the first octets are `records`, and puts those from `turn` on first. Only records without names in RDATA
/// rotate, so relocations are no concern.
#[inline]
fn copy_turned(to: &mut [u8], from: &[u8], records: usize, turn: usize) {
    if turn > 0
        && let Some((records, signatures)) = from.split_at_checked(records)
        && let Some((head, tail)) = records.split_at_checked(turn)
        && let Some((to_records, to_signatures)) = to.split_at_mut_checked(records.len())
    {
        let (to_tail, to_head) = to_records.split_at_mut(tail.len());
        to_tail.copy_from_slice(tail);
        to_head.copy_from_slice(head);
        if !signatures.is_empty() {
            to_signatures.copy_from_slice(signatures);
        }
    } else {
        to.copy_from_slice(from);
    }
}

/// Where the record at `at` ends, its owner being a pointer.
#[inline]
fn record_end(wire: &[u8], at: usize) -> Option<usize> {
    let length = wire.get(at + 10..)?.first_chunk::<2>()?;
    Some(at + 12 + usize::from(u16::from_be_bytes(*length)))
}

fn pointer(to: usize) -> [u8; 2] {
    debug_assert!(to <= MAX_POINTER);
    (0xc000 | to as u16).to_be_bytes()
}

#[inline]
fn put_pointer(bytes: &mut [u8], at: usize, to: usize) {
    if let Some(space) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut::<2>()) {
        *space = pointer(to);
    }
}
