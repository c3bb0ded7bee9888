//! The JSON in docs/ is what it says it is: whole zones, whole configurations, and single owners, none with an error or a warning.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[path = "support/mmdb.rs"]
#[allow(unreachable_pub)]
mod mmdb;

use hale::config::{Config, ServeArgs, Shared, ZoneReader};
use hale::zone::build::Builder;

/// The blocks of a page: the word behind "```json", and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in page.split("\n```json").skip(1) {
        let (head, rest) = part.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        found.push((head.trim().to_owned(), text.to_owned()));
    }
    found
}

fn findings(text: String, shared: &Shared) -> String {
    let reader = match ZoneReader::from_text("zone.json", text, shared) {
        Ok(reader) => reader,
        Err(found) => return format!("{found:#?}"),
    };
    let mut found = reader.findings().to_vec();
    let mut builder = Builder::new(reader.header(), &reader.header().apex);
    reader.owners(&mut |owner| builder.owner(owner), &mut found);
    found.extend(builder.finish().map_or_else(|errors| errors, |(_, warnings)| warnings));
    if found.is_empty() { String::new() } else { format!("{found:#?}") }
}

/// What `hale.json` on the page gives to its zones.
fn shared(blocks: &[(String, String)], folder: &tempfile::TempDir) -> Config {
    let config = blocks.iter().find(|(kind, _)| kind == "hale.json").map_or("{}", |(_, text)| text);
    std::fs::write(folder.path().join("hale.json"), config).unwrap();
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"] }"#;
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("zones/z.json"), zone).unwrap();
    let place = mmdb::place;
    let places = [
        ("10.0.0.0/16", place("EU", "CH", "")),
        ("10.1.0.0/16", place("NA", "US", "CA")),
        ("10.2.0.0/16", place("NA", "", "")),
        ("10.3.0.0/16", place("EU", "", "")),
    ];
    let systems = [("10.0.1.0/24", mmdb::system(64_500))];
    std::fs::write(folder.path().join("GeoLite2-City.mmdb"), mmdb::database("City", &places)).unwrap();
    std::fs::write(folder.path().join("GeoLite2-ASN.mmdb"), mmdb::database("ASN", &systems)).unwrap();
    let args = ServeArgs { config: Some("hale.json".into()), ..ServeArgs::default() };
    let (config, warnings) =
        Config::load(&args, &|_| None, folder.path()).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(warnings, []);
    config
}

#[test]
fn every_example_is_without_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
    let blocks = blocks(&std::fs::read_to_string(path).unwrap());
    assert!(blocks.len() > 5, "{blocks:?}");
    let folder = tempfile::tempdir().unwrap();
    let config = shared(&blocks, &folder);
    for (kind, text) in blocks {
        let zone = match kind.as_str() {
            "hale.json" => continue,
            "zone" => text,
            "owner" => format!(
                r#"{{ "zone": "example.test", "nameservers": ["ns.example.net"], "records": {{ "www": {text} }} }}"#
            ),
            other => panic!("{other:?} is no kind of example: {text}"),
        };
        assert_eq!(findings(zone.clone(), &config.shared), "", "{zone}");
    }
}

#[test]
fn the_sources_of_the_page_about_discovery_are_without_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/discovery.md");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("traefik.pw"), "secret").unwrap();
    let config = shared(&blocks(&std::fs::read_to_string(path).unwrap()), &folder);
    let names: Vec<&str> = config.sources.list.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["edge", "prod"]);
}

#[test]
fn a_faulty_example_is_found() {
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"], "records": { "www": { "policy": "x" } } }"#;
    assert!(findings(zone.to_owned(), &Shared::default()).contains("is not a policy"));
}
