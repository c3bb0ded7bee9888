//! Patterns over names: exact, with `*` and `?`, or a regular expression after `~`. Case does not count.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Value as Json, json};

use super::json::{Kind, Read, Reader, Value};
use super::schema::Definitions;

/// A regular expression compiles to at most so many octets.
const MAX_REGEX_OCTETS: usize = 1 << 20;

/// One pattern.
#[derive(Clone)]
pub struct Pattern {
    /// As written.
    text: Box<str>,
    how: How,
}

#[derive(Clone)]
enum How {
    /// In lower case; `*` and `?` stand for any characters and for one of them, dots too.
    Glob(Box<str>),
    /// Found anywhere in the text.
    Regex(Box<Regex>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it: it is empty, or no regular expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        let how = match text.strip_prefix('~') {
            _ if text.is_empty() => return Err("it is empty".to_owned()),
            None => How::Glob(text.to_ascii_lowercase().into()),
            Some("") => return Err("nothing follows the '~'".to_owned()),
            Some(regex) => {
                let built =
                    RegexBuilder::new(regex).case_insensitive(true).size_limit(MAX_REGEX_OCTETS).build();
                How::Regex(Box::new(built.map_err(|error| error.to_string())?))
            }
        };
        Ok(Self { text: text.into(), how })
    }

    /// Whether it matches the whole text, or something within it where it is a regular expression.
    pub fn matches(&self, text: &str) -> bool {
        match &self.how {
            How::Glob(glob) => glob_matches(glob.as_bytes(), text.as_bytes()),
            How::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Linear in pattern times text: after a mismatch only the last `*` is tried further on.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    // The last star, and the text's place that it was tried at.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == b'?' || c == text[t].to_ascii_lowercase() => (g, t) = (g + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (g, t) = (at + 1, from + 1);
            }
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// By what is written.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

const HINT: &str = "a name, a pattern with * and ?, or a regular expression after ~, such as \"~^internal-\"";

impl Value for Pattern {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::String {
            return reader.mismatch("a pattern", HINT);
        }
        let at = reader.position();
        let text = reader.string()?;
        match Self::parse(&text) {
            Ok(pattern) => Ok(Some(pattern)),
            Err(reason) => {
                reader.error(at, format!("{text:?} is not a pattern: {reason}"), HINT);
                Ok(None)
            }
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(text), expected, "{pattern} on {text}");
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("www.example.test", "www.example.test", true),
            ("WWW.Example.test", "www.eXAMPLE.test", true),
            ("www.example.test", "xwww.example.test", false),
            ("www.example.test", "www.example.testx", false),
            ("www.example.test", "wwwxexample.test", false),
            ("*.a.test", "x.a.test", true),
            ("*.a.test", "y.x.a.test", true),
            ("*.a.test", "*.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "xa.test", false),
            ("?.a.test", "x.a.test", true),
            ("?.a.test", "xy.a.test", false),
            ("*@internal", "api@internal", true),
            ("*@internal", "api@internal2", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*", "", true),
            ("?", "", false),
            ("~^internal-", "INTERNAL-x.test", true),
            ("~^internal-", "an-internal-x.test", false),
            ("~\\.test$", "x.test", true),
            ("~a|b", "xxbxx", true),
        ] {
            check(pattern, text, expected);
        }
    }

    #[test]
    fn a_glob_is_no_denial_of_service() {
        let (glob, text) = ("*a".repeat(200) + "b", "a".repeat(5000));
        assert!(!Pattern::parse(&glob).unwrap().matches(&text));
    }

    #[test]
    fn errors() {
        for pattern in ["", "~", "~(", "~[a", "~a{100000}{100000}"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
