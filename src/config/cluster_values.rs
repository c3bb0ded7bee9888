//! Values of the keys of a Kubernetes source: what no cluster could hold is an error here, not a source that fails.

use serde_json::{Value as Json, json};

use super::json::{Read, Reader, Text, Value};
use super::schema::Definitions;
use super::selector::{Selector, is_object_label, is_subdomain};

/// What a selector may be.
const SELECTOR_HINT: &str = "such as \"app=web,tier in (front, back),!hidden\"";

/// A label selector, as the API server is sent it.
pub(crate) struct LabelSelector(pub(super) Box<str>);

/// A selector over annotations, which is applied here.
pub(crate) struct AnnotationSelector(pub(super) Selector);

/// The name of a namespace.
pub(crate) struct NamespaceName(pub(super) Box<str>);

/// The name of a class.
pub(crate) struct ClassName(pub(super) Box<str>);

/// The prefix of annotations, with or without its slash.
pub(crate) struct AnnotationPrefix(pub(super) Box<str>);

/// A Service: namespace and name.
pub(crate) struct ServiceName(pub(super) Box<str>, pub(super) Box<str>);

/// Reads a text that `read` takes, or else reports its message with `hint`.
fn read_text<T>(
    reader: &mut Reader<'_>,
    hint: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Read<T> {
    let at = reader.position();
    let Some(Text(text)) = Text::read(reader)? else { return Ok(None) };
    match read(&text) {
        Ok(value) => Ok(Some(value)),
        Err(message) => {
            reader.error(at, message, hint);
            Ok(None)
        }
    }
}

fn name(text: &str, what: &str, is_one: impl Fn(&str) -> bool) -> Result<Box<str>, String> {
    if is_one(text) { Ok(text.into()) } else { Err(format!("{text:?} is not {what}")) }
}

impl Value for LabelSelector {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        read_text(reader, SELECTOR_HINT, |text| {
            let selector = Selector::parse(text).map_err(|error| error.to_string())?;
            match selector.impossible_value() {
                Some(value) => Err(format!("{value:?} is no value that a label can have")),
                None => Ok(Self(text.into())),
            }
        })
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Text::schema(definitions)
    }
}

impl Value for AnnotationSelector {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        read_text(reader, SELECTOR_HINT, |text| {
            Selector::parse(text).map(Self).map_err(|error| error.to_string())
        })
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Text::schema(definitions)
    }
}

impl Value for NamespaceName {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let hint =
            "1 to 63 small letters, digits and '-', such as \"team-a\"; patterns are not in this version";
        read_text(reader, hint, |text| name(text, "the name of a namespace", is_object_label).map(Self))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" })
    }
}

impl Value for ClassName {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let hint = "small letters, digits, '-' and '.', such as \"traefik\"";
        read_text(reader, hint, |text| name(text, "the name of a class", is_subdomain).map(Self))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$" })
    }
}

impl Value for AnnotationPrefix {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let is_prefix = |text: &str| is_subdomain(text.strip_suffix('/').unwrap_or(text));
        let hint = "a domain in small letters, such as \"dns.example.com/\"";
        read_text(reader, hint, |text| name(text, "a prefix of annotations", is_prefix).map(Self))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/?$" })
    }
}

impl Value for ServiceName {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let hint = "give it as namespace/name, such as \"traefik/traefik\"";
        read_text(reader, hint, |text| {
            let parts = text.split_once('/');
            let parts = parts.filter(|(namespace, name)| is_object_label(namespace) && is_object_label(name));
            let (namespace, name) = parts.ok_or_else(|| format!("{text:?} is not a Service"))?;
            Ok(Self(namespace.into(), name.into()))
        })
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9-]+/[a-z0-9-]+$" })
    }
}
