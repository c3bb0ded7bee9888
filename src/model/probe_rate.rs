//! How often the checks of one address can run within the rate that the address may be probed at.
//!
//! Pure arithmetic, shared by the schedule (which plans by it) and by `hale check` (which warns of it).
//!
//! Where the checks of an address want more probes a second than `health.probes_per_second_per_address`, all of a class are stretched by one factor,
//! so that a check of 5 s among checks of 60 s keeps being the frequent one. Checks that speak for the whole address (a connection to a
//! port) go before those that speak for one name behind it (a path, a server name): they have half of the rate to themselves, and
//! what the others leave. So the thousandth name behind an address does not make the address's own check slower.

use super::target::{Check, CheckKind};

/// Whom a check speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The address, or a port of it.
    Address = 0,
    /// One name behind the address.
    Name = 1,
}

impl Scope {
    /// How many there are.
    pub const COUNT: usize = 2;

    /// The scope of a check; `None` for one that is never probed.
    pub fn of(check: &Check) -> Option<Self> {
        match check.kind {
            CheckKind::Tcp | CheckKind::Talk(_) | CheckKind::Dns(_) | CheckKind::Icmp(_) => {
                Some(Self::Address)
            }
            CheckKind::Http(_) | CheckKind::Tls(_) | CheckKind::Grpc(_) | CheckKind::Exec(_) => {
                Some(Self::Name)
            }
            CheckKind::External(_) | CheckKind::Name(_) => None,
        }
    }
}

/// Rates are counted in probes within so many milliseconds (11 days), as whole numbers.
const PERIOD_MS: u64 = 1_000_000_000;

/// What all checks of one address want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressDemand {
    /// Probes within [`PERIOD_MS`], by [`Scope`].
    wanted: [u64; Scope::COUNT],
    /// Targets, by [`Scope`].
    targets: [u32; Scope::COUNT],
}

impl AddressDemand {
    /// Adds a target with this interval in milliseconds.
    pub fn add(&mut self, scope: Scope, interval_ms: u32) {
        self.wanted[scope as usize] += wanted(interval_ms);
        self.targets[scope as usize] += 1;
    }

    /// Takes back what [`AddressDemand::add`] added.
    pub fn remove(&mut self, scope: Scope, interval_ms: u32) {
        self.wanted[scope as usize] -= wanted(interval_ms);
        self.targets[scope as usize] -= 1;
    }

    /// Targets in all.
    pub fn targets(&self) -> u32 {
        self.targets.iter().sum()
    }

    /// Probes a second that the checks ask for.
    pub fn wanted_per_second(&self) -> f64 {
        self.wanted.iter().sum::<u64>() as f64 * 1000.0 / PERIOD_MS as f64
    }

    /// Targets that cannot have their interval at this many probes a second.
    pub fn stretched_targets(&self, per_second: u32) -> u32 {
        [Scope::Address, Scope::Name]
            .into_iter()
            .filter(|&scope| self.wanted[scope as usize] > self.share(scope, per_second))
            .map(|scope| self.targets[scope as usize])
            .sum()
    }

    /// The interval in milliseconds that a check of this scope and interval really has; at least its own.
    pub fn interval_ms(&self, scope: Scope, interval_ms: u32, per_second: u32) -> u32 {
        let (wanted, share) = (self.wanted[scope as usize], self.share(scope, per_second));
        if wanted <= share {
            return interval_ms;
        }
        let stretched = (u128::from(interval_ms) * u128::from(wanted)).div_ceil(u128::from(share.max(1)));
        stretched.try_into().unwrap_or(u32::MAX)
    }

    /// What of the rate the checks of a scope get: never 0 where they want any.
    fn share(&self, scope: Scope, per_second: u32) -> u64 {
        let [own, named] = self.wanted;
        let all = u64::from(per_second.max(1)) * (PERIOD_MS / 1000);
        let own = own.min((all / 2).max(all.saturating_sub(named)));
        match scope {
            Scope::Address => own,
            Scope::Name => named.min(all - own),
        }
    }
}

/// Probes within [`PERIOD_MS`].
fn wanted(interval_ms: u32) -> u64 {
    PERIOD_MS / u64::from(interval_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Targets by scope as (how many, interval), the rate, and what becomes of the intervals.
    #[track_caller]
    fn check(own: (u32, u32), named: (u32, u32), per_second: u32, expected: (u32, u32), stretched: u32) {
        let mut demand = AddressDemand::default();
        (0..own.0).for_each(|_| demand.add(Scope::Address, own.1));
        (0..named.0).for_each(|_| demand.add(Scope::Name, named.1));
        let intervals = (
            demand.interval_ms(Scope::Address, own.1, per_second),
            demand.interval_ms(Scope::Name, named.1, per_second),
        );
        assert_eq!(intervals, expected);
        assert_eq!(demand.stretched_targets(per_second), stretched);
        let got = f64::from(own.0) * 1000.0 / f64::from(intervals.0)
            + f64::from(named.0) * 1000.0 / f64::from(intervals.1);
        assert!(got <= f64::from(per_second.max(1)) * 1.0001, "{got} a second");
        (0..own.0).for_each(|_| demand.remove(Scope::Address, own.1));
        (0..named.0).for_each(|_| demand.remove(Scope::Name, named.1));
        assert_eq!(demand, AddressDemand::default());
    }

    #[test]
    fn checks_share_the_rate_of_their_address() {
        check((1, 10_000), (400, 10_000), 50, (10_000, 10_000), 0);
        check((0, 10_000), (500, 10_000), 50, (10_000, 10_000), 0);
        check((5000, 10_000), (0, 10_000), 50, (100_000, 10_000), 5000);
        check((0, 10_000), (5000, 10_000), 50, (10_000, 100_000), 5000);
        // The address's own checks keep their interval, and the names share what is left.
        check((1, 1000), (5000, 10_000), 50, (1000, 102_041), 5000);
        check((200, 10_000), (5000, 10_000), 50, (10_000, 166_667), 5000);
        // Half of the rate is the names' where both want too much.
        check((5000, 10_000), (5000, 10_000), 50, (200_000, 200_000), 10_000);
        check((5000, 10_000), (100, 10_000), 50, (125_000, 10_000), 5000);
        check((3, 100), (1, 100), 1, (6000, 2000), 4);
        check((1, 100), (1, u32::MAX), 0, (1000, u32::MAX), 1);
    }

    #[test]
    fn the_frequent_check_stays_the_frequent_one() {
        let mut demand = AddressDemand::default();
        (0..500).for_each(|_| demand.add(Scope::Name, 5000));
        (0..6000).for_each(|_| demand.add(Scope::Name, 60_000));
        let intervals = [5000, 60_000].map(|interval_ms| demand.interval_ms(Scope::Name, interval_ms, 50));
        assert_eq!(intervals, [20_000, 239_996]);
        assert_eq!(demand.wanted_per_second().round(), 200.0);
        assert_eq!(demand.targets(), 6500);
    }
}
