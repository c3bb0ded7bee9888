//! A domain name in a fixed buffer, with the hash of every suffix of it: what all lookups take.

use crate::model::hash::{HashKey, WORD, partial_word};
use crate::model::name::{MAX_LABELS, MAX_NAME_OCTETS, Name};

/// Octets of the longest name and a word behind it, so that a whole word can be read wherever a label starts: without a test, since
/// the compiler sees that a label's place is an octet.
const ROOM: usize = (MAX_NAME_OCTETS + 1).next_multiple_of(WORD) + WORD;

/// A name in lower case with its label boundaries and the hash of each suffix.
///
/// It lives in a worker's scratch space and is filled again for each query, so that nothing is allocated or zeroed. A
/// **depth** is a number of labels counted from the root: depth 0 is the root, [`depth`](Self::depth) the whole name.
pub struct KeyedName {
    /// The name, then octets without meaning.
    wire: [u8; ROOM],
    len: usize,
    labels: usize,
    /// Where each label starts, leftmost first; one more for the root label.
    starts: [u8; MAX_LABELS + 1],
    hashes: [u64; MAX_LABELS + 1],
}

/// The octets at this place are no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAName;

impl Default for KeyedName {
    fn default() -> Self {
        Self { wire: [0; ROOM], len: 1, labels: 0, starts: [0; MAX_LABELS + 1], hashes: [0; MAX_LABELS + 1] }
    }
}

impl std::fmt::Debug for KeyedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.wire())
    }
}

impl KeyedName {
    /// Reads the uncompressed name at `at` of a message; returns where it ends.
    ///
    /// # Errors
    /// A pointer, a reserved label type, over 255 octets, or the end of the message before the root label.
    #[inline]
    pub fn read_plain(&mut self, key: HashKey, message: &[u8], at: usize) -> Result<usize, NotAName> {
        let name = message.get(at..).ok_or(NotAName)?;
        let (mut end, mut labels) = (0usize, 0usize);
        loop {
            let length = usize::from(*name.get(end).ok_or(NotAName)?);
            // A name of 255 octets has at most 127 labels; a longer one ends here or below.
            *self.starts.get_mut(labels).ok_or(NotAName)? = end as u8;
            end += 1 + length;
            if length == 0 {
                break;
            }
            if length > 63 {
                return Err(NotAName);
            }
            labels += 1;
        }
        let name = name.get(..end).filter(|_| end <= MAX_NAME_OCTETS).ok_or(NotAName)?;
        fold_case(&mut self.wire, name);
        self.len = end;
        self.labels = labels;
        self.hash(key);
        Ok(at + end)
    }

    /// Reads the name at `at` of a message that we wrote ourselves, following pointers.
    ///
    /// # Errors
    /// As [`read_plain`](Self::read_plain); pointers must lead backwards.
    pub fn read_compressed(&mut self, key: HashKey, message: &[u8], mut at: usize) -> Result<(), NotAName> {
        let (mut len, mut labels, mut limit) = (0usize, 0usize, at);
        loop {
            let length = usize::from(*message.get(at).ok_or(NotAName)?);
            if length & 0xc0 == 0xc0 {
                let low = usize::from(*message.get(at + 1).ok_or(NotAName)?);
                at = (length & 0x3f) << 8 | low;
                if at >= limit {
                    return Err(NotAName);
                }
                limit = at;
                continue;
            }
            if length > 63 || len + length + 1 > MAX_NAME_OCTETS {
                return Err(NotAName);
            }
            let label = message.get(at..at + 1 + length).ok_or(NotAName)?;
            self.starts[labels] = len as u8;
            self.wire.get_mut(len..len + label.len()).ok_or(NotAName)?.copy_from_slice(label);
            len += 1 + length;
            at += 1 + length;
            if length == 0 {
                break;
            }
            labels += 1;
        }
        // Names in RDATA keep their case where RFC 4034 §6.2 does not fold it.
        for word in self.wire.as_chunks_mut::<WORD>().0.iter_mut().take(len.div_ceil(WORD)) {
            *word = fold_word(u64::from_le_bytes(*word)).to_le_bytes();
        }
        self.len = len;
        self.labels = labels;
        self.hash(key);
        Ok(())
    }

    /// Becomes `head` (whole labels) followed by `tail` (a whole name), both in lower case.
    ///
    /// # Errors
    /// More than 255 octets together, or no sequence of labels.
    pub fn join(&mut self, key: HashKey, head: &[u8], tail: &[u8]) -> Result<(), NotAName> {
        let mut whole = [0u8; MAX_NAME_OCTETS];
        let len = head.len() + tail.len();
        let (to_head, to_tail) = whole.get_mut(..len).ok_or(NotAName)?.split_at_mut(head.len());
        to_head.copy_from_slice(head);
        to_tail.copy_from_slice(tail);
        let end = self.read_plain(key, &whole[..len], 0)?;
        if end == len { Ok(()) } else { Err(NotAName) }
    }

    /// Becomes a copy of `name`.
    pub fn set(&mut self, key: HashKey, name: &Name) {
        // A `Name` is a valid wire-form name by construction.
        let read = self.read_plain(key, name.wire(), 0);
        debug_assert_eq!(read, Ok(name.wire().len()));
    }

    #[inline]
    fn hash(&mut self, key: HashKey) {
        let mut hash = key.root();
        self.hashes[0] = hash;
        let starts = self.starts.get(..self.labels).unwrap_or_default();
        for (start, to) in starts.iter().rev().zip(&mut self.hashes[1..]) {
            hash = key.extend_at(hash, &self.wire, *start);
            *to = hash;
        }
    }

    /// The whole name in wire form and lower case.
    #[inline]
    pub fn wire(&self) -> &[u8] {
        &self.wire[..self.len]
    }

    /// Octets of the whole name.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no name is empty: even the root has its root label")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of labels without the root label.
    #[inline]
    pub fn depth(&self) -> usize {
        self.labels
    }

    /// Where the suffix of `depth` labels starts within [`wire`](Self::wire); the whole name for a larger depth.
    #[inline]
    pub fn start(&self, depth: usize) -> usize {
        usize::from(self.starts[self.labels.saturating_sub(depth)])
    }

    /// The suffix of `depth` labels.
    #[inline]
    pub fn suffix(&self, depth: usize) -> &[u8] {
        &self.wire[self.start(depth)..self.len]
    }

    /// The labels between the suffix of `depth` labels and a suffix of `outer_len` octets, as the owner records of a zone
    /// hold them.
    #[inline]
    pub fn prefix(&self, depth: usize, outer_len: usize) -> &[u8] {
        self.wire.get(self.start(depth)..self.len.saturating_sub(outer_len)).unwrap_or_default()
    }

    /// All labels in front of a suffix of `outer_len` octets.
    #[inline]
    pub fn in_front_of(&self, outer_len: usize) -> &[u8] {
        self.wire.get(..self.len.saturating_sub(outer_len)).unwrap_or_default()
    }

    /// Hash of the suffix of `depth` labels.
    #[inline]
    pub fn suffix_hash(&self, depth: usize) -> u64 {
        self.hashes[depth.min(self.labels)]
    }

    /// Hash of the whole name.
    #[inline]
    pub fn whole_hash(&self) -> u64 {
        self.hashes[self.labels]
    }
}

/// Copies a name in lower case, sixteen octets at a time: the last ones overlap those before, so that no octet needs a step of its own.
///
/// Length octets are at most 63 and so never letters: folding all octets of a name alike is safe.
#[inline]
fn fold_case(to: &mut [u8; ROOM], name: &[u8]) {
    const WIDE: usize = 2 * WORD;
    if let Some(last) = name.last_chunk::<WIDE>() {
        for (to, from) in to.as_chunks_mut::<WIDE>().0.iter_mut().zip(name.as_chunks::<WIDE>().0) {
            *to = from.map(|octet| octet.to_ascii_lowercase());
        }
        if let Some(to) = to.get_mut(..name.len()).and_then(|to| to.last_chunk_mut::<WIDE>()) {
            *to = last.map(|octet| octet.to_ascii_lowercase());
        }
    } else if let (Some(first), Some(last)) = (name.first_chunk::<WORD>(), name.last_chunk::<WORD>()) {
        to[..WORD].copy_from_slice(&fold_word(u64::from_le_bytes(*first)).to_le_bytes());
        if let Some(to) = to.get_mut(..name.len()).and_then(|to| to.last_chunk_mut::<WORD>()) {
            *to = fold_word(u64::from_le_bytes(*last)).to_le_bytes();
        }
    } else {
        to[..WORD].copy_from_slice(&fold_word(partial_word(name)).to_le_bytes());
    }
}

/// Eight octets in lower case: bit 7 of each sum says whether the octet is at least `A`, or more than `Z`.
#[inline]
fn fold_word(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * EACH);
    let from_a = low + (0x80 - u64::from(b'A')) * EACH;
    let beyond_z = low + (0x7f - u64::from(b'Z')) * EACH;
    word | (from_a & !beyond_z & !word & (0x80 * EACH)) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

    #[test]
    fn agrees_with_the_name_it_was_read_from() {
        let key = HashKey::new(KEY);
        let longest = format!("{0}.{0}.{0}.{0}.x", "a".repeat(62));
        let deepest = "a.".repeat(127);
        for text in [".", "test", "www.example.test", "*.Apps.example.TEST", &longest, &deepest] {
            let name = Name::parse_absolute(text).unwrap();
            let mut keyed = KeyedName::default();
            keyed.set(key, &name);
            assert_eq!(keyed.wire(), name.wire(), "{text}");
            assert_eq!(keyed.depth(), name.label_count(), "{text}");
            assert_eq!(keyed.whole_hash(), key.name(&name), "{text}");
            let mut suffix = Some(name);
            while let Some(name) = suffix {
                let depth = name.label_count();
                assert_eq!(
                    (keyed.suffix(depth), keyed.suffix_hash(depth)),
                    (name.wire(), key.name(&name)),
                    "{text}"
                );
                suffix = name.parent();
            }
        }
    }

    #[test]
    fn folds_case_as_ascii_does() {
        for octet in 0..=255u8 {
            for place in 0..8 {
                let mut word = [b'Q'; 8];
                word[place] = octet;
                let want = word.map(|o| o.to_ascii_lowercase());
                assert_eq!(fold_word(u64::from_le_bytes(word)).to_le_bytes(), want, "{octet}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        let key = HashKey::new(KEY);
        let mut keyed = KeyedName::default();
        let too_long = [&[63u8; 256][..]].concat();
        for bad in [&b""[..], b"\x01", b"\x01a", b"\x40a\0", b"\x80\0", b"\xc0\x0c", &too_long] {
            assert_eq!(keyed.read_plain(key, bad, 0), Err(NotAName), "{bad:?}");
        }
        for bad in [&b"\xc0\x00"[..], b"\xc0", b"\x01a\xc0\x00", b"\x01a\xc0\x7f"] {
            assert_eq!(keyed.read_compressed(key, bad, 0), Err(NotAName), "{bad:?}");
        }
        assert_eq!(keyed.read_compressed(key, b"\x01b\0\x01A\xc0\0", 3), Ok(()));
        assert_eq!(keyed.wire(), b"\x01a\x01b\0");
    }
}
