//! The command line as its users meet it: the binary's output and exit codes.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hale::admin::{Admin, ChangeError, Control, ExportError, ExportFormat, Insight, RecordsQuery, View};
use hale::config::AdminConfig;
use hale::model::discovery_report::{PlanReport, SourceChange, SourceReport};
use hale::model::events::Events;
use hale::model::explain::{AnswerReport, Client, Explanation};
use hale::model::insight::{Attempt, NamesPage, NamesQuery, SigningReport};
use hale::model::name::Name;
use hale::model::records::{HiddenChange, HiddenReport, HideRequest, RecordsPage, TestDns};
use hale::model::report::{
    ChangeKind, HistoryReport, Listener, OverrideChange, OverrideReport, OverrideRequest, Readiness,
    ReloadReport, Status, TargetCounts, TargetReport, ZoneChange, ZoneReport, ZoneState,
};
use hale::model::target::Verdict;

use hale::model::rrtype::RrType;

/// Runs `hale` with the arguments in `line`, away from any configuration of this machine.
fn hale(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hale"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("HALE_") || name.starts_with("DNS_"))
    {
        command.env_remove(name);
    }
    command.args(line.split_whitespace()).current_dir(std::env::temp_dir()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs `line` and looks for the exit code and for words on standard output and on standard error; empty ones mean silence.
fn check(line: &str, code: i32, out: &str, err: &str) {
    let output = hale(line);
    assert_eq!(output.status.code(), Some(code), "hale {line}: {output:?}");
    for (stream, want) in [(&output.stdout, out), (&output.stderr, err)] {
        let got = text(stream);
        let fits = if want.is_empty() { got.is_empty() } else { got.contains(want) };
        assert!(fits, "hale {line}: wanted {want:?}, got {got:?}");
    }
}

#[test]
fn exit_codes_and_streams() {
    check("--version", 0, concat!("hale ", env!("CARGO_PKG_VERSION")), "");
    check("--help", 0, "hale demo", "");
    check("zone export --help", 0, "HALE_SERVER", "");
    check("", 2, "", "Usage: hale <COMMAND>");
    check("nonsense", 2, "", "unrecognized subcommand");
    check("status --nonsense", 2, "", "unexpected argument");
    check("zone show a..b", 2, "", "error: \"a..b\" is not a domain name");
    check("status --server ftp://x", 2, "", "hint: unix:");
    check("status --server http://x --state /tmp", 2, "", "cannot be used with");
    check("status --token-file /nonexistent", 2, "", "/nonexistent: the token cannot be read");
}

#[test]
fn what_is_not_built_says_so() {
    for command in ["mirror", "zone import"] {
        for arguments in ["", " --help", " www.example.test A --client 192.0.2.1", " set -- x"] {
            check(
                &format!("{command}{arguments}"),
                2,
                "",
                &format!("`hale {command}` is not in this version"),
            );
        }
    }
    let help = hale("--help");
    assert!(!text(&help.stdout).contains("mirror"), "what is not there is not advertised");
}

#[test]
fn check_tells_everything_at_once() {
    let folder = std::env::temp_dir().join(format!("hale-cli-check-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let zone = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let head = r#""zone": "a.test", "nameservers": ["ns1.b.test"], "#;
    let fine = zone("fine.json", &format!(r#"{{ {head} "records": {{ "www": ["192.0.2.1"] }} }}"#));
    let twin = zone("twin.json", &format!(r#"{{ {head} "records": {{ "x": ["192.0.2.1"] }} }}"#));
    let auto = zone("auto.json", &format!(r#"{{ {head} "dnssec": {{ "keys": "auto" }} }}"#));
    let bad = zone(
        "bad.json",
        &format!(r#"{{ {head} "records": {{ "www": ["192.0.2.300"], "x": {{ "MX": ["y"] }} }} }}"#),
    );
    check(&format!("check {fine}"), 0, "fine: 1 zone, 2 names\n", "");
    check(
        &format!("check {auto}"),
        2,
        "",
        "auto.json: dnssec.keys: \"auto\" keeps its keys in the state directory",
    );
    check(&format!("check {auto} --state {}", folder.display()), 0, "fine: 1 zone", "");
    check(&format!("check {fine} {twin}"), 2, "", "twin.json:1:11: zone: a.test. is already a zone of ");
    check(&format!("check {bad}"), 2, "", "bad.json:1:74: records.www[0]: \"192.0.2.300\"");
    let everything = hale(&format!("check {bad} {twin} {fine} --listen nowhere"));
    assert!(text(&everything.stderr).ends_with("1 error\n"), "{everything:?}");
    let everything = hale(&format!("check {bad} {twin} {fine}"));
    assert!(text(&everything.stderr).ends_with("4 errors\n"), "{everything:?}");
    check("check /nonexistent.json", 2, "", "error: /nonexistent.json: ");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn schemas_are_json() {
    for subject in ["", "zone", "config"] {
        let output = hale(&format!("schema {subject}"));
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{subject}");
    }
    check("schema hosts", 2, "", "possible values: zone, config");
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        check(&format!("completions {shell}"), 0, "healthcheck", "");
    }
    check("man", 0, ".TH hale 1", "");
    check("man zone export", 0, ".TH hale-zone-export 1", "");
    check("man mirror", 2, "", "is not a command");
}

#[test]
fn no_server() {
    check(
        "status --state /nonexistent",
        1,
        "",
        "error: no server is running at /nonexistent/hale.sock\n  hint: ",
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(
        &format!("reload --server http://{closed}"),
        1,
        "",
        &format!("no server answers at http://{closed}"),
    );
    check(&format!("healthcheck --listen {closed} --timeout 1"), 1, "", "no DNS answer from");
    check("healthcheck --state /nonexistent", 1, "", "no server is running");
}

/// A server that has one zone.
struct Fake;

impl Control for Fake {
    fn readiness(&self) -> Readiness {
        Readiness::default()
    }

    fn status(&self) -> Status {
        Status {
            version: "9.9.9".to_owned(),
            pid: 4711,
            listeners: vec![Listener {
                transport: "udp".to_owned(),
                address: "127.0.0.1:53".parse().unwrap(),
            }],
            zones: 1,
            targets: TargetCounts { up: 2, down: 1, unknown: 0 },
            ..Status::default()
        }
    }

    fn zones(&self) -> Vec<ZoneReport> {
        vec![ZoneReport {
            zone: "example.test.".to_owned(),
            state: ZoneState::Serving,
            problem: None,
            serial: Some(1_700_000_000),
            names: 12,
            checked_names: 3,
            overridden: Vec::new(),
            alias_of: None,
            changed_at: None,
            file: PathBuf::from("zones/example.json"),
            signed: false,
            signatures_expire_at: None,
        }]
    }

    fn targets(&self) -> Vec<TargetReport> {
        Vec::new()
    }

    fn export(
        &self,
        zone: &Name,
        _view: View,
        format: ExportFormat,
        out: &mut dyn Write,
    ) -> Result<(), ExportError> {
        match (zone.to_string().as_str(), format) {
            ("example.test.", ExportFormat::Text) => {
                Ok(out.write_all(b"example.test. 300 IN NS ns1.example.test.\n")?)
            }
            ("example.test.", ExportFormat::Json) => Ok(out.write_all(b"{\"zone\":\"example.test\"}")?),
            ("broken.test.", _) => {
                out.write_all(&[b';'; 200_000])?;
                Err(std::io::Error::other("half-way").into())
            }
            _ => Err(ExportError::UnknownZone),
        }
    }

    fn reload(&self, remove_missing: bool) -> Result<ReloadReport, String> {
        let change = if remove_missing { ChangeKind::Removed } else { ChangeKind::Kept };
        Ok(ReloadReport {
            ok: remove_missing,
            zones: vec![ZoneChange {
                zone: "example.test.".to_owned(),
                change,
                serial: None,
                added: 0,
                changed: 2,
                removed: 1,
                records_added: 0,
                records_removed: 0,
                records: Vec::new(),
            }],
            unchanged: 2,
            settings: Vec::new(),
            findings: vec!["warning: zones/a.json: gone".to_owned()],
        })
    }

    fn history(&self, _: u32) -> Option<HistoryReport> {
        None
    }

    fn explain(&self, name: &Name, rtype: RrType, client: Client) -> Explanation {
        let (name, rtype) = (name.to_string(), rtype.to_string());
        let (ecs, client) = (client.network.map(|network| network.to_string()), client.address);
        Explanation { name, rtype, client, ecs, names: Vec::new(), answer: AnswerReport::default() }
    }

    fn overrides(&self) -> Vec<OverrideReport> {
        Vec::new()
    }

    fn set_override(&self, wanted: &OverrideRequest, owner: String) -> Result<OverrideChange, ChangeError> {
        let OverrideRequest { subject, zone, word, reason, .. } = wanted.clone();
        let entry = OverrideReport { id: 5, subject, zone, word, set_at: 0, until: None, reason, owner };
        Ok(OverrideChange { entry, names: 1, kept: true })
    }

    fn clear_override(&self, _: u64, _: &str) -> Result<Option<OverrideChange>, ChangeError> {
        Ok(None)
    }

    fn sources(&self) -> Vec<SourceReport> {
        vec![SourceReport { name: "edge".to_owned(), state: "ok".to_owned(), ..SourceReport::default() }]
    }

    fn plan(&self) -> Vec<PlanReport> {
        Vec::new()
    }

    fn change_source(
        &self,
        source: &str,
        action: &str,
        _: &str,
    ) -> Result<Option<SourceChange>, ChangeError> {
        let (source, action) = (source.to_owned(), action.to_owned());
        Ok((source == "edge").then_some(SourceChange { source, action, names: 3 }))
    }

    fn push_external(&self, _: &str, _: Verdict, _: Option<&str>) -> usize {
        0
    }

    fn backup(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        Ok(out.write_all(b"archive")?)
    }

    fn records(&self, _: &Name, _: &RecordsQuery) -> Result<RecordsPage, ExportError> {
        Err(ExportError::UnknownZone)
    }

    fn test_dns(&self, hostname: &Name) -> TestDns {
        let (hostname, names) = (hostname.to_string(), Vec::new());
        TestDns {
            hostname,
            answers: Vec::new(),
            names,
            discovered: Vec::new(),
            plan: Vec::new(),
            hidden: None,
        }
    }

    fn hidden(&self) -> Vec<HiddenReport> {
        Vec::new()
    }

    fn hide(&self, _: &HideRequest, _: String) -> Result<HiddenChange, ChangeError> {
        Err(ChangeError::Failed("the disk is full".to_owned()))
    }

    fn unhide(&self, _: &Name, _: &str) -> Result<Option<HiddenChange>, ChangeError> {
        Ok(None)
    }

    fn events(&self) -> Arc<Events> {
        Arc::default()
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

impl Insight for Fake {
    fn attempts(&self, ids: &[u32]) -> Vec<Vec<Attempt>> {
        ids.iter().map(|_| Vec::new()).collect()
    }

    fn names(&self, _: &NamesQuery) -> Option<NamesPage> {
        None
    }

    fn signing(&self) -> Vec<SigningReport> {
        Vec::new()
    }

    fn release_health_brake(&self, _: &str) -> bool {
        false
    }
}

/// Runs `test` beside a [`Fake`] server; it is given the state directory and the address of the admin listener.
fn with_server(token: Option<&str>, test: impl FnOnce(&Path, &str)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let state = std::env::temp_dir().join(format!("hale-cli-{}-{number}", std::process::id()));
    std::fs::create_dir(&state).unwrap();
    let listen = if token.is_some() { "0.0.0.0:0" } else { "127.0.0.1:0" };
    let config = AdminConfig {
        listen: listen.parse().ok(),
        token: token.map(str::to_owned),
        ..AdminConfig::default()
    };
    let admin = Admin::bind(&config, Some(&state)).unwrap();
    let port = admin.addresses().next().unwrap().1.port();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let served = runtime.spawn(admin.serve(Arc::new(Fake), stopped));
    test(&state, &format!("http://127.0.0.1:{port}"));
    stop.send(true).unwrap();
    runtime.block_on(served).unwrap().unwrap();
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn over_the_unix_socket() {
    with_server(None, |state, _| {
        let at = format!("--state {}", state.display());
        check(&format!("status {at}"), 0, "targets    2 up, 1 down, 0 unknown\n", "");
        check(&format!("status {at} --json"), 0, "\"version\": \"9.9.9\"", "");
        check(&format!("zone show {at}"), 0, "example.test.  serving  1700000000  12     no\n", "");
        check(&format!("zone show EXAMPLE.test {at}"), 0, "names    12, 3 of them checked\n", "");
        check(
            &format!("zone show other.test {at}"),
            1,
            "",
            "error: other.test. is not a zone of this server\n",
        );
        check(&format!("zone export example.test {at}"), 0, "example.test. 300 IN NS", "");
        check(&format!("zone export example.test --format json {at}"), 0, "{\"zone\"", "");
        check(
            &format!("zone export other.test {at}"),
            1,
            "",
            "error: other.test. is not a zone of this server\n",
        );
        check(
            &format!("reload {at}"),
            1,
            "example.test. kept, names ~2 -1\n2 zones unchanged\n",
            "warning: zones/a.json: gone\n",
        );
        check(
            &format!("reload --remove-missing {at}"),
            0,
            "example.test. removed, names ~2 -1\n",
            "warning: ",
        );
        check(&format!("healthcheck {at}"), 0, "alive\n", "");
        let set = "override set address:192.0.2.1 down --zone example.test --reason disk --for";
        let said =
            "override 5 set: address:192.0.2.1 down in example.test, forever; it is about 1 checked name\n";
        check(&format!("{set} forever {at}"), 0, said, "");
        check(&format!("{set} soon {at}"), 2, "", "error: \"soon\" is neither a time");
        check(&format!("top {at}"), 2, "", "error: `hale top` needs a terminal\n  hint: ");
        check(&format!("override list {at}"), 0, "no overrides\n", "");
        let asked = "www.example.test. AAAA for 2001:db8::1\n";
        check(&format!("explain www.example.test aaaa --client 2001:db8::1 {at}"), 0, asked, "");
        check(&format!("explain www.example.test NOTYPE {at}"), 2, "", "\"NOTYPE\" is not an RR type");
        check(&format!("override clear 5 {at}"), 1, "", "error: there is no override 5\n");
    });
}

#[test]
fn an_export_replaces_a_file_whole_or_not_at_all() {
    with_server(None, |state, _| {
        let file = state.join("out.zone");
        let at = format!("--output {} --state {}", file.display(), state.display());
        check(&format!("zone export example.test {at}"), 0, "", "");
        let whole = std::fs::read_to_string(&file).unwrap();
        assert_eq!(whole, "example.test. 300 IN NS ns1.example.test.\n");
        check(&format!("zone export broken.test {at}"), 1, "", "hint: the file is as it was");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), whole);
        let names: Vec<_> = std::fs::read_dir(state).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "the socket and the export: {names:?}");
    });
}

#[test]
fn over_http_with_a_token() {
    with_server(Some("s3cret"), |state, url| {
        let [right, wrong] = [("right", "s3cret\n"), ("wrong", "guess")].map(|(name, token)| {
            let file = state.join(name);
            std::fs::write(&file, token).unwrap();
            file.display().to_string()
        });
        check(&format!("status --server {url}"), 1, "", "hint: give the token with --token-file FILE");
        check(&format!("reload --server {url} --token-file {wrong}"), 1, "", "error: the token is wrong");
        check(&format!("status --server {url} --token-file {right}"), 0, "hale 9.9.9, process 4711", "");
        check(
            &format!("reload --remove-missing --server {url} --token-file {right}"),
            0,
            "removed",
            "warning",
        );
        check(&format!("healthcheck --server {url}"), 0, "alive", "");
    });
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hale"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn check_warns_of_an_address_with_too_many_checks() {
    let folder = tempfile::tempdir().unwrap();
    let owner = |n| {
        format!(
            r#""h{n}": {{"A": ["192.0.2.1"], "check": {{"http": {{}}, "interval": "1s", "timeout": "1s"}}}}"#
        )
    };
    let owners: Vec<String> = (0..60).map(owner).collect();
    let zone = format!(
        r#"{{"zone": "example.test", "nameservers": ["ns1.example.test"], "records": {{"ns1": ["192.0.2.53"], {}}}}}"#,
        owners.join(", ")
    );
    let file = folder.path().join("zone.json");
    std::fs::write(&file, zone).unwrap();
    check(
        &format!("check {}", file.display()),
        0,
        "fine: 1 zone, 62 names",
        "has 60 checks, which want 60 probes a second and may have 50: they run at up to 1.2 times their intervals",
    );
}
