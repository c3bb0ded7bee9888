//! Which answers an owner may give, as docs/policies.md and docs/health.md say it, and as plainly as it can be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use hale::model::overrides::Word;
use hale::model::target::Verdict;

use super::plan::{AllDown, Condition, End, Group, Leaf, Node, Owner};

/// An answer: addresses of one type, sorted.
pub(super) type Answer = Vec<IpAddr>;

/// What an owner may answer for a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// SERVFAIL: a verdict is awaited.
    Awaited,
    /// One of these; the empty one is NODATA.
    OneOf(BTreeSet<Answer>),
}

/// What the past means for an owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    last_good: Option<BTreeSet<IpAddr>>,
    /// By the name of a pool that stays with its choice.
    chosen: BTreeMap<String, Option<usize>>,
}

/// How an endpoint counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Live,
    Drained,
    Down,
}

/// How a pool stands, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Healthy,
    Weak,
    Drained,
    Down,
}

/// An owner at one moment.
pub(super) struct Moment<'a> {
    owner: &'a Owner,
    verdicts: Vec<Verdict>,
    words: Vec<Option<Word>>,
    lives: Vec<Life>,
}

impl<'a> Moment<'a> {
    /// `verdict` gives the published verdict of an address by a check, `word` the override of an endpoint within pools.
    pub(super) fn new(
        owner: &'a Owner,
        verdict: impl Fn(IpAddr, usize) -> Verdict,
        word: impl Fn(&Owner, &End, &[&str]) -> Option<Word>,
        memory: &Memory,
    ) -> Self {
        let mut all = Vec::new();
        walk(&owner.root, &mut Vec::new(), &mut |end, pools| {
            all.push((end.clone(), word(owner, end, pools)));
        });
        all.sort_by_key(|(end, _)| end.place);
        let words: Vec<Option<Word>> = all.iter().map(|(_, word)| *word).collect();
        let verdicts: Vec<Verdict> = all
            .iter()
            .map(|(end, word)| match (word, owner.condition.verdict(end, &verdict)) {
                (Some(Word::Up), _) => Verdict::Up,
                (Some(Word::Down), _) => Verdict::Down,
                (_, Verdict::Unknown) if owner.is_optimistic => Verdict::Up,
                (_, verdict) => verdict,
            })
            .collect();
        let any_up = verdicts.contains(&Verdict::Up);
        let is_up = |(end, _): &(End, Option<Word>)| match (any_up, owner.all_down, &memory.last_good) {
            (true, ..) => verdicts[end.place] == Verdict::Up,
            (false, AllDown::LastGood, Some(good)) => good.contains(&end.address),
            (false, ..) => true,
        };
        let life = |one: &(End, Option<Word>)| match (is_up(one), one.1) {
            (false, _) => Life::Down,
            (true, Some(Word::Drain)) => Life::Drained,
            (true, _) => Life::Live,
        };
        let lives = all.iter().map(life).collect();
        Self { owner, verdicts, words, lives }
    }

    /// What it is decided by, for people.
    pub(super) fn describe(&self, memory: &Memory) -> String {
        format!("verdicts {:?}, words {:?}, {memory:?}", self.verdicts, self.words)
    }

    pub(super) fn is_all_down(&self) -> bool {
        self.verdicts.iter().all(|verdict| *verdict == Verdict::Down)
    }

    /// The extended error (RFC 8914) that goes with addresses in an answer.
    pub(super) fn extended_error(&self, memory: &Memory) -> Option<u16> {
        match (self.is_all_down(), self.owner.all_down, &memory.last_good) {
            (false, ..) => None,
            (true, AllDown::LastGood, Some(_)) => Some(3),
            (true, ..) => Some(0),
        }
    }

    /// Whether a person's word decides about one of its endpoints.
    pub(super) fn is_overridden(&self) -> bool {
        self.words.iter().any(Option::is_some)
    }

    /// What is remembered from this moment on.
    pub(super) fn remember(&self, memory: &mut Memory) {
        if !self.verdicts.contains(&Verdict::Up) {
            return;
        }
        let good = self.owner.root.ends().into_iter().filter(|end| self.verdicts[end.place] == Verdict::Up);
        memory.last_good = Some(good.map(|end| end.address).collect());
        self.stay(&self.owner.root, memory);
    }

    fn stay(&self, node: &Node, memory: &mut Memory) {
        let Node::Group { name, rule, members, .. } = node else { return };
        if let Group::Failover { failback: false } = rule {
            let first = self.in_order(name, members, false, memory)[0];
            let is_up = self.standing(&members[first].0) < Standing::Down;
            memory.chosen.insert(name.clone(), is_up.then_some(first));
        }
        members.iter().for_each(|(member, _)| self.stay(member, memory));
    }

    /// What may be answered for a type to a client, or to anyone.
    pub(super) fn expected(&self, is_v4: bool, client: Option<IpAddr>, memory: &Memory) -> Expected {
        let owner = self.owner;
        let of_type = |end: &&End| end.address.is_ipv4() == is_v4;
        let ends = owner.root.ends();
        if self.verdicts.contains(&Verdict::Up) {
            let answers = self.answers(&owner.root, is_v4, None, client, memory);
            let awaited = |end: &&End| of_type(end) && self.verdicts[end.place] == Verdict::Unknown;
            if answers.is_empty() && ends.iter().any(awaited) {
                return Expected::Awaited;
            }
            return or_nothing(answers);
        }
        if self.verdicts.contains(&Verdict::Unknown) {
            return if ends.iter().any(of_type) { Expected::Awaited } else { or_nothing(BTreeSet::new()) };
        }
        match owner.all_down {
            AllDown::None => or_nothing(BTreeSet::new()),
            AllDown::Fallback => {
                let mut answer: Answer =
                    owner.fallback.iter().copied().filter(|a| a.is_ipv4() == is_v4).collect();
                answer.sort_unstable();
                Expected::OneOf(BTreeSet::from([answer]))
            }
            AllDown::All | AllDown::LastGood => {
                or_nothing(self.answers(&owner.root, is_v4, None, client, memory))
            }
        }
    }

    fn standing(&self, node: &Node) -> Standing {
        match node {
            Node::Leaf { ends, min_healthy, up_threshold, .. } => {
                let count = |life| ends.iter().filter(|end| self.lives[end.place] == life).count();
                let (live, drained) = (count(Life::Live), count(Life::Drained));
                let is_thin = (live + drained) * 100 < up_threshold * ends.len();
                if live + drained == 0 {
                    Standing::Down
                } else if live == 0 {
                    Standing::Drained
                } else if is_thin || live + drained < *min_healthy {
                    Standing::Weak
                } else {
                    Standing::Healthy
                }
            }
            Node::Group { members, .. } => {
                // With nothing given one healthy member is enough.
                members.iter().map(|(member, _)| self.standing(member)).min().unwrap()
            }
        }
    }

    /// Members of a failover pool in the order in which they are tried.
    fn in_order(&self, name: &str, members: &[(Node, u32)], failback: bool, memory: &Memory) -> Vec<usize> {
        let present = if failback { None } else { memory.chosen.get(name).copied().flatten() };
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|&i| (self.standing(&members[i].0), i));
        // The present one stays first where none stands better.
        if let Some(present) = present
            && self.standing(&members[present].0) == self.standing(&members[order[0]].0)
        {
            order.retain(|&i| i != present);
            order.insert(0, present);
        }
        order
    }

    /// The answers of a type that a pool can give; none where it has nothing of the type.
    fn answers(
        &self,
        node: &Node,
        is_v4: bool,
        above: Option<usize>,
        client: Option<IpAddr>,
        memory: &Memory,
    ) -> BTreeSet<Answer> {
        let (name, rule, members, answers) = match node {
            Node::Leaf { rule, ends, answers, up_threshold, .. } => {
                return self.leaf_answers(*rule, ends, answers.or(above), *up_threshold, is_v4);
            }
            Node::Group { name, rule, members, answers } => (name, rule, members, answers.or(above)),
        };
        // Of pools that are answered together the answer as a whole is limited.
        let within = answers.filter(|_| !matches!(rule, Group::All));
        let of = |i: usize| self.answers(&members[i].0, is_v4, within, client, memory);
        let first = |order: &mut dyn Iterator<Item = usize>| {
            order.map(of).find(|answers| !answers.is_empty()).unwrap_or_default()
        };
        let standing = |i: usize| self.standing(&members[i].0);
        let all = 0..members.len();
        match rule {
            Group::Failover { failback } => {
                first(&mut self.in_order(name, members, *failback, memory).into_iter())
            }
            Group::All => {
                // Together those that stand best, as long as they have something of the type.
                let by_standing = [Standing::Healthy, Standing::Weak, Standing::Drained, Standing::Down];
                let together = by_standing.into_iter().map(|wanted| {
                    let best = all.clone().filter(|&i| standing(i) == wanted);
                    best.flat_map(|i| self.together(&members[i].0, is_v4)).collect::<Vec<IpAddr>>()
                });
                let found = together.into_iter().find(|found| !found.is_empty());
                found.map_or_else(BTreeSet::new, |found| windows(&found, answers.unwrap_or(usize::MAX)))
            }
            Group::Weighted | Group::Hashed => {
                let best = all.clone().map(standing).min().unwrap();
                let each = all.clone().filter(|&i| standing(i) == best).flat_map(|i| {
                    // Who lacks the type is stood in for by the next one, round the list.
                    let mut order: Vec<usize> = (i..members.len()).chain(0..i).collect();
                    order.sort_by_key(|&i| standing(i));
                    first(&mut order.into_iter())
                });
                if best == Standing::Down { BTreeSet::new() } else { each.collect() }
            }
            Group::Geo(networks) => {
                let default = members.len() - 1;
                let region = |region: usize| {
                    let mut order: Vec<usize> = vec![region, default];
                    order.extend(0..default);
                    order.sort_by_key(|&i| standing(i));
                    first(&mut order.into_iter())
                };
                match client {
                    Some(client) => region(place(networks, client).unwrap_or(default)),
                    None => all.flat_map(region).collect(),
                }
            }
        }
    }

    /// What a list of addresses has for an answer, in its order.
    fn found(&self, rule: Leaf, ends: &[End], up_threshold: usize, is_v4: bool) -> Vec<IpAddr> {
        let up = ends.iter().filter(|end| self.lives[end.place] != Life::Down).count();
        let serves_all = up > 0 && up * 100 < up_threshold * ends.len() && rule != Leaf::Failover;
        let of = |life: Option<Life>| {
            let wanted = |end: &&End| {
                end.address.is_ipv4() == is_v4 && life.is_none_or(|life| self.lives[end.place] == life)
            };
            ends.iter().filter(wanted).map(|end| end.address).collect::<Vec<IpAddr>>()
        };
        let found = if serves_all { of(None) } else { of(Some(Life::Live)) };
        if found.is_empty() { of(Some(Life::Drained)) } else { found }
    }

    /// What a list adds where pools are answered together: of a failover the first one.
    fn together(&self, node: &Node, is_v4: bool) -> Vec<IpAddr> {
        let Node::Leaf { rule, ends, up_threshold, .. } = node else {
            unreachable!("the plan puts lists alone under `all`")
        };
        let mut found = self.found(*rule, ends, *up_threshold, is_v4);
        if *rule == Leaf::Failover {
            found.truncate(1);
        }
        found
    }

    fn leaf_answers(
        &self,
        rule: Leaf,
        ends: &[End],
        answers: Option<usize>,
        up_threshold: usize,
        is_v4: bool,
    ) -> BTreeSet<Answer> {
        let mut found = self.found(rule, ends, up_threshold, is_v4);
        if found.is_empty() {
            return BTreeSet::new();
        }
        let limit = answers.unwrap_or(if rule == Leaf::All { usize::MAX } else { 1 });
        if rule == Leaf::Failover {
            found.truncate(limit);
        }
        windows(&found, limit)
    }

    /// Where one address is drawn from the owner's own list: the weight of each that may be, in the list's order.
    pub(super) fn weights(&self, is_v4: bool, share: impl Fn(IpAddr) -> u32) -> Option<Vec<u32>> {
        let Node::Leaf { rule: Leaf::Weighted, ends, answers: None, up_threshold: 0, .. } = &self.owner.root
        else {
            return None;
        };
        let live =
            ends.iter().filter(|end| end.address.is_ipv4() == is_v4 && self.lives[end.place] == Life::Live);
        let weights: Vec<u32> = live.map(|end| end.weight * share(end.address)).collect();
        (weights.len() > 1 && self.verdicts.contains(&Verdict::Up)).then_some(weights)
    }
}

fn or_nothing(answers: BTreeSet<Answer>) -> Expected {
    Expected::OneOf(if answers.is_empty() { BTreeSet::from([Vec::new()]) } else { answers })
}

/// Calls `each` for every endpoint with the names of the pools around it; the owner itself is none.
fn walk<'a>(node: &'a Node, pools: &mut Vec<&'a str>, each: &mut impl FnMut(&'a End, &[&str])) {
    match node {
        Node::Leaf { ends, .. } => ends.iter().for_each(|end| each(end, pools)),
        Node::Group { members, .. } => {
            for (member, _) in members {
                pools.push(member.name());
                walk(member, pools, each);
                pools.pop();
            }
        }
    }
}

/// The longest of the networks that holds the client.
fn place(networks: &[(Ipv4Addr, u8)], client: IpAddr) -> Option<usize> {
    let IpAddr::V4(client) = client else { return None };
    let holds = |(network, bits): &(Ipv4Addr, u8)| {
        u32::from(client) >> (32 - bits) == u32::from(*network) >> (32 - bits)
    };
    let found = networks.iter().enumerate().filter(|(_, network)| holds(network));
    found.max_by_key(|(_, (_, bits))| *bits).map(|(i, _)| i)
}

impl Condition {
    pub(super) fn checks(&self) -> Vec<usize> {
        match self {
            Self::One(check) => vec![*check],
            Self::Any(both) | Self::All(both) => both.to_vec(),
        }
    }

    fn verdict(&self, end: &End, verdict: &impl Fn(IpAddr, usize) -> Verdict) -> Verdict {
        if !end.is_checked {
            return Verdict::Up;
        }
        let both = |both: &[usize; 2], decides: Verdict| {
            let verdicts = both.map(|check| verdict(end.address, check));
            match (verdicts.contains(&decides), verdicts.contains(&Verdict::Unknown)) {
                (true, _) => decides,
                (false, true) => Verdict::Unknown,
                (false, false) => verdicts[0],
            }
        };
        match self {
            Self::One(check) => verdict(end.address, *check),
            Self::Any(checks) => both(checks, Verdict::Up),
            Self::All(checks) => both(checks, Verdict::Down),
        }
    }
}

/// Answers of so many addresses that follow each other round a list.
fn windows(found: &[IpAddr], limit: usize) -> BTreeSet<Answer> {
    let limit = limit.min(found.len());
    let starts = if limit == found.len() { 1 } else { found.len() };
    let window = |start| {
        let mut answer: Answer = found.iter().cycle().skip(start).take(limit).copied().collect();
        answer.sort_unstable();
        answer
    };
    (0..starts).map(window).collect()
}
