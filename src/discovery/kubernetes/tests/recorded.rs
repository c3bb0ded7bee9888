//! What a real API server (1.35) answered, read again: for where none can be had.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::driver::say;
use super::options;
use crate::discovery::claim::ObjectKind;
use crate::discovery::kubernetes::decode::{Decoded, decode};
use crate::discovery::kubernetes::resource::Resource;
use crate::discovery::kubernetes::store::{Event, Store};

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
