//! `hale healthcheck`: whether a server lives, for a container's HEALTHCHECK, where there is neither shell nor curl.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::configuration;
use super::connect::Trust;
use super::outcome::{Failure, Outcome};
use super::server::{self, ServerArgs};
use super::terminal;
use crate::config::ServeArgs;

/// Header and question of a query for the root's NS records (RFC 1035 §4.1): every server answers it, most by REFUSED.
const QUERY: [u8; 17] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
/// A query is sent again after so long.
const RETRY: Duration = Duration::from_millis(500);

#[derive(clap::Args, Debug)]
pub(super) struct HealthcheckArgs {
    /// Ask by DNS instead: a listen address of the server
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["server", "state", "config"])]
    listen: Option<SocketAddr>,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    #[command(flatten)]
    server: ServerArgs,
}

/// Asks `/healthz`, and by DNS at its first listen address where the admin listener is off.
pub(super) fn run(args: &HealthcheckArgs) -> Outcome {
    let patience = Duration::from_secs(args.timeout);
    if let Some(address) = args.listen {
        return answers_dns(address, patience);
    }
    let mut client = args.server.client()?;
    client.patience = patience;
    // The page is for everybody, and whether the server lives is no matter of its name: a container asks at the loopback address.
    (client.token, client.trust) = (None, Trust::Any);
    match client.request("GET", "/healthz", "") {
        Ok(_) => terminal::print("alive\n"),
        Err(failure) => match configured_listen() {
            Some(address) if !args.server.is_given() => answers_dns(address, patience),
            _ => Err(failure),
        },
    }
}

/// The first address that a server with this configuration answers on.
fn configured_listen() -> Option<SocketAddr> {
    let (config, _) = configuration::load(&ServeArgs::default()).ok()?;
    config.listen.first().map(|listen| listen.address)
}

fn answers_dns(listen: SocketAddr, patience: Duration) -> Outcome {
    let address = server::reachable(listen);
    match ask(address, patience) {
        Ok(()) => terminal::print("alive\n"),
        Err(error) => Err(Failure::running(format!("no DNS answer from {address}: {error}"))),
    }
}

/// Waits for any response to the query.
fn ask(server: SocketAddr, patience: Duration) -> io::Result<()> {
    let local: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0))?;
    // Connected: answers of others are not seen, and a closed port is an error at once.
    socket.connect(server)?;
    let mut query = QUERY;
    query[..2].copy_from_slice(&(std::process::id() as u16).to_be_bytes());
    let end = Instant::now() + patience;
    let mut answer = [0; 512];
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.send(&query)?;
        socket.set_read_timeout(Some(left.min(RETRY)))?;
        match socket.recv(&mut answer) {
            Ok(len) if len >= 12 && answer[..2] == query[..2] && answer[2] & 0x80 != 0 => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {} s", patience.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a server that answers the query with `reply` (given the query) counts as alive.
    fn check(reply: impl Fn(&mut Vec<u8>) + Send + 'static) -> io::Result<()> {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let (len, peer) = server.recv_from(&mut buffer).unwrap();
            let mut answer = buffer[..len].to_vec();
            reply(&mut answer);
            server.send_to(&answer, peer).unwrap();
        });
        let result = ask(address, Duration::from_millis(300));
        thread.join().unwrap();
        result
    }

    #[test]
    fn any_response_is_a_sign_of_life() {
        check(|answer| answer[2] |= 0x80).unwrap();
        check(|answer| answer.splice(2..4, [0x80, 5]).for_each(drop)).unwrap();
        assert!(check(|_| ()).is_err(), "an echo is not a response");
        assert!(
            check(|answer| (answer[0], answer[2]) = (!answer[0], 0x80)).is_err(),
            "another query's response"
        );
        assert!(check(|answer| answer.truncate(4)).is_err(), "shorter than a header");
    }

    #[test]
    fn nobody_there() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(ask(closed, Duration::from_secs(5)).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
