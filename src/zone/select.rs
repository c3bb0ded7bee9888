//! Which of a name's addresses are answered, given what health says of them. Pure.

use std::net::IpAddr;

use super::desired::Checked;
use crate::config::{Startup, WhenAllDown};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::target::Verdict;

/// What selection says of one owner's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selection {
    /// The A and AAAA RRsets to serve, by type; a type without any address is absent.
    pub rrsets: Vec<Rrset>,
    /// Address types whose first verdict is still awaited.
    pub pending: Vec<RrType>,
    /// Address types of the owner that are served without records because every address of them is down.
    pub withheld: Vec<RrType>,
    /// Why this is not the ordinary answer.
    pub reason: Reason,
}

/// Why a selection is not simply the addresses that are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reason {
    /// At least one address is up, or a verdict is awaited.
    #[default]
    Healthy,
    /// All are down: `when_all_down` is `all`, or `last-good` without history.
    ServingAll,
    /// All are down: what was served last.
    LastGood,
    /// All are down: the fallback addresses.
    Fallback,
    /// All are down: nothing is served.
    Nothing,
}

const FAMILIES: [RrType; 2] = [RrType::A, RrType::AAAA];

/// The type of the record that holds an address.
pub fn family(address: IpAddr) -> RrType {
    if address.is_ipv4() { RrType::A } else { RrType::AAAA }
}

/// Decides what `checked` serves. `verdict` gives the verdict of the endpoint at an index; `last_good` is what the owner
/// served when an address of it was last up.
///
/// An owner is down as a whole: only when no address of either family is up does `when_all_down` act. A family that is
/// down alone is withheld (NODATA), so that clients use the other one. Before the first verdict a family is pending,
/// unless an address of it is already known to be up.
pub fn select(
    checked: &Checked,
    verdict: impl Fn(usize) -> Verdict,
    last_good: Option<&[IpAddr]>,
) -> Selection {
    let unknown_is_up = checked.startup == Startup::Optimistic;
    let verdicts: Vec<Verdict> = checked
        .endpoints
        .iter()
        .enumerate()
        .map(|(i, endpoint)| match &endpoint.condition {
            None => Verdict::Up,
            Some(_) => match verdict(i) {
                Verdict::Unknown if unknown_is_up => Verdict::Up,
                known => known,
            },
        })
        .collect();
    let addresses = || checked.endpoints.iter().map(|e| e.address);
    if verdicts.contains(&Verdict::Up) {
        let up = addresses().zip(&verdicts).filter(|(_, v)| **v == Verdict::Up).map(|(a, _)| a);
        let mut selection = serve(checked, up, Reason::Healthy);
        let awaited =
            |t: &RrType| addresses().zip(&verdicts).any(|(a, v)| family(a) == *t && *v == Verdict::Unknown);
        let (pending, withheld) = std::mem::take(&mut selection.withheld).into_iter().partition(awaited);
        selection.pending = pending;
        selection.withheld = withheld;
        return selection;
    }
    if verdicts.contains(&Verdict::Unknown) {
        let pending = FAMILIES.into_iter().filter(|t| addresses().any(|a| family(a) == *t)).collect();
        return Selection { pending, ..Selection::default() };
    }
    match (checked.when_all_down, last_good) {
        (WhenAllDown::LastGood, Some(last)) => serve(checked, last.iter().copied(), Reason::LastGood),
        (WhenAllDown::All | WhenAllDown::LastGood, _) => serve(checked, addresses(), Reason::ServingAll),
        (WhenAllDown::Fallback, _) => serve(checked, checked.fallback.iter().copied(), Reason::Fallback),
        (WhenAllDown::None, _) => serve(checked, std::iter::empty(), Reason::Nothing),
    }
}

/// Groups addresses into RRsets; families that the owner has but `addresses` lacks are withheld.
fn serve(checked: &Checked, addresses: impl Iterator<Item = IpAddr>, reason: Reason) -> Selection {
    let addresses: Vec<IpAddr> = addresses.collect();
    let mut selection = Selection { reason, ..Selection::default() };
    for rtype in FAMILIES {
        let rdata = RdataSet::new(addresses.iter().filter(|a| family(**a) == rtype).map(|a| match a {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }));
        if !rdata.is_empty() {
            let ttl = if rtype == RrType::A { checked.a_ttl } else { checked.aaaa_ttl };
            selection.rrsets.push(Rrset { rtype, ttl, rdata });
        } else if checked.endpoints.iter().any(|e| family(e.address) == rtype) {
            selection.withheld.push(rtype);
        }
    }
    selection
}

impl Selection {
    /// The addresses served, to be remembered as the last good ones; `None` unless an address was up.
    pub fn good_addresses(&self) -> Option<Vec<IpAddr>> {
        if self.reason != Reason::Healthy || self.rrsets.is_empty() {
            return None;
        }
        let all = self.rrsets.iter().flat_map(|set| set.rdata.iter());
        Some(all.filter_map(address_of).collect())
    }
}

fn address_of(rdata: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(rdata) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Order;
    use crate::model::target::{Check, CheckKind, Endpoint, Target};
    use Verdict::{Down, Unknown, Up};

    fn checked(addresses: &[&str], when_all_down: WhenAllDown) -> Checked {
        let check =
            Arc::new(Check { kind: CheckKind::Tcp, interval_ms: 1000, timeout_ms: 500, rise: 1, fall: 1 });
        let endpoint = |text: &&str| {
            let (text, is_checked) = text.strip_suffix('!').map_or((*text, true), |t| (t, false));
            let address: IpAddr = text.parse().unwrap();
            let target = Target { address: (address, 80).into(), check: check.clone() };
            let condition = is_checked.then(|| target.into());
            Endpoint { address, weight: 1, condition }
        };
        Checked {
            endpoints: addresses.iter().map(endpoint).collect(),
            a_ttl: 5,
            aaaa_ttl: 6,
            when_all_down,
            fallback: vec!["203.0.113.9".parse().unwrap()],
            order: Order::Rotate,
            startup: Startup::Wait,
        }
    }

    /// `A:… AAAA:… pending:… withheld:… reason` in one line.
    fn show(selection: &Selection) -> String {
        let mut out = String::new();
        for set in &selection.rrsets {
            let all: Vec<String> = set.rdata.iter().filter_map(address_of).map(|a| a.to_string()).collect();
            out += &format!("{}/{}={} ", set.rtype, set.ttl, all.join(","));
        }
        out + &format!(
            "pending={:?} withheld={:?} {:?}",
            selection.pending, selection.withheld, selection.reason
        )
    }

    fn check(
        addresses: &[&str],
        when_all_down: WhenAllDown,
        verdicts: &[Verdict],
        last: Option<&[&str]>,
        want: &str,
    ) {
        let last: Option<Vec<IpAddr>> = last.map(|l| l.iter().map(|a| a.parse().unwrap()).collect());
        let got = select(&checked(addresses, when_all_down), |i| verdicts[i], last.as_deref());
        assert_eq!(show(&got), want, "{addresses:?} {when_all_down:?} {verdicts:?}");
    }

    #[test]
    fn serves_what_is_up() {
        let two = ["192.0.2.1", "192.0.2.2"];
        check(
            &two,
            WhenAllDown::All,
            &[Up, Up],
            None,
            "A/5=192.0.2.1,192.0.2.2 pending=[] withheld=[] Healthy",
        );
        check(&two, WhenAllDown::All, &[Up, Down], None, "A/5=192.0.2.1 pending=[] withheld=[] Healthy");
        check(&two, WhenAllDown::All, &[Unknown, Up], None, "A/5=192.0.2.2 pending=[] withheld=[] Healthy");
        check(&two, WhenAllDown::All, &[Unknown, Down], None, "pending=[A] withheld=[] Healthy");
        check(
            &["192.0.2.1", "192.0.2.7!"],
            WhenAllDown::None,
            &[Down, Down],
            None,
            "A/5=192.0.2.7 pending=[] withheld=[] Healthy",
        );
    }

    #[test]
    fn a_family_that_is_down_alone_is_withheld() {
        let both = ["192.0.2.1", "2001:db8::1"];
        check(&both, WhenAllDown::All, &[Up, Down], None, "A/5=192.0.2.1 pending=[] withheld=[AAAA] Healthy");
        check(
            &both,
            WhenAllDown::All,
            &[Up, Unknown],
            None,
            "A/5=192.0.2.1 pending=[AAAA] withheld=[] Healthy",
        );
        check(&both, WhenAllDown::All, &[Down, Unknown], None, "pending=[A, AAAA] withheld=[] Healthy");
    }

    #[test]
    fn all_down_does_as_configured() {
        let both = ["192.0.2.1", "2001:db8::1"];
        let down = [Down, Down];
        check(
            &both,
            WhenAllDown::All,
            &down,
            None,
            "A/5=192.0.2.1 AAAA/6=2001:db8::1 pending=[] withheld=[] ServingAll",
        );
        check(
            &both,
            WhenAllDown::LastGood,
            &down,
            None,
            "A/5=192.0.2.1 AAAA/6=2001:db8::1 pending=[] withheld=[] ServingAll",
        );
        check(
            &both,
            WhenAllDown::LastGood,
            &down,
            Some(&["192.0.2.1"]),
            "A/5=192.0.2.1 pending=[] withheld=[AAAA] LastGood",
        );
        check(
            &both,
            WhenAllDown::Fallback,
            &down,
            None,
            "A/5=203.0.113.9 pending=[] withheld=[AAAA] Fallback",
        );
        check(&both, WhenAllDown::None, &down, None, "pending=[] withheld=[A, AAAA] Nothing");
    }

    #[test]
    fn optimistic_owners_start_up() {
        let mut owner = checked(&["192.0.2.1"], WhenAllDown::None);
        owner.startup = Startup::Optimistic;
        assert_eq!(show(&select(&owner, |_| Unknown, None)), "A/5=192.0.2.1 pending=[] withheld=[] Healthy");
        assert_eq!(show(&select(&owner, |_| Down, None)), "pending=[] withheld=[A] Nothing");
    }

    #[test]
    fn remembers_only_good_addresses() {
        let owner = checked(&["192.0.2.1", "2001:db8::1"], WhenAllDown::LastGood);
        let good = select(&owner, |i| if i == 0 { Up } else { Down }, None);
        assert_eq!(good.good_addresses(), Some(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(select(&owner, |_| Down, None).good_addresses(), None);
        assert_eq!(select(&owner, |_| Unknown, None).good_addresses(), None);
    }
}
