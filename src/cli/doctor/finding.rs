//! A finding of the doctor.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something does not move, and will not recover by itself.
    Error,
    /// Something waits, or will fail.
    Warning,
    /// For information; nothing is wrong.
    Notice,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "notice",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The severity.
    pub severity: Severity,
    /// A code for programs; it never changes once published.
    pub code: &'static str,
    /// The subject: `database`, `queue mail`, `job x`, `background job 27`.
    pub subject: String,
    /// The cause, in words.
    pub what: String,
    /// What to do about it.
    pub to_do: String,
}

/// Builds a finding.
pub(super) fn finding(
    (severity, code): (Severity, &'static str),
    subject: impl Into<String>,
    what: impl Into<String>,
    to_do: impl Into<String>,
) -> Finding {
    Finding { severity, code, subject: subject.into(), what: what.into(), to_do: to_do.into() }
}

/// The time since `since` in whole seconds; `None` if that is in the future.
pub(super) fn age(now: DateTime<Utc>, since: DateTime<Utc>) -> Option<Duration> {
    (now - since).to_std().ok().map(whole_seconds)
}

/// The duration, cut to whole seconds.
pub(super) fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}
