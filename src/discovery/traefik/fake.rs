//! An API in the same process that answers as a test wants it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One request.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Without the query.
    pub(super) path: String,
    pub(super) page: usize,
    pub(super) per_page: usize,
    /// The header's value.
    pub(super) authorization: String,
    /// How many requests for this path came before.
    pub(super) before: usize,
}

/// How a request is answered.
pub(super) enum Reply {
    /// 200 with this body and `X-Next-Page`.
    Page(String, usize),
    /// 200 without `X-Next-Page`.
    Plain(String),
    /// Another status.
    Status(u16, String),
    /// These octets, and then the connection is closed.
    Raw(Vec<u8>),
    /// An octet at a time, for ever.
    Trickle,
}

/// A running API. Ends when it is dropped.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// Starts one on a free port.
    pub(super) async fn start(
        tls: Option<TlsAcceptor>,
        respond: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (respond, kept) = (Arc::new(respond), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (respond, kept, tls) = (respond.clone(), kept.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*respond, &kept).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &*respond, &kept).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked, task }
    }

    /// What was asked for so far: `path` and, for lists, `page`.
    pub(super) fn asked(&self) -> Vec<String> {
        let show = |asked: &Asked| match asked.page {
            0 => asked.path.clone(),
            page => format!("{} {page}", asked.path),
        };
        self.asked.lock().unwrap().iter().map(show).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    respond: &(dyn Fn(&Asked) -> Reply + Send + Sync),
    kept: &Mutex<Vec<Asked>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return,
        }
    }
    let reply = {
        let mut kept = kept.lock().unwrap();
        let mut asked = read_head(&String::from_utf8(head).unwrap());
        asked.before = kept.iter().filter(|earlier| earlier.path == asked.path).count();
        let reply = respond(&asked);
        kept.push(asked);
        reply
    };
    let octets = match reply {
        Reply::Page(body, next) => response("200 OK", &format!("X-Next-Page: {next}\r\n"), &body),
        Reply::Plain(body) => response("200 OK", "", &body),
        Reply::Status(status, body) => response(&format!("{status} Status"), "", &body),
        Reply::Raw(octets) => octets,
        Reply::Trickle => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[").await;
            while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        }
    };
    let _ = stream.write_all(&octets).await;
    let _ = stream.shutdown().await;
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn read_head(head: &str) -> Asked {
    let target = head.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let number = |key: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
            .map_or(0, |n| n.parse().unwrap())
    };
    let header = |name: &str| {
        head.lines()
            .find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
            .unwrap_or_default()
    };
    Asked {
        path: path.to_owned(),
        page: number("page"),
        per_page: number("per_page"),
        authorization: header("authorization"),
        before: 0,
    }
}

/// A page of a list as Traefik makes it, though with at most `most` to a page.
pub(super) fn page(list: &Value, asked: &Asked, most: usize) -> Reply {
    let list = list.as_array().unwrap();
    let per_page = asked.per_page.min(most);
    let start = (asked.page - 1) * per_page;
    if start != 0 && start >= list.len() {
        return Reply::Status(400, json!({ "message": "invalid request" }).to_string());
    }
    let end = (start + per_page).min(list.len());
    let next = if end < list.len() { asked.page + 1 } else { 1 };
    Reply::Page(Value::from(list[start..end].to_vec()).to_string(), next)
}

/// An API of version 3.7.13 with these lists.
pub(super) fn lists(http: Value, tcp: Value, most: usize) -> impl Fn(&Asked) -> Reply {
    move |asked| match asked.path.rsplit_once("/api/").map(|(_, path)| path) {
        Some("version") => Reply::Plain(json!({ "Version": "3.7.13", "Codename": "x" }).to_string()),
        Some("http/routers") => page(&http, asked, most),
        Some("tcp/routers") => page(&tcp, asked, most),
        _ => Reply::Status(404, "404 page not found\n".to_owned()),
    }
}
