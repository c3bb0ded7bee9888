//! RRsets in presentation format: every type but the addresses.

use serde_json::{Value as Json, json};

use super::address::Probe;
use super::check::CheckRef;
use super::owner::OwnerKeys;
use crate::config::json::{
    Abort, At, Element, Key, Kind, Object, OneOrMany, Read, Reader, Text, Ttl, Value, duplicate, nearest,
};
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;
use crate::model::rrtype::RrType;

object! {
    /// Data with a TTL of their own.
    pub(crate) struct DataWithTtl {
        /// TTL of the RRset.
        "ttl" ttl: Ttl,
        /// RDATA in presentation format.
        "data" (required) data: OneOrMany<Rdata>,
        /// The check of each CNAME, MX or SRV record that has none of its own: a name, an object, or "none".
        "check" check: CheckRef,
        /// What is probed for the one record, instead of the addresses that the zone has of its host.
        "probe" probe: Probe,
    }
    later: []
}

object! {
    /// One record's data.
    pub(crate) struct RdataKeys {
        /// RDATA in presentation format.
        "data" (required) data: Text,
        /// A check for this CNAME, MX or SRV record alone, or "none".
        "check" check: CheckRef,
        /// What is probed instead of the addresses that the zone has of the record's host: "addr", "addr:port", ":port" or `[v6]:port`.
        "probe" probe: Probe,
    }
    later: []
}

/// One record's RDATA in presentation format, with what decides about it.
pub(crate) struct Rdata {
    pub(super) text: String,
    pub(super) path: String,
    pub(super) check: Option<At<CheckRef>>,
    pub(super) probe: Option<At<Probe>>,
}

impl Value for Rdata {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::String => {
                let text = reader.string()?.into_owned();
                Ok(Some(Self { text, path: reader.path(), check: None, probe: None }))
            }
            Kind::Object => Ok(RdataKeys::read(reader)?.and_then(|mut keys| {
                let text = keys.data.take()?.value.0;
                Some(Self { text, path: reader.path(), check: keys.check.take(), probe: keys.probe.take() })
            })),
            _ => reader.mismatch("record data", "the presentation format of the RR type, in double quotes"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, RdataKeys::schema(definitions)] })
    }
}

/// What the key of an RR type holds.
#[derive(Default)]
struct RrsetValue {
    ttl: Option<At<Ttl>>,
    data: Vec<Element<Rdata>>,
    check: Option<At<CheckRef>>,
    probe: Option<At<Probe>>,
}

/// An RRset of an owner, before its checks are resolved.
pub(crate) struct RrsetKeys {
    /// Where its key stands.
    pub(super) position: Position,
    pub(super) rtype: RrType,
    pub(super) ttl: Option<u32>,
    pub(super) data: Vec<Element<Rdata>>,
    /// The check of each record that has none of its own.
    pub(super) check: Option<At<CheckRef>>,
    pub(super) probe: Option<At<Probe>>,
    /// Its JSON path.
    pub(super) path: String,
}

impl Value for RrsetValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::Object {
            let Some(mut keys) = DataWithTtl::read(reader)? else { return Ok(None) };
            let (ttl, check, probe) = (keys.ttl.take(), keys.check.take(), keys.probe.take());
            return Ok(keys.data.take().map(|data| Self { ttl, data: data.value.0, check, probe }));
        }
        Ok(OneOrMany::<Rdata>::read(reader)?.map(|data| Self { data: data.0, ..Self::default() }))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [OneOrMany::<Rdata>::schema(definitions), DataWithTtl::schema(definitions)] })
    }
}

/// Types that have a key or a maker of their own, with the hint that says so.
fn made_elsewhere(rtype: RrType) -> Option<&'static str> {
    match rtype {
        RrType::SOA => Some("the zone's \"soa\" key holds its figures"),
        RrType::A => Some("write \"A\""),
        RrType::AAAA => Some("write \"AAAA\""),
        RrType::RRSIG | RrType::NSEC | RrType::NSEC3 | RrType::NSEC3PARAM => {
            Some("signing makes these records; the zone's \"dnssec\" key turns it on")
        }
        _ if rtype.is_meta() => {
            Some("this is a type of questions or of messages; no zone holds it (RFC 6895 §3.1)")
        }
        _ => None,
    }
}

/// Reads the value of a key of an owner that is no fixed key: an RR type by mnemonic or `TYPEnnn`.
pub(crate) fn read_rrset(
    owner: &mut OwnerKeys,
    reader: &mut Reader<'_>,
    key: &Key<'_>,
) -> Result<bool, Abort> {
    let name = &*key.name;
    if name == "note" {
        return Ok(false);
    }
    // Even if it is refused: that the owner has no records would be an error that follows from another.
    owner.has_other_key = true;
    if OwnerKeys::LATER.contains(&name) {
        return Ok(false);
    }
    let Ok(rtype) = name.parse::<RrType>() else {
        return unknown_key(reader, key);
    };
    if name.bytes().any(|b| b.is_ascii_lowercase()) {
        let hint =
            format!("did you mean \"{}\"? RR types are written in upper case", name.to_ascii_uppercase());
        reader.error(key.position, format!("\"{name}\" is not a known key"), hint);
        return reader.skip().map(|()| true);
    }
    if let Some(hint) = made_elsewhere(rtype) {
        reader.error(key.position, format!("\"{name}\" cannot be given as records"), hint);
        return reader.skip().map(|()| true);
    }
    if let Some(first) = owner.rrsets.iter().find(|rrset| rrset.rtype == rtype) {
        let first = first.position;
        duplicate(reader, key, first);
        return reader.skip().map(|()| true);
    }
    let RrsetValue { ttl, data, check, probe } = RrsetValue::read(reader)?.unwrap_or_default();
    let ttl = ttl.map(|ttl| ttl.value.0);
    let path = if check.is_some() || probe.is_some() { reader.path() } else { String::new() };
    owner.rrsets.push(RrsetKeys { position: key.position, rtype, ttl, data, check, probe, path });
    Ok(true)
}

fn unknown_key(reader: &mut Reader<'_>, key: &Key<'_>) -> Result<bool, Abort> {
    let name = &*key.name;
    let types = RrType::known().filter(|rtype| made_elsewhere(*rtype).is_none()).filter_map(RrType::mnemonic);
    let hint = match nearest(name, OwnerKeys::KEYS.iter().map(|info| info.name).chain(types)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            "an owner has an RR type (by mnemonic, or TYPEnnn) or one of the keys ".to_owned()
                + &OwnerKeys::KEYS.iter().map(|info| info.name).collect::<Vec<_>>().join(", ")
        }
    };
    reader.error(key.position, format!("\"{name}\" is not a known key"), hint);
    reader.skip().map(|()| true)
}

/// Adds a property for each RR type, so that editors complete it.
pub(crate) fn rrset_schema(schema: &mut Json, definitions: &mut Definitions) {
    let value = RrsetValue::schema(definitions);
    for rtype in RrType::known().filter(|rtype| made_elsewhere(*rtype).is_none()) {
        let text = rtype.to_string();
        let mut property = value.clone();
        property["description"] = json!(format!("{text} records."));
        schema["properties"][text] = property;
    }
    schema["patternProperties"] = json!({ "^TYPE[0-9]{1,5}$": value });
}
