//! Binding: every socket is bound before anything is served, so that what cannot be had is told at once.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::ListenAddress;

/// Requested send buffer; `net.core.wmem_max` may cut it.
const SEND_BUFFER: usize = 1 << 20;
/// A datagram waits no longer than this for a device that takes nothing.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);
/// An idle worker looks up so often.
pub(super) const IDLE_WAKE: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 1024;
/// Attempts to find a port that is free for UDP and TCP alike.
const PORT_ATTEMPTS: usize = 32;

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// As configured.
    pub address: SocketAddr,
    /// `UDP` or `TCP`; empty where it is not about one of them.
    pub protocol: &'static str,
    /// What the system said.
    pub error: io::Error,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.protocol.is_empty() { "" } else { " " };
        write!(f, "cannot listen on {}{space}{}: {}", self.address, self.protocol, self.error)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The sockets of one `listen` entry: one of each kind for a worker.
#[derive(Debug)]
pub(super) struct Sockets {
    /// As it stands in the list.
    pub(super) configured: SocketAddr,
    /// As bound, with the port the system gave for port 0.
    pub(super) address: SocketAddr,
    pub(super) udp: Vec<Socket>,
    pub(super) tcp: Vec<Socket>,
    /// Whether the service manager holds them too: what is done to them outlives this process.
    pub(super) handed: bool,
}

/// Binds every address. An optional one whose family the machine does not have is left out with a warning.
pub(super) fn bind_all(
    listen: &[ListenAddress],
    workers: usize,
    receive_buffer: usize,
) -> Result<Vec<Sockets>, BindError> {
    let mut all = Vec::with_capacity(listen.len());
    for (i, entry) in listen.iter().enumerate() {
        match bind_one(entry.address, workers, receive_buffer, false) {
            Ok(sockets) => all.push(sockets),
            Err(e) if entry.optional && is_missing_family(&e.error) => {
                tracing::warn!(address = %entry.address, error = %e.error, "this machine has no such address family: not listening there");
            }
            Err(e) => return Err(with_hint(e, &listen[..i])),
        }
    }
    if let ([], Some(first)) = (all.as_slice(), listen.first()) {
        let error = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address left to listen on");
        return Err(BindError { address: first.address, protocol: "", error, hint: String::new() });
    }
    Ok(all)
}

/// Binds an address beside those that are served. One that overlaps with another of this server (`beside_own`), which is about to go, shares
/// its port with it until then.
pub(super) fn bind_more(
    entry: ListenAddress,
    workers: usize,
    receive_buffer: usize,
    beside_own: bool,
) -> Result<Option<Sockets>, BindError> {
    match bind_one(entry.address, workers, receive_buffer, beside_own) {
        Ok(sockets) => Ok(Some(sockets)),
        // It was said at the start.
        Err(e) if entry.optional && is_missing_family(&e.error) => Ok(None),
        Err(e) => Err(with_hint(e, &[])),
    }
}

fn bind_one(
    address: SocketAddr,
    workers: usize,
    receive_buffer: usize,
    beside_own: bool,
) -> Result<Sockets, BindError> {
    let mut attempt = 1;
    loop {
        let udp = bind_group(address, Type::DGRAM, workers, beside_own)?;
        widen(udp.iter().map(SockRef::from), address, receive_buffer);
        let bound = local_address(&udp, address)?;
        match bind_group(bound, Type::STREAM, workers, beside_own) {
            Ok(tcp) => {
                return Ok(Sockets { configured: address, address: bound, udp, tcp, handed: false });
            }
            // Port 0: what UDP was given is taken for TCP; another draw.
            Err(e)
                if address.port() == 0
                    && attempt < PORT_ATTEMPTS
                    && e.error.kind() == io::ErrorKind::AddrInUse =>
            {
                attempt += 1;
            }
            Err(e) => return Err(BindError { address, ..e }),
        }
    }
}

/// One socket a worker, all on one address and port.
///
/// Linux shares an address between sockets that all have SO_REUSEPORT and one owner. So the first is bound without the option:
/// then any other process there, another Hale included, is an error instead of a silent half of the queries. The option is
/// set on it afterwards, which lets our own others join (and, being set before `listen`, puts it into their TCP group).
fn bind_group(
    address: SocketAddr,
    kind: Type,
    workers: usize,
    beside_own: bool,
) -> Result<Vec<Socket>, BindError> {
    let protocol = if kind == Type::DGRAM { "UDP" } else { "TCP" };
    let fail = |error| BindError { address, protocol, error, hint: String::new() };
    let first = new_socket(address, kind).map_err(fail)?;
    if beside_own {
        share(&first).map_err(fail)?;
    }
    first.bind(&address.into()).map_err(fail)?;
    let mut group = vec![first];
    let bound = local_address(&group, address)?;
    for _ in 1..workers {
        share(&group[0]).map_err(fail)?;
        let socket = new_socket(address, kind).map_err(fail)?;
        share(&socket).map_err(fail)?;
        socket.bind(&bound.into()).map_err(fail)?;
        group.push(socket);
    }
    if kind == Type::STREAM {
        for socket in &group {
            socket.listen(BACKLOG).map_err(fail)?;
        }
    }
    Ok(group)
}

#[cfg(unix)]
pub(super) fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
pub(super) fn share(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn new_socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::DGRAM { Protocol::UDP } else { Protocol::TCP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // The IPv4 wildcard is an entry of its own; a socket for both would answer IPv4 from mapped addresses.
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        // Connections of the process before us in TIME_WAIT do not keep the port. On UDP this option would share it.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
    }
    prepare(&socket, address)?;
    Ok(socket)
}

/// The options of a socket that does not depend on us to open it.
pub(super) fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if socket.r#type()? == Type::STREAM {
        // Responses are written whole: there is nothing to wait for. Connections inherit it, which saves each of them a call.
        socket.set_tcp_nodelay(true)?;
        return socket.set_nonblocking(true);
    }
    socket.set_nonblocking(false)?;
    // More is better, less is no reason not to serve.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    socket.set_read_timeout(Some(IDLE_WAKE))?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    #[cfg(target_os = "linux")]
    {
        super::udp::mmsg::ignore_path_mtu(socket, address.is_ipv6())?;
        if address.ip().is_unspecified() {
            super::udp::mmsg::receive_local_address(socket, address.is_ipv6())?;
        }
    }
    Ok(())
}

/// Gives every socket its receive buffer. Less is no reason not to serve, but one to be told.
pub(super) fn widen<'s>(sockets: impl Iterator<Item = SockRef<'s>>, address: SocketAddr, octets: usize) {
    let least = sockets.filter_map(|socket| receive_buffer(&socket, octets).ok()).min();
    if let Some(least) = least.filter(|least| *least < octets) {
        tracing::warn!(
            %address, wanted = octets, granted = least,
            "the receive buffer is smaller than limits.receive_buffer: raise net.core.rmem_max, or give the program CAP_NET_ADMIN"
        );
    }
}

#[cfg(target_os = "linux")]
fn receive_buffer(socket: &Socket, octets: usize) -> io::Result<usize> {
    super::udp::mmsg::set_receive_buffer(socket, octets)
}

#[cfg(not(target_os = "linux"))]
fn receive_buffer(socket: &Socket, octets: usize) -> io::Result<usize> {
    socket.set_recv_buffer_size(octets)?;
    socket.recv_buffer_size()
}

fn local_address(group: &[Socket], configured: SocketAddr) -> Result<SocketAddr, BindError> {
    let fail = |error| BindError { address: configured, protocol: "", error, hint: String::new() };
    let address = group[0].local_addr().map_err(fail)?;
    address.as_socket().ok_or_else(|| fail(io::ErrorKind::Unsupported.into()))
}

fn is_missing_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Adds what to do about it. `earlier` are the entries that were bound already.
fn with_hint(e: BindError, earlier: &[ListenAddress]) -> BindError {
    let port = e.address.port();
    let hint = match e.error.kind() {
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "ports below 1024 need a privilege: give the program CAP_NET_BIND_SERVICE (AmbientCapabilities= in a systemd unit, \
             `setcap cap_net_bind_service=p hale`), or listen on a port above; port {port} was asked for"
        ),
        io::ErrorKind::AddrInUse => match earlier.iter().find(|other| overlap(other.address, e.address)) {
            Some(other) => {
                format!("{} in the same list covers it already: keep one of the two", other.address)
            }
            None => format!(
                "another server is on it, maybe an older hale: `ss -lnptu 'sport = :{port}'` shows which{}",
                if port == 53 && e.address.ip().is_unspecified() {
                    "; systemd-resolved holds 127.0.0.53 only: list this machine's addresses one by one beside it"
                } else {
                    ""
                }
            ),
        },
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address".to_owned(),
        _ if is_missing_family(&e.error) => "this machine has no IPv6: remove the entry".to_owned(),
        _ => String::new(),
    };
    BindError { hint, ..e }
}

pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wild =
        |ip: IpAddr| ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let covers = a.ip() == b.ip() || wild(a.ip()) || wild(b.ip());
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && covers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hint for an error at an address, when `earlier` was bound already.
    fn check(earlier: &str, address: &str, error: io::ErrorKind, expected: &str) {
        let address = address.parse().unwrap();
        let earlier = [ListenAddress { address: earlier.parse().unwrap(), optional: false }];
        let error = with_hint(
            BindError { address, protocol: "UDP", error: error.into(), hint: String::new() },
            &earlier,
        );
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {address} UDP: ")), "{text}");
        assert!(error.hint.contains(expected) && expected.is_empty() == error.hint.is_empty(), "{text}");
    }

    #[test]
    fn errors_say_what_to_do() {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory, PermissionDenied, Unsupported};
        let other = "192.0.2.9:5";
        check(other, "192.0.2.1:53", PermissionDenied, "CAP_NET_BIND_SERVICE");
        check(other, "192.0.2.1:5353", PermissionDenied, "");
        check(other, "192.0.2.1:5353", AddrInUse, "`ss -lnptu 'sport = :5353'`");
        check(other, "0.0.0.0:53", AddrInUse, "systemd-resolved");
        check("0.0.0.0:53", "192.0.2.1:53", AddrInUse, "0.0.0.0:53 in the same list");
        check("192.0.2.1:53", "0.0.0.0:53", AddrInUse, "192.0.2.1:53 in the same list");
        check("[::]:53", "192.0.2.1:53", AddrInUse, "another server");
        check("0.0.0.0:54", "192.0.2.1:53", AddrInUse, "another server");
        check(other, "192.0.2.1:53", AddrNotAvailable, "no interface");
        check(other, "[::]:53", Unsupported, "no IPv6");
        check(other, "192.0.2.1:53", OutOfMemory, "");
    }

    #[cfg(unix)]
    #[test]
    fn a_missing_family_is_told_from_other_errors() {
        for (code, expected) in [
            (libc::EAFNOSUPPORT, true),
            (libc::EADDRNOTAVAIL, true),
            (libc::EADDRINUSE, false),
            (libc::EACCES, false),
            (libc::EMFILE, false),
        ] {
            assert_eq!(is_missing_family(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
    }

    #[test]
    fn datagram_sockets_have_what_they_need() {
        let bound = bind_all(
            &[ListenAddress { address: "127.0.0.1:0".parse().unwrap(), optional: false }],
            2,
            65_536,
        )
        .unwrap();
        for socket in &bound[0].udp {
            assert!(receive_buffer(socket, 65_536).unwrap() >= 65_536);
            assert_eq!(socket.read_timeout().unwrap(), Some(IDLE_WAKE));
            assert_eq!(socket.write_timeout().unwrap(), Some(SEND_TIMEOUT));
            assert!(!socket.reuse_address().unwrap(), "it would share the port with anybody");
        }
    }
}
