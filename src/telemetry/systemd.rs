//! Notifications to the service manager (sd_notify(3)): a datagram of `KEY=value` lines to the socket in `NOTIFY_SOCKET`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

/// The service manager that started this process; without one every message goes nowhere.
#[derive(Debug, Default)]
pub struct Notifier {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` is set but cannot be used; the caller logs it and goes on without.
    pub fn from_env() -> io::Result<Self> {
        let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(Self::default());
        };
        let own_pid = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = env::var("WATCHDOG_USEC").ok().filter(|_| own_pid).and_then(|us| us.parse().ok());
        Self::connect(&path, watchdog.map(Duration::from_micros))
    }

    #[cfg(unix)]
    fn connect(path: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let address = match path.as_bytes() {
            // A leading @ stands for the zero byte of Linux's abstract namespace.
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?
            }
            [b'/', ..] => SocketAddr::from_pathname(path)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self { socket: Some(socket), watchdog })
    }

    #[cfg(not(unix))]
    fn connect(_: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        Ok(Self { watchdog })
    }

    /// How often [`Notifier::alive`] is due: half of what the service manager waits for. `None` without a watchdog.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The server answers; also ends a reload. `status` is what `systemctl status` shows.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// A reload has begun; [`Notifier::ready`] ends it. `Type=notify-reload` wants the monotonic time with it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\n"));
    }

    /// The server is on its way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// The watchdog's sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    /// A lost notification is not worth an error: the service manager has its own time limits, and says so.
    fn send(&self, message: &str) {
        #[cfg(unix)]
        if let Some(socket) = &self.socket {
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A line break would start another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    /// Every message arrives at a manager bound to `address` when `NOTIFY_SOCKET` is `path`.
    fn check(address: &SocketAddr, path: &str) {
        let manager = UnixDatagram::bind_addr(address).unwrap();
        let notifier = Notifier::connect(OsStr::new(path), Some(Duration::from_secs(30))).unwrap();
        assert_eq!(notifier.watchdog_period(), Some(Duration::from_secs(15)));
        notifier.ready("2 zones\nSTOPPING=1");
        assert_eq!(received(&manager), "READY=1\nSTATUS=2 zones STOPPING=1\n");
        notifier.reloading();
        let text = received(&manager);
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
        assert!(time.parse::<u64>().unwrap() > 0);
        notifier.alive();
        assert_eq!(received(&manager), "WATCHDOG=1\n");
        notifier.stopping();
        assert_eq!(received(&manager), "STOPPING=1\n");
    }

    #[test]
    fn path_and_abstract_name() {
        let name = format!("hale-notify-{}", std::process::id());
        check(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap(), &format!("@{name}"));
        let path = std::env::temp_dir().join(name);
        check(&SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_error_and_none_is_silence() {
        for bad in ["relative", "/nonexistent/notify", "@hale-nobody-listens-here"] {
            assert!(Notifier::connect(OsStr::new(bad), None).is_err(), "{bad}");
        }
        Notifier::default().ready("nobody hears it");
    }
}
