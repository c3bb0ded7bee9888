//! The TCP check: a connection is accepted.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use super::{Outcome, after_sending, before_sending};

/// Connects and closes.
pub(super) async fn probe(address: SocketAddr) -> Outcome {
    match connect(address).await {
        Ok(_) => Outcome::Success,
        Err(outcome) => outcome,
    }
}

/// Opens a connection that is closed by reset when dropped; an error is already sorted into an outcome.
///
/// `SO_LINGER` 0: a probe has nothing to say good-bye about, and a FIN from our side would leave a TIME_WAIT entry behind for each
/// probe, 60,000 of them at a thousand probes a second. The socket is made by hand rather than by
/// `TcpStream::connect`, because only then can errors of our own routing be told from what the network answered.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Outcome> {
    let stream = begin(address).map_err(|e| before_sending(&e))?;
    stream.writable().await.map_err(|e| after_sending(&e))?;
    match stream.take_error() {
        Ok(None) => Ok(stream),
        Ok(Some(e)) | Err(e) => Err(after_sending(&e)),
    }
}

fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    // Close-on-exec is set by `Socket::new`; non-blocking from the start spares Linux a system call.
    #[cfg(target_os = "linux")]
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    #[cfg(not(target_os = "linux"))]
    let socket = {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket
    };
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(e) => return Err(e),
    }
    TcpStream::from_std(StdStream::from(socket))
}
