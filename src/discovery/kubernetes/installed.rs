//! Which resources a cluster has: its API says so, and says it again when a CRD comes or goes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::discovery::source::{Failure, FailureKind};

use super::api::{Api, unreadable};
use super::resource::Resource;

/// The version to read of each resource that is installed.
pub type Installed = BTreeMap<Resource, &'static str>;

/// What discovery calls are counted as.
const ENDPOINT: &str = "apis";

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: Box<str>,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: Box<str>,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: Box<str>,
    #[serde(default)]
    verbs: Vec<Box<str>>,
}

impl Named {
    /// Whether it is there to stay: a CRD that is being deleted takes no new objects, while its objects are deleted one by one.
    fn stays(&self) -> bool {
        self.verbs.is_empty() || self.verbs.iter().any(|verb| **verb == *"create")
    }
}

/// The version to read of each wanted resource that is installed.
///
/// # Errors
/// A call that failed: then nothing is known, least of all that something is not installed.
pub async fn installed(api: &Api, wanted: &[Resource]) -> Result<Installed, Failure> {
    let mut found = BTreeMap::new();
    let (built_in, added): (Vec<Resource>, Vec<Resource>) =
        wanted.iter().partition(|resource| resource.is_built_in());
    for resource in built_in {
        found.extend(resource.place().versions.first().map(|version| (resource, *version)));
    }
    // Also where nothing was added: the cluster has to be there.
    let groups: Groups = read(api, &api.get(ENDPOINT, "GET", "/apis").await?)?;
    let mut lists: BTreeMap<(&str, &str), Vec<Named>> = BTreeMap::new();
    for resource in added {
        let place = resource.place();
        let Some(group) = groups.groups.iter().find(|group| *group.name == *place.group) else {
            continue;
        };
        let served = |version: &&&str| group.versions.iter().any(|one| *one.version == ***version);
        for version in place.versions.iter().filter(served) {
            let list = match lists.entry((place.group, version)) {
                std::collections::btree_map::Entry::Occupied(list) => list.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    let path = format!("/apis/{}/{version}", place.group);
                    match api.get(ENDPOINT, "GET", &path).await {
                        Ok(body) => slot.insert(read::<Resources>(api, &body)?.resources),
                        // It went between the two calls.
                        Err(failure) if failure.kind == FailureKind::NotFound => slot.insert(Vec::new()),
                        Err(failure) => return Err(failure),
                    }
                }
            };
            if list.iter().any(|named| *named.name == *place.plural && named.stays()) {
                found.insert(resource, *version);
                break;
            }
        }
    }
    Ok(found)
}

fn read<'a, T: Deserialize<'a>>(api: &Api, body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| api.failure(FailureKind::Decode, ENDPOINT, &unreadable(&error)))
}
