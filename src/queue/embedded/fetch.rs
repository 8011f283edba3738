//! Jobs go out: lent to a process under its lease.
//!
//! A caller may stop listening while the answer is on its way. What it was lent then would be nobody's
//! while the process lives, so it goes back by itself.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::job::{ProcessId, QueueEnd, QueueName};

use super::database::{Database, now};
use super::row::JobRow;
use super::settle::settle;
use crate::queue::delivery::{Delivery, Disposition, Settlement};

/// Deliveries nobody has received yet. Dropped: they go back to the head of their queue.
pub struct Lent {
    deliveries: Vec<Delivery>,
    database: Arc<Database>,
}

impl Lent {
    /// They are in the caller's hands.
    pub fn received(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (deliveries, database) = (std::mem::take(&mut self.deliveries), Arc::clone(&self.database));
        let Some(runtime) = Handle::try_current().ok().filter(|_| !deliveries.is_empty()) else { return };
        // The last goes first: then the first is at the head again.
        let returned: Vec<_> = deliveries.into_iter().rev().map(give_back).collect();
        runtime.spawn(async move {
            if let Err(error) = settle(&database, &returned).await {
                tracing::warn!(%error, jobs = returned.len(), "jobs were fetched for nobody and could not go back");
            }
        });
    }
}

fn give_back(delivery: Delivery) -> Settlement {
    Settlement {
        job: delivery.job.id,
        queue: delivery.job.queue,
        execution: delivery.execution,
        verdict: Disposition::Release { end: QueueEnd::Head },
        remark: None,
    }
}

/// Lends up to `max` jobs. Run it as a task of its own: half of it must not happen.
pub async fn fetch(
    database: Arc<Database>,
    queue: QueueName,
    max: u32,
    process: ProcessId,
) -> Result<Lent, sqlx::Error> {
    // One statement is one transaction: no other fetch sees a job of it still queued, and without a
    // live lease, or from a paused queue, it finds nothing.
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
    // Rows come back in no order that SQLite promises.
    rows.sort_by_key(|row| row.position);
    let mut lent = Lent { deliveries: Vec::with_capacity(rows.len()), database };
    for row in rows {
        let (delivery, _) = row.into_delivery()?;
        lent.deliveries.push(delivery);
    }
    if !lent.deliveries.is_empty() {
        crate::failpoint::reach("queue.fetch.after_commit");
    }
    Ok(lent)
}
