use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use hale::telemetry::counters::{CloseReason, DropReason, RefuseReason};
use hale::transport::Limits;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_thousand_queries_in_one_write_are_answered_in_order() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    for wanted in [0, 1200, 60_000] {
        let mut stream = tcp_client(server.addresses[0]);
        let all: Vec<u8> = (0..1000).flat_map(|id| framed(&query(id, wanted))).collect();
        stream.write_all(&all).unwrap();
        for id in 0..1000 {
            expect(&mut stream, id, usize::from(wanted).max(40));
        }
    }
}

/// Sends `bytes` cut at the places given, with a pause between, and expects responses of these lengths.
fn check_cuts(bytes: &[u8], cuts: &[usize], lengths: &[usize]) {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let mut stream = tcp_client(server.addresses[0]);
    stream.set_nodelay(true).unwrap();
    let mut start = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        stream.write_all(&bytes[start..cut]).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        start = cut;
    }
    for &length in lengths {
        assert_eq!(read_message(&mut stream).unwrap().len(), length, "{cuts:?}");
    }
}

#[test]
fn messages_come_in_whatever_pieces() {
    let small = framed(&query(1, 0));
    check_cuts(&small, &(1..small.len()).collect::<Vec<_>>(), &[40]);
    let two = [small.clone(), small.clone()].concat();
    check_cuts(&two, &[1], &[40, 40]);
    check_cuts(&two, &[43], &[40, 40]);
    let mut large = query(2, 0);
    large.resize(65_535, 0);
    let large = framed(&large);
    check_cuts(&large, &[], &[65_535]);
    check_cuts(&[small.clone(), large, small].concat(), &[1, 50, 3000, 20_000, 65_579], &[40, 65_535, 40]);
}

#[test]
fn a_message_that_is_no_query_is_passed_over() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let mut stream = tcp_client(server.addresses[0]);
    stream.write_all(&framed(&[1, 2, 3])).unwrap();
    ask_tcp(&mut stream, 5);
    assert_eq!(server.totals().dropped(DropReason::NotAQuery), 1);
}

#[test]
fn half_closed_connections_get_their_responses() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let mut stream = tcp_client(server.addresses[0]);
    let all: Vec<u8> = (0..300).flat_map(|id| framed(&query(id, 9000))).collect();
    stream.write_all(&all).unwrap();
    // And the beginning of one more, which never comes whole.
    stream.write_all(&[0, 40, 1]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for id in 0..300 {
        expect(&mut stream, id, 9000);
    }
    expect_end(&mut stream);
    server.wait_for("its end", |t| t.tcp_closed(CloseReason::Client) == 1);
}

#[test]
fn an_empty_message_ends_the_connection_after_what_came_before() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let mut stream = tcp_client(server.addresses[0]);
    let bytes = [framed(&query(1, 0)), vec![0, 0], framed(&query(2, 0))].concat();
    stream.write_all(&bytes).unwrap();
    expect(&mut stream, 1, 40);
    expect_end(&mut stream);
    server.wait_for("its end", |t| t.tcp_closed(CloseReason::Protocol) == 1);
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server = Server::start(&["127.0.0.1:0"], 1, Limits { idle: SHORT, ..limits() });
    let mut idle = tcp_client(server.addresses[0]);
    ask_tcp(&mut idle, 1);
    let mut silent = tcp_client(server.addresses[0]);
    let mut busy = tcp_client(server.addresses[0]);
    let end = Instant::now() + SHORT * 4;
    while Instant::now() < end {
        ask_tcp(&mut busy, 2);
        std::thread::sleep(Duration::from_millis(20));
    }
    expect_end(&mut idle);
    expect_end(&mut silent);
    assert_eq!((server.totals().tcp_closed(CloseReason::Idle), server.totals().tcp_open()), (2, 1));
}

#[test]
fn a_message_has_a_deadline_that_single_octets_do_not_move() {
    let server = Server::start(&["127.0.0.1:0"], 1, Limits { message: SHORT, ..limits() });
    let mut slow = tcp_client(server.addresses[0]);
    slow.set_nodelay(true).unwrap();
    let start = Instant::now();
    for octet in framed(&query(1, 0)).iter().cycle() {
        std::thread::sleep(Duration::from_millis(25));
        if slow.write_all(&[*octet]).is_err() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "still open");
    }
    server.wait_for("its end", |t| t.tcp_closed(CloseReason::SlowRead) == 1);
}

/// Writes queries without ever reading, until the server takes no more.
fn flood(stream: &mut TcpStream, wanted: u16) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let many: Vec<u8> = (0..100).flat_map(|id| framed(&query(id, wanted))).collect();
    let mut written = 0;
    loop {
        match stream.write(&many) {
            Ok(n) => written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return written,
            Err(e) => panic!("{e}"),
        }
        assert!(written < 64 << 20, "the server takes queries without end");
    }
}

#[test]
fn a_client_that_never_reads_is_not_read_from_and_then_closed() {
    let server = Server::start(&["127.0.0.1:0"], 1, Limits { write: SHORT * 5, ..limits() });
    let mut never = tcp_client(server.addresses[0]);
    flood(&mut never, 1200);
    ask_tcp(&mut tcp_client(server.addresses[0]), 3);
    server.wait_for("its end", |t| t.tcp_closed(CloseReason::SlowWrite) == 1);
    ask_tcp(&mut tcp_client(server.addresses[0]), 4);
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let mut late = tcp_client(server.addresses[0]);
    let mut writer = late.try_clone().unwrap();
    let count = 5000u16;
    let writing = std::thread::spawn(move || {
        let all: Vec<u8> = (0..count).flat_map(|id| framed(&query(id, 4000))).collect();
        writer.write_all(&all).unwrap();
    });
    std::thread::sleep(SHORT);
    for id in 0..count {
        expect(&mut late, id, 4000);
    }
    writing.join().unwrap();
}

#[test]
fn a_client_has_its_own_cap() {
    let server = Server::start(&["127.0.0.1:0"], 2, Limits { per_client: 3, ..limits() });
    let mut own: Vec<_> = (0..3).map(|_| tcp_client_from("127.0.0.7:0", server.addresses[0])).collect();
    own.iter_mut().for_each(|stream| ask_tcp(stream, 1));
    expect_end(&mut tcp_client_from("127.0.0.7:0", server.addresses[0]));
    ask_tcp(&mut tcp_client_from("127.0.0.8:0", server.addresses[0]), 2);
    own.pop();
    server.wait_for("its end", |t| t.tcp_closed(CloseReason::Client) >= 1);
    own.iter_mut().for_each(|stream| ask_tcp(stream, 3));
    ask_tcp(&mut tcp_client_from("127.0.0.7:0", server.addresses[0]), 4);
    assert_eq!(server.totals().tcp_refused(RefuseReason::PerClient), 1);
}

#[test]
fn at_the_total_cap_the_idlest_makes_room_unless_all_are_busy() {
    let server = Server::start(&["127.0.0.1:0"], 1, Limits { connections: 3, ..limits() });
    let address = server.addresses[0];
    let mut open: Vec<_> = (0..3).map(|_| tcp_client(address)).collect();
    for i in [1, 0, 2] {
        ask_tcp(&mut open[i], i as u16);
    }
    let mut fourth = tcp_client(address);
    ask_tcp(&mut fourth, 4);
    expect_end(&mut open[1]);
    // All three in the middle of a message: nobody is sent away for a newcomer.
    for stream in [&mut fourth].into_iter().chain(open.iter_mut().step_by(2)) {
        stream.write_all(&[0]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    expect_end(&mut tcp_client(address));
    let totals = server.totals();
    assert_eq!((totals.tcp_closed(CloseReason::MadeRoom), totals.tcp_refused(RefuseReason::Total)), (1, 1));
    assert_eq!(totals.tcp_open(), 3);
}

#[test]
fn what_all_connections_make_the_server_keep_is_bounded() {
    let server = Server::start(&["127.0.0.1:0"], 2, Limits { buffered: 150_000, ..limits() });
    let address = server.addresses[0];
    // Most of a message of 60,000 octets.
    let part = [&60_000u16.to_be_bytes()[..], &[0; 50_000]].concat();
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        let mut stream = tcp_client(address);
        // The last ones may be closed while they write.
        let _ = stream.write_all(&part);
        open.push(stream);
    }
    server.wait_for("the end of who asks for too much", |t| t.tcp_closed(CloseReason::Memory) >= 1);
    // Who sends whole messages keeps nothing, and those that fitted are still open.
    ask_tcp(&mut tcp_client(address), 1);
    server.wait_for("its end", |t| t.tcp_closed(CloseReason::Client) == 1);
    let totals = server.totals();
    assert_eq!(totals.tcp_closed(CloseReason::Memory) + totals.tcp_open(), 4);
    assert!(totals.tcp_open() >= 2, "{totals:?}");
    drop(open);
    server.wait_for("their ends", |t| t.tcp_open() == 0);
    let mut whole = tcp_client(address);
    whole.write_all(&part).unwrap();
    whole.write_all(&[0; 10_000]).unwrap();
    assert_eq!(read_message(&mut whole).unwrap().len(), 60_000);
}

#[test]
fn the_stop_lets_clients_take_their_responses() {
    let server = Server::start(&["127.0.0.1:0"], 1, limits());
    let mut stream = tcp_client(server.addresses[0]);
    let written = flood(&mut stream, 1200) / 42;
    assert!(written > 100);
    let stopping = std::thread::spawn(move || server.running.stop());
    // Whatever had been read is answered whole: the stream ends between messages.
    let mut taken = 0;
    while read_message(&mut stream).is_ok_and(|m| m.len() == 1200) {
        taken += 1;
    }
    assert!(taken > 100, "{taken} of {written}");
    stopping.join().unwrap();
}
