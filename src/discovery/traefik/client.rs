//! Requests to the API: one connection for each, bounded in time and size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Uri};
use tokio::time::{sleep, timeout};

use crate::config::TraefikConfig;
use crate::discovery::source::{Call, Failure, FailureKind, Report, Reporter};
use crate::http::{Broken, Reply, Url, said, send};
use crate::tls::ClientConfigs;

/// Octets of the longest response: a hundred thousand routers.
pub(super) const MAX_BODY: usize = 64 * 1024 * 1024;
/// Times that a failed request is sent again within a call.
const RETRIES: u32 = 2;
/// Wait before the first retry; it doubles for the second.
const FIRST_WAIT: Duration = Duration::from_secs(1);

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
        let wrong = |text: String| self.refused(0, FailureKind::Config, text);
        let request = self.request(&url, path).map_err(wrong)?;
        let tls = url.tls.then(|| self.tls.get(self.config.verify, self.config.ca_file.as_deref()));
        let tls = tls.transpose().map_err(|text| wrong(text.into_owned()))?;
        let reply = send(url, tls, self.config.server_name.as_deref(), request, MAX_BODY).await;
        let Reply { status, headers, body } = reply.map_err(|broken| self.broken(0, &broken))?;
        if status != 200 {
            let kind = FailureKind::of_status(status).unwrap_or(FailureKind::Decode);
            return Err(self.refused(status, kind, not_ok(status, &headers, &body.unwrap_or_default())));
        }
        body.map(|body| Page { headers, body }).map_err(|broken| self.broken(status, &broken))
    }

    /// The request, with the secrets as they are now.
    fn request(&self, url: &Url<'_>, path: &str) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = format!("{}/api/{path}", url.path.trim_end_matches('/'))
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

    /// A failure, with the instance's URL before it.
    pub(super) fn failure(&self, kind: FailureKind, text: impl AsRef<str>) -> Failure {
        Failure::new(kind, format!("{}: {}", self.config.url, text.as_ref()))
    }

    fn refused(&self, status: u16, kind: FailureKind, text: impl AsRef<str>) -> Refused {
        Refused { status, failure: self.failure(kind, text) }
    }

    /// An exchange that broke off.
    fn broken(&self, status: u16, broken: &Broken) -> Refused {
        let kind = match broken {
            Broken::Name(_) => FailureKind::Config,
            Broken::Connection(_) => FailureKind::Connect,
            Broken::Tls(_) => FailureKind::Tls,
            Broken::Response(_) => FailureKind::Decode,
        };
        self.refused(status, kind, broken.to_string())
    }
}

/// Whether the same request may succeed a second later.
fn may_pass(kind: FailureKind) -> bool {
    use FailureKind::{Connect, Decode, Gone, Inconsistent, Server, Timeout, Tls, TooManyRequests};
    matches!(kind, Connect | Decode | Gone | Inconsistent | Server | Timeout | Tls | TooManyRequests)
}

/// What a response other than 200 says.
fn not_ok(status: u16, headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(location) = headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) {
        return format!("status {status}, a redirect to {location}: give the URL that answers itself");
    }
    match said(body).as_str() {
        "" => format!("status {status}"),
        said => format!("status {status}: {said}"),
    }
}
