//! The table of results, made from the lines whose tests have just passed.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::ground::{Functions, Ground};
use crate::lines::LINES;
use crate::python::Version;

const BEGIN: &str = "<!-- conformance: begin -->\n";
const END: &str = "<!-- conformance: end -->";

/// The columns.
pub const GROUNDS: [Ground; 7] = [
    Ground::rust(Version::Rq1),
    Ground::rust(Version::Rq2),
    Ground::rust(Version::Rq3),
    Ground::python(Version::Rq1),
    Ground::python(Version::Rq2),
    Ground::python(Version::Rq3),
    Ground::warm(Version::Rq3),
];

fn title(ground: Ground) -> String {
    let number = ground.version.number();
    match ground.functions {
        Functions::Rust => format!("rq {number}"),
        Functions::Python => format!("Python, rq {number}"),
        Functions::Warm => format!("Python `warm`, rq {number}"),
    }
}

fn table() -> String {
    let titles = GROUNDS.map(title).join(" | ");
    let mut text = format!("| # | line | {titles} |\n{}|\n", "|---".repeat(GROUNDS.len() + 2));
    for line in LINES {
        let cells = GROUNDS.map(|ground| if line.on.contains(&ground.version) { "✓" } else { "–" });
        text += &format!("| {} | {} | {} |\n", line.number, line.claim, cells.join(" | "));
    }
    text
}

/// The page with the table of today between its marks.
fn with_table(page: &str) -> String {
    let (before, rest) =
        page.split_once(BEGIN).unwrap_or_else(|| panic!("docs/testing.md has no `{}`", BEGIN.trim()));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("docs/testing.md has no `{END}`"));
    format!("{before}{BEGIN}{}{END}{after}", table())
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md")
}

/// Whether the page is to be written and not compared.
#[allow(clippy::disallowed_methods, reason = "whoever starts the tests asks for the file")]
fn is_to_be_written() -> bool {
    std::env::var_os("CONFORMANCE").is_some_and(|word| word == "write")
}

/// The page has the table of today.
pub fn trial() -> Trial {
    Trial::test("checklist_in_docs_testing_md_is_of_these_lines", || {
        let page = fs::read_to_string(path()).unwrap();
        if is_to_be_written() || page == with_table(&page) {
            return Ok(());
        }
        Err("the checklist in docs/testing.md is old: CONFORMANCE=write cargo test --test conformance".into())
    })
}

/// Writes it, where that is asked for, once all lines have held.
pub fn write() {
    if is_to_be_written() {
        let page = fs::read_to_string(path()).unwrap();
        fs::write(path(), with_table(&page)).unwrap();
    }
}
