//! `delete_receipts_batch_job(background_job_id)`: the settings of the job, its start and its failure.
//!
//! The work in between is in [`run`](super::run).

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::ArbiterHandle;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tracing::Span;

use super::batch_size::BatchSize;
use super::endings::at_rest;
use super::pace::{Limits, Pace};
use super::run::Deletion;
use super::store_line::StoreLine;
use super::tracker_line::{LABEL, Stopped, TrackerLine, Until, patiently};
use crate::config::DeletionSettings;
use crate::deletion::{BatchPorts, DeletionBatch};
use crate::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL, Status};
use crate::job::{
    BackgroundJobId, Completion, Job, JobContext, JobError, JobErrorKind, JobResult, JobSettings,
    OrphanPolicy, Retention, RetryPolicy,
};
use crate::store::{BackgroundJobs, Begin, Begun, EndAttempt, NotBegun, cannot_end};
use crate::supervision::{ChildSpec, Supervisor};
use crate::tracking::{BeginAttempt, EndedAttempt, FailUnbegun, Revive, StatusTracker};
use crate::user_log::USER_LOG;

/// The time between two reads of a row that does not exist yet.
const LOOK: Duration = Duration::from_millis(250);

/// The kind of job.
pub struct DeleteReceipts {
    settings: DeletionSettings,
    tracker: TrackerLine,
    store: StoreLine,
    batches: BatchPorts,
    supervisor: Supervisor,
    thread: ArbiterHandle,
}

/// The actors and ports of a deletion.
pub struct DeletionTeam {
    /// Changes the row.
    pub tracker: Addr<StatusTracker>,
    /// Reads the row.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// The time limit of each such read.
    pub deadline: Duration,
    /// The ports of the batches.
    pub batches: BatchPorts,
    /// Restarts the batch actor.
    pub supervisor: Supervisor,
    /// The batch actor's thread. No job may block it, because a batch keeps a database transaction open.
    pub thread: ArbiterHandle,
}

/// The arguments.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct DeleteReceiptsArgs {
    /// The row in `background_jobs`.
    pub background_job_id: i64,
}

impl Job for DeleteReceipts {
    const NAME: &'static str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";
    const PARAMETERS: &'static [&'static str] = &["background_job_id"];
    type Args = DeleteReceiptsArgs;

    fn settings(&self) -> JobSettings {
        JobSettings {
            queue: "maintenance",
            timeout: self.settings.timeout,
            // After a timeout the row has failed, so no retry could continue it.
            final_timeout: true,
            retry: RetryPolicy::exponential(3),
            retention: Retention { result: self.settings.result_ttl, failure: self.settings.failure_ttl },
            // The row itself counts attempts that die without moving the cursor.
            orphan: OrphanPolicy::RunAgain { at_most: u32::MAX },
            ..JobSettings::default()
        }
    }

    fn known_as(&self, args: &DeleteReceiptsArgs) -> Option<String> {
        Some(args.background_job_id.to_string())
    }

    async fn run(&self, args: DeleteReceiptsArgs, ctx: &JobContext) -> JobResult {
        let id = BackgroundJobId(args.background_job_id);
        match self.attempt(id, ctx).await {
            Err(error) if error.kind == JobErrorKind::Permanent && ctx.stop_requested().is_none() => {
                self.give_up(id, error, ctx).await
            }
            ended => ended,
        }
    }

    /// The queue job has failed for good, so its row fails too.
    async fn failed(&self, args: DeleteReceiptsArgs, error: &JobError, ctx: &JobContext) {
        let id = BackgroundJobId(args.background_job_id);
        if let Err(stopped) = self.fail_row(id, error, ctx).await {
            tracing::error!(background_job = %id, ?stopped,
                "a failed job's row could not be marked as failed; reconciliation takes it up");
        }
    }
}

/// Why nothing is deleted although there are receipts.
fn nothing_to_do(row: &BackgroundJob) -> Option<String> {
    let left = row.cursor.left.as_ref().filter(|_| row.progress.total == 0);
    row.cursor.foreign_to(row.business_id).or_else(|| left.map(ToString::to_string))
}

fn refused(id: BackgroundJobId, why: NotBegun) -> JobResult {
    match why {
        NotBegun::Missing => Err(JobError::permanent(format!(
            "there is no row {id} in background_jobs; expected the id of a job row, committed within deletion.row_wait"
        ))),
        NotBegun::Poison(reason) => Err(JobError::permanent(reason)),
        NotBegun::AtRest(status) => {
            tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} is {status} - nothing to do");
            Ok(Completion::Finished(at_rest(status)))
        }
        NotBegun::Duplicate { of } => {
            tracing::info!(target: USER_LOG, { job.id = %id }, "🛑 Job {id} is carried by another queue job already - nothing to do");
            Ok(Completion::Finished(json!({ "duplicate": true, "of": of })))
        }
    }
}

impl DeleteReceipts {
    /// The kind with its settings and ports.
    #[must_use]
    pub fn new(settings: DeletionSettings, team: DeletionTeam) -> Self {
        let DeletionTeam { tracker, jobs, deadline, batches, supervisor, thread } = team;
        let store = StoreLine { jobs, receipts: Arc::clone(&batches.receipts), deadline };
        Self { settings, tracker: TrackerLine(tracker), store, batches, supervisor, thread }
    }

    /// Reads the row. Its queue job may arrive before the row is committed, so it is read again for a while.
    async fn awaited(&self, id: BackgroundJobId, ctx: &JobContext) -> Result<Option<BackgroundJob>, Stopped> {
        let (until, mut said) = (Instant::now() + self.settings.row_wait, false);
        loop {
            let row = patiently((ctx, LABEL), Until::Asked, || self.store.row(id)).await?;
            let left = until.saturating_duration_since(Instant::now());
            if row.is_some() || left.is_zero() {
                return Ok(row);
            }
            if !std::mem::replace(&mut said, true) {
                tracing::info!(background_job = %id, "the job's row is not there yet: its transaction may still be open");
            }
            ctx.without_clock(ctx.sleep(LOOK.min(left))).await.map_err(Stopped::Asked)?;
        }
    }

    /// Checks the row's type: rows of other types must not be changed, whoever sent their ids.
    async fn is_a_deletion(&self, id: BackgroundJobId, ctx: &JobContext) -> Result<(), JobResult> {
        match self.awaited(id, ctx).await.map_err(Stopped::into_result)? {
            Some(row) if row.job_type != DELETE_RECEIPTS_ALL => Err(Err(JobError::permanent(format!(
                "row {id} of background_jobs is of type `{}`; expected `{DELETE_RECEIPTS_ALL}`",
                row.job_type
            )))),
            _ => Ok(()),
        }
    }

    /// Fails the row because the request cannot be carried out.
    async fn fail_at_once(&self, row: &BackgroundJob, error: String, ctx: &JobContext) -> JobResult {
        let (id, attempt) = (row.id, row.note.attempt);
        let end = EndAttempt::Failed { error: error.clone() };
        match self.tracker.ask(ctx, || EndedAttempt { id, attempt, end: end.clone() }).await {
            Ok(_) => Err(JobError::permanent(error)),
            Err(stopped) => stopped.into_result(),
        }
    }

    /// Fails the row before its queue job fails, unless it cannot end now: then it keeps its queue job and waits.
    async fn give_up(&self, id: BackgroundJobId, error: JobError, ctx: &JobContext) -> JobResult {
        match self.fail_row(id, &error, ctx).await {
            Err(Stopped::Fault(fault)) if cannot_end(&fault) => Stopped::Fault(fault).into_result(),
            _ => Err(error),
        }
    }

    /// Marks the row of this queue job as failed, even if no attempt could begin: without a word of why it would get
    /// one queue job after another. It is repeated even after a timeout of the job.
    async fn fail_row(&self, id: BackgroundJobId, error: &JobError, ctx: &JobContext) -> Result<(), Stopped> {
        let row = patiently((ctx, LABEL), Until::Drained, || self.store.row(id)).await?;
        // One that names no queue job and does not run is the web application's, and was never begun.
        let is_ours = |row: &BackgroundJob| {
            row.note.queue_job.as_ref().map_or(row.status != Status::Running, |noted| *noted == ctx.job)
        };
        let ours = row.filter(|row| row.job_type == DELETE_RECEIPTS_ALL && is_ours(row));
        let Some(row) = ours else { return Ok(()) };
        let (attempt, error) = (row.note.attempt, &error.message);
        let failed = if row.status == Status::Running {
            let end = EndAttempt::Failed { error: error.clone() };
            self.tracker.insist(ctx, || EndedAttempt { id, attempt, end: end.clone() }).await
        } else {
            self.tracker.insist(ctx, || FailUnbegun { id, error: error.clone() }).await
        };
        failed.map(|_| ())
    }

    /// Begins an attempt, even if the web application's stale rule failed the row while it waited for its
    /// turn.
    async fn begin(&self, begin: &Begin, ctx: &JobContext) -> Result<Begun, Stopped> {
        let begun = self.tracker.ask(ctx, || BeginAttempt(begin.clone())).await?;
        if begun != Begun::Refused(NotBegun::AtRest(Status::Failed)) || !self.settings.revive_stale {
            return Ok(begun);
        }
        let row = patiently((ctx, LABEL), Until::Asked, || self.store.row(begin.id)).await?;
        let attempt = row.map_or(0, |row| row.note.attempt);
        // Begins again whatever the answer: a revival whose answer was lost is refused the second time.
        self.tracker.ask(ctx, || Revive { id: begin.id, attempt }).await?;
        self.tracker.ask(ctx, || BeginAttempt(begin.clone())).await
    }

    /// The result for a failed row. The process may have died after it failed the row and before it failed
    /// the queue job; that must not count as a success now.
    async fn has_failed(&self, id: BackgroundJobId, ctx: &JobContext) -> JobResult {
        let row =
            patiently((ctx, LABEL), Until::Asked, || self.store.row(id)).await.map_err(Stopped::into_result);
        let row = match row {
            Ok(row) => row,
            Err(stopped) => return stopped,
        };
        let ours =
            |row: &BackgroundJob| row.note.attempt > 0 && row.note.queue_job.as_ref() == Some(&ctx.job);
        match row.filter(ours).and_then(|row| row.last_error) {
            Some(error) => Err(JobError::permanent(error)),
            None => refused(id, NotBegun::AtRest(Status::Failed)),
        }
    }

    async fn attempt(&self, id: BackgroundJobId, ctx: &JobContext) -> JobResult {
        let begin = Begin {
            id,
            queue_job: ctx.job.clone(),
            entry_at: ctx.created_at,
            stale_after: self.settings.stale_after,
            max_barren: self.settings.max_barren_attempts,
        };
        if let Err(error) = self.is_a_deletion(id, ctx).await {
            return error;
        }
        let begun = match self.begin(&begin, ctx).await {
            Ok(begun) => begun,
            Err(stopped) => return stopped.into_result(),
        };
        match begun {
            Begun::Started(row) => match nothing_to_do(&row) {
                Some(error) => self.fail_at_once(&row, error, ctx).await,
                None => self.delete(*row, ctx).await,
            },
            Begun::Refused(NotBegun::AtRest(Status::Failed)) => self.has_failed(id, ctx).await,
            Begun::Refused(why) => refused(id, why),
        }
    }

    async fn delete(&self, row: BackgroundJob, ctx: &JobContext) -> JobResult {
        tracing::info!(
            target: USER_LOG, { job.id = %row.id, business_id = %row.business_id },
            "🧾 JOB start type=delete_receipts business_id={} job_id={}", row.business_id, row.id
        );
        let attempt = row.note.attempt;
        let (ports, id) = (self.batches.clone(), row.id);
        let spec = ChildSpec::transient(format!("deletion_batch/{id}.{attempt}"));
        let span = Span::current();
        let batch = move || DeletionBatch::new(ports, id, attempt).within(span);
        let child = self.supervisor.start(spec, &self.thread, batch).await?.owned();
        let pace = Pace::new(Limits {
            runtime: self.settings.runtime_limit,
            failures: self.settings.max_failures,
            outage: self.settings.outage_limit,
        });
        let (settings, store, tracker, batches) =
            (&self.settings, &self.store, &self.tracker, child.address());
        let size = BatchSize::new(settings.batch, settings.target_time);
        let result = Deletion { settings, store, tracker, ctx, row, batches, pace, size }.run().await;
        self.batches.receipts.leave_off(id);
        result
    }
}
