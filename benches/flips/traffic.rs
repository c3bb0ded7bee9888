//! Queries: a steady load over UDP, and a client that waits until an answer is the one expected.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::house::APEX;

/// A query for the addresses of `h{owner}`, with EDNS and DO.
pub(crate) fn query(id: u16, owner: usize) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in format!("h{owner}.{APEX}").split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    message
}

/// The A records of an answer and how many RRSIG records it has; `None` for what is no answer to `id`.
pub(crate) fn addresses(message: &[u8], id: u16) -> Option<(Vec<[u8; 4]>, usize)> {
    let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    if word(0)? != id || message[3] & 15 != 0 {
        return None;
    }
    let mut at = 12;
    while *message.get(at)? != 0 {
        at += 1 + usize::from(message[at]);
    }
    at += 5;
    let (mut found, mut signatures) = (Vec::new(), 0);
    for _ in 0..word(6)? {
        // Owners in the answer section are pointers.
        let (rtype, length) = (word(at + 2)?, usize::from(word(at + 10)?));
        match rtype {
            1 => found.push(*message.get(at + 12..)?.first_chunk()?),
            46 => signatures += 1,
            _ => {}
        }
        at += 12 + length;
    }
    Some((found, signatures))
}

/// Between two queries of a client that waits, unless it is told otherwise.
const PAUSE: Duration = Duration::from_micros(100);

/// A client of one server.
pub(crate) struct Client {
    socket: UdpSocket,
    id: u16,
    pause: Duration,
    round_trips: Vec<Duration>,
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { socket, id: 0, pause: PAUSE, round_trips: Vec::new() }
    }

    /// Sets how long it waits between two queries.
    pub(crate) fn pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Asks until the answer has exactly these addresses, signed; returns when it did, or gives up. It pauses between two queries, so
    /// that it takes no core from those it waits for: its clock is as coarse as that.
    pub(crate) fn wait_for(&mut self, owner: usize, expected: &[[u8; 4]]) -> Instant {
        let end = Instant::now() + Duration::from_secs(60);
        let mut buffer = [0; 4096];
        loop {
            self.id = self.id.wrapping_add(1);
            let asked = Instant::now();
            self.socket.send(&query(self.id, owner)).unwrap();
            let Ok(n) = self.socket.recv(&mut buffer) else { continue };
            let now = Instant::now();
            self.round_trips.push(now - asked);
            if let Some((mut found, signatures)) = addresses(&buffer[..n], self.id) {
                found.sort_unstable();
                if found == expected && signatures == 1 {
                    return now;
                }
            }
            assert!(now < end, "h{owner} never had {expected:?}");
            std::thread::sleep(self.pause);
        }
    }
}

impl Client {
    /// How long each of its queries took.
    pub(crate) fn into_round_trips(self) -> Vec<Duration> {
        self.round_trips
    }
}

/// Queries at a steady rate from one thread, over the first names of the zone.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// Queries prepared, sent round and round.
const PREPARED: usize = 8192;
/// Most that are outstanding: what comes late is not asked twice as often afterwards.
const WINDOW: u64 = 256;

impl Load {
    /// `rate` queries a second; without one, as many as are answered.
    pub(crate) fn start(server: SocketAddr, names: usize, rate: Option<u64>) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            move || Self::run(server, names, rate, &over, &answered)
        });
        Self { over, answered, thread }
    }

    fn run(server: SocketAddr, names: usize, rate: Option<u64>, over: &AtomicBool, answered: &AtomicU64) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_nonblocking(true).unwrap();
        let queries: Vec<Vec<u8>> =
            (0..PREPARED).map(|i| query(i as u16, i.wrapping_mul(7919) % names)).collect();
        let (began, mut buffer) = (Instant::now(), [0; 4096]);
        let (mut sent, mut skipped, mut received, mut heard) = (0u64, 0u64, 0u64, Instant::now());
        while !over.load(Ordering::Relaxed) {
            let due = rate.map_or(u64::MAX, |rate| (began.elapsed().as_micros() as u64) * rate / 1_000_000);
            let mut burst = 0;
            while sent + skipped < due && sent - received < WINDOW && burst < 32 {
                // An error of an earlier datagram, or a full buffer: that query is lost.
                let _ = socket.send(&queries[sent as usize % PREPARED]);
                (sent, burst) = (sent + 1, burst + 1);
            }
            if rate.is_some() && due > sent + skipped + 4 * WINDOW {
                skipped = due - sent;
            }
            loop {
                match socket.recv(&mut buffer) {
                    Ok(_) => {
                        received += 1;
                        heard = Instant::now();
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
            answered.store(received, Ordering::Relaxed);
            if heard.elapsed() > Duration::from_millis(500) {
                // What is outstanding by now is lost.
                (skipped, sent, heard) = (skipped + sent - received, received, Instant::now());
            }
            if burst == 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    pub(crate) fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.answered.load(Ordering::Relaxed)
    }
}
