//! The summary at the end.

use serde_json::{Value, json};

use super::check::Fact;
use crate::cli::page;
use crate::cli::table::{Cell, Fit, Table, number, text};
use crate::cli::tone::Tone;

/// The result of the demonstration.
pub(super) struct Report {
    pub facts: Vec<Fact>,
    /// Receipts deleted.
    pub receipts: u64,
    /// The duration of the background job, in seconds.
    pub seconds: f64,
    /// The peak memory of this process in bytes, if the system reports it.
    pub memory: Option<u64>,
}

impl Report {
    /// Describes the facts that are not as expected; empty if all are.
    pub(super) fn differences(&self) -> String {
        let wrong = self.facts.iter().filter(|fact| !fact.right());
        let words =
            wrong.map(|fact| format!("{}: expected {}, found {}", fact.what, fact.expected, fact.found));
        words.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            return page::json(&self.as_json());
        }
        let row = |fact: &Fact| {
            vec![
                Cell::from(fact.what.as_str()),
                fact.before.map_or_else(|| "-".to_owned(), |before| before.to_string()).into(),
                fact.expected.to_string().into(),
                fact.found.to_string().into(),
                if fact.right() { Cell::new("✓", Tone::Good) } else { Cell::new("✗ differs", Tone::Bad) },
            ]
        };
        let columns = [
            text("COUNTED AFTERWARDS", Fit::Whole),
            number("BEFORE", Fit::Whole),
            number("EXPECTED", Fit::Whole),
            number("FOUND", Fit::Whole),
            text("", Fit::Whole),
        ];
        Table::list(columns, self.facts.iter().map(row).collect()).print();
        page::line(&self.speed());
        page::line(match self.differences().as_str() {
            "" => "everything that had to go is gone, and everything that had to stay is there",
            _ => "something is not as it should be",
        });
    }

    fn speed(&self) -> String {
        let memory =
            self.memory.map_or_else(String::new, |bytes| format!(", at most {} MiB of memory", bytes >> 20));
        format!("{} receipts in {:.2} s: {:.0} receipts/s{memory}", self.receipts, self.seconds, self.rate())
    }

    fn rate(&self) -> f64 {
        self.receipts as f64 / self.seconds.max(0.001)
    }

    fn as_json(&self) -> Value {
        let facts: Vec<Value> = self
            .facts
            .iter()
            .map(|fact| {
                json!({
                    "what": fact.what, "before": fact.before, "expected": fact.expected,
                    "found": fact.found, "right": fact.right(),
                })
            })
            .collect();
        json!({
            "ok": self.facts.iter().all(Fact::right),
            "receipts": self.receipts,
            "seconds": self.seconds,
            "receipts_per_second": self.rate(),
            "peak_memory_bytes": self.memory,
            "facts": facts,
        })
    }
}

/// The peak memory of this process in bytes. Linux reports it in KiB.
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
