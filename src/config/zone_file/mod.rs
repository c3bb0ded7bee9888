//! Zone files: the header at once, the records owner by owner.
//!
//! A file is walked twice. The first walk reads everything but the records, whose syntax it checks and whose place it
//! keeps, since what they rest on (`checks`, `default_ttl`, aliases) may stand behind them. The second one reads the
//! records and hands each owner on as soon as it is complete, so that a zone of a million owners is never held as a tree. It
//! can begin at any of the parts into which the first walk has divided them, and so be shared among threads.

mod address;
mod alias;
pub(crate) mod check;
mod dnssec;
mod endpoints;
mod header;
mod http;
mod kinds;
mod owner;
mod policy;
mod pool;
mod record;
mod rrset;
mod rules;
mod template;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use check::Written;
pub(crate) use dnssec::ALGORITHMS;
pub(crate) use header::{ZoneKeys, distinct};
pub(crate) use pool::{PoolKeys, Pools};
pub use record::RecordCheck;
pub(crate) use template::{Checks, Template};

use super::geo::Geo;
use super::input;
use super::json::{Abort, Key, Kind, Read, Reader, Source, Value, read_name};
use super::types::{OwnerConfig, Shared, ZoneHeader};
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::name::{MAX_NAME_OCTETS, Name};
use owner::{Context, OwnerKeys, OwnerValue, Resolver};
use template::ProbeTemplate;

/// Interval of `health_port` checks, as in a-healthy-dns.
const HEALTH_PORT_INTERVAL_MS: u32 = 30_000;
/// Timeout of `health_port` checks, as in a-healthy-dns.
const HEALTH_PORT_TIMEOUT_MS: u32 = 2000;

/// Looks up environment variables for `{ "env": … }` secrets.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A zone file whose header has been read and whose records can be streamed, as often as is wanted.
pub struct ZoneReader {
    file: PathBuf,
    text: String,
    env: Environment,
    header: ZoneHeader,
    checks: Checks,
    pools: Pools,
    geo: Arc<Geo>,
    health_port: ProbeTemplate,
    /// `None` if there are none.
    records: Option<header::Records>,
    findings: Vec<Diagnostic>,
}

impl std::fmt::Debug for ZoneReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZoneReader").field("header", &self.header).finish_non_exhaustive()
    }
}

impl ZoneReader {
    /// Reads a zone file's header and checks the syntax of all of it. `shared` is what `hale.json` gives to all zones; secrets in the
    /// environment are those of the process.
    ///
    /// # Errors
    /// Every error of a file that does not say which zone it is, or by which name servers, those of its records too. Other
    /// errors of the header are [`ZoneReader::findings`].
    pub fn open(path: &Path, shared: &Shared) -> Result<Self, Vec<Diagnostic>> {
        let bytes = input::read(path, input::LARGEST).map_err(|error| {
            vec![
                Diagnostic::error(path, format!("cannot read the zone file: {error}"))
                    .hint("a file that exists and that the server's user may read"),
            ]
        })?;
        let text = String::from_utf8(bytes).map_err(|error| vec![not_utf8(path, &error)])?;
        Self::from_text_with(path.to_owned(), text, process_environment(), shared)
    }

    /// Like [`ZoneReader::open`], for a text that stands in no file; `label` names it in diagnostics. Relative paths in it
    /// start from the directory of `label`, which is the process's for a bare word.
    ///
    /// # Errors
    /// See [`ZoneReader::open`].
    pub fn from_text(
        label: impl Into<PathBuf>,
        text: String,
        shared: &Shared,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::from_text_with(label.into(), text, process_environment(), shared)
    }

    /// Like [`ZoneReader::from_text`], with an environment of the caller's.
    ///
    /// # Errors
    /// See [`ZoneReader::open`].
    pub fn from_text_with(
        file: PathBuf,
        text: String,
        env: Environment,
        shared: &Shared,
    ) -> Result<Self, Vec<Diagnostic>> {
        let base = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let source = Source { file: &file, base: &base, env: &*env };
        let mut reader = Reader::new(&text, source);
        let found = header::read(&mut reader, shared);
        let mut diagnostics = reader.into_diagnostics();
        // Without a name or name servers nothing that is said of the records would be worth reading.
        let is_usable = !found.header.apex.is_root() && !found.header.nameservers.is_empty();
        let failed = !is_usable && diagnostics.iter().any(Diagnostic::is_error);
        let health_port = ProbeTemplate::health_port(HEALTH_PORT_INTERVAL_MS, HEALTH_PORT_TIMEOUT_MS);
        let header::Found { header, checks, pools, records } = found;
        let geo = Arc::clone(&shared.geo);
        let findings = Vec::new();
        let mut this = Self { file, text, env, header, checks, pools, geo, health_port, records, findings };
        if failed {
            this.owners(&mut |_| {}, &mut diagnostics);
            // A syntax error within the records is found by both walks.
            diagnostics.sort_by_key(|diagnostic| diagnostic.position);
            diagnostics.dedup();
            return Err(diagnostics);
        }
        this.findings = diagnostics;
        Ok(this)
    }

    /// Everything but the records.
    pub fn header(&self) -> &ZoneHeader {
        &self.header
    }

    /// What was found in the header. With an error among it the zone cannot be served, but its records can still be judged, so
    /// that all of a file's errors are seen at once.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.findings
    }

    /// Streams the records into `sink`, in the order of the file. What is wrong is appended to `diagnostics`, and reading goes on
    /// behind it: an owner with an error is handed on without what was wrong, or not at all, so records count only if no
    /// error was appended. Each call reads, and reports, the same. That an owner stands twice is not noticed here.
    pub fn owners(&self, sink: &mut dyn FnMut(OwnerConfig), diagnostics: &mut Vec<Diagnostic>) {
        for part in 0..self.parts() {
            self.part(part, sink, diagnostics);
        }
    }

    /// How many parts the records have, for threads to share: each holds some thousand owners.
    pub fn parts(&self) -> usize {
        self.records.as_ref().map_or(0, |records| records.parts.len())
    }

    /// As [`ZoneReader::owners`], for one of the parts.
    pub fn part(&self, part: usize, sink: &mut dyn FnMut(OwnerConfig), diagnostics: &mut Vec<Diagnostic>) {
        let parts = self.records.as_ref().map_or(&[][..], |records| &records.parts);
        let Some(&start) = parts.get(part) else { return };
        let end = parts.get(part + 1).map_or(usize::MAX, |next| next.offset());
        let base = self.file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let source = Source { file: &self.file, base: &base, env: &*self.env };
        let mut reader = Reader::new(&self.text, source);
        reader.resume(start, &["records"]);
        let context = Context {
            header: &self.header,
            checks: &self.checks,
            pools: &self.pools,
            geo: &self.geo,
            health_port: &self.health_port,
        };
        let owners = Owners::new(&context);
        // The first walk has found the syntax to be right.
        let _: Result<(), Abort> = reader.members(end, |reader, key| owners.read(reader, &key, sink));
        // What is wrong with a pool that several owners share is said once.
        let mut found = reader.into_diagnostics();
        found.dedup();
        diagnostics.append(&mut found);
    }
}

fn process_environment() -> Environment {
    Box::new(|name| std::env::var(name).ok())
}

/// Says where a file stops being UTF-8.
pub(crate) fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Diagnostic {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = good.iter().filter(|&&b| b == b'\n').count() as u32 + 1;
    let tail = good.rsplit(|&b| b == b'\n').next().unwrap_or(good);
    let column = String::from_utf8_lossy(tail).chars().count() as u32 + 1;
    Diagnostic::error(path, "the file is not UTF-8")
        .at(Position { line, column }, "")
        .hint("save it as UTF-8 (RFC 8259 §8.1)")
}

/// Checks a `records` object in which `health_port` has the given interval and timeout.
pub(crate) fn check_records(
    reader: &mut Reader<'_>,
    header: &ZoneHeader,
    interval_ms: u32,
    timeout_ms: u32,
) -> Read<()> {
    let (checks, health_port) = (Checks::default(), ProbeTemplate::health_port(interval_ms, timeout_ms));
    let (pools, geo) = (Pools::default(), Geo::default());
    let context = Context { header, checks: &checks, pools: &pools, geo: &geo, health_port: &health_port };
    let start = reader.mark();
    if header::Records::read(reader)?.is_none() {
        return Ok(None);
    }
    reader.rewind(start);
    let owners = Owners::new(&context);
    let mut seen: HashMap<Name, Position> = HashMap::new();
    let mut twins = Vec::new();
    reader.object(|reader, key| {
        owners.read(reader, &key, &mut |owner| {
            if let Some(first) = seen.get(&owner.relative) {
                twins.push((owner.relative, owner.position, *first));
            } else {
                seen.insert(owner.relative, owner.position);
            }
        })
    })?;
    for (name, at, first) in twins {
        let (message, hint) = stands_twice(&name, first);
        reader.error_at(name.to_string().trim_end_matches('.').to_owned(), at, message, hint);
    }
    Ok(Some(()))
}

/// Message and hint for an owner that was given before at `first`; its name is relative to the zone.
pub fn stands_twice(relative: &Name, first: Position) -> (String, String) {
    let text = relative.to_string();
    let shown = if relative.is_root() { "@" } else { text.trim_end_matches('.') };
    let Position { line, column } = first;
    let hint = format!(
        "it is first given at {line}:{column}; upper and lower case are the same name (RFC 4343), and so are a character and its escape"
    );
    (format!("the owner \"{shown}\" stands twice"), hint)
}

/// Reads the members of a `records` object.
pub(crate) struct Owners<'a> {
    context: &'a Context<'a>,
    /// Octets that the longest of the zone's names adds to an owner's.
    longest_apex: usize,
}

impl<'a> Owners<'a> {
    /// For the zone in `context`.
    pub(crate) fn new(context: &'a Context<'a>) -> Self {
        let apexes = std::iter::once(&context.header.apex).chain(&context.header.alias_zones);
        Self { context, longest_apex: apexes.map(|apex| apex.wire().len()).max().unwrap_or(1) }
    }

    /// Reads the value of `key` and hands the owner on.
    pub(crate) fn read(
        &self,
        reader: &mut Reader<'_>,
        key: &Key<'_>,
        sink: &mut dyn FnMut(OwnerConfig),
    ) -> Result<(), Abort> {
        if &*key.name == "note" && reader.peek()? == Kind::String {
            return reader.skip();
        }
        let Some(relative) = self.owner_name(reader, key) else { return reader.skip() };
        let before = reader.finding_count();
        // What was wrong was said; that the owner is there keeps errors from following that would say it is not.
        let keys = OwnerValue::read(reader)?.map_or_else(OwnerKeys::nothing, |OwnerValue(keys)| keys);
        let (context, position) = (self.context, key.position);
        sink(Resolver { context, reader, relative, position, before }.resolve(keys));
        Ok(())
    }

    /// The owner name of a key relative to the zone; reports what is wrong with it.
    fn owner_name(&self, reader: &mut Reader<'_>, key: &Key<'_>) -> Option<Name> {
        let (text, at) = (&*key.name, key.position);
        if text.is_empty() {
            reader.error(at, "an owner name is empty", "the apex is written \"@\"");
            return None;
        }
        let written = if text == "@" { Name::root() } else { read_name(reader, text, at)? };
        let apex = &self.context.header.apex;
        let relative = match is_absolute(text) {
            false => written,
            true => match relative_to(&written, apex) {
                Some(relative) => relative,
                None => {
                    let hint = format!(
                        "owner names are relative to the zone; leave the dot at the end out to mean {written}{apex}"
                    );
                    reader.error(at, format!("\"{text}\" is not within the zone {apex}"), hint);
                    return None;
                }
            },
        };
        let length = relative.wire().len() - 1 + self.longest_apex;
        if length > MAX_NAME_OCTETS {
            let message = format!(
                "\"{text}\" has {length} octets together with the longest of the zone's names, the limit is {MAX_NAME_OCTETS}"
            );
            reader.error(at, message, "shorten it (RFC 1035 §2.3.4)");
            return None;
        }
        self.warn_suffix(reader, text, &relative, at);
        Some(relative)
    }

    /// `www.example.test` in the zone `example.test` is `www.example.test.example.test`: seldom what was meant.
    fn warn_suffix(&self, reader: &mut Reader<'_>, text: &str, relative: &Name, at: Position) {
        let apex = &self.context.header.apex;
        if apex.is_root() || is_absolute(text) || !relative.is_at_or_below(apex) {
            return;
        }
        let meant = relative_to(relative, apex).filter(|name| !name.is_root());
        let meant =
            meant.map_or_else(|| "@".to_owned(), |name| name.to_string().trim_end_matches('.').to_owned());
        let message = format!("\"{text}\" is relative to the zone, and so means {relative}{apex}");
        reader.warn(at, message, format!("write \"{meant}\", or end the name in a dot"));
    }
}

/// Whether a name ends in a dot that is not escaped, which makes it absolute.
fn is_absolute(text: &str) -> bool {
    text.strip_suffix('.').is_some_and(|rest| rest.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0)
}

/// `name` without the suffix `apex`, as a name below the root.
fn relative_to(name: &Name, apex: &Name) -> Option<Name> {
    if !name.is_at_or_below(apex) {
        return None;
    }
    let labels = name.wire().len() - apex.wire().len();
    Name::from_wire(&[&name.wire()[..labels], &[0]].concat()).ok()
}
