//! The driver against the fake API server: what is reported when things go right, and when they do not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::connection::Access;
use super::super::driver::{Settings, run};
use super::super::fake::{Fake, Fault};
use super::super::watch::Pace;
use super::{lines, options};
use crate::discovery::claim::ObjectKind;
use crate::discovery::kubernetes::options::Options;
use crate::discovery::source::{Order, Orders, Report, Reporter};

pub(super) const INGRESSES: (&str, &str, &str) = ("networking.k8s.io", "v1", "ingresses");
const SERVICES: (&str, &str, &str) = ("", "v1", "services");
const ENDPOINTS: (&str, &str, &str) = ("externaldns.k8s.io", "v1alpha1", "dnsendpoints");
const ROUTES: (&str, &str, &str) = ("traefik.io", "v1alpha1", "ingressroutes");

/// A driver that watches a fake server.
pub(super) struct Bench {
    pub(super) fake: Fake,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<(usize, Report)>,
    task: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kubeconfig(url: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": url}}], "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]})
    .to_string()
}

/// Short times, so that a test takes none.
fn pace() -> Pace {
    Pace {
        request: Duration::from_secs(2),
        watch: Duration::from_secs(1),
        grace: Duration::from_secs(1),
        silence: Duration::from_millis(600),
        discovery: Duration::from_millis(300),
        files: Duration::from_millis(100),
    }
}

impl Bench {
    pub(super) async fn start(fake: Fake, kinds: &[ObjectKind], order: Order) -> Self {
        Self::with(fake, kinds, order, options(), &[]).await
    }

    async fn with(
        fake: Fake,
        kinds: &[ObjectKind],
        order: Order,
        options: Options,
        namespaces: &[&str],
    ) -> Self {
        let namespaces = namespaces.iter().map(|name| (*name).into()).collect();
        Self::adapted(fake, kinds, order, |settings| Settings {
            namespaces,
            options: Arc::new(options),
            ..settings
        })
        .await
    }

    /// With other settings than usual.
    pub(super) async fn adapted(
        fake: Fake,
        kinds: &[ObjectKind],
        order: Order,
        adapt: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig(&fake.url)).unwrap();
        let settings = adapt(Settings {
            access: Access::Kubeconfig { file, context: None },
            namespaces: Vec::new(),
            kinds: kinds.to_vec(),
            labels: Box::default(),
            options: Arc::new(options()),
            pace: pace(),
        });
        let (sender, reports) = Reporter::channel();
        let (orders, inbox) = Orders::channel();
        let task = tokio::spawn(run(settings, Reporter::new(0, sender), inbox));
        orders.send(order).await.unwrap();
        Self { fake, orders, reports, task, folder }
    }

    /// The lines of all reports up to one that holds the text.
    pub(super) async fn until(&mut self, text: &str) -> Vec<String> {
        let mut all = Vec::new();
        let found = async {
            while let Some((_, report)) = self.reports.recv().await {
                let Some(line) = say(&report) else { continue };
                let found = line.contains(text);
                all.push(line);
                if found {
                    return;
                }
            }
        };
        let found = timeout(Duration::from_secs(20), found).await;
        assert!(found.is_ok(), "no {text:?} in {all:#?}");
        all
    }

    /// What is reported within a time.
    pub(super) async fn within(&mut self, time: Duration) -> Vec<String> {
        let mut all = Vec::new();
        let _ = timeout(time, async {
            while let Some((_, report)) = self.reports.recv().await {
                all.extend(say(&report));
            }
        })
        .await;
        all
    }
}

/// A report in a line; calls have none, and signs of life neither.
pub(super) fn say(report: &Report) -> Option<String> {
    Some(match report {
        Report::Listed { scope, objects } => {
            let objects =
                objects.iter().map(|(key, seen)| format!("{key}: {}", lines(seen).replace('\n', ", ")));
            format!("listed {scope} [{}]", objects.collect::<Vec<_>>().join("; "))
        }
        Report::Changed(key, seen) => format!("changed {key}: {}", lines(seen).replace('\n', ", ")),
        Report::Gone(key) => format!("gone {key}"),
        Report::Failed(scope, failure) => {
            let scope = scope.as_ref().map_or("all".to_owned(), ToString::to_string);
            format!("failed {scope} {}: {failure}", failure.kind.label())
        }
        Report::NotInstalled(kind) => format!("not installed {kind}"),
        Report::Answers => "answers".to_owned(),
        Report::Resumed(scope) => format!("resumed {scope}"),
        Report::Synced => "synced".to_owned(),
        Report::Condition(condition) => {
            format!("{}={}: {}", condition.kind, condition.holds, condition.reason)
        }
        Report::Call(_) | Report::Took(..) | Report::Alive(_) => return None,
    })
}

pub(super) fn ingress(name: &str, host: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"rules": [{"host": host}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
}

#[tokio::test]
async fn lists_pages_and_then_follows_changes() {
    let fake = Fake::start().await;
    fake.pages_of(2);
    for (name, host) in [("a", "a.test"), ("b", "b.test"), ("c", "c.test")] {
        fake.put(INGRESSES, ingress(name, host));
    }
    fake.put(INGRESSES, json!({"metadata": {"namespace": "shop", "name": "bad"}, "spec": {"rules": 7}}));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
    let first = bench.until("synced").await;
    assert_eq!(
        first[..4],
        [
            "KubeconfigAvailable=true: Read",
            "KubeconfigValid=true: Understood",
            "ClusterAvailable=true: Answers",
            "answers"
        ]
    );
    assert!(
        first[4].starts_with(
            "listed ingress [ingress/shop/a: a.test. 192.0.2.1 [Http(None)]; ingress/shop/b: b.test. 192.0.2.1 [Http(None)]; \
             ingress/shop/bad: stands: does not decode: invalid type: integer"
        ) && first[4].contains("ingress/shop/c: c.test. 192.0.2.1"),
        "{first:#?}"
    );
    assert_eq!(bench.fake.requests("continue=2").len(), 1);
    bench.fake.put(INGRESSES, ingress("d", "d.test"));
    assert_eq!(bench.until("changed").await, ["changed ingress/shop/d: d.test. 192.0.2.1 [Http(None)]"]);
    bench.fake.put(INGRESSES, ingress("d", "e.test"));
    assert_eq!(bench.until("changed").await, ["changed ingress/shop/d: e.test. 192.0.2.1 [Http(None)]"]);
    bench.fake.delete(INGRESSES, "shop", "d");
    assert_eq!(bench.until("gone").await, ["gone ingress/shop/d"]);
    assert!(
        bench.fake.requests("watch=true")[0]
            .contains("allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=14")
    );
}

#[tokio::test]
async fn a_watch_that_is_too_old_lists_again() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    fake.put(INGRESSES, ingress("b", "b.test"));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
    bench.until("synced").await;
    bench.fake.delete_unseen(INGRESSES, "shop", "a");
    bench.fake.compact();
    assert_eq!(
        bench.until("listed").await,
        ["listed ingress [ingress/shop/b: b.test. 192.0.2.1 [Http(None)]]"]
    );
}

#[tokio::test]
async fn pages_that_expire_begin_anew_and_never_make_a_shorter_list() {
    let fake = Fake::start().await;
    fake.pages_of(1);
    fake.expire_pages(2);
    for name in ["a", "b"] {
        fake.put(INGRESSES, ingress(name, "x.test"));
    }
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Sync).await;
    let all = bench.until("synced").await;
    assert!(
        all.iter().any(|line| line.starts_with("listed ingress [ingress/shop/a: ")
            && line.contains("; ingress/shop/b: ")),
        "{all:#?}"
    );
}

#[tokio::test]
async fn what_fails_is_said_and_nothing_is_concluded_from_it() {
    for (fault, expected) in [
        (Fault::Status(403), "failed ingress forbidden: "),
        (Fault::Status(401), "failed ingress unauthorized: "),
        (Fault::Status(500), "failed ingress server: "),
        (Fault::Cut, "failed ingress decode: "),
    ] {
        let fake = Fake::start().await;
        fake.put(INGRESSES, ingress("a", "a.test"));
        fake.put(SERVICES, json!({"metadata": {"namespace": "shop", "name": "s", "annotations": {"coredns.io/hostname": "s.test"}},
            "spec": {"type": "ExternalName", "externalName": "x.test"}}));
        fake.fault("/ingresses", Some(fault.clone()));
        let mut bench = Bench::start(fake, &[ObjectKind::Ingress, ObjectKind::Service], Order::Sync).await;
        let all = bench.until("synced").await;
        assert!(all.iter().any(|line| line.starts_with(expected)), "{fault:?}: {all:#?}");
        assert!(
            all.iter().any(|line| line.starts_with("listed service [service/shop/s: s.test. x.test.")),
            "{fault:?}: {all:#?}"
        );
        assert!(!all.iter().any(|line| line.starts_with("listed ingress")), "{fault:?}: {all:#?}");
        let tries = bench.fake.requests("GET /apis/networking.k8s.io/v1/ingresses?").len();
        assert_eq!(tries, if matches!(fault, Fault::Status(401 | 403)) { 1 } else { 3 }, "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_too_slow() {
    for fault in [Fault::Silent, Fault::Trickle] {
        let fake = Fake::start().await;
        fake.put(INGRESSES, ingress("a", &format!("{}.test", "a".repeat(60))));
        let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
        bench.until("synced").await;
        bench.fake.fault("/ingresses", Some(fault.clone()));
        // The watch that stands is ended by the fault; the next one is never answered, or in no time that is bearable.
        if fault == Fault::Silent {
            let all = bench.until("failed ingress timeout").await;
            assert!(all.iter().any(|line| line.starts_with("ClusterAvailable=false")), "{all:#?}");
        }
        bench.fake.fault("/ingresses", None);
        bench.fake.put(INGRESSES, ingress("b", "b.test"));
        bench.until("ingress/shop/b: b.test.").await;
    }
}

#[tokio::test]
async fn watches_are_heard_while_discovery_hangs() {
    let mut bench = Bench::start(Fake::start().await, &[ObjectKind::Service], Order::Watch).await;
    bench.fake.install("externaldns.k8s.io", "v1alpha1", "dnsendpoints");
    bench.until("synced").await;
    bench.fake.fault("/apis", Some(Fault::Silent));
    // A call that is never answered is under way, and takes its time-out three times.
    let asked = async {
        let before = bench.fake.requests("GET /apis").len();
        while bench.fake.requests("GET /apis").len() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), asked).await.unwrap();
    let named = json!({"hostname": "a.test", "target": "192.0.2.1"});
    let annotations: serde_json::Map<String, Value> = named
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (format!("external-dns.kubernetes.io/{k}"), v.clone()))
        .collect();
    let service = json!({"metadata": {"name": "a", "namespace": "shop", "annotations": annotations}, "spec": {"type": "ClusterIP"}});
    bench.fake.put(SERVICES, service);
    let heard = timeout(Duration::from_secs(1), bench.until("changed service/shop/a: a.test.")).await;
    assert!(heard.is_ok(), "not within a second");
    bench.until("failed all timeout").await;
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
    bench.until("synced").await;
    bench.fake.fault("/ingresses", Some(Fault::CutWatch));
    bench.until("the watch broke off").await;
    bench.fake.fault("/ingresses", None);
    bench.fake.put(INGRESSES, ingress("b", "b.test"));
    let all = bench.until("changed ingress/shop/b").await;
    assert!(!all.iter().any(|line| line.starts_with("listed")), "{all:#?}");
    assert_eq!(bench.fake.requests("/ingresses?limit=").len(), 1);
}

#[tokio::test]
async fn a_malformed_event_is_one_objects_problem() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
    bench.until("synced").await;
    let mut broken = ingress("a", "a.test");
    broken["spec"]["rules"] = json!("none");
    bench.fake.put(INGRESSES, broken);
    bench.fake.put(INGRESSES, ingress("b", "b.test"));
    let all = bench.until("changed ingress/shop/b").await;
    assert!(all[0].starts_with("changed ingress/shop/a: stands: does not decode"), "{all:#?}");
}

#[tokio::test]
async fn an_object_without_a_name_makes_a_list_incomplete() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    fake.put(INGRESSES, json!({"metadata": {"namespace": "shop", "name": 7}}));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Sync).await;
    let all = bench.until("synced").await;
    assert!(all.iter().any(|line| line.starts_with("changed ingress/shop/a: a.test.")), "{all:#?}");
    assert!(all.iter().any(|line| line.starts_with("failed ingress decode")), "{all:#?}");
    assert!(!all.iter().any(|line| line.starts_with("listed")), "{all:#?}");
}

#[tokio::test]
async fn resources_are_picked_up_when_they_appear_and_their_names_stay_when_they_vanish() {
    let route = || json!({"metadata": {"namespace": "shop", "name": "r"}, "spec": {"routes": [{"match": "Host(`r.test`)"}]}});
    let fake = Fake::start().await;
    let mut bench = Bench::start(fake, &[ObjectKind::IngressRoute], Order::Watch).await;
    let all = bench.until("synced").await;
    assert!(all.contains(&"not installed ingressroute".to_owned()), "{all:#?}");
    bench.fake.install(ROUTES.0, ROUTES.1, ROUTES.2);
    bench.fake.put(ROUTES, route());
    let listed = "listed ingressroute [ingressroute/shop/r: r.test. default [Http(None)]]";
    assert!(
        bench
            .until("ingressroute/shop/r")
            .await
            .iter()
            .any(|line| line == listed || line.starts_with("changed ingressroute/shop/r"))
    );
    bench.fake.uninstall(ROUTES.0, ROUTES.1, ROUTES.2);
    let all = bench.until("not installed ingressroute").await;
    assert!(!all.iter().any(|line| line.starts_with("listed") || line.starts_with("gone")), "{all:#?}");
    bench.fake.install(ROUTES.0, ROUTES.1, ROUTES.2);
    bench.fake.put(ROUTES, route());
    bench.until("ingressroute/shop/r: r.test.").await;
}

#[tokio::test]
async fn objects_that_are_deleted_with_their_crd_are_not_reported_as_deleted() {
    let route = |name: &str| json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"routes": [{"match": format!("Host(`{name}.test`)")}]}});
    let fake = Fake::start().await;
    fake.install(ROUTES.0, ROUTES.1, ROUTES.2);
    for name in ["r", "s"] {
        fake.put(ROUTES, route(name));
    }
    let mut bench = Bench::start(fake, &[ObjectKind::IngressRoute], Order::Watch).await;
    bench.until("synced").await;
    bench.fake.delete(ROUTES, "shop", "s");
    assert_eq!(bench.until("gone").await, ["gone ingressroute/shop/s"]);
    bench.fake.terminate(ROUTES);
    let all = bench.until("not installed ingressroute").await;
    assert!(!all.iter().any(|line| line.starts_with("gone") || line.starts_with("listed")), "{all:#?}");
}

#[tokio::test]
async fn routes_wait_for_their_gateways() {
    const GATEWAY: &str = "gateway.networking.k8s.io";
    let fake = Fake::start().await;
    for plural in ["httproutes", "gateways"] {
        fake.install(GATEWAY, "v1beta1", plural);
    }
    fake.put((GATEWAY, "v1beta1", "httproutes"), json!({"metadata": {"namespace": "shop", "name": "r", "generation": 1},
        "spec": {"hostnames": ["r.test"], "parentRefs": [{"name": "gw"}]},
        "status": {"parents": [{"parentRef": {"name": "gw"}, "conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 1}]}]}}));
    let gateway = |address: &str| {
        json!({"metadata": {"namespace": "shop", "name": "gw"}, "spec": {"listeners": [{"name": "l", "port": 80, "protocol": "HTTP"}]},
        "status": {"addresses": [{"value": address}]}})
    };
    fake.put((GATEWAY, "v1beta1", "gateways"), gateway("192.0.2.1"));
    fake.fault("/gateways", Some(Fault::Status(503)));
    let mut bench = Bench::start(fake, &[ObjectKind::HttpRoute], Order::Watch).await;
    bench.until("ClusterAvailable=true").await;
    assert!(!bench.within(Duration::from_millis(500)).await.iter().any(|line| line.starts_with("listed")));
    bench.fake.fault("/gateways", None);
    let all = bench.until("listed httproute").await;
    assert_eq!(
        all.last().unwrap(),
        "listed httproute [httproute/shop/r: r.test. 192.0.2.1 [Http(Some(80))]]"
    );
    bench.fake.put((GATEWAY, "v1beta1", "gateways"), gateway("192.0.2.2"));
    bench.until("changed httproute/shop/r: r.test. 192.0.2.2").await;
    bench.fake.delete((GATEWAY, "v1beta1", "gateways"), "shop", "gw");
    bench.until("changed httproute/shop/r: r.test. 192.0.2.2 [Http(Some(80))], ! stale: gateway/shop/gw is missing").await;
    assert!(bench.fake.requests("/namespaces?").is_empty() && bench.fake.requests("/nodes").is_empty());
}

#[tokio::test]
async fn nodes_and_endpoint_slices_are_watched_for_those_who_need_them() {
    let service = |name: &str, spec: Value| {
        json!({"metadata": {"namespace": "shop", "name": name,
        "annotations": {"external-dns.alpha.kubernetes.io/hostname": format!("{name}.test")}}, "spec": spec})
    };
    let slice = |service: &str, address: &str| {
        json!({"metadata": {"namespace": "shop", "name": format!("{service}-1"),
        "labels": {"kubernetes.io/service-name": service}}, "endpoints": [{"addresses": [address]}], "ports": [{"port": 80}]})
    };
    let fake = Fake::start().await;
    fake.put(SERVICES, service("lb", json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]})));
    fake.put(("discovery.k8s.io", "v1", "endpointslices"), slice("h", "10.0.0.1"));
    fake.put(("discovery.k8s.io", "v1", "endpointslices"), slice("other", "10.0.0.2"));
    fake.put(("", "v1", "nodes"), json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "ExternalIP", "address": "192.0.2.1"}]}}));
    let mut bench = Bench::start(fake, &[ObjectKind::Service], Order::Watch).await;
    bench.until("synced").await;
    assert!(bench.fake.requests("/nodes").is_empty() && bench.fake.requests("/endpointslices").is_empty());
    bench.fake.put(SERVICES, service("h", json!({"clusterIP": "None"})));
    bench.until("changed service/shop/h: h.test. 10.0.0.1 [Tcp(80)]").await;
    bench.fake.put(
        SERVICES,
        service("np", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]})),
    );
    bench.until("changed service/shop/np: np.test. 192.0.2.1 [Tcp(30000)]").await;
    bench.fake.delete(("discovery.k8s.io", "v1", "endpointslices"), "shop", "h-1");
    bench.until("changed service/shop/h: h.test. ? no pod of it is ready").await;
    let slices = bench.fake.requests("endpointslices");
    assert!(
        slices.iter().all(|line| line.contains("/namespaces/shop/") && line.contains("service-name%3Dh")),
        "{slices:#?}"
    );
}

#[tokio::test]
async fn each_listed_namespace_is_watched_on_its_own() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench =
        Bench::with(fake, &[ObjectKind::Ingress], Order::Watch, options(), &["shop", "team"]).await;
    let mut all = bench.until("synced").await;
    all.retain(|line| line.starts_with("listed"));
    all.sort();
    assert_eq!(
        all,
        [
            "listed ingress in shop [ingress/shop/a: a.test. 192.0.2.1 [Http(None)]]",
            "listed ingress in team []"
        ]
    );
    assert!(bench.fake.requests("/v1/ingresses").is_empty());
}

#[tokio::test]
async fn the_status_of_a_dns_endpoint_is_written_only_when_it_differs() {
    let endpoint = |name: &str, generation: u64, observed: u64| {
        json!({"metadata": {"namespace": "shop", "name": name, "generation": generation},
        "spec": {"endpoints": [{"dnsName": format!("{name}.test"), "recordType": "A", "targets": ["192.0.2.1"]}]}, "status": {"observedGeneration": observed}})
    };
    let fake = Fake::start().await;
    fake.install(ENDPOINTS.0, ENDPOINTS.1, ENDPOINTS.2);
    fake.put(ENDPOINTS, endpoint("old", 2, 1));
    fake.put(ENDPOINTS, endpoint("same", 2, 2));
    let mut bench = Bench::start(fake, &[ObjectKind::DnsEndpoint], Order::Watch).await;
    bench.until("synced").await;
    for _ in 0..50 {
        if !bench.fake.patches().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let path = "/apis/externaldns.k8s.io/v1alpha1/namespaces/shop/dnsendpoints/old/status".to_owned();
    assert_eq!(bench.fake.patches(), [(path, json!({"status": {"observedGeneration": 2}}))]);
    // 409: another instance was quicker.
    for (status, kind) in [(403, "forbidden"), (409, "client"), (500, "server")] {
        bench.fake.fault("/status", Some(Fault::Status(status)));
        bench.fake.put(ENDPOINTS, endpoint("refused", status.into(), 0));
        let all = bench.until(&format!("failed dnsendpoint {kind}")).await;
        let concluded = |line: &String| line.starts_with("gone") || line.starts_with("listed");
        assert!(all[0].starts_with("changed dnsendpoint/shop/refused: refused.test. 192.0.2.1"), "{all:#?}");
        assert!(!all.iter().any(concluded), "{all:#?}");
        // Such failures are said once, until a write succeeds.
        bench.fake.fault("/status", None);
        let written = bench.fake.patches().len();
        bench.fake.put(ENDPOINTS, endpoint("accepted", status.into(), 0));
        bench.until("changed dnsendpoint/shop/accepted").await;
        let heard = async {
            while bench.fake.patches().len() == written {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), heard).await.unwrap();
        bench.within(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_kubeconfig_may_be_missing_wrong_and_replaced() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let other = Fake::start().await;
    other.put(INGRESSES, ingress("b", "b.test"));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Pause).await;
    let file = bench.folder.path().join("kubeconfig");
    std::fs::remove_file(&file).unwrap();
    bench.orders.send(Order::Watch).await.unwrap();
    let all = bench.until("failed all config").await;
    assert!(all[0].starts_with("KubeconfigAvailable=false: ") && all[0].contains("No such file"), "{all:#?}");
    std::fs::write(&file, "contexts: 7").unwrap();
    let all = bench.until("KubeconfigValid=false").await;
    assert!(all.contains(&"KubeconfigAvailable=true: Read".to_owned()), "{all:#?}");
    std::fs::write(&file, kubeconfig(&bench.fake.url)).unwrap();
    bench.until("listed ingress [ingress/shop/a").await;
    std::fs::write(&file, kubeconfig(&other.url)).unwrap();
    bench.until("listed ingress [ingress/shop/b").await;
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_says_so_and_is_tried_again() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    fake.fault("/apis", Some(Fault::Status(503)));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
    let all = bench.until("failed all server: ").await;
    assert!(all.iter().any(|line| line.starts_with("ClusterAvailable=false: http://127.0.0.1")), "{all:#?}");
    bench.fake.fault("/apis", None);
    let all = bench.until("synced").await;
    assert!(all.contains(&"ClusterAvailable=true: Answers".to_owned()), "{all:#?}");
    // Only now has everything been tried; said before, it would have been lost.
    let place = |text: &str| all.iter().position(|line| line.starts_with(text));
    assert!(place("listed ingress [ingress/shop/a").is_some(), "{all:#?}");
    assert_eq!(place("synced"), Some(all.len() - 1), "{all:#?}");
}

#[tokio::test]
async fn orders_sync_once_and_pause() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Sync).await;
    bench.until("synced").await;
    assert!(bench.fake.requests("watch=true").is_empty());
    bench.orders.send(Order::Watch).await.unwrap();
    bench.until("listed ingress").await;
    bench.fake.put(INGRESSES, ingress("b", "b.test"));
    bench.until("changed ingress/shop/b").await;
    bench.orders.send(Order::Pause).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.fake.put(INGRESSES, ingress("c", "c.test"));
    let quiet = bench.within(Duration::from_millis(400)).await;
    assert!(!quiet.iter().any(|line| line.contains("shop/c")), "{quiet:#?}");
    bench.orders.send(Order::Sync).await.unwrap();
    bench.until("ingress/shop/c").await;
}

#[tokio::test]
async fn a_bookmark_is_a_sign_of_life_and_a_version() {
    let fake = Fake::start().await;
    fake.put(INGRESSES, ingress("a", "a.test"));
    let mut bench = Bench::start(fake, &[ObjectKind::Ingress], Order::Watch).await;
    bench.until("synced").await;
    bench
        .fake
        .tell(INGRESSES, json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "777"}}}));
    let alive = async {
        while let Some((_, report)) = bench.reports.recv().await {
            if matches!(report, Report::Alive(_)) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), alive).await.unwrap();
    bench.fake.fault("/ingresses", Some(Fault::CutWatch));
    bench.until("the watch broke off").await;
    assert!(!bench.fake.requests("resourceVersion=777").is_empty());
}
