use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::answer::{Class, Kind, Outcome, Query, Reply};
use hale::config::{ListenAddress, TcpLimits};
use hale::model::rrtype::RrType;
use hale::telemetry::counters::{Counters, Totals};
use hale::transport::{BindError, Bound, Engine, Limits, Running, bind};
use socket2::{Domain, Socket, Type};

pub const PATIENCE: Duration = Duration::from_secs(5);

/// Answers with the query itself and QR set. NSCOUNT says how many octets the response is padded to, and ARCOUNT 0xdead
/// makes it panic.
pub struct Echo;

impl Engine for Echo {
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome {
        if query.bytes.len() < 12 || query.bytes[2] & 0x80 != 0 {
            return Outcome::Drop;
        }
        assert_ne!(query.bytes[10..12], [0xde, 0xad], "asked to panic");
        let wanted = usize::from(u16::from_be_bytes([query.bytes[8], query.bytes[9]]));
        let len = query.bytes.len().max(wanted);
        out[..query.bytes.len()].copy_from_slice(query.bytes);
        out[query.bytes.len()..len].fill(0);
        out[2] |= 0x80;
        let class = Class {
            rcode: 0,
            qtype: RrType::A,
            zone: None,
            kind: Kind::Positive,
            truncated: false,
            name_hash: 0,
            has_cookie: false,
        };
        Outcome::Reply(Reply { len, opt_len: 0, class })
    }
}

/// A query of 40 octets whose response has at least `wanted`.
pub fn query(id: u16, wanted: u16) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes[8..10].copy_from_slice(&wanted.to_be_bytes());
    bytes
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

pub fn limits() -> Limits {
    Limits::from(TcpLimits { connections: 100, per_client: 100, idle_ms: 30_000, ..TcpLimits::default() })
}

pub fn listen(addresses: &[&str]) -> Vec<ListenAddress> {
    addresses.iter().map(|a| ListenAddress { address: a.parse().unwrap(), optional: false }).collect()
}

pub fn try_bind(addresses: &[&str], workers: usize) -> Result<Bound, BindError> {
    bind(&listen(addresses), workers, limits(), false)
}

/// A server at work.
pub struct Server {
    pub addresses: Vec<SocketAddr>,
    pub counters: Arc<Counters>,
    pub running: Running,
}

impl Server {
    pub fn start(addresses: &[&str], workers: usize, limits: Limits) -> Self {
        Self::start_bound(bind(&listen(addresses), workers, limits, false).unwrap())
    }

    pub fn start_bound(bound: Bound) -> Self {
        let counters = Arc::new(Counters::new());
        let addresses = bound.addresses();
        let running = bound.start(|_| Echo, Arc::clone(&counters)).unwrap();
        Self { addresses, counters, running }
    }

    pub fn port(&self) -> u16 {
        self.addresses[0].port()
    }

    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Waits until the counters say so.
    pub fn wait_for(&self, what: &str, holds: impl Fn(&Totals) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.totals()) {
            assert!(Instant::now() < end, "waited for {what} in vain: {:?}", self.totals());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A UDP client that takes nothing but what comes from `server`.
pub fn udp_client(server: impl Into<SocketAddr>) -> UdpSocket {
    let server = server.into();
    let socket = UdpSocket::bind(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a query and checks that its response comes back.
pub fn ask(socket: &UdpSocket, id: u16) {
    socket.send(&query(id, 0)).unwrap();
    let mut response = [0; 512];
    let n = socket.recv(&mut response).unwrap();
    assert_eq!((n, &response[..2]), (40, &id.to_be_bytes()[..]));
}

pub fn tcp_client(server: SocketAddr) -> TcpStream {
    tcp_client_from("127.0.0.1:0", server)
}

/// A TCP client with an address of its own.
pub fn tcp_client_from(own: &str, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&own.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Sends a query and checks that its response comes back.
pub fn ask_tcp(stream: &mut TcpStream, id: u16) {
    stream.write_all(&framed(&query(id, 0))).unwrap();
    expect(stream, id, 40);
}

pub fn expect(stream: &mut TcpStream, id: u16, len: usize) {
    let message = read_message(stream).unwrap();
    assert_eq!((&message[..2], message.len()), (&id.to_be_bytes()[..], len));
}

/// Checks that the server ends the connection, by FIN or RST, without sending anything more.
pub fn expect_end(stream: &mut TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("the connection was to end: {other:?}"),
    }
}
