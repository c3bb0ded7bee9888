//! One request to a receiver, and what its response means.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::time::timeout;

use super::{Patience, Shared};
use crate::config::{NotifyConfig, NotifyKind};
use crate::http::{self, Reply, Url};

/// Octets of a response that are read.
const MAX_BODY: usize = 64 * 1024;
/// Stands for a secret that a response repeats.
const HIDDEN: &str = "(secret)";

/// Why a request has failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words without a secret.
    pub(super) text: String,
    /// Whether the same request may succeed later, and how long the server wants to be left alone.
    pub(super) again: Option<Duration>,
}

impl Failure {
    /// One that may pass.
    fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), again: Some(Duration::ZERO) }
    }
}

/// Sends a message once.
///
/// # Errors
/// It has not arrived, as far as one knows.
pub(super) async fn once(
    config: Arc<NotifyConfig>,
    shared: Arc<Shared>,
    body: String,
) -> Result<(), Failure> {
    let limit = Duration::from_millis(config.timeout_ms);
    match timeout(limit, request(&config, &shared, body)).await {
        Ok(done) => done,
        Err(_) => Err(Failure::passing(format!("no complete response within {limit:?}"))),
    }
}

async fn request(config: &NotifyConfig, shared: &Shared, body: String) -> Result<(), Failure> {
    // Secrets may have been replaced; a file that cannot be read now may be there the next time.
    let text = config.url.read().map_err(Failure::passing)?;
    let url = Url::split(&text);
    let mut secrets = vec![url.path.trim_start_matches('/').to_owned()];
    let request = post(config, url, body, &mut secrets).map_err(Failure::passing)?;
    let tls = url.tls.then(|| shared.tls.get(config.verify, config.ca_file.as_deref()));
    let tls = tls.transpose().map_err(Failure::passing)?;
    match http::send(url, tls, None, request, MAX_BODY).await {
        Ok(reply) => judge(&reply, &secrets, SystemTime::now()),
        Err(broken) => Err(Failure::passing(broken.to_string())),
    }
}

/// The request, with the secrets as they are now, which are noted.
fn post(
    config: &NotifyConfig,
    url: Url<'_>,
    body: String,
    secrets: &mut Vec<String>,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    let slash = if url.path.starts_with('/') { "" } else { "/" };
    let path = format!("{slash}{}", url.path).parse::<Uri>();
    *request.uri_mut() = path.map_err(|_| "the path of the URL is none".to_owned())?;
    let headers = request.headers_mut();
    let host = url.authority.parse().map_err(|_| "the host of the URL is none".to_owned())?;
    headers.insert(header::HOST, host);
    let user_agent = concat!("hale/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(user_agent));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let NotifyKind::Webhook { token, headers: more, .. } = &config.kind {
        if let Some(token) = token {
            let token = token.read()?;
            insert(headers, "authorization", &format!("Bearer {token}"))?;
            secrets.push(token);
        }
        for (name, value) in more {
            let value = value.read()?;
            insert(headers, name, &value)?;
            secrets.push(value);
        }
    }
    Ok(request)
}

/// Adds a header, whose value may be a secret.
fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is not the name of a header"))?;
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of {name} has characters that no header can have"))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// What a response means. Redirects are not followed: they would carry secrets to where nobody has sent them. What the server says is
/// quoted, but for `secrets`, which it may repeat.
fn judge(reply: &Reply, secrets: &[String], now: SystemTime) -> Result<(), Failure> {
    let status = reply.status;
    let text = match status {
        200..=299 => return Ok(()),
        300..=399 => "a redirect, which is not followed: give the URL that answers itself".to_owned(),
        _ => {
            let body = reply.body.as_deref().unwrap_or_default();
            let hide = |text: String, secret: &String| text.replace(secret.as_str(), HIDDEN);
            let secrets = secrets.iter().filter(|secret| !secret.is_empty());
            http::said(secrets.fold(String::from_utf8_lossy(body).into_owned(), hide).as_bytes())
        }
    };
    let again = match status {
        // RFC 9110 §15.5.9, RFC 6585 §4, RFC 9110 §15.6.
        408 | 429 | 500..=599 => Some(retry_after(&reply.headers, now).unwrap_or_default()),
        _ => None,
    };
    let colon = if text.is_empty() { "" } else { ": " };
    Err(Failure { text: format!("status {status}{colon}{text}"), again })
}

/// For how long a server wants to be left alone: in seconds, which may be broken ones, or up to a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

/// How long to wait after so many attempts: anything up to a bound that doubles each time ("full jitter"), so that servers whose messages
/// failed together do not come again together. `random` is uniformly distributed.
pub(super) fn pause(patience: Patience, attempts: u32, random: u64) -> Duration {
    let doubled = patience.first_pause.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    doubled.min(patience.longest_pause).mul_f64(random as f64 / u64::MAX as f64)
}

/// No secret rests on it.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::PATIENCE;
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_spread() {
        let most = |attempts| pause(PATIENCE, attempts, u64::MAX).as_secs_f64().round() as u64;
        assert_eq!([1, 2, 3, 7, 8, 40].map(most), [1, 2, 4, 64, 120, 120]);
        assert_eq!(pause(PATIENCE, 9, 0), Duration::ZERO);
        assert!((pause(PATIENCE, 2, u64::MAX / 2).as_secs_f64() - 1.0).abs() < 0.01);
        assert_ne!(random(), random());
    }

    /// What a status means, with a `Retry-After` beside it: nothing wrong, given up, or so many milliseconds to wait.
    #[test]
    fn what_may_pass_is_tried_again() {
        let check = |status, retry_after: Option<&'static str>, want: Option<Option<u128>>| {
            let mut headers = HeaderMap::new();
            headers.extend(retry_after.map(|s| (header::RETRY_AFTER, HeaderValue::from_static(s))));
            let reply = Reply { status, headers, body: Ok(Bytes::new()) };
            let now = UNIX_EPOCH + Duration::from_secs(1_792_567_680);
            let judged = judge(&reply, &[], now).err();
            assert_eq!(judged.map(|e| e.again.map(|d| d.as_millis())), want, "{status} {retry_after:?}");
        };
        check(200, None, None);
        check(204, Some("7"), None);
        check(301, None, Some(None));
        check(400, Some("7"), Some(None));
        check(404, None, Some(None));
        check(408, None, Some(Some(0)));
        check(429, Some("7"), Some(Some(7000)));
        check(429, Some("0.65"), Some(Some(650)));
        check(429, Some("Wed, 21 Oct 2026 07:28:30 GMT"), Some(Some(30_000)));
        check(429, Some("Wed, 21 Oct 2026 07:27:00 GMT"), Some(Some(0)));
        check(503, Some("soon"), Some(Some(0)));
        check(503, Some("-1"), Some(Some(0)));
        check(500, None, Some(Some(0)));
    }

    #[test]
    fn what_a_server_says_is_quoted_without_secrets() {
        let check = |status, body: &'static str, want: &str| {
            let reply =
                Reply { status, headers: HeaderMap::new(), body: Ok(Bytes::from_static(body.as_bytes())) };
            let secrets = [String::new(), "services/T0/B0/key".to_owned(), "token-1".to_owned()];
            assert_eq!(judge(&reply, &secrets, UNIX_EPOCH).unwrap_err().text, want);
        };
        check(404, "", "status 404");
        check(404, "no_team\n\u{1b}[31m here", "status 404: no_team [31m here");
        check(
            403,
            "cannot POST /services/T0/B0/key for token-1",
            "status 403: cannot POST /(secret) for (secret)",
        );
        check(302, "x", "status 302: a redirect, which is not followed: give the URL that answers itself");
    }
}
