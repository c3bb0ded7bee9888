//! Kubernetes as a source: objects of a cluster become claims.
//!
//! ```text
//!  API server ── list, watch ──▶ objects (only the fields needed) ──▶ claims (one file a resource, pure) ── Report ──▶ guard
//! ```
//!
//! What an object publishes is a function of the object and of what it refers to: [`ingress`], [`ingress_route`], [`gateway`] (with
//! [`listener`]), [`service`], [`dns_endpoint`].

pub mod dns_endpoint;
pub mod draft;
pub mod gateway;
pub mod ingress;
pub mod ingress_route;
pub mod listener;
pub mod objects;
pub mod options;
pub mod pairs;
pub mod selector;
pub mod service;

#[cfg(test)]
mod tests;
