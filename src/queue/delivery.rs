//! A job on its way out of its queue, and to its end.

use std::time::Duration;

use serde_json::Value;

use crate::job::{ExecutionId, JobId, JobRecord, JobState, Limit, ProcessId, QueueEnd, QueueName};

/// A job lent to this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The job as it was at the fetch; its state is started and its attempt counts this one.
    pub job: JobRecord,
    /// Shown again to settle.
    pub execution: ExecutionId,
}

/// A delivery whose process let its lease run out.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// What was delivered.
    pub delivery: Delivery,
    /// To whom.
    pub process: ProcessId,
}

/// What enqueueing did with one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It waits now.
    Accepted,
    /// A job with this id is there already; nothing was changed.
    Exists,
    /// This other job holds its unique key; nothing was changed.
    Duplicate(JobId),
}

/// What asking for another run of an ended job did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requeued {
    /// It waits at the tail of its queue.
    Waits,
    /// No such job.
    Missing,
    /// It is in this state, from which it does not go back; nothing was changed.
    Is(JobState),
    /// This other job holds its unique key; nothing was changed.
    Duplicate(JobId),
}

/// What became of a request to stop a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAsked {
    /// Whoever runs it has been told.
    Told,
    /// It runs, and whoever runs it receives no orders.
    Unheard,
    /// It does not run; it is in this state.
    Is(JobState),
    /// No such job.
    Missing,
}

/// What a person asks of a process past its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// This job shall end for good, if it runs here or is about to.
    Stop {
        /// The job.
        job: JobId,
        /// What is lent to who was asked, so far as that is known: it may not have begun yet.
        lent: Vec<ExecutionId>,
        /// Runs of the same job that go on, since others have them.
        others: Vec<ExecutionId>,
    },
    /// One run of this job shall end for good, if it is here.
    StopExecution(JobId, ExecutionId),
    /// This execution shall end as a failed attempt.
    Kill(ExecutionId),
    /// One slot takes no more jobs; what runs in it goes on to its end.
    RetireSlot,
}

/// How one delivery ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// The delivery that is settled.
    pub execution: ExecutionId,
    /// What becomes of the job.
    pub verdict: Disposition,
    /// What else its record is to say; kept where enqueuers can name callbacks, the one thing that needs it.
    pub remark: Option<String>,
}

impl Settlement {
    /// This delivery ends so.
    #[must_use]
    pub fn new(delivery: &Delivery, verdict: Disposition) -> Self {
        Self {
            job: delivery.job.id.clone(),
            queue: delivery.job.queue.clone(),
            execution: delivery.execution.clone(),
            verdict,
            remark: None,
        }
    }

    /// The job goes back to the head of its queue as if it had never left.
    #[must_use]
    pub fn given_back(delivery: &Delivery) -> Self {
        Self::new(delivery, Disposition::Release { end: QueueEnd::Head })
    }
}

/// What becomes of a delivered job.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// Ended well; kept for `keep`.
    Ack {
        /// Its return value.
        result: Value,
        /// How long it is kept; zero drops it at once.
        keep: Limit,
    },
    /// Failed, and is tried again after `delay`. Costs a retry.
    RetryAt {
        /// Zero puts it back into its queue at once.
        delay: Duration,
        /// Why it failed.
        error: String,
    },
    /// Failed for good; kept for `keep`.
    Discard {
        /// Why it failed.
        error: String,
        /// How long it is kept.
        keep: Limit,
    },
    /// A person stopped it while it ran: failed for good, whatever retries are left; kept for `keep`.
    Stop {
        /// What readers are told.
        error: String,
        /// How long it is kept.
        keep: Limit,
    },
    /// Goes to the tail of another queue, whose workers have its function. Costs no retry, and nothing of the
    /// job is changed but its queue.
    Forward {
        /// Where to.
        queue: QueueName,
    },
    /// Goes back unharmed: a continuation, a drain, a runner lost. Costs no retry.
    Release {
        /// Where in its queue.
        end: QueueEnd,
    },
    /// Goes back to the head of its queue because its process died. Costs no retry, but is counted in
    /// `orphaned`.
    Rescue,
}

impl Disposition {
    /// Whether nothing is left of the job afterwards.
    #[must_use]
    pub fn drops(&self) -> bool {
        match self {
            Self::Ack { keep, .. } | Self::Discard { keep, .. } | Self::Stop { keep, .. } => {
                keep.duration().is_some_and(|keep| keep.is_zero())
            }
            Self::RetryAt { .. } | Self::Forward { .. } | Self::Release { .. } | Self::Rescue => false,
        }
    }
}

/// Whether a settlement counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It did, now or in an earlier call of which the answer was lost.
    Done,
    /// The job was settled otherwise, rescued or deleted meanwhile: this delivery's effects on the queue are void.
    NotOurs,
}
