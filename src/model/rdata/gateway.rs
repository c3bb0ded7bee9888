//! The gateway of IPSECKEY (RFC 4025 §2.5) and the relay of AMTRELAY (RFC 8777 §4.2.3): nothing, an address or a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::name::write_name;
use super::wire::Cursor;

/// Passes over a gateway of the given type.
pub(super) fn skip(kind: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    match kind {
        0 => {}
        1 => drop(cursor.take(4)?),
        2 => drop(cursor.take(16)?),
        3 => drop(cursor.name()?),
        _ => return None,
    }
    Some(())
}

/// The gateway as text; `.` for none.
pub(super) fn print(kind: u8, cursor: &mut Cursor<'_>, out: &mut String) -> Option<()> {
    match kind {
        0 => out.push('.'),
        1 => out.push_str(&IpAddr::from(cursor.array::<4>()?).to_string()),
        2 => out.push_str(&IpAddr::from(cursor.array::<16>()?).to_string()),
        _ => write_name(out, cursor.name()?).ok()?,
    }
    Some(())
}

/// An address or nothing in wire form; `None` for a name or for a text that does not fit the type.
pub(super) fn parse(kind: u8, text: &str) -> Option<Vec<u8>> {
    match kind {
        0 => (text == ".").then(Vec::new),
        1 => text.parse::<Ipv4Addr>().ok().map(|a| a.octets().to_vec()),
        2 => text.parse::<Ipv6Addr>().ok().map(|a| a.octets().to_vec()),
        _ => None,
    }
}
