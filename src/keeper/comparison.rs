//! Whether a rebuilt zone differs from what was served before, so that the serial changes exactly when data does.

use std::sync::Arc;

use ring::digest;

use super::changes::RecordChanges;
use super::channel::OwnerCounts;
use super::compile::Earlier;
use crate::model::serial::Serial;
use crate::snapshot::ZoneImage;
use crate::snapshot::image::OwnerRecords;

/// Compares owner by owner against an image, or by digest against a saved run.
pub(super) struct Comparison<'a> {
    earlier: &'a Earlier<'a>,
    digest: ZoneDigest,
    /// Owners of the rebuilt zone that stood before, changed or not.
    kept: usize,
    counts: OwnerCounts,
    records: RecordChanges,
    same_notes: bool,
}

/// How a rebuilt zone differs.
pub(super) enum Difference {
    /// Not at all: this image goes on being served.
    None(Arc<ZoneImage>),
    /// Only in how answers are made (order, extended errors), or in nothing since the saved run: the serial stays.
    NotInData,
    /// In records or signatures: the serial must come after `last`, if there was one.
    Data {
        /// The last serial served.
        last: Option<Serial>,
    },
}

impl<'a> Comparison<'a> {
    /// Nothing compared yet.
    pub(super) fn new(earlier: &'a Earlier<'a>) -> Self {
        Self {
            earlier,
            digest: ZoneDigest::default(),
            kept: 0,
            counts: OwnerCounts::default(),
            records: RecordChanges::default(),
            same_notes: true,
        }
    }

    /// The serial that was served last.
    pub(super) fn serial(&self) -> Option<Serial> {
        match self.earlier {
            Earlier::Image { image, .. } => Some(image.serial()),
            Earlier::Saved { serial, .. } => serial.last,
        }
    }

    /// Takes the next owner of the rebuilt zone, with the SOA record under [`Comparison::serial`].
    pub(super) fn add(&mut self, records: &OwnerRecords) {
        match self.earlier {
            Earlier::Image { image, .. } => match image.owner(&records.name) {
                None => {
                    self.counts.added += 1;
                    self.records.add(None, Some(records));
                }
                Some(before) => {
                    self.kept += 1;
                    self.same_notes &= before == *records;
                    if !same_data(&before, records) {
                        self.counts.changed += 1;
                        self.records.add(Some(&before), Some(records));
                    }
                }
            },
            Earlier::Saved { serial, .. } => {
                if serial.digest.is_some() {
                    self.digest.add(records);
                }
            }
        }
    }

    /// Takes over what another one has compared of the same zone.
    pub(super) fn merge(&mut self, other: &mut Self) {
        self.records.merge(&mut other.records);
        self.digest.merge(&other.digest);
        self.kept += other.kept;
        self.counts.added += other.counts.added;
        self.counts.changed += other.counts.changed;
        self.same_notes &= other.same_notes;
    }

    /// The verdict after the last owner, the owners that differ from an image, and their records; those of owners that are gone only the
    /// caller can find, who has the new image.
    pub(super) fn finish(mut self) -> (Difference, OwnerCounts, RecordChanges) {
        let difference = match self.earlier {
            Earlier::Image { image, .. } => {
                self.counts.removed = image.size().owners.saturating_sub(self.kept);
                match (self.counts == OwnerCounts::default(), self.same_notes) {
                    (true, true) => Difference::None(Arc::clone(image)),
                    (true, false) => Difference::NotInData,
                    (false, _) => Difference::Data { last: Some(image.serial()) },
                }
            }
            Earlier::Saved { serial, .. } => {
                if serial.digest.is_some_and(|saved| saved == self.digest.finish()) {
                    Difference::NotInData
                } else {
                    Difference::Data { last: serial.last }
                }
            }
        };
        (difference, self.counts, self.records)
    }
}

fn same_data(a: &OwnerRecords, b: &OwnerRecords) -> bool {
    let data = |r: &OwnerRecords| {
        r.all_rrsets().map(|r| (r.rrset.clone(), r.signatures.clone())).collect::<Vec<_>>()
    };
    data(a) == data(b)
}

/// A digest of a zone's records and signatures that does not depend on the order of owners: the sum of each owner's
/// SHA-256. It guards against repeating a serial by accident, not against an adversary who can write zone files.
#[derive(Default)]
pub(super) struct ZoneDigest([u64; 4]);

impl ZoneDigest {
    /// Adds an owner.
    pub(super) fn add(&mut self, records: &OwnerRecords) {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(records.name.wire());
        for served in records.all_rrsets() {
            context.update(&served.rrset.rtype.0.to_be_bytes());
            context.update(&served.rrset.ttl.to_be_bytes());
            for part in [served.rrset.rdata.as_bytes(), served.signatures.as_bytes()] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        let owner = context.finish();
        for (sum, word) in self.0.iter_mut().zip(owner.as_ref().chunks_exact(8)) {
            let word = word.iter().fold(0u64, |value, b| value << 8 | u64::from(*b));
            *sum = sum.wrapping_add(word);
        }
    }

    /// Adds what another one was given.
    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
    }

    /// The digest of everything added.
    pub(super) fn finish(&self) -> [u8; 32] {
        let mut out = [0; 32];
        for (chunk, word) in out.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        out
    }
}
