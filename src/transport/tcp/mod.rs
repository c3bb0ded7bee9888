//! Streams (RFC 7766): one thread a worker with a runtime of its own.
//!
//! A connection that waits holds no buffer. When it is readable, the worker reads into a buffer that all its connections
//! share, answers every complete query in it into another, and writes once. Only what cannot be dealt with at once is kept
//! with the connection: the beginning of a message, or responses that the client does not take; while there are such
//! responses nothing more is read. So a client holds at most `INPUT` plus one message, and `FLUSH` plus one response,
//! and all of them together no more than a limit of its own.
//!
//! No connection has a timer. A task looks at all of them some times a second and closes what is overdue.

mod stream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, LocalSet};

use super::limits::{Connections, Limits, Place};
use super::respond::Responder;
use super::shutdown::Stop;
use super::{Engine, bind::IDLE_WAKE};
use crate::telemetry::counters::{AcceptError, CloseReason, RefuseReason};
use stream::{Buffers, Conversation, Phase, Step};

/// How long the stop waits for clients to take the responses that are written already.
const DRAIN: Duration = Duration::from_secs(1);
/// At the stop, queries that the kernel has are given this long to be read.
const LAST_READ: Duration = Duration::from_millis(5);
/// How often a worker that takes nothing new looks whether all connections are gone.
const EMPTIED_EVERY: Duration = Duration::from_millis(100);
/// Pauses of an accept loop that lacks resources.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// Serves a listener until `stop`. Once only nothing new is to be taken, the listener is let go, and connections stay until their clients
/// are done with them, idle for too long, or the stop comes.
pub(super) fn serve<E: Engine>(
    runtime: &Runtime,
    listener: Arc<TcpListener>,
    responder: Responder<E>,
    connections: &Arc<Connections>,
    limits: &Limits,
    stop: &Stop,
) {
    let worker = Rc::new(Worker {
        buffers: RefCell::new(Buffers::new(responder)),
        open: RefCell::default(),
        next: Cell::new(0),
        connections: Arc::clone(connections),
        limits: limits.clone(),
        stopping: Cell::new(false),
    });
    let tasks = LocalSet::new();
    tasks.block_on(runtime, async {
        let accepting = match listener.try_clone().and_then(tokio::net::TcpListener::from_std) {
            Ok(accepting) => {
                let listening = Listening { accepting, _held: listener };
                tokio::task::spawn_local(accept(Rc::clone(&worker), listening))
            }
            Err(error) => {
                tracing::error!(%error, "a TCP listener cannot be served");
                return;
            }
        };
        tokio::select! {
            () = worker.look_after() => {}
            () = stop.wait() => {}
        }
        tokio::time::sleep(LAST_READ).await;
        accepting.abort();
        tokio::select! {
            () = worker.look_after() => {}
            () = worker.emptied() => {}
            () = stop.wait_for_end() => {}
        }
        worker.end().await;
    });
}

/// What the tasks of one worker share. They run on one thread, and no borrow lives across an await.
struct Worker<E> {
    buffers: RefCell<Buffers<E>>,
    open: RefCell<HashMap<u64, Open>>,
    next: Cell<u64>,
    connections: Arc<Connections>,
    limits: Limits,
    stopping: Cell<bool>,
}

/// A connection, as the worker sees it from outside.
struct Open {
    phase: Rc<Cell<Phase>>,
    task: AbortHandle,
    _place: Place,
}

/// A listener in use. Whoever looks for the listener's other holders sees this one until the descriptor is closed, so the order counts.
struct Listening {
    accepting: tokio::net::TcpListener,
    _held: Arc<TcpListener>,
}

async fn accept<E: Engine>(worker: Rc<Worker<E>>, listening: Listening) {
    let mut pause = PAUSE_FIRST;
    let mut failures = 0u32;
    loop {
        let error = match listening.accepting.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE_FIRST;
                failures = 0;
                worker.admit(stream, peer);
                continue;
            }
            Err(error) => error,
        };
        let reason = classify(&error);
        worker.buffers.borrow_mut().answering.responder.counters.accept_error(reason);
        failures += 1;
        // The connection stays in the backlog, so that accept would fail again at once without room or a pause.
        let made_room = reason == AcceptError::Resources && worker.make_room();
        match reason {
            // The client is gone; the next one waits.
            AcceptError::Aborted if !failures.is_multiple_of(16) => {}
            // The closed connection's task ends before this one goes on, and its descriptor with it: whoever waits need not
            // wait longer. If that did not help (others took it), pause, so that not all connections are spent at once.
            AcceptError::Resources if made_room && failures == 1 => tokio::task::yield_now().await,
            AcceptError::Aborted | AcceptError::Resources | AcceptError::Other => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MOST);
            }
        }
    }
}

fn classify(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptError::Resources,
        Some(libc::ECONNABORTED | libc::ECONNRESET | libc::EINTR | libc::EPROTO) => AcceptError::Aborted,
        _ => AcceptError::Other,
    }
}

impl<E: Engine> Worker<E> {
    /// Takes a connection, unless a cap says no. At the total cap the idlest connection of this worker makes room (RFC 7766
    /// §6.2.3 lets a server close idle connections); one that is in the middle of a message never does. At the client's own
    /// cap the new connection is closed: the client has others to use.
    fn admit(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let mut place = self.connections.enter(peer.ip());
        if matches!(place, Err(RefuseReason::Total)) && self.make_room() {
            place = self.connections.enter(peer.ip());
        }
        let place = match place {
            Ok(place) => place,
            Err(reason) => return self.buffers.borrow_mut().answering.responder.counters.refused(reason),
        };
        let id = self.next.replace(self.next.get() + 1);
        let phase = Rc::new(Cell::new(Phase::Idle(Instant::now())));
        let guard = Guard { worker: Rc::clone(self), id, reason: CloseReason::Client };
        let task = tokio::task::spawn_local(converse(guard, stream, peer, Rc::clone(&phase))).abort_handle();
        self.buffers.borrow_mut().answering.responder.counters.accepted();
        self.open.borrow_mut().insert(id, Open { phase, task, _place: place });
    }

    /// Closes the connection that has been idle longest. Says whether there was one.
    fn make_room(&self) -> bool {
        let idle = |(&id, open): (&u64, &Open)| match open.phase.get() {
            Phase::Idle(since) => Some((since, id)),
            Phase::Reading(_) | Phase::Writing(_) => None,
        };
        let idlest = self.open.borrow().iter().filter_map(idle).min();
        if let Some((_, id)) = idlest {
            self.close(id, CloseReason::MadeRoom);
        }
        idlest.is_some()
    }

    /// Ends a connection and frees its place; does nothing for one that has ended.
    fn close(&self, id: u64, reason: CloseReason) {
        let ended = self.open.borrow_mut().remove(&id);
        if let Some(open) = ended {
            open.task.abort();
            self.buffers.borrow_mut().answering.responder.counters.closed(reason);
        }
    }

    /// Closes what is overdue, again and again, and tells the engine when nothing is open.
    async fn look_after(&self) {
        let shortest = self.limits.idle.min(self.limits.message).min(self.limits.write);
        let every = (shortest / 4).clamp(Duration::from_millis(10), IDLE_WAKE / 4);
        let mut told = Instant::now();
        loop {
            tokio::time::sleep(every).await;
            let now = Instant::now();
            self.close_where(|phase| {
                let (since, most, reason) = match phase {
                    Phase::Idle(since) => (since, self.limits.idle, CloseReason::Idle),
                    Phase::Reading(since) => (since, self.limits.message, CloseReason::SlowRead),
                    Phase::Writing(since) => (since, self.limits.write, CloseReason::SlowWrite),
                };
                (now.saturating_duration_since(since) >= most).then_some(reason)
            });
            if now - told >= IDLE_WAKE {
                // Also with connections open: they may be idle all, and being told costs next to nothing.
                told = now;
                self.buffers.borrow_mut().answering.responder.idle();
            }
        }
    }

    /// Waits until no connection is open.
    async fn emptied(&self) {
        while !self.open.borrow().is_empty() {
            tokio::time::sleep(EMPTIED_EVERY).await;
        }
    }

    fn close_where(&self, reason: impl Fn(Phase) -> Option<CloseReason>) {
        let overdue: Vec<_> = self
            .open
            .borrow()
            .iter()
            .filter_map(|(&id, open)| reason(open.phase.get()).map(|reason| (id, reason)))
            .collect();
        for (id, reason) in overdue {
            self.close(id, reason);
        }
    }

    /// Closes what waits for the client to say something, and gives the others time to take their responses.
    async fn end(&self) {
        self.stopping.set(true);
        self.close_where(|phase| (!matches!(phase, Phase::Writing(_))).then_some(CloseReason::Stop));
        let end = Instant::now() + DRAIN;
        while !self.open.borrow().is_empty() && Instant::now() < end {
            tokio::time::sleep(LAST_READ).await;
        }
        self.close_where(|_| Some(CloseReason::Stop));
    }
}

/// Takes a connection off the list when its task ends, in whichever way.
struct Guard<E: Engine> {
    worker: Rc<Worker<E>>,
    id: u64,
    reason: CloseReason,
}

impl<E: Engine> Drop for Guard<E> {
    fn drop(&mut self) {
        self.worker.close(self.id, self.reason);
    }
}

async fn converse<E: Engine>(
    mut guard: Guard<E>,
    stream: TcpStream,
    peer: SocketAddr,
    phase: Rc<Cell<Phase>>,
) {
    let mut conversation = Conversation::new(peer, &guard.worker.connections);
    let worker = Rc::clone(&guard.worker);
    loop {
        let step = worker.buffers.borrow_mut().step(&stream, &mut conversation, &phase);
        let ready = match step {
            Step::AwaitReadable if worker.stopping.get() => {
                guard.reason = CloseReason::Stop;
                return;
            }
            Step::AwaitReadable => stream.readable().await,
            Step::AwaitWritable => stream.writable().await,
            Step::Close(reason) => {
                guard.reason = reason;
                return;
            }
        };
        if ready.is_err() {
            return;
        }
    }
}
