use super::*;
use crate::discovery::claim::{HostTarget, Route};
use crate::discovery::source::FailureKind;

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn key(kind: ObjectKind, text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectKey { kind, namespace: namespace.into(), name: name.into() }
}

fn claim(text: &str) -> Claim {
    let targets = Targets::Known(vec![HostTarget::Address("192.0.2.1".parse().unwrap())]);
    Claim::new(name(text), targets, Route::Https(None))
}

fn claims(names: &[&str]) -> Seen {
    Seen::Claims(names.iter().map(|text| claim(text)).collect(), Vec::new())
}

fn at(seconds: u64) -> Now {
    Now { ms: seconds * 1000, wall_ms: 1_000_000 + seconds * 1000 }
}

fn guard(remove_after_ms: u64, polled: bool) -> Guard {
    Guard::new(GuardRules { remove_after_ms, brake: RemoveBrake::default(), polled, add_only: false })
}

/// What stands, as `name` or `name(stale)`.
fn standing(guard: &Guard) -> String {
    let mut all: Vec<String> = guard
        .standing()
        .map(|(_, s)| format!("{}{}", s.claim.name, if s.stale.is_some() { "(stale)" } else { "" }))
        .collect();
    all.sort();
    all.join(" ")
}

/// A source with `a.` and `b.` of one Ingress and `c.` of another.
fn cluster() -> Guard {
    let mut guard = guard(0, false);
    let objects = vec![
        (key(ObjectKind::Ingress, "shop/ab"), claims(&["a.", "b."])),
        (key(ObjectKind::Ingress, "shop/c"), claims(&["c."])),
    ];
    guard.apply(Report::Listed { scope: Scope::all(ObjectKind::Ingress), objects }, at(0));
    guard.apply(Report::Synced, at(0));
    guard.settle(at(0));
    guard
}

#[track_caller]
fn check(reports: Vec<Report>, expected: &str) {
    let mut guard = cluster();
    let what = format!("{reports:?}");
    for report in reports {
        guard.apply(report, at(10));
        guard.settle(at(10));
    }
    assert_eq!(standing(&guard), expected, "{what}");
}

#[test]
fn what_takes_a_name_away() {
    let ingress = |name| key(ObjectKind::Ingress, name);
    check(vec![Report::Gone(ingress("shop/c"))], "a. b.");
    check(vec![Report::Changed(ingress("shop/ab"), claims(&["a."]))], "a. c.");
    check(vec![Report::Changed(ingress("shop/ab"), claims(&[]))], "c.");
    let objects = vec![(ingress("shop/c"), claims(&["c."]))];
    check(vec![Report::Listed { scope: Scope::all(ObjectKind::Ingress), objects }], "c.");
}

#[test]
fn what_does_not() {
    let ingress = |name| key(ObjectKind::Ingress, name);
    let scope = || Scope::all(ObjectKind::Ingress);
    let all = "a. b. c.";
    for kind in [FailureKind::Connect, FailureKind::Forbidden, FailureKind::Gone, FailureKind::Decode] {
        check(vec![Report::Failed(None, Failure::new(kind, "x"))], all);
        check(vec![Report::Failed(Some(scope()), Failure::new(kind, "x")), Report::Synced], all);
    }
    check(vec![Report::NotInstalled(ObjectKind::Ingress), Report::Synced], all);
    check(vec![Report::Alive(scope())], all);
    let malformed = || Seen::Stands(Problem::new(ProblemKind::Malformed, "x"));
    check(vec![Report::Changed(ingress("shop/ab"), malformed())], all);
    // A part that cannot be read: the rest counts, and what it may have claimed stands.
    let partial = |names: &[&str]| match claims(names) {
        Seen::Claims(claims, _) => Seen::Partial(claims, vec![Problem::new(ProblemKind::Rule, "x")]),
        other => other,
    };
    check(vec![Report::Changed(ingress("shop/ab"), partial(&["b."]))], all);
    check(vec![Report::Changed(ingress("shop/ab"), partial(&["b.", "d."]))], "a. b. c. d.");
    check(vec![Report::Changed(ingress("shop/new"), partial(&["d."]))], "a. b. c. d.");
    // One malformed object never stops a list.
    let objects = vec![(ingress("shop/ab"), malformed()), (ingress("shop/c"), claims(&["d."]))];
    check(vec![Report::Listed { scope: scope(), objects }], "a. b. d.");
    // A list of another kind, or of another namespace.
    let other = Scope { kind: ObjectKind::Ingress, namespace: Some("blog".into()) };
    check(vec![Report::Listed { scope: other, objects: vec![] }], all);
    check(vec![Report::Listed { scope: Scope::all(ObjectKind::Service), objects: vec![] }], all);
    // A status that is empty: the last targets stand.
    let unknown = || Claim::new(name("c."), Targets::Unknown("empty".into()), Route::Https(None));
    check(vec![Report::Changed(ingress("shop/c"), Seen::Claims(vec![unknown()], vec![]))], "a. b. c.(stale)");
    let empty = Claim::new(name("c."), Targets::Known(vec![]), Route::Https(None));
    check(vec![Report::Changed(ingress("shop/c"), Seen::Claims(vec![empty], vec![]))], "a. b. c.(stale)");
    // One that never had targets has nothing to stand on, and says so.
    let mut guard = cluster();
    guard.apply(Report::Changed(ingress("shop/d"), Seen::Claims(vec![unknown()], vec![])), at(1));
    assert_eq!((standing(&guard), guard.problems().count()), (all.to_owned(), 1));
}

#[test]
fn what_is_optional_and_absent_clears_what_it_gave() {
    let mut guard = cluster();
    let ingress = || key(ObjectKind::Ingress, "shop/c");
    let mut full = claim("c.");
    (full.ttl, full.created) = (Some(60), Some(5));
    full.wishes.check = Some("none".into());
    for wanted in [full, claim("c.")] {
        guard.take_changed();
        guard.apply(Report::Changed(ingress(), Seen::Claims(vec![wanted.clone()], vec![])), at(1));
        guard.settle(at(1));
        assert_eq!(guard.claims_for(&name("c.")).next().unwrap().1.claim, wanted);
        assert_eq!(guard.take_changed().len(), 1);
    }
    // What is told of one object at a time is no sign that the rest is known.
    assert_eq!(guard.last_ok(), Some(0));
}

#[test]
fn targets_come_back_after_a_stale_status() {
    let mut guard = cluster();
    let ingress = key(ObjectKind::Ingress, "shop/c");
    let unknown = Claim::new(name("c."), Targets::Unknown("empty".into()), Route::Https(None));
    guard.take_changed();
    guard.apply(Report::Changed(ingress.clone(), Seen::Claims(vec![unknown], vec![])), at(1));
    assert_eq!(guard.take_changed(), BTreeSet::new());
    let other = Targets::Known(vec![HostTarget::Address("192.0.2.2".parse().unwrap())]);
    let fresh = Claim::new(name("c."), other, Route::Https(None));
    guard.apply(Report::Changed(ingress, Seen::Claims(vec![fresh], vec![])), at(2));
    assert_eq!((guard.take_changed().len(), standing(&guard)), (1, "a. b. c.".to_owned()));
}

/// Lists of routers, one a letter and second; `!` is a failed walk. What stands after each.
#[track_caller]
fn polls(lists: &[(u64, &str, usize)]) {
    let mut guard = guard(30_000, true);
    for (second, names, expected) in lists {
        let now = at(*second);
        let scope = Scope::all(ObjectKind::Router);
        if *names == "!" {
            guard.apply(Report::Failed(Some(scope), Failure::new(FailureKind::Server, "500")), now);
        } else {
            let objects = names
                .chars()
                .map(|c| (key(ObjectKind::Router, &format!("docker/{c}")), claims(&[&format!("{c}.")])));
            guard.apply(Report::Listed { scope, objects: objects.collect() }, now);
        }
        guard.settle(now);
        assert_eq!(guard.names(), *expected, "at {second}: {lists:?}");
    }
}

#[test]
fn a_router_must_be_gone_for_a_while() {
    polls(&[(0, "abc", 3), (15, "ab", 3), (30, "ab", 3), (45, "ab", 2)]);
    // Back in between: it begins anew.
    polls(&[(0, "abc", 3), (15, "ab", 3), (30, "abc", 3), (45, "ab", 3), (60, "ab", 3), (75, "ab", 2)]);
    // Time alone confirms nothing while polls fail.
    polls(&[(0, "abc", 3), (15, "ab", 3), (30, "!", 3), (45, "!", 3), (300, "!", 3), (315, "ab", 2)]);
}

#[test]
fn a_provider_that_vanishes_is_held() {
    let mut guard = guard(0, true);
    let routers = |providers: &[&str]| {
        let objects = providers.iter().flat_map(|provider| {
            ["x", "y"].map(|r| {
                (key(ObjectKind::Router, &format!("{provider}/{r}")), claims(&[&format!("{r}.{provider}.")]))
            })
        });
        Report::Listed { scope: Scope::all(ObjectKind::Router), objects: objects.collect() }
    };
    guard.apply(routers(&["docker", "file"]), at(0));
    guard.apply(routers(&["file"]), at(15));
    guard.settle(at(15));
    assert_eq!((guard.names(), guard.brake().held().unwrap().names.len()), (4, 2));
    guard.apply(routers(&["docker", "file"]), at(30));
    guard.settle(at(30));
    assert!(guard.brake().held().is_none());
}

/// `all` names, of which `batches` of so many go at so many seconds; how many stand in the end, and how many of them are held.
#[track_caller]
fn braked(all: usize, batches: &[(u64, usize)], expected: (usize, usize)) -> Guard {
    let mut guard = guard(0, false);
    let object = |n: usize| key(ObjectKind::Ingress, &format!("shop/{n}"));
    let objects = (0..all).map(|n| (object(n), claims(&[&format!("n{n}.")]))).collect();
    guard.apply(Report::Listed { scope: Scope::all(ObjectKind::Ingress), objects }, at(0));
    let mut gone = 0;
    for (second, count) in batches {
        for n in gone..gone + count {
            guard.apply(Report::Gone(object(n)), at(*second));
            guard.settle(at(*second));
        }
        gone += count;
        guard.settle(at(*second));
    }
    let held = guard.brake().held().map_or(0, |held| held.names.len());
    assert_eq!((guard.names(), held), expected, "{all} {batches:?}");
    guard
}

#[test]
fn the_brake() {
    // Few are no mistake, though they are most; all of them are.
    braked(10, &[(0, 9)], (1, 0));
    braked(1, &[(0, 1)], (1, 1));
    braked(3, &[(0, 3)], (1, 1));
    // Half is let pass one by one, what comes then is held.
    braked(100, &[(0, 50)], (50, 0));
    braked(100, &[(0, 51)], (50, 1));
    braked(100, &[(0, 60)], (50, 10));
    // The window slides: it is a share of what there was a minute ago.
    braked(100, &[(0, 50), (59, 1)], (50, 1));
    braked(100, &[(0, 50), (60, 1)], (49, 0));
    // What is held stays held, though the window has passed.
    braked(100, &[(0, 51), (100, 1)], (49, 1));
}

#[test]
fn a_list_that_lost_too_much_is_held_as_a_whole() {
    let mut guard = guard(0, false);
    let list = |range: std::ops::Range<usize>| Report::Listed {
        scope: Scope::all(ObjectKind::Ingress),
        objects: range
            .map(|n| (key(ObjectKind::Ingress, &format!("shop/{n}")), claims(&[&format!("n{n}.")])))
            .collect(),
    };
    guard.apply(list(0..100), at(0));
    guard.apply(list(0..40), at(10));
    guard.settle(at(10));
    assert_eq!(guard.names(), 100);
    // Unchanged for ten minutes, and the source works: they go.
    guard.apply(Report::Failed(None, Failure::new(FailureKind::Connect, "x")), at(300));
    guard.settle(at(609));
    guard.settle(at(700));
    assert_eq!(guard.names(), 100, "time does not release what a failing source holds");
    guard.apply(list(0..40), at(701));
    guard.settle(at(701));
    assert_eq!((guard.names(), guard.brake().held()), (40, None));
}

#[test]
fn the_brake_is_released_by_hand() {
    let mut guard = braked(100, &[(0, 60)], (50, 10));
    assert_eq!(guard.release(), 10);
    guard.settle(at(1));
    assert_eq!((guard.names(), guard.brake().held()), (40, None));
    // What was released is not counted against what goes next, but all that goes of itself is.
    assert_eq!(guard.release(), 0);
}

#[test]
fn add_only_removes_nothing() {
    let rules =
        GuardRules { remove_after_ms: 0, brake: RemoveBrake::default(), polled: false, add_only: true };
    let mut guard = Guard::new(rules);
    let ingress = key(ObjectKind::Ingress, "shop/c");
    guard.apply(Report::Changed(ingress.clone(), claims(&["c.", "d."])), at(0));
    guard.apply(Report::Changed(ingress.clone(), claims(&["d."])), at(1));
    guard.settle(at(100));
    assert_eq!(standing(&guard), "c. d.");
    guard.apply(Report::Gone(ingress), at(2));
    guard.settle(at(1000));
    assert_eq!(
        (standing(&guard), guard.standing().filter(|(_, s)| s.is_missing()).count()),
        ("c. d.".into(), 2)
    );
}

#[test]
fn what_is_restored_stands_until_a_list_says_otherwise() {
    let restored = |names: std::ops::Range<usize>| {
        names.map(|n| (key(ObjectKind::Ingress, &format!("shop/{n}")), claim(&format!("n{n}.")), 7))
    };
    let mut guard = guard(0, false);
    guard.restore(restored(0..4));
    assert!(guard.is_ready() && !guard.is_synced());
    guard.apply(Report::Failed(None, Failure::new(FailureKind::Connect, "x")), at(0));
    guard.apply(Report::Synced, at(0));
    guard.settle(at(1000));
    assert_eq!(guard.names(), 4);
    // n3 was deleted while Hale was off; n0 keeps the time that it was first seen.
    let objects =
        (0..3).map(|n| (key(ObjectKind::Ingress, &format!("shop/{n}")), claims(&[&format!("n{n}.")])));
    guard.apply(
        Report::Listed { scope: Scope::all(ObjectKind::Ingress), objects: objects.collect() },
        at(1001),
    );
    guard.settle(at(1001));
    assert_eq!(guard.names(), 3);
    assert!(guard.standing().all(|(_, standing)| standing.first_seen_ms == 7));
    // Services are no longer asked for: what was restored of them goes with the first complete round.
    guard.restore([(key(ObjectKind::Service, "shop/s"), claim("s."), 7)]);
    guard.settle(at(1001));
    assert_eq!(guard.names(), 4);
    guard.apply(Report::Synced, at(1002));
    guard.settle(at(1002));
    assert_eq!((guard.names(), guard.is_synced()), (3, true));
}

#[test]
fn a_name_of_two_objects_outlives_one() {
    let mut guard = cluster();
    guard.apply(Report::Changed(key(ObjectKind::Ingress, "shop/d"), claims(&["c."])), at(1));
    guard.apply(Report::Gone(key(ObjectKind::Ingress, "shop/c")), at(2));
    guard.settle(at(2));
    assert_eq!((standing(&guard), guard.names()), ("a. b. c.".to_owned(), 3));
    let name = name("c.");
    assert_eq!(guard.claims_for(&name).map(|(key, _)| &*key.name).collect::<Vec<_>>(), ["d"]);
}

#[test]
fn ages_and_failures() {
    let mut guard = cluster();
    let services = Scope::all(ObjectKind::Service);
    assert_eq!(guard.last_ok(), Some(0));
    guard.apply(Report::Failed(Some(services.clone()), Failure::new(FailureKind::Forbidden, "403")), at(5));
    assert_eq!((guard.last_ok(), guard.failure().map(|f| &*f.text)), (None, Some("403")));
    guard.apply(Report::Listed { scope: services.clone(), objects: vec![] }, at(6));
    guard.apply(Report::Alive(Scope::all(ObjectKind::Ingress)), at(9));
    assert_eq!((guard.last_ok(), guard.failure()), (Some(6000), None));
    guard.apply(Report::NotInstalled(ObjectKind::Service), at(7));
    assert_eq!(guard.last_ok(), Some(9000));
}

#[test]
fn a_kind_that_is_installed_later_is_no_longer_missing() {
    let mut guard = guard(0, false);
    guard.apply(Report::NotInstalled(ObjectKind::HttpRoute), at(0));
    assert!(guard.scopes().values().all(|scope| scope.absent));
    let scope = Scope { kind: ObjectKind::HttpRoute, namespace: Some("shop".into()) };
    guard.apply(Report::Listed { scope, objects: vec![] }, at(1));
    assert!(guard.scopes().values().all(|scope| !scope.absent));
}

#[test]
fn a_failure_as_a_whole_ends_with_a_list_or_when_it_is_said() {
    let mut guard = cluster();
    let scope = || Scope::all(ObjectKind::Ingress);
    let failure = || Failure::new(FailureKind::Timeout, "x");
    guard.apply(Report::Failed(None, failure()), at(1));
    // A bookmark that was on its way says that its watch lives, and nothing of the rest.
    guard.apply(Report::Alive(scope()), at(2));
    assert!(guard.failure().is_some());
    guard.apply(Report::Answers, at(3));
    assert_eq!((guard.failure(), guard.last_ok()), (None, Some(2000)));
    guard.apply(Report::Failed(Some(scope()), failure()), at(4));
    guard.apply(Report::Answers, at(5));
    assert!(guard.failure().is_some(), "a list that fails does so on");
    guard.apply(Report::Resumed(scope()), at(5));
    assert_eq!((guard.failure(), guard.last_ok()), (None, Some(2000)), "its age goes on");
    guard.apply(Report::Failed(None, failure()), at(6));
    let objects = vec![(key(ObjectKind::Ingress, "shop/c"), claims(&["c."]))];
    guard.apply(Report::Listed { scope: scope(), objects }, at(7));
    assert_eq!((guard.failure(), guard.last_ok()), (None, Some(7000)));
}

#[test]
fn a_source_that_fails_at_first_is_synced_by_what_comes_later() {
    let scope = || Scope::all(ObjectKind::Ingress);
    let restored = |guard: &mut Guard| {
        let kinds = [ObjectKind::Ingress, ObjectKind::Service, ObjectKind::TlsRoute];
        guard.restore(kinds.map(|kind| (key(kind, "shop/c"), claim(&format!("{kind}.")), 7)));
    };
    let list = |kind| Report::Listed {
        scope: Scope::all(kind),
        objects: vec![(key(kind, "shop/c"), claims(&[&format!("{kind}.")]))],
    };
    let refused = |kind| Report::Failed(Some(Scope::all(kind)), Failure::new(FailureKind::Forbidden, "403"));
    // Every list was refused, and one is complete later. What belongs to none of them is no longer asked for; what belongs to one stands.
    let mut first = guard(0, false);
    restored(&mut first);
    for report in [refused(ObjectKind::Ingress), refused(ObjectKind::Service), Report::Synced] {
        first.apply(report, at(1));
    }
    first.settle(at(1));
    assert!(!first.is_synced() && first.names() == 3);
    first.apply(list(ObjectKind::Ingress), at(2));
    first.settle(at(2));
    assert!(first.is_synced());
    assert_eq!(standing(&first), "ingress. service.");
    // The round as a whole failed: the first list of the next one says nothing of those that have not come yet.
    let mut second = guard(0, false);
    restored(&mut second);
    second.apply(Report::Failed(None, Failure::new(FailureKind::Connect, "x")), at(1));
    for report in [Report::Synced, list(ObjectKind::Ingress)] {
        second.apply(report, at(2));
        second.settle(at(2));
        assert!(!second.is_synced() && second.names() == 3);
    }
    assert!(second.scopes().contains_key(&scope()));
    for report in [list(ObjectKind::Service), Report::Synced] {
        second.apply(report, at(3));
    }
    second.settle(at(3));
    assert!(second.is_synced());
    assert_eq!(standing(&second), "ingress. service.");
}
