//! Running jobs that a person asks to stop. The request lies in the file until the process that runs the job has read
//! it: at once where that is this process, at its next look where it is another.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::job::{ExecutionId, JobId, JobState, ProcessId};

use super::database::{Database, now};
use super::row::state;
use crate::queue::delivery::{Order, StopAsked};

/// How soon a request from another process is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Wakes those who listen in this process.
#[derive(Debug, Default)]
pub struct Stops(Notify);

impl Stops {
    /// Writes down that a running job shall stop.
    pub async fn ask(&self, database: &Database, id: &JobId) -> Result<StopAsked, sqlx::Error> {
        let mut tx = database.write().await?;
        // Under the lock, so that what is stopped is what was looked at.
        let row: Option<(String, Option<String>, Option<String>)> =
            sqlx::query_as("SELECT state, execution, process FROM tikkun_jobs WHERE id = ?1")
                .bind(id.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let Some((word, execution, process)) = row else { return Ok(StopAsked::Missing) };
        let (JobState::Started, Some(execution), Some(process)) = (state(&word)?, execution, process) else {
            return Ok(StopAsked::Is(state(&word)?));
        };
        // Wishes for what has ended meanwhile go first, so that no more are kept than jobs run.
        sqlx::query(
            "DELETE FROM tikkun_stops
             WHERE execution NOT IN (SELECT execution FROM tikkun_jobs WHERE state = 'started')",
        )
        .execute(&mut *tx)
        .await?;
        // Asked twice it is one request.
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

    /// What `process` is asked to stop, as soon as there is something; empty after `patience`.
    pub async fn next(
        &self,
        database: &Database,
        process: &ProcessId,
        patience: Duration,
    ) -> Result<Vec<Order>, sqlx::Error> {
        let end = Instant::now() + patience;
        loop {
            let mut rung = pin!(self.0.notified());
            // Listening begins here, before the look: what comes in between rings.
            rung.as_mut().enable();
            let orders = take(database, process).await?;
            if !orders.is_empty() || Instant::now() >= end {
                return Ok(orders);
            }
            // Rung for, or time for another look: both lead to the same.
            let _ = timeout_at(end.min(Instant::now() + LOOK_EVERY), rung).await;
        }
    }
}

async fn take(database: &Database, process: &ProcessId) -> Result<Vec<Order>, sqlx::Error> {
    // Most looks find nothing: those take no lock.
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_stops WHERE process = ?1)")
        .bind(process.as_str())
        .fetch_one(database.readers())
        .await?;
    if !any {
        return Ok(Vec::new());
    }
    // One statement reads and removes, so that a request is carried out once.
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
