//! The sources of settings: file, environment and command line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::{self, CONFIG_VARIABLE};
use super::keys::{Keys, LISTS};
use super::layers::{Layers, Origin, Raw};
use super::nearest::nearest;
use super::problem::Problem;

/// The file that is read if none is named.
const USUAL_FILE: &str = "./tikkun.toml";

/// The sources of settings, besides the built-in defaults.
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment: names and values.
    pub env: Vec<(String, String)>,
    /// The command line: keys (`lease.ttl`) and values. If a key is repeated, its last value counts.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The sources of this process. `file` is the value of `--config`. Without it, the file is the one in
    /// TIKKUN_CONFIG, else `./tikkun.toml` if it exists.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let env = environment::of_process();
        let file = choose_file(file, &env, Path::new(USUAL_FILE));
        Self { file, env, flags }
    }

    /// The sources of a process that runs an application's own worker: its environment is that of the application, so
    /// only Tikkun's own variables and the secret of its HTTP API are read.
    #[must_use]
    pub fn beside_application(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let mut sources = Self::from_process(file, flags);
        sources.env.retain(|(name, _)| environment::is_own(name));
        sources
    }

    /// No file, no environment, no flags: the defaults.
    #[must_use]
    pub fn none() -> Self {
        Self { file: None, env: Vec::new(), flags: Vec::new() }
    }

    /// Sets one key, with precedence over all earlier values: `set("service.data", "/srv/jobs")`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push((key.into(), value.into()));
        self
    }

    pub(super) fn layers(&self, keys: &Keys) -> (Layers, Vec<Problem>) {
        let mut layers = Layers::new();
        let mut problems = Vec::new();
        if let Some(path) = &self.file {
            match read_file(path) {
                Ok(table) => problems.extend(add_file(path, table, keys, &mut layers)),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(environment::add(&self.env, keys, &mut layers));
        for (key, value) in &self.flags {
            if keys.contains(key) {
                layers.add(key, Origin::Flag, Raw::Text(value.clone()));
            } else {
                problems.push(unknown_key(key, &Origin::Flag, keys));
            }
        }
        (layers, problems)
    }
}

/// Prints names only, because values may be secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &names(&self.env))
            .field("flags", &names(&self.flags))
            .finish()
    }
}

fn choose_file(flag: Option<PathBuf>, env: &[(String, String)], usual: &Path) -> Option<PathBuf> {
    let variable = || env.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
    flag.or_else(|| variable().map(|(_, value)| PathBuf::from(value)))
        .or_else(|| usual.exists().then(|| usual.to_owned()))
}

fn read_file(path: &Path) -> Result<toml::Table, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Problem::new(format!("cannot read the configuration file {}: {e}", path.display())))?;
    text.parse().map_err(|e| syntax(path, &text, &e))
}

/// Only the parser's message: the line itself may contain a secret.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let place = error.span().map_or_else(String::new, |span| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        format!(", line {line}, column {column}")
    });
    let said = error.message().lines().collect::<Vec<_>>().join(" ");
    Problem::new(format!("{}{place}: not valid TOML: {said}", path.display()))
}

fn add_file(path: &Path, table: toml::Table, keys: &Keys, layers: &mut Layers) -> Vec<Problem> {
    let origin = Origin::File(path.to_owned());
    let mut problems = Vec::new();
    for (section, value) in table {
        let is_section = matches!(value, toml::Value::Table(_)) && keys.has_section(&section);
        match value {
            value if LISTS.contains(&section.as_str()) && !is_section => match tables(value) {
                Some(tables) => {
                    tables.into_iter().for_each(|table| layers.add_table(&section, origin.clone(), table));
                }
                None => problems.push(Problem::new(format!(
                    "`{section}` in {origin} is a list, expected `[[{section}]]` with keys under each"
                ))),
            },
            toml::Value::Table(values) if is_section => {
                for (key, value) in values {
                    let key = format!("{section}.{key}");
                    if keys.contains(&key) {
                        layers.add(key, origin.clone(), Raw::Toml(value));
                    } else {
                        problems.push(unknown_key(&key, &origin, keys));
                    }
                }
            }
            toml::Value::Table(_) => problems.push(unknown_section(&section, &origin, keys)),
            value if tables(value.clone()).is_some() => {
                problems.push(unknown_list(&section, &origin));
            }
            _ if keys.has_section(&section) => problems.push(Problem::new(format!(
                "`{section}` in {origin} is a section, expected `[{section}]` with keys under it"
            ))),
            _ => problems.push(unknown_key(&section, &origin, keys)),
        }
    }
    problems
}

/// The tables of a list; `None` if it is not a list of tables.
fn tables(value: toml::Value) -> Option<Vec<toml::Table>> {
    let toml::Value::Array(items) = value else { return None };
    let table = |item| if let toml::Value::Table(table) = item { Some(table) } else { None };
    items.into_iter().map(table).collect()
}

fn unknown_list(list: &str, origin: &Origin) -> Problem {
    let hint = nearest(list, LISTS.into_iter()).map_or_else(
        || format!("; the lists are {}", LISTS.join(", ")),
        |found| format!("; did you mean `[[{found}]]`?"),
    );
    Problem::new(format!("unknown list `[[{list}]]` in {origin}{hint}"))
}

fn unknown_key(key: &str, origin: &Origin, keys: &Keys) -> Problem {
    let hint = keys.nearest(key).map_or_else(String::new, |found| format!("; did you mean `{found}`?"));
    Problem::new(format!("unknown key `{key}` in {origin}{hint}"))
}

fn unknown_section(section: &str, origin: &Origin, keys: &Keys) -> Problem {
    let hint = nearest(section, keys.sections()).map_or_else(
        || format!("; the sections are {}", list_of_sections(keys)),
        |found| format!("; did you mean `[{found}]`?"),
    );
    Problem::new(format!("unknown section `[{section}]` in {origin}{hint}"))
}

fn list_of_sections(keys: &Keys) -> String {
    let mut sections: Vec<&str> = keys.sections().collect();
    sections.dedup();
    sections.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::fuzz;

    #[test]
    fn a_file_comes_from_the_flag_then_the_variable_then_the_usual_place() {
        let folder = tempfile::tempdir().unwrap();
        let usual = folder.path().join("tikkun.toml");
        let env = [(CONFIG_VARIABLE.to_owned(), "/etc/b.toml".to_owned())];
        assert_eq!(choose_file(None, &[], &usual), None);
        std::fs::write(&usual, "").unwrap();
        assert_eq!(choose_file(None, &[], &usual), Some(usual.clone()));
        assert_eq!(choose_file(None, &env, &usual), Some("/etc/b.toml".into()));
        assert_eq!(choose_file(Some("a.toml".into()), &env, &usual), Some("a.toml".into()));
    }

    /// Whatever a file has become, it is read or refused in words, and no secret is shown that still has its name.
    #[test]
    fn fuzz_files() {
        let files = [
            "[broker]\nurl = \"redis://u:hunter2@h:6379/0\"\n[http]\ninternal_secret = \"trustno1\"\nport = 8080\n",
            "[store]\nurl = \"postgresql://u:hunter2@h/db?sslmode=require\"\n[lease]\nttl = \"15s\"\n",
            "[attachments]\ndriver = \"s3\"\ns3_bucket = \"b\"\ns3_secret_access_key = \"trustno1\"\n",
            "[[schedule]]\nname = \"nightly\"\ncron = \"0 3 * * *\"\nzone = \"Europe/Berlin\"\nkind = \"tikkun.noop\"\n",
            "[deletion]\nbatch = 50\nthrottle = \"200ms\"\n[worker]\nslots = 4\nqueues = [\"high\", \"low\"]\n",
        ];
        let named = [
            ("://u:hunter2@", "hunter2"),
            ("secret = \"trustno1", "trustno1"),
            ("key = \"trustno1", "trustno1"),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        fuzz("files", files.map(|text| text.as_bytes().to_vec()), |bytes| {
            std::fs::write(file.path(), bytes).unwrap();
            let sources = Sources { file: Some(file.path().to_owned()), ..Sources::none() };
            let Err(error) = crate::config::Settings::load(&sources) else { return };
            assert!(!error.problems().is_empty());
            let (text, shown) = (String::from_utf8_lossy(bytes), error.to_string());
            for (name, secret) in named {
                let is_there = text.contains(name) && text.matches(secret).count() == 1;
                assert!(!is_there || !shown.contains(secret), "{shown}");
            }
        });
    }

    #[test]
    fn debug_prints_names_but_no_values() {
        let pair = |name: &str| vec![(name.to_owned(), "hunter2".to_owned())];
        let sources = Sources { file: None, env: pair("INTERNAL_SECRET"), flags: pair("broker.url") };
        let shown = format!("{sources:?}");
        assert!(shown.contains("INTERNAL_SECRET") && !shown.contains("hunter2"), "{shown}");
    }
}
