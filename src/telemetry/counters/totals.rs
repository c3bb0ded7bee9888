//! What all workers have counted together, and how it stands on the metrics page.

use super::*;
use crate::telemetry::metrics::{MetricKind, MetricsWriter};

/// Sums over all workers at one moment.
#[derive(Clone, Debug)]
pub struct Totals(pub(super) Vec<u64>);

impl Totals {
    /// Queries by protocol, those that were dropped included.
    pub fn queries(&self, protocol: Protocol) -> u64 {
        self.0[QUERIES + protocol as usize]
    }

    /// Responses by kind.
    pub fn answers(&self, kind: AnswerKind) -> u64 {
        self.0[KINDS + kind as usize]
    }

    /// Responses by extended RCODE; one sum for all above 23.
    pub fn rcode(&self, rcode: u16) -> u64 {
        self.0[RCODE + usize::from(rcode).min(RCODES.len() - 1)]
    }

    /// Messages without response.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.0[DROPPED + reason as usize]
    }

    /// Responses beyond a rate limit.
    pub fn rate_limited(&self, kind: AnswerKind, what: Limited) -> u64 {
        self.0[RATE_LIMITED + what as usize * AnswerKind::LABELS.len() + kind as usize]
    }

    /// Responses about a zone, or about none, given up for the sake of other zones.
    pub fn shed(&self, zone: Option<u32>) -> u64 {
        self.0[SHED + zone.map_or(ZONES_COUNTED + 1, |zone| (zone as usize).min(ZONES_COUNTED))]
    }

    /// Rates forgotten for others.
    pub fn rates_forgotten(&self) -> u64 {
        self.0[RATES_FORGOTTEN]
    }

    /// Datagrams that the kernel dropped.
    pub fn lost(&self) -> u64 {
        self.0[LOST]
    }

    /// Receive calls that brought at least one datagram.
    pub fn batches(&self) -> u64 {
        self.0[BATCHES..BATCHED].iter().sum()
    }

    /// TCP connections taken so far.
    pub fn tcp_accepted(&self) -> u64 {
        self.0[ACCEPTED]
    }

    /// TCP connections open now.
    pub fn tcp_open(&self) -> u64 {
        let closed: u64 = self.0[CLOSED..ACCEPT_ERRORS].iter().sum();
        self.0[ACCEPTED].saturating_sub(closed)
    }

    /// TCP connections turned away.
    pub fn tcp_refused(&self, reason: RefuseReason) -> u64 {
        self.0[REFUSED + reason as usize]
    }

    /// TCP connections ended.
    pub fn tcp_closed(&self, reason: CloseReason) -> u64 {
        self.0[CLOSED + reason as usize]
    }

    /// Failed `accept` calls.
    pub fn accept_errors(&self, reason: AcceptError) -> u64 {
        self.0[ACCEPT_ERRORS + reason as usize]
    }

    /// Datagrams that could not be sent.
    pub fn send_errors(&self, reason: SendError) -> u64 {
        self.0[SEND_ERRORS + reason as usize]
    }

    /// Writes every family. `zone_name` gives the name of a zone by its number; zones it does not know are left out while
    /// nothing was counted for them, and are named `?` otherwise, so that no response is missing from the sums.
    pub fn write(&self, page: &mut MetricsWriter, zone_name: impl Fn(u32) -> Option<String>) {
        for group in GROUPS {
            page.family(group.name, MetricKind::Counter, group.labels, group.help);
            for (i, value) in group.values.iter().enumerate() {
                page.sample(&[(group.labels[0], value)], self.0[group.start + i]);
            }
        }
        page.family(
            "hale_queries_by_type_total",
            MetricKind::Counter,
            &["qtype"],
            "Answered queries by QTYPE.",
        );
        for (i, name) in QTYPES.iter().map(|&(_, name)| name).chain(["other"]).enumerate() {
            page.sample(&[("qtype", name)], self.0[QTYPE + i]);
        }
        self.write_singles(page);
        self.write_rates(page);
        self.write_zones(page, zone_name);
    }

    fn write_singles(&self, page: &mut MetricsWriter) {
        page.family(
            "hale_udp_batch_datagrams",
            MetricKind::Histogram,
            &[],
            "Datagrams brought by one receive call.",
        );
        let buckets: Vec<(f64, u64)> =
            BATCH_BOUNDS.iter().enumerate().map(|(i, &bound)| (bound as f64, self.0[BATCHES + i])).collect();
        page.histogram(&[], &buckets, 0, self.0[BATCHED]);
        page.family(
            "hale_batch_duration_seconds",
            MetricKind::Histogram,
            &["transport"],
            "Time from the receipt of queries that came together until the last of their responses was sent: what a query waits at most within the server.",
        );
        for (protocol, label) in Protocol::LABELS.iter().enumerate() {
            let cells = &self.0[BATCH_NS + protocol * BATCH_NS_CELLS..][..BATCH_NS_CELLS];
            let buckets: Vec<(f64, u64)> =
                BATCH_NS_BOUNDS.iter().map(|&bound| bound as f64 / 1e9).zip(cells.iter().copied()).collect();
            let (above, sum_ns) = (cells[BATCH_NS_CELLS - 2], cells[BATCH_NS_CELLS - 1]);
            page.histogram(&[("transport", label)], &buckets, above, sum_ns as f64 / 1e9);
        }
        page.family("hale_udp_receive_errors_total", MetricKind::Counter, &[], "Receive calls that failed.");
        page.sample(&[], self.0[RECEIVE_ERRORS]);
        page.family(
            "hale_udp_receive_drops_total",
            MetricKind::Counter,
            &[],
            "Datagrams that the kernel dropped at the sockets, mostly because a buffer was full: the workers are asked too much.",
        );
        page.sample(&[], self.lost());
        page.family("hale_tcp_connections", MetricKind::Gauge, &[], "TCP connections open.");
        page.sample(&[], self.tcp_open());
        page.family("hale_tcp_accepted_total", MetricKind::Counter, &[], "TCP connections taken.");
        page.sample(&[], self.tcp_accepted());
    }

    fn write_rates(&self, page: &mut MetricsWriter) {
        page.family(
            "hale_rate_limited_responses_total",
            MetricKind::Counter,
            &["action", "kind"],
            "Responses beyond limits.rrl, by kind and by what was done.",
        );
        for (i, action) in Limited::LABELS.iter().enumerate() {
            for (j, kind) in AnswerKind::LABELS.iter().enumerate() {
                let n = self.0[RATE_LIMITED + i * AnswerKind::LABELS.len() + j];
                page.sample(&[("action", action), ("kind", kind)], n);
            }
        }
        page.family(
            "hale_rate_limit_evictions_total",
            MetricKind::Counter,
            &[],
            "Rates forgotten for others while they still counted: limits.rrl.table_size is small.",
        );
        page.sample(&[], self.rates_forgotten());
    }

    fn write_zones(&self, page: &mut MetricsWriter, zone_name: impl Fn(u32) -> Option<String>) {
        page.family(
            "hale_zone_responses_total",
            MetricKind::Counter,
            &["zone", "rcode"],
            "Responses by zone and RCODE.",
        );
        for zone in 0..=ZONES_COUNTED {
            let start = ZONES + zone * ZONE_RCODES.len();
            let row = &self.0[start..start + ZONE_RCODES.len()];
            let counted = row.iter().any(|&n| n > 0);
            let name = if zone == ZONES_COUNTED {
                counted.then(|| "other".to_owned())
            } else {
                zone_name(zone as u32).or_else(|| counted.then(|| "?".to_owned()))
            };
            let Some(name) = name else { continue };
            for (rcode, n) in ZONE_RCODES.iter().zip(row) {
                page.sample(&[("zone", &name), ("rcode", rcode)], n);
            }
        }
        page.family(
            "hale_zone_shed_responses_total",
            MetricKind::Counter,
            &["zone"],
            "Responses given up at overload for the sake of other zones, by zone; zones without any are left out.",
        );
        for (i, n) in self.0[SHED..].iter().enumerate().filter(|(_, n)| **n > 0) {
            let name = match i.checked_sub(ZONES_COUNTED) {
                None => zone_name(i as u32).unwrap_or_else(|| "?".to_owned()),
                Some(0) => "other".to_owned(),
                Some(_) => "none".to_owned(),
            };
            page.sample(&[("zone", &name)], n);
        }
    }
}

/// A family whose samples differ in one label.
struct Group {
    name: &'static str,
    help: &'static str,
    /// One.
    labels: &'static [&'static str],
    values: &'static [&'static str],
    start: usize,
}

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    Group { name: "hale_queries_total", help: "Messages received, dropped ones included.", labels: &["transport"], values: Protocol::LABELS, start: QUERIES },
    Group { name: "hale_received_bytes_total", help: "Octets of messages received, without framing.", labels: &["transport"], values: Protocol::LABELS, start: RECEIVED },
    Group { name: "hale_sent_bytes_total", help: "Octets of responses, without framing.", labels: &["transport"], values: Protocol::LABELS, start: SENT },
    Group { name: "hale_truncated_responses_total", help: "Responses with TC set.", labels: &["transport"], values: Protocol::LABELS, start: TRUNCATED },
    Group { name: "hale_responses_total", help: "Responses by RCODE.", labels: &["rcode"], values: RCODES, start: RCODE },
    Group { name: "hale_responses_by_kind_total", help: "Responses by kind.", labels: &["kind"], values: AnswerKind::LABELS, start: KINDS },
    Group { name: "hale_dropped_queries_total", help: "Messages that got no response.", labels: &["reason"], values: DropReason::LABELS, start: DROPPED },
    Group { name: "hale_udp_send_errors_total", help: "Responses that could not be sent.", labels: &["reason"], values: SendError::LABELS, start: SEND_ERRORS },
    Group { name: "hale_tcp_refused_total", help: "TCP connections turned away.", labels: &["reason"], values: RefuseReason::LABELS, start: REFUSED },
    Group { name: "hale_tcp_closed_total", help: "TCP connections ended.", labels: &["reason"], values: CloseReason::LABELS, start: CLOSED },
    Group { name: "hale_tcp_accept_errors_total", help: "Failed accept calls.", labels: &["reason"], values: AcceptError::LABELS, start: ACCEPT_ERRORS },
];
