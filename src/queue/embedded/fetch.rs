//! Fetches jobs: lends them to a process under its lease.

use std::sync::Arc;

use super::database::{Database, fault, now};
use super::row::JobRow;
use super::settle::settle;
use crate::job::{ProcessId, QueueName};
use crate::queue::lent::Lent;

/// Lends up to `max` jobs. Run it as its own task, because it must not be cancelled half-way.
pub async fn fetch(
    database: Arc<Database>,
    queue: QueueName,
    max: u32,
    process: ProcessId,
) -> Result<Lent, sqlx::Error> {
    // One statement is one transaction: no other fetch sees these jobs as queued, and without a valid lease,
    // or from a paused queue, it finds none.
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
    .fetch_all(database.writer()?)
    .await?;
    // SQLite returns the rows in no defined order.
    rows.sort_by_key(|row| row.position);
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
