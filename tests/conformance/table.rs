//! The table of what holds, made from the lines whose tests have just passed.

use std::fs;
use std::path::Path;

use crate::lines::LINES;
use crate::python::ALL;

const BEGIN: &str = "<!-- conformance: begin -->\n";
const END: &str = "<!-- conformance: end -->";
const HEAD: &str = "| # | line | rq 1.16.2 | rq 2.12.0 | rq 3.0.0 |\n|---|---|---|---|---|\n";

fn table() -> String {
    let mut text = HEAD.to_owned();
    for line in LINES {
        let cell = |version| if line.on.contains(version) { "✓" } else { "–" };
        let cells: Vec<_> = ALL.iter().map(cell).collect();
        text += &format!("| {} | {} | {} |\n", line.number, line.claim, cells.join(" | "));
    }
    text
}

/// The page with the table of today between its marks.
fn with_table(page: &str) -> String {
    let (before, rest) =
        page.split_once(BEGIN).unwrap_or_else(|| panic!("README.md has no `{}`", BEGIN.trim()));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("README.md has no `{END}`"));
    format!("{before}{BEGIN}{}{END}{after}", table())
}

/// Whether the README says the same; it is written when that is asked for.
#[allow(clippy::disallowed_methods, reason = "whoever starts the tests asks for the file")]
pub fn holds() -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let page = fs::read_to_string(&path).unwrap();
    let wanted = with_table(&page);
    if std::env::var_os("CONFORMANCE").is_some_and(|word| word == "write") {
        fs::write(&path, &wanted).unwrap();
        return true;
    }
    if page != wanted {
        eprintln!("the checklist in README.md is old: CONFORMANCE=write cargo test --test conformance");
    }
    page == wanted
}
