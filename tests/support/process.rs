//! Programs under test: found by variable or PATH, started in a folder of their own, killed by id.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The program's path, from `HALE_<NAME>` or PATH (and the sbin folders that a user's PATH lacks). `None`, with a line that says
/// so, where it is not installed; a panic under `HALE_REQUIRE_TOOLS=1`, so that CI cannot pass by skipping.
pub fn find(program: &str) -> Option<PathBuf> {
    let variable = format!("HALE_{}", program.to_uppercase().replace('-', "_"));
    if let Some(path) = std::env::var_os(&variable) {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("HALE_REQUIRE_TOOLS").is_none(),
            "{program} not found, and HALE_REQUIRE_TOOLS is set"
        );
        eprintln!("skipped: {program} not found (install it, or name it by {variable})");
    }
    found
}

/// A folder that is removed when dropped, unless the test panics or `HALE_KEEP` is set: then it stays and its path is printed.
pub struct TempDir(PathBuf);

impl TempDir {
    /// A fresh folder under the system's temporary one.
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hale-test-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("HALE_KEEP").is_some() {
            eprintln!("kept for inspection: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A port of 127.0.0.1 that is free for UDP and TCP now, and that this process is given only once. It lies below the ports that
/// a bind to port 0 and outgoing connections take, so that only another program of a test run can be quicker.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in PORTS {
        // Test programs that run side by side start at different places.
        let offset = std::process::id().wrapping_mul(977).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + offset % (PORTS.end - PORTS.start)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("none of the ports {PORTS:?} is free");
}

/// A running program whose output goes to a file; killed by id when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Running {
    /// Starts a command with stdout and stderr in `<folder>/<name>.log`.
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Running {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Running { child, log, name: name.to_owned() }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Polls `probe` until it gives something, the program ends, or the time is up.
    pub fn wait_for<T>(
        &mut self,
        wait: Duration,
        mut probe: impl FnMut(&Running) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(value) = probe(self) {
                return Ok(value);
            }
            if let Some(status) = self.ended() {
                return Err(format!("{} ended with {status}:\n{}", self.name, self.output()));
            }
            if Instant::now() > deadline {
                return Err(format!("{} not ready after {wait:?}:\n{}", self.name, self.output()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal by name (`TERM`, `HUP`, `STOP`, `KILL`) to this process alone.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success(), "kill -s {signal} {id}");
    }

    /// Waits for the end.
    pub fn wait(&mut self, wait: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + wait;
        loop {
            match self.ended() {
                Some(status) => return Some(status),
                None if Instant::now() > deadline => return None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            // NSD forks workers that only its main process ends, so ask before killing.
            let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
            if self.wait(Duration::from_secs(2)).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.output());
        }
    }
}

/// The result of a program that ran to its end.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end within `wait`.
pub fn run(command: &mut Command, wait: Duration) -> Finished {
    let folder = TempDir::new("run");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + wait;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end within {wait:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    Finished { status, stdout: read(&out), stderr: read(&err) }
}

/// The address on 127.0.0.1.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
