//! Configuration: JSON, environment and flags become typed values, or errors with their places.
//!
//! [`Config::load`] gives the server's configuration, [`ZoneReader`] reads the zone files that it names: the header at
//! once, the records owner by owner. [`schema`] describes both to editors.

#[macro_use]
mod json;
mod args;
mod check_for;
mod cluster_values;
mod cron;
mod files;
mod geo;
mod healthy_dns;
pub mod input;
mod limits;
mod live;
mod load;
mod notify;
mod pattern;
pub mod schema;
mod selector;
mod server;
mod source_types;
mod source_values;
mod sources;
mod telemetry;
mod types;
mod zone_file;

pub use args::ServeArgs;
pub use check_for::CheckFor;
pub use cron::Cron;
pub use limits::{LimitsConfig, Network, PolicyLimits, RateLimits, TcpLimits};
pub use live::LiveSecret;
pub use load::Loaded;
pub use notify::{Field, NotifyConfig, NotifyKind, Template};
pub use pattern::Pattern;
pub use selector::Selector;
pub use source_types::*;
pub use telemetry::{DnstapConfig, JsonLogConfig, QueryLogConfig};
pub use types::*;
pub use zone_file::{Environment, RecordCheck, ZoneReader, stands_twice};
