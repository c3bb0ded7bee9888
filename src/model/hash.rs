//! A keyed hash of names that grows label by label from the root, so that one pass over a query name gives the hash of
//! every suffix of it.
//!
//! The key is drawn once a process, so that nobody who can put names into a zone can aim them at one bucket.

use super::name::{MAX_NAME_OCTETS, Name};

/// Octets that are hashed at once.
pub(crate) const WORD: usize = 8;

/// The key of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// A key from two random words.
    pub fn new(words: [u64; 2]) -> Self {
        // An all-zero multiplier would map everything to one bucket.
        Self([words[0], words[1] | 1])
    }

    /// Hash of the root name.
    pub fn root(self) -> u64 {
        self.0[0]
    }

    /// Hash of `label.suffix`, given the hash of `suffix`; `label` is in lower case.
    #[inline]
    pub fn extend(self, suffix: u64, label: &[u8]) -> u64 {
        let mut state = suffix ^ (label.len() as u64).wrapping_mul(LENGTHS);
        let mut chunks = label.chunks_exact(8);
        for chunk in &mut chunks {
            state = fold(
                state
                    ^ u64::from_le_bytes([
                        chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7],
                    ]),
                self.0[1],
            );
        }
        let last = partial_word(chunks.remainder());
        fold(state ^ last, self.0[1] ^ LAST)
    }

    /// As [`extend`](Self::extend), of the label at `start` of a name that lies in a larger buffer: the word that holds a label's end
    /// is read whole and cut, in place of a step for each length that the rest of a label can have.
    #[inline]
    pub(crate) fn extend_at<const ROOM: usize>(self, suffix: u64, wire: &[u8; ROOM], start: u8) -> u64 {
        const { assert!(ROOM >= u8::MAX as usize + 1 + WORD) };
        let start = usize::from(start);
        let length = usize::from(wire[start]);
        let mut state = suffix ^ (length as u64).wrapping_mul(LENGTHS);
        let (mut at, mut left) = (start + 1, length);
        while left >= WORD {
            state = fold(state ^ word_at(wire, at), self.0[1]);
            (at, left) = (at + WORD, left - WORD);
        }
        let last = word_at(wire, at) & !(u64::MAX << (8 * left));
        fold(state ^ last, self.0[1] ^ LAST)
    }

    /// Hash of a whole wire-form name in lower case.
    pub fn name(self, name: &Name) -> u64 {
        self.labels(self.root(), name.wire().strip_suffix(&[0]).unwrap_or_default())
    }

    /// Hash of labels in wire form, without a root label, in front of a suffix of that hash.
    pub(crate) fn labels(self, suffix: u64, labels: &[u8]) -> u64 {
        let mut starts = [0u8; MAX_NAME_OCTETS / 2 + 1];
        let (mut count, mut at) = (0, 0);
        while let Some(&length) = labels.get(at) {
            starts[count] = at as u8;
            count += 1;
            at += 1 + usize::from(length);
        }
        starts[..count].iter().rev().fold(suffix, |hash, &start| {
            let start = usize::from(start);
            self.extend(hash, &labels[start + 1..start + 1 + usize::from(labels[start])])
        })
    }
}

// Odd numbers without a pattern, that labels of different lengths and whole words and rests differ.
const LENGTHS: u64 = 0x9e37_79b9_7f4a_7c15;
const LAST: u64 = 0xa076_1d64_78bd_642f;

/// The word at a place, 0 beyond the end.
#[inline]
fn word_at(octets: &[u8], at: usize) -> u64 {
    octets.get(at..).and_then(|rest| rest.first_chunk::<WORD>()).map_or(0, |word| u64::from_le_bytes(*word))
}

/// Whether two strings of octets are equal. Up to 16 of them, as most names have that are compared, take two reads of each that overlap;
/// that is a third of what calling `memcmp` costs.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    const HALF: usize = WORD / 2;
    a.len() == b.len()
        && if a.len() > 2 * WORD || a.len() < HALF {
            a == b
        } else if a.len() >= WORD {
            a.first_chunk::<WORD>() == b.first_chunk() && a.last_chunk::<WORD>() == b.last_chunk()
        } else {
            a.first_chunk::<HALF>() == b.first_chunk() && a.last_chunk::<HALF>() == b.last_chunk()
        }
}

/// Up to seven octets as a little-endian word: four and more by two reads that overlap.
#[inline]
pub(crate) fn partial_word(octets: &[u8]) -> u64 {
    match *octets {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        ref more => match (more.first_chunk::<4>(), more.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                let shift = 8 * (more.len() as u32 & 7).saturating_sub(4);
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
            }
            _ => 0,
        },
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_hashes_as_its_labels_do_one_by_one() {
        let key = HashKey::new([1, 2]);
        let name = Name::parse_absolute("a-rather-long-label.www.example.test").unwrap();
        let parts = [&b"test"[..], b"example", b"www", b"a-rather-long-label"];
        assert_eq!(key.name(&name), parts.iter().fold(key.root(), |h, l| key.extend(h, l)));
        assert_ne!(key.name(&name), HashKey::new([3, 4]).name(&name));
    }

    #[test]
    fn reads_partial_words() {
        for length in 0..8 {
            let mut octets = [1, 2, 3, 4, 5, 6, 7, 8];
            octets[length..].fill(0);
            assert_eq!(partial_word(&octets[..length]), u64::from_le_bytes(octets), "{length}");
        }
    }

    #[test]
    fn spreads_similar_names() {
        let key = HashKey::new([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);
        let suffix = key.extend(key.root(), b"test");
        let mut low: Vec<u64> =
            (0..4096).map(|i| key.extend(suffix, format!("h{i}").as_bytes()) & 0xffff).collect();
        low.sort_unstable();
        low.dedup();
        assert!(low.len() > 3800, "only {} of 4096 distinct low words", low.len());
    }
}
