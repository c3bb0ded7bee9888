//! Every key of `hale.json` either takes effect at a reload or is named as waiting for a restart.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;

use super::support::process::free_port;
use super::*;

/// What a reload says of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// It counts; under this name.
    Applied(&'static str),
    /// It waits for a restart; under this name.
    Restart(&'static str),
    /// It counts for the zones: one is added, changed or, by an error, kept.
    Zones,
}

use Told::{Applied, Restart, Zones};

/// A key, or a block as a whole, with a change of it (RFC 7396) and what is said then.
type Row = (&'static str, Value, Told);

/// With something in every block, so that a change is one of that key alone.
fn base() -> Value {
    json!({
        "listen": ["127.0.0.1:0"], "zones": ["zones/*.json"], "state": "state",
        "admin": { "listen": "127.0.0.1:0", "token": "one", "tls": null },
        "checks": { "web": { "tcp": 9, "interval": "20s" } },
        "pools": { "fra": { "A": ["192.0.2.30"] }, "ams": { "A": ["192.0.2.31"] } },
        "geo": { "databases": ["geo.mmdb"] },
        "limits": { "rrl": {}, "tcp": {} },
        "query_log": { "dnstap": { "socket": "dnstap.sock" }, "json": { "file": "queries.jsonl" } },
    })
}

const ZONE: &str = r#"{ "zone": "example.test", "nameservers": ["ns1.example.test"], "records": {
    "ns1": { "A": ["192.0.2.53"] },
    "www": { "A": [{ "address": "192.0.2.1", "probe": "127.0.0.1" }], "check": "web", "startup": "optimistic" },
    "app": { "policy": "failover", "pools": ["fra", "ams"] },
    "map": { "policy": "geo", "map": { "EU": "fra", "default": "ams" } } } }"#;
const OTHER: &str =
    r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "b": ["192.0.2.8"] } }"#;

fn rows() -> Vec<Row> {
    let limits = |block: &str, key: &str, value: Value| json!({ "limits": { block: { key: value } } });
    let rrl = |key: &str, value: Value| limits("rrl", key, value);
    let tcp = |key: &str, value: Value| limits("tcp", key, value);
    let health = |key: &str, value: Value| json!({ "health": { key: value } });
    let admin = |key: &str, value: Value| json!({ "admin": { key: value } });
    let dnstap = |key: &str, value: Value| json!({ "query_log": { "dnstap": { key: value } } });
    let address = || json!(format!("127.0.0.1:{}", free_port()));
    vec![
        ("listen", json!({ "listen": ["127.0.0.1:0", address()] }), Applied("listen")),
        ("port", json!({ "listen": null, "port": free_port() }), Applied("listen")),
        ("zones", json!({ "zones": ["zones/*.json", "more/*.json"] }), Zones),
        ("state", json!({ "state": "elsewhere" }), Restart("state")),
        ("admin.listen", admin("listen", address()), Restart("admin.listen")),
        ("admin.metrics_listen", admin("metrics_listen", address()), Restart("admin.metrics_listen")),
        ("admin.probes_listen", admin("probes_listen", address()), Restart("admin.probes_listen")),
        ("admin.token", admin("token", json!("two")), Applied("admin.token")),
        ("admin.token", admin("token", json!({ "file": "token" })), Applied("admin.token")),
        ("admin.token", admin("token", Value::Null), Applied("admin.token")),
        ("admin.hosts", admin("hosts", json!(["ns.lan"])), Applied("admin.hosts")),
        ("admin.tls", admin("tls", json!({ "cert": "a.pem", "key": "a.key" })), Restart("admin.tls")),
        (
            "admin.requests_per_second",
            admin("requests_per_second", json!(1000)),
            Applied("admin.requests_per_second"),
        ),
        ("metrics.targets", json!({ "metrics": { "targets": true } }), Applied("metrics.targets")),
        ("query_log", json!({ "query_log": null }), Applied("query_log")),
        ("query_log.buffer", json!({ "query_log": { "buffer": 65_536 } }), Applied("query_log")),
        ("query_log.json.file", json!({ "query_log": { "json": { "file": "q" } } }), Applied("query_log")),
        ("query_log.json.sample", json!({ "query_log": { "json": { "sample": 2 } } }), Applied("query_log")),
        ("query_log.dnstap.socket", dnstap("socket", json!("other.sock")), Applied("query_log")),
        ("query_log.dnstap.queries", dnstap("queries", json!(false)), Applied("query_log")),
        ("query_log.dnstap.responses", dnstap("responses", json!(false)), Applied("query_log")),
        (
            "query_log.dnstap.responses_with_queries",
            dnstap("responses_with_queries", json!(true)),
            Applied("query_log"),
        ),
        ("query_log.dnstap.identity", dnstap("identity", json!("ns7")), Applied("query_log")),
        ("query_log.dnstap.sample", dnstap("sample", json!(3)), Applied("query_log")),
        (
            "health.brake.down_percent",
            health("brake", json!({ "down_percent": 50 })),
            Applied("health.brake"),
        ),
        ("health.brake.min_targets", health("brake", json!({ "min_targets": 3 })), Applied("health.brake")),
        (
            "health.probes_in_flight",
            health("probes_in_flight", json!(100)),
            Applied("health.probes_in_flight"),
        ),
        ("health.exec_in_flight", health("exec_in_flight", json!(2)), Restart("health.exec_in_flight")),
        (
            "health.probes_per_second_per_address",
            health("probes_per_second_per_address", json!(7)),
            Restart("health.probes_per_second_per_address"),
        ),
        ("health.verdict_max_age", health("verdict_max_age", json!("1m")), Restart("health.verdict_max_age")),
        ("limits.fair_share", json!({ "limits": { "fair_share": false } }), Applied("limits")),
        ("limits.receive_buffer", json!({ "limits": { "receive_buffer": 131_072 } }), Applied("limits")),
        ("limits.policy.answers", limits("policy", "answers", json!(1)), Zones),
        ("limits.policy.ways", limits("policy", "ways", json!(1)), Zones),
        ("limits.rrl.responses_per_second", rrl("responses_per_second", json!(9)), Applied("limits")),
        ("limits.rrl.nxdomains_per_second", rrl("nxdomains_per_second", json!(9)), Applied("limits")),
        ("limits.rrl.referrals_per_second", rrl("referrals_per_second", json!(9)), Applied("limits")),
        ("limits.rrl.errors_per_second", rrl("errors_per_second", json!(9)), Applied("limits")),
        ("limits.rrl.slip", rrl("slip", json!(9)), Applied("limits")),
        ("limits.rrl.burst", rrl("burst", json!("2s")), Applied("limits")),
        ("limits.rrl.ipv4_prefix", rrl("ipv4_prefix", json!(32)), Applied("limits")),
        ("limits.rrl.ipv6_prefix", rrl("ipv6_prefix", json!(64)), Applied("limits")),
        ("limits.rrl.exempt", rrl("exempt", json!(["127.0.0.0/8"])), Applied("limits")),
        ("limits.rrl.table_size", rrl("table_size", json!(2048)), Applied("limits")),
        ("limits.tcp.connections", tcp("connections", json!(9)), Applied("limits")),
        ("limits.tcp.per_client", tcp("per_client", json!(9)), Applied("limits")),
        ("limits.tcp.idle", tcp("idle", json!("9s")), Applied("limits")),
        ("limits.tcp.read_timeout", tcp("read_timeout", json!("9s")), Applied("limits")),
        ("limits.tcp.write_timeout", tcp("write_timeout", json!("9s")), Applied("limits")),
        ("limits.tcp.buffered_bytes", tcp("buffered_bytes", json!(2_097_152)), Applied("limits")),
        ("checks", json!({ "checks": { "web": { "interval": "40s" } } }), Zones),
        ("pools", json!({ "pools": { "fra": { "A": ["192.0.2.99"] } } }), Zones),
        ("geo.databases", json!({ "geo": { "databases": ["missing.mmdb"] } }), Zones),
        ("client_subnet", json!({ "client_subnet": false }), Applied("client_subnet")),
        (
            "sources",
            json!({ "sources": [{ "name": "edge", "traefik": { "url": "http://127.0.0.1:1" } }] }),
            Applied("sources"),
        ),
        (
            "notify",
            json!({ "notify": [{ "name": "ops", "webhook": { "url": "http://127.0.0.1:1/" } }] }),
            Applied("notify"),
        ),
        ("conflict", json!({ "conflict": "oldest" }), Applied("conflict")),
        ("ready_timeout", json!({ "ready_timeout": "1s" }), Applied("ready_timeout")),
        ("resolver.servers", json!({ "resolver": { "servers": ["127.0.0.1:1"] } }), Applied("resolver")),
        ("nsid", json!({ "nsid": "fra-1" }), Applied("nsid")),
        (
            "cookie_secret",
            json!({ "cookie_secret": "000102030405060708090a0b0c0d0e0f" }),
            Applied("cookie_secret"),
        ),
        ("workers", json!({ "workers": 7 }), Restart("workers")),
        ("pin_workers", json!({ "pin_workers": true }), Restart("pin_workers")),
        ("strict", json!({ "strict": true }), Restart("strict")),
        ("watch", json!({ "watch": true }), Restart("watch")),
        ("portable", json!({ "portable": true }), Restart("portable")),
        ("log_level", json!({ "log_level": "debug" }), Applied("log_level")),
        ("log_format", json!({ "log_format": "json" }), Applied("log_format")),
    ]
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn changed(patch: &Value) -> String {
    let mut config = base();
    merge(&mut config, &json!({ "admin": { "tls": null } }));
    merge(&mut config, patch);
    config.to_string()
}

/// Every key that the schema of `hale.json` has, those of blocks with their paths; lists and maps are one key.
fn keys() -> BTreeSet<String> {
    let done = hale_run(["schema", "config"]);
    let schema: Value = serde_json::from_str(&done.stdout).unwrap();
    let mut found = BTreeSet::new();
    walk(&schema, &schema, "", &mut found);
    assert!(found.len() > 60, "{found:?}");
    found
}

fn walk(schema: &Value, at: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = at["$ref"].as_str() {
        let definition = &schema["$defs"][name.rsplit('/').next().unwrap()];
        return walk(schema, definition, path, found);
    }
    if let Some(properties) = at["properties"].as_object() {
        for (key, value) in properties.iter().filter(|(key, _)| !matches!(key.as_str(), "note" | "$schema")) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            walk(schema, value, &path, found);
        }
        return;
    }
    let choices = at["anyOf"].as_array().or(at["oneOf"].as_array()).into_iter().flatten();
    let is_block = |choice: &&Value| choice.get("$ref").is_some() || choice.get("properties").is_some();
    match choices.clone().find(is_block) {
        Some(block) => walk(schema, block, path, found),
        None => _ = found.insert(path.to_owned()),
    }
}

/// A reload by the unix socket.
fn report(hale: &Hale) -> Value {
    let mut stream = UnixStream::connect(hale.folder().join("state/hale.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(
            b"POST /api/v1/reload HTTP/1.1\r\nHost: hale\r\nConnection: close\r\nContent-Length: 24\r\n\r\n{\"remove_missing\": true}",
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn bare(name: &str, config: &str) -> Hale {
    let setup = Setup::new(name).bare().zone("zones/zone.json", ZONE).zone("more/other.json", OTHER);
    setup.folder.write("token", "three\n");
    let database =
        support::mmdb::database("Test-Country", &[("10.0.0.0/8", support::mmdb::place("EU", "DE", ""))]);
    std::fs::write(setup.folder.path().join("geo.mmdb"), database).unwrap();
    setup.config(config).start()
}

/// A list of a report; it is left out where it is empty.
fn list<'r>(report: &'r Value, name: &str) -> &'r [Value] {
    report[name].as_array().map_or(&[], |list| list)
}

#[test]
fn every_key_takes_effect_or_is_named() {
    let rows = rows();
    let is_covered = |key: &String| {
        rows.iter()
            .any(|(row, _, _)| key == row || key.strip_prefix(row).is_some_and(|rest| rest.starts_with('.')))
    };
    let forgotten: Vec<String> = keys().into_iter().filter(|key| !is_covered(key)).collect();
    assert!(forgotten.is_empty(), "what does a reload do with them? {forgotten:?}");
    let hale = bare("reload-keys", &changed(&json!({})));
    for (key, patch, told) in &rows {
        write(&hale, "hale.json", &changed(patch));
        let report_of_change = report(&hale);
        write(&hale, "hale.json", &changed(&json!({})));
        let report_of_return = report(&hale);
        for (report, is_return) in [(&report_of_change, false), (&report_of_return, true)] {
            let settings: Vec<(&str, &str)> = list(report, "settings")
                .iter()
                .map(|setting| (setting["key"].as_str().unwrap(), setting["outcome"].as_str().unwrap()))
                .collect();
            let want: &[(&str, &str)] = match told {
                Applied(name) => &[(*name, "applied")],
                Restart(name) if !is_return => &[(*name, "needs-restart")],
                Restart(_) | Zones => &[],
            };
            assert_eq!(settings, want, "{key}, back: {is_return}: {report:#}");
            let zones = list(report, "zones").len();
            let is_about_zones = zones > 0 || !list(report, "findings").is_empty();
            // A zone that an error kept is as it was once that is mended, which is nothing to tell.
            let may_be_either = *told == Zones && is_return;
            assert!(
                may_be_either || is_about_zones == (*told == Zones),
                "{key}, back: {is_return}: {report:#}"
            );
        }
    }
}

/// One query with the client subnet option (RFC 7871): whether it is in the answer.
fn honours_subnets(server: SocketAddr) -> bool {
    let query = QueryBuilder::new("map.example.test", rtype::A).edns(1232, false);
    let query = query.option(8, &[0, 1, 24, 0, 10, 0, 0]);
    Client::new(server).ask(&query, Via::Udp).unwrap().opt.is_some_and(|opt| opt.option(8).is_some())
}

#[test]
fn what_takes_effect_does_so_at_once() {
    let without_log = json!({ "query_log": null });
    let hale = bare("reload-live", &changed(&without_log));
    let apply = |patch: &Value| {
        let mut all = without_log.clone();
        merge(&mut all, patch);
        if let Some(log) = patch.get("query_log") {
            all["query_log"] = log.clone();
        }
        write(&hale, "hale.json", &changed(&all));
        let report = report(&hale);
        assert_eq!(report["ok"], true, "{report:#}");
    };
    let ask = || assert!(honours_subnets(hale.address));
    // Where queries are recorded: nowhere, in a file, in another one, nowhere.
    let lines = |file: &str| {
        let text = std::fs::read_to_string(hale.folder().join(file)).unwrap_or_default();
        text.lines()
            .filter(|line| serde_json::from_str::<Value>(line).unwrap()["name"] == "map.example.test.")
            .count()
    };
    ask();
    for (file, config) in [
        ("a.jsonl", json!({ "json": { "file": "a.jsonl" } })),
        ("b.jsonl", json!({ "json": { "file": "b.jsonl" } })),
    ] {
        apply(&json!({ "query_log": config }));
        ask();
        until(&hale, file, || (lines(file) == 1).then_some(()));
    }
    // A file that cannot be opened changes nothing.
    write(
        &hale,
        "hale.json",
        &changed(&json!({ "query_log": { "dnstap": null, "json": { "file": "none/c" } } })),
    );
    let wrong = report(&hale);
    assert_eq!(
        (&wrong["ok"], &wrong["settings"][0]["outcome"]),
        (&json!(false), &json!("failed")),
        "{wrong:#}"
    );
    assert!(wrong["settings"][0]["detail"].as_str().unwrap().contains("none/c"), "{wrong:#}");
    ask();
    until(&hale, "a second line", || (lines("b.jsonl") == 2).then_some(()));
    apply(&json!({}));
    ask();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((lines("a.jsonl"), lines("b.jsonl")), (1, 2), "nothing is recorded any more");
    // Series for each target.
    let has_targets = || hale.get("/metrics").1.contains("hale_target_up{");
    assert!(!has_targets());
    apply(&json!({ "metrics": { "targets": true } }));
    assert!(has_targets());
    // The client subnet option.
    apply(&json!({ "client_subnet": false }));
    // A worker that waits answers one more query as it was.
    until(&hale, "no subnet", || (!honours_subnets(hale.address)).then_some(()));
    let explained = hale.get("/api/v1/explain?name=map.example.test&type=A&client=10.0.0.1").1;
    assert!(!explained.contains("\"ecs_scope\""), "{explained}");
    // Names of the server, for those who come without a token.
    let by_name = |host: &str| {
        let mut stream = connect(hale.admin).unwrap();
        write!(stream, "GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(by_name("ns.lan"), "403");
    apply(&json!({ "admin": { "hosts": ["ns.lan"] } }));
    assert_eq!(by_name("ns.lan"), "200");
    // Requests of one client: five times the rate at once.
    apply(&json!({ "admin": { "requests_per_second": 1 } }));
    let let_through = (0..20).filter(|_| hale.get("/api/v1/status").0 == 200).count();
    assert!((1..=8).contains(&let_through), "{let_through}");
    // The log: its form, and what is in it.
    apply(&json!({ "log_format": "json", "log_level": "debug" }));
    apply(&json!({ "log_format": "json", "log_level": "error", "nsid": "x" }));
    until(&hale, "a line of JSON", || {
        let log = hale.output();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .into_iter()
            .any(|line| line["message"] == "setting changed" && line["setting"] == "log_format")
            .then_some(())
    });
    let length = hale.output().len();
    apply(&json!({ "log_level": "error", "log_format": "json" }));
    assert_eq!(hale.output().len(), length, "no line below error: {}", &hale.output()[length..]);
}

/// A browser's way: a cookie from the login, then pages with it.
#[test]
fn another_token_ends_logins_and_streams() {
    let config = |token: &str| {
        changed(&json!({ "query_log": null, "admin": { "listen": "0.0.0.0:0", "token": token } }))
    };
    let hale = bare("reload-token", &config("one"));
    let admin = SocketAddr::from(([127, 0, 0, 1], hale.admin.port()));
    let log_in = |token: &str| {
        let mut stream = connect(admin).unwrap();
        let body = format!("token={token}&next=/ui");
        write!(
            stream,
            "POST /ui/login HTTP/1.1\r\nHost: {admin}\r\nOrigin: http://{admin}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
        cookie.map(str::to_owned)
    };
    let open = |path: &str, header: &str| {
        let mut stream = connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n{header}\r\n\r\n")
            .unwrap();
        stream
    };
    let status = |path: &str, header: &str| {
        let mut answer = String::new();
        open(path, header).read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let cookie = format!("Cookie: {}", log_in("one").unwrap());
    assert_eq!(log_in("two"), None);
    assert_eq!((status("/ui", &cookie), status("/ui", "X: y")), ("200".to_owned(), "303".to_owned()));
    let streams = [
        ("/ui/events/stream", cookie.as_str(), "watching"),
        ("/api/v1/events", "Authorization: Bearer one", "retry"),
    ];
    let open_streams = streams.map(|(path, header, first)| {
        let mut stream = open(path, header);
        let mut begun = String::new();
        while !begun.contains(first) {
            let mut some = [0; 512];
            let length = stream.read(&mut some).unwrap();
            assert!(length > 0, "{path}: {begun}");
            begun.push_str(&String::from_utf8_lossy(&some[..length]));
        }
        stream
    });
    // The same token again ends nothing.
    report(&hale);
    assert_eq!(status("/ui", &cookie), "200");
    write(&hale, "hale.json", &config("two"));
    let changed = report(&hale);
    let detail = changed["settings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("logins by it have ended"), "{changed:#}");
    assert_eq!(status("/ui", &cookie), "303", "the login is over");
    let later = Instant::now();
    for mut stream in open_streams {
        let mut rest = Vec::new();
        // To the end of the stream.
        stream.read_to_end(&mut rest).unwrap();
    }
    assert!(later.elapsed() < Duration::from_secs(10), "streams that the old token has opened go on");
    assert_eq!(log_in("one"), None);
    let cookie = format!("Cookie: {}", log_in("two").unwrap());
    assert_eq!(status("/ui", &cookie), "200");
}
