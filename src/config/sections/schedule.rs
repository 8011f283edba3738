//! `[[schedule]]`: jobs that are enqueued on a schedule. Each is a table of its own, in files only.

use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use serde_json::Value as Json;

use crate::config::keys::SCHEDULES;
use crate::config::nearest::nearest;
use crate::config::reader::Reader;
use crate::config::table::{Key, TableReader, Unless};
use crate::config::value::{Value, words};
use crate::job::{Args, CronRule, Limit, Missed, QueueName, Retries, Schedule};

/// The keys of a schedule, as in `config/default.toml`.
pub(in crate::config) const KEYS: [Key; 12] = [
    Key { name: "name", unless_given: Unless::Refused },
    Key { name: "cron", unless_given: Unless::Refused },
    Key { name: "time_zone", unless_given: Unless::Is("UTC") },
    Key { name: "function", unless_given: Unless::Refused },
    Key { name: "args", unless_given: Unless::Is("[]") },
    Key { name: "queue", unless_given: Unless::Is("default") },
    Key { name: "timeout", unless_given: Unless::Free },
    Key { name: "retries", unless_given: Unless::Free },
    Key { name: "retry_delay", unless_given: Unless::Is("1m") },
    Key { name: "jitter", unless_given: Unless::Is("0s") },
    Key { name: "missed", unless_given: Unless::Is("once") },
    Key { name: "enabled", unless_given: Unless::Is("true") },
];

/// The most characters of a name, which becomes part of job ids.
const NAME_CHARS: usize = 64;
/// The most retries; more would be a loop.
const MOST_RETRIES: u32 = 100;

words!(Missed, "`skip`, `once` or `all`", Once, {
    Skip: "skip",
    Once: "once",
    All: "all",
});

impl Value for Tz {
    const EXPECTED: &'static str = "a time zone by its IANA name, such as `Asia/Jerusalem` or `UTC`";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }

    fn stand_in() -> Self {
        Self::UTC
    }
}

/// Arguments by position: a TOML array, or text with a JSON array (which can contain `null`).
struct Positional(Vec<Json>);

impl Value for Positional {
    const EXPECTED: &'static str = "an array, such as `[27, \"text\", true]`, or text with a JSON array";

    fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            toml::Value::Array(items) => items.iter().map(json).collect::<Option<_>>().map(Self),
            _ => None,
        }
    }

    fn show(&self) -> String {
        Json::from(self.0.clone()).to_string()
    }

    fn stand_in() -> Self {
        Self(Vec::new())
    }
}

/// The value as JSON; `None` for values that JSON lacks: dates, infinite numbers and NaN.
fn json(value: &toml::Value) -> Option<Json> {
    match value {
        toml::Value::String(text) => Some(Json::from(text.as_str())),
        toml::Value::Integer(number) => Some(Json::from(*number)),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number).map(Json::Number),
        toml::Value::Boolean(yes) => Some(Json::from(*yes)),
        toml::Value::Datetime(_) => None,
        toml::Value::Array(items) => items.iter().map(json).collect::<Option<Vec<_>>>().map(Json::from),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| Some((key.clone(), json(value)?)))
            .collect::<Option<serde_json::Map<_, _>>>()
            .map(Json::Object),
    }
}

/// Reads all schedules, and returns those that are enabled.
pub(in crate::config) fn read_all(reader: &mut Reader<'_>) -> Vec<Schedule> {
    let mut schedules = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (place, (origin, table)) in reader.tables(SCHEDULES).iter().enumerate() {
        let named = table.get("name").and_then(toml::Value::as_str);
        let title = named
            .map_or_else(|| format!("schedule number {}", place + 1), |name| format!("schedule `{name}`"));
        let mut one = TableReader::new(title, (origin, table), &KEYS);
        let schedule = read_one(&mut one);
        let is_on: bool = one.read("enabled", bool::EXPECTED, |_| true);
        if let Some(name) = named {
            if names.contains(&name) {
                one.problems.push(format!("{} is there twice: each needs a name of its own", one.name()));
            }
            names.push(name);
        }
        schedules.extend(schedule.filter(|_| is_on && one.problems.is_empty()));
        reader.add_table(SCHEDULES, one, origin);
    }
    schedules
}

/// Reads one schedule; `None` if its rule cannot be used. The problems are in `table`.
fn read_one(table: &mut TableReader<'_>) -> Option<Schedule> {
    let name: String =
        table.read("name", "up to 64 letters, digits, `_` and `-`", |name: &String| is_name(name));
    let rule = rule(table);
    let function: String = table.read("function", "the name of a function", |name: &String| !name.is_empty());
    let Positional(args) = table.read("args", Positional::EXPECTED, |_| true);
    let queue: String =
        table.read("queue", "the name of one queue", |name: &String| QueueName::accepts(name));
    let timeout: Option<Limit> = table.read_if_given("timeout", Limit::EXPECTED, |_| true);
    let retries = retries(table);
    let jitter = table.read("jitter", Duration::EXPECTED, |_| true);
    let missed = table.read("missed", Missed::EXPECTED, |_| true);
    Some(Schedule {
        name,
        rule: rule?,
        kind: function.into(),
        args: Args::positional(args),
        queue: QueueName::from(queue),
        timeout,
        retries,
        jitter,
        missed,
    })
}

fn is_name(name: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.len() <= NAME_CHARS && name.chars().all(is_safe)
}

fn rule(table: &mut TableReader<'_>) -> Option<CronRule> {
    let zone = table.read("time_zone", &zone_expected(table), |_| true);
    let expected = "five fields that come due some day (minute, hour, day, month, weekday), such as \
                    `30 3 * * sun-thu`, or `@daily` and the like";
    let fields: String =
        table.read("cron", expected, |fields: &String| CronRule::parse(fields, Tz::UTC).is_some());
    CronRule::parse(&fields, zone)
}

/// The expected text, with a similar time zone as a suggestion.
fn zone_expected(table: &TableReader<'_>) -> String {
    let meant =
        table.text("time_zone").and_then(|given| nearest(given, TZ_VARIANTS.iter().map(|zone| zone.name())));
    let hint = meant.map_or_else(String::new, |found| format!("; did you mean `{found}`?"));
    format!("{}{hint}", Tz::EXPECTED)
}

fn retries(table: &mut TableReader<'_>) -> Option<Retries> {
    let expected = format!("a whole number from 0 to {MOST_RETRIES}");
    let left = table.read_if_given("retries", &expected, |retries: &u32| *retries <= MOST_RETRIES);
    let delay: Duration = table.read("retry_delay", Duration::EXPECTED, |_| true);
    left.map(|left| Retries { left, intervals: vec![delay] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::MANUAL;

    /// The example in `config/default.toml`, without the `#` that comments it out.
    fn example() -> String {
        let lines = MANUAL.lines().filter_map(|line| line.strip_prefix('#'));
        lines
            .filter(|line| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
            .fold(String::new(), |all, line| all + line + "\n")
    }

    #[test]
    fn the_manual_explains_every_key_of_a_schedule_with_its_default() {
        let lines: Vec<&str> = MANUAL.lines().collect();
        for key in KEYS {
            let at = lines.iter().position(|line| line.starts_with(&format!("#{} = ", key.name)));
            let at = at.unwrap_or_else(|| panic!("the manual has no example of `{}`", key.name));
            let comment: Vec<&str> =
                lines[..at].iter().rev().take_while(|line| line.starts_with("# ")).copied().collect();
            let said = match key.unless_given {
                Unless::Is(value) => format!("Default: {value}."),
                Unless::Free => "Default: as the function says.".to_owned(),
                Unless::Refused => "Needed.".to_owned(),
            };
            assert!(comment.concat().contains(&said), "`{}` should say: {said}", key.name);
        }
    }

    #[test]
    fn the_example_of_the_manual_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tikkun.toml");
        std::fs::write(&file, example()).unwrap();
        let sources = crate::config::Sources { file: Some(file), ..crate::config::Sources::none() };
        let loaded = crate::config::Settings::load(&sources).unwrap_or_else(|error| panic!("{error}"));
        let [schedule] = loaded.settings.schedules.as_slice() else { panic!("{}", example()) };
        assert_eq!(schedule.rule.zone(), Tz::Asia__Jerusalem);
        assert_eq!(schedule.args.positional, [Json::from(27), Json::from("week")]);
        let keys = example().parse::<toml::Table>().unwrap();
        assert_eq!(keys["schedule"][0].as_table().unwrap().len(), KEYS.len(), "a key without an explanation");
    }
}
