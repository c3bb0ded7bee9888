//! One connection's messages: framing (RFC 1035 §4.2.2), answering, and what is kept between two turns.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::answer::Transport;
use crate::telemetry::counters::CloseReason;
use crate::transport::Engine;
use crate::transport::limits::{Connections, Kept};
use crate::transport::respond::Responder;

/// Octets read at once.
pub(super) const INPUT: usize = 16 * 1024;
/// Responses are written when so many octets have come together, or no complete query is left.
pub(super) const FLUSH: usize = 16 * 1024;
/// The largest message with its length.
const FRAME: usize = 2 + u16::MAX as usize;
/// First size of a buffer for a message that did not come whole.
const HELD: usize = 512;

/// What a connection is doing, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Between messages.
    Idle(Instant),
    /// Within a message, since its first octets.
    Reading(Instant),
    /// Waiting for the client to take responses.
    Writing(Instant),
}

/// What to do next with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    AwaitReadable,
    AwaitWritable,
    Close(CloseReason),
}

/// What one connection keeps while it waits: nothing, when it is idle.
pub(super) struct Conversation {
    peer: SocketAddr,
    /// Octets received and not yet answered: the beginning of a message, or also whole ones while responses wait.
    held: Vec<u8>,
    /// Responses that the client has not taken.
    unsent: Vec<u8>,
    /// Octets of `unsent` that it has taken since.
    taken: usize,
    /// To be closed for this reason once everything is sent.
    closing: Option<CloseReason>,
    /// What `held` and `unsent` take of the memory for all connections.
    kept: Kept,
}

impl Conversation {
    pub(super) fn new(peer: SocketAddr, connections: &Arc<Connections>) -> Self {
        let kept = Kept::new(connections);
        Self { peer, held: Vec::new(), unsent: Vec::new(), taken: 0, closing: None, kept }
    }
}

/// What all connections of a worker share: the engine, and the buffers of the one being served.
pub(super) struct Buffers<E> {
    pub(super) answering: Answering<E>,
    input: Box<[u8]>,
}

/// The engine and what it writes to.
pub(super) struct Answering<E> {
    pub(super) responder: Responder<E>,
    output: Box<[u8]>,
}

impl<E: Engine> Buffers<E> {
    pub(super) fn new(responder: Responder<E>) -> Self {
        let answering = Answering { responder, output: vec![0; FLUSH + FRAME].into() };
        Self { answering, input: vec![0; INPUT].into() }
    }

    /// Does what can be done without waiting. A connection for which more would have to be kept than there is room for is closed:
    /// those that come and go in whole messages keep nothing.
    pub(super) fn step(&mut self, stream: &TcpStream, talk: &mut Conversation, phase: &Cell<Phase>) -> Step {
        let step = self.go_on(stream, talk, phase);
        let is_kept = talk.kept.set(talk.held.capacity() + talk.unsent.capacity());
        if is_kept || matches!(step, Step::Close(_)) { step } else { Step::Close(CloseReason::Memory) }
    }

    /// Sends what was left, then answers what is held, then reads once and answers that.
    fn go_on(&mut self, stream: &TcpStream, talk: &mut Conversation, phase: &Cell<Phase>) -> Step {
        if !talk.unsent.is_empty() {
            match send_rest(stream, talk) {
                Ok(true) => {
                    let now = Instant::now();
                    phase.set(if talk.held.is_empty() { Phase::Idle(now) } else { Phase::Reading(now) });
                }
                Ok(false) => return Step::AwaitWritable,
                Err(_) => return Step::Close(CloseReason::Client),
            }
            if let Some(step) = self.answer_held(stream, talk, phase) {
                return step;
            }
        }
        if let Some(reason) = talk.closing {
            return Step::Close(reason);
        }
        let (read, room) = if talk.held.is_empty() {
            (stream.try_read(&mut self.input), INPUT)
        } else {
            make_space(&mut talk.held);
            let room = talk.held.capacity() - talk.held.len();
            (stream.try_read_buf(&mut talk.held), room)
        };
        if read.as_ref().is_ok_and(|n| (1..room).contains(n)) {
            forget_readable(stream);
        }
        match read {
            // Half-closed: everything that came before has been answered and sent.
            Ok(0) => Step::Close(CloseReason::Client),
            Ok(n) => {
                if talk.held.is_empty() {
                    self.answer_input(n, stream, talk, phase)
                } else {
                    self.answer_held(stream, talk, phase).unwrap_or(Step::AwaitReadable)
                }
            }
            Err(e) if is_temporary(&e) => Step::AwaitReadable,
            Err(_) => Step::Close(CloseReason::Client),
        }
    }

    /// Answers what lies in the shared buffer and keeps the rest with the connection.
    fn answer_input(
        &mut self,
        n: usize,
        stream: &TcpStream,
        talk: &mut Conversation,
        phase: &Cell<Phase>,
    ) -> Step {
        let used = self.answering.answer_all(&self.input[..n], stream, talk);
        talk.held.extend_from_slice(&self.input[used..n]);
        after(used, talk, phase)
    }

    /// Answers what the connection holds; `None` where it holds no complete message.
    fn answer_held(
        &mut self,
        stream: &TcpStream,
        talk: &mut Conversation,
        phase: &Cell<Phase>,
    ) -> Option<Step> {
        next_message(&talk.held)?;
        let mut held = std::mem::take(&mut talk.held);
        let used = self.answering.answer_all(&held, stream, talk);
        held.drain(..used);
        if !held.is_empty() {
            talk.held = held;
        }
        Some(after(used, talk, phase))
    }
}

impl<E: Engine> Answering<E> {
    /// Answers the complete messages in `bytes` until there are no more or the client takes no more, and says how many octets
    /// were dealt with. What could not be sent is kept with the connection.
    fn answer_all(&mut self, bytes: &[u8], stream: &TcpStream, talk: &mut Conversation) -> usize {
        self.responder.begin(false);
        // A call of the system for each read, and only where it is recorded.
        self.responder.asked(|| stream.local_addr().ok());
        let used = self.answer_each(bytes, stream, talk);
        self.responder.end(Transport::Tcp);
        used
    }

    fn answer_each(&mut self, bytes: &[u8], stream: &TcpStream, talk: &mut Conversation) -> usize {
        let (mut used, mut filled) = (0, 0);
        while let Some(message) = next_message(&bytes[used..]) {
            if message.is_empty() {
                // No message is empty: the stream is out of step, and nothing after this can be trusted.
                talk.closing = Some(CloseReason::Protocol);
                used = bytes.len();
                break;
            }
            used += 2 + message.len();
            filled += self.answer(message, filled, talk.peer);
            if filled >= FLUSH {
                send_or_keep(stream, &self.output[..filled], talk);
                filled = 0;
                if !talk.unsent.is_empty() || talk.closing.is_some() {
                    return used;
                }
            }
        }
        if filled > 0 {
            send_or_keep(stream, &self.output[..filled], talk);
        }
        used
    }

    /// Answers one message into the output at `at`, and says how many octets that took.
    fn answer(&mut self, message: &[u8], at: usize, peer: SocketAddr) -> usize {
        let frame = &mut self.output[at..at + FRAME];
        let Some(len) = self.responder.message(message, peer, &mut frame[2..]) else { return 0 };
        // An engine given 65,535 octets of room cannot have written more.
        frame[..2].copy_from_slice(&(len as u16).to_be_bytes());
        2 + len
    }
}

/// The next step and the phase, when `used` octets have been answered just now.
fn after(used: usize, talk: &Conversation, phase: &Cell<Phase>) -> Step {
    let now = Instant::now();
    if !talk.unsent.is_empty() {
        phase.set(Phase::Writing(now));
        return Step::AwaitWritable;
    }
    if let Some(reason) = talk.closing {
        return Step::Close(reason);
    }
    if talk.held.is_empty() {
        phase.set(Phase::Idle(now));
    } else if used > 0 || matches!(phase.get(), Phase::Idle(_)) {
        // Octets that do not complete a message leave its deadline where it is.
        phase.set(Phase::Reading(now));
    }
    Step::AwaitReadable
}

/// The message at the start of `bytes`, without its length, if it is there whole.
fn next_message(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Room for the rest of the message that `held` begins, doubling: memory follows what was sent, not what was announced.
fn make_space(held: &mut Vec<u8>) {
    if held.len() < held.capacity() {
        return;
    }
    let whole = held.first_chunk::<2>().map_or(FRAME, |length| 2 + usize::from(u16::from_be_bytes(*length)));
    let more = held.len().max(HELD).min(whole.saturating_sub(held.len()).max(1));
    held.reserve_exact(more);
}

/// Writes `bytes`; what the client does not take now is kept.
fn send_or_keep(stream: &TcpStream, bytes: &[u8], talk: &mut Conversation) {
    let sent = match stream.try_write(bytes) {
        Ok(n) => n,
        Err(e) if is_temporary(&e) => 0,
        Err(_) => {
            talk.closing = Some(CloseReason::Client);
            return;
        }
    };
    talk.unsent.extend_from_slice(&bytes[sent..]);
}

/// Writes on; true when nothing is left.
fn send_rest(stream: &TcpStream, talk: &mut Conversation) -> io::Result<bool> {
    while talk.taken < talk.unsent.len() {
        match stream.try_write(&talk.unsent[talk.taken..]) {
            Ok(n) => talk.taken += n,
            Err(e) if is_temporary(&e) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    talk.unsent = Vec::new();
    talk.taken = 0;
    Ok(true)
}

/// After a read that left room: nothing more is there, which another read would have to be made to find out. What arrives from now on, and
/// an end that has arrived, wake the connection all the same. It saves one of the calls that each query on a connection of its own takes.
fn forget_readable(stream: &TcpStream) {
    let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
