//! The HTTP and HTTPS checks: one HTTP/1.1 exchange answers as wanted.
//!
//! The connection goes to the target's address, whatever the host is called; it is fresh for each probe, so that a probe sees what a new
//! client would see (a full accept queue, a renewed certificate).

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::redirect::Place;
use super::tls::TlsConfigs;
use super::{Outcome, after_sending, tcp};
use crate::model::target::{HttpCheck, TlsCheck};

/// Bodies are read up to so many bytes; what lies behind is not looked at.
const BODY_LIMIT: usize = 64 * 1024;
/// The response's head must fit in this.
const HEAD_LIMIT: usize = 64 * 1024;

/// What one response means.
enum Step {
    Done(Outcome),
    Redirect(Place),
}

/// Runs the check. At most `follow` redirects to the same host are followed; what lies behind another host is not our target.
pub(super) async fn probe(tls: &TlsConfigs, address: SocketAddr, check: &HttpCheck) -> Outcome {
    let Some(first) = Place::new(check.tls.is_some(), &check.host, &check.path) else {
        return Outcome::LocalError(format!("\"{}\" is not a host", check.host).into());
    };
    let mut place = first.clone();
    let mut method: Cow<'_, str> = check.method.as_str().into();
    for follow in (0..=check.follow).rev() {
        // As the URL says it, except that the probed port stands for the port of the check's own URL.
        let same = (place.tls, place.port) == (first.tls, first.port);
        let to = if same { address } else { SocketAddr::new(address.ip(), place.port) };
        let exchange = Exchange { check, place: &place, method: &method, follow: follow > 0 };
        match exchange.run(tls, to).await {
            Ok(Step::Redirect(next)) => place = next,
            Ok(Step::Done(outcome)) | Err(outcome) => return outcome,
        }
        if method != "HEAD" {
            // Only GET and HEAD are sent again by themselves (RFC 9110 §15.4).
            method = "GET".into();
        }
    }
    Outcome::Failure("too many redirects".into())
}

struct Exchange<'a> {
    check: &'a HttpCheck,
    place: &'a Place,
    method: &'a str,
    follow: bool,
}

impl Exchange<'_> {
    async fn run(&self, tls: &TlsConfigs, to: SocketAddr) -> Result<Step, Outcome> {
        let request = self.request().map_err(|e| Outcome::LocalError(e.into()))?;
        if !self.place.tls {
            return self.over(tcp::connect(to).await?, request).await;
        }
        // A redirect from http to https has no settings of its own: the host's name, verified.
        let fallback;
        let check = match &self.check.tls {
            Some(check) => check,
            None => {
                fallback = TlsCheck { sni: self.place.host.clone(), verify: true, ca_file: None };
                &fallback
            }
        };
        let config = tls.get(check).map_err(Outcome::LocalError)?;
        let sni = check.sni.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(sni.to_owned())
            .map_err(|_| Outcome::LocalError(format!("\"{}\" is not a server name", check.sni).into()))?;
        let stream = tcp::connect(to).await?;
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|e| stream_failure(&e))?;
        self.over(stream, request).await
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let mut headers = HeaderMap::new();
        let user_agent = concat!("hale/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(user_agent));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let mut own = HeaderMap::new();
        for (name, value) in &self.check.headers {
            let parsed_name: HeaderName =
                name.parse().map_err(|_| format!("\"{name}\" is not a header name"))?;
            let value =
                HeaderValue::from_str(value).map_err(|_| format!("header {name}: not a header value"))?;
            own.append(parsed_name, value);
        }
        let host = self.place.host_header();
        headers.insert(header::HOST, host.parse().map_err(|_| format!("\"{host}\" is not a host"))?);
        // The user's headers replace ours of the same name.
        headers.extend(own);
        let path = &self.place.path;
        let uri: Uri = path.parse().map_err(|_| format!("\"{path}\" is not a path"))?;
        let method = self.method;
        let mut request = Request::new(Empty::new());
        *request.method_mut() =
            Method::from_bytes(method.as_bytes()).map_err(|_| format!("\"{method}\" is not a method"))?;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends the request and looks at the response.
    async fn over<S>(&self, stream: S, request: Request<Empty<Bytes>>) -> Result<Step, Outcome>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|e| http_failure(&e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| http_failure(&e))?;
            self.judge(response).await
        };
        tokio::pin!(exchange, connection);
        // The connection only moves while it is polled. It may end before the response has been looked at, and its error, if any, is
        // told to the exchange.
        tokio::select! {
            biased;
            step = &mut exchange => return step,
            _ = &mut connection => {}
        }
        exchange.await
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<Step, Outcome> {
        let status = response.status();
        if self.follow
            && is_redirect(status)
            && let Some(location) = response.headers().get(header::LOCATION)
        {
            let next = location.to_str().ok().and_then(|location| self.place.redirect(location));
            if let Some(next) = next {
                return Ok(Step::Redirect(next));
            }
            // Elsewhere: not followed, and judged by its own status like any other answer.
        }
        let code = status.as_u16();
        if !self.check.status.iter().any(|&(from, to)| (from..=to).contains(&code)) {
            return Ok(Step::Done(Outcome::Failure(format!("status {code}").into())));
        }
        self.judge_body(response.into_body()).await.map(Step::Done)
    }

    async fn judge_body(&self, mut body: Incoming) -> Result<Outcome, Outcome> {
        let (wanted, unwanted) = (&self.check.body_contains, &self.check.body_not);
        if wanted.is_none() && unwanted.is_none() {
            return Ok(Outcome::Success);
        }
        let mut seen = Vec::new();
        while seen.len() < BODY_LIMIT
            && let Some(frame) = body.frame().await
        {
            if let Some(data) = frame.map_err(|e| http_failure(&e))?.data_ref() {
                let room = BODY_LIMIT - seen.len();
                seen.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        Ok(match (wanted, unwanted) {
            (Some(text), _) if !contains(&seen, text) => {
                Outcome::Failure(format!("the body does not contain \"{text}\"").into())
            }
            (_, Some(text)) if contains(&seen, text) => {
                Outcome::Failure(format!("the body contains \"{text}\"").into())
            }
            _ => Outcome::Success,
        })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// An error of the stream: one of the socket, or what TLS found wrong.
fn stream_failure(error: &io::Error) -> Outcome {
    match error.get_ref() {
        Some(inner) if inner.is::<tokio_rustls::rustls::Error>() => {
            Outcome::Failure(format!("TLS: {inner}").into())
        }
        Some(inner) => Outcome::Failure(inner.to_string().into()),
        None => after_sending(error),
    }
}

/// An error of the exchange: one of the stream below, or what HTTP found wrong.
fn http_failure(error: &hyper::Error) -> Outcome {
    if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return stream_failure(io);
    }
    if error.is_incomplete_message() {
        return Outcome::Failure("closed before the response was complete".into());
    }
    match error.source() {
        Some(source) => Outcome::Failure(format!("HTTP: {error}: {source}").into()),
        None => Outcome::Failure(format!("HTTP: {error}").into()),
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
