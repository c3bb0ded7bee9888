//! The additional section: addresses of the names that NS, MX, SRV, SVCB and HTTPS records point to, from the same snapshot.

use crate::model::rrtype::RrType;
use crate::snapshot::lookup::{Found, KeyedName, Node, RrsetView};

use super::encode::{Full, MAX_POINTER, Owner, Rrs, Section};
use super::resolve::{Hop, RR_HEADER, Resolver};

/// Targets looked up for one answer. More are not worth the work: their addresses would not fit a datagram.
const MAX_TARGETS: usize = 64;

/// An RRset in the message whose records point to names.
#[derive(Clone, Copy)]
pub(super) struct Targets<'s> {
    pub(super) hop: Hop<'s>,
    pub(super) rtype: RrType,
    /// Where its first record stands, its owner being a pointer.
    pub(super) start: usize,
    pub(super) records: u16,
    /// Octets of RDATA in front of the name.
    offset: usize,
}

impl<'s> Targets<'s> {
    /// `None` for types that point to no name.
    #[inline]
    pub(super) fn of(hop: &Hop<'s>, set: &RrsetView<'s>, start: usize) -> Option<Self> {
        let offset = match set.rtype {
            RrType::NS => 0,
            RrType::MX | RrType::SVCB | RrType::HTTPS => 2,
            RrType::SRV => 6,
            _ => return None,
        };
        Some(Self { hop: *hop, rtype: set.rtype, start, records: set.rr_count, offset })
    }

    /// Where the name of the record at `at` stands, and where the next record does.
    pub(super) fn name_at(&self, message: &[u8], at: usize) -> Option<(usize, usize)> {
        let length = message.get(at + 10..)?.first_chunk::<2>()?;
        let next = at + RR_HEADER + usize::from(u16::from_be_bytes(*length));
        Some((at + RR_HEADER + self.offset, next))
    }
}

impl<'s> Resolver<'s, '_, '_> {
    /// Adds the addresses of an answer's targets as far as there is room: leaving them out is no truncation (RFC 2181 §9).
    pub(super) fn add_targets(&mut self, targets: Targets<'s>) {
        let mut seen = [0u64; MAX_TARGETS];
        let mut at = targets.start;
        for index in 0..usize::from(targets.records).min(MAX_TARGETS) {
            let Some((name_at, next)) = targets.name_at(self.response.written(), at) else { return };
            at = next;
            let key = self.snapshot.key();
            if self.other.read_compressed(key, self.response.written(), name_at).is_err() {
                return;
            }
            // Service bindings point to their own owner by "." (RFC 9460 §2.5).
            let is_own = self.other.depth() == 0 && matches!(targets.rtype, RrType::SVCB | RrType::HTTPS);
            let (target, target_at) = if is_own {
                (&*self.name, targets.hop.place.at(self.name, self.name.depth()))
            } else {
                (&*self.other, name_at)
            };
            let hash = target.whole_hash();
            if seen[..index].contains(&hash) {
                continue;
            }
            seen[index] = hash;
            let Some(node) = address_owner(&targets, target) else { continue };
            if self.add_addresses(&targets.hop, node, target_at).is_err() {
                return;
            }
        }
    }

    /// Adds a node's A and AAAA RRsets.
    ///
    /// # Errors
    /// One of them does not fit.
    pub(super) fn add_addresses(&mut self, hop: &Hop<'s>, node: Node<'s>, at: usize) -> Result<(), Full> {
        let owner = if at <= MAX_POINTER { Owner::At(at) } else { Owner::Below(node.prefix(), hop.apex_at) };
        for rtype in [RrType::A, RrType::AAAA] {
            let Some(set) = node.rrset_for(rtype, hop.image.tables(), &mut self.chooser) else { continue };
            let rrs = Rrs {
                set: &set,
                owner,
                apex_at: hop.apex_at,
                with_signatures: self.dnssec_ok,
                first: self.next_turn(&set),
            };
            self.response.rrset(Section::Additional, &rrs)?;
        }
        Ok(())
    }
}

/// The node of a target within the answer's zone. Glue is good enough for name servers; other targets must be ours.
fn address_owner<'s>(targets: &Targets<'s>, target: &KeyedName) -> Option<Node<'s>> {
    let image = targets.hop.image;
    let node = image.glue(target)?;
    if targets.rtype == RrType::NS {
        return Some(node);
    }
    match image.lookup(target) {
        Found::Exact(node) if !node.is_cut() => Some(node),
        _ => None,
    }
}
