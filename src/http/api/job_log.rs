//! `/api/v1/jobs/{id}/log`: what this process has logged while it ran a job.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::details::ProblemDetails;
use crate::http::views::time;
use crate::job_log::JobLog;
use crate::queue::ProcessRecord;

/// What is true of every answer.
const ABOUT: &str = "Lines that this process has written since its start; other processes keep their own.";

/// The lines, and whose they are.
pub(in crate::http) struct JobLogReader {
    /// What is kept.
    pub(in crate::http) log: Arc<JobLog>,
    /// The process that keeps it.
    pub(in crate::http) process: ProcessRecord,
}

/// Log lines of a job.
#[derive(Serialize, ToSchema)]
pub(super) struct JobLogView {
    /// Oldest first; none where the job has not run in this process since its start.
    lines: Vec<JobLogLine>,
    /// Lines before those, which are not kept any more.
    dropped: u64,
    /// The process that answers.
    process: String,
    /// When it started.
    since: String,
    /// What these lines are.
    #[schema(value_type = String)]
    about: &'static str,
}

/// One line.
#[derive(Serialize, ToSchema)]
pub(super) struct JobLogLine {
    /// When.
    #[schema(example = "2026-01-28T19:00:00.123Z")]
    at: String,
    /// How loud: `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    #[schema(value_type = String, example = "INFO")]
    level: &'static str,
    /// Message and fields, masked as in the log.
    text: Box<str>,
}

/// Log lines of one job, as this process has written them since its start
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobLogView), (status = 401, body = ProblemDetails)))]
pub(super) async fn log(reader: web::Data<JobLogReader>, id: web::Path<String>) -> HttpResponse {
    let kept = reader.log.of(&id);
    let line = |line: crate::job_log::JobLine| JobLogLine {
        at: line.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        level: line.level,
        text: line.text,
    };
    HttpResponse::Ok().json(JobLogView {
        lines: kept.lines.into_iter().map(line).collect(),
        dropped: kept.dropped,
        process: reader.process.id.to_string(),
        since: time(reader.process.started_at),
        about: ABOUT,
    })
}
