//! What is written for people to look things up, held against the program: settings, commands, calls,
//! manual pages and what shells complete.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is what a test is for"
)]

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tikkun::cli::{FAILED, GAVE_UP, OK, USAGE};

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

#[test]
fn reference_of_settings_is_what_the_program_says_of_itself() {
    let same = file("config/REFERENCE.md") == tikkun(&["config", "--reference"]);
    assert!(same, "config/REFERENCE.md is old: cargo run -- config --reference > config/REFERENCE.md");
}

#[test]
fn reference_of_settings_is_there_for_programs_too() {
    let all: serde_json::Value = serde_json::from_str(&tikkun(&["config", "--reference", "--json"])).unwrap();
    let ttl = all.as_array().unwrap().iter().find(|one| one["key"] == "lease.ttl").unwrap();
    assert_eq!((&ttl["default"], &ttl["environment"][0]), (&"15s".into(), &"TIKKUN_LEASE__TTL".into()));
}

#[test]
fn readme_names_every_command_and_every_exit_code() {
    let readme = file("README.md");
    for command in commands() {
        let named = format!("`tikkun {}", command.join(" "));
        let ends = |rest: &str| rest.starts_with(['`', ' ']);
        assert!(
            readme.match_indices(&named).any(|(at, _)| ends(&readme[at + named.len()..])),
            "{named}` is not in README.md"
        );
    }
    for code in [OK, FAILED, USAGE, GAVE_UP] {
        assert!(readme.contains(&format!("\n| {code} |")), "exit code {code} is not in README.md");
    }
}

/// The paths in the code of the window, in the order of its files.
fn paths() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let code = fs::read_to_string(path).unwrap();
                let code = code.split("\n#[cfg(test)]").next().unwrap().to_owned();
                for opening in ["resource(\"", "route(\"", "scope(\""] {
                    let after = code.split(opening).skip(1);
                    found.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
                }
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

#[test]
fn readme_names_every_call_of_the_window() {
    let readme = file("README.md");
    for path in paths() {
        assert!(readme.contains(&path), "`{path}` is not in README.md");
    }
}

#[test]
fn readme_explains_every_finding_of_the_doctor() {
    let readme = file("README.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/doctor");
    let mut codes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let code = fs::read_to_string(entry.unwrap().path()).unwrap();
        let code = code.split("\n#[cfg(test)]").next().unwrap().to_owned();
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
    for code in codes {
        assert!(readme.contains(&format!("`{code}`")), "the finding `{code}` is not in README.md");
    }
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
