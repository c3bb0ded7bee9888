//! Pools: what a policy chooses among, written in place or shared by name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::address::{Entry, Family, Probe};
use super::check::CheckRef;
use super::rrset::Rdata;
use crate::config::json::{
    At, Boolean, Int, Kind, Map, OneOrMany, Read, Reader, Text, Value, Word, key_path,
};
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;

object! {
    /// Addresses, or other pools, that stand for each other.
    pub(crate) struct PoolKeys {
        /// Its name, for references, overrides and explanations.
        "name" name: Text,
        /// A pool that is defined elsewhere; beside it only "weight" counts.
        "pool" pool: Text,
        /// Relative weight among the pools beside it, 1 unless given.
        "weight" weight: Int<1, 65_535>,
        /// How its addresses or pools are chosen: all that are up, one by weight, the same one for the same client, or the first healthy one.
        "policy" policy: PolicyWord,
        /// IPv4 addresses.
        "A" a: OneOrMany<Entry>,
        /// IPv6 addresses.
        "AAAA" aaaa: OneOrMany<Entry>,
        /// Addresses of both families.
        "ips" ips: OneOrMany<Entry>,
        /// The CNAME that is answered where the pool is chosen, instead of addresses: one name, or an object with "data", "check" and "probe".
        "CNAME" cname: OneOrMany<Rdata>,
        /// What is probed for the CNAME, instead of the addresses that the zone has of its target: "addr", "addr:port" or ":port".
        "probe" probe: Probe,
        /// The check of every address of this pool, or of its CNAME: a name, an object, or "none"; the owner's unless given.
        "check" check: CheckRef,
        /// Pools within it, instead of addresses: by name, or written in place.
        "pools" pools: OneOrMany<PoolValue>,
        /// How many addresses an answer holds at most; what the pools around it say unless given.
        "answers" answers: Int<1, 65_535>,
        /// It is healthy with at least so many of its addresses up; what the pools around it say unless given, else 1.
        "min_healthy" min_healthy: Int<1, 65_535>,
        /// With a smaller percentage of its addresses up it is not healthy, and serves all of them if it is chosen nevertheless.
        "up_threshold" up_threshold: Int<1, 100>,
        /// Which pool clients of a continent, country, network or autonomous system are given; "default" for all others.
        "map" map: Map<PoolValue>,
        /// Whether failover goes back to an earlier pool as soon as that is healthy; true unless given.
        "failback" failback: Boolean,
    }
    later: []
}

/// How endpoints become an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyWord {
    /// All that are up.
    All,
    /// The first healthy one.
    Failover,
    /// One by weight.
    Weighted,
    /// The same one for the same client.
    Hashed,
    /// By where the client is.
    Geo,
}

impl Word for PolicyWord {
    const WHAT: &'static str = "a policy";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("all", Self::All),
        ("failover", Self::Failover),
        ("weighted", Self::Weighted),
        ("hashed", Self::Hashed),
        ("geo", Self::Geo),
    ];
    const LATER: &'static [&'static str] = &[];
}

/// A pool in a list: the name of one, or one written in place.
pub(crate) enum PoolValue {
    /// The name of a pool that is defined elsewhere.
    Named(String),
    /// Written in place; its JSON path.
    Keys(Box<PoolKeys>, String),
}

impl Value for PoolValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::String => Ok(Some(Self::Named(reader.string()?.into_owned()))),
            Kind::Object => Ok(PoolKeys::read(reader)?.map(|keys| Self::Keys(Box::new(keys), reader.path()))),
            _ => reader
                .mismatch("a pool", "the name of a pool, or an object such as { \"A\": [\"192.0.2.1\"] }"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, PoolKeys::schema(definitions)] })
    }
}

/// Pools by name: a zone's, around which those of `hale.json` stand.
#[derive(Default)]
pub(crate) struct Pools {
    /// Nothing for one that was reported as wrong.
    own: HashMap<String, Option<SharedPool>>,
    outer: Option<Arc<Pools>>,
    /// The file they stand in.
    pub(super) file: PathBuf,
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

pub(super) struct SharedPool {
    pub(super) keys: PoolKeys,
    pub(super) position: Position,
}

impl Pools {
    /// What the key `pools` holds, within the pools of the file around it. Addresses are judged here, so that a pool which nobody
    /// uses yet is judged too.
    pub(crate) fn new(reader: &mut Reader<'_>, map: Map<PoolKeys>, outer: Option<Arc<Self>>) -> Self {
        let mut own = HashMap::with_capacity(map.0.len());
        for (name, At { value, position }) in map.0 {
            let before = reader.finding_count();
            if let Some(keys) = &value {
                keys.judge(reader, &name, position);
            }
            let is_good = reader.finding_count() == before;
            own.insert(name, value.filter(|_| is_good).map(|keys| SharedPool { keys, position }));
        }
        Self { own, outer, file: reader.source().file.to_owned() }
    }

    /// The pool of a name, and the file's that it stands in; nothing within if it was reported as wrong.
    pub(super) fn get(&self, name: &str) -> Option<(&Option<SharedPool>, &Self)> {
        match self.own.get(name) {
            Some(found) => Some((found, self)),
            None => self.outer.as_ref()?.get(name),
        }
    }

    /// Every name.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = self.outer.as_ref().map_or_else(Vec::new, |outer| outer.names());
        names.extend(self.own.keys().map(String::as_str));
        names
    }
}

impl PoolKeys {
    /// Whether it has no addresses of its own.
    pub(super) fn has_no_addresses(&self) -> bool {
        self.a.is_absent() && self.aaaa.is_absent() && self.ips.is_absent()
    }

    /// Whether it has no records of its own.
    pub(super) fn has_no_records(&self) -> bool {
        self.has_no_addresses() && self.cname.is_absent()
    }

    /// Its entries, with the families that their keys take.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&Entry, Family)> {
        let lists = [(&self.a, Family::V4), (&self.aaaa, Family::V6), (&self.ips, Family::Any)];
        lists.into_iter().flat_map(|(slot, family)| {
            let entries = slot.get().map_or(&[][..], |list| &list.value.0[..]);
            entries.iter().map(move |entry| (&entry.value, family))
        })
    }

    /// What can be said of a pool under `pools` before anybody refers to it.
    fn judge(&self, reader: &mut Reader<'_>, name: &str, position: Position) {
        for (entry, family) in self.addresses() {
            entry.address_of(reader, family);
        }
        let path = key_path("pools", name);
        for (key, at) in [("name", self.name.key_position()), ("weight", self.weight.key_position())] {
            let Some(at) = at else { continue };
            let message = format!("\"{key}\" has no place in a pool that is defined by name");
            let hint = if key == "name" {
                format!("its name is \"{name}\"")
            } else {
                format!("give it where the pool is used: {{ \"pool\": \"{name}\", \"weight\": 3 }}")
            };
            reader.error_at(format!("{path}.{key}"), at, message, hint);
        }
        if let Some(at) = self.pool.key_position() {
            let message = "\"pool\" has no place in a pool that is defined by name";
            reader.error_at(
                format!("{path}.pool"),
                at,
                message,
                "write \"pools\": […] to build it from others",
            );
        } else if self.has_no_records() && self.pools.is_absent() && self.map.is_absent() {
            let hint =
                "give it addresses under \"A\" or \"AAAA\", a \"CNAME\", or other pools under \"pools\"";
            reader.error_at(path, position, "the pool is empty", hint);
        }
    }
}

impl PoolKeys {
    /// A key that has no effect beside a reference to a pool.
    pub(super) fn beside_pool(&self) -> Option<&'static str> {
        let keys = [
            ("name", self.name.is_absent()),
            ("policy", self.policy.is_absent()),
            ("A", self.a.is_absent()),
            ("AAAA", self.aaaa.is_absent()),
            ("ips", self.ips.is_absent()),
            ("CNAME", self.cname.is_absent()),
            ("probe", self.probe.is_absent()),
            ("check", self.check.is_absent()),
            ("pools", self.pools.is_absent()),
            ("answers", self.answers.is_absent()),
            ("min_healthy", self.min_healthy.is_absent()),
            ("up_threshold", self.up_threshold.is_absent()),
            ("failback", self.failback.is_absent()),
            ("map", self.map.is_absent()),
        ];
        keys.into_iter().find(|(_, absent)| !absent).map(|(key, _)| key)
    }
}
