//! The early ends of an attempt at a deletion: the row was lost, the process drains, the time of the run is
//! used up, or a user stopped it.

use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};

use super::run::Deletion;
use super::tracker_line::{Stopped, timed_out};
use crate::deletion::FinishCleanUp;
use crate::job::background::{AtRuntimeLimit, Status};
use crate::job::{Completion, JobError, JobResult, QueueEnd, StopReason};
use crate::store::EndAttempt;
use crate::tracking::{EndedAttempt, Revive};
use crate::user_log::USER_LOG;

/// How long a stopping job waits for its last objects; the rest stays in the outbox.
const PARTING: Duration = Duration::from_secs(2);

/// The queue job's result when its row is inactive.
pub(super) fn at_rest(status: Status) -> Value {
    match status {
        Status::Cancelled => json!({ "cancelled": true }),
        Status::Paused => json!({ "paused": true }),
        other => json!({ "skipped": other.as_str() }),
    }
}

impl Deletion<'_> {
    /// The row did not accept the end of this attempt. Either it is not ours, or it was taken from us and is
    /// revived; then there is no result yet.
    pub(super) async fn lost(&mut self) -> Option<JobResult> {
        match self.look().await {
            Some(Status::Running) | None => {
                Some(Err(JobError::retryable("the row changed while the attempt ended")))
            }
            status => self.not_ours(status).await,
        }
    }

    /// The row is not ours: stops, keeps the checkpoint, and overwrites nothing.
    pub(super) async fn not_ours(&mut self, status: Option<Status>) -> Option<JobResult> {
        self.finish_clean_up().await;
        let id = self.row.id;
        match status {
            Some(Status::Cancelled) => {
                tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} was cancelled - stopping")
            }
            Some(Status::Paused) => {
                tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} was paused - stopping")
            }
            Some(Status::Running) => {
                tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} goes on in a newer attempt - stopping")
            }
            Some(status @ (Status::Failed | Status::Queued))
                if status == Status::Queued || self.settings.revive_stale =>
            {
                let attempt = self.row.note.attempt;
                match self.tracker.ask(self.ctx, || Revive { id, attempt }).await {
                    Ok(true) => {
                        tracing::warn!(
                            "job {id} was marked as {status} from outside while it was alive; it goes on"
                        );
                        return None;
                    }
                    // A revival whose answer was lost is refused the second time.
                    Ok(false) if self.look().await == Some(Status::Running) => return None,
                    Ok(false) => {
                        tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} was marked as {status} - stopping")
                    }
                    Err(stopped) => return Some(stopped.into_result()),
                }
            }
            Some(other) => {
                tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} is {other} - stopping")
            }
            None => {
                return Some(Err(JobError::permanent(format!("row {id} of background_jobs is gone"))));
            }
        }
        Some(Ok(Completion::Finished(status.map_or(Value::Null, at_rest))))
    }

    pub(super) async fn stop(&mut self, reason: StopReason) -> Option<JobResult> {
        match reason {
            StopReason::Draining => {
                tracing::info!(target: USER_LOG, { job.id = %self.row.id }, "🛑 Job {} rests while this process drains", self.row.id);
                self.rest(QueueEnd::Head).await
            }
            StopReason::TimedOut => {
                self.finish_clean_up().await;
                Some(Err(timed_out()))
            }
            StopReason::Stopped | StopReason::Killed => {
                tracing::info!(target: USER_LOG, { job.id = %self.row.id }, "🛑 Job {} was stopped by a person", self.row.id);
                self.finish_clean_up().await;
                Some(Err(reason.error()))
            }
        }
    }

    /// Pauses the row after the committed checkpoint, and returns the queue job to its queue. If the tracker
    /// cannot be reached, the job is returned anyway; its next attempt begins from `running`.
    async fn rest(&mut self, end: QueueEnd) -> Option<JobResult> {
        self.finish_clean_up().await;
        match self.end(EndAttempt::Continuation).await {
            Ok(true) | Err(Stopped::Asked(_)) => Some(Ok(Completion::Continue(end))),
            Ok(false) => self.lost().await,
            Err(stopped) => Some(stopped.into_result()),
        }
    }

    /// The run has used up its time, and lets other jobs run.
    pub(super) async fn make_room(&mut self) -> Option<JobResult> {
        let (id, limit) = (self.row.id, self.settings.runtime_limit.as_secs());
        tracing::info!(target: USER_LOG, { job.id = %id }, "⏱️ Runtime limit reached ({limit}s) - pausing job");
        if self.settings.at_runtime_limit == AtRuntimeLimit::Continue {
            return self.rest(QueueEnd::Tail).await;
        }
        match self.end(EndAttempt::Paused { by: format!("the runtime limit ({limit}s)") }).await {
            Ok(true) => {
                tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} waits until a person resumes it");
                Some(Ok(Completion::Finished(at_rest(Status::Paused))))
            }
            Ok(false) => self.lost().await,
            Err(stopped) => Some(stopped.into_result()),
        }
    }

    pub(super) async fn end(&self, end: EndAttempt) -> Result<bool, Stopped> {
        let (id, attempt) = (self.row.id, self.row.note.attempt);
        self.tracker.ask(self.ctx, || EndedAttempt { id, attempt, end: end.clone() }).await
    }

    /// Deletes the objects of all batches so far, as far as the storage does so in time, and only briefly if
    /// the job must stop. The rest stays in the outbox.
    pub(super) async fn finish_clean_up(&self) {
        let mut finished = pin!(self.batches.send(FinishCleanUp));
        let finished = tokio::select! {
            done = &mut finished => Some(done),
            _ = self.ctx.stopped() => tokio::time::timeout(PARTING, finished).await.ok(),
        };
        if let Some(Err(lost)) = finished {
            tracing::debug!(background_job = %self.row.id, %lost, "the batch actor restarts; the outbox has its objects");
        }
    }
}
