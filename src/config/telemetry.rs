//! What is told of the queries: the `metrics` and `query_log` blocks.

use std::path::PathBuf;

use super::json::{Boolean, FilePath, Int, Text};

/// Some 5000 queries with their responses.
const BUFFER: u64 = 1 << 20;

object! {
    /// What /metrics tells beyond what it always does.
    pub(crate) struct MetricsKeys {
        /// Whether there are series for each target: some thousand targets are as many series for each of four metrics; false unless given.
        "targets" targets: Boolean,
    }
    later: []
}

object! {
    /// Where each query and its response are recorded. What is not taken in time is left out and counted; no answer waits for it.
    pub(crate) struct QueryLogKeys {
        /// A reader of dnstap on a unix socket.
        "dnstap" dnstap: DnstapKeys,
        /// A file with one JSON object a line.
        "json" json: JsonKeys,
        /// Octets kept for each output by each thread that answers, until they are written; 1 MiB unless given.
        "buffer" buffer: Int<65_536, 1_073_741_824>,
    }
    later: []
}

object! {
    /// A reader of dnstap (Frame Streams over a unix socket).
    pub(crate) struct DnstapKeys {
        /// The socket that the reader listens on; it is connected to again and again until it is there.
        "socket" (required) socket: FilePath,
        /// Whether AUTH_QUERY messages are sent; true unless given.
        "queries" queries: Boolean,
        /// Whether AUTH_RESPONSE messages are sent; true unless given.
        "responses" responses: Boolean,
        /// Whether an AUTH_RESPONSE message holds the query, too; false unless given.
        "responses_with_queries" responses_with_queries: Boolean,
        /// Who the messages say sent them; the host's name unless given.
        "identity" identity: Text,
        /// One in so many queries, drawn at random; 1 unless given, all of them.
        "sample" sample: Int<1, 1_000_000_000>,
    }
    later: []
}

object! {
    /// A file with one JSON object a line.
    pub(crate) struct JsonKeys {
        /// The file; lines are appended, and SIGHUP opens it anew.
        "file" (required) file: FilePath,
        /// One in so many queries, drawn at random; 1 unless given, all of them.
        "sample" sample: Int<1, 1_000_000_000>,
    }
    later: []
}

/// Where queries are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryLogConfig {
    /// A reader of dnstap.
    pub dnstap: Option<DnstapConfig>,
    /// A file of JSON lines.
    pub json: Option<JsonLogConfig>,
    /// Octets kept for each output by each thread that answers.
    pub buffer_octets: usize,
}

/// A reader of dnstap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnstapConfig {
    /// The socket it listens on.
    pub socket: PathBuf,
    /// Whether it is sent AUTH_QUERY messages.
    pub queries: bool,
    /// Whether it is sent AUTH_RESPONSE messages.
    pub responses: bool,
    /// Whether these hold the query, too.
    pub responses_with_queries: bool,
    /// Who sends them; the host's name unless given.
    pub identity: Option<String>,
    /// One in so many queries.
    pub sample: u32,
}

/// A file of JSON lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonLogConfig {
    /// Where it stands.
    pub file: PathBuf,
    /// One in so many queries.
    pub sample: u32,
}

impl MetricsKeys {
    /// Whether there are series for each target.
    pub(crate) fn wants_targets(&self) -> bool {
        self.targets.get().is_some_and(|given| given.value.0)
    }
}

impl QueryLogKeys {
    /// With every default filled in; `None` where nothing is recorded.
    pub(crate) fn into_config(mut self) -> Option<QueryLogConfig> {
        let buffer_octets = self.buffer.take().map_or(BUFFER, |given| given.value.0) as usize;
        let dnstap = self.dnstap.take().and_then(|keys| keys.value.into_config());
        let json = self.json.take().and_then(|keys| keys.value.into_config());
        (dnstap.is_some() || json.is_some()).then_some(QueryLogConfig { dnstap, json, buffer_octets })
    }
}

impl DnstapKeys {
    fn into_config(mut self) -> Option<DnstapConfig> {
        Some(DnstapConfig {
            socket: self.socket.take()?.value.0,
            queries: self.queries.take().is_none_or(|given| given.value.0),
            responses: self.responses.take().is_none_or(|given| given.value.0),
            responses_with_queries: self.responses_with_queries.take().is_some_and(|given| given.value.0),
            identity: self.identity.take().map(|given| given.value.0),
            sample: self.sample.take().map_or(1, |given| given.value.0 as u32),
        })
    }
}

impl JsonKeys {
    fn into_config(mut self) -> Option<JsonLogConfig> {
        Some(JsonLogConfig {
            file: self.file.take()?.value.0,
            sample: self.sample.take().map_or(1, |given| given.value.0 as u32),
        })
    }
}
