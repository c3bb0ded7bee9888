//! The query log as its readers see it: fstrm_capture and dnstap-read, and a file that is rotated.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::process::{Running, TempDir, find, free_port, run};
use support::wire::{QueryBuilder, rtype};

const ZONE: &str = r#"{ "zone": "example.test", "nameservers": ["ns1.example.net"], "records": { "www": ["192.0.2.1", "192.0.2.2"] } }"#;

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn metric(hale: &Hale, series: &str) -> f64 {
    let page = hale.get("/metrics").1;
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in\n{page}")).parse().unwrap()
}

fn ask(hale: &Hale, name: &str, via: Via) {
    let query = QueryBuilder::new(name, rtype::A);
    assert!(Client::new(hale.address).ask(&query, via).is_ok(), "{name}");
}

fn capture(program: &Path, folder: &TempDir, socket: &Path, number: u32) -> (Running, PathBuf) {
    let file = folder.path().join(format!("queries.{number}.fstrm"));
    let mut command = Command::new(program);
    command.args(["-t", "protobuf:dnstap.Dnstap", "-u"]).arg(socket).arg("-w").arg(&file);
    (Running::start(command, folder.path(), &format!("fstrm_capture.{number}")), file)
}

/// What dnstap-read makes of a capture.
fn read(program: &Path, file: &Path) -> String {
    let done = run(Command::new(program).arg(file), Duration::from_secs(30));
    assert!(done.status.success(), "{done:?}");
    done.stdout
}

#[test]
fn a_reader_of_dnstap_has_each_query_and_response_and_may_come_and_go() {
    let (Some(fstrm_capture), Some(dnstap_read)) = (find("fstrm_capture"), find("dnstap-read")) else {
        return;
    };
    let folder = TempDir::new("dnstap");
    let socket = folder.path().join("dnstap.sock");
    let config = format!(
        r#"{{ "query_log": {{ "dnstap": {{ "socket": "{}", "identity": "ns1" }} }} }}"#,
        socket.display()
    );
    let hale = Setup::new("query-log-dnstap").zone("zone.json", ZONE).config(&config).start();
    let is_up = |hale: &Hale| metric(hale, r#"hale_query_log_output_up{output="dnstap"}"#) > 0.0;
    let written = |hale: &Hale| metric(hale, r#"hale_query_log_queries_total{output="dnstap"}"#);
    // Before there is a reader.
    ask(&hale, "early.example.test", Via::Udp);
    let (mut reader, file) = capture(&fstrm_capture, &folder, &socket, 1);
    until("connected", || is_up(&hale));
    ask(&hale, "www.example.test", Via::Udp);
    ask(&hale, "tcp.example.test", Via::Tcp);
    until("three are written", || written(&hale) >= 3.0);
    reader.signal("TERM");
    assert!(reader.wait(Duration::from_secs(10)).is_some());
    let first = read(&dnstap_read, &file);
    for part in [
        " AQ ",
        " AR ",
        "early.example.test/IN/A",
        "www.example.test/IN/A",
        "tcp.example.test/IN/A",
        " UDP ",
        " TCP ",
    ] {
        assert!(first.contains(part), "{part} in\n{first}");
    }
    assert_eq!(first.lines().count(), 6, "{first}");
    // It is gone: answers go on, and the next reader has what came meanwhile.
    until("its going is seen", || !is_up(&hale));
    ask(&hale, "between.example.test", Via::Udp);
    let _ = std::fs::remove_file(&socket);
    let (mut reader, file) = capture(&fstrm_capture, &folder, &socket, 2);
    until("connected again", || is_up(&hale));
    until("the rest is written", || written(&hale) >= 4.0);
    // The server ends in an orderly way, and the reader has everything.
    let mut hale = hale;
    assert!(hale.terminate().is_some_and(|status| status.success()), "{}", hale.output());
    reader.signal("TERM");
    assert!(reader.wait(Duration::from_secs(10)).is_some());
    let second = read(&dnstap_read, &file);
    assert!(second.contains("between.example.test/IN/A"), "{second}");
}

/// Which of its addresses a server on a wildcard socket was asked at, and which zone the query fell to.
#[test]
fn the_address_and_the_zone_are_told() {
    let (Some(fstrm_capture), Some(dnstap_ldns)) = (find("fstrm_capture"), find("dnstap-ldns")) else {
        return;
    };
    let folder = TempDir::new("dnstap-zone");
    let (socket, file) = (folder.path().join("dnstap.sock"), folder.path().join("queries.jsonl"));
    let port = free_port();
    let mut config =
        serde_json::json!({ "query_log": { "dnstap": { "socket": socket }, "json": { "file": file } } });
    config["listen"] = serde_json::json!([format!("0.0.0.0:{port}"), "127.0.0.1:0"]);
    config["admin"] = serde_json::json!({ "listen": "127.0.0.1:0" });
    let setup = Setup::new("query-log-zone").zone("zone.json", ZONE);
    let sub = r#"{ "zone": "sub.example.test", "nameservers": ["ns1.example.net"], "records": { "www": ["192.0.2.1"] } }"#;
    let zones = ["zone.json", "sub.json"].map(|file| setup.folder.path().join(file));
    std::fs::write(&zones[1], sub).unwrap();
    config["zones"] = serde_json::json!(zones);
    let hale = setup.config(&config.to_string()).by_configuration().start();
    let (mut reader, capture) = capture(&fstrm_capture, &folder, &socket, 1);
    until("connected", || metric(&hale, r#"hale_query_log_output_up{output="dnstap"}"#) > 0.0);
    let asked = [
        ("127.0.0.2", "wWw.eXample.test", Via::Udp, Some("example.test.")),
        ("127.0.0.3", "www.sub.example.test", Via::Udp, Some("sub.example.test.")),
        ("127.0.0.4", "example.test", Via::Tcp, Some("example.test.")),
        ("127.0.0.1", "example.org", Via::Udp, None),
    ];
    for (address, name, via, _) in asked {
        let server = format!("{address}:{port}").parse().unwrap();
        assert!(Client::new(server).ask(&QueryBuilder::new(name, rtype::A), via).is_ok(), "{name}");
    }
    until("all are written", || {
        ["dnstap", "json"].iter().all(|output| {
            metric(&hale, &format!(r#"hale_query_log_queries_total{{output="{output}"}}"#))
                >= asked.len() as f64
        })
    });
    reader.signal("TERM");
    assert!(reader.wait(Duration::from_secs(10)).is_some());
    let lines = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = run(Command::new(&dnstap_ldns).arg("-y").arg("-r").arg(&capture), Duration::from_secs(30));
    assert!(told.status.success(), "{told:?}");
    let frames: Vec<&str> = told.stdout.split("type: MESSAGE").skip(1).collect();
    assert_eq!(frames.len(), 2 * asked.len(), "{}", told.stdout);
    for (address, name, via, zone) in asked {
        let server = format!("{address}:{port}");
        let line = lines
            .iter()
            .find(|line| line["server"] == server)
            .unwrap_or_else(|| panic!("{server}: {lines:?}"));
        assert_eq!(line["zone"].as_str(), zone, "{line}");
        assert_eq!(line["name"], format!("{name}."));
        let frame = |kind: &str| {
            let told = format!("response_address: \"{address}\"\n");
            frames
                .iter()
                .find(|frame| frame.contains(kind) && frame.contains(&told))
                .unwrap_or_else(|| panic!("{kind} {server}"))
        };
        for kind in ["AUTH_QUERY", "AUTH_RESPONSE"] {
            let frame = frame(kind);
            assert!(frame.contains(&format!("response_port: {port}")), "{frame}");
            assert!(frame.contains(if via == Via::Tcp { "TCP" } else { "UDP" }), "{frame}");
            let told = frame.lines().find_map(|line| line.trim().strip_prefix("query_zone: "));
            assert_eq!(told.map(|zone| zone.trim_matches('"')), zone, "{frame}");
        }
    }
}

#[test]
fn a_reader_that_is_stuck_costs_no_answer_anything() {
    let Some(fstrm_capture) = find("fstrm_capture") else { return };
    let folder = TempDir::new("dnstap-stuck");
    let socket = folder.path().join("dnstap.sock");
    let config = format!(
        r#"{{ "query_log": {{ "dnstap": {{ "socket": "{}" }}, "buffer": 65536 }} }}"#,
        socket.display()
    );
    let hale = Setup::new("query-log-stuck").zone("zone.json", ZONE).config(&config).start();
    let (reader, _) = capture(&fstrm_capture, &folder, &socket, 1);
    until("connected", || metric(&hale, r#"hale_query_log_output_up{output="dnstap"}"#) > 0.0);
    reader.signal("STOP");
    let query = QueryBuilder::new("www.example.test", rtype::A);
    let mut client = Client::new(hale.address);
    let mut slowest = Duration::ZERO;
    let dropped = || metric(&hale, r#"hale_query_log_dropped_total{output="dnstap",reason="buffer_full"}"#);
    until("it is left, and the buffer is full", || {
        for _ in 0..2000 {
            let asked = Instant::now();
            assert!(client.ask(&query, Via::Udp).is_ok());
            slowest = slowest.max(asked.elapsed());
        }
        dropped() > 0.0 && metric(&hale, r#"hale_query_log_output_failures_total{output="dnstap"}"#) > 0.0
    });
    reader.signal("CONT");
    // The reader's patience is two seconds: who waited for it would have waited that long.
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
}

#[test]
fn a_file_of_lines_is_rotated_by_sighup() {
    let folder = TempDir::new("query-log");
    let file = folder.path().join("queries.jsonl");
    let config = format!(r#"{{ "query_log": {{ "json": {{ "file": "{}" }} }} }}"#, file.display());
    let hale = Setup::new("query-log-json").zone("zone.json", ZONE).config(&config).start();
    let lines = |file: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    ask(&hale, "www.example.test", Via::Udp);
    ask(&hale, "gone.example.test", Via::Tcp);
    until("two lines", || lines(&file).len() == 2);
    let [www, gone] = &lines(&file)[..] else { unreachable!("two, as was just waited for") };
    let fields = |line: &serde_json::Value| {
        ["name", "type", "transport", "rcode", "answers"].map(|key| line[key].to_string()).join(" ")
    };
    assert_eq!(fields(www), r#""www.example.test." "A" "udp" "NOERROR" 2"#);
    assert_eq!(fields(gone), r#""gone.example.test." "A" "tcp" "NXDOMAIN" 0"#);
    assert_eq!(gone["server"], hale.address.to_string());
    let old = folder.path().join("queries.jsonl.1");
    std::fs::rename(&file, &old).unwrap();
    hale.reload();
    until("the file is there again", || file.exists());
    ask(&hale, "www.example.test", Via::Udp);
    until("a line", || lines(&file).len() == 1);
    assert_eq!(lines(&old).len(), 2);
}
