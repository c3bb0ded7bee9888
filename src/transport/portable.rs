//! UDP one datagram a call, and TCP by hickory-server, where batched system calls do not exist or `--portable` asks for it.
//!
//! UDP was hickory's, too. It answers what it cannot parse with a FORMERR of its own, responses included: two such servers could be set upon
//! each other by one forged datagram (CVE-2024-2169). What takes less than the standard library has is here: a wildcard socket answers from
//! the address that the kernel's routing chooses, not from the one that was asked.
//!
//! On TCP hickory parses each message before the engine sees it, and can send nothing but messages that it encodes itself. So the
//! engine answers the raw octets, its response is decoded, and hickory encodes it again: the same message in content, not
//! always in octets (compression differs). What it cannot do:
//!
//! - A message that hickory cannot parse gets its FORMERR, without question and OPT, instead of the engine's response.
//! - A header that announces 65,535 questions makes hickory reserve memory for them until it finds that they are not there.
//! - There is an idle timeout but no caps; a message in work at the stop is given up.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts, Message, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponseBuilder, Queries};
use tokio::runtime::Runtime;

use super::Engine;
use super::bind::IDLE_WAKE;
use super::respond::{Responder, cannot_be_answered};
use super::shutdown::Stop;
use crate::answer::Transport;
use crate::telemetry::counters::{DropReason, Protocol, SendError};

/// Responses that wait for a slow TCP client before hickory gives the connection up.
const RESPONSE_BUFFER: usize = 32;
/// Errors in a row before a datagram worker pauses between attempts.
const ERRORS_IN_A_ROW: u32 = 8;
/// hickory's accept loop ends with ECONNABORTED; it is started again after this long.
const RESTART_PAUSE: Duration = Duration::from_millis(10);

/// Serves datagrams until `stop`. The socket blocks, and has a receive timeout at which the engine is told that it is idle.
pub(super) fn serve_udp<E: Engine>(socket: &UdpSocket, responder: &mut Responder<E>, stop: &Stop) {
    let (mut input, mut output) = (vec![0; usize::from(u16::MAX)], vec![0; usize::from(u16::MAX)]);
    let address = socket.local_addr().ok();
    let mut errors = 0;
    while !stop.requested() {
        match socket.recv_from(&mut input) {
            Ok((len, peer)) => {
                errors = 0;
                responder.begin(false);
                responder.asked(|| address);
                answer_datagram(socket, &input[..len], peer, responder, &mut output);
                responder.end(Transport::Udp);
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                responder.idle();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                // A socket that is shut down for the stop, or an ICMP error of an earlier response. One that stays must not become a busy loop.
                responder.counters.receive_error();
                errors += 1;
                if errors >= ERRORS_IN_A_ROW {
                    std::thread::sleep(RESTART_PAUSE);
                }
            }
        }
    }
}

fn answer_datagram<E: Engine>(
    socket: &UdpSocket,
    bytes: &[u8],
    peer: SocketAddr,
    responder: &mut Responder<E>,
    output: &mut [u8],
) {
    responder.counters.batch(1);
    if cannot_be_answered(peer) {
        responder.counters.dropped(Protocol::Udp, bytes.len(), DropReason::BadSource);
        return;
    }
    let Some(len) = responder.datagram(bytes, peer, output) else { return };
    if let Err(error) = socket.send_to(&output[..len], peer) {
        responder.counters.send_error(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => SendError::Full,
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::ConnectionRefused => SendError::Unreachable,
            io::ErrorKind::PermissionDenied => SendError::Denied,
            _ => SendError::Other,
        });
    }
}

/// Serves streams until `stop`; a connection is closed when it has been idle for `idle`.
pub(super) fn serve_tcp<E: Engine>(
    runtime: &Runtime,
    listener: &TcpListener,
    idle: Duration,
    responder: Responder<E>,
    stop: &Stop,
) {
    let handler = Handler(Arc::new(Mutex::new(Answering {
        responder,
        address: listener.local_addr().ok(),
        out: vec![0; usize::from(u16::MAX)],
    })));
    runtime.block_on(handler.serve_one(stop, |server| {
        let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
        server.register_listener(listener, idle, RESPONSE_BUFFER);
        Ok(())
    }));
}

/// The engine behind a lock, since hickory calls its handler through `&self`. All callers are on one thread: the lock is
/// never waited for.
struct Handler<E>(Arc<Mutex<Answering<E>>>);

impl<E> Clone for Handler<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Answering<E> {
    responder: Responder<E>,
    /// Of the listener.
    address: Option<SocketAddr>,
    out: Vec<u8>,
}

impl<E: Engine> Handler<E> {
    /// By a hickory server; one that ends is started again.
    async fn serve_one(&self, stop: &Stop, register: impl Fn(&mut Server<Self>) -> io::Result<()>) {
        while !stop.requested() {
            let mut server = Server::new(self.clone());
            match register(&mut server) {
                Ok(()) => self.until_done(&mut server, stop).await,
                Err(error) => tracing::error!(%error, "a socket cannot be served"),
            }
            if !stop.requested() {
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }

    async fn until_done(&self, server: &mut Server<Self>, stop: &Stop) {
        loop {
            tokio::select! {
                result = server.block_until_done() => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "hickory-server ended and is started again");
                    }
                    return;
                }
                () = stop.wait() => {
                    let _ = server.shutdown_gracefully().await;
                    return;
                }
                () = tokio::time::sleep(IDLE_WAKE) => self.lock().responder.engine.idle(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answering<E>> {
        // After a panic the engine answers on; nothing of it depends on the message before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's response, decoded, with its question as hickory wants it; `None` where nothing is to be sent.
    fn respond(&self, request: &Request) -> Option<Result<(Message, Queries), DecodeError>> {
        let Answering { responder, address, out } = &mut *self.lock();
        responder.begin(false);
        responder.asked(|| *address);
        let len = responder.message(request.as_slice(), request.src(), out);
        responder.end(Transport::Tcp);
        len.map(|len| decode(&out[..len]))
    }
}

fn decode(response: &[u8]) -> Result<(Message, Queries), DecodeError> {
    let message = Message::from_vec(response)?;
    let mut decoder = BinDecoder::new(response);
    Header::read(&mut decoder)?;
    let queries = Queries::read(&mut decoder, message.queries.len())?;
    Ok((message, queries))
}

#[async_trait]
impl<E: Engine> RequestHandler for Handler<E> {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut handle: R,
    ) -> ResponseInfo {
        let sent = match self.respond(request) {
            None => return nothing(request),
            Some(Ok((message, queries))) => {
                let response = MessageResponseBuilder::new(&queries, message.edns.as_ref()).build(
                    message.metadata,
                    &message.answers,
                    &message.authorities,
                    [],
                    &message.additionals,
                );
                handle.send_response(response).await
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a response that hickory cannot decode is answered SERVFAIL; serve without --portable");
                let builder = MessageResponseBuilder::from_message_request(request);
                handle.send_response(builder.error_msg(&request.metadata, ResponseCode::ServFail)).await
            }
        };
        // The client is gone, mostly.
        sent.unwrap_or_else(|_| nothing(request))
    }
}

/// hickory wants to be told of a response also where there is none.
fn nothing(request: &Request) -> ResponseInfo {
    Header { metadata: request.metadata, counts: HeaderCounts::default() }.into()
}
