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

use super::metrics::{MetricKind, MetricsWriter};
use dnstap::Dnstap;
use json::JsonFile;
use mailbox::Mailbox;
use writer::Sink;

pub use mailbox::{Fate, Logged, Tap};

/// What is recorded where.
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
    outputs: Vec<Arc<Output>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl QueryLog {
    /// Opens the file and starts a thread for each output. A reader of dnstap may come later.
    ///
    /// # Errors
    /// A file that cannot be opened, or a thread that the system does not give.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let mut log = Self { outputs: Vec::new(), threads: Mutex::default() };
        if let Some(json) = &settings.json {
            let mut sink = JsonFile::new(json);
            sink.open().map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", json.file.display())))?;
            log.add("json", json.sample, settings.buffer_octets, sink)?;
        }
        if let Some(dnstap) = &settings.dnstap {
            log.add("dnstap", dnstap.sample, settings.buffer_octets, Dnstap::new(dnstap))?;
        }
        Ok(log)
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
            std::thread::Builder::new()
                .name(format!("query-log-{name}"))
                .spawn(move || writer::run(&output, sink))?
        };
        // It was not set before: each output has one thread.
        let _ = output.writer.set(thread.thread().clone());
        self.outputs.push(output);
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// What one thread that answers records by.
    pub fn tap(&self) -> Tap {
        Tap::new(&self.outputs)
    }

    /// Has files opened anew: they were renamed.
    pub fn reopen(&self) {
        for output in &self.outputs {
            output.reopens.fetch_add(1, Relaxed);
            output.wake();
        }
    }

    /// Writes what is there and ends; it takes no longer than an output may be stuck, some seconds. Taps are gone before.
    pub fn stop(&self) {
        for output in &self.outputs {
            output.stopping.store(true, Relaxed);
            output.wake();
        }
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("the query log has panicked; please report this");
            }
        }
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
    let outputs: &[Arc<Output>] = log.map_or(&[], |log| &log.outputs);
    page.family(
        "hale_query_log_queries_total",
        MetricKind::Counter,
        &["output"],
        "Queries that the query log wrote, each with its response if it got one.",
    );
    for output in outputs {
        page.sample(&[("output", output.name)], output.written.load(Relaxed));
    }
    page.family(
        "hale_query_log_dropped_total",
        MetricKind::Counter,
        &["output", "reason"],
        "Queries missing in the query log: the buffer was full, or the output failed after they were taken from it.",
    );
    for output in outputs {
        page.sample(&[("output", output.name), ("reason", "buffer_full")], output.left_out());
        page.sample(&[("output", output.name), ("reason", "output_failed")], output.lost.load(Relaxed));
    }
    page.family(
        "hale_query_log_output_up",
        MetricKind::Gauge,
        &["output"],
        "1 while the output of the query log is open: the file, or the connection to the reader of dnstap.",
    );
    for output in outputs {
        page.sample(&[("output", output.name)], u8::from(output.is_up.load(Relaxed)));
    }
    page.family(
        "hale_query_log_output_failures_total",
        MetricKind::Counter,
        &["output"],
        "How often the output of the query log could not be opened or written to.",
    );
    for output in outputs {
        page.sample(&[("output", output.name)], output.failures.load(Relaxed));
    }
}

#[cfg(all(test, unix))]
#[path = "tests.rs"]
mod tests;
