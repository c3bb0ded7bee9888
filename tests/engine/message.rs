//! Queries from a short text, responses to a short text.

use std::net::SocketAddr;
use std::sync::Arc;

use hale::answer::{Outcome, Query, Reply, Scratch, Settings, Transport, answer};
use hale::model::name::Name;
use hale::model::rdata;
use hale::model::rrtype::RrType;
use hale::snapshot::Snapshot;

/// What every test's server says about itself.
pub(crate) fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        nsid: Some(b"fra-1".to_vec()),
        cookie_secret: Some([7; 16]),
        tcp_keepalive_100ms: Some(100),
        ..Settings::default()
    })
}

/// A query in wire form: `name TYPE [do] [edns] [size=N] [class=N]`; octets of `name` keep their case.
pub(crate) fn query(text: &str) -> Vec<u8> {
    let mut words = text.split_whitespace();
    let (qname, qtype) = (words.next().unwrap_or("."), words.next().unwrap_or("A"));
    let (mut class, mut size, mut is_do) = (1u16, None, false);
    for word in words {
        match word.split_once('=') {
            None if word == "do" => (is_do, size) = (true, size.or(Some(1232))),
            None if word == "edns" => size = Some(1232),
            Some(("size", n)) => size = n.parse().ok(),
            Some(("class", n)) => class = n.parse().unwrap_or(0),
            _ => panic!("no option {word}"),
        }
    }
    let mut wire = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
    for label in qname.trim_end_matches('.').split('.').filter(|l| !l.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend(qtype.parse::<RrType>().unwrap_or_else(|()| panic!("no type {qtype}")).0.to_be_bytes());
    wire.extend(class.to_be_bytes());
    if let Some(size) = size {
        wire.extend(opt(size, 0, is_do, &[]));
    }
    wire
}

/// An OPT record.
pub(crate) fn opt(size: u16, version: u8, is_do: bool, options: &[u8]) -> Vec<u8> {
    let mut wire = vec![0, 0, 41];
    wire.extend(size.to_be_bytes());
    wire.extend([0, version, u8::from(is_do) << 7, 0]);
    wire.extend((options.len() as u16).to_be_bytes());
    wire.extend_from_slice(options);
    wire
}

/// Answers with fresh scratch space.
pub(crate) fn ask(snapshot: &Snapshot, message: &[u8], transport: Transport) -> Option<(Reply, Vec<u8>)> {
    ask_with(snapshot, &mut Scratch::new(settings()), message, transport)
}

pub(crate) fn ask_with(
    snapshot: &Snapshot,
    scratch: &mut Scratch,
    message: &[u8],
    transport: Transport,
) -> Option<(Reply, Vec<u8>)> {
    let peer = SocketAddr::from(([192, 0, 2, 1], 5353));
    let query = Query { bytes: message, peer, transport, now_s: 1_800_000_000 };
    let mut out = vec![0xee; if transport == Transport::Tcp { 65_535 } else { 1232 }];
    match answer(snapshot, scratch, &query, &mut out) {
        Outcome::Reply(reply) => {
            out.truncate(reply.len);
            Some((reply, out))
        }
        Outcome::Drop => None,
    }
}

/// One record of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) section: &'static str,
    pub(crate) owner: Name,
    pub(crate) rtype: RrType,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) rdata: Vec<u8>,
}

impl Record {
    /// The type, or for an RRSIG the type it covers.
    pub(crate) fn covered(&self) -> RrType {
        match self.rdata.first_chunk::<2>() {
            Some(covered) if self.rtype == RrType::RRSIG => RrType(u16::from_be_bytes(*covered)),
            _ => self.rtype,
        }
    }
}

/// Code and data.
pub(crate) type EdnsOption = (u16, Vec<u8>);

/// A response, read strictly: pointers lead backwards, nothing is left over.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) flags: u16,
    pub(crate) question: Option<(Name, RrType, u16)>,
    pub(crate) records: Vec<Record>,
    /// Payload size, TTL field and options of OPT.
    pub(crate) opt: Option<(u16, u32, Vec<EdnsOption>)>,
}

fn be16(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

fn read_name(message: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let (mut wire, mut end, mut limit) = (Vec::new(), None, at);
    loop {
        let length = usize::from(message[at]);
        if length >= 0xc0 {
            end.get_or_insert(at + 2);
            at = (length & 0x3f) << 8 | usize::from(message[at + 1]);
            assert!(at < limit && at >= 12, "a pointer leads to {at}");
            limit = at;
            continue;
        }
        assert!(length < 64, "label type");
        wire.extend_from_slice(&message[at..=at + length]);
        at += 1 + length;
        if length == 0 {
            return (wire, end.unwrap_or(at));
        }
    }
}

fn name(wire: &[u8]) -> Name {
    Name::from_wire(wire).unwrap_or_else(|e| panic!("{e}"))
}

/// RDATA with its names spelt out.
fn expand(message: &[u8], rtype: RrType, start: usize, end: usize) -> Vec<u8> {
    let (before, names) = match rtype {
        RrType::NS | RrType::CNAME | RrType::PTR => (0, 1),
        RrType::MX => (2, 1),
        RrType::SOA | RrType::MINFO => (0, 2),
        _ => (0, 0),
    };
    let mut out = message[start..start + before].to_vec();
    let mut at = start + before;
    for _ in 0..names {
        let (wire, next) = read_name(message, at);
        out.extend(wire);
        at = next;
    }
    out.extend_from_slice(&message[at..end]);
    out
}

pub(crate) fn decode(message: &[u8]) -> Decoded {
    let mut decoded = Decoded { flags: be16(message, 2), question: None, records: Vec::new(), opt: None };
    let mut at = 12;
    if be16(message, 4) == 1 {
        let (wire, end) = read_name(message, at);
        decoded.question = Some((name(&wire), RrType(be16(message, end)), be16(message, end + 2)));
        at = end + 4;
    }
    for (section, count) in [("an", 6), ("ns", 8), ("ar", 10)] {
        for _ in 0..be16(message, count) {
            let (wire, fixed) = read_name(message, at);
            let (rtype, class) = (RrType(be16(message, fixed)), be16(message, fixed + 2));
            let ttl = u32::from(be16(message, fixed + 4)) << 16 | u32::from(be16(message, fixed + 6));
            let start = fixed + 10;
            at = start + usize::from(be16(message, fixed + 8));
            if rtype == RrType::OPT {
                assert!(section == "ar" && wire == [0] && decoded.opt.is_none(), "OPT out of place");
                decoded.opt = Some((class, ttl, options(&message[start..at])));
            } else {
                let rdata = expand(message, rtype, start, at);
                decoded.records.push(Record { section, owner: name(&wire), rtype, class, ttl, rdata });
            }
        }
    }
    assert_eq!(at, message.len(), "octets are left over");
    decoded
}

fn options(mut rdata: &[u8]) -> Vec<EdnsOption> {
    let mut all = Vec::new();
    while !rdata.is_empty() {
        let end = 4 + usize::from(be16(rdata, 2));
        all.push((be16(rdata, 0), rdata[4..end].to_vec()));
        rdata = &rdata[end..];
    }
    all
}

const RCODES: [&str; 10] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH",
];

impl Decoded {
    pub(crate) fn rcode(&self) -> u16 {
        (self.flags & 15) | self.opt.as_ref().map_or(0, |o| (o.1 >> 24) as u16) << 4
    }

    /// `RCODE flags`, then a line for each record; NSEC and RRSIG shortened, TTLs and OPT left out.
    pub(crate) fn text(&self) -> String {
        let rcode = RCODES.get(usize::from(self.rcode())).map_or("BADVERS", |r| r);
        let mut lines = vec![rcode.to_owned()];
        for (bit, flag) in [(0x400, " aa"), (0x200, " tc")] {
            if self.flags & bit != 0 {
                lines[0].push_str(flag);
            }
        }
        if let Some((_, data)) = self.opt.iter().flat_map(|o| &o.2).find(|o| o.0 == 15) {
            lines[0].push_str(&format!(" ede={}", be16(data, 0)));
        }
        for record in &self.records {
            let mut text = match record.rtype {
                RrType::RRSIG => format!("({})", record.covered()),
                RrType::SOA => String::new(),
                rtype => format!(" {}", rdata::to_text(rtype, &record.rdata)),
            };
            if record.rtype == RrType::NSEC {
                text.truncate(text.find(". ").map_or(text.len(), |i| i + 1));
            }
            lines.push(format!("{} {} {}{text}", record.section, record.owner, record.rtype));
        }
        lines.join("\n")
    }
}
