//! The metrics of sources. Their labels are names of configuration, fixed words, zones, and namespaces, of which the first hundred count one by one.

use crate::discovery::views::SourceFigures;
use crate::telemetry::metrics::{MetricKind, MetricsWriter};

use MetricKind::{Counter, Gauge, Histogram};

/// Namespaces of one source that have series of their own; the others are added up.
const NAMESPACES: usize = 100;

/// Writes them; `now_s` is Unix time.
pub(super) fn write(page: &mut MetricsWriter, sources: &[SourceFigures<'_>], now_s: u32) {
    states(page, sources, now_s);
    page.family(
        "hale_source_records",
        Gauge,
        &["source", "zone", "status"],
        "Names that stand, by zone and by what became of them.",
    );
    for source in sources {
        for ((zone, status), count) in &source.names {
            page.sample(&[("source", source.name), ("zone", zone), ("status", status)], count);
        }
    }
    page.family(
        "hale_source_objects",
        Gauge,
        &["source", "resource", "namespace"],
        "Objects that were found, by kind and namespace.",
    );
    for source in sources {
        let (mut listed, mut rest) = (0, 0);
        for ((kind, namespace), count) in &source.objects {
            listed += 1;
            if listed > NAMESPACES {
                rest += count;
                continue;
            }
            page.sample(&[("source", source.name), ("resource", kind), ("namespace", namespace)], count);
        }
        if rest > 0 {
            page.sample(&[("source", source.name), ("resource", "other"), ("namespace", "other")], rest);
        }
    }
    page.family(
        "hale_source_problems",
        Gauge,
        &["source", "kind"],
        "Things that are wrong with objects, by kind.",
    );
    for source in sources {
        for (kind, count) in &source.problems {
            page.sample(&[("source", source.name), ("kind", kind)], count);
        }
    }
    calls(page, sources);
    page.family("hale_source_sync_seconds", Histogram, &["source"], "How long a complete round took.");
    for source in sources {
        let (buckets, above, sum) = source.figures.syncs.parts();
        page.histogram(&[("source", source.name)], &buckets, above, sum);
    }
    page.family(
        "hale_source_list_seconds",
        Histogram,
        &["source", "resource"],
        "How long a complete list of a kind of object took, to its last page.",
    );
    for source in sources {
        for (resource, lists) in &source.figures.lists {
            let (buckets, above, sum) = lists.parts();
            page.histogram(&[("source", source.name), ("resource", resource.label())], &buckets, above, sum);
        }
    }
    page.family(
        "hale_source_failures_total",
        Counter,
        &["source", "resource", "kind"],
        "Lists and watches that failed, by kind of object.",
    );
    for source in sources {
        for ((resource, kind), count) in &source.figures.failures {
            let resource = resource.map_or("all", |resource| resource.label());
            let labels = [("source", source.name), ("resource", resource), ("kind", kind.label())];
            page.sample(&labels, count);
        }
    }
}

fn states(page: &mut MetricsWriter, sources: &[SourceFigures<'_>], now_s: u32) {
    page.family(
        "hale_source_failing",
        Gauge,
        &["source"],
        "Whether the last thing heard of the source was a failure.",
    );
    for source in sources {
        page.sample(&[("source", source.name)], u8::from(source.failing));
    }
    page.family(
        "hale_source_breaker_open",
        Gauge,
        &["source"],
        "Whether the source is only tried now and then.",
    );
    for source in sources {
        page.sample(&[("source", source.name)], u8::from(source.open));
    }
    page.family("hale_source_paused", Gauge, &["source"], "Whether the source was told to pause.");
    for source in sources {
        page.sample(&[("source", source.name)], u8::from(source.paused));
    }
    page.family(
        "hale_source_synced_timestamp_seconds",
        Gauge,
        &["source"],
        "Unix time at which all of the source was last known.",
    );
    for source in sources {
        if let Some(age) = source.age_s {
            page.sample(&[("source", source.name)], u64::from(now_s).saturating_sub(age));
        }
    }
    page.family(
        "hale_source_brake_held_names",
        Gauge,
        &["source"],
        "Names whose removal the delete brake holds.",
    );
    for source in sources {
        page.sample(&[("source", source.name)], source.held);
    }
}

fn calls(page: &mut MetricsWriter, sources: &[SourceFigures<'_>]) {
    page.family(
        "hale_source_request_seconds",
        Histogram,
        &["source", "endpoint", "method", "status"],
        "API requests; status 0 is no response.",
    );
    for source in sources {
        for ((endpoint, method, status), durations) in &source.figures.calls {
            let status = status.to_string();
            let labels =
                [("source", source.name), ("endpoint", *endpoint), ("method", *method), ("status", &status)];
            let (buckets, above, sum) = durations.parts();
            page.histogram(&labels, &buckets, above, sum);
        }
    }
}
