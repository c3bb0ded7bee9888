//! Limits of the transports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{LimitsConfig, RateLimits, TcpLimits};
use crate::telemetry::counters::RefuseReason;

/// Limits of the transports; all but `rrl` are of TCP connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rates of responses over UDP; `None` for no limit.
    pub rrl: Option<RateLimits>,
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
}

impl From<&LimitsConfig> for Limits {
    fn from(limits: &LimitsConfig) -> Self {
        Self { rrl: limits.rrl.clone(), ..Self::from(limits.tcp) }
    }
}

impl From<TcpLimits> for Limits {
    fn from(tcp: TcpLimits) -> Self {
        Self {
            rrl: None,
            connections: tcp.connections,
            per_client: tcp.per_client,
            idle: Duration::from_millis(tcp.idle_ms),
            message: Duration::from_secs(10),
            write: Duration::from_secs(10),
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
    most: usize,
    most_per_client: usize,
    open: Mutex<Open>,
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
            most: limits.connections,
            most_per_client: limits.per_client,
            open: Mutex::default(),
        })
    }

    /// A place for a connection from `ip`, or which cap is reached. The client's own cap comes first: a client that has
    /// reached it makes nobody's connection close.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, RefuseReason> {
        let client = Client::from(ip);
        let mut open = self.open();
        if open.clients.get(&client).is_some_and(|&n| n >= self.most_per_client) || self.most_per_client == 0
        {
            return Err(RefuseReason::PerClient);
        }
        if open.total >= self.most {
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
            ..Limits::from(TcpLimits { connections: 0, per_client: 0, idle_ms: 0 })
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
