use super::*;
use crate::discovery::claim::{HostTarget, ObjectKind};
use crate::discovery::guard::{GuardRules, Now};
use crate::discovery::source::{Report, Seen};
use crate::model::rrtype::RrType;

fn guard() -> Guard {
    let brake = Default::default();
    Guard::new(GuardRules { remove_after_ms: 0, brake, polled: false, add_only: false })
}

fn claims() -> Vec<Claim> {
    let hosts = vec![
        HostTarget::Address("2001:db8::1".parse().unwrap()),
        HostTarget::Host(Name::parse_absolute("lb.example.net").unwrap()),
    ];
    let mut full = Claim::new(
        Name::parse_absolute("*.a.test").unwrap(),
        Targets::Known(hosts),
        Route::Https(Some(8443)),
    );
    full.rrsets =
        vec![DiscoveredRrset { rtype: RrType::TXT, rdata: RdataSet::new([b"\x02\xff\x00"]), ttl: Some(7) }];
    (full.ttl, full.created) = (Some(60), Some(1));
    (full.entry_points, full.middlewares) = (vec!["web".into()], vec!["auth@file".into()]);
    full.wishes.policy = Some("failover".into());
    vec![full, Claim::new(Name::parse_absolute("b.test").unwrap(), Targets::Default, Route::Unchecked)]
}

fn saved(folder: &tempfile::TempDir) -> Arc<StateDir> {
    let state = Arc::new(StateDir::open(folder.path()).unwrap());
    let mut guard = guard();
    let key = ObjectKey { kind: ObjectKind::Router, namespace: "docker".into(), name: "a".into() };
    let now = Now { ms: 0, wall_ms: 99 };
    guard.apply(Report::Changed(key, Seen::Claims(claims(), vec![])), now);
    let mut kept = Kept::default();
    kept.insert("edge", Some(98), &guard);
    kept.save(&state).unwrap();
    state
}

#[test]
fn comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let state = saved(&folder);
    let (mut kept, problem) = Kept::load(&state).unwrap();
    assert_eq!((problem, kept.sources().collect::<Vec<_>>()), (None, vec!["edge"]));
    let source = kept.take("edge").unwrap();
    assert_eq!(source.last_ok_ms, Some(98));
    let found: Vec<_> = source.claims().collect();
    assert_eq!(found.iter().map(|(.., seen)| *seen).collect::<Vec<_>>(), [99, 99]);
    assert_eq!(found.into_iter().map(|(_, claim, _)| claim).collect::<Vec<_>>(), claims());
}

#[test]
fn a_damaged_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let state = saved(&folder);
    let path = folder.path().join(FILE);
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 5]).unwrap();
    let (kept, problem) = Kept::load(&state).unwrap();
    assert_eq!(kept.sources().count(), 0);
    assert!(problem.unwrap().moved_to.exists() && !path.exists());
    // What is whole but makes no sense is not half used either.
    let text = r#"{"sources":{"e":{"claims":[{"object":{"kind":"router","namespace":"d","name":"a"},"name":"a..b",
        "first_seen_ms":1,"targets":"default","route":"unchecked"}]}}}"#;
    state.write_blob(FILE, VERSION, text.as_bytes()).unwrap();
    let (kept, problem) = Kept::load(&state).unwrap();
    assert_eq!(kept.sources().count(), 0);
    assert!(problem.unwrap().why.contains("a..b"));
    assert_eq!(Kept::load(&state).unwrap().1, None);
}
