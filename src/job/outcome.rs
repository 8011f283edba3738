//! How an attempt at a job ends.

use std::fmt;

use serde_json::Value;

/// What a job's body returns.
pub type JobResult = Result<Completion, JobError>;

/// The good ends of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// The work is done; the value is kept as the job's result.
    Finished(Value),
    /// A checkpoint is committed and the same job goes on later; costs no retry.
    Continue(QueueEnd),
}

/// Where in its queue a job goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEnd {
    /// Next to run.
    Head,
    /// Behind all others: their turn comes first.
    Tail,
}

/// The bad end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// What is to be done about it.
    pub kind: JobErrorKind,
    /// What happened, for people; the chain of causes joined with `: `.
    pub message: String,
}

/// What is to be done about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobErrorKind {
    /// Another attempt may succeed, if the retry policy has one left.
    Retryable,
    /// No attempt will ever succeed: straight to failed.
    Permanent,
    /// A person stopped the job: failed for good, and known as stopped.
    Stopped,
}

impl JobError {
    /// Another attempt may succeed.
    pub fn retryable(message: impl fmt::Display) -> Self {
        Self { kind: JobErrorKind::Retryable, message: message.to_string() }
    }

    /// No attempt will ever succeed.
    pub fn permanent(message: impl fmt::Display) -> Self {
        Self { kind: JobErrorKind::Permanent, message: message.to_string() }
    }

    /// A person stopped the job.
    pub fn stopped(message: impl fmt::Display) -> Self {
        Self { kind: JobErrorKind::Stopped, message: message.to_string() }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// `?` on any error makes a retryable failure. (So `JobError` itself is not a `std::error::Error`.)
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
    /// Done, with nothing to keep.
    #[must_use]
    pub fn done() -> Self {
        Self::Finished(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn question_mark_keeps_the_chain_of_causes() {
        let error: JobError = Outer(std::io::Error::other("inner")).into();
        assert_eq!(error.message, "outer: inner");
        assert_eq!(error.kind, JobErrorKind::Retryable);
    }
}
