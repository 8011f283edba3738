//! `/api/v1/jobs/{id}`: one job with its attempts, and stopping it.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::details::{Details, ProblemDetails};
use super::jobs::JobSummary;
use crate::http::facade::Facade;
use crate::http::views::time;
use crate::job::exact::Shown;
use crate::job::{JobId, JobRecord, JobState, Limit};
use crate::operations::Queues;
use crate::queue::{AttemptOutcome, AttemptRecord};

/// Everything known about a job.
#[derive(Serialize, ToSchema)]
pub(super) struct JobDetail {
    #[serde(flatten)]
    summary: JobSummary,
    /// Its arguments, or why they cannot be read.
    args: Value,
    /// The arguments as they were written, for display. Programs that read numbers as JavaScript does round
    /// those of more than 53 bits, and take `1.0` for `1`.
    #[schema(example = "(27, ratio=1.0)")]
    args_text: String,
    /// Its result.
    result: Option<Value>,
    /// The result as it was written.
    result_text: Option<String>,
    /// Why its last attempt failed, in full.
    error_text: Option<String>,
    /// How many times its process died while it ran.
    orphaned: u32,
    /// How many times it was run again because it asked for that by what it returned.
    retries_asked: u32,
    /// The time limit of one attempt in seconds; -1 for none.
    timeout_seconds: Option<f64>,
    /// How many of its retries are left.
    retries_left: Option<u32>,
    /// The id of the deletion that it works on.
    deletion: Option<i64>,
    /// Its events, oldest first.
    timeline: Vec<Moment>,
    /// The newest attempts, newest first. Attempts that gave the job back unfinished are not listed, and on
    /// Redis neither are those whose process died.
    attempts: Vec<AttemptView>,
}

/// An event of a job.
#[derive(Serialize, ToSchema)]
pub(super) struct Moment {
    /// The time.
    at: String,
    /// `created`, `enqueued`, `due`, `started`, `stopped` or the state in which it ended.
    #[schema(example = "started")]
    event: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct AttemptView {
    /// Its number, if known.
    number: Option<u32>,
    /// The process that ran it, or RQ's name of the worker.
    runner: Option<String>,
    /// When it started.
    started_at: Option<String>,
    /// When it ended.
    ended_at: Option<String>,
    /// Its duration, in milliseconds.
    took_ms: Option<i64>,
    /// `running`, `finished`, `failed`, `retried` because it asked for that, `stopped` by a user, or `lost` with its
    /// process.
    #[schema(value_type = String, example = "failed")]
    outcome: AttemptOutcome,
    /// Why it failed, in full.
    error: Option<String>,
}

/// The request to stop a job has been accepted.
#[derive(Serialize, ToSchema)]
pub(super) struct StopRequested {
    /// The job.
    id: String,
    /// Its state at the time of the request; read the job again to see how it ended.
    #[schema(example = "started")]
    state: &'static str,
    /// Whether the worker that runs it was asked.
    asked: bool,
}

impl AttemptView {
    fn new(attempt: AttemptRecord) -> Self {
        let took = attempt.ended_at.zip(attempt.started_at).map(|(end, start)| end - start);
        Self {
            number: attempt.number,
            runner: attempt.runner,
            started_at: attempt.started_at.map(time),
            ended_at: attempt.ended_at.map(time),
            took_ms: took.map(|took| took.num_milliseconds().max(0)),
            outcome: attempt.outcome,
            error: attempt.error,
        }
    }
}

impl JobDetail {
    fn new(job: JobRecord, attempts: Vec<AttemptRecord>, deletion: Option<i64>) -> Self {
        let (args, args_text) = match &job.args {
            Ok(args) => (serde_json::to_value(args).unwrap_or(Value::Null), args.in_full()),
            Err(error) => (serde_json::json!({ "error": error.to_string() }), error.to_string()),
        };
        Self {
            summary: JobSummary::new(&job),
            args,
            args_text,
            result_text: job.result.as_ref().map(in_full),
            orphaned: job.orphaned,
            retries_asked: job.retries_asked,
            timeout_seconds: job.timeout.map(|limit| match limit {
                Limit::Never => -1.0,
                Limit::After(time) => time.as_secs_f64(),
            }),
            retries_left: job.retries.as_ref().map(|retries| retries.left),
            deletion,
            timeline: timeline(&job),
            attempts: attempts.into_iter().map(AttemptView::new).collect(),
            result: job.result,
            error_text: job.error,
        }
    }
}

/// A result for display: indented JSON if that can represent it exactly, else in Python's notation.
fn in_full(result: &Value) -> String {
    let shown = Shown(result).to_string();
    let is_plain = serde_json::to_string(result).is_ok_and(|plain| plain == shown);
    serde_json::to_string_pretty(result).ok().filter(|_| is_plain).unwrap_or(shown)
}

/// The events of a job in their logical order, from which the times of quick events may differ.
fn timeline(job: &JobRecord) -> Vec<Moment> {
    let (enqueued, started) = (("enqueued", job.enqueued_at), ("started", job.started_at));
    let end = (if job.stopped { "stopped" } else { job.state.as_str() }, job.ended_at);
    // A queued job entered its queue after its last attempt.
    let (then, later) = if job.state == JobState::Queued { (started, enqueued) } else { (enqueued, started) };
    let moments = [("created", Some(job.created_at)), then, later, ("due", job.due_at), end];
    let mut moments: Vec<_> = moments.into_iter().filter_map(|(event, at)| Some((at?, event))).collect();
    if job.state == JobState::Canceled {
        // It may have been cancelled while queued or while scheduled.
        moments.sort_by_key(|(at, _)| *at);
    }
    moments.into_iter().map(|(at, event)| Moment { at: time(at), event }).collect()
}

/// Everything known about a job
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobDetail), (status = 401, body = ProblemDetails),
        (status = 404, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn show(
    queues: web::Data<Queues>,
    facade: web::Data<Facade>,
    id: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let (jobs, name) = (facade.jobs(), JobId::from(id.as_str()));
    let (job, attempts) = futures::try_join!(jobs.find(&name), queues.read(queues.broker.attempts(&name)))?;
    let deletion = jobs.deletion_of(&job).map(|id| id.0);
    Ok(HttpResponse::Ok().json(JobDetail::new(job, attempts, deletion)))
}

/// Stop a running job for good; it ends as failed and `stopped`
#[utoipa::path(post, path = "/api/v1/jobs/{id}/stop", tag = "jobs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = StopRequested), (status = 401, body = ProblemDetails),
        (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 409, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn stop(facade: web::Data<Facade>, id: web::Path<String>) -> Result<HttpResponse, Details> {
    let jobs = facade.jobs();
    jobs.stop(&jobs.find(&JobId::from(id.as_str())).await?).await?;
    Ok(HttpResponse::Accepted().json(StopRequested { id: id.into_inner(), state: "started", asked: true }))
}
