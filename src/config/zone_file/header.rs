//! Everything of a zone file but its records.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::check::Written;
use super::dnssec::DnssecValue;
use super::owner::OwnerValue;
use super::pool::{PoolKeys, Pools};
use super::template::Checks;
use crate::config::json::{
    AbsoluteName, At, Element, Kind, List, Map, Mark, OneOrMany, Read, Reader, Slot, Ttl, Value,
};
use crate::config::schema::Definitions;
use crate::config::types::{Dnssec, Shared, SoaConfig, Startup, ZoneHeader};
use crate::model::diagnostic::Position;
use crate::model::name::Name;

/// TTL of what has none of its own.
const DEFAULT_TTL_S: u32 = 300;

object! {
    /// A zone.
    pub(crate) struct ZoneKeys {
        /// The zone's apex, such as "example.test".
        "zone" (required) zone: AbsoluteName,
        /// Further apexes that serve the same records as zones of their own.
        "alias_zones" alias_zones: List<AbsoluteName>,
        /// The zone's name servers: its NS records, the first one in its SOA.
        "nameservers" (required) nameservers: OneOrMany<AbsoluteName>,
        /// Figures of the SOA record.
        "soa" soa: SoaKeys,
        /// TTL of records that have none of their own and are not checked; 5m unless given.
        "default_ttl" default_ttl: Ttl,
        /// What a checked name answers before its first verdict: wait (SERVFAIL), or optimistic; wait unless given.
        "startup" startup: Startup,
        /// Checks by name, for "check" keys to refer to.
        "checks" checks: Map<Written>,
        /// Pools by name, for "pools" keys to refer to.
        "pools" pools: Map<PoolKeys>,
        /// Records by owner name, relative to the zone; "@" is the apex.
        "records" records: Records,
        /// Signing; "off" for a zone that was signed before and shall not be.
        "dnssec" dnssec: DnssecValue,
    }
    later: ["policy", "sources", "transfer", "update", "tsig", "mirror", "conflict"]
}

object! {
    /// Figures of the SOA record.
    pub(crate) struct SoaKeys {
        /// Primary name server; the first of "nameservers" unless given.
        "mname" mname: AbsoluteName,
        /// Mailbox of the person responsible, with a dot for the @; `hostmaster.<zone>` unless given.
        "rname" rname: AbsoluteName,
        /// How often a secondary asks for changes.
        "refresh" refresh: Ttl,
        /// How soon it asks again after a failure.
        "retry" retry: Ttl,
        /// When it stops answering without news; longer than refresh.
        "expire" expire: Ttl,
        /// TTL of negative answers.
        "minimum" minimum: Ttl,
        /// TTL of the SOA record.
        "ttl" ttl: Ttl,
    }
    later: []
}

/// Owners in a part: enough to be worth a thread's while, and so few that threads end at about the same time.
const PART_OWNERS: usize = 4096;

/// `records`, whose syntax has been checked.
pub(crate) struct Records {
    /// The first key of each part; none for records without keys. A part ends where the next one begins, and has
    /// [`PART_OWNERS`] keys but for the last one.
    pub(crate) parts: Vec<Mark>,
}

impl Value for Records {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::Object {
            return reader
                .mismatch("an object", "its keys are owner names, such as \"www\": [\"192.0.2.1\"]");
        }
        let (at, mut parts, mut count) = (reader.position(), Vec::new(), 0);
        reader.object(|reader, key| {
            if count % PART_OWNERS == 0 {
                parts.push(key.mark);
            }
            count += 1;
            reader.skip()
        })?;
        if count == 0 {
            reader.error(
                at,
                "\"records\" is empty",
                "add an owner, or leave \"records\" out to serve the apex alone",
            );
        }
        Ok(Some(Self { parts }))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        // A note is a string; what any other key holds is an owner.
        let note = json!({ "anyOf": [{ "type": "string" }, OwnerValue::schema(definitions)] });
        json!({
            "type": "object",
            "properties": { "note": note },
            "additionalProperties": OwnerValue::schema(definitions),
            "minProperties": 1,
        })
    }
}

/// What the first walk over a zone file gives; where errors were reported, defaults stand in.
pub(super) struct Found {
    pub(super) header: ZoneHeader,
    pub(super) checks: Checks,
    pub(super) pools: Pools,
    pub(super) records: Option<Records>,
}

/// Reads a whole zone file but for its records; `shared` is what `hale.json` gives to all zones.
pub(super) fn read(reader: &mut Reader<'_>, shared: &Shared) -> Found {
    let mut keys = ZoneKeys::default();
    // A syntax error loses the keys that were read before it; it has been reported.
    if let Ok(Some(found)) = ZoneKeys::read(reader) {
        keys = found;
        let _ = reader.end();
    }
    let (apex, position) = match keys.zone.take() {
        Some(At { value, position }) => (value.0, position),
        None => (Name::root(), Position::default()),
    };
    let nameservers = keys.nameservers.take().map_or_else(Vec::new, |list| list.value.0);
    let alias_zones = keys.alias_zones.take().map_or_else(Vec::new, |list| list.value.0);
    let alias_zones = distinct(reader, "alias_zones", alias_zones, Some(&apex));
    let nameservers = distinct(reader, "nameservers", nameservers, None);
    let header = ZoneHeader {
        file: reader.source().file.to_owned(),
        alias_zones,
        nameservers,
        soa: keys.soa.take().map_or_else(SoaConfig::default, |soa| resolve_soa(reader, soa.value)),
        default_ttl: keys.default_ttl.take().map_or(DEFAULT_TTL_S, |ttl| ttl.value.0),
        startup: keys.startup.take().map_or(Startup::default(), |startup| startup.value),
        policy_limits: shared.policy_limits,
        dnssec: keys.dnssec.take().map_or(Dnssec::Absent, |dnssec| dnssec.value.0),
        apex,
        position,
    };
    let checks = match keys.checks.take() {
        Some(checks) => Checks::resolve(reader, &checks.value, Some(Arc::clone(&shared.checks))),
        None => Checks::within(Arc::clone(&shared.checks)),
    };
    let pools = keys.pools.take().map_or_else(|| Map(Vec::new()), |pools| pools.value);
    let pools = Pools::new(reader, pools, Some(Arc::clone(&shared.pools)));
    Found { header, checks, pools, records: keys.records.take().map(|records| records.value) }
}

/// Names of the list at `key`; reports those that stand twice, or that equal `zone`.
pub(crate) fn distinct(
    reader: &mut Reader<'_>,
    key: &str,
    list: Vec<Element<AbsoluteName>>,
    zone: Option<&Name>,
) -> Vec<Name> {
    let mut names: Vec<(Name, Position)> = Vec::with_capacity(list.len());
    for Element { value: AbsoluteName(name), position, index } in list {
        let (message, hint) = if zone == Some(&name) {
            (format!("{name} is the zone itself"), "an alias zone has a name of its own".to_owned())
        } else if let Some((_, Position { line, column })) = names.iter().find(|(seen, _)| *seen == name) {
            let hint = format!(
                "it is first given at {line}:{column}; names that differ only in case are equal (RFC 4343)"
            );
            (format!("{name} stands twice"), hint)
        } else {
            names.push((name, position));
            continue;
        };
        reader.error_at(format!("{key}[{index}]"), position, message, hint);
    }
    names.into_iter().map(|(name, _)| name).collect()
}

fn resolve_soa(reader: &mut Reader<'_>, mut keys: SoaKeys) -> SoaConfig {
    if let (Some(refresh), Some(expire)) = (keys.refresh.get(), keys.expire.get())
        && expire.value.0 <= refresh.value.0
    {
        let (at, path) = (expire.position, "soa.expire".to_owned());
        reader.error_at(
            path,
            at,
            "\"expire\" is not longer than \"refresh\"",
            "a secondary would drop the zone before it asks for news (RFC 1912 §2.2)",
        );
    }
    let seconds = |slot: &mut Slot<Ttl>| slot.take().map(|ttl| ttl.value.0);
    SoaConfig {
        mname: keys.mname.take().map(|name| name.value.0),
        rname: keys.rname.take().map(|name| name.value.0),
        refresh: seconds(&mut keys.refresh),
        retry: seconds(&mut keys.retry),
        expire: seconds(&mut keys.expire),
        minimum: seconds(&mut keys.minimum),
        ttl: seconds(&mut keys.ttl),
    }
}
