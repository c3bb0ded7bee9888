//! Rate limits over real sockets: what a client sees of them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::answer::Settings;
use hale::config::{Network, RateLimits};
use hale::snapshot::handle::Published;
use hale::telemetry::counters::{AnswerKind, Counters, DropReason, Limited, Protocol, Totals};
use hale::transport::{Limits, Running, SnapshotEngine, bind};

use crate::message::{decode, opt, query};
use crate::support::{PATIENCE, framed, limits, listen, read_message, tcp_client};
use crate::zone::snapshot;

const ZONE: &str = "
    @    SOA ns1 h 1 2 3 4 60
    @    NS ns1
    ns1  A 192.0.2.53
    www  A 192.0.2.1
    www  A 192.0.2.2
    mail A 192.0.2.3
    *.w  A 192.0.2.4
";

/// Ten at once, and then next to none: a rate of one in 10 s, and a burst of 100 s.
fn rates() -> RateLimits {
    RateLimits {
        responses_per_second: 1,
        nxdomains_per_second: 1,
        referrals_per_second: 1,
        errors_per_second: 1,
        slip: 2,
        burst_ms: 10_000,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        exempt: Vec::new(),
        table_size: 1024,
    }
}

struct Server {
    address: SocketAddr,
    counters: Arc<Counters>,
    _running: Running,
}

impl Server {
    fn start(address: &str, workers: usize, rates: RateLimits, portable: bool) -> Self {
        let limits = Limits { rrl: Some(rates), ..limits() };
        let bound = bind(&listen(&[address]), workers, limits, portable).unwrap();
        let counters = Arc::new(Counters::new());
        let published = Published::new(snapshot(&[("test", ZONE)], true));
        let settings = Arc::new(Settings { cookie_secret: Some([7; 16]), ..Settings::default() });
        let address = bound.addresses()[0];
        let engine = move |_| SnapshotEngine::new(&published, Arc::clone(&settings));
        let running = bound.start(engine, Arc::clone(&counters)).unwrap();
        Self { address, counters, _running: running }
    }

    /// Asks all at once from one socket, bound to `own`; gives each query's response by its number, `None` for silence.
    fn ask(&self, own: &str, queries: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        let socket = UdpSocket::bind(own).unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let settled = self.totals().queries(Protocol::Udp) + queries.len() as u64;
        for (id, query) in (0u16..).zip(queries) {
            let mut query = query.clone();
            query[..2].copy_from_slice(&id.to_be_bytes());
            socket.send(&query).unwrap();
        }
        let mut answers = vec![None; queries.len()];
        let end = Instant::now() + PATIENCE;
        loop {
            let mut response = [0; 2048];
            match socket.recv(&mut response) {
                Ok(n) => {
                    answers[usize::from(u16::from_be_bytes([response[0], response[1]]))] =
                        Some(response[..n].to_vec());
                }
                // Counted before they are sent: with all counted, a last silence is the end.
                Err(_) if self.totals().queries(Protocol::Udp) >= settled => return answers,
                Err(e) => assert!(Instant::now() < end, "{e}: {:?}", self.totals()),
            }
        }
    }

    /// `.` for a whole answer, `t` for a truncated one without records, `x` for none.
    fn pattern(&self, own: &str, queries: &[Vec<u8>]) -> String {
        let letter = |answer: &Option<Vec<u8>>| match answer.as_deref().map(decode) {
            None => 'x',
            Some(decoded) if decoded.flags & 0x200 == 0 => '.',
            Some(decoded) => {
                assert!(decoded.records.is_empty() && decoded.question.is_some(), "{decoded:?}");
                't'
            }
        };
        self.ask(own, queries).iter().map(letter).collect()
    }

    fn totals(&self) -> Totals {
        self.counters.totals()
    }
}

fn same(question: &str, count: usize) -> Vec<Vec<u8>> {
    vec![query(question); count]
}

/// Random names below `parent`.
fn random(parent: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| query(&format!("r{i}.{parent} A do"))).collect()
}

const LOCAL: &str = "127.0.0.1:0";
const BEYOND: &str = "..........txtxtxtxtx";

#[test]
fn every_second_response_beyond_the_rate_is_truncated_and_the_others_are_dropped() {
    for portable in [false, true] {
        let server = Server::start(LOCAL, 1, rates(), portable);
        assert_eq!(server.pattern(LOCAL, &same("www.test A edns", 20)), BEYOND);
        // Another name has a rate of its own, but all random names share one.
        assert_eq!(server.pattern(LOCAL, &same("mail.test A", 10)), "..........");
        assert_eq!(server.pattern(LOCAL, &random("test", 20)), BEYOND);
        assert_eq!(server.pattern(LOCAL, &random("w.test", 20)), BEYOND);
        assert_eq!(server.pattern(LOCAL, &same("example.com A", 20)), BEYOND);
        let totals = server.totals();
        for kind in [AnswerKind::Positive, AnswerKind::Nxdomain, AnswerKind::Synthesised, AnswerKind::Error] {
            for what in [Limited::Truncated, Limited::Dropped] {
                assert_eq!(totals.rate_limited(kind, what), 5, "{kind:?} {what:?}");
            }
        }
        assert_eq!(totals.dropped(DropReason::RateLimited), 20);
        assert_eq!(totals.answers(AnswerKind::Positive), 25);
    }
}

#[test]
fn slip_decides_how_many_are_truncated() {
    for (slip, expected) in [(0, "..........xxxxxx"), (1, "..........tttttt"), (3, "..........txxtxx")] {
        let server = Server::start(LOCAL, 1, RateLimits { slip, ..rates() }, false);
        assert_eq!(server.pattern(LOCAL, &same("www.test A", 16)), expected, "slip {slip}");
    }
}

#[test]
fn a_network_shares_its_rate_and_others_have_theirs() {
    let server = Server::start("0.0.0.0:0", 1, rates(), false);
    let server = Server { address: SocketAddr::from(([127, 0, 0, 1], server.address.port())), ..server };
    assert_eq!(server.pattern("127.0.0.2:0", &same("www.test A", 10)), "..........");
    assert_eq!(server.pattern("127.0.0.3:0", &same("www.test A", 4)), "txtx");
    assert_eq!(server.pattern("127.0.1.2:0", &same("www.test A", 11)), "..........t");
    let six = Server::start("[::1]:0", 1, rates(), false);
    assert_eq!(six.pattern("[::1]:0", &same("www.test A", 20)), BEYOND);
}

#[test]
fn exempt_networks_are_not_limited() {
    let exempt = vec![Network::new("127.0.0.0".parse().unwrap(), 24).unwrap()];
    let server = Server::start("127.0.0.1:0", 1, RateLimits { exempt, ..rates() }, false);
    assert_eq!(server.pattern("127.0.0.2:0", &same("www.test A", 50)), ".".repeat(50));
    assert_eq!(server.pattern("127.0.1.2:0", &same("www.test A", 20)), BEYOND);
}

#[test]
fn a_client_with_a_cookie_is_not_limited_and_learns_it_from_a_truncated_response() {
    let server = Server::start(LOCAL, 1, rates(), false);
    let with_cookie = |cookie: &[u8]| {
        let mut message = query("www.test A");
        message[11] = 1;
        message.extend(opt(1232, 0, true, &[&[0, 10, 0, cookie.len() as u8], cookie].concat()));
        message
    };
    assert_eq!(server.pattern(LOCAL, &same("www.test A do", 10)), "..........");
    let answers = server.ask(LOCAL, &[with_cookie(b"clientck")]);
    let slipped = decode(answers[0].as_deref().unwrap());
    assert_ne!(slipped.flags & 0x200, 0);
    let cookie = slipped.opt.unwrap().2[0].1.clone();
    assert_eq!(server.pattern(LOCAL, &vec![with_cookie(&cookie); 50]), ".".repeat(50));
    // Somebody else's cookie is worth nothing.
    assert!(server.pattern("127.0.0.9:0", &vec![with_cookie(&cookie); 10]).contains('x'));
}

#[test]
fn tcp_is_never_limited() {
    for portable in [false, true] {
        let server = Server::start(LOCAL, 1, rates(), portable);
        assert_eq!(server.pattern(LOCAL, &same("www.test A", 20)), BEYOND);
        let mut stream = tcp_client(server.address);
        for _ in 0..50 {
            std::io::Write::write_all(&mut stream, &framed(&query("www.test A"))).unwrap();
            let decoded = decode(&read_message(&mut stream).unwrap());
            assert_eq!((decoded.flags & 0x200, decoded.records.len()), (0, 2));
        }
    }
}

#[test]
fn each_worker_counts_for_itself() {
    let server = Server::start(LOCAL, 2, rates(), false);
    // One flow meets one worker, and has the rate.
    assert_eq!(server.pattern("127.0.3.1:0", &same("www.test A", 20)), BEYOND);
    // Many flows meet both, and have twice the rate, but no more.
    let before = server.totals();
    let flows: Vec<UdpSocket> = (0..100).map(|_| UdpSocket::bind("127.0.4.1:0").unwrap()).collect();
    for flow in &flows {
        flow.send_to(&query("www.test A"), server.address).unwrap();
    }
    let end = Instant::now() + PATIENCE;
    while server.totals().queries(Protocol::Udp) < before.queries(Protocol::Udp) + 100 {
        assert!(Instant::now() < end, "{:?}", server.totals());
        std::thread::sleep(Duration::from_millis(5));
    }
    let limited = |totals: &Totals| {
        let count = |what| totals.rate_limited(AnswerKind::Positive, what);
        count(Limited::Truncated) + count(Limited::Dropped)
    };
    assert_eq!(limited(&server.totals()) - limited(&before), 80);
}
