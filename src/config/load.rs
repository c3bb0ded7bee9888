//! Flags over environment over `hale.json` over defaults.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::ServeArgs;
use super::files::expand;
use super::geo::Geo;
use super::healthy_dns;
use super::input;
use super::json::{Element, FilePath, Reader, Slot, Source, Value, Word};
use super::notify::NotifyConfig;
use super::server::{HealthKeys, LogLevel, SOCKET_HINT, ServerKeys, TlsKeys};
use super::types::{
    AdminConfig, Config, HealthConfig, Inputs, ListenAddress, LogFormat, Shared, SourcesConfig, TlsFiles,
};
use super::zone_file::{Checks, Pools, not_utf8};
use crate::model::diagnostic::{Diagnostic, Position};

/// Read where neither flag, variable nor working directory gives a configuration.
const SYSTEM_CONFIG: &str = "/etc/hale/hale.json";
const DNS_PORT: u16 = 53;
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8053);

/// A configuration with its warnings, or every error found, warnings among them.
pub type Loaded = Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>>;

impl Config {
    /// Merges flags, environment, configuration file and defaults, and lists the zone files; it does not read them.
    /// `env` looks up a variable; paths of flags and variables start from `cwd`, where an empty path stands for the
    /// process's own directory and keeps paths as short as they were written.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(args: &ServeArgs, env: &dyn Fn(&str) -> Option<String>, cwd: &Path) -> Loaded {
        load(args, env, cwd, Path::new(SYSTEM_CONFIG))
    }
}

impl ServeArgs {
    /// These, naming the configuration file that a first load has found: from then on it is one that was asked for. Who deletes it, or
    /// moves it for a moment to write another, does not mean that the defaults count, with the address and zones of none.
    #[must_use]
    pub fn settled(mut self, config: &Config) -> Self {
        self.config = self.config.or_else(|| config.file.clone());
        self
    }
}

/// A value from a flag or a variable, under its name.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// `--port`, `HALE_PORT` or `DNS_PORT`.
    pub(super) label: String,
    /// As given.
    pub(super) text: String,
}

impl Setting {
    /// An error about this setting.
    pub(super) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Path::new(&self.label), message).hint(hint)
    }
}

/// Looks settings up in flags and environment.
pub(super) struct Settings<'a> {
    /// The flags.
    pub(super) args: &'a ServeArgs,
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Where relative paths start.
    pub(super) cwd: &'a Path,
    /// What was found wrong.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Settings<'_> {
    /// A variable's value. Kubernetes and Docker links set `HALE_PORT=tcp://10.0.0.1:53` for a service named hale: such values
    /// are none of ours.
    pub(super) fn variable(&mut self, name: &str) -> Option<Setting> {
        let text = (self.env)(name).filter(|text| !text.trim().is_empty())?;
        if ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme)) {
            let message = format!("\"{text}\" is a service link, not a setting; it is ignored");
            let hint = "set \"enableServiceLinks\": false in the pod, or rename the service";
            self.diagnostics.push(Diagnostic::warning(Path::new(name), message).hint(hint));
            return None;
        }
        Some(Setting { label: name.to_owned(), text })
    }

    /// A flag's value, or else the first of the variables' that is set.
    pub(super) fn pick(&mut self, flag: &str, value: Option<&str>, variables: &[&str]) -> Option<Setting> {
        if let Some(text) = value {
            return Some(Setting { label: flag.to_owned(), text: text.to_owned() });
        }
        variables.iter().find_map(|name| self.variable(name))
    }

    fn path(&mut self, value: Option<&Path>, variable: &str) -> Option<PathBuf> {
        if let Some(path) = value {
            return Some(self.cwd.join(path));
        }
        self.variable(variable).map(|setting| self.cwd.join(setting.text))
    }

    fn boolean(&mut self, flag: bool, variable: &str) -> Option<bool> {
        if flag {
            return Some(true);
        }
        let setting = self.variable(variable)?;
        match setting.text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.diagnostics.push(
                    setting.error(format!("{:?} is not true or false", setting.text), "write true or false"),
                );
                None
            }
        }
    }

    fn word<T: Word>(&mut self, setting: Option<Setting>, other_names: &[(&str, T)]) -> Option<T> {
        let setting = setting?;
        let given = setting.text.to_ascii_lowercase();
        let found = T::WORDS.iter().chain(other_names).find(|(word, _)| *word == given);
        if found.is_none() {
            let words: Vec<&str> = T::WORDS.iter().map(|&(word, _)| word).collect();
            let message = format!("{:?} is not {}", setting.text, T::WHAT);
            self.diagnostics.push(setting.error(message, format!("one of {}", words.join(", "))));
        }
        found.map(|&(_, value)| value)
    }
}

fn load(args: &ServeArgs, env: &dyn Fn(&str) -> Option<String>, cwd: &Path, system: &Path) -> Loaded {
    let mut settings = Settings { args, env, cwd, diagnostics: Vec::new() };
    let inline = healthy_dns::inline_zone(&mut settings);
    let zones = zone_arguments(&mut settings);
    let mut file = read_file(&mut settings, inline.is_none() && zones.is_none(), system);
    let (zone_files, patterns) = zone_files(&mut settings, zones, &mut file, inline.is_some());
    let found = file.inputs.first().cloned();
    let inputs = Inputs { files: std::mem::take(&mut file.inputs), patterns };
    let admin = admin(&mut settings, &mut file);
    let mut keys = file.keys;

    let listen = listen(&mut settings, &mut keys, inline.is_some());
    let state =
        settings.path(args.state.as_deref(), "HALE_STATE").or(keys.state.take().map(|path| path.value.0));
    let workers = workers(&mut settings, &keys);
    let strict =
        settings.boolean(args.strict, "HALE_STRICT").or(keys.strict.get().map(|given| given.value.0));
    let portable =
        settings.boolean(args.portable, "HALE_PORTABLE").or(keys.portable.get().map(|given| given.value.0));
    let pin_workers = settings
        .boolean(args.pin_workers, "HALE_PIN_WORKERS")
        .or(keys.pin_workers.get().map(|given| given.value.0));
    let watch = settings.boolean(args.watch, "HALE_WATCH").or(keys.watch.get().map(|given| given.value.0));
    let (log_level, log_format) = log(&mut settings, &keys);
    let config = Config {
        file: found,
        listen,
        zone_files,
        inline_zones: inline.flatten().into_iter().collect(),
        state,
        admin,
        health: health(keys.health.take().map(|health| health.value).unwrap_or_default()),
        shared: Arc::new(file.shared),
        sources: file.sources,
        notify: file.notify,
        client_subnet: keys.client_subnet.take().map(|given| given.value.0),
        limits: keys.limits.take().map(|limits| limits.value).unwrap_or_default().into_limits(),
        workers,
        pin_workers: pin_workers.unwrap_or(false),
        strict: strict.unwrap_or(false),
        watch: watch.unwrap_or(false),
        inputs,
        portable: portable.unwrap_or(false),
        resolvers: keys
            .resolver
            .take()
            .and_then(|mut resolver| resolver.value.servers.take())
            .map_or_else(Vec::new, |servers| servers.value.0.iter().map(|socket| socket.value.0).collect()),
        nsid: keys.nsid.take().map(|nsid| nsid.value.0.into_bytes()),
        cookie_secret: keys.cookie_secret.take().map(|secret| secret.value.0),
        query_log: keys.query_log.take().and_then(|given| given.value.into_config()),
        target_metrics: keys.metrics.take().is_some_and(|given| given.value.wants_targets()),
        log_level: log_level.to_owned(),
        log_format,
    };
    if settings.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(settings.diagnostics);
    }
    Ok((config, settings.diagnostics))
}

/// A zone file, directory or pattern, and how an error about it starts.
struct Pattern {
    path: PathBuf,
    blame: Diagnostic,
}

/// Zones of the command line or of `HALE_ZONES`.
fn zone_arguments(settings: &mut Settings<'_>) -> Option<Vec<Pattern>> {
    let cwd = settings.cwd;
    let pattern =
        |path: &Path, label: &Path| Pattern { path: cwd.join(path), blame: Diagnostic::error(label, "") };
    if !settings.args.zones.is_empty() {
        return Some(settings.args.zones.iter().map(|path| pattern(path, path)).collect());
    }
    let setting = settings.variable("HALE_ZONES")?;
    Some(split_list(&setting.text).map(|path| pattern(Path::new(path), Path::new(&setting.label))).collect())
}

/// Parts of a variable that holds a list: separated by commas or white space.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t', '\n']).filter(|part| !part.is_empty())
}

/// The configuration file, if there is one.
struct File {
    keys: ServerKeys,
    /// What zones may refer to.
    shared: Shared,
    sources: SourcesConfig,
    notify: Vec<NotifyConfig>,
    path: PathBuf,
    /// Where its relative paths start.
    base: PathBuf,
    /// The file itself and those that it refers to, zone files aside.
    inputs: Vec<PathBuf>,
}

impl File {
    /// An error about a place in it.
    fn error(&self, at: Position, path: &str) -> Diagnostic {
        Diagnostic::error(&self.path, "").at(at, path)
    }
}

fn read_file(settings: &mut Settings<'_>, search: bool, system: &Path) -> File {
    let given = settings.path(settings.args.config.as_deref(), "HALE_CONFIG");
    let path = given.or_else(|| {
        let places = [settings.cwd.join("hale.json"), system.to_owned()];
        places.into_iter().find(|path| search && path.is_file())
    });
    let Some(path) = path else {
        return File {
            keys: ServerKeys::default(),
            shared: Shared::default(),
            sources: SourcesConfig::default(),
            notify: Vec::new(),
            path: PathBuf::from("hale.json"),
            base: settings.cwd.to_owned(),
            inputs: Vec::new(),
        };
    };
    let base = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut inputs = vec![path.clone()];
    let (keys, shared, sources, notify) =
        read_server_keys(&path, &base, settings, &mut inputs).unwrap_or_default();
    File { keys, shared, sources, notify, path, base, inputs }
}

fn read_server_keys(
    file: &Path,
    base: &Path,
    settings: &mut Settings<'_>,
    inputs: &mut Vec<PathBuf>,
) -> Option<(ServerKeys, Shared, SourcesConfig, Vec<NotifyConfig>)> {
    let text = match input::read(file, input::LARGEST_SETTINGS).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            settings.diagnostics.push(not_utf8(file, &error));
            return None;
        }
        Err(error) => {
            let message = format!("cannot read the configuration file: {error}");
            settings.diagnostics.push(
                Diagnostic::error(file, message)
                    .hint("a file that exists and that the server's user may read"),
            );
            return None;
        }
    };
    let mut reader = Reader::new(&text, Source { file, base, env: settings.env });
    let mut keys = ServerKeys::read(&mut reader).ok().flatten();
    let (mut shared, mut sources, mut notify) = (Shared::default(), SourcesConfig::default(), Vec::new());
    if let Some(keys) = &mut keys {
        let _ = reader.end();
        check_server_keys(&mut reader, keys);
        if let Some(checks) = keys.checks.take() {
            shared.checks = Arc::new(Checks::resolve(&mut reader, &checks.value, None));
        }
        if let Some(mut geo) = keys.geo.take() {
            let databases = geo.value.databases.take().map_or_else(Vec::new, |list| list.value.0);
            let paths: Vec<PathBuf> = databases.into_iter().map(|path| path.value.0).collect();
            inputs.extend_from_slice(&paths);
            shared.geo = Arc::new(Geo::new(paths));
        }
        shared.policy_limits = keys.limits.get().map(|limits| limits.value.policy()).unwrap_or_default();
        if let Some(pools) = keys.pools.take() {
            shared.pools = Arc::new(Pools::new(&mut reader, pools.value, None));
        }
        if let Some(list) = keys.sources.take() {
            sources.list = super::sources::resolve(&mut reader, list.value.0, &shared.checks);
        }
        if let Some(list) = keys.notify.take() {
            notify = super::notify::resolve(&mut reader, list.value.0);
        }
        sources.conflict = keys.conflict.take().map_or(sources.conflict, |given| given.value);
        sources.ready_timeout_ms =
            keys.ready_timeout.take().map_or(sources.ready_timeout_ms, |given| given.value.0);
    }
    inputs.append(&mut reader.take_files());
    settings.diagnostics.extend(reader.into_diagnostics());
    Some((keys?, shared, sources, notify))
}

fn check_server_keys(reader: &mut Reader<'_>, keys: &ServerKeys) {
    if let (Some(port), false) = (keys.port.key_position(), keys.listen.is_absent()) {
        reader.error_in(
            "port",
            port,
            "\"port\" and \"listen\" exclude each other",
            "\"port\" stands for both wildcard addresses; keep one of them",
        );
    }
    let sockets = keys.listen.get().map(|listen| &listen.value.0[..]).unwrap_or_default();
    for (nth, socket) in sockets.iter().enumerate() {
        if sockets[..nth].iter().any(|other| other.value.0 == socket.value.0 && socket.value.0.port() != 0) {
            let (path, message) =
                (format!("listen[{}]", socket.index), format!("{} stands twice", socket.value.0));
            reader.error_at(path, socket.position, message, "leave one of them out");
        }
    }
}

fn wildcards(port: u16) -> Vec<ListenAddress> {
    vec![
        ListenAddress { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), optional: false },
        ListenAddress { address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), optional: true },
    ]
}

fn listen(settings: &mut Settings<'_>, keys: &mut ServerKeys, healthy_dns: bool) -> Vec<ListenAddress> {
    let args = settings.args;
    if !args.listen.is_empty() && args.port.is_some() {
        let message = "--port and --listen exclude each other";
        settings.diagnostics.push(
            Diagnostic::error(Path::new("--port"), message).hint("--port stands for both wildcard addresses"),
        );
        return Vec::new();
    }
    if !args.listen.is_empty() {
        return listen_list(settings, "--listen", &args.listen);
    }
    let hale_listen = if args.port.is_none() { settings.variable("HALE_LISTEN") } else { None };
    if let Some(setting) = hale_listen {
        if let Some(port) = settings.variable("HALE_PORT") {
            settings
                .diagnostics
                .push(port.error("HALE_PORT and HALE_LISTEN exclude each other", "unset one of them"));
        }
        let list: Vec<String> = split_list(&setting.text).map(str::to_owned).collect();
        return listen_list(settings, "HALE_LISTEN", &list);
    }
    if let Some(setting) = settings.pick("--port", args.port.as_deref(), &["HALE_PORT", "DNS_PORT"]) {
        return match setting.text.parse::<u16>() {
            Ok(port) if port != 0 => wildcards(port),
            _ => {
                settings.diagnostics.push(setting.error(
                    format!("{:?} is not a port", setting.text),
                    "a port is a whole number from 1 to 65535",
                ));
                Vec::new()
            }
        };
    }
    if let Some(list) = keys.listen.take() {
        let sockets = list.value.0.into_iter();
        return sockets.map(|socket| ListenAddress { address: socket.value.0, optional: false }).collect();
    }
    let default = if healthy_dns { healthy_dns::DEFAULT_PORT } else { DNS_PORT };
    wildcards(keys.port.take().map_or(default, |port| port.value.0))
}

fn listen_list(settings: &mut Settings<'_>, label: &str, list: &[String]) -> Vec<ListenAddress> {
    let mut out: Vec<ListenAddress> = Vec::new();
    for text in list {
        let setting = Setting { label: label.to_owned(), text: text.clone() };
        match text.parse::<SocketAddr>() {
            Ok(address) if out.iter().any(|other| other.address == address && address.port() != 0) => {
                settings
                    .diagnostics
                    .push(setting.error(format!("{address} stands twice"), "leave one of them out"));
            }
            Ok(address) => out.push(ListenAddress { address, optional: false }),
            Err(_) => settings
                .diagnostics
                .push(setting.error(format!("{text:?} is not an address and port"), SOCKET_HINT)),
        }
    }
    out
}

/// Files of the flag, else of the configuration file, else `zones/*.json`; none twice. With them the patterns that they were found by.
fn zone_files(
    settings: &mut Settings<'_>,
    arguments: Option<Vec<Pattern>>,
    file: &mut File,
    has_inline: bool,
) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let default = || {
        let path = file.base.join("zones/*.json");
        vec![Pattern { blame: Diagnostic::error(Path::new("zones"), ""), path }]
    };
    let patterns = match (arguments, &file.keys.zones) {
        (Some(arguments), _) => arguments,
        (None, Slot::Given(_, zones)) => {
            let blame =
                |zone: &Element<FilePath>| file.error(zone.position, &format!("zones[{}]", zone.index));
            zones
                .value
                .0
                .iter()
                .map(|zone| Pattern { path: zone.value.0.clone(), blame: blame(zone) })
                .collect()
        }
        (None, Slot::Absent) if !has_inline => default(),
        // A zone by flags needs no file, and a wrong value was reported.
        _ => Vec::new(),
    };
    let (mut files, mut seen) = (Vec::new(), HashSet::new());
    let mut written = Vec::new();
    for Pattern { path, blame } in patterns {
        match expand(&path) {
            Ok(found) => {
                let unseen =
                    |path: &PathBuf| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone()));
                files.extend(found.into_iter().filter(unseen));
            }
            Err((message, hint)) => settings.diagnostics.push(Diagnostic { message, ..blame }.hint(hint)),
        }
        written.push(path);
    }
    (files, written)
}

fn admin(settings: &mut Settings<'_>, file: &mut File) -> AdminConfig {
    let given = settings.pick("--admin", settings.args.admin.as_deref(), &["HALE_ADMIN"]);
    let mut keys = file.keys.admin.take().map(|admin| admin.value).unwrap_or_default();
    let (listen, blame) = match (given, &keys.listen) {
        (Some(setting), _) => (admin_setting(settings, &setting), setting.error("", "")),
        (None, Slot::Given(_, listen)) => (listen.value.0, file.error(listen.position, "admin.listen")),
        (None, _) => (Some(DEFAULT_ADMIN), Diagnostic::error(&file.path, "")),
    };
    let token_is_wrong = matches!(keys.token, Slot::Bad(_));
    if let Slot::Given(_, given) = &keys.token
        && given.value.0.trim().is_empty()
    {
        let message = "the token is empty: whoever asks would have it";
        let hint = "one line of visible characters, such as `openssl rand -hex 32` makes";
        settings.diagnostics.push(
            Diagnostic { message: message.to_owned(), ..file.error(given.position, "admin.token") }
                .hint(hint),
        );
    }
    // A file that was written with spaces at its end is still the token that a client sends without them.
    let token = keys.token.take().map(|token| token.value.0.trim().to_owned());
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
        && token.is_none()
        && !token_is_wrong
    {
        let message = format!("{address} is not on loopback, and there is no token");
        let hint = "add \"admin\": { \"token\": { \"file\": \"…\" } } to hale.json, or use \"metrics_listen\" and \"probes_listen\", which need none";
        settings.diagnostics.push(Diagnostic { message, ..blame }.hint(hint));
    }
    AdminConfig {
        listen,
        metrics_listen: keys.metrics_listen.take().map(|socket| socket.value.0),
        probes_listen: keys.probes_listen.take().map(|socket| socket.value.0),
        token,
        hosts: keys
            .hosts
            .take()
            .into_iter()
            .flat_map(|hosts| hosts.value.0)
            .map(|host| own_name(&host.value.0))
            .collect(),
        tls: keys.tls.take().and_then(|tls| tls_files(tls.value)),
        requests_per_second: keys.requests_per_second.take().map_or(100, |rate| rate.value.0 as u32),
    }
}

/// As it is compared with what browsers send.
fn own_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn tls_files(mut keys: TlsKeys) -> Option<TlsFiles> {
    Some(TlsFiles { cert: keys.cert.take()?.value.0, key: keys.key.take()?.value.0 })
}

fn admin_setting(settings: &mut Settings<'_>, setting: &Setting) -> Option<SocketAddr> {
    if setting.text == "off" {
        return None;
    }
    let address = setting.text.parse().ok();
    if address.is_none() {
        let message = format!("{:?} is not an address and port", setting.text);
        settings
            .diagnostics
            .push(setting.error(message, "an address and a port, such as \"127.0.0.1:8053\", or \"off\""));
    }
    address
}

fn workers(settings: &mut Settings<'_>, keys: &ServerKeys) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let from_file = keys.workers.get().map(|given| given.value.0 as usize);
    let Some(setting) = settings.pick("--workers", settings.args.workers.as_deref(), &["HALE_WORKERS"])
    else {
        return from_file.unwrap_or_else(cores);
    };
    match setting.text.parse() {
        Ok(workers @ 1..=1024) => workers,
        _ => {
            settings.diagnostics.push(setting.error(
                format!("{:?} is not a number of workers", setting.text),
                "a whole number from 1 to 1024",
            ));
            1
        }
    }
}

fn log(settings: &mut Settings<'_>, keys: &ServerKeys) -> (&'static str, LogFormat) {
    // a-healthy-dns takes Python's names of levels.
    let python = [("warning", LogLevel("warn")), ("critical", LogLevel("error"))];
    let level = settings.pick(
        "--log-level",
        settings.args.log_level.as_deref(),
        &["HALE_LOG_LEVEL", "DNS_LOG_LEVEL"],
    );
    let level = settings.word(level, &python).or(keys.log_level.get().map(|given| given.value));
    let format = settings.pick("--log-format", settings.args.log_format.as_deref(), &["HALE_LOG_FORMAT"]);
    let format = settings.word(format, &[]).or(keys.log_format.get().map(|given| given.value));
    (level.map_or("info", |level| level.0), format.unwrap_or(LogFormat::Text))
}

fn health(mut keys: HealthKeys) -> HealthConfig {
    let mut brake = keys.brake.take().map(|brake| brake.value).unwrap_or_default();
    // Each number is within the limits of its key's type, which fit the fields.
    HealthConfig {
        brake_down_percent: brake.down_percent.take().map_or(80, |given| given.value.0 as u8),
        brake_min_targets: brake.min_targets.take().map_or(10, |given| given.value.0 as usize),
        probes_in_flight: keys.probes_in_flight.take().map_or(4096, |given| given.value.0 as usize),
        exec_in_flight: keys.exec_in_flight.take().map_or(64, |given| given.value.0 as usize),
        probes_per_second_per_address: keys
            .probes_per_second_per_address
            .take()
            .map_or(50, |given| given.value.0 as u32),
        verdict_max_age_ms: keys.verdict_max_age.take().map_or(600_000, |given| given.value.0),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
