//! UDP and TCP clients with bounded waits.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::wire::{Message, QueryBuilder, rtype};

/// How long a client waits for an answer. Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How a query is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
}

/// A client of one server: a connected UDP socket and, once it is needed, a TCP connection that stays open.
pub struct Client {
    server: SocketAddr,
    udp: UdpSocket,
    tcp: Option<TcpStream>,
    next_id: u16,
}

impl Client {
    /// A client of `server`.
    pub fn new(server: SocketAddr) -> Client {
        let udp = UdpSocket::bind(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
        udp.connect(server).unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { server, udp, tcp: None, next_id: 1 }
    }

    /// Sends a query under a fresh ID and decodes the answer; checks that it is an answer to this query.
    pub fn ask(&mut self, query: &QueryBuilder, via: Via) -> Result<Message, String> {
        self.next_id = self.next_id.wrapping_add(1);
        let query = QueryBuilder { id: self.next_id, ..query.clone() };
        let wire = query.build();
        let bytes = match via {
            Via::Udp => self.exchange_udp(&wire),
            Via::Tcp => self.exchange_tcp(&wire),
        }?;
        let message =
            Message::decode(&bytes).map_err(|error| format!("malformed answer: {error}: {bytes:02x?}"))?;
        if !message.qr || message.id != query.id {
            return Err(format!("not an answer to the query: {message:?}"));
        }
        Ok(message)
    }

    /// Sends bytes by UDP and waits for the answer with the same ID.
    pub fn exchange_udp(&mut self, wire: &[u8]) -> Result<Vec<u8>, String> {
        self.udp.send(wire).map_err(|error| format!("send to {}: {error}", self.server))?;
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 65536];
        while Instant::now() < deadline {
            let length = self
                .udp
                .recv(&mut buffer)
                .map_err(|error| format!("no answer from {}: {error}", self.server))?;
            if length >= 2 && buffer[..2] == wire[..2] {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
        Err(format!("no answer from {}", self.server))
    }

    /// Sends a message by TCP, on the open connection or on a new one if the server has closed it meanwhile.
    pub fn exchange_tcp(&mut self, wire: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(stream) = &mut self.tcp
            && let Ok(answer) = send_framed(stream, wire).and_then(|()| read_framed(stream))
        {
            return Ok(answer);
        }
        let mut stream = connect(self.server)?;
        let answer = send_framed(&mut stream, wire).and_then(|()| read_framed(&mut stream));
        self.tcp = Some(stream);
        answer.map_err(|error| format!("TCP to {}: {error}", self.server))
    }

    /// Whether nothing comes back within `wait` (for messages that must not be answered).
    pub fn is_silent_after(&mut self, wire: &[u8], wait: Duration) -> bool {
        self.udp.send(wire).unwrap();
        self.udp.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 512];
        let silent = self.udp.recv(&mut buffer).is_err();
        self.udp.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}

/// A TCP connection with bounded reads and writes.
pub fn connect(server: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)
        .map_err(|error| format!("connect to {server}: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Ok(stream)
}

/// Writes a message with its length in one write (RFC 7766 §8).
pub fn send_framed(stream: &mut TcpStream, wire: &[u8]) -> std::io::Result<()> {
    let mut framed = u16::try_from(wire.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(wire);
    stream.write_all(&framed)
}

/// Reads one message.
pub fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// All records of a zone by AXFR (RFC 5936), the SOA once.
pub fn transfer(server: SocketAddr, apex: &str) -> Result<Vec<super::wire::Record>, String> {
    let mut stream = connect(server)?;
    send_framed(&mut stream, &QueryBuilder::new(apex, rtype::AXFR).build())
        .map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    loop {
        let bytes =
            read_framed(&mut stream).map_err(|error| format!("AXFR {apex} from {server}: {error}"))?;
        let message = Message::decode(&bytes)?;
        if message.rcode != 0 {
            return Err(format!("AXFR {apex} from {server}: rcode {}", message.rcode));
        }
        for record in message.answer {
            if record.rtype == rtype::SOA && !records.is_empty() {
                return Ok(records);
            }
            records.push(record);
        }
    }
}
