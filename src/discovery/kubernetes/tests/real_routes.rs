//! Every kind with a CRD, read from a real API server: found, gone with its CRD, and found again. And the way in from a pod.
//!
//! The CRDs take any object, unless `KUBE_CRDS` names a folder with those of the projects, as `GROUP_PLURAL.yaml`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::connection::{Access, ServiceAccount};
use super::super::driver::{Settings, run};
use super::driver::say;
use super::options;
use super::real::{CRDS, ENDPOINTS, INGRESSES, Server, endpoint, ingress, kubeconfig, pace, until};
use crate::discovery::claim::ObjectKind;
use crate::discovery::source::{Order, Orders, Report, Reporter};

const GATEWAY: &str = "gateway.networking.k8s.io";
const TRAEFIK: [&str; 2] = ["traefik.io", "traefik.containo.us"];

/// Group, version, plural and kind of what comes with CRDs of others.
const KINDS: [(&str, &str, &str, &str); 9] = [
    (TRAEFIK[0], "v1alpha1", "ingressroutes", "IngressRoute"),
    (TRAEFIK[0], "v1alpha1", "ingressroutetcps", "IngressRouteTCP"),
    (TRAEFIK[1], "v1alpha1", "ingressroutes", "IngressRoute"),
    (TRAEFIK[1], "v1alpha1", "ingressroutetcps", "IngressRouteTCP"),
    (GATEWAY, "v1", "gateways", "Gateway"),
    (GATEWAY, "v1", "httproutes", "HTTPRoute"),
    (GATEWAY, "v1", "grpcroutes", "GRPCRoute"),
    (GATEWAY, "v1", "tlsroutes", "TLSRoute"),
    ("externaldns.k8s.io", "v1alpha1", "dnsendpoints", "DNSEndpoint"),
];

/// What is reported of the objects below, each in some line.
const CLAIMS: [&str; 9] = [
    "ingressroute/default/new: new.test. default [Http(None)]",
    "ingressroutetcp/default/newtcp: newtcp.test. default [Tls(None)]",
    "legacyingressroute/default/old: old.test. default [Http(None)]",
    "legacyingressroutetcp/default/oldtcp: oldtcp.test. default [Tls(None)]",
    "httproute/default/http: http.test. 192.0.2.7 [Http(Some(80))]",
    "grpcroute/default/grpc: grpc.test. 192.0.2.7 [Http(Some(80))]",
    "tlsroute/default/tls: tls.test. 192.0.2.7 [Tls(Some(443))]",
    "dnsendpoint/default/e: e.test. 192.0.2.1",
    "ingress/default/a: a.test. 192.0.2.1",
];

fn crd(group: &str, version: &str, plural: &str, kind: &str) -> String {
    if let Some(folder) = std::env::var_os("KUBE_CRDS") {
        let text = std::fs::read_to_string(Path::new(&folder).join(format!("{group}_{plural}.yaml")));
        if let Ok(text) = text {
            let start = text.find("apiVersion:").unwrap();
            return text[start..].to_owned();
        }
    }
    let singular = kind.to_lowercase();
    // Groups below k8s.io have to say so.
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": singular, "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": version, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    .to_string()
}

fn list(group: &str, version: &str, plural: &str) -> String {
    format!("/apis/{group}/{version}/namespaces/default/{plural}")
}

fn traefik(group: &str, kind: &str, name: &str, rule: &str) -> Value {
    let mut route = json!({"match": rule, "services": [{"name": "x", "port": 80}]});
    let mut spec = json!({});
    match kind {
        "IngressRoute" => route["kind"] = json!("Rule"),
        _ => spec["tls"] = json!({"passthrough": true}),
    }
    spec["routes"] = json!([route]);
    json!({"apiVersion": format!("{group}/v1alpha1"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn gateway() -> Value {
    let listener =
        |name: &str, port: u16, protocol: &str| json!({"name": name, "port": port, "protocol": protocol});
    let mut tls = listener("tls", 443, "TLS");
    tls["tls"] = json!({"mode": "Passthrough"});
    json!({"apiVersion": format!("{GATEWAY}/v1"), "kind": "Gateway", "metadata": {"name": "gw"},
        "spec": {"gatewayClassName": "c", "listeners": [listener("web", 80, "HTTP"), tls]},
        "status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.7"}]}})
}

fn route(kind: &str, name: &str, section: &str) -> Value {
    let parent = json!({"name": "gw", "sectionName": section});
    let condition = json!({"type": "Accepted", "status": "True", "observedGeneration": 1, "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({"apiVersion": format!("{GATEWAY}/v1"), "kind": kind, "metadata": {"name": name},
        "spec": {"hostnames": [format!("{name}.test")], "parentRefs": [parent], "rules": [{"backendRefs": [{"name": "x", "port": 80}]}]},
        "status": {"parents": [{"parentRef": parent, "controllerName": "example.net/c", "conditions": [condition]}]}})
}

/// Installs every CRD, and creates an object of each kind.
async fn install(server: &Server) {
    for (group, version, plural, kind) in KINDS {
        server.send(Method::POST, CRDS, &crd(group, version, plural, kind)).await;
    }
    for (group, version, plural, _) in KINDS {
        server.until_served(&list(group, version, plural)).await;
    }
    for (group, name) in TRAEFIK.into_iter().zip(["new", "old"]) {
        let object = traefik(group, "IngressRoute", name, &format!("Host(`{name}.test`) && PathPrefix(`/`)"));
        server.create(&list(group, "v1alpha1", "ingressroutes"), object).await;
        let name = format!("{name}tcp");
        let object = traefik(group, "IngressRouteTCP", &name, &format!("HostSNI(`{name}.test`)"));
        server.create(&list(group, "v1alpha1", "ingressroutetcps"), object).await;
    }
    server.create(&list(GATEWAY, "v1", "gateways"), gateway()).await;
    for (kind, plural, name, section) in [
        ("HTTPRoute", "httproutes", "http", "web"),
        ("GRPCRoute", "grpcroutes", "grpc", "web"),
        ("TLSRoute", "tlsroutes", "tls", "tls"),
    ] {
        server.create(&list(GATEWAY, "v1", plural), route(kind, name, section)).await;
    }
    server.create(ENDPOINTS, endpoint("e")).await;
}

/// A driver that watches the server, with what it reports.
struct Watched {
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<(usize, Report)>,
    task: JoinHandle<()>,
}

impl Watched {
    async fn start(access: Access) -> Self {
        let kinds = ObjectKind::ALL.into_iter().filter(|kind| !kind.is_router()).collect();
        let (options, labels) = (Arc::new(options()), Box::default());
        let settings = Settings { access, namespaces: Vec::new(), kinds, labels, options, pace: pace() };
        let (sender, reports) = Reporter::channel();
        let (orders, inbox) = Orders::channel();
        let task = tokio::spawn(run(settings, Reporter::new(0, sender), inbox));
        orders.send(Order::Watch).await.unwrap();
        Self { orders, reports, task }
    }

    /// Reads until every one of these texts was in some line; gives all lines.
    async fn until_all<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
        let (mut wanted, mut all): (BTreeSet<&str>, Vec<String>) = (texts.into_iter().collect(), Vec::new());
        let found = async {
            while !wanted.is_empty() {
                let (_, report) = self.reports.recv().await.unwrap();
                let Some(line) = say(&report) else { continue };
                wanted.retain(|text| !line.contains(text));
                all.push(line);
            }
        };
        let found = timeout(Duration::from_secs(60), found).await;
        assert!(found.is_ok(), "no {wanted:?} in {all:#?}");
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_read_goes_with_its_crd_and_comes_back() {
    let Some(server) = Server::documented().await else { return };
    server.create(INGRESSES, ingress("a", "a.test")).await;
    install(&server).await;
    let file = server.folder.path().join("hale");
    std::fs::write(&file, kubeconfig(server.folder.path(), server.port, "hale-token")).unwrap();
    let mut watched = Watched::start(Access::Kubeconfig { file, context: None }).await;
    let all = watched.until_all(CLAIMS.into_iter().chain(["synced"])).await;
    assert!(!all.iter().any(|line| line.starts_with("failed")), "the documented role suffices: {all:#?}");
    assert!(!all.iter().any(|line| line.starts_with("not installed")), "{all:#?}");

    for (group, _, plural, _) in KINDS {
        server.send(Method::DELETE, &format!("{CRDS}/{plural}.{group}"), "").await;
    }
    let kinds = [
        "ingressroute",
        "ingressroutetcp",
        "legacyingressroute",
        "legacyingressroutetcp",
        "httproute",
        "grpcroute",
        "tlsroute",
        "dnsendpoint",
    ];
    let gone = kinds.map(|kind| format!("not installed {kind}"));
    let all = watched.until_all(gone.iter().map(String::as_str)).await;
    let concluded = |line: &String| line.starts_with("gone") || line.starts_with("listed");
    assert!(!all.iter().any(concluded), "what goes with its CRD takes no name away: {all:#?}");

    // Deletion takes its time: the next ones of the same name have to wait for it.
    for (group, _, plural, _) in KINDS {
        let gone = async {
            while server.send(Method::GET, CRDS, "").await["items"]
                .as_array()
                .unwrap()
                .iter()
                .any(|crd| crd["metadata"]["name"] == format!("{plural}.{group}"))
            {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.expect("the CRD goes");
    }
    install(&server).await;
    watched.until_all(CLAIMS.into_iter().filter(|claim| !claim.starts_with("ingress/"))).await;
    drop(watched.orders);
    watched.task.await.unwrap();
}

/// A token of the server's own making, for the service account `hale`.
async fn token(server: &Server) -> String {
    let path = "/api/v1/namespaces/default/serviceaccounts/hale/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let made = server.send(Method::POST, path, &request.to_string()).await;
    made["status"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_comes_in_by_its_service_account() {
    let Some(server) = Server::documented().await else { return };
    server.create(INGRESSES, ingress("a", "a.test")).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hale"}});
    server.send(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account.to_string()).await;
    let folder = tempfile::tempdir().unwrap();
    let authority = server.folder.path().join("certificates/apiserver.crt");
    std::fs::copy(authority, folder.path().join("ca.crt")).unwrap();
    std::fs::write(folder.path().join("token"), token(&server).await).unwrap();
    let address = Some(("127.0.0.1".into(), server.port.to_string().into()));
    let pod = ServiceAccount { folder: folder.path().to_owned(), server: address };
    let mut watched = Watched::start(Access::InCluster(pod)).await;
    let all = until(&mut watched.reports, "synced").await;
    assert!(
        all.iter().any(|line| line.starts_with("listed ingress [ingress/default/a: a.test.")),
        "{all:#?}"
    );
    assert!(!all.iter().any(|line| line.starts_with("failed")), "the documented role suffices: {all:#?}");

    // The account is made anew, which ends its tokens; the kubelet then writes another one into the file. It is read within a minute.
    let path = "/api/v1/namespaces/default/serviceaccounts";
    server.send(Method::DELETE, &format!("{path}/hale"), "").await;
    server.send(Method::POST, path, &account.to_string()).await;
    until(&mut watched.reports, "failed ingress unauthorized").await;
    std::fs::write(folder.path().join("token"), token(&server).await).unwrap();
    let renewed = std::time::Instant::now();
    server.create(INGRESSES, ingress("b", "b.test")).await;
    let mut all = Vec::new();
    let heard = async {
        loop {
            let (_, report) = watched.reports.recv().await.unwrap();
            let Some(line) = say(&report) else { continue };
            let found = line.contains("ingress/default/b: b.test.");
            all.push(line);
            if found {
                return;
            }
        }
    };
    assert!(timeout(Duration::from_secs(90), heard).await.is_ok(), "the token is not read again: {all:#?}");
    assert!(!all.iter().any(|line| line.starts_with("gone")), "{:?}: {all:#?}", renewed.elapsed());
    watched.task.abort();
}
