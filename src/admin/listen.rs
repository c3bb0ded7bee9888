//! The sockets of the admin listener: bound first, so that a port in use is found at start, and served when the server runs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use super::access::{Door, Rules};
use super::control::Control;
use super::tls::Tls;
use super::{pages, serve};
use crate::config::AdminConfig;
use crate::model::diagnostic::Diagnostic;
use crate::model::report::SOCKET_NAME;
use crate::telemetry::logs;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// What a TCP listener carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    Everything,
    Metrics,
    Probes,
}

impl Carries {
    fn name(self) -> &'static str {
        match self {
            Self::Everything => "admin",
            Self::Metrics => "metrics",
            Self::Probes => "probes",
        }
    }
}

/// The bound sockets, not served yet.
#[derive(Debug)]
pub struct Admin {
    tcp: Vec<(Carries, SocketAddr, TcpListener)>,
    #[cfg(unix)]
    unix: Option<(SocketFile, std::os::unix::net::UnixListener)>,
    rules: Arc<Rules>,
    tls: Option<Arc<Tls>>,
}

impl Admin {
    /// Binds what `config` names, and the unix socket in `state` if there is a state directory. The caller holds the lock of that
    /// directory: a socket that is left there is known to be stale and is replaced.
    ///
    /// # Errors
    /// A listener off loopback without a token, or a socket that cannot be bound.
    pub fn bind(config: &AdminConfig, state: Option<&Path>) -> Result<Self, Diagnostic> {
        let token = config.token.as_deref();
        let mut rules = Rules::new(token, &config.hosts, config.requests_per_second)
            .map_err(|_| no_randomness("admin.token"))?;
        let tls = config.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
        let wanted = [
            (Carries::Everything, "admin.listen", config.listen),
            (Carries::Metrics, "admin.metrics_listen", config.metrics_listen),
            (Carries::Probes, "admin.probes_listen", config.probes_listen),
        ];
        let mut tcp = Vec::new();
        for (carries, key, address) in wanted {
            let Some(address) = address else { continue };
            if carries == Carries::Everything && Door::of(address) == Door::Open && token.is_none() {
                return Err(Diagnostic::error(
                    Path::new(key),
                    format!("{address} can be reached by others, and there is no token"),
                )
                .hint("set admin.token, or listen on 127.0.0.1"));
            }
            let listener =
                bind_tcp(address).map_err(|error| cannot_listen(key, &address.to_string(), &error))?;
            let bound =
                listener.local_addr().map_err(|error| cannot_listen(key, &address.to_string(), &error))?;
            tcp.push((carries, bound, listener));
        }
        #[cfg(unix)]
        let unix = match state {
            Some(state) => {
                let path = state.join(SOCKET_NAME);
                let bound = bind_unix(&path)
                    .map_err(|error| cannot_listen("state", &path.display().to_string(), &error))?;
                Some((SocketFile(path), bound))
            }
            None => None,
        };
        rules.has_tls = tls.is_some();
        Ok(Self {
            tcp,
            #[cfg(unix)]
            unix,
            rules: Arc::new(rules),
            tls,
        })
    }

    /// The TCP sockets by what they carry (`admin`, `metrics`, `probes`), with the port that was given for port 0.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.tcp.iter().map(|&(carries, address, _)| (carries.name(), address))
    }

    /// What requests are held to, which can change while they are served.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// Serves on the current runtime until `stop` turns true (or its sender is gone), then lets requests under way end, for a
    /// moment. The unix socket is removed from the file system at the end.
    ///
    /// # Errors
    /// A socket that the runtime does not take.
    pub async fn serve(self, control: Arc<dyn Control>, stop: watch::Receiver<bool>) -> io::Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for (carries, address, listener) in self.tcp {
            let router = match carries {
                Carries::Everything => {
                    pages::everything(control.clone(), Door::of(address), Arc::clone(&self.rules))
                }
                Carries::Metrics => pages::metrics_only(control.clone()),
                Carries::Probes => pages::probes(control.clone()),
            };
            let listener = tokio::net::TcpListener::from_std(listener)?;
            logs::listening(carries.name(), address);
            // Probes and scrapers of the narrow listeners are on the machine's own network, and have nothing to hide.
            let tls = self.tls.clone().filter(|_| carries == Carries::Everything);
            tasks.spawn(serve::accept(listener, router, tls, stop.clone()));
        }
        #[cfg(unix)]
        let _removed_at_the_end = match self.unix {
            Some((file, listener)) => {
                let router = pages::everything(control.clone(), Door::Unix, self.rules);
                let listener = tokio::net::UnixListener::from_std(listener)?;
                logs::listening("admin", file.0.display());
                tasks.spawn(serve::accept(listener, router, None, stop.clone()));
                Some(file)
            }
            None => None,
        };
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}

/// Removes the unix socket when it is dropped, so that a client is told "not running" rather than "connection refused".
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, that is what was wanted.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn no_randomness(key: &str) -> Diagnostic {
    Diagnostic::error(Path::new(key), "the system gives no random numbers")
}

fn cannot_listen(key: &str, address: &str, error: &io::Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(Path::new(key), format!("cannot listen on {address}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => diagnostic.hint("another process has this port; see `ss -ltnp`"),
        io::ErrorKind::PermissionDenied => {
            diagnostic.hint("ports below 1024 need CAP_NET_BIND_SERVICE; directories must be writable")
        }
        io::ErrorKind::InvalidInput => {
            diagnostic.hint("the path of a unix socket has at most 107 bytes: choose a shorter --state")
        }
        _ => diagnostic,
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A port whose last connections linger in TIME_WAIT can be bound again; one that is listened on cannot.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds under another name, restricts the mode, listens and only then moves the socket into place: at no moment can another user
/// connect, and a stale socket is replaced in one step. (Setting the umask instead would change it for every thread.)
#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;

    let new = path.with_extension("new");
    let address = socket2::SockAddr::unix(&new)?;
    if let Err(error) = std::fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    std::fs::rename(&new, path)?;
    Ok(socket.into())
}
