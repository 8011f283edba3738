//! A table of text and tone, before it has a place on the screen.

use super::super::tone::Tone;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Its text.
    pub text: String,
    /// Its tone.
    pub tone: Tone,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its header; that of the first column names the pane.
    pub title: &'static str,
    /// Its width in columns of the terminal; 0 takes the rest.
    pub width: u16,
    /// Whether it is right-aligned.
    pub right: bool,
    /// The least width of the screen at which it is shown.
    pub from: u16,
}

/// The content of one pane.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// The text shown if there are no rows.
    pub nothing: &'static str,
}

pub(super) fn text(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, right: false, from }
}

pub(super) fn number(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, right: true, from }
}

pub(super) fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: text.into(), tone }
}

pub(super) fn plain(text: impl Into<String>) -> Cell {
    cell(text, Tone::Plain)
}

/// A number in this tone; zero is quiet.
pub(super) fn count(number: u64, tone: Tone) -> Cell {
    cell(number.to_string(), tone.of_count(number))
}
