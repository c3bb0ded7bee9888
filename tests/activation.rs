//! Socket activation: a service manager holds the sockets, and Hale takes them by sd_listen_fds(3)'s protocol.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use socket2::SockRef;
use support::client::{Client, Via};
use support::hale::PROGRAM;
use support::process::{Running, TempDir, free_port, run};
use support::wire::rcode::NOERROR;
use support::wire::{Message, QueryBuilder, rtype};

const ZONE: &str =
    r#"{"zone": "example.test", "nameservers": ["ns.example.net"], "records": {"www": ["192.0.2.1"]}}"#;

/// What the service manager holds: one UDP and one TCP socket at the same port, open over any number of starts.
struct Manager {
    udp: UdpSocket,
    tcp: TcpListener,
    folder: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        // systemd's own never block.
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        SockRef::from(&udp).set_cloexec(false).unwrap();
        SockRef::from(&tcp).set_cloexec(false).unwrap();
        let folder = TempDir::new("activation");
        folder.write("zone.json", ZONE);
        Manager { udp, tcp, folder }
    }

    /// `hale serve` with these descriptors as 3 and 4, whose `LISTEN_PID` is that of the shell, which it replaces.
    fn command(&self, count: usize, arguments: &[&str]) -> Command {
        // Not sh: Debian's takes no descriptor above 9.
        let mut command = Command::new("bash");
        let script = format!(
            "exec 100<&{} 101<&{} 3<&100 4<&101 100<&- 101<&-; LISTEN_PID=$$ LISTEN_FDS={count} exec \"$@\"",
            self.udp.as_raw_fd(),
            self.tcp.as_raw_fd()
        );
        command
            .args(["-c", &script, "bash", PROGRAM, "serve", "zone.json", "--admin", "off"])
            .args(arguments);
        command.current_dir(self.folder.path());
        command
    }
}

fn check(arguments: &[&str]) {
    let manager = Manager::new();
    let address = manager.udp.local_addr().unwrap();
    let mut client = Client::new(address);
    // The second run has to find the sockets as the first one did.
    for run in 0..2 {
        // Before there is a server: the kernel keeps it.
        let early = QueryBuilder::new("www.example.test", rtype::A).build();
        let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
        asker.send_to(&early, address).unwrap();

        let mut hale = Running::start(manager.command(2, arguments), manager.folder.path(), "hale");
        let listening = |hale: &Running| hale.output().contains(&address.to_string()).then_some(());
        hale.wait_for(Duration::from_secs(30), listening).unwrap();
        asker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 512];
        let len = asker.recv(&mut buffer).unwrap_or_else(|e| panic!("run {run}: {e}: {}", hale.output()));
        assert_eq!(buffer[..2], early[..2], "{:?}", &buffer[..len]);
        for via in [Via::Udp, Via::Tcp, Via::Udp, Via::Tcp] {
            let asked = QueryBuilder::new("www.example.test", rtype::A);
            let answer: Message = client.ask(&asked, via).unwrap();
            assert_eq!((answer.rcode, answer.answer.len()), (NOERROR, 1), "run {run}, {via:?}: {answer:#?}");
        }
        hale.signal("TERM");
        let status = hale.wait(Duration::from_secs(10)).unwrap();
        assert!(status.success(), "{}", hale.output());
        assert!(hale.output().contains("sockets of the service manager"), "{}", hale.output());
    }
}

#[test]
fn sockets_are_taken_again_after_a_restart() {
    for workers in ["1", "3"] {
        check(&["--workers", workers]);
    }
    check(&["--workers", "2", "--portable"]);
}

#[test]
fn half_of_a_pair_is_refused() {
    let manager = Manager::new();
    let done = run(&mut manager.command(1, &[]), Duration::from_secs(20));
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("add ListenStream=127.0.0.1:"), "{done:?}");
}
