//! The ICMP check: an echo request is answered (RFC 792, RFC 4443 §4).
//!
//! By ping sockets, which need no privilege: the kernel sets the identifier and the checksum, and hands over only replies to our own
//! requests. Linux allows them to the groups in `net.ipv4.ping_group_range`, for IPv6 as well. A raw socket would see all ICMP of the
//! host, and would need CAP_NET_RAW.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};

use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Outcome, after_sending, before_sending};
use crate::model::check::IcmpCheck;

/// Octets before the payload: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// Octets of the payload that tell this request's reply from others.
const NONCE: usize = 8;
/// So many other messages may come first.
const STRAY_LIMIT: usize = 64;

/// Sends one echo request and waits for its reply.
pub(super) async fn probe(address: SocketAddr, check: &IcmpCheck) -> Outcome {
    match exchange(address, check).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn exchange(address: SocketAddr, check: &IcmpCheck) -> Result<Outcome, Outcome> {
    let (request_type, reply_type) = if address.is_ipv4() { (8, 0) } else { (128, 129) };
    let mut message = vec![0; HEADER + usize::from(check.size).max(NONCE)];
    message[0] = request_type;
    let nonce = &mut message[HEADER..HEADER + NONCE];
    if SystemRandom::new().fill(nonce).is_err() {
        return Err(Outcome::LocalError("the system gives no random numbers".into()));
    }
    let socket = open(address).map_err(|e| not_opened(&e))?;
    socket.connect(address).await.map_err(|e| before_sending(&e))?;
    socket.send(&message).await.map_err(|e| before_sending(&e))?;
    let mut reply = vec![0; message.len() + 1];
    for _ in 0..STRAY_LIMIT {
        let length = socket.recv(&mut reply).await.map_err(|e| after_sending(&e))?;
        if length == message.len() && reply[0] == reply_type && reply[HEADER..length] == message[HEADER..] {
            return Ok(Outcome::Success);
        }
    }
    Err(Outcome::Failure(format!("{STRAY_LIMIT} replies to something else").into()))
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let protocol = if address.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    // A datagram socket like any other from here on.
    UdpSocket::from_std(StdUdpSocket::from(socket))
}

/// Our own trouble, whatever it is; the usual one is told with its remedy.
fn not_opened(error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Outcome::LocalError(
            "this system does not allow ping sockets to the server's group: set the sysctl net.ipv4.ping_group_range to a range that \
             holds its gid, such as \"0 2147483647\""
                .into(),
        ),
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            Outcome::LocalError("this system has no ping sockets for the address's family".into())
        }
        _ => before_sending(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_host_answers_or_the_remedy_is_told() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            for size in [0, 56, 1400] {
                let check = IcmpCheck { size };
                let probe = probe(address.parse().unwrap(), &check);
                match tokio::time::timeout(Duration::from_secs(10), probe).await.unwrap() {
                    Outcome::Success => {}
                    // Where ping sockets are not allowed, or there is no IPv6.
                    Outcome::LocalError(why) => assert!(
                        why.contains("net.ipv4.ping_group_range") || address.starts_with('['),
                        "{address}: {why}"
                    ),
                    other => panic!("{address}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_our_system_forbids_is_local() {
        for code in [libc::EACCES, libc::EPERM, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::EMFILE] {
            let outcome = not_opened(&io::Error::from_raw_os_error(code));
            assert!(matches!(outcome, Outcome::LocalError(_)), "{code}: {outcome:?}");
        }
    }
}
