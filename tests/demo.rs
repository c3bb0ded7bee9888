//! `hale demo` as a first-time user meets it: what it prints can be typed, and a flip is seen.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FIRST: [u8; 4] = [192, 0, 2, 10];
const SECOND: [u8; 4] = [192, 0, 2, 11];

/// A running demo with what it printed; it is stopped where a test fails.
struct Demo {
    child: Child,
    introduction: String,
}

impl Demo {
    fn start() -> Self {
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_hale")).arg("demo").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut introduction = String::new();
        while !introduction.contains("Ctrl-C") {
            introduction += &lines.next().expect("the demo goes on").unwrap();
            introduction.push('\n');
        }
        // Goes on reading, so that the demo can go on printing.
        std::thread::spawn(move || lines.count());
        Self { child, introduction }
    }

    /// The word that follows `before` in the introduction.
    fn word_after(&self, before: &str) -> &str {
        let (_, after) = self.introduction.split_once(before).unwrap();
        after.split_whitespace().next().unwrap()
    }

    /// The addresses in the answer for www.example.test, A.
    fn addresses(&self) -> [bool; 2] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let question = b"\x03www\x07example\x04test\0\0\x01\0\x01";
        let query = [b"\x12\x34\0\0\0\x01\0\0\0\0\0\0".as_slice(), question].concat();
        socket.send_to(&query, self.word_after("example.test on ")).unwrap();
        let mut answer = [0; 512];
        let len = socket.recv(&mut answer).unwrap();
        assert_eq!(answer[3] & 15, 0, "NOERROR");
        [FIRST, SECOND].map(|address| answer[..len].windows(4).any(|w| w == address))
    }

    /// Waits for the answer to be `want`.
    fn expect(&self, want: [bool; 2]) {
        let end = Instant::now() + Duration::from_secs(15);
        while self.addresses() != want {
            assert!(Instant::now() < end, "wanted {want:?}, got {:?}", self.addresses());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("kill").args([signal, &self.child.id().to_string()]).output();
    }

    /// Types the line `curl -X POST ADDRESS/path`.
    fn post(&self, path: &str) {
        let address = self.word_after("curl -X POST ").strip_suffix("/down").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // By a signal that lets it remove its folder.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal("-TERM");
            let _ = self.child.wait();
        }
    }
}

#[test]
fn a_flip_is_seen_and_nothing_is_left_behind() {
    let mut demo = Demo::start();
    let state = demo.word_after("status --state ").to_owned();
    demo.expect([true, true]);
    demo.post("/down");
    demo.expect([false, true]);
    demo.post("/up");
    demo.expect([true, true]);

    for arguments in [["status", "--state", &state], ["reload", "--state", &state]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hale")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    demo.signal("-INT");
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&state).parent().unwrap().exists(), "the temporary folder is removed");
}

#[test]
fn two_at_once_use_other_ports() {
    let (first, second) = (Demo::start(), Demo::start());
    assert_ne!(first.word_after("example.test on "), second.word_after("example.test on "));
    first.expect([true, true]);
    second.post("/down");
    second.expect([false, true]);
    assert_eq!(first.addresses(), [true, true], "the other's backend is another one");
}
