//! The cost of an amendment follows the change and not the zone: a discovered name that comes and goes in a zone of many names signs as much,
//! and allocates at most three times as much, as in a zone of a thousand.
//!
//! `HALE_LONG=1` takes the large zone to a million names, signed; otherwise it has twenty thousand.

#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

#[path = "support/cost.rs"]
mod cost;

use std::net::IpAddr;
use std::sync::Arc;

use cost::{Cost, House, compare};
use hale::model::discovered::{Amendment, DiscoveredName, Origin};
use hale::model::name::Name;
use hale::model::target::{Check, CheckKind, Endpoint, Target, VerdictRules};

/// A discovered name's check.
const CHECK: Check = Check {
    kind: CheckKind::Tcp,
    interval_ms: 10_000,
    timeout_ms: 2000,
    rise: 2,
    fall: 3,
    rules: VerdictRules {
        slower_than_ms: None,
        slow_start_ms: None,
        damping: None,
        patient: false,
        needs_witness: false,
    },
};

/// Adds a name to a signed zone of `names` names and removes it, three times over: what the first one signs, and what the last one allocates.
fn amend(names: usize) -> Cost {
    let house = House::start(names);
    let name = Name::parse_absolute("new.example.test").unwrap();
    let origins = Arc::new([Origin { source: "prod".into(), object: "ingress/shop/web".into() }]);
    let wanted = Arc::new(DiscoveredName {
        endpoints: vec![Endpoint {
            data: IpAddr::from([198, 51, 100, 1]).into(),
            weight: 1,
            condition: Some(
                Target { address: ([198, 51, 100, 1], 443).into(), check: Arc::new(CHECK) }.into(),
            ),
        }],
        policy: None,
        hostname: None,
        host_condition: None,
        rrsets: Vec::new(),
        ttl: None,
        may_be_apex: false,
        origins,
    });
    let mut cost = Cost { signatures: 0, octets: 0 };
    for round in 0..3 {
        for wanted in [Some(Arc::clone(&wanted)), None] {
            let is_added = wanted.is_some();
            let amendment = Amendment { changes: vec![(name.clone(), wanted)] };
            let one = house.cost(|| assert_eq!(house.keeper.amend(amendment), Some(Vec::new())));
            if round == 0 && is_added {
                cost.signatures = one.signatures;
            }
            cost.octets = one.octets;
        }
    }
    assert_eq!(house.targets.borrow().len(), 2, "only the declared targets are left");
    house.stop();
    cost
}

#[test]
fn an_amendment_costs_the_same_in_a_large_zone() {
    let (small, large) = (amend(1_000), amend(cost::large()));
    assert_eq!(small.signatures, 4, "the address RRset, its NSEC and that of its predecessor, and the SOA");
    // Beside shards of the same size, the arrays above those of the store and of the denial index are copied: they grow with the root of
    // the number of names, which for a million comes to 2.7 times in all.
    compare(cost::large(), &small, &large, 3);
}
