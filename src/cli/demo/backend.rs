//! The demo's backends: HTTP servers that can be told to fail.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A request arrives within so long, else the connection is closed.
const PATIENCE: Duration = Duration::from_secs(2);
/// A request line and headers are at most so long.
const LIMIT: usize = 8 * 1024;

/// Starts a backend on 127.0.0.1 and `port`, on threads that live as long as the process. `GET /` answers 200, or 503 after
/// `POST /down` and until `POST /up`; `changed` is told of both.
///
/// # Errors
/// The port is taken.
pub(super) fn start(port: u16, changed: fn(SocketAddr, bool)) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    let healthy = Arc::new(AtomicBool::new(true));
    thread::Builder::new().name(format!("backend {}", address.port())).spawn(move || {
        for stream in listener.incoming() {
            // A connection that failed before it was accepted is the peer's affair.
            let Ok(stream) = stream else { continue };
            let healthy = healthy.clone();
            // Where no thread can be had, the connection is closed: the check fails, as it would with a busy backend.
            let _ = thread::Builder::new().spawn(move || {
                if let Err(error) = converse(stream, address, &healthy, changed) {
                    tracing::debug!(%error, %address, "demo backend");
                }
            });
        }
    })?;
    Ok(address)
}

fn converse(
    mut stream: TcpStream,
    address: SocketAddr,
    healthy: &AtomicBool,
    changed: fn(SocketAddr, bool),
) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = head(&mut stream)?;
    let (status, body) = answer(&request, healthy, |up| changed(address, up));
    let length = body.len() + 1;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}\n").as_bytes())
}

/// The request up to the empty line.
fn head(stream: &mut impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
        if bytes.len() > LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Status line and body for a request.
fn answer(request: &str, healthy: &AtomicBool, changed: impl Fn(bool)) -> (&'static str, &'static str) {
    let mut words = request.split(' ');
    let wish = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let turn = |up: bool| {
        if healthy.swap(up, Ordering::Relaxed) != up {
            changed(up);
        }
    };
    match wish {
        ("POST", "/down") => {
            turn(false);
            ("200 OK", "from now on this backend answers 503")
        }
        ("POST", "/up") => {
            turn(true);
            ("200 OK", "from now on this backend answers 200")
        }
        ("GET" | "HEAD", "/down" | "/up") => ("405 Method Not Allowed", "use POST: curl -X POST ..."),
        ("GET" | "HEAD", _) if healthy.load(Ordering::Relaxed) => ("200 OK", "up"),
        ("GET" | "HEAD", _) => ("503 Service Unavailable", "down"),
        _ => ("405 Method Not Allowed", "GET /, POST /down or POST /up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn falls_and_rises_as_told() {
        let address = start(0, |_, _| ()).unwrap();
        // Says nothing; others are answered all the same.
        let _idle = TcpStream::connect(address).unwrap();
        for (request, status) in [
            ("GET /", "200"),
            ("POST /down", "200"),
            ("GET /", "503"),
            ("POST /down", "200"),
            ("HEAD /", "503"),
            ("GET /up", "405"),
            ("GET /", "503"),
            ("POST /up", "200"),
            ("GET /healthz", "200"),
            ("DELETE /", "405"),
        ] {
            assert_eq!(ask(address, request), status, "{request}");
        }
        assert_eq!(start(address.port(), |_, _| ()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
