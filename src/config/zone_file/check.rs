//! Checks: what a probe does, with every default filled in (interface.md, "Checks").

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::http::{HttpKeys, HttpsKeys};
use super::kinds::{DnsKeys, Exec, ExternalKeys, Icmp, TcpCheckKeys};
use super::rules::DampingKeys;
use super::template::{ProbeTemplate, Wanted};
use super::tls::{GrpcKeys, TlsKeys};
use crate::config::json::{
    AbsoluteName, At, Duration, Element, Int, Kind, Object, OneOrMany, Port, Read, Reader, Slot, Value,
    show_ms,
};
use crate::config::schema::Definitions;
use crate::model::check::CheckKind;
use crate::model::diagnostic::Position;
use crate::model::target::{Check, VerdictRules};

/// The shortest interval: below it probing is load, not news.
const MIN_INTERVAL_MS: u64 = 100;
/// The longest interval, a day; it also keeps milliseconds within 32 bits.
pub(super) const MAX_INTERVAL_MS: u64 = 86_400_000;
const DEFAULT_INTERVAL_MS: u64 = 10_000;
const DEFAULT_TIMEOUT_MS: u64 = 2000;
const DEFAULT_RISE: u64 = 2;
const DEFAULT_FALL: u64 = 3;

object! {
    /// A health check: one kind, and how often it runs.
    pub(crate) struct CheckKeys {
        /// A TCP connection is accepted, and what comes over it is as wanted; a port, or an object.
        "tcp" tcp: PortOr<TcpCheckKeys>,
        /// An HTTP/1.1 exchange answers as wanted; a port, or an object.
        "http" http: PortOr<HttpKeys>,
        /// An HTTP/1.1 exchange over TLS answers as wanted; a port, or an object.
        "https" https: PortOr<HttpsKeys>,
        /// A TLS handshake succeeds; a port, or an object.
        "tls" tls: PortOr<TlsKeys>,
        /// The gRPC health protocol says SERVING; a port, or an object.
        "grpc" grpc: PortOr<GrpcKeys>,
        /// A DNS query is answered as wanted.
        "dns" dns: DnsKeys,
        /// An ICMP echo request is answered; true.
        "icmp" icmp: Icmp,
        /// A program ends with exit code 0; a list of it and its arguments, or an object.
        "exec" exec: Exec,
        /// Nothing is probed: the verdict is pushed over the API.
        "external" external: ExternalKeys,
        /// The owner of this absolute name, in whatever zone, has an endpoint that is up.
        "name" name: AbsoluteName,
        /// Each of these checks, by name or in place, is up.
        "all" all: OneOrMany<CheckRef>,
        /// One of these checks, by name or in place, is up.
        "any" any: OneOrMany<CheckRef>,
        /// So many of the checks under "of" are up.
        "at_least" at_least: Int<1, 65_535>,
        /// The checks, by name or in place, of which "at_least" so many are up.
        "of" of: OneOrMany<CheckRef>,
        /// From one probe's start to the next one's; 100ms and up, 10s unless given.
        "interval" interval: Duration<MIN_INTERVAL_MS, MAX_INTERVAL_MS>,
        /// After which a probe counts as failed; at most the interval, 2s unless given.
        "timeout" timeout: Duration<1, MAX_INTERVAL_MS>,
        /// Successes in a row that turn down into up; 2 unless given.
        "rise" rise: Int<1, 1000>,
        /// Failures in a row that turn up into down; 3 unless given.
        "fall" fall: Int<1, 1000>,
        /// A probe that takes longer counts as failed although it succeeded; no limit but the timeout unless given.
        "slower_than" slower_than: Duration<1, MAX_INTERVAL_MS>,
        /// In which a recovered target's share of its weight grows to the whole, in tenths; at once unless given.
        "slow_start" slow_start: Duration<1000, MAX_INTERVAL_MS>,
        /// Holds down a target that flips too often; never unless given. An empty object takes the defaults.
        "damping" damping: DampingKeys,
    }
    later: []
}

/// A port alone, or an object that may have one.
pub(crate) struct PortOr<T>(pub(crate) T);

/// An object with a `port`.
pub(crate) trait HasPort: Object + Value {
    /// The key's slot.
    fn port(&mut self) -> &mut Slot<Port>;
}

impl<T: HasPort> Value for PortOr<T> {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::Object {
            return Ok(T::read(reader)?.map(Self));
        }
        let position = reader.position();
        let Some(value) = Port::read(reader)? else { return Ok(None) };
        let mut keys = T::default();
        *keys.port() = Slot::Given(position, At { value, position });
        Ok(Some(Self(keys)))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [Port::schema(definitions), T::schema(definitions)] })
    }
}

/// A check as it is written: what it refers to is not looked up yet.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// One probe.
    Probe(Arc<ProbeTemplate>),
    /// A combination.
    Combined {
        /// How many of the parts must be up.
        wanted: Wanted,
        /// The key that holds the parts.
        key: &'static str,
        /// The parts.
        parts: Vec<Element<CheckRef>>,
    },
}

/// What a `check` key holds.
#[derive(Clone, Debug)]
pub(crate) enum CheckRef {
    /// `"none"`: not checked, although the owner is.
    None,
    /// The name of one of the zone's `checks`, or of those in `hale.json`.
    Named(String),
    /// Written in place; nothing if it was reported as wrong.
    Inline(Option<Written>),
}

impl Value for CheckRef {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::String => Ok(Some(match &*reader.string()? {
                "none" => Self::None,
                name => Self::Named(name.to_owned()),
            })),
            Kind::Object => Ok(Some(Self::Inline(Written::read(reader)?))),
            _ => reader.mismatch(
                "a check",
                "the name of one of the \"checks\", an object such as { \"tcp\": 443 }, or \"none\"",
            ),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, CheckKeys::schema(definitions)] })
    }
}

impl Value for Written {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        Ok(CheckKeys::read(reader)?.and_then(|keys| keys.resolve(reader, at)))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        CheckKeys::schema(definitions)
    }
}

impl CheckKeys {
    fn resolve(self, reader: &mut Reader<'_>, at: Position) -> Option<Written> {
        let kinds = [
            ("tcp", self.tcp.is_absent()),
            ("http", self.http.is_absent()),
            ("https", self.https.is_absent()),
            ("tls", self.tls.is_absent()),
            ("grpc", self.grpc.is_absent()),
            ("dns", self.dns.is_absent()),
            ("icmp", self.icmp.is_absent()),
            ("exec", self.exec.is_absent()),
            ("external", self.external.is_absent()),
            ("name", self.name.is_absent()),
            ("all", self.all.is_absent()),
            ("any", self.any.is_absent()),
            // Half of it is said below.
            ("at_least", self.at_least.is_absent() && self.of.is_absent()),
        ];
        let given: Vec<&str> =
            kinds.iter().filter(|(_, is_absent)| !is_absent).map(|(kind, _)| *kind).collect();
        match given[..] {
            [] => {
                let list = kinds.map(|(kind, _)| kind).join(", ");
                let hint = format!("add one of {list}, such as \"tcp\": 443");
                reader.error(at, "the check has no kind", hint);
                None
            }
            ["all" | "any" | "at_least"] => self.combination(reader),
            ["external"] => self.external(reader),
            ["name"] => self.name(reader),
            [_] => self.probe(reader),
            [first, second, ..] => {
                let hint =
                    format!("\"all\": [{{ \"{first}\": … }}, {{ \"{second}\": … }}] wants them together");
                reader.error(at, "the check has several kinds", hint);
                None
            }
        }
    }

    fn probe(mut self, reader: &mut Reader<'_>) -> Option<Written> {
        let timing = self.timing(reader);
        let rules = timing.and_then(|(_, timeout_ms, ..)| self.rules(timeout_ms, reader));
        let kind = self.kind(reader);
        let ((port, kind), (interval_ms, timeout_ms, rise, fall)) = (kind?, timing?);
        let rules = rules?;
        let check = Arc::new(Check { kind, interval_ms, timeout_ms, rise, fall, rules });
        Some(Written::Probe(Arc::new(ProbeTemplate { port, check })))
    }

    /// The kind that is given, with its port if that is given too.
    fn kind(&mut self, reader: &mut Reader<'_>) -> Option<(Option<u16>, CheckKind)> {
        if let Some(tcp) = self.tcp.take() {
            return tcp.value.0.resolve(reader);
        }
        if let Some(http) = self.http.take() {
            let parts = http.value.0.resolve(reader, "http")?;
            return Some((parts.port, CheckKind::Http(Box::new(parts.check))));
        }
        if let Some(https) = self.https.take() {
            let parts = https.value.0.resolve(reader, "https")?;
            return Some((parts.port, CheckKind::Http(Box::new(parts.check))));
        }
        if let Some(tls) = self.tls.take() {
            let (port, check) = tls.value.0.resolve(reader)?;
            return Some((port, CheckKind::Tls(Box::new(check))));
        }
        if let Some(grpc) = self.grpc.take() {
            let (port, check) = grpc.value.0.resolve(reader)?;
            return Some((port, CheckKind::Grpc(Box::new(check))));
        }
        if let Some(dns) = self.dns.take() {
            let (port, check) = dns.value.resolve(reader)?;
            return Some((port, CheckKind::Dns(Box::new(check))));
        }
        if let Some(icmp) = self.icmp.take() {
            return Some((None, CheckKind::Icmp(icmp.value.0)));
        }
        let (port, check) = self.exec.take()?.value.resolve(reader)?;
        Some((port, CheckKind::Exec(Box::new(check))))
    }

    fn external(mut self, reader: &mut Reader<'_>) -> Option<Written> {
        self.refuse_timing(reader, "an external check", "nothing is probed: a verdict holds for \"ttl\"");
        let check = self.external.take()?.value.resolve(reader)?;
        let kind = CheckKind::External(Box::new(check));
        // Only for the TTL "auto": what is pushed is the verdict at once.
        let (interval_ms, timeout_ms) = (DEFAULT_INTERVAL_MS as u32, DEFAULT_TIMEOUT_MS as u32);
        let check = Arc::new(Check {
            kind,
            interval_ms,
            timeout_ms,
            rise: 1,
            fall: 1,
            rules: VerdictRules::default(),
        });
        Some(Written::Probe(Arc::new(ProbeTemplate { port: None, check })))
    }

    fn name(mut self, reader: &mut Reader<'_>) -> Option<Written> {
        self.refuse_timing(reader, "a check that follows a name", "give it to the checks of that name");
        let kind = CheckKind::Name(self.name.take()?.value.0);
        // Only for the TTL "auto", which is that of a check with nothing given.
        let (interval_ms, timeout_ms) = (DEFAULT_INTERVAL_MS as u32, DEFAULT_TIMEOUT_MS as u32);
        let rules = VerdictRules::default();
        let check = Arc::new(Check { kind, interval_ms, timeout_ms, rise: 2, fall: 2, rules });
        Some(Written::Probe(Arc::new(ProbeTemplate { port: None, check })))
    }

    /// Reports timing keys where they mean nothing.
    fn refuse_timing(&self, reader: &mut Reader<'_>, what: &str, hint: &str) {
        let timing = [
            ("interval", self.interval.key_position()),
            ("timeout", self.timeout.key_position()),
            ("rise", self.rise.key_position()),
            ("fall", self.fall.key_position()),
            ("slower_than", self.slower_than.key_position()),
            ("slow_start", self.slow_start.key_position()),
            ("damping", self.damping.key_position()),
        ];
        for (key, at) in timing {
            if let Some(at) = at {
                reader.error_in(key, at, format!("\"{key}\" has no effect on {what}"), hint);
            }
        }
    }

    fn combination(mut self, reader: &mut Reader<'_>) -> Option<Written> {
        let hint = "a combination is not probed itself: give it to its parts";
        self.refuse_timing(reader, "a combination", hint);
        if let Some(all) = self.all.take() {
            return Some(Written::Combined { wanted: Wanted::All, key: "all", parts: all.value.0 });
        }
        if let Some(any) = self.any.take() {
            return Some(Written::Combined { wanted: Wanted::Any, key: "any", parts: any.value.0 });
        }
        if let (Some(at), true) = (self.at_least.key_position(), self.of.is_absent()) {
            let hint = "add \"of\": [\"web\", { \"tcp\": 22 }]";
            reader.error_in("at_least", at, "\"at_least\" needs \"of\"", hint);
        }
        if let (Some(at), true) = (self.of.key_position(), self.at_least.is_absent()) {
            reader.error_in(
                "of",
                at,
                "\"of\" needs \"at_least\"",
                "add \"at_least\": 2, or use \"all\" or \"any\"",
            );
        }
        let (wanted, of) = (self.at_least.take()?, self.of.take()?);
        // The type's limits make the conversion lossless.
        let (count, parts) = (wanted.value.0 as u16, of.value.0);
        if usize::from(count) > parts.len() {
            let message = format!("{count} of {} checks can never be up", parts.len());
            let hint = "lower \"at_least\", or list more checks";
            reader.error_in("at_least", wanted.position, message, hint);
            return None;
        }
        Some(Written::Combined { wanted: Wanted::AtLeast(count), key: "of", parts })
    }

    fn timing(&self, reader: &mut Reader<'_>) -> Option<(u32, u32, u32, u32)> {
        let interval = self.interval.get().map_or(DEFAULT_INTERVAL_MS, |given| given.value.0);
        // A short interval brings the default timeout down with it; only a given one can be wrong.
        let timeout = self.timeout.get().map_or(DEFAULT_TIMEOUT_MS.min(interval), |given| given.value.0);
        if let Some(given) = self.timeout.get().filter(|_| timeout > interval) {
            let message =
                format!("the timeout {} is longer than the interval {}", show_ms(timeout), show_ms(interval));
            reader.error_in(
                "timeout",
                given.position,
                message,
                "a probe must end before the next one starts: lower it or raise \"interval\"",
            );
            return None;
        }
        let rise = self.rise.get().map_or(DEFAULT_RISE, |given| given.value.0);
        let fall = self.fall.get().map_or(DEFAULT_FALL, |given| given.value.0);
        // All four are within the limits of their types.
        Some((interval as u32, timeout as u32, rise as u32, fall as u32))
    }
}
