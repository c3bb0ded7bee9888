//! What pages are put together from: states that are told by shape and word as well as by colour, times, sparklines, pagers, forms.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use maud::{Markup, html};

use super::guard::Visitor;
use super::trouble::Trouble;
use crate::model::clock::utc;
use crate::model::insight::{ATTEMPTS, Attempt};
use crate::model::name::Name;
use crate::model::report::{OverrideReport, ZoneState};
use crate::model::target::Verdict;

/// Rows of a list on one page.
pub(super) const ROWS: usize = 50;

/// How something is: what colour and shape stand for it. The word is said beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Somebody may want to look.
    Warn,
    /// Somebody has to look.
    Bad,
    /// Not known, or neither.
    Quiet,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }

    /// A disc, a triangle, a cross or a ring.
    fn shape(self) -> Markup {
        html! {
            svg.shape viewBox="0 0 12 12" aria-hidden="true" {
                @match self {
                    Self::Good => circle cx="6" cy="6" r="4.5" fill="currentColor" {},
                    Self::Warn => path d="M6 1 11.5 11H.5Z" fill="currentColor" {},
                    Self::Bad => path d="M2 2l8 8M10 2l-8 8" stroke="currentColor" stroke-width="2.6" stroke-linecap="round" {},
                    Self::Quiet => circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.6" {},
                }
            }
        }
    }
}

/// A state: shape, colour and word.
pub(super) fn state(tone: Tone, word: &str) -> Markup {
    html! { span.state.(tone.class()) { (tone.shape()) (word) } }
}

/// A target's verdict.
pub(super) fn verdict(verdict: Verdict) -> Markup {
    match verdict {
        Verdict::Up => state(Tone::Good, "up"),
        Verdict::Down => state(Tone::Bad, "down"),
        Verdict::Unknown => state(Tone::Quiet, "unknown"),
    }
}

/// How a zone is served.
pub(super) fn zone_state(of: ZoneState) -> Markup {
    match of {
        ZoneState::Serving => state(Tone::Good, "serving"),
        ZoneState::Kept => state(Tone::Warn, "kept"),
        ZoneState::Broken => state(Tone::Bad, "broken"),
    }
}

/// The state of a source, a word of its report.
pub(super) fn source_state(word: &str) -> Markup {
    let tone = match word {
        "ok" => Tone::Good,
        "failing" => Tone::Bad,
        "held" => Tone::Warn,
        _ => Tone::Quiet,
    };
    state(tone, word)
}

/// What an override says, and where it is found.
pub(super) fn override_mark(said: &OverrideReport) -> Markup {
    html! { a.tag href="/ui/overrides" title=(said.reason) { "override " (said.id) ": " (said.word) } }
}

/// Unix seconds.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// `3m 20s ago`, or `in 3m 20s` for what is to come; the exact time in UTC beside it for those who point at it.
pub(super) fn when(at_s: u64, now_s: u64) -> Markup {
    let text = match at_s.checked_sub(now_s) {
        None => format!("{} ago", duration(now_s - at_s)),
        Some(0) => "now".to_owned(),
        Some(ahead) => format!("in {}", duration(ahead)),
    };
    let exact = utc(at_s);
    html! { time datetime=(exact) title=(exact) { (text) } }
}

/// The same for what may not have been.
pub(super) fn when_or(at_s: Option<u64>, now_s: u64, otherwise: &str) -> Markup {
    at_s.map_or_else(|| html! { span.muted { (otherwise) } }, |at_s| when(at_s, now_s))
}

/// The two largest units of a time in seconds.
pub(super) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|&(size, _)| seconds >= size).unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    let rest = units.get(first + 1).map(|&(next, unit)| ((seconds % size) / next, unit));
    match rest {
        Some((more, next)) if more > 0 => format!("{}{unit} {more}{next}", seconds / size),
        _ => format!("{}{unit}", seconds / size),
    }
}

/// `0.84 ms`, `12 ms`, `1.50 s`.
pub(super) fn took(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// `12 345`: groups of three, by a thin space that does not break.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 zone`, `2 zones`.
pub(super) fn plural(n: u64, word: &str) -> String {
    format!("{} {word}{}", number(n), if n == 1 { "" } else { "s" })
}

/// A name as it is shown: without its trailing dot, but for the root.
pub(super) fn shown(name: &str) -> &str {
    match name.strip_suffix('.') {
        // An escaped dot is no end of a name.
        Some(rest) if !rest.is_empty() && !rest.ends_with('\\') => rest,
        _ => name,
    }
}

/// A query string of these pairs; empty values are left out.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<&(&str, &str)> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    // Writing text pairs cannot fail.
    serde_urlencoded::to_string(pairs).unwrap_or_default()
}

/// Where a name is explained.
pub(super) fn name_link(name: &str) -> Markup {
    html! { a.mono href={ "/ui/name?" (query(&[("name", name)])) } { (shown(name)) } }
}

const BAR: usize = 3;
const HEIGHT: usize = 24;

/// The last probes of a target, oldest on the left: a success as high as it took long (by its logarithm, and never above two thirds), a
/// failure as high as the picture, what says nothing as a dot.
pub(super) fn sparkline(attempts: &[Attempt]) -> Markup {
    let slowest = attempts.iter().filter_map(|a| a.took_us()).max().unwrap_or(1).max(1);
    let level = |us: u64| ((us as f64).ln_1p() / (slowest as f64).ln_1p() * (HEIGHT as f64 * 0.66)).max(2.0);
    let good = attempts.iter().filter(|a| a.took_us().is_some()).count();
    let bad = attempts.iter().filter(|a| matches!(a, Attempt::Bad)).count();
    let label = match attempts.len() {
        0 => "no probes yet".to_owned(),
        n => format!(
            "last {}: {good} answered, {bad} failed, slowest {}",
            plural(n as u64, "probe"),
            took(slowest)
        ),
    };
    let width = ATTEMPTS * BAR;
    let start = width - attempts.len() * BAR;
    html! {
        svg.spark viewBox={ "0 0 " (width) " " (HEIGHT) } role="img" aria-label=(label) {
            title { (label) }
            @for (i, attempt) in attempts.iter().enumerate() {
                @let x = start + i * BAR;
                @match attempt {
                    Attempt::Good { took_us } => {
                        @let high = level(*took_us);
                        rect.good x=(x) y=(format!("{:.1}", HEIGHT as f64 - high)) width="2" height=(format!("{high:.1}")) {}
                    },
                    Attempt::Bad => rect.bad x=(x) y="0" width="2" height=(HEIGHT) {},
                    Attempt::Unsaid => rect.quiet x=(x) y=(HEIGHT - 2) width="2" height="2" {},
                }
            }
        }
    }
}

/// What every form carries.
pub(super) fn csrf(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// A button that changes something, after a question. Without scripts it asks nothing.
pub(super) fn ask(
    visitor: &Visitor,
    action: &str,
    fields: &[(&str, &str)],
    label: &str,
    question: &str,
) -> Markup {
    html! {
        form.inline method="post" action=(action) data-confirm=(question) data-do=(label) {
            (csrf(visitor))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button.small disabled[!visitor.may_change()] { (label) }
        }
    }
}

/// Says why buttons are grey.
pub(super) fn read_only(visitor: &Visitor) -> Markup {
    html! {
        @if !visitor.may_change() {
            p.hint {
                "You can look at everything. "
                @if visitor.can_log_in { a href="/ui/login" { "Log in" } " to change something." }
                @else { "Changes need " code { "admin.token" } " to be set, or the command line." }
            }
        }
    }
}

/// What an empty list says.
pub(super) fn nothing(text: &str) -> Markup {
    html! { p.empty { (text) } }
}

/// Links to other pages of a list. `link` is the address of the page with a number, which counts from 1.
pub(super) fn pager(page: usize, total: usize, link: impl Fn(usize) -> String) -> Markup {
    let pages = total.div_ceil(ROWS).max(1);
    let first = (page - 1) * ROWS + 1;
    html! {
        nav.pager aria-label="Pages of this list" {
            span.muted {
                @if total > 0 { (number(first as u64)) "–" (number((page * ROWS).min(total) as u64)) " of " (number(total as u64)) }
            }
            @if pages > 1 {
                @if page > 1 { a.button.small href=(link(page - 1)) rel="prev" { "Previous" } }
                @if page < pages { a.button.small href=(link(page + 1)) rel="next" { "Next" } }
            }
        }
    }
}

/// A part of a page that is fetched again from `address` when something has happened, and now and then.
pub(super) fn live(address: &str, body: &Markup) -> Markup {
    html! {
        div #live hx-get=(address) hx-select="#live" hx-swap="outerHTML" hx-trigger="news from:body throttle:2s, every 15s" { (body) }
    }
}

/// A field that narrows the list below it, with `more` beside it.
pub(super) fn filter(action: &str, label: &str, value: &str, more: &Markup) -> Markup {
    html! {
        form.filter action=(action) hx-get=(action) hx-select="#live" hx-target="#live" hx-swap="outerHTML"
            hx-replace-url="true" hx-trigger="input delay:250ms, change, submit" role="search" {
            label.hidden for="filter" { (label) }
            input #filter type="search" name="q" value=(value) placeholder=(label) autocomplete="off" spellcheck="false";
            (more)
            noscript { button { "Filter" } }
        }
    }
}

/// A name of a query.
pub(super) fn read_name(text: &str) -> Result<Name, Trouble> {
    Name::parse_absolute(text.trim()).map_err(|error| {
        Trouble::new(StatusCode::BAD_REQUEST, format!("{text:?} is not a domain name: {error}"))
    })
}

/// The page asked for, within what there is.
pub(super) fn page_of(wanted: Option<usize>, total: usize) -> usize {
    wanted.unwrap_or(1).clamp(1, total.div_ceil(ROWS).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (at_s, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_199_999, "2026-11-20T18:39:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(at_s), want);
        }
        for (seconds, want) in [(0, "0s"), (60, "1m"), (200, "3m 20s"), (3_605, "1h"), (694_800, "8d 1h")] {
            assert_eq!(duration(seconds), want);
        }
        assert!(when(5, 10).into_string().contains(">5s ago<"));
        assert!(when(70, 10).into_string().contains(">in 1m<"));
    }

    #[test]
    fn figures() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(number).join(" "),
            "0 999 1\u{202f}000 1\u{202f}234\u{202f}567"
        );
        assert_eq!([840, 12_300, 1_500_000].map(took).join(", "), "0.84 ms, 12 ms, 1.50 s");
        assert_eq!(["a.test.", ".", "a\\.", "a"].map(shown), ["a.test", ".", "a\\.", "a"]);
        assert_eq!(query(&[("name", "*.a&b"), ("q", ""), ("type", "A")]), "name=*.a%26b&type=A");
        assert_eq!([(None, 0), (Some(0), 10), (Some(9), 51)].map(|(p, n)| page_of(p, n)), [1, 1, 2]);
    }

    #[test]
    fn sparklines() {
        let attempts = [Attempt::Good { took_us: 900 }, Attempt::Bad, Attempt::Unsaid];
        let svg = sparkline(&attempts).into_string();
        assert!(svg.contains("last 3 probes: 1 answered, 1 failed, slowest 0.90 ms"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(!svg.contains("style"), "the policy forbids it");
        assert!(sparkline(&[]).into_string().contains("no probes yet"));
    }
}
