//! Probes: one check run against one address. All I/O of health checking is in here, one file a kind.

mod aging;
pub mod bare;
mod certificate;
mod dns;
mod exec;
mod grpc;
mod http;
mod icmp;
mod kept;
mod redirect;
mod talk;
mod tcp;
mod tls;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use certificate::Certificates;
use tokio::time::timeout;

use crate::model::target::{Check, CheckKind, Target, TargetId};

/// So many different things that this host fails to do are logged.
const TOLD_LIMIT: usize = 100;

/// Why a probe did not succeed: a few words for logs and the status page.
pub type Reason = Cow<'static, str>;

/// What came of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target answered as the check wants it.
    Success,
    /// It did, and there is something that somebody should see to before it no longer does.
    Warning(Reason),
    /// The target did not: refused, reset, too late, wrong answer.
    Failure(Reason),
    /// It did answer, with what the check takes for the word of a proxy that has no route for the host (`body_not`).
    Unrouted(Reason),
    /// The network answered that the host cannot be reached: our neighbour discovery got no reply (`EHOSTUNREACH` after the SYN was
    /// handed to the network), or a router said so. That is what a dead host looks like, and also what everything looks like when our own
    /// gateway is gone; the ledger tells them apart by whether other addresses answer.
    HostUnreachable,
    /// Our own host could not even try; says nothing about the target.
    LocalError(Reason),
}

/// The end of a probe.
#[derive(Debug)]
pub struct Ended {
    /// Whose.
    pub id: TargetId,
    /// Which tenancy of the number.
    pub generation: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// Whether a check is a connection and nothing more: [`bare`] runs those, and [`Prober::run`] all others.
pub fn is_bare(check: &Check) -> bool {
    matches!(check.kind, CheckKind::Tcp)
}

/// Kinds of probes, for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// A connection, and what is said over it.
    Tcp,
    /// A plain HTTP exchange.
    Http,
    /// An HTTP exchange over TLS.
    Https,
    /// A TLS handshake.
    Tls,
    /// A call of the gRPC health service.
    Grpc,
    /// A DNS query.
    Dns,
    /// An ICMP echo request.
    Icmp,
    /// A program.
    Exec,
}

impl ProbeKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Tcp, Self::Http, Self::Https, Self::Tls, Self::Grpc, Self::Dns, Self::Icmp, Self::Exec];

    /// The kind of a target's check; `None` for one that is not probed.
    pub fn of(target: &Target) -> Option<Self> {
        Some(match &target.check.kind {
            CheckKind::Tcp | CheckKind::Talk(_) => Self::Tcp,
            CheckKind::Http(http) if http.tls.is_none() => Self::Http,
            CheckKind::Http(_) => Self::Https,
            CheckKind::Tls(_) => Self::Tls,
            CheckKind::Grpc(_) => Self::Grpc,
            CheckKind::Dns(_) => Self::Dns,
            CheckKind::Icmp(_) => Self::Icmp,
            CheckKind::Exec(_) => Self::Exec,
            CheckKind::External(_) | CheckKind::Name(_) => return None,
        })
    }

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Grpc => "grpc",
            Self::Dns => "dns",
            Self::Icmp => "icmp",
            Self::Exec => "exec",
        }
    }
}

/// Runs probes, and keeps what they share.
#[derive(Debug)]
pub struct Prober {
    tls: tls::Tls,
    http: http::Http,
    grpc: grpc::Grpc,
    programs: exec::Limit,
    told: Mutex<HashSet<Reason>>,
}

impl Prober {
    /// At most `exec_in_flight` programs of `exec` checks run at once.
    pub fn new(exec_in_flight: usize) -> Self {
        Self {
            tls: tls::Tls::default(),
            http: http::Http::default(),
            grpc: grpc::Grpc::default(),
            programs: exec::Limit::new(exec_in_flight),
            told: Mutex::default(),
        }
    }

    /// Runs the target's check once, within the check's own timeout. The future may be dropped at any time.
    pub async fn run(&self, target: &Target) -> Outcome {
        let limit = Duration::from_millis(target.check.timeout_ms.into());
        let outcome = match &target.check.kind {
            // Its time begins when the program does.
            CheckKind::Exec(check) => {
                Box::pin(exec::probe(&self.programs, target.address, check, limit)).await
            }
            _ => timeout(limit, self.exchange(target))
                .await
                .unwrap_or_else(|_| Outcome::Failure("timed out".into())),
        };
        if let Outcome::LocalError(why) = &outcome {
            self.tell_once(target, why);
        }
        outcome
    }

    /// Logs what this host fails to do, each thing once: it is no verdict, and would otherwise be seen only by who looks at the target.
    fn tell_once(&self, target: &Target, why: &Reason) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_LIMIT && !told.contains(why) {
            told.insert(why.clone());
            tracing::warn!(%target, problem = %why, "a check cannot be run by this host; its target keeps the verdict it has");
        }
    }

    async fn exchange(&self, target: &Target) -> Outcome {
        let address = target.address;
        // Boxed, so that the many TCP probes do not each carry the room that an HTTP exchange needs.
        match &target.check.kind {
            CheckKind::Tcp => {
                tcp::connect(address).await.map_or_else(|outcome| outcome, |_| Outcome::Success)
            }
            CheckKind::Talk(check) => Box::pin(talk::probe(address, check)).await,
            CheckKind::Http(check) => Box::pin(self.http.probe(&self.tls, target, check)).await,
            CheckKind::Tls(check) => Box::pin(self.tls.probe(target, check)).await,
            CheckKind::Grpc(check) => Box::pin(self.grpc.probe(&self.tls, target, check)).await,
            CheckKind::Dns(check) => Box::pin(dns::probe(address, check)).await,
            CheckKind::Icmp(check) => Box::pin(icmp::probe(address, check)).await,
            CheckKind::Exec(_) | CheckKind::External(_) | CheckKind::Name(_) => {
                Outcome::LocalError("nothing is probed here".into())
            }
        }
    }

    /// What was seen of certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.tls.certificates
    }
}

/// Sorts an error that `socket` or `connect` gave before any packet left this host.
///
/// Everything but a refusal is ours: no route (`ENETUNREACH`, and `EHOSTUNREACH` from an `unreachable` route), a prohibiting route or firewall
/// (`EACCES`, `EPERM`), a blackhole route (`EINVAL`), no descriptors, buffers, memory or ports (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`,
/// `EADDRNOTAVAIL`, `EAGAIN`), no such family (`EAFNOSUPPORT`).
fn before_sending(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Failure("connection refused".into()),
        io::ErrorKind::ConnectionReset => Outcome::Failure("connection reset".into()),
        _ => Outcome::LocalError(describe(error)),
    }
}

/// Sorts an error that came back after the packet was handed to the network.
///
/// `ENETUNREACH` stays local even then (a router that has lost its routes says nothing about the target), and so do errors of resources.
fn after_sending(error: &io::Error) -> Outcome {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Outcome::Failure("connection refused".into()),
        Kind::ConnectionReset => Outcome::Failure("connection reset".into()),
        Kind::TimedOut => Outcome::Failure("timed out".into()),
        Kind::HostUnreachable => Outcome::HostUnreachable,
        Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable | Kind::OutOfMemory => {
            Outcome::LocalError(describe(error))
        }
        _ if is_resource_error(error) => Outcome::LocalError(describe(error)),
        _ => Outcome::Failure(describe(error)),
    }
}

fn is_resource_error(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL)
    )
}

fn describe(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        // The texts people search for; std's would add "(os error 101)".
        Some(libc::ENETUNREACH) => "network unreachable from this host".into(),
        Some(libc::EHOSTUNREACH) => "no route to host".into(),
        Some(libc::EMFILE) => "out of file descriptors (process limit)".into(),
        Some(libc::ENFILE) => "out of file descriptors (system limit)".into(),
        Some(libc::EADDRNOTAVAIL) => "no local address or port available".into(),
        Some(libc::ENOBUFS | libc::ENOMEM) => "out of socket memory".into(),
        Some(libc::EACCES | libc::EPERM) => "forbidden by a local route or firewall".into(),
        _ => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::model::check::{DnsCheck, GrpcCheck, HttpCheck, TalkCheck, TlsCheck};
    use crate::model::name::Name;
    use crate::model::rrtype::RrType;
    use crate::model::target::VerdictRules;

    #[track_caller]
    fn check(code: i32, before: fn(&Outcome) -> bool, after: fn(&Outcome) -> bool) {
        let error = io::Error::from_raw_os_error(code);
        let (first, second) = (before_sending(&error), after_sending(&error));
        assert!(before(&first), "{error}: before sending {first:?}");
        assert!(after(&second), "{error}: after sending {second:?}");
    }

    #[test]
    fn our_own_trouble_is_never_the_targets() {
        let local: fn(&Outcome) -> bool = |o| matches!(o, Outcome::LocalError(_));
        let failure: fn(&Outcome) -> bool = |o| matches!(o, Outcome::Failure(_));
        for code in
            [libc::ENETUNREACH, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL]
        {
            check(code, local, local);
        }
        for code in [libc::EACCES, libc::EPERM, libc::EINVAL, libc::EAFNOSUPPORT] {
            check(code, local, failure);
        }
        check(libc::EHOSTUNREACH, local, |o| *o == Outcome::HostUnreachable);
        for code in [libc::ECONNREFUSED, libc::ECONNRESET] {
            check(code, failure, failure);
        }
        check(libc::ETIMEDOUT, local, failure);
        check(libc::EPIPE, local, failure);
    }

    /// One check of each kind that reads from a connection.
    fn readers() -> Vec<CheckKind> {
        let tls = TlsCheck {
            sni: "a.test".into(),
            verify: false,
            ca_file: None,
            warn_expires_within_s: None,
            fail_expires_within_s: None,
        };
        let http = HttpCheck {
            tls: None,
            host: "a.test".into(),
            path: "/".into(),
            method: "GET".into(),
            headers: Vec::new(),
            status: vec![(200, 200)],
            body_contains: Some("well".into()),
            body_not: None,
            follow: 5,
            reuse: true,
        };
        let https = HttpCheck { tls: Some(tls.clone()), reuse: false, ..http.clone() };
        let grpc = GrpcCheck { tls: None, host: "a.test".into(), service: String::new(), reuse: true };
        let dns = DnsCheck {
            name: Name::parse_absolute("a.test").unwrap(),
            rtype: RrType::A,
            rcode: 0,
            answer: vec![vec![192, 0, 2, 1]],
            tcp: true,
            recursion: true,
        };
        vec![
            CheckKind::Talk(Box::new(TalkCheck { send: "x".into(), expect: "well".into() })),
            CheckKind::Http(Box::new(http)),
            CheckKind::Http(Box::new(https)),
            CheckKind::Tls(Box::new(tls)),
            CheckKind::Grpc(Box::new(grpc)),
            CheckKind::Dns(Box::new(dns)),
        ]
    }

    /// A server that sends `what` again and again, pausing in between, until the other side has gone.
    async fn tireless(what: &'static [u8], first: &'static [u8], pause: Duration) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut good = stream.write_all(first).await.is_ok();
                    while good {
                        good = stream.write_all(what).await.is_ok();
                        tokio::time::sleep(pause).await;
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn whatever_a_backend_sends_a_probe_ends_in_time() {
        const HEADER: &[u8] =
            b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";
        const CHUNK: &[u8] = b"5\r\nnever\r\n";
        // An empty SETTINGS frame, and a PING: each wants an acknowledgement.
        const FRAMES: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0pingpong";
        let (slow, fast) = (Duration::from_millis(20), Duration::ZERO);
        let servers = [
            ("silence", tireless(b"", b"", slow).await),
            ("octets one by one", tireless(b"H", b"", slow).await),
            ("zeros without end", tireless(&[0; 4096], b"", fast).await),
            ("headers without end", tireless(HEADER, b"HTTP/1.1 200 OK\r\n", fast).await),
            ("headers one by one", tireless(HEADER, b"HTTP/1.1 200 OK\r\n", slow).await),
            ("interim responses", tireless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"", fast).await),
            (
                "a body without end",
                tireless(CHUNK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", fast).await,
            ),
            ("frames without end", tireless(FRAMES, b"\0\0\0\x04\0\0\0\0\0", fast).await),
        ];
        let prober = Prober::new(1);
        for (what, address) in servers {
            for kind in readers() {
                let check = Check {
                    kind,
                    interval_ms: 1000,
                    timeout_ms: 300,
                    rise: 1,
                    fall: 1,
                    rules: VerdictRules::default(),
                };
                let target = Target { address, check: std::sync::Arc::new(check) };
                let began = std::time::Instant::now();
                let outcome = prober.run(&target).await;
                assert!(matches!(outcome, Outcome::Failure(_)), "{what}: {target}: {outcome:?}");
                assert!(
                    began.elapsed() < Duration::from_secs(3),
                    "{what}: {target} took {:?}",
                    began.elapsed()
                );
            }
        }
    }
}
