//! Which of an owner's answers a query gets: a small program over the client's network and a random number. Pure arithmetic, without
//! allocation, so that `hale explain` and the answer engine cannot differ.

use std::net::IpAddr;

/// Bits of an IPv4 address that `hashed` looks at: the network that RFC 7871 §11.1 has resolvers send.
pub const HASHED_V4_BITS: u8 = 24;
/// Bits of an IPv6 address that `hashed` looks at.
pub const HASHED_V6_BITS: u8 = 56;

/// How one of an owner's RRsets of one type is picked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pick {
    /// This one, by its place among them.
    Set(u16),
    /// One in proportion to the weights. Their sum is positive and fits 32 bits.
    Weighted(Vec<(u32, Pick)>),
    /// The same one for the same client network.
    Hashed(Vec<Candidate>),
}

/// One of those that `hashed` chooses among.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// What tells it from the others, whatever their number and order.
    pub seed: u64,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// What is picked if it wins.
    pub pick: Pick,
}

impl Pick {
    /// The place of the RRset for a client. `random` is the query's number, the same for each type that it asks for.
    pub fn choose(&self, client: IpAddr, random: u64) -> u16 {
        let mut pick = self;
        for depth in 0.. {
            pick = match pick {
                Self::Set(set) => return *set,
                Self::Weighted(options) => {
                    let total = options.iter().map(|(weight, _)| *weight).fold(0, u32::saturating_add);
                    let drawn = draw(random, depth, total);
                    let mut bound = 0u32;
                    let found = options.iter().find(|(weight, _)| {
                        bound = bound.saturating_add(*weight);
                        drawn < bound
                    });
                    let Some((_, pick)) = found else { return 0 };
                    pick
                }
                Self::Hashed(candidates) => {
                    let key = client_key(client);
                    let Some(i) = winner(key, candidates.iter().map(|c| (c.seed, c.weight))) else {
                        return 0;
                    };
                    &candidates[i].pick
                }
            };
        }
        0
    }

    /// Every place that it can lead to, in the order of the tree.
    pub fn sets(&self) -> Vec<u16> {
        match self {
            Self::Set(set) => vec![*set],
            Self::Weighted(options) => options.iter().flat_map(|(_, pick)| pick.sets()).collect(),
            Self::Hashed(candidates) => candidates.iter().flat_map(|c| c.pick.sets()).collect(),
        }
    }
}

/// A number below `total`, drawn from a query's random number for one level of its pick: levels must not depend on each other.
#[inline]
pub fn draw(random: u64, depth: u32, total: u32) -> u32 {
    let word = mix(random ^ u64::from(depth).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (((word >> 32) * u64::from(total)) >> 32) as u32
}

/// What `hashed` knows of a client: its network. Not keyed, so that all servers of a zone agree on it, before and after a restart.
#[inline]
pub fn client_key(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(v4) => mix(4 ^ u64::from(u32::from(v4) >> (32 - HASHED_V4_BITS)) << 8),
        IpAddr::V6(v6) => mix(6 ^ ((u128::from(v6) >> (128 - HASHED_V6_BITS)) as u64) << 8),
    }
}

/// Seed of a candidate from what it is: an address, or the name of a pool.
pub fn seed(identity: &[u8]) -> u64 {
    identity.chunks(8).fold(identity.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

/// The place of the candidate with the highest score for a client (rendezvous hashing): when one leaves, its clients alone move.
///
/// With weights the score is `-weight / ln(u)`, u being uniform in (0, 1): then a candidate wins in proportion to its weight, and a
/// change of one weight moves only clients from or to that candidate.
#[inline]
pub fn winner(client: u64, candidates: impl Iterator<Item = (u64, u32)> + Clone) -> Option<usize> {
    let mut weights = candidates.clone().map(|(_, weight)| weight);
    let first = weights.next()?;
    if weights.all(|weight| weight == first) {
        return candidates.enumerate().max_by_key(|(_, (seed, _))| mix(client ^ seed)).map(|(i, _)| i);
    }
    let score = |(seed, weight): (u64, u32)| {
        let uniform = ((mix(client ^ seed) >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
        -f64::from(weight) / uniform.ln()
    };
    candidates.enumerate().map(|(i, c)| (i, score(c))).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
}

/// Spreads the bits of a word (the finaliser of SplitMix64).
#[inline]
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4((n << 8).into())
    }

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let of = |(i, &weight): (usize, &u32)| Candidate {
            seed: seed(&[192, 0, 2, i as u8]),
            weight,
            pick: Pick::Set(i as u16),
        };
        weights.iter().enumerate().map(of).collect()
    }

    /// Queries of 100,000 client networks that led to each of the sets.
    fn spread(pick: &Pick, sets: usize) -> Vec<u32> {
        let mut counts = vec![0; sets];
        let mut random = 1u64;
        for client in 0..100_000 {
            random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            counts[usize::from(pick.choose(v4(client), mix(random)))] += 1;
        }
        counts
    }

    #[track_caller]
    fn check(pick: &Pick, shares: &[f64]) {
        let counts = spread(pick, shares.len());
        for (count, share) in counts.iter().zip(shares) {
            // Five standard deviations of 100,000 draws are at most 790.
            assert!((f64::from(*count) - share * 100_000.0).abs() < 800.0, "{counts:?}, not {shares:?}");
        }
    }

    #[test]
    fn weights_are_kept() {
        let set = Pick::Set;
        check(&Pick::Weighted(vec![(1, set(0)), (3, set(1))]), &[0.25, 0.75]);
        check(&Pick::Weighted(vec![(65_535, set(0)), (1, set(1))]), &[1.0, 0.0]);
        // The levels draw apart: with one number for both, set 1 would never come.
        let inner = Pick::Weighted(vec![(1, set(0)), (1, set(1))]);
        check(&Pick::Weighted(vec![(1, inner), (1, set(2))]), &[0.25, 0.25, 0.5]);
        check(&Pick::Hashed(candidates(&[1, 1, 1, 1])), &[0.25; 4]);
        check(&Pick::Hashed(candidates(&[100, 300, 100])), &[0.2, 0.6, 0.2]);
        check(&Pick::Set(0), &[1.0]);
    }

    #[test]
    fn hashed_moves_only_the_share_of_what_leaves() {
        for weights in [[1, 1, 1, 1, 1], [10, 20, 30, 40, 50]] {
            let all = candidates(&weights);
            let without: Vec<Candidate> = all.iter().filter(|c| c.pick != Pick::Set(2)).cloned().collect();
            let (all, without) = (Pick::Hashed(all), Pick::Hashed(without));
            let mut moved = 0;
            for client in (0..20_000).map(v4) {
                let (before, after) = (all.choose(client, 0), without.choose(client, 0));
                assert!(before == after || before == 2, "{client} moved from {before} to {after}");
                moved += u32::from(before == 2);
            }
            let share = f64::from(weights[2]) / f64::from(weights.iter().sum::<u32>());
            assert!((f64::from(moved) / 20_000.0 - share).abs() < 0.02, "{moved}");
        }
    }

    #[test]
    fn hashed_sticks_to_the_network() {
        let pick = Pick::Hashed(candidates(&[1; 16]));
        let of = |text: &str| pick.choose(text.parse().unwrap(), 0);
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::"));
        let mut seen: Vec<u16> = (0..64).map(|n| pick.choose(v4(n), 0)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 8, "other networks go elsewhere: {seen:?}");
    }
}
