//! Enqueues jobs.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;

use crate::job::NewJob;

use super::database::{Database, millis, now};
use super::place::Places;
use super::row::{NewRow, batch};
use super::unique;
use crate::queue::delivery::Enqueued;

/// The rows per statement; it limits the size of its parameter.
const AT_ONCE: usize = 500;

/// What a job takes besides its arguments and whatever else the application gives it: the row's columns, and its
/// places in the indexes.
const ROW: usize = 1024;

/// Enqueues `jobs`, all or none.
pub async fn enqueue(database: &Database, jobs: &[NewJob]) -> Result<Vec<Enqueued>, sqlx::Error> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    database.has_room_to_add(|| room_for(jobs)).await?;
    let mut tx = database.write().await?;
    let answers = enqueue_in(&mut tx, jobs).await?;
    tx.commit().await?;
    Ok(answers)
}

/// Enqueues `jobs` within a writing transaction.
pub async fn enqueue_in(tx: &mut SqliteConnection, jobs: &[NewJob]) -> Result<Vec<Enqueued>, sqlx::Error> {
    let mut places = Places::default();
    let mut answers = Vec::with_capacity(jobs.len());
    // With unique keys one at a time, so that each job sees the keys of those before it.
    let at_once = if jobs.iter().any(|job| job.unique.is_some()) { 1 } else { AT_ONCE };
    for some in jobs.chunks(at_once) {
        if let [job] = some
            && let Some(holder) = unique::claim(tx, job).await?
        {
            answers.push(Enqueued::Duplicate(holder));
            continue;
        }
        let mut added = insert(tx, &mut places, some).await?;
        answers.extend(some.iter().map(|job| match added.remove(job.id.as_str()) {
            true => Enqueued::Accepted,
            false => Enqueued::Exists,
        }));
    }
    Ok(answers)
}

/// About so many bytes are written for `jobs`: once to the log, and then to the file.
pub fn room_for(jobs: &[NewJob]) -> u64 {
    let text = |job: &NewJob| serde_json::to_string(&(&job.args, &job.meta)).map_or(0, |text| text.len());
    let bytes: usize = jobs.iter().map(|job| 2 * text(job) + ROW).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

async fn insert(
    tx: &mut SqliteConnection,
    places: &mut Places,
    jobs: &[NewJob],
) -> Result<HashSet<String>, sqlx::Error> {
    let now = now();
    let mut rows = Vec::with_capacity(jobs.len());
    for job in jobs {
        rows.push(match job.delay.filter(|delay| !delay.is_zero()) {
            Some(delay) => NewRow::scheduled(job, Some(now + millis(delay))),
            None => NewRow::queued(job, places.next(tx, job.queue.as_str(), job.end).await?, now),
        });
    }
    // For an id that exists already, or occurs twice in the batch, the first job stays.
    let added: Vec<String> = sqlx::query_scalar(
        "INSERT INTO tikkun_jobs (id, queue, kind, args, state, position, to_head, timeout_ms, retries_left,
             retry_intervals, result_ttl_ms, failure_ttl_ms, created_at, enqueued_at, due_at,
             waits_since, unique_key, meta)
         SELECT value ->> 'id', value ->> 'queue', value ->> 'kind', value -> 'args', value ->> 'state',
             value ->> 'position', value ->> 'to_head', value ->> 'timeout_ms', value ->> 'retries_left',
             value ->> 'retry_intervals', value ->> 'result_ttl_ms', value ->> 'failure_ttl_ms', ?2,
             value ->> 'enqueued_at', value ->> 'due_at', iif(value ->> 'due_at', ?2, NULL),
             value ->> 'unique_key', value -> 'meta'
         FROM json_each(?1) WHERE true
         ON CONFLICT (id) DO NOTHING
         RETURNING id",
    )
    .bind(batch(&rows)?)
    .bind(now)
    .fetch_all(tx)
    .await?;
    Ok(added.into_iter().collect())
}
