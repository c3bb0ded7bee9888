//! The ordered set of names that hold an NSEC RRset, in canonical order (RFC 4034 §6.1); also of all names, where somebody turns their
//! pages (order.rs).
//!
//! Names are kept as sort keys (model/sort_key.rs). They stand in blocks of about 128 that are shared between snapshots; a flip
//! that changes no type bitmap's owner never touches them. The first eight octets of each block's first key stand beside the
//! pointer to it, so that the search among blocks stays in one array.
//!
//! ```text
//! block   0  u16 keys n   2  u32 × (n+1) offsets of the keys and of their end   then the keys
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use super::bulk::DenialRun;
use super::record::le16;

/// Keys a block has when it is built; it is split at twice that.
const KEYS_PER_BLOCK: usize = 128;
#[derive(Clone, Debug)]
struct Block {
    head: u64,
    bytes: Arc<[u8]>,
}

/// The first eight octets of a key.
pub(super) fn head_of(key: &[u8]) -> u64 {
    let mut head = [0u8; 8];
    for (to, from) in head.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_be_bytes(head)
}

impl Block {
    fn new(keys: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(6 + keys.iter().map(|k| k.len() + 4).sum::<usize>());
        bytes.extend((keys.len() as u16).to_le_bytes());
        let mut offset = 2 + 4 * (keys.len() + 1);
        for key in keys {
            bytes.extend((offset as u32).to_le_bytes());
            offset += key.len();
        }
        bytes.extend((offset as u32).to_le_bytes());
        keys.iter().for_each(|key| bytes.extend_from_slice(key));
        Self { head: keys.first().map_or(0, |k| head_of(k)), bytes: bytes.into() }
    }

    fn len(&self) -> usize {
        le16(&self.bytes, 0)
    }

    #[inline]
    fn key(&self, index: usize) -> &[u8] {
        let at = 2 + 4 * index;
        // Two offsets in one read: the key's own and the next one's.
        let Some(both) = self.bytes.get(at..).and_then(|b| b.first_chunk::<8>()) else { return &[] };
        let both = u64::from_le_bytes(*both);
        self.bytes.get(both as u32 as usize..(both >> 32) as usize).unwrap_or_default()
    }

    /// How many keys are at or before `key`.
    #[inline]
    fn rank(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.key(middle) <= key { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// The set. Cloning it shares every block.
#[derive(Clone, Debug, Default)]
pub(super) struct DenialIndex {
    blocks: Arc<[Block]>,
}

impl DenialIndex {
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(|b| b.bytes.len() + size_of::<Block>()).sum()
    }

    /// The number of blocks whose first key is at or before `key`.
    fn block_rank(&self, key: &[u8]) -> usize {
        let head = head_of(key);
        self.blocks.partition_point(|block| match block.head.cmp(&head) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => block.key(0) <= key,
        })
    }

    /// The last key at or before `key`; before the first one, the last of all, as the chain is a ring (RFC 4034 §4.1.1).
    pub(super) fn at_or_before(&self, key: &[u8]) -> Option<&[u8]> {
        let block = match self.block_rank(key).checked_sub(1) {
            Some(index) => self.blocks.get(index)?,
            None => return self.last(),
        };
        block.rank(key).checked_sub(1).map(|i| block.key(i))
    }

    /// The last key before `key`, round the ring.
    pub(super) fn before(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.at_or_before(key)?;
        if found != key {
            return Some(found);
        }
        let index = self.block_rank(key).checked_sub(1)?;
        let block = self.blocks.get(index)?;
        match block.rank(key).checked_sub(2) {
            Some(i) => Some(block.key(i)),
            None => {
                let previous = index.checked_sub(1).unwrap_or(self.blocks.len() - 1);
                let block = self.blocks.get(previous)?;
                Some(block.key(block.len().checked_sub(1)?))
            }
        }
    }

    /// The first key after `key`, round the ring.
    pub(super) fn after(&self, key: &[u8]) -> Option<&[u8]> {
        let first = || self.blocks.first().map(|b| b.key(0));
        let Some(index) = self.block_rank(key).checked_sub(1) else { return first() };
        let block = self.blocks.get(index)?;
        let rank = block.rank(key);
        if rank < block.len() {
            return Some(block.key(rank));
        }
        self.blocks.get(index + 1).map(|b| b.key(0)).or_else(first)
    }

    /// Every key after `key`, or every key, in order, without going round.
    pub(super) fn walk_after(&self, key: Option<&[u8]>) -> impl Iterator<Item = &[u8]> + use<'_> {
        let block = key.map_or(0, |key| self.block_rank(key).saturating_sub(1));
        let start = key.and_then(|key| Some(self.blocks.get(block)?.rank(key))).unwrap_or(0);
        let blocks = self.blocks.iter().skip(block).enumerate();
        blocks.flat_map(move |(i, block)| {
            let first = if i == 0 { start } else { 0 };
            (first..block.len()).map(|i| block.key(i))
        })
    }

    /// Every key before `key`, the last one first, without going round.
    pub(super) fn walk_before(&self, key: &[u8]) -> impl Iterator<Item = &[u8]> + use<'_> {
        let blocks = self.block_rank(key);
        let last = blocks.checked_sub(1).and_then(|last| self.blocks.get(last));
        let end = last.map_or(0, |block| {
            let rank = block.rank(key);
            // A key that is there counts among those at or before itself.
            if rank > 0 && block.key(rank - 1) == key { rank - 1 } else { rank }
        });
        let blocks = self.blocks.iter().take(blocks).rev().enumerate();
        blocks.flat_map(move |(i, block)| {
            let end = if i == 0 { end } else { block.len() };
            (0..end).rev().map(|i| block.key(i))
        })
    }

    fn last(&self) -> Option<&[u8]> {
        self.blocks.last().and_then(|b| Some(b.key(b.len().checked_sub(1)?)))
    }

    /// A set of runs of keys that follow one another in order.
    pub(super) fn of_runs(runs: &[DenialRun]) -> Self {
        let keys = runs.iter().flat_map(|run| {
            let starts = std::iter::once(0).chain(run.ends.iter().copied());
            starts.zip(&run.ends).map(|(start, end)| &run.keys[start as usize..*end as usize])
        });
        Self::of_sorted(keys)
    }

    /// A set of keys that come in order.
    pub(super) fn of_sorted<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Self {
        let (mut blocks, mut block) = (Vec::new(), Vec::with_capacity(KEYS_PER_BLOCK));
        for key in keys {
            block.push(key);
            if block.len() == KEYS_PER_BLOCK {
                blocks.push(Block::new(&block));
                block.clear();
            }
        }
        if !block.is_empty() {
            blocks.push(Block::new(&block));
        }
        Self { blocks: blocks.into() }
    }

    /// The set after `changes`, of which the last one for a key counts. Blocks without changes are shared.
    pub(super) fn changed(&self, changes: &DenialChanges) -> Self {
        let changes = changes.settled();
        if changes.is_empty() {
            return self.clone();
        }
        let mut blocks = Vec::with_capacity(self.blocks.len() + changes.len() / KEYS_PER_BLOCK + 1);
        let mut rest = &changes[..];
        if self.blocks.is_empty() {
            push_blocks(&mut blocks, &rest.iter().filter(|c| c.1).map(|c| c.0).collect::<Vec<_>>());
        }
        for (index, block) in self.blocks.iter().enumerate() {
            // Changes before the first block belong to it.
            let next = self.blocks.get(index + 1);
            let here = next.map_or(rest.len(), |next| rest.partition_point(|c| c.0 < next.key(0)));
            let (mine, later) = rest.split_at(here);
            rest = later;
            if mine.is_empty() {
                blocks.push(block.clone());
            } else {
                push_blocks(&mut blocks, &merge(block, mine));
            }
        }
        Self { blocks: blocks.into() }
    }
}

fn merge<'a>(block: &'a Block, changes: &[(&'a [u8], bool)]) -> Vec<&'a [u8]> {
    let mut keys: Vec<&[u8]> = Vec::with_capacity(block.len() + changes.len());
    let mut old = (0..block.len()).map(|i| block.key(i)).peekable();
    for &(key, is_in) in changes {
        while let Some(before) = old.next_if(|k| *k < key) {
            keys.push(before);
        }
        old.next_if_eq(&key);
        if is_in {
            keys.push(key);
        }
    }
    keys.extend(old);
    keys
}

fn push_blocks(blocks: &mut Vec<Block>, keys: &[&[u8]]) {
    let size = if keys.len() <= 2 * KEYS_PER_BLOCK { 2 * KEYS_PER_BLOCK } else { KEYS_PER_BLOCK };
    blocks.extend(keys.chunks(size).map(Block::new));
}

/// Additions and removals that a draft collects: keys end to end in one buffer.
#[derive(Debug, Default)]
pub(super) struct DenialChanges {
    keys: Vec<u8>,
    entries: Vec<(u32, u16, bool)>,
}

impl DenialChanges {
    /// Notes that the name with this key now holds an NSEC RRset, or no longer does.
    pub(super) fn set(&mut self, key: &[u8], is_in: bool) {
        self.entries.push((self.keys.len() as u32, key.len() as u16, is_in));
        self.keys.extend_from_slice(key);
    }

    fn key(&self, entry: &(u32, u16, bool)) -> &[u8] {
        let start = entry.0 as usize;
        &self.keys[start..start + usize::from(entry.1)]
    }

    /// By key, the last change of each.
    fn settled(&self) -> Vec<(&[u8], bool)> {
        let mut all: Vec<(&[u8], bool)> = self.entries.iter().map(|e| (self.key(e), e.2)).collect();
        all.sort_by_key(|change| change.0);
        // The sort is stable: of equal keys the last one stands last. `dedup` keeps the first, so copy backwards.
        let mut kept: Vec<(&[u8], bool)> = Vec::with_capacity(all.len());
        for change in all {
            match kept.last_mut() {
                Some(last) if last.0 == change.0 => *last = change,
                _ => kept.push(change),
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Name;
    use crate::model::sort_key::SortKey;
    use std::collections::BTreeSet;

    fn key(text: &str) -> SortKey {
        let name = Name::parse_absolute(text).unwrap();
        SortKey::of_prefix(&name.wire()[..name.wire().len() - 1])
    }

    #[test]
    fn follows_a_plain_set_through_random_changes() {
        let mut set: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut index = DenialIndex::default();
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..60 {
            let mut changes = DenialChanges::default();
            for _ in 0..if round == 0 { 3000 } else { random(40) } {
                let key = key(&format!("n{}.d{}", random(2000), random(3))).as_bytes().to_vec();
                let is_in = random(3) != 0;
                changes.set(&key, is_in);
                if is_in {
                    set.insert(key)
                } else {
                    set.remove(&key)
                };
            }
            index = index.changed(&changes);
            for _ in 0..200 {
                let probe = key(&format!("n{}.d{}", random(2100), random(4)));
                let probe = probe.as_bytes();
                let want = set.range(..=probe.to_vec()).next_back().or(set.last());
                assert_eq!(index.at_or_before(probe), want.map(|k| &k[..]));
                let want = set.range(..probe.to_vec()).next_back().or(set.last());
                assert_eq!(index.before(probe), want.map(|k| &k[..]));
                let mut after = set.range(probe.to_vec()..).filter(|k| &k[..] != probe);
                assert_eq!(index.after(probe), after.next().or(set.first()).map(|k| &k[..]));
            }
            let listed: Vec<Vec<u8>> =
                index.blocks.iter().flat_map(|b| (0..b.len()).map(|i| b.key(i).to_vec())).collect();
            assert!(listed.iter().eq(set.iter()), "round {round}");
        }
    }
}
