//! What time does to jobs: some become due, some are dropped.

use serde::Serialize;

use crate::job::{QueueEnd, QueueName};

use super::database::{Database, now};
use super::place::Places;
use super::row::batch;

/// A due job and its new place.
#[derive(Serialize)]
struct Due {
    seq: i64,
    position: i64,
}

/// Puts up to `max` due jobs into their queues, the longest due first; says which queues got one, and
/// how many.
pub async fn promote_due(database: &Database, max: u32) -> Result<(u32, Vec<QueueName>), sqlx::Error> {
    let now = now();
    // Most calls find nothing: those take no lock.
    let any: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tikkun_jobs WHERE state = 'scheduled' AND due_at <= ?1)",
    )
    .bind(now)
    .fetch_one(database.readers())
    .await?;
    if !any {
        return Ok((0, Vec::new()));
    }
    let mut tx = database.write().await?;
    // Nobody else can promote the same jobs: the transaction writes.
    let due: Vec<(i64, String, bool)> = sqlx::query_as(
        "SELECT seq, queue, to_head FROM tikkun_jobs WHERE state = 'scheduled' AND due_at <= ?1
         ORDER BY due_at, seq LIMIT ?2",
    )
    .bind(now)
    .bind(max)
    .fetch_all(&mut *tx)
    .await?;
    let mut places = Places::default();
    let (mut rows, mut queues) = (Vec::with_capacity(due.len()), Vec::<QueueName>::new());
    for (seq, queue, to_head) in due {
        let end = if to_head { QueueEnd::Head } else { QueueEnd::Tail };
        rows.push(Due { seq, position: places.next(&mut tx, &queue, end).await? });
        if !queues.iter().any(|known| known.as_str() == queue) {
            queues.push(queue.into());
        }
    }
    // Exactly the jobs read above: they are still scheduled.
    let promoted = sqlx::query(
        "UPDATE tikkun_jobs SET state = 'queued', position = given.value ->> 'position', enqueued_at = ?2,
             due_at = NULL
         FROM json_each(?1) AS given
         WHERE tikkun_jobs.seq = given.value ->> 'seq'",
    )
    .bind(batch(&rows)?)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((u32::try_from(promoted.rows_affected()).unwrap_or(u32::MAX), queues))
}

/// Drops up to `max` ended jobs whose time has passed.
pub async fn expire(database: &Database, max: u32) -> Result<u32, sqlx::Error> {
    let now = now();
    // Most calls find nothing: those take no lock.
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_jobs WHERE expires_at <= ?1)")
        .bind(now)
        .fetch_one(database.readers())
        .await?;
    if !any {
        return Ok(0);
    }
    // Only ended jobs have a time to be dropped at.
    let dropped = sqlx::query(
        "DELETE FROM tikkun_jobs WHERE seq IN (
             SELECT seq FROM tikkun_jobs WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
    )
    .bind(now)
    .bind(max)
    .execute(database.writer())
    .await?;
    Ok(u32::try_from(dropped.rows_affected()).unwrap_or(u32::MAX))
}
