//! `hale keys`: makes, imports and lists key files, and prints DS records. Works on files alone; a running server takes new keys with
//! `hale reload`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::outcome::{self, Failure, Outcome};
use super::server::variable;
use super::terminal;
use crate::config::KeyRole;
use crate::dnssec::algorithm::Algorithm;
use crate::dnssec::generate::{self, KeyInfo, Request};
use crate::dnssec::key::{parse_role, role_name};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;

#[derive(Subcommand, Debug)]
pub(super) enum KeysCommand {
    /// Make a key for a zone
    Generate(GenerateArgs),
    /// Copy key files (PEM or BIND's .private) into the key directory under their own names
    Import(ImportArgs),
    /// List the keys of one zone or of all
    List(ListArgs),
    /// Print the DS records that the parent zone needs
    Ds(DsArgs),
}

#[derive(clap::Args, Debug)]
struct KeysDirectory {
    /// Directory with one folder a zone [default: keys] [env: HALE_KEYS]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl KeysDirectory {
    fn path(&self) -> PathBuf {
        let given = self.keys.clone().or_else(|| variable("HALE_KEYS").map(PathBuf::from));
        given.unwrap_or_else(|| PathBuf::from("keys"))
    }
}

#[derive(clap::Args, Debug)]
pub(super) struct GenerateArgs {
    /// Apex of the zone
    #[arg(value_parser = zone)]
    zone: Name,
    /// Algorithm, by number or name: 8 RSASHA256, 10 RSASHA512, 13 ECDSAP256SHA256, 14 ECDSAP384SHA384, 15 ED25519
    #[arg(long, default_value = "13", value_parser = algorithm)]
    algorithm: Algorithm,
    /// What it signs: csk everything, ksk the keys, zsk the rest
    #[arg(long, default_value = "csk", value_parser = role)]
    role: KeyRole,
    /// Length of an RSA key: 2048, 3072 or 4096
    #[arg(long, default_value = "2048", value_parser = bits)]
    bits: usize,
    #[command(flatten)]
    keys: KeysDirectory,
}

#[derive(clap::Args, Debug)]
pub(super) struct ImportArgs {
    /// Key files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Apex of the zone they are for
    #[arg(long, value_parser = zone)]
    zone: Name,
    /// What they sign, where the files do not say: csk, ksk or zsk
    #[arg(long, value_parser = role)]
    role: Option<KeyRole>,
    /// Their algorithm, where the files do not say: an RSA key is taken for 8
    #[arg(long, value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    #[command(flatten)]
    keys: KeysDirectory,
}

#[derive(clap::Args, Debug)]
pub(super) struct ListArgs {
    /// Apex of one zone
    #[arg(value_parser = zone)]
    zone: Option<Name>,
    #[command(flatten)]
    keys: KeysDirectory,
}

#[derive(clap::Args, Debug)]
pub(super) struct DsArgs {
    /// Apex of one zone
    #[arg(value_parser = zone)]
    zone: Option<Name>,
    #[command(flatten)]
    keys: KeysDirectory,
}

fn zone(text: &str) -> Result<Name, String> {
    Name::parse_absolute(text).map_err(|error| error.to_string())
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let by_number = text.parse().ok().and_then(Algorithm::from_number);
    let by_name = || Algorithm::ALL.into_iter().find(|a| a.mnemonic().eq_ignore_ascii_case(text));
    by_number.or_else(by_name).ok_or_else(|| "8, 10, 13, 14 and 15 are supported".to_owned())
}

fn bits(text: &str) -> Result<usize, String> {
    let bits = text.parse().ok().filter(|bits| generate::RSA_BITS.contains(bits));
    bits.ok_or_else(|| "2048, 3072 and 4096 are the lengths".to_owned())
}

fn role(text: &str) -> Result<KeyRole, String> {
    parse_role(text).ok_or_else(|| "csk, ksk and zsk are the roles".to_owned())
}

pub(super) fn run(command: KeysCommand) -> Outcome {
    match command {
        KeysCommand::Generate(args) => generate_key(args),
        KeysCommand::Import(args) => import(&args),
        KeysCommand::List(args) => {
            let (keys, findings) = find(args.zone, &args.keys)?;
            terminal::print(&listing(&keys))?;
            conclude(findings)
        }
        KeysCommand::Ds(args) => ds(args),
    }
}

fn generate_key(args: GenerateArgs) -> Outcome {
    let request = Request {
        apex: args.zone,
        keys: args.keys.path(),
        algorithm: args.algorithm,
        role: args.role,
        bits: args.bits,
    };
    let made = generate::generate(&request).map_err(|error| {
        outcome::report(&[error]);
        Failure::Silent(ExitCode::FAILURE)
    })?;
    terminal::print(&describe("made", &made))
}

fn import(args: &ImportArgs) -> Outcome {
    let keys = args.keys.path();
    let mut findings = Vec::new();
    for file in &args.files {
        match generate::import(file, &args.zone, &keys, args.role, args.algorithm.map(Algorithm::number)) {
            Ok((made, warnings)) => {
                findings.extend(warnings);
                terminal::print(&describe("imported as", &made))?;
            }
            Err(error) => findings.push(error),
        }
    }
    conclude(findings)
}

fn ds(args: DsArgs) -> Outcome {
    let (keys, findings) = find(args.zone, &args.keys)?;
    let lines: String =
        keys.iter().filter_map(|(_, key)| key.ds.as_ref()).map(|line| format!("{line}\n")).collect();
    if lines.is_empty() && findings.is_empty() {
        let place = args.keys.path();
        return Err(Failure::usage(format!("{}: no KSK or CSK", place.display()))
            .hint("`hale keys generate ZONE` makes one"));
    }
    terminal::print(&lines)?;
    conclude(findings)
}

/// Keys, each with its zone, and what is wrong with others.
type Found = (Vec<(Name, KeyInfo)>, Vec<Diagnostic>);

/// The keys of one zone or of every zone that has a folder.
fn find(zone: Option<Name>, keys: &KeysDirectory) -> Result<Found, Failure> {
    let directory = keys.path();
    let zones = match zone {
        Some(zone) => vec![zone],
        None => generate::zones_in(&directory).map_err(|error| Failure::Configuration(vec![error]))?,
    };
    let (mut all, mut findings) = (Vec::new(), Vec::new());
    for zone in zones {
        let (found, wrong) = generate::list(&directory, &zone);
        all.extend(found.into_iter().map(|key| (zone.clone(), key)));
        findings.extend(wrong);
    }
    Ok((all, findings))
}

/// Prints what was found wrong; an error among it is the command's.
fn conclude(findings: Vec<Diagnostic>) -> Outcome {
    if findings.iter().any(Diagnostic::is_error) {
        return Err(Failure::Configuration(findings));
    }
    outcome::report(&findings);
    Ok(())
}

fn describe(what: &str, key: &KeyInfo) -> String {
    let mut text = format!("{what} {}\n", key.file.display());
    // Writing to a String cannot fail.
    if let Some(ds) = &key.ds {
        let _ = writeln!(text, "for the parent zone, once signed answers are served:\n{ds}");
    }
    let _ = match key.role {
        KeyRole::Csk => Ok(()),
        KeyRole::Ksk => writeln!(
            text,
            "a KSK signs the keys alone: the zone needs a ZSK of algorithm {} too",
            key.algorithm
        ),
        KeyRole::Zsk => writeln!(
            text,
            "a ZSK does not sign the keys: the zone needs a KSK of algorithm {} too",
            key.algorithm
        ),
    };
    text
}

fn listing(keys: &[(Name, KeyInfo)]) -> String {
    let rows: Vec<[String; 5]> = keys
        .iter()
        .map(|(zone, key)| {
            [
                zone.to_string(),
                key.algorithm.to_string(),
                role_name(key.role).to_owned(),
                key.tag.to_string(),
                key.file.display().to_string(),
            ]
        })
        .collect();
    terminal::table(["ZONE", "ALGORITHM", "ROLE", "TAG", "FILE"], &rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(subcommand)]
        command: KeysCommand,
    }

    #[test]
    fn arguments_are_judged() {
        let parse = |line: &str| Line::try_parse_from(line.split(' '));
        for good in [
            "keys generate example.test",
            "keys generate example.test. --algorithm ed25519 --role zsk --keys /tmp/k",
            "keys generate . --algorithm 8 --bits 4096",
            "keys import a.pem b.pem --zone example.test --role ksk --algorithm 10",
            "keys list",
            "keys ds example.test",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("keys generate", "<ZONE>"),
            ("keys generate a..b", "label is empty"),
            ("keys generate a.test --algorithm 5", "8, 10, 13, 14 and 15"),
            ("keys generate a.test --algorithm 8 --bits 1024", "2048, 3072 and 4096"),
            ("keys generate a.test --role key", "csk, ksk and zsk"),
            ("keys import --zone a.test", "<FILE>"),
            ("keys import a.pem", "--zone"),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn keys_are_shown_with_what_to_do_next() {
        let key = |role, ds: Option<&str>| KeyInfo {
            file: "keys/a.test/13.x.7.pem".into(),
            algorithm: Algorithm::EcdsaP256Sha256,
            role,
            tag: 7,
            ds: ds.map(str::to_owned),
        };
        let csk = key(KeyRole::Csk, Some("a.test. IN DS 7 13 2 AB"));
        assert_eq!(
            describe("made", &csk),
            "made keys/a.test/13.x.7.pem\nfor the parent zone, once signed answers are served:\na.test. IN DS 7 13 2 AB\n"
        );
        assert!(
            describe("made", &key(KeyRole::Zsk, None))
                .ends_with("needs a KSK of algorithm 13 (ECDSAP256SHA256) too\n")
        );
        let rows = [(Name::parse_absolute("a.test").unwrap(), csk)];
        assert_eq!(
            listing(&rows),
            "ZONE     ALGORITHM             ROLE  TAG  FILE\na.test.  13 (ECDSAP256SHA256)  csk   7    keys/a.test/13.x.7.pem\n"
        );
    }
}
