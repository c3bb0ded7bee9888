//! /metrics as Prometheus sees it: the page in promtool's and Prometheus' own eyes, the page against its docs, and the dashboard and the
//! alerts of deploy/ against the page.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use support::client::{Client, Via};
use support::hale::{Hale, Setup, http_get};
use support::process::{Running, TempDir, find, free_port, loopback, run};
use support::traefik::Api;
use support::wire::{QueryBuilder, rtype};

const ZONE: &str = r#"{ "zone": "example.test", "nameservers": ["ns1.example.net"], "dnssec": { "keys": "auto" },
    "records": { "www": { "A": ["127.0.0.1"], "check": { "tcp": 9, "interval": "1s", "timeout": "500ms" } } } }"#;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A server with one of everything that has series of its own; its query log is in `folder`.
fn hale(folder: &TempDir) -> Hale {
    let log = folder.path().join("queries.jsonl");
    let api = Api::start(&["app"]);
    let config = format!(
        r#"{{ "metrics": {{ "targets": true }}, "query_log": {{ "json": {{ "file": "{}" }} }}, "limits": {{ "rrl": {{}} }},
            "sources": [ {{ "name": "edge", "traefik": {{ "url": "http://{}" }}, "default_targets": ["192.0.2.40"], "zones": ["example.test"],
                            "check": "none", "poll": "1s" }} ] }}"#,
        log.display(),
        api.address
    );
    Setup::new("prometheus").zone("zone.json", ZONE).config(&config).start()
}

/// Has clients ask a server, by UDP and TCP, for what there is and what there is not, until dropped.
struct Asking(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Asking {
    fn start(server: SocketAddr) -> Asking {
        let ended = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&ended);
        let ask = move || {
            let mut client = Client::new(server);
            while !shared.load(Ordering::Relaxed) {
                for (name, via) in [("www", Via::Udp), ("www", Via::Tcp), ("missing", Via::Udp)] {
                    let query = QueryBuilder::new(&format!("{name}.example.test"), rtype::A);
                    client.ask(&query, via).unwrap();
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        Asking(ended, Some(std::thread::spawn(ask)))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        // What it panicked with would hide what the test found.
        let _ = self.1.take().map(JoinHandle::join);
    }
}

/// The families of a page: name and type.
fn families(page: &str) -> BTreeSet<(String, String)> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Every name that a series of the page may have.
fn series(page: &str) -> BTreeSet<String> {
    let names = families(page).into_iter().flat_map(|(name, kind)| match kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
        _ => vec![name],
    });
    names.chain(["up".to_owned()]).collect()
}

/// Panels that are empty for this server, which is well and has nobody to complain about.
const ONLY_IN_TROUBLE: [&str; 2] = ["Trouble of sources", "annotation"];

/// The names of metrics in an expression: words that are neither functions, keywords nor within braces or quotes.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let mut outside = String::new();
    let mut depth = 0;
    for c in expression.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("hale_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_is_what_promtool_and_the_docs_say() {
    let folder = TempDir::new("prometheus-page");
    let hale = hale(&folder);
    let (status, page) = hale.get("/metrics");
    assert_eq!(status, 200);
    let docs = std::fs::read_to_string(file("docs/metrics.md")).unwrap();
    let listed: BTreeSet<(String, String)> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap().to_owned()))
        .collect();
    let families = families(&page);
    assert!(families.len() > 60, "{page}");
    assert_eq!(families, listed, "docs/metrics.md lists what the page has, and nothing else");
    let Some(promtool) = find("promtool") else { return };
    let mut command = Command::new(promtool);
    let input = folder.write("page", &page);
    command.args(["check", "metrics"]).stdin(Stdio::from(std::fs::File::open(input).unwrap()));
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.trim().is_empty(), "{said}");
}

/// The expressions of the alerts, with their names.
fn alerts() -> Vec<(String, String)> {
    let rules = std::fs::read_to_string(file("deploy/prometheus/hale.rules.yml")).unwrap();
    let value = |line: &str, key: &str| Some(line.trim().strip_prefix(key)?.trim().to_owned());
    let names = rules.lines().filter_map(|line| value(line, "- alert:"));
    let expressions = rules
        .lines()
        .filter_map(|line| value(line, "expr:"))
        .map(|e| e.trim_matches('\'').replace("''", "'"));
    let both: Vec<(String, String)> = names.zip(expressions).collect();
    assert!(both.len() > 10 && both.len() == rules.matches("- alert:").count());
    both
}

/// The expressions of the dashboard, with the titles of their panels.
fn panels() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file("deploy/grafana/hale.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().into_iter().flatten();
        all.extend(targets.map(|target| (title.clone(), target["expr"].as_str().unwrap().to_owned())));
    }
    let reloads = &dashboard["annotations"]["list"][0];
    all.push(("annotation".to_owned(), reloads["expr"].as_str().unwrap().to_owned()));
    for variable in &dashboard["templating"]["list"].as_array().unwrap()[1..] {
        let query = variable["query"]["query"].as_str().unwrap();
        all.push((variable["name"].as_str().unwrap().to_owned(), query.to_owned()));
    }
    assert!(all.len() > 30);
    all
}

#[test]
fn dashboard_and_alerts_name_only_what_there_is() {
    let folder = TempDir::new("prometheus-names");
    let series = series(&hale(&folder).get("/metrics").1);
    for (what, expression) in alerts().into_iter().chain(panels()) {
        for metric in metrics_of(&expression) {
            assert!(series.contains(&metric), "{what}: {metric}");
        }
    }
    assert_eq!(
        metrics_of(r#"sum by (job) (rate(hale_a{x="hale_b"}[5m])) / process_c > 1"#),
        ["hale_a", "process_c"].map(str::to_owned).into()
    );
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    let Some(promtool) = find("promtool") else { return };
    for arguments in [["check", "rules", "hale.rules.yml"], ["test", "rules", "hale_test.yml"]] {
        let mut command = Command::new(&promtool);
        let done =
            run(command.args(arguments).current_dir(file("deploy/prometheus")), Duration::from_secs(60));
        assert!(done.status.success(), "{done:?}");
    }
}

/// A test of alerts: the metrics of which it has series, and each alert that it asks for with whether it fires.
type AlertTest = (BTreeSet<String>, Vec<(String, bool)>);

/// The tests of the alerts, one for each set of series.
fn alert_tests() -> Vec<AlertTest> {
    let text = std::fs::read_to_string(file("deploy/prometheus/hale_test.yml")).unwrap();
    let test = |text: &str| {
        let series = text.lines().filter_map(|line| line.trim().strip_prefix("- series: '"));
        let metrics = series.map(|series| series.split('{').next().unwrap().to_owned()).collect();
        let asked = text.split("alertname: ").skip(1).map(|asked| {
            let name = asked.lines().next().unwrap().to_owned();
            (name, asked.contains("exp_labels:") && !asked.contains("exp_alerts: []"))
        });
        (metrics, asked.collect())
    };
    text.split("\n  - interval: ").skip(1).map(test).collect()
}

#[test]
fn every_alert_has_a_test_that_fires_and_one_that_does_not() {
    let tests = alert_tests();
    for (alert, expression) in alerts() {
        for fires in [true, false] {
            // Without series of what it looks at an alert is silent for the wrong reason.
            let tested = tests.iter().any(|(series, asked)| {
                let mut words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                asked.contains(&(alert.clone(), fires)) && words.any(|word| series.contains(word))
            });
            assert!(tested, "{alert} has no test in hale_test.yml in which it fires: {fires}");
        }
    }
    let names: BTreeSet<_> = alerts().into_iter().map(|(name, _)| name).collect();
    for (name, _) in tests.iter().flat_map(|(_, asked)| asked) {
        assert!(names.contains(name), "{name} is tested and is no alert");
    }
}

/// An API call of Prometheus that must succeed; `query` is encoded here.
fn api(port: u16, path: &str, query: &str) -> Value {
    let encoded: String = query.bytes().map(|octet| format!("%{octet:02x}")).collect();
    let path = if query.is_empty() { path.to_owned() } else { format!("{path}?query={encoded}") };
    let (status, body) = http_get(loopback(port), &path);
    let body = &body[body.find('{').unwrap_or(0)..=body.rfind('}').unwrap_or(0)];
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
    assert_eq!((status, answer["status"].as_str()), (200, Some("success")), "{query}: {answer}");
    answer["data"].clone()
}

#[test]
fn a_real_prometheus_scrapes_it_and_evaluates_everything() {
    let Some(prometheus) = find("prometheus") else { return };
    let folder = TempDir::new("prometheus");
    let hale = hale(&folder);
    hale.operate("override set name:www.example.test up --for 1h --reason metrics");
    let _asking = Asking::start(hale.address);
    let port = free_port();
    let config = format!(
        "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{}']\nscrape_configs:\n  - job_name: hale\n    static_configs:\n      - targets: ['{}']\n",
        file("deploy/prometheus/hale.rules.yml").display(),
        hale.admin
    );
    let config = folder.write("prometheus.yml", &config);
    let mut command = Command::new(prometheus);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.config.file=");
    let mut running = Running::start(command, folder.path(), "prometheus");
    let scraped = running.wait_for(Duration::from_secs(60), |_| {
        std::net::TcpStream::connect(loopback(port)).ok()?;
        let (status, _) = http_get(loopback(port), "/-/ready");
        if status != 200 {
            return None;
        }
        let up = api(
            port,
            "/api/v1/query",
            "min_over_time(up{job=\"hale\"}[10s]) and count_over_time(up[10s]) > 3",
        );
        up["result"][0]["value"][1].as_str().map(str::to_owned)
    });
    assert_eq!(scraped.unwrap(), "1", "up since the first scrape");
    let targets = api(port, "/api/v1/targets", "");
    let target = &targets["activeTargets"][0];
    assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");
    // What the parser would have refused or dropped it has told.
    for dropped in ["scrape_samples_scraped - scrape_samples_post_metric_relabeling", "1 - up"] {
        assert_eq!(api(port, "/api/v1/query", dropped)["result"][0]["value"][1], "0", "{dropped}");
    }
    for (what, expression) in alerts() {
        assert_eq!(api(port, "/api/v1/query", &expression)["resultType"], "vector", "{what}");
    }
    for (what, expression) in panels().into_iter().filter(|(_, e)| !e.starts_with("label_values")) {
        let filled = expression.replace("$__rate_interval", "1m");
        let filled =
            ["$job", "$instance", "$zone"].iter().fold(filled, |text, name| text.replace(name, ".*"));
        let count = || {
            let answer = api(port, "/api/v1/query", &filled);
            assert_eq!(answer["resultType"], "vector", "{what}: {filled}");
            answer["result"].as_array().unwrap().len()
        };
        // What the server has just begun to count fills a rate with its second scrape.
        let found = running.wait_for(Duration::from_secs(20), |_| {
            (count() > 0 || ONLY_IN_TROUBLE.contains(&what.as_str())).then_some(())
        });
        assert!(found.is_ok(), "{what} shows nothing: {filled}");
    }
    // The rules are evaluated by Prometheus itself, too.
    let rules = api(port, "/api/v1/rules", "");
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
}
