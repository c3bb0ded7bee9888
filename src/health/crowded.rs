//! Addresses with more checks than they may be probed for: told once, when they become so.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::model::probe_rate::AddressDemand;

/// So many of them get a line each at a time; the others are counted.
const LINES: usize = 5;

/// The addresses that are known to be crowded.
#[derive(Debug, Default)]
pub(super) struct Crowded(HashSet<IpAddr>);

impl Crowded {
    /// Takes those that are crowded now; returns those that were not before, with what their checks want, most of it first.
    pub(super) fn update<'a>(
        &mut self,
        now: impl Iterator<Item = (IpAddr, &'a AddressDemand)>,
    ) -> Vec<(IpAddr, AddressDemand)> {
        let before = std::mem::take(&mut self.0);
        let mut fresh = Vec::new();
        for (address, demand) in now {
            self.0.insert(address);
            if !before.contains(&address) {
                fresh.push((address, *demand));
            }
        }
        fresh.sort_by(|a, b| b.1.wanted_per_second().total_cmp(&a.1.wanted_per_second()).then(a.0.cmp(&b.0)));
        fresh
    }
}

/// Warns of addresses that have become crowded.
pub(super) fn log(fresh: &[(IpAddr, AddressDemand)], limit: u32) {
    for (address, demand) in fresh.iter().take(LINES) {
        tracing::warn!(
            %address,
            checks = demand.targets(),
            wanted_per_second = demand.wanted_per_second().ceil(),
            limit,
            "more checks of one address than health.probes_per_second_per_address allows: they run at longer intervals"
        );
    }
    if fresh.len() > LINES {
        tracing::warn!(addresses = fresh.len() - LINES, "and so do the checks of further addresses");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probe_rate::Scope;

    #[test]
    fn each_is_told_once_the_worst_first() {
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let demand = |count| {
            let mut demand = AddressDemand::default();
            (0..count).for_each(|_| demand.add(Scope::Address, 100));
            demand
        };
        let demands = [demand(10), demand(30), demand(20)];
        let mut crowded = Crowded::default();
        let mut told = |numbers: &[u8]| {
            let now = numbers.iter().map(|&n| (address(n), &demands[usize::from(n)]));
            crowded.update(now).into_iter().map(|(a, _)| a).collect::<Vec<_>>()
        };
        assert_eq!(told(&[0, 1]), [address(1), address(0)]);
        assert_eq!(told(&[0, 1, 2]), [address(2)]);
        assert!(told(&[1]).is_empty());
        assert_eq!(told(&[0, 1]), [address(0)], "again after it was not");
    }
}
