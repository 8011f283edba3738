//! The port onto `receipts` and `attachments`.

use async_trait::async_trait;

use super::{Condemned, DeletionPlan};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::Status;
use crate::job::{BackgroundJobId, BusinessId, Progress, ReceiptId};

/// Which receipts a batch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The next ones behind the cursor.
    Forward,
    /// What is left below the upper id: ids do not commit in order.
    Sweep,
}

/// One batch to delete.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOrder {
    /// The row.
    pub job: BackgroundJobId,
    /// The fence: the batch commits only while this is the newest attempt.
    pub attempt: u32,
    /// At most so many receipts.
    pub limit: u32,
    /// Which ones.
    pub pass: Pass,
    /// Where the objects of condemned attachments lie.
    pub target: BlobTarget,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchOutcome {
    /// Committed.
    Deleted(Box<Batch>),
    /// Nothing is left in this pass; nothing was changed.
    Empty,
    /// The row is not running under this attempt any more; nothing was changed.
    NotOurs(Option<Status>),
}

/// A committed batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Lowest receipt id looked at.
    pub first_id: i64,
    /// Highest receipt id looked at.
    pub last_id: i64,
    /// Receipts looked at.
    pub selected: u32,
    /// Receipts marked as deleted.
    pub deleted: u32,
    /// Receipts that cannot be changed, set aside.
    pub set_aside: Vec<SetAside>,
    /// Objects of condemned attachments, now in the outbox and held back for this batch's own clean-up.
    /// An attachment without a key is condemned too, and leaves no object.
    pub condemned: Vec<Condemned>,
    /// Attachments kept because a table we do not know refers to them, as `table.column`: count.
    pub kept_for: Vec<(String, u32)>,
    /// Attachments that the database did not let go, by reason: count.
    pub withheld: Vec<(String, u32)>,
    /// The row's counters after the commit.
    pub progress: Progress,
}

/// A receipt that could not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Which.
    pub receipt: ReceiptId,
    /// Why.
    pub reason: String,
}

/// The port.
#[async_trait]
pub trait Receipts: Send + Sync + 'static {
    /// Deletes one batch in one transaction: lock and check the job row, mark the receipts, condemn
    /// their attachments into the outbox, move cursor and counters. Dropped at an await, it may or
    /// may not have been committed; the cursor in the row tells, so the next call is right either way.
    ///
    /// Receipts that the database refuses to change, or leaves as they are without an error, are set aside, not a
    /// fault. A cursor without an
    /// upper id, which only a stranger's hand can make, is a permanent one.
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault>;

    /// Receipts of a tenant that are not deleted.
    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault>;

    /// Receipts that a job set aside and that are still live, with reasons, by id, at most `max`.
    async fn set_aside(&self, job: BackgroundJobId, max: u32) -> Result<Vec<SetAside>, Fault>;

    /// Triggers, rules and policies of row security that may keep our changes of `receipts`, `attachments` and
    /// `background_jobs` from being made, each as `trigger guard on receipts`.
    async fn hindrances(&self) -> Result<Vec<String>, Fault>;

    /// Whether the database may hide receipts from us, so that it cannot be told whether any is left.
    async fn may_be_hidden(&self) -> Result<bool, Fault>;

    /// What a deletion of this tenant's receipts would do if it were requested now, by the rules of the
    /// batch. Reads only: one look at one moment, however many receipts there are.
    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault>;
}
