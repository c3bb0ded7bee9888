//! Precedence, defaults, and which files are found. No test reads the process's environment or directory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::config::{
    DnstapConfig, JsonLogConfig, LimitsConfig, Network, QueryLogConfig, RateLimits, TcpLimits,
};

/// A folder of its own that is removed with its contents.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hale-load-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        for (file, text) in files {
            let path = folder.0.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_in(folder: &Folder, flags: &[&str], env: &[(&str, &str)]) -> Loaded {
    use clap::{Args, FromArgMatches};
    let command = ServeArgs::augment_args(clap::Command::new("serve").no_binary_name(true));
    let args = ServeArgs::from_arg_matches(&command.get_matches_from(flags)).unwrap();
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    load(
        &args,
        &|name| env.get(name).map(|&text| text.to_owned()),
        &folder.0,
        &folder.0.join("etc/hale.json"),
    )
}

/// Loads in a folder with one zone file and a `hale.json`.
fn load_with(json: &str, flags: &[&str], env: &[(&str, &str)]) -> Loaded {
    let folder = Folder::new(&[("hale.json", json), ("zones/a.json", "{}")]);
    load_in(&folder, flags, env)
}

fn good(json: &str, flags: &[&str], env: &[(&str, &str)]) -> Config {
    match load_with(json, flags, env) {
        Ok((config, warnings)) if warnings.is_empty() => config,
        other => panic!("{json} {flags:?} {env:?}: {other:#?}"),
    }
}

/// The only error, in its first line without the folder.
fn bad(json: &str, flags: &[&str], env: &[(&str, &str)]) -> String {
    let errors = load_with(json, flags, env).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].hint.is_some(), "{}", errors[0]);
    let text = errors[0].to_string();
    let line = text.lines().next().unwrap();
    match line.split_once("hale-load-") {
        Some((_, rest)) => rest.split_once('/').unwrap().1.to_owned(),
        None => line.to_owned(),
    }
}

fn sockets(config: &Config) -> Vec<String> {
    let mark = |listen: &ListenAddress| if listen.optional { "?" } else { "" };
    config.listen.iter().map(|listen| format!("{}{}", listen.address, mark(listen))).collect()
}

fn names(config: &Config, folder: &Folder) -> Vec<String> {
    let name = |path: &PathBuf| path.strip_prefix(&folder.0).unwrap().to_string_lossy().into_owned();
    config.zone_files.iter().map(name).collect()
}

#[test]
fn everything_has_a_default() {
    let config = good("{}", &[], &[]);
    assert_eq!(sockets(&config), ["0.0.0.0:53", "[::]:53?"]);
    assert_eq!(config.zone_files.len(), 1);
    assert_eq!((&config.state, config.strict, config.portable), (&None, false, false));
    assert!(config.workers >= 1 && config.nsid.is_none() && config.cookie_secret.is_none());
    assert_eq!((&*config.log_level, config.log_format), ("info", LogFormat::Text));
    assert_eq!(config.admin.listen, Some(DEFAULT_ADMIN));
    assert_eq!(
        (config.admin.metrics_listen, config.admin.probes_listen, &config.admin.token),
        (None, None, &None)
    );
    assert_eq!(
        config.health,
        HealthConfig {
            brake_down_percent: 80,
            brake_min_targets: 10,
            probes_in_flight: 4096,
            exec_in_flight: 64,
            probes_per_second_per_address: 50,
            verdict_max_age_ms: 600_000
        }
    );
    assert_eq!(
        config.limits,
        LimitsConfig { rrl: None, fair_share: true, receive_buffer: 1 << 20, tcp: TcpLimits::default() }
    );
}

#[test]
fn reads_every_key_of_the_file() {
    let json = r#"{ "$schema": "x", "note": "x", "listen": ["127.0.0.1:5300", "[::1]:0"], "state": "var", "workers": 3, "strict": true, "portable": true, "pin_workers": true,
        "admin": { "note": "x", "listen": "0.0.0.0:1", "metrics_listen": "0.0.0.0:2", "probes_listen": "[::]:3", "token": { "env": "T" } },
        "health": { "brake": { "down_percent": 50, "min_targets": 5 }, "probes_in_flight": 7, "exec_in_flight": 9, "probes_per_second_per_address": 8, "verdict_max_age": "1m" },
        "limits": { "fair_share": false, "receive_buffer": 65536, "tcp": { "connections": 10, "per_client": 4, "idle": "3s", "read_timeout": "4s", "write_timeout": "5s", "buffered_bytes": 2000000 } }, "nsid": "fra-1",
        "cookie_secret": "e5e973e5a6b2a43f48e7dc849e37bfcf", "log_level": "debug", "log_format": "json" }"#;
    let config = good(json, &[], &[("T", "secret")]);
    assert_eq!(sockets(&config), ["127.0.0.1:5300", "[::1]:0"]);
    assert!(config.state.as_ref().unwrap().ends_with("var"));
    assert_eq!((config.workers, config.strict, config.portable, config.pin_workers), (3, true, true, true));
    assert_eq!(config.admin.token.as_deref(), Some("secret"));
    assert_eq!(config.admin.listen.unwrap().port(), 1);
    assert_eq!(config.admin.metrics_listen.unwrap().port(), 2);
    assert_eq!(config.admin.probes_listen.unwrap().port(), 3);
    assert_eq!((config.health.brake_down_percent, config.health.brake_min_targets), (50, 5));
    assert_eq!((config.health.probes_in_flight, config.health.probes_per_second_per_address), (7, 8));
    assert_eq!((config.health.exec_in_flight, config.health.verdict_max_age_ms), (9, 60_000));
    assert_eq!((config.limits.fair_share, config.limits.receive_buffer), (false, 65_536));
    let tcp = TcpLimits {
        connections: 10,
        per_client: 4,
        idle_ms: 3000,
        read_ms: 4000,
        write_ms: 5000,
        buffered_octets: 2_000_000,
    };
    assert_eq!(config.limits.tcp, tcp);
    assert_eq!(config.nsid.as_deref(), Some(&b"fra-1"[..]));
    assert_eq!(config.cookie_secret.unwrap()[..3], [0xe5, 0xe9, 0x73]);
    assert_eq!((&*config.log_level, config.log_format), ("debug", LogFormat::Json));
}

#[test]
fn telemetry_is_what_is_asked_for() {
    let silent = good("{}", &[], &[]);
    assert_eq!((silent.query_log, silent.target_metrics), (None, false));
    assert_eq!(good(r#"{ "query_log": { "buffer": 65536 } }"#, &[], &[]).query_log, None);
    let config = good(
        r#"{ "metrics": { "targets": true },
            "query_log": { "dnstap": { "socket": "/run/d.sock", "queries": false, "identity": "ns1" }, "json": { "file": "/q.jsonl", "sample": 10 } } }"#,
        &[],
        &[],
    );
    assert!(config.target_metrics);
    let dnstap = DnstapConfig {
        socket: "/run/d.sock".into(),
        queries: false,
        responses: true,
        responses_with_queries: false,
        identity: Some("ns1".to_owned()),
        sample: 1,
    };
    let json = JsonLogConfig { file: "/q.jsonl".into(), sample: 10 };
    let expected = QueryLogConfig { dnstap: Some(dnstap), json: Some(json), buffer_octets: 1 << 20 };
    assert_eq!(config.query_log, Some(expected));
}

/// The `rrl` value of `hale.json` and what it means.
fn check_rates(json: &str, expected: Option<&RateLimits>) {
    let config = good(&format!(r#"{{ "limits": {{ "rrl": {json} }} }}"#), &[], &[]);
    assert_eq!(config.limits.rrl.as_ref(), expected, "{json}");
}

#[test]
fn rate_limits_follow_the_first_rate() {
    let network = |address: &str, prefix| Network::new(address.parse().unwrap(), prefix).unwrap();
    let default = RateLimits {
        responses_per_second: 200,
        nxdomains_per_second: 200,
        referrals_per_second: 200,
        errors_per_second: 200,
        slip: 2,
        burst_ms: 1000,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        exempt: Vec::new(),
        table_size: 65_536,
    };
    check_rates("\"off\"", None);
    check_rates("{}", Some(&default));
    check_rates(
        r#"{ "responses_per_second": 50, "slip": 0, "exempt": ["127.0.0.0/8", "::1"] }"#,
        Some(&RateLimits {
            responses_per_second: 50,
            nxdomains_per_second: 50,
            referrals_per_second: 50,
            errors_per_second: 50,
            slip: 0,
            exempt: vec![network("127.0.0.0", 8), network("::1", 128)],
            ..default.clone()
        }),
    );
    check_rates(
        r#"{ "nxdomains_per_second": 5, "referrals_per_second": 6, "errors_per_second": 7, "slip": 1, "burst": "3s",
             "ipv4_prefix": 32, "ipv6_prefix": 48, "table_size": 1024 }"#,
        Some(&RateLimits {
            responses_per_second: 200,
            nxdomains_per_second: 5,
            referrals_per_second: 6,
            errors_per_second: 7,
            slip: 1,
            burst_ms: 3000,
            ipv4_prefix: 32,
            ipv6_prefix: 48,
            exempt: Vec::new(),
            table_size: 1024,
        }),
    );
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let json = r#"{ "workers": 1, "log_level": "error", "log_format": "json", "listen": "127.0.0.1:1", "admin": { "listen": "127.0.0.1:9" }, "state": "a" }"#;
    let env = [
        ("HALE_WORKERS", "2"),
        ("HALE_LOG_LEVEL", "warn"),
        ("HALE_LOG_FORMAT", "text"),
        ("HALE_LISTEN", "127.0.0.1:2, 127.0.0.1:3"),
        ("HALE_ADMIN", "off"),
        ("HALE_STATE", "b"),
        ("HALE_STRICT", "true"),
        ("HALE_PORTABLE", "0"),
    ];
    let flags = [
        "--workers=4",
        "--log-level=debug",
        "--log-format=json",
        "--listen=127.0.0.1:4",
        "--admin=127.0.0.1:7",
        "--state=c",
        "--portable",
    ];
    let shown = |config: &Config| {
        let state = config.state.as_ref().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let admin = config.admin.listen.map_or(0, |address| address.port());
        let format = config.log_format == LogFormat::Json;
        (config.workers, config.log_level.clone(), format, sockets(config).join(" "), admin, state)
    };
    let expected = |workers, level: &str, json, listen: &str, admin, state: &str| {
        (workers, level.to_owned(), json, listen.to_owned(), admin, state.to_owned())
    };
    assert_eq!(shown(&good(json, &[], &[])), expected(1, "error", true, "127.0.0.1:1", 9, "a"));
    let config = good(json, &[], &env);
    assert_eq!(shown(&config), expected(2, "warn", false, "127.0.0.1:2 127.0.0.1:3", 0, "b"));
    assert_eq!((config.strict, config.portable), (true, false));
    let config = good(json, &flags, &env);
    assert_eq!(shown(&config), expected(4, "debug", true, "127.0.0.1:4", 7, "c"));
    assert_eq!((config.strict, config.portable), (true, true));
}

#[test]
fn a_port_stands_for_both_wildcards() {
    for (json, flags, env) in [
        ("{}", &["--port=5300"][..], &[][..]),
        (r#"{"listen": "127.0.0.1:1"}"#, &[], &[("HALE_PORT", "5300")]),
        (r#"{"listen": "127.0.0.1:1"}"#, &[], &[("DNS_PORT", "5300")]),
        (r#"{"port": 5300}"#, &[], &[]),
        ("{}", &["--port=5300"], &[("HALE_LISTEN", "127.0.0.1:1")]),
        ("{}", &[], &[("HALE_PORT", "5300"), ("DNS_PORT", "1")]),
    ] {
        assert_eq!(
            sockets(&good(json, flags, env)),
            ["0.0.0.0:5300", "[::]:5300?"],
            "{json} {flags:?} {env:?}"
        );
    }
}

#[test]
fn says_what_is_wrong_with_flags_and_variables() {
    for (json, flags, env, want) in [
        (
            "{}",
            &["--port=1", "--listen=127.0.0.1:1"][..],
            &[][..],
            "error: --port: --port and --listen exclude each other",
        ),
        (
            "{}",
            &[],
            &[("HALE_PORT", "1"), ("HALE_LISTEN", "127.0.0.1:1")],
            "error: HALE_PORT: HALE_PORT and HALE_LISTEN exclude each other",
        ),
        ("{}", &["--port=0"], &[], "error: --port: \"0\" is not a port"),
        ("{}", &["--listen=:53"], &[], "error: --listen: \":53\" is not an address and port"),
        (
            "{}",
            &["--listen=127.0.0.1:1", "--listen=127.0.0.1:1"],
            &[],
            "error: --listen: 127.0.0.1:1 stands twice",
        ),
        ("{}", &["--workers=0"], &[], "error: --workers: \"0\" is not a number of workers"),
        ("{}", &["--log-level=loud"], &[], "error: --log-level: \"loud\" is not a log level"),
        ("{}", &[], &[("HALE_LOG_FORMAT", "xml")], "error: HALE_LOG_FORMAT: \"xml\" is not a log format"),
        ("{}", &[], &[("HALE_STRICT", "maybe")], "error: HALE_STRICT: \"maybe\" is not true or false"),
        ("{}", &[], &[("HALE_WATCH", "soon")], "error: HALE_WATCH: \"soon\" is not true or false"),
        ("{}", &["--admin=here"], &[], "error: --admin: \"here\" is not an address and port"),
        (
            "{}",
            &["--admin=0.0.0.0:1"],
            &[],
            "error: --admin: 0.0.0.0:1 is not on loopback, and there is no token",
        ),
        (
            r#"{"admin": {"listen": "[::]:1", "token": ""}}"#,
            &[],
            &[],
            "hale.json:1:41: admin.token: the token is empty: whoever asks would have it",
        ),
        (r#"{"zones": ["b-*.json"]}"#, &[], &[], "hale.json:1:12: zones[0]: "),
        (
            "{}",
            &["--config=none.json"],
            &[],
            "none.json: cannot read the configuration file: No such file or directory (os error 2)",
        ),
        ("{}", &["nothing-*.json"], &[], "nothing-*.json matches no file"),
    ] {
        let found = bad(json, flags, env);
        assert!(found.starts_with(want), "{json} {flags:?} {env:?}: {found}");
    }
}

#[test]
fn a_token_is_something_and_has_no_space_around_it() {
    for empty in [r#""""#, r#""  ""#, r#"{ "env": "T" }"#] {
        let json = format!(r#"{{"admin": {{"token": {empty}}}}}"#);
        let wanted = "hale.json:1:21: admin.token: the token is empty: whoever asks would have it";
        assert_eq!(bad(&json, &[], &[("T", "\n")]), wanted);
    }
    let config = good(r#"{"admin": {"token": {"env": "T"}}}"#, &[], &[("T", " a b \n")]);
    assert_eq!(config.admin.token.as_deref(), Some("a b"));
}

#[test]
fn a_configuration_file_that_was_found_is_asked_for_from_then_on() {
    use clap::{Args, FromArgMatches};
    let folder = Folder::new(&[("hale.json", r#"{"port": 5300}"#), ("zones/a.json", "{}")]);
    let command = ServeArgs::augment_args(clap::Command::new("serve").no_binary_name(true));
    let args = ServeArgs::from_arg_matches(&command.get_matches_from([""; 0])).unwrap();
    let load = |args: &ServeArgs| load(args, &|_| None, &folder.0, &folder.0.join("etc/hale.json"));
    let first = load(&args).unwrap().0;
    assert_eq!(first.file, Some(folder.0.join("hale.json")));
    let settled = args.clone().settled(&first);
    let again = load(&settled).unwrap().0;
    assert_eq!((again.listen, again.zone_files), (first.listen.clone(), first.zone_files.clone()));
    std::fs::remove_file(folder.0.join("hale.json")).unwrap();
    let gone = load(&settled).unwrap_err();
    assert!(gone[0].message.starts_with("cannot read the configuration file"), "{gone:?}");
    // Where there was none, there need be none.
    let without = load(&args).unwrap().0;
    assert_eq!(without.file, None);
    assert!(load(&args.settled(&without)).is_ok());
}

#[test]
fn an_admin_listener_off_loopback_is_fine_with_a_token() {
    let json = r#"{"admin": {"token": "t"}}"#;
    assert_eq!(good(json, &["--admin=0.0.0.0:1"], &[]).admin.listen.unwrap().port(), 1);
}

#[test]
fn service_links_are_ignored_with_a_warning() {
    let env = [("HALE_PORT", "tcp://10.0.0.1:53"), ("DNS_PORT", "udp://10.0.0.1:53"), ("HALE_STATE", " ")];
    let (config, warnings) = load_with("{}", &[], &env).unwrap();
    assert_eq!(
        (sockets(&config), config.state),
        (vec!["0.0.0.0:53".to_owned(), "[::]:53?".to_owned()], None)
    );
    let labels: Vec<_> = warnings.iter().map(|warning| warning.file.to_str().unwrap()).collect();
    assert_eq!(labels, ["HALE_PORT", "DNS_PORT"]);
    assert!(warnings.iter().all(|warning| !warning.is_error()));
}

#[test]
fn finds_the_configuration_file() {
    let files = [
        ("hale.json", r#"{"workers": 1}"#),
        ("etc/hale.json", r#"{"workers": 2}"#),
        ("other/hale.json", r#"{"workers": 3}"#),
        ("zones/a.json", ""),
        ("etc/zones/b.json", ""),
        ("other/zones/c.json", ""),
    ];
    let check =
        |skip: usize, flags: &[&str], env: &[(&str, &str)], workers: Option<usize>, zones: &[&str]| {
            let folder = Folder::new(&files[skip..]);
            let (config, _) = load_in(&folder, flags, env).unwrap();
            if let Some(workers) = workers {
                assert_eq!(config.workers, workers, "{flags:?}");
            }
            assert_eq!(names(&config, &folder), zones, "{flags:?}");
        };
    check(0, &[], &[], Some(1), &["zones/a.json"]);
    check(1, &[], &[], Some(2), &["etc/zones/b.json"]);
    check(2, &[], &[], None, &["zones/a.json"]);
    check(0, &["--config=other/hale.json"], &[], Some(3), &["other/zones/c.json"]);
    check(0, &[], &[("HALE_CONFIG", "other/hale.json")], Some(3), &["other/zones/c.json"]);
    check(0, &["--config=other/hale.json", "zones/a.json"], &[], Some(3), &["zones/a.json"]);
    // With zones on the command line nothing is looked for.
    check(0, &["etc/zones/b.json"], &[], None, &["etc/zones/b.json"]);
    let folder = Folder::new(&[]);
    let errors = load_in(&folder, &[], &[]).unwrap_err();
    assert!(errors[0].to_string().contains("zones/*.json matches no file"), "{errors:#?}");
}

#[test]
fn finds_zone_files() {
    let files = [
        ("hale.json", r#"{"zones": ["z", "z/b.json", "more/*/x?.json", "absent.json"]}"#),
        ("z/b.json", ""),
        ("z/a.json", ""),
        ("z/.hidden.json", ""),
        ("z/zone.schema.json", ""),
        ("z/readme.md", ""),
        ("z/sub/c.json", ""),
        ("more/1/x1.json", ""),
        ("more/2/x2.json", ""),
        ("more/2/y2.json", ""),
        ("more/.3/x3.json", ""),
    ];
    let folder = Folder::new(&files);
    let (config, _) = load_in(&folder, &[], &[]).unwrap();
    assert_eq!(
        names(&config, &folder),
        ["z/a.json", "z/b.json", "more/1/x1.json", "more/2/x2.json", "absent.json"]
    );
    let (config, _) = load_in(&folder, &[], &[("HALE_ZONES", "z/*.json")]).unwrap();
    assert_eq!(names(&config, &folder), ["z/a.json", "z/b.json"]);
    std::fs::create_dir(folder.0.join("empty")).unwrap();
    let errors = load_in(&folder, &["empty", "no*.json"], &[]).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:#?}");
}

#[test]
fn all_errors_are_found_at_once() {
    let errors =
        load_with(r#"{"workers": 0, "lisen": 1}"#, &["--port=x", "--log-level=x"], &[("HALE_STRICT", "x")])
            .unwrap_err();
    assert_eq!(errors.len(), 5, "{errors:#?}");
}

#[test]
fn a_file_that_is_not_utf_8_says_where() {
    let folder = Folder::new(&[("zones/a.json", "{}")]);
    std::fs::write(folder.0.join("hale.json"), b"{\n \"nsid\": \"\xff\" }").unwrap();
    let errors = load_in(&folder, &[], &[]).unwrap_err();
    assert_eq!(errors[0].position, Some(Position { line: 2, column: 11 }));
}
