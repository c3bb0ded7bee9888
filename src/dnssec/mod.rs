//! Signing: keys and their files, RRSIG and NSEC records, which signatures are due, and signatures kept for another time.
//!
//! Signing itself is pure and takes its time as an argument. Only `load`, `generate` and `files` touch the disk.

pub mod algorithm;
mod bind;
pub mod cache;
pub mod denial;
mod der;
mod files;
pub mod generate;
pub mod key;
pub mod keys;
mod load;
mod material;
mod pem;
pub mod saved;
pub mod schedule;
pub mod sign;

#[cfg(all(test, unix))]
mod zone_tests;
