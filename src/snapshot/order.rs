//! The names of a zone in canonical order (RFC 4034 §6.1), for people who turn the pages of a large one.
//!
//! No query needs them, so they are put in order when somebody first asks, and can be forgotten again. Until then a change of the zone only
//! says whether it has added or removed names; after that it carries the order over, and shares every block of it that has not changed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::denial::{DenialChanges, DenialIndex};
use super::zone::ZoneImage;
use crate::model::name::Name;
use crate::model::sort_key::SortKey;

/// The order of a zone's names, if it is known. Images of the same names share it.
#[derive(Default)]
pub(super) struct NameOrder(Mutex<Option<DenialIndex>>);

impl fmt::Debug for NameOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameOrder").field("is_known", &self.known().is_some()).finish()
    }
}

impl NameOrder {
    fn lock(&self) -> MutexGuard<'_, Option<DenialIndex>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order, if somebody has asked for it. Waits for nobody, since the keeper asks: one that is just being made is not known yet.
    pub(super) fn known(&self) -> Option<DenialIndex> {
        self.0.try_lock().ok()?.clone()
    }

    pub(super) fn bytes(&self) -> usize {
        self.known().map_or(0, |known| known.bytes())
    }

    /// The order, made now if need be: whoever asks meanwhile waits, and makes no second one.
    fn get(&self, make: impl FnOnce() -> DenialIndex) -> DenialIndex {
        self.lock().get_or_insert_with(make).clone()
    }

    fn forget(&self) {
        *self.lock() = None;
    }
}

/// What a draft does to the order of the image that it was made from.
#[derive(Debug, Default)]
pub(super) struct OrderChanges {
    base: Arc<NameOrder>,
    /// The order when the draft was begun.
    known: Option<DenialIndex>,
    keys: DenialChanges,
    are_any: bool,
}

impl OrderChanges {
    /// None yet, to an order.
    pub(super) fn to(base: &Arc<NameOrder>) -> Self {
        Self { known: base.known(), base: Arc::clone(base), ..Self::default() }
    }

    /// Notes that the zone now has records under this name, or no longer does.
    pub(super) fn set(&mut self, prefix: &[u8], is_in: bool) {
        self.are_any = true;
        if self.known.is_some() {
            self.keys.set(SortKey::of_prefix(prefix).as_bytes(), is_in);
        }
    }

    /// The order after them.
    pub(super) fn finish(self) -> Arc<NameOrder> {
        if !self.are_any {
            return self.base;
        }
        Arc::new(NameOrder(Mutex::new(self.known.map(|known| known.changed(&self.keys)))))
    }
}

/// The names of every owner that was put into a zone, in canonical order.
#[derive(Debug)]
pub struct NamesInOrder<'i> {
    apex: &'i Name,
    keys: DenialIndex,
}

impl NamesInOrder<'_> {
    /// Those behind a name, which need not be one of them; of a name outside the zone, and of none, all.
    pub fn after(&self, name: Option<&Name>) -> impl Iterator<Item = Name> + use<'_> {
        let key = name.and_then(|name| Some(SortKey::of_prefix(prefix_of(name, self.apex)?)));
        self.keys.walk_after(key.as_ref().map(SortKey::as_bytes)).filter_map(|key| self.name(key))
    }

    /// Those in front of a name, the nearest first; of a name outside the zone, none.
    pub fn before(&self, name: &Name) -> impl Iterator<Item = Name> + use<'_> {
        let key = prefix_of(name, self.apex).map(SortKey::of_prefix);
        let keys = key.map(|key| self.keys.walk_before(key.as_bytes()));
        keys.into_iter().flatten().filter_map(|key| self.name(key))
    }

    fn name(&self, key: &[u8]) -> Option<Name> {
        super::zone::name_of_key(key, self.apex)
    }
}

fn prefix_of<'n>(name: &'n Name, apex: &Name) -> Option<&'n [u8]> {
    name.is_at_or_below(apex).then(|| &name.wire()[..name.wire().len() - apex.wire().len()])
}

impl ZoneImage {
    /// Its names in canonical order. Making the order takes a walk through the zone, which later images of it need not repeat, and about as
    /// many octets as the names; [`ZoneImage::forget_order`] gives those back.
    pub fn names_in_order(&self) -> NamesInOrder<'_> {
        NamesInOrder { apex: self.apex(), keys: self.order().get(|| self.make_order()) }
    }

    /// Forgets the order that [`ZoneImage::names_in_order`] made.
    pub fn forget_order(&self) {
        self.order().forget();
    }

    fn make_order(&self) -> DenialIndex {
        let mut keys = Vec::new();
        let mut places: Vec<(u64, usize, usize)> = Vec::with_capacity(self.totals().owners);
        for node in self.radix().nodes().filter(|node| node.is_declared()) {
            let (key, start) = (SortKey::of_prefix(node.prefix()), keys.len());
            keys.extend_from_slice(key.as_bytes());
            places.push((super::denial::head_of(key.as_bytes()), start, keys.len()));
        }
        // Most names differ in the first eight octets, which stand right here.
        places.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys[a.1..a.2].cmp(&keys[b.1..b.2])));
        DenialIndex::of_sorted(places.iter().map(|&(_, start, end)| &keys[start..end]))
    }
}
