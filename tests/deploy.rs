//! What stands in deploy/: the chart renders to what is recorded (with helm), manifests hold to the API server (with one), roles
//! to docs/kubernetes.md, units to systemd, and every zone and hale.json in there is without fault.
//!
//! `HALE_BLESS=1` records the rendered chart anew; `KUBE_APISERVER_BIN` and `ETCD_BIN` name a real API server, `HALE_CRDS` a folder of
//! definitions of custom resources (Traefik, the Gateway API, the Prometheus operator) that it is given first.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::hale::PROGRAM;
use support::process::{TempDir, find, run};

const VALUES: [&str; 3] = ["least", "all", "several"];

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tree(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A tool that CI does not have to have, whatever HALE_REQUIRE_TOOLS says: Debian does not package it.
fn unpackaged(program: &str) -> Option<PathBuf> {
    let named = std::env::var_os(format!("HALE_{}", program.to_uppercase())).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
    });
    if found.is_none() {
        eprintln!("skipped: {program} not found");
    }
    found
}

/// `helm template` of the chart with these values and settings: its output, or what it says against it.
fn render(helm: &Path, values: &str, settings: &[&str]) -> Result<String, String> {
    let mut command = Command::new(helm);
    command.args(["template", "hale", "deploy/helm/hale", "--namespace", "dns", "--kube-version", "1.35.0"]);
    command.arg("--values").arg(format!("tests/fixtures/helm/{values}.values.yaml"));
    for setting in settings {
        command.args(["--set-json", setting]);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let done = run(&mut command, Duration::from_secs(60));
    if done.status.success() { Ok(done.stdout) } else { Err(done.stderr) }
}

#[test]
fn the_chart_renders_to_what_is_recorded() {
    let Some(helm) = unpackaged("helm") else { return };
    for values in VALUES {
        let rendered = render(&helm, values, &[]).unwrap();
        let golden = format!("tests/fixtures/helm/{values}.yaml");
        if std::env::var_os("HALE_BLESS").is_some() {
            std::fs::write(tree(&golden), &rendered).unwrap();
        }
        assert_eq!(rendered, read(&golden), "{golden}: HALE_BLESS=1 records it anew");
    }
}

#[test]
fn the_chart_refuses_what_cannot_work() {
    let Some(helm) = unpackaged("helm") else { return };
    let check = |values: &str, settings: &[&str], expected: &str| {
        let error = render(&helm, values, settings).expect_err(expected);
        assert!(error.contains(expected), "{settings:?}: {error}");
    };
    check("least", &["zones={}"], "a server without a zone does not start");
    check("least", &[r#"config={"listen": ["0.0.0.0:53"]}"#], "config.listen is set by the chart");
    check("least", &[r#"existingZones="more""#], "not both");
    check("several", &[r#"config={"update": [{}]}"#], "config.update needs replicas: 1");
    check("several", &[r#"config={"transfer": [{}]}"#], "config.transfer needs replicas: 1");
    let auto =
        r#"zones={"a.test": {"zone": "a.test", "nameservers": ["ns.b.test"], "dnssec": {"keys": "auto"}}}"#;
    check("several", &[auto], "\"auto\" need replicas: 1");
    check("least", &[r#"config={"watch": false}"#], "config.watch is set by the chart");
    for way in ["ingress", "ingressRoute", "httpRoute"] {
        let on = format!(r#"{way}={{"enabled": true, "host": "a.test"}}"#);
        check("least", &[&on], "needs admin.existingSecret");
        check(
            "all",
            &[&format!(r#"{way}={{"enabled": true, "host": ""}}"#)],
            &format!("{way}.host is missing"),
        );
    }
    check(
        "all",
        &[r#"httpRoute={"enabled": true, "host": "a.test", "parentRefs": []}"#],
        "httpRoute.parentRefs is missing",
    );
}

#[test]
fn values_that_are_none_are_refused_where_they_stand() {
    let Some(helm) = unpackaged("helm") else { return };
    for (setting, place) in [
        ("replica=1", "'replica'"),
        ("replicas=0", "/replicas"),
        ("containerPort=8080", "/containerPort"),
        // No capability is left in the container.
        ("containerPort=53", "/containerPort"),
        (r#"bindAddress="127.0.0.1""#, "/bindAddress"),
        (r#"service={"externalTrafficPolicy": "local"}"#, "/service/externalTrafficPolicy"),
        (r#"image={"pullPolicy": "always"}"#, "/image/pullPolicy"),
        (r#"admin={"token": "secret"}"#, "'token'"),
        (r#"keys=[{"zone": "a.test"}]"#, "/keys/0"),
        (r#"zones={"../a": {"zone": "a.test", "nameservers": ["ns.b.test"]}}"#, "'../a'"),
        (r#"zones={"a.test": {"zone": "a.test"}}"#, "/zones/a.test"),
        (r#"config={"sources": "own"}"#, "/config/sources"),
        (r#"config={"sources": [{"kubernetes": {"in_cluster": true}}]}"#, "/config/sources/0"),
        (r#"config={"sources": [{"name": "a", "kubernetes": {"namespaces": "b"}}]}"#, "/namespaces"),
        (r#"config={"sources": [{"name": "a", "kubernetes": {"resources": ["pods"]}}]}"#, "/resources"),
        (r#"persistence={"size": "big"}"#, "/persistence/size"),
        // A volume that two pods write: the state directory has one server.
        (r#"persistence={"accessModes": ["ReadWriteMany"]}"#, "/persistence/accessModes/0"),
        (r#"podDisruptionBudget={"maxUnavailable": 0}"#, "/podDisruptionBudget/maxUnavailable"),
        (r#"serviceMonitor={"interval": 30}"#, "/serviceMonitor/interval"),
        (r#"httpRoute={"enabled": "yes"}"#, "/httpRoute/enabled"),
        (r#"resources={"limits": 5}"#, "/resources/limits"),
        (r#"extraEnv={"A": "b"}"#, "/extraEnv"),
    ] {
        let error = render(&helm, "least", &[setting]).expect_err(setting);
        assert!(error.contains("meet the specifications") && error.contains(place), "{setting}: {error}");
    }
    // What only looks like a refusal's cause is taken.
    for (values, setting) in [
        ("several", r#"zones={"a.test": {"zone": "a.test", "nameservers": "ns.b.test", "dnssec": "off"}}"#),
        (
            "least",
            r#"config={"sources": [{"name": "a", "kubernetes": {"in_cluster": true, "resources": "ingress"}}]}"#,
        ),
    ] {
        render(&helm, values, &[setting]).unwrap();
    }
}

#[test]
fn manifests_hold_to_a_real_api_server() {
    let (Ok(etcd), Ok(apiserver)) = (std::env::var("ETCD_BIN"), std::env::var("KUBE_APISERVER_BIN")) else {
        eprintln!("skipped: ETCD_BIN and KUBE_APISERVER_BIN name no API server");
        return;
    };
    let folder = TempDir::new("manifests");
    let mut command = Command::new("python3");
    command.arg(tree("tests/support/kubernetes_dry_run.py"));
    let crds = std::env::var_os("HALE_CRDS");
    if let Some(folder) = &crds {
        command.arg("--crds").arg(folder);
    }
    command.args([etcd, apiserver]);
    command.args(VALUES.map(|values| tree(&format!("tests/fixtures/helm/{values}.yaml"))));
    if let Some(kustomize) = unpackaged("kustomize") {
        let mut build = Command::new(kustomize);
        let done = run(build.arg("build").arg(tree("deploy/kustomize")), Duration::from_secs(60));
        assert!(done.status.success(), "{done:?}");
        command.arg(folder.write("kustomize.yaml", &done.stdout));
    }
    let done = run(&mut command, Duration::from_secs(240));
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.matches("accepted: ").count() > 20, "{done:?}");
    assert!(crds.is_none() || !done.stdout.contains("not checked: "), "{done:?}");
}

/// The rules of the first ClusterRole of a text, one a line as `groups | resources | verbs`, sorted.
fn rules(text: &str) -> Vec<String> {
    let role = &text[text.find("kind: ClusterRole\n").expect("a ClusterRole")..];
    let role = &role[role.find("rules:").unwrap()..];
    let role = role.split("\n---").next().unwrap();
    let list = |rule: &str, key: &str| {
        let rest = &rule[rule.find(key).unwrap_or_else(|| panic!("{key} in {rule}")) + key.len()..];
        rest[rest.find('[').unwrap() + 1..rest.find(']').unwrap()].replace('"', "")
    };
    let mut rules: Vec<String> = role
        .split("apiGroups:")
        .skip(1)
        .map(|rule| {
            let groups = rule[rule.find('[').unwrap() + 1..rule.find(']').unwrap()].replace('"', "");
            format!("{groups} | {} | {}", list(rule, "resources:"), list(rule, "verbs:"))
        })
        .collect();
    rules.sort();
    rules
}

#[test]
fn roles_are_the_least_one_of_the_docs() {
    let docs = read("docs/kubernetes.md");
    let docs = &docs[docs.find("```yaml\n").unwrap()..];
    let least = rules(&docs[..docs[8..].find("```").unwrap() + 8]);
    assert_eq!(least.len(), 9, "{least:#?}");
    assert_eq!(rules(&read("deploy/kustomize/rbac.yaml")), least);
    assert_eq!(rules(&read("tests/fixtures/helm/all.yaml")), least);
}

/// The text of a block scalar (`key: |`) in YAML that is indented by so much.
fn block(yaml: &str, key: &str) -> String {
    let start = yaml.find(&format!("  {key}: |\n")).unwrap_or_else(|| panic!("{key}"));
    let lines = yaml[start..].lines().skip(1).take_while(|line| line.starts_with("    "));
    lines.map(|line| format!("{}\n", &line[4..])).collect()
}

/// `hale check` of a configuration with zones, whose paths in the container are those below `folder`.
fn check_configuration(folder: &TempDir, config: &str, zones: &[(&str, String)]) {
    let place = |path: &str| folder.path().join(path).display().to_string();
    for (name, zone) in zones {
        folder.write(&format!("zones/{name}"), &zone.replace("/etc/hale/keys", &place("keys")));
    }
    let config = config.replace("/etc/hale/zones", &place("zones")).replace("/var/lib/hale", &place("state"));
    let config = config.replace("/run/secrets/hale", &place("secrets"));
    folder.write("secrets/token", "0123456789abcdef0123456789abcdef");
    std::fs::create_dir_all(folder.path().join("state")).unwrap();
    let config = folder.write("hale.json", &config);
    // As in a pod.
    let mut command = Command::new(PROGRAM);
    command.args(["check", "--config"]).arg(config).env("KUBERNETES_SERVICE_HOST", "192.0.2.1");
    let done = run(&mut command, Duration::from_secs(20));
    assert!(done.status.success() && !done.stderr.contains("error"), "{done:#?}");
}

#[test]
fn configurations_are_without_fault() {
    for place in ["deploy/compose/alone/config", "deploy/compose/traefik/config", "deploy/kustomize"] {
        let folder = TempDir::new("configuration");
        let zones =
            if place.ends_with("config") { format!("{place}/../zones") } else { format!("{place}/zones") };
        let zone = read(&format!("{zones}/example.test.json"));
        check_configuration(&folder, &read(&format!("{place}/hale.json")), &[("example.test.json", zone)]);
    }
    for values in VALUES {
        let golden = read(&format!("tests/fixtures/helm/{values}.yaml"));
        let folder = TempDir::new("configuration");
        let keys = folder.path().join("keys");
        let mut generate = Command::new(PROGRAM);
        generate.args(["keys", "generate", "example.test", "--keys"]).arg(&keys);
        assert!(run(&mut generate, Duration::from_secs(20)).status.success());
        let zone = block(&golden, "example.test.json");
        check_configuration(&folder, &block(&golden, "hale.json"), &[("example.test.json", zone)]);
    }
}

#[test]
fn pods_have_no_right_that_they_do_not_need() {
    let statefulsets = VALUES.map(|values| format!("tests/fixtures/helm/{values}.yaml"));
    for path in statefulsets.iter().map(String::as_str).chain(["deploy/kustomize/statefulset.yaml"]) {
        let text = read(path);
        for wanted in [
            "enableServiceLinks: false",
            "runAsNonRoot: true",
            "runAsUser: 65532",
            "allowPrivilegeEscalation: false",
            "readOnlyRootFilesystem: true",
            "capabilities: { drop: [ALL] }",
            "seccompProfile: { type: RuntimeDefault }",
            "containerPort: 5353, protocol: UDP",
        ] {
            assert!(text.contains(wanted), "{path}: {wanted}");
        }
    }
    let golden = |values: &str| read(&format!("tests/fixtures/helm/{values}.yaml"));
    assert!(
        !golden("least").contains("PodDisruptionBudget") && golden("several").contains("PodDisruptionBudget")
    );
    for optional in ["NetworkPolicy", "ServiceMonitor", "Ingress", "HTTPRoute", "Role"] {
        let kind = format!("kind: {optional}\n");
        assert!(!golden("least").contains(&kind) && golden("all").contains(&kind), "{optional}");
    }
}

#[test]
fn systemd_takes_the_units() {
    let Some(analyze) = find("systemd-analyze") else { return };
    let folder = TempDir::new("units");
    let unit = read("deploy/systemd/hale.service").replace("/usr/bin/hale", PROGRAM);
    // No manual page is installed where tests run.
    let service = folder.write("hale.service", &unit.replace("Documentation=man:hale(1)\n", ""));
    let socket = folder.write("hale.socket", &read("deploy/systemd/hale.socket"));
    let done = run(Command::new(&analyze).arg("verify").args([&service, &socket]), Duration::from_secs(60));
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let mut security = Command::new(&analyze);
    security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(&service);
    let done = run(&mut security, Duration::from_secs(60));
    assert!(done.status.success(), "more exposed than 2.0 of 10: {done:?}");
}
