//! The transaction that changes a row's status: its statements, in the order of `attempt_steps` and `person_steps`.

use chrono::{DateTime, Utc};

use super::deletion_steps::KEEP;
use super::engine::{Connection as _, Engine, RowOf, Sql, Value};
use super::status_notes::{NewRow, NoteEnd, NotePerson, NoteStart};
use super::status_sql::{
    ACTIVE, COVER, INSERT, NEWEST, NOTE_END, NOTE_PERSON, NOTE_QUEUE_JOB, NOTE_REVIVED, NOTE_UNBEGUN,
    NOTE_UNENDED, ONE, OTHER_ACTIVE, StatusSql, THERE,
};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Cursor, Dated, PauseReason};
use crate::job::{BackgroundJobId, BusinessId, JobId, Progress};
use crate::store::attempt::Tracked;
use crate::store::coverage::{Clocks, Ids, Reading, Seen};
use crate::store::kept;
use crate::store::row::{self, Cells};
use crate::store::row_move::RowMove;
use crate::store::there;

/// The transaction of a change. Dropping it rolls it back.
pub struct StatusTx<E: Engine> {
    tx: E::Writing,
    what: String,
}

impl<E: StatusSql> StatusTx<E> {
    /// Begins the transaction; `what` describes it in errors.
    pub async fn begin(database: &E, what: &str) -> Result<Self, Fault> {
        Ok(Self { tx: database.writing(what).await?, what: what.to_owned() })
    }

    /// The row, locked against every other writer.
    pub async fn lock(&mut self, id: BackgroundJobId) -> Result<Option<Tracked>, Fault> {
        if let Some(lock) = E::LOCK {
            self.run(lock, &[id.0.into()]).await?;
        }
        let found = self.tx.first(ONE, &[id.0.into()], &self.what).await?;
        found.as_ref().map(row::tracked).transpose()
    }

    /// The tenant's active row.
    pub async fn active(
        &mut self,
        tenant: BusinessId,
        job_type: &str,
    ) -> Result<Option<BackgroundJob>, Fault> {
        let found = self.tx.first(ACTIVE, &[tenant.0.into(), job_type.into()], &self.what).await?;
        found.as_ref().map(row::job).transpose()
    }

    /// Changes a row only if it has the expected status; `false`: it has another one now.
    pub async fn make(&mut self, row_move: &RowMove<'_>) -> Result<bool, Fault> {
        let values = [
            row_move.id.0.into(),
            row_move.from.as_str().into(),
            row_move.step.to().as_str().into(),
            row_move.error.into(),
            row_move.finished_at().into(),
            row_move.started_at().into(),
            row_move.heartbeat_at().into(),
            row_move.now.into(),
            row_move.replaces_error().into(),
        ];
        Ok(self.tx.run(E::MOVE, &values, &row_move.what()).await? == 1)
    }

    /// Changes a row whose status was read under the lock. If it is unchanged, that is a permanent fault: a
    /// trigger, a rule or a policy prevents the change, and no false success may be reported.
    pub async fn must_make(&mut self, row_move: &RowMove<'_>) -> Result<BackgroundJob, Fault> {
        let made = self.make(row_move).await?;
        let row = if made { self.lock(row_move.id).await? } else { None };
        row.map(|row| row.job).filter(|job| row_move.is_made(job)).ok_or_else(|| row_move.left_as_it_was())
    }

    /// Notes a new fence and the start position, and clears the live figures of the last attempt.
    pub async fn note_start(&mut self, start: &NoteStart<'_>) -> Result<(), Fault> {
        let values = [
            start.before.id.0.into(),
            start.attempt.into(),
            start.queue_job.as_str().into(),
            start.barren.into(),
            start.before.cursor.last_id.into(),
            start.before.progress.processed.into(),
            start.now.into(),
        ];
        self.run(E::NOTE_START, &values).await
    }

    /// Notes the end of the newest attempt, so that a repeated end is recognised.
    pub async fn note_end(&mut self, end: &NoteEnd<'_>) -> Result<(), Fault> {
        let values = [
            end.id.0.into(),
            end.attempt.into(),
            end.ended.as_str().into(),
            end.pause.map(PauseReason::as_str).into(),
            end.barren.into(),
            end.now.into(),
            end.by.into(),
        ];
        self.run(NOTE_END, &values).await
    }

    /// Notes that an attempt is over although its end is refused.
    pub async fn note_unended(&mut self, id: BackgroundJobId, attempt: u32) -> Result<(), Fault> {
        self.run(NOTE_UNENDED, &[id.0.into(), attempt.into()]).await
    }

    /// Notes a revival; there is no second one before a successful batch.
    pub async fn note_revived(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault> {
        self.run(NOTE_REVIVED, &[id.0.into(), now.into()]).await
    }

    /// Notes a user's request.
    pub async fn note_person(&mut self, person: &NotePerson<'_>) -> Result<(), Fault> {
        let values = [
            person.id.0.into(),
            person.pause.map(PauseReason::as_str).into(),
            person.by.into(),
            person.cancelled.into(),
            person.queue_job.map(JobId::as_str).into(),
            person.now.into(),
        ];
        self.run(NOTE_PERSON, &values).await
    }

    /// Notes the queue job of a new row.
    pub async fn note_queue_job(
        &mut self,
        id: BackgroundJobId,
        queue_job: &JobId,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        self.run(NOTE_QUEUE_JOB, &[id.0.into(), queue_job.as_str().into(), now.into()]).await
    }

    /// Notes that a row has failed before an attempt began, so that it is not revived.
    pub async fn note_unbegun(&mut self, id: BackgroundJobId, now: DateTime<Utc>) -> Result<(), Fault> {
        self.run(NOTE_UNBEGUN, &[id.0.into(), now.into()]).await
    }

    /// Whether the tenant has another active row, which would violate the unique index.
    pub async fn other_active(&mut self, job: &BackgroundJob) -> Result<bool, Fault> {
        let values = [job.business_id.0.into(), job.job_type.as_str().into(), job.id.0.into()];
        self.tx.one(OTHER_ACTIVE, &values, &self.what).await?.flag("other")
    }

    /// The database's time, by which all its times are judged.
    pub async fn now(&mut self) -> Result<DateTime<Utc>, Fault> {
        let Some(sql) = E::NOW else { return Ok(Utc::now()) };
        row::now(&self.tx.one(sql, &[], &self.what).await?)
    }

    /// The tenant's highest live receipt below so many others.
    pub async fn newest(&mut self, tenant: BusinessId, below: i64) -> Result<Option<i64>, Fault> {
        let newest = self.tx.first(NEWEST, &[tenant.0.into(), below.into()], &self.what).await?;
        newest.map(|row| row.needed("newest")).transpose()
    }

    /// Facts about the clocks behind creation times.
    pub async fn clocks(&mut self) -> Result<Clocks, Fault> {
        let Some(sql) = E::CLOCKS else { return Ok(Clocks::IN_UTC) };
        let found = self.tx.one(sql, &[], &self.what).await?;
        let [comparable, row_in_zone] = ["comparable", "row_in_zone"].map(|name| found.flag(name));
        Ok(Clocks { comparable: comparable?, row_in_zone: row_in_zone?, by_day: found.flag("by_day")? })
    }

    /// What the creation times of the tenant's live receipts with these ids show.
    pub async fn seen(&mut self, tenant: BusinessId, ids: Ids, reading: &Reading) -> Result<Seen, Fault> {
        let (tenant, from, to) = (tenant.0.into(), (*ids.start()).into(), (*ids.end()).into());
        let Reading { after, clock_until, possible, other, .. } = *reading;
        let (after, until, possible) = (after.into(), clock_until.into(), possible.into());
        let values = [tenant, to, after, until, possible, from, other.into()];
        let seen = self.tx.one(E::SEEN, &values, &self.what).await?;
        Ok(Seen {
            live: seen.needed("live")?,
            first_after: seen.number("first_after")?,
            before: seen.number("before")?,
            other_clock: seen.flag("other_clock")?,
            by_hand: seen.needed("by_hand")?,
            latest: seen.time("latest")?,
        })
    }

    /// The tenant's newest live receipts up to an id, as for [`Cursor::there`].
    pub async fn there(&mut self, tenant: BusinessId, up_to: i64) -> Result<Vec<i64>, Fault> {
        let values = [tenant.0.into(), up_to.into(), there::IDS.into(), there::RANGES.into()];
        let found = self.tx.rows(THERE, &values, &self.what).await?;
        let range = |row: &RowOf<E>| Ok((row.needed("first_id")?, row.needed("last_id")?));
        let ranges: Vec<_> = found.iter().map(range).collect::<Result<_, Fault>>()?;
        Ok(there::bounds(&ranges))
    }

    /// The number of live receipts up to an id, if there is one, with such creation times and of those that were `there`,
    /// and the highest of them.
    pub async fn covered(
        &mut self,
        tenant: BusinessId,
        up_to: Option<i64>,
        dated: Option<&Dated>,
        there: &[i64],
    ) -> Result<(i64, Option<i64>), Fault> {
        let (until, beyond) = (dated.map(|dated| dated.until), dated.and_then(|dated| dated.beyond));
        let (up_to, undated) = (up_to.unwrap_or(i64::MAX), dated.is_some_and(|dated| dated.undated));
        let there = Value::Ids(there);
        let values = [tenant.0.into(), up_to.into(), until.into(), undated.into(), beyond.into(), there];
        self.receipts(E::COVERED, &values).await
    }

    /// The number of the tenant's live receipts that an earlier row set aside, and the highest of them.
    pub async fn set_aside_of(
        &mut self,
        tenant: BusinessId,
        earlier: BackgroundJobId,
    ) -> Result<(i64, Option<i64>), Fault> {
        self.receipts(E::SET_ASIDE_OF, &[tenant.0.into(), earlier.0.into()]).await
    }

    /// Writes coverage and counters of a row.
    pub async fn cover(
        &mut self,
        id: BackgroundJobId,
        cursor: &Cursor,
        progress: Progress,
    ) -> Result<(), Fault> {
        let cursor = cursor.to_string();
        let Progress { total, processed, succeeded, failed } = progress;
        let values = [
            id.0.into(),
            cursor.as_str().into(),
            total.into(),
            processed.into(),
            succeeded.into(),
            failed.into(),
        ];
        self.run(COVER, &values).await
    }

    /// Writes our own copy of cursor and counters.
    pub async fn keep(
        &mut self,
        id: BackgroundJobId,
        cursor: &Cursor,
        progress: Progress,
    ) -> Result<(), Fault> {
        self.run(KEEP, &[id.0.into(), kept::text(cursor, progress)?.as_str().into()]).await
    }

    /// Inserts a queued row; `None` if the unique index already has an active one.
    pub async fn insert(&mut self, new: &NewRow<'_>) -> Result<Option<BackgroundJobId>, Fault> {
        let cursor = new.cursor.to_string();
        let values = [
            new.request.business_id.0.into(),
            new.request.user_id.into(),
            new.request.job_type.as_str().into(),
            new.total.into(),
            cursor.as_str().into(),
            new.now.into(),
        ];
        let made = self.tx.first(INSERT, &values, &self.what).await?;
        made.map(|row| row.needed("made").map(BackgroundJobId)).transpose()
    }

    /// Commits the change.
    pub async fn commit(self) -> Result<(), Fault> {
        E::commit(self.tx, &self.what).await
    }

    async fn run(&mut self, sql: Sql, values: &[Value<'_>]) -> Result<(), Fault> {
        self.tx.run(sql, values, &self.what).await?;
        Ok(())
    }

    async fn receipts(&mut self, sql: Sql, values: &[Value<'_>]) -> Result<(i64, Option<i64>), Fault> {
        let found = self.tx.one(sql, values, &self.what).await?;
        Ok((found.needed("receipts")?, found.number("newest")?))
    }
}
