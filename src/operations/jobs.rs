//! Jobs of queues: taken out, run once more, stopped.
//!
//! A job that carries a deletion goes the deletion's way: taken out by itself it would come back while the row is open,
//! and run once more by itself it would find nothing to do.

use super::deletions::Deletions;
use super::refusal::{JobAction, Refusal};
use crate::fault::Fault;
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::queue::{Broker, Requeued, StopAsked};

/// What can be done with jobs of queues, beside the deletions that some carry.
#[derive(Clone, Copy)]
pub struct Jobs<'a>(pub &'a Deletions);

impl Jobs<'_> {
    /// A job that is there.
    ///
    /// # Errors
    /// No such job, or a broker that does not serve.
    pub async fn find(&self, id: &JobId) -> Result<JobRecord, Refusal> {
        self.read(self.broker().job(id)).await?.ok_or_else(|| Refusal::NoJob(id.clone()))
    }

    /// The deletion that a job carries.
    #[must_use]
    pub fn deletion_of(&self, job: &JobRecord) -> Option<BackgroundJobId> {
        self.0.requests.tracked.row_of(job)
    }

    /// Takes a waiting job out of its queue, unless it carries a deletion that is under way.
    ///
    /// # Errors
    /// As [`take_out`](Self::take_out), and the deletion.
    pub async fn cancel(&self, job: &JobRecord) -> Result<(), Refusal> {
        if job.state.is_open() {
            self.goes_by_itself(job, JobAction::Cancel).await?;
        }
        self.take_out(&job.id).await
    }

    /// Takes a waiting job out of its queue, of which it is known that it carries no deletion.
    ///
    /// # Errors
    /// No such job, one that does not wait, or a broker that does not serve.
    pub async fn take_out(&self, id: &JobId) -> Result<(), Refusal> {
        match self.read(self.broker().cancel(id)).await? {
            Some(JobState::Canceled) => Ok(()),
            Some(state) => Err(Refusal::JobIs { id: id.clone(), state, action: JobAction::Cancel }),
            None => Err(Refusal::NoJob(id.clone())),
        }
    }

    /// Whether a job may be run once more: one that carries a deletion may not.
    ///
    /// # Errors
    /// The deletion, or a back end that does not serve.
    pub async fn may_retry(&self, job: &JobRecord) -> Result<(), Refusal> {
        self.goes_by_itself(job, JobAction::Retry).await
    }

    /// Runs failed and canceled jobs once more, all in one step; the answers are in the order of `ids`.
    ///
    /// # Errors
    /// When the broker does not serve. Inside, of each job: not there, in another state, or a duplicate.
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

    /// Asks whoever runs a job to stop it for good, unless it carries a deletion.
    ///
    /// # Errors
    /// The deletion, no such job, one that does not run or cannot be reached now, or a broker that does not serve.
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

    /// Refuses what has to be done to the deletion that a job carries: a retry while there is such a row, a cancel while
    /// that row is open.
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
