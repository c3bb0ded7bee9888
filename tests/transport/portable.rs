//! The portable transport gives the same decoded answers as ours.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::answer::{Outcome, Query, Scratch, Settings, answer};
use hale::model::hash::HashKey;
use hale::model::name::Name as ZoneName;
use hale::model::rdata;
use hale::model::rrset::{RdataSet, Rrset};
use hale::model::rrtype::RrType;
use hale::snapshot::handle::{Published, Reader};
use hale::snapshot::image::{Note, OwnerRecords, ServedRrset};
use hale::snapshot::{Snapshot, ZoneDraft};
use hale::telemetry::counters::{Counters, Protocol};
use hale::transport::{Engine, Running, bind};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RecordType};

use crate::support::*;

/// A zone with what answers can hold: hits, a CNAME out of and into the zone, a wildcard, a delegation with glue, an RRset
/// too large for UDP, and a type that nobody knows.
fn zone() -> Vec<(&'static str, &'static str, Vec<String>)> {
    let one = |text: &str| vec![text.to_owned()];
    vec![
        ("", "SOA", one("ns1 hostmaster 1 3600 600 86400 60")),
        ("", "NS", one("ns1")),
        ("", "MX", one("10 mail")),
        ("ns1", "A", one("192.0.2.1")),
        ("mail", "AAAA", one("2001:db8::1")),
        ("www", "A", (1..=3).map(|i| format!("192.0.2.{i}")).collect()),
        ("alias", "CNAME", one("www")),
        ("away", "CNAME", one("www.example.org.")),
        ("*.wild", "TXT", one("\"hello\"")),
        ("below", "NS", one("ns.below")),
        ("ns.below", "A", one("192.0.2.53")),
        ("large", "TXT", (0..100).map(|i| format!("\"{i:0100}\"")).collect()),
        ("odd", "TYPE65400", one("\\# 3 010203")),
        ("dn", "DNAME", one("www")),
    ]
}

fn published() -> Arc<Published> {
    let apex = ZoneName::parse_absolute("example.test").unwrap();
    let mut owners: BTreeMap<ZoneName, Vec<ServedRrset>> = BTreeMap::new();
    for (owner, rtype, data) in zone() {
        let name =
            if owner.is_empty() { apex.clone() } else { ZoneName::parse_relative_to(owner, &apex).unwrap() };
        let rtype: RrType = rtype.parse().unwrap();
        let rdata = RdataSet::new(data.iter().map(|text| rdata::parse(rtype, text, &apex).unwrap()));
        let rrset = Rrset { rtype, ttl: 300, rdata };
        let served = ServedRrset { rrset, signatures: RdataSet::default(), rotate: false, note: Note::None };
        owners.entry(name).or_default().push(served);
    }
    let key = HashKey::new([1, 2]);
    let mut draft = ZoneDraft::new(apex, key);
    for (name, rrsets) in owners {
        draft
            .put(&OwnerRecords {
                name,
                rrsets,
                choices: Vec::new(),
                pending: Vec::new(),
                withheld: Vec::new(),
            })
            .unwrap();
    }
    Published::new(Snapshot::empty(key).with_zone(Arc::new(draft.finish().unwrap())))
}

/// The answer engine over a published snapshot.
struct Answering(Reader, Scratch);

impl Engine for Answering {
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome {
        answer(self.0.current(), &mut self.1, query, out)
    }
}

fn start(portable: bool) -> (SocketAddr, Arc<Counters>, Running) {
    let bound = bind(&listen(&["127.0.0.1:0"]), 2, limits(), portable).unwrap();
    let (address, counters, published) = (bound.addresses()[0], Arc::new(Counters::new()), published());
    let settings = Arc::new(Settings {
        nsid: Some(b"fra-1".to_vec()),
        tcp_keepalive_100ms: Some(300),
        ..Settings::default()
    });
    let engine = move |_| Answering(published.reader(), Scratch::new(Arc::clone(&settings)));
    (address, Arc::clone(&counters), bound.start(engine, counters).unwrap())
}

/// Every EDNS form that changes a response.
fn edns_forms() -> Vec<Option<Edns>> {
    let form = |payload, version, dnssec_ok, option: Option<EdnsOption>| {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_version(version).set_dnssec_ok(dnssec_ok);
        option.into_iter().for_each(|o| edns.options_mut().insert(o));
        Some(edns)
    };
    let nsid = EdnsOption::Unknown(3, vec![]);
    let keepalive = EdnsOption::Unknown(11, vec![]);
    vec![
        None,
        form(512, 0, false, None),
        form(4096, 0, true, None),
        form(1232, 1, false, None),
        form(1232, 0, false, Some(nsid)),
        form(1232, 0, false, Some(keepalive)),
    ]
}

fn corpus() -> Vec<Vec<u8>> {
    let names = [
        "",
        "www",
        "WwW",
        "alias",
        "away",
        "a.wild",
        "nothing",
        "below",
        "x.y.below",
        "large",
        "odd",
        "mail",
        "x.dn",
        "dn",
    ];
    let mut corpus = Vec::new();
    for name in names {
        for edns in edns_forms() {
            for (qtype, class, opcode) in [
                (RecordType::A, DNSClass::IN, OpCode::Query),
                (RecordType::TXT, DNSClass::IN, OpCode::Query),
                (RecordType::MX, DNSClass::IN, OpCode::Query),
                (RecordType::ANY, DNSClass::IN, OpCode::Query),
                (RecordType::Unknown(65400), DNSClass::IN, OpCode::Query),
                (RecordType::A, DNSClass::CH, OpCode::Query),
                (RecordType::SOA, DNSClass::IN, OpCode::Notify),
            ] {
                let mut message = Message::new(corpus.len() as u16, MessageType::Query, opcode);
                message.metadata.recursion_desired = name != "www";
                message.metadata.checking_disabled = name == "mail";
                let name = format!("{name}.Example.test.");
                let mut question =
                    Question::query(Name::from_ascii(name.trim_start_matches('.')).unwrap(), qtype);
                question.set_query_class(class);
                message.queries.push(question);
                message.edns.clone_from(&edns);
                corpus.push(message.to_vec().unwrap());
            }
        }
    }
    corpus
}

fn udp_response(server: SocketAddr, query: &[u8]) -> Message {
    let client = udp_client(server);
    client.send(query).unwrap();
    let mut response = vec![0; 65_535];
    let n = client.recv(&mut response).unwrap();
    Message::from_vec(&response[..n]).unwrap()
}

fn tcp_response(server: SocketAddr, query: &[u8]) -> Message {
    let mut client = tcp_client(server);
    client.write_all(&framed(query)).unwrap();
    Message::from_vec(&read_message(&mut client).unwrap()).unwrap()
}

#[test]
fn the_same_answers_as_ours() {
    let (ours, _, _running) = start(false);
    let (portable, counters, running) = start(true);
    let corpus = corpus();
    for query in &corpus {
        let asked = Message::from_vec(query).unwrap();
        let expected = udp_response(ours, query);
        assert_eq!(expected.metadata.id, asked.metadata.id);
        assert_eq!(udp_response(portable, query), expected, "{asked:?}");
        assert_eq!(tcp_response(portable, query), tcp_response(ours, query), "{asked:?}");
    }
    let totals = counters.totals();
    assert_eq!(totals.queries(Protocol::Udp) + totals.queries(Protocol::Tcp), 2 * corpus.len() as u64);
    assert!(totals.rcode(3) > 0 && totals.rcode(16) > 0 && totals.rcode(5) > 0);
    let start = Instant::now();
    running.stop();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

/// What hickory cannot parse it answers itself on TCP: the same RCODE, without question and OPT.
#[test]
fn malformed_queries_get_the_same_rcode() {
    let (ours, _, _running) = start(false);
    let (portable, _, _running_too) = start(true);
    let header = |qdcount: u8| vec![0, 9, 0, 0, 0, qdcount, 0, 0, 0, 0, 0, 0];
    let malformed = [
        [header(1), vec![0x40, 0, 0, 1, 0, 1]].concat(),
        [header(1), vec![0xc0, 12, 0, 1, 0, 1]].concat(),
        [header(1), vec![3, b'w']].concat(),
        header(1),
    ];
    for query in malformed {
        let (expected, got) = (udp_response(ours, &query), udp_response(portable, &query));
        assert_eq!(expected.metadata.response_code, ResponseCode::FormErr, "{query:?}");
        assert_eq!(got, expected, "{query:?}");
        let got = tcp_response(portable, &query);
        assert_eq!(got.metadata.response_code, ResponseCode::FormErr, "{query:?}");
    }
}

#[test]
fn responses_are_not_answered() {
    for portable in [false, true] {
        let (server, _, _running) = start(portable);
        let mut reply = Message::new(1, MessageType::Response, OpCode::Query);
        reply.queries.push(Question::query("example.test.".parse().unwrap(), RecordType::A));
        let whole = reply.to_vec().unwrap();
        let client = udp_client(server);
        // What answers malformed ones can be set upon another that does (CVE-2024-2169).
        for end in 0..=whole.len() {
            client.send(&whole[..end]).unwrap();
        }
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(client.recv(&mut [0; 512]).is_err(), "portable: {portable}");
    }
}
