//! Hale: an authoritative DNS server that answers only with what is healthy. This page is the map of the house.
//!
//! # The flow
//!
//! ```text
//!  zone files ─▶ config ─▶ zone::build ─▶ desired zone ──── targets ────▶ health ─▶ probes
//!                                             │                             │
//!                                             ▼                             ▼
//!                                          keeper ◀──── dirty bits ──── verdict board
//!           select · compare · sign (dnssec) · compile (snapshot) · serial ─▶ state
//!                                             │
//!                                             ▼  the one commit point
//!                             snapshot::handle::Published ◀── admin looks, and asks the keeper
//!                                             ▲
//!      UDP, TCP (transport) ─▶ answer(&Snapshot, &mut Scratch, &Query, &mut out) ─▶ reply or nothing
//! ```
//!
//! - One writer: the [`keeper`]'s thread alone publishes. Verdicts are state on a board and not messages, so nothing queues.
//! - One engine: [`answer::answer`] over two buffers serves every transport.
//! - A change costs what it touches: one shard of the store is copied, one owner is signed, and the SOA record with it.
//! - [`app`] alone knows all parts; [`cli`] is one file a command.
//!
//! # What always holds
//!
//! 1. `answer` does no I/O, takes no lock, allocates nothing, reads no clock and never panics.
//! 2. The swap of the snapshot is the only commit point; a transaction that fails leaves the old one and says why.
//! 3. A reader never sees half a transaction: serial, RRsets, signatures and denial chain belong together.
//! 4. The serial changes exactly when data or signatures change, and never goes back (RFC 1982), restarts included.
//! 5. Health makes verdicts, never records.
//! 6. What decides takes the time as an argument; I/O and clocks stay at the edges.
//! 7. What our own host cannot reach is never a verdict "down".
//! 8. Every limit has a name, a default, and a metric or an error that says so.
//! 9. What is committed validates now and until it is renewed.
//! 10. No answer changes because a source of names failed.
//!
//! ARCHITECTURE.md gives the reasons, and names the test of each.
//!
//! # Who may import whom
//!
//! | module | imports |
//! |---|---|
//! | [`model`], [`telemetry`], [`tls`], [`http`] | nothing |
//! | [`state`], [`config`] | `model` |
//! | [`resolver`] | `model`, `state` |
//! | [`zone`], [`dnssec`] | `model`, `config` |
//! | [`health`] | `model`, `config`, `state`, `tls` |
//! | [`discovery`] | `model`, `config`, `state`, `telemetry`, `tls`, `http` |
//! | [`snapshot`] | `model` |
//! | [`answer`] | `model`, `snapshot::lookup` |
//! | [`keeper`] | `model`, `config`, `state`, `zone`, `dnssec`, `snapshot` |
//! | [`transport`] | `config`, `answer`, `snapshot::handle`, `telemetry` |
//! | [`notify`] | `model`, `config`, `telemetry`, `tls`, `http` |
//! | [`admin`] | `model`, `config`, `telemetry` |
//! | [`app`] | all but `cli` |
//! | [`cli`] | `model`, `config`, `telemetry`, `tls`, `zone`, `dnssec`, `app` |
//!
//! `tests/architecture.rs` holds the sources to this table.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod answer;
pub mod app;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod dnssec;
pub mod health;
pub mod http;
pub mod keeper;
pub mod model;
pub mod notify;
pub mod resolver;
pub mod snapshot;
pub mod state;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod zone;
