//! The answer engine: one function over two buffers, used by every transport.

use std::net::SocketAddr;

use crate::model::rrtype::RrType;

/// How a query arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: answers obey the EDNS size, larger ones are truncated.
    Udp,
    /// A stream: answers up to 65,535 octets.
    Tcp,
}

/// A message to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The message without any length prefix.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// How.
    pub transport: Transport,
    /// Unix seconds, read once a batch by the transport.
    pub now_s: u32,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response stands in the output buffer.
    Reply(Reply),
    /// Nothing is sent: shorter than a header, or a response itself (CVE-2024-2169).
    Drop,
}

/// A response in the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Octets of the response.
    pub len: usize,
    /// What counters and rate limits need to know of it.
    pub class: Class,
}

/// What counters and rate limits need to know of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Extended response code (RFC 6895 §2.3).
    pub rcode: u16,
    /// QTYPE; 0 where no question was read.
    pub qtype: RrType,
    /// Index of the zone in the snapshot, if one was found.
    pub zone: Option<u32>,
    /// Kind of answer.
    pub kind: Kind,
    /// Whether TC is set.
    pub truncated: bool,
}

/// Kinds of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records of the name.
    Positive,
    /// Records synthesised from a wildcard or DNAME.
    Synthesised,
    /// The name exists without the type (RFC 2308 §2.2).
    Nodata,
    /// The name does not exist (RFC 2308 §2.1).
    Nxdomain,
    /// A referral to a delegated zone.
    Referral,
    /// Any error code.
    Error,
}
