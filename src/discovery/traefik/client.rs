//! Requests to the API: one connection for each, bounded in time and size.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::TraefikConfig;
use crate::discovery::source::{Call, Failure, FailureKind, Report, Reporter};
use crate::tls::ClientConfigs;

/// Octets of the longest response: a hundred thousand routers.
pub(super) const MAX_BODY: usize = 64 * 1024 * 1024;
/// A response's head must fit in this.
const MAX_HEAD: usize = 64 * 1024;
/// Times that a failed request is sent again within a call.
const RETRIES: u32 = 2;
/// Wait before the first retry; it doubles for the second.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How much of an error's body is quoted.
const QUOTED: usize = 120;

/// A client of one instance.
pub(super) struct Client {
    config: Arc<TraefikConfig>,
    tls: ClientConfigs,
}

/// A complete response of status 200.
pub(super) struct Page {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An attempt that failed, with the status if there was one.
struct Refused {
    status: u16,
    failure: Failure,
}

impl Client {
    pub(super) fn new(config: Arc<TraefikConfig>) -> Self {
        Self { config, tls: ClientConfigs::default() }
    }

    pub(super) fn config(&self) -> &TraefikConfig {
        &self.config
    }

    /// Gets `/api/` with `path` behind it, sent again after failures that may pass. Each attempt is reported as a call to `endpoint`.
    ///
    /// # Errors
    /// That of the last attempt. Never has a secret in it.
    pub(super) async fn get(
        &self,
        reporter: &Reporter,
        endpoint: &'static str,
        path: &str,
    ) -> Result<Page, Failure> {
        let mut wait = FIRST_WAIT;
        let mut left = RETRIES;
        loop {
            let begun = Instant::now();
            let outcome = self.attempt(path).await;
            let status = outcome.as_ref().map_or_else(|refused| refused.status, |_| 200);
            let call = Call { endpoint, method: "GET", status, took: begun.elapsed() };
            // A core that has gone is noticed by the orders.
            let _ = reporter.send(Report::Call(call)).await;
            match outcome {
                Ok(page) => return Ok(page),
                Err(refused) if left == 0 || !may_pass(refused.failure.kind) => return Err(refused.failure),
                Err(_) => {}
            }
            left -= 1;
            sleep(wait).await;
            wait *= 2;
        }
    }

    async fn attempt(&self, path: &str) -> Result<Page, Refused> {
        let limit = Duration::from_millis(self.config.timeout_ms);
        match timeout(limit, self.exchange(path)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(self.refused(0, FailureKind::Timeout, format!("no complete response within {limit:?}")))
            }
        }
    }

    async fn exchange(&self, path: &str) -> Result<Page, Refused> {
        let url = Url::split(&self.config.url);
        let request = self.request(&url, path).map_err(|text| self.refused(0, FailureKind::Config, text))?;
        let stream = TcpStream::connect((url.host, url.port))
            .await
            .map_err(|e| self.refused(0, FailureKind::Connect, format!("connecting: {e}")))?;
        if !url.tls {
            return self.over(stream, request).await;
        }
        let tls = self.tls.get(self.config.verify, self.config.ca_file.as_deref());
        let tls = tls.map_err(|text| self.refused(0, FailureKind::Config, text))?;
        let name = self.config.server_name.as_deref().unwrap_or(url.host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|e| self.refused(0, FailureKind::Config, format!("the server name: {e}")))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        self.over(stream.map_err(|e| self.refused(0, kind_of(&e), format!("TLS: {e}")))?, request).await
    }

    /// The request, with the secrets as they are now.
    fn request(&self, url: &Url<'_>, path: &str) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = format!("{}/api/{path}", url.base_path)
            .parse::<Uri>()
            .map_err(|_| "the path of the URL is none".to_owned())?;
        let headers = request.headers_mut();
        let host = url.authority.parse().map_err(|_| "the host of the URL is none".to_owned())?;
        headers.insert(header::HOST, host);
        let user_agent = concat!("hale/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(user_agent));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(credentials) = self.credentials()? {
            let mut value = HeaderValue::from_str(&credentials)
                .map_err(|_| "the token has characters that no header can have".to_owned())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn credentials(&self) -> Result<Option<String>, String> {
        let TraefikConfig { username, password, token, .. } = &*self.config;
        if let Some(token) = token {
            return Ok(Some(format!("Bearer {}", token.read()?)));
        }
        let Some(username) = username else { return Ok(None) };
        let password = password.as_ref().map_or_else(|| Ok(String::new()), |password| password.read())?;
        Ok(Some(format!("Basic {}", BASE64.encode(format!("{username}:{password}").as_bytes()))))
    }

    async fn over<S>(&self, stream: S, request: Request<Empty<Bytes>>) -> Result<Page, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|e| self.broken(0, &e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| self.broken(0, &e))?;
            self.page(response).await
        };
        tokio::pin!(exchange, connection);
        // The connection moves only while it is polled, and may end before the response has been read out.
        tokio::select! {
            biased;
            page = &mut exchange => return page,
            _ = &mut connection => {}
        }
        exchange.await
    }

    async fn page(&self, response: Response<hyper::body::Incoming>) -> Result<Page, Refused> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let body = Limited::new(body, MAX_BODY).collect().await;
        if status != 200 {
            let kind = FailureKind::of_status(status).unwrap_or(FailureKind::Decode);
            let said = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
            return Err(self.refused(status, kind, not_ok(status, &head.headers, &said)));
        }
        match body {
            Ok(body) => Ok(Page { headers: head.headers, body: body.to_bytes() }),
            Err(error) => Err(match error.downcast::<hyper::Error>() {
                Ok(error) => self.broken(status, &error),
                Err(_) => {
                    let text = format!("the response is longer than {MAX_BODY} octets");
                    self.refused(status, FailureKind::Decode, text)
                }
            }),
        }
    }

    /// A failure, with the instance's URL before it.
    pub(super) fn failure(&self, kind: FailureKind, text: impl AsRef<str>) -> Failure {
        Failure::new(kind, format!("{}: {}", self.config.url, text.as_ref()))
    }

    fn refused(&self, status: u16, kind: FailureKind, text: impl AsRef<str>) -> Refused {
        Refused { status, failure: self.failure(kind, text) }
    }

    /// An exchange that broke off.
    fn broken(&self, status: u16, error: &hyper::Error) -> Refused {
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if error.is_incomplete_message() || io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
            return self.refused(status, FailureKind::Decode, "closed before the response was complete");
        }
        if let Some(io) = io {
            return self.refused(status, kind_of(io), io.to_string());
        }
        let text = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        self.refused(status, FailureKind::Decode, format!("HTTP: {text}"))
    }
}

/// Whether the same request may succeed a second later.
fn may_pass(kind: FailureKind) -> bool {
    use FailureKind::{Connect, Decode, Gone, Inconsistent, Server, Timeout, Tls, TooManyRequests};
    matches!(kind, Connect | Decode | Gone | Inconsistent | Server | Timeout | Tls | TooManyRequests)
}

/// An error of the stream: TLS's own, or the connection's.
fn kind_of(error: &io::Error) -> FailureKind {
    match error.get_ref() {
        Some(inner) if inner.is::<tokio_rustls::rustls::Error>() => FailureKind::Tls,
        _ => FailureKind::Connect,
    }
}

/// What a response other than 200 says.
fn not_ok(status: u16, headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(location) = headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) {
        return format!("status {status}, a redirect to {location}: give the URL that answers itself");
    }
    let said = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.as_str() {
        "" => format!("status {status}"),
        said => format!("status {status}: {said}"),
    }
}

/// The parts of a URL, which was checked when the configuration was read.
struct Url<'a> {
    tls: bool,
    /// Host and port as they stand in the URL.
    authority: &'a str,
    /// Without brackets.
    host: &'a str,
    port: u16,
    /// Empty, or with a slash before it and none behind.
    base_path: &'a str,
}

impl<'a> Url<'a> {
    fn split(url: &'a str) -> Self {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").unwrap_or(url)),
        };
        let (authority, base_path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let given = match authority.rsplit_once(':') {
            // Not the last group of an IPv6 address.
            Some((host, port)) if !port.contains(']') => port.parse().ok().map(|port| (host, port)),
            _ => None,
        };
        let (host, port) = given.unwrap_or((authority, if tls { 443 } else { 80 }));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { tls, authority, host, port, base_path: base_path.trim_end_matches('/') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |url: &str, tls: bool, host: &str, port: u16, base_path: &str| {
            let split = Url::split(url);
            assert_eq!(
                (split.tls, split.host, split.port, split.base_path),
                (tls, host, port, base_path),
                "{url}"
            );
        };
        check("http://traefik:8080", false, "traefik", 8080, "");
        check("http://traefik", false, "traefik", 80, "");
        check("https://traefik.example/", true, "traefik.example", 443, "");
        check("https://a.example/traefik/x", true, "a.example", 443, "/traefik/x");
        check("http://[::1]:8080/t", false, "::1", 8080, "/t");
        check("http://[2001:db8::1]", false, "2001:db8::1", 80, "");
    }
}
