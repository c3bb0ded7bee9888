//! The cost of a flip follows the change and not the zone: one flip in a zone of many names signs as much, and allocates at most
//! twice as much, as in a zone of a thousand.
//!
//! `HALE_LONG=1` takes the large zone to a million names, signed; otherwise it has twenty thousand.

#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

#[path = "support/cost.rs"]
mod cost;

use cost::{Cost, House, compare};
use hale::model::target::Verdict;

/// Flips one address of a signed zone of `names` names to and fro until caches are warm, and measures one more flip.
fn flip(names: usize) -> Cost {
    let house = House::start(names);
    let id = house.targets.borrow()[0].0;
    let mut cost = Cost { signatures: 0, octets: 0 };
    // Each state is signed once; the third round of flips finds everything in the cache but the SOA.
    for round in 0..3 {
        for verdict in [Verdict::Down, Verdict::Up] {
            let one = house.cost(|| {
                house.board.set(id, verdict);
                assert_eq!(house.keeper.zones()[0].trouble, None);
            });
            if round == 0 && verdict == Verdict::Down {
                cost.signatures = one.signatures;
            }
            cost.octets = one.octets;
        }
    }
    house.stop();
    cost
}

#[test]
fn a_flip_costs_the_same_in_a_large_zone() {
    let (small, large) = (flip(1_000), flip(cost::large()));
    assert_eq!(small.signatures, 2, "the address RRset and the SOA");
    compare(cost::large(), &small, &large, 2);
}
