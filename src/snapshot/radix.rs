//! Shards under two levels of shared arrays, so that a commit copies the shards it touches and about √n pointers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::hash::HashKey;

use super::record::Node;
use super::shard::{self, OpenShard, PatchedShard, Shard};

/// Records a shard has on average when the number of shards doubles.
const RECORDS_TO_SPLIT: usize = 192;

/// More would not fit the numbers of shards.
const MAX_BITS: u32 = 31;

/// The shards of one zone, a power of two of them, chosen by the highest bits of an owner's hash.
#[derive(Clone, Debug)]
pub(super) struct Radix {
    bits: u32,
    top: Arc<[Arc<[Shard]>]>,
}

/// How many bits of the hash choose among the shards of a zone of so many records.
pub(super) fn bits_for(records: usize) -> u32 {
    (0..MAX_BITS).find(|bits| records <= RECORDS_TO_SPLIT << bits).unwrap_or(MAX_BITS)
}

pub(super) fn shard_of(hash: u64, bits: u32) -> u32 {
    // In two steps, since a shift by 64 is undefined where there is one shard.
    (hash >> 1 >> (63 - bits)) as u32
}

impl Radix {
    /// Of all shards, by number; there must be two to the power of `bits`.
    pub(super) fn of_shards(bits: u32, shards: &[Shard]) -> Self {
        Self { bits, top: shards.chunks(1 << Self::leaf_bits(bits)).map(Arc::from).collect() }
    }

    fn leaf_bits(bits: u32) -> u32 {
        bits / 2
    }

    #[inline]
    fn shard(&self, index: u32) -> Option<&Shard> {
        let leaf_bits = Self::leaf_bits(self.bits);
        self.top.get((index >> leaf_bits) as usize)?.get((index & ((1 << leaf_bits) - 1)) as usize)
    }

    /// The record of the owner whose labels in front of the apex are `head` and `tail` together.
    #[inline]
    pub(super) fn find(&self, hash: u64, head: &[u8], tail: &[u8]) -> Option<Node<'_>> {
        shard::find(self.shard(shard_of(hash, self.bits))?, hash, head, tail)
    }

    /// Every record of the shard that a hash chooses, in no order.
    pub(super) fn nodes_beside(&self, hash: u64) -> impl Iterator<Item = Node<'_>> {
        self.shard(shard_of(hash, self.bits)).into_iter().flat_map(|shard| shard::nodes(shard))
    }

    /// How many leaves there are.
    pub(super) fn leaves(&self) -> usize {
        self.top.len()
    }

    /// Every record of a leaf, in no order.
    pub(super) fn nodes_of_leaf(&self, leaf: usize) -> impl Iterator<Item = Node<'_>> {
        self.top.get(leaf).into_iter().flat_map(|leaf| leaf.iter()).flat_map(|shard| shard::nodes(shard))
    }

    /// Every record, in no order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.top.iter().flat_map(|leaf| leaf.iter()).flat_map(|shard| shard::nodes(shard))
    }
}

/// Shards under change: those touched are open, the others still shared.
#[derive(Debug)]
pub(super) struct OpenRadix {
    key: HashKey,
    apex_hash: u64,
    base: Radix,
    bits: u32,
    open: HashMap<u32, OpenShard>,
    /// Shards of which nothing but records is replaced; none of them is open.
    patched: HashMap<u32, PatchedShard>,
}

impl OpenRadix {
    pub(super) fn new(key: HashKey, apex_hash: u64) -> Self {
        let base = Radix { bits: 0, top: Arc::new([Arc::new([shard::empty()])]) };
        Self::from_radix(key, apex_hash, &base)
    }

    pub(super) fn from_radix(key: HashKey, apex_hash: u64, base: &Radix) -> Self {
        Self {
            key,
            apex_hash,
            base: base.clone(),
            bits: base.bits,
            open: HashMap::new(),
            patched: HashMap::new(),
        }
    }

    /// The open shard that an owner belongs to.
    pub(super) fn open(&mut self, hash: u64) -> &mut OpenShard {
        self.open_at(shard_of(hash, self.bits))
    }

    fn open_at(&mut self, index: u32) -> &mut OpenShard {
        let (key, apex_hash, base) = (self.key, self.apex_hash, &self.base);
        let patched = self.patched.remove(&index);
        self.open.entry(index).or_insert_with(|| match patched {
            Some(patched) => patched.open(key, apex_hash),
            None => base.shard(index).map_or_else(OpenShard::default, |s| OpenShard::open(s, key, apex_hash)),
        })
    }

    /// The shard of an owner that is there, and its place in it, to be replaced; `None` if it is not there, or its shard is open.
    pub(super) fn patch(&mut self, hash: u64, prefix: &[u8]) -> Option<(&mut PatchedShard, usize)> {
        let index = shard_of(hash, self.bits);
        if self.bits != self.base.bits || self.open.contains_key(&index) {
            return None;
        }
        let shared = self.base.shard(index)?;
        let patched = self.patched.entry(index).or_insert_with(|| PatchedShard::new(Arc::clone(shared)));
        let place = patched.place(hash, prefix)?;
        Some((patched, place))
    }

    /// An owner's record as it stands now.
    pub(super) fn find(&self, hash: u64, prefix: &[u8]) -> Option<Node<'_>> {
        let index = shard_of(hash, self.bits);
        if let Some(open) = self.open.get(&index) {
            return open.node(open.position(hash, prefix)?);
        }
        match self.patched.get(&index) {
            Some(patched) => patched.node(patched.place(hash, prefix)?),
            None => self.base.find(hash, &[], prefix),
        }
    }

    /// Doubles the number of shards if `records` have become too many for them.
    ///
    /// Costs a copy of the whole zone, but only each time that it has doubled.
    pub(super) fn grow_for(&mut self, records: usize) {
        if bits_for(records) <= self.bits {
            return;
        }
        let mut doubled = HashMap::with_capacity(2 << self.bits);
        for index in 0..1 << self.bits {
            self.open_at(index);
            if let Some(shard) = self.open.remove(&index) {
                let [lower, upper] = shard.split(self.bits);
                doubled.insert(2 * index, lower);
                doubled.insert(2 * index + 1, upper);
            }
        }
        self.open = doubled;
        self.bits += 1;
    }

    /// The shared form, and by how many octets it differs from what it was made from.
    pub(super) fn seal(mut self) -> (Radix, isize) {
        let mut buffer = Vec::new();
        let mut difference = 0isize;
        let leaf_bits = Radix::leaf_bits(self.bits);
        let mut top: Vec<Option<Arc<[Shard]>>> = vec![None; 1 << (self.bits - leaf_bits)];
        if self.bits == self.base.bits {
            top = self.base.top.iter().cloned().map(Some).collect();
            for index in self.open.keys().chain(self.patched.keys()) {
                top[(index >> leaf_bits) as usize] = None;
            }
        }
        for (high, leaf) in top.iter_mut().enumerate() {
            if leaf.is_some() {
                continue;
            }
            let first = (high as u32) << leaf_bits;
            let shards = (first..first + (1 << leaf_bits)).map(|index| match self.open.remove(&index) {
                Some(open) => {
                    let sealed = open.seal(&mut buffer);
                    difference += sealed.len() as isize - open.sealed_bytes as isize;
                    sealed
                }
                // After a doubling every shard is open, so a shard that is not open has its old number.
                None => match self.patched.remove(&index) {
                    Some(patched) => {
                        let (sealed, longer) = patched.seal(&mut buffer);
                        difference += longer;
                        sealed
                    }
                    None => self.base.shard(index).cloned().unwrap_or_else(shard::empty),
                },
            });
            *leaf = Some(shards.collect());
        }
        (Radix { bits: self.bits, top: top.into_iter().flatten().collect() }, difference)
    }
}
