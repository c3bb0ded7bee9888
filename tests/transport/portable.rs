//! hickory-server's transport gives the same decoded answers as ours, whatever engine stands behind them.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::answer::{Class, Kind, Outcome, Query, Reply, Transport};
use hale::model::rrtype::RrType;
use hale::telemetry::counters::{Counters, Protocol};
use hale::transport::{Engine, Running, bind};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, MX, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::support::*;

/// Answers by the first label, with all that a response can hold.
struct Oracle;

impl Engine for Oracle {
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome {
        let Ok(message) = Message::from_vec(query.bytes) else {
            return Outcome::Drop;
        };
        if message.metadata.message_type == MessageType::Response {
            return Outcome::Drop;
        }
        let response = respond(&message, query.transport).to_vec().unwrap();
        out[..response.len()].copy_from_slice(&response);
        let rcode = u16::from(Message::from_vec(&response).unwrap().metadata.response_code);
        let class = Class { rcode, qtype: RrType::A, zone: None, kind: Kind::Positive, truncated: false };
        Outcome::Reply(Reply { len: response.len(), class })
    }
}

fn respond(query: &Message, transport: Transport) -> Message {
    let mut response = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.checking_disabled = query.metadata.checking_disabled;
    response.metadata.authoritative = true;
    response.queries.clone_from(&query.queries);
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1232).set_dnssec_ok(asked.flags().dnssec_ok);
        edns.options_mut().insert(EdnsOption::Unknown(15, b"\x00\x16down".to_vec()));
        edns.options_mut()
            .insert(EdnsOption::NSID(hickory_proto::rr::rdata::opt::NSIDPayload::new("fra-1").unwrap()));
        response.edns = Some(edns);
    }
    let Some(question) = query.queries.first() else {
        response.metadata.response_code = ResponseCode::FormErr;
        return response;
    };
    let owner = question.name().clone();
    let zone: Name = "example.test.".parse().unwrap();
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 5);
    let record = |data| Record::from_rdata(owner.clone(), 300, data);
    match owner.iter().next().unwrap_or_default() {
        b"nx" => {
            response.metadata.response_code = ResponseCode::NXDomain;
            response.authorities.push(Record::from_rdata(zone, 60, RData::SOA(soa)));
        }
        b"badcookie" => response.metadata.response_code = ResponseCode::BADCOOKIE,
        b"many" => response.answers.extend((0..28).map(|i| record(RData::A(A::new(192, 0, 2, i))))),
        b"large" if transport == Transport::Udp => response.metadata.truncation = true,
        b"large" => {
            response.answers.extend((0..200).map(|i| record(RData::TXT(TXT::new(vec![format!("{i:0200}")])))))
        }
        b"unknown" => {
            let rdata = NULL::with(vec![1, 2, 3]);
            response.answers.push(record(RData::Unknown { code: RecordType::Unknown(65400), rdata }));
        }
        _ => {
            response.answers.push(record(RData::MX(MX::new(10, "Mail.Example.test.".parse().unwrap()))));
            let mail = "mail.example.test.".parse().unwrap();
            response.additionals.push(Record::from_rdata(mail, 300, RData::A(A::new(192, 0, 2, 1))));
        }
    }
    response
}

fn start(portable: bool) -> (SocketAddr, Arc<Counters>, Running) {
    let bound = bind(&listen(&["127.0.0.1:0"]), 2, limits(), portable).unwrap();
    let (address, counters) = (bound.addresses()[0], Arc::new(Counters::new()));
    (address, Arc::clone(&counters), bound.start(|_| Oracle, counters).unwrap())
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for name in ["www", "WwW", "nx", "badcookie", "many", "large", "unknown", "", "a.b.c"] {
        for edns in [None, Some(false), Some(true)] {
            for opcode in [OpCode::Query, OpCode::Notify, OpCode::Status] {
                let mut message = Message::new(corpus.len() as u16, MessageType::Query, opcode);
                message.metadata.recursion_desired = opcode == OpCode::Query;
                message.metadata.checking_disabled = edns == Some(true);
                let mut name =
                    Name::from_ascii(format!("{name}.Example.test.").trim_start_matches('.')).unwrap();
                name.set_fqdn(true);
                message.queries.push(Question::query(name, RecordType::MX));
                message.edns = edns.map(|dnssec_ok| {
                    let mut edns = Edns::new();
                    edns.set_max_payload(4096).set_dnssec_ok(dnssec_ok);
                    edns
                });
                corpus.push(message.to_vec().unwrap());
            }
        }
    }
    corpus.push(Message::new(77, MessageType::Query, OpCode::Query).to_vec().unwrap());
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
    let start = Instant::now();
    running.stop();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn responses_are_not_answered() {
    for portable in [false, true] {
        let (server, _, _running) = start(portable);
        let mut reply = Message::new(1, MessageType::Response, OpCode::Query);
        reply.queries.push(Question::query("example.test.".parse().unwrap(), RecordType::A));
        let client = udp_client(server);
        client.send(&reply.to_vec().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(client.recv(&mut [0; 512]).is_err(), "portable: {portable}");
    }
}
