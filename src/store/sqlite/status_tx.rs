//! The statements that change a row's status. The transaction is the only writer from its beginning.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::fault::During;
use super::moment::{self, made};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Cursor, Dated, PauseReason};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::sqlite::WriteTransaction;
use crate::store::attempt::Tracked;
use crate::store::coverage::{Clocks, Reading, Seen};
use crate::store::row::{self, select_jobs};
use crate::store::row_move::RowMove;
use crate::store::status_tx::{NewRow, NoteEnd, NotePerson, NoteStart, StatusChanges, StatusTx};

/// One row; nobody can change it before the commit.
const ONE: &str = select_jobs!("where j.id = ?1");

/// The tenant's active row; the unique index allows one.
const ACTIVE: &str = select_jobs!(
    "where j.business_id = ?1 and j.job_type = ?2 and j.status in ('queued', 'running', 'paused')"
);

/// Changes a row only from the status that was decided upon; `started_at` keeps its first value.
const MOVE: &str = "
    update background_jobs
    set status = ?3, last_error = case when ?9 then ?4 else last_error end, finished_at = ?5,
        started_at = coalesce(started_at, ?6), heartbeat_at = coalesce(?7, heartbeat_at), updated_at = ?8
    where id = ?1 and status = ?2";

/// The new fence and where it starts from; what people watched of the last attempt is over.
const NOTE_START: &str = "
    insert into tikkun_background_jobs
        (background_job_id, attempt, queue_job, barren_attempts, start_last_id, start_processed, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    on conflict (background_job_id) do update set
        attempt = excluded.attempt, queue_job = excluded.queue_job, barren_attempts = excluded.barren_attempts,
        start_last_id = excluded.start_last_id, start_processed = excluded.start_processed,
        pause_reason = null, waiting_for = null, rate = null, eta_seconds = null, ended = null,
        cancelled_by_person = 0, updated_at = excluded.updated_at";

/// The end of the newest attempt, by which a repeated end is known.
const NOTE_END: &str = "
    update tikkun_background_jobs
    set ended = ?3, pause_reason = ?4, waiting_for = null, rate = null, eta_seconds = null,
        barren_attempts = coalesce(?5, barren_attempts), updated_at = ?6, changed_by = coalesce(?7, changed_by)
    where background_job_id = ?1 and attempt = ?2";

/// No second revival before a good batch.
const NOTE_REVIVED: &str = "
    update tikkun_background_jobs set revived = 1, ended = null, pause_reason = null, updated_at = ?2
    where background_job_id = ?1";

/// What a person did; a wish without a queue job keeps the one that is noted.
const NOTE_PERSON: &str = "
    insert into tikkun_background_jobs
        (background_job_id, pause_reason, changed_by, cancelled_by_person, queue_job, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6)
    on conflict (background_job_id) do update set
        pause_reason = excluded.pause_reason, changed_by = excluded.changed_by,
        cancelled_by_person = excluded.cancelled_by_person,
        queue_job = coalesce(excluded.queue_job, queue_job), waiting_for = null, rate = null,
        eta_seconds = null, updated_at = excluded.updated_at";

/// The queue job that will carry a new row, in the row's own transaction.
const NOTE_QUEUE_JOB: &str = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at) values (?1, ?2, ?3)";

/// A row that never got into a queue is no attempt that could be revived.
const NOTE_UNQUEUED: &str = "
    update tikkun_background_jobs set ended = 'failed', updated_at = ?2 where background_job_id = ?1";

/// Another row of the tenant that the unique index would collide with.
const OTHER_ACTIVE: &str = "
    select exists (select 1 from background_jobs
    where business_id = ?1 and job_type = ?2 and id <> ?3 and status in ('queued', 'running', 'paused'))";

/// The tenant's highest live receipt, the first in an index.
const NEWEST: &str = "
    select id from receipts where business_id = ?1 and is_deleted is not true order by id desc limit 1";

/// What creation times tell of the live receipts that a first look saw.
const SEEN: &str = concat!(
    "select count(*), min(id) filter (where made > ?3 and made <= ?4),
            coalesce(max(made > ?4 and made <= ?5), 0), count(*) filter (where made > ?5)
     from (select id, ",
    made!(),
    " as made from receipts
           where business_id = ?1 and is_deleted is not true and id <= ?2)"
);

/// Live receipts of a request, and the last of them.
const COVERED: &str = concat!(
    "select count(*), max(id) from receipts
     where business_id = ?1 and is_deleted is not true and id <= ?2
       and (?3 is null or ",
    made!(),
    " <= ?3 or (created_at is null and ?4))"
);

/// What an earlier row set aside and is live, and the last of it.
const SET_ASIDE_OF: &str = "
    select count(*), max(r.id) from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = ?2 and +r.business_id = ?1 and r.is_deleted is not true";

/// Fills in what a row of the web application lacks; nobody counts before the first batch.
const COVER: &str = "update background_jobs set cursor = ?2, total = ?3 where id = ?1";

/// A queued row; none when the unique index already holds an active one.
const INSERT: &str = "
    insert into background_jobs
        (business_id, requested_by_user_id, job_type, status, total, cursor, created_at, updated_at)
    values (?1, ?2, ?3, 'queued', ?4, ?5, ?6, ?6)
    on conflict do nothing
    returning id";

/// A change's transaction.
pub(super) struct SqliteStatusTx {
    tx: WriteTransaction,
    what: String,
}

#[async_trait]
impl StatusChanges for Arc<Database> {
    type Tx = SqliteStatusTx;

    async fn begin_change(&self, what: &str) -> Result<SqliteStatusTx, Fault> {
        Ok(SqliteStatusTx { tx: self.write(what).await?, what: what.to_owned() })
    }
}

#[async_trait]
impl StatusTx for SqliteStatusTx {
    async fn lock(&mut self, id: BackgroundJobId) -> Result<Option<Tracked>, Fault> {
        let found = sqlx::query(ONE).bind(id.0).fetch_optional(&mut *self.tx).await.during(&self.what)?;
        found.as_ref().map(row::tracked).transpose()
    }

    async fn active(&mut self, tenant: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault> {
        let query = sqlx::query(ACTIVE).bind(tenant.0).bind(job_type);
        let found = query.fetch_optional(&mut *self.tx).await.during(&self.what)?;
        found.map(|found| row::tracked(&found).map(|tracked| tracked.job)).transpose()
    }

    async fn make(&mut self, row_move: &RowMove<'_>) -> Result<bool, Fault> {
        let done = sqlx::query(MOVE)
            .bind(row_move.id.0)
            .bind(row_move.from.as_str())
            .bind(row_move.step.to().as_str())
            .bind(row_move.error)
            .bind(row_move.finished_at().map(moment::to_text))
            .bind(row_move.started_at().map(moment::to_text))
            .bind(row_move.heartbeat_at().map(moment::to_text))
            .bind(moment::to_text(row_move.now))
            .bind(row_move.replaces_error())
            .execute(&mut *self.tx)
            .await
            .during(&row_move.what())?;
        Ok(done.rows_affected() == 1)
    }

    async fn note_start(&mut self, start: &NoteStart<'_>) -> Result<(), Fault> {
        let query = sqlx::query(NOTE_START)
            .bind(start.before.id.0)
            .bind(start.attempt)
            .bind(start.queue_job.as_str())
            .bind(start.barren)
            .bind(start.before.cursor.last_id)
            .bind(start.before.progress.processed)
            .bind(moment::to_text(start.now));
        self.execute(query).await
    }

    async fn note_end(&mut self, end: &NoteEnd<'_>) -> Result<(), Fault> {
        let query = sqlx::query(NOTE_END)
            .bind(end.id.0)
            .bind(end.attempt)
            .bind(end.ended.as_str())
            .bind(end.pause.map(PauseReason::as_str))
            .bind(end.barren)
            .bind(moment::to_text(end.now))
            .bind(end.by);
        self.execute(query).await
    }

    async fn note_revived(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault> {
        self.execute(sqlx::query(NOTE_REVIVED).bind(id.0).bind(moment::to_text(now))).await
    }

    async fn note_person(&mut self, person: &NotePerson<'_>) -> Result<(), Fault> {
        let query = sqlx::query(NOTE_PERSON)
            .bind(person.id.0)
            .bind(person.pause.map(PauseReason::as_str))
            .bind(person.by)
            .bind(person.cancelled)
            .bind(person.queue_job.map(JobId::as_str))
            .bind(moment::to_text(person.now));
        self.execute(query).await
    }

    async fn note_queue_job(
        &mut self,
        id: BackgroundJobId,
        queue_job: &JobId,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let query = sqlx::query(NOTE_QUEUE_JOB).bind(id.0).bind(queue_job.as_str());
        self.execute(query.bind(moment::to_text(now))).await
    }

    async fn note_unqueued(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault> {
        self.execute(sqlx::query(NOTE_UNQUEUED).bind(id.0).bind(moment::to_text(now))).await
    }

    async fn other_active(&mut self, job: &BackgroundJob) -> Result<bool, Fault> {
        let query = sqlx::query_scalar(OTHER_ACTIVE).bind(job.business_id.0).bind(&job.job_type);
        query.bind(job.id.0).fetch_one(&mut *self.tx).await.during(&self.what)
    }

    async fn now(&mut self) -> Result<DateTime<Utc>, Fault> {
        // The file is on this host, and so is every process that has it open.
        Ok(Utc::now())
    }

    async fn newest(&mut self, tenant: BusinessId) -> Result<Option<i64>, Fault> {
        sqlx::query_scalar(NEWEST).bind(tenant.0).fetch_optional(&mut *self.tx).await.during(&self.what)
    }

    async fn clocks(&mut self) -> Result<Clocks, Fault> {
        // The tables are ours: times are in UTC, by the columns' defaults.
        Ok(Clocks { comparable: true, row_in_zone: false })
    }

    async fn seen(&mut self, tenant: BusinessId, up_to: i64, reading: &Reading) -> Result<Seen, Fault> {
        let (live, first_after, other_clock, by_hand) = sqlx::query_as(SEEN)
            .bind(tenant.0)
            .bind(up_to)
            .bind(reading.after.map(moment::to_text))
            .bind(moment::to_text(reading.clock_until))
            .bind(moment::to_text(reading.possible))
            .fetch_one(&mut *self.tx)
            .await
            .during(&self.what)?;
        Ok(Seen { live, first_after, other_clock, by_hand })
    }

    async fn covered(
        &mut self,
        tenant: BusinessId,
        up_to: Option<i64>,
        dated: Option<&Dated>,
    ) -> Result<(i64, Option<i64>), Fault> {
        let query = sqlx::query_as(COVERED)
            .bind(tenant.0)
            .bind(up_to.unwrap_or(i64::MAX))
            .bind(dated.map(|dated| moment::to_text(dated.until)))
            .bind(dated.is_some_and(|dated| dated.undated));
        query.fetch_one(&mut *self.tx).await.during(&self.what)
    }

    async fn set_aside_of(
        &mut self,
        tenant: BusinessId,
        earlier: BackgroundJobId,
    ) -> Result<(i64, Option<i64>), Fault> {
        let query = sqlx::query_as(SET_ASIDE_OF).bind(tenant.0).bind(earlier.0);
        query.fetch_one(&mut *self.tx).await.during(&self.what)
    }

    async fn cover(&mut self, id: BackgroundJobId, cursor: &Cursor, total: i64) -> Result<(), Fault> {
        self.execute(sqlx::query(COVER).bind(id.0).bind(cursor.to_string()).bind(total)).await
    }

    async fn insert(&mut self, new: &NewRow<'_>) -> Result<Option<BackgroundJobId>, Fault> {
        let id: Option<i64> = sqlx::query_scalar(INSERT)
            .bind(new.request.business_id.0)
            .bind(new.request.user_id)
            .bind(&new.request.job_type)
            .bind(new.total)
            .bind(new.cursor.to_string())
            .bind(moment::to_text(new.now))
            .fetch_optional(&mut *self.tx)
            .await
            .during(&self.what)?;
        Ok(id.map(BackgroundJobId))
    }

    async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.during(&self.what)
    }
}

/// A statement that answers with nothing.
type Statement<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl SqliteStatusTx {
    async fn execute(&mut self, query: Statement<'_>) -> Result<(), Fault> {
        query.execute(&mut *self.tx).await.during(&self.what)?;
        Ok(())
    }
}
