//! Attempts: beginning, ending, reviving.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

use super::connection::Database;
use super::fault::During;
use super::moves::RowMove;
use super::{moment, row};
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::job::background::{BackgroundJob, Cursor, Move, PauseReason};
use crate::store::attempt::{self, Decision, EndStep, Tracked};
use crate::store::{Begin, Begun, EndAttempt, NotBegun};

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

/// Another row of the tenant that the unique index would collide with.
const OTHER_ACTIVE: &str = "
    select exists (select 1 from background_jobs
    where business_id = ?1 and job_type = ?2 and id <> ?3 and status in ('queued', 'running', 'paused'))";

/// The newest of the tenant's receipts that existed at a time; without a creation time it existed.
const UPPER_ID: &str = "
    select id from receipts
    where business_id = ?1
      and (?2 is null or created_at is null or rtrim(replace(created_at, 'T', ' '), 'Z') <= ?2)
    order by id desc limit 1";

/// Live receipts of the request.
const COUNT_UP_TO: &str = "
    select count(*) from receipts where business_id = ?1 and is_deleted is not true and id <= ?2";

/// Fills in what a row of the web application lacks; nobody counts before the first batch.
const COVER: &str = "update background_jobs set cursor = ?2, total = ?3 where id = ?1";

/// Begins an attempt.
pub(super) async fn begin(database: &Database, begin: &Begin) -> Result<Begun, Fault> {
    let what = format!("begin an attempt of background job {}", begin.id);
    let mut tx = database.write(&what).await?;
    let Some(tracked) = row::one(&mut tx, begin.id).await? else {
        return Ok(Begun::Refused(NotBegun::Missing));
    };
    let now = Utc::now();
    let begun = match attempt::decide(&tracked, begin, now) {
        Decision::Refuse(reason) => return Ok(Begun::Refused(reason)),
        Decision::Poison { barren, reason } => {
            let end = EndAttempt::Failed { error: reason.clone() };
            let ending = Ending { end: &end, barren: Some(barren), now };
            ending.carry_out(&mut tx, &tracked.job).await?;
            Begun::Refused(NotBegun::Poison(reason))
        }
        Decision::Start { attempt, barren } => {
            let start = Start { begin, attempt, barren, now };
            Begun::Started(Box::new(start.carry_out(&mut tx, &tracked).await?))
        }
    };
    tx.commit().await.during(&what)?;
    Ok(begun)
}

/// A start that was decided upon.
struct Start<'a> {
    begin: &'a Begin,
    attempt: u32,
    barren: u32,
    now: DateTime<Utc>,
}

impl Start<'_> {
    async fn carry_out(&self, tx: &mut SqliteConnection, before: &Tracked) -> Result<BackgroundJob, Fault> {
        let (job, id) = (&before.job, self.begin.id);
        RowMove { id, step: Move::Start, from: job.status, error: None, now: self.now }.make(tx).await?;
        sqlx::query(NOTE_START)
            .bind(id.0)
            .bind(self.attempt)
            .bind(self.begin.queue_job.as_str())
            .bind(self.barren)
            .bind(job.cursor.last_id)
            .bind(job.progress.processed)
            .bind(moment::to_text(self.now))
            .execute(&mut *tx)
            .await
            .during(&format!("note attempt {} of background job {id}", self.attempt))?;
        cover(tx, job).await?;
        let started = row::one(tx, id).await?;
        started.map(|tracked| tracked.job).ok_or_else(|| vanished(id))
    }
}

/// Writes the upper id and the total where they are missing.
async fn cover(tx: &mut SqliteConnection, job: &BackgroundJob) -> Result<(), Fault> {
    if job.cursor.upper_id.is_some() && job.progress.total > 0 {
        return Ok(());
    }
    let what = format!("count what background job {} covers", job.id);
    let upper = upper_id(tx, job).await?;
    let mut total = job.progress.total;
    if total <= 0 {
        let live: i64 = sqlx::query_scalar(COUNT_UP_TO)
            .bind(job.business_id.0)
            .bind(upper)
            .fetch_one(&mut *tx)
            .await
            .during(&what)?;
        total = live + job.progress.processed;
    }
    let cursor = Cursor { upper_id: Some(upper), ..job.cursor.clone() };
    sqlx::query(COVER).bind(job.id.0).bind(cursor.to_string()).bind(total).execute(tx).await.during(&what)?;
    Ok(())
}

/// The last receipt that a row covers: as its cursor says or, where the web application made it, the newest
/// that existed when the row was made.
pub(super) async fn upper_id(tx: &mut SqliteConnection, job: &BackgroundJob) -> Result<i64, Fault> {
    if let Some(upper) = job.cursor.upper_id {
        return Ok(upper);
    }
    let found = sqlx::query_scalar(UPPER_ID)
        .bind(job.business_id.0)
        .bind(job.created_at.map(moment::to_text))
        .fetch_optional(tx)
        .await;
    Ok(found.during(&format!("find what background job {} covers", job.id))?.unwrap_or(0))
}

/// An end that was decided upon.
struct Ending<'a> {
    end: &'a EndAttempt,
    barren: Option<u32>,
    now: DateTime<Utc>,
}

impl Ending<'_> {
    async fn carry_out(&self, tx: &mut SqliteConnection, job: &BackgroundJob) -> Result<(), Fault> {
        let (step, now) = (self.end.transition(), self.now);
        RowMove { id: job.id, step, from: job.status, error: self.end.error(), now }.make(tx).await?;
        let pause = match step {
            Move::Continue => Some(PauseReason::Continuation.as_str()),
            Move::Pause => Some(PauseReason::Person.as_str()),
            _ => None,
        };
        sqlx::query(NOTE_END)
            .bind(job.id.0)
            .bind(job.note.attempt)
            .bind(step.to().as_str())
            .bind(pause)
            .bind(self.barren)
            .bind(moment::to_text(now))
            .bind(self.end.paused_by())
            .execute(tx)
            .await
            .during(&format!("note the end of background job {}", job.id))?;
        Ok(())
    }
}

/// Ends an attempt.
pub(super) async fn end(
    database: &Database,
    id: BackgroundJobId,
    attempt: u32,
    end: &EndAttempt,
) -> Result<bool, Fault> {
    let what = format!("end attempt {attempt} of background job {id}");
    let mut tx = database.write(&what).await?;
    let Some(tracked) = row::one(&mut tx, id).await? else { return Ok(false) };
    match attempt::end_step(&tracked, attempt, end) {
        EndStep::NotOurs => return Ok(false),
        EndStep::Repeated => return Ok(true),
        EndStep::Apply => {}
    }
    let ending = Ending { end, barren: None, now: Utc::now() };
    ending.carry_out(&mut tx, &tracked.job).await?;
    tx.commit().await.during(&what)?;
    Ok(true)
}

/// Brings a row back from the web application's stale rule.
pub(super) async fn revive(database: &Database, id: BackgroundJobId, attempt: u32) -> Result<bool, Fault> {
    let what = format!("revive background job {id}");
    let mut tx = database.write(&what).await?;
    let Some(Tracked { job, trail }) = row::one(&mut tx, id).await? else { return Ok(false) };
    let (business, job_type, from) = (job.business_id.0, job.job_type.clone(), job.status);
    if !attempt::may_revive(&Tracked { job, trail }, attempt) {
        return Ok(false);
    }
    let taken: bool = sqlx::query_scalar(OTHER_ACTIVE)
        .bind(business)
        .bind(job_type)
        .bind(id.0)
        .fetch_one(&mut *tx)
        .await
        .during(&what)?;
    if taken {
        return Ok(false);
    }
    let now = Utc::now();
    RowMove { id, step: Move::Revive, from, error: None, now }.make(&mut tx).await?;
    sqlx::query(NOTE_REVIVED).bind(id.0).bind(moment::to_text(now)).execute(&mut *tx).await.during(&what)?;
    tx.commit().await.during(&what)?;
    Ok(true)
}

fn vanished(id: BackgroundJobId) -> Fault {
    Fault::new(crate::fault::FaultKind::Retryable, format!("background job {id} vanished"))
}
