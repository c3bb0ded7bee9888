//! A compiled zone: immutable, and shared by every snapshot in which it stands.

use std::sync::Arc;

use crate::model::hash::HashKey;
use crate::model::name::{MAX_LABELS, MAX_NAME_OCTETS, Name};
use crate::model::rrtype::RrType;
use crate::model::serial::Serial;
use crate::model::sort_key::{SortKey, prefix_of_key};

use super::choice::Tables;
use super::compile;
use super::denial::DenialIndex;
use super::draft::Totals;
use super::image::{Note, OwnerRecords};
use super::order::NameOrder;
use super::radix::Radix;
use super::record::{Node, RrsetView};
use super::shard;

/// What a zone takes, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneSize {
    /// Owner names that were put; empty non-terminals are not counted.
    pub owners: usize,
    /// RRsets, without RRSIGs.
    pub rrsets: usize,
    /// Octets of all shards, of the denial index, of the order of its names where somebody has asked for that, and of the tables that clients
    /// are looked up in, which zones may share.
    pub bytes: usize,
}

/// A compiled zone.
#[derive(Debug)]
pub struct ZoneImage {
    key: HashKey,
    apex: Name,
    apex_hash: u64,
    apex_depth: usize,
    /// Labels of the deepest name, the apex's among them.
    max_depth: usize,
    /// Whether there is any zone cut or DNAME, which ends the search above the name asked for.
    has_barriers: bool,
    is_signed: bool,
    radix: Radix,
    negative_soa: Box<[u8]>,
    denial: DenialIndex,
    serial: Serial,
    totals: Totals,
    tables: Tables,
    order: Arc<NameOrder>,
}

pub(super) struct Parts {
    pub(super) key: HashKey,
    pub(super) apex: Name,
    pub(super) radix: Radix,
    pub(super) totals: Totals,
    pub(super) denial: DenialIndex,
    pub(super) serial: Serial,
    pub(super) is_signed: bool,
    pub(super) negative_soa: Box<[u8]>,
    pub(super) tables: Tables,
    pub(super) order: Arc<NameOrder>,
}

impl ZoneImage {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { key, apex, radix, totals, denial, serial, is_signed, negative_soa, tables, order } =
            parts;
        Self {
            key,
            apex_hash: key.name(&apex),
            apex_depth: apex.label_count(),
            max_depth: (0..=MAX_LABELS).rev().find(|&d| totals.names_at_depth[d] > 0).unwrap_or(0),
            has_barriers: totals.cuts + totals.dnames > 0,
            is_signed,
            radix,
            negative_soa,
            denial,
            serial,
            totals,
            tables,
            order,
            apex,
        }
    }

    /// The apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The serial of the SOA record.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// Whether the SOA record is signed.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// What it takes.
    pub fn size(&self) -> ZoneSize {
        ZoneSize {
            owners: self.totals.owners,
            rrsets: self.totals.rrsets,
            bytes: self.totals.shard_bytes + self.denial.bytes() + self.tables.octets() + self.order.bytes(),
        }
    }

    /// An owner as it was put; `None` for a name that does not exist and for an empty non-terminal.
    pub fn owner(&self, name: &Name) -> Option<OwnerRecords> {
        let prefix = self.prefix_of(name)?;
        let node = self.find(self.key.name(name), &[], prefix)?;
        compile::decode_named(node, name.clone(), &self.apex, &self.tables)
    }

    /// Every owner that was put, in canonical order (RFC 4034 §6.1).
    pub fn owners(&self) -> impl Iterator<Item = OwnerRecords> + '_ {
        let mut nodes: Vec<(Box<[u8]>, Node<'_>)> = self
            .radix
            .nodes()
            .filter(|node| node.is_declared())
            .map(|node| (SortKey::of_prefix(node.prefix()).as_bytes().into(), node))
            .collect();
        nodes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        nodes.into_iter().filter_map(|(_, node)| compile::decode_owner(node, &self.apex, &self.tables))
    }

    /// Into how many parts [`ZoneImage::owners_of_part`] divides it: more, the larger it is.
    pub fn parts(&self) -> usize {
        self.radix.leaves()
    }

    /// The owners of one part, in no order; none of a part that is not there.
    pub fn owners_of_part(&self, number: usize) -> impl Iterator<Item = OwnerRecords> + '_ {
        let nodes = self.radix.nodes_of_leaf(number);
        nodes.filter_map(|node| compile::decode_owner(node, &self.apex, &self.tables))
    }

    /// The hash that the zone keeps a name under; the name need not be in it.
    pub fn hash_of(&self, name: &Name) -> u64 {
        self.key.name(name)
    }

    /// The owners of a hash that [`ZoneImage::hash_of`] gave: at most one, but for chance.
    pub fn owners_of_hash(&self, hash: u64) -> impl Iterator<Item = OwnerRecords> + '_ {
        let nodes = self.radix.nodes_beside(hash);
        let mine =
            nodes.filter(move |node| shard::hash_prefix(self.key, self.apex_hash, node.prefix()) == hash);
        mine.filter_map(|node| compile::decode_owner(node, &self.apex, &self.tables))
    }

    /// The owner of the NSEC RRset before `name` in canonical order, `name` itself not counted; the chain is a ring.
    /// `None` if no name holds an NSEC RRset or `name` is not in the zone.
    pub fn denial_previous(&self, name: &Name) -> Option<Name> {
        let key = SortKey::of_prefix(self.prefix_of(name)?);
        name_of_key(self.denial.before(key.as_bytes())?, &self.apex)
    }

    /// The owner of the NSEC RRset after `name`, likewise.
    pub fn denial_next(&self, name: &Name) -> Option<Name> {
        let key = SortKey::of_prefix(self.prefix_of(name)?);
        name_of_key(self.denial.after(key.as_bytes())?, &self.apex)
    }

    fn prefix_of<'n>(&self, name: &'n Name) -> Option<&'n [u8]> {
        name.is_at_or_below(&self.apex).then(|| &name.wire()[..name.wire().len() - self.apex.wire().len()])
    }

    /// Key of the name hash.
    pub fn key(&self) -> HashKey {
        self.key
    }

    pub(super) fn radix(&self) -> &Radix {
        &self.radix
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn denial(&self) -> &DenialIndex {
        &self.denial
    }

    pub(super) fn order(&self) -> &Arc<NameOrder> {
        &self.order
    }

    pub(super) fn apex_hash(&self) -> u64 {
        self.apex_hash
    }

    /// The tables in which its owners look clients up.
    #[inline]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Whether any owner gives different clients different answers.
    pub fn is_by_client(&self) -> bool {
        self.totals.by_client > 0
    }

    /// Labels of the apex.
    #[inline]
    pub fn apex_depth(&self) -> usize {
        self.apex_depth
    }

    #[inline]
    pub(super) fn max_depth(&self) -> usize {
        self.max_depth
    }

    #[inline]
    pub(super) fn has_barriers(&self) -> bool {
        self.has_barriers
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, head: &[u8], tail: &[u8]) -> Option<Node<'_>> {
        self.radix.find(hash, head, tail)
    }

    /// The SOA RRset for negative answers, its TTL capped by MINIMUM (RFC 2308 §3).
    pub fn negative_soa(&self) -> Option<RrsetView<'_>> {
        RrsetView::at(&self.negative_soa, 0, RrType::SOA, false, Note::None)
    }

    /// The owner of the NSEC RRset that matches or covers the name with these labels in front of the apex.
    pub(super) fn denial_node(&self, prefix: &[u8]) -> Option<Node<'_>> {
        let found = self.denial.at_or_before(SortKey::of_prefix(prefix).as_bytes())?;
        let mut buffer = [0; MAX_NAME_OCTETS];
        let start = prefix_of_key(found, &mut buffer);
        let prefix = &buffer[start..];
        self.find(shard::hash_prefix(self.key, self.apex_hash, prefix), &[], prefix)
    }
}

/// The name of a sort key in the zone `apex`.
pub(super) fn name_of_key(key: &[u8], apex: &Name) -> Option<Name> {
    let mut buffer = [0; MAX_NAME_OCTETS];
    let start = prefix_of_key(key, &mut buffer);
    Name::from_wire(&[&buffer[start..], apex.wire()].concat()).ok()
}
