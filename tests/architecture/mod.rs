//! Checks the layers of the tree: imports go down only, without cycles, and no layer uses what it must not
//! know.

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit as _;

/// Every module of the crate with its layer. A module may use modules of lower layers, and of its own
/// layer only where `SIDEWAYS` says so.
const LAYERS: [(&str, u8); 28] = [
    ("backoff", 0),
    ("certificate", 0),
    ("failpoint", 0),
    ("fault", 0),
    ("job", 0),
    ("job_log", 0),
    ("user_log", 0),
    ("supervision", 0),
    ("config", 1),
    ("deadline", 1),
    ("measure", 1),
    ("migrations", 1),
    ("sqlite", 1),
    ("blob", 2),
    ("python", 2),
    ("queue", 2),
    ("store", 2),
    ("webhooks", 2),
    ("worker", 3),
    ("tracking", 3),
    ("deletion", 4),
    ("maintenance", 5),
    ("kinds", 5),
    ("operations", 6),
    ("http", 7),
    ("runtime", 8),
    ("cli", 9),
    ("main", 10),
];

/// Uses within one layer that are meant: the outbox names the store that its objects lie in.
const SIDEWAYS: [(&str, &str); 1] = [("store", "blob")];

/// The adapters, and what opens them.
const ADAPTERS: &[&str] =
    &["sqlx::", "open_embedded", "open_rq", "open_sqlite", "open_postgres", "open_directory", "open_s3"];

/// What a layer must never know, as text in its code.
const FORBIDDEN: [(&str, &[&str]); 26] = [
    ("certificate", &["actix", "tokio", "sqlx::", "std::env", "Utc::now", "Instant::now", "SystemTime"]),
    ("job", &["actix", "tokio", "sqlx::", "redis", "std::env", "Utc::now", "Instant::now", "SystemTime"]),
    ("fault", &["actix", "tokio", "sqlx::"]),
    ("config", &["actix", "sqlx::", "tokio"]),
    ("measure", &["actix", "tokio", "sqlx::", "redis"]),
    ("sqlite", &["actix", "crate::job", "crate::queue", "crate::store"]),
    ("queue", &["actix", "crate::store", "crate::blob"]),
    ("store", &["actix", "crate::queue"]),
    ("blob", &["actix", "crate::queue", "crate::store"]),
    ("python", &["actix", "redis::", "sqlx::", "crate::queue", "crate::store", "crate::blob"]),
    ("webhooks", &["actix", "redis::", "sqlx::"]),
    ("supervision", &["crate::job", "crate::queue", "crate::store", "crate::worker"]),
    ("worker", ADAPTERS),
    ("worker", &["Supervisor"]),
    ("tracking", ADAPTERS),
    ("tracking", &["Supervisor"]),
    ("deletion", ADAPTERS),
    ("deletion", &["crate::queue"]),
    ("maintenance", ADAPTERS),
    ("maintenance", &["Supervisor"]),
    ("operations", ADAPTERS),
    ("operations", &["actix", "clap"]),
    ("http", ADAPTERS),
    ("http", &["Supervisor"]),
    ("cli", ADAPTERS),
    ("runtime", &["sqlx::"]),
];

/// Modules that sound like a drawer.
const DRAWERS: [&str; 9] =
    ["utils", "util", "helpers", "common", "misc", "shared", "types", "models", "manager"];

/// Words that a newcomer would need a glossary for, each with what the field calls it.
const DISCARDED: [(&str, &str); 15] = [
    ("desk", "control, endpoint or reader"),
    ("errand", "dispatch"),
    ("tally", "attempt metrics"),
    ("asides", "isolated threads"),
    ("tenure", "leader lease"),
    ("tending", "foreign workers"),
    ("taker", "listener"),
    ("planter", "builder"),
    ("offshoot", "new branch"),
    ("baggage", "context"),
    ("kennel", "inner"),
    ("lobby", "start-up server"),
    ("entrance", "auth"),
    ("visitor", "user or principal"),
    ("wisher", "principal"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The code of a file before its tests, without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The crate's module that a file belongs to.
fn module(path: &Path) -> String {
    let relative = path.strip_prefix(root()).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a file's code names by `crate::…`.
fn uses(code: &str) -> BTreeSet<String> {
    let names = code
        .split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_go_down_only() {
    let layers: BTreeMap<_, _> = LAYERS.into_iter().collect();
    let mut wrong = Vec::new();
    for path in sources(&root()) {
        let from = module(&path);
        if from == "lib" {
            continue;
        }
        let Some(layer) = layers.get(from.as_str()) else {
            wrong.push(format!("{from} has no layer: give it one in this test"));
            continue;
        };
        for to in uses(&code(&path)).into_iter().filter(|to| *to != from) {
            let Some(below) = layers.get(to.as_str()) else { continue };
            let meant = SIDEWAYS.contains(&(from.as_str(), to.as_str()));
            if below > layer || (below == layer && *layer > 0 && !meant) {
                wrong.push(format!("{} (layer {layer}) uses {to} (layer {below})", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The stops between fetch and settlement as the manual has them: the function, and the file that it is in.
fn stops(page: &str) -> Vec<(String, String)> {
    let (mut stops, mut file) = (Vec::new(), String::new());
    let section = page.split_once("### From fetch to settlement").unwrap().1;
    for row in section.split("\n## ").next().unwrap().lines() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, number, stop, place, ..] = cells.as_slice() else { continue };
        if number.parse::<usize>().is_err() {
            continue;
        }
        if let Some((_, link)) = place.split_once("](../src/") {
            file = link.trim_end_matches(')').to_owned();
        }
        stops.push((stop.trim_matches('`').to_owned(), file.clone()));
    }
    stops
}

#[test]
fn path_of_a_job_is_short_and_stands_in_the_code_as_the_manual_has_it() {
    let stops = stops(&fs::read_to_string(root().join("../docs/architecture.md")).unwrap());
    assert!((1..=12).contains(&stops.len()), "{stops:?}");
    for (stop, file) in stops {
        let code = code(&root().join(&file));
        assert!(code.contains(&format!("fn {stop}(")), "there is no `{stop}` in {file}");
    }
}

#[test]
fn no_layer_knows_what_it_must_never_know() {
    let mut wrong = Vec::new();
    for path in sources(&root()) {
        let (from, code) = (module(&path), code(&path));
        for (_, words) in FORBIDDEN.iter().filter(|(name, _)| *name == from) {
            for word in words.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{} names `{word}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_tracker_asks_the_store_to_move_a_status() {
    let moves = [".begin_attempt(", ".end_attempt(", ".revive(", ".fail_unbegun(", ".person("];
    let tracker = root().join("tracking/status_tracker.rs");
    let above = |path: &Path| {
        ["worker", "tracking", "deletion", "maintenance", "kinds", "operations", "http", "runtime", "cli"]
            .contains(&module(path).as_str())
    };
    for path in sources(&root()).into_iter().filter(|path| *path != tracker && above(path)) {
        let code = code(&path);
        let call = moves.iter().find(|call| code.contains(**call));
        assert_eq!(call, None, "{} moves a status: send a message to the StatusTracker", path.display());
    }
}

#[test]
fn front_pages_hold_no_code_and_nothing_is_a_drawer() {
    for path in sources(&root()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!DRAWERS.contains(&name), "{}: say what is in it", path.display());
        if name == "mod" && module(&path) != "cli" {
            let code = code(&path);
            assert!(!code.contains("impl "), "{} is a front page: it holds no impl", path.display());
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//!") || text.starts_with("#![doc"),
            "{} does not say what it is for",
            path.display()
        );
    }
}

/// The most lines of a file before its tests, and the most files of a folder beside its sub-folders.
const LINES: usize = 300;
const FILES: usize = 25;

#[test]
fn files_and_folders_are_small_enough_to_read() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in sources(&root()).into_iter().chain(sources(&tests())) {
        *folders.entry(path.parent().unwrap().to_owned()).or_default() += 1;
        let text = fs::read_to_string(&path).unwrap();
        let before_tests = text.split("\n#[cfg(test)]").next().unwrap_or_default().lines().count();
        if before_tests > LINES && !path.starts_with(tests()) {
            wrong.push(format!("{} has {before_tests} lines before its tests", path.display()));
        }
    }
    // Its files are each the tests of one part, or lead into a folder of them.
    folders.remove(&tests());
    for (folder, files) in folders.into_iter().filter(|(_, files)| *files > FILES) {
        wrong.push(format!("{} has {files} files: give it sub-folders", folder.display()));
    }
    assert!(wrong.is_empty(), "at most {LINES} lines and {FILES} files:\n{}", wrong.join("\n"));
}

/// Parameters and what `let` and patterns bind, save `visitor`, which is serde's own word.
#[derive(Default)]
struct Bound(Vec<String>);

impl<'ast> syn::visit::Visit<'ast> for Bound {
    fn visit_pat_ident(&mut self, bound: &'ast syn::PatIdent) {
        self.0.extend(Some(bound.ident.to_string()).filter(|name| name != "visitor"));
        syn::visit::visit_pat_ident(self, bound);
    }
}

#[test]
fn nothing_of_ours_has_a_discarded_name() {
    let kinds = ["struct ", "enum ", "trait ", "type ", "fn ", "mod ", "const ", "static "];
    let mut wrong = Vec::new();
    for path in sources(&root()).into_iter().chain(sources(&tests())) {
        let (stem, code) = (path.file_stem().unwrap().to_str().unwrap().to_owned(), code(&path));
        let mut bound = Bound::default();
        bound.visit_file(&syn::parse_file(&code).unwrap());
        let declared = code.lines().flat_map(|line| {
            let after = kinds.iter().filter_map(|kind| line.split(kind).nth(1));
            after
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        });
        for name in declared.chain(bound.0).chain([stem]) {
            let words = words_of(&name);
            for (word, better) in DISCARDED.iter().filter(|(word, _)| words.iter().any(|one| one == word)) {
                wrong.push(format!("{}: `{name}` says {word}; the word is {better}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The words of a name in either spelling, in small letters.
fn words_of(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            spaced.push('_');
        }
        spaced.extend(c.to_lowercase());
    }
    spaced.split('_').map(str::to_owned).collect()
}

/// Versions with a published fault that a request from outside can reach: name, and how the bad versions begin.
const FAULTY: [(&str, &str); 1] = [("h2", "0.3.")];

#[test]
fn no_crate_of_a_version_with_a_published_fault_is_built_in() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    for package in lock["package"].as_array().unwrap() {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        let faulty = FAULTY.iter().any(|(bad, begins)| name == *bad && version.starts_with(begins));
        assert!(!faulty, "{name} {version} has a published fault");
    }
}
