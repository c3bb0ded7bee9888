//! Parser and schema come from one list of keys; here they are held against each other over fixtures and key by key.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::*;
use crate::config::json::join;
use crate::config::{Shared, ZoneReader};

/// As much of JSON Schema as these schemas use; an unknown keyword fails the test, so that none is taken for checked.
fn valid(root: &Json, schema: &Json, value: &Json) -> bool {
    schema.as_object().unwrap().iter().all(|(keyword, rule)| match keyword.as_str() {
        "description" | "title" | "$schema" | "$defs" => true,
        // Texts are judged by the parser alone.
        "pattern" => true,
        "$ref" => {
            let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            valid(root, &root["$defs"][name], value)
        }
        "type" => match rule {
            Json::Array(types) => types.iter().any(|name| has_type(name, value)),
            name => has_type(name, value),
        },
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "anyOf" => rule.as_array().unwrap().iter().any(|schema| valid(root, schema, value)),
        "items" => value.as_array().is_none_or(|list| list.iter().all(|item| valid(root, rule, item))),
        "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().unwrap()),
        "minProperties" => value.as_object().is_none_or(|map| map.len() as u64 >= rule.as_u64().unwrap()),
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().unwrap())
        }
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "required" => value.as_object().is_none_or(|map| {
            rule.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
        }),
        "properties" | "patternProperties" | "additionalProperties" => {
            keyword != "additionalProperties"
                || value
                    .as_object()
                    .is_none_or(|map| map.iter().all(|(key, value)| member(root, schema, key, value)))
        }
        other => panic!("keyword {other}"),
    })
}

fn has_type(name: &Json, value: &Json) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("type {other}"),
    }
}

fn member(root: &Json, schema: &Json, key: &str, value: &Json) -> bool {
    if let Some(rule) = schema["properties"].get(key) {
        return valid(root, rule, value);
    }
    if let Some(patterns) = schema.get("patternProperties") {
        let digits = key.strip_prefix("TYPE").filter(|digits| (1..=5).contains(&digits.len()));
        if digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
            return valid(root, &patterns["^TYPE[0-9]{1,5}$"], value);
        }
    }
    match &schema["additionalProperties"] {
        Json::Bool(allowed) => *allowed,
        rule => valid(root, rule, value),
    }
}

fn schema_takes(schema: &str, text: &str) -> bool {
    let schema: Json = serde_json::from_str(schema).unwrap();
    serde_json::from_str(text).is_ok_and(|value| valid(&schema, &schema, &value))
}

fn parser_takes(text: &str) -> bool {
    let Ok(reader) = ZoneReader::from_text("z", text.to_owned(), &Shared::default()) else { return false };
    let mut diagnostics = reader.findings().to_vec();
    reader.owners(&mut |_| {}, &mut diagnostics);
    !diagnostics.iter().any(|diagnostic| diagnostic.is_error())
}

fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_schema_takes_what_the_parser_takes() {
    let (schema, mut taken) = (zone(), 0);
    let example = std::fs::read_to_string(project_file("zones/example.json")).unwrap();
    assert!(schema_takes(&schema, &example) && parser_takes(&example));
    for entry in std::fs::read_dir(project_file("tests/fixtures/check")).unwrap() {
        let path = entry.unwrap().path();
        let is_zone = path.extension() == Some("json".as_ref())
            && !path.file_name().unwrap().to_string_lossy().starts_with("server-");
        let text = std::fs::read_to_string(&path).unwrap();
        if is_zone && parser_takes(&text) {
            taken += 1;
            assert!(schema_takes(&schema, &text), "{}", path.display());
        }
    }
    assert!(taken > 3, "only {taken} fixtures with nothing but warnings");
}

#[test]
fn both_refuse_unknown_missing_and_later_keys() {
    let schema = zone();
    let text = |extra: &str, owner: &str| {
        format!(
            r#"{{"zone": "a.test", "nameservers": "ns.test", "checks": {{"c": {{"tcp": 1}}}}, "records": {{"w": {{"A": "192.0.2.1", "check": "c"{owner}}}}}{extra}}}"#
        )
    };
    for (extra, owner, want) in [
        ("", "", true),
        (r#", "note": "x", "$schema": "y""#, r#", "note": "x""#, true),
        (r#", "sources": []"#, "", false),
        (r#", "colour": 1"#, "", false),
        (r#", "soa": {"ttl": "5m", "note": "x"}"#, "", true),
        (r#", "soa": {"ttl": true}"#, "", false),
        (r#", "soa": {"serial": 1}"#, "", false),
        (r#", "alias_zones": "b.test""#, "", false),
        (r#", "dnssec": {"keys": "auto", "denial": "nsec"}"#, "", true),
        (r#", "dnssec": {"denial": "nsec"}"#, "", false),
        (r#", "dnssec": {"keys": "auto", "denial": "nsec3"}"#, "", false),
        (r#", "dnssec": "off""#, "", true),
        (r#", "dnssec": "on""#, "", false),
        ("", r#", "MX": ["10 a"], "TYPE65400": {"ttl": 5, "data": "\\# 0"}"#, true),
        ("", r#", "mx": ["10 a"]"#, false),
        ("", r#", "SOA": "x""#, false),
        ("", r#", "MX": []"#, false),
        ("", r#", "AAAA": {"ttl": 5, "data": ["::1", {"address": "::2", "weight": 3}]}"#, true),
        ("", r#", "AAAA": {"address": "::2", "weight": 0}"#, false),
        ("", r#", "policy": "all", "order": "fixed""#, true),
        ("", r#", "policy": "failover""#, true),
        ("", r#", "policy": "geographic""#, false),
        ("", r#", "answers": 0"#, false),
        (r#", "pools": {"p": {"A": ["192.0.2.1"], "policy": "hashed", "pools": ["q", 7]}}"#, "", false),
        ("", r#", "map": {"EU": 5}"#, false),
        (
            r#", "pools": {"p": {"policy": "geo", "map": {"10.0.0.0/8": "q", "default": {"A": "192.0.2.1"}}}}"#,
            "",
            true,
        ),
        (r#", "pools": {"p": {"pools": ["q"]}, "q": {"AAAA": "::1", "check": "c"}}"#, "", true),
        ("", r#", "when_all_down": "fallback", "fallback": {"A": "192.0.2.9"}"#, true),
        ("", r#", "when_all_down": "maybe""#, false),
        ("", r#", "pools": []"#, false),
    ] {
        let text = text(extra, owner);
        assert_eq!((schema_takes(&schema, &text), parser_takes(&text)), (want, want), "{text}");
    }
}

/// Every key of every object: the parser must know it, whatever it thinks of the value.
fn keys_are_known<T: Object>() {
    for info in T::KEYS {
        let text = format!("{{{:?}: null}}", info.name);
        let source =
            crate::config::json::Source { file: Path::new("f"), base: Path::new(""), env: &|_| None };
        let mut reader = crate::config::json::Reader::new(&text, source);
        let _ = crate::config::json::read_object::<T>(&mut reader);
        let unknown = reader.into_diagnostics().iter().any(|d| d.message.contains("known key"));
        assert!(!unknown, "{} of {}", info.name, T::NAME);
        assert!(!join(info.doc).is_empty(), "{} of {} has no documentation", info.name, T::NAME);
    }
}

#[test]
fn the_parser_knows_every_key_of_the_schema() {
    keys_are_known::<ZoneKeys>();
    keys_are_known::<ServerKeys>();
    let config: Json = serde_json::from_str(&config()).unwrap();
    for name in ["AdminKeys", "BrakeKeys", "HealthKeys", "LimitsKeys", "TcpLimitKeys", "SecretPlace"] {
        assert!(config["$defs"][name]["properties"].is_object(), "{name}");
    }
    let zone: Json = serde_json::from_str(&zone()).unwrap();
    assert_eq!(zone["required"], json!(["zone", "nameservers"]));
    assert!(zone["$defs"]["OwnerKeys"]["properties"]["CAA"].is_object());
}
