//! Every kind of check against real servers on loopback: nginx, unbound, a gRPC server of Google's library, programs, and the kernel's own
//! echo. What a check says is seen in what the name answers, as its users see it: an address, nothing (NODATA), or SERVFAIL.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use support::client::{Client, Via};
use support::hale::{Hale, Setup};
use support::process::{Running, TempDir, find, free_port, run};
use support::wire::rcode::{NOERROR, SERVFAIL};
use support::wire::{QueryBuilder, rtype};

/// How long anything here may take.
const WAIT: Duration = Duration::from_secs(30);

/// A check, what its owner answers, and, unless empty, words of the reason for it.
struct Case(String, &'static str, &'static str);

fn case(check: impl Into<String>, verdict: &'static str, why: &'static str) -> Case {
    Case(check.into(), verdict, why)
}

/// Starts Hale with an owner for each check, and compares what they answer.
fn judge(folder: &Path, cases: &[Case]) -> Hale {
    let owner = |(i, Case(check, ..)): (usize, &Case)| {
        format!(
            r#""c{i}": {{ "A": {{ "address": "192.0.2.{i}", "probe": "127.0.0.1" }}, "check": {check}, "when_all_down": "none" }}"#
        )
    };
    let owners: Vec<String> = cases.iter().enumerate().map(owner).collect();
    let zone = format!(
        r#"{{ "zone": "checks.test", "nameservers": ["ns.example.net"], "records": {{ {} }} }}"#,
        owners.join(", ")
    );
    let hale = Setup::new("checks").zone("checks.json", &zone);
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            std::fs::copy(&file, hale.folder.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let hale = hale.start();
    let targets = hale.get("/api/v1/targets").1;
    for (i, Case(check, verdict, why)) in cases.iter().enumerate() {
        assert_eq!(answered(&hale, &format!("c{i}.checks.test")), *verdict, "{check}\n{targets}");
        assert!(targets.contains(why), "{check}: {why:?} is not in\n{targets}");
    }
    hale
}

/// `up`, `down` or `unknown` by the answer to a query for A.
fn answered(hale: &Hale, name: &str) -> &'static str {
    let reply = Client::new(hale.address).ask(&QueryBuilder::new(name, rtype::A), Via::Udp).unwrap();
    match (reply.rcode, reply.answers(rtype::A).count()) {
        (NOERROR, 1..) => "up",
        (NOERROR, 0) => "down",
        (SERVFAIL, _) => "unknown",
        other => panic!("{name}: {other:?}"),
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WAIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Certificates of an authority in `ca.pem`: one that is good for long, one for ten days, one that has expired; and one of nobody's.
fn certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let ten_days = Duration::from_secs(10 * 86_400 + 3600);
    for (name, ends) in [
        ("good", date_time_ymd(2100, 1, 1)),
        ("soon", date_time_ymd(1970, 1, 1) + now + ten_days),
        ("expired", date_time_ymd(2020, 2, 1)),
        ("own", date_time_ymd(2100, 1, 1)),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["www.example.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = ends;
        let certificate = match name {
            "own" => params.self_signed(&key).unwrap(),
            _ => params.signed_by(&key, &authority).unwrap(),
        };
        std::fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// nginx with a plain port and one for each certificate, in the order of the names.
fn nginx(folder: &TempDir, names: [&str; 4]) -> Option<(Running, u16, [u16; 4])> {
    let program = find("nginx")?;
    certificates(folder.path());
    let (plain, secure) = (free_port(), [(); 4].map(|()| free_port()));
    let mut servers = format!("server {{ listen 127.0.0.1:{plain}; include locations; }}\n");
    for (name, port) in names.iter().zip(secure) {
        servers += &format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {name}.crt; ssl_certificate_key {name}.key; include locations; }}\n"
        );
    }
    folder.write(
        "locations",
        "location / { return 200 'all is well'; }\nlocation /sick { return 503; }\nlocation /old { return 302 /ok; }\n\
         location /away { return 302 http://elsewhere.test/; }\nlocation /host { return 200 $host; }\n",
    );
    let conf = folder.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid nginx.pid; error_log nginx.error;\nevents {{ worker_connections 64; }}\n\
             http {{ log_format c '$uri $connection'; access_log access.log c; client_body_temp_path t1; proxy_temp_path t2;\n\
             fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n{servers} }}\n"
        ),
    );
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).arg("-c").arg(conf);
    let mut running = Running::start(command, folder.path(), "nginx");
    let is_up = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    running
        .wait_for(WAIT, |_| (is_up(plain) && secure.iter().all(|port| is_up(*port))).then_some(()))
        .unwrap();
    Some((running, plain, secure))
}

#[test]
fn nginx_is_checked_by_http_https_and_tls() {
    let folder = TempDir::new("nginx");
    let Some((_nginx, plain, secure)) = nginx(&folder, ["good", "soon", "expired", "own"]) else { return };
    let [good, soon, expired, own] = secure;
    let http = |path: &str, more: &str| {
        format!(r#"{{ "http": {{ "port": {plain}, "path": "{path}", "host": "www.example.test" {more} }} }}"#)
    };
    let named = r#""host": "www.example.test""#;
    let ca = r#""ca_file": "ca.pem""#;
    let https =
        |port: u16, more: &str| format!(r#"{{ "https": {{ "port": {port}, {named}, {ca} {more} }} }}"#);
    let tls = |port: u16, more: &str| {
        format!(r#"{{ "tls": {{ "port": {port}, "sni": "www.example.test" {more} }} }}"#)
    };
    let with_ca = format!(", {ca}");
    judge(
        folder.path(),
        &[
            case(http("/", ""), "up", ""),
            case(http("/", r#", "body_contains": "well""#), "up", ""),
            case(http("/", r#", "body_not": "well""#), "down", r#"the body contains \"well\""#),
            case(http("/host", r#", "body_contains": "www.example.test""#), "up", ""),
            case(http("/sick", ""), "down", "status 503"),
            case(http("/sick", r#", "status": [503]"#), "up", ""),
            case(http("/old", r#", "status": 200"#), "down", "status 302"),
            case(http("/old", r#", "status": 200, "follow": true"#), "up", ""),
            case(http("/away", r#", "status": 200, "follow": true"#), "down", ""),
            case(https(good, ""), "up", ""),
            case(https(good, r#", "sni": "other.example.test""#), "down", "not valid for name"),
            case(
                https(soon, r#", "warn_expires_within": "21d""#),
                "up",
                "the certificate expires in 10 days",
            ),
            case(https(soon, r#", "fail_expires_within": "21d""#), "down", ""),
            case(https(expired, ""), "down", "expired"),
            case(https(own, ""), "down", "TLS: invalid peer certificate"),
            case(tls(good, &with_ca), "up", ""),
            case(tls(good, r#", "verify": false"#), "up", ""),
            case(tls(expired, &with_ca), "down", ""),
            case(tls(expired, r#", "verify": false"#), "up", ""),
            case(
                tls(expired, r#", "verify": false, "fail_expires_within": "0s""#),
                "down",
                "the certificate expired",
            ),
            case(tls(soon, &(with_ca.clone() + r#", "fail_expires_within": "11d""#)), "down", ""),
            case(tls(soon, &(with_ca + r#", "fail_expires_within": "9d""#)), "up", ""),
            case(tls(own, r#", "verify": false"#), "up", ""),
            case(tls(plain, r#", "verify": false"#), "down", "TLS"),
            // Not the backend's fault.
            case(tls(good, r#", "ca_file": "missing.pem""#), "unknown", "ca_file"),
            case(
                format!(
                    r#"{{ "tcp": {{ "port": {plain}, "send": "GET / HTTP/1.0\r\n\r\n", "expect": "all is well" }} }}"#
                ),
                "up",
                "",
            ),
            case(
                format!(
                    r#"{{ "tcp": {{ "port": {plain}, "send": "GET / HTTP/1.0\r\n\r\n", "expect": "SSH-" }} }}"#
                ),
                "down",
                "did not come",
            ),
        ],
    );
}

#[test]
fn connections_to_nginx_are_kept_only_if_they_shall_be() {
    let folder = TempDir::new("nginx");
    let Some((_nginx, plain, [good, ..])) = nginx(&folder, ["good", "soon", "expired", "own"]) else {
        return;
    };
    let check = |scheme: &str, port: u16, path: &str, more: &str| {
        let keys = format!(r#""port": {port}, "path": "/{path}", "host": "www.example.test" {more}"#);
        case(format!(r#"{{ "{scheme}": {{ {keys} }}, "interval": "100ms" }}"#), "up", "")
    };
    let ca = r#", "ca_file": "ca.pem""#;
    let _hale = judge(
        folder.path(),
        &[
            check("http", plain, "fresh", ""),
            check("http", plain, "kept", r#", "reuse": true"#),
            check("https", good, "fresh-secure", ca),
            check("https", good, "kept-secure", &(ca.to_owned() + r#", "reuse": true"#)),
        ],
    );
    let seen = |path: &str| {
        let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        let lines: Vec<String> = log.lines().map(str::to_owned).collect();
        let all: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix(&format!("/{path} "))).collect();
        (all.len(), all.iter().collect::<HashSet<_>>().len())
    };
    for (path, is_kept) in [("fresh", false), ("kept", true), ("fresh-secure", false), ("kept-secure", true)]
    {
        eventually(path, || seen(path).0 >= 10);
        let (requests, connections) = seen(path);
        assert!(
            if is_kept { connections <= 2 } else { connections == requests },
            "{path}: {connections} connections for {requests} requests"
        );
    }
}

#[test]
fn unbound_is_checked_by_dns() {
    let Some(program) = find("unbound") else { return };
    let (folder, port) = (TempDir::new("unbound"), free_port());
    let conf = folder.write(
        "unbound.conf",
        &format!(
            "server:\n interface: 127.0.0.1\n port: {port}\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n\
             do-daemonize: no\n verbosity: 1\n local-zone: \"example.test.\" static\n local-zone: \"refused.test.\" refuse\n\
             local-data: \"www.example.test. 300 IN A 192.0.2.10\"\n local-data: \"www.example.test. 300 IN A 192.0.2.11\"\n\
             local-data: \"example.test. 300 IN MX 10 mail.example.test.\"\n\
             local-data: 'example.test. 300 IN TXT \"v=spf1 -all\"'\n"
        ),
    );
    let mut command = Command::new(program);
    command.arg("-d").arg("-p").arg("-c").arg(conf);
    let mut running = Running::start(command, folder.path(), "unbound");
    running.wait_for(WAIT, |running| running.output().contains("start of service").then_some(())).unwrap();
    let dns = |keys: &str| format!(r#"{{ "dns": {{ "port": {port}, {keys} }} }}"#);
    judge(
        folder.path(),
        &[
            case(dns(r#""name": "www.example.test""#), "up", ""),
            case(dns(r#""name": "www.example.test", "answer": ["192.0.2.11", "192.0.2.10"]"#), "up", ""),
            case(
                dns(r#""name": "www.example.test", "answer": "192.0.2.12""#),
                "down",
                "192.0.2.12 is not in the answer",
            ),
            case(dns(r#""name": "www.example.test", "answer": "192.0.2.10", "tcp": true"#), "up", ""),
            case(dns(r#""name": "EXAMPLE.test", "type": "MX", "answer": "10 MAIL.example.test.""#), "up", ""),
            case(dns(r#""name": "example.test", "type": "TXT", "answer": "v=spf1 -all""#), "up", ""),
            case(dns(r#""name": "nothing.example.test""#), "down", "response code NXDOMAIN"),
            case(dns(r#""name": "nothing.example.test", "rcode": "NXDOMAIN""#), "up", ""),
            case(dns(r#""name": "a.refused.test""#), "down", "response code REFUSED"),
            case(dns(r#""name": "a.refused.test", "rcode": "REFUSED", "recursion": false"#), "up", ""),
            case(
                format!(r#"{{ "dns": {{ "port": {}, "name": "example.test" }} }}"#, free_port()),
                "down",
                "connection refused",
            ),
        ],
    );
}

/// The health protocol by the library of its inventors; the messages are octets, so that no compiler for them is needed.
const GRPC_SERVER: &str = r#"
import sys
from concurrent import futures
import grpc

def check(request, context):
    service = request[2:].decode()
    if service in ("", "good"):
        return b"\x08\x01"
    if service == "bad":
        return b"\x08\x02"
    context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")

server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
if len(sys.argv) > 1:
    method = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    pair = (open(sys.argv[1] + "/good.key", "rb").read(), open(sys.argv[1] + "/good.crt", "rb").read())
    print("secure", server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair])))
print("plain", server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"#;

/// A gRPC server with a health service if there is a folder with its certificate; its plain port and its secure one.
fn grpc_server(folder: &TempDir, with_service: bool) -> Option<(Running, u16, u16)> {
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        Command::new(python).args(["-c", "import grpc"]).output().is_ok_and(|o| o.status.success())
    });
    let Some(python) = python else {
        assert!(std::env::var_os("HALE_REQUIRE_TOOLS").is_none(), "python3 has no grpc");
        eprintln!("skipped: python3 has no grpc (Debian: python3-grpcio)");
        return None;
    };
    let mut command = Command::new(python);
    command.arg("-u").arg("-c").arg(GRPC_SERVER);
    if with_service {
        command.arg(folder.path());
    }
    let mut running = Running::start(command, folder.path(), if with_service { "grpc" } else { "grpc-bare" });
    let port = |output: &str, kind: &str| {
        output.lines().find_map(|line| line.strip_prefix(kind)?.trim().parse().ok())
    };
    let plain = running.wait_for(WAIT, |running| port(&running.output(), "plain")).unwrap();
    let secure = port(&running.output(), "secure").unwrap_or(0);
    Some((running, plain, secure))
}

#[test]
fn a_grpc_server_is_checked_by_its_health_service() {
    let folder = TempDir::new("grpc");
    certificates(folder.path());
    let Some((_server, plain, secure)) = grpc_server(&folder, true) else { return };
    let Some((_bare, without_service, _)) = grpc_server(&folder, false) else { return };
    let grpc =
        |port: u16, keys: &str| format!(r#"{{ "grpc": {{ "port": {port} {keys} }}, "interval": "200ms" }}"#);
    let tls = r#", "tls": true, "ca_file": "ca.pem", "sni": "www.example.test""#;
    let hale = judge(
        folder.path(),
        &[
            case(grpc(plain, ""), "up", ""),
            case(grpc(plain, r#", "service": "good", "reuse": true"#), "up", ""),
            case(grpc(plain, r#", "service": "bad""#), "down", "not serving"),
            case(grpc(plain, r#", "service": "other""#), "down", "does not know the service"),
            case(grpc(without_service, ""), "down", "has no health service"),
            case(grpc(secure, tls), "up", ""),
            case(grpc(secure, &format!(r#"{tls}, "service": "bad", "reuse": true"#)), "down", ""),
            case(grpc(secure, ""), "down", ""),
            case(grpc(plain, r#", "tls": true, "verify": false"#), "down", "TLS"),
        ],
    );
    // Some more probes over kept connections change nothing.
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!((answered(&hale, "c1.checks.test"), answered(&hale, "c6.checks.test")), ("up", "down"));
}

#[test]
fn programs_are_run_without_a_shell() {
    let folder = TempDir::new("exec");
    let script = folder.write(
        "check.sh",
        "#!/bin/sh\n[ \"$1\" = '$HOME;*' ] || { echo \"argument: $1\"; exit 9; }\n\
         [ \"$HALE_ADDRESS $HALE_PORT $HALE_NAME $WORD\" = \"127.0.0.1 5432 $2 mine\" ] || { env; exit 8; }\necho fine\n",
    );
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let exec = |name: &str, owner: &str| {
        format!(
            r#"{{ "exec": {{ "argv": ["{name}", "$HOME;*", "{owner}"], "port": 5432, "env": {{ "WORD": "mine" }} }} }}"#
        )
    };
    let started = Instant::now();
    let mut hale = judge(
        folder.path(),
        &[
            case(exec("./check.sh", "c0.checks.test"), "up", ""),
            case(exec("./check.sh", "other.checks.test"), "down", "exit code 8"),
            case(r#"{ "exec": ["true"] }"#, "up", ""),
            case(
                r#"{ "exec": ["sh", "-c", "echo the disk is full; exit 2"] }"#,
                "down",
                "exit code 2: the disk is full",
            ),
            case(exec("./missing.sh", "x"), "unknown", "cannot be started: No such file"),
            case(r#"{ "exec": ["sleep", "4321"], "timeout": "500ms" }"#, "down", "timed out"),
            case(r#"{ "exec": ["sh", "-c", "kill -SEGV $$"] }"#, "unknown", "killed by signal 11"),
        ],
    );
    assert!(started.elapsed() < WAIT);
    // Nothing is left when the server has gone, even while a program runs.
    assert!(hale.terminate().is_some_and(|status| status.success()));
    let left = run(Command::new("ps").args(["-eo", "args"]), WAIT).stdout;
    assert!(!left.lines().any(|line| line == "sleep 4321"), "{left}");
}

#[test]
fn verdicts_are_pushed_over_the_socket() {
    let zone = r#"{ "zone": "checks.test", "nameservers": ["ns.example.net"], "records": {
        "www": { "A": ["192.0.2.1", "192.0.2.2"], "check": { "external": { "id": "{name}:{address}", "ttl": "2s" } }, "when_all_down": "none" },
        "api": { "A": "192.0.2.3", "check": { "name": "www.checks.test" }, "when_all_down": "none" },
        "open": { "A": "192.0.2.4", "check": { "external": { "id": "open", "ttl": "1h", "expired": "up" } }, "when_all_down": "none" } } }"#;
    let hale = Setup::new("external").zone("checks.json", zone).start();
    let push = |hale: &Hale, id: &str, verdict: &str| {
        let mut socket = UnixStream::connect(hale.folder().join("state/hale.sock")).unwrap();
        let body = format!(r#"{{"verdict": "{verdict}", "reason": "as told"}}"#);
        let length = body.len();
        write!(
            socket,
            "POST /api/v1/external/{id} HTTP/1.1\r\nHost: hale\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let all = |hale: &Hale| ["www", "api", "open"].map(|name| answered(hale, &format!("{name}.checks.test")));
    let soon = |hale: &Hale, wanted: [&str; 3]| {
        eventually(&format!("{wanted:?}, and not {:?}", all(hale)), || all(hale) == wanted);
    };
    assert_eq!(all(&hale), ["unknown", "unknown", "up"]);
    assert_eq!(push(&hale, "www.checks.test:192.0.2.1", "up"), "200");
    soon(&hale, ["up", "up", "up"]);
    assert_eq!(push(&hale, "nobody", "up"), "404");
    assert_eq!(push(&hale, "www.checks.test:192.0.2.1", "down"), "200");
    assert_eq!(push(&hale, "www.checks.test:192.0.2.2", "down"), "200");
    assert_eq!(push(&hale, "open", "down"), "200");
    soon(&hale, ["down", "down", "down"]);
    assert!(hale.get("/api/v1/targets").1.contains("as told"));
    // Without news two of them are unknown again; who follows keeps the last verdict.
    soon(&hale, ["unknown", "down", "down"]);
    // A verdict outlives a restart for what is left of its time.
    let hale = hale.restart();
    assert_eq!(all(&hale)[2], "down");
    assert_eq!(push(&hale, "open", "unknown"), "200");
    soon(&hale, ["unknown", "unknown", "up"]);
}

/// Set for the test below when it runs in a network of its own.
const IN_NAMESPACE: &str = "HALE_TEST_IN_NAMESPACE";

#[test]
fn the_kernel_answers_pings_where_it_may_be_asked() {
    let hint = "net.ipv4.ping_group_range";
    let echo = |keys: &str| format!(r#"{{ "icmp": {keys} }}"#);
    let folder = TempDir::new("icmp");
    if std::env::var_os(IN_NAMESPACE).is_some() {
        judge(folder.path(), &[case(echo("true"), "up", ""), case(echo(r#"{ "size": 1472 }"#), "up", "")]);
        let zone = r#"{ "zone": "checks.test", "nameservers": ["ns.example.net"], "records": {
            "six": { "AAAA": "::1", "check": { "icmp": true }, "when_all_down": "none" },
            "far": { "A": "198.51.100.1", "check": { "icmp": true }, "when_all_down": "none" } } }"#;
        let hale = Setup::new("icmp").zone("checks.json", zone).start();
        let six = Client::new(hale.address)
            .ask(&QueryBuilder::new("six.checks.test", rtype::AAAA), Via::Udp)
            .unwrap();
        assert_eq!((six.rcode, six.answers(rtype::AAAA).count()), (NOERROR, 1), "IPv6");
        assert_eq!(answered(&hale, "far.checks.test"), "unknown", "no route is our own trouble");
        return;
    }
    // Here, with whatever the system allows: up, or not a word against the target.
    let allowed = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    if allowed.split_whitespace().eq(["1", "0"]) {
        judge(folder.path(), &[case(echo("{}"), "unknown", hint)]);
    }
    // And in a network of its own where it is allowed.
    let (Some(unshare), Some(_ip)) = (find("unshare"), find("ip")) else { return };
    let set_up = "echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range && ip link set lo up && exec \"$0\" --exact \
                  the_kernel_answers_pings_where_it_may_be_asked --nocapture";
    let mut command = Command::new(&unshare);
    command.args(["-n", "sh", "-c", set_up]).arg(std::env::current_exe().unwrap()).env(IN_NAMESPACE, "1");
    if !Command::new(&unshare).args(["-n", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no network namespaces for this user");
        return;
    }
    let done = run(&mut command, Duration::from_secs(60));
    assert!(done.status.success() && done.stdout.contains("1 passed"), "{done:?}");
}
