//! Random zones: what the server reads as JSON, and the same as plain values for the models.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::support::random::Random;

/// One address of an owner.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) address: IpAddr,
    pub(super) weight: u32,
    /// Its place among all of its owner's.
    pub(super) place: usize,
    pub(super) is_checked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    All,
    Failover,
    Weighted,
    Hashed,
}

#[derive(Clone, Debug)]
pub(super) enum Group {
    All,
    Failover {
        failback: bool,
    },
    Weighted,
    Hashed,
    /// A network for each member but the last, which is the default one.
    Geo(Vec<(Ipv4Addr, u8)>),
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf {
        name: String,
        rule: Leaf,
        ends: Vec<End>,
        answers: Option<usize>,
        min_healthy: usize,
        up_threshold: usize,
    },
    Group {
        name: String,
        rule: Group,
        members: Vec<(Node, u32)>,
        answers: Option<usize>,
    },
}

/// What an owner's endpoints are checked by: numbers of [`Plan::checks`].
#[derive(Clone, Debug)]
pub(super) enum Condition {
    One(usize),
    Any([usize; 2]),
    All([usize; 2]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AllDown {
    All,
    LastGood,
    Fallback,
    None,
}

#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// With its zone.
    pub(super) name: String,
    pub(super) root: Node,
    pub(super) condition: Condition,
    pub(super) all_down: AllDown,
    pub(super) fallback: Vec<IpAddr>,
    pub(super) is_optimistic: bool,
}

/// The ports of checks begin here: the port tells which check a target is of.
pub(super) const FIRST_PORT: u16 = 1000;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Each as JSON.
    pub(super) checks: Vec<String>,
    pub(super) owners: Vec<Owner>,
    /// The zones in JSON: one signed, one not, with the same owners.
    pub(super) zones: [String; 2],
}

pub(super) const APEXES: [&str; 2] = ["signed.test", "plain.test"];

const NETWORKS: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 1, 0, 0), 16),
    (Ipv4Addr::new(10, 1, 2, 0), 24),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
];

impl Plan {
    pub(super) fn random(random: &mut Random) -> Self {
        let checks = (0..4).map(|number| check(random, number)).collect();
        let mut owners = Vec::new();
        for number in 0..10 {
            let owner = owner(random, number);
            for apex in APEXES {
                owners.push(Owner { name: format!("o{number}.{apex}"), ..owner.clone() });
            }
        }
        let mut plan = Self { checks, owners, zones: Default::default() };
        plan.zones = APEXES.map(|apex| plan.json(apex));
        plan
    }

    fn json(&self, apex: &str) -> String {
        let dnssec = if apex == APEXES[0] {
            // So long that nothing is renewed, which goes by the real clock.
            r#""dnssec": { "keys": "auto", "signature_validity": "90d", "refresh": "2d" },"#
        } else {
            ""
        };
        let checks: Vec<String> =
            self.checks.iter().enumerate().map(|(i, check)| format!(r#""c{i}": {check}"#)).collect();
        let owners = self.owners.iter().filter(|owner| owner.name.ends_with(apex));
        let records: Vec<String> = owners
            .map(|owner| format!("    \"{}\": {}", owner.name.split('.').next().unwrap(), owner.json()))
            .collect();
        format!(
            "{{ \"zone\": \"{apex}\", \"nameservers\": [\"ns.example.net\"], {dnssec}\n  \"checks\": {{ {} }},\n  \"records\": {{\n{}\n}} }}",
            checks.join(", "),
            records.join(",\n")
        )
    }
}

fn check(random: &mut Random, number: usize) -> String {
    let interval_s = 5 + random.below(40);
    let (rise, fall) = (1 + random.below(3), 1 + random.below(4));
    let mut json = format!(
        r#"{{ "tcp": {}, "interval": "{interval_s}s", "timeout": "2s", "rise": {rise}, "fall": {fall}"#,
        usize::from(FIRST_PORT) + number
    );
    if random.percent(50) {
        json += r#", "slower_than": "500ms""#;
    }
    if random.percent(50) {
        let _ = write!(json, r#", "slow_start": "{}s""#, 30 + random.below(300));
    }
    if random.percent(50) {
        json += r#", "damping": { "flips": 3, "within": "20m", "hold": "2m", "hold_max": "30m" }"#;
    }
    json + " }"
}

/// Grows an owner's tree.
struct Grower<'r> {
    random: &'r mut Random,
    places: usize,
    names: usize,
    used: Vec<IpAddr>,
}

impl Grower<'_> {
    fn address(&mut self, is_v4: bool) -> IpAddr {
        loop {
            let number = self.random.below(30) as u8;
            let address = if is_v4 {
                IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
            } else {
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()))
            };
            if !self.used.contains(&address) {
                self.used.push(address);
                return address;
            }
        }
    }

    fn leaf(&mut self, is_root: bool, rules: &[Leaf]) -> Node {
        let rule = *self.random.pick(rules);
        let (most_v4, most_v6) = if is_root { (5, 3) } else { (2, 1) };
        let (v4, v6) = (1 + self.random.below(most_v4), self.random.below(most_v6 + 1));
        let is_checked = is_root || !self.random.percent(7);
        let mut ends = Vec::new();
        for is_v4 in std::iter::repeat_n(true, v4).chain(std::iter::repeat_n(false, v6)) {
            let address = self.address(is_v4);
            let weight = if self.random.percent(30) { 1 + self.random.below(5) as u32 } else { 1 };
            ends.push(End { address, weight, place: self.places, is_checked });
            self.places += 1;
        }
        let of = ends.len();
        let answers = (rule != Leaf::Failover && self.random.percent(40)).then(|| 1 + self.random.below(3));
        let min_healthy = if !is_root && self.random.percent(30) { 1 + self.random.below(of) } else { 1 };
        let up_threshold = if self.random.percent(30) { 30 + self.random.below(60) } else { 0 };
        Node::Leaf { name: self.name(), rule, ends, answers, min_healthy, up_threshold }
    }

    /// The same few names in every owner, so that an override of a pool is about several.
    fn name(&mut self) -> String {
        self.names += 1;
        format!("p{}", self.names)
    }

    fn group(&mut self, depth: usize) -> Node {
        let rule = match self.random.below(6) {
            0 => Group::All,
            1 => Group::Failover { failback: true },
            2 => Group::Failover { failback: false },
            3 => Group::Weighted,
            4 => Group::Hashed,
            _ => {
                let from = self.random.below(NETWORKS.len());
                Group::Geo(NETWORKS[from..].iter().take(2).copied().collect())
            }
        };
        let members = match &rule {
            Group::Geo(networks) => networks.len() + 1,
            _ => 2 + self.random.below(2),
        };
        let name = self.name();
        let is_plain = matches!(rule, Group::All);
        let mut grow = || {
            let node = match (is_plain, depth) {
                // Pools that are answered together must choose alike for every query.
                (true, _) => self.alike(),
                (false, 0..2) if self.random.percent(30) => self.group(depth + 1),
                _ => self.leaf(false, &[Leaf::All, Leaf::Failover, Leaf::Weighted, Leaf::Hashed]),
            };
            (node, 1 + self.random.below(3) as u32)
        };
        let members = (0..members).map(|_| grow()).collect();
        Node::Group { name, rule, members, answers: None }
    }

    fn alike(&mut self) -> Node {
        let mut leaf = self.leaf(false, &[Leaf::All, Leaf::Failover]);
        if let Node::Leaf { answers, .. } = &mut leaf {
            *answers = None;
        }
        leaf
    }
}

fn owner(random: &mut Random, number: usize) -> Owner {
    let mut grower = Grower { random, places: 0, names: 0, used: Vec::new() };
    let mut root = if number.is_multiple_of(2) {
        grower.leaf(true, &[Leaf::All, Leaf::Failover, Leaf::Weighted, Leaf::Hashed])
    } else {
        grower.group(0)
    };
    if grower.random.percent(20) {
        root.limit(1 + grower.random.below(2));
    }
    let random = grower.random;
    let (a, b) = (random.below(4), random.below(4));
    let condition = match random.below(6) {
        0 if a != b => Condition::Any([a, b]),
        1 if a != b => Condition::All([a, b]),
        _ => Condition::One(a),
    };
    let all_down =
        *random.pick(&[AllDown::All, AllDown::LastGood, AllDown::LastGood, AllDown::Fallback, AllDown::None]);
    let mut fallback = Vec::new();
    if all_down == AllDown::Fallback {
        fallback.push(IpAddr::from([203, 0, 113, 9]));
        if random.percent(50) {
            fallback.push("2001:db8:ffff::9".parse().unwrap());
        }
    }
    let is_optimistic = random.percent(20);
    Owner { name: String::new(), root, condition, all_down, fallback, is_optimistic }
}

impl Node {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Leaf { name, .. } | Self::Group { name, .. } => name,
        }
    }

    /// Limits the records of an answer, from above for all that is in it; a list of addresses has a limit of its own.
    fn limit(&mut self, most: usize) {
        if let Self::Group { answers, .. } = self {
            *answers = Some(most);
        }
    }

    /// Every endpoint under it.
    pub(super) fn ends(&self) -> Vec<&End> {
        match self {
            Self::Leaf { ends, .. } => ends.iter().collect(),
            Self::Group { members, .. } => members.iter().flat_map(|(node, _)| node.ends()).collect(),
        }
    }

    /// Its keys, without braces.
    fn json(&self, is_root: bool) -> String {
        let mut keys = Vec::new();
        let word = |word: &str| format!(r#""policy": "{word}""#);
        if !is_root {
            keys.push(format!(r#""name": "{}""#, self.name()));
        }
        match self {
            Self::Leaf { rule, ends, answers, min_healthy, up_threshold, .. } => {
                keys.push(word(match rule {
                    Leaf::All => "all",
                    Leaf::Failover => "failover",
                    Leaf::Weighted => "weighted",
                    Leaf::Hashed => "hashed",
                }));
                for (rtype, is_v4) in [("A", true), ("AAAA", false)] {
                    let of_type = ends.iter().filter(|end| end.address.is_ipv4() == is_v4);
                    let list: Vec<String> = of_type
                        .map(|end| match end.weight {
                            1 => format!(r#""{}""#, end.address),
                            weight => format!(r#"{{ "address": "{}", "weight": {weight} }}"#, end.address),
                        })
                        .collect();
                    if !list.is_empty() {
                        keys.push(format!(r#""{rtype}": [{}]"#, list.join(", ")));
                    }
                }
                keys.extend(answers.map(|n| format!(r#""answers": {n}"#)));
                keys.extend((*min_healthy > 1).then(|| format!(r#""min_healthy": {min_healthy}"#)));
                keys.extend((*up_threshold > 0).then(|| format!(r#""up_threshold": {up_threshold}"#)));
                keys.extend((!ends[0].is_checked).then(|| r#""check": "none""#.to_owned()));
            }
            Self::Group { rule, members, answers, .. } => {
                let member = |(node, weight): &(Node, u32), is_weighted: bool| {
                    let weight = if is_weighted { format!(r#", "weight": {weight}"#) } else { String::new() };
                    format!("{{ {}{weight} }}", node.json(false))
                };
                let list = |is_weighted| {
                    let members: Vec<String> = members.iter().map(|m| member(m, is_weighted)).collect();
                    format!(r#""pools": [{}]"#, members.join(", "))
                };
                match rule {
                    Group::All => keys.extend([word("all"), list(false)]),
                    Group::Failover { failback } => {
                        keys.extend([word("failover"), format!(r#""failback": {failback}"#), list(false)]);
                    }
                    Group::Weighted => keys.extend([word("weighted"), list(true)]),
                    Group::Hashed => keys.extend([word("hashed"), list(true)]),
                    Group::Geo(networks) => {
                        let network = |(address, bits): &(Ipv4Addr, u8)| format!("{address}/{bits}");
                        let regions = networks.iter().map(network).chain(["default".to_owned()]);
                        let map: Vec<String> = regions
                            .zip(members)
                            .map(|(region, m)| format!(r#""{region}": {}"#, member(m, false)))
                            .collect();
                        keys.extend([word("geo"), format!(r#""map": {{ {} }}"#, map.join(", "))]);
                    }
                }
                keys.extend(answers.map(|n| format!(r#""answers": {n}"#)));
            }
        }
        keys.join(", ")
    }
}

impl Owner {
    fn json(&self) -> String {
        let check = match self.condition {
            Condition::One(check) => format!(r#""c{check}""#),
            Condition::Any([a, b]) => format!(r#"{{ "any": ["c{a}", "c{b}"] }}"#),
            Condition::All([a, b]) => format!(r#"{{ "all": ["c{a}", "c{b}"] }}"#),
        };
        let all_down = match self.all_down {
            AllDown::All => r#""all""#.to_owned(),
            AllDown::LastGood => r#""last-good""#.to_owned(),
            AllDown::None => r#""none""#.to_owned(),
            AllDown::Fallback => {
                let of = |is_v4: bool| {
                    let list = self.fallback.iter().filter(|address| address.is_ipv4() == is_v4);
                    list.map(|address| format!(r#""{address}""#)).collect::<Vec<_>>().join(", ")
                };
                let v6 = of(false);
                let v6 = if v6.is_empty() { String::new() } else { format!(r#", "AAAA": [{v6}]"#) };
                format!(r#""fallback", "fallback": {{ "A": [{}]{v6} }}"#, of(true))
            }
        };
        let startup = if self.is_optimistic { r#", "startup": "optimistic""# } else { "" };
        format!(r#"{{ {}, "check": {check}, "when_all_down": {all_down}{startup} }}"#, self.root.json(true))
    }
}
