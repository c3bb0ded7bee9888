//! The answers of a type that has several, in an owner's record, and how a query picks one. Our own numbers are little-endian.
//!
//! ```text
//! choice  0  u16 answers    2  u16 0    4  u32 offset of each answer's block from the record's start, the default variant's first
//!            the pick's root node, and then what it leads to
//! node    0  u16 kind    2  u16 count, or the answer's place
//!            weighted: for each  u32 sum of the weights up to here · u32 offset of its node from the record's start
//!            hashed:   for each  u64 seed · u32 weight · u32 offset of its node
//!            geo:      u64 address of its table, which the zone image holds, then for each branch  u32 offset of its node
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use super::record::{le16, le32};
use crate::model::pick::{Candidate, Pick, client_key, draw, hashed_bits, mix, winner};
use crate::model::policy::MAX_POOL_DEPTH;
use crate::model::prefixes::PrefixTable;

const HEADER: usize = 4;
const NODE: usize = 4;
const SET: usize = 0;
const WEIGHTED: usize = 1;
const HASHED: usize = 2;
const GEO: usize = 3;
const WEIGHTED_ENTRY: usize = 8;
const HASHED_ENTRY: usize = 16;
/// Nodes from the root to an answer: one for each pool, one for the windows of the innermost, and the answer.
const MAX_DEPTH: usize = MAX_POOL_DEPTH + 2;

/// The prefix tables that a zone's records refer to, each by its address, which it keeps as long as it is held here. In the order of
/// their addresses, without duplicates.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<Vec<Arc<PrefixTable>>>);

impl Tables {
    /// Holds the tables of a pick.
    pub(super) fn hold(&mut self, pick: &Pick) {
        pick.tables().into_iter().for_each(|table| self.hold_one(table));
    }

    /// Holds what another part of the zone holds.
    pub(super) fn add(&mut self, other: &Self) {
        if Arc::ptr_eq(&self.0, &other.0) {
            return;
        }
        // Records of the other part refer to its tables by their addresses, equal ones or not.
        other.0.iter().for_each(|table| self.insert(table));
    }

    /// A table that equals one which is held is not held again, or each reload that changes no map would leave one behind.
    fn hold_one(&mut self, table: &Arc<PrefixTable>) {
        if self.address_of(table).is_none() {
            self.insert(table);
        }
    }

    fn insert(&mut self, table: &Arc<PrefixTable>) {
        if let Err(place) = self.0.binary_search_by_key(&address(table), address) {
            Arc::make_mut(&mut self.0).insert(place, Arc::clone(table));
        }
    }

    /// The address of this table, or of one that equals it.
    fn address_of(&self, table: &Arc<PrefixTable>) -> Option<u64> {
        let own = address(table);
        let is_held = self.0.binary_search_by_key(&own, address).is_ok();
        if is_held { Some(own) } else { self.0.iter().find(|held| *held == table).map(address) }
    }

    fn find(&self, wanted: u64) -> Option<&Arc<PrefixTable>> {
        self.0.get(self.0.binary_search_by_key(&wanted, address).ok()?)
    }

    /// Octets of all of them, and how many there are.
    pub(super) fn octets(&self) -> usize {
        self.0.iter().map(|table| table.octets()).sum()
    }
}

fn address(table: &Arc<PrefixTable>) -> u64 {
    Arc::as_ptr(table) as usize as u64
}

/// What a query brings to a choice.
#[derive(Debug)]
pub struct Chooser<'w> {
    client: IpAddr,
    /// The worker's state of its random numbers.
    random: &'w mut u64,
    /// The query's number: one for all its types, so that A and AAAA come from one pool.
    drawn: Option<u64>,
    scope: u8,
}

impl<'w> Chooser<'w> {
    /// For a query of `client`, with a random state that is moved on where a number is needed.
    #[inline]
    pub fn new(client: IpAddr, random: &'w mut u64) -> Self {
        Self { client, random, drawn: None, scope: 0 }
    }

    /// Bits of the client's address that everything chosen so far holds for.
    pub fn scope(&self) -> u8 {
        self.scope
    }

    fn number(&mut self) -> u64 {
        *self.drawn.get_or_insert_with(|| {
            *self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(*self.random)
        })
    }

    /// Offset of the block that the choice at `at` of a record gives this query.
    ///
    /// Offsets are proved when a record is made; whatever else stood here, an answer comes out, if only the default one.
    pub(super) fn choose(&mut self, record: &[u8], at: usize, tables: &Tables) -> usize {
        let sets = le16(record, at);
        let mut node = at + HEADER + 4 * sets;
        for depth in 0..MAX_DEPTH {
            let (kind, count) = (le16(record, node), le16(record, node + 2));
            let entries = record.get(node + NODE..).unwrap_or_default();
            node = match kind {
                WEIGHTED => {
                    let entries = entries.get(..count * WEIGHTED_ENTRY).unwrap_or_default();
                    let total =
                        entries.len().checked_sub(WEIGHTED_ENTRY).map_or(0, |last| le32(entries, last));
                    let drawn = draw(self.number(), depth as u32, total);
                    weighted(entries, drawn)
                }
                HASHED => {
                    let entries = entries.get(..count * HASHED_ENTRY).unwrap_or_default();
                    let candidates =
                        entries.chunks_exact(HASHED_ENTRY).map(|entry| (le64(entry), le32(entry, 8)));
                    self.scope = self.scope.max(hashed_bits(self.client));
                    let won = winner(client_key(self.client), candidates).unwrap_or(0);
                    le32(entries, won * HASHED_ENTRY + 12) as usize
                }
                GEO => {
                    let (branch, bits) = tables.find(le64(entries)).map_or((0, 0), |t| t.find(self.client));
                    self.scope = self.scope.max(bits);
                    let branch = usize::from(branch);
                    le32(entries, 8 + 4 * if branch < count { branch } else { 0 }) as usize
                }
                _ => return le32(record, block_place(at, if count < sets { count } else { 0 })) as usize,
            };
        }
        default_block(record, at)
    }
}

/// The node of the first entry whose sum of weights is above `drawn`.
fn weighted(entries: &[u8], drawn: u32) -> usize {
    let (mut low, mut high) = (0, (entries.len() / WEIGHTED_ENTRY).saturating_sub(1));
    while low < high {
        let middle = (low + high) / 2;
        if drawn < le32(entries, middle * WEIGHTED_ENTRY) { high = middle } else { low = middle + 1 }
    }
    le32(entries, low * WEIGHTED_ENTRY + 4) as usize
}

fn le64(bytes: &[u8]) -> u64 {
    u64::from(le32(bytes, 0)) | u64::from(le32(bytes, 4)) << 32
}

/// Where the offset of an answer's block stands.
pub(super) fn block_place(at: usize, answer: usize) -> usize {
    at + HEADER + 4 * answer
}

/// Offset of the default variant's block.
#[cold]
pub(super) fn default_block(record: &[u8], at: usize) -> usize {
    le32(record, block_place(at, 0)) as usize
}

/// Offsets of the blocks of all answers.
pub(super) fn blocks(record: &[u8], at: usize) -> impl Iterator<Item = usize> {
    (0..le16(record, at)).map(move |answer| le32(record, block_place(at, answer)) as usize)
}

/// Appends a choice among so many answers, whose blocks' offsets are still to be set; `None` for a pick that does not fit them, or
/// whose tables are not held.
pub(super) fn encode(pick: &Pick, answers: usize, tables: &Tables, out: &mut Vec<u8>) -> Option<()> {
    out.extend(u16::try_from(answers).ok()?.to_le_bytes());
    out.extend([0, 0]);
    out.resize(out.len() + 4 * answers, 0);
    encode_node(pick, (answers, tables), 0, out)
}

fn encode_node(
    pick: &Pick,
    (answers, tables): (usize, &Tables),
    depth: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    if depth == MAX_DEPTH {
        return None;
    }
    let head = |out: &mut Vec<u8>, kind: usize, count: usize| {
        out.extend((kind as u16).to_le_bytes());
        out.extend(u16::try_from(count).ok()?.to_le_bytes());
        Some(out.len())
    };
    let link = |out: &mut Vec<u8>, place: usize| {
        let node = u32::try_from(out.len()).ok()?;
        out[place..place + 4].copy_from_slice(&node.to_le_bytes());
        Some(())
    };
    match pick {
        Pick::Set(set) => {
            head(out, SET, usize::from(*set))?;
            (usize::from(*set) < answers).then_some(())
        }
        Pick::Weighted(options) => {
            let entries = head(out, WEIGHTED, options.len())?;
            let mut sum = 0u32;
            for (weight, _) in options {
                sum = sum.checked_add(*weight)?;
                out.extend(sum.to_le_bytes());
                out.extend([0; 4]);
            }
            for (i, (_, pick)) in options.iter().enumerate() {
                link(out, entries + i * WEIGHTED_ENTRY + 4)?;
                encode_node(pick, (answers, tables), depth + 1, out)?;
            }
            (sum > 0).then_some(())
        }
        Pick::Hashed(candidates) => {
            let entries = head(out, HASHED, candidates.len())?;
            for candidate in candidates {
                out.extend(candidate.seed.to_le_bytes());
                out.extend(candidate.weight.to_le_bytes());
                out.extend([0; 4]);
            }
            for (i, candidate) in candidates.iter().enumerate() {
                link(out, entries + i * HASHED_ENTRY + 12)?;
                encode_node(&candidate.pick, (answers, tables), depth + 1, out)?;
            }
            (!candidates.is_empty()).then_some(())
        }
        Pick::Geo(table, picks) => {
            let entries = head(out, GEO, picks.len())? + 8;
            out.extend(tables.address_of(table)?.to_le_bytes());
            out.resize(entries + 4 * picks.len(), 0);
            for (i, pick) in picks.iter().enumerate() {
                link(out, entries + 4 * i)?;
                encode_node(pick, (answers, tables), depth + 1, out)?;
            }
            (!picks.is_empty()).then_some(())
        }
    }
}

/// The pick of the choice at `at` of a record.
pub(super) fn decode(record: &[u8], at: usize, tables: &Tables) -> Option<Pick> {
    decode_node(record, at + HEADER + 4 * le16(record, at), 0, tables)
}

fn decode_node(record: &[u8], node: usize, depth: usize, tables: &Tables) -> Option<Pick> {
    if depth == MAX_DEPTH {
        return None;
    }
    let count = le16(record, node + 2);
    let entry = |i: usize, size: usize| record.get(node + NODE + i * size..node + NODE + (i + 1) * size);
    match le16(record, node) {
        SET => Some(Pick::Set(count as u16)),
        WEIGHTED => {
            let mut before = 0;
            let option = |i| {
                let entry = entry(i, WEIGHTED_ENTRY)?;
                let weight = le32(entry, 0).checked_sub(before)?;
                before += weight;
                Some((weight, decode_node(record, le32(entry, 4) as usize, depth + 1, tables)?))
            };
            (0..count).map(option).collect::<Option<_>>().map(Pick::Weighted)
        }
        HASHED => {
            let candidate = |i| {
                let entry = entry(i, HASHED_ENTRY)?;
                let pick = decode_node(record, le32(entry, 12) as usize, depth + 1, tables)?;
                Some(Candidate { seed: le64(entry), weight: le32(entry, 8), pick })
            };
            (0..count).map(candidate).collect::<Option<_>>().map(Pick::Hashed)
        }
        GEO => {
            let table = tables.find(le64(record.get(node + NODE..)?))?;
            let entries = node + NODE + 8;
            let pick = |i| decode_node(record, le32(record, entries + 4 * i) as usize, depth + 1, tables);
            let picks = (0..count).map(pick).collect::<Option<_>>()?;
            Some(Pick::Geo(Arc::clone(table), picks))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::prefixes::PrefixTableBuilder;
    use proptest::prelude::*;

    fn table(branches: u16) -> Arc<PrefixTable> {
        let mut builder = PrefixTableBuilder::new(0);
        for branch in 1..branches {
            builder.set(IpAddr::V4(u32::from(branch).rotate_right(4).into()), 4, branch);
        }
        Arc::new(builder.finish())
    }

    fn picks() -> impl Strategy<Value = Pick> {
        (0u16..40).prop_map(Pick::Set).prop_recursive(4, 64, 5, |inner| {
            let candidate = (any::<u64>(), 1u32..1000, inner.clone())
                .prop_map(|(seed, weight, pick)| Candidate { seed, weight, pick });
            prop_oneof![
                prop::collection::vec((1u32..1000, inner.clone()), 1..6).prop_map(Pick::Weighted),
                prop::collection::vec(candidate, 1..6).prop_map(Pick::Hashed),
                (prop::collection::vec(inner, 1..6), 1u16..9)
                    .prop_map(|(picks, n)| Pick::Geo(table(n), picks)),
            ]
        })
    }

    proptest! {
        #[test]
        fn compiled_picks_choose_as_picks_do(pick in picks(), client in any::<u32>(), mut random in any::<u64>()) {
            // Something stands in front of it, as in a record.
            let mut record = vec![7; 5];
            let mut tables = Tables::default();
            tables.hold(&pick);
            prop_assert!(encode(&pick, 40, &tables, &mut record).is_some());
            for answer in 0..40 {
                let place = block_place(5, answer);
                record[place..place + 4].copy_from_slice(&(1000 + answer as u32).to_le_bytes());
            }
            prop_assert_eq!(decode(&record, 5, &tables), Some(pick.clone()));
            prop_assert_eq!(blocks(&record, 5).collect::<Vec<_>>(), (1000..1040).collect::<Vec<_>>());
            let client = IpAddr::V4(client.into());
            let mut chooser = Chooser::new(client, &mut random);
            let chosen = chooser.choose(&record, 5, &tables);
            prop_assert_eq!(chosen, chooser.choose(&record, 5, &tables), "one query, one number");
            let number = chooser.number();
            let wanted = pick.choose(client, number);
            prop_assert_eq!((chosen, chooser.scope()), (1000 + usize::from(wanted.set), wanted.scope));
        }

        #[test]
        fn whatever_stands_there_a_choice_ends(mut record in prop::collection::vec(0u8..5, 0..200), at in 0usize..220) {
            let mut random = 1;
            let mut chooser = Chooser::new(IpAddr::V4(0.into()), &mut random);
            chooser.choose(&record, at, &Tables::default());
            decode(&record, at, &Tables::default());
            record.clear();
            prop_assert_eq!(chooser.choose(&record, at, &Tables::default()), 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (pick, answers) in [
            (Pick::Set(2), 2),
            (Pick::Weighted(Vec::new()), 2),
            (Pick::Weighted(vec![(0, Pick::Set(0))]), 2),
            (Pick::Weighted(vec![(u32::MAX, Pick::Set(0)), (1, Pick::Set(1))]), 2),
            (Pick::Hashed(Vec::new()), 2),
            (Pick::Geo(table(2), vec![Pick::Set(0)]), 2),
            (Pick::Set(0), 1 << 16),
            ((0..20).fold(Pick::Set(0), |pick, _| Pick::Weighted(vec![(1, pick)])), 2),
        ] {
            assert_eq!(encode(&pick, answers, &Tables::default(), &mut Vec::new()), None, "{pick:?}");
        }
    }

    #[test]
    fn equal_tables_are_held_once() {
        let (first, second) =
            (Pick::Geo(table(3), vec![Pick::Set(0)]), Pick::Geo(table(3), vec![Pick::Set(0)]));
        let mut tables = Tables::default();
        tables.hold(&first);
        tables.hold(&second);
        tables.hold(&Pick::Geo(table(4), vec![Pick::Set(0)]));
        assert_eq!(tables.0.len(), 2);
        let mut record = Vec::new();
        assert!(encode(&second, 1, &tables, &mut record).is_some());
        assert_eq!(decode(&record, 0, &tables), Some(first));
    }
}
