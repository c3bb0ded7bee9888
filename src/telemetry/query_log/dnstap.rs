//! dnstap (<https://dnstap.info>) to a reader on a unix socket, by bidirectional Frame Streams (<https://farsightsec.github.io/fstrm/>).
//!
//! A reader that takes nothing for two seconds is left, and connected to again: what it had not taken of a frame is lost with the connection.

use std::io::{self, BufWriter, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::DnstapSettings;
use super::mailbox::{BatchTime, Fate, Logged};
use super::message;
use super::protobuf::Message;
use super::writer::Sink;
use crate::telemetry::counters::Protocol;

/// How long the reader may take nothing, and how long each step of the handshake may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Octets written at once.
const BUFFER: usize = 64 * 1024;
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// The longest control frame that is read (fstrm's own limit).
const MAX_CONTROL: usize = 512;

// Control frames and their one field (fstrm/control.h).
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;
const FIELD_CONTENT_TYPE: u32 = 1;

/// Message types (dnstap.proto).
const AUTH_QUERY: u64 = 1;
const AUTH_RESPONSE: u64 = 2;

/// See the module's documentation.
pub(super) struct Dnstap {
    settings: DnstapSettings,
    stream: Option<BufWriter<UnixStream>>,
    inner: Message,
    outer: Message,
}

impl Dnstap {
    /// Not connected yet.
    pub(super) fn new(settings: &DnstapSettings) -> Self {
        Self {
            settings: settings.clone(),
            stream: None,
            inner: Message::default(),
            outer: Message::default(),
        }
    }

    fn send(&mut self, kind: u64, time: BatchTime, logged: &Logged<'_>) -> io::Result<()> {
        encode_message(&mut self.inner, kind, time, logged, self.settings.responses_with_queries);
        self.outer.clear();
        self.outer.bytes(1, self.settings.identity.as_bytes());
        self.outer.bytes(2, concat!("hale ", env!("CARGO_PKG_VERSION")).as_bytes());
        self.outer.bytes(14, self.inner.octets());
        // Type MESSAGE.
        self.outer.number(15, 1);
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        let frame = self.outer.octets();
        stream.write_all(&(frame.len() as u32).to_be_bytes())?;
        stream.write_all(frame)
    }
}

impl Sink for Dnstap {
    fn open(&mut self) -> io::Result<()> {
        let mut stream = connect(&self.settings.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&control(READY, true))?;
        if read_control(&mut stream)? != ACCEPT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reader does not take dnstap"));
        }
        stream.write_all(&control(START, true))?;
        self.stream = Some(BufWriter::with_capacity(BUFFER, stream));
        Ok(())
    }

    fn write(&mut self, time: BatchTime, logged: &Logged<'_>) -> io::Result<()> {
        if self.settings.queries {
            self.send(AUTH_QUERY, time, logged)?;
        }
        if self.settings.responses && logged.fate == Fate::Answered {
            self.send(AUTH_RESPONSE, time, logged)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    /// A reader says nothing after the handshake: if there is something to read, it is the end.
    fn is_alive(&mut self) -> bool {
        let Some(stream) = &self.stream else { return false };
        let stream = stream.get_ref();
        let looked = stream.set_nonblocking(true).and_then(|()| (&mut &*stream).read(&mut [0]));
        let restored = stream.set_nonblocking(false);
        restored.is_ok() && looked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    fn rotates(&self) -> bool {
        false
    }

    fn close(&mut self, has_failed: bool) {
        let Some(stream) = self.stream.take() else { return };
        if has_failed {
            // What the buffer holds would block or fail again.
            let _ = stream.into_parts();
            return;
        }
        // The reader has what was written either way; the handshake at the end only tells it that this was all.
        let _ = stream.into_inner().map_err(io::IntoInnerError::into_error).and_then(|mut stream| {
            stream.write_all(&control(STOP, false))?;
            read_control(&mut stream).map(|kind| debug_assert_eq!(kind, FINISH))
        });
    }

    fn what(&self) -> String {
        self.settings.socket.display().to_string()
    }
}

/// Connects without waiting: a reader that accepts nothing has a full queue, where a blocking call would hang.
fn connect(path: &std::path::Path) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

/// A control frame: an escape in place of a frame's length, its own length, its type, and the content type where it belongs.
fn control(kind: u32, with_content_type: bool) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    if with_content_type {
        body.extend_from_slice(&FIELD_CONTENT_TYPE.to_be_bytes());
        body.extend_from_slice(&(CONTENT_TYPE.len() as u32).to_be_bytes());
        body.extend_from_slice(CONTENT_TYPE);
    }
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// Reads a control frame and gives its type. A reader that accepts, but other content, is an error.
fn read_control(stream: &mut impl io::Read) -> io::Result<u32> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the reader does not speak Frame Streams");
    let mut word = || {
        let mut octets = [0; 4];
        stream.read_exact(&mut octets).map(|()| u32::from_be_bytes(octets))
    };
    let (escape, length) = (word()?, word()? as usize);
    if escape != 0 || !(4..=MAX_CONTROL).contains(&length) {
        return Err(malformed());
    }
    let kind = word()?;
    let mut fields = vec![0; length - 4];
    stream.read_exact(&mut fields)?;
    if kind != ACCEPT {
        return Ok(kind);
    }
    // Without a content type any is accepted.
    let mut rest = &fields[..];
    let mut accepts = rest.is_empty();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (content, after) = after.split_at_checked(length).ok_or_else(malformed)?;
        accepts |= head[..4] == FIELD_CONTENT_TYPE.to_be_bytes() && content == CONTENT_TYPE;
        rest = after;
    }
    if accepts { Ok(ACCEPT) } else { Err(malformed()) }
}

/// dnstap's `Message`, in the order of its fields (dnstap.proto).
fn encode_message(to: &mut Message, kind: u64, time: BatchTime, logged: &Logged<'_>, with_query: bool) {
    to.clear();
    to.number(1, kind);
    to.number(2, if logged.client.is_ipv4() { 1 } else { 2 });
    to.number(3, if logged.protocol == Protocol::Udp { 1 } else { 2 });
    encode_ip(to, 4, logged.client);
    // Where the kernel does not tell more, only the port of a wildcard socket is known.
    let server = logged.server;
    if let Some(server) = server.filter(|server| !server.ip().is_unspecified()) {
        encode_ip(to, 5, server);
    }
    to.number(6, logged.client.port().into());
    if let Some(server) = server {
        to.number(7, server.port().into());
    }
    to.number(8, time.received.as_secs());
    to.fixed32(9, time.received.subsec_nanos());
    if kind == AUTH_QUERY || with_query {
        to.bytes(10, logged.query);
    }
    if let Some(zone) = message::zone(logged.query, logged.zone_octets) {
        to.bytes(11, &zone);
    }
    if kind == AUTH_RESPONSE {
        let answered = time.received + time.took;
        to.number(12, answered.as_secs());
        to.fixed32(13, answered.subsec_nanos());
        to.bytes(14, logged.response);
    }
}

fn encode_ip(to: &mut Message, field: u32, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(v4) => to.bytes(field, &v4.octets()),
        IpAddr::V6(v6) => to.bytes(field, &v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_other_content_is_refused() {
        let accept = |content: &[u8]| {
            let mut frame =
                vec![0, 0, 0, 0, 0, 0, 0, 12 + content.len() as u8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
            frame.push(content.len() as u8);
            frame.extend_from_slice(content);
            read_control(&mut &frame[..]).ok()
        };
        assert_eq!(accept(CONTENT_TYPE), Some(ACCEPT));
        assert_eq!(accept(b"something else"), None);
        for (frame, kind) in [
            (&b"\0\0\0\0\0\0\0\x04\0\0\0\x01"[..], Some(ACCEPT)),
            (b"\0\0\0\0\0\0\0\x04\0\0\0\x05", Some(FINISH)),
            (b"\0\0\0\x01\0\0\0\x04\0\0\0\x01", None),
            (b"\0\0\0\0\0\0\0\x03\0\0\0\x01", None),
            (b"\0\0\0\0\x7f\0\0\x04\0\0\0\x01", None),
            (b"\0\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x01\0\0\0\xff", None),
        ] {
            assert_eq!(read_control(&mut &frame[..]).ok(), kind, "{frame:?}");
        }
    }
}
