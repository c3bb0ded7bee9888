//! What was discovered, as it is kept under `--state`: a restart with every source down serves what was served before.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::claim::{Claim, ObjectKey, Route, Targets, Wishes};
use super::guard::Guard;
use crate::model::discovered::DiscoveredRrset;
use crate::model::name::Name;
use crate::model::rrset::RdataSet;
use crate::state::{SetAside, StateDir, StateError, Stored};

/// Its name under `--state`.
const FILE: &str = "discovered.json";
const VERSION: u32 = 1;

/// What is kept of each source, by its name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    sources: BTreeMap<String, KeptSource>,
}

/// What is kept of one source.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct KeptSource {
    /// When it was last known to be complete, in milliseconds since 1970.
    #[serde(default)]
    pub last_ok_ms: Option<u64>,
    claims: Vec<KeptClaim>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptClaim {
    object: ObjectKey,
    name: String,
    first_seen_ms: u64,
    targets: Targets,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rrsets: Vec<KeptRrset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    route: Route,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entry_points: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    middlewares: Vec<Box<str>>,
    #[serde(default)]
    wishes: Wishes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptRrset {
    rtype: String,
    /// Each in wire form, as hexadecimal digits.
    rdata: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
}

impl Kept {
    /// Adds a source.
    pub fn insert(&mut self, source: &str, last_ok_ms: Option<u64>, guard: &Guard) {
        let claims = guard.standing().map(|(key, standing)| {
            let claim = &standing.claim;
            KeptClaim {
                object: key.clone(),
                name: claim.name.to_string(),
                first_seen_ms: standing.first_seen_ms,
                targets: claim.targets.clone(),
                rrsets: claim.rrsets.iter().map(KeptRrset::from).collect(),
                ttl: claim.ttl,
                route: claim.route,
                entry_points: claim.entry_points.clone(),
                middlewares: claim.middlewares.clone(),
                wishes: claim.wishes.clone(),
                created: claim.created,
            }
        });
        self.sources.insert(source.to_owned(), KeptSource { last_ok_ms, claims: claims.collect() });
    }

    /// Takes out what was kept of a source.
    pub fn take(&mut self, source: &str) -> Option<KeptSource> {
        self.sources.remove(source)
    }

    /// The names of the sources that are kept.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// The disk's; then what stood there before still does.
    pub fn save(&self, state: &StateDir) -> Result<(), StateError> {
        state.write_blob_with(FILE, VERSION, |writer| Ok(serde_json::to_writer(writer, self)?))
    }

    /// Reads what was kept; nothing where there is no file. A file that was set aside is to be reported loudly: the names in it are gone until
    /// their sources answer.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub fn load(state: &Arc<StateDir>) -> Result<(Self, Option<SetAside>), StateError> {
        let content = match state.read_blob(FILE, VERSION)? {
            Stored::Absent => return Ok(Default::default()),
            Stored::SetAside(problem) => return Ok((Self::default(), Some(problem))),
            Stored::Good(content) => content,
        };
        let parsed = serde_json::from_slice::<Self>(&content).map_err(|e| e.to_string());
        match parsed.and_then(|kept| kept.check().map(|()| kept)) {
            Ok(kept) => Ok((kept, None)),
            Err(why) => {
                let problem = state.set_aside(FILE, format!("cannot be understood: {why}"))?;
                Ok((Self::default(), Some(problem)))
            }
        }
    }

    /// Whether every claim can be read: a file is used as a whole, or not at all.
    fn check(&self) -> Result<(), String> {
        let claims = self.sources.values().flat_map(|source| &source.claims);
        claims.map(KeptClaim::read).collect::<Result<Vec<_>, _>>().map(drop)
    }
}

impl KeptSource {
    /// The claims, for [`Guard::restore`].
    pub fn claims(&self) -> impl Iterator<Item = (ObjectKey, Claim, u64)> {
        self.claims.iter().filter_map(|claim| claim.read().ok())
    }
}

impl KeptClaim {
    fn read(&self) -> Result<(ObjectKey, Claim, u64), String> {
        let name = Name::parse_absolute(&self.name).map_err(|e| format!("{:?}: {e}", self.name))?;
        let claim = Claim {
            name,
            targets: self.targets.clone(),
            rrsets: self.rrsets.iter().map(KeptRrset::read).collect::<Result<_, _>>()?,
            ttl: self.ttl,
            route: self.route,
            entry_points: self.entry_points.clone(),
            middlewares: self.middlewares.clone(),
            wishes: self.wishes.clone(),
            created: self.created,
        };
        Ok((self.object.clone(), claim, self.first_seen_ms))
    }
}

impl From<&DiscoveredRrset> for KeptRrset {
    fn from(rrset: &DiscoveredRrset) -> Self {
        let rdata = rrset.rdata.iter().map(|rdata| data_encoding::HEXLOWER.encode(rdata)).collect();
        Self { rtype: rrset.rtype.to_string(), rdata, ttl: rrset.ttl }
    }
}

impl KeptRrset {
    fn read(&self) -> Result<DiscoveredRrset, String> {
        let rtype = self.rtype.parse().map_err(|_| format!("{:?} is not an RR type", self.rtype))?;
        let decode = |text: &String| data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        let rdata = self.rdata.iter().map(decode).collect::<Option<Vec<_>>>();
        let rdata = rdata.filter(|all| all.iter().all(|rdata| rdata.len() <= usize::from(u16::MAX)));
        let rdata = rdata.ok_or_else(|| format!("the records of type {rtype} cannot be read"))?;
        Ok(DiscoveredRrset { rtype, rdata: RdataSet::new(rdata), ttl: self.ttl })
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
