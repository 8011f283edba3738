//! What the doctor finds.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something does not move, and will not by itself.
    Error,
    /// Something waits, or will go wrong.
    Warning,
    /// Worth knowing; nothing is wrong.
    Notice,
}

impl Severity {
    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "notice",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for programs; never changes once published.
    pub code: &'static str,
    /// What it is about: `database`, `queue mail`, `job x`, `background job 27`.
    pub subject: String,
    /// The cause in words.
    pub what: String,
    /// What a person should do.
    pub to_do: String,
}

/// A finding.
pub(super) fn finding(
    (severity, code): (Severity, &'static str),
    subject: impl Into<String>,
    what: impl Into<String>,
    to_do: impl Into<String>,
) -> Finding {
    Finding { severity, code, subject: subject.into(), what: what.into(), to_do: to_do.into() }
}

/// So long, in words, in whole seconds; none before it was.
pub(super) fn age(now: DateTime<Utc>, since: DateTime<Utc>) -> Option<Duration> {
    (now - since).to_std().ok().map(whole_seconds)
}

/// The same without what is less than a second.
pub(super) fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}
