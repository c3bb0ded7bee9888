//! The cost of a flip follows the change and not the zone: one flip in a zone of many names signs as much, and allocates at most
//! twice as much, as in a zone of a thousand.
//!
//! `HALE_LONG=1` takes the large zone to a million names, signed; otherwise it has twenty thousand.

#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hale::keeper::build::{Workshop, ZonePlace};
use hale::keeper::targets::TargetRegistry;
use hale::keeper::{Starting, TargetSet, Tools};
use hale::model::board::VerdictBoard;
use hale::model::hash::HashKey;
use hale::model::target::Verdict;
use hale::snapshot::Snapshot;
use hale::snapshot::handle::Published;
use hale::state::StateDir;

struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Cost {
    signatures: u64,
    octets: u64,
}

/// Builds a signed zone of `names` names, flips one address to and fro until caches are warm, and measures one more flip.
fn flip(names: usize) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from(
        r#"{"zone":"example.test","nameservers":["ns1.example.test"],"dnssec":{"keys":"auto"},"records":{"ns1":{"A":["192.0.2.53"]},"www":{"A":["192.0.2.1","192.0.2.2"],"check":{"tcp":80}}"#,
    );
    for i in 0..names {
        write!(text, ",\"h{i}\":[\"10.{}.{}.{}\"]", i >> 16 & 255, i >> 8 & 255, i & 255).unwrap();
    }
    text.push_str("}}");
    let board = Arc::new(VerdictBoard::new());
    let hash_key = HashKey::new([7, 9]);
    let published = Published::new(Snapshot::empty(hash_key));
    let (sender, targets) = tokio::sync::watch::channel(TargetSet::default());
    let state = Arc::new(StateDir::open(folder.path()).unwrap());
    let source = ZonePlace::Inline("zone.json".into(), text).into();
    let tools = Tools {
        workshop: Workshop {
            registry: Arc::new(Mutex::new(TargetRegistry::default())),
            board: Arc::clone(&board),
            hash_key,
            state: Some(Arc::clone(&state)),
            signed: None,
            choices: Arc::default(),
            overrides: Arc::default(),
            discovered: Arc::default(),
            resolved: Arc::default(),
            events: Arc::default(),
            signatures: Arc::default(),
            threads: 2,
        },
        published: Arc::clone(&published),
        targets: sender,
        aliases: Default::default(),
        state: None,
        find_sources: Arc::new(|| Err(Vec::new())),
        now_s: Arc::new(|| 1_700_000_000),
    };
    let starting = Starting::read(tools, std::slice::from_ref(&source));
    assert_eq!(starting.diagnostics().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    drop(source);
    board.on_change({
        let handle = starting.handle().clone();
        move || handle.verdicts_changed()
    });
    let ids: Vec<_> = targets.borrow().iter().map(|(id, _)| *id).collect();
    ids.iter().for_each(|id| board.set(*id, Verdict::Up));
    let (keeper, thread) = starting.serve().unwrap();
    let mut cost = Cost { signatures: 0, octets: 0 };
    // Each state is signed once; the third round of flips finds everything in the cache but the SOA.
    for round in 0..3 {
        for verdict in [Verdict::Down, Verdict::Up] {
            let signatures = keeper.figures().signatures.made.load(Ordering::Relaxed);
            let octets = ALLOCATED.load(Ordering::Relaxed);
            board.set(ids[0], verdict);
            assert_eq!(keeper.zones()[0].trouble, None);
            if round == 0 && verdict == Verdict::Down {
                cost.signatures = keeper.figures().signatures.made.load(Ordering::Relaxed) - signatures;
            }
            cost.octets = ALLOCATED.load(Ordering::Relaxed) - octets;
        }
    }
    keeper.stop();
    thread.join().unwrap();
    cost
}

#[test]
fn a_flip_costs_the_same_in_a_large_zone() {
    let large = if std::env::var_os("HALE_LONG").is_some() { 1_000_000 } else { 20_000 };
    let (small, large_cost) = (flip(1_000), flip(large));
    println!("1000 names: {} signatures, {} octets", small.signatures, small.octets);
    println!("{large} names: {} signatures, {} octets", large_cost.signatures, large_cost.octets);
    assert_eq!(small.signatures, 2, "the address RRset and the SOA");
    assert_eq!(large_cost.signatures, small.signatures);
    assert!(large_cost.octets <= 2 * small.octets, "{} > 2 x {}", large_cost.octets, small.octets);
}
