//! One fixture for each error of a zone file or of `hale.json`: `tests/fixtures/check/*.json`, with all that is said about it, word by
//! word, in the `.expected` file beside it. `HALE_BLESS=1 cargo test --test check_fixtures` writes those anew.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hale::config::{Config, ServeArgs, Shared, ZoneReader};
use hale::zone::build;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some("json".as_ref()))
        .collect();
    files.sort();
    files
}

/// What `hale check` would say; fixtures named `server-…` are server configurations, and those named `zone-…` are about what is wrong with
/// the records as a zone.
fn findings(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    let found = if name.starts_with("server-") {
        let args = ServeArgs { config: Some(name.into()), ..ServeArgs::default() };
        match Config::load(&args, &|_| None, file.parent().unwrap()) {
            Ok((_, warnings)) => warnings,
            Err(errors) => errors,
        }
    } else {
        match ZoneReader::open(file, &Shared::default()) {
            Ok(reader) => {
                let mut found = reader.findings().to_vec();
                let header = reader.header();
                let mut zone = build::Builder::new(header, &header.apex);
                reader.owners(&mut |owner| zone.owner(owner), &mut found);
                if name.starts_with("zone-") || name == "example.json" {
                    found.extend(zone.finish().map_or_else(|errors| errors, |(_, warnings)| warnings));
                }
                found.sort_by_key(|finding| finding.position);
                // A syntax error within the records is found by both walks.
                found.dedup();
                found
            }
            Err(errors) => errors,
        }
    };
    let folder = format!("{}/", file.parent().unwrap().display());
    found
        .iter()
        .fold(String::new(), |mut out, diagnostic| {
            writeln!(out, "{diagnostic}").unwrap();
            out
        })
        .replace(&folder, "")
}

#[test]
fn every_fixture_is_judged_as_expected() {
    let files = fixtures();
    assert!(files.len() > 100, "only {} fixtures", files.len());
    let mut wrong = String::new();
    for file in files {
        let (found, expected_file) = (findings(&file), file.with_extension("expected"));
        if std::env::var_os("HALE_BLESS").is_some() {
            std::fs::write(&expected_file, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if found != expected || found.is_empty() {
            writeln!(wrong, "{}\n--- expected\n{expected}--- found\n{found}", file.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_example_zone_is_without_fault() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/example.json");
    assert_eq!(findings(&file), "");
}
