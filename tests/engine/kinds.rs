//! Queries by kind, and a snapshot to ask them of: what `tests/instructions.rs` counts and `benches/micro` times.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use hale::answer::{Kind, Outcome, Query, Scratch, Settings, Transport, answer};
use hale::snapshot::Snapshot;

use super::{message, zone};

/// Names of each sort in a zone.
pub(crate) const NAMES: usize = 1000;

const COOKIE: &[u8] = b"\0\x0a\0\x08clientck";

/// One kind of query.
pub(crate) struct QueryKind {
    /// What it is called.
    pub(crate) name: &'static str,
    /// `name TYPE options` as [`message::query`] takes them, `#` being a running number, and further `cookie`, `mixed`, `tcp`, `signed`.
    template: &'static str,
    /// RCODE and kind that the engine reports.
    answer: (u16, Kind),
}

const fn kind(name: &'static str, template: &'static str, rcode: u16, kind: Kind) -> QueryKind {
    QueryKind { name, template, answer: (rcode, kind) }
}

/// All kinds. `bench.test` is found by one hash; `cuts.test` holds zone cuts and is walked down from its apex.
pub(crate) const KINDS: [QueryKind; 32] = [
    kind("a", "h#.bench.test A", 0, Kind::Positive),
    kind("a-mixed-case", "h#.bench.test A mixed", 0, Kind::Positive),
    kind("a-edns", "h#.bench.test A edns", 0, Kind::Positive),
    kind("a-cookie", "h#.bench.test A cookie", 0, Kind::Positive),
    kind("a-below-cuts", "h#.cuts.test A edns", 0, Kind::Positive),
    kind("aaaa", "h#.bench.test AAAA edns", 0, Kind::Positive),
    kind("soa", "bench.test SOA edns", 0, Kind::Positive),
    kind("ns", "bench.test NS edns", 0, Kind::Positive),
    kind("nodata", "h#.bench.test TXT edns", 0, Kind::Nodata),
    kind("nxdomain", "q#z.bench.test A edns", 3, Kind::Nxdomain),
    kind("nxdomain-deep", "a.b.c.d.q#z.bench.test A edns", 3, Kind::Nxdomain),
    kind("refused", "h#.example A edns", 5, Kind::Error),
    kind("cname", "c#.bench.test A edns", 0, Kind::Positive),
    kind("cname-chain", "cc#.bench.test A edns", 0, Kind::Positive),
    kind("mx", "m#.bench.test MX edns", 0, Kind::Positive),
    kind("wildcard", "q#.w.bench.test A edns", 0, Kind::Synthesised),
    kind("dname", "h#.alias.cuts.test A edns", 0, Kind::Positive),
    kind("referral", "x.d#.cuts.test A edns", 0, Kind::Referral),
    kind("weighted", "pw#.bench.test A edns", 0, Kind::Positive),
    kind("hashed", "ph#.bench.test A edns", 0, Kind::Positive),
    kind("geo", "pg#.bench.test A edns", 0, Kind::Positive),
    kind("truncated", "large.bench.test TXT size=512", 0, Kind::Positive),
    kind("tcp-large", "large.bench.test TXT tcp", 0, Kind::Positive),
    kind("signed-a", "h#.bench.test A do signed", 0, Kind::Positive),
    kind("signed-nodata", "h#.bench.test TXT do signed", 0, Kind::Nodata),
    kind("signed-nxdomain", "q#z.bench.test A do signed", 3, Kind::Nxdomain),
    kind("signed-cname-chain", "cc#.bench.test A do signed", 0, Kind::Positive),
    kind("signed-wildcard", "q#.w.bench.test A do signed", 0, Kind::Synthesised),
    kind("signed-referral", "x.d#.cuts.test A do signed", 0, Kind::Referral),
    kind("signed-weighted", "pw#.bench.test A do signed", 0, Kind::Positive),
    kind("signed-hashed", "ph#.bench.test A do signed", 0, Kind::Positive),
    kind("signed-geo", "pg#.bench.test A do signed", 0, Kind::Positive),
];

/// The zones, unsigned and signed.
pub(crate) struct Zones {
    plain: Snapshot,
    signed: Snapshot,
}

impl Zones {
    pub(crate) fn new() -> Self {
        let apex = "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1\n @ NS ns2\n ns1 A 192.0.2.53\n ns2 A 192.0.2.54\n";
        let mut bench = format!("{apex} *.w A 192.0.2.1\n");
        let mut cuts = format!("{apex} alias DNAME cuts.test.\n");
        for i in 0..NAMES {
            let host = format!("h{i} A 192.0.2.1\n h{i} A 192.0.2.2\n h{i} A 192.0.2.3\n !rotate h{i} A\n");
            bench.push_str(&host);
            bench.push_str(&format!("h{i} AAAA 2001:db8::1\n m{i} MX 10 h{i}\n"));
            bench.push_str(&format!("c{i} CNAME h{i}\n cb{i} CNAME c{i}\n cc{i} CNAME cb{i}\n"));
            // One of three addresses by weight, by the client's network, and by its place.
            bench.push_str(&format!("pw{i} A 192.0.2.1\n ph{i} A 192.0.2.1\n pg{i} A 192.0.2.1\n"));
            bench.push_str(&format!("!weighted pw{i} A\n !hashed ph{i} A\n !geo pg{i} A\n"));
            cuts.push_str(&host);
            cuts.push_str(&format!("d{i} NS ns1.d{i}\n d{i} NS ns2.d{i}\n"));
            cuts.push_str(&format!("ns1.d{i} A 192.0.2.1\n ns2.d{i} A 192.0.2.2\n"));
        }
        for i in 0..20 {
            bench.push_str(&format!("large TXT \"{i:0200}\"\n"));
        }
        let zones = [("bench.test", bench.as_str()), ("cuts.test", cuts.as_str())];
        Zones { plain: zone::snapshot(&zones, false), signed: zone::snapshot(&zones, true) }
    }
}

/// The messages of a kind, ready to be answered again and again.
pub(crate) struct Asking<'z> {
    snapshot: &'z Snapshot,
    messages: Vec<Vec<u8>>,
    transport: Transport,
    scratch: Scratch,
    out: Vec<u8>,
    answer: (u16, Kind),
    next: usize,
}

impl<'z> Asking<'z> {
    /// [`NAMES`] messages of `kind`.
    pub(crate) fn new(zones: &'z Zones, kind: &QueryKind) -> Self {
        let has = |word| kind.template.split(' ').any(|w| w == word);
        let own = ["cookie", "mixed", "tcp", "signed"];
        let words: Vec<&str> = kind.template.split(' ').filter(|word| !own.contains(word)).collect();
        let (mixed, cookie) = (has("mixed"), has("cookie"));
        let message = |i: usize| {
            // Not in the order of the zone, so that neighbours do not share what the processor has just read.
            let number = (i * 7919 % NAMES).to_string();
            let mut words: Vec<String> = words.iter().map(|word| word.replace('#', &number)).collect();
            if mixed {
                let flip = |(at, c): (usize, char)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c };
                words[0] = words[0].char_indices().map(flip).collect();
            }
            let mut message = message::query(&words.join(" "));
            if cookie {
                message[11] = 1;
                message.extend(message::opt(1232, 0, false, COOKIE));
            }
            message
        };
        let transport = if has("tcp") { Transport::Tcp } else { Transport::Udp };
        let settings = Settings { cookie_secret: Some([7; 16]), ..Settings::default() };
        Asking {
            snapshot: if has("signed") { &zones.signed } else { &zones.plain },
            messages: (0..NAMES).map(message).collect(),
            transport,
            scratch: Scratch::new(Arc::new(settings)),
            out: vec![0; if transport == Transport::Tcp { 65_535 } else { 1232 }],
            answer: kind.answer,
            next: 0,
        }
    }

    /// Answers each message once; the first outcome that is not of the kind.
    pub(crate) fn surprise(&mut self) -> Option<Outcome> {
        let answer = self.answer;
        let expected = |outcome: &Outcome| match outcome {
            Outcome::Reply(reply) => (reply.class.rcode, reply.class.kind) == answer,
            Outcome::Drop => false,
        };
        let outcomes: Vec<Outcome> = (0..NAMES).map(|_| self.one()).collect();
        outcomes.into_iter().find(|outcome| !expected(outcome))
    }

    /// Answers the next message, in a circle.
    pub(crate) fn one(&mut self) -> Outcome {
        let peer = SocketAddr::from(([192, 0, 2, 1], 5353));
        self.next = if self.next + 1 < NAMES { self.next + 1 } else { 0 };
        let bytes = &self.messages[self.next];
        let query = Query { bytes, peer, transport: self.transport, now_s: 1_800_000_000 };
        answer(self.snapshot, &mut self.scratch, black_box(&query), &mut self.out)
    }
}
