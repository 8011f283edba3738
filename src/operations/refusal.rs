//! Why something is not done: a stable code for programs, a sentence for people.

use std::fmt;
use std::time::Duration;

use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::job::background::Status;
use crate::store::PersonMove;

/// What can be asked of a deletion that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionAction {
    /// Stop for good.
    Cancel,
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
    /// Request anew what it left.
    Retry,
    /// Request anew the rows that it could not change.
    RetryFailedRows,
}

/// Why something is not done.
#[derive(Debug)]
pub enum Refusal {
    /// The role may not do this.
    Forbidden {
        /// The principal's role.
        role: String,
        /// The roles that may.
        expected: String,
    },
    /// There is no such deletion, or not for this principal.
    NoDeletion {
        /// What was asked for.
        id: BackgroundJobId,
        /// What the row is, where there is one of another type: the application's own.
        job_type: Option<String>,
    },
    /// Where the deletion stands, this cannot be done.
    DeletionIs {
        /// The deletion.
        id: BackgroundJobId,
        /// Where it stands.
        status: Status,
        /// What was asked for.
        action: DeletionAction,
    },
    /// The tenant has just requested a deletion.
    TooOften {
        /// When the next one may be requested.
        wait: Duration,
    },
    /// A back end does not serve; a change may not have happened.
    Unavailable {
        /// `broker`, `queue` or `database`.
        what: &'static str,
        /// Why.
        fault: Fault,
    },
}

impl DeletionAction {
    /// The code of its refusal, and when it could be done.
    fn refused(self) -> (&'static str, &'static str) {
        match self {
            Self::Cancel => ("not_cancellable", "only a queued, running or paused job can be cancelled"),
            Self::Pause => ("not_pausable", "only a queued or running job can be paused"),
            Self::Resume => ("not_resumable", "only a job that a person paused can be resumed"),
            Self::Retry => ("not_retryable", "only a failed or cancelled job can be retried"),
            Self::RetryFailedRows => ("not_retryable", "its failed rows can be retried once it has ended"),
        }
    }
}

impl From<PersonMove> for DeletionAction {
    fn from(wish: PersonMove) -> Self {
        match wish {
            PersonMove::Cancel => Self::Cancel,
            PersonMove::Pause => Self::Pause,
            PersonMove::Resume => Self::Resume,
        }
    }
}

impl Refusal {
    /// The word for programs. It never changes once published.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "forbidden",
            Self::NoDeletion { .. } => "job_not_found",
            Self::DeletionIs { action, .. } => action.refused().0,
            Self::TooOften { .. } => "too_many_requests",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(super) fn database(fault: Fault) -> Self {
        Self::Unavailable { what: "database", fault }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { role, expected } => {
                write!(f, "role `{role}` may not do this; expected one of {expected}")
            }
            Self::NoDeletion { id, .. } => write!(f, "there is no job {id}"),
            Self::DeletionIs { id, status, action } => {
                write!(f, "job {id} is {status}; {}", action.refused().1)
            }
            Self::TooOften { wait } => {
                let seconds = wait.as_secs_f64().ceil();
                write!(f, "a deletion was requested less than a minute ago; try again in {seconds} seconds")
            }
            Self::Unavailable { fault, .. } => f.write_str(&fault.chain()),
        }
    }
}
