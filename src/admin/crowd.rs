//! How many connections of a listener one client holds: who opens more than its part is turned away, so that all of the listener's are never
//! its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limit::network;

/// The open connections of a listener, by client.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that was let in; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Guest(Option<(Crowd, IpAddr)>);

impl Crowd {
    /// Lets each client have so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Counts a connection; `None` where it is one too many. Of those on the same machine there is no telling one from another, nor of
    /// those without an address.
    pub(super) fn admit(&self, from: Option<IpAddr>) -> Option<Guest> {
        let Some(from) = from.filter(|from| !from.is_loopback()).map(network) else {
            return Some(Guest(None));
        };
        let mut open = self.lock();
        let held = open.entry(from).or_default();
        // An entry is there only as long as somebody counts in it.
        if *held >= self.most {
            return None;
        }
        *held += 1;
        drop(open);
        Some(Guest(Some((self.clone(), from))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some((crowd, from)) = &self.0 else { return };
        let mut open = crowd.lock();
        if let Some(held) = open.get_mut(from) {
            *held -= 1;
            if *held == 0 {
                open.remove(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_its_part() {
        let crowd = Crowd::new(2);
        let admit = |from: &str| crowd.admit(Some(from.parse().unwrap()));
        let held = [admit("192.0.2.1"), admit("192.0.2.1")];
        assert!(held.iter().all(Option::is_some) && admit("192.0.2.1").is_none());
        let of_network = [admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(of_network.iter().all(Option::is_some) && admit("2001:db8::3").is_none());
        let local: Vec<_> = (0..9)
            .map(|n| admit(if n % 2 == 0 { "127.0.0.1" } else { "::1" }))
            .chain([crowd.admit(None)])
            .collect();
        assert!(local.iter().all(Option::is_some));
        assert!(admit("192.0.2.2").is_some());
        drop(held);
        assert!(admit("192.0.2.1").is_some());
        drop(of_network);
        assert!(crowd.lock().is_empty(), "who has left is forgotten");
    }
}
