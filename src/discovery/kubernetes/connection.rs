//! The way into a cluster: a kubeconfig or the pod's own service account, and the conditions that say how it stands.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::discovery::source::{Condition, Failure, FailureKind, Report, Reporter};

use super::api::Api;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By a file.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The context in it; its current one unless given.
        context: Option<Box<str>>,
    },
    /// By the service account of the pod that Hale runs in.
    InCluster(ServiceAccount),
}

/// What a pod is given to reach its API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The folder with `token` and `ca.crt`.
    pub folder: PathBuf,
    /// Host and port of the API server, if the environment says them.
    pub server: Option<(Box<str>, Box<str>)>,
}

impl ServiceAccount {
    /// That of this pod: the places are the same in every one, so that no key names them.
    pub fn of_this_pod() -> Self {
        let variable = |name: &str| std::env::var(name).ok().map(String::into_boxed_str);
        Self {
            folder: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
            server: variable("KUBERNETES_SERVICE_HOST").zip(variable("KUBERNETES_SERVICE_PORT")),
        }
    }

    /// The client reads token and certificates again by itself, at least once a minute. As `Config::incluster` of the client library has it, but
    /// with the file in what it says when one is missing.
    fn config(&self) -> Result<Config, String> {
        let Some((host, port)) = &self.server else {
            return Err(
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod of a cluster".into(),
            );
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let url = format!("https://{host}:{port}");
        let mut config = Config::new(url.parse().map_err(|error| format!("{url}: {error}"))?);
        let file = |name: &str| {
            let path = self.folder.join(name);
            match std::fs::metadata(&path) {
                Ok(_) => Ok(path),
                Err(error) => Err(format!("{}: {error}", path.display())),
            }
        };
        let authority = file("ca.crt")?;
        let certificates = CertificateDer::pem_file_iter(&authority)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("{}: {error}", authority.display()))?;
        config.root_cert = Some(certificates.iter().map(|one| one.to_vec()).collect());
        config.root_cert_file = Some(authority);
        config.auth_info.token_file = Some(file("token")?.display().to_string());
        Ok(config)
    }
}

/// The conditions of a cluster; each is reported when it changes.
pub struct Conditions {
    reporter: Reporter,
    last: BTreeMap<&'static str, (bool, Box<str>)>,
}

/// The file of a kubeconfig (or service account) can be read.
const AVAILABLE: &str = "KubeconfigAvailable";
/// It says how to reach a cluster.
const VALID: &str = "KubeconfigValid";
/// The cluster answers.
const CLUSTER: &str = "ClusterAvailable";

impl Conditions {
    /// None is known yet.
    pub fn new(reporter: Reporter) -> Self {
        Self { reporter, last: BTreeMap::new() }
    }

    async fn set(&mut self, kind: &'static str, holds: bool, reason: &str) {
        let now = (holds, Box::from(reason));
        if self.last.get(kind) != Some(&now) {
            self.last.insert(kind, now);
            self.reporter.send(Report::Condition(Condition { kind, holds, reason: reason.into() })).await;
        }
    }

    /// The cluster answered.
    pub async fn answered(&mut self) {
        self.set(CLUSTER, true, "Answers").await;
    }

    /// A call failed. A refusal is an answer; what only the resource lacks says nothing about the cluster.
    pub async fn failed(&mut self, failure: &Failure) {
        match failure.kind {
            FailureKind::Forbidden | FailureKind::NotFound | FailureKind::Gone | FailureKind::Client => {
                self.answered().await;
            }
            _ => self.set(CLUSTER, false, &failure.text).await,
        }
    }
}

/// Connects to nothing yet, but reads everything that is needed for it. `timeout` is that of one request.
///
/// # Errors
/// What of the files cannot be used; the conditions say it too.
pub async fn open(
    access: &Access,
    conditions: &mut Conditions,
    reporter: &Reporter,
    timeout: Duration,
) -> Result<Api, Failure> {
    let config = match access {
        Access::Kubeconfig { file, context } => {
            if let Err(error) = std::fs::metadata(file) {
                let text = format!("{}: {error}", file.display());
                conditions.set(AVAILABLE, false, &text).await;
                return Err(Failure::new(FailureKind::Config, text));
            }
            conditions.set(AVAILABLE, true, "Read").await;
            from_file(file, context.as_deref()).await
        }
        Access::InCluster(account) => match account.config() {
            Ok(config) => {
                conditions.set(AVAILABLE, true, "InCluster").await;
                Ok(config)
            }
            Err(error) => {
                let text = format!("in the cluster: {error}");
                conditions.set(AVAILABLE, false, &text).await;
                return Err(Failure::new(FailureKind::Config, text));
            }
        },
    };
    let opened = config.and_then(|mut config| {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Retries are ours, so that each request is counted and each failure is seen.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| sentence(&error))?;
        Ok(Api::new(client, server.trim_end_matches('/'), reporter.clone(), timeout))
    });
    match opened {
        Ok(api) => {
            conditions.set(VALID, true, "Understood").await;
            Ok(api)
        }
        Err(text) => {
            conditions.set(VALID, false, &text).await;
            Err(Failure::new(FailureKind::Config, text))
        }
    }
}

async fn from_file(file: &Path, context: Option<&str>) -> Result<Config, String> {
    let named = |error: &dyn StdError| format!("{}: {}", file.display(), sentence(error));
    let kubeconfig = Kubeconfig::read_from(file).map_err(|error| named(&error))?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| named(&error))
}

/// A number that changes with the kubeconfig or the certificates and keys that it names. Token files and service accounts are read again by
/// the client itself.
pub fn fingerprint(access: &Access) -> u64 {
    let Access::Kubeconfig { file, .. } = access else { return 0 };
    let mut hasher = DefaultHasher::new();
    std::fs::read(file).ok().hash(&mut hasher);
    if let Ok(kubeconfig) = Kubeconfig::read_from(file) {
        let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
        let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
        let authorities = clusters.filter_map(|cluster| cluster.certificate_authority.as_ref());
        let keys = users.flat_map(|user| [&user.client_certificate, &user.client_key]).flatten();
        for path in authorities.chain(keys) {
            std::fs::read(path).ok().hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// An error with its causes in one line.
fn sentence(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
