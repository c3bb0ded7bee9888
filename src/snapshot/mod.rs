//! The immutable published catalogue: compiled zones, lookup in them, and the handle that workers read it through.

pub mod image;
