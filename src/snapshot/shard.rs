//! Shards: about 128 owner records each, in one allocation with a small open-addressing index in front.
//!
//! ```text
//! shard   0  u32 slots - 1 (a power of two less one)    4  u32 records
//!         8  slots: u32 hash bits 24 to 55 · u32 offset of the record, 0 for none
//!            records (record.rs), end to end
//! ```
//!
//! The shard is chosen by the hash's highest bits, the slot by its lowest; the tag between them keeps a search from
//! touching other owners' records. One allocation means that a lookup follows three pointers (zone, radix node, shard) and
//! that a commit copies one piece of memory.

use std::sync::Arc;

use crate::model::hash::{HashKey, same};

use super::record::{Node, le32};

/// A shard that snapshots share.
pub(super) type Shard = Arc<[u8]>;

const SHARD_HEADER: usize = 8;
const SLOT: usize = 8;

fn tag(hash: u64) -> u32 {
    (hash >> 24) as u32
}

/// The record of the owner whose labels in front of the apex are `head` and `tail` together.
#[inline]
pub(super) fn find<'s>(shard: &'s [u8], hash: u64, head: &[u8], tail: &[u8]) -> Option<Node<'s>> {
    let mask = le32(shard, 0);
    let wanted = tag(hash);
    let mut slot = hash as u32 & mask;
    // The builder leaves a third of the slots empty; the bound only matters for a blob that is not ours.
    for _ in 0..=mask {
        let both = shard.get(SHARD_HEADER + slot as usize * SLOT..)?.first_chunk::<SLOT>()?;
        let both = u64::from_le_bytes(*both);
        let offset = both >> 32;
        if offset == 0 {
            return None;
        }
        if both as u32 == wanted {
            let node = Node::at(shard, offset as usize)?;
            if is_prefix(node.prefix(), head, tail) {
                return Some(node);
            }
        }
        slot = (slot + 1) & mask;
    }
    None
}

// Not inlined into the loop: the compiler makes a loop of its own for each length then, and decides among them for each search.
#[inline(never)]
fn is_prefix(prefix: &[u8], head: &[u8], tail: &[u8]) -> bool {
    if head.is_empty() {
        same(prefix, tail)
    } else {
        prefix.strip_prefix(head).is_some_and(|rest| rest == tail)
    }
}

/// Every record of a shard.
pub(super) fn nodes(shard: &[u8]) -> impl Iterator<Item = Node<'_>> {
    let mut at = SHARD_HEADER + (le32(shard, 0) as usize + 1) * SLOT;
    let mut left = le32(shard, 4);
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let node = Node::at(shard, at)?;
        at += node.bytes().len();
        Some(node)
    })
}

/// An empty shard.
pub(super) fn empty() -> Shard {
    OpenShard::default().seal(&mut Vec::new())
}

/// Hash of an owner by its labels in front of the apex.
pub(super) fn hash_prefix(key: HashKey, apex_hash: u64, prefix: &[u8]) -> u64 {
    key.labels(apex_hash, prefix)
}

/// A shared shard of which records are replaced, and nothing else: what nearly every commit does, and for which the shard need not be
/// taken apart.
#[derive(Debug)]
pub(super) struct PatchedShard {
    shared: Shard,
    /// Where a record starts in the shared shard, and what stands there instead; in the order of the places.
    patches: Vec<(usize, Vec<u8>)>,
}

impl PatchedShard {
    /// Nothing replaced yet.
    pub(super) fn new(shared: Shard) -> Self {
        Self { shared, patches: Vec::new() }
    }

    /// Where the owner's record starts in the shared shard.
    pub(super) fn place(&self, hash: u64, prefix: &[u8]) -> Option<usize> {
        let node = find(&self.shared, hash, prefix, &[])?;
        Some(node.identity() - self.shared.as_ptr() as usize)
    }

    fn patch(&self, place: usize) -> Result<usize, usize> {
        self.patches.binary_search_by_key(&place, |(at, _)| *at)
    }

    /// The record at a place as it stands now.
    pub(super) fn node(&self, place: usize) -> Option<Node<'_>> {
        match self.patch(place) {
            Ok(i) => Node::at(&self.patches[i].1, 0),
            Err(_) => Node::at(&self.shared, place),
        }
    }

    pub(super) fn replace(&mut self, place: usize, record: Vec<u8>) {
        match self.patch(place) {
            Ok(i) => self.patches[i].1 = record,
            Err(i) => self.patches.insert(i, (place, record)),
        }
    }

    /// Taken apart, for other changes.
    pub(super) fn open(&self, key: HashKey, apex_hash: u64) -> OpenShard {
        let mut open = OpenShard::open(&self.shared, key, apex_hash);
        for (place, record) in &self.patches {
            let old = Node::at(&self.shared, *place).map(Node::prefix);
            let position = old.and_then(|prefix| open.position(hash_prefix(key, apex_hash, prefix), prefix));
            if let Some(position) = position {
                open.replace(position, record);
            }
        }
        open
    }

    /// The shared form, and by how many octets it differs from what it was made from.
    pub(super) fn seal(&self, buffer: &mut Vec<u8>) -> (Shard, isize) {
        let old_len = |place: usize| le32(&self.shared, place) as usize;
        let is_in_place = self.patches.iter().all(|(place, record)| record.len() == old_len(*place));
        if is_in_place {
            let mut sealed: Shard = Arc::from(&self.shared[..]);
            // Nobody else has it yet.
            if let Some(octets) = Arc::get_mut(&mut sealed) {
                for (place, record) in &self.patches {
                    octets[*place..*place + record.len()].copy_from_slice(record);
                }
            }
            return (sealed, 0);
        }
        buffer.clear();
        let mut copied = 0;
        // Where each patch ends, and by how much what follows has moved from there.
        let mut moves = Vec::with_capacity(self.patches.len());
        for (place, record) in &self.patches {
            buffer.extend_from_slice(&self.shared[copied..*place]);
            buffer.extend_from_slice(record);
            copied = place + old_len(*place);
            moves.push((copied, buffer.len() as isize - copied as isize));
        }
        buffer.extend_from_slice(&self.shared[copied..]);
        let end = SHARD_HEADER + (le32(&self.shared, 0) as usize + 1) * SLOT;
        for slot in (SHARD_HEADER..end).step_by(SLOT) {
            let at = le32(&self.shared, slot + 4) as usize;
            // An empty slot has offset 0, which no record stands before.
            let earlier = moves.partition_point(|(end, _)| *end <= at);
            let moved = earlier.checked_sub(1).map_or(at, |last| at.saturating_add_signed(moves[last].1));
            buffer[slot + 4..slot + 8].copy_from_slice(&(moved as u32).to_le_bytes());
        }
        (Arc::from(&buffer[..]), buffer.len() as isize - self.shared.len() as isize)
    }
}

/// A shard that is being built or changed. Records that were replaced stay behind as garbage until it is sealed.
#[derive(Debug, Default)]
pub(super) struct OpenShard {
    records: Vec<u8>,
    hashes: Vec<u64>,
    offsets: Vec<u32>,
    /// Octets of the shared shard it was opened from.
    pub(super) sealed_bytes: usize,
}

impl OpenShard {
    /// Copies a shared shard.
    pub(super) fn open(shard: &[u8], key: HashKey, apex_hash: u64) -> Self {
        let mut open = Self { sealed_bytes: shard.len(), ..Self::default() };
        let start = SHARD_HEADER + (le32(shard, 0) as usize + 1) * SLOT;
        open.records.reserve_exact(shard.len() - start);
        for node in nodes(shard) {
            open.push(hash_prefix(key, apex_hash, node.prefix()), node.bytes());
        }
        open
    }

    /// Forgets everything but its memory.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.hashes.clear();
        self.offsets.clear();
        self.sealed_bytes = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The position of an owner; a position holds until the next [`remove`](Self::remove).
    pub(super) fn position(&self, hash: u64, prefix: &[u8]) -> Option<usize> {
        // About 128 words end to end: a scan is as fast as a table and needs none.
        let mut from = 0;
        while let Some(found) = self.hashes[from..].iter().position(|&h| h == hash) {
            let position = from + found;
            if self.node(position).is_some_and(|node| node.prefix() == prefix) {
                return Some(position);
            }
            from = position + 1;
        }
        None
    }

    pub(super) fn node(&self, position: usize) -> Option<Node<'_>> {
        Node::at(&self.records, *self.offsets.get(position)? as usize)
    }

    /// The record at a position, to change in place fields that do not change its length.
    pub(super) fn record_mut(&mut self, position: usize) -> Option<&mut [u8]> {
        let at = *self.offsets.get(position)? as usize;
        let len = le32(&self.records, at) as usize;
        self.records.get_mut(at..at + len)
    }

    pub(super) fn push(&mut self, hash: u64, record: &[u8]) {
        self.hashes.push(hash);
        self.offsets.push(self.records.len() as u32);
        self.records.extend_from_slice(record);
    }

    pub(super) fn replace(&mut self, position: usize, record: &[u8]) {
        match self.record_mut(position) {
            Some(old) if old.len() == record.len() => old.copy_from_slice(record),
            _ => {
                self.offsets[position] = self.records.len() as u32;
                self.records.extend_from_slice(record);
            }
        }
    }

    pub(super) fn remove(&mut self, position: usize) {
        self.hashes.swap_remove(position);
        self.offsets.swap_remove(position);
    }

    /// Moves its records into two shards by one more bit of their hashes, `bit` counted from the highest as 0.
    pub(super) fn split(self, bit: u32) -> [Self; 2] {
        let mut halves = [Self::default(), Self::default()];
        let upper = |hash: u64| usize::from(hash << bit >> 63 != 0);
        let mut bytes = [0usize; 2];
        for (position, &hash) in self.hashes.iter().enumerate() {
            bytes[upper(hash)] += self.node(position).map_or(0, |n| n.bytes().len());
        }
        for (half, bytes) in halves.iter_mut().zip(bytes) {
            half.records.reserve_exact(bytes);
        }
        for (position, &hash) in self.hashes.iter().enumerate() {
            if let Some(node) = self.node(position) {
                halves[upper(hash)].push(hash, node.bytes());
            }
        }
        // What the shared shard took is taken off once.
        halves[0].sealed_bytes = self.sealed_bytes;
        halves
    }

    /// The shared form. `buffer` is working space that is used again from shard to shard.
    pub(super) fn seal(&self, buffer: &mut Vec<u8>) -> Shard {
        let slots = (self.len() * 3 / 2 + 1).next_power_of_two();
        let mask = slots as u32 - 1;
        buffer.clear();
        buffer.extend(mask.to_le_bytes());
        buffer.extend((self.len() as u32).to_le_bytes());
        buffer.resize(SHARD_HEADER + slots * SLOT, 0);
        for (position, &hash) in self.hashes.iter().enumerate() {
            let Some(node) = self.node(position) else { continue };
            let mut slot = hash as u32 & mask;
            while le32(buffer, SHARD_HEADER + slot as usize * SLOT + 4) != 0 {
                slot = (slot + 1) & mask;
            }
            let (at, offset) = (SHARD_HEADER + slot as usize * SLOT, buffer.len() as u32);
            buffer[at..at + 4].copy_from_slice(&tag(hash).to_le_bytes());
            buffer[at + 4..at + 8].copy_from_slice(&offset.to_le_bytes());
            buffer.extend_from_slice(node.bytes());
        }
        Arc::from(&buffer[..])
    }
}
