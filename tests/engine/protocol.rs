//! Headers, opcodes, classes, meta types, EDNS and its options, TSIG.

use std::collections::BTreeSet;

use crate::message::{self, ask, ask_with, decode, opt, query};
use crate::zone::snapshot;
use crate::{check, message::settings};
use hale::answer::{Kind, Scratch, Transport};
use hale::snapshot::Snapshot;

const ZONE: &str = "
    @      SOA ns1 h 1 2 3 4 60
    @      NS ns1
    ns1    A 192.0.2.53
    www    A 192.0.2.1
    www    A 192.0.2.2
    www    A 192.0.2.3
    !rotate www A
    www    AAAA 2001:db8::1
    srv    SRV 1 2 443 www
    srv    SRV 1 3 444 www
    svc    HTTPS 1 . alpn=h2
    svc    A 192.0.2.4
    alias  HTTPS 0 www
    ext    MX 10 mail.example.com.
    txt    TXT \"a text\"
";

fn zone(is_signed: bool) -> Snapshot {
    snapshot(&[("test", ZONE), ("broken.example", "broken")], is_signed)
}

fn reply(message: &[u8]) -> Vec<u8> {
    ask(&zone(true), message, Transport::Udp).unwrap().1
}

#[test]
fn refuses_what_it_does_not_serve() {
    check(
        &zone(false),
        &[
            ("example.com A", "REFUSED"),
            ("example.com A edns", "REFUSED ede=20"),
            (". NS", "REFUSED"),
            ("x.broken.example A edns", "SERVFAIL ede=0"),
            ("www.test A class=3", "REFUSED"),
            ("www.test A class=255", "REFUSED"),
            ("www.test A class=254", "REFUSED"),
            ("test AXFR", "REFUSED"),
            ("test IXFR", "REFUSED"),
            ("test MAILA", "NOTIMP"),
            ("test MAILB", "NOTIMP"),
            ("test TKEY", "NOTIMP"),
            ("test OPT", "FORMERR"),
            ("test TSIG", "FORMERR"),
            ("test TYPE0", "FORMERR"),
            ("test TYPE128", "FORMERR"),
            (
                "test TYPE65535",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "test TYPE200",
                "NOERROR aa
                ns test. SOA",
            ),
        ],
    );
}

#[test]
fn answers_any_rrsig_and_nsec_with_one_rrset() {
    check(
        &zone(false),
        &[
            (
                "www.test ANY",
                "NOERROR aa
                an www.test. HINFO \"RFC8482\" \"\"",
            ),
            (
                "none.test ANY",
                "NXDOMAIN aa
                ns test. SOA",
            ),
            (
                "www.test RRSIG",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "www.test NSEC",
                "NOERROR aa
                ns test. SOA",
            ),
        ],
    );
    check(
        &zone(true),
        &[
            (
                "www.test ANY do",
                "NOERROR aa
                an www.test. AAAA 2001:db8::1
                an www.test. RRSIG(AAAA)",
            ),
            (
                "www.test ANY",
                "NOERROR aa
                an www.test. AAAA 2001:db8::1",
            ),
            (
                "txt.test RRSIG do",
                "NOERROR aa
                an txt.test. RRSIG(TXT)",
            ),
            (
                "txt.test NSEC do",
                "NOERROR aa
                an txt.test. NSEC www.test.
                an txt.test. RRSIG(NSEC)",
            ),
        ],
    );
}

#[test]
fn adds_addresses_of_targets() {
    check(
        &zone(true),
        &[
            (
                "srv.test SRV",
                "NOERROR aa
                an srv.test. SRV 1 2 443 www.test.
                an srv.test. SRV 1 3 444 www.test.
                ar www.test. A 192.0.2.2
                ar www.test. A 192.0.2.3
                ar www.test. A 192.0.2.1
                ar www.test. AAAA 2001:db8::1",
            ),
            (
                "svc.test HTTPS do",
                "NOERROR aa
                an svc.test. HTTPS 1 . alpn=\"h2\"
                an svc.test. RRSIG(HTTPS)
                ar svc.test. A 192.0.2.4
                ar svc.test. RRSIG(A)",
            ),
            (
                "alias.test HTTPS",
                "NOERROR aa
                an alias.test. HTTPS 0 www.test.
                ar www.test. A 192.0.2.2
                ar www.test. A 192.0.2.3
                ar www.test. A 192.0.2.1
                ar www.test. AAAA 2001:db8::1",
            ),
            (
                "ext.test MX",
                "NOERROR aa
                an ext.test. MX 10 mail.example.com.",
            ),
        ],
    );
}

#[test]
fn rotates_from_answer_to_answer() {
    let snapshot = zone(false);
    let mut scratch = Scratch::new(settings());
    let mut seen = BTreeSet::new();
    for _ in 0..6 {
        let (_, response) = ask_with(&snapshot, &mut scratch, &query("www.test A"), Transport::Udp).unwrap();
        let records = decode(&response).records;
        let all: BTreeSet<u8> = records.iter().map(|r| r.rdata[3]).collect();
        assert_eq!(all, BTreeSet::from([1, 2, 3]), "nothing is lost by turning");
        seen.insert(records[0].rdata[3]);
    }
    assert_eq!(seen, BTreeSet::from([1, 2, 3]));
}

#[test]
fn echoes_the_question_as_it_was_asked() {
    for (text, want) in [("wWw.TeSt A", "wWw.TeSt"), ("nOnE.TEST A do", "nOnE.TEST")] {
        let response = reply(&query(text));
        let asked: Vec<u8> =
            want.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
        assert_eq!(response[12..12 + asked.len()], asked);
        assert_eq!(response[..2], [0x12, 0x34]);
    }
}

#[test]
fn sets_header_bits() {
    // Query bits: the two octets of flags; response bits likewise, with RCODE.
    for (asked, want) in [
        (0x0000, Some(0x8400)),
        (0x0100, Some(0x8500)),
        (0x0010, Some(0x8410)),
        (0x0020, Some(0x8400)),
        (0x0040, Some(0x8400)),
        (0x0080, Some(0x8400)),
        (0x0200, Some(0x8400)),
        (0x0400, Some(0x8400)),
        (0x0003, Some(0x8400)),
        (0x8000, None),
        (0x8100, None),
    ] {
        let mut message = query("www.test A");
        message[2..4].copy_from_slice(&u16::to_be_bytes(asked));
        let got = ask(&zone(true), &message, Transport::Udp).map(|(_, response)| decode(&response).flags);
        assert_eq!(got, want, "{asked:04x}");
    }
    for opcode in 1..16u16 {
        let mut message = query("www.test A do");
        message[2..4].copy_from_slice(&(opcode << 11 | 0x07ff).to_be_bytes());
        let response = reply(&message);
        assert_eq!(response.len(), 12);
        assert_eq!(decode(&response).flags, 0x8004 | opcode << 11, "opcode {opcode}: a header alone");
    }
    for length in 0..12 {
        assert_eq!(ask(&zone(true), &query("www.test A")[..length], Transport::Udp), None);
    }
}

/// A question for `www.test A` followed by these octets, counted as so many additional records.
fn with_additional(records: &[u8], count: u8) -> Vec<u8> {
    let mut message = query("www.test A");
    message[11] = count;
    message.extend_from_slice(records);
    message
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

#[test]
fn refuses_malformed_messages() {
    let plain_opt = opt(1232, 0, false, &[]);
    let cookie = |len: usize| opt(1232, 0, false, &option(10, &vec![1; len]));
    let mut owned_opt = plain_opt.clone();
    owned_opt.splice(0..1, *b"\x01a\0");
    let formerr = |message: &[u8], what: &str| {
        let (reply, response) = ask(&zone(true), message, Transport::Udp).unwrap();
        assert_eq!((reply.class.rcode, reply.class.kind), (1, Kind::Error), "{what}");
        let decoded = decode(&response);
        assert_eq!(decoded.flags & 0x840f, 0x8001, "{what}");
        assert!(decoded.records.is_empty(), "{what}");
        decoded.opt.is_some()
    };
    for (records, count, has_opt, what) in [
        ([&plain_opt[..], &plain_opt].concat(), 2, true, "two OPT"),
        (owned_opt, 1, false, "an owned OPT"),
        (opt(1232, 0, false, &[0, 3, 0, 9, 1]), 1, true, "an option past the end"),
        (opt(1232, 0, false, &[0, 3, 0]), 1, true, "half an option header"),
        (cookie(0), 1, true, "an empty cookie"),
        (cookie(7), 1, true, "a short client cookie"),
        (cookie(9), 1, true, "a client cookie and a bit"),
        (cookie(15), 1, true, "a short server cookie"),
        (cookie(41), 1, true, "a long server cookie"),
        (plain_opt[..10].to_vec(), 1, false, "half an OPT"),
        ([&plain_opt[..], &[0]].concat(), 1, true, "an octet too many"),
        (vec![], 1, false, "a record that is not there"),
        (b"\xc0\xff\x00\x01\x00\x01\0\0\0\0\0\0".to_vec(), 1, false, "a pointer forward"),
        (b"\x40a\0\0\x01\0\x01\0\0\0\0\0\0".to_vec(), 1, false, "a reserved label type"),
    ] {
        assert_eq!(formerr(&with_additional(&records, count), what), has_opt, "{what}");
    }
    for (at, value, what) in [
        (5, 0, "no question"),
        (5, 2, "two questions"),
        (4, 255, "65,000 questions"),
        (12, 0xc0, "a question that is a pointer"),
        (12, 0x40, "a label type in the question"),
        (12, 63, "a label past the end"),
        (6, 255, "65,000 answers"),
        (10, 255, "65,000 additional records"),
    ] {
        let mut message = query("www.test A");
        message[at] = value;
        formerr(&message, what);
    }
    for cut in 12..query("www.test A").len() {
        formerr(&query("www.test A")[..cut], "cut off");
    }
    let mut in_answer = with_additional(&plain_opt, 0);
    in_answer[7] = 1;
    formerr(&in_answer, "OPT in the answer section");
}

#[test]
fn speaks_edns() {
    for (records, rcode, what) in [
        (opt(1232, 1, true, &[]), 16, "version 1"),
        (opt(1232, 255, true, &option(100, b"x")), 16, "version 255"),
        (opt(0, 0, false, &[]), 0, "size 0"),
        (opt(1232, 0, false, &option(8, b"garbage")), 0, "a malformed client subnet"),
        (opt(1232, 0, false, &option(100, b"")), 0, "an unknown option"),
        (opt(1232, 0, false, &option(12, &[0; 300])), 0, "padding"),
        (opt(1232, 0, false, &option(100, b"").repeat(100)), 0, "a hundred options"),
    ] {
        let (reply, response) = ask(&zone(true), &with_additional(&records, 1), Transport::Udp).unwrap();
        assert_eq!(reply.class.rcode, rcode, "{what}");
        let decoded = decode(&response);
        assert_eq!(decoded.rcode(), rcode, "{what}");
        let (size, ttl, options) = decoded.opt.unwrap();
        // Version 0, DO as it was asked, nothing echoed.
        assert_eq!((size, ttl & 0x00ff_7fff, options), (1232, 0, vec![]), "{what}");
        assert_eq!(ttl & 0x8000 != 0, records[7] & 0x80 != 0, "{what}");
        assert_eq!(decoded.records.is_empty(), rcode == 16, "{what}");
    }
    assert_eq!(decode(&reply(&query("www.test A"))).opt, None, "no OPT unless asked with one");
}

fn options_of(transport: Transport, options: &[u8]) -> Vec<message::EdnsOption> {
    let message = with_additional(&opt(1232, 0, false, options), 1);
    decode(&ask(&zone(false), &message, transport).unwrap().1).opt.unwrap().2
}

#[test]
fn answers_options() {
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    assert_eq!(options_of(udp, &option(3, b"")), [(3, b"fra-1".to_vec())]);
    assert_eq!(options_of(tcp, &option(11, b"")), [(11, vec![0, 100])]);
    assert_eq!(options_of(udp, &option(11, b"")), []);
    let first = options_of(udp, &option(10, b"clientck"));
    assert_eq!((first.len(), first[0].0, &first[0].1[..8], first[0].1.len()), (1, 10, &b"clientck"[..], 24));
    assert_eq!(options_of(udp, &option(10, &first[0].1)), first, "a good cookie is kept");
    let mut bad = first[0].1.clone();
    bad[23] ^= 1;
    assert_eq!(options_of(udp, &option(10, &bad)), first, "a bad one is replaced");
    let all = [option(11, b""), option(10, b"clientck"), option(3, b"")].concat();
    assert_eq!(options_of(tcp, &all).iter().map(|o| o.0).collect::<Vec<_>>(), [3, 10, 11]);
}

/// RFC 7873 §5.4: a client may ask for a cookie without a question.
#[test]
fn gives_a_cookie_without_a_question() {
    let mut message = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    message.extend(opt(1232, 0, false, &option(10, b"clientck")));
    let decoded = decode(&reply(&message));
    assert_eq!((decoded.flags, decoded.question, decoded.opt.unwrap().2.len()), (0x8000, None, 1));
}

fn tsig(key_name: &[u8], algorithm: &[u8], mac_len: u16, mac: &[u8], class: u16) -> Vec<u8> {
    let mut rdata = algorithm.to_vec();
    rdata.extend([0, 0, 0x65, 0, 0, 0, 1, 44]);
    rdata.extend(mac_len.to_be_bytes());
    rdata.extend_from_slice(mac);
    rdata.extend([0x12, 0x34, 0, 0, 0, 0]);
    let mut wire = key_name.to_vec();
    wire.extend(250u16.to_be_bytes());
    wire.extend(class.to_be_bytes());
    wire.extend([0; 4]);
    wire.extend((rdata.len() as u16).to_be_bytes());
    wire.extend(rdata);
    wire
}

#[test]
fn knows_no_tsig_key() {
    let algorithm = b"\x0bhmac-sha256\0";
    let long_name = [[&b"\x3d"[..], &[b'a'; 61]].concat().repeat(4), vec![0]].concat();
    let good = tsig(b"\x01k\0", algorithm, 32, &[1; 32], 255);
    let plain_opt = opt(1232, 0, false, &[]);
    for (records, count, rcode, what) in [
        (good.clone(), 1, 9, "an unknown key"),
        ([&plain_opt[..], &good].concat(), 2, 9, "an unknown key beside OPT"),
        (tsig(b"\xc0\x0c", algorithm, 32, &[1; 32], 255), 1, 9, "a compressed key name"),
        (tsig(b"\0", b"\x03odd\0", 0, &[], 255), 1, 9, "an odd algorithm and no MAC"),
        (tsig(&long_name, &long_name, 0, &[], 255), 1, 1, "names that do not fit"),
        (tsig(b"\0", algorithm, 65535, &[1; 32], 255), 1, 1, "a MAC past the end"),
        (tsig(b"\0", algorithm, 0, &[], 1), 1, 1, "class IN"),
        (tsig(b"\0", b"\xc0\x0c", 0, &[], 255), 1, 1, "a compressed algorithm name"),
        ([&good[..], &good].concat(), 2, 1, "two of them"),
        ([&good[..], &plain_opt].concat(), 2, 1, "not the last record"),
    ] {
        let (reply, response) = ask(&zone(true), &with_additional(&records, count), Transport::Udp).unwrap();
        let decoded = decode(&response);
        assert_eq!((decoded.rcode(), reply.class.rcode), (rcode, rcode), "{what}");
        assert_eq!(decoded.flags & 0x0400, 0, "{what}");
        if rcode == 9 {
            let record = decoded.records.last().unwrap();
            assert_eq!((record.rtype.0, record.class, record.ttl), (250, 255, 0), "{what}");
            // No MAC, the query's ID, BADKEY, no other data.
            let end = &record.rdata[record.rdata.len() - 8..];
            assert_eq!(end, [0, 0, 0x12, 0x34, 0, 17, 0, 0], "{what}");
            assert_eq!(decoded.opt.is_some(), count == 2, "{what}");
        }
    }
}

#[test]
fn explains_in_words() {
    let text = |name: &str| {
        let decoded = decode(&reply(&query(&format!("{name} A edns"))));
        let error = decoded.opt.unwrap().2.into_iter().find(|o| o.0 == 15).unwrap().1;
        String::from_utf8(error[2..].to_vec()).unwrap()
    };
    assert_eq!(text("x.broken.example"), "the zone could not be loaded");
    assert_eq!(message::decode(&reply(&query("www.test A edns"))).opt.unwrap().2, []);
}
