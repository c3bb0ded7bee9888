use super::*;
use crate::discovery::claim::{Claim, HostTarget, ObjectKey, ObjectKind, Route, Targets};
use crate::discovery::merge::tests::sources;
use crate::discovery::source::{Call, FailureKind, Problem, ProblemKind, Scope, Seen};

const TWO: &str = r#"{ "sources": [
    { "name": "edge", "traefik": { "url": "http://t" }, "default_targets": "192.0.2.40" },
    { "name": "prod", "kubernetes": { "in_cluster": true } } ] }"#;

fn core(config: &str) -> Core {
    let (sources, shared) = sources(config);
    Core::new(&sources, shared, Kept::default(), Now::default())
}

fn now(ms: u64) -> Now {
    Now { ms, wall_ms: 1_700_000_000_000 + ms }
}

fn key(kind: ObjectKind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.into(), name: name.into() }
}

fn claim(name: &str, targets: Targets) -> Seen {
    Seen::Claims(vec![Claim::new(Name::parse_absolute(name).unwrap(), targets, Route::Https(None))], vec![])
}

fn routers(names: &[&str]) -> Report {
    let object = |name: &&str| (key(ObjectKind::Router, "docker", name), claim(name, Targets::Default));
    Report::Listed { scope: Scope::all(ObjectKind::Router), objects: names.iter().map(object).collect() }
}

#[test]
fn orders_follow_the_pace() {
    let mut core = core(TWO);
    assert_eq!(core.orders(now(0)), [(0, Order::Sync), (1, Order::Watch)]);
    assert_eq!(core.orders(now(1)), []);
    let interval = |core: &Core| core.reports(now(0)).iter().map(|s| s.interval_seconds).collect::<Vec<_>>();
    assert_eq!(interval(&core), [Some(15), None], "a watch has no rounds");
    core.report(0, routers(&["a.test"]), now(100), 0);
    core.report(0, Report::Synced, now(100), 0);
    assert_eq!(interval(&core), [Some(15), None]);
    assert_eq!(core.orders(now(15_099)), []);
    assert_eq!(core.orders(now(15_100)), [(0, Order::Sync)]);
    // A failed round is tried again within a second or two, five of them open the breaker.
    let mut at = 15_100;
    for failures in 1..=5 {
        core.report(0, Report::Failed(None, Failure::new(FailureKind::Connect, "refused")), now(at), 900);
        core.report(0, Report::Synced, now(at), 900);
        let wait = if failures < 5 { 900 } else { 30_900 };
        assert_eq!(interval(&core)[0], Some(if failures < 5 { 1 } else { 31 }), "as it is now");
        assert_eq!(
            (core.orders(now(at + wait - 1)), core.orders(now(at + wait))),
            (vec![], vec![(0, Order::Sync)])
        );
        at += wait;
    }
    assert!(core.reports(now(at))[0].failure.as_ref().unwrap().breaker_open);
    assert_eq!(core.published.len(), 1);
}

#[test]
fn pause_resync_and_resume() {
    let mut core = core(TWO);
    core.orders(now(0));
    core.pause(1, true, now(1));
    assert_eq!(core.orders(now(1)), [(1, Order::Pause)]);
    // Neither what was under way nor a wish counts while it is paused.
    core.report(1, Report::Gone(key(ObjectKind::Ingress, "shop", "a")), now(2), 0);
    assert!(!core.resync(1));
    assert_eq!(core.orders(now(3)), []);
    core.pause(1, false, now(4));
    assert_eq!(core.orders(now(4)), [(1, Order::Watch)]);
    assert!(core.resync(1));
    assert_eq!(core.orders(now(5)), [(1, Order::Sync)]);
    core.report(1, Report::Synced, now(6), 0);
    assert_eq!(core.orders(now(6)), [(1, Order::Watch)]);
}

#[test]
fn schedules() {
    let config = r#"{ "sources": [
        { "name": "m", "traefik": { "url": "http://t" }, "sync": "manual" },
        { "name": "c", "traefik": { "url": "http://t" }, "sync": { "cron": "*/5 * * * *" } } ] }"#;
    let mut core = core(config);
    assert_eq!(core.orders(now(1)), []);
    // The clock of the core stands at 0 when it is made, that of the wall at 0 too: five minutes are five minutes.
    assert_eq!(core.orders(Now { ms: 300_000, wall_ms: 300_000 }), [(1, Order::Sync)]);
    core.report(1, Report::Synced, Now { ms: 301_000, wall_ms: 301_000 }, 0);
    assert_eq!(core.orders(Now { ms: 599_999, wall_ms: 599_999 }), []);
    core.resync(0);
    let both = [(0, Order::Sync), (1, Order::Sync)];
    assert_eq!(core.orders(Now { ms: 600_000, wall_ms: 600_000 }), both);
}

#[test]
fn only_what_has_changed_is_amended_and_logged() {
    let mut core = core(TWO);
    core.report(0, routers(&["a.test", "b.test"]), now(0), 0);
    assert_eq!(core.take_amendment().unwrap().changes.len(), 2);
    assert_eq!(core.take_lines().len(), 2);
    assert!(core.take_kept().is_some());
    core.report(0, routers(&["a.test", "b.test"]), now(15_000), 0);
    core.report(
        0,
        Report::Call(Call { endpoint: "x", method: "GET", status: 200, took: Default::default() }),
        now(0),
        0,
    );
    assert!(core.take_amendment().is_none() && core.take_lines().is_empty() && core.take_kept().is_none());
    // Another source that comes after says the same: it changes nothing, and is said once.
    let other = Targets::Known(vec![HostTarget::Address("192.0.2.9".parse().unwrap())]);
    core.report(1, Report::Changed(key(ObjectKind::Ingress, "shop", "a"), claim("a.test", other)), now(1), 0);
    assert!(core.take_amendment().is_none());
    let lines = core.take_lines();
    assert_eq!((lines.len(), lines[0].warn, &*lines[0].source), (1, true, "prod"));
}

#[test]
fn a_plan_shows_what_is_held_and_what_is_only_observed() {
    let config = r#"{ "sources": [
        { "name": "edge", "traefik": { "url": "http://t" }, "default_targets": "192.0.2.40" },
        { "name": "prod", "kubernetes": { "in_cluster": true }, "mode": "observe" } ] }"#;
    let mut core = core(config);
    core.report(0, routers(&["a.test", "b.test"]), now(0), 0);
    let targets = Targets::Known(vec![HostTarget::Address("192.0.2.9".parse().unwrap())]);
    core.report(
        1,
        Report::Changed(key(ObjectKind::Ingress, "shop", "c"), claim("c.test", targets)),
        now(0),
        0,
    );
    core.report(0, routers(&["a.test"]), now(15_000), 0);
    let shown = |core: &Core| -> Vec<String> {
        let line = |e: &crate::model::discovery_report::PlanReport| {
            format!("{} {} {}", e.change, e.name, e.why.clone().unwrap_or_default())
        };
        core.plan().entries.iter().map(line).collect()
    };
    assert_eq!(
        shown(&core),
        ["remove b.test. \"remove_after\" has not passed", "add c.test. prod only observes",]
    );
    core.report(0, routers(&[]), now(50_000), 0);
    core.report(0, routers(&[]), now(90_000), 0);
    assert_eq!(
        shown(&core)[0],
        "remove a.test. held by the brake of edge: the source has lost all of its names"
    );
    assert_eq!((core.release(0, now(90_001)), core.published.len()), (1, 0));
}

#[test]
fn a_source_that_goes_silent_is_shown_and_said_once() {
    let mut core = core(TWO);
    core.orders(now(0));
    let shown = |core: &Core, at: u64| {
        let report = core.reports(now(at)).remove(1);
        let figures = core.figures(&[], now(at)).remove(1);
        (report.state, report.age_seconds, report.failure.map(|failure| failure.text), figures.failing)
    };
    let list = Report::Listed { scope: Scope::all(ObjectKind::Ingress), objects: Vec::new() };
    core.report(1, list, now(1000), 0);
    core.report(1, Report::Synced, now(1000), 0);
    assert_eq!(shown(&core, 2000), ("ok".into(), Some(1), None, false));
    core.take_lines();
    for (at, text) in [(30_000, "no word for 20 s"), (40_000, "no word for 30 s")] {
        core.report(1, Report::Failed(None, Failure::new(FailureKind::Timeout, text)), now(at), 0);
        let age = (at - 1000) / 1000;
        assert_eq!(shown(&core, at), ("failing".into(), Some(age), Some(text.to_owned()), true));
    }
    core.report(1, Report::Answers, now(50_000), 0);
    // It answers; what it has was known 49 seconds ago, until a watch says more.
    assert_eq!(shown(&core, 50_000), ("ok".into(), Some(49), None, false));
    let kinds: Vec<_> = core.take_lines().into_iter().filter_map(|line| line.kind).collect();
    assert_eq!(kinds, [EventKind::SourceFailed, EventKind::SourceRecovered]);
}

#[test]
fn a_router_goes_after_two_polls_unless_told_otherwise() {
    let check = |keys: &str, stands_until: u64| {
        let config = format!(
            r#"{{ "sources": [ {{ "name": "e", "traefik": {{ "url": "http://t" }}, "default_targets": "192.0.2.40" {keys} }} ] }}"#
        );
        let mut core = core(&config);
        core.report(0, routers(&["a.test", "b.test"]), now(0), 0);
        let mut second = 0;
        while core.published.len() == 2 {
            second += 5;
            core.report(0, routers(&["a.test"]), now(second * 1000), 0);
            assert!(second < 1000);
        }
        // First missed after five seconds.
        assert_eq!(second - 5, stands_until, "{keys}");
    };
    check("", 30);
    check(r#", "poll": "5s""#, 10);
    check(r#", "poll": "5s", "remove_after": "5s""#, 5);
}

fn restarted(core: &Core, config: &str) -> Core {
    let (sources, shared) = sources(config);
    let kept = serde_json::from_str(&serde_json::to_string(&core.kept()).unwrap()).unwrap();
    Core::new(&sources, shared, kept, now(100_000))
}

/// A name that both sources claim, the second one first: who is answered while both do, after a restart before anybody has said anything, after
/// the other one has spoken first, and when the first one to claim it lets it go.
#[test]
fn who_wins_a_name_is_the_same_after_a_restart() {
    let (edge, prod, none) = (&["192.0.2.40"][..], &["192.0.2.9"][..], &[][..]);
    let both = &["192.0.2.40", "192.0.2.9"][..];
    for (conflict, contested) in [("priority", edge), ("merge", both), ("oldest", prod), ("reject", none)] {
        let config =
            format!("{}, \"conflict\": \"{conflict}\" }}", TWO.trim_end().strip_suffix('}').unwrap());
        let answered = |core: &Core| -> Vec<String> {
            let found = core.published.values().flat_map(|name| &name.endpoints);
            found.map(|endpoint| endpoint.data.address().unwrap().to_string()).collect()
        };
        let of_prod = || {
            let targets = Targets::Known(vec![HostTarget::Address("192.0.2.9".parse().unwrap())]);
            let scope = Scope::all(ObjectKind::Ingress);
            let objects = vec![(key(ObjectKind::Ingress, "shop", "a"), claim("a.test", targets))];
            Report::Listed { scope, objects }
        };
        let mut core = core(&config);
        core.report(1, of_prod(), now(0), 0);
        assert_eq!(answered(&core), prod, "{conflict}: alone");
        core.report(0, routers(&["a.test"]), now(10_000), 0);
        assert_eq!(answered(&core), contested, "{conflict}: both");
        let mut core = restarted(&core, &config);
        assert_eq!(answered(&core), contested, "{conflict}: restored");
        core.report(0, routers(&["a.test"]), now(101_000), 0);
        assert_eq!(answered(&core), contested, "{conflict}: after a word of one");
        core.report(1, of_prod(), now(102_000), 0);
        assert_eq!(answered(&core), contested, "{conflict}: after a word of both");
        // The last name of a source is held by its brake until somebody lets it go.
        core.report(1, Report::Gone(key(ObjectKind::Ingress, "shop", "a")), now(103_000), 0);
        assert_eq!(answered(&core), contested, "{conflict}: held");
        assert_eq!(core.release(1, now(104_000)), 1);
        assert_eq!(answered(&core), edge, "{conflict}: let go");
        let mut core = restarted(&core, &config);
        assert_eq!(answered(&core), edge, "{conflict}: restored without it");
        core.report(1, of_prod(), now(105_000), 0);
        let back = if conflict == "oldest" { edge } else { contested };
        assert_eq!(answered(&core), back, "{conflict}: who comes back is the younger one");
    }
}

/// xorshift64*: the sequence of a seed is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
    }
}

/// The world as the sources have it, and what Hale may conclude of it at most.
///
/// The oracle knows nothing of guards and brakes. It keeps two sets for each source: `told`, the objects of the last complete word that Hale
/// was given, and `served`, what was answered after the last step. The rules it holds every step to:
/// 1. nothing of a source changes in a step in which it said nothing true (a failure, a malformed object, an empty status, time, a restart);
/// 2. a name that is answered no more was told to be gone: by a list without it, or by a watch;
/// 3. no step takes more than the brake lets pass, and none takes a source's last name unless it was held for `release_after` or released;
/// 4. what is told and allowed is answered.
struct World {
    /// Objects that exist, with their addresses.
    real: Vec<BTreeMap<String, u8>>,
    /// What Hale was last told of each object.
    told: Vec<BTreeMap<String, u8>>,
}

const KINDS: [ObjectKind; 2] = [ObjectKind::Router, ObjectKind::Ingress];

impl World {
    fn seen(&self, source: usize, object: &str) -> Seen {
        let address = HostTarget::Address([192, 0, 2, self.real[source][object]].into());
        claim(object, Targets::Known(vec![address]))
    }

    fn key(source: usize, object: &str) -> ObjectKey {
        key(KINDS[source], "shop", object)
    }

    fn list(&mut self, source: usize) -> Report {
        self.told[source] = self.real[source].clone();
        let objects = self.real[source].keys().map(|o| (Self::key(source, o), self.seen(source, o)));
        Report::Listed { scope: Scope::all(KINDS[source]), objects: objects.collect() }
    }
}

/// What is answered of each source's names.
fn served(core: &Core) -> BTreeMap<String, Vec<String>> {
    core.published
        .iter()
        .map(|(name, found)| {
            let text = |e: &crate::model::target::Endpoint| format!("{:?}", e.data);
            (name.to_string(), found.endpoints.iter().map(text).collect())
        })
        .collect()
}

/// One step: a report or an event, and whether it may change anything.
fn step(core: &mut Core, world: &mut World, random: &mut Random, at: &mut Now) -> (String, bool) {
    let source = random.next(2) as usize;
    let existing: Vec<String> = world.real[source].keys().cloned().collect();
    let pick =
        |random: &mut Random| existing.get(random.next(existing.len().max(1) as u64) as usize).cloned();
    let is_watch = source == 1;
    let fail = |kind, text: &str| Report::Failed(Some(Scope::all(KINDS[source])), Failure::new(kind, text));
    let kind = random.next(18);
    match kind {
        // The world changes, without a word, or several times at once.
        0 | 1 => {
            for _ in 0..=random.next(4) {
                let object = format!("s{source}n{}.test.", random.next(40));
                world.real[source].insert(object, random.next(250) as u8 + 1);
            }
            return (format!("grow {source}"), false);
        }
        2 | 3 => {
            let many = if random.next(6) == 0 { existing.len() as u64 } else { random.next(3) };
            for object in existing.iter().take(many as usize) {
                world.real[source].remove(object);
            }
            return (format!("shrink {source}"), false);
        }
        4..=6 => {
            let list = world.list(source);
            core.report(source, list, *at, 0);
            core.report(source, Report::Synced, *at, 0);
            return (format!("list {source}"), true);
        }
        7 if is_watch => {
            let Some(object) = pick(random) else { return ("nothing".into(), false) };
            world.real[source].remove(&object);
            world.told[source].remove(&object);
            core.report(source, Report::Gone(World::key(source, &object)), *at, 0);
            return (format!("gone {object}"), true);
        }
        8 if is_watch => {
            let Some(object) = pick(random) else { return ("nothing".into(), false) };
            let seen = world.seen(source, &object);
            let address = world.real[source][&object];
            world.told[source].insert(object.clone(), address);
            core.report(source, Report::Changed(World::key(source, &object), seen), *at, 0);
            return (format!("changed {object}"), true);
        }
        // Faults: none of them may change an answer.
        9 => core.report(source, fail(FailureKind::Server, "500"), *at, 0),
        10 => core.report(source, fail(FailureKind::Decode, "truncated JSON"), *at, 0),
        11 => core.report(source, fail(FailureKind::Inconsistent, "a page was missing"), *at, 0),
        12 if is_watch => core.report(source, fail(FailureKind::Gone, "410"), *at, 0),
        12 | 13 => {
            core.report(source, Report::Failed(None, Failure::new(FailureKind::Timeout, "slow")), *at, 0);
            core.report(source, Report::Synced, *at, 0);
        }
        14 => {
            let Some(object) = pick(random).filter(|o| world.told[source].contains_key(o)) else {
                return ("nothing".into(), false);
            };
            let seen = match random.next(3) {
                0 => Seen::Stands(Problem::new(ProblemKind::Malformed, "does not decode")),
                1 => claim(&object, Targets::Unknown("status.loadBalancer is empty".into())),
                _ => claim(&object, Targets::Known(Vec::new())),
            };
            core.report(source, Report::Changed(World::key(source, &object), seen), *at, 0);
        }
        15 => {
            let scope = Scope::all(KINDS[source]);
            let sign = match random.next(4) {
                0 => Report::NotInstalled(KINDS[source]),
                // Signs of life say nothing of what there is.
                1 => Report::Alive(scope),
                2 => Report::Resumed(scope),
                _ => Report::Answers,
            };
            core.report(source, sign, *at, 0);
        }
        16 => {
            // The wall clock jumps, either way.
            at.wall_ms = 1_700_000_000_000 + random.next(1 << 40);
            return ("clock".into(), false);
        }
        _ => return ("restart".into(), false),
    }
    (format!("fault {kind} of {source}"), false)
}

/// Plays `steps` steps of a seed.
fn play(seed: u64, steps: usize) {
    let (config, shared) = sources(
        r#"{ "sources": [
            { "name": "edge", "traefik": { "url": "http://t" }, "remove_after": "30s" },
            { "name": "prod", "kubernetes": { "in_cluster": true } } ] }"#,
    );
    let mut random = Random(seed | 1);
    let mut at = now(0);
    let mut core = Core::new(&config, Arc::clone(&shared), Kept::default(), at);
    let mut world = World { real: vec![BTreeMap::new(); 2], told: vec![BTreeMap::new(); 2] };
    let mut history: Vec<String> = Vec::new();
    let mut before = served(&core);
    for number in 0..steps {
        at.ms += random.next(20_000);
        // What is due by time alone is due before the step: it is no consequence of it.
        core.tick(at);
        let timed = served(&core);
        let (what, may_change) = step(&mut core, &mut world, &mut random, &mut at);
        if what == "restart" {
            let text = serde_json::to_string(&core.kept()).unwrap();
            let kept = serde_json::from_str(&text).unwrap();
            core = Core::new(&config, Arc::clone(&shared), kept, at);
        }
        history.push(what);
        let after = served(&core);
        let last = history.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join(", ");
        let told = format!("seed {seed}, step {number}: {last}");
        let is_told = |name: &String| world.told.iter().any(|told| told.contains_key(name));
        if !may_change {
            assert_eq!(after, timed, "rule 1: a fault has changed an answer; {told}");
        }
        for gone in before.keys().filter(|name| !after.contains_key(*name)) {
            assert!(!is_told(gone), "rule 2: {gone} went unasked; {told}");
        }
        for (source, prefix) in ["s0", "s1"].iter().enumerate() {
            let of =
                |all: &BTreeMap<String, Vec<String>>| all.keys().filter(|n| n.starts_with(prefix)).count();
            let (was, is) = (of(&timed), of(&after));
            assert!(was == 0 || is > 0, "rule 3: source {source} lost its last name in one step; {told}");
            let lost = was.saturating_sub(is);
            assert!(lost < 10 || lost * 2 <= was, "rule 3: {lost} of {was} names at once; {told}");
        }
        for name in world.told.iter().flat_map(BTreeMap::keys) {
            assert!(after.contains_key(name), "rule 4: {name} is not answered; {told}");
        }
        before = after;
    }
}

#[test]
fn no_answer_changes_because_a_source_failed() {
    let seed = std::env::var("HALE_SEED").ok().and_then(|seed| seed.parse().ok());
    let first =
        seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64));
    let rounds = std::env::var("HALE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30);
    for round in 0..rounds {
        play(first.wrapping_add(round * 0x9e37_79b9), 250);
    }
}

#[test]
fn a_hidden_name_is_kept_back_until_its_time_is_over() {
    use crate::model::records::HideRequest;
    let mut core = core(TWO);
    core.report(0, routers(&["a.test", "b.test"]), now(0), 0);
    core.take_amendment();
    let wanted = HideRequest { name: "a.test".into(), lasts: "10s".into(), reason: "moves".into() };
    let (name, hide) = Hidden::read(&wanted, "root".into(), now(0).wall_s()).unwrap();
    core.set_hidden(&Hidden::default().with(name.clone(), hide).unwrap(), now(0));
    assert_eq!(core.take_amendment().unwrap().changes, [(name.clone(), None)]);
    // Its source goes on, and so do new lists.
    core.report(0, routers(&["a.test", "b.test"]), now(5_000), 0);
    assert!(core.take_amendment().is_none() && core.is_wanted(&name));
    let plan = core.plan().entries;
    assert_eq!(
        plan.iter().map(|entry| (&*entry.name, &*entry.change)).collect::<Vec<_>>(),
        [("a.test.", "hide")]
    );
    assert_eq!(plan[0].why.as_deref(), Some("hidden by root: moves"));
    assert_eq!(core.reports(now(0))[0].hidden, ["a.test."]);
    core.tick(now(9_999));
    assert!(core.take_amendment().is_none());
    core.take_lines();
    core.tick(now(10_000));
    assert!(core.take_amendment().unwrap().changes[0].1.is_some(), "published again");
    let kinds: Vec<_> = core.take_lines().into_iter().filter_map(|line| line.kind).collect();
    assert_eq!(kinds, [EventKind::NameUnhidden, EventKind::DiscoveredAdded]);
}
