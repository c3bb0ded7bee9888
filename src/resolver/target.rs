//! One host name that is resolved again and again: what each round means for its addresses, and when the next one is due. Pure: the time
//! is passed in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::resolved::Addresses;

/// Milliseconds between two rounds at least, however short the TTL.
pub(super) const MIN_PAUSE_MS: u64 = 5_000;
/// Milliseconds between two rounds at most, however long the TTL.
pub(super) const MAX_PAUSE_MS: u64 = 3_600_000;
/// Milliseconds between two rounds at most while they fail.
const MAX_BACK_OFF_MS: u64 = 300_000;
/// Answers in a row that deny what was there before they are believed.
const DENIALS: u32 = 3;

/// What a round says of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Its addresses, and for how many seconds they hold.
    Addresses(Vec<IpAddr>, u32),
    /// The name has none, or does not exist.
    Denied,
    /// No answer, or one that says nothing of the name: SERVFAIL, REFUSED, a timeout.
    Failed(String),
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Resolving {
    pub(super) addresses: Addresses,
    denials: [u32; 2],
    /// Rounds in a row of which nothing was learned.
    failures: u32,
    /// When the next round is due, in milliseconds.
    pub(super) due_ms: u64,
    /// When a round last succeeded, in milliseconds; `None` before.
    pub(super) good_ms: Option<u64>,
    /// Why the last round failed.
    pub(super) problem: Option<String>,
}

impl Resolving {
    /// A name of which `addresses` are known from an earlier run; its first round is due at `due_ms`.
    pub(super) fn new(addresses: Addresses, due_ms: u64) -> Self {
        Self { addresses, denials: [0; 2], failures: 0, due_ms, good_ms: None, problem: None }
    }

    /// Takes what a round said of A and AAAA. `spread` is a random share of the pause, 0 to 255, by which it is shortened, so that names
    /// that began together do not stay together. Returns whether the addresses are other ones now.
    ///
    /// Nothing that fails to be said is a deletion: a failure keeps what there was, and a denial is believed when it was repeated.
    pub(super) fn observe(&mut self, [v4, v6]: [Reply; 2], now_ms: u64, spread: u8) -> bool {
        let before = self.addresses.clone();
        let mut ttl_s: Option<u32> = None;
        let mut problem = None;
        let mut is_certain = true;
        for (i, reply) in [v4, v6].into_iter().enumerate() {
            let found = match reply {
                Reply::Addresses(found, ttl) => {
                    ttl_s = Some(ttl_s.map_or(ttl, |least| least.min(ttl)));
                    self.denials[i] = 0;
                    found
                }
                Reply::Denied => {
                    self.denials[i] = self.denials[i].saturating_add(1);
                    if self.has(i) && self.denials[i] < DENIALS {
                        is_certain = false;
                        continue;
                    }
                    Vec::new()
                }
                Reply::Failed(why) => {
                    problem = Some(why);
                    continue;
                }
            };
            self.set(i, &found);
        }
        let is_good = problem.is_none();
        self.problem = problem;
        self.failures = if is_good && is_certain { 0 } else { self.failures.saturating_add(1) };
        if is_good {
            self.good_ms = Some(now_ms);
        }
        let pause_ms = match self.failures {
            0 => (u64::from(ttl_s.unwrap_or(0)) * 1000).clamp(MIN_PAUSE_MS, MAX_PAUSE_MS),
            failures => (MIN_PAUSE_MS << (failures - 1).min(10)).min(MAX_BACK_OFF_MS),
        };
        // Up to a quarter less.
        self.due_ms = now_ms + pause_ms - pause_ms / 4 * u64::from(spread) / 255;
        self.addresses != before
    }

    fn has(&self, family: usize) -> bool {
        match family {
            0 => self.addresses.v4.as_ref().is_some_and(|known| !known.is_empty()),
            _ => self.addresses.v6.as_ref().is_some_and(|known| !known.is_empty()),
        }
    }

    fn set(&mut self, family: usize, found: &[IpAddr]) {
        if family == 0 {
            let v4 = found.iter().filter_map(|address| match address {
                IpAddr::V4(v4) => Some(*v4),
                IpAddr::V6(_) => None,
            });
            let mut v4: Vec<Ipv4Addr> = v4.collect();
            v4.sort_unstable();
            v4.dedup();
            self.addresses.v4 = Some(v4);
        } else {
            let v6 = found.iter().filter_map(|address| match address {
                IpAddr::V6(v6) => Some(*v6),
                IpAddr::V4(_) => None,
            });
            let mut v6: Vec<Ipv6Addr> = v6.collect();
            v6.sort_unstable();
            v6.dedup();
            self.addresses.v6 = Some(v6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        match text.split_once('/') {
            Some((address, ttl)) => {
                let list = address.split('+').map(|a| a.parse().unwrap()).collect();
                Reply::Addresses(list, ttl.parse().unwrap())
            }
            None if text == "no" => Reply::Denied,
            None => Reply::Failed(text.to_owned()),
        }
    }

    fn shown(resolving: &Resolving) -> String {
        let v4 = resolving.addresses.v4.as_ref().map_or("?".to_owned(), |v4| format!("{v4:?}"));
        let v6 = resolving.addresses.v6.as_ref().map_or("?".to_owned(), |v6| format!("{v6:?}"));
        format!("{v4} {v6}")
    }

    /// Rounds: what A and AAAA are answered, the addresses after it, and the seconds to the next.
    #[track_caller]
    fn check(rounds: &[(&str, &str, &str, u64)]) {
        let mut resolving = Resolving::new(Addresses::default(), 0);
        for (i, (v4, v6, expected, pause_s)) in rounds.iter().enumerate() {
            let now_ms = resolving.due_ms;
            let before = shown(&resolving);
            let changed = resolving.observe([reply(v4), reply(v6)], now_ms, 0);
            assert_eq!(shown(&resolving), *expected, "round {i}");
            assert_eq!(changed, before != *expected, "round {i}");
            assert_eq!((resolving.due_ms - now_ms) / 1000, *pause_s, "round {i}");
        }
    }

    #[test]
    fn addresses_come_and_change() {
        check(&[
            ("192.0.2.1/60", "no", "[192.0.2.1] []", 60),
            ("192.0.2.2+192.0.2.1/30", "no", "[192.0.2.1, 192.0.2.2] []", 30),
            ("192.0.2.1+192.0.2.2/1", "no", "[192.0.2.1, 192.0.2.2] []", 5),
            ("192.0.2.9/99999", "2001:db8::1/999999", "[192.0.2.9] [2001:db8::1]", 3600),
        ]);
    }

    #[test]
    fn what_fails_keeps_what_there_was() {
        check(&[
            ("timeout", "timeout", "? ?", 5),
            ("timeout", "timeout", "? ?", 10),
            ("192.0.2.1/60", "SERVFAIL", "[192.0.2.1] ?", 20),
            ("192.0.2.1/60", "2001:db8::1/60", "[192.0.2.1] [2001:db8::1]", 60),
            ("timeout", "timeout", "[192.0.2.1] [2001:db8::1]", 5),
            ("timeout", "timeout", "[192.0.2.1] [2001:db8::1]", 10),
            ("192.0.2.2/60", "no", "[192.0.2.2] [2001:db8::1]", 20),
        ]);
    }

    #[test]
    fn a_denial_is_believed_when_it_is_repeated() {
        check(&[
            ("192.0.2.1/60", "no", "[192.0.2.1] []", 60),
            ("no", "no", "[192.0.2.1] []", 5),
            ("no", "no", "[192.0.2.1] []", 10),
            ("timeout", "no", "[192.0.2.1] []", 20),
            ("no", "no", "[] []", 5),
            ("192.0.2.1/60", "no", "[192.0.2.1] []", 60),
            ("no", "no", "[192.0.2.1] []", 5),
            ("192.0.2.1/60", "no", "[192.0.2.1] []", 60),
            ("no", "no", "[192.0.2.1] []", 5),
        ]);
        check(&[("no", "no", "[] []", 5)]);
    }

    #[test]
    fn failures_back_off_to_a_bound_and_pauses_are_spread() {
        let mut resolving = Resolving::new(Addresses::default(), 0);
        for _ in 0..40 {
            let failed = || Reply::Failed("timeout".into());
            resolving.observe([failed(), failed()], 1_000_000, 0);
        }
        assert_eq!(resolving.due_ms, 1_000_000 + MAX_BACK_OFF_MS);
        let good = Reply::Addresses(vec!["192.0.2.1".parse().unwrap()], 100);
        resolving.observe([good, Reply::Denied], 1_000_000, 255);
        assert_eq!(resolving.due_ms, 1_000_000 + 75_000);
    }
}
