//! The ports of a deletion's batches, and the transaction of a batch.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use tokio::time::Instant;

use super::clean_up::CleanUpLimits;
use crate::blob::BlobStore;
use crate::failpoint;
use crate::fault::Fault;
use crate::job::background::Status;
use crate::job::{BackgroundJobId, Backoff};
use crate::measure::list::{BATCH_SECONDS_TAKEN, RECEIPTS};
use crate::store::{Batch, BatchOrder, BatchOutcome, CleanupOutbox, Receipts};
use crate::tracking::Progressed;
use crate::user_log::USER_LOG;

/// The ports and settings of a deletion's batches.
#[derive(Clone)]
pub struct BatchPorts {
    /// The database.
    pub receipts: Arc<dyn Receipts>,
    /// Objects that are still to be deleted.
    pub outbox: Arc<dyn CleanupOutbox>,
    /// The storage.
    pub blobs: Arc<dyn BlobStore>,
    /// Receives reports of committed progress.
    pub tracker: Recipient<Progressed>,
    /// The time limit of one transaction.
    pub transaction_deadline: Duration,
    /// The time limit of one call to the storage.
    pub storage_deadline: Duration,
    /// The delays between attempts to delete an object.
    pub outbox_backoff: Backoff,
    /// How objects are deleted.
    pub clean_up: CleanUpMode,
}

/// How the objects of a deletion are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanUpMode {
    /// Each batch's objects as soon as it is committed.
    BatchByBatch,
    /// The objects of several batches together, so that calls are full.
    Gathered,
    /// Objects are not deleted; they stay in the outbox.
    Off,
}

impl CleanUpMode {
    /// With a pause between batches, their objects are deleted in it; without one, calls should be few.
    #[must_use]
    pub fn of(storage_delete: bool, throttle: Duration) -> Self {
        match (storage_delete, throttle.is_zero()) {
            (false, _) => Self::Off,
            (true, true) => Self::Gathered,
            (true, false) => Self::BatchByBatch,
        }
    }
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchDone {
    /// Committed.
    Deleted {
        /// Its condemned objects were handed to the clean-up and are removed from here.
        batch: Box<Batch>,
        /// How long its transaction took.
        took: Duration,
    },
    /// Nothing is left in this pass.
    Empty,
    /// The row does not belong to this attempt any more.
    NotOurs(Option<Status>),
    /// Its transaction exceeded its time limit and was dropped: the database cannot be reached, or the batch
    /// is too large for it.
    CutOff {
        /// The time limit.
        after: Duration,
    },
}

impl BatchPorts {
    /// Runs one batch's transaction, and reports the progress.
    pub(super) async fn run(&self, order: &BatchOrder) -> Result<BatchDone, Fault> {
        failpoint::reach("deletion.before_transaction");
        let began = Instant::now();
        let deleted = self.receipts.delete_batch(order);
        let Ok(outcome) = tokio::time::timeout(self.transaction_deadline, deleted).await else {
            return Ok(BatchDone::CutOff { after: self.transaction_deadline });
        };
        let batch = match outcome? {
            BatchOutcome::Deleted(batch) => batch,
            BatchOutcome::Empty => return Ok(BatchDone::Empty),
            BatchOutcome::NotOurs(status) => return Ok(BatchDone::NotOurs(status)),
        };
        let took = began.elapsed();
        count(&batch, took);
        failpoint::reach("deletion.after_commit");
        let told = Progressed { id: order.job, attempt: order.attempt, progress: batch.progress };
        if self.tracker.try_send(told).is_err() {
            tracing::debug!(background_job = %order.job, "a progress message was dropped; the next one tells more");
        }
        log_batch(order.job, &batch);
        Ok(BatchDone::Deleted { batch, took })
    }

    /// The time limits of a clean-up.
    pub(super) fn limits(&self) -> CleanUpLimits {
        CleanUpLimits { deadline: self.storage_deadline, backoff: self.outbox_backoff }
    }
}

fn count(batch: &Batch, took: Duration) {
    BATCH_SECONDS_TAKEN.histogram(&[]).record(took);
    RECEIPTS.counter(&["deleted"]).increment(batch.deleted.into());
    RECEIPTS.counter(&["set_aside"]).increment(batch.set_aside.len() as u64);
}

fn log_batch(job: BackgroundJobId, batch: &Batch) {
    let progress = &batch.progress;
    tracing::info!(
        target: USER_LOG, { job.id = %job, deleted = batch.deleted, failed = batch.set_aside.len(), processed = progress.processed, total = progress.total },
        "✓ [RECEIPTS_DELETE] Batch complete: {} deleted, {} failed ({}/{} = {:.1}%)",
        batch.deleted,
        batch.set_aside.len(),
        progress.processed,
        progress.total,
        progress.percent()
    );
    for row in &batch.set_aside {
        tracing::warn!(receipt = %row.receipt, reason = row.reason, "a receipt cannot be deleted; set aside");
    }
    for (reference, count) in &batch.kept_for {
        tracing::warn!(
            reference,
            count,
            "attachments are kept because something we do not know refers to them"
        );
    }
    for (reason, count) in &batch.withheld {
        tracing::warn!(reason, count, "attachments of deleted receipts stay, with their objects");
    }
}
