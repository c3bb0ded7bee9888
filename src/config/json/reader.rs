//! The pull parser: walks JSON text (RFC 8259) token by token and knows the place of each.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::path::push_key;
use super::scan::{self, NoString};
use crate::model::diagnostic::{Diagnostic, Position};

/// Objects and lists within each other; zone files need 6.
pub(super) const MAX_DEPTH: usize = 32;
/// Characters of a value that an error repeats.
const SHOWN_CHARS: usize = 60;

/// A syntax error has been reported; nothing behind it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abort;

/// Where a text comes from, and what its values may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file, or what stands in its place (`--ns`), for diagnostics.
    pub(crate) file: &'a Path,
    /// Directory that relative paths start from.
    pub(crate) base: &'a Path,
    /// Environment for `{ "env": … }` secrets.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
}

/// JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A number
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// A key of an object.
#[derive(Clone, Debug)]
pub(crate) struct Key<'t> {
    /// Unescaped.
    pub(crate) name: Cow<'t, str>,
    /// Where it stands.
    pub(crate) position: Position,
    /// The same, to come back to with [`Reader::resume`].
    pub(crate) mark: Mark,
}

/// A place to come back to with [`Reader::rewind`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(super) at: usize,
    line: u32,
    line_start: usize,
    /// Octets of UTF-8 on this line that continue a character.
    pub(super) continuation: usize,
}

impl Mark {
    /// Where a text starts.
    pub(crate) const START: Self = Self { at: 0, line: 1, line_start: 0, continuation: 0 };

    /// Its offset in octets.
    pub(crate) fn offset(self) -> usize {
        self.at
    }

    /// Moves to the next octet that is no white space. Line breaks stand between tokens only, so that counting them here keeps
    /// every position exact at no further cost.
    #[inline]
    pub(super) fn skip_white_space(&mut self, bytes: &[u8]) {
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.line_start = self.at + 1;
                    self.continuation = 0;
                }
                b' ' | b'\t' | b'\r' => {}
                _ => return,
            }
            self.at += 1;
        }
    }
}

#[derive(Clone, Debug)]
enum Segment<'t> {
    Key(Cow<'t, str>),
    Index(usize),
}

/// See the module's documentation.
pub(crate) struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    cursor: Mark,
    depth: usize,
    path: Vec<Segment<'t>>,
    source: Source<'t>,
    diagnostics: Vec<Diagnostic>,
    /// Files that values were read from.
    files: Vec<PathBuf>,
}

impl<'t> Reader<'t> {
    /// A reader at the start of `text`.
    pub(crate) fn new(text: &'t str, source: Source<'t>) -> Self {
        let mut reader = Self {
            text,
            bytes: text.as_bytes(),
            cursor: Mark::START,
            depth: 0,
            path: Vec::new(),
            source,
            diagnostics: Vec::new(),
            files: Vec::new(),
        };
        // RFC 8259 §8.1 lets a parser ignore a byte order mark.
        if text.starts_with('\u{feff}') {
            reader.cursor = Mark { at: 3, line_start: 3, ..Mark::START };
        }
        reader
    }

    /// Goes to a place that [`Reader::mark`] gave for this text, below the given keys.
    pub(crate) fn resume(&mut self, mark: Mark, keys: &[&'t str]) {
        self.cursor = mark;
        self.path = keys.iter().map(|&key| Segment::Key(Cow::Borrowed(key))).collect();
    }

    /// The present place.
    pub(crate) fn mark(&self) -> Mark {
        self.cursor
    }

    /// Goes back to `mark`, which must lie within the value that is being read.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.cursor = mark;
    }

    /// Offset in octets of the present place.
    pub(crate) fn offset(&self) -> usize {
        self.cursor.at
    }

    /// Where the text comes from.
    pub(crate) fn source(&self) -> Source<'t> {
        self.source
    }

    /// Notes that a value stands in a file of its own.
    pub(crate) fn note_file(&mut self, file: &Path) {
        self.files.push(file.to_owned());
    }

    /// The files that values stand in.
    pub(crate) fn take_files(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.files)
    }

    /// All that was reported, in the order of the text.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        self.diagnostics
    }

    /// Skips white space; the place of the next token, columns in characters.
    pub(crate) fn position(&mut self) -> Position {
        self.skip_white_space();
        self.here()
    }

    fn here(&self) -> Position {
        let c = &self.cursor;
        Position { line: c.line, column: (c.at - c.line_start - c.continuation + 1) as u32 }
    }

    /// JSON path of what is being read: `records.api.A[0]`, with odd keys as `records["a.b"]`.
    pub(crate) fn path(&self) -> String {
        let mut out = String::with_capacity(32);
        for segment in &self.path {
            match segment {
                Segment::Key(key) => push_key(&mut out, key),
                Segment::Index(index) => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "[{index}]");
                }
            }
        }
        out
    }

    /// JSON path of a key of the object that is being read, or of one further below: `["https", "headers"]`.
    pub(crate) fn path_below(&self, keys: &[&str]) -> String {
        let mut out = self.path();
        keys.iter().for_each(|key| push_key(&mut out, key));
        out
    }

    /// Reports an error about what is being read.
    pub(crate) fn error(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        let path = self.path();
        self.report(Diagnostic::error(self.source.file, message).at(at, path).hint(hint));
    }

    /// Reports an error about a key of the object that is being read.
    pub(crate) fn error_in(
        &mut self,
        key: &str,
        at: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = self.path_below(&[key]);
        self.report(Diagnostic::error(self.source.file, message).at(at, path).hint(hint));
    }

    /// Reports an error about something at another path.
    pub(crate) fn error_at(
        &mut self,
        path: String,
        at: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report(Diagnostic::error(self.source.file, message).at(at, path).hint(hint));
    }

    /// Reports a warning about what is being read.
    pub(crate) fn warn(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        let path = self.path();
        self.report(Diagnostic::warning(self.source.file, message).at(at, path).hint(hint));
    }

    /// Reports a finding with its own place and path.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports that the next value is not `what`, and skips it.
    pub(crate) fn mismatch<T>(&mut self, what: &str, hint: &str) -> Result<Option<T>, Abort> {
        let at = self.position();
        let (kind, start) = (self.peek()?, self.cursor.at);
        self.skip()?;
        let found = match kind {
            Kind::Object => "an object".to_owned(),
            Kind::Array => "a list".to_owned(),
            _ => shorten(&self.text[start..self.cursor.at]),
        };
        self.error(at, format!("{found} is not {what}"), hint);
        Ok(None)
    }

    /// Whether what is being read is the value of a key of the file's own object.
    pub(crate) fn is_top_member(&self) -> bool {
        self.path.len() == 1
    }

    /// Whether the next value is an object with the given key; nothing is consumed.
    pub(crate) fn next_has_key(&mut self, wanted: &str) -> Result<bool, Abort> {
        if self.peek()? != Kind::Object {
            return Ok(false);
        }
        let (mark, mut found) = (self.mark(), false);
        self.object(|reader, key| {
            found |= key.name == wanted;
            reader.skip()
        })?;
        self.rewind(mark);
        Ok(found)
    }

    /// How many findings there are so far.
    pub(crate) fn finding_count(&self) -> usize {
        self.diagnostics.len()
    }

    /// Whether an error is among the findings after the first `count`.
    pub(crate) fn has_error_since(&self, count: usize) -> bool {
        self.diagnostics.iter().skip(count).any(Diagnostic::is_error)
    }

    /// Makes the findings after the first `count` about another file: they are about what stands there.
    pub(crate) fn blame_since(&mut self, count: usize, file: &Path) {
        for finding in self.diagnostics.iter_mut().skip(count) {
            file.clone_into(&mut finding.file);
        }
    }

    fn syntax<T>(&mut self, at: Position, message: impl Into<String>, hint: &str) -> Result<T, Abort> {
        self.error(at, message, hint);
        Err(Abort)
    }

    /// What stands at the cursor, for a syntax error that wanted `wanted`.
    fn unexpected<T>(&mut self, wanted: &str) -> Result<T, Abort> {
        let at = self.position();
        let rest = &self.text[self.cursor.at..];
        match rest.chars().next() {
            None => self.syntax(
                at,
                format!("the file ends where {wanted} should stand"),
                "a bracket or quote is left open",
            ),
            Some('/' | '#') => {
                self.syntax(at, "JSON has no comments", "put it into a \"note\", which any object may carry")
            }
            Some('\'') => self.syntax(
                at,
                format!("' stands where {wanted} should"),
                "JSON strings stand in double quotes",
            ),
            Some(c) => {
                let hint = match wanted {
                    "a value" => "a value is an object, a list, a string, a number, true, false or null",
                    "the end of the file" => "a file holds one value",
                    _ => "a comma, colon, quote or bracket is missing or misplaced",
                };
                self.syntax(at, format!("{c:?} stands where {wanted} should"), hint)
            }
        }
    }

    #[inline]
    fn skip_white_space(&mut self) {
        self.cursor.skip_white_space(self.bytes);
    }

    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        self.skip_white_space();
        self.bytes.get(self.cursor.at).copied()
    }

    /// The type of the next value.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Kind, Abort> {
        match self.next_byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => self.unexpected("a value"),
        }
    }

    /// Reads a string, unescaped; borrowed from the text where it has no escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'t, str>, Abort> {
        if self.next_byte() != Some(b'"') {
            return self.unexpected("a string");
        }
        let start = self.cursor.at;
        let end = match scan::string_end(self.bytes, start + 1) {
            Ok(end) => end,
            Err(NoString::Control) => {
                return self.syntax(
                    self.here(),
                    "a control character stands in a string",
                    "write \\n, \\t or \\u00XX; or a quote is missing",
                );
            }
            Err(NoString::Open) => {
                return self.syntax(self.here(), "the string has no end", "a quote is missing");
            }
        };
        let at = self.here();
        self.cursor.at = end.at + 1;
        self.cursor.continuation += end.continuation;
        if !end.is_escaped {
            return Ok(Cow::Borrowed(&self.text[start + 1..end.at]));
        }
        match serde_json::from_str::<String>(&self.text[start..=end.at]) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => self.syntax(at, "the string has a malformed escape", "JSON escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX; DNS's own backslashes are written \\\\"),
        }
    }

    /// Reads a number and gives it as it is written.
    pub(crate) fn number(&mut self) -> Result<&'t str, Abort> {
        if !matches!(self.next_byte(), Some(b'-' | b'0'..=b'9')) {
            return self.unexpected("a number");
        }
        let (at, start) = (self.here(), self.cursor.at);
        let length = self.bytes[start..]
            .iter()
            .take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .count();
        let text = &self.text[start..start + length];
        if !is_number(text) {
            return self.syntax(
                at,
                format!("{} is not a JSON number", shorten(text)),
                "numbers have no leading zeros; put addresses and names in quotes",
            );
        }
        self.cursor.at += length;
        Ok(text)
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, Abort> {
        match self.next_byte() {
            Some(b't') => self.literal("true").map(|()| true),
            _ => self.literal("false").map(|()| false),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Abort> {
        let rest = &self.bytes[self.cursor.at..];
        let ends = !matches!(rest.get(word.len()), Some(b) if b.is_ascii_alphanumeric());
        if !rest.starts_with(word.as_bytes()) || !ends {
            return self.unexpected("a value");
        }
        self.cursor.at += word.len();
        Ok(())
    }

    /// Passes over a value of any type, checking its syntax.
    pub(crate) fn skip(&mut self) -> Result<(), Abort> {
        if let Some(end) = scan::value_end(self.bytes, self.cursor, self.depth) {
            self.cursor = end;
            return Ok(());
        }
        // Its syntax is wrong, most likely: the slow way knows where and why.
        match self.peek()? {
            Kind::Object => self.object(|reader, _| reader.skip()),
            Kind::Array => self.array(|reader| reader.skip()),
            Kind::String => self.string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Bool => self.boolean().map(drop),
            Kind::Null => self.literal("null"),
        }
    }

    /// Reads an object; `member` must read or skip the value of each key.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Key<'t>) -> Result<(), Abort>,
    ) -> Result<(), Abort> {
        self.enter(b'{', "an object")?;
        if self.next_byte() == Some(b'}') {
            return self.leave();
        }
        while self.member(&mut member)? {}
        self.leave()
    }

    /// Reads members of an object from the key at which the reader stands: up to the key at the offset `until`, or the object's end.
    pub(crate) fn members(
        &mut self,
        until: usize,
        mut member: impl FnMut(&mut Self, Key<'t>) -> Result<(), Abort>,
    ) -> Result<(), Abort> {
        while self.member(&mut member)? {
            self.skip_white_space();
            if self.cursor.at >= until {
                break;
            }
        }
        Ok(())
    }

    /// Reads one member of an object. Whether a further one follows; the reader then stands before it, else before the brace.
    #[inline]
    fn member(
        &mut self,
        member: &mut impl FnMut(&mut Self, Key<'t>) -> Result<(), Abort>,
    ) -> Result<bool, Abort> {
        let position = self.position();
        if self.next_byte() != Some(b'"') {
            return self.unexpected("a key in double quotes");
        }
        let mark = self.cursor;
        let name = self.string()?;
        if self.next_byte() != Some(b':') {
            return self.unexpected("':'");
        }
        self.cursor.at += 1;
        self.path.push(Segment::Key(name.clone()));
        member(self, Key { name, position, mark })?;
        self.path.pop();
        self.comma(b'}')
    }

    /// Reads a list; `element` must read or skip each value.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Abort>,
    ) -> Result<(), Abort> {
        self.enter(b'[', "a list")?;
        if self.next_byte() == Some(b']') {
            return self.leave();
        }
        for index in 0.. {
            self.path.push(Segment::Index(index));
            element(self)?;
            self.path.pop();
            if !self.comma(b']')? {
                break;
            }
        }
        self.leave()
    }

    fn enter(&mut self, open: u8, what: &str) -> Result<(), Abort> {
        if self.next_byte() != Some(open) {
            return self.unexpected(what);
        }
        if self.depth == MAX_DEPTH {
            let at = self.here();
            return self.syntax(
                at,
                format!("more than {MAX_DEPTH} objects and lists within each other"),
                "no key of Hale needs that many",
            );
        }
        self.depth += 1;
        self.cursor.at += 1;
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Abort> {
        self.depth -= 1;
        self.cursor.at += 1;
        Ok(())
    }

    /// Whether a further member follows; the cursor then stands before it, else before `close`.
    fn comma(&mut self, close: u8) -> Result<bool, Abort> {
        match self.next_byte() {
            Some(byte) if byte == close => Ok(false),
            Some(b',') => {
                let at = self.here();
                self.cursor.at += 1;
                if self.next_byte() == Some(close) {
                    return self.syntax(
                        at,
                        format!("a comma stands before '{}'", close as char),
                        "JSON has no trailing commas",
                    );
                }
                Ok(true)
            }
            _ => self.unexpected(&format!("',' or '{}'", close as char)),
        }
    }

    /// Checks that nothing follows the value that was read.
    pub(crate) fn end(&mut self) -> Result<(), Abort> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => self.unexpected("the end of the file"),
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The grammar of RFC 8259 §6.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source<'static> {
        Source { file: Path::new("f.json"), base: Path::new(""), env: &|_| None }
    }

    fn skip_all(text: &str) -> Vec<String> {
        let mut reader = Reader::new(text, source());
        let _ = reader.skip().and_then(|()| reader.end());
        reader.into_diagnostics().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn takes_what_rfc_8259_takes() {
        for text in [
            "{}",
            "[]",
            " [ 1 , -0 , 0.5e+7, 1E2 ] ",
            "\"\\u00e9\\ud83d\\ude00\"",
            "null",
            "true",
            "\u{feff}{}",
            "[[[]],{\"a\":{}}]",
        ] {
            assert_eq!(skip_all(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn says_where_the_syntax_is_wrong() {
        for (text, want) in [
            ("", "1:1: the file ends where a value should stand"),
            ("{\"a\":1,}", "1:7: a comma stands before '}'"),
            ("[1,\n 2\n 3]", "3:2: '3' stands where ',' or ']' should"),
            ("{\"a\" 1}", "1:6: '1' stands where ':' should"),
            ("{a: 1}", "1:2: 'a' stands where a key in double quotes should"),
            ("{\"é\": [\"ü\", }", "1:13: [\"é\"][1]: '}' stands where a value should"),
            ("[01]", "1:2: [0]: 01 is not a JSON number"),
            ("[1.]", "1:2: [0]: 1. is not a JSON number"),
            ("[\"a]", "1:2: [0]: the string has no end"),
            ("[\"a\nb\"]", "1:2: [0]: a control character stands in a string"),
            ("[\"\\q\"]", "1:2: [0]: the string has a malformed escape"),
            ("[\"\\ud800\"]", "1:2: [0]: the string has a malformed escape"),
            ("[\"\\", "1:2: [0]: the string has no end"),
            ("nul", "1:1: 'n' stands where a value should"),
            ("trueish", "1:1: 't' stands where a value should"),
            ("{} {}", "1:4: '{' stands where the end of the file should"),
            ("// x\n{}", "1:1: JSON has no comments"),
            ("{\"a\": 'x'}", "1:7: a: ' stands where a value should"),
        ] {
            let found = skip_all(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let first_line = found[0].lines().next().unwrap();
            assert_eq!(first_line, format!("error: f.json:{want}"), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(skip_all(&deep)[0].contains("more than 32"));
    }

    #[test]
    fn columns_count_characters() {
        let text = "{\"ä€😀\": 1, \"b\": 2}";
        let mut reader = Reader::new(text, source());
        let mut seen = Vec::new();
        reader
            .object(|r, key| {
                seen.push((key.name.into_owned(), key.position.column, r.position().column));
                r.skip()
            })
            .unwrap();
        assert_eq!(seen, [("ä€😀".to_owned(), 2, 9), ("b".to_owned(), 12, 17)]);
    }
}
