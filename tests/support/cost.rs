//! What a change costs in a zone of many names: an allocator that counts, and a keeper over such a zone. Part of the tests that measure it alone,
//! since the allocator is that of the whole program.
#![allow(dead_code, unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hale::keeper::build::{Workshop, ZonePlace};
use hale::keeper::channel::KeeperHandle;
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

/// What one change cost.
pub struct Cost {
    /// RRsets signed.
    pub signatures: u64,
    /// Octets allocated, by all threads.
    pub octets: u64,
}

/// A keeper over a signed zone.
pub struct House {
    pub keeper: KeeperHandle,
    pub board: Arc<VerdictBoard>,
    pub targets: tokio::sync::watch::Receiver<TargetSet>,
    thread: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl House {
    /// Builds a zone of `names` names and of one, `www`, behind two addresses that are up.
    pub fn start(names: usize) -> Self {
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
                keys_read: Arc::default(),
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
        targets.borrow().iter().for_each(|(id, _)| board.set(*id, Verdict::Up));
        let (keeper, thread) = starting.serve().unwrap();
        Self { keeper, board, targets, thread, _folder: folder }
    }

    /// What `change` costs.
    pub fn cost(&self, change: impl FnOnce()) -> Cost {
        let signatures = || self.keeper.figures().signatures.made.load(Ordering::Relaxed);
        let (signed, allocated) = (signatures(), ALLOCATED.load(Ordering::Relaxed));
        change();
        Cost { octets: ALLOCATED.load(Ordering::Relaxed) - allocated, signatures: signatures() - signed }
    }

    pub fn stop(self) {
        self.keeper.stop();
        self.thread.join().unwrap();
    }
}

/// Names of the large zone: a million with `HALE_LONG=1`.
pub fn large() -> usize {
    if std::env::var_os("HALE_LONG").is_some() { 1_000_000 } else { 20_000 }
}

/// Tells both costs, and sees that the large zone's signs as much as the small one's and allocates at most `times` as much.
pub fn compare(names: usize, small: &Cost, large: &Cost, times: u64) {
    println!("1000 names: {} signatures, {} octets", small.signatures, small.octets);
    println!("{names} names: {} signatures, {} octets", large.signatures, large.octets);
    assert_eq!(large.signatures, small.signatures);
    assert!(large.octets <= times * small.octets, "{} > {times} x {}", large.octets, small.octets);
}
