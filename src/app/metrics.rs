//! The metrics page, gathered from the parts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::control::Handles;
use super::now_s;
use crate::health::TargetReport;
use crate::health::figures::{BUCKETS_S, Figures, Histogram, OutcomeLabel};
use crate::health::probe::ProbeKind;
use crate::keeper::channel::ZoneStatus;
use crate::keeper::figures::{KeeperFigures, Stage};
use crate::model::overrides::{MAX_OVERRIDES, Overrides, Word};
use crate::model::target::Verdict;
use crate::notify;
use crate::resolver::AliasReport;
use crate::telemetry::metrics::{MetricKind, MetricsWriter};
use crate::telemetry::{process, query_log};

use MetricKind::{Counter, Gauge};

/// Everything in the Prometheus text format.
pub(super) fn page(handles: &Handles) -> String {
    let mut page = MetricsWriter::new();
    build_info(&mut page);
    process::write(&mut page, handles.started_s);
    let snapshot = handles.published.load();
    let by_index: HashMap<u32, String> = snapshot.zones().map(|z| (z.index, z.apex.to_string())).collect();
    handles.counters.totals().write(&mut page, |index| by_index.get(&index).cloned());
    let statuses = handles.zone_statuses();
    self::snapshot(&mut page, snapshot.generation(), &statuses);
    drop(snapshot);
    zones(&mut page, &statuses);
    keeper(&mut page, handles.keeper.figures(), handles.started_s);
    state(&mut page, handles.state.as_ref().map_or(0, |state| state.failed_writes()));
    aliases(&mut page, &handles.aliases.report(), now_s());
    overrides(&mut page, &handles.overrides_in_force());
    health(&mut page, &handles.health.figures(), handles.health.earliest_certificate_expiry_s());
    let targets = if handles.live.target_metrics() { handles.health.report() } else { Vec::new() };
    each_target(&mut page, &targets);
    query_log::write_metrics(&mut page, Some(handles.live.query_log()));
    handles.discovery.metrics(&mut page, &handles.published);
    notify::write_metrics(&mut page, Some(&handles.receivers));
    page.finish()
}

fn build_info(page: &mut MetricsWriter) {
    page.family("hale_build_info", Gauge, &["version"], "Always 1; the version is a label.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

fn snapshot(page: &mut MetricsWriter, generation: u64, zones: &[ZoneStatus]) {
    page.family("hale_snapshot_generation", Gauge, &[], "Number of the published snapshot.");
    page.sample(&[], generation);
    page.family("hale_snapshot_bytes", Gauge, &[], "Size of all zones in memory.");
    page.sample(&[], zones.iter().map(|zone| zone.octets).sum::<usize>());
    page.family("hale_snapshot_owners", Gauge, &[], "Owner names with records, of all zones.");
    page.sample(&[], zones.iter().map(|zone| zone.owners).sum::<usize>());
}

/// What `"metrics": { "targets": true }` asks for: as many series as there are targets.
fn each_target(page: &mut MetricsWriter, targets: &[TargetReport]) {
    const LABELS: &[&str] = &["target"];
    let listed: Vec<(String, &TargetReport)> = targets.iter().map(|t| (t.target.to_string(), t)).collect();
    page.family(
        "hale_target_up",
        Gauge,
        LABELS,
        "1 while the target's verdict is up, 0 while it is down; only if metrics.targets is set.",
    );
    for (target, report) in &listed {
        if report.verdict != Verdict::Unknown {
            page.sample(&[("target", target)], u8::from(report.verdict == Verdict::Up));
        }
    }
    page.family(
        "hale_target_changed_timestamp_seconds",
        Gauge,
        LABELS,
        "Unix time at which the target's verdict changed last; only if metrics.targets is set.",
    );
    for (target, report) in &listed {
        if let Some(at_ms) = report.changed_unix_ms {
            page.sample(&[("target", target)], at_ms as f64 / 1000.0);
        }
    }
    page.family(
        "hale_target_last_probe_seconds",
        Gauge,
        LABELS,
        "How long the target's latest probe took; only if metrics.targets is set.",
    );
    for (target, report) in &listed {
        if let Some(last) = &report.last {
            page.sample(&[("target", target)], last.duration_us as f64 / 1e6);
        }
    }
    page.family(
        "hale_target_last_probe_timestamp_seconds",
        Gauge,
        LABELS,
        "Unix time of the target's latest probe; only if metrics.targets is set.",
    );
    for (target, report) in &listed {
        if let Some(last) = &report.last {
            page.sample(&[("target", target)], last.at_unix_ms as f64 / 1000.0);
        }
    }
}

fn aliases(page: &mut MetricsWriter, hosts: &[AliasReport], now_s: u32) {
    page.family(
        "hale_alias_hosts",
        Gauge,
        &["state"],
        "Hosts of ALIAS records: resolved, stale (the last try failed, and what was known is served), or unknown.",
    );
    let state = |host: &AliasReport| match (host.addresses.is_unknown(), &host.problem) {
        (true, _) => "unknown",
        (false, Some(_)) => "stale",
        (false, None) => "resolved",
    };
    for label in ["resolved", "stale", "unknown"] {
        page.sample(&[("state", label)], hosts.iter().filter(|host| state(host) == label).count());
    }
    page.family(
        "hale_alias_confirmed_timestamp_seconds",
        Gauge,
        &[],
        "Unix time at which the addresses of a host of an ALIAS record were confirmed, of the one for which that is longest ago.",
    );
    if let Some(oldest) = hosts.iter().filter_map(|host| host.age_s).max() {
        page.sample(&[], u64::from(now_s).saturating_sub(oldest));
    }
}

fn zones(page: &mut MetricsWriter, zones: &[ZoneStatus]) {
    page.family(
        "hale_zones",
        Gauge,
        &["state"],
        "Zones by how they stand: served, served in an older version, or broken.",
    );
    let count = |broken: bool, trouble: bool| {
        zones
            .iter()
            .filter(|z| z.serial.is_none() == broken && (broken || z.trouble.is_some() == trouble))
            .count()
    };
    page.sample(&[("state", "serving")], count(false, false));
    page.sample(&[("state", "kept")], count(false, true));
    page.sample(&[("state", "broken")], count(true, false));
    // Bounded like the query counters: two hundred zones have series of their own.
    let listed: Vec<(String, &ZoneStatus)> =
        zones.iter().take(200).map(|z| (z.apex.to_string(), z)).collect();
    page.family("hale_zone_serial", Gauge, &["zone"], "Serial of the published SOA record.");
    for (apex, zone) in &listed {
        if let Some(serial) = zone.serial {
            page.sample(&[("zone", apex)], serial.0);
        }
    }
    page.family("hale_zone_owners", Gauge, &["zone"], "Owner names with records.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.owners);
    }
    page.family(
        "hale_zone_overridden_owners",
        Gauge,
        &["zone"],
        "Checked owner names that an override is about.",
    );
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.overridden_owners);
    }
    page.family("hale_zone_image_bytes", Gauge, &["zone"], "Size of the zone in memory.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.octets);
    }
    page.family("hale_zone_changed_timestamp_seconds", Gauge, &["zone"], "Unix time of the last commit.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.changed_s);
    }
    page.family(
        "hale_zone_signature_expiry_timestamp_seconds",
        Gauge,
        &["zone"],
        "Unix time at which the first signature expires.",
    );
    for (apex, zone) in &listed {
        if let Some(expiry) = zone.earliest_expiry_s {
            page.sample(&[("zone", apex)], expiry);
        }
    }
    cached_signatures(page, &listed);
}

fn cached_signatures(page: &mut MetricsWriter, zones: &[(String, &ZoneStatus)]) {
    page.family(
        "hale_zone_cached_signatures",
        Gauge,
        &["zone"],
        "RRsets that owners may come back to, kept with their signatures; at most 262144.",
    );
    for (apex, zone) in zones.iter().filter(|(_, zone)| zone.is_signed) {
        page.sample(&[("zone", apex)], zone.cached_signatures);
    }
    page.family(
        "hale_zone_evicted_signatures",
        Gauge,
        &["zone"],
        "Those that were dropped for others since the zone was read: what comes back is signed again.",
    );
    for (apex, zone) in zones.iter().filter(|(_, zone)| zone.is_signed) {
        page.sample(&[("zone", apex)], zone.evicted_signatures);
    }
}

fn overrides(page: &mut MetricsWriter, overrides: &Overrides) {
    page.family("hale_overrides", Gauge, &["word"], "Overrides in force, by what they say.");
    for word in [Word::Up, Word::Down, Word::Drain] {
        let count = overrides.list().iter().filter(|entry| entry.said.word == word).count();
        page.sample(&[("word", &word.to_string())], count);
    }
    page.family("hale_overrides_limit", Gauge, &[], "How many overrides there may be at once.");
    page.sample(&[], MAX_OVERRIDES);
}

fn state(page: &mut MetricsWriter, failed_writes: u64) {
    let help = "Files of the state directory that could not be written: the disk is full, or broken.";
    page.family("hale_state_write_failures_total", Counter, &[], help);
    page.sample(&[], failed_writes);
}

fn keeper(page: &mut MetricsWriter, figures: &KeeperFigures, started_s: u32) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut total = |name, help, value: &AtomicU64| {
        page.family(name, Counter, &[], help);
        page.sample(&[], load(value));
    };
    total("hale_transactions_total", "Transactions committed.", &figures.commits);
    total(
        "hale_transactions_failed_total",
        "Transactions that failed and changed nothing.",
        &figures.failures,
    );
    total("hale_owner_flips_total", "Owner names whose answer changed by a verdict.", &figures.flips);
    total("hale_owner_amendments_total", "Owner names whose answer changed by discovery.", &figures.amended);
    page.family(
        "hale_transaction_duration_seconds",
        MetricKind::Histogram,
        &["stage"],
        "How long transactions took, by stage; select holds the signing, too, where many owners share a target.",
    );
    for ((_, stage), durations) in Stage::ALL.into_iter().zip(&figures.stages) {
        let (buckets, above, sum_s) = durations.parts();
        page.histogram(&[("stage", stage)], &buckets, above, sum_s);
    }
    page.family(
        "hale_signatures_total",
        Counter,
        &["origin"],
        "RRsets that were given signatures: made, or reused from what was served, the cache or an earlier run.",
    );
    page.sample(&[("origin", "made")], load(&figures.signatures.made));
    page.sample(&[("origin", "reused")], load(&figures.signatures.reused));
    page.family("hale_reloads_total", Counter, &["outcome"], "Reloads by outcome.");
    page.sample(&[("outcome", "good")], load(&figures.reloads_good));
    page.sample(&[("outcome", "bad")], load(&figures.reloads_bad));
    page.family(
        "hale_last_reload_successful",
        Gauge,
        &[],
        "Whether the last reload, or the start, was without an error.",
    );
    page.sample(&[], u8::from(load(&figures.reloads_bad_since) == 0));
    page.family(
        "hale_last_reload_success_timestamp_seconds",
        Gauge,
        &[],
        "Unix time of the last reload without an error, or of the start.",
    );
    page.sample(&[], load(&figures.reload_good_s).max(started_s.into()));
}

fn health(page: &mut MetricsWriter, figures: &Figures, earliest_certificate_s: Option<i64>) {
    page.family("hale_targets", Gauge, &["verdict"], "Probed targets by verdict.");
    for (verdict, count) in ["unknown", "up", "down"].into_iter().zip(figures.targets) {
        page.sample(&[("verdict", verdict)], count);
    }
    page.family("hale_probes_total", Counter, &["kind", "outcome"], "Probes by kind and outcome.");
    for (kind, outcomes) in ProbeKind::ALL.into_iter().zip(figures.probes) {
        for (outcome, count) in OutcomeLabel::ALL.into_iter().zip(outcomes) {
            page.sample(&[("kind", kind.label()), ("outcome", outcome.label())], count);
        }
    }
    page.family(
        "hale_probe_duration_seconds",
        MetricKind::Histogram,
        &["kind"],
        "How long probes take, by kind.",
    );
    for (kind, histogram) in ProbeKind::ALL.into_iter().zip(&figures.duration) {
        write_histogram(page, &[("kind", kind.label())], histogram);
    }
    page.family(
        "hale_probe_lag_seconds",
        MetricKind::Histogram,
        &[],
        "How much later than planned probes start.",
    );
    write_histogram(page, &[], &figures.lag);
    page.family("hale_probe_lag_peak_seconds", Gauge, &[], "The largest such lag of the last minute or two.");
    page.sample(&[], figures.lag_peak.value_ms() as f64 / 1000.0);
    page.family("hale_probes_in_flight", Gauge, &[], "Probes under way.");
    page.sample(&[], figures.in_flight);
    page.family(
        "hale_probes_in_flight_limit",
        Gauge,
        &[],
        "How many probes may be under way (health.probes_in_flight).",
    );
    page.sample(&[], figures.in_flight_limit);
    page.family(
        "hale_probes_rate_limited_total",
        Counter,
        &[],
        "Probes put off by health.probes_per_second_per_address.",
    );
    page.sample(&[], figures.rate_limited);
    page.family(
        "hale_probe_targets_stretched",
        Gauge,
        &[],
        "Targets probed more rarely than their interval, since the checks of their address want more than \
         health.probes_per_second_per_address.",
    );
    page.sample(&[], figures.stretched_targets);
    page.family(
        "hale_probe_interval_longest_seconds",
        Gauge,
        &[],
        "The longest interval of any target, as it is planned within that limit.",
    );
    page.sample(&[], figures.longest_interval_ms as f64 / 1000.0);
    page.family("hale_target_flips_total", Counter, &["to"], "Changes of a target's verdict.");
    page.sample(&[("to", "up")], figures.rises);
    page.sample(&[("to", "down")], figures.falls);
    page.family(
        "hale_certificate_expiry_timestamp_seconds",
        Gauge,
        &[],
        "Unix time at which the first certificate that a target shows expires.",
    );
    if let Some(expiry) = earliest_certificate_s {
        page.sample(&[], expiry);
    }
    page.family("hale_targets_damped", Gauge, &[], "Targets that are held down for flipping too often.");
    page.sample(&[], figures.damped_targets);
    page.family(
        "hale_target_dampings_total",
        Counter,
        &[],
        "How often a target was held down for flipping too often.",
    );
    page.sample(&[], figures.dampings);
    page.family(
        "hale_targets_starting_slowly",
        Gauge,
        &[],
        "Recovered targets whose share of their weight still grows.",
    );
    page.sample(&[], figures.slow_targets);
    page.family("hale_health_brake_engaged", Gauge, &[], "1 while the brake holds verdicts.");
    page.sample(&[], u8::from(figures.brake_holding));
    page.family(
        "hale_health_brake_held_targets",
        Gauge,
        &[],
        "Targets published as up only because the brake holds them.",
    );
    page.sample(&[], figures.brake_held_targets);
    page.family("hale_health_brake_engagements_total", Counter, &[], "How often the brake took hold.");
    page.sample(&[], figures.brake_engaged_total);
}

fn write_histogram(page: &mut MetricsWriter, labels: &[(&str, &str)], histogram: &Histogram) {
    let buckets: Vec<(f64, u64)> = BUCKETS_S.into_iter().zip(histogram.buckets).collect();
    let above = histogram.count.saturating_sub(histogram.buckets.iter().sum());
    page.histogram(labels, &buckets, above, histogram.sum_s);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::health::figures::Figures;
    use crate::telemetry::counters::Counters;
    use crate::telemetry::metrics::Family;

    /// Everything that [`page`] writes, of a server without anything.
    fn families() -> Vec<Family> {
        let mut page = MetricsWriter::new();
        build_info(&mut page);
        process::write(&mut page, 0);
        Counters::new().totals().write(&mut page, |_| None);
        snapshot(&mut page, 0, &[]);
        zones(&mut page, &[]);
        keeper(&mut page, &KeeperFigures::default(), 0);
        state(&mut page, 0);
        aliases(&mut page, &[], 0);
        overrides(&mut page, &Overrides::default());
        health(&mut page, &Figures::default(), None);
        each_target(&mut page, &[]);
        query_log::write_metrics(&mut page, None);
        crate::app::discovery_metrics::write(&mut page, &[], 0);
        notify::write_metrics(&mut page, None);
        page.families().to_vec()
    }

    /// docs/metrics.md lists the families as they are written; tests/metrics.rs holds a real server's page to it. `HALE_BLESS=1` rewrites the list.
    #[test]
    fn the_docs_list_every_family() {
        const START: &str = "<!-- families: HALE_BLESS=1 cargo test --lib the_docs_list_every_family -->\n";
        const END: &str = "<!-- end of families -->";
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once(START).unwrap();
        let (listed, after) = rest.split_once(END).unwrap();
        let mut table = String::from("| metric | type | labels | what |\n|---|---|---|---|\n");
        for Family { name, kind, labels, help } in families() {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(table, "| `{name}` | {} | {} | {help} |", kind.word(), labels.join(", ")).unwrap();
        }
        if std::env::var_os("HALE_BLESS").is_some() {
            std::fs::write(&file, format!("{before}{START}{table}{END}{after}")).unwrap();
            return;
        }
        assert_eq!(listed, table, "HALE_BLESS=1 cargo test --lib the_docs_list_every_family");
    }

    #[test]
    fn no_family_is_opened_twice() {
        let mut names: Vec<&str> = families().iter().map(|family| family.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
