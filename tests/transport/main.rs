//! The transports against real sockets on loopback, with an engine that answers any question at once.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod descriptors;
#[path = "../engine/message.rs"]
#[allow(dead_code)]
mod message;
mod portable;
mod rrl;
mod support;
mod tcp;
mod udp;
#[path = "../engine/zone.rs"]
#[allow(dead_code)]
mod zone;
