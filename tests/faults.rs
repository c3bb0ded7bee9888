//! Faults that a server has to survive: reloads under load, broken files, lost keys, sudden death, exhausted descriptors, rude TCP clients.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::{Client, Via, connect, read_framed, send_framed};
use support::fixture::{self, APEX};
use support::hale::{Hale, Setup};
use support::verify::{dnskeys, now_s, verify_section};
use support::wire::rcode::{NOERROR, SERVFAIL};
use support::wire::{QueryBuilder, rtype};

/// Room for the connections that these tests hold from one address.
const MANY: &str = r#"{ "limits": { "tcp": { "connections": 1000, "per_client": 1000 } } }"#;

fn www() -> QueryBuilder {
    QueryBuilder::new("www.example.test", rtype::A).edns(1232, true)
}

fn answers(address: SocketAddr, via: Via) -> bool {
    Client::new(address).ask(&www(), via).is_ok_and(|answer| answer.answers(rtype::A).count() == 2)
}

fn soa_serial(client: &mut Client, apex: &str) -> Option<u32> {
    let answer = client.ask(&QueryBuilder::new(apex, rtype::SOA), Via::Udp).unwrap();
    answer.answers(rtype::SOA).next().map(support::wire::Record::soa_serial)
}

fn wait_until(wait: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + wait;
    while !done() {
        assert!(Instant::now() < deadline, "not within {wait:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Queries all the time from a thread until stopped; gives how many were answered, and what failed.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, Vec<String>)>,
}

impl Load {
    fn start(address: SocketAddr) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut client = Client::new(address);
            let (mut answered, mut failures) = (0, Vec::new());
            while !flag.load(Ordering::Relaxed) {
                match client.ask(&www(), Via::Udp) {
                    Ok(answer)
                        if answer.answers(rtype::A).count() == 2
                            && answer.answers(rtype::RRSIG).count() == 1 =>
                    {
                        answered += 1;
                    }
                    Ok(answer) => failures.push(format!("{answer:?}")),
                    Err(error) => failures.push(error),
                }
            }
            (answered, failures)
        });
        Load { stop, thread }
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let (answered, failures) = self.thread.join().unwrap();
        assert!(failures.is_empty(), "{} of {answered} failed: {}", failures.len(), failures[0]);
        answered
    }
}

#[test]
fn twenty_reloads_under_load_lose_no_query_and_keep_a_broken_zone() {
    let other = r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "@": { "TXT": ["first"] } } }"#;
    let hale = fixture::signed("reload").zone("other.json", other).start();
    let load = Load::start(hale.address);
    for round in 0..20 {
        let text = if round % 2 == 0 {
            "{ broken".to_owned()
        } else {
            other.replace("first", &format!("round {round}"))
        };
        std::fs::write(hale.folder().join("other.json"), text).unwrap();
        hale.reload();
        std::thread::sleep(Duration::from_millis(if support::long() { 500 } else { 150 }));
        let answer =
            Client::new(hale.address).ask(&QueryBuilder::new("other.test", rtype::TXT), Via::Udp).unwrap();
        assert!(
            answer.rcode == NOERROR && answer.answers(rtype::TXT).count() == 1,
            "round {round}: {answer:?}"
        );
    }
    // The last round's file was good: what it says is served.
    wait_until(Duration::from_secs(5), || {
        let answer =
            Client::new(hale.address).ask(&QueryBuilder::new("other.test", rtype::TXT), Via::Udp).unwrap();
        answer.answer[0].rdata.ends_with(b"round 19")
    });
    eprintln!("{} queries", load.finish());
    assert!(hale.output().contains("other.json"), "a broken file is reported: {}", hale.output());
}

#[test]
fn a_signed_zone_without_its_key_is_never_unsigned() {
    let dnssec = r#"{ "keys": "keys" }"#;
    let start = || Setup::new("keys").zone("zone.json", &fixture::zone(APEX, dnssec));
    let other = r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "@": { "TXT": ["fine"] } } }"#;
    // Missing, truncated and unreadable keys at the start: this zone fails, another one serves.
    for content in [None, Some("-----BEGIN PRIVATE KEY-----\nMIG"), Some("")] {
        let setup = start().zone("other.json", other);
        if let Some(text) = content {
            setup.folder.write(&format!("keys/{APEX}/13.csk.1.pem"), text);
        }
        let hale = setup.start();
        let mut client = Client::new(hale.address);
        assert_eq!(client.ask(&www(), Via::Udp).unwrap().rcode, SERVFAIL, "key {content:?}");
        assert_eq!(
            client.ask(&QueryBuilder::new("other.test", rtype::TXT), Via::Udp).unwrap().rcode,
            NOERROR
        );
        assert!(hale.output().contains(APEX), "reported: {}", hale.output());
    }
}

#[test]
fn deleting_the_dnssec_block_does_not_make_a_signed_zone_unsigned() {
    // Another zone serves all along, since a server whose only zone is broken ends with 2.
    let other = r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "@": { "TXT": ["fine"] } } }"#;
    let hale = fixture::signed("block").zone("other.json", other).start();
    let unsigned = fixture::zone(APEX, "null").replace("\n  \"dnssec\": null,", "");
    std::fs::write(hale.folder().join("zone.json"), unsigned).unwrap();
    hale.reload();
    std::thread::sleep(Duration::from_millis(500));
    let mut client = Client::new(hale.address);
    let answer = client.ask(&www(), Via::Udp).unwrap();
    assert_eq!(answer.answers(rtype::RRSIG).count(), 1, "the old zone is kept: {answer:?}");
    let restarted = hale.restart();
    let answer = Client::new(restarted.address).ask(&www(), Via::Udp).unwrap();
    assert_eq!(answer.rcode, SERVFAIL, "never unsigned: {answer:?}");
    // Only the word "off" takes the signatures away.
    std::fs::write(restarted.folder().join("zone.json"), fixture::zone(APEX, r#""off""#)).unwrap();
    let off = restarted.restart();
    let answer = Client::new(off.address).ask(&www(), Via::Udp).unwrap();
    assert!(answer.rcode == NOERROR && answer.answers(rtype::RRSIG).count() == 0, "{answer:?}");
}

/// Who says that the zone was signed is damaged, and the block is gone: still nothing is unsigned, in this run and the next.
#[test]
fn damaged_state_does_not_make_a_signed_zone_unsigned() {
    let other = r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "dnssec": "off", "records": { "@": { "TXT": ["fine"] } } }"#;
    let mut hale = fixture::signed("marks").zone("other.json", other).start();
    let state = hale.folder().join("state");
    for file in ["signed-zones.json", "signed-zones.copy.json"] {
        std::fs::write(state.join(file), "damaged").unwrap();
    }
    let unsigned = fixture::zone(APEX, "null").replace("\n  \"dnssec\": null,", "");
    std::fs::write(hale.folder().join("zone.json"), unsigned).unwrap();
    for run in ["the first", "the second"] {
        hale = hale.crash();
        let mut client = Client::new(hale.address);
        assert_eq!(client.ask(&www(), Via::Udp).unwrap().rcode, SERVFAIL, "{run}");
        let other = client.ask(&QueryBuilder::new("other.test", rtype::TXT), Via::Udp).unwrap();
        assert_eq!(other.rcode, NOERROR, "{run}");
        assert!(hale.output().contains("is not known"), "{run}: {}", hale.output());
    }
    std::fs::write(hale.folder().join("zone.json"), fixture::zone(APEX, r#""off""#)).unwrap();
    let answer = Client::new(hale.restart().address).ask(&www(), Via::Udp).unwrap();
    assert!(answer.rcode == NOERROR && answer.answers(rtype::RRSIG).count() == 0, "{answer:?}");
}

#[test]
fn the_serial_never_goes_back_over_changes_restarts_and_crashes() {
    let mut hale = fixture::signed("serial").start();
    let mut last = soa_serial(&mut Client::new(hale.address), APEX).unwrap();
    for round in 0..6 {
        let changed = fixture::zone(APEX, r#"{ "keys": "auto" }"#)
            .replace("192.0.2.62", &format!("192.0.2.{}", 100 + round));
        std::fs::write(hale.folder().join("zone.json"), changed).unwrap();
        hale = match round % 3 {
            0 => hale.restart(),
            1 => hale.crash(),
            _ => hale,
        };
        hale.reload();
        let mut client = Client::new(hale.address);
        wait_until(Duration::from_secs(10), || {
            let answer = client.ask(&QueryBuilder::new("host.new.example.test", rtype::A), Via::Udp).unwrap();
            answer.answer[0].rdata[3] == 100 + round
        });
        let now = soa_serial(&mut client, APEX).unwrap();
        let step = now.wrapping_sub(last);
        assert!(step > 0 && step < 1 << 31, "round {round}: the serial went from {last} to {now}");
        last = now;
    }
}

/// A state folder that cannot be written, as on a full disk: a change is made or fails clearly, answers go on, and afterwards the serial
/// is where it was or further.
#[test]
fn a_lost_state_folder_does_not_stop_answers() {
    let mut hale = fixture::signed("state").start();
    let mut client = Client::new(hale.address);
    let before = soa_serial(&mut client, APEX).unwrap();
    let (state, away) = (hale.folder().join("state"), hale.folder().join("state.away"));
    std::fs::rename(&state, &away).unwrap();
    std::fs::write(&state, "not a folder").unwrap();
    let changed = fixture::zone(APEX, r#"{ "keys": "auto" }"#).replace("192.0.2.62", "192.0.2.162");
    std::fs::write(hale.folder().join("zone.json"), changed).unwrap();
    hale.reload();
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(20));
        assert!(answers(hale.address, Via::Udp) && hale.is_alive(), "{}", hale.output());
        let answer = client.ask(&www(), Via::Udp).unwrap();
        assert_eq!(answer.answers(rtype::RRSIG).count(), 1, "no half commit: {answer:?}");
    }
    let during = soa_serial(&mut client, APEX).unwrap();
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&away, &state).unwrap();
    let hale = hale.restart();
    let after = soa_serial(&mut Client::new(hale.address), APEX).unwrap();
    for (older, newer) in [(before, during), (during, after)] {
        assert!(newer.wrapping_sub(older) < 1 << 31, "the serial went from {older} to {newer}");
    }
}

/// A small file system that is unmounted at the end.
struct Small(std::path::PathBuf);

impl Small {
    /// `None` where it cannot be mounted: that takes a right that not everybody has.
    fn mount(at: std::path::PathBuf, octets: u32) -> Option<Small> {
        std::fs::create_dir(&at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={octets}"), "tmpfs"])
            .arg(&at)
            .output();
        mount.is_ok_and(|done| done.status.success()).then_some(Small(at))
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("full")).unwrap();
        while file.write_all(&[7; 512]).is_ok() {}
        assert!(std::fs::write(self.0.join("more"), [7; 4096]).is_err(), "it is full");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// The disk is full, and the server is killed again and again: each run goes on after the serials that the one before may have used, although
/// the clock has not got there yet.
#[test]
fn a_full_disk_repeats_no_serial() {
    let setup = fixture::signed("full");
    let Some(disk) = Small::mount(setup.state(), 512 * 1024) else {
        // No tool that could be installed: containers may not mount, their root neither.
        eprintln!("skipped: a tmpfs cannot be mounted");
        return;
    };
    let mut hale = setup.start();
    let mut last = soa_serial(&mut Client::new(hale.address), APEX).unwrap();
    disk.fill();
    for run in 0..4 {
        let changed = fixture::zone(APEX, r#"{ "keys": "auto" }"#)
            .replace("192.0.2.62", &format!("192.0.2.{}", 100 + run));
        std::fs::write(hale.folder().join("zone.json"), changed).unwrap();
        hale = hale.crash();
        let now = soa_serial(&mut Client::new(hale.address), APEX).unwrap();
        let step = now.wrapping_sub(last);
        assert!(step > 0 && step < 1 << 31, "run {run}: the serial went from {last} to {now}");
        assert!(hale.output().contains("kept in the room"), "{}", hale.output());
        last = now;
    }
    let failed = hale.get("/metrics").1;
    let failed = failed.lines().find_map(|line| line.strip_prefix("hale_state_write_failures_total "));
    assert!(failed.is_some_and(|count| count.parse::<u32>().unwrap() > 0), "{failed:?}");
    // There is room again: an orderly stop leaves the serial as it is.
    std::fs::remove_file(disk.0.join("full")).unwrap();
    let hale = hale.restart();
    let kept = soa_serial(&mut Client::new(hale.address), APEX).unwrap();
    let hale = hale.restart();
    assert_eq!(soa_serial(&mut Client::new(hale.address), APEX).unwrap(), kept);
    drop(hale);
}

/// The clock jumps 30 days ahead, past every signature, and then a day back from there: answers go on, signatures are renewed.
#[test]
fn signatures_are_renewed_after_the_clock_jumps() {
    let libraries = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let mut paths =
        libraries.iter().map(|folder| std::path::PathBuf::from(folder).join("faketime/libfaketime.so.1"));
    let Some(library) = paths.find(|path| path.is_file()) else {
        assert!(std::env::var_os("HALE_REQUIRE_TOOLS").is_none(), "libfaketime not found");
        eprintln!("skipped: libfaketime not found (package faketime)");
        return;
    };
    let setup = fixture::signed("clock");
    let clock = setup.folder.write("clock", "+0");
    let setup = setup
        .env("LD_PRELOAD", &library.display().to_string())
        .env("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut hale = setup.start();
    let mut client = Client::new(hale.address);
    let keys = dnskeys(&mut client, APEX);
    let mut serial = soa_serial(&mut client, APEX).unwrap();
    for (offset, shift_s) in [("+0", 0), ("+30d", 30 * 86_400), ("+29d", 29 * 86_400)] {
        std::fs::write(&clock, offset).unwrap();
        wait_until(Duration::from_secs(60), || {
            assert!(hale.is_alive(), "{}", hale.output());
            let answer = client.ask(&www(), Via::Udp).unwrap();
            answer.answers(rtype::A).count() == 2
                && verify_section(&answer.answer, &keys, now_s() + shift_s).is_ok()
        });
        let now = soa_serial(&mut client, APEX).unwrap();
        assert!(now.wrapping_sub(serial) < 1 << 31, "{offset}: the serial went from {serial} to {now}");
        serial = now;
    }
}

#[test]
fn sigterm_answers_what_was_read_and_ends_with_0() {
    for via in [Via::Udp, Via::Tcp] {
        let mut hale = fixture::signed("term").start();
        assert!(answers(hale.address, via));
        let mut stream = connect(hale.address).unwrap();
        send_framed(&mut stream, &www().build()).unwrap();
        assert!(read_framed(&mut stream).is_ok());
        let started = Instant::now();
        let status = hale.terminate();
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", hale.output());
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "an idle connection holds it up: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn rude_tcp_clients_harm_nobody_else() {
    let mut hale = fixture::signed("rude").config(MANY).start();
    let before_kib = hale.resident_kib();
    let _idle: Vec<TcpStream> = (0..200).map(|_| connect(hale.address).unwrap()).collect();
    let _deaf: Vec<TcpStream> = (0..4).map(|_| pipeline_without_reading(hale.address)).collect();
    let mut slow = connect(hale.address).unwrap();
    for _ in 0..50 {
        // A connection that is reset while its query is answered.
        let mut stream = connect(hale.address).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        send_framed(&mut stream, &www().build()).unwrap();
    }
    for octet in [&u16::try_from(www().build().len()).unwrap().to_be_bytes()[..], &www().build()].concat() {
        slow.write_all(&[octet]).unwrap();
        assert!(answers(hale.address, Via::Udp) && answers(hale.address, Via::Tcp));
    }
    assert!(read_framed(&mut slow).is_ok(), "slow octets make a query all the same");
    assert!(hale.is_alive(), "{}", hale.output());
    let grown_kib = hale.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 64 * 1024, "grown by {grown_kib} KiB");
}

/// Sends queries for a large answer until the server takes no more.
fn pipeline_without_reading(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let query = QueryBuilder::new("big.example.test", rtype::TXT).build();
    for _ in 0..5000 {
        if send_framed(&mut stream, &query).is_err() {
            break;
        }
    }
    stream
}

#[test]
fn a_half_closed_connection_gets_its_answers() {
    let hale = fixture::signed("half").start();
    let mut stream = connect(hale.address).unwrap();
    for _ in 0..10 {
        send_framed(&mut stream, &www().build()).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for number in 0..10 {
        assert!(read_framed(&mut stream).is_ok(), "answer {number}");
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "then the server closes too");
}

#[test]
fn pipelined_queries_are_all_answered() {
    let hale = fixture::signed("pipeline").start();
    let mut stream = connect(hale.address).unwrap();
    let mut framed = Vec::new();
    for id in 0..500u16 {
        let wire = QueryBuilder { id, ..www() }.build();
        framed.extend_from_slice(&u16::try_from(wire.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&wire);
    }
    stream.write_all(&framed).unwrap();
    let mut ids: Vec<u16> = (0..500)
        .map(|_| read_framed(&mut stream).unwrap())
        .map(|m| u16::from_be_bytes([m[0], m[1]]))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..500).collect::<Vec<_>>());
}

/// With 64 descriptors and 500 TCP clients UDP goes on, and TCP recovers when they are gone.
#[test]
fn exhausted_descriptors_do_not_touch_udp() {
    let hale = fixture::signed("descriptors").config(MANY).start();
    limit_descriptors(&hale, 64);
    let mut clients = Vec::new();
    for _ in 0..500 {
        let stream = TcpStream::connect_timeout(&hale.address, Duration::from_millis(200));
        clients.extend(stream);
    }
    for _ in 0..20 {
        assert!(answers(hale.address, Via::Udp), "{}", hale.output());
    }
    drop(clients);
    wait_until(Duration::from_secs(10), || answers(hale.address, Via::Tcp));
}

fn limit_descriptors(hale: &Hale, count: u64) {
    let id = hale.id().to_string();
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &id, &format!("--nofile={count}:{count}")])
        .status();
    assert!(status.unwrap().success(), "prlimit");
}

#[test]
fn a_second_server_on_the_same_state_or_address_ends_with_1() {
    let hale = fixture::signed("second").start();
    let mut command = support::hale::hale();
    command.arg("serve").arg(hale.folder().join("zone.json"));
    command.args(["--admin", "off", "--listen", "127.0.0.1:0", "--state"]).arg(hale.folder().join("state"));
    let locked = support::process::run(&mut command, Duration::from_secs(20));
    assert_eq!(locked.status.code(), Some(1), "{locked:?}");
    let mut command = support::hale::hale();
    command.arg("serve").arg(hale.folder().join("zone.json")).args([
        "--admin",
        "off",
        "--listen",
        &hale.address.to_string(),
    ]);
    command.arg("--state").arg(hale.folder().join("other-state"));
    let taken = support::process::run(&mut command, Duration::from_secs(20));
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
}

#[test]
fn admin_pages_tell_life_readiness_and_figures_and_survive_abuse() {
    let mut hale = fixture::signed("admin").start();
    assert_eq!(hale.get("/healthz").0, 200);
    assert_eq!(hale.get("/readyz").0, 200);
    let (status, metrics) = hale.get("/metrics");
    assert!(status == 200 && metrics.contains("hale_"), "{metrics}");
    let mut flood = connect(hale.admin).unwrap();
    let _ = write!(flood, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
    for number in 0..20_000 {
        if write!(flood, "X-{number}: {}\r\n", "a".repeat(100)).is_err() {
            break;
        }
    }
    let mut stuck = connect(hale.admin).unwrap();
    write!(stuck, "POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n").unwrap();
    assert_eq!(hale.get("/healthz").0, 200, "{}", hale.output());
    assert!(hale.is_alive() && answers(hale.address, Via::Udp));
}
