//! Settles jobs: many settlements in one transaction, with at most three statements.
//!
//! Rows are found by their execution, in an index that contains only running jobs. The `+` keeps SQLite from
//! the index of all ids, whose pages are not cached when a million jobs wait.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use crate::failpoint;
use crate::job::{JobState, Limit, QueueEnd};

use super::database::{millis, now};
use super::history::entry;
use super::place::Places;
use super::resettled::mark;
use super::row::{batch, whole};
use crate::queue::delivery::{Disposition, Settled, Settlement};

/// A delivery whose job is deleted.
#[derive(Serialize)]
struct Dropped<'a> {
    job: &'a str,
    execution: &'a str,
}

/// A delivery whose job has ended and is kept.
#[derive(Serialize)]
struct Ended<'a> {
    job: &'a str,
    execution: &'a str,
    state: &'static str,
    failures: u32,
    expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    error: Option<Cow<'a, str>>,
    stopped: bool,
}

/// A delivery whose job waits again.
#[derive(Serialize)]
struct Returned<'a> {
    job: &'a str,
    execution: &'a str,
    state: &'static str,
    position: i64,
    due_at: Option<i64>,
    /// Where it enters its queue once it is due.
    to_head: bool,
    failures: u32,
    orphaned: u32,
    asked: u32,
    error: Option<Cow<'a, str>>,
    mark: String,
}

/// Settlements by what happens to the row.
#[derive(Default)]
struct Sorted<'a> {
    dropped: Vec<Dropped<'a>>,
    ended: Vec<Ended<'a>>,
    returned: Vec<Returned<'a>>,
    /// Of the returned ones, the execution and the queue in which its job waits from now on.
    forwarded: Vec<(&'a str, &'a str)>,
}

/// Settles deliveries within a transaction; of two settlements of one delivery the first counts.
pub async fn settle(
    tx: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, sqlx::Error> {
    let now = now();
    let mut sorted = sort(tx, settlements, now).await?;
    let mut done = HashSet::with_capacity(settlements.len());
    drop_rows(tx, &sorted.dropped, &mut done).await?;
    end_rows(tx, &sorted.ended, now, &mut done).await?;
    return_rows(tx, &sorted.returned, now, &mut done).await?;
    sorted.forwarded.retain(|(execution, _)| done.contains(*execution));
    forward_rows(tx, &sorted.forwarded).await?;
    let answer = |one: &Settlement| match done.remove(one.execution.as_str()) {
        true => Settled::Done,
        false => Settled::NotOurs,
    };
    Ok(settlements.iter().map(answer).collect())
}

async fn sort<'a>(
    tx: &mut SqliteConnection,
    settlements: &'a [Settlement],
    now: i64,
) -> Result<Sorted<'a>, sqlx::Error> {
    let mut sorted = Sorted::default();
    let mut places = Places::default();
    let mut seen = HashSet::with_capacity(settlements.len());
    let due = |delay: Duration| (!delay.is_zero()).then(|| now + millis(delay));
    for one in settlements.iter().filter(|one| seen.insert(one.execution.as_str())) {
        match &one.verdict {
            ends if ends.drops() => {
                sorted.dropped.push(Dropped { job: one.job.as_str(), execution: one.execution.as_str() });
            }
            Disposition::Ack { result, keep } => {
                sorted
                    .ended
                    .push(Ended { result: Some(result), ..ended(one, JobState::Finished, *keep, now) });
            }
            Disposition::Discard { keep, .. }
            | Disposition::Exhaust { keep, .. }
            | Disposition::Stop { keep, .. } => {
                let stopped = matches!(one.verdict, Disposition::Stop { .. });
                let (error, ended) = (one.verdict.error(), ended(one, JobState::Failed, *keep, now));
                sorted.ended.push(Ended { error: error.map(whole), failures: 1, stopped, ..ended });
            }
            Disposition::RetryAt { delay, error } => {
                let returned = waits(tx, &mut places, one, (due(*delay), QueueEnd::Tail)).await?;
                sorted.returned.push(Returned { failures: 1, error: Some(whole(error)), ..returned });
            }
            Disposition::RunAgain { delay, asked, .. } => {
                let end = if asked.at_front { QueueEnd::Head } else { QueueEnd::Tail };
                let returned = waits(tx, &mut places, one, (due(*delay), end)).await?;
                sorted.returned.push(Returned { asked: 1, ..returned });
            }
            Disposition::Forward { queue } => {
                let position = places.next(tx, queue.as_str(), QueueEnd::Tail).await?;
                sorted.returned.push(returned(one, position));
                sorted.forwarded.push((one.execution.as_str(), queue.as_str()));
            }
            Disposition::Release { end } => {
                let position = places.next(tx, one.queue.as_str(), *end).await?;
                sorted.returned.push(returned(one, position));
            }
            Disposition::Rescue => {
                let position = places.next(tx, one.queue.as_str(), QueueEnd::Head).await?;
                sorted.returned.push(Returned { orphaned: 1, ..returned(one, position) });
            }
        }
    }
    Ok(sorted)
}

/// A row that waits again: until it is due, if it has to wait for that, and then at this end of its queue.
async fn waits<'a>(
    tx: &mut SqliteConnection,
    places: &mut Places,
    one: &'a Settlement,
    (due_at, end): (Option<i64>, QueueEnd),
) -> Result<Returned<'a>, sqlx::Error> {
    if due_at.is_some() {
        let (state, to_head) = (JobState::Scheduled.as_str(), end == QueueEnd::Head);
        return Ok(Returned { state, due_at, to_head, ..returned(one, 0) });
    }
    Ok(returned(one, places.next(tx, one.queue.as_str(), end).await?))
}

fn ended(one: &Settlement, state: JobState, keep: Limit, now: i64) -> Ended<'_> {
    Ended {
        job: one.job.as_str(),
        execution: one.execution.as_str(),
        state: state.as_str(),
        failures: 0,
        expires_at: keep.duration().map(|keep| now + millis(keep)),
        result: None,
        error: None,
        stopped: false,
    }
}

fn returned(one: &Settlement, position: i64) -> Returned<'_> {
    Returned {
        job: one.job.as_str(),
        execution: one.execution.as_str(),
        state: JobState::Queued.as_str(),
        position,
        due_at: None,
        to_head: false,
        failures: 0,
        orphaned: 0,
        asked: 0,
        error: None,
        mark: mark(one),
    }
}

async fn drop_rows(
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

async fn end_rows(
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

async fn return_rows(
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
    .fetch_all(tx)
    .await?;
    done.extend(returned);
    Ok(())
}

async fn forward_rows(tx: &mut SqliteConnection, rows: &[(&str, &str)]) -> Result<(), sqlx::Error> {
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
