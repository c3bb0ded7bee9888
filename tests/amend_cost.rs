//! The cost of an amendment follows the change and not the zone: a discovered name that comes and goes in a zone of many names signs as much,
//! and allocates at most twice as much, as in a zone of a thousand.
//!
//! `HALE_LONG=1` takes the large zone to a million names, signed; otherwise it has twenty thousand.

#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hale::keeper::build::{Workshop, ZonePlace};
use hale::keeper::targets::TargetRegistry;
use hale::keeper::{Starting, TargetSet, Tools};
use hale::model::board::VerdictBoard;
use hale::model::discovered::{Amendment, DiscoveredName, Origin};
use hale::model::hash::HashKey;
use hale::model::name::Name;
use hale::model::target::{Check, CheckKind, Endpoint, Target, VerdictRules};
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

/// A discovered name's check.
const CHECK: Check = Check {
    kind: CheckKind::Tcp,
    interval_ms: 10_000,
    timeout_ms: 2000,
    rise: 2,
    fall: 3,
    rules: VerdictRules {
        slower_than_ms: None,
        slow_start_ms: None,
        damping: None,
        patient: false,
        needs_witness: false,
    },
};

struct Cost {
    signatures: u64,
    octets: u64,
}

/// Builds a signed zone of `names` names, and adds and removes one more three times.
fn amend(names: usize) -> Cost {
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
            overrides: Arc::default(),
            choices: Arc::default(),
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
    let (keeper, thread) = starting.serve().unwrap();
    let name = Name::parse_absolute("new.example.test").unwrap();
    let origins = Arc::new([Origin { source: "prod".into(), object: "ingress/shop/web".into() }]);
    let wanted = Arc::new(DiscoveredName {
        endpoints: vec![Endpoint {
            data: IpAddr::from([198, 51, 100, 1]).into(),
            weight: 1,
            condition: Some(
                Target { address: ([198, 51, 100, 1], 443).into(), check: Arc::new(CHECK) }.into(),
            ),
        }],
        policy: None,
        hostname: None,
        host_condition: None,
        rrsets: Vec::new(),
        ttl: None,
        may_be_apex: false,
        origins,
    });
    let mut cost = Cost { signatures: 0, octets: 0 };
    for round in 0..3 {
        for wanted in [Some(Arc::clone(&wanted)), None] {
            let signatures = keeper.figures().signatures.made.load(Ordering::Relaxed);
            let octets = ALLOCATED.load(Ordering::Relaxed);
            let is_added = wanted.is_some();
            let amendment = Amendment { changes: vec![(name.clone(), wanted)] };
            assert_eq!(keeper.amend(amendment), Some(Vec::new()));
            if round == 0 && is_added {
                cost.signatures = keeper.figures().signatures.made.load(Ordering::Relaxed) - signatures;
            }
            cost.octets = ALLOCATED.load(Ordering::Relaxed) - octets;
        }
    }
    assert_eq!(targets.borrow().len(), 2, "only the declared targets are left");
    keeper.stop();
    thread.join().unwrap();
    cost
}

#[test]
fn an_amendment_costs_the_same_in_a_large_zone() {
    let large = if std::env::var_os("HALE_LONG").is_some() { 1_000_000 } else { 20_000 };
    let (small, large_cost) = (amend(1_000), amend(large));
    println!("1000 names: {} signatures, {} octets", small.signatures, small.octets);
    println!("{large} names: {} signatures, {} octets", large_cost.signatures, large_cost.octets);
    assert_eq!(small.signatures, 4, "the address RRset, its NSEC and that of its predecessor, and the SOA");
    assert_eq!(large_cost.signatures, small.signatures);
    // Beside shards of the same size, the arrays above those of the store and of the denial index are copied: they grow with the root of
    // the number of names, which for a million comes to 2.7 times in all.
    assert!(large_cost.octets <= 3 * small.octets, "{} > 3 x {}", large_cost.octets, small.octets);
}
