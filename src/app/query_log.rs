//! Starts the query log that the configuration asks for.

use std::sync::Arc;

use super::{AppError, running};
use crate::config::QueryLogConfig;
use crate::telemetry::query_log::{DnstapSettings, JsonSettings, QueryLog, Settings};

/// Starts it, if it is asked for.
pub(super) fn start(config: Option<&QueryLogConfig>) -> Result<Option<Arc<QueryLog>>, AppError> {
    let Some(config) = config else { return Ok(None) };
    let settings = Settings {
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
    };
    QueryLog::start(&settings).map(|log| Some(Arc::new(log))).map_err(|e| running("query_log", e.to_string()))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
