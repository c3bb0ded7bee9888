//! Values that may change while the server runs: secrets kept in files are read again where they are used.

use std::fmt;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::input;
use super::json::{Kind, Read, Reader, Secret, SecretPlace, Value};
use super::schema::Definitions;

/// A secret that is read where it is used, so that a file that has been replaced counts at once. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum LiveSecret {
    /// Written in place, or from the environment, which cannot change.
    Fixed(Box<str>),
    /// In this file; a line break at its end is not part of it.
    File(PathBuf),
}

impl LiveSecret {
    /// The secret as it is now. A file is read anew, which is cheap beside what a secret is used for.
    ///
    /// # Errors
    /// The file cannot be read; the text names it.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Self::Fixed(text) => Ok(text.to_string()),
            Self::File(path) => match input::read_text(path, input::LARGEST_SECRET) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => Err(format!("cannot read {}: {error}", path.display())),
            },
        }
    }
}

impl fmt::Debug for LiveSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("(secret)"),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// As [`Secret`], whose errors it shares: a file must be readable at the start too.
impl Value for LiveSecret {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mark = reader.mark();
        let Some(Secret(text)) = Secret::read(reader)? else { return Ok(None) };
        let fixed = Self::Fixed(text.into());
        let end = reader.mark();
        reader.rewind(mark);
        if reader.peek()? != Kind::Object {
            reader.rewind(end);
            return Ok(Some(fixed));
        }
        let file = SecretPlace::read(reader)?.and_then(|mut place| place.file.take());
        Ok(Some(file.map_or(fixed, |file| Self::File(file.value.0))))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Secret::schema(definitions)
    }
}
