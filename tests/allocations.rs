//! Proves that answering allocates nothing, for every kind of answer, and what a flip of one owner allocates.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)]

#[path = "engine/message.rs"]
#[allow(dead_code)]
mod message;
#[path = "engine/zone.rs"]
#[allow(dead_code)]
mod zone;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hale::answer::{Kind, Outcome, Query, Scratch, Settings, Transport, answer};
use hale::config::{ListenAddress, RateLimits, TcpLimits};
use hale::model::pick::{Candidate, Pick};
use hale::model::prefixes::PrefixTableBuilder;
use hale::model::rrset::RdataSet;
use hale::snapshot::handle::Published;
use hale::snapshot::image::Choice;
use hale::snapshot::{Snapshot, ZoneDraft, ZoneImage};
use hale::telemetry::counters::{Counters, DropReason, Protocol};
use hale::transport::{Engine, Limits, SnapshotEngine, bind};

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static OCTETS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain thread-local cells without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        OCTETS.set(OCTETS.get() + layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        OCTETS.set(OCTETS.get() + size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ZONE: &str = "
    @        SOA ns1 h 1 2 3 4 60
    @        NS ns1
    ns1      A 192.0.2.53
    www      A 192.0.2.1
    www      A 192.0.2.2
    !rotate  www A
    *.w      A 192.0.2.3
    alias    CNAME x.w
    dn       DNAME w
    mx       MX 10 www
    x.y.ent  A 192.0.2.4
    del      NS ns.del
    ns.del   A 192.0.2.5
    !pending wait A
    wait     AAAA 2001:db8::4
    pol      A 192.0.2.6
    topol    CNAME pol
";

/// The same with an owner of which queries pick one of several answers, by all kinds of picks.
fn with_policy(snapshot: &Snapshot) -> Snapshot {
    let image = snapshot.zone(&zone::name("test")).unwrap().image.unwrap();
    let mut owner = image.owner(&zone::name("pol.test")).unwrap();
    let mut others = vec![owner.rrsets[0].clone(), owner.rrsets[0].clone()];
    others[0].rrset.rdata = RdataSet::new([[192, 0, 2, 7]]);
    others[1].rrset.rdata = RdataSet::new([[192, 0, 2, 8]]);
    let candidate = |(place, weight)| Candidate { seed: u64::from(place), weight, pick: Pick::Set(place) };
    let hashed = |weights: [u32; 3]| Pick::Hashed((0..3).zip(weights).map(candidate).collect());
    let mut table = PrefixTableBuilder::new(0);
    table.set([10, 0, 0, 0].into(), 8, 1);
    let geo = Pick::Geo(Arc::new(table.finish()), vec![hashed([1, 1, 1]), Pick::Set(1)]);
    let pick = Pick::Weighted(vec![(3, hashed([1, 2, 3])), (1, geo), (1, Pick::Set(2))]);
    owner.choices.push(Choice { rtype: owner.rrsets[0].rrset.rtype, others, pick });
    let mut draft = ZoneDraft::from_image(image);
    draft.put(&owner).unwrap();
    snapshot.with_zone(draft.finish().unwrap().into())
}

#[test]
fn no_answer_allocates() {
    let mut kinds = HashSet::new();
    for is_signed in [false, true] {
        let snapshot =
            with_policy(&zone::snapshot(&[("test", ZONE), ("broken.example", "broken")], is_signed));
        let mut scratch = Scratch::new(message::settings());
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for name in [
            "test", "www", "none", "a.b.none", "q.w", "alias", "q.dn", "mx", "ent", "a.del", "wait", "pol",
            "topol",
        ] {
            let name = if name == "test" { "test".to_owned() } else { format!("{name}.test") };
            for rtype in ["A", "MX", "NS", "DS", "ANY", "RRSIG", "TXT"] {
                for options in ["", "edns", "do", "do size=512"] {
                    messages.push(message::query(&format!("{name} {rtype} {options}")));
                }
            }
        }
        for other in ["x.broken.example A do", "example.com A edns", "www.test A class=3", "test AXFR"] {
            messages.push(message::query(other));
        }
        let mut with_options = message::query("www.test A");
        with_options[11] = 1;
        let options = b"\0\x03\0\0\0\x0b\0\0\0\x0a\0\x18clientckAAAABBBBCCCCDDDD";
        with_options.extend(message::opt(1232, 0, true, options));
        messages.push(with_options);
        for subnet in
            [&b"\0\x08\0\x07\0\x01\x18\0\x0a\x01\x02"[..], b"\0\x08\0\x07\0\x01\x18\x08\x0a\x01\x02"]
        {
            let mut with_subnet = message::query("pol.test A");
            with_subnet[11] = 1;
            with_subnet.extend(message::opt(1232, 0, true, subnet));
            messages.push(with_subnet);
        }
        messages.push(message::query("www.test A")[..20].to_vec());
        messages.push([0x12, 0x34, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec());

        let peer = SocketAddr::from(([192, 0, 2, 1], 5353));
        let mut out = vec![0; 65_535];
        for (message, transport) in messages.iter().flat_map(|m| [(m, Transport::Udp), (m, Transport::Tcp)]) {
            let query = Query { bytes: message, peer, transport, now_s: 1_800_000_000 };
            let before = ALLOCATIONS.get();
            let outcome = answer(&snapshot, &mut scratch, &query, &mut out);
            assert_eq!(ALLOCATIONS.get() - before, 0, "{message:02x?}");
            let Outcome::Reply(reply) = outcome else { panic!("no reply to {message:02x?}") };
            kinds.insert(format!("{:?}", reply.class.kind));
        }
    }
    let all = [Kind::Positive, Kind::Synthesised, Kind::Nodata, Kind::Nxdomain, Kind::Referral, Kind::Error];
    assert_eq!(kinds, all.iter().map(|k| format!("{k:?}")).collect());
}

/// An engine that tells what its thread has allocated.
struct Watched(SnapshotEngine, Arc<AtomicUsize>);

impl Engine for Watched {
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome {
        let outcome = self.0.answer(query, out);
        self.1.store(ALLOCATIONS.get(), Relaxed);
        outcome
    }
}

/// From one query to the next a UDP worker does everything there is: it sends, receives, judges and counts.
#[test]
fn a_worker_that_limits_rates_allocates_nothing() {
    let rates = RateLimits {
        responses_per_second: 5,
        nxdomains_per_second: 5,
        referrals_per_second: 5,
        errors_per_second: 5,
        slip: 2,
        burst_ms: 1000,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        exempt: Vec::new(),
        table_size: 1024,
    };
    let limits = Limits { rrl: Some(rates), ..Limits::from(TcpLimits::default()) };
    let listen = ListenAddress { address: SocketAddr::from(([127, 0, 0, 1], 0)), optional: false };
    let bound = bind(&[listen], 1, limits, false).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(bound.addresses()[0]).unwrap();
    let (counters, seen) = (Arc::new(Counters::new()), Arc::new(AtomicUsize::new(0)));
    let published = Published::new(zone::snapshot(&[("test", ZONE)], true));
    let running = bound
        .start(
            {
                let seen = Arc::clone(&seen);
                let settings = Arc::new(Settings::default());
                move |_| Watched(SnapshotEngine::new(&published, Arc::clone(&settings)), Arc::clone(&seen))
            },
            Arc::clone(&counters),
        )
        .unwrap();
    let ask = |round: usize| {
        for (i, name) in ["www", "none", "q.w", "a.del", "x.example"].iter().cycle().take(100).enumerate() {
            client.send(&message::query(&format!("{name}.test A do"))).unwrap();
            let sent = (round * 100 + i + 1) as u64;
            let end = Instant::now() + Duration::from_secs(5);
            while counters.totals().queries(Protocol::Udp) < sent {
                assert!(Instant::now() < end, "{:?}", counters.totals());
                std::thread::yield_now();
            }
        }
    };
    // What a thread needs once it has by now.
    ask(0);
    let before = seen.load(Relaxed);
    ask(1);
    assert_eq!(seen.load(Relaxed), before);
    assert!(counters.totals().dropped(DropReason::RateLimited) > 50);
    running.stop();
}

fn zone_of(owners: usize) -> Arc<ZoneImage> {
    let apex = zone::name("example.test");
    let mut owner =
        zone::owners(&apex, "h A 192.0.2.1\n h A 192.0.2.2\n h A 192.0.2.3").into_values().next().unwrap();
    let mut draft = ZoneDraft::new(apex.clone(), zone::key());
    for soa in zone::owners(&apex, "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1").values() {
        draft.put(soa).unwrap();
    }
    for i in 0..owners {
        owner.name = apex.prepend(format!("h{i}").as_bytes()).unwrap();
        draft.put(&owner).unwrap();
    }
    Arc::new(draft.finish().unwrap())
}

/// Octets allocated by a commit that flips one owner.
fn flip(image: &Arc<ZoneImage>) -> usize {
    let before = OCTETS.get();
    let mut owner = image.owner(&zone::name("h7.example.test")).unwrap();
    owner.rrsets[0].rrset.rdata = RdataSet::new([[192, 0, 2, 9]]);
    let mut draft = ZoneDraft::from_image(image);
    draft.put(&owner).unwrap();
    draft.put(&image.owner(image.apex()).unwrap()).unwrap();
    let flipped = draft.finish().unwrap();
    let octets = OCTETS.get() - before;
    assert_eq!(flipped.owner(&owner.name).unwrap().rrsets[0].rrset.rdata.len(), 1);
    octets
}

/// 1,000 and 100,000 names here, so that the test is quick in a debug build; the shards are of one size from 200 names on.
#[test]
fn a_flip_costs_the_change_and_not_the_zone() {
    let (small, large) = (flip(&zone_of(1_000)), flip(&zone_of(100_000)));
    assert!(large <= 2 * small, "{large} octets at 100,000 names, {small} at 1,000");
}
