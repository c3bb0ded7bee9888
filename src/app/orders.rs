//! Zones whose names were put in canonical order for somebody who turns their pages, and are forgotten when nobody does any more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::name::Name;
use crate::snapshot::{NamesInOrder, Snapshot, ZoneImage};

/// How long an order is kept for the next page: for as long as people read one.
const KEPT: Duration = Duration::from_secs(300);

/// When each order was last asked for, by apex.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<HashMap<Name, Instant>>);

impl Orders {
    /// The names of a zone in order.
    pub(super) fn of<'i>(&self, image: &'i ZoneImage) -> NamesInOrder<'i> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(image.apex().clone(), Instant::now());
        drop(asked);
        image.names_in_order()
    }

    /// Forgets those that nobody has asked for lately. Costs nothing where there are none.
    pub(super) fn forget_unused(&self, snapshot: &Snapshot, now: Instant) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|apex, at| {
            let is_used = now.duration_since(*at) < KEPT;
            if !is_used && let Some(image) = snapshot.zone(apex).and_then(|zone| zone.image) {
                image.forget_order();
            }
            is_used
        });
    }
}
