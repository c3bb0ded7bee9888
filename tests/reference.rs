//! docs/configuration.md is what `hale schema` says: HALE_BLESS=1 writes it anew.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;
use std::path::Path;

use serde_json::Value as Json;
use support::hale::hale_run;

const HEAD: &str = "\
# Configuration reference

Made from `hale schema config` and `hale schema zone`, which editors take as well; `HALE_BLESS=1 cargo test --test reference` writes this page anew. What the keys are good
for is told by the other pages: [docs/README.md](README.md) lists them.

A *duration* is a number of seconds or text such as `\"1h30m\"`, `\"500ms\"`. A *secret* is text, or an object that says where it stands: `{ \"file\": \"…\" }`, `{ \"env\": \"…\" }`. Paths are
relative to the file they stand in. Any object may have a `note`, which is not read; unknown keys are errors. A key that says \"required\" must be given.
";

fn schema(of: &str) -> Json {
    let done = hale_run(["schema", of]);
    assert!(done.status.success(), "{done:?}");
    serde_json::from_str(&done.stdout).unwrap()
}

/// What a value may be, in words.
fn kind(schema: &Json) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = title(reference.rsplit('/').next().unwrap());
        return format!("[{name}](#{})", name.to_lowercase().replace(' ', "-"));
    }
    if let Some(several) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let mut kinds: Vec<String> = Vec::new();
        for kind in several.iter().map(kind) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if kinds == ["text", "[Secret place](#secret-place)"] {
            return "secret".to_owned();
        }
        return kinds.join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|s|m|h")) {
        return "duration".to_owned();
    }
    match schema["type"].as_str() {
        Some("string") => "text".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer" | "number") => number(schema),
        Some("array") => match schema.get("items") {
            Some(items) => format!("list of {}", kind(items)),
            None => "list".to_owned(),
        },
        Some("object") => match schema.get("additionalProperties") {
            Some(values @ Json::Object(_)) => format!("object: name → {}", kind(values)),
            _ => "object".to_owned(),
        },
        _ => "any value".to_owned(),
    }
}

fn number(schema: &Json) -> String {
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("{least} or more"),
        _ => "number".to_owned(),
    }
}

/// `TcpCheckKeys` as words: `Tcp check`.
fn title(name: &str) -> String {
    let mut out = String::new();
    for (i, letter) in name.trim_end_matches("Keys").chars().enumerate() {
        if i > 0 && letter.is_uppercase() {
            out.push(' ');
        }
        out.extend(if i == 0 { letter.to_uppercase().next() } else { letter.to_lowercase().next() });
    }
    out
}

fn table(out: &mut String, heading: &str, object: &Json) {
    write!(out, "\n{heading}\n").unwrap();
    if let Some(text) = object["description"].as_str() {
        write!(out, "\n{text}\n").unwrap();
    }
    let Some(properties) = object["properties"].as_object().filter(|properties| !properties.is_empty())
    else {
        return;
    };
    let required: Vec<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    out.push_str("\n| key | value | |\n|---|---|---|\n");
    for (key, value) in properties.iter().filter(|(key, _)| !["$schema", "note"].contains(&key.as_str())) {
        let need = if required.contains(&key.as_str()) { "**required** " } else { "" };
        let text = value["description"].as_str().unwrap_or_default();
        writeln!(
            out,
            "| `{key}` | {} | {need}{} |",
            kind(value).replace('|', "\\|"),
            text.replace('|', "\\|")
        )
        .unwrap();
    }
}

fn page() -> String {
    let mut out = HEAD.to_owned();
    let (config, zone) = (schema("config"), schema("zone"));
    table(&mut out, "## hale.json", &config);
    table(&mut out, "## Zone file", &zone);
    let mut objects = zone["$defs"].as_object().unwrap().clone();
    objects.extend(config["$defs"].as_object().unwrap().clone());
    out.push_str("\n## Objects in both\n");
    for (name, object) in &objects {
        table(&mut out, &format!("### {}", title(name)), object);
    }
    out
}

#[test]
fn the_reference_is_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = page();
    if std::env::var_os("HALE_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(page.contains("| `listen` | text or list of text |") && page.lines().count() > 150, "{page}");
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        page,
        "HALE_BLESS=1 writes docs/configuration.md anew"
    );
}
