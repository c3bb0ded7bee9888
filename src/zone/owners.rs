//! A zone's owners in canonical order (RFC 4034 §6.1), found by name.

use super::desired::DesiredOwner;
use crate::model::diagnostic::Position;
use crate::model::name::Name;
use crate::model::sort_key::head;

/// An owner with its name and where it stands in the zone file.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The owner name.
    pub name: Name,
    /// Its records.
    pub owner: DesiredOwner,
    /// Where its key stands.
    pub position: Position,
}

/// The owners of one zone, each name once, in canonical order.
///
/// A list that is sorted once, with the first octets of each name's sort key beside it, so that sorting and searching seldom touch
/// the names themselves. A tree of names took a third of the time in which a zone of a million was laid out.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    heads: Vec<u128>,
    list: Vec<Placed>,
    /// Octets of the apex.
    apex_octets: usize,
}

impl Owners {
    /// Puts owners of the zone `apex`, given as they stand in the file, in order. Of those that share a name the first one is
    /// kept; the others come back, each with the place of the first.
    pub fn sorted(apex: &Name, list: Vec<Placed>) -> (Self, Vec<(Placed, Position)>) {
        let apex_octets = apex.wire().len();
        let heads: Vec<u128> = list.iter().map(|placed| head_of(&placed.name, apex_octets)).collect();
        let mut owners = Self { heads, list, apex_octets };
        let twins = if owners.is_sorted() { Vec::new() } else { owners.sort() };
        (owners, twins)
    }

    /// Whether each owner comes after the one before.
    fn is_sorted(&self) -> bool {
        let names = self.list.windows(2);
        self.heads.windows(2).zip(names).all(|(heads, names)| {
            heads[0].cmp(&heads[1]).then_with(|| names[0].name.cmp(&names[1].name)).is_lt()
        })
    }

    fn sort(&mut self) -> Vec<(Placed, Position)> {
        let list = &mut self.list;
        // Which owner belongs where; of equal names, the one that stands first in the file comes first. A zone has fewer owners
        // than 2³², or its names alone would take 100 GB.
        let mut order: Vec<(u128, u32)> =
            self.heads.iter().enumerate().map(|(i, head)| (*head, i as u32)).collect();
        order.sort_unstable_by(|(head, i), (other_head, j)| {
            let names = || list[*i as usize].name.cmp(&list[*j as usize].name);
            head.cmp(other_head).then_with(names).then(i.cmp(j))
        });
        self.heads.clear();
        self.heads.extend(order.iter().map(|(head, _)| *head));
        // Each owner moves once: round every cycle of the permutation.
        for start in 0..order.len() {
            let mut at = start;
            loop {
                let from = std::mem::replace(&mut order[at].1, at as u32) as usize;
                if from == at || from == start {
                    break;
                }
                list.swap(at, from);
                at = from;
            }
        }
        self.take_twins()
    }

    /// Takes out every owner whose name stands before it.
    fn take_twins(&mut self) -> Vec<(Placed, Position)> {
        let is_twin = |heads: &[u128], list: &[Placed], i: usize| {
            heads[i - 1] == heads[i] && list[i - 1].name == list[i].name
        };
        if !(1..self.list.len()).any(|i| is_twin(&self.heads, &self.list, i)) {
            return Vec::new();
        }
        let (mut twins, mut kept): (Vec<(Placed, Position)>, Vec<Placed>) = (Vec::new(), Vec::new());
        for placed in std::mem::take(&mut self.list) {
            match kept.last() {
                Some(first) if first.name == placed.name => {
                    let first = first.position;
                    twins.push((placed, first));
                }
                _ => kept.push(placed),
            }
        }
        self.heads = kept.iter().map(|placed| head_of(&placed.name, self.apex_octets)).collect();
        self.list = kept;
        twins
    }

    /// Where `name`, which must be in the zone, stands, or else where it would.
    fn search(&self, name: &Name) -> Result<usize, usize> {
        let head = head_of(name, self.apex_octets);
        let start = self.heads.partition_point(|other| *other < head);
        let same = self.heads[start..].partition_point(|other| *other == head);
        let found = self.list[start..start + same].binary_search_by(|placed| placed.name.cmp(name));
        found.map(|i| start + i).map_err(|i| start + i)
    }

    /// The owner of this name, which must be in the zone.
    pub fn get(&self, name: &Name) -> Option<&DesiredOwner> {
        self.search(name).ok().map(|i| &self.list[i].owner)
    }

    /// The owner of this name, which must be in the zone and is added if need be.
    pub fn get_or_insert(&mut self, name: &Name, new: impl FnOnce() -> Placed) -> &mut DesiredOwner {
        let at = self.search(name).unwrap_or_else(|at| {
            self.heads.insert(at, head_of(name, self.apex_octets));
            self.list.insert(at, new());
            at
        });
        &mut self.list[at].owner
    }

    /// As [`Owners::get`], to change it.
    pub fn get_mut(&mut self, name: &Name) -> Option<&mut DesiredOwner> {
        self.search(name).ok().map(|i| &mut self.list[i].owner)
    }

    /// Adds owners of the zone `apex`, in any order, whose names are not there yet.
    pub fn add(&mut self, apex: &Name, mut added: Vec<Placed>) {
        if added.is_empty() {
            return;
        }
        let mut list = std::mem::take(&mut self.list);
        list.append(&mut added);
        (*self, _) = Self::sorted(apex, list);
    }

    /// Whether there is an owner of this name, which must be in the zone, or of one below it (RFC 4592 §2.2.2).
    pub fn exists(&self, name: &Name) -> bool {
        match self.search(name) {
            Ok(_) => true,
            // Names below directly follow.
            Err(at) => self.list.get(at).is_some_and(|next| next.name.is_below(name)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Placed> {
        self.list.iter()
    }

    /// All of them, in order, to change everything but their names.
    pub fn owners_mut(&mut self) -> impl Iterator<Item = (&Name, &mut DesiredOwner)> {
        self.list.iter_mut().map(|placed| (&placed.name, &mut placed.owner))
    }
}

impl IntoIterator for Owners {
    type Item = Placed;
    type IntoIter = std::vec::IntoIter<Placed>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

fn head_of(name: &Name, apex_octets: usize) -> u128 {
    head(&name.wire()[..name.wire().len().saturating_sub(apex_octets)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Order;
    use crate::zone::desired::Place;

    fn placed(name: &str, line: u32) -> Placed {
        let owner = DesiredOwner {
            place: Place::Authoritative,
            rrsets: Vec::new(),
            checked: None,
            order: Order::default(),
            alias: None,
        };
        let name = Name::parse_absolute(name).unwrap();
        Placed { name, owner, position: Position { line, column: 1 } }
    }

    /// The same as a map of names does it.
    #[track_caller]
    fn check(names: &[String]) {
        let mut want: BTreeMap<Name, u32> = BTreeMap::new();
        let mut want_twins = Vec::new();
        for (line, text) in (1u32..).zip(names) {
            let name = Name::parse_absolute(text).unwrap();
            match want.get(&name) {
                Some(first) => want_twins.push((line, *first)),
                None => {
                    want.insert(name, line);
                }
            }
        }
        let list = (1u32..).zip(names).map(|(line, name)| placed(name, line)).collect();
        let (owners, twins) = Owners::sorted(&Name::parse_absolute("t").unwrap(), list);
        assert!(owners.iter().map(|p| (&p.name, &p.position.line)).eq(&want), "{owners:?}");
        let mut twins: Vec<(u32, u32)> =
            twins.iter().map(|(p, first)| (p.position.line, first.line)).collect();
        twins.sort_unstable();
        assert_eq!(twins, want_twins);
        for text in names {
            let name = Name::parse_absolute(text).unwrap();
            assert!(owners.get(&name).is_some() && owners.exists(&name));
            let above = name.parent().unwrap();
            assert_eq!(owners.get(&above).is_some(), want.contains_key(&above), "{above}");
            assert!(above.is_root() || owners.exists(&above), "{above}");
            let below = name.prepend(b"\0nothing-like-it").unwrap();
            assert!(owners.get(&below).is_none() && !owners.exists(&below));
        }
        assert_eq!(owners.len(), want.len());
    }

    #[test]
    fn sorts_and_finds_as_a_map_does() {
        check(&[]);
        check(&["a.t", "b.t", "c.t"].map(String::from));
        check(&["t", "z.t", "a.z.t", "b.b.z.t", "a.t", "Z.t", "a.z.t", "z.t", "zz.t"].map(String::from));
        // Names that differ only behind the head.
        let long = |i: u32| format!("{}.a-label-that-is-the-same-for-all.t", i * 7919 % 500);
        check(&(0..600).map(long).collect::<Vec<_>>());
        check(&(0..2000).map(|i| format!("h{}.s{}.t", i * 7919 % 2003, i % 7)).collect::<Vec<_>>());
    }
}
