//! Which NSEC records follow from names that come and go: those of the names that come, and those of their predecessors. Pure.

use crate::model::name::Name;

/// The names whose NSEC record leads to another name than before, each with that name. `added` and `removed` are in canonical order and
/// have no name in common, nor with them the apex, which is always in the chain. `previous` and `next` tell a name's neighbours in the
/// chain as it was, the name itself not counted.
pub(super) fn relinked(
    added: &[Name],
    removed: &[Name],
    previous: impl Fn(&Name) -> Option<Name>,
    next: impl Fn(&Name) -> Option<Name>,
) -> Vec<(Name, Name)> {
    let mut links = Vec::with_capacity(2 * (added.len() + removed.len()));
    let (mut added, mut removed) = (added.iter().peekable(), removed.iter().peekable());
    // The last name that is to lead elsewhere, and the last one that came or went, behind which the old chain goes on.
    let mut open: Option<(Name, &Name)> = None;
    loop {
        let is_added = match (added.peek(), removed.peek()) {
            (Some(a), Some(r)) => a < r,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let Some(touched) = (if is_added { added.next() } else { removed.next() }) else { break };
        // Between two names that come or go there may be names that stay; then the old chain is taken up again.
        let before = previous(touched);
        let is_apart = |last: &Name| before.as_ref().is_some_and(|b| b > last && b < touched);
        if let Some((from, last)) = open.take_if(|(_, last)| is_apart(last)) {
            links.extend(next(last).map(|to| (from, to)));
        }
        let from = match open.take() {
            Some((from, _)) => Some(from),
            None => before,
        };
        let Some(from) = from else { continue };
        open = Some(if is_added {
            links.push((from, touched.clone()));
            (touched.clone(), touched)
        } else {
            (from, touched)
        });
    }
    if let Some((from, last)) = open {
        links.extend(next(last).map(|to| (from, to)));
    }
    links
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn name(i: u64) -> Name {
        Name::parse_absolute(&if i == 0 { "t".to_owned() } else { format!("n{i:03}.t") }).unwrap()
    }

    fn chain(names: &BTreeSet<Name>) -> BTreeMap<Name, Name> {
        let nexts = names.iter().skip(1).chain(names.first());
        names.iter().cloned().zip(nexts.cloned()).collect()
    }

    /// As a chain that is made anew, over random sets.
    #[test]
    fn follows_a_chain_made_anew() {
        let seed = 0x5eed_u64;
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..3000 {
            let size = 1 + random(12);
            let mut before: BTreeSet<Name> = (0..random(8)).map(|_| name(1 + random(size))).collect();
            before.insert(name(0));
            let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..random(7) {
                let one = name(1 + random(size));
                if before.contains(&one) {
                    removed.insert(one)
                } else {
                    added.insert(one)
                };
            }
            let after: BTreeSet<Name> = before.difference(&removed).chain(&added).cloned().collect();
            let previous = |n: &Name| before.range(..n.clone()).next_back().or(before.last()).cloned();
            let next = |n: &Name| before.range(n.clone()..).find(|b| *b != n).or(before.first()).cloned();
            let (added, removed): (Vec<_>, Vec<_>) =
                (added.into_iter().collect(), removed.into_iter().collect());
            let links = relinked(&added, &removed, previous, next);
            let mut found = chain(&before);
            removed.iter().for_each(|r| {
                found.remove(r);
            });
            found.extend(links.iter().cloned());
            assert_eq!(
                found,
                chain(&after),
                "seed {seed}, round {round}: {before:?} + {added:?} - {removed:?}"
            );
            // No more is signed than that.
            assert!(links.len() <= 2 * added.len() + removed.len(), "round {round}");
        }
    }
}
