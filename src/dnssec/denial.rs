//! NSEC records (RFC 4034 §4) and the order they prove things in.

use std::cmp::Ordering;

use crate::model::name::Name;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

/// Appends the type bitmap of RFC 4034 §4.1.2 for types in any order. QTYPEs and meta types are left out, as it demands.
pub fn encode_types(types: &[RrType], out: &mut Vec<u8>) {
    let mut sorted: Vec<u16> = types.iter().filter(|t| !t.is_meta()).map(|t| t.0).collect();
    sorted.sort_unstable();
    sorted.dedup();
    for window in sorted.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0u8; 32];
        for &t in window {
            bits[usize::from(t & 0xff) / 8] |= 0x80 >> (t & 7);
        }
        // Sorted and never empty: the last type has the last octet.
        let octets = usize::from(window[window.len() - 1] & 0xff) / 8 + 1;
        out.extend_from_slice(&[(window[0] >> 8) as u8, octets as u8]);
        out.extend_from_slice(&bits[..octets]);
    }
}

/// The types of a bitmap in ascending order; `None` if it is not one.
pub fn decode_types(mut bitmap: &[u8]) -> Option<Vec<RrType>> {
    let mut types = Vec::new();
    let mut last_window = None;
    while let [window, octets @ 1..=32, rest @ ..] = bitmap {
        let (bits, rest) = rest.split_at_checked(usize::from(*octets))?;
        if last_window.is_some_and(|last| *window <= last) {
            return None;
        }
        last_window = Some(*window);
        for (i, octet) in bits.iter().enumerate() {
            for bit in (0..8u16).filter(|bit| octet & (0x80 >> bit) != 0) {
                types.push(RrType(u16::from(*window) << 8 | (i as u16 * 8 + bit)));
            }
        }
        bitmap = rest;
    }
    bitmap.is_empty().then_some(types)
}

/// RDATA of an NSEC record (RFC 4034 §4.1). `types` are those the owner holds; NSEC and RRSIG are added, being always there
/// (RFC 4035 §2.3).
pub fn nsec_rdata(next: &Name, types: &[RrType]) -> Vec<u8> {
    let mut all = Vec::with_capacity(types.len() + 2);
    all.extend_from_slice(types);
    all.extend_from_slice(&[RrType::RRSIG, RrType::NSEC]);
    let mut rdata = Vec::with_capacity(next.wire().len() + 2 + 8);
    // The next name keeps its case (RFC 6840 §5.1); ours are in lower case throughout.
    rdata.extend_from_slice(next.wire());
    encode_types(&all, &mut rdata);
    rdata
}

/// An NSEC RRset; TTL in seconds: the smaller of the SOA's TTL and MINIMUM (RFC 9077 §3).
pub fn nsec_rrset(next: &Name, types: &[RrType], ttl: u32) -> Rrset {
    Rrset { rtype: RrType::NSEC, ttl, rdata: RdataSet::new([nsec_rdata(next, types)]) }
}

/// Next name and types of an NSEC record's RDATA; `None` if it is not one.
pub fn parse_nsec(rdata: &[u8]) -> Option<(Name, Vec<RrType>)> {
    let mut at = 0;
    while *rdata.get(at)? != 0 {
        at += 1 + usize::from(rdata[at]);
    }
    let (name, bitmap) = rdata.split_at(at + 1);
    Some((Name::from_wire(name).ok()?, decode_types(bitmap)?))
}

/// Whether the NSEC record at `owner` with this next name covers `name`: `name` lies between them, where the last record
/// of a zone points back to the apex (RFC 4034 §4.1.1). It does not cover its own owner, which it matches.
pub fn covers(owner: &Name, next: &Name, name: &Name) -> bool {
    let after_owner = name.cmp(owner) == Ordering::Greater;
    let before_next = name.cmp(next) == Ordering::Less;
    match owner.cmp(next) {
        Ordering::Less => after_owner && before_next,
        // The last of the chain.
        Ordering::Greater => after_owner || before_next,
        // The only one.
        Ordering::Equal => name != owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    #[test]
    fn the_example_of_rfc_4034_section_4_3() {
        let rdata = nsec_rdata(
            &name("host.example.com"),
            &[RrType(1234), RrType::MX, RrType::A, RrType::RRSIG, RrType::NSEC, RrType::A],
        );
        let mut want = b"\x04host\x07example\x03com\x00".to_vec();
        want.extend_from_slice(&[0, 6, 0x40, 1, 0, 0, 0, 3, 4, 0x1b]);
        want.extend_from_slice(&[0; 26]);
        want.push(0x20);
        assert_eq!(rdata, want);
        let types = vec![RrType::A, RrType::MX, RrType::RRSIG, RrType::NSEC, RrType(1234)];
        assert_eq!(parse_nsec(&rdata), Some((name("host.example.com"), types)));
    }

    #[test]
    fn bitmaps_round_trip() {
        for types in [
            &[][..],
            &[1],
            &[255 + 1],
            &[1, 2, 127],
            &[61, 64, 65, 257, 65400, 65535],
            &[1, 0x0100, 0x0200, 0xff00],
        ] {
            let types: Vec<RrType> = types.iter().map(|&t| RrType(t)).collect();
            let mut bitmap = Vec::new();
            encode_types(&types, &mut bitmap);
            assert_eq!(decode_types(&bitmap), Some(types));
        }
        let mut bitmap = Vec::new();
        encode_types(&[RrType::ANY, RrType::OPT, RrType(0)], &mut bitmap);
        assert!(bitmap.is_empty(), "meta types have no bit");
        for bad in [&[0][..], &[0, 0], &[0, 1], &[0, 33, 0], &[1, 1, 1, 0, 1, 1], &[0, 1, 1, 0, 1, 1]] {
            assert_eq!(decode_types(bad), None, "{bad:?}");
        }
        assert_eq!(parse_nsec(b"\x04hos"), None);
        assert_eq!(parse_nsec(b""), None);
    }

    #[test]
    fn covers_what_lies_between() {
        for (owner, next, covered, not) in [
            (
                "a.test",
                "m.test",
                &["b.test", "x.a.test", "*.a.test"][..],
                &["a.test", "m.test", "x.m.test", "test", "z.test"][..],
            ),
            ("z.test", "test", &["zz.test", "x.z.test"], &["z.test", "test", "a.test"]),
            ("test", "test", &["a.test", "zz.test"], &["test"]),
        ] {
            for text in covered {
                assert!(covers(&name(owner), &name(next), &name(text)), "{owner} {next} {text}");
            }
            for text in not {
                assert!(!covers(&name(owner), &name(next), &name(text)), "{owner} {next} {text}");
            }
        }
    }
}
