//! JSON as people write it by hand: every value with its place, every error of a file at once.
//!
//! A pull parser of our own instead of serde: serde's untagged enums and `Value` buffer what they read and lose where it
//! stood, stop at the first error, and `Value` keeps the last of two equal keys. Here nothing is buffered: a reader walks
//! the text once, each value is read straight into its type, and what is wrong is reported and skipped, so that reading
//! goes on behind it. Only a syntax error ends a file.

#[macro_use]
mod object;
mod hint;
mod path;
mod reader;
mod scan;
mod values;

pub(crate) use hint::nearest;
#[cfg(test)]
pub(crate) use object::join;
pub(crate) use object::{KeyInfo, Object, Required, Slot, duplicate, object_schema, read_object};
pub(crate) use path::key_path;
pub(crate) use reader::{Abort, Key, Kind, Mark, Reader, Source};
pub(crate) use values::{
    AbsoluteName, At, Boolean, Duration, Element, FilePath, Int, List, Map, OneOrMany, Port, Read, Secret,
    SecretPlace, Text, Ttl, Value, Word, read_name, show_ms,
};
