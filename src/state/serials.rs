//! Serials that never go back, also over a restart.
//!
//! The keeper uses `max(now, last + 1)`. Writing each serial to the disk before its zone is published would make a flip wait for the
//! disk; so a range is reserved ahead of use, and after a restart the serial goes on behind what was reserved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{SetAside, StateDir, StateError};
use crate::model::name::Name;
use crate::model::serial::Serial;

const FILE: &str = "serials.json";
const VERSION: u32 = 1;

/// The reserved serials of all zones.
#[derive(Debug)]
pub struct Serials {
    state: Arc<StateDir>,
    reserved: Mutex<BTreeMap<String, u32>>,
}

impl Serials {
    /// Loads what was reserved. A [`SetAside`] must be reported: serials go on from the clock alone.
    pub fn load(state: Arc<StateDir>) -> Result<(Self, Option<SetAside>), StateError> {
        let (reserved, set_aside) = super::load_json(&state, FILE, VERSION)?;
        Ok((Self { state, reserved: Mutex::new(reserved) }, set_aside))
    }

    /// The last serial that the zone may have used; `None` for a zone that is new here.
    pub fn reserved(&self, zone: &Name) -> Option<Serial> {
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.get(&zone.to_string()).copied().map(Serial)
    }

    /// Reserves all serials of a zone up to and including `up_to`; durable when it returns. Does nothing when `up_to` is not after what is
    /// reserved already (RFC 1982). When it fails the earlier reservation stands, and serials beyond it must not be used.
    pub fn reserve(&self, zone: &Name, up_to: Serial) -> Result<(), StateError> {
        self.reserve_all([(zone, up_to)])
    }

    /// As [`Serials::reserve`] for several zones with one write.
    pub fn reserve_all<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a Name, Serial)>,
    ) -> Result<(), StateError> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = None;
        for (zone, up_to) in wanted {
            let zone = zone.to_string();
            let current = changed.as_ref().unwrap_or(&*reserved).get(&zone).copied().map(Serial);
            if current.is_none_or(|current| up_to.is_after(current)) {
                changed.get_or_insert_with(|| reserved.clone()).insert(zone, up_to.0);
            }
        }
        if let Some(changed) = changed {
            super::save_json(&self.state, FILE, VERSION, &changed)?;
            *reserved = changed;
        }
        Ok(())
    }

    /// Sets a zone's reservation whatever it was: a person has moved its serial (RFC 1982 §7 needs two steps for going back).
    pub fn reset(&self, zone: &Name, up_to: Serial) -> Result<(), StateError> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = reserved.clone();
        changed.insert(zone.to_string(), up_to.0);
        super::save_json(&self.state, FILE, VERSION, &changed)?;
        *reserved = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn load(folder: &Folder) -> Serials {
        let (serials, set_aside) = Serials::load(Arc::new(StateDir::open(folder.path()).unwrap())).unwrap();
        assert_eq!(set_aside, None);
        serials
    }

    #[test]
    fn what_is_reserved_survives_and_only_grows() {
        let folder = Folder::new();
        let (a, b) = (name("a.test"), name("b.test"));
        let serials = load(&folder);
        assert_eq!(serials.reserved(&a), None);
        serials.reserve(&a, Serial(100)).unwrap();
        serials.reserve(&a, Serial(90)).unwrap();
        drop(serials);
        let serials = load(&folder);
        assert_eq!(serials.reserved(&a), Some(Serial(100)));
        serials.reserve_all([(&a, Serial(200)), (&b, Serial(u32::MAX)), (&a, Serial(150))]).unwrap();
        serials.reserve(&b, Serial(5)).unwrap();
        drop(serials);
        let serials = load(&folder);
        assert_eq!(serials.reserved(&a), Some(Serial(200)));
        assert_eq!(serials.reserved(&b), Some(Serial(5)), "across the wrap (RFC 1982)");
        serials.reset(&a, Serial(7)).unwrap();
        drop(serials);
        assert_eq!(load(&folder).reserved(&a), Some(Serial(7)));
    }

    #[test]
    fn a_reservation_that_cannot_be_written_does_not_count() {
        let folder = Folder::new();
        let zone = name("a.test");
        let serials = load(&folder);
        serials.reserve(&zone, Serial(100)).unwrap();
        // A directory in the file's place: the rename fails for root as well.
        let file = folder.path().join(FILE);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir_all(file.join("x")).unwrap();
        let error = serials.reserve(&zone, Serial(200)).unwrap_err().to_string();
        assert!(error.contains("serials.json: cannot write this"), "{error}");
        assert_eq!(serials.reserved(&zone), Some(Serial(100)));
    }
}
