//! Sockets that the service manager opened and hands over (sd_listen_fds(3)): it holds them while the server is restarted, so
//! that queries wait in the kernel instead of being refused, and the server needs no right to open them.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use listenfd::ListenFd;
use socket2::{SockRef, Socket, Type};

use super::bind::{BindError, Sockets, prepare, widen};

/// Sockets of the service manager; none where it has handed over none.
#[derive(Debug, Default)]
pub struct Handed(Vec<Sockets>);

/// A socket that cannot be used, and what to change in the `.socket` unit.
#[derive(Debug)]
pub struct HandedError {
    what: String,
    hint: String,
}

impl fmt::Display for HandedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket of the service manager: {}\n  hint: {}", self.what, self.hint)
    }
}

impl std::error::Error for HandedError {}

impl Handed {
    /// Takes what `LISTEN_FDS` and `LISTEN_PID` announce. To be called once, before there are threads: both variables are
    /// removed, so that no program that an exec check starts takes them for its own.
    ///
    /// # Errors
    /// One that is neither a UDP socket nor a listening TCP socket, an IPv6 wildcard that takes IPv4 too, or an address with only
    /// one of UDP and TCP.
    pub fn take() -> Result<Self, HandedError> {
        let mut manager = ListenFd::from_env();
        let mut sockets = Vec::with_capacity(manager.len());
        for i in 0..manager.len() {
            let datagram = manager.take_udp_socket(i).map(|udp| udp.map(Socket::from));
            let socket = datagram.or_else(|_| manager.take_tcp_listener(i).map(|tcp| tcp.map(Socket::from)));
            match socket {
                Ok(Some(socket)) => sockets.push(socket),
                Ok(None) => {}
                Err(e) => {
                    let hint = "give ListenDatagram= and ListenStream= an IP address and a port";
                    return Err(HandedError { what: e.to_string(), hint: hint.to_owned() });
                }
            }
        }
        Self::sorted(sockets)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sockets by address.
    fn sorted(sockets: Vec<Socket>) -> Result<Self, HandedError> {
        let mut all: Vec<Sockets> = Vec::new();
        for socket in sockets {
            let (address, is_udp) = judge(&socket)?;
            let place = all.iter().position(|other| other.address == address).unwrap_or_else(|| {
                all.push(Sockets {
                    configured: address,
                    address,
                    udp: Vec::new(),
                    tcp: Vec::new(),
                    handed: true,
                });
                all.len() - 1
            });
            let group = &mut all[place];
            if is_udp { &mut group.udp } else { &mut group.tcp }.push(socket);
        }
        for Sockets { address, udp, tcp, .. } in &all {
            let missing = match (udp.as_slice(), tcp.as_slice()) {
                ([], _) => ("UDP", "ListenDatagram"),
                (_, []) => ("TCP", "ListenStream"),
                _ => continue,
            };
            let what = format!("{address} has no {}, and DNS needs both (RFC 7766)", missing.0);
            return Err(HandedError { what, hint: format!("add {}={address}", missing.1) });
        }
        Ok(Self(all))
    }

    /// Makes them ready for so many workers: each has at least one of every kind and address. Where there are fewer sockets than
    /// workers, several read the same one.
    pub(super) fn for_workers(
        self,
        workers: usize,
        receive_buffer: usize,
    ) -> Result<Vec<Sockets>, BindError> {
        let mut all = self.0;
        for Sockets { address, udp, tcp, .. } in &mut all {
            for (group, protocol) in [(&mut *udp, "UDP"), (tcp, "TCP")] {
                let fail = |error| BindError { address: *address, protocol, error, hint: String::new() };
                for socket in group.iter() {
                    prepare(socket, *address).map_err(fail)?;
                }
                share_out(group, workers).map_err(fail)?;
            }
            widen(udp.iter().map(SockRef::from), *address, receive_buffer);
        }
        Ok(all)
    }
}

/// Copies descriptors, in turn, until there is one for each worker.
fn share_out(group: &mut Vec<Socket>, workers: usize) -> io::Result<()> {
    let given = group.len();
    for i in given..workers {
        group.push(group[i % given].try_clone()?);
    }
    Ok(())
}

/// The address of a socket that can be used, and whether it is one for datagrams.
fn judge(socket: &Socket) -> Result<(SocketAddr, bool), HandedError> {
    let wrong = |what: String, hint: &str| HandedError { what, hint: hint.to_owned() };
    let unreadable = |e: io::Error| wrong(e.to_string(), "is it a socket for UDP or TCP?");
    let address = socket.local_addr().map_err(unreadable)?.as_socket().ok_or_else(|| {
        wrong(
            "it has no IP address".to_owned(),
            "give ListenDatagram= and ListenStream= an address and a port",
        )
    })?;
    let is_udp = socket.r#type().map_err(unreadable)? == Type::DGRAM;
    if !is_udp && !is_listener(socket).map_err(unreadable)? {
        return Err(wrong(format!("{address} TCP is a connection"), "set Accept=no"));
    }
    // IPv4 queries would come with mapped addresses (RFC 4291 §2.5.5.2), which no rule about networks means.
    if address.is_ipv6() && address.ip().is_unspecified() && !socket.only_v6().map_err(unreadable)? {
        let what = format!("{address} takes IPv4 too");
        return Err(wrong(what, "set BindIPv6Only=ipv6-only, and list 0.0.0.0 beside [::]"));
    }
    Ok((address, is_udp))
}

#[cfg(target_os = "linux")]
fn is_listener(socket: &Socket) -> io::Result<bool> {
    socket.is_listener()
}

/// Nobody hands over sockets there.
#[cfg(not(target_os = "linux"))]
fn is_listener(_: &Socket) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn pair() -> (Socket, Socket, SocketAddr) {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = udp.local_addr().unwrap();
            if let Ok(tcp) = TcpListener::bind(address) {
                return (udp.into(), tcp.into(), address);
            }
        }
    }

    fn refused(sockets: Vec<Socket>, what: &str, hint: &str) {
        let text = Handed::sorted(sockets).unwrap_err().to_string();
        assert!(text.contains(what) && text.contains(hint), "{text}");
    }

    #[test]
    fn each_worker_gets_one_of_each_kind() {
        for workers in [1, 3] {
            let (udp, tcp, address) = pair();
            let (other_udp, other_tcp, other) = pair();
            let handed = Handed::sorted(vec![udp, other_tcp, tcp, other_udp]).unwrap();
            let all = handed.for_workers(workers, 65_536).unwrap();
            assert_eq!(all.iter().map(|s| s.address).collect::<Vec<_>>(), [address, other]);
            for sockets in &all {
                assert!(sockets.handed && sockets.udp.len() == workers && sockets.tcp.len() == workers);
                // The service manager opens all of its sockets so that they never block.
                assert!(!sockets.udp[0].nonblocking().unwrap() && sockets.tcp[0].nonblocking().unwrap());
            }
        }
        assert!(Handed::sorted(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let (udp, tcp, address) = pair();
        let client = TcpStream::connect(address).unwrap();
        refused(vec![client.into()], "is a connection", "Accept=no");
        refused(vec![udp], "has no TCP", &format!("add ListenStream={address}"));
        refused(vec![tcp], "has no UDP", &format!("add ListenDatagram={address}"));
        // A machine without IPv6 has no such socket.
        if let Ok(both) = UdpSocket::bind("[::]:0") {
            refused(vec![both.into()], "takes IPv4 too", "BindIPv6Only=ipv6-only");
        }
    }
}
