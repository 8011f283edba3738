//! Cancels, retries and stops queue jobs.
//!
//! The queue job of a deletion must be changed through the deletion. If it were cancelled alone, it would be
//! enqueued again while the row is active; if it were retried alone, it would find nothing to do.

use super::deletions::Deletions;
use super::refusal::{JobAction, Refusal};
use crate::fault::Fault;
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::queue::{Broker, Requeued, StopAsked};

/// The operations on queue jobs.
#[derive(Clone, Copy)]
pub struct Jobs<'a>(pub &'a Deletions);

impl Jobs<'_> {
    /// Finds a job.
    ///
    /// # Errors
    /// If there is no such job, or the broker fails.
    pub async fn find(&self, id: &JobId) -> Result<JobRecord, Refusal> {
        self.read(self.broker().job(id)).await?.ok_or_else(|| Refusal::NoJob(id.clone()))
    }

    /// The deletion that a job works on.
    #[must_use]
    pub fn deletion_of(&self, job: &JobRecord) -> Option<BackgroundJobId> {
        self.0.requests.tracked.row_of(job)
    }

    /// Cancels a waiting job, unless it works on an active deletion.
    ///
    /// # Errors
    /// Those of [`take_out`](Self::take_out), and if the job works on an active deletion.
    pub async fn cancel(&self, job: &JobRecord) -> Result<(), Refusal> {
        if job.state.is_open() {
            self.goes_by_itself(job, JobAction::Cancel).await?;
        }
        self.take_out(&job.id).await
    }

    /// Cancels a waiting job; the caller knows that it works on no deletion.
    ///
    /// # Errors
    /// If there is no such job, it does not wait, or the broker fails.
    pub async fn take_out(&self, id: &JobId) -> Result<(), Refusal> {
        match self.read(self.broker().cancel(id)).await? {
            Some(JobState::Canceled) => Ok(()),
            Some(state) => Err(Refusal::JobIs { id: id.clone(), state, action: JobAction::Cancel }),
            None => Err(Refusal::NoJob(id.clone())),
        }
    }

    /// Checks that a job may be retried, which the job of a deletion may not.
    ///
    /// # Errors
    /// If it works on a deletion, or a back end fails.
    pub async fn may_retry(&self, job: &JobRecord) -> Result<(), Refusal> {
        self.goes_by_itself(job, JobAction::Retry).await
    }

    /// Queues failed and cancelled jobs once more, in one step. The results are in the order of `ids`.
    ///
    /// # Errors
    /// If the broker fails. For single jobs: if it does not exist, has another state, or is a duplicate.
    pub async fn retry(&self, ids: &[JobId]) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let answers = self.read(self.broker().requeue(ids)).await?;
        let told = |(id, answer): (&JobId, Requeued)| match answer {
            Requeued::Waits => Ok(()),
            Requeued::Is(state) => Err(Refusal::JobIs { id: id.clone(), state, action: JobAction::Retry }),
            Requeued::Missing => Err(Refusal::NoJob(id.clone())),
            Requeued::Duplicate(holder) => Err(Refusal::Duplicate { id: id.clone(), holder }),
        };
        Ok(ids.iter().zip(answers).map(told).collect())
    }

    /// Asks the worker that runs a job to stop it for good, unless it works on a deletion.
    ///
    /// # Errors
    /// If it works on a deletion, is missing, does not run, or its worker or the broker does not answer.
    pub async fn stop(&self, job: &JobRecord) -> Result<(), Refusal> {
        let id = job.id.clone();
        if let Some(deletion) = self.deletion_of(job) {
            return Err(Refusal::Carries { id, deletion, status: None, action: JobAction::Stop });
        }
        match self.read(self.broker().stop(&id)).await? {
            StopAsked::Told => Ok(()),
            StopAsked::Missing => Err(Refusal::NoJob(id)),
            StopAsked::Is(state) => Err(Refusal::JobIs { id, state, action: JobAction::Stop }),
            StopAsked::Unheard => Err(Refusal::NotHeard(id)),
        }
    }

    /// Refuses an action that must be taken on the deletion instead: a retry if the row exists, a cancel
    /// while it is active.
    async fn goes_by_itself(&self, job: &JobRecord, action: JobAction) -> Result<(), Refusal> {
        let Some(deletion) = self.deletion_of(job) else { return Ok(()) };
        match self.0.read(self.0.jobs.get(deletion)).await? {
            Some(row) if row.status.is_active() || action == JobAction::Retry => {
                Err(Refusal::Carries { id: job.id.clone(), deletion, status: Some(row.status), action })
            }
            _ => Ok(()),
        }
    }

    fn broker(&self) -> &dyn Broker {
        &*self.0.requests.broker
    }

    async fn read<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Refusal> {
        self.0.within(answer).await.map_err(Refusal::broker)
    }
}
