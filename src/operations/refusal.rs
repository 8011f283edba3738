//! Why a request is refused: a stable code for programs and a sentence for users.

use std::fmt;
use std::time::Duration;

use crate::fault::Fault;
use crate::job::background::Status;
use crate::job::{BackgroundJobId, JobId, JobState, QueueName};
use crate::store::PersonMove;

/// An action on a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionAction {
    /// Stop it for good.
    Cancel,
    /// Stop it for now.
    Pause,
    /// Continue it.
    Resume,
    /// Request again what it left.
    Retry,
    /// Request again the rows that it could not change.
    RetryFailedRows,
}

/// An action on a queue job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobAction {
    /// Remove it from its queue.
    Cancel,
    /// Queue it once more.
    Retry,
    /// Stop it while it runs.
    Stop,
}

/// Why a principal may change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    /// `http.read_only` is set.
    Service,
    /// The user signed in as a viewer.
    Viewer,
}

/// Why a request is refused.
#[derive(Debug)]
pub enum Refusal {
    /// The role may not make changes.
    Forbidden {
        /// The principal's role.
        role: String,
        /// The roles that may.
        expected: String,
    },
    /// The principal may only read.
    ReadOnly(ReadOnly),
    /// There is no such deletion, or the principal may not see it.
    NoDeletion {
        /// The requested id.
        id: BackgroundJobId,
        /// The type of the row, if it exists and belongs to the application.
        job_type: Option<String>,
    },
    /// The status of the deletion does not allow this.
    DeletionIs {
        /// The deletion.
        id: BackgroundJobId,
        /// Its status.
        status: Status,
        /// The requested action.
        action: DeletionAction,
    },
    /// The tenant has requested too many deletions within a minute.
    TooOften {
        /// How long to wait.
        wait: Duration,
    },
    /// There is no such job.
    NoJob(JobId),
    /// The state of the job does not allow this.
    JobIs {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
        /// The requested action.
        action: JobAction,
    },
    /// The job works on a deletion, on which the action must be taken instead.
    Carries {
        /// The job.
        id: JobId,
        /// The deletion.
        deletion: BackgroundJobId,
        /// The status of the deletion, if it was read.
        status: Option<Status>,
        /// The requested action.
        action: JobAction,
    },
    /// Another job holds the unique key of this one.
    Duplicate {
        /// The job.
        id: JobId,
        /// The holder of the key.
        holder: JobId,
    },
    /// The process that runs the job cannot be reached.
    NotHeard(JobId),
    /// There is no such queue.
    NoQueue {
        /// The requested name.
        name: String,
        /// A similar name.
        meant: Option<QueueName>,
    },
    /// A back end does not respond or refuses; a change may have been made or not.
    Unavailable {
        /// `broker`, `queue` or `database`.
        what: &'static str,
        /// The error.
        fault: Fault,
    },
}

impl DeletionAction {
    /// The code of its refusal, and when the action is possible.
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

impl JobAction {
    /// The code of its refusal, and when the action is possible.
    fn refused(self) -> (&'static str, &'static str) {
        match self {
            Self::Cancel => ("not_cancellable", "only a queued or scheduled job can be taken out"),
            Self::Retry => ("not_retryable", "only a failed or canceled job can be run once more"),
            Self::Stop => ("not_running", "only a running job can be asked to stop"),
        }
    }

    /// What to do about the job's deletion instead.
    fn instead(self, status: Option<Status>) -> &'static str {
        match (self, status) {
            (Self::Cancel, _) => " and would be enqueued anew; cancel the deletion",
            (Self::Retry, Some(status)) if status.is_active() => "; it is enqueued anew by itself",
            (Self::Retry, _) => "; retry the deletion",
            (Self::Stop, _) => "; pause or cancel that instead",
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
    /// The code for programs. It never changes once published.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "forbidden",
            Self::ReadOnly(_) => "read_only",
            Self::NoDeletion { .. } | Self::NoJob(_) => "job_not_found",
            Self::JobIs { action, .. } => action.refused().0,
            Self::Carries { .. } => "carries_deletion",
            Self::Duplicate { .. } => "duplicate",
            Self::NotHeard(_) => "not_heard",
            Self::NoQueue { .. } => "queue_not_found",
            Self::DeletionIs { action, .. } => action.refused().0,
            Self::TooOften { .. } => "too_many_requests",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(super) fn broker(fault: Fault) -> Self {
        Self::Unavailable { what: "broker", fault }
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
            Self::ReadOnly(ReadOnly::Service) => {
                f.write_str("this service only shows; `http.read_only` is set")
            }
            Self::ReadOnly(ReadOnly::Viewer) => {
                f.write_str("this session only looks: it was opened with the viewers' secret")
            }
            Self::NoDeletion { id, .. } => write!(f, "there is no job {id}"),
            Self::DeletionIs { id, status, action } => {
                write!(f, "job {id} is {status}; {}", action.refused().1)
            }
            Self::TooOften { wait } => {
                let seconds = wait.as_secs_f64().ceil();
                write!(f, "a deletion was requested less than a minute ago; try again in {seconds} seconds")
            }
            Self::NoJob(id) => write!(f, "there is no job `{id}`; ended jobs are dropped after their time"),
            Self::JobIs { id, state, action } => write!(f, "job `{id}` is {state}; {}", action.refused().1),
            Self::Carries { id, deletion, status, action } => {
                let which = status.map(|status| format!(", which is {status}")).unwrap_or_default();
                write!(f, "job `{id}` carries deletion {deletion}{which}{}", action.instead(*status))
            }
            Self::Duplicate { id, holder } => {
                write!(f, "job `{holder}` holds the unique key of job `{id}`; wait until it has ended")
            }
            Self::NotHeard(id) => {
                write!(f, "whoever runs job `{id}` hears no orders now; ask again in a moment")
            }
            Self::NoQueue { name, meant } => {
                write!(f, "there is no queue `{name}`: none of the known ones, and never used")?;
                meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean `{meant}`?"))
            }
            Self::Unavailable { fault, .. } => f.write_str(&fault.chain()),
        }
    }
}
