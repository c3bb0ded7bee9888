//! One message: answered by the engine, judged by the rate limits, counted.

use std::net::SocketAddr;
use std::time::Instant;

use super::limits::Limits;
use super::rrl::{Limiter, Verdict};
use super::share::FairShare;
use super::{Engine, account, now_s};
use crate::answer::{Kind, Outcome, Query, Reply, Transport, cut_down};
use crate::telemetry::counters::{DropReason, Limited, Writer};
use crate::telemetry::query_log::{Fate, Logged, Tap};

/// What one thread answers with. Nothing of it is shared with another.
pub(super) struct Responder<E> {
    pub(super) engine: E,
    pub(super) counters: Writer,
    limiter: Option<Limiter>,
    share: Option<FairShare>,
    /// Where queries are recorded, if they are.
    tap: Option<Box<Tap>>,
    now_s: u32,
    /// When the present batch was received.
    began: Instant,
}

impl<E: Engine> Responder<E> {
    /// What [`datagram`](Self::datagram) sends is limited; what [`message`](Self::message) does is not.
    pub(super) fn new(engine: E, counters: Writer, limits: &Limits, tap: Option<Tap>) -> Self {
        let tap = tap.map(Box::new);
        let limiter = limits.rrl.as_ref().map(Limiter::new);
        let share = limits.fair_share.then(FairShare::new);
        Self { engine, counters, limiter, share, tap, now_s: now_s(), began: Instant::now() }
    }

    /// Reads the clocks, once for all messages that came together; `is_full` if more are likely to wait.
    #[inline]
    pub(super) fn begin(&mut self, is_full: bool) {
        if let Some(share) = &mut self.share {
            share.received(is_full);
        }
        self.now_s = now_s();
        self.began = Instant::now();
        if let Some(limiter) = &mut self.limiter {
            limiter.set_clock(self.began);
        }
        if let Some(tap) = &mut self.tap {
            tap.begin();
        }
    }

    /// Unix seconds at the last [`begin`](Self::begin).
    #[inline]
    pub(super) fn now_s(&self) -> u32 {
        self.now_s
    }

    /// Counts what happened to them together, once their responses are sent.
    #[inline]
    pub(super) fn end(&mut self, transport: Transport) {
        let took = self.began.elapsed();
        // 584 years fit.
        self.counters.batch_took(account::protocol(transport), took.as_nanos() as u64);
        if let Some(tap) = self.open_tap() {
            tap.end(took);
        }
        if let Some(forgotten) = self.limiter.as_mut().map(Limiter::take_forgotten).filter(|n| *n > 0) {
            self.counters.rates_forgotten(forgotten);
        }
    }

    /// Answers a datagram into `out` and says how many octets to send, if any.
    #[inline]
    pub(super) fn datagram(&mut self, bytes: &[u8], peer: SocketAddr, out: &mut [u8]) -> Option<usize> {
        let mut reply = self.answer(Transport::Udp, bytes, peer, out)?;
        if let Some(share) = &mut self.share
            && !share.admits(reply.class.zone, tells_of_nothing(&reply))
        {
            self.counters.shed(reply.class.zone);
            self.record(Transport::Udp, Fate::FairShare, bytes, peer, (&reply, &[]));
            self.drop(Transport::Udp, bytes, DropReason::FairShare);
            return None;
        }
        if let Some(limiter) = &mut self.limiter {
            let kind = account::kind(reply.class.kind);
            match limiter.judge(peer.ip(), &reply.class) {
                Verdict::Send => {}
                Verdict::Truncate => {
                    self.counters.rate_limited(kind, Limited::Truncated);
                    reply = cut_down(out, &reply);
                }
                Verdict::Drop => {
                    self.counters.rate_limited(kind, Limited::Dropped);
                    self.record(Transport::Udp, Fate::RateLimited, bytes, peer, (&reply, &[]));
                    self.drop(Transport::Udp, bytes, DropReason::RateLimited);
                    return None;
                }
            }
        }
        self.count(Transport::Udp, bytes, &reply);
        self.record(Transport::Udp, Fate::Answered, bytes, peer, (&reply, out));
        Some(reply.len)
    }

    /// Answers a message of a stream, likewise. There the address is proven, and nothing is limited.
    #[inline]
    pub(super) fn message(&mut self, bytes: &[u8], peer: SocketAddr, out: &mut [u8]) -> Option<usize> {
        let reply = self.answer(Transport::Tcp, bytes, peer, out)?;
        self.count(Transport::Tcp, bytes, &reply);
        self.record(Transport::Tcp, Fate::Answered, bytes, peer, (&reply, out));
        Some(reply.len)
    }

    #[inline]
    fn answer(
        &mut self,
        transport: Transport,
        bytes: &[u8],
        peer: SocketAddr,
        out: &mut [u8],
    ) -> Option<Reply> {
        match self.engine.answer(&Query { bytes, peer, transport, now_s: self.now_s }, out) {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Drop => {
                self.drop(transport, bytes, DropReason::NotAQuery);
                None
            }
        }
    }

    fn drop(&mut self, transport: Transport, bytes: &[u8], reason: DropReason) {
        self.counters.dropped(account::protocol(transport), bytes.len(), reason);
    }

    /// Whether queries are recorded.
    pub(super) fn is_recorded(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.is_open())
    }

    /// Says who is asked from here on, where that is recorded; `server` is only called then.
    #[inline]
    pub(super) fn asked(&mut self, server: impl FnOnce() -> Option<SocketAddr>) {
        if let Some(tap) = self.open_tap() {
            tap.asked(server());
        }
    }

    /// What records, while anything is recorded.
    #[inline]
    fn open_tap(&mut self) -> Option<&mut Tap> {
        self.tap.as_deref_mut().filter(|tap| tap.is_open())
    }

    /// Nothing arrives: the time to let go of what a busy moment has left.
    pub(super) fn idle(&mut self) {
        self.engine.idle();
        if let Some(tap) = &mut self.tap {
            tap.idle();
        }
    }

    /// Records a query with its response, of which `out` holds the octets if it is sent.
    #[inline]
    fn record(
        &mut self,
        transport: Transport,
        fate: Fate,
        query: &[u8],
        client: SocketAddr,
        (reply, out): (&Reply, &[u8]),
    ) {
        if let Some(tap) = self.tap.as_deref_mut().filter(|tap| tap.is_open()) {
            let apex = reply.class.zone.and_then(|zone| self.engine.apex_octets(zone));
            // No name has more than 255.
            let zone_octets = apex.and_then(|octets| u8::try_from(octets).ok()).unwrap_or(0);
            let response = if fate == Fate::Answered { &out[..reply.len] } else { &[] };
            let (protocol, rcode) = (account::protocol(transport), reply.class.rcode);
            tap.record(&Logged {
                protocol,
                fate,
                rcode,
                client,
                server: tap.server(),
                zone_octets,
                query,
                response,
            });
        }
    }

    #[inline]
    fn count(&mut self, transport: Transport, bytes: &[u8], reply: &Reply) {
        self.counters.answered(&account::answered(transport, bytes.len(), reply));
    }
}

/// Whether the response says that there is nothing: what a flood of random names brings.
#[inline]
fn tells_of_nothing(reply: &Reply) -> bool {
    match reply.class.kind {
        Kind::Nxdomain => true,
        Kind::Error => reply.class.zone.is_none(),
        _ => false,
    }
}

/// Port 0 is nobody's, and sending to it is an error; so is the unspecified address.
pub(super) fn cannot_be_answered(peer: SocketAddr) -> bool {
    peer.port() == 0 || peer.ip().is_unspecified()
}
