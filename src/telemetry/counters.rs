//! Counters of the data plane.
//!
//! Each worker writes a block of its own that starts on a cache line of its own, by plain loads and stores: no locked
//! instruction and no line that two workers write. Reading sums the blocks. [`Writer`] cannot be cloned and counts
//! through `&mut self`, so that the compiler proves that a block has one writer.

mod totals;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use totals::Totals;

/// Zones with counters of their own; all further ones share one row. It bounds the metrics page, not the server.
pub const ZONES_COUNTED: usize = 200;

/// Declares the values of a metric label, in the order in which their cells lie.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// Every value as it stands on the metrics page.
            pub const LABELS: &'static [&'static str] = &[$($text,)*];
        }
    };
}

labels! {
    /// How a message travels.
    Protocol {
        /// Datagrams.
        Udp = "udp",
        /// Streams.
        Tcp = "tcp",
    }
}

labels! {
    /// Kinds of response.
    AnswerKind {
        /// Records of the name.
        Positive = "positive",
        /// From a wildcard or DNAME.
        Synthesised = "synthesised",
        /// The name exists without the type.
        Nodata = "nodata",
        /// The name does not exist.
        Nxdomain = "nxdomain",
        /// To a delegated zone.
        Referral = "referral",
        /// Any error code.
        Error = "error",
    }
}

labels! {
    /// Why a message got no response.
    DropReason {
        /// Shorter than a header, or itself a response.
        NotAQuery = "not_a_query",
        /// A datagram larger than the receive buffer.
        Oversize = "oversize",
        /// From port 0 or an address nothing can be sent to.
        BadSource = "bad_source",
        /// Its response was beyond a rate limit (`limits.rrl`).
        RateLimited = "rate_limited",
        /// Given up by a worker that is asked too much, for the sake of other zones (`limits.fair_share`).
        FairShare = "fair_share",
    }
}

labels! {
    /// What became of a response beyond a rate limit.
    Limited {
        /// Not sent.
        Dropped = "dropped",
        /// Sent without records and with TC set.
        Truncated = "truncated",
    }
}

labels! {
    /// Why a TCP connection was turned away.
    RefuseReason {
        /// `limits.tcp.connections` reached, and none was idle.
        Total = "total",
        /// `limits.tcp.per_client` reached.
        PerClient = "per_client",
    }
}

labels! {
    /// Why a TCP connection ended.
    CloseReason {
        /// The client closed or reset it.
        Client = "client",
        /// Idle for too long.
        Idle = "idle",
        /// A message was not complete in time.
        SlowRead = "slow_read",
        /// Responses were not taken in time.
        SlowWrite = "slow_write",
        /// The idlest connection, closed to make room for a new one.
        MadeRoom = "made_room",
        /// More would have to be kept for all connections than `limits.tcp.buffered_bytes`.
        Memory = "memory",
        /// A framing error.
        Protocol = "protocol",
        /// The server stops.
        Stop = "stop",
    }
}

labels! {
    /// Why `accept` failed.
    AcceptError {
        /// EMFILE, ENFILE, ENOBUFS or ENOMEM.
        Resources = "resources",
        /// The client was gone already.
        Aborted = "aborted",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// Why a datagram could not be sent.
    SendError {
        /// The socket's buffer or the device's queue stayed full.
        Full = "full",
        /// No route, network down, host unreachable.
        Unreachable = "unreachable",
        /// A packet filter said no.
        Denied = "denied",
        /// Anything else.
        Other = "other",
    }
}

/// QTYPEs with counters of their own; all others share the last cell.
#[rustfmt::skip]
const QTYPES: &[(u16, &str)] = &[
    (1, "A"), (2, "NS"), (5, "CNAME"), (6, "SOA"), (12, "PTR"), (13, "HINFO"), (15, "MX"), (16, "TXT"), (28, "AAAA"),
    (29, "LOC"), (33, "SRV"), (35, "NAPTR"), (39, "DNAME"), (43, "DS"), (44, "SSHFP"), (46, "RRSIG"), (47, "NSEC"),
    (48, "DNSKEY"), (50, "NSEC3"), (51, "NSEC3PARAM"), (52, "TLSA"), (59, "CDS"), (60, "CDNSKEY"), (61, "OPENPGPKEY"),
    (64, "SVCB"), (65, "HTTPS"), (99, "SPF"), (251, "IXFR"), (252, "AXFR"), (255, "ANY"), (256, "URI"), (257, "CAA"),
];

/// RCODEs with cells of their own (RFC 6895 §2.3); all others share the last cell.
#[rustfmt::skip]
const RCODES: &[&str] = &[
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE", "DSOTYPENI", "12", "13", "14", "15", "BADVERS", "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG",
    "BADTRUNC", "BADCOOKIE", "other",
];

/// The name of a QTYPE that has a counter of its own.
pub(super) fn qtype_name(qtype: u16) -> Option<&'static str> {
    QTYPES.iter().find(|(number, _)| *number == qtype).map(|(_, name)| *name)
}

/// The name of an extended RCODE that has a counter of its own.
pub(super) fn rcode_name(rcode: u16) -> Option<&'static str> {
    RCODES[..RCODES.len() - 1].get(usize::from(rcode)).copied()
}

/// What zones tell apart: a zone that answers is either right, negative or broken.
const ZONE_RCODES: &[&str] = &["NOERROR", "NXDOMAIN", "SERVFAIL", "other"];

/// Upper bounds of the batch size buckets.
const BATCH_BOUNDS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Upper bounds of the buckets of how long batches take, in nanoseconds.
#[rustfmt::skip]
const BATCH_NS_BOUNDS: [u64; 12] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 100_000_000, 1_000_000_000,
];
/// Cells of one transport: the buckets, those above, and the sum of nanoseconds.
const BATCH_NS_CELLS: usize = BATCH_NS_BOUNDS.len() + 2;

/// Cell of each QTYPE below 258, so that counting one is a load and not a search.
const QTYPE_CELLS: [u8; 258] = {
    let mut cells = [QTYPES.len() as u8; 258];
    let mut i = 0;
    while i < QTYPES.len() {
        cells[QTYPES[i].0 as usize] = i as u8;
        i += 1;
    }
    cells
};

// Where each group of cells starts in a block. What every query counts comes first and lies together.
const QUERIES: usize = 0;
const RECEIVED: usize = QUERIES + Protocol::LABELS.len();
const SENT: usize = RECEIVED + Protocol::LABELS.len();
const TRUNCATED: usize = SENT + Protocol::LABELS.len();
const KINDS: usize = TRUNCATED + Protocol::LABELS.len();
const RCODE: usize = KINDS + AnswerKind::LABELS.len();
const QTYPE: usize = RCODE + RCODES.len();
const BATCHES: usize = QTYPE + QTYPES.len() + 1;
const BATCHED: usize = BATCHES + BATCH_BOUNDS.len();
const BATCH_NS: usize = BATCHED + 1;
const DROPPED: usize = BATCH_NS + BATCH_NS_CELLS * Protocol::LABELS.len();
const ACCEPTED: usize = DROPPED + DropReason::LABELS.len();
const REFUSED: usize = ACCEPTED + 1;
const CLOSED: usize = REFUSED + RefuseReason::LABELS.len();
const ACCEPT_ERRORS: usize = CLOSED + CloseReason::LABELS.len();
const SEND_ERRORS: usize = ACCEPT_ERRORS + AcceptError::LABELS.len();
const RECEIVE_ERRORS: usize = SEND_ERRORS + SendError::LABELS.len();
const LOST: usize = RECEIVE_ERRORS + 1;
const RATE_LIMITED: usize = LOST + 1;
const RATES_FORGOTTEN: usize = RATE_LIMITED + Limited::LABELS.len() * AnswerKind::LABELS.len();
const ZONES: usize = RATES_FORGOTTEN + 1;
const SHED: usize = ZONES + (ZONES_COUNTED + 1) * ZONE_RCODES.len();
/// One cell a zone, one for all further zones, one for queries of no zone.
const CELLS: usize = SHED + ZONES_COUNTED + 2;

/// One worker's cells, aligned to two cache lines since processors prefetch them in pairs.
#[repr(align(128))]
struct Block([AtomicU64; CELLS]);

/// A response, as the counters see it.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// How the query came.
    pub protocol: Protocol,
    /// Octets of the query, without a length prefix.
    pub received: usize,
    /// Octets of the response, likewise.
    pub sent: usize,
    /// Extended response code.
    pub rcode: u16,
    /// QTYPE; 0 where none was read.
    pub qtype: u16,
    /// Number of the zone, if one was found.
    pub zone: Option<u32>,
    /// Kind of response.
    pub kind: AnswerKind,
    /// Whether TC is set.
    pub truncated: bool,
}

/// All blocks of the data plane.
#[derive(Default)]
pub struct Counters {
    blocks: Mutex<Vec<Arc<Block>>>,
}

impl Counters {
    /// No blocks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new block with its only writer. What it counted stays in the sum when the writer is gone.
    pub fn writer(&self) -> Writer {
        let block = Arc::new(Block([const { AtomicU64::new(0) }; CELLS]));
        self.blocks().push(Arc::clone(&block));
        Writer(block)
    }

    /// The sum over all workers. Cells are read one by one while workers go on: each is exact and never goes back, but two
    /// of them may be a few queries apart.
    pub fn totals(&self) -> Totals {
        let mut sums = vec![0u64; CELLS];
        for block in self.blocks().iter() {
            for (sum, cell) in sums.iter_mut().zip(&block.0) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
        }
        Totals(sums)
    }

    fn blocks(&self) -> MutexGuard<'_, Vec<Arc<Block>>> {
        // A push or a read that panicked leaves the list whole.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one writer of a block.
pub struct Writer(Arc<Block>);

impl Writer {
    fn add(&mut self, cell: usize, n: u64) {
        // Not fetch_add: nobody else writes here, and a locked instruction costs as much as finding an answer.
        let cell = &self.0.0[cell];
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Counts a query and its response.
    #[inline]
    pub fn answered(&mut self, a: &Answered) {
        let p = a.protocol as usize;
        self.add(QUERIES + p, 1);
        self.add(RECEIVED + p, a.received as u64);
        self.add(SENT + p, a.sent as u64);
        self.add(KINDS + a.kind as usize, 1);
        self.add(RCODE + usize::from(a.rcode).min(RCODES.len() - 1), 1);
        let qtype = QTYPE_CELLS.get(usize::from(a.qtype)).map_or(QTYPES.len(), |&cell| usize::from(cell));
        self.add(QTYPE + qtype, 1);
        if a.truncated {
            self.add(TRUNCATED + p, 1);
        }
        if let Some(zone) = a.zone {
            let rcode = match a.rcode {
                0 => 0,
                3 => 1,
                2 => 2,
                _ => 3,
            };
            self.add(ZONES + (zone as usize).min(ZONES_COUNTED) * ZONE_RCODES.len() + rcode, 1);
        }
    }

    /// Counts a message of so many octets that gets no response.
    pub fn dropped(&mut self, protocol: Protocol, received: usize, reason: DropReason) {
        self.add(QUERIES + protocol as usize, 1);
        self.add(RECEIVED + protocol as usize, received as u64);
        self.add(DROPPED + reason as usize, 1);
    }

    /// Counts a response beyond a rate limit; what was sent or dropped instead is counted apart from this.
    pub fn rate_limited(&mut self, kind: AnswerKind, what: Limited) {
        self.add(RATE_LIMITED + what as usize * AnswerKind::LABELS.len() + kind as usize, 1);
    }

    /// Counts rates that were forgotten for others while they still meant something.
    pub fn rates_forgotten(&mut self, n: u64) {
        self.add(RATES_FORGOTTEN, n);
    }

    /// Counts a response given up for the sake of other zones; that it was dropped is counted apart from this.
    pub fn shed(&mut self, zone: Option<u32>) {
        self.add(SHED + zone.map_or(ZONES_COUNTED + 1, |zone| (zone as usize).min(ZONES_COUNTED)), 1);
    }

    /// Counts one receive call that brought `datagrams` (at least 1).
    #[inline]
    pub fn batch(&mut self, datagrams: usize) {
        let bucket = datagrams.max(1).next_power_of_two().trailing_zeros() as usize;
        self.add(BATCHES + bucket.min(BATCH_BOUNDS.len() - 1), 1);
        self.add(BATCHED, datagrams as u64);
    }

    /// Counts how long a batch took: from when it was received until its last response was handed to the kernel.
    #[inline]
    pub fn batch_took(&mut self, protocol: Protocol, nanoseconds: u64) {
        let start = BATCH_NS + protocol as usize * BATCH_NS_CELLS;
        let bucket = BATCH_NS_BOUNDS.iter().take_while(|&&bound| nanoseconds > bound).count();
        self.add(start + bucket, 1);
        self.add(start + BATCH_NS_CELLS - 1, nanoseconds);
    }

    /// Counts a receive call that failed for another reason than there being nothing.
    pub fn receive_error(&mut self) {
        self.add(RECEIVE_ERRORS, 1);
    }

    /// Counts datagrams that the kernel dropped before a receive call could bring them.
    pub fn lost(&mut self, datagrams: u64) {
        self.add(LOST, datagrams);
    }

    /// Counts a datagram that could not be sent.
    pub fn send_error(&mut self, reason: SendError) {
        self.add(SEND_ERRORS + reason as usize, 1);
    }

    /// Counts a connection taken.
    pub fn accepted(&mut self) {
        self.add(ACCEPTED, 1);
    }

    /// Counts a connection turned away; it was never counted as taken.
    pub fn refused(&mut self, reason: RefuseReason) {
        self.add(REFUSED + reason as usize, 1);
    }

    /// Counts the end of a connection that was counted as taken.
    pub fn closed(&mut self, reason: CloseReason) {
        self.add(CLOSED + reason as usize, 1);
    }

    /// Counts a failed `accept`.
    pub fn accept_error(&mut self, reason: AcceptError) {
        self.add(ACCEPT_ERRORS + reason as usize, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::MetricsWriter;

    fn answered(rcode: u16, qtype: u16, zone: Option<u32>) -> Answered {
        Answered {
            protocol: Protocol::Udp,
            received: 30,
            sent: 100,
            rcode,
            qtype,
            zone,
            kind: AnswerKind::Positive,
            truncated: rcode == 2,
        }
    }

    fn page(counters: &Counters) -> String {
        let mut page = MetricsWriter::new();
        counters.totals().write(&mut page, |zone| (zone == 0).then(|| "example.test.".to_owned()));
        page.finish()
    }

    #[test]
    fn what_is_counted_stands_on_the_page() {
        let counters = Counters::new();
        let mut udp = counters.writer();
        for (rcode, qtype, zone) in
            [(0, 1, Some(0)), (3, 257, Some(0)), (2, 300, Some(7)), (23, 65535, Some(1000)), (4000, 0, None)]
        {
            udp.answered(&answered(rcode, qtype, zone));
        }
        udp.dropped(Protocol::Udp, 5, DropReason::NotAQuery);
        for n in [1, 2, 3, 64] {
            udp.batch(n);
        }
        udp.send_error(SendError::Denied);
        for nanoseconds in [0, 5_000, 5_001, 2_000_000_000] {
            udp.batch_took(Protocol::Tcp, nanoseconds);
        }
        let page = page(&counters);
        for line in [
            "hale_queries_total{transport=\"udp\"} 6",
            "hale_received_bytes_total{transport=\"udp\"} 155",
            "hale_sent_bytes_total{transport=\"udp\"} 500",
            "hale_truncated_responses_total{transport=\"udp\"} 1",
            "hale_responses_total{rcode=\"NOERROR\"} 1",
            "hale_responses_total{rcode=\"BADCOOKIE\"} 1",
            "hale_responses_total{rcode=\"other\"} 1",
            "hale_queries_by_type_total{qtype=\"A\"} 1",
            "hale_queries_by_type_total{qtype=\"CAA\"} 1",
            "hale_queries_by_type_total{qtype=\"other\"} 3",
            "hale_responses_by_kind_total{kind=\"positive\"} 5",
            "hale_zone_responses_total{zone=\"example.test.\",rcode=\"NXDOMAIN\"} 1",
            "hale_zone_responses_total{zone=\"?\",rcode=\"SERVFAIL\"} 1",
            "hale_zone_responses_total{zone=\"other\",rcode=\"other\"} 1",
            "hale_dropped_queries_total{reason=\"not_a_query\"} 1",
            "hale_udp_batch_datagrams_bucket{le=\"1\"} 1",
            "hale_udp_batch_datagrams_bucket{le=\"4\"} 3",
            "hale_udp_batch_datagrams_bucket{le=\"64\"} 4",
            "hale_udp_batch_datagrams_sum 70",
            "hale_udp_send_errors_total{reason=\"denied\"} 1",
            "hale_batch_duration_seconds_bucket{transport=\"tcp\",le=\"0.000005\"} 2",
            "hale_batch_duration_seconds_bucket{transport=\"tcp\",le=\"0.00001\"} 3",
            "hale_batch_duration_seconds_bucket{transport=\"tcp\",le=\"1\"} 3",
            "hale_batch_duration_seconds_bucket{transport=\"tcp\",le=\"+Inf\"} 4",
            "hale_batch_duration_seconds_sum{transport=\"tcp\"} 2.000010001",
            "hale_batch_duration_seconds_count{transport=\"udp\"} 0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
        }
    }

    #[test]
    fn connections_open_are_those_taken_and_not_ended() {
        let counters = Counters::new();
        let (mut one, mut two) = (counters.writer(), counters.writer());
        one.accepted();
        one.accepted();
        two.accepted();
        two.refused(RefuseReason::PerClient);
        one.closed(CloseReason::Idle);
        let totals = counters.totals();
        assert_eq!((totals.tcp_accepted(), totals.tcp_open()), (3, 2));
        assert_eq!(totals.tcp_refused(RefuseReason::PerClient), 1);
    }

    #[test]
    fn blocks_do_not_share_lines_and_outlive_their_writers() {
        let counters = Counters::new();
        let (one, mut two) = (counters.writer(), counters.writer());
        for writer in [&one, &two] {
            assert_eq!(Arc::as_ptr(&writer.0) as usize % 128, 0);
        }
        two.batch(1);
        drop(two);
        assert_eq!(counters.totals().batches(), 1);
    }

    #[test]
    fn qtype_cells_agree_with_the_table() {
        assert!(QTYPES.is_sorted());
        for (i, &(qtype, _)) in QTYPES.iter().enumerate() {
            assert_eq!(usize::from(QTYPE_CELLS[usize::from(qtype)]), i);
        }
        assert_eq!(usize::from(QTYPE_CELLS[0]), QTYPES.len());
    }
}
