//! From configuration to running workers, and back to none.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::runtime::Runtime;

use super::bind::{BindError, Sockets, bind_all, bind_more, overlap, share, widen};
use super::cores::Cores;
use super::handed::Handed;
use super::limits::{Connections, Limits};
use super::privilege::PortPrivilege;
use super::respond::Responder;
use super::shutdown::Stop;
use super::{Engine, portable};
use crate::config::ListenAddress;
use crate::telemetry::counters::Counters;
use crate::telemetry::query_log::QueryLog;

/// A worker that panicked is started again after this long.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// So long the sockets of an address that is given up are waited for: a worker that waits for a datagram looks up once a second.
const LONGEST_CLOSE: Duration = Duration::from_secs(2);

/// Binds UDP and TCP on every address, for so many workers (at least one), without answering yet. Queries that arrive
/// before [`Bound::start`] wait in the kernel.
///
/// With `portable`, or where batched system calls do not exist, datagrams are answered one by one, and hickory-server will carry TCP, on
/// which `limits` then has no effect but for the idle time.
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
        let is_handed = self.sockets.iter().any(|sockets| sockets.handed);
        let mut running = Running {
            groups: self.sockets.into_iter().map(Group::new).collect(),
            retired: Vec::new(),
            connections: Connections::new(&self.limits),
            counters,
            cores: if self.pin { Cores::allowed()? } else { Cores::default() },
            workers: self.workers,
            portable: self.portable,
            is_handed,
            query_log: self.query_log,
        };
        // An error drops `running`, which ends the threads started so far.
        running.start(&self.limits, &Arc::new(engine), |_| true)?;
        Ok(running)
    }
}

/// One address and who serves it.
#[derive(Debug)]
struct Group {
    /// As it stands in the list.
    configured: SocketAddr,
    /// As bound.
    address: SocketAddr,
    /// At least one socket of each kind for each worker: the service manager may hand over more than there are workers, and each must be read,
    /// since the kernel spreads flows over all. Who serves a listener holds it weakly, so that it is closed as soon as nobody is to.
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<Arc<TcpListener>>,
    /// Whether the service manager holds them too.
    handed: bool,
    team: Team,
}

/// Threads that end together.
#[derive(Debug, Default)]
struct Team {
    stop: Stop,
    udp: Vec<JoinHandle<()>>,
    tcp: Vec<JoinHandle<()>>,
}

impl Group {
    fn new(sockets: Sockets) -> Self {
        let Sockets { configured, address, udp, tcp, handed } = sockets;
        let udp = udp.into_iter().map(|socket| Arc::new(socket.into())).collect();
        let tcp = tcp.into_iter().map(|socket| Arc::new(socket.into())).collect();
        Self { configured, address, udp, tcp, handed, team: Team::default() }
    }

    /// Wakes those who wait for datagrams, after a signal. The sockets are of no use afterwards; so those of the service manager stay as they
    /// are, for the next process to be handed, and their readers look up by themselves ([`IDLE_WAKE`](super::bind::IDLE_WAKE)).
    fn wake(&self) {
        if self.handed {
            return;
        }
        for socket in &self.udp {
            // Linux says ENOTCONN for a socket without a peer, and wakes its readers all the same.
            let _ = SockRef::from(&**socket).shutdown(std::net::Shutdown::Read);
        }
    }
}

/// What a change of listeners came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Addresses that are served from now on, as bound.
    pub added: Vec<SocketAddr>,
    /// Addresses that no longer are.
    pub removed: Vec<SocketAddr>,
}

/// Workers at work.
pub struct Running {
    groups: Vec<Group>,
    /// Those who take nothing new: of addresses that are gone, or with settings that are.
    retired: Vec<Team>,
    connections: Arc<Connections>,
    counters: Arc<Counters>,
    cores: Cores,
    workers: usize,
    portable: bool,
    is_handed: bool,
    query_log: Option<Arc<QueryLog>>,
}

impl Running {
    /// Whether the sockets are the service manager's: then it alone says where queries are answered.
    pub fn is_handed(&self) -> bool {
        self.is_handed
    }

    /// What is listened on now; see [`Bound::addresses`].
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.groups.iter().map(|group| group.address).collect()
    }

    /// Serves these addresses from now on. Those that stay keep their sockets; with `renews` other workers take them over, with these
    /// limits and engines, before the old ones let go: no datagram is lost, and connections stay. Blocks for some milliseconds.
    ///
    /// # Errors
    /// An address that cannot be bound, or a thread that the system does not give; then everything is as it was.
    pub fn change<E, F>(
        &mut self,
        listen: &[ListenAddress],
        limits: &Limits,
        renews: bool,
        engine: F,
    ) -> Result<Moved, BindError>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        self.forget_ended();
        let _privilege = PortPrivilege::raise();
        let engine = Arc::new(engine);
        let is_handed = self.is_handed;
        let listen = if is_handed { &[] } else { listen };
        let stays = |group: &Group| is_handed || listen.iter().any(|entry| entry.address == group.configured);
        let mut fresh = Vec::new();
        for entry in listen {
            if self.groups.iter().any(|group| group.configured == entry.address) {
                continue;
            }
            let going = self.groups.iter().filter(|g| !stays(g) && overlap(g.address, entry.address));
            let beside: Vec<&Group> = going.collect();
            for group in &beside {
                group.share().map_err(|error| failed(entry.address, error))?;
            }
            fresh.extend(bind_more(*entry, self.workers, limits.receive_buffer, !beside.is_empty())?);
        }
        if fresh.is_empty() && !self.groups.iter().any(stays) {
            let address = listen.first().map_or_else(|| ([0, 0, 0, 0], 0).into(), |entry| entry.address);
            return Err(failed(address, io::Error::other("no address left to listen on")));
        }
        let (known, added) = (self.groups.len(), fresh.iter().map(|sockets| sockets.address).collect());
        self.groups.extend(fresh.into_iter().map(Group::new));
        if let Err(error) = self.start(limits, &engine, |nth| nth >= known) {
            for group in self.groups.drain(known..) {
                group.team.stop.give();
                group.wake();
                self.retired.push(group.team);
            }
            return Err(failed(([0, 0, 0, 0], 0).into(), error));
        }
        if renews {
            self.renew(limits, &engine, known);
        }
        let (stay, gone): (Vec<_>, Vec<_>) =
            self.groups.drain(..).enumerate().partition(|(nth, group)| *nth >= known || stays(group));
        self.groups = stay.into_iter().map(|(_, group)| group).collect();
        let removed = gone.iter().map(|(_, group)| group.address).collect();
        gone.into_iter().for_each(|(_, group)| self.let_go(group));
        Ok(Moved { added, removed })
    }

    /// Has others take over the first groups. Who cannot be replaced goes on as he is.
    fn renew<E, F>(&mut self, limits: &Limits, engine: &Arc<F>, known: usize)
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        self.connections.set_caps(limits);
        for nth in 0..known {
            let group = &mut self.groups[nth];
            widen(group.udp.iter().map(|s| SockRef::from(&**s)), group.address, limits.receive_buffer);
            let old = std::mem::take(&mut group.team);
            match self.start(limits, engine, |other| other == nth) {
                // A worker that waits for a datagram sees it with the next one, which it answers, or within a second.
                Ok(()) => {
                    old.stop.retire();
                    self.retired.push(old);
                }
                Err(error) => {
                    tracing::error!(%error, "a worker goes on with the limits it has");
                    let started = std::mem::replace(&mut self.groups[nth].team, old);
                    started.stop.retire();
                    self.retired.push(started);
                }
            }
        }
    }

    /// Closes the sockets of an address. What its datagram workers have is answered; connections stay until their clients are done. The
    /// address is free when this returns: the next change may want it again.
    fn let_go(&mut self, mut group: Group) {
        group.team.stop.retire();
        group.wake();
        for thread in group.team.udp.drain(..) {
            // Panics are caught within the thread.
            let _ = thread.join();
        }
        // Others may hold them a little longer: the TCP workers, and datagram workers that a renewal has replaced just before.
        let tcp: Vec<_> = group.tcp.drain(..).map(|listener| Arc::downgrade(&listener)).collect();
        let udp: Vec<_> = group.udp.drain(..).map(|socket| Arc::downgrade(&socket)).collect();
        let held = || tcp.iter().any(|s| s.strong_count() > 0) || udp.iter().any(|s| s.strong_count() > 0);
        let deadline = Instant::now() + LONGEST_CLOSE;
        while held() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.retired.push(group.team);
    }

    fn forget_ended(&mut self) {
        self.retired.retain(|team| team.udp.iter().chain(&team.tcp).any(|thread| !thread.is_finished()));
    }

    /// Stops reading, answers what was read, and waits for all threads: some milliseconds, or up to a second where TCP
    /// clients have responses to take. It blocks; an async caller uses `spawn_blocking`.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let groups: Vec<Group> = self.groups.drain(..).collect();
        self.retired.iter().chain(groups.iter().map(|group| &group.team)).for_each(|team| team.stop.give());
        groups.iter().for_each(Group::wake);
        let teams = groups.into_iter().map(|group| group.team).chain(self.retired.drain(..));
        for thread in teams.flat_map(|team| team.udp.into_iter().chain(team.tcp)) {
            // Panics are caught within the thread.
            let _ = thread.join();
        }
    }

    /// Starts the threads of the groups whose number `is_wanted`.
    fn start<E, F>(
        &mut self,
        limits: &Limits,
        engine: &Arc<F>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> io::Result<()>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        for nth in (0..self.groups.len()).filter(|nth| is_wanted(*nth)) {
            for socket in 0..self.groups[nth].udp.len() {
                let thread = self.start_udp(nth, socket, limits, engine)?;
                self.groups[nth].team.udp.push(thread);
            }
            for socket in 0..self.groups[nth].tcp.len() {
                let thread = self.start_tcp(nth, socket, limits, engine)?;
                self.groups[nth].team.tcp.push(thread);
            }
        }
        Ok(())
    }

    fn start_udp<E, F>(
        &self,
        nth: usize,
        socket: usize,
        limits: &Limits,
        engine: &Arc<F>,
    ) -> io::Result<JoinHandle<()>>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        let group = &self.groups[nth];
        let (socket, worker) = (Arc::clone(&group.udp[socket]), socket % self.workers);
        let stop = &group.team.stop;
        let name = format!("hale-udp-{worker}");
        #[cfg(target_os = "linux")]
        if !self.portable {
            return self.spawn(name, worker, stop, limits.clone(), engine, move |mut responder, stop| {
                super::udp::serve(&socket, &mut responder, &stop);
            });
        }
        self.spawn(name, worker, stop, limits.clone(), engine, move |mut responder, stop| {
            portable::serve_udp(&socket, &mut responder, &stop);
        })
    }

    /// TCP has a thread and a runtime of its own, so that a listener in trouble leaves datagrams alone.
    fn start_tcp<E, F>(
        &self,
        nth: usize,
        socket: usize,
        limits: &Limits,
        engine: &Arc<F>,
    ) -> io::Result<JoinHandle<()>>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        let group = &self.groups[nth];
        let (listener, worker) = (Arc::downgrade(&group.tcp[socket]), socket % self.workers);
        let stop = &group.team.stop;
        let name = format!("hale-tcp-{worker}");
        let runtime = single_threaded()?;
        // Rates are limited, and zones given their share, where addresses can be forged.
        let unlimited = Limits { rrl: None, fair_share: false, ..limits.clone() };
        #[cfg(target_os = "linux")]
        if !self.portable {
            let (connections, limits) = (Arc::clone(&self.connections), limits.clone());
            return self.spawn(name, worker, stop, unlimited, engine, move |responder, stop| {
                if let Some(listener) = listener.upgrade() {
                    super::tcp::serve(&runtime, listener, responder, &connections, &limits, &stop);
                }
            });
        }
        let idle = limits.idle;
        self.spawn(name, worker, stop, unlimited, engine, move |responder, stop| {
            if let Some(listener) = listener.upgrade() {
                portable::serve_tcp(&runtime, &listener, idle, responder, &stop);
            }
        })
    }

    /// A thread that runs `body` until the stop, with a new engine and writer each time: a worker that panicked on one message
    /// must not leave its share of the queries unanswered from then on.
    fn spawn<E, F>(
        &self,
        name: String,
        worker: usize,
        stop: &Stop,
        limits: Limits,
        engine: &Arc<F>,
        body: impl Fn(Responder<E>, Stop) + Send + 'static,
    ) -> io::Result<JoinHandle<()>>
    where
        E: Engine,
        F: Fn(usize) -> E + Send + Sync + 'static,
    {
        let (engine, counters, stop) = (Arc::clone(engine), Arc::clone(&self.counters), stop.clone());
        let (core, query_log) = (self.cores.of(worker), self.query_log.clone());
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
        thread::Builder::new().name(name).spawn(run)
    }
}

impl Group {
    /// Lets others of this process bind beside it.
    fn share(&self) -> io::Result<()> {
        self.udp.iter().try_for_each(|socket| share(&SockRef::from(&**socket)))?;
        self.tcp.iter().try_for_each(|listener| share(&SockRef::from(&**listener)))
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn failed(address: SocketAddr, error: io::Error) -> BindError {
    BindError { address, protocol: "", error, hint: String::new() }
}

fn single_threaded() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
