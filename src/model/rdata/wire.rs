//! Walks wire-form RDATA field by field: checks that each field is whole, and finds the names.

use super::super::name::MAX_NAME_OCTETS;
use super::super::rrtype::RrType;
use super::layout::{Field, NameKind};
use super::{Additional, NameRole, RdataError, RdataName, apl, bitmap, gateway, layout, loc, svcb};

/// A name that the walk came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) name: RdataName,
    /// Whether RFC 4034 §6.2 wants it in lower case.
    pub(super) fold: bool,
}

/// Reads octets from left to right.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    wire: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(wire: &'a [u8]) -> Self {
        Self { wire, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.wire.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.wire.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Octets behind their number in one octet.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.take(usize::from(count))
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.wire[self.at..];
        self.at = self.wire.len();
        rest
    }

    /// An uncompressed name in wire form.
    pub(super) fn name(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => break,
                length @ 1..=63 => self.take(usize::from(length))?,
                _ => return None,
            };
        }
        let name = &self.wire[start..self.at];
        (name.len() <= MAX_NAME_OCTETS).then_some(name)
    }
}

/// Walks over all fields of a type and reports each name; does nothing for types that the table does not know.
///
/// # Errors
/// A field that is cut short or malformed, or octets behind the last field.
pub(super) fn walk(rtype: RrType, wire: &[u8], found: &mut dyn FnMut(Found)) -> Result<(), RdataError> {
    let Some(layout) = layout::of(rtype) else { return Ok(()) };
    let mut cursor = Cursor::new(wire);
    for &(what, field) in layout.fields {
        let start = cursor.at;
        step(field, &mut cursor).ok_or_else(|| {
            RdataError::new(format!(
                "{rtype} RDATA of {} octets: the {what} is malformed or cut short",
                wire.len()
            ))
        })?;
        match field {
            Field::Target(kind) => {
                found(at(
                    start,
                    &cursor,
                    kind,
                    true,
                    additional(rtype, &wire[..start], &wire[start..cursor.at]),
                ));
            }
            Field::Name(kind) => found(at(start, &cursor, kind, false, Additional::None)),
            Field::Names => each_name(start, wire, found),
            // Only a gateway of type 3 is a name, and it is what comes last.
            Field::Gateway if wire[start] == 3 => {
                found(at(start + 2, &cursor, NameKind::Kept, true, Additional::None));
            }
            Field::Relay if wire[start] & 0x7f == 3 => {
                found(at(start + 1, &cursor, NameKind::Kept, true, Additional::None));
            }
            _ => {}
        }
    }
    if !cursor.is_at_end() {
        let left = cursor.rest().len();
        return Err(RdataError::new(format!("{rtype} RDATA of {} octets: {left} are left over", wire.len())));
    }
    Ok(())
}

fn at(start: usize, cursor: &Cursor<'_>, kind: NameKind, link: bool, additional: Additional) -> Found {
    let role = NameRole { compressible: kind == NameKind::Compressible, link, additional };
    Found { name: RdataName { offset: start, len: cursor.at - start, role }, fold: kind != NameKind::Kept }
}

fn each_name(start: usize, wire: &[u8], found: &mut dyn FnMut(Found)) {
    let mut cursor = Cursor { wire, at: start };
    while !cursor.is_at_end() {
        let start = cursor.at;
        if cursor.name().is_none() {
            return;
        }
        found(at(start, &cursor, NameKind::Kept, true, Additional::None));
    }
}

fn additional(rtype: RrType, before: &[u8], name: &[u8]) -> Additional {
    let is_root = name == [0];
    match rtype {
        RrType::NS | RrType::MX | RrType::SRV if !is_root => Additional::Name,
        RrType::SVCB | RrType::HTTPS if !is_root => Additional::Name,
        // SvcPriority 0 is AliasMode, where `.` says that there is no service.
        RrType::SVCB | RrType::HTTPS if before != [0, 0] => Additional::Owner,
        _ => Additional::None,
    }
}

/// Reads one field; `None` if it is cut short or malformed.
fn step(field: Field, cursor: &mut Cursor<'_>) -> Option<()> {
    match field {
        Field::U8 | Field::Code8(_) => drop(cursor.u8()?),
        Field::U16 | Field::Code16(_) | Field::Type => drop(cursor.u16()?),
        Field::U32 | Field::Period | Field::Time | Field::Ip4 => drop(cursor.u32()?),
        Field::Ip6 => drop(cursor.take(16)?),
        Field::NodeId => drop(cursor.take(8)?),
        Field::Eui(octets) => drop(cursor.take(octets)?),
        Field::Target(_) | Field::Name(_) => drop(cursor.name()?),
        Field::Names => {
            while !cursor.is_at_end() {
                cursor.name()?;
            }
        }
        Field::Text | Field::Salt => drop(cursor.counted()?),
        Field::NextHash => return cursor.counted().filter(|hash| !hash.is_empty()).map(drop),
        Field::OptionalText => {
            if !cursor.is_at_end() {
                cursor.counted()?;
            }
        }
        Field::Texts => {
            cursor.counted()?;
            while !cursor.is_at_end() {
                cursor.counted()?;
            }
        }
        Field::Tag => {
            let tag = cursor.counted()?;
            return (!tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric)).then_some(());
        }
        Field::Rest | Field::OptionalBase64 => drop(cursor.rest()),
        Field::Hex | Field::Base64 | Field::Nsap => return (!cursor.rest().is_empty()).then_some(()),
        Field::Types => return bitmap::check_types(cursor.rest()),
        Field::OldTypes => return bitmap::check_list(cursor.rest(), bitmap::OLD_TYPES_OCTETS),
        Field::Ports => return bitmap::check_list(cursor.rest(), bitmap::PORTS_OCTETS),
        Field::Apl => return apl::check(cursor),
        Field::Loc => return loc::check(&cursor.array()?),
        Field::SvcParams => return svcb::check_shape(cursor),
        Field::Gateway => {
            let kind = cursor.u8()?;
            cursor.u8()?;
            return gateway::skip(kind, cursor);
        }
        Field::Relay => {
            let kind = cursor.u8()? & 0x7f;
            return gateway::skip(kind, cursor);
        }
        Field::HostIdentity => {
            let (tag, _algorithm, key) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
            if tag == 0 || key == 0 {
                return None;
            }
            cursor.take(usize::from(tag))?;
            cursor.take(usize::from(key))?;
        }
    }
    Some(())
}
