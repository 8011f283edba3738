//! Reads one table of a list (`[[schedule]]`): typed values, key by key. Every problem names the table.

use super::layers::Origin;
use super::nearest::nearest;
use super::value::{Privacy, Value};

/// A key of such a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) unless_given: Unless,
}

/// What applies if a key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unless {
    /// This default, as in `config/default.toml`.
    Is(&'static str),
    /// No default is needed.
    Free,
    /// It is a problem.
    Refused,
}

/// The state of reading one table.
pub(super) struct TableReader<'a> {
    title: String,
    origin: &'a Origin,
    table: &'a toml::Table,
    keys: &'static [Key],
    pub(super) shown: toml::Table,
    pub(super) problems: Vec<String>,
}

impl<'a> TableReader<'a> {
    /// `title` names the table in messages. Keys that are not in `keys` are problems.
    pub(super) fn new(
        title: String,
        (origin, table): (&'a Origin, &'a toml::Table),
        keys: &'static [Key],
    ) -> Self {
        let mut reader = Self { title, origin, table, keys, shown: toml::Table::new(), problems: Vec::new() };
        for unknown in table.keys().filter(|given| keys.iter().all(|key| key.name != given.as_str())) {
            let hint = nearest(unknown, keys.iter().map(|key| key.name)).map_or_else(
                || {
                    format!(
                        "; its keys are {}",
                        keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
                    )
                },
                |found| format!("; did you mean `{found}`?"),
            );
            reader.problems.push(format!("{} has an unknown key `{unknown}`{hint}", reader.name()));
        }
        reader
    }

    /// Reads a value that its type allows and that `fits` accepts; `expected` describes it in errors.
    pub(super) fn read<T: Value>(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&T) -> bool,
    ) -> T {
        let unless = self.keys.iter().find(|known| known.name == key).map(|known| known.unless_given);
        let (given, value) = match (self.table.get(key), unless) {
            (Some(given), _) => (Some(given.clone()), T::from_toml(given)),
            (None, Some(Unless::Is(text))) => (Some(toml::Value::from(text)), T::from_text(text)),
            (None, _) => (None, None),
        };
        match value.filter(|value| fits(value)) {
            Some(value) => {
                self.shown.extend(given.map(|given| (key.to_owned(), given)));
                value
            }
            None => {
                let said = match given {
                    Some(_) if T::PRIVACY == Privacy::Secret => "cannot be used".to_owned(),
                    Some(given) => format!("is `{}`", bare(&given)),
                    None => "is missing".to_owned(),
                };
                self.problems.push(format!("{}: `{key}` {said}, expected {expected}", self.name()));
                T::stand_in()
            }
        }
    }

    /// The same for an optional key.
    pub(super) fn read_if_given<T: Value>(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.table.contains_key(key).then(|| self.read(key, expected, fits))
    }

    /// The text of a key, if it is text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.table.get(key).and_then(toml::Value::as_str)
    }

    /// The title of the table with its origin, for messages.
    pub(super) fn name(&self) -> String {
        format!("{} (from {})", self.title, self.origin)
    }
}

/// The value for an error: one line of at most 80 characters.
fn bare(value: &toml::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let cut: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    cut
}
