//! Splits presentation format into words and quoted texts (RFC 1035 §5.1).

use super::RdataError;

/// A word or a quoted text, with its escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The text, without the quotes around it.
    pub(super) raw: &'a str,
    /// Whether it stood in quotes.
    pub(super) quoted: bool,
}

/// The words of one RDATA and how far they have been read.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    all: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Splits a text. Round brackets, which only group lines, may stand where blanks may.
    ///
    /// # Errors
    /// Quotes or brackets without their partner, and comments: a `;` in JSON is far more likely a text that lacks its quotes.
    pub(super) fn new(text: &'a str) -> Result<Self, RdataError> {
        let bytes = text.as_bytes();
        let (mut all, mut at, mut depth) = (Vec::new(), 0, 0usize);
        while let Some(&b) = bytes.get(at) {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b'(' => {
                    depth += 1;
                    at += 1;
                }
                b')' => {
                    depth =
                        depth.checked_sub(1).ok_or_else(|| RdataError::new("a \")\" without its \"(\""))?;
                    at += 1;
                }
                b'"' => {
                    let end = end_of_quoted(bytes, at)?;
                    all.push(Token { raw: &text[at + 1..end], quoted: true });
                    at = end + 1;
                }
                _ => {
                    let end = end_of_word(bytes, at)?;
                    all.push(Token { raw: &text[at..end], quoted: false });
                    at = end;
                }
            }
        }
        if depth > 0 {
            return Err(RdataError::new("a \"(\" without its \")\""));
        }
        Ok(Self { all, at: 0 })
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.all.get(self.at).copied();
        self.at += usize::from(token.is_some());
        token
    }

    /// The next token, which must be there.
    pub(super) fn need(&mut self, what: &str) -> Result<Token<'a>, RdataError> {
        self.next().ok_or_else(|| RdataError::new(format!("the {what} is missing")))
    }

    /// The next token, which must be there and not in quotes.
    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, RdataError> {
        self.need(what)?.word(what)
    }
}

impl<'a> Token<'a> {
    /// The text, if it is not in quotes.
    pub(super) fn word(self, what: &str) -> Result<&'a str, RdataError> {
        if self.quoted {
            return Err(RdataError::new(format!("the {what} \"{}\" stands in quotes", self.raw))
                .hint("write it without quotes"));
        }
        Ok(self.raw)
    }

    /// The octets that the text stands for.
    pub(super) fn octets(self) -> Result<Vec<u8>, RdataError> {
        if !self.quoted && has_bare_quote(self.raw) {
            return Err(RdataError::new(format!("{} has a quote inside", self.raw))
                .hint("put the whole text in quotes, and a quote in it as \\\""));
        }
        unescape(self.raw)
    }
}

/// Resolves `\DDD` and `\X`.
pub(super) fn unescape(raw: &str) -> Result<Vec<u8>, RdataError> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if b != b'\\' {
            out.push(b);
            at += 1;
            continue;
        }
        let bad = || {
            RdataError::new(format!("a bad escape in \"{raw}\""))
                .hint("a backslash is followed by three digits up to 255, or by the character it stands for")
        };
        let next = *bytes.get(at + 1).ok_or_else(bad)?;
        if next.is_ascii_digit() {
            let digits =
                bytes.get(at + 1..at + 4).filter(|d| d.iter().all(u8::is_ascii_digit)).ok_or_else(bad)?;
            let value = digits.iter().fold(0u16, |value, d| value * 10 + u16::from(d - b'0'));
            out.push(u8::try_from(value).map_err(|_| bad())?);
            at += 4;
        } else {
            out.push(next);
            at += 2;
        }
    }
    Ok(out)
}

fn has_bare_quote(raw: &str) -> bool {
    let mut escaped = false;
    raw.bytes().any(|b| {
        let bare = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        bare
    })
}

fn end_of_quoted(bytes: &[u8], start: usize) -> Result<usize, RdataError> {
    let mut at = start + 1;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'"' => return Ok(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    Err(RdataError::new("a quote is not closed")
        .hint("end the text in \", and write a quote within it as \\\""))
}

/// A word ends at a blank or bracket outside of quotes: `alpn="h2,h3"` is one word.
fn end_of_word(bytes: &[u8], start: usize) -> Result<usize, RdataError> {
    let mut at = start;
    while let Some(&b) = bytes.get(at) {
        match b {
            b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' => break,
            b';' => {
                return Err(RdataError::new("\";\" outside of quotes would start a comment")
                    .hint("put the text in quotes, or write \\;"));
            }
            b'"' => at = end_of_quoted(bytes, at)? + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    // A backslash at the very end leads past it.
    Ok(at.min(bytes.len()))
}
