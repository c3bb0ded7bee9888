//! The way of a record from the worker that answered to the thread that writes.
//!
//! A batch in a buffer is a head of [`HEAD`] octets (the length of the records, when the batch was received, how long it took), then
//! its records: [`FIXED`] octets, the query, the response.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Output, Outputs, lock};
use crate::telemetry::counters::Protocol;

const HEAD: usize = 4 + 8 + 4 + 8;
const FIXED: usize = 1 + 1 + 2 + 18 + 18 + 1 + 2 + 2;

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered.
    Answered,
    /// Its response was beyond a rate limit, and not sent.
    RateLimited,
    /// Its response was given up for the sake of other zones.
    FairShare,
}

impl Fate {
    const ALL: [Self; 3] = [Self::Answered, Self::RateLimited, Self::FairShare];
}

/// A query, as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// How it came.
    pub protocol: Protocol,
    /// What became of it.
    pub fate: Fate,
    /// Extended response code.
    pub rcode: u16,
    /// Who asked.
    pub client: SocketAddr,
    /// Who was asked, as far as it is known; a wildcard address says nothing.
    pub server: Option<SocketAddr>,
    /// Octets of the zone's name in wire form, with which the name asked for ends: so it need not be copied. 0 where no zone was found.
    pub zone_octets: u8,
    /// The message.
    pub query: &'a [u8],
    /// The response; empty if none was sent.
    pub response: &'a [u8],
}

/// When a batch of queries was received, and how long it took to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchTime {
    /// Since 1970.
    pub(super) received: Duration,
    pub(super) took: Duration,
}

/// Where one worker leaves what is to be written.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Mailbox {
    full: Mutex<Vec<u8>>,
    left_out: AtomicU64,
}

impl Mailbox {
    /// Queries that the worker had no room for.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.full).is_empty()
    }

    /// Takes what is there in exchange for `empty`, an empty buffer.
    pub(super) fn take(&self, empty: &mut Vec<u8>) {
        std::mem::swap(&mut *lock(&self.full), empty);
    }
}

/// What one thread that answers records by. Without an output for which a query is drawn nothing is copied.
#[derive(Debug)]
pub struct Tap {
    /// All that there are, and which version of them [`Tap::outputs`] is.
    all: Arc<Outputs>,
    version: u32,
    outputs: Vec<TapOutput>,
    received: Duration,
    server: Option<SocketAddr>,
    random: u64,
}

#[derive(Debug)]
struct TapOutput {
    output: Arc<Output>,
    mailbox: Arc<Mailbox>,
    /// Never larger than what it was made for.
    own: Vec<u8>,
    /// Where the head of the present batch lies.
    head: Option<usize>,
    /// A query is recorded if a random number is below it.
    threshold: u64,
}

impl Tap {
    pub(super) fn new(all: Arc<Outputs>) -> Self {
        // The standard library's hash keys differ from worker to worker; xorshift must not begin with 0.
        let random = std::hash::RandomState::new().hash_one(0u8) | 1;
        let (version, outputs) = (0, Vec::new());
        let mut tap = Self { all, version, outputs, received: Duration::ZERO, server: None, random };
        tap.attach();
        tap
    }

    /// Turns to the outputs that there are now.
    #[cold]
    fn attach(&mut self) {
        self.flush();
        let list = lock(&self.all.list);
        self.version = self.all.version.load(Relaxed);
        self.outputs = list.iter().map(TapOutput::new).collect();
    }

    /// Whether anything is recorded at all.
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Sees whether there are other outputs, and reads the clock, once for all queries that came together.
    pub fn begin(&mut self) {
        if self.version != self.all.version.load(Relaxed) {
            self.attach();
        }
        if self.is_open() {
            self.received = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        }
    }

    /// Who is asked from here on.
    pub fn asked(&mut self, server: Option<SocketAddr>) {
        self.server = server;
    }

    /// Who is asked.
    pub fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// Records a query, for the outputs for which it is drawn.
    pub fn record(&mut self, logged: &Logged<'_>) {
        for i in 0..self.outputs.len() {
            // xorshift64: spread evenly, and nobody's secret.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            if self.random <= self.outputs[i].threshold {
                self.outputs[i].push(self.received, logged);
            }
        }
    }

    /// The batch was answered, and took so long.
    pub fn end(&mut self, took: Duration) {
        for output in &mut self.outputs {
            if let Some(head) = output.head.take() {
                let length = (output.own.len() - head - HEAD) as u32;
                output.own[head..head + 4].copy_from_slice(&length.to_le_bytes());
                output.own[head + 16..head + HEAD].copy_from_slice(&(took.as_nanos() as u64).to_le_bytes());
            }
            output.hand_over();
        }
    }

    /// Hands over what could not be handed over before.
    fn flush(&mut self) {
        self.outputs.iter_mut().for_each(TapOutput::hand_over);
    }

    /// For workers that have nothing to do: hands over what is left, and sees whether there are other outputs.
    pub fn idle(&mut self) {
        self.flush();
        if self.version != self.all.version.load(Relaxed) {
            self.attach();
        }
    }
}

impl TapOutput {
    fn new(output: &Arc<Output>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        *lock(&mailbox.full) = Vec::with_capacity(output.buffer_octets);
        lock(&output.mailboxes).push(Arc::clone(&mailbox));
        Self {
            output: Arc::clone(output),
            mailbox,
            own: Vec::with_capacity(output.buffer_octets),
            head: None,
            threshold: u64::MAX / u64::from(output.sample.max(1)),
        }
    }

    fn push(&mut self, received: Duration, logged: &Logged<'_>) {
        // Messages are no longer than 65,535 octets; what is, no transport has brought.
        let (query, response) = (cut(logged.query), cut(logged.response));
        let head = if self.head.is_none() { HEAD } else { 0 };
        if self.own.len() + head + FIXED + query.len() + response.len() > self.own.capacity() {
            // Nobody else writes it.
            self.mailbox.left_out.store(self.mailbox.left_out() + 1, Relaxed);
            return;
        }
        if self.head.is_none() {
            self.head = Some(self.own.len());
            self.own.extend_from_slice(&[0; 4]);
            self.own.extend_from_slice(&received.as_secs().to_le_bytes());
            self.own.extend_from_slice(&received.subsec_nanos().to_le_bytes());
            self.own.extend_from_slice(&[0; 8]);
        }
        self.own.extend_from_slice(&[logged.protocol as u8, logged.fate as u8]);
        self.own.extend_from_slice(&logged.rcode.to_le_bytes());
        self.own.extend_from_slice(&address_octets(Some(logged.client)));
        self.own.extend_from_slice(&address_octets(logged.server));
        self.own.push(logged.zone_octets);
        self.own.extend_from_slice(&(query.len() as u16).to_le_bytes());
        self.own.extend_from_slice(&(response.len() as u16).to_le_bytes());
        self.own.extend_from_slice(query);
        self.own.extend_from_slice(response);
    }

    /// Leaves the buffer in the mailbox, if there is room for it and the writer does not look into it just now: the worker waits for nobody.
    fn hand_over(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let mut full = match self.mailbox.full.try_lock() {
            Ok(full) => full,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        if full.is_empty() {
            std::mem::swap(&mut *full, &mut self.own);
            drop(full);
            self.output.wake();
        } else if full.len() + self.own.len() <= full.capacity() {
            full.extend_from_slice(&self.own);
            self.own.clear();
        }
    }
}

fn cut(message: &[u8]) -> &[u8] {
    &message[..message.len().min(usize::from(u16::MAX))]
}

/// IPv4 as it is mapped into IPv6; the unspecified address and port 0 for none.
fn address_octets(address: Option<SocketAddr>) -> [u8; 18] {
    let mut octets = [0; 18];
    if let Some(address) = address {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        octets[..16].copy_from_slice(&ip.octets());
        octets[16..].copy_from_slice(&address.port().to_le_bytes());
    }
    octets
}

fn address(octets: &[u8]) -> Option<SocketAddr> {
    let ip = Ipv6Addr::from(*octets.first_chunk::<16>()?).to_canonical();
    let port = u16::from_le_bytes(octets.get(16..18)?.try_into().ok()?);
    (port > 0).then_some(SocketAddr::new(ip, port))
}

/// Calls `each` with every record of a buffer, until it fails; with the number of records that were not dealt with then.
pub(super) fn each_record<E>(
    mut buffer: &[u8],
    mut each: impl FnMut(BatchTime, &Logged<'_>) -> Result<(), E>,
) -> Result<(), (E, u64)> {
    let mut failed = None;
    let mut rest = 0;
    while let Some((time, mut records, after)) = next_batch(buffer) {
        buffer = after;
        while let Some((logged, after)) = next_record(records) {
            records = after;
            if failed.is_some() {
                rest += 1;
            } else if let Err(e) = each(time, &logged) {
                (failed, rest) = (Some(e), 1);
            }
        }
    }
    failed.map_or(Ok(()), |e| Err((e, rest)))
}

/// A batch's time and records, and what follows it.
fn next_batch(buffer: &[u8]) -> Option<(BatchTime, &[u8], &[u8])> {
    let (head, rest) = buffer.split_first_chunk::<HEAD>()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let time = BatchTime { received: Duration::new(long(4), word(12)), took: Duration::from_nanos(long(16)) };
    let (records, rest) = rest.split_at_checked(word(0) as usize)?;
    Some((time, records, rest))
}

fn next_record(records: &[u8]) -> Option<(Logged<'_>, &[u8])> {
    let (fixed, rest) = records.split_first_chunk::<FIXED>()?;
    let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    let (query, rest) = rest.split_at_checked(usize::from(short(41)))?;
    let (response, rest) = rest.split_at_checked(usize::from(short(43)))?;
    let logged = Logged {
        protocol: if fixed[0] == Protocol::Udp as u8 { Protocol::Udp } else { Protocol::Tcp },
        fate: Fate::ALL.into_iter().find(|fate| *fate as u8 == fixed[1])?,
        rcode: short(2),
        client: address(&fixed[4..22])?,
        server: address(&fixed[22..40]),
        zone_octets: fixed[40],
        query,
        response,
    };
    Some((logged, rest))
}
