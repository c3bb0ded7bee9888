//! Accepts connections and speaks HTTP/1.1 on them, each with limits on how long its peer may take.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::crowd::Crowd;
use super::peer::Peer;
use super::tls::Tls;
use crate::telemetry::logs::Throttle;

/// Connections of one listener. Each listener has its own, so that whoever fills the metrics port does not lock out the operator.
const CONNECTIONS: usize = 256;
/// Of those, as many may come from one client.
const CONNECTIONS_OF_ONE: usize = CONNECTIONS / 4;
/// A request's headers arrive within so long, and an idle connection is kept so long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer takes some of its answer within so long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A TLS handshake is over within so long.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest request line and headers in bytes; hyper's least is 8 KiB.
const HEADER_LIMIT: usize = 16 * 1024;
/// What requests under way get when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after an error of accept(2), such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Something that connections come from.
pub(super) trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end.
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Io, Peer)>>;
}

impl Listener for TcpListener {
    type Io = tokio::net::TcpStream;

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Io, Peer)>> {
        self.poll_accept(context).map_ok(|(stream, address)| (stream, Peer::Tcp(address.ip().to_canonical())))
    }
}

impl Listener for UnixListener {
    type Io = tokio::net::UnixStream;

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Io, Peer)>> {
        self.poll_accept(context).map_ok(|(stream, _)| {
            let peer = Peer::Unix(stream.peer_cred().ok().map(|who| who.uid()));
            (stream, peer)
        })
    }
}

/// Serves `router` on every connection until `stop` turns true, then waits for those under way, for a moment.
pub(super) async fn accept<L: Listener>(
    listener: L,
    router: Router,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
) {
    static THROTTLE: Throttle = Throttle::new(10);
    let started = Instant::now();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let crowd = Crowd::new(CONNECTIONS_OF_ONE);
    let stopped = stop.clone();
    let mut stopping = pin!(told(&mut stop));
    loop {
        let next = async {
            // The semaphore is never closed, so there is always a place in the end.
            let place = places.clone().acquire_owned().await.ok();
            (place, poll_fn(|context| listener.poll_next(context)).await)
        };
        tokio::select! {
            () = &mut stopping => break,
            (place, connection) = next => match connection {
                Ok((io, peer)) => {
                    let Some(guest) = crowd.admit(peer.address()) else {
                        tracing::debug!(%peer, "turned away: it has {CONNECTIONS_OF_ONE} connections already");
                        continue;
                    };
                    let (router, stopped) = (router.clone(), stopped.clone());
                    let tls = tls.as_ref().map(|tls| tls.acceptor());
                    tokio::spawn(async move {
                        let (_place, _guest) = (place, guest);
                        match tls {
                            None => converse(io, peer, router, stopped).await,
                            Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(io)).await {
                                Ok(Ok(io)) => converse(io, peer, router, stopped).await,
                                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS on an admin connection"),
                                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                            },
                        }
                    });
                }
                Err(error) => {
                    if let Some(suppressed) = THROTTLE.pass(started.elapsed().as_secs()) {
                        tracing::warn!(%error, suppressed, "the admin listener cannot accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    // What is still under way after this ends with the runtime.
    let _ = timeout(FAREWELL, places.acquire_many(CONNECTIONS as u32)).await;
}

/// Tells an answer that has no end of its own that the server stops.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    server: watch::Receiver<bool>,
    /// What let the request in.
    token: Option<watch::Receiver<u64>>,
}

impl Stop {
    /// Ends also when another token counts than now: whoever was let in by it has to show the new one.
    pub(super) fn until_other_token(&mut self, token: watch::Receiver<u64>) {
        self.token = Some(token);
    }

    /// Returns when the server stops, or with the token.
    pub(super) async fn told(&mut self) {
        let Some(token) = &mut self.token else { return told(&mut self.server).await };
        tokio::select! {
            () = told(&mut self.server) => {}
            // Without a sender there is nobody left who could change it, and the server stops.
            _ = token.changed() => {}
        }
    }
}

/// Ends when `stop` is true, or nobody is left to say so.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}

/// One connection, to its end.
async fn converse(
    io: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: Peer,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let stopping = Stop { server: stop.clone(), token: None };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(stopping.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LIMIT)
        .serve_connection(TokioIo::new(Impatient::new(io)), service);
    let mut connection = pin!(connection);
    // An error here is the peer's doing (it went away, was too slow, spoke no HTTP) and of no interest to anyone else.
    let result = tokio::select! {
        result = &mut connection => result,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "admin connection");
    }
}

/// A connection whose writes fail when the peer takes nothing for [`WRITE_TIMEOUT`]; hyper has no such limit.
struct Impatient<T> {
    io: T,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Impatient<T> {
    fn new(io: T) -> Self {
        Self { io, waiting: None }
    }

    fn watch<R>(&mut self, result: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Impatient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Impatient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch(result, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(context);
        self.watch(result, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(context, buffers);
        self.watch(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_let_go_and_a_slow_one_is_not() {
        let (io, mut peer) = tokio::io::duplex(8);
        let mut io = Impatient::new(io);
        let slow = tokio::spawn(async move {
            for _ in 0..8 {
                sleep(WRITE_TIMEOUT / 2).await;
                peer.read_exact(&mut [0; 4]).await.unwrap();
            }
            peer
        });
        io.write_all(&[0; 32]).await.unwrap();
        let _peer = slow.await.unwrap();
        assert_eq!(io.write_all(&[0; 16]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
