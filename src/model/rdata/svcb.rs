//! Service parameters of SVCB and HTTPS (RFC 9460 §2.1, §2.2, §7, appendix A).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::RdataError;
use super::print::escape_into;
use super::token::{Tokens, unescape};
use super::wire::Cursor;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
/// Key of `ipv4hint`.
pub(super) const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
/// Key of `ipv6hint`.
pub(super) const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;

const KEYS: &[(&str, u16)] = &[
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
];

/// Reads `key=value` words up to the end and appends them in ascending order of keys.
///
/// # Errors
/// Unknown keys, malformed values, a key given twice.
pub(super) fn parse(tokens: &mut Tokens<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    while let Some(token) = tokens.next() {
        let word = token.word("service parameter")?;
        let (key_text, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        let (key, opaque) = parse_key(key_text)?;
        let value = value.map(unquote).transpose()?;
        let wire = if opaque { value.unwrap_or_default() } else { parse_value(key, key_text, value)? };
        if params.iter().any(|&(known, _)| known == key) {
            return Err(RdataError::new(format!("the service parameter {key_text} is given twice")));
        }
        params.push((key, wire));
    }
    params.sort_unstable_by_key(|&(key, _)| key);
    for (key, value) in params {
        let length =
            u16::try_from(value.len()).map_err(|_| RdataError::new("a service parameter is too long"))?;
        out.extend(key.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(value);
    }
    Ok(())
}

/// The key's number, and whether it was written as `keyNNN`, which makes its value opaque.
fn parse_key(text: &str) -> Result<(u16, bool), RdataError> {
    if let Some(&(_, key)) = KEYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok((key, false));
    }
    text.strip_prefix("key")
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && (*digits == "0" || !digits.starts_with('0')))
        .and_then(|digits| digits.parse().ok())
        .map(|key| (key, true))
        .ok_or_else(|| {
            RdataError::new(format!("\"{text}\" is not a service parameter"))
                .hint("known are mandatory, alpn, no-default-alpn, port, ipv4hint, ech, ipv6hint, dohpath and ohttp; others are written keyNNN")
        })
}

fn key_name(key: u16) -> String {
    KEYS.iter()
        .find(|&&(_, known)| known == key)
        .map_or_else(|| format!("key{key}"), |&(name, _)| name.to_owned())
}

fn unquote(value: &str) -> Result<Vec<u8>, RdataError> {
    match value.strip_prefix('"') {
        Some(rest) => match rest.strip_suffix('"') {
            Some(inner) => unescape(inner),
            None => Err(RdataError::new(format!("{value} goes on behind its closing quote"))),
        },
        None => unescape(value),
    }
}

fn parse_value(key: u16, name: &str, value: Option<Vec<u8>>) -> Result<Vec<u8>, RdataError> {
    if matches!(key, NO_DEFAULT_ALPN | OHTTP) {
        return match value {
            None => Ok(Vec::new()),
            Some(_) => Err(RdataError::new(format!("the service parameter {name} takes no value"))),
        };
    }
    let value = value
        .filter(|v| !v.is_empty())
        .ok_or_else(|| RdataError::new(format!("the service parameter {name} lacks its value")))?;
    let shown = String::from_utf8_lossy(&value).into_owned();
    let bad = |wanted: &str| RdataError::new(format!("{name}={shown}: {wanted}"));
    match key {
        MANDATORY => {
            let mut keys = Vec::new();
            for item in shown.split(',') {
                keys.push(parse_key(item)?.0);
            }
            keys.sort_unstable();
            Ok(keys.iter().flat_map(|key| key.to_be_bytes()).collect())
        }
        ALPN => parse_alpn(&value).ok_or_else(|| bad("not a list of protocol names such as h2,h3")),
        PORT => {
            let digits_only = value.iter().all(u8::is_ascii_digit);
            let port = shown.parse::<u16>().ok().filter(|_| digits_only);
            port.map(|p| p.to_be_bytes().to_vec()).ok_or_else(|| bad("not a port from 0 to 65535"))
        }
        IPV4HINT => addresses(&shown, |a| a.parse().ok().map(|a: Ipv4Addr| a.octets()))
            .ok_or_else(|| bad("not a list of IPv4 addresses")),
        IPV6HINT => addresses(&shown, |a| a.parse().ok().map(|a: Ipv6Addr| a.octets()))
            .ok_or_else(|| bad("not a list of IPv6 addresses")),
        ECH => BASE64.decode(&value).map_err(|_| bad("not base64")),
        // DOHPATH is a text in itself.
        _ => Ok(value),
    }
}

fn addresses<const N: usize>(list: &str, parse: impl Fn(&str) -> Option<[u8; N]>) -> Option<Vec<u8>> {
    let parsed: Option<Vec<[u8; N]>> = list.split(',').map(parse).collect();
    Some(parsed?.concat())
}

/// The comma-separated list of RFC 9460 appendix A.1: `\,` is a comma within a value, `\\` a backslash.
fn parse_alpn(value: &[u8]) -> Option<Vec<u8>> {
    let (mut ids, mut octets) = (vec![Vec::new()], value.iter());
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => ids.push(Vec::new()),
            b'\\' => ids.last_mut()?.push(octets.next().copied().filter(|o| matches!(o, b',' | b'\\'))?),
            _ => ids.last_mut()?.push(octet),
        }
    }
    let mut wire = Vec::new();
    for id in ids {
        wire.push(u8::try_from(id.len()).ok().filter(|&length| length > 0)?);
        wire.extend(id);
    }
    Some(wire)
}

/// Whole parameters in ascending order of their keys (RFC 9460 §2.2); key 65535 is reserved as invalid (§14.3.2).
pub(super) fn check_shape(cursor: &mut Cursor<'_>) -> Option<()> {
    let mut last = None;
    while !cursor.is_at_end() {
        let key = cursor.u16()?;
        let length = cursor.u16()?;
        cursor.take(usize::from(length))?;
        if key == u16::MAX || last.is_some_and(|last| last >= key) {
            return None;
        }
        last = Some(key);
    }
    Some(())
}

/// The parameters of well-formed SVCB or HTTPS RDATA from behind the TargetName on.
pub(super) fn params(wire: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut cursor = Cursor::new(wire);
    std::iter::from_fn(move || {
        let key = cursor.u16()?;
        let length = cursor.u16()?;
        Some((key, cursor.take(usize::from(length))?))
    })
}

/// Checks the values of known keys.
///
/// # Errors
/// What RFC 9460 §7 and §8 forbid.
pub(super) fn check_values(wire: &[u8]) -> Result<(), RdataError> {
    let has = |wanted: u16| params(wire).any(|(key, _)| key == wanted);
    for (key, value) in params(wire) {
        let well_formed = match key {
            MANDATORY => check_mandatory(value, has)?,
            ALPN => check_alpn(value),
            NO_DEFAULT_ALPN if !has(ALPN) => {
                return Err(RdataError::new("no-default-alpn needs alpn beside it").hint("RFC 9460 §7.1.1"));
            }
            NO_DEFAULT_ALPN | OHTTP => value.is_empty(),
            PORT => value.len() == 2,
            IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
            IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
            ECH | DOHPATH => !value.is_empty(),
            _ => true,
        };
        if !well_formed {
            return Err(RdataError::new(format!(
                "the value of the service parameter {} is malformed",
                key_name(key)
            )));
        }
    }
    Ok(())
}

fn check_mandatory(value: &[u8], has: impl Fn(u16) -> bool) -> Result<bool, RdataError> {
    let keys: Vec<u16> = value.chunks_exact(2).map(|k| u16::from_be_bytes([k[0], k[1]])).collect();
    if value.is_empty()
        || !value.len().is_multiple_of(2)
        || keys.contains(&MANDATORY)
        || !keys.is_sorted_by(|a, b| a < b)
    {
        return Ok(false);
    }
    match keys.into_iter().find(|&key| !has(key)) {
        Some(missing) => {
            let name = key_name(missing);
            Err(RdataError::new(format!("mandatory names {name}, which is not there"))
                .hint(format!("add {name} or take it out of mandatory (RFC 9460 §8)")))
        }
        None => Ok(true),
    }
}

fn check_alpn(value: &[u8]) -> bool {
    let mut cursor = Cursor::new(value);
    while !cursor.is_at_end() {
        if cursor.counted().is_none_or(<[u8]>::is_empty) {
            return false;
        }
    }
    !value.is_empty()
}

/// Appends ` key=value` for each parameter.
pub(super) fn print(wire: &[u8], out: &mut String) -> Option<()> {
    for (key, value) in params(wire) {
        let _ = write!(out, " {}", key_name(key));
        match key {
            NO_DEFAULT_ALPN | OHTTP => continue,
            MANDATORY => {
                let keys: Vec<String> =
                    value.chunks_exact(2).map(|k| key_name(u16::from_be_bytes([k[0], k[1]]))).collect();
                let _ = write!(out, "={}", keys.join(","));
            }
            ALPN => {
                out.push_str("=\"");
                print_alpn(value, out)?;
                out.push('"');
            }
            PORT => {
                let _ = write!(out, "={}", u16::from_be_bytes(value.try_into().ok()?));
            }
            IPV4HINT => {
                let all = value.as_chunks::<4>().0.iter().map(|&a| Ipv4Addr::from(a).to_string());
                let _ = write!(out, "={}", all.collect::<Vec<_>>().join(","));
            }
            IPV6HINT => {
                let all = value.as_chunks::<16>().0.iter().map(|&a| Ipv6Addr::from(a).to_string());
                let _ = write!(out, "={}", all.collect::<Vec<_>>().join(","));
            }
            ECH => {
                let _ = write!(out, "={}", BASE64.encode(value));
            }
            _ if value.is_empty() => {}
            _ => {
                out.push_str("=\"");
                escape_into(out, value);
                out.push('"');
            }
        }
    }
    Some(())
}

fn print_alpn(value: &[u8], out: &mut String) -> Option<()> {
    let (mut cursor, mut list) = (Cursor::new(value), Vec::new());
    while !cursor.is_at_end() {
        if !list.is_empty() {
            list.push(b',');
        }
        for &octet in cursor.counted()? {
            if matches!(octet, b',' | b'\\') {
                list.push(b'\\');
            }
            list.push(octet);
        }
    }
    escape_into(out, &list);
    Some(())
}
