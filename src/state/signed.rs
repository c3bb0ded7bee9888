//! Zones that have been signed: such a zone is never silently served unsigned, also not when its `dnssec` block is deleted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{SetAside, StateDir, StateError};
use crate::model::name::Name;

const FILE: &str = "signed-zones.json";
const VERSION: u32 = 1;

/// The set of zones that have been published with signatures.
#[derive(Debug)]
pub struct SignedZones {
    state: Arc<StateDir>,
    zones: Mutex<BTreeSet<String>>,
}

impl SignedZones {
    /// Loads the set. A [`SetAside`] must be reported loudly: zones that were signed are no longer known to be.
    pub fn load(state: Arc<StateDir>) -> Result<(Self, Option<SetAside>), StateError> {
        let (zones, set_aside) = super::load_json(&state, FILE, VERSION)?;
        Ok((Self { state, zones: Mutex::new(zones) }, set_aside))
    }

    /// Whether the zone has been signed.
    pub fn contains(&self, zone: &Name) -> bool {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).contains(&zone.to_string())
    }

    /// Notes that the zone is going to be signed; durable when it returns. To be called before the first signed snapshot is published.
    pub fn insert(&self, zone: &Name) -> Result<(), StateError> {
        self.change(|zones| zones.insert(zone.to_string()))
    }

    /// Notes that a person has turned signing off (`"dnssec": "off"`).
    pub fn remove(&self, zone: &Name) -> Result<(), StateError> {
        self.change(|zones| zones.remove(&zone.to_string()))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<String>) -> bool) -> Result<(), StateError> {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = zones.clone();
        if change(&mut changed) {
            super::save_json(&self.state, FILE, VERSION, &changed)?;
            *zones = changed;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn a_signed_zone_is_remembered_until_it_is_turned_off() {
        let folder = Folder::new();
        let zone = Name::parse_absolute("example.test").unwrap();
        let reopen = || {
            let state = Arc::new(StateDir::open(folder.path()).unwrap());
            SignedZones::load(state).unwrap()
        };
        let (zones, set_aside) = reopen();
        assert_eq!(set_aside, None);
        assert!(!zones.contains(&zone));
        zones.insert(&zone).unwrap();
        drop(zones);
        let (zones, _) = reopen();
        assert!(zones.contains(&zone));
        zones.remove(&zone).unwrap();
        drop(zones);
        assert!(!reopen().0.contains(&zone));

        std::fs::write(folder.path().join(FILE), "[\"example.test\"]").unwrap();
        let (zones, set_aside) = reopen();
        assert!(!zones.contains(&zone));
        assert_eq!(set_aside.unwrap().why, "has no header");
    }
}
