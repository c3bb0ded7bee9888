//! What docs/, README.md and CONTRIBUTING.md show is what it says it is. Every fenced block has a kind, so that none escapes:
//!
//! - `json zone`, `json owner`, `json check`, `json checks` (one a line), `json hale.json`, plain `json` (a zone if it has one, else a configuration or a part of one): without
//!   an error or a warning.
//! - `json PATH`: the same, and written there for the commands after it.
//! - `sh`: run, page by page, in a folder and (where the system allows it) a network of its own; any failure is one of the test.
//!   A block whose first line says `# not run by the tests: WHY` is not, and stands in tests/docs_not_run.txt.
//! - `sh background`: a server; what follows is run once it answers, and it ends with the page.
//! - `text output`: what the block before printed, `…` standing for anything.
//! - `console`: a transcript, which another test holds or nobody does: listed like what is not run.
//! - `text`, `yaml`, `ini`, `dockerfile`: shown only.
//!
//! Blocks in an HTML comment are not shown, and count all the same: the server that a page's commands speak to. Paths of an installed
//! server (`/var/lib/hale`, `/etc/hale`, `/run/secrets`) are those of the page's folder where commands are run.
//!
//! Commands between backquotes must exist, and so must what links lead to.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod support;

use hale::config::{Config, ServeArgs, Shared, ZoneReader};
use hale::zone::build::Builder;
use support::hale::PROGRAM;
use support::mmdb;
use support::process::{TempDir, run};

const NOT_RUN: &str = "# not run by the tests: ";

struct Block {
    /// What stands behind the fence.
    kind: String,
    text: String,
    line: usize,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, by its path below the root.
fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), std::fs::read_to_string(root().join(name)).unwrap()))
        .collect()
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = None;
    for (line, text) in page.lines().enumerate() {
        match (text.trim_start().strip_prefix("```"), open) {
            (Some(kind), None) => {
                open = Some(text.len() - text.trim_start().len());
                found.push(Block { kind: kind.trim().to_owned(), text: String::new(), line: line + 1 });
            }
            (Some(_), Some(_)) => open = None,
            // In a list the whole block is indented.
            (None, Some(indent)) => {
                let block = found.last_mut().unwrap();
                block.text.push_str(text.get(indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
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
    // The reader's own programs of exec checks.
    found.retain(|finding| !finding.message.starts_with("there is no program"));
    if found.is_empty() { String::new() } else { format!("{found:#?}") }
}

/// A configuration with the files that examples name, and a zone to serve.
fn shared(config: &str, folder: &TempDir) -> Config {
    folder.write("hale.json", config);
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"] }"#;
    folder.write("zones/z.json", zone);
    folder.write("more/z.json", &zone.replace("example.test", "more.test"));
    for secret in ["traefik.pw", "hale.token", "secrets/token"] {
        folder.write(secret, "0123456789abcdef0123456789abcdef");
    }
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
    let variable = |name: &str| match name {
        "TRAEFIK_PASSWORD" => Some("secret".to_owned()),
        "HALE_COOKIE_SECRET" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        _ => None,
    };
    let (config, warnings) =
        Config::load(&args, &variable, folder.path()).unwrap_or_else(|e| panic!("{config}: {e:#?}"));
    assert_eq!(warnings, []);
    config
}

/// The configuration that zones of a page are read with: its `json hale.json` block, if there is one.
fn shared_of(blocks: &[Block], folder: &TempDir) -> Config {
    let config = blocks.iter().find(|block| block.kind == "json hale.json").map_or("{}", |block| &block.text);
    shared(config, folder)
}

#[test]
fn every_block_has_a_kind_and_every_example_is_without_fault() {
    let mut examples = 0;
    for (page, text) in pages() {
        let blocks = blocks(&text);
        let folder = TempDir::new("docs");
        let mut config = None;
        for Block { kind, text, line } in &blocks {
            let place = format!("{page}:{line}");
            let Some(what) = kind.strip_prefix("json") else {
                let known =
                    ["sh", "sh background", "text", "text output", "console", "yaml", "ini", "dockerfile"];
                assert!(known.contains(&kind.as_str()), "{place}: a block of the kind {kind:?}");
                continue;
            };
            examples += 1;
            let config = config.get_or_insert_with(|| shared_of(&blocks, &folder));
            let wholes = if what.trim() == "checks" {
                text.lines().map(|line| Example::Zone(checked(line))).collect()
            } else {
                vec![example(what.trim(), text)]
            };
            for whole in wholes {
                match whole {
                    Example::Zone(zone) => {
                        assert_eq!(findings(zone.clone(), &config.shared), "", "{place}: {zone}");
                    }
                    Example::Configuration(text) => {
                        shared(&text, &TempDir::new("docs"));
                    }
                }
            }
        }
    }
    assert!(examples > 30, "{examples}");
}

/// A zone with one owner that has this check.
fn checked(check: &str) -> String {
    // Some file stands for a secret that this machine does not have.
    let check = check.replace("/run/secrets/db", concat!(env!("CARGO_MANIFEST_DIR"), "/rustfmt.toml"));
    format!(
        r#"{{ "zone": "example.test", "nameservers": ["ns.example.net"], "checks": {{ "web": {{ "tcp": 443 }} }},
            "records": {{ "db": ["192.0.2.9"], "www": {{ "A": ["192.0.2.10"], {check} }} }} }}"#
    )
}

enum Example {
    Zone(String),
    Configuration(String),
}

/// An example as a whole: what its kind leaves out is put around it.
fn example(kind: &str, text: &str) -> Example {
    let zone = |inner: String| {
        Example::Zone(format!(r#"{{ "zone": "example.test", "nameservers": ["ns.example.net"], {inner} }}"#))
    };
    let text = text.trim();
    let whole = if text.starts_with('{') { text.to_owned() } else { format!("{{ {text} }}") };
    match kind {
        "owner" => zone(format!(r#""records": {{ "www": {text} }}"#)),
        "zone" => Example::Zone(text.to_owned()),
        "check" => zone(format!(r#""checks": {whole}"#)),
        "records" => zone(format!(r#""records": {whole}"#)),
        "hale.json" => Example::Configuration(text.to_owned()),
        "" if whole.contains(r#""zone":"#) => Example::Zone(whole),
        "" if !text.starts_with('{') && whole.contains(r#""records":"#) => zone(text.to_owned()),
        "" => Example::Configuration(whole),
        path if path.ends_with("hale.json") => Example::Configuration(text.to_owned()),
        path if path.ends_with(".json") => Example::Zone(text.to_owned()),
        other => panic!("{other:?} is no kind of example: {text}"),
    }
}

/// What is not run, one line each: page and first command, or the reason.
fn not_run() -> String {
    let mut list = String::new();
    for (page, text) in pages() {
        for block in blocks(&text) {
            let reason = block.text.strip_prefix(NOT_RUN).map(|rest| rest.lines().next().unwrap_or_default());
            let commands =
                block.text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
            match (block.kind.as_str(), reason) {
                ("sh" | "sh background" | "console", Some(reason)) => {
                    let first = commands.clone().next().unwrap_or_default();
                    writeln!(list, "{page}: {first}\n    {reason}").unwrap();
                }
                ("console", None) => {
                    writeln!(list, "{page}: {}\n    a transcript", commands.clone().next().unwrap()).unwrap();
                }
                _ => {}
            }
        }
    }
    list
}

#[test]
fn what_is_not_run_is_listed() {
    let path = root().join("tests/docs_not_run.txt");
    let list = not_run();
    if std::env::var_os("HALE_BLESS").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), list, "HALE_BLESS=1 lists it anew");
}

/// Where an installed server has its files, and where they are while a page is run.
const INSTALLED: [(&str, &str); 3] =
    [("/var/lib/hale", "state"), ("/etc/hale/", ""), ("/run/secrets/hale-token", "hale.token")];

/// A script of all that a page has the reader do, which leaves what block N printed in `out/N`.
fn script(blocks: &[Block], folder: &Path) -> Option<String> {
    let mut script = "set -eu -o pipefail\n".to_owned();
    let mut commands = 0;
    for (number, block) in blocks.iter().enumerate() {
        let out = folder.join(format!("out/{number}")).display().to_string();
        let kind = block.kind.as_str();
        let text = INSTALLED.iter().fold(block.text.clone(), |text, (there, here)| text.replace(there, here));
        if let Some(path) = kind.strip_prefix("json ").filter(|path| path.ends_with(".json")) {
            write!(script, "mkdir -p \"$(dirname {path})\"; cat > {path} <<'END'\n{text}END\n").unwrap();
        } else if text.starts_with(NOT_RUN) {
            continue;
        } else if kind == "sh" {
            commands += 1;
            write!(script, "echo 'line {}' >&2\n{{\n{text}}} > {out}\n", block.line).unwrap();
        } else if kind == "sh background" {
            commands += 1;
            write!(
                script,
                "{{\n{text}}} > {out} 2>&1 &\nfor i in $(seq 300); do grep -q 'transport=tcp' {out} && break; \
                 kill -0 $! || {{ cat {out} >&2; exit 1; }}; sleep 0.1; done\n"
            )
            .unwrap();
        }
    }
    (commands > 0).then_some(script)
}

/// Whether a network of one's own can be had.
fn has_own_network() -> bool {
    let probe = std::process::Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
    probe.is_ok_and(|done| done.status.success())
}

fn run_page(page: &str, blocks: &[Block]) {
    let folder = TempDir::new("docs-run");
    std::fs::create_dir(folder.path().join("out")).unwrap();
    let Some(script) = script(blocks, folder.path()) else { return };
    let work = folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let script = folder.write("script", &script);
    // All processes end with the first one of a process namespace.
    let mut command = if has_own_network() {
        let mut command = std::process::Command::new("unshare");
        command.args([
            "-n",
            "-p",
            "-f",
            "--kill-child",
            "bash",
            "-c",
            "ip link set lo up && exec bash \"$0\"",
        ]);
        command
    } else {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", "bash \"$0\"; status=$?; kill $(jobs -p) 2>/dev/null; exit $status"]);
        command
    };
    let programs = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    command.arg(&script).current_dir(&work).env("PATH", path).env("HOME", folder.path());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("HALE_") || name.starts_with("DNS_"))
    {
        command.env_remove(name);
    }
    let done = run(&mut command, Duration::from_secs(120));
    assert!(done.status.success(), "{page}: {}\n{}", done.stdout, done.stderr);
    for (number, block) in blocks.iter().enumerate().filter(|(_, block)| block.kind == "text output") {
        let before = (0..number).rev().find(|n| blocks[*n].kind == "sh").unwrap();
        let printed = std::fs::read_to_string(folder.path().join(format!("out/{before}"))).unwrap();
        let place = format!("{page}:{}", block.line);
        let (shown, printed): (Vec<_>, Vec<_>) = (block.text.lines().collect(), printed.lines().collect());
        assert_eq!(shown.len(), printed.len(), "{place}: printed was {printed:#?}");
        for (shown, printed) in shown.iter().zip(&printed) {
            assert!(matches(shown, printed), "{place}: {shown:?} is shown, printed was {printed:?}");
        }
    }
}

/// Whether a line is as shown, `…` standing for anything.
fn matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}

#[test]
fn what_pages_tell_to_do_works() {
    for (page, text) in pages() {
        run_page(&page, &blocks(&text));
    }
}

#[test]
fn commands_that_are_named_exist() {
    let reference = std::fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let known: BTreeSet<&str> = reference.lines().filter_map(|line| line.strip_prefix("## hale ")).collect();
    let mut named = 0;
    for (page, text) in pages() {
        let spans = text.split('`').skip(1).step_by(2).filter_map(|span| span.strip_prefix("hale "));
        let shell = blocks(&text)
            .into_iter()
            .filter(|b| b.kind.starts_with("sh"))
            .map(|b| b.text)
            .collect::<Vec<_>>();
        let lines = shell.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("hale "));
        for command in spans.chain(lines) {
            let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
            let words: Vec<&str> = command.split([' ', '|', '…']).take_while(is_word).take(2).collect();
            let one = words.first().copied().unwrap_or_default();
            let exists = known.contains(one)
                || known.contains(words.join(" ").as_str())
                || (words.len() < 2 && known.iter().any(|known| known.split(' ').next() == Some(one)));
            assert!(one.is_empty() || exists, "{page}: `hale {command}`: {words:?} is no command");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

/// The text of every source file below `folder` but those of tests.
fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().contains("tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push_str(&std::fs::read_to_string(path).unwrap_or_default());
        }
    }
}

/// The names of Hale's variables in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("HALE_") && !word.ends_with('_')).map(str::to_owned).collect()
}

#[test]
fn every_variable_is_listed() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    let listed: BTreeSet<String> = pages()
        .iter()
        .filter(|(page, _)| page.starts_with("docs/"))
        .flat_map(|(_, text)| variables(text))
        .collect();
    let read = variables(&code);
    assert!(read.len() > 20, "{read:?}");
    // What makes tests write their golden files, and run longer.
    let tests = ["HALE_BLESS", "HALE_LONG", "HALE_SEED", "HALE_TEST_SEED"].map(str::to_owned).into();
    let missing: Vec<_> =
        read.difference(&listed).filter(|name| !BTreeSet::contains(&tests, *name)).collect();
    assert!(missing.is_empty(), "docs/ does not tell of {missing:?}");
}

#[test]
fn links_lead_somewhere_and_the_index_is_whole() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for (page, text) in pages() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let inside = !link.is_empty() && !link.contains("://") && !link.contains(' ');
            assert!(!inside || folder.join(link).exists(), "{page}: there is no {link}");
        }
        if let Some(name) = page.strip_prefix("docs/").filter(|name| *name != "README.md") {
            assert!(index.contains(&format!("]({name})")), "docs/README.md does not list {name}");
        }
    }
}

#[test]
fn faults_are_found() {
    let zone = r#"{ "zone": "example.test", "nameservers": ["ns.example.net"], "records": { "www": { "policy": "x" } } }"#;
    assert!(findings(zone.to_owned(), &Shared::default()).contains("is not a policy"));
    for (shown, printed, expected) in [
        ("a … c", "a b c", true),
        ("a …", "a b c", true),
        ("… c", "a b c", true),
        ("a … d", "a b c", false),
        ("a", "a b", false),
        ("a b c", "a b c", true),
    ] {
        assert_eq!(matches(shown, printed), expected, "{shown:?} {printed:?}");
    }
    let failing = [Block { kind: "sh".to_owned(), text: "false\n".to_owned(), line: 1 }];
    assert!(std::panic::catch_unwind(|| run_page("failing", &failing)).is_err());
}
