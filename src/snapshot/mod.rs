//! The immutable published catalogue: compiled zones, lookup in them, and the handle that workers read it through.
//!
//! A zone is a hash-sharded store (radix.rs, shard.rs) of owner records in wire form (record.rs), with an ordered index of
//! the names that hold an NSEC RRset beside it (denial.rs), and one of all names where somebody looks at them (order.rs). A commit copies the shards that it touches and two small arrays;
//! everything else is shared with the image before. Empty non-terminals are records too, so whether names exist is monotone
//! from the apex downwards.

mod bulk;
mod choice;
mod compile;
mod denial;
mod draft;
pub mod handle;
pub mod image;
pub mod keyed;
pub mod lookup;
mod order;
mod radix;
mod record;
mod shard;
mod table;
#[cfg(test)]
mod tests;
mod zone;

pub use bulk::{ZonePortion, join};
pub use compile::{ImageError, MAX_RRSET_OCTETS};
pub use draft::{EncodedOwner, ZoneDraft};
pub use order::NamesInOrder;
pub use table::Snapshot;
pub use zone::{ZoneImage, ZoneSize};
