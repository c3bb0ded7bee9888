//! What a zone should say and does say: desired records, semantic checks, selection by health, serials, text. Pure: no I/O, no clock.

pub mod build;
pub mod check;
pub mod crowded;
pub mod desired;
pub mod fold;
pub mod follow;
pub mod owners;
pub mod select;
pub mod serial;
pub mod text;
