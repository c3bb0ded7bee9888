//! RDATA: presentation format (RFC 1035 §5.1) to canonical wire form and back, for every RR type.
//!
//! A table (`layout`) says of which fields each type consists; reading text (`text`), checking wire form (`wire`) and
//! writing text (`print`) are three walks over it. What the table does not know is opaque (RFC 3597).
//!
//! hickory-proto's own text parser is not used: it decodes `\DDD` wrongly and knows neither DNAME, the DNSSEC types nor
//! `TYPEnnn`. It is the tests' second opinion on the wire form instead.

mod apl;
mod bitmap;
mod check;
mod gateway;
mod layout;
mod loc;
mod portable;
mod print;
mod svcb;
mod text;
pub mod time;
mod token;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;

use super::name::Name;
use super::rrtype::RrType;

/// Octets of the longest RDATA (RFC 1035 §3.2.1: RDLENGTH has 16 bits).
pub const MAX_RDATA_OCTETS: usize = 65_535;

/// Why a text or octets are no RDATA of their type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdataError {
    /// What is wrong, with the part in question.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl RdataError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for RdataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for RdataError {}

/// RDATA that [`parse_noting`] has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Uncompressed canonical wire form.
    pub wire: Vec<u8>,
    /// Names that were written without a trailing dot although they have several labels: often an absolute name that lacks
    /// its dot.
    pub relative: Vec<RelativeName>,
}

/// A name of several labels that was taken as relative to the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativeName {
    /// Where the name starts in the RDATA.
    pub offset: usize,
    /// The name as written.
    pub written: String,
}

/// A name within RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdataName {
    /// Where it starts in the RDATA.
    pub offset: usize,
    /// Octets in wire form, the root label included.
    pub len: usize,
    /// What may be done with it.
    pub role: NameRole,
}

/// What may be done with a name within RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRole {
    /// A type of RFC 1035, where a message may hold a compression pointer (RFC 3597 §4).
    pub compressible: bool,
    /// A name that leads to other records, unlike a mailbox or a signer's name.
    pub link: bool,
    /// Whose addresses belong into the additional section.
    pub additional: Additional,
}

/// Whose addresses belong into the additional section (RFC 1034 §4.3.2, RFC 2782, RFC 9460 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Additional {
    /// Nobody's. Also the `.` of an SRV or MX without service, and of SVCB in AliasMode (RFC 9460 §2.5.1).
    None,
    /// Those of the name. For SVCB and HTTPS in AliasMode also its records of the same type.
    Name,
    /// Those of the record's own owner: SVCB and HTTPS in ServiceMode with the TargetName `.` (RFC 9460 §2.5.2).
    Owner,
}

/// Reads presentation format; names are below `origin` unless they end in a dot. The result is uncompressed, and names of
/// the types of RFC 4034 §6.2 are in lower case.
///
/// `\# length hex` is taken for every type (RFC 3597 §5) and checked where the type is known. A TXT or SPF text that starts with
/// neither `"` nor `\# digit` is one literal text, split at 255 octets (interface.md, "RDATA").
///
/// # Errors
/// What is wrong, with a hint. Meta types are refused, since no zone can hold them.
pub fn parse(rtype: RrType, text: &str, origin: &Name) -> Result<Vec<u8>, RdataError> {
    parse_noting(rtype, text, origin).map(|parsed| parsed.wire)
}

/// As [`parse`], and tells which names were written as relative ones of several labels.
///
/// # Errors
/// As [`parse`].
pub fn parse_noting(rtype: RrType, text: &str, origin: &Name) -> Result<Parsed, RdataError> {
    text::parse(rtype, text, origin)
}

/// Checks wire-form RDATA.
///
/// # Errors
/// Whatever the type's RFC forbids, compression pointers among it. Types that the table does not know pass.
pub fn validate(rtype: RrType, wire: &[u8]) -> Result<(), RdataError> {
    if wire.len() > MAX_RDATA_OCTETS {
        return Err(RdataError::new(format!(
            "RDATA of {} octets, the limit is {MAX_RDATA_OCTETS}",
            wire.len()
        )));
    }
    wire::walk(rtype, wire, &mut |_| {})?;
    check::check(rtype, wire)
}

/// Checks wire-form RDATA and folds the case of its names where RFC 4034 §6.2 wants it.
///
/// # Errors
/// As [`validate`].
pub fn canonical(rtype: RrType, mut wire: Vec<u8>) -> Result<Vec<u8>, RdataError> {
    validate(rtype, &wire)?;
    let mut spans = Vec::new();
    wire::walk(rtype, &wire, &mut |name| {
        if name.fold {
            spans.push(name.name.offset..name.name.offset + name.name.len);
        }
    })?;
    for span in spans {
        // Length octets are at most 63 and so never letters.
        wire[span].make_ascii_lowercase();
    }
    Ok(wire)
}

/// Presentation format on one line, with absolute names; `\# length hex` for types that the table does not know and for
/// octets that are no RDATA of their type. [`parse`] gives canonical RDATA back.
pub fn to_text(rtype: RrType, wire: &[u8]) -> String {
    let type_text = |rtype: RrType| rtype.to_string();
    validate(rtype, wire)
        .ok()
        .and_then(|()| print::print(rtype, wire, type_text))
        .unwrap_or_else(|| print::generic(wire))
}

/// As [`to_text`], for master files that other programs read: what some of BIND, Knot, NSD and ldns do not know is written as
/// RFC 3597 has it, which all of them take. [`portable_type`] names the type.
pub fn to_portable_text(rtype: RrType, wire: &[u8]) -> String {
    let is_portable = portable::TYPES.contains(&rtype) && validate(rtype, wire).is_ok();
    is_portable
        .then(|| print::print(rtype, wire, portable_type))
        .flatten()
        .unwrap_or_else(|| print::generic(wire))
}

/// The mnemonic if BIND, Knot, NSD and ldns all know it, else `TYPEnnn`.
pub fn portable_type(rtype: RrType) -> String {
    if portable::TYPES.contains(&rtype) { rtype.to_string() } else { format!("TYPE{}", rtype.0) }
}

/// Names within RDATA, first to last; none for octets that are no RDATA of their type.
pub fn names(rtype: RrType, wire: &[u8]) -> Vec<RdataName> {
    let mut names = Vec::new();
    match wire::walk(rtype, wire, &mut |found| names.push(found.name)) {
        Ok(()) => names,
        Err(_) => Vec::new(),
    }
}

/// Whether SVCB or HTTPS RDATA carries `ipv4hint` or `ipv6hint` (RFC 9460 §7.3), which clients use without asking for the address.
pub fn has_address_hints(rtype: RrType, wire: &[u8]) -> bool {
    if !matches!(rtype, RrType::SVCB | RrType::HTTPS) || validate(rtype, wire).is_err() {
        return false;
    }
    let behind_target = names(rtype, wire).first().map_or(wire.len(), |name| name.offset + name.len);
    svcb::params(&wire[behind_target..]).any(|(key, _)| matches!(key, svcb::IPV4HINT | svcb::IPV6HINT))
}

/// An example of a type's presentation format, with names relative to a zone; `None` for types that only have `\# length hex`.
pub fn example(rtype: RrType) -> Option<&'static str> {
    layout::of(rtype).map(|layout| layout.example)
}
