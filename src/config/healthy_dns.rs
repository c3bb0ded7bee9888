//! a-healthy-dns's flags and `DNS_*` variables: they become a zone file's text, so that one reader judges all zones.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::json::{AbsoluteName, Kind, List, OneOrMany, Read, Reader, Source, Value, show_ms};
use super::limits::PolicyLimits;
use super::load::{Setting, Settings};
use super::types::{Dnssec, SoaConfig, Startup, ZoneHeader};
use super::zone_file::{ALGORITHMS, check_records, distinct};
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::name::Name;
use crate::model::ttl::parse_duration_ms;

/// Port of a-healthy-dns where none is given.
pub(super) const DEFAULT_PORT: u16 = 53_053;
const DEFAULT_INTERVAL_MS: u32 = 30_000;
const DEFAULT_TIMEOUT_MS: u32 = 2000;
/// Of 0.1.26 to 0.1.54.
const DEFAULT_ALGORITHM: &str = "RSASHA256";

/// The zone that the flags and variables describe: `None` if none of them is given, `Some(None)` if something is wrong with
/// them, which is then in `settings.diagnostics`.
pub(super) fn inline_zone(settings: &mut Settings<'_>) -> Option<Option<(PathBuf, String)>> {
    let args = settings.args;
    let zone =
        settings.pick("--hosted-zone", args.hosted_zone.as_deref(), &["HALE_HOSTED_ZONE", "DNS_HOSTED_ZONE"]);
    let records = settings.pick(
        "--zone-resolutions",
        args.zone_resolutions.as_deref(),
        &["HALE_ZONE_RESOLUTIONS", "DNS_ZONE_RESOLUTIONS"],
    );
    let ns = settings.pick("--ns", args.ns.as_deref(), &["HALE_NS", "DNS_NAME_SERVERS"]);
    let aliases =
        settings.pick("--alias-zones", args.alias_zones.as_deref(), &["HALE_ALIAS_ZONES", "DNS_ALIAS_ZONES"]);
    let timing = timing(settings);
    let key = key(settings);
    if zone.is_none() && records.is_none() && ns.is_none() && aliases.is_none() {
        return None;
    }
    let required = [("--hosted-zone", &zone), ("--zone-resolutions", &records), ("--ns", &ns)];
    for (flag, _) in required.iter().filter(|(_, given)| given.is_none()) {
        let error = Diagnostic::error(Path::new(flag), "is missing");
        settings.diagnostics.push(
            error.hint(
                "--hosted-zone, --zone-resolutions and --ns go together; a zone file needs none of them",
            ),
        );
    }
    let (Some(zone), Some(records), Some(ns), Some(timing), Some(key)) = (zone, records, ns, timing, key)
    else {
        return Some(None);
    };
    Some(build(settings, &Given { zone, records, ns, aliases, timing, key }))
}

/// What the flags and variables say.
struct Given {
    zone: Setting,
    records: Setting,
    ns: Setting,
    aliases: Option<Setting>,
    timing: Timing,
    key: Option<(PathBuf, &'static str)>,
}

/// Interval and timeout of every check, in milliseconds.
#[derive(Clone, Copy)]
struct Timing {
    interval_ms: u32,
    timeout_ms: u32,
}

fn timing(settings: &mut Settings<'_>) -> Option<Timing> {
    let args = settings.args;
    let interval = settings.pick(
        "--test-min-interval",
        args.test_min_interval.as_deref(),
        &["HALE_TEST_MIN_INTERVAL", "DNS_TEST_MIN_INTERVAL"],
    );
    let timeout = settings.pick(
        "--test-timeout",
        args.test_timeout.as_deref(),
        &["HALE_TEST_TIMEOUT", "DNS_TEST_TIMEOUT"],
    );
    let interval_ms = time(settings, interval.as_ref(), DEFAULT_INTERVAL_MS, 100);
    let timeout_ms = time(settings, timeout.as_ref(), DEFAULT_TIMEOUT_MS, 1);
    let (interval_ms, timeout_ms) = (interval_ms?, timeout_ms?);
    if timeout_ms <= interval_ms {
        return Some(Timing { interval_ms, timeout_ms });
    }
    if timeout.is_none() {
        return Some(Timing { interval_ms, timeout_ms: interval_ms });
    }
    let (long, short) = (show_ms(u64::from(timeout_ms)), show_ms(u64::from(interval_ms)));
    let error = Diagnostic::error(
        Path::new("--test-timeout"),
        format!("the timeout {long} is longer than the interval {short}"),
    );
    settings.diagnostics.push(
        error.hint("a check must end before the next one starts: lower it or raise --test-min-interval"),
    );
    None
}

fn time(settings: &mut Settings<'_>, given: Option<&Setting>, default_ms: u32, min_ms: u64) -> Option<u32> {
    let Some(given) = given else { return Some(default_ms) };
    match parse_duration_ms(&given.text) {
        // The limit makes the conversion lossless.
        Some(ms) if (min_ms..=86_400_000).contains(&ms) => Some(ms as u32),
        _ => {
            let message = format!("{:?} is not a time that fits here", given.text);
            settings.diagnostics.push(given.error(
                message,
                format!("a number of seconds, or a duration from {} to 1d", show_ms(min_ms)),
            ));
            None
        }
    }
}

/// The signing key; `Some(None)` without one.
fn key(settings: &mut Settings<'_>) -> Option<Option<(PathBuf, &'static str)>> {
    let args = settings.args;
    let path = settings.pick(
        "--priv-key-path",
        args.priv_key_path.as_deref().and_then(Path::to_str),
        &["HALE_PRIV_KEY_PATH", "DNS_PRIV_KEY_PATH"],
    );
    let algorithm = settings.pick(
        "--priv-key-alg",
        args.priv_key_alg.as_deref(),
        &["HALE_PRIV_KEY_ALG", "DNS_PRIV_KEY_ALG"],
    );
    let name = algorithm.as_ref().map_or(DEFAULT_ALGORITHM, |setting| &setting.text);
    let Some(&(_, name)) = ALGORITHMS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)) else {
        let names: Vec<&str> = ALGORITHMS.iter().map(|&(_, name)| name).collect();
        if let Some(setting) = algorithm {
            let message = format!("{:?} is not an algorithm that Hale signs with", setting.text);
            settings.diagnostics.push(setting.error(message, format!("one of {}", names.join(", "))));
        }
        return None;
    };
    Some(path.map(|path| (settings.cwd.join(path.text), name)))
}

/// Checks each setting under its own name, and puts them together to the text of a zone file.
fn build(settings: &mut Settings<'_>, given: &Given) -> Option<(PathBuf, String)> {
    let apex = read_zone(settings, &given.zone);
    let nameservers = read_setting(settings, &given.ns, |reader| {
        let list = OneOrMany::<AbsoluteName>::read(reader)?;
        Ok(list.map(|list| distinct(reader, "", list.0, None)))
    });
    let aliases = match &given.aliases {
        Some(setting) => read_setting(settings, setting, |reader| {
            let list = List::<AbsoluteName>::read(reader)?;
            Ok(list.map(|list| distinct(reader, "", list.0, apex.as_ref())))
        }),
        None => Some(Vec::new()),
    };
    // Without a zone there is nothing that owners could be out of; their other errors are still worth seeing.
    let header = records_header(apex.clone().unwrap_or_else(Name::root), aliases.clone().unwrap_or_default());
    let records = read_records(settings, &given.records, &header, given.timing);
    let (Some(apex), Some(nameservers), Some(aliases), Some(records)) = (apex, nameservers, aliases, records)
    else {
        return None;
    };
    let mut text = String::new();
    let list =
        |names: &[Name]| names.iter().map(|name| quote(&name.to_string())).collect::<Vec<_>>().join(", ");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{{ \"zone\": {},", quote(&apex.to_string()));
    let _ = writeln!(text, "  \"alias_zones\": [{}],", list(&aliases));
    let _ = writeln!(text, "  \"nameservers\": [{}],", list(&nameservers));
    if let Some((path, algorithm)) = &given.key {
        let path = quote(&path.to_string_lossy());
        let _ = writeln!(
            text,
            "  \"dnssec\": {{ \"keys\": [{{ \"file\": {path}, \"role\": \"csk\", \"algorithm\": {} }}] }},",
            quote(algorithm)
        );
    }
    let _ = writeln!(text, "  \"records\": {records} }}");
    Some((PathBuf::from(&given.records.label), text))
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The zone's name, which stands in no JSON and so has no place in it.
fn read_zone(settings: &mut Settings<'_>, setting: &Setting) -> Option<Name> {
    let quoted = Setting { label: setting.label.clone(), text: quote(&setting.text) };
    let before = settings.diagnostics.len();
    let name = read_setting(settings, &quoted, |reader| Ok(AbsoluteName::read(reader)?.map(|name| name.0)));
    settings.diagnostics[before..].iter_mut().for_each(|diagnostic| diagnostic.position = None);
    name
}

/// Reads a setting's text as JSON.
fn read_setting<T>(
    settings: &mut Settings<'_>,
    setting: &Setting,
    read: impl FnOnce(&mut Reader<'_>) -> Read<T>,
) -> Option<T> {
    let source = Source { file: Path::new(&setting.label), base: settings.cwd, env: settings.env };
    let mut reader = Reader::new(&setting.text, source);
    let value = read(&mut reader).ok().flatten();
    if value.is_some() {
        // What is wrong is in the reader's diagnostics.
        let _ = reader.end();
    }
    let found = reader.into_diagnostics();
    let failed = found.iter().any(Diagnostic::is_error);
    settings.diagnostics.extend(found);
    value.filter(|_| !failed)
}

/// Checks the records as a zone file's, and writes `health_port` out as the check it stands for, with the interval and timeout of
/// the flags.
fn read_records(
    settings: &mut Settings<'_>,
    setting: &Setting,
    header: &ZoneHeader,
    timing: Timing,
) -> Option<String> {
    read_setting(settings, setting, |reader| {
        check_records(reader, header, timing.interval_ms, timing.timeout_ms)
    })?;
    let source = Source { file: Path::new(&setting.label), base: settings.cwd, env: settings.env };
    Some(spell_out(setting, source, timing))
}

/// Replaces each `"health_port": N` in a text that has been checked.
fn spell_out(setting: &Setting, source: Source<'_>, timing: Timing) -> String {
    let mut reader = Reader::new(&setting.text, source);
    let (mut out, mut copied) = (String::with_capacity(setting.text.len() * 2), 0);
    let _ = reader.object(|reader, _| {
        if reader.peek()? != Kind::Object {
            return reader.skip();
        }
        let has_rule = reader.next_has_key("when_all_down")?;
        reader.object(|reader, key| {
            reader.position();
            let start = reader.offset();
            reader.skip()?;
            if key.name == "health_port" {
                let port = &setting.text[start..reader.offset()];
                out.push_str(&setting.text[copied..key.mark.offset()]);
                let Timing { interval_ms, timeout_ms } = timing;
                let _ = write!(
                    out,
                    "\"check\": {{ \"tcp\": {port}, \"interval\": \"{interval_ms}ms\", \"timeout\": \"{timeout_ms}ms\", \"rise\": 1, \"fall\": 1 }}"
                );
                if !has_rule {
                    out.push_str(", \"when_all_down\": \"none\"");
                }
                copied = reader.offset();
            }
            Ok(())
        })
    });
    out.push_str(&setting.text[copied..]);
    out
}

/// As much of a zone's header as its records are read against.
fn records_header(apex: Name, alias_zones: Vec<Name>) -> ZoneHeader {
    ZoneHeader {
        file: PathBuf::new(),
        apex,
        alias_zones,
        nameservers: Vec::new(),
        soa: SoaConfig::default(),
        default_ttl: 0,
        startup: Startup::default(),
        policy_limits: PolicyLimits::default(),
        dnssec: Dnssec::Absent,
        position: Position::default(),
    }
}

#[cfg(test)]
#[path = "healthy_dns_tests.rs"]
mod tests;
