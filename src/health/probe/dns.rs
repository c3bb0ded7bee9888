//! The DNS check: a query is answered with the wanted response code and records.
//!
//! The few octets of a query and a response are written and read here: a library's message would refuse responses for records that the
//! check does not ask about.

use std::net::{SocketAddr, UdpSocket as StdUdpSocket};

use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::{Outcome, after_sending, before_sending, tcp};
use crate::model::check::DnsCheck;
use crate::model::rdata;

/// The longest response over UDP; without EDNS a server sends 512 octets at most.
const UDP_LIMIT: usize = 4096;
/// So many datagrams from the server's own address may answer something else.
const STRAY_LIMIT: usize = 64;
/// Compression pointers followed within one name.
const JUMPS: usize = 32;

/// Asks once; over TCP where the check says so, or where the response over UDP is truncated.
pub(super) async fn probe(address: SocketAddr, check: &DnsCheck) -> Outcome {
    match exchange(address, check).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn exchange(address: SocketAddr, check: &DnsCheck) -> Result<Outcome, Outcome> {
    let query = Query::new(check).map_err(|e| Outcome::LocalError(e.into()))?;
    if !check.tcp {
        let response = over_udp(address, &query).await?;
        // RFC 7766 §5: a truncated response is asked for again over TCP. What the response code alone decides is decided.
        if check.answer.is_empty() || !is_truncated(&response) {
            return Ok(query.judge(&response, check));
        }
    }
    let response = over_tcp(address, &query).await?;
    if !query.is_answered_by(&response) {
        return Ok(Outcome::Failure("the response answers something else".into()));
    }
    Ok(query.judge(&response, check))
}

async fn over_udp(address: SocketAddr, query: &Query) -> Result<Vec<u8>, Outcome> {
    let socket = connected(address).map_err(|e| before_sending(&e))?;
    socket.send(&query.octets).await.map_err(|e| before_sending(&e))?;
    let mut buffer = vec![0; UDP_LIMIT];
    for _ in 0..STRAY_LIMIT {
        let length = socket.recv(&mut buffer).await.map_err(|e| after_sending(&e))?;
        if query.is_answered_by(&buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
    Err(Outcome::Failure(format!("{STRAY_LIMIT} responses to something else").into()))
}

/// A connected socket: only then does the kernel tell of a port that nobody listens on.
fn connected(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&address.into())?;
    UdpSocket::from_std(StdUdpSocket::from(socket))
}

async fn over_tcp(address: SocketAddr, query: &Query) -> Result<Vec<u8>, Outcome> {
    let mut stream = tcp::connect(address).await?;
    let length = (query.octets.len() as u16).to_be_bytes();
    let framed = [&length, &query.octets[..]].concat();
    stream.write_all(&framed).await.map_err(|e| after_sending(&e))?;
    let cut = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Outcome::Failure("closed before the response was complete".into())
        }
        _ => after_sending(&e),
    };
    let length = stream.read_u16().await.map_err(cut)?;
    let mut response = vec![0; usize::from(length)];
    stream.read_exact(&mut response).await.map_err(cut)?;
    Ok(response)
}

fn is_truncated(response: &[u8]) -> bool {
    response.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// A query in wire form (RFC 1035 §4.1).
struct Query {
    octets: Vec<u8>,
}

impl Query {
    fn new(check: &DnsCheck) -> Result<Self, &'static str> {
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).map_err(|_| "the system gives no random numbers")?;
        let mut octets = Vec::with_capacity(16 + check.name.wire().len());
        octets.extend(id);
        octets.extend([u8::from(check.recursion), 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend(check.name.wire());
        octets.extend(check.rtype.0.to_be_bytes());
        octets.extend([0, 1]);
        Ok(Self { octets })
    }

    /// Whether octets are a response to this query: its id, its question, opcode QUERY.
    fn is_answered_by(&self, response: &[u8]) -> bool {
        let (Some(flags), Some(counts)) = (response.get(2), response.get(4..6)) else { return false };
        // An error such as FORMERR may come without the question (RFC 1035 says nothing of it, and servers do it).
        let is_bare_error = response.len() == 12 && counts == [0, 0] && response[3] & 0x0f != 0;
        let question = &self.octets[12..];
        response[..2] == self.octets[..2]
            && flags & 0xf8 == 0x80
            && (is_bare_error
                || (counts == [0, 1]
                    && response.get(12..self.octets.len()).is_some_and(|q| q.eq_ignore_ascii_case(question))))
    }

    fn judge(&self, response: &[u8], check: &DnsCheck) -> Outcome {
        let rcode = u16::from(response.get(3).copied().unwrap_or(0) & 0x0f);
        if rcode != check.rcode {
            return Outcome::Failure(rcode_text(rcode).into());
        }
        if check.answer.is_empty() {
            return Outcome::Success;
        }
        let Some(records) = answers(response, self.octets.len(), check.rtype.0) else {
            return Outcome::Failure("the response is malformed".into());
        };
        for wanted in &check.answer {
            if !records.iter().any(|&(start, end)| is_same(response, (start, end), check, wanted)) {
                let text = rdata::to_text(check.rtype, wanted);
                return Outcome::Failure(format!("{text} is not in the answer").into());
            }
        }
        Outcome::Success
    }
}

fn rcode_text(rcode: u16) -> String {
    let name = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH",
        other => return format!("response code {other}"),
    };
    format!("response code {name}")
}

/// Where the RDATA of each record of a type in the answer section begins and ends; nothing for a malformed section.
fn answers(message: &[u8], behind_question: usize, rtype: u16) -> Option<Vec<(usize, usize)>> {
    let word = |at: usize| message.get(at..at + 2).map(|o| u16::from_be_bytes([o[0], o[1]]));
    let count = word(6)?;
    let mut at = behind_question;
    let mut found = Vec::new();
    for _ in 0..count {
        at = skip_name(message, at)?;
        let (record_type, class, length) = (word(at)?, word(at + 2)?, usize::from(word(at + 8)?));
        let start = at + 10;
        at = start + length;
        if at > message.len() {
            return None;
        }
        if record_type == rtype && class == 1 {
            found.push((start, at));
        }
    }
    Some(found)
}

/// Behind the name at an offset.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length if length < 0x40 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// Whether RDATA in a message is `wanted`, which is in canonical form. Names may be compressed and in any case.
fn is_same(message: &[u8], (start, end): (usize, usize), check: &DnsCheck, wanted: &[u8]) -> bool {
    let (mut at, mut compared) = (start, 0);
    for name in rdata::names(check.rtype, wanted) {
        let literal = &wanted[compared..name.offset];
        if message.get(at..at + literal.len()) != Some(literal) {
            return false;
        }
        at += literal.len();
        let Some(found) = read_name(message, at) else { return false };
        if !found.eq_ignore_ascii_case(&wanted[name.offset..name.offset + name.len]) {
            return false;
        }
        let Some(behind) = skip_name(message, at) else { return false };
        at = behind;
        compared = name.offset + name.len;
    }
    at <= end && message[at..end] == wanted[compared..]
}

/// The uncompressed name at an offset.
fn read_name(message: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let (mut name, mut jumps) = (Vec::new(), 0);
    loop {
        match *message.get(at)? {
            pointer if pointer >= 0xc0 => {
                jumps += 1;
                at = usize::from(pointer & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            }
            length if length < 0x40 => {
                let behind = at + 1 + usize::from(length);
                name.extend(message.get(at..behind)?);
                at = behind;
                if length == 0 {
                    return Some(name);
                }
            }
            _ => return None,
        }
        if jumps > JUMPS || name.len() > 255 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::name::Name;
    use crate::model::rrtype::RrType;

    fn dns(rtype: RrType, rcode: u16, answer: &[&str]) -> DnsCheck {
        let parse = |text: &&str| rdata::parse(rtype, text, &Name::root()).unwrap();
        DnsCheck {
            name: Name::parse_absolute("www.example.test").unwrap(),
            rtype,
            rcode,
            answer: answer.iter().map(parse).collect(),
            tcp: false,
            recursion: true,
        }
    }

    /// A response to `query` with flags, an answer section of its own, and how many records that holds.
    fn response(query: &Query, flags: [u8; 2], count: u8, answer: &[u8]) -> Vec<u8> {
        let mut octets = query.octets.clone();
        octets[2..4].copy_from_slice(&flags);
        octets[7] = count;
        octets[12..].make_ascii_uppercase();
        octets.extend(answer);
        octets
    }

    #[track_caller]
    fn check(check: &DnsCheck, flags: [u8; 2], count: u8, answer: &[u8], reason: &str) {
        let query = Query::new(check).unwrap();
        let response = response(&query, flags, count, answer);
        assert!(query.is_answered_by(&response));
        match query.judge(&response, check) {
            Outcome::Success => assert_eq!(reason, ""),
            Outcome::Failure(found) => assert!(!reason.is_empty() && found.contains(reason), "{found}"),
            other => panic!("{other:?}"),
        }
        for cut in 0..response.len() {
            let _ = query.judge(&response[..cut], check);
        }
    }

    #[test]
    fn codes_and_records_decide() {
        const OK: [u8; 2] = [0x81, 0x80];
        let a = dns(RrType::A, 0, &["192.0.2.1"]);
        let record =
            |last: u8| [b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02".as_slice(), &[last]].concat();
        check(&dns(RrType::A, 0, &[]), OK, 0, b"", "");
        check(&dns(RrType::A, 0, &[]), [0x81, 0x83], 0, b"", "NXDOMAIN");
        check(&dns(RrType::A, 3, &[]), [0x81, 0x83], 0, b"", "");
        check(&dns(RrType::A, 0, &[]), [0x81, 0x8b], 0, b"", "response code 11");
        check(&a, OK, 1, &record(1), "");
        check(&a, OK, 2, &[record(2), record(1)].concat(), "");
        check(&a, OK, 1, &record(2), "192.0.2.1 is not in the answer");
        check(&dns(RrType::A, 0, &["192.0.2.1", "192.0.2.2"]), OK, 1, &record(1), "192.0.2.2 is not");
        check(&a, OK, 2, &record(1), "malformed");
        // "10 MAIL" and a pointer to example.test within the question.
        let mx = dns(RrType::MX, 0, &["10 mail.example.test."]);
        check(&mx, OK, 1, b"\xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x09\0\x0a\x04MAIL\xc0\x10", "");
        check(
            &mx,
            OK,
            1,
            b"\xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x09\0\x0b\x04MAIL\xc0\x10",
            "is not in the answer",
        );
        // A name that points to itself.
        check(&mx, OK, 1, b"\xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x04\0\x0a\xc0\x2c", "is not in the answer");
        check(&dns(RrType::TXT, 0, &["\"v=1\""]), OK, 1, b"\0\0\x10\0\x01\0\0\0\x05\0\x04\x03v=1", "");
    }

    #[test]
    fn only_the_query_is_answered() {
        let query = Query::new(&dns(RrType::A, 0, &[])).unwrap();
        let good = response(&query, [0x81, 0x80], 0, b"");
        let changed = |at: usize| {
            let mut octets = good.clone();
            octets[at] ^= 1;
            octets
        };
        assert!(query.is_answered_by(&good) && query.is_answered_by(&changed(3)));
        for at in [0, 1, 5, 13, good.len() - 3] {
            assert!(!query.is_answered_by(&changed(at)), "octet {at}");
        }
        assert!(!query.is_answered_by(&query.octets) && !query.is_answered_by(&good[..good.len() - 1]));
        let mut bare = good[..12].to_vec();
        bare[5] = 0;
        assert!(!query.is_answered_by(&bare));
        bare[3] |= 1;
        assert!(query.is_answered_by(&bare), "FORMERR without the question");
    }

    #[tokio::test]
    async fn a_truncated_response_is_asked_for_again_over_tcp() {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let Ok(tcp) = tokio::net::TcpListener::bind(address).await else { return };
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let query = Query { octets: buffer[..length].to_vec() };
                // A stray datagram goes before.
                let _ = udp.send_to(b"stray", from).await;
                let _ = udp.send_to(&response(&query, [0x83, 0x80], 0, b""), from).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut octets = vec![0; length.into()];
                stream.read_exact(&mut octets).await.unwrap();
                let answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x01";
                let response = response(&Query { octets }, [0x81, 0x80], 1, answer);
                stream.write_u16(response.len() as u16).await.unwrap();
                stream.write_all(&response).await.unwrap();
            }
        });
        for (answer, wanted) in
            [(&[][..], None), (&["192.0.2.1"][..], None), (&["192.0.2.9"][..], Some("192.0.2.9"))]
        {
            let probe = probe(address, &dns(RrType::A, 0, answer)).await;
            let probe = tokio::time::timeout(Duration::from_secs(10), async { probe }).await.unwrap();
            match (probe, wanted) {
                (Outcome::Success, None) => {}
                (Outcome::Failure(reason), Some(wanted)) => assert!(reason.contains(wanted), "{reason}"),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_port_without_a_server_is_down() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let outcome = probe(address, &dns(RrType::A, 0, &[])).await;
        assert_eq!(outcome, Outcome::Failure("connection refused".into()));
    }
}
