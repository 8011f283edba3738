//! Upkeep of jobs: enqueues due ones, deletes expired ones, and trims queues that keep too many.

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use crate::job::{JobState, QueueEnd, QueueName};

use super::database::{Database, SLACK, now};
use super::place::Places;
use super::resettled;
use super::row::batch;
use super::unique;
use crate::queue::upkeep::Budget;

/// A due job and its new position.
#[derive(Serialize)]
struct Due {
    seq: i64,
    position: i64,
}

/// Moves up to `max` due jobs to their queues, the longest due first; returns how many, and the queues.
pub async fn promote_due(database: &Database, max: u32) -> Result<(u32, Vec<QueueName>), sqlx::Error> {
    follow_clock(database).await?;
    let now = now();
    // Most calls find nothing, and take no lock.
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
    // Nobody else can move the same jobs, because the transaction writes.
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
    // Exactly the jobs read above, which are still scheduled.
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

/// Lets jobs whose wait began before the clock was set back wait from now on, for as long as they were to.
async fn follow_clock(database: &Database) -> Result<(), sqlx::Error> {
    // Most calls find nothing, and take no lock.
    let any: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tikkun_jobs WHERE state = 'scheduled' AND waits_since > ?1)",
    )
    .bind(now() + SLACK)
    .fetch_one(database.readers())
    .await?;
    if !any {
        return Ok(());
    }
    let mut tx = database.write().await?;
    let now = now();
    let moved = sqlx::query(
        "UPDATE tikkun_jobs SET due_at = ?1 + due_at - waits_since, waits_since = ?1
         WHERE state = 'scheduled' AND waits_since > ?1 + ?2",
    )
    .bind(now)
    .bind(SLACK)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let jobs = moved.rows_affected();
    tracing::warn!(jobs, "the clock was set back: delayed and retried jobs wait their own time from now on");
    Ok(())
}

/// Deletes up to `max` expired ended jobs, keys that are not held any more, and what is told of ends no longer.
pub async fn expire(database: &Database, max: u32) -> Result<u32, sqlx::Error> {
    unique::forget(database, max).await?;
    resettled::forget(database).await?;
    let now = now();
    // Most calls find nothing, and take no lock.
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_jobs WHERE expires_at <= ?1)")
        .bind(now)
        .fetch_one(database.readers())
        .await?;
    if !any {
        return Ok(0);
    }
    // Only ended jobs expire.
    let dropped = sqlx::query(
        "DELETE FROM tikkun_jobs WHERE seq IN (
             SELECT seq FROM tikkun_jobs WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
    )
    .bind(now)
    .bind(max)
    .execute(database.writer()?)
    .await?;
    Ok(u32::try_from(dropped.rows_affected()).unwrap_or(u32::MAX))
}

/// The states whose jobs are kept for some time.
const KEPT: [JobState; 3] = [JobState::Finished, JobState::Failed, JobState::Canceled];

/// Deletes up to `max` ended jobs of queues that keep more than `budget`, the oldest first.
pub async fn trim(database: &Database, budget: Budget, max: u32) -> Result<u32, sqlx::Error> {
    if excesses(database.readers(), budget).await?.is_empty() {
        // Most calls end here, and take no lock.
        return Ok(0);
    }
    let mut tx = database.write().await?;
    let mut left = u64::from(max);
    // Counted again in the deleting transaction, so that two concurrent calls do not delete twice as many.
    for (queue, state, excess) in excesses(&mut *tx, budget).await? {
        let dropped = drop_oldest(&mut tx, (&queue, state), excess.min(left)).await?;
        left = left.saturating_sub(dropped);
    }
    tx.commit().await?;
    Ok(max.saturating_sub(u32::try_from(left).unwrap_or(u32::MAX)))
}

/// How many jobs exceed the budget, by queue and state.
async fn excesses(
    from: impl sqlx::SqliteExecutor<'_>,
    budget: Budget,
) -> Result<Vec<(String, JobState, u64)>, sqlx::Error> {
    // Triggers update the counts; one row per queue.
    let rows: Vec<(String, i64, i64, i64)> =
        sqlx::query_as("SELECT name, finished, failed, canceled FROM tikkun_queues").fetch_all(from).await?;
    let of_queue = |(queue, finished, failed, canceled): (String, i64, i64, i64)| {
        let limits = [budget.finished, budget.failed, budget.failed];
        let kept = [finished, failed, canceled].map(|count| u64::try_from(count).unwrap_or_default());
        let excess = move |((state, kept), limit): ((JobState, u64), u64)| {
            (limit > 0 && kept > limit).then(|| (queue.clone(), state, kept - limit))
        };
        KEPT.into_iter().zip(kept).zip(limits).filter_map(excess).collect::<Vec<_>>()
    };
    Ok(rows.into_iter().flat_map(of_queue).collect())
}

async fn drop_oldest(
    tx: &mut SqliteConnection,
    (queue, state): (&str, JobState),
    count: u64,
) -> Result<u64, sqlx::Error> {
    // The index contains only ended jobs, in the order of their end.
    let dropped = sqlx::query(
        "DELETE FROM tikkun_jobs WHERE seq IN (
             SELECT seq FROM tikkun_jobs WHERE queue = ?1 AND state = ?2 AND ended_at IS NOT NULL
             ORDER BY ended_at, seq LIMIT ?3)",
    )
    .bind(queue)
    .bind(state.as_str())
    .bind(i64::try_from(count).unwrap_or(i64::MAX))
    .execute(tx)
    .await?;
    Ok(dropped.rows_affected())
}
