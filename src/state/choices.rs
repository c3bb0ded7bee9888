//! What pools with `"failback": false` use: reloads go on from it, and restarts where there is a state directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::error;

use super::{SetAside, StateDir, StateError};
use crate::model::name::Name;
use crate::model::policy::{Members, Policy, Rule};

const FILE: &str = "choices.json";
const VERSION: u32 = 1;
/// Between two writes while the server runs: a crash loses what is newer.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// What one pool uses. A policy may be another one after an edit, so places count only where the names still agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stay {
    /// The pool's place in its policy.
    pool: u32,
    /// The place of the member it uses.
    uses: u32,
    /// The names of both.
    names: [Option<String>; 2],
}

/// By zone and owner.
type Zones = BTreeMap<String, BTreeMap<String, Vec<Stay>>>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Choices {
    state: Option<Arc<StateDir>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    zones: Zones,
    /// When the oldest change was made that is not saved yet.
    changed: Option<Instant>,
}

impl Choices {
    /// Loads what an earlier run left; a [`SetAside`] tells that it could not be read.
    ///
    /// # Errors
    /// The file exists and the disk does not give it.
    pub fn load(state: Option<Arc<StateDir>>) -> Result<(Self, Option<SetAside>), StateError> {
        let (zones, set_aside) = match &state {
            Some(state) => super::load_json(state, FILE, VERSION)?,
            None => Default::default(),
        };
        Ok((Self { state, kept: Mutex::new(Kept { zones, changed: None }) }, set_aside))
    }

    /// What the pools of an owner use, by their places: [`crate::model::policy::Policy::pools`]; empty for nothing.
    pub fn of(&self, zone: &Name, owner: &Name, policy: &Policy) -> Vec<Option<u32>> {
        let kept = self.lock();
        if kept.zones.is_empty() {
            return Vec::new();
        }
        let stays = kept.zones.get(&zone.to_string()).and_then(|owners| owners.get(&owner.to_string()));
        let mut chosen = Vec::new();
        for stay in stays.into_iter().flatten().filter(|stay| stay.fits(policy)) {
            chosen.resize(policy.pools.len(), None);
            if let Some(place) = chosen.get_mut(stay.pool as usize) {
                *place = Some(stay.uses);
            }
        }
        chosen
    }

    /// Notes what the pools of an owner use now.
    pub fn note(&self, zone: &Name, owner: &Name, policy: &Policy, chosen: &[Option<u32>]) {
        let name = |place: u32| policy.pools.get(place as usize)?.name.as_deref().map(str::to_owned);
        let stay = |(pool, uses): (usize, &Option<u32>)| {
            let (pool, uses) = (u32::try_from(pool).ok()?, (*uses)?);
            Some(Stay { pool, uses, names: [name(pool), name(uses)] })
        };
        let stays: Vec<Stay> = chosen.iter().enumerate().filter_map(stay).collect();
        let mut kept = self.lock();
        let owners = kept.zones.entry(zone.to_string()).or_default();
        let is_new = match owners.get(&owner.to_string()) {
            Some(before) => *before != stays,
            None => !stays.is_empty(),
        };
        if is_new {
            owners.insert(owner.to_string(), stays);
            kept.changed.get_or_insert_with(Instant::now);
        }
    }

    /// Writes what has changed some seconds ago, on a thread of its own: no verdict waits for a disk.
    pub fn save_now_and_then(self: &Arc<Self>) {
        let is_due = self.state.is_some() && self.lock().changed.is_some_and(|at| at.elapsed() >= SAVE_EVERY);
        if is_due {
            let choices = Arc::clone(self);
            let save = move || {
                if let Err(e) = choices.save(|_, _| true) {
                    error!(error = %e, "what pools with \"failback\": false use is not saved");
                }
            };
            if let Err(e) = std::thread::Builder::new().name("choices".into()).spawn(save) {
                error!(error = %e, "what pools with \"failback\": false use is saved at the stop only");
            }
        }
    }

    /// Writes what has changed, of the zones and owners that there still are.
    ///
    /// # Errors
    /// It could not be written, and is tried again with the next change.
    pub fn save(&self, is_there: impl Fn(&str, &str) -> bool) -> Result<(), StateError> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut zones = {
            let mut kept = self.lock();
            if kept.changed.take().is_none() {
                return Ok(());
            }
            kept.zones.clone()
        };
        for (zone, owners) in &mut zones {
            owners.retain(|owner, stays| !stays.is_empty() && is_there(zone, owner));
        }
        zones.retain(|_, owners| !owners.is_empty());
        super::save_json(state, FILE, VERSION, &zones)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stay {
    fn fits(&self, policy: &Policy) -> bool {
        let [pool, uses] = [self.pool, self.uses].map(|place| policy.pools.get(place as usize));
        let (Some(pool), Some(uses)) = (pool, uses) else { return false };
        let is_member = match &pool.members {
            Members::Pools(members) => members.iter().any(|member| member.pool == self.uses),
            Members::Endpoints(_) => false,
        };
        let names = [pool, uses].map(|pool| pool.name.as_deref().map(str::to_owned));
        is_member && matches!(pool.rule, Rule::Failover { failback: false }) && names == self.names
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;
    use crate::model::policy::{Member, Pool};

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    /// A failover over two pools of one address each.
    fn policy(names: [&str; 2], failback: bool) -> Policy {
        let leaf = |at: u32| Pool {
            name: Some(names[at as usize].into()),
            ..Pool::new(Rule::All, Members::Endpoints(at..at + 1))
        };
        let members = [0, 1].map(|pool| Member { pool, weight: 1 }).to_vec();
        let root = Pool::new(Rule::Failover { failback }, Members::Pools(members));
        Policy { pools: vec![leaf(0), leaf(1), root] }
    }

    #[test]
    fn choices_outlive_the_process_and_fit_their_policy_alone() {
        let folder = Folder::new();
        let (zone, www) = (name("example.test"), name("www.example.test"));
        let open = || Choices::load(Some(Arc::new(StateDir::open(folder.path()).unwrap()))).unwrap().0;
        let sites = policy(["fra", "ams"], false);
        let choices = open();
        assert_eq!(choices.of(&zone, &www, &sites), []);
        choices.note(&zone, &www, &sites, &[None, None, Some(1)]);
        choices.note(&zone, &name("gone.example.test"), &sites, &[None, None, Some(0)]);
        choices.save(|_, owner| owner != "gone.example.test.").unwrap();
        drop(choices);
        let choices = open();
        assert_eq!(choices.of(&zone, &www, &sites), [None, None, Some(1)]);
        assert_eq!(choices.of(&zone, &name("gone.example.test"), &sites), []);
        for other in [policy(["fra", "lon"], false), policy(["fra", "ams"], true), Policy::all(3)] {
            assert_eq!(choices.of(&zone, &www, &other), [], "{other:?}");
        }
        assert_eq!(choices.of(&name("other.test"), &www, &sites), []);
        choices.note(&zone, &www, &sites, &[]);
        assert_eq!(choices.of(&zone, &www, &sites), [], "it uses nothing any more");
    }
}
