//! gRPC probes against an HTTP/2 server in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Frame;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use tokio::net::TcpListener;

use super::*;
use crate::model::target::{Check, CheckKind};

const SERVING_MESSAGE: &[u8] = b"\0\0\0\0\x02\x08\x01";

fn target(address: std::net::SocketAddr, service: &str, reuse: bool) -> Target {
    let check = GrpcCheck { tls: None, host: "api.example.test".into(), service: service.into(), reuse };
    let kind = CheckKind::Grpc(Box::new(check));
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

async fn run(grpc: &Grpc, target: &Target) -> Outcome {
    let CheckKind::Grpc(check) = &target.check.kind else { panic!() };
    let tls = Tls::default();
    let probe = grpc.probe(&tls, target, check);
    tokio::time::timeout(Duration::from_secs(10), probe).await.unwrap()
}

/// Answers by the name of the service: `message/status`, `headers-only-status`, or something that is not gRPC. Counts connections.
async fn serve() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let connection = server::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    (address, connections)
}

/// A body of prepared frames.
mod frames {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use super::{Bytes, Frame};

    pub(super) struct Frames(pub(super) VecDeque<Frame<Bytes>>);

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(self.0.pop_front().map(Ok))
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<frames::Frames>, hyper::Error> {
    assert_eq!(request.uri().to_string(), "http://api.example.test/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()[TE], "trailers");
    let body = request.into_body().collect().await?.to_bytes();
    let service = match body.len() {
        5 => String::new(),
        _ => String::from_utf8(body[7..].to_vec()).unwrap(),
    };
    assert_eq!(body, message(&service));
    let (data, status): (&[u8], Option<&str>) = match &*service {
        "" | "good" => (SERVING_MESSAGE, Some("0")),
        "bad" => (b"\0\0\0\0\x02\x08\x02", Some("0")),
        "absent" => (b"\0\0\0\0\0", Some("0")),
        "cut" => (b"\0\0\0\0\x02\x08", Some("0")),
        "compressed" => (b"\x01\0\0\0\x02\x08\x01", Some("0")),
        "more" => (b"\0\0\0\0\x08\x12\x02hi\x18\x05\x08\x01", Some("0")),
        "long" => (&[0; BODY_LIMIT + 1], Some("0")),
        "silent" => (SERVING_MESSAGE, None),
        "late-error" => (SERVING_MESSAGE, Some("14")),
        _ => (b"", None),
    };
    let mut frames = std::collections::VecDeque::new();
    frames.push_back(Frame::data(Bytes::from_static(data)));
    if let Some(status) = status {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        frames.push_back(Frame::trailers(trailers));
    }
    let mut response = Response::new(frames::Frames(frames));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    match &*service {
        "unknown" => drop(response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"))),
        "unimplemented" => drop(response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"))),
        "proxy" => *response.status_mut() = hyper::StatusCode::BAD_GATEWAY,
        "web" => drop(response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"))),
        "headers" => {
            for i in 0..2000 {
                let name: hyper::header::HeaderName = format!("x-{i}").parse().unwrap();
                response.headers_mut().insert(name, HeaderValue::from_static("0123456789"));
            }
        }
        _ => {}
    }
    Ok(response)
}

#[tokio::test]
async fn the_serving_status_decides() {
    let (address, _) = serve().await;
    let grpc = Grpc::default();
    for (service, reason) in [
        ("", ""),
        ("good", ""),
        ("more", ""),
        ("bad", "not serving"),
        ("absent", "the service's status is unknown"),
        ("cut", "malformed"),
        ("compressed", "malformed"),
        ("long", "too long"),
        ("silent", "no gRPC status"),
        ("late-error", "gRPC status 14"),
        ("unknown", "NOT_FOUND"),
        ("unimplemented", "no health service"),
        ("proxy", "HTTP status 502"),
        ("web", "not gRPC's"),
        ("headers", "HTTP/2"),
    ] {
        match run(&grpc, &target(address, service, false)).await {
            Outcome::Success => assert_eq!(reason, "", "{service}"),
            Outcome::Failure(found) => {
                assert!(!reason.is_empty() && found.contains(reason), "{service}: {found}");
            }
            other => panic!("{service}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_is_kept_only_if_it_shall_be() {
    let (address, connections) = serve().await;
    let grpc = Grpc::default();
    for (reuse, more) in [(false, 3), (true, 1)] {
        let before = connections.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(run(&grpc, &target(address, "good", reuse)).await, Outcome::Success);
        }
        assert_eq!(connections.load(Ordering::Relaxed) - before, more, "reuse: {reuse}");
    }
}

#[tokio::test]
async fn what_is_not_http2_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let outcome = run(&Grpc::default(), &target(address, "", false)).await;
    assert!(matches!(outcome, Outcome::Failure(_)), "{outcome:?}");
}

#[test]
fn a_long_service_has_a_long_length() {
    let service = "s".repeat(300);
    let message = message(&service);
    assert_eq!(message[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    assert_eq!(message.len(), 5 + 303);
}
