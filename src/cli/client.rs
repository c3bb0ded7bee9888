//! Talks to a running server: HTTP/1.1 over the unix socket in its state directory, or to a URL.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::connect::{Stream, Trust};
use super::outcome::{Failure, USAGE};
use super::place::Place;
use crate::model::report::Problem;

/// A status line and headers are at most so long.
const HEAD_LIMIT: u64 = 64 * 1024;
/// Error texts are at most so long.
const PROBLEM_LIMIT: u64 = 64 * 1024;

/// A server to ask.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) place: Place,
    pub(super) token: Option<String>,
    /// Which certificate it has to show, where it is asked by TLS.
    pub(super) trust: Trust,
    /// Longest silence that is waited for.
    pub(super) patience: Duration,
}

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
        self.try_request(method, path, body).map_err(|(Hope::Some | Hope::None, failure)| failure)
    }

    /// Likewise, for those who would try again.
    ///
    /// # Errors
    /// With whether there is any hope in that.
    pub(super) fn try_request(&self, method: &str, path: &str, body: &str) -> Result<Body, (Hope, Failure)> {
        let away = |failure: Failure| match failure {
            Failure::Sentence { code: USAGE, .. } => (Hope::None, failure),
            failure => (Hope::Some, failure),
        };
        let stream = self.connect().map_err(away)?;
        let (status, body) =
            self.exchange(stream, method, path, body).map_err(|error| away(self.broke_off(&error)))?;
        match status {
            200 | 201 => Ok(body),
            429 | 503 => Err((Hope::Some, self.refused(status, body))),
            _ => Err((Hope::None, self.refused(status, body))),
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
            Place::Url { authority, .. } => authority,
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

    /// What to say when the connection fails within an answer.
    pub(super) fn broke_off(&self, error: &io::Error) -> Failure {
        match error.kind() {
            // A read that times out is EAGAIN on Unix.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::running(format!(
                "{} did not answer within {} s",
                self.place,
                self.patience.as_secs()
            )),
            _ => {
                let failure = Failure::running(format!("the answer of {} broke off: {error}", self.place));
                match &self.place {
                    // What TLS says to a request in the clear is no HTTP.
                    Place::Url { tls: false, .. } => {
                        failure.hint("a server with admin.tls is asked by https://")
                    }
                    _ => failure,
                }
            }
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
            (401, _) if self.token.is_none() => failure.hint("give the token with --token-file FILE"),
            (401, _) => failure.hint("the file of --token-file has to hold what admin.token says now"),
            (_, Some(hint)) => failure.hint(hint),
            _ => failure,
        }
    }
}

/// Whether a request that failed may do better later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    /// The server was not there, or had too much to do.
    Some,
    /// It said no, or the arguments are wrong.
    None,
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
