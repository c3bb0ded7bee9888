//! Addresses with more checks than they may be probed for, over all zones: a warning, since the checks run at longer intervals then.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::desired::DesiredZone;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::probe_rate::{AddressDemand, Scope};
use crate::model::target::Target;

/// So many addresses are told one by one; the others are counted.
const LINES: usize = 5;

/// What the checks of each address want.
#[derive(Debug, Default)]
pub struct Crowding {
    /// Equal targets are one probe.
    seen: HashSet<Target>,
    addresses: BTreeMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    /// Where it was met first.
    file: PathBuf,
    owner: Name,
    demand: AddressDemand,
}

impl Crowding {
    /// Counts the checks of a zone that was read from `file`.
    pub fn add(&mut self, zone: &DesiredZone, file: &Path) {
        for placed in zone.owners.iter() {
            let (name, owner) = (&placed.name, &placed.owner);
            let endpoints = owner.checked.iter().flat_map(|checked| &checked.endpoints);
            for condition in endpoints.filter_map(|endpoint| endpoint.condition.as_ref()) {
                condition.for_each_target(&mut |target| self.target(target, name, file));
            }
        }
    }

    fn target(&mut self, target: &Target, owner: &Name, file: &Path) {
        let Some(scope) = Scope::of(&target.check) else { return };
        if !self.seen.insert(target.clone()) {
            return;
        }
        let fresh =
            || Address { file: file.to_owned(), owner: owner.clone(), demand: AddressDemand::default() };
        let address = self.addresses.entry(target.address.ip()).or_insert_with(fresh);
        address.demand.add(scope, target.check.interval_ms);
    }

    /// The addresses whose checks want more than this many probes a second, those that want most first.
    pub fn warnings(&self, per_second: u32) -> Vec<Diagnostic> {
        let mut crowded: Vec<_> =
            self.addresses.iter().filter(|(_, a)| a.demand.stretched_targets(per_second) > 0).collect();
        crowded
            .sort_by(|(_, a), (_, b)| b.demand.wanted_per_second().total_cmp(&a.demand.wanted_per_second()));
        let more = crowded.len().saturating_sub(LINES);
        let mut told: Vec<_> =
            crowded.into_iter().take(LINES).map(|(ip, a)| a.warning(*ip, per_second)).collect();
        if let Some(last) = told.last_mut().filter(|_| more > 0) {
            last.message += &format!(" (and so do those of {more} more addresses)");
        }
        told
    }
}

impl Address {
    fn warning(&self, ip: IpAddr, per_second: u32) -> Diagnostic {
        const THOUSAND: u32 = 1000;
        let factor = |scope| self.demand.interval_ms(scope, THOUSAND, per_second);
        let longest = factor(Scope::Address).max(factor(Scope::Name));
        let message = format!(
            "{ip} (of {} and others) has {} checks, which want {:.0} probes a second and may have {per_second}: they run at \
             up to {:.1} times their intervals",
            self.owner,
            self.demand.targets(),
            self.demand.wanted_per_second().ceil(),
            f64::from(longest) / f64::from(THOUSAND),
        );
        Diagnostic::warning(&self.file, message).hint(
            "give names that share an address the same check, which is one probe then, or a longer interval; or raise \
             health.probes_per_second_per_address",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Shared, ZoneReader};
    use crate::zone::build;

    /// The warnings about a zone with these records, at 50 probes a second for an address.
    #[track_caller]
    fn check(records: &str, expected: &[&str]) {
        let text = format!(
            r#"{{"zone": "example.test", "nameservers": ["ns1.example.test"], "records": {{"ns1": ["192.0.2.53"], {records}}}}}"#
        );
        let reader = ZoneReader::from_text("a.json".to_owned(), text, &Shared::default()).unwrap();
        let (zone, found) = build::read(&reader, &reader.header().apex, 1);
        assert_eq!(found, []);
        let mut crowding = Crowding::default();
        crowding.add(&zone.unwrap(), Path::new("a.json"));
        let found: Vec<String> = crowding.warnings(50).into_iter().map(|w| w.message).collect();
        assert_eq!(found, expected);
    }

    fn names(count: u32, address: u8, check: &str) -> String {
        let owner = |n| format!(r#""h{n}-{address}": {{"A": ["192.0.2.{address}"], "check": {check}}}"#);
        (0..count).map(owner).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn tells_of_addresses_with_too_many_checks() {
        check(&names(1000, 1, r#"{"tcp": 80, "interval": "1s", "timeout": "1s"}"#), &[]);
        let http = r#"{"http": {}, "interval": "1s", "timeout": "1s"}"#;
        check(&names(50, 1, http), &[]);
        check(
            &names(1000, 1, http),
            &[
                "192.0.2.1 (of h0-1.example.test. and others) has 1000 checks, which want 1000 probes a second and may have 50: \
                 they run at up to 20.0 times their intervals",
            ],
        );
        let many: Vec<String> =
            (1..=7).map(|address| names(50 + u32::from(address), address, http)).collect();
        check(
            &many.join(", "),
            &[7, 6, 5, 4, 3].map(|n| {
                let more = if n == 3 { " (and so do those of 2 more addresses)" } else { "" };
                let wanted = 50 + n;
                let factor = f64::from(wanted) / 50.0;
                format!(
                    "192.0.2.{n} (of h0-{n}.example.test. and others) has {wanted} checks, which want {wanted} probes a second and \
                     may have 50: they run at up to {factor:.1} times their intervals{more}"
                )
            })
            .each_ref()
            .map(String::as_str),
        );
    }
}
