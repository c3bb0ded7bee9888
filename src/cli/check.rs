//! `hale check`: every error of a configuration at once, without a server.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use super::configuration;
use super::outcome::{Failure, Outcome, report};
use super::terminal::{self, plural};
use crate::config::{Config, Dnssec, KeySource, ServeArgs, ZoneHeader, ZoneReader};
use crate::dnssec::keys::ZoneKeys;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::zone::build;
use crate::zone::crowded::Crowding;
use crate::zone::follow::{self, Follow};

/// What was found in all files.
#[derive(Default)]
struct Findings {
    diagnostics: Vec<Diagnostic>,
    /// Apexes with the file that names each first.
    apexes: HashMap<Name, PathBuf>,
    /// Owner names with records.
    names: usize,
    /// Which names owners follow.
    follows: Vec<Follow>,
    /// What the checks of all zones want of each address.
    crowding: Crowding,
}

/// Reads what `hale serve` with the same arguments would read, and prints what is wrong with it.
pub(super) fn run(args: &ServeArgs) -> Outcome {
    let (config, warnings) = configuration::load(args)?;
    let mut findings = Findings { diagnostics: warnings, ..Findings::default() };
    for file in &config.zone_files {
        findings.read(ZoneReader::open(file, &config.shared), &config);
    }
    for (label, text) in &config.inline_zones {
        findings.read(ZoneReader::from_text(label.clone(), text.clone(), &config.shared), &config);
    }
    let apexes = findings.apexes.keys().cloned().collect();
    findings.diagnostics.extend(follow::findings(&findings.follows, &apexes));
    if findings.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(Failure::Configuration(findings.diagnostics));
    }
    findings.diagnostics.extend(findings.crowding.warnings(config.health.probes_per_second_per_address));
    report(&findings.diagnostics);
    let (zones, names) =
        (plural(findings.apexes.len() as u64, "zone"), plural(findings.names as u64, "name"));
    terminal::print(&format!("fine: {zones}, {names}\n"))
}

impl Findings {
    fn read(&mut self, reader: Result<ZoneReader, Vec<Diagnostic>>, config: &Config) {
        match reader {
            Ok(reader) => self.zone(&reader, config),
            Err(mut errors) => self.diagnostics.append(&mut errors),
        }
    }

    /// Builds the zone of every apex, since each may have errors of its own.
    fn zone(&mut self, reader: &ZoneReader, config: &Config) {
        let header = reader.header();
        let start = self.diagnostics.len();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.diagnostics.extend_from_slice(reader.findings());
        for apex in std::iter::once(&header.apex).chain(&header.alias_zones) {
            let mut found = self.twin(reader, apex);
            let (zone, mut more) = build::read(reader, apex, threads);
            if let Some(zone) = zone {
                self.names += zone.owners.len();
                self.crowding.add(&zone, &header.file);
                self.follows.extend(follow::follows(&zone, &header.file));
            }
            found.append(&mut more);
            found.append(&mut keys(header, apex, config));
            // What is wrong with the file was said for the primary; an alias adds only what is wrong there alone.
            found.retain(|finding| !self.diagnostics[start..].contains(finding));
            self.diagnostics.append(&mut found);
        }
        self.diagnostics[start..].sort_by_key(|finding| finding.position);
        // A syntax error within the records is found by the walk over the header too.
        self.diagnostics.dedup();
    }

    /// An error if an earlier file has this zone, too.
    fn twin(&mut self, reader: &ZoneReader, apex: &Name) -> Vec<Diagnostic> {
        let header = reader.header();
        match self.apexes.entry(apex.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(header.file.clone());
                Vec::new()
            }
            Entry::Occupied(first) => {
                let message = format!("{apex} is already a zone of {}", first.get().display());
                vec![
                    Diagnostic::error(&header.file, message)
                        .at(header.position, "zone")
                        .hint("a zone has one file"),
                ]
            }
        }
    }
}

/// What is wrong with the zone's keys. Keys that `"auto"` would make are not made here.
fn keys(header: &ZoneHeader, apex: &Name, config: &Config) -> Vec<Diagnostic> {
    let Dnssec::On(settings) = &header.dnssec else { return Vec::new() };
    if settings.keys == KeySource::Auto {
        let mut error = Diagnostic::error(
            &header.file,
            "\"auto\" keeps its keys in the state directory, and there is none",
        )
        .hint("give --state DIR, or \"state\" in hale.json");
        error.path = "dnssec.keys".to_owned();
        return if config.state.is_some() { Vec::new() } else { vec![error] };
    }
    match ZoneKeys::load(&settings.keys, apex, None) {
        Ok((_, warnings)) => warnings,
        Err(errors) => errors,
    }
}
