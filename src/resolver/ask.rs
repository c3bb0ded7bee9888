//! One question to a recursive resolver: over UDP, and over TCP where the answer is truncated (RFC 1035 §4.2, RFC 7766 §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::target::Reply;
use crate::model::name::Name;
use crate::model::rrtype::RrType;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Octets of a response that are asked for over UDP: what every path carries without fragments (RFC 9715).
const UDP_OCTETS: u16 = 1232;

/// A query with this number, recursion desired and EDNS (RFC 6891).
pub(super) fn query(id: u16, name: &Name, rtype: RrType) -> Vec<u8> {
    let mut octets = Vec::with_capacity(12 + name.wire().len() + 4 + 11);
    octets.extend_from_slice(&id.to_be_bytes());
    octets.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    octets.extend_from_slice(name.wire());
    octets.extend_from_slice(&rtype.0.to_be_bytes());
    octets.extend_from_slice(&[0, 1]);
    octets.extend_from_slice(&[0, 0, 41]);
    octets.extend_from_slice(&UDP_OCTETS.to_be_bytes());
    octets.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    octets
}

/// Sends a query and waits for its response.
///
/// # Errors
/// In words: a timeout, or what the network says.
pub(super) async fn ask(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, String> {
    let asked = timeout(PATIENCE, async {
        let response = by_udp(server, query).await?;
        // TC: the answer is longer than it could be sent.
        let is_truncated = response.get(2).is_some_and(|flags| flags & 0x02 != 0);
        if is_truncated { by_tcp(server, query).await } else { Ok(response) }
    });
    match asked.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(e)) => Err(format!("{server}: {e}")),
        Err(_) => Err(format!("{server}: no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn by_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket of its own for each query: a port that cannot be guessed (RFC 5452 §9.2).
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; usize::from(UDP_OCTETS)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_response(&buffer[..length], query) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let mut response = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut response).await?;
    match is_response(&response, query) {
        true => Ok(response),
        false => Err(std::io::Error::other("a response to another query")),
    }
}

/// Whether a message is the response to a query: its number, the response bit and the question (RFC 5452 §9.1).
fn is_response(message: &[u8], query: &[u8]) -> bool {
    // Header, question and OPT record: the last has 11 octets.
    let question = 12..query.len() - 11;
    message.get(..2) == query.get(..2)
        && message.get(2).is_some_and(|flags| flags & 0x80 != 0)
        && message.get(4..6) == Some(&[0, 1])
        && message.get(question.clone()).is_some_and(|asked| asked.eq_ignore_ascii_case(&query[question]))
}

/// What a response says of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// All that is to be known.
    Reply(Reply),
    /// The name is an alias of another one, of which the response says nothing; seconds that this holds.
    Alias(Name, u32),
}

/// Reads the response to a query for the addresses of `name`.
pub(super) fn read(message: &[u8], name: &Name, rtype: RrType) -> Said {
    let failed = |why: String| Said::Reply(Reply::Failed(why));
    let message = match Message::from_vec(message) {
        Ok(message) => message,
        Err(e) => return failed(format!("a malformed response: {e}")),
    };
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return failed(format!("{name}: {code}"));
    }
    let (mut at, mut ttl) = (name.clone(), u32::MAX);
    // As many steps as there are records: an alias stands in the answer once.
    for _ in 0..=message.answers.len() {
        let of_name = |record: &&Record| own_name(&record.name).as_ref() == Some(&at);
        let here: Vec<&Record> = message.answers.iter().filter(of_name).collect();
        let found: Vec<IpAddr> = here.iter().filter_map(|record| address(record, rtype)).collect();
        if !found.is_empty() {
            let least = here.iter().filter(|r| address(r, rtype).is_some()).map(|r| r.ttl).min();
            return Said::Reply(Reply::Addresses(found, ttl.min(least.unwrap_or(0))));
        }
        let alias = here.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((own_name(&target.0)?, record.ttl)),
            _ => None,
        });
        let Some((target, holds)) = alias else { break };
        (at, ttl) = (target, ttl.min(holds));
    }
    let has_soa = message.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
    // RFC 2308 §2: a denial has the SOA record. An alias without that leads where this server does not know of.
    if at != *name && !has_soa && code == ResponseCode::NoError {
        return Said::Alias(at, ttl);
    }
    Said::Reply(Reply::Denied)
}

fn address(record: &Record, rtype: RrType) -> Option<IpAddr> {
    match (&record.data, rtype) {
        (RData::A(a), RrType::A) => Some(IpAddr::V4(a.0)),
        (RData::AAAA(aaaa), RrType::AAAA) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

/// A name of a message as ours; `None` would be a defect, since both are made by the same rules.
pub(crate) fn own_name(name: &hickory_proto::rr::Name) -> Option<Name> {
    let mut wire = Vec::new();
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    Name::from_wire(&wire).ok()
}
