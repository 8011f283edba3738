//! The port for `background_jobs`: every change of status is a compare-and-set.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId};

/// A request for a background job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// The tenant.
    pub business_id: BusinessId,
    /// The user who made the request.
    pub user_id: Option<i64>,
    /// The type, for example `delete_receipts_all`.
    pub job_type: String,
    /// The queue job that will execute it.
    pub queue_job: JobId,
    /// The receipts to delete.
    pub covers: Coverage,
}

/// The receipts that a request covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Every receipt that the tenant has now.
    Everything,
    /// The receipts of an earlier request of the tenant that are still live; never newer ones.
    RestOf(BackgroundJobId),
    /// The receipts that an earlier request of the tenant set aside and that are still live.
    SetAsideOf(BackgroundJobId),
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Requested {
    /// A new queued row, with its total counted and its upper id in the cursor.
    Created(Box<BackgroundJob>),
    /// The tenant already has an active row.
    Active(Box<BackgroundJob>),
    /// There is nothing to delete, or the tenant has no such earlier request; no row was made.
    Nothing,
}

/// The beginning of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The row.
    pub id: BackgroundJobId,
    /// The queue job that executes this attempt.
    pub queue_job: JobId,
    /// When that queue job was created, in UTC; `None` if unknown.
    pub entry_at: Option<DateTime<Utc>>,
    /// A running row of another queue job is taken over if its heartbeat is older than this.
    pub stale_after: Duration,
    /// If more than this many attempts died without moving the cursor, the row fails as poison.
    pub max_barren: u32,
}

/// The result of beginning an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The row is running under a new attempt number, with total and upper id in place.
    Started(Box<BackgroundJob>),
    /// This attempt may not begin.
    Refused(NotBegun),
}

/// Why an attempt may not begin.
#[derive(Clone, Debug, PartialEq)]
pub enum NotBegun {
    /// No such row.
    Missing,
    /// The row is inactive: completed, failed, cancelled or paused by a user.
    AtRest(Status),
    /// Another live queue job executes it.
    Duplicate {
        /// That queue job.
        of: Option<JobId>,
    },
    /// Too many attempts died at the same cursor; the row has failed now.
    Poison(String),
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndAttempt {
    /// Everything is done; `last_error` becomes null.
    Completed,
    /// Done, except for a part of the request.
    CompletedBut {
        /// The part that is not done, and why; written to `last_error`.
        error: String,
    },
    /// Given up.
    Failed {
        /// The reason; written to `last_error`.
        error: String,
    },
    /// Paused for now; it continues by itself.
    Continuation,
    /// Paused by the job itself, until a user resumes it.
    Paused {
        /// The name of what paused it, noted like a user's name.
        by: String,
    },
}

/// A request of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonMove {
    /// Stop for good.
    Cancel,
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
}

/// A user's request for one row of their tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The row.
    pub id: BackgroundJobId,
    /// The tenant that must own it; a row of another tenant counts as missing.
    pub business_id: BusinessId,
    /// The request.
    pub wish: PersonMove,
    /// The user, for the record.
    pub by: String,
    /// For a resumed job: the queue job that will execute it.
    pub queue_job: Option<JobId>,
}

/// The live figures of a running job. Never counters: those are written by the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that reports; reports of older attempts are ignored.
    pub attempt: u32,
    /// What it waits for, if it waits.
    pub waiting_for: Option<String>,
    /// Receipts per second.
    pub rate: Option<f64>,
    /// Seconds left.
    pub eta_seconds: Option<f64>,
    /// The last error of a running job; `None` keeps the row's text.
    pub last_error: Option<String>,
}

/// The port for background jobs. Every call is one transaction, safe to drop at an await and safe to repeat.
/// A row with an unknown status, time or cursor is a permanent fault that names the row and the value.
#[async_trait]
pub trait BackgroundJobs: Send + Sync + 'static {
    /// Creates a row for a deletion, unless the tenant has an active one or nothing to delete.
    async fn request(&self, request: &NewRequest) -> Result<Requested, Fault>;

    /// Fails a row that is queued or paused for continuation and cannot begin, so that it does not block the next
    /// request.
    async fn fail_unbegun(&self, id: BackgroundJobId, error: &str) -> Result<bool, Fault>;

    /// One row.
    async fn get(&self, id: BackgroundJobId) -> Result<Option<BackgroundJob>, Fault>;

    /// The tenant's newest row of a type, active ones first.
    async fn latest(&self, business_id: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault>;

    /// Queued, running and paused rows of a type, oldest first, at most `max`. An unreadable row is logged
    /// and left out, so that it does not block the others.
    async fn active(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault>;

    /// The newest rows of a type, of all tenants, at most `max`. Unreadable rows are left out as in
    /// [`active`](Self::active).
    async fn newest(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault>;

    /// Begins an attempt: a queued row, or one paused for continuation or crashed, becomes running, attempt +
    /// 1. A row of the web application gets its upper id, which is at most the highest id at the first look,
    /// and its total if that is 0.
    async fn begin_attempt(&self, begin: &Begin) -> Result<Begun, Fault>;

    /// Records the highest receipt id at the first look at an active row without coverage. A later look
    /// changes nothing.
    async fn look(&self, id: BackgroundJobId) -> Result<(), Fault>;

    /// Ends an attempt, if the row is running and the attempt is the newest. A repeated call returns `true`
    /// as long as the row has the status of this end.
    async fn end_attempt(&self, id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> Result<bool, Fault>;

    /// Applies a user's request. `Ok(None)`: the tenant has no such row. An inner `Err` has the status that
    /// does not allow the request.
    async fn person(&self, person: &Person) -> Result<Option<Result<BackgroundJob, Status>>, Fault>;

    /// Sets a row back to running that the web application's stale rule failed although its attempt is alive
    /// (a continuation counts as alive). This happens once until the next successful batch, and not if a user
    /// cancelled the row, the tenant has another active row, or our own end failed it.
    async fn revive(&self, id: BackgroundJobId, attempt: u32) -> Result<bool, Fault>;

    /// Updates `heartbeat_at` and `updated_at` of our rows: running under that attempt, or paused for
    /// continuation after it. Returns the rows that are not ours any more. A row that the database refuses to change
    /// keeps no other from it; the fault is that of such a row.
    async fn beat(&self, rows: &[(BackgroundJobId, u32)]) -> Result<Vec<BackgroundJobId>, Fault>;

    /// Writes the live figures. A row that the database refuses to change keeps no other from it, as above.
    async fn watch(&self, updates: &[Watched]) -> Result<(), Fault>;

    /// Notes the queue job of a row after reconciliation has created a new one.
    async fn carried_by(&self, id: BackgroundJobId, queue_job: &JobId) -> Result<(), Fault>;

    /// The database's time, which is used to write and to judge heartbeats.
    async fn now(&self) -> Result<DateTime<Utc>, Fault>;

    /// Returns `Ok` if the database answers and accepts writes: a small one now, and those of the work of this
    /// process, as far as they were tried lately.
    async fn check(&self) -> Result<(), Fault>;
}

impl PersonMove {
    /// The transition of the row's status.
    #[must_use]
    pub fn transition(self) -> crate::job::background::Move {
        use crate::job::background::Move;
        match self {
            Self::Cancel => Move::Cancel,
            Self::Pause => Move::Pause,
            Self::Resume => Move::Resume,
        }
    }
}
