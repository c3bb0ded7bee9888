//! What the RFCs forbid beyond the shape of the fields.

use super::super::rrtype::RrType;
use super::wire::Cursor;
use super::{RdataError, svcb};

/// Checks whole RDATA of a type; the walk has found its fields well-formed.
///
/// # Errors
/// What is forbidden, with the RFC in the hint.
pub(super) fn check(rtype: RrType, wire: &[u8]) -> Result<(), RdataError> {
    match rtype {
        // CDS and CDNSKEY may ask for deletion, and then hold zeros (RFC 8078 §4).
        RrType::CDS if wire == [0, 0, 0, 0, 0] => Ok(()),
        RrType::CDNSKEY if wire == [0, 0, 3, 0, 0] => Ok(()),
        RrType::DS | RrType::CDS | RrType::DLV | RrType::TA => check_length(
            "digest type",
            wire[3],
            wire.len() - 4,
            &[(1, 20), (2, 32), (4, 48)],
            "RFC 4034 §5.1.4, RFC 4509, RFC 6605 §2",
        ),
        RrType::DNSKEY | RrType::CDNSKEY if wire[2] != 3 => {
            Err(RdataError::new(format!("the protocol is {}", wire[2]))
                .hint("it must be 3 (RFC 4034 §2.1.2)"))
        }
        RrType::SSHFP => check_length(
            "fingerprint type",
            wire[1],
            wire.len() - 2,
            &[(1, 20), (2, 32)],
            "RFC 4255 §3.1.2, RFC 6594",
        ),
        RrType::TLSA | RrType::SMIMEA => {
            check_length("matching type", wire[2], wire.len() - 3, &[(1, 32), (2, 64)], "RFC 6698 §2.1.3")
        }
        RrType::ZONEMD if wire.len() - 6 < 12 => {
            Err(RdataError::new("the digest is shorter than 12 octets").hint("RFC 8976 §2.2.4"))
        }
        RrType::ZONEMD => {
            check_length("hash algorithm", wire[5], wire.len() - 6, &[(1, 48), (2, 64)], "RFC 8976 §2.2.3")
        }
        RrType::URI if wire.len() == 4 => Err(RdataError::new("the target is empty").hint("RFC 7553 §4.4")),
        RrType::SVCB | RrType::HTTPS => {
            let mut cursor = Cursor::new(wire);
            // The walk has seen both.
            let _ = (cursor.u16(), cursor.name());
            svcb::check_values(cursor.rest())
        }
        _ => Ok(()),
    }
}

/// Digests of known kinds have the length of their kind.
fn check_length(
    what: &str,
    kind: u8,
    octets: usize,
    known: &[(u8, usize)],
    rfc: &str,
) -> Result<(), RdataError> {
    match known.iter().find(|&&(number, _)| number == kind) {
        Some(&(_, wanted)) if wanted != octets => {
            Err(RdataError::new(format!("{what} {kind} has {wanted} octets, {octets} are given"))
                .hint(format!("write {} hex digits ({rfc})", wanted * 2)))
        }
        _ => Ok(()),
    }
}
