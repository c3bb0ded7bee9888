//! How `hale top` looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Table};

use super::model::{Model, Sample, Sort};
use crate::cli::terminal::{duration, plural};
use crate::model::report::TargetReport;
use crate::model::target::Verdict;

const HEADINGS: [&str; 6] = ["VERDICT", "TARGET", "FLIPS", "SINCE", "TOOK", "NOTE"];
/// The columns with figures, whose headings stand at the right as well.
const FIGURES: std::ops::Range<usize> = 2..5;
const WIDTHS: [Constraint; 6] = [
    Constraint::Length(7),
    Constraint::Fill(3),
    Constraint::Length(5),
    Constraint::Length(8),
    Constraint::Length(9),
    Constraint::Fill(2),
];
/// A screen of at least this size shows the latest changes and the slowest probes below the list, whatever that is sorted by.
const ROOM_FOR_MORE: (u16, u16) = (100, 30);
/// Rows of each of these, with the heading.
const MORE_HEIGHT: u16 = 8;

const HELP: &str = "\
q, Ctrl-C      quit
s, right       next order: trouble, latest change, flips, slowest, name
left           the order before
/              filter by target, verdict or note; Enter keeps, Esc clears it
up, down       move; so do j, k, PgUp, PgDn, Home and End
?              this page; any key leaves it

VERDICT is what health says now. FLIPS are its changes in the last hour,
SINCE is the time since the last one, TOOK is how long the last probe took.
NOTE: overrides by their number (`hale override list`), what the brake or
damping holds, slow start, and what the last probe met.";

/// Draws everything; notes in the model how many rows fit.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, now_s: u64, colours: bool) {
    let area = frame.area();
    let more = if area.width >= ROOM_FOR_MORE.0 && area.height >= ROOM_FOR_MORE.1 { MORE_HEIGHT } else { 0 };
    let heights =
        [Constraint::Length(2), Constraint::Min(1), Constraint::Length(more), Constraint::Length(1)];
    let [head, list, below, foot] = Layout::vertical(heights).areas(area);
    model.show_rows(usize::from(list.height.saturating_sub(1)));
    let Some(sample) = &model.sample else { return };
    draw_head(frame, head, model, sample, now_s);
    draw_list(frame, list, model, now_s);
    if more > 0 {
        draw_more(frame, below, model, now_s);
    }
    if model.is_helping {
        let page = Rect { height: list.height + below.height, ..list };
        frame.render_widget(Clear, page);
        frame.render_widget(Paragraph::new(HELP), page);
    }
    draw_foot(frame, foot, model);
    if !colours {
        for cell in &mut frame.buffer_mut().content {
            (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
        }
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model, sample: &Sample, now_s: u64) {
    let status = &sample.status;
    let rates = match model.rates {
        Some(rates) => {
            let within = duration(rates.flips_within.as_secs());
            let flips = plural(rates.flips, "flip");
            format!("{:.0} queries/s, {flips} in {within}", rates.queries_per_second)
        }
        None => "- queries/s, - flips".to_owned(),
    };
    let age = duration(now_s.saturating_sub(status.started_at));
    let first = Line::from(vec![
        Span::styled(format!("hale {}", status.version), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!(", process {}, up {age}   {rates}", status.pid)),
    ]);
    let counts = status.targets;
    let count = |n: u64, what: &str, color: Color| {
        let style = if n > 0 { Style::new().fg(color) } else { Style::new() };
        Span::styled(format!("{n} {what}"), style)
    };
    let mut second = vec![
        Span::raw("targets "),
        count(counts.up, "up", Color::Green),
        Span::raw(", "),
        count(counts.down, "down", Color::Red),
        Span::raw(", "),
        count(counts.unknown, "unknown", Color::Yellow),
        Span::raw(format!("   zones {}", status.zones)),
    ];
    if status.broken_zones > 0 {
        second.push(count(status.broken_zones, "broken", Color::Red));
        second.insert(second.len() - 1, Span::raw(", "));
    }
    if status.overrides > 0 {
        second.push(Span::raw("   overrides "));
        second.push(Span::styled(status.overrides.to_string(), Style::new().fg(Color::Magenta)));
    }
    if status.brake {
        second.push(Span::styled("   BRAKE HOLDS VERDICTS", Style::new().fg(Color::Red)));
    }
    frame.render_widget(Paragraph::new(vec![first, Line::from(second)]), area);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, model: &Model, now_s: u64) {
    let rows = model.rows();
    let columns = Layout::horizontal(WIDTHS).spacing(1).split(area);
    let widths = [columns[1].width, columns[5].width].map(usize::from);
    let shown = rows.iter().skip(model.first).take(model.page).map(|target| row(target, now_s, widths));
    let heading = HEADINGS.into_iter().enumerate().map(|(i, text)| {
        let line = Line::from(text);
        Cell::from(if FIGURES.contains(&i) { line.right_aligned() } else { line })
    });
    let heading = Row::new(heading).style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Table::new(shown, WIDTHS).header(heading), area);
}

/// `widths`: of the target and the note.
fn row(target: &TargetReport, now_s: u64, widths: [usize; 2]) -> Row<'static> {
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    Row::new([
        Cell::from(target.verdict.to_string()).style(Style::new().fg(color(target.verdict))),
        Cell::from(fit(&target.target, widths[0])),
        right(target.flips.to_string()),
        right(since(target, now_s)),
        right(took(target)),
        Cell::from(fit(&note(target, now_s), widths[1])),
    ])
}

fn color(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Up => Color::Green,
        Verdict::Down => Color::Red,
        Verdict::Unknown => Color::Yellow,
    }
}

fn since(target: &TargetReport, now_s: u64) -> String {
    target.changed_at.map_or_else(|| "-".to_owned(), |at| duration(now_s.saturating_sub(at)))
}

fn took(target: &TargetReport) -> String {
    target.took_us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1000.0))
}

/// The text, or as much of it as fits before an ellipsis.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The latest changes and the slowest probes, side by side.
fn draw_more(frame: &mut Frame<'_>, area: Rect, model: &Model, now_s: u64) {
    let count = usize::from(area.height.saturating_sub(2));
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(area);
    let changes = model.first_by(Sort::Latest, count);
    let changed = changes.into_iter().filter(|target| target.changed_at.is_some());
    draw_short(frame, left, "LATEST CHANGES", changed, |target| since(target, now_s) + " ago");
    let slowest = model.first_by(Sort::Slowest, count);
    let probed = slowest.into_iter().filter(|target| target.took_us.is_some());
    draw_short(frame, right, "SLOWEST PROBES", probed, took);
}

fn draw_short<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'static str,
    targets: impl Iterator<Item = &'a TargetReport>,
    figure: impl Fn(&TargetReport) -> String,
) {
    const FIGURE: u16 = 12;
    const VERDICT: u16 = 7;
    let width = usize::from(area.width.saturating_sub(FIGURE + VERDICT + 2));
    let rows = targets.map(|target| {
        Row::new([
            Cell::from(Line::from(figure(target)).right_aligned()),
            Cell::from(target.verdict.to_string()).style(Style::new().fg(color(target.verdict))),
            Cell::from(fit(&target.target, width)),
        ])
    });
    let [title_area, list] = Layout::vertical([Constraint::Length(2), Constraint::Min(0)]).areas(area);
    let title = Line::styled(title, Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Paragraph::new(vec![Line::default(), title]), title_area);
    let widths = [Constraint::Length(FIGURE), Constraint::Length(VERDICT), Constraint::Fill(1)];
    frame.render_widget(Table::new(rows, widths), list);
}

/// What else is to be known of a target, the most important first: the column is narrow.
fn note(target: &TargetReport, now_s: u64) -> String {
    let mut notes = Vec::new();
    if !target.overrides.is_empty() {
        let ids: Vec<String> = target.overrides.iter().map(ToString::to_string).collect();
        notes.push(format!("override {}", ids.join(", ")));
    }
    if target.braked {
        notes.push("held up by the brake".to_owned());
    }
    if let Some(until) = target.held_until {
        notes.push(format!("held down for {}", duration(until.saturating_sub(now_s))));
    }
    if target.share < 100 {
        notes.push(format!("starting at {} %", target.share));
    }
    notes.extend(target.problem.clone());
    notes.join("; ")
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.rows().len();
    let last = (model.first + model.page).min(rows);
    let place = format!("{}-{last} of {rows}, by {}", (model.first + 1).min(rows), model.sort.label());
    let line = match (&model.lost, model.is_filtering, model.filter.as_str()) {
        (Some(why), ..) => {
            let text = format!("the figures are old, trying again: {why}");
            Line::styled(text, Style::new().fg(Color::Red).add_modifier(Modifier::BOLD))
        }
        (None, true, filter) => Line::from(format!("/{filter}_   Enter keeps, Esc clears")),
        (None, false, "") => Line::from(format!("{place}   q quit  s sort  / filter  ? help")),
        (None, false, filter) => {
            Line::from(format!("{place}, with {filter:?}   q quit  s sort  / filter  Esc all  ? help"))
        }
    };
    frame.render_widget(Paragraph::new(line), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use ratatui::crossterm::event::{KeyCode, KeyModifiers};

    use super::super::model::tests::sample;
    use super::*;

    fn draw_on(model: &mut Model, width: u16, height: u16, colours: bool) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, 1000, colours)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn screen(model: &mut Model, width: u16, height: u16) -> String {
        let buffer = draw_on(model, width, height, true);
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn shows_targets_figures_and_keys() {
        let mut model = Model::default();
        model.update(sample(0, 0));
        let want = "\
hale 0.1.0, process 4711, up 15m   - queries/s, - flips
targets 2 up, 1 down, 1 unknown   zones 2   overrides 1
VERDICT TARGET                       FLIPS    SINCE      TOOK NOTE
down    http 192.0.2.2:80 www.examp…     2    2m 2s    1.4 ms connection refused
unknown tcp 192.0.2.4:443                1    4m 4s    2.8 ms
up      tcp 192.0.2.1:80                 1    1m 1s    0.7 ms override 7
up      tcp 192.0.2.3:80                 0    3m 3s    2.1 ms starting at 40 %

1-4 of 4, by trouble   q quit  s sort  / filter  ? help";
        assert_eq!(screen(&mut model, 80, 9), want);
        model.key(KeyCode::Char('/'), KeyModifiers::NONE);
        model.key(KeyCode::Char('r'), KeyModifiers::NONE);
        assert!(screen(&mut model, 80, 9).ends_with("/r_   Enter keeps, Esc clears"));
        model.key(KeyCode::Enter, KeyModifiers::NONE);
        let foot = "1-1 of 1, by trouble, with \"r\"   q quit  s sort  / filter  Esc all  ? help";
        assert!(screen(&mut model, 80, 9).ends_with(foot), "{}", screen(&mut model, 80, 9));
        model.lost("no server is running".into());
        let foot = "the figures are old, trying again: no server is running";
        assert!(screen(&mut model, 80, 9).ends_with(foot));
        let mut later = sample(4000, 0);
        later.at = model.sample.as_ref().unwrap().at + std::time::Duration::from_secs(2);
        model.update(later);
        let again = screen(&mut model, 80, 9);
        assert!(again.contains("up 15m   2000 queries/s, 4 flips in 2s"), "{again}");
        assert!(!again.contains("figures are old"), "{again}");
    }

    #[test]
    fn a_large_screen_shows_the_latest_and_the_slowest_as_well() {
        let mut model = Model::default();
        model.update(sample(0, 0));
        let large = screen(&mut model, 120, 30);
        let want = "
LATEST CHANGES                                               SLOWEST PROBES
   1m 1s ago up      tcp 192.0.2.1:80                              2.8 ms unknown tcp 192.0.2.4:443
   2m 2s ago down    http 192.0.2.2:80 www.example.test/he…        2.1 ms up      tcp 192.0.2.3:80
   3m 3s ago up      tcp 192.0.2.3:80                              1.4 ms down    http 192.0.2.2:80 www.example.test/he…
   4m 4s ago unknown tcp 192.0.2.4:443                             0.7 ms up      tcp 192.0.2.1:80
";
        assert!(large.contains(want), "{large}");
        assert!(!screen(&mut model, 120, 29).contains("SLOWEST PROBES"));
        assert!(!screen(&mut model, 99, 60).contains("SLOWEST PROBES"));
    }

    #[test]
    fn explains_its_keys_and_knows_screens_without_colours() {
        let mut model = Model::default();
        model.update(sample(0, 0));
        model.key(KeyCode::Char('?'), KeyModifiers::NONE);
        let help = screen(&mut model, 80, 24);
        assert!(help.contains(HELP) && !help.contains("192.0.2.1"), "{help}");
        model.key(KeyCode::Esc, KeyModifiers::NONE);
        let colours = |model: &mut Model, colours| {
            draw_on(model, 80, 24, colours).content.iter().filter(|cell| cell.fg != Color::Reset).count()
        };
        assert!(colours(&mut model, true) > 10);
        assert_eq!(colours(&mut model, false), 0);
    }

    #[test]
    fn scrolls_and_survives_any_size() {
        let mut model = Model::default();
        let mut first = sample(0, 0);
        first.status.brake = true;
        first.status.broken_zones = 1;
        model.update(first);
        assert!(screen(&mut model, 90, 5).contains("zones 2, 1 broken   overrides 1   BRAKE HOLDS VERDICTS"));
        model.key(KeyCode::Down, KeyModifiers::NONE);
        let small = screen(&mut model, 90, 5);
        assert!(small.contains("unknown tcp 192.0.2.4:443") && !small.contains("down    http"), "{small}");
        assert!(small.ends_with("2-2 of 4, by trouble   q quit  s sort  / filter  ? help"), "{small}");
        model.key(KeyCode::End, KeyModifiers::NONE);
        assert_eq!(model.first, 3);
        assert!(screen(&mut model, 90, 24).contains("1-4 of 4"), "a larger screen shows what fits");
        for (width, height) in [(1, 1), (3, 2), (20, 3), (100, 30), (200, 60)] {
            screen(&mut model, width, height);
            model.is_helping = !model.is_helping;
        }
        assert_eq!(screen(&mut Model::default(), 10, 2), "\n", "nothing before the first look");
    }
}
