//! The answer engine: one function over two buffers, used by every transport.
//!
//! [`answer`] does no I/O, takes no lock, allocates nothing, reads no clock and never panics. It reads a query (parse.rs), follows
//! it through the zones of a snapshot (resolve.rs, referral.rs), adds proofs and addresses (denial.rs, additional.rs) and writes
//! the response as it goes (encode.rs, edns.rs).

mod additional;
mod cookie;
mod denial;
mod edns;
mod encode;
mod parse;
mod rcode;
mod referral;
mod resolve;
mod slip;
mod subnet;
mod tsig;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::rrtype::RrType;
use crate::snapshot::lookup::{Chooser, KeyedName, Snapshot};

use edns::{ExtendedError, Opt};
use encode::Response;
use parse::{HEADER, Message, Request};
use rcode::Rcode;
use resolve::{Resolver, Work};
use subnet::Subnet;

pub use slip::cut_down;

/// How a query arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: answers obey the EDNS size, larger ones are truncated.
    Udp,
    /// A stream: answers up to 65,535 octets.
    Tcp,
}

/// A message to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The message without any length prefix.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// How.
    pub transport: Transport,
    /// Unix seconds, read once a batch by the transport.
    pub now_s: u32,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response stands in the output buffer.
    Reply(Reply),
    /// Nothing is sent: shorter than a header, or a response itself (CVE-2024-2169).
    Drop,
}

/// A response in the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Octets of the response.
    pub len: usize,
    /// Octets of the OPT record that ends it; 0 where it ends otherwise.
    pub opt_len: usize,
    /// What counters and rate limits need to know of it.
    pub class: Class,
}

/// What counters and rate limits need to know of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Extended response code (RFC 6895 §2.3).
    pub rcode: u16,
    /// QTYPE; 0 where no question was read.
    pub qtype: RrType,
    /// Index of the zone in the snapshot, if one was found.
    pub zone: Option<u32>,
    /// Kind of answer.
    pub kind: Kind,
    /// Whether TC is set.
    pub truncated: bool,
    /// Keyed hash of the name that a rate limit counts: the name asked for if it exists, else what answered for it, which no client can
    /// draw at random: the closest encloser of a wildcard, the owner of a DNAME, the zone cut, the apex. 0 where no zone was found.
    pub name_hash: u64,
    /// Whether the client sent a server cookie that is good: its address is no forgery (RFC 7873 §5.2.4).
    pub has_cookie: bool,
}

impl Class {
    /// What is known before a zone is found.
    fn new(rcode: Rcode, qtype: RrType) -> Self {
        Self {
            rcode: rcode.0,
            qtype,
            zone: None,
            kind: Kind::Error,
            truncated: false,
            name_hash: 0,
            has_cookie: false,
        }
    }
}

/// Kinds of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records of the name.
    Positive,
    /// Records synthesised from a wildcard or DNAME.
    Synthesised,
    /// The name exists without the type (RFC 2308 §2.2).
    Nodata,
    /// The name does not exist (RFC 2308 §2.1).
    Nxdomain,
    /// A referral to a delegated zone.
    Referral,
    /// Any error code.
    Error,
}

/// Octets of the longest NSID that fits beside everything else in the smallest response.
pub const MAX_NSID_OCTETS: usize = 128;

/// What a server says about itself, and its limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name server identifier (RFC 5001), if there is one; of more than [`MAX_NSID_OCTETS`] octets those are sent.
    pub nsid: Option<Vec<u8>>,
    /// The secret of server cookies (RFC 9018); without it COOKIE options are ignored.
    pub cookie_secret: Option<[u8; 16]>,
    /// Octets of the largest UDP response, and the payload size that is announced (RFC 9715); at least 512.
    pub udp_payload_limit: u16,
    /// Idle timeout announced by edns-tcp-keepalive (RFC 7828) in units of 100 ms; without it the option is ignored.
    pub tcp_keepalive_100ms: Option<u16>,
    /// Whether the client subnet option (RFC 7871) is honoured; `None` as soon as a name gives different clients different answers.
    pub client_subnet: Option<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nsid: None,
            cookie_secret: None,
            udp_payload_limit: 1232,
            tcp_keepalive_100ms: None,
            client_subnet: None,
        }
    }
}

impl Settings {
    fn nsid(&self) -> Option<&[u8]> {
        self.nsid.as_deref().map(|nsid| &nsid[..nsid.len().min(MAX_NSID_OCTETS)])
    }
}

/// What one worker keeps from query to query, so that answering allocates nothing.
#[derive(Debug)]
pub struct Scratch {
    settings: Arc<Settings>,
    name: Box<KeyedName>,
    other: Box<KeyedName>,
    /// Counts answers with rotating RRsets.
    turn: u32,
    /// State of the random numbers by which weighted answers are picked.
    random: u64,
}

impl Scratch {
    /// Scratch space for one worker.
    pub fn new(settings: Arc<Settings>) -> Self {
        // The standard library's hash keys differ from worker to worker. Weights need numbers that are spread, not secret ones.
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
        Self::with_seed(settings, seed)
    }

    /// As [`Scratch::new`], with weighted answers that are picked in an order which `seed` decides.
    pub fn with_seed(settings: Arc<Settings>, seed: u64) -> Self {
        Self { settings, name: Box::default(), other: Box::default(), turn: 0, random: seed }
    }
}

/// Answers one message into `out`, which should hold the largest response of the transport: `udp_payload_limit` octets, or
/// 65,535 for TCP.
///
/// It never panics, allocates, locks or reads a clock, whatever the message.
pub fn answer(snapshot: &Snapshot, scratch: &mut Scratch, query: &Query<'_>, out: &mut [u8]) -> Outcome {
    match parse::kind_of(query.bytes) {
        Message::Unanswerable => Outcome::Drop,
        Message::OtherOpcode => answer_other_opcode(query.bytes, out),
        Message::Query => {
            let mut request = Request::new(query.bytes);
            request.read(snapshot.key(), query.bytes, &mut scratch.name);
            answer_query(snapshot, scratch, query, &request, out)
        }
    }
}

/// NOTIMP with a header alone: what the other sections mean is the opcode's business (RFC 8906 §3.1.4).
#[cold]
fn answer_other_opcode(message: &[u8], out: &mut [u8]) -> Outcome {
    let (Some(header), Some((to, _))) =
        (message.first_chunk::<HEADER>(), out.split_first_chunk_mut::<HEADER>())
    else {
        return Outcome::Drop;
    };
    *to = [0; HEADER];
    to[..2].copy_from_slice(&header[..2]);
    to[2] = 0x80 | header[2] & 0x78;
    to[3] = Rcode::NOTIMP.0 as u8;
    Outcome::Reply(Reply { len: HEADER, opt_len: 0, class: Class::new(Rcode::NOTIMP, RrType(0)) })
}

#[inline]
fn answer_query(
    snapshot: &Snapshot,
    scratch: &mut Scratch,
    query: &Query<'_>,
    request: &Request<'_>,
    out: &mut [u8],
) -> Outcome {
    let Scratch { settings, name, other, turn, random } = scratch;
    let settings: &Settings = settings;
    let edns = request.edns.as_ref();
    let (subnet, refusal) = match edns.and_then(|edns| edns.subnet) {
        Some(data) => read_subnet(snapshot, settings, data, refusal(request)),
        None => (None, refusal(request)),
    };
    let mut opt = edns.map(|edns| Opt::new(settings, query, edns, subnet));
    let limit = edns::response_limit(settings, query.transport, edns);
    let reserved = opt.as_ref().map_or(0, Opt::len);
    let Ok(mut response) = Response::new(out, request.echo, limit, reserved) else { return Outcome::Drop };
    let mut class = Class::new(Rcode::NOERROR, request.qtype);
    let (rcode, error) = match refusal {
        Some(Rcode::NOTAUTH) => {
            return answer_unknown_key(snapshot, other, request, opt.as_ref(), response);
        }
        Some(rcode) => (rcode, None),
        // A client without a question wanted a cookie, which stands in the OPT record (RFC 7873 §5.4).
        None if request.echo.len() == HEADER => (Rcode::NOERROR, None),
        None => {
            let dnssec_ok = edns.is_some_and(|edns| edns.dnssec_ok);
            let client = subnet.and_then(|subnet| subnet.client);
            let chooser = Chooser::new(client.unwrap_or(query.peer.ip()), random);
            let work = Work { name, other, turn, chooser, is_for_subnet: client.is_some() };
            let mut resolver = Resolver::new(snapshot, work, &mut response, request.qtype, dnssec_ok);
            if let Some(zone) = resolver.zone() {
                class.zone = Some(zone.index);
                class.kind = resolver.resolve(&zone);
                if let Some(targets) = resolver.targets.filter(|_| !resolver.response.truncated) {
                    resolver.add_targets(targets);
                }
            } else {
                resolver.rcode = Rcode::REFUSED;
                resolver.error = Some(ExtendedError::NOT_AUTHORITATIVE);
            }
            class.name_hash = resolver.counted;
            if let (Some(opt), Some(_)) = (&mut opt, client) {
                opt.scope = resolver.chooser.scope();
            }
            (resolver.rcode, resolver.error)
        }
    };
    class.rcode = rcode.0;
    class.truncated = response.truncated;
    let mut opt_len = 0;
    if let Some(opt) = &opt {
        class.has_cookie = opt.has_good_cookie();
        opt_len = response.write_opt(rcode, opt, error);
    }
    Outcome::Reply(Reply { len: response.finish(rcode), opt_len, class })
}

/// The client subnet option where it is honoured, and why the query is refused after all if it is malformed.
///
/// Without a name that gives different clients different answers the option is ignored, as by a server that does not know it (RFC 7871
/// §7.2.1), unless the settings say otherwise.
#[cold]
fn read_subnet<'q>(
    snapshot: &Snapshot,
    settings: &Settings,
    data: &'q [u8],
    refusal: Option<Rcode>,
) -> (Option<Subnet<'q>>, Option<Rcode>) {
    if !settings.client_subnet.unwrap_or(snapshot.is_by_client()) {
        return (None, refusal);
    }
    match Subnet::read(data) {
        Some(subnet) => (Some(subnet), refusal),
        None => (None, refusal.or(Some(Rcode::FORMERR))),
    }
}

/// Why a query is not answered from the zones, if so.
#[inline]
fn refusal(request: &Request<'_>) -> Option<Rcode> {
    if request.refusal.is_some() {
        return request.refusal;
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version > 0) {
        return Some(Rcode::BADVERS);
    }
    if request.tsig.is_some() {
        return Some(Rcode::NOTAUTH);
    }
    if request.echo.len() == HEADER {
        return None;
    }
    if request.qclass != 1 {
        return Some(Rcode::REFUSED);
    }
    match request.qtype {
        // Nearly all queries; said first, since one comparison decides it.
        RrType(1..=40) => None,
        // Transfers are not configured.
        RrType::AXFR | RrType::IXFR => Some(Rcode::REFUSED),
        RrType::MAILA | RrType::MAILB | RrType::TKEY => Some(Rcode::NOTIMP),
        // No question can be for these: OPT and TSIG are no data, 0 is reserved, NXNAME only stands in bitmaps (RFC 9824 §3.1).
        RrType(0) | RrType::OPT | RrType::TSIG | RrType::NXNAME => Some(Rcode::FORMERR),
        _ => None,
    }
}

/// NOTAUTH with an unsigned TSIG of error BADKEY (RFC 8945 §5.2.1).
#[cold]
fn answer_unknown_key(
    snapshot: &Snapshot,
    name: &mut KeyedName,
    request: &Request<'_>,
    opt: Option<&Opt<'_>>,
    mut response: Response<'_>,
) -> Outcome {
    let Some(tsig) = &request.tsig else { return Outcome::Drop };
    let mut rcode = Rcode::NOTAUTH;
    if let Some(opt) = opt {
        response.write_opt(rcode, opt, None);
    }
    if tsig.write_bad_key(snapshot.key(), name, &mut response).is_err() {
        // Two names of nearly 255 octets: no room, and nobody's key.
        response.clear_question();
        rcode = Rcode::FORMERR;
    }
    let class = Class { truncated: response.truncated, ..Class::new(rcode, request.qtype) };
    Outcome::Reply(Reply { len: response.finish(rcode), opt_len: 0, class })
}
