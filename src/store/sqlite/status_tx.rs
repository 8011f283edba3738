//! The statements that change a row's status. The transaction is the only writer from its beginning.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::fault::During;
use super::moment;
use super::status_sql::{
    ACTIVE, COVER, COVERED, INSERT, MOVE, NEWEST, NOTE_END, NOTE_PERSON, NOTE_QUEUE_JOB, NOTE_REVIVED,
    NOTE_START, NOTE_UNQUEUED, ONE, OTHER_ACTIVE, SEEN, SET_ASIDE_OF,
};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Cursor, Dated, PauseReason};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::sqlite::Transaction;
use crate::store::attempt::Tracked;
use crate::store::coverage::{Clocks, Reading, Seen};
use crate::store::row;
use crate::store::row_move::RowMove;
use crate::store::status_tx::{NewRow, NoteEnd, NotePerson, NoteStart, StatusChanges, StatusTx};

/// A change's transaction.
pub(super) struct SqliteStatusTx {
    tx: Transaction,
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
