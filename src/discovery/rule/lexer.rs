//! Tokens of a rule: those of Go (the Go Programming Language Specification, "Lexical elements") that can stand in one.

use std::borrow::Cow;
use std::str::Chars;

use super::Fault;

/// What a rule is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word: a matcher's name.
    Word(&'a str),
    /// A string literal's value. Octets that are no UTF-8 (of `\xff`) have become U+FFFD.
    Text(Cow<'a, str>),
    Not,
    And,
    Or,
    Open,
    Close,
    Comma,
    /// `...`, which Go allows after the last argument, and Traefik ignores.
    Ellipsis,
    /// A newline where Go ends a statement: after a word, a text or a closing parenthesis.
    Newline,
    End,
}

impl Token<'_> {
    /// How messages call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Word(word) => format!("\"{word}\""),
            Self::Text(_) => "a string".to_owned(),
            Self::Not => "\"!\"".to_owned(),
            Self::And => "\"&&\"".to_owned(),
            Self::Or => "\"||\"".to_owned(),
            Self::Open => "\"(\"".to_owned(),
            Self::Close => "\")\"".to_owned(),
            Self::Comma => "\",\"".to_owned(),
            Self::Ellipsis => "\"...\"".to_owned(),
            Self::Newline => "the end of the line".to_owned(),
            Self::End => "the end of the rule".to_owned(),
        }
    }
}

/// Reads tokens one by one.
pub(super) struct Lexer<'a> {
    rule: &'a str,
    at: usize,
    /// Whether a newline here would end the statement.
    newline_counts: bool,
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of a rule. Go ignores a byte order mark there.
    pub(super) fn new(rule: &'a str) -> Self {
        let at = if rule.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { rule, at, newline_counts: false }
    }

    /// The next token and where it starts; [`Token::End`] for ever at the end.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), Fault> {
        if let Some(at) = self.skip_space()? {
            self.newline_counts = false;
            return Ok((at, Token::Newline));
        }
        let at = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok((at, Token::End)) };
        let symbols: [(&str, Token<'a>); 8] = [
            ("&&", Token::And),
            ("||", Token::Or),
            ("...", Token::Ellipsis),
            // Before "!", which it starts with: a comparison, which no rule has.
            ("!=", Token::End),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        let token = if let Some((symbol, token)) = symbols.into_iter().find(|(s, _)| rest.starts_with(s)) {
            if symbol == "!=" {
                return Err(Fault::new(
                    at,
                    "\"!=\" is no operator of rules: there are \"!\", \"&&\" and \"||\"",
                ));
            }
            self.at += symbol.len();
            token
        } else if first == '`' {
            self.raw_string()?
        } else if first == '"' {
            self.quoted_string()?
        } else if first == '_' || first.is_alphabetic() {
            let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            self.at += end;
            Token::Word(&rest[..end])
        } else {
            return Err(Fault::new(at, stray(first)));
        };
        self.newline_counts = matches!(token, Token::Word(_) | Token::Text(_) | Token::Close);
        Ok((at, token))
    }

    fn rest(&self) -> &'a str {
        &self.rule[self.at..]
    }

    /// Skips blanks and comments; gives where a newline stands that ends the statement, which is skipped too.
    fn skip_space(&mut self) -> Result<Option<usize>, Fault> {
        loop {
            let rest = self.rest();
            let at = self.at;
            if rest.starts_with('\n') {
                self.at += 1;
                if self.newline_counts {
                    return Ok(Some(at));
                }
            } else if rest.starts_with([' ', '\t', '\r']) {
                self.at += 1;
            } else if rest.starts_with("//") {
                // Up to the newline, which is then looked at as any other.
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(length) = rest.find("*/") else {
                    return Err(Fault::new(at, "the comment has no end"));
                };
                self.at += length + 2;
                if self.newline_counts && rest[..length].contains('\n') {
                    return Ok(Some(at));
                }
            } else {
                return Ok(None);
            }
        }
    }

    /// `` `…` ``: as it stands, but for carriage returns, which Go leaves out.
    fn raw_string(&mut self) -> Result<Token<'a>, Fault> {
        let body = &self.rest()[1..];
        let Some(length) = body.find('`') else {
            return Err(Fault::new(self.at, "the string has no closing backtick"));
        };
        self.at += length + 2;
        let body = &body[..length];
        let text = if body.contains('\r') { Cow::Owned(body.replace('\r', "")) } else { Cow::Borrowed(body) };
        Ok(Token::Text(text))
    }

    /// `"…"`, with escapes.
    fn quoted_string(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let mut chars = self.rest()[1..].chars();
        let mut value = Vec::new();
        loop {
            let here = self.rule.len() - chars.as_str().len();
            match chars.next() {
                None | Some('\n') => {
                    return Err(Fault::new(start, "the string has no closing quote on its line"));
                }
                Some('"') => break,
                Some('\\') => escape(&mut chars, &mut value).ok_or_else(|| {
                    Fault::new(
                        here,
                        "the escape is none of Go's: write a backslash as \\\\, or use backticks",
                    )
                })?,
                Some(other) => value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.at = self.rule.len() - chars.as_str().len();
        Ok(Token::Text(Cow::Owned(String::from_utf8_lossy(&value).into_owned())))
    }
}

/// What a character that starts no token might have been meant for.
fn stray(first: char) -> String {
    match first {
        '\'' => "strings stand in backticks or double quotes, not in single quotes".to_owned(),
        '&' => "the operator is \"&&\"".to_owned(),
        '|' => "the operator is \"||\"".to_owned(),
        other => format!("{other:?} has no meaning in a rule"),
    }
}

/// Appends what stands for an escape, whose backslash is read; nothing if Go has no such escape in strings.
fn escape(chars: &mut Chars<'_>, value: &mut Vec<u8>) -> Option<()> {
    let simple = match chars.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(digits(chars, 2, 16)?).ok()?,
        first @ '0'..='7' => {
            let rest = digits(chars, 2, 8)?;
            u8::try_from(first.to_digit(8)? * 64 + rest).ok()?
        }
        'u' => return push(char::from_u32(digits(chars, 4, 16)?)?, value),
        'U' => return push(char::from_u32(digits(chars, 8, 16)?)?, value),
        _ => return None,
    };
    value.push(simple);
    Some(())
}

/// Appends a character as UTF-8.
fn push(character: char, value: &mut Vec<u8>) -> Option<()> {
    value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Exactly `count` (at most 8) digits.
fn digits(chars: &mut Chars<'_>, count: u32, radix: u32) -> Option<u32> {
    let mut number = 0_u32;
    for _ in 0..count {
        number = number.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(number)
}
