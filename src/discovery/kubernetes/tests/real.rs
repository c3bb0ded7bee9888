//! The driver against a real API server with etcd, where `KUBE_APISERVER_BIN` and `ETCD_BIN` name the programs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, Request};
use kube::client::{Body, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::connection::Access;
use super::super::driver::{Settings, run};
use super::super::watch::Pace;
use super::driver::say;
use super::options;
use crate::discovery::claim::ObjectKind;
use crate::discovery::source::{Order, Orders, Report, Reporter};

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[String], log: &Path) -> Program {
    let log = std::fs::File::create(log).unwrap();
    let child =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    Program(child.unwrap())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An API server with etcd, without admission that creates objects of its own.
pub(super) struct Server {
    pub(super) folder: tempfile::TempDir,
    api: Program,
    _etcd: Program,
    pub(super) port: u16,
    etcd_port: u16,
    admin: Client,
}

impl Server {
    /// A server with the role that docs/kubernetes.md gives, and a user `hale` who has it; `None` where no programs are named, which is said.
    // It says that it was skipped.
    #[allow(clippy::print_stderr)]
    pub(super) async fn documented() -> Option<Self> {
        let (Ok(etcd), Ok(apiserver)) = (std::env::var("ETCD_BIN"), std::env::var("KUBE_APISERVER_BIN"))
        else {
            eprintln!("skipped: ETCD_BIN and KUBE_APISERVER_BIN do not both name a program");
            return None;
        };
        let server = Self::start(&etcd, &apiserver).await;
        server.send(Method::POST, ROLES, &documented_role()).await;
        let group = "rbac.authorization.k8s.io";
        let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "hale"},
            "subjects": [{"kind": "User", "name": "hale", "apiGroup": group},
                {"kind": "ServiceAccount", "name": "hale", "namespace": "default"}],
            "roleRef": {"kind": "ClusterRole", "name": "hale", "apiGroup": group}});
        server
            .send(Method::POST, &format!("/apis/{group}/v1/clusterrolebindings"), &binding.to_string())
            .await;
        Some(server)
    }

    async fn start(etcd: &str, apiserver: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (client_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let arguments = [
            format!("--data-dir={}", path("etcd")),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
        ];
        let etcd = start(etcd, &arguments, &folder.path().join("etcd.log"));
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(path("public.pem"), key.public_key_pem()).unwrap();
        std::fs::write(path("tokens.csv"), "admin-token,admin,1,\"system:masters\"\nhale-token,hale,2\n")
            .unwrap();
        let arguments = [
            format!("--etcd-servers={etcd_url}"),
            format!("--cert-dir={}", path("certificates")),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--watch-cache=false".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://test.invalid".to_owned(),
            format!("--service-account-key-file={}", path("public.pem")),
            format!("--service-account-signing-key-file={}", path("key.pem")),
            format!("--token-auth-file={}", path("tokens.csv")),
        ];
        let api = start(apiserver, &arguments, &folder.path().join("apiserver.log"));
        let ready = async {
            while !folder.path().join("certificates/apiserver.crt").exists() {
                sleep(Duration::from_millis(200)).await;
            }
            let file = folder.path().join("admin");
            std::fs::write(&file, kubeconfig(folder.path(), port, "admin-token")).unwrap();
            let kubeconfig = kube::config::Kubeconfig::read_from(&file).unwrap();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
            let admin = Client::try_from(config).unwrap();
            loop {
                let request = Request::get("/readyz").body(Body::empty()).unwrap();
                if admin.send(request).await.is_ok_and(|response| response.status() == 200) {
                    return admin;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        let admin = timeout(Duration::from_secs(120), ready).await.expect("the API server is ready");
        Self { folder, api, _etcd: etcd, port, etcd_port: client_port, admin }
    }

    /// Sends JSON (or YAML, which is what a text that starts with a letter is) and gives the response.
    pub(super) async fn send(&self, method: Method, path: &str, body: &str) -> Value {
        let kind = match (&method, body.starts_with('a')) {
            (&Method::PATCH, _) => "application/merge-patch+json",
            (_, true) => "application/yaml",
            _ => "application/json",
        };
        let request = Request::builder().method(&method).uri(path).header("content-type", kind);
        let request =
            request.header("accept", "application/json").body(Body::from(body.as_bytes().to_vec())).unwrap();
        let response = self.admin.send(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect_bytes().await.unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert!(status.is_success(), "{method} {path}: {value}");
        value
    }

    /// Creates an object in the namespace `default`, and writes its status.
    pub(super) async fn create(&self, resource: &str, object: Value) {
        let path = format!("{resource}/{}", object["metadata"]["name"].as_str().unwrap());
        self.send(Method::POST, resource, &object.to_string()).await;
        if !object["status"].is_null() {
            let status = json!({"status": object["status"]}).to_string();
            self.send(Method::PATCH, &format!("{path}/status"), &status).await;
        }
    }

    /// Waits until this list is served, which takes a moment after its CRD is there.
    pub(super) async fn until_served(&self, path: &str) {
        let served = async {
            loop {
                let request = Request::get(path).body(Body::empty()).unwrap();
                if self.admin.send(request).await.is_ok_and(|response| response.status() == 200) {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(30), served).await.expect(path);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.api.0.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Forgets all revisions before the present one.
    async fn compact(&self) {
        let range = self.etcd("/v3/kv/range", json!({"key": "AA=="})).await;
        let revision = range["header"]["revision"].as_str().unwrap().to_owned();
        self.etcd("/v3/kv/compaction", json!({"revision": revision, "physical": true})).await;
    }

    async fn etcd(&self, path: &str, body: Value) -> Value {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.etcd_port)).await.unwrap();
        let body = body.to_string();
        let head = format!("POST {path} HTTP/1.0\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        serde_json::from_str(response.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    }
}

pub(super) fn kubeconfig(folder: &Path, port: u16, token: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": folder.join("certificates/apiserver.crt")}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]})
    .to_string()
}

/// The lines of all reports up to one that holds the text.
pub(super) async fn until(reports: &mut mpsc::Receiver<(usize, Report)>, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let found = async {
        while let Some((_, report)) = reports.recv().await {
            let Some(line) = say(&report) else { continue };
            let found = line.contains(text);
            all.push(line);
            if found {
                return;
            }
        }
    };
    let found = timeout(Duration::from_secs(60), found).await;
    assert!(found.is_ok(), "no {text:?} in {all:#?}");
    all
}

pub(super) const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
pub(super) const ENDPOINTS: &str = "/apis/externaldns.k8s.io/v1alpha1/namespaces/default/dnsendpoints";
pub(super) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

pub(super) fn ingress(name: &str, host: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"rules": [{"host": host}], "defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
}

pub(super) fn endpoint(name: &str) -> Value {
    json!({"apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint", "metadata": {"name": name},
        "spec": {"endpoints": [{"dnsName": format!("{name}.test"), "recordType": "A", "targets": ["192.0.2.1"]}]}})
}

/// The role of docs/kubernetes.md.
fn documented_role() -> String {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kubernetes.md")).unwrap();
    page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// Short times, so that a test takes few.
pub(super) fn pace() -> Pace {
    let seconds = Duration::from_secs;
    Pace {
        request: seconds(3),
        watch: seconds(2),
        grace: seconds(2),
        silence: seconds(4),
        discovery: seconds(1),
        files: seconds(1),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_api_server_is_followed_through_its_troubles() {
    let Some(server) = Server::documented().await else { return };
    server.create(INGRESSES, ingress("a", "a.test")).await;

    let file = server.folder.path().join("hale");
    std::fs::write(&file, kubeconfig(server.folder.path(), server.port, "hale-token")).unwrap();
    let seconds = Duration::from_secs;
    let settings = Settings {
        access: Access::Kubeconfig { file: file.clone(), context: None },
        namespaces: Vec::new(),
        kinds: vec![ObjectKind::Ingress, ObjectKind::Service, ObjectKind::DnsEndpoint],
        labels: Box::default(),
        options: Arc::new(options()),
        pace: pace(),
    };
    let (sender, mut reports) = Reporter::channel();
    let (orders, inbox) = Orders::channel();
    let driver = tokio::spawn(run(settings, Reporter::new(0, sender), inbox));
    orders.send(Order::Watch).await.unwrap();
    let all = until(&mut reports, "synced").await;
    assert!(
        all.contains(&"listed ingress [ingress/default/a: a.test. 192.0.2.1 [Http(None)]]".to_owned()),
        "{all:#?}"
    );
    assert!(all.contains(&"not installed dnsendpoint".to_owned()), "{all:#?}");
    assert!(!all.iter().any(|line| line.starts_with("failed")), "the documented role suffices: {all:#?}");

    // A change, within a second.
    let started = std::time::Instant::now();
    server.create(INGRESSES, ingress("b", "b.test")).await;
    until(&mut reports, "changed ingress/default/b: b.test. 192.0.2.1").await;
    assert!(started.elapsed() < seconds(1), "{:?}", started.elapsed());
    server.send(Method::DELETE, &format!("{INGRESSES}/b"), "").await;
    until(&mut reports, "gone ingress/default/b").await;

    // A CRD comes, its objects' statuses are written, it goes, and comes again.
    let crd = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubernetes/dnsendpoint-crd.json"),
    );
    let crd = crd.unwrap();
    server.send(Method::POST, CRDS, &crd).await;
    until(&mut reports, "listed dnsendpoint []").await;
    server.create(ENDPOINTS, endpoint("e")).await;
    until(&mut reports, "changed dnsendpoint/default/e: e.test. 192.0.2.1").await;
    server.create(ENDPOINTS, endpoint("f")).await;
    until(&mut reports, "changed dnsendpoint/default/f: f.test.").await;
    server.send(Method::DELETE, &format!("{ENDPOINTS}/f"), "").await;
    until(&mut reports, "gone dnsendpoint/default/f").await;
    let written = async {
        while server.send(Method::GET, &format!("{ENDPOINTS}/e"), "").await["status"]["observedGeneration"]
            != json!(1)
        {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(seconds(20), written).await.expect("the status is written");
    server.send(Method::DELETE, &format!("{CRDS}/dnsendpoints.externaldns.k8s.io"), "").await;
    let all = until(&mut reports, "not installed dnsendpoint").await;
    let concluded = |line: &String| line.starts_with("listed dnsendpoint") || line.starts_with("gone");
    assert!(
        !all.iter().any(concluded),
        "its objects are deleted with it, which takes no name away: {all:#?}"
    );
    server.send(Method::POST, CRDS, &crd).await;
    until(&mut reports, "listed dnsendpoint []").await;

    // The watch's version is compacted away: 410, and a new list.
    for number in 0..5 {
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{number}")}});
        server.send(Method::POST, "/api/v1/namespaces/default/configmaps", &map.to_string()).await;
    }
    server.compact().await;
    until(&mut reports, "listed ingress [ingress/default/a: a.test.").await;

    // The server stops, as if its machine hung.
    server.signal(rustix::process::Signal::STOP);
    let all = until(&mut reports, "no word from the API server for 4 s").await;
    assert!(all.iter().any(|line| line.starts_with("ClusterAvailable=false")), "{all:#?}");
    assert!(!all.iter().any(|line| line.starts_with("gone") || line.starts_with("listed")), "{all:#?}");
    server.signal(rustix::process::Signal::CONT);
    until(&mut reports, "ClusterAvailable=true").await;

    // The role loses Ingresses, and gets them back.
    let role = json!({"rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}]});
    let kept = server.send(Method::GET, &format!("{ROLES}/hale"), "").await["rules"].clone();
    server.send(Method::PATCH, &format!("{ROLES}/hale"), &role.to_string()).await;
    let all = until(&mut reports, "failed ingress forbidden").await;
    assert!(!all.iter().any(|line| line.starts_with("gone ingress")), "{all:#?}");
    server.send(Method::PATCH, &format!("{ROLES}/hale"), &json!({"rules": kept}).to_string()).await;
    server.create(INGRESSES, ingress("c", "c.test")).await;
    until(&mut reports, "ingress/default/c: c.test. 192.0.2.1").await;

    // A token that is no longer valid, and a new one in the file.
    std::fs::write(&file, kubeconfig(server.folder.path(), server.port, "expired")).unwrap();
    let all = until(&mut reports, "unauthorized").await;
    assert!(!all.iter().any(|line| line.starts_with("gone")), "{all:#?}");
    std::fs::write(&file, kubeconfig(server.folder.path(), server.port, "hale-token")).unwrap();
    until(&mut reports, "listed ingress [ingress/default/a: ").await;
    driver.abort();
}
