//! Presentation format to wire form.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXUPPER_PERMISSIVE};

use super::super::name::{Name, NameError};
use super::super::rrtype::RrType;
use super::super::ttl::parse_duration_ms;
use super::layout::{self, Field};
use super::token::{Token, Tokens};
use super::{Parsed, RdataError, RelativeName, apl, bitmap, canonical, gateway, loc, svcb, time};

/// Octets of the longest character-string (RFC 1035 §3.3).
const MAX_TEXT_OCTETS: usize = 255;

/// What the fields write to.
struct Output<'a> {
    origin: &'a Name,
    wire: Vec<u8>,
    relative: Vec<RelativeName>,
}

/// See [`super::parse_noting`].
pub(super) fn parse(rtype: RrType, text: &str, origin: &Name) -> Result<Parsed, RdataError> {
    if rtype.is_meta() {
        return Err(RdataError::new(format!("{rtype} is a query or meta type, which no zone can hold")));
    }
    if let Some(rest) = generic_form(text) {
        let wire = canonical(rtype, parse_generic(rest)?)?;
        return Ok(Parsed { wire, relative: Vec::new() });
    }
    if matches!(rtype, RrType::TXT | RrType::SPF) && !text.starts_with('"') {
        let wire = canonical(rtype, literal_text(text))?;
        return Ok(Parsed { wire, relative: Vec::new() });
    }
    let Some(layout) = layout::of(rtype) else {
        return Err(RdataError::new(format!("{rtype} has no text form here"))
            .hint("write its octets in hex, such as \\# 4 0a000001 (RFC 3597)"));
    };
    let with_usage = |mut error: RdataError| {
        error.hint.get_or_insert_with(|| layout.usage());
        error
    };
    let mut tokens = Tokens::new(text).map_err(with_usage)?;
    let mut out = Output { origin, wire: Vec::new(), relative: Vec::new() };
    for &(what, field) in layout.fields {
        parse_field(field, what, &mut tokens, &mut out).map_err(with_usage)?;
    }
    if let Some(extra) = tokens.next() {
        return Err(with_usage(RdataError::new(format!("\"{}\" is left over", extra.raw))));
    }
    let Output { wire, relative, .. } = out;
    Ok(Parsed { wire: canonical(rtype, wire).map_err(with_usage)?, relative })
}

/// What stands behind `\#`. A digit must follow: no real text starts like that, while one could start with `\#` alone.
fn generic_form(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix("\\#")?;
    let digits = rest.trim_start_matches([' ', '\t']);
    (digits.len() < rest.len() && digits.starts_with(|c: char| c.is_ascii_digit())).then_some(digits)
}

fn parse_generic(text: &str) -> Result<Vec<u8>, RdataError> {
    let mut tokens = Tokens::new(text)?;
    let length: usize = number(tokens.word("length")?, "length", u16::MAX.into())? as usize;
    let wire = hex(&joined(&mut tokens, "octets")?, "octets")?;
    if wire.len() != length {
        return Err(RdataError::new(format!("{length} octets are announced, {} are given", wire.len()))
            .hint("write \\#, the number of octets and two hex digits for each (RFC 3597 §5)"));
    }
    Ok(wire)
}

/// One text as character-strings of at most 255 octets.
fn literal_text(text: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len() + text.len() / MAX_TEXT_OCTETS + 1);
    for chunk in text.as_bytes().chunks(MAX_TEXT_OCTETS) {
        wire.push(chunk.len() as u8);
        wire.extend_from_slice(chunk);
    }
    if wire.is_empty() {
        wire.push(0);
    }
    wire
}

fn parse_field(
    field: Field,
    what: &str,
    tokens: &mut Tokens<'_>,
    out: &mut Output<'_>,
) -> Result<(), RdataError> {
    match field {
        Field::U8 => out.wire.push(number(tokens.word(what)?, what, u8::MAX.into())? as u8),
        Field::U16 => {
            out.wire.extend((number(tokens.word(what)?, what, u16::MAX.into())? as u16).to_be_bytes());
        }
        Field::U32 => out.wire.extend(number(tokens.word(what)?, what, u32::MAX)?.to_be_bytes()),
        Field::Period => out.wire.extend(period(tokens.word(what)?, what)?.to_be_bytes()),
        Field::Time => {
            let text = tokens.word(what)?;
            let time = time::parse(text).ok_or_else(|| {
                RdataError::new(format!("the {what} is \"{text}\", not a time"))
                    .hint("write it as YYYYMMDDHHmmSS in UTC")
            })?;
            out.wire.extend(time.to_be_bytes());
        }
        Field::Code8(codes) => out.wire.push(code(tokens.word(what)?, what, codes, u8::MAX.into())? as u8),
        Field::Code16(codes) => {
            out.wire.extend((code(tokens.word(what)?, what, codes, u16::MAX.into())? as u16).to_be_bytes());
        }
        Field::Type => out.wire.extend(rr_type(tokens.word(what)?)?.0.to_be_bytes()),
        Field::Ip4 => out.wire.extend(ipv4(tokens.word(what)?)?.octets()),
        Field::Ip6 => out.wire.extend(ipv6(tokens.word(what)?)?.octets()),
        Field::Target(_) | Field::Name(_) => name(tokens.word(what)?, what, out)?,
        Field::Names => {
            while let Some(token) = tokens.next() {
                name(token.word(what)?, what, out)?;
            }
        }
        Field::Text => character_string(tokens.need(what)?, what, &mut out.wire)?,
        Field::OptionalText => {
            if let Some(token) = tokens.next() {
                character_string(token, what, &mut out.wire)?;
            }
        }
        Field::Texts => {
            character_string(tokens.need(what)?, what, &mut out.wire)?;
            while let Some(token) = tokens.next() {
                character_string(token, what, &mut out.wire)?;
            }
        }
        Field::Tag => {
            let tag = tokens.word(what)?;
            if tag.is_empty()
                || tag.len() > MAX_TEXT_OCTETS
                || !tag.bytes().all(|b| b.is_ascii_alphanumeric())
            {
                return Err(RdataError::new(format!("the {what} is \"{tag}\""))
                    .hint("it takes letters and digits, such as issue, issuewild or iodef"));
            }
            out.wire.push(tag.len() as u8);
            out.wire.extend(tag.bytes());
        }
        Field::Rest => out.wire.extend(tokens.need(what)?.octets()?),
        _ => return parse_octets(field, what, tokens, out),
    }
    Ok(())
}

/// Fields in hex, base64 and forms of their own.
fn parse_octets(
    field: Field,
    what: &str,
    tokens: &mut Tokens<'_>,
    out: &mut Output<'_>,
) -> Result<(), RdataError> {
    let wire = &mut out.wire;
    match field {
        Field::Hex => wire.extend(hex(&needed(tokens, what)?, what)?),
        Field::Base64 => wire.extend(base64(&needed(tokens, what)?, what)?),
        Field::OptionalBase64 => wire.extend(base64(&joined(tokens, what)?, what)?),
        Field::Salt => {
            let salt = match tokens.word(what)? {
                "-" => Vec::new(),
                text => hex(text, what)?,
            };
            counted(&salt, what, wire)?;
        }
        Field::NextHash => {
            let text = tokens.word(what)?.to_ascii_uppercase();
            let hash = BASE32HEX_NOPAD
                .decode(text.as_bytes())
                .map_err(|_| RdataError::new(format!("the {what} is \"{text}\", not base32hex")))?;
            counted(&hash, what, wire)?;
        }
        Field::Types => wire.extend(bitmap::types_to_wire(&rr_types(tokens, what, u16::MAX)?)),
        Field::OldTypes => {
            let types = rr_types(tokens, what, (bitmap::OLD_TYPES_OCTETS * 8 - 1) as u16)?;
            wire.extend(bitmap::list_to_wire(types.iter().map(|t| usize::from(t.0))));
        }
        Field::Ports => {
            let mut ports = Vec::new();
            while let Some(token) = tokens.next() {
                ports.push(number(token.word(what)?, "port", u16::MAX.into())? as usize);
            }
            wire.extend(bitmap::list_to_wire(ports.into_iter()));
        }
        Field::Apl => {
            while let Some(token) = tokens.next() {
                apl::parse(token.word(what)?, wire)?;
            }
        }
        Field::Loc => loc::parse(tokens, wire)?,
        Field::SvcParams => svcb::parse(tokens, wire)?,
        Field::NodeId => wire.extend(node_id(tokens.word(what)?, what)?),
        Field::Eui(octets) => wire.extend(eui(tokens.word(what)?, what, octets)?),
        Field::Nsap => {
            let text = tokens.word(what)?;
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or_default();
            wire.extend(hex(&digits.replace('.', ""), what)?);
        }
        _ => return parse_group(field, tokens, out),
    }
    Ok(())
}

fn parse_group(field: Field, tokens: &mut Tokens<'_>, out: &mut Output<'_>) -> Result<(), RdataError> {
    let kind = match field {
        Field::Gateway => {
            let kind = number(tokens.word("gateway type")?, "gateway type", 3)? as u8;
            let algorithm = number(tokens.word("algorithm")?, "algorithm", u8::MAX.into())? as u8;
            out.wire.extend([kind, algorithm]);
            kind
        }
        Field::Relay => {
            let optional = number(tokens.word("discovery-optional bit")?, "discovery-optional bit", 1)? as u8;
            let kind = number(tokens.word("relay type")?, "relay type", 3)? as u8;
            out.wire.push(optional << 7 | kind);
            kind
        }
        _ => return host_identity(tokens, &mut out.wire),
    };
    let text = tokens.word("gateway")?;
    if kind == 3 {
        return name(text, "gateway", out);
    }
    let wire = gateway::parse(kind, text).ok_or_else(|| {
        RdataError::new(format!("the gateway \"{text}\" is not of type {kind}"))
            .hint("type 0 is \".\", 1 an IPv4 address, 2 an IPv6 address, 3 a name")
    })?;
    out.wire.extend(wire);
    Ok(())
}

fn host_identity(tokens: &mut Tokens<'_>, wire: &mut Vec<u8>) -> Result<(), RdataError> {
    let algorithm = number(tokens.word("algorithm")?, "algorithm", u8::MAX.into())? as u8;
    let tag = hex(tokens.word("host identity tag")?, "host identity tag")?;
    let key = base64(tokens.word("public key")?, "public key")?;
    let too_long = |what: &str| RdataError::new(format!("the {what} is too long"));
    let tag_length = u8::try_from(tag.len()).map_err(|_| too_long("host identity tag"))?;
    let key_length = u16::try_from(key.len()).map_err(|_| too_long("public key"))?;
    wire.extend([tag_length, algorithm]);
    wire.extend(key_length.to_be_bytes());
    wire.extend(tag);
    wire.extend(key);
    Ok(())
}

fn name(text: &str, what: &str, out: &mut Output<'_>) -> Result<(), RdataError> {
    let offset = out.wire.len();
    let wire = Name::wire_relative_to(text, out.origin).map_err(|error| {
        let error_text = format!("the {what} is \"{text}\": {error}");
        match error {
            NameError::NotAscii(_) => {
                RdataError::new(error_text).hint("write international names in their ASCII form, xn--…")
            }
            _ => RdataError::new(error_text),
        }
    })?;
    let absolute = text == "@" || ends_in_bare_dot(text);
    if !absolute && (text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok()) {
        return Err(RdataError::new(format!("the {what} is \"{text}\", an address where a name is wanted"))
            .hint("give the address a name with an A or AAAA record, and write that name here"));
    }
    // A label and the root label, or the origin, are one label: such a name is meant to be relative.
    if !absolute && usize::from(wire[0]) + out.origin.wire().len() + 1 < wire.len() {
        out.relative.push(RelativeName { offset, written: text.to_owned() });
    }
    out.wire.extend(wire);
    Ok(())
}

/// Whether the last dot is there and not part of an escape.
fn ends_in_bare_dot(text: &str) -> bool {
    text.strip_suffix('.').is_some_and(|head| head.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0)
}

fn character_string(token: Token<'_>, what: &str, wire: &mut Vec<u8>) -> Result<(), RdataError> {
    let octets = token.octets()?;
    if octets.len() > MAX_TEXT_OCTETS {
        return Err(RdataError::new(format!(
            "the {what} has {} octets, the limit is {MAX_TEXT_OCTETS}",
            octets.len()
        ))
        .hint("split it into several quoted texts; a TXT value without quotes is split by itself"));
    }
    counted(&octets, what, wire)
}

fn counted(octets: &[u8], what: &str, wire: &mut Vec<u8>) -> Result<(), RdataError> {
    let length = u8::try_from(octets.len())
        .map_err(|_| RdataError::new(format!("the {what} has {} octets, the limit is 255", octets.len())))?;
    wire.push(length);
    wire.extend_from_slice(octets);
    Ok(())
}

fn number(text: &str, what: &str, max: u32) -> Result<u32, RdataError> {
    text.parse()
        .ok()
        .filter(|&n| n <= max && text.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| RdataError::new(format!("the {what} is \"{text}\", not a number from 0 to {max}")))
}

fn period(text: &str, what: &str) -> Result<u32, RdataError> {
    parse_duration_ms(text)
        .filter(|ms| ms % 1000 == 0)
        .and_then(|ms| u32::try_from(ms / 1000).ok())
        .ok_or_else(|| {
            RdataError::new(format!(
                "the {what} is \"{text}\", not a time in whole seconds such as 3600 or 1h"
            ))
        })
}

fn code(text: &str, what: &str, codes: &[(&str, u16)], max: u32) -> Result<u32, RdataError> {
    match codes.iter().find(|(mnemonic, _)| mnemonic.eq_ignore_ascii_case(text)) {
        Some(&(_, value)) => Ok(value.into()),
        None => number(text, what, max),
    }
}

fn rr_type(text: &str) -> Result<RrType, RdataError> {
    text.parse().map_err(|()| {
        RdataError::new(format!("\"{text}\" is not an RR type"))
            .hint("write its mnemonic, or TYPE and its number")
    })
}

fn rr_types(tokens: &mut Tokens<'_>, what: &str, max: u16) -> Result<Vec<RrType>, RdataError> {
    let mut types = Vec::new();
    while let Some(token) = tokens.next() {
        let rtype = rr_type(token.word(what)?)?;
        if rtype.0 == 0 || rtype.0 > max {
            return Err(RdataError::new(format!("{rtype} cannot stand in this bit map")));
        }
        types.push(rtype);
    }
    Ok(types)
}

/// All that is left, without the blanks in it.
fn joined(tokens: &mut Tokens<'_>, what: &str) -> Result<String, RdataError> {
    let mut all = String::new();
    while let Some(token) = tokens.next() {
        all.push_str(token.word(what)?);
    }
    Ok(all)
}

fn needed(tokens: &mut Tokens<'_>, what: &str) -> Result<String, RdataError> {
    Some(joined(tokens, what)?)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| RdataError::new(format!("the {what} is missing")))
}

fn hex(text: &str, what: &str) -> Result<Vec<u8>, RdataError> {
    HEXUPPER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| {
        RdataError::new(format!("the {what} is \"{}\", not pairs of hex digits", shortened(text)))
    })
}

fn base64(text: &str, what: &str) -> Result<Vec<u8>, RdataError> {
    BASE64.decode(text.as_bytes()).map_err(|error| {
        RdataError::new(format!("the {what} is \"{}\", not base64: {error}", shortened(text)))
    })
}

/// Enough of a long text to find it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn ipv4(text: &str) -> Result<Ipv4Addr, RdataError> {
    text.parse().map_err(|_| {
        let leading_zero = text.split('.').any(|part| part.len() > 1 && part.starts_with('0'));
        RdataError::new(format!("\"{text}\" is not an IPv4 address")).hint(
            if text.parse::<Ipv6Addr>().is_ok() {
                "it is an IPv6 address, which belongs under AAAA"
            } else if leading_zero {
                "write the parts without leading zeros: some programs read them as octal"
            } else {
                "each part of an IPv4 address is 0 to 255"
            },
        )
    })
}

fn ipv6(text: &str) -> Result<Ipv6Addr, RdataError> {
    text.parse().map_err(|_| {
        RdataError::new(format!("\"{text}\" is not an IPv6 address")).hint(
            if text.parse::<Ipv4Addr>().is_ok() {
                "it is an IPv4 address, which belongs under A"
            } else {
                "write up to eight groups of hex digits with colons between them, such as 2001:db8::1"
            },
        )
    })
}

fn node_id(text: &str, what: &str) -> Result<Vec<u8>, RdataError> {
    let groups: Option<Vec<u16>> = text
        .split(':')
        .map(|group| {
            let is_hex = (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u16::from_str_radix(group, 16).ok()).flatten()
        })
        .collect();
    groups
        .filter(|groups| groups.len() == 4)
        .map(|groups| groups.iter().flat_map(|group| group.to_be_bytes()).collect())
        .ok_or_else(|| {
            RdataError::new(format!("the {what} is \"{text}\", not four groups of hex digits with colons"))
        })
}

fn eui(text: &str, what: &str, octets: usize) -> Result<Vec<u8>, RdataError> {
    let pairs: Vec<&str> = text.split('-').collect();
    Some(pairs.concat())
        .filter(|_| pairs.len() == octets && pairs.iter().all(|pair| pair.len() == 2))
        .and_then(|digits| HEXUPPER_PERMISSIVE.decode(digits.as_bytes()).ok())
        .ok_or_else(|| {
            RdataError::new(format!(
                "the {what} is \"{text}\", not {octets} pairs of hex digits with hyphens"
            ))
        })
}
