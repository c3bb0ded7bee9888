//! What the admin listener shows and changes, gathered from the parts.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::discovery::Discovery;
use super::live::Live;
use super::orders::Orders;
use super::{explain, metrics, now_s};
use crate::admin::{ChangeError, Control, ExportError, ExportFormat, RecordsQuery, View};
use crate::health::HealthHandle;
use crate::keeper::FindSources;
use crate::keeper::channel::{Change, KeeperHandle, ReloadSummary, ZoneStatus};
use crate::keeper::targets::TargetRegistry;
use crate::model::board::{FULL_SHARE, VerdictBoard};
use crate::model::discovery_report::{PlanReport, SourceChange, SourceReport};
use crate::model::events::Events;
use crate::model::explain::{Client, Explanation};
use crate::model::name::Name;
use crate::model::records::{HiddenChange, HiddenReport, HideRequest, RecordsPage, TestDns};
use crate::model::report::{
    ChangeKind, HistoryReport, Listener, OverriddenReport, OverrideChange, OverrideReport, OverrideRequest,
    Readiness, ReadinessPart, ReloadReport, SettingChange, SettingOutcome, Status, TargetCounts,
    TargetReport, ZoneChange, ZoneReport, ZoneState,
};
use crate::model::rrtype::RrType;
use crate::model::target::{TargetId, Verdict};
use crate::notify::Receivers;
use crate::resolver::ResolverHandle;
use crate::snapshot::handle::Published;
use crate::state::StateDir;
use crate::state::overrides::OverrideStore;
use crate::telemetry::counters::{Counters, Protocol};

/// Read-only handles of every part, and the keeper's channel.
pub(super) struct Handles {
    pub(super) keeper: KeeperHandle,
    pub(super) published: Arc<Published>,
    pub(super) health: HealthHandle,
    /// What is known of the hosts that ALIAS records lead to.
    pub(super) aliases: ResolverHandle,
    pub(super) counters: Arc<Counters>,
    pub(super) overrides: OverrideStore,
    /// What the zones rest on, followed names among it, whose verdicts the keeper puts on the board.
    pub(super) registry: Arc<Mutex<TargetRegistry>>,
    pub(super) board: Arc<VerdictBoard>,
    /// Finds the zone files, to say where something stands in them.
    pub(super) find_sources: FindSources,
    /// What a reload changes besides zones.
    pub(super) live: Live,
    pub(super) state: Option<Arc<StateDir>>,
    pub(super) started_s: u32,
    pub(super) ready: AtomicBool,
    pub(super) reloaded_s: AtomicU32,
    pub(super) discovery: Arc<Discovery>,
    pub(super) receivers: Receivers,
    pub(super) events: Arc<Events>,
    /// Names of zones whose pages somebody turns.
    pub(super) orders: Orders,
}

impl Handles {
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Before the first publication the keeper does not run yet, and there is nothing to tell.
    pub(super) fn zone_statuses(&self) -> Vec<ZoneStatus> {
        if self.is_ready() { self.keeper.zones() } else { Vec::new() }
    }

    /// Reads configuration and zones again, and notes when; `None` if the keeper has stopped.
    pub(super) fn read_again(&self, remove_missing: bool) -> Option<(ReloadSummary, Vec<SettingChange>)> {
        let done = self.live.reload(self, remove_missing);
        self.reloaded_s.store(now_s(), Ordering::Relaxed);
        done
    }

    /// Everything that answers rest on: what is probed or pushed, and the names whose verdicts others follow.
    pub(super) fn target_reports(&self) -> Vec<TargetReport> {
        let mut overridden = self.overridden().targets;
        let report = |target: crate::health::TargetReport| {
            let overrides = overridden.remove(&target.id).unwrap_or_default();
            target_report(target, overrides)
        };
        let mut all: Vec<TargetReport> = self.health.report().into_iter().map(report).collect();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut followed: Vec<(&Name, &TargetId)> = registry.followed().iter().collect();
        followed.sort_unstable_by_key(|(_, id)| id.0);
        all.extend(followed.into_iter().map(|(name, id)| {
            let overrides = overridden.remove(id).unwrap_or_default();
            followed_report(name, *id, self.board.get(*id), overrides)
        }));
        all
    }

    pub(super) fn target_counts(&self) -> TargetCounts {
        let [unknown, up, down] = self.health.figures().targets.map(|n| n as u64);
        TargetCounts { up, down, unknown }
    }
}

impl Control for Handles {
    fn readiness(&self) -> Readiness {
        let (ready, detail) = match (self.is_ready(), self.keeper.is_running()) {
            (false, _) => (false, "waiting for the first round of probes"),
            // Traffic belongs elsewhere: what is answered no longer follows health.
            (true, false) => (false, "the keeper has ended"),
            (true, true) => (true, "published"),
        };
        let mut parts = vec![ReadinessPart { name: "zones".into(), ready, detail: detail.into() }];
        if let Some(problem) = self.live.problem() {
            // Ready all the same: what was good goes on being served.
            let detail =
                format!("the last one found an error, what it is about is served as before: {problem}");
            parts.push(ReadinessPart { name: "reload".into(), ready: true, detail });
        }
        parts.extend(self.discovery.readiness());
        Readiness { ready: parts.iter().all(|part| part.ready), parts }
    }

    fn status(&self) -> Status {
        let zones = self.zone_statuses();
        let (health, totals) = (self.health.figures(), self.counters.totals());
        let listeners = self.live.listeners().into_iter().flat_map(|address| {
            ["udp", "tcp"].map(|transport| Listener { transport: transport.into(), address })
        });
        let reloaded = self.reloaded_s.load(Ordering::Relaxed);
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started_at: self.started_s.into(),
            ready: self.is_ready(),
            listeners: listeners.collect(),
            state: self.state.as_ref().map(|state| state.path().to_owned()),
            generation: self.published.load().generation(),
            zones: zones.len() as u64,
            broken_zones: zones.iter().filter(|z| z.serial.is_none()).count() as u64,
            targets: self.target_counts(),
            brake: health.brake_holding,
            flips: health.rises + health.falls,
            queries: [Protocol::Udp, Protocol::Tcp].into_iter().map(|p| totals.queries(p)).sum(),
            overrides: self.overrides_in_force().len() as u64,
            reloaded_at: (reloaded > 0).then_some(reloaded.into()),
            reload_problem: self.live.problem(),
            needs_restart: self.live.needs_restart(),
        }
    }

    fn zones(&self) -> Vec<ZoneReport> {
        let mut overridden = self.overridden().zones;
        let report = |status: ZoneStatus| {
            let overridden = overridden.remove(&status.apex).unwrap_or_default();
            zone_report(status, overridden)
        };
        self.zone_statuses().into_iter().map(report).collect()
    }

    fn targets(&self) -> Vec<TargetReport> {
        self.target_reports()
    }

    fn export(
        &self,
        zone: &Name,
        view: View,
        format: ExportFormat,
        out: &mut dyn io::Write,
    ) -> Result<(), ExportError> {
        self.export_view(zone, view, format, out)
    }

    fn backup(&self, out: &mut dyn io::Write) -> Result<(), ExportError> {
        self.backup_to(out)
    }

    fn records(&self, zone: &Name, query: &RecordsQuery) -> Result<RecordsPage, ExportError> {
        self.records_page(zone, query)
    }

    fn test_dns(&self, hostname: &Name) -> TestDns {
        self.test(hostname)
    }

    fn hidden(&self) -> Vec<HiddenReport> {
        self.discovery.hidden()
    }

    fn hide(&self, wanted: &HideRequest, owner: String) -> Result<HiddenChange, ChangeError> {
        self.discovery.hide(wanted, owner)
    }

    fn unhide(&self, name: &Name, owner: &str) -> Result<Option<HiddenChange>, ChangeError> {
        self.discovery.unhide(name, owner)
    }

    fn reload(&self, remove_missing: bool) -> Result<ReloadReport, String> {
        if !self.is_ready() {
            return Err("the server is still starting".into());
        }
        let (summary, settings) = self.read_again(remove_missing).ok_or("the server is stopping")?;
        let statuses = self.zone_statuses();
        Ok(reload_report(&summary, settings, &statuses))
    }

    fn history(&self, id: u32) -> Option<HistoryReport> {
        let (target, history) = self.health.history(TargetId(id))?;
        Some(HistoryReport { target: target.to_string(), history })
    }

    fn explain(&self, name: &Name, rtype: RrType, client: Client) -> Explanation {
        self.explanation(name, rtype, client)
    }

    fn overrides(&self) -> Vec<OverrideReport> {
        self.overrides_in_force().list().into_iter().map(OverrideReport::from).collect()
    }

    fn set_override(&self, wanted: &OverrideRequest, owner: String) -> Result<OverrideChange, ChangeError> {
        self.set(wanted, owner)
    }

    fn clear_override(&self, id: u64, owner: &str) -> Result<Option<OverrideChange>, ChangeError> {
        self.clear(id, owner)
    }

    fn sources(&self) -> Vec<SourceReport> {
        self.discovery.reports()
    }

    fn plan(&self) -> Vec<PlanReport> {
        // The keeper does not run before the first publication.
        if self.is_ready() { self.discovery.plan(&self.keeper) } else { Vec::new() }
    }

    fn change_source(
        &self,
        source: &str,
        action: &str,
        owner: &str,
    ) -> Result<Option<SourceChange>, ChangeError> {
        self.discovery.change(source, action, owner)
    }

    fn push_external(&self, id: &str, verdict: Verdict, reason: Option<&str>) -> usize {
        self.health.push_external(id, verdict, reason)
    }

    fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    fn metrics(&self) -> String {
        metrics::page(self)
    }
}

fn zone_report(status: ZoneStatus, overridden: Vec<OverriddenReport>) -> ZoneReport {
    let state = match (&status.serial, &status.trouble) {
        (None, _) => ZoneState::Broken,
        (Some(_), Some(_)) => ZoneState::Kept,
        (Some(_), None) => ZoneState::Serving,
    };
    ZoneReport {
        zone: status.apex.to_string(),
        state,
        problem: status.trouble,
        serial: status.serial.map(|s| s.0),
        names: status.owners as u64,
        checked_names: status.checked_owners as u64,
        overridden,
        alias_of: status.alias_of.map(|apex| apex.to_string()),
        changed_at: (status.changed_s > 0).then_some(status.changed_s.into()),
        file: status.file,
        signed: status.is_signed,
        signatures_expire_at: status.earliest_expiry_s.map(u64::from),
    }
}

fn target_report(target: crate::health::TargetReport, overrides: Vec<u64>) -> TargetReport {
    let last = target.last;
    TargetReport {
        id: target.id.0,
        target: target.target.to_string(),
        verdict: target.verdict,
        certificate_expires_at: target.certificate_expires_s,
        probed_at: last.as_ref().map(|result| result.at_unix_ms / 1000),
        took_us: last.as_ref().map(|result| result.duration_us),
        interval_ms: Some(target.interval_ms),
        changed_at: target.changed_unix_ms.map(|at_ms| at_ms / 1000),
        flips: target.flips_lately as u64,
        braked: target.held,
        held_until: target.damped_until_unix_ms.map(|at_ms| at_ms / 1000),
        share: target.share,
        problem: last.and_then(|result| explain::problem(&result.outcome)),
        overrides,
    }
}

/// A name that others follow: its verdict is what its own endpoints come to.
fn followed_report(name: &Name, id: TargetId, verdict: Verdict, overrides: Vec<u64>) -> TargetReport {
    TargetReport {
        id: id.0,
        target: format!("name {name}"),
        verdict,
        probed_at: None,
        problem: None,
        took_us: None,
        interval_ms: None,
        changed_at: None,
        flips: 0,
        braked: false,
        held_until: None,
        share: FULL_SHARE,
        overrides,
        certificate_expires_at: None,
    }
}

fn reload_report(
    summary: &ReloadSummary,
    settings: Vec<SettingChange>,
    statuses: &[ZoneStatus],
) -> ReloadReport {
    let zones = summary.zones.iter().filter_map(|zone| {
        let change = match zone.change {
            Change::Added => ChangeKind::Added,
            Change::Changed => ChangeKind::Changed,
            Change::Removed => ChangeKind::Removed,
            Change::Kept => ChangeKind::Kept,
            Change::Broken => ChangeKind::Broken,
            Change::Unchanged => return None,
        };
        let status = statuses.iter().find(|status| status.apex == zone.apex);
        Some(ZoneChange {
            zone: zone.apex.to_string(),
            change,
            serial: status.and_then(|status| status.serial).map(|serial| serial.0),
            added: zone.owners.added as u64,
            changed: zone.owners.changed as u64,
            removed: zone.owners.removed as u64,
            records_added: zone.records.added as u64,
            records_removed: zone.records.removed as u64,
            records: zone.records.told.iter().map(ToString::to_string).collect(),
            problem: status.and_then(|status| status.trouble.clone()),
        })
    });
    ReloadReport {
        ok: summary.is_good() && settings.iter().all(|setting| setting.outcome != SettingOutcome::Failed),
        settings,
        zones: zones.collect(),
        unchanged: summary.count(Change::Unchanged) as u64,
        findings: summary.diagnostics.iter().map(ToString::to_string).collect(),
    }
}
