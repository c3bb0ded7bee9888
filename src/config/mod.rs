//! Configuration: JSON, environment and flags become typed values, or errors with their places.

mod types;

pub use types::*;
