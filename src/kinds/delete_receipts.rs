//! `delete_receipts_batch_job(background_job_id)`: deletes a tenant's receipts, batch by batch.
//!
//! The row's cursor is the only memory. This file decides when to go on, wait, rest or stop; the
//! [`DeletionBatch`] actor does each batch; the [`StatusTracker`] moves the row.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, MailboxError, Message};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::deletion_pace::{AfterFault, Limits, Pace};
use crate::actors::{
    BatchDone, BatchPorts, BeginAttempt, DeletionBatch, EndedAttempt, Revive, RunBatch, StatusTracker,
    Waiting,
};
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Status};
use crate::job::{
    BackgroundJobId, Backoff, Completion, Job, JobContext, JobError, JobResult, JobSettings, Limit,
    OrphanPolicy, QueueEnd, Retention, RetryPolicy, StopReason,
};
use crate::store::{BackgroundJobs, Begin, Begun, EndAttempt, NotBegun};
use crate::story::STORY;
use crate::supervision::{ChildSpec, Supervisor};

/// How long a wait may last before the row is looked at again: a person who cancels is not kept waiting.
const LOOK: Duration = Duration::from_secs(1);

/// What configuration says about deletions.
#[derive(Clone, Debug)]
pub struct DeletionSettings {
    /// Receipts in one transaction.
    pub batch: u32,
    /// Rest between batches.
    pub throttle: Duration,
    /// Time after which the job makes room for others.
    pub runtime_limit: Duration,
    /// Failed batches in a row that fail the job.
    pub max_failures: u32,
    /// Attempts in a row that may die without moving the cursor.
    pub max_barren: u32,
    /// A running row whose heartbeat is older may be taken over by another queue job.
    pub stale_after: Duration,
    /// Whether a row that the web application's stale rule failed is brought back.
    pub revive_stale: bool,
    /// How long an outage is waited out.
    pub outage_limit: Limit,
    /// Time for one attempt, where the queue job brings none.
    pub timeout: Limit,
    /// How long the queue job is kept, where it says nothing.
    pub retention: Retention,
}

/// The kind.
pub struct DeleteReceipts {
    /// What configuration says.
    pub settings: DeletionSettings,
    /// Moves the row.
    pub tracker: Addr<StatusTracker>,
    /// Reads the row.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// What each batch needs.
    pub batches: BatchPorts,
    /// Restarts the batch actor.
    pub supervisor: Supervisor,
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
            retry: RetryPolicy::exponential(3),
            retention: self.settings.retention,
            // The row itself counts attempts that die without moving the cursor.
            orphan: OrphanPolicy::RunAgain { at_most: u32::MAX },
        }
    }

    fn known_as(&self, args: &DeleteReceiptsArgs) -> Option<String> {
        Some(args.background_job_id.to_string())
    }

    async fn run(&self, args: DeleteReceiptsArgs, ctx: &JobContext) -> JobResult {
        let id = BackgroundJobId(args.background_job_id);
        let begin = Begin {
            id,
            queue_job: ctx.job.clone(),
            stale_after: self.settings.stale_after,
            max_barren: self.settings.max_barren,
        };
        let begun = match self.begin(&begin, ctx).await {
            Ok(begun) => begun,
            Err(stopped) => return stopped.into_result(),
        };
        match begun {
            Begun::Started(row) => self.delete(*row, ctx).await,
            Begun::Refused(why) => refused(id, why),
        }
    }

    /// The queue job has failed for good, so the row it carries has failed, too.
    async fn failed(&self, args: DeleteReceiptsArgs, error: &JobError, ctx: &JobContext) {
        let id = BackgroundJobId(args.background_job_id);
        let mut failures = 0;
        let attempt = loop {
            match self.jobs.get(id).await {
                Ok(Some(row)) if row.note.queue_job.as_ref() == Some(&ctx.job) => break row.note.attempt,
                Ok(_) => return,
                Err(fault) if fault.is_retryable() && ctx.stop_requested() != Some(StopReason::Draining) => {
                    failures += 1;
                    ctx.without_clock(tokio::time::sleep(Backoff::BATCH.plain(failures))).await;
                }
                Err(fault) => {
                    tracing::error!(background_job = %id, error = fault.chain(), "a failed job's row cannot be read");
                    return;
                }
            }
        };
        let end = EndAttempt::Failed { error: error.message.clone() };
        let ended = self.ask(ctx, || EndedAttempt { id, attempt, end: end.clone() }).await;
        if let Err(stopped) = ended {
            tracing::error!(background_job = %id, ?stopped, "a failed job's row could not be marked as failed");
        }
    }
}

/// Why an attempt stops without an answer.
#[derive(Debug)]
enum Stopped {
    Asked(StopReason),
    Fault(Fault),
}

impl Stopped {
    fn into_result(self) -> JobResult {
        match self {
            Self::Asked(StopReason::Draining) => Ok(Completion::Continue(QueueEnd::Head)),
            Self::Asked(StopReason::TimedOut) => Err(JobError::retryable(StopReason::TimedOut)),
            Self::Fault(fault) => Err(JobError::from(fault)),
        }
    }
}

fn refused(id: BackgroundJobId, why: NotBegun) -> JobResult {
    match why {
        NotBegun::Missing => Err(JobError::permanent(format!(
            "there is no row {id} in background_jobs; expected the id of a job row"
        ))),
        NotBegun::Poison(reason) => Err(JobError::permanent(reason)),
        NotBegun::AtRest(status) => {
            tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} is {status} - nothing to do");
            Ok(Completion::Finished(at_rest(status)))
        }
        NotBegun::Duplicate { of } => {
            tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} is carried by another queue job already - nothing to do");
            Ok(Completion::Finished(json!({ "duplicate": true, "of": of })))
        }
    }
}

/// The queue job's result when its row is not to be worked on.
fn at_rest(status: Status) -> serde_json::Value {
    match status {
        Status::Cancelled => json!({ "cancelled": true }),
        Status::Paused => json!({ "paused": true }),
        other => json!({ "skipped": other.as_str() }),
    }
}

impl DeleteReceipts {
    /// Begins an attempt, also at a row that the web application's stale rule failed while it waited for
    /// its turn.
    async fn begin(&self, begin: &Begin, ctx: &JobContext) -> Result<Begun, Stopped> {
        let begun = self.ask(ctx, || BeginAttempt(begin.clone())).await?;
        if begun != Begun::Refused(NotBegun::AtRest(Status::Failed)) || !self.settings.revive_stale {
            return Ok(begun);
        }
        let row = self.jobs.get(begin.id).await.map_err(Stopped::Fault)?;
        let attempt = row.map_or(0, |row| row.note.attempt);
        // Asked again whatever the answer: a revival whose answer was lost is refused the second time.
        self.ask(ctx, || Revive { id: begin.id, attempt }).await?;
        self.ask(ctx, || BeginAttempt(begin.clone())).await
    }

    /// Asks the tracker until it answers. While it cannot, the job waits, and no clock of it runs.
    async fn ask<M, T>(&self, ctx: &JobContext, message: impl Fn() -> M) -> Result<T, Stopped>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
        StatusTracker: actix::Handler<M>,
    {
        let mut failures = 0;
        loop {
            let fault = match self.tracker.send(message()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) => fault,
                Err(lost) => restarting(lost),
            };
            if !fault.is_retryable() {
                return Err(Stopped::Fault(fault));
            }
            failures += 1;
            let delay = Backoff::BATCH.plain(failures);
            log_backoff(delay, failures, &fault);
            // A message is also sent while the process drains, but then it is not waited for.
            ctx.without_clock(ctx.sleep(delay)).await.map_err(Stopped::Asked)?;
        }
    }

    async fn delete(&self, row: BackgroundJob, ctx: &JobContext) -> JobResult {
        tracing::info!("🧾 JOB start type=delete_receipts business_id={} job_id={}", row.business_id, row.id);
        let attempt = row.note.attempt;
        let (ports, id, limit) = (self.batches.clone(), row.id, self.settings.batch);
        let spec = ChildSpec::transient(format!("deletion_batch/{id}.{attempt}"));
        let batch = move || DeletionBatch::new(ports, id, attempt, limit);
        let child = self.supervisor.start_here(spec, batch).await?.owned();
        let pace = Pace::new(Limits {
            runtime: self.settings.runtime_limit,
            failures: self.settings.max_failures,
            outage: self.settings.outage_limit,
        });
        Deletion { kind: self, ctx, row, attempt, batches: child.address(), pace }.run().await
    }
}

/// The tracker or the batch actor restarts: ask again.
fn restarting(lost: MailboxError) -> Fault {
    Fault::new(FaultKind::Retryable, "an actor restarted while it worked on this").because(lost)
}

fn log_backoff(delay: Duration, failures: u32, fault: &Fault) {
    tracing::warn!(error = fault.chain(), "a batch cannot be deleted now");
    tracing::warn!(
        target: STORY, { delay_s = delay.as_secs(), failures },
        "⏳ [RECEIPTS_DELETE] Backing off {}s after {failures} failures", delay.as_secs()
    );
}

/// One attempt at one row.
struct Deletion<'a> {
    kind: &'a DeleteReceipts,
    ctx: &'a JobContext,
    row: BackgroundJob,
    attempt: u32,
    batches: Addr<DeletionBatch>,
    pace: Pace,
}

impl Deletion<'_> {
    async fn run(mut self) -> JobResult {
        loop {
            if let Some(reason) = self.ctx.stop_requested() {
                return self.stop(reason).await;
            }
            let began = Instant::now();
            let done = match self.batches.send(RunBatch(self.pace.pass())).await {
                Ok(done) => done,
                Err(lost) => Err(restarting(lost)),
            };
            let ended = match done {
                Ok(BatchDone::Deleted(_)) => self.after_batch(began.elapsed()).await,
                Ok(BatchDone::Empty) => self.after_empty(began.elapsed()).await,
                Ok(BatchDone::NotOurs(status)) => self.not_ours(status).await,
                Err(fault) => self.after_fault(&fault).await,
            };
            if let Some(result) = ended {
                return result;
            }
        }
    }

    async fn after_batch(&mut self, took: Duration) -> Option<JobResult> {
        if self.pace.good(took) {
            tracing::info!(target: STORY, { job.id = %self.row.id }, "✓ [RECEIPTS_DELETE] Batch complete (recovered!)");
            self.waiting(None).await;
        }
        if self.pace.over_limit() {
            tracing::info!(
                "⏱️ Runtime limit reached ({}s) - pausing job",
                self.kind.settings.runtime_limit.as_secs()
            );
            return Some(self.rest(QueueEnd::Tail).await);
        }
        let began = Instant::now();
        let throttled = self.sleep_watching(self.kind.settings.throttle).await;
        self.pace.spent(began.elapsed());
        self.after_sleep(throttled).await
    }

    async fn after_empty(&mut self, took: Duration) -> Option<JobResult> {
        self.pace.spent(took);
        if !self.pace.empty() {
            return None;
        }
        crate::failpoint::reach("deletion.before_completed");
        Some(match self.end(EndAttempt::Completed).await {
            Ok(true) => {
                tracing::info!(
                    target: STORY, { job.id = %self.row.id, business_id = %self.row.business_id },
                    "🧾 JOB complete type=delete_receipts business_id={} job_id={}",
                    self.row.business_id,
                    self.row.id
                );
                self.summary().await
            }
            Ok(false) => match self.look().await {
                Some(status) => self
                    .not_ours(Some(status))
                    .await
                    .unwrap_or_else(|| Ok(Completion::Finished(at_rest(status)))),
                None => Err(JobError::retryable("the row changed while it was being completed")),
            },
            Err(stopped) => stopped.into_result(),
        })
    }

    /// The row's own counters, which all attempts together have made.
    async fn summary(&self) -> JobResult {
        let row = self.kind.jobs.get(self.row.id).await?;
        let progress = row.map(|row| row.progress).unwrap_or_default();
        Ok(Completion::Finished(json!({
            "total": progress.total,
            "deleted": progress.succeeded,
            "failed": progress.failed,
        })))
    }

    /// The row is not ours: it stops here, keeps its checkpoint and overwrites nothing.
    async fn not_ours(&mut self, status: Option<Status>) -> Option<JobResult> {
        let id = self.row.id;
        match status {
            Some(Status::Cancelled) => {
                tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} was cancelled - stopping")
            }
            Some(Status::Paused) => {
                tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} was paused - stopping")
            }
            Some(Status::Running) => {
                tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} goes on in a newer attempt - stopping")
            }
            Some(Status::Failed) if self.kind.settings.revive_stale => {
                let attempt = self.attempt;
                match self.kind.ask(self.ctx, || Revive { id, attempt }).await {
                    Ok(true) => {
                        tracing::warn!(
                            "job {id} was marked as failed from outside while it was alive; it goes on"
                        );
                        return None;
                    }
                    // A revival whose answer was lost is refused the second time.
                    Ok(false) if self.look().await == Some(Status::Running) => return None,
                    Ok(false) => {
                        tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} was marked as failed - stopping")
                    }
                    Err(stopped) => return Some(stopped.into_result()),
                }
            }
            Some(other) => {
                tracing::info!(target: STORY, { job.id = %id }, "🛑 Job {id} is {other} - stopping")
            }
            None => {
                return Some(Err(JobError::permanent(format!("row {id} of background_jobs is gone"))));
            }
        }
        Some(Ok(Completion::Finished(status.map_or(serde_json::Value::Null, at_rest))))
    }

    async fn after_fault(&mut self, fault: &Fault) -> Option<JobResult> {
        match self.pace.fault(fault.kind()) {
            AfterFault::GiveUp { failures } => Some(Err(JobError::permanent(format!(
                "{failures} batches in a row failed; the last error: {}",
                fault.chain()
            )))),
            AfterFault::Wait { delay, failures, outage } => {
                log_backoff(delay, failures, fault);
                self.waiting(Some(fault.chain())).await;
                let began = Instant::now();
                let slept = if outage {
                    self.ctx.without_clock(self.sleep_watching(delay)).await
                } else {
                    let slept = self.sleep_watching(delay).await;
                    self.pace.spent(began.elapsed());
                    slept
                };
                self.after_sleep(slept).await
            }
        }
    }

    /// Sleeps, but wakes when the row is not running any more, or the job is asked to stop. Does not look
    /// at the end: the batch that follows does.
    async fn sleep_watching(&self, delay: Duration) -> Result<Option<Status>, StopReason> {
        let until = Instant::now() + delay;
        loop {
            self.ctx.sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await?;
            if Instant::now() >= until {
                return Ok(None);
            }
            if let Some(status) = self.look().await.filter(|status| *status != Status::Running) {
                return Ok(Some(status));
            }
        }
    }

    async fn after_sleep(&mut self, slept: Result<Option<Status>, StopReason>) -> Option<JobResult> {
        match slept {
            Ok(None) => None,
            Ok(Some(status)) => self.not_ours(Some(status)).await,
            Err(reason) => Some(self.stop(reason).await),
        }
    }

    /// The row's status, where it can be read at all.
    async fn look(&self) -> Option<Status> {
        let read = tokio::time::timeout(LOOK, self.kind.jobs.get(self.row.id)).await;
        read.ok()?.ok()?.map(|row| row.status)
    }

    async fn stop(&self, reason: StopReason) -> JobResult {
        match reason {
            StopReason::Draining => {
                tracing::info!(target: STORY, { job.id = %self.row.id }, "🛑 Job {} rests while this process drains", self.row.id);
                self.rest(QueueEnd::Head).await
            }
            StopReason::TimedOut => Err(JobError::retryable(reason)),
        }
    }

    /// The checkpoint is committed already; the row rests and the same queue job goes back. A row that
    /// could not be told rests all the same: its next attempt begins from running.
    async fn rest(&self, end: QueueEnd) -> JobResult {
        match self.end(EndAttempt::Continuation).await {
            Ok(true) | Err(Stopped::Asked(_)) => Ok(Completion::Continue(end)),
            Ok(false) => Ok(Completion::Finished(self.look().await.map_or(serde_json::Value::Null, at_rest))),
            Err(Stopped::Fault(fault)) => Err(JobError::from(fault)),
        }
    }

    async fn end(&self, end: EndAttempt) -> Result<bool, Stopped> {
        let (id, attempt) = (self.row.id, self.attempt);
        self.kind.ask(self.ctx, || EndedAttempt { id, attempt, end: end.clone() }).await
    }

    async fn waiting(&self, waiting_for: Option<String>) {
        let told = Waiting { id: self.row.id, attempt: self.attempt, waiting_for };
        if self.kind.tracker.send(told).await.is_err() {
            tracing::debug!(background_job = %self.row.id, "the tracker restarts; what the job waits for is told later");
        }
    }
}
