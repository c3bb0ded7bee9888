//! Domain names in uncompressed wire form, lowercased (RFC 1035 §3.1, RFC 4343).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// Octets of the longest name in wire form (RFC 1035 §2.3.4).
pub const MAX_NAME_OCTETS: usize = 255;
/// Octets of the longest label (RFC 1035 §2.3.4).
pub const MAX_LABEL_OCTETS: usize = 63;
/// Labels of the longest name, the root label not counted.
pub const MAX_LABELS: usize = 127;

/// An absolute domain name, in uncompressed wire form with ASCII letters in lower case.
///
/// Case is folded when a name is made, so that comparison, hashing and the canonical form of RFC 4034 §6.2 are
/// plain byte work later. What a resolver sees keeps the case it asked with, since answers point at the question.
/// `Ord` is the canonical order of RFC 4034 §6.1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Box<[u8]>);

/// Why a text or octets are not a domain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing between two dots, or a leading dot.
    EmptyLabel,
    /// A label over 63 octets; carries its length.
    LabelTooLong(usize),
    /// A name over 255 octets in wire form; carries its length.
    NameTooLong(usize),
    /// A backslash that is not followed by a character or by three digits up to 255.
    BadEscape,
    /// A character outside printable ASCII; write the A-label (RFC 5890) or an escape instead.
    NotAscii(char),
    /// Octets that are no sequence of labels ended by the root label.
    Malformed,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyLabel => write!(f, "a label is empty"),
            Self::LabelTooLong(n) => write!(f, "a label has {n} octets, the limit is 63"),
            Self::NameTooLong(n) => write!(f, "the name has {n} octets in wire form, the limit is 255"),
            Self::BadEscape => {
                write!(f, "a backslash must be followed by a character or by three digits up to 255")
            }
            Self::NotAscii(c) => write!(f, "{c:?} is not printable ASCII"),
            Self::Malformed => write!(f, "not a sequence of labels"),
        }
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root name.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Takes a whole uncompressed wire-form name and folds its case.
    ///
    /// # Errors
    /// Anything but labels of 1 to 63 octets ended by one root label, 255 octets in all.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        if wire.len() > MAX_NAME_OCTETS {
            return Err(NameError::NameTooLong(wire.len()));
        }
        let mut at = 0;
        loop {
            match wire.get(at) {
                Some(0) if at + 1 == wire.len() => break,
                Some(&n) if (1..=63).contains(&n) => at += 1 + usize::from(n),
                _ => return Err(NameError::Malformed),
            }
        }
        // Length octets are at most 63 and so never letters: folding the whole buffer is safe.
        Ok(Self(wire.to_ascii_lowercase().into_boxed_slice()))
    }

    /// Parses an absolute name in presentation format; the trailing dot may be left out.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn parse_absolute(text: &str) -> Result<Self, NameError> {
        Self::parse_relative_to(text, &Self::root())
    }

    /// Parses a name in presentation format: absolute if it ends in an unescaped dot, else below `origin`.
    /// `@` is `origin` itself (RFC 1035 §5.1).
    ///
    /// # Errors
    /// See [`NameError`]; lengths are those of the joined name.
    pub fn parse_relative_to(text: &str, origin: &Self) -> Result<Self, NameError> {
        let mut wire = Self::wire_relative_to(text, origin)?;
        // Length octets are at most 63 and so never letters.
        wire.make_ascii_lowercase();
        Ok(Self(wire.into_boxed_slice()))
    }

    /// As [`Name::parse_relative_to`], but gives wire form with the case as written: RDATA of types outside RFC 4034 §6.2 is
    /// signed and served as it is.
    ///
    /// # Errors
    /// See [`NameError`]; lengths are those of the joined name.
    pub fn wire_relative_to(text: &str, origin: &Self) -> Result<Vec<u8>, NameError> {
        if text == "@" {
            return Ok(origin.0.to_vec());
        }
        if text == "." {
            return Ok(vec![0]);
        }
        let (mut wire, absolute) = parse_labels(text)?;
        if absolute {
            wire.push(0);
        } else {
            wire.extend_from_slice(&origin.0);
        }
        if wire.len() > MAX_NAME_OCTETS {
            return Err(NameError::NameTooLong(wire.len()));
        }
        Ok(wire)
    }

    /// The uncompressed wire form, root label included.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Labels from the leftmost on, without the root label.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: &self.0 }
    }

    /// Number of labels, the root label not counted; a wildcard label counts.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether the leftmost label is `*` (RFC 4592 §2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let first = usize::from(self.0[0]);
        (first != 0).then(|| Self(self.0[1 + first..].into()))
    }

    /// Whether this name is `other` or below it.
    pub fn is_at_or_below(&self, other: &Self) -> bool {
        let mut at = 0;
        while self.0.len() - at > other.0.len() {
            at += 1 + usize::from(self.0[at]);
        }
        self.0[at..] == *other.0
    }

    /// Whether this name is below `other` and not equal to it.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.is_at_or_below(other)
    }

    /// The labels above `apex`, as a name below the root; the root for `apex` itself, and `None` outside of it.
    pub fn relative_to(&self, apex: &Self) -> Option<Self> {
        if !self.is_at_or_below(apex) {
            return None;
        }
        let mut wire = self.0[..self.0.len() - apex.0.len()].to_vec();
        wire.push(0);
        Some(Self(wire.into_boxed_slice()))
    }

    /// `label.self`, e.g. the wildcard below a closest encloser.
    ///
    /// # Errors
    /// A label or name that becomes too long, or an empty label.
    pub fn prepend(&self, label: &[u8]) -> Result<Self, NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL_OCTETS {
            return Err(NameError::LabelTooLong(label.len()));
        }
        let total = 1 + label.len() + self.0.len();
        if total > MAX_NAME_OCTETS {
            return Err(NameError::NameTooLong(total));
        }
        let mut wire = Vec::with_capacity(total);
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
        wire.extend_from_slice(&self.0);
        Ok(Self(wire.into_boxed_slice()))
    }

    /// The canonical order of RFC 4034 §6.1 over two wire-form names in lower case.
    pub fn canonical_cmp(a: &[u8], b: &[u8]) -> Ordering {
        let (mut a_at, mut b_at) = ([0u8; MAX_LABELS + 1], [0u8; MAX_LABELS + 1]);
        let a_count = label_offsets(a, &mut a_at);
        let b_count = label_offsets(b, &mut b_at);
        for i in 1..=a_count.min(b_count) {
            let (x, y) = (label_at(a, a_at[a_count - i]), label_at(b, b_at[b_count - i]));
            match x.cmp(y) {
                Ordering::Equal => {}
                other => return other,
            }
        }
        a_count.cmp(&b_count)
    }
}

fn label_at(wire: &[u8], at: u8) -> &[u8] {
    let at = usize::from(at);
    &wire[at + 1..at + 1 + usize::from(wire[at])]
}

fn label_offsets(wire: &[u8], out: &mut [u8; MAX_LABELS + 1]) -> usize {
    let (mut at, mut count) = (0usize, 0usize);
    while wire[at] != 0 {
        out[count] = at as u8;
        count += 1;
        at += 1 + usize::from(wire[at]);
    }
    count
}

fn parse_labels(text: &str) -> Result<(Vec<u8>, bool), NameError> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    let mut label: Vec<u8> = Vec::new();
    let mut chars = text.chars();
    let mut absolute = false;
    if text.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    while let Some(c) = chars.next() {
        absolute = false;
        match c {
            '.' => {
                push_label(&mut wire, &mut label)?;
                absolute = true;
            }
            '\\' => label.push(parse_escape(&mut chars)?),
            c if c.is_ascii_graphic() || c == ' ' => label.push(c as u8),
            c => return Err(NameError::NotAscii(c)),
        }
    }
    if !absolute {
        push_label(&mut wire, &mut label)?;
    }
    Ok((wire, absolute))
}

fn parse_escape(chars: &mut std::str::Chars<'_>) -> Result<u8, NameError> {
    let first = chars.next().ok_or(NameError::BadEscape)?;
    let Some(hundreds) = first.to_digit(10) else {
        return u8::try_from(first).ok().filter(u8::is_ascii).ok_or(NameError::BadEscape);
    };
    let mut value = hundreds;
    for _ in 0..2 {
        value = value * 10 + chars.next().and_then(|c| c.to_digit(10)).ok_or(NameError::BadEscape)?;
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL_OCTETS {
        return Err(NameError::LabelTooLong(label.len()));
    }
    wire.push(label.len() as u8);
    wire.append(label);
    Ok(())
}

/// Labels of a [`Name`], leftmost first, without the root label.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let n = usize::from(self.rest[0]);
        if n == 0 {
            return None;
        }
        let label = &self.rest[1..=n];
        self.rest = &self.rest[1 + n..];
        Some(label)
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        Self::canonical_cmp(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Presentation format with the trailing dot; octets that are special or not printable are escaped (RFC 1035 §5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.0)
    }
}

/// Writes a wire-form name as [`Name`]'s `Display` does, in the case it has.
///
/// # Errors
/// Those of `out`.
///
/// # Panics
/// On octets that are no uncompressed wire-form name.
pub fn write_name(out: &mut impl fmt::Write, wire: &[u8]) -> fmt::Result {
    let labels = Labels { rest: wire };
    if wire[0] == 0 {
        return out.write_char('.');
    }
    for label in labels {
        for &b in label {
            match b {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(out, "\\{}", b as char)?,
                0x21..=0x7e => out.write_char(b as char)?,
                _ => write!(out, "\\{b:03}")?,
            }
        }
        out.write_char('.')?;
    }
    Ok(())
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    #[test]
    fn parses_what_it_prints() {
        for text in [".", "a.", "www.example.test.", "*.apps.example.test.", "a\\.b.c.", "\\000x.test."] {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(name("WWW.Example.TEST"), name("www.example.test."));
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long = "a".repeat(64);
        let at_the_limit = format!("{0}.{0}.{0}.{0}.x", "a".repeat(62));
        assert_eq!(name(&at_the_limit).wire().len(), MAX_NAME_OCTETS);
        for (text, want) in [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            (&long, NameError::LabelTooLong(64)),
            (&format!("{at_the_limit}y"), NameError::NameTooLong(256)),
            ("a\\", NameError::BadEscape),
            ("a\\25", NameError::BadEscape),
            ("a\\256", NameError::BadEscape),
            ("bücher", NameError::NotAscii('ü')),
        ] {
            assert_eq!(Name::parse_absolute(text), Err(want), "{text}");
        }
    }

    #[test]
    fn orders_as_rfc_4034_section_6_1_lists() {
        let listed = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        let mut sorted: Vec<Name> = listed.iter().rev().map(|t| name(t)).collect();
        sorted.sort();
        assert_eq!(sorted, listed.iter().map(|t| name(t)).collect::<Vec<_>>());
    }

    #[test]
    fn knows_its_place_in_the_tree() {
        let (www, apex) = (name("www.example.test"), name("example.test"));
        assert!(www.is_below(&apex) && www.is_at_or_below(&apex) && apex.is_at_or_below(&apex));
        assert!(!apex.is_below(&apex) && !apex.is_at_or_below(&www));
        assert!(!name("wwwexample.test").is_at_or_below(&apex));
        assert_eq!(www.parent(), Some(apex.clone()));
        assert_eq!(apex.prepend(b"WWW").unwrap(), www);
        assert_eq!(www.label_count(), 3);
        assert!(apex.prepend(b"*").unwrap().is_wildcard());
    }
}
