//! A kind of job whose rows people watch.

use std::time::Duration;

use serde_json::json;

use crate::job::background::{BackgroundJob, Status};
use crate::job::{Args, BackgroundJobId, JobId, JobRecord, KindName, Limit, NewJob, QueueName};

/// A kind of job that carries rows of `background_jobs`.
#[derive(Clone, Debug)]
pub struct TrackedKind {
    /// The rows' `job_type`.
    pub job_type: String,
    /// The function that carries them; its first argument is the row's id.
    pub kind: KindName,
    /// The name of that argument.
    pub parameter: &'static str,
    /// Where new entries go.
    pub queue: QueueName,
    /// Time for one attempt.
    pub timeout: Limit,
    /// How long the entry's result is kept.
    pub result_ttl: Limit,
    /// How long the entry's failure is kept.
    pub failure_ttl: Limit,
    /// How long a gap must have stood before it is closed.
    pub grace: Duration,
    /// How long the process of a running row has to write its entry back, after the queue has lost everything.
    pub grace_after_loss: Duration,
    /// Time after which the leadership may change hands.
    pub leadership_ttl: Duration,
}

impl TrackedKind {
    /// The queue job that carries a row.
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

    /// The row that a queue job carries; none for jobs of other kinds.
    #[must_use]
    pub fn row_of(&self, entry: &JobRecord) -> Option<BackgroundJobId> {
        let carries = entry.kind == self.kind || entry.kind.as_str() == self.kind.short();
        let args = entry.args.as_ref().ok().filter(|_| carries)?;
        let id = args.positional.first().or_else(|| args.named.get(self.parameter))?;
        id.as_i64().map(BackgroundJobId)
    }

    /// How long a row may be without an entry. On a queue that has lost everything there is nothing to wait for, but
    /// for the process that works on the row.
    pub(crate) fn grace_of(&self, row: &BackgroundJob, lost: bool) -> Duration {
        match (lost, row.status) {
            (false, _) => self.grace,
            (true, Status::Running) => self.grace.min(self.grace_after_loss),
            (true, _) => Duration::ZERO,
        }
    }
}
