//! What has broken other name servers, sent to a running Hale: malformed and hostile messages, each with what must come back.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::time::{Duration, Instant};

use support::client::{Client, Via};
use support::fixture::{self, APEX};
use support::wire::rcode::{BADVERS, FORMERR, NOERROR, NOTAUTH, NOTIMP, NXDOMAIN, REFUSED};
use support::wire::{Edns, Message, QueryBuilder, Record, WireName, header, opt_record, rtype};

/// What must come back.
enum Expect {
    /// Nothing at all.
    Nothing,
    /// A response with one of these codes.
    Rcode(&'static [u16]),
    /// A response that passes; the text says why not.
    Response(fn(&Message) -> Result<(), String>),
}
use Expect::{Nothing, Rcode, Response};

/// A name for the report, the message, and what must come back, by UDP and by TCP alike.
type Case = (&'static str, Vec<u8>, Expect);

#[test]
fn hostile_messages_get_what_the_rfcs_say_and_nothing_breaks() {
    let mut hale = fixture::signed("protocol").start();
    let mut client = Client::new(hale.address);
    let serial = serial(&mut client);
    let mut failures = Vec::new();
    let cases = [malformed(), edns(), questions(), opcodes(), tsig()];
    for (name, wire, expect) in cases.iter().flatten() {
        for via in [Via::Udp, Via::Tcp] {
            if let Err(error) = check(&mut client, wire, expect, via) {
                failures.push(format!("{name} by {via:?}: {error}"));
            }
            assert!(hale.is_alive(), "{name} by {via:?} ended the server: {}", hale.output());
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    assert_eq!(self::serial(&mut client), serial, "the zone is unchanged");
}

fn check(client: &mut Client, wire: &[u8], expect: &Expect, via: Via) -> Result<(), String> {
    let exchange = |client: &mut Client| match via {
        Via::Udp => client.exchange_udp(wire),
        Via::Tcp => client.exchange_tcp(wire),
    };
    match expect {
        Nothing if via == Via::Tcp => Ok(()),
        Nothing => client
            .is_silent_after(wire, Duration::from_millis(150))
            .then_some(())
            .ok_or("was answered".to_owned()),
        Rcode(allowed) => {
            let bytes = exchange(client)?;
            let message = Message::decode(&bytes)?;
            let fine = message.qr && allowed.contains(&message.rcode);
            fine.then_some(())
                .ok_or_else(|| format!("rcode {} where one of {allowed:?} was due", message.rcode))
        }
        Response(accept) => {
            let bytes = exchange(client)?;
            let message = Message::decode(&bytes)?;
            accept(&message).map_err(|error| format!("{error}: {message:#?}"))
        }
    }
}

fn serial(client: &mut Client) -> u32 {
    let answer = client.ask(&QueryBuilder::new(APEX, rtype::SOA), Via::Udp).unwrap();
    answer.answer[0].soa_serial()
}

/// A question with these octets as the name, and nothing else.
fn question(name: &[u8]) -> Vec<u8> {
    [&header(0x1111, 0, [1, 0, 0, 0])[..], name, &[0, 1, 0, 1]].concat()
}

/// Headers, names and sections that RFC 1035 §4.1 does not allow, or that ask for too much work.
fn malformed() -> Vec<Case> {
    let good = QueryBuilder::new("www.example.test", rtype::A).build();
    let long = [[63; 64].repeat(4).as_slice(), &[0]].concat();
    let many_questions = [&header(0x1113, 0, [10000, 0, 0, 0])[..], &good[12..].repeat(100)];
    let chain: Vec<u8> = (0..100u16).flat_map(|hop| (0xc000 | (12 + 2 * hop)).to_be_bytes()).rev().collect();
    vec![
        ("a response", QueryBuilder::new(APEX, rtype::A).flags(0x8000).build(), Nothing),
        ("our own FORMERR sent back", header(1, 0x8001, [0; 4]), Nothing),
        ("a REFUSED sent back", QueryBuilder::new("x.example", rtype::A).flags(0x8005).build(), Nothing),
        ("an empty datagram's worth", vec![0; 5], Nothing),
        ("eleven octets", header(2, 0, [1, 0, 0, 0])[..11].to_vec(), Nothing),
        ("a header alone that promises a question", header(3, 0, [1, 0, 0, 0]), Rcode(&[FORMERR])),
        ("QDCOUNT 0 (RFC 9619)", header(4, 0, [0; 4]), Rcode(&[FORMERR])),
        (
            "QDCOUNT 2 (RFC 9619)",
            [&header(5, 0, [2, 0, 0, 0])[..], &good[12..], &good[12..]].concat(),
            Rcode(&[FORMERR]),
        ),
        ("QDCOUNT 65535", [&header(6, 0, [65535, 0, 0, 0])[..], &good[12..]].concat(), Rcode(&[FORMERR])),
        ("a question cut short", good[..good.len() - 3].to_vec(), Rcode(&[FORMERR])),
        ("a label cut short", good[..16].to_vec(), Rcode(&[FORMERR])),
        ("octets after the message", [&good[..], &[0; 7]].concat(), Rcode(&[FORMERR, NOERROR])),
        ("a pointer to itself", question(&[0xc0, 12]), Rcode(&[FORMERR])),
        ("a pointer forward", question(&[0xc0, 40]), Rcode(&[FORMERR])),
        ("a pointer into the header", question(&[0xc0, 0]), Rcode(&[FORMERR, NOERROR, REFUSED])),
        ("a chain of pointers", question(&chain), Rcode(&[FORMERR])),
        ("a label of type 01", question(b"\x41abc\0"), Rcode(&[FORMERR])),
        ("a label of type 10", question(b"\x81abc\0"), Rcode(&[FORMERR])),
        ("a name of 257 octets", question(&long), Rcode(&[FORMERR])),
        (
            "an answer section in a query",
            [&header(7, 0, [1, 1, 0, 0])[..], &good[12..]].concat(),
            Rcode(&[FORMERR]),
        ),
        ("10,000 questions promised, 100 there", many_questions.concat(), Rcode(&[FORMERR])),
    ]
}

/// OPT records of every wrong kind; none is a reason not to answer (RFC 6891, RFC 8906).
fn edns() -> Vec<Case> {
    let query = || QueryBuilder::new("www.example.test", rtype::A);
    let opt = |udp_size, version, flags, options: &[u8]| {
        opt_record(&Edns { udp_size, version, flags, options: options.to_vec() })
    };
    let with = |count, records: &[u8]| {
        [&header(8, 0, [1, 0, 0, count])[..], &query().build()[12..], records].concat()
    };
    let plain = opt(1232, 0, 0, &[]);
    let owned = [&b"\x01x"[..], &plain].concat();
    vec![
        ("two OPT", with(2, &[plain.clone(), plain.clone()].concat()), Rcode(&[FORMERR])),
        ("an OPT whose owner is not the root", with(1, &owned), Rcode(&[FORMERR])),
        ("an option past the end", with(1, &opt(1232, 0, 0, b"\0\x0a\0\x20abcd")), Rcode(&[FORMERR])),
        ("an option without a header", with(1, &opt(1232, 0, 0, b"\0\x0a\0")), Rcode(&[FORMERR])),
        ("RDLENGTH past the end", with(1, &[&plain[..9], &[0, 9]].concat()), Rcode(&[FORMERR])),
        ("an advertised size of 0", with(1, &opt(0, 0, 0, &[])), Rcode(&[NOERROR])),
        ("an advertised size of 65535", with(1, &opt(65535, 0, 0, &[])), Response(answered_at_1232)),
        ("version 255", with(1, &opt(1232, 255, 0, &[])), Response(bad_version)),
        ("all flags", with(1, &opt(1232, 0, 0xffff, &[])), Response(only_do)),
        (
            "100 unknown options",
            with(1, &opt(1232, 0, 0, &b"\xff\x00\0\x02hi".repeat(100))),
            Response(no_unknown_options),
        ),
        (
            "a malformed client subnet",
            with(1, &opt(1232, 0, 0, b"\0\x08\0\x03\0\x09\xff")),
            Rcode(&[FORMERR, NOERROR]),
        ),
        (
            "a cookie of 7 octets (RFC 7873 §5.2.2)",
            with(1, &opt(1232, 0, 0, b"\0\x0a\0\x071234567")),
            Rcode(&[FORMERR]),
        ),
        (
            "a cookie of 41 octets",
            with(1, &opt(1232, 0, 0, &[&b"\0\x0a\0\x29"[..], &[7; 41]].concat())),
            Rcode(&[FORMERR]),
        ),
        ("a client cookie", with(1, &opt(1232, 0, 0, b"\0\x0a\0\x0812345678")), Response(server_cookie)),
        ("padding", with(1, &opt(1232, 0, 0, &[&b"\0\x0c\0\x40"[..], &[0; 64]].concat())), Rcode(&[NOERROR])),
        (
            "keepalive with a value (RFC 7828 §3.3.2)",
            with(1, &opt(1232, 0, 0, b"\0\x0b\0\x02\0\x01")),
            Rcode(&[FORMERR, NOERROR]),
        ),
        (
            "an A record after the OPT",
            with(2, &[plain.clone(), b"\0\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04".to_vec()].concat()),
            Rcode(&[NOERROR, FORMERR]),
        ),
    ]
}

fn answered_at_1232(message: &Message) -> Result<(), String> {
    let size = message.opt.as_ref().map(|opt| opt.udp_size);
    (message.rcode == NOERROR && size == Some(1232))
        .then_some(())
        .ok_or("RFC 9715: a limit of 1232 is due".into())
}

fn bad_version(message: &Message) -> Result<(), String> {
    let version = message.opt.as_ref().map(|opt| opt.version);
    let fine = message.rcode == BADVERS && version == Some(0) && message.answer.is_empty();
    fine.then_some(())
        .ok_or("RFC 6891 §6.1.3: BADVERS with the highest version known and no answer is due".into())
}

fn only_do(message: &Message) -> Result<(), String> {
    let flags = message.opt.as_ref().map(|opt| opt.flags);
    (flags == Some(0x8000)).then_some(()).ok_or("RFC 6891 §6.1.4: DO alone comes back".into())
}

fn no_unknown_options(message: &Message) -> Result<(), String> {
    let clean = message.opt.as_ref().is_some_and(|opt| opt.option(0xff00).is_none());
    (clean && message.rcode == NOERROR)
        .then_some(())
        .ok_or("RFC 6891 §6.1.2: unknown options are ignored".into())
}

fn server_cookie(message: &Message) -> Result<(), String> {
    let cookie = message.opt.as_ref().and_then(|opt| opt.option(10)).unwrap_or_default();
    let fine = cookie.len() == 24 && cookie.starts_with(b"12345678") && message.rcode == NOERROR;
    fine.then_some(()).ok_or("RFC 9018 §4: the client's cookie and 16 octets of ours are due".into())
}

/// Names, types and classes at the edges.
fn questions() -> Vec<Case> {
    let ask = |name: &str, qtype| QueryBuilder::new(name, qtype).build();
    let class = |class| QueryBuilder { class, ..QueryBuilder::new(APEX, rtype::SOA) }.build();
    let with_do = |name: &str, qtype| QueryBuilder::new(name, qtype).edns(4096, true).build();
    vec![
        ("QTYPE 0", ask(APEX, 0), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED])),
        ("QTYPE 65535", ask(APEX, 65535), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED])),
        ("QTYPE OPT", ask(APEX, rtype::OPT), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED])),
        ("QTYPE TSIG", ask(APEX, rtype::TSIG), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED])),
        ("QTYPE TKEY", ask(APEX, 249), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED])),
        ("QTYPE MAILA", ask(APEX, 254), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED])),
        ("QTYPE AXFR", ask(APEX, rtype::AXFR), Rcode(&[REFUSED, FORMERR, NOTIMP])),
        ("QTYPE IXFR", ask(APEX, rtype::IXFR), Rcode(&[REFUSED, FORMERR, NOTIMP])),
        ("QTYPE ANY (RFC 8482 §4.1)", ask("www.example.test", rtype::ANY), Response(one_rrset)),
        ("QTYPE ANY with DO stays small", with_do(APEX, rtype::ANY), Response(small)),
        ("QTYPE RRSIG stays small", with_do(APEX, rtype::RRSIG), Response(small)),
        ("QTYPE DNSKEY stays small", with_do(APEX, rtype::DNSKEY), Response(small)),
        ("class CH", class(3), Response(refused)),
        ("class ANY", class(255), Response(refused)),
        ("class NONE", class(254), Response(refused)),
        ("the root", ask(".", rtype::NS), Response(refused)),
        ("one label", ask("test", rtype::SOA), Response(refused)),
        ("another zone", ask("www.elsewhere.example", rtype::A), Response(refused)),
        ("an apex inside a longer label", ask("notexample.test", rtype::A), Response(refused)),
        ("an empty non-terminal", ask("below.ent.example.test", rtype::A), Response(nodata)),
        ("the parent of a wildcard", ask("wild.example.test", rtype::A), Response(nodata)),
        ("the asterisk itself", ask("*.wild.example.test", rtype::A), Rcode(&[NOERROR])),
        ("an asterisk in the middle", ask("a.*.wild.example.test", rtype::A), Response(nxdomain)),
        (
            "below a name beside a wildcard (RFC 4592 §2.2.1)",
            ask("a.exact.wild.example.test", rtype::A),
            Response(nxdomain),
        ),
        ("a loop of CNAMEs", ask("loop-a.example.test", rtype::A), Rcode(&[NOERROR])),
        ("DS at the apex", ask(APEX, rtype::DS), Response(nodata)),
    ]
}

fn one_rrset(message: &Message) -> Result<(), String> {
    let first = message.answer.first().map(|record| record.rtype);
    let one = first.is_some() && message.answer.iter().all(|record| Some(record.rtype) == first);
    (one && message.aa).then_some(()).ok_or("one RRset of the name is due in a signed zone".into())
}

fn small(message: &Message) -> Result<(), String> {
    (message.len <= 1232 || message.tc).then_some(()).ok_or(format!("{} octets without TC", message.len))
}

fn refused(message: &Message) -> Result<(), String> {
    let empty = message.answer.is_empty() && message.authority.is_empty();
    (message.rcode == REFUSED && !message.aa && empty).then_some(()).ok_or("REFUSED without AA is due".into())
}

fn nodata(message: &Message) -> Result<(), String> {
    let soa = message.authority.iter().any(|record| record.rtype == rtype::SOA);
    let fine = message.rcode == NOERROR && message.aa && message.answer.is_empty() && soa;
    fine.then_some(()).ok_or("NODATA with the SOA is due (RFC 2308 §2.2)".into())
}

fn nxdomain(message: &Message) -> Result<(), String> {
    let soa = message.authority.iter().any(|record| record.rtype == rtype::SOA);
    (message.rcode == NXDOMAIN && message.aa && soa)
        .then_some(())
        .ok_or("NXDOMAIN with the SOA is due (RFC 2308 §2.1)".into())
}

/// Opcodes other than QUERY, in every class and with every count.
fn opcodes() -> Vec<Case> {
    const ERRORS: &[u16] = &[FORMERR, NOTIMP, REFUSED, NOTAUTH];
    let message = |opcode: u16, class: u16, zones: u16, rest: &[u8], counts: [u16; 2]| {
        let mut question = WireName::new(APEX).0;
        question.extend_from_slice(&[0, 6]);
        question.extend_from_slice(&class.to_be_bytes());
        let head = header(0x2222, opcode << 11, [zones, counts[0], counts[1], 0]);
        [&head[..], &question.repeat(usize::from(zones)), rest].concat()
    };
    // Delete every RRset of a name: class ANY with RDATA, which RFC 2136 §2.5.2 forbids.
    let delete = b"\x03www\xc0\x0c\0\x01\0\xff\0\0\0\0\0\x04\x01\x02\x03\x04";
    vec![
        ("UPDATE in class CH", message(5, 3, 1, &[], [0, 0]), Rcode(ERRORS)),
        ("UPDATE in class NONE", message(5, 254, 1, &[], [0, 0]), Rcode(ERRORS)),
        ("UPDATE in class ANY", message(5, 255, 1, &[], [0, 0]), Rcode(ERRORS)),
        ("UPDATE without a zone", message(5, 1, 0, &[], [0, 0]), Rcode(ERRORS)),
        ("UPDATE of two zones", message(5, 1, 2, &[], [0, 0]), Rcode(ERRORS)),
        ("UPDATE that deletes with RDATA", message(5, 1, 1, delete, [0, 1]), Rcode(ERRORS)),
        ("UPDATE with a prerequisite that is not there", message(5, 1, 1, &[], [1, 0]), Rcode(ERRORS)),
        ("NOTIFY", message(4, 1, 1, &[], [0, 0]), Rcode(ERRORS)),
        ("NOTIFY in class NONE", message(4, 254, 1, &[], [0, 0]), Rcode(ERRORS)),
        ("NOTIFY of two zones", message(4, 1, 2, &[], [0, 0]), Rcode(ERRORS)),
        ("IQUERY", message(1, 1, 1, &[], [0, 0]), Rcode(&[NOTIMP])),
        ("STATUS", message(2, 1, 1, &[], [0, 0]), Rcode(&[NOTIMP])),
        ("opcode 15 with a header alone", header(9, 15 << 11, [0; 4]), Rcode(&[NOTIMP])),
    ]
}

/// TSIG, SIG(0) and their garbage (RFC 8945 §5).
fn tsig() -> Vec<Case> {
    let query = QueryBuilder::new(APEX, rtype::SOA).build();
    let with =
        |count, records: &[u8]| [&header(0x3333, 0, [1, 0, 0, count])[..], &query[12..], records].concat();
    let record = |algorithm: &[u8], mac_length: u16, mac: &[u8]| {
        let mut rdata = algorithm.to_vec();
        rdata.extend_from_slice(&[0, 0, 0x68, 0, 0, 0, 1, 44]);
        rdata.extend_from_slice(&mac_length.to_be_bytes());
        rdata.extend_from_slice(mac);
        rdata.extend_from_slice(&[0x33, 0x33, 0, 0, 0, 0]);
        let mut wire = b"\x03key\0\0\xfa\0\xff\0\0\0\0".to_vec();
        wire.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        wire.extend_from_slice(&rdata);
        wire
    };
    let sha256 = b"\x0bhmac-sha256\0";
    let good = record(sha256, 32, &[7; 32]);
    let address = b"\0\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04";
    let sig0 = [&b"\0\0\x18\0\xff\0\0\0\0\0\x16"[..], &[0; 22]].concat();
    vec![
        ("TSIG by an unknown key", with(1, &good), Response(bad_key)),
        (
            "TSIG by an odd algorithm",
            with(1, &record(b"\x03odd\x09algorithm\0", 4, b"abcd")),
            Response(bad_key),
        ),
        ("TSIG by the root as algorithm", with(1, &record(b"\0", 0, b"")), Rcode(&[NOTAUTH, FORMERR])),
        ("TSIG with an empty MAC", with(1, &record(sha256, 0, b"")), Rcode(&[NOTAUTH, FORMERR])),
        (
            "TSIG with a MAC of 65,535 octets that are not there",
            with(1, &record(sha256, 65535, b"")),
            Rcode(&[FORMERR]),
        ),
        ("TSIG that is not last", with(2, &[&good[..], address].concat()), Rcode(&[FORMERR])),
        ("two TSIG", with(2, &[&good[..], &good].concat()), Rcode(&[FORMERR])),
        ("SIG(0)", with(1, &sig0), Rcode(&[NOERROR, FORMERR, NOTIMP, REFUSED, NOTAUTH])),
    ]
}

fn bad_key(message: &Message) -> Result<(), String> {
    let Some(last) = message.additional.last().filter(|record| record.rtype == rtype::TSIG) else {
        return Err("RFC 8945 §5.2.1: a TSIG record is due".into());
    };
    // Behind the algorithm: time, fudge, MAC size 0, original ID, error 17, other length.
    let rest = &last.rdata[last.name_at(0).0.len()..];
    let fine = message.rcode == NOTAUTH
        && rest[8..10] == [0, 0]
        && rest[12..14] == [0, 17]
        && (last.class, last.ttl) == (255, 0);
    fine.then_some(()).ok_or("RFC 8945 §5.2.1: NOTAUTH with an unsigned BADKEY is due".into())
}

#[test]
fn large_answers_are_cut_by_udp_and_whole_by_tcp() {
    let hale = fixture::signed("large").start();
    let mut client = Client::new(hale.address);
    let mut check = |name: &str, qtype, size, records: usize| {
        let query = QueryBuilder::new(name, qtype).edns(size, true);
        let udp = client.ask(&query, Via::Udp).unwrap();
        assert!(udp.tc && udp.len <= usize::from(size.min(1232)) && udp.opt.is_some(), "{name} {udp:#?}");
        let tcp = client.ask(&query, Via::Tcp).unwrap();
        let count = tcp.answer.iter().chain(&tcp.authority).filter(|record| record.rtype == qtype).count();
        assert!(!tcp.tc && count == records, "{name}: {count} records by TCP");
    };
    check("big.example.test", rtype::TXT, 4096, 100);
    check("big.example.test", rtype::TXT, 512, 100);
    // A referral of 100 name servers with 200 glue records (RFC 9471).
    check("www.many.example.test", rtype::NS, 1232, 100);
}

/// A message of 64 KiB is refused by its counts, before its records are read.
#[test]
fn thousands_of_records_are_refused_by_their_number() {
    let hale = fixture::signed("counts").start();
    let question = &QueryBuilder::new("www.example.test", rtype::A).build()[12..];
    let address = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04";
    for section in 0..3 {
        let mut counts = [1, 0, 0, 0];
        counts[1 + section] = 4000;
        let wire = [&header(0x4444, 0, counts)[..], question, &address.repeat(4000)].concat();
        let mut client = Client::new(hale.address);
        let started = Instant::now();
        for _ in 0..20 {
            let answer = Message::decode(&client.exchange_tcp(&wire).unwrap()).unwrap();
            assert_eq!(answer.rcode, FORMERR, "section {section}");
        }
        assert!(started.elapsed() < Duration::from_secs(2), "20 of them took {:?}", started.elapsed());
    }
}

/// An unsigned zone has nothing to validate, so that ANY gets the HINFO record of RFC 8482 §4.2.
#[test]
fn any_of_an_unsigned_zone_is_hinfo() {
    let hale = fixture::unsigned("any").start();
    let answer =
        Client::new(hale.address).ask(&QueryBuilder::new("www.example.test", rtype::ANY), Via::Udp).unwrap();
    let fine = matches!(&answer.answer[..], [Record { rtype: rtype::HINFO, rdata, .. }] if rdata.starts_with(b"\x07RFC8482"));
    assert!(fine, "{answer:#?}");
}

#[test]
fn the_name_comes_back_in_the_case_it_was_asked() {
    let hale = fixture::signed("case").start();
    let mut client = Client::new(hale.address);
    for name in ["wWw.ExAmPlE.tEsT", "MISSING.example.test", "Any.wIld.EXAMPLE.test", "X.SECURE.example.TEST"]
    {
        for via in [Via::Udp, Via::Tcp] {
            let answer = client.ask(&QueryBuilder::new(name, rtype::A), via).unwrap();
            assert_eq!(answer.questions[0].0, WireName::new(name));
        }
    }
}

#[test]
fn random_octets_never_end_the_server() {
    let mut hale = fixture::signed("noise").start();
    let seed = support::seed("noise");
    let mut random = support::random::Random::new(seed);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let templates: Vec<Vec<u8>> = [malformed(), edns(), questions(), opcodes(), tsig()]
        .into_iter()
        .flatten()
        .map(|(_, wire, _)| wire)
        .collect();
    let started = Instant::now();
    for _ in 0..if support::long() { 200_000 } else { 5_000 } {
        let mut wire = random.pick(&templates).clone();
        for _ in 0..=random.below(4) {
            let at = random.below(wire.len());
            wire[at] = random.next() as u8;
        }
        wire.truncate(1 + random.below(wire.len()).max(random.below(wire.len())));
        // A full send buffer is no finding.
        let _ = socket.send_to(&wire, hale.address);
    }
    eprintln!("sent in {:?}", started.elapsed());
    let answer = Client::new(hale.address).ask(&QueryBuilder::new(APEX, rtype::SOA), Via::Udp);
    assert!(answer.is_ok_and(|answer| answer.aa) && hale.is_alive(), "{}", hale.output());
}
