//! The delivery of a job to a process, and its settlement.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::job::{
    ExecutionId, JobId, JobRecord, JobState, Limit, ProcessId, QueueEnd, QueueName, RETRIES_EXHAUSTED,
    RetryAsked, Verbatim, weight,
};

/// A job lent to this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The job at the fetch; its state is started, and its attempt includes this one.
    pub job: JobRecord,
    /// Needed to settle the delivery.
    pub execution: ExecutionId,
    /// All that the broker keeps of the job, as it lay there before the fetch; none where that was not asked for.
    pub hash: Option<Arc<RawHash>>,
}

/// The fields of a job's hash with their values, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawHash {
    /// The name under which the broker's readers see who runs the job.
    pub worker: String,
    /// Fields and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RawHash {
    /// The bytes of all of it.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.fields.iter().map(|(field, value)| field.len() + value.len()).sum()
    }
}

/// A delivery whose process has let its lease expire.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// The delivery.
    pub delivery: Delivery,
    /// The process that has it.
    pub process: ProcessId,
}

/// The result of enqueueing one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It was enqueued.
    Accepted,
    /// There is already a job with this id; nothing was changed.
    Exists,
    /// This other job holds its unique key; nothing was changed.
    Duplicate(JobId),
}

/// The result of putting an ended job back into its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requeued {
    /// It is at the tail of its queue.
    Waits,
    /// No such job.
    Missing,
    /// It is in this state, from which it cannot be put back; nothing was changed.
    Is(JobState),
    /// This other job holds its unique key; nothing was changed.
    Duplicate(JobId),
}

/// The result of a request to stop a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAsked {
    /// The process that runs it was notified.
    Told,
    /// It runs, but its worker receives no requests.
    Unheard,
    /// It does not run; its state.
    Is(JobState),
    /// No such job.
    Missing,
}

/// A request to a process from outside its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// This job must end for good, if it runs here or is about to.
    Stop {
        /// The job.
        job: JobId,
        /// Known executions lent to the receiver, which may not have begun yet.
        lent: Vec<ExecutionId>,
        /// Executions of the same job in other processes, which go on.
        others: Vec<ExecutionId>,
    },
    /// This execution of this job must end for good, if it is here.
    StopExecution(JobId, ExecutionId),
    /// This execution must end as a failed attempt.
    Kill(ExecutionId),
    /// One slot takes no more jobs; its running job goes on.
    RetireSlot,
}

/// The end of one delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// The delivery.
    pub execution: ExecutionId,
    /// What happens to the job.
    pub verdict: Disposition,
    /// A remark for its record, about callbacks; stored only by brokers that support callbacks.
    pub remark: Option<String>,
    /// Its end in the words of another language, kept in the place of ours where enqueuers have that language.
    pub verbatim: Option<Arc<Verbatim>>,
}

impl Settlement {
    /// The settlement of this delivery.
    #[must_use]
    pub fn new(delivery: &Delivery, verdict: Disposition) -> Self {
        Self {
            job: delivery.job.id.clone(),
            queue: delivery.job.queue.clone(),
            execution: delivery.execution.clone(),
            verdict,
            remark: None,
            verbatim: None,
        }
    }

    /// About the bytes of what the job returned, or of its error.
    pub(crate) fn weight(&self) -> usize {
        let ours = match &self.verdict {
            Disposition::Ack { result, .. } => weight(result),
            other => other.error().map_or(0, str::len),
        };
        ours.max(self.verbatim.as_ref().map_or(0, |words| words.weight()))
    }

    /// The job is put back at the head of its queue, as if it had never been taken.
    #[must_use]
    pub fn given_back(delivery: &Delivery) -> Self {
        Self::new(delivery, Disposition::Release { end: QueueEnd::Head })
    }
}

/// What happens to a delivered job.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// It succeeded; kept for `keep`.
    Ack {
        /// Its return value.
        result: Value,
        /// How long it is kept; zero deletes it at once.
        keep: Limit,
    },
    /// It failed, and is retried after `delay`. Uses up a retry.
    RetryAt {
        /// Zero puts it back into its queue at once.
        delay: Duration,
        /// The error.
        error: String,
    },
    /// Asked to be run again by what it returned, and is, after `delay`. Costs none of its retries.
    RunAgain {
        /// Zero puts it back into its queue at once.
        delay: Duration,
        /// What it asked for.
        asked: RetryAsked,
        /// How long that is kept on record.
        keep: Limit,
    },
    /// Asked to be run again more often than it allows itself: failed for good; kept for `keep`.
    Exhaust {
        /// What it asked for.
        asked: RetryAsked,
        /// How long it is kept.
        keep: Limit,
    },
    /// Failed for good; kept for `keep`.
    Discard {
        /// The error.
        error: String,
        /// How long it is kept.
        keep: Limit,
    },
    /// A user stopped it while it ran: it failed for good, whatever retries are left; kept for `keep`.
    Stop {
        /// The error text.
        error: String,
        /// How long it is kept.
        keep: Limit,
    },
    /// It goes to the tail of another queue, whose workers have its function. Uses up no retry, and changes
    /// nothing of the job but its queue.
    Forward {
        /// The other queue.
        queue: QueueName,
    },
    /// It goes back after a continuation, a drain, or the loss of its runner. Uses up no retry.
    Release {
        /// The end of its queue.
        end: QueueEnd,
    },
    /// It goes back to the head of its queue because its process died. Uses up no retry, but is counted in
    /// `orphaned`.
    Rescue,
}

impl Disposition {
    /// Whether the job is deleted.
    #[must_use]
    pub fn drops(&self) -> bool {
        match self {
            Self::Ack { keep, .. }
            | Self::Discard { keep, .. }
            | Self::Exhaust { keep, .. }
            | Self::Stop { keep, .. } => keep.duration().is_some_and(|keep| keep.is_zero()),
            Self::RetryAt { .. }
            | Self::RunAgain { .. }
            | Self::Forward { .. }
            | Self::Release { .. }
            | Self::Rescue => false,
        }
    }

    /// Why the attempt failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::RetryAt { error, .. } | Self::Discard { error, .. } | Self::Stop { error, .. } => {
                Some(error)
            }
            Self::Exhaust { .. } => Some(RETRIES_EXHAUSTED),
            Self::Ack { .. }
            | Self::RunAgain { .. }
            | Self::Forward { .. }
            | Self::Release { .. }
            | Self::Rescue => None,
        }
    }
}

/// Whether a settlement counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Yes, now or in an earlier call whose answer was lost.
    Done,
    /// No: the job was settled otherwise, rescued or deleted meanwhile, and this settlement changes nothing.
    NotOurs,
}
