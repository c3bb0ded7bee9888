//! Semantic checks of a zone, as Knot's `semantic-checks` and `named-checkzone` do them.
//!
//! Errors, which keep the zone from being served: CNAME beside other data or at the apex, several CNAMEs or DNAMEs at one owner, DNAME beside NS
//! below the apex, DS at the apex, records that the server makes itself, a check on glue, and a relative name of several labels
//! that the zone does not hold. Warnings, which are loud but served: an in-zone NS without address, an NS, MX or SRV target that is an alias
//! or has no address, records that a delegation or DNAME hides, NS or DNAME at a wildcard, DS without NS, CDS and CDNSKEY below
//! the apex, a dangling in-zone target, and address hints beside checked addresses.

mod owner;
mod scope;

use std::fmt::Write;
use std::path::Path;

use crate::model::diagnostic::Position;
use crate::model::name::{Name, write_name};
use crate::model::rrtype::RrType;

pub(super) use owner::check as owner;
pub(super) use scope::{Scope, check as whole_zone};

/// A place in the zone file.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) path: Box<str>,
}

/// One RRset of an owner, as far as the rules need it; checked addresses too.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) rtype: RrType,
    /// How many records.
    pub(super) count: usize,
    /// Octets of all RDATA.
    pub(super) octets: usize,
    /// The first of them.
    pub(super) mark: Mark,
}

/// One owner, for the rules that need nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) file: &'a Path,
    pub(super) is_apex: bool,
    pub(super) is_wildcard: bool,
    /// Whether the zone is signed.
    pub(super) is_signed: bool,
    pub(super) held: &'a [Held],
}

/// A name in RDATA that lies in the zone.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) owner: Name,
    pub(super) rtype: RrType,
    pub(super) target: Name,
    pub(super) mark: Mark,
    /// The name as written, if it was written relative with several labels.
    pub(super) written: Option<Box<str>>,
    /// Whether the name leads to records, unlike a mailbox.
    pub(super) follow: bool,
    /// Whether the RDATA carries address hints (RFC 9460 §7.3).
    pub(super) hints: bool,
}

/// A name as it would be written in the file: relative to the apex if it lies in the zone.
pub(super) fn relative(name: &Name, apex: &Name) -> String {
    if name == apex {
        return "@".to_owned();
    }
    if !name.is_below(apex) {
        return name.to_string();
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_name(&mut text, below_root(name, apex).wire());
    text.pop();
    text
}

/// A name of the zone without the apex at its end, as a name below the root.
pub(super) fn below_root(name: &Name, apex: &Name) -> Name {
    let labels = &name.wire()[..name.wire().len().saturating_sub(apex.wire().len())];
    // A name's first labels, ended by the root label, are a name again.
    Name::from_wire(&[labels, &[0]].concat()).unwrap_or_else(|_| Name::root())
}

/// The JSON path of an owner, given its name relative to the zone as a name below the root.
pub(super) fn owner_path(relative_name: &Name) -> String {
    let key = relative(relative_name, &Name::root());
    let is_plain =
        key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'@' | b'*' | b'$'));
    let mut path = "records".to_owned();
    let _ = if is_plain { write!(path, ".{key}") } else { write!(path, "[{key:?}]") };
    path
}
