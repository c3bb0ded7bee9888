//! Discovery: names that are published because they were deployed.
//!
//! ```text
//!  Traefik, Kubernetes ──▶ driver (I/O) ── Report ──▶ guard ──▶ claims that stand ──▶ merge ──▶ discovered names ──▶ keeper
//! ```
//!
//! - A driver says what it saw, and nothing else: it never decides that a name goes ([`source`]).
//! - What a report means for the names is decided by pure functions, with the time passed in: no fault of a source takes a
//!   name away.

pub mod claim;
pub mod kubernetes;
pub mod rule;
pub mod source;
