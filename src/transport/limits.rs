//! Limits of the transports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{LimitsConfig, RateLimits, TcpLimits};
use crate::telemetry::counters::RefuseReason;

/// Limits of the transports; all but the first three are of TCP connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rates of responses over UDP; `None` for no limit.
    pub rrl: Option<RateLimits>,
    /// Whether a UDP worker that is asked too much answers less of a zone's random names for the sake of other zones.
    pub fair_share: bool,
    /// Octets that the kernel keeps of datagrams for each UDP socket.
    pub receive_buffer: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one client: an IPv4 address, or an IPv6 /64, since that is what one subscriber has.
    pub per_client: usize,
    /// How long a connection may be idle between messages (RFC 7766 §6.2.3); no less than what edns-tcp-keepalive tells.
    pub idle: Duration,
    /// How long a message may take from its first octet to its last.
    pub message: Duration,
    /// How long the client may leave responses unread before the connection is given up.
    pub write: Duration,
    /// Octets that all connections together may make the server keep: beginnings of messages, and responses that are not taken.
    pub buffered: usize,
}

impl From<&LimitsConfig> for Limits {
    fn from(limits: &LimitsConfig) -> Self {
        Self {
            rrl: limits.rrl.clone(),
            fair_share: limits.fair_share,
            receive_buffer: limits.receive_buffer,
            ..Self::from(limits.tcp)
        }
    }
}

impl From<TcpLimits> for Limits {
    fn from(tcp: TcpLimits) -> Self {
        Self {
            rrl: None,
            fair_share: true,
            receive_buffer: 1 << 20,
            connections: tcp.connections,
            per_client: tcp.per_client,
            idle: Duration::from_millis(tcp.idle_ms),
            message: Duration::from_millis(tcp.read_ms),
            write: Duration::from_millis(tcp.write_ms),
            buffered: tcp.buffered_octets,
        }
    }
}

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl From<IpAddr> for Client {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The connections of all workers. It is touched when one opens or closes, never for a query.
#[derive(Debug)]
pub(super) struct Connections {
    most: AtomicUsize,
    most_per_client: AtomicUsize,
    most_kept: AtomicUsize,
    open: Mutex<Open>,
    /// Octets kept for all connections. A query that comes whole and whose response is taken at once does not touch it.
    kept: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    clients: HashMap<Client, usize>,
}

/// One connection's place under the caps; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    client: Client,
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.connections.into(),
            most_per_client: limits.per_client.into(),
            most_kept: limits.buffered.into(),
            open: Mutex::default(),
            kept: AtomicUsize::new(0),
        })
    }

    /// Other caps from now on; connections that are open beyond them stay.
    pub(super) fn set_caps(&self, limits: &Limits) {
        // Each cap stands for itself.
        self.most.store(limits.connections, Relaxed);
        self.most_per_client.store(limits.per_client, Relaxed);
        self.most_kept.store(limits.buffered, Relaxed);
    }

    /// A place for a connection from `ip`, or which cap is reached. The client's own cap comes first: a client that has
    /// reached it makes nobody's connection close.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, RefuseReason> {
        let client = Client::from(ip);
        let mut open = self.open();
        if open.clients.get(&client).copied().unwrap_or(0) >= self.most_per_client.load(Relaxed) {
            return Err(RefuseReason::PerClient);
        }
        if open.total >= self.most.load(Relaxed) {
            return Err(RefuseReason::Total);
        }
        open.total += 1;
        *open.clients.entry(client).or_default() += 1;
        Ok(Place { connections: Arc::clone(self), client })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Both fields are changed without anything between them that panics.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept for one connection; dropping it gives the octets back.
#[derive(Debug)]
pub(super) struct Kept {
    connections: Arc<Connections>,
    octets: usize,
}

impl Kept {
    pub(super) fn new(connections: &Arc<Connections>) -> Self {
        Self { connections: Arc::clone(connections), octets: 0 }
    }

    /// Now so many octets are kept. False if that is more than all connections together may have.
    #[must_use]
    pub(super) fn set(&mut self, octets: usize) -> bool {
        if octets == self.octets {
            return true;
        }
        let all = &self.connections.kept;
        // Each connection gives back no more than it took, so the sum never goes below zero; no order with other memory is needed.
        let sum = if octets > self.octets {
            all.fetch_add(octets - self.octets, Relaxed) + octets - self.octets
        } else {
            all.fetch_sub(self.octets - octets, Relaxed);
            0
        };
        self.octets = octets;
        sum <= self.connections.most_kept.load(Relaxed)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.connections.kept.fetch_sub(self.octets, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.total -= 1;
        if let Some(n) = open.clients.get_mut(&self.client) {
            *n -= 1;
            if *n == 0 {
                // Kept entries would be a list of everyone who ever connected.
                open.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize, most_per_client: usize) -> Arc<Connections> {
        Connections::new(&Limits {
            connections: most,
            per_client: most_per_client,
            ..Limits::from(TcpLimits::default())
        })
    }

    /// Enters all addresses, keeping the places; `expected` has a letter for each: `y`, `t` (total), `c` (client).
    fn check(caps: (usize, usize), addresses: &[&str], expected: &str) {
        let connections = connections(caps.0, caps.1);
        let results: Vec<_> = addresses.iter().map(|a| connections.enter(a.parse().unwrap())).collect();
        let got: String = results
            .iter()
            .map(|r| match r {
                Ok(_) => 'y',
                Err(RefuseReason::Total) => 't',
                Err(RefuseReason::PerClient) => 'c',
            })
            .collect();
        assert_eq!(got, expected, "{caps:?} {addresses:?}");
        drop(results);
        let open = connections.open();
        assert_eq!((open.total, open.clients.len()), (0, 0));
    }

    #[test]
    fn what_is_kept_is_counted_over_all_connections_and_given_back() {
        let limits = Limits { buffered: 100, ..Limits::from(TcpLimits::default()) };
        let connections = Connections::new(&limits);
        let (mut one, mut two) = (Kept::new(&connections), Kept::new(&connections));
        assert!(one.set(60) && two.set(40));
        assert!(!two.set(41) && two.set(30));
        assert!(one.set(70) && !one.set(71) && one.set(71));
        drop(one);
        assert!(two.set(100));
        drop(two);
        assert_eq!(connections.kept.load(Relaxed), 0);
    }

    #[test]
    fn caps() {
        check((2, 9), &["192.0.2.1", "192.0.2.2", "192.0.2.3"], "yyt");
        check((9, 2), &["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"], "yycy");
        check((9, 1), &["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], "ycy");
        check((9, 1), &["192.0.2.1", "::ffff:192.0.2.1"], "yc");
        check((1, 1), &["192.0.2.1", "192.0.2.1"], "yc");
        check((0, 1), &["192.0.2.1"], "t");
        check((1, 0), &["192.0.2.1"], "c");
    }
}
