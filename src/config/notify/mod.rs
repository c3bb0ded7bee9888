//! The keys of `notify`: who is told of what happens.

mod template;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::json::{
    AbsoluteName, At, Boolean, Duration, Element, FilePath, Map, OneOrMany, Read, Reader, Slot, Text, Value,
    nearest,
};
use super::live::LiveSecret;
use super::schema::Definitions;
use super::server::MAX_TIME_MS;
use crate::model::diagnostic::Position;
use crate::model::event::EventKind;
use crate::model::name::Name;

pub use template::{Field, Template};

/// How long events are gathered before a message is sent, in milliseconds, unless given.
const WINDOW_MS: u64 = 10_000;
/// How long one request may take, unless given.
const TIMEOUT_MS: u64 = 10_000;
/// What a chat is told unless a template is given.
const TEXT: &str = "{{text}}";
/// Headers that say how the request itself is to be read.
const NOT_TO_BE_GIVEN: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

object! {
    /// Somebody who is told what happens.
    pub(crate) struct NotifyKeys {
        /// A name of your own for logs and metrics; different from those of all others.
        "name" (required) name: Text,
        /// Any HTTP service.
        "webhook" webhook: WebhookKeys,
        /// A Slack channel, by an incoming webhook.
        "slack" slack: ChatKeys,
        /// A Discord channel, by a webhook.
        "discord" discord: ChatKeys,
        /// Kinds of events that are told. Unless given: flips, names with nothing up, brakes, sources that fail, files that cannot be read, signing trouble
        /// and certificates that expire, and that these are over.
        "events" events: OneOrMany<EventKind>,
        /// Only events about these zones, and those about no zone in particular; all unless given.
        "zones" zones: OneOrMany<AbsoluteName>,
        /// How long events are gathered into one message, from the first of them on; 10s unless given.
        "window" window: Duration<0, MAX_TIME_MS>,
        /// How long one request may take; 10s unless given.
        "timeout" timeout: Duration<100, MAX_TIME_MS>,
        /// Roots to verify the server's certificate against instead of the system's, in PEM.
        "ca_file" ca_file: FilePath,
        /// Whether the server's certificate is verified; true unless given.
        "verify" verify: Boolean,
    }
    later: []
}

object! {
    /// Any HTTP service, which is sent a POST request.
    pub(crate) struct WebhookKeys {
        /// Where to.
        "url" (required) url: LiveSecret,
        /// Bearer token.
        "token" token: LiveSecret,
        /// Further headers.
        "headers" headers: Map<LiveSecret>,
        /// The body: JSON with fields such as {{text}}; unless given, an object with all there is.
        "body" body: Text,
    }
    later: []
}

object! {
    /// A channel of a chat.
    pub(crate) struct ChatKeys {
        /// The webhook's URL, which is a secret.
        "url" (required) url: LiveSecret,
        /// What is written, with fields such as {{summary}}; {{text}} unless given.
        "template" template: Text,
    }
    later: []
}

/// Who is told what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Its name.
    pub name: Arc<str>,
    /// In which form.
    pub kind: NotifyKind,
    /// Where to; a secret.
    pub url: LiveSecret,
    /// Kinds of events.
    pub events: Vec<EventKind>,
    /// Only events about these zones, and those about none; all if this is empty.
    pub zones: Vec<Name>,
    /// Milliseconds for which events are gathered.
    pub window_ms: u64,
    /// Milliseconds that one request may take.
    pub timeout_ms: u64,
    /// Roots in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the certificate is verified.
    pub verify: bool,
}

/// In which form a receiver is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyKind {
    /// As JSON.
    Webhook {
        /// Bearer token.
        token: Option<LiveSecret>,
        /// Further headers.
        headers: Vec<(Box<str>, LiveSecret)>,
        /// The body; all there is unless given.
        body: Option<Template>,
    },
    /// As a Slack message.
    Slack(Template),
    /// As a Discord message.
    Discord(Template),
}

/// A kind of event by its word.
impl Value for EventKind {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        let Some(Text(text)) = Text::read(reader)? else { return Ok(None) };
        if let Ok(kind) = text.parse() {
            return Ok(Some(kind));
        }
        let words = || Self::ALL.into_iter().map(Self::name);
        let hint = match nearest(&text, words()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of {}", words().collect::<Vec<_>>().join(", ")),
        };
        reader.error(at, format!("\"{text}\" is not a kind of event"), hint);
        Ok(None)
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "enum": Self::ALL.map(Self::name) })
    }
}

/// What is told unless a receiver says otherwise: what goes wrong by itself, and that it is over. Not what people do, nor each name that is
/// discovered.
fn is_told_by_default(kind: EventKind) -> bool {
    use EventKind::{BrakeReleased, NameRecovered, SourceBrakeReleased, SourceRecovered, TargetFlip};
    kind.is_trouble()
        || matches!(kind, TargetFlip | NameRecovered | BrakeReleased | SourceRecovered | SourceBrakeReleased)
}

/// The receivers of a configuration; what is wrong with them is reported.
pub(super) fn resolve(reader: &mut Reader<'_>, list: Vec<Element<NotifyKeys>>) -> Vec<NotifyConfig> {
    let mut receivers: Vec<NotifyConfig> = Vec::with_capacity(list.len());
    for Element { value: mut keys, position, index } in list {
        let path = format!("notify[{index}]");
        let Some(name) = keys.name.take() else { continue };
        if receivers.iter().any(|receiver| *receiver.name == *name.value.0) {
            let message = format!("there are two receivers named {:?}", name.value.0);
            reader.error_at(format!("{path}.name"), name.position, message, "give each a name of its own");
        }
        receivers.extend(receiver(reader, &path, position, keys, name.value.0));
    }
    receivers
}

fn receiver(
    reader: &mut Reader<'_>,
    path: &str,
    at: Position,
    mut keys: NotifyKeys,
    name: String,
) -> Option<NotifyConfig> {
    let (kind, url) = kind(reader, path, at, &mut keys)?;
    let events = match keys.events.take() {
        Some(list) => list.value.0.into_iter().map(|element| element.value).collect(),
        None => EventKind::ALL.into_iter().filter(|kind| is_told_by_default(*kind)).collect(),
    };
    let zones = keys.zones.take().map_or_else(Vec::new, |list| list.value.0);
    Some(NotifyConfig {
        name: name.into(),
        kind,
        url,
        events,
        zones: zones.into_iter().map(|element| element.value.0).collect(),
        window_ms: keys.window.take().map_or(WINDOW_MS, |given| given.value.0),
        timeout_ms: keys.timeout.take().map_or(TIMEOUT_MS, |given| given.value.0),
        ca_file: keys.ca_file.take().map(|path| path.value.0),
        verify: keys.verify.take().is_none_or(|given| given.value.0),
    })
}

fn kind(
    reader: &mut Reader<'_>,
    path: &str,
    at: Position,
    keys: &mut NotifyKeys,
) -> Option<(NotifyKind, LiveSecret)> {
    let absent = [keys.webhook.is_absent(), keys.slack.is_absent(), keys.discord.is_absent()];
    if absent.into_iter().filter(|absent| !absent).count() != 1 {
        let message = "a receiver is told in exactly one form";
        let hint = "give one of \"webhook\", \"slack\" and \"discord\"";
        reader.error_at(path.to_owned(), at, message, hint);
        return None;
    }
    if let Some(given) = keys.webhook.take() {
        return webhook(reader, &format!("{path}.webhook"), given.value);
    }
    let (word, chat) = match keys.slack.take() {
        Some(chat) => ("slack", chat),
        None => ("discord", keys.discord.take()?),
    };
    let (path, mut chat) = (format!("{path}.{word}"), chat.value);
    let template = match chat.template.take() {
        Some(text) => template(reader, &format!("{path}.template"), &text),
        None => Template::parse(TEXT).ok(),
    };
    let (url, template) = (url(reader, &path, &mut chat.url)?, template?);
    Some((if word == "slack" { NotifyKind::Slack(template) } else { NotifyKind::Discord(template) }, url))
}

fn webhook(reader: &mut Reader<'_>, path: &str, mut keys: WebhookKeys) -> Option<(NotifyKind, LiveSecret)> {
    let mut headers = Vec::new();
    for (name, At { value, position }) in keys.headers.take().map_or_else(Vec::new, |map| map.value.0) {
        let at = format!("{path}.headers");
        if !is_token(&name) {
            reader.error_at(
                at,
                position,
                format!("{name:?} is not the name of a header"),
                "such as \"X-Priority\"",
            );
        } else if NOT_TO_BE_GIVEN.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            reader.error_at(
                at,
                position,
                format!("{name:?} follows from the request itself"),
                "leave it out",
            );
        } else {
            headers.extend(value.map(|value| (name.into(), value)));
        }
    }
    let body = match keys.body.take() {
        Some(text) => Some(body(reader, &format!("{path}.body"), &text)?),
        None => None,
    };
    let token = keys.token.take().map(|given| given.value);
    Some((NotifyKind::Webhook { token, headers, body }, url(reader, path, &mut keys.url)?))
}

/// Whether it is a `token` (RFC 9110 §5.6.2), as names of headers are.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A URL that may be kept in a file, which must hold one by now.
fn url(reader: &mut Reader<'_>, path: &str, slot: &mut Slot<LiveSecret>) -> Option<LiveSecret> {
    let At { value, position } = slot.take()?;
    // That a file cannot be read was reported.
    let text = value.read().ok()?;
    if is_http_url(&text) {
        return Some(value);
    }
    // It may be a secret, and is not repeated.
    let hint = "http:// or https://, a host, and a path if there is one; no user and password";
    reader.error_at(format!("{path}.url"), position, "this is not a URL that can be called", hint);
    None
}

/// Whether a text is a URL with a host, of HTTP or HTTPS, and without credentials.
fn is_http_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_host = !authority.is_empty() && !authority.starts_with(':');
    has_host && !authority.contains('@') && !rest.contains('#') && rest.bytes().all(|b| b.is_ascii_graphic())
}

fn template(reader: &mut Reader<'_>, path: &str, text: &At<Text>) -> Option<Template> {
    let parsed = Template::parse(&text.value.0);
    parsed.map_err(|(message, hint)| reader.error_at(path.to_owned(), text.position, message, hint)).ok()
}

/// A template that is JSON once its fields are filled in, whatever they are.
fn body(reader: &mut Reader<'_>, path: &str, text: &At<Text>) -> Option<Template> {
    let template = template(reader, path, text)?;
    let sample = |field| match field {
        Field::Events => r#"["sample"]"#.into(),
        Field::Count => "1".into(),
        _ => "\"sample\"\n".into(),
    };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&template.fill_json(sample)) {
        let message = format!("this is not JSON once its fields are filled in: {error}");
        let hint = r#"quotation marks around each field but {{events}} and {{count}}: {"text": "{{text}}"}"#;
        reader.error_at(path.to_owned(), text.position, message, hint);
        return None;
    }
    Some(template)
}
