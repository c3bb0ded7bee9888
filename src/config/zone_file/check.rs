//! Checks: what a probe does, with every default filled in (interface.md, "Checks").

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::http::{HttpKeys, HttpsKeys};
use crate::config::json::{
    Abort, At, Duration, Int, Key, Kind, Object, Port, Read, Reader, Slot, Value, show_ms,
};
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;
use crate::model::name::Name;
use crate::model::target::{Check, CheckKind};

/// The shortest interval: below it probing is load, not news.
const MIN_INTERVAL_MS: u64 = 100;
/// The longest interval, a day; it also keeps milliseconds within 32 bits.
const MAX_INTERVAL_MS: u64 = 86_400_000;
const DEFAULT_INTERVAL_MS: u64 = 10_000;
const DEFAULT_TIMEOUT_MS: u64 = 2000;
const DEFAULT_RISE: u64 = 2;
const DEFAULT_FALL: u64 = 3;

object! {
    /// A health check: one kind, and how often it runs.
    pub(crate) struct CheckKeys {
        /// A TCP connection is accepted; a port, or an object.
        "tcp" tcp: PortOr<TcpKeys>,
        /// An HTTP/1.1 exchange answers as wanted; a port, or an object.
        "http" http: PortOr<HttpKeys>,
        /// An HTTP/1.1 exchange over TLS answers as wanted; a port, or an object.
        "https" https: PortOr<HttpsKeys>,
        /// From one probe's start to the next one's; 100ms and up, 10s unless given.
        "interval" interval: Duration<MIN_INTERVAL_MS, MAX_INTERVAL_MS>,
        /// After which a probe counts as failed; at most the interval, 2s unless given.
        "timeout" timeout: Duration<1, MAX_INTERVAL_MS>,
        /// Successes in a row that turn down into up; 2 unless given.
        "rise" rise: Int<1, 1000>,
        /// Failures in a row that turn up into down; 3 unless given.
        "fall" fall: Int<1, 1000>,
    }
    later: ["tls", "grpc", "dns", "icmp", "exec", "external", "all", "any", "at_least", "of"],
    other: CheckKeys::see_later, CheckKeys::same_schema,
    extra: { has_later_kind: bool }
}

object! {
    /// A TCP connection is accepted.
    pub(crate) struct TcpKeys {
        /// Port to connect to, unless an endpoint's `probe` gives one.
        "port" port: Port,
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

impl HasPort for TcpKeys {
    fn port(&mut self) -> &mut Slot<Port> {
        &mut self.port
    }
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

/// A check as configured: complete but for what it takes from the name that is checked.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// Port to connect to, unless the endpoint's `probe` gives one.
    pub(crate) port: Option<u16>,
    check: Arc<Check>,
    /// `Host` (and with it the SNI) is the checked name.
    host_from_name: bool,
}

impl Template {
    /// A TCP check of a-healthy-dns's shape: one failure flips.
    pub(crate) fn health_port(interval_ms: u32, timeout_ms: u32) -> Self {
        let check = Check { kind: CheckKind::Tcp, interval_ms, timeout_ms, rise: 1, fall: 1 };
        Self { port: None, check: Arc::new(check), host_from_name: false }
    }

    /// The same check with a port.
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self { port: Some(port), ..self.clone() }
    }

    /// The check of one owner, `None` if the owner's name can be no `Host`: a wildcard, or a name with odd octets.
    pub(crate) fn for_owner(&self, owner: &Name) -> Option<Arc<Check>> {
        if !self.host_from_name {
            return Some(Arc::clone(&self.check));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if owner.is_root() || !owner.labels().all(|label| label.iter().copied().all(plain)) {
            return None;
        }
        let text = owner.to_string();
        let host = text.trim_end_matches('.');
        let mut check = Check::clone(&self.check);
        if let CheckKind::Http(http) = &mut check.kind {
            let default_port = if http.tls.is_some() { 443 } else { 80 };
            // The port that clients use belongs into Host, not the one that a `probe` override connects to.
            http.host = match self.port {
                Some(port) if port != default_port => format!("{host}:{port}"),
                _ => host.to_owned(),
            };
            if let Some(tls) = http.tls.as_mut().filter(|tls| tls.sni.is_empty()) {
                tls.sni = host.to_owned();
            }
        }
        Some(Arc::new(check))
    }
}

/// What a `check` key holds.
#[derive(Clone, Debug)]
pub(crate) enum CheckRef {
    /// `"none"`: not checked, although the owner is.
    None,
    /// The name of one of the zone's `checks`.
    Named(String),
    /// Written in place; nothing if it was reported as wrong.
    Inline(Option<Arc<Template>>),
}

impl Value for CheckRef {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::String => Ok(Some(match &*reader.string()? {
                "none" => Self::None,
                name => Self::Named(name.to_owned()),
            })),
            Kind::Object => Ok(Some(Self::Inline(read_check(reader)?.map(Arc::new)))),
            _ => reader.mismatch(
                "a check",
                "the name of one of the zone's \"checks\", an object such as { \"tcp\": 443 }, or \"none\"",
            ),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, CheckKeys::schema(definitions)] })
    }
}

/// The zone's `checks` by name; nothing for one that was reported as wrong.
pub(crate) type Checks = HashMap<String, Option<Arc<Template>>>;

/// The value of one of a zone's `checks`.
pub(crate) struct CheckValue(pub(crate) Template);

impl Value for CheckValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(read_check(reader)?.map(Self))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        CheckKeys::schema(definitions)
    }
}

fn read_check(reader: &mut Reader<'_>) -> Read<Template> {
    let at = reader.position();
    Ok(CheckKeys::read(reader)?.and_then(|keys| keys.resolve(reader, at)))
}

impl CheckKeys {
    /// Remembers that a kind of a later version was given, so that no error follows from it.
    fn see_later(&mut self, _: &mut Reader<'_>, key: &Key<'_>) -> Result<bool, Abort> {
        self.has_later_kind |= Self::LATER.contains(&&*key.name);
        Ok(false)
    }

    fn same_schema(_: &mut Json, _: &mut Definitions) {}

    fn resolve(mut self, reader: &mut Reader<'_>, at: Position) -> Option<Template> {
        let timing = self.timing(reader);
        let kinds = [self.tcp.is_absent(), self.http.is_absent(), self.https.is_absent()];
        match kinds.iter().filter(|absent| !**absent).count() {
            0 if self.has_later_kind => return None,
            0 => {
                reader.error(
                    at,
                    "the check has no kind",
                    "add one of \"tcp\", \"http\", \"https\", such as \"tcp\": 443",
                );
                return None;
            }
            1 => {}
            _ => {
                reader.error(
                    at,
                    "the check has several kinds",
                    "a check has one of \"tcp\", \"http\", \"https\"",
                );
                return None;
            }
        }
        let (port, kind, host_from_name) = if let Some(mut tcp) = self.tcp.take() {
            (tcp.value.0.port.take().map(|port| port.value.0), CheckKind::Tcp, false)
        } else {
            let parts = match (self.http.take(), self.https.take()) {
                (Some(http), _) => http.value.0.resolve(reader, "http"),
                (_, Some(https)) => https.value.0.resolve(reader, "https"),
                _ => None,
            }?;
            let host_from_name = parts.check.host.is_empty();
            (Some(parts.port), CheckKind::Http(Box::new(parts.check)), host_from_name)
        };
        let (interval_ms, timeout_ms, rise, fall) = timing?;
        let check = Arc::new(Check { kind, interval_ms, timeout_ms, rise, fall });
        Some(Template { port, check, host_from_name })
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
