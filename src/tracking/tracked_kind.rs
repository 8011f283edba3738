//! A kind of job with rows in `background_jobs`.

use std::time::Duration;

use serde_json::json;

use crate::job::background::{BackgroundJob, Status};
use crate::job::{Args, BackgroundJobId, JobId, JobRecord, KindName, Limit, NewJob, QueueName};

/// The settings of a kind of job with rows in `background_jobs`.
#[derive(Clone, Debug)]
pub struct TrackedKind {
    /// The rows' `job_type`.
    pub job_type: String,
    /// The function that executes them; its first argument is the row's id.
    pub kind: KindName,
    /// The name of that argument.
    pub parameter: &'static str,
    /// The queue for new jobs.
    pub queue: QueueName,
    /// The time limit of an attempt.
    pub timeout: Limit,
    /// How long the result of a queue job is kept.
    pub result_ttl: Limit,
    /// How long the failure of a queue job is kept.
    pub failure_ttl: Limit,
    /// How long a row may be without a queue job before one is created.
    pub grace: Duration,
    /// After the queue has lost its data: how long the process of a running row has to restore its queue job.
    pub grace_after_loss: Duration,
    /// How long the leader lease of the reconciliation is valid.
    pub leadership_ttl: Duration,
}

impl TrackedKind {
    /// The queue job for a row.
    #[must_use]
    pub fn entry(&self, id: JobId, row: BackgroundJobId) -> NewJob {
        let args = Args::positional([json!(row.0)]);
        NewJob {
            timeout: Some(self.timeout),
            result_ttl: Some(self.result_ttl),
            failure_ttl: Some(self.failure_ttl),
            ..NewJob::new(id, self.queue.clone(), self.kind.clone(), args)
        }
    }

    /// The row of a queue job; `None` for jobs of other kinds.
    #[must_use]
    pub fn row_of(&self, entry: &JobRecord) -> Option<BackgroundJobId> {
        let carries = entry.kind == self.kind || entry.kind.as_str() == self.kind.short();
        let args = entry.args.as_ref().ok().filter(|_| carries)?;
        let id = args.positional.first().or_else(|| args.named.get(self.parameter))?;
        id.as_i64().map(BackgroundJobId)
    }

    /// How long a row may be without a queue job. On a queue that has lost its data, only running rows wait,
    /// for their process.
    pub(crate) fn grace_of(&self, row: &BackgroundJob, lost: bool) -> Duration {
        match (lost, row.status) {
            (false, _) => self.grace,
            (true, Status::Running) => self.grace.min(self.grace_after_loss),
            (true, _) => Duration::ZERO,
        }
    }
}
