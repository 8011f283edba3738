//! The port for `receipts` and `attachments`.

use async_trait::async_trait;

use super::{Condemned, DeletionPlan};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::Status;
use crate::job::{BackgroundJobId, BusinessId, Progress, ReceiptId};

/// The pass in which a batch takes receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The next ones behind the cursor.
    Forward,
    /// Those left below the upper id, because ids do not commit in order.
    Sweep,
}

/// One batch to delete.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOrder {
    /// The row.
    pub job: BackgroundJobId,
    /// The fence: the batch commits only while this is the newest attempt.
    pub attempt: u32,
    /// The most receipts.
    pub limit: u32,
    /// The pass.
    pub pass: Pass,
    /// The store of the objects of condemned attachments.
    pub target: BlobTarget,
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchOutcome {
    /// Committed.
    Deleted(Box<Batch>),
    /// Nothing is left in this pass, and nothing was changed.
    Empty,
    /// The row is no longer running under this attempt; nothing was changed.
    NotOurs(Option<Status>),
}

/// A committed batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Lowest receipt id of the batch.
    pub first_id: i64,
    /// Highest receipt id of the batch.
    pub last_id: i64,
    /// The number of receipts in the batch.
    pub selected: u32,
    /// The number of receipts marked as deleted.
    pub deleted: u32,
    /// Receipts that were set aside because they cannot be changed.
    pub set_aside: Vec<SetAside>,
    /// Objects of condemned attachments, now in the outbox and reserved for this batch's own clean-up. An
    /// attachment without a key has no object.
    pub condemned: Vec<Condemned>,
    /// Attachments kept because an unknown table refers to them, counted by `table.column`.
    pub kept_for: Vec<(String, u32)>,
    /// Attachments that the database refused to delete, counted by reason.
    pub withheld: Vec<(String, u32)>,
    /// The row's counters after the commit.
    pub progress: Progress,
}

/// A receipt that could not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The receipt.
    pub receipt: ReceiptId,
    /// Why.
    pub reason: String,
}

/// The port for receipts.
#[async_trait]
pub trait Receipts: Send + Sync + 'static {
    /// Deletes one batch in one transaction: lock and check the job row, mark the receipts, condemn their
    /// attachments into the outbox, move cursor and counters. If dropped at an await, it may or may not have
    /// been committed; the cursor in the row shows it, so the next call is right either way.
    ///
    /// Receipts that the database refuses to change, or leaves unchanged without an error, are set aside;
    /// that is no fault. A cursor without an upper id, which only a change by hand can make, is a permanent
    /// fault.
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault>;

    /// This process makes no more batches for this job now, so nobody repeats one that was refused.
    fn leave_off(&self, job: BackgroundJobId) {
        let _ = job;
    }

    /// Receipts of a tenant that are not deleted.
    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault>;

    /// Receipts that a job set aside and that are still live, with reasons, by id, at most `max`.
    async fn set_aside(&self, job: BackgroundJobId, max: u32) -> Result<Vec<SetAside>, Fault>;

    /// Triggers, rules and policies of row security that may prevent our changes of `receipts`, `attachments`
    /// and `background_jobs`, each as `trigger guard on receipts`; and views and wider tables beneath that keep attachments
    /// or all receipts.
    async fn hindrances(&self) -> Result<Vec<String>, Fault>;

    /// Whether the database may hide receipts from us, so that nobody can be sure that none is left.
    async fn may_be_hidden(&self) -> Result<bool, Fault>;

    /// The keys of the newest attachments that have one, at most `max`.
    async fn newest_keys(&self, max: u32) -> Result<Vec<String>, Fault>;

    /// What a deletion of this tenant's receipts would do if it were requested now, by the rules of the
    /// batch. It only reads, in one snapshot, and does not depend on the number of receipts.
    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault>;
}
