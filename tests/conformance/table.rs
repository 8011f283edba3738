//! The table of what holds, made from the lines whose tests have just passed.

use std::fs;
use std::path::Path;

use crate::lines::{LINES, State};
use crate::python::ALL;

const HEAD: &str = "# Conformance with RQ

Made by `CONFORMANCE=write cargo test --test conformance`; every run of that target compares it with what its tests say. Each line is
held against the real library of three versions: a client of that version enqueues, tikkun runs the jobs, and the client's own
API says what became of them.

✓ holds · – not for this version, or held on another · not yet: written down as a test that is not expected to hold

| # | line | rq 1.16.2 | rq 2.12.0 | rq 3.0.0 |
|---|---|---|---|---|
";

fn table() -> String {
    let mut text = HEAD.to_owned();
    for line in LINES {
        let cell = |version| match (line.on.contains(version), line.state) {
            (false, _) => "–",
            (true, State::Holds) => "✓",
            (true, State::NotYet) => "not yet",
        };
        let cells: Vec<_> = ALL.iter().map(cell).collect();
        text += &format!("| {} | {} | {} |\n", line.number, line.claim, cells.join(" | "));
    }
    text
}

/// Whether the file says the same; it is written when that is asked for.
#[allow(clippy::disallowed_methods, reason = "whoever starts the tests asks for the file")]
pub fn holds() -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md");
    if std::env::var_os("CONFORMANCE").is_some_and(|word| word == "write") {
        fs::write(&path, table()).unwrap();
    }
    let same = fs::read_to_string(&path).is_ok_and(|text| text == table());
    if !same {
        eprintln!("CONFORMANCE.md is old: CONFORMANCE=write cargo test --test conformance");
    }
    same
}
