//! The query log that the configuration asks for.

use super::{AppError, running};
use crate::config::QueryLogConfig;
use crate::telemetry::query_log::{DnstapSettings, JsonSettings, QueryLog, Settings};

/// Starts it; without outputs where it is not asked for.
pub(super) fn start(config: Option<&QueryLogConfig>) -> Result<QueryLog, AppError> {
    QueryLog::start(&settings(config)).map_err(|e| running("query_log", e.to_string()))
}

/// What it is to do.
pub(super) fn settings(config: Option<&QueryLogConfig>) -> Settings {
    let Some(config) = config else { return Settings { dnstap: None, json: None, buffer_octets: 0 } };
    Settings {
        dnstap: config.dnstap.as_ref().map(|dnstap| DnstapSettings {
            socket: dnstap.socket.clone(),
            queries: dnstap.queries,
            responses: dnstap.responses,
            responses_with_queries: dnstap.responses_with_queries,
            identity: dnstap.identity.clone().unwrap_or_else(host_name),
            sample: dnstap.sample,
        }),
        json: config.json.as_ref().map(|json| JsonSettings { file: json.file.clone(), sample: json.sample }),
        buffer_octets: config.buffer_octets,
    }
}

/// Where queries are recorded, in words.
pub(super) fn describe(config: &QueryLogConfig) -> String {
    let dnstap = config.dnstap.as_ref().map(|dnstap| format!("dnstap to {}", dnstap.socket.display()));
    let json = config.json.as_ref().map(|json| format!("JSON lines to {}", json.file.display()));
    dnstap.into_iter().chain(json).collect::<Vec<_>>().join(", ")
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
