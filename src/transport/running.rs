//! From configuration to running workers, and back to none.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::bind::{BindError, Sockets, bind_all};
use super::cores::Cores;
use super::handed::Handed;
use super::limits::Limits;
use super::privilege::PortPrivilege;
use super::respond::Responder;
use super::shutdown::Stop;
use super::{Engine, portable};
use crate::config::ListenAddress;
use crate::telemetry::counters::Counters;
use crate::telemetry::query_log::QueryLog;

/// A worker that panicked is started again after this long.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Binds UDP and TCP on every address, for so many workers (at least one), without answering yet. Queries that arrive
/// before [`Bound::start`] wait in the kernel.
///
/// With `portable`, or where batched system calls do not exist, hickory-server will carry them; `limits` has no effect on
/// its TCP but for the idle time.
///
/// # Errors
/// The first address that cannot be bound, with what to do about it. An [`optional`](ListenAddress::optional) address of a
/// family that the machine does not have is no error, unless none is left.
pub fn bind(
    listen: &[ListenAddress],
    workers: usize,
    limits: Limits,
    portable: bool,
) -> Result<Bound, BindError> {
    let _privilege = PortPrivilege::raise();
    let workers = possible(workers);
    let sockets = bind_all(listen, workers, limits.receive_buffer)?;
    Ok(Bound::new(sockets, workers, limits, portable))
}

/// As [`bind`], with the sockets that the service manager has opened in place of addresses. Workers share them where there are
/// fewer of an address than workers.
///
/// # Errors
/// A socket that does not take the options that it needs.
pub fn adopt(handed: Handed, workers: usize, limits: Limits, portable: bool) -> Result<Bound, BindError> {
    let workers = possible(workers);
    let sockets = handed.for_workers(workers, limits.receive_buffer)?;
    Ok(Bound::new(sockets, workers, limits, portable))
}

/// Elsewhere SO_REUSEPORT is missing, or gives everything to the last socket.
fn possible(workers: usize) -> usize {
    if cfg!(target_os = "linux") { workers.max(1) } else { 1 }
}

/// Sockets that are bound and wait.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Sockets>,
    workers: usize,
    limits: Limits,
    portable: bool,
    pin: bool,
    query_log: Option<Arc<QueryLog>>,
}

impl Bound {
    fn new(sockets: Vec<Sockets>, workers: usize, limits: Limits, portable: bool) -> Self {
        let portable = portable || cfg!(not(target_os = "linux"));
        Self { sockets, workers, limits, portable, pin: false, query_log: None }
    }

    /// Whether each worker's threads stay on one core: the first on the first that the process may use, and so on, round again
    /// where there are more workers. Only on Linux.
    #[must_use]
    pub fn pinned(self, pin: bool) -> Self {
        Self { pin, ..self }
    }

    /// Where queries are recorded, if anywhere.
    #[must_use]
    pub fn recorded(self, query_log: Option<Arc<QueryLog>>) -> Self {
        Self { query_log, ..self }
    }

    /// What is listened on, for UDP and TCP alike, in the order configured: port 0 is replaced by the port taken, and
    /// optional addresses that could not be had are missing.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|s| s.address).collect()
    }

    /// Starts all threads. `engine` is called with the worker's number on each thread that answers, and again where a worker
    /// panicked and is started anew.
    ///
    /// # Errors
    /// A thread or runtime that the system does not give.
    pub fn start<E, F>(self, engine: F, counters: Arc<Counters>) -> io::Result<Running>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        let stop = Stop::default();
        let mut running = Running { stop: stop.clone(), threads: Vec::new(), wakers: Vec::new() };
        let limits = self.limits.clone();
        let cores = if self.pin { Cores::allowed()? } else { Cores::default() };
        let query_log = self.query_log.clone();
        let context = Context { cores, engine: Arc::new(engine), counters, query_log, limits, stop };
        // An error drops `running`, which ends the threads started so far.
        if self.portable {
            running.start_portable(self, &context)?;
        } else {
            running.start_batched(self, &context)?;
        }
        Ok(running)
    }
}

/// What every thread is given.
struct Context<F> {
    engine: Arc<F>,
    counters: Arc<Counters>,
    query_log: Option<Arc<QueryLog>>,
    limits: Limits,
    cores: Cores,
    stop: Stop,
}

/// Workers at work.
#[derive(Debug)]
pub struct Running {
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    /// UDP sockets whose blocked readers are woken at the stop. Not those of the service manager: what is shut down stays so, and
    /// the next process is handed the same ones. Their readers look up by themselves ([`IDLE_WAKE`](super::bind::IDLE_WAKE)).
    wakers: Vec<UdpSocket>,
}

impl Running {
    /// Stops reading, answers what was read, and waits for all threads: some milliseconds, or up to a second where TCP
    /// clients have responses to take. It blocks; an async caller uses `spawn_blocking`.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.give();
        for socket in self.wakers.drain(..) {
            // Linux says ENOTCONN for a socket without a peer, and wakes its readers all the same.
            let _ = socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Read);
        }
        for thread in self.threads.drain(..) {
            // Panics are caught within the thread.
            let _ = thread.join();
        }
    }

    #[cfg(target_os = "linux")]
    fn start_batched<E, F>(&mut self, bound: Bound, context: &Context<F>) -> io::Result<()>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        let connections = super::limits::Connections::new(&bound.limits);
        for socket in bound.sockets.iter().filter(|group| !group.handed).flat_map(|group| &group.udp) {
            self.wakers.push(socket.try_clone()?.into());
        }
        for (worker, (datagrams, listeners)) in
            by_worker(bound.sockets, bound.workers).into_iter().enumerate()
        {
            for socket in datagrams {
                self.spawn(format!("hale-udp-{worker}"), worker, context, move |mut responder, stop| {
                    super::udp::serve(&socket, &mut responder, &stop);
                })?;
            }
            let runtime = single_threaded()?;
            let (connections, limits) = (Arc::clone(&connections), bound.limits.clone());
            self.spawn(format!("hale-tcp-{worker}"), worker, context, move |responder, stop| {
                super::tcp::serve(&runtime, &listeners, responder, &connections, &limits, &stop);
            })?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn start_batched<E, F>(&mut self, bound: Bound, context: &Context<F>) -> io::Result<()>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        self.start_portable(bound, context)
    }

    /// UDP and TCP have a thread and a runtime each, so that a listener in trouble leaves datagrams alone.
    fn start_portable<E, F>(&mut self, bound: Bound, context: &Context<F>) -> io::Result<()>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        for (worker, (datagrams, listeners)) in
            by_worker(bound.sockets, bound.workers).into_iter().enumerate()
        {
            let runtime = single_threaded()?;
            self.spawn(format!("hale-udp-{worker}"), worker, context, move |responder, stop| {
                portable::serve_udp(&runtime, &datagrams, responder, &stop);
            })?;
            let (runtime, idle) = (single_threaded()?, bound.limits.idle);
            self.spawn(format!("hale-tcp-{worker}"), worker, context, move |responder, stop| {
                portable::serve_tcp(&runtime, &listeners, idle, responder, &stop);
            })?;
        }
        Ok(())
    }

    /// A thread that runs `body` until the stop, with a new engine and writer each time: a worker that panicked on one message
    /// must not leave its share of the queries unanswered from then on.
    fn spawn<E, F>(
        &mut self,
        name: String,
        worker: usize,
        context: &Context<F>,
        body: impl Fn(Responder<E>, Stop) + Send + 'static,
    ) -> io::Result<()>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        let (engine, counters, stop) =
            (Arc::clone(&context.engine), Arc::clone(&context.counters), context.stop.clone());
        let (limits, query_log) = (context.limits.clone(), context.query_log.clone());
        let core = context.cores.of(worker);
        // The body runs also where the stop comes before the thread does: what has arrived by then is answered.
        let run = move || {
            core.take(worker);
            loop {
                // What a panic leaves behind is dropped: the engine and the writer are made anew, sockets hold no state.
                let once = AssertUnwindSafe(|| {
                    let tap = query_log.as_deref().map(QueryLog::tap);
                    body(Responder::new(engine(worker), counters.writer(), &limits, tap), stop.clone());
                });
                let panicked = catch_unwind(once).is_err();
                if !panicked || stop.requested() {
                    return;
                }
                tracing::error!(worker, "a worker panicked and is started again; please report this");
                thread::sleep(RESTART_PAUSE);
            }
        };
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Each worker's own sockets: at least one of each kind from every address.
fn by_worker(addresses: Vec<Sockets>, workers: usize) -> Vec<(Vec<UdpSocket>, Vec<TcpListener>)> {
    let mut all: Vec<(Vec<UdpSocket>, Vec<TcpListener>)> = (0..workers).map(|_| Default::default()).collect();
    for sockets in addresses {
        // The service manager may hand over more than there are workers, and each must be read: the kernel spreads flows over all.
        for (i, udp) in sockets.udp.into_iter().enumerate() {
            all[i % workers].0.push(udp.into());
        }
        for (i, tcp) in sockets.tcp.into_iter().enumerate() {
            all[i % workers].1.push(tcp.into());
        }
    }
    all
}

fn single_threaded() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
