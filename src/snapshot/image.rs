//! What goes into a compiled zone.

use crate::model::name::Name;
use crate::model::pick::Pick;
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

/// Everything that one owner name serves, as the compiler takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecords {
    /// Owner name.
    pub name: Name,
    /// Its RRsets with their signatures; in a signed zone the NSEC RRset among them where the owner has one. Empty for an
    /// owner that exists without records (an unsigned owner whose every address is down).
    pub rrsets: Vec<ServedRrset>,
    /// Types with several answers, of which a query gets one. The one among [`OwnerRecords::rrsets`] is the default variant, which is what
    /// transfers and exports are given.
    pub choices: Vec<Choice>,
    /// Types whose first verdict is still awaited: answered SERVFAIL with extended error 14.
    pub pending: Vec<RrType>,
    /// Types that `when_all_down: none` leaves without records: NODATA with extended error 0 and a text.
    pub withheld: Vec<RrType>,
}

impl OwnerRecords {
    /// Every RRset that a query can get, the default variants first.
    pub fn all_rrsets(&self) -> impl Iterator<Item = &ServedRrset> + Clone {
        self.rrsets.iter().chain(self.choices.iter().flat_map(|choice| &choice.others))
    }
}

/// The answers of a type that has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Their type.
    pub rtype: RrType,
    /// All but the default variant, with the same order and extended error as that one.
    pub others: Vec<ServedRrset>,
    /// Which one a query gets: 0 is the default variant, what follows counts [`Choice::others`].
    pub pick: Pick,
}

/// One RRset as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedRrset {
    /// The records.
    pub rrset: Rrset,
    /// RDATA of the RRSIGs over it (RFC 4034 §3.1); empty in an unsigned zone and for what is not authoritative.
    pub signatures: RdataSet,
    /// Whether answers start with another record each time.
    pub rotate: bool,
    /// Extended error that goes with it.
    pub note: Note,
}

/// Why an answer is not the ordinary one (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Note {
    /// Nothing to say.
    #[default]
    None = 0,
    /// `when_all_down: last-good`: extended error 3, stale answer.
    Stale = 1,
    /// `when_all_down: all`: extended error 0 with a text.
    AllDownServingAll = 2,
    /// `when_all_down: fallback`: extended error 0 with a text.
    Fallback = 3,
}
