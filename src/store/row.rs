//! Reads a row of `background_jobs` with our note, for every database.

use chrono::{DateTime, Utc};

use super::attempt::{Tracked, Trail};
use super::kept;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Cursor, Note, PauseReason, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId, Progress};

/// A select of rows with our note; the given text completes it.
macro_rules! select_jobs {
    ($tail:literal) => {
        concat!(
            "select j.id, j.business_id, j.requested_by_user_id, j.job_type, j.status, ",
            "coalesce(j.total, 0) as total, coalesce(j.processed, 0) as processed, ",
            "coalesce(j.succeeded, 0) as succeeded, coalesce(j.failed_count, 0) as failed_count, ",
            "j.last_error, j.cursor, j.created_at, j.updated_at, j.started_at, j.finished_at, j.heartbeat_at, ",
            "coalesce(n.attempt, 0) as attempt, n.queue_job, n.pause_reason, n.waiting_for, n.rate, ",
            "n.eta_seconds, coalesce(n.barren_attempts, 0) as barren_attempts, n.changed_by, ",
            "n.kept, n.start_last_id, n.start_processed, coalesce(n.revived, false) as revived, n.ended, ",
            "coalesce(n.cancelled_by_person, false) as cancelled_by_person ",
            "from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id ",
            $tail
        )
    };
}
pub(super) use select_jobs;

/// A row of a database's answer, column by column.
pub(super) trait Cells {
    /// A whole number.
    fn number(&self, column: &str) -> Result<Option<i64>, Fault>;
    /// A number with a fraction.
    fn real(&self, column: &str) -> Result<Option<f64>, Fault>;
    /// A text.
    fn text(&self, column: &str) -> Result<Option<String>, Fault>;
    /// A boolean.
    fn flag(&self, column: &str) -> Result<bool, Fault>;
    /// A time. In a text column, text that is no time is a permanent fault.
    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, Fault>;

    /// A whole number that must not be null.
    fn needed(&self, column: &str) -> Result<i64, Fault> {
        self.number(column)?.ok_or_else(|| broken(format!("the column {column} is null")))
    }
}

/// The row with our record of its attempts.
pub(super) fn tracked(row: &impl Cells) -> Result<Tracked, Fault> {
    let job = job(row)?;
    let overwritten = (cursor(row, job.id)?, progress(row)?) != (job.cursor.clone(), job.progress);
    let trail = Trail {
        start_last_id: row.number("start_last_id")?,
        start_processed: row.number("start_processed")?,
        revived: row.flag("revived")?,
        ended: row.text("ended")?.as_deref().and_then(Status::parse),
        cancelled_by_person: row.flag("cancelled_by_person")?,
        overwritten,
    };
    Ok(Tracked { job, trail })
}

/// The row; `None`, with a line in the log, if it is unreadable, so that the others are still processed.
pub(super) fn readable(row: &impl Cells) -> Option<BackgroundJob> {
    match job(row) {
        Ok(job) => Some(job),
        Err(fault) => {
            let id = row.number("id").ok().flatten();
            tracing::warn!(background_job = id, error = fault.chain(), "a row cannot be read; passed over");
            None
        }
    }
}

/// The row without our record of its attempts.
pub(super) fn job(row: &impl Cells) -> Result<BackgroundJob, Fault> {
    let id = BackgroundJobId(row.needed("id")?);
    let (status, created_at) = (status(row, id)?, time(row, id, "created_at")?);
    let (cursor, progress) = state(row, id, status, created_at)?;
    Ok(BackgroundJob {
        id,
        business_id: BusinessId(row.needed("business_id")?),
        requested_by_user_id: row.number("requested_by_user_id")?,
        job_type: row.text("job_type")?.unwrap_or_default(),
        status,
        progress,
        last_error: row.text("last_error")?,
        cursor,
        created_at,
        updated_at: time(row, id, "updated_at")?,
        started_at: time(row, id, "started_at")?,
        finished_at: time(row, id, "finished_at")?,
        heartbeat_at: time(row, id, "heartbeat_at")?,
        note: note(row)?,
    })
}

/// Cursor and counters: those of our own copy where it is of the same request. A new request in an old row has neither
/// the coverage nor the total of the old one.
fn state(
    row: &impl Cells,
    id: BackgroundJobId,
    status: Status,
    created_at: Option<DateTime<Utc>>,
) -> Result<(Cursor, Progress), Fault> {
    let (cursor, progress) = (cursor(row, id)?, progress(row)?);
    if cursor.is_of_earlier_request(status, created_at) {
        let fresh = Cursor { other: cursor.other, ..Cursor::default() };
        return Ok((fresh, Progress { total: 0, ..progress }));
    }
    let ended = row.text("ended")?.as_deref().and_then(Status::parse);
    let kept = kept::parse(row.text("kept")?.as_deref()).filter(|kept| kept.is_of(status, ended, created_at));
    Ok(match kept {
        Some(kept) => kept.over(cursor, progress),
        None => (cursor, progress),
    })
}

fn note(row: &impl Cells) -> Result<Note, Fault> {
    Ok(Note {
        attempt: count(row, "attempt")?,
        queue_job: row.text("queue_job")?.map(JobId::from),
        pause_reason: row.text("pause_reason")?.as_deref().and_then(PauseReason::parse),
        waiting_for: row.text("waiting_for")?,
        rate: row.real("rate")?,
        eta_seconds: row.real("eta_seconds")?,
        barren_attempts: count(row, "barren_attempts")?,
        changed_by: row.text("changed_by")?,
    })
}

/// The counters.
pub(super) fn progress(row: &impl Cells) -> Result<Progress, Fault> {
    Ok(Progress {
        total: row.needed("total")?,
        processed: row.needed("processed")?,
        succeeded: row.needed("succeeded")?,
        failed: row.needed("failed_count")?,
    })
}

/// One of our numbers, never negative.
pub(super) fn count(row: &impl Cells, column: &str) -> Result<u32, Fault> {
    let number = row.needed(column)?;
    u32::try_from(number).map_err(|error| broken(format!("{column} is {number}")).because(error))
}

/// The server's time, from the column `now`.
pub(super) fn now(row: &impl Cells) -> Result<DateTime<Utc>, Fault> {
    row.time("now")?.ok_or_else(|| broken("the server does not tell the time".to_owned()))
}

/// The status; an unknown word is an error that names it.
pub(super) fn status(row: &impl Cells, id: BackgroundJobId) -> Result<Status, Fault> {
    let word = row.text("status")?.unwrap_or_default();
    Status::parse(&word).ok_or_else(|| broken(format!("background job {id} has the unknown status `{word}`")))
}

/// The cursor; an invalid one is an error that names it.
pub(super) fn cursor(row: &impl Cells, id: BackgroundJobId) -> Result<Cursor, Fault> {
    let text = row.text("cursor")?;
    let cursor = Cursor::parse(text.as_deref());
    let cursor = cursor.map_err(|error| broken(format!("background job {id}")).because(error))?;
    Ok(cursor.in_row(id))
}

fn time(row: &impl Cells, id: BackgroundJobId, column: &str) -> Result<Option<DateTime<Utc>>, Fault> {
    row.time(column).map_err(|fault| Fault::new(fault.kind(), format!("background job {id}")).because(fault))
}

fn broken(context: String) -> Fault {
    Fault::new(FaultKind::Permanent, context)
}
