//! Overrides that survive a restart. A change is on the disk before anybody acts on it.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{SetAside, StateDir, StateError, Stored};
use crate::model::overrides::{Override, Overrides};
use crate::model::report::OverrideReport;

const FILE: &str = "overrides.json";
/// What stood in [`FILE`] last, as far as it was readable: a person's word is not lost with one damaged file.
const COPY: &str = "overrides.copy.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    last_id: u64,
    overrides: Vec<OverrideReport>,
}

/// The overrides in force, and the file that keeps them. Without a state directory they last as long as the process.
#[derive(Debug)]
pub struct OverrideStore {
    state: Option<Arc<StateDir>>,
    /// Held through a whole change, the disk included; whoever only looks does not wait for it.
    changing: Mutex<()>,
    current: Mutex<Arc<Overrides>>,
}

impl OverrideStore {
    /// Loads the overrides that were saved, without those that have expired since. Files that were set aside are to be reported loudly; where
    /// the second copy was good, nothing but the very last change can be lost.
    ///
    /// # Errors
    /// A file cannot be read at all.
    pub fn load(state: Option<Arc<StateDir>>, now_s: u32) -> Result<(Self, Vec<SetAside>), StateError> {
        let (found, problems) = match &state {
            Some(state) => read_either(state)?,
            None => Default::default(),
        };
        let current = Mutex::new(Arc::new(found.expire(now_s).0));
        Ok((Self { state, changing: Mutex::default(), current }, problems))
    }

    /// Whether overrides outlive the process.
    pub fn is_kept(&self) -> bool {
        self.state.is_some()
    }

    /// The overrides as they were last set; some may have expired since.
    pub fn current(&self) -> Arc<Overrides> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a change durable and then has `act` act on it, before any other change.
    ///
    /// # Errors
    /// Those of `change`, or the disk's: then nothing has changed.
    pub fn change<T, E: From<StateError>>(
        &self,
        change: impl FnOnce(&Overrides) -> Result<Overrides, E>,
        act: impl FnOnce(Arc<Overrides>) -> T,
    ) -> Result<T, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(change(&self.current())?);
        if let Some(state) = &self.state {
            let kept = Kept::from(&*next);
            super::save_json(state, FILE, VERSION, &kept)?;
            if let Err(error) = super::save_json(state, COPY, VERSION, &kept) {
                tracing::warn!(%error, "the second copy of the overrides is not saved; the first one is");
            }
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        Ok(act(next))
    }
}

impl From<&Overrides> for Kept {
    fn from(all: &Overrides) -> Self {
        let overrides = all.list().into_iter().map(OverrideReport::from).collect();
        Self { last_id: all.last_id(), overrides }
    }
}

/// The overrides in the file, or where that is damaged those in its copy, which then takes its place.
fn read_either(state: &StateDir) -> Result<(Overrides, Vec<SetAside>), StateError> {
    let mut problems = Vec::new();
    match read(state, FILE)? {
        Ok(found) => return Ok((found.unwrap_or_default(), problems)),
        Err(problem) => problems.push(problem),
    }
    let found = read(state, COPY)?.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let found = found.unwrap_or_default();
    super::save_json(state, FILE, VERSION, &Kept::from(&found))?;
    Ok((found, problems))
}

/// The overrides in one file; nothing where there is none.
fn read(state: &StateDir, file: &str) -> Result<Result<Option<Overrides>, SetAside>, StateError> {
    let content = match state.read_blob(file, VERSION)? {
        Stored::Absent => return Ok(Ok(None)),
        Stored::SetAside(problem) => return Ok(Err(problem)),
        Stored::Good(content) => content,
    };
    let parsed = serde_json::from_slice::<Kept>(&content).map_err(|e| e.to_string()).and_then(|kept| {
        let entries = kept.overrides.into_iter().map(Override::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Overrides::restored(entries, kept.last_id))
    });
    match parsed {
        Ok(overrides) => Ok(Ok(Some(overrides))),
        Err(why) => Ok(Err(state.set_aside(file, format!("cannot be understood: {why}"))?)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;
    use crate::model::overrides::{NewOverride, Word};

    fn said(subject: &str, until_s: Option<u32>) -> NewOverride {
        let (subject, reason, owner) = (subject.parse().unwrap(), "disk".into(), "root".into());
        NewOverride { subject, zone: None, word: Word::Down, until_s, reason, owner }
    }

    fn set(store: &OverrideStore, said: NewOverride) {
        let change = |now: &Overrides| Ok::<_, StateError>(now.with(said, 100).unwrap().0);
        store.change(change, |_| ()).unwrap();
    }

    /// Opens the store at a time; returns it with its numbers and how many files were set aside.
    fn open(folder: &Folder, now_s: u32) -> (OverrideStore, Vec<u64>, usize) {
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        let (store, problems) = OverrideStore::load(Some(state), now_s).unwrap();
        let ids = store.current().list().iter().map(|entry| entry.id).collect();
        (store, ids, problems.len())
    }

    #[test]
    fn a_word_is_kept_until_it_expires() {
        let folder = Folder::new();
        let (store, ids, _) = open(&folder, 100);
        assert!(ids.is_empty());
        set(&store, said("address:192.0.2.1", None));
        set(&store, said("address:192.0.2.2", Some(200)));
        let before = store.current();
        drop(store);
        let (store, ids, problems) = open(&folder, 150);
        assert_eq!((ids, problems), (vec![1, 2], 0));
        assert_eq!(store.current(), before);
        drop(store);
        let (store, ids, _) = open(&folder, 200);
        assert_eq!(ids, [1]);
        set(&store, said("pool:fra", None));
        drop(store);
        assert_eq!(open(&folder, 200).1, [1, 3], "numbers are not used again");
    }

    #[test]
    fn one_damaged_file_loses_nothing() {
        for (damage, set_aside) in
            [(&["overrides.json"][..], 1), (&["overrides.json", "overrides.copy.json"], 2)]
        {
            let folder = Folder::new();
            let (store, ..) = open(&folder, 100);
            set(&store, said("pool:fra", None));
            drop(store);
            for file in damage {
                let path = folder.path().join(file);
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, text.replace("fra", "ams")).unwrap();
            }
            let (store, ids, problems) = open(&folder, 100);
            assert_eq!(problems, set_aside);
            assert_eq!(ids.len(), 2 - set_aside, "{damage:?}");
            drop(store);
            let (_, again, problems) = open(&folder, 100);
            assert_eq!((again, problems), (ids, 0), "set aside, and not found again");
        }
    }

    #[test]
    fn what_cannot_be_saved_is_not_set() {
        let folder = Folder::new();
        let (store, ..) = open(&folder, 100);
        set(&store, said("pool:fra", None));
        // A folder of that name cannot be replaced by a file.
        let path = folder.path().join(FILE);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir_all(path.join("x")).unwrap();
        let change = |now: &Overrides| Ok::<_, StateError>(now.without(1).unwrap().0);
        assert!(store.change(change, |_| panic!("nothing to act on")).is_err());
        assert_eq!(store.current().len(), 1);
    }
}
