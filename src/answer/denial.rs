//! The authority section of answers that are not referrals: SOA, and the NSEC records that prove what is not there.

use crate::model::rrtype::RrType;
use crate::snapshot::lookup::Node;

use super::encode::{Owner, Section};
use super::resolve::{Hop, MAX_HOPS, Resolver};

/// Every hop may need one proof (a wildcard), the last one two more.
const MAX_PROOFS: usize = MAX_HOPS + 3;

/// One NSEC RRset to be shown.
#[derive(Clone, Copy)]
struct Proof<'s> {
    node: Node<'s>,
    hop: Hop<'s>,
    /// Whether the NSEC's owner is the name in work itself, which stands here in the message.
    at: Option<usize>,
}

/// NSEC RRsets that the authority section will show, each once. Made when the first one is queued: most answers have none, and
/// would pay for the room.
#[derive(Clone, Copy, Default)]
pub(super) struct Proofs<'s> {
    items: [Option<Proof<'s>>; MAX_PROOFS],
    len: usize,
}

impl<'s> Proofs<'s> {
    fn get(&self, index: usize) -> Option<Proof<'s>> {
        self.items[..self.len].get(index).copied().flatten()
    }

    fn push(&mut self, proof: Proof<'s>) {
        let known = self.items[..self.len].iter().flatten();
        if known.into_iter().any(|p| p.node.identity() == proof.node.identity()) {
            return;
        }
        if let Some(free) = self.items.get_mut(self.len) {
            *free = Some(proof);
            self.len += 1;
        }
    }
}

impl<'s> Resolver<'s, '_, '_> {
    fn queue(&mut self, proof: Proof<'s>) {
        self.proofs.get_or_insert_default().push(proof);
    }

    /// Whether proofs are wanted and there are any.
    #[inline]
    pub(super) fn proves(&self, hop: &Hop<'s>) -> bool {
        self.dnssec_ok && hop.image.is_signed()
    }

    /// An answer from a wildcard: the name itself does not exist (RFC 4035 §3.1.3.3).
    ///
    /// The NSEC that covers the name covers the next closer name too, since nothing stands between them.
    pub(super) fn prove_no_closer_name(&mut self, hop: &Hop<'s>) {
        if self.proves(hop)
            && let Some(node) = hop.image.denial_of(self.name)
        {
            self.queue(Proof { node, hop: *hop, at: None });
        }
    }

    /// NXDOMAIN: neither the name nor a wildcard that could have made it exists (RFC 4035 §3.1.3.2).
    pub(super) fn prove_name_missing(&mut self, hop: &Hop<'s>, encloser: usize) {
        self.prove_no_closer_name(hop);
        if self.proves(hop)
            && let Some(node) = hop.image.denial_of_wildcard(self.name, encloser)
        {
            self.queue(Proof { node, hop: *hop, at: None });
        }
    }

    /// NODATA: the bitmap of the name's NSEC (RFC 4035 §3.1.3.1); for an empty non-terminal the NSEC that covers it, whose
    /// next name lies below it; for a wildcard the bitmap of its own NSEC (§3.1.3.4).
    pub(super) fn prove_type_missing(&mut self, hop: &Hop<'s>, node: Node<'s>, encloser: Option<usize>) {
        if !self.proves(hop) {
            return;
        }
        let holds_nsec = node.rrset(RrType::NSEC).is_some();
        let (node, at) = match encloser {
            None if holds_nsec => (Some(node), Some(hop.place.at(self.name, self.name.depth()))),
            None => (hop.image.denial_of(self.name), None),
            Some(_) if holds_nsec => (Some(node), None),
            Some(encloser) => (hop.image.denial_of_wildcard(self.name, encloser), None),
        };
        if let Some(node) = node {
            self.queue(Proof { node, hop: *hop, at });
        }
    }

    /// Writes the authority section: the SOA of a negative answer's zone, then what was queued.
    #[inline]
    pub(super) fn finish_authority(&mut self, negative: Option<&Hop<'s>>) {
        if let Some(hop) = negative
            && let Some(soa) = hop.image.negative_soa()
            && self.put(Section::Authority, hop, &soa, Owner::At(hop.apex_at)).is_err()
        {
            return;
        }
        if self.proofs.is_some() {
            self.put_proofs();
        }
    }

    #[inline(never)]
    fn put_proofs(&mut self) {
        let mut index = 0;
        while let Some(Proof { node, hop, at }) = self.proofs.as_ref().and_then(|proofs| proofs.get(index)) {
            index += 1;
            let Some(set) = node.rrset(RrType::NSEC) else { continue };
            let owner = match at {
                Some(at) => Owner::At(at),
                None if node.prefix().is_empty() => Owner::At(hop.apex_at),
                None => Owner::Below(node.prefix(), hop.apex_at),
            };
            if self.put(Section::Authority, &hop, &set, owner).is_err() {
                return;
            }
        }
    }
}
