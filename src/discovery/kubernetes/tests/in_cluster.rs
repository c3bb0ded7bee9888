//! The way in from a pod: a service account's token and certificate authority in files, over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::connection::{Access, ServiceAccount};
use super::super::driver::Settings;
use super::super::fake::Fake;
use super::driver::{Bench, INGRESSES, ingress};
use crate::discovery::claim::ObjectKind;
use crate::discovery::source::Order;

/// TLS in front of a fake server, ended with the test's runtime: its port, and the certificate to trust.
async fn front(fake: &Fake) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = fake.url.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(behind).await.unwrap();
                tokio::io::copy_bidirectional(&mut stream, &mut server).await.unwrap_or_default();
            });
        }
    });
    (port, made.cert.pem())
}

fn account(folder: &Path, port: u16) -> impl FnOnce(Settings) -> Settings {
    let server = Some(("127.0.0.1".into(), port.to_string().into()));
    let account = ServiceAccount { folder: folder.to_owned(), server };
    move |settings| Settings { access: Access::InCluster(account), ..settings }
}

#[tokio::test]
async fn a_pod_comes_in_by_its_service_account() {
    let fake = Fake::start().await;
    fake.admit("first");
    fake.put(INGRESSES, ingress("a", "a.test"));
    let (port, authority) = front(&fake).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), &authority).unwrap();
    let adapt = account(folder.path(), port);
    let mut bench = Bench::adapted(fake, &[ObjectKind::Ingress], Order::Watch, adapt).await;
    // The volume is not there yet; then with a token that is not let in; then with one that is.
    let all = bench.until("failed all config: in the cluster: ").await;
    assert!(all.last().unwrap().contains("/token: No such file"), "{all:#?}");
    assert!(all[0].starts_with("KubeconfigAvailable=false: in the cluster: "), "{all:#?}");
    std::fs::write(folder.path().join("token"), "wrong").unwrap();
    bench.until("failed all unauthorized: ").await;
    std::fs::write(folder.path().join("token"), "first").unwrap();
    let all = bench.until("listed ingress [ingress/shop/a: a.test.").await;
    assert!(all.contains(&"ClusterAvailable=true: Answers".to_owned()), "{all:#?}");
    assert!(all.contains(&"answers".to_owned()), "{all:#?}");

    // The kubelet rotates it: the client reads it again within a minute, and until then what stands stands.
    if std::env::var_os("HALE_LONG").is_none() {
        return;
    }
    std::fs::write(folder.path().join("token"), "second").unwrap();
    bench.fake.admit("second");
    bench.until("failed ingress unauthorized: ").await;
    let rotated = std::time::Instant::now();
    loop {
        bench.fake.put(INGRESSES, ingress("b", "b.test"));
        let all = bench.within(Duration::from_secs(2)).await;
        assert!(!all.iter().any(|line| line.starts_with("gone") || line.starts_with("listed")), "{all:#?}");
        if all.iter().any(|line| line.starts_with("changed ingress/shop/b: b.test.")) {
            break;
        }
        assert!(rotated.elapsed() < Duration::from_secs(90), "the token is not read again");
    }
}

#[tokio::test]
async fn what_is_no_pod_says_so_and_a_stranger_is_not_trusted() {
    let fake = Fake::start().await;
    let (port, _) = front(&fake).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "t").unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.crt"), other.cert.pem()).unwrap();
    let adapt = account(folder.path(), port);
    let mut bench = Bench::adapted(fake, &[ObjectKind::Ingress], Order::Sync, adapt).await;
    bench.until("failed all tls: ").await;

    let nowhere = ServiceAccount { folder: folder.path().to_owned(), server: None };
    let adapt = |settings| Settings { access: Access::InCluster(nowhere), ..settings };
    let mut bench = Bench::adapted(Fake::start().await, &[ObjectKind::Ingress], Order::Sync, adapt).await;
    let all = bench.until("failed all config: ").await;
    assert!(all.last().unwrap().contains("KUBERNETES_SERVICE_HOST"), "{all:#?}");
}
