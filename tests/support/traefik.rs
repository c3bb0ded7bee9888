//! A Traefik API whose routers the test decides.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A Traefik API; `None`: it answers 500 to everything.
pub struct Api {
    pub address: SocketAddr,
    routers: Arc<Mutex<Option<Vec<&'static str>>>>,
}

impl Api {
    /// With these routers; it ends with the process.
    pub fn start(routers: &[&'static str]) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let routers = Arc::new(Mutex::new(Some(routers.to_vec())));
        let shared = Arc::clone(&routers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(&stream, &shared);
            }
        });
        Api { address, routers }
    }

    /// From now on it has these routers, or fails.
    pub fn set(&self, routers: Option<&[&'static str]>) {
        *self.routers.lock().unwrap() = routers.map(<[_]>::to_vec);
    }
}

fn answer(mut stream: &TcpStream, routers: &Mutex<Option<Vec<&'static str>>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next().transpose()?.unwrap_or_default();
    // Reads the head to its end, so that closing resets nothing.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let router = |name: &&str| {
        format!(
            r#"{{ "name": "{name}@docker", "provider": "docker", "rule": "Host(`{name}.example.test`)", "status": "enabled",
                  "entryPoints": ["websecure"], "service": "{name}", "tls": {{}} }}"#
        )
    };
    let (status, body) = match &*routers.lock().unwrap() {
        None => ("500 Internal Server Error", "{}".to_owned()),
        Some(_) if path.contains("/api/version") => ("200 OK", r#"{ "Version": "3.5.0" }"#.to_owned()),
        Some(names) if path.contains("/api/http/routers") => {
            ("200 OK", format!("[{}]", names.iter().map(router).collect::<Vec<_>>().join(",")))
        }
        Some(_) => ("200 OK", "[]".to_owned()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Next-Page: 1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
