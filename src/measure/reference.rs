//! The list of metrics as a page.

use std::fmt::Write as _;

use super::list;

/// Every metric with its kind, labels and meaning, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Every metric\n\nMade by `tikkun config --metrics`; a test holds it to what `/metrics` says. \
         Counters begin at 0 with each process.\n",
    );
    for (group, metrics) in list::GROUPS {
        let head = "| metric | kind | labels | what it means |\n|---|---|---|---|";
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\n## {group}\n\n{head}");
        for metric in *metrics {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, help) = (metric.name, metric.kind.as_str(), metric.help);
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(" "));
        }
    }
    page
}
