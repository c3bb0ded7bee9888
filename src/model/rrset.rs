//! RRsets in the form the whole server shares: uncompressed RDATA, canonical and sorted.

use super::rrtype::RrType;

/// RDATA of the records of one RRset: uncompressed wire form, names of the types of RFC 4034 §6.2 in lower case,
/// in canonical order (RFC 4034 §6.3), without duplicates.
///
/// One allocation: each RDATA behind its length in two octets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RdataSet(Box<[u8]>);

impl RdataSet {
    /// Sorts and deduplicates. Each RDATA must already be canonical in itself.
    ///
    /// # Panics
    /// Never for RDATA of at most 65,535 octets, which is all the wire form can carry.
    pub fn new<T: AsRef<[u8]>>(rdatas: impl IntoIterator<Item = T>) -> Self {
        let mut all: Vec<T> = rdatas.into_iter().collect();
        all.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        all.dedup_by(|a, b| a.as_ref() == b.as_ref());
        let mut blob = Vec::with_capacity(all.iter().map(|r| r.as_ref().len() + 2).sum());
        for rdata in &all {
            let rdata = rdata.as_ref();
            let length = u16::try_from(rdata.len()).expect("RDATA is at most 65,535 octets");
            blob.extend_from_slice(&length.to_be_bytes());
            blob.extend_from_slice(rdata);
        }
        Self(blob.into_boxed_slice())
    }

    /// Takes RDATA that are in canonical order and without duplicates, each behind its length in two octets, as
    /// [`RdataSet::as_bytes`] gives them.
    pub(crate) fn from_canonical(octets: Vec<u8>) -> Self {
        Self(octets.into_boxed_slice())
    }

    /// Each RDATA, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (rdata, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
            rest = tail;
            Some(rdata)
        })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All RDATA, each behind its length in two octets: what digests are made of.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An RRset of class IN without its owner name (RFC 9499 §5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rrset {
    /// RR type.
    pub rtype: RrType,
    /// TTL in seconds.
    pub ttl: u32,
    /// The records' RDATA.
    pub rdata: RdataSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_and_drops_duplicates() {
        let set = RdataSet::new([&b"bb"[..], b"a", b"bb", b"", b"ab"]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [&b""[..], b"a", b"ab", b"bb"]);
        assert_eq!(set.len(), 4);
        assert!(RdataSet::default().is_empty());
    }
}
