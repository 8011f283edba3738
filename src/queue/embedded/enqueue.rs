//! Jobs come in.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;

use crate::job::NewJob;

use super::database::{Database, millis, now};
use super::place::Places;
use super::row::{NewRow, batch};
use crate::queue::broker::Enqueued;

/// Rows of one statement; bounds the text that carries them.
const AT_ONCE: usize = 500;

/// Puts `jobs` in, all or none.
pub async fn enqueue(database: &Database, jobs: &[NewJob]) -> Result<Vec<Enqueued>, sqlx::Error> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = database.write().await?;
    let mut places = Places::default();
    let mut answers = Vec::with_capacity(jobs.len());
    for some in jobs.chunks(AT_ONCE) {
        let mut added = insert(&mut tx, &mut places, some).await?;
        answers.extend(some.iter().map(|job| match added.remove(job.id.as_str()) {
            true => Enqueued::Accepted,
            false => Enqueued::Exists,
        }));
    }
    tx.commit().await?;
    Ok(answers)
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
    // An id that is there already, or twice in the batch, keeps its first job.
    let added: Vec<String> = sqlx::query_scalar(
        "INSERT INTO tikkun_jobs (id, queue, kind, args, state, position, to_head, timeout_ms, retries_left,
             retry_intervals, result_ttl_ms, failure_ttl_ms, created_at, enqueued_at, due_at, meta)
         SELECT value ->> 'id', value ->> 'queue', value ->> 'kind', value -> 'args', value ->> 'state',
             value ->> 'position', value ->> 'to_head', value ->> 'timeout_ms', value ->> 'retries_left',
             value ->> 'retry_intervals', value ->> 'result_ttl_ms', value ->> 'failure_ttl_ms', ?2,
             value ->> 'enqueued_at', value ->> 'due_at', value -> 'meta'
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
