//! The Prometheus text format (version 0.0.4), as much of it as the server needs.

use std::fmt::{self, Display, Write};

/// Content type of what [`MetricsWriter`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Kind of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Cumulative buckets, written by [`MetricsWriter::histogram`].
    Histogram,
}

impl MetricKind {
    /// The word of the text format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Writes metric families one after the other.
///
/// ```
/// use hale::telemetry::metrics::{MetricKind, MetricsWriter};
/// let mut page = MetricsWriter::new();
/// page.family("hale_zones", MetricKind::Gauge, &["state"], "Zones being served.");
/// page.sample(&[("state", "served")], 3);
/// assert!(page.finish().ends_with("hale_zones{state=\"served\"} 3\n"));
/// ```
#[derive(Debug, Default)]
pub struct MetricsWriter {
    text: String,
    families: Vec<Family>,
}

/// A metric family, as docs and the page describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// The labels of each of its samples, without a histogram's `le`.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl MetricsWriter {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a family: every sample up to the next call belongs to it and has these labels, in this order. A counter's `name` ends in
    /// `_total`, others' in their base unit (`_seconds`, `_bytes`). A family is opened also where it has no sample: then the page tells what
    /// there may be, and docs/metrics.md can be held to it.
    pub fn family(
        &mut self,
        name: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        debug_assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
        self.families.push(Family { name, kind, labels, help });
        self.put(format_args!(
            "# HELP {name} {}\n# TYPE {name} {}\n",
            Escaped { text: help, quotes: false },
            kind.word()
        ));
    }

    /// Every family opened so far.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// One sample of the open family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A histogram of the open family: `buckets` are (upper bound, observations in this bucket alone), in rising order
    /// and without `+Inf`; `above` counts observations beyond the last bound, and `sum` adds up all observed values.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        above: u64,
        sum: impl Display,
    ) {
        let mut count = 0;
        for &(bound, observed) in buckets {
            count += observed;
            self.line("_bucket", labels, Some(&bound.to_string()), count);
        }
        count += above;
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        // A sample of no family is nothing that a test would let pass.
        let Some(family) = self.families.last() else { return };
        let name = family.name;
        debug_assert!(labels.iter().map(|(label, _)| label).eq(family.labels), "{name}: {labels:?}");
        self.put(format_args!("{name}{suffix}"));
        let mut separator = '{';
        for (label, text) in labels.iter().copied().chain(bound.map(|b| ("le", b))) {
            self.put(format_args!("{separator}{label}=\"{}\"", Escaped { text, quotes: true }));
            separator = ',';
        }
        let end = if separator == ',' { "}" } else { "" };
        self.put(format_args!("{end} {value}\n"));
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // A String takes everything: fmt::Write for it never fails.
        let _ = self.text.write_fmt(text);
    }
}

/// Label values escape backslash, line feed and quotes; help texts the first two.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut MetricsWriter), expected: &str) {
        let mut page = MetricsWriter::new();
        write(&mut page);
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn samples_with_and_without_labels() {
        check(
            |page| {
                page.family("hale_a_total", MetricKind::Counter, &["x", "y"], "A.");
                page.sample(&[("x", "0"), ("y", "")], 7);
                page.sample(&[("x", "1"), ("y", "2")], 0.5);
            },
            "# HELP hale_a_total A.\n# TYPE hale_a_total counter\nhale_a_total{x=\"0\",y=\"\"} 7\nhale_a_total{x=\"1\",y=\"2\"} 0.5\n",
        );
    }

    #[test]
    fn hostile_labels_stay_in_their_quotes() {
        check(
            |page| {
                page.family("hale_b", MetricKind::Gauge, &["zone"], "a\\b\n\"c\"");
                page.sample(&[("zone", "a\"} 1\nhale_c 2\\")], 1);
            },
            "# HELP hale_b a\\\\b\\n\"c\"\n# TYPE hale_b gauge\nhale_b{zone=\"a\\\"} 1\\nhale_c 2\\\\\"} 1\n",
        );
    }

    #[test]
    fn histogram_buckets_are_cumulative() {
        check(
            |page| {
                page.family("hale_d", MetricKind::Histogram, &["t"], "D.");
                page.histogram(&[("t", "udp")], &[(1.0, 2), (2.5, 3)], 4, 30);
            },
            "# HELP hale_d D.\n# TYPE hale_d histogram\n\
             hale_d_bucket{t=\"udp\",le=\"1\"} 2\nhale_d_bucket{t=\"udp\",le=\"2.5\"} 5\n\
             hale_d_bucket{t=\"udp\",le=\"+Inf\"} 9\nhale_d_sum{t=\"udp\"} 30\nhale_d_count{t=\"udp\"} 9\n",
        );
    }
}
