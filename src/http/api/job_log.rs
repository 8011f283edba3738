//! `/api/v1/jobs/{id}/log`: the log lines of a job that this process has kept.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::details::ProblemDetails;
use crate::http::views::time;
use crate::job_log::JobLog;
use crate::queue::ProcessRecord;

/// The explanation in every response.
const ABOUT: &str = "Lines that this process has written since its start; other processes keep their own.";

/// The kept lines, and the process that keeps them.
pub(in crate::http) struct JobLogReader {
    /// The kept lines.
    pub(in crate::http) log: Arc<JobLog>,
    /// The process that keeps it.
    pub(in crate::http) process: ProcessRecord,
}

/// The log lines of a job.
#[derive(Serialize, ToSchema)]
pub(super) struct JobLogView {
    /// Oldest first; empty if the job has not run in this process.
    lines: Vec<JobLogLine>,
    /// How many earlier lines are no longer kept.
    dropped: u64,
    /// The process that answered.
    process: String,
    /// When it started.
    since: String,
    /// An explanation.
    #[schema(value_type = String)]
    about: &'static str,
}

/// One log line.
#[derive(Serialize, ToSchema)]
pub(super) struct JobLogLine {
    /// The time.
    #[schema(example = "2026-01-28T19:00:00.123Z")]
    at: String,
    /// The log level: `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    #[schema(value_type = String, example = "INFO")]
    level: &'static str,
    /// Message and fields, masked as in the log.
    text: Box<str>,
}

/// Log lines of one job that this process has written since its start
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
