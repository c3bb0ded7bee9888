//! Octets without their meaning: where a string ends, and where a whole value does.
//!
//! A zone file is walked twice (`zone_file`), and the first walk passes over its records. Doing that with the reader's own
//! methods would keep a path for each key and make a text of each string, only to drop them.

use super::reader::{MAX_DEPTH, Mark, is_number};

/// A string up to its closing quote.
pub(super) struct StringEnd {
    /// Offset of the closing quote.
    pub(super) at: usize,
    /// Whether there is a backslash in it.
    pub(super) is_escaped: bool,
    /// Octets of UTF-8 that continue a character.
    pub(super) continuation: usize,
}

/// What keeps a string from having an end.
pub(super) enum NoString {
    /// A character that must be escaped (RFC 8259 §7).
    Control,
    /// The text ends in it.
    Open,
}

/// Finds the end of the string whose first octet after the quote is at `start`. What its escapes mean is not looked at.
#[inline]
pub(super) fn string_end(bytes: &[u8], start: usize) -> Result<StringEnd, NoString> {
    let mut end = StringEnd { at: start, is_escaped: false, continuation: 0 };
    loop {
        if let Some(chunk) = bytes.get(end.at..).and_then(|rest| rest.first_chunk::<8>())
            && all_plain(u64::from_le_bytes(*chunk))
        {
            end.at += 8;
            continue;
        }
        match bytes.get(end.at) {
            Some(b'"') => return Ok(end),
            Some(b'\\') => {
                end.is_escaped = true;
                end.at += 2;
            }
            Some(&byte) if byte >= 0x20 => {
                end.continuation += usize::from(byte & 0xc0 == 0x80);
                end.at += 1;
            }
            Some(_) => return Err(NoString::Control),
            None => return Err(NoString::Open),
        }
    }
}

/// Whether each of eight octets is an ASCII character that stands for itself in a string and does not end it.
#[inline]
fn all_plain(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The highest bit of an octet is set where it is less than `n`, if no octet has it set already.
    let less_than = |word: u64, n: u64| word.wrapping_sub(ONES * n);
    let found = word
        | less_than(word, 0x20)
        | less_than(word ^ (ONES * u64::from(b'"')), 1)
        | less_than(word ^ (ONES * u64::from(b'\\')), 1);
    found & HIGHS == 0
}

/// Where the value at `mark` ends, whatever its type; `None` if its syntax is wrong, if `depth` objects and lists around it
/// and those in it are too many, or if the reader has to look at it more closely.
pub(super) fn value_end(bytes: &[u8], mark: Mark, depth: usize) -> Option<Mark> {
    let mut scan = Scan { bytes, mark, is_object: 0, depth: 0, allowed: MAX_DEPTH.checked_sub(depth)? };
    scan.value()?;
    while scan.depth > 0 {
        scan.next()?;
    }
    Some(scan.mark)
}

struct Scan<'b> {
    bytes: &'b [u8],
    mark: Mark,
    /// A bit for each open object or list: the lowest is the innermost one's, set for an object.
    is_object: u32,
    depth: usize,
    allowed: usize,
}

impl Scan<'_> {
    /// Passes over a scalar or an opening bracket, and a key behind it.
    #[inline]
    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => None,
        }
    }

    /// Passes over what follows a value within an object or list: a bracket, or a comma and the next value.
    #[inline]
    fn next(&mut self) -> Option<()> {
        let is_object = self.is_object & 1 != 0;
        match (self.peek()?, is_object) {
            (b',', true) => {
                self.mark.at += 1;
                self.key()
            }
            (b',', false) => {
                self.mark.at += 1;
                self.value()
            }
            (b'}', true) | (b']', false) => {
                self.close();
                Some(())
            }
            _ => None,
        }
    }

    fn open(&mut self, is_object: bool) -> Option<()> {
        if self.depth == self.allowed {
            return None;
        }
        self.mark.at += 1;
        self.depth += 1;
        self.is_object = self.is_object << 1 | u32::from(is_object);
        match (self.peek()?, is_object) {
            (b'}', true) | (b']', false) => {
                self.close();
                Some(())
            }
            (_, true) => self.key(),
            (_, false) => self.value(),
        }
    }

    fn close(&mut self) {
        self.mark.at += 1;
        self.depth -= 1;
        self.is_object >>= 1;
    }

    /// A key with its colon, and the value behind it.
    fn key(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.string()?;
        if self.peek()? != b':' {
            return None;
        }
        self.mark.at += 1;
        self.value()
    }

    #[inline]
    fn string(&mut self) -> Option<()> {
        let start = self.mark.at + 1;
        let end = string_end(self.bytes, start).ok()?;
        if end.is_escaped && !has_good_escapes(self.bytes.get(start..end.at)?) {
            return None;
        }
        self.mark.at = end.at + 1;
        self.mark.continuation += end.continuation;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.mark.at..)?;
        let length =
            rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
        self.mark.at += length;
        std::str::from_utf8(rest.get(..length)?).is_ok_and(is_number).then_some(())
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        let rest = self.bytes.get(self.mark.at..)?.strip_prefix(word)?;
        self.mark.at += word.len();
        rest.first().is_none_or(|next| !next.is_ascii_alphanumeric()).then_some(())
    }

    /// The next octet that is no white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.mark.skip_white_space(self.bytes);
        self.bytes.get(self.mark.at).copied()
    }
}

/// Whether each backslash starts an escape of RFC 8259 §7. Surrogates are left to who makes a text of them.
fn has_good_escapes(string: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = string.get(at) {
        at += match (byte, string.get(at + 1)) {
            (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => 2,
            (b'\\', Some(b'u')) => {
                let Some(hex) = string.get(at + 2..at + 6) else { return false };
                let is_surrogate = matches!(hex, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                if is_surrogate || !hex.iter().all(u8::is_ascii_hexdigit) {
                    return false;
                }
                6
            }
            (b'\\', _) => return false,
            _ => 1,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_plain_octets() {
        for byte in 0..=255u8 {
            let is_plain = (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
            for at in 0..8 {
                let mut octets = *b"abc ~/09";
                octets[at] = byte;
                assert_eq!(all_plain(u64::from_le_bytes(octets)), is_plain, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn values_end_where_they_end() {
        for (text, rest) in [
            ("{\"a\": [1, -2.5e3, {}], \"b\\u0041\\n\": {\"c\": null}} , 1", " , 1"),
            ("[]x", "x"),
            ("\"12345678\\\\\" \"", " \""),
            ("true,", ","),
            ("0 1", " 1"),
            ("  \n \"é\"\n", "\n"),
        ] {
            let end = value_end(text.as_bytes(), Mark::START, 0).unwrap();
            assert_eq!(&text[end.offset()..], rest, "{text}");
        }
        for text in [
            "",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "[1}",
            "01",
            "1.",
            "truex",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"a\nb\"",
            "\"a",
            "\"\\",
        ] {
            assert!(value_end(text.as_bytes(), Mark::START, 0).is_none(), "{text}");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(value_end(nested(MAX_DEPTH).as_bytes(), Mark::START, 0).is_some());
        assert!(value_end(nested(MAX_DEPTH).as_bytes(), Mark::START, 1).is_none());
    }
}
