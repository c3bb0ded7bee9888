//! How queries come in and responses go out. Every transport calls the one engine; none knows what a zone is. What arrives by UDP
//! has its response judged by the rate limits (`rrl`) and the zones' fair share (`share`) on the way out.
//!
//! On Linux a worker is two threads: one that reads and answers datagrams in batches for each address (`udp`), and one for
//! streams (`tcp`). Elsewhere, and with `--portable`, datagrams are answered one by one, and
//! hickory-server carries TCP (`portable`). All sockets are bound by
//! [`bind`](fn@bind), or handed over by the service manager ([`adopt`]), before anything is answered.

mod account;
mod bind;
mod cores;
mod engine;
mod handed;
mod limits;
mod portable;
mod privilege;
mod respond;
mod rrl;
mod running;
mod share;
mod shutdown;
#[cfg(target_os = "linux")]
mod tcp;
#[cfg(target_os = "linux")]
mod udp;

#[cfg(not(target_os = "linux"))]
use std::time::{SystemTime, UNIX_EPOCH};

use crate::answer::{Outcome, Query};

pub use bind::BindError;
pub use engine::SnapshotEngine;
pub use handed::{Handed, HandedError};
pub use limits::Limits;
pub use privilege::PortPrivilege;
pub use running::{Bound, Moved, Running, adopt, bind};

/// Whatever answers. One is made for each thread, so it needs no lock; [`Engine::answer`] must not wait for anything.
pub trait Engine: Send + 'static {
    /// Answers one message into `out`, which holds at least 4096 octets for a datagram and 65,535 for a stream.
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome;

    /// Octets of the name, in wire form, of the zone that the last answer was from; its [`Class`](crate::answer::Class) gives the index. For
    /// the query log.
    fn apex_octets(&self, _zone: u32) -> Option<usize> {
        None
    }

    /// Called about once a second while nothing arrives: the time to let go of a snapshot that was replaced.
    fn idle(&mut self) {}
}

/// Unix seconds, as [`Query::now_s`] takes them. A clock before 1970 reads 0.
///
/// The coarse clock is some milliseconds behind and takes a fifth of the time to read. A batch reads the exact one twice already, for the
/// metrics.
#[cfg(target_os = "linux")]
fn now_s() -> u32 {
    rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec.try_into().unwrap_or(0)
}

/// Unix seconds, as [`Query::now_s`] takes them. A clock before 1970 reads 0.
#[cfg(not(target_os = "linux"))]
fn now_s() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}
