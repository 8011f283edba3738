//! How an attempt at a job ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Verbatim;

/// What a job's body returns.
pub type JobResult = Result<Completion, JobError>;

/// The successful ends of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// The work is done; the value is kept as the job's result.
    Finished(Value),
    /// A checkpoint is committed, and the same job continues later, without using up a retry.
    Continue(QueueEnd),
    /// The job asks to be run again, as an RQ function does that returns `Retry`; costs none of its retries.
    Retry(RetryAsked),
    /// Code in another language is done, or asks to be run again.
    Verbatim {
        /// Some where it asks for that.
        retry: Option<RetryAsked>,
        /// What it says of it.
        words: Arc<Verbatim>,
    },
}

/// How a job asks to be run again by what it returns: RQ's `Retry(max, interval, enqueue_at_front)`.
///
/// ```
/// use std::time::Duration;
/// use tikkun::job::{Completion, RetryAsked};
///
/// let not_yet = Completion::Retry(RetryAsked::at_most(5).after([Duration::from_secs(10), Duration::from_secs(60)]));
/// # let _ = not_yet;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryAsked {
    /// So often it may ask in all; asked once more, it has failed. The first time is always granted.
    pub max: u32,
    /// How long to wait each time; the last one repeats. Empty: not at all.
    pub intervals: Vec<Duration>,
    /// Whether it comes to the head of its queue and not to the tail, this time and at each later retry.
    pub at_front: bool,
}

impl RetryAsked {
    /// At the tail of its queue at once, up to `max` times.
    #[must_use]
    pub fn at_most(max: u32) -> Self {
        Self { max, intervals: Vec::new(), at_front: false }
    }

    /// The same after these waits.
    #[must_use]
    pub fn after(self, intervals: impl IntoIterator<Item = Duration>) -> Self {
        Self { intervals: intervals.into_iter().collect(), ..self }
    }

    /// The same at the head of its queue.
    #[must_use]
    pub fn at_front(self) -> Self {
        Self { at_front: true, ..self }
    }

    /// How long a job waits that has asked `before` times; none when that was often enough.
    #[must_use]
    pub fn delay(&self, before: u32) -> Option<Duration> {
        if before > 0 && before >= self.max {
            return None;
        }
        let place = self.intervals.len().saturating_sub(1).min(before as usize);
        Some(self.intervals.get(place).copied().unwrap_or_default())
    }
}

/// Why a job has failed that asked to be run again too often.
pub const RETRIES_EXHAUSTED: &str = "the job asked to be run again, and has been as often as it allows itself (the `max` of the Retry that it returned)";

/// Where in its queue a job goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEnd {
    /// Next to run.
    Head,
    /// After all other jobs.
    Tail,
}

/// The failure of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Whether it is to be retried.
    pub kind: JobErrorKind,
    /// What happened, for users; the chain of causes joined with `: `.
    pub message: String,
    /// The same in the words of another language, where the code is in one.
    pub verbatim: Option<Arc<Verbatim>>,
}

/// The consequence of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobErrorKind {
    /// Another attempt may succeed, if the retry policy allows one.
    Retryable,
    /// No attempt can succeed: the job fails at once.
    Permanent,
    /// A user stopped the job: it fails for good, and is shown as stopped.
    Stopped,
}

impl JobError {
    fn new(kind: JobErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), verbatim: None }
    }

    /// Another attempt may succeed.
    pub fn retryable(message: impl fmt::Display) -> Self {
        Self::new(JobErrorKind::Retryable, message)
    }

    /// An error after which no attempt can succeed.
    pub fn permanent(message: impl fmt::Display) -> Self {
        Self::new(JobErrorKind::Permanent, message)
    }

    /// Code in another language failed, and says how; another attempt may succeed.
    #[must_use]
    pub fn in_own_words(words: Verbatim) -> Self {
        let error = Self::retryable(words.error());
        Self { verbatim: Some(Arc::new(words)), ..error }
    }

    /// The error of a job that a user stopped.
    pub fn stopped(message: impl fmt::Display) -> Self {
        Self::new(JobErrorKind::Stopped, message)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// `?` on any error makes a retryable failure. (This is why `JobError` is not a `std::error::Error`.)
impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self::retryable(message)
    }
}

impl Completion {
    /// Finished without a result.
    #[must_use]
    pub fn done() -> Self {
        Self::Finished(Value::Null)
    }

    /// Code in another language is done, or asks to be run again, and says how.
    #[must_use]
    pub fn in_own_words(retry: Option<RetryAsked>, words: Verbatim) -> Self {
        Self::Verbatim { retry, words: Arc::new(words) }
    }
}

/// What an end says in the words of another language.
#[must_use]
pub fn own_words(ended: &JobResult) -> Option<&Arc<Verbatim>> {
    match ended {
        Ok(Completion::Verbatim { words, .. }) => Some(words),
        Ok(Completion::Finished(_) | Completion::Continue(_) | Completion::Retry(_)) => None,
        Err(error) => error.verbatim.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_job_may_ask_as_often_as_it_says_and_waits_as_in_rq() {
        let waits = |asked: &RetryAsked| {
            (0..5).map_while(|before| asked.delay(before)).map(|wait| wait.as_secs()).collect::<Vec<_>>()
        };
        let seconds = [10, 30].map(Duration::from_secs);
        assert_eq!(waits(&RetryAsked::at_most(4).after(seconds)), [10, 30, 30, 30]);
        assert_eq!(waits(&RetryAsked::at_most(2)), [0, 0]);
        assert_eq!(waits(&RetryAsked::at_most(0)), [0], "RQ grants the first");
    }

    #[test]
    fn question_mark_keeps_the_chain_of_causes() {
        let error: JobError = Outer(std::io::Error::other("inner")).into();
        assert_eq!(error.message, "outer: inner");
        assert_eq!(error.kind, JobErrorKind::Retryable);
    }
}
