//! Requests to stop running jobs. A request is stored in the file until the process that runs the job has
//! read it: at once if that is this process, at its next check if it is another.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::job::{ExecutionId, JobId, JobState, ProcessId};

use super::database::{Database, now};
use super::row::state;
use crate::queue::delivery::{Order, StopAsked};

/// How often requests from other processes are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Wakes those who wait for requests in this process.
#[derive(Debug, Default)]
pub struct Stops(Notify);

impl Stops {
    /// Stores a request to stop a running job.
    pub async fn ask(&self, database: &Database, id: &JobId) -> Result<StopAsked, sqlx::Error> {
        let mut tx = database.write().await?;
        // Read under the lock, so that the request is for the execution that was found.
        let row: Option<(String, Option<String>, Option<String>)> =
            sqlx::query_as("SELECT state, execution, process FROM tikkun_jobs WHERE id = ?1")
                .bind(id.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let Some((word, execution, process)) = row else { return Ok(StopAsked::Missing) };
        let (JobState::Started, Some(execution), Some(process)) = (state(&word)?, execution, process) else {
            return Ok(StopAsked::Is(state(&word)?));
        };
        // First deletes requests for jobs that have ended, so that at most one per running job is stored.
        sqlx::query(
            "DELETE FROM tikkun_stops
             WHERE execution NOT IN (SELECT execution FROM tikkun_jobs WHERE state = 'started')",
        )
        .execute(&mut *tx)
        .await?;
        // A second request changes nothing.
        sqlx::query(
            "INSERT INTO tikkun_stops (execution, job, process, asked_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (execution) DO NOTHING",
        )
        .bind(execution)
        .bind(id.as_str())
        .bind(process)
        .bind(now())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.0.notify_waiters();
        Ok(StopAsked::Told)
    }

    /// The requests to `process`, as soon as there are any; empty after `patience`.
    pub async fn next(
        &self,
        database: &Database,
        process: &ProcessId,
        patience: Duration,
    ) -> Result<Vec<Order>, sqlx::Error> {
        let end = Instant::now() + patience;
        loop {
            let mut rung = pin!(self.0.notified());
            // Listening begins before the query, so that a request which arrives in between rings.
            rung.as_mut().enable();
            let orders = take(database, process).await?;
            if !orders.is_empty() || Instant::now() >= end {
                return Ok(orders);
            }
            // Notified, or time for the next check.
            let _ = timeout_at(end.min(Instant::now() + LOOK_EVERY), rung).await;
        }
    }
}

async fn take(database: &Database, process: &ProcessId) -> Result<Vec<Order>, sqlx::Error> {
    // Most checks find nothing, and take no lock.
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_stops WHERE process = ?1)")
        .bind(process.as_str())
        .fetch_one(database.readers())
        .await?;
    if !any {
        return Ok(Vec::new());
    }
    // One statement reads and deletes, so that a request is carried out once.
    let asked: Vec<(String, String)> =
        sqlx::query_as("DELETE FROM tikkun_stops WHERE process = ?1 RETURNING job, execution")
            .bind(process.as_str())
            .fetch_all(database.writer()?)
            .await?;
    let order = |(job, execution): (String, String)| Order::Stop {
        job: JobId::from(job),
        lent: vec![ExecutionId::from(execution)],
        others: Vec::new(),
    };
    Ok(asked.into_iter().map(order).collect())
}
