//! Datagrams: one thread for each address and worker, blocked in one system call that brings a batch.

pub(super) mod mmsg;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::Engine;
use super::respond::{Responder, cannot_be_answered};
use super::shutdown::Stop;
use crate::answer::Transport;
use crate::telemetry::counters::{DropReason, Protocol, SendError};
use mmsg::{BATCH, Batch, Datagram};

/// Errors in a row before a worker pauses between attempts, and how long.
const ERRORS_IN_A_ROW: u32 = 8;
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// At the stop, what the kernel had taken already is answered for no longer than this.
const DRAIN: Duration = Duration::from_millis(50);

/// Serves one socket until `stop`. The socket blocks, and has a receive timeout at which the engine is told that it is idle;
/// whoever stops shuts the socket down for reading after giving the signal.
pub(super) fn serve<E: Engine>(socket: &UdpSocket, responder: &mut Responder<E>, stop: &Stop) {
    let address = socket.local_addr().ok();
    let mut batch = Batch::new(address.is_some_and(|address| address.ip().is_unspecified()));
    let (mut losses, mut errors) = (Losses::default(), 0);
    while !stop.requested() {
        match batch.receive(socket, BATCH, true) {
            Ok(received) => {
                errors = 0;
                answer_batch(&mut batch, received, responder, address);
                send(&mut batch, socket, responder);
                responder.end(Transport::Udp);
                losses.count(socket, responder);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                losses.count(socket, responder);
                responder.idle();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                // An ICMP error of an earlier response, mostly. One that stays must not become a busy loop.
                responder.counters.receive_error();
                errors += 1;
                if errors >= ERRORS_IN_A_ROW {
                    thread::sleep(ERROR_PAUSE);
                }
            }
        }
    }
    drain(&mut batch, socket, responder, address);
}

/// Counts what the kernel had no room for.
#[derive(Default)]
struct Losses {
    known: u32,
    looked_s: u32,
}

impl Losses {
    /// Asks the kernel once a second.
    #[inline]
    fn count<E: Engine>(&mut self, socket: &UdpSocket, responder: &mut Responder<E>) {
        if responder.now_s() != self.looked_s {
            self.look(socket, responder);
        }
    }

    #[cold]
    fn look<E: Engine>(&mut self, socket: &UdpSocket, responder: &mut Responder<E>) {
        self.looked_s = responder.now_s();
        if let Some(drops) = mmsg::drops(socket) {
            responder.counters.lost(u64::from(drops.wrapping_sub(self.known)));
            self.known = drops;
        }
    }
}

/// Answers what arrived before the stop.
fn drain<E: Engine>(
    batch: &mut Batch,
    socket: &UdpSocket,
    responder: &mut Responder<E>,
    address: Option<SocketAddr>,
) {
    let end = Instant::now() + DRAIN;
    while Instant::now() < end {
        match batch.receive(socket, BATCH, false) {
            Ok(received) if received > 0 => {
                answer_batch(batch, received, responder, address);
                send(batch, socket, responder);
                responder.end(Transport::Udp);
            }
            _ => return,
        }
    }
}

/// `address` is the socket's.
fn answer_batch<E: Engine>(
    batch: &mut Batch,
    received: usize,
    responder: &mut Responder<E>,
    address: Option<SocketAddr>,
) {
    responder.begin(received == BATCH);
    responder.asked(|| address);
    // Which address was asked is only looked at where it is recorded, and not plain.
    let wildcard = address.filter(|address| responder.is_recorded() && address.ip().is_unspecified());
    let mut arrived = 0;
    for i in 0..received {
        if let Some(wildcard) = wildcard {
            let told = batch.destination(i).map(|ip| SocketAddr::new(ip, wildcard.port()));
            responder.asked(|| told.or(Some(wildcard)));
        }
        let Datagram { bytes, peer, oversize, out } = batch.datagram(i);
        // A socket shut down for reading yields empty messages without a sender.
        let Some(peer) = peer else { continue };
        arrived += 1;
        if oversize {
            responder.counters.dropped(Protocol::Udp, bytes.len(), DropReason::Oversize);
        } else if cannot_be_answered(peer) {
            responder.counters.dropped(Protocol::Udp, bytes.len(), DropReason::BadSource);
        } else if let Some(len) = responder.datagram(bytes, peer, out) {
            batch.reply(i, len);
        }
    }
    if arrived > 0 {
        responder.counters.batch(arrived);
    }
}

fn send<E>(batch: &mut Batch, socket: &UdpSocket, responder: &mut Responder<E>) {
    if batch.queued() > 0 {
        batch.send(socket, |error| responder.counters.send_error(classify(error)));
    }
}

fn classify(error: &io::Error) -> SendError {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => SendError::Full,
        Some(
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::ECONNREFUSED,
        ) => SendError::Unreachable,
        Some(libc::EPERM | libc::EACCES) => SendError::Denied,
        _ => SendError::Other,
    }
}
