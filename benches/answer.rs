//! What one answer costs, by kind, and what a zone's store costs by size.
//!
//! `cargo bench --bench answer` prints nanoseconds; `cargo bench --bench answer -- KIND COUNT` answers COUNT queries of one kind and
//! prints nothing, for callgrind: the difference between two counts is free of start-up.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/engine/message.rs"]
#[allow(dead_code)]
mod message;
#[path = "../tests/engine/zone.rs"]
#[allow(dead_code)]
mod zone;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hale::answer::{Query, Scratch, Settings, Transport, answer};
use hale::model::rrset::RdataSet;
use hale::snapshot::{Snapshot, ZoneDraft, ZoneImage};

const NAMES: usize = 1000;

/// Queries of each kind: name, template in which `#` is a running number, whether the zone is signed.
const KINDS: [(&str, &str, bool); 14] = [
    ("a", "h#.bench.test A", false),
    ("a-edns", "h#.bench.test A edns", false),
    ("aaaa", "h#.bench.test AAAA edns", false),
    ("nxdomain", "q#z.bench.test A edns", false),
    ("nodata", "h#.bench.test TXT edns", false),
    ("soa", "bench.test SOA edns", false),
    ("cname", "c#.bench.test A edns", false),
    ("wildcard", "q#.w.bench.test A edns", false),
    ("referral", "x.d#.cuts.test A edns", false),
    ("signed-a", "h#.bench.test A do", true),
    ("signed-nxdomain", "q#z.bench.test A do", true),
    ("signed-nodata", "h#.bench.test TXT do", true),
    ("signed-wildcard", "q#.w.bench.test A do", true),
    ("cookie", "h#.bench.test A", false),
];

fn snapshot(is_signed: bool) -> Snapshot {
    let mut text = "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1\n ns1 A 192.0.2.53\n *.w A 192.0.2.1\n".to_owned();
    let mut cuts = "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1\n ns1 A 192.0.2.53\n".to_owned();
    for i in 0..NAMES {
        text.push_str(&format!("h{i} A 192.0.2.1\n h{i} A 192.0.2.2\n h{i} A 192.0.2.3\n !rotate h{i} A\n"));
        text.push_str(&format!("h{i} AAAA 2001:db8::1\n c{i} CNAME h{i}\n"));
        cuts.push_str(&format!(
            "d{i} NS ns1.d{i}\n d{i} NS ns2.d{i}\n ns1.d{i} A 192.0.2.1\n ns2.d{i} A 192.0.2.2\n"
        ));
    }
    zone::snapshot(&[("bench.test", &text), ("cuts.test", &cuts)], is_signed)
}

fn queries(kind: &str, template: &str) -> Vec<Vec<u8>> {
    let numbers = (0..NAMES).map(|i| (i * 7919 % NAMES).to_string());
    let mut all: Vec<Vec<u8>> = numbers.map(|n| message::query(&template.replace('#', &n))).collect();
    if kind == "cookie" {
        for query in &mut all {
            query[11] = 1;
            query.extend(message::opt(1232, 0, false, b"\0\x0a\0\x08clientck"));
        }
    }
    all
}

fn run(snapshot: &Snapshot, queries: &[Vec<u8>], count: usize) {
    let settings = Settings { cookie_secret: Some([7; 16]), ..Settings::default() };
    let mut scratch = Scratch::new(Arc::new(settings));
    let peer = SocketAddr::from(([192, 0, 2, 1], 5353));
    let mut out = [0u8; 1232];
    for bytes in queries.iter().cycle().take(count) {
        let query = Query { bytes, peer, transport: Transport::Udp, now_s: 1_800_000_000 };
        black_box(answer(snapshot, &mut scratch, black_box(&query), &mut out));
    }
}

fn big_zone(owners: usize) -> ZoneImage {
    let apex = zone::name("bench.test");
    let mut draft = ZoneDraft::new(apex.clone(), zone::key());
    for owner in zone::owners(&apex, "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1\n").values() {
        draft.put(owner).unwrap();
    }
    let mut owner =
        zone::owners(&apex, "h A 192.0.2.1\n h A 192.0.2.2\n h A 192.0.2.3").into_values().next().unwrap();
    for i in 0..owners {
        owner.name = apex.prepend(format!("h{i}").as_bytes()).unwrap();
        draft.put(&owner).unwrap();
    }
    draft.finish().unwrap()
}

fn flip(image: &Arc<ZoneImage>, round: u8) -> ZoneImage {
    let mut owner = image.owner(&zone::name("h7.bench.test")).unwrap();
    owner.rrsets[0].rrset.rdata = RdataSet::new([[192, 0, 2, round]]);
    let mut draft = ZoneDraft::from_image(image);
    draft.put(&owner).unwrap();
    draft.put(&image.owner(image.apex()).unwrap()).unwrap();
    draft.finish().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [kind, count] = &arguments[..] {
        let &(_, template, is_signed) = KINDS.iter().find(|k| k.0 == kind).unwrap();
        run(&snapshot(is_signed), &queries(kind, template), count.parse().unwrap());
        return;
    }
    let snapshots = [snapshot(false), snapshot(true)];
    for (kind, template, is_signed) in KINDS {
        let (snapshot, queries) = (&snapshots[usize::from(is_signed)], queries(kind, template));
        // The fastest of many short rounds: what others do on the machine lengthens most of them, not all.
        let rounds = (0..300).map(|_| {
            let start = Instant::now();
            run(snapshot, &queries, 4 * NAMES);
            start.elapsed()
        });
        println!(
            "{kind:16} {:6.1} ns an answer",
            rounds.min().unwrap().as_nanos() as f64 / (4 * NAMES) as f64
        );
    }
    for owners in [1_000, 100_000, 1_000_000] {
        let start = Instant::now();
        let image = Arc::new(big_zone(owners));
        let built = start.elapsed();
        let start = Instant::now();
        for round in 0..100 {
            black_box(flip(&image, round));
        }
        let flipped = start.elapsed() / 100;
        let bytes = image.size().bytes / owners;
        println!("{owners:9} owners: built in {built:.1?}, {bytes} octets an owner, a flip in {flipped:.1?}");
    }
}
