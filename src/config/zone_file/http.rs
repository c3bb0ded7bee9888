//! The keys of `http` and `https` checks.

use serde_json::{Value as Json, json};

use super::check::HasPort;
use super::tls::{Expiry, TlsSlots};
use crate::config::json::{
    At, Boolean, FilePath, Int, Kind, Map, OneOrMany, Port, Read, Reader, Secret, Slot, Text, Value,
};
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;
use crate::model::target::{HttpCheck, TlsCheck};

/// Status codes that count as success unless given: what browsers take for an answer.
const DEFAULT_STATUS: (u16, u16) = (200, 399);
/// Redirects followed with `"follow": true`.
const FOLLOW_SOME: u64 = 5;

macro_rules! http_object {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $key_doc:literal])* $key:literal $field:ident: $type:ty,)* } $tls:expr) => {
        object! {
            $(#[doc = $doc])*
            pub(crate) struct $name {
                /// Port to connect to, unless an endpoint's `probe` gives one; 80 for http, 443 for https.
                "port" port: Port,
                /// `Host` header; the checked name unless given. A wildcard owner must give it.
                "host" host: Text,
                /// Path and query; `/` unless given.
                "path" path: Text,
                /// Method; `GET` unless given.
                "method" method: Text,
                /// Further request headers.
                "headers" headers: Map<Secret>,
                /// Status codes that count as success, such as `[200, 204]` or `"200-399"`, which is the default.
                "status" status: OneOrMany<StatusRange>,
                /// Text that the body must contain.
                "body_contains" body_contains: Text,
                /// Text that the body must not contain.
                "body_not" body_not: Text,
                /// Redirects to the same host that are followed: a number up to 10, true for 5; none unless given.
                "follow" follow: Follow,
                /// Keep the connection for the next probe; false unless given.
                "reuse" reuse: Boolean,
                $($(#[doc = $key_doc])* $key $field: $type,)*
            }
            later: []
        }

        impl HasPort for $name {
            fn port(&mut self) -> &mut Slot<Port> {
                &mut self.port
            }
        }

        impl $name {
            /// Checks the keys against each other and fills in defaults; `kind` is the key that holds this object.
            pub(crate) fn resolve(mut self, reader: &mut Reader<'_>, kind: &str) -> Option<HttpParts> {
                let tls: fn(&mut Self, &mut Reader<'_>, &str) -> Option<Option<TlsCheck>> = $tls;
                let tls = tls(&mut self, reader, kind);
                let port = self.port.take().map(|port| port.value.0);
                let request = Request {
                    host: self.host, path: self.path, method: self.method, headers: self.headers, status: self.status,
                    body_contains: self.body_contains, body_not: self.body_not, follow: self.follow, reuse: self.reuse,
                };
                let mut check = request.resolve(reader, kind)?;
                check.tls = tls?;
                if let Some(tls) = check.tls.as_mut().filter(|tls| tls.sni.is_empty()) {
                    // Who gives a Host wants that site's certificate.
                    tls.sni = host_without_port(&check.host).to_owned();
                }
                Some(HttpParts { port, check })
            }
        }
    };
}

http_object! {
    /// An HTTP/1.1 exchange answers as wanted.
    HttpKeys {} |_, _, _| Some(None)
}

http_object! {
    /// An HTTP/1.1 exchange over TLS answers as wanted.
    HttpsKeys {
        /// Server name sent and verified; `host`, or else the checked name, unless given.
        "sni" sni: Text,
        /// Whether the certificate is verified; true unless given.
        "verify" verify: Boolean,
        /// Roots to verify against instead of the system's, in PEM.
        "ca_file" ca_file: FilePath,
        /// A certificate that expires within this time is reported with the target; "21d" for three weeks.
        "warn_expires_within" warn: Expiry,
        /// A certificate that expires within this time fails the check.
        "fail_expires_within" fail: Expiry,
    } Self::resolve_tls
}

impl HttpsKeys {
    fn resolve_tls(&mut self, reader: &mut Reader<'_>, kind: &str) -> Option<Option<TlsCheck>> {
        let slots = TlsSlots {
            sni: std::mem::take(&mut self.sni),
            verify: std::mem::take(&mut self.verify),
            ca_file: std::mem::take(&mut self.ca_file),
            warn: std::mem::take(&mut self.warn),
            fail: std::mem::take(&mut self.fail),
        };
        Some(Some(slots.resolve(reader, kind)?))
    }
}

/// A whole check but for what comes from the checked name: an empty `host`, an empty `sni`.
pub(crate) struct HttpParts {
    /// Port to connect to, if it is given.
    pub(crate) port: Option<u16>,
    /// The check.
    pub(crate) check: HttpCheck,
}

/// The keys that both kinds have.
struct Request {
    host: Slot<Text>,
    path: Slot<Text>,
    method: Slot<Text>,
    headers: Slot<Map<Secret>>,
    status: Slot<OneOrMany<StatusRange>>,
    body_contains: Slot<Text>,
    body_not: Slot<Text>,
    follow: Slot<Follow>,
    reuse: Slot<Boolean>,
}

impl Request {
    fn resolve(mut self, reader: &mut Reader<'_>, kind: &str) -> Option<HttpCheck> {
        let host_hint =
            "a host name or address, with a port if it is not the default, such as \"www.example.test:8080\"";
        let host = text_in(reader, kind, "host", self.host.take(), is_host, host_hint);
        let is_path = |s: &str| s.starts_with('/') && s.bytes().all(|b| b.is_ascii_graphic());
        let path = text_in(
            reader,
            kind,
            "path",
            self.path.take(),
            is_path,
            "a path starts with '/' and has no spaces (escape them as %20)",
        );
        let is_method = |s: &str| is_token(s) && !s.bytes().any(|b| b.is_ascii_lowercase());
        let method = text_in(
            reader,
            kind,
            "method",
            self.method.take(),
            is_method,
            "a method is a word in upper case, such as \"GET\" or \"HEAD\"",
        );
        let not_empty = |s: &str| !s.is_empty();
        let contains = text_in(
            reader,
            kind,
            "body_contains",
            self.body_contains.take(),
            not_empty,
            "give a text, or leave the key out",
        );
        let not = text_in(
            reader,
            kind,
            "body_not",
            self.body_not.take(),
            not_empty,
            "give a text, or leave the key out",
        );
        let headers = self.headers.take().map(|given| resolve_headers(reader, kind, given.value));
        let status =
            self.status.take().map(|given| given.value.0.iter().map(|range| range.value.0).collect());
        Some(HttpCheck {
            tls: None,
            host: host?.unwrap_or_default(),
            path: path?.unwrap_or_else(|| "/".to_owned()),
            method: method?.unwrap_or_else(|| "GET".to_owned()),
            headers: headers.unwrap_or_default(),
            status: status.unwrap_or_else(|| vec![DEFAULT_STATUS]),
            body_contains: contains?,
            body_not: not?,
            follow: self.follow.take().map_or(0, |given| given.value.0),
            reuse: self.reuse.take().is_some_and(|given| given.value.0),
        })
    }
}

/// A text that must pass `test`: `None` if it does not, `Some(None)` if it is not given.
pub(super) fn text_in(
    reader: &mut Reader<'_>,
    kind: &str,
    key: &str,
    given: Option<At<Text>>,
    test: impl Fn(&str) -> bool,
    hint: &str,
) -> Option<Option<String>> {
    let Some(given) = given else { return Some(None) };
    if test(&given.value.0) {
        return Some(Some(given.value.0));
    }
    report_in(reader, &[kind, key], given.position, format!("{:?} cannot stand here", given.value.0), hint);
    None
}

pub(super) fn report_in(reader: &mut Reader<'_>, keys: &[&str], at: Position, message: String, hint: &str) {
    let path = reader.path_below(keys);
    reader.error_at(path, at, message, hint);
}

fn resolve_headers(reader: &mut Reader<'_>, kind: &str, map: Map<Secret>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in map.0 {
        let at = value.position;
        let Some(Secret(text)) = value.value else { continue };
        let keys = [kind, "headers", &name];
        if !is_token(&name) {
            report_in(reader, &keys, at, format!("{name:?} is not a header name"), "letters, digits and '-'");
        } else if name.eq_ignore_ascii_case("host") {
            report_in(reader, &keys, at, "Host has a key of its own".to_owned(), "use \"host\"");
        } else if !text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f)) {
            // The value may be a secret: it is not repeated.
            report_in(
                reader,
                &keys,
                at,
                "the value holds a control character".to_owned(),
                "a header is one line",
            );
        } else {
            headers.push((name, text));
        }
    }
    headers
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

pub(super) fn is_host(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    !text.is_empty() && text.bytes().all(allowed)
}

pub(super) fn host_without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.split(':').next().unwrap_or(host)
}

/// A status code, or a range of them.
pub(crate) struct StatusRange((u16, u16));

impl Value for StatusRange {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mark = reader.mark();
        let found = match reader.peek()? {
            Kind::Number => parse_status(reader.number()?),
            Kind::String => parse_status(&reader.string()?),
            _ => None,
        };
        if let Some(range) = found {
            return Ok(Some(Self(range)));
        }
        reader.rewind(mark);
        reader.mismatch("a status code or a range of them", "from 100 to 599, such as 200 or \"200-399\"")
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": ["integer", "string"], "minimum": 100, "maximum": 599, "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$" })
    }
}

fn parse_status(text: &str) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| digits && (100..=599).contains(code))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (code(first)?, code(last)?);
    (range.0 <= range.1).then_some(range)
}

/// How many redirects are followed.
pub(crate) struct Follow(u8);

impl Value for Follow {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let count = match reader.peek()? {
            Kind::Bool => Some(if reader.boolean()? { FOLLOW_SOME } else { 0 }),
            _ => Int::<0, 10>::read(reader)?.map(|count| count.0),
        };
        // At most 10.
        Ok(count.map(|count| Self(count as u8)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": ["boolean", "integer"], "minimum": 0, "maximum": 10 })
    }
}
