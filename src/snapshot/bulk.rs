//! A zone compiled as a whole, by as many threads as there are.
//!
//! [`ZoneDraft`](super::ZoneDraft) changes a few owners of a zone; making a large one by it would find each owner's shard by
//! itself, split all shards again and again, and keep one thread busy. Here each thread encodes runs of owners into bins by
//! the first bits of their hashes. Then bin after bin is sorted by hash and cut into shards, and its memory given back, so that
//! a zone is hardly ever there twice.
//!
//! Owners come in canonical order, where a name directly follows the one above it or the names below that one: so each name
//! knows from the one before it which of its ancestors are new. What an owner adds to its parent's count of children goes into
//! the parent's bin as a record without RRsets, which is what an empty non-terminal is; those of one name become one record.

use std::sync::{Arc, Mutex, PoisonError};

use super::choice::Tables;
use super::compile::{self, ImageError};
use super::denial::DenialIndex;
use super::draft::{Totals, image_of};
use super::image::OwnerRecords;
use super::keyed::KeyedName;
use super::radix::{self, Radix};
use super::record::{Node, flag};
use super::shard::{OpenShard, Shard};
use super::zone::ZoneImage;
use crate::model::hash::HashKey;
use crate::model::name::Name;
use crate::model::sort_key::SortKey;

/// The bins of a thread, as bits of the hash. Enough that one of them is small beside the zone.
const BIN_BITS: u32 = 6;
/// Octets of a piece of a bin.
const PIECE: usize = 64 * 1024;

/// Records end to end, each behind its hash, in pieces that are given back one by one.
#[derive(Debug, Default)]
struct Bin(Vec<Vec<u8>>);

impl Bin {
    fn push(&mut self, hash: u64, record: &[u8]) {
        let octets = record.len() + 8;
        let is_full = self.0.last().is_none_or(|piece| !piece.is_empty() && piece.len() + octets > PIECE);
        if is_full {
            // The first one grows as it is filled, since most zones are small.
            self.0.push(if self.0.is_empty() { Vec::new() } else { Vec::with_capacity(PIECE) });
        }
        if let Some(piece) = self.0.last_mut() {
            piece.extend_from_slice(&hash.to_le_bytes());
            piece.extend_from_slice(record);
        }
    }

    /// Every record with its hash.
    fn records(&self) -> impl Iterator<Item = (u64, Node<'_>)> {
        self.0.iter().flat_map(|piece| {
            let mut rest = &piece[..];
            std::iter::from_fn(move || {
                let (hash, records) = rest.split_first_chunk::<8>()?;
                let node = Node::at(records, 0)?;
                rest = &records[node.bytes().len()..];
                Some((u64::from_le_bytes(*hash), node))
            })
        })
    }
}

/// Names one label below one name that were met one after the other.
#[derive(Debug, Default)]
struct Children {
    hash: u64,
    prefix: Vec<u8>,
    count: u32,
    has_wildcard: bool,
}

/// The sort keys of a run's owners that hold an NSEC RRset: keys end to end, and where each of them ends.
#[derive(Debug, Default)]
pub(super) struct DenialRun {
    pub(super) number: usize,
    pub(super) keys: Vec<u8>,
    pub(super) ends: Vec<u32>,
}

/// What one thread compiles of a zone: any of the runs of owners into which the zone is divided.
#[derive(Debug)]
pub struct ZonePortion {
    key: HashKey,
    apex: Name,
    bins: Vec<Bin>,
    totals: Totals,
    /// By depth of the parent.
    children: Vec<Children>,
    denial: Vec<DenialRun>,
    tables: Tables,
    /// The owner in work and the one before it, if there was one.
    name: Box<KeyedName>,
    before: Box<KeyedName>,
    is_first: bool,
    record: Vec<u8>,
}

impl ZonePortion {
    /// Nothing yet of the zone `apex`. `key` must be that of the snapshot it will be published in.
    pub fn new(apex: Name, key: HashKey) -> Self {
        Self {
            key,
            apex,
            bins: (0..1 << BIN_BITS).map(|_| Bin::default()).collect(),
            totals: Totals::new(),
            children: Vec::new(),
            denial: Vec::new(),
            tables: Tables::default(),
            name: Box::default(),
            before: Box::default(),
            is_first: true,
            record: Vec::new(),
        }
    }

    /// Begins a run. Runs are numbered in canonical order; `before` is the last owner of the run before.
    pub fn start_run(&mut self, number: usize, before: Option<&Name>) {
        self.denial.push(DenialRun { number, ..DenialRun::default() });
        self.is_first = before.is_none();
        if let Some(before) = before {
            self.before.set(self.key, before);
        }
    }

    /// Puts the run's next owner, in canonical order.
    ///
    /// # Errors
    /// An owner outside the zone, or records that no message can carry.
    pub fn put(&mut self, owner: &OwnerRecords) -> Result<(), ImageError> {
        owner.choices.iter().for_each(|choice| self.tables.hold(&choice.pick));
        compile::encode_owner(owner, &self.apex, &self.tables, &mut self.record)?;
        self.name.set(self.key, &owner.name);
        let hash = self.name.whole_hash();
        self.bins[bin_of(hash)].push(hash, &self.record);
        if let Some(node) = Node::at(&self.record, 0) {
            self.totals.count(node, true);
            if let (true, Some(run)) = (node.flags() & flag::NSEC != 0, self.denial.last_mut()) {
                run.keys.extend_from_slice(SortKey::of_prefix(node.prefix()).as_bytes());
                run.ends.push(run.keys.len() as u32);
            }
        }
        let apex_depth = self.apex.label_count();
        let first_new = if self.is_first { apex_depth } else { 1 + self.common_depth(apex_depth) };
        for depth in first_new..=self.name.depth() {
            self.totals.name_added(depth);
            if depth > apex_depth {
                self.count_child(depth);
            }
        }
        self.is_first = false;
        std::mem::swap(&mut self.name, &mut self.before);
        Ok(())
    }

    /// Labels at the end that the name in work shares with the one before it.
    fn common_depth(&self, apex_depth: usize) -> usize {
        let most = self.name.depth().min(self.before.depth());
        let is_shared = |depth: &usize| {
            self.name.suffix_hash(*depth) == self.before.suffix_hash(*depth)
                && self.name.suffix(*depth) == self.before.suffix(*depth)
        };
        apex_depth + (apex_depth + 1..=most).take_while(is_shared).count()
    }

    /// Counts the suffix of `depth` labels of the name in work as a child of its parent.
    fn count_child(&mut self, depth: usize) {
        let parent = depth - 1;
        if self.children.len() <= parent {
            self.children.resize_with(parent + 1, Children::default);
        }
        let (hash, prefix) =
            (self.name.suffix_hash(parent), self.name.prefix(parent, self.apex.wire().len()));
        let children = &mut self.children[parent];
        if children.hash != hash || children.prefix != prefix {
            write_children(children, &mut self.bins, &mut self.record);
            children.hash = hash;
            children.prefix.clear();
            children.prefix.extend_from_slice(prefix);
        }
        children.count += 1;
        children.has_wildcard |= self.name.suffix(depth).starts_with(b"\x01*");
    }
}

fn bin_of(hash: u64) -> usize {
    (hash >> (64 - BIN_BITS)) as usize
}

/// Puts what was counted for a parent into its bin, and forgets it.
fn write_children(children: &mut Children, bins: &mut [Bin], record: &mut Vec<u8>) {
    if children.count > 0 {
        compile::start_record(&children.prefix, 0, 0, record);
        compile::set_neighbours(record, children.count, children.has_wildcard);
        bins[bin_of(children.hash)].push(children.hash, record);
    }
    (children.count, children.has_wildcard) = (0, false);
}

/// Makes a zone of its portions, which together hold every run of it, on up to `threads` threads.
///
/// # Errors
/// No single SOA record at the apex.
pub fn join(
    apex: &Name,
    key: HashKey,
    mut portions: Vec<ZonePortion>,
    threads: usize,
) -> Result<ZoneImage, ImageError> {
    let mut totals = Totals::new();
    let mut denial = Vec::new();
    let mut tables = Tables::default();
    for portion in &mut portions {
        let ZonePortion { children, bins, record, .. } = portion;
        children.iter_mut().for_each(|children| write_children(children, bins, record));
        totals.add(&portion.totals);
        tables.add(&portion.tables);
        denial.append(&mut portion.denial);
    }
    denial.sort_unstable_by_key(|run| run.number);
    let denial = DenialIndex::of_runs(&denial);
    let bits = radix::bits_for(totals.names);
    let unit_bits = bits.min(BIN_BITS);
    // A unit is a bin where shards are smaller than bins, and a shard otherwise.
    let mut units: Vec<(usize, Vec<Bin>)> = (0..1 << unit_bits).map(|unit| (unit, Vec::new())).collect();
    for (i, bin) in portions.into_iter().flat_map(|portion| portion.bins.into_iter().enumerate()) {
        units[i >> (BIN_BITS - unit_bits)].1.push(bin);
    }
    let units = Mutex::new(units);
    let sealed: Mutex<Vec<(usize, Vec<Shard>)>> = Mutex::new(Vec::new());
    let work = || {
        let mut sealer = Sealer { bits, open: OpenShard::default(), buffer: Vec::new() };
        loop {
            let next = units.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((unit, bins)) = next else { return };
            let shards = sealer.seal(unit, unit_bits, &bins);
            sealed.lock().unwrap_or_else(PoisonError::into_inner).push((unit, shards));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(1 << unit_bits) {
            scope.spawn(work);
        }
        work();
    });
    let mut sealed = sealed.into_inner().unwrap_or_else(PoisonError::into_inner);
    sealed.sort_unstable_by_key(|(unit, _)| *unit);
    let shards: Vec<Shard> = sealed.into_iter().flat_map(|(_, shards)| shards).collect();
    totals.shard_bytes = shards.iter().map(|shard| shard.len()).sum();
    image_of((key, apex.clone()), Radix::of_shards(bits, &shards), totals, denial, tables, Arc::default())
}

/// Makes shards of bins, one bin after the other in the same memory.
struct Sealer {
    bits: u32,
    open: OpenShard,
    buffer: Vec<u8>,
}

impl Sealer {
    /// The shards of one unit.
    fn seal(&mut self, unit: usize, unit_bits: u32, bins: &[Bin]) -> Vec<Shard> {
        let mut records: Vec<(u64, Node<'_>)> = bins.iter().flat_map(Bin::records).collect();
        records.sort_unstable_by_key(|(hash, _)| *hash);
        let mut rest = &records[..];
        let first = unit << (self.bits - unit_bits);
        let shards = (first..first + (1 << (self.bits - unit_bits))).map(|shard| {
            let here = rest.partition_point(|(hash, _)| radix::shard_of(*hash, self.bits) as usize <= shard);
            let (mine, later) = rest.split_at(here);
            rest = later;
            self.open.clear();
            for same in mine.chunk_by(|a, b| a.0 == b.0) {
                self.put(same);
            }
            self.open.seal(&mut self.buffer)
        });
        shards.collect()
    }

    /// Puts records of one hash: those of one name become one.
    fn put(&mut self, records: &[(u64, Node<'_>)]) {
        if let [(hash, node)] = records {
            self.open.push(*hash, node.bytes());
            return;
        }
        for (hash, node) in records {
            let Some(position) = self.open.position(*hash, node.prefix()) else {
                self.open.push(*hash, node.bytes());
                continue;
            };
            let Some(there) = self.open.node(position) else { continue };
            let children = there.children() + node.children();
            let wildcard = there.has_wildcard_child() || node.has_wildcard_child();
            if node.is_declared() {
                self.open.replace(position, node.bytes());
            }
            if let Some(record) = self.open.record_mut(position) {
                compile::set_neighbours(record, children, wildcard);
            }
        }
    }
}
