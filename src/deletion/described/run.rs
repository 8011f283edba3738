//! One attempt at one described deletion: batches, with waits and ends in between.
//!
//! The row in `tikkun_deletions` is the only memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::team::DescribedTeam;
use crate::config::DeletionSettings;
use crate::deadline::answer_in;
use crate::deletion::batch_size::BatchSize;
use crate::deletion::pace::{AfterFault, Pace};
use crate::deletion::tracker_line::{Stopped, Until, log_backoff, patiently};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::background::Status;
use crate::job::{JobContext, JobError, JobResult, QueueEnd, StopReason};
use crate::store::{
    CoveredRows, DescribedBatch, DescribedOrder, DescribedOutcome, DescribedRow, FittedDeletion, Pass,
};
use crate::user_log::USER_LOG;

/// The longest wait before the row is read again, so that a cancellation takes effect soon.
const LOOK: Duration = Duration::from_secs(1);
/// How often the sweep may start over. Rows that commit late end with the transactions that were open at the request.
const SWEEPS: u32 = 100;

/// One attempt at one row.
pub(super) struct DescribedRun<'a> {
    pub settings: &'a DeletionSettings,
    pub team: &'a DescribedTeam,
    pub ctx: &'a JobContext,
    pub deletion: Arc<FittedDeletion>,
    /// The row as it was at the start.
    pub row: DescribedRow,
    /// What log lines begin with.
    pub label: String,
    pub pace: Pace,
    pub size: BatchSize,
    pub sweep: DescribedSweep,
    /// Until then the storage is not called.
    pub storage_rests: Option<Instant>,
}

/// The position of the last sweep, which is run until it finds nothing.
#[derive(Debug, Default)]
pub(super) struct DescribedSweep {
    to: Option<String>,
    has_found: bool,
    times: u32,
}

impl DescribedRun<'_> {
    /// Runs from the cursor to the end, or until something stops it.
    pub(super) async fn run(mut self) -> JobResult {
        self.count_total().await;
        loop {
            if let Some(reason) = self.ctx.stop_requested() {
                return self.stop(reason).await;
            }
            let began = Instant::now();
            let ended = match self.batch().await {
                Ok(DescribedOutcome::Deleted(batch)) => self.after_batch(*batch, began).await,
                Ok(DescribedOutcome::Empty) => self.after_empty(began.elapsed()).await,
                Ok(DescribedOutcome::NotOurs(_)) => Some(self.not_ours().await),
                Ok(DescribedOutcome::Outgrown) => self.fit_anew().await,
                Err(fault) => self.after_fault(&fault, began.elapsed()).await,
            };
            if let Some(result) = ended {
                return result;
            }
        }
    }

    /// Counts the rows once. Where that takes too long, progress is shown without a total.
    async fn count_total(&mut self) {
        if self.row.progress.total > 0 || self.row.progress.processed > 0 {
            return;
        }
        if let Some(total) = self.count().await.map(|counted| counted.covered) {
            self.row.progress.total = total;
            let noted = self.team.described.note(self.row.id, Some(total), None);
            if let Err(fault) = answer_in(self.team.deadline, "note a total", noted).await {
                tracing::debug!(error = fault.chain(), "the total of a deletion is not noted");
            }
        }
    }

    /// The rows that are there now; `None` where they cannot be counted.
    pub(super) async fn count(&self) -> Option<CoveredRows> {
        let counted = self.team.described.count(&self.deletion, &self.row);
        let limit = self.team.transaction_deadline;
        match answer_in(limit, "count the rows of a deletion", counted).await {
            Ok(counted) => Some(counted),
            Err(fault) => {
                tracing::warn!(
                    deletion = self.row.id,
                    error = fault.chain(),
                    "the rows of a deletion cannot be counted"
                );
                None
            }
        }
    }

    /// Runs a batch on the thread of the batches.
    async fn batch(&self) -> Result<DescribedOutcome, Fault> {
        failpoint::reach("described.before_transaction");
        let order = DescribedOrder {
            deletion: Arc::clone(&self.deletion),
            id: self.row.id,
            attempt: self.row.attempt,
            limit: self.size.next(),
            pass: self.pace.pass(),
            swept_to: self.sweep.to.clone(),
            target: self.team.blobs.target().clone(),
        };
        let (port, limit) = (Arc::clone(&self.team.described), self.team.transaction_deadline);
        let (done, answer) = oneshot::channel();
        let batch = async move {
            let deleted = answer_in(limit, "delete a batch", port.delete(&order)).await;
            // Nobody waits any more if the job was dropped; the row has what was done.
            let _ = done.send(deleted);
        };
        self.team.thread.spawn(batch.instrument(tracing::Span::current()));
        let lost = |lost: oneshot::error::RecvError| {
            Err(Fault::new(FaultKind::Retryable, "a batch broke off").because(lost))
        };
        answer.await.unwrap_or_else(lost)
    }

    async fn after_batch(&mut self, batch: DescribedBatch, began: Instant) -> Option<JobResult> {
        let took = began.elapsed();
        failpoint::reach("described.after_commit");
        self.log(&batch);
        self.ctx.report(batch.progress);
        let is_full = batch.selected >= self.size.next();
        if is_full && !batch.in_part {
            self.size.good(took);
        }
        if self.pace.pass() == Pass::Sweep {
            self.sweep.has_found = true;
            if !batch.in_part {
                self.sweep.to = Some(batch.last_id);
            }
        }
        self.clean_up(batch.condemned).await;
        if self.pace.good(took) {
            tracing::info!(target: USER_LOG, { job.id = %self.ctx.job }, "✓ [{}] Batch complete (recovered!)", self.label);
        }
        if !is_full && !batch.in_part && self.pace.pass() == Pass::Forward {
            return None;
        }
        if self.pace.over_limit() {
            let limit = self.settings.runtime_limit.as_secs();
            tracing::info!(target: USER_LOG, { job.id = %self.ctx.job }, "⏱️ Runtime limit reached ({limit}s) - pausing job");
            return Some(self.rest(QueueEnd::Tail).await);
        }
        let throttle = self.settings.throttle;
        if throttle.is_zero() {
            return None;
        }
        self.pace.spent(throttle);
        let slept = self.sleep_watching(throttle).await;
        self.after_sleep(slept).await
    }

    async fn after_empty(&mut self, took: Duration) -> Option<JobResult> {
        self.pace.spent(took);
        if !self.pace.empty() {
            return None;
        }
        if std::mem::take(&mut self.sweep.has_found) {
            (self.sweep.to, self.sweep.times) = (None, self.sweep.times + 1);
            if self.sweep.times < SWEEPS {
                return None;
            }
            let text =
                "the last sweep makes no progress: rows are there again each time they have been deleted";
            return Some(Err(JobError::permanent(text)));
        }
        failpoint::reach("described.before_completed");
        Some(self.complete().await.unwrap_or_else(Stopped::into_result))
    }

    /// The foreign keys have changed, so the description is examined anew.
    async fn fit_anew(&mut self) -> Option<JobResult> {
        let name = self.deletion.description().name.clone();
        let fitted = || self.team.descriptions.fitted(&name);
        match patiently((self.ctx, &self.label), Until::Asked, fitted).await {
            Ok(Ok(deletion)) => {
                tracing::info!(
                    deletion = name,
                    "the foreign keys have changed; the deletion goes on with the new ones"
                );
                self.deletion = deletion;
                None
            }
            Ok(Err(why)) => Some(Err(JobError::permanent(why))),
            Err(stopped) => Some(stopped.into_result()),
        }
    }

    async fn after_fault(&mut self, fault: &Fault, took: Duration) -> Option<JobResult> {
        if fault.kind() != FaultKind::Unavailable && fault.smaller_may_do() && self.size.smaller() {
            self.pace.spent(took);
            tracing::warn!(error = fault.chain(), rows = self.size.next(), "the next batch is smaller");
            return None;
        }
        match fault.kind() {
            FaultKind::Retryable => self.size.unlucky(),
            FaultKind::Unavailable => self.ctx.refund(took),
            FaultKind::Permanent => {}
        }
        match self.pace.fault(fault.kind()) {
            AfterFault::GiveUp { failures } => Some(Err(JobError::permanent(format!(
                "{failures} batches in a row failed; the last error: {}",
                fault.chain()
            )))),
            AfterFault::Wait { delay, failures, outage } => {
                log_backoff(&self.label, (delay, failures), fault);
                let slept = if outage {
                    self.ctx.without_clock(self.sleep_watching(delay)).await
                } else {
                    self.pace.spent(delay);
                    self.sleep_watching(delay).await
                };
                self.after_sleep(slept).await
            }
        }
    }

    /// Sleeps, but wakes when the row is not running any more or the job must stop. Each look is a sign of life.
    async fn sleep_watching(&self, delay: Duration) -> Result<bool, StopReason> {
        let until = Instant::now() + delay;
        loop {
            self.ctx.sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await?;
            if Instant::now() >= until {
                return Ok(true);
            }
            if self.look().await.is_some_and(|row| row.status != Status::Running) {
                return Ok(false);
            }
        }
    }

    async fn after_sleep(&self, slept: Result<bool, StopReason>) -> Option<JobResult> {
        match slept {
            Ok(true) => None,
            Ok(false) => Some(self.not_ours().await),
            Err(reason) => Some(self.stop(reason).await),
        }
    }

    /// The row, if it can be read.
    async fn look(&self) -> Option<DescribedRow> {
        let read = self.team.described.beat(self.row.id, self.row.attempt);
        tokio::time::timeout(LOOK, read).await.ok()?.ok()?
    }
}
