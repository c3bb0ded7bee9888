//! A record of queries and their responses: dnstap to a reader on a unix socket, and JSON lines in a file.
//!
//! An answer never waits for it. A worker copies what it answered into a buffer of its own and, once a batch, hands the buffer over with
//! a lock that it only tries; where the buffer is full, because the output is slow, stuck or gone, records are left out and counted. One
//! thread for each output takes the buffers and does everything else: it encodes, writes, and connects again.

mod dnstap;
mod json;
mod mailbox;
mod message;
mod protobuf;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::metrics::{MetricKind, MetricsWriter};
use dnstap::Dnstap;
use json::JsonFile;
use mailbox::Mailbox;
use writer::Sink;

pub use mailbox::{Fate, Logged, Tap};

/// Between the moment when other outputs count and the end of those before: workers that are busy turn to the new ones with their next
/// batch, and those that are idle have left nothing.
const TURNING: Duration = Duration::from_millis(100);
/// How often a thread that may not write yet looks whether it may.
const HELD_BACK: Duration = Duration::from_millis(50);

/// What is recorded where; nothing without an output.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A reader of dnstap.
    pub dnstap: Option<DnstapSettings>,
    /// A file of JSON lines.
    pub json: Option<JsonSettings>,
    /// Octets kept for each output by each thread that answers.
    pub buffer_octets: usize,
}

/// A reader of dnstap.
#[derive(Clone, Debug)]
pub struct DnstapSettings {
    /// The unix socket it listens on.
    pub socket: PathBuf,
    /// Whether it is sent AUTH_QUERY messages.
    pub queries: bool,
    /// Whether it is sent AUTH_RESPONSE messages.
    pub responses: bool,
    /// Whether these hold the query, too.
    pub responses_with_queries: bool,
    /// Who sends them.
    pub identity: String,
    /// One in so many queries.
    pub sample: u32,
}

/// A file of JSON lines.
#[derive(Clone, Debug)]
pub struct JsonSettings {
    /// Where it stands.
    pub file: PathBuf,
    /// One in so many queries.
    pub sample: u32,
}

/// The running query log. Dropped without [`QueryLog::stop`] its threads go on until the process ends.
#[derive(Debug)]
pub struct QueryLog {
    outputs: Arc<Outputs>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The outputs that there are now. Their version grows with each change, so that a worker sees one without a lock.
#[derive(Debug, Default)]
struct Outputs {
    version: AtomicU32,
    list: Mutex<Vec<Arc<Output>>>,
}

/// Outputs with their threads, which write nothing before they are let go.
#[derive(Default)]
struct Prepared {
    outputs: Vec<Arc<Output>>,
    threads: Vec<JoinHandle<()>>,
}

impl QueryLog {
    /// Opens the file and starts a thread for each output. A reader of dnstap may come later.
    ///
    /// # Errors
    /// A file that cannot be opened, or a thread that the system does not give.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let log = Self { outputs: Arc::default(), threads: Mutex::default() };
        log.begin(Prepared::new(settings)?);
        Ok(log)
    }

    /// Records elsewhere from now on, or no more. What was recorded before goes where it was to go, and a file that both times are about is
    /// written by one thread after the other, so that no line is torn. Blocks for as long as an output may be stuck, some seconds.
    ///
    /// # Errors
    /// As [`QueryLog::start`]; then everything is as it was.
    pub fn change(&self, settings: &Settings) -> io::Result<()> {
        let next = Prepared::new(settings)?;
        let before = self.outputs.replace(next.outputs.clone());
        if !before.is_empty() {
            std::thread::sleep(TURNING);
        }
        self.end(&before);
        self.begin(next);
        Ok(())
    }

    fn begin(&self, prepared: Prepared) {
        let mut threads = lock(&self.threads);
        threads.extend(prepared.threads);
        prepared.outputs.iter().for_each(|output| output.let_go());
        self.outputs.replace(prepared.outputs);
    }

    fn end(&self, outputs: &[Arc<Output>]) {
        outputs.iter().for_each(|output| output.stop());
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("the query log has panicked; please report this");
            }
        }
    }

    /// What one thread that answers records by.
    pub fn tap(&self) -> Tap {
        Tap::new(Arc::clone(&self.outputs))
    }

    /// Has files opened anew: they were renamed.
    pub fn reopen(&self) {
        for output in self.outputs.current() {
            output.reopens.fetch_add(1, Relaxed);
            output.wake();
        }
    }

    /// Writes what is there and ends; it takes no longer than an output may be stuck, some seconds. Taps are gone before.
    pub fn stop(&self) {
        self.end(&self.outputs.current());
    }
}

impl Outputs {
    fn current(&self) -> Vec<Arc<Output>> {
        lock(&self.list).clone()
    }

    /// Gives back those before.
    fn replace(&self, outputs: Vec<Arc<Output>>) -> Vec<Arc<Output>> {
        let mut list = lock(&self.list);
        if list.len() == outputs.len() && list.iter().zip(&outputs).all(|(a, b)| Arc::ptr_eq(a, b)) {
            return outputs;
        }
        // Under the lock, so that whoever takes the list there knows its version.
        self.version.fetch_add(1, Relaxed);
        std::mem::replace(&mut *list, outputs)
    }
}

impl Prepared {
    fn new(settings: &Settings) -> io::Result<Self> {
        let mut all = Self::default();
        if let Some(json) = &settings.json {
            let sink = JsonFile::new(json);
            sink.try_out().map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", json.file.display())))?;
            all.add("json", json.sample, settings.buffer_octets, sink)?;
        }
        if let Some(dnstap) = &settings.dnstap {
            all.add("dnstap", dnstap.sample, settings.buffer_octets, Dnstap::new(dnstap))?;
        }
        Ok(all)
    }

    fn add(
        &mut self,
        name: &'static str,
        sample: u32,
        buffer_octets: usize,
        sink: impl Sink + 'static,
    ) -> io::Result<()> {
        let output = Arc::new(Output::new(name, sample, buffer_octets));
        let thread = {
            let output = Arc::clone(&output);
            std::thread::Builder::new().name(format!("query-log-{name}")).spawn(move || {
                while !output.may_write.load(Relaxed) && !output.stopping.load(Relaxed) {
                    std::thread::park_timeout(HELD_BACK);
                }
                writer::run(&output, sink);
            })
        };
        let thread = thread.inspect_err(|_| self.outputs.iter().for_each(|output| output.stop()))?;
        // It was not set before: each output has one thread.
        let _ = output.writer.set(thread.thread().clone());
        self.outputs.push(output);
        self.threads.push(thread);
        Ok(())
    }
}

/// One output, as workers, its thread and the metrics page see it.
#[derive(Debug)]
struct Output {
    name: &'static str,
    sample: u32,
    buffer_octets: usize,
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
    /// Left out by workers that are gone.
    left_out_before: AtomicU64,
    writer: OnceLock<Thread>,
    reopens: AtomicU32,
    may_write: AtomicBool,
    stopping: AtomicBool,
    /// Queries written.
    written: AtomicU64,
    /// Queries that were taken from the workers, and could not be written.
    lost: AtomicU64,
    /// How often it could not be opened or written to.
    failures: AtomicU64,
    is_up: AtomicBool,
}

impl Output {
    fn new(name: &'static str, sample: u32, buffer_octets: usize) -> Self {
        Self {
            name,
            sample,
            buffer_octets,
            mailboxes: Mutex::default(),
            left_out_before: AtomicU64::new(0),
            writer: OnceLock::new(),
            reopens: AtomicU32::new(0),
            may_write: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_up: AtomicBool::new(false),
        }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn let_go(&self) {
        self.may_write.store(true, Relaxed);
        self.wake();
    }

    fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.wake();
    }

    fn left_out(&self) -> u64 {
        let present: u64 = lock(&self.mailboxes).iter().map(|mailbox| mailbox.left_out()).sum();
        self.left_out_before.load(Relaxed) + present
    }
}

/// Nothing is left half done under these locks, whoever panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the metrics of the query log, if there is one.
pub fn write_metrics(page: &mut MetricsWriter, log: Option<&QueryLog>) {
    let outputs = log.map(|log| log.outputs.current()).unwrap_or_default();
    page.family(
        "hale_query_log_queries_total",
        MetricKind::Counter,
        &["output"],
        "Queries that the query log wrote, each with its response if it got one.",
    );
    for output in &outputs {
        page.sample(&[("output", output.name)], output.written.load(Relaxed));
    }
    page.family(
        "hale_query_log_dropped_total",
        MetricKind::Counter,
        &["output", "reason"],
        "Queries missing in the query log: the buffer was full, or the output failed after they were taken from it.",
    );
    for output in &outputs {
        page.sample(&[("output", output.name), ("reason", "buffer_full")], output.left_out());
        page.sample(&[("output", output.name), ("reason", "output_failed")], output.lost.load(Relaxed));
    }
    page.family(
        "hale_query_log_output_up",
        MetricKind::Gauge,
        &["output"],
        "1 while the output of the query log is open: the file, or the connection to the reader of dnstap.",
    );
    for output in &outputs {
        page.sample(&[("output", output.name)], u8::from(output.is_up.load(Relaxed)));
    }
    page.family(
        "hale_query_log_output_failures_total",
        MetricKind::Counter,
        &["output"],
        "How often the output of the query log could not be opened or written to.",
    );
    for output in &outputs {
        page.sample(&[("output", output.name)], output.failures.load(Relaxed));
    }
}

#[cfg(all(test, unix))]
#[path = "tests.rs"]
mod tests;
