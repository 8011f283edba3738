//! Compares the reference documents with the program: settings, commands, API calls, findings, metrics,
//! tables, manual pages and shell completions.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tikkun::cli::{FAILED, GAVE_UP, OK, USAGE};
use tikkun::kinds::names;

fn tikkun(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
    let ended = command.args(args).env_clear().output().unwrap();
    assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The commands that the help of `command` lists.
fn listed(command: &[String]) -> Vec<String> {
    let args: Vec<_> = command.iter().map(String::as_str).chain(["-h"]).collect();
    let help = tikkun(&args);
    let Some((_, rest)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    // The text of a command may go on in the next line, further to the right.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != "help").collect()
}

/// Every command that does something, as the words that call it.
fn commands() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for top in listed(&[]) {
        let below = listed(std::slice::from_ref(&top));
        if below.is_empty() {
            found.push(vec![top]);
        } else {
            found.extend(below.into_iter().map(|name| vec![top.clone(), name]));
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// Whether the pages that the program makes are to be written and not compared.
#[allow(clippy::disallowed_methods, reason = "whoever starts the tests asks for the files")]
fn is_to_be_written() -> bool {
    std::env::var_os("REFERENCE").is_some_and(|word| word == "write")
}

#[test]
fn references_of_settings_and_metrics_are_what_the_program_says_of_itself() {
    for (page, option) in [("config/REFERENCE.md", "--reference"), ("config/METRICS.md", "--metrics")] {
        let made = tikkun(&["config", option]);
        if is_to_be_written() {
            fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(page), made).unwrap();
        } else {
            assert!(
                file(page) == made,
                "{page} is old: REFERENCE=write cargo test --locked --features failpoints --test suite reference::"
            );
        }
    }
}

#[test]
fn page_of_own_jobs_lists_every_kind_that_tikkun_brings_along() {
    let page = file("docs/your-own-job.md");
    let (_, table) = page.split_once("| kind | what it does |\n|---|---|\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: Vec<_> = rows.collect();
    assert!(
        listed.iter().copied().eq(names(true)),
        "docs/your-own-job.md: {listed:?}; there are {:?}",
        names(true)
    );
}

#[test]
fn reference_of_settings_is_there_for_programs_too() {
    let all: serde_json::Value = serde_json::from_str(&tikkun(&["config", "--reference", "--json"])).unwrap();
    let ttl = all.as_array().unwrap().iter().find(|one| one["key"] == "lease.ttl").unwrap();
    assert_eq!((&ttl["default"], &ttl["environment"][0]), (&"15s".into(), &"TIKKUN_LEASE__TTL".into()));
}

#[test]
fn page_of_the_command_line_names_every_command() {
    let page = file("docs/cli.md");
    for command in commands() {
        let row = format!("\n| `tikkun {}", command.join(" "));
        let ends = |rest: &str| rest.starts_with(['`', ' ']);
        assert!(
            page.match_indices(&row).any(|(at, _)| ends(&page[at + row.len()..])),
            "`tikkun {}` has no row in docs/cli.md",
            command.join(" ")
        );
    }
}

#[test]
fn pages_name_no_command_that_there_is_not() {
    let known = listed(&[]);
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let pages = folder.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let pages =
        pages.filter(|name| name.ends_with(".md")).chain(["README.md", "CONTRIBUTING.md"].map(str::to_owned));
    for name in pages {
        let page = file(&name);
        for rest in page.split("`tikkun ").skip(1) {
            let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            let is_stand_in = word.is_empty() || word.chars().all(|c| c.is_ascii_uppercase());
            assert!(is_stand_in || known.contains(&word), "{name}: there is no command `tikkun {word}`");
        }
    }
}

#[test]
fn page_of_operations_explains_every_exit_code() {
    let page = file("docs/operations.md");
    for code in [OK, FAILED, USAGE, GAVE_UP] {
        assert!(page.contains(&format!("\n| {code} |")), "exit code {code} is not in docs/operations.md");
    }
}

/// Every file of Rust code in a folder and those below it, before its tests.
fn code_below(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                let code = code.split("\n#[cfg(test)]").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
    }
    found
}

/// The calls in the code of the HTTP side, as `GET /api/v1/jobs`.
fn calls() -> Vec<String> {
    let mut found = Vec::new();
    for (file, code) in code_below("src/http") {
        let scope = match file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")).unwrap() {
            file if file.starts_with("api") => "/api/v1",
            file if file.starts_with("receipts") => "/api",
            file if ["health.rs", "queues.rs"].iter().any(|name| file == Path::new(name)) => "/api",
            _ => "",
        };
        for resource in code.split("resource(\"").skip(1) {
            let path = resource.split('"').next().unwrap();
            let scope = if path.starts_with("/api/") { "" } else { scope };
            for (handler, method) in
                [("web::get()", "GET"), ("web::post()", "POST"), ("web::delete()", "DELETE")]
            {
                found.extend(resource.contains(handler).then(|| format!("{method} {scope}{path}")));
            }
        }
    }
    assert!(found.len() > 40, "{found:?}");
    found
}

#[test]
fn page_of_http_names_every_call() {
    let page = file("docs/http-api.md");
    for call in calls() {
        assert!(page.contains(&format!("\n| `{call}` |")), "`{call}` has no row in docs/http-api.md");
    }
}

#[test]
fn page_of_operations_explains_every_finding_of_the_doctor() {
    let page = file("docs/operations.md");
    let mut codes = Vec::new();
    for (_, code) in code_below("src/cli/doctor") {
        for opening in
            ["(severity, \"", "(Severity::Error, \"", "(Severity::Warning, \"", "(Severity::Notice, \""]
        {
            codes.extend(
                code.split(opening).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
            );
        }
        let unreachable = code.split('"').filter(|word| word.ends_with("_unreachable")).map(str::to_owned);
        codes.extend(unreachable);
    }
    assert!(codes.len() > 15, "{codes:?}");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for code in codes {
        let names =
            |row: &&str| row.split(" | ").next().is_some_and(|cell| cell.contains(&format!("`{code}`")));
        assert!(rows.iter().any(names), "the finding `{code}` has no row in docs/operations.md");
    }
}

#[test]
fn page_of_the_configuration_names_every_section_and_every_variable_of_a_deployment() {
    let page = file("docs/configuration.md");
    let all: serde_json::Value = serde_json::from_str(&tikkun(&["config", "--reference", "--json"])).unwrap();
    let mut variables = 0;
    for key in all.as_array().unwrap() {
        let (section, _) = key["key"].as_str().unwrap().split_once('.').unwrap();
        let brackets = if section == "schedule" { "[[schedule]]".to_owned() } else { format!("[{section}]") };
        let row = format!("\n| [`{brackets}`](../config/REFERENCE.md#{section}) |");
        assert!(page.contains(&row), "`{brackets}` has no row in docs/configuration.md");
        for variable in key["environment"].as_array().into_iter().flatten() {
            let variable = variable.as_str().unwrap();
            if !variable.starts_with("TIKKUN_") {
                assert!(
                    page.contains(&format!("`{variable}`")),
                    "`{variable}` is not in docs/configuration.md"
                );
                variables += 1;
            }
        }
    }
    assert!(variables > 10, "{variables} variables of a deployment");
}

#[test]
fn page_of_metrics_names_metrics_that_there_are_and_where_all_of_them_stand() {
    let (page, all) = (file("docs/observability.md"), tikkun(&["config", "--metrics"]));
    assert!(
        page.contains("](../config/METRICS.md)"),
        "docs/observability.md does not link config/METRICS.md"
    );
    let named: Vec<_> = page.split('`').filter(|word| word.starts_with("tikkun_")).collect();
    assert!(named.len() > 10, "{named:?}");
    for metric in named {
        assert!(all.contains(&format!("| `{metric}` |")), "there is no metric `{metric}`");
    }
}

/// All sources of the tests in this folder.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension() {
        None if path.is_dir() => sources(&path),
        Some(kind) if kind == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    };
    entries.map(text).collect()
}

#[test]
fn page_of_tests_names_a_test_for_each_fault_that_others_report() {
    let page = file("docs/testing.md");
    let (_, section) = page.split_once("\n## What users of other systems report\n").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| ")).skip(1);
    let tests = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let mut faults = 0;
    for row in rows {
        let named: Vec<_> = row.split('`').skip(1).step_by(2).filter(|word| word.contains('_')).collect();
        assert!(!named.is_empty(), "no test in {row}");
        for name in named {
            assert!(tests.contains(&format!("fn {name}(")), "there is no test `{name}`");
        }
        faults += 1;
    }
    assert_eq!(faults, 11);
}

#[test]
fn page_of_postgresql_names_every_table_of_tikkuns_own() {
    let page = file("docs/postgresql.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let mut sources = vec![fs::read_to_string(folder.join("migrations.rs")).unwrap()];
    for entry in fs::read_dir(folder.join("migrations")).unwrap() {
        sources.push(fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let (mut tables, sources) = (0, sources.join("\n"));
    for made in sources.split("create table ").skip(1) {
        let table = made.split([' ', '(']).next().unwrap();
        assert!(page.contains(&format!("`{table}`")), "the table `{table}` is not in docs/postgresql.md");
        tables += 1;
    }
    assert_eq!(tables, 9, "docs/migrating-from-rq.md says how many there are");
}

#[test]
fn completions_of_every_shell_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tikkun(&["completions", shell]);
        for word in commands().concat() {
            assert!(script.contains(&word), "{shell} does not complete `{word}`");
        }
    }
}

#[test]
fn completions_can_be_read_by_the_shells_that_are_here() {
    for shell in ["bash", "zsh", "fish"] {
        let script = tikkun(&["completions", shell]);
        let mut command = Command::new(shell);
        command.arg("-n").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            // Bash is everywhere; the others are asked where somebody uses them.
            Err(error) => {
                assert!(error.kind() == ErrorKind::NotFound && shell != "bash", "{shell}: {error}");
                continue;
            }
        };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let read = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(read.status.success() && said.is_empty(), "{shell}: {said}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    tikkun(&["man", "--to", folder.path().to_str().unwrap()]);
    for command in commands() {
        let page = folder.path().join(format!("tikkun-{}.1", command.join("-")));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", page.display());
    }
    let whole = tikkun(&["man"]);
    assert!(whole.contains(".TH tikkun 1") && whole.contains("Exit codes"), "{whole}");
}
