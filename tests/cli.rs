//! The command line as its users meet it: the binary's output and exit codes.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

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
use hale::model::insight::{Attempt, NameRow, NamesPage, NamesQuery, SigningReport};
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
                problem: (!remove_missing).then(|| "the zone file is gone".to_owned()),
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

    fn name_row(&self, _: &Name, _: &Name) -> Option<NameRow> {
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
    let listen = if token.is_some() { "0.0.0.0:0" } else { "127.0.0.1:0" };
    let config = AdminConfig {
        listen: listen.parse().ok(),
        token: token.map(str::to_owned),
        ..AdminConfig::default()
    };
    with_server_of(&config, |state, port| test(state, &format!("http://127.0.0.1:{port}")));
}

/// The same with any configuration; it is given the port.
fn with_server_of(config: &AdminConfig, test: impl FnOnce(&Path, u16)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let state = std::env::temp_dir().join(format!("hale-cli-{}-{number}", std::process::id()));
    std::fs::create_dir(&state).unwrap();
    let admin = Admin::bind(config, Some(&state)).unwrap();
    let port = admin.addresses().next().unwrap().1.port();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let served = runtime.spawn(admin.serve(Arc::new(Fake), stopped));
    test(&state, port);
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
            "example.test. kept, names ~2 -1: the zone file is gone\n2 zones unchanged\n",
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
        check(
            &format!("reload --server {url} --token-file {wrong}"),
            1,
            "",
            "error: the token is wrong\n  hint: ",
        );
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

/// Commands that ask a server, each with what it takes besides.
const ASKING: [&str; 13] = [
    "status",
    "zone show",
    "zone show example.test",
    "zone export example.test",
    "zone diff example.test",
    "explain www.example.test",
    "sources",
    "plan",
    "resync edge",
    "events",
    "events --follow",
    "override list",
    "reload",
];

#[test]
fn each_command_tells_what_is_wrong_with_the_server() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let says = |what: &'static [u8]| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Ends with the process: it waits in accept.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                let _ = stream.write_all(what);
            }
        });
        format!("http://{address}")
    };
    let no_http = says(b"SSH-2.0-OpenSSH_9.2\r\n");
    let other = says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    let cut = says(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n{");
    let empty = tempfile::tempdir().unwrap();
    with_server(Some("s3cret"), |state, url| {
        let wrong = state.join("wrong");
        std::fs::write(&wrong, "guess").unwrap();
        let at = [
            (
                format!("--state {}", empty.path().display()),
                "error: no server is running at ",
                "  hint: start one with `hale serve`",
            ),
            (
                format!("--server {closed}"),
                "error: no server answers at http://",
                "  hint: start one with `hale serve`",
            ),
            (
                format!("--server {no_http}"),
                " broke off: it is not HTTP",
                "  hint: a server with admin.tls is asked by https://",
            ),
            (
                format!("--server {other}"),
                " answers with HTTP status 404",
                "  hint: is this the admin listener of a Hale server?",
            ),
            (format!("--server {url}"), "error: ", "  hint: give the token with --token-file FILE"),
        ];
        for command in ASKING {
            for (at, message, hint) in &at {
                let line = format!("{command} {at}");
                check(&line, 1, "", message);
                check(&line, 1, "", hint);
            }
        }
        // An export has begun by then, which is why it goes to a file with --output.
        for command in ASKING
            .into_iter()
            .filter(|command| !command.contains("export") && !command.contains("events --follow"))
        {
            check(&format!("{command} --server {cut}"), 1, "", "error: the answer of http://127.0.0.1:");
        }
        // Each wrong token makes the next try wait for longer, so not for every command.
        check(
            &format!("status --server {url} --token-file {}", wrong.display()),
            1,
            "",
            "error: the token is wrong\n  hint: the file of --token-file",
        );
        check(
            &format!("events --follow --server {url} --token-file {}", wrong.display()),
            1,
            "",
            "error: the token is wrong",
        );
    });
}

#[cfg(unix)]
#[test]
fn a_socket_of_somebody_else_is_told_as_such() {
    use std::os::unix::process::CommandExt as _;
    with_server(None, |state, _| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hale"));
        command.args(["status", "--state"]).arg(state).current_dir("/");
        if rustix::process::geteuid().is_root() {
            // Nobody.
            command.uid(65_534).gid(65_534);
        } else {
            std::fs::set_permissions(
                state.join("hale.sock"),
                std::os::unix::fs::PermissionsExt::from_mode(0o000),
            )
            .unwrap();
        }
        // A build folder that nobody else may enter keeps it from being started.
        let Ok(output) = command.output() else { return };
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = text(&output.stderr);
        assert!(
            error.contains("hale.sock may not be opened") && error.contains("hint: the socket belongs to"),
            "{error}"
        );
    });
}

/// A server with TLS, and files: its certificate, its token.
fn with_tls(names: &[&str], test: impl FnOnce(u16, &str, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("token"), "s3cret\n").unwrap();
    let config = AdminConfig {
        listen: "0.0.0.0:0".parse().ok(),
        token: Some("s3cret".to_owned()),
        tls: Some(hale::config::TlsFiles { cert: path("cert.pem"), key: path("key.pem") }),
        ..AdminConfig::default()
    };
    let (cert, token) = (path("cert.pem").display().to_string(), path("token").display().to_string());
    with_server_of(&config, |_, port| test(port, &cert, &token));
}

#[test]
fn over_tls() {
    with_tls(&["localhost", "127.0.0.1"], |port, cert, token| {
        let (at, by_name) = (format!("https://127.0.0.1:{port}"), format!("https://localhost:{port}/"));
        let trusting = format!("--ca-file {cert} --token-file {token}");
        check(&format!("status --server {at} {trusting}"), 0, "hale 9.9.9, process 4711", "");
        check(&format!("status --server {by_name} {trusting}"), 0, "hale 9.9.9, process 4711", "");
        check(
            &format!("zone export example.test --server {at} {trusting}"),
            0,
            "example.test. 300 IN NS",
            "",
        );
        check(&format!("reload --remove-missing --server {at} {trusting}"), 0, "removed", "warning");
        check(
            &format!("status --server {at} --ca-file {cert}"),
            1,
            "",
            "hint: give the token with --token-file FILE",
        );
        // Whoever is not who is meant is sent nothing.
        let refused = format!("error: the certificate of {at} is not accepted: ");
        check(&format!("status --server {at} --token-file {token}"), 1, "", &refused);
        check(&format!("status --server {at} --token-file {token}"), 1, "", "with --ca-file FILE");
        check(
            &format!("status --server http://127.0.0.1:{port}"),
            1,
            "",
            "hint: a server with admin.tls is asked by https://",
        );
        check(&format!("status --server {at} --ca-file {token}"), 2, "", "holds no certificate");
        check(
            &format!("status --server {at} --ca-file /nonexistent"),
            2,
            "",
            "ca_file /nonexistent: No such file",
        );
        // Whether it lives, a container asks at an address that no certificate has.
        check(&format!("healthcheck --server https://127.0.0.2:{port}"), 0, "alive", "");
        let output = Command::new(env!("CARGO_BIN_EXE_hale"))
            .args(["status", "--json"])
            .envs([("HALE_SERVER", at.as_str()), ("HALE_CA_FILE", cert), ("HALE_TOKEN_FILE", token)])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    });
    with_tls(&["hale.example.net"], |port, cert, _| {
        let line = format!("status --server https://127.0.0.1:{port} --ca-file {cert}");
        check(&line, 1, "", "is not accepted: ");
        check(&line, 1, "", "hale.example.net");
    });
    with_server(None, |_, url| {
        let at = url.replace("http://", "https://");
        check(&format!("status --server {at}"), 1, "", "does not speak TLS");
        check(
            &format!("status --server {at}"),
            1,
            "",
            "hint: without admin.tls a server is asked by http://",
        );
    });
}

#[test]
fn a_token_does_not_go_out_in_the_clear() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // An address of this machine that is not loopback; nothing is sent.
    let own = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Some(own) = own.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback()) else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    with_server(Some("s3cret"), |_, url| {
        let port = url.rsplit(':').next().unwrap();
        let line = format!("status --server http://{own}:{port} --token-file {}", token.display());
        check(
            &line,
            2,
            "",
            &format!("error: the token would go to http://{own}:{port} in the clear\n  hint: use https://"),
        );
        check(
            &format!("healthcheck --server http://{own}:{port} --token-file {}", token.display()),
            0,
            "alive",
            "",
        );
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
