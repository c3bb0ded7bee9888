//! What people are shown of discovery: `hale sources`, `hale plan` and the metrics. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::core::{Activity, Core, Source, is_watched};
use super::figures::Figures;
use super::guard::Now;
use super::source::Scope;
use crate::config::{SourceConfig, SourceMode, SyncMode};
use crate::model::discovered::{Amendment, DiscoveredName, Origin};
use crate::model::discovery_report::{
    BrakeReport, ConditionReport, FailureReport, PlanReport, ProblemReport, ResourceReport, SourceReport,
};
use crate::model::name::Name;

/// Problems and held names that a report shows.
const SHOWN: usize = 20;

/// What would become of the names if nothing were held back.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The names that would be added, changed or removed, and what is refused, by name.
    pub entries: Vec<PlanReport>,
    /// The same for the keeper, to ask it what it would refuse.
    pub amendment: Amendment,
}

/// What metrics show of one source.
#[derive(Debug)]
pub struct SourceFigures<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is counted of it.
    pub figures: &'a Figures,
    /// Objects by kind and namespace.
    pub objects: BTreeMap<(&'static str, String), usize>,
    /// Objects with something wrong, by kind of problem.
    pub problems: BTreeMap<&'static str, usize>,
    /// Names by zone and by what became of them: `published`, `stale` or `refused`.
    pub names: BTreeMap<(String, &'static str), usize>,
    /// Names whose removal the brake holds.
    pub held: usize,
    /// Seconds since everything was last known to be complete.
    pub age_s: Option<u64>,
    /// Whether it fails just now.
    pub failing: bool,
    /// Whether the breaker is open.
    pub open: bool,
    /// Whether it was told to pause.
    pub paused: bool,
}

impl Core {
    /// Every source, in the order of `hale.json`.
    pub fn reports(&self, now: Now) -> Vec<SourceReport> {
        let report = |(config, source): (&SourceConfig, &Source)| {
            let hidden = self.hidden.names().filter(|name| source.guard.claims_for(name).next().is_some());
            SourceReport { hidden: hidden.map(Name::to_string).collect(), ..source.report(config, now) }
        };
        self.configs.iter().zip(&self.sources).map(report).collect()
    }

    /// What the sources would add, change and remove if nothing were held back or only observed, and what of them is refused.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let names: BTreeSet<&Name> = self
            .sources
            .iter()
            .flat_map(|source| source.guard.standing().map(|(_, standing)| &standing.claim.name))
            .collect();
        for name in names {
            let merged = self.wanted(name, true, true);
            let wanted = merged.name.map(std::sync::Arc::new);
            let published = self.published.get(name);
            if wanted.as_ref() != published {
                plan.entries.push(self.planned(name, wanted.as_deref(), published.map(|name| &**name)));
                plan.amendment.changes.push((name.clone(), wanted));
            }
            plan.entries.extend(merged.notes.into_iter().map(|note| PlanReport {
                name: name.to_string(),
                change: "refuse".to_owned(),
                source: self.configs[note.source].name.to_string(),
                object: note.object.to_string(),
                why: Some(format!("{}: {}", note.kind.label(), note.text)),
                ..PlanReport::default()
            }));
        }
        plan.entries.extend(self.hidden_entries());
        plan
    }

    /// What sources want and people hide.
    fn hidden_entries(&self) -> impl Iterator<Item = PlanReport> {
        self.hidden.names().filter_map(|name| {
            let why = self.hidden.find(name, 0)?.to_string();
            let mut claims = self.configs.iter().zip(&self.sources);
            let (source, object) = claims
                .find_map(|(config, source)| Some((&config.name, source.guard.claims_for(name).next()?.0)))?;
            Some(PlanReport {
                name: name.to_string(),
                change: "hide".to_owned(),
                source: source.to_string(),
                object: object.to_string(),
                why: Some(why),
                ..PlanReport::default()
            })
        })
    }

    fn planned(
        &self,
        name: &Name,
        wanted: Option<&DiscoveredName>,
        published: Option<&DiscoveredName>,
    ) -> PlanReport {
        let change = match (wanted, published) {
            (Some(_), None) => "add",
            (None, _) => "remove",
            (Some(_), Some(_)) => "change",
        };
        let origin: Option<&Origin> = wanted.or(published).and_then(|name| name.origins.first());
        PlanReport {
            name: name.to_string(),
            change: change.to_owned(),
            source: origin.map_or_else(String::new, |origin| origin.source.to_string()),
            object: origin.map_or_else(String::new, |origin| origin.object.to_string()),
            targets: wanted.map_or_else(Vec::new, targets),
            why: self.why_not(name),
            hides: None,
        }
    }

    /// Why what a name comes to is not what is published.
    fn why_not(&self, name: &Name) -> Option<String> {
        for (config, source) in self.configs.iter().zip(&self.sources) {
            let mut claims = source.guard.claims_for(name).peekable();
            if claims.peek().is_none() {
                continue;
            }
            let is_missing = claims.any(|(_, standing)| standing.is_missing());
            let source_name = &config.name;
            if let Some(held) = source.guard.brake().held().filter(|held| held.names.contains(name)) {
                return Some(format!("held by the brake of {source_name}: {}", held.why));
            }
            match config.mode {
                SourceMode::Observe => return Some(format!("{source_name} only observes")),
                SourceMode::AddOnly if is_missing => return Some(format!("{source_name} is add-only")),
                _ if is_missing => return Some("\"remove_after\" has not passed".to_owned()),
                SourceMode::AddOnly | SourceMode::Sync => {}
            }
        }
        None
    }

    /// What metrics show, with names counted by the innermost of these zones.
    pub fn figures(&self, zones: &[Name], now: Now) -> Vec<SourceFigures<'_>> {
        let sources = self.configs.iter().zip(&self.sources);
        sources
            .enumerate()
            .map(|(index, (config, source))| SourceFigures {
                name: &config.name,
                figures: &source.figures,
                objects: source
                    .guard
                    .objects()
                    .into_iter()
                    .map(|((kind, namespace), count)| ((kind.label(), namespace.to_owned()), count))
                    .collect(),
                problems: source.guard.problems().fold(BTreeMap::new(), |mut counts, (_, problem)| {
                    *counts.entry(problem.kind.label()).or_default() += 1;
                    counts
                }),
                names: self.names_by_zone(index, zones),
                held: source.guard.brake().held().map_or(0, |held| held.names.len()),
                age_s: source.age_s(now),
                failing: source.guard.failure().is_some(),
                open: source.pace.is_open(),
                paused: source.paused,
            })
            .collect()
    }

    fn names_by_zone(&self, index: usize, zones: &[Name]) -> BTreeMap<(String, &'static str), usize> {
        let mut counts = BTreeMap::new();
        for (_, standing) in self.sources[index].guard.standing() {
            let name = &standing.claim.name;
            let zone = zones.iter().filter(|zone| name.is_at_or_below(zone)).max_by_key(|z| z.label_count());
            let refused =
                self.notes.get(name).is_some_and(|notes| notes.iter().any(|note| note.source == index));
            let status = match () {
                () if refused || !self.published.contains_key(name) => "refused",
                () if standing.stale.is_some() => "stale",
                () => "published",
            };
            let zone = zone.map_or_else(|| "none".to_owned(), Name::to_string);
            *counts.entry((zone, status)).or_default() += 1;
        }
        counts
    }
}

/// Where a name leads, for people.
fn targets(name: &DiscoveredName) -> Vec<String> {
    let addresses = name.endpoints.iter().filter_map(|endpoint| Some(endpoint.data.address()?.to_string()));
    let rrsets = name.rrsets.iter().map(|rrset| rrset.rtype.to_string());
    addresses.chain(name.hostname.iter().map(Name::to_string)).chain(rrsets).collect()
}

impl Source {
    fn age_s(&self, now: Now) -> Option<u64> {
        match self.guard.last_ok() {
            Some(last_ok) => Some(now.ms.saturating_sub(last_ok) / 1000),
            None => Some(now.wall_ms.saturating_sub(self.last_ok_wall?) / 1000),
        }
    }

    /// Seconds from one round to the next, as they are now.
    fn interval_s(&self, config: &SourceConfig) -> Option<u64> {
        let is_polled = config.sync == SyncMode::Continuous && !is_watched(config);
        let configured = is_polled.then_some(config.poll_ms);
        self.wait_ms.or(configured).map(|ms| ms.div_ceil(1000))
    }

    fn report(&self, config: &SourceConfig, now: Now) -> SourceReport {
        let guard = &self.guard;
        let failure = guard.failure().map(|failure| FailureReport {
            kind: failure.kind.label().to_owned(),
            text: failure.text.to_string(),
            in_a_row: self.pace.failures(),
            breaker_open: self.pace.is_open(),
            // A driver that watches tries again at its own pace.
            retry_in_seconds: self
                .next
                .filter(|_| !is_watched(config) && !matches!(self.activity, Activity::Syncing { .. }))
                .map(|next| next.saturating_sub(now.ms).div_ceil(1000)),
        });
        let brake = guard.brake().held().map(|held| BrakeReport {
            held: held.names.len() as u64,
            why: held.why.to_owned(),
            for_seconds: now.ms.saturating_sub(held.since) / 1000,
            release_after_seconds: config.brake.release_after_ms / 1000,
            names: held.names.iter().take(SHOWN).map(Name::to_string).collect(),
        });
        let state = match () {
            () if self.paused => "paused",
            () if failure.is_some() => "failing",
            () if brake.is_some() => "held",
            () if !guard.is_synced() => "waiting",
            () => "ok",
        };
        let mode = match config.mode {
            SourceMode::Sync => "sync",
            SourceMode::AddOnly => "add-only",
            SourceMode::Observe => "observe",
        };
        let sync = match &config.sync {
            SyncMode::Continuous => "continuous".to_owned(),
            SyncMode::Manual => "manual".to_owned(),
            SyncMode::Cron(cron) => cron.to_string(),
        };
        let problems = guard.problems().take(SHOWN).map(|(key, problem)| ProblemReport {
            object: key.to_string(),
            kind: problem.kind.label().to_owned(),
            text: problem.text.to_string(),
        });
        let (requests, requests_good) = self.figures.requests();
        SourceReport {
            name: config.name.to_string(),
            kind: config.kind.label().to_owned(),
            state: state.to_owned(),
            mode: mode.to_owned(),
            sync,
            interval_seconds: self.interval_s(config),
            synced: guard.is_synced(),
            names: guard.names() as u64,
            last_success: self.last_ok_wall.map(|ms| ms / 1000),
            age_seconds: self.age_s(now),
            stale_after_seconds: config.stale_after_ms / 1000,
            requests,
            requests_good,
            failure,
            brake,
            resources: self.resources(now),
            conditions: self.conditions.values().map(ConditionReport::from).collect(),
            problems: guard.problems().count() as u64,
            first_problems: problems.collect(),
            hidden: Vec::new(),
        }
    }

    fn resources(&self, now: Now) -> Vec<ResourceReport> {
        let objects = self.guard.objects();
        let of = |scope: &Scope| {
            let covered = objects.iter().filter(|((kind, namespace), _)| {
                *kind == scope.kind && scope.namespace.as_deref().is_none_or(|only| only == *namespace)
            });
            covered.map(|(_, count)| *count as u64).sum()
        };
        let scopes = self.guard.scopes().iter().map(|(scope, state)| ResourceReport {
            kind: scope.kind.label().to_owned(),
            namespace: scope.namespace.as_deref().map(str::to_owned),
            state: match state.failure {
                Some(_) => "failing",
                None if state.absent => "not installed",
                None if state.last_ok.is_some() => "ok",
                None => "waiting",
            }
            .to_owned(),
            objects: of(scope),
            age_seconds: state.last_ok.map(|at| now.ms.saturating_sub(at) / 1000),
            failure: state.failure.as_ref().map(ToString::to_string),
        });
        scopes.collect()
    }
}

impl From<&super::source::Condition> for ConditionReport {
    fn from(condition: &super::source::Condition) -> Self {
        Self { kind: condition.kind.to_owned(), holds: condition.holds, reason: condition.reason.to_string() }
    }
}
