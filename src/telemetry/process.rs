//! What the process takes of the machine, by the names that Prometheus clients agree on.

use super::metrics::{MetricKind, MetricsWriter};

use MetricKind::{Counter, Gauge};

/// Writes the `process_*` families; `started_s` is the Unix time of the start. What this system does not tell is left out.
pub fn write(page: &mut MetricsWriter, started_s: u32) {
    page.family("process_start_time_seconds", Gauge, &[], "Unix time at which the process started.");
    page.sample(&[], started_s);
    page.family(
        "process_cpu_seconds_total",
        Counter,
        &[],
        "Time of processors spent, by the process and for it by the system.",
    );
    page.sample(&[], cpu_s());
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    page.family("process_resident_memory_bytes", Gauge, &[], "Memory that is in use.");
    write_some(page, kibibytes(&memory, "VmRSS:"));
    page.family("process_virtual_memory_bytes", Gauge, &[], "Memory that is reserved.");
    write_some(page, kibibytes(&memory, "VmSize:"));
    page.family("process_open_fds", Gauge, &[], "Open file descriptors.");
    write_some(page, open_descriptors());
    page.family("process_max_fds", Gauge, &[], "How many there may be.");
    write_some(page, rustix::process::getrlimit(rustix::process::Resource::Nofile).current);
    page.family("process_threads", Gauge, &[], "Threads.");
    write_some(page, field(&memory, "Threads:"));
}

fn write_some(page: &mut MetricsWriter, value: Option<u64>) {
    if let Some(value) = value {
        page.sample(&[], value);
    }
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The descriptor that reads the folder is open while it is read, and does not count.
fn open_descriptors() -> Option<u64> {
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn kibibytes(status: &str, key: &str) -> Option<u64> {
    Some(field(status, key)? * 1024)
}

/// The number behind a key of `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_key() {
        let status = "Name:\thale\nVmPeak:\t  300 kB\nVmRSS:\t  12 kB\nThreads:\t7\n";
        assert_eq!((kibibytes(status, "VmRSS:"), field(status, "Threads:")), (Some(12 * 1024), Some(7)));
        assert_eq!(field(status, "VmSize:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_running_process_has_every_figure() {
        let mut page = MetricsWriter::new();
        write(&mut page, 1);
        let families = page.families().len();
        let page = page.finish();
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.len(), families, "{page}");
        assert!(samples.iter().all(|line| !line.ends_with(" 0")), "{page}");
    }
}
