//! Values that keys hold: numbers, durations, names, paths, secrets, lists.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::hint::nearest;
use super::object::duplicate;
use super::reader::{Abort, Key, Kind, Reader};
use crate::config::input;
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;
use crate::model::name::{Name, NameError};
use crate::model::ttl::{MAX_TTL, parse_duration_ms};

/// What reading a value gives: nothing if it was reported as wrong, an error if the text ends there.
pub(crate) type Read<T> = Result<Option<T>, Abort>;

/// A type that can be read from JSON and says so in JSON Schema.
pub(crate) trait Value: Sized {
    /// Reads the next value, or reports what is wrong with it and skips it.
    fn read(reader: &mut Reader<'_>) -> Read<Self>;

    /// Its JSON Schema.
    fn schema(definitions: &mut Definitions) -> Json;
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands.
    pub(crate) position: Position,
}

/// An element of a list, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Element<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands.
    pub(crate) position: Position,
    /// Its index, wrong elements counted.
    pub(crate) index: usize,
}

/// Any string.
pub(crate) struct Text(pub(crate) String);

impl Value for Text {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::String {
            return reader.mismatch("a string", "put it in double quotes");
        }
        Ok(Some(Self(reader.string()?.into_owned())))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string" })
    }
}

/// `true` or `false`.
pub(crate) struct Boolean(pub(crate) bool);

impl Value for Boolean {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::Bool {
            return reader.mismatch("true or false", "write true or false, without quotes");
        }
        Ok(Some(Self(reader.boolean()?)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "boolean" })
    }
}

/// A whole number within limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Value for Int<MIN, MAX> {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let what = format!("a whole number from {MIN} to {MAX}");
        Ok(read_int(reader, MIN, MAX, &what, "write a number within these limits, without quotes")?.map(Self))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

fn read_int(reader: &mut Reader<'_>, min: u64, max: u64, what: &str, hint: &str) -> Read<u64> {
    if reader.peek()? == Kind::Number {
        let mark = reader.mark();
        match reader.number()?.parse::<u64>() {
            Ok(value) if (min..=max).contains(&value) => return Ok(Some(value)),
            _ => reader.rewind(mark),
        }
    }
    reader.mismatch(what, hint)
}

/// A TCP or UDP port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port(pub(crate) u16);

impl Value for Port {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let hint = "a port is a whole number from 1 to 65535, without quotes";
        // The limits make the conversion lossless.
        Ok(read_int(reader, 1, 65_535, "a port", hint)?.map(|port| Self(port as u16)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": 65_535 })
    }
}

/// A duration within limits, in milliseconds: a string with units, or a number of seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Duration<const MIN_MS: u64, const MAX_MS: u64>(pub(crate) u64);

impl<const MIN_MS: u64, const MAX_MS: u64> Value for Duration<MIN_MS, MAX_MS> {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mark = reader.mark();
        match read_duration(reader)? {
            Some(ms) if (MIN_MS..=MAX_MS).contains(&ms) => Ok(Some(Self(ms))),
            Some(_) => {
                reader.rewind(mark);
                let what = format!("a duration from {} to {}", show_ms(MIN_MS), show_ms(MAX_MS));
                reader.mismatch(
                    &what,
                    "write a duration within these limits, such as \"500ms\", \"10s\" or \"5m\"",
                )
            }
            None => Ok(None),
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        duration_schema()
    }
}

/// A TTL or another time of the DNS, in whole seconds (RFC 2181 §8).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ttl(pub(crate) u32);

impl Value for Ttl {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mark = reader.mark();
        let Some(ms) = read_duration(reader)? else { return Ok(None) };
        match u32::try_from(ms / 1000) {
            Ok(seconds) if ms % 1000 == 0 && seconds <= MAX_TTL => Ok(Some(Self(seconds))),
            _ => {
                reader.rewind(mark);
                reader.mismatch(
                    "a time in whole seconds up to 2147483647",
                    "write \"30s\", \"5m\", \"1h\", \"1d\" or a number of seconds",
                )
            }
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        duration_schema()
    }
}

fn read_duration(reader: &mut Reader<'_>) -> Read<u64> {
    let mark = reader.mark();
    let ms = match reader.peek()? {
        Kind::String => parse_duration_ms(&reader.string()?),
        Kind::Number => reader.number()?.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000)),
        _ => None,
    };
    if ms.is_some() {
        return Ok(ms);
    }
    reader.rewind(mark);
    reader
        .mismatch("a duration", "write \"500ms\", \"10s\", \"5m\", \"1h30m\", \"1d\" or a number of seconds")
}

fn duration_schema() -> Json {
    json!({ "type": ["string", "integer"], "minimum": 0, "pattern": "^([0-9]+(ms|s|m|h|d|w)?)+$" })
}

/// Milliseconds in the largest unit that divides them.
pub(crate) fn show_ms(ms: u64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

/// One of a few words.
pub(crate) trait Word: Copy + 'static {
    /// What a word decides, for errors: "a log level".
    const WHAT: &'static str;
    /// Each word, what it means, and its documentation.
    const WORDS: &'static [(&'static str, Self)];
    /// Words of later versions.
    const LATER: &'static [&'static str];
}

/// Reads one of a few words.
pub(crate) fn read_word<T: Word>(reader: &mut Reader<'_>) -> Read<T> {
    let words = T::WORDS.iter().map(|&(word, _)| word).collect::<Vec<_>>();
    let mark = reader.mark();
    let at = reader.position();
    let mut hint = match words[..] {
        [word] => format!("write \"{word}\""),
        _ => format!("one of {}", words.join(", ")),
    };
    if reader.peek()? == Kind::String {
        let given = reader.string()?;
        if let Some(&(_, value)) = T::WORDS.iter().find(|(word, _)| *word == given) {
            return Ok(Some(value));
        }
        if T::LATER.contains(&&*given) {
            reader.error(at, format!("\"{given}\" is not in this version"), hint);
            return Ok(None);
        }
        if let Some(near) = nearest(&given, words) {
            hint = format!("did you mean \"{near}\"?");
        }
        reader.rewind(mark);
    }
    reader.mismatch(T::WHAT, &hint)
}

/// The schema of one of a few words.
pub(crate) fn word_schema<T: Word>() -> Json {
    json!({ "enum": T::WORDS.iter().map(|&(word, _)| word).collect::<Vec<_>>() })
}

impl<T: Word> Value for T {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        read_word(reader)
    }

    fn schema(_: &mut Definitions) -> Json {
        word_schema::<Self>()
    }
}

/// A list that may be empty.
pub(crate) struct List<T>(pub(crate) Vec<Element<T>>);

impl<T: Value> Value for List<T> {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::Array {
            return reader.mismatch("a list", "put it in square brackets");
        }
        let mut list = Vec::new();
        read_elements(reader, &mut list)?;
        Ok(Some(Self(list)))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
}

/// One value, or a list of at least one.
pub(crate) struct OneOrMany<T>(pub(crate) Vec<Element<T>>);

impl<T: Value> Value for OneOrMany<T> {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let position = reader.position();
        if reader.peek()? != Kind::Array {
            return Ok(T::read(reader)?.map(|value| Self(vec![Element { value, position, index: 0 }])));
        }
        let mut list = Vec::new();
        if read_elements(reader, &mut list)? == 0 {
            reader.error(position, "the list is empty", "give at least one value, or leave the key out");
            return Ok(None);
        }
        Ok(Some(Self(list)))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// Reads the good elements of a list into `list`; gives how many there are, wrong ones included.
fn read_elements<T: Value>(reader: &mut Reader<'_>, list: &mut Vec<Element<T>>) -> Result<usize, Abort> {
    let mut count = 0;
    reader.array(|reader| {
        let (position, index) = (reader.position(), count);
        count += 1;
        list.extend(T::read(reader)?.map(|value| Element { value, position, index }));
        Ok(())
    })?;
    Ok(count)
}

/// An object whose keys are names of the user's own; a `note` that holds a string stays a note.
pub(crate) struct Map<T>(pub(crate) Vec<(String, At<Option<T>>)>);

impl<T: Value> Value for Map<T> {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::Object {
            return reader.mismatch("an object", "its keys are names of your own");
        }
        let mut seen: HashMap<String, Position> = HashMap::new();
        let mut list = Vec::new();
        reader.object(|reader, key: Key<'_>| {
            if &*key.name == "note" && reader.peek()? == Kind::String {
                return reader.skip();
            }
            if let Some(&first) = seen.get(&*key.name) {
                duplicate(reader, &key, first);
                return reader.skip();
            }
            seen.insert(key.name.clone().into_owned(), key.position);
            let value = T::read(reader)?;
            list.push((key.name.into_owned(), At { value, position: key.position }));
            Ok(())
        })?;
        Ok(Some(Self(list)))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "type": "object", "additionalProperties": T::schema(definitions) })
    }
}

/// A path, made absolute or relative to the process by the directory of the file it stands in.
#[derive(Clone, Debug)]
pub(crate) struct FilePath(pub(crate) PathBuf);

impl Value for FilePath {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::String {
            let mark = reader.mark();
            let text = reader.string()?;
            if !text.is_empty() {
                return Ok(Some(Self(reader.source().base.join(&*text))));
            }
            reader.rewind(mark);
        }
        reader.mismatch("a path", "a path in double quotes, relative to the directory of this file")
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

object! {
    /// Where a secret is kept.
    pub(crate) struct SecretPlace {
        /// A file that holds the secret; a line break at its end is not part of it.
        "file" file: FilePath,
        /// An environment variable that holds the secret.
        "env" env: Text,
    }
    later: []
}

/// A string that may also be kept in a file or in the environment.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl Value for Secret {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        match reader.peek()? {
            Kind::String => Ok(Some(Self(reader.string()?.into_owned()))),
            Kind::Object => {
                Ok(SecretPlace::read(reader)?.and_then(|place| resolve_secret(reader, &place, at)))
            }
            _ => reader.mismatch("a secret", "a string, { \"file\": \"…\" } or { \"env\": \"…\" }"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, SecretPlace::schema(definitions)] })
    }
}

fn resolve_secret(reader: &mut Reader<'_>, place: &SecretPlace, at: Position) -> Option<Secret> {
    if let Some(file) = place.file.get() {
        reader.note_file(&file.value.0);
    }
    match (place.file.get(), place.env.get()) {
        (Some(file), None) if place.env.is_absent() => {
            match input::read_text(&file.value.0, input::LARGEST_SECRET) {
                Ok(text) => Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    let message = format!("cannot read {}: {error}", file.value.0.display());
                    reader.error_in(
                        "file",
                        file.position,
                        message,
                        "a text file that the server's user may read",
                    );
                    None
                }
            }
        }
        (None, Some(env)) if place.file.is_absent() => {
            let found = (reader.source().env)(&env.value.0);
            if found.is_none() {
                let message = format!("the environment variable {} is not set", env.value.0);
                reader.error_in(
                    "env",
                    env.position,
                    message,
                    "set it, or give the secret as { \"file\": \"…\" }",
                );
            }
            found.map(Secret)
        }
        _ if place.file.is_absent() == place.env.is_absent() => {
            reader.error(at, "a secret has either \"file\" or \"env\"", "give exactly one of them");
            None
        }
        _ => None,
    }
}

/// An absolute name: a zone, a name server. The trailing dot may be left out.
pub(crate) struct AbsoluteName(pub(crate) Name);

impl Value for AbsoluteName {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::String {
            return reader.mismatch("a name", "an absolute name in double quotes, such as \"example.test\"");
        }
        let at = reader.position();
        let text = reader.string()?;
        let Some(name) = read_name(reader, &text, at) else { return Ok(None) };
        if text == "@" || name.is_wildcard() {
            reader.error(
                at,
                format!("\"{text}\" cannot stand here"),
                "write the absolute name, such as \"example.test\"",
            );
            return Ok(None);
        }
        Ok(Some(Self(name)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// Parses a name below the root, or reports why it is none.
pub(crate) fn read_name(reader: &mut Reader<'_>, text: &str, at: Position) -> Option<Name> {
    match check_name_text(text).and_then(|()| Name::parse_absolute(text).map_err(|error| explain(&error))) {
        Ok(name) => Some(name),
        Err((reason, hint)) => {
            reader.error(at, format!("\"{text}\" is not a name: {reason}"), hint);
            None
        }
    }
}

fn explain(error: &NameError) -> (String, &'static str) {
    let hint = match error {
        NameError::EmptyLabel => "labels are separated by single dots; the apex is written \"@\"",
        NameError::LabelTooLong(_) => "shorten the label (RFC 1035 §2.3.4)",
        NameError::NameTooLong(_) => "shorten the name (RFC 1035 §2.3.4)",
        NameError::BadEscape => {
            "JSON doubles each backslash: \\\\. for a dot within a label, \\\\032 for a space"
        }
        NameError::NotAscii(_) => "write its A-label, which starts with xn-- (RFC 5890)",
        NameError::Malformed => "labels are separated by single dots",
    };
    (error.to_string(), hint)
}

/// Any octet may stand in a label (RFC 2181 §11), but what is neither a letter, a digit, `-`, `_` nor `/` (RFC 2317) is a
/// slip far more often than meant. So it must be written as an escape, which is how one says that it is meant.
pub(crate) fn check_name_text(text: &str) -> Result<(), (String, &'static str)> {
    const ESCAPE: &str =
        "labels are letters, digits, '-' within, '_' and '/'; if it is meant, escape it as \\\\DDD";
    if matches!(text, "@" | ".") {
        return Ok(());
    }
    // Octets of the present label: how many, and the last one if it was written plainly.
    let (mut length, mut last) = (0usize, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let digits = chars.clone().take(3).take_while(char::is_ascii_digit).count();
                chars.nth(if digits == 3 { 2 } else { 0 });
                (length, last) = (length + 1, None);
                continue;
            }
            '.' => {
                if last == Some('-') {
                    return Err(("a label ends in '-'".to_owned(), ESCAPE));
                }
                (length, last) = (0, None);
                continue;
            }
            '-' if length == 0 => return Err(("a label starts with '-'".to_owned(), ESCAPE)),
            '*' if length == 0 && matches!(chars.clone().next(), None | Some('.')) => {}
            '*' => return Err(("'*' is a wildcard only as a whole label".to_owned(), ESCAPE)),
            '@' => {
                return Err((
                    "'@' stands in it".to_owned(),
                    "a mailbox is written with a dot: hostmaster.example.test",
                ));
            }
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/') => {}
            c if c.is_ascii() => return Err((format!("{c:?} stands in it"), ESCAPE)),
            c => return Err(explain(&NameError::NotAscii(c))),
        }
        (length, last) = (length + 1, Some(c));
    }
    if last == Some('-') {
        return Err(("a label ends in '-'".to_owned(), ESCAPE));
    }
    Ok(())
}
