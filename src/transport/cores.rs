//! Which processor core a worker runs on.

use std::io;

/// The cores that workers are pinned to; none where they are not.
#[derive(Debug, Default)]
pub(super) struct Cores(Vec<usize>);

/// One worker's core, if it has one of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Core(Option<usize>);

impl Cores {
    /// Those that the process may use: what taskset, a container or systemd leave it.
    ///
    /// # Errors
    /// Those of `sched_getaffinity`.
    #[cfg(target_os = "linux")]
    pub(super) fn allowed() -> io::Result<Self> {
        use rustix::thread::CpuSet;
        let set = rustix::thread::sched_getaffinity(None)?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()))
    }

    /// Elsewhere nobody is pinned.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn allowed() -> io::Result<Self> {
        tracing::warn!("workers can be pinned to cores on Linux only");
        Ok(Self::default())
    }

    /// The core of a worker by its number.
    pub(super) fn of(&self, worker: usize) -> Core {
        Core(self.0.get(worker % self.0.len().max(1)).copied())
    }
}

impl Core {
    /// Pins the thread that calls it. A core that has gone meanwhile is no reason not to answer.
    pub(super) fn take(self, worker: usize) {
        #[cfg(target_os = "linux")]
        if let Some(core) = self.0 {
            let mut set = rustix::thread::CpuSet::new();
            set.set(core);
            if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
                tracing::warn!(worker, core, %error, "the worker cannot be pinned to its core");
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = worker;
    }
}
