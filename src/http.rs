//! One HTTP/1.1 request to others, on a connection of its own: bounded in size; the caller bounds the time.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// A response's head must fit in this.
const MAX_HEAD: usize = 64 * 1024;

/// How many characters of an error's body are quoted.
const QUOTED: usize = 120;

/// The parts of a URL, which was checked when the configuration was read.
#[derive(Clone, Copy, Debug)]
pub struct Url<'a> {
    /// Whether it is `https`.
    pub tls: bool,
    /// Host and port as they stand in the URL.
    pub authority: &'a str,
    /// Without brackets.
    pub host: &'a str,
    /// Its own, or the scheme's.
    pub port: u16,
    /// Path and query; empty, or with a slash before it.
    pub path: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL apart.
    pub fn split(url: &'a str) -> Self {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").unwrap_or(url)),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let given = match authority.rsplit_once(':') {
            // Not the last group of an IPv6 address.
            Some((host, port)) if !port.contains(']') => port.parse().ok().map(|port| (host, port)),
            _ => None,
        };
        let (host, port) = given.unwrap_or((authority, if tls { 443 } else { 80 }));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { tls, authority, host, port, path }
    }
}

/// What kept a response from coming, in words without a secret.
#[derive(Debug)]
pub enum Broken {
    /// The server's name is none that a certificate can have.
    Name(String),
    /// No connection, or it broke, and what the system said.
    Connection(String),
    /// TLS failed.
    Tls(String),
    /// What came is no HTTP, incomplete or too long.
    Response(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Name(text) | Self::Connection(text) | Self::Tls(text) | Self::Response(text)) = self;
        f.write_str(text)
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, or what was wrong with it: of an error it hardly matters.
    pub body: Result<Bytes, Broken>,
}

/// Sends a request to the server of a URL and reads the response, of whose body there may be `max_body` octets. `tls` is needed for
/// `https`; `server_name` stands for the URL's host there.
///
/// # Errors
/// See [`Broken`].
pub async fn send<B>(
    url: Url<'_>,
    tls: Option<Arc<ClientConfig>>,
    server_name: Option<&str>,
    request: Request<B>,
    max_body: usize,
) -> Result<Reply, Broken>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = TcpStream::connect((url.host, url.port))
        .await
        .map_err(|e| Broken::Connection(format!("connecting: {e}")))?;
    let Some(tls) = tls.filter(|_| url.tls) else { return over(stream, request, max_body).await };
    let name = server_name.unwrap_or(url.host).to_owned();
    let name = ServerName::try_from(name).map_err(|e| Broken::Name(format!("the server name: {e}")))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    over(stream.map_err(|e| of_stream(&e, "TLS: "))?, request, max_body).await
}

async fn over<S, B>(stream: S, request: Request<B>, max_body: usize) -> Result<Reply, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| broken(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        Ok(reply(response, max_body).await)
    };
    tokio::pin!(exchange, connection);
    // The connection moves only while it is polled, and may end before the response has been read out.
    tokio::select! {
        biased;
        reply = &mut exchange => return reply,
        _ = &mut connection => {}
    }
    exchange.await
}

async fn reply(response: Response<hyper::body::Incoming>, max_body: usize) -> Reply {
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, max_body).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => broken(&error),
            Err(_) => Broken::Response(format!("the response is longer than {max_body} octets")),
        }),
    };
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

/// An exchange that broke off.
fn broken(error: &hyper::Error) -> Broken {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_incomplete_message() || io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
        return Broken::Response("closed before the response was complete".to_owned());
    }
    if let Some(io) = io {
        return of_stream(io, "");
    }
    let text = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    Broken::Response(format!("HTTP: {text}"))
}

/// An error of the stream: TLS's own, or the connection's.
fn of_stream(error: &io::Error, before: &str) -> Broken {
    let text = format!("{before}{error}");
    match error.get_ref() {
        Some(inner) if inner.is::<tokio_rustls::rustls::Error>() => Broken::Tls(text),
        _ => Broken::Connection(text),
    }
}

/// The beginning of what an error's body says, in one line and without control characters: it stands in logs.
pub fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |url: &str, tls: bool, host: &str, port: u16, path: &str| {
            let split = Url::split(url);
            assert_eq!((split.tls, split.host, split.port, split.path), (tls, host, port, path), "{url}");
        };
        check("http://traefik:8080", false, "traefik", 8080, "");
        check("http://traefik", false, "traefik", 80, "");
        check("https://traefik.example/", true, "traefik.example", 443, "/");
        check("https://a.example/traefik/x", true, "a.example", 443, "/traefik/x");
        check("http://[::1]:8080/t", false, "::1", 8080, "/t");
        check("http://[2001:db8::1]", false, "2001:db8::1", 80, "");
        check("https://hooks.example?key=1", true, "hooks.example", 443, "?key=1");
    }
}
