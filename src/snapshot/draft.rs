//! A zone under change: owners are put and removed, then [`ZoneDraft::finish`] makes the image that is published.

use std::sync::Arc;

use crate::model::hash::HashKey;
use crate::model::name::{MAX_LABELS, Name};
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::sort_key::SortKey;

use super::choice::Tables;
use super::compile::{self, ImageError};
use super::denial::{DenialChanges, DenialIndex};
use super::image::OwnerRecords;
use super::keyed::KeyedName;
use super::order::{NameOrder, OrderChanges};
use super::radix::{OpenRadix, Radix};
use super::record::{Node, flag};
use super::zone::ZoneImage;

/// What a zone holds, kept up to date owner by owner.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    /// Names that exist at each depth, empty non-terminals among them.
    pub(super) names_at_depth: [u32; MAX_LABELS + 1],
    pub(super) names: usize,
    pub(super) owners: usize,
    pub(super) rrsets: usize,
    pub(super) cuts: usize,
    pub(super) dnames: usize,
    /// Owners that give different clients different answers.
    pub(super) by_client: usize,
    /// Octets of all shards.
    pub(super) shard_bytes: usize,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            names_at_depth: [0; MAX_LABELS + 1],
            names: 0,
            owners: 0,
            rrsets: 0,
            cuts: 0,
            dnames: 0,
            by_client: 0,
            shard_bytes: 0,
        }
    }

    /// Adds what another part of the same zone holds.
    pub(super) fn add(&mut self, other: &Self) {
        self.names_at_depth.iter_mut().zip(other.names_at_depth).for_each(|(sum, more)| *sum += more);
        self.names += other.names;
        self.owners += other.owners;
        self.rrsets += other.rrsets;
        self.cuts += other.cuts;
        self.dnames += other.dnames;
        self.by_client += other.by_client;
        self.shard_bytes += other.shard_bytes;
    }

    /// Counts what an owner holds, in or out.
    pub(super) fn count(&mut self, node: Node<'_>, is_in: bool) {
        let shift = |total: &mut usize, by: usize| {
            *total = if is_in { *total + by } else { total.saturating_sub(by) };
        };
        shift(&mut self.owners, usize::from(node.is_declared()));
        shift(&mut self.rrsets, node.rrsets().count());
        shift(&mut self.cuts, usize::from(node.is_cut()));
        shift(&mut self.dnames, usize::from(node.has_dname()));
        shift(&mut self.by_client, usize::from(node.flags() & flag::BY_CLIENT != 0));
    }

    pub(super) fn name_added(&mut self, depth: usize) {
        self.names += 1;
        self.names_at_depth[depth] += 1;
    }

    fn name_removed(&mut self, depth: usize) {
        self.names -= 1;
        self.names_at_depth[depth] -= 1;
    }
}

/// What a draft does to the sets of names beside the shards.
#[derive(Debug, Default)]
struct Changes {
    denial: DenialChanges,
    order: OrderChanges,
}

/// Octets that the record of an owner with some addresses and their signature takes, or somewhat less.
const TYPICAL_RECORD: usize = 512;

/// An owner in the form of the store, which any thread can make.
#[derive(Debug)]
pub struct EncodedOwner {
    name: Name,
    record: Vec<u8>,
    /// What its record refers to; `None` of an owner without picks, as nearly all are: threads that encode side by side would take turns at
    /// the count of what they all hold.
    tables: Option<Tables>,
}

impl EncodedOwner {
    /// Encodes an owner for a draft that is made from `image`.
    ///
    /// # Errors
    /// As [`ZoneDraft::put`].
    pub fn new(owner: OwnerRecords, image: &ZoneImage) -> Result<Self, ImageError> {
        let mut record = Vec::with_capacity(TYPICAL_RECORD);
        let mut tables = (!owner.choices.is_empty()).then(|| image.tables().clone());
        if let Some(tables) = &mut tables {
            owner.choices.iter().for_each(|choice| tables.hold(&choice.pick));
        }
        let held = tables.as_ref().unwrap_or(image.tables());
        compile::encode_owner(&owner, image.apex(), held, &mut record)?;
        // Where an address is shared by thousands, all of these are there at once: the room that is not needed is left to the next one.
        Ok(Self { name: owner.name, record: record[..].to_vec(), tables })
    }
}

/// A zone under change.
///
/// Made from an image it shares everything with it; what is touched is copied once, shard by shard. Empty non-terminals
/// come and go by themselves: each record counts the names one label below it.
#[derive(Debug)]
pub struct ZoneDraft {
    key: HashKey,
    apex: Name,
    shards: OpenRadix,
    totals: Totals,
    denial: DenialIndex,
    changes: Changes,
    tables: Tables,
    /// The name in work, and its record: kept to use their memory again.
    name: Box<KeyedName>,
    record: Vec<u8>,
}

impl ZoneDraft {
    /// An empty zone. `key` must be that of the snapshot it will be published in.
    pub fn new(apex: Name, key: HashKey) -> Self {
        let mut name = Box::<KeyedName>::default();
        name.set(key, &apex);
        let mut draft = Self {
            key,
            shards: OpenRadix::new(key, name.whole_hash()),
            totals: Totals::new(),
            denial: DenialIndex::default(),
            changes: Changes::default(),
            tables: Tables::default(),
            name,
            record: Vec::new(),
            apex,
        };
        let hash = draft.name.whole_hash();
        compile::start_record(&[], 0, 0, &mut draft.record);
        draft.shards.open(hash).push(hash, &draft.record);
        draft.totals.name_added(draft.name.depth());
        draft
    }

    /// A draft that starts as `image`, at the cost of a few pointers.
    pub fn from_image(image: &Arc<ZoneImage>) -> Self {
        let mut name = Box::<KeyedName>::default();
        name.set(image.key(), image.apex());
        Self {
            key: image.key(),
            apex: image.apex().clone(),
            shards: OpenRadix::from_radix(image.key(), name.whole_hash(), image.radix()),
            totals: image.totals().clone(),
            denial: image.denial().clone(),
            changes: Changes { denial: DenialChanges::default(), order: OrderChanges::to(image.order()) },
            tables: image.tables().clone(),
            name,
            record: Vec::new(),
        }
    }

    /// An owner as it stands in the draft.
    pub fn owner(&self, name: &Name) -> Option<OwnerRecords> {
        let prefix = self.prefix_of(name)?;
        compile::decode_owner(self.shards.find(self.key.name(name), prefix)?, &self.apex, &self.tables)
    }

    fn prefix_of<'n>(&self, name: &'n Name) -> Option<&'n [u8]> {
        name.is_at_or_below(&self.apex).then(|| &name.wire()[..name.wire().len() - self.apex.wire().len()])
    }

    /// Puts an owner in place of what was there under its name.
    ///
    /// # Errors
    /// An owner outside the zone, or records that no message can carry; the draft is then as before.
    pub fn put(&mut self, owner: &OwnerRecords) -> Result<(), ImageError> {
        owner.choices.iter().for_each(|choice| self.tables.hold(&choice.pick));
        compile::encode_owner(owner, &self.apex, &self.tables, &mut self.record)?;
        self.put_record(&owner.name);
        Ok(())
    }

    /// As [`ZoneDraft::put`], for what was encoded elsewhere, with the apex of this zone.
    pub fn put_encoded(&mut self, owner: EncodedOwner) {
        let EncodedOwner { name, record, tables } = owner;
        tables.iter().for_each(|tables| self.tables.add(tables));
        self.record = record;
        self.put_record(&name);
    }

    /// Puts the record in work under its name.
    fn put_record(&mut self, name: &Name) {
        self.shards.grow_for(self.totals.names + 1);
        self.name.set(self.key, name);
        let (hash, depth) = (self.name.whole_hash(), self.name.depth());
        let prefix = self.name.prefix(depth, self.apex.wire().len());
        let (totals, changes, record) = (&mut self.totals, &mut self.changes, &mut self.record);
        // Nearly every commit replaces what is there.
        if let Some((shard, place)) = self.shards.patch(hash, prefix) {
            exchange(shard.node(place), record, prefix, totals, changes);
            shard.replace(place, std::mem::take(record));
            return;
        }
        let shard = self.shards.open(hash);
        let position = shard.position(hash, prefix);
        exchange(position.and_then(|p| shard.node(p)), record, prefix, totals, changes);
        match position {
            Some(position) => shard.replace(position, &self.record),
            None => {
                shard.push(hash, &self.record);
                self.totals.name_added(depth);
                self.link();
            }
        }
    }

    /// Makes the name in work known to its parent, and every ancestor that is missing.
    fn link(&mut self) {
        let apex_len = self.apex.wire().len();
        for depth in (self.apex.label_count()..self.name.depth()).rev() {
            let child_is_wildcard = self.name.suffix(depth + 1).starts_with(b"\x01*");
            let hash = self.name.suffix_hash(depth);
            let prefix = self.name.prefix(depth, apex_len);
            let shard = self.shards.open(hash);
            if let Some(position) = shard.position(hash, prefix) {
                let Some((children, wildcard)) =
                    shard.node(position).map(|n| (n.children(), n.has_wildcard_child()))
                else {
                    return;
                };
                if let Some(record) = shard.record_mut(position) {
                    compile::set_neighbours(record, children + 1, wildcard || child_is_wildcard);
                }
                return;
            }
            compile::start_record(prefix, 0, 0, &mut self.record);
            compile::set_neighbours(&mut self.record, 1, child_is_wildcard);
            shard.push(hash, &self.record);
            self.totals.name_added(depth);
        }
    }

    /// Takes an owner out. It stays as an empty non-terminal if there are names below it; ancestors that were empty
    /// non-terminals only for its sake go with it.
    pub fn remove(&mut self, name: &Name) {
        if !name.is_at_or_below(&self.apex) {
            return;
        }
        self.name.set(self.key, name);
        let (hash, depth) = (self.name.whole_hash(), self.name.depth());
        let prefix = self.name.prefix(depth, self.apex.wire().len());
        let shard = self.shards.open(hash);
        let Some(position) = shard.position(hash, prefix) else { return };
        let Some(old) = shard.node(position).filter(|node| node.is_declared()) else { return };
        self.totals.count(old, false);
        if old.flags() & flag::NSEC != 0 {
            self.changes.denial.set(SortKey::of_prefix(prefix).as_bytes(), false);
        }
        self.changes.order.set(prefix, false);
        if old.children() > 0 || prefix.is_empty() {
            compile::start_record(prefix, 0, 0, &mut self.record);
            compile::set_neighbours(&mut self.record, old.children(), old.has_wildcard_child());
            shard.replace(position, &self.record);
        } else {
            shard.remove(position);
            self.totals.name_removed(depth);
            self.unlink();
        }
    }

    /// Takes the name in work, which is gone, from its parent's count, and ancestors that have become needless with it.
    fn unlink(&mut self) {
        let apex_len = self.apex.wire().len();
        for depth in (self.apex.label_count()..self.name.depth()).rev() {
            let child_is_wildcard = self.name.suffix(depth + 1).starts_with(b"\x01*");
            let hash = self.name.suffix_hash(depth);
            let prefix = self.name.prefix(depth, apex_len);
            let shard = self.shards.open(hash);
            let Some(position) = shard.position(hash, prefix) else { return };
            let Some(node) = shard.node(position) else { return };
            let (children, wildcard) = (node.children().saturating_sub(1), node.has_wildcard_child());
            if children > 0 || node.is_declared() || prefix.is_empty() {
                if let Some(record) = shard.record_mut(position) {
                    compile::set_neighbours(record, children, wildcard && !child_is_wildcard);
                }
                return;
            }
            shard.remove(position);
            self.totals.name_removed(depth);
        }
    }

    /// Seals what was touched and makes the image.
    ///
    /// # Errors
    /// No single SOA record at the apex.
    pub fn finish(mut self) -> Result<ZoneImage, ImageError> {
        let denial = self.denial.changed(&self.changes.denial);
        let (radix, difference) = self.shards.seal();
        self.totals.shard_bytes = self.totals.shard_bytes.saturating_add_signed(difference);
        let order = self.changes.order.finish();
        image_of((self.key, self.apex), radix, self.totals, denial, self.tables, order)
    }
}

/// Counts the record of an owner in, which takes over what `old`, the one that stood there, knows of its neighbours, and counts that out.
fn exchange(
    old: Option<Node<'_>>,
    record: &mut [u8],
    prefix: &[u8],
    totals: &mut Totals,
    changes: &mut Changes,
) {
    let (mut had_nsec, mut was_there) = (false, false);
    if let Some(old) = old {
        was_there = old.is_declared();
        had_nsec = old.flags() & flag::NSEC != 0;
        totals.count(old, false);
        compile::set_neighbours(record, old.children(), old.has_wildcard_child());
    }
    let mut has_nsec = false;
    if let Some(new) = Node::at(record, 0) {
        has_nsec = new.flags() & flag::NSEC != 0;
        totals.count(new, true);
    }
    if had_nsec != has_nsec {
        changes.denial.set(SortKey::of_prefix(prefix).as_bytes(), has_nsec);
    }
    if !was_there {
        changes.order.set(prefix, true);
    }
}

/// The image of a zone whose records are sealed.
///
/// # Errors
/// No single SOA record at the apex.
pub(super) fn image_of(
    (key, apex): (HashKey, Name),
    radix: Radix,
    totals: Totals,
    denial: DenialIndex,
    tables: Tables,
    order: Arc<NameOrder>,
) -> Result<ZoneImage, ImageError> {
    let no_soa = || ImageError::NoSoa { apex: apex.clone() };
    let node = radix.find(key.name(&apex), &[], &[]).ok_or_else(no_soa)?;
    let soa = node.rrset(RrType::SOA).ok_or_else(no_soa)?;
    let figures = compile::soa_figures(&soa).ok_or_else(no_soa)?;
    let is_signed = soa.signature_count > 0;
    // Negative answers carry the SOA with the smaller of its TTL and its MINIMUM field (RFC 2308 §3).
    let mut negative = compile::decode_rrset(&soa, &apex);
    negative.rrset.ttl = negative.rrset.ttl.min(figures.minimum);
    let mut negative_block = Vec::new();
    compile::encode_block(&apex, &negative, &apex, &mut negative_block)?;
    let (serial, negative_soa) = (Serial(figures.serial), negative_block.into_boxed_slice());
    Ok(ZoneImage::new(super::zone::Parts {
        key,
        apex,
        radix,
        totals,
        denial,
        serial,
        is_signed,
        negative_soa,
        tables,
        order,
    }))
}
