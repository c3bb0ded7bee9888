//! The metrics page, gathered from the parts.

use std::sync::atomic::Ordering;

use super::control::Handles;
use crate::health::figures::{BUCKETS_S, Figures, Histogram, OutcomeLabel};
use crate::health::probe::ProbeKind;
use crate::keeper::channel::{KeeperFigures, ZoneStatus};
use crate::model::overrides::{MAX_OVERRIDES, Overrides, Word};
use crate::resolver::AliasReport;
use crate::telemetry::metrics::{MetricKind, MetricsWriter};

use MetricKind::{Counter, Gauge};

/// Everything in the Prometheus text format.
pub(super) fn page(handles: &Handles) -> String {
    let mut page = MetricsWriter::new();
    page.family("hale_build_info", Gauge, "Always 1; the version is a label.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("hale_start_time_seconds", Gauge, "Unix time at which the process started.");
    page.sample(&[], handles.started_s);
    let snapshot = handles.published.load();
    page.family("hale_snapshot_generation", Gauge, "Number of the published snapshot.");
    page.sample(&[], snapshot.generation());
    let by_index: Vec<(u32, String)> = snapshot.zones().map(|z| (z.index, z.apex.to_string())).collect();
    let name = |index: u32| by_index.iter().find(|(i, _)| *i == index).map(|(_, apex)| apex.clone());
    handles.counters.totals().write(&mut page, name);
    zones(&mut page, &handles.zone_statuses());
    keeper(&mut page, handles.keeper.figures());
    aliases(&mut page, &handles.aliases.report());
    overrides(&mut page, &handles.overrides_in_force());
    health(&mut page, &handles.health.figures(), handles.health.earliest_certificate_expiry_s());
    handles.discovery.metrics(&mut page, &handles.published);
    page.finish()
}

fn aliases(page: &mut MetricsWriter, hosts: &[AliasReport]) {
    page.family(
        "hale_alias_hosts",
        Gauge,
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
    let oldest = hosts.iter().filter_map(|host| host.age_s).max();
    page.family(
        "hale_alias_age_seconds",
        Gauge,
        "Time since the addresses of a host were confirmed, of the oldest one.",
    );
    page.sample(&[], oldest.unwrap_or(0));
}

fn zones(page: &mut MetricsWriter, zones: &[ZoneStatus]) {
    page.family(
        "hale_zones",
        Gauge,
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
    page.family("hale_zone_serial", Gauge, "Serial of the published SOA record.");
    for (apex, zone) in &listed {
        if let Some(serial) = zone.serial {
            page.sample(&[("zone", apex)], serial.0);
        }
    }
    page.family("hale_zone_owners", Gauge, "Owner names with records.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.owners);
    }
    page.family("hale_zone_overridden_owners", Gauge, "Checked owner names that an override is about.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.overridden_owners);
    }
    page.family("hale_zone_image_bytes", Gauge, "Size of the zone in memory.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.octets);
    }
    page.family("hale_zone_changed_timestamp_seconds", Gauge, "Unix time of the last commit.");
    for (apex, zone) in &listed {
        page.sample(&[("zone", apex)], zone.changed_s);
    }
    page.family(
        "hale_zone_signature_expiry_timestamp_seconds",
        Gauge,
        "Unix time at which the first signature expires.",
    );
    for (apex, zone) in &listed {
        if let Some(expiry) = zone.earliest_expiry_s {
            page.sample(&[("zone", apex)], expiry);
        }
    }
}

fn overrides(page: &mut MetricsWriter, overrides: &Overrides) {
    page.family("hale_overrides", Gauge, "Overrides in force, by what they say.");
    for word in [Word::Up, Word::Down, Word::Drain] {
        let count = overrides.list().iter().filter(|entry| entry.said.word == word).count();
        page.sample(&[("word", &word.to_string())], count);
    }
    page.family("hale_overrides_limit", Gauge, "How many overrides there may be at once.");
    page.sample(&[], MAX_OVERRIDES);
}

fn keeper(page: &mut MetricsWriter, figures: &KeeperFigures) {
    let mut total = |name, help, value: &std::sync::atomic::AtomicU64| {
        page.family(name, Counter, help);
        page.sample(&[], value.load(Ordering::Relaxed));
    };
    total("hale_transactions_total", "Transactions committed.", &figures.commits);
    total(
        "hale_transactions_failed_total",
        "Transactions that failed and changed nothing.",
        &figures.failures,
    );
    total("hale_owner_flips_total", "Owner names whose answer changed by a verdict.", &figures.flips);
    total("hale_signatures_total", "RRsets signed.", &figures.signatures);
    page.family("hale_transaction_seconds_total", Counter, "Time spent in transactions.");
    page.sample(&[], figures.commit_ns.load(Ordering::Relaxed) as f64 / 1e9);
    page.family("hale_reloads_total", Counter, "Reloads by outcome.");
    page.sample(&[("outcome", "good")], figures.reloads_good.load(Ordering::Relaxed));
    page.sample(&[("outcome", "bad")], figures.reloads_bad.load(Ordering::Relaxed));
}

fn health(page: &mut MetricsWriter, figures: &Figures, earliest_certificate_s: Option<i64>) {
    page.family("hale_targets", Gauge, "Probed targets by verdict.");
    for (verdict, count) in ["unknown", "up", "down"].into_iter().zip(figures.targets) {
        page.sample(&[("verdict", verdict)], count);
    }
    page.family("hale_probes_total", Counter, "Probes by kind and outcome.");
    for (kind, outcomes) in ProbeKind::ALL.into_iter().zip(figures.probes) {
        for (outcome, count) in OutcomeLabel::ALL.into_iter().zip(outcomes) {
            page.sample(&[("kind", kind.label()), ("outcome", outcome.label())], count);
        }
    }
    page.family("hale_probe_duration_seconds", MetricKind::Histogram, "How long probes take, by kind.");
    for (kind, histogram) in ProbeKind::ALL.into_iter().zip(&figures.duration) {
        write_histogram(page, &[("kind", kind.label())], histogram);
    }
    page.family("hale_probe_lag_seconds", MetricKind::Histogram, "How much later than planned probes start.");
    write_histogram(page, &[], &figures.lag);
    page.family("hale_probe_lag_peak_seconds", Gauge, "The largest such lag of the last minute or two.");
    page.sample(&[], figures.lag_peak.value_ms() as f64 / 1000.0);
    page.family("hale_probes_in_flight", Gauge, "Probes under way.");
    page.sample(&[], figures.in_flight);
    page.family(
        "hale_probes_in_flight_limit",
        Gauge,
        "How many probes may be under way (health.probes_in_flight).",
    );
    page.sample(&[], figures.in_flight_limit);
    page.family(
        "hale_probes_rate_limited_total",
        Counter,
        "Probes put off by health.probes_per_second_per_address.",
    );
    page.sample(&[], figures.rate_limited);
    page.family(
        "hale_probe_targets_stretched",
        Gauge,
        "Targets probed more rarely than their interval, since the checks of their address want more than \
         health.probes_per_second_per_address.",
    );
    page.sample(&[], figures.stretched_targets);
    page.family(
        "hale_probe_interval_longest_seconds",
        Gauge,
        "The longest interval of any target, as it is planned within that limit.",
    );
    page.sample(&[], figures.longest_interval_ms as f64 / 1000.0);
    page.family("hale_target_flips_total", Counter, "Changes of a target's verdict.");
    page.sample(&[("to", "up")], figures.rises);
    page.sample(&[("to", "down")], figures.falls);
    if let Some(expiry) = earliest_certificate_s {
        page.family(
            "hale_certificate_expiry_timestamp_seconds",
            Gauge,
            "Unix time at which the first certificate that a target shows expires.",
        );
        page.sample(&[], expiry);
    }
    page.family("hale_targets_damped", Gauge, "Targets that are held down for flipping too often.");
    page.sample(&[], figures.damped_targets);
    page.family(
        "hale_target_dampings_total",
        Counter,
        "How often a target was held down for flipping too often.",
    );
    page.sample(&[], figures.dampings);
    page.family(
        "hale_targets_starting_slowly",
        Gauge,
        "Recovered targets whose share of their weight still grows.",
    );
    page.sample(&[], figures.slow_targets);
    page.family("hale_health_brake_engaged", Gauge, "1 while the brake holds verdicts.");
    page.sample(&[], u8::from(figures.brake_holding));
    page.family(
        "hale_health_brake_held_targets",
        Gauge,
        "Targets published as up only because the brake holds them.",
    );
    page.sample(&[], figures.brake_held_targets);
    page.family("hale_health_brake_engagements_total", Counter, "How often the brake took hold.");
    page.sample(&[], figures.brake_engaged_total);
}

fn write_histogram(page: &mut MetricsWriter, labels: &[(&str, &str)], histogram: &Histogram) {
    let buckets: Vec<(f64, u64)> = BUCKETS_S.into_iter().zip(histogram.buckets).collect();
    let above = histogram.count.saturating_sub(histogram.buckets.iter().sum());
    page.histogram(labels, &buckets, above, histogram.sum_s);
}
