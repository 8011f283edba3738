//! What the batch transaction needs of a database: its statements, one by one, and the values between
//! them. The order of the steps is in `batch`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::outbox::Condemned;
use super::receipts::{Pass, SetAside};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::{Cursor, Dated, Status};
use crate::job::{BackgroundJobId, BusinessId, Progress};

/// The batch's own clean-up has this long before anybody else may claim its objects.
pub(super) const CLEANUP_HOLD: Duration = Duration::from_secs(60);

/// Why a row is not changed where the database gave no reason.
pub(super) const LEFT_AS_IT_WAS: &str = "the database left it as it was without an error: a trigger, a rule or a policy \
    of row security keeps it; `tikkun doctor` names them";

/// Why nobody knows of objects any more whose attachments went before a batch could note them.
pub(super) const DROPPED: &str = "the database dropped their rows by itself when their receipts were marked, such as by a \
    trigger on receipts, before the objects could be noted; `tikkun doctor` names what may do so";

/// Why a statement that changes rows did not.
#[derive(Debug)]
pub(super) enum StepFault {
    /// The database answered that a row may not be changed so, or left one as it was without an error: a constraint,
    /// a trigger, a rule, a policy of row security. Fewer rows may do.
    Refused(String),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for StepFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The job row under lock.
#[derive(Clone, Debug)]
pub(super) struct LockedJob {
    /// The tenant.
    pub(super) business_id: BusinessId,
    /// Where it stands.
    pub(super) status: Status,
    /// The newest attempt.
    pub(super) attempt: u32,
    /// Its counters.
    pub(super) progress: Progress,
    /// Its cursor.
    pub(super) cursor: Cursor,
    /// The note still counts attempts without progress or a revival, which a good batch clears.
    pub(super) recovering: bool,
    /// The database's time.
    pub(super) now: DateTime<Utc>,
}

/// What a batch may touch.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    /// The row.
    pub(super) job: BackgroundJobId,
    /// The tenant.
    pub(super) business_id: BusinessId,
    /// Which receipts.
    pub(super) pass: Pass,
    /// The cursor.
    pub(super) last_id: i64,
    /// The last receipt of the request.
    pub(super) upper_id: i64,
    /// Only receipts made at such times; none: all.
    pub(super) dated: Option<Dated>,
    /// Only receipts that this row set aside.
    pub(super) only_set_aside_of: Option<BackgroundJobId>,
    /// Where objects lie.
    pub(super) target: &'a BlobTarget,
    /// The time of the batch.
    pub(super) now: DateTime<Utc>,
}

/// The receipts of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// All of them, ascending: the cursor moves behind the last.
    pub(super) ids: Vec<i64>,
    /// Those that are live still, and stay so until the commit if this batch does not change them.
    pub(super) live: Vec<i64>,
}

/// Attachments of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreferenced {
    /// Those that may go.
    pub(super) condemnable: Vec<i64>,
    /// Those that a table we do not know keeps, as `table.column`: count.
    pub(super) kept_for: BTreeMap<String, u32>,
    /// Those that the database does not let us judge or lock, by reason: count.
    pub(super) withheld: BTreeMap<String, u32>,
}

/// What one step changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Change<'a> {
    /// Receipts that are marked as deleted.
    pub(super) receipts: &'a [i64],
    /// Receipts that earlier steps have marked: a trigger of this one may not take that back.
    pub(super) marked: &'a [i64],
    /// Attachments whose objects come into the outbox, and whose rows go.
    pub(super) attachments: &'a [i64],
    /// Where the job stands then.
    pub(super) moved: Option<Moved<'a>>,
}

/// Cursor and counters as they shall stand.
#[derive(Clone, Debug)]
pub(super) struct Moved<'a> {
    /// The row's cursor.
    pub(super) cursor: &'a Cursor,
    /// Its counters.
    pub(super) progress: Progress,
    /// Whether the note is to be cleared of attempts without progress and of a revival.
    pub(super) recovered: bool,
}

/// A database that can begin a batch.
#[async_trait]
pub(super) trait Deletions: Send + Sync {
    /// Its transaction.
    type Tx: DeletionTx;

    /// Begins a writing transaction.
    async fn begin(&self) -> Result<Self::Tx, Fault>;

    /// Whether a fault says nothing but that a connection kept a statement which the tables have outgrown. It is
    /// thrown away then, and the same can be done anew at once.
    fn forgets_statements(&self, fault: &Fault) -> bool;
}

/// The statements of a batch. Dropped, the transaction is rolled back.
#[async_trait]
pub(super) trait DeletionTx: Send + Sized {
    /// Locks the job row against every other writer.
    async fn lock_job(&mut self, job: BackgroundJobId) -> Result<Option<LockedJob>, Fault>;

    /// The next live receipts. Nobody else can change them, nor the attachments they point to, before the end.
    async fn take(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Taken, Fault>;

    /// The attachments of taken receipts that nothing live needs once those of `gone` are deleted.
    async fn needless(&mut self, scope: &Scope<'_>, gone: &[i64]) -> Result<Unreferenced, Fault>;

    /// Those of `ids` that are live as they stand now.
    async fn still_live(&mut self, scope: &Scope<'_>, ids: &[i64]) -> Result<Vec<i64>, Fault>;

    /// How many of these attachments are not there, as the rows stand now.
    async fn missing(&mut self, attachments: &[i64]) -> Result<u32, Fault>;

    /// Changes rows, looks at how they stand then, and answers with the objects that came into the outbox. A single
    /// row that is not as it should be makes all of it refused, and the caller takes it back: a change without an
    /// error is not yet a change. An attachment without a key leaves no object behind; of several that share a key,
    /// the last one does.
    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault>;

    /// Notes receipts that cannot be changed.
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

    /// Takes back what was done since the savepoint, also what a trigger left half done, and closes it, so that the
    /// next has its name to itself.
    async fn rollback_to(&mut self) -> Result<(), Fault> {
        self.plain("rollback to savepoint step; release savepoint step").await
    }

    /// Makes the batch durable.
    async fn commit(self) -> Result<(), Fault>;

    /// Takes all of it back. A connection that cannot even do that must not be used again.
    async fn rollback(self);
}
