//! NSD and Knot DNS as references, unbound as a validator.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::client::Client;
use super::process::{Running, TempDir, find, free_port, loopback};
use super::wire::{QueryBuilder, rtype};

const START: Duration = Duration::from_secs(20);

/// A zone in a file of RFC 1035 text.
#[derive(Clone, Debug)]
pub struct ZoneFile {
    pub apex: String,
    pub path: PathBuf,
}

/// A running reference server.
pub struct Reference {
    pub name: &'static str,
    pub address: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

/// NSD with these zones; `None` where it is not installed.
pub fn nsd(zones: &[ZoneFile]) -> Option<Reference> {
    let program = find("nsd")?;
    Some(start("nsd", zones, |folder, port| {
        let mut conf = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{0}\"\n database: \"\"\n \
             pidfile: \"\"\n xfrdfile: \"{0}/xfrd.state\"\n zonelistfile: \"{0}/zone.list\"\n xfrdir: \"{0}\"\n \
             cookie-secret-file: \"\"\n server-count: 1\n rrl-ratelimit: 0\n tcp-count: 50\n verbosity: 1\n\
             remote-control:\n control-enable: no\n",
            folder.display()
        );
        for zone in zones {
            write!(
                conf,
                "zone:\n name: \"{}\"\n zonefile: \"{}\"\n provide-xfr: 127.0.0.1 NOKEY\n",
                zone.apex,
                zone.path.display()
            )
            .unwrap();
        }
        let path = folder.join("nsd.conf");
        std::fs::write(&path, conf).unwrap();
        let mut command = Command::new(&program);
        command.arg("-d").arg("-c").arg(path);
        command
    }))
}

/// Knot DNS with these zones; `None` where it is not installed.
pub fn knot(zones: &[ZoneFile]) -> Option<Reference> {
    let program = find("knotd")?;
    Some(start("knotd", zones, |folder, port| {
        let mut conf = format!(
            "server:\n  rundir: \"{0}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             log:\n  - target: stderr\n    any: info\ndatabase:\n  storage: \"{0}\"\n\
             acl:\n  - id: local\n    address: 127.0.0.1\n    action: transfer\n\
             template:\n  - id: default\n    storage: \"{0}\"\n    semantic-checks: off\n    zonefile-sync: -1\n    \
             journal-content: none\n    acl: local\nzone:\n",
            folder.display()
        );
        for zone in zones {
            writeln!(conf, "  - domain: {}\n    file: \"{}\"", zone.apex, zone.path.display()).unwrap();
        }
        let path = folder.join("knot.conf");
        std::fs::write(&path, conf).unwrap();
        let mut command = Command::new(&program);
        command.arg("-c").arg(path);
        command
    }))
}

/// Starts a server on a free port and waits until it answers for every zone; another port where that one was taken meanwhile.
fn start(name: &'static str, zones: &[ZoneFile], command: impl Fn(&Path, u16) -> Command) -> Reference {
    let mut last = String::new();
    for _ in 0..3 {
        let folder = TempDir::new(name);
        let port = free_port();
        let mut running = Running::start(command(folder.path(), port), folder.path(), name);
        let address = loopback(port);
        let ready =
            running.wait_for(START, |_| zones.iter().all(|zone| serves(address, &zone.apex)).then_some(()));
        match ready {
            Ok(()) => return Reference { name, address, _running: running, _folder: folder },
            Err(error) => last = error,
        }
    }
    panic!("{last}");
}

/// Whether the server gives an authoritative SOA for the apex.
fn serves(address: SocketAddr, apex: &str) -> bool {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let query = QueryBuilder::new(apex, rtype::SOA).build();
    let mut buffer = [0; 1500];
    udp.connect(address).is_ok()
        && udp.send(&query).is_ok()
        && udp.recv(&mut buffer).is_ok_and(|length| length > 12 && buffer[3] & 15 == 0 && buffer[7] == 1)
}

/// A validating resolver.
pub struct Unbound {
    pub address: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

/// A zone that unbound is to resolve at an address, with the DS or DNSKEY that anchors it (presentation form), if it is signed.
pub struct Anchor {
    pub apex: String,
    pub server: SocketAddr,
    pub trust: Vec<String>,
}

/// unbound that asks the given servers and validates; `None` where it is not installed. It caches nothing for longer than a
/// second, so that a change is seen.
pub fn unbound(anchors: &[Anchor]) -> Option<Unbound> {
    let program = find("unbound")?;
    let mut last = String::new();
    for _ in 0..3 {
        let folder = TempDir::new("unbound");
        let port = free_port();
        let conf = unbound_conf(folder.path(), port, anchors);
        let path = folder.write("unbound.conf", &conf);
        let mut command = Command::new(&program);
        command.arg("-d").arg("-p").arg("-c").arg(path);
        let mut running = Running::start(command, folder.path(), "unbound");
        let address = loopback(port);
        match running.wait_for(START, |running| running.output().contains("start of service").then_some(())) {
            Ok(()) => return Some(Unbound { address, _running: running, _folder: folder }),
            Err(error) => last = error,
        }
    }
    panic!("{last}");
}

fn unbound_conf(folder: &Path, port: u16, anchors: &[Anchor]) -> String {
    let mut conf = format!(
        "server:\n verbosity: 1\n interface: 127.0.0.1\n port: {port}\n access-control: 127.0.0.0/8 allow\n username: \"\"\n \
         chroot: \"\"\n directory: \"{}\"\n pidfile: \"\"\n use-syslog: no\n logfile: \"\"\n do-daemonize: no\n num-threads: 1\n \
         do-not-query-localhost: no\n module-config: \"validator iterator\"\n val-log-level: 2\n cache-max-ttl: 0\n \
         cache-max-negative-ttl: 0\n aggressive-nsec: no\n trust-anchor-signaling: no\n minimal-responses: no\n qname-minimisation: no\n \
         harden-below-nxdomain: no\n val-bogus-ttl: 0\n infra-host-ttl: 1\n key-cache-size: 0\n do-ip6: no\n",
        folder.display()
    );
    for anchor in anchors {
        writeln!(
            conf,
            " local-zone: \"{}\" nodefault\n domain-insecure: \"invalid.{}\"",
            anchor.apex, anchor.apex
        )
        .unwrap();
        for trust in &anchor.trust {
            writeln!(conf, " trust-anchor: \"{trust}\"").unwrap();
        }
    }
    conf.push_str(" local-zone: \"test.\" nodefault\nremote-control:\n control-enable: no\n");
    for anchor in anchors {
        writeln!(
            conf,
            "stub-zone:\n name: \"{}\"\n stub-addr: {}@{}",
            anchor.apex,
            anchor.server.ip(),
            anchor.server.port()
        )
        .unwrap();
    }
    conf
}

impl Unbound {
    /// Resolves with RD and DO through it.
    pub fn resolve(&self, name: &str, qtype: u16) -> Result<super::wire::Message, String> {
        let query = QueryBuilder::new(name, qtype).flags(0x100).edns(1232, true);
        Client::new(self.address).ask(&query, super::client::Via::Tcp)
    }
}
