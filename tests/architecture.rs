//! Who may import whom, how long a file may be, and where `unsafe` and printing may stand: read from the sources, so that the
//! tables in src/lib.rs and ARCHITECTURE.md stay true. Each rule is also given a bad sample, to show that it can fail.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Module of `src/` → what of the crate it may import. `a::b` allows that part of `a` only; a module may always import itself.
const IMPORTS: &[(&str, &[&str])] = &[
    ("telemetry", &[]),
    ("model", &[]),
    ("tls", &[]),
    ("http", &[]),
    ("state", &["model"]),
    ("config", &["model"]),
    ("health", &["model", "config", "state", "tls"]),
    ("discovery", &["model", "config", "state", "telemetry", "tls", "http"]),
    ("resolver", &["model", "state"]),
    ("zone", &["model", "config"]),
    ("dnssec", &["model", "config"]),
    ("snapshot", &["model"]),
    ("answer", &["model", "snapshot::lookup"]),
    ("keeper", &["model", "config", "state", "zone", "dnssec", "snapshot"]),
    ("transport", &["config", "answer", "snapshot::handle", "telemetry"]),
    ("notify", &["model", "config", "telemetry", "tls", "http"]),
    ("admin", &["model", "config", "telemetry"]),
    (
        "app",
        &[
            "telemetry",
            "tls",
            "http",
            "model",
            "state",
            "config",
            "health",
            "discovery",
            "resolver",
            "zone",
            "dnssec",
            "snapshot",
            "answer",
            "keeper",
            "transport",
            "notify",
            "admin",
        ],
    ),
    ("cli", &["model", "config", "telemetry", "tls", "zone", "dnssec", "app"]),
];

/// Lines of a file, its tests aside.
const LINES: usize = 600;

/// Where `unsafe` may stand: the batched system calls.
const UNSAFE: &[&str] = &["transport/udp.rs", "transport/udp/"];

/// Where printing may stand: the command line.
const PRINTING: &[&str] = &["cli/", "main.rs"];

#[test]
fn modules_import_only_what_they_may() {
    report(sources().iter().flat_map(|(path, text)| forbidden_imports(path, text)));
}

#[test]
fn every_module_is_in_the_table() {
    let known: BTreeMap<&str, _> = IMPORTS.iter().copied().collect();
    report(
        sources()
            .iter()
            .map(|(path, _)| module_of(path))
            .filter(|module| {
                !matches!(module.as_str(), "lib" | "main") && !known.contains_key(module.as_str())
            })
            .map(|module| {
                format!("src/{module} is not in the table of this test, of src/lib.rs and of ARCHITECTURE.md")
            }),
    );
}

#[test]
fn the_tables_for_readers_say_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["src/lib.rs", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let rows = table_rows(&text);
        for (module, allowed) in IMPORTS {
            assert_eq!(rows.get(*module), Some(&imports_in_words(module, allowed)), "{module} in {file}");
        }
    }
}

/// Module → last cell, of every table row whose first cell names modules.
fn table_rows(text: &str) -> BTreeMap<&str, String> {
    let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| "));
    let cells = rows
        .filter_map(|row| Some((row.split(" |").next()?, row.trim_end_matches(" |").rsplit("| ").next()?)));
    cells
        .flat_map(|(names, last)| names.split('`').skip(1).step_by(2).map(|name| (name, last.to_owned())))
        .collect()
}

/// What the last cell of a module's row says.
fn imports_in_words(module: &str, allowed: &[&str]) -> String {
    match (module, allowed) {
        ("app", _) => "all but `cli`".to_owned(),
        (_, []) => "nothing".to_owned(),
        _ => format!("`{}`", allowed.join("`, `")),
    }
}

#[test]
fn files_are_no_longer_than_they_may_be() {
    report(sources().iter().filter_map(|(path, text)| too_long(path, text)));
}

#[test]
fn unsafe_stands_only_in_the_batched_system_calls() {
    report(sources().iter().flat_map(|(path, text)| misplaced(path, text, "unsafe", UNSAFE)));
}

#[test]
fn printing_stands_only_in_the_command_line() {
    report(sources().iter().flat_map(|(path, text)| {
        ["println!", "print!", "eprintln!", "eprint!", "dbg!"]
            .into_iter()
            .flat_map(|word| misplaced(path, text, word, PRINTING))
    }));
}

#[test]
fn each_rule_can_fail() {
    let forbidden = |path: &str, text: &str| forbidden_imports(path, text).len();
    let check = |path, text, expected: usize| assert_eq!(forbidden(path, text), expected, "{path}: {text}");
    check("answer/resolve.rs", "use crate::snapshot::lookup::Found;", 0);
    check("answer/resolve.rs", "use crate::snapshot::handle::Reader;", 1);
    check("answer/resolve.rs", "use crate::snapshot::Snapshot;", 1);
    check("answer/resolve.rs", "use crate::{model::name::Name, snapshot::{lookup, handle::Reader}};", 1);
    check("answer/resolve.rs", "fn f() { crate::config::load(); }", 1);
    check("answer/resolve.rs", "use super::super::config::Config;", 1);
    check("answer/resolve.rs", "use super::edns::Opt;", 0);
    check("answer/mod.rs", "use super::config::Config;", 1);
    check(
        "answer/resolve.rs",
        "// use crate::config::Config;\n/* crate::app */ const A: &str = \"crate::app\";",
        0,
    );
    check("answer/resolve.rs", "#[cfg(test)]\nmod tests {\n    use crate::config::Config;\n}", 0);
    check("answer/resolve.rs", "#[cfg(test)]\nmod tests;\nuse crate::config::Config;", 1);
    check("model/name.rs", "use crate::config::Config;", 1);
    check("app.rs", "use crate::cli::main;", 1);
    check("main.rs", "fn main() { hale::app::run() }", 1);
    assert!(too_long("a.rs", &"let a = 1;\n".repeat(LINES + 1)).is_some());
    assert!(too_long("a.rs", &"let a = 1;\n".repeat(LINES)).is_none());
    assert_eq!(misplaced("zone/mod.rs", "fn f() { unsafe { g() } }", "unsafe", UNSAFE).len(), 1);
    assert_eq!(misplaced("zone/mod.rs", "#![deny(unsafe_code)] // unsafe", "unsafe", UNSAFE).len(), 0);
    assert_eq!(misplaced("transport/udp/mmsg.rs", "unsafe { g() }", "unsafe", UNSAFE).len(), 0);
    assert_eq!(misplaced("zone/mod.rs", "println!(\"x\");", "println!", PRINTING).len(), 1);
    assert_eq!(misplaced("zone/mod.rs", "eprintln!(\"x\");", "println!", PRINTING).len(), 0);
}

/// Fails with every finding.
fn report(findings: impl Iterator<Item = String>) {
    let text = findings.fold(String::new(), |mut text, finding| {
        writeln!(text, "{finding}").unwrap();
        text
    });
    assert!(text.is_empty(), "\n{text}");
}

/// Every source file: path below `src/` and text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !is_tests(path.strip_prefix(&root).unwrap())
            {
                let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push((below, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Whether a file holds only tests, which may print and import what they like.
fn is_tests(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

/// The module directly below the crate that a file belongs to.
fn module_of(path: &str) -> String {
    path.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}

/// Imports that the table does not allow.
fn forbidden_imports(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let code = without_tests(&code_of(text));
    if module == "main" || module == "lib" {
        let outside = paths_after(&code, "hale").into_iter().chain(paths_after(&code, "crate"));
        return outside
            .filter(|import| import[0] != "cli")
            .map(|import| format!("src/{path}: imports {}, but only cli is for it", import.join("::")))
            .collect();
    }
    let allowed = IMPORTS.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, allowed)| allowed);
    let mut imports = paths_after(&code, "crate");
    imports.extend(paths_above(path, &code));
    imports
        .into_iter()
        .filter(|import| import[0] != module)
        .filter(|import| {
            !allowed.iter().any(|rule| {
                rule.split("::").zip(import).filter(|(a, b)| a == b).count() == rule.split("::").count()
            })
        })
        .map(|import| {
            format!("src/{path}: imports {}, but {module} may import only {allowed:?}", import.join("::"))
        })
        .collect()
}

/// Paths that follow `root::` in code, groups taken apart: `crate::{a::b, c}` gives `a::b` and `c`.
fn paths_after(code: &str, root: &str) -> Vec<Vec<String>> {
    let needle = format!("{root}::");
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(&needle) {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            expand(&code[at + needle.len()..], &[], &mut paths);
        }
    }
    paths
}

/// Paths that leave the module by `super::`.
fn paths_above(path: &str, code: &str) -> Vec<Vec<String>> {
    // `a/b.rs` and `a/b/mod.rs` are both the module a::b, two below the crate.
    let depth = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    paths_after(code, "super")
        .into_iter()
        .filter_map(|import| {
            let more = import.iter().take_while(|part| *part == "super").count();
            (1 + more >= depth).then(|| import[more..].to_vec())
        })
        .filter(|import| !import.is_empty())
        .collect()
}

/// Reads one use tree after its root and adds each leaf; gives what follows the tree.
fn expand<'a>(text: &'a str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest, prefix, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(""),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let path = [prefix, &[text[..end].to_owned()]].concat();
    let rest = &text[end..];
    match rest.strip_prefix("::") {
        Some(more) if more.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') => {
            expand(more, &path, paths)
        }
        _ => {
            paths.push(path);
            // `as name` ends at the next comma, brace or semicolon.
            let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
            &rest[end..]
        }
    }
}

/// Places of a word where it may not stand, tests aside.
fn misplaced(path: &str, text: &str, word: &str, allowed: &[&str]) -> Vec<String> {
    if allowed.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let code = without_tests(&code_of(text));
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .filter(|(at, _)| !code[..*at].ends_with(inside) && !code[at + word.len()..].starts_with(inside))
        .map(|(at, _)| {
            format!("src/{path}:{}: {word} only in {allowed:?}", 1 + code[..at].matches('\n').count())
        })
        .collect()
}

/// A finding if the file has too many lines: what a reader reads, comments included, its tests aside.
fn too_long(path: &str, text: &str) -> Option<String> {
    let code = code_of(text);
    let tests = code.matches('\n').count() - without_tests(&code).matches('\n').count();
    let lines = text.lines().count() - tests;
    (lines > LINES).then(|| format!("src/{path}: {lines} lines without its tests; {LINES} at most"))
}

/// The code without the items that stand under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let mut depth = 0;
        let end = item.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0 && matches!(c, '}' | ';')
        });
        rest = end.map_or("", |(at, _)| &item[at + 1..]);
    }
    kept + rest
}

/// The text with comments, strings and character literals blanked; line breaks stay.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_end(rest, 1, "\"", true)
        } else if rest.starts_with("r\"") || rest.starts_with("r#\"") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            string_end(rest, 2 + hashes, &format!("\"{}", "#".repeat(hashes)), false)
        } else if c == '\'' {
            char_end(rest)
        } else {
            0
        };
        if skip == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skip].chars().filter(|c| *c == '\n'));
            rest = &rest[skip..];
        }
    }
    code
}

/// Where a string literal ends.
fn string_end(text: &str, start: usize, close: &str, escapes: bool) -> usize {
    let mut at = start;
    while at < text.len() {
        if escapes && text[at..].starts_with('\\') {
            at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8);
        } else if text[at..].starts_with(close) {
            return at + close.len();
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Where a character literal ends; 0 for a lifetime.
fn char_end(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |end| end + 4),
        Some((_, c)) if text[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
        _ => 0,
    }
}
