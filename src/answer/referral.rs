//! Referrals: the NS RRset of a zone cut with the proof whether the child is signed, and glue (RFC 1034 §4.3.2, RFC 4035
//! §3.1.4, RFC 9471).

use crate::model::rrtype::RrType;
use crate::snapshot::lookup::{Found, Node};

use super::Kind;
use super::additional::Targets;
use super::encode::{Owner, Section};
use super::resolve::{Hop, Resolver};

impl<'s> Resolver<'s, '_, '_> {
    /// Refers to the zone that starts at `cut`, the suffix of `depth` labels of the name in work.
    #[inline(never)]
    pub(super) fn refer(&mut self, hop: &Hop<'s>, cut: Node<'s>, depth: usize) -> Kind {
        // What a chain brought before is authoritative; the referral itself is not.
        self.response.authoritative = !self.response.has_no_answer();
        let owner = Owner::At(hop.place.at(self.name, depth));
        let Some(ns) = cut.rrset(RrType::NS) else { return Kind::Referral };
        let Ok(start) = self.put(Section::Authority, hop, &ns, owner) else { return Kind::Referral };
        if self.proves(hop) {
            // DS says that the child is signed, NSEC without DS in its bitmap that it is not.
            let proof = cut.rrset(RrType::DS).or_else(|| cut.rrset(RrType::NSEC));
            if let Some(proof) = proof
                && self.put(Section::Authority, hop, &proof, owner).is_err()
            {
                return Kind::Referral;
            }
        }
        self.finish_authority(None);
        if let Some(targets) = Targets::of(hop, &ns, start)
            && !self.response.truncated
        {
            self.add_glue(targets, depth);
        }
        Kind::Referral
    }

    /// Addresses of name servers below the cut must all be there, or the response is truncated (RFC 9471 §3.1). Those below a sibling
    /// cut follow as far as there is room (§3.2), ahead of addresses that are authoritative here: a resolver can ask for these.
    fn add_glue(&mut self, targets: Targets<'s>, cut_depth: usize) {
        // Most delegations have servers in their own domain, or in none of ours: then one round is all.
        let mut has_others = false;
        for wanted in [Server::InDomain, Server::Sibling, Server::Elsewhere] {
            if wanted != Server::InDomain && !has_others {
                return;
            }
            let mut at = targets.start;
            for _ in 0..targets.records {
                let Some((name_at, next)) = targets.name_at(self.response.written(), at) else { return };
                at = next;
                let key = self.snapshot.key();
                if self.other.read_compressed(key, self.response.written(), name_at).is_err() {
                    return;
                }
                let Some(node) = targets.hop.image.glue(self.other) else { continue };
                let is_in_domain = self.other.depth() >= cut_depth
                    && self.other.suffix(cut_depth) == self.name.suffix(cut_depth);
                has_others |= !is_in_domain;
                let is_wanted = match wanted {
                    Server::InDomain => is_in_domain,
                    _ => !is_in_domain && self.place_of_other_server(&targets.hop) == wanted,
                };
                if is_wanted && self.add_addresses(&targets.hop, node, name_at).is_err() {
                    self.response.truncated = wanted == Server::InDomain;
                    return;
                }
            }
        }
    }

    /// Where the name server whose name was read last stands; it is in the zone, and not below the cut that is referred to.
    fn place_of_other_server(&self, hop: &Hop<'s>) -> Server {
        match hop.image.lookup(self.other) {
            Found::BelowCut { .. } => Server::Sibling,
            Found::Exact(node) if node.is_cut() => Server::Sibling,
            _ => Server::Elsewhere,
        }
    }
}

/// Where a delegation's name server stands (RFC 9471 §2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// At or below the cut that is referred to.
    InDomain,
    /// At or below another cut of the zone.
    Sibling,
    /// In the zone's own data.
    Elsewhere,
}
