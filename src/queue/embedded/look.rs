//! Looking at jobs, and taking one out.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite};

use crate::job::{JobId, JobRecord, JobState, KindName, ProcessId, QueueName};

use super::database::{Database, now};
use super::row::{JobRow, state};
use crate::queue::delivery::Delivery;
use crate::queue::seen::{JobFilter, QueueCounts};

/// How long a canceled job is kept that was enqueued without a failure time of its own, in
/// milliseconds: as long as RQ keeps failures, a year.
const KEEP_CANCELED_MS: i64 = 31_536_000_000;

/// One job.
pub async fn job(database: &Database, id: &JobId) -> Result<Option<JobRecord>, sqlx::Error> {
    // One row at most: ids are unique.
    let row: Option<JobRow> = sqlx::query_as("SELECT * FROM tikkun_jobs WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(database.readers())
        .await?;
    row.map(JobRow::into_record).transpose()
}

/// Jobs by filter, newest first.
pub async fn jobs(database: &Database, filter: &JobFilter) -> Result<Vec<JobRecord>, sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new(one_of_state(filter.state));
    if let Some(queue) = &filter.queue {
        sql.push(" AND +queue = ").push_bind(queue.as_str());
    }
    if let Some(kind) = &filter.kind {
        sql.push(" AND +kind = ").push_bind(kind.as_str());
    }
    if let Some(text) = &filter.text {
        let text = text.to_ascii_lowercase();
        sql.push(" AND (instr(lower(id), ").push_bind(text.clone());
        sql.push(") OR instr(lower(kind), ").push_bind(text).push("))");
    }
    if let Some(id) = &filter.after {
        sql.push(" AND seq < (SELECT seq FROM tikkun_jobs WHERE id = ").push_bind(id.as_str()).push(")");
    }
    sql.push(" ORDER BY seq DESC LIMIT ").push_bind(filter.limit);
    // One statement, so that the list is of one moment.
    let rows: Vec<JobRow> = sql.build_query_as().fetch_all(database.people()).await?;
    rows.into_iter().map(JobRow::into_folded).collect()
}

/// The query for jobs of one state: written out, because only then can the index of that state answer.
/// Waiting jobs are read from the newest back, which is short where it matters: when many wait.
fn one_of_state(state: Option<JobState>) -> &'static str {
    match state {
        None => "SELECT * FROM tikkun_jobs WHERE true",
        Some(JobState::Queued) => "SELECT * FROM tikkun_jobs WHERE +state = 'queued'",
        Some(JobState::Scheduled) => {
            "SELECT * FROM tikkun_jobs INDEXED BY tikkun_jobs_scheduled WHERE state = 'scheduled'"
        }
        Some(JobState::Started) => {
            "SELECT * FROM tikkun_jobs INDEXED BY tikkun_jobs_started WHERE state = 'started'"
        }
        Some(JobState::Finished) => {
            "SELECT * FROM tikkun_jobs WHERE ended_at IS NOT NULL AND state = 'finished'"
        }
        Some(JobState::Failed) => "SELECT * FROM tikkun_jobs WHERE ended_at IS NOT NULL AND state = 'failed'",
        Some(JobState::Canceled) => {
            "SELECT * FROM tikkun_jobs WHERE ended_at IS NOT NULL AND state = 'canceled'"
        }
    }
}

/// Open jobs of a function under its full name or its last part, oldest first.
pub async fn open_jobs(database: &Database, kind: &KindName) -> Result<Vec<JobRecord>, sqlx::Error> {
    // Every open job has no end yet, and only those are in the index.
    let rows: Vec<JobRow> =
        sqlx::query_as("SELECT * FROM tikkun_jobs WHERE ended_at IS NULL AND kind IN (?1, ?2) ORDER BY seq")
            .bind(kind.as_str())
            .bind(kind.short())
            .fetch_all(database.people())
            .await?;
    rows.into_iter().map(JobRow::into_folded).collect()
}

/// What `process` holds from `queue`.
pub async fn held(
    database: &Database,
    queue: &QueueName,
    process: &ProcessId,
) -> Result<Vec<Delivery>, sqlx::Error> {
    // Only running jobs are in the index, and few of them at a time.
    let rows: Vec<JobRow> =
        sqlx::query_as("SELECT * FROM tikkun_jobs WHERE state = 'started' AND process = ?1 AND queue = ?2")
            .bind(process.as_str())
            .bind(queue.as_str())
            .fetch_all(database.readers())
            .await?;
    rows.into_iter().map(|row| row.into_delivery().map(|(delivery, _)| delivery)).collect()
}

/// Takes a waiting job out; says in which state it is then.
pub async fn cancel(database: &Database, id: &JobId) -> Result<Option<JobState>, sqlx::Error> {
    let mut tx = database.write().await?;
    // A job that runs or has ended is left as it is.
    sqlx::query(
        "UPDATE tikkun_jobs
         SET state = 'canceled', ended_at = ?2, due_at = NULL,
             expires_at = ?2 + nullif(coalesce(failure_ttl_ms, ?3), -1)
         WHERE id = ?1 AND state IN ('queued', 'scheduled')",
    )
    .bind(id.as_str())
    .bind(now())
    .bind(KEEP_CANCELED_MS)
    .execute(&mut *tx)
    .await?;
    // In the same transaction, so that the answer is about what was done.
    let word: Option<String> = sqlx::query_scalar("SELECT state FROM tikkun_jobs WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    word.as_deref().map(state).transpose()
}

/// A row of `tikkun_queues`.
type CountsRow = (String, i64, i64, i64, i64, i64, i64);

/// Counts of every queue ever used.
pub async fn counts(database: &Database) -> Result<BTreeMap<QueueName, QueueCounts>, sqlx::Error> {
    // Triggers keep the counts in the transaction of every change; a row per queue, however many jobs.
    let rows: Vec<CountsRow> = sqlx::query_as(
        "SELECT name, queued, scheduled, started, finished, failed, canceled FROM tikkun_queues",
    )
    .fetch_all(database.people())
    .await?;
    let count = |stored: i64| u64::try_from(stored).unwrap_or_default();
    let counts = |(name, queued, scheduled, started, finished, failed, canceled): CountsRow| {
        let counts = QueueCounts {
            queued: count(queued),
            scheduled: count(scheduled),
            started: count(started),
            finished: count(finished),
            failed: count(failed),
            canceled: count(canceled),
        };
        (QueueName::from(name), counts)
    };
    Ok(rows.into_iter().map(counts).collect())
}

/// The queues from which something can be fetched.
pub const QUEUES_WITH_WORK: &str = "SELECT name FROM tikkun_queues
     WHERE queued > 0 AND name NOT IN (SELECT name FROM tikkun_paused_queues)";

/// Whether something can be fetched from `queue`.
pub async fn has_work(database: &Database, queue: &QueueName) -> Result<bool, sqlx::Error> {
    // Rows by their keys, however long the queue.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tikkun_queues WHERE name = ?1 AND queued > 0)
            AND NOT EXISTS (SELECT 1 FROM tikkun_paused_queues WHERE name = ?1)",
    )
    .bind(queue.as_str())
    .fetch_one(database.readers())
    .await
}

/// Writes, to prove that writing works; in a transaction, so that a connection that cannot is given up.
pub async fn check(database: &Database) -> Result<(), sqlx::Error> {
    let mut tx = database.write().await?;
    // Always the same row: the file does not grow by being checked.
    sqlx::query(
        "INSERT INTO tikkun_check (one, checked_at) VALUES (1, ?1)
         ON CONFLICT (one) DO UPDATE SET checked_at = excluded.checked_at",
    )
    .bind(now())
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn searches_of_people_keep_no_listener_waiting() {
        let here = tempfile::tempdir().unwrap();
        let database = super::super::database::open(here.path()).await.unwrap();
        // As many as there are: whoever asks the same pool waits in vain.
        let mut searches = Vec::new();
        while searches.len() < database.people().options().get_max_connections() as usize {
            searches.push(database.people().acquire().await.unwrap());
        }
        assert!(!has_work(&database, &"q".into()).await.unwrap());
        assert_eq!(held(&database, &"q".into(), &"me".into()).await.unwrap(), []);
    }
}
