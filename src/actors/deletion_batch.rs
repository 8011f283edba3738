//! Deletes one batch of one tenant's receipts at a time: the transaction first, then the objects.
//!
//! Nothing survives a restart: where the deletion stands is in the row's cursor, and what the storage
//! still owes is in the outbox.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient, ResponseActFuture, Supervised, WrapFuture};

use super::Progressed;
use super::clean_up::{CleanUpLimits, delete_objects};
use super::deadline::answer_in;
use crate::blob::BlobStore;
use crate::failpoint;
use crate::fault::Fault;
use crate::job::background::Status;
use crate::job::{BackgroundJobId, Backoff};
use crate::store::{Batch, BatchOrder, BatchOutcome, CleanupOutbox, Pass, Receipts};
use crate::story::STORY;

/// What a deletion needs.
#[derive(Clone)]
pub struct BatchPorts {
    /// The tables.
    pub receipts: Arc<dyn Receipts>,
    /// What the storage still owes.
    pub outbox: Arc<dyn CleanupOutbox>,
    /// The objects.
    pub blobs: Arc<dyn BlobStore>,
    /// Whom to tell what has been committed.
    pub tracker: Recipient<Progressed>,
    /// Longest wait for one transaction.
    pub transaction_deadline: Duration,
    /// Longest wait for one answer of the storage.
    pub storage_deadline: Duration,
    /// Waits between tries for one object.
    pub outbox_backoff: Backoff,
    /// Whether objects are deleted at all; else they stay in the outbox.
    pub storage_delete: bool,
}

/// The actor: one for each running deletion.
pub struct DeletionBatch {
    ports: BatchPorts,
    job: BackgroundJobId,
    attempt: u32,
    limit: u32,
}

/// Asks for the next batch of a pass.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<BatchDone, Fault>")]
pub struct RunBatch(pub Pass);

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchDone {
    /// Committed, and its objects were asked to go.
    Deleted(Box<Batch>),
    /// Nothing is left in this pass.
    Empty,
    /// The row is not this attempt's any more.
    NotOurs(Option<Status>),
}

impl DeletionBatch {
    /// Batches of at most `limit` receipts for one attempt at one row.
    #[must_use]
    pub fn new(ports: BatchPorts, job: BackgroundJobId, attempt: u32, limit: u32) -> Self {
        Self { ports, job, attempt, limit }
    }
}

impl Actor for DeletionBatch {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        failpoint::reach("deletion_batch.started");
    }
}

impl Supervised for DeletionBatch {}

impl Handler<RunBatch> for DeletionBatch {
    type Result = ResponseActFuture<Self, Result<BatchDone, Fault>>;

    fn handle(&mut self, RunBatch(pass): RunBatch, _: &mut Self::Context) -> Self::Result {
        failpoint::reach("deletion_batch.run");
        let order = BatchOrder {
            job: self.job,
            attempt: self.attempt,
            limit: self.limit,
            pass,
            target: self.ports.blobs.target().clone(),
        };
        let ports = self.ports.clone();
        Box::pin(async move { ports.run(&order).await }.into_actor(self))
    }
}

impl BatchPorts {
    async fn run(&self, order: &BatchOrder) -> Result<BatchDone, Fault> {
        failpoint::reach("deletion.before_transaction");
        let deleted = self.receipts.delete_batch(order);
        let batch = match answer_in(self.transaction_deadline, "delete a batch", deleted).await? {
            BatchOutcome::Deleted(batch) => batch,
            BatchOutcome::Empty => return Ok(BatchDone::Empty),
            BatchOutcome::NotOurs(status) => return Ok(BatchDone::NotOurs(status)),
        };
        failpoint::reach("deletion.after_commit");
        let told = Progressed { id: order.job, attempt: order.attempt, progress: batch.progress };
        if self.tracker.try_send(told).is_err() {
            tracing::debug!(background_job = %order.job, "a progress message was dropped; the next one tells more");
        }
        log_batch(order.job, &batch);
        self.clean_up(order, &batch).await;
        Ok(BatchDone::Deleted(batch))
    }

    /// The batch is committed: whatever happens here, its objects are in the outbox and the Rescuer
    /// tries again.
    async fn clean_up(&self, order: &BatchOrder, batch: &Batch) {
        if batch.condemned.is_empty() {
            return;
        }
        if !self.storage_delete {
            let stay = batch.condemned.len();
            tracing::info!(
                target: STORY, { job.id = %order.job, stay },
                "→ [RECEIPTS_DELETE] R2 cleanup: off, {stay} objects stay in the outbox"
            );
            return;
        }
        let limits = CleanUpLimits { deadline: self.storage_deadline, backoff: self.outbox_backoff };
        match delete_objects(&*self.blobs, &*self.outbox, &batch.condemned, &limits).await {
            Ok(cleaned) => tracing::info!(
                target: STORY, { job.id = %order.job, deleted = cleaned.deleted, failed = cleaned.failed },
                "→ [RECEIPTS_DELETE] R2 cleanup: {} deleted, {} failed",
                cleaned.deleted,
                cleaned.failed
            ),
            Err(fault) => tracing::warn!(background_job = %order.job, error = fault.chain(),
                "the clean-up outbox cannot be brought up to date; its objects are tried again later"),
        }
    }
}

fn log_batch(job: BackgroundJobId, batch: &Batch) {
    let progress = &batch.progress;
    tracing::info!(
        target: STORY, { job.id = %job, deleted = batch.deleted, failed = batch.set_aside.len(), processed = progress.processed, total = progress.total },
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
}
