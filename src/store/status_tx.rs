//! What the changes of a row's status need of a database: its statements, one by one, and the values
//! between them. Their order is in `attempt_steps` and `person_steps`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::attempt::Tracked;
use super::background_jobs::NewRequest;
use super::coverage::{Clocks, Reading, Seen};
use super::row_move::RowMove;
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Cursor, Dated, PauseReason, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId};

/// The beginning of an attempt, for the note beside the row.
pub(super) struct NoteStart<'a> {
    /// The row as it was before.
    pub(super) before: &'a BackgroundJob,
    /// The new fence.
    pub(super) attempt: u32,
    /// Who carries it.
    pub(super) queue_job: &'a JobId,
    /// Attempts before it that moved nothing.
    pub(super) barren: u32,
    /// When.
    pub(super) now: DateTime<Utc>,
}

/// The end of an attempt, for the note beside the row.
pub(super) struct NoteEnd<'a> {
    /// The row.
    pub(super) id: BackgroundJobId,
    /// The attempt; a note of a newer one is left alone.
    pub(super) attempt: u32,
    /// Where the row stands now.
    pub(super) ended: Status,
    /// Why it is paused, if it is.
    pub(super) pause: Option<PauseReason>,
    /// Who or what paused it; none leaves what is noted.
    pub(super) by: Option<&'a str>,
    /// Attempts that moved nothing; none leaves the number.
    pub(super) barren: Option<u32>,
    /// When.
    pub(super) now: DateTime<Utc>,
}

/// What a person did, for the note beside the row.
pub(super) struct NotePerson<'a> {
    /// The row.
    pub(super) id: BackgroundJobId,
    /// Why it is paused, if it is.
    pub(super) pause: Option<PauseReason>,
    /// Who.
    pub(super) by: &'a str,
    /// Whether it was a cancel.
    pub(super) cancelled: bool,
    /// The queue job that carries it from now on; none keeps the one that is noted.
    pub(super) queue_job: Option<&'a JobId>,
    /// When.
    pub(super) now: DateTime<Utc>,
}

/// A row to be made.
pub(super) struct NewRow<'a> {
    /// What is asked for.
    pub(super) request: &'a NewRequest,
    /// How many receipts it covers.
    pub(super) total: i64,
    /// Where it begins and ends.
    pub(super) cursor: &'a Cursor,
    /// When.
    pub(super) now: DateTime<Utc>,
}

/// A database that can begin a change.
#[async_trait]
pub(super) trait StatusChanges: Send + Sync {
    /// Its transaction.
    type Tx: StatusTx;

    /// Begins a writing transaction for what `what` says.
    async fn begin_change(&self, what: &str) -> Result<Self::Tx, Fault>;
}

/// The statements of a change. Dropped, the transaction is rolled back.
#[async_trait]
pub(super) trait StatusTx: Send + Sized {
    /// The row, locked against every other writer.
    async fn lock(&mut self, id: BackgroundJobId) -> Result<Option<Tracked>, Fault>;

    /// The tenant's active row.
    async fn active(&mut self, tenant: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault>;

    /// Changes a row only from the status that was decided upon; false: it stands elsewhere.
    async fn make(&mut self, row_move: &RowMove<'_>) -> Result<bool, Fault>;

    /// Changes a row whose status was read under the lock. A row that stands as before is a permanent fault: a trigger,
    /// a rule or a policy keeps it, and nothing must be said that is not so.
    async fn must_make(&mut self, row_move: &RowMove<'_>) -> Result<(), Fault> {
        let made = self.make(row_move).await?;
        let stands = made && self.lock(row_move.id).await?.is_some_and(|row| row_move.is_made(&row.job));
        if stands { Ok(()) } else { Err(row_move.left_as_it_was()) }
    }

    /// Notes a new fence and where it starts from; what people watched of the last attempt is over.
    async fn note_start(&mut self, start: &NoteStart<'_>) -> Result<(), Fault>;

    /// Notes the end of the newest attempt, by which a repeated end is known.
    async fn note_end(&mut self, end: &NoteEnd<'_>) -> Result<(), Fault>;

    /// Notes a revival: no second one before a good batch.
    async fn note_revived(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault>;

    /// Notes what a person did.
    async fn note_person(&mut self, person: &NotePerson<'_>) -> Result<(), Fault>;

    /// Notes the queue job that carries a new row.
    async fn note_queue_job(
        &mut self,
        id: BackgroundJobId,
        queue_job: &JobId,
        now: DateTime<Utc>,
    ) -> Result<(), Fault>;

    /// Notes that a row never got into a queue: no attempt that could be revived.
    async fn note_unqueued(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault>;

    /// Whether the tenant has another active row, with which the unique index would collide.
    async fn other_active(&mut self, job: &BackgroundJob) -> Result<bool, Fault>;

    /// The database's time, by which whatever it holds is judged.
    async fn now(&mut self) -> Result<DateTime<Utc>, Fault>;

    /// The highest of the tenant's live receipts.
    async fn newest(&mut self, tenant: BusinessId) -> Result<Option<i64>, Fault>;

    /// What is known of the clocks behind creation times.
    async fn clocks(&mut self) -> Result<Clocks, Fault>;

    /// What the creation times of the tenant's live receipts up to an id tell.
    async fn seen(&mut self, tenant: BusinessId, up_to: i64, reading: &Reading) -> Result<Seen, Fault>;

    /// How many live receipts there are up to an id and with such creation times, and the highest of them; without an
    /// id: of all.
    async fn covered(
        &mut self,
        tenant: BusinessId,
        up_to: Option<i64>,
        dated: Option<&Dated>,
    ) -> Result<(i64, Option<i64>), Fault>;

    /// How many of the tenant's receipts that an earlier row set aside are live, and the highest of them.
    async fn set_aside_of(
        &mut self,
        tenant: BusinessId,
        earlier: BackgroundJobId,
    ) -> Result<(i64, Option<i64>), Fault>;

    /// Fills in what a row of the web application lacks.
    async fn cover(&mut self, id: BackgroundJobId, cursor: &Cursor, total: i64) -> Result<(), Fault>;

    /// Makes a queued row; none when the unique index already holds an active one.
    async fn insert(&mut self, row: &NewRow<'_>) -> Result<Option<BackgroundJobId>, Fault>;

    /// Makes the change durable.
    async fn commit(self) -> Result<(), Fault>;
}
