//! The gRPC check: `grpc.health.v1.Health/Check` says SERVING (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! Both messages have one field each, so that they are written and read by hand.

use std::error::Error;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::kept::{Kept, Pool};
use super::tls::{HTTP2, Secured, Tls, stream_failure};
use super::{Outcome, tcp};
use crate::model::check::GrpcCheck;
use crate::model::target::Target;

/// A response message has two octets, and comes behind a prefix of five.
const BODY_LIMIT: usize = 1024;
/// Headers of a response may be so long.
const HEAD_LIMIT: u32 = 16 * 1024;
/// Octets that a server may send ahead of our reading.
const WINDOW: u32 = 65_535;
/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

type Sender = http2::SendRequest<Full<Bytes>>;

/// Runs `grpc` checks, and keeps the connections of those that ask for it.
#[derive(Debug, Default)]
pub(super) struct Grpc {
    kept: Pool<Sender>,
}

impl Grpc {
    /// Asks once.
    pub(super) async fn probe(&self, tls: &Tls, target: &Target, check: &GrpcCheck) -> Outcome {
        let request = match request(check, target.check.timeout_ms) {
            Ok(request) => request,
            Err(why) => return Outcome::LocalError(why.into()),
        };
        match self.exchange(tls, target, check, request).await {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    async fn exchange(
        &self,
        tls: &Tls,
        target: &Target,
        check: &GrpcCheck,
        request: Request<Full<Bytes>>,
    ) -> Result<Outcome, Outcome> {
        if check.reuse
            && let Some(mut kept) = self.kept.take(target)
            && kept.sender.ready().await.is_ok()
            && let Ok(response) = kept.sender.send_request(request.clone()).await
        {
            return self.finish(tls, target, check, kept, response).await;
        }
        let mut kept = match &check.tls {
            None => spawn(tcp::connect(target.address).await?, None).await?,
            Some(check) => {
                let Secured { stream, not_after_s } = tls.connect(target.address, check, HTTP2).await?;
                spawn(stream, not_after_s).await?
            }
        };
        let response = kept.sender.send_request(request).await.map_err(|e| http_failure(&e))?;
        self.finish(tls, target, check, kept, response).await
    }

    async fn finish(
        &self,
        tls: &Tls,
        target: &Target,
        check: &GrpcCheck,
        kept: Kept<Sender>,
        response: Response<Incoming>,
    ) -> Result<Outcome, Outcome> {
        let mut outcome = judge(response).await?;
        if let (Some(check), Outcome::Success) = (&check.tls, &outcome) {
            outcome = tls.note(target, check, kept.not_after_s).unwrap_or(outcome);
        }
        if check.reuse {
            self.kept.put(target, kept);
        }
        Ok(outcome)
    }
}

async fn spawn<S>(stream: S, not_after_s: Option<i64>) -> Result<Kept<Sender>, Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(HEAD_LIMIT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|e| http_failure(&e))?;
    // Its error is told to the exchange; while it is idle, the next probe will see that it is gone.
    Ok(Kept::spawn(sender, not_after_s, async { drop(connection.await) }))
}

fn request(check: &GrpcCheck, timeout_ms: u32) -> Result<Request<Full<Bytes>>, String> {
    let scheme = if check.tls.is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{}/grpc.health.v1.Health/Check", check.host);
    let uri: Uri = uri.parse().map_err(|_| format!("\"{}\" is not a host", check.host))?;
    let mut request = Request::new(Full::new(message(&check.service).into()));
    *request.method_mut() = hyper::Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("hale/", env!("CARGO_PKG_VERSION"))));
    // At most eight digits.
    if let Ok(value) = format!("{}m", timeout_ms.min(99_999_999)).parse() {
        headers.insert("grpc-timeout", value);
    }
    Ok(request)
}

/// `HealthCheckRequest { string service = 1 }` behind gRPC's prefix: not compressed, four octets of length.
fn message(service: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(service.len() + 16);
    if !service.is_empty() {
        body.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend((body.len() as u32).to_be_bytes());
    framed.append(&mut body);
    framed
}

/// Looks at a whole response, trailers included.
async fn judge(response: Response<Incoming>) -> Result<Outcome, Outcome> {
    let (head, mut body) = response.into_parts();
    if head.status != hyper::StatusCode::OK {
        return Ok(Outcome::Failure(format!("HTTP status {}", head.status.as_u16()).into()));
    }
    let is_grpc =
        head.headers.get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return Ok(Outcome::Failure("the response is not gRPC's".into()));
    }
    let mut message = Vec::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| http_failure(&e))?;
        match frame.into_data() {
            Ok(data) if message.len() + data.len() > BODY_LIMIT => {
                return Ok(Outcome::Failure("the response message is too long".into()));
            }
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
        }
    }
    // An error without a message has its status among the headers ("Trailers-Only").
    let status = trailers.as_ref().and_then(grpc_status).or_else(|| grpc_status(&head.headers));
    Ok(verdict(status, &message))
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn verdict(status: Option<u32>, message: &[u8]) -> Outcome {
    match status {
        Some(0) => {}
        Some(5) => return Outcome::Failure("the server does not know the service (gRPC NOT_FOUND)".into()),
        Some(12) => return Outcome::Failure("the server has no health service (gRPC UNIMPLEMENTED)".into()),
        Some(code) => return Outcome::Failure(format!("gRPC status {code}").into()),
        None => return Outcome::Failure("the response has no gRPC status".into()),
    }
    match serving_status(message) {
        Some(SERVING) => Outcome::Success,
        Some(0) => Outcome::Failure("the service's status is unknown".into()),
        Some(2) => Outcome::Failure("not serving".into()),
        Some(3) => Outcome::Failure("the server does not know the service".into()),
        Some(other) => Outcome::Failure(format!("serving status {other}").into()),
        None => Outcome::Failure("the response message is malformed".into()),
    }
}

/// `HealthCheckResponse { ServingStatus status = 1 }`; an absent field is 0, other fields are skipped.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (prefix, mut rest) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || rest.len() as u64 != u64::from(length) {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&octet, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn http_failure(error: &hyper::Error) -> Outcome {
    let source = error.source();
    if let Some(io) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        return stream_failure(io);
    }
    match source {
        Some(source) => Outcome::Failure(format!("HTTP/2: {error}: {source}").into()),
        None => Outcome::Failure(format!("HTTP/2: {error}").into()),
    }
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
