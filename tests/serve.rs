//! `hale serve` as people and programs start it: with broken zones, by the portable transport, with a-healthy-dns's own flags and
//! variables, and under a service manager.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use support::client::{Client, Via};
use support::hale::{Setup, hale_run};
use support::process::{TempDir, run};
use support::verify::{dnskeys, now_s, verify_section};
use support::wire::rcode::{NOERROR, NXDOMAIN, SERVFAIL};
use support::wire::{Message, QueryBuilder, rtype};

/// A zone that can be served, or one with an error in its records.
fn zone(apex: &str, is_good: bool) -> String {
    let address = if is_good { "192.0.2.1" } else { "192.0.2.300" };
    format!(r#"{{"zone": "{apex}", "nameservers": ["ns.example.net"], "records": {{"www": ["{address}"]}}}}"#)
}

#[test]
fn a_broken_zone_is_servfail_and_the_others_serve_but_with_strict() {
    let broken = || Setup::new("broken").zone("bad.json", &zone("bad.test", false));
    for (setup, status) in [
        (broken(), 2),
        (broken().zone("good.json", &zone("good.test", true)).arguments(["--strict"]), 2),
        (Setup::new("none").arguments(["--config", "/no/such/hale.json"]), 2),
    ] {
        let done = run(&mut setup.command(), Duration::from_secs(20));
        assert_eq!(done.status.code(), Some(status), "{done:?}");
    }
    let hale = broken().zone("good.json", &zone("good.test", true)).start();
    let mut client = Client::new(hale.address);
    for (name, rcode) in [("www.bad.test", SERVFAIL), ("bad.test", SERVFAIL), ("www.good.test", NOERROR)] {
        let answer = client.ask(&QueryBuilder::new(name, rtype::A), Via::Udp).unwrap();
        assert_eq!(answer.rcode, rcode, "{name}: {answer:#?}");
    }
    let (status, page) = hale.get("/api/v1/zones");
    assert!(status == 200 && page.contains(r#""state":"broken""#) && page.contains("192.0.2.300"), "{page}");
}

#[test]
fn the_portable_transport_serves_until_sigint() {
    let setup = Setup::new("portable").zone("good.json", &zone("good.test", true));
    let mut hale = setup.arguments(["--portable"]).start();
    let mut client = Client::new(hale.address);
    for via in [Via::Udp, Via::Tcp] {
        let answer = client.ask(&QueryBuilder::new("www.good.test", rtype::A), via).unwrap();
        assert_eq!(
            (answer.rcode, answer.aa, answer.answer.len()),
            (NOERROR, true, 1),
            "{via:?}: {answer:#?}"
        );
    }
    hale.signal("INT");
    // No other signal beside it: of two that wait, either may be taken first.
    assert!(hale.wait().unwrap().success());
    assert!(hale.output().contains("SIGINT"), "{}", hale.output());
}

/// A key file as a user of a-healthy-dns has one.
fn key(folder: &TempDir) -> PathBuf {
    let keys = folder.path().join("keys");
    let made = hale_run([
        "keys",
        "generate",
        "any.test",
        "--algorithm",
        "ED25519",
        "--keys",
        &keys.display().to_string(),
    ]);
    assert!(made.status.success(), "{made:?}");
    std::fs::read_dir(keys.join("any.test")).unwrap().next().unwrap().unwrap().path()
}

/// A flag, the variable of the same meaning, and a value.
type Setting = (&'static str, &'static str, String);

/// Starts a server by what `apply` makes of the settings, and asks it what a user would see.
fn check_healthy_dns(name: &str, apply: fn(Setup, &[Setting]) -> Setup) {
    let up = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = up.local_addr().unwrap().port();
    let records = format!(
        r#"{{"www": {{"ips": ["127.0.0.1", "127.0.0.2"], "health_port": {port}}},
            "gone": {{"ips": ["127.0.0.3"], "health_port": {port}}}, "static": ["192.0.2.3"]}}"#
    );
    let setup = Setup::new(name);
    let key = key(&setup.folder).display().to_string();
    let settings = [
        ("--hosted-zone", "DNS_HOSTED_ZONE", "example.test".to_owned()),
        ("--alias-zones", "DNS_ALIAS_ZONES", r#"["sub.example.test"]"#.to_owned()),
        ("--zone-resolutions", "DNS_ZONE_RESOLUTIONS", records),
        ("--ns", "DNS_NAME_SERVERS", r#"["ns1.example.net"]"#.to_owned()),
        ("--test-min-interval", "DNS_TEST_MIN_INTERVAL", "1".to_owned()),
        ("--test-timeout", "DNS_TEST_TIMEOUT", "1".to_owned()),
        ("--priv-key-path", "DNS_PRIV_KEY_PATH", key),
        ("--priv-key-alg", "DNS_PRIV_KEY_ALG", "ED25519".to_owned()),
    ];
    let hale = apply(setup, &settings).start();
    let mut client = Client::new(hale.address);
    // The alias lies below the zone: the longer apex answers, and signs by itself.
    for apex in ["example.test", "sub.example.test"] {
        let keys = dnskeys(&mut client, apex);
        let mut check = |owner: &str, rcode, want: &[Ipv4Addr]| {
            let asked = QueryBuilder::new(&format!("{owner}.{apex}"), rtype::A).edns(1232, true);
            let answer: Message = client.ask(&asked, Via::Udp).unwrap();
            let found: Vec<_> = answer.answers(rtype::A).map(|r| r.rdata.clone()).collect();
            let want: Vec<_> = want.iter().map(|address| address.octets().to_vec()).collect();
            assert_eq!((answer.rcode, answer.aa, found), (rcode, true, want), "{owner}.{apex}: {answer:#?}");
            for section in [&answer.answer, &answer.authority] {
                verify_section(section, &keys, now_s()).unwrap();
            }
        };
        check("www", NOERROR, &[Ipv4Addr::LOCALHOST]);
        check("gone", NOERROR, &[]);
        check("static", NOERROR, &[Ipv4Addr::new(192, 0, 2, 3)]);
        check("missing", NXDOMAIN, &[]);
    }
}

#[test]
fn the_flags_of_a_healthy_dns_serve_its_zone() {
    check_healthy_dns("flags", |setup, settings| {
        setup.arguments(settings.iter().map(|(flag, _, value)| format!("{flag}={value}")))
    });
}

#[test]
fn the_variables_of_a_healthy_dns_serve_its_zone() {
    check_healthy_dns("variables", |setup, settings| {
        settings.iter().fold(setup, |setup, (_, variable, value)| setup.env(variable, value))
    });
}

#[test]
fn the_service_manager_is_told() {
    let folder = TempDir::new("manager");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let expect = |what: &str| {
        let mut message = [0; 512];
        loop {
            let len = manager.recv(&mut message).unwrap_or_else(|e| panic!("{what}: {e}"));
            let message = String::from_utf8_lossy(&message[..len]);
            // A sign of life may come at any time.
            if message != "WATCHDOG=1\n" {
                assert!(message.starts_with(what), "{what}: {message}");
                return;
            }
        }
    };
    let mut hale =
        support::fixture::unsigned("notify").env("NOTIFY_SOCKET", &socket.display().to_string()).start();
    expect("READY=1\nSTATUS=");
    hale.reload();
    expect("RELOADING=1\nMONOTONIC_USEC=");
    expect("READY=1\n");
    assert!(hale.terminate().unwrap().success());
    expect("STOPPING=1\n");
}
