//! Tables, aligned by the displayed width of their text and no wider than the terminal.
//!
//! If standard output is no terminal, nothing is left out or shortened.

use comfy_table::presets::NOTHING;
use comfy_table::{
    Attribute, Cell as Drawn, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row,
    Table as Drawing,
};

use serde_json::Value;

use super::page;
use super::tone::Tone;

/// Columns of space between two columns of the table.
const GAP: u16 = 2;

/// What happens to a column on a screen that is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It keeps its full width, so that its text can be copied.
    Whole,
    /// It is shortened or wrapped.
    Shorter,
    /// It is left out, the last one first.
    Spare,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    fit: Fit,
    right: bool,
}

/// A column of text.
pub(super) const fn text(title: &'static str, fit: Fit) -> Column {
    Column { title, fit, right: false }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str, fit: Fit) -> Column {
    Column { title, fit, right: true }
}

#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with this tone.
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// A number; zero is shown in the quiet tone.
    pub(super) fn count(number: u64, tone: Tone) -> Self {
        Self::new(number.to_string(), tone.of_count(number))
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Whether rows are names and values, without a header.
    facts: bool,
    /// Whether long values are wrapped.
    wraps: bool,
}

impl Table {
    /// A list: one line per row.
    pub(super) fn list(columns: impl Into<Vec<Column>>, rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: columns.into(), rows, facts: false, wraps: false }
    }

    /// Names and values, one pair per row.
    pub(super) fn facts(rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: vec![text("", Fit::Whole), text("", Fit::Shorter)], rows, facts: true, wraps: true }
    }

    /// Wraps long values instead of cutting them.
    pub(super) fn wrapped(self) -> Self {
        Self { wraps: true, ..self }
    }

    pub(super) fn print(&self) {
        page::line(&self.draw(page::width(), page::colours()));
    }

    /// The lines, no wider than `width` if it is given.
    pub(super) fn draw(&self, width: Option<u16>, colours: bool) -> String {
        let mut table = Drawing::new();
        table.load_style(NOTHING).style_text_only();
        match width {
            Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if colours {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        if !self.facts {
            let mut head = Row::from(self.columns.iter().map(|column| column.title).collect::<Vec<_>>());
            head.max_height(1);
            table.set_header(head);
        }
        for cells in &self.rows {
            let mut row = Row::from(cells.iter().map(drawn).collect::<Vec<_>>());
            if !self.wraps && width.is_some() {
                row.max_height(1);
            }
            table.add_row(row);
        }
        for (column, drawing) in self.columns.iter().zip(table.column_iter_mut()) {
            drawing.set_padding((0, GAP));
            if column.right {
                drawing.set_cell_alignment(CellAlignment::Right);
            }
            if column.fit != Fit::Shorter {
                drawing.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        if let Some(width) = width {
            self.leave_out(&mut table, width);
        }
        table.trim_fmt()
    }

    /// Hides spare columns until the others have room.
    fn leave_out(&self, table: &mut Drawing, width: u16) {
        let mut widths = table.column_max_content_widths();
        for (wide, column) in widths.iter_mut().zip(&self.columns) {
            // The least width at which shortened text is still useful.
            let least = if column.fit == Fit::Shorter { 24.min(*wide) } else { *wide };
            *wide = least.saturating_add(GAP);
        }
        let mut all: u16 = widths.iter().fold(0, |all, wide| all.saturating_add(*wide));
        for (place, column) in self.columns.iter().enumerate().rev() {
            if all <= width.saturating_add(GAP) {
                return;
            }
            if let (Fit::Spare, Some(drawing)) = (column.fit, table.column_mut(place)) {
                drawing.set_constraint(ColumnConstraint::Hidden);
                all = all.saturating_sub(widths.get(place).copied().unwrap_or(0));
            }
        }
    }
}

fn drawn(cell: &Cell) -> Drawn {
    let drawn = Drawn::new_owned(page::safe(&cell.text));
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Quiet => drawn.add_attribute(Attribute::Dim),
        Tone::Good => drawn.fg(Color::Green),
        Tone::Busy => drawn.fg(Color::Cyan),
        Tone::Warn => drawn.fg(Color::Yellow),
        Tone::Bad => drawn.fg(Color::Red),
    }
}

/// A table of names and values.
pub(super) fn facts(facts: &[(&'static str, Value)]) -> Table {
    let row =
        |(name, value): &(&'static str, Value)| vec![Cell::new(*name, Tone::Quiet), plain(value).into()];
    Table::facts(facts.iter().map(row).collect())
}

/// A value in plain text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use serde_json::json;

    use super::*;

    fn jobs() -> Table {
        let columns = [
            text("ID", Fit::Whole),
            text("STATE", Fit::Whole),
            number("TRY", Fit::Spare),
            text("CREATED", Fit::Spare),
            text("FUNCTION", Fit::Shorter),
        ];
        let row = |id: &str, function: &str| {
            vec![
                Cell::from(id),
                Cell::new("failed", Tone::Bad),
                Cell::count(1, Tone::Plain),
                Cell::from("2026-01-01T00:00:00Z"),
                Cell::from(function),
            ]
        };
        Table::list(
            columns,
            vec![row("a", "f(1)"), row("2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2", &"shop.send ".repeat(30))],
        )
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows =
            vec![vec!["a".into(), "long".into(), "x".into()], vec!["bcd".into(), "é".into(), "".into()]];
        let columns = [text("ID", Fit::Whole), text("N", Fit::Whole), text("S", Fit::Shorter)];
        assert_eq!(Table::list(columns, rows).draw(None, false), "ID   N     S\na    long  x\nbcd  é");
    }

    #[test]
    fn hebrew_and_wide_letters_are_as_wide_as_a_terminal_shows_them() {
        let columns = [text("QUEUE", Fit::Whole), number("N", Fit::Whole)];
        let rows = ["דואר", "שָׁלוֹם", "収据", "mail"].map(|name| vec![name.into(), "7".into()]);
        let drawn = Table::list(columns, rows.into()).draw(None, false);
        let ends: Vec<usize> = drawn.lines().map(|line| line.width()).collect();
        assert_eq!(ends, [8; 5], "{drawn}");
    }

    #[test]
    fn a_narrow_screen_drops_what_is_spare_and_never_cuts_what_people_copy() {
        for width in [1, 10, 40, 60, 80, 100, 200] {
            let drawn = jobs().draw(Some(width), false);
            assert!(drawn.contains("2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2"), "{width}: {drawn}");
            assert_eq!(drawn.lines().count(), 3, "{width}: {drawn}");
            if width >= 60 {
                let widest = drawn.lines().map(|line| line.width()).max().unwrap();
                assert!(widest <= usize::from(width), "{width}: {drawn}");
            }
            assert_eq!(drawn.contains("CREATED"), width >= 100, "{width}: {drawn}");
        }
        assert!(
            jobs().draw(None, false).lines().last().unwrap().len() > 300,
            "nothing is cut where nobody looks"
        );
    }

    #[test]
    fn colours_are_there_only_when_they_are_wanted_and_take_no_room() {
        let (plain, coloured) = (jobs().draw(Some(100), false), jobs().draw(Some(100), true));
        assert!(!plain.contains('\x1b') && coloured.contains("\x1b["), "{coloured:?}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let table = Table::facts(vec![vec!["a\x1b[2J\nb".into(), "\u{202e}x".into()]]);
        assert_eq!(table.draw(None, false), "a\\u{1b}[2J\\nb  \\u{202e}x");
    }

    #[test]
    fn a_long_fact_goes_on_in_the_next_line_below_itself() {
        let table = Table::facts(vec![vec!["error".into(), "word ".repeat(20).into()]]);
        let drawn = table.draw(Some(40), false);
        assert!(
            drawn.lines().count() > 2 && drawn.lines().nth(1).unwrap().starts_with("       word"),
            "{drawn}"
        );
    }

    #[test]
    fn nothing_known_is_a_dash() {
        let table = facts(&[("result", json!(null)), ("error", json!("no"))]);
        assert_eq!(table.draw(None, false), "result  -\nerror   no");
    }
}
