//! Paused queues: no process can fetch from them until they are resumed.

use std::collections::BTreeMap;

use crate::job::QueueName;

use super::database::{Database, now, time};
use crate::queue::upkeep::PausedQueue;

/// Pauses `queue`; `false` if it was paused already.
pub async fn pause(database: &Database, queue: &QueueName, by: &str) -> Result<bool, sqlx::Error> {
    // The first user stays recorded.
    let paused = sqlx::query(
        "INSERT INTO tikkun_paused_queues (name, paused_by, since) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(queue.as_str())
    .bind(by)
    .bind(now())
    .execute(database.writer()?)
    .await?;
    Ok(paused.rows_affected() > 0)
}

/// Resumes `queue`; `false` if it was not paused.
pub async fn resume(database: &Database, queue: &QueueName) -> Result<bool, sqlx::Error> {
    // The queue is unchanged, because pausing moves no job.
    let resumed = sqlx::query("DELETE FROM tikkun_paused_queues WHERE name = ?1")
        .bind(queue.as_str())
        .execute(database.writer()?)
        .await?;
    Ok(resumed.rows_affected() > 0)
}

/// Every paused queue.
pub async fn paused(database: &Database) -> Result<BTreeMap<QueueName, PausedQueue>, sqlx::Error> {
    // One statement, so that the list is consistent.
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT name, paused_by, since FROM tikkun_paused_queues")
            .fetch_all(database.readers())
            .await?;
    let paused = |(name, by, since): (String, String, i64)| {
        (QueueName::from(name), PausedQueue { by, since: time(since) })
    };
    Ok(rows.into_iter().map(paused).collect())
}
