//! The server under test, started as its users start it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::process::{Finished, Running, TempDir, run};

/// How long start-up may take: the first probe round is bounded by the longest timeout and one second more.
const START: Duration = Duration::from_secs(30);

/// The command as it is built for these tests.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_hale");

/// What to start; nothing is started before [`Setup::start`].
pub struct Setup {
    pub folder: TempDir,
    arguments: Vec<String>,
    zones: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    /// Whether flags say where to listen.
    by_flags: bool,
    /// Whether flags say how to log and where the state is.
    is_bare: bool,
    /// What starts it, with its arguments; it has to become the server.
    within: Vec<String>,
}

impl Setup {
    /// In a fresh folder, with a state folder in it.
    pub fn new(name: &str) -> Setup {
        Setup {
            folder: TempDir::new(name),
            arguments: Vec::new(),
            zones: Vec::new(),
            environment: Vec::new(),
            by_flags: true,
            is_bare: false,
            within: Vec::new(),
        }
    }

    /// Writes a zone file and serves it.
    pub fn zone(mut self, name: &str, json: &str) -> Setup {
        let path = self.folder.write(name, json);
        self.zones.push(path);
        self
    }

    /// Leaves it to the server configuration where to listen and which zones to serve.
    pub fn by_configuration(mut self) -> Setup {
        self.by_flags = false;
        self
    }

    /// Leaves everything to it: no flag goes before any key.
    pub fn bare(self) -> Setup {
        Setup { is_bare: true, ..self.by_configuration() }
    }

    /// Has a program start it, which has to become it (exec): then the process id is the same.
    pub fn within<S: Into<String>>(mut self, program: impl IntoIterator<Item = S>) -> Setup {
        self.within = program.into_iter().map(Into::into).collect();
        self
    }

    /// Writes a server configuration and uses it.
    pub fn config(self, json: &str) -> Setup {
        let path = self.folder.write("hale.json", json);
        self.arguments(["--config".to_owned(), path.display().to_string()])
    }

    /// More arguments.
    pub fn arguments<S: Into<String>>(mut self, more: impl IntoIterator<Item = S>) -> Setup {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `hale serve` as it would be started.
    pub fn command(&self) -> Command {
        let mut command = match self.within.split_first() {
            Some((program, arguments)) => {
                let mut command = cleared(program);
                command.args(arguments).arg(PROGRAM);
                command
            }
            None => hale(),
        };
        command.arg("serve");
        if self.by_flags {
            command.args(&self.zones).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        }
        if !self.is_bare {
            command.args(["--log-level", "info", "--state"]).arg(self.state());
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it and waits until it listens by UDP and TCP.
    pub fn start(self) -> Hale {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts it; what it said where it did not come up.
    pub fn try_start(self) -> Result<Hale, String> {
        Hale::spawn(self)
    }
}

/// A running server; killed by id when dropped.
pub struct Hale {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    running: Running,
    setup: Setup,
}

impl Hale {
    fn spawn(setup: Setup) -> Result<Hale, String> {
        let mut running = Running::start(setup.command(), setup.folder.path(), "hale");
        let ports = running.wait_for(START, |running| {
            let output = running.output();
            Some((listening(&output, "udp")?, listening(&output, "tcp")?, listening(&output, "admin")?))
        });
        let (address, tcp, admin) = ports?;
        if tcp != address {
            return Err(format!("UDP on {address} but TCP on {tcp}: --listen names one port for both"));
        }
        Ok(Hale { address, admin, running, setup })
    }

    /// Runs a command line of `hale` against its socket, and gives what it prints.
    pub fn operate(&self, line: &str) -> String {
        let socket = format!("unix:{}/state/hale.sock", self.folder().display());
        let done = hale_run(line.split(' ').chain(["--server", &socket]));
        assert!(done.status.success(), "hale {line}: {done:?}");
        done.stdout
    }

    /// Stops it by SIGTERM and starts it again on the same state.
    pub fn restart(mut self) -> Hale {
        assert!(self.terminate().is_some_and(|status| status.success()), "SIGTERM: {}", self.output());
        Hale::spawn(self.setup).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Kills it without warning and starts it again on the same state.
    pub fn crash(mut self) -> Hale {
        self.running.signal("KILL");
        assert!(self.running.wait(Duration::from_secs(5)).is_some());
        Hale::spawn(self.setup).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> Option<ExitStatus> {
        self.running.signal("TERM");
        self.wait()
    }

    /// Waits for the end, which a signal has asked for.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        self.running.wait(Duration::from_secs(10))
    }

    /// Sends SIGHUP: read the zones again.
    pub fn reload(&self) {
        self.running.signal("HUP");
    }

    /// Sends any signal.
    pub fn signal(&self, signal: &str) {
        self.running.signal(signal);
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.running.ended().is_none()
    }

    /// What it has logged.
    pub fn output(&self) -> String {
        self.running.output()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// The folder with its zone files.
    pub fn folder(&self) -> &Path {
        self.setup.folder.path()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The served zone as RFC 1035 text in a file.
    pub fn export(&self, apex: &str) -> PathBuf {
        let mut command = hale();
        command
            .args(["zone", "export", apex, "--server"])
            .arg(format!("unix:{}/hale.sock", self.setup.state().display()));
        let done = run(&mut command, Duration::from_secs(60));
        assert!(done.status.success(), "{done:?}");
        self.setup.folder.write(&format!("export/{apex}.zone"), &done.stdout)
    }

    /// A page of the admin listener: status code and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(self.admin, path)
    }
}

/// The command, with nothing of the caller's environment that would configure it.
pub fn hale() -> Command {
    cleared(PROGRAM)
}

fn cleared(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HALE_") || name.starts_with("DNS_")) {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET");
    command
}

/// Runs the command to its end.
pub fn hale_run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    run(hale().args(arguments), Duration::from_secs(120))
}

/// The address in the line `listening transport=udp address=127.0.0.1:5300` of a log.
fn listening(log: &str, transport: &str) -> Option<SocketAddr> {
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok();
    let of_json = |line: serde_json::Value| {
        let is_it = line["message"] == "listening" && line["transport"] == transport;
        is_it.then(|| line["address"].as_str()?.parse().ok()).flatten()
    };
    if let Some(address) = log.lines().filter_map(json).find_map(of_json) {
        return Some(address);
    }
    let wanted = format!("transport={transport} ");
    let line = log.lines().map(plain).find(|line| line.contains("listening") && line.contains(&wanted))?;
    line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
}

/// A log line without escape sequences.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('\x1b') {
        text.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    text + rest
}

/// One HTTP/1.1 GET: status code and body.
pub fn http_get(server: SocketAddr, path: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = super::client::connect(server).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}
