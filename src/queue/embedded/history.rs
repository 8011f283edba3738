//! The attempts at a job: the last one is told by the job's row, those before it by a short list in the same row, so
//! that keeping them needs no statement and no round trip of its own.

use serde::Deserialize;

use crate::job::{JobId, JobState};

use super::database::{Database, time};
use super::row::{state, unreadable};
use crate::queue::seen::{AttemptOutcome, AttemptRecord};

/// SQL for `history` with one entry more: the attempt that the row describes, with this outcome, end and error. Of
/// earlier ones the newest 19 stay, of an error its first 20,000 characters.
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

/// An entry as [`entry`] writes it.
#[derive(Deserialize)]
struct Entry {
    number: u32,
    process: Option<String>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    outcome: AttemptOutcome,
    error: Option<String>,
}

/// The attempts that a row describes.
#[derive(sqlx::FromRow)]
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

/// The attempts at a job, newest first; none of a job that is not there.
pub async fn attempts(database: &Database, id: &JobId) -> Result<Vec<AttemptRecord>, sqlx::Error> {
    // One row, so that the list and the last attempt are of one moment.
    let told: Option<Told> = sqlx::query_as(
        "SELECT state, attempt, process, started_at, ended_at, error, stopped, history
         FROM tikkun_jobs WHERE id = ?1",
    )
    .bind(id.as_str())
    .fetch_optional(database.people())
    .await?;
    told.map_or_else(|| Ok(Vec::new()), Told::into_attempts)
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
            // What waits or was taken out while it waited has no attempt beyond those that are listed.
            JobState::Queued | JobState::Scheduled | JobState::Canceled => None,
        };
        let last = outcome.filter(|_| self.attempt > 0).map(|outcome| AttemptRecord {
            number: Some(self.attempt),
            runner: self.process,
            started_at: self.started_at.map(time),
            ended_at: self.ended_at.map(time),
            outcome,
            // While it runs, or has ended well, the row's error is an earlier one's.
            error: self.error.filter(|_| matches!(outcome, AttemptOutcome::Failed | AttemptOutcome::Stopped)),
        });
        Ok(last.into_iter().chain(earlier.into_iter().rev().map(AttemptRecord::from)).collect())
    }
}
