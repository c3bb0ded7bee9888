//! A user of a-healthy-dns moves without writing a configuration: the same flags and variables build the same zone as a file would.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{
    Config, Dnssec, KeyRole, KeySource, Loaded, OwnerConfig, ServeArgs, WhenAllDown, ZoneHeader, ZoneReader,
};
use crate::model::target::CheckKind;

const ZONE: &str = "--hosted-zone=example.test";
const RECORDS: &str = r#"--zone-resolutions={"www": {"ips": ["192.0.2.1", "192.0.2.2"], "health_port": 8080}, "static": ["192.0.2.3"]}"#;
const NS: &str = r#"--ns=["ns1.example.net", "ns2.example.net"]"#;

fn load(flags: &[&str], env: &[(&str, &str)]) -> Loaded {
    use clap::{Args, FromArgMatches};
    let command = ServeArgs::augment_args(clap::Command::new("serve").no_binary_name(true));
    let args = ServeArgs::from_arg_matches(&command.get_matches_from(flags)).unwrap();
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    // Nothing is read from this directory: with a zone by flags no file is looked for.
    Config::load(&args, &|name| env.get(name).map(|&text| text.to_owned()), Path::new("/no/such/directory"))
}

fn config(flags: &[&str], env: &[(&str, &str)]) -> Config {
    match load(flags, env) {
        Ok((config, warnings)) if warnings.is_empty() => config,
        other => panic!("{flags:?} {env:?}: {other:#?}"),
    }
}

fn zone(config: &Config) -> (ZoneHeader, Vec<OwnerConfig>) {
    let [(label, text)] = &config.inline_zones[..] else { panic!("{:?}", config.inline_zones) };
    let reader = ZoneReader::from_text(label, text.clone(), &config.shared).unwrap();
    let (mut owners, mut diagnostics) = (Vec::new(), Vec::new());
    reader.owners(&mut |owner| owners.push(owner), &mut diagnostics);
    assert_eq!(diagnostics, []);
    (reader.header().clone(), owners)
}

fn errors(flags: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let errors = load(flags, env).unwrap_err();
    assert!(errors.iter().all(|error| error.hint.is_some()), "{errors:#?}");
    errors.iter().map(|error| error.to_string().lines().next().unwrap().to_owned()).collect()
}

fn with_records(json: &str) -> Vec<String> {
    errors(&[ZONE, NS, &format!("--zone-resolutions={json}")], &[])
}

#[test]
fn the_flags_build_a_zone() {
    let config = config(&[ZONE, RECORDS, NS, r#"--alias-zones=["example.org"]"#], &[]);
    assert!(config.zone_files.is_empty());
    let (header, owners) = zone(&config);
    assert_eq!(header.apex.to_string(), "example.test.");
    assert_eq!(header.alias_zones.iter().map(ToString::to_string).collect::<Vec<_>>(), ["example.org."]);
    assert_eq!(
        header.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["ns1.example.net.", "ns2.example.net."]
    );
    assert_eq!(header.dnssec, Dnssec::Absent);
    let [www, fixed] = &owners[..] else { panic!("{owners:#?}") };
    assert_eq!(
        (www.relative.to_string(), www.when_all_down, www.endpoints.len()),
        ("www.".to_owned(), WhenAllDown::None, 2)
    );
    let target = www.endpoints[0].target().unwrap();
    assert_eq!(target.to_string(), "tcp 192.0.2.1:8080");
    let check = &target.check;
    assert_eq!((check.interval_ms, check.timeout_ms, check.rise, check.fall), (30_000, 2000, 1, 1));
    assert_eq!(check.kind, CheckKind::Tcp);
    assert!(fixed.endpoints[0].condition.is_none());
}

#[test]
fn the_variables_build_the_same_zone() {
    let alias = r#"["example.org"]"#;
    let json = |flag: &'static str| flag.split_once('=').unwrap().1;
    let by_variables = config(
        &[],
        &[
            ("DNS_HOSTED_ZONE", "example.test"),
            ("DNS_ZONE_RESOLUTIONS", json(RECORDS)),
            ("DNS_NAME_SERVERS", json(NS)),
            ("DNS_ALIAS_ZONES", alias),
        ],
    );
    let by_flags = config(&[ZONE, RECORDS, NS, &format!("--alias-zones={alias}")], &[]);
    assert_eq!(by_variables.inline_zones[0].1, by_flags.inline_zones[0].1);
    assert_eq!(by_variables.inline_zones[0].0, Path::new("DNS_ZONE_RESOLUTIONS"));
    // A flag beats a variable, and HALE_… beats DNS_….
    let mixed =
        config(&["--hosted-zone=a.test", RECORDS, NS], &[("DNS_HOSTED_ZONE", "b.test"), ("HALE_NS", "[]")]);
    assert_eq!(zone(&mixed).0.apex.to_string(), "a.test.");
    let mixed = config(&[RECORDS, NS], &[("DNS_HOSTED_ZONE", "b.test"), ("HALE_HOSTED_ZONE", "c.test")]);
    assert_eq!(zone(&mixed).0.apex.to_string(), "c.test.");
}

#[test]
fn the_port_is_53053_unless_given() {
    let port = |config: &Config| config.listen.iter().map(|listen| listen.address.port()).collect::<Vec<_>>();
    assert_eq!(port(&config(&[ZONE, RECORDS, NS], &[])), [53053, 53053]);
    assert_eq!(port(&config(&[ZONE, RECORDS, NS, "--port=5353"], &[])), [5353, 5353]);
    assert_eq!(port(&config(&[ZONE, RECORDS, NS], &[("DNS_PORT", "5354")])), [5354, 5354]);
}

#[test]
fn log_levels_are_pythons_too() {
    for (given, want) in [("DEBUG", "debug"), ("warning", "warn"), ("CRITICAL", "error"), ("Info", "info")] {
        assert_eq!(config(&[ZONE, RECORDS, NS, &format!("--log-level={given}")], &[]).log_level, want);
        assert_eq!(config(&[ZONE, RECORDS, NS], &[("DNS_LOG_LEVEL", given)]).log_level, want);
    }
}

#[test]
fn interval_and_timeout_are_those_of_the_flags() {
    for (flags, env, want) in [
        (&["--test-min-interval=10", "--test-timeout=3"][..], &[][..], (10_000, 3000)),
        (&[], &[("DNS_TEST_MIN_INTERVAL", "60"), ("DNS_TEST_TIMEOUT", "5")], (60_000, 5000)),
        (&["--test-min-interval=500ms"], &[], (500, 500)),
    ] {
        let (_, owners) = zone(&config(&[&[ZONE, RECORDS, NS], flags].concat(), env));
        let check = &owners[0].endpoints[0].target().unwrap().check;
        assert_eq!((check.interval_ms, check.timeout_ms), want, "{flags:?} {env:?}");
    }
    let wrong = |flag| errors(&[ZONE, RECORDS, NS, flag], &[]);
    assert_eq!(
        wrong("--test-min-interval=0"),
        ["error: --test-min-interval: \"0\" is not a time that fits here"]
    );
    assert_eq!(
        wrong("--test-timeout=soon"),
        ["error: --test-timeout: \"soon\" is not a time that fits here"]
    );
    assert_eq!(
        wrong("--test-timeout=31"),
        ["error: --test-timeout: the timeout 31s is longer than the interval 30s"]
    );
}

#[test]
fn a_private_key_signs_as_a_csk() {
    for (flags, env, algorithm) in [
        (&["--priv-key-path=key.pem"][..], &[][..], 8),
        (&["--priv-key-path=key.pem", "--priv-key-alg=ECDSAP256SHA256"], &[], 13),
        (&[], &[("DNS_PRIV_KEY_PATH", "key.pem"), ("DNS_PRIV_KEY_ALG", "ed25519")], 15),
        (&["--priv-key-path=key.pem", "--priv-key-alg=ECDSAP384SHA384"], &[], 14),
        (&["--priv-key-path=key.pem", "--priv-key-alg=RSASHA512"], &[], 10),
    ] {
        let (header, _) = zone(&config(&[&[ZONE, RECORDS, NS], flags].concat(), env));
        let Dnssec::On(dnssec) = header.dnssec else { panic!() };
        let KeySource::Files(files) = dnssec.keys else { panic!() };
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].file, Path::new("/no/such/directory/key.pem"));
        assert_eq!((files[0].role, files[0].algorithm), (KeyRole::Csk, Some(algorithm)));
    }
    let wrong = errors(&[ZONE, RECORDS, NS, "--priv-key-path=a", "--priv-key-alg=RSAMD5"], &[]);
    assert_eq!(wrong, ["error: --priv-key-alg: \"RSAMD5\" is not an algorithm that Hale signs with"]);
}

#[test]
fn flags_that_go_together_are_asked_for() {
    assert_eq!(errors(&[ZONE], &[]), ["error: --zone-resolutions: is missing", "error: --ns: is missing"]);
    assert_eq!(errors(&[ZONE, RECORDS], &[]), ["error: --ns: is missing"]);
    assert_eq!(errors(&[RECORDS, NS], &[]), ["error: --hosted-zone: is missing"]);
}

/// Each row: what a-healthy-dns refuses, or what it misses.
#[test]
fn its_checks_of_the_records_are_errors_with_their_places() {
    let long = "a".repeat(64);
    let label_too_long = format!(r#"{{"{long}": ["192.0.2.1"]}}"#);
    let name = ["a"; 3].map(|letter| letter.repeat(63)).join(".");
    let name_too_long = format!(r#"{{"{name}.{}": ["192.0.2.1"]}}"#, "b".repeat(62));
    let too_long_with_zone = format!(r#"{{"{name}.{}": ["192.0.2.1"]}}"#, "b".repeat(50));
    let found = |json: &str, want: &str| {
        let found = with_records(json);
        assert_eq!(found.len(), 1, "{json}: {found:#?}");
        assert!(found[0].starts_with(&format!("error: --zone-resolutions:1:{want}")), "{json}: {}", found[0]);
    };
    found("[]", "1: a list is not an object");
    found("{", "2: the file ends where");
    found("{}", "1: \"records\" is empty");
    found(r#"{"www": {}}"#, "2: www: the owner has no records");
    found(r#"{"www": 1}"#, "9: www: 1 is not an owner's records");
    found(r#"{"www": {"health_port": 80}}"#, "10: www.health_port: \"health_port\" needs \"ips\"");
    found(r#"{"www": {"ips": ["192.0.2.1"]}}"#, "10: www.ips: \"ips\" needs \"health_port\" or \"check\"");
    found(r#"{"www": {"ips": ["192.0.2.1"], "health_port": 0}}"#, "47: www.health_port: 0 is not a port");
    found(
        r#"{"www": {"ips": ["192.0.2.1"], "health_port": 65536}}"#,
        "47: www.health_port: 65536 is not a port",
    );
    found(
        r#"{"www": {"ips": ["192.0.2.1"], "health_port": null}}"#,
        "47: www.health_port: null is not a port",
    );
    found(
        r#"{"www": {"ips": ["192.0.2.1"], "health_port": true}}"#,
        "47: www.health_port: true is not a port",
    );
    found(r#"{"www": {"ips": [], "health_port": 80}}"#, "17: www.ips: the list is empty");
    found(r#"{"www": []}"#, "9: www: the list is empty");
    found(r#"{"www": ["192.0.2.256"]}"#, "10: www[0]: \"192.0.2.256\" is not an IPv4 address");
    found(r#"{"www": ["192.0.2.01"]}"#, "10: www[0]: \"192.0.2.01\" is not an IPv4 address");
    found(r#"{"-www": ["192.0.2.1"]}"#, "2: -www: \"-www\" is not a name: a label starts with '-'");
    found(r#"{"www": ["192.0.2.1"], "WWW": ["192.0.2.2"]}"#, "24: www: the owner \"www\" stands twice");
    found(&label_too_long, &format!("2: {long}: \"{long}\" is not a name: a label has 64 octets"));
    found(&name_too_long, &format!("2: [\"{name}."));
    found(&too_long_with_zone, &format!("2: [\"{name}."));
}

#[test]
fn its_checks_of_the_other_flags_are_errors() {
    assert_eq!(errors(&[ZONE, RECORDS, "--ns=[]"], &[]), ["error: --ns:1:1: the list is empty"]);
    assert_eq!(errors(&[ZONE, RECORDS, "--ns=[1]"], &[]), ["error: --ns:1:2: [0]: 1 is not a name"]);
    assert_eq!(
        errors(&[ZONE, RECORDS, "--ns=ns1"], &[]),
        ["error: --ns:1:1: 'n' stands where a value should"]
    );
    assert_eq!(
        errors(&["--hosted-zone=a..b", RECORDS, NS], &[]),
        ["error: --hosted-zone: \"a..b\" is not a name: a label is empty"]
    );
    assert_eq!(
        errors(&[ZONE, RECORDS, NS, "--alias-zones={}"], &[]),
        ["error: --alias-zones:1:1: an object is not a list"]
    );
    let same = errors(&[ZONE, RECORDS, NS, r#"--alias-zones=["Example.test"]"#], &[]);
    assert_eq!(same, ["error: --alias-zones:1:2: [0]: example.test. is the zone itself"]);
}
