//! What a real API server (1.35) answered, read again: for where none can be had.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::fake::Fake;
use super::driver::{Bench, say};
use super::options;
use crate::discovery::claim::ObjectKind;
use crate::discovery::kubernetes::decode::{Decoded, decode};
use crate::discovery::kubernetes::resource::Resource;
use crate::discovery::kubernetes::store::{Event, Store};
use crate::discovery::source::Order;

fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubernetes");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Box<RawValue>,
}

fn objects(kind: ObjectKind, file: &str) -> Vec<Decoded> {
    let page: Page = serde_json::from_str(&recorded(file)).unwrap();
    page.items.iter().map(|item| decode(Resource::Publishes(kind), item, &options()).unwrap()).collect()
}

/// The reports after one event.
fn reports(store: &mut Store, kind: ObjectKind, event: Event) -> String {
    store.take(Resource::Publishes(kind), None, None, event);
    store.reports().iter().filter_map(say).collect::<Vec<_>>().join("\n")
}

#[test]
fn recorded_lists_and_watches_are_read() {
    let mut store = Store::new(Arc::new(options()));
    let mut all = objects(ObjectKind::Ingress, "ingresses-page-1.json");
    all.extend(objects(ObjectKind::Ingress, "ingresses-page-2.json"));
    let one = |name: &str, host: &str, scheme: &str| {
        format!("ingress/default/{name}: {host}. 192.0.2.1 [{scheme}(None)] ttl 60")
    };
    assert_eq!(
        reports(&mut store, ObjectKind::Ingress, Event::Listed(all)),
        format!(
            "listed ingress [{}; {}; {}]",
            one("a", "a.test", "Https"),
            one("b", "b.test", "Https"),
            one("c", "c.test", "Https")
        )
    );
    let mut said = Vec::new();
    for line in recorded("ingresses-watch.jsonl").lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let object = decode(Resource::Publishes(ObjectKind::Ingress), &line.object, &options()).unwrap();
        let event = match &*line.r#type {
            "DELETED" => Event::Gone((object.namespace, object.name)),
            _ => Event::Changed(object),
        };
        said.push(reports(&mut store, ObjectKind::Ingress, event));
    }
    assert_eq!(
        said,
        [format!("changed {}", one("a", "changed.test", "Http")), "gone ingress/default/b".to_owned()]
    );
    let services = objects(ObjectKind::Service, "services.json");
    assert_eq!(
        reports(&mut store, ObjectKind::Service, Event::Listed(services)),
        "listed service [service/default/kubernetes: ; service/default/np: np.test. 10.96.0.77 [Tcp(80)]]"
    );
    let endpoints = objects(ObjectKind::DnsEndpoint, "dnsendpoints.json");
    assert_eq!(
        reports(&mut store, ObjectKind::DnsEndpoint, Event::Listed(endpoints)),
        "listed dnsendpoint [dnsendpoint/default/e: e.test. 192.0.2.1 [Unchecked] ttl 60]"
    );
    assert_eq!(store.patches().len(), 1, "its status is behind");
}

/// The exchanges as they were recorded (kube-apiserver 1.35.4 without a watch cache; the bookmark with one), one stage after the other.
#[tokio::test]
async fn a_recorded_server_is_followed_through_its_troubles() {
    const INGRESSES: &str = "/apis/networking.k8s.io/v1/ingresses";
    const ENDPOINTS: &str = "/apis/externaldns.k8s.io/v1alpha1/dnsendpoints";
    const GROUP: &str = "/apis/externaldns.k8s.io/v1alpha1";
    let tape = |status: u16, name: &str| (status, recorded(&format!("replay/{name}")));
    let fake = Fake::start().await;
    fake.play("/apis", false, &[tape(200, "apis-before.json")]);
    fake.play(INGRESSES, false, &[tape(200, "ingresses-list.json")]);
    // A change and a bookmark, an end in order, then a version that was compacted away.
    fake.play(INGRESSES, true, &[tape(200, "watch-bookmark.jsonl"), tape(200, "watch-410.jsonl")]);
    fake.play("/api/v1/services", false, &[tape(403, "services-403.json")]);
    let kinds = [ObjectKind::Ingress, ObjectKind::Service, ObjectKind::DnsEndpoint];
    let mut bench = Bench::start(fake, &kinds, Order::Watch).await;
    let mut all = bench.until("synced").await;
    all.extend(bench.until("listed ingress").await);
    let listed = "listed ingress [ingress/default/a: a.test. 192.0.2.1 [Http(None)]]";
    let said = |text: &str| all.iter().filter(|line| line.contains(text)).count();
    assert_eq!(said(listed), 2, "once more after 410: {all:#?}");
    assert_eq!(said("changed ingress/default/b: b.test."), 1, "{all:#?}");
    assert!(said("failed service forbidden") > 0 && said("cannot list resource") > 0, "{all:#?}");
    assert_eq!(said("not installed dnsendpoint"), 1, "{all:#?}");
    assert_eq!(said("gone"), 0, "{all:#?}");
    let watches = bench.fake.requests("ingresses?watch=true");
    assert!(watches[1].ends_with("resourceVersion=235"), "it goes on from the bookmark: {watches:#?}");

    // The CRD comes; then it goes, and its object, which a finalizer held, is deleted with it.
    bench.fake.play("/apis", false, &[tape(200, "apis-after.json")]);
    bench.fake.play(GROUP, false, &[tape(200, "apis-dnsendpoints.json")]);
    bench.fake.play(ENDPOINTS, false, &[tape(200, "dnsendpoints-list.json")]);
    bench.fake.play(ENDPOINTS, true, &[]);
    let all = bench.until("listed dnsendpoint").await;
    assert!(all.iter().any(|line| line.contains("dnsendpoint/default/e: e.test. 192.0.2.1")), "{all:#?}");
    bench.fake.play(ENDPOINTS, true, &[tape(200, "watch-crd.jsonl")]);
    let watches = || bench.fake.requests("dnsendpoints?watch=true").len();
    let before = watches();
    let played = async {
        while watches() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), played).await.unwrap();
    bench.fake.play(GROUP, false, &[tape(200, "apis-dnsendpoints-terminating.json")]);
    let all = bench.until("not installed dnsendpoint").await;
    assert!(!all.iter().any(|line| line.starts_with("gone dnsendpoint")), "{all:#?}");
    bench.fake.play("/apis", false, &[tape(200, "apis-before.json")]);
    bench.fake.play(ENDPOINTS, false, &[tape(404, "dnsendpoints-404.txt")]);

    // And comes again.
    bench.fake.play(GROUP, false, &[tape(200, "apis-dnsendpoints.json")]);
    bench.fake.play(ENDPOINTS, false, &[tape(200, "dnsendpoints-list.json")]);
    bench.fake.play("/apis", false, &[tape(200, "apis-after.json")]);
    let all = bench.until("listed dnsendpoint").await;
    assert!(!all.iter().any(|line| line.starts_with("gone")), "{all:#?}");
}
