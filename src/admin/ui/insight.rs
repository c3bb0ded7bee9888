//! What the web page needs of the running server beyond what the API has.

use crate::model::insight::{Attempt, NameRow, NamesPage, NamesQuery, SigningReport};
use crate::model::name::Name;

/// Part of [`Control`](crate::admin::Control). Its methods are called on threads that may block.
pub trait Insight {
    /// The last probes of targets, oldest first, in the order of `ids`; nothing for what is not probed.
    fn attempts(&self, ids: &[u32]) -> Vec<Vec<Attempt>>;

    /// A page of the names that a zone serves; `None` where no zone with this apex is served.
    fn names(&self, query: &NamesQuery) -> Option<NamesPage>;

    /// One name of a zone; `None` where it has no records there, or the zone is not served.
    fn name_row(&self, zone: &Name, name: &Name) -> Option<NameRow>;

    /// How each zone is signed, by name, broken ones and aliases among them.
    fn signing(&self) -> Vec<SigningReport>;

    /// Publishes at once the verdicts that the brake of health checks holds, in the name of `owner`. Returns whether it held any.
    fn release_health_brake(&self, owner: &str) -> bool;
}
