//! Writes a job into its row and reads it back.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};

use crate::job::{
    Args, ArgsError, Callbacks, ExecutionId, JobRecord, JobState, Limit, NewJob, ProcessId, QueueEnd,
    Retries, Webhooks,
};

use super::database::{millis, time};
use crate::queue::delivery::Delivery;

/// The stored form of an unlimited duration, as in RQ.
const NEVER: i64 = -1;

/// A row of `tikkun_jobs`, with the columns that the port needs.
#[derive(Debug)]
pub struct JobRow {
    /// Its position in its queue.
    pub position: i64,
    /// Its last delivery.
    pub execution: Option<String>,
    /// The process that got it.
    pub process: Option<String>,
    id: String,
    queue: String,
    kind: String,
    args: String,
    state: String,
    attempt: u32,
    failures: u32,
    orphaned: u32,
    retries_asked: u32,
    timeout_ms: Option<i64>,
    retries_left: Option<u32>,
    retry_intervals: Option<String>,
    result_ttl_ms: Option<i64>,
    failure_ttl_ms: Option<i64>,
    created_at: i64,
    enqueued_at: Option<i64>,
    due_at: Option<i64>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    result: Option<String>,
    error: Option<String>,
    stopped: bool,
    meta: String,
}

impl FromRow<'_, SqliteRow> for JobRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get("position")?,
            execution: row.try_get("execution")?,
            process: row.try_get("process")?,
            id: row.try_get("id")?,
            queue: row.try_get("queue")?,
            kind: row.try_get("kind")?,
            args: row.try_get("args")?,
            state: row.try_get("state")?,
            attempt: row.try_get("attempt")?,
            failures: row.try_get("failures")?,
            orphaned: row.try_get("orphaned")?,
            retries_asked: row.try_get("retries_asked")?,
            timeout_ms: row.try_get("timeout_ms")?,
            retries_left: row.try_get("retries_left")?,
            retry_intervals: row.try_get("retry_intervals")?,
            result_ttl_ms: row.try_get("result_ttl_ms")?,
            failure_ttl_ms: row.try_get("failure_ttl_ms")?,
            created_at: row.try_get("created_at")?,
            enqueued_at: row.try_get("enqueued_at")?,
            due_at: row.try_get("due_at")?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
            result: row.try_get("result")?,
            error: row.try_get("error")?,
            stopped: row.try_get("stopped")?,
            meta: row.try_get("meta")?,
        })
    }
}

impl JobRow {
    /// The job. An unreadable part is an error inside it, or `None`, as on Redis. It is no error of the
    /// query, because that would hide the jobs beside it.
    pub fn into_record(self) -> Result<JobRecord, sqlx::Error> {
        let args = serde_json::from_str::<Args>(&self.args)
            .map_err(|error| ArgsError::undecodable(&self.args, error.to_string()));
        Ok(JobRecord {
            id: self.id.into(),
            queue: self.queue.into(),
            kind: self.kind.into(),
            args,
            state: state(&self.state)?,
            attempt: self.attempt,
            failures: self.failures,
            orphaned: self.orphaned,
            retries_asked: self.retries_asked,
            timeout: self.timeout_ms.map(limit),
            retries: retries(self.retries_left, self.retry_intervals.as_deref()),
            result_ttl: self.result_ttl_ms.map(limit),
            failure_ttl: self.failure_ttl_ms.map(limit),
            created_at: time(self.created_at),
            enqueued_at: self.enqueued_at.map(time),
            due_at: self.due_at.map(time),
            started_at: self.started_at.map(time),
            ended_at: self.ended_at.map(time),
            result: self.result.as_deref().map(result),
            error: self.error,
            stopped: self.stopped,
            meta: serde_json::from_str(&self.meta).unwrap_or_default(),
            callbacks: Callbacks::default(),
            webhooks: Webhooks::default(),
            remark: None,
        })
    }

    /// The job, folded, for a list.
    pub fn into_folded(self) -> Result<JobRecord, sqlx::Error> {
        self.into_record().map(JobRecord::folded)
    }

    /// The delivery, folded, and its process.
    pub fn into_delivery(mut self) -> Result<(Delivery, ProcessId), sqlx::Error> {
        let execution = ExecutionId::from(self.execution.take().unwrap_or_default());
        let process = ProcessId::from(self.process.take().unwrap_or_default());
        Ok((Delivery { job: self.into_record()?.folded(), execution, hash: None }, process))
    }
}

/// The state with the stored name `word`.
pub fn state(word: &str) -> Result<JobState, sqlx::Error> {
    JobState::parse(word).ok_or_else(|| sqlx::Error::Decode(format!("`{word}` is no state of a job").into()))
}

/// The error for text in the file that we did not write.
pub fn unreadable(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// Rows for `json_each`: one parameter has the whole batch, so that one prepared statement is enough.
pub fn batch(rows: &[impl Serialize]) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// An error as it can be stored: SQLite ends a text that it takes out of JSON at the first NUL.
pub fn whole(error: &str) -> Cow<'_, str> {
    if error.contains('\0') { error.replace('\0', "\u{fffd}").into() } else { error.into() }
}

fn limit(stored: i64) -> Limit {
    u64::try_from(stored).map_or(Limit::Never, |millis| Limit::After(Duration::from_millis(millis)))
}

fn stored(limit: Limit) -> i64 {
    limit.duration().map_or(NEVER, millis)
}

fn retries(left: Option<u32>, intervals: Option<&str>) -> Option<Retries> {
    let intervals: Vec<u64> = intervals.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Some(Retries { left: left?, intervals: intervals.into_iter().map(Duration::from_millis).collect() })
}

fn result(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| Value::String(format!("(unreadable: {error})")))
}

/// The values of a new row, with the names that the statement uses.
#[derive(Debug, Serialize)]
pub struct NewRow<'a> {
    id: &'a str,
    queue: &'a str,
    kind: &'a str,
    args: &'a Args,
    state: &'static str,
    position: i64,
    to_head: bool,
    timeout_ms: Option<i64>,
    retries_left: Option<u32>,
    retry_intervals: Option<Vec<i64>>,
    result_ttl_ms: Option<i64>,
    failure_ttl_ms: Option<i64>,
    enqueued_at: Option<i64>,
    due_at: Option<i64>,
    unique_key: Option<&'a str>,
    meta: &'a Map<String, Value>,
}

impl<'a> NewRow<'a> {
    /// A job that is queued at `position`.
    pub fn queued(job: &'a NewJob, position: i64, now: i64) -> Self {
        Self {
            state: JobState::Queued.as_str(),
            position,
            enqueued_at: Some(now),
            ..Self::scheduled(job, None)
        }
    }

    /// A job that is scheduled for `due_at`.
    pub fn scheduled(job: &'a NewJob, due_at: Option<i64>) -> Self {
        let retries = job.retries.as_ref();
        Self {
            id: job.id.as_str(),
            queue: job.queue.as_str(),
            kind: job.kind.as_str(),
            args: &job.args,
            state: JobState::Scheduled.as_str(),
            position: 0,
            to_head: job.end == QueueEnd::Head,
            timeout_ms: job.timeout.map(stored),
            retries_left: retries.map(|retries| retries.left),
            retry_intervals: retries.map(|retries| retries.intervals.iter().copied().map(millis).collect()),
            result_ttl_ms: job.result_ttl.map(stored),
            failure_ttl_ms: job.failure_ttl.map(stored),
            enqueued_at: None,
            due_at,
            unique_key: job.unique.as_ref().map(|unique| unique.key.as_str()),
            meta: &job.meta,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_written() {
        for one in [Limit::Never, Limit::After(Duration::ZERO), Limit::After(Duration::from_secs(86_400))] {
            assert_eq!(limit(stored(one)), one);
        }
        assert_eq!(stored(Limit::Never), -1, "as RQ writes it");
    }
}
