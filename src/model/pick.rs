//! Which of an owner's answers a query gets: a small program over the client's network and a random number. Pure arithmetic, without
//! allocation, so that `hale explain` and the answer engine cannot differ.

use std::net::IpAddr;
use std::sync::Arc;

use super::prefixes::PrefixTable;

/// Bits of an IPv4 address that `hashed` looks at: the network that RFC 7871 §11.1 has resolvers send.
pub const HASHED_V4_BITS: u8 = 24;
/// Bits of an IPv6 address that `hashed` looks at.
pub const HASHED_V6_BITS: u8 = 56;

/// How one of an owner's RRsets of one type is picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one, by its place among them.
    Set(u16),
    /// One in proportion to the weights. Their sum is positive and fits 32 bits.
    Weighted(Vec<(u32, Pick)>),
    /// The same one for the same client network.
    Hashed(Vec<Candidate>),
    /// By the branch of the table that the client's network belongs to. One that the table has more branches than goes to the first.
    Geo(Arc<PrefixTable>, Vec<Pick>),
}

/// One of those that `hashed` chooses among.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What tells it from the others, whatever their number and order.
    pub seed: u64,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// What is picked if it wins.
    pub pick: Pick,
}

/// What a query is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The place of the RRset.
    pub set: u16,
    /// Bits of the client's address that it holds for: all clients with the same bits are given the same (RFC 7871 §6).
    pub scope: u8,
}

impl Pick {
    /// What a client is given. `random` is the query's number, the same for each type that it asks for.
    pub fn choose(&self, client: IpAddr, random: u64) -> Chosen {
        let (mut pick, mut scope) = (self, 0);
        for depth in 0.. {
            let next = match pick {
                Self::Set(set) => return Chosen { set: *set, scope },
                Self::Weighted(options) => {
                    let total = options.iter().map(|(weight, _)| *weight).fold(0, u32::saturating_add);
                    let drawn = draw(random, depth, total);
                    let mut bound = 0u32;
                    let found = options.iter().find(|(weight, _)| {
                        bound = bound.saturating_add(*weight);
                        drawn < bound
                    });
                    found.map(|(_, pick)| pick)
                }
                Self::Hashed(candidates) => {
                    scope = scope.max(hashed_bits(client));
                    let won = winner(client_key(client), candidates.iter().map(|c| (c.seed, c.weight)));
                    won.map(|i| &candidates[i].pick)
                }
                Self::Geo(table, picks) => {
                    let (branch, bits) = table.find(client);
                    scope = scope.max(bits);
                    picks.get(usize::from(branch)).or(picks.first())
                }
            };
            match next {
                Some(next) => pick = next,
                None => break,
            }
        }
        Chosen { set: 0, scope }
    }

    /// What is chosen among one level below it.
    fn below(&self) -> Vec<&Self> {
        match self {
            Self::Set(_) => Vec::new(),
            Self::Weighted(options) => options.iter().map(|(_, pick)| pick).collect(),
            Self::Hashed(candidates) => candidates.iter().map(|c| &c.pick).collect(),
            Self::Geo(_, picks) => picks.iter().collect(),
        }
    }

    /// Whether it is drawn by weight for each query, and not decided by the client alone.
    pub fn is_drawn(&self) -> bool {
        matches!(self, Self::Weighted(_)) || self.below().into_iter().any(Self::is_drawn)
    }

    /// Every place that it can lead to, in the order of the tree.
    pub fn sets(&self) -> Vec<u16> {
        match self {
            Self::Set(set) => vec![*set],
            other => other.below().into_iter().flat_map(Self::sets).collect(),
        }
    }

    /// The tables that it looks clients up in.
    pub fn tables(&self) -> Vec<&Arc<PrefixTable>> {
        let own = if let Self::Geo(table, _) = self { Some(table) } else { None };
        own.into_iter().chain(self.below().into_iter().flat_map(Self::tables)).collect()
    }

    /// Whether it depends on the client.
    pub fn is_by_client(&self) -> bool {
        matches!(self, Self::Hashed(_) | Self::Geo(..)) || self.below().into_iter().any(Self::is_by_client)
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

/// Bits of a client's address that `hashed` looks at.
#[inline]
pub fn hashed_bits(client: IpAddr) -> u8 {
    if client.is_ipv4() { HASHED_V4_BITS } else { HASHED_V6_BITS }
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
            counts[usize::from(pick.choose(v4(client), mix(random)).set)] += 1;
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
                let (before, after) = (all.choose(client, 0).set, without.choose(client, 0).set);
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
        let of = |text: &str| pick.choose(text.parse().unwrap(), 0).set;
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::"));
        let mut seen: Vec<u16> = (0..64).map(|n| pick.choose(v4(n), 0).set).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 8, "other networks go elsewhere: {seen:?}");
    }

    #[test]
    fn geo_tells_how_far_an_answer_holds() {
        let mut builder = super::super::prefixes::PrefixTableBuilder::new(0);
        builder.set("10.0.0.0".parse().unwrap(), 8, 1);
        builder.set("2001:db8::".parse().unwrap(), 64, 2);
        builder.set("192.0.2.0".parse().unwrap(), 24, 9);
        let table = Arc::new(builder.finish());
        let hashed = Pick::Hashed(candidates(&[1, 1]));
        let pick = Pick::Geo(Arc::clone(&table), vec![Pick::Set(5), hashed, Pick::Set(7)]);
        for (client, set, scope) in [
            ("11.0.0.1", Some(5), 8),
            ("10.0.0.1", None, 24),
            ("2001:db8::1", Some(7), 64),
            ("::1", Some(5), 3),
            // A branch without a pick.
            ("192.0.2.1", Some(5), 24),
        ] {
            let chosen = pick.choose(client.parse().unwrap(), 1);
            assert_eq!((Some(chosen.set).filter(|_| set.is_some()), chosen.scope), (set, scope), "{client}");
        }
        assert!(pick.is_by_client() && !Pick::Set(0).is_by_client());
        assert_eq!(Pick::Weighted(vec![(1, pick)]).tables(), [&table]);
    }
}
