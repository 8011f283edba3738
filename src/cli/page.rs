//! Output: lines and JSON on standard output, remarks on standard error, and helpers for their text.
//!
//! A closed pipe, as in `tikkun jobs list | head -1`, is no error. Control characters are escaped: the names
//! of jobs come from outside and must not control a terminal.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::Value;

/// Prints one line.
pub(super) fn line(text: &str) {
    // If standard output is closed, there is nowhere to report it.
    let _ = writeln!(stdout(), "{text}");
}

/// Prints one line on standard error.
pub(super) fn note(text: &str) {
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(stderr(), "tikkun: {}", safe(text));
}

/// Prints a JSON value, indented.
pub(super) fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// The width of the terminal that standard output goes to, in columns; `None` if it goes elsewhere.
pub(super) fn width() -> Option<u16> {
    let size = stdout().is_terminal().then(crossterm::terminal::size)?;
    size.ok().map(|(width, _)| width).filter(|width| *width > 0)
}

/// Whether to use colours: standard output is a terminal that supports them, and `NO_COLOR` is not set.
pub(super) fn colours() -> bool {
    AutoStream::choice(&stdout()) != ColorChoice::Never
}

/// The facts as a JSON object.
pub(super) fn object(facts: Vec<(&'static str, Value)>) -> Value {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The error for an answer that did not arrive in time.
pub(super) fn late(limit: Duration) -> String {
    format!("nothing came within {}", humantime::format_duration(limit))
}

/// The text on one line, with control characters and those that reverse the writing direction escaped.
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
