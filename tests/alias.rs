//! ALIAS in a running server, with a resolver that changes its answer, fails, and comes back; and a restart while it is down.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::wire::rcode::{NOERROR, SERVFAIL};
use support::wire::{QueryBuilder, rtype};

/// What the resolver says of every name: addresses that end in these octets, a response code without records, or nothing.
#[derive(Clone, Debug)]
enum Mode {
    Addresses(Vec<u8>),
    Code(u8),
    Silent,
}

/// A resolver on a port of its own; its thread ends with the process of the test.
fn resolver(mode: Arc<Mutex<Mode>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            // Without the OPT record, which has 11 octets.
            let mut response = buffer[..length - 11].to_vec();
            let is_a = response[length - 15..length - 13] == [0, 1];
            response[10..12].copy_from_slice(&[0, 0]);
            match mode.lock().unwrap().clone() {
                Mode::Silent => continue,
                Mode::Code(code) => response[2..4].copy_from_slice(&[0x81, 0x80 | code]),
                Mode::Addresses(octets) => {
                    response[2..4].copy_from_slice(&[0x81, 0x80]);
                    for octet in octets.iter().filter(|_| is_a) {
                        response[7] += 1;
                        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 198, 51, 100, *octet]);
                    }
                }
            }
            let _ = socket.send_to(&response, peer);
        }
    });
    address
}

fn answer(hale: &Hale, qtype: u16) -> (u16, Vec<u8>) {
    let query = QueryBuilder::new("example.test", qtype).edns(1232, true);
    let answer = Client::new(hale.address).ask(&query, Via::Udp).unwrap();
    let mut last: Vec<u8> = answer.answers(qtype).map(|record| *record.rdata.last().unwrap()).collect();
    last.sort_unstable();
    (answer.rcode, last)
}

#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_apex_has_the_addresses_of_another_host() {
    let mode = Arc::new(Mutex::new(Mode::Silent));
    let set = |to: Mode| *mode.lock().unwrap() = to;
    let config = format!(r#"{{ "resolver": {{ "servers": ["{}"] }} }}"#, resolver(Arc::clone(&mode)));
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns1.example.net"], "dnssec": { "keys": "auto" },
        "records": { "@": { "ALIAS": "lb.cdn.example.", "TXT": ["apex"] } } }"#;
    let hale = Setup::new("alias").zone("zone.json", zone).config(&config).start();
    assert_eq!(answer(&hale, rtype::A).0, SERVFAIL, "nothing is known yet");
    assert_eq!(answer(&hale, rtype::TXT).0, NOERROR);
    set(Mode::Addresses(vec![7]));
    wait_for("the first addresses", || answer(&hale, rtype::A) == (NOERROR, vec![7]));
    assert_eq!(answer(&hale, rtype::AAAA), (NOERROR, vec![]));
    set(Mode::Addresses(vec![8, 9]));
    wait_for("other addresses", || answer(&hale, rtype::A) == (NOERROR, vec![8, 9]));
    set(Mode::Code(2));
    let is = |hale: &Hale, state: &str| {
        hale.get("/metrics").1.contains(&format!("hale_alias_hosts{{state=\"{state}\"}} 1"))
    };
    wait_for("a failure is seen", || is(&hale, "stale"));
    assert_eq!(answer(&hale, rtype::A), (NOERROR, vec![8, 9]), "stale if error");
    set(Mode::Silent);
    let hale = hale.restart();
    assert_eq!(answer(&hale, rtype::A), (NOERROR, vec![8, 9]), "restarted with the resolver down");
    // A denial that is not repeated is not believed.
    set(Mode::Code(3));
    wait_for("the resolver is back", || is(&hale, "resolved"));
    assert_eq!(answer(&hale, rtype::A), (NOERROR, vec![8, 9]));
    set(Mode::Addresses(vec![10]));
    wait_for("addresses after it", || answer(&hale, rtype::A) == (NOERROR, vec![10]));
}
