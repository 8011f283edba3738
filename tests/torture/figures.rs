//! The figures of a run: a table, and the same as JSON, in a part of `TORTURE.md`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Its name for machines, its words, its value.
pub type Figure = (&'static str, &'static str, Value);

pub struct Figures(pub Vec<Figure>);

impl Figures {
    pub fn table(&self) -> String {
        let rows = self.0.iter().map(|(_, words, value)| format!("| {words} | {value} |"));
        ["| | |".to_owned(), "|---|---|".to_owned()].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }

    /// Writes the part of `TORTURE.md` under this heading anew, with the commit that ran, and leaves the others.
    pub fn write(self, heading: &str, text: &str) {
        let version = ("version", "version", json!(env!("CARGO_PKG_VERSION")));
        let mut with_commit = vec![version, ("commit", "commit", json!(commit()))];
        with_commit.extend(self.0);
        Self(with_commit).write_part(heading, text);
    }

    fn write_part(&self, heading: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("TORTURE.md");
        let all: Map<_, _> =
            self.0.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
        let json = serde_json::to_string(&all).unwrap();
        let part = format!(
            "## {heading}\n\n{text}\n{}\n\nThe same for machines:\n\n```json\n{json}\n```\n",
            self.table()
        );
        let report = fs::read_to_string(&path).unwrap();
        let mut parts: Vec<_> = report.split("\n## ").map(str::to_owned).collect();
        let place = parts.iter().position(|one| one.starts_with(heading)).expect("the part's heading");
        parts[place] = part.trim_start_matches("## ").trim_end().to_owned() + "\n";
        fs::write(path, parts.join("\n## ")).unwrap();
    }
}

/// The commit that is checked out, and whether the tree differs from it: the report itself may, its parts are
/// written one after the other.
fn commit() -> String {
    let git = |words: &[&str]| {
        let root = env!("CARGO_MANIFEST_DIR");
        Command::new("git").args(words).current_dir(root).output().expect("git tells the commit")
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"]);
    let head = String::from_utf8(head.stdout).unwrap();
    let unchanged = git(&["diff", "--quiet", "HEAD", "--", ".", ":!TORTURE.md"]).status.success();
    format!("{}{}", head.trim(), if unchanged { "" } else { ", with changes" })
}

/// Times of one kind, in seconds.
pub struct Spread {
    pub count: usize,
    pub median: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(times: &[Duration]) -> Self {
        let mut times: Vec<_> = times.iter().map(|time| seconds(*time)).collect();
        times.sort_by(f64::total_cmp);
        let at = |place: usize| times.get(place).copied().unwrap_or_default();
        let count = times.len();
        Self { count, median: at(count / 2), p99: at(count * 99 / 100), max: at(count.saturating_sub(1)) }
    }
}

/// Hundredths are exact enough.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// Whether a run writes its part of `TORTURE.md`.
#[expect(clippy::disallowed_methods, reason = "where a test's report goes is no setting of the service")]
pub fn writes_report() -> bool {
    std::env::var_os("TORTURE_REPORT").is_some()
}
