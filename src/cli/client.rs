//! Talks to a running server: HTTP/1.1 over the unix socket in its state directory, or to a URL.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::outcome::Failure;
use crate::model::report::Problem;

/// Connecting takes at most so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A status line and headers are at most so long.
const HEAD_LIMIT: u64 = 64 * 1024;
/// Error texts are at most so long.
const PROBLEM_LIMIT: u64 = 64 * 1024;
/// What to do where no server is found.
const WHERE: &str = "start one with `hale serve`, or say where it is: --state DIR or --server URL";

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Path of its unix socket.
    Unix(PathBuf),
    /// `host:port` of its admin listener.
    Http(String),
}

impl Place {
    /// Reads `unix:PATH` or `http://HOST[:PORT]`.
    ///
    /// # Errors
    /// What is wrong with it, as bad arguments.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let wrong = |why: &str| {
            Failure::usage(format!("--server {text:?}: {why}"))
                .hint("unix:/var/lib/hale/hale.sock or http://127.0.0.1:8053")
        };
        if text.starts_with("https://") {
            return Err(wrong("https is not in this version"));
        }
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong("is neither a unix socket nor a URL"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong("is not a host with a port"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self::Http(if has_port { authority.to_owned() } else { format!("{authority}:80") }))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Http(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// A server to ask.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) place: Place,
    pub(super) token: Option<String>,
    /// Longest silence that is waited for.
    pub(super) patience: Duration,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Client {
    /// Asks for `path` and reads JSON.
    ///
    /// # Errors
    /// The server is not there, refuses, or breaks off.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.request("GET", path, "")?)
    }

    /// Sends JSON and reads JSON; see [`Client::get`].
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, Failure> {
        self.json(self.request("POST", path, body)?)
    }

    /// Removes what is at `path` and reads JSON; see [`Client::get`].
    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.request("DELETE", path, "")?)
    }

    fn json<T: DeserializeOwned>(&self, body: Body) -> Result<T, Failure> {
        let mut bytes = Vec::new();
        io::BufReader::new(body).read_to_end(&mut bytes).map_err(|error| self.broke_off(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::running(format!("{} answers what this version does not understand: {error}", self.place))
                .hint("is it a Hale server of the same version?")
        })
    }

    /// Sends a request and reads the answer's head; the body follows from what is returned.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub(super) fn request(&self, method: &str, path: &str, body: &str) -> Result<Body, Failure> {
        let stream = self.connect().map_err(|error| self.unreachable(&error))?;
        let (status, body) =
            self.exchange(stream, method, path, body).map_err(|error| self.broke_off(&error))?;
        if matches!(status, 200 | 201) { Ok(body) } else { Err(self.refused(status, body)) }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.place {
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Ok(Box::new(stream))
            }
            #[cfg(not(unix))]
            Place::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Place::Http(authority) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in authority.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                        Ok(stream) => {
                            stream.set_read_timeout(Some(self.patience))?;
                            stream.set_write_timeout(Some(self.patience))?;
                            return Ok(Box::new(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    fn exchange(
        &self,
        mut stream: Box<dyn Stream>,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, Body)> {
        let host = match &self.place {
            Place::Unix(_) => "hale",
            Place::Http(authority) => authority,
        };
        let token = self
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        Body::read_head(BufReader::new(stream))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let place = &self.place;
        match (place, error.kind()) {
            (Place::Unix(_), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Failure::running(format!("no server is running at {place}")).hint(WHERE)
            }
            (Place::Unix(_), io::ErrorKind::PermissionDenied) => {
                Failure::running(format!("{place} may not be opened: {error}"))
                    .hint("the socket belongs to the user the server runs as: be that user, or root")
            }
            (Place::Http(_), _) => {
                Failure::running(format!("no server answers at {place}: {error}")).hint(WHERE)
            }
            _ => Failure::running(format!("{place} cannot be reached: {error}")),
        }
    }

    /// What to say when the connection fails within an answer.
    pub(super) fn broke_off(&self, error: &io::Error) -> Failure {
        match error.kind() {
            // A read that times out is EAGAIN on Unix.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::running(format!(
                "{} did not answer within {} s",
                self.place,
                self.patience.as_secs()
            )),
            _ => Failure::running(format!("the answer of {} broke off: {error}", self.place)),
        }
    }

    fn refused(&self, status: u16, body: Body) -> Failure {
        let mut text = Vec::new();
        // Whatever arrived of it is what can be told.
        let _ = body.take(PROBLEM_LIMIT).read_to_end(&mut text);
        let Ok(problem) = serde_json::from_slice::<Problem>(&text) else {
            return Failure::running(format!("{} answers with HTTP status {status}", self.place))
                .hint("is this the admin listener of a Hale server?");
        };
        let failure = Failure::running(problem.detail);
        match (status, problem.hint) {
            (401, _) => failure.hint("give the token with --token-file FILE"),
            (_, Some(hint)) => failure.hint(hint),
            _ => failure,
        }
    }
}

/// The body of an answer. It ends with an error where the connection ends before the body does.
pub(super) struct Body {
    stream: BufReader<Box<dyn Stream>>,
    framing: Framing,
}

/// How the end of a body is told (RFC 9112 §6.3).
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of the present chunk are left; `first` before any chunk.
    Chunked { left: u64, first: bool },
    /// With the connection.
    Close,
    /// It has ended.
    Ended,
}

impl Body {
    /// Reads the status line and the headers.
    fn read_head(mut stream: BufReader<Box<dyn Stream>>) -> io::Result<(u16, Self)> {
        let mut head = stream.by_ref().take(HEAD_LIMIT);
        let status_line = line(&mut head)?;
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| invalid("it is not HTTP"))?;
        let mut framing = Framing::Close;
        loop {
            let header = line(&mut head)?;
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else {
                return Err(invalid("a header has no colon"));
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked { left: 0, first: true };
            } else if name.eq_ignore_ascii_case("content-length")
                && !matches!(framing, Framing::Chunked { .. })
            {
                framing = Framing::Length(value.parse().map_err(|_| invalid("its length is not a number"))?);
            }
        }
        Ok((status, Self { stream, framing }))
    }

    /// Reads from the present chunk or to the end of the connection.
    fn read_some(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match self.stream.read(&mut buffer[..limit])? {
            0 if limit > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }

    /// The size of the next chunk, 0 for the last one.
    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        let mut head = self.stream.by_ref().take(HEAD_LIMIT);
        if !first && !line(&mut head)?.is_empty() {
            return Err(invalid("a chunk is longer than it says"));
        }
        let size = line(&mut head)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk has no size"))
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Ended => Ok(0),
            Framing::Close => self.stream.read(buffer),
            Framing::Length(0) => Ok(0),
            Framing::Length(left) => {
                let n = self.read_some(buffer, left)?;
                self.framing = Framing::Length(left - n as u64);
                Ok(n)
            }
            Framing::Chunked { left: 0, first } => match self.next_chunk(first)? {
                0 => {
                    self.framing = Framing::Ended;
                    Ok(0)
                }
                left => {
                    self.framing = Framing::Chunked { left, first: false };
                    self.read(buffer)
                }
            },
            Framing::Chunked { left, first } => {
                let n = self.read_some(buffer, left)?;
                self.framing = Framing::Chunked { left: left - n as u64, first };
                Ok(n)
            }
        }
    }
}

/// One line without its CRLF.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    stream.read_line(&mut text)?;
    let Some(text) = text.strip_suffix('\n') else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn places() {
        let http = |text: &str| Some(Place::Http(text.to_owned()));
        for (text, want) in [
            ("unix:/run/hale.sock", Some(Place::Unix("/run/hale.sock".into()))),
            ("http://127.0.0.1:8053", http("127.0.0.1:8053")),
            ("http://[::1]:8053/", http("[::1]:8053")),
            ("http://[::1]", http("[::1]:80")),
            ("http://hale.example", http("hale.example:80")),
            ("https://hale.example", None),
            ("http://", None),
            ("http://a/b", None),
            ("http://user@a", None),
            ("unix:", None),
            ("/run/hale.sock", None),
            ("", None),
        ] {
            assert_eq!(Place::parse(text).ok(), want, "{text}");
        }
    }

    /// What the answer `bytes` reads as: its status and body, or the kind of error.
    fn answer(bytes: &str) -> Result<(u16, String), io::ErrorKind> {
        let stream: Box<dyn Stream> = Box::new(Cursor::new(bytes.as_bytes().to_vec()));
        let (status, mut body) = Body::read_head(BufReader::new(stream)).map_err(|e| e.kind())?;
        let mut text = String::new();
        body.read_to_string(&mut text).map_err(|e| e.kind())?;
        Ok((status, text))
    }

    #[test]
    fn bodies_end_where_they_say() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        let ok = |status, text: &str| Ok((status, text.to_owned()));
        for (bytes, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", ok(200, "abc")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Err(UnexpectedEof)),
            ("HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\nab", ok(404, "ab")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                ok(200, "abc0123456789"),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ok(200, "")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Err(UnexpectedEof)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", Err(UnexpectedEof)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Err(InvalidData)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Err(InvalidData)),
            ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", Err(InvalidData)),
            ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", Err(InvalidData)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Err(InvalidData)),
            ("HTTP/1.1 200", Err(UnexpectedEof)),
            ("", Err(UnexpectedEof)),
        ] {
            assert_eq!(answer(bytes), want, "{bytes:?}");
        }
    }
}
