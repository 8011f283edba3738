//! The runtime's services for a running job: requests to stop, remaining time, progress reports.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::{JobError, JobId, KindName, Progress, QueueName};

/// Why a job is asked to stop at its next safe point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The process drains: commit a checkpoint and return [`Completion::Continue`](super::Completion).
    Draining,
    /// The job has used up its time.
    TimedOut,
    /// A user stopped this job: it fails for good.
    Stopped,
    /// A user killed this attempt: it counts as failed and is retried by its policy.
    Killed,
}

impl StopReason {
    /// Whether a user asked for it. Such a reason is not replaced by another one.
    #[must_use]
    pub fn is_of_a_person(self) -> bool {
        matches!(self, Self::Stopped | Self::Killed)
    }

    /// The error of a job that ends because it was asked to stop.
    #[must_use]
    pub fn error(self) -> JobError {
        match self {
            Self::Draining | Self::TimedOut | Self::Killed => JobError::retryable(self),
            Self::Stopped => JobError::stopped(self),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draining => "the process is draining",
            Self::TimedOut => "the job's time is up",
            // RQ's own text, which its users know.
            Self::Stopped => "Job stopped by user, work-horse terminated.",
            Self::Killed => "Work-horse terminated unexpectedly: a person ended this attempt",
        })
    }
}

/// The runtime's part of a [`JobContext`]; tests may use their own.
pub trait Control: Send + Sync {
    /// Why the job should stop now, if it should.
    fn stop_requested(&self) -> Option<StopReason>;
    /// Completes when the job should stop. Cancel safe.
    fn stopped(&self) -> BoxFuture<'_, StopReason>;
    /// Completes when a person wants the job to end, whatever else it was asked before. Cancel safe.
    fn stopped_by_person(&self) -> BoxFuture<'_, StopReason> {
        Box::pin(async move {
            match self.stopped().await {
                reason if reason.is_of_a_person() => reason,
                _ => futures::future::pending().await,
            }
        })
    }
    /// Completes after `duration`. Cancel safe.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
    /// Reports the job's progress; the latest report counts.
    fn report(&self, progress: Progress);
    /// While the job waits for something it cannot influence, its time limit is suspended.
    fn set_waiting(&self, waiting: bool);
    /// Gives back time that was spent on an outage.
    fn refund(&self, time: Duration) {
        let _ = time;
    }
    /// The remaining time before [`StopReason::TimedOut`]; `None` when the job has no timeout.
    fn time_left(&self) -> Option<Duration>;
}

/// The identity of the running job, and its access to the runtime.
#[derive(Clone)]
pub struct JobContext {
    /// The queue's id of the job.
    pub job: JobId,
    /// The queue it came from.
    pub queue: QueueName,
    /// The function name it was enqueued under.
    pub kind: KindName,
    /// Counts from 1; a retry or a rescue after a crash is another attempt.
    pub attempt: u32,
    /// When its queue job was created, in UTC, by the enqueuer's clock; `None` if unknown.
    pub created_at: Option<DateTime<Utc>>,
    control: Arc<dyn Control>,
}

impl JobContext {
    /// A context for one attempt.
    #[must_use]
    pub fn new(
        job: JobId,
        queue: QueueName,
        kind: KindName,
        attempt: u32,
        control: Arc<dyn Control>,
    ) -> Self {
        Self { job, queue, kind, attempt, created_at: None, control }
    }

    /// The same context with the creation time of the queue job.
    #[must_use]
    pub fn made_at(self, created_at: DateTime<Utc>) -> Self {
        // A job without a creation time in its queue has the time 1970-01-01.
        Self { created_at: Some(created_at).filter(|at| *at > DateTime::UNIX_EPOCH), ..self }
    }

    /// Why the job should stop now, if it should. Check at every safe point.
    #[must_use]
    pub fn stop_requested(&self) -> Option<StopReason> {
        self.control.stop_requested()
    }

    /// Completes when the job should stop. Cancel safe.
    pub async fn stopped(&self) -> StopReason {
        self.control.stopped().await
    }

    /// Completes when a person wants the job to end, also while the process drains. Cancel safe.
    pub async fn stopped_by_person(&self) -> StopReason {
        self.control.stopped_by_person().await
    }

    /// Sleeps, but not past a request to stop. Cancel safe.
    ///
    /// # Errors
    /// The reason to stop, if it came first.
    pub async fn sleep(&self, duration: Duration) -> Result<(), StopReason> {
        if let Some(reason) = self.stop_requested() {
            return Err(reason);
        }
        match futures::future::select(self.control.stopped(), self.control.sleep(duration)).await {
            futures::future::Either::Left((reason, _)) => Err(reason),
            futures::future::Either::Right(_) => Ok(()),
        }
    }

    /// Reports the job's progress. Cheap; the latest report counts.
    pub fn report(&self, progress: Progress) {
        self.control.report(progress);
    }

    /// Waits for `work` while the job's time limit is suspended: for outages, not for work. Cancel safe if
    /// `work` is.
    pub async fn without_clock<T>(&self, work: impl Future<Output = T>) -> T {
        let _stopped_clock = StoppedClock::new(&*self.control);
        work.await
    }

    /// Gives back time that was spent on an outage.
    pub fn refund(&self, time: Duration) {
        self.control.refund(time);
    }

    /// The remaining time before the job is asked to stop; `None` when it has no timeout.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.control.time_left()
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("job", &self.job)
            .field("queue", &self.queue)
            .field("kind", &self.kind)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Restarts the clock when dropped, so that a cancelled wait cannot leave it stopped.
struct StoppedClock<'a>(&'a dyn Control);

impl<'a> StoppedClock<'a> {
    fn new(control: &'a dyn Control) -> Self {
        control.set_waiting(true);
        Self(control)
    }
}

impl Drop for StoppedClock<'_> {
    fn drop(&mut self) {
        self.0.set_waiting(false);
    }
}
