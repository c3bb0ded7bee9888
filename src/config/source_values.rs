//! Values of the keys of sources.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::cron::Cron;
use super::json::{Kind, Read, Reader, Text, Value, Word, read_name};
use super::schema::Definitions;
use super::source_types::{Conflict, KubernetesResource, SourceMode, SourceTarget, SyncMode, Visibility};

/// The longest name of a source: it is a label of metrics and the name of a pool.
const MAX_SOURCE_NAME: usize = 63;

/// The name of a source: a word, since it stands in metrics, file names and URLs.
pub(crate) struct SourceName(pub(super) String);

impl Value for SourceName {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        let Some(Text(text)) = Text::read(reader)? else { return Ok(None) };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty()
            || text.len() > MAX_SOURCE_NAME
            || text.starts_with(['.', '-'])
            || !text.bytes().all(plain)
        {
            let hint = format!("1 to {MAX_SOURCE_NAME} letters, digits, '-', '_' and '.', such as \"edge\"");
            reader.error(at, format!("{text:?} is not a name of a source"), hint);
            return Ok(None);
        }
        Ok(Some(Self(text)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$" })
    }
}

/// An absolute URL of HTTP or HTTPS, without credentials, query and fragment.
pub(crate) struct HttpUrl(pub(super) String);

impl Value for HttpUrl {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        let Some(Text(text)) = Text::read(reader)? else { return Ok(None) };
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let wrong = match rest {
            None => Some("it starts with neither http:// nor https://"),
            Some(rest) if rest.is_empty() || rest.starts_with(['/', ':']) => Some("it has no host"),
            Some(rest) if rest.contains(['?', '#']) => Some("it has a query or a fragment"),
            Some(rest) if rest.split('/').next().is_some_and(|authority| authority.contains('@')) => {
                Some("credentials stand in it; give them as \"username\" and \"password\"")
            }
            Some(rest) if !rest.bytes().all(|b| b.is_ascii_graphic()) => Some("odd characters stand in it"),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            reader.error(at, format!("not a URL: {wrong}"), "such as \"http://traefik:8080\"");
            return Ok(None);
        }
        Ok(Some(Self(text.trim_end_matches('/').to_owned())))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "pattern": "^https?://" })
    }
}

/// An address, or the name of a host.
impl Value for SourceTarget {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::String {
            return reader
                .mismatch("a target", "an address, or the name of a host such as \"lb.example.net\"");
        }
        let at = reader.position();
        let text = reader.string()?;
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Some(Self::Address(ip)));
        }
        if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':' | b'/')) {
            reader.error(
                at,
                format!("{text:?} is not an address"),
                "such as \"192.0.2.40\" or \"2001:db8::40\"",
            );
            return Ok(None);
        }
        let Some(name) = read_name(reader, &text, at) else { return Ok(None) };
        if name.is_wildcard() || name.is_root() {
            reader.error(at, format!("{text:?} is not the name of a host"), "such as \"lb.example.net\"");
            return Ok(None);
        }
        Ok(Some(Self::Host(name)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

object! {
    /// When a source is asked.
    pub(crate) struct CronKeys {
        /// Minute, hour, day of the month, month and day of the week in UTC, as crontab(5) takes them.
        "cron" (required) cron: Text,
    }
    later: []
}

const SYNC_HINT: &str = "\"continuous\", \"manual\", or { \"cron\": \"*/5 * * * *\" }";

impl Value for SyncMode {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::Object => {
                let Some(text) = CronKeys::read(reader)?.and_then(|mut keys| keys.cron.take()) else {
                    return Ok(None);
                };
                match Cron::parse(&text.value.0) {
                    Ok(cron) => return Ok(Some(Self::Cron(cron))),
                    Err(reason) => {
                        let message = format!("{:?} is not a schedule: {reason}", text.value.0);
                        let hint = "minute, hour, day, month and weekday, such as \"*/5 * * * *\"; in UTC";
                        reader.error_in("cron", text.position, message, hint);
                        return Ok(None);
                    }
                }
            }
            Kind::String => {
                let mark = reader.mark();
                match &*reader.string()? {
                    "continuous" => return Ok(Some(Self::Continuous)),
                    "manual" => return Ok(Some(Self::Manual)),
                    _ => reader.rewind(mark),
                }
            }
            _ => {}
        }
        reader.mismatch("a way to sync", SYNC_HINT)
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "enum": ["continuous", "manual"] }, CronKeys::schema(definitions)] })
    }
}

impl Word for Visibility {
    const WHAT: &'static str = "a visibility";
    const WORDS: &'static [(&'static str, Self)] =
        &[("internal", Self::Internal), ("external", Self::External)];
    const LATER: &'static [&'static str] = &[];
}

impl Word for SourceMode {
    const WHAT: &'static str = "a mode";
    const WORDS: &'static [(&'static str, Self)] =
        &[("sync", Self::Sync), ("add-only", Self::AddOnly), ("observe", Self::Observe)];
    const LATER: &'static [&'static str] = &[];
}

impl Word for Conflict {
    const WHAT: &'static str = "a conflict policy";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("priority", Self::Priority),
        ("merge", Self::Merge),
        ("oldest", Self::Oldest),
        ("reject", Self::Reject),
    ];
    const LATER: &'static [&'static str] = &[];
}

impl Word for KubernetesResource {
    const WHAT: &'static str = "a kind of object";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("ingress", Self::Ingress),
        ("ingressroute", Self::IngressRoute),
        ("ingressroutetcp", Self::IngressRouteTcp),
        ("httproute", Self::HttpRoute),
        ("grpcroute", Self::GrpcRoute),
        ("tlsroute", Self::TlsRoute),
        ("service", Self::Service),
        ("dnsendpoint", Self::DnsEndpoint),
    ];
    const LATER: &'static [&'static str] = &[];
}
