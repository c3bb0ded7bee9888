//! Wire form to presentation format. The RDATA has been validated; `None` stands for what has no text form, and the caller
//! writes `\# length hex` then.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXUPPER};

use super::super::name::write_name;
use super::super::rrtype::RrType;
use super::layout::{self, Field};
use super::wire::Cursor;
use super::{apl, bitmap, gateway, loc, svcb, time};

/// `\# length hex` (RFC 3597 §5).
pub(super) fn generic(wire: &[u8]) -> String {
    if wire.is_empty() { "\\# 0".to_owned() } else { format!("\\# {} {}", wire.len(), HEXUPPER.encode(wire)) }
}

/// All fields, separated by blanks; `type_text` writes RR types.
pub(super) fn print(rtype: RrType, wire: &[u8], type_text: fn(RrType) -> String) -> Option<String> {
    let layout = layout::of(rtype)?;
    let (mut cursor, mut out) = (Cursor::new(wire), String::new());
    for &(_, field) in layout.fields {
        let before = out.len();
        if before > 0 {
            out.push(' ');
        }
        let start = out.len();
        print_field(field, &mut cursor, &mut out, type_text)?;
        if out.len() == start {
            // A field that is not there leaves no blank.
            out.truncate(before);
        }
    }
    Some(out)
}

/// Octets as the inside of a quoted text.
pub(super) fn escape_into(out: &mut String, octets: &[u8]) {
    for &b in octets {
        // Writing to a String cannot fail.
        let _ = match b {
            b'"' | b'\\' => write!(out, "\\{}", b as char),
            0x20..=0x7e => out.write_char(b as char),
            _ => write!(out, "\\{b:03}"),
        };
    }
}

fn quoted(out: &mut String, octets: &[u8]) {
    out.push('"');
    escape_into(out, octets);
    out.push('"');
}

fn print_field(
    field: Field,
    cursor: &mut Cursor<'_>,
    out: &mut String,
    type_text: fn(RrType) -> String,
) -> Option<()> {
    match field {
        Field::U8 | Field::Code8(_) => write!(out, "{}", cursor.u8()?),
        Field::U16 | Field::Code16(_) => write!(out, "{}", cursor.u16()?),
        Field::U32 | Field::Period => write!(out, "{}", cursor.u32()?),
        Field::Time => write!(out, "{}", time::print(cursor.u32()?)),
        Field::Type => write!(out, "{}", type_text(RrType(cursor.u16()?))),
        Field::Ip4 => write!(out, "{}", Ipv4Addr::from(cursor.array::<4>()?)),
        Field::Ip6 => write!(out, "{}", Ipv6Addr::from(cursor.array::<16>()?)),
        Field::Target(_) | Field::Name(_) => write_name(out, cursor.name()?),
        Field::Names => return print_list(cursor, out, |cursor, out| write_name(out, cursor.name()?).ok()),
        Field::Text => return cursor.counted().map(|text| quoted(out, text)),
        Field::OptionalText | Field::Texts => {
            return print_list(cursor, out, |cursor, out| cursor.counted().map(|text| quoted(out, text)));
        }
        Field::Tag => {
            out.push_str(std::str::from_utf8(cursor.counted()?).ok()?);
            Ok(())
        }
        Field::Rest => {
            quoted(out, cursor.rest());
            Ok(())
        }
        Field::Hex => write!(out, "{}", HEXUPPER.encode(cursor.rest())),
        Field::Base64 | Field::OptionalBase64 => write!(out, "{}", BASE64.encode(cursor.rest())),
        Field::Salt => match cursor.counted()? {
            [] => write!(out, "-"),
            salt => write!(out, "{}", HEXUPPER.encode(salt)),
        },
        Field::NextHash => write!(out, "{}", BASE32HEX_NOPAD.encode(cursor.counted()?)),
        Field::Types => return print_types(&bitmap::types_from_wire(cursor.rest())?, out, type_text),
        Field::OldTypes => {
            let types: Vec<RrType> =
                bitmap::list_from_wire(cursor.rest()).map(|bit| RrType(bit as u16)).collect();
            return print_types(&types, out, type_text);
        }
        Field::Ports => {
            let ports: Vec<String> =
                bitmap::list_from_wire(cursor.rest()).map(|bit| bit.to_string()).collect();
            write!(out, "{}", ports.join(" "))
        }
        Field::Apl => write!(out, "{}", apl::print(cursor.rest())?),
        Field::Loc => write!(out, "{}", loc::print(&cursor.array()?)),
        Field::SvcParams => {
            let mut params = String::new();
            svcb::print(cursor.rest(), &mut params)?;
            write!(out, "{}", params.trim_start())
        }
        Field::NodeId => {
            let [a, b, c, d] = [cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?];
            write!(out, "{a:04x}:{b:04x}:{c:04x}:{d:04x}")
        }
        Field::Eui(octets) => {
            let parts: Vec<String> = cursor.take(octets)?.iter().map(|b| format!("{b:02x}")).collect();
            write!(out, "{}", parts.join("-"))
        }
        Field::Nsap => write!(out, "0x{}", HEXUPPER.encode(cursor.rest())),
        Field::Gateway | Field::Relay | Field::HostIdentity => return print_group(field, cursor, out),
    }
    .ok()
}

/// Type 0 is no type (RFC 6895 §3.1), so that a bit map with it has no text form.
fn print_types(types: &[RrType], out: &mut String, type_text: fn(RrType) -> String) -> Option<()> {
    let texts: Vec<String> = types.iter().map(|&rtype| type_text(rtype)).collect();
    out.push_str(&texts.join(" "));
    (!types.contains(&RrType(0))).then_some(())
}

fn print_list(
    cursor: &mut Cursor<'_>,
    out: &mut String,
    print: impl Fn(&mut Cursor<'_>, &mut String) -> Option<()>,
) -> Option<()> {
    let start = out.len();
    while !cursor.is_at_end() {
        if out.len() > start {
            out.push(' ');
        }
        print(cursor, out)?;
    }
    Some(())
}

fn print_group(field: Field, cursor: &mut Cursor<'_>, out: &mut String) -> Option<()> {
    match field {
        Field::Gateway => {
            let (kind, algorithm) = (cursor.u8()?, cursor.u8()?);
            write!(out, "{kind} {algorithm} ").ok()?;
            gateway::print(kind, cursor, out)
        }
        Field::Relay => {
            let octet = cursor.u8()?;
            write!(out, "{} {} ", octet >> 7, octet & 0x7f).ok()?;
            gateway::print(octet & 0x7f, cursor, out)
        }
        _ => {
            let (tag, algorithm, key) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
            let (tag, key) = (cursor.take(usize::from(tag))?, cursor.take(usize::from(key))?);
            write!(out, "{algorithm} {} {}", HEXUPPER.encode(tag), BASE64.encode(key)).ok()
        }
    }
}
