//! Bit maps: the types of NSEC, NSEC3 and CSYNC (RFC 4034 §4.1.2), the types of NXT and the ports of WKS.

use super::super::rrtype::RrType;
use super::wire::Cursor;

/// Octets of the longest bit map of NXT (RFC 2535 §5.2: types up to 127).
pub(super) const OLD_TYPES_OCTETS: usize = 16;
/// Octets of the longest bit map of WKS.
pub(super) const PORTS_OCTETS: usize = 8192;

/// Bit maps in windows of 256 types (RFC 4034 §4.1.2); `types` in any order.
pub(super) fn types_to_wire(types: &[RrType]) -> Vec<u8> {
    let mut sorted: Vec<u16> = types.iter().map(|t| t.0).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut out = Vec::new();
    for window in sorted.chunk_by(|a, b| a >> 8 == b >> 8) {
        // `chunk_by` gives no empty chunk.
        let (first, last) = (window[0], window[window.len() - 1]);
        out.extend([(first >> 8) as u8, ((last & 0xff) / 8 + 1) as u8]);
        out.extend(list_to_wire(window.iter().map(|t| usize::from(t & 0xff))));
    }
    out
}

/// The types of well-formed bit maps, lowest first.
pub(super) fn types_from_wire(wire: &[u8]) -> Option<Vec<RrType>> {
    let (mut cursor, mut types) = (Cursor::new(wire), Vec::new());
    while !cursor.is_at_end() {
        let window = u16::from(cursor.u8()?) << 8;
        types.extend(list_from_wire(cursor.counted()?).map(|bit| RrType(window | bit as u16)));
    }
    Some(types)
}

/// Windows in ascending order, none empty, without trailing zero octets: what RFC 4034 §4.1.2 demands.
pub(super) fn check_types(wire: &[u8]) -> Option<()> {
    let (mut cursor, mut last) = (Cursor::new(wire), None);
    while !cursor.is_at_end() {
        let window = cursor.u8()?;
        let bits = cursor.counted()?;
        if last.is_some_and(|last| last >= window) || bits.is_empty() || check_list(bits, 32).is_none() {
            return None;
        }
        last = Some(window);
    }
    Some(())
}

/// A bit map up to the highest bit set, bit 0 first.
pub(super) fn list_to_wire(bits: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut out = Vec::new();
    for bit in bits {
        if out.len() <= bit / 8 {
            out.resize(bit / 8 + 1, 0);
        }
        out[bit / 8] |= 0x80 >> (bit % 8);
    }
    out
}

/// The bits set, lowest first.
pub(super) fn list_from_wire(wire: &[u8]) -> impl Iterator<Item = usize> {
    wire.iter().enumerate().flat_map(|(i, &octet)| {
        (0..8).filter(move |bit| octet & (0x80 >> bit) != 0).map(move |bit| i * 8 + bit)
    })
}

/// At most so many octets, the last of them not zero.
pub(super) fn check_list(wire: &[u8], limit: usize) -> Option<()> {
    (wire.len() <= limit && wire.last() != Some(&0)).then_some(())
}
