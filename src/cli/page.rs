//! What a command prints on standard output: lines, facts, JSON.
//!
//! A reader that has gone, as in `tikkun jobs list | head -1`, is no error. Control characters are
//! escaped: what strangers call their jobs must not steer a terminal.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::Value;

use super::table::{Cell, Table};
use super::tone::Tone;

/// Prints one line.
pub(super) fn line(text: &str) {
    // Nobody is left to tell.
    let _ = writeln!(stdout(), "{text}");
}

/// Prints a JSON value: indented when a person may read it, else as one line.
pub(super) fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// How wide the terminal is that standard output goes to; none where it goes elsewhere.
pub(super) fn width() -> Option<u16> {
    let size = stdout().is_terminal().then(crossterm::terminal::size)?;
    size.ok().map(|(width, _)| width).filter(|width| *width > 0)
}

/// Whether standard output is a terminal that shows colours, and nobody has asked for none (`NO_COLOR`).
pub(super) fn colours() -> bool {
    AutoStream::choice(&stdout()) != ColorChoice::Never
}

/// Names and values under each other.
pub(super) fn facts(facts: &[(&'static str, Value)]) -> Table {
    let row =
        |(name, value): &(&'static str, Value)| vec![Cell::new(*name, Tone::Quiet), plain(value).into()];
    Table::facts(facts.iter().map(row).collect())
}

/// The facts as a JSON object.
pub(super) fn object(facts: Vec<(&'static str, Value)>) -> Value {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// That an answer did not come in time.
pub(super) fn late(limit: Duration) -> String {
    format!("nothing came within {}", humantime::format_duration(limit))
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text in one line without control characters, and without those that turn the order of letters around.
pub(super) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else if matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_known_is_a_dash() {
        let table = facts(&[("result", json!(null)), ("error", json!("no"))]);
        assert_eq!(table.draw(None, false), "result  -\nerror   no");
    }
}
