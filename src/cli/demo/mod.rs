//! `hale demo`: the example zone with two backends of its own, so that a flip is seen without any outside service.

mod backend;
mod place;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::outcome::{Failure, Outcome};
use super::terminal;
use crate::app::{self, Reread};
use crate::config::{Config, ServeArgs};
use crate::telemetry::logs;

use place::Place;

/// The zone that is served.
const EXAMPLE: &str = include_str!("../../../zones/example.json");
/// Where it is served if the port is free.
const LISTEN: &str = "127.0.0.1:5300";
/// And where otherwise.
const ANY: &str = "127.0.0.1:0";
/// The admin listener, if its port is free.
const ADMIN: &str = "127.0.0.1:8053";
/// Ports of the backends as they stand in the zone.
const BACKENDS: [u16; 2] = [18081, 18082];

#[derive(clap::Args, Debug)]
pub(super) struct DemoArgs {
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

/// Serves until Ctrl-C.
pub(super) fn run(args: &DemoArgs) -> Outcome {
    logs::init(&args.log_level, false).map_err(Failure::usage)?;
    let place = Place::new().map_err(|error| {
        Failure::running(format!(
            "no temporary folder can be made in {}: {error}",
            std::env::temp_dir().display()
        ))
    })?;
    let (zone, backends) = start_backends()?;
    let file = place.path().join("example.json");
    std::fs::write(&file, zone).map_err(|error| Failure::running(format!("{}: {error}", file.display())))?;

    let usual = (
        if is_free(LISTEN) { LISTEN } else { ANY },
        if TcpListener::bind(ADMIN).is_ok() { ADMIN } else { "off" },
    );
    match serve(usual, file.clone(), place.path(), backends) {
        // Somebody else was faster than we were, between looking and binding.
        Err(Failure::Diagnostic(_)) if usual != (ANY, "off") => {
            serve((ANY, "off"), file, place.path(), backends)
        }
        result => result,
    }
}

/// Serves `file` on a listen and an admin address, and prints the introduction.
fn serve((listen, admin): (&str, &str), file: PathBuf, folder: &Path, backends: [SocketAddr; 2]) -> Outcome {
    let args = ServeArgs {
        zones: vec![file],
        listen: vec![listen.to_owned()],
        admin: Some(admin.to_owned()),
        state: Some(folder.join("state")),
        ..ServeArgs::default()
    };
    // The demo is the same everywhere: what the environment says of other servers is not for it.
    let load = move || Config::load(&args, &|_| None, Path::new(""));
    let (config, _) = load()?;
    let reread: Reread = Arc::new(load);
    let folder = folder.to_owned();
    let ready = move |addresses: &[SocketAddr]| {
        let Some(&listen) = addresses.first() else { return };
        let scene = Scene { listen, backends, folder: &folder, program: &program(), has_dig: has_dig() };
        // Without a terminal to print on, the server is still there to be asked.
        let _ = terminal::print(&scene.introduction());
    };
    app::run(&config, &reread, Some(Box::new(ready)), None).map_err(Failure::from)
}

/// Starts the backends and puts their addresses into the zone. A port that is taken is replaced by a free one.
fn start_backends() -> Result<(String, [SocketAddr; 2]), Failure> {
    let mut zone = EXAMPLE.to_owned();
    let mut addresses = Vec::new();
    for port in BACKENDS {
        let address = backend::start(port, tell).or_else(|_| backend::start(0, tell));
        let address =
            address.map_err(|error| Failure::running(format!("a backend cannot be started: {error}")))?;
        zone = zone.replace(&format!("127.0.0.1:{port}"), &address.to_string());
        addresses.push(address);
    }
    Ok((zone, [addresses[0], addresses[1]]))
}

/// Called by a backend that was told to fall or rise.
fn tell(backend: SocketAddr, up: bool) {
    let answer = if up { "200 again" } else { "503 from now on" };
    // As above.
    let _ =
        terminal::print(&format!("The backend {backend} answers {answer}; watch www.example.test follow.\n"));
}

fn is_free(address: &str) -> bool {
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}

/// Whether `dig` is on the path.
fn has_dig() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("dig").is_file())
}

/// How this program was called, for lines to be copied; its name alone where it is on the path.
fn program() -> String {
    std::env::args().next().filter(|program| !program.is_empty()).unwrap_or_else(|| "hale".to_owned())
}

/// What the introduction is about.
struct Scene<'a> {
    listen: SocketAddr,
    backends: [SocketAddr; 2],
    folder: &'a Path,
    program: &'a str,
    has_dig: bool,
}

impl Scene<'_> {
    /// What is there, and what to try.
    fn introduction(&self) -> String {
        let Self { listen, backends: [first, second], folder, program, has_dig } = *self;
        let folder = folder.display();
        let dig = format!("dig @{} -p {} www.example.test", listen.ip(), listen.port());
        let ask = match has_dig {
            true => format!("{dig} +short"),
            false => format!("{program} zone export example.test --state {folder}/state | grep 'www.*A.192'"),
        };
        let mut text = format!(
            "Hale serves example.test on {listen} (UDP and TCP), signed. Behind www.example.test stand two backends:\n\n  \
             192.0.2.10, checked by GET http://{first}/\n  192.0.2.11, checked by GET http://{second}/\n\n"
        );
        if listen.to_string() != LISTEN {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "({LISTEN} is taken by another process, so this is a free port.)\n");
        }
        if !has_dig {
            text.push_str(
                "(There is no dig here: Debian has it in bind9-dnsutils. These lines do without.)\n\n",
            );
        }
        let _ = write!(
            text,
            "In another terminal:\n\n  {ask}\n      both addresses\n  curl -X POST {first}/down\n      \
             the first backend fails its checks; wait three seconds\n  {ask}\n      192.0.2.11 alone\n  \
             curl -X POST {first}/up\n      and back\n\n"
        );
        if has_dig {
            let _ = writeln!(text, "  {dig} +dnssec\n      with its signature");
        }
        let _ = write!(
            text,
            "  {program} status --state {folder}/state\n      the server at a glance\n\n\
             The zone is {folder}/example.json: edit it, then\n  {program} reload --state {folder}/state\n\n\
             Ctrl-C ends the demo and removes the folder.\n\n"
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_introduction_fits_the_zone() {
        for published in ["192.0.2.10", "192.0.2.11"] {
            assert!(EXAMPLE.contains(published), "{published}");
        }
        for port in BACKENDS {
            assert_eq!(EXAMPLE.matches(&format!("\"127.0.0.1:{port}\"")).count(), 1, "{port}");
        }
    }

    #[test]
    fn it_says_what_to_type() {
        let introduction = |listen: &str, has_dig| {
            let backends = ["127.0.0.1:18081", "127.0.0.1:4"].map(|address| address.parse().unwrap());
            let (listen, folder) = (listen.parse().unwrap(), Path::new("/tmp/x"));
            Scene { listen, backends, folder, program: "target/release/hale", has_dig }.introduction()
        };
        let text = introduction(LISTEN, true);
        assert!(text.contains("\n  dig @127.0.0.1 -p 5300 www.example.test +short\n"), "{text}");
        assert!(text.contains("\n  curl -X POST 127.0.0.1:18081/down\n"), "{text}");
        assert!(!text.contains("taken") && !text.contains("no dig"), "{text}");
        let text = introduction("127.0.0.1:9", false);
        assert!(text.contains("taken by another process") && text.contains("no dig here"), "{text}");
        assert!(
            text.contains("\n  target/release/hale zone export example.test --state /tmp/x/state | grep "),
            "{text}"
        );
    }
}
