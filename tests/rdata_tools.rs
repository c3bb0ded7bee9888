//! The presentation format of every RR type against BIND, Knot, NSD and ldns, where they are installed.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hale::model::name::Name;
use hale::model::rdata::{example, parse, to_text};
use hale::model::rrset::{RdataSet, Rrset};
use hale::model::rrtype::RrType;
use hale::zone::text::write_rfc1035;
use support::process::{TempDir, find};

fn apex() -> Name {
    Name::parse_absolute("example.test").unwrap()
}

/// Every type that has a presentation format, with the RDATA of its example.
fn examples() -> impl Iterator<Item = (RrType, Vec<u8>)> {
    RrType::known().filter_map(|rtype| Some((rtype, parse(rtype, example(rtype)?, &apex()).unwrap())))
}

/// Runs a tool with a text on its standard input; whether it succeeded, and what it said.
fn run(program: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closing the input ends the tool; one that does not read it is no failure of ours.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[test]
fn bind_reads_and_writes_the_same() {
    let Some(program) = find("named-rrchecker") else { return };
    let mut compared = 0;
    for (rtype, wire) in examples() {
        let input = format!("IN {rtype} {}\n", to_text(rtype, &wire));
        // Its octets in RFC 3597 form, and its own presentation format.
        for form in ["-u", "-p"] {
            let (ok, said) = run(&program, &[form], &input);
            if said.contains("unknown class/type") {
                continue;
            }
            assert!(ok, "{input}{said}");
            let theirs = said.trim_end().splitn(3, '\t').nth(2).unwrap_or_default();
            assert_eq!(parse(rtype, theirs, &Name::root()).as_ref(), Ok(&wire), "{input}{said}");
            compared += 1;
        }
    }
    assert!(compared > 120, "only {compared} comparisons");
}

#[test]
fn zone_checkers_accept_what_is_written() {
    let folder = TempDir::new("zone-text");
    // What belongs to a signed zone alone is left out, a second SOA record, and MD and MF, which BIND refuses in any form.
    let left_out =
        ["SOA", "MD", "MF", "SIG", "NXT", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM"].map(|t| t.parse().unwrap());
    let record = |owner: &str, rtype: RrType, wire: Vec<u8>| {
        let rrset = Rrset { rtype, ttl: 300, rdata: RdataSet::new([wire]) };
        (Name::parse_relative_to(owner, &apex()).unwrap(), rrset, RdataSet::default())
    };
    let mut records: Vec<_> = [
        ("@", RrType::NS, "ns1"),
        ("@", RrType::SOA, "ns1 hostmaster 1 3600 600 1209600 300"),
        ("ns1", RrType::A, "192.0.2.1"),
        ("x", RrType(65400), "\\# 4 0a000001"),
        ("y", RrType(65401), "\\# 0"),
        ("odd\\.\\;\\000\\\"name", RrType::TXT, "say \"x;\\y\" \u{e4}"),
        ("types", RrType::CSYNC, "1 1 A WKS HIP TYPE65400"),
    ]
    .into_iter()
    .map(|(owner, rtype, text)| record(owner, rtype, parse(rtype, text, &apex()).unwrap()))
    .collect();
    for (rtype, wire) in examples().filter(|(rtype, _)| !left_out.contains(rtype)) {
        records.push(record(&format!("t{}", rtype.0), rtype, wire));
    }
    let mut text = Vec::new();
    write_rfc1035(&mut text, &apex(), records).unwrap();
    let path = folder.write("example.test.zone", &String::from_utf8(text).unwrap());
    let path = path.to_str().unwrap();
    for (program, arguments) in [
        ("kzonecheck", &["-v", "-o", "example.test", path][..]),
        ("nsd-checkzone", &["example.test", path]),
        ("named-checkzone", &["-i", "none", "-k", "ignore", "example.test", path]),
        ("ldns-read-zone", &[path]),
    ] {
        if let Some(found) = find(program) {
            let (ok, said) = run(&found, arguments, "");
            assert!(ok, "{program}: {said}");
        }
    }
}
