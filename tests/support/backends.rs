//! Backends whose health the test decides: one HTTP server that answers `/<number>` with 200 or 503.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Some backends, all up at first.
pub struct Backends {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    up: Vec<AtomicBool>,
    stop: AtomicBool,
}

impl Backends {
    /// `count` of them behind one listener on 127.0.0.1.
    pub fn start(count: usize) -> Backends {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            up: (0..count).map(|_| AtomicBool::new(true)).collect(),
            stop: AtomicBool::new(false),
        });
        for _ in 0..4 {
            let (listener, state) = (listener.try_clone().unwrap(), Arc::clone(&state));
            std::thread::spawn(move || accept(&listener, &state));
        }
        Backends { address, state }
    }

    /// Sets one backend's health.
    pub fn set(&self, number: usize, up: bool) {
        self.state.up[number].store(up, Ordering::SeqCst);
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting threads; they see the flag and end.
        for _ in 0..4 {
            let _ = TcpStream::connect(self.address);
        }
    }
}

fn accept(listener: &TcpListener, state: &State) {
    while let Ok((stream, _)) = listener.accept() {
        if state.stop.load(Ordering::SeqCst) {
            return;
        }
        let _ = serve(&stream, state);
    }
}

fn serve(mut stream: &TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let number = request.split(['/', ' ']).nth(2).and_then(|number| number.parse::<usize>().ok());
    let up = number.and_then(|number| state.up.get(number)).is_some_and(|up| up.load(Ordering::SeqCst));
    let status = if up { "200 OK" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
