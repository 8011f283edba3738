//! The steps of the self-test, their results and advice.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The steps, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The settings are valid.
    Configuration,
    /// The queue opens and can be written to.
    Queue,
    /// The database opens, can be written to and can be read.
    Database,
    /// An object can be put, listed and deleted.
    Attachments,
    /// The actors start and get a lease.
    Lease,
    /// A job goes in and comes back with its arguments.
    Canary,
    /// Everything that the test created is deleted.
    CleanUp,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Outcome {
    /// It succeeded.
    Passed,
    /// It failed.
    Failed {
        /// What happened.
        error: String,
        /// What to do.
        advice: &'static str,
    },
    /// An earlier step failed.
    Skipped,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The step.
    pub step: Step,
    /// Its result.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Its duration.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub took: Duration,
}

/// The report on all steps.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether everything passed.
    pub passed: bool,
    /// In the order of execution.
    pub steps: Vec<Line>,
}

fn millis<S: Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 7] = [
        Self::Configuration,
        Self::Queue,
        Self::Database,
        Self::Attachments,
        Self::Lease,
        Self::Canary,
        Self::CleanUp,
    ];

    fn advice(self) -> &'static str {
        match self {
            Self::Configuration => "`tikkun config` shows what is in force; config/default.toml explains it",
            Self::Queue => {
                "for Redis see that `broker.url` names one that answers and takes writes from this user; for the \
                 embedded queue see that `service.data` is a folder on a local disk that this user may write to, with \
                 room on that disk, and that no other program holds the queue's file"
            }
            Self::Database => {
                "see that `store.url` names a database that this user may write to, with room on its disk, that \
                 no other program holds it, and that its tables are there (`store.migrate`)"
            }
            Self::Attachments => {
                "see that `attachments.folder` is a folder that this user may write to, with room on its disk; for \
                 a bucket see its name, its endpoint and an access key that may do s3:PutObject, s3:ListBucket \
                 and s3:DeleteObject"
            }
            Self::Lease => "see whether the queue is slow or busy; `--set log.level=debug` tells more",
            Self::Canary => {
                "see whether a queue is paused (`tikkun queues list`) or this machine is overloaded; `--set \
                 log.level=debug` tells more"
            }
            Self::CleanUp => {
                "nothing is lost: the canary's record is dropped by any running service, and objects under \
                 `tikkun-selftest/` may be deleted"
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Configuration => "configuration",
            Self::Queue => "queue",
            Self::Database => "database",
            Self::Attachments => "attachments",
            Self::Lease => "lease",
            Self::Canary => "canary job",
            Self::CleanUp => "clean-up",
        })
    }
}

impl Outcome {
    pub(super) fn failed(step: Step, error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), advice: step.advice() }
    }
}

impl Report {
    /// A report without any steps.
    pub(super) fn empty() -> Self {
        Self { passed: true, steps: Vec::new() }
    }

    /// The report if the configuration cannot be used.
    #[must_use]
    pub fn without_settings(error: impl Into<String>) -> Self {
        let error = Outcome::failed(Step::Configuration, error);
        Self::empty().with(Step::Configuration, error, Duration::ZERO).with_the_rest_skipped()
    }

    /// Adds the result of a step.
    pub(super) fn with(mut self, step: Step, outcome: Outcome, took: Duration) -> Self {
        self.passed &= outcome == Outcome::Passed;
        self.steps.push(Line { step, outcome, took });
        self
    }

    /// Marks all remaining steps as skipped.
    pub(super) fn with_the_rest_skipped(self) -> Self {
        let rest = Step::ALL.into_iter().skip(self.steps.len());
        rest.fold(self, |report, step| report.with(step, Outcome::Skipped, Duration::ZERO))
    }

    /// Marks all remaining steps before the clean-up as skipped.
    pub(super) fn up_to_clean_up(self) -> Self {
        let rest = Step::ALL.into_iter().take_while(|step| *step != Step::CleanUp).skip(self.steps.len());
        rest.fold(self, |report, step| report.with(step, Outcome::Skipped, Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_passes_only_when_every_step_did() {
        let began = Report::empty();
        let good = Step::ALL
            .into_iter()
            .fold(began.clone(), |report, step| report.with(step, Outcome::Passed, Duration::ZERO));
        assert!(good.passed);
        assert!(!began.with_the_rest_skipped().passed);
        let broken = Report::without_settings("no");
        assert!(!broken.passed);
        assert_eq!(broken.steps.iter().map(|line| line.step).collect::<Vec<_>>(), Step::ALL);
    }
}
