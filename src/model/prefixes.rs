//! Which of several branches a client's network belongs to: what `geo` looks clients up in.
//!
//! The prefixes are disjoint and together cover every address, so that one search finds the branch, and the length of the prefix found
//! is the scope for which an answer holds (RFC 7871 §7.2.1: a shorter prefix around longer ones is taken apart).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefixes of one address family, by their first addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Half<T> {
    starts: Box<[T]>,
    /// Branch and octets' bits of each prefix.
    ends: Box<[(u16, u8)]>,
    /// Where the prefixes begin that start at or after each value of the highest 16 bits; empty for a small table.
    index: Box<[u32]>,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixTable {
    v4: Half<u32>,
    v6: Half<u128>,
}

/// Prefixes in one table beyond which an index of the highest bits saves time.
const INDEXED: usize = 1024;

impl<T: Copy + Ord> Half<T> {
    fn find(&self, address: T, high: usize) -> (u16, u8) {
        // What starts at or before the address lies before the end of its value of the highest bits, and the last such prefix may have
        // begun under an earlier value.
        let range = match (self.index.get(high), self.index.get(high + 1)) {
            (Some(&from), Some(&to)) => (from as usize).saturating_sub(1)..to as usize,
            _ => 0..self.starts.len(),
        };
        let starts = self.starts.get(range.clone()).unwrap_or_default();
        let after = range.start + starts.partition_point(|start| *start <= address);
        after.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or((0, 0))
    }
}

impl PrefixTable {
    /// The branch of an address, and the bits of the prefix that it lies in.
    pub fn find(&self, address: IpAddr) -> (u16, u8) {
        match address {
            IpAddr::V4(v4) => {
                let word = u32::from(v4);
                self.v4.find(word, (word >> 16) as usize)
            }
            IpAddr::V6(v6) => {
                let word = u128::from(v6);
                self.v6.find(word, (word >> 112) as usize)
            }
        }
    }

    /// How many prefixes there are, of both families.
    pub fn len(&self) -> usize {
        self.v4.starts.len() + self.v6.starts.len()
    }

    /// Whether there is none, which no builder makes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets that it takes.
    pub fn octets(&self) -> usize {
        self.v4.starts.len() * 8 + self.v6.starts.len() * 20 + (self.v4.index.len() + self.v6.index.len()) * 4
    }

    /// Every prefix with its branch, for tests and explanations.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, u8, u16)> {
        let v4 = self.v4.starts.iter().zip(&self.v4.ends);
        let v6 = self.v6.starts.iter().zip(&self.v6.ends);
        v4.map(|(start, (branch, bits))| (IpAddr::V4(Ipv4Addr::from(*start)), *bits, *branch))
            .chain(v6.map(|(start, (branch, bits))| (IpAddr::V6(Ipv6Addr::from(*start)), *bits, *branch)))
    }
}

/// A prefix of both families' common width: IPv4 is moved to the highest bits.
const V4_SHIFT: u32 = 96;
/// Marks a node as a leaf; the lower bits are its branch.
const LEAF: u32 = 1 << 31;

/// A binary tree over the bits of addresses. A prefix that is set replaces everything within it.
#[derive(Debug)]
struct Tree(Vec<[u32; 2]>);

impl Tree {
    fn new(branch: u16) -> Self {
        Self(vec![[LEAF | u32::from(branch); 2]])
    }

    fn set(&mut self, prefix: u128, bits: u8, branch: u16) {
        let leaf = LEAF | u32::from(branch);
        let bit = |at: u8| (prefix >> (127 - u32::from(at)) & 1) as usize;
        if bits == 0 {
            self.0.truncate(1);
            self.0[0] = [leaf; 2];
            return;
        }
        let mut node = 0usize;
        for at in 0..bits - 1 {
            let child = self.0[node][bit(at)];
            node = if child & LEAF == 0 {
                child as usize
            } else {
                // A leaf becomes a node whose halves are as it was.
                self.0.push([child; 2]);
                let made = self.0.len() - 1;
                self.0[node][bit(at)] = made as u32;
                made
            };
        }
        self.0[node][bit(bits - 1)] = leaf;
    }

    /// The leaves in order; two halves of one branch become one.
    fn leaves(&self) -> Vec<(u128, u8, u16)> {
        let mut out = Vec::new();
        self.leaves_below(0, 0, 0, &mut out);
        out
    }

    fn leaves_below(&self, node: usize, prefix: u128, bits: u8, out: &mut Vec<(u128, u8, u16)>) {
        for (half, &child) in self.0[node].iter().enumerate() {
            let start = prefix | (half as u128) << (127 - u32::from(bits));
            if child & LEAF == 0 {
                self.leaves_below(child as usize, start, bits + 1, out);
            } else {
                out.push((start, bits + 1, child as u16));
            }
        }
        if let [.., (low, low_bits, a), (_, high_bits, b)] = out[..]
            && (low, low_bits, high_bits) == (prefix, bits + 1, bits + 1)
            && a == b
        {
            out.pop();
            out.pop();
            out.push((prefix, bits, a));
        }
    }
}

/// Collects prefixes into a [`PrefixTable`].
#[derive(Debug)]
pub struct PrefixTableBuilder {
    v4: Tree,
    v6: Tree,
}

impl PrefixTableBuilder {
    /// Every address belongs to `default`.
    pub fn new(default: u16) -> Self {
        Self { v4: Tree::new(default), v6: Tree::new(default) }
    }

    /// Every address of a network belongs to `branch`, whatever was set within it before. Bits of the address beyond the prefix count for
    /// nothing, bits of the prefix beyond the address neither.
    pub fn set(&mut self, address: IpAddr, bits: u8, branch: u16) {
        match address {
            IpAddr::V4(v4) => self.v4.set(u128::from(u32::from(v4)) << V4_SHIFT, bits.min(32), branch),
            IpAddr::V6(v6) => self.v6.set(v6.into(), bits.min(128), branch),
        }
    }

    /// The table.
    pub fn finish(self) -> PrefixTable {
        let v4 = self.v4.leaves();
        let v6 = self.v6.leaves();
        let starts_v4: Box<[u32]> = v4.iter().map(|(start, ..)| (start >> V4_SHIFT) as u32).collect();
        let starts_v6: Box<[u128]> = v6.iter().map(|(start, ..)| *start).collect();
        let ends =
            |leaves: &[(u128, u8, u16)]| leaves.iter().map(|(_, bits, branch)| (*branch, *bits)).collect();
        PrefixTable {
            v4: Half { index: index(&v4), ends: ends(&v4), starts: starts_v4 },
            v6: Half { index: index(&v6), ends: ends(&v6), starts: starts_v6 },
        }
    }
}

fn index(leaves: &[(u128, u8, u16)]) -> Box<[u32]> {
    if leaves.len() < INDEXED {
        return Box::default();
    }
    let mut index = Vec::with_capacity((1 << 16) + 1);
    let mut at = 0;
    for high in 0..1u128 << 16 {
        at += leaves[at..].partition_point(|(start, ..)| start >> 112 < high);
        index.push(at as u32);
    }
    index.push(leaves.len() as u32);
    index.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> (IpAddr, u8) {
        let (address, bits) = text.split_once('/').unwrap();
        (address.parse().unwrap(), bits.parse().unwrap())
    }

    fn table(nets: &[(&str, u16)]) -> PrefixTable {
        let mut builder = PrefixTableBuilder::new(0);
        for (text, branch) in nets {
            let (address, bits) = net(text);
            builder.set(address, bits, *branch);
        }
        builder.finish()
    }

    #[track_caller]
    fn check(table: &PrefixTable, cases: &[(&str, u16, u8)]) {
        for (address, branch, bits) in cases {
            assert_eq!(table.find(address.parse().unwrap()), (*branch, *bits), "{address}");
        }
    }

    #[test]
    fn finds_the_longest_prefix_and_the_scope_that_it_holds_for() {
        let table =
            table(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("2001:db8::/32", 3), ("2001:db8::1/128", 4)]);
        check(
            &table,
            &[
                ("10.1.2.3", 2, 16),
                // The rest of 10/8 is taken apart.
                ("10.0.0.1", 1, 16),
                ("10.2.0.1", 1, 15),
                ("10.128.0.0", 1, 9),
                ("11.0.0.0", 0, 8),
                ("192.0.2.1", 0, 1),
                ("2001:db8::1", 4, 128),
                ("2001:db8::2", 3, 127),
                ("2001:db8:8000::", 3, 33),
                ("::", 0, 3),
            ],
        );
    }

    #[test]
    fn a_later_network_replaces_what_lies_within_it() {
        let nets = [("10.1.0.0/16", 2), ("10.1.2.0/24", 3), ("10.0.0.0/8", 1)];
        check(&table(&nets), &[("10.1.2.3", 1, 8)]);
        check(&table(&[("10.0.0.0/9", 1), ("10.128.0.0/9", 1)]), &[("10.0.0.1", 1, 8)]);
        check(&table(&[("10.0.0.0/8", 1), ("0.0.0.0/0", 5)]), &[("10.0.0.1", 5, 0), ("::1", 0, 0)]);
        check(&table(&[]), &[("10.0.0.1", 0, 0)]);
        check(
            &table(&[("255.255.255.255/32", 1)]),
            &[("255.255.255.255", 1, 32), ("255.255.255.254", 0, 32)],
        );
    }

    proptest! {
        #[test]
        fn is_what_a_search_through_all_networks_finds(
            nets in prop::collection::vec((any::<u32>(), 0u8..=32, 1u16..5), 0..40),
            many in any::<bool>(),
            probes in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut builder = PrefixTableBuilder::new(0);
            let mut all: Vec<(u32, u8, u16)> = Vec::new();
            if many {
                // Enough for an index.
                all.extend((0..2000u32).map(|i| (i.wrapping_mul(0x9e37_79b9) & 0xffff_ff00, 24, 9)));
            }
            all.extend(nets);
            for (address, bits, branch) in &all {
                builder.set(IpAddr::V4((*address).into()), *bits, *branch);
            }
            let table = builder.finish();
            let mask = |bits: u8| if bits == 0 { 0 } else { u32::MAX << (32 - u32::from(bits)) };
            let edges = all.iter().flat_map(|(a, b, _)| [a & mask(*b), a | !mask(*b), (a & mask(*b)).wrapping_sub(1)]);
            for probe in probes.into_iter().chain(edges) {
                let last = all.iter().rev().find(|(a, b, _)| a & mask(*b) == probe & mask(*b));
                let (branch, bits) = table.find(IpAddr::V4(probe.into()));
                prop_assert_eq!(branch, last.map_or(0, |(_, _, branch)| *branch));
                // The answer holds for the whole scope.
                prop_assert_eq!(table.find(IpAddr::V4((probe & mask(bits)).into())), (branch, bits));
                prop_assert_eq!(table.find(IpAddr::V4((probe | !mask(bits)).into())), (branch, bits));
            }
        }
    }
}
