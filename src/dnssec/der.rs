//! As much DER as private key files need (X.690 §8, §10): tag, definite length, content.
//!
//! Ours rather than a crate's because key files in the wild bend the rules where a strict reader refuses them: Ed25519
//! keys of older ring versions tag their public part explicitly, RFC 5958 wants it implicit.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(super) const CONTEXT_1: u8 = 0xa1;
/// `[1]`, primitive: an implicitly tagged string.
pub(super) const CONTEXT_1_PRIMITIVE: u8 = 0x81;

/// Reads one value after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// What has not been read.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Tag of the next value.
    pub(super) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Content of the next value, if it has this tag and is whole.
    pub(super) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            // Up to four octets of length: no key is longer.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
                (digits.iter().fold(0usize, |n, &d| n << 8 | usize::from(d)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        if found != tag {
            return None;
        }
        self.0 = rest;
        Some(content)
    }

    /// A reader of the content of the next value.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.read(tag).map(Self)
    }

    /// The next value, a non-negative INTEGER, without leading zeros.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        let content = self.read(INTEGER)?;
        if content.first()? & 0x80 != 0 {
            return None;
        }
        Some(trim_zeros(content))
    }

    /// The next value, a BIT STRING of whole octets.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        whole_octets(self.read(BIT_STRING)?)
    }
}

/// The octets of a BIT STRING's content, if no bit of them is unused.
pub(super) fn whole_octets(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

/// A big-endian number without leading zeros.
pub(super) fn trim_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|&&b| b == 0).count()..]
}

/// One value out of the concatenation of `parts`.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let digits = trim_zeros(&digits);
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A non-negative INTEGER.
pub(super) fn unsigned(number: &[u8]) -> Vec<u8> {
    let number = trim_zeros(number);
    // A zero in front where the first bit would make it negative, and for zero itself.
    let pad: &[u8] = if number.first().is_none_or(|b| b & 0x80 != 0) { &[0] } else { &[] };
    value(INTEGER, &[pad, number])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let der = value(OCTET_STRING, &[&content[..length / 2], &content[length / 2..]]);
            let mut reader = Reader::new(&der);
            assert_eq!(reader.read(OCTET_STRING), Some(&content[..]), "{length}");
            assert!(reader.is_empty());
            // Cut anywhere, it is no value any more; neither is it one of another tag.
            for cut in [0, 1, der.len() - 1] {
                assert_eq!(Reader::new(&der[..cut]).read(OCTET_STRING), None, "{length} cut at {cut}");
            }
            assert_eq!(Reader::new(&der).read(SEQUENCE), None);
        }
    }

    #[test]
    fn integers_keep_their_sign() {
        for (number, der) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0, 5], &[2, 1, 5]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[1, 0, 1], &[2, 3, 1, 0, 1]),
        ] {
            assert_eq!(unsigned(number), der);
            assert_eq!(Reader::new(der).unsigned(), Some(trim_zeros(number)));
        }
        for bad in [&[2, 1, 0x80][..], &[2, 0], &[2, 0x80, 1], &[2, 0x85, 0, 0, 0, 0, 1, 1]] {
            assert_eq!(Reader::new(bad).unsigned(), None, "{bad:?}");
        }
        assert_eq!(Reader::new(&[3, 2, 1, 2]).bits(), None, "an unused bit");
    }
}
