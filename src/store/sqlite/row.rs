//! Reading a row of `background_jobs` with our record of it.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::fault::During;
use super::moment;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Cursor, Note, PauseReason, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId, Progress};
use crate::store::attempt::{Tracked, Trail};

/// A select of rows with our record, ended by the given text.
macro_rules! select_jobs {
    ($tail:literal) => {
        concat!(
            "select j.id, j.business_id, j.requested_by_user_id, j.job_type, j.status, ",
            "coalesce(j.total, 0) as total, coalesce(j.processed, 0) as processed, ",
            "coalesce(j.succeeded, 0) as succeeded, coalesce(j.failed_count, 0) as failed_count, ",
            "j.last_error, j.cursor, j.created_at, j.updated_at, j.started_at, j.finished_at, j.heartbeat_at, ",
            "coalesce(n.attempt, 0) as attempt, n.queue_job, n.pause_reason, n.waiting_for, n.rate, ",
            "n.eta_seconds, coalesce(n.barren_attempts, 0) as barren_attempts, n.changed_by, ",
            "n.start_last_id, n.start_processed, coalesce(n.revived, 0) as revived, n.ended, ",
            "coalesce(n.cancelled_by_person, 0) as cancelled_by_person ",
            "from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id ",
            $tail
        )
    };
}
pub(super) use select_jobs;

/// One row by its id.
const ONE: &str = select_jobs!("where j.id = ?1");

/// Reads one row; inside a writing transaction nobody can change it before the commit.
pub(super) async fn one(
    connection: &mut SqliteConnection,
    id: BackgroundJobId,
) -> Result<Option<Tracked>, Fault> {
    let what = format!("read background job {id}");
    let row = sqlx::query(ONE).bind(id.0).fetch_optional(connection).await.during(&what)?;
    row.as_ref().map(tracked).transpose()
}

/// The row as values.
pub(super) fn tracked(row: &SqliteRow) -> Result<Tracked, Fault> {
    let job = job(row)?;
    let trail = Trail {
        start_last_id: get(row, "start_last_id")?,
        start_processed: get(row, "start_processed")?,
        revived: get(row, "revived")?,
        ended: get::<Option<String>>(row, "ended")?.as_deref().and_then(Status::parse),
        cancelled_by_person: get(row, "cancelled_by_person")?,
    };
    Ok(Tracked { job, trail })
}

fn job(row: &SqliteRow) -> Result<BackgroundJob, Fault> {
    let id = BackgroundJobId(get(row, "id")?);
    Ok(BackgroundJob {
        id,
        business_id: BusinessId(get(row, "business_id")?),
        requested_by_user_id: get(row, "requested_by_user_id")?,
        job_type: get(row, "job_type")?,
        status: status(row, id)?,
        progress: progress(row)?,
        last_error: get(row, "last_error")?,
        cursor: cursor(row, id)?,
        created_at: time(row, id, "created_at")?,
        updated_at: time(row, id, "updated_at")?,
        started_at: time(row, id, "started_at")?,
        finished_at: time(row, id, "finished_at")?,
        heartbeat_at: time(row, id, "heartbeat_at")?,
        note: note(row)?,
    })
}

fn note(row: &SqliteRow) -> Result<Note, Fault> {
    Ok(Note {
        attempt: get(row, "attempt")?,
        queue_job: get::<Option<String>>(row, "queue_job")?.map(JobId::from),
        pause_reason: get::<Option<String>>(row, "pause_reason")?.as_deref().and_then(PauseReason::parse),
        waiting_for: get(row, "waiting_for")?,
        rate: get(row, "rate")?,
        eta_seconds: get(row, "eta_seconds")?,
        barren_attempts: get(row, "barren_attempts")?,
        changed_by: get(row, "changed_by")?,
    })
}

/// The counters.
pub(super) fn progress(row: &SqliteRow) -> Result<Progress, Fault> {
    Ok(Progress {
        total: get(row, "total")?,
        processed: get(row, "processed")?,
        succeeded: get(row, "succeeded")?,
        failed: get(row, "failed_count")?,
    })
}

/// The status; a word that is none of the six is named, not guessed.
pub(super) fn status(row: &SqliteRow, id: BackgroundJobId) -> Result<Status, Fault> {
    let word: String = get(row, "status")?;
    Status::parse(&word).ok_or_else(|| broken(format!("background job {id} has the unknown status `{word}`")))
}

/// The cursor; a broken one is named, not guessed.
pub(super) fn cursor(row: &SqliteRow, id: BackgroundJobId) -> Result<Cursor, Fault> {
    let text: Option<String> = get(row, "cursor")?;
    Cursor::parse(text.as_deref()).map_err(|error| broken(format!("background job {id}")).because(error))
}

fn time(row: &SqliteRow, id: BackgroundJobId, column: &str) -> Result<Option<DateTime<Utc>>, Fault> {
    let Some(text) = get::<Option<String>>(row, column)? else { return Ok(None) };
    let at = moment::parse(&text);
    at.map(Some).ok_or_else(|| broken(format!("background job {id} has no time in {column}: `{text}`")))
}

/// One value.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, Fault>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).during("read a row of the store")
}

fn broken(context: String) -> Fault {
    Fault::new(FaultKind::Permanent, context)
}
