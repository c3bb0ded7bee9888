//! What `/api/v1/explain` says of an answer is what the wire says: random policies, verdicts, words and clients.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;

use hale::model::rdata;
use hale::model::rrtype::RrType;
use serde_json::Value;
use support::client::PATIENCE;
use support::hale::{Hale, Setup, hale_run};
use support::random::Random;
use support::wire::{Message, QueryBuilder, WireName, rcode, rtype};

/// Owners by policy; `check` stands for an external check of the address's own.
const OWNERS: &[(&str, &str)] = &[
    ("all", r#""A": ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "AAAA": ["2001:db8::1"]"#),
    (
        "none",
        r#""A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "when_all_down": "none", "ttl": 77"#,
    ),
    ("last", r#""A": ["192.0.2.1", "192.0.2.2"], "when_all_down": "last-good""#),
    (
        "fall",
        r#""A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "when_all_down": "fallback", "fallback": { "A": ["203.0.113.9"] }"#,
    ),
    (
        "drawn",
        r#""policy": "weighted", "A": ["192.0.2.1", { "address": "192.0.2.2", "weight": 3 }, "192.0.2.3"]"#,
    ),
    (
        "hash",
        r#""policy": "hashed", "answers": 2, "A": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]"#,
    ),
    (
        "sites",
        r#""policy": "failover", "pools": [
            { "name": "fra", "A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "min_healthy": 2 },
            { "name": "ams", "A": ["192.0.2.3"] },
            { "name": "lon", "policy": "hashed", "A": ["192.0.2.4", "192.0.2.5"], "AAAA": ["2001:db8::2"] } ]"#,
    ),
    (
        "near",
        r#""policy": "geo", "map": { "127.1.0.0/24": "one", "127.1.1.0/24": "two", "default": "rest" }, "pools": [
            { "name": "one", "A": ["192.0.2.1"] }, { "name": "two", "A": ["192.0.2.2", "192.0.2.3"] },
            { "name": "rest", "policy": "hashed", "A": ["192.0.2.4", "192.0.2.5"] } ]"#,
    ),
    ("*.wild", r#""policy": "weighted", "answers": 2, "A": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]"#),
];

/// Owners of records other than addresses, each with a check of its own.
const RECORDS: &str = r#"
    "mail": { "MX": [{ "data": "10 lb1", "check": CHECK1 }, { "data": "20 lb2", "check": CHECK2 }] },
    "_s._tcp": { "SRV": [{ "data": "1 1 993 lb1", "check": CHECK1 }, { "data": "1 2 993 lb2", "check": CHECK3 }], "when_all_down": "none", "ttl": 33 },
    "one": { "CNAME": "lb1", "check": CHECK1, "when_all_down": "fallback", "fallback": { "CNAME": "sorry.b.test." } },
    "first": { "policy": "failover", "pools": [{ "name": "p1", "CNAME": "lb1", "check": CHECK1 }, { "name": "p2", "CNAME": "lb2", "check": CHECK2 }] },
    "some": { "policy": "weighted", "pools": [{ "name": "p1", "CNAME": "lb1", "check": CHECK2 }, { "name": "p2", "weight": 3, "CNAME": "lb2", "check": CHECK3 }], "when_all_down": "last-good" },
    "same": { "policy": "hashed", "pools": [{ "name": "p1", "CNAME": "lb1", "check": CHECK1 }, { "name": "p2", "CNAME": "lb2", "check": CHECK2 }, { "name": "p3", "CNAME": "lb3.b.test.", "check": CHECK3 }] },
    "lb1": ["192.0.2.61"], "lb2": ["192.0.2.62"]"#;

/// Question types of [`RECORDS`].
const RECORD_TYPES: &[(&str, u16)] = &[
    ("mail", rtype::MX),
    ("_s._tcp", rtype::SRV),
    ("one", rtype::CNAME),
    ("first", rtype::CNAME),
    ("some", rtype::CNAME),
    ("same", rtype::CNAME),
];

fn start() -> Hale {
    let mut records = String::from(
        r#""ns1": { "A": ["192.0.2.53"] }, "alias": { "CNAME": "sites" }, "out": { "CNAME": "www.b.test." }"#,
    );
    for (name, keys) in OWNERS {
        records += &format!(
            r#", "{name}": {{ {keys}, "check": {{ "external": {{ "id": "{{address}}", "ttl": "1h", "expired": "unknown" }} }} }}"#
        );
    }
    records += ",";
    records += RECORDS;
    for number in ["1", "2", "3"] {
        let check =
            format!(r#"{{ "external": {{ "id": "lb{number}", "ttl": "1h", "expired": "unknown" }} }}"#);
        records = records.replace(&format!("CHECK{number}"), &check);
    }
    let zone = format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": {{ "keys": "auto" }}, "records": {{ {records} }} }}"#
    );
    Setup::new("explain").zone("zone.json", &zone).start()
}

/// A request over the unix socket; the status code and the body.
fn request(hale: &Hale, line: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(hale.folder().join("state/hale.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: hale\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A resolver's address, and the /24 network that it asks for.
#[derive(Clone, Copy)]
struct Asker {
    address: Ipv4Addr,
    network: Option<Ipv4Addr>,
}

fn ask(hale: &Hale, Asker { address: client, network }: Asker, name: &str, qtype: u16) -> Message {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(hale.address).unwrap();
    let mut query = QueryBuilder::new(name, qtype).edns(1232, false);
    if let Some(network) = network {
        query = query.option(8, &[&[0, 1, 24, 0], &network.octets()[..3]].concat());
    }
    socket.send(&query.build()).unwrap();
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).unwrap();
    Message::decode(&buffer[..length]).unwrap()
}

/// Records of an owner in the answer, as texts in canonical order, with their TTL.
fn records(message: &Message, owner: &str, qtype: u16) -> (Vec<String>, Option<u32>) {
    let owner = WireName::new(owner);
    let mut records: Vec<(Vec<u8>, u32)> = message
        .answers(qtype)
        .filter(|r| r.owner.lower() == owner.lower())
        .map(|r| (r.rdata.clone(), r.ttl))
        .collect();
    records.sort();
    let text = |rdata: &[u8]| rdata::to_text(RrType(qtype), rdata);
    (records.iter().map(|(rdata, _)| text(rdata)).collect(), records.first().map(|(_, ttl)| *ttl))
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// Compares what is explained with what is answered; returns whether the answer was drawn by weight.
fn compare(hale: &Hale, client: Asker, name: &str, qtype: u16) -> bool {
    let rtype_text = &RrType(qtype).to_string();
    let ecs = client.network.map(|network| format!("&ecs={network}/24")).unwrap_or_default();
    let line = format!("GET /api/v1/explain?name={name}&type={rtype_text}&client={}{ecs}", client.address);
    let (status, told) = request(hale, &line, "");
    assert_eq!(status, 200, "{told}");
    let message = ask(hale, client, name, qtype);
    let case = format!("{line}: {told:#}\n{message:?}");
    let scope = message.opt.as_ref().unwrap().option(8).map(|option| u64::from(option[3]));
    assert_eq!(told["answer"]["ecs_scope"].as_u64(), scope, "{case}");
    let want = ["No Error", "Server Failure"][usize::from(message.rcode == rcode::SERVFAIL)];
    assert_eq!(told["answer"]["rcode"], want, "{case}");
    let told_error =
        told["answer"]["extended_error"].as_str().map(|e| e.split(' ').next().unwrap().to_owned());
    assert_eq!(told_error, message.extended_error().map(|code| code.to_string()), "{case}");
    let mut names = told["names"].as_array().unwrap().iter().filter(|name| name["zone"].is_object());
    // Who asks for addresses is led to where an alias ends, and who asks for the alias itself is not.
    let is_address = matches!(qtype, rtype::A | rtype::AAAA);
    let last = if is_address { names.next_back() } else { names.next() }.unwrap();
    let (got, ttl) = records(&message, last["name"].as_str().unwrap(), qtype);
    let selection = &last["selection"];
    let awaited = strings(&selection["pending"]).contains(rtype_text);
    assert_eq!(awaited, message.rcode == rcode::SERVFAIL, "{case}");
    let Some(answers) = selection["answers"].as_array().unwrap().iter().find(|a| a["type"] == **rtype_text)
    else {
        assert!(got.is_empty(), "{case}");
        return false;
    };
    assert_eq!(answers["ttl"].as_u64(), ttl.map(u64::from), "{case}");
    let sets: Vec<Vec<String>> = answers["sets"].as_array().unwrap().iter().map(strings).collect();
    match answers["given"].as_u64() {
        Some(given) => assert_eq!(got, sets[given as usize], "{case}"),
        None => assert!(sets.contains(&got), "{case}"),
    }
    // The engine's own answer to the same client, where nothing is drawn.
    if answers["given"].is_u64() {
        let answered: Vec<String> = strings(&told["answer"]["records"]);
        let of_type = format!(" IN {rtype_text} ");
        let mut told: Vec<&str> = answered.iter().filter_map(|r| Some(r.split_once(&of_type)?.1)).collect();
        let mut got: Vec<&str> = got.iter().map(String::as_str).collect();
        told.sort_unstable();
        got.sort_unstable();
        assert_eq!(told, got, "{case}");
    }
    answers["given"].is_null()
}

#[test]
fn what_is_explained_is_what_is_answered() {
    let hale = start();
    let mut random = Random::new(support::seed("explain"));
    let names = ["alias", "all", "none", "last", "fall", "drawn", "hash", "sites", "near", "x.y.wild"];
    let addresses: Vec<String> = (1..=5)
        .map(|n| format!("192.0.2.{n}"))
        .chain((1..=2).map(|n| format!("2001:db8::{n}")))
        .chain((1..=3).map(|n| format!("lb{n}")))
        .collect();
    // Addresses of hosts that MX, SRV and CNAME records lead to.
    let hosts = ["192.0.2.61", "192.0.2.62"].map(str::to_owned);
    let (mut drawn, mut overrides, mut for_networks) = (0, 0, 0);
    for _ in 0..if support::long() { 2000 } else { 300 } {
        match random.below(4) {
            0 => {
                let subject = match random.below(3) {
                    0 => format!("address:{}", random.pick(&[&addresses[..7], &hosts[..]].concat())),
                    1 => format!("pool:{}", random.pick(&["fra", "p1", "p2"])),
                    _ => format!(
                        "name:{}.example.test",
                        random.pick(&["*", "hash", "sites", "drawn", "lb1", "lb2", "some"])
                    ),
                };
                let word = random.pick(&["up", "down", "drain"]);
                let body =
                    format!(r#"{{"subject": "{subject}", "word": "{word}", "for": "1h", "reason": "test"}}"#);
                let (status, answer) = request(&hale, "POST /api/v1/overrides", &body);
                assert_eq!(status, 201, "{answer}");
                overrides += 1;
            }
            1 => {
                let all = request(&hale, "GET /api/v1/overrides", "").1;
                if let Some(first) = all["overrides"].as_array().unwrap().first() {
                    let (status, _) =
                        request(&hale, &format!("DELETE /api/v1/overrides/{}", first["id"]), "");
                    assert_eq!(status, 200);
                }
            }
            _ => {
                let verdict = random.pick(&["up", "up", "down", "down", "unknown"]);
                let line = format!("POST /api/v1/external/{}", random.pick(&addresses));
                let (status, answer) = request(&hale, &line, &format!(r#"{{"verdict": "{verdict}"}}"#));
                assert_eq!(status, 200, "{answer}");
                // The keeper answers in the order of its messages: what was pushed is served.
                request(&hale, "GET /api/v1/zones", "");
            }
        }
        for _ in 0..4 {
            let network = random.below(2) == 0;
            let client = Asker {
                address: Ipv4Addr::new(127, 1, random.below(4) as u8, 1 + random.below(250) as u8),
                network: network.then(|| Ipv4Addr::new(127, 1, random.below(4) as u8, 0)),
            };
            for_networks += u32::from(network);
            // For a network an alias is answered alone.
            let names = if network { &names[1..] } else { &names[..] };
            let name = format!("{}.example.test", random.pick(names));
            let qtype = *random.pick(&[rtype::A, rtype::A, rtype::AAAA]);
            drawn += u32::from(compare(&hale, client, &name, qtype));
            let (name, qtype) = random.pick(RECORD_TYPES);
            drawn += u32::from(compare(&hale, client, &format!("{name}.example.test"), *qtype));
        }
    }
    let figures = format!("{drawn} drawn, {overrides} overrides, {for_networks} for networks");
    assert!(drawn > 10 && overrides > 10 && for_networks > 10, "{figures}: this shows little");
}

#[test]
fn tells_where_it_comes_from_and_what_became_of_it() {
    let hale = start();
    request(&hale, "POST /api/v1/external/192.0.2.1", r#"{"verdict": "down", "reason": "disk full"}"#);
    for address in ["192.0.2.2", "192.0.2.3", "2001:db8::1"] {
        request(&hale, &format!("POST /api/v1/external/{address}"), r#"{"verdict": "up"}"#);
    }
    let body = r#"{"subject": "pool:ams", "word": "drain", "for": "forever", "reason": "new disk"}"#;
    assert_eq!(request(&hale, "POST /api/v1/overrides", body).0, 201);
    let socket = format!("unix:{}/state/hale.sock", hale.folder().display());
    let explain = |name: &str| {
        let done = hale_run(["explain", name, "A", "--client", "198.51.100.7", "--server", &socket]);
        assert!(done.status.success(), "{done:?}");
        done.stdout
    };
    let near = hale_run([
        "explain",
        "near.example.test",
        "--client",
        "198.51.100.7",
        "--ecs",
        "127.1.0.0/24",
        "--server",
        &socket,
    ]);
    for line in [
        "near.example.test. A for 198.51.100.7, which asks for 127.1.0.0/24\n",
        "  near.example.test. 10 IN A 192.0.2.",
    ] {
        assert!(near.stdout.contains(line), "{line:?} is not in:\n{near:?}");
    }
    let bad = hale_run(["explain", "near.example.test", "--ecs", "127.1.0.1/24", "--server", &socket]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let text = explain("alias.example.test");
    for line in [
        "alias.example.test. A for 198.51.100.7\n",
        "  owner    alias.example.test. has CNAME, NSEC\n",
        "  endpoint 192.0.2.1 counts as down, in fra\n",
        "zone.json:2:36 records.sites.pools[0].A[0]\n",
        "external 192.0.2.1 is down; ",
        ": unknown to down: disk full\n",
        "  endpoint 192.0.2.3 counts as up, in ams\n",
        "override 1: pool:ams is drain until it is cleared, says ",
        ": new disk\n",
        "  pool     policy (failover): 2 of 3 up: healthy\n  pool     fra (all): 2 of 3 up, needs 2: healthy\n",
        "  A        TTL 10 s, auto: the fastest check's interval × min(rise, fall), within 1 s and 5 m\n",
        "answer  No Error\n",
        "  alias.example.test. 300 IN CNAME sites.example.test.\n",
        "  sites.example.test. 10 IN A 192.0.2.2\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let outside = explain("out.example.test");
    assert!(outside.contains("www.b.test.\n  no zone of this server\n"), "{outside}");
    let missing = explain("missing.example.test");
    assert!(missing.contains("owner    none: the name does not exist\n"), "{missing}");
    assert!(explain("other.test").contains("answer  Query Refused, extended error 20 Not Authoritative\n"));
}
