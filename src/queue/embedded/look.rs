//! Reads jobs, and cancels one.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite};

use crate::job::{JobId, JobRecord, JobState, KindName, ProcessId, QueueName};

use super::database::{Database, now};
use super::row::{JobRow, state};
use crate::queue::delivery::Delivery;
use crate::queue::seen::{JobFilter, QueueCounts};

/// How long a cancelled job without its own failure time is kept, in milliseconds: a year, as RQ keeps
/// failures.
const KEEP_CANCELED_MS: i64 = 31_536_000_000;

/// One job.
pub async fn job(database: &Database, id: &JobId) -> Result<Option<JobRecord>, sqlx::Error> {
    // At most one row, because ids are unique.
    let row: Option<JobRow> = sqlx::query_as("SELECT * FROM tikkun_jobs WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(database.readers())
        .await?;
    row.map(JobRow::into_record).transpose()
}

/// Jobs that match a filter, newest first.
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
    // One statement, so that the list is consistent.
    let rows: Vec<JobRow> = sql.build_query_as().fetch_all(database.people()).await?;
    rows.into_iter().map(JobRow::into_folded).collect()
}

/// The query for jobs of one state, written out so that SQLite can use the index of that state. Waiting jobs
/// are read from the newest backwards, which is fast even if many wait.
fn one_of_state(state: Option<JobState>) -> &'static str {
    match state {
        None => "SELECT * FROM tikkun_jobs WHERE true",
        Some(JobState::Queued) => "SELECT * FROM tikkun_jobs WHERE +state = 'queued'",
        Some(JobState::Scheduled) => {
            "SELECT * FROM tikkun_jobs INDEXED BY tikkun_jobs_scheduled_newest WHERE state = 'scheduled'"
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

/// Open jobs of a function, under its full name or its last part, oldest first.
pub async fn open_jobs(database: &Database, kind: &KindName) -> Result<Vec<JobRecord>, sqlx::Error> {
    // Only open jobs have no end, and the index contains only them.
    let rows: Vec<JobRow> =
        sqlx::query_as("SELECT * FROM tikkun_jobs WHERE ended_at IS NULL AND kind IN (?1, ?2) ORDER BY seq")
            .bind(kind.as_str())
            .bind(kind.short())
            .fetch_all(database.people())
            .await?;
    rows.into_iter().map(JobRow::into_folded).collect()
}

/// The deliveries that `process` holds from `queue`.
pub async fn held(
    database: &Database,
    queue: &QueueName,
    process: &ProcessId,
) -> Result<Vec<Delivery>, sqlx::Error> {
    // The index contains only running jobs, which are few.
    let rows: Vec<JobRow> =
        sqlx::query_as("SELECT * FROM tikkun_jobs WHERE state = 'started' AND process = ?1 AND queue = ?2")
            .bind(process.as_str())
            .bind(queue.as_str())
            .fetch_all(database.readers())
            .await?;
    rows.into_iter().map(|row| row.into_delivery().map(|(delivery, _)| delivery)).collect()
}

/// Cancels a waiting job; returns its state afterwards.
pub async fn cancel(database: &Database, id: &JobId) -> Result<Option<JobState>, sqlx::Error> {
    let mut tx = database.write().await?;
    // A running or ended job is not changed.
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
    // Read in the same transaction, so that the answer shows its result.
    let word: Option<String> = sqlx::query_scalar("SELECT state FROM tikkun_jobs WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    word.as_deref().map(state).transpose()
}

/// A row of `tikkun_queues`.
type CountsRow = (String, i64, i64, i64, i64, i64, i64);

/// The counts of every queue ever used.
pub async fn counts(database: &Database) -> Result<BTreeMap<QueueName, QueueCounts>, sqlx::Error> {
    // Triggers update the counts in the transaction of every change; one row per queue.
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

/// The queues with jobs to fetch.
pub const QUEUES_WITH_WORK: &str = "SELECT name FROM tikkun_queues
     WHERE queued > 0 AND name NOT IN (SELECT name FROM tikkun_paused_queues)";

/// Whether there are jobs to fetch from `queue`.
pub async fn has_work(database: &Database, queue: &QueueName) -> Result<bool, sqlx::Error> {
    // Reads rows by their keys only, whatever the length of the queue.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tikkun_queues WHERE name = ?1 AND queued > 0)
            AND NOT EXISTS (SELECT 1 FROM tikkun_paused_queues WHERE name = ?1)",
    )
    .bind(queue.as_str())
    .fetch_one(database.readers())
    .await
}

/// Writes to prove that writing works; in a transaction, so that a broken connection is closed.
pub async fn check(database: &Database) -> Result<(), sqlx::Error> {
    database.has_room().await?;
    let mut tx = database.write().await?;
    // Always the same row, so that the file does not grow.
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
    async fn no_list_of_a_state_sorts_all_jobs_that_have_it() {
        let here = tempfile::tempdir().unwrap();
        let database = super::super::database::open(here.path()).await.unwrap();
        // Started ones are few.
        for state in JobState::ALL.into_iter().filter(|state| *state != JobState::Started) {
            let list = format!("EXPLAIN QUERY PLAN {} ORDER BY seq DESC LIMIT 50", one_of_state(Some(state)));
            let steps: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(list)).fetch_all(database.people()).await.unwrap();
            assert!(!steps.iter().any(|(.., step)| step.contains("TEMP B-TREE")), "{state}: {steps:?}");
        }
    }

    #[tokio::test]
    async fn searches_of_people_keep_no_listener_waiting() {
        let here = tempfile::tempdir().unwrap();
        let database = super::super::database::open(here.path()).await.unwrap();
        // Uses all connections of the pool: a further caller would wait in vain.
        let mut searches = Vec::new();
        while searches.len() < database.people().options().get_max_connections() as usize {
            searches.push(database.people().acquire().await.unwrap());
        }
        assert!(!has_work(&database, &"q".into()).await.unwrap());
        assert_eq!(held(&database, &"q".into(), &"me".into()).await.unwrap(), []);
    }
}
