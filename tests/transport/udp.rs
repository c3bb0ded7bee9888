use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use hale::telemetry::counters::{DropReason, Protocol};
use hale::transport::{Limits, bind};

use crate::support::*;

/// A connected client takes only what comes from the address it asked, so an answer proves its source.
fn check_source(listen: &str, asked: &[SocketAddr]) {
    let server = Server::start(&[listen], 2, limits());
    for (id, address) in asked.iter().enumerate() {
        let address = SocketAddr::new(address.ip(), server.port());
        ask(&udp_client(address), id as u16);
    }
}

#[test]
fn responses_leave_from_the_address_that_was_asked() {
    let v4 = [1, 2, 3, 200].map(|last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)));
    check_source("0.0.0.0:0", &v4);
    check_source("127.0.0.3:0", &v4[2..3]);
    check_source("[::]:0", &[SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]);
    check_source("[::1]:0", &[SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]);
}

#[test]
fn both_wildcards_serve_the_same_port() {
    let server = Server::start(&["0.0.0.0:0"], 1, limits());
    let port = server.port();
    let six = Server::start(&[&format!("[::]:{port}")], 1, limits());
    ask(&udp_client((Ipv4Addr::LOCALHOST, port)), 1);
    ask(&udp_client((Ipv6Addr::LOCALHOST, port)), 2);
    assert_eq!((server.totals().queries(Protocol::Udp), six.totals().queries(Protocol::Udp)), (1, 1));
}

#[test]
fn port_zero_is_one_port_for_every_socket() {
    let server = Server::start(&["127.0.0.1:0", "127.0.0.2:0"], 3, limits());
    assert!(server.addresses.iter().all(|a| a.port() != 0));
    for &address in &server.addresses {
        // Ports of the clients differ, so that the kernel spreads them over the workers.
        for id in 0..20 {
            ask(&udp_client(address), id);
        }
        ask_tcp(&mut tcp_client(address), 1);
    }
}

fn check_taken(address: &str, workers: usize, hint: &str) {
    let error = try_bind(&[address], workers).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on {address} ")) && text.contains(hint), "{text}");
}

#[test]
fn an_address_in_use_is_found_and_not_shared() {
    for workers in [1, 2] {
        let first = try_bind(&["127.0.0.1:0"], workers).unwrap();
        check_taken(&first.addresses()[0].to_string(), workers, "another server is on it");
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    check_taken(&udp.local_addr().unwrap().to_string(), 1, "another server is on it");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    check_taken(&tcp.local_addr().unwrap().to_string(), 2, "TCP: ");
    check_taken("192.0.2.77:5399", 1, "no interface");
}

#[test]
fn entries_that_overlap_are_told_so() {
    for _ in 0..50 {
        let free = try_bind(&["127.0.0.1:0"], 1).unwrap().addresses()[0];
        let error = try_bind(&[&format!("0.0.0.0:{}", free.port()), &free.to_string()], 1).unwrap_err();
        // Somebody else may have the port by now, on another address: then the first entry fails, and says nothing here.
        if error.address == free {
            assert!(error.hint.contains("covers it already"), "{error}");
            return;
        }
    }
    panic!("no port was free on all addresses");
}

#[test]
fn an_optional_address_in_use_is_still_an_error() {
    let first = try_bind(&["[::1]:0"], 1).unwrap();
    let mut second = listen(&[&first.addresses()[0].to_string()]);
    second[0].optional = true;
    assert!(bind(&second, 1, limits(), false).is_err());
}

#[test]
fn what_arrives_together_is_answered_in_batches() {
    let bound = try_bind(&["127.0.0.1:0"], 1).unwrap();
    let clients: Vec<_> = (0..10).map(|_| udp_client(bound.addresses()[0])).collect();
    for id in 0..20 {
        for client in &clients {
            client.send(&query(id, 100 + id)).unwrap();
        }
    }
    let server = Server::start_bound(bound);
    for client in &clients {
        for id in 0..20u16 {
            let mut response = [0; 512];
            let n = client.recv(&mut response).unwrap();
            assert_eq!((n, &response[..2]), (100 + usize::from(id), &id.to_be_bytes()[..]));
        }
    }
    server.wait_for("200 queries", |t| t.queries(Protocol::Udp) == 200);
    // 64 + 64 + 64 + 8.
    assert_eq!(server.totals().batches(), 4);
}

#[test]
fn what_gets_no_response_is_counted() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let client = udp_client(server.addresses[0]);
    client.send(&[]).unwrap();
    client.send(&[0; 11]).unwrap();
    let mut response = query(1, 0);
    response[2] |= 0x80;
    client.send(&response).unwrap();
    client.send(&[0; 5000]).unwrap();
    ask(&client, 7);
    let totals = server.totals();
    assert_eq!((totals.dropped(DropReason::NotAQuery), totals.dropped(DropReason::Oversize)), (3, 1));
}

#[test]
fn the_stop_answers_what_has_arrived() {
    let bound = try_bind(&["127.0.0.1:0"], 1).unwrap();
    let client = udp_client(bound.addresses()[0]);
    for id in 0..60 {
        client.send(&query(id, 0)).unwrap();
    }
    // The stop may even come before the worker has begun.
    let server = Server::start_bound(bound);
    server.running.stop();
    let mut ids: Vec<u16> = Vec::new();
    client.set_nonblocking(true).unwrap();
    let mut response = [0; 512];
    while let Ok(40) = client.recv(&mut response) {
        ids.push(u16::from_be_bytes([response[0], response[1]]));
    }
    assert_eq!(ids, (0..60).collect::<Vec<_>>());
}

#[test]
fn an_idle_server_stops_at_once() {
    let server = Server::start(&["127.0.0.1:0", "[::]:0"], 2, limits());
    ask(&udp_client(server.addresses[0]), 1);
    let mut idle = tcp_client(server.addresses[0]);
    ask_tcp(&mut idle, 1);
    let start = Instant::now();
    let address = server.addresses[0];
    server.running.stop();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    expect_end(&mut idle);
    // And everything it held can be had again.
    drop(idle);
    try_bind(&[&address.to_string()], 2).unwrap();
}

#[test]
fn a_worker_that_panics_is_started_again() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let client = udp_client(server.addresses[0]);
    let mut poison = query(1, 0);
    poison[10..12].copy_from_slice(&[0xde, 0xad]);
    client.send(&poison).unwrap();
    // Its batch is lost; what comes later waits in the kernel for the worker to be back.
    std::thread::sleep(Duration::from_millis(20));
    ask(&client, 2);
    let mut stream = tcp_client(server.addresses[0]);
    std::io::Write::write_all(&mut stream, &framed(&poison)).unwrap();
    expect_end(&mut stream);
    ask_tcp(&mut tcp_client(server.addresses[0]), 3);
}

#[test]
fn what_the_kernel_had_no_room_for_is_counted() {
    let bound =
        bind(&listen(&["127.0.0.1:0"]), 1, Limits { receive_buffer: 65_536, ..limits() }, false).unwrap();
    let client = udp_client(bound.addresses()[0]);
    for id in 0..2000 {
        client.send(&query(id, 0)).unwrap();
    }
    let server = Server::start_bound(bound);
    server.wait_for("the count of what was lost", |t| t.lost() > 0);
    server.wait_for("the rest", |t| t.lost() + t.queries(Protocol::Udp) == 2000);
}

#[test]
fn pinned_workers_have_a_core_each() {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    let cores = || {
        let set = rustix::thread::sched_getaffinity(None).unwrap();
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>()
    };
    let allowed = cores();
    for pin in [false, true] {
        let seen: Arc<Mutex<BTreeMap<usize, Vec<usize>>>> = Arc::default();
        let engine = {
            let seen = Arc::clone(&seen);
            move |worker| {
                seen.lock().unwrap().insert(worker, cores());
                Echo
            }
        };
        let bound = try_bind(&["127.0.0.1:0"], 3).unwrap().pinned(pin);
        let address = bound.addresses()[0];
        let running = bound.start(engine, Arc::default()).unwrap();
        (0..20).for_each(|id| ask(&udp_client(address), id));
        running.stop();
        for (worker, cores) in seen.lock().unwrap().iter() {
            let expected = if pin { vec![allowed[worker % allowed.len()]] } else { allowed.clone() };
            assert_eq!(*cores, expected, "worker {worker}");
        }
        assert_eq!(seen.lock().unwrap().len(), 3);
    }
}
