//! One attempt at one deletion: batches, with waits, pauses and ends in between.
//!
//! The row's cursor is the only memory. [`Pace`] has the rules, [`DeletionBatch`] runs the batches, and the
//! tracker changes the row.

use std::time::Duration;

use actix::Addr;
use serde_json::json;
use tokio::time::Instant;

use super::batch_size::BatchSize;
use super::outcome::Outcome;
use super::pace::{AfterFault, Pace};
use super::store_line::StoreLine;
use super::tracker_line::{LABEL, Stopped, TrackerLine, Until, log_backoff, patiently, restarting};
use crate::config::DeletionSettings;
use crate::deletion::{BatchDone, DeletionBatch, RunBatch};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Status};
use crate::job::{Completion, JobContext, JobError, JobResult, StopReason};
use crate::measure::list::BATCH_FAULTS;
use crate::measure::{Unanswered, kind_word};
use crate::store::{Batch, EndAttempt, Pass};
use crate::tracking::Waiting;
use crate::user_log::USER_LOG;

/// The longest wait before the row is read again, so that a cancellation takes effect soon.
const LOOK: Duration = Duration::from_secs(1);

/// One attempt at one row.
pub(super) struct Deletion<'a> {
    /// The settings.
    pub settings: &'a DeletionSettings,
    /// Reads the row.
    pub store: &'a StoreLine,
    /// Changes the row.
    pub tracker: &'a TrackerLine,
    /// The runtime's context of the job.
    pub ctx: &'a JobContext,
    /// The row as it was at the start; its note names the attempt.
    pub row: BackgroundJob,
    /// Runs the batches.
    pub batches: Addr<DeletionBatch>,
    /// Decides when to continue.
    pub pace: Pace,
    /// Decides how many receipts a batch takes.
    pub size: BatchSize,
}

impl Deletion<'_> {
    /// Runs from the cursor to the end, or until something stops it.
    pub(super) async fn run(mut self) -> JobResult {
        loop {
            if let Some(reason) = self.ctx.stop_requested()
                && let Some(result) = self.stop(reason).await
            {
                return result;
            }
            let began = Instant::now();
            let done = self.batch().await;
            let ended = match done {
                Ok(BatchDone::Deleted { batch, took }) => {
                    let is_full = batch.selected >= self.size.next();
                    if is_full {
                        self.size.good(took);
                    }
                    match self.gets_on(&batch) {
                        Ok(()) => self.after_batch(is_full, began.elapsed()).await,
                        Err(error) => self.give_up(error).await,
                    }
                }
                Ok(BatchDone::Empty) => self.after_empty(began.elapsed()).await,
                Ok(BatchDone::NotOurs(status)) => self.not_ours(status).await,
                Ok(BatchDone::CutOff { after }) => {
                    self.size.unlucky();
                    self.after_fault(&cut_off(after), began.elapsed()).await
                }
                Err(fault) => self.after_fault(&fault, began.elapsed()).await,
            };
            if let Some(result) = ended {
                return result;
            }
        }
    }

    async fn batch(&self) -> Result<BatchDone, Fault> {
        let message = Unanswered::at("deletion_batch");
        let done = self.batches.send(self.next_batch()).await;
        drop(message);
        let done = done.unwrap_or_else(|lost| Err(restarting(lost)));
        if let Err(fault) = &done {
            BATCH_FAULTS.counter(&[kind_word(fault.kind())]).increment(1);
        }
        done
    }

    fn next_batch(&self) -> RunBatch {
        RunBatch { pass: self.pace.pass(), limit: self.size.next() }
    }

    async fn after_batch(&mut self, is_full: bool, took: Duration) -> Option<JobResult> {
        if self.pace.good(took) {
            tracing::info!(target: USER_LOG, { job.id = %self.row.id }, "✓ [RECEIPTS_DELETE] Batch complete (recovered!)");
            self.waiting(None).await;
        }
        if !is_full && self.pace.pass() == Pass::Forward {
            // Nothing is left in this pass, so the run need not stop here to let other jobs run.
            return None;
        }
        if self.pace.over_limit() {
            return self.make_room().await;
        }
        if self.settings.throttle.is_zero() {
            return None;
        }
        let began = Instant::now();
        let throttled = self.sleep_watching(self.settings.throttle).await;
        self.pace.spent(began.elapsed());
        self.after_sleep(throttled).await
    }

    async fn after_empty(&mut self, took: Duration) -> Option<JobResult> {
        self.pace.spent(took);
        if !self.pace.empty() {
            return None;
        }
        self.finish_clean_up().await;
        failpoint::reach("deletion.before_completed");
        let end = match self.outcome().await {
            Ok(Outcome::All) => EndAttempt::Completed,
            Ok(Outcome::Some(error)) => EndAttempt::CompletedBut { error },
            Ok(Outcome::Nothing(error)) => return Some(Err(JobError::permanent(error))),
            Err(stopped) => return Some(stopped.into_result()),
        };
        if let EndAttempt::CompletedBut { error } = &end {
            tracing::warn!(background_job = %self.row.id, error, "a deletion is completed, but not all of it is done");
        }
        match self.end(end).await {
            Ok(true) => {
                tracing::info!(
                    target: USER_LOG, { job.id = %self.row.id, business_id = %self.row.business_id },
                    "🧾 JOB complete type=delete_receipts business_id={} job_id={}",
                    self.row.business_id,
                    self.row.id
                );
                Some(self.summary().await)
            }
            // If the row is revived, one more sweep runs, and then it completes.
            Ok(false) => self.lost().await,
            Err(stopped) => Some(stopped.into_result()),
        }
    }

    /// The outcome of all attempts together.
    async fn outcome(&self) -> Result<Outcome, Stopped> {
        let id = self.row.id;
        let row = patiently((self.ctx, LABEL), Until::Asked, || self.store.row(id)).await?;
        let Some(row) = row else { return Ok(Outcome::All) };
        let set_aside = patiently((self.ctx, LABEL), Until::Asked, || self.store.set_aside(id)).await?;
        let hidden = patiently((self.ctx, LABEL), Until::Asked, || self.store.may_be_hidden()).await?;
        Ok(Outcome::of(&row.progress, set_aside.as_ref(), &row.cursor, hidden))
    }

    /// The result with the row's own counters, which include all attempts. The row is completed already, even
    /// if it cannot be read now.
    async fn summary(&self) -> JobResult {
        let Ok(Some(progress)) = self.store.row(self.row.id).await.map(|row| row.map(|row| row.progress))
        else {
            return Ok(Completion::done());
        };
        Ok(Completion::Finished(json!({
            "total": progress.total,
            "deleted": progress.succeeded,
            "failed": progress.failed,
        })))
    }

    /// Fails if a batch of the sweep made no progress.
    fn gets_on(&mut self, batch: &Batch) -> Result<(), String> {
        if self.pace.pass() == Pass::Forward || self.pace.swept(batch.first_id, batch.last_id) {
            return Ok(());
        }
        Err(format!(
            "the last sweep makes no progress: receipts such as {} are live again each time they have been marked as \
             deleted; find what sets is_deleted back",
            batch.first_id
        ))
    }

    async fn give_up(&mut self, error: String) -> Option<JobResult> {
        self.finish_clean_up().await;
        Some(Err(JobError::permanent(error)))
    }

    async fn after_fault(&mut self, fault: &Fault, took: Duration) -> Option<JobResult> {
        let kind = match fault.kind() {
            FaultKind::Retryable if self.nothing_is_written().await => FaultKind::Unavailable,
            kind => kind,
        };
        if kind != FaultKind::Unavailable && fault.smaller_may_do() && self.size.smaller() {
            self.pace.spent(took);
            tracing::warn!(
                error = fault.chain(),
                receipts = self.size.next(),
                "a batch ran into a limit in time of the database; the next one is smaller"
            );
            return None;
        }
        match kind {
            FaultKind::Retryable => self.size.unlucky(),
            FaultKind::Unavailable => self.ctx.refund(took),
            FaultKind::Permanent => {}
        }
        match self.pace.fault(kind) {
            AfterFault::GiveUp { failures } => {
                self.give_up(format!("{failures} batches in a row failed; the last error: {}", fault.chain()))
                    .await
            }
            AfterFault::Wait { delay, failures, outage } => {
                log_backoff(LABEL, (delay, failures), fault);
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

    /// Whether the database takes no other write either. While the standby that must confirm every commit is away, or
    /// somebody keeps the whole database locked, a batch only waits for a lock in vain.
    async fn nothing_is_written(&self) -> bool {
        let tried = self.ctx.without_clock(self.store.takes_writes()).await;
        tried.is_err_and(|fault| fault.is_retryable())
    }

    /// Sleeps, but wakes when the row is not running any more or the job must stop. The row is not read at
    /// the end, because the next batch does so.
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
            Err(reason) => self.stop(reason).await,
        }
    }

    /// The row's status, if it can be read.
    pub(super) async fn look(&self) -> Option<Status> {
        let read = tokio::time::timeout(LOOK, self.store.row(self.row.id)).await;
        read.ok()?.ok()?.map(|row| row.status)
    }

    async fn waiting(&self, waiting_for: Option<String>) {
        let told = Waiting { id: self.row.id, attempt: self.row.note.attempt, waiting_for };
        if self.tracker.0.send(told).await.is_err() {
            tracing::debug!(background_job = %self.row.id, "the tracker restarts; what the job waits for is told later");
        }
    }
}

/// The fault of a batch that was cut off. It may be an outage, so the job waits and no failure is counted.
fn cut_off(after: Duration) -> Fault {
    let text = format!("delete a batch: no answer within {}", humantime::format_duration(after));
    Fault::new(FaultKind::Unavailable, text)
}
