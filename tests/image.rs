//! Checks the image's Dockerfile against the tree, without building it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tikkun::config::{Settings, Sources};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The instructions, with continued lines joined: name and rest.
fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap().replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').map(|(name, rest)| (name.into(), rest.trim().into())).unwrap())
        .collect()
}

fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(found, _)| found == name).map(|(_, rest)| rest).collect()
}

fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("`{json}` is not in exec form: {error}"))
}

#[test]
fn every_path_that_is_copied_exists_and_is_let_through() {
    let ignore = fs::read_to_string(root().join(".dockerignore")).unwrap();
    for copy in all("COPY").into_iter().filter(|copy| !copy.starts_with("--from")) {
        let mut paths: Vec<_> = copy.split_whitespace().collect();
        paths.pop();
        for path in paths {
            assert!(root().join(path).exists(), "COPY {path}: it is not there");
            assert!(ignore.lines().any(|line| line == format!("!{path}")), ".dockerignore keeps {path} out");
        }
    }
}

#[test]
fn everything_that_the_build_reads_is_copied() {
    let copied = all("COPY").join(" ");
    for needed in ["Cargo.toml", "Cargo.lock", "README.md", "config", "src"] {
        assert!(copied.contains(needed), "{needed} is not copied");
    }
    let dependencies = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!dependencies.contains("path = \"../"), "a dependency outside the tree is not copied");
}

/// Whether a path of the tree is copied before the build.
fn is_copied(path: &Path) -> bool {
    let copies = all("COPY").into_iter().filter(|copy| !copy.starts_with("--from"));
    let sources: Vec<_> = copies
        .flat_map(|copy| {
            let words: Vec<_> = copy.split_whitespace().map(str::to_owned).collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    sources.iter().any(|source| path.starts_with(root().join(source)))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn everything_that_is_built_into_the_program_is_copied() {
    let mut seen = 0;
    // What only tests read is not built into the program.
    let is_built = |file: &&PathBuf| {
        file.extension() == Some("rs".as_ref()) && !file.iter().any(|folder| folder == "tests")
    };
    for file in sources(&root().join("src")).iter().filter(is_built) {
        let code = fs::read_to_string(file).unwrap();
        // What only the tests of snippets read is not built in, either.
        let code = code.split("\n#[cfg(doctest)]").next().unwrap();
        for named in code.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = file.parent().unwrap().join(named).canonicalize().unwrap();
            assert!(is_copied(&path), "{} is built in and not copied", path.display());
            seen += 1;
        }
    }
    assert!(seen > 1);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse::<toml::Table>().unwrap();
    let made = all("RUN").join(" ");
    for kind in ["example", "bench", "test"] {
        for target in manifest.get(kind).and_then(toml::Value::as_array).into_iter().flatten() {
            let path = target["path"].as_str().expect("a named target says where it is");
            let is_there = is_copied(&root().join(path)) || made.contains(path);
            assert!(is_there, "Cargo.toml names {path}, which the build wants and nobody makes");
        }
    }
}

#[test]
fn toolchain_of_the_image_is_the_one_the_crate_wants() {
    let wanted = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse::<toml::Table>().unwrap();
    let version = wanted["package"]["rust-version"].as_str().unwrap();
    assert!(all("FROM")[0].starts_with(&format!("rust:{version}-")), "{:?}", all("FROM"));
}

#[test]
fn entry_point_and_health_command_are_commands_of_the_binary() {
    let health = all("HEALTHCHECK").remove(0);
    let health = words(&health[health.find('[').unwrap()..]);
    let entry = words(&all("ENTRYPOINT").remove(0));
    let default = words(&all("CMD").remove(0));
    assert_eq!(entry, ["tikkun"]);
    assert_eq!(health[0], "tikkun");
    for command in [&health[1], &default[0]] {
        let help = Command::new(env!("CARGO_BIN_EXE_tikkun")).args([command, "--help"]).output().unwrap();
        assert!(help.status.success(), "`tikkun {command}` is no command");
    }
}

#[test]
fn image_runs_as_nobody_in_particular_and_stops_by_sigterm() {
    assert_eq!(all("USER"), ["10001:10001"]);
    assert_eq!(all("STOPSIGNAL"), ["SIGTERM"]);
}

#[test]
fn environment_of_the_image_is_understood_and_wants_a_secret() {
    let pairs: Vec<(String, String)> = all("ENV")[0]
        .split_whitespace()
        .map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    let load = |secret: Option<&str>| {
        let mut env = pairs.clone();
        env.extend(secret.map(|secret| ("INTERNAL_SECRET".to_owned(), secret.to_owned())));
        Settings::load(&Sources { file: None, env, flags: Vec::new() })
    };
    let settings = load(Some("a-secret-of-some-length")).unwrap().settings;
    assert_eq!(settings.service.data, Path::new("/data"));
    assert_eq!(settings.http.address().to_string(), "[::]:8080");
    let refused = load(None).unwrap_err().to_string();
    assert!(refused.to_lowercase().contains("internal_secret"), "{refused}");
}
