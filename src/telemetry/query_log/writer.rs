//! The thread of one output.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::mailbox::{BatchTime, Logged, Mailbox, each_record};
use super::{Output, lock};

/// How often an output that cannot be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Pause between two rounds: so a worker wakes the thread no more often than this.
const GATHER: Duration = Duration::from_millis(5);
/// How often it is looked whether an idle output is still there.
const IDLE: Duration = Duration::from_secs(1);

/// Where records go. Everything may block, but for some seconds at most.
pub(super) trait Sink: Send {
    /// Opens it, if it is not open.
    fn open(&mut self) -> io::Result<()>;
    /// Writes a record.
    fn write(&mut self, time: BatchTime, logged: &Logged<'_>) -> io::Result<()>;
    /// Brings what was written on its way.
    fn flush(&mut self) -> io::Result<()>;
    /// Whether it still takes anything, as far as can be told without writing.
    fn is_alive(&mut self) -> bool;
    /// Whether it is another one after a rotation.
    fn rotates(&self) -> bool;
    /// Closes it, in an orderly way unless it has failed.
    fn close(&mut self, has_failed: bool);
    /// What it is, for the log.
    fn what(&self) -> String;
}

/// Writes until the stop.
pub(super) fn run(output: &Arc<Output>, sink: impl Sink) {
    let mut writer = Writer {
        output,
        sink,
        is_open: false,
        has_complained: false,
        retry_at: Instant::now(),
        spare: Vec::with_capacity(output.buffer_octets),
        reopens: 0,
    };
    loop {
        // Read before the last round, which then holds everything that was handed over before the stop.
        let stopping = output.stopping.load(Relaxed);
        let has_moved = writer.round();
        if stopping {
            writer.close(false);
            return;
        }
        if has_moved {
            std::thread::sleep(GATHER);
        } else {
            let pause = if writer.is_open { IDLE } else { RETRY };
            std::thread::park_timeout(pause);
        }
    }
}

struct Writer<'o, S> {
    output: &'o Arc<Output>,
    sink: S,
    is_open: bool,
    /// The log tells of a trouble once.
    has_complained: bool,
    retry_at: Instant,
    /// An empty buffer, given in exchange for a full one.
    spare: Vec<u8>,
    reopens: u32,
}

impl<S: Sink> Writer<'_, S> {
    /// Writes what workers have left, if it can; says whether there was anything.
    fn round(&mut self) -> bool {
        let reopens = self.output.reopens.load(Relaxed);
        if reopens != self.reopens && self.sink.rotates() {
            self.close(false);
            self.retry_at = Instant::now();
        }
        self.reopens = reopens;
        if self.is_open && !self.sink.is_alive() {
            self.fail(&io::ErrorKind::ConnectionReset.into());
        }
        // While it is closed the buffers are left to fill: what is in them is there for the reader when it is back.
        if !self.is_open && !self.open() {
            return false;
        }
        let mailboxes = lock(&self.output.mailboxes).clone();
        let mut has_moved = false;
        for mailbox in mailboxes {
            mailbox.take(&mut self.spare);
            has_moved |= !self.spare.is_empty();
            self.write();
            self.forget_if_gone(&mailbox);
        }
        if has_moved
            && self.is_open
            && let Err(e) = self.sink.flush()
        {
            self.fail(&e);
        }
        has_moved
    }

    /// Writes what is in the spare buffer, and empties it.
    fn write(&mut self) {
        let (mut written, sink) = (0, &mut self.sink);
        // What was taken before the output failed in this round has nowhere to go.
        let is_open = self.is_open;
        let done = each_record(&self.spare, |time, logged| {
            if !is_open {
                return Err(io::ErrorKind::NotConnected.into());
            }
            sink.write(time, logged)?;
            written += 1;
            Ok(())
        });
        self.spare.clear();
        self.output.written.fetch_add(written, Relaxed);
        if let Err((e, lost)) = done {
            self.output.lost.fetch_add(lost, Relaxed);
            if is_open {
                self.fail(&e);
            }
        }
    }

    /// A worker that was started anew has another mailbox.
    fn forget_if_gone(&self, mailbox: &Arc<Mailbox>) {
        let mut all = lock(&self.output.mailboxes);
        // One is the list's, one is the caller's.
        if Arc::strong_count(mailbox) == 2 && mailbox.is_empty() {
            all.retain(|other| !Arc::ptr_eq(other, mailbox));
            self.output.left_out_before.fetch_add(mailbox.left_out(), Relaxed);
        }
    }

    fn open(&mut self) -> bool {
        if Instant::now() < self.retry_at {
            return false;
        }
        match self.sink.open() {
            Ok(()) => {
                tracing::info!(output = %self.sink.what(), "the query log is written");
                self.is_open = true;
                self.has_complained = false;
                self.output.is_up.store(true, Relaxed);
            }
            Err(e) => self.fail(&e),
        }
        self.is_open
    }

    fn fail(&mut self, error: &io::Error) {
        self.output.failures.fetch_add(1, Relaxed);
        if !self.has_complained {
            self.has_complained = true;
            tracing::warn!(output = %self.sink.what(), %error, "the query log cannot be written and is tried again each second; meanwhile queries are missing in it");
        }
        self.retry_at = Instant::now() + RETRY;
        self.close(true);
    }

    fn close(&mut self, has_failed: bool) {
        if self.is_open || has_failed {
            self.sink.close(has_failed);
        }
        self.is_open = false;
        self.output.is_up.store(false, Relaxed);
    }
}
