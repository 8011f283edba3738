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
use super::status_sql::{
    ACTIVE, CLOCKS, COVER, COVERED, INSERT, LOCK, MOVE, NEWEST, NOTE_END, NOTE_PERSON, NOTE_QUEUE_JOB,
    NOTE_REVIVED, NOTE_START, NOTE_UNQUEUED, NOW, ONE, OTHER_ACTIVE, SEEN, SET_ASIDE_OF,
};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Cursor, Dated, PauseReason};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::store::attempt::Tracked;
use crate::store::coverage::{Clocks, Reading, Seen};
use crate::store::row;
use crate::store::row_move::RowMove;
use crate::store::status_tx::{NewRow, NoteEnd, NotePerson, NoteStart, StatusChanges, StatusTx};

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
