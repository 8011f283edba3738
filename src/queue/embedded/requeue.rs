//! Puts failed and cancelled jobs back into their queues at a user's request.

use sqlx::sqlite::SqliteConnection;

use crate::job::{JobId, JobState, QueueEnd, QueueName};

use super::database::{Database, now};
use super::history::entry;
use super::place::Places;
use super::row::state;
use super::unique;
use crate::queue::delivery::Requeued;

/// The answers, and the queues that got a job.
pub struct Answers {
    /// In the order of the ids.
    pub answers: Vec<Requeued>,
    /// The queues to ring for.
    pub queues: Vec<QueueName>,
}

/// Puts failed and cancelled jobs back at the tail of their queues, all in one transaction.
pub async fn requeue(database: &Database, ids: &[JobId]) -> Result<Answers, sqlx::Error> {
    let mut done = Answers { answers: Vec::with_capacity(ids.len()), queues: Vec::new() };
    let mut tx = database.write().await?;
    let mut places = Places::default();
    for id in ids {
        let answer = match look(&mut tx, id).await? {
            None => Requeued::Missing,
            Some((queue, state, key)) => match refusal(&mut tx, id, state, key.as_deref()).await? {
                Some(refused) => refused,
                None => {
                    let position = places.next(&mut tx, &queue, QueueEnd::Tail).await?;
                    put_back(&mut tx, id, position).await?;
                    done.queues.push(queue.into());
                    Requeued::Waits
                }
            },
        };
        done.answers.push(answer);
    }
    tx.commit().await?;
    Ok(done)
}

/// A job's queue, state and unique key.
async fn look(
    tx: &mut SqliteConnection,
    id: &JobId,
) -> Result<Option<(String, JobState, Option<String>)>, sqlx::Error> {
    // Read in the transaction that changes the job.
    let row: Option<(String, String, Option<String>)> =
        sqlx::query_as("SELECT queue, state, unique_key FROM tikkun_jobs WHERE id = ?1")
            .bind(id.as_str())
            .fetch_optional(tx)
            .await?;
    row.map(|(queue, word, key)| Ok((queue, state(&word)?, key))).transpose()
}

/// Why the job is not put back; if it is, takes its key again.
async fn refusal(
    tx: &mut SqliteConnection,
    id: &JobId,
    state: JobState,
    key: Option<&str>,
) -> Result<Option<Requeued>, sqlx::Error> {
    if !matches!(state, JobState::Failed | JobState::Canceled) {
        return Ok(Some(Requeued::Is(state)));
    }
    let Some(key) = key else { return Ok(None) };
    Ok(unique::reclaim(tx, id, key).await?.map(Requeued::Duplicate))
}

async fn put_back(tx: &mut SqliteConnection, id: &JobId, position: i64) -> Result<(), sqlx::Error> {
    // Its earlier attempts are kept; its end is cleared, and its last attempt goes to the history.
    sqlx::query(concat!(
        "UPDATE tikkun_jobs
         SET state = 'queued', position = ?2, to_head = 0, enqueued_at = ?3, due_at = NULL,
             ended_at = NULL, expires_at = NULL, stopped = 0,
             history = CASE WHEN state = 'failed' THEN ",
        entry!("iif(stopped, 'stopped', 'failed')", "ended_at", "error"),
        " ELSE history END
         WHERE id = ?1 AND state IN ('failed', 'canceled')",
    ))
    .bind(id.as_str())
    .bind(position)
    .bind(now())
    .execute(tx)
    .await?;
    Ok(())
}
