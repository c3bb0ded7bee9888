//! What `hale top` shows, and what keys do to it. Pure.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use crate::model::report::{Status, TargetReport};
use crate::model::target::Verdict;

/// One look at the server.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// When its counters were read.
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) targets: Vec<TargetReport>,
}

/// What the list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Trouble first: down, unknown, held by brake or damping, overridden; then the latest change.
    #[default]
    Trouble,
    /// The latest change first.
    Latest,
    /// Most flips within the hour first.
    Flips,
    /// Slowest last probe first.
    Slowest,
    /// By what is probed.
    Name,
}

impl Sort {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Latest => "latest change",
            Self::Flips => "flips",
            Self::Slowest => "slowest",
            Self::Name => "name",
        }
    }

    /// In the order of the key that goes through them.
    const ALL: [Self; 5] = [Self::Trouble, Self::Latest, Self::Flips, Self::Slowest, Self::Name];

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|&sort| sort == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }

    fn next(self) -> Self {
        self.step(1)
    }

    fn previous(self) -> Self {
        self.step(Self::ALL.len() - 1)
    }

    fn apply(self, rows: &mut [&TargetReport]) {
        match self {
            Self::Trouble => rows.sort_by_key(|t| (trouble(t), Reverse(t.changed_at), t.id)),
            Self::Latest => rows.sort_by_key(|t| (Reverse(t.changed_at), t.id)),
            Self::Flips => rows.sort_by_key(|t| (Reverse(t.flips), t.id)),
            Self::Slowest => rows.sort_by_key(|t| (Reverse(t.took_us), t.id)),
            Self::Name => rows.sort_by(|a, b| a.target.cmp(&b.target)),
        }
    }
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    Quit,
}

/// How far back flips are counted.
const FLIPS_WITHIN: Duration = Duration::from_secs(60);

/// What counters have come to between looks at one process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Since the last look.
    pub(super) queries_per_second: f64,
    /// Within the last [`FLIPS_WITHIN`], or since the first look.
    pub(super) flips: u64,
    /// The time in which they were.
    pub(super) flips_within: Duration,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) sample: Option<Sample>,
    /// `None` until there have been two looks at the same process.
    pub(super) rates: Option<Rates>,
    /// When earlier looks were, and the flips counted then; oldest first.
    counted: VecDeque<(Instant, u64)>,
    /// Why the last look failed; what is shown is older.
    pub(super) lost: Option<String>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) is_filtering: bool,
    /// Whether the keys are explained in place of the list.
    pub(super) is_helping: bool,
    /// First row that is shown.
    pub(super) first: usize,
    /// Rows that fit, as of the last drawing.
    pub(super) page: usize,
}

impl Model {
    /// Takes a new look.
    pub(super) fn update(&mut self, sample: Sample) {
        self.rates = self.rates_until(&sample);
        if self.rates.is_none() {
            self.counted.clear();
        }
        self.counted.push_back((sample.at, sample.status.flips));
        self.sample = Some(sample);
        self.lost = None;
        self.keep_in_range();
    }

    /// What has been counted until this look, if the one before was at the same process.
    fn rates_until(&mut self, now: &Sample) -> Option<Rates> {
        let before = self.sample.as_ref().filter(|before| before.status.pid == now.status.pid)?;
        let seconds = now.at.checked_duration_since(before.at)?.as_secs_f64();
        let queries = now.status.queries.checked_sub(before.status.queries)?;
        let is_old = |at: &Instant| now.at.saturating_duration_since(*at) > FLIPS_WITHIN;
        // The last one that is too old would count what came since; the first one after it does not.
        while self.counted.front().is_some_and(|(at, _)| is_old(at)) {
            self.counted.pop_front();
        }
        let &(since, flips) = self.counted.front().unwrap_or(&(before.at, before.status.flips));
        Some(Rates {
            queries_per_second: if seconds > 0.0 { queries as f64 / seconds } else { return None },
            flips: now.status.flips.checked_sub(flips)?,
            flips_within: now.at.saturating_duration_since(since),
        })
    }

    /// Notes that a look has failed.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
        self.rates = None;
    }

    /// Takes how many rows fit on the screen, which may have another size than before.
    pub(super) fn show_rows(&mut self, page: usize) {
        self.page = page;
        self.keep_in_range();
    }

    /// Takes a key.
    pub(super) fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Flow {
        if modifiers.contains(KeyModifiers::CONTROL) {
            return if code == KeyCode::Char('c') { Flow::Quit } else { Flow::Go };
        }
        if self.is_filtering {
            match code {
                KeyCode::Enter => self.is_filtering = false,
                KeyCode::Esc => (self.is_filtering, self.filter) = (false, String::new()),
                KeyCode::Backspace => {
                    self.filter.pop();
                }
                KeyCode::Char(c) => self.filter.push(c),
                _ => {}
            }
            self.first = 0;
            return Flow::Go;
        }
        if std::mem::take(&mut self.is_helping) && code != KeyCode::Char('q') {
            return Flow::Go;
        }
        match code {
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.is_helping = true,
            KeyCode::Char('s') | KeyCode::Right => (self.sort, self.first) = (self.sort.next(), 0),
            KeyCode::Left => (self.sort, self.first) = (self.sort.previous(), 0),
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Esc => (self.filter, self.first) = (String::new(), 0),
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(self.page),
            KeyCode::PageDown => self.first += self.page,
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = usize::MAX,
            _ => {}
        }
        self.keep_in_range();
        Flow::Go
    }

    /// The targets that the filter leaves, sorted.
    pub(super) fn rows(&self) -> Vec<&TargetReport> {
        let targets = self.sample.iter().flat_map(|sample| &sample.targets);
        let wanted = self.filter.to_lowercase();
        let fits = |target: &&TargetReport| {
            let text = |text: &str| text.to_lowercase().contains(&wanted);
            wanted.is_empty()
                || text(&target.target)
                || text(&target.verdict.to_string())
                || target.problem.as_deref().is_some_and(text)
        };
        let mut rows: Vec<&TargetReport> = targets.filter(fits).collect();
        self.sort.apply(&mut rows);
        rows
    }

    /// The first of all targets in another order, whatever is filtered.
    pub(super) fn first_by(&self, sort: Sort, count: usize) -> Vec<&TargetReport> {
        let mut rows: Vec<&TargetReport> = self.sample.iter().flat_map(|sample| &sample.targets).collect();
        sort.apply(&mut rows);
        rows.truncate(count);
        rows
    }

    fn keep_in_range(&mut self) {
        self.first = self.first.min(self.rows().len().saturating_sub(self.page.max(1)));
    }
}

fn trouble(target: &TargetReport) -> u8 {
    let is_overruled = target.braked || target.held_until.is_some() || !target.overrides.is_empty();
    match target.verdict {
        Verdict::Down => 0,
        Verdict::Unknown => 1,
        Verdict::Up if is_overruled => 2,
        Verdict::Up if target.problem.is_some() || target.share < 100 => 3,
        Verdict::Up => 4,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::report::TargetCounts;

    pub(in crate::cli::top) fn target(id: u32, target: &str, verdict: Verdict) -> TargetReport {
        TargetReport {
            id,
            target: target.into(),
            verdict,
            probed_at: Some(995),
            problem: (verdict == Verdict::Down).then(|| "connection refused".into()),
            certificate_expires_at: None,
            took_us: Some(u64::from(id) * 700),
            interval_ms: Some(5000),
            changed_at: Some(1000 - u64::from(id) * 61),
            flips: u64::from(id % 3),
            braked: false,
            held_until: None,
            share: 100,
            overrides: Vec::new(),
        }
    }

    pub(in crate::cli::top) fn sample(queries: u64, seconds: u64) -> Sample {
        let mut targets = vec![
            target(1, "tcp 192.0.2.1:80", Verdict::Up),
            target(2, "http 192.0.2.2:80 www.example.test/healthz", Verdict::Down),
            target(3, "tcp 192.0.2.3:80", Verdict::Up),
            target(4, "tcp 192.0.2.4:443", Verdict::Unknown),
        ];
        targets[2].share = 40;
        targets[0].overrides = vec![7];
        let counts = TargetCounts { up: 2, down: 1, unknown: 1 };
        let status = Status {
            version: "0.1.0".into(),
            pid: 4711,
            started_at: 100,
            zones: 2,
            targets: counts,
            overrides: 1,
            queries,
            flips: queries / 1000,
            ..Status::default()
        };
        // A moment that is surely not before the process's own zero.
        let at = Instant::now() + Duration::from_secs(seconds);
        Sample { at, status, targets }
    }

    fn press(model: &mut Model, keys: &str) -> Flow {
        keys.chars().map(|c| model.key(KeyCode::Char(c), KeyModifiers::NONE)).last().unwrap()
    }

    fn ids(model: &Model) -> Vec<u32> {
        model.rows().iter().map(|target| target.id).collect()
    }

    #[test]
    fn sorts_and_filters() {
        let mut model = Model::default();
        model.update(sample(0, 0));
        assert_eq!(ids(&model), [2, 4, 1, 3], "down, unknown, overruled, starting slowly");
        press(&mut model, "s");
        assert_eq!((model.sort, ids(&model)), (Sort::Latest, vec![1, 2, 3, 4]));
        press(&mut model, "s");
        assert_eq!((model.sort, ids(&model)), (Sort::Flips, vec![2, 1, 4, 3]));
        press(&mut model, "s");
        assert_eq!((model.sort, ids(&model)), (Sort::Slowest, vec![4, 3, 2, 1]));
        press(&mut model, "s");
        assert_eq!((model.sort, ids(&model)), (Sort::Name, vec![2, 1, 3, 4]));
        assert_eq!(press(&mut model, "/Q"), Flow::Go, "a letter of the filter");
        assert_eq!(ids(&model).len(), 0);
        model.key(KeyCode::Backspace, KeyModifiers::NONE);
        press(&mut model, "REFUSED");
        assert_eq!((ids(&model), model.filter.as_str()), (vec![2], "REFUSED"));
        model.key(KeyCode::Enter, KeyModifiers::NONE);
        assert_eq!((ids(&model), press(&mut model, "s"), model.sort), (vec![2], Flow::Go, Sort::Trouble));
        model.key(KeyCode::Esc, KeyModifiers::NONE);
        assert_eq!(ids(&model).len(), 4);
        for (code, sort) in [(KeyCode::Left, Sort::Name), (KeyCode::Right, Sort::Trouble)] {
            model.key(code, KeyModifiers::NONE);
            assert_eq!(model.sort, sort);
        }
        assert_eq!(model.first_by(Sort::Slowest, 2).iter().map(|t| t.id).collect::<Vec<_>>(), [4, 3]);
        press(&mut model, "?");
        assert!(model.is_helping);
        press(&mut model, "s");
        assert_eq!((model.is_helping, model.sort), (false, Sort::Trouble), "any key ends the help");
        press(&mut model, "?");
        assert_eq!(press(&mut model, "q"), Flow::Quit);
        press(&mut model, "/");
        assert_eq!(model.key(KeyCode::Char('c'), KeyModifiers::CONTROL), Flow::Quit);
    }

    #[test]
    fn moves_within_the_list() {
        let mut model = Model { page: 2, ..Model::default() };
        model.update(sample(0, 0));
        let mut press = |code| {
            model.key(code, KeyModifiers::NONE);
            model.first
        };
        let keys =
            [KeyCode::Down, KeyCode::PageDown, KeyCode::Down, KeyCode::Up, KeyCode::Home, KeyCode::End];
        assert_eq!(keys.map(&mut press), [1, 2, 2, 1, 0, 2]);
        assert_eq!([KeyCode::PageUp, KeyCode::Up].map(&mut press), [0, 0]);
    }

    #[test]
    fn rates_are_of_one_process() {
        let mut model = Model::default();
        let first = sample(10_000, 0);
        let later = |queries, pid| {
            let mut sample = sample(queries, 0);
            sample.at = first.at + Duration::from_secs(2);
            sample.status.pid = pid;
            sample
        };
        model.update(first.clone());
        assert_eq!(model.rates, None);
        let two = Duration::from_secs(2);
        model.update(later(14_000, 4711));
        let rates = |flips, flips_within| Some(Rates { queries_per_second: 2000.0, flips, flips_within });
        assert_eq!(model.rates, rates(4, two));
        let mut third = later(18_000, 4711);
        third.at += two;
        model.update(third.clone());
        assert_eq!(model.rates, rates(8, 2 * two), "flips are counted for a minute");
        third.at += Duration::from_secs(61);
        third.status.queries += 122_000;
        third.status.flips += 3;
        model.update(third);
        assert_eq!(model.rates, rates(3, Duration::from_secs(61)), "or since the last look");
        model.update(first.clone());
        assert_eq!(model.rates, None, "time that goes backwards");
        model.update(later(14_000, 1));
        assert_eq!(model.rates, None, "a new process counts from zero");
        model.lost("gone".into());
        assert!(model.sample.is_some(), "what was seen last stays");
    }
}
