//! The ends of an attempt at a described deletion.

use serde_json::json;

use super::run::DescribedRun;
use crate::deadline::answer_in;
use crate::deletion::endings;
use crate::deletion::tracker_line::{Stopped, Until, patiently, timed_out};
use crate::job::background::Status;
use crate::job::{Completion, JobError, JobResult, QueueEnd, StopReason};
use crate::store::{DescribedRow, EndDescribed};
use crate::user_log::USER_LOG;

/// The result for a row that is not to be worked on.
pub(super) fn at_rest(row: &DescribedRow, label: &str) -> JobResult {
    tracing::info!(target: USER_LOG, "🛑 [{label}] deletion {} is {} - stopping", row.id, row.status);
    match row.status {
        Status::Failed => {
            Err(JobError::permanent(row.last_error.clone().unwrap_or_else(|| "it has failed".to_owned())))
        }
        status => Ok(Completion::Finished(endings::at_rest(status))),
    }
}

impl DescribedRun<'_> {
    /// Nothing is left: counts what stays, and ends the row.
    pub(super) async fn complete(&self) -> Result<JobResult, Stopped> {
        let (id, attempt, label) = (self.row.id, self.row.attempt, self.label.as_str());
        let (described, deadline) = (&self.team.described, self.team.deadline);
        let kept = self.count().await.map(|counted| counted.kept);
        let note = || answer_in(deadline, "note what stays", described.note(id, None, kept));
        patiently((self.ctx, label), Until::Asked, note).await?;
        let first = || answer_in(deadline, "read what was set aside", described.first_set_aside(id));
        let first = patiently((self.ctx, label), Until::Asked, first).await?;
        let read = || answer_in(deadline, "read the row of a deletion", described.beat(id, attempt));
        let Some(row) = patiently((self.ctx, label), Until::Asked, read).await? else {
            return Ok(Err(JobError::permanent(format!("row {id} of tikkun_deletions is gone"))));
        };
        let progress = row.progress;
        let but = first.filter(|_| progress.failed > 0).map(|(row, reason)| {
            format!(
                "{} of {} rows could not be deleted; the first, {row}: {reason}",
                progress.failed, progress.total
            )
        });
        if let Some(error) = but.as_ref().filter(|_| progress.succeeded == 0) {
            return Ok(Err(JobError::permanent(format!(
                "none of {} rows was deleted; {error}",
                progress.total
            ))));
        }
        let end = EndDescribed::Completed { but };
        let ended = || answer_in(deadline, "end a deletion", described.end(id, attempt, &end));
        if !patiently((self.ctx, label), Until::Asked, ended).await? {
            return Ok(self.not_ours().await);
        }
        tracing::info!(
            target: USER_LOG, { job.id = %self.ctx.job, kept },
            "🧾 JOB complete type=tikkun.delete name={} deletion={id}", self.deletion.description().name
        );
        Ok(Ok(Completion::Finished(json!({
            "total": progress.total,
            "deleted": progress.succeeded,
            "failed": progress.failed,
            "kept": kept,
        }))))
    }

    /// The row is not ours: stops, keeps the cursor, and overwrites nothing.
    pub(super) async fn not_ours(&self) -> JobResult {
        let (id, attempt) = (self.row.id, self.row.attempt);
        let read = || {
            answer_in(self.team.deadline, "read the row of a deletion", self.team.described.beat(id, attempt))
        };
        match patiently((self.ctx, &self.label), Until::Asked, read).await {
            Ok(Some(row)) => at_rest(&row, &self.label),
            Ok(None) => Err(JobError::permanent(format!("row {id} of tikkun_deletions is gone"))),
            Err(stopped) => stopped.into_result(),
        }
    }

    /// Ends as the reason asks for.
    pub(super) async fn stop(&self, reason: StopReason) -> JobResult {
        match reason {
            StopReason::Draining => self.rest(QueueEnd::Head).await,
            StopReason::TimedOut => Err(timed_out()),
            StopReason::Stopped | StopReason::Killed => Err(reason.error()),
        }
    }

    /// Pauses the row at its cursor, and returns the queue job to its queue. If the row cannot be written, its next
    /// attempt begins from `running`.
    pub(super) async fn rest(&self, end: QueueEnd) -> JobResult {
        let (id, attempt) = (self.row.id, self.row.attempt);
        let rest = self.team.described.end(id, attempt, &EndDescribed::Continuation);
        match answer_in(self.team.deadline, "pause a deletion", rest).await {
            Ok(false) => self.not_ours().await,
            Ok(true) | Err(_) => Ok(Completion::Continue(end)),
        }
    }
}
