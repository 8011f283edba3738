//! What a command prints on standard output: lines, facts, JSON.
//!
//! A reader that has gone, as in `tikkun jobs list | head -1`, is no error. Control characters are
//! escaped: what strangers call their jobs must not steer a terminal.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::Value;

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

/// The facts as a JSON object.
pub(super) fn object(facts: Vec<(&'static str, Value)>) -> Value {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// That an answer did not come in time.
pub(super) fn late(limit: Duration) -> String {
    format!("nothing came within {}", humantime::format_duration(limit))
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
