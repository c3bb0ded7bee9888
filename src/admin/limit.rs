//! How many requests a client may make, and how often it may try a token. Pure: the time is passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Clients that are remembered; of more, the one that has been silent longest is forgotten.
const CLIENTS: usize = 4096;
/// Seconds of requests that a client may make at once.
const BURST_S: u64 = 5;
/// Wrong tokens that a client is forgiven: a hand that slips is no attack.
const FORGIVEN: u32 = 5;
/// The longest wait for the next try of a token.
const LONGEST_MS: u64 = 60_000;
/// Wrong tokens are forgotten when there was none for so long.
const FORGOTTEN_MS: u64 = 600_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Limiter {
    /// Microseconds that a request takes of a client's share.
    cost_us: u64,
    clients: HashMap<IpAddr, Client>,
}

#[derive(Debug, Default)]
struct Client {
    /// When all that was used of the share is paid back (a token bucket in one number).
    paid_at_us: u64,
    seen_ms: u64,
    wrong: u32,
    wrong_at_ms: u64,
}

impl Client {
    /// Milliseconds to wait for the next try of a token.
    fn wait_ms(&self, now_ms: u64) -> u64 {
        let Some(over) = (self.wrong + 1).checked_sub(FORGIVEN).filter(|over| *over > 0) else { return 0 };
        let pause_ms = 1000_u64.checked_shl(over.min(10) - 1).map_or(LONGEST_MS, |ms| ms.min(LONGEST_MS));
        (self.wrong_at_ms + pause_ms).saturating_sub(now_ms)
    }
}

impl Limiter {
    /// Allows each client so many requests a second.
    pub(super) fn new(requests_per_second: u32) -> Self {
        Self { cost_us: 1_000_000 / u64::from(requests_per_second.max(1)), clients: HashMap::new() }
    }

    /// Another rate from the next request on.
    pub(super) fn set_rate(&mut self, requests_per_second: u32) {
        self.cost_us = 1_000_000 / u64::from(requests_per_second.max(1));
    }

    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many; whole seconds until the next may be made.
    pub(super) fn request(&mut self, from: IpAddr, now_ms: u64) -> Result<(), u64> {
        let cost_us = self.cost_us;
        let client = self.client(from, now_ms);
        let now_us = now_ms * 1000;
        let owed_us = client.paid_at_us.saturating_sub(now_us);
        if owed_us > BURST_S * 1_000_000 {
            return Err((owed_us - BURST_S * 1_000_000).div_ceil(1_000_000));
        }
        client.paid_at_us = client.paid_at_us.max(now_us) + cost_us;
        Ok(())
    }

    /// Whether a client may try a token now.
    ///
    /// # Errors
    /// It has tried too many wrong ones; whole seconds until it may try the next.
    pub(super) fn may_try(&mut self, from: IpAddr, now_ms: u64) -> Result<(), u64> {
        match self.client(from, now_ms).wait_ms(now_ms) {
            0 => Ok(()),
            wait_ms => Err(wait_ms.div_ceil(1000)),
        }
    }

    /// Notes a wrong token.
    pub(super) fn wrong(&mut self, from: IpAddr, now_ms: u64) {
        let client = self.client(from, now_ms);
        if now_ms.saturating_sub(client.wrong_at_ms) > FORGOTTEN_MS {
            client.wrong = 0;
        }
        client.wrong = client.wrong.saturating_add(1);
        client.wrong_at_ms = now_ms;
    }

    /// Notes a right one.
    pub(super) fn right(&mut self, from: IpAddr, now_ms: u64) {
        self.client(from, now_ms).wrong = 0;
    }

    fn client(&mut self, from: IpAddr, now_ms: u64) -> &mut Client {
        let network = network(from);
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&network) {
            let oldest = self.clients.iter().min_by_key(|(_, client)| client.seen_ms).map(|(who, _)| *who);
            oldest.and_then(|oldest| self.clients.remove(&oldest));
        }
        let client = self.clients.entry(network).or_default();
        client.seen_ms = now_ms;
        client
    }
}

/// Whoever has one IPv6 address has the network of 64 bits around it.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limiter = Limiter::new(10);
        let mut made =
            |from: &str, now_ms| (0..100).filter(|_| limiter.request(ip(from), now_ms).is_ok()).count();
        assert_eq!(made("192.0.2.1", 1000), 51);
        assert_eq!(made("192.0.2.2", 1000), 51, "others have their own");
        assert_eq!(made("2001:db8::1", 1000), 51);
        assert_eq!(made("2001:db8::2", 1000), 0, "the same network");
        assert_eq!(made("192.0.2.1", 2000), 10);
        assert_eq!(made("192.0.2.1", 60_000), 51);
        assert_eq!(limiter.request(ip("192.0.2.1"), 60_000), Err(1));
    }

    #[test]
    fn wrong_tokens_take_ever_longer() {
        let (mut limiter, who) = (Limiter::new(10), ip("192.0.2.1"));
        let mut now_ms = 1000;
        let mut waits = Vec::new();
        for _ in 0..14 {
            while let Err(wait_s) = limiter.may_try(who, now_ms) {
                waits.push(wait_s);
                now_ms += wait_s * 1000;
            }
            limiter.wrong(who, now_ms);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(limiter.may_try(ip("192.0.2.2"), now_ms).is_ok());
        limiter.right(who, now_ms);
        assert!(limiter.may_try(who, now_ms).is_ok());
    }

    #[test]
    fn clients_are_forgotten_before_they_fill_the_memory() {
        let mut limiter = Limiter::new(10);
        for i in 0..CLIENTS as u32 + 100 {
            limiter.wrong(IpAddr::from(i.to_be_bytes()), u64::from(i));
        }
        assert_eq!(limiter.clients.len(), CLIENTS);
        assert!(!limiter.clients.contains_key(&IpAddr::from(99_u32.to_be_bytes())));
    }
}
