//! Connections to a running server: by its unix socket, in the clear, or by TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, Error as TlsError, StreamOwned};

use super::client::Client;
use super::outcome::Failure;
use super::place::Place;
use crate::tls::ClientConfigs;

/// Connecting takes at most so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What to do where no server is found.
const WHERE: &str = "start one with `hale serve`, or say where it is: --state DIR or --server URL";

/// What a request goes out by.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Which certificate a server has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// One of its name that rests on the system's roots.
    System,
    /// One of its name that rests on a certificate of this file.
    File(PathBuf),
    /// Any: where nothing is sent that is worth anything, and what is answered does not matter much.
    Any,
}

impl Client {
    /// Connects, and lets nobody else have the token.
    ///
    /// # Errors
    /// Nobody is there, or it is not who is meant.
    pub(super) fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        match &self.place {
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path);
                let stream = stream.and_then(|stream| {
                    stream.set_read_timeout(Some(self.patience))?;
                    stream.set_write_timeout(Some(self.patience))?;
                    Ok(stream)
                });
                Ok(Box::new(stream.map_err(|error| self.unreachable(&error))?))
            }
            #[cfg(not(unix))]
            Place::Unix(_) => Err(self.unreachable(&io::ErrorKind::Unsupported.into())),
            Place::Url { tls, authority } => {
                let (stream, peer) = self.dial(authority).map_err(|error| self.unreachable(&error))?;
                if *tls {
                    return self.secure(stream, authority);
                }
                if self.token.is_some() && !peer.to_canonical().is_loopback() {
                    let why = format!("the token would go to {} in the clear", self.place);
                    return Err(Failure::usage(why)
                        .hint("use https:// with \"admin\": { \"tls\": … } in hale.json, or a tunnel to its loopback address, such as that of ssh -L"));
                }
                Ok(Box::new(stream))
            }
        }
    }

    /// Tries one address after the other.
    fn dial(&self, authority: &str) -> io::Result<(TcpStream, IpAddr)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT.min(self.patience)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.patience))?;
                    stream.set_write_timeout(Some(self.patience))?;
                    return Ok((stream, address.ip()));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Does the handshake, so that what is wrong with the certificate is told before anything is sent.
    fn secure(&self, mut stream: TcpStream, authority: &str) -> Result<Box<dyn Stream>, Failure> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::usage(format!("{host:?} is neither a name nor an address")))?;
        let (verify, ca_file) = match &self.trust {
            Trust::System => (true, None),
            Trust::File(file) => (true, Some(file.as_path())),
            Trust::Any => (false, None),
        };
        let config = ClientConfigs::default().get(verify, ca_file).map_err(Failure::usage)?;
        let mut tls = ClientConnection::new(config, name)
            .map_err(|error| Failure::running(format!("{}: {error}", self.place)))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).map_err(|error| self.no_tls(&error))?;
        }
        Ok(Box::new(StreamOwned::new(tls, stream)))
    }

    /// What to say where the handshake fails.
    fn no_tls(&self, error: &io::Error) -> Failure {
        let place = &self.place;
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match tls {
            Some(TlsError::InvalidCertificate(why)) => {
                Failure::running(format!("the certificate of {place} is not accepted: {why}")).hint(
                    "the name after https:// has to stand in it; give what it rests on, or itself if it rests on nothing, with --ca-file FILE",
                )
            }
            Some(_) => Failure::running(format!("{place} does not speak TLS: {error}"))
                .hint("without admin.tls a server is asked by http://"),
            None => self.broke_off(error),
        }
    }

    /// What to say where nobody is.
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
            (Place::Url { .. }, _) => {
                Failure::running(format!("no server answers at {place}: {error}")).hint(WHERE)
            }
            _ => Failure::running(format!("{place} cannot be reached: {error}")),
        }
    }
}
