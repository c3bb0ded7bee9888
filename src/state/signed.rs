//! Zones that have been signed: such a zone is never silently served unsigned, also not when its `dnssec` block is deleted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{SetAside, StateDir, StateError, Stored};
use crate::model::name::Name;

const FILE: &str = "signed-zones.json";
/// The same once more: one damaged file makes no zone insecure.
const COPY: &str = "signed-zones.copy.json";
const VERSION: u32 = 1;
/// Stands among the zones where there may be others: both files were damaged.
const OTHERS: &str = "*";

/// What is known of a zone's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// It was never served signed, or a person has turned signing off since.
    Unsigned,
    /// It was served signed.
    Signed,
    /// Nobody knows: the state files that said so were damaged.
    Unknown,
}

/// The set of zones that have been published with signatures.
#[derive(Debug)]
pub struct SignedZones {
    state: Arc<StateDir>,
    zones: Mutex<BTreeSet<String>>,
}

impl SignedZones {
    /// Loads the set. Every [`SetAside`] must be reported. After two of them every zone's past is [`Past::Unknown`], also in later runs.
    ///
    /// # Errors
    /// A file cannot be read at all, or what was found cannot be written again.
    pub fn load(state: Arc<StateDir>) -> Result<(Self, Vec<SetAside>), StateError> {
        let mut problems = Vec::new();
        let mut files = [None, None];
        for (found, file) in files.iter_mut().zip([FILE, COPY]) {
            match read(&state, file)? {
                Ok(zones) => *found = zones,
                Err(problem) => problems.push(problem),
            }
        }
        let is_whole = files.iter().all(Option::is_some);
        let zones = match files {
            [Some(zones), _] | [None, Some(zones)] => zones,
            // A first start, not a loss.
            [None, None] if problems.is_empty() => return Ok((Self::new(state, BTreeSet::new()), problems)),
            [None, None] => BTreeSet::from([OTHERS.to_owned()]),
        };
        let signed = Self::new(state, zones);
        if !is_whole {
            signed.save(&signed.lock())?;
        }
        Ok((signed, problems))
    }

    fn new(state: Arc<StateDir>, zones: BTreeSet<String>) -> Self {
        Self { state, zones: Mutex::new(zones) }
    }

    /// What is known of the zone.
    pub fn past(&self, zone: &Name) -> Past {
        let zones = self.lock();
        if zones.contains(&zone.to_string()) {
            Past::Signed
        } else if zones.contains(OTHERS) {
            Past::Unknown
        } else {
            Past::Unsigned
        }
    }

    /// Whether some zones may have been signed of which it is not known any more.
    pub fn is_incomplete(&self) -> bool {
        self.lock().contains(OTHERS)
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
        let mut zones = self.lock();
        let mut changed = zones.clone();
        if change(&mut changed) {
            self.save(&changed)?;
            *zones = changed;
        }
        Ok(())
    }

    fn save(&self, zones: &BTreeSet<String>) -> Result<(), StateError> {
        super::save_json(&self.state, FILE, VERSION, zones)?;
        super::save_json(&self.state, COPY, VERSION, zones)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The zones in one file; `None` where there is no such file.
fn read(state: &StateDir, file: &str) -> Result<Result<Option<BTreeSet<String>>, SetAside>, StateError> {
    let content = match state.read_blob(file, VERSION)? {
        Stored::Absent => return Ok(Ok(None)),
        Stored::SetAside(problem) => return Ok(Err(problem)),
        Stored::Good(content) => content,
    };
    match serde_json::from_slice(&content) {
        Ok(zones) => Ok(Ok(Some(zones))),
        Err(e) => Ok(Err(state.set_aside(file, format!("cannot be understood: {e}"))?)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    fn reopen(folder: &Folder) -> (SignedZones, Vec<SetAside>) {
        SignedZones::load(Arc::new(StateDir::open(folder.path()).unwrap())).unwrap()
    }

    fn zone() -> Name {
        Name::parse_absolute("example.test").unwrap()
    }

    #[test]
    fn a_signed_zone_is_remembered_until_it_is_turned_off() {
        let folder = Folder::new();
        let (zones, problems) = reopen(&folder);
        assert_eq!((problems, zones.past(&zone())), (vec![], Past::Unsigned));
        zones.insert(&zone()).unwrap();
        drop(zones);
        let (zones, _) = reopen(&folder);
        assert_eq!(zones.past(&zone()), Past::Signed);
        zones.remove(&zone()).unwrap();
        drop(zones);
        assert_eq!(reopen(&folder).0.past(&zone()), Past::Unsigned);
    }

    /// What becomes of the two files, how many are reported, and what is known of a zone that was signed, and of another, twice.
    fn check(damage: [Option<&str>; 2], reported: usize, expected: [Past; 2]) {
        let folder = Folder::new();
        reopen(&folder).0.insert(&zone()).unwrap();
        for (file, damage) in [FILE, COPY].into_iter().zip(damage) {
            match damage {
                Some("") => std::fs::remove_file(folder.path().join(file)).unwrap(),
                Some(content) => std::fs::write(folder.path().join(file), content).unwrap(),
                None => {}
            }
        }
        let other = Name::parse_absolute("other.test").unwrap();
        for reported in [reported, 0] {
            let (zones, problems) = reopen(&folder);
            assert_eq!([zones.past(&zone()), zones.past(&other)], expected, "{damage:?}");
            assert_eq!(problems.len(), reported, "{damage:?}");
            assert_eq!(zones.is_incomplete(), expected[1] == Past::Unknown);
        }
    }

    #[test]
    fn damage_never_makes_a_zone_unsigned() {
        let bad = Some("[\"example.test\"]");
        let known = [Past::Signed, Past::Unsigned];
        check([bad, None], 1, known);
        check([None, bad], 1, known);
        check([Some(""), None], 0, known);
        check([None, Some("")], 0, known);
        check([bad, bad], 2, [Past::Unknown, Past::Unknown]);
        check([bad, Some("")], 1, [Past::Unknown, Past::Unknown]);
        check([Some(""), Some("")], 0, [Past::Unsigned, Past::Unsigned]);
    }

    #[test]
    fn a_zone_that_is_signed_again_is_known_again() {
        let folder = Folder::new();
        drop(reopen(&folder));
        for file in [FILE, COPY] {
            std::fs::write(folder.path().join(file), "damaged").unwrap();
        }
        let (zones, _) = reopen(&folder);
        zones.insert(&zone()).unwrap();
        assert_eq!(zones.past(&zone()), Past::Signed);
        zones.remove(&zone()).unwrap();
        assert_eq!(zones.past(&zone()), Past::Unknown, "without a word for it nobody knows");
    }
}
