//! Draws one frame of any size.

use std::time::Instant;

use chrono::{DateTime, Utc};
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{
    Block, Cell as TableCell, Clear, Paragraph, Row, StatefulWidget, Table, TableState, Widget as _,
};

use super::super::page;
use super::super::tone::Tone;
use super::head::{self, Piece};
use super::panes;
use super::sheet::Sheet;
use super::state::{Pane, View};

/// The most lines for reasons.
const REASONS: usize = 4;
/// Below this height, in lines, only one pane is shown.
const LOW: u16 = 12;

/// The keys and their explanations.
const KEYS: [(&str, &str); 7] = [
    ("q, Esc, Ctrl-C", "leave; the service goes on"),
    ("Tab, Shift-Tab, ← →", "another pane"),
    ("↑ ↓, PgUp PgDn, Home End", "another row"),
    ("p", "pause the chosen queue or deletion"),
    ("r", "resume it"),
    ("y, n", "answer a question"),
    ("?", "this"),
];

/// The time of a frame, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For times measured here.
    pub clock: Instant,
    /// For times from the service.
    pub utc: DateTime<Utc>,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { clock: Instant::now(), utc: Utc::now() }
    }
}

/// Draws the view.
pub(super) struct Painter {
    /// Whether colours are used; without them bold and dim text makes the difference.
    pub colours: bool,
}

impl Painter {
    /// Draws the view into all of `area`.
    pub(super) fn draw(&self, view: &View, now: Moment, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let room = usize::from(area.height / 6).clamp(1, REASONS);
        let health = head::health(view, room);
        let many = u16::try_from(health.len()).unwrap_or(1);
        let rows = [1, many, 1].map(Constraint::Length);
        let [title, reasons, totals, body, detail, last] = Layout::vertical([
            rows[0],
            rows[1],
            rows[2],
            Constraint::Fill(1),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(area);
        self.title(view, now, title, buffer);
        let health: Vec<_> = health.into_iter().map(|pieces| self.text(pieces)).collect();
        Paragraph::new(health).render(reasons, buffer);
        self.text(head::totals(view)).render(totals, buffer);
        self.body(view, now, body, buffer);
        if let Some(text) = panes::detail(view) {
            self.text(vec![(text, Tone::Quiet)]).render(detail, buffer);
        }
        self.last(view, now, last, buffer);
        if view.help {
            self.help(area, buffer);
        }
    }

    /// The whole view as lines of text, as many as it needs.
    pub(super) fn print(&self, view: &View, now: Moment, width: u16) -> Vec<String> {
        let health = head::health(view, usize::from(u16::MAX));
        let shown = Pane::ALL.into_iter().filter(|pane| view.shows(*pane));
        let sheets: Vec<_> = shown.map(|pane| panes::sheet(view, pane, now.utc)).collect();
        let mut lines = vec![head::title(view), Vec::new()];
        lines.splice(1..1, health);
        lines.insert(lines.len() - 1, head::totals(view));
        let mut printed: Vec<String> = lines.into_iter().map(|line| self.line(line, width)).collect();
        for sheet in &sheets {
            let high = u16::try_from(sheet.rows.len().max(1) + 1).unwrap_or(u16::MAX);
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, high));
            self.sheet(sheet, None, buffer.area, &mut buffer);
            printed.extend(in_lines(&buffer));
            printed.push(String::new());
        }
        printed.truncate(printed.len().saturating_sub(1));
        printed
    }

    fn line(&self, pieces: Vec<Piece>, width: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 1));
        let area = buffer.area;
        self.text(pieces).render(area, &mut buffer);
        in_lines(&buffer).concat()
    }

    fn title(&self, view: &View, now: Moment, area: Rect, buffer: &mut Buffer) {
        let state = Text::from(self.span(head::line(view, now.clock)));
        self.text(head::title(view)).render(area, buffer);
        let wide = u16::try_from(state.width()).unwrap_or(u16::MAX).saturating_add(1).min(area.width);
        let right = Rect { x: area.right().saturating_sub(wide), width: wide, ..area };
        Clear.render(right, buffer);
        // A text that is too long is cut at its end.
        state.render(right, buffer);
    }

    fn body(&self, view: &View, now: Moment, area: Rect, buffer: &mut Buffer) {
        let sheets = Pane::ALL.map(|pane| panes::sheet(view, pane, now.utc));
        let wants = Pane::ALL.map(|pane| {
            let rows = sheets.get(pane.place()).map_or(0, |sheet| sheet.rows.len().max(1));
            if view.shows(pane) { u16::try_from(rows + 1).unwrap_or(u16::MAX) } else { 0 }
        });
        let heights = heights(wants, view.pane.place(), area.height);
        let areas = Layout::vertical(heights.map(Constraint::Length)).split(area);
        for ((pane, sheet), area) in Pane::ALL.into_iter().zip(&sheets).zip(areas.iter()) {
            let row = view.rows.get(pane.place()).copied().unwrap_or_default();
            self.sheet(sheet, Some((row, pane == view.pane)), *area, buffer);
        }
    }

    /// Draws one pane; `chosen` is its row, and whether the pane has the focus.
    fn sheet(&self, sheet: &Sheet, chosen: Option<(usize, bool)>, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let focused = chosen.is_some_and(|(_, focused)| focused);
        let shown: Vec<_> =
            sheet.columns.iter().enumerate().filter(|(_, column)| column.from <= area.width).collect();
        let widths = shown.iter().map(|(_, column)| match column.width {
            0 => Constraint::Fill(1),
            width => Constraint::Length(width),
        });
        let head = shown.iter().map(|(place, column)| {
            let title = match place {
                0 => format!("{}{} ({})", if focused { "▸ " } else { "" }, column.title, sheet.rows.len()),
                _ => column.title.to_owned(),
            };
            TableCell::from(aligned(Span::raw(title), column.right))
        });
        let weight = if focused { Modifier::BOLD | Modifier::UNDERLINED } else { Modifier::UNDERLINED };
        let head = Row::new(head).style(self.style(Tone::Plain).add_modifier(weight));
        let rows = sheet.rows.iter().map(|cells| {
            Row::new(shown.iter().map(|(place, column)| {
                let cell = cells.get(*place).cloned().unwrap_or_default();
                TableCell::from(aligned(self.span((cell.text, cell.tone)), column.right))
            }))
        });
        let highlight = if focused { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        let row = chosen.map(|(row, _)| row).filter(|_| !sheet.rows.is_empty());
        let table = Table::new(rows, widths).header(head).column_spacing(1).row_highlight_style(highlight);
        StatefulWidget::render(table, area, buffer, &mut TableState::new().with_selected(row));
        if sheet.rows.is_empty() && area.height > 1 {
            let below = Rect { y: area.y + 1, height: 1, ..area };
            self.text(vec![(sheet.nothing.to_owned(), Tone::Quiet)]).render(below, buffer);
        }
    }

    /// Draws the last line: an open question, else the last message, else the keys.
    fn last(&self, view: &View, now: Moment, area: Rect, buffer: &mut Buffer) {
        let (text, style) = match (&view.question, view.notice(now.clock)) {
            (Some(change), _) => {
                (format!("{change}? y yes, n no"), self.style(Tone::Warn).add_modifier(Modifier::REVERSED))
            }
            (None, Some(notice)) => (notice.to_owned(), self.style(Tone::Plain).add_modifier(Modifier::BOLD)),
            (None, None) => {
                let keys = "q quit  ? help  tab pane  ↑↓ row  p pause  r resume";
                (keys.to_owned(), self.style(Tone::Quiet))
            }
        };
        Text::styled(text, style).render(area, buffer);
    }

    fn help(&self, area: Rect, buffer: &mut Buffer) {
        let wide = KEYS.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        let lines: Vec<_> =
            KEYS.iter().map(|(key, what)| Text::raw(format!(" {key:<wide$}  {what}"))).collect();
        let (width, height) = (lines.iter().map(Text::width).max().unwrap_or(0) + 3, lines.len() + 2);
        let fits = |want: usize, have: u16| u16::try_from(want).unwrap_or(u16::MAX).min(have);
        let (width, height) = (fits(width, area.width), fits(height, area.height));
        let place = area.centered(Constraint::Length(width), Constraint::Length(height));
        Clear.render(place, buffer);
        Paragraph::new(lines).block(Block::bordered().title(" keys ")).render(place, buffer);
    }

    fn text(&self, pieces: Vec<Piece>) -> Text<'static> {
        Text::from(pieces.into_iter().map(|piece| self.span(piece)).collect::<Vec<_>>())
    }

    fn span(&self, (text, tone): Piece) -> Span<'static> {
        Span::styled(page::safe(&text), self.style(tone))
    }

    fn style(&self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Plain => return Style::new(),
            Tone::Quiet => return Style::new().add_modifier(Modifier::DIM),
            Tone::Good => Color::Green,
            Tone::Busy => Color::Cyan,
            Tone::Warn => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        match (self.colours, tone) {
            (true, _) => Style::new().fg(colour),
            (false, Tone::Warn | Tone::Bad) => Style::new().add_modifier(Modifier::BOLD),
            (false, _) => Style::new(),
        }
    }
}

fn aligned(span: Span<'static>, right: bool) -> Text<'static> {
    let text = Text::from(span);
    if right { text.alignment(Alignment::Right) } else { text }
}

/// The lines of a buffer, without trailing blanks.
fn in_lines(buffer: &Buffer) -> Vec<String> {
    let wide = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let mut skip = 0;
        let mut text = String::new();
        for cell in cells {
            if skip == 0 {
                text.push_str(cell.symbol());
                skip = unicode_width::UnicodeWidthStr::width(cell.symbol());
            }
            skip = skip.saturating_sub(1);
        }
        text.trim_end().to_owned()
    };
    buffer.content.chunks(wide).map(line).collect()
}

/// The height of each pane. If there is room, all have what they need. If not, each gets two lines, and the
/// rest goes to the focused pane first. On a low screen only the focused pane is shown.
fn heights<const PANES: usize>(wants: [u16; PANES], focus: usize, room: u16) -> [u16; PANES] {
    let all = wants.iter().fold(0_u16, |sum, want| sum.saturating_add(*want));
    if all <= room {
        return wants;
    }
    let mut given = [0; PANES];
    if room < LOW {
        if let Some(height) = given.get_mut(focus) {
            *height = room;
        }
        return given;
    }
    for (height, want) in given.iter_mut().zip(wants) {
        *height = want.min(2);
    }
    let mut left = room - given.iter().sum::<u16>().min(room);
    let order = std::iter::once(focus).chain((0..wants.len()).filter(|place| *place != focus));
    for place in order {
        if let (Some(height), Some(want)) = (given.get_mut(place), wants.get(place)) {
            let more = want.saturating_sub(*height).min(left);
            *height += more;
            left -= more;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::link::News;
    use super::super::state::Key;
    use super::*;

    /// A busy service.
    fn view() -> View {
        let mut view = View::new("http://127.0.0.1:8080".into());
        let sections = [
            (
                "overview",
                r#"{"status":"degraded","reasons":[{"severity":"degraded","code":"many_failed","count":101,"limit":100},
                    {"severity":"notice","code":"queue_paused","queue":"דואר","count":3}],
                    "totals":{"queued":5,"started":1,"failed":101},"per_minute":120,
                    "cleanup":{"pending":12,"oldest_seconds":190},
                    "process":{"version":"0.1.0","role":"all","slots":4}}"#,
            ),
            (
                "queues",
                r#"[{"name":"maintenance","queued":2,"started":1,"finished":10,"failed":101,"workers":1,"per_minute":120},
                    {"name":"דואר","queued":3,"paused":true,"paused_by":"דנה","workers":1}]"#,
            ),
            (
                "running",
                r#"[{"job_id":"c","function":"delete_receipts_batch_job","queue":"maintenance","attempt":1,
                    "since":"2026-01-01T00:00:00Z","total":1000,"processed":500}]"#,
            ),
            (
                "deletions",
                r#"[{"job_id":27,"business_id":789,"status":"running","total":1000,"processed":500,"queue_job":"c",
                    "rate_per_second":120.5,"eta_low":4.0,"eta_high":9.0,"waiting_for":"the storage"}]"#,
            ),
            (
                "tree",
                r#"{"children":[{"name":"root","state":"running","since":"2026-01-01T00:00:00Z"},
                    {"name":"scheduler","supervisor":"root","state":"restarting","restarts":3,
                     "since":"2026-01-01T00:00:59Z","last_panic":{"message":"a clock went wrong","place":"a.rs:1:2"}}]}"#,
            ),
        ];
        view.hear(News::Live, Instant::now());
        for (name, data) in sections {
            view.hear(News::Section { name: name.into(), data: data.into() }, Instant::now());
        }
        assert_eq!(view.notice(Instant::now()), None);
        view
    }

    fn moment() -> Moment {
        Moment { clock: Instant::now(), utc: "2026-01-01T00:01:00Z".parse().unwrap() }
    }

    /// The screen content at this size.
    fn shown(view: &View, (width, height): (u16, u16), colours: bool) -> (String, Buffer) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let painter = Painter { colours };
        terminal.draw(|frame| painter.draw(view, moment(), frame.area(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer().clone();
        (in_lines(&buffer).join("\n"), buffer)
    }

    #[test]
    fn a_usual_screen_shows_queues_jobs_deletions_actors_and_reasons() {
        let (text, _) = shown(&view(), (80, 24), true);
        for words in [
            "tikkun 0.1.0",
            "● live",
            "degraded  101 jobs have failed, more than 100",
            "queue דואר is paused, 3 jobs wait",
            "queued 5",
            "finished/min 120",
            "failed 101",
            "outbox 12",
            "(oldest 3m 10s)",
            "▸ queues (2)",
            "‖ דואר",
            "paused by דנה",
            "running (1)",
            "delete_receipts_batch_job",
            "████████░░░░░░░░",
            "500/1000",
            "120/s",
            "≤9s",
            "deletions (1)",
            "27 of business 789",
            "actors (2)",
            "  scheduler",
            "restarting",
            "q quit",
        ] {
            assert!(text.contains(words), "no `{words}` in:\n{text}");
        }
        assert_eq!(text.lines().count(), 24);
    }

    #[test]
    fn a_wide_screen_has_room_for_notes_and_panics() {
        let (text, _) = shown(&view(), (160, 40), false);
        for words in ["waits: the storage", "a clock went wrong", "last two minutes"] {
            assert!(text.contains(words), "no `{words}` in:\n{text}");
        }
    }

    #[test]
    fn no_size_and_no_state_breaks_a_frame() {
        let mut views = [view(), View::new(String::new()), view(), view()];
        views[2].press(Key::Help, Instant::now());
        views[3].press(Key::Pause, Instant::now());
        let away = News::Away { why: "gone ".repeat(50), again: Duration::from_secs(3) };
        views[0].hear(away, Instant::now());
        for view in &mut views {
            for pane in Pane::ALL {
                view.pane = pane;
                for size in [(1, 1), (2, 30), (300, 1), (10, 4), (40, 10), (80, 24), (200, 60)] {
                    shown(view, size, true);
                }
                assert!(!Painter { colours: false }.print(view, moment(), 1).is_empty());
            }
        }
    }

    #[test]
    fn a_small_screen_shows_the_pane_in_which_keys_move_and_the_state_of_the_line() {
        let mut view = view();
        view.pane = Pane::Deletions;
        let (text, _) = shown(&view, (40, 10), false);
        for words in [
            "● live",
            "▸ deletions (1)",
            "27 of busine",
            "running",
            "500/1000",
            "waits: the storage",
            "q quit",
        ] {
            assert!(text.contains(words), "no `{words}` in:\n{text}");
        }
        assert!(!text.contains("queues ("), "{text}");
    }

    #[test]
    fn an_outage_is_seen_and_what_was_known_stays() {
        let mut view = view();
        let away = News::Away { why: "connection refused".into(), again: Duration::from_secs(2) };
        view.hear(away, Instant::now());
        let (text, _) = shown(&view, (100, 24), true);
        assert!(text.contains("✕ away for 0s, next try in 2s: connection refused"), "{text}");
        assert!(text.contains("maintenance"), "{text}");
    }

    #[test]
    fn a_question_and_the_keys_are_shown_where_they_are_asked_for() {
        let mut view = view();
        view.press(Key::Pause, Instant::now());
        assert!(shown(&view, (80, 24), true).0.ends_with("pause queue maintenance? y yes, n no"));
        view.press(Key::No, Instant::now());
        view.press(Key::Help, Instant::now());
        let (text, _) = shown(&view, (80, 24), true);
        assert!(text.contains("keys") && text.contains("pause the chosen queue or deletion"), "{text}");
    }

    #[test]
    fn without_colours_no_cell_has_one() {
        let coloured = |colours: bool| {
            let (_, buffer) = shown(&view(), (120, 30), colours);
            buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(coloured(true) && !coloured(false));
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut view = view();
        view.board.queues[0].name = "\u{1b}[2J\u{202e}x".into();
        let (text, _) = shown(&view, (120, 24), true);
        assert!(text.contains("\\u{1b}[2J\\u{202e}x"), "{text}");
    }

    #[test]
    fn one_printed_frame_has_everything_however_long() {
        let mut view = view();
        view.board.queues = (0..60)
            .map(|n| super::super::board::Queue { name: format!("q{n}"), ..Default::default() })
            .collect();
        let text = Painter { colours: false }.print(&view, moment(), 120).join("\n");
        assert!(
            text.contains("q59") && text.contains("scheduler") && text.contains("27 of business 789"),
            "{text}"
        );
    }

    #[test]
    fn panes_share_the_room_and_the_one_with_the_keys_comes_first() {
        assert_eq!(heights([3, 2, 2, 5], 0, 20), [3, 2, 2, 5]);
        assert_eq!(heights([9, 2, 2, 30], 3, 20), [2, 2, 2, 14]);
        assert_eq!(heights([9, 2, 2, 30], 0, 20), [9, 2, 2, 7]);
        assert_eq!(heights([9, 2, 2, 30], 2, 6), [0, 0, 6, 0]);
    }
}
