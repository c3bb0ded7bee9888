//! Discovery: names that are published because they were deployed.
//!
//! ```text
//!  Traefik, Kubernetes ──▶ driver (I/O) ── Report ──▶ guard ──▶ claims that stand ──▶ merge ──▶ discovered names ──▶ keeper
//! ```
//!
//! - A driver says what it saw, and nothing else: it never decides that a name goes ([`source`]).
//! - What a report means for the names is decided by pure functions, with the time passed in: no fault of a source takes a
//!   name away.

pub mod brake;
pub mod claim;
pub mod core;
mod default_check;
pub mod figures;
pub mod guard;
pub mod kept;
pub mod kubernetes;
pub mod merge;
pub mod pace;
pub mod rule;
pub mod source;
pub mod traefik;
pub mod views;
