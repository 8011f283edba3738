//! The statements that settle jobs, one for each kind of end.
//!
//! Rows are found by their execution, in an index that contains only running jobs. The `+` keeps SQLite from
//! the index of all ids, whose pages are not cached when a million jobs wait.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use super::history::entry;
use super::row::batch;
use crate::failpoint;

/// A delivery whose job is deleted.
#[derive(Serialize)]
pub(super) struct Dropped<'a> {
    pub(super) job: &'a str,
    pub(super) execution: &'a str,
}

/// A delivery whose job has ended and is kept.
#[derive(Serialize)]
pub(super) struct Ended<'a> {
    pub(super) job: &'a str,
    pub(super) execution: &'a str,
    pub(super) state: &'static str,
    pub(super) failures: u32,
    pub(super) expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a Value>,
    pub(super) error: Option<Cow<'a, str>>,
    pub(super) stopped: bool,
}

/// A delivery whose job waits again.
#[derive(Serialize)]
pub(super) struct Returned<'a> {
    pub(super) job: &'a str,
    pub(super) execution: &'a str,
    pub(super) state: &'static str,
    pub(super) position: i64,
    pub(super) due_at: Option<i64>,
    /// Where it enters its queue once it is due.
    pub(super) to_head: bool,
    pub(super) failures: u32,
    pub(super) orphaned: u32,
    pub(super) asked: u32,
    pub(super) error: Option<Cow<'a, str>>,
    pub(super) mark: String,
}

pub(super) async fn drop_rows(
    tx: &mut SqliteConnection,
    rows: &[Dropped<'_>],
    done: &mut HashSet<String>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    // Deletes only jobs that are still lent under this execution.
    let dropped: Vec<String> = sqlx::query_scalar(
        "DELETE FROM tikkun_jobs WHERE seq IN (
             SELECT job.seq FROM json_each(?1) AS given CROSS JOIN tikkun_jobs AS job
             WHERE job.execution = given.value ->> 'execution' AND job.state = 'started'
               AND +job.id = given.value ->> 'job')
         RETURNING execution",
    )
    .bind(batch(rows)?)
    .fetch_all(tx)
    .await?;
    done.extend(dropped);
    Ok(())
}

/// Ends jobs, of which it must hold whose they are.
macro_rules! end {
    ($whose:literal) => {
        concat!(
            "UPDATE tikkun_jobs
         SET state = given.value ->> 'state', ended_at = ?2, expires_at = given.value ->> 'expires_at',
             failures = failures + (given.value ->> 'failures'), result = given.value -> 'result',
             error = given.value ->> 'error', stopped = given.value ->> 'stopped'
         FROM json_each(?1) AS given
         WHERE ",
            $whose,
            " RETURNING execution"
        )
    };
}

/// Only jobs that are still lent under this execution.
const END: &str = end!(
    "tikkun_jobs.execution = given.value ->> 'execution' AND tikkun_jobs.state = 'started'
           AND +tikkun_jobs.id = given.value ->> 'job'"
);

/// Whoever has them by now: `check.settlement`.
const END_ANY: &str = end!("tikkun_jobs.id = given.value ->> 'job'");

pub(super) async fn end_rows(
    tx: &mut SqliteConnection,
    rows: &[Ended<'_>],
    now: i64,
    done: &mut HashSet<String>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = if failpoint::is_off("check.settlement") { END_ANY } else { END };
    let ended: Vec<String> = sqlx::query_scalar(sql).bind(batch(rows)?).bind(now).fetch_all(tx).await?;
    done.extend(ended);
    Ok(())
}

pub(super) async fn return_rows(
    tx: &mut SqliteConnection,
    rows: &[Returned<'_>],
    now: i64,
    done: &mut HashSet<String>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    // Returns only jobs that are still lent under this execution. A failed attempt uses up one of the job's
    // own retries, if it has any, and is added to the history by the same write.
    let returned: Vec<String> = sqlx::query_scalar(concat!(
        "UPDATE tikkun_jobs
         SET state = given.value ->> 'state', position = given.value ->> 'position',
             to_head = given.value ->> 'to_head', due_at = given.value ->> 'due_at',
             waits_since = iif(given.value ->> 'due_at', ?2, NULL), failures = failures + (given.value ->> 'failures'),
             orphaned = orphaned + (given.value ->> 'orphaned'),
             retries_asked = retries_asked + (given.value ->> 'asked'),
             retries_left = max(retries_left - (given.value ->> 'failures'), 0),
             error = iif(given.value ->> 'asked', NULL, coalesce(given.value ->> 'error', error)),
             settled = given.value ->> 'mark',
             enqueued_at = iif(given.value ->> 'state' = 'queued', ?2, enqueued_at),
             history = CASE
                 WHEN given.value ->> 'failures' THEN ",
        entry!("'failed'", "?2", "given.value ->> 'error'"),
        "        WHEN given.value ->> 'orphaned' THEN ",
        entry!("'lost'", "?2", "NULL"),
        "        WHEN given.value ->> 'asked' THEN ",
        entry!("'retried'", "?2", "NULL"),
        "        ELSE history END
         FROM json_each(?1) AS given
         WHERE tikkun_jobs.execution = given.value ->> 'execution' AND tikkun_jobs.state = 'started'
           AND +tikkun_jobs.id = given.value ->> 'job'
         RETURNING execution",
    ))
    .bind(batch(rows)?)
    .bind(now)
    .fetch_all(&mut *tx)
    .await?;
    done.extend(returned);
    let marks = rows.iter().filter(|row| done.contains(row.execution)).map(|row| &row.mark);
    sqlx::query("INSERT OR REPLACE INTO tikkun_told (mark, told_at) SELECT value, ?2 FROM json_each(?1)")
        .bind(batch(&marks.collect::<Vec<_>>())?)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn forward_rows(
    tx: &mut SqliteConnection,
    rows: &[(&str, &str)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    // Only jobs that were returned in this transaction; their position is already one of the new queue.
    sqlx::query(
        "UPDATE tikkun_jobs SET queue = given.value ->> 1 FROM json_each(?1) AS given
         WHERE tikkun_jobs.execution = given.value ->> 0 AND tikkun_jobs.state = 'queued'",
    )
    .bind(batch(rows)?)
    .execute(tx)
    .await?;
    Ok(())
}
