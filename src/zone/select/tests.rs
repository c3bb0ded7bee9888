//! Selection as data.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::config::Order;
use crate::model::target::{Check, CheckKind, Endpoint, Target, VerdictRules};
use Verdict::{Down, Unknown, Up};

fn checked(addresses: &[&str], when_all_down: WhenAllDown) -> Checked {
    let check = Arc::new(Check {
        kind: CheckKind::Tcp,
        interval_ms: 1000,
        timeout_ms: 500,
        rise: 1,
        fall: 1,
        rules: Default::default(),
    });
    let endpoint = |text: &&str| {
        let (text, is_checked) = text.strip_suffix('!').map_or((*text, true), |t| (t, false));
        let address: IpAddr = text.parse().unwrap();
        let target = Target { address: (address, 80).into(), check: check.clone() };
        let condition = is_checked.then(|| target.into());
        Endpoint { data: address.into(), weight: 1, condition }
    };
    Checked {
        endpoints: addresses.iter().map(endpoint).collect(),
        ttls: [(RrType::A, 5), (RrType::AAAA, 6), (RrType::CNAME, 7), (RrType::MX, 8), (RrType::SRV, 9)]
            .into(),
        when_all_down,
        fallback: vec![IpAddr::from([203, 0, 113, 9]).into()],
        order: Order::Rotate,
        startup: Startup::Wait,
        policy: None,
    }
}

/// `A:… AAAA:… pending:… withheld:… reason` in one line.
fn show(selection: &Selection) -> String {
    let mut out = String::new();
    for set in &selection.rrsets {
        let all: Vec<String> = set.rdata.iter().filter_map(address_of).map(|a| a.to_string()).collect();
        out += &format!("{}/{}={} ", set.rtype, set.ttl, all.join(","));
    }
    let reason = selection.reason(RrType::A);
    out + &format!("pending={:?} withheld={:?} {reason:?}", selection.pending, selection.withheld)
}

fn check(
    addresses: &[&str],
    when_all_down: WhenAllDown,
    verdicts: &[Verdict],
    last: Option<&[&str]>,
    want: &str,
) {
    let last: Vec<EndpointData> =
        last.unwrap_or_default().iter().map(|a| a.parse::<IpAddr>().unwrap().into()).collect();
    let memory = Memory { last_good: &last, chosen: &[] };
    let got = select(&checked(addresses, when_all_down), memory, |i| verdicts[i].into());
    assert_eq!(show(&got), want, "{addresses:?} {when_all_down:?} {verdicts:?}");
}

#[test]
fn serves_what_is_up() {
    let two = ["192.0.2.1", "192.0.2.2"];
    check(&two, WhenAllDown::All, &[Up, Up], None, "A/5=192.0.2.1,192.0.2.2 pending=[] withheld=[] Healthy");
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
    check(&both, WhenAllDown::All, &[Up, Unknown], None, "A/5=192.0.2.1 pending=[AAAA] withheld=[] Healthy");
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
    check(&both, WhenAllDown::Fallback, &down, None, "A/5=203.0.113.9 pending=[] withheld=[AAAA] Fallback");
    check(&both, WhenAllDown::None, &down, None, "pending=[] withheld=[A, AAAA] Nothing");
}

#[test]
fn optimistic_owners_start_up() {
    let mut owner = checked(&["192.0.2.1"], WhenAllDown::None);
    owner.startup = Startup::Optimistic;
    assert_eq!(
        show(&select(&owner, Memory::default(), |_| Unknown.into())),
        "A/5=192.0.2.1 pending=[] withheld=[] Healthy"
    );
    assert_eq!(show(&select(&owner, Memory::default(), |_| Down.into())), "pending=[] withheld=[A] Nothing");
}

#[test]
fn discovered_addresses_start_up_beside_declared_ones_that_do_not() {
    let mut owner = checked(&["192.0.2.1", "2001:db8::1"], WhenAllDown::All);
    let discovered = owner.endpoints[1].condition.as_mut().unwrap();
    *discovered = discovered.map(&mut |target| {
        let rules = VerdictRules { patient: true, ..Default::default() };
        Target { check: Arc::new(Check { rules, ..(*target.check).clone() }), ..target.clone() }
    });
    assert_eq!(
        show(&select(&owner, Memory::default(), |i| if i == 0 { Up } else { Unknown }.into())),
        "A/5=192.0.2.1 AAAA/6=2001:db8::1 pending=[] withheld=[] Healthy"
    );
}

#[test]
fn remembers_only_good_addresses() {
    let owner = checked(&["192.0.2.1", "2001:db8::1"], WhenAllDown::LastGood);
    let good = select(&owner, Memory::default(), |i| if i == 0 { Up } else { Down }.into());
    let first: Vec<EndpointData> = vec![IpAddr::from([192, 0, 2, 1]).into()];
    assert_eq!(good.good, first);
    let memory = Memory { last_good: &first, chosen: &[] };
    for verdict in [Down, Unknown] {
        assert_eq!(select(&owner, Memory::default(), |_| verdict.into()).good, []);
        assert_eq!(select(&owner, memory, |_| verdict.into()).good, first, "kept");
    }
}

/// Endpoints as `192.0.2.1` and `MX 10 a.`, separated by commas; a `!` behind one means that it is not checked.
fn records(endpoints: &str, when_all_down: WhenAllDown) -> Checked {
    let mut owner = checked(&[], when_all_down);
    for text in endpoints.split(", ") {
        let (text, is_checked) = text.strip_suffix('!').map_or((text, true), |text| (text, false));
        let data = match text.split_once(' ') {
            None => text.parse::<IpAddr>().unwrap().into(),
            Some((rtype, text)) => record(rtype, text),
        };
        let condition = checked(&["192.0.2.1"], when_all_down).endpoints.remove(0).condition;
        owner.endpoints.push(Endpoint { data, weight: 1, condition: condition.filter(|_| is_checked) });
    }
    owner.fallback.push(record("CNAME", "sorry.test."));
    owner
}

fn record(rtype: &str, text: &str) -> EndpointData {
    let rtype = rtype.parse().unwrap();
    let rdata = crate::model::rdata::parse(rtype, text, &crate::model::name::Name::root()).unwrap();
    EndpointData::Record { rtype, rdata: rdata.into() }
}

/// All answers, then what is pending, withheld, and why: `A=192.0.2.1 MX=10 a.,20 b. ServingAll(MX)`.
fn show_groups(selection: &Selection) -> String {
    let mut out = Vec::new();
    for default in &selection.rrsets {
        let choice = selection.choices.iter().find(|c| c.sets[0].rtype == default.rtype);
        let sets = choice.map_or(std::slice::from_ref(default), |choice| &choice.sets);
        let text = |set: &Rrset| {
            let texts = set.rdata.iter().map(|rdata| crate::model::rdata::to_text(set.rtype, rdata));
            texts.collect::<Vec<_>>().join(",")
        };
        out.push(format!("{}={}", default.rtype, sets.iter().map(text).collect::<Vec<_>>().join(" or ")));
    }
    out.extend(selection.pending.iter().map(|t| format!("{t}=?")));
    out.extend(selection.withheld.iter().map(|t| format!("{t}=-")));
    let unusual = selection.reasons.iter().filter(|(_, reason)| *reason != Reason::Healthy);
    out.extend(unusual.map(|(group, reason)| format!("{reason:?}({})", group.types()[0])));
    out.join(" ")
}

#[test]
fn groups_stand_for_themselves() {
    use WhenAllDown::{All, Fallback, LastGood, None};
    let mail = "192.0.2.1, MX 10 a., MX 20 b., SRV 1 1 443 a.!";
    for (endpoints, when_all_down, states, want) in [
        (mail, All, "uuuu", "A=192.0.2.1 MX=10 a.,20 b. SRV=1 1 443 a."),
        (mail, All, "uudd", "A=192.0.2.1 MX=10 a. SRV=1 1 443 a."),
        (mail, All, "dddd", "A=192.0.2.1 MX=10 a.,20 b. SRV=1 1 443 a. ServingAll(A) ServingAll(MX)"),
        (mail, None, "uddd", "A=192.0.2.1 SRV=1 1 443 a. MX=- Nothing(MX)"),
        (mail, None, "dudd", "MX=10 a. SRV=1 1 443 a. A=- Nothing(A)"),
        (mail, LastGood, "uddd", "A=192.0.2.1 MX=20 b. SRV=1 1 443 a. LastGood(MX)"),
        (mail, All, "u?dd", "A=192.0.2.1 SRV=1 1 443 a. MX=?"),
        (mail, All, "u?ud", "A=192.0.2.1 MX=20 b. SRV=1 1 443 a."),
        ("CNAME a.", All, "d", "CNAME=a. ServingAll(CNAME)"),
        ("CNAME a.", None, "d", "CNAME=- Nothing(CNAME)"),
        ("CNAME a.", Fallback, "d", "CNAME=sorry.test. Fallback(CNAME)"),
        ("CNAME a.", All, "?", "CNAME=?"),
    ] {
        let owner = records(endpoints, when_all_down);
        let states: Vec<State> = states.chars().map(state).collect();
        let last_good = [record("MX", "20 b.")];
        let memory = Memory { last_good: &last_good, chosen: &[] };
        let selection = select(&owner, memory, |i| states[i]);
        assert_eq!(show_groups(&selection), want, "{endpoints} {when_all_down:?}");
        let kept = selection.good.iter().filter(|data| data.rtype() == RrType::MX).count();
        assert!(
            kept > 0 || !owner.decides(RrType::MX),
            "what was good of the MX records is known as long as none of them is up"
        );
    }
}

#[test]
fn pools_of_cnames() {
    for (policy, states, want) in [
        ("failover(all[0-1] all[1-2])", "uu", "CNAME=a."),
        ("failover(all[0-1] all[1-2])", "du", "CNAME=b."),
        ("failover(all[0-1] all[1-2])", "dd", "CNAME=a. ServingAll(CNAME)"),
        ("failover(all[0-1] all[1-2])", "??", "CNAME=?"),
        ("failover(all[0-1] all[1-2])", "?u", "CNAME=b."),
        ("weighted(all[0-1] all[1-2])", "uu", "CNAME=a. or b."),
        ("weighted(all[0-1] all[1-2])", "ud", "CNAME=a."),
        ("hashed(all[0-1] all[1-2])", "uu", "CNAME=a. or b."),
    ] {
        let owner = records("CNAME a., CNAME b.", WhenAllDown::All);
        let owner = Checked { policy: Some(Box::new(text::policy(policy))), ..owner };
        assert_eq!(show_groups(&selected(&owner, states, &[])), want, "{policy} {states}");
    }
}

fn address_of(rdata: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(rdata) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from)
}

/// Policies as text: `rule[FROM-TO]` over endpoints or `rule(pool pool)`, with `/ans=N`, `/min=N`, `/thr=N`, `/stay` (no failback) behind it
/// and `*N` for a weight within the pool around it.
mod text {
    use super::*;
    use crate::model::policy::{Geo, Member, Members, Pool, Rule};
    use crate::model::prefixes::PrefixTableBuilder;

    pub(super) fn policy(text: &str) -> Policy {
        let mut pools = Vec::new();
        let mut rest = text;
        pool(&mut rest, &mut pools);
        assert_eq!(rest, "", "{text}");
        Policy { pools }
    }

    fn take<'t>(rest: &mut &'t str, is_part: fn(char) -> bool) -> &'t str {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(end);
        *rest = tail;
        head
    }

    fn number(rest: &mut &str) -> u32 {
        take(rest, |c| c.is_ascii_digit()).parse().unwrap()
    }

    fn eat(rest: &mut &str, what: char) -> bool {
        let tail = rest.strip_prefix(what);
        *rest = tail.unwrap_or(rest);
        tail.is_some()
    }

    fn geo(members: usize) -> Rule {
        let default = members - 1;
        let mut table = PrefixTableBuilder::new(default as u16);
        for branch in 0..default as u8 {
            table.set([10, branch, 0, 0].into(), 16, u16::from(branch));
        }
        let regions = (0..members).map(|i| format!("r{i}").into()).collect();
        Rule::Geo(Geo { table: Arc::new(table.finish()), regions, default })
    }

    fn pool(rest: &mut &str, pools: &mut Vec<Pool>) -> Member {
        let taken = *rest;
        let rule = match take(rest, |c| c.is_ascii_lowercase()) {
            "all" => Rule::All,
            "failover" => Rule::Failover { failback: true },
            "weighted" => Rule::Weighted,
            "hashed" => Rule::Hashed,
            // One network for each member but the last, which is the default.
            "geo" => Rule::All,
            other => panic!("{other:?}"),
        };
        let is_geo = taken.starts_with("geo");
        let members = if eat(rest, '[') {
            let from = number(rest);
            assert!(eat(rest, '-'));
            let to = number(rest);
            assert!(eat(rest, ']'));
            Members::Endpoints(from..to)
        } else {
            assert!(eat(rest, '('));
            let mut members = vec![pool(rest, pools)];
            while eat(rest, ' ') {
                members.push(pool(rest, pools));
            }
            assert!(eat(rest, ')'));
            Members::Pools(members)
        };
        let rule = match &members {
            Members::Pools(members) if is_geo => geo(members.len()),
            _ => rule,
        };
        let mut pool = Pool::new(rule, members);
        while eat(rest, '/') {
            match take(rest, |c| c.is_ascii_lowercase() || c == '=') {
                "ans=" => pool.answers = Some(number(rest) as u16),
                "min=" => pool.min_healthy = number(rest) as u16,
                "thr=" => pool.up_threshold = number(rest) as u8,
                "stay" => pool.rule = Rule::Failover { failback: false },
                other => panic!("{other:?}"),
            }
        }
        let weight = if eat(rest, '*') { number(rest) as u16 } else { 1 };
        pool.name = Some(format!("p{}", pools.len()).into());
        pools.push(pool);
        Member { pool: pools.len() as u32 - 1, weight }
    }
}

/// Endpoints as `4` and `6`, which publish the addresses ending in their places.
fn owner(endpoints: &str, policy: &str) -> Checked {
    let of = |(i, family): (usize, char)| match family {
        '4' => format!("192.0.2.{i}"),
        _ => format!("2001:db8::{i:x}"),
    };
    let addresses: Vec<String> = endpoints.chars().enumerate().map(of).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Checked { policy: Some(Box::new(text::policy(policy))), ..checked(&addresses, WhenAllDown::All) }
}

/// `u`p, `d`own, `?` unknown, `D`rained though up, `U`p and `X` down by a person's word, `s`tarting slowly with 10 percent.
fn state(letter: char) -> State {
    let said = |verdict, word| State { word: Some(word), ..State::from(verdict) };
    match letter {
        'u' => Up.into(),
        'd' => Down.into(),
        'D' => said(Up, Word::Drain),
        'U' => said(Down, Word::Up),
        'X' => said(Up, Word::Down),
        's' => State { share: 10, ..Up.into() },
        _ => Unknown.into(),
    }
}

fn selected(owner: &Checked, states: &str, chosen: &[Option<u32>]) -> Selection {
    let states: Vec<State> = states.chars().map(state).collect();
    select(owner, Memory { last_good: &[], chosen }, |i| states[i])
}

/// The pick of each type with the last octets of its answers: `A=weighted(3:0,1 1:2) AAAA=5`.
fn show_picks(selection: &Selection) -> String {
    let last = |set: &Rrset| {
        let octets: Vec<String> = set.rdata.iter().map(|r| r.last().unwrap().to_string()).collect();
        octets.join(",")
    };
    let mut out: Vec<String> = Vec::new();
    for default in &selection.rrsets {
        let choice = selection.choices.iter().find(|c| c.sets[0].rtype == default.rtype);
        let shown = match choice {
            Some(choice) => {
                assert_eq!(choice.sets[0], *default, "the default variant is the first");
                show_pick(&choice.pick, &choice.sets.iter().map(last).collect::<Vec<_>>())
            }
            None => last(default),
        };
        out.push(format!("{}={shown}", default.rtype));
    }
    out.extend(selection.pending.iter().map(|t| format!("{t}=?")));
    out.extend(selection.withheld.iter().map(|t| format!("{t}=-")));
    let reason = selection.reason(RrType::A);
    if reason != Reason::Healthy {
        out.push(format!("{reason:?}"));
    }
    out.join(" ")
}

fn show_pick(pick: &Pick, sets: &[String]) -> String {
    match pick {
        Pick::Set(set) => sets[usize::from(*set)].clone(),
        Pick::Weighted(options) => {
            let options = options.iter().map(|(w, p)| format!("{w}:{}", show_pick(p, sets)));
            format!("weighted({})", options.collect::<Vec<_>>().join(" "))
        }
        Pick::Hashed(all) => {
            let all = all.iter().map(|c| format!("{}:{}", c.weight, show_pick(&c.pick, sets)));
            format!("hashed({})", all.collect::<Vec<_>>().join(" "))
        }
        Pick::Geo(_, picks) => {
            let picks = picks.iter().map(|pick| show_pick(pick, sets));
            format!("geo({})", picks.collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn policies() {
    for (endpoints, policy, states, want) in [
        // A pool gives way when it is unhealthy, and comes back.
        ("444", "failover(all[0-2] all[2-3])", "uuu", "A=0,1"),
        ("444", "failover(all[0-2] all[2-3])", "duu", "A=1"),
        ("444", "failover(all[0-2] all[2-3])", "ddu", "A=2"),
        ("444", "failover(all[0-2] all[2-3])", "ddd", "A=0,1 ServingAll"),
        ("444", "failover(all[0-2]/min=2 all[2-3])", "duu", "A=2"),
        // No pool has enough: the first that has anything.
        ("444", "failover(all[0-2]/min=2 all[2-3])", "dud", "A=1"),
        ("444", "failover(all[0-2] all[2-3])", "???", "A=?"),
        ("444", "failover(all[0-2] all[2-3])", "?du", "A=2"),
        ("444", "failover[0-3]", "duu", "A=1"),
        ("444", "failover[0-3]/ans=2", "uuu", "A=0,1"),
        // Pools that are answered together choose each by its own rule.
        ("4444", "all(failover[0-2] failover[2-4])", "uudu", "A=0,3"),
        ("4444", "all(failover[0-3]/ans=2 all[3-4])", "duuu", "A=1,2,3"),
        // What they give together is limited as a list of addresses is.
        ("4444", "all(all[0-2] all[2-4])/ans=2", "uduu", "A=weighted(100:0,2 100:2,3 100:0,3)"),
        ("4444", "all(failover[0-2] failover[2-4])/ans=1", "uuuu", "A=weighted(100:0 100:2)"),
        ("44446", "failover(all(all[0-2] all[2-4]) all[4-5])/ans=2", "udduu", "A=0,3 AAAA=4"),
        // A family that the chosen pool lacks comes from the next.
        ("4646", "failover(all[0-2] all[2-4])", "uuuu", "A=0 AAAA=1"),
        ("4646", "failover(all[0-2] all[2-4])", "uduu", "A=0 AAAA=3"),
        ("4646", "failover(all[0-2] all[2-4])", "udud", "A=0 AAAA=-"),
        ("446", "failover(all[0-1] all[1-2] all[2-3])", "uuu", "A=0 AAAA=2"),
        ("446", "failover(all[0-1] all[1-2] all[2-3])", "uu?", "A=0 AAAA=?"),
        ("4446", "weighted(all[0-1]*3 all[1-2] all[2-4])", "uuuu", "A=weighted(300:0 100:1 100:2) AAAA=3"),
        (
            "4646",
            "weighted(all[0-2]*3 all[2-4])",
            "uuuu",
            "A=weighted(300:0 100:2) AAAA=weighted(300:1 100:3)",
        ),
        ("4646", "weighted(all[0-2]*3 all[2-4])", "uduu", "A=weighted(300:0 100:2) AAAA=3"),
        // Weights are among those that are up; a slow start scales them.
        ("444", "weighted[0-3]", "uuu", "A=weighted(100:0 100:1 100:2)"),
        ("444", "weighted[0-3]", "uud", "A=weighted(100:0 100:1)"),
        ("444", "weighted[0-3]", "udd", "A=0"),
        ("444", "weighted[0-3]", "sus", "A=weighted(10:0 100:1 10:2)"),
        ("4444", "weighted(all[0-2] all[2-4])", "sdus", "A=weighted(10:0 100:2,3)"),
        ("444", "weighted[0-3]/ans=2", "uuu", "A=weighted(100:0,1 100:1,2 100:0,2)"),
        ("444", "weighted[0-3]/ans=3", "uuu", "A=0,1,2"),
        ("4444", "all[0-4]/ans=2", "uuuu", "A=weighted(100:0,1 100:1,2 100:2,3 100:0,3)"),
        ("444", "failover(all[0-2] all[2-3])/ans=1", "uuu", "A=weighted(100:0 100:1)"),
        ("444", "hashed[0-3]", "udu", "A=hashed(100:0 100:2)"),
        ("444", "hashed(all[0-1] all[1-3])", "uuu", "A=hashed(100:0 100:1,2)"),
        // By place: a pool that is down gives way to the default one, then to the first.
        ("444", "geo(all[0-1] all[1-2] all[2-3])", "uuu", "A=geo(0 1 2)"),
        ("444", "geo(all[0-1] all[1-2] all[2-3])", "duu", "A=geo(2 1 2)"),
        ("444", "geo(all[0-1] all[1-2] all[2-3])", "dud", "A=1"),
        ("444", "geo(all[0-1] all[1-2] all[2-3])", "uud", "A=geo(0 1 0)"),
        ("4466", "geo(all[0-1] all[1-3] all[3-4])", "uuuu", "A=geo(0 1 0) AAAA=geo(3 2 3)"),
        ("4444", "geo(weighted[0-2] failover(all[2-3] all[3-4]))", "uuuu", "A=geo(weighted(100:0 100:1) 2)"),
        ("444", "hashed(geo(all[0-1] all[1-2]) all[2-3])", "uuu", "A=hashed(100:geo(0 1) 100:2)"),
        // All of them at once, pools that fail over among them.
        ("4444", "all(failover(all[0-1] all[1-2]) all[2-4])", "uuuu", "A=0,2,3"),
        ("4444", "all(failover(all[0-1] all[1-2]) all[2-4])", "duud", "A=1,2"),
        ("4444", "all(failover(all[0-1] all[1-2]) all[2-4])", "dduu", "A=2,3"),
        // Below the threshold a pool gives way, and serves all if it does not.
        ("4444", "all[0-4]/thr=50", "uudd", "A=0,1"),
        ("4444", "all[0-4]/thr=50", "uddd", "A=0,1,2,3"),
        ("44444", "failover(all[0-4]/thr=50 all[4-5])", "udddu", "A=4"),
        ("44444", "failover(all[0-4]/thr=50 all[4-5])", "udddd", "A=0,1,2,3"),
        ("444", "failover[0-3]/thr=100", "duu", "A=1"),
        // A person's word.
        ("444", "all[0-3]", "uDu", "A=0,2"),
        ("444", "all[0-3]", "dDd", "A=1"),
        ("444", "failover(all[0-2] all[2-3])", "DDu", "A=2"),
        ("444", "failover(all[0-2] all[2-3])", "DDd", "A=0,1"),
        ("444", "failover(all[0-2]/min=2 all[2-3])", "Duu", "A=1"),
        ("444", "all[0-3]", "XUd", "A=1"),
        ("44", "all[0-2]", "XD", "A=1"),
        ("44", "all[0-2]", "dX", "A=0,1 ServingAll"),
        // Rules within rules.
        (
            "44444",
            "weighted(failover(all[0-1] all[1-2])*2 hashed[2-5])",
            "duuud",
            "A=weighted(200:1 100:hashed(100:2 100:3))",
        ),
    ] {
        let got = selected(&owner(endpoints, policy), states, &[]);
        assert_eq!(show_picks(&got), want, "{policy} {states}");
    }
}

#[test]
fn last_good_runs_the_policy_as_it_was() {
    let mut owner = owner("4444", "weighted(all[0-2] all[2-4])");
    owner.when_all_down = WhenAllDown::LastGood;
    let good = selected(&owner, "udud", &[]).good;
    let memory = Memory { last_good: &good, chosen: &[] };
    let got = select(&owner, memory, |_| Down.into());
    assert_eq!(show_picks(&got), "A=weighted(100:0 100:2) LastGood");
}

#[test]
fn without_failback_a_pool_stays_until_it_is_unhealthy() {
    let owner = owner("444", "failover(all[0-1] all[1-2] all[2-3])/stay");
    let mut chosen = Vec::new();
    for (states, want) in [
        ("uuu", "A=0"),
        ("duu", "A=1"),
        ("uuu", "A=1"),
        ("udu", "A=0"),
        ("ddu", "A=2"),
        ("uuu", "A=2"),
        // Nothing is up: what is served then is no choice to stay with.
        ("ddd", "A=2 ServingAll"),
        ("uuu", "A=2"),
    ] {
        let got = selected(&owner, states, &chosen);
        assert_eq!(show_picks(&got), want, "{states}");
        chosen = got.chosen;
    }
}

/// With the second pool chosen and the third one better, a family that the third lacks comes from the first: asked again, too.
#[test]
fn a_selection_repeated_is_the_same() {
    let owner = owner("46464", "failover(all[0-2]/min=2 all[2-4]/min=2 all[4-5])/stay");
    let second = selected(&owner, "duuuu", &[]);
    assert_eq!(show_picks(&second), "A=2 AAAA=3");
    let third = selected(&owner, "duduu", &second.chosen);
    assert_eq!(show_picks(&third), "A=4 AAAA=1");
    let again = selected(&owner, "duduu", &third.chosen);
    assert_eq!(again, third);
}

/// A pool that nothing leads to has its choice all the same, so that it is the one to come back to.
#[test]
fn a_choice_to_stay_with_does_not_depend_on_the_pools_above() {
    let owner = owner("444", "failover(all[0-1] failover(all[1-2] all[2-3])/stay)");
    let mut chosen = Vec::new();
    for (states, want) in [("ddu", "A=2"), ("uuu", "A=0"), ("duu", "A=2"), ("uud", "A=0"), ("duu", "A=1")] {
        let got = selected(&owner, states, &chosen);
        assert_eq!(show_picks(&got), want, "{states}");
        chosen = got.chosen;
    }
}

#[test]
fn a_share_changes_no_record() {
    for policy in ["weighted[0-3]", "hashed[0-3]/ans=2", "all[0-3]/ans=1", "weighted(all[0-1] all[1-3])"] {
        let owner = owner("444", policy);
        let (before, after) = (selected(&owner, "uuu", &[]), selected(&owner, "usu", &[]));
        let sets = |s: &Selection| s.choices.iter().map(|c| c.sets.clone()).collect::<Vec<_>>();
        assert_eq!((&before.rrsets, sets(&before)), (&after.rrsets, sets(&after)), "{policy}");
    }
}

#[test]
fn a_trace_tells_what_led_to_it() {
    let owner = owner("4444", "failover(all[0-3]/min=2/thr=50 all[3-4])");
    let states: Vec<State> = "uddX".chars().map(state).collect();
    let (selection, trace) = explain(&owner, Memory::default(), |i| states[i]);
    assert_eq!(selection, select(&owner, Memory::default(), |i| states[i]));
    assert_eq!(show_picks(&selection), "A=0,1,2");
    let pools: Vec<String> = trace.pools.iter().map(ToString::to_string).collect();
    assert_eq!(
        pools,
        [
            "p2 (failover): 1 of 2 up: weak",
            "p1 (all): 0 of 1 up: down",
            "p0 (all): 1 of 3 up, needs 2, threshold 50 %: weak, serves all of its endpoints"
        ]
    );
    assert_eq!(trace.pools[0].members, ["p0", "p1"]);
    assert_eq!(trace.endpoints[3].counts_as, Down);
    assert_eq!(trace.endpoints[0].pools, ["p0", "p2"]);
    assert_eq!((trace.ttls, trace.auto_ttls), (vec![(RrType::A, 5)], vec![(Group::Addresses, 1)]));
}

mod any {
    use super::*;
    use proptest::prelude::*;

    const ENDPOINTS: usize = 12;

    fn policies() -> impl Strategy<Value = String> {
        let options = |text: String| {
            (Just(text), prop::sample::select(vec!["", "/ans=1", "/ans=2", "/min=2", "/thr=60", "/stay"]))
        };
        let rule = || prop::sample::select(vec!["all", "failover", "weighted", "hashed"]);
        let leaf = (rule(), 0..ENDPOINTS, 1..5usize)
            .prop_map(|(rule, from, many)| format!("{rule}[{from}-{}]", (from + many).min(ENDPOINTS)));
        let inner = leaf.prop_flat_map(options).prop_map(|(pool, option)| finish(&pool, option));
        inner.prop_recursive(3, 12, 3, move |pool| {
            let members = prop::collection::vec((pool, 1u16..9), 1..4);
            (prop::sample::select(vec!["failover", "weighted", "hashed", "geo"]), members)
                .prop_map(|(rule, members)| {
                    let members: Vec<String> = members.iter().map(|(p, w)| format!("{p}*{w}")).collect();
                    format!("{rule}({})", members.join(" "))
                })
                .prop_flat_map(options)
                .prop_map(|(pool, option)| finish(&pool, option))
        })
    }

    /// Only a failover pool stays with its choice, and `min_healthy` is about endpoints.
    fn finish(pool: &str, option: &str) -> String {
        let is_leaf = pool.ends_with(']');
        match option {
            "/stay" if !pool.starts_with("failover(") => pool.to_owned(),
            "/min=2" | "/thr=60" if !is_leaf => pool.to_owned(),
            option => format!("{pool}{option}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_answer_keeps_to_the_policy(
            policy in policies(),
            families in prop::collection::vec(prop::sample::select(vec!['4', '6']), ENDPOINTS),
            states in prop::collection::vec(prop::sample::select(vec!['u', 'd', '?', 'D', 'U', 'X', 's']), ENDPOINTS),
            random in any::<u64>(),
            client in any::<u32>(),
        ) {
            let owner = owner(&families.iter().collect::<String>(), &policy);
            let states: String = states.iter().collect();
            let got = selected(&owner, &states, &[]);
            prop_assert_eq!(&got, &selected(&owner, &states, &[]), "equal inputs, equal answers");
            let tree = owner.policy.as_ref().unwrap();
            let within: Vec<bool> = (0..ENDPOINTS).map(|i| !tree.names_around(i).is_empty()).collect();
            let served: Vec<RrType> = got.rrsets.iter().map(|r| r.rtype).collect();
            for choice in &got.choices {
                let rtype = choice.sets[0].rtype;
                prop_assert!(served.contains(&rtype) && choice.sets.iter().all(|set| set.rtype == rtype));
                prop_assert!(choice.sets.len() > 1 && choice.sets.len() <= tree.variants(), "{}", tree.variants());
                let mut led_to = choice.pick.sets();
                prop_assert!(led_to.len() <= tree.pick_entries());
                led_to.sort_unstable();
                led_to.dedup();
                prop_assert_eq!(led_to.len(), choice.sets.len(), "no answer is made that nobody gets");
                prop_assert!(usize::from(choice.pick.choose(client.to_be_bytes().into(), random).set) < choice.sets.len());
            }
            let sets = got.rrsets.iter().chain(got.choices.iter().flat_map(|c| &c.sets));
            for address in sets.flat_map(|set| set.rdata.iter()).map(|rdata| address_of(rdata).unwrap()) {
                let i = owner.endpoints.iter().position(|e| e.data.address() == Some(address)).unwrap();
                prop_assert!(within[i], "{} is in no pool", address);
                let is_down = matches!(states.as_bytes()[i], b'd' | b'X' | b'?');
                let may_serve_down = got.reason(RrType::A) == Reason::ServingAll || policy.contains("thr");
                prop_assert!(!is_down || may_serve_down, "{} is down", address);
            }
            // Each type of the owner is accounted for once.
            let mut all: Vec<RrType> = served;
            all.extend(got.pending.iter().chain(&got.withheld));
            all.sort_unstable();
            let mut types: Vec<RrType> = owner.endpoints.iter().map(|e| e.data.rtype()).collect();
            types.sort_unstable();
            types.dedup();
            prop_assert_eq!(all, types);
        }
    }
}
