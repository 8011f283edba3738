//! What a running job may ask of the runtime: whether to stop, how long it has, where to report.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::{JobError, JobId, KindName, Progress, QueueName};

/// Why a job is asked to stop at its next safe point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The process drains: commit a checkpoint and end with [`Completion::Continue`](super::Completion).
    Draining,
    /// The job's time is up.
    TimedOut,
    /// A person stopped this job: it fails for good.
    Stopped,
    /// A person ended this attempt, as one kills a process: a failed attempt, tried again by its policy.
    Killed,
}

impl StopReason {
    /// Whether a person asked for it, and it is not to be forgotten for any other reason.
    #[must_use]
    pub fn is_of_a_person(self) -> bool {
        matches!(self, Self::Stopped | Self::Killed)
    }

    /// How a job that does not rest ends when it is asked to: its error.
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
            // RQ's own words, which its users know.
            Self::Stopped => "Job stopped by user, work-horse terminated.",
            Self::Killed => "Work-horse terminated unexpectedly: a person ended this attempt",
        })
    }
}

/// The runtime's side of a [`JobContext`]; a test may bring its own.
pub trait Control: Send + Sync {
    /// Why the job should stop now, if it should.
    fn stop_requested(&self) -> Option<StopReason>;
    /// Completes when the job should stop. Cancel safe.
    fn stopped(&self) -> BoxFuture<'_, StopReason>;
    /// Completes after `duration`. Cancel safe.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
    /// Tells how far the job is; the latest wins.
    fn report(&self, progress: Progress);
    /// While the job waits for something out of its hands, its time does not run.
    fn set_waiting(&self, waiting: bool);
    /// Gives back time that turned out to be an outage.
    fn refund(&self, time: Duration) {
        let _ = time;
    }
    /// Time left before [`StopReason::TimedOut`]; none when the job has no timeout.
    fn time_left(&self) -> Option<Duration>;
}

/// Who the running job is, and its line to the runtime.
#[derive(Clone)]
pub struct JobContext {
    /// The queue's id of the job.
    pub job: JobId,
    /// The queue it came from.
    pub queue: QueueName,
    /// The function name it was enqueued under.
    pub kind: KindName,
    /// Counts from 1; a rescue or a retry is another attempt.
    pub attempt: u32,
    /// When its queue entry was made, in UTC, by whoever made it; none when that is not known.
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

    /// The same, of a queue entry that was made then.
    #[must_use]
    pub fn made_at(self, created_at: DateTime<Utc>) -> Self {
        // What has no time in its queue reads as the beginning of all times.
        Self { created_at: Some(created_at).filter(|at| *at > DateTime::UNIX_EPOCH), ..self }
    }

    /// Why the job should stop now, if it should. Ask at every safe point.
    #[must_use]
    pub fn stop_requested(&self) -> Option<StopReason> {
        self.control.stop_requested()
    }

    /// Completes when the job should stop. Cancel safe.
    pub async fn stopped(&self) -> StopReason {
        self.control.stopped().await
    }

    /// Sleeps, but not past a request to stop. Cancel safe.
    ///
    /// # Errors
    /// The reason to stop, when it came first.
    pub async fn sleep(&self, duration: Duration) -> Result<(), StopReason> {
        if let Some(reason) = self.stop_requested() {
            return Err(reason);
        }
        match futures::future::select(self.control.stopped(), self.control.sleep(duration)).await {
            futures::future::Either::Left((reason, _)) => Err(reason),
            futures::future::Either::Right(_) => Ok(()),
        }
    }

    /// Tells how far the job is. Cheap; the latest wins.
    pub fn report(&self, progress: Progress) {
        self.control.report(progress);
    }

    /// Waits for `work` without the job's time running: for outages, not for work. Cancel safe if
    /// `work` is.
    pub async fn without_clock<T>(&self, work: impl Future<Output = T>) -> T {
        let _stopped_clock = StoppedClock::new(&*self.control);
        work.await
    }

    /// Gives back time that turned out to be spent on an outage.
    pub fn refund(&self, time: Duration) {
        self.control.refund(time);
    }

    /// Time left before the job is asked to stop; none when it has no timeout.
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

/// Starts the clock again when dropped, so that a cancelled wait cannot leave it stopped.
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
