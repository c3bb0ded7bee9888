//! Listeners that change while queries are answered.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::load::{Shared, ask_tcp, ask_udp};
use super::support::process::free_port;
use super::*;

#[test]
fn listeners_come_and_go_and_a_port_in_use_changes_nothing() {
    let hale = start("reload-listen", &json!({ "admin": { "listen": "127.0.0.1:0", "token": "one" } }));
    let (first, second) = (hale.address, SocketAddr::from(([127, 0, 0, 1], free_port())));
    let change = |listen: Value, token: &str| {
        let more = json!({ "listen": listen, "admin": { "listen": "127.0.0.1:0", "token": token } });
        write(&hale, "hale.json", &config(&more));
        reload(&hale)
    };
    let (ok, text) = change(json!(["127.0.0.1:0", second.to_string()]), "one");
    assert!(ok && text.contains(&format!("listen changed: {second} added")), "{text}");
    assert_eq!([version(first), version(second)], [Some(1), Some(1)]);
    assert_eq!(
        Client::new(second).ask(&QueryBuilder::new("example.test", rtype::SOA), Via::Tcp).unwrap().rcode,
        0
    );
    // An address that is taken: all stay, the one that should go among them.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (ok, text) = change(json!(["127.0.0.1:0", taken.local_addr().unwrap().to_string()]), "one");
    assert!(!ok && text.contains("listen NOT changed: cannot listen on"), "{text}");
    assert_eq!([version(first), version(second)], [Some(1), Some(1)]);
    // The wildcard takes over from an address on the same port.
    let wildcard = format!("0.0.0.0:{}", second.port());
    let (ok, text) = change(json!(["127.0.0.1:0", wildcard]), "two");
    assert!(ok && text.contains(&format!("{wildcard} added, {second} removed")), "{text}");
    assert!(text.contains("admin.token changed"), "{text}");
    assert_eq!([version(first), version(second)], [Some(1), Some(1)]);
    assert_eq!(call(hale.admin, "one", "POST", "/api/v1/reload", "").0, 401);
    assert_eq!(call(hale.admin, "two", "POST", "/api/v1/reload", "").0, 200);
    let (ok, text) = change(json!(["127.0.0.1:0"]), "two");
    assert!(ok && text.contains(&format!("listen changed: {wildcard} removed")), "{text}");
    assert_eq!(version(first), Some(1));
    assert_eq!(version(second), None);
    // Nobody holds the port any more.
    until(&hale, "the port", || std::net::TcpListener::bind(second).and(UdpSocket::bind(second)).ok());
}

/// Whether queries are answered there, by both transports.
fn answers(server: SocketAddr) -> bool {
    let query = QueryBuilder::new("example.test", rtype::SOA);
    [Via::Udp, Via::Tcp].into_iter().all(|via| {
        let mut client = Client::new(server);
        client.ask(&query, via).is_ok_and(|answer| answer.rcode == 0)
    })
}

/// Addresses come and go under load, wildcards over those that they hold among them: no query to the one that stays is lost, each list
/// is served as soon as the reload is over, and what is given up is free for others at once.
#[test]
fn listeners_change_all_the_time_under_load() {
    let hale = start("reload-listen-load", &json!({ "limits": { "rrl": "off" } }));
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let (a, b) = (free_port(), free_port());
    let v4 = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let v6 = |port| format!("[::1]:{port}").parse::<SocketAddr>().unwrap();
    let mut lists = vec![
        vec![v4(a)],
        vec![format!("0.0.0.0:{a}").parse().unwrap()],
        vec![v4(a), v4(b)],
        vec![v4(b)],
        vec![format!("0.0.0.0:{b}").parse().unwrap(), v4(a)],
    ];
    if has_ipv6 {
        lists.extend([
            vec![v4(a), v6(a)],
            vec![format!("[::]:{a}").parse().unwrap()],
            vec![v6(a), v6(b)],
            vec![v4(a), format!("[::]:{a}").parse().unwrap(), format!("0.0.0.0:{b}").parse().unwrap()],
        ]);
    }
    let shared = Arc::new(Shared::default());
    shared.published.store(1, Ordering::SeqCst);
    shared.written.store(1, Ordering::SeqCst);
    let mut clients: Vec<_> = (0..2).map(|_| ask_udp(hale.address, 4, Arc::clone(&shared))).collect();
    clients.extend((0..2).map(|_| ask_tcp(hale.address, Arc::clone(&shared))));
    let all: Vec<SocketAddr> = [a, b]
        .into_iter()
        .flat_map(|port| [v4(port), v6(port)])
        .filter(|at| at.is_ipv4() || has_ipv6)
        .collect();
    let rounds = if cfg!(debug_assertions) { 2 * lists.len() } else { 50 };
    let begun = Instant::now();
    for round in 0..rounds {
        let list = &lists[round % lists.len()];
        let mut listen = vec!["127.0.0.1:0".to_owned()];
        listen.extend(list.iter().map(ToString::to_string));
        write(&hale, "hale.json", &config(&json!({ "listen": listen, "limits": { "rrl": "off" } })));
        let (ok, text) = reload(&hale);
        assert!(ok, "round {round}: {list:?}: {text}");
        let is_listed = |at: &SocketAddr| {
            list.iter().any(|l| {
                l == at || l.port() == at.port() && l.ip().is_unspecified() && l.is_ipv4() == at.is_ipv4()
            })
        };
        for at in &all {
            if is_listed(at) {
                assert!(answers(*at), "round {round}: {at} of {list:?} does not answer: {text}");
            } else {
                let free = TcpListener::bind(at).map(drop).and_then(|()| UdpSocket::bind(at).map(drop));
                assert!(free.is_ok(), "round {round}: {at} is not free: {free:?}: {text}");
            }
        }
        assert!(clients.iter().all(|client| !client.is_finished()), "round {round}: a query was lost");
    }
    shared.over.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    eprintln!(
        "{rounds} changes of listeners in {:?}, {} queries meanwhile",
        begun.elapsed(),
        shared.queries.load(Ordering::Relaxed)
    );
    assert_eq!(version(hale.address), Some(1));
}
