//! Lends jobs to a process under its lease, and settles those that it has run, each alone or both in one transaction.

use std::sync::Arc;

use sqlx::{Executor, Sqlite};

use super::database::{Database, fault, now};
use super::row::JobRow;
use super::settle;
use crate::job::{ProcessId, QueueName};
use crate::queue::delivery::{Settled, Settlement};
use crate::queue::lent::Lent;
use crate::sqlite::Transaction;

/// The bytes of a page: what is shorter seldom makes the file longer.
const LONG: usize = 4096;

/// Lends up to `max` jobs. Run it as its own task, because it must not be cancelled half-way.
pub async fn fetch(
    database: Arc<Database>,
    queue: QueueName,
    max: u32,
    process: ProcessId,
) -> Result<Lent, sqlx::Error> {
    // One statement is one transaction.
    let rows = take(database.writer()?, &queue, max, &process).await?;
    lend(database, rows)
}

/// Settles deliveries.
pub async fn settle(database: &Database, settlements: &[Settlement]) -> Result<Vec<Settled>, sqlx::Error> {
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    database.has_room_to_end(weight(settlements)).await?;
    let mut tx = database.write().await?;
    let answers = settle::settle(&mut tx, settlements).await?;
    commit(tx).await?;
    Ok(answers)
}

/// Settles deliveries, and then lends up to `max` jobs, in one transaction. Run it as its own task, too.
pub async fn exchange(
    database: Arc<Database>,
    settlements: Vec<Settlement>,
    queue: QueueName,
    max: u32,
    process: ProcessId,
) -> Result<(Vec<Settled>, Lent), sqlx::Error> {
    database.has_room_to_end(weight(&settlements)).await?;
    let mut tx = database.write().await?;
    let answers = settle::settle(&mut tx, &settlements).await?;
    let rows = take(&mut *tx, &queue, max, &process).await?;
    commit(tx).await?;
    Ok((answers, lend(database, rows)?))
}

/// The bytes of all long results and errors.
fn weight(settlements: &[Settlement]) -> usize {
    settlements.iter().map(Settlement::weight).filter(|bytes| *bytes >= LONG).sum()
}

async fn commit(tx: Transaction) -> Result<(), sqlx::Error> {
    crate::failpoint::reach("queue.settle.before_commit");
    tx.commit().await?;
    crate::failpoint::reach("queue.settle.after_commit");
    Ok(())
}

/// Marks jobs as lent. No other fetch sees them as queued, and without a valid lease, or from a paused queue, it
/// finds none.
async fn take(
    executor: impl Executor<'_, Database = Sqlite>,
    queue: &QueueName,
    max: u32,
    process: &ProcessId,
) -> Result<Vec<JobRow>, sqlx::Error> {
    let mut rows: Vec<JobRow> = sqlx::query_as(
        "UPDATE tikkun_jobs
         SET state = 'started', attempt = attempt + 1, execution = lower(hex(randomblob(16))), process = ?3,
             started_at = ?4
         WHERE seq IN (SELECT seq FROM tikkun_jobs WHERE state = 'queued' AND queue = ?1
                       ORDER BY position LIMIT ?2)
           AND EXISTS (SELECT 1 FROM tikkun_processes WHERE id = ?3 AND NOT lost AND lease_until > ?4)
           AND NOT EXISTS (SELECT 1 FROM tikkun_paused_queues WHERE name = ?1)
         RETURNING *",
    )
    .bind(queue.as_str())
    .bind(max)
    .bind(process.as_str())
    .bind(now())
    .fetch_all(executor)
    .await?;
    // SQLite returns the rows in no defined order.
    rows.sort_by_key(|row| row.position);
    Ok(rows)
}

fn lend(database: Arc<Database>, rows: Vec<JobRow>) -> Result<Lent, sqlx::Error> {
    let mut lent = Lent::new(Vec::with_capacity(rows.len()), async move |returned| {
        let settled = settle(&database, &returned).await;
        settled.map(drop).map_err(|error| fault(error, "give jobs back"))
    });
    for row in rows {
        let (delivery, _) = row.into_delivery()?;
        lent.deliveries.push(delivery);
    }
    if !lent.deliveries.is_empty() {
        crate::failpoint::reach("queue.fetch.after_commit");
    }
    Ok(lent)
}
