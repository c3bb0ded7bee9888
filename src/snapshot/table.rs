//! The catalogue: which zones are served, found by longest match of the apex.

use std::sync::Arc;

use crate::model::hash::{HashKey, same};
use crate::model::name::Name;

use super::keyed::KeyedName;
use super::zone::ZoneImage;

/// Everything that is served at one moment. Immutable; a change makes another one that shares what has not changed.
#[derive(Clone)]
pub struct Snapshot {
    key: HashKey,
    generation: u64,
    /// By index. A place that is `None` is taken by the next zone that is added.
    zones: Vec<Option<Entry>>,
    /// Open addressing by the apex's hash; index + 1, 0 for none. Shared as long as the same zones stand in it.
    slots: Arc<[(u64, u32)]>,
    /// Numbers of labels that some apex has, largest first.
    depths: Arc<[u8]>,
    is_by_client: bool,
}

#[derive(Clone)]
struct Entry {
    apex_hash: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    Served(Arc<ZoneImage>),
    Broken(Name),
}

impl Entry {
    fn apex(&self) -> &Name {
        match &self.state {
            State::Served(image) => image.apex(),
            State::Broken(apex) => apex,
        }
    }
}

/// A zone of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct ZoneRef<'s> {
    /// Its index, which it keeps as long as it stands in successive snapshots.
    pub index: u32,
    /// Its apex.
    pub apex: &'s Name,
    /// What it serves; `None` for a zone that could not be built and answers SERVFAIL.
    pub image: Option<&'s Arc<ZoneImage>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// A snapshot without zones. Every zone put into it must have been made with the same `key`.
    pub fn empty(key: HashKey) -> Self {
        Self {
            key,
            generation: 0,
            zones: Vec::new(),
            slots: Arc::new([]),
            depths: Arc::new([]),
            is_by_client: false,
        }
    }

    /// How many changes led here from the empty snapshot.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The key of all name hashes.
    #[inline]
    pub fn key(&self) -> HashKey {
        self.key
    }

    /// This snapshot with `image` as its zone: added, or in place of what its apex had before.
    #[must_use]
    pub fn with_zone(&self, image: Arc<ZoneImage>) -> Self {
        debug_assert_eq!(image.key(), self.key, "a zone hashed with another key would never be found");
        self.with(Entry { apex_hash: image.apex_hash(), state: State::Served(image) })
    }

    /// This snapshot with a zone that answers SERVFAIL, since it could not be built.
    #[must_use]
    pub fn with_broken_zone(&self, apex: Name) -> Self {
        self.with(Entry { apex_hash: self.key.name(&apex), state: State::Broken(apex) })
    }

    /// This snapshot without a zone.
    #[must_use]
    pub fn without_zone(&self, apex: &Name) -> Self {
        let mut next = self.clone();
        next.generation += 1;
        if let Some(zone) = self.zone(apex) {
            next.zones[zone.index as usize] = None;
            next.rebuild_slots();
            next.note_clients();
        }
        next
    }

    fn with(&self, entry: Entry) -> Self {
        let mut next = self.clone();
        next.generation += 1;
        if let Some(zone) = self.zone(entry.apex()) {
            next.zones[zone.index as usize] = Some(entry);
            next.note_clients();
            return next;
        }
        match next.zones.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(entry),
            None => next.zones.push(Some(entry)),
        }
        next.rebuild_slots();
        next.note_clients();
        next
    }

    /// Whether any zone gives different clients different answers.
    #[inline]
    pub fn is_by_client(&self) -> bool {
        self.is_by_client
    }

    fn note_clients(&mut self) {
        let is_by_client = self.zones().any(|zone| zone.image.is_some_and(|image| image.is_by_client()));
        self.is_by_client = is_by_client;
    }

    fn rebuild_slots(&mut self) {
        let count = (self.zones.len() * 2).next_power_of_two();
        let mut slots = vec![(0u64, 0u32); count];
        let mut depths = std::collections::BTreeSet::new();
        for (index, entry) in self.zones.iter().enumerate() {
            let Some(entry) = entry else { continue };
            depths.insert(entry.apex().label_count() as u8);
            let mut slot = entry.apex_hash as usize & (count - 1);
            while slots[slot].1 != 0 {
                slot = (slot + 1) & (count - 1);
            }
            slots[slot] = (entry.apex_hash, index as u32 + 1);
        }
        self.slots = slots.into();
        self.depths = depths.into_iter().rev().collect();
    }

    /// The zone with the longest apex that is `name` or above it and has at most `max_depth` labels.
    // Always inlined, with the search in it: where the compiler made a call of it, an address took 39 instructions more, most others 60.
    #[inline(always)]
    pub fn zone_of(&self, name: &KeyedName, max_depth: usize) -> Option<ZoneRef<'_>> {
        let deepest = max_depth.min(name.depth());
        for &depth in &*self.depths {
            let depth = usize::from(depth);
            if depth <= deepest
                && let Some(zone) = self.at(name.suffix_hash(depth), name.suffix(depth))
            {
                return Some(zone);
            }
        }
        None
    }

    /// The zone with this apex.
    pub fn zone(&self, apex: &Name) -> Option<ZoneRef<'_>> {
        self.at(self.key.name(apex), apex.wire())
    }

    /// Every zone, by index.
    pub fn zones(&self) -> impl Iterator<Item = ZoneRef<'_>> {
        (0..self.zones.len()).filter_map(|index| self.by_index(index as u32))
    }

    /// The zone with an apex of this hash. Compares the name of the first one alone: to look for another behind it, which would take a
    /// collision of all 64 bits, is a function of its own, so that this one keeps what it works with in registers.
    #[inline(always)]
    fn at(&self, hash: u64, apex: &[u8]) -> Option<ZoneRef<'_>> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize;
        loop {
            // At most half of the slots are taken, so an empty one ends every search.
            let &(found, place) = self.slots.get(slot & mask)?;
            let index = place.checked_sub(1)?;
            if found == hash {
                let zone = self.by_index(index)?;
                return if same(zone.apex.wire(), apex) {
                    Some(zone)
                } else {
                    self.at_behind(slot, hash, apex)
                };
            }
            slot = slot.wrapping_add(1);
        }
    }

    #[cold]
    fn at_behind(&self, slot: usize, hash: u64, apex: &[u8]) -> Option<ZoneRef<'_>> {
        let mask = self.slots.len().checked_sub(1)?;
        (1..=mask)
            .map_while(|step| self.slots.get(slot.wrapping_add(step) & mask).filter(|(_, place)| *place > 0))
            .filter(|(found, _)| *found == hash)
            .find_map(|(_, place)| self.by_index(place - 1).filter(|zone| zone.apex.wire() == apex))
    }

    /// The apex of the zone with this index.
    pub fn apex(&self, index: u32) -> Option<&Name> {
        self.by_index(index).map(|zone| zone.apex)
    }

    #[inline]
    fn by_index(&self, index: u32) -> Option<ZoneRef<'_>> {
        let entry = self.zones.get(index as usize)?.as_ref()?;
        let image = match &entry.state {
            State::Served(image) => Some(image),
            State::Broken(_) => None,
        };
        Some(ZoneRef { index, apex: entry.apex(), image })
    }
}
