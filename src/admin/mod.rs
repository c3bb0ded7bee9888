//! The admin listener: `/healthz`, `/readyz`, `/metrics`, `/api/v1` and the web page `/ui`, over TCP and over a unix socket in the state directory.
//!
//! Three rules decide who may do what (`access.rs`): reading needs no token on loopback or on the unix socket, and a token elsewhere;
//! every change needs a token or the unix socket; the probe and metrics pages never need one. What is shown and changed is behind
//! [`Control`], so that this module knows neither the keeper nor the snapshot.

mod access;
mod control;
mod crowd;
mod events;
mod explain;
mod export;
mod external;
mod limit;
mod listen;
mod openapi;
mod overrides;
mod pages;
mod peer;
mod problem;
mod records;
mod route;
mod serve;
mod sources;
mod tls;
mod ui;

pub use access::{NoRandomness, Rules};
pub use control::{ChangeError, Control, ExportError, ExportFormat, RecordsQuery, View};
pub use listen::Admin;
pub use ui::Insight;

pub use crate::model::report::SOCKET_NAME;

#[cfg(all(test, unix))]
mod tests;
