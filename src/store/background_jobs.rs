//! The port onto `background_jobs`: every change of status is a compare-and-set.

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
    /// Who asks.
    pub user_id: Option<i64>,
    /// The type, for example `delete_receipts_all`.
    pub job_type: String,
    /// The queue job that will carry it.
    pub queue_job: JobId,
    /// Which receipts.
    pub covers: Coverage,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Every receipt that the tenant has now.
    Everything,
    /// What an earlier request of the tenant covered and is still live; never what came later.
    RestOf(BackgroundJobId),
    /// What an earlier request of the tenant set aside and is still live.
    SetAsideOf(BackgroundJobId),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Requested {
    /// A new row, queued, with its total counted and its upper id in the cursor.
    Created(Box<BackgroundJob>),
    /// The tenant has an active one.
    Active(Box<BackgroundJob>),
    /// There is nothing to do, or no such earlier request of that tenant; no row was made.
    Nothing,
}

/// The beginning of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The row.
    pub id: BackgroundJobId,
    /// The queue job that carries this attempt.
    pub queue_job: JobId,
    /// When that queue job was made, in UTC; none when that is not known.
    pub entry_at: Option<DateTime<Utc>>,
    /// A running row that another queue job carries is taken over when its heartbeat is older.
    pub stale_after: Duration,
    /// An attempt too many that died without moving the cursor fails the row as poison.
    pub max_barren: u32,
}

/// What became of a beginning.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The row is running under a new attempt number, with total and upper id in place.
    Started(Box<BackgroundJob>),
    /// It is not for this attempt.
    Refused(NotBegun),
}

/// Why an attempt may not begin.
#[derive(Clone, Debug, PartialEq)]
pub enum NotBegun {
    /// No such row.
    Missing,
    /// The row is at rest: completed, failed, cancelled or paused by a person.
    AtRest(Status),
    /// Another queue job carries it and is alive.
    Duplicate {
        /// The queue job that carries it.
        of: Option<JobId>,
    },
    /// Too many attempts died at the same place; the row is failed now.
    Poison(String),
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndAttempt {
    /// All done; what went wrong in between is past, and `last_error` becomes null.
    Completed,
    /// Done, but not all of what was asked for.
    CompletedBut {
        /// What is not done, and why: goes into `last_error`.
        error: String,
    },
    /// Given up.
    Failed {
        /// Goes into `last_error`.
        error: String,
    },
    /// Goes on later by itself.
    Continuation,
    /// Paused by the job itself, until a person resumes it.
    Paused {
        /// What decided so, for people; noted like a person's name.
        by: String,
    },
}

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonMove {
    /// Stop for good.
    Cancel,
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
}

/// What a person asks for one row of their tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The row.
    pub id: BackgroundJobId,
    /// The tenant that it must belong to; another's row is as if it were not there.
    pub business_id: BusinessId,
    /// What is asked.
    pub wish: PersonMove,
    /// Who asks, for the record.
    pub by: String,
    /// For a resumed job: the queue job that will carry it.
    pub queue_job: Option<JobId>,
}

/// What people watch of a running job. Never counters: those belong to the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt that tells; an older one is ignored.
    pub attempt: u32,
    /// What it waits for, while it waits.
    pub waiting_for: Option<String>,
    /// Receipts per second.
    pub rate: Option<f64>,
    /// Seconds left.
    pub eta_seconds: Option<f64>,
    /// What went wrong last, while it goes on; none leaves what the row says.
    pub last_error: Option<String>,
}

/// The port. Every call may be dropped at an await; each is one transaction and safe to repeat.
/// A row with an unknown status, time or cursor is a permanent fault that names row and value.
#[async_trait]
pub trait BackgroundJobs: Send + Sync + 'static {
    /// Makes a row for a deletion, unless the tenant has an active one or nothing to delete.
    async fn request(&self, request: &NewRequest) -> Result<Requested, Fault>;

    /// The row could not be enqueued: queued becomes failed, so that nothing blocks the next try.
    async fn fail_unqueued(&self, id: BackgroundJobId, error: &str) -> Result<bool, Fault>;

    /// One row.
    async fn get(&self, id: BackgroundJobId) -> Result<Option<BackgroundJob>, Fault>;

    /// The tenant's newest row of a type, active ones first.
    async fn latest(&self, business_id: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault>;

    /// Queued, running and paused rows of a type, oldest first, at most `max`. A row that cannot be read is
    /// left out and said in the log: it must not keep the others from being looked after.
    async fn active(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault>;

    /// The newest rows of a type, of all tenants, at most `max`. What cannot be read is left out as in
    /// [`active`](Self::active).
    async fn newest(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault>;

    /// Begins an attempt: queued, paused for continuation or crashed becomes running, attempt + 1.
    /// For rows made by the web application it writes the upper id, which is at most the highest id at the first look,
    /// and the total where it is 0.
    async fn begin_attempt(&self, begin: &Begin) -> Result<Begun, Fault>;

    /// Takes note of the highest receipt at the first look at an active row that does not say what it covers; the first
    /// look stands, whoever looks again.
    async fn look(&self, id: BackgroundJobId) -> Result<(), Fault>;

    /// Ends an attempt, if the row is running and the attempt is the newest. Repeating is answered
    /// `true` as long as the row stands where this end put it.
    async fn end_attempt(&self, id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> Result<bool, Fault>;

    /// Carries out what a person asks. `Ok(None)`: no such row of that tenant. `Err` inside: the status
    /// that does not allow it.
    async fn person(&self, person: &Person) -> Result<Option<Result<BackgroundJob, Status>>, Fault>;

    /// The web application's stale rule failed a row whose attempt is alive: back to running, once
    /// until the next good batch, unless a person cancelled it, the tenant has another active row, or
    /// our own end put it there. A continuation counts as alive.
    async fn revive(&self, id: BackgroundJobId, attempt: u32) -> Result<bool, Fault>;

    /// Moves `heartbeat_at` and `updated_at` of rows that are ours: running under that attempt, or
    /// paused for continuation after it. The answer names the rows that are not ours any more.
    async fn beat(&self, rows: &[(BackgroundJobId, u32)]) -> Result<Vec<BackgroundJobId>, Fault>;

    /// Writes what people watch, in one transaction.
    async fn watch(&self, updates: &[Watched]) -> Result<(), Fault>;

    /// Notes the queue job that carries a row, when reconciliation made a new one.
    async fn carried_by(&self, id: BackgroundJobId, queue_job: &JobId) -> Result<(), Fault>;

    /// The database's time, which wrote the heartbeats and by which they are judged.
    async fn now(&self) -> Result<DateTime<Utc>, Fault>;

    /// Completes when the database answers and can be written to.
    async fn check(&self) -> Result<(), Fault>;
}

impl PersonMove {
    /// The move in the table of transitions.
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
