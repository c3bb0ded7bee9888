//! From the engine's words to those of the counters, which know nothing of the engine.

use crate::answer::{Kind, Reply, Transport};
use crate::telemetry::counters::{AnswerKind, Answered, Protocol};

/// What is counted of a query of `received` octets and its response.
#[inline]
pub(super) fn answered(transport: Transport, received: usize, reply: &Reply) -> Answered {
    Answered {
        protocol: protocol(transport),
        received,
        sent: reply.len,
        rcode: reply.class.rcode,
        qtype: reply.class.qtype.0,
        zone: reply.class.zone,
        kind: kind(reply.class.kind),
        truncated: reply.class.truncated,
    }
}

#[inline]
pub(super) fn kind(kind: Kind) -> AnswerKind {
    match kind {
        Kind::Positive => AnswerKind::Positive,
        Kind::Synthesised => AnswerKind::Synthesised,
        Kind::Nodata => AnswerKind::Nodata,
        Kind::Nxdomain => AnswerKind::Nxdomain,
        Kind::Referral => AnswerKind::Referral,
        Kind::Error => AnswerKind::Error,
    }
}

pub(super) fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
    }
}
