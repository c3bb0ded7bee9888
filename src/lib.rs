//! Hale: an authoritative DNS server that answers only with what is healthy.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod answer;
pub mod app;
pub mod cli;
pub mod config;
pub mod dnssec;
pub mod health;
pub mod keeper;
pub mod model;
pub mod snapshot;
pub mod state;
pub mod telemetry;
pub mod transport;
pub mod zone;
