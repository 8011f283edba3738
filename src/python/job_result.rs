//! How a job of a child ended: what it returned or raised, and what it left on the job object.

use serde::{Deserialize, Deserializer};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobOutcome {
    /// It returned.
    Ok,
    /// It raised.
    Failed,
    /// It returned a `Retry`.
    Retry,
}

/// A `Retry` that a job returned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReturnedRetry {
    /// How often the job may be tried again.
    pub max: i64,
    /// Seconds before each try; the last one repeats.
    #[serde(default, deserialize_with = "whole_each")]
    pub intervals: Vec<i64>,
    /// Whether it goes to the front of its queue.
    #[serde(default)]
    pub at_front: bool,
}

/// The job object's attributes as they stand at its end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ResultAttributes {
    /// How it ended.
    pub outcome: JobOutcome,
    /// Whether the result could be serialized; else the payload is RQ's text about that.
    #[serde(default = "yes")]
    pub serializable: bool,
    /// Whether the job returned `None`; the payload is empty then.
    #[serde(default)]
    pub none: bool,
    /// When it began, as RQ writes times.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended, as RQ writes times.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// How long the result is kept, in seconds; -1 is for ever.
    #[serde(default, deserialize_with = "whole")]
    pub result_ttl: Option<i64>,
    /// How long the failure is kept, in seconds.
    #[serde(default, deserialize_with = "whole")]
    pub failure_ttl: Option<i64>,
    /// How many retries are left.
    #[serde(default, deserialize_with = "whole")]
    pub retries_left: Option<i64>,
    /// Seconds before each retry.
    #[serde(default, deserialize_with = "whole_list")]
    pub retry_intervals: Option<Vec<i64>>,
    /// Whether retries go to the front of the queue.
    #[serde(default)]
    pub enqueue_at_front_on_retry: Option<bool>,
    /// How many retries there have been.
    #[serde(default, deserialize_with = "whole")]
    pub number_of_retries: Option<i64>,
    /// How many repeats are left.
    #[serde(default, deserialize_with = "whole")]
    pub repeats_left: Option<i64>,
    /// Seconds before each repeat.
    #[serde(default, deserialize_with = "whole_list")]
    pub repeat_intervals: Option<Vec<i64>>,
    /// The `Retry` that was returned.
    #[serde(default)]
    pub retry: Option<ReturnedRetry>,
    /// Whether the child waits until it is told that the end was written.
    #[serde(default)]
    pub synchronous: bool,
}

/// How a job ended, with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// What the job object says.
    pub attributes: ResultAttributes,
    /// The serialized return value, as RQ would store it before base64. Never read here.
    pub payload: Vec<u8>,
    /// The traceback that RQ would store, before compression; empty if it did not fail.
    pub exc_string: Vec<u8>,
    /// Fields of its hash that RQ would write with its end, and that its code has changed without saving them.
    pub changed: Vec<(String, Vec<u8>)>,
}

fn yes() -> bool {
    true
}

/// A number that Python may have as `int` or `float`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Fraction(f64),
}

impl Number {
    fn whole(self) -> i64 {
        match self {
            Self::Whole(number) => number,
            #[expect(clippy::cast_possible_truncation, reason = "seconds; a cast saturates")]
            Self::Fraction(number) => number as i64,
        }
    }
}

fn whole<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Number>::deserialize(source)?.map(Number::whole))
}

fn whole_list<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<i64>>, D::Error> {
    let numbers = Option::<Vec<Number>>::deserialize(source)?;
    Ok(numbers.map(|numbers| numbers.into_iter().map(Number::whole).collect()))
}

fn whole_each<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<i64>, D::Error> {
    Ok(whole_list(source)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_the_page_of_the_protocol_has_them() {
        let read: ResultAttributes = serde_json::from_str(
            r#"{"outcome": "retry", "serializable": true, "none": false, "started_at": "2026-01-01T00:00:00.0Z",
                "ended_at": null, "result_ttl": 500.0, "failure_ttl": -1, "retries_left": null,
                "retry_intervals": [1, 2.0], "enqueue_at_front_on_retry": false, "number_of_retries": 3,
                "repeats_left": null, "repeat_intervals": null,
                "retry": {"max": 2, "intervals": [5], "at_front": true}, "synchronous": true, "worker_ttl_seen": null}"#,
        )
        .unwrap();
        assert_eq!(read.outcome, JobOutcome::Retry);
        assert_eq!((read.result_ttl, read.failure_ttl, read.retries_left), (Some(500), Some(-1), None));
        assert_eq!(read.retry, Some(ReturnedRetry { max: 2, intervals: vec![5], at_front: true }));
        assert_eq!(read.retry_intervals, Some(vec![1, 2]));
        assert!(read.synchronous);
    }

    #[test]
    fn outcome_is_the_one_thing_that_must_be_there() {
        assert!(serde_json::from_str::<ResultAttributes>("{}").is_err());
        assert!(serde_json::from_str::<ResultAttributes>(r#"{"outcome": "ok"}"#).is_ok());
    }
}
