//! Log set-up: text for people or JSON lines for machines, to standard error.
//!
//! The wording that scripts may rest on: every bound socket is one line at level `info` whose message is `listening`, with the
//! fields `transport` (`udp`, `tcp`, `admin`, …) and `address` ([`listening`]).

use std::fmt::{self, Debug, Display, Write};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload;

/// The levels that `--log-level` takes, from terse to verbose.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Sets the process's logger: `level` is one of [`LEVELS`], `json` chooses lines for machines. Text is coloured on a terminal
/// only, and never with `NO_COLOR` set (no-color.org).
///
/// # Errors
/// A sentence for the user where the level is none of [`LEVELS`] or a logger was set before.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let (subscriber, change) = subscriber(level, json, colour, io::stderr)?;
    let twice = |_| "the log was set up twice".to_owned();
    tracing::subscriber::set_global_default(subscriber).map_err(twice)?;
    CHANGE.set(change).map_err(|_| "the log was set up twice".to_owned())
}

/// Changes level and form of the process's logger from the next line on.
///
/// # Errors
/// A sentence for the user where the level is none of [`LEVELS`] or no logger was set by [`init`].
pub fn change(level: &str, json: bool) -> Result<(), String> {
    CHANGE.get().ok_or("the log was not set up by this program")?(level, json)
}

/// Sets level and form of a logger.
type Change = Box<dyn Fn(&str, bool) -> Result<(), String> + Send + Sync>;

/// That of the process's logger.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// The logger behind [`init`], for any writer, and what changes it. Both forms are there all the time, and the filter of one lets nothing
/// pass: filters are what can be exchanged in a logger that is set.
fn subscriber<W>(
    level: &str,
    json: bool,
    colour: bool,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync, Change), String>
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let [for_text, for_lines] = filters(level, json)?;
    let (for_text, set_text) = reload::Layer::new(for_text);
    let (for_lines, set_lines) = reload::Layer::new(for_lines);
    let layer = tracing_subscriber::fmt::layer().compact().with_target(false).with_ansi(colour);
    let layer = layer.fmt_fields(debug_fn(write_field).delimited(" ")).with_writer(writer.clone());
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(for_text));
    // Without the module as "target": that is what a probe's field is called.
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false);
    let layer = layer.with_current_span(false).with_span_list(false).with_writer(writer);
    let subscriber = subscriber.with(layer.with_filter(for_lines));
    let change = move |level: &str, json| {
        let [text, lines] = filters(level, json)?;
        let gone = |error: reload::Error| error.to_string();
        set_text.reload(text).map_err(gone)?;
        set_lines.reload(lines).map_err(gone)
    };
    Ok((subscriber, Box::new(change)))
}

/// What passes as text, and what as JSON.
fn filters(level: &str, json: bool) -> Result<[Targets; 2], String> {
    let (passes, nothing) = (filter(level)?, Targets::new());
    Ok(if json { [nothing, passes] } else { [passes, nothing] })
}

/// Writes the message, or `name=value`.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(Harmless(writer), "{value:?}");
    }
    match writer.has_ansi_escapes() {
        true => write!(writer, "\x1b[2m{field}=\x1b[0m")?,
        false => write!(writer, "{field}=")?,
    }
    write!(Harmless(writer), "{value:?}")
}

/// Escapes control characters, so that a value cannot drive the terminal, and indents what follows a line break: a hint below a
/// message stays readable, while a line break within a value cannot pass for an event of its own.
struct Harmless<W>(W);

impl<W: Write> Write for Harmless<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\n' => self.0.write_str("\n    ")?,
                c if c.is_control() => write!(self.0, "{}", c.escape_default())?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// `level` for this program; libraries speak up only when something is wrong, or when every detail was asked for.
fn filter(level: &str) -> Result<Targets, String> {
    let own = match level.parse::<Level>() {
        Ok(own) if LEVELS.contains(&level) => LevelFilter::from_level(own),
        _ => return Err(format!("{level:?} is not a log level; it is one of {}", LEVELS.join(", "))),
    };
    let others = if own == LevelFilter::TRACE { LevelFilter::DEBUG } else { own.min(LevelFilter::WARN) };
    // Each failed request of a cluster is an error to kube's client, without a word about which: the source's own line says that, once.
    let cluster = if own == LevelFilter::TRACE { others } else { LevelFilter::OFF };
    Ok(Targets::new().with_target("hale", own).with_target("kube_client", cluster).with_default(others))
}

/// Says that a socket is bound. `transport` is `udp`, `tcp`, `admin`, `metrics`, `probes`; `address` an address with its port, or
/// the path of a unix socket.
pub fn listening(transport: &str, address: impl Display) {
    tracing::info!(%transport, %address, "listening");
}

/// Lets at most one line a `period_s` through, so that a remote peer cannot fill the log. It is `const`, for a `static` beside
/// the place that logs.
#[derive(Debug)]
pub struct Throttle {
    period_s: u64,
    /// When the next line may pass, in the caller's seconds.
    next_s: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    /// At most one line in `period_s` seconds.
    pub const fn new(period_s: u64) -> Self {
        Self { period_s, next_s: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether to log now: `Some(n)` is yes, with `n` lines left out since the last one. `now_s` is any clock in seconds that
    /// does not run backwards; where it does, the throttle opens again after at most one period of the new time.
    pub fn pass(&self, now_s: u64) -> Option<u64> {
        let next_s = self.next_s.load(Ordering::Relaxed);
        let closed = now_s < next_s && next_s - now_s <= self.period_s;
        let won = !closed
            && self
                .next_s
                .compare_exchange(
                    next_s,
                    now_s.saturating_add(self.period_s),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if won {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes.
    fn capture(level: &str, json: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let (subscriber, _) = subscriber(level, json, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn level_and_form_change_under_way() {
        let sink = Sink::default();
        let writer = sink.clone();
        let (subscriber, change) = subscriber("info", false, false, move || writer.clone()).unwrap();
        let mut written = Vec::new();
        tracing::subscriber::with_default(subscriber, || {
            let said = |text: &str| {
                tracing::debug!("debug {text}");
                tracing::warn!(zone = %"a.test.", "warn {text}");
                String::from_utf8(std::mem::take(&mut *sink.0.lock().unwrap())).unwrap()
            };
            written.push(said("1"));
            for (level, json) in [("debug", false), ("debug", true), ("error", true), ("warn", false)] {
                change(level, json).unwrap();
                written.push(said(level));
            }
            assert!(change("loud", true).unwrap_err().contains("not a log level"));
            written.push(said("last"));
        });
        assert_eq!(written.iter().map(|text| text.lines().count()).collect::<Vec<_>>(), [1, 2, 2, 0, 1, 1]);
        let is_json = |text: &String| text.starts_with('{');
        assert_eq!(
            written.iter().map(is_json).collect::<Vec<_>>(),
            [false, false, true, false, false, false]
        );
        assert!(written[0].ends_with("WARN warn 1 zone=a.test.\n"), "{written:?}");
    }

    #[test]
    fn a_bound_socket_is_one_line_with_its_fields() {
        let text = capture("info", false, || listening("udp", "127.0.0.1:53"));
        assert!(text.ends_with("INFO listening transport=udp address=127.0.0.1:53\n"), "{text:?}");
        let json = capture("info", true, || listening("udp", "127.0.0.1:53"));
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["transport"], &line["address"]),
            (&"INFO".into(), &"listening".into(), &"udp".into(), &"127.0.0.1:53".into())
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        let json = capture("info", true, || tracing::info!(target = "tcp 192.0.2.1:80", "verdict changed"));
        assert_eq!(json.matches("\"target\"").count(), 1, "{json}");
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_drive_the_terminal() {
        let hostile = "a\nERROR b\u{1b}[31m";
        let text = capture("info", false, || {
            tracing::info!(name = hostile, "query");
            tracing::info!(name = %hostile, "query");
            tracing::info!("query {hostile}");
        });
        assert_eq!(text.lines().filter(|line| !line.starts_with("    ")).count(), 3, "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn levels() {
        let lines = |level: &str| {
            capture(level, false, || {
                tracing::error!("e");
                tracing::warn!("w");
                tracing::info!("i");
                tracing::debug!("d");
                tracing::trace!("t");
                tracing::info!(target: "hyper", "of a library");
            })
            .lines()
            .count()
        };
        assert_eq!(LEVELS.map(lines), [1, 2, 3, 4, 6]);
        for bad in ["", "INFO", "verbose", "3", "off"] {
            assert!(filter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn throttle_counts_what_it_holds_back() {
        let throttle = Throttle::new(10);
        let passes = [100, 100, 109, 110, 111, 130, 5, 6, 15];
        let want = [Some(0), None, None, Some(2), None, Some(1), Some(0), None, Some(1)];
        assert_eq!(passes.map(|now_s| throttle.pass(now_s)), want);
    }
}
