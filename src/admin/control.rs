//! What the admin pages need of the running server.

use std::io;
use std::sync::Arc;

use serde::Deserialize;

use super::ui::Insight;
use crate::model::discovery_report::{PlanReport, SourceChange, SourceReport};
use crate::model::events::Events;
use crate::model::explain::{Client, Explanation};
use crate::model::name::Name;
use crate::model::records::{HiddenChange, HiddenReport, HideRequest, RecordsPage, TestDns};
use crate::model::report::{
    HistoryReport, OverrideChange, OverrideReport, OverrideRequest, Readiness, ReloadReport, Status,
    TargetReport, ZoneReport,
};
use crate::model::rrtype::RrType;
use crate::model::target::Verdict;

/// The running server, as the admin listener sees it. Its methods are called on threads that may block, but for `readiness`.
pub trait Control: Insight + Send + Sync + 'static {
    /// Whether queries are answered. Called on the runtime: it must not block.
    fn readiness(&self) -> Readiness;

    /// The server in a few figures.
    fn status(&self) -> Status;

    /// Every configured zone, by name, broken ones and aliases among them.
    fn zones(&self) -> Vec<ZoneReport>;

    /// Every target that is probed.
    fn targets(&self) -> Vec<TargetReport>;

    /// Writes a view of the zone with this apex.
    ///
    /// # Errors
    /// See [`ExportError`]; nothing was written where the zone is unknown or broken.
    fn export(
        &self,
        zone: &Name,
        view: View,
        format: ExportFormat,
        out: &mut dyn io::Write,
    ) -> Result<(), ExportError>;

    /// Writes the state directory as an archive, consistent with itself.
    ///
    /// # Errors
    /// There is none, or it cannot be read or written.
    fn backup(&self, out: &mut dyn io::Write) -> Result<(), ExportError>;

    /// Some of a zone's records.
    ///
    /// # Errors
    /// See [`ExportError`].
    fn records(&self, zone: &Name, query: &RecordsQuery) -> Result<RecordsPage, ExportError>;

    /// What DNS answers now for a host name, where it comes from, and how it fares.
    fn test_dns(&self, hostname: &Name) -> TestDns;

    /// The discovered names that somebody has hidden.
    fn hidden(&self) -> Vec<HiddenReport>;

    /// Keeps a discovered name from being published, in the name of `owner`. It is durable when this returns.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing has changed.
    fn hide(&self, wanted: &HideRequest, owner: String) -> Result<HiddenChange, ChangeError>;

    /// Publishes a hidden name again, in the name of `owner`; `None` if it is not hidden.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing has changed.
    fn unhide(&self, name: &Name, owner: &str) -> Result<Option<HiddenChange>, ChangeError>;

    /// Reads the zones again and returns when what could be read is published. `remove_missing` lets go of zones whose file
    /// has vanished.
    ///
    /// # Errors
    /// Why it could not even be tried, such as a server that is shutting down. A broken file is in the report instead.
    fn reload(&self, remove_missing: bool) -> Result<ReloadReport, String>;

    /// The target with this number and its last transitions; `None` where there is none.
    fn history(&self, id: u32) -> Option<HistoryReport>;

    /// What `client` would be answered for a name and type, and why.
    fn explain(&self, name: &Name, rtype: RrType, client: Client) -> Explanation;

    /// The overrides in force, oldest first.
    fn overrides(&self) -> Vec<OverrideReport>;

    /// Sets an override in the name of `owner`. It is durable, and answered, when this returns.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing has changed.
    fn set_override(&self, wanted: &OverrideRequest, owner: String) -> Result<OverrideChange, ChangeError>;

    /// Clears the override with this number, in the name of `owner`; `None` where there is none.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing has changed.
    fn clear_override(&self, id: u64, owner: &str) -> Result<Option<OverrideChange>, ChangeError>;

    /// Publishes a verdict for the external checks with an id, with a few words if there are any; an unknown one takes back what was
    /// pushed before. Returns how many targets it is for.
    fn push_external(&self, id: &str, verdict: Verdict, reason: Option<&str>) -> usize;

    /// Every source of discovered names, in the order of `hale.json`.
    fn sources(&self) -> Vec<SourceReport>;

    /// What sources would change but is held back, only observed or refused, by name.
    fn plan(&self) -> Vec<PlanReport>;

    /// Does `resync`, `pause`, `resume` or `release` to a source in the name of `owner`; `None` where there is no such source.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing has changed.
    fn change_source(
        &self,
        source: &str,
        action: &str,
        owner: &str,
    ) -> Result<Option<SourceChange>, ChangeError>;

    /// What happens, as it happens, and what has happened lately. Called on the runtime: it must not block.
    fn events(&self) -> Arc<Events>;

    /// Every metric of the server, as [`MetricsWriter`](crate::telemetry::metrics::MetricsWriter) writes them.
    fn metrics(&self) -> String;
}

/// Why a change was not made.
#[derive(Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// What is asked for makes no sense, and why.
    Bad(String),
    /// There is no room for it, and why.
    Full(String),
    /// The server could not do it, and why.
    Failed(String),
}

/// What of a zone is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// What is answered.
    #[default]
    Served,
    /// All that is configured, whatever health says of it.
    Configured,
}

/// Which records of a zone are wanted.
#[derive(Clone, Debug)]
pub struct RecordsQuery {
    /// What is answered, or what is configured.
    pub view: View,
    /// Only this owner name.
    pub name: Option<Name>,
    /// Only owner names with this in them, in lower case.
    pub search: Option<String>,
    /// Only this type.
    pub rtype: Option<RrType>,
    /// Only owner names behind this one.
    pub after: Option<Name>,
    /// RRsets of a page; the last owner may make it some more.
    pub limit: usize,
}

/// How a zone is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// A master file (RFC 1035 §5).
    #[default]
    Text,
    /// JSON lines, one RRset each.
    Json,
}

/// Why a zone was not exported.
#[derive(Debug)]
pub enum ExportError {
    /// No zone has this apex.
    UnknownZone,
    /// The zone is configured but not served, and why.
    Broken(String),
    /// The reader went away, or was too slow.
    Write(io::Error),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}
