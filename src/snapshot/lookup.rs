//! What the answer engine sees of a snapshot: zones by longest match, names by the algorithm of RFC 1034 §4.3.2.

pub use super::choice::{Chooser, Tables};
pub use super::image::Note;
pub use super::keyed::{KeyedName, NotAName};
pub use super::record::{Node, RrsetView};
pub use super::table::{Snapshot, ZoneRef};
pub use super::zone::ZoneImage;

/// Where a name leads within a zone. Depths are in labels from the root.
#[derive(Clone, Copy, Debug)]
pub enum Found<'s> {
    /// The name exists; it may be a zone cut itself, or an empty non-terminal.
    Exact(Node<'s>),
    /// The name lies below a zone cut.
    BelowCut {
        /// The cut.
        cut: Node<'s>,
        /// Its depth.
        depth: usize,
    },
    /// The name lies below the owner of a DNAME (RFC 6672 §2.3).
    BelowDname {
        /// The DNAME's owner.
        node: Node<'s>,
        /// Its depth.
        depth: usize,
    },
    /// The name does not exist, and a wildcard stands at the closest encloser (RFC 4592 §3.3.1).
    Wildcard {
        /// The source of synthesis.
        source: Node<'s>,
        /// Depth of the closest encloser.
        encloser: usize,
    },
    /// The name does not exist.
    Missing {
        /// Depth of the closest encloser.
        encloser: usize,
    },
}

impl ZoneImage {
    /// Finds a name, which must be the apex or below it.
    #[inline]
    pub fn lookup(&self, name: &KeyedName) -> Found<'_> {
        if self.has_barriers() {
            return self.descend(name);
        }
        // Nothing can end the search above the name, so that a record under its own hash is final.
        let depth = name.depth();
        if depth <= self.max_depth()
            && let Some(node) = self.find(name.whole_hash(), &[], name.in_front_of(self.apex().wire().len()))
        {
            return Found::Exact(node);
        }
        self.encloser(name, depth)
    }

    /// For a name without a record of its own, in a zone without cuts and DNAMEs.
    #[inline(never)]
    fn encloser(&self, name: &KeyedName, depth: usize) -> Found<'_> {
        // Existence is monotone, since empty non-terminals are records: halve the depths in between.
        let (mut exists, mut deepest) = (self.apex_depth(), self.max_depth().min(depth.saturating_sub(1)));
        while exists < deepest {
            let middle = (exists + deepest).div_ceil(2);
            match self.node_at(name, middle) {
                Some(_) => exists = middle,
                None => deepest = middle - 1,
            }
        }
        self.below(name, exists)
    }

    /// Whether `name` is a zone cut or lies below one.
    pub fn delegates(&self, name: &KeyedName) -> bool {
        match self.lookup(name) {
            Found::Exact(node) => node.is_cut(),
            Found::BelowCut { .. } => true,
            _ => false,
        }
    }

    /// Walks down from the apex, for zones with cuts or DNAMEs.
    fn descend(&self, name: &KeyedName) -> Found<'_> {
        for depth in self.apex_depth()..=name.depth() {
            let Some(node) = self.node_at(name, depth) else {
                return self.below(name, depth.saturating_sub(1));
            };
            if depth == name.depth() {
                return Found::Exact(node);
            }
            if node.is_cut() {
                return Found::BelowCut { cut: node, depth };
            }
            if node.has_dname() {
                return Found::BelowDname { node, depth };
            }
        }
        // Not reached for a name in the zone: the loop ends at the name itself.
        Found::Missing { encloser: self.apex_depth() }
    }

    /// The outcome for a name that does not exist, given the depth of its closest encloser.
    fn below(&self, name: &KeyedName, encloser: usize) -> Found<'_> {
        match self.wildcard_at(name, encloser) {
            Some(source) => Found::Wildcard { source, encloser },
            None => Found::Missing { encloser },
        }
    }

    fn wildcard_at(&self, name: &KeyedName, encloser: usize) -> Option<Node<'_>> {
        if !self.node_at(name, encloser)?.has_wildcard_child() {
            return None;
        }
        let hash = self.key().extend(name.suffix_hash(encloser), b"*");
        self.find(hash, b"\x01*", name.prefix(encloser, self.apex().wire().len()))
    }

    /// The record of the suffix of `depth` labels of `name`.
    #[inline]
    fn node_at(&self, name: &KeyedName, depth: usize) -> Option<Node<'_>> {
        self.find(name.suffix_hash(depth), &[], name.prefix(depth, self.apex().wire().len()))
    }

    /// The owner of that very name, also where it is glue or occluded; `None` if it is not in the zone.
    pub fn glue(&self, name: &KeyedName) -> Option<Node<'_>> {
        let depth = self.apex_depth();
        let in_zone = name.depth() >= depth && name.suffix(depth) == self.apex().wire();
        if in_zone { self.node_at(name, name.depth()) } else { None }
    }

    /// The owner whose NSEC RRset matches `name`, or else covers it (RFC 4034 §6.1 order).
    pub fn denial_of(&self, name: &KeyedName) -> Option<Node<'_>> {
        self.denial_node(name.prefix(name.depth(), self.apex().wire().len()))
    }

    /// The owner whose NSEC RRset covers `*` below the suffix of `encloser` labels of `name`.
    pub fn denial_of_wildcard(&self, name: &KeyedName, encloser: usize) -> Option<Node<'_>> {
        let outer = name.prefix(encloser, self.apex().wire().len());
        let mut wildcard = [0u8; crate::model::name::MAX_NAME_OCTETS + 2];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard.get_mut(2..2 + outer.len())?.copy_from_slice(outer);
        self.denial_node(&wildcard[..2 + outer.len()])
    }
}
