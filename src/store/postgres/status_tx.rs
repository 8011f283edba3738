//! The statements that change a row's status, under its lock: the row first, then the note beside it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::connection::Database;
use super::fault::During;
use super::statement::{Tx, query, scalar, tuples};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Cursor, Dated, PauseReason};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::store::attempt::Tracked;
use crate::store::coverage::{Clocks, Reading, Seen};
use crate::store::row::{self, select_jobs};
use crate::store::row_move::RowMove;
use crate::store::status_tx::{NewRow, NoteEnd, NotePerson, NoteStart, StatusChanges, StatusTx};

/// Nobody can change the row before our commit.
const LOCK: &str = "select 1 from background_jobs where id = $1 for no key update";

/// The row with its note, both as last committed before the lock was held: a statement of its own, for
/// one that had to wait for the lock would see the new row beside the old note.
const ONE: &str = select_jobs!("where j.id = $1");

/// The tenant's active row; the unique index allows one.
const ACTIVE: &str = select_jobs!(
    "where j.business_id = $1 and j.job_type = $2 and j.status in ('queued', 'running', 'paused')"
);

/// Changes a row only from the status that was decided upon; `started_at` keeps its first value.
const MOVE: &str = "
    update background_jobs
    set status = $3, last_error = case when $9 then $4 else last_error end, finished_at = $5,
        started_at = coalesce(started_at, $6), heartbeat_at = coalesce($7, heartbeat_at), updated_at = $8
    where id = $1 and status = $2";

/// The new fence and where it starts from; what people watched of the last attempt is over. A row that has processed
/// nothing has set nothing aside: what seems so is of an older row with its id, before the table was emptied.
const NOTE_START: &str = "
    with forgotten as (delete from tikkun_set_aside where background_job_id = $1 and $6 = 0)
    insert into tikkun_background_jobs
        (background_job_id, attempt, queue_job, barren_attempts, start_last_id, start_processed, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (background_job_id) do update set
        attempt = excluded.attempt, queue_job = excluded.queue_job, barren_attempts = excluded.barren_attempts,
        start_last_id = excluded.start_last_id, start_processed = excluded.start_processed,
        pause_reason = null, waiting_for = null, rate = null, eta_seconds = null, ended = null,
        cancelled_by_person = false, updated_at = excluded.updated_at";

/// The end of the newest attempt, by which a repeated end is known.
const NOTE_END: &str = "
    update tikkun_background_jobs
    set ended = $3, pause_reason = $4, waiting_for = null, rate = null, eta_seconds = null,
        barren_attempts = coalesce($5, barren_attempts), updated_at = $6, changed_by = coalesce($7, changed_by)
    where background_job_id = $1 and attempt = $2";

/// No second revival before a good batch.
const NOTE_REVIVED: &str = "
    update tikkun_background_jobs set revived = true, ended = null, pause_reason = null, updated_at = $2
    where background_job_id = $1";

/// What a person did; a wish without a queue job keeps the one that is noted.
const NOTE_PERSON: &str = "
    insert into tikkun_background_jobs as n
        (background_job_id, pause_reason, changed_by, cancelled_by_person, queue_job, updated_at)
    values ($1, $2, $3, $4, $5, $6)
    on conflict (background_job_id) do update set
        pause_reason = excluded.pause_reason, changed_by = excluded.changed_by,
        cancelled_by_person = excluded.cancelled_by_person,
        queue_job = coalesce(excluded.queue_job, n.queue_job), waiting_for = null, rate = null,
        eta_seconds = null, updated_at = excluded.updated_at";

/// The queue job that will carry a new row, in the row's own transaction; what was noted of an older row
/// with this id, before the table was emptied, is over.
const NOTE_QUEUE_JOB: &str = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at) values ($1, $2, $3)
    on conflict (background_job_id) do update set
        attempt = 0, queue_job = excluded.queue_job, barren_attempts = 0, start_last_id = null,
        start_processed = null, revived = false, pause_reason = null, waiting_for = null, rate = null,
        eta_seconds = null, ended = null, changed_by = null, cancelled_by_person = false,
        updated_at = excluded.updated_at";

/// A row that never got into a queue is no attempt that could be revived.
const NOTE_UNQUEUED: &str = "
    update tikkun_background_jobs set ended = 'failed', updated_at = $2 where background_job_id = $1";

/// Another row of the tenant that the unique index would collide with.
const OTHER_ACTIVE: &str = "
    select exists (select 1 from background_jobs
    where business_id = $1 and job_type = $2 and id <> $3 and status in ('queued', 'running', 'paused'))";

/// The server's time, whatever zone the session is in.
pub(super) const NOW: &str = "select now() at time zone 'utc'";

/// The tenant's highest live receipt, the first in an index.
const NEWEST: &str = "
    select id::bigint from receipts where business_id = $1 and is_deleted is not true
    order by id desc limit 1";

/// Whether both columns are in UTC, by their type or their default, and whether the database may have written the
/// time of its own zone into a job's row.
const CLOCKS: &str = "
    select count(*) = 2 and bool_and(in_utc), coalesce(bool_or(of_job and by_default and not in_utc), false)
    from (
        select a.attrelid = to_regclass('background_jobs') as of_job, d.adbin is not null as by_default,
               a.atttypid = 'timestamptz'::regtype
                   or coalesce(pg_get_expr(d.adbin, d.adrelid) ~* '''(etc/)?utc''', false) as in_utc
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid in (to_regclass('background_jobs'), to_regclass('receipts'))
          and a.attname = 'created_at' and not a.attisdropped) columns";

/// What creation times tell of the live receipts that a first look saw.
const SEEN: &str = "
    select count(*), (min(id) filter (where created_at > $3 and created_at <= $4))::bigint,
           coalesce(bool_or(created_at > $4 and created_at <= $5), false),
           count(*) filter (where created_at > $5)
    from receipts where business_id = $1 and is_deleted is not true and id <= $2";

/// Live receipts of a request, and the last of them.
const COVERED: &str = "
    select count(*), max(id)::bigint from receipts
    where business_id = $1 and is_deleted is not true and id <= $2
      and ($3::timestamp is null or created_at <= $3 or (created_at is null and $4))";

/// What an earlier row set aside and is live, and the last of it.
const SET_ASIDE_OF: &str = "
    select count(*), max(r.id)::bigint from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $2 and r.business_id = $1 and r.is_deleted is not true";

/// Fills in what a row of the web application lacks; nobody counts before the first batch.
const COVER: &str = "update background_jobs set cursor = $2, total = $3 where id = $1";

/// A queued row; none when the unique index already holds an active one.
const INSERT: &str = "
    insert into background_jobs
        (business_id, requested_by_user_id, job_type, status, total, processed, succeeded, failed_count,
         cursor, created_at, updated_at)
    values ($1, $2, $3, 'queued', $4, 0, 0, 0, $5, $6, $6)
    on conflict do nothing
    returning id::bigint";

/// A change's transaction.
pub(super) struct PostgresStatusTx {
    tx: Tx,
    what: String,
}

#[async_trait]
impl StatusChanges for Arc<Database> {
    type Tx = PostgresStatusTx;

    async fn begin_change(&self, what: &str) -> Result<PostgresStatusTx, Fault> {
        Ok(PostgresStatusTx { tx: self.write(what).await?, what: what.to_owned() })
    }
}

#[async_trait]
impl StatusTx for PostgresStatusTx {
    async fn lock(&mut self, id: BackgroundJobId) -> Result<Option<Tracked>, Fault> {
        query(LOCK).bind(id.0).execute(&mut *self.tx).await.during(&self.what)?;
        let found = query(ONE).bind(id.0).fetch_optional(&mut *self.tx).await.during(&self.what)?;
        found.as_ref().map(row::tracked).transpose()
    }

    async fn active(&mut self, tenant: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault> {
        let query = query(ACTIVE).bind(tenant.0).bind(job_type.to_owned());
        let found = query.fetch_optional(&mut *self.tx).await.during(&self.what)?;
        found.map(|found| row::tracked(&found).map(|tracked| tracked.job)).transpose()
    }

    async fn make(&mut self, row_move: &RowMove<'_>) -> Result<bool, Fault> {
        let done = query(MOVE)
            .bind(row_move.id.0)
            .bind(row_move.from.as_str())
            .bind(row_move.step.to().as_str())
            .bind(row_move.error)
            .bind(row_move.finished_at().map(|at| at.naive_utc()))
            .bind(row_move.started_at().map(|at| at.naive_utc()))
            .bind(row_move.heartbeat_at().map(|at| at.naive_utc()))
            .bind(row_move.now.naive_utc())
            .bind(row_move.replaces_error())
            .execute(&mut *self.tx)
            .await
            .during(&row_move.what())?;
        Ok(done.rows_affected() == 1)
    }

    async fn note_start(&mut self, start: &NoteStart<'_>) -> Result<(), Fault> {
        let query = query(NOTE_START)
            .bind(start.before.id.0)
            .bind(number(start.attempt))
            .bind(start.queue_job.as_str())
            .bind(number(start.barren))
            .bind(start.before.cursor.last_id)
            .bind(start.before.progress.processed)
            .bind(start.now.naive_utc());
        self.execute(query).await
    }

    async fn note_end(&mut self, end: &NoteEnd<'_>) -> Result<(), Fault> {
        let query = query(NOTE_END)
            .bind(end.id.0)
            .bind(number(end.attempt))
            .bind(end.ended.as_str())
            .bind(end.pause.map(PauseReason::as_str))
            .bind(end.barren.map(number))
            .bind(end.now.naive_utc())
            .bind(end.by);
        self.execute(query).await
    }

    async fn note_revived(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault> {
        self.execute(query(NOTE_REVIVED).bind(id.0).bind(now.naive_utc())).await
    }

    async fn note_person(&mut self, person: &NotePerson<'_>) -> Result<(), Fault> {
        let query = query(NOTE_PERSON)
            .bind(person.id.0)
            .bind(person.pause.map(PauseReason::as_str))
            .bind(person.by)
            .bind(person.cancelled)
            .bind(person.queue_job.map(JobId::as_str))
            .bind(person.now.naive_utc());
        self.execute(query).await
    }

    async fn note_queue_job(
        &mut self,
        id: BackgroundJobId,
        queue_job: &JobId,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        self.execute(query(NOTE_QUEUE_JOB).bind(id.0).bind(queue_job.as_str()).bind(now.naive_utc())).await
    }

    async fn note_unqueued(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault> {
        self.execute(query(NOTE_UNQUEUED).bind(id.0).bind(now.naive_utc())).await
    }

    async fn other_active(&mut self, job: &BackgroundJob) -> Result<bool, Fault> {
        let query = scalar(OTHER_ACTIVE).bind(job.business_id.0).bind(&job.job_type).bind(job.id.0);
        query.fetch_one(&mut *self.tx).await.during(&self.what)
    }

    async fn now(&mut self) -> Result<DateTime<Utc>, Fault> {
        let now: NaiveDateTime = scalar(NOW).fetch_one(&mut *self.tx).await.during(&self.what)?;
        Ok(now.and_utc())
    }

    async fn newest(&mut self, tenant: BusinessId) -> Result<Option<i64>, Fault> {
        scalar(NEWEST).bind(tenant.0).fetch_optional(&mut *self.tx).await.during(&self.what)
    }

    async fn clocks(&mut self) -> Result<Clocks, Fault> {
        let (comparable, row_in_zone) = tuples(CLOCKS).fetch_one(&mut *self.tx).await.during(&self.what)?;
        Ok(Clocks { comparable, row_in_zone })
    }

    async fn seen(&mut self, tenant: BusinessId, up_to: i64, reading: &Reading) -> Result<Seen, Fault> {
        let (live, first_after, other_clock, by_hand) = tuples(SEEN)
            .bind(tenant.0)
            .bind(up_to)
            .bind(reading.after.map(|at| at.naive_utc()))
            .bind(reading.clock_until.naive_utc())
            .bind(reading.possible.naive_utc())
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
        let query = tuples(COVERED)
            .bind(tenant.0)
            .bind(up_to.unwrap_or(i64::MAX))
            .bind(dated.map(|dated| dated.until.naive_utc()))
            .bind(dated.is_some_and(|dated| dated.undated));
        query.fetch_one(&mut *self.tx).await.during(&self.what)
    }

    async fn set_aside_of(
        &mut self,
        tenant: BusinessId,
        earlier: BackgroundJobId,
    ) -> Result<(i64, Option<i64>), Fault> {
        let query = tuples(SET_ASIDE_OF).bind(tenant.0).bind(earlier.0);
        query.fetch_one(&mut *self.tx).await.during(&self.what)
    }

    async fn cover(&mut self, id: BackgroundJobId, cursor: &Cursor, total: i64) -> Result<(), Fault> {
        self.execute(query(COVER).bind(id.0).bind(cursor.to_string()).bind(total)).await
    }

    async fn insert(&mut self, new: &NewRow<'_>) -> Result<Option<BackgroundJobId>, Fault> {
        let id: Option<i64> = scalar(INSERT)
            .bind(new.request.business_id.0)
            .bind(new.request.user_id)
            .bind(&new.request.job_type)
            .bind(new.total)
            .bind(new.cursor.to_string())
            .bind(new.now.naive_utc())
            .fetch_optional(&mut *self.tx)
            .await
            .during(&self.what)?;
        Ok(id.map(BackgroundJobId))
    }

    async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.during(&self.what)
    }
}

impl PostgresStatusTx {
    async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<(), Fault> {
        query.execute(&mut *self.tx).await.during(&self.what)?;
        Ok(())
    }
}

/// A number of ours as the column `integer` holds it.
pub(super) fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
