//! What the server says of itself while it runs: counters, the metrics page, logs and the service manager's notifications.

pub mod counters;
pub mod logs;
pub mod metrics;
pub mod process;
pub mod query_log;
pub mod systemd;
