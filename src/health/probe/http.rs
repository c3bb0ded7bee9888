//! The HTTP and HTTPS checks: one HTTP/1.1 exchange answers as wanted.
//!
//! The connection goes to the target's address, whatever the host is called; it is fresh for each probe, so that a probe sees what a new
//! client would see (a full accept queue, a renewed certificate), unless the check wants it kept.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::kept::{Kept, Pool};
use super::redirect::Place;
use super::tls::{HTTP1, Secured, Tls, stream_failure};
use super::{Outcome, tcp};
use crate::model::check::{HttpCheck, TlsCheck};
use crate::model::target::Target;

/// Bodies are read up to so many bytes; what lies behind is not looked at.
const BODY_LIMIT: usize = 64 * 1024;
/// So long a kept connection is waited for until the body has ended; then the next probe opens another one.
const DRAIN: Duration = Duration::from_millis(50);
/// The response's head must fit in this.
const HEAD_LIMIT: usize = 64 * 1024;

/// A sender of requests without a body.
type Sender = http1::SendRequest<Empty<Bytes>>;

/// Runs `http` and `https` checks, and keeps the connections of those that ask for it.
#[derive(Debug, Default)]
pub(super) struct Http {
    kept: Pool<Sender>,
}

/// What one response means.
enum Step {
    Done(Outcome),
    Redirect(Place),
}

impl Http {
    /// Runs the check. At most `follow` redirects to the same host are followed; what lies behind another host is not our target.
    pub(super) async fn probe(&self, tls: &Tls, target: &Target, check: &HttpCheck) -> Outcome {
        let Some(first) = Place::new(check.tls.is_some(), &check.host, &check.path) else {
            return Outcome::LocalError(format!("\"{}\" is not a host", check.host).into());
        };
        let mut place = first.clone();
        let mut method: Cow<'_, str> = check.method.as_str().into();
        for follow in (0..=check.follow).rev() {
            // As the URL says it, except that the probed port stands for the port of the check's own URL.
            let same = (place.tls, place.port) == (first.tls, first.port);
            let to = if same { target.address } else { SocketAddr::new(target.address.ip(), place.port) };
            let exchange = Exchange { check, place: &place, method: &method, follow: follow > 0 };
            let step = match check.reuse && same {
                true => self.over_kept(tls, target, &exchange).await,
                false => exchange.over_fresh(tls, target, to).await,
            };
            match step {
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

    /// Runs an exchange over the connection that the last probe left; over a new one if there is none, or if the backend has closed it,
    /// which it may do at any time.
    async fn over_kept(&self, tls: &Tls, target: &Target, exchange: &Exchange<'_>) -> Result<Step, Outcome> {
        if let Some(mut kept) = self.kept.take(target)
            && kept.sender.ready().await.is_ok()
        {
            let request = exchange.request().map_err(|e| Outcome::LocalError(e.into()))?;
            if let Ok(response) = kept.sender.send_request(request).await {
                return self.judge_and_keep(tls, target, exchange, kept, response).await;
            }
        }
        let request = exchange.request().map_err(|e| Outcome::LocalError(e.into()))?;
        let mut kept = match exchange.tls_check() {
            None => spawn(tcp::connect(target.address).await?, None).await?,
            Some(check) => {
                let Secured { stream, not_after_s } = tls.connect(target.address, &check, HTTP1).await?;
                spawn(stream, not_after_s).await?
            }
        };
        let response = kept.sender.send_request(request).await.map_err(|e| http_failure(&e))?;
        self.judge_and_keep(tls, target, exchange, kept, response).await
    }

    async fn judge_and_keep(
        &self,
        tls: &Tls,
        target: &Target,
        exchange: &Exchange<'_>,
        kept: Kept<Sender>,
        mut response: Response<Incoming>,
    ) -> Result<Step, Outcome> {
        let step = exchange.judge(&mut response).await?;
        let step = exchange.reserve(tls, target, step, kept.not_after_s);
        // The next response comes behind this one's body. What is decided no longer waits for it.
        if let Ok(true) = timeout(DRAIN, ends(response.body_mut())).await {
            self.kept.put(target, kept);
        }
        Ok(step)
    }
}

/// Reads the rest of a body; false if it breaks off, or is so long that it costs more than a new connection.
async fn ends(body: &mut Incoming) -> bool {
    let mut room = BODY_LIMIT;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        match room.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => room = left,
            None => return false,
        }
    }
    true
}

async fn spawn<S>(stream: S, not_after_s: Option<i64>) -> Result<Kept<Sender>, Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|e| http_failure(&e))?;
    // Its error is told to the exchange; while it is idle, the next probe will see that it is gone.
    let connection = async { drop(connection.await) };
    Ok(Kept::spawn(sender, not_after_s, connection))
}

struct Exchange<'a> {
    check: &'a HttpCheck,
    place: &'a Place,
    method: &'a str,
    follow: bool,
}

impl Exchange<'_> {
    async fn over_fresh(&self, tls: &Tls, target: &Target, to: SocketAddr) -> Result<Step, Outcome> {
        let request = self.request().map_err(|e| Outcome::LocalError(e.into()))?;
        let Some(check) = self.tls_check() else { return self.over(tcp::connect(to).await?, request).await };
        let Secured { stream, not_after_s } = tls.connect(to, &check, HTTP1).await?;
        let step = self.over(stream, request).await?;
        Ok(self.reserve(tls, target, step, not_after_s))
    }

    /// The TLS settings of the place.
    fn tls_check(&self) -> Option<Cow<'_, TlsCheck>> {
        match (&self.check.tls, self.place.tls) {
            (_, false) => None,
            (Some(check), true) => Some(Cow::Borrowed(check)),
            // A redirect from http to https has no settings of its own: the host's name, verified.
            (None, true) => Some(Cow::Owned(TlsCheck {
                sni: self.place.host.clone(),
                verify: true,
                ca_file: None,
                warn_expires_within_s: None,
                fail_expires_within_s: None,
            })),
        }
    }

    /// What the end of the certificate makes of a success.
    fn reserve(&self, tls: &Tls, target: &Target, step: Step, not_after_s: Option<i64>) -> Step {
        match (&self.check.tls, step) {
            (Some(check), Step::Done(Outcome::Success)) => {
                Step::Done(tls.note(target, check, not_after_s).unwrap_or(Outcome::Success))
            }
            (_, step) => step,
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let mut headers = HeaderMap::new();
        let user_agent = concat!("hale/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(user_agent));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if !self.check.reuse {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
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
            let mut response = sender.send_request(request).await.map_err(|e| http_failure(&e))?;
            self.judge(&mut response).await
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

    async fn judge(&self, response: &mut Response<Incoming>) -> Result<Step, Outcome> {
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
        self.judge_body(response.body_mut()).await.map(Step::Done)
    }

    async fn judge_body(&self, body: &mut Incoming) -> Result<Outcome, Outcome> {
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
                Outcome::Unrouted(format!("the body contains \"{text}\"").into())
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
