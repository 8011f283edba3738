//! The values given for each key, and where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::mask::masked_url;
use super::value::{Privacy, Value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.toml`.
    Default,
    /// A file.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// The command line.
    Flag,
}

/// A value as given. It may be a secret, so it has no `Debug`.
pub(super) enum Raw {
    Text(String),
    Toml(toml::Value),
}

/// A value with its origin.
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) raw: Raw,
}

/// All given values by key. The last one of a key takes precedence.
pub(super) struct Layers {
    by_key: BTreeMap<String, Vec<Given>>,
    by_list: BTreeMap<String, Vec<(Origin, toml::Table)>>,
}

/// The most characters of a value in an error.
const SHOWN_CHARS: usize = 80;

impl Layers {
    pub(super) fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_list: BTreeMap::new() }
    }

    /// Adds a value that takes precedence over all earlier ones.
    pub(super) fn add(&mut self, key: impl Into<String>, origin: Origin, raw: Raw) {
        self.by_key.entry(key.into()).or_default().push(Given { origin, raw });
    }

    /// Appends a table to a list.
    pub(super) fn add_table(&mut self, list: impl Into<String>, origin: Origin, table: toml::Table) {
        self.by_list.entry(list.into()).or_default().push((origin, table));
    }

    /// The tables of a list, in their order.
    pub(super) fn tables(&self, list: &str) -> &[(Origin, toml::Table)] {
        self.by_list.get(list).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value that takes precedence, if any was given.
    pub(super) fn last(&self, key: &str) -> Option<&Given> {
        self.by_key.get(key).and_then(|all| all.last())
    }

    /// All values from the environment.
    pub(super) fn environment(&self, key: &str) -> impl Iterator<Item = &Given> {
        self.by_key.get(key).into_iter().flatten().filter(|given| matches!(given.origin, Origin::Env(_)))
    }
}

impl Raw {
    pub(super) fn read<T: Value>(&self) -> Option<T> {
        match self {
            Self::Text(text) => T::from_text(text),
            Self::Toml(value) => T::from_toml(value),
        }
    }

    /// The plain text; a number or a list from a file in TOML's notation.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Toml(toml::Value::String(text)) => text.clone(),
            Self::Toml(value) => value.to_string(),
        }
    }

    /// The text for an error: one line of at most [`SHOWN_CHARS`] characters, without secrets.
    pub(super) fn shown(&self, privacy: Privacy) -> String {
        let text = match privacy {
            Privacy::Open => self.text(),
            Privacy::Url => masked_url(&self.text()),
            Privacy::Secret => "***".to_owned(),
        };
        let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(escaped).collect();
        if text.chars().nth(SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        shown
    }
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// An effective setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `section.key`, or the name of the list: each of its tables is an entry.
    pub key: &'static str,
    /// The value as an environment variable would hold it; passwords are masked, secrets are `***`.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}
