//! Reads typed values by key, records the origin of each, and collects all problems.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::environment::variable;
use super::keys::Keys;
use super::layers::{Entry, Given, Layers, Origin, Raw};
use super::problem::{Problem, Warning};
use super::table::TableReader;
use super::value::{Privacy, Value, is_quoted};

/// The hint for an unusable value in quotes.
pub(super) const QUOTES: &str =
    "; the quotes are taken as part of it (`docker --env-file` does not take them off): leave them out";

/// The state of reading the sections.
pub(super) struct Reader<'a> {
    keys: &'a Keys,
    layers: &'a Layers,
    env: &'a [(String, String)],
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        keys: &'a Keys,
        layers: &'a Layers,
        env: &'a [(String, String)],
        problems: Vec<Problem>,
    ) -> Self {
        Self { keys, layers, env, entries: Vec::new(), problems, warnings: Vec::new() }
    }

    /// An environment variable that is not a setting's. A blank one counts as not set.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        let found = self.env.iter().find(|(known, value)| known == name && !value.trim().is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a value that its type allows.
    pub(super) fn get<T: Value>(&mut self, key: &'static str) -> T {
        self.read(key, T::EXPECTED, |_| true)
    }

    /// Reads a whole number within bounds.
    pub(super) fn within<T>(&mut self, key: &'static str, bounds: RangeInclusive<T>) -> T
    where
        T: Value + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.read(key, &expected, |value| bounds.contains(value))
    }

    /// Reads a duration longer than zero.
    pub(super) fn duration(&mut self, key: &'static str) -> Duration {
        let expected = format!("{}, longer than zero", Duration::EXPECTED);
        self.read(key, &expected, |duration: &Duration| !duration.is_zero())
    }

    /// Reads a value that its type allows and that `fits` accepts; `expected` describes it in errors.
    pub(super) fn read<T: Value>(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&T) -> bool,
    ) -> T {
        self.compare_environment::<T>(key);
        let (origin, value) = match self.layers.last(key) {
            Some(given) => (given.origin.clone(), given.raw.read::<T>()),
            None => (Origin::Default, self.keys.default_of(key).and_then(T::from_toml)),
        };
        match value.filter(|value| fits(value)) {
            Some(value) => {
                self.warn_of_ends::<T>(key);
                self.entries.push(Entry { key, value: value.show(), origin });
                value
            }
            None => {
                self.unusable::<T>(key, expected);
                T::stand_in()
            }
        }
    }

    /// The tables of a list, in their order.
    pub(super) fn tables(&self, list: &str) -> &'a [(Origin, toml::Table)] {
        self.layers.tables(list)
    }

    /// Adds a table of a list as it was read: as an entry, or with its problems.
    pub(super) fn add_table(&mut self, list: &'static str, table: TableReader<'_>, origin: &Origin) {
        if table.problems.is_empty() {
            let value = toml::Value::Table(table.shown).to_string();
            self.entries.push(Entry { key: list, value, origin: origin.clone() });
        }
        table.problems.into_iter().for_each(|problem| self.refuse(problem));
    }

    /// The text given for a key in the environment or by a flag; `None` for a default or a value from a file.
    pub(super) fn given_text(&self, key: &str) -> Option<String> {
        match self.layers.last(key)?.raw {
            Raw::Text(ref text) => Some(text.clone()),
            Raw::Toml(_) => None,
        }
    }

    /// Whether somebody has given the key a value.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.layers.last(key).is_some()
    }

    /// The key as messages name it: with the origin of its value, else with the variable that would set it.
    pub(super) fn name(&self, key: &str) -> String {
        match self.layers.last(key).map(|given| &given.origin) {
            Some(origin) => format!("`{key}` (from {origin})"),
            None => format!("`{key}` ({})", variable(key)),
        }
    }

    /// Whether a usable value of the key has been read.
    pub(super) fn is_read(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Adds a problem.
    pub(super) fn refuse(&mut self, text: impl Into<String>) {
        self.problems.push(Problem::new(text));
    }

    /// Warns that blanks at the ends of a secret are removed, and that quotes are kept.
    fn warn_of_ends<T: Value>(&mut self, key: &str) {
        let Some(given) = self.layers.last(key) else { return };
        let text = given.raw.text();
        let what = if T::PRIVACY == Privacy::Secret && text.trim() != text {
            "begins or ends with blanks or a line end, which are left out"
        } else if matches!(given.origin, Origin::Env(_)) && is_quoted(&text) {
            "begins and ends with a quote, which is taken as part of it: `docker --env-file` does not take quotes off"
        } else {
            return;
        };
        self.warnings.push(Warning::warn(format!("{} {what}", self.name(key))));
    }

    fn unusable<T: Value>(&mut self, key: &str, expected: &str) {
        let given = self.layers.last(key);
        let is_quoted =
            given.is_some_and(|given| matches!(given.raw, Raw::Text(_)) && is_quoted(&given.raw.text()));
        let quotes = if is_quoted { QUOTES } else { "" };
        let text = match given {
            Some(given) if T::PRIVACY == Privacy::Secret => {
                format!("`{key}` (from {}) cannot be used, expected {expected}{quotes}", given.origin)
            }
            Some(given) => format!(
                "`{key}` is `{}` (from {}), expected {expected}{quotes}",
                given.raw.shown(T::PRIVACY),
                given.origin
            ),
            None => format!("`{key}` has no usable default in the built-in manual, expected {expected}"),
        };
        self.refuse(text);
    }

    /// Refuses different values in the deployment's variable and our own.
    fn compare_environment<T: Value>(&mut self, key: &str) {
        let mut both = self.layers.environment(key);
        let (Some(first), Some(second)) = (both.next(), both.last()) else { return };
        if same::<T>(first, second) {
            return;
        }
        let values = match T::PRIVACY {
            Privacy::Secret => String::new(),
            privacy => format!(" (`{}` and `{}`)", first.raw.shown(privacy), second.raw.shown(privacy)),
        };
        let text = format!(
            "{} and {} both set `{key}`, but differ{values}: unset one of them",
            first.origin, second.origin
        );
        self.refuse(text);
    }
}

fn same<T: Value>(a: &Given, b: &Given) -> bool {
    let equal_text = a.raw.text().trim() == b.raw.text().trim();
    match (T::PRIVACY, a.raw.read::<T>(), b.raw.read::<T>()) {
        (Privacy::Open, Some(a), Some(b)) => a.show() == b.show(),
        _ => equal_text,
    }
}
