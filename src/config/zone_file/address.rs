//! Addresses as they stand in `A`, `AAAA`, `ips`, `fallback` and plain lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value as Json, json};

use super::check::CheckRef;
use crate::config::json::{At, Int, Kind, List, OneOrMany, Read, Reader, Slot, Text, Ttl, Value};
use crate::config::schema::Definitions;
use crate::config::types::{RdataText, RrsetConfig};
use crate::model::diagnostic::Position;
use crate::model::rrtype::RrType;

/// Which addresses a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `A`
    V4,
    /// `AAAA`
    V6,
    /// `ips` and plain lists
    Any,
}

/// One address with what decides about it. The family is not judged yet, since the key above it says what it must be.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where the entry stands.
    pub(crate) position: Position,
    /// Its JSON path.
    pub(crate) path: String,
    /// The address, or what stands in its place.
    pub(crate) address: Result<IpAddr, String>,
    /// Relative weight.
    pub(crate) weight: u16,
    /// Overrides the owner's check.
    pub(crate) check: Option<At<CheckRef>>,
    /// Overrides what is probed.
    pub(crate) probe: Option<At<Probe>>,
}

object! {
    /// An address with what decides about it.
    pub(crate) struct EntryKeys {
        /// The address that is published.
        "address" (required) address: Text,
        /// Relative weight, 1 unless given.
        "weight" weight: Int<1, 65_535>,
        /// A check for this address alone, or "none".
        "check" check: CheckRef,
        /// What is probed instead: "addr", "addr:port", ":port" or `[v6]:port`.
        "probe" probe: Probe,
    }
    later: ["pool"]
}

impl Value for Entry {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let position = reader.position();
        match reader.peek()? {
            Kind::String => {
                let address = parse_address(&reader.string()?);
                Ok(Some(Self { position, path: reader.path(), address, weight: 1, check: None, probe: None }))
            }
            Kind::Object => Ok(EntryKeys::read(reader)?.and_then(|mut keys| {
                Some(Self {
                    position,
                    path: reader.path(),
                    address: parse_address(&keys.address.take()?.value.0),
                    // The type's limits make this lossless.
                    weight: keys.weight.take().map_or(1, |weight| weight.value.0 as u16),
                    check: keys.check.take(),
                    probe: keys.probe.take(),
                })
            })),
            _ => reader.mismatch(
                "an address",
                "a string, or an object such as { \"address\": \"192.0.2.1\", \"weight\": 3 }",
            ),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, EntryKeys::schema(definitions)] })
    }
}

impl Entry {
    /// The address if it is one of `family`; reports it otherwise.
    pub(crate) fn address_of(&self, reader: &mut Reader<'_>, family: Family) -> Option<IpAddr> {
        let (message, hint) = match (&self.address, family) {
            (Ok(IpAddr::V6(address)), Family::V4) => (
                format!("\"{address}\" is an IPv6 address"),
                "it belongs under \"AAAA\", or \"ips\" for both",
            ),
            (Ok(IpAddr::V4(address)), Family::V6) => {
                (format!("\"{address}\" is an IPv4 address"), "it belongs under \"A\", or \"ips\" for both")
            }
            (Ok(address), _) => return Some(*address),
            (Err(text), family) => explain(text, family),
        };
        reader.error_at(self.path.clone(), self.position, message, hint);
        None
    }
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    // The families apart are twice as fast as `IpAddr`, and zones hold millions of them.
    if text.contains(':') {
        text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| text.to_owned())
    } else {
        text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| text.to_owned())
    }
}

fn explain(text: &str, family: Family) -> (String, &'static str) {
    let looks_like_v4 = text.contains('.') && !text.contains(':');
    let what = match family {
        Family::V4 => "an IPv4 address",
        Family::V6 => "an IPv6 address",
        Family::Any if looks_like_v4 => "an IPv4 address",
        Family::Any => "an IP address",
    };
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let hint = if text.contains('%') {
        "an address has no zone index in the DNS"
    } else if text.contains('/') {
        "write one address, not a network"
    } else if parts.len() == 4 && parts.iter().all(digits) {
        if parts.iter().any(|part| part.len() > 1 && part.starts_with('0')) {
            "leave out leading zeros: some programs read them as octal"
        } else {
            "each part of an IPv4 address is 0 to 255"
        }
    } else if parts.iter().all(digits) {
        "an IPv4 address has four parts"
    } else if family == Family::V6 || text.contains(':') {
        "groups of up to four hexadecimal digits between colons, one \"::\" at most"
    } else {
        "an address is wanted here, not a name: names go into a \"CNAME\""
    };
    (format!("{text:?} is not {what}"), hint)
}

object! {
    /// Data with a TTL of their own.
    pub(crate) struct AddressesWithTtl {
        /// TTL of the RRset.
        "ttl" ttl: Ttl,
        /// The addresses.
        "data" (required) data: OneOrMany<Entry>,
    }
    later: []
}

/// What `A`, `AAAA` and `ips` hold.
pub(crate) struct Addresses {
    /// TTL if given here.
    pub(crate) ttl: Option<At<Ttl>>,
    /// The good entries.
    pub(crate) entries: Vec<Entry>,
}

impl Value for Addresses {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let (ttl, data) = if reader.next_has_key("data")? {
            let Some(mut keys) = AddressesWithTtl::read(reader)? else { return Ok(None) };
            (keys.ttl.take(), keys.data.take().map(|data| data.value))
        } else {
            (None, OneOrMany::<Entry>::read(reader)?)
        };
        Ok(data.map(|data| Self { ttl, entries: data.0.into_iter().map(|entry| entry.value).collect() }))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [OneOrMany::<Entry>::schema(definitions), AddressesWithTtl::schema(definitions)] })
    }
}

/// What is probed instead of the published address: an address, a port, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Instead of the published address.
    pub(crate) address: Option<IpAddr>,
    /// Instead of the check's port.
    pub(crate) port: Option<u16>,
}

impl Value for Probe {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::String {
            let mark = reader.mark();
            if let Some(probe) = parse_probe(&reader.string()?) {
                return Ok(Some(probe));
            }
            reader.rewind(mark);
        }
        reader.mismatch(
            "a probe address",
            "\"addr\", \"addr:port\", \":port\" or \"[v6]:port\", such as \"10.0.0.26:25\"",
        )
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 2 })
    }
}

fn parse_probe(text: &str) -> Option<Probe> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Probe { address: Some(address), port: None });
    }
    let (address, port) = match text.strip_prefix(':') {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => (None, port.parse().ok()?),
        _ => {
            let both: SocketAddr = text.parse().ok()?;
            (Some(both.ip()), both.port())
        }
    };
    (port != 0).then_some(Probe { address, port: Some(port) })
}

object! {
    /// What is answered when every endpoint is down; it is never probed.
    pub(crate) struct FallbackKeys {
        /// IPv4 addresses.
        "A" a: OneOrMany<Text>,
        /// IPv6 addresses.
        "AAAA" aaaa: OneOrMany<Text>,
        /// Addresses of both families.
        "ips" ips: OneOrMany<Text>,
        /// For a CNAME that is checked, or pools of them.
        "CNAME" cname: OneOrMany<Text>,
        /// For checked MX records.
        "MX" mx: OneOrMany<Text>,
        /// For checked SRV records.
        "SRV" srv: OneOrMany<Text>,
    }
    later: []
}

/// The value of `fallback`.
pub(crate) struct Fallback {
    pub(crate) addresses: Vec<IpAddr>,
    /// Records of other types.
    pub(crate) records: Vec<RrsetConfig>,
}

impl Value for Fallback {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        let (mut addresses, mut records) = (Vec::new(), Vec::new());
        if reader.peek()? == Kind::Array {
            let Some(list) = List::<Text>::read(reader)? else { return Ok(None) };
            let mut slot = Slot::Given(at, At { value: OneOrMany(list.0), position: at });
            fallback_addresses(reader, "", &mut slot, Family::Any, &mut addresses);
            if addresses.is_empty() {
                reader.error(at, "the fallback holds no address", "give at least one address");
            }
            return Ok(Some(Self { addresses, records }));
        }
        let Some(mut keys) = FallbackKeys::read(reader)? else { return Ok(None) };
        let slots = [&keys.a, &keys.aaaa, &keys.ips, &keys.cname, &keys.mx, &keys.srv];
        if slots.iter().all(|slot| slot.is_absent()) {
            reader.error(
                at,
                "the fallback holds no record",
                "give at least one address under \"A\" or \"AAAA\"",
            );
        }
        fallback_addresses(reader, "A", &mut keys.a, Family::V4, &mut addresses);
        fallback_addresses(reader, "AAAA", &mut keys.aaaa, Family::V6, &mut addresses);
        fallback_addresses(reader, "ips", &mut keys.ips, Family::Any, &mut addresses);
        for (rtype, slot) in
            [(RrType::CNAME, &mut keys.cname), (RrType::MX, &mut keys.mx), (RrType::SRV, &mut keys.srv)]
        {
            let Some(list) = slot.take() else { continue };
            let path = reader.path_below(&[&rtype.to_string()]);
            let data = list.value.0.into_iter().map(|text| RdataText {
                text: text.value.0,
                position: text.position,
                path: format!("{path}[{}]", text.index),
                check: None,
            });
            records.push(RrsetConfig { rtype, ttl: None, data: data.collect() });
        }
        Ok(Some(Self { addresses, records }))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [List::<Text>::schema(definitions), FallbackKeys::schema(definitions)] })
    }
}

fn fallback_addresses(
    reader: &mut Reader<'_>,
    key: &str,
    given: &mut Slot<OneOrMany<Text>>,
    family: Family,
    out: &mut Vec<IpAddr>,
) {
    for text in given.take().into_iter().flat_map(|list| list.value.0) {
        let address = parse_address(&text.value.0);
        let list = if key.is_empty() { reader.path() } else { reader.path_below(&[key]) };
        let path = format!("{list}[{}]", text.index);
        let entry = Entry { position: text.position, path, address, weight: 1, check: None, probe: None };
        if let Some(address) = entry.address_of(reader, family).filter(|address| !out.contains(address)) {
            out.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_probe_addresses() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let v4: IpAddr = "10.0.0.26".parse().unwrap();
        for (text, want) in [
            ("10.0.0.26", Some((Some(v4), None))),
            ("10.0.0.26:25", Some((Some(v4), Some(25)))),
            (":25", Some((None, Some(25)))),
            ("2001:db8::1", Some((Some(v6), None))),
            ("[2001:db8::1]:443", Some((Some(v6), Some(443)))),
            ("::", Some((Some("::".parse().unwrap()), None))),
            ("10.0.0.26:0", None),
            (":0", None),
            (":", None),
            (":+1", None),
            (":70000", None),
            ("[2001:db8::1]", None),
            ("host:80", None),
            ("", None),
        ] {
            let found = parse_probe(text).map(|probe| (probe.address, probe.port));
            assert_eq!(found, want, "{text}");
        }
    }
}
