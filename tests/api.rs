//! The admin API of a running server: its answers are what its OpenAPI document says, a zone is seen as configured and as served, and a
//! backup that is taken while targets flip comes back elsewhere.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;

use support::backends::Backends;
use support::hale::{Hale, Setup, hale_run};

fn setup(name: &str, backends: &Backends) -> Setup {
    let port = backends.address.port();
    let endpoint = |octet: u8, number: u8| {
        format!(
            r#"{{ "address": "192.0.2.{octet}", "probe": "127.0.0.1:{port}", "check": {{ "http": {{ "path": "/{number}" }}, "interval": "100ms", "rise": 1, "fall": 1 }} }}"#
        )
    };
    let json = format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns1.example.test"], "dnssec": {{ "keys": "auto" }},
             "records": {{ "ns1": {{ "A": ["192.0.2.53"] }}, "www": {{ "A": [{}, {}] }}, "alias": {{ "CNAME": "www" }} }} }}"#,
        endpoint(1, 0),
        endpoint(2, 1),
    );
    Setup::new(name).zone("zone.json", &json)
}

fn get(hale: &Hale, path: &str) -> Value {
    let (status, body) = hale.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&plain(&body)).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// A body without its chunks (RFC 9112 §7.1): the answers here are JSON on one line.
fn plain(body: &str) -> String {
    if body.starts_with(['{', '[']) {
        return body.to_owned();
    }
    body.split("\r\n").skip(1).step_by(2).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn operate(hale: &Hale, line: &str) -> String {
    let socket = format!("unix:{}/state/hale.sock", hale.folder().display());
    let done = hale_run(line.split(' ').chain(["--server", &socket]));
    assert!(done.status.success(), "hale {line}: {done:?}");
    done.stdout
}

/// As much of JSON Schema as the document uses. What an answer has and its schema does not is an error, too: the document would be
/// incomplete.
struct Document(Value);

impl Document {
    fn check(&self, schema: &Value, value: &Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            let found = self.0.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            return self.check(found, value, at);
        }
        if let Some(any) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let fits = |one: &Value| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.check(one, value, at))).is_ok()
            };
            assert!(any.iter().any(fits), "{at}: {value} is none of {schema}");
            return;
        }
        if let Some(words) = schema["enum"].as_array() {
            return assert!(words.contains(value), "{at}: {value} is none of {words:?}");
        }
        if let Some(word) = schema.get("const") {
            return assert_eq!(word, value, "{at}");
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        match &schema["type"] {
            Value::String(word) => assert!(word == kind, "{at}: {value} is no {word}"),
            Value::Array(words) => {
                assert!(words.iter().any(|word| word == kind), "{at}: {value} is none of {words:?}");
            }
            _ => return,
        }
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{at}[{i}]"));
        }
        let Some(object) = value.as_object() else { return };
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(
                object.contains_key(required.as_str().unwrap()),
                "{at}: {required} is missing in {value}"
            );
        }
        let Some(properties) = schema["properties"].as_object() else { return };
        for (key, item) in object {
            let property = properties.get(key).unwrap_or_else(|| panic!("{at}.{key} is not documented"));
            self.check(property, item, &format!("{at}.{key}"));
        }
    }
}

#[test]
fn answers_are_what_the_document_says() {
    let backends = Backends::start(2);
    let hale = setup("api-document", &backends).start();
    operate(&hale, "override set address:192.0.2.1 down --for 1h --reason audit");
    operate(&hale, "override hide gone.example.test --for 1h --reason audit");
    backends.set(1, false);
    until("the flip is told", || get(&hale, "/api/v1/events/recent").to_string().contains("target-flip"));
    let document = Document(get(&hale, "/api/v1/openapi.json"));
    assert_eq!(document.0["openapi"], "3.1.0");
    let mut checked = 0;
    for (path, operations) in document.0["paths"].as_object().unwrap() {
        let Some(content) = operations["get"]["responses"]["200"]["content"].as_object() else { continue };
        let Some(schema) = content.get("application/json") else { continue };
        let path = path.replace("{zone}", "example.test").replace("{id}", "0");
        let query = match path.rsplit('/').next().unwrap() {
            "explain" => "?name=alias.example.test",
            "test-dns" => "?hostname=alias.example.test",
            "records" => "?view=configured",
            _ => "",
        };
        let answer = get(&hale, &format!("{path}{query}"));
        document.check(&schema["schema"], &answer, &path);
        checked += 1;
    }
    assert!(checked >= 12, "{checked}");
    let (status, problem) = hale.get("/api/v1/explain");
    assert_eq!(status, 400);
    let problem = serde_json::from_str(&plain(&problem)).unwrap();
    document.check(&serde_json::json!({ "$ref": "#/components/schemas/Problem" }), &problem, "problem");
}

#[test]
fn a_zone_is_seen_as_configured_and_as_served() {
    let backends = Backends::start(2);
    let hale = setup("api-views", &backends).start();
    backends.set(1, false);
    let data = |view: &str| {
        let page = get(
            &hale,
            &format!("/api/v1/zones/example.test/records?view={view}&name=www.example.test&type=A"),
        );
        page["records"][0]["data"].as_array().unwrap().clone()
    };
    until("it is down", || data("served").len() == 1);
    let both = data("configured");
    let [up, down] = both.as_slice() else { panic!("{both:?}") };
    assert_eq!(
        (&up["data"], &up["verdict"], &up["served"]),
        (&"192.0.2.1".into(), &"up".into(), &true.into())
    );
    assert_eq!(
        (&down["data"], &down["verdict"], &down["served"]),
        (&"192.0.2.2".into(), &"down".into(), &false.into())
    );
    let diff = operate(&hale, "zone diff example.test");
    assert!(
        diff.starts_with("www.example.test.\t") && diff.contains("192.0.2.2 ; not answered, down, "),
        "{diff}"
    );
    assert_eq!(diff.lines().count(), 1, "{diff}");
    let configured = operate(&hale, "zone export example.test --view configured");
    assert!(configured.contains("\tA\t192.0.2.2\n") && !configured.contains("RRSIG"), "{configured}");
    assert!(!operate(&hale, "zone export example.test").contains("\tA\t192.0.2.2\n"));
    let shown = operate(&hale, "zone show example.test --view served --name www.example.test");
    assert!(shown.contains("192.0.2.1 ; up, ") && shown.contains("zone.json"), "{shown}");
    // Page by page, everything once.
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(&hale, &format!("/api/v1/zones/example.test/records?limit=1{after}"));
        let records = page["records"].as_array().unwrap();
        names.extend(
            records
                .iter()
                .map(|r| format!("{} {}", r["name"].as_str().unwrap(), r["type"].as_str().unwrap())),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let whole = get(&hale, "/api/v1/zones/example.test/records");
    assert_eq!(names.len(), whole["records"].as_array().unwrap().len());
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    let tested = get(&hale, "/api/v1/test-dns?hostname=alias.example.test");
    assert!(tested["answers"][0]["records"].to_string().contains("192.0.2.1"), "{tested}");
    assert_eq!(tested["names"][1]["name"], "www.example.test.");
}

#[test]
fn a_backup_under_flips_comes_back_elsewhere() {
    let backends = Backends::start(2);
    let hale = setup("api-backup", &backends).start();
    operate(&hale, "override set address:192.0.2.9 down --for forever --reason audit");
    operate(&hale, "override hide gone.example.test --for 1h --reason audit");
    let serial = |hale: &Hale| get(hale, "/api/v1/zones")["zones"][0]["serial"].as_u64().unwrap();
    let file = hale.folder().join("state.tar");
    for i in 0..6 {
        backends.set(1, i % 2 == 1);
        std::thread::sleep(Duration::from_millis(150));
        operate(&hale, &format!("state backup {}", file.display()));
    }
    until("both are up", || get(&hale, "/api/v1/status")["targets"]["up"] == 2);
    operate(&hale, &format!("state backup {}", file.display()));
    let (before, keys) = (serial(&hale), operate(&hale, "zone export example.test"));
    let flips = |hale: &Hale| get(hale, "/api/v1/targets/1/history")["history"].as_array().unwrap().len();
    let known = flips(&hale);
    assert!(known >= 4, "{known}");
    let busy = hale_run([
        "state",
        "restore",
        file.to_str().unwrap(),
        "--state",
        hale.folder().join("state").to_str().unwrap(),
    ]);
    assert_eq!(busy.status.code(), Some(1), "{busy:?}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let elsewhere = setup("api-restore", &backends);
    let state = elsewhere.state();
    let done = hale_run(["state", "restore", file.to_str().unwrap(), "--state", state.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    drop(hale);
    let hale = elsewhere.start();
    assert!(serial(&hale) >= before, "a serial never goes back");
    let key = |zone: &str| zone.lines().find(|line| line.contains("DNSKEY")).unwrap().to_owned();
    assert_eq!(key(&operate(&hale, "zone export example.test")), key(&keys), "signed by the same key");
    assert!(operate(&hale, "override list").contains("address:192.0.2.9"));
    assert!(operate(&hale, "override hidden").contains("gone.example.test."));
    assert!(flips(&hale) >= known, "what happened before is known");
}
