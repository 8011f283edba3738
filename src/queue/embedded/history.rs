//! The attempts at a job. The last one is in the columns of the job's row, earlier ones in a short list in
//! the same row, so that they need no statement of their own.

use serde::Deserialize;

use crate::job::{JobId, JobState};

use super::database::{Database, time};
use super::row::{state, unreadable};
use crate::queue::seen::{AttemptOutcome, AttemptRecord};

/// SQL for `history` with one more entry: the row's attempt with this outcome, end and error. Of earlier
/// entries the newest 19 are kept, of an error the first 20,000 characters.
macro_rules! entry {
    ($outcome:literal, $ended:literal, $error:literal) => {
        concat!(
            "json_insert(iif(json_array_length(coalesce(history, '[]')) >= 19,
                             json_remove(history, '$[0]'), coalesce(history, '[]')), '$[#]',
                 json_object('number', attempt, 'process', process, 'started_at', started_at, 'ended_at', ",
            $ended,
            ", 'outcome', ",
            $outcome,
            ", 'error', substr(",
            $error,
            ", 1, 20000)))"
        )
    };
}
pub(super) use entry;

/// An entry written by [`entry`].
#[derive(Deserialize)]
struct Entry {
    number: u32,
    process: Option<String>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    outcome: AttemptOutcome,
    error: Option<String>,
}

/// The columns of a row that describe its attempts.
struct Told {
    state: String,
    attempt: u32,
    process: Option<String>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    error: Option<String>,
    stopped: bool,
    history: Option<String>,
}

impl From<Entry> for AttemptRecord {
    fn from(entry: Entry) -> Self {
        Self {
            number: Some(entry.number),
            runner: entry.process,
            started_at: entry.started_at.map(time),
            ended_at: entry.ended_at.map(time),
            outcome: entry.outcome,
            error: entry.error,
        }
    }
}

/// The attempts at a job, newest first; empty if there is no such job.
pub async fn attempts(database: &Database, id: &JobId) -> Result<Vec<AttemptRecord>, sqlx::Error> {
    // One row, so that the list and the last attempt are consistent.
    let told = sqlx::query_as(
        "SELECT state, attempt, process, started_at, ended_at, error, stopped, history
         FROM tikkun_jobs WHERE id = ?1",
    )
    .bind(id.as_str())
    .fetch_optional(database.people())
    .await?;
    let Some((state, attempt, process, started_at, ended_at, error, stopped, history)) = told else {
        return Ok(Vec::new());
    };
    Told { state, attempt, process, started_at, ended_at, error, stopped, history }.into_attempts()
}

impl Told {
    fn into_attempts(self) -> Result<Vec<AttemptRecord>, sqlx::Error> {
        let earlier: Vec<Entry> = self
            .history
            .as_deref()
            .map_or_else(|| Ok(Vec::new()), serde_json::from_str)
            .map_err(unreadable)?;
        let outcome = match state(&self.state)? {
            JobState::Started => Some(AttemptOutcome::Running),
            JobState::Finished => Some(AttemptOutcome::Finished),
            JobState::Failed if self.stopped => Some(AttemptOutcome::Stopped),
            JobState::Failed => Some(AttemptOutcome::Failed),
            // Waiting jobs, and jobs cancelled while waiting, have only the listed attempts.
            JobState::Queued | JobState::Scheduled | JobState::Canceled => None,
        };
        let last = outcome.filter(|_| self.attempt > 0).map(|outcome| AttemptRecord {
            number: Some(self.attempt),
            runner: self.process,
            started_at: self.started_at.map(time),
            ended_at: self.ended_at.map(time),
            outcome,
            // While the job runs, or after success, the error in the row is of an earlier attempt.
            error: self.error.filter(|_| matches!(outcome, AttemptOutcome::Failed | AttemptOutcome::Stopped)),
        });
        Ok(last.into_iter().chain(earlier.into_iter().rev().map(AttemptRecord::from)).collect())
    }
}
