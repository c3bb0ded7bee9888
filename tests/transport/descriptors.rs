//! A server that may open no more than 64 files. It needs a process of its own: this test program, started once more.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hale::transport::Limits;

use crate::support::*;

/// Says its port, and serves until its standard input ends.
#[test]
#[ignore = "the other half of `few_descriptors`, which starts it"]
fn child() {
    let server =
        Server::start(&["127.0.0.1:0"], 1, Limits { connections: 5000, per_client: 5000, ..limits() });
    println!("\nport {}", server.port());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let totals = server.totals();
    assert!(totals.accept_errors(hale::telemetry::counters::AcceptError::Resources) > 0, "{totals:?}");
    server.running.stop();
}

fn start_child() -> (Child, SocketAddr) {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --exact descriptors::child --ignored --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|l| l.strip_prefix("port ").map(|p| p.parse().unwrap()));
    (child, SocketAddr::from(([127, 0, 0, 1], port.expect("the child says its port"))))
}

#[test]
fn few_descriptors_and_many_clients_leave_udp_alone_and_tcp_recovers() {
    let (mut child, server) = start_child();
    let udp = udp_client(server);
    ask(&udp, 0);
    let mut clients: Vec<TcpStream> = Vec::new();
    for i in 0..500u16 {
        clients.push(tcp_client(server));
        if i % 50 == 0 {
            ask(&udp, i);
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    // Idle connections make room, so that a newcomer is served although nobody has gone.
    ask_tcp(&mut tcp_client(server), 1);
    ask(&udp, 2);
    drop(clients);
    for id in 0..20 {
        ask_tcp(&mut tcp_client(server), id);
        ask(&udp, id);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
