//! Kubernetes as a source: objects of a cluster become claims.
//!
//! ```text
//!  API server ── list, watch ──▶ objects (only the fields needed) ──▶ claims (one file a resource, pure) ── Report ──▶ guard
//! ```
//!
//! - What an object publishes is a function of the object and of what it refers to: [`ingress`], [`ingress_route`], [`gateway`] (with
//!   [`listener`]), [`service`], [`dns_endpoint`].
//! - Each resource and namespace is one [`watch`]; what all of them say becomes reports in the [`store`]; the [`driver`] carries out orders.

pub mod api;
pub mod backoff;
pub mod connection;
pub mod decode;
pub mod dns_endpoint;
pub mod draft;
pub mod driver;
pub mod gateway;
pub mod ingress;
pub mod ingress_route;
pub mod installed;
pub mod listener;
pub mod objects;
pub mod options;
pub mod pairs;
pub mod pulse;
pub mod resource;
pub mod service;
pub mod settings;
pub mod store;
pub mod watch;
pub mod world;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
