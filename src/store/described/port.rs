//! The port for described deletions: their check, their state and their batches.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::fitted::FittedDeletion;
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::Status;
use crate::job::{DescribedDeletion, JobId, Progress};
use crate::store::{Condemned, Pass};

/// What the check of a description found.
#[derive(Clone, Debug)]
pub struct ExaminedDeletion {
    /// The deletion's name.
    pub name: String,
    /// The deletion, if it can be used.
    pub fitted: Option<Arc<FittedDeletion>>,
    /// Why it cannot be used; each names its place, such as `deletion[1].also[0].by`.
    pub errors: Vec<String>,
    /// What works, but slower or less safely than it could.
    pub findings: Vec<String>,
}

/// The row of a described deletion in `tikkun_deletions`.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedRow {
    /// Its id.
    pub id: i64,
    /// The tenant; `None`: the whole table.
    pub tenant: Option<String>,
    /// Its status.
    pub status: Status,
    /// The newest attempt: the fence.
    pub attempt: u32,
    /// The moment of the request.
    pub requested_at: DateTime<Utc>,
    /// The position: all rows up to this id are done.
    pub cursor: Option<String>,
    /// The highest id of the request; `None`: ids do not bound it.
    pub bound: Option<String>,
    /// Its counters.
    pub progress: Progress,
    /// How many rows stay because they came after the request or have no time; `None` before that was counted.
    pub kept: Option<i64>,
    /// The queue job that executes it.
    pub queue_job: Option<JobId>,
    /// The last error.
    pub last_error: Option<String>,
}

/// The start of an attempt.
#[derive(Clone, Debug)]
pub struct BeginDescribed {
    /// The deletion.
    pub deletion: Arc<FittedDeletion>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The queue job.
    pub queue_job: JobId,
    /// When that was created, by the clock of whoever enqueued it.
    pub entry_at: Option<DateTime<Utc>>,
    /// After how long without a heartbeat a running row of another queue job is taken over.
    pub stale_after: std::time::Duration,
}

/// How an attempt began.
#[derive(Clone, Debug, PartialEq)]
pub enum BegunDescribed {
    /// The row is ours.
    Started(Box<DescribedRow>),
    /// Another queue job carries it.
    Carried {
        /// That one.
        by: JobId,
    },
    /// It is at rest; nothing was changed.
    AtRest(Box<DescribedRow>),
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndDescribed {
    /// All is done; the text says what stayed and why.
    Completed {
        /// What stayed.
        but: Option<String>,
    },
    /// The same queue job goes on later.
    Continuation,
}

/// The rows that a request covers, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoveredRows {
    /// Those that it deletes.
    pub covered: i64,
    /// Those that stay because they are newer than the request or have no time.
    pub kept: i64,
}

/// One batch.
#[derive(Clone, Debug)]
pub struct DescribedOrder {
    /// The deletion.
    pub deletion: Arc<FittedDeletion>,
    /// Its row.
    pub id: i64,
    /// The fence: the batch commits only while this is the newest attempt.
    pub attempt: u32,
    /// The most rows.
    pub limit: u32,
    /// The pass.
    pub pass: Pass,
    /// Where the sweep is; `None`: at its beginning.
    pub swept_to: Option<String>,
    /// The store of the objects.
    pub target: BlobTarget,
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum DescribedOutcome {
    /// Committed.
    Deleted(Box<DescribedBatch>),
    /// Nothing is left in this pass, and nothing was changed.
    Empty,
    /// The row is no longer running under this attempt; nothing was changed.
    NotOurs(Option<Status>),
    /// The foreign keys are not those of the check any more; nothing was changed.
    Outgrown,
}

/// A committed batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DescribedBatch {
    /// The lowest id of the batch.
    pub first_id: String,
    /// The highest id of the batch.
    pub last_id: String,
    /// The number of rows that were taken.
    pub selected: u32,
    /// The number of rows that were removed or marked.
    pub deleted: u32,
    /// The number of rows of other tables that went with them.
    pub others: u64,
    /// Rows that cannot be deleted, with the reasons.
    pub set_aside: Vec<(String, String)>,
    /// Objects in the outbox, reserved for this batch's own clean-up.
    pub condemned: Vec<Condemned>,
    /// Rows pointed to that stay because something undescribed refers to them, counted by `table.column`.
    pub kept_for: Vec<(String, u32)>,
    /// Whether rows have so many others that only a part of these went; the rest follows.
    pub in_part: bool,
    /// The row's counters after the commit.
    pub progress: Progress,
}

/// The port for described deletions.
#[async_trait]
pub trait DescribedDeletions: Send + Sync + 'static {
    /// Checks all descriptions against the live schema, and changes nothing. Each is judged by itself, but knows where
    /// the others have keys of objects.
    async fn examine(&self, all: &[DescribedDeletion]) -> Result<Vec<ExaminedDeletion>, Fault>;

    /// Begins an attempt: makes the row of a new request, or goes on with an open one. Idempotent for one queue job.
    async fn begin(&self, begin: &BeginDescribed) -> Result<BegunDescribed, Fault>;

    /// Counts the rows of a request that are there now.
    async fn count(&self, deletion: &FittedDeletion, row: &DescribedRow) -> Result<CoveredRows, Fault>;

    /// Deletes one batch in one transaction: locks and checks the deletion's row, removes children, removes or marks the
    /// rows, writes their objects to the outbox unless another row has them, moves cursor and counters.
    async fn delete(&self, order: &DescribedOrder) -> Result<DescribedOutcome, Fault>;

    /// Gives a sign of life, and reads the row.
    async fn beat(&self, id: i64, attempt: u32) -> Result<Option<DescribedRow>, Fault>;

    /// Ends an attempt; `false` if the row is not running under it.
    async fn end(&self, id: i64, attempt: u32, end: &EndDescribed) -> Result<bool, Fault>;

    /// Fails the open row of a queue job that has failed for good.
    async fn fail(&self, queue_job: &JobId, error: &str) -> Result<(), Fault>;

    /// Notes what was counted: at the start `total`, at the end how many rows are `kept`.
    async fn note(&self, id: i64, total: Option<i64>, kept: Option<i64>) -> Result<(), Fault>;

    /// The first row that was set aside, with its reason.
    async fn first_set_aside(&self, id: i64) -> Result<Option<(String, String)>, Fault>;
}
