//! A server that says nothing: one that has nothing to say, and one that hangs.

use std::time::Duration;

use super::super::driver::Settings;
use super::super::fake::{Fake, Fault};
use super::super::watch::Pace;
use super::driver::{Bench, INGRESSES, ingress};
use crate::discovery::claim::ObjectKind;
use crate::discovery::source::Order;

const SILENCE: Duration = Duration::from_millis(600);

/// Watches that stand for longer than any of the tests takes, so that only silence tells.
fn patient(settings: Settings) -> Settings {
    let watch = Duration::from_secs(60);
    Settings { pace: Pace { watch, silence: SILENCE, discovery: watch, ..settings.pace }, ..settings }
}

#[tokio::test]
async fn a_server_that_hangs_is_missed_while_its_watches_stand() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench = Bench::adapted(fake, &[ObjectKind::Ingress], Order::Watch, patient).await;
    bench.until("synced").await;
    bench.fake.fault("/", Some(Fault::Hung));
    let hung = std::time::Instant::now();
    let all = bench.until("failed all timeout: http://127.0.0.1").await;
    assert!(hung.elapsed() < SILENCE * 4, "{:?}", hung.elapsed());
    assert!(all.last().unwrap().ends_with(": no word from the API server for 0 s"), "{all:#?}");
    assert!(all.iter().any(|line| line.starts_with("ClusterAvailable=false")), "{all:#?}");
    assert!(!all.iter().any(|line| line.starts_with("listed") || line.starts_with("gone")), "{all:#?}");
    // It says so again, since how long it has been is part of it, and is back with the first word.
    bench.until("failed all timeout").await;
    bench.fake.fault("/", None);
    let all = bench.until("answers").await;
    assert!(all.iter().any(|line| line.starts_with("ClusterAvailable=true")), "{all:#?}");
    bench.fake.put(INGRESSES, ingress("b", "b.test"));
    bench.until("changed ingress/shop/b: b.test.").await;
    assert_eq!(bench.fake.requests("/ingresses?limit=").len(), 1, "what stood stands, without another list");
}

#[tokio::test]
async fn a_server_with_nothing_to_say_is_asked_and_works() {
    let mut bench = Bench::adapted(Fake::start().await, &[ObjectKind::Ingress], Order::Watch, patient).await;
    bench.until("synced").await;
    assert_eq!(bench.within(SILENCE * 3).await, <[String; 0]>::default());
    let asked = bench.fake.requests("GET /version").len();
    assert!((3..=6).contains(&asked), "asked {asked} times");
}

#[tokio::test]
async fn a_server_that_talks_is_not_asked() {
    let mut bench = Bench::adapted(Fake::start().await, &[ObjectKind::Ingress], Order::Watch, patient).await;
    bench.until("synced").await;
    let before = bench.fake.requests("GET /version").len();
    for number in 0..20 {
        bench.fake.put(INGRESSES, ingress(&format!("n{number}"), "n.test"));
        bench.within(SILENCE / 12).await;
    }
    assert_eq!(bench.fake.requests("GET /version").len(), before);
}

/// The first watch breaks, and the next one stands and has nothing to say: that is no failure any more, long before a bookmark.
#[tokio::test]
async fn a_watch_that_stands_again_is_no_failure() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench = Bench::adapted(fake, &[ObjectKind::Ingress], Order::Watch, patient).await;
    bench.until("synced").await;
    bench.fake.fault("/ingresses", Some(Fault::CutWatch));
    // Several that break at once are no standing.
    for _ in 0..3 {
        let all = bench.until("the watch broke off").await;
        assert!(!all.iter().any(|line| line.starts_with("resumed")), "{all:#?}");
    }
    bench.fake.fault("/ingresses", None);
    let all = bench.until("resumed ingress").await;
    assert!(!all.iter().any(|line| line.starts_with("listed")), "{all:#?}");
    bench.fake.put(INGRESSES, ingress("b", "b.test"));
    bench.until("changed ingress/shop/b: b.test.").await;
}
