use data_encoding::HEXLOWER_PERMISSIVE;
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict};
use proptest::prelude::*;

use super::layout::TABLE;
use super::*;

fn origin() -> Name {
    Name::parse_absolute("example.test").unwrap()
}

fn rtype(text: &str) -> RrType {
    text.parse().unwrap()
}

fn hex(digits: &str) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(digits.replace(' ', "").as_bytes()).unwrap()
}

#[test]
fn table_is_sorted_and_its_examples_round_trip() {
    assert!(TABLE.is_sorted_by_key(|layout| layout.rtype));
    for layout in TABLE {
        let wire = parse(layout.rtype, layout.example, &origin())
            .unwrap_or_else(|e| panic!("{}: {e}", layout.rtype));
        let text = to_text(layout.rtype, &wire);
        assert!(!text.starts_with("\\#"), "{}: {text}", layout.rtype);
        // An origin of its own shows that the text is absolute.
        assert_eq!(parse(layout.rtype, &text, &Name::root()).as_ref(), Ok(&wire), "{}: {text}", layout.rtype);
        assert_eq!(parse(layout.rtype, &print::generic(&wire), &origin()), Ok(wire), "{}", layout.rtype);
    }
}

#[test]
fn every_mnemonic_is_in_the_table_or_known_to_be_opaque() {
    let opaque: Vec<RrType> = RrType::known().filter(|&t| !t.is_meta() && layout::of(t).is_none()).collect();
    assert_eq!(opaque, [RrType::NULL]);
}

#[test]
fn reads_what_the_rfcs_show() {
    for (t, text, want) in [
        ("A", "192.0.2.1", "c0000201"),
        ("AAAA", "2001:db8::1", "20010db8000000000000000000000001"),
        ("MX", "10 Mail", "000a 046d61696c 076578616d706c65 0474657374 00"),
        ("MX", "10 mail.", "000a 046d61696c 00"),
        ("MX", "0 .", "0000 00"),
        ("CNAME", "@", "076578616d706c65 0474657374 00"),
        // Only the types of RFC 4034 §6.2 are folded.
        ("DNAME", "A.B.", "0161 0162 00"),
        ("LP", "1 A.B.", "0001 0141 0142 00"),
        ("NSEC", "A. A", "0141 00 0001 40"),
        // RFC 4034 §4.3
        (
            "NSEC",
            "host.example.com. A MX RRSIG NSEC TYPE1234",
            "04686f7374 076578616d706c65 03636f6d 00 0006 400100000003 041b 000000000000000000000000000000000000000000000000000020",
        ),
        // Literal and quoted texts.
        ("TXT", "v=spf1 mx -all", "0e 763d73706631206d78202d616c6c"),
        ("TXT", "a\\b;c(", "06 615c623b6328"),
        ("TXT", "", "00"),
        ("TXT", "\\# 3 026162", "026162"),
        ("TXT", "\\# no", "05 5c23206e6f"),
        ("TXT", "\"a b\" c", "03612062 0163"),
        ("TXT", "\"\\\"\\\\\\255;\"", "04 225cff3b"),
        ("SPF", "ä", "02c3a4"),
        // RFC 1876 §4 by way of its sample of 10 m.
        ("LOC", "42 21 54 N 71 06 18 W -24m 30m", "00 33 16 13 89172dd0 70be15f0 00988d20"),
        ("LOC", "0 N 0 E 0", "00 12 16 13 80000000 80000000 00989680"),
        // RFC 3123 §5 and §4 on trailing zeros.
        ("APL", "1:192.168.32.0/21 !1:192.168.38.0/28", "0001 15 03 c0a820 0001 1c 83 c0a826"),
        ("APL", "", ""),
        // RFC 9460 appendix D.
        ("SVCB", "0 foo.example.com.", "0000 03666f6f 076578616d706c65 03636f6d 00"),
        ("SVCB", "1 .", "0001 00"),
        ("SVCB", "16 foo.example.com. port=53", "0010 03666f6f 076578616d706c65 03636f6d 00 0003 0002 0035"),
        (
            "SVCB",
            "1 foo.example.com. key667=hello",
            "0001 03666f6f 076578616d706c65 03636f6d 00 029b 0005 68656c6c6f",
        ),
        (
            "SVCB",
            "1 foo.example.com. key667=\"hello\\210qoo\"",
            "0001 03666f6f 076578616d706c65 03636f6d 00 029b 0009 68656c6c6fd2716f6f",
        ),
        (
            "SVCB",
            "16 foo.example.org. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn\n ipv4hint=192.0.2.1 )",
            "0010 03666f6f 076578616d706c65 036f7267 00 0000 0004 00010004 0001 0009 02683205 68332d3139 0004 0004 c0000201",
        ),
        (
            "SVCB",
            "16 foo.example.org. alpn=\"f\\\\\\\\oo\\\\,bar,h2\"",
            "0010 03666f6f 076578616d706c65 036f7267 00 0001 000c 08 665c6f6f2c626172 02 6832",
        ),
        (
            "SVCB",
            "16 foo.example.org. alpn=f\\\\\\092oo\\092,bar,h2",
            "0010 03666f6f 076578616d706c65 036f7267 00 0001 000c 08 665c6f6f2c626172 02 6832",
        ),
        // RFC 8078 §4.
        ("CDS", "0 0 0 00", "0000 00 00 00"),
        ("CDNSKEY", "0 3 0 AA==", "0000 03 00 00"),
        ("CAA", "128 issue \"ca; a=b\"", "80 05 6973737565 63613b20613d62"),
        ("IPSECKEY", "10 3 2 Gw AQ==", "0a 03 02 024777 076578616d706c65 0474657374 00 01"),
        ("IPSECKEY", "10 0 0 .", "0a 00 00"),
        ("CERT", "PKIX 1 RSASHA256 AA==", "0001 0001 08 00"),
        ("TYPE65400", "\\# 4 0a 00 0001", "0a000001"),
        ("TYPE65400", "\\# 0", ""),
        // Known types in unknown form are checked and folded.
        ("NS", "\\# 3 014100", "016100"),
    ] {
        assert_eq!(parse(rtype(t), text, &origin()), Ok(hex(want)), "{t} {text}");
    }
}

#[test]
fn long_literal_texts_are_split() {
    let text = "x".repeat(600);
    let wire = parse(RrType::TXT, &text, &origin()).unwrap();
    assert_eq!((wire.len(), wire[0], wire[256], wire[512]), (603, 255, 255, 90));
}

#[test]
fn errors_say_what_is_wrong() {
    for (t, text, message, hint) in [
        (
            "MX",
            "mail",
            "the preference is \"mail\", not a number from 0 to 65535",
            "MX takes: preference, exchange; for example: 10 mail",
        ),
        ("MX", "10", "the exchange is missing", "10 mail"),
        ("MX", "10 mail extra", "\"extra\" is left over", "10 mail"),
        ("MX", "+10 mail", "the preference is \"+10\"", "10 mail"),
        ("MX", "10 192.0.2.1", "an address where a name is wanted", "give the address a name"),
        ("MX", "10 \"mail\"", "stands in quotes", "without quotes"),
        (
            "A",
            "198.51.100.300",
            "\"198.51.100.300\" is not an IPv4 address",
            "each part of an IPv4 address is 0 to 255",
        ),
        ("A", "192.0.2.010", "is not an IPv4 address", "without leading zeros"),
        ("A", "2001:db8::1", "is not an IPv4 address", "belongs under AAAA"),
        ("AAAA", "192.0.2.1", "is not an IPv6 address", "belongs under A"),
        ("AAAA", "2001:db8::g", "is not an IPv6 address", "2001:db8::1"),
        ("A", "\\# 3 c00002", "the address is malformed or cut short", ""),
        ("A", "\\# 4 c00002", "4 octets are announced, 3 are given", "RFC 3597"),
        ("A", "\\# 4 c000020", "not pairs of hex digits", ""),
        ("NS", "\\# 2 c000", "the name server is malformed", ""),
        ("CNAME", "b\u{fc}cher", "is not printable ASCII", "xn--"),
        ("CNAME", "a..b", "a label is empty", "CNAME takes"),
        ("CNAME", "", "the canonical name is missing", "CNAME takes"),
        ("TXT", "\"a", "a quote is not closed", ""),
        ("TXT", "\"\\256\"", "a bad escape", "three digits up to 255"),
        ("TXT", "\\# 3 ff6162", "the text is malformed", ""),
        ("HINFO", "a b\"c", "a quote is not closed", ""),
        ("CAA", "0 issue ca; x", "would start a comment", "quotes"),
        ("CAA", "0 is-sue ca", "the tag is \"is-sue\"", "letters and digits"),
        ("SRV", "1 1 65536 a", "the port is \"65536\"", "SRV takes"),
        ("DS", "1 13 2 abcd", "digest type 2 has 32 octets, 2 are given", "64 hex digits"),
        ("DNSKEY", "256 2 13 AAAA", "the protocol is 2", "RFC 4034"),
        ("DNSKEY", "256 3 13", "the public key is missing", "DNSKEY takes"),
        ("DNSKEY", "256 3 13 A", "not base64", "DNSKEY takes"),
        ("SVCB", "1 . port=1 port=2", "given twice", "SVCB takes"),
        ("SVCB", "1 . colour=red", "is not a service parameter", "keyNNN"),
        ("SVCB", "1 . mandatory=alpn", "mandatory names alpn", "RFC 9460"),
        ("SVCB", "1 . no-default-alpn", "needs alpn", "RFC 9460"),
        ("SVCB", "1 . alpn=h2,,h3", "not a list of protocol names", "SVCB takes"),
        ("SVCB", "1 . port", "lacks its value", "SVCB takes"),
        ("SVCB", "1 . key65535=a", "service parameters is malformed", "SVCB takes"),
        ("LOC", "91 N 0 E 0m", "does not belong into a latitude", "degrees up to 90"),
        ("LOC", "90 0 0.001 N 0 E 0m", "does not belong into a latitude", "degrees up to 90"),
        ("APL", "1:192.0.2.0/33", "not an address prefix", "1:192.0.2.0/24"),
        ("NSEC", "a. WHAT", "\"WHAT\" is not an RR type", "TYPE"),
        ("RRSIG", "A 13 2 1 2030 20250001000000 1 . AA==", "the inception is", "YYYYMMDDHHmmSS"),
        ("NULL", "x", "NULL has no text form here", "\\# 4 0a000001"),
        ("TYPE65400", "x", "has no text form", "\\# 4 0a000001"),
        ("ANY", "\\# 0", "no zone can hold", ""),
        ("MX", "( 10 mail", "a \"(\" without", ""),
        ("MX", "10 mail )", "a \")\" without", ""),
    ] {
        let error = parse(rtype(t), text, &origin()).expect_err(text);
        assert!(error.message.contains(message), "{t} {text}: {error}");
        assert!(error.hint.unwrap_or_default().contains(hint), "{t} {text}: hint");
    }
}

#[test]
fn wire_form_is_checked() {
    for (t, digits) in [
        ("A", "c00002"),
        ("A", "c000020101"),
        ("CNAME", "c00c"),
        ("CNAME", "0161"),
        ("TXT", ""),
        ("TXT", "0261"),
        ("NSEC", "00 0002 4000"),
        ("NSEC", "00 0000"),
        ("NSEC", "00 0101 40 0001 40"),
        ("SVCB", "0001 00 0004 0004 c0000201 0003 0002 0035"),
        ("SVCB", "0001 00 0003 0003 003500"),
        ("APL", "0001 18 04 c0000200"),
        ("LOC", "01 12 16 13 80000000 80000000 00989680"),
        ("LOC", "00 a2 16 13 80000000 80000000 00989680"),
        ("IPSECKEY", "0a 04 00"),
        ("CAA", "00 00"),
        ("URI", "0001 0001"),
        ("NSEC3", "01 00 0000 00 00"),
    ] {
        assert!(validate(rtype(t), &hex(digits)).is_err(), "{t} {digits}");
        assert!(to_text(rtype(t), &hex(digits)).starts_with("\\# "), "{t} {digits}");
    }
    assert!(validate(RrType(65400), &[0; MAX_RDATA_OCTETS + 1]).is_err());
}

#[test]
fn names_and_their_roles() {
    let check = |t: &str, text: &str, want: &[(usize, bool, bool, Additional)]| {
        let wire = parse(rtype(t), text, &origin()).unwrap();
        let got: Vec<_> = names(rtype(t), &wire)
            .iter()
            .inspect(|n| assert!(Name::from_wire(&wire[n.offset..n.offset + n.len]).is_ok(), "{t} {text}"))
            .map(|n| (n.offset, n.role.compressible, n.role.link, n.role.additional))
            .collect();
        assert_eq!(got, want, "{t} {text}");
    };
    use Additional::{None, Owner};
    check("A", "192.0.2.1", &[]);
    check("NS", "a.", &[(0, true, true, Additional::Name)]);
    check("CNAME", "a.", &[(0, true, true, None)]);
    check("MX", "10 a.", &[(2, true, true, Additional::Name)]);
    check("MX", "0 .", &[(2, true, true, None)]);
    check("SOA", "a. b. 1 2 3 4 5", &[(0, true, true, None), (3, true, false, None)]);
    check("SRV", "1 2 3 a.", &[(6, false, true, Additional::Name)]);
    check("SRV", "0 0 0 .", &[(6, false, true, None)]);
    check("DNAME", "a.", &[(0, false, true, None)]);
    check("SVCB", "1 a. port=1", &[(2, false, true, Additional::Name)]);
    check("HTTPS", "0 a.", &[(2, false, true, Additional::Name)]);
    check("HTTPS", "1 .", &[(2, false, true, Owner)]);
    check("HTTPS", "0 .", &[(2, false, true, None)]);
    check("RRSIG", "A 13 2 1 1 1 1 a. AA==", &[(18, false, false, None)]);
    check("IPSECKEY", "1 3 1 a. AA==", &[(3, false, true, None)]);
    check("IPSECKEY", "1 1 1 3.3.3.3 AA==", &[]);
    check("AMTRELAY", "1 1 3 a.", &[(2, false, true, None)]);
    check("HIP", "2 AA AA== a. bc.", &[(6, false, true, None), (9, false, true, None)]);
    assert_eq!(names(RrType::NS, &[1]), [], "no name in what is no NS");
}

#[test]
fn notes_relative_names_of_several_labels() {
    let check = |t: &str, text: &str, want: &[(usize, &str)]| {
        let parsed = parse_noting(rtype(t), text, &origin()).unwrap();
        let got: Vec<_> = parsed.relative.iter().map(|r| (r.offset, &r.written[..])).collect();
        assert_eq!(got, want, "{t} {text}");
    };
    check("CNAME", "www", &[]);
    check("CNAME", "a\\.b", &[]);
    check("CNAME", "@", &[]);
    check("CNAME", "lb.cdn.net.", &[]);
    check("CNAME", "lb.cdn.net", &[(0, "lb.cdn.net")]);
    check("CNAME", "a.b\\.", &[(0, "a.b\\.")]);
    check("MX", "10 a.b", &[(2, "a.b")]);
    check("RP", "a.b c.d", &[(0, "a.b"), (18, "c.d")]);
}

/// What hickory-proto makes of the same octets, encoded again; `None` where it takes them as opaque.
fn through_hickory(t: RrType, wire: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = BinDecoder::new(wire);
    let rdata = RData::read(&mut decoder, RecordType::from(t.0), Restrict::new(wire.len() as u16))
        .unwrap_or_else(|e| panic!("hickory refuses {t} {wire:02x?}: {e}"));
    if matches!(rdata, RData::Unknown { .. }) {
        return None;
    }
    let mut out = Vec::new();
    let mut encoder = BinEncoder::new(&mut out);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    rdata.emit(&mut encoder).unwrap();
    Some(out)
}

#[test]
fn hickory_reads_the_same() {
    let mut compared = 0;
    for layout in TABLE {
        let wire = parse(layout.rtype, layout.example, &origin()).unwrap();
        if let Some(theirs) = through_hickory(layout.rtype, &wire) {
            assert_eq!(theirs, wire, "{}", layout.rtype);
            compared += 1;
        }
    }
    assert!(compared >= 28, "only {compared} types compared");
}

/// A type with RDATA that is near to being well-formed: an example with some octets changed, cut or added.
fn near_misses() -> impl Strategy<Value = (RrType, Vec<u8>)> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..4);
    (0..TABLE.len(), edits).prop_map(|(row, edits)| {
        let layout = &TABLE[row];
        let mut wire = parse(layout.rtype, layout.example, &origin()).unwrap();
        for (at, octet, edit) in edits {
            let at = at.index(wire.len() + 1);
            match edit {
                0 => wire.insert(at, octet),
                1 if at < wire.len() => drop(wire.remove(at)),
                2 => wire.truncate(at),
                _ if at < wire.len() => wire[at] = octet,
                _ => {}
            }
        }
        (layout.rtype, wire)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(row in 0..TABLE.len(), text in "(\\PC|[0-9a-f .:\\\\\"();=/-]){0,40}", start in any::<prop::sample::Index>()) {
        let layout = &TABLE[row];
        let _ = parse(layout.rtype, &text, &origin());
        // A good beginning gets the text to the later fields.
        let head: String = layout.example.chars().take(start.index(layout.example.len() + 1)).collect();
        if let Ok(wire) = parse(layout.rtype, &(head + &text), &origin()) {
            prop_assert_eq!(parse(layout.rtype, &to_text(layout.rtype, &wire), &Name::root()), Ok(wire));
        }
    }

    #[test]
    fn octets_round_trip_through_text((rtype, wire) in near_misses()) {
        names(rtype, &wire);
        let text = to_text(rtype, &wire);
        if let Ok(wire) = canonical(rtype, wire) {
            let text = to_text(rtype, &wire);
            prop_assert_eq!(parse(rtype, &text, &Name::root()), Ok(wire), "{} {}", rtype, text);
        } else {
            prop_assert!(text.starts_with("\\# "), "{}", text);
        }
    }

    #[test]
    fn any_octets_of_any_type(number in any::<u16>(), wire in prop::collection::vec(any::<u8>(), 0..60)) {
        let rtype = RrType(number);
        prop_assume!(!rtype.is_meta());
        names(rtype, &wire);
        if let Ok(wire) = canonical(rtype, wire) {
            let text = to_text(rtype, &wire);
            prop_assert_eq!(parse(rtype, &text, &Name::root()), Ok(wire));
        }
    }

    /// hickory-proto refuses hash and key algorithms that it does not know; what it takes, it must not change.
    #[test]
    fn hickory_changes_nothing((rtype, wire) in near_misses()) {
        let Ok(wire) = canonical(rtype, wire) else { return Ok(()) };
        let mut decoder = BinDecoder::new(&wire);
        let read = RData::read(&mut decoder, RecordType::from(rtype.0), Restrict::new(wire.len() as u16));
        if read.is_ok_and(|rdata| !matches!(rdata, RData::Unknown { .. })) {
            prop_assert_eq!(through_hickory(rtype, &wire), Some(wire), "{}", rtype);
        }
    }
}
