//! Objects with known keys: each lists its keys once, with type and documentation, and both the parser and the JSON
//! Schema come from that list.

use serde_json::{Value as Json, json};

use super::hint::nearest;
use super::reader::{Abort, Key, Kind, Reader};
use super::values::{At, Read, Value};
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;

/// What an object's key holds.
#[derive(Debug, Default)]
pub(crate) enum Slot<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there, its value was reported as wrong.
    Bad(Position),
    /// The key's place and its value.
    Given(Position, At<T>),
}

impl<T> Slot<T> {
    /// The value, if there is a good one.
    pub(crate) fn get(&self) -> Option<&At<T>> {
        match self {
            Self::Given(_, value) => Some(value),
            _ => None,
        }
    }

    /// Takes the value, if there is a good one.
    pub(crate) fn take(&mut self) -> Option<At<T>> {
        match std::mem::take(self) {
            Self::Given(_, value) => Some(value),
            _ => None,
        }
    }

    /// Whether the key is not there; a wrong value counts as there, so that no error follows from another.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Where the key stands, if it is there.
    pub(crate) fn key_position(&self) -> Option<Position> {
        match self {
            Self::Absent => None,
            Self::Bad(position) | Self::Given(position, _) => Some(*position),
        }
    }
}

impl<T: Value> Slot<T> {
    /// Reads the value of a key, once.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>, key: &Key<'_>) -> Result<(), Abort> {
        if let Some(first) = self.key_position() {
            duplicate(reader, key, first);
            return reader.skip();
        }
        let position = reader.position();
        *self = match T::read(reader)? {
            Some(value) => Self::Given(key.position, At { value, position }),
            None => Self::Bad(key.position),
        };
        Ok(())
    }
}

/// Reports that a key stands twice in an object; `reader` is at its second value.
pub(crate) fn duplicate(reader: &mut Reader<'_>, key: &Key<'_>, first: Position) {
    let (line, column) = (first.line, first.column);
    reader.error(
        key.position,
        format!("the key \"{}\" stands twice in this object", key.name),
        format!("it is first given at {line}:{column}; keep one"),
    );
}

/// One key in an object's list.
pub(crate) struct KeyInfo {
    /// As written in JSON.
    pub(crate) name: &'static str,
    /// Its documentation.
    pub(crate) doc: &'static [&'static str],
    /// Whether it must be there.
    pub(crate) required: bool,
    /// Its value's JSON Schema.
    pub(crate) schema: fn(&mut Definitions) -> Json,
}

/// A key that must be there and is not.
pub(crate) struct Required(pub(crate) &'static str, pub(crate) bool);

/// An object with known keys; made by `object!`.
pub(crate) trait Object: Default {
    /// Name of its definition in the schema.
    const NAME: &'static str;
    /// Its documentation.
    const DOC: &'static [&'static str];
    /// Every key.
    const KEYS: &'static [KeyInfo];
    /// Keys of later versions.
    const LATER: &'static [&'static str];

    /// Reads the value of `key` if the object knows it; else leaves the value unread and returns false.
    fn member(&mut self, reader: &mut Reader<'_>, key: &Key<'_>) -> Result<bool, Abort>;

    /// Each required key, and whether it is missing.
    fn required(&self) -> Vec<Required>;

    /// Adds what [`Object::KEYS`] cannot say, such as keys by pattern.
    fn extend_schema(_schema: &mut Json, _definitions: &mut Definitions) {}
}

/// Declares an object: a struct with a [`Slot`] a key, its parser and its schema. A key is written
/// `"json-name" (required)? field: Type`; `later` lists keys that are refused as "not in this version"; `other` gives a
/// function that reads keys outside the list and one that adds them to the schema.
macro_rules! object {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $key_doc:literal])* $key:literal $(($required:ident))? $field:ident: $type:ty,)*
        }
        later: [$($later:literal),* $(,)?]
        $(, other: $other:path, $other_schema:path)?
        $(, extra: { $($extra:ident: $extra_type:ty),* })?
    ) => {
        $(#[doc = $doc])*
        #[derive(Default)]
        $visibility struct $name {
            $($(#[doc = $key_doc])* $visibility $field: $crate::config::json::Slot<$type>,)*
            $($($visibility $extra: $extra_type,)*)?
        }

        impl $crate::config::json::Object for $name {
            const NAME: &'static str = stringify!($name);
            const DOC: &'static [&'static str] = &[$($doc),*];
            const KEYS: &'static [$crate::config::json::KeyInfo] = &[$($crate::config::json::KeyInfo {
                name: $key,
                doc: &[$($key_doc),*],
                required: object!(@is_required $($required)?),
                schema: <$type as $crate::config::json::Value>::schema,
            }),*];
            const LATER: &'static [&'static str] = &[$($later),*];

            fn member(
                &mut self,
                reader: &mut $crate::config::json::Reader<'_>,
                key: &$crate::config::json::Key<'_>,
            ) -> Result<bool, $crate::config::json::Abort> {
                match &*key.name {
                    $($key => self.$field.read(reader, key)?,)*
                    _ => {
                        $(return $other(self, reader, key);)?
                        #[allow(unreachable_code)]
                        return Ok(false);
                    }
                }
                Ok(true)
            }

            fn required(&self) -> Vec<$crate::config::json::Required> {
                vec![$($($crate::config::json::Required(object!(@key $required $key), self.$field.is_absent()),)?)*]
            }

            $(fn extend_schema(schema: &mut ::serde_json::Value, definitions: &mut $crate::config::schema::Definitions) {
                $other_schema(schema, definitions);
            })?
        }

        impl $crate::config::json::Value for $name {
            fn read(reader: &mut $crate::config::json::Reader<'_>) -> $crate::config::json::Read<Self> {
                $crate::config::json::read_object(reader)
            }

            fn schema(definitions: &mut $crate::config::schema::Definitions) -> ::serde_json::Value {
                definitions.object::<Self>()
            }
        }
    };
    (@is_required required) => { true };
    (@is_required) => { false };
    (@key required $key:literal) => { $key };
}

/// Reads an object with known keys: refuses unknown, duplicate and missing ones, each with a hint.
pub(crate) fn read_object<T: Object>(reader: &mut Reader<'_>) -> Read<T> {
    if reader.peek()? != Kind::Object {
        return reader.mismatch("an object", &format!("its keys are {}", list_keys::<T>()));
    }
    let at = reader.position();
    let mut object = T::default();
    let (mut note, mut schema) = (None, None);
    reader.object(|reader, key| {
        if object.member(reader, &key)? {
            return Ok(());
        }
        match &*key.name {
            "note" => read_note(reader, &key, &mut note),
            // Only the file's own object names its schema; elsewhere it is an unknown key.
            "$schema" if reader.is_top_member() => read_note(reader, &key, &mut schema),
            _ => {
                unknown::<T>(reader, &key);
                reader.skip()
            }
        }
    })?;
    for Required(key, missing) in object.required() {
        if missing {
            let doc =
                T::KEYS.iter().find(|info| info.name == key).map_or_else(String::new, |info| join(info.doc));
            reader.error(at, format!("the key \"{key}\" is missing"), format!("{key}: {doc}"));
        }
    }
    Ok(Some(object))
}

fn read_note(reader: &mut Reader<'_>, key: &Key<'_>, seen: &mut Option<Position>) -> Result<(), Abort> {
    if let Some(first) = seen.replace(key.position) {
        duplicate(reader, key, first);
        return reader.skip();
    }
    if reader.peek()? != Kind::String {
        return reader.mismatch::<()>("a text", "a note is a string").map(drop);
    }
    reader.string().map(drop)
}

fn unknown<T: Object>(reader: &mut Reader<'_>, key: &Key<'_>) {
    let name = &*key.name;
    if T::LATER.contains(&name) {
        let hint = "this key belongs to a later version of Hale; leave it out";
        return reader.error(key.position, format!("\"{name}\" is not in this version"), hint);
    }
    let hint = match nearest(name, T::KEYS.iter().map(|info| info.name)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("the keys here are {}", list_keys::<T>()),
    };
    reader.error(key.position, format!("\"{name}\" is not a known key"), hint);
}

fn list_keys<T: Object>() -> String {
    T::KEYS.iter().map(|info| info.name).collect::<Vec<_>>().join(", ")
}

/// Joins the lines of a doc comment.
pub(crate) fn join(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The schema of an object; [`Definitions::object`] keeps it.
pub(crate) fn object_schema<T: Object>(definitions: &mut Definitions) -> Json {
    let mut properties = serde_json::Map::new();
    for info in T::KEYS {
        let mut schema = (info.schema)(definitions);
        if let Some(map) = schema.as_object_mut() {
            map.insert("description".to_owned(), json!(join(info.doc)));
        }
        properties.insert(info.name.to_owned(), schema);
    }
    properties.insert("note".to_owned(), json!({ "type": "string", "description": "For people; not read." }));
    let required: Vec<&str> = T::KEYS.iter().filter(|info| info.required).map(|info| info.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": join(T::DOC),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    T::extend_schema(&mut schema, definitions);
    schema
}
