//! The known keys, read from `config/default.toml`.

use std::collections::BTreeMap;

use super::nearest::nearest;
use super::problem::Problem;

/// `config/default.toml`: the reference of all settings, and the source of all defaults.
pub(super) const MANUAL: &str = include_str!("../../config/default.toml");

/// The lists of tables, `[[name]]`. They have no defaults, come from files only, and appear in `default.toml`
/// as comments.
pub(super) const LISTS: [&str; 3] = [SCHEDULES, DELETIONS, PYTHON_WORKERS];

pub(super) const SCHEDULES: &str = "schedule";
/// A section of this name has the settings of all deletions.
pub(super) const DELETIONS: &str = "deletion";
/// A section of this name holds what a worker of the list does not say itself.
pub(super) const PYTHON_WORKERS: &str = "python";

/// The known keys, `section.key`, with their defaults.
pub(super) struct Keys {
    defaults: BTreeMap<String, toml::Value>,
}

impl Keys {
    pub(super) fn from_manual() -> Result<Self, Problem> {
        let broken = |e: toml::de::Error| Problem::new(format!("the built-in manual: {}", e.message()));
        let sections = MANUAL.parse::<toml::Table>().map_err(broken)?;
        let mut defaults = BTreeMap::new();
        for (section, value) in sections {
            let toml::Value::Table(keys) = value else { continue };
            defaults.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
        }
        Ok(Self { defaults })
    }

    pub(super) fn default_of(&self, key: &str) -> Option<&toml::Value> {
        self.defaults.get(key)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.defaults.contains_key(key)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.defaults.keys().map(String::as_str)
    }

    pub(super) fn has_section(&self, section: &str) -> bool {
        self.sections().any(|known| known == section)
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.names().filter_map(|key| key.split('.').next())
    }

    /// The known key that was probably meant: one with a similar name, or the same word in another section.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let word = last_part(name);
        nearest(name, self.names()).or_else(|| self.names().find(|key| last_part(key) == word))
    }
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_manual_has_a_comment_of_its_own_with_its_default() {
        let lines: Vec<&str> = MANUAL.lines().collect();
        let mut seen = 0;
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_key_line(line)) {
            let comment: Vec<&str> =
                lines[..at].iter().rev().take_while(|line| line.starts_with("# ")).copied().collect();
            let text = comment.concat();
            assert!(text.len() > 40 && text.contains("Default: "), "`{line}` needs a comment");
            let value = line.split_once(" = ").unwrap().1.trim_matches('"');
            let is_plain = !value.is_empty() && !value.starts_with(['[', '{']);
            assert!(
                !is_plain || text.contains(&format!("Default: {value}")),
                "`{line}` is not as its comment says"
            );
            seen += 1;
        }
        assert_eq!(seen, Keys::from_manual().unwrap().names().count());
    }

    fn is_key_line(line: &str) -> bool {
        !line.starts_with('#') && line.contains(" = ")
    }

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        let keys = Keys::from_manual().unwrap();
        let table = [
            ("lease.tll", Some("lease.ttl")),
            ("worker.slot", Some("worker.slots")),
            ("server.port", Some("http.port")),
            ("port", Some("http.port")),
            ("deletion.batchsize", Some("deletion.batch")),
            ("zebra.stripes", None),
        ];
        for (given, expected) in table {
            assert_eq!(keys.nearest(given), expected, "{given}");
        }
    }
}
