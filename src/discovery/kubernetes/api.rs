//! Requests to one API server: limits, time-outs, retries, and failures in words.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Method, Request, Response};
use kube::client::{Body, Client};
use serde::Deserialize;

use crate::discovery::source::{Call, Failure, FailureKind, Report, Reporter};

use super::draft::shorten;
use super::pulse::Heard;

/// The waits before the retries of one request.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Octets of the longest response: a page of 500 objects, of which none can have more than 3 MiB in etcd, is usually below 5 MiB.
const MAX_RESPONSE: usize = 256 << 20;
/// Octets of the longest line of a watch: one object.
const MAX_LINE: usize = 16 << 20;
/// Octets of an error's body that are read.
const MAX_ERROR: usize = 64 << 10;

/// An API server, with the credentials for it.
#[derive(Clone)]
pub struct Api {
    client: Client,
    server: Box<str>,
    reporter: Reporter,
    /// How long one request may take, to the last octet of its response; of a watch, to the first.
    timeout: Duration,
    heard: Heard,
}

/// The lines of a watch.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    heard: Heard,
    buffer: Vec<u8>,
    /// How much of the buffer holds no line end.
    searched: usize,
}

/// The body of an error.
#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) message: Box<str>,
    #[serde(default)]
    pub(super) code: u16,
}

impl Api {
    /// An API server at the address `server`, which is only for messages.
    pub fn new(client: Client, server: &str, reporter: Reporter, timeout: Duration) -> Self {
        Self { client, server: server.into(), reporter, timeout, heard: Heard::now() }
    }

    /// When the server last said anything.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Its address, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Asks for something small that everyone may ask for; any answer is one. It has to come within this time.
    ///
    /// # Errors
    /// No answer, or one that says no: [`Api::heard`] tells them apart.
    pub async fn ask(&self, within: Duration) -> Result<(), Failure> {
        self.get_once("version", "GET", "/version", within).await.map(drop)
    }

    /// The whole response to a GET of `path`, tried again where that may help. `endpoint` and `method` are for metrics.
    ///
    /// # Errors
    /// The failure of the last try.
    pub async fn get(
        &self,
        endpoint: &'static str,
        method: &'static str,
        path: &str,
    ) -> Result<Bytes, Failure> {
        let mut waits = RETRIES.into_iter();
        loop {
            let failure = match self.get_once(endpoint, method, path, self.timeout).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let may_pass = matches!(
                failure.kind,
                FailureKind::Connect
                    | FailureKind::Timeout
                    | FailureKind::Server
                    | FailureKind::TooManyRequests
                    | FailureKind::Decode
            );
            match waits.next() {
                Some(wait) if may_pass => tokio::time::sleep(wait).await,
                _ => return Err(failure),
            }
        }
    }

    async fn get_once(
        &self,
        endpoint: &'static str,
        method: &'static str,
        path: &str,
        within: Duration,
    ) -> Result<Bytes, Failure> {
        let started = Instant::now();
        let mut status = 0;
        let exchange = async {
            let response = self.send(Method::GET, path, Vec::new(), endpoint, &mut status).await?;
            let limited = http_body_util::Limited::new(response.into_body(), MAX_RESPONSE);
            let whole = limited.collect().await.map_err(|error| self.broken(endpoint, &*error))?;
            Ok(whole.to_bytes())
        };
        let result = match tokio::time::timeout(within, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.too_slow(endpoint, within)),
        };
        self.count(endpoint, method, status, started).await;
        result
    }

    /// Opens a watch.
    ///
    /// # Errors
    /// Anything but a response of status 200, without retries: the caller's loop is one.
    pub async fn watch(&self, endpoint: &'static str, path: &str) -> Result<Lines, Failure> {
        let started = Instant::now();
        let mut status = 0;
        let sent = self.send(Method::GET, path, Vec::new(), endpoint, &mut status);
        let result = match tokio::time::timeout(self.timeout, sent).await {
            Ok(result) => result,
            Err(_) => Err(self.too_slow(endpoint, self.timeout)),
        };
        self.count(endpoint, "WATCH", status, started).await;
        let body = result?.into_body();
        Ok(Lines { body, heard: self.heard.clone(), buffer: Vec::new(), searched: 0 })
    }

    /// Writes a merge patch.
    ///
    /// # Errors
    /// Anything but success, without retries.
    pub async fn patch(&self, endpoint: &'static str, path: &str, patch: Vec<u8>) -> Result<(), Failure> {
        let started = Instant::now();
        let mut status = 0;
        let sent = self.send(Method::PATCH, path, patch, endpoint, &mut status);
        let result = match tokio::time::timeout(self.timeout, sent).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(self.too_slow(endpoint, self.timeout)),
        };
        self.count(endpoint, "PATCH", status, started).await;
        result
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        endpoint: &str,
        status: &mut u16,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(&method).uri(path).header("accept", "application/json");
        if method == Method::PATCH {
            request = request.header("content-type", "application/merge-patch+json");
        }
        let request = request.body(Body::from(body));
        let request = request.map_err(|error| Failure::new(FailureKind::Config, error.to_string()))?;
        let response = self.client.send(request).await.map_err(|error| self.unsent(endpoint, &error))?;
        self.heard.mark();
        *status = response.status().as_u16();
        match FailureKind::of_status(*status) {
            None => Ok(response),
            Some(kind) => Err(self.refused(endpoint, kind, response).await),
        }
    }

    async fn count(&self, endpoint: &'static str, method: &'static str, status: u16, started: Instant) {
        let call = Call { endpoint, method, status, took: started.elapsed() };
        self.reporter.send(Report::Call(call)).await;
    }

    /// A response of status 400 or above.
    async fn refused(&self, endpoint: &str, kind: FailureKind, response: Response<Body>) -> Failure {
        let code = response.status();
        let limited = http_body_util::Limited::new(response.into_body(), MAX_ERROR);
        let body = limited.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let message = serde_json::from_slice::<Status>(&body).map(|status| shorten_message(&status.message));
        let message = message.ok().filter(|message| !message.is_empty());
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        self.failure(kind, endpoint, &format!("{code}{message}"))
    }

    /// No response.
    fn unsent(&self, endpoint: &str, error: &kube::Error) -> Failure {
        let (kind, text) = match error {
            kube::Error::Auth(_) => (FailureKind::Config, chain(error)),
            _ => (kind_of(error), chain(error)),
        };
        self.failure(kind, endpoint, &text)
    }

    /// A response that ended too early.
    fn broken(&self, endpoint: &str, error: &(dyn StdError + 'static)) -> Failure {
        self.failure(FailureKind::Decode, endpoint, &format!("the response broke off: {}", chain(error)))
    }

    fn too_slow(&self, endpoint: &str, within: Duration) -> Failure {
        let text = format!("no whole response within {within:?}");
        self.failure(FailureKind::Timeout, endpoint, &text)
    }

    /// A failure that names the server and what was asked for.
    pub fn failure(&self, kind: FailureKind, endpoint: &str, text: &str) -> Failure {
        Failure::new(kind, format!("{}: {endpoint}: {text}", self.server))
    }
}

impl Lines {
    /// The next line without its end; `None` when the watch has ended between two lines. Safe to drop and to call again.
    ///
    /// # Errors
    /// What broke it off.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|octet| *octet == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(format!("a line of more than {MAX_LINE} octets"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.heard.mark();
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(chain(&error)),
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => return Err("it ended within a line".into()),
            }
        }
    }
}

/// An error with its causes, each said once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let error = match error.downcast_ref() {
        // What it stands in says no more.
        Some(kube::Error::Service(cause)) => &**cause,
        _ => error,
    };
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    shorten_message(&text)
}

/// Messages of servers may be long, and of several lines.
fn shorten_message(text: &str) -> String {
    const LONGEST: usize = 300;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}

/// What kind of failure kept a request from being answered.
fn kind_of(error: &(dyn StdError + 'static)) -> FailureKind {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<tokio_rustls::rustls::Error>() {
            return FailureKind::Tls;
        }
        next = cause.source();
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::TimedOut {
                return FailureKind::Timeout;
            }
            // It does not name what it holds as its source, but the source of that; and rustls' errors travel within two of them.
            if let Some(held) = io.get_ref() {
                next = Some(held);
            }
        }
    }
    FailureKind::Connect
}

/// A text for a query: all but unreserved characters are escaped (RFC 3986 §2.3).
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}

/// The message of an object that cannot be read, cut to a line.
pub(super) fn unreadable(error: &dyn std::fmt::Display) -> String {
    format!("a response that cannot be read: {}", shorten(&error.to_string()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_escaped() {
        assert_eq!(super::escape("a in (b,c),!d/e=f"), "a%20in%20%28b%2Cc%29%2C%21d%2Fe%3Df");
    }
}
