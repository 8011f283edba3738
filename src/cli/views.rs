//! Jobs as the command line shows them: the same facts in tables and in JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::job::background::{BackgroundJob, PauseReason, Status};
use crate::job::{JobRecord, Limit};

/// A named value.
pub(super) type Fact = (&'static str, Value);

/// The facts of a queue job.
pub(super) fn queue_job(job: &JobRecord) -> Vec<Fact> {
    let args = match &job.args {
        Ok(args) => json!(args),
        Err(error) => json!({ "error": error.to_string() }),
    };
    vec![
        ("id", json!(job.id)),
        ("queue", json!(job.queue)),
        ("function", json!(job.kind)),
        ("args", args),
        ("state", json!(job.state)),
        ("attempt", json!(job.attempt)),
        ("failures", json!(job.failures)),
        ("orphaned", json!(job.orphaned)),
        ("retries_asked", json!(job.retries_asked)),
        ("timeout_seconds", limit(job.timeout)),
        ("retries_left", json!(job.retries.as_ref().map(|retries| retries.left))),
        ("result_ttl_seconds", limit(job.result_ttl)),
        ("failure_ttl_seconds", limit(job.failure_ttl)),
        ("created_at", json!(time(job.created_at))),
        ("enqueued_at", json!(job.enqueued_at.map(time))),
        ("due_at", json!(job.due_at.map(time))),
        ("started_at", json!(job.started_at.map(time))),
        ("ended_at", json!(job.ended_at.map(time))),
        ("result", json!(job.result)),
        ("error", json!(job.error)),
        ("remark", json!(job.remark)),
    ]
}

/// The facts of a row of `background_jobs` and of our note on it.
pub(super) fn background_job(job: &BackgroundJob) -> Vec<Fact> {
    let (progress, note) = (&job.progress, &job.note);
    vec![
        ("job_id", json!(job.id)),
        ("job_type", json!(job.job_type)),
        ("business_id", json!(job.business_id)),
        ("requested_by_user_id", json!(job.requested_by_user_id)),
        ("status", json!(job.status)),
        ("total", json!(progress.total)),
        ("processed", json!(progress.processed)),
        ("succeeded", json!(progress.succeeded)),
        ("failed_count", json!(progress.failed)),
        ("percent", json!(progress.percent())),
        ("last_error", json!(job.last_error)),
        ("cursor", json!(job.cursor)),
        ("created_at", json!(job.created_at.map(time))),
        ("updated_at", json!(job.updated_at.map(time))),
        ("started_at", json!(job.started_at.map(time))),
        ("finished_at", json!(job.finished_at.map(time))),
        ("heartbeat_at", json!(job.heartbeat_at.map(time))),
        ("attempt", json!(note.attempt)),
        ("queue_job", json!(note.queue_job)),
        ("paused_by", json!(paused_by(job))),
        ("waiting_for", json!(note.waiting_for)),
        ("rate_per_second", json!(note.rate)),
        ("eta_seconds", json!(note.eta_seconds)),
        ("changed_by", json!(note.changed_by)),
    ]
}

/// Why a row is paused. Without a reason it was paused by the web application, for a user.
pub(super) fn paused_by(job: &BackgroundJob) -> Option<PauseReason> {
    (job.status == Status::Paused).then(|| job.note.pause_reason.unwrap_or(PauseReason::Person))
}

/// A time limit in seconds, in RQ's convention: -1 means no limit.
fn limit(limit: Option<Limit>) -> Value {
    match limit {
        None => Value::Null,
        Some(Limit::Never) => json!(-1),
        Some(Limit::After(duration)) => json!(duration.as_secs_f64()),
    }
}

/// The time in UTC, in whole seconds.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
