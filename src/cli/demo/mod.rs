//! x
mod backend;
