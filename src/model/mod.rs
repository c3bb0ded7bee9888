//! The vocabulary that every other module speaks: names, RRsets, times, targets, verdicts and diagnostics.
//!
//! Nothing here does I/O, only [`breather`] and [`events`] read a clock, and nothing here imports another module of the crate.

pub mod board;
pub mod breather;
pub mod check;
pub mod clock;
pub mod condition;
pub mod diagnostic;
pub mod discovered;
pub mod discovery_report;
pub mod event;
pub mod events;
pub mod explain;
pub mod hash;
pub mod hidden;
pub mod insight;
pub mod lines;
pub mod name;
pub mod overrides;
pub mod pick;
pub mod policy;
pub mod prefixes;
pub mod probe_rate;
pub mod rdata;
pub mod records;
pub mod report;
pub mod resolved;
pub mod rrset;
pub mod rrtype;
pub mod serial;
pub mod sort_key;
pub mod target;
pub mod ttl;
