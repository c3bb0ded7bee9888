//! HTTP and HTTPS probes against servers in the same process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::model::target::{Check, CheckKind};
use crate::state::tests::Folder;

fn target(address: SocketAddr, kind: CheckKind) -> Target {
    Target {
        address,
        check: Arc::new(Check {
            kind,
            interval_ms: 1000,
            timeout_ms: 500,
            rise: 1,
            fall: 1,
            rules: Default::default(),
        }),
    }
}

type Requests = Arc<Mutex<Vec<String>>>;

/// Answers each connection with what `respond` makes of the request's head, and keeps the requests.
async fn server(
    tls: Option<TlsAcceptor>,
    respond: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let kept = requests.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => serve(stream, &respond, &kept).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &respond, &kept).await;
                    }
                }
            }
        }
    });
    (address, requests)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    respond: &impl Fn(&str) -> Vec<u8>,
    kept: &Requests,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            // A ClientHello.
            Ok(0x16) => break,
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let response = respond(&request);
    kept.lock().unwrap().push(request);
    let _ = stream.write_all(&response).await;
    let _ = stream.shutdown().await;
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn plain(host: &str, path: &str) -> HttpCheck {
    HttpCheck {
        tls: None,
        host: host.into(),
        path: path.into(),
        method: "GET".into(),
        headers: Vec::new(),
        status: vec![(200, 200)],
        body_contains: None,
        body_not: None,
        follow: 0,
        reuse: false,
    }
}

async fn run(address: SocketAddr, check: &HttpCheck) -> Outcome {
    run_with(&Http::default(), &Tls::default(), address, check).await
}

async fn run_with(http: &Http, tls: &Tls, address: SocketAddr, check: &HttpCheck) -> Outcome {
    let target = target(address, CheckKind::Http(Box::new(check.clone())));
    let probe = http.probe(tls, &target, check);
    tokio::time::timeout(Duration::from_secs(10), probe).await.unwrap()
}

/// A word that stands in a failure's reason, or "" for success.
#[track_caller]
fn expect(outcome: &Outcome, reason: &str, what: &str) {
    match outcome {
        Outcome::Success => assert_eq!(reason, "", "{what}: success"),
        Outcome::Failure(found) | Outcome::Unrouted(found) => {
            let is_unrouted = matches!(outcome, Outcome::Unrouted(_));
            assert_eq!(is_unrouted, found.starts_with("the body contains"), "{what}");
            assert!(
                !reason.is_empty() && found.contains(reason),
                "{what}: failure {found:?}, not {reason:?}"
            );
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn status_and_body_decide() {
    let (address, _) = server(None, |request| {
        let far = "x".repeat(BODY_LIMIT);
        match request.split(' ').nth(1).unwrap() {
            "/ok" => response("200 OK", "", "all is well"),
            "/error" => response("503 Service Unavailable", "", "all is well"),
            "/far" => response("200 OK", "", &format!("{far}well")),
            "/edge" => response("200 OK", "", &format!("{}well", &far[4..])),
            "/chunked" => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall w\r\n3\r\nell\r\n0\r\n\r\n"
                    .to_vec()
            }
            "/until-close" => b"HTTP/1.0 200 OK\r\n\r\nall is well".to_vec(),
            "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall is well".to_vec(),
            "/nothing" => Vec::new(),
            "/ssh" => b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
            "/huge-head" => {
                format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 * HEAD_LIMIT)).into_bytes()
            }
            other => panic!("{other}"),
        }
    })
    .await;
    let well = Some("well");
    type Case<'a> = (&'a str, &'a [(u16, u16)], Option<&'a str>, Option<&'a str>, &'a str);
    let cases: [Case<'_>; 19] = [
        ("/ok", &[(200, 200)], None, None, ""),
        ("/ok", &[(301, 399)], None, None, "status 200"),
        ("/ok", &[(301, 399), (100, 299)], None, None, ""),
        ("/error", &[(200, 399)], None, None, "status 503"),
        ("/error", &[(503, 503)], well, None, ""),
        ("/ok", &[(200, 200)], well, None, ""),
        ("/ok", &[(200, 200)], Some("ill"), None, "does not contain \"ill\""),
        ("/ok", &[(200, 200)], None, Some("ill"), ""),
        ("/ok", &[(200, 200)], None, well, "the body contains \"well\""),
        ("/ok", &[(200, 200)], Some("all"), well, "the body contains \"well\""),
        ("/edge", &[(200, 200)], well, None, ""),
        ("/far", &[(200, 200)], well, None, "does not contain"),
        ("/chunked", &[(200, 200)], well, None, ""),
        ("/until-close", &[(200, 200)], well, None, ""),
        ("/cut", &[(200, 200)], None, None, ""),
        ("/cut", &[(200, 200)], Some("ill"), None, "end of file before message length"),
        ("/nothing", &[(200, 200)], None, None, "closed before the response was complete"),
        ("/ssh", &[(200, 200)], None, None, "HTTP"),
        ("/huge-head", &[(200, 200)], None, None, "HTTP"),
    ];
    for (path, status, body_contains, body_not, reason) in cases {
        let check = HttpCheck {
            status: status.to_vec(),
            body_contains: body_contains.map(Into::into),
            body_not: body_not.map(Into::into),
            ..plain("www.example.test", path)
        };
        expect(&run(address, &check).await, reason, &format!("{check:?}"));
    }
}

#[tokio::test]
async fn the_request_is_what_was_configured() {
    let (address, requests) = server(None, |_| response("200 OK", "", "")).await;
    let check = HttpCheck {
        method: "HEAD".into(),
        headers: vec![
            ("X-Probe".into(), "1".into()),
            ("user-agent".into(), "mine".into()),
            ("x-probe".into(), "2".into()),
        ],
        ..plain("www.example.test:8080", "/healthz?deep=1")
    };
    expect(&run(address, &check).await, "", "request");
    let request = requests.lock().unwrap().remove(0).to_ascii_lowercase();
    let mut lines: Vec<_> = request.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "head /healthz?deep=1 http/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept: */*",
            "connection: close",
            "host: www.example.test:8080",
            "user-agent: mine",
            "x-probe: 1",
            "x-probe: 2"
        ]
    );

    for bad in [
        HttpCheck { headers: vec![("a b".into(), "1".into())], ..plain("a.test", "/") },
        HttpCheck { headers: vec![("a".into(), "1\r\nb: 2".into())], ..plain("a.test", "/") },
        HttpCheck { method: "G T".into(), ..plain("a.test", "/") },
        plain("a b.test", "/"),
        plain("a.test", "/\u{7f} "),
    ] {
        let outcome = run(address, &bad).await;
        assert!(
            matches!(outcome, Outcome::LocalError(_)),
            "our own mistake is no failure of the target: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn redirects_are_followed_only_as_far_as_allowed() {
    let (address, requests) = server(None, |request| match request.split(' ').nth(1).unwrap() {
        "/1" => response("302 Found", "Location: /2\r\n", ""),
        "/2" => response("301 Moved", "Location: http://www.example.test/3\r\n", ""),
        "/3" => response("200 OK", "", "here"),
        "/away" => response("307 Elsewhere", "Location: http://other.example.test/3\r\n", ""),
        "/round" => response("308 Again", "Location: /round\r\n", ""),
        "/nowhere" => response("302 Found", "", ""),
        other => panic!("{other}"),
    })
    .await;
    let cases = [
        ("/1", 0, "status 302"),
        ("/1", 1, "status 301"),
        ("/1", 2, ""),
        ("/1", 9, ""),
        ("/away", 9, "status 307"),
        ("/nowhere", 9, "status 302"),
        ("/round", 3, "status 308"),
    ];
    for (path, follow, reason) in cases {
        requests.lock().unwrap().clear();
        let check = HttpCheck { follow, ..plain("www.example.test", path) };
        expect(&run(address, &check).await, reason, path);
        let count = requests.lock().unwrap().len();
        assert!(count <= usize::from(follow) + 1, "{path}: {count} requests");
    }
    let check = HttpCheck { status: vec![(200, 399)], ..plain("www.example.test", "/away") };
    expect(&run(address, &check).await, "", "a redirect counts by its own status");
}

/// A certificate authority, and servers with certificates of it.
struct Authority {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        let mut authority = Self { folder, issuer: authority().0 };
        authority.renew();
        authority
    }

    /// Becomes another authority and writes its certificate to the same file.
    fn renew(&mut self) {
        let (issuer, pem) = authority();
        self.issuer = issuer;
        std::fs::write(self.ca_file(), pem).unwrap();
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn acceptor(&self, name: &str, expired: bool) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate.der().clone(), &key)
    }
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn acceptor(
    certificate: tokio_rustls::rustls::pki_types::CertificateDer<'static>,
    key: &KeyPair,
) -> TlsAcceptor {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn https(sni: &str, verify: bool, ca_file: Option<PathBuf>) -> HttpCheck {
    HttpCheck {
        tls: Some(TlsCheck {
            sni: sni.into(),
            verify,
            ca_file,
            warn_expires_within_s: None,
            fail_expires_within_s: None,
        }),
        ..plain("www.example.test", "/")
    }
}

#[tokio::test]
async fn certificates_are_verified() {
    let authority = Authority::new();
    let own_key = KeyPair::generate().unwrap();
    let own =
        CertificateParams::new(vec!["www.example.test".to_owned()]).unwrap().self_signed(&own_key).unwrap();
    let name = "www.example.test";
    let fine = || response("200 OK", "", "");
    let (good, _) = server(Some(authority.acceptor(name, false)), move |_| fine()).await;
    let (expired, _) = server(Some(authority.acceptor(name, true)), move |_| fine()).await;
    let (address, _) = server(Some(authority.acceptor("127.0.0.1", false)), move |_| fine()).await;
    let (self_signed, _) = server(Some(acceptor(own.der().clone(), &own_key)), move |_| fine()).await;
    let (plain_http, _) = server(None, move |_| fine()).await;
    let ca = || Some(authority.ca_file());
    let cases = [
        (good, https(name, true, ca()), ""),
        (good, https("www.example.test.", true, ca()), ""),
        (good, https("other.example.test", true, ca()), "not valid for name"),
        (good, https("other.example.test", false, None), ""),
        (expired, https(name, true, ca()), "expired"),
        (expired, https(name, false, None), ""),
        (address, https("127.0.0.1", true, ca()), ""),
        (address, https(name, true, ca()), "not valid for name"),
        (self_signed, https(name, true, ca()), "TLS: invalid peer certificate"),
        (self_signed, https(name, false, None), ""),
        (plain_http, https(name, false, None), "TLS"),
        (good, plain(name, "/"), "HTTP"),
    ];
    for (address, check, reason) in cases {
        expect(&run(address, &check).await, reason, &format!("{check:?}"));
    }
    let missing = https(name, true, Some(authority.folder.path().join("missing.pem")));
    for check in [missing, https("not a name", true, ca())] {
        let outcome = run(good, &check).await;
        assert!(matches!(outcome, Outcome::LocalError(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_ca_file_that_changes_is_read_again() {
    let mut authority = Authority::new();
    let (http, tls) = (Http::default(), Tls::default());
    let check = https("www.example.test", true, Some(authority.ca_file()));
    let (before, _) =
        server(Some(authority.acceptor("www.example.test", false)), |_| response("200 OK", "", "")).await;
    expect(&run_with(&http, &tls, before, &check).await, "", "first authority");
    authority.renew();
    let (after, _) =
        server(Some(authority.acceptor("www.example.test", false)), |_| response("200 OK", "", "")).await;
    expect(&run_with(&http, &tls, after, &check).await, "", "second authority");
    expect(
        &run_with(&http, &tls, before, &check).await,
        "TLS: invalid peer certificate",
        "first server, second authority",
    );
}

#[tokio::test]
async fn a_redirect_to_https_goes_to_the_same_address_and_is_verified() {
    let authority = Authority::new();
    let (secure, requests) =
        server(Some(authority.acceptor("www.example.test", false)), |_| response("200 OK", "", "")).await;
    let location = format!("Location: https://www.example.test:{}/in\r\n", secure.port());
    let (front, _) = server(None, move |_| response("301 Moved", &location, "")).await;
    let check = HttpCheck { follow: 1, ..plain("www.example.test", "/") };
    // Its authority is not among the system's roots (or there are none): the redirect has arrived, and is not trusted.
    let outcome = run(front, &check).await;
    assert!(
        matches!(&outcome, Outcome::Failure(reason) if reason.contains("TLS: invalid peer certificate"))
            || matches!(&outcome, Outcome::LocalError(reason) if reason.contains("root certificates")),
        "{outcome:?}"
    );
    assert_eq!(requests.lock().unwrap().len(), 0);
}

/// Answers every request of every connection, closes after `most` of them, and counts connections.
async fn keeping_server(
    tls: Option<TlsAcceptor>,
    most: usize,
    body: &'static str,
) -> (SocketAddr, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *counted.lock().unwrap() += 1;
            match &tls {
                None => drop(tokio::spawn(answer_many(stream, most, body))),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        tokio::spawn(answer_many(stream, most, body));
                    }
                }
            }
        }
    });
    (address, connections)
}

async fn answer_many<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, most: usize, body: &'static str) {
    for _ in 0..most {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            request.push(byte);
        }
        let _ = stream.write_all(&response("200 OK", "", body)).await;
        let _ = stream.flush().await;
    }
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn a_verdict_does_not_wait_for_the_end_of_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // As an event stream: it begins and does not end.
            let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n";
            let _ = stream.write_all(begun).await;
            open.push(stream);
        }
    });
    let (http, tls) = (Http::default(), Tls::default());
    for reuse in [false, true, true] {
        let check = HttpCheck { reuse, ..plain("www.example.test", "/") };
        expect(&run_with(&http, &tls, address, &check).await, "", "endless");
    }
}

#[tokio::test]
async fn a_connection_is_kept_only_if_it_shall_be() {
    let authority = Authority::new();
    let long: &'static str = Box::leak("x".repeat(BODY_LIMIT + 1).into_boxed_str());
    // Whether it is kept, requests that the server answers on one connection, its body, and connections for six probes.
    for (reuse, most, body, want) in [
        (false, 9, "fine", 6),
        (true, 9, "fine", 1),
        (true, 3, "fine", 2),
        (true, 1, "fine", 6),
        (true, 9, long, 6),
    ] {
        for secure in [false, true] {
            let tls = secure.then(|| authority.acceptor("www.example.test", false));
            let (address, connections) = keeping_server(tls, most, body).await;
            let check = match secure {
                true => https("www.example.test", true, Some(authority.ca_file())),
                false => plain("www.example.test", "/"),
            };
            let check = HttpCheck { reuse, ..check };
            let (http, tls) = (Http::default(), Tls::default());
            for _ in 0..6 {
                expect(&run_with(&http, &tls, address, &check).await, "", "kept");
            }
            assert_eq!(*connections.lock().unwrap(), want, "reuse {reuse}, {most} on one, TLS {secure}");
        }
    }
}

#[tokio::test]
async fn a_handshake_is_a_tls_check_and_its_certificate_is_noted() {
    let authority = Authority::new();
    let (good, _) = server(Some(authority.acceptor("www.example.test", false)), |_| Vec::new()).await;
    let (expired, _) = server(Some(authority.acceptor("www.example.test", true)), |_| Vec::new()).await;
    let (silent, _) = server(None, |_| Vec::new()).await;
    let run = async |address: SocketAddr, check: TlsCheck| {
        let target = target(address, CheckKind::Tls(Box::new(check.clone())));
        let tls = Tls::default();
        let outcome =
            tokio::time::timeout(Duration::from_secs(10), tls.probe(&target, &check)).await.unwrap();
        (outcome, tls.certificates.of(&target), tls.certificates.earliest())
    };
    let check = |sni: &str, verify: bool| TlsCheck {
        sni: sni.into(),
        verify,
        ca_file: verify.then(|| authority.ca_file()),
        warn_expires_within_s: None,
        fail_expires_within_s: None,
    };
    let (outcome, ends, earliest) = run(good, check("www.example.test", true)).await;
    assert_eq!(outcome, Outcome::Success);
    assert!(ends.is_some_and(|s| s > 1_795_132_800) && ends == earliest, "{ends:?}");
    let (outcome, ends, _) = run(good, check("other.example.test", true)).await;
    expect(&outcome, "not valid for name", "another name");
    assert_eq!(ends, None);
    expect(&run(expired, check("www.example.test", true)).await.0, "expired", "expired");
    let (outcome, ends, _) = run(expired, check("www.example.test", false)).await;
    assert_eq!((outcome, ends.is_some()), (Outcome::Success, true), "not verified");
    let strict = TlsCheck { fail_expires_within_s: Some(0), ..check("www.example.test", false) };
    expect(&run(expired, strict).await.0, "the certificate expired", "not verified, but not expired either");
    let warned = TlsCheck { warn_expires_within_s: Some(i64::MAX as u64), ..check("www.example.test", true) };
    let (outcome, ..) = run(good, warned.clone()).await;
    assert!(matches!(&outcome, Outcome::Warning(text) if text.contains("expires in")), "{outcome:?}");
    let (outcome, ..) = run(silent, check("www.example.test", false)).await;
    assert!(matches!(outcome, Outcome::Failure(_)), "no TLS: {outcome:?}");

    // The same of https.
    let (web, _) =
        server(Some(authority.acceptor("www.example.test", false)), |_| response("200 OK", "", "")).await;
    let outcome = self::run(web, &HttpCheck { tls: Some(warned), ..plain("www.example.test", "/") }).await;
    assert!(matches!(&outcome, Outcome::Warning(text) if text.contains("expires in")), "{outcome:?}");
}
