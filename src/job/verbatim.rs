//! What a job in another language says of its end, in its own words, which are kept as they are.

use std::time::Duration;

use super::{EndSignal, Limit};

/// The end of a job whose code is in another language, in that language's own words. The queue on Redis keeps them as they
/// are, for readers that know the language; the embedded one, into which none of them puts jobs, keeps what they come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verbatim {
    /// What it returned, as the serializer of its enqueuer has written it; none for nothing.
    pub payload: Option<Vec<u8>>,
    /// The whole text of its failure; the last line of it is the error.
    pub traceback: Option<String>,
    /// What it changed of itself.
    pub changes: JobChanges,
    /// Its code waits until its end is written, and is to be told.
    pub written: Option<EndSignal>,
    /// If it fails for good, it is listed nowhere and nothing is kept of its failure, as its worker's users want it.
    pub unlisted: bool,
}

/// What the code of a job has changed of its job, and what holds from its end on. Fields that are none are as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobChanges {
    /// How long its result is kept.
    pub result_ttl: Option<Limit>,
    /// How long its failure is kept.
    pub failure_ttl: Option<Limit>,
    /// Retries left, before one is spent for this end.
    pub retries_left: Option<u32>,
    /// The delays of its retries.
    pub retry_intervals: Option<Vec<Duration>>,
    /// Whether its retries come to the head of its queue.
    pub at_front_on_retry: Option<bool>,
    /// Repetitions left, before one is begun for this end.
    pub repeats_left: Option<u32>,
    /// The delays of its repetitions.
    pub repeat_intervals: Option<Vec<Duration>>,
    /// Other fields of it in the broker, and what they hold now.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Verbatim {
    /// The last line of the traceback.
    #[must_use]
    pub fn error(&self) -> &str {
        let text = self.traceback.as_deref().unwrap_or_default();
        text.trim_end().lines().last().unwrap_or("it failed without a word")
    }

    /// Bytes that it takes to write it down.
    #[must_use]
    pub fn weight(&self) -> usize {
        let fields: usize = self.changes.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.payload.as_ref().map_or(0, Vec::len) + self.traceback.as_ref().map_or(0, String::len) + fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_last_line_of_the_traceback() {
        let error = |text: &str| {
            Verbatim { traceback: Some(text.to_owned()), ..Verbatim::default() }.error().to_owned()
        };
        assert_eq!(
            error("Traceback (most recent call last):\n  File x\nValueError: no\n\n"),
            "ValueError: no"
        );
        assert_eq!(error(""), "it failed without a word");
    }
}
