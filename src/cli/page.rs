//! What a command prints on standard output: lines, aligned tables, JSON.
//!
//! A reader that has gone, as in `tikkun jobs list | head -1`, is no error. Control characters are
//! escaped: what strangers call their jobs must not steer a terminal.

use std::io::Write as _;

use serde_json::Value;

/// Prints one line.
pub(super) fn line(text: &str) {
    // Nobody is left to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a JSON value: indented when a person may read it, else as one line.
pub(super) fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// Rows in columns as wide as their widest cell; the last one is as wide as it needs.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&header)
        .filter(|header| !header.is_empty())
        .chain(rows)
        .map(|row| row.iter().map(|cell| safe(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Names and values under each other.
pub(super) fn facts(facts: &[(&'static str, Value)]) -> String {
    let rows: Vec<_> = facts.iter().map(|(name, value)| vec![(*name).to_owned(), plain(value)]).collect();
    table(&[], &rows)
}

/// The facts as a JSON object.
pub(super) fn object(facts: Vec<(&'static str, Value)>) -> Value {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text in one line without control characters.
pub(super) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = [vec!["a".into(), "long".into(), "x".into()], vec!["bcd".into(), "é".into(), "".into()]];
        assert_eq!(table(&["ID", "N", "S"], &rows), "ID   N     S\na    long  x\nbcd  é");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        assert_eq!(table(&[], &[vec!["a\x1b[2J\nb".into()]]), "a\\u{1b}[2J\\nb");
    }

    #[test]
    fn nothing_known_is_a_dash() {
        assert_eq!(facts(&[("result", json!(null)), ("error", json!("no"))]), "result  -\nerror   no");
    }
}
