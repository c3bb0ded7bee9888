//! Address prefix lists (RFC 3123).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RdataError;
use super::wire::Cursor;

/// Appends one item such as `!1:192.168.32.0/21`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(item: &str, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let bad = || {
        RdataError::new(format!("\"{item}\" is not an address prefix"))
            .hint("write family:address/length with family 1 (IPv4) or 2 (IPv6), such as 1:192.0.2.0/24 or !2:2001:db8::/32")
    };
    let (negated, plain) = item.strip_prefix('!').map_or((0, item), |rest| (0x80, rest));
    let (family, prefix) = plain.split_once(':').ok_or_else(bad)?;
    let (address, length) = prefix.split_once('/').ok_or_else(bad)?;
    let (address, limit) = match family {
        "1" => (address.parse::<Ipv4Addr>().map_err(|_| bad())?.octets().to_vec(), 32),
        "2" => (address.parse::<Ipv6Addr>().map_err(|_| bad())?.octets().to_vec(), 128),
        _ => return Err(bad()),
    };
    let digits_only = length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|&n| digits_only && n <= limit).ok_or_else(bad)?;
    // RFC 3123 §4: trailing zero octets are not sent.
    let significant = address.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    out.extend([0, if family == "1" { 1 } else { 2 }, length, negated | significant as u8]);
    out.extend_from_slice(&address[..significant]);
    Ok(())
}

/// Items as text, separated by blanks; `None` for a family other than IPv4 and IPv6.
pub(super) fn print(wire: &[u8]) -> Option<String> {
    let (mut cursor, mut items) = (Cursor::new(wire), Vec::new());
    while !cursor.is_at_end() {
        let (family, length, flags) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
        let significant = cursor.take(usize::from(flags & 0x7f))?;
        let mut octets = [0; 16];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        let address = match family {
            1 => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
            2 => IpAddr::from(octets),
            _ => return None,
        };
        items.push(format!("{}{family}:{address}/{length}", if flags & 0x80 != 0 { "!" } else { "" }));
    }
    Some(items.join(" "))
}

/// Whole items, lengths within their family, no trailing zero octet.
pub(super) fn check(cursor: &mut Cursor<'_>) -> Option<()> {
    while !cursor.is_at_end() {
        let (family, length, flags) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
        let significant = cursor.take(usize::from(flags & 0x7f))?;
        let (bits, octets) = match family {
            1 => (32, 4),
            2 => (128, 16),
            _ => (255, 127),
        };
        if length > bits || significant.len() > octets || significant.last() == Some(&0) {
            return None;
        }
    }
    Some(())
}
