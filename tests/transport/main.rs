//! The transports against real sockets on loopback, with an engine that answers any question at once.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod descriptors;
mod portable;
mod support;
mod tcp;
mod udp;
