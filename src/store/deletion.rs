//! The statements that the batch transaction needs of a database, and the values between them. Their order is
//! in `batch`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::outbox::Condemned;
use super::receipts::{Batch, Pass, SetAside};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::{Cursor, Dated, Status};
use crate::job::{BackgroundJobId, BusinessId, Progress};

/// The batch's own clean-up has this long before another process may claim its objects.
pub(super) const CLEANUP_HOLD: Duration = Duration::from_secs(60);

/// The reason for a row that the database left unchanged without an error.
pub(super) const LEFT_AS_IT_WAS: &str = "the database left it as it was without an error: a trigger, a rule or a policy \
    of row security keeps it; `tikkun doctor` names them";

/// The reason why objects are unknown whose attachments vanished before a batch could note them.
pub(super) const DROPPED: &str = "the database dropped their rows by itself when their receipts were marked, such as by a \
    trigger on receipts, before the objects could be noted; `tikkun doctor` names what may do so";

/// The reason why attachments stay that only later batches could delete, and that those cannot know.
pub(super) const UNLINKED: &str = "others share their storage_path, and their pointers were gone once their receipts were marked, such as by a \
    trigger on receipts, so that no later batch finds them; `tikkun doctor` names what may do so";

/// The failure of a statement that changes rows.
#[derive(Debug)]
pub(super) enum StepFault {
    /// A row may not be changed, or was left unchanged without an error, because of a constraint, a trigger,
    /// a rule or a policy of row security. It may work for fewer rows.
    Refused(String),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for StepFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The locked row of the job.
#[derive(Clone, Debug)]
pub(super) struct LockedJob {
    /// The tenant.
    pub(super) business_id: BusinessId,
    /// Its status.
    pub(super) status: Status,
    /// The newest attempt.
    pub(super) attempt: u32,
    /// Its counters.
    pub(super) progress: Progress,
    /// Its cursor.
    pub(super) cursor: Cursor,
    /// Whether the note counts attempts without progress or a revival, which a successful batch resets.
    pub(super) recovering: bool,
    /// The database's time.
    pub(super) now: DateTime<Utc>,
}

impl LockedJob {
    /// How many more receipts were found than were counted at the start, once so many are processed.
    pub(super) fn uncounted(&self, job: BackgroundJobId, processed: i64) -> Option<i64> {
        let (before, total) = (self.cursor.uncounted, self.progress.total);
        if total <= 0 || processed <= total {
            return before;
        }
        if before.is_none() {
            tracing::warn!(
                background_job = %job, total,
                "more receipts are found than were counted at the start of a deletion; is another business merged into this one?"
            );
        }
        Some(before.unwrap_or(0) + processed - total)
    }
}

/// The receipts that a batch may change.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    /// The row.
    pub(super) job: BackgroundJobId,
    /// The tenant.
    pub(super) business_id: BusinessId,
    /// The pass over the receipts.
    pub(super) pass: Pass,
    /// The cursor.
    pub(super) last_id: i64,
    /// The last receipt of the request.
    pub(super) upper_id: i64,
    /// Only receipts with such creation times; `None`: all.
    pub(super) dated: Option<Dated>,
    /// The ranges of ids that were there at the request; empty: not known.
    pub(super) there: &'a [i64],
    /// Only receipts that this row set aside.
    pub(super) only_set_aside_of: Option<BackgroundJobId>,
    /// The store of the objects.
    pub(super) target: &'a BlobTarget,
    /// The time of the batch.
    pub(super) now: DateTime<Utc>,
}

/// The receipts of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// All of them, ascending; the cursor moves to the last.
    pub(super) ids: Vec<i64>,
    /// Those that are still live, and stay live until the commit unless this batch changes them.
    pub(super) live: Vec<i64>,
}

/// The attachments of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreferenced {
    /// Attachments that may be deleted.
    pub(super) condemnable: Vec<i64>,
    /// Others that nothing else needs, and that stay because further attachments of the tenant share their path.
    pub(super) shared: Vec<i64>,
    /// Attachments that unknown tables refer to, counted by `table.column`.
    pub(super) kept_for: Kept,
    /// Attachments that the database does not let us check or lock, counted by reason.
    pub(super) withheld: Kept,
}

/// How many attachments stay, by reason.
pub(super) type Kept = BTreeMap<String, u32>;

/// Those of which there are `missing` ones and `unlinked` ones.
pub(super) fn strays(missing: i64, unlinked: i64) -> Kept {
    let found = [(DROPPED, missing), (UNLINKED, unlinked)].into_iter().filter(|(_, count)| *count > 0);
    found.map(|(reason, count)| (reason.to_owned(), u32::try_from(count).unwrap_or(u32::MAX))).collect()
}

/// The changes of one step.
#[derive(Clone, Debug, Default)]
pub(super) struct Change<'a> {
    /// Receipts to mark as deleted.
    pub(super) receipts: &'a [i64],
    /// Receipts that earlier steps have marked, and that a trigger of this step must not unmark.
    pub(super) marked: &'a [i64],
    /// Attachments to delete, whose objects go to the outbox.
    pub(super) attachments: &'a [i64],
    /// The new position of the job.
    pub(super) moved: Option<Moved<'a>>,
}

/// What a batch counts for the certificate of its deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchCounts {
    /// The receipts of the batch.
    pub(super) receipts: u32,
    /// Attachments whose rows are gone.
    pub(super) attachments: u32,
    /// Attachments that stay because unknown tables refer to them.
    pub(super) referenced: u32,
    /// Objects that earlier steps of the batch wrote to the outbox.
    pub(super) objects: u32,
}

impl BatchCounts {
    /// Those of a batch that deletes these attachments.
    pub(super) fn of(batch: &Batch, attachments: &[i64]) -> Self {
        let count = |length| u32::try_from(length).unwrap_or(u32::MAX);
        Self {
            receipts: batch.selected,
            attachments: count(attachments.len()),
            referenced: batch.kept_for.iter().map(|(_, kept)| kept).sum(),
            objects: count(batch.condemned.len()),
        }
    }
}

/// The new cursor and counters.
#[derive(Clone, Debug)]
pub(super) struct Moved<'a> {
    /// The row's cursor.
    pub(super) cursor: &'a Cursor,
    /// Its counters.
    pub(super) progress: Progress,
    /// Whether to reset the count of attempts without progress, and a revival.
    pub(super) recovered: bool,
    /// What the batch adds to the counts of the certificate.
    pub(super) counts: BatchCounts,
}

/// A database that can begin a batch.
#[async_trait]
pub(super) trait Deletions: Send + Sync {
    /// Its transaction.
    type Tx: DeletionTx;

    /// Begins a writing transaction.
    async fn begin(&self) -> Result<Self::Tx, Fault>;

    /// Whether a fault only means that a prepared statement was outdated. The connection then discards it, so
    /// that the same call can be repeated at once.
    fn forgets_statements(&self, fault: &Fault) -> bool;
}

/// The statements of a batch. Dropping it rolls the transaction back.
#[async_trait]
pub(super) trait DeletionTx: Send + Sized {
    /// Locks the job row against every other writer.
    async fn lock_job(&mut self, job: BackgroundJobId) -> Result<Option<LockedJob>, Fault>;

    /// The next live receipts. Until the end nobody else can change them or the attachments they point to.
    async fn take(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Taken, Fault>;

    /// The attachments of taken receipts that nothing live needs after those in `gone` are deleted. Those of `earlier`
    /// were found so before the mark, which may have taken the receipts that point to them out of the table.
    async fn needless(
        &mut self,
        scope: &Scope<'_>,
        gone: &[i64],
        earlier: &[i64],
    ) -> Result<Unreferenced, Fault>;

    /// The `ids` that are live now.
    async fn still_live(&mut self, scope: &Scope<'_>, ids: &[i64]) -> Result<Vec<i64>, Fault>;

    /// Of the attachments that were found before the mark, those to `condemn` that do not exist now, and the `shared` ones
    /// to which no receipt points.
    async fn strays(&mut self, condemn: &[i64], shared: &[i64]) -> Result<Kept, Fault>;

    /// Changes rows, checks the result, and returns the objects that went to the outbox. If a single row is
    /// not as it should be, even without an error, the whole change is refused and the caller rolls it back.
    /// An attachment without a key leaves no object; attachments that share a key leave one, with the last of
    /// them.
    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault>;

    /// Records receipts that cannot be changed.
    async fn set_aside(&mut self, scope: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault>;

    /// Runs a statement that has no values.
    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault>;

    /// Opens the savepoint; there is at most one.
    async fn savepoint(&mut self) -> Result<(), Fault> {
        self.plain("savepoint step").await
    }

    /// Keeps what was done since the savepoint, and closes it.
    async fn release(&mut self) -> Result<(), Fault> {
        self.plain("release savepoint step").await
    }

    /// Undoes everything since the savepoint, partial work of triggers included, and closes it, so that its
    /// name can be used again.
    async fn rollback_to(&mut self) -> Result<(), Fault> {
        self.plain("rollback to savepoint step; release savepoint step").await
    }

    /// Makes the batch durable.
    async fn commit(self) -> Result<(), Fault>;

    /// Rolls everything back. If that fails, the connection must not be used again.
    async fn rollback(self);
}
