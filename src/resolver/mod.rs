//! Resolves the host names that ALIAS records lead to, in the background: nothing of it is ever waited for by a query.
//!
//! What is learned goes to the keeper as addresses, and to the state directory, so that a restart with the resolver down serves what it
//! served before. `target` decides what an answer or a failure means; this file does the I/O around it.

mod ask;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::ask::own_name;
use self::ask::{Said, ask, query, read};
use self::target::{Reply, Resolving};
use crate::model::name::Name;
use crate::model::resolved::Addresses;
use crate::model::rrtype::RrType;
use crate::state::{StateDir, StateError, Stored};

/// Names that are resolved at once.
const IN_FLIGHT: usize = 16;
/// Aliases that are followed from server to server.
const MAX_HOPS: usize = 8;
/// How long what is new may wait for the disk.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// The longest sleep: a name that comes is looked at once anyway.
const TICK: Duration = Duration::from_secs(1);
/// Where the system says whom to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// File in the state directory, and its form.
const FILE: &str = "aliases.json";
const VERSION: u32 = 1;

/// What is known of every host name.
pub type Known = Vec<(Name, Arc<Addresses>)>;

/// Answers from the zones of this server; `None` for a name of another one.
pub type Local = Arc<dyn Fn(&Name, RrType) -> Option<Vec<u8>> + Send + Sync>;

/// What the resolver works with.
pub struct Tools {
    /// The names to resolve.
    pub names: watch::Receiver<Arc<BTreeSet<Name>>>,
    /// Whom to ask; those of `/etc/resolv.conf` if there is none.
    pub servers: Vec<SocketAddr>,
    /// Asked first, since the names of our own zones may not be known elsewhere.
    pub local: Local,
    /// Given what has changed.
    pub publish: Box<dyn Fn(Known) + Send>,
    /// The state directory, if there is one.
    pub state: Option<Arc<StateDir>>,
    /// What an earlier run knew.
    pub saved: Known,
}

/// How a host name stands.
#[derive(Clone, Debug)]
pub struct AliasReport {
    /// The name.
    pub name: Name,
    /// Its addresses as they are served.
    pub addresses: Addresses,
    /// Seconds since they were confirmed by an answer; `None` if not by this run.
    pub age_s: Option<u64>,
    /// Why the last round failed.
    pub problem: Option<String>,
}

/// What others see of the resolver. Cheap to clone.
#[derive(Clone)]
pub struct ResolverHandle {
    known: Arc<Mutex<BTreeMap<Name, Resolving>>>,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
    began: Instant,
}

impl ResolverHandle {
    /// Others are asked from now on; what could not be resolved so far is asked for again at once.
    pub fn ask_others(&self, servers: &[SocketAddr]) {
        servers.clone_into(&mut lock(&self.servers));
        let now_ms = self.began.elapsed().as_millis() as u64;
        for resolving in lock(&self.known).values_mut().filter(|resolving| resolving.problem.is_some()) {
            resolving.due_ms = resolving.due_ms.min(now_ms);
        }
    }

    /// How every host name stands.
    pub fn report(&self) -> Vec<AliasReport> {
        let now_ms = self.began.elapsed().as_millis() as u64;
        let known = lock(&self.known);
        let report = |(name, resolving): (&Name, &Resolving)| AliasReport {
            name: name.clone(),
            addresses: resolving.addresses.clone(),
            age_s: resolving.good_ms.map(|good_ms| now_ms.saturating_sub(good_ms) / 1000),
            problem: resolving.problem.clone(),
        };
        known.iter().map(report).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an earlier run has saved.
pub fn saved(state: &StateDir) -> Known {
    match state.read_blob(FILE, VERSION) {
        Ok(Stored::Good(octets)) => match serde_json::from_slice::<Vec<(String, Addresses)>>(&octets) {
            Ok(list) => {
                let named = list
                    .into_iter()
                    .filter_map(|(name, a)| Some((Name::parse_absolute(&name).ok()?, Arc::new(a))));
                return named.collect();
            }
            Err(e) => {
                warn!(error = %e, "the saved addresses of ALIAS records are malformed; they are resolved anew");
            }
        },
        Ok(Stored::Absent) => {}
        Ok(Stored::SetAside(problem)) => warn!("{problem}; ALIAS records are resolved anew"),
        Err(e) => warn!("{e}; ALIAS records are resolved anew"),
    }
    Vec::new()
}

/// Starts resolving on `runtime`; it ends with that, or when nobody names names any more.
pub fn spawn(runtime: &Handle, tools: Tools) -> ResolverHandle {
    let servers = Arc::new(Mutex::new(tools.servers));
    let handle = ResolverHandle { known: Arc::default(), servers, began: Instant::now() };
    let asking =
        Asking { servers: Arc::clone(&handle.servers), local: tools.local, random: SystemRandom::new() };
    let driver = Driver {
        saved: tools.saved.iter().cloned().collect(),
        asking: Arc::new(asking),
        handle: handle.clone(),
        names: tools.names,
        publish: tools.publish,
        state: tools.state,
        under_way: BTreeSet::new(),
        rounds: JoinSet::new(),
        unsaved: None,
    };
    runtime.spawn(driver.run());
    handle
}

struct Driver {
    names: watch::Receiver<Arc<BTreeSet<Name>>>,
    handle: ResolverHandle,
    asking: Arc<Asking>,
    publish: Box<dyn Fn(Known) + Send>,
    state: Option<Arc<StateDir>>,
    saved: BTreeMap<Name, Arc<Addresses>>,
    under_way: BTreeSet<Name>,
    rounds: JoinSet<(Name, [Reply; 2])>,
    /// Since when something is known that is not on disk.
    unsaved: Option<Instant>,
}

impl Driver {
    async fn run(mut self) {
        self.take_names();
        loop {
            self.start_rounds();
            let sleep = tokio::time::sleep(self.pause());
            tokio::select! {
                changed = self.names.changed() => match changed {
                    Ok(()) => self.take_names(),
                    Err(_) => return,
                },
                Some(done) = self.rounds.join_next() => {
                    if let Ok((name, replies)) = done {
                        self.observe(name, replies);
                    }
                }
                () = sleep => {}
            }
            self.save().await;
        }
    }

    fn now_ms(&self) -> u64 {
        self.handle.began.elapsed().as_millis() as u64
    }

    /// Until the next name is due, at most a tick.
    fn pause(&self) -> Duration {
        let now_ms = self.now_ms();
        let known = lock(&self.handle.known);
        let waiting = known.iter().filter(|(name, _)| !self.under_way.contains(*name));
        let due_ms =
            if self.under_way.len() < IN_FLIGHT { waiting.map(|(_, r)| r.due_ms).min() } else { None };
        due_ms.map_or(TICK, |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)).min(TICK))
    }

    /// Begins with names that are new, and forgets those that are gone.
    fn take_names(&mut self) {
        let names = Arc::clone(&self.names.borrow_and_update());
        let now_ms = self.now_ms();
        let mut known = lock(&self.handle.known);
        known.retain(|name, _| names.contains(name));
        for name in names.iter() {
            known.entry(name.clone()).or_insert_with(|| {
                let saved = self.saved.get(name).map(|saved| Addresses::clone(saved)).unwrap_or_default();
                Resolving::new(saved, now_ms)
            });
        }
    }

    fn start_rounds(&mut self) {
        let now_ms = self.now_ms();
        let room = IN_FLIGHT.saturating_sub(self.under_way.len());
        let due: Vec<Name> = {
            let known = lock(&self.handle.known);
            let due = known.iter().filter(|(name, r)| r.due_ms <= now_ms && !self.under_way.contains(*name));
            due.take(room).map(|(name, _)| name.clone()).collect()
        };
        for name in due {
            self.under_way.insert(name.clone());
            let asking = Arc::clone(&self.asking);
            self.rounds.spawn(async move {
                let (v4, v6) =
                    tokio::join!(asking.family(&name, RrType::A), asking.family(&name, RrType::AAAA));
                (name, [v4, v6])
            });
        }
    }

    fn observe(&mut self, name: Name, replies: [Reply; 2]) {
        self.under_way.remove(&name);
        let (now_ms, spread) = (self.now_ms(), self.asking.random_octets::<1>()[0]);
        let changed = {
            let mut known = lock(&self.handle.known);
            let Some(resolving) = known.get_mut(&name) else { return };
            let was_good = resolving.problem.is_none();
            let changed = resolving.observe(replies, now_ms, spread);
            match (&resolving.problem, was_good) {
                (Some(problem), true) => {
                    warn!(target = %name, problem, "an ALIAS target is not resolved; what was known of it is served");
                }
                (None, false) => info!(target = %name, "an ALIAS target is resolved again"),
                _ => {}
            }
            changed.then(|| Arc::new(resolving.addresses.clone()))
        };
        if let Some(addresses) = changed {
            self.unsaved.get_or_insert_with(Instant::now);
            self.saved.insert(name.clone(), Arc::clone(&addresses));
            (self.publish)(vec![(name, addresses)]);
        }
    }

    async fn save(&mut self) {
        if self.unsaved.is_none_or(|since| since.elapsed() < SAVE_AFTER) {
            return;
        }
        self.unsaved = None;
        let Some(state) = self.state.clone() else { return };
        let list: Vec<(String, Addresses)> = {
            let known = lock(&self.handle.known);
            let good = known.iter().filter(|(_, resolving)| !resolving.addresses.is_unknown());
            good.map(|(name, resolving)| (name.to_string(), resolving.addresses.clone())).collect()
        };
        let written = tokio::task::spawn_blocking(move || write(&state, &list)).await;
        if let Ok(Err(e)) = written {
            warn!(error = %e, "addresses of ALIAS records are not saved; a restart may have to wait for the resolver");
        }
    }
}

fn write(state: &StateDir, list: &[(String, Addresses)]) -> Result<(), StateError> {
    // Names and addresses always have a JSON form.
    let octets = serde_json::to_vec(list).unwrap_or_default();
    state.write_blob(FILE, VERSION, &octets)
}

/// What every round shares.
struct Asking {
    servers: Arc<Mutex<Vec<SocketAddr>>>,
    local: Local,
    random: SystemRandom,
}

impl Asking {
    /// The addresses of one family.
    async fn family(&self, name: &Name, rtype: RrType) -> Reply {
        let (mut at, mut ttl) = (name.clone(), u32::MAX);
        for _ in 0..MAX_HOPS {
            let said = match (self.local)(&at, rtype) {
                Some(message) => read(&message, &at, rtype),
                None => self.upstream(&at, rtype).await,
            };
            match said {
                Said::Reply(Reply::Addresses(found, holds)) => {
                    return Reply::Addresses(found, ttl.min(holds));
                }
                Said::Reply(reply) => return reply,
                Said::Alias(next, holds) => (at, ttl) = (next, ttl.min(holds)),
            }
        }
        Reply::Failed(format!("{name}: more than {MAX_HOPS} aliases"))
    }

    /// Asks one server after the other, until one says something of the name.
    async fn upstream(&self, name: &Name, rtype: RrType) -> Said {
        let mut servers = lock(&self.servers).clone();
        if servers.is_empty() {
            servers = system_servers(Path::new(RESOLV_CONF));
        }
        let mut last = Reply::Failed(format!("{RESOLV_CONF} names no server"));
        for server in servers {
            let query = query(u16::from_be_bytes(self.random_octets()), name, rtype);
            last = match ask(server, &query).await {
                Ok(message) => match read(&message, name, rtype) {
                    Said::Reply(Reply::Failed(why)) => Reply::Failed(format!("{server}: {why}")),
                    said => return said,
                },
                Err(why) => Reply::Failed(why),
            };
        }
        Said::Reply(last)
    }

    /// Random octets; zeros where the system has none, and then a query is as good as its port.
    fn random_octets<const N: usize>(&self) -> [u8; N] {
        let mut octets = [0; N];
        if let Err(e) = self.random.fill(&mut octets) {
            warn!(error = %e, "no random numbers");
        }
        octets
    }
}

/// The servers that resolv.conf(5) names; the loopback if it cannot be read or names none, as the C library has it.
fn system_servers(file: &Path) -> Vec<SocketAddr> {
    /// As many as the C library looks at.
    const MOST: usize = 3;
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // A zone index of a link-local address is not understood here.
        address.parse::<IpAddr>().ok()
    });
    let servers: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, 53)).take(MOST).collect();
    if servers.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], 53))] } else { servers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_resolv_conf() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        for (text, expected) in [
            ("# none\nsearch example.test\n", &["127.0.0.1:53"][..]),
            (
                "nameserver 192.0.2.1\nnameserver\t2001:db8::1 \noptions edns0\n",
                &["192.0.2.1:53", "[2001:db8::1]:53"],
            ),
            ("nameserver fe80::1%eth0\nnameserver 192.0.2.9\n", &["192.0.2.9:53"]),
        ] {
            std::fs::write(&file, text).unwrap();
            let found: Vec<String> = system_servers(&file).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
