//! Values that shells complete, and parsers for names.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

use crate::job::{JobState, QueueName};

/// The usual queues of the deployment, for completion; other names are accepted, too.
const QUEUES: [&str; 8] =
    ["high", "default", "low", "receipts", "receipts_sync", "maintenance", "recordings", "broadcasts"];

/// Parses a queue's name; shells complete the usual ones.
pub(super) fn queue() -> impl TypedValueParser<Value = String> {
    Suggested.try_map(|text| name(&text))
}

/// Parses a name that works on every command line.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || !QueueName::accepts(text) {
        return Err("expected a name that is not empty and has no comma or control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses a job's state, which is one of a fixed set of words.
pub(super) fn state() -> impl TypedValueParser<Value = JobState> {
    let words = PossibleValuesParser::new(JobState::ALL.map(JobState::as_str));
    words.try_map(|word| JobState::parse(&word).ok_or_else(|| format!("`{word}` is no state of a job")))
}

/// Text for which shells suggest the usual queues.
#[derive(Clone)]
struct Suggested;

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(QUEUES.into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, Sources};

    #[test]
    fn the_queues_that_shells_complete_are_those_that_are_known_by_default() {
        let known = Settings::load(&Sources::none()).unwrap().settings.worker.known_queues;
        assert_eq!(known.iter().map(|queue| queue.as_str()).collect::<Vec<_>>(), QUEUES);
    }

    #[test]
    fn a_name_is_not_empty() {
        assert!(name("maintenance").is_ok());
        assert!(name(" ").is_err() && name("a,b").is_err() && name("a\n").is_err());
    }
}
