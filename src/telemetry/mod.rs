//! What the server says of itself while it runs: logs and the service manager's notifications.

pub mod logs;
pub mod systemd;
